// The CUDA runtime of the emulation: one device whose memory is the host's (Note [Protected memory]), streams that do
// their work at once, graph capture by closures. Launch errors are reported once and leave the device usable, unlike
// the real ones.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <new>
#include <string>
#include <vector>

#include "engine.h"
#include "fiber.h"
#include "protect.h"

using Work = std::function<void()>;

struct CUgraph_st { std::vector<Work> nodes; };
struct CUgraphExec_st { std::vector<Work> nodes; };
struct CUstream_st {
  CUgraph_st* graph = nullptr;  // the one being captured into
  bool origin = false;          // capture began here, not through an event
  bool invalid = false;
};
struct CUevent_st {
  unsigned flags = 0;
  bool recorded = false;
  CUgraph_st* graph = nullptr;  // recorded inside this capture
  std::chrono::steady_clock::time_point time;
};

namespace fireseed::cuda_emu {

namespace {

constexpr size_t kTotalMemory = size_t{8} << 30;
constexpr int kSharedOptin = 227 * 1024, kShared = 48 * 1024;

struct Runtime {
  std::recursive_mutex mutex;
  std::map<uintptr_t, size_t> device, pinned;  // address -> bytes
  std::map<const void*, int> shared_limit;     // kernel -> cudaFuncAttributeMaxDynamicSharedMemorySize
  size_t used = 0, total = kTotalMemory;
  std::vector<CUstream_st*> capturing;
  CUstream_st default_stream;
  std::string text;
  Runtime() {
    if (const char* s = std::getenv("FS_CUDA_EMU_MEMORY")) total = std::strtoull(s, nullptr, 10);
  }
};
Runtime& runtime() {
  static auto* r = new Runtime;
  return *r;
}
thread_local cudaError_t last_error = cudaSuccess;
thread_local std::string last_text;

cudaError_t set_error(cudaError_t e, std::string text = {}) {
  if (e != cudaSuccess) {
    last_error = e;
    last_text = std::move(text);
  }
  return e;
}

CUstream_st* stream_of(cudaStream_t s) {
  return !s || s == cudaStreamLegacy || s == cudaStreamPerThread ? &runtime().default_stream : s;
}

// Null where p is not inside an allocation of `map`.
const std::pair<const uintptr_t, size_t>* find(const std::map<uintptr_t, size_t>& map, const void* p) {
  const auto a = reinterpret_cast<uintptr_t>(p);
  auto i = map.upper_bound(a);
  if (i == map.begin()) return nullptr;
  --i;
  return a < i->first + (i->second ? i->second : 1) ? &*i : nullptr;
}

// A device operand of a copy must lie inside one allocation.
bool fits(const void* p, size_t bytes) {
  const auto* block = find(runtime().device, p);
  return !block || reinterpret_cast<uintptr_t>(p) + bytes <= block->first + block->second;
}
bool is_device(const void* p) { return find(runtime().device, p) != nullptr; }
bool is_lasting(const void* p) {  // device memory, or pinned
  std::lock_guard lock(runtime().mutex);
  return is_device(p) || find(runtime().pinned, p);
}

cudaError_t check_copy(const void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  if (bytes == 0) return cudaSuccess;
  std::lock_guard lock(runtime().mutex);
  if (!to || !from || !fits(to, bytes) || !fits(from, bytes))
    return set_error(cudaErrorInvalidValue, "a copy of " + std::to_string(bytes) + " bytes leaves its memory");
  const bool to_device = is_device(to), from_device = is_device(from);
  bool ok = true;
  switch (kind) {
    case cudaMemcpyHostToHost: ok = !to_device && !from_device; break;
    case cudaMemcpyHostToDevice: ok = to_device && !from_device; break;
    case cudaMemcpyDeviceToHost: ok = !to_device && from_device; break;
    case cudaMemcpyDeviceToDevice: ok = to_device && from_device; break;
    case cudaMemcpyDefault: break;
  }
  return ok ? cudaSuccess : set_error(cudaErrorInvalidValue, "a copy's direction does not fit its pointers");
}

// A synchronising call while this stream is being captured.
cudaError_t refuse_if_capturing(CUstream_st* s) {
  if (!s->graph) return cudaSuccess;
  s->invalid = true;
  return set_error(cudaErrorStreamCaptureUnsupported);
}
cudaError_t refuse_if_any_capturing() {
  std::lock_guard lock(runtime().mutex);
  if (runtime().capturing.empty()) return cudaSuccess;
  for (CUstream_st* s : runtime().capturing) s->invalid = true;
  return set_error(cudaErrorStreamCaptureUnsupported);
}

}  // namespace

cudaError_t enqueue(cudaStream_t stream, Work work) {
  CUstream_st* s = stream_of(stream);
  std::lock_guard lock(runtime().mutex);
  if (s->graph) s->graph->nodes.push_back(std::move(work));
  else work();
  return cudaSuccess;
}

cudaError_t launch(const char* name, const void* key, dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream,
                   Work body) {
  const auto bad = [&](cudaError_t e, const std::string& text) {
    return set_error(e, "kernel " + std::string(name) + ": " + text);
  };
  if (!grid.x || !grid.y || !grid.z || grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535)
    return bad(cudaErrorInvalidConfiguration, "grid of " + std::to_string(grid.x) + " x " + std::to_string(grid.y) +
                                                  " x " + std::to_string(grid.z) + " blocks");
  if (!block.x || !block.y || !block.z || block.z > 64 || uint64_t{block.x} * block.y * block.z > 1024)
    return bad(cudaErrorInvalidConfiguration, "block of " + std::to_string(block.x) + " x " +
                                                  std::to_string(block.y) + " x " + std::to_string(block.z) +
                                                  " threads");
  {
    std::lock_guard lock(runtime().mutex);
    const auto limit = runtime().shared_limit.find(key);
    const size_t most = static_cast<size_t>(limit == runtime().shared_limit.end() ? kShared : limit->second);
    if (shared_bytes > most)
      return bad(cudaErrorInvalidValue,
                 std::to_string(shared_bytes) + " bytes of dynamic shared memory, at most " + std::to_string(most) +
                     " without cudaFuncSetAttribute(cudaFuncAttributeMaxDynamicSharedMemorySize)");
  }
  std::string kernel = name;
  return enqueue(stream, [=, body = std::move(body)] {
    const DeviceAccess access;
    if (!run_kernel(kernel.c_str(), grid, block, shared_bytes, body)) {
      set_error(cudaErrorLaunchFailure, last_report());
      if (std::getenv("FS_CUDA_EMU_VERBOSE")) std::fprintf(stderr, "%s\n", last_report().c_str());
    }
  });
}

cudaError_t set_function_attribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
  if (value < 0 || value > kSharedOptin) return set_error(cudaErrorInvalidValue);
  std::lock_guard lock(runtime().mutex);
  runtime().shared_limit[kernel] = value;
  return cudaSuccess;
}
cudaError_t get_function_attributes(cudaFuncAttributes* out, const void* kernel) {
  *out = {};
  out->maxThreadsPerBlock = 1024;
  out->numRegs = 64;
  out->binaryVersion = out->ptxVersion = 90;
  std::lock_guard lock(runtime().mutex);
  const auto limit = runtime().shared_limit.find(kernel);
  out->maxDynamicSharedSizeBytes = limit == runtime().shared_limit.end() ? kShared : limit->second;
  return cudaSuccess;
}
cudaError_t occupancy(int* blocks, int block_size, size_t shared_bytes) {
  *blocks = block_size > 0 ? 2048 / block_size : 0;
  if (shared_bytes) *blocks = std::min(*blocks, static_cast<int>(228 * 1024 / (shared_bytes + 1024)));
  return cudaSuccess;
}

}  // namespace fireseed::cuda_emu

using namespace fireseed::cuda_emu;

extern "C" {

// ---- errors ------------------------------------------------------------------------------------------------

cudaError_t cudaGetLastError() {
  const cudaError_t e = last_error;
  last_error = cudaSuccess;
  return e;
}
cudaError_t cudaPeekAtLastError() { return last_error; }

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
#define FS_NAME(name) \
  case name: return #name;
    FS_NAME(cudaSuccess)
    FS_NAME(cudaErrorInvalidValue)
    FS_NAME(cudaErrorMemoryAllocation)
    FS_NAME(cudaErrorInvalidConfiguration)
    FS_NAME(cudaErrorInsufficientDriver)
    FS_NAME(cudaErrorNoDevice)
    FS_NAME(cudaErrorInvalidDevice)
    FS_NAME(cudaErrorInvalidResourceHandle)
    FS_NAME(cudaErrorSymbolNotFound)
    FS_NAME(cudaErrorNotReady)
    FS_NAME(cudaErrorLaunchFailure)
    FS_NAME(cudaErrorNotSupported)
    FS_NAME(cudaErrorStreamCaptureUnsupported)
    FS_NAME(cudaErrorStreamCaptureInvalidated)
    FS_NAME(cudaErrorStreamCaptureUnmatched)
    FS_NAME(cudaErrorStreamCaptureUnjoined)
    FS_NAME(cudaErrorCapturedEvent)
#undef FS_NAME
    default: return "cudaError";
  }
}
const char* cudaGetErrorString(cudaError_t error) {
  const char* text = "error";
  switch (error) {
    case cudaSuccess: return "no error";
    case cudaErrorInvalidValue: text = "invalid argument"; break;
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorInvalidConfiguration: text = "invalid configuration argument"; break;
    case cudaErrorInvalidDevice: return "invalid device ordinal";
    case cudaErrorInvalidResourceHandle: return "invalid resource handle";
    case cudaErrorNotReady: return "device not ready";
    case cudaErrorLaunchFailure: text = "unspecified launch failure"; break;
    case cudaErrorStreamCaptureUnsupported: return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated: return "operation failed due to a previous error during capture";
    default: text = cudaGetErrorName(error); break;
  }
  if (last_text.empty()) return text;
  thread_local std::string full;
  full = std::string(text) + " (" + last_text + ")";
  return full.c_str();
}

// ---- devices -----------------------------------------------------------------------------------------------

static cudaError_t check_device(int device) { return device == 0 ? cudaSuccess : set_error(cudaErrorInvalidDevice); }

cudaError_t cudaDriverGetVersion(int* version) { return *version = CUDART_VERSION, cudaSuccess; }
cudaError_t cudaRuntimeGetVersion(int* version) { return *version = CUDART_VERSION, cudaSuccess; }
cudaError_t cudaGetDeviceCount(int* count) { return *count = 1, cudaSuccess; }
cudaError_t cudaSetDevice(int device) { return check_device(device); }
cudaError_t cudaInitDevice(int device, unsigned, unsigned) { return check_device(device); }
cudaError_t cudaGetDevice(int* device) { return *device = 0, cudaSuccess; }
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int device) {
  if (device != 0) return check_device(device);
  *p = {};
  std::strcpy(p->name, "Emulated device (CPU)");
  p->totalGlobalMem = runtime().total;
  p->sharedMemPerBlock = kShared;
  p->regsPerBlock = p->regsPerMultiprocessor = 65536;
  p->warpSize = 32;
  p->maxThreadsPerBlock = 1024;
  p->maxThreadsDim[0] = p->maxThreadsDim[1] = 1024;
  p->maxThreadsDim[2] = 64;
  p->maxGridSize[0] = 0x7fffffff;
  p->maxGridSize[1] = p->maxGridSize[2] = 65535;
  p->major = 9;
  if (const char* s = std::getenv("FS_CUDA_EMU_CAPABILITY")) {  // as 80
    p->major = std::atoi(s) / 10;
    p->minor = std::atoi(s) % 10;
  }
  p->multiProcessorCount = 4;  // few, so that persistent kernels loop
  p->memoryBusWidth = 5120;
  p->l2CacheSize = 50 << 20;
  p->maxThreadsPerMultiProcessor = 2048;
  p->sharedMemPerMultiprocessor = 228 * 1024;
  p->sharedMemPerBlockOptin = kSharedOptin;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  cudaDeviceProp p;
  if (const cudaError_t e = cudaGetDeviceProperties(&p, device)) return e;
  switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock: *value = p.maxThreadsPerBlock; break;
    case cudaDevAttrMaxGridDimX: *value = p.maxGridSize[0]; break;
    case cudaDevAttrMaxGridDimY: *value = p.maxGridSize[1]; break;
    case cudaDevAttrMaxGridDimZ: *value = p.maxGridSize[2]; break;
    case cudaDevAttrMaxSharedMemoryPerBlock: *value = kShared; break;
    case cudaDevAttrWarpSize: *value = 32; break;
    case cudaDevAttrClockRate: *value = 1980000; break;
    case cudaDevAttrMultiProcessorCount: *value = p.multiProcessorCount; break;
    case cudaDevAttrMemoryClockRate: *value = 2619000; break;
    case cudaDevAttrGlobalMemoryBusWidth: *value = p.memoryBusWidth; break;
    case cudaDevAttrL2CacheSize: *value = p.l2CacheSize; break;
    case cudaDevAttrMaxThreadsPerMultiProcessor: *value = p.maxThreadsPerMultiProcessor; break;
    case cudaDevAttrComputeCapabilityMajor: *value = p.major; break;
    case cudaDevAttrComputeCapabilityMinor: *value = p.minor; break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor: *value = 228 * 1024; break;
    case cudaDevAttrCooperativeLaunch: *value = 0; break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = kSharedOptin; break;
    default: return set_error(cudaErrorInvalidValue);
  }
  return cudaSuccess;
}
cudaError_t cudaDeviceGetPCIBusId(char* text, int length, int device) {
  if (length > 0) std::snprintf(text, static_cast<size_t>(length), "0000:00:00.0");
  return check_device(device);
}
cudaError_t cudaDeviceCanAccessPeer(int* can, int, int) { return *can = 0, cudaSuccess; }
cudaError_t cudaDeviceEnablePeerAccess(int, unsigned) { return set_error(cudaErrorInvalidDevice); }
cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  *least = 0;
  *greatest = -5;
  return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize() {
  if (const cudaError_t e = refuse_if_any_capturing()) return e;
  return last_error;
}
cudaError_t cudaDeviceReset() { return last_error = cudaSuccess; }
cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total) {
  std::lock_guard lock(runtime().mutex);
  *free_bytes = runtime().total - runtime().used;
  *total = runtime().total;
  return cudaSuccess;
}

// ---- memory ------------------------------------------------------------------------------------------------

cudaError_t cudaMalloc(void** p, size_t bytes) {
  *p = nullptr;
  if (bytes == 0) return cudaSuccess;
  std::lock_guard lock(runtime().mutex);
  if (bytes > runtime().total - runtime().used) return set_error(cudaErrorMemoryAllocation);
  if (protects()) *p = map_protected(bytes);
  else if (posix_memalign(p, 256, bytes) != 0) *p = nullptr;
  if (!*p) return set_error(cudaErrorMemoryAllocation);
  // Large segments stay untouched: their pages are the allocator's business.
  if (bytes <= (size_t{1} << 24)) {
    const DeviceAccess access;
    std::memset(*p, 0xFF, bytes);
  }
  runtime().device[reinterpret_cast<uintptr_t>(*p)] = bytes;
  runtime().used += bytes;
  return cudaSuccess;
}
cudaError_t cudaFree(void* p) {
  if (!p) return cudaSuccess;
  std::lock_guard lock(runtime().mutex);
  const auto i = runtime().device.find(reinterpret_cast<uintptr_t>(p));
  if (i == runtime().device.end())
    return set_error(cudaErrorInvalidValue, "cudaFree of what cudaMalloc did not give");
  const size_t bytes = i->second;
  runtime().used -= bytes;
  runtime().device.erase(i);
  if (protects()) unmap_protected(p, bytes);
  else std::free(p);
  return cudaSuccess;
}
cudaError_t cudaHostAlloc(void** p, size_t bytes, unsigned) {
  *p = nullptr;
  if (posix_memalign(p, 4096, bytes ? bytes : 1) != 0) return set_error(cudaErrorMemoryAllocation);
  std::lock_guard lock(runtime().mutex);
  runtime().pinned[reinterpret_cast<uintptr_t>(*p)] = bytes;
  return cudaSuccess;
}
cudaError_t cudaMallocHost(void** p, size_t bytes) { return cudaHostAlloc(p, bytes, 0); }
cudaError_t cudaFreeHost(void* p) {
  if (!p) return cudaSuccess;
  std::lock_guard lock(runtime().mutex);
  if (!runtime().pinned.erase(reinterpret_cast<uintptr_t>(p))) return set_error(cudaErrorInvalidValue);
  std::free(p);
  return cudaSuccess;
}
cudaError_t cudaHostRegister(void* p, size_t bytes, unsigned) {
  std::lock_guard lock(runtime().mutex);
  runtime().pinned[reinterpret_cast<uintptr_t>(p)] = bytes;
  return cudaSuccess;
}
cudaError_t cudaHostUnregister(void* p) {
  std::lock_guard lock(runtime().mutex);
  return runtime().pinned.erase(reinterpret_cast<uintptr_t>(p)) ? cudaSuccess : set_error(cudaErrorInvalidValue);
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* out, const void* p) {
  std::lock_guard lock(runtime().mutex);
  *out = {cudaMemoryTypeUnregistered, -2, nullptr, nullptr};
  void* q = const_cast<void*>(p);
  if (find(runtime().device, p)) *out = {cudaMemoryTypeDevice, 0, q, nullptr};
  else if (find(runtime().pinned, p)) *out = {cudaMemoryTypeHost, 0, q, q};
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  if (const cudaError_t e = check_copy(to, from, bytes, kind)) return e;
  // A graph would keep the address of memory that nobody keeps.
  if (stream_of(stream)->graph && bytes && !(is_lasting(to) && is_lasting(from)))
    return refuse_if_capturing(stream_of(stream));
  return enqueue(stream, [=] {
    const DeviceAccess access;
    if (bytes) std::memmove(to, from, bytes);
  });
}
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  if (const cudaError_t e = refuse_if_any_capturing()) return e;
  return cudaMemcpyAsync(to, from, bytes, kind, nullptr);
}
cudaError_t cudaMemcpyPeerAsync(void* to, int, const void* from, int, size_t bytes, cudaStream_t stream) {
  return cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream);
}
cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width,
                              size_t height, cudaMemcpyKind kind, cudaStream_t stream) {
  if (width > to_pitch || width > from_pitch) return set_error(cudaErrorInvalidValue);
  for (size_t i = 0; i < height; ++i)
    if (const cudaError_t e = cudaMemcpyAsync(static_cast<char*>(to) + i * to_pitch,
                                              static_cast<const char*>(from) + i * from_pitch, width, kind, stream))
      return e;
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* p, int value, size_t bytes, cudaStream_t stream) {
  if (bytes && (!is_device(p) || !fits(p, bytes)))
    return set_error(cudaErrorInvalidValue, "cudaMemset: not device memory");
  return enqueue(stream, [=] {
    const DeviceAccess access;
    if (bytes) std::memset(p, value, bytes);
  });
}
cudaError_t cudaMemset(void* p, int value, size_t bytes) { return cudaMemsetAsync(p, value, bytes, nullptr); }

// ---- streams and events ------------------------------------------------------------------------------------

cudaError_t cudaStreamCreate(cudaStream_t* s) { return *s = new CUstream_st, cudaSuccess; }
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* s, unsigned) { return cudaStreamCreate(s); }
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* s, unsigned, int) { return cudaStreamCreate(s); }
cudaError_t cudaStreamDestroy(cudaStream_t s) {
  if (!s) return set_error(cudaErrorInvalidResourceHandle);
  delete s;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t s) {
  if (const cudaError_t e = refuse_if_capturing(stream_of(s))) return e;
  return last_error;
}
cudaError_t cudaStreamQuery(cudaStream_t s) { return cudaStreamSynchronize(s); }
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  if (!event) return set_error(cudaErrorInvalidResourceHandle);
  CUstream_st* s = stream_of(stream);
  if (event->graph && s->graph != event->graph) {  // the capture spreads to this stream
    std::lock_guard lock(runtime().mutex);
    if (s->graph) return set_error(cudaErrorStreamCaptureMerge);
    s->graph = event->graph;
    runtime().capturing.push_back(s);
  }
  return cudaSuccess;
}
cudaError_t cudaLaunchHostFunc(cudaStream_t s, cudaHostFn_t fn, void* data) {
  return enqueue(s, [=] { fn(data); });
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  *event = new CUevent_st;
  (*event)->flags = flags;
  return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, 0); }
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  if (!event) return set_error(cudaErrorInvalidResourceHandle);
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  if (!event) return set_error(cudaErrorInvalidResourceHandle);
  event->recorded = true;
  event->graph = stream_of(stream)->graph;
  event->time = std::chrono::steady_clock::now();
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  if (!event) return set_error(cudaErrorInvalidResourceHandle);
  return event->graph ? set_error(cudaErrorCapturedEvent) : cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) { return cudaEventQuery(event); }
cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t begin, cudaEvent_t end) {
  if (!begin || !end || !begin->recorded || !end->recorded) return set_error(cudaErrorInvalidResourceHandle);
  if ((begin->flags | end->flags) & cudaEventDisableTiming) return set_error(cudaErrorInvalidResourceHandle);
  *ms = std::chrono::duration<float, std::milli>(end->time - begin->time).count();
  return cudaSuccess;
}

// ---- graphs ------------------------------------------------------------------------------------------------

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  if (!stream || stream == cudaStreamLegacy) return set_error(cudaErrorStreamCaptureUnsupported);
  if (stream->graph) return set_error(cudaErrorStreamCaptureUnmatched);
  std::lock_guard lock(runtime().mutex);
  stream->graph = new CUgraph_st;
  stream->origin = true;
  stream->invalid = false;
  runtime().capturing.push_back(stream);
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = nullptr;
  if (!stream || !stream->graph || !stream->origin) return set_error(cudaErrorStreamCaptureUnmatched);
  std::lock_guard lock(runtime().mutex);
  CUgraph_st* g = stream->graph;
  bool invalid = false;
  auto& all = runtime().capturing;
  for (size_t i = 0; i < all.size();) {
    if (all[i]->graph != g) {
      ++i;
      continue;
    }
    invalid |= all[i]->invalid;
    all[i]->graph = nullptr;
    all[i]->origin = all[i]->invalid = false;
    all.erase(all.begin() + static_cast<std::ptrdiff_t>(i));
  }
  if (invalid) {
    delete g;
    return set_error(cudaErrorStreamCaptureInvalidated);
  }
  *graph = g;
  return cudaSuccess;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  const CUstream_st* s = stream_of(stream);
  *status = !s->graph    ? cudaStreamCaptureStatusNone
            : s->invalid ? cudaStreamCaptureStatusInvalidated
                         : cudaStreamCaptureStatusActive;
  return cudaSuccess;
}
cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  thread_local cudaStreamCaptureMode current = cudaStreamCaptureModeGlobal;
  std::swap(*mode, current);
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  if (!graph) return set_error(cudaErrorInvalidValue);
  *exec = new CUgraphExec_st{graph->nodes};
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  if (!exec) return set_error(cudaErrorInvalidValue);
  return enqueue(stream, [nodes = exec->nodes] {
    for (const Work& node : nodes) node();
  });
}
cudaError_t cudaGraphGetNodes(cudaGraph_t graph, void**, size_t* count) {
  if (!graph) return set_error(cudaErrorInvalidValue);
  *count = graph->nodes.size();
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  delete exec;
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}

cudaError_t cudaGetDriverEntryPointByVersion(const char* symbol, void** function, unsigned, unsigned long long,
                                             cudaDriverEntryPointQueryResult* result) {
  *function = fireseed::cuda_emu::driver_function(symbol);
  if (result) *result = *function ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
  return *function ? cudaSuccess : set_error(cudaErrorSymbolNotFound);
}

}  // extern "C"

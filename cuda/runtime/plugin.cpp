// The plugin's entry: fills the table that libfireseed calls through.
#include <cstdio>
#include <cstring>
#include <string>

#include "base/error.h"
#include "runtime/allocator.h"
#include "runtime/check.h"
#include "runtime/device.h"
#include "runtime/graph.h"
#include "runtime/pinned.h"
#include "runtime/stream.h"
#include "tensor/backend.h"
#include "tensor/kernel_index.h"

namespace fireseed::cuda {

// A family that is not written yet leaves its entries null.
#define FS_DECLARE(name) [[gnu::weak]] void name(const KernelArgs&);
#define FS_UNARY(name, Functor) FS_DECLARE(name) FS_DECLARE(name##_backward)
#define FS_BINARY(name, Functor) FS_DECLARE(name)
#define FS_COMPARE(name, Functor) FS_DECLARE(name)
#define FS_TERNARY(name, Functor) FS_DECLARE(name)
#define FS_KERNEL(name) FS_DECLARE(name)
#define FS_VIEW(name)
#include "ops.def"
#undef FS_UNARY
#undef FS_BINARY
#undef FS_COMPARE
#undef FS_TERNARY
#undef FS_KERNEL
#undef FS_VIEW

namespace {

const Kernel kernels[kNumKernels] = {
#define FS_UNARY(name, Functor) &cuda::name, &cuda::name##_backward,
#define FS_BINARY(name, Functor) &cuda::name,
#define FS_COMPARE(name, Functor) &cuda::name,
#define FS_TERNARY(name, Functor) &cuda::name,
#define FS_KERNEL(name) &cuda::name,
#define FS_VIEW(name)
#include "ops.def"
#undef FS_UNARY
#undef FS_BINARY
#undef FS_COMPARE
#undef FS_TERNARY
#undef FS_KERNEL
#undef FS_VIEW
};

cudaStream_t stream_of(StreamHandle s) { return static_cast<cudaStream_t>(s); }
cudaEvent_t event_of(EventHandle e) { return static_cast<cudaEvent_t>(e); }

void describe(int device, DeviceProperties& p) {
  const cudaDeviceProp& d = properties(device);
  std::snprintf(p.name, sizeof p.name, "%s", d.name);
  std::memcpy(p.uuid, &d.uuid, sizeof p.uuid);
  p.major = d.major;
  p.minor = d.minor;
  p.multi_processor_count = d.multiProcessorCount;
  p.max_threads_per_multi_processor = d.maxThreadsPerMultiProcessor;
  p.max_threads_per_block = d.maxThreadsPerBlock;
  p.warp_size = d.warpSize;
  p.regs_per_multiprocessor = d.regsPerMultiprocessor;
  p.pci_bus_id = d.pciBusID;
  p.pci_device_id = d.pciDeviceID;
  p.pci_domain_id = d.pciDomainID;
  p.is_integrated = d.integrated != 0;
  p.is_multi_gpu_board = d.isMultiGpuBoard != 0;
  p.total_memory = d.totalGlobalMem;
  p.l2_cache_size = static_cast<uint64_t>(d.l2CacheSize);
  p.shared_memory_per_block = d.sharedMemPerBlock;
  p.shared_memory_per_block_optin = d.sharedMemPerBlockOptin;
  p.shared_memory_per_multiprocessor = d.sharedMemPerMultiprocessor;
}

void device_memory(int device, uint64_t& free_bytes, uint64_t& total) {
  const OnDevice on(device);
  size_t f = 0, t = 0;
  FS_CUDA(cudaMemGetInfo(&f, &t));
  free_bytes = f;
  total = t;
}

bool can_access_peer(int device, int peer) {
  properties(device);
  properties(peer);
  int can = 0;
  if (device != peer) FS_CUDA(cudaDeviceCanAccessPeer(&can, device, peer));
  return can != 0;
}

EventHandle new_event(int device, bool timing, bool blocking) {
  const OnDevice on(device);
  cudaEvent_t e;
  FS_CUDA(
      cudaEventCreateWithFlags(&e, (timing ? 0u : cudaEventDisableTiming) | (blocking ? cudaEventBlockingSync : 0u)));
  return e;
}

bool ready(cudaError_t code, const char* what) {
  if (code == cudaErrorNotReady) {
    cudaGetLastError();
    return false;
  }
  if (code != cudaSuccess) fail_cuda(code, what);
  return true;
}

}  // namespace

void fill_table(Backend& b) {
  b.version = kBackendVersion;
  b.num_kernels = kNumKernels;
  b.kernels = kernels;
#ifdef FS_CUDA_EMU
  b.emulated = true;
#endif
  b.device_count = device_count;
  b.set_device = set_device;
  b.current_device = current_device;
  b.properties = describe;
  b.device_memory = device_memory;
  b.can_access_peer = can_access_peer;
  b.versions = [](int& driver, int& runtime) {
    FS_CUDA(cudaDriverGetVersion(&driver));
    FS_CUDA(cudaRuntimeGetVersion(&runtime));
  };
  b.allocate = allocate;
  b.free = free;
  b.record_stream = [](void* p, StreamHandle s) { record_stream(p, stream_of(s)); };
  b.empty_cache = empty_cache;
  b.memory = memory;
  b.reset_peak_memory = reset_peak_memory;
  b.set_memory_fraction = set_memory_fraction;
  b.allocate_pinned = allocate_pinned;
  b.free_pinned = free_pinned;
  b.copy = copy;
  b.synchronize = synchronize;
  b.check = check_kernel;
  b.current_stream = [](int device) -> StreamHandle { return current_stream(device); };
  b.set_stream = [](int device, StreamHandle s) { set_stream(device, stream_of(s)); };
  b.default_stream = [](int device) -> StreamHandle { return default_stream(device); };
  b.copy_stream = [](int device) -> StreamHandle { return copy_stream(device); };
  b.new_stream = [](int device, int priority) -> StreamHandle { return pool_stream(device, priority); };
  b.stream_synchronize = [](StreamHandle s) { FS_CUDA(cudaStreamSynchronize(stream_of(s))); };
  b.stream_query = [](StreamHandle s) { return ready(cudaStreamQuery(stream_of(s)), "cudaStreamQuery"); };
  b.stream_wait = [](StreamHandle s, EventHandle e) { FS_CUDA(cudaStreamWaitEvent(stream_of(s), event_of(e), 0)); };
  b.capturing = [](int device) { return is_capturing(current_stream(device)); };
  b.new_pool = new_pool;
  b.release_pool = release_pool;
  b.begin_capture = [](int device, int pool) -> GraphHandle { return begin_capture(device, pool); };
  b.end_capture = [](GraphHandle g) { end_capture(static_cast<Graph*>(g)); };
  b.replay = [](GraphHandle g) { replay(static_cast<Graph*>(g)); };
  b.free_graph = [](GraphHandle g) noexcept { free_graph(static_cast<Graph*>(g)); };
  b.new_event = new_event;
  b.free_event = [](EventHandle e) noexcept { cudaEventDestroy(event_of(e)); };
  b.event_record = [](EventHandle e, StreamHandle s) { FS_CUDA(cudaEventRecord(event_of(e), stream_of(s))); };
  b.event_query = [](EventHandle e) { return ready(cudaEventQuery(event_of(e)), "cudaEventQuery"); };
  b.event_synchronize = [](EventHandle e) { FS_CUDA(cudaEventSynchronize(event_of(e))); };
  b.event_elapsed = [](EventHandle start, EventHandle end) {
    float ms = 0;
    FS_CUDA(cudaEventElapsedTime(&ms, event_of(start), event_of(end)));
    return ms;
  };
}

}  // namespace fireseed::cuda

extern "C" [[gnu::visibility("default")]] bool fireseed_cuda_backend(fireseed::Backend* b, char* reason,
                                                                     size_t reason_size) {
  std::string why;
  if (fireseed::cuda::start(why) == 0) {
    std::snprintf(reason, reason_size, "%s", why.c_str());
    return false;
  }
  fireseed::cuda::fill_table(*b);
  return true;
}

// Page-locked host memory, kept for reuse, and copies between host and devices.
#include "runtime/pinned.h"

#include <map>
#include <mutex>
#include <vector>

#include "base/error.h"
#include "runtime/capture.h"
#include "runtime/check.h"
#include "runtime/device.h"
#include "runtime/stream.h"

namespace fireseed::cuda {
namespace {

struct Pinned {
  size_t size = 0;  // a power of two
  std::vector<cudaEvent_t> events;
};

struct PinnedHeap {
  std::mutex mutex;
  std::map<char*, Pinned> live;
  std::multimap<size_t, char*> free;
  std::vector<std::pair<char*, Pinned>> waiting;
};
PinnedHeap& heap() {
  static auto* h = new PinnedHeap;  // never destroyed
  return *h;
}

void poll(PinnedHeap& h) {
  const BesideCapture beside;
  for (size_t i = 0; i < h.waiting.size();) {
    Pinned& b = h.waiting[i].second;
    while (!b.events.empty() && cudaEventQuery(b.events.back()) != cudaErrorNotReady) {
      cudaEventDestroy(b.events.back());
      b.events.pop_back();
    }
    cudaGetLastError();
    if (b.events.empty()) {
      h.free.emplace(b.size, h.waiting[i].first);
      h.waiting[i] = h.waiting.back();
      h.waiting.pop_back();
    } else {
      ++i;
    }
  }
}

// A copy of the stream reads or writes the block that holds p.
void note_use(const void* p, cudaStream_t stream) {
  PinnedHeap& h = heap();
  const std::lock_guard lock(h.mutex);
  auto it = h.live.upper_bound(static_cast<char*>(const_cast<void*>(p)));
  if (it == h.live.begin()) return;
  --it;
  if (static_cast<const char*>(p) >= it->first + it->second.size) return;
  cudaEvent_t e;
  FS_CUDA(cudaEventCreateWithFlags(&e, cudaEventDisableTiming));
  FS_CUDA(cudaEventRecord(e, stream));
  auto& events = it->second.events;
  for (size_t i = 0; i < events.size();) {  // drops those that passed
    if (cudaEventQuery(events[i]) == cudaErrorNotReady) {
      ++i;
      continue;
    }
    cudaEventDestroy(events[i]);
    events[i] = events.back();
    events.pop_back();
  }
  cudaGetLastError();
  events.push_back(e);
}

}  // namespace

void* allocate_pinned(size_t bytes) {
  size_t size = 4096;
  while (size < bytes) size *= 2;
  PinnedHeap& h = heap();
  const std::lock_guard lock(h.mutex);
  poll(h);
  char* p;
  if (auto found = h.free.find(size); found != h.free.end()) {
    p = found->second;
    h.free.erase(found);
  } else {
    void* raw = nullptr;
    const BesideCapture beside;
    const cudaError_t code = cudaHostAlloc(&raw, size, cudaHostAllocPortable);
    if (code == cudaErrorMemoryAllocation) {
      cudaGetLastError();
      fail(ErrorKind::kMemory, "pin_memory: the system refused ", size, " bytes of page-locked memory");
    }
    if (code != cudaSuccess) fail_cuda(code, "cudaHostAlloc");
    p = static_cast<char*>(raw);
  }
  h.live[p].size = size;
  return p;
}

void free_pinned(void* p) noexcept {
  PinnedHeap& h = heap();
  const std::lock_guard lock(h.mutex);
  auto it = h.live.find(static_cast<char*>(p));
  if (it == h.live.end()) return;
  h.waiting.emplace_back(it->first, std::move(it->second));
  h.live.erase(it);
  poll(h);
}

void copy(void* dst, int dst_device, const void* src, int src_device, size_t bytes, bool pinned, bool non_blocking) {
  if (bytes == 0) return;
  const int device = dst_device >= 0 ? dst_device : src_device;
  const OnDevice on(device);
  const cudaStream_t stream = current_stream(device);
  if (dst_device >= 0 && src_device >= 0) {
    if (dst_device == src_device) {
      FS_CUDA(cudaMemcpyAsync(dst, src, bytes, cudaMemcpyDeviceToDevice, stream));
      return;
    }
    // The copy waits for what the source's stream has written, and the source's stream for the copy.
    const cudaStream_t from = current_stream(src_device);
    cudaEvent_t e;
    {
      const OnDevice there(src_device);
      FS_CUDA(cudaEventCreateWithFlags(&e, cudaEventDisableTiming));
      FS_CUDA(cudaEventRecord(e, from));
    }
    FS_CUDA(cudaStreamWaitEvent(stream, e, 0));
    cudaEventDestroy(e);
    FS_CUDA(cudaMemcpyPeerAsync(dst, dst_device, src, src_device, bytes, stream));
    FS_CUDA(cudaEventCreateWithFlags(&e, cudaEventDisableTiming));
    FS_CUDA(cudaEventRecord(e, stream));
    FS_CUDA(cudaStreamWaitEvent(from, e, 0));
    cudaEventDestroy(e);
    return;
  }
  const bool to_host = dst_device < 0;
  const bool waits = !(pinned && non_blocking), capturing = is_capturing(stream);
  FS_CHECK(
      !(waits && capturing), "a copy between ", to_host ? "a GPU and the CPU" : "the CPU and a GPU",
      " waits, which a capture cannot record (.item(), .cpu(), printing, tensors made of numbers); within a graph "
      "only copies of pinned memory with non_blocking=True are possible");
  FS_CUDA(cudaMemcpyAsync(dst, src, bytes, to_host ? cudaMemcpyDeviceToHost : cudaMemcpyHostToDevice, stream));
  if (!waits) {
    if (!capturing) note_use(to_host ? dst : src, stream);  // a graph's host memory is the caller's to keep
  } else if (to_host || pinned) {  // from pageable memory the call returns when the bytes are read
    FS_CUDA(cudaStreamSynchronize(stream));
  }
}

}  // namespace fireseed::cuda

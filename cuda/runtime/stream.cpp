// Streams: made at the first use of a device, never destroyed.
#include "runtime/stream.h"

#include <atomic>
#include <mutex>

#include "runtime/check.h"
#include "runtime/device.h"

namespace fireseed::cuda {
namespace {

constexpr unsigned kPool = 32;

struct Streams {
  cudaStream_t compute = nullptr, copy = nullptr;
  cudaStream_t pool[2][kPool] = {};
  std::atomic<unsigned> next[2] = {};
  std::mutex mutex;
};
Streams* all[kMaxDevices];
std::once_flag made[kMaxDevices];

cudaStream_t make(int priority) {
  int least = 0, greatest = 0;
  FS_CUDA(cudaDeviceGetStreamPriorityRange(&least, &greatest));
  cudaStream_t s;
  FS_CUDA(cudaStreamCreateWithPriority(&s, cudaStreamNonBlocking, priority < 0 ? greatest : least));
  return s;
}

Streams& streams_of(int device) {
  properties(device);  // checks the index
  std::call_once(made[device], [&] {
    const OnDevice on(device);
    auto* s = new Streams;
    s->compute = make(0);
    s->copy = make(-1);
    all[device] = s;
  });
  return *all[device];
}

thread_local cudaStream_t chosen[kMaxDevices];  // null: the device's compute stream

}  // namespace

cudaStream_t current_stream(int device) {
  const cudaStream_t s = chosen[device];
  return s ? s : streams_of(device).compute;
}
cudaStream_t current_stream() { return current_stream(current_device()); }
void set_stream(int device, cudaStream_t stream) {
  chosen[device] = stream == streams_of(device).compute ? nullptr : stream;
}
cudaStream_t default_stream(int device) { return streams_of(device).compute; }
cudaStream_t copy_stream(int device) { return streams_of(device).copy; }

cudaStream_t pool_stream(int device, int priority) {
  Streams& s = streams_of(device);
  const int kind = priority < 0;
  const unsigned i = s.next[kind].fetch_add(1) % kPool;
  const std::lock_guard lock(s.mutex);
  if (!s.pool[kind][i]) {
    const OnDevice on(device);
    s.pool[kind][i] = make(priority);
  }
  return s.pool[kind][i];
}

bool is_capturing(cudaStream_t stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  FS_CUDA(cudaStreamIsCapturing(stream, &status));
  return status != cudaStreamCaptureStatusNone;
}

}  // namespace fireseed::cuda

// Stand-ins for cuda/runtime in tests of kernels alone: one stream, memory straight from cudaMalloc.
#include "base/error.h"
#include "runtime/allocator.h"
#include "runtime/check.h"
#include "runtime/device.h"
#include "runtime/graph.h"
#include "runtime/stream.h"
#include "tensor/backend.h"

namespace fireseed {

std::atomic<bool> allow_tf32_conv = false;
std::atomic<bool> allow_tf32 = false;

}  // namespace fireseed

namespace fireseed::cuda {

void fail_cuda(cudaError_t code, const char* what) {
  cudaGetLastError();
  fail(ErrorKind::kRuntime, "CUDA error: ", cudaGetErrorString(code), " (", cudaGetErrorName(code), ") in ", what);
}

// In order with cudaMemcpy and cudaMemset, which tests call.
cudaStream_t current_stream() {
  static cudaStream_t stream = [] {
    cudaStream_t s;
    FS_CUDA(cudaStreamCreate(&s));
    return s;
  }();
  return stream;
}
bool is_capturing(cudaStream_t) { return false; }
PhiloxState philox_state(Generator& generator, uint64_t count) {
  return {generator.initial_seed(), generator.reserve(count), nullptr};
}
int compute_capability() {
  int major = 0, minor = 0;
  FS_CUDA(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0));
  FS_CUDA(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, 0));
  return 10 * major + minor;
}
int multiprocessors() {
  int n = 0;
  FS_CUDA(cudaDeviceGetAttribute(&n, cudaDevAttrMultiProcessorCount, 0));
  return n;
}
size_t most_shared_memory() {
  int n = 0;
  FS_CUDA(cudaDeviceGetAttribute(&n, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0));
  return static_cast<size_t>(n);
}

Scratch::Scratch(size_t bytes) : p_(nullptr), device_(0) { FS_CUDA(cudaMalloc(&p_, bytes)); }
Scratch::~Scratch() { cudaFree(p_); }

}  // namespace fireseed::cuda

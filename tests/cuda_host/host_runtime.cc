// Stand-ins for cuda/runtime in tests of kernels alone: one stream, memory straight from cudaMalloc.
#include "base/error.h"
#include "runtime/allocator.h"
#include "runtime/device.h"
#include "runtime/graph.h"
#include "runtime/stream.h"

namespace fireseed::cuda {

cudaStream_t current_stream() {
  static cudaStream_t stream = [] {
    cudaStream_t s;
    cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking);
    return s;
  }();
  return stream;
}
bool is_capturing(cudaStream_t) { return false; }
PhiloxState philox_state(Generator& generator, uint64_t count) {
  return {generator.initial_seed(), generator.reserve(count), nullptr};
}
int compute_capability() { return 90; }
int multiprocessors() { return 4; }

Scratch::Scratch(size_t bytes) : p_(nullptr), device_(0) {
  FS_CHECK(cudaMalloc(&p_, bytes) == cudaSuccess, "out of memory");
}
Scratch::~Scratch() { cudaFree(p_); }

}  // namespace fireseed::cuda

// Convolutions of float32 by tensor cores (sm_80), operands rounded to tf32: 10 bits of mantissa.
#include "kernels/conv_mma.cuh"

namespace fireseed::cuda {

bool conv_tf32(const ConvJob& job) { return run_mma_job<float>(job); }
bool conv_tf32_weight(const ConvJob& job, const void* g, bool in_vectors, int64_t parts, float* sums) {
  return run_mma_weight<float>(job, g, in_vectors, parts, sums);
}

}  // namespace fireseed::cuda

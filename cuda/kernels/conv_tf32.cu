// Convolutions of float32 by tensor cores (sm_80), operands rounded to tf32: 10 bits of mantissa.
#include "kernels/conv_mma.cuh"

namespace fireseed::cuda {

bool conv_mma(const ConvJob<float>& job) { return run_mma_job(job); }
bool conv_mma_weight(const ConvJob<float>& job, const float* g, bool in_vectors, int64_t parts, float* sums) {
  return run_mma_weight(job, g, in_vectors, parts, sums);
}

}  // namespace fireseed::cuda

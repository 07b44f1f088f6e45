// Convolutions of halves by tensor cores (sm_80).
#include "kernels/conv_mma.cuh"

namespace fireseed::cuda {

bool conv_mma(const ConvJob& job) {
  return job.dtype == DType::kFloat16 ? run_mma_job<float16>(job) : run_mma_job<bfloat16>(job);
}
bool conv_mma_weight(const ConvJob& job, const void* g, bool in_vectors, int64_t parts, float* sums) {
  if (job.dtype == DType::kFloat16) return run_mma_weight<float16>(job, g, in_vectors, parts, sums);
  return run_mma_weight<bfloat16>(job, g, in_vectors, parts, sums);
}

}  // namespace fireseed::cuda

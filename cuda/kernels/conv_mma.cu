// Convolutions of halves by tensor cores (sm_80).
#include "kernels/conv_mma.cuh"

namespace fireseed::cuda {

bool conv_mma(const ConvJob<float16>& job) { return run_mma_job(job); }
bool conv_mma(const ConvJob<bfloat16>& job) { return run_mma_job(job); }
bool conv_mma_weight(const ConvJob<float16>& job, const float16* g, bool in_vectors, int64_t parts, float* sums) {
  return run_mma_weight(job, g, in_vectors, parts, sums);
}
bool conv_mma_weight(const ConvJob<bfloat16>& job, const bfloat16* g, bool in_vectors, int64_t parts, float* sums) {
  return run_mma_weight(job, g, in_vectors, parts, sums);
}

}  // namespace fireseed::cuda

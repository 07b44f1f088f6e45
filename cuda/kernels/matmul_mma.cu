// Matrix products of halves by tensor cores (sm_80).
#include "kernels/mma_gemm.cuh"

namespace fireseed::cuda {

bool run_mma(const Gemm& g) {
  return g.dtype == DType::kFloat16 ? run_on_tensor_cores<float16>(g, 620) : run_on_tensor_cores<bfloat16>(g, 620);
}

}  // namespace fireseed::cuda

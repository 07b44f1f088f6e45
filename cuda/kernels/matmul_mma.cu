// Matrix products of halves by tensor cores (sm_80).
#include "kernels/mma_gemm.cuh"

namespace fireseed::cuda {

bool run_mma(const Gemm<float16>& g) { return run_on_tensor_cores(g, 620); }
bool run_mma(const Gemm<bfloat16>& g) { return run_on_tensor_cores(g, 620); }

}  // namespace fireseed::cuda

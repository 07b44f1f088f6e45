// Matrix products of float32 by tensor cores (sm_80), operands rounded to tf32: 10 bits of mantissa.
#include "kernels/mma_gemm.cuh"

namespace fireseed::cuda {

bool run_mma(const Gemm<float>& g) { return run_on_tensor_cores(g, 310); }

}  // namespace fireseed::cuda

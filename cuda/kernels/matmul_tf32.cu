// Matrix products of float32 by tensor cores (sm_80), operands rounded to tf32: 10 bits of mantissa.
#include "kernels/mma_gemm.cuh"

namespace fireseed::cuda {

bool run_tf32(const Gemm& g) { return run_on_tensor_cores<float>(g, 310); }

}  // namespace fireseed::cuda

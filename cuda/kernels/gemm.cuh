// One matrix product of a batch: c = alpha a b + beta d, for any strides; what its kernels are given.
#pragma once

#include "device/index.cuh"
#include "device/vec.cuh"

namespace fireseed::cuda {

// a (m, k), b (k, n), c and d (m, n); d is added where beta is not 0 and may lie on c. Steps are in elements.
template <class T>
struct Gemm {
  const T* a = nullptr;
  const T* b = nullptr;
  T* c = nullptr;
  const T* d = nullptr;
  int64_t m = 1, n = 1, k = 0;
  int64_t a_row = 0, a_col = 0, b_row = 0, b_col = 0, c_row = 0, c_col = 0, d_row = 0, d_col = 0;
  double alpha = 1, beta = 0;
  int64_t batch = 1;
  StridedIndex<4, int64_t, int32_t> batch_index;  // offsets of a, b, c, d
};

// c's element from the sum of products.
template <class T, class C>
__device__ __forceinline__ T gemm_result(const Gemm<T>& g, C sum, const T* d, int64_t row, int64_t column) {
  C r = static_cast<C>(g.alpha) * sum;
  if (g.beta != 0) r += static_cast<C>(g.beta) * load_as<C>(d[row * g.d_row + column * g.d_col]);
  return store_as<T>(r);
}

// Runs g by the kernel that suits it (matmul.cu).
template <class T>
void run_gemm(const Gemm<T>& g);

// By tensor cores; false where the operands do not lie so that it can (matmul_mma.cu).
bool run_mma(const Gemm<float16>& g);
bool run_mma(const Gemm<bfloat16>& g);

inline constexpr int64_t kMostBatches = 65535;  // of a grid; kernels go on in steps of it

}  // namespace fireseed::cuda

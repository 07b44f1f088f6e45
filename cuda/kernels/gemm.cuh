// One matrix product of a batch: c = alpha a b + beta d, for any strides; what its kernels are given.
#pragma once

#include <functional>

#include "device/index.cuh"
#include "kernels/tile.cuh"
#include "runtime/allocator.h"

namespace fireseed::cuda {

// a (m, k), b (k, n), c and d (m, n); d is added where beta is not 0 and may lie on c. All of one dtype. Steps are in
// elements.
struct Gemm {
  DType dtype;
  const void* a = nullptr;
  const void* b = nullptr;
  void* c = nullptr;
  const void* d = nullptr;
  int64_t m = 1, n = 1, k = 0;
  int64_t a_row = 0, a_col = 0, b_row = 0, b_col = 0, c_row = 0, c_col = 0, d_row = 0, d_col = 0;
  double alpha = 1, beta = 0;
  int64_t batch = 1;
  StridedIndex<4, int64_t, int32_t> batch_index;  // offsets of a, b, c, d
  // k in parts, made by different blocks: c is then their sums (parts, batch, m, n), in the type of the arithmetic,
  // and sum_parts adds them up.
  int parts = 1;
  int64_t part = 0;       // elements of k
  int64_t part_step = 0;  // elements of c from one part to the next
  bool partial = false;   // c is sums of parts
  bool exact = false;     // float32 in full precision, whatever allow_tf32 says
  bool vectors = false;   // four neighbours of a row of c are one or two aligned vectors, and n a multiple of four

  explicit Gemm(DType t) : dtype(t) {}
};

// The epilogue of tiles: c of one matrix of the batch, with its d. `dtype` is g's: kernels for one dtype give it as a
// constant.
template <class C>
struct GemmOut {
  const Gemm& g;
  DType dtype;
  int64_t c, d;  // offsets
  bool vectors;
  __device__ __forceinline__ GemmOut(const Gemm& g_, DType dtype_, int64_t batch, int64_t part)
      : g(g_), dtype(dtype_), vectors(g_.vectors) {
    int64_t offset[4];
    g.batch_index.offsets(batch, offset);
    c = offset[2] + part * g.part_step;
    d = offset[3];
  }
  __device__ __forceinline__ C result(int64_t row, int64_t column, C sum) const {
    C r = static_cast<C>(g.alpha) * sum;
    if (g.beta != 0) r += static_cast<C>(g.beta) * load_number(g.d, d + row * g.d_row + column * g.d_col, dtype, C{});
    return r;
  }
  // Of c. A constant where dtype is one and no half.
  __device__ __forceinline__ DType stored() const {
    return sizeof(C) == 8 || dtype == DType::kFloat32 || !g.partial ? dtype : DType::kFloat32;
  }
  __device__ __forceinline__ void operator()(int64_t row, int64_t column, C sum) const {
    store_sum(g.c, c + row * g.c_row + column * g.c_col, stored(), result(row, column, sum));
  }
  __device__ __forceinline__ void four(int64_t row, int64_t column, const C (&sum)[4]) const {
    C r[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) r[i] = result(row, column + i, sum[i]);
    store_four(g.c, c + row * g.c_row + column, stored(), r);
  }
};

// Runs g by the kernel that suits it (matmul.cu).
void run_gemm(Gemm g);

// Calls launch(g), g.parts and g.part being set, with memory for the parts, and then adds these up (matmul.cu): c =
// alpha (sum of the parts, first to last) + beta d.
void in_parts(const Gemm& g, const std::function<void(const Gemm&)>& launch);

// Copies the elements of `from` to `to`, of the same sizes (matmul.cu).
void copy_operand(const TensorView& to, const TensorView& from);

// By tensor cores: halves (matmul_mma.cu), and float as tf32 (matmul_tf32.cu); false where the device has none.
bool run_mma(const Gemm& g);
bool run_tf32(const Gemm& g);

// Of halves by Hopper's wgmma, operands in aligned rows along k, or across it; false where it does not suit
// (matmul_sm90.cu).
bool run_wgmma(const Gemm& g, bool across_a, bool across_b);

// Of a matrix and a vector: m or n is 1 (matmul_vector.cu).
void run_vector(const Gemm& g);

}  // namespace fireseed::cuda

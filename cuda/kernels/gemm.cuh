// One matrix product of a batch: c = alpha a b + beta d, for any strides; what its kernels are given.
#pragma once

#include "device/index.cuh"
#include "device/vec.cuh"
#include "runtime/allocator.h"

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
  bool vectors = false;                           // four neighbours of a row of c are one or two aligned vectors
  // k in parts, made by different blocks: their sums go to `partial` (parts, batch, m, n), and sum_parts adds them
  // up.
  int parts = 1;
  int64_t part = 0;  // elements of k
  compute_type<T>* partial = nullptr;
};

// The epilogue of tiles: c of one matrix of the batch, with its d; or what one of several parts of k sums up to.
template <class T>
struct GemmOut {
  using C = compute_type<T>;
  const Gemm<T>& g;
  T* c;
  const T* d;
  C* partial;  // null: c
  __device__ __forceinline__ GemmOut(const Gemm<T>& g_, int64_t batch, int64_t part) : g(g_) {
    int64_t offset[4];
    g.batch_index.offsets(batch, offset);
    c = g.c + offset[2];
    d = g.d + offset[3];
    partial = g.parts > 1 ? g.partial + (part * g.batch + batch) * g.m * g.n : nullptr;
  }
  __device__ __forceinline__ C result(C sum, const T* added) const {
    C r = static_cast<C>(g.alpha) * sum;
    if (g.beta != 0) r += static_cast<C>(g.beta) * load_as<C>(*added);
    return r;
  }
  __device__ __forceinline__ void operator()(int64_t row, int64_t column, C sum) const {
    if (partial) partial[row * g.n + column] = sum;
    else c[row * g.c_row + column * g.c_col] = store_as<T>(result(sum, d + row * g.d_row + column * g.d_col));
  }
  __device__ __forceinline__ void four(int64_t row, int64_t column, const C (&sum)[4], int inside) const {
    if (partial) {
      C* to = partial + row * g.n + column;
#pragma unroll
      for (int i = 0; i < 4; ++i)
        if (i < inside) to[i] = sum[i];
      return;
    }
    T* to = c + row * g.c_row + column * g.c_col;
    const T* added = d + row * g.d_row + column * g.d_col;
    constexpr int kVec = sizeof(T) == 8 ? 2 : 4;
    Vec<T, kVec> r[4 / kVec];
#pragma unroll
    for (int i = 0; i < 4; ++i)
      if (i < inside) r[i / kVec].v[i % kVec] = store_as<T>(result(sum[i], added + i * g.d_col));
    if (inside == 4 && g.vectors) {
#pragma unroll
      for (int i = 0; i < 4; i += kVec) r[i / kVec].store(to + i);
    } else {
#pragma unroll
      for (int i = 0; i < 4; ++i)
        if (i < inside) to[i * g.c_col] = r[i / kVec].v[i % kVec];
    }
  }
};

// Runs g by the kernel that suits it (matmul.cu).
template <class T>
void run_gemm(const Gemm<T>& g);

// c = alpha (sum of the parts, first to last) + beta d (matmul.cu).
template <class T>
void sum_parts(const Gemm<T>& g);

// Calls launch(g), g.parts and g.part being set, with memory for the parts, and then adds these up.
template <class T, class F>
void in_parts(const Gemm<T>& g, const F& launch) {
  if (g.parts == 1) return launch(g);
  const Scratch partial(static_cast<size_t>(g.parts * g.batch * g.m * g.n) * sizeof(compute_type<T>));
  Gemm<T> h = g;
  h.partial = partial.ptr<compute_type<T>>();
  launch(h);
  sum_parts(h);
}

// Copies the elements of `from` to `to`, of the same sizes (matmul.cu).
void copy_operand(const TensorView& to, const TensorView& from);

// By tensor cores: halves, and float as tf32; false where the device has none (matmul_mma.cu, matmul_tf32.cu).
bool run_mma(const Gemm<float16>& g);
bool run_mma(const Gemm<bfloat16>& g);
bool run_mma(const Gemm<float>& g);

// By Hopper's wgmma, operands in aligned rows along k, or across it; false where it does not suit (matmul_sm90.cu).
bool run_wgmma(const Gemm<float16>& g, bool across_a, bool across_b);
bool run_wgmma(const Gemm<bfloat16>& g, bool across_a, bool across_b);

// Of a matrix and a vector: m or n is 1 (matmul_vector.cu).
template <class T>
void run_vector(const Gemm<T>& g);

}  // namespace fireseed::cuda

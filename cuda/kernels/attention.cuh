// What the attention kernels share: heads as strided matrices, masks, and tiles of products by plain arithmetic.
#pragma once

#include <algorithm>

#include "device/index.cuh"
#include "device/reduce.cuh"
#include "device/vec.cuh"
#include "runtime/stream.h"
#include "tensor/attrs/attention.h"

namespace fireseed::cuda {

// Note [Attention on devices]
// As on the CPU the scores never exist as a whole. Forward, a block of threads has some queries of a head and goes
// through blocks of keys with a running maximum and sum (Dao et al. 2022). Backward, the weights are made again from
// the rows' sums that the forward pass kept (Dao 2023): with p = 2^(s - lse), dp = g v^T and d = Σ g y of each row,
// ds = p (dp - d), gv = p^T g, gk = ds^T q scale, gq = ds k scale. One launch has blocks of keys and goes through the
// queries for gk and gv, another has blocks of queries and goes through the keys for gq; no two blocks write one
// place, so the same input gives the same bits. Blocks that the causal mask hides are left out.
// Plain arithmetic (attention.cu, attention_backward.cu) takes every dtype, size and layout; halves with heads of up
// to 256 go to tensor cores where there are some (attention_mma.cu, attention_backward_mma.cu).

template <class T>
struct Matrix {
  T* data = nullptr;
  int64_t row = 0, col = 0;  // steps in elements
  __device__ __forceinline__ Matrix at(int64_t offset) const { return {data + offset, row, col}; }
  __device__ __forceinline__ T& operator()(int64_t r, int64_t c) const { return data[r * row + c * col]; }
};

// Operands whose offsets are found by query head, and by key head.
enum QueryOperand { kOffQ, kOffY, kOffMask, kOffG, kOffGq, kQueryOperands };
enum KeyOperand { kOffK, kOffV, kOffGk, kOffGv, kKeyOperands };

// One call. q (heads, queries, depth), k (heads / groups, keys, depth), v (heads / groups, keys, width), y and g
// (heads, queries, width).
template <class T>
struct Attention {
  using C = compute_type<T>;
  Matrix<T> q, k, v, y, g, gq, gk, gv;  // the last four: backward
  C* lse = nullptr;                     // (heads, queries)
  const C* d = nullptr;                 // (heads, queries), backward
  const void* mask = nullptr;           // null: none
  int64_t mask_row = 0, mask_col = 0;
  DType mask_dtype = DType::kUndefined;
  bool causal = false;
  int64_t heads = 0, groups = 1, queries = 0, keys = 0, depth = 0, width = 0;
  C scale = 1;  // of scores
  StridedIndex<kQueryOperands, int64_t, int32_t> query_heads;
  StridedIndex<kKeyOperands, int64_t, int32_t> key_heads;
};

template <class T>
Matrix<T> matrix_of(const TensorView& v) {
  return {v.ptr<T>(), v.stride(-2), v.stride(-1)};
}
// The dimensions before the last two.
inline TensorView heads_of(const TensorView& v) {
  TensorView r = v;
  r.ndim -= 2;
  r.numel = 1;
  for (int i = 0; i < r.ndim; ++i) r.numel *= r.sizes[i];
  return r;
}

// The operands of a call; those that it has not are views without dtype.
struct AttentionViews { TensorView q, k, v, mask, y, g, gq, gk, gv; };

template <class T>
Attention<T> attention_of(const AttentionViews& x, const AttentionAttrs& attrs) {
  const auto heads_or = [](const TensorView& v, const TensorView& absent) {
    return heads_of(v.defined() ? v : absent);
  };
  const TensorView q = heads_of(x.q), y = heads_or(x.y, x.q), mask = heads_or(x.mask, x.q), g = heads_or(x.g, x.q),
                   gq = heads_or(x.gq, x.q);
  const TensorView k = heads_of(x.k), v = heads_of(x.v), gk = heads_or(x.gk, x.k), gv = heads_or(x.gv, x.v);
  FS_CHECK(q.numel < (int64_t{1} << 31), "attention: ", q.numel, " heads; at most 2^31 - 1");
  Attention<T> a;
  a.q = matrix_of<T>(x.q), a.k = matrix_of<T>(x.k), a.v = matrix_of<T>(x.v), a.y = matrix_of<T>(x.y);
  if (x.g.defined()) {
    a.g = matrix_of<T>(x.g), a.gq = matrix_of<T>(x.gq), a.gk = matrix_of<T>(x.gk), a.gv = matrix_of<T>(x.gv);
  }
  if (x.mask.defined()) {
    a.mask = x.mask.data, a.mask_dtype = x.mask.dtype;
    a.mask_row = x.mask.stride(-2), a.mask_col = x.mask.stride(-1);
  }
  a.causal = attrs.causal != 0;
  a.heads = q.numel, a.groups = attrs.groups;
  a.queries = x.q.size(-2), a.keys = x.k.size(-2), a.depth = x.q.size(-1), a.width = x.v.size(-1);
  a.scale = static_cast<typename Attention<T>::C>(attrs.scale);
  a.query_heads = Geometry<kQueryOperands>({&q, &y, &mask, &g, &gq}).template index<int64_t, int32_t>();
  a.key_heads = Geometry<kKeyOperands>({&k, &v, &gk, &gv}).template index<int64_t, int32_t>();
  return a;
}

constexpr int64_t pieces_of(int64_t n, int64_t size) { return (n + size - 1) / size; }

__device__ __forceinline__ float multiply_add(float a, float b, float c) { return ::fmaf(a, b, c); }
__device__ __forceinline__ double multiply_add(double a, double b, double c) { return ::fma(a, b, c); }
__device__ __forceinline__ float power_of_two(float x) { return ::exp2f(x); }
__device__ __forceinline__ double power_of_two(double x) { return ::exp2(x); }
__device__ __forceinline__ float larger(float a, float b) { return ::fmaxf(a, b); }
__device__ __forceinline__ double larger(double a, double b) { return ::fmax(a, b); }
__device__ __forceinline__ float base2_log(float x) { return ::log2f(x); }
__device__ __forceinline__ double base2_log(double x) { return ::log2(x); }

// Query i sees key j, as far as sizes and order tell.
template <class T>
__device__ __forceinline__ bool sees(const Attention<T>& a, int64_t i, int64_t j) {
  return i < a.queries && j < a.keys && (!a.causal || j <= i);
}
// The score s (times log2 e) with element `at` of the mask put in: bool (true takes part) or a number to be added.
template <class T, class C>
__device__ __forceinline__ C masked(const Attention<T>& a, int64_t at, C s) {
  if (a.mask_dtype == DType::kBool) return static_cast<const uint8_t*>(a.mask)[at] ? s : -kInfinity<C>;
  C m;
  if (a.mask_dtype == DType::kFloat32) m = static_cast<C>(static_cast<const float*>(a.mask)[at]);
  else m = load_as<C>(static_cast<const T*>(a.mask)[at]);
  return multiply_add(m, static_cast<C>(kLog2E), s);
}

// ---- tiles by plain arithmetic: 256 threads, thread (ty, tx) = (t / 16, t % 16) ------------------------------

inline constexpr int kPlainThreads = 256, kTile = 64;
// Elements along the summed dimension that lie in shared memory at a time, and steps between them.
template <class C>
inline constexpr int kTileStep = static_cast<int>(128 / sizeof(C));
template <class C>
inline constexpr int kTilePitch = kTile + static_cast<int>(16 / sizeof(C));
template <class C, int kPer>
inline constexpr int kValuePitch = 16 * kPer + static_cast<int>(16 / sizeof(C));
// Elements of shared memory: what the products fetch, then a tile of weights.
template <class C, int kPer>
inline constexpr int kFetched =
    kTileStep<C> * (2 * kTilePitch<C> > kValuePitch<C, kPer> ? 2 * kTilePitch<C> : kValuePitch<C, kPer>);
template <class C, int kPer>
inline constexpr int kPlainShared = kFetched<C, kPer> + kTile * kTilePitch<C>;

template <int kN, class C>
__device__ __forceinline__ void load_some(C (&x)[kN], const C* from) {
  constexpr int kV = kN * sizeof(C) >= 16 ? static_cast<int>(16 / sizeof(C)) : kN;
#pragma unroll
  for (int i = 0; i < kN; i += kV) {
    const auto v = Vec<C, kV>::load(from + i);
#pragma unroll
    for (int j = 0; j < kV; ++j) x[i + j] = v.v[j];
  }
}

// s[i][j] = Σ_c a[a0 + 4 ty + i][c] b[b0 + 4 tx + j][c], c < depth; rows from a_rows, b_rows on count as zeros.
template <class T, class C>
__device__ __forceinline__ void tile_scores(C (&s)[4][4], const Matrix<T>& a, int64_t a0, int64_t a_rows,
                                            const Matrix<T>& b, int64_t b0, int64_t b_rows, int64_t depth,
                                            C* shared) {
  constexpr int kStep = kTileStep<C>, kPitch = kTilePitch<C>;
  const int t = static_cast<int>(threadIdx.x), tx = t % 16, ty = t / 16;
  C *tile_a = shared, *tile_b = shared + kStep * kPitch;
#pragma unroll
  for (int i = 0; i < 4; ++i)
#pragma unroll
    for (int j = 0; j < 4; ++j) s[i][j] = C(0);
  for (int64_t c0 = 0; c0 < depth; c0 += kStep) {
#pragma unroll
    for (int e = t; e < kTile * kStep; e += kPlainThreads) {
      const int c = e % kStep, r = e / kStep;
      tile_a[c * kPitch + r] = a0 + r < a_rows && c0 + c < depth ? load_as<C>(a(a0 + r, c0 + c)) : C(0);
      tile_b[c * kPitch + r] = b0 + r < b_rows && c0 + c < depth ? load_as<C>(b(b0 + r, c0 + c)) : C(0);
    }
    __syncthreads();
#pragma unroll(8)
    for (int c = 0; c < kStep; ++c) {
      C x[4], y[4];
      load_some(x, tile_a + c * kPitch + ty * 4);
      load_some(y, tile_b + c * kPitch + tx * 4);
#pragma unroll
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j) s[i][j] = multiply_add(x[i], y[j], s[i][j]);
    }
    __syncthreads();
  }
}

// Column of a thread's c-th sum: groups of four, so that neighbouring threads read neighbouring words.
__device__ __forceinline__ int tile_column(int c, int tx) { return c / 4 * 64 + tx * 4 + c % 4; }
// Puts w[i][j], of row 4 ty + i and summed index 4 tx + j, where tile_sums reads it.
template <class C>
__device__ __forceinline__ void put_weights(C* weights, const C (&w)[4][4]) {
  const int tx = static_cast<int>(threadIdx.x) % 16, ty = static_cast<int>(threadIdx.x) / 16;
  constexpr int kV = static_cast<int>(16 / sizeof(C));
#pragma unroll
  for (int j = 0; j < 4; ++j)
#pragma unroll
    for (int i = 0; i < 4; i += kV) {
      Vec<C, kV> v;
#pragma unroll
      for (int k = 0; k < kV; ++k) v.v[k] = w[i + k][j];
      v.store(weights + (tx * 4 + j) * kTilePitch<C> + ty * 4 + i);
    }
}
// sum[i][c] += Σ_n w[n][4 ty + i] v[v0 + n][c0 + tile_column(c)], n < 64; rows from v_rows on count as zeros. The
// weights may have been written just before, and may be written again when it returns.
template <int kPer, class T, class C>
__device__ __forceinline__ void tile_sums(C (&sum)[4][kPer], const C* weights, const Matrix<T>& v, int64_t v0,
                                          int64_t v_rows, int64_t c0, int64_t columns, C* shared) {
  constexpr int kStep = kTileStep<C>, kPitch = kValuePitch<C, kPer>, kColumns = 16 * kPer;
  const int t = static_cast<int>(threadIdx.x), tx = t % 16, ty = t / 16;
  for (int n0 = 0; n0 < kTile; n0 += kStep) {
#pragma unroll
    for (int e = t; e < kStep * kColumns; e += kPlainThreads) {
      const int c = e % kColumns, n = e / kColumns;
      shared[n * kPitch + c] = v0 + n0 + n < v_rows && c0 + c < columns ? load_as<C>(v(v0 + n0 + n, c0 + c)) : C(0);
    }
    __syncthreads();
#pragma unroll(8)
    for (int n = 0; n < kStep; ++n) {
      C w[4];
      load_some(w, weights + (n0 + n) * kTilePitch<C> + ty * 4);
#pragma unroll
      for (int c = 0; c < kPer; c += 4) {
        C x[4];
        load_some(x, shared + n * kPitch + tile_column(c, tx));
#pragma unroll
        for (int i = 0; i < 4; ++i)
#pragma unroll
          for (int j = 0; j < 4; ++j) sum[i][c + j] = multiply_add(w[i], x[j], sum[i][c + j]);
      }
    }
    __syncthreads();
  }
}
// to[r0 + 4 ty + i][c0 + tile_column(c)] = sum[i][c] * factor[i], inside rows and columns.
template <int kPer, class T, class C>
__device__ __forceinline__ void store_tile(const Matrix<T>& to, int64_t r0, int64_t rows, int64_t c0, int64_t columns,
                                           const C (&sum)[4][kPer], const C (&factor)[4]) {
  const int tx = static_cast<int>(threadIdx.x) % 16, ty = static_cast<int>(threadIdx.x) / 16;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int64_t row = r0 + ty * 4 + i;
#pragma unroll
    for (int c = 0; c < kPer; ++c) {
      const int64_t column = c0 + tile_column(c, tx);
      if (row < rows && column < columns) to(row, column) = store_as<T>(sum[i][c] * factor[i]);
    }
  }
}

// By tensor cores; false where the call is not made for them (attention_mma.cu, attention_backward_mma.cu). `a` is
// the call x with lse, and backward d.
bool run_attention_mma(const AttentionViews& x, const AttentionAttrs& attrs, const Attention<float16>& a);
bool run_attention_mma(const AttentionViews& x, const AttentionAttrs& attrs, const Attention<bfloat16>& a);
bool run_attention_backward_mma(const AttentionViews& x, const AttentionAttrs& attrs, const Attention<float16>& a);
bool run_attention_backward_mma(const AttentionViews& x, const AttentionAttrs& attrs, const Attention<bfloat16>& a);

}  // namespace fireseed::cuda

// What the attention kernels share: heads as strided matrices, masks, and tiles of products by plain arithmetic.
#pragma once

#include <algorithm>

#include "device/index.cuh"
#include "device/memory.cuh"
#include "device/reduce.cuh"
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

// Of storage type T.
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
// (heads, queries, width). T: the storage type, or with plain arithmetic that of the arithmetic, C; the elements are
// of dtype.
template <class T>
struct Attention {
  using C = compute_type<T>;
  DType dtype = DType::kUndefined;
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
  return {static_cast<T*>(v.data), v.stride(-2), v.stride(-1)};
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
  constexpr int64_t kMost = INT32_MAX - 256;  // the kernels count heads, rows and columns in int
  FS_CHECK(std::max({q.numel, x.q.size(-2), x.k.size(-2), x.q.size(-1), x.v.size(-1)}) <= kMost,
           "attention: ", q.numel, " heads of ", x.q.size(-2), " queries and ", x.k.size(-2),
           " keys are too many; at most ", kMost);
  Attention<T> a;
  a.dtype = x.q.dtype;
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

__device__ __forceinline__ float power_of_two(float x) { return ::exp2f(x); }
__device__ __forceinline__ double power_of_two(double x) { return ::exp2(x); }
__device__ __forceinline__ float larger(float a, float b) { return ::fmaxf(a, b); }
__device__ __forceinline__ double larger(double a, double b) { return ::fmax(a, b); }
__device__ __forceinline__ float base2_log(float x) { return ::log2f(x); }
__device__ __forceinline__ double base2_log(double x) { return ::log2(x); }

// The score s (times log2 e) with element `at` of the mask put in: bool (true takes part) or a number to be added.
template <class T, class C>
__device__ __forceinline__ C masked(const Attention<T>& a, int64_t at, C s) {
  if (a.mask_dtype == DType::kBool) return static_cast<const uint8_t*>(a.mask)[at] ? s : -kInfinity<C>;
  C m;
  if constexpr (std::is_same_v<C, double>) m = load_double(a.mask, at, a.mask_dtype);
  else m = load_number(a.mask, at, a.mask_dtype, C());
  return multiply_add(m, static_cast<C>(kLog2E), s);
}

// By tensor cores; false where the call is not made for them (attention_mma.cu, attention_backward_mma.cu). `a` is
// the call x with lse, and backward d.
bool run_attention_mma(const AttentionViews& x, const AttentionAttrs& attrs, const Attention<float>& a);
bool run_attention_backward_mma(const AttentionViews& x, const AttentionAttrs& attrs, const Attention<float>& a);

}  // namespace fireseed::cuda

// What the attention kernels share: heads as strided matrices, packed copies of them, masks.
#pragma once

#include "base/parallel.h"
#include "cpu/gemm_panel.h"
#include "math/scalar.h"
#include "tensor/attrs/attention.h"
#include "tensor/view.h"

namespace fireseed::cpu::FS_ISA {

// Note [Blocked attention]
// The scores never exist as a whole: a block of queries meets a block of keys, and the row maxima and sums of the
// softmax are brought up to date block by block (Dao et al. 2022; Milakov and Gimelshein 2018). The forward pass
// keeps the logarithm of each row's sum, from which the backward pass makes a block of weights anew. Scores are taken
// times log2(e), so that weights are powers of two. Blocks that the causal mask hides are left out.

constexpr int64_t at_least(int64_t a, int64_t b) { return a > b ? a : b; }
constexpr int64_t at_most(int64_t a, int64_t b) { return a < b ? a : b; }
constexpr int64_t pieces_of(int64_t n, int64_t size) { return (n + size - 1) / size; }

// A tensor (..., rows, cols) as a list of matrices.
template <class T>
struct Heads {
  explicit Heads(const TensorView& v)
      : view(v), rows(v.size(-2)), cols(v.size(-1)), row(v.stride(-2)), col(v.stride(-1)) {}
  T* at(int64_t head) const {
    int64_t offset = 0;
    for (int d = view.ndim - 3; d >= 0; --d) {
      offset += head % view.sizes[d] * view.strides[d];
      head /= view.sizes[d];
    }
    return view.ptr<T>() + offset;
  }
  int64_t count() const {
    int64_t n = 1;
    for (int d = 0; d < view.ndim - 2; ++d) n *= view.sizes[d];
    return n;
  }
  TensorView view;
  int64_t rows, cols, row, col;
};

template <class C>
constexpr int64_t whole_vectors(int64_t n) {
  return (n + Vec<C>::kSize - 1) / Vec<C>::kSize * Vec<C>::kSize;
}

// Rows [begin, end) of a head, times `scale`, in row-major order; `step` elements a row, zeros beyond the columns.
template <class T, class C>
void copy_rows(C* to, int64_t step, const Heads<T>& h, int64_t head, int64_t begin, int64_t end, C scale) {
  constexpr int kV = Vec<C>::kSize;
  const T* from = h.at(head);
  for (int64_t i = begin; i < end; ++i, to += step) {
    const T* p = from + i * h.row;
    for (int64_t j = 0; j < step; j += kV) {
      const int64_t left = h.cols - j;
      const int n = left >= kV ? kV : left > 0 ? static_cast<int>(left) : 0;
      if (h.col == 1) {
        ((n == kV ? load_as<C>(p + j) : load_as<C>(p + j, n)) * Vec<C>(scale)).store(to + j);
      } else {
        for (int k = 0; k < kV; ++k) to[j + k] = k < n ? static_cast<C>(p[(j + k) * h.col]) * scale : C(0);
      }
    }
  }
}
// Back: rows of C into rows [begin, end) of a head (unit column stride), times scale.
template <class T, class C>
void store_row(T* to, const C* from, int64_t n, C scale) {
  constexpr int kV = Vec<C>::kSize;
  for (int64_t j = 0; j < n; j += kV) {
    const int lanes = n - j < kV ? static_cast<int>(n - j) : kV;
    const Vec<C> v = Vec<C>::load(from + j) * Vec<C>(scale);  // `from` has whole vectors
    if constexpr (same_type<T, C>) {
      if (lanes == kV) v.store(to + j);
      else v.store(to + j, lanes);
    } else {
      store_float(to + j, v, lanes);
    }
  }
}

// The transposed head in panels of kTileCols rows, as the micro-kernel reads them: panel p starts at p * kTileCols *
// cols.
template <class T, class C>
void pack_panel(C* to, const Heads<T>& h, int64_t head, int64_t p) {
  constexpr int64_t kW = kTileCols<C>;
  pack_b<C>(to, h.at(head) + p * kW * h.row, h.col, h.row, h.cols, static_cast<int>(at_most(kW, h.rows - p * kW)));
}
// Elements between the rows of a panel that holds rows [p * kTileCols, ...) of `rows`.
template <class C>
int64_t panel_step(int64_t rows, int64_t p) {
  return panel_width<C>(at_most(kTileCols<C>, rows - p * kTileCols<C>));
}

// 2^x for weights, x <= 0 but for rounding; NaN stays. Within 2 units in the last place.
template <class V>
FS_INLINE V weight_of(V x) {
  if constexpr (same_type<V, Vec<float>>) {
    // 2^r for |r| <= 1/2, a minimax fit.
    constexpr float kP[] = {1.0000001f, 0.69314694f, 0.2402212f, 0.05550713f, 0.009675541f, 0.001327647f};
    x = max(V(-151.0f), x);
    const V n = nearbyint(x);
    V y = kP[5];
    for (int i = 4; i >= 0; --i) y = fma(y, x - n, V(kP[i]));
    return scale2(y, n);
  } else {
    return exp2(x);
  }
}

// The mask of one head: additive in C's sense, or bool (true takes part); absent: no effect.
template <class C>
class AttentionMask {
 public:
  static constexpr int kV = Vec<C>::kSize;
  explicit AttentionMask(const TensorView& v) : view_(v) {}
  bool any() const { return view_.defined(); }
  // s[0, n) (scores times log2 e of query i and keys j ...) with the mask put in.
  void apply(C* s, int64_t head, int64_t i, int64_t j, int64_t n) const {
    int64_t offset = i * view_.stride(-2) + j * view_.stride(-1);
    for (int d = view_.ndim - 3; d >= 0; --d) {
      offset += head % view_.sizes[d] * view_.strides[d];
      head /= view_.sizes[d];
    }
    const int64_t step = view_.stride(-1);
    if (view_.dtype == DType::kBool) {
      const uint8_t* m = view_.ptr<uint8_t>() + offset;
      const C hidden = -static_cast<C>(__builtin_inf());
      int64_t k = 0;
      for (; step == 1 && k + kV <= n; k += kV)
        where(load_mask<C>(m + k), Vec<C>::load(s + k), Vec<C>(hidden)).store(s + k);
      for (; k < n; ++k) s[k] = m[k * step] ? s[k] : hidden;
    } else {
      dispatch_float(view_.dtype, [&](auto tag) {
        using M = typename decltype(tag)::type;
        const M* m = view_.ptr<M>() + offset;
        int64_t k = 0;
        if constexpr (same_type<compute_type<M>, C>)
          for (; step == 1 && k + kV <= n; k += kV)
            fma(load_as<C>(m + k), Vec<C>(kLog2E), Vec<C>::load(s + k)).store(s + k);
        for (; k < n; ++k) s[k] += static_cast<C>(static_cast<compute_type<M>>(m[k * step]) * kLog2E);
      });
    }
  }

 private:
  TensorView view_;
};

}  // namespace fireseed::cpu::FS_ISA

// What the attention kernels share: heads as strided matrices, packed copies of them, masks.
#pragma once

#include "base/parallel.h"
#include "cpu/gemm_panel.h"
#include "math/scalar.h"
#include "tensor/attrs/attention.h"
#include "tensor/view.h"

namespace fireseed::cpu::FS_ISA {

// Note [Blocked attention]
// The scores never exist as a whole: a panel of queries meets a block of keys, and the maxima and sums of the softmax
// are brought up to date block by block (Dao et al. 2022; Milakov and Gimelshein 2018). The forward pass keeps the
// logarithm of each row's sum, from which the backward pass makes a block of weights anew. Scores are taken times
// log2(e), so that weights are powers of two. Blocks that the causal mask hides are left out.
//
// A block of scores lies transposed, a row for each key, its lanes the queries of the panel. So nothing is reduced
// across lanes, the products k q^T and v g^T read keys and values row by row where they are, and all that is packed
// is a panel of queries (and in the backward pass of cotangents).

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

// Zeros, also of nothing, which scratch memory has no address for.
template <class C>
void set_zero(C* to, int64_t count) {
  if (count > 0) __builtin_memset(to, 0, static_cast<size_t>(count) * sizeof(C));
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

// Queries of a panel: one or two vectors of lanes.
template <class C>
inline constexpr int64_t kPanelQueries = kTileCols<C>;

// Rows [i, i + rows) of a head transposed, rows <= kPanelQueries: to[e * step + r] = h[i + r][e], step a vector or
// two; lanes without a row are zeros.
template <class T, class C>
void pack_queries(C* to, const Heads<T>& h, int64_t head, int64_t i, int64_t rows) {
  pack_b<C>(to, h.at(head) + i * h.row, h.col, h.row, h.cols, static_cast<int>(rows));
}

// Rows of C in memory, `step` elements apart.
template <class C>
struct Rows {
  const C* data;
  int64_t step;
};
// Whether the rows of a head can be read in place: as the first operand of a product, or with `whole` vectors also as
// the second.
template <class C, class T>
bool in_place(const Heads<T>& h, bool whole) {
  return same_type<T, C> && h.col == 1 && (!whole || h.cols % Vec<C>::kSize == 0);
}
// Rows [begin, end) of a head, in place or as a copy in `room`, which has whole vectors for each.
template <class C, class T>
Rows<C> rows_of(const Heads<T>& h, int64_t head, int64_t begin, int64_t end, bool whole, C* room) {
  if (in_place<C>(h, whole)) return {reinterpret_cast<const C*>(h.at(head) + begin * h.row), h.row};
  const int64_t step = whole_vectors<C>(h.cols);
  copy_rows(room, step, h, head, begin, end, C(1));
  return {room, step};
}

// 2^x for weights, x <= 0 but for rounding; NaN stays. Within 2 units in the last place, and 0 below 2^-126:
// processors take a hundred cycles for a result that is subnormal.
template <class V>
FS_INLINE V weight_of(V x) {
  if constexpr (same_type<V, Vec<float>>) {
    // 2^r for |r| <= 1/2, a minimax fit.
    constexpr float kP[] = {1.0000001f, 0.69314694f, 0.2402212f, 0.05550713f, 0.009675541f, 0.001327647f};
    const auto tiny = x < V(-126.0f);
    x = max(V(-126.0f), x);
    const V n = nearbyint(x);
    V y = kP[5];
    for (int i = 4; i >= 0; --i) y = fma(y, x - n, V(kP[i]));
    return where(tiny, V(0.0f), scale2(y, n));
  } else {
    return exp2(x);
  }
}

// The mask, additive in C's sense or bool (true takes part), or absent.
template <class C>
class AttentionMask {
 public:
  static constexpr int kV = Vec<C>::kSize;
  explicit AttentionMask(const TensorView& v) : view_(v) {}
  bool any() const { return view_.defined(); }

  // Puts the mask into a block of scores (times log2 e): s[j * step + r] of key j0 + j < j0 + keys and query i0 + r <
  // i0 + rows. room: kPanelQueries rows and columns of whole panels, both for `keys`.
  void apply(C* s, int64_t step, int64_t head, int64_t i0, int64_t rows, int64_t j0, int64_t keys, C* room) const {
    const int64_t width = keys;
    C* turned = room + kPanelQueries<C> * width;
    for (int64_t r = 0; r < rows; ++r) read(room + r * width, head, i0 + r, j0, keys);
    pack_b<C>(turned, room, 1, width, keys, static_cast<int>(rows));
    const int64_t lanes = panel_width<C>(rows);
    const V low = -static_cast<C>(__builtin_inf());
    for (int64_t j = 0; j < keys; ++j)
      for (int64_t r = 0; r < lanes; r += kV) {
        const V m = V::load(turned + j * lanes + r);
        where(m == low, low, V::load(s + j * step + r) + m).store(s + j * step + r);
      }
  }
  // The same for the scores of one query, which lie along the keys.
  void apply_row(C* s, int64_t head, int64_t i, int64_t j0, int64_t keys, C* room) const {
    read(room, head, i, j0, keys);
    for (int64_t j = 0; j < keys; ++j) s[j] = room[j] == -static_cast<C>(__builtin_inf()) ? room[j] : s[j] + room[j];
  }

 private:
  using V = Vec<C>;

  // to[j] = what the mask adds to the score of query i and key j0 + j, times log2 e: 0 or -inf where it is bool.
  void read(C* to, int64_t head, int64_t i, int64_t j0, int64_t keys) const {
    int64_t offset = i * view_.stride(-2) + j0 * view_.stride(-1);
    for (int d = view_.ndim - 3; d >= 0; --d) {
      offset += head % view_.sizes[d] * view_.strides[d];
      head /= view_.sizes[d];
    }
    const int64_t step = view_.stride(-1);
    int64_t j = 0;
    if (view_.dtype == DType::kBool) {
      const uint8_t* m = view_.ptr<uint8_t>() + offset;
      const C hidden = -static_cast<C>(__builtin_inf());
      for (; step == 1 && j + kV <= keys; j += kV) where(load_mask<C>(m + j), V(C(0)), V(hidden)).store(to + j);
      for (; j < keys; ++j) to[j] = m[j * step] ? C(0) : hidden;
    } else {
      dispatch_float(view_.dtype, [&](auto tag) {
        using M = typename decltype(tag)::type;
        const M* m = view_.ptr<M>() + offset;
        if constexpr (same_type<compute_type<M>, C>)
          for (; step == 1 && j + kV <= keys; j += kV) (load_as<C>(m + j) * V(C(kLog2E))).store(to + j);
        for (; j < keys; ++j) to[j] = static_cast<C>(static_cast<compute_type<M>>(m[j * step]) * kLog2E);
      });
    }
  }

  TensorView view_;
};
// Elements of AttentionMask::apply's room.
template <class C>
constexpr int64_t mask_room(int64_t keys) {
  return 2 * kPanelQueries<C> * keys;
}

// Lanes below the first that the causal mask shows key j to, of a vector whose lane 0 is query i.
template <class C>
FS_INLINE Mask<C> hidden_lanes(int64_t j, int64_t i) {
  return Mask<C>::first(static_cast<int>(at_most(Vec<C>::kSize, at_least(0, j - i))));
}

}  // namespace fireseed::cpu::FS_ISA

// Reducers of spread: mean and sum of squared deviations in one pass over memory, merged by Chan's formula.
#pragma once

#include "cpu/reduce_ops.h"

namespace fireseed::cpu::FS_ISA {

// Note [Variance]
// Rows are taken in blocks that stay in the first-level cache: a block's mean, then its squared deviations from it.
// Columns are taken eight rows at a time from registers. Blocks (n, mean, M2) merge by
//   M2 = M2a + M2b + d²·na·nb/(na+nb),  mean = mean_a + d·nb/(na+nb),  d = mean_b - mean_a
// (Chan, Golub, LeVeque 1983): no cancellation, whatever the mean.

template <class C>
struct VarState {
  Vec<C> shift, mean, m2;  // shift: the first row; mean is relative to it, so that large offsets cost no digits
};

inline void merge_moments(Part& a, const Part& b) {
  if (b.n == 0) return;
  const double na = static_cast<double>(a.n), nb = static_cast<double>(b.n), d = b.a.d - a.a.d;
  a.a.d += d * (nb / (na + nb));
  a.b.d += b.b.d + d * d * (na * nb / (na + nb));
  a.n += b.n;
}

// Mean and sum of squared deviations of n contiguous elements, added to part. kFetch: what lies `next` elements on is
// wanted next.
template <bool kFetch = false, class T>
FS_INLINE void add_moments(Part& part, const T* p, int64_t n, int64_t next = 0) {
  using C = compute_type<T>;
  using V = Vec<C>;
  constexpr int kW = V::kSize;
  constexpr int64_t kBlock = 2048;
  for (int64_t b = 0; b < n; b += kBlock) {
    const int64_t m = smaller(kBlock, n - b);
    const T* q = p + b;
    V s0 = C(0), s1 = C(0), s2 = C(0), s3 = C(0);
    int64_t i = 0;
    for (; i + 4 * kW <= m; i += 4 * kW) {
      s0 += load_as<C>(q + i);
      s1 += load_as<C>(q + i + kW);
      s2 += load_as<C>(q + i + 2 * kW);
      s3 += load_as<C>(q + i + 3 * kW);
    }
    for (; i + kW <= m; i += kW) s0 += load_as<C>(q + i);
    if (i < m) s1 += load_as<C>(q + i, static_cast<int>(m - i), C(0));
    const C mean = reduce_add((s0 + s1) + (s2 + s3)) / static_cast<C>(m);
    const V center = mean;
    s0 = C(0), s1 = C(0), s2 = C(0), s3 = C(0);
    V r0 = C(0), r1 = C(0);  // what rounding left in the mean
    for (i = 0; i + 4 * kW <= m; i += 4 * kW) {
      for (int v = 0; kFetch && v < 4; ++v) fetch_next(q, next, i + v * kW);
      const V d0 = load_as<C>(q + i) - center, d1 = load_as<C>(q + i + kW) - center;
      const V d2 = load_as<C>(q + i + 2 * kW) - center, d3 = load_as<C>(q + i + 3 * kW) - center;
      s0 = fma(d0, d0, s0), s1 = fma(d1, d1, s1), s2 = fma(d2, d2, s2), s3 = fma(d3, d3, s3);
      r0 += d0 + d1, r1 += d2 + d3;
    }
    for (; i < m; i += kW) {
      const int tail = static_cast<int>(smaller(kW, m - i));
      const V d = (tail == kW ? load_as<C>(q + i) : load_as<C>(q + i, tail, mean)) - center;
      s0 = fma(d, d, s0);
      r0 += d;
    }
    const double rest = static_cast<double>(reduce_add(r0 + r1)), count = static_cast<double>(m);
    const Part block = {{static_cast<double>(mean) + rest / count},
                        {static_cast<double>(reduce_add((s0 + s1) + (s2 + s3))) - rest * rest / count},
                        m,
                        0};
    merge_moments(part, block);
  }
}

// Adds `nrows` rows of ncols elements to states that have seen `count` rows.
template <class T>
FS_INLINE void add_moments_cols(VarState<compute_type<T>>* st, const void* const* rows, int nrows, int64_t ncols,
                                int64_t count) {
  using C = compute_type<T>;
  using V = Vec<C>;
  using Base = ReducerBase<T, C, VarState<C>, T>;
  const C na = static_cast<C>(count), nb = static_cast<C>(nrows);
  const V inverse = C(1) / nb, shift = nb / (na + nb), weight = na * (nb / (na + nb));
  Base::each_group(ncols, [&](int64_t g, int64_t c, int n) __attribute__((always_inline)) {
    V mean, m2;
    const V base = count ? st[g].shift : Base::at(rows[0], c, n);
    if (nrows == kRowGroup) {
      V x[kRowGroup];
#pragma GCC unroll 8
      for (int r = 0; r < kRowGroup; ++r) x[r] = Base::at(rows[r], c, n) - base;
      mean = (((x[0] + x[1]) + (x[2] + x[3])) + ((x[4] + x[5]) + (x[6] + x[7]))) * inverse;
#pragma GCC unroll 8
      for (int r = 0; r < kRowGroup; ++r) x[r] -= mean;
      m2 = fma(x[0], x[0], x[1] * x[1]) + fma(x[2], x[2], x[3] * x[3]) +
           (fma(x[4], x[4], x[5] * x[5]) + fma(x[6], x[6], x[7] * x[7]));
    } else {
      mean = Base::at(rows[0], c, n) - base;
      for (int r = 1; r < nrows; ++r) mean += Base::at(rows[r], c, n) - base;
      mean *= inverse;
      m2 = C(0);
      for (int r = 0; r < nrows; ++r) {
        const V d = Base::at(rows[r], c, n) - base - mean;
        m2 = fma(d, d, m2);
      }
    }
    if (count) {
      const V d = mean - st[g].mean;
      st[g].mean = fma(d, shift, st[g].mean);
      st[g].m2 += fma(d * d, weight, m2);
    } else {
      st[g].shift = base;
      st[g].mean = mean;
      st[g].m2 = m2;
    }
  });
}

template <class C>
FS_INLINE void merge_moments_cols(VarState<C>* x, const VarState<C>* y, int64_t groups, int64_t count_a,
                                  int64_t count_b) {
  const double na = static_cast<double>(count_a), nb = static_cast<double>(count_b);
  const Vec<C> shift = nb / (na + nb), weight = na * nb / (na + nb);
  for (int64_t g = 0; g < groups; ++g) {
    const Vec<C> d = (y[g].shift - x[g].shift) + (y[g].mean - x[g].mean);
    x[g].mean = fma(d, shift, x[g].mean);
    x[g].m2 += fma(d * d, weight, y[g].m2);
  }
}

// Variance or standard deviation (params.root); kTwo: and the mean.
template <class T, bool kTwo>
struct VarReducer
    : ReducerBase<T, compute_type<T>, VarState<compute_type<T>>, T, typename choose_second<kTwo, T>::type> {
  using C = compute_type<T>;
  using V = Vec<C>;
  using State = VarState<C>;
  using Base = ReducerBase<T, C, State, T>;
  static constexpr int kW = V::kSize;
  static constexpr int64_t kGrain = 32768;

  static void init_part(Part& part) { part.a.d = 0, part.b.d = 0, part.n = 0; }
  static void run(Part& part, const void* p, int64_t n, int64_t, const ReduceParams&) {
    add_moments(part, static_cast<const T*>(p), n);
  }
  static void merge_part(Part& a, const Part& b) { merge_moments(a, b); }
  static void emit_part(const Part& part, const ReduceParams& params, void* out0, void* out1) {
    const double n = static_cast<double>(part.n), left = n - params.correction;
    double x = part.n ? part.b.d / (left > 0 ? left : 0) : __builtin_nan("");
    if (params.root) x = __builtin_sqrt(x);
    *static_cast<T*>(out0) = narrow_to<T>(x);
    if constexpr (kTwo) *static_cast<T*>(out1) = narrow_to<T>(part.n ? part.a.d : __builtin_nan(""));
  }
  static void init_cols(void*, int64_t) {}
  static void cols(void* states, const void* const* rows, int nrows, int64_t ncols, int64_t count, int64_t,
                   const ReduceParams&) {
    add_moments_cols<T>(static_cast<State*>(states), rows, nrows, ncols, count);
  }
  static void merge_cols(void* a, const void* b, int64_t groups, int64_t na, int64_t nb) {
    merge_moments_cols(static_cast<State*>(a), static_cast<const State*>(b), groups, na, nb);
  }
  static void emit_cols(const void* states, int64_t ncols, int64_t count, const ReduceParams& params, void* out0,
                        void* out1) {
    const State* st = static_cast<const State*>(states);
    const double left = static_cast<double>(count) - params.correction;
    const V divisor = left > 0 ? left : 0.0;
    Base::each_group(ncols, [&](int64_t g, int64_t c, int n) {
      V x = st[g].m2 / divisor;
      if (params.root) x = sqrt(x);
      if (n == kW) store_as(static_cast<T*>(out0) + c, x);
      else store_as(static_cast<T*>(out0) + c, x, n);
      if constexpr (kTwo) {
        if (n == kW) store_as(static_cast<T*>(out1) + c, st[g].shift + st[g].mean);
        else store_as(static_cast<T*>(out1) + c, st[g].shift + st[g].mean, n);
      }
    });
  }
};

}  // namespace fireseed::cpu::FS_ISA

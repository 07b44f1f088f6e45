// Reducers that need exp, log or pow: logsumexp and the general norm.
#pragma once

#include "cpu/reduce_ops.h"
#include "math/scalar.h"

namespace fireseed::cpu::FS_ISA {

struct MapAbsPow {
  template <class V>
  FS_INLINE static V map(V x, const ReduceParams& params) {
    return pow(abs(x), V(static_cast<typename V::Scalar>(params.p)));
  }
};

// The general norm: Σ|x|^p, then the p-th root.
template <class T>
struct PowReducer : SumReducer<T, MapAbsPow, T> {
  static constexpr int64_t kGrain = 8192;
};

// The number subtracted before exp: 0 in place of an infinite maximum.
template <class V>
FS_INLINE V finite_shift(V m) {
  using C = typename V::Scalar;
  return where(abs(m) == V(limits_of<C>::highest), V(C(0)), m);
}

template <class C>
struct ExpState {
  Vec<C> max, sum;  // Σ exp(x - finite_shift(max))
};

// Largest of n contiguous elements, NaN if there is one.
template <class C, class T>
FS_INLINE C block_max(const T* p, int64_t n) {
  bool nan;
  const C m = ExtremeReducer<T, true, MapIdentity, C>::extreme(p, n, {}, nan);
  return nan ? static_cast<C>(__builtin_nan("")) : m;
}

// Σ exp(x - shift) over n contiguous elements.
template <class C, class T>
FS_INLINE C block_exp_sum(const T* p, int64_t n, C shift) {
  using V = Vec<C>;
  constexpr int kW = V::kSize;
  V s0 = C(0), s1 = C(0), s2 = C(0), s3 = C(0);
  const V m = shift;
  int64_t i = 0;
  for (; i + 4 * kW <= n; i += 4 * kW) {
    for (int v = 0; v < 4; ++v) fetch_next(p, n, i + v * kW);
    s0 += exp(load_as<C>(p + i) - m);
    s1 += exp(load_as<C>(p + i + kW) - m);
    s2 += exp(load_as<C>(p + i + 2 * kW) - m);
    s3 += exp(load_as<C>(p + i + 3 * kW) - m);
  }
  for (; i + kW <= n; i += kW) s0 += exp(load_as<C>(p + i) - m);
  if (i < n) {
    const int tail = static_cast<int>(n - i);
    s1 += where(Mask<C>::first(tail), exp(load_as<C>(p + i, tail, shift) - m), V(C(0)));
  }
  return reduce_add((s0 + s1) + (s2 + s3));
}

template <class T>
struct LogSumExpReducer : ReducerBase<T, compute_type<T>, ExpState<compute_type<T>>, T> {
  using C = compute_type<T>;
  using V = Vec<C>;
  using State = ExpState<C>;
  using Base = ReducerBase<T, C, State, T>;
  static constexpr int kW = V::kSize;
  static constexpr int64_t kGrain = 16384;
  static constexpr int64_t kBlock = 4096;

  static double shift_of(double m) { return m == kInfinity || m == -kInfinity ? 0 : m; }
  static double exp_of(double x) { return exp(Num<double>(x)).v; }

  static void init_part(Part& part) { part.a.d = -kInfinity, part.b.d = 0; }
  static void run(Part& part, const void* src, int64_t n, int64_t, const ReduceParams&) {
    const T* p = static_cast<const T*>(src);
    for (int64_t b = 0; b < n; b += kBlock) {
      const int64_t m = smaller(kBlock, n - b);
      const C top = block_max<C>(p + b, m);
      const C shift = static_cast<C>(shift_of(static_cast<double>(top)));
      Part block;
      block.a.d = static_cast<double>(top);
      block.b.d = static_cast<double>(block_exp_sum<C>(p + b, m, shift));
      merge_part(part, block);
    }
  }
  static void merge_part(Part& a, const Part& b) {
    if (a.a.d == -kInfinity && a.b.d == 0) {
      a.a = b.a, a.b = b.b;
      return;
    }
    const double top = a.a.d != a.a.d || a.a.d > b.a.d ? a.a.d : b.a.d, shift = shift_of(top);
    a.b.d = a.b.d * exp_of(a.a.d - shift) + b.b.d * exp_of(b.a.d - shift);
    a.a.d = top;
  }
  static void emit_part(const Part& part, const ReduceParams&, void* out, void*) {
    *static_cast<T*>(out) = narrow_to<T>(log(Num<double>(part.b.d)).v + shift_of(part.a.d));
  }
  static void init_cols(void* states, int64_t groups) {
    for (int64_t g = 0; g < groups; ++g) static_cast<State*>(states)[g] = {V(limits_of<C>::lowest), V(C(0))};
  }
  static void cols(void* states, const void* const* rows, int nrows, int64_t ncols, int64_t, int64_t,
                   const ReduceParams&) {
    State* st = static_cast<State*>(states);
    Base::each_group(ncols, [&](int64_t g, int64_t c, int n) __attribute__((always_inline)) {
      const V old = st[g].max;
      V top = old;
      for (int r = 0; r < nrows; ++r) top = maximum(Base::at(rows[r], c, n), top);
      const V shift = finite_shift(top);
      V s = st[g].sum * exp(old - shift);  // an empty state's is exp(-inf) = 0, not exp(0 - shift)
      for (int r = 0; r < nrows; ++r) s += exp(Base::at(rows[r], c, n) - shift);
      st[g].max = top;
      st[g].sum = s;
    });
  }
  static void merge_cols(void* a, const void* b, int64_t groups, int64_t, int64_t) {
    State* x = static_cast<State*>(a);
    const State* y = static_cast<const State*>(b);
    for (int64_t g = 0; g < groups; ++g) {
      const V top = maximum(x[g].max, y[g].max), shift = finite_shift(top);
      x[g].sum = x[g].sum * exp(x[g].max - shift) + y[g].sum * exp(y[g].max - shift);
      x[g].max = top;
    }
  }
  static void emit_cols(const void* states, int64_t ncols, int64_t, const ReduceParams&, void* out, void*) {
    const State* st = static_cast<const State*>(states);
    T* o = static_cast<T*>(out);
    Base::each_group(ncols, [&](int64_t g, int64_t c, int n) {
      const V x = log(st[g].sum) + finite_shift(st[g].max);
      if (n == kW) store_as(o + c, x);
      else store_as(o + c, x, n);
    });
  }
};

}  // namespace fireseed::cpu::FS_ISA

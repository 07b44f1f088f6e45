// Reducers: sums of mapped elements, products, counts and extremes, for the driver of reduce.h.
#pragma once

#include "cpu/reduce.h"

namespace fireseed::cpu::FS_ISA {

// ---- maps applied to every element before it is added ----------------------------------------------------------

struct MapIdentity {
  template <class V>
  FS_INLINE static V map(V x, const ReduceParams&) {
    return x;
  }
};
struct MapAbs {
  template <class V>
  FS_INLINE static V map(V x, const ReduceParams&) {
    return abs(x);
  }
};
struct MapSquare {
  template <class V>
  FS_INLINE static V map(V x, const ReduceParams&) {
    return x * x;
  }
};
struct MapNanToZero {
  template <class V>
  FS_INLINE static V map(V x, const ReduceParams&) {
    return where(x == x, x, V(0));
  }
};

// Lanes that T is summed in: float types in their compute type, integers in int64.
template <class T> struct sum_lane { using type = int64_t; };
template <> struct sum_lane<float> { using type = float; };
template <> struct sum_lane<double> { using type = double; };
template <> struct sum_lane<float16> { using type = float; };
template <> struct sum_lane<bfloat16> { using type = float; };
// Lanes that T is compared in: narrow integers in int32.
template <class T> struct order_lane { using type = int32_t; };
template <> struct order_lane<int64_t> { using type = int64_t; };
template <> struct order_lane<float> { using type = float; };
template <> struct order_lane<double> { using type = double; };
template <> struct order_lane<float16> { using type = float; };
template <> struct order_lane<bfloat16> { using type = float; };

template <class C>
FS_INLINE void set_number(Number& n, C x) {
  if constexpr (is_float_lane<C>) n.d = static_cast<double>(x);
  else n.i = static_cast<int64_t>(x);
}
template <class C>
FS_INLINE C get_number(const Number& n) {
  if constexpr (is_float_lane<C>) return static_cast<C>(n.d);
  else return static_cast<C>(n.i);
}

// Integer sums wrap, as PyTorch's do.
FS_INLINE int64_t wrapping_add(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
}

// Fixed sizes every reducer reports; T memory type, C lane type, S state of one vector of outputs.
template <class T, class C, class S, class O0, class O1 = void>
struct ReducerBase {
  using V = Vec<C>;
  static constexpr int kW = V::kSize;
  static constexpr int kInSize = sizeof(T);
  static constexpr int kOut0Size = sizeof(O0);
  static constexpr int kOut1Size = [] {
    if constexpr (same_type<O1, void>) return 0;
    else return static_cast<int>(sizeof(O1));
  }();
  static constexpr int kStateBytes = sizeof(S);
  static constexpr int kLanes = kW;
  static constexpr int64_t kGrain = 65536;
  static constexpr bool kOrdered = false;

  // Calls f(group, first column, lanes in use) for every vector of columns.
  template <class F>
  FS_INLINE static void each_group(int64_t ncols, F&& f) {
    int64_t c = 0, g = 0;
    for (; c + kW <= ncols; c += kW, ++g) f(g, c, kW);
    if (c < ncols) f(g, c, static_cast<int>(ncols - c));
  }
  FS_INLINE static V at(const void* row, int64_t c, int n) {
    const T* p = static_cast<const T*>(row) + c;
    return n == kW ? load_as<C>(p) : load_as<C>(p, n, C(0));
  }
};

// Sum of Map(x); O is the output type.
template <class T, class Map, class O, class C = typename sum_lane<T>::type>
struct SumReducer : ReducerBase<T, C, Vec<C>, O> {
  using Base = ReducerBase<T, C, Vec<C>, O>;
  using V = Vec<C>;
  static constexpr int kW = V::kSize;
  // Elements added in sequence before a lane goes to the (double) partial sum.
  static constexpr int64_t kBlock = 64 * 8 * kW;

  static void init_part(Part& part) { set_number(part.a, C(0)), part.n = 0; }
  static void run(Part& part, const void* src, int64_t n, int64_t, const ReduceParams& params) {
    const T* p = static_cast<const T*>(src);
    part.n += n;
    if (n <= kW) {  // short rows are many
      const int k = static_cast<int>(n);
      const C s = reduce_add(where(Mask<C>::first(k), Map::map(load_as<C>(p, k, C(0)), params), V(C(0))));
      if constexpr (is_float_lane<C>) part.a.d += static_cast<double>(s);
      else part.a.i = wrapping_add(part.a.i, s);
      return;
    }
    while (n > 0) {
      const int64_t m = smaller(n, kBlock);
      V s0 = C(0), s1 = C(0), s2 = C(0), s3 = C(0), s4 = C(0), s5 = C(0), s6 = C(0), s7 = C(0);
      int64_t i = 0;
      for (; i + 8 * kW <= m; i += 8 * kW) {
        s0 += Map::map(load_as<C>(p + i), params);
        s1 += Map::map(load_as<C>(p + i + kW), params);
        s2 += Map::map(load_as<C>(p + i + 2 * kW), params);
        s3 += Map::map(load_as<C>(p + i + 3 * kW), params);
        s4 += Map::map(load_as<C>(p + i + 4 * kW), params);
        s5 += Map::map(load_as<C>(p + i + 5 * kW), params);
        s6 += Map::map(load_as<C>(p + i + 6 * kW), params);
        s7 += Map::map(load_as<C>(p + i + 7 * kW), params);
      }
      for (; i + kW <= m; i += kW) s0 += Map::map(load_as<C>(p + i), params);
      if (i < m) {
        const int tail = static_cast<int>(m - i);
        s1 += where(Mask<C>::first(tail), Map::map(load_as<C>(p + i, tail, C(0)), params), V(C(0)));
      }
      const C s = reduce_add(((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7)));
      if constexpr (is_float_lane<C>) part.a.d += static_cast<double>(s);
      else part.a.i = wrapping_add(part.a.i, s);
      p += m;
      n -= m;
    }
  }
  static void merge_part(Part& a, const Part& b) {
    if constexpr (is_float_lane<C>) a.a.d += b.a.d;
    else a.a.i = wrapping_add(a.a.i, b.a.i);
    a.n += b.n;
  }
  static void emit_part(const Part& part, const ReduceParams& params, void* out, void*) {
    if constexpr (is_float_lane<C>) {
      double x = part.a.d;
      if (params.mean) x = static_cast<double>(static_cast<C>(x)) / static_cast<double>(part.n);
      if (params.root) x = finish(x, params);
      *static_cast<O*>(out) = narrow_to<O>(x);
    } else {
      *static_cast<O*>(out) = static_cast<O>(part.a.i);
    }
  }
  FS_INLINE static double finish(double x, const ReduceParams& params) {
    return params.p == 2 ? __builtin_sqrt(x) : __builtin_pow(x, 1 / params.p);
  }
  static void init_cols(void* states, int64_t groups) {
    for (int64_t g = 0; g < groups; ++g) static_cast<V*>(states)[g] = C(0);
  }
  static void cols(void* states, const void* const* rows, int nrows, int64_t ncols, int64_t, int64_t,
                   const ReduceParams& params) {
    V* st = static_cast<V*>(states);
    if (nrows == kRowGroup) {
      Base::each_group(ncols, [&](int64_t g, int64_t c, int n) __attribute__((always_inline)) {
        auto x = [&](int r) __attribute__((always_inline)) { return Map::map(Base::at(rows[r], c, n), params); };
        st[g] += ((x(0) + x(1)) + (x(2) + x(3))) + ((x(4) + x(5)) + (x(6) + x(7)));
      });
      return;
    }
    for (int r = 0; r < nrows; ++r)
      Base::each_group(ncols, [&](int64_t g, int64_t c, int n) __attribute__((always_inline)) {
        st[g] += Map::map(Base::at(rows[r], c, n), params);
      });
  }
  static void merge_cols(void* a, const void* b, int64_t groups, int64_t, int64_t) {
    for (int64_t g = 0; g < groups; ++g) static_cast<V*>(a)[g] += static_cast<const V*>(b)[g];
  }
  static void emit_cols(const void* states, int64_t ncols, int64_t count, const ReduceParams& params, void* out,
                        void*) {
    const V* st = static_cast<const V*>(states);
    O* o = static_cast<O*>(out);
    Base::each_group(ncols, [&](int64_t g, int64_t c, int n) {
      V x = st[g];
      if constexpr (is_float_lane<C>) {
        if (params.mean) x = x / V(static_cast<C>(count));
        if (params.root) {
          if (params.p == 2) x = sqrt(x);
          else
            for (int k = 0; k < n; ++k) x.v[k] = static_cast<C>(finish(static_cast<double>(x[k]), params));
        }
      }
      if (n == kW) store_as(o + c, x);
      else store_as(o + c, x, n);
    });
  }
};

// Product; float types in their compute type, integers wrap in int64.
template <class T, class O, class C = typename sum_lane<T>::type>
struct ProdReducer : ReducerBase<T, C, Vec<C>, O> {
  using Base = ReducerBase<T, C, Vec<C>, O>;
  using V = Vec<C>;
  static constexpr int kW = V::kSize;

  static void init_part(Part& part) { set_number(part.a, C(1)); }
  static void run(Part& part, const void* src, int64_t n, int64_t, const ReduceParams&) {
    const T* p = static_cast<const T*>(src);
    V s0 = C(1), s1 = C(1), s2 = C(1), s3 = C(1);
    int64_t i = 0;
    for (; i + 4 * kW <= n; i += 4 * kW) {
      s0 *= load_as<C>(p + i);
      s1 *= load_as<C>(p + i + kW);
      s2 *= load_as<C>(p + i + 2 * kW);
      s3 *= load_as<C>(p + i + 3 * kW);
    }
    for (; i + kW <= n; i += kW) s0 *= load_as<C>(p + i);
    if (i < n) s1 *= load_as<C>(p + i, static_cast<int>(n - i), C(1));
    s0 = (s0 * s1) * (s2 * s3);
    C x = get_number<C>(part.a);
    for (int k = 0; k < kW; ++k) {
      if constexpr (is_float_lane<C>) x *= s0[k];
      else x = static_cast<C>(static_cast<uint64_t>(x) * static_cast<uint64_t>(s0[k]));
    }
    set_number(part.a, x);
  }
  static void merge_part(Part& a, const Part& b) {
    if constexpr (is_float_lane<C>) a.a.d *= b.a.d;
    else a.a.i = static_cast<int64_t>(static_cast<uint64_t>(a.a.i) * static_cast<uint64_t>(b.a.i));
  }
  static void emit_part(const Part& part, const ReduceParams&, void* out, void*) {
    if constexpr (is_float_lane<C>) *static_cast<O*>(out) = narrow_to<O>(part.a.d);
    else *static_cast<O*>(out) = static_cast<O>(part.a.i);
  }
  static void init_cols(void* states, int64_t groups) {
    for (int64_t g = 0; g < groups; ++g) static_cast<V*>(states)[g] = C(1);
  }
  static void cols(void* states, const void* const* rows, int nrows, int64_t ncols, int64_t, int64_t,
                   const ReduceParams&) {
    V* st = static_cast<V*>(states);
    Base::each_group(ncols, [&](int64_t g, int64_t c, int n) __attribute__((always_inline)) {
      V s = st[g];
      for (int r = 0; r < nrows; ++r) s *= Base::at(rows[r], c, n);
      st[g] = s;
    });
  }
  static void merge_cols(void* a, const void* b, int64_t groups, int64_t, int64_t) {
    for (int64_t g = 0; g < groups; ++g) static_cast<V*>(a)[g] *= static_cast<const V*>(b)[g];
  }
  static void emit_cols(const void* states, int64_t ncols, int64_t, const ReduceParams&, void* out, void*) {
    const V* st = static_cast<const V*>(states);
    O* o = static_cast<O*>(out);
    Base::each_group(ncols, [&](int64_t g, int64_t c, int n) {
      if (n == kW) store_as(o + c, st[g]);
      else store_as(o + c, st[g], n);
    });
  }
};

// How many elements are nonzero (NaN is); as a count, or as any / all.
enum class CountAs { kCount, kAny, kAll };
template <class T, class O, CountAs kAs, class C = typename order_lane<T>::type>
struct CountReducer : ReducerBase<T, C, Vec<lane_int<C>>, O> {
  using Base = ReducerBase<T, C, Vec<lane_int<C>>, O>;
  using V = Vec<C>;
  using I = lane_int<C>;
  using VI = Vec<I>;
  static constexpr int kW = V::kSize;

  static void init_part(Part& part) { part.a.i = 0, part.n = 0; }
  static void run(Part& part, const void* src, int64_t n, int64_t, const ReduceParams&) {
    part.n += n;
    int64_t count = 0, i = 0;
    if constexpr (sizeof(T) == 1) {
      const int8_t* p = static_cast<const int8_t*>(src);
      constexpr int kBytes = Vec<int8_t>::kSize;
      for (; i + kBytes <= n; i += kBytes)
        count += __builtin_popcountll((Vec<int8_t>::load(p + i) != Vec<int8_t>(0)).bits());
      for (; i < n; ++i) count += p[i] != 0;
    } else {
      const T* p = static_cast<const T*>(src);
      for (; i + 2 * kW <= n; i += 2 * kW)
        count += __builtin_popcountll((load_as<C>(p + i) != V(C(0))).bits()) +
                 __builtin_popcountll((load_as<C>(p + i + kW) != V(C(0))).bits());
      for (; i < n; i += kW)
        count +=
            __builtin_popcountll((load_as<C>(p + i, static_cast<int>(smaller(kW, n - i)), C(0)) != V(C(0))).bits());
    }
    part.a.i += count;
  }
  static void merge_part(Part& a, const Part& b) { a.a.i += b.a.i, a.n += b.n; }
  FS_INLINE static O value(int64_t count, int64_t n) {
    if constexpr (kAs == CountAs::kAny) return static_cast<O>(count > 0);
    else if constexpr (kAs == CountAs::kAll) return static_cast<O>(count == n);
    else return narrow_to<O>(static_cast<double>(count));
  }
  static void emit_part(const Part& part, const ReduceParams&, void* out, void*) {
    *static_cast<O*>(out) = value(part.a.i, part.n);
  }
  static void init_cols(void* states, int64_t groups) {
    for (int64_t g = 0; g < groups; ++g) static_cast<VI*>(states)[g] = I(0);
  }
  static void cols(void* states, const void* const* rows, int nrows, int64_t ncols, int64_t, int64_t,
                   const ReduceParams&) {
    VI* st = static_cast<VI*>(states);
    Base::each_group(ncols, [&](int64_t g, int64_t c, int n) __attribute__((always_inline)) {
      VI s = st[g];
      for (int r = 0; r < nrows; ++r) s = where(mask_cast<I>(Base::at(rows[r], c, n) != V(C(0))), s + VI(1), s);
      st[g] = s;
    });
  }
  static void merge_cols(void* a, const void* b, int64_t groups, int64_t, int64_t) {
    for (int64_t g = 0; g < groups; ++g) static_cast<VI*>(a)[g] += static_cast<const VI*>(b)[g];
  }
  static void emit_cols(const void* states, int64_t ncols, int64_t count, const ReduceParams&, void* out, void*) {
    const I* st = static_cast<const I*>(states);
    for (int64_t c = 0; c < ncols; ++c) static_cast<O*>(out)[c] = value(st[c], count);
  }
};

template <class C>
struct limits_of {
  static constexpr C lowest = static_cast<C>(C(1) << (8 * sizeof(C) - 1));
  static constexpr C highest = static_cast<C>(~lowest);
};
template <> struct limits_of<float> {
  static constexpr float lowest = -__builtin_inff(), highest = __builtin_inff();
};
template <> struct limits_of<double> {
  static constexpr double lowest = -__builtin_inf(), highest = __builtin_inf();
};

// Largest (kMax) or smallest Map(x); NaN wins.
template <class T, bool kMax, class Map, class C = typename order_lane<T>::type>
struct ExtremeReducer : ReducerBase<T, C, Vec<C>, T> {
  using Base = ReducerBase<T, C, Vec<C>, T>;
  using V = Vec<C>;
  static constexpr int kW = V::kSize;
  static constexpr C kStart = kMax ? limits_of<C>::lowest : limits_of<C>::highest;

  FS_INLINE static V pick(V x, V best) { return kMax ? max(x, best) : min(x, best); }  // best where x is NaN
  FS_INLINE static V pick_nan(V x, V best) { return kMax ? maximum(x, best) : minimum(x, best); }
  FS_INLINE static C reduce_lanes(V x) {
    if constexpr (kMax) return reduce_max(x);
    else return reduce_min(x);
  }
  // Extreme of n elements, ignoring NaN, and whether there was one.
  FS_INLINE static C extreme(const T* p, int64_t n, const ReduceParams& params, bool& has_nan) {
    V s0 = kStart, s1 = kStart, s2 = kStart, s3 = kStart;
    Mask<C> nan = Mask<C>::filled(false);
    int64_t i = 0;
    for (; i + 4 * kW <= n; i += 4 * kW) {
      const V x0 = Map::map(load_as<C>(p + i), params), x1 = Map::map(load_as<C>(p + i + kW), params);
      const V x2 = Map::map(load_as<C>(p + i + 2 * kW), params), x3 = Map::map(load_as<C>(p + i + 3 * kW), params);
      s0 = pick(x0, s0), s1 = pick(x1, s1), s2 = pick(x2, s2), s3 = pick(x3, s3);
      if constexpr (is_float_lane<C>) nan = nan | (x0 != x0) | (x1 != x1) | (x2 != x2) | (x3 != x3);
    }
    for (; i < n; i += kW) {
      const int tail = static_cast<int>(smaller(kW, n - i));
      const V x = tail == kW
                      ? Map::map(load_as<C>(p + i), params)
                      : where(Mask<C>::first(tail), Map::map(load_as<C>(p + i, tail, C(0)), params), V(kStart));
      s0 = pick(x, s0);
      if constexpr (is_float_lane<C>) nan = nan | (x != x);
    }
    has_nan = nan.any();
    return reduce_lanes(pick(pick(s0, s1), pick(s2, s3)));
  }

  static void init_part(Part& part) { set_number(part.a, kStart), part.n = 0; }
  static void run(Part& part, const void* src, int64_t n, int64_t, const ReduceParams& params) {
    bool nan;
    const C x = extreme(static_cast<const T*>(src), n, params, nan);
    const C best = get_number<C>(part.a);
    if (kMax ? x > best : x < best) set_number(part.a, x);
    part.n |= nan;
  }
  static void merge_part(Part& a, const Part& b) {
    if (kMax ? get_number<C>(b.a) > get_number<C>(a.a) : get_number<C>(b.a) < get_number<C>(a.a)) a.a = b.a;
    a.n |= b.n;
  }
  static void emit_part(const Part& part, const ReduceParams&, void* out, void*) {
    if constexpr (is_float_lane<C>) {
      *static_cast<T*>(out) = narrow_to<T>(part.n ? __builtin_nan("") : part.a.d);
    } else {
      *static_cast<T*>(out) = static_cast<T>(part.a.i);
    }
  }
  static void init_cols(void* states, int64_t groups) {
    for (int64_t g = 0; g < groups; ++g) static_cast<V*>(states)[g] = kStart;
  }
  static void cols(void* states, const void* const* rows, int nrows, int64_t ncols, int64_t, int64_t,
                   const ReduceParams& params) {
    V* st = static_cast<V*>(states);
    if (nrows == kRowGroup) {
      Base::each_group(ncols, [&](int64_t g, int64_t c, int n) __attribute__((always_inline)) {
        V s = st[g];
#pragma GCC unroll 8
        for (int r = 0; r < kRowGroup; ++r) s = pick_nan(Map::map(Base::at(rows[r], c, n), params), s);
        st[g] = s;
      });
      return;
    }
    for (int r = 0; r < nrows; ++r)
      Base::each_group(ncols, [&](int64_t g, int64_t c, int n) __attribute__((always_inline)) {
        st[g] = pick_nan(Map::map(Base::at(rows[r], c, n), params), st[g]);
      });
  }
  static void merge_cols(void* a, const void* b, int64_t groups, int64_t, int64_t) {
    V* x = static_cast<V*>(a);
    for (int64_t g = 0; g < groups; ++g) x[g] = pick_nan(static_cast<const V*>(b)[g], x[g]);
  }
  static void emit_cols(const void* states, int64_t ncols, int64_t, const ReduceParams&, void* out, void*) {
    const V* st = static_cast<const V*>(states);
    T* o = static_cast<T*>(out);
    Base::each_group(ncols, [&](int64_t g, int64_t c, int n) {
      if (n == kW) store_as(o + c, st[g]);
      else store_as(o + c, st[g], n);
    });
  }
};

}  // namespace fireseed::cpu::FS_ISA

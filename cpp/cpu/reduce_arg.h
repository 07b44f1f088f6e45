// Reducers that remember where: argmax, argmin, and max / min with indices. First index wins; NaN wins over numbers.
#pragma once

#include "cpu/reduce_ops.h"

namespace fireseed::cpu::FS_ISA {

template <class C>
struct ArgState {
  Vec<C> value;
  Vec<lane_int<C>> index;
};

// kValues: out0 = value, out1 = index; else out0 = index.
template <class T, bool kMax, bool kValues, class C = typename order_lane<T>::type>
struct ArgReducer : ReducerBase<T, C, ArgState<C>, typename choose_type<kValues, T, int64_t>::type,
                                typename choose_second<kValues, int64_t>::type> {
  using State = ArgState<C>;
  using Base = ReducerBase<T, C, State, int64_t>;
  using V = Vec<C>;
  using I = lane_int<C>;
  using VI = Vec<I>;
  using Extreme = ExtremeReducer<T, kMax, MapIdentity, C>;
  static constexpr int kW = V::kSize;
  static constexpr bool kOrdered = true;
  static constexpr int64_t kBlock = 4096 / static_cast<int>(sizeof(T)) * 2;  // rescanned from the first-level cache

  // Part: a value, n 0 nothing / 1 a number / 2 NaN, index.
  static void init_part(Part& part) { part.n = 0, part.index = 0; }
  FS_INLINE static bool better(C x, C best) { return kMax ? x > best : x < best; }
  static void run(Part& part, const void* src, int64_t n, int64_t index, const ReduceParams& params) {
    const T* p = static_cast<const T*>(src);
    for (int64_t b = 0; b < n && part.n < 2; b += kBlock) {
      const int64_t m = smaller(kBlock, n - b);
      bool nan;
      const C x = Extreme::extreme(p + b, m, params, nan);
      if (!nan && part.n && !better(x, get_number<C>(part.a))) continue;
      int64_t i = 0;
      for (;; i += kW) {
        const int lanes = static_cast<int>(smaller(kW, m - i));
        const V v = lanes == kW ? load_as<C>(p + b + i) : load_as<C>(p + b + i, lanes, C(0));
        const Mask<C> hit = (nan ? v != v : v == V(x)) & Mask<C>::first(lanes);
        if (hit.any()) {
          i += __builtin_ctzll(hit.bits());
          break;
        }
        if (i + kW >= m) {  // cannot be: the extreme is in the block
          i = 0;
          break;
        }
      }
      set_number(part.a, widen_from<C>(p[b + i]));
      part.n = nan ? 2 : 1;
      part.index = index + b + i;
    }
  }
  static void merge_part(Part& a, const Part& b) {
    if (b.n == 0 || a.n == 2) return;
    if (a.n == 0 || b.n == 2 || better(get_number<C>(b.a), get_number<C>(a.a))) a = b;
  }
  static void emit_part(const Part& part, const ReduceParams&, void* out0, void* out1) {
    if constexpr (kValues) {
      if constexpr (is_float_lane<C>) *static_cast<T*>(out0) = narrow_to<T>(part.a.d);
      else *static_cast<T*>(out0) = static_cast<T>(part.a.i);
      *static_cast<int64_t*>(out1) = part.index;
    } else {
      *static_cast<int64_t*>(out0) = part.index;
    }
  }
  static void init_cols(void*, int64_t) {}
  // Where x must replace the best so far.
  FS_INLINE static Mask<C> wins(V x, V best) {
    if constexpr (is_float_lane<C>) return (kMax ? ~(x <= best) : ~(x >= best)) & (best == best);
    else return kMax ? x > best : x < best;
  }
  static void cols(void* states, const void* const* rows, int nrows, int64_t ncols, int64_t count, int64_t index,
                   const ReduceParams&) {
    State* st = static_cast<State*>(states);
    Base::each_group(ncols, [&](int64_t g, int64_t c, int n) __attribute__((always_inline)) {
      V best;
      VI at;
      int r = 0;
      if (count == 0) {
        best = Base::at(rows[0], c, n);
        at = VI(static_cast<I>(index));
        r = 1;
      } else {
        best = st[g].value;
        at = st[g].index;
      }
      for (; r < nrows; ++r) {
        const V x = Base::at(rows[r], c, n);
        const Mask<C> m = wins(x, best);
        best = where(m, x, best);
        at = where(mask_cast<I>(m), VI(static_cast<I>(index + r)), at);
      }
      st[g].value = best;
      st[g].index = at;
    });
  }
  static void merge_cols(void* a, const void* b, int64_t groups, int64_t, int64_t) {
    State* x = static_cast<State*>(a);
    const State* y = static_cast<const State*>(b);
    for (int64_t g = 0; g < groups; ++g) {
      const Mask<C> m = wins(y[g].value, x[g].value);
      x[g].value = where(m, y[g].value, x[g].value);
      x[g].index = where(mask_cast<I>(m), y[g].index, x[g].index);
    }
  }
  static void emit_cols(const void* states, int64_t ncols, int64_t, const ReduceParams&, void* out0, void* out1) {
    const State* st = static_cast<const State*>(states);
    int64_t* index = static_cast<int64_t*>(kValues ? out1 : out0);
    Base::each_group(ncols, [&](int64_t g, int64_t c, int n) {
      if constexpr (kValues) {
        if (n == kW) store_as(static_cast<T*>(out0) + c, st[g].value);
        else store_as(static_cast<T*>(out0) + c, st[g].value, n);
      }
      for (int k = 0; k < n; ++k) index[c + k] = st[g].index[k];
    });
  }
};

}  // namespace fireseed::cpu::FS_ISA

// Scans along a dimension: cumsum, cumprod, cummax, cummin, logcumsumexp.
#include "cpu/contiguous.h"
#include "cpu/reduce_exp.h"
#include "tensor/attrs/reduce.h"

namespace fireseed::cpu::FS_ISA {
namespace {

// Lane i takes lane i - kStep of v, or of `fill` below.
template <int kStep, class C, size_t... kI>
FS_INLINE Vec<C> shifted_lanes(Vec<C> v, Vec<C> fill, std::index_sequence<kI...>) {
  constexpr int kW = Vec<C>::kSize;
  using I = lane_int<C>;
  using Index = native_t<I>;
  return __builtin_shuffle(
      fill.v, v.v,
      Index{static_cast<I>(static_cast<int>(kI) < kStep ? static_cast<int>(kI)
                                                        : kW + static_cast<int>(kI) - kStep)...});
}
template <bool kProd, int kStep = 1, class C>
FS_INLINE Vec<C> prefix(Vec<C> v) {
  if constexpr (kStep >= Vec<C>::kSize) {
    return v;
  } else {
    const Vec<C> s = shifted_lanes<kStep>(v, Vec<C>(C(kProd ? 1 : 0)), std::make_index_sequence<Vec<C>::kSize>());
    return prefix<kProd, kStep * 2>(kProd ? v * s : v + s);
  }
}

// Along a contiguous line. Float sums carry the total in double, so the error does not grow with the length.
template <bool kProd, class T, class O, class C>
void scan_line(const T* x, O* y, int64_t n) {
  constexpr int kW = Vec<C>::kSize;
  using Carry = typename choose_type<is_float_lane<C>, double, uint64_t>::type;
  Carry carry = kProd ? 1 : 0;
  for (int64_t i = 0; i < n; i += kW) {
    const int k = static_cast<int>(smaller(kW, n - i));
    const Vec<C> p = prefix<kProd>(k == kW ? load_as<C>(x + i) : load_as<C>(x + i, k, C(kProd ? 1 : 0)));
    const Vec<C> c = static_cast<C>(carry);
    put(y + i, kProd ? c * p : c + p, k);
    if constexpr (kProd) carry *= static_cast<Carry>(p[kW - 1]);
    else carry += static_cast<Carry>(p[kW - 1]);
  }
}

// Down n rows of `stride` elements for `cols` columns; float sums are compensated (Kahan 1965).
template <bool kProd, class T, class O, class C>
void scan_cols(const T* x, O* y, int64_t n, int64_t stride, int64_t cols) {
  using V = Vec<C>;
  constexpr int kGroups = kColTile / V::kSize;
  V sum[kGroups], rest[kGroups];
  for (int g = 0; g < kGroups; ++g) sum[g] = C(kProd ? 1 : 0), rest[g] = C(0);
  for (int64_t r = 0; r < n; ++r) {
    int g = 0;
    each_vec<C>(cols, [&](int64_t c, int k) __attribute__((always_inline)) {
      const V v = take<C>(x + r * stride + c, k);
      if constexpr (kProd) {
        sum[g] *= v;
      } else if constexpr (is_float_lane<C>) {
        const V add = v - rest[g], t = sum[g] + add, e = (t - sum[g]) - add;
        rest[g] = where(e == e, e, V(C(0)));  // an infinite total has no rest
        sum[g] = t;
      } else {
        sum[g] += v;
      }
      put(y + r * stride + c, sum[g], k);
      ++g;
    });
  }
}

// Calls line(offset) for lines along a last dimension, cols(offset, columns) for tiles of any other.
template <class Line, class Cols>
void each_scan(const AxisShape& s, Line&& line, Cols&& cols) {
  constexpr int64_t kGrain = 16384;
  if (s.n == 0) return;
  if (s.inner == 1) {
    parallel_for(s.outer, larger(1, kGrain / s.n), [&](int64_t b, int64_t e) {
      for (int64_t i = b; i < e; ++i) line(i * s.n);
    });
    return;
  }
  const int64_t width = smaller(kColTile, larger(64, ceil_div(s.inner, 4) / 64 * 64)),
                tiles = ceil_div(s.inner, width);
  parallel_for(s.outer * tiles, larger(1, kGrain / (s.n * smaller(width, s.inner))), [&](int64_t b, int64_t e) {
    for (int64_t i = b; i < e; ++i) {
      const int64_t c = i % tiles * width;
      cols(i / tiles * s.n * s.inner + c, smaller(width, s.inner - c));
    }
  });
}

template <bool kProd>
void scan(const KernelArgs& args) {
  const AxisShape s = axis_shape(args.in[0], args.attrs<ScanAttrs>().dim);
  dispatch_all(args.in[0].dtype, [&](auto tag) {
    using T = memory_type<typename decltype(tag)::type>;
    using C = typename sum_lane<T>::type;
    using O = typename choose_type<is_float_type<T>, T, int64_t>::type;
    const Contiguous<T> input(args.in[0]);
    const T* x = input.data();
    O* y = args.out[0].ptr<O>();
    each_scan(
        s, [&](int64_t at) { scan_line<kProd, T, O, C>(x + at, y + at, s.n); },
        [&](int64_t at, int64_t cols) { scan_cols<kProd, T, O, C>(x + at, y + at, s.n, s.inner, cols); });
  });
}

// Running extreme and where it was last reached; NaN stays.
template <bool kMax>
void scan_extreme(const KernelArgs& args) {
  const AxisShape s = axis_shape(args.in[0], args.attrs<ScanAttrs>().dim);
  dispatch_all(args.in[0].dtype, [&](auto tag) {
    using T = memory_type<typename decltype(tag)::type>;
    using C = typename order_lane<T>::type;
    const Contiguous<T> input(args.in[0]);
    const T* x = input.data();
    T* y = args.out[0].ptr<T>();
    int64_t* index = args.out[1].ptr<int64_t>();
    auto line = [&](int64_t at, int64_t step) {
      C best = C(0);
      int64_t where = 0;
      for (int64_t i = 0; i < s.n; ++i) {
        const C v = widen_from<C>(x[at + i * step]);
        if (i == 0 || v != v || (best == best && (kMax ? v >= best : v <= best))) {
          best = v;
          where = i;
        }
        y[at + i * step] = x[at + where * step];
        index[at + i * step] = where;
      }
    };
    each_scan(
        s, [&](int64_t at) { line(at, 1); },
        [&](int64_t at, int64_t cols) {
          for (int64_t c = 0; c < cols; ++c) line(at + c, s.inner);
        });
  });
}

}  // namespace

// out[i] = x[0] + … + x[i]; integers and bool give int64.
void cumsum(const KernelArgs& args) { scan<false>(args); }
void cumprod(const KernelArgs& args) { scan<true>(args); }
// out[0] values, out[1] indices (int64).
void cummax(const KernelArgs& args) { scan_extreme<true>(args); }
void cummin(const KernelArgs& args) { scan_extreme<false>(args); }

// out[i] = log Σ_{j <= i} exp(x[j]), float types.
void logcumsumexp(const KernelArgs& args) {
  const AxisShape s = axis_shape(args.in[0], args.attrs<ScanAttrs>().dim);
  dispatch_float(args.in[0].dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const Contiguous<T> input(args.in[0]);
    const T* x = input.data();
    T* y = args.out[0].ptr<T>();
    auto line = [&](int64_t at, int64_t step) {
      double top = -kInfinity, sum = 0;  // Σ exp(x - top)
      for (int64_t i = 0; i < s.n; ++i) {
        const double v = widen_from<double>(x[at + i * step]);
        if (v != v || v > top) {
          sum = (top == -kInfinity ? 0 : sum * exp(Num<double>(top - v)).v) + 1;
          top = v;
        } else if (v != -kInfinity) {
          sum += v == top ? 1 : exp(Num<double>(v - top)).v;
        }
        y[at + i * step] = narrow_to<T>(top == kInfinity || top == -kInfinity ? top : top + log(Num<double>(sum)).v);
      }
    };
    each_scan(
        s, [&](int64_t at) { line(at, 1); },
        [&](int64_t at, int64_t cols) {
          for (int64_t c = 0; c < cols; ++c) line(at + c, s.inner);
        });
  });
}

}  // namespace fireseed::cpu::FS_ISA

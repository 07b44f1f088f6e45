// sin, cos, tan, asin, acos, atan, atan2 as vector formulas (float; double where it pays, else libm by lanes).
#pragma once

#include "math/exp_log.h"

namespace fireseed {
inline namespace FS_MATH_NAMESPACE {

namespace detail {
// Above this the short reduction loses digits, and the lanes go to libm.
template <class T>
inline constexpr T kTrigLimit = sizeof(T) == 8 ? T(1e6)
                                : FS_MATH_FMA  ? T(105615.0)
                                               : T(8192.0);

// a = n pi/2 + r with |r| <= pi/4 (a little more at the seams), 0 <= a <= kTrigLimit; `quadrant` = n as an integer.
template <class V, class I>
FS_FN V trig_reduce(V a, I& quadrant) {
  using T = scalar_of<V>;
  const V shifted = fma(a, V(T(0.636619772367581343076)), V(kRoundMagic<T>));
  const V n = shifted - kRoundMagic<T>;
  quadrant = to_bits(shifted) - to_bits(V(kRoundMagic<T>));
  if constexpr (sizeof(T) == 8) {  // parts of 33 bits: the first three products are exact
    V r = fma(n, V(-1.57079632673412561417e+00), a);
    r = fma(n, V(-6.07710050630396597660e-11), r);
    r = fma(n, V(-2.02226624871116645580e-21), r);
    return fma(n, V(-8.47842766036889956997e-32), r);
  } else if constexpr (FS_MATH_FMA) {
    V r = fma(n, V(-1.57079637050628662109375f), a);
    r = fma(n, V(4.37113882867379114e-8f), r);
    return fma(n, V(1.71512449e-15f), r);
  } else {
    V r = a - n * 1.5703125f;
    r = r - n * 4.837512969970703125e-4f;
    return r - n * 7.54978995489188e-8f;
  }
}
template <class V>
FS_FN V sin_small(V r) {
  const V z = r * r;
  if constexpr (sizeof(scalar_of<V>) == 4) {
    constexpr float kS[] = {-0.1666665524f, 0.008332190104f, -0.0001951840532f};
    return fma(r * z, polynomial(z, kS), r);
  } else {
    constexpr double kS[] = {-0.166666666666666324,  0.00833333333332245303,  -0.000198412698298099192,
                             2.75573136860583863e-6, -2.50507564681631423e-8, 1.589666755128885e-10};
    return fma(r * z, polynomial(z, kS), r);
  }
}
template <class V>
FS_FN V cos_small(V r) {
  using T = scalar_of<V>;
  const V z = r * r;
  if constexpr (sizeof(T) == 4) {
    constexpr float kC[] = {0.04166664556f, -0.001388729899f, 2.443020639e-5f};
    return fma(z * z, polynomial(z, kC), fma(z, V(T(-0.5)), V(T(1))));
  } else {
    constexpr double kC[] = {0.0416666666666666088,   -0.00138888888888754583, 0.0000248015872901918759,
                             -2.75573145310733929e-7, 2.08757448076700918e-9,  -1.13606480739758876e-11};
    return fma(z * z, polynomial(z, kC), fma(z, V(T(-0.5)), V(T(1))));
  }
}
// The sign bit of each lane where bit 1 of q is set.
template <class I>
FS_FN auto quadrant_sign(I q) {
  return (q & 2) << (sizeof(q.v) / static_cast<size_t>(I::kSize) == 4 ? 30 : 62);
}
}  // namespace detail

template <Lanes V>
FS_FN V sin(V x) {
  using T = scalar_of<V>;
  const V a = abs(x);
  if (__builtin_expect((a > V(detail::kTrigLimit<T>)).any(), 0))
    return detail::map_lanes(x, [](T v) {
      return sizeof(T) == 4 ? static_cast<T>(::sinf(static_cast<float>(v))) : static_cast<T>(::sin(v));
    });
  auto q = detail::to_bits(x);
  const V r = detail::trig_reduce(a, q);
  const V value = where(mask_cast<T>((q & 1) != 0), detail::cos_small(r), detail::sin_small(r));
  const auto sign = detail::quadrant_sign(q) ^ (detail::to_bits(x) & detail::to_bits(V(T(-0.0))));
  return detail::from_bits<V>(detail::to_bits(value) ^ sign);
}
template <Lanes V>
FS_FN V cos(V x) {
  using T = scalar_of<V>;
  const V a = abs(x);
  if (__builtin_expect((a > V(detail::kTrigLimit<T>)).any(), 0))
    return detail::map_lanes(x, [](T v) {
      return sizeof(T) == 4 ? static_cast<T>(::cosf(static_cast<float>(v))) : static_cast<T>(::cos(v));
    });
  auto q = detail::to_bits(x);
  const V r = detail::trig_reduce(a, q);
  const V value = where(mask_cast<T>((q & 1) != 0), detail::sin_small(r), detail::cos_small(r));
  return detail::from_bits<V>(detail::to_bits(value) ^ detail::quadrant_sign(q + 1));
}
template <Lanes V>
FS_FN V tan(V x) {
  using T = scalar_of<V>;
  const V a = abs(x);
  if (__builtin_expect((a > V(detail::kTrigLimit<T>)).any(), 0))
    return detail::map_lanes(x, [](T v) {
      return sizeof(T) == 4 ? static_cast<T>(::tanf(static_cast<float>(v))) : static_cast<T>(::tan(v));
    });
  auto q = detail::to_bits(x);
  const V r = detail::trig_reduce(a, q);
  const V s = detail::sin_small(r), c = detail::cos_small(r);
  const auto swap = mask_cast<T>((q & 1) != 0);
  const V value = where(swap, -c, s) / where(swap, s, c);
  return detail::from_bits<V>(detail::to_bits(value) ^ (detail::to_bits(x) & detail::to_bits(V(T(-0.0)))));
}

// ---- inverses ----------------------------------------------------------------------------------------------

namespace detail {
// atan(a) for a >= 0 (float): thirds at tan(pi/8) and tan(3 pi/8), so that the polynomial sees |t| <= tan(pi/8).
template <class V>
FS_FN V atan_positive(V a) {
  constexpr float kA[] = {-0.3333331645f, 0.1999853253f, -0.1424450874f, 0.1060013995f, -0.06092607975f};
  const auto big = a > 2.41421356f, middle = a > 0.41421356f;
  const V t = where(big, V(-1.0f), where(middle, a - 1.0f, a)) / where(big, a, where(middle, a + 1.0f, V(1.0f)));
  const V z = t * t;
  const V p = fma(t * z, polynomial(z, kA), t);
  return where(big, V(1.57079632679f) + (p - 4.37113883e-8f),
               where(middle, V(0.785398163397f) + (p - 2.18556941e-8f), p));
}
// asin(s) for 0 <= s <= 1/2, z = s^2 (float).
template <class V>
FS_FN V asin_small(V s, V z) {
  constexpr float kP[] = {0.166667521f, 0.07495301217f, 0.04547071457f, 0.02417553775f, 0.04217555001f};
  return fma(s * z, polynomial(z, kP), s);
}
}  // namespace detail

template <Lanes V>
FS_FN V atan(V x) {
  using T = scalar_of<V>;
  if constexpr (sizeof(T) == 8) return detail::map_lanes(x, [](double v) { return ::atan(v); });
  else return copysign(detail::atan_positive(abs(x)), x);
}
template <Lanes V>
FS_FN V asin(V x) {
  using T = scalar_of<V>;
  if constexpr (sizeof(T) == 8) {
    return detail::map_lanes(x, [](double v) { return ::asin(v); });
  } else {
    const V a = abs(x);
    const auto big = a > 0.5f;
    const V z = where(big, (V(1.0f) - a) * 0.5f, a * a);
    const V p = detail::asin_small(where(big, sqrt(z), a), z);
    return copysign(where(big, V(1.57079632679f) - (p + p + 4.37113883e-8f), p), x);
  }
}
template <Lanes V>
FS_FN V acos(V x) {
  using T = scalar_of<V>;
  if constexpr (sizeof(T) == 8) {
    return detail::map_lanes(x, [](double v) { return ::acos(v); });
  } else {
    const V a = abs(x);
    const auto big = a > 0.5f;
    const V z = where(big, (V(1.0f) - a) * 0.5f, a * a);
    const V p = detail::asin_small(where(big, sqrt(z), a), z);
    const V far = where(x < 0.0f, V(3.14159265359f) - (p + p + 8.74227766e-8f), p + p);
    return where(big, far, V(1.57079632679f) - (copysign(p, x) + 4.37113883e-8f));
  }
}
// The angle of (x, y) in (-pi, pi].
template <Lanes V>
FS_FN V atan2(V y, V x) {
  using T = scalar_of<V>;
  if constexpr (sizeof(T) == 8) {
    return detail::map_lanes(y, x, [](double b, double a) { return ::atan2(b, a); });
  } else {
    const V a = abs(x), b = abs(y), low = min(a, b), high = max(a, b);
    V t = low / high;
    t = where(high == 0.0f, V(0.0f), where(low == V(detail::kInf<T>), V(1.0f), t));
    V r = detail::atan_positive(t);
    r = where(b > a, V(1.57079632679f) - (r + 4.37113883e-8f), r);
    r = where(signbit(x), V(3.14159265359f) - (r + 8.74227766e-8f), r);
    return copysign(where((x != x) | (y != y), x + y, r), y);
  }
}

}  // namespace FS_MATH_NAMESPACE
}  // namespace fireseed

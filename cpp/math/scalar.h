// The vocabulary of the pointwise formulas: everything a functor may call, on numbers, registers and tensors alike.
#pragma once

#include "math/exp_log.h"
#include "math/special.h"
#include "math/trig.h"

namespace fireseed {
inline namespace FS_MATH_NAMESPACE {

// ---- small helpers -----------------------------------------------------------------------------------------

template <Lanes V>
FS_FN V square(V x) {
  return x * x;
}
template <Lanes V>
FS_FN V reciprocal(V x) {
  return V(scalar_of<V>(1)) / x;
}
template <Lanes V>
FS_FN V rsqrt(V x) {
  return V(scalar_of<V>(1)) / sqrt(x);
}
// -1, 0 or 1; 0 for NaN, as PyTorch has it.
template <Lanes V>
FS_FN V sign(V x) {
  using T = scalar_of<V>;
  return where(x > T(0), V(T(1)), where(x < T(0), V(T(-1)), V(T(0))));
}
template <Lanes V>
FS_FN auto isnan(V x) {
  return x != x;
}
template <Lanes V>
FS_FN auto isinf(V x) {
  return abs(x) == V(detail::kInf<scalar_of<V>>);
}
template <Lanes V>
FS_FN auto isfinite(V x) {
  return abs(x) < V(detail::kInf<scalar_of<V>>);
}
// The larger / smaller; the other one where one is NaN.
template <Lanes V>
FS_FN V fmax(V x, V y) {
  return where(x != x, y, where(y > x, y, x));
}
template <Lanes V>
FS_FN V fmin(V x, V y) {
  return where(x != x, y, where(y < x, y, x));
}
// sqrt(x^2 + y^2) without overflow; infinite if either is.
template <Lanes V>
FS_FN V hypot(V x, V y) {
  using T = scalar_of<V>;
  if constexpr (sizeof(T) == 4 && V::kSize > 1) {
    const auto lx = widen_low(x), hx = widen_high(x), ly = widen_low(y), hy = widen_high(y);
    const V r = narrow(sqrt(lx * lx + ly * ly), sqrt(hx * hx + hy * hy));
    return where(isinf(x) | isinf(y), V(detail::kInf<T>), r);
  } else {
    return detail::map_lanes(x, y, [](double a, double b) { return ::hypot(a, b); });
  }
}

// ---- division with remainder -------------------------------------------------------------------------------

// C's fmod: x - y trunc(x / y) exactly, with the sign of x.
template <Lanes V>
FS_FN V fmod(V x, V y) {
  using T = scalar_of<V>;
  const V a = abs(x), b = abs(y), q = trunc(a / b);
  // Where the quotient is small, fma gives a - q b exactly, and q is off by one at most.
  const V limit = V(sizeof(T) == 4 ? T(4194304.0) : T(1125899906842624.0));
  const T tiny = sizeof(T) == 4 ? T(1e-30) : T(1e-280);  // below, a - q b could lose bits to underflow
  if (__builtin_expect(!FS_MATH_FMA || !((q < limit) & (b > V(tiny)) & (b < V(detail::kInf<T>))).all(), 0))
    return detail::map_lanes(x, y, [](T u, T v) {
      return sizeof(T) == 4 ? static_cast<T>(::fmodf(static_cast<float>(u), static_cast<float>(v)))
                            : static_cast<T>(::fmod(u, v));
    });
  V r = fma(-q, b, a);
  r = where(r < T(0), r + b, r);
  r = where(r >= b, r - b, r);
  return copysign(r, x);
}
// Python's %: the sign of y.
template <Lanes V>
FS_FN V remainder(V x, V y) {
  using T = scalar_of<V>;
  const V r = fmod(x, y);
  return where((r != T(0)) & ((y < T(0)) ^ (r < T(0))), r + y, r);
}
// Python's //: floor of the exact quotient; x / y for y = 0.
template <Lanes V>
FS_FN V floor_div(V x, V y) {
  using T = scalar_of<V>;
  const V m = fmod(x, y);
  V d = (x - m) / y;
  d = where((m != T(0)) & ((y < T(0)) ^ (m < T(0))), d - T(1), d);
  V f = floor(d);
  f = where(d - f > T(0.5), f + T(1), f);
  f = where(d == T(0), copysign(V(T(0)), x / y), f);
  return where(y == T(0), x / y, f);
}

// x^e for a number e: the exponents people write are a few multiplications.
template <Lanes V>
FS_FN V pow(V x, double e) {
  if (e == 2.0) return x * x;
  if (e == 0.5) return sqrt(x);
  if (e == 3.0) return x * x * x;
  if (e == 1.0) return x;
  if (e == -1.0) return reciprocal(x);
  if (e == -0.5) return rsqrt(x);
  if (e == -2.0) return reciprocal(x * x);
  if (e == 1.5) return x * sqrt(x);
  if (e == 2.5) return x * x * sqrt(x);
  if (e == 4.0) return square(x * x);
  if (e == 0.0) return V(scalar_of<V>(1));
  return pow(x, V(e));
}

// ---- a plain number as one operand -------------------------------------------------------------------------

#define FS_MATH_MIXED(name)     \
  template <Lanes V>            \
  FS_FN V name(V x, double y) { \
    return name(x, V(y));       \
  }                             \
  template <Lanes V>            \
  FS_FN V name(double x, V y) { \
    return name(V(x), y);       \
  }
FS_MATH_MIXED(atan2)
FS_MATH_MIXED(fmod)
FS_MATH_MIXED(remainder)
FS_MATH_MIXED(floor_div)
FS_MATH_MIXED(copysign)
FS_MATH_MIXED(hypot)
FS_MATH_MIXED(fmax)
FS_MATH_MIXED(fmin)
#undef FS_MATH_MIXED

// ---- float and double --------------------------------------------------------------------------------------

#define FS_MATH_NUMBER(name)                                         \
  FS_HD inline float name(float x) { return name(Num<float>(x)).v; } \
  FS_HD inline double name(double x) { return name(Num<double>(x)).v; }
#define FS_MATH_NUMBER2(name)                                                                \
  FS_HD inline float name(float x, float y) { return name(Num<float>(x), Num<float>(y)).v; } \
  FS_HD inline double name(double x, double y) { return name(Num<double>(x), Num<double>(y)).v; }
FS_MATH_NUMBER(exp)
FS_MATH_NUMBER(exp2)
FS_MATH_NUMBER(expm1)
FS_MATH_NUMBER(log)
FS_MATH_NUMBER(log2)
FS_MATH_NUMBER(log10)
FS_MATH_NUMBER(log1p)
FS_MATH_NUMBER(sin)
FS_MATH_NUMBER(cos)
FS_MATH_NUMBER(tan)
FS_MATH_NUMBER(asin)
FS_MATH_NUMBER(acos)
FS_MATH_NUMBER(atan)
FS_MATH_NUMBER(sinh)
FS_MATH_NUMBER(cosh)
FS_MATH_NUMBER(tanh)
FS_MATH_NUMBER(asinh)
FS_MATH_NUMBER(acosh)
FS_MATH_NUMBER(atanh)
FS_MATH_NUMBER(sigmoid)
FS_MATH_NUMBER(erf)
FS_MATH_NUMBER(erfc)
FS_MATH_NUMBER(erfinv)
FS_MATH_NUMBER(ndtr)
FS_MATH_NUMBER(lgamma)
FS_MATH_NUMBER(digamma)
FS_MATH_NUMBER(i0)
FS_MATH_NUMBER(i1)
FS_MATH_NUMBER(sqrt)
FS_MATH_NUMBER(rsqrt)
FS_MATH_NUMBER(square)
FS_MATH_NUMBER(reciprocal)
FS_MATH_NUMBER(sign)
FS_MATH_NUMBER(floor)
FS_MATH_NUMBER(ceil)
FS_MATH_NUMBER(trunc)
FS_MATH_NUMBER(nearbyint)
FS_MATH_NUMBER2(pow)
FS_MATH_NUMBER2(atan2)
FS_MATH_NUMBER2(fmod)
FS_MATH_NUMBER2(remainder)
FS_MATH_NUMBER2(floor_div)
FS_MATH_NUMBER2(copysign)
FS_MATH_NUMBER2(hypot)
#undef FS_MATH_NUMBER
#undef FS_MATH_NUMBER2

}  // namespace FS_MATH_NAMESPACE
}  // namespace fireseed

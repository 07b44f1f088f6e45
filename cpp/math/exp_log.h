// exp, expm1, exp2, log, log1p, log2, log10, tanh, sinh, cosh, asinh, acosh, atanh, sigmoid, pow as vector formulas.
#pragma once

#include "math/num.h"

namespace fireseed {
inline namespace FS_MATH_NAMESPACE {

// Note [Accuracy]
// Errors are counted in units in the last place against libm on dense sweeps (tests/cpp): at most 2 for everything
// here. Polynomials are minimax fits with rounded coefficients. Special values are libm's.

namespace detail {
// 1.5 * 2^23 / 2^52: adding it leaves the nearest integer in the low bits (|x| < 2^22 / 2^51).
template <class T>
inline constexpr T kRoundMagic = sizeof(T) == 4 ? static_cast<T>(12582912.0) : static_cast<T>(6755399441055744.0);
template <class T>
inline constexpr int kMantissaBits = sizeof(T) == 4 ? 23 : 52;
template <class T>
inline constexpr int kExponentBias = sizeof(T) == 4 ? 127 : 1023;
template <class T>
inline constexpr T kInf = sizeof(T) == 4 ? static_cast<T>(__builtin_inff()) : static_cast<T>(__builtin_inf());

template <Lanes V>
FS_FN auto to_bits(V x) {
  if constexpr (sizeof(scalar_of<V>) == 4) return bit_cast_to<int32_t>(x);
  else return bit_cast_to<int64_t>(x);
}
template <class V, class I>
FS_FN V from_bits(I i) {
  return bit_cast_to<scalar_of<V>>(i);
}
// Integral-valued x as integer lanes and back; |x| < 2^22 (float), 2^51 (double).
template <Lanes V>
FS_FN auto integral_to_int(V x) {
  using T = scalar_of<V>;
  return to_bits(x + kRoundMagic<T>) - to_bits(V(kRoundMagic<T>));
}
template <class V, class I>
FS_FN V int_to_integral(I i) {
  using T = scalar_of<V>;
  return from_bits<V>(i + to_bits(V(kRoundMagic<T>))) - V(kRoundMagic<T>);
}
// c[0] + c[1] x + … by Horner's rule.
template <class V, class T, int kN>
FS_FN V polynomial(V x, const T (&c)[kN]) {
  V r = V(c[kN - 1]);
  for (int i = kN - 2; i >= 0; --i) r = fma(r, x, V(c[i]));
  return r;
}
// f(lane) for each lane: functions too rare to deserve a formula.
template <class V, class F>
FS_FN V map_lanes(V x, F f) {
  if constexpr (V::kSize == 1) {
    return V(f(x.v));
  } else {
    scalar_of<V> lane[V::kSize];
    x.store(lane);
    for (int i = 0; i < V::kSize; ++i) lane[i] = static_cast<scalar_of<V>>(f(lane[i]));
    return V::load(lane);
  }
}
template <class V, class F>
FS_FN V map_lanes(V x, V y, F f) {
  if constexpr (V::kSize == 1) {
    return V(f(x.v, y.v));
  } else {
    scalar_of<V> a[V::kSize], b[V::kSize];
    x.store(a);
    y.store(b);
    for (int i = 0; i < V::kSize; ++i) a[i] = static_cast<scalar_of<V>>(f(a[i], b[i]));
    return V::load(a);
  }
}
}  // namespace detail

// ---- signs and bits ----------------------------------------------------------------------------------------

// |x| with the sign of y.
template <Lanes V>
FS_FN V copysign(V x, V y) {
  const auto sign = detail::to_bits(V(-0.0));
  return detail::from_bits<V>((detail::to_bits(x) & ~sign) | (detail::to_bits(y) & sign));
}
// True where the sign bit is set, -0 and -NaN included.
template <Lanes V>
FS_FN auto signbit(V x) {
  return mask_cast<scalar_of<V>>(detail::to_bits(x) < 0);
}

// ---- powers of two -----------------------------------------------------------------------------------------

// x * 2^n for integral n within twice the exponent range; AVX-512 has it as an instruction (cpu/vec.h).
template <Lanes V>
FS_FN V scale2(V x, V n) {
  using T = scalar_of<V>;
  const V half = floor(n * T(0.5));
  const auto bias = detail::to_bits(V(T(1)));
  const auto h = detail::integral_to_int(half), rest = detail::integral_to_int(n - half);
  constexpr int kShift = detail::kMantissaBits<T>;
  return x * detail::from_bits<V>((h << kShift) + bias) * detail::from_bits<V>((rest << kShift) + bias);
}

// x = m * 2^e with m in [0.75, 1.5): m = 1, e = -inf / inf for 0 / inf; m = NaN for x < 0 and NaN.
template <Lanes V>
FS_FN V log_split(V x, V& e) {
  using T = scalar_of<V>;
  constexpr int kShift = detail::kMantissaBits<T>;
  const T tiny = sizeof(T) == 4 ? T(1.17549435e-38) : T(2.2250738585072014e-308);
  const T up = sizeof(T) == 4 ? T(16777216.0) : T(18014398509481984.0);  // 2^24, 2^54
  const auto subnormal = x < V(tiny);
  const V y = where(subnormal, x * V(up), x);
  const auto bits = detail::to_bits(y), base = detail::to_bits(V(T(0.75)));
  // (bits - base) >> kShift, arithmetic: int64 lanes have no such shift before AVX-512, so bias and unbias.
  decltype(bits + base) k = bits;
  if constexpr (sizeof(T) == 4) {
    k = (bits - base) >> kShift;
  } else {
    const auto shifted = (bits - base) + (decltype(k)(int64_t{2048}) << kShift);
    k = detail::integral_to_int(detail::int_to_integral<V>((shifted >> kShift) & int64_t{4095}) - V(2048.0));
  }
  e = detail::int_to_integral<V>(k) + where(subnormal, V(sizeof(T) == 4 ? T(-24) : T(-54)), V(T(0)));
  V m = detail::from_bits<V>(bits - (k << kShift));
  const V inf = V(detail::kInf<T>);
  e = where(x == V(T(0)), -inf, where(x == inf, inf, e));
  m = where((x == V(T(0))) | (x == inf), V(T(1)), m);
  return where(x >= V(T(0)), m, V(static_cast<T>(__builtin_nan(""))));
}

// ---- exponentials ------------------------------------------------------------------------------------------

namespace detail {
template <class T>
inline constexpr T kLog2e = T(1.44269504088896340736);
// ln 2 in two parts, the first short enough that n * kLn2Hi is exact; both positive.
template <class T>
inline constexpr T kLn2Hi = sizeof(T) == 4 ? T(0.693145751953125) : T(6.93147180369123816490e-01);
template <class T>
inline constexpr T kLn2Lo = sizeof(T) == 4 ? T(1.42860682030941723212e-6) : T(1.90821492927058770002e-10);

// base^n, exact for powers of two.
template <class T>
FS_HD constexpr T integer_power(int base, int n) {
  T r = T(1);
  for (int i = 0; i < n; ++i) r *= static_cast<T>(base);
  return r;
}
// kFactor^kExtra p(kFactor * x), p = c[0] + c[1] x + …, the factors folded into the coefficients.
template <int kFactor, int kExtra, class V, class T, int kN>
FS_FN V polynomial_of_multiple(V x, const T (&c)[kN]) {
  V r = V(c[kN - 1] * integer_power<T>(kFactor, kN - 1 + kExtra));
  for (int i = kN - 2; i >= 0; --i) r = fma(r, x, V(c[i] * integer_power<T>(kFactor, i + kExtra)));
  return r;
}
// kFactor^kExtra q(r) for r = kFactor * x, |r| <= 0.3474, with e^r = 1 + r + r^2 q(r).
template <int kFactor, int kExtra, class V>
FS_FN V exp_tail(V x) {
  using T = scalar_of<V>;
  if constexpr (sizeof(T) == 4) {
    constexpr float kQ[] = {0.5f, 0.1666653901f, 0.04166659713f, 0.008366969414f, 0.00139237952f};
    return polynomial_of_multiple<kFactor, kExtra>(x, kQ);
  } else {
    constexpr double kQ[] = {0.5,
                             0.166666666666666768,
                             0.0416666666666666713,
                             0.00833333333332147118,
                             0.00138888888888782512,
                             0.000198412698882516201,
                             0.0000248015873833497081,
                             2.75572405048257408e-6,
                             2.7557183369304072e-7,
                             2.5110738456391723e-8,
                             2.09519659182943842e-9};
    return polynomial_of_multiple<kFactor, kExtra>(x, kQ);
  }
}
// (e^r - 1) / kFactor and e^r for r = kFactor * x, |r| <= 0.3474.
template <int kFactor = 1, class V>
FS_FN V expm1_small(V x) {
  return fma(x * x, exp_tail<kFactor, 1>(x), x);
}
template <int kFactor = 1, class V>
FS_FN V exp_small(V x) {
  using T = scalar_of<V>;
  if constexpr (sizeof(T) == 8) return fma(expm1_small<kFactor>(x), V(T(kFactor)), V(T(1)));  // a little closer
  else return fma(x, fma(x, exp_tail<kFactor, 2>(x), V(T(kFactor))), V(T(1)));
}
// n + kRoundMagic + kBias and r with kFactor * x = n ln 2 + kFactor * r; x within the clamp.
template <int kFactor = 1, int kBias = 0, class V>
FS_FN V exp_reduce(V x, V& shifted) {
  using T = scalar_of<V>;
  constexpr T kFrom = kRoundMagic<T> + T(kBias);
  shifted = fma(x, V(kLog2e<T> * T(kFactor)), V(kFrom));
  const V n = shifted - kFrom;
  return fma(n, V(-kLn2Lo<T> / T(kFactor)), fma(n, V(-kLn2Hi<T> / T(kFactor)), x));
}
// n and p with e^x = 2^n (1 + p); x within the clamp.
template <class V>
FS_FN V exp_parts(V x, V& n) {
  V shifted;
  const V r = exp_reduce(x, shifted);
  n = shifted - kRoundMagic<scalar_of<V>>;
  return expm1_small(r);
}
// e^(kSign * x); x within the clamp.
template <int kSign = 1, class V>
FS_FN V exp_clamped(V x) {
  V shifted;
  const V r = exp_reduce<kSign>(x, shifted);
  return scale2(exp_small<kSign>(r), shifted - kRoundMagic<scalar_of<V>>);
}
// x within [smallest, largest] exponents that matter for e^(kSign * x); NaN stays.
template <int kSign = 1, class V>
FS_FN V clamp_exponent(V x) {
  using T = scalar_of<V>;
  constexpr T kLow = sizeof(T) == 4 ? T(-104.0) : T(-746.0), kHigh = sizeof(T) == 4 ? T(89.0) : T(710.0);
  return min(V(kSign > 0 ? kHigh : -kLow), max(V(kSign > 0 ? kLow : -kHigh), x));
}
}  // namespace detail

template <Lanes V>
FS_FN V exp(V x) {
  return detail::exp_clamped(detail::clamp_exponent(x));
}
// e^-x.
template <Lanes V>
FS_FN V exp_minus(V x) {
  return detail::exp_clamped<-1>(detail::clamp_exponent<-1>(x));
}
// 2^x.
template <Lanes V>
FS_FN V exp2(V x) {
  using T = scalar_of<V>;
  const V lo = V(sizeof(T) == 4 ? T(-151.0) : T(-1076.0)), hi = V(sizeof(T) == 4 ? T(129.0) : T(1025.0));
  x = min(hi, max(lo, x));
  const V n = nearbyint(x);
  return scale2(detail::exp_small((x - n) * T(0.693147180559945309417)), n);
}
template <Lanes V>
FS_FN V expm1(V x) {
  using T = scalar_of<V>;
  V n;
  const V p = detail::exp_parts(detail::clamp_exponent(x), n);
  const V half = scale2(V(T(0.5)), n);  // 2^(n-1): finite where the result is
  return where(x == T(0), x, fma(p, half, half - T(0.5)) * T(2));
}

// 1 / (1 + e^-x).
template <Lanes V>
FS_FN V sigmoid(V x) {
  using T = scalar_of<V>;
  return V(T(1)) / (exp_minus(x) + T(1));
}

// tanh x = h / (1 - h) with h = -expm1(-2|x|) / 2: no cancellation, no overflow.
template <Lanes V>
FS_FN V tanh(V x) {
  using T = scalar_of<V>;
  constexpr int kShift = detail::kMantissaBits<T>;
  const V a = min(V(T(24)), abs(x));  // tanh(24) = 1
  V shifted;  // its low bits are the exponent of s = 2^n, the power of two in e^(-2a) = s (1 - 2p)
  const V p = detail::expm1_small<-2>(detail::exp_reduce<-2, detail::kExponentBias<T>>(a, shifted));
  const V s = detail::from_bits<V>(detail::to_bits(shifted) << kShift);
  const V h = fma(p, s, fma(s, V(T(-0.5)), V(T(0.5))));
  return copysign(h / (T(1) - h), x);
}

namespace detail {
// e^x / 2, finite for all x below ln(2 max).
template <class V>
FS_FN V half_exp(V x) {
  using T = scalar_of<V>;
  V n;
  const V p = exp_parts(min(V(sizeof(T) == 4 ? T(90.0) : T(711.0)), x), n);
  return scale2(p + T(1), n - T(1));
}
}  // namespace detail

template <Lanes V>
FS_FN V cosh(V x) {
  using T = scalar_of<V>;
  const V t = detail::half_exp(abs(x));
  return t + V(T(0.25)) / t;
}
template <Lanes V>
FS_FN V sinh(V x) {
  using T = scalar_of<V>;
  if constexpr (sizeof(T) == 8) {
    return detail::map_lanes(x, [](double v) { return ::sinh(v); });
  } else {
    constexpr float kS[] = {0.1666671783f, 0.008330223151f, 0.0002037663653f};
    const V a = abs(x), t = detail::half_exp(a), z = x * x;
    const V small = fma(a * z, detail::polynomial(z, kS), a);
    return copysign(where(a < 1.0f, small, t - V(0.25f) / t), x);
  }
}

// ---- logarithms --------------------------------------------------------------------------------------------

namespace detail {
// log(2^e (1 + f)), -0.25 <= f < 0.5; e = ±inf gives ±inf.
template <class V>
FS_FN V log_parts(V f, V e) {
  using T = scalar_of<V>;
  if constexpr (sizeof(T) == 4) {
    constexpr float kP[] = {0.3333333731f,  -0.2500016689f, 0.1999981403f,   -0.1665546745f, 0.1427137107f,
                            -0.1271752119f, 0.1172780991f,  -0.09214551747f, 0.03844321519f};
    const V z = f * f;
    const V t = fma(e, V(kLn2Lo<T>), f * z * polynomial(f, kP));
    return fma(e, V(kLn2Hi<T>), f + fma(z, V(-0.5f), t));
  } else {
    // log(1 + f) = 2 atanh(s), s = f / (2 + f); written so that f, the leading term, is added last.
    constexpr double kR[] = {0.666666666666724805, 0.399999999962518893, 0.28571429382707364, 0.222221393418374907,
                             0.181863269351326767, 0.152506946962193995, 0.153647074541621353};
    const V s = f / (f + 2.0), z = s * s;
    const V half_square = f * f * 0.5;
    const V tail = s * (half_square + z * polynomial(z, kR)) + e * kLn2Lo<T>;
    return e * kLn2Hi<T> - ((half_square - tail) - f);
  }
}
}  // namespace detail

template <Lanes V>
FS_FN V log(V x) {
  V e;
  const V m = log_split(x, e);
  return detail::log_parts(m - scalar_of<V>(1), e);
}
template <Lanes V>
FS_FN V log2(V x) {
  using T = scalar_of<V>;
  constexpr T kHi = T(1.44269504088896340736),
              kLo = sizeof(T) == 4 ? T(1.925963033500e-8) : T(2.0355273740931033e-17);
  V e;
  const V m = log_split(x, e);
  const V l = detail::log_parts(m - T(1), V(T(0)));
  return fma(l, V(kHi), fma(l, V(kLo), e));
}
template <Lanes V>
FS_FN V log10(V x) {
  using T = scalar_of<V>;
  constexpr T kHi = T(0.43429448190325182765);
  constexpr T kLo = sizeof(T) == 4 ? T(-1.010305e-8) : T(1.098319650216765e-17);
  constexpr T kTwoHi = sizeof(T) == 4 ? T(0.301025390625) : T(3.01029995663611771306e-01);
  constexpr T kTwoLo = sizeof(T) == 4 ? T(4.6050389811952113e-6) : T(3.69423907715893078616e-13);
  V e;
  const V m = log_split(x, e);
  const V l = detail::log_parts(m - T(1), V(T(0)));
  return fma(e, V(kTwoHi), fma(l, V(kHi), fma(e, V(kTwoLo), l * kLo)));
}
// log(1 + x): the rounding error of 1 + x is carried into the polynomial's argument.
template <Lanes V>
FS_FN V log1p(V x) {
  using T = scalar_of<V>;
  const V u = x + T(1), back = u - T(1);
  V e;
  const V m = log_split(u, e);
  const auto finite = (u > T(0)) & (u < V(detail::kInf<T>));
  const V lost = where(finite, (V(T(1)) - (u - back)) + (x - back), V(T(0)));
  const V f = (m - T(1)) + scale2(lost, where(finite, -e, V(T(0))));
  return where(x == T(0), x, detail::log_parts(f, e));
}

// log(1 + x) for x in [0, 1]: 1 + x is never formed, so that nothing is lost.
template <Lanes V>
FS_FN V log1p_unit(V x) {
  using T = scalar_of<V>;
  const auto large = x > T(0.5);
  return detail::log_parts(where(large, fma(x, V(T(0.5)), V(T(-0.5))), x), where(large, V(T(1)), V(T(0))));
}

template <Lanes V>
FS_FN V asinh(V x) {
  using T = scalar_of<V>;
  if constexpr (sizeof(T) == 8) {
    return detail::map_lanes(x, [](double v) { return ::asinh(v); });
  } else {
    const V a = abs(x), z = a * a;
    const V near = log1p(a + z / (sqrt(z + 1.0f) + 1.0f));
    return copysign(where(a > 1e10f, log(a) + 0.693147180559945f, near), x);
  }
}
template <Lanes V>
FS_FN V acosh(V x) {
  using T = scalar_of<V>;
  if constexpr (sizeof(T) == 8) {
    return detail::map_lanes(x, [](double v) { return ::acosh(v); });
  } else {
    const V t = x - 1.0f;
    const V near = log1p(t + sqrt(fma(t, t, t + t)));
    const V far = log(x) + 0.693147180559945f;  // NaN for x < 0
    return where(abs(x) > 1e10f, far, where(x < 1.0f, V(__builtin_nanf("")), near));
  }
}
template <Lanes V>
FS_FN V atanh(V x) {
  using T = scalar_of<V>;
  if constexpr (sizeof(T) == 8) {
    return detail::map_lanes(x, [](double v) { return ::atanh(v); });
  } else {
    const V a = abs(x);
    return copysign(log1p((a + a) / (V(1.0f) - a)) * 0.5f, x);
  }
}

// ---- pow ---------------------------------------------------------------------------------------------------

namespace detail {
// Repairs e^(y log|x|) = r for signs, zeros, infinities and NaN as C's pow has them.
template <class V>
FS_FN V pow_specials(V x, V y, V r) {
  using T = scalar_of<V>;
  const V inf = V(kInf<T>), one = V(T(1));
  const auto integral = trunc(y) == y;
  const V half = y * T(0.5);
  const auto odd = integral & (trunc(half) != half);
  r = where(odd & signbit(x), -r, r);
  r = where((x < T(0)) & ~integral & (x > -inf), V(static_cast<T>(__builtin_nan(""))), r);
  return where((y == T(0)) | (x == one) | ((x == -one) & (abs(y) == inf)), one, r);
}
}  // namespace detail

// x^y; float goes through double, so that it is right to the last place but for rare ties.
template <Lanes V>
FS_FN V pow(V x, V y) {
  if constexpr (sizeof(scalar_of<V>) == 8) {
    return detail::map_lanes(x, y, [](double a, double b) { return ::pow(a, b); });
  } else if constexpr (V::kSize == 1) {
    const Num<double> r = exp(log(Num<double>(::fabs(static_cast<double>(x.v)))) * static_cast<double>(y.v));
    return detail::pow_specials(x, y, V(static_cast<float>(r.v)));
  } else {
    const V a = abs(x);
    const auto low = exp(log(widen_low(a)) * widen_low(y)), high = exp(log(widen_high(a)) * widen_high(y));
    return detail::pow_specials(x, y, narrow(low, high));
  }
}

}  // namespace FS_MATH_NAMESPACE
}  // namespace fireseed

// Incomplete gamma functions, the scaled error function and the inverse normal distribution of numbers, in double.
#pragma once

#include "math/num.h"

namespace fireseed {
inline namespace FS_MATH_NAMESPACE {
namespace detail {

FS_HD inline double lgamma_number(double x) {
#if defined(__CUDA_ARCH__) || !defined(__GLIBC__)
  return ::lgamma(x);
#else
  int sign;  // the re-entrant form: lgamma writes a global
  return ::lgamma_r(x, &sign);
#endif
}
// c[0] + c[1] x + …
template <int kN>
FS_HD inline double horner(double x, const double (&c)[kN]) {
  double r = c[kN - 1];
  for (int i = kN - 2; i >= 0; --i) r = fma(Num<double>(r), Num<double>(x), Num<double>(c[i])).v;
  return r;
}
// log Gamma(1 + a) for 0 <= a, without loss near 0: the Taylor series of coefficients (-1)^k zeta(k) / k.
FS_HD inline double lgamma1p_number(double a) {
  constexpr double kC[] = {0.82246703342411322,  -0.40068563438653143,  0.27058080842778455,  -0.20738555102867399,
                           0.16955717699740819,  -0.14404989676884612,  0.12550966952474304,  -0.11133426586956469,
                           0.10009945751278181,  -0.090954017145829042, 0.083353840546109004, -0.076932516411352191,
                           0.071432946295361336, -0.066668705882420468, 0.062500955141213041, -0.058823978658684582,
                           0.055555767627403611, -0.052631679379616661, 0.050000047698101694, -0.047619070330142228,
                           0.045454556293204669, -0.043478266053040259, 0.04166666915034121,  -0.040000001192140141,
                           0.038461539034675186};
  if (a > 0.25) return lgamma_number(1.0 + a);
  return a * (a * horner(a, kC) - 0.57721566490153286061);
}
// x - log(1 + x) for |x| <= 1/2, without loss near 0.
FS_HD inline double x_minus_log1p(double x) {
  const double r = x / (2.0 + x), r2 = r * r;  // log(1 + x) = 2 atanh(r)
  double sum = 0.0, power = 1.0;
  for (int k = 3; k < 43; k += 2) {
    sum += power / k;
    power *= r2;
    if (power < 1e-17) break;
  }
  return x * r - 2.0 * r * r2 * sum;
}
// x^a e^-x / Gamma(a); for large a by Stirling's series, as the large terms cancel.
FS_HD inline double gamma_weight(double a, double x) {
  if (a < 10.0) return ::exp(a * ::log(x) - x - lgamma_number(a));
  constexpr double kC[] = {1.0 / 12.0,   -1.0 / 360.0,      1.0 / 1260.0, -1.0 / 1680.0,
                           1.0 / 1188.0, -691.0 / 360360.0, 1.0 / 156.0};
  const double tail = horner(1.0 / (a * a), kC) / a;
  const double d = (x - a) / a, phi = ::fabs(d) > 0.5 ? d - ::log(x / a) : x_minus_log1p(d);
  return ::sqrt(a * 0.159154943091895335769) * ::exp(-a * phi - tail);
}

// Note [Incomplete gamma functions]
// P(a, x) = 1 - Q(a, x). P by its power series where x <= a or x is small; Q by its continued fraction right of that,
// and for small a and x by the series of 1 - P with the leading terms taken together; where a >= 10^4 and x is near
// a, both by Temme's uniform expansion (DLMF 8.11.4, 8.9.2, 8.7.3, 8.12).
FS_HD inline double gamma_p_series(double a, double x) {
  double sum = 1.0, term = 1.0;
  for (double n = a + 1.0; term > sum * 1e-17; n += 1.0) {
    term *= x / n;
    sum += term;
  }
  return sum * gamma_weight(a, x) / a;
}
FS_HD inline double gamma_q_fraction(double a, double x) {  // Lentz's method
  constexpr double kTiny = 1e-300;
  double b = x + 1.0 - a, c = 1.0 / kTiny, d = 1.0 / b, r = d;
  for (int i = 1; i < 20000; ++i) {
    const double step = -i * (i - a);
    b += 2.0;
    d = step * d + b;
    if (::fabs(d) < kTiny) d = kTiny;
    c = b + step / c;
    if (::fabs(c) < kTiny) c = kTiny;
    d = 1.0 / d;
    r *= c * d;
    if (::fabs(c * d - 1.0) < 1e-16) break;
  }
  return r * gamma_weight(a, x);
}
FS_HD inline double gamma_q_series(double a, double x) {
  double term = 1.0, sum = 0.0;
  for (int n = 1; n < 100; ++n) {
    term *= -x / n;
    sum += term / (a + n);
    if (::fabs(term) < 1e-18) break;
  }
  const double power = a * ::log(x) - lgamma1p_number(a);
  return -::expm1(power) - a * ::exp(power) * sum;
}
FS_HD inline double gamma_uniform(double a, double d, bool upper) {
  constexpr double kC0[] = {-0.3333333333333333,   0.08333333333333333,    -0.014814814814814815,
                            0.0011574074074074073, 0.0003527336860670194,  -0.0001787551440329218,
                            3.919263178522438e-05, -2.185448510679992e-06, -1.85406221071516e-06,
                            8.296711340953087e-07, -1.7665952736826078e-07};
  constexpr double kC1[] = {-0.001851851851851852,   -0.003472222222222222,  0.0026455026455026454,
                            -0.0009902263374485596,  0.00020576131687242798, -4.018775720164609e-07,
                            -1.8098550334489977e-05, 7.64916091608111e-06};
  constexpr double kC2[] = {0.004133597883597883, -0.0026813271604938273, 0.0007716049382716049,
                            2.0093878600823047e-06, -0.0001073666322636516};
  const double half = x_minus_log1p(d), eta = ::copysign(::sqrt(2.0 * half), d);
  const double series = horner(eta, kC0) + (horner(eta, kC1) + horner(eta, kC2) / a) / a;
  const double rest = ::exp(-a * half) / ::sqrt(6.28318530717958647693 * a) * series;
  const double z = eta * ::sqrt(0.5 * a);
  return upper ? 0.5 * ::erfc(z) + rest : 0.5 * ::erfc(-z) - rest;
}
// P where !upper, Q where upper.
FS_HD inline double incomplete_gamma(double a, double x, bool upper) {
  if (!(a >= 0.0) || !(x >= 0.0) || (a == 0.0 && x == 0.0)) return __builtin_nan("");
  const double low = upper ? 1.0 : 0.0, high = upper ? 0.0 : 1.0;  // at x = 0 and at x = infinity
  if (a == 0.0) return high;
  if (x == 0.0) return low;
  constexpr double kInfinity = __builtin_inf();
  if (a == kInfinity) return x == kInfinity ? __builtin_nan("") : low;
  if (x == kInfinity) return high;
  const double d = (x - a) / a;
  if (a >= 1e4 && ::fabs(d) < 0.1) return gamma_uniform(a, d, upper);
  if (x > 1.1 ? x <= a : x > 0.5 ? 1.1 * x < a : -0.4 / ::log(x) < a) {
    const double p = gamma_p_series(a, x);
    return upper ? 1.0 - p : p;
  }
  if (!upper && x <= 1.1) return gamma_p_series(a, x);
  const double q = x > 1.1 ? gamma_q_fraction(a, x) : gamma_q_series(a, x);
  return upper ? q : 1.0 - q;
}
FS_HD inline double igamma_number(double a, double x) { return incomplete_gamma(a, x, false); }
FS_HD inline double igammac_number(double a, double x) { return incomplete_gamma(a, x, true); }

// exp(x^2) erfc(x). The square is split, so that its rounding does not grow with it; the asymptotic series beyond 25.
FS_HD inline double erfcx_number(double x) {
  if (x < -27.0) return __builtin_inf();
  if (x < 25.0) {
    const double head = ::rint(x * 1048576.0) / 1048576.0, rest = (x - head) * (x + head);  // head^2 is exact
    return ::exp(head * head) * ::exp(rest) * ::erfc(x);
  }
  const double z = 0.5 / (x * x);
  return 0.564189583547756286948 / x *
         (1.0 - z * (1.0 - 3.0 * z * (1.0 - 5.0 * z * (1.0 - 7.0 * z * (1.0 - 9.0 * z * (1.0 - 11.0 * z))))));
}
// log of the standard normal distribution function.
FS_HD inline double log_ndtr_number(double x) {
  const double t = x * 0.707106781186547524401;
  if (x < -1.0) return ::log(0.5 * erfcx_number(-t)) - t * t;
  return ::log1p(-0.5 * ::erfc(t));
}
// The inverse of the standard normal distribution function: rational approximations of Wichura (1988), AS 241.
FS_HD inline double ndtri_number(double p) {
  constexpr double kA[] = {3.3871328727963666080e0,  1.3314166789178437745e+2, 1.9715909503065514427e+3,
                           1.3731693765509461125e+4, 4.5921953931549871457e+4, 6.7265770927008700853e+4,
                           3.3430575583588128105e+4, 2.5090809287301226727e+3};
  constexpr double kB[] = {1.0,
                           4.2313330701600911252e+1,
                           6.8718700749205790830e+2,
                           5.3941960214247511077e+3,
                           2.1213794301586595867e+4,
                           3.9307895800092710610e+4,
                           2.8729085735721942674e+4,
                           5.2264952788528545610e+3};
  constexpr double kC[] = {1.42343711074968357734e0,  4.63033784615654529590e0, 5.76949722146069140550e0,
                           3.64784832476320460504e0,  1.27045825245236838258e0, 2.41780725177450611770e-1,
                           2.27238449892691845833e-2, 7.74545014278341407640e-4};
  constexpr double kD[] = {1.0,
                           2.05319162663775882187e0,
                           1.67638483018380384940e0,
                           6.89767334985100004550e-1,
                           1.48103976427480074590e-1,
                           1.51986665636164571966e-2,
                           5.47593808499534494600e-4,
                           1.05075007164441684324e-9};
  constexpr double kE[] = {6.65790464350110377720e0,  5.46378491116411436990e0,  1.78482653991729133580e0,
                           2.96560571828504891230e-1, 2.65321895265761230930e-2, 1.24266094738807843860e-3,
                           2.71155556874348757815e-5, 2.01033439929228813265e-7};
  constexpr double kF[] = {1.0,
                           5.99832206555887937690e-1,
                           1.36929880922735805310e-1,
                           1.48753612908506148525e-2,
                           7.86869131145613259100e-4,
                           1.84631831751005468180e-5,
                           1.42151175831644588870e-7,
                           2.04426310338993978564e-15};
  if (!(p > 0.0 && p < 1.0)) {
    if (p == 0.0) return -__builtin_inf();
    return p == 1.0 ? __builtin_inf() : static_cast<double>(__builtin_nan(""));
  }
  const double q = p - 0.5;
  if (::fabs(q) <= 0.425) {
    const double r = 0.180625 - q * q;
    return q * horner(r, kA) / horner(r, kB);
  }
  const double r = ::sqrt(-::log(q < 0.0 ? p : 1.0 - p));
  const double x = r <= 5.0 ? horner(r - 1.6, kC) / horner(r - 1.6, kD) : horner(r - 5.0, kE) / horner(r - 5.0, kF);
  return q < 0.0 ? -x : x;
}
// -x log x; 0 at 0, -infinity left of it.
FS_HD inline double entr_number(double x) {
  if (x != x) return x;
  return x > 0.0 ? -x * ::log(x) : x == 0.0 ? 0.0 : -__builtin_inf();
}

}  // namespace detail
}  // namespace FS_MATH_NAMESPACE
}  // namespace fireseed

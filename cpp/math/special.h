// erf, erfc, erfinv, lgamma, digamma, polygamma, i0, i1: float erf as a vector formula, the rare ones lane by lane.
#pragma once

#include "math/exp_log.h"
#include "math/special_bessel.h"
#include "math/special_gamma.h"

namespace fireseed {
inline namespace FS_MATH_NAMESPACE {

// table[i mod 16] lane by lane; a permutation of registers on AVX2 and AVX-512 (cpu/vec.h).
template <class I>
FS_FN auto lookup16(const float* table, I i) {
  float lane[I::kSize];
  int32_t index[I::kSize];
  i.store(index);
  for (int k = 0; k < I::kSize; ++k) lane[k] = table[index[k] & 15];
  using V = decltype(bit_cast_to<float>(i));
  return V::load(lane);
}

namespace detail {
// erf(a) for a in [0, 4] near the centres a = k / 3.75, k = 0 … 15, as polynomials in u = 3.75 a - k, |u| <= 1/2; for
// k < 4 it is erf(a) / a, which keeps the relative error small at 0. Row j holds the coefficients of u^j.
inline constexpr float kErfTable[6][16] = {
    {1.12837923f, 1.10219347f, 1.02993608f, 0.927626193f, 0.868571997f, 0.940653563f, 0.9763484f, 0.991706073f,
     0.997447014f, 0.999311507f, 0.999837577f, 0.999966502f, 0.99999398f, 0.999999046f, 0.999999881f, 1.0f},
    {-1.04101403e-08f, -0.0512680523f, -0.0904536322f, -0.110880136f, 0.0964479893f, 0.050856296f, 0.0232610814f,
     0.00922887586f, 0.00317615247f, 0.000948172994f, 0.000245531672f, 5.51519952e-05f, 1.07460455e-05f,
     1.81622636e-06f, 2.66271797e-07f, 3.38642892e-08f},
    {-0.0267465226f, -0.0234642029f, -0.0151485931f, -0.00535025634f, -0.0274342336f, -0.01808252f, -0.009924924f,
     -0.00459398516f, -0.00180685392f, -0.000606791931f, -0.000174574394f, -4.31292028e-05f, -9.16576118e-06f,
     -1.67781616e-06f, -2.64814815e-07f, -3.60654866e-08f},
    {-2.07742278e-06f, 0.00209643855f, 0.00323616387f, 0.0030996534f, 0.00291610113f, 0.00308067724f, 0.00227168039f,
     0.00130576233f, 0.000609994633f, 0.000236438456f, 7.69511607e-05f, 2.11884144e-05f, 4.96126904e-06f,
     9.91478146e-07f, 1.69567329e-07f, 2.53345522e-08f},
    {0.000578631589f, 0.000432386005f, 0.000121840276f, -0.000168557934f, 0.000237023982f, -0.000116057978f,
     -0.000247282325f, -0.000215495907f, -0.000130934452f, -6.16906837e-05f, -2.3498691e-05f, -7.39180723e-06f,
     -1.9443612e-06f, -4.31161965e-07f, -8.10531162e-08f, -1.07272848e-08f},
    {-1.43501165e-05f, -5.05305106e-05f, -6.68034045e-05f, -4.46445665e-05f, -8.85680201e-05f, -4.87836551e-05f,
     -6.11927544e-06f, 1.49901598e-05f, 1.66593109e-05f, 1.06509306e-05f, 4.98834333e-06f, 1.83778218e-06f,
     5.4998128e-07f, 1.36085376e-07f, 2.81493016e-08f, 7.5559452e-09f}};
// (ndtr(a) - 1/2) / a for a in [0, 8], likewise, in u = 1.875 a - k; exactly 1/16 at a = 8, where ndtr is 1.
inline constexpr float kNdtrTable[6][16] = {
    {0.398942292f, 0.380809814f, 0.334630132f, 0.278250456f, 0.226664677f, 0.186063603f, 0.156035274f, 0.133903265f,
     0.117185175f, 0.1041665f, 0.0937499925f, 0.0852272734f, 0.078125f, 0.072115384f, 0.0669642836f, 0.0625f},
    {-2.88750091e-08f, -0.0347559266f, -0.0543836504f, -0.0557765365f, -0.046419356f, -0.0349335261f, -0.0256085303f,
     -0.0190754253f, -0.0146425907f, -0.0115736155f, -0.00937497243f, -0.0077479328f, -0.00651041651f,
     -0.00554733723f, -0.00478316331f, -0.00416666688f},
    {-0.018912144f, -0.0144602908f, -0.00493140798f, 0.00281626848f, 0.00577549357f, 0.00536609348f, 0.0039291163f,
     0.00267171161f, 0.00182400015f, 0.00128538907f, 0.000937456382f, 0.000704353908f, 0.0005425337f, 0.000426717714f,
     0.000341654202f, 0.00027777761f},
    {-5.7754196e-06f, 0.00272142002f, 0.00320300926f, 0.00179553719f, 0.000281210203f, -0.000412873807f,
     -0.000480793096f, -0.000348793837f, -0.000223469979f, -0.000142361489f, -9.37111326e-05f, -6.40302533e-05f,
     -4.52110653e-05f, -3.28244387e-05f, -2.44038711e-05f, -1.85198369e-05f},
    {0.00082934153f, 0.00044287162f, -0.000178020389f, -0.000428594067f, -0.00028412565f, -7.69809994e-05f,
     2.08929978e-05f, 3.57268364e-05f, 2.56772437e-05f, 1.56022888e-05f, 9.38129688e-06f, 5.83743213e-06f,
     3.77735091e-06f, 2.53056942e-06f, 1.74647505e-06f, 1.2295327e-06f},
    {-4.01925499e-05f, -0.000124237326f, -0.00010029292f, -7.02547538e-07f, 4.57401256e-05f, 3.1782798e-05f,
     8.91623677e-06f, -9.59288968e-07f, -2.34832328e-06f, -1.61216656e-06f, -9.260811e-07f, -5.29817385e-07f,
     -3.1473482e-07f, -1.94657503e-07f, -1.24748169e-07f, -9.10764939e-08f}};

// The polynomial of the table's column nearest to s (0 <= s <= 15), where s = scale * a.
template <class V>
FS_FN V piecewise16(const float (&table)[6][16], V a, float scale) {
  const V shifted = fma(a, V(scale), V(kRoundMagic<float>));
  const V u = fma(a, V(scale), V(kRoundMagic<float>) - shifted);
  const auto i = to_bits(shifted);  // the low four bits count
  V r = lookup16(table[5], i);
  for (int j = 4; j >= 0; --j) r = fma(r, u, lookup16(table[j], i));
  return r;
}
}  // namespace detail

// The error function.
template <Lanes V>
FS_FN V erf(V x) {
  using T = scalar_of<V>;
  if constexpr (sizeof(T) == 8) {
    return detail::map_lanes(x, [](double v) { return ::erf(v); });
  } else {
    const V a = min(V(4.0f), abs(x));  // erf(4) = 1 in float; NaN stays
    const V r = detail::piecewise16(detail::kErfTable, a, 3.75f);
    return where(a < 0.9333333f, r * x, copysign(r, x));
  }
}

// The standard normal distribution function, (1 + erf(x / sqrt 2)) / 2.
template <Lanes V>
FS_FN V ndtr(V x) {
  using T = scalar_of<V>;
  if constexpr (sizeof(T) == 8) {
    return detail::map_lanes(x, [](double v) { return 0.5 * ::erfc(v * -0.707106781186547524401); });
  } else {
    const V c = min(V(8.0f), max(V(-8.0f), x));
    return fma(c, detail::piecewise16(detail::kNdtrTable, abs(c), 1.875f), V(0.5f));
  }
}

namespace detail {
// Inverse of erf in double: rational start (Golub and others, as published for erfinv), then two Newton steps.
FS_HD inline double erfinv_number(double y) {
  const double a = ::fabs(y);
  if (!(a < 1.0)) return a == 1.0 ? ::copysign(kInf<double>, y) : static_cast<double>(__builtin_nan(""));
  double x;
  if (a <= 0.7) {
    const double z = y * y;
    x = y * (((-0.140543331 * z + 0.914624893) * z - 1.645349621) * z + 0.886226899) /
        ((((0.012229801 * z - 0.329097515) * z + 1.442710462) * z - 2.118377725) * z + 1.0);
  } else {
    const double z = ::sqrt(-::log((1.0 - a) * 0.5));
    x = ::copysign((((1.641345311 * z + 3.429567803) * z - 1.624906493) * z - 1.970840454) /
                       ((1.637067800 * z + 3.543889200) * z + 1.0),
                   y);
  }
  for (int i = 0; i < 2; ++i) x -= (::erf(x) - y) / (1.12837916709551257390 * ::exp(-x * x));
  return x;
}
// Psi(x): reflection for x < 0, recurrence up to 10, then the asymptotic series.
FS_HD inline double digamma_number(double x) {
  constexpr double kPi = 3.14159265358979323846;
  if (x == 0.0) return ::copysign(kInf<double>, -x);
  double r = 0.0;
  if (x < 0.0) {
    if (x == ::floor(x)) return static_cast<double>(__builtin_nan(""));
    r = -kPi / ::tan(kPi * (x - ::floor(x)));
    x = 1.0 - x;
  }
  for (; x < 10.0; x += 1.0) r -= 1.0 / x;
  const double z = 1.0 / (x * x);
  double tail = 0.0;
  if (x < 1e17)
    tail = z * (8.33333333333333333333e-2 -
                z * (8.33333333333333333333e-3 -
                     z * (3.96825396825396825397e-3 -
                          z * (4.16666666666666666667e-3 -
                               z * (7.57575757575757575758e-3 -
                                    z * (2.10927960927960927961e-2 - z * 8.33333333333333333333e-2))))));
  return r + ::log(x) - 0.5 / x - tail;
}
// Hurwitz zeta(s, q) for s > 1 by Euler-Maclaurin summation; left of zero for integer s.
FS_HD inline double zeta_number(double s, double q) {
  if (s == 1.0) return kInf<double>;
  if (!(s > 1.0)) return static_cast<double>(__builtin_nan(""));
  if (q <= 0.0) {
    if (q == ::floor(q)) return kInf<double>;
    if (s != ::floor(s) || q < -1e5) return static_cast<double>(__builtin_nan(""));
  }
  constexpr double kB[] = {8.3333333333333333e-2,  -1.3888888888888889e-3, 3.3068783068783069e-5,
                           -8.2671957671957672e-7, 2.0876756987868099e-8,  -5.2841901386874932e-10,
                           1.3382536530684679e-11, -3.3896802963225829e-13};  // B_2k / (2k)!
  double sum = 0.0, w = q;
  for (; w < 12.0 + 2.0 * s; w += 1.0) {
    const double term = ::pow(w, -s);
    sum += term;
    if (::fabs(term) <= 1e-18 * ::fabs(sum) && w > 0.0) return sum;
  }
  const double power = ::pow(w, -s);
  sum += power * w / (s - 1.0) + 0.5 * power;
  double factor = s, scale = power / w;
  for (int k = 0; k < 8; ++k) {
    sum += kB[k] * factor * scale;
    factor *= (s + 2 * k + 1) * (s + 2 * k + 2);
    scale /= w * w;
  }
  return sum;
}
// n-th derivative of digamma: (-1)^(n+1) n! zeta(n + 1, x); n = 1 also left of zero by reflection.
FS_HD inline double polygamma_number(int n, double x) {
  constexpr double kPi = 3.14159265358979323846;
  if (n == 0) return digamma_number(x);
  if (n == 1 && x < 0.0) {
    const double s = ::sin(kPi * (x - ::floor(x)));
    return kPi * kPi / (s * s) - zeta_number(2.0, 1.0 - x);
  }
  return (n % 2 ? 1.0 : -1.0) * ::tgamma(n + 1.0) * zeta_number(n + 1.0, x);
}
}  // namespace detail

template <Lanes V>
FS_FN V erfc(V x) {
  return detail::map_lanes(x, [](double v) { return ::erfc(v); });
}
template <Lanes V>
FS_FN V erfinv(V x) {
  return detail::map_lanes(x, [](double v) { return detail::erfinv_number(v); });
}
template <Lanes V>
FS_FN V lgamma(V x) {
  return detail::map_lanes(x, [](double v) { return detail::lgamma_number(v); });
}
template <Lanes V>
FS_FN V digamma(V x) {
  return detail::map_lanes(x, [](double v) { return detail::digamma_number(v); });
}
template <Lanes V>
FS_FN V polygamma(int n, V x) {
  return detail::map_lanes(x, [n](double v) { return detail::polygamma_number(n, v); });
}
template <Lanes V>
FS_FN V i0(V x) {
  return detail::map_lanes(x, [](double v) { return detail::i0_number(v); });
}
template <Lanes V>
FS_FN V i1(V x) {
  return detail::map_lanes(x, [](double v) { return detail::i1_number(v); });
}

}  // namespace FS_MATH_NAMESPACE
}  // namespace fireseed

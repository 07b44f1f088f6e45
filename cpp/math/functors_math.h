// Functors of one input: elementary and special functions, rounding, and the tests that give bool.
#pragma once

#include "math/functor.h"

namespace fireseed {
inline namespace FS_MATH_NAMESPACE {

// ---- signs, powers -----------------------------------------------------------------------------------------
FS_FUNCTOR1(Neg, kSaveNone, -x, -g)
FS_FUNCTOR1(Abs, kSave0, abs(x), g* sign(x))
FS_FUNCTOR1(Sign, kSaveNone, sign(x), zeros_like(g))
FS_FUNCTOR1(Square, kSave0, x* x, g*(x * 2.0))
FS_FUNCTOR1(Reciprocal, kSaveOut, reciprocal(x), -(g*(y* y)))
FS_FUNCTOR1(Sqrt, kSaveOut, sqrt(x), g / (y * 2.0))
FS_FUNCTOR1(Rsqrt, kSaveOut, rsqrt(x), g*(y * y * y) * -0.5)

// A plain number as the other operand: nothing to save, nothing to broadcast.
struct AddScalar {
  double value = 0.0;
  FS_FUNCTOR1_BODY(kSaveNone, x + value, g)
};
struct RsubScalar {  // value - x
  double value = 0.0;
  FS_FUNCTOR1_BODY(kSaveNone, value - x, -g)
};
struct MulScalar {
  double value = 1.0;
  FS_FUNCTOR1_BODY(kSaveNone, x* value, g* value)
};
struct DivScalar {
  double value = 1.0;
  FS_FUNCTOR1_BODY(kSaveNone, x / value, g / value)
};
struct RdivScalar {  // value / x
  double value = 1.0;
  FS_FUNCTOR1_BODY(kSave0 | kSaveOut, value / x, -(g*(y / x)))
};

// x^exponent; the lanes' pow(x, number) knows the cheap exponents.
struct PowScalar {
  double exponent = 2.0;
  FS_FUNCTOR1_BODY(kSave0, pow(x, exponent),
                   exponent == 0.0 ? zeros_like(g) : g * (pow(x, exponent - 1.0) * exponent))
};

// ---- exponentials and logarithms ---------------------------------------------------------------------------
FS_FUNCTOR1(Exp, kSaveOut, exp(x), g* y)
FS_FUNCTOR1(Exp2, kSaveOut, exp2(x), g * y * 0.693147180559945309417)
FS_FUNCTOR1(Expm1, kSaveOut, expm1(x), g*(y + 1.0))
FS_FUNCTOR1(Log, kSave0, log(x), g / x)
FS_FUNCTOR1(Log2, kSave0, log2(x), g / (x * 0.693147180559945309417))
FS_FUNCTOR1(Log10, kSave0, log10(x), g / (x * 2.30258509299404568402))
FS_FUNCTOR1(Log1p, kSave0, log1p(x), g / (x + 1.0))

// log(x / (1 - x)); eps >= 0 clamps x to [eps, 1 - eps] first.
struct Logit {
  double eps = -1.0;
  static constexpr int kSaves = kSave0;
  template <class V>
  FS_FN V forward(V x) const {
    V c = eps < 0.0 ? x : where(x < eps, eps, where(x > 1.0 - eps, 1.0 - eps, x));
    return log(c / (1.0 - c));
  }
  template <class V>
  FS_FN V grad(V g, V x, V) const {
    const double low = eps < 0.0 ? 0.0 : eps;
    const double outside = eps < 0.0 ? __builtin_nan("") : 0.0;
    return where((x < low) | (x > 1.0 - low), outside, g / (x * (1.0 - x)));
  }
};

// ---- circular and hyperbolic -------------------------------------------------------------------------------
FS_FUNCTOR1(Sin, kSave0, sin(x), g* cos(x))
FS_FUNCTOR1(Cos, kSave0, cos(x), -(g* sin(x)))
FS_FUNCTOR1(Tan, kSaveOut, tan(x), g*(y* y + 1.0))
FS_FUNCTOR1(Asin, kSave0, asin(x), g* rsqrt(1.0 - x * x))
FS_FUNCTOR1(Acos, kSave0, acos(x), -(g* rsqrt(1.0 - x * x)))
FS_FUNCTOR1(Atan, kSave0, atan(x), g / (x * x + 1.0))
FS_FUNCTOR1(Sinh, kSave0, sinh(x), g* cosh(x))
FS_FUNCTOR1(Cosh, kSave0, cosh(x), g* sinh(x))
FS_FUNCTOR1(Tanh, kSaveOut, tanh(x), g * (1.0 - y * y))
FS_FUNCTOR1(Asinh, kSave0, asinh(x), g* rsqrt(x* x + 1.0))
FS_FUNCTOR1(Acosh, kSave0, acosh(x), g* rsqrt(x* x - 1.0))
FS_FUNCTOR1(Atanh, kSave0, atanh(x), g / (1.0 - x * x))

// sin(pi x) / (pi x), 1 at 0.
struct Sinc {
  static constexpr int kSaves = kSave0;
  static constexpr double kPi = 3.14159265358979323846;
  template <class V>
  FS_FN V forward(V x) const {
    const V t = x * kPi;
    return where(x == 0.0, 1.0, sin(t) / t);
  }
  template <class V>
  FS_FN V grad(V g, V x, V) const {
    const V t = x * kPi;
    return where(x == 0.0, 0.0, g * ((t * cos(t) - sin(t)) / (t * x)));
  }
};
FS_FUNCTOR1(Deg2rad, kSaveNone, x * 0.0174532925199432957692, g * 0.0174532925199432957692)
FS_FUNCTOR1(Rad2deg, kSaveNone, x * 57.2957795130823208768, g * 57.2957795130823208768)

// ---- special functions -------------------------------------------------------------------------------------
FS_FUNCTOR1(Erf, kSave0, erf(x), g* exp(-(x* x)) * 1.12837916709551257390)
FS_FUNCTOR1(Erfc, kSave0, erfc(x), g* exp(-(x* x)) * -1.12837916709551257390)
FS_FUNCTOR1(Erfinv, kSaveOut, erfinv(x), g* exp(y* y) * 0.886226925452758013649)
FS_FUNCTOR1(Ndtr, kSave0, ndtr(x), g* exp(x * x * -0.5) * 0.398942280401432677940)
FS_FUNCTOR1(Lgamma, kSave0, lgamma(x), g* digamma(x))
FS_FUNCTOR1(Digamma, kSave0, digamma(x), g* polygamma(1, x))
struct Polygamma {
  double n = 0.0;
  FS_FUNCTOR1_BODY(kSave0, polygamma(static_cast<int>(n), x), g* polygamma(static_cast<int>(n) + 1, x))
};
FS_FUNCTOR1(I0, kSave0, i0(x), g* i1(x))
FS_FUNCTOR1(I1, kSave0, i1(x), g* where(x == 0.0, 0.5, i0(x) - i1(x) / x))

// ---- rounding ----------------------------------------------------------------------------------------------
FS_FUNCTOR1(Ceil, kSaveNone, ceil(x), zeros_like(g))
FS_FUNCTOR1(Floor, kSaveNone, floor(x), zeros_like(g))
FS_FUNCTOR1(Trunc, kSaveNone, trunc(x), zeros_like(g))
FS_FUNCTOR1(Frac, kSaveNone, x - trunc(x), g)
// To the nearest, ties to even, at 10^-decimals: scale = 10^|decimals|.
struct Round {
  double scale = 1.0;
  double negative = 0.0;  // 1 where decimals < 0
  static constexpr int kSaves = kSaveNone;
  template <class V>
  FS_FN V forward(V x) const {
    if (scale == 1.0) return nearbyint(x);
    return negative != 0.0 ? nearbyint(x / scale) * scale : nearbyint(x * scale) / scale;
  }
  template <class V>
  FS_FN V grad(V g, V, V) const {
    return zeros_like(g);
  }
};

// ---- replacing values --------------------------------------------------------------------------------------
struct NanToNum {
  double nan = 0.0, posinf = 0.0, neginf = 0.0;
  static constexpr int kSaves = kSave0;
  template <class V>
  FS_FN V forward(V x) const {
    constexpr double kInf = __builtin_inf();
    return where(x != x, nan, where(x == kInf, posinf, where(x == -kInf, neginf, x)));
  }
  template <class V>
  FS_FN V grad(V g, V x, V) const {
    return where(abs(x) < __builtin_inf(), g, 0.0);
  }
};
// NaN stays; where low > high the result is high.
struct Clamp {
  double low = -__builtin_inf(), high = __builtin_inf();
  static constexpr int kSaves = kSave0;
  template <class V>
  FS_FN V forward(V x) const {
    const V t = where(x < low, low, x);
    return where(t > high, high, t);
  }
  template <class V>
  FS_FN V grad(V g, V x, V) const {
    return where((x >= low) & (x <= high), g, 0.0);
  }
};

// ---- tests (bool results, no gradient) ---------------------------------------------------------------------
#define FS_FUNCTOR_TEST(Name, formula) \
  struct Name {                        \
    template <class V>                 \
    FS_FN auto forward(V x) const {    \
      return formula;                  \
    }                                  \
  };
FS_FUNCTOR_TEST(IsNan, x != x)
FS_FUNCTOR_TEST(IsInf, abs(x) == __builtin_inf())
FS_FUNCTOR_TEST(IsPosInf, x == __builtin_inf())
FS_FUNCTOR_TEST(IsNegInf, x == -__builtin_inf())
FS_FUNCTOR_TEST(IsFinite, abs(x) < __builtin_inf())
FS_FUNCTOR_TEST(LogicalNot, x == 0)

// The sign bit: of -0 and -NaN too.
struct SignBit {
  template <class V>
  FS_FN auto forward(V x) const {
    if constexpr (is_real<scalar_of<V>>) return signbit(x);
    else return x < 0;
  }
};

}  // namespace FS_MATH_NAMESPACE
}  // namespace fireseed

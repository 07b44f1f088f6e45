// Tests of math/: errors in units in the last place against libm on dense sweeps, special values, division with
// remainder. The formulas run on Num here; kernels run the same templates on registers.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "math/functors.h"
#include "math/scalar.h"

namespace fireseed {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// |got - exact| in units in the last place of a float at exact; huge where a NaN, infinity or sign of zero is wrong.
double float_error(float got, double exact) {
  if (std::isnan(exact)) return std::isnan(got) ? 0 : 1e30;
  const float nearest = static_cast<float>(exact);
  if (std::isinf(nearest) || std::isinf(got)) return got == nearest ? 0 : std::fabs(exact) > 3.4028e38 ? 1 : 1e30;
  if (exact == 0) return got == 0 && std::signbit(got) == std::signbit(exact) ? 0 : 1e29;
  int e;
  std::frexp(exact, &e);
  return std::fabs(got - exact) / std::ldexp(1.0, std::max(e - 24, -149));
}
double double_error(double got, long double exact) {
  if (std::isnan(exact)) return std::isnan(got) ? 0 : 1e30;
  const double nearest = static_cast<double>(exact);
  if (std::isinf(nearest) || std::isinf(got)) return got == nearest ? 0 : 1e30;
  if (exact == 0) return got == 0 ? 0 : 1e29;
  int e;
  std::frexp(exact, &e);
  return static_cast<double>(std::fabs(got - exact) / std::ldexp(1.0L, std::max(e - 53, -1074)));
}

struct Case {
  const char* name;
  float (*single)(float);
  double (*twice)(double);
  long double (*exact)(long double);
  double low, high;  // where the error is counted
  double bound;      // in units in the last place, float
  double double_bound;
};

#define FS_CASE(name, low, high, bound, double_bound)                                             \
  Case {                                                                                          \
    #name, [](float x) { return fireseed::name(x); }, [](double x) { return fireseed::name(x); }, \
        [](long double x) -> long double { return std::name(x); }, low, high, bound, double_bound \
  }

const Case kCases[] = {
    FS_CASE(exp, -kInfinity, kInfinity, 1.1, 1.1),
    FS_CASE(exp2, -kInfinity, kInfinity, 1.1, 1.2),
    FS_CASE(expm1, -kInfinity, kInfinity, 1.7, 2.0),
    FS_CASE(log, -1, kInfinity, 1.0, 1.0),
    FS_CASE(log2, -1, kInfinity, 2.4, 2.5),
    FS_CASE(log10, -1, kInfinity, 2.3, 2.0),
    FS_CASE(log1p, -2, kInfinity, 1.0, 1.1),
    FS_CASE(sin, -1e4, 1e4, 2.5, 1.7),
    FS_CASE(cos, -1e4, 1e4, 2.5, 1.7),
    FS_CASE(tan, -30, 30, 16.0, 3.5),
    FS_CASE(asin, -1.5, 1.5, 2.4, 1.0),
    FS_CASE(acos, -1.5, 1.5, 1.5, 1.0),
    FS_CASE(atan, -kInfinity, kInfinity, 2.1, 1.0),
    FS_CASE(sinh, -100, 100, 1.8, 2.0),
    FS_CASE(cosh, -100, 100, 1.6, 1.6),
    FS_CASE(tanh, -kInfinity, kInfinity, 2.6, 2.6),
    FS_CASE(asinh, -kInfinity, kInfinity, 2.0, 2.0),
    FS_CASE(acosh, -kInfinity, kInfinity, 2.0, 2.0),
    FS_CASE(atanh, -1.5, 1.5, 2.0, 2.0),
    FS_CASE(erf, -kInfinity, kInfinity, 2.4, 1.5),
    FS_CASE(erfc, -10, 10, 1.0, 3.5),
};

TEST(Math, FloatErrorsOverTheWholeRange) {
  for (const Case& c : kCases) {
    double worst = 0;
    float at = 0;
    for (uint64_t u = 0; u < (uint64_t{1} << 32); u += 60013) {  // through all exponents, both signs, NaN
      const uint32_t bits = static_cast<uint32_t>(u);
      float x;
      std::memcpy(&x, &bits, 4);
      if (std::fabs(x) < 1.2e-38f && x != 0.0f) continue;  // subnormal arguments: see below
      if (!std::isnan(x) && !(x >= c.low && x <= c.high)) continue;
      const double e = float_error(c.single(x), static_cast<double>(c.exact(static_cast<long double>(x))));
      if (e > worst) {
        worst = e;
        at = x;
      }
    }
    EXPECT_LE(worst, c.bound) << c.name << " at " << at;
  }
}

TEST(Math, DoubleErrors) {
  for (const Case& c : kCases) {
    double worst = 0, at = 0;
    for (int i = -20000; i <= 20000; ++i) {
      for (const double scale : {1e-7, 1e-4, 3.1e-3, 0.0371}) {
        const double x = i * scale;
        if (!(x >= c.low && x <= c.high)) continue;
        const double e = double_error(c.twice(x), c.exact(static_cast<long double>(x)));
        if (e > worst) {
          worst = e;
          at = x;
        }
      }
    }
    EXPECT_LE(worst, c.double_bound) << c.name << " at " << at;
  }
}

TEST(Math, SpecialValues) {
  const float values[] = {0.0f, -0.0f,   1.0f,     -1.0f, INFINITY, -INFINITY,
                          NAN,  3.4e38f, -3.4e38f, 88.8f, -103.9f,  1e-40f};
  for (const Case& c : kCases) {
    for (float x : values) {
      EXPECT_LE(float_error(c.single(x), static_cast<double>(c.exact(static_cast<long double>(x)))), 16.0)
          << c.name << "(" << x << ") = " << c.single(x);
    }
  }
}

TEST(Math, PowIsThatOfC) {
  const float values[] = {0.0f,  -0.0f, 1.0f,  -1.0f,    2.0f,      -2.0f, 0.5f,   3.0f,
                          -3.0f, 2.5f,  -2.5f, INFINITY, -INFINITY, NAN,   1e-30f, 7e30f};
  for (float x : values)
    for (float y : values) {
      const double exact = std::pow(static_cast<double>(x), static_cast<double>(y));
      EXPECT_LE(float_error(fireseed::pow(x, y), exact), 1.0) << x << "^" << y << " = " << fireseed::pow(x, y);
    }
  for (int i = 1; i < 4000; ++i) {
    const float x = 0.01f * static_cast<float>(i), y = 0.037f * static_cast<float>(i % 200 - 100);
    EXPECT_LE(float_error(fireseed::pow(x, y), std::pow(static_cast<double>(x), static_cast<double>(y))), 1.0)
        << x << "^" << y;
  }
}

TEST(Math, DivisionWithRemainder) {
  const double values[] = {0.0, -0.0, 1.0, -1.0, 2.5, -2.5, 0.1, 7.0, -7.0, 1e10, 1e-5, kInfinity, -kInfinity, kNan};
  for (double x : values)
    for (double y : values) {
      const double r = fireseed::fmod(x, y), exact = std::fmod(x, y);
      EXPECT_TRUE(r == exact || (std::isnan(r) && std::isnan(exact))) << "fmod(" << x << ", " << y << ") = " << r;
      const double m = fireseed::remainder(x, y);
      if (std::isfinite(x) && std::isfinite(y) && y != 0) {
        EXPECT_TRUE(m == 0 || (m < 0) == (y < 0)) << "remainder(" << x << ", " << y << ") = " << m;
        EXPECT_NEAR(fireseed::floor_div(x, y) * y + m, x, 1e-9 * std::fabs(x) + 1e-15);
      }
    }
}

TEST(Math, SpecialFunctions) {
  EXPECT_NEAR(fireseed::digamma(1.0), -0.57721566490153286061, 1e-15);
  EXPECT_NEAR(fireseed::digamma(-0.5), 0.03648997397857652056, 1e-14);
  EXPECT_NEAR(detail::polygamma_number(1, 1.0), 1.64493406684822643647, 1e-14);
  EXPECT_NEAR(detail::polygamma_number(2, 2.5), -0.23620405164172739, 1e-13);
  EXPECT_NEAR(fireseed::i0(1.0), 1.26606587775200833560, 1e-15);
  EXPECT_NEAR(fireseed::i1(-2.0), -1.59063685463732906338, 1e-14);
  EXPECT_NEAR(fireseed::i0(40.0) / 1.4894774793419899e16, 1.0, 1e-14);
  for (double y = -0.999; y < 1; y += 0.0371) EXPECT_NEAR(std::erf(fireseed::erfinv(y)), y, 1e-15);
  for (float x = -8; x < 8; x += 0.01f)
    EXPECT_NEAR(fireseed::ndtr(x), 0.5 * std::erfc(-x * 0.70710678118654752), 1.2e-7) << x;
  EXPECT_EQ(fireseed::ndtr(100.0f), 1.0f);
  EXPECT_EQ(fireseed::ndtr(-100.0f), 0.0f);
}

// Gradients of some functors by central differences in double.
template <class F>
void check_gradient(const F& f, std::initializer_list<double> points) {
  using N = Num<double>;
  for (double x : points) {
    const double h = 1e-6;
    const double numeric = (f.forward(N(x + h)).v - f.forward(N(x - h)).v) / (2 * h);
    const double analytic = f.grad(N(1.0), N(x), f.forward(N(x))).v;
    EXPECT_NEAR(analytic, numeric, 1e-7 * (1 + std::fabs(numeric))) << "at " << x;
  }
}
TEST(Functors, GradientsAgreeWithDifferences) {
  check_gradient(Gelu{}, {-3.0, -0.5, 0.3, 2.0});
  check_gradient(GeluTanh{}, {-3.0, -0.5, 0.3, 2.0});
  check_gradient(Silu{}, {-3.0, 0.1, 2.0});
  check_gradient(Mish{}, {-3.0, 0.1, 2.0, 25.0});
  check_gradient(Softplus{2.0, 20.0}, {-3.0, 0.1, 2.0, 15.0});
  check_gradient(Elu{1.3, 1.1, 0.7}, {-3.0, -0.1, 2.0});
  check_gradient(Hardswish{}, {-4.0, -1.0, 1.0, 4.0});
  check_gradient(LogSigmoid{}, {-30.0, -1.0, 2.0});
  check_gradient(Tanh{}, {-2.0, 0.4});
  check_gradient(Erfinv{}, {-0.7, 0.2});
  check_gradient(Lgamma{}, {0.4, 3.3});
  check_gradient(Digamma{}, {0.4, 3.3});
  check_gradient(Sinc{}, {-1.3, 0.6});
}

}  // namespace
}  // namespace fireseed

// Orthogonal polynomials of one real number and a degree, in double, by their three-term recurrences (DLMF 18.9).
#pragma once

#include "math/num.h"

namespace fireseed {
inline namespace FS_MATH_NAMESPACE {
namespace detail {

// A degree given as a number: cut to an integer; none (-1) where it is not finite.
FS_HD inline int64_t degree(double n) { return ::fabs(n) < 9e18 ? static_cast<int64_t>(n) : -1; }

// Chebyshev polynomials share r(k + 1) = 2 x r(k) - r(k - 1); they differ in r(1) and in the forms on [-1, 1], which
// serve above a degree as the recurrence loses digits and takes time there. c = cos t: T = cos nt,
// U = sin((n + 1) t) / sin t, V = cos((n + 1/2) t) / cos(t / 2), W = sin((n + 1/2) t) / sin(t / 2).
FS_HD inline double chebyshev_recurrence(double x, double first, int64_t n) {
  if (n == 0) return 1.0;
  double p = 1.0, q = first;
  for (int64_t k = 2; k <= n && q == q; ++k) {
    const double r = 2.0 * x * q - p;
    p = q;
    q = r;
  }
  return q;
}
FS_HD inline double chebyshev_t_number(double x, double degree_) {
  const int64_t n = degree(degree_);
  if (n < 0) return 0.0;
  if (::fabs(x) == 1.0) return x > 0.0 || n % 2 == 0 ? 1.0 : -1.0;
  if (n > 6 && ::fabs(x) < 1.0) return ::cos(static_cast<double>(n) * ::acos(x));
  return chebyshev_recurrence(x, x, n);
}
FS_HD inline double chebyshev_u_number(double x, double degree_) {
  const int64_t n = degree(degree_);
  if (n < 0) return 0.0;
  const double m = static_cast<double>(n) + 1.0;
  if (::fabs(x) == 1.0) return x > 0.0 || n % 2 == 0 ? m : -m;
  if (n > 8 && ::fabs(x) < 1.0) {
    const double t = ::acos(x);
    return ::sin(m * t) / ::sin(t);
  }
  return chebyshev_recurrence(x, 2.0 * x, n);
}
FS_HD inline double chebyshev_v_number(double x, double degree_) {
  const int64_t n = degree(degree_);
  if (n < 0) return 0.0;
  const double m = static_cast<double>(n) + 0.5;
  if (::fabs(x) == 1.0) return x > 0.0 ? 1.0 : n % 2 == 0 ? 2.0 * m : -2.0 * m;
  if (n > 8 && ::fabs(x) < 1.0) {
    const double t = ::acos(x);
    return ::cos(m * t) / ::cos(0.5 * t);
  }
  return chebyshev_recurrence(x, 2.0 * x - 1.0, n);
}
FS_HD inline double chebyshev_w_number(double x, double degree_) {
  const int64_t n = degree(degree_);
  if (n < 0) return 0.0;
  const double m = static_cast<double>(n) + 0.5;
  if (::fabs(x) == 1.0) return x > 0.0 ? 2.0 * m : n % 2 == 0 ? 1.0 : -1.0;
  if (n > 8 && ::fabs(x) < 1.0) {
    const double t = ::acos(x);
    return ::sin(m * t) / ::sin(0.5 * t);
  }
  return chebyshev_recurrence(x, 2.0 * x + 1.0, n);
}
// On [0, 1] instead of [-1, 1].
FS_HD inline double shifted_chebyshev_t_number(double x, double n) { return chebyshev_t_number(2.0 * x - 1.0, n); }
FS_HD inline double shifted_chebyshev_u_number(double x, double n) { return chebyshev_u_number(2.0 * x - 1.0, n); }
FS_HD inline double shifted_chebyshev_v_number(double x, double n) { return chebyshev_v_number(2.0 * x - 1.0, n); }
FS_HD inline double shifted_chebyshev_w_number(double x, double n) { return chebyshev_w_number(2.0 * x - 1.0, n); }

// Of the physicists (h) and of the probabilists (he). Beyond degree 512 PyTorch's answer is NaN.
FS_HD inline double hermite_h_number(double x, double degree_) {
  const int64_t n = degree(degree_);
  if (n < 0) return 0.0;
  if (n > 512) return __builtin_nan("");
  double p = 0.0, q = 1.0;
  for (int64_t k = 0; k < n; ++k) {
    const double r = 2.0 * x * q - 2.0 * static_cast<double>(k) * p;
    p = q;
    q = r;
  }
  return q;
}
FS_HD inline double hermite_he_number(double x, double degree_) {
  const int64_t n = degree(degree_);
  if (n < 0) return 0.0;
  if (n > 512) return __builtin_nan("");
  double p = 0.0, q = 1.0;
  for (int64_t k = 0; k < n; ++k) {
    const double r = x * q - static_cast<double>(k) * p;
    p = q;
    q = r;
  }
  return q;
}
FS_HD inline double laguerre_l_number(double x, double degree_) {
  const int64_t n = degree(degree_);
  if (n < 0) return 0.0;
  if (x == 0.0) return 1.0;
  double p = 0.0, q = 1.0;
  for (int64_t i = 0; i < n && q == q; ++i) {
    const double k = static_cast<double>(i), r = ((2.0 * k + 1.0 - x) * q - k * p) / (k + 1.0);
    p = q;
    q = r;
  }
  return q;
}
FS_HD inline double legendre_p_number(double x, double degree_) {
  const int64_t n = degree(degree_);
  if (n < 0) return 0.0;
  if (::fabs(x) == 1.0) return x > 0.0 || n % 2 == 0 ? 1.0 : -1.0;
  double p = 0.0, q = 1.0;
  for (int64_t i = 0; i < n && q == q; ++i) {
    const double k = static_cast<double>(i), r = ((2.0 * k + 1.0) * x * q - k * p) / (k + 1.0);
    p = q;
    q = r;
  }
  return q;
}

}  // namespace detail
}  // namespace FS_MATH_NAMESPACE
}  // namespace fireseed

// The vocabulary of math/ on the device: where CUDA's library has a function of the same accuracy it is quicker there
// than the formulas that were made for SIMD registers, so functors that call exp(x) on numbers get CUDA's.
#pragma once

#include "math/functors.h"
#include "runtime/launch.h"

namespace fireseed {
inline namespace FS_MATH_NAMESPACE {

// Overloads for numbers are preferred to the templates in math/ (found by argument, so order of includes is no
// matter).
#define FS_DEVICE_MATH1(name)                                                \
  FS_FN Num<float> name(Num<float> x) { return Num<float>(::name##f(x.v)); } \
  FS_FN Num<double> name(Num<double> x) { return Num<double>(::name(x.v)); }
FS_DEVICE_MATH1(exp)
FS_DEVICE_MATH1(exp2)
FS_DEVICE_MATH1(expm1)
FS_DEVICE_MATH1(log)
FS_DEVICE_MATH1(log2)
FS_DEVICE_MATH1(log10)
FS_DEVICE_MATH1(log1p)
FS_DEVICE_MATH1(sin)
FS_DEVICE_MATH1(cos)
FS_DEVICE_MATH1(tan)
FS_DEVICE_MATH1(asin)
FS_DEVICE_MATH1(acos)
FS_DEVICE_MATH1(atan)
FS_DEVICE_MATH1(sinh)
FS_DEVICE_MATH1(cosh)
FS_DEVICE_MATH1(tanh)
FS_DEVICE_MATH1(asinh)
FS_DEVICE_MATH1(acosh)
FS_DEVICE_MATH1(atanh)
FS_DEVICE_MATH1(erf)
FS_DEVICE_MATH1(erfc)
#undef FS_DEVICE_MATH1
#define FS_DEVICE_MATH2(name)                                                                   \
  FS_FN Num<float> name(Num<float> x, Num<float> y) { return Num<float>(::name##f(x.v, y.v)); } \
  FS_FN Num<double> name(Num<double> x, Num<double> y) { return Num<double>(::name(x.v, y.v)); }
FS_DEVICE_MATH2(pow)
FS_DEVICE_MATH2(atan2)
FS_DEVICE_MATH2(hypot)
#undef FS_DEVICE_MATH2

// The standard normal distribution function.
FS_FN Num<float> ndtr(Num<float> x) { return Num<float>(0.5f * ::erfcf(x.v * -0.707106781186547524401f)); }
FS_FN Num<double> ndtr(Num<double> x) { return Num<double>(0.5 * ::erfc(x.v * -0.707106781186547524401)); }

// e^-x.
FS_FN Num<float> exp_minus(Num<float> x) { return Num<float>(::expf(-x.v)); }
FS_FN Num<double> exp_minus(Num<double> x) { return Num<double>(::exp(-x.v)); }

// 1 / (1 + e^-x) with the quick division: its 2 ulp hold for denominators below 2^126.
FS_FN Num<float> sigmoid(Num<float> x) {
#if defined(__CUDA_ARCH__)
  return Num<float>(__fdividef(1.0f, 1.0f + ::expf(-x.v)));
#else
  return Num<float>(1.0f / (1.0f + ::expf(-x.v)));
#endif
}

}  // namespace FS_MATH_NAMESPACE
}  // namespace fireseed

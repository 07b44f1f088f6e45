// Records and functions of the pointwise ops with one input.
#include <cmath>
#include <limits>

#include "ops/copy.h"
#include "ops/pointwise_rules.h"

namespace fireseed {

#define FS_UNARY(name, Functor) FS_UNARY_RECORDS(name, Functor)
#define FS_BINARY(name, Functor)
#define FS_COMPARE(name, Functor)
#define FS_TERNARY(name, Functor)
#define FS_KERNEL(name)
#define FS_VIEW(name)
#define FS_GROUP 1
#include "ops.def"
#undef FS_GROUP
#define FS_GROUP 2
#include "ops.def"
#undef FS_GROUP
#define FS_GROUP 3
#include "ops.def"
#undef FS_GROUP
#undef FS_UNARY
#undef FS_BINARY
#undef FS_COMPARE
#undef FS_TERNARY
#undef FS_KERNEL
#undef FS_VIEW

namespace {

constexpr Op test_op(const char* name) {
  return Op{.name = name, .flags = kPointwise | kNotDifferentiable, .infer = test_infer};
}

}  // namespace

constinit Op op::isnan = test_op("isnan");
constinit Op op::isinf = test_op("isinf");
constinit Op op::isposinf = test_op("isposinf");
constinit Op op::isneginf = test_op("isneginf");
constinit Op op::isfinite = test_op("isfinite");
constinit Op op::signbit = test_op("signbit");
constinit Op op::logical_not = test_op("logical_not");
constinit Op op::bitwise_not{
    .name = "bitwise_not", .flags = kPointwiseFlags | kNotDifferentiable, .infer = unary_infer};

void unary_(const Op& op, const Tensor& x, const void* attrs, bool float_only) {
  FS_CHECK(!float_only || x.is_floating(), op.name, "_: result type ", dtype_name(default_dtype()),
           " can't be cast to the desired output type ", dtype_name(x.dtype()));
  const Tensor in[] = {x};
  apply_inplace(op, in, attrs);
}

Tensor as_float(const Tensor& x) { return x.is_floating() ? x : cast_operand(x, default_dtype()); }

#define FS_FLOAT_FUNCTION(name) \
  Tensor name(const Tensor& x) { return apply1(op::name, {as_float(x)}); }
FS_FLOAT_FUNCTION(exp)
FS_FLOAT_FUNCTION(exp2)
FS_FLOAT_FUNCTION(expm1)
FS_FLOAT_FUNCTION(log)
FS_FLOAT_FUNCTION(log2)
FS_FLOAT_FUNCTION(log10)
FS_FLOAT_FUNCTION(log1p)
FS_FLOAT_FUNCTION(sqrt)
FS_FLOAT_FUNCTION(rsqrt)
FS_FLOAT_FUNCTION(reciprocal)
FS_FLOAT_FUNCTION(sin)
FS_FLOAT_FUNCTION(cos)
FS_FLOAT_FUNCTION(tan)
FS_FLOAT_FUNCTION(asin)
FS_FLOAT_FUNCTION(acos)
FS_FLOAT_FUNCTION(atan)
FS_FLOAT_FUNCTION(sinh)
FS_FLOAT_FUNCTION(cosh)
FS_FLOAT_FUNCTION(tanh)
FS_FLOAT_FUNCTION(asinh)
FS_FLOAT_FUNCTION(acosh)
FS_FLOAT_FUNCTION(atanh)
FS_FLOAT_FUNCTION(sinc)
FS_FLOAT_FUNCTION(deg2rad)
FS_FLOAT_FUNCTION(rad2deg)
FS_FLOAT_FUNCTION(erf)
FS_FLOAT_FUNCTION(erfc)
FS_FLOAT_FUNCTION(erfinv)
FS_FLOAT_FUNCTION(ndtr)
FS_FLOAT_FUNCTION(lgamma)
FS_FLOAT_FUNCTION(digamma)
FS_FLOAT_FUNCTION(i0)
FS_FLOAT_FUNCTION(i1)
FS_FLOAT_FUNCTION(sigmoid)
#undef FS_FLOAT_FUNCTION

Tensor logit(const Tensor& x, double eps) { return apply1(op::logit, {as_float(x)}, Logit{eps}); }
Tensor polygamma(int64_t n, const Tensor& x) {
  FS_CHECK(n >= 0, "polygamma(n, x) does not support negative n, got ", n);
  if (n == 0) return digamma(x);
  return apply1(op::polygamma, {as_float(x)}, Polygamma{static_cast<double>(n)});
}

Tensor neg(const Tensor& x) {
  FS_CHECK(
      x.dtype() != DType::kBool,
      "Negation, the `-` operator, on a bool tensor is not supported. If you are trying to invert a mask, use the "
      "`~` or `logical_not()` operator instead.");
  return apply1(op::neg, {x});
}
Tensor abs(const Tensor& x) {
  if (x.dtype() == DType::kBool) return clone(x);
  return apply1(op::abs, {x});
}
Tensor sign(const Tensor& x) {
  if (x.dtype() == DType::kBool) return clone(x);
  return apply1(op::sign, {x});
}
Tensor square(const Tensor& x) {
  if (x.dtype() == DType::kBool) return to(x, DType::kInt64);
  return apply1(op::square, {x});
}
#define FS_ROUND_FUNCTION(name)            \
  Tensor name(const Tensor& x) {           \
    if (!x.is_floating()) return clone(x); \
    return apply1(op::name, {x});          \
  }
FS_ROUND_FUNCTION(ceil)
FS_ROUND_FUNCTION(floor)
FS_ROUND_FUNCTION(trunc)
#undef FS_ROUND_FUNCTION
Tensor frac(const Tensor& x) {
  FS_CHECK_KIND(x.is_floating(), ErrorKind::kNotImplemented, "\"frac\" not implemented for '", dtype_name(x.dtype()),
                "'");
  return apply1(op::frac, {x});
}
Tensor round(const Tensor& x, int64_t decimals) {
  if (!x.is_floating()) {
    FS_CHECK_KIND(decimals == 0, ErrorKind::kNotImplemented, "round: decimals is for floating tensors, got ",
                  dtype_name(x.dtype()));
    return clone(x);
  }
  Round f;
  f.negative = decimals < 0;
  f.scale = std::pow(10.0, static_cast<double>(decimals < 0 ? -decimals : decimals));
  return apply1(op::round, {x}, f);
}
Tensor nan_to_num(const Tensor& x, std::optional<double> nan, std::optional<double> posinf,
                  std::optional<double> neginf) {
  if (!x.is_floating()) return clone(x);
  double top = std::numeric_limits<double>::max();
  if (x.dtype() == DType::kFloat32) top = std::numeric_limits<float>::max();
  if (x.dtype() == DType::kFloat16) top = 65504.0;
  if (x.dtype() == DType::kBFloat16) top = 3.38953138925153547590470800371487866880e38;
  return apply1(op::nan_to_num, {x}, NanToNum{nan.value_or(0.0), posinf.value_or(top), neginf.value_or(-top)});
}
Tensor bitwise_not(const Tensor& x) {
  FS_CHECK_TYPE(!x.is_floating(), "~ (operator.invert) is only implemented on integer and Boolean-type tensors, got ",
                dtype_name(x.dtype()));
  if (x.dtype() == DType::kBool) return logical_not(x);
  return apply1(op::bitwise_not, {x});
}

// ---- bool results ----

namespace {
// A constant answer for integers.
Tensor all_of(const Tensor& x, bool value) { return full_like(x, Scalar(value), DType::kBool); }
}  // namespace

Tensor isnan(const Tensor& x) { return x.is_floating() ? apply1(op::isnan, {x}) : all_of(x, false); }
Tensor isinf(const Tensor& x) { return x.is_floating() ? apply1(op::isinf, {x}) : all_of(x, false); }
Tensor isposinf(const Tensor& x) { return x.is_floating() ? apply1(op::isposinf, {x}) : all_of(x, false); }
Tensor isneginf(const Tensor& x) { return x.is_floating() ? apply1(op::isneginf, {x}) : all_of(x, false); }
Tensor isfinite(const Tensor& x) { return x.is_floating() ? apply1(op::isfinite, {x}) : all_of(x, true); }
Tensor signbit(const Tensor& x) { return x.dtype() == DType::kBool ? all_of(x, false) : apply1(op::signbit, {x}); }
Tensor logical_not(const Tensor& x) { return apply1(op::logical_not, {x}); }

// ---- clamp ----

namespace {

// Bounds that fit the integer dtype, so that the kernel may convert them.
double fit(double v, DType t) {
  switch (t) {
    case DType::kUInt8: return std::fmin(std::fmax(v, 0.0), 255.0);
    case DType::kInt8: return std::fmin(std::fmax(v, -128.0), 127.0);
    case DType::kInt16: return std::fmin(std::fmax(v, -32768.0), 32767.0);
    case DType::kInt32: return std::fmin(std::fmax(v, -2147483648.0), 2147483647.0);
    case DType::kInt64: return std::fmin(std::fmax(v, -9223372036854775808.0), 9223372036854774784.0);
    default: return v;
  }
}
Clamp clamp_bounds(const Tensor& x, std::optional<Scalar> low, std::optional<Scalar> high) {
  FS_CHECK(low || high, "torch.clamp: At least one of 'min' or 'max' must not be None");
  constexpr double kInf = std::numeric_limits<double>::infinity();
  Clamp f{low ? low->to_double() : -kInf, high ? high->to_double() : kInf};
  if (!x.is_floating()) {
    f.low = fit(f.low, x.dtype());
    f.high = fit(f.high, x.dtype());
  }
  return f;
}
bool is_nan_bound(const std::optional<Scalar>& s) { return s && s->is_float() && std::isnan(s->d); }

}  // namespace

Tensor clamp(const Tensor& x, std::optional<Scalar> low, std::optional<Scalar> high) {
  const bool any_float = (low && low->is_float()) || (high && high->is_float());
  const Tensor v = any_float ? as_float(x) : x.dtype() == DType::kBool ? to(x, DType::kInt64) : x;
  if (is_nan_bound(low) || is_nan_bound(high)) return full_like(v, Scalar(std::nan("")));
  return apply1(op::clamp, {v}, clamp_bounds(v, low, high));
}
void clamp_(const Tensor& x, std::optional<Scalar> low, std::optional<Scalar> high) {
  const bool any_float = (low && low->is_float()) || (high && high->is_float());
  FS_CHECK(!any_float || x.is_floating(), "clamp_: result type float can't be cast to the desired output type ",
           dtype_name(x.dtype()));
  if (is_nan_bound(low) || is_nan_bound(high)) return fill_(x, Scalar(std::nan("")));
  const Tensor in[] = {x};
  const Clamp f = clamp_bounds(x, low, high);
  apply_inplace(op::clamp, in, &f);
}

}  // namespace fireseed

// Elementwise functions and operators of Tensors, with PyTorch's promotion and broadcasting.
#pragma once

#include <optional>

#include "ops/creation.h"
#include "tensor/tensor.h"

namespace fireseed {

struct Op;

// ---- dtypes ------------------------------------------------------------------------------------------------

// Common dtype: tensors with dimensions decide, then 0-dim tensors, then Python numbers (each only where its kind,
// bool < int < float, is higher).
DType result_type(const Tensor& a, const Tensor& b);
DType result_type(const Tensor& a, const Tensor& b, const Tensor& c);
// x in dtype t: differentiable; a Python number becomes a plain 0-dim tensor.
Tensor cast_operand(const Tensor& x, DType t);
// x itself where it is floating, else cast to the default float dtype.
Tensor as_float(const Tensor& x);

// ---- one input: floating results (integers are promoted to the default float dtype) ------------------------

Tensor exp(const Tensor& x);
Tensor exp2(const Tensor& x);
Tensor expm1(const Tensor& x);
Tensor log(const Tensor& x);
Tensor log2(const Tensor& x);
Tensor log10(const Tensor& x);
Tensor log1p(const Tensor& x);
Tensor logit(const Tensor& x, double eps = -1.0);  // eps < 0: no clamping
Tensor sqrt(const Tensor& x);
Tensor rsqrt(const Tensor& x);
Tensor reciprocal(const Tensor& x);
Tensor sin(const Tensor& x);
Tensor cos(const Tensor& x);
Tensor tan(const Tensor& x);
Tensor asin(const Tensor& x);
Tensor acos(const Tensor& x);
Tensor atan(const Tensor& x);
Tensor sinh(const Tensor& x);
Tensor cosh(const Tensor& x);
Tensor tanh(const Tensor& x);
Tensor asinh(const Tensor& x);
Tensor acosh(const Tensor& x);
Tensor atanh(const Tensor& x);
Tensor sinc(const Tensor& x);
Tensor deg2rad(const Tensor& x);
Tensor rad2deg(const Tensor& x);
Tensor erf(const Tensor& x);
Tensor erfc(const Tensor& x);
Tensor erfinv(const Tensor& x);
Tensor ndtr(const Tensor& x);
Tensor lgamma(const Tensor& x);
Tensor digamma(const Tensor& x);
Tensor polygamma(int64_t n, const Tensor& x);
Tensor i0(const Tensor& x);
Tensor i1(const Tensor& x);
Tensor sigmoid(const Tensor& x);

// ---- one input: dtype kept ---------------------------------------------------------------------------------

Tensor neg(const Tensor& x);
Tensor abs(const Tensor& x);
Tensor sign(const Tensor& x);
Tensor square(const Tensor& x);
Tensor ceil(const Tensor& x);
Tensor floor(const Tensor& x);
Tensor trunc(const Tensor& x);
Tensor frac(const Tensor& x);
Tensor round(const Tensor& x, int64_t decimals = 0);
Tensor nan_to_num(const Tensor& x, std::optional<double> nan = {}, std::optional<double> posinf = {},
                  std::optional<double> neginf = {});
// Bounds may be absent, not both.
Tensor clamp(const Tensor& x, std::optional<Scalar> low, std::optional<Scalar> high);
Tensor clamp(const Tensor& x, const Tensor& low, const Tensor& high);  // undefined = absent
Tensor bitwise_not(const Tensor& x);

// ---- one input: bool results -------------------------------------------------------------------------------

Tensor isnan(const Tensor& x);
Tensor isinf(const Tensor& x);
Tensor isposinf(const Tensor& x);
Tensor isneginf(const Tensor& x);
Tensor isfinite(const Tensor& x);
Tensor signbit(const Tensor& x);
Tensor logical_not(const Tensor& x);

// ---- two inputs --------------------------------------------------------------------------------------------

Tensor add(const Tensor& x, const Tensor& y, Scalar alpha = 1);
Tensor sub(const Tensor& x, const Tensor& y, Scalar alpha = 1);
Tensor mul(const Tensor& x, const Tensor& y);
Tensor div(const Tensor& x, const Tensor& y);
Tensor div_trunc(const Tensor& x, const Tensor& y);  // div(rounding_mode="trunc")
Tensor floor_divide(const Tensor& x, const Tensor& y);
Tensor fmod(const Tensor& x, const Tensor& y);
Tensor remainder(const Tensor& x, const Tensor& y);
Tensor pow(const Tensor& x, const Tensor& y);
Tensor pow(const Tensor& x, double exponent);
Tensor maximum(const Tensor& x, const Tensor& y);
Tensor minimum(const Tensor& x, const Tensor& y);
Tensor maximum(const Tensor& x, double y);
Tensor minimum(const Tensor& x, double y);
Tensor fmax(const Tensor& x, const Tensor& y);
Tensor fmin(const Tensor& x, const Tensor& y);
Tensor atan2(const Tensor& x, const Tensor& y);
Tensor hypot(const Tensor& x, const Tensor& y);
Tensor copysign(const Tensor& x, const Tensor& y);
Tensor xlogy(const Tensor& x, const Tensor& y);
Tensor xlog1py(const Tensor& x, const Tensor& y);
Tensor logaddexp(const Tensor& x, const Tensor& y);
Tensor logaddexp2(const Tensor& x, const Tensor& y);
Tensor heaviside(const Tensor& x, const Tensor& values);
Tensor bitwise_and(const Tensor& x, const Tensor& y);
Tensor bitwise_or(const Tensor& x, const Tensor& y);
Tensor bitwise_xor(const Tensor& x, const Tensor& y);
Tensor bitwise_left_shift(const Tensor& x, const Tensor& y);
Tensor bitwise_right_shift(const Tensor& x, const Tensor& y);
Tensor gcd(const Tensor& x, const Tensor& y);
Tensor lcm(const Tensor& x, const Tensor& y);
Tensor nextafter(const Tensor& x, const Tensor& y);
Tensor ldexp(const Tensor& x, const Tensor& exponent);  // x 2^exponent

// x <- op(x) where op keeps x's dtype; ops that are defined on floats alone refuse integers as PyTorch does.
void unary_(const Op& op, const Tensor& x, const void* attrs = nullptr, bool float_only = true);
// In place: x takes the result, cast to its dtype where PyTorch allows that.
void add_(const Tensor& x, const Tensor& y, Scalar alpha = 1);
void sub_(const Tensor& x, const Tensor& y, Scalar alpha = 1);
void mul_(const Tensor& x, const Tensor& y);
void div_(const Tensor& x, const Tensor& y);
// The same for the ops of two inputs; to_float: integers are promoted first.
void binary_(const Op& op, const Tensor& x, const Tensor& y, bool to_float = false);
void pow_(const Tensor& x, const Tensor& y);
void addcmul_(const Tensor& x, const Tensor& a, const Tensor& b, double value = 1.0);
void addcdiv_(const Tensor& x, const Tensor& a, const Tensor& b, double value = 1.0);
void lerp_(const Tensor& x, const Tensor& end, const Tensor& weight);
void lerp_(const Tensor& x, const Tensor& end, double weight);
void clamp_(const Tensor& x, std::optional<Scalar> low, std::optional<Scalar> high);

// Bool results.
Tensor eq(const Tensor& x, const Tensor& y);
Tensor ne(const Tensor& x, const Tensor& y);
Tensor lt(const Tensor& x, const Tensor& y);
Tensor le(const Tensor& x, const Tensor& y);
Tensor gt(const Tensor& x, const Tensor& y);
Tensor ge(const Tensor& x, const Tensor& y);
Tensor logical_and(const Tensor& x, const Tensor& y);
Tensor logical_or(const Tensor& x, const Tensor& y);
Tensor logical_xor(const Tensor& x, const Tensor& y);
Tensor isclose(const Tensor& x, const Tensor& y, double rtol = 1e-5, double atol = 1e-8, bool equal_nan = false);

// ---- three inputs ------------------------------------------------------------------------------------------

// a where the bool condition holds, else b.
Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b);
Tensor where(const Tensor& condition, const Tensor& a, double b);
Tensor where(const Tensor& condition, double a, const Tensor& b);
Tensor where(const Tensor& condition, double a, double b);                              // default float dtype
Tensor addcmul(const Tensor& x, const Tensor& a, const Tensor& b, double value = 1.0);  // x + value a b
Tensor addcdiv(const Tensor& x, const Tensor& a, const Tensor& b, double value = 1.0);  // x + value a / b
Tensor lerp(const Tensor& start, const Tensor& end, const Tensor& weight);
Tensor lerp(const Tensor& start, const Tensor& end, double weight);

// ---- elementwise losses, unreduced: x = prediction, y = target; formulas in math/functors_loss.h ------------

Tensor mse_loss_elements(const Tensor& x, const Tensor& y);
Tensor l1_loss_elements(const Tensor& x, const Tensor& y);
Tensor smooth_l1_loss_elements(const Tensor& x, const Tensor& y, double beta);
Tensor huber_loss_elements(const Tensor& x, const Tensor& y, double delta);
Tensor bce_loss_elements(const Tensor& x, const Tensor& y);
Tensor bce_with_logits_loss_elements(const Tensor& x, const Tensor& y);
Tensor soft_margin_loss_elements(const Tensor& x, const Tensor& y);
Tensor kl_div_elements(const Tensor& x, const Tensor& y, bool log_target);

// ---- operators ---------------------------------------------------------------------------------------------

// A plain number beside a Tensor is a Python number: it does not change a float tensor's dtype.
Tensor add(const Tensor& x, double y);
Tensor mul(const Tensor& x, double y);
Tensor div(const Tensor& x, double y);
Tensor rsub(double x, const Tensor& y);  // x - y
Tensor rdiv(double x, const Tensor& y);  // x / y

inline Tensor operator-(const Tensor& x) { return neg(x); }
inline Tensor operator+(const Tensor& x, const Tensor& y) { return add(x, y); }
inline Tensor operator-(const Tensor& x, const Tensor& y) { return sub(x, y); }
inline Tensor operator*(const Tensor& x, const Tensor& y) { return mul(x, y); }
inline Tensor operator/(const Tensor& x, const Tensor& y) { return div(x, y); }
inline Tensor operator+(const Tensor& x, double y) { return add(x, y); }
inline Tensor operator-(const Tensor& x, double y) { return add(x, -y); }
inline Tensor operator*(const Tensor& x, double y) { return mul(x, y); }
inline Tensor operator/(const Tensor& x, double y) { return div(x, y); }
inline Tensor operator+(double x, const Tensor& y) { return add(y, x); }
inline Tensor operator-(double x, const Tensor& y) { return rsub(x, y); }
inline Tensor operator*(double x, const Tensor& y) { return mul(y, x); }
inline Tensor operator/(double x, const Tensor& y) { return rdiv(x, y); }

#define FS_TENSOR_COMPARE(op, name)                                                  \
  inline Tensor operator op(const Tensor& x, const Tensor& y) { return name(x, y); } \
  inline Tensor operator op(const Tensor& x, double y) { return name(x, wrapped_number(Scalar(y))); }
FS_TENSOR_COMPARE(==, eq)
FS_TENSOR_COMPARE(!=, ne)
FS_TENSOR_COMPARE(<, lt)
FS_TENSOR_COMPARE(<=, le)
FS_TENSOR_COMPARE(>, gt)
FS_TENSOR_COMPARE(>=, ge)
#undef FS_TENSOR_COMPARE
// Of bool tensors.
inline Tensor operator&(const Tensor& x, const Tensor& y) { return bitwise_and(x, y); }
inline Tensor operator|(const Tensor& x, const Tensor& y) { return bitwise_or(x, y); }
inline Tensor operator^(const Tensor& x, const Tensor& y) { return bitwise_xor(x, y); }
inline Tensor operator~(const Tensor& x) { return bitwise_not(x); }

}  // namespace fireseed

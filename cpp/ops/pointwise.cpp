// Promotion, and the records and functions of the pointwise ops with two and three inputs.
#include "ops/pointwise.h"

#include <cmath>

#include "ops/copy.h"
#include "ops/pointwise_rules.h"

namespace fireseed {

// ---- dtypes ------------------------------------------------------------------------------------------------

namespace {

DType combine_kinds(DType higher, DType lower) {
  if (higher == DType::kUndefined) return lower;
  if (is_floating(higher)) return higher;
  if (higher == DType::kBool || (lower != DType::kUndefined && is_floating(lower)))
    return promote_types(higher, lower);
  return higher;
}
struct Kinds {
  DType with_dims = DType::kUndefined, zero_dim = DType::kUndefined, number = DType::kUndefined;
  void add(const Tensor& x) {
    DType& slot = x.is_wrapped_number() ? number : x.dim() > 0 ? with_dims : zero_dim;
    // A Python float is float64 in memory, but counts as the default dtype.
    slot = promote_types(slot, x.is_wrapped_number() && x.is_floating() ? default_dtype() : x.dtype());
  }
  DType result() const { return combine_kinds(with_dims, combine_kinds(zero_dim, number)); }
};

}  // namespace

DType result_type(const Tensor& a, const Tensor& b) {
  if (a.dtype() == b.dtype() && !(a.is_wrapped_number() && b.is_wrapped_number())) return a.dtype();
  Kinds k;
  k.add(a);
  k.add(b);
  return k.result();
}
DType result_type(const Tensor& a, const Tensor& b, const Tensor& c) {
  Kinds k;
  k.add(a);
  k.add(b);
  k.add(c);
  return k.result();
}
Tensor cast_operand(const Tensor& x, DType t) {
  if (x.dtype() == t) return x;
  if (x.is_wrapped_number()) return scalar_tensor(item(x), t);
  return to(x, t);
}

void keep_layout(const Tensor& shell, const Tensor& x) {
  const TensorImpl* t = x.impl();
  int order[kMaxRank], n = 0;  // dimensions of more than one element, outermost in memory first
  bool row_major = true;
  for (int i = 0; i < t->ndim; ++i) {
    if (t->sizes[i] == 1) continue;
    if (t->strides[i] == 0) return;  // expanded
    int j = n++;
    for (; j > 0 && t->strides[order[j - 1]] < t->strides[i]; --j) order[j] = order[j - 1];
    row_major &= j == n - 1;
    order[j] = i;
  }
  if (row_major) return;
  int64_t step = 1;
  for (int j = n - 1; j >= 0; --j) {
    shell.impl()->strides[order[j]] = step;
    step *= t->sizes[order[j]];
  }
  shell.impl()->refresh_contiguous();
}

namespace {
// small can be broadcast to big's shape as it is.
bool fits_into(const TensorImpl* small, const TensorImpl* big) {
  const int lead = big->ndim - small->ndim;
  if (lead < 0) return false;
  for (int i = 0; i < small->ndim; ++i)
    if (small->sizes[i] != big->sizes[i + lead] && small->sizes[i] != 1) return false;
  return small->device == big->device;
}
}  // namespace

void broadcast_infer(const char* op, Inputs in, DType dtype, Tensor* out) {
  // Nearly always one operand has the result's shape.
  size_t largest = 0;
  for (size_t i = 1; i < in.size(); ++i)
    if (in[i].dim() > in[largest].dim() || (in[i].dim() == in[largest].dim() && in[i].numel() > in[largest].numel()))
      largest = i;
  bool all_fit = true;
  for (size_t i = 0; i < in.size(); ++i) all_fit &= i == largest || fits_into(in[i].impl(), in[largest].impl());
  if (all_fit) return like_first(in[largest], dtype, out);
  Dims sizes = in[0].sizes();
  Device device = in[0].device();
  for (size_t i = 1; i < in.size(); ++i) {
    if (!in[0].same_shape(in[i])) sizes = broadcast_shapes(sizes, in[i].sizes(), op);
    if (!in[i].device().is_cpu()) device = in[i].device();
  }
  for (const Tensor& t : in)
    FS_CHECK(t.device() == device || (t.dim() == 0 && t.device().is_cpu()), op,
             ": Expected all tensors to be on the same device, but found at least two devices, ", device, " and ",
             t.device(), "!");
  out[0] = make_shell(sizes, dtype, device);
}

// ---- records -----------------------------------------------------------------------------------------------

#define FS_UNARY(name, Functor)
#define FS_BINARY(name_, Functor) \
  constinit Op op::name_ =        \
      binary_op<Functor, op::name_>(#name_, std::is_same_v<Functor, Mul> ? uint32_t{kBilinear} : 0u);
#define FS_COMPARE(name_, Functor) constinit Op op::name_ = compare_op<op::name_>(#name_);
#define FS_TERNARY(name_, Functor) constinit Op op::name_ = ternary_op<Functor, op::name_>(#name_);
#define FS_KERNEL(name)
#define FS_VIEW(name)
#define FS_GROUP 5
#include "ops.def"
#undef FS_GROUP
#define FS_GROUP 6
#include "ops.def"
#undef FS_GROUP
#define FS_GROUP 7
#include "ops.def"
#undef FS_GROUP
#undef FS_UNARY
#undef FS_BINARY
#undef FS_COMPARE
#undef FS_TERNARY
#undef FS_KERNEL
#undef FS_VIEW

namespace {

template <const Op& kOp>
constexpr Op bits_op(const char* name) {
  return Op{.name = name, .flags = kPointwiseFlags | kNotDifferentiable, .infer = binary_infer<kOp>};
}

// The step is constant but where x = y already.
void nextafter_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  if (c.needs(0)) gx[0] = where(eq(c.input(0), c.input(1)), 0.0, g[0]);
  if (c.needs(1)) gx[1] = zeros_like(g[0]);
}
void where_infer(Inputs in, const void*, Tensor* out) { broadcast_infer("where", in, in[1].dtype(), out); }
void where_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  const Tensor condition = c.input(0);
  if (c.needs(1)) gx[1] = where(condition, g[0], 0.0);
  if (c.needs(2)) gx[2] = where(condition, 0.0, g[0]);
}

}  // namespace

constinit Op op::bitwise_and = bits_op<op::bitwise_and>("bitwise_and");
constinit Op op::bitwise_or = bits_op<op::bitwise_or>("bitwise_or");
constinit Op op::bitwise_xor = bits_op<op::bitwise_xor>("bitwise_xor");
constinit Op op::bitwise_left_shift = bits_op<op::bitwise_left_shift>("bitwise_left_shift");
constinit Op op::bitwise_right_shift = bits_op<op::bitwise_right_shift>("bitwise_right_shift");
constinit Op op::gcd = bits_op<op::gcd>("gcd");
constinit Op op::lcm = bits_op<op::lcm>("lcm");
constinit Op op::nextafter{.name = "nextafter",
                           .flags = kPointwiseFlags,
                           .saves = save_input(0) | save_input(1),
                           .infer = binary_infer<op::nextafter>,
                           .vjp = nextafter_vjp};
constinit Op op::where{
    .name = "where", .flags = kPointwise, .saves = save_input(0), .infer = where_infer, .vjp = where_vjp};

// ---- helpers -----------------------------------------------------------------------------------------------

namespace {

template <class A>
Tensor run(const Op& op, const Tensor& x, const Tensor& y, DType t, const A& attrs) {
  Tensor in[2] = {cast_operand(x, t), cast_operand(y, t)}, out;
  apply(op, in, &attrs, &out);
  return out;
}
Tensor run(const Op& op, const Tensor& x, const Tensor& y, DType t) {
  Tensor in[2] = {cast_operand(x, t), cast_operand(y, t)}, out;
  apply(op, in, nullptr, &out);
  return out;
}
DType float_type(DType t) { return is_floating(t) ? t : default_dtype(); }
Tensor run_promoted(const Op& op, const Tensor& x, const Tensor& y) { return run(op, x, y, result_type(x, y)); }
Tensor run_float(const Op& op, const Tensor& x, const Tensor& y) {
  return run(op, x, y, float_type(result_type(x, y)));
}

// y is a Python number that does not change x's dtype: then it may stand in the attributes. Integers beyond 2^53
// would not survive as doubles.
bool is_number_for(const Tensor& x, const Tensor& y, double* value) {
  if (!y.is_wrapped_number() || x.is_wrapped_number() || x.dtype() == DType::kBool) return false;
  if (!x.is_floating() && is_floating(y.dtype())) return false;
  *value = item(y).to_double();
  return x.is_floating() || std::fabs(*value) < 9007199254740992.0;
}

// x takes op(x, y) as PyTorch has it: computed in the common dtype t, stored in x's.
template <class A>
void run_inplace(const Op& op, const Tensor& x, const Tensor& y, DType t, const A& attrs) {
  if (t == x.dtype()) {
    const Tensor in[] = {x, cast_operand(y, t)};
    return apply_inplace(op, in, &attrs);
  }
  FS_CHECK(!(is_floating(t) && !x.is_floating()) && !(t != DType::kBool && x.dtype() == DType::kBool), op.name,
           "_: result type ", dtype_name(t), " can't be cast to the desired output type ", dtype_name(x.dtype()));
  // The copy keeps what the gradient reads from being overwritten.
  copy_(x, run(op, x.requires_grad() ? clone(x) : x, y, t, attrs));
}

void check_alpha(const char* op, Scalar alpha, DType t) {
  FS_CHECK(alpha.kind != Scalar::kBool || t == DType::kBool, op,
           ": Boolean alpha only supported for Boolean results.");
  FS_CHECK(is_floating(t) || !alpha.is_float(), op,
           ": For integral input tensors, argument alpha must not be a floating point number.");
}
void check_sub(const Tensor& x, const Tensor& y) {
  FS_CHECK(!(x.dtype() == DType::kBool && y.dtype() == DType::kBool),
           "Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` or `logical_xor()` "
           "operator instead.");
  FS_CHECK(
      x.dtype() != DType::kBool && y.dtype() != DType::kBool,
      "Subtraction, the `-` operator, with a bool tensor is not supported. If you are trying to invert a mask, use "
      "the `~` or `logical_not()` operator instead.");
}

}  // namespace

// ---- arithmetic --------------------------------------------------------------------------------------------

Tensor add(const Tensor& x, const Tensor& y, Scalar alpha) {
  double value;
  if (is_number_for(x, y, &value)) {
    check_alpha("add", alpha, x.dtype());
    return apply1(op::add_scalar, {x}, AddScalar{value * alpha.to_double()});
  }
  const DType t = result_type(x, y);
  check_alpha("add", alpha, t);
  if (t == DType::kBool) return alpha.to_bool() ? logical_or(x, y) : clone(x);
  return run(op::add, x, y, t, Add{alpha.to_double()});
}
Tensor sub(const Tensor& x, const Tensor& y, Scalar alpha) {
  check_sub(x, y);
  double value;
  if (is_number_for(x, y, &value)) {
    check_alpha("sub", alpha, x.dtype());
    return apply1(op::add_scalar, {x}, AddScalar{-value * alpha.to_double()});
  }
  if (alpha.to_double() == 1.0 && is_number_for(y, x, &value)) return apply1(op::rsub_scalar, {y}, RsubScalar{value});
  const DType t = result_type(x, y);
  check_alpha("sub", alpha, t);
  return run(op::sub, x, y, t, Sub{alpha.to_double()});
}
Tensor mul(const Tensor& x, const Tensor& y) {
  double value;
  if (is_number_for(x, y, &value)) return apply1(op::mul_scalar, {x}, MulScalar{value});
  if (is_number_for(y, x, &value)) return apply1(op::mul_scalar, {y}, MulScalar{value});
  const DType t = result_type(x, y);
  if (t == DType::kBool) return logical_and(x, y);
  return run(op::mul, x, y, t);
}
Tensor div(const Tensor& x, const Tensor& y) {
  double value;
  if (x.is_floating() && is_number_for(x, y, &value)) return apply1(op::div_scalar, {x}, DivScalar{value});
  if (y.is_floating() && is_number_for(y, x, &value)) return apply1(op::rdiv_scalar, {y}, RdivScalar{value});
  return run_float(op::div, x, y);
}

Tensor add(const Tensor& x, double y) {
  if (!x.is_floating()) return add(x, wrapped_number(Scalar(y)));
  return apply1(op::add_scalar, {x}, AddScalar{y});
}
Tensor mul(const Tensor& x, double y) {
  if (!x.is_floating()) return mul(x, wrapped_number(Scalar(y)));
  return apply1(op::mul_scalar, {x}, MulScalar{y});
}
Tensor div(const Tensor& x, double y) {
  if (!x.is_floating()) return div(x, wrapped_number(Scalar(y)));
  return apply1(op::div_scalar, {x}, DivScalar{y});
}
Tensor rsub(double x, const Tensor& y) {
  if (!y.is_floating()) return sub(wrapped_number(Scalar(x)), y);
  return apply1(op::rsub_scalar, {y}, RsubScalar{x});
}
Tensor rdiv(double x, const Tensor& y) {
  if (!y.is_floating()) return div(wrapped_number(Scalar(x)), y);
  return apply1(op::rdiv_scalar, {y}, RdivScalar{x});
}

void add_(const Tensor& x, const Tensor& y, Scalar alpha) {
  const DType t = result_type(x, y);
  check_alpha("add_", alpha, t);
  double value;
  if (is_number_for(x, y, &value)) {
    const Tensor in[] = {x};
    const AddScalar f{value * alpha.to_double()};
    return apply_inplace(op::add_scalar, in, &f);
  }
  if (t == DType::kBool) return copy_(x, add(x, y, alpha));
  run_inplace(op::add, x, y, t, Add{alpha.to_double()});
}
void sub_(const Tensor& x, const Tensor& y, Scalar alpha) {
  check_sub(x, y);
  const DType t = result_type(x, y);
  check_alpha("sub_", alpha, t);
  double value;
  if (is_number_for(x, y, &value)) {
    const Tensor in[] = {x};
    const AddScalar f{-value * alpha.to_double()};
    return apply_inplace(op::add_scalar, in, &f);
  }
  run_inplace(op::sub, x, y, t, Sub{alpha.to_double()});
}
void mul_(const Tensor& x, const Tensor& y) {
  double value;
  if (is_number_for(x, y, &value)) {
    const Tensor in[] = {x};
    const MulScalar f{value};
    return apply_inplace(op::mul_scalar, in, &f);
  }
  const DType t = result_type(x, y);
  if (t == DType::kBool) return copy_(x, mul(x, y));
  run_inplace(op::mul, x, y, t, Mul{});
}
void div_(const Tensor& x, const Tensor& y) {
  double value;
  if (x.is_floating() && is_number_for(x, y, &value)) {
    const Tensor in[] = {x};
    const DivScalar f{value};
    return apply_inplace(op::div_scalar, in, &f);
  }
  run_inplace(op::div, x, y, float_type(result_type(x, y)), Div{});
}

void binary_(const Op& op, const Tensor& x, const Tensor& y, bool to_float) {
  const DType t = result_type(x, y);
  run_inplace(op, x, y, to_float ? float_type(t) : t, Mul{});  // no attributes
}

// ---- division with remainder, powers -----------------------------------------------------------------------

namespace {
// These have no bool form.
DType no_bool(const Tensor& x, const Tensor& y, const char* op) {
  const DType t = result_type(x, y);
  FS_CHECK_KIND(t != DType::kBool, ErrorKind::kNotImplemented, "\"", op, "\" not implemented for 'bool'");
  return t;
}
}  // namespace

Tensor div_trunc(const Tensor& x, const Tensor& y) { return run(op::div_trunc, x, y, no_bool(x, y, "div_trunc")); }
Tensor floor_divide(const Tensor& x, const Tensor& y) {
  return run(op::floor_divide, x, y, no_bool(x, y, "div_floor"));
}
Tensor fmod(const Tensor& x, const Tensor& y) { return run(op::fmod, x, y, no_bool(x, y, "fmod")); }
Tensor remainder(const Tensor& x, const Tensor& y) { return run(op::remainder, x, y, no_bool(x, y, "remainder")); }

Tensor pow(const Tensor& x, double exponent) { return apply1(op::pow_scalar, {as_float(x)}, PowScalar{exponent}); }
Tensor pow(const Tensor& x, const Tensor& y) {
  const DType t = result_type(x, y);
  if (y.is_wrapped_number()) {
    const Scalar e = item(y);
    if (x.is_floating()) return apply1(op::pow_scalar, {x}, PowScalar{e.to_double()});
    FS_CHECK(e.is_float() || e.i >= 0 || is_floating(t), "Integers to negative integer powers are not allowed.");
  }
  FS_CHECK_KIND(t != DType::kBool, ErrorKind::kNotImplemented, "\"pow\" not implemented for 'bool'");
  return run(op::pow, x, y, t);
}

void pow_(const Tensor& x, const Tensor& y) {
  if (y.is_wrapped_number() && x.is_floating()) {
    const Tensor in[] = {x};
    const PowScalar f{item(y).to_double()};
    return apply_inplace(op::pow_scalar, in, &f);
  }
  FS_CHECK(!y.is_wrapped_number() || item(y).to_double() >= 0,
           "Integers to negative integer powers are not allowed.");
  binary_(op::pow, x, y);
}

// ---- extremes and the rest of the pairs --------------------------------------------------------------------

Tensor maximum(const Tensor& x, const Tensor& y) {
  const DType t = result_type(x, y);
  return t == DType::kBool ? logical_or(x, y) : run(op::maximum, x, y, t);
}
Tensor minimum(const Tensor& x, const Tensor& y) {
  const DType t = result_type(x, y);
  return t == DType::kBool ? logical_and(x, y) : run(op::minimum, x, y, t);
}
Tensor maximum(const Tensor& x, double y) { return maximum(x, wrapped_number(Scalar(y))); }
Tensor minimum(const Tensor& x, double y) { return minimum(x, wrapped_number(Scalar(y))); }
Tensor fmax(const Tensor& x, const Tensor& y) {
  const DType t = result_type(x, y);
  return t == DType::kBool ? logical_or(x, y) : run(op::fmax, x, y, t);
}
Tensor fmin(const Tensor& x, const Tensor& y) {
  const DType t = result_type(x, y);
  return t == DType::kBool ? logical_and(x, y) : run(op::fmin, x, y, t);
}
Tensor atan2(const Tensor& x, const Tensor& y) { return run_float(op::atan2, x, y); }
Tensor hypot(const Tensor& x, const Tensor& y) {
  const DType t = result_type(x, y);
  FS_CHECK_KIND(is_floating(t), ErrorKind::kNotImplemented, "\"hypot\" not implemented for '", dtype_name(t), "'");
  return run(op::hypot, x, y, t);
}
Tensor copysign(const Tensor& x, const Tensor& y) { return run_float(op::copysign, x, y); }
Tensor xlogy(const Tensor& x, const Tensor& y) { return run_float(op::xlogy, x, y); }
Tensor xlog1py(const Tensor& x, const Tensor& y) { return run_float(op::xlog1py, x, y); }
Tensor logaddexp(const Tensor& x, const Tensor& y) { return run_float(op::logaddexp, x, y); }
Tensor logaddexp2(const Tensor& x, const Tensor& y) { return run_float(op::logaddexp2, x, y); }
Tensor heaviside(const Tensor& x, const Tensor& values) {
  FS_CHECK(x.dtype() == values.dtype(), "heaviside is not yet implemented for tensors with different dtypes.");
  return run_promoted(op::heaviside, x, values);
}

// ---- bits, comparisons, logic ------------------------------------------------------------------------------

namespace {
DType integral(const Tensor& x, const Tensor& y, const char* op) {
  const DType t = result_type(x, y);
  FS_CHECK_KIND(!is_floating(t), ErrorKind::kNotImplemented, "\"", op, "\" not implemented for '", dtype_name(t),
                "' (operands of shapes ", x.sizes(), " and ", y.sizes(), ")");
  return t;
}
// Comparisons: an int tensor beside a float number is compared in float, as the promotion says.
Tensor compare(const Op& op, const Tensor& x, const Tensor& y) { return run_promoted(op, x, y); }
}  // namespace

Tensor bitwise_and(const Tensor& x, const Tensor& y) {
  return run(op::bitwise_and, x, y, integral(x, y, "bitwise_and"));
}
Tensor bitwise_or(const Tensor& x, const Tensor& y) {
  return run(op::bitwise_or, x, y, integral(x, y, "bitwise_or"));
}
Tensor bitwise_xor(const Tensor& x, const Tensor& y) {
  return run(op::bitwise_xor, x, y, integral(x, y, "bitwise_xor"));
}
Tensor bitwise_left_shift(const Tensor& x, const Tensor& y) {
  return run(op::bitwise_left_shift, x, y, integral(x, y, "bitwise_left_shift"));
}
Tensor bitwise_right_shift(const Tensor& x, const Tensor& y) {
  return run(op::bitwise_right_shift, x, y, integral(x, y, "bitwise_right_shift"));
}
Tensor gcd(const Tensor& x, const Tensor& y) { return run(op::gcd, x, y, integral(x, y, "gcd")); }
Tensor lcm(const Tensor& x, const Tensor& y) { return run(op::lcm, x, y, integral(x, y, "lcm")); }
Tensor nextafter(const Tensor& x, const Tensor& y) {
  const DType t = result_type(x, y);
  FS_CHECK_KIND(t == DType::kFloat32 || t == DType::kFloat64, ErrorKind::kNotImplemented,
                "\"nextafter\" not implemented for '", dtype_name(t), "'");
  return run(op::nextafter, x, y, t);
}
Tensor ldexp(const Tensor& x, const Tensor& exponent) {
  return mul(x, pow(scalar_tensor(Scalar(2.0), default_dtype()), exponent));
}
Tensor eq(const Tensor& x, const Tensor& y) { return compare(op::eq, x, y); }
Tensor ne(const Tensor& x, const Tensor& y) { return compare(op::ne, x, y); }
Tensor lt(const Tensor& x, const Tensor& y) { return compare(op::lt, x, y); }
Tensor le(const Tensor& x, const Tensor& y) { return compare(op::le, x, y); }
Tensor gt(const Tensor& x, const Tensor& y) { return compare(op::gt, x, y); }
Tensor ge(const Tensor& x, const Tensor& y) { return compare(op::ge, x, y); }
Tensor logical_and(const Tensor& x, const Tensor& y) { return run_promoted(op::logical_and, x, y); }
Tensor logical_or(const Tensor& x, const Tensor& y) { return run_promoted(op::logical_or, x, y); }
Tensor logical_xor(const Tensor& x, const Tensor& y) { return run_promoted(op::logical_xor, x, y); }

Tensor isclose(const Tensor& x, const Tensor& y, double rtol, double atol, bool equal_nan) {
  FS_CHECK(x.dtype() == y.dtype(), "isclose: ", dtype_name(x.dtype()), " did not match ", dtype_name(y.dtype()));
  FS_CHECK(rtol >= 0, "rtol must be greater than or equal to zero, but got ", rtol);
  FS_CHECK(atol >= 0, "atol must be greater than or equal to zero, but got ", atol);
  Tensor close = eq(x, y);
  if (equal_nan && x.is_floating()) close = logical_or(close, logical_and(isnan(x), isnan(y)));
  if (rtol == 0 && atol == 0) return close;
  const Tensor a = x.is_floating() ? x : to(x, DType::kFloat64), b = y.is_floating() ? y : to(y, DType::kFloat64);
  const Tensor difference = abs(sub(a, b));
  const Tensor near = le(difference, add(mul(abs(b), rtol), atol));
  return logical_or(close, logical_and(isfinite(difference), near));
}

// ---- three inputs ------------------------------------------------------------------------------------------

Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b) {
  const DType t = result_type(a, b);
  FS_CHECK(condition.dtype() == DType::kBool || condition.dtype() == DType::kUInt8,
           "where expected condition to be a boolean tensor, but got a tensor with dtype ",
           dtype_name(condition.dtype()));
  Tensor in[3] = {condition.dtype() == DType::kBool ? condition : to(condition, DType::kBool), cast_operand(a, t),
                  cast_operand(b, t)};
  Tensor out;
  apply(op::where, in, nullptr, &out);
  return out;
}
Tensor where(const Tensor& condition, const Tensor& a, double b) {
  return where(condition, a, scalar_tensor(Scalar(b), as_float(a).dtype()));
}
Tensor where(const Tensor& condition, double a, const Tensor& b) {
  return where(condition, scalar_tensor(Scalar(a), as_float(b).dtype()), b);
}
Tensor where(const Tensor& condition, double a, double b) {
  return where(condition, wrapped_number(Scalar(a)), wrapped_number(Scalar(b)));
}

namespace {
template <class A>
Tensor run3(const Op& op, const Tensor& a, const Tensor& b, const Tensor& c, DType t, const A& attrs) {
  Tensor in[3] = {cast_operand(a, t), cast_operand(b, t), cast_operand(c, t)}, out;
  apply(op, in, &attrs, &out);
  return out;
}
}  // namespace

namespace {
template <class A>
void run3_inplace(const Op& op, const Tensor& x, const Tensor& a, const Tensor& b, const A& attrs) {
  const DType t = result_type(x, a, b);
  FS_CHECK(t == x.dtype() || (is_floating(t) == x.is_floating()), op.name, "_: result type ", dtype_name(t),
           " can't be cast to the desired output type ", dtype_name(x.dtype()));
  if (t != x.dtype()) return copy_(x, run3(op, x.requires_grad() ? clone(x) : x, a, b, t, attrs));
  const Tensor in[] = {x, cast_operand(a, t), cast_operand(b, t)};
  apply_inplace(op, in, &attrs);
}
}  // namespace

void addcmul_(const Tensor& x, const Tensor& a, const Tensor& b, double value) {
  run3_inplace(op::addcmul, x, a, b, Addcmul{value});
}
void addcdiv_(const Tensor& x, const Tensor& a, const Tensor& b, double value) {
  run3_inplace(op::addcdiv, x, a, b, Addcdiv{value});
}
void lerp_(const Tensor& x, const Tensor& end, const Tensor& weight) {
  run3_inplace(op::lerp, x, end, weight, Lerp{});
}
void lerp_(const Tensor& x, const Tensor& end, double weight) {
  FS_CHECK(x.dtype() == end.dtype(), "expected dtype ", dtype_name(x.dtype()), " for `end` but got dtype ",
           dtype_name(end.dtype()));
  run_inplace(op::lerp_scalar, x, end, x.dtype(), LerpScalar{weight});
}

Tensor addcmul(const Tensor& x, const Tensor& a, const Tensor& b, double value) {
  return run3(op::addcmul, x, a, b, result_type(x, a, b), Addcmul{value});
}
Tensor addcdiv(const Tensor& x, const Tensor& a, const Tensor& b, double value) {
  FS_CHECK(a.is_floating() || b.is_floating(),
           "Integer division with addcdiv is no longer supported; use addcdiv with floating tensors");
  return run3(op::addcdiv, x, a, b, result_type(x, a, b), Addcdiv{value});
}
Tensor lerp(const Tensor& start, const Tensor& end, const Tensor& weight) {
  FS_CHECK(start.dtype() == end.dtype(), "expected dtype ", dtype_name(start.dtype()), " for `end` but got dtype ",
           dtype_name(end.dtype()));
  FS_CHECK(weight.is_wrapped_number() || weight.dim() == 0 || start.dtype() == weight.dtype(), "expected dtype ",
           dtype_name(start.dtype()), " for `weight` but got dtype ", dtype_name(weight.dtype()));
  return run3(op::lerp, start, end, weight, start.dtype(), Lerp{});
}
Tensor lerp(const Tensor& start, const Tensor& end, double weight) {
  FS_CHECK(start.dtype() == end.dtype(), "expected dtype ", dtype_name(start.dtype()), " for `end` but got dtype ",
           dtype_name(end.dtype()));
  return run(op::lerp_scalar, start, end, start.dtype(), LerpScalar{weight});
}
Tensor clamp(const Tensor& x, const Tensor& low, const Tensor& high) {
  FS_CHECK(low.defined() || high.defined(), "torch.clamp: At least one of 'min' or 'max' must not be None");
  if (!high.defined()) return maximum(x, low);
  if (!low.defined()) return minimum(x, high);
  return run3(op::clamp_tensor, x, low, high, result_type(x, low, high), ClampTensor{});
}

}  // namespace fireseed

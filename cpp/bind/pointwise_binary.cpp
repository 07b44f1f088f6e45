// Python names of the elementwise functions of two and three inputs.
#include "bind/fast_call.h"
#include "bind/function.h"
#include "ops/copy.h"
#include "ops/index.h"
#include "ops/pointwise.h"
#include "ops/records.h"
#include "ops/reduce.h"

namespace fireseed::bind {

namespace {

static constexpr unsigned kWhere = kFunction | kMethod;

Tensor divide(const Tensor& x, const Tensor& y, std::optional<std::string_view> mode) {
  if (!mode) return div(x, y);
  if (*mode == "floor") return floor_divide(x, y);
  FS_CHECK(*mode == "trunc", "div expected rounding_mode to be one of None, 'trunc', or 'floor' but found '", *mode,
           "'");
  return div_trunc(x, y);
}

// All true?
bool all_true(const Tensor& mask) {
  if (!mask.device().is_cpu()) return item(all(mask)).to_bool();
  const Tensor m = contiguous(mask);
  const bool* p = m.data<bool>();
  for (int64_t i = 0; i < m.numel(); ++i)
    if (!p[i]) return false;
  return true;
}

// The second operand, where the two are not both plain numbers.
const Tensor& some_tensor(Args& a) {
  const Tensor& y = a.tensor(1);
  FS_CHECK_TYPE(!(a.tensor(0).is_wrapped_number() && y.is_wrapped_number()), a.function().name,
                "(): expected a Tensor among the operands, got two numbers");
  return y;
}

}  // namespace

// A function and its method; `first` and `second` say whether a number may stand there (Operand) or not (Tensor).
#define FS_DEF2(python, first, second, function)            \
  def(python "(" first " input, " second " other)", kWhere, \
      [](Args& a) { return function(a.tensor(0), some_tensor(a)); });
// Its in-place form by the op's record.
#define FS_DEF2_(python, second, record, to_float)                       \
  def(python "_(Tensor input, " second " other)", kMethod, [](Args& a) { \
    binary_(op::record, a.tensor(0), a.tensor(1), to_float);             \
    return a.self();                                                     \
  });
// Results of another dtype, cast into x in place.
#define FS_COMPARE2(python, second, function)                       \
  def(python "(Tensor input, " second " other)", kWhere | kInPlace, \
      [](Args& a) { return function(a.tensor(0), a.tensor(1)); });
#define FS_SPECIAL2(name) \
  def(#name "(Operand input, Operand other)", kSpecial, [](Args& a) { return name(a.tensor(0), some_tensor(a)); });
#define FS_ARITHMETIC_(python, function)                            \
  def(python "(Tensor self, Operand other)", kMethod, [](Args& a) { \
    function(a.tensor(0), a.tensor(1));                             \
    return a.self();                                                \
  });

FS_BINDINGS(pointwise_binary) {
  def("add(Operand input, Operand other, *, Scalar alpha=1)", kWhere,
      [](Args& a) { return add(a.tensor(0), a.tensor(1), a.scalar(2)); });
  def("add_(Tensor self, Operand other, *, Scalar alpha=1)", kMethod, [](Args& a) {
    add_(a.tensor(0), a.tensor(1), a.scalar(2));
    return a.self();
  });
  for (const char* signature : {"sub(Operand input, Operand other, *, Scalar alpha=1)",
                                "subtract(Operand input, Operand other, *, Scalar alpha=1)"})
    def(signature, kWhere, [](Args& a) { return sub(a.tensor(0), a.tensor(1), a.scalar(2)); });
  for (const char* signature : {"sub_(Tensor self, Operand other, *, Scalar alpha=1)",
                                "subtract_(Tensor self, Operand other, *, Scalar alpha=1)"})
    def(signature, kMethod, [](Args& a) {
      sub_(a.tensor(0), a.tensor(1), a.scalar(2));
      return a.self();
    });
  def("rsub(Tensor input, Operand other, *, Scalar alpha=1)", kFunction,
      [](Args& a) { return sub(a.tensor(1), a.tensor(0), a.scalar(2)); });
  def("mul(Operand input, Operand other)", kWhere, [](Args& a) { return mul(a.tensor(0), a.tensor(1)); });
  def("multiply(Operand input, Operand other)", kWhere, [](Args& a) { return mul(a.tensor(0), a.tensor(1)); });
  FS_ARITHMETIC_("mul_", mul_)
  FS_ARITHMETIC_("multiply_", mul_)
  for (const char* signature : {"div(Operand input, Operand other, *, str? rounding_mode=None)",
                                "divide(Operand input, Operand other, *, str? rounding_mode=None)"})
    def(signature, kWhere, [](Args& a) { return divide(a.tensor(0), a.tensor(1), a.opt_str(2)); });
  def("true_divide(Operand input, Operand other)", kWhere, [](Args& a) { return div(a.tensor(0), a.tensor(1)); });
  for (const char* signature : {"div_(Tensor self, Operand other, *, str? rounding_mode=None)",
                                "divide_(Tensor self, Operand other, *, str? rounding_mode=None)"})
    def(signature, kMethod, [](Args& a) {
      const Tensor x = a.tensor(0);
      if (a.given(2)) copy_(x, divide(x, a.tensor(1), a.opt_str(2)));
      else div_(x, a.tensor(1));
      return a.self();
    });
  FS_ARITHMETIC_("true_divide_", div_)
  FS_DEF2("floor_divide", "Operand", "Operand", floor_divide)
  FS_DEF2_("floor_divide", "Operand", floor_divide, false)
  FS_DEF2("fmod", "Tensor", "Operand", fmod)
  FS_DEF2_("fmod", "Operand", fmod, false)
  FS_DEF2("remainder", "Operand", "Operand", remainder)
  FS_DEF2_("remainder", "Operand", remainder, false)
  def("pow(Operand input, Operand exponent)", kWhere, [](Args& a) { return pow(a.tensor(0), some_tensor(a)); });
  def("pow_(Tensor input, Operand exponent)", kMethod, [](Args& a) {
    pow_(a.tensor(0), a.tensor(1));
    return a.self();
  });
  def("float_power(Operand input, Operand exponent)", kWhere, [](Args& a) {
    return pow(cast_operand(a.tensor(0), DType::kFloat64), cast_operand(some_tensor(a), DType::kFloat64));
  });
  def("float_power_(Tensor input, Operand exponent)", kMethod, [](Args& a) {
    FS_CHECK(a.tensor(0).dtype() == DType::kFloat64, "the base given to float_power_ has dtype ",
             dtype_name(a.tensor(0).dtype()), " but the operation's result requires dtype float64");
    pow_(a.tensor(0), a.tensor(1));
    return a.self();
  });

  def("maximum(Tensor input, Tensor other)", kWhere, [](Args& a) { return maximum(a.tensor(0), a.tensor(1)); });
  def("minimum(Tensor input, Tensor other)", kWhere, [](Args& a) { return minimum(a.tensor(0), a.tensor(1)); });
  def("max(Tensor input, Tensor other)", kWhere, [](Args& a) { return maximum(a.tensor(0), a.tensor(1)); });
  def("min(Tensor input, Tensor other)", kWhere, [](Args& a) { return minimum(a.tensor(0), a.tensor(1)); });
  def("fmax(Tensor input, Tensor other)", kWhere, [](Args& a) { return fmax(a.tensor(0), a.tensor(1)); });
  def("fmin(Tensor input, Tensor other)", kWhere, [](Args& a) { return fmin(a.tensor(0), a.tensor(1)); });
  FS_DEF2("atan2", "Tensor", "Tensor", atan2)
  FS_DEF2_("atan2", "Tensor", atan2, true)
  FS_DEF2("arctan2", "Tensor", "Tensor", atan2)
  FS_DEF2_("arctan2", "Tensor", atan2, true)
  FS_DEF2("hypot", "Tensor", "Tensor", hypot)
  FS_DEF2_("hypot", "Tensor", hypot, false)
  FS_DEF2("copysign", "Tensor", "Operand", copysign)
  FS_DEF2_("copysign", "Operand", copysign, true)
  FS_DEF2("xlogy", "Operand", "Operand", xlogy)
  FS_DEF2_("xlogy", "Operand", xlogy, true)
  FS_SPECIAL2(xlogy)
  FS_SPECIAL2(xlog1py)
  def("logaddexp(Tensor input, Tensor other)", kWhere, [](Args& a) { return logaddexp(a.tensor(0), a.tensor(1)); });
  def("logaddexp2(Tensor input, Tensor other)", kWhere, [](Args& a) { return logaddexp2(a.tensor(0), a.tensor(1)); });
  def("heaviside(Tensor input, Tensor values)", kWhere | kInPlace,
      [](Args& a) { return heaviside(a.tensor(0), a.tensor(1)); });

  FS_DEF2("bitwise_and", "Operand", "Operand", bitwise_and)
  FS_DEF2_("bitwise_and", "Operand", bitwise_and, false)
  FS_DEF2("bitwise_or", "Operand", "Operand", bitwise_or)
  FS_DEF2_("bitwise_or", "Operand", bitwise_or, false)
  FS_DEF2("bitwise_xor", "Operand", "Operand", bitwise_xor)
  FS_DEF2_("bitwise_xor", "Operand", bitwise_xor, false)
  FS_DEF2("bitwise_left_shift", "Operand", "Operand", bitwise_left_shift)
  FS_DEF2_("bitwise_left_shift", "Operand", bitwise_left_shift, false)
  FS_DEF2("bitwise_right_shift", "Operand", "Operand", bitwise_right_shift)
  FS_DEF2_("bitwise_right_shift", "Operand", bitwise_right_shift, false)
  FS_COMPARE2("eq", "Operand", eq)
  FS_COMPARE2("ne", "Operand", ne)
  FS_COMPARE2("lt", "Operand", lt)
  FS_COMPARE2("le", "Operand", le)
  FS_COMPARE2("gt", "Operand", gt)
  FS_COMPARE2("ge", "Operand", ge)
  FS_COMPARE2("not_equal", "Operand", ne)
  FS_COMPARE2("less", "Operand", lt)
  FS_COMPARE2("less_equal", "Operand", le)
  FS_COMPARE2("greater", "Operand", gt)
  FS_COMPARE2("greater_equal", "Operand", ge)
  FS_COMPARE2("logical_and", "Tensor", logical_and)
  FS_COMPARE2("logical_or", "Tensor", logical_or)
  FS_COMPARE2("logical_xor", "Tensor", logical_xor)
  FS_DEF2("gcd", "Tensor", "Tensor", gcd)
  FS_DEF2_("gcd", "Tensor", gcd, false)
  FS_DEF2("lcm", "Tensor", "Tensor", lcm)
  FS_DEF2_("lcm", "Tensor", lcm, false)
  FS_DEF2("nextafter", "Tensor", "Tensor", nextafter)
  FS_DEF2_("nextafter", "Tensor", nextafter, false)
  FS_DEF2("ldexp", "Tensor", "Tensor", ldexp)
  def("ldexp_(Tensor input, Tensor other)", kMethod, [](Args& a) {
    const Tensor x = a.tensor(0);
    mul_(x, pow(scalar_tensor(Scalar(2.0), default_dtype()), a.tensor(1)));
    return a.self();
  });
  def("__rdiv__(Tensor self, Operand other)", kMethod, [](Args& a) { return div(a.tensor(1), a.tensor(0)); });
  def("fill(Tensor input, Operand value)", kFunction, [](Args& a) {
    const Tensor x = a.tensor(0), v = a.tensor(1);
    FS_CHECK(v.dim() == 0, "fill only supports 0-dimension value tensor but got tensor with ", v.dim(),
             " dimensions.");
    // Of x only the shape and dtype remain; the value keeps its gradient.
    return where(full_like(x, Scalar(true), DType::kBool), cast_operand(v, x.dtype()), x);
  });
  def("isclose(Tensor input, Tensor other, float rtol=1e-05, float atol=1e-08, bool equal_nan=False)", kWhere,
      [](Args& a) { return isclose(a.tensor(0), a.tensor(1), a.f64(2), a.f64(3), a.boolean(4)); });
  def("allclose(Tensor input, Tensor other, float rtol=1e-05, float atol=1e-08, bool equal_nan=False)", kWhere,
      [](Args& a) { return all_true(isclose(a.tensor(0), a.tensor(1), a.f64(2), a.f64(3), a.boolean(4))); });
  def("equal(Tensor input, Tensor other)", kWhere, [](Args& a) {
    const Tensor &x = a.tensor(0), &y = a.tensor(1);
    return x.same_shape(y) && all_true(eq(x, y));
  });

  def("result_type(Operand tensor1, Operand tensor2)", kFunction,
      [](Args& a) { return to_python(result_type(a.tensor(0), a.tensor(1))); });
  def("where(Tensor condition)", kFunction, [](Args& a) { return nonzero_tuple(a.tensor(0)); });
  def("where(Tensor condition, Operand input, Operand other)", kFunction,
      [](Args& a) { return where(a.tensor(0), a.tensor(1), a.tensor(2)); });
  def("where(Tensor self, Tensor condition, Operand other)", kMethod,
      [](Args& a) { return where(a.tensor(1), a.tensor(0), a.tensor(2)); });
  def("addcmul(Tensor input, Tensor tensor1, Tensor tensor2, *, Scalar value=1)", kWhere,
      [](Args& a) { return addcmul(a.tensor(0), a.tensor(1), a.tensor(2), a.scalar(3).to_double()); });
  def("addcmul_(Tensor input, Tensor tensor1, Tensor tensor2, *, Scalar value=1)", kMethod, [](Args& a) {
    addcmul_(a.tensor(0), a.tensor(1), a.tensor(2), a.scalar(3).to_double());
    return a.self();
  });
  def("addcdiv(Tensor input, Tensor tensor1, Tensor tensor2, *, Scalar value=1)", kWhere,
      [](Args& a) { return addcdiv(a.tensor(0), a.tensor(1), a.tensor(2), a.scalar(3).to_double()); });
  def("addcdiv_(Tensor input, Tensor tensor1, Tensor tensor2, *, Scalar value=1)", kMethod, [](Args& a) {
    addcdiv_(a.tensor(0), a.tensor(1), a.tensor(2), a.scalar(3).to_double());
    return a.self();
  });
  def("lerp(Tensor input, Tensor end, Tensor weight)", kWhere,
      [](Args& a) { return lerp(a.tensor(0), a.tensor(1), a.tensor(2)); });
  def("lerp(Tensor input, Tensor end, float weight)", kWhere,
      [](Args& a) { return lerp(a.tensor(0), a.tensor(1), a.f64(2)); });
  def("lerp_(Tensor input, Tensor end, Tensor weight)", kMethod, [](Args& a) {
    lerp_(a.tensor(0), a.tensor(1), a.tensor(2));
    return a.self();
  });
  def("lerp_(Tensor input, Tensor end, float weight)", kMethod, [](Args& a) {
    lerp_(a.tensor(0), a.tensor(1), a.f64(2));
    return a.self();
  });
}

}  // namespace fireseed::bind

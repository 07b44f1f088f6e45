// Python names of the elementwise functions of two and three inputs.
#include "bind/fast_call.h"
#include "ops/copy.h"
#include "ops/index.h"
#include "ops/pointwise.h"
#include "ops/records.h"

namespace fireseed::bind {

namespace {

static constexpr unsigned kWhere = kFunction | kMethod;

Tensor divide(const Tensor& x, const Tensor& y, std::optional<std::string_view> mode) {
  if (!mode) return div(x, y);
  if (*mode == "floor") return floor_divide(x, y);
  FS_CHECK(*mode == "trunc", "div expected rounding_mode to be one of None, 'trunc', or 'floor' but found '", *mode, "'");
  return div_trunc(x, y);
}

// All true?
bool all_true(const Tensor& mask) {
  const Tensor m = contiguous(mask);
  const bool* p = m.data<bool>();
  for (int64_t i = 0; i < m.numel(); ++i)
    if (!p[i]) return false;
  return true;
}

}  // namespace

// A function with operands (tensors or numbers), its method and the generic in-place form.
#define FS_DEF2(python, function)                                                            \
  def(python "(Operand input, Operand other)", kWhere | kInPlace,                            \
      [](Args& a) { return function(a.tensor(0), a.tensor(1)); });
#define FS_SPECIAL2(name) \
  def(#name "(Operand input, Operand other)", kSpecial, [](Args& a) { return name(a.tensor(0), a.tensor(1)); });
#define FS_ARITHMETIC_(python, function)                                                     \
  def(python "(Tensor self, Operand other)", kMethod, [](Args& a) {                          \
    function(a.tensor(0), a.tensor(1));                                                      \
    return a.self();                                                                         \
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
  FS_DEF2("floor_divide", floor_divide)
  FS_DEF2("fmod", fmod)
  FS_DEF2("remainder", remainder)
  def("pow(Operand input, Operand exponent)", kWhere | kInPlace, [](Args& a) { return pow(a.tensor(0), a.tensor(1)); });
  def("float_power(Operand input, Operand exponent)", kWhere, [](Args& a) {
    return pow(cast_operand(a.tensor(0), DType::kFloat64), cast_operand(a.tensor(1), DType::kFloat64));
  });

  def("maximum(Tensor input, Tensor other)", kWhere, [](Args& a) { return maximum(a.tensor(0), a.tensor(1)); });
  def("minimum(Tensor input, Tensor other)", kWhere, [](Args& a) { return minimum(a.tensor(0), a.tensor(1)); });
  def("max(Tensor input, Tensor other)", kWhere, [](Args& a) { return maximum(a.tensor(0), a.tensor(1)); });
  def("min(Tensor input, Tensor other)", kWhere, [](Args& a) { return minimum(a.tensor(0), a.tensor(1)); });
  def("fmax(Tensor input, Tensor other)", kWhere, [](Args& a) { return fmax(a.tensor(0), a.tensor(1)); });
  def("fmin(Tensor input, Tensor other)", kWhere, [](Args& a) { return fmin(a.tensor(0), a.tensor(1)); });
  FS_DEF2("atan2", atan2)
  FS_DEF2("arctan2", atan2)
  FS_DEF2("hypot", hypot)
  FS_DEF2("copysign", copysign)
  FS_DEF2("xlogy", xlogy)
  FS_SPECIAL2(xlogy)
  FS_SPECIAL2(xlog1py)
  def("logaddexp(Tensor input, Tensor other)", kWhere, [](Args& a) { return logaddexp(a.tensor(0), a.tensor(1)); });
  def("logaddexp2(Tensor input, Tensor other)", kWhere, [](Args& a) { return logaddexp2(a.tensor(0), a.tensor(1)); });
  def("heaviside(Tensor input, Tensor values)", kWhere | kInPlace,
      [](Args& a) { return heaviside(a.tensor(0), a.tensor(1)); });

  FS_DEF2("bitwise_and", bitwise_and)
  FS_DEF2("bitwise_or", bitwise_or)
  FS_DEF2("bitwise_xor", bitwise_xor)
  FS_DEF2("bitwise_left_shift", bitwise_left_shift)
  FS_DEF2("bitwise_right_shift", bitwise_right_shift)
  FS_DEF2("eq", eq)
  FS_DEF2("ne", ne)
  FS_DEF2("lt", lt)
  FS_DEF2("le", le)
  FS_DEF2("gt", gt)
  FS_DEF2("ge", ge)
  FS_DEF2("not_equal", ne)
  FS_DEF2("less", lt)
  FS_DEF2("less_equal", le)
  FS_DEF2("greater", gt)
  FS_DEF2("greater_equal", ge)
  FS_DEF2("logical_and", logical_and)
  FS_DEF2("logical_or", logical_or)
  FS_DEF2("logical_xor", logical_xor)
  def("isclose(Tensor input, Tensor other, float rtol=1e-05, float atol=1e-08, bool equal_nan=False)", kWhere,
      [](Args& a) { return isclose(a.tensor(0), a.tensor(1), a.f64(2), a.f64(3), a.boolean(4)); });
  def("allclose(Tensor input, Tensor other, float rtol=1e-05, float atol=1e-08, bool equal_nan=False)", kWhere,
      [](Args& a) { return all_true(isclose(a.tensor(0), a.tensor(1), a.f64(2), a.f64(3), a.boolean(4))); });
  def("equal(Tensor input, Tensor other)", kWhere, [](Args& a) {
    const Tensor &x = a.tensor(0), &y = a.tensor(1);
    return x.same_shape(y) && all_true(eq(x, y));
  });

  def("where(Tensor condition)", kFunction, [](Args& a) { return nonzero_tuple(a.tensor(0)); });
  def("where(Tensor condition, Operand input, Operand other)", kFunction,
      [](Args& a) { return where(a.tensor(0), a.tensor(1), a.tensor(2)); });
  def("where(Tensor self, Tensor condition, Operand other)", kMethod,
      [](Args& a) { return where(a.tensor(1), a.tensor(0), a.tensor(2)); });
  def("addcmul(Tensor input, Tensor tensor1, Tensor tensor2, *, Scalar value=1)", kWhere | kInPlace,
      [](Args& a) { return addcmul(a.tensor(0), a.tensor(1), a.tensor(2), a.scalar(3).to_double()); });
  def("addcdiv(Tensor input, Tensor tensor1, Tensor tensor2, *, Scalar value=1)", kWhere | kInPlace,
      [](Args& a) { return addcdiv(a.tensor(0), a.tensor(1), a.tensor(2), a.scalar(3).to_double()); });
  def("lerp(Tensor input, Tensor end, float weight)", kWhere | kInPlace,
      [](Args& a) { return lerp(a.tensor(0), a.tensor(1), a.f64(2)); });
  def("lerp(Tensor input, Tensor end, Tensor weight)", kWhere | kInPlace,
      [](Args& a) { return lerp(a.tensor(0), a.tensor(1), a.tensor(2)); });
}

}  // namespace fireseed::bind

// Python names of the activations.
#include "bind/fast_call.h"
#include "math/functors_activation.h"
#include "ops/activation.h"
#include "ops/copy.h"
#include "ops/pointwise.h"
#include "ops/records.h"

namespace fireseed::bind {

namespace {

// x itself, holding op(x).
PyObject* in_place(Args& a, const Op& op, const void* attrs = nullptr) {
  unary_(op, a.tensor(0), attrs, false);
  return a.self();
}

constexpr Elu kSelu{1.6732632423543772848170429916717, 1.0507009873554804934193349852946, 1.0};

PyObject* celu_in_place(Args& a) {
  FS_CHECK(a.f64(1) != 0.0, "ZeroDivisionError: alpha cannot be 0 for CELU");
  const Elu f{a.f64(1), 1.0, 1.0 / a.f64(1)};
  return in_place(a, op::elu, &f);
}

}  // namespace

FS_BINDINGS(activation) {
  def("relu(Tensor input)", kFunction | kMethod, [](Args& a) { return relu(a.tensor(0)); });
  def("relu_(Tensor input)", kFunction | kMethod | kNN, [](Args& a) { return in_place(a, op::relu); });
  def("relu(Tensor input, bool inplace=False)", kNN, [](Args& a) -> PyObject* {
    if (a.boolean(1)) return in_place(a, op::relu);
    return to_python(relu(a.tensor(0)));
  });
  def("relu6(Tensor input, bool inplace=False)", kNN, [](Args& a) -> PyObject* {
    const Hardtanh f{0.0, 6.0};
    if (a.boolean(1)) return in_place(a, op::hardtanh, &f);
    return to_python(relu6(a.tensor(0)));
  });
  def("hardtanh(Tensor input, float min_val=-1.0, float max_val=1.0, bool inplace=False)", kNN,
      [](Args& a) -> PyObject* {
        const Hardtanh f{a.f64(1), a.f64(2)};
        FS_CHECK_VALUE(f.low <= f.high, "min_val cannot be greater than max_val: got ", f.low, " and ", f.high);
        if (a.boolean(3)) return in_place(a, op::hardtanh, &f);
        return to_python(hardtanh(a.tensor(0), f.low, f.high));
      });
  def("hardtanh_(Tensor input, float min_val=-1.0, float max_val=1.0)", kNN, [](Args& a) {
    const Hardtanh f{a.f64(1), a.f64(2)};
    return in_place(a, op::hardtanh, &f);
  });
  def("leaky_relu(Tensor input, float negative_slope=0.01, bool inplace=False)", kNN, [](Args& a) -> PyObject* {
    const LeakyRelu f{a.f64(1)};
    if (a.boolean(2)) return in_place(a, op::leaky_relu, &f);
    return to_python(leaky_relu(a.tensor(0), f.slope));
  });
  def("leaky_relu_(Tensor input, float negative_slope=0.01)", kNN, [](Args& a) {
    const LeakyRelu f{a.f64(1)};
    return in_place(a, op::leaky_relu, &f);
  });
  def("elu(Tensor input, float alpha=1.0, bool inplace=False)", kNN, [](Args& a) -> PyObject* {
    const Elu f{a.f64(1), 1.0, 1.0};
    if (a.boolean(2)) return in_place(a, op::elu, &f);
    return to_python(elu(a.tensor(0), f.alpha));
  });
  def("elu_(Tensor input, float alpha=1.0)", kNN, [](Args& a) {
    const Elu f{a.f64(1), 1.0, 1.0};
    return in_place(a, op::elu, &f);
  });
  def("celu(Tensor input, float alpha=1.0, bool inplace=False)", kNN, [](Args& a) -> PyObject* {
    if (!a.boolean(2)) return to_python(celu(a.tensor(0), a.f64(1)));
    return celu_in_place(a);
  });
  def("celu(Tensor input, float alpha=1.0)", kFunction, [](Args& a) { return celu(a.tensor(0), a.f64(1)); });
  def("celu_(Tensor input, float alpha=1.0)", kFunction | kNN, [](Args& a) { return celu_in_place(a); });
  def("selu(Tensor input, bool inplace=False)", kNN, [](Args& a) -> PyObject* {
    if (!a.boolean(1)) return to_python(selu(a.tensor(0)));
    return in_place(a, op::elu, &kSelu);
  });
  def("selu(Tensor input)", kFunction, [](Args& a) { return selu(a.tensor(0)); });
  def("selu_(Tensor input)", kFunction | kNN, [](Args& a) { return in_place(a, op::elu, &kSelu); });
  def("gelu(Tensor input, *, str approximate='none')", kNN, [](Args& a) {
    const std::string_view mode = a.str(1);
    FS_CHECK(mode == "none" || mode == "tanh", "approximate argument must be either none or tanh, got '", mode, "'");
    return gelu(a.tensor(0), mode == "tanh");
  });
  def("silu(Tensor input, bool inplace=False)", kNN, [](Args& a) -> PyObject* {
    if (a.boolean(1)) return in_place(a, op::silu);
    return to_python(silu(a.tensor(0)));
  });
  def("mish(Tensor input, bool inplace=False)", kNN, [](Args& a) -> PyObject* {
    if (a.boolean(1)) return in_place(a, op::mish);
    return to_python(mish(a.tensor(0)));
  });
  def("hardswish(Tensor input, bool inplace=False)", kNN, [](Args& a) -> PyObject* {
    if (a.boolean(1)) return in_place(a, op::hardswish);
    return to_python(hardswish(a.tensor(0)));
  });
  def("hardsigmoid(Tensor input, bool inplace=False)", kNN, [](Args& a) -> PyObject* {
    if (a.boolean(1)) return in_place(a, op::hardsigmoid);
    return to_python(hardsigmoid(a.tensor(0)));
  });
  def("hardshrink(Tensor input, Scalar lambd=0.5)", kNN, [](Args& a) { return hardshrink(a.tensor(0), a.f64(1)); });
  def("hardshrink(Tensor input, Scalar lambd=0.5)", kFunction | kMethod,
      [](Args& a) { return hardshrink(a.tensor(0), a.f64(1)); });
  def("softshrink(Tensor input, Scalar lambd=0.5)", kNN, [](Args& a) { return softshrink(a.tensor(0), a.f64(1)); });
  def("tanhshrink(Tensor input)", kNN, [](Args& a) { return tanhshrink(a.tensor(0)); });
  def("softplus(Tensor input, Scalar beta=1.0, Scalar threshold=20.0)", kNN,
      [](Args& a) { return softplus(a.tensor(0), a.f64(1), a.f64(2)); });
  def("softsign(Tensor input)", kNN, [](Args& a) { return softsign(a.tensor(0)); });
  def("logsigmoid(Tensor input)", kNN, [](Args& a) { return log_sigmoid(a.tensor(0)); });
  def("log_sigmoid(Tensor input)", kNN, [](Args& a) { return log_sigmoid(a.tensor(0)); });
  def("threshold(Tensor input, Scalar threshold, Scalar value, bool inplace=False)", kNN, [](Args& a) -> PyObject* {
    const Threshold f{a.f64(1), a.f64(2)};
    if (a.boolean(3)) return in_place(a, op::threshold, &f);
    return to_python(threshold(a.tensor(0), f.threshold, f.value));
  });
  def("threshold(Tensor input, Scalar threshold, Scalar value)", kFunction,
      [](Args& a) { return threshold(a.tensor(0), a.f64(1), a.f64(2)); });
  def("threshold_(Tensor input, Scalar threshold, Scalar value)", kFunction | kNN, [](Args& a) {
    const Threshold f{a.f64(1), a.f64(2)};
    return in_place(a, op::threshold, &f);
  });
  def("prelu(Tensor input, Tensor weight)", kFunction | kMethod | kNN,
      [](Args& a) { return prelu(a.tensor(0), a.tensor(1)); });
  def("glu(Tensor input, int dim=-1)", kNN, [](Args& a) { return glu(a.tensor(0), a.i64(1)); });
  def("sigmoid(Tensor input)", kNN, [](Args& a) { return sigmoid(a.tensor(0)); });
  def("tanh(Tensor input)", kNN, [](Args& a) { return tanh(a.tensor(0)); });
}

}  // namespace fireseed::bind

// Records and functions of the activations.
#include "ops/activation.h"

#include "ops/copy.h"
#include "ops/pointwise_rules.h"

namespace fireseed {

#define FS_UNARY(name, Functor) FS_UNARY_RECORDS(name, Functor)
#define FS_BINARY(name, Functor)
#define FS_COMPARE(name, Functor)
#define FS_TERNARY(name, Functor)
#define FS_KERNEL(name)
#define FS_VIEW(name)
#define FS_GROUP 4
#include "ops.def"
#undef FS_GROUP
#undef FS_UNARY
#undef FS_BINARY
#undef FS_COMPARE
#undef FS_TERNARY
#undef FS_KERNEL
#undef FS_VIEW

namespace {

// Most activations have no integer form.
const Tensor& floating(const Tensor& x, const char* name) {
  FS_CHECK_KIND(x.is_floating(), ErrorKind::kNotImplemented, "\"", name, "\" not implemented for '",
                dtype_name(x.dtype()), "': cast the input to a floating dtype first");
  return x;
}
void refuse_bool(const Tensor& x, const char* name) {
  FS_CHECK(x.dtype() != DType::kBool, "Boolean inputs not supported for ", name);
}

}  // namespace

Tensor relu(const Tensor& x) {
  refuse_bool(x, "relu");
  return apply1(op::relu, {x});
}
Tensor hardtanh(const Tensor& x, double min_val, double max_val) {
  refuse_bool(x, "hardtanh");
  FS_CHECK(x.dtype() != DType::kUInt8 || (min_val >= 0 && max_val >= 0),
           "cannot do hardtanh on an unsigned type with negative limits: got ", min_val, " and ", max_val,
           " for uint8; convert the input to a signed type first");
  return apply1(op::hardtanh, {x}, Hardtanh{min_val, max_val});
}
Tensor relu6(const Tensor& x) { return hardtanh(x, 0.0, 6.0); }
Tensor leaky_relu(const Tensor& x, double negative_slope) {
  return apply1(op::leaky_relu, {floating(x, "leaky_relu")}, LeakyRelu{negative_slope});
}
Tensor elu(const Tensor& x, double alpha) { return apply1(op::elu, {floating(x, "elu")}, Elu{alpha, 1.0, 1.0}); }
Tensor celu(const Tensor& x, double alpha) {
  FS_CHECK(alpha != 0.0, "ZeroDivisionError: alpha cannot be 0 for CELU");
  return apply1(op::elu, {floating(x, "celu")}, Elu{alpha, 1.0, 1.0 / alpha});
}
Tensor selu(const Tensor& x) {
  return apply1(op::elu, {floating(x, "selu")},
                Elu{1.6732632423543772848170429916717, 1.0507009873554804934193349852946, 1.0});
}
Tensor gelu(const Tensor& x, bool tanh_approximation) {
  return tanh_approximation ? apply1(op::gelu_tanh, {floating(x, "gelu")}) : apply1(op::gelu, {floating(x, "gelu")});
}
Tensor silu(const Tensor& x) { return apply1(op::silu, {floating(x, "silu")}); }
Tensor mish(const Tensor& x) { return apply1(op::mish, {floating(x, "mish")}); }
Tensor hardswish(const Tensor& x) { return apply1(op::hardswish, {floating(x, "hardswish")}); }
Tensor hardsigmoid(const Tensor& x) { return apply1(op::hardsigmoid, {floating(x, "hardsigmoid")}); }
Tensor hardshrink(const Tensor& x, double lambd) {
  return apply1(op::hardshrink, {floating(x, "hardshrink")}, Hardshrink{lambd});
}
Tensor softshrink(const Tensor& x, double lambd) {
  FS_CHECK(lambd >= 0.0, "lambda must be greater or equal to 0, but found to be ", lambd, ".");
  return apply1(op::softshrink, {floating(x, "softshrink")}, Softshrink{lambd});
}
Tensor tanhshrink(const Tensor& x) { return apply1(op::tanhshrink, {as_float(x)}); }
Tensor softplus(const Tensor& x, double beta, double threshold) {
  return apply1(op::softplus, {floating(x, "softplus")}, Softplus{beta, threshold});
}
Tensor softsign(const Tensor& x) { return apply1(op::softsign, {as_float(x)}); }
Tensor log_sigmoid(const Tensor& x) { return apply1(op::log_sigmoid, {floating(x, "log_sigmoid")}); }
Tensor threshold(const Tensor& x, double threshold, double value) {
  refuse_bool(x, "threshold");
  return apply1(op::threshold, {x}, Threshold{threshold, value});
}

Tensor prelu(const Tensor& x, const Tensor& weight) {
  FS_CHECK(x.dtype() == weight.dtype(), "prelu: Type promoting not supported. Got ", dtype_name(x.dtype()), " and ",
           dtype_name(weight.dtype()));
  FS_CHECK(weight.dim() <= 1, "prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = ", weight.dim());
  if (weight.numel() == 1)
    return apply1(op::prelu, {x, weight.dim() && x.dim() == 0 ? reshape(weight, Dims{}) : weight});
  FS_CHECK(x.dim() > 0, "prelu: Not allow zero-dim input tensor.");
  const int64_t channels = x.dim() > 1 ? x.size(1) : 1;
  FS_CHECK(channels == weight.numel(),
           "prelu: Mismatch of parameter numbers and input channel size. Found parameter numbers = ", weight.numel(),
           " and channel size = ", channels, ".");
  Dims shape = Dims::filled(x.dim(), 1);
  shape[1] = channels;
  return apply1(op::prelu, {x, reshape(weight, shape)});
}

Tensor glu(const Tensor& x, int64_t dim) {
  FS_CHECK(x.dim() > 0, "glu does not support 0-dimensional tensors");
  const int64_t d = wrap_dim(dim, x.dim(), "glu"), n = x.size(d);
  FS_CHECK(n % 2 == 0, "glu: Halving dimension must be even, but dimension ", d, " is size ", n);
  return mul(narrow(x, d, 0, n / 2), sigmoid(narrow(x, d, n / 2, n / 2)));
}

}  // namespace fireseed

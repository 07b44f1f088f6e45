// Convolutions: PyTorch's checks, three records closed under differentiation, and their gradients.
#include "ops/conv.h"

#include "engine/apply.h"
#include "ops/copy.h"
#include "ops/creation.h"
#include "ops/layout.h"
#include "ops/records.h"
#include "ops/reduce.h"
#include "ops/shape.h"
#include "tensor/attrs/conv.h"

namespace fireseed {
namespace {

// Note [Three convolutions]
// y = conv(x, w), x' = conv_backward_input(y', w) and w' = conv_backward_weight(x, y') are the three contractions of
// one trilinear form in (x, w, y). The gradient of each is made of the other two, so gradients have gradients to any
// order.

void set_size(ConvAttrs& a, const Dims& sizes) {  // the spatial sizes are the last a.rank ones
  for (int64_t i = 0; i < a.rank; ++i) a.size[3 - a.rank + i] = sizes[sizes.n - a.rank + i];
}
Dims with_size(int64_t n, int64_t c, const ConvAttrs& a) {
  Dims d{n, c};
  for (int64_t i = 3 - a.rank; i < 3; ++i) d.push_back(a.size[i]);
  return d;
}

// What kernels get: row-major memory. CUDA's also take images and weights with the channels innermost, and leave them
// there.
Tensor operand(const Tensor& x) { return !x.device().is_cpu() && is_channels_last(x) ? x : contiguous(x); }
// A gradient with its channels where the recorded image has them, so that all kernels of a step see one layout. The
// image was saved only if the gradient to the weight is wanted.
Tensor laid_out_as_image(const Vjp& c, const Tensor& g) {
  if (g.device().is_cpu() || !c.needs(1)) return g;
  return is_channels_last(c.input(0)) && !is_channels_last(g) ? channels_last(g) : g;
}

Tensor run_conv(const Tensor& x, const Tensor& w, ConvAttrs a, const Dims& out_sizes) {
  set_size(a, out_sizes);
  return apply1(op::conv, {operand(x), operand(w)}, a);
}
Tensor run_backward_input(const Tensor& g, const Tensor& w, ConvAttrs a, const Dims& x_sizes) {
  set_size(a, x_sizes);
  return apply1(op::conv_backward_input, {operand(g), operand(w)}, a);
}
Tensor run_backward_weight(const Tensor& x, const Tensor& g, ConvAttrs a, const Dims& w_sizes) {
  set_size(a, w_sizes);
  return apply1(op::conv_backward_weight, {operand(x), operand(g)}, a);
}
// Over the batch and the pixels: what reaches the bias.
Tensor channel_sums(const Tensor& g) {
  Dims dims{0};
  for (int64_t i = 2; i < g.dim(); ++i) dims.push_back(i);
  return sum(g, dims);
}

void conv_infer(Inputs in, const void* attrs, Tensor* out) {
  out[0] = shell_like(with_size(in[0].size(0), in[1].size(0), *static_cast<const ConvAttrs*>(attrs)), in[0].dtype(),
                      in[0]);
}
void conv_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  const ConvAttrs& a = c.attrs<ConvAttrs>();
  const Tensor gy = laid_out_as_image(c, g[0]);
  if (c.needs(0)) gx[0] = run_backward_input(gy, c.input(1), a, c.input_sizes(0));
  if (c.needs(1)) gx[1] = run_backward_weight(c.input(0), gy, a, c.input_sizes(1));
  if (c.needs(2)) gx[2] = channel_sums(g[0]);
}

void backward_input_infer(Inputs in, const void* attrs, Tensor* out) {
  const ConvAttrs& a = *static_cast<const ConvAttrs*>(attrs);
  out[0] = shell_like(with_size(in[0].size(0), in[1].size(1) * a.groups, a), in[0].dtype(), in[0]);
}
void backward_input_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  const ConvAttrs& a = c.attrs<ConvAttrs>();
  const Tensor h = laid_out_as_image(c, g[0]);
  if (c.needs(0)) gx[0] = run_conv(h, c.input(1), a, c.input_sizes(0));
  if (c.needs(1)) gx[1] = run_backward_weight(h, c.input(0), a, c.input_sizes(1));
  if (c.needs(2)) gx[2] = channel_sums(g[0]);
}

void backward_weight_infer(Inputs in, const void* attrs, Tensor* out) {
  const ConvAttrs& a = *static_cast<const ConvAttrs*>(attrs);
  out[0] = make_shell(with_size(in[1].size(1), in[0].size(1) / a.groups, a), in[0].dtype(), in[0].device());
}
void backward_weight_vjp(const Vjp& c, const Tensor* h, Tensor* gx) {
  const ConvAttrs& a = c.attrs<ConvAttrs>();
  if (c.needs(0)) gx[0] = run_backward_input(c.input(1), h[0], a, c.input_sizes(0));
  if (c.needs(1)) gx[1] = run_conv(c.input(0), h[0], a, c.input_sizes(1));
}

// --- Checks --------------------------------------------------------------------------------------------------------

const char* scalar_name(DType t) {
  constexpr const char* kName[] = {"bool", "unsigned char", "signed char",   "short", "int",
                                   "long", "c10::Half",     "c10::BFloat16", "float", "double"};
  return kName[static_cast<int>(t)];
}
const char* type_name(DType t) {
  constexpr const char* kName[] = {"Bool", "Byte", "Char",     "Short", "Int",
                                   "Long", "Half", "BFloat16", "Float", "Double"};
  return kName[static_cast<int>(t)];
}

// "(5 x 5)" of the spatial sizes.
std::string crossed(const int64_t* v, int64_t rank) {
  std::string s = "(";
  for (int64_t i = 3 - rank; i < 3; ++i) s += (i > 3 - rank ? " x " : "") + std::to_string(v[i]);
  return s + ")";
}

void fill_axes(int64_t* to, const Dims& v, int64_t rank, const char* what, const char* name) {
  FS_CHECK(v.n == 1 || v.n == rank, name, ": expected ", what, " to be a single integer value or a list of ", rank,
           " values to match the convolution dimensions, but got ", what, "=", v);
  for (int64_t i = 0; i < rank; ++i) to[3 - rank + i] = v[v.n == 1 ? 0 : i];
}

struct Prepared {
  ConvAttrs attrs;
  Tensor x;  // with a batch axis
  bool unbatched;
};

Prepared prepare(const std::string& name, int64_t rank, bool transposed, const Tensor& x, const Tensor& weight,
                 const Tensor& bias, const Dims& stride, const Dims& padding, const Dims& dilation, int64_t groups) {
  FS_CHECK(x.dim() == rank + 1 || x.dim() == rank + 2, name, ": Expected ", rank + 1, "D (unbatched) or ", rank + 2,
           "D (batched) input to ", name, ", but got input of size: ", x.sizes());
  FS_CHECK(weight.dim() == rank + 2, name, ": expected a weight of ", rank + 2, " dimensions for an input of shape ",
           x.sizes(), ", but got weight of size ", weight.sizes());
  Prepared p;
  ConvAttrs& a = p.attrs;
  a.rank = rank;
  a.groups = groups;
  fill_axes(a.stride, stride, rank, "stride", name.c_str());
  fill_axes(a.padding, padding, rank, "padding", name.c_str());
  fill_axes(a.dilation, dilation, rank, "dilation", name.c_str());
  for (int i = 0; i < 3; ++i) {
    FS_CHECK(a.padding[i] >= 0, name, ": negative padding is not supported, got padding=", padding);
    FS_CHECK(a.stride[i] > 0, name, ": non-positive stride is not supported, got stride=", stride);
    FS_CHECK(a.dilation[i] > 0, name, ": dilation should be greater than zero, but got ", dilation);
  }
  FS_CHECK(groups > 0, name, ": non-positive groups is not supported, got groups=", groups);
  FS_CHECK(x.dtype() != DType::kBool, "\"", name, "\" not implemented for 'Bool'");
  FS_CHECK(x.dtype() == weight.dtype(), name, ": expected scalar type ", type_name(x.dtype()), " but found ",
           type_name(weight.dtype()), ": Input type (", scalar_name(x.dtype()), ") and weight type (",
           scalar_name(weight.dtype()), ") should be the same");
  FS_CHECK(!bias.defined() || bias.dtype() == x.dtype(), name, ": Input type (", scalar_name(x.dtype()),
           ") and bias type (", scalar_name(bias.defined() ? bias.dtype() : x.dtype()), ") should be the same");
  p.unbatched = x.dim() == rank + 1;
  p.x = p.unbatched ? unsqueeze(x, 0) : x;
  const std::string given = transposed ? "transposed=1" : "groups=" + std::to_string(groups);
  FS_CHECK(weight.size(0) >= groups, name, ": Given groups=", groups, ", expected weight to be at least ", groups,
           " at dimension 0, but got weight of size ", weight.sizes(), " instead");
  FS_CHECK(weight.size(0) % groups == 0, name, ": Given groups=", groups, ", expected weight to be divisible by ",
           groups, " at dimension 0, but got weight of size [", weight.sizes(), "] instead");
  const int64_t in_channels = transposed ? weight.size(0) : weight.size(1) * groups;
  const int64_t out_channels = transposed ? weight.size(1) * groups : weight.size(0);
  FS_CHECK(p.x.size(1) == in_channels, name, ": Given ", given, ", weight of size ", weight.sizes(),
           ", expected input", x.sizes(), " to have ", in_channels, " channels, but got ", p.x.size(1),
           " channels instead");
  FS_CHECK(!bias.defined() || (bias.dim() == 1 && bias.size(0) == out_channels), name, ": Given ",
           transposed ? "transposed=1, " : "", "weight of size ", weight.sizes(),
           ", expected bias to be 1-dimensional with ", out_channels, " elements, but got bias of size ",
           bias.defined() ? bias.sizes() : Dims{}, " instead");
  for (int64_t i = 0; i < rank; ++i)
    FS_CHECK(weight.size(2 + i) > 0, name, ": kernel size should be greater than zero, got weight of size ",
             weight.sizes());
  return p;
}

Tensor finish(const Prepared& p, const Tensor& y) { return p.unbatched ? squeeze(y, Dims{0}) : y; }

// Integers go through float64, which holds their sums exactly up to 2^53.
template <class F>
Tensor through_double(const Tensor& x, const Tensor& w, const Tensor& b, F f) {
  const DType t = x.dtype();
  FS_CHECK(!b.defined() || b.dtype() == t, "conv: Input type (", scalar_name(t), ") and bias type (",
           scalar_name(b.defined() ? b.dtype() : t), ") should be the same");
  return to(f(to(x, DType::kFloat64), to(w, DType::kFloat64), b.defined() ? to(b, DType::kFloat64) : b), t);
}

}  // namespace

constinit Op op::conv{.name = "conv",
                      .flags = kBilinear,
                      .saves = save_input(0) | save_input(1),
                      .attrs_size = sizeof(ConvAttrs),
                      .infer = conv_infer,
                      .vjp = conv_vjp};
constinit Op op::conv_backward_input{.name = "conv_backward_input",
                                     .flags = kBilinear,
                                     .saves = save_input(0) | save_input(1),
                                     .attrs_size = sizeof(ConvAttrs),
                                     .infer = backward_input_infer,
                                     .vjp = backward_input_vjp};
constinit Op op::conv_backward_weight{.name = "conv_backward_weight",
                                      .flags = kBilinear,
                                      .saves = save_input(0) | save_input(1),
                                      .attrs_size = sizeof(ConvAttrs),
                                      .infer = backward_weight_infer,
                                      .vjp = backward_weight_vjp};

Tensor convolve(int64_t rank, const Tensor& x, const Tensor& weight, const Tensor& bias, const Dims& stride,
                const Dims& padding, const Dims& dilation, int64_t groups, ConvPadding mode) {
  if (is_integral(x.dtype()) && x.dtype() != DType::kBool && x.dtype() == weight.dtype())
    return through_double(x, weight, bias, [&](const Tensor& a, const Tensor& w, const Tensor& b) {
      return convolve(rank, a, w, b, stride, padding, dilation, groups, mode);
    });
  const std::string name = "conv" + std::to_string(rank) + "d";
  Prepared p = prepare(name, rank, false, x, weight, bias, stride, mode == ConvPadding::kExplicit ? padding : Dims{0},
                       dilation, groups);
  ConvAttrs& a = p.attrs;
  int64_t padded[3] = {1, 1, 1}, kernel[3] = {1, 1, 1};
  bool fits = true;
  for (int64_t i = 3 - rank; i < 3; ++i) {
    const int64_t in = p.x.size(i - 3);
    kernel[i] = a.dilation[i] * (weight.size(i - 3) - 1) + 1;
    if (mode == ConvPadding::kSame) {  // the odd element of padding goes to the end, where the size alone implies it
      FS_CHECK(a.stride[i] == 1, name, ": padding='same' is not supported for strided convolutions");
      a.padding[i] = (kernel[i] - 1) / 2;
      a.size[i] = in;
      continue;
    }
    padded[i] = in + 2 * a.padding[i];
    fits = fits && padded[i] >= kernel[i];
    a.size[i] = (padded[i] - kernel[i]) / a.stride[i] + 1;
  }
  FS_CHECK(fits, name, ": Calculated padded input size per channel: ", crossed(padded, rank),
           ". Kernel size: ", crossed(kernel, rank), ". Kernel size can't be greater than actual input size");
  const Tensor xc = operand(p.x), wc = operand(weight);
  return finish(p, bias.defined() ? apply1(op::conv, {xc, wc, bias}, a) : apply1(op::conv, {xc, wc}, a));
}

Tensor convolve_transpose(int64_t rank, const Tensor& x, const Tensor& weight, const Tensor& bias, const Dims& stride,
                          const Dims& padding, const Dims& output_padding, int64_t groups, const Dims& dilation) {
  if (is_integral(x.dtype()) && x.dtype() != DType::kBool && x.dtype() == weight.dtype())
    return through_double(x, weight, bias, [&](const Tensor& a, const Tensor& w, const Tensor& b) {
      return convolve_transpose(rank, a, w, b, stride, padding, output_padding, groups, dilation);
    });
  const std::string name = "conv_transpose" + std::to_string(rank) + "d";
  Prepared p = prepare(name, rank, true, x, weight, bias, stride, padding, dilation, groups);
  ConvAttrs& a = p.attrs;
  int64_t extra[3] = {}, in[3] = {1, 1, 1};
  fill_axes(extra, output_padding, rank, "output_padding", name.c_str());
  bool positive = true;
  for (int64_t i = 3 - rank; i < 3; ++i) {
    FS_CHECK(extra[i] >= 0, name, ": negative output_padding is not supported: got ", output_padding);
    FS_CHECK(extra[i] < a.stride[i] || extra[i] < a.dilation[i], name,
             ": output padding must be smaller than either stride or dilation, but got output_padding=",
             output_padding, " stride=", stride, " dilation=", dilation);
    in[i] = p.x.size(i - 3);
    FS_CHECK(in[i] > 0, name,
             ": Only zero batch or zero channel inputs are supported, but got input shape: ", x.sizes());
    a.size[i] =
        (in[i] - 1) * a.stride[i] - 2 * a.padding[i] + a.dilation[i] * (weight.size(i - 3) - 1) + extra[i] + 1;
    positive = positive && a.size[i] > 0;
  }
  FS_CHECK(positive, name, ": Given input size per channel: ", crossed(in, rank),
           ". Calculated output size per channel: ", crossed(a.size, rank), ". Output size is too small");
  const Tensor xc = operand(p.x), wc = operand(weight);
  return finish(p, bias.defined() ? apply1(op::conv_backward_input, {xc, wc, bias}, a)
                                  : apply1(op::conv_backward_input, {xc, wc}, a));
}

}  // namespace fireseed

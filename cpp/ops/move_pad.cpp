// Padding, unfold/fold of images, pixel shuffles: checks, records, gradients.
#include <string>

#include "ops/copy.h"
#include "ops/index_util.h"
#include "ops/move.h"
#include "ops/records.h"
#include "ops/shape.h"
#include "tensor/attrs/move.h"

namespace fireseed {
namespace {

Dims padded_sizes(const Dims& sizes, const Dims& before, const Dims& after, const char* op) {
  Dims r = sizes;
  for (int64_t d = 0; d < r.n; ++d) {
    r[d] += before[d] + after[d];
    FS_CHECK(r[d] >= 0, op, ": the pad of dimension ", d, " (", before[d], ", ", after[d],
             ") cuts more than its size ", sizes[d], " (shape ", sizes, ")");
  }
  return r;
}

void constant_pad_infer(Inputs in, const void* attrs, Tensor* out) {
  const auto& a = *static_cast<const ConstantPadAttrs*>(attrs);
  out[0] =
      make_shell(padded_sizes(in[0].sizes(), a.before, a.after, "constant_pad_nd"), in[0].dtype(), in[0].device());
}
void constant_pad_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  ConstantPadAttrs a = c.attrs<ConstantPadAttrs>();
  for (int64_t d = 0; d < a.before.n; ++d) {
    a.before[d] = -a.before[d];
    a.after[d] = -a.after[d];
  }
  a.value = FillValue{};
  gx[0] = apply1(op::constant_pad, {g[0]}, a);
}

void mode_pad_infer(Inputs in, const void* attrs, Tensor* out) {
  const auto& a = *static_cast<const ModePadAttrs*>(attrs);
  out[0] = make_shell(padded_sizes(in[0].sizes(), a.before, a.after, "pad"), in[0].dtype(), in[0].device());
}
void mode_pad_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  gx[0] = apply1(op::mode_pad_backward, {g[0]}, c.attrs<ModePadAttrs>());
}
void mode_pad_backward_infer(Inputs in, const void* attrs, Tensor* out) {
  const auto& a = *static_cast<const ModePadAttrs*>(attrs);
  Dims sizes = in[0].sizes();
  for (int64_t d = 0; d < sizes.n; ++d) sizes[d] -= a.before[d] + a.after[d];
  out[0] = make_shell(sizes, in[0].dtype(), in[0].device());
}
void mode_pad_backward_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  gx[0] = apply1(op::mode_pad, {g[0]}, c.attrs<ModePadAttrs>());
}

// Pairs from the last dimension backwards -> one entry a dimension.
void split_pad(const Dims& pad, int64_t rank, Dims& before, Dims& after) {
  before = after = Dims::filled(rank, 0);
  for (int64_t d = rank - 1, i = 0; d >= 0 && i + 1 < pad.n; --d, i += 2) {
    before[d] = pad[i];
    after[d] = pad[i + 1];
  }
}

int64_t window_count(int64_t size, int64_t kernel, int64_t dilation, int64_t padding, int64_t stride) {
  const int64_t reach = size + 2 * padding - dilation * (kernel - 1) - 1;
  return reach < 0 ? 0 : reach / stride + 1;
}

void im2col_infer(Inputs in, const void* attrs, Tensor* out) {
  const auto& a = *static_cast<const Im2colAttrs*>(attrs);
  const Tensor& x = in[0];
  FS_CHECK_KIND(x.is_floating(), ErrorKind::kNotImplemented, "unfold: \"im2col\" not implemented for '",
                dtype_name(x.dtype()), "'; use a float dtype");
  int64_t n[2];
  for (int i = 0; i < 2; ++i) {
    n[i] = window_count(x.size(2 + i), a.kernel[i], a.dilation[i], a.padding[i], a.stride[i]);
    FS_CHECK(n[i] > 0, "unfold: Given input with spatial size (", x.size(2), ", ", x.size(3), "), kernel_size=(",
             a.kernel[0], ", ", a.kernel[1], "), dilation=(", a.dilation[0], ", ", a.dilation[1], "), padding=(",
             a.padding[0], ", ", a.padding[1],
             "), calculated shape of the array of sliding blocks has a component that is not positive");
  }
  out[0] = make_shell(Dims{x.size(0), x.size(1) * a.kernel[0] * a.kernel[1], n[0] * n[1]}, x.dtype(), x.device());
}
void im2col_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  gx[0] = apply1(op::col2im, {g[0]}, c.attrs<Im2colAttrs>());
}
void col2im_infer(Inputs in, const void* attrs, Tensor* out) {
  const auto& a = *static_cast<const Im2colAttrs*>(attrs);
  const Tensor& x = in[0];
  FS_CHECK_KIND(x.is_floating(), ErrorKind::kNotImplemented, "fold: \"col2im\" not implemented for '",
                dtype_name(x.dtype()), "'; use a float dtype");
  out[0] = make_shell(Dims{x.size(0), x.size(1) / (a.kernel[0] * a.kernel[1]), a.image[0], a.image[1]}, x.dtype(),
                      x.device());
}
void col2im_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  gx[0] = apply1(op::im2col, {g[0]}, c.attrs<Im2colAttrs>());
}

void fill_pair(int64_t (&to)[2], const Dims& from, int64_t least, const char* op, const char* what) {
  FS_CHECK(from.n == 1 || from.n == 2, op, ": It is expected ", what, " equals to 1 or 2 numbers, but got ", from);
  to[0] = from[0];
  to[1] = from.n == 2 ? from[1] : from[0];
  FS_CHECK(to[0] >= least && to[1] >= least, op, ": ", what, " should be greater than ", least - 1, ", but got ",
           from);
}
Im2colAttrs im2col_attrs(const Dims& kernel, const Dims& dilation, const Dims& padding, const Dims& stride,
                         const char* op) {
  Im2colAttrs a;
  fill_pair(a.kernel, kernel, 1, op, "kernel_size");
  fill_pair(a.dilation, dilation, 1, op, "dilation");
  fill_pair(a.padding, padding, 0, op, "padding");
  fill_pair(a.stride, stride, 1, op, "stride");
  return a;
}

}  // namespace

constinit Op op::constant_pad{.name = "constant_pad",
                              .attrs_size = sizeof(ConstantPadAttrs),
                              .infer = constant_pad_infer,
                              .vjp = constant_pad_vjp};
constinit Op op::mode_pad{
    .name = "mode_pad", .attrs_size = sizeof(ModePadAttrs), .infer = mode_pad_infer, .vjp = mode_pad_vjp};
constinit Op op::mode_pad_backward{.name = "mode_pad_backward",
                                   .attrs_size = sizeof(ModePadAttrs),
                                   .infer = mode_pad_backward_infer,
                                   .vjp = mode_pad_backward_vjp};
constinit Op op::im2col{
    .name = "im2col", .attrs_size = sizeof(Im2colAttrs), .infer = im2col_infer, .vjp = im2col_vjp};
constinit Op op::col2im{
    .name = "col2im", .attrs_size = sizeof(Im2colAttrs), .infer = col2im_infer, .vjp = col2im_vjp};

Tensor constant_pad(const Tensor& x, const Dims& pad, Scalar value) {
  FS_CHECK(pad.n % 2 == 0, "constant_pad_nd: Length of pad must be even but instead it equals ", pad.n);
  FS_CHECK(pad.n / 2 <= x.dim(),
           "constant_pad_nd: Length of pad should be no more than twice the number of dimensions of the input. "
           "Pad length is ",
           pad.n, " while the input has ", x.dim(), " dimensions.");
  ConstantPadAttrs a;
  split_pad(pad, x.dim(), a.before, a.after);
  a.value = fill_value(value);
  return apply1(op::constant_pad, {x}, a);
}

Tensor pad(const Tensor& x, const Dims& pad, std::string_view mode, Scalar value) {
  FS_CHECK(pad.n % 2 == 0, "pad: Padding length must be divisible by 2, got ", pad);
  FS_CHECK(
      pad.n / 2 <= x.dim(),
      "pad: Padding length should be less than or equal to two times the input dimension but got padding length ",
      pad.n, " and input of dimension ", x.dim());
  if (mode == "constant") return constant_pad(x, pad, value);
  ModePadAttrs a;
  if (mode == "reflect") a.mode = PadMode::kReflect;
  else if (mode == "replicate") a.mode = PadMode::kReplicate;
  else if (mode == "circular") a.mode = PadMode::kCircular;
  else
    fail(ErrorKind::kNotImplemented, "pad: Unrecognised padding mode ", std::string(mode),
         ", expected constant, reflect, replicate or circular");
  const int64_t padded = pad.n / 2;
  FS_CHECK_KIND(padded >= 1 && padded <= 3 && (x.dim() == padded + 1 || x.dim() == padded + 2),
                ErrorKind::kNotImplemented,
                "pad: Only 2D, 3D, 4D, 5D padding with non-constant padding are supported for now (mode ",
                std::string(mode), ", pad ", pad, ", input shape ", x.sizes(), ")");
  FS_CHECK_KIND(x.is_floating() || a.mode == PadMode::kCircular, ErrorKind::kNotImplemented, "\"", std::string(mode),
                "_pad", "\" not implemented for '", dtype_name(x.dtype()), "'");
  split_pad(pad, x.dim(), a.before, a.after);
  for (int64_t d = 0; d < x.dim(); ++d) {
    const int64_t n = x.size(d), b = a.before[d], e = a.after[d];
    FS_CHECK(d == 0 || n > 0 || x.dim() == padded + 1,
             "pad: Expected a non-empty input (only the batch may be empty), got shape ", x.sizes());
    FS_CHECK(n > 0 || (b <= 0 && e <= 0), "pad: Expected a non-empty dimension ", d, " to pad, got shape ",
             x.sizes());
    if (a.mode == PadMode::kReflect)
      FS_CHECK((b < n && e < n) || (b <= 0 && e <= 0),
               "pad: Padding size should be less than the corresponding input dimension, but got: padding (", b, ", ",
               e, ") at dimension ", d, " of input ", x.sizes());
    if (a.mode == PadMode::kCircular)
      FS_CHECK(b <= n && e <= n, "pad: Padding value causes wrapping around more than once: padding (", b, ", ", e,
               ") at dimension ", d, " of input ", x.sizes());
    FS_CHECK(n + b + e > 0 || n == 0, "pad: input (shape ", x.sizes(), ") is too small: the output would have size ",
             n + b + e, " at dimension ", d);
  }
  if (a.mode == PadMode::kCircular) {  // wraps around what negative amounts leave
    Tensor in = x;
    for (int64_t d = 0; d < x.dim(); ++d) {
      const int64_t cut_front = a.before[d] < 0 ? -a.before[d] : 0, cut_back = a.after[d] < 0 ? -a.after[d] : 0;
      if (cut_front + cut_back == 0) continue;
      in = narrow(in, d, cut_front, in.size(d) - cut_front - cut_back);
      if (a.before[d] < 0) a.before[d] = 0;
      if (a.after[d] < 0) a.after[d] = 0;
    }
    return apply1(op::mode_pad, {in}, a);
  }
  return apply1(op::mode_pad, {x}, a);
}

Tensor im2col(const Tensor& x, const Dims& kernel, const Dims& dilation, const Dims& padding, const Dims& stride) {
  FS_CHECK(x.dim() == 3 || x.dim() == 4,
           "unfold: Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other non-zero "
           "dimensions for input, but got: ",
           x.sizes());
  for (int64_t d = x.dim() - 3; d < x.dim(); ++d)
    FS_CHECK(
        x.size(d) > 0,
        "unfold: Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other non-zero dimensions for "
        "input, but got: ",
        x.sizes());
  Im2colAttrs a = im2col_attrs(kernel, dilation, padding, stride, "unfold");
  a.image[0] = x.size(-2);
  a.image[1] = x.size(-1);
  if (x.dim() == 4) return apply1(op::im2col, {x}, a);
  return select(apply1(op::im2col, {unsqueeze(x, 0)}, a), 0, 0);
}

Tensor col2im(const Tensor& x, const Dims& output_size, const Dims& kernel, const Dims& dilation, const Dims& padding,
              const Dims& stride) {
  FS_CHECK(x.dim() == 2 || x.dim() == 3,
           "fold: Expected 2D or 3D (batch mode) tensor for input with possibly 0 batch size and non-zero "
           "dimensions for input, but got: ",
           x.sizes());
  Im2colAttrs a = im2col_attrs(kernel, dilation, padding, stride, "fold");
  fill_pair(a.image, output_size, 1, "fold", "output_size");
  const int64_t block = a.kernel[0] * a.kernel[1];
  FS_CHECK(x.size(-2) > 0 && x.size(-2) % block == 0,
           "fold: Expected size of input's dimension 1 to be divisible by the product of "
           "kernel_size, but got input.size(1)=",
           x.size(-2), " and kernel_size=(", a.kernel[0], ", ", a.kernel[1], ")");
  int64_t n = 1;
  for (int i = 0; i < 2; ++i) n *= window_count(a.image[i], a.kernel[i], a.dilation[i], a.padding[i], a.stride[i]);
  FS_CHECK(x.size(-1) == n && n > 0, "fold: Given output_size=(", a.image[0], ", ", a.image[1], "), kernel_size=(",
           a.kernel[0], ", ", a.kernel[1], "), dilation=(", a.dilation[0], ", ", a.dilation[1], "), padding=(",
           a.padding[0], ", ", a.padding[1], "), stride=(", a.stride[0], ", ", a.stride[1],
           "), expected size of input's dimension 2 to match the calculated number of sliding blocks ", n,
           ", but got input.size(2)=", x.size(-1));
  if (x.dim() == 3) return apply1(op::col2im, {x}, a);
  return select(apply1(op::col2im, {unsqueeze(x, 0)}, a), 0, 0);
}

Tensor pixel_shuffle(const Tensor& x, int64_t r) {
  FS_CHECK(x.dim() >= 3, "pixel_shuffle expects input to have at least 3 dimensions, but got input with ", x.dim(),
           " dimension(s)");
  FS_CHECK(r > 0, "pixel_shuffle expects a positive upscale_factor, but got ", r);
  const int64_t c = x.size(-3), h = x.size(-2), w = x.size(-1);
  FS_CHECK(
      c % (r * r) == 0,
      "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of upscale_factor, but "
      "input.size(-3)=",
      c, " is not divisible by ", r * r);
  Dims lead(x.sizes().d, x.dim() - 3), split{-1, c / (r * r), r, r, h, w};
  int64_t batch = 1;
  for (int64_t n : lead) batch *= n;
  split[0] = batch;
  Dims out = lead;
  for (int64_t n : {c / (r * r), h * r, w * r}) out.push_back(n);
  return reshape(permute(reshape(x, split), Dims{0, 1, 4, 2, 5, 3}), out);
}

Tensor pixel_unshuffle(const Tensor& x, int64_t r) {
  FS_CHECK(x.dim() >= 3, "pixel_unshuffle expects input to have at least 3 dimensions, but got input with ", x.dim(),
           " dimension(s)");
  FS_CHECK(r > 0, "pixel_unshuffle expects a positive downscale_factor, but got ", r);
  const int64_t c = x.size(-3), h = x.size(-2), w = x.size(-1);
  FS_CHECK(h % r == 0 && w % r == 0,
           "pixel_unshuffle expects height and width to be divisible by downscale_factor, but got input of shape ",
           x.sizes(), " and factor ", r);
  Dims lead(x.sizes().d, x.dim() - 3);
  int64_t batch = 1;
  for (int64_t n : lead) batch *= n;
  Dims out = lead;
  for (int64_t n : {c * r * r, h / r, w / r}) out.push_back(n);
  return reshape(permute(reshape(x, Dims{batch, c, h / r, r, w / r, r}), Dims{0, 1, 3, 5, 2, 4}), out);
}

Tensor channel_shuffle(const Tensor& x, int64_t groups) {
  FS_CHECK(x.dim() > 2, "channel_shuffle expects input with > 2 dims, but got input with sizes ", x.sizes());
  const int64_t c = x.size(1);
  FS_CHECK(groups > 0,
           "channel_shuffle: number of groups to divide channels in must be positive. Value of groups:", groups);
  FS_CHECK(c % groups == 0, "channel_shuffle: Number of channels must be divisible by groups. Got ", c,
           " channels and ", groups, " groups.");
  const int64_t rest = x.numel() == 0 ? 0 : x.numel() / (x.size(0) * c);
  if (x.numel() == 0) return clone(x);
  return reshape(transpose(reshape(x, Dims{x.size(0), groups, c / groups, rest}), 1, 2), x.sizes());
}

}  // namespace fireseed

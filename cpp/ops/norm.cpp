// Records of batch_norm, layer_norm, rms_norm and group_norm; instance_norm and local_response_norm made of others.
#include "ops/norm.h"

#include <limits>

#include "engine/mode.h"
#include "ops/copy.h"
#include "ops/move.h"
#include "ops/pointwise.h"
#include "ops/records.h"
#include "ops/reduce.h"
#include "ops/shape.h"
#include "tensor/attrs/norm.h"

namespace fireseed {
namespace {

// Statistics are kept in the type they are computed in.
DType stat_dtype(DType t) { return is_half(t) ? DType::kFloat32 : t; }

// Shell of x's shape; in x's memory order where that is dense channels-last.
Tensor shell_like(const Tensor& x) {
  Tensor y = make_shell(x.sizes(), x.dtype(), x.device());
  if (x.is_contiguous() || x.dim() < 3 || x.stride(1) != 1) return y;
  Dims strides = Dims::filled(x.dim(), 1);
  int64_t step = x.size(1);
  for (int64_t d = x.dim() - 1; d >= 2; --d) {
    strides[d] = step;
    step *= x.size(d);
  }
  strides[0] = step;
  for (int64_t d = 0; d < x.dim(); ++d)
    if (x.size(d) != 1 && x.stride(d) != strides[d]) return y;
  for (int64_t d = 0; d < x.dim(); ++d) y.impl()->strides[d] = strides[d];
  y.impl()->refresh_contiguous();
  return y;
}

// [C] as [1, C, 1, ...]
Tensor per_channel(const Tensor& v, int64_t rank) {
  Dims sizes = Dims::filled(rank, 1);
  sizes[1] = v.size(0);
  return reshape(v, sizes);
}
Dims dims_but_channel(int64_t rank) {
  Dims r;
  for (int64_t d = 0; d < rank; ++d)
    if (d != 1) r.push_back(d);
  return r;
}

// ---- batch norm ---------------------------------------------------------------------------------------------

void batch_infer(Inputs in, const void*, Tensor* out) {
  out[0] = shell_like(in[0]);
  out[1] = make_shell(Dims{in[0].size(1)}, stat_dtype(in[0].dtype()), in[0].device());
  out[2] = make_shell(Dims{in[0].size(1)}, stat_dtype(in[0].dtype()), in[0].device());
}
void batch_backward_infer(Inputs in, const void*, Tensor* out) {
  out[0] = shell_like(in[1]);
  out[1] = make_shell(Dims{in[1].size(1)}, stat_dtype(in[1].dtype()), in[1].device());
  out[2] = make_shell(Dims{in[1].size(1)}, stat_dtype(in[1].dtype()), in[1].device());
}

// gx from xhat and the cotangent wg of xhat, where mean and variance over `dims` depend on x:
// gx = rstd (wg - mean(wg) - xhat mean(wg xhat))
Tensor through_statistics(const Tensor& wg, const Tensor& hat, const Tensor& rstd, const Dims& dims, bool centered) {
  Tensor r = wg - hat * mean(wg * hat, dims, true);
  if (centered) r = r - mean(wg, dims, true);
  return r * rstd;
}

void batch_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  if (!g[0].defined()) return;
  const auto& a = c.attrs<BatchNormAttrs>();
  const Tensor x = c.input(0), w = c.input(1);
  const Dims dims = dims_but_channel(x.dim());
  Tensor hat, rstd;
  if (a.training) {
    const Tensor center = x - mean(x, dims, true);
    rstd = rsqrt(mean(center * center, dims, true) + a.eps);
    hat = center * rstd;
  } else {
    rstd = to(per_channel(detach(c.output(2)), x.dim()), x.dtype());
    hat = (x - to(per_channel(detach(c.output(1)), x.dim()), x.dtype())) * rstd;
  }
  if (c.needs(0)) {
    const Tensor wg = w.defined() ? g[0] * per_channel(w, x.dim()) : g[0];
    gx[0] = a.training ? through_statistics(wg, hat, rstd, dims, true) : wg * rstd;
  }
  if (c.needs(1)) gx[1] = sum(g[0] * hat, dims);
  if (c.needs(2)) gx[2] = sum(g[0], dims);
}
void batch_vjp_fused(const Vjp& c, const Tensor* g, Tensor* gx) {
  if (!g[0].defined()) return;
  const Tensor in[] = {g[0], c.input(0), c.input(1), c.output(1), c.output(2)};
  Tensor out[3];
  apply(op::batch_norm_backward, in, &c.attrs<BatchNormAttrs>(), out);
  for (int i = 0; i < 3; ++i)
    if (c.needs(i)) gx[i] = out[i];
}

// ---- layer norm, rms norm -----------------------------------------------------------------------------------

int64_t rows_of(const Tensor& x, int64_t size) { return size ? x.numel() / size : 0; }

template <int kStats>
void rows_infer(Inputs in, const void* attrs, Tensor* out) {
  const auto& a = *static_cast<const LayerNormAttrs*>(attrs);
  out[0] = make_shell(in[0].sizes(), in[0].dtype(), in[0].device());
  for (int i = 1; i <= kStats; ++i)
    out[i] = make_shell(Dims{rows_of(in[0], a.size)}, stat_dtype(in[0].dtype()), in[0].device());
}
template <int kParams>
void rows_backward_infer(Inputs in, const void* attrs, Tensor* out) {
  const auto& a = *static_cast<const LayerNormAttrs*>(attrs);
  out[0] = make_shell(in[1].sizes(), in[1].dtype(), in[1].device());
  for (int i = 1; i <= kParams; ++i) out[i] = make_shell(Dims{a.size}, stat_dtype(in[1].dtype()), in[1].device());
}

template <bool kCenter>
void rows_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  if (!g[0].defined()) return;
  const auto& a = c.attrs<LayerNormAttrs>();
  const Tensor input = c.input(0), weight = c.input(1);
  const Dims flat{rows_of(input, a.size), a.size}, last{1};
  const Tensor x = reshape(input, flat), gf = reshape(g[0], flat);
  const Tensor center = kCenter ? x - mean(x, last, true) : x;
  const Tensor rstd = rsqrt(mean(center * center, last, true) + a.eps), hat = center * rstd;
  if (c.needs(0)) {
    const Tensor wg = weight.defined() ? gf * reshape(weight, Dims{1, a.size}) : gf;
    gx[0] = reshape(through_statistics(wg, hat, rstd, last, kCenter), input.sizes());
  }
  if (c.needs(1)) gx[1] = reshape(sum(gf * hat, Dims{0}), c.input_sizes(1));
  if (kCenter && c.needs(2)) gx[2] = reshape(sum(gf, Dims{0}), c.input_sizes(2));
}
void layer_vjp_fused(const Vjp& c, const Tensor* g, Tensor* gx) {
  if (!g[0].defined()) return;
  const Tensor in[] = {g[0], c.input(0), c.input(1), c.output(1), c.output(2)};
  Tensor out[3];
  apply(op::layer_norm_backward, in, &c.attrs<LayerNormAttrs>(), out);
  if (c.needs(0)) gx[0] = out[0];
  for (int i = 1; i < 3; ++i)
    if (c.needs(i)) gx[i] = view(out[i], c.input_sizes(i));
}
void rms_vjp_fused(const Vjp& c, const Tensor* g, Tensor* gx) {
  if (!g[0].defined()) return;
  const Tensor in[] = {g[0], c.input(0), c.input(1), c.output(1)};
  Tensor out[2];
  apply(op::rms_norm_backward, in, &c.attrs<LayerNormAttrs>(), out);
  if (c.needs(0)) gx[0] = out[0];
  if (c.needs(1)) gx[1] = view(out[1], c.input_sizes(1));
}

// ---- group norm ---------------------------------------------------------------------------------------------

void group_infer(Inputs in, const void* attrs, Tensor* out) {
  const auto& a = *static_cast<const GroupNormAttrs*>(attrs);
  out[0] = make_shell(in[0].sizes(), in[0].dtype(), in[0].device());
  for (int i = 1; i < 3; ++i)
    out[i] = make_shell(Dims{in[0].size(0), a.groups}, stat_dtype(in[0].dtype()), in[0].device());
}
void group_backward_infer(Inputs in, const void*, Tensor* out) {
  out[0] = make_shell(in[1].sizes(), in[1].dtype(), in[1].device());
  for (int i = 1; i < 3; ++i) out[i] = make_shell(Dims{in[1].size(1)}, stat_dtype(in[1].dtype()), in[1].device());
}
void group_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  if (!g[0].defined()) return;
  const auto& a = c.attrs<GroupNormAttrs>();
  const Tensor x = c.input(0), w = c.input(1);
  const Dims grouped{x.size(0), a.groups, x.size(0) && a.groups ? x.numel() / (x.size(0) * a.groups) : 0}, last{2};
  const Tensor xg = reshape(x, grouped);
  const Tensor center = xg - mean(xg, last, true), rstd = rsqrt(mean(center * center, last, true) + a.eps);
  const Tensor hat = center * rstd;
  if (c.needs(0)) {
    const Tensor wg = w.defined() ? g[0] * per_channel(w, x.dim()) : g[0];
    gx[0] = reshape(through_statistics(reshape(wg, grouped), hat, rstd, last, true), x.sizes());
  }
  const Dims dims = dims_but_channel(x.dim());
  if (c.needs(1)) gx[1] = sum(g[0] * reshape(hat, x.sizes()), dims);
  if (c.needs(2)) gx[2] = sum(g[0], dims);
}
void group_vjp_fused(const Vjp& c, const Tensor* g, Tensor* gx) {
  if (!g[0].defined()) return;
  const Tensor in[] = {g[0], c.input(0), c.input(1), c.output(1), c.output(2)};
  Tensor out[3];
  apply(op::group_norm_backward, in, &c.attrs<GroupNormAttrs>(), out);
  for (int i = 0; i < 3; ++i)
    if (c.needs(i)) gx[i] = out[i];
}

// ---- checks -------------------------------------------------------------------------------------------------

void require_floating(const Tensor& x, const char* op) {
  FS_CHECK_KIND(x.is_floating(), ErrorKind::kNotImplemented, op, ": expected a floating point input, got ",
                dtype_name(x.dtype()));
}
// An optional parameter of `size` elements.
void check_channels(const Tensor& v, int64_t size, const char* op, const char* what) {
  if (!v.defined()) return;
  FS_CHECK(v.dim() == 1 && v.size(0) == size, op, ": ", what, " should contain ", size, " elements not ", v.numel(),
           " (shape ", v.sizes(), ")");
  FS_CHECK(v.is_floating(), op, ": ", what, " must be floating point, got ", dtype_name(v.dtype()));
}
int64_t check_shape(const Tensor& x, const Dims& shape, const Tensor& weight, const Tensor& bias, const char* op) {
  FS_CHECK(shape.n >= 1, op,
           ": Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one element, "
           "but got normalized_shape = ",
           shape);
  for (const Tensor* p : {&weight, &bias})
    FS_CHECK(!p->defined() || p->sizes() == shape, op, ": Expected ", p == &weight ? "weight" : "bias",
             " to be of same shape as normalized_shape, but got shape ", p->defined() ? p->sizes() : Dims{},
             " and normalized_shape = ", shape);
  bool ok = x.dim() >= shape.n;
  for (int64_t d = 0; ok && d < shape.n; ++d) ok = x.size(x.dim() - shape.n + d) == shape[d];
  FS_CHECK(ok, op, ": Given normalized_shape=", shape, ", expected input with shape [*, ", shape,
           "], but got input of size", x.sizes());
  return numel_of(shape);
}

}  // namespace

constinit Op op::batch_norm{.name = "batch_norm",
                            .flags = kMutatesInputs,
                            .saves = save_input(0) | save_input(1) | save_output(1) | save_output(2),
                            .attrs_size = sizeof(BatchNormAttrs),
                            .num_outputs = 3,
                            .infer = batch_infer,
                            .vjp = batch_vjp,
                            .vjp_fused = batch_vjp_fused};
constinit Op op::batch_norm_backward{.name = "batch_norm_backward",
                                     .flags = kNotDifferentiable,
                                     .attrs_size = sizeof(BatchNormAttrs),
                                     .num_outputs = 3,
                                     .infer = batch_backward_infer};
constinit Op op::layer_norm{.name = "layer_norm",
                            .saves = save_input(0) | save_input(1) | save_output(1) | save_output(2),
                            .attrs_size = sizeof(LayerNormAttrs),
                            .num_outputs = 3,
                            .infer = rows_infer<2>,
                            .vjp = rows_vjp<true>,
                            .vjp_fused = layer_vjp_fused};
constinit Op op::layer_norm_backward{.name = "layer_norm_backward",
                                     .flags = kNotDifferentiable,
                                     .attrs_size = sizeof(LayerNormAttrs),
                                     .num_outputs = 3,
                                     .infer = rows_backward_infer<2>};
constinit Op op::rms_norm{.name = "rms_norm",
                          .saves = save_input(0) | save_input(1) | save_output(1),
                          .attrs_size = sizeof(LayerNormAttrs),
                          .num_outputs = 2,
                          .infer = rows_infer<1>,
                          .vjp = rows_vjp<false>,
                          .vjp_fused = rms_vjp_fused};
constinit Op op::rms_norm_backward{.name = "rms_norm_backward",
                                   .flags = kNotDifferentiable,
                                   .attrs_size = sizeof(LayerNormAttrs),
                                   .num_outputs = 2,
                                   .infer = rows_backward_infer<1>};
constinit Op op::group_norm{.name = "group_norm",
                            .saves = save_input(0) | save_input(1) | save_output(1) | save_output(2),
                            .attrs_size = sizeof(GroupNormAttrs),
                            .num_outputs = 3,
                            .infer = group_infer,
                            .vjp = group_vjp,
                            .vjp_fused = group_vjp_fused};
constinit Op op::group_norm_backward{.name = "group_norm_backward",
                                     .flags = kNotDifferentiable,
                                     .attrs_size = sizeof(GroupNormAttrs),
                                     .num_outputs = 3,
                                     .infer = group_backward_infer};

Tensor batch_norm(const Tensor& x, const Tensor& running_mean, const Tensor& running_var, const Tensor& weight,
                  const Tensor& bias, bool training, double momentum, double eps) {
  require_floating(x, "batch_norm");
  FS_CHECK_VALUE(eps > 0, "batch_norm: eps must be positive, but got ", eps);
  if (x.dim() == 1 && x.numel() == 0) return x + 0.0;  // no channels: nothing to normalise
  FS_CHECK(x.dim() >= 2, "batch_norm: expected an input of at least 2 dimensions (N, C, ...), got shape ", x.sizes());
  const int64_t channels = x.size(1);
  check_channels(running_mean, channels, "batch_norm", "running_mean");
  check_channels(running_var, channels, "batch_norm", "running_var");
  check_channels(weight, channels, "batch_norm", "weight");
  check_channels(bias, channels, "batch_norm", "bias");
  if (training) {
    FS_CHECK_VALUE(channels == 0 || x.numel() / channels != 1,
                   "batch_norm: Expected more than 1 value per channel when training, "
                   "got input size ",
                   x.sizes());
  } else {
    FS_CHECK(running_mean.defined() && running_var.defined(),
             "batch_norm: Expected running_mean and running_var to be defined "
             "when training=False");
  }
  const Tensor in[] = {x, weight, bias, running_mean, running_var};
  const BatchNormAttrs a{training, momentum, eps};
  Tensor out[3];
  apply(op::batch_norm, in, &a, out);
  if (training) {
    if (running_mean.defined()) running_mean.bump_version();
    if (running_var.defined()) running_var.bump_version();
  }
  return out[0];
}

Tensor layer_norm(const Tensor& x, const Dims& shape, const Tensor& weight, const Tensor& bias, double eps) {
  require_floating(x, "layer_norm");
  const int64_t size = check_shape(x, shape, weight, bias, "layer_norm");
  const Tensor in[] = {x, weight, bias};
  const LayerNormAttrs a{size, eps};
  Tensor out[3];
  apply(op::layer_norm, in, &a, out);
  return out[0];
}

Tensor rms_norm(const Tensor& x, const Dims& shape, const Tensor& weight, double eps) {
  require_floating(x, "rms_norm");
  const int64_t size = check_shape(x, shape, weight, Tensor(), "rms_norm");
  if (eps != eps) {
    eps = x.dtype() == DType::kFloat64   ? std::numeric_limits<double>::epsilon()
          : x.dtype() == DType::kFloat32 ? 1.1920928955078125e-07
          : x.dtype() == DType::kFloat16 ? 0.0009765625
                                         : 0.0078125;
  }
  const Tensor in[] = {x, weight};
  const LayerNormAttrs a{size, eps};
  Tensor out[2];
  apply(op::rms_norm, in, &a, out);
  return out[0];
}

Tensor group_norm(const Tensor& x, int64_t groups, const Tensor& weight, const Tensor& bias, double eps) {
  require_floating(x, "group_norm");
  FS_CHECK(x.dim() >= 2, "group_norm: Expected at least 2 dimensions for input tensor but received ", x.dim(),
           " (shape ", x.sizes(), ")");
  const int64_t channels = x.size(1);
  FS_CHECK(groups > 0, "group_norm: Expected num groups to be greater than 0, got ", groups);
  FS_CHECK(channels % groups == 0,
           "group_norm: Expected number of channels in input to be divisible by num_groups, but got "
           "input of shape ",
           x.sizes(), " and num_groups=", groups);
  check_channels(weight, channels, "group_norm", "weight");
  check_channels(bias, channels, "group_norm", "bias");
  const Tensor in[] = {x, weight, bias};
  const GroupNormAttrs a{groups, eps};
  Tensor out[3];
  apply(op::group_norm, in, &a, out);
  return out[0];
}

Tensor instance_norm(const Tensor& x, const Tensor& running_mean, const Tensor& running_var, const Tensor& weight,
                     const Tensor& bias, bool use_input_stats, double momentum, double eps) {
  require_floating(x, "instance_norm");
  FS_CHECK(x.dim() >= 2, "instance_norm: expected an input of at least 2 dimensions (N, C, ...), got shape ",
           x.sizes());
  FS_CHECK(use_input_stats || (running_mean.defined() && running_var.defined()),
           "instance_norm: Expected running_mean and running_var to be defined when use_input_stats is false");
  if (!use_input_stats) return batch_norm(x, running_mean, running_var, weight, bias, false, momentum, eps);
  const int64_t n = x.size(0), channels = x.size(1);
  FS_CHECK_VALUE(n * channels == 0 || x.numel() / (n * channels) != 1,
                 "instance_norm: Expected more than 1 spatial element when training, got input size ", x.sizes());
  if (!running_mean.defined() && !running_var.defined()) return group_norm(x, channels, weight, bias, eps);
  // One batch of N·C channels, whose statistics are averaged over N afterwards.
  Dims sizes = x.sizes();
  sizes[0] = 1;
  sizes[1] = n * channels;
  auto spread = [&](const Tensor& v) { return v.defined() ? repeat(v, Dims{n}) : v; };
  const Tensor mean_n = spread(running_mean), var_n = spread(running_var);
  const Tensor y =
      batch_norm(reshape(contiguous(x), sizes), mean_n, var_n, spread(weight), spread(bias), true, momentum, eps);
  {
    const GradMode off(false);
    if (running_mean.defined()) copy_(running_mean, mean(view(mean_n, Dims{n, channels}), Dims{0}));
    if (running_var.defined()) copy_(running_var, mean(view(var_n, Dims{n, channels}), Dims{0}));
  }
  return reshape(y, x.sizes());
}

Tensor local_response_norm(const Tensor& x, int64_t size, double alpha, double beta, double k) {
  FS_CHECK_VALUE(x.dim() >= 3, "local_response_norm: Expected 3D or higher dimensionality input (got ", x.dim(),
                 " dimensions)");
  FS_CHECK_VALUE(size > 0, "local_response_norm: size must be positive, got ", size);
  if (x.numel() == 0) return x;
  Dims before = x.sizes(), after = x.sizes();
  before[1] = size / 2;
  after[1] = (size - 1) / 2;
  const Tensor parts[] = {zeros(before, x.dtype(), x.device()), x * x, zeros(after, x.dtype(), x.device())};
  const Tensor window = mean(unfold(cat(parts, 1), 1, size, 1), Dims{-1});
  return x / pow(window * alpha + k, beta);
}

}  // namespace fireseed

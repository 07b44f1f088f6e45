// Pooling: checks, records, gradients.
#include "ops/pool.h"

#include "engine/mode.h"
#include "ops/activation.h"
#include "ops/copy.h"
#include "ops/creation.h"
#include "ops/index.h"
#include "ops/layout.h"
#include "ops/pointwise.h"
#include "ops/records.h"
#include "ops/shape.h"
#include "tensor/attrs/pool.h"

namespace fireseed {
namespace {

// --- layout and shapes
// ----------------------------------------------------------------------------------------------

Dims with_spatial(const Dims& sizes, int64_t spatial, const int64_t (&values)[3]) {
  Dims r = sizes;
  for (int64_t i = 0; i < spatial; ++i) r[r.n - spatial + i] = values[3 - spatial + i];
  return r;
}

int64_t pooled_size(const PoolAttrs& a, int64_t n, int i) {
  int64_t reach = n + 2 * a.padding[i] - a.dilation[i] * (a.kernel[i] - 1) - 1 + (a.ceil_mode ? a.stride[i] - 1 : 0);
  int64_t r = reach >= 0 ? reach / a.stride[i] : -((-reach + a.stride[i] - 1) / a.stride[i]);
  r += 1;
  if (a.ceil_mode && (r - 1) * a.stride[i] >= n + a.padding[i]) --r;  // the last window must start inside
  return r;
}

// --- checks
// ---------------------------------------------------------------------------------------------------------

void fill_entries(int64_t (&to)[3], const Dims& from, int64_t spatial, int64_t least, const char* op,
                  const char* what) {
  FS_CHECK(from.n == 1 || from.n == spatial, op, ": ", what, " must either be a single int, or a tuple of ", spatial,
           " ints, got ", from);
  for (int64_t i = 0; i < spatial; ++i) {
    const int64_t v = from.n == 1 ? from[0] : from[i];
    FS_CHECK(v >= least, op, ": ", what, " should be ", least == 0 ? "at least zero" : "greater than zero",
             ", but got ", from);
    to[3 - spatial + i] = v;
  }
}

void check_input(const Tensor& x, int64_t spatial, const char* op) {
  FS_CHECK(x.dim() == spatial + 1 || x.dim() == spatial + 2, op, ": Expected ", spatial + 1, "D or ", spatial + 2,
           "D (batch mode) tensor with optional 0 dim batch size for input, but got: ", x.sizes());
  for (int64_t d = x.dim() - spatial - 1; d < x.dim(); ++d)
    FS_CHECK(x.size(d) > 0, op, ": Expected ", spatial + 1, "D or ", spatial + 2,
             "D (batch mode) tensor with optional 0 dim batch size for input, but got: ", x.sizes());
}

void note_input(int64_t (&in)[3], const Tensor& x, int64_t spatial, const char* op) {
  int64_t plane = 1;
  for (int64_t i = 0; i < spatial; ++i) {
    in[3 - spatial + i] = x.size(x.dim() - spatial + i);
    plane *= in[3 - spatial + i];
  }
  FS_CHECK(plane < (int64_t{1} << 31), op, ": planes of 2^31 elements or more are not supported, got shape ",
           x.sizes());
}

PoolAttrs pool_attrs(const Tensor& x, int64_t spatial, const Dims& kernel, const Dims& stride, const Dims& padding,
                     const Dims& dilation, bool ceil_mode, const char* op) {
  PoolAttrs a;
  a.spatial = spatial;
  a.ceil_mode = ceil_mode;
  fill_entries(a.kernel, kernel, spatial, 1, op, "kernel_size");
  fill_entries(a.stride, stride.n ? stride : kernel, spatial, 1, op, "stride");
  fill_entries(a.padding, padding, spatial, 0, op, "padding");
  fill_entries(a.dilation, dilation, spatial, 1, op, "dilation");
  check_input(x, spatial, op);
  for (int i = 0; i < 3; ++i)
    FS_CHECK(a.padding[i] <= ((a.kernel[i] - 1) * a.dilation[i] + 1) / 2, op,
             ": pad should be at most half of effective kernel size, but got pad=", a.padding[i],
             ", kernel_size=", a.kernel[i], " and dilation=", a.dilation[i]);
  note_input(a.in, x, spatial, op);
  for (int64_t i = 3 - spatial; i < 3; ++i) {
    const int64_t n = pooled_size(a, a.in[i], static_cast<int>(i));
    FS_CHECK(n >= 1, op, ": Given input size ", x.sizes(), ", kernel_size ", kernel, ": the output size ", n,
             " of spatial dimension ", i - 3 + spatial, " is too small");
  }
  return a;
}

// --- max pooling
// ----------------------------------------------------------------------------------------------------

Dims pooled_sizes(const Tensor& x, const PoolAttrs& a) {
  int64_t out[3];
  for (int i = 0; i < 3; ++i) out[i] = pooled_size(a, a.in[i], i);
  return with_spatial(x.sizes(), a.spatial, out);
}
void pool_infer(Inputs in, const void* attrs, Tensor* out) {
  out[0] = shell_like(pooled_sizes(in[0], *static_cast<const PoolAttrs*>(attrs)), in[0].dtype(), in[0]);
}
void max_pool_with_indices_infer(Inputs in, const void* attrs, Tensor* out) {
  pool_infer(in, attrs, out);
  out[1] = shell_like(out[0].sizes(), DType::kInt64, in[0]);
}
void max_pool_with_window_infer(Inputs in, const void* attrs, Tensor* out) {
  pool_infer(in, attrs, out);
  out[1] = shell_like(out[0].sizes(), DType::kUInt8, in[0]);
}
void max_pool_with_indices_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  if (g[0].defined()) gx[0] = apply1(op::max_pool_backward, {g[0], c.output(1)}, c.attrs<PoolAttrs>());
}
void max_pool_with_window_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  if (g[0].defined()) gx[0] = apply1(op::max_pool_window_backward, {g[0], c.output(1)}, c.attrs<PoolAttrs>());
}
void pool_backward_infer(Inputs in, const void* attrs, Tensor* out) {
  const auto& a = *static_cast<const PoolAttrs*>(attrs);
  out[0] = shell_like(with_spatial(in[0].sizes(), a.spatial, a.in), in[0].dtype(), in[0]);
}
// Values of x's planes at flat positions.
Tensor gather_planes(const Tensor& x, const Tensor& indices, int64_t spatial) {
  const int64_t from = x.dim() - spatial;
  return reshape(gather(flatten(x, from, -1), from, flatten(indices, from, -1)), indices.sizes());
}
void max_pool_backward_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  gx[0] = gather_planes(g[0], c.input(1), c.attrs<PoolAttrs>().spatial);
}
void max_pool_window_backward_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  const auto& a = c.attrs<PoolAttrs>();
  gx[0] = gather_planes(g[0], apply1(op::max_pool_window_indices, {c.input(1)}, a), a.spatial);
}
void window_indices_infer(Inputs in, const void*, Tensor* out) {
  out[0] = make_shell(in[0].sizes(), DType::kInt64, in[0].device());
}

// --- average pooling
// ------------------------------------------------------------------------------------------------

void avg_pool_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  gx[0] = apply1(op::avg_pool_backward, {g[0]}, c.attrs<PoolAttrs>());
}
void avg_pool_backward_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  gx[0] = apply1(op::avg_pool, {g[0]}, c.attrs<PoolAttrs>());
}

// --- adaptive pooling
// -----------------------------------------------------------------------------------------------

void adaptive_infer(Inputs in, const void* attrs, Tensor* out) {
  const auto& a = *static_cast<const AdaptivePoolAttrs*>(attrs);
  out[0] = shell_like(with_spatial(in[0].sizes(), a.spatial, a.out), in[0].dtype(), in[0]);
}
void adaptive_max_infer(Inputs in, const void* attrs, Tensor* out) {
  adaptive_infer(in, attrs, out);
  out[1] = shell_like(out[0].sizes(), DType::kInt64, in[0]);
}
void adaptive_backward_infer(Inputs in, const void* attrs, Tensor* out) {
  const auto& a = *static_cast<const AdaptivePoolAttrs*>(attrs);
  out[0] = shell_like(with_spatial(in[0].sizes(), a.spatial, a.in), in[0].dtype(), in[0]);
}
void adaptive_avg_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  gx[0] = apply1(op::adaptive_avg_pool_backward, {g[0]}, c.attrs<AdaptivePoolAttrs>());
}
void adaptive_avg_backward_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  gx[0] = apply1(op::adaptive_avg_pool, {g[0]}, c.attrs<AdaptivePoolAttrs>());
}
void adaptive_max_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  if (!g[0].defined()) return;
  const auto& a = c.attrs<AdaptivePoolAttrs>();
  PoolAttrs p;
  p.spatial = a.spatial;
  for (int i = 0; i < 3; ++i) p.in[i] = a.in[i];
  gx[0] = apply1(op::max_pool_backward, {g[0], c.output(1)}, p);
}

AdaptivePoolAttrs adaptive_attrs(const Tensor& x, int64_t spatial, const Dims& output_size, const char* op) {
  check_input(x, spatial, op);
  FS_CHECK(output_size.n == 1 || output_size.n == spatial, op, ": output_size must be ", spatial, " numbers, got ",
           output_size);
  AdaptivePoolAttrs a;
  a.spatial = spatial;
  note_input(a.in, x, spatial, op);
  for (int64_t i = 0; i < spatial; ++i) {
    const int64_t n = output_size.n == 1 ? output_size[0] : output_size[i];
    FS_CHECK(n >= -1, op, ": elements of output_size must be greater than or equal to 0, got ", output_size);
    a.out[3 - spatial + i] = n == -1 ? a.in[3 - spatial + i] : n;
  }
  return a;
}

const char* name_of(const char* const (&names)[3], int64_t spatial) { return names[spatial - 1]; }
constexpr const char* kMaxNames[3] = {"max_pool1d", "max_pool2d", "max_pool3d"};
constexpr const char* kAvgNames[3] = {"avg_pool1d", "avg_pool2d", "avg_pool3d"};
constexpr const char* kAdaptiveAvgNames[3] = {"adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d"};
constexpr const char* kAdaptiveMaxNames[3] = {"adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d"};

void floats_only(const Tensor& x, const char* op) {
  FS_CHECK_KIND(x.is_floating(), ErrorKind::kNotImplemented, "\"", op, "\" not implemented for '",
                dtype_name(x.dtype()), "'");
}

}  // namespace

constinit Op op::max_pool{
    .name = "max_pool", .flags = kNotDifferentiable, .attrs_size = sizeof(PoolAttrs), .infer = pool_infer};
constinit Op op::max_pool_with_indices{.name = "max_pool_with_indices",
                                       .saves = save_output(1),
                                       .attrs_size = sizeof(PoolAttrs),
                                       .num_outputs = 2,
                                       .infer = max_pool_with_indices_infer,
                                       .vjp = max_pool_with_indices_vjp};
constinit Op op::max_pool_with_window{.name = "max_pool_with_window",
                                      .saves = save_output(1),
                                      .attrs_size = sizeof(PoolAttrs),
                                      .num_outputs = 2,
                                      .infer = max_pool_with_window_infer,
                                      .vjp = max_pool_with_window_vjp};
constinit Op op::max_pool_backward{.name = "max_pool_backward",
                                   .saves = save_input(1),
                                   .attrs_size = sizeof(PoolAttrs),
                                   .infer = pool_backward_infer,
                                   .vjp = max_pool_backward_vjp};
constinit Op op::max_pool_window_backward{.name = "max_pool_window_backward",
                                          .saves = save_input(1),
                                          .attrs_size = sizeof(PoolAttrs),
                                          .infer = pool_backward_infer,
                                          .vjp = max_pool_window_backward_vjp};
constinit Op op::max_pool_window_indices{.name = "max_pool_window_indices",
                                         .flags = kNotDifferentiable,
                                         .attrs_size = sizeof(PoolAttrs),
                                         .infer = window_indices_infer};
constinit Op op::avg_pool{
    .name = "avg_pool", .attrs_size = sizeof(PoolAttrs), .infer = pool_infer, .vjp = avg_pool_vjp};
constinit Op op::avg_pool_backward{.name = "avg_pool_backward",
                                   .attrs_size = sizeof(PoolAttrs),
                                   .infer = pool_backward_infer,
                                   .vjp = avg_pool_backward_vjp};
constinit Op op::adaptive_avg_pool{.name = "adaptive_avg_pool",
                                   .attrs_size = sizeof(AdaptivePoolAttrs),
                                   .infer = adaptive_infer,
                                   .vjp = adaptive_avg_vjp};
constinit Op op::adaptive_avg_pool_backward{.name = "adaptive_avg_pool_backward",
                                            .attrs_size = sizeof(AdaptivePoolAttrs),
                                            .infer = adaptive_backward_infer,
                                            .vjp = adaptive_avg_backward_vjp};
constinit Op op::adaptive_max_pool{.name = "adaptive_max_pool",
                                   .saves = save_output(1),
                                   .attrs_size = sizeof(AdaptivePoolAttrs),
                                   .num_outputs = 2,
                                   .infer = adaptive_max_infer,
                                   .vjp = adaptive_max_vjp};

Tensor max_pool(const Tensor& x, int64_t spatial, const Dims& kernel, const Dims& stride, const Dims& padding,
                const Dims& dilation, bool ceil_mode) {
  const char* name = name_of(kMaxNames, spatial);
  const PoolAttrs a = pool_attrs(x, spatial, kernel, stride, padding, dilation, ceil_mode, name);
  FS_CHECK_KIND(x.dtype() != DType::kBool, ErrorKind::kNotImplemented, "\"", name, "\" not implemented for 'bool'");
  if (!mode.grad_enabled || !x.requires_grad()) return apply1(op::max_pool, {x}, a);
  const bool small = a.kernel[0] * a.kernel[1] * a.kernel[2] <= 255;
  Tensor out[2];
  apply(small ? op::max_pool_with_window : op::max_pool_with_indices, Inputs(&x, 1), &a, out);
  return out[0];
}

std::pair<Tensor, Tensor> max_pool_with_indices(const Tensor& x, int64_t spatial, const Dims& kernel,
                                                const Dims& stride, const Dims& padding, const Dims& dilation,
                                                bool ceil_mode) {
  const char* name = name_of(kMaxNames, spatial);
  const PoolAttrs a = pool_attrs(x, spatial, kernel, stride, padding, dilation, ceil_mode, name);
  FS_CHECK_KIND(x.dtype() != DType::kBool, ErrorKind::kNotImplemented, "\"", name, "\" not implemented for 'bool'");
  Tensor out[2];
  apply(op::max_pool_with_indices, Inputs(&x, 1), &a, out);
  return {out[0], out[1]};
}

Tensor avg_pool(const Tensor& x, int64_t spatial, const Dims& kernel, const Dims& stride, const Dims& padding,
                bool ceil_mode, bool count_include_pad, std::optional<int64_t> divisor_override) {
  const char* name = name_of(kAvgNames, spatial);
  PoolAttrs a = pool_attrs(x, spatial, kernel, stride, padding, Dims{1}, ceil_mode, name);
  floats_only(x, name);
  a.count_include_pad = count_include_pad;
  if (divisor_override) {
    FS_CHECK(*divisor_override != 0, name, ": divisor must be not zero");
    a.divisor_override = *divisor_override;
  }
  return apply1(op::avg_pool, {x}, a);
}

Tensor adaptive_avg_pool(const Tensor& x, int64_t spatial, const Dims& output_size) {
  const char* name = name_of(kAdaptiveAvgNames, spatial);
  const AdaptivePoolAttrs a = adaptive_attrs(x, spatial, output_size, name);
  floats_only(x, name);
  return apply1(op::adaptive_avg_pool, {x}, a);
}

std::pair<Tensor, Tensor> adaptive_max_pool(const Tensor& x, int64_t spatial, const Dims& output_size) {
  const char* name = name_of(kAdaptiveMaxNames, spatial);
  const AdaptivePoolAttrs a = adaptive_attrs(x, spatial, output_size, name);
  floats_only(x, name);
  Tensor out[2];
  apply(op::adaptive_max_pool, Inputs(&x, 1), &a, out);
  return {out[0], out[1]};
}

Tensor max_unpool(const Tensor& x, const Tensor& indices, int64_t spatial, const Dims& kernel, const Dims& stride,
                  const Dims& padding, const Dims& output_size) {
  constexpr const char* op = "max_unpool";
  FS_CHECK(indices.dtype() == DType::kInt64, op,
           ": elements in indices should be type int64 but got: ", dtype_name(indices.dtype()));
  FS_CHECK(x.same_shape(indices), op, ": Expected shape of indices to be same as that of the input tensor (",
           x.sizes(), ") but got indices tensor with shape: ", indices.sizes());
  FS_CHECK(x.dim() == spatial + 1 || x.dim() == spatial + 2, op, ": Input to max_unpooling should be a ", spatial + 1,
           "d or ", spatial + 2, "d Tensor, but got a tensor with shape ", x.sizes());
  int64_t k[3], s[3], p[3];
  fill_entries(k, kernel, spatial, 1, op, "kernel_size");
  fill_entries(s, stride.n ? stride : kernel, spatial, 1, op, "stride");
  fill_entries(p, padding, spatial, 0, op, "padding");
  Dims sizes = x.sizes();
  int64_t plane = 1;
  for (int64_t i = 0; i < spatial; ++i) {
    const int64_t d = sizes.n - spatial + i, j = 3 - spatial + i;
    const int64_t smallest = (x.size(d) - 1) * s[j] + k[j] - 2 * p[j];
    sizes[d] = smallest;
    if (output_size.n) {
      FS_CHECK_VALUE(output_size.n == spatial || output_size.n == spatial + 2, op,
                     ": output_size should be a sequence containing ", spatial, " or ", spatial + 2,
                     " elements, but it has a length of '", output_size.n, "'");
      sizes[d] = output_size[output_size.n - spatial + i];
      FS_CHECK_VALUE(sizes[d] > smallest - s[j] && sizes[d] < smallest + s[j], op, ": invalid output_size ",
                     output_size, " (dim ", i, " must be between ", smallest - s[j], " and ", smallest + s[j], ")");
    }
    plane *= sizes[d];
  }
  const int64_t from = x.dim() - spatial;
  Dims flat(sizes.d, from);
  flat.push_back(plane);
  return reshape(scatter(zeros(flat, x.dtype(), x.device()), from, flatten(indices, from, -1), flatten(x, from, -1)),
                 sizes);
}

Tensor lp_pool(const Tensor& x, int64_t spatial, double norm_type, const Dims& kernel, const Dims& stride,
               bool ceil_mode) {
  int64_t count = 1;
  for (int64_t i = 0; i < spatial; ++i) count *= kernel.n == 1 ? kernel[0] : kernel[i];
  const Tensor mean = avg_pool(pow(x, norm_type), spatial, kernel, stride, Dims{0}, ceil_mode);
  const Tensor positive = relu(abs(mean));  // NaN passes, with its gradient
  return pow(sign(mean) * positive * static_cast<double>(count), 1.0 / norm_type);
}

}  // namespace fireseed

// Resampling: checks, records, gradients.
#include "ops/interpolate.h"

#include <cmath>
#include <string>

#include "ops/pool.h"
#include "ops/records.h"
#include "tensor/attrs/interpolate.h"

namespace fireseed {
namespace {

void resize_infer(Inputs in, const InterpolateAttrs& a, const int64_t (&to)[3], Tensor* out) {
  Dims sizes = in[0].sizes();
  for (int64_t i = 0; i < a.spatial; ++i) sizes[2 + i] = to[3 - a.spatial + i];
  out[0] = make_shell(sizes, in[0].dtype(), in[0].device());
}
void interpolate_infer(Inputs in, const void* attrs, Tensor* out) {
  const auto& a = *static_cast<const InterpolateAttrs*>(attrs);
  resize_infer(in, a, a.out, out);
}
void interpolate_backward_infer(Inputs in, const void* attrs, Tensor* out) {
  const auto& a = *static_cast<const InterpolateAttrs*>(attrs);
  resize_infer(in, a, a.in, out);
}
void interpolate_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  gx[0] = apply1(op::interpolate_backward, {g[0]}, c.attrs<InterpolateAttrs>());
}
void interpolate_backward_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  gx[0] = apply1(op::interpolate, {g[0]}, c.attrs<InterpolateAttrs>());
}

}  // namespace

constinit Op op::interpolate{.name = "interpolate",
                             .attrs_size = sizeof(InterpolateAttrs),
                             .infer = interpolate_infer,
                             .vjp = interpolate_vjp};
constinit Op op::interpolate_backward{.name = "interpolate_backward",
                                      .attrs_size = sizeof(InterpolateAttrs),
                                      .infer = interpolate_backward_infer,
                                      .vjp = interpolate_backward_vjp};

Tensor interpolate(const Tensor& x, const std::optional<Dims>& size,
                   const std::optional<std::vector<double>>& scale_factor, std::string_view mode,
                   std::optional<bool> align_corners, std::optional<bool> recompute_scale_factor, bool antialias) {
  const std::string name(mode);
  const bool nearest = mode == "nearest" || mode == "nearest-exact";
  const bool area = mode == "area";
  const bool linear = mode == "linear" || mode == "bilinear" || mode == "trilinear";
  if (nearest || area) {
    FS_CHECK_VALUE(
        !align_corners,
        "align_corners option can only be set with the interpolating modes: linear | bilinear | bicubic | trilinear");
  }
  const int64_t spatial = x.dim() - 2;
  FS_CHECK_KIND(spatial >= 1 && spatial <= 3, ErrorKind::kNotImplemented,
                "Input Error: Only 3D, 4D and 5D input Tensors supported (got ", x.dim(),
                "D) for the modes: nearest | linear | bilinear | bicubic | trilinear | area | nearest-exact (got ",
                name, ")");
  FS_CHECK_VALUE(!(size && scale_factor), "only one of size or scale_factor should be defined");
  FS_CHECK_VALUE(size || scale_factor, "either size or scale_factor should be defined");
  InterpolateAttrs a;
  a.spatial = spatial;
  Dims output;
  if (size) {
    FS_CHECK_VALUE(
        size->n == 1 || size->n == spatial,
        "Input and output must have the same number of spatial dimensions, but got input with "
        "spatial dimensions of ",
        Dims(x.sizes().d + 2, spatial), " and output size of ", *size,
        ". Please provide input tensor in (N, C, d1, d2, ...,dK) format and output size in (o1, o2, ...,oK) format.");
    FS_CHECK_VALUE(!recompute_scale_factor.value_or(false),
                   "recompute_scale_factor is not meaningful with an explicit size.");
    for (int64_t i = 0; i < spatial; ++i) output.push_back(size->n == 1 ? (*size)[0] : (*size)[i]);
  } else {
    const auto n = static_cast<int64_t>(scale_factor->size());
    FS_CHECK_VALUE(
        n == 1 || n == spatial,
        "Input and scale_factor must have the same number of spatial dimensions, but got input with spatial "
        "dimensions of ",
        Dims(x.sizes().d + 2, spatial), " and ", n, " scale factors.");
    for (int64_t i = 0; i < spatial; ++i) {
      const double s = (*scale_factor)[static_cast<size_t>(n == 1 ? 0 : i)];
      output.push_back(static_cast<int64_t>(std::floor(static_cast<double>(x.size(2 + i)) * s)));
      if (!recompute_scale_factor.value_or(false)) a.scale[3 - spatial + i] = s;
    }
  }
  FS_CHECK_VALUE(!antialias || ((mode == "bilinear" || mode == "bicubic") && x.dim() == 4),
                 "Anti-alias option is restricted to bilinear and bicubic modes and requires a 4-D tensor as input");
  if (area) return adaptive_avg_pool(x, spatial, output);
  FS_CHECK_KIND(nearest || linear || mode == "bicubic", ErrorKind::kNotImplemented, "interpolate: unknown mode ",
                name);
  const int64_t needs = mode == "linear"                          ? 1
                        : mode == "bilinear" || mode == "bicubic" ? 2
                        : mode == "trilinear"                     ? 3
                                                                  : spatial;
  FS_CHECK_KIND(needs == spatial, ErrorKind::kNotImplemented, "Got ", x.dim(), "D input, but ", name, " mode needs ",
                needs + 2, "D input");
  for (int64_t d = 1; d < x.dim(); ++d)
    FS_CHECK(x.size(d) > 0, "interpolate: Non-empty ", x.dim(), "D data tensor expected but got a tensor with sizes ",
             x.sizes());
  for (int64_t i = 0; i < spatial; ++i) {
    FS_CHECK(output[i] > 0, "interpolate: Input and output sizes should be greater than 0, but got input ", x.sizes(),
             " and output size ", output);
    a.in[3 - spatial + i] = x.size(2 + i);
    a.out[3 - spatial + i] = output[i];
    FS_CHECK(x.size(2 + i) < (int64_t{1} << 31) && output[i] < (int64_t{1} << 31),
             "interpolate: sizes of 2^31 or more are not supported");
  }
  FS_CHECK_KIND(
      x.is_floating() || (x.dtype() == DType::kUInt8 && spatial == 2) || (x.dtype() == DType::kUInt8 && nearest),
      ErrorKind::kNotImplemented, "\"interpolate\" (mode ", name, ") not implemented for '", dtype_name(x.dtype()),
      "'");
  a.mode = mode == "nearest"         ? InterpolateMode::kNearest
           : mode == "nearest-exact" ? InterpolateMode::kNearestExact
           : linear                  ? InterpolateMode::kLinear
                                     : InterpolateMode::kCubic;
  a.align_corners = align_corners.value_or(false);
  a.antialias = antialias;
  return apply1(op::interpolate, {x}, a);
}

}  // namespace fireseed

// Sampling at the points of a grid: checks, records, gradients.
#include "ops/grid_sample.h"

#include <vector>

#include "ops/copy.h"
#include "ops/index.h"
#include "ops/move.h"
#include "ops/pointwise.h"
#include "ops/records.h"
#include "ops/reduce.h"
#include "ops/shape.h"

namespace fireseed {
namespace {

void grid_sample_infer(Inputs in, const void* attrs, Tensor* out) {
  const Tensor &x = in[0], &grid = in[1];
  const auto& a = *static_cast<const GridSampleAttrs*>(attrs);
  FS_CHECK(
      (x.dim() == 4 || x.dim() == 5) && grid.dim() == x.dim(),
      "grid_sampler(): expected 4D or 5D input and grid with same number of dimensions, but got input with sizes ",
      x.sizes(), " and grid with sizes ", grid.sizes());
  FS_CHECK(x.size(0) == grid.size(0),
           "grid_sampler(): expected grid and input to have same batch size, but got input with sizes ", x.sizes(),
           " and grid with sizes ", grid.sizes());
  FS_CHECK(grid.size(-1) == x.dim() - 2, "grid_sampler(): expected grid to have size ", x.dim() - 2,
           " in last dimension, but got grid with sizes ", grid.sizes());
  FS_CHECK(x.dtype() == grid.dtype(), "grid_sampler(): expected input and grid to have same dtype, but input has ",
           dtype_name(x.dtype()), " and grid has ", dtype_name(grid.dtype()));
  FS_CHECK(x.is_floating(), "grid_sampler(): not implemented for ", dtype_name(x.dtype()));
  FS_CHECK(a.mode != GridMode::kCubic || x.dim() == 4,
           "grid_sampler(): bicubic interpolation only supports 4D input");
  for (int64_t d = 2; d < x.dim(); ++d)
    FS_CHECK(x.size(d) > 0,
             "grid_sampler(): expected input to have non-empty spatial dimensions, but input has sizes ", x.sizes(),
             " with dimension ", d, " being empty");
  FS_CHECK(x.numel() == 0 || x.numel() / (x.size(0) * x.size(1)) < (int64_t{1} << 31),
           "grid_sampler(): channels of 2^31 or more elements are not supported, got input sizes ", x.sizes());
  Dims sizes{x.size(0), x.size(1)};
  for (int64_t d = 1; d + 1 < grid.dim(); ++d) sizes.push_back(grid.size(d));
  out[0] = make_shell(sizes, x.dtype(), x.device());
}
void grid_sample_vjp_fused(const Vjp& c, const Tensor* g, Tensor* gx) {
  GridSampleAttrs a = c.attrs<GridSampleAttrs>();
  a.needs = (c.needs(0) ? 1 : 0) | (c.needs(1) ? 2 : 0);
  const Tensor in[] = {g[0], c.input(0), c.input(1)};
  Tensor out[2];
  apply(op::grid_sample_backward, in, &a, out);
  if (c.needs(0)) gx[0] = out[0];
  if (c.needs(1)) gx[1] = out[1];
}
void grid_sample_backward_infer(Inputs in, const void* attrs, Tensor* out) {
  const int64_t needs = static_cast<const GridSampleAttrs*>(attrs)->needs;
  for (int i = 0; i < 2; ++i)
    out[i] = make_shell((needs >> i) & 1 ? in[1 + i].sizes() : Dims{0}, in[1 + i].dtype(), in[1 + i].device());
}

// ---- the gradient composed of other ops: for higher derivatives ----

// One neighbour along a dimension, (N, P): its index (brought inside), 1 where it lies inside else 0, its weight and
// the weight's derivative by the grid's coordinate.
struct Tap { Tensor index, inside, weight, slope; };

// v into [0, size - 1] as the padding says; slope: the derivative, piecewise constant.
Tensor bring_inside(Tensor v, int64_t size, const GridSampleAttrs& a, Tensor& slope) {
  slope = ones_like(detach(v));
  if (a.padding == GridPadding::kZeros) return v;
  if (a.padding == GridPadding::kReflection) {
    const double low = a.align_corners ? 0.0 : -0.5, span = static_cast<double>(a.align_corners ? size - 1 : size);
    if (span == 0) {
      slope = zeros_like(slope);
      return v * 0.0;
    }
    const Tensor from = v - low, distance = abs(from), flips = floor(detach(distance) / span);
    const Tensor rest = distance - flips * span, odd = flips - 2.0 * floor(flips * 0.5) != 0.0;
    slope = where(odd, -1.0, slope) * where(detach(from) < 0.0, -1.0, slope);
    v = where(odd, span - rest, rest) + low;
  }
  const double last = static_cast<double>(size - 1);
  const Tensor fixed = detach(v);
  slope = where((fixed > 0.0) & (fixed < last), slope, 0.0);
  return clamp(v, Scalar(0.0), Scalar(last));
}
Tap make_tap(const Tensor& position, int64_t size, const Tensor& weight, const Tensor& slope) {
  const double last = static_cast<double>(size - 1);
  const Tensor inside = (position >= 0.0) & (position <= last);
  return {to(clamp(where(inside, position, 0.0), Scalar(0.0), Scalar(last)), DType::kInt64),
          to(inside, position.dtype()), weight, slope};
}
std::vector<Tap> taps(const Tensor& coordinate, int64_t size, const GridSampleAttrs& a) {
  const double scale = static_cast<double>(a.align_corners ? size - 1 : size) / 2.0;
  const Tensor x = (coordinate + 1.0) * scale - (a.align_corners ? 0.0 : 0.5);
  Tensor slope;
  if (a.mode == GridMode::kCubic) {  // Keys' kernel with A = -0.75
    const Tensor low = floor(detach(x)), t = x - low;
    const auto near = [](const Tensor& u) { return (1.25 * u - 2.25) * u * u + 1.0; };
    const auto far = [](const Tensor& u) { return ((-0.75 * u + 3.75) * u - 6.0) * u + 3.0; };
    const auto near_slope = [&](const Tensor& u) { return (3.75 * u - 4.5) * u * scale; };
    const auto far_slope = [&](const Tensor& u) { return ((-2.25 * u + 7.5) * u - 6.0) * scale; };
    const Tensor weights[] = {far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)};
    const Tensor slopes[] = {far_slope(t + 1.0), near_slope(t), -near_slope(1.0 - t), -far_slope(2.0 - t)};
    std::vector<Tap> r;
    for (int k = 0; k < 4; ++k)
      r.push_back(
          make_tap(bring_inside(low + static_cast<double>(k - 1), size, a, slope), size, weights[k], slopes[k]));
    return r;
  }
  const Tensor v = bring_inside(x, size, a, slope), fixed = detach(v);
  if (a.mode == GridMode::kNearest) return {make_tap(round(fixed), size, ones_like(fixed), zeros_like(fixed))};
  const Tensor low = floor(fixed), t = v - low;
  slope = slope * scale;
  return {make_tap(low, size, 1.0 - t, -slope), make_tap(low + 1.0, size, t, slope)};
}

void grid_sample_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  const GridSampleAttrs& a = c.attrs<GridSampleAttrs>();
  const Tensor x = c.input(0), grid = c.input(1);
  const int64_t dims = x.dim() - 2, n = x.size(0), channels = x.size(1);
  int64_t plane = 1, points = 1;
  for (int64_t d = 0; d < dims; ++d) {
    plane *= x.size(2 + d);
    points *= grid.size(1 + d);
  }
  const Tensor planes = reshape(x, Dims{n, channels, plane}), cotangent = reshape(g[0], Dims{n, channels, points});
  const Tensor places = reshape(grid, Dims{n, points, dims});
  std::vector<std::vector<Tap>> axes;
  for (int64_t d = 0; d < dims; ++d) axes.push_back(taps(select(places, 2, dims - 1 - d), x.size(2 + d), a));
  size_t corners = 1;
  for (const auto& axis : axes) corners *= axis.size();
  Tensor ginput = zeros(Dims{n, channels, plane}, x.dtype(), x.device());
  std::vector<Tensor> ggrid(static_cast<size_t>(dims));
  for (size_t k = 0; k < corners; ++k) {
    std::vector<const Tap*> tap;
    size_t rest = k;
    for (const auto& axis : axes) {
      tap.push_back(&axis[rest % axis.size()]);
      rest /= axis.size();
    }
    Tensor at = tap[0]->index, inside = tap[0]->inside, weight = tap[0]->weight;
    for (size_t d = 1; d < tap.size(); ++d) {
      at = at * wrapped_number(Scalar(x.size(static_cast<int64_t>(d) + 2))) + tap[d]->index;
      inside = inside * tap[d]->inside;
      weight = weight * tap[d]->weight;
    }
    const Tensor index = contiguous(expand(unsqueeze(at, 1), Dims{n, channels, points}));
    if (c.needs(0)) ginput = scatter_add(ginput, 2, index, cotangent * unsqueeze(weight * inside, 1));
    if (!c.needs(1)) continue;
    const Tensor read = sum(cotangent * gather(planes, 2, index), Dims{1}) * inside;
    for (size_t d = 0; d < tap.size(); ++d) {
      Tensor slope = tap[d]->slope;
      for (size_t e = 0; e < tap.size(); ++e)
        if (e != d) slope = slope * tap[e]->weight;
      Tensor& to_sum = ggrid[tap.size() - 1 - d];
      to_sum = to_sum.defined() ? to_sum + read * slope : read * slope;
    }
  }
  if (c.needs(0)) gx[0] = reshape(ginput, x.sizes());
  if (c.needs(1)) gx[1] = reshape(stack(ggrid, 2), grid.sizes());
}

}  // namespace

constinit Op op::grid_sample{.name = "grid_sample",
                             .saves = save_input(0) | save_input(1),
                             .attrs_size = sizeof(GridSampleAttrs),
                             .infer = grid_sample_infer,
                             .vjp = grid_sample_vjp,
                             .vjp_fused = grid_sample_vjp_fused};
constinit Op op::grid_sample_backward{.name = "grid_sample_backward",
                                      .flags = kNotDifferentiable,
                                      .attrs_size = sizeof(GridSampleAttrs),
                                      .num_outputs = 2,
                                      .infer = grid_sample_backward_infer};

Tensor grid_sample(const Tensor& x, const Tensor& grid, GridMode mode, GridPadding padding, bool align_corners) {
  const GridSampleAttrs a{mode, padding, align_corners, 3};
  const bool half = x.dtype() == DType::kFloat16 || x.dtype() == DType::kBFloat16;
  if (!half || grid.dtype() != x.dtype()) return apply1(op::grid_sample, {x, grid}, a);
  return to(apply1(op::grid_sample, {to(x, DType::kFloat32), to(grid, DType::kFloat32)}, a), x.dtype());
}

}  // namespace fireseed

// Sampling at the points of a grid: checks, records, gradients.
#include "ops/grid_sample.h"

#include "ops/copy.h"
#include "ops/records.h"

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
void grid_sample_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
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
void grid_sample_backward_vjp(const Vjp&, const Tensor*, Tensor*) {
  fail(ErrorKind::kRuntime, "derivative for grid_sampler_backward is not implemented");
}

}  // namespace

constinit Op op::grid_sample{.name = "grid_sample",
                             .saves = save_input(0) | save_input(1),
                             .attrs_size = sizeof(GridSampleAttrs),
                             .infer = grid_sample_infer,
                             .vjp = grid_sample_vjp};
constinit Op op::grid_sample_backward{.name = "grid_sample_backward",
                                      .attrs_size = sizeof(GridSampleAttrs),
                                      .num_outputs = 2,
                                      .infer = grid_sample_backward_infer,
                                      .vjp = grid_sample_backward_vjp};

Tensor grid_sample(const Tensor& x, const Tensor& grid, GridMode mode, GridPadding padding, bool align_corners) {
  const GridSampleAttrs a{mode, padding, align_corners, 3};
  const bool half = x.dtype() == DType::kFloat16 || x.dtype() == DType::kBFloat16;
  if (!half || grid.dtype() != x.dtype()) return apply1(op::grid_sample, {x, grid}, a);
  return to(apply1(op::grid_sample, {to(x, DType::kFloat32), to(grid, DType::kFloat32)}, a), x.dtype());
}

}  // namespace fireseed

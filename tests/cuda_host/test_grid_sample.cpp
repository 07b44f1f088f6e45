// grid_sample: known points, the input's gradient as the adjoint of the forward pass, the grid's by differences.
#include "emu_test.h"
#include "tensor/attrs/grid_sample.h"

namespace fireseed::cuda {
void grid_sample(const KernelArgs&);
void grid_sample_backward(const KernelArgs&);

namespace {

using namespace cuda_emu;

Dims input_sizes(int64_t dims) { return dims == 2 ? Dims{2, 3, 4, 5} : Dims{2, 3, 3, 4, 5}; }
Dims grid_sizes(int64_t dims) { return dims == 2 ? Dims{2, 3, 2, 2} : Dims{2, 3, 2, 1, 3}; }
Dims output_sizes(int64_t dims) { return dims == 2 ? Dims{2, 3, 3, 2} : Dims{2, 3, 3, 2, 1}; }

template <class T>
std::vector<T> sampled(const std::vector<T>& x, const std::vector<T>& grid, int64_t dims, const GridSampleAttrs& a) {
  const DeviceArray<T> dx(x), dgrid(grid), out(static_cast<size_t>(numel_of(output_sizes(dims))));
  call(&grid_sample, {view_of(out, output_sizes(dims))},
       {view_of(dx, input_sizes(dims)), view_of(dgrid, grid_sizes(dims))}, &a);
  return out.host();
}
template <class T>
double dot(const std::vector<T>& a, const std::vector<T>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return sum;
}

template <class T>
void check(int64_t dims, const GridSampleAttrs& a, double tolerance) {
  SCOPED_TRACE("mode " + std::to_string(static_cast<int>(a.mode)) + " padding " +
               std::to_string(static_cast<int>(a.padding)) + " align " + std::to_string(a.align_corners));
  const auto x = random_values<T>(numel_of(input_sizes(dims)), 1.0);
  const auto g = random_values<T>(numel_of(output_sizes(dims)), 1.0, 2);
  auto grid = random_values<T>(numel_of(grid_sizes(dims)), 0.8, 3);
  const DeviceArray<T> dx(x), dg(g), dgrid(grid), gx(x.size()), ggrid(grid.size());
  call(&grid_sample_backward, {view_of(gx, input_sizes(dims)), view_of(ggrid, grid_sizes(dims))},
       {view_of(dg, output_sizes(dims)), view_of(dx, input_sizes(dims)), view_of(dgrid, grid_sizes(dims))}, &a);
  EXPECT_NEAR(dot(sampled(x, grid, dims, a), g), dot(gx.host(), x), tolerance);
  if (sizeof(T) == 4) return;
  const auto got = ggrid.host();
  for (size_t i = 0; i < grid.size(); ++i) {
    const T keep = grid[i], step = T(1e-6);
    grid[i] = keep + step;
    const double above = dot(sampled(x, grid, dims, a), g);
    grid[i] = keep - step;
    const double below = dot(sampled(x, grid, dims, a), g);
    grid[i] = keep;
    EXPECT_NEAR(static_cast<double>(got[i]), (above - below) / 2e-6, 1e-6) << i;
  }
}

TEST(GridSample, GradientsOfEveryMode) {
  for (const GridMode mode : {GridMode::kLinear, GridMode::kNearest, GridMode::kCubic})
    for (const GridPadding padding : {GridPadding::kZeros, GridPadding::kBorder, GridPadding::kReflection})
      for (int64_t align : {0, 1}) {
        const GridSampleAttrs a{mode, padding, align};
        check<double>(2, a, 1e-12);
        check<float>(2, a, 1e-5);
        if (mode != GridMode::kCubic) check<double>(3, a, 1e-12);
      }
}
TEST(GridSample, KnownPoints) {
  // corners, the centre, the middle of an edge, and outside of a 2 x 2 image
  const DeviceArray<float> x(std::vector<float>{1, 2, 3, 4}), out(5),
      grid(std::vector<float>{-1, -1, 1, 1, 0, 0, 0, -1, 3, 0});
  const GridSampleAttrs a{GridMode::kLinear, GridPadding::kZeros, 1};
  call(&grid_sample, {view_of(out, {1, 1, 1, 5})}, {view_of(x, {1, 1, 2, 2}), view_of(grid, {1, 1, 5, 2})}, &a);
  EXPECT_EQ(out.host(), (std::vector<float>{1, 4, 2.5, 1.5, 0}));
}
TEST(GridSample, StridedInput) {
  const auto x = random_values<double>(2 * 3 * 4 * 5, 1.0), grid = random_values<double>(2 * 3 * 2 * 2, 0.8, 3);
  std::vector<double> last(x.size());  // channels innermost
  for (size_t n = 0; n < 2; ++n)
    for (size_t c = 0; c < 3; ++c)
      for (size_t p = 0; p < 20; ++p) last[(n * 20 + p) * 3 + c] = x[(n * 3 + c) * 20 + p];
  const DeviceArray<double> dx(last), dgrid(grid), out(2 * 3 * 6);
  const GridSampleAttrs a;
  call(&grid_sample, {view_of(out, {2, 3, 3, 2})},
       {OwnedView(dx.data(), DType::kFloat64, {2, 3, 4, 5}, {60, 1, 15, 3}), view_of(dgrid, {2, 3, 2, 2})}, &a);
  EXPECT_EQ(out.host(), sampled(x, grid, 2, a));
}

}  // namespace
}  // namespace fireseed::cuda

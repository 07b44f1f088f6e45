// Convolutions, their gradients, unfold and fold against direct sums in float64: axes, strides, groups, layouts,
// dtypes.
#include <functional>

#include "emu_test.h"
#include "tensor/attrs/conv.h"
#include "tensor/attrs/move.h"
#include "tensor/backend.h"

namespace fireseed::cuda {
void conv(const KernelArgs&);
void conv_backward_input(const KernelArgs&);
void conv_backward_weight(const KernelArgs&);
void im2col(const KernelArgs&);
void col2im(const KernelArgs&);

namespace {

using namespace cuda_emu;

// A convolution in words of the test; axes right-aligned in three places.
struct Case {
  int64_t batch, channels, rows, groups = 1;  // channels and rows of all groups
  std::array<int64_t, 3> size, kernel, stride = {1, 1, 1}, padding = {0, 0, 0}, dilation = {1, 1, 1};
  int64_t rank = 2;
  bool last = false;  // images lie channels-last

  int64_t out(int i) const {
    const auto k = static_cast<size_t>(i);
    return (size[k] + 2 * padding[k] - dilation[k] * (kernel[k] - 1) - 1) / stride[k] + 1;
  }
  ConvAttrs attrs(int64_t z, int64_t y, int64_t x) const {
    ConvAttrs a;
    a.rank = rank;
    a.groups = groups;
    for (size_t i = 0; i < 3; ++i) {
      a.stride[i] = stride[i];
      a.padding[i] = padding[i];
      a.dilation[i] = dilation[i];
    }
    a.size[0] = z;
    a.size[1] = y;
    a.size[2] = x;
    return a;
  }
  Dims sizes(int64_t a, int64_t b, int64_t z, int64_t y, int64_t x) const {
    Dims d{a, b};
    if (rank > 2) d.push_back(z);
    if (rank > 1) d.push_back(y);
    d.push_back(x);
    return d;
  }
  Dims x_sizes() const { return sizes(batch, channels, size[0], size[1], size[2]); }
  Dims y_sizes() const { return sizes(batch, rows, out(0), out(1), out(2)); }
  Dims w_sizes() const { return sizes(rows, channels / groups, kernel[0], kernel[1], kernel[2]); }
  Dims strides(const Dims& s) const {
    if (!last) return contiguous_strides(s);
    Dims r = s;
    int64_t step = s[1];
    r[1] = 1;
    for (int64_t i = s.n - 1; i >= 2; --i) {
      r[i] = step;
      step *= s[i];
    }
    r[0] = step;
    return r;
  }
  // f(x offset, w offset, y offset) for every product of the sum.
  template <class F>
  void each_product(F f) const {
    const int64_t c_group = channels / groups, m_group = rows / groups;
    const Dims xs = strides(x_sizes()), ys = strides(y_sizes()), ws = contiguous_strides(w_sizes());
    const auto at = [&](const Dims& s, int64_t a, int64_t b, int64_t z, int64_t y, int64_t x) {
      return static_cast<size_t>(a * s[0] + b * s[1] + (rank > 2 ? z * s[2] : 0) + (rank > 1 ? y * s[s.n - 2] : 0) +
                                 x * s[s.n - 1]);
    };
    for (int64_t n = 0; n < batch; ++n)
      for (int64_t m = 0; m < rows; ++m)
        for (int64_t z = 0; z < out(0); ++z)
          for (int64_t y = 0; y < out(1); ++y)
            for (int64_t x = 0; x < out(2); ++x)
              for (int64_t c = 0; c < c_group; ++c)
                for (int64_t kz = 0; kz < kernel[0]; ++kz)
                  for (int64_t ky = 0; ky < kernel[1]; ++ky)
                    for (int64_t kx = 0; kx < kernel[2]; ++kx) {
                      const int64_t iz = z * stride[0] - padding[0] + kz * dilation[0];
                      const int64_t iy = y * stride[1] - padding[1] + ky * dilation[1];
                      const int64_t ix = x * stride[2] - padding[2] + kx * dilation[2];
                      if (iz < 0 || iy < 0 || ix < 0 || iz >= size[0] || iy >= size[1] || ix >= size[2]) continue;
                      f(at(xs, n, m / m_group * c_group + c, iz, iy, ix), at(ws, m, c, kz, ky, kx),
                        at(ys, n, m, z, y, x));
                    }
  }
};

// The channel of element i of an image tensor of these sizes and strides.
std::vector<double> bias_image(const Dims& sizes, const Dims& strides, const std::vector<double>& bias) {
  std::vector<double> v(static_cast<size_t>(numel_of(sizes)));
  int64_t plane = 1;
  for (int64_t i = 2; i < sizes.n; ++i) plane *= sizes[i];
  for (int64_t n = 0; n < sizes[0]; ++n)
    for (int64_t c = 0; c < sizes[1]; ++c)
      for (int64_t p = 0; p < plane; ++p)
        v[static_cast<size_t>(n * strides[0] + c * strides[1] + p * (strides[1] == 1 ? sizes[1] : 1))] =
            bias.empty() ? 0 : bias[static_cast<size_t>(c)];
  return v;
}

// All three convolutions of a case, with bias where there is one.
template <class T>
void check(const Case& k, double tolerance) {
  SCOPED_TRACE("channels " + std::to_string(k.channels) + ", rows " + std::to_string(k.rows) + ", groups " +
               std::to_string(k.groups) + ", image " + std::to_string(k.size[1]) + " x " + std::to_string(k.size[2]) +
               (k.last ? ", channels last" : ""));
  constexpr DType t = dtype_of<T>::value;
  const Dims xs = k.x_sizes(), ys = k.y_sizes(), ws = k.w_sizes();
  const double spread = 1.0 / std::sqrt(static_cast<double>(ws[1]));
  const auto x = random_values<T>(numel_of(xs), spread, 1), w = random_values<T>(numel_of(ws), 1.0, 2),
             g = random_values<T>(numel_of(ys), spread, 3), by = random_values<T>(k.rows, 1.0, 4),
             bx = random_values<T>(k.channels, 1.0, 5);
  const auto xd = to_double(x), wd = to_double(w), gd = to_double(g);
  const DeviceArray<T> dx(x), dw(w), dg(g), dby(by), dbx(bx);
  const DeviceArray<T> y(g.size()), gx(x.size()), gw(w.size());
  const OwnedView vx(dx.data(), t, xs, k.strides(xs)), vg(dg.data(), t, ys, k.strides(ys)),
      vy(y.data(), t, ys, k.strides(ys)), vgx(gx.data(), t, xs, k.strides(xs));

  std::vector<double> want = bias_image(ys, k.strides(ys), to_double(by));
  k.each_product([&](size_t i, size_t j, size_t o) { want[o] += xd[i] * wd[j]; });
  ConvAttrs a = k.attrs(k.out(0), k.out(1), k.out(2));
  call(&conv, {vy}, {vx, view_of(dw, ws), view_of(dby, {k.rows})}, &a);
  expect_near(y, want, tolerance);

  want = bias_image(xs, k.strides(xs), to_double(bx));
  k.each_product([&](size_t i, size_t j, size_t o) { want[i] += gd[o] * wd[j]; });
  a = k.attrs(k.size[0], k.size[1], k.size[2]);
  call(&conv_backward_input, {vgx}, {vg, view_of(dw, ws), view_of(dbx, {k.channels})}, &a);
  expect_near(gx, want, tolerance);
  gx.fill_nan();
  want = bias_image(xs, k.strides(xs), {});
  k.each_product([&](size_t i, size_t j, size_t o) { want[i] += gd[o] * wd[j]; });
  call(&conv_backward_input, {vgx}, {vg, view_of(dw, ws)}, &a);
  expect_near(gx, want, tolerance);

  want.assign(w.size(), 0);
  k.each_product([&](size_t i, size_t j, size_t o) { want[j] += xd[i] * gd[o]; });
  a = k.attrs(k.kernel[0], k.kernel[1], k.kernel[2]);
  call(&conv_backward_weight, {view_of(gw, ws)}, {vx, vg}, &a);
  expect_near(gw, want, tolerance);
}

std::vector<Case> few_channels() {
  return {
      {.batch = 2,
       .channels = 6,
       .rows = 6,
       .groups = 6,
       .size = {1, 9, 11},
       .kernel = {1, 3, 3},
       .padding = {0, 1, 1}},
      {.batch = 2,
       .channels = 4,
       .rows = 8,
       .groups = 4,
       .size = {1, 10, 9},
       .kernel = {1, 5, 4},
       .stride = {1, 2, 3},
       .padding = {0, 2, 1},
       .dilation = {1, 1, 2}},
      {.batch = 1,
       .channels = 6,
       .rows = 4,
       .groups = 2,
       .size = {1, 1, 40},
       .kernel = {1, 1, 5},
       .stride = {1, 1, 2},
       .padding = {0, 0, 2},
       .rank = 1},
      {.batch = 2,
       .channels = 2,
       .rows = 2,
       .groups = 2,
       .size = {4, 5, 6},
       .kernel = {2, 3, 3},
       .stride = {2, 1, 2},
       .padding = {1, 0, 1},
       .dilation = {1, 2, 1},
       .rank = 3},
      {.batch = 1,
       .channels = 3,
       .rows = 2,
       .size = {1, 18, 18},
       .kernel = {1, 9, 9},
       .stride = {1, 9, 9}},  // 81 phases
      {.batch = 1, .channels = 1, .rows = 3, .size = {1, 5, 5}, .kernel = {1, 1, 1}, .stride = {1, 2, 2}},
  };
}

TEST(Conv, FewChannels) {
  for (Case k : few_channels())
    for (bool last : {false, true}) {
      k.last = last && k.rank > 1;
      check<double>(k, 1e-12);
    }
  check<float>(few_channels()[0], 1e-5);
  check<float16>(few_channels()[1], 2e-2);
  check<bfloat16>(few_channels()[3], 1e-1);
}
TEST(Conv, FewChannelsInAnyOrder) {
  for_each_seed([] {
    for (size_t i : {1, 3}) check<float>(few_channels()[i], 1e-5);
  });
}
TEST(Conv, SumsOfManyPixels) {  // the gradient to the weight in several parts
  Case k{.batch = 3,
         .channels = 2,
         .rows = 2,
         .groups = 2,
         .size = {1, 40, 45},
         .kernel = {1, 3, 3},
         .padding = {0, 1, 1}};
  check<float>(k, 5e-5);
  k.last = true;
  check<float>(k, 5e-5);
}
TEST(Conv, NoPixels) {
  const DeviceArray<float> x(0), g(0), gw(2 * 3 * 2);
  ConvAttrs a;
  a.rank = 1;
  a.size[2] = 2;
  call(&conv_backward_weight, {view_of(gw, {2, 3, 2})}, {view_of(x, {0, 3, 4}), view_of(g, {0, 2, 3})}, &a);
  expect_near(gw, std::vector<double>(12, 0.0), 0);
}

// Enough channels for tiles; sizes around those of the tiles.
std::vector<Case> many_channels() {
  return {
      {.batch = 2, .channels = 5, .rows = 9, .size = {1, 6, 7}, .kernel = {1, 3, 3}, .padding = {0, 1, 1}},
      {.batch = 1,
       .channels = 16,
       .rows = 72,
       .size = {1, 9, 8},
       .kernel = {1, 3, 2},
       .stride = {1, 2, 1},
       .padding = {0, 2, 0},
       .dilation = {1, 2, 1}},
      {.batch = 3,
       .channels = 20,
       .rows = 36,
       .groups = 2,
       .size = {1, 5, 12},
       .kernel = {1, 2, 3},
       .stride = {1, 1, 2},
       .padding = {0, 1, 1}},
      {.batch = 1,
       .channels = 12,
       .rows = 16,
       .size = {1, 1, 70},
       .kernel = {1, 1, 4},
       .stride = {1, 1, 3},
       .padding = {0, 0, 3},
       .rank = 1},
      {.batch = 2,
       .channels = 9,
       .rows = 12,
       .size = {3, 4, 5},
       .kernel = {2, 2, 3},
       .stride = {1, 2, 1},
       .padding = {1, 0, 1},
       .rank = 3},
      {.batch = 2, .channels = 8, .rows = 16, .size = {1, 8, 8}, .kernel = {1, 1, 1}, .stride = {1, 2, 2}},
      {.batch = 1,
       .channels = 32,
       .rows = 48,
       .groups = 2,
       .size = {1, 6, 6},
       .kernel = {1, 3, 3},
       .padding = {0, 1, 1}},
  };
}
TEST(Conv, Tiles) {
  for (Case k : many_channels())
    for (bool last : {false, true}) {
      k.last = last && k.rank > 1;
      check<double>(k, 1e-12);
      check<float>(k, 2e-5);
    }
}
TEST(Conv, TilesInAnyOrder) {
  for_each_seed([] { check<float>(many_channels()[1], 2e-5); });
}
TEST(Conv, LargeTiles) {
  Case k{.batch = 2, .channels = 16, .rows = 260, .size = {1, 12, 11}, .kernel = {1, 3, 3}, .padding = {0, 1, 1}};
  for (bool last : {false, true}) {
    k.last = last;
    check<float>(k, 5e-5);
  }
}

// By tensor cores: images in vectors where channels are last and a multiple of 16 bytes, else element by element.
template <class T>
void check_tensor_cores(double tolerance) {
  for (Case k : many_channels())
    for (bool last : {false, true}) {
      k.last = last && k.rank > 1;
      check<T>(k, tolerance);
    }
}
TEST(Conv, HalvesByTensorCores) {
  check_tensor_cores<bfloat16>(3e-2);
  check_tensor_cores<float16>(4e-3);
}
TEST(Conv, Tf32) {
  allow_tf32_conv = true;
  check_tensor_cores<float>(5e-3);
  for_each_seed([] {
    Case k = many_channels()[1];
    check<float>(k, 5e-3);
    k.last = true;
    check<float>(k, 5e-3);
  });
  allow_tf32_conv = false;
}
TEST(Conv, TensorCoresInAnyOrder) {
  for_each_seed([] {
    Case k = many_channels()[1];
    check<float16>(k, 4e-3);
    k.last = true;
    check<float16>(k, 4e-3);
  });
}
TEST(Conv, LargeTilesByTensorCores) {
  Case k{.batch = 2, .channels = 16, .rows = 260, .size = {1, 12, 11}, .kernel = {1, 3, 3}, .padding = {0, 1, 1}};
  for (bool last : {false, true}) {
    k.last = last;
    check<float16>(k, 1e-2);
  }
}
TEST(Conv, Pointwise) {  // a product
  for (bool last : {false, true}) {
    const Case k{.batch = 2, .channels = 16, .rows = 24, .size = {1, 5, 8}, .kernel = {1, 1, 1}, .last = last};
    check<double>(k, 1e-12);
    check<float>(k, 1e-5);
    check<float16>(k, 4e-3);
    allow_tf32_conv = true;
    check<float>(k, 5e-3);
    allow_tf32_conv = false;
  }
}

// Columns of all windows, by the definition; f(image offset or -1, column offset).
void each_entry(const Im2colAttrs& a, int64_t n, int64_t c, int64_t h, int64_t w,
                const std::function<void(int64_t, int64_t)>& f) {
  const int64_t oh = (h + 2 * a.padding[0] - a.dilation[0] * (a.kernel[0] - 1) - 1) / a.stride[0] + 1;
  const int64_t ow = (w + 2 * a.padding[1] - a.dilation[1] * (a.kernel[1] - 1) - 1) / a.stride[1] + 1;
  int64_t column = 0;
  for (int64_t plane = 0; plane < n * c; ++plane)
    for (int64_t i = 0; i < a.kernel[0]; ++i)
      for (int64_t j = 0; j < a.kernel[1]; ++j)
        for (int64_t y = 0; y < oh; ++y)
          for (int64_t x = 0; x < ow; ++x, ++column) {
            const int64_t iy = y * a.stride[0] - a.padding[0] + i * a.dilation[0];
            const int64_t ix = x * a.stride[1] - a.padding[1] + j * a.dilation[1];
            f(iy < 0 || ix < 0 || iy >= h || ix >= w ? -1 : (plane * h + iy) * w + ix, column);
          }
}
template <class T>
void check_windows(const Im2colAttrs& a, int64_t n, int64_t c, int64_t h, int64_t w, double tolerance) {
  const int64_t oh = (h + 2 * a.padding[0] - a.dilation[0] * (a.kernel[0] - 1) - 1) / a.stride[0] + 1;
  const int64_t ow = (w + 2 * a.padding[1] - a.dilation[1] * (a.kernel[1] - 1) - 1) / a.stride[1] + 1;
  const Dims image{n, c, h, w}, columns{n, c * a.kernel[0] * a.kernel[1], oh * ow};
  const auto x = random_values<T>(numel_of(image), 1.0, 1), g = random_values<T>(numel_of(columns), 1.0, 2);
  const auto xd = to_double(x), gd = to_double(g);
  const DeviceArray<T> dx(x), dg(g), out(g.size()), back(x.size());
  std::vector<double> unfolded(g.size()), folded(x.size());
  each_entry(a, n, c, h, w, [&](int64_t i, int64_t j) {
    unfolded[static_cast<size_t>(j)] = i < 0 ? 0 : xd[static_cast<size_t>(i)];
    if (i >= 0) folded[static_cast<size_t>(i)] += gd[static_cast<size_t>(j)];
  });
  call(&im2col, {view_of(out, columns)}, {view_of(dx, image)}, &a);
  expect_near(out, unfolded, 0);
  call(&col2im, {view_of(back, image)}, {view_of(dg, columns)}, &a);
  expect_near(back, folded, tolerance);
}
TEST(Conv, UnfoldAndFold) {
  Im2colAttrs a;
  a.kernel[0] = 3, a.kernel[1] = 2;
  check_windows<float>(a, 2, 3, 5, 7, 1e-6);
  a.padding[0] = 2, a.padding[1] = 1, a.stride[0] = 2, a.stride[1] = 3, a.dilation[1] = 2;
  check_windows<float>(a, 2, 3, 8, 9, 1e-6);
  check_windows<double>(a, 1, 2, 8, 9, 1e-14);
  check_windows<bfloat16>(a, 1, 2, 8, 9, 2e-2);
  check_windows<float16>(a, 1, 2, 8, 9, 2e-3);
}
TEST(Conv, UnfoldAndFoldOfStridedViews) {
  Im2colAttrs a;
  a.kernel[0] = a.kernel[1] = 2;
  const auto x = random_values<float>(2 * 3 * 4 * 5, 1.0, 1);
  const DeviceArray<float> dx(x), out(2 * 12 * 12), want(2 * 12 * 12), copy(x.size());
  const Dims sizes{2, 3, 4, 5}, strides{60, 1, 15, 3};
  call(&im2col, {view_of(out, {2, 12, 12})}, {OwnedView(dx.data(), DType::kFloat32, sizes, strides)}, &a);
  std::vector<float> dense;
  for (int64_t n = 0; n < 2; ++n)
    for (int64_t c = 0; c < 3; ++c)
      for (int64_t p = 0; p < 20; ++p) dense.push_back(x[static_cast<size_t>(n * 60 + p * 3 + c)]);
  const DeviceArray<float> dd(dense);
  call(&im2col, {view_of(want, {2, 12, 12})}, {view_of(dd, sizes)}, &a);
  EXPECT_EQ(out.host(), want.host());
}

}  // namespace
}  // namespace fireseed::cuda

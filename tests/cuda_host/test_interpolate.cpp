// interpolate: nearest and linear against loops in float64, every mode's gradient as the adjoint of its forward pass.
#include <array>

#include "emu_test.h"
#include "tensor/attrs/interpolate.h"

namespace fireseed::cuda {
void interpolate(const KernelArgs&);
void interpolate_backward(const KernelArgs&);

namespace {

using namespace cuda_emu;

InterpolateAttrs attrs(InterpolateMode mode, Dims in, Dims out, bool align = false, bool antialias = false) {
  InterpolateAttrs a;
  a.mode = mode;
  a.align_corners = align;
  a.antialias = antialias;
  a.spatial = in.n;
  for (int64_t i = 0; i < in.n; ++i) {
    a.in[3 - in.n + i] = in[i];
    a.out[3 - in.n + i] = out[i];
  }
  return a;
}
Dims sizes(int64_t n, int64_t c, const int64_t (&spatial)[3], int64_t dims) {
  Dims d{n, c};
  for (int64_t i = 3 - dims; i < 3; ++i) d.push_back(spatial[i]);
  return d;
}
Dims strides(const Dims& d, bool channels_last) {
  if (!channels_last) return contiguous_strides(d);
  Dims s = Dims::filled(d.n, 1);
  int64_t step = d[1];
  for (int64_t i = d.n - 1; i > 1; --i) s[i] = step, step *= d[i];
  s[0] = step;
  return s;
}
double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// <g, A x> = <Aᵀ g, x>, and A keeps constants.
template <class T>
void check_adjoint(const InterpolateAttrs& a, double tolerance, bool channels_last = false) {
  const Dims in = sizes(2, 3, a.in, a.spatial), out = sizes(2, 3, a.out, a.spatial);
  const auto x = random_values<T>(numel_of(in), 1.0), g = random_values<T>(numel_of(out), 1.0, 2);
  const DeviceArray<T> dx(x), dg(g), y(g.size()), gx(x.size());
  const auto on = [&](const DeviceArray<T>& m, const Dims& d) {
    return OwnedView(m.data(), dtype_of<T>::value, d, strides(d, channels_last));
  };
  call(&interpolate, {on(y, out)}, {on(dx, in)}, &a);
  call(&interpolate_backward, {on(gx, in)}, {on(dg, out)}, &a);
  EXPECT_NEAR(dot(to_double(y.host()), to_double(g)), dot(to_double(gx.host()), to_double(x)), tolerance);
  const DeviceArray<T> ones(std::vector<T>(x.size(), T(1.0f)));
  call(&interpolate, {on(y, out)}, {on(ones, in)}, &a);
  expect_near(y, std::vector<double>(g.size(), 1.0), tolerance);
}

using Mode = InterpolateMode;

TEST(Interpolate, LinearAndNearest) {
  for (bool align : {false, true}) {
    const auto a = attrs(Mode::kLinear, {3, 4}, {5, 7}, align);
    const auto x = random_values<float>(2 * 3 * 4, 1.0);
    const DeviceArray<float> dx(x), y(2 * 5 * 7);
    call(&interpolate, {view_of(y, {1, 2, 5, 7})}, {view_of(dx, {1, 2, 3, 4})}, &a);
    std::vector<double> want;
    for (size_t c = 0; c < 2; ++c)
      for (int64_t i = 0; i < 5; ++i)
        for (int64_t j = 0; j < 7; ++j) {
          const auto place = [&](int64_t o, int64_t n, int64_t m, size_t& low, double& t) {
            const double at =
                align
                    ? static_cast<double>(o * (n - 1)) / static_cast<double>(m - 1)
                    : std::max(0.0, (static_cast<double>(o) + 0.5) * static_cast<double>(n) / static_cast<double>(m) -
                                        0.5);
            low = static_cast<size_t>(std::min<int64_t>(static_cast<int64_t>(at), n - 1));
            t = at - static_cast<double>(low);
          };
          size_t r, k;
          double tr, tk;
          place(i, 3, 5, r, tr);
          place(j, 4, 7, k, tk);
          const auto at = [&](size_t y_, size_t x_) {
            return static_cast<double>(x[(c * 3 + std::min<size_t>(y_, 2)) * 4 + std::min<size_t>(x_, 3)]);
          };
          want.push_back((1 - tr) * ((1 - tk) * at(r, k) + tk * at(r, k + 1)) +
                         tr * ((1 - tk) * at(r + 1, k) + tk * at(r + 1, k + 1)));
        }
    expect_near(y, want, 2e-6);
  }
  const auto a = attrs(Mode::kNearest, {4}, {6});
  const DeviceArray<int16_t> x(std::vector<int16_t>{1, 2, 3, 4, 5, 6, 7, 8}), y(12);
  call(&interpolate, {view_of(y, {1, 2, 6})}, {view_of(x, {1, 2, 4})}, &a);
  EXPECT_EQ(y.host(), (std::vector<int16_t>{1, 1, 2, 3, 3, 4, 5, 5, 6, 7, 7, 8}));
}

TEST(Interpolate, GradientsAreAdjoint) {
  for (const Mode mode : {Mode::kNearest, Mode::kNearestExact, Mode::kLinear, Mode::kCubic}) {
    SCOPED_TRACE(static_cast<int>(mode));
    for (const auto& [in, out] : {std::pair<Dims, Dims>{{3, 4}, {6, 7}}, {{7, 6}, {3, 6}}, {{1, 5}, {4, 1}}}) {
      check_adjoint<double>(attrs(mode, in, out), 1e-12);
      check_adjoint<float>(attrs(mode, in, out), 1e-4, true);
      if (mode == Mode::kNearest || mode == Mode::kNearestExact) continue;
      check_adjoint<double>(attrs(mode, in, out, true), 1e-12);
      check_adjoint<double>(attrs(mode, in, out, false, true), 1e-12);
    }
    if (mode != Mode::kCubic) check_adjoint<double>(attrs(mode, {2, 3, 4}, {5, 3, 2}), 1e-12);
    if (mode != Mode::kCubic) check_adjoint<double>(attrs(mode, {4}, {9}), 1e-12);
  }
  auto scaled = attrs(Mode::kLinear, {5, 5}, {13, 13});
  scaled.scale[1] = scaled.scale[2] = 2.7;
  check_adjoint<double>(scaled, 1e-12);
  check_adjoint<bfloat16>(attrs(Mode::kLinear, {3, 4}, {6, 7}), 0.5);
  for_each_seed([] { check_adjoint<float>(attrs(Mode::kLinear, {3, 4}, {6, 9}), 1e-4); });
}
TEST(Interpolate, Bytes) {
  const auto a = attrs(Mode::kLinear, {2}, {4});
  const DeviceArray<uint8_t> x(std::vector<uint8_t>{0, 255}), y(4);
  call(&interpolate, {view_of(y, {1, 1, 4})}, {view_of(x, {1, 1, 2})}, &a);
  EXPECT_EQ(y.host(), (std::vector<uint8_t>{0, 64, 191, 255}));
}

}  // namespace
}  // namespace fireseed::cuda

// window_backward (also with windows that overlap) and arange, element by element.
#include "emu_test.h"
#include "tensor/attrs/shape.h"

namespace fireseed::cuda {
void window_backward(const KernelArgs&);
void arange(const KernelArgs&);

namespace {

using namespace cuda_emu;

WindowAttrs window(Dims sizes, Dims strides, int64_t offset, Dims in_sizes) {
  WindowAttrs a;
  a.sizes = sizes;
  a.strides = strides;
  a.offset = offset;
  a.in_sizes = in_sizes;
  return a;
}

template <class T>
void check_window(const WindowAttrs& a, Dims g_strides) {
  const int64_t n = numel_of(a.sizes), whole = numel_of(a.in_sizes);
  const auto g = random_values<T>(n, 30);
  const DeviceArray<T> dg(g), out(static_cast<size_t>(whole));
  std::vector<double> want(static_cast<size_t>(whole), 0.0);
  for (int64_t i = 0; i < n; ++i) {
    int64_t rest = i, to = a.offset, from = 0;
    for (int64_t d = a.sizes.n - 1; d >= 0; --d) {
      to += rest % a.sizes[d] * a.strides[d];
      from += rest % a.sizes[d] * g_strides[d];
      rest /= a.sizes[d];
    }
    want[static_cast<size_t>(to)] += to_double(g[static_cast<size_t>(from)]);
  }
  call(&window_backward, {view_of(out, a.in_sizes)}, {OwnedView(dg.data(), dtype_of<T>::value, a.sizes, g_strides)},
       &a);
  expect_near(out, want, is_half(dtype_of<T>::value) ? 2e-2 : 1e-6);
}

TEST(WindowBackward, SlicesAndOverlaps) {
  const WindowAttrs rows = window({2, 5}, {10, 2}, 11, {4, 10});
  check_window<float>(rows, {5, 1});
  check_window<double>(rows, {1, 2});
  check_window<bfloat16>(rows, {5, 1});
  check_window<int64_t>(rows, {5, 1});
  check_window<int16_t>(rows, {5, 1});
  check_window<float>(window({6, 3}, {1, 1}, 0, {8}), {3, 1});
  check_window<float>(window({3, 4, 2, 3}, {6, 1, 6, 1}, 0, {4, 6}), {24, 6, 3, 1});
  check_window<double>(window({3, 4}, {0, 1}, 2, {6}), {4, 1});
  check_window<float>(window({}, {}, 3, {6}), {});
}

template <class T>
std::vector<double> range(int64_t n, const RangeAttrs& a) {
  const DeviceArray<T> out(static_cast<size_t>(n));
  call(&arange, {view_of(out, {n})}, {}, &a);
  return to_double(out.host());
}
TEST(Arange, EveryKind) {
  EXPECT_EQ(range<int64_t>(3, {.istart = -2, .istep = 3}), (std::vector<double>{-2, 1, 4}));
  EXPECT_EQ(range<uint8_t>(3, {.istart = 1, .istep = 2}), (std::vector<double>{1, 3, 5}));
  EXPECT_EQ(range<float>(3, {.start = 0.5, .step = 0.25}), (std::vector<double>{0.5, 0.75, 1}));
  EXPECT_EQ(range<float16>(3, {.start = 0.5, .step = 0.25}), (std::vector<double>{0.5, 0.75, 1}));
  const auto line = range<double>(7, {.start = 0.1, .step = 0.1, .end = 0.7, .linspace = 1});
  EXPECT_EQ(line[0], 0.1);
  EXPECT_EQ(line[6], 0.7);
  EXPECT_EQ(range<int32_t>(3, {.start = 0, .step = 1.5, .end = 3, .linspace = 1}), (std::vector<double>{0, 1, 3}));
}

}  // namespace
}  // namespace fireseed::cuda

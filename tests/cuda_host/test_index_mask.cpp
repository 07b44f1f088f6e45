// Kernels driven by a mask: dtypes, masks that are broadcast, many pieces, in place, sources that are too short.
#include "emu_test.h"
#include "tensor/attrs/index.h"

namespace fireseed::cuda {
void masked_fill(const KernelArgs&);
void nonzero_count(const KernelArgs&);
void nonzero(const KernelArgs&);
void masked_select(const KernelArgs&);
void masked_scatter(const KernelArgs&);

namespace {

using namespace cuda_emu;

template <class T>
void check(double value, double expected) {
  const auto x = random_values<T>(15, 3.0);
  const DeviceArray<T> dx(x), out(15);
  const DeviceArray<uint8_t> mask(std::vector<uint8_t>{1, 0, 0, 1, 0});
  const MaskedFillAttrs attrs{{value, static_cast<int64_t>(value)}};
  const OwnedView wide(mask.data(), DType::kBool, {3, 5}, {0, 1});
  std::vector<double> e = to_double(x);
  for (size_t i = 0; i < e.size(); ++i)
    if (i % 5 == 0 || i % 5 == 3) e[i] = expected;
  call(&masked_fill, {view_of(out, {3, 5})}, {view_of(dx, {3, 5}), wide}, &attrs);
  expect_near(out, e, 0);
  call(&masked_fill, {view_of(dx, {3, 5})}, {view_of(dx, {3, 5}), wide}, &attrs);
  expect_near(dx, e, 0);
}

TEST(IndexMask, MaskedFill) {
  check<float>(2.5, 2.5);
  check<double>(2.5, 2.5);
  check<float16>(2.5, 2.5);
  check<bfloat16>(2.5, 2.5);
  check<int64_t>(2, 2);
  check<int8_t>(-2, -2);
}
TEST(IndexMask, Infinity) {
  const DeviceArray<float> x(std::vector<float>{1, NAN, 3});
  const DeviceArray<uint8_t> mask(std::vector<uint8_t>{1, 0, 0});
  const MaskedFillAttrs attrs{{-INFINITY, 0}};
  call(&masked_fill, {view_of(x, {3})}, {view_of(x, {3}), OwnedView(mask.data(), DType::kBool, {3})}, &attrs);
  expect_near(x, {-INFINITY, NAN, 3}, 0);
}

std::vector<uint8_t> random_mask(int64_t n, unsigned one_in) {
  std::mt19937 generator(static_cast<unsigned>(n) + one_in);
  std::vector<uint8_t> mask;
  for (int64_t i = 0; i < n; ++i) mask.push_back(generator() % one_in == 0);
  return mask;
}

// Elements that are not zero, of any dtype, through strides.
template <class T>
void check_nonzero(const std::vector<T>& x, Dims sizes, Dims strides) {
  const DeviceArray<T> in(x);
  const OwnedView view(in.data(), dtype_of<T>::value, sizes, strides);
  std::vector<double> expected;
  int64_t count = 0;
  for (int64_t k = 0; k < numel_of(sizes); ++k) {
    int64_t rest = k, at = 0;
    std::vector<double> place;
    for (int64_t d = sizes.n - 1; d >= 0; --d) {
      place.insert(place.begin(), static_cast<double>(rest % sizes[d]));
      at += rest % sizes[d] * strides[d];
      rest /= sizes[d];
    }
    if (to_double(x[static_cast<size_t>(at)]) == 0) continue;
    ++count;
    expected.insert(expected.end(), place.begin(), place.end());
  }
  const DeviceArray<int64_t> n(1), out(expected.size());
  call(&nonzero_count, {view_of(n, {})}, {view});
  EXPECT_EQ(n.host()[0], count);
  call(&nonzero, {view_of(out, {count, sizes.n})}, {view});
  expect_near(out, expected, 0);
}
TEST(IndexMask, Nonzero) {
  check_nonzero(std::vector<float>{0, 1, -0.0f, NAN, 2, 0}, {2, 3}, {3, 1});
  check_nonzero(std::vector<double>{0, 1e-300, -0.0, INFINITY, 2, 0}, {3, 2}, {1, 3});
  check_nonzero(std::vector<int64_t>{0, int64_t{1} << 40, -1}, {3}, {1});
  check_nonzero(std::vector<float16>{float16(0.0f), float16(-0.0f), float16(1e-7f)}, {3}, {1});
  check_nonzero(std::vector<float>{0, 3}, {4, 2}, {0, 1});
  check_nonzero(random_mask(40 * 1000, 3), {40, 10, 100}, {1000, 100, 1});  // several pieces, of several tiles
  check_nonzero(random_mask(5000, 5000), {5000}, {1});
  check_nonzero(std::vector<uint8_t>(300, 0), {300}, {1});
  for_each_seed([] { check_nonzero(random_mask(5000, 2), {50, 100}, {1, 50}); });
}

template <class T>
void check_select_and_scatter(Dims sizes, unsigned one_in) {
  const int64_t n = numel_of(sizes);
  const auto x = random_values<T>(n, 9.0), fresh = random_values<T>(n, 5.0, 7);
  const auto bits = random_mask(n, one_in);
  std::vector<double> chosen, scattered;
  for (size_t i = 0; i < x.size(); ++i) {
    scattered.push_back(to_double(bits[i] ? fresh[chosen.size()] : x[i]));
    if (bits[i]) chosen.push_back(to_double(x[i]));
  }
  const DeviceArray<T> in(x), out(chosen.size()), source(fresh), result(x.size());
  const DeviceArray<uint8_t> mask_data(bits);
  const OwnedView mask(mask_data.data(), DType::kBool, sizes);
  const auto count = static_cast<int64_t>(chosen.size());
  call(&masked_select, {view_of(out, {count})}, {view_of(in, sizes), mask});
  expect_near(out, chosen, 0);
  call(&masked_scatter, {view_of(result, sizes)}, {view_of(in, sizes), mask, view_of(source, {n})});
  expect_near(result, scattered, 0);
  call(&masked_scatter, {view_of(in, sizes)}, {view_of(in, sizes), mask, view_of(source, {n})});
  expect_near(in, scattered, 0);
}
TEST(IndexMask, SelectAndScatter) {
  check_select_and_scatter<float>({3, 4}, 2);
  check_select_and_scatter<double>({100, 90}, 3);
  check_select_and_scatter<bfloat16>({41, 1000}, 2);
  check_select_and_scatter<int8_t>({2500}, 7);
  for_each_seed([] { check_select_and_scatter<float>({3000}, 2); });
}
TEST(IndexMask, BroadcastMask) {
  const DeviceArray<float> x(std::vector<float>{1, 2, 3, 4, 5, 6}), out(4);
  const DeviceArray<uint8_t> mask(std::vector<uint8_t>{1, 0, 1});
  const OwnedView turned(x.data(), DType::kFloat32, {2, 3}, {1, 2});
  call(&masked_select, {view_of(out, {4})}, {turned, OwnedView(mask.data(), DType::kBool, {2, 3}, {0, 1})});
  expect_near(out, {1, 5, 2, 6}, 0);
}
TEST(IndexMask, SourceTooShort) {
  // Never freed: ThreadSanitizer does not know that the threads of a stopped kernel have ended.
  static const auto& x = *new DeviceArray<float>(std::vector<float>{1, 2, 3});
  static const auto& source = *new DeviceArray<float>(std::vector<float>{9});
  static const auto& mask = *new DeviceArray<uint8_t>(std::vector<uint8_t>{1, 0, 1});
  EXPECT_NE(failure_of([&] {
              call(&masked_scatter, {view_of(x, {3})},
                   {view_of(x, {3}), OwnedView(mask.data(), DType::kBool, {3}), view_of(source, {1})});
            }),
            "");
}

}  // namespace
}  // namespace fireseed::cuda

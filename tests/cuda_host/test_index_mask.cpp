// masked_fill: dtypes, a mask that is broadcast, in place.
#include "emu_test.h"
#include "tensor/attrs/index.h"

namespace fireseed::cuda {
void masked_fill(const KernelArgs&);

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

}  // namespace
}  // namespace fireseed::cuda

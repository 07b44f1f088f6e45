// copy, copy_into and fill: any strides, transposes through tiles, every pair of dtypes, alignments.
#include <array>

#include "emu_test.h"
#include "tensor/attrs/copy.h"

namespace fireseed::cuda {
void copy(const KernelArgs&);
void copy_into(const KernelArgs&);
void fill(const KernelArgs&);

namespace {

using namespace cuda_emu;

// Offsets of the elements of a view, in row-major order.
std::vector<size_t> offsets(const Dims& sizes, const Dims& strides) {
  std::vector<size_t> r;
  for (int64_t i = 0; i < numel_of(sizes); ++i) {
    int64_t rest = i, at = 0;
    for (int64_t d = sizes.n - 1; d >= 0; --d) {
      at += rest % sizes[d] * strides[d];
      rest /= sizes[d];
    }
    r.push_back(static_cast<size_t>(at));
  }
  return r;
}
int64_t extent(const Dims& sizes, const Dims& strides) {
  int64_t n = 1;
  for (int64_t d = 0; d < sizes.n; ++d) n += (sizes[d] - 1) * strides[d];
  return n;
}

// first: elements that both views start behind their memory's.
template <class T>
void check_move(Dims sizes, Dims to_strides, Dims from_strides, int64_t first = 0) {
  std::vector<T> x, y(static_cast<size_t>(first + extent(sizes, to_strides)), T(1.0f));
  for (int64_t i = 0; i < first + extent(sizes, from_strides); ++i) x.push_back(T(static_cast<float>(i * 7 % 251)));
  const DeviceArray<T> from(x), to(y);
  const OwnedView out(to.data() + first, dtype_of<T>::value, sizes, to_strides),
      in(from.data() + first, dtype_of<T>::value, sizes, from_strides);
  call(&copy_into, {out}, {out, in});
  const auto write = offsets(sizes, to_strides), read = offsets(sizes, from_strides);
  for (size_t i = 0; i < write.size(); ++i)
    y[static_cast<size_t>(first) + write[i]] = x[static_cast<size_t>(first) + read[i]];
  std::vector<double> want = to_double(y);
  expect_near(to, want, 0);
}
template <class T>
void check_moves() {
  check_move<T>({4, 6}, {6, 1}, {6, 1});
  check_move<T>({70, 45}, {45, 1}, {1, 70});                         // a transpose, more than a tile
  check_move<T>({3, 33, 9}, {297, 9, 1}, {297, 1, 33});              // a batch of them
  check_move<T>({2, 9, 3, 11}, {297, 1, 99, 9}, {297, 33, 11, 1});   // to channels-last memory
  check_move<T>({2, 9, 3, 11}, {297, 33, 11, 1}, {297, 1, 99, 9});   // and back
  check_move<T>({2, 9, 3, 11}, {297, 1, 99, 9}, {297, 1, 99, 9});    // one layout on both sides
  check_move<T>({2, 3, 4, 16}, {192, 64, 16, 1}, {192, 16, 48, 1});  // rows stay together
  check_move<T>({5, 32}, {32, 1}, {48, 1});
  check_move<T>({5, 32}, {32, 1}, {48, 1}, 1);  // not aligned
  check_move<T>({5, 31}, {31, 1}, {64, 2});
  check_move<T>({5, 8}, {8, 1}, {0, 1});  // broadcast
  check_move<T>({}, {}, {});
}

TEST(Copy, EveryElementSize) {
  check_moves<uint8_t>();
  check_moves<bfloat16>();
  check_moves<float>();
  check_moves<double>();
  check_moves<int64_t>();
}
TEST(Copy, TilesInAnyOrder) {
  for_each_seed([] {
    check_move<float>({70, 45}, {45, 1}, {1, 70});
    check_move<int16_t>({2, 70, 65}, {4550, 65, 1}, {4550, 1, 70});
    check_move<uint8_t>({66, 70}, {70, 1}, {1, 66});
  });
}

template <class T>
using Stored = std::conditional_t<std::is_same_v<T, bool>, uint8_t, T>;
template <class T>
T number(double v) {
  if constexpr (is_half(dtype_of<T>::value)) return T(static_cast<float>(v));
  else return static_cast<T>(v);
}
template <class To, class From>
void check_convert(const std::vector<double>& values) {
  std::vector<Stored<From>> x;
  std::vector<double> want;
  for (double v : values) {
    const From from = number<From>(v);
    x.push_back(from);
    want.push_back(to_double(number<To>(to_double(from))));
  }
  const auto n = static_cast<int64_t>(x.size());
  const DeviceArray<Stored<From>> from(x);
  const DeviceArray<Stored<To>> to(x.size());
  call(&copy, {OwnedView(to.data(), dtype_of<To>::value, {n})}, {OwnedView(from.data(), dtype_of<From>::value, {n})});
  expect_near(to, want, 0);
}
template <class To>
void check_conversions() {
  const std::vector<double> values{0, 1, 2, 3, 5, 8, 13, 21, 100, 120, 7};
  check_convert<To, bool>(values);
  check_convert<To, uint8_t>(values);
  check_convert<To, int8_t>(values);
  check_convert<To, int16_t>(values);
  check_convert<To, int32_t>(values);
  check_convert<To, int64_t>(values);
  check_convert<To, float16>(values);
  check_convert<To, bfloat16>(values);
  check_convert<To, float>(values);
  check_convert<To, double>(values);
}
TEST(Copy, EveryPairOfTypes) {
  check_conversions<bool>();
  check_conversions<uint8_t>();
  check_conversions<int8_t>();
  check_conversions<int16_t>();
  check_conversions<int32_t>();
  check_conversions<int64_t>();
  check_conversions<float16>();
  check_conversions<bfloat16>();
  check_conversions<float>();
  check_conversions<double>();
  check_convert<int32_t, float>({-3.7, 2.9, -1e9});
  check_convert<float16, float>({1e-8, 65504, 70000, -2.5});
}
TEST(Copy, StridedConversion) {
  const DeviceArray<float> from(std::vector<float>{1, 2, 3, 4, 5, 6}), to(6);
  const DeviceArray<bfloat16> halves(6);
  call(&copy, {view_of(halves, {3, 2})}, {OwnedView(from.data(), DType::kFloat32, {3, 2}, {1, 3})});
  expect_near(halves, {1, 4, 2, 5, 3, 6}, 0);
}

TEST(Fill, LayoutsAndTypes) {
  for (int64_t n : {1, 5, 64, 1000}) {
    const DeviceArray<float> x(static_cast<size_t>(n));
    const FillAttrs a{Scalar(2.5)};
    call(&fill, {view_of(x, {n})}, {view_of(x, {n})}, &a);
    expect_near(x, std::vector<double>(static_cast<size_t>(n), 2.5), 0);
  }
  const DeviceArray<int16_t> x(std::vector<int16_t>(12, 1));
  const FillAttrs a{Scalar(int64_t{-3})};
  const OwnedView columns(x.data() + 1, DType::kInt16, {3, 2}, {4, 2});
  call(&fill, {columns}, {columns}, &a);
  EXPECT_EQ(x.host(), (std::vector<int16_t>{1, -3, 1, -3, 1, -3, 1, -3, 1, -3, 1, -3}));
  const DeviceArray<bool> flags(7);
  const FillAttrs yes{Scalar(true)};
  call(&fill, {view_of(flags, {7})}, {view_of(flags, {7})}, &yes);
  EXPECT_EQ(flags.host(), std::vector<bool>(7, true));
}

}  // namespace
}  // namespace fireseed::cuda

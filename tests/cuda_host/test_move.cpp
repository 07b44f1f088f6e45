// cat, flip, roll, constant_pad, tril and triu, element by element, with strided inputs and outputs.
#include <array>
#include <functional>

#include "emu_test.h"
#include "tensor/attrs/move.h"

namespace fireseed::cuda {
void cat(const KernelArgs&);
void flip(const KernelArgs&);
void roll(const KernelArgs&);
void constant_pad(const KernelArgs&);
void tril(const KernelArgs&);
void triu(const KernelArgs&);

namespace {

using namespace cuda_emu;

template <class T>
std::vector<T> counted(size_t n, int first = 1) {
  std::vector<T> v;
  for (size_t i = 0; i < n; ++i) v.push_back(T(static_cast<float>((first + static_cast<int>(i)) % 100)));
  return v;
}

// out[i][j] of a 2-d result is f(i, j).
template <class T>
void expect_matrix(const DeviceArray<T>& out, int64_t m, int64_t n,
                   const std::function<double(int64_t, int64_t)>& f) {
  std::vector<double> want;
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j) want.push_back(f(i, j));
  expect_near(out, want, 0);
}
double element(int64_t i, int64_t j, int64_t n, int first = 1) {
  return static_cast<double>((first + i * n + j) % 100);
}

template <class T>
void check_all() {
  const DeviceArray<T> a(counted<T>(5 * 7)), b(counted<T>(5 * 3, 50)), empty(0);
  {
    const DeviceArray<T> out(5 * 10);
    const CatAttrs attrs{1};
    call(&cat, {view_of(out, {5, 10})}, {view_of(a, {5, 7}), view_of(empty, {5, 0}), view_of(b, {5, 3})}, &attrs);
    expect_matrix(out, 5, 10,
                  [](int64_t i, int64_t j) { return j < 7 ? element(i, j, 7) : element(i, j - 7, 3, 50); });
  }
  {  // along the first dimension, one input transposed
    const DeviceArray<T> out(8 * 5);
    const CatAttrs attrs{0};
    call(&cat, {view_of(out, {8, 5})}, {OwnedView(b.data(), dtype_of<T>::value, {3, 5}, {1, 3}), view_of(a, {5, 5})},
         &attrs);
    expect_matrix(out, 8, 5,
                  [](int64_t i, int64_t j) { return i < 3 ? element(j, i, 3, 50) : element(i - 3, j, 5); });
  }
  for (int64_t mask : {0, 1, 2, 3}) {
    const DeviceArray<T> out(5 * 7);
    const FlipAttrs attrs{mask};
    call(&flip, {view_of(out, {5, 7})}, {view_of(a, {5, 7})}, &attrs);
    expect_matrix(out, 5, 7,
                  [&](int64_t i, int64_t j) { return element(mask & 1 ? 4 - i : i, mask & 2 ? 6 - j : j, 7); });
  }
  for (const auto& [down, right] : {std::pair{0, 0}, {2, 0}, {0, 3}, {4, 6}}) {
    const DeviceArray<T> out(5 * 7);
    const RollAttrs attrs{{down, right}};
    call(&roll, {view_of(out, {5, 7})}, {view_of(a, {5, 7})}, &attrs);
    expect_matrix(out, 5, 7,
                  [&](int64_t i, int64_t j) { return element((i + 5 - down) % 5, (j + 7 - right) % 7, 7); });
  }
  for (const auto& [top, bottom, left, right] :
       {std::array<int64_t, 4>{1, 2, 3, 0}, {0, 0, 0, 0}, {-1, 2, -2, -3}, {-5, 6, 1, 1}, {7, -6, 0, 0}}) {
    const int64_t m = 5 + top + bottom, n = 7 + left + right;
    const DeviceArray<T> out(static_cast<size_t>(m * n));
    const ConstantPadAttrs attrs{{top, left}, {1, 1}, {bottom, right}};
    call(&constant_pad, {view_of(out, {m, n})}, {view_of(a, {5, 7})}, &attrs);
    expect_matrix(out, m, n, [&](int64_t i, int64_t j) {
      const int64_t r = i - top, c = j - left;
      return r >= 0 && r < 5 && c >= 0 && c < 7 ? element(r, c, 7) : 1;
    });
  }
  for (int64_t k : {-7, -2, 0, 1, 9}) {
    const DeviceArray<T> low(5 * 7), high(5 * 7);
    const TriAttrs attrs{k};
    call(&tril, {view_of(low, {5, 7})}, {view_of(a, {5, 7})}, &attrs);
    call(&triu, {view_of(high, {5, 7})}, {view_of(a, {5, 7})}, &attrs);
    expect_matrix(low, 5, 7, [&](int64_t i, int64_t j) { return j - i <= k ? element(i, j, 7) : 0; });
    expect_matrix(high, 5, 7, [&](int64_t i, int64_t j) { return j - i >= k ? element(i, j, 7) : 0; });
  }
}

TEST(Move, EveryElementSize) {
  check_all<float>();
  check_all<double>();
  check_all<bfloat16>();
  check_all<uint8_t>();
  check_all<int64_t>();
}
TEST(Move, BatchesOfTriangles) {
  const DeviceArray<float> a(counted<float>(3 * 4 * 4)), out(3 * 4 * 4);
  const TriAttrs attrs{0};
  call(&tril, {view_of(out, {3, 4, 4})}, {view_of(a, {3, 4, 4})}, &attrs);
  expect_matrix(out, 12, 4, [](int64_t i, int64_t j) { return j <= i % 4 ? element(i, j, 4) : 0; });
}
TEST(Move, StridedOutput) {
  const DeviceArray<float> a(counted<float>(6)), wide(std::vector<float>(12, -1.0f));
  const FlipAttrs attrs{2};
  call(&flip, {OwnedView(wide.data(), DType::kFloat32, {2, 3}, {6, 2})}, {view_of(a, {2, 3})}, &attrs);
  EXPECT_EQ(wide.host(), (std::vector<float>{3, -1, 2, -1, 1, -1, 6, -1, 5, -1, 4, -1}));
}

}  // namespace
}  // namespace fireseed::cuda

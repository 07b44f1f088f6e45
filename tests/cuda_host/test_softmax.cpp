// softmax and log_softmax against float64, rows of many lengths, any dimension, strided input.
#include "emu_test.h"
#include "tensor/attrs/softmax.h"

namespace fireseed::cuda {
void softmax(const KernelArgs&);
void log_softmax(const KernelArgs&);
void softmax_backward(const KernelArgs&);
void log_softmax_backward(const KernelArgs&);

namespace {

using namespace cuda_emu;

// y of rows (outer, n, inner) in float64.
std::vector<double> reference(const std::vector<double>& x, int64_t n, int64_t inner, bool log) {
  std::vector<double> y(x.size());
  const int64_t rows = static_cast<int64_t>(x.size()) / n;
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t base = r / inner * n * inner + r % inner;
    const auto at = [&](int64_t i) { return static_cast<size_t>(base + i * inner); };
    double top = -1e300, sum = 0;
    for (int64_t i = 0; i < n; ++i) top = std::max(top, x[at(i)]);
    for (int64_t i = 0; i < n; ++i) sum += std::exp(x[at(i)] - top);
    for (int64_t i = 0; i < n; ++i) y[at(i)] = log ? x[at(i)] - top - std::log(sum) : std::exp(x[at(i)] - top) / sum;
  }
  return y;
}

template <class T>
void check(Dims sizes, int64_t dim, double tolerance) {
  int64_t inner = 1;
  for (int64_t i = dim + 1; i < sizes.n; ++i) inner *= sizes[i];
  const auto x = random_values<T>(numel_of(sizes), 3.0), g = random_values<T>(numel_of(sizes), 1.0);
  const DeviceArray<T> dx(x), dg(g), y(x.size()), gx(x.size());
  const SoftmaxAttrs attrs{dim};
  for (bool log : {false, true}) {
    SCOPED_TRACE(log ? "log_softmax" : "softmax");
    y.fill_nan();
    gx.fill_nan();
    call(log ? &log_softmax : &softmax, {view_of(y, sizes)}, {view_of(dx, sizes)}, &attrs);
    expect_near(y, reference(to_double(x), sizes[dim], inner, log), tolerance);
    call(log ? &log_softmax_backward : &softmax_backward, {view_of(gx, sizes)},
         {view_of(dg, sizes), view_of(y, sizes)}, &attrs);
    const auto yd = to_double(y.host()), gd = to_double(g);
    std::vector<double> expected(yd.size());
    const int64_t n = sizes[dim];
    std::vector<double> sums(yd.size() / static_cast<size_t>(n));
    const auto row = [&](size_t k) {
      const int64_t i = static_cast<int64_t>(k);
      return static_cast<size_t>(i / (n * inner) * inner + i % inner);
    };
    for (size_t k = 0; k < yd.size(); ++k) sums[row(k)] += log ? gd[k] : gd[k] * yd[k];
    for (size_t k = 0; k < yd.size(); ++k)
      expected[k] = log ? gd[k] - std::exp(yd[k]) * sums[row(k)] : yd[k] * (gd[k] - sums[row(k)]);
    expect_near(gx, expected, tolerance);
  }
}

TEST(Softmax, RowsOfManyLengths) {
  for (int64_t n : {1, 2, 31, 129, 256, 257, 1000, 1001, 1024, 1025, 3000}) {
    check<float>({3, n}, 1, 2e-6);
    check<double>({2, n}, 1, 1e-14);
  }
  for_each_seed([] {
    check<float>({5, 200}, 1, 2e-6);
    check<float>({9, 600}, 1, 2e-6);
    check<float>({2, 2000}, 1, 2e-6);
    check<float>({3, 50, 20}, 1, 2e-6);
  });
}
TEST(Softmax, Halves) {
  for (int64_t n : {7, 200, 300, 2048, 2049}) {
    check<float16>({4, n}, 1, 2e-3);
    check<bfloat16>({4, n}, 1, 2e-2);
  }
  check<bfloat16>({2, 9, 3}, 1, 2e-2);
}
TEST(Softmax, OtherDimensions) {
  check<float>({7, 3, 5}, 0, 2e-6);
  check<float>({2, 40, 3}, 1, 2e-6);
  check<double>({3, 70, 33}, 1, 1e-14);
}
TEST(Softmax, StridedInput) {
  const auto x = random_values<float>(6 * 4, 1.0);
  const DeviceArray<float> dx(x), y(x.size());
  std::vector<double> transposed(x.size());
  for (size_t i = 0; i < 4; ++i)
    for (size_t j = 0; j < 6; ++j) transposed[i * 6 + j] = x[j * 4 + i];
  const SoftmaxAttrs attrs{1};
  call(&softmax, {view_of(y, {4, 6})}, {OwnedView(dx.data(), DType::kFloat32, {4, 6}, {1, 4})}, &attrs);
  expect_near(y, reference(transposed, 6, 1, false), 2e-6);
}
TEST(Softmax, SpecialValues) {
  constexpr float kInf = INFINITY;
  const DeviceArray<float> x(std::vector<float>{-kInf, -kInf, 0, NAN, -kInf, 5, 1000, 0}), y(8);
  const SoftmaxAttrs attrs{1};
  call(&softmax, {view_of(y, {4, 2})}, {view_of(x, {4, 2})}, &attrs);
  const auto v = y.host();
  for (size_t i = 0; i < 4; ++i) EXPECT_TRUE(std::isnan(v[i]));
  EXPECT_EQ(std::vector<float>(v.begin() + 4, v.end()), (std::vector<float>{0, 1, 1, 0}));
}

// Rows that begin anywhere: vectors where input and output lie alike, elements where they do not.
template <class T>
void check_offsets(int64_t n, double tolerance) {
  const SoftmaxAttrs attrs{1};
  const auto x = random_values<T>(3 * n, 3.0);
  const auto want = reference(to_double(x), n, 1, false);
  for (size_t from : {0, 1, 3})
    for (size_t to : {0, 3}) {
      SCOPED_TRACE(from * 10 + to);
      std::vector<T> moved(from);
      moved.insert(moved.end(), x.begin(), x.end());
      const DeviceArray<T> dx(moved), y(x.size() + to);
      call(&softmax, {OwnedView(y.data() + to, dtype_of<T>::value, {3, n})},
           {OwnedView(dx.data() + from, dtype_of<T>::value, {3, n})}, &attrs);
      const auto got = to_double(y.host());
      for (size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(got[i + to], want[i], tolerance) << i;
    }
}
TEST(Softmax, RowsThatBeginAnywhere) {
  for (int64_t n : {5, 67, 130, 1003}) {
    check_offsets<float>(n, 2e-6);
    check_offsets<bfloat16>(n, 5e-3);
  }
}
// More than shared memory keeps.
TEST(Softmax, RowsThatAreNotKept) {
  check<float>({1, 30001}, 1, 1e-5);
  check<bfloat16>({1, 60003}, 1, 2e-2);
}

// Masked rows: what a thread sees first is -infinity, in rows of registers and in long ones.
TEST(Softmax, MaskedRows) {
  for (int64_t n : {64, 1500}) {
    std::vector<float> x(static_cast<size_t>(2 * n), -INFINITY);
    x[static_cast<size_t>(n - 1)] = 3;
    x[static_cast<size_t>(n - 5)] = 3;
    std::vector<double> want(x.size(), NAN);
    std::fill_n(want.begin(), n, 0.0);
    want[static_cast<size_t>(n - 1)] = want[static_cast<size_t>(n - 5)] = 0.5;
    const DeviceArray<float> dx(x), y(x.size());
    const SoftmaxAttrs attrs{1};
    call(&softmax, {view_of(y, {2, n})}, {view_of(dx, {2, n})}, &attrs);
    expect_near(y, want, 0);
  }
}

}  // namespace
}  // namespace fireseed::cuda

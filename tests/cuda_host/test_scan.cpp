// Scans against the host: rows and columns, short and long, cut into pieces, every dtype, NaN and infinities,
// strides.
#include "emu_test.h"
#include "tensor/attrs/reduce.h"

namespace fireseed::cuda {
#define FS_KERNEL(name) void name(const KernelArgs&);
FS_KERNEL(cumsum)
FS_KERNEL(cumprod)
FS_KERNEL(cummax)
FS_KERNEL(cummin)
FS_KERNEL(logcumsumexp)
#undef FS_KERNEL

namespace {

using namespace cuda_emu;
using Values = std::vector<double>;

// Calls line(offset of its first element, step) for the lines along `dim` of a row-major array.
template <class F>
int64_t each_line(Dims sizes, int64_t dim, F line) {
  int64_t outer = 1, inner = 1;
  for (int64_t i = 0; i < sizes.n; ++i) (i < dim ? outer : inner) *= i == dim ? 1 : sizes[i];
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t i = 0; i < inner; ++i)
      line(static_cast<size_t>(o * sizes[dim] * inner + i), static_cast<size_t>(inner));
  return sizes[dim];
}

enum Op { kSum, kProd, kMax, kMin, kLogSum };

// The results, and for extremes the indices.
Values scanned(const Values& x, Dims sizes, int64_t dim, Op op, Values* index) {
  Values y(x.size());
  if (index) index->resize(x.size());
  each_line(sizes, dim, [&](size_t start, size_t step) {
    double s = op == kProd ? 1 : 0, top = -INFINITY;
    size_t best = 0;
    for (size_t i = 0; i < static_cast<size_t>(sizes[dim]); ++i) {
      const double v = x[start + i * step];
      double& out = y[start + i * step];
      if (op == kSum) out = s += v;
      if (op == kProd) out = s *= v;
      if (op == kLogSum) {
        const double higher = std::isnan(v) || v > top ? v : top;
        s = higher == -INFINITY
                ? 0
                : s * (top == higher ? 1 : std::exp(top - higher)) + (v == higher ? 1 : std::exp(v - higher));
        top = higher;
        out = std::isinf(top) ? top : top + std::log(s);
      }
      if (op == kMax || op == kMin) {
        const double b = x[start + best * step];
        if (i == 0 || std::isnan(v) || (!std::isnan(b) && (op == kMax ? v >= b : v <= b))) best = i;
        out = x[start + best * step];
        (*index)[start + i * step] = static_cast<double>(best);
      }
    }
  });
  return y;
}

Kernel kernel_of(Op op) {
  const Kernel kernels[] = {&cumsum, &cumprod, &cummax, &cummin, &logcumsumexp};
  return kernels[op];
}

template <class O, class T>
void check_as(const std::vector<T>& x, Dims sizes, int64_t dim, Op op, double tolerance) {
  SCOPED_TRACE("op " + std::to_string(op) + ", dim " + std::to_string(dim) + ", n " + std::to_string(sizes[dim]));
  const bool choice = op == kMax || op == kMin;
  const DeviceArray<T> in(x);
  const DeviceArray<O> out(x.size());
  const DeviceArray<int64_t> index(choice ? x.size() : 1);
  const ScanAttrs attrs{dim};
  Values places;
  const Values expected = scanned(to_double(x), sizes, dim, op, choice ? &places : nullptr);
  if (choice) call(kernel_of(op), {view_of(out, sizes), view_of(index, sizes)}, {view_of(in, sizes)}, &attrs);
  else call(kernel_of(op), {view_of(out, sizes)}, {view_of(in, sizes)}, &attrs);
  expect_near(out, expected, tolerance);
  if (choice) expect_near(index, places, 0);
}
template <class T>
void check(Dims sizes, int64_t dim, Op op, double tolerance, double spread = 1.0) {
  auto x = random_values<T>(numel_of(sizes), spread, static_cast<unsigned>(op + 1));
  if (op == kProd)  // near one, so that products neither vanish nor overflow
    for (T& v : x)
      if constexpr (std::is_floating_point_v<T>) v = T(1) + v / T(64);
  if constexpr (is_floating(dtype_of<T>::value)) return check_as<T>(x, sizes, dim, op, tolerance);
  if (op == kMax || op == kMin) check_as<T>(x, sizes, dim, op, 0);
  else check_as<int64_t>(x, sizes, dim, op, 0);
}

// Rows of a thread, of a warp, of a block, of several tiles, in pieces; columns, whole and in pieces.
const std::pair<Dims, int64_t> kShapes[] = {
    {{3}, 0},        {{5, 9}, 1}, {{700, 3}, 1},  {{4, 40}, 1},   {{3, 300}, 1}, {{2, 2, 2000}, 2}, {{20000}, 0},
    {{40000, 1}, 0}, {{9, 5}, 0}, {{2, 7, 3}, 1}, {{300, 40}, 0}, {{130, 2}, 0}, {{1, 70, 300}, 1}, {{2, 1, 3}, 1},
};

TEST(Scan, Shapes) {
  for (const auto& [sizes, dim] : kShapes)
    for (Op op : {kSum, kProd, kMax, kMin, kLogSum}) check<float>(sizes, dim, op, 2e-6);
}
TEST(Scan, Seeds) {
  for_each_seed([] {
    for (Op op : {kSum, kMax, kLogSum}) {
      check<float>({3, 300}, 1, op, 2e-6);
      check<float>({9000}, 0, op, 2e-6);
      check<double>({300, 3}, 0, op, 1e-12);
    }
  });
}
TEST(Scan, DTypes) {
  for (const Dims& sizes : {Dims{2, 600}, Dims{2, 70, 3}}) {
    for (Op op : {kSum, kProd, kMax, kMin, kLogSum}) {
      check<double>(sizes, 1, op, 1e-13);
      check<float16>(sizes, 1, op == kProd ? kMax : op, 1e-3, 0.1);
      check<bfloat16>(sizes, 1, op == kProd ? kMax : op, 8e-3, 0.1);
    }
    for (Op op : {kSum, kMax, kMin}) {
      check<int64_t>(sizes, 1, op, 0, 1000);
      check<int32_t>(sizes, 1, op, 0, 1000);
      check<int16_t>(sizes, 1, op, 0, 1000);
      check<int8_t>(sizes, 1, op, 0, 40);
      check_as<int64_t>(std::vector<uint8_t>(static_cast<size_t>(numel_of(sizes)), 255), sizes, 1, kSum, 0);
    }
  }
  const DeviceArray<uint8_t> flags(std::vector<uint8_t>{1, 0, 1, 1, 0});
  const DeviceArray<int64_t> out(5);
  const ScanAttrs attrs{0};
  call(&cumsum, {view_of(out, {5})}, {OwnedView(flags.data(), DType::kBool, {5})}, &attrs);
  expect_near(out, {1, 1, 2, 3, 3}, 0);
}
TEST(Scan, IntegersWrap) {
  check_as<int64_t>(std::vector<int64_t>{1, 2, 3}, {3}, 0, kProd, 0);
  const DeviceArray<int64_t> in(std::vector<int64_t>{INT64_MAX, 1, 5}), out(3);
  const ScanAttrs attrs{0};
  call(&cumsum, {view_of(out, {3})}, {view_of(in, {3})}, &attrs);
  EXPECT_EQ(out.host(), (std::vector<int64_t>{INT64_MAX, INT64_MIN, INT64_MIN + 5}));
}
TEST(Scan, SpecialValues) {
  const float n = NAN, i = INFINITY;
  for (const auto& x : std::vector<std::vector<float>>{{1, n, 2, n, 0},
                                                       {-i, -i, 1, i, 3},
                                                       {i, -i, 1, 2, 3},
                                                       {-i, -i, -i, n, 1},
                                                       {0.0f, -0.0f, 0.0f, -1, -0.0f},
                                                       {2, 2, 1, 2, 1}}) {
    std::vector<float> row;  // a row of a warp: the same values again and again
    for (int k = 0; k < 40; ++k) row.push_back(x[static_cast<size_t>(k % 5)]);
    for (Op op : {kSum, kProd, kMax, kMin, kLogSum}) {
      check_as<float>(x, {5}, 0, op, 1e-6);
      check_as<float>(row, {40}, 0, op, 1e-6);
      check_as<float>(row, {40, 1}, 0, op, 1e-6);
      check_as<float>(row, {20, 2}, 0, op, 1e-6);
    }
  }
}
TEST(Scan, LongSumsAreExact) { check_as<float>(std::vector<float>(30000, 0.1f), {30000}, 0, kSum, 1e-7); }
TEST(Scan, Strides) {
  const auto x = random_values<float>(6 * 50, 1.0);
  const DeviceArray<float> in(x), out(300);
  Values moved;
  for (size_t k = 0; k < 300; ++k) moved.push_back(x[k % 6 * 50 + k / 6]);
  const ScanAttrs attrs{0};
  call(&cumsum, {view_of(out, {50, 6})}, {OwnedView(in.data(), DType::kFloat32, {50, 6}, {1, 50})}, &attrs);
  expect_near(out, scanned(moved, {50, 6}, 0, kSum, nullptr), 2e-6);
}

}  // namespace
}  // namespace fireseed::cuda

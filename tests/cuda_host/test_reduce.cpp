// Reductions against float64: rows, columns, several dimensions, pieces over blocks, every dtype, NaN, empty.
#include "emu_test.h"
#include "tensor/attrs/reduce.h"

namespace fireseed::cuda {
#define FS_KERNEL(name) void name(const KernelArgs&);
FS_KERNEL(sum)
FS_KERNEL(mean)
FS_KERNEL(nansum)
FS_KERNEL(prod)
FS_KERNEL(amax)
FS_KERNEL(amin)
FS_KERNEL(any)
FS_KERNEL(all)
FS_KERNEL(count_nonzero)
FS_KERNEL(norm)
FS_KERNEL(argmax)
FS_KERNEL(argmin)
FS_KERNEL(max_dim)
FS_KERNEL(var)
FS_KERNEL(var_mean)
FS_KERNEL(std)
FS_KERNEL(logsumexp)
#undef FS_KERNEL

namespace {

using namespace cuda_emu;
using Values = std::vector<double>;

// The elements of each output, in row-major order of the reduced dimensions.
std::vector<Values> groups(const Values& memory, Dims sizes, Dims strides, int64_t mask) {
  std::vector<Values> g;
  const auto reduced = [&](int64_t i) { return mask == kAllDims || (mask >> i & 1); };
  Dims kept;
  for (int64_t i = 0; i < sizes.n; ++i)
    if (!reduced(i)) kept.push_back(sizes[i]);
  g.resize(static_cast<size_t>(numel_of(kept)));
  for (int64_t k = 0; k < numel_of(sizes); ++k) {
    int64_t rest = k, at = 0, output = 0, step = 1;
    for (int64_t i = sizes.n - 1; i >= 0; --i) {
      const int64_t q = rest % sizes[i];
      rest /= sizes[i];
      at += q * strides[i];
      if (!reduced(i)) {
        output += q * step;
        step *= sizes[i];
      }
    }
    g[static_cast<size_t>(output)].push_back(memory[static_cast<size_t>(at)]);
  }
  return g;
}

double total(const Values& v) {
  double s = 0;
  for (double x : v) s += x;
  return s;
}
double spread(const Values& v) {
  const double m = total(v) / static_cast<double>(v.size());
  double s = 0;
  for (double x : v) s += (x - m) * (x - m);
  return s / (static_cast<double>(v.size()) - 1);
}
double log_sum_exp(const Values& v) {
  double s = 0;
  for (double x : v) s += std::exp(x);
  return std::log(s);
}

template <class T>
void check(Dims sizes, Dims strides, int64_t mask, double tolerance) {
  int64_t span = 1;
  Dims out_sizes;
  for (int64_t i = 0; i < sizes.n; ++i) {
    span += (sizes[i] - 1) * strides[i];
    if (!(mask == kAllDims || (mask >> i & 1))) out_sizes.push_back(sizes[i]);
  }
  const auto x = random_values<T>(span, 1.0);
  const DeviceArray<T> dx(x), out(static_cast<size_t>(numel_of(out_sizes))), out2(out.size());
  const DeviceArray<int64_t> index(out.size());
  const OwnedView in(dx.data(), dtype_of<T>::value, sizes, strides);
  const auto g = groups(to_double(x), sizes, strides, mask);
  const auto expect = [&](const char* name, const auto& result, auto f) {
    SCOPED_TRACE(name);
    Values expected;
    for (const Values& v : g) expected.push_back(f(v));
    expect_near(result, expected, tolerance);
  };
  const ReduceAttrs attrs{mask, 0};
  const double n = static_cast<double>(g[0].size());
  call(&sum, {view_of(out, out_sizes)}, {in}, &attrs);
  expect("sum", out, total);
  call(&mean, {view_of(out, out_sizes)}, {in}, &attrs);
  expect("mean", out, [&](const Values& v) { return total(v) / n; });
  call(&amax, {view_of(out, out_sizes)}, {in}, &attrs);
  expect("amax", out, [](const Values& v) { return *std::max_element(v.begin(), v.end()); });
  call(&amin, {view_of(out, out_sizes)}, {in}, &attrs);
  expect("amin", out, [](const Values& v) { return *std::min_element(v.begin(), v.end()); });
  call(&argmax, {view_of(index, out_sizes)}, {in}, &attrs);
  expect("argmax", index,
         [](const Values& v) { return static_cast<double>(std::max_element(v.begin(), v.end()) - v.begin()); });
  call(&max_dim, {view_of(out, out_sizes), view_of(index, out_sizes)}, {in}, &attrs);
  expect("max_dim", out, [](const Values& v) { return *std::max_element(v.begin(), v.end()); });
  call(&logsumexp, {view_of(out, out_sizes)}, {in}, &attrs);
  expect("logsumexp", out, log_sum_exp);
  for (double p : {0.0, 1.0, 2.0, 3.0, static_cast<double>(INFINITY)}) {
    const NormAttrs norm_attrs{mask, 0, p};
    call(&norm, {view_of(out, out_sizes)}, {in}, &norm_attrs);
    expect("norm", out, [&](const Values& v) {
      double s = 0;
      for (double e : v)
        s = p == INFINITY ? std::max(s, std::fabs(e)) : s + (p == 0 ? e != 0 : std::pow(std::fabs(e), p));
      return p == 0 || p == INFINITY ? s : std::pow(s, 1 / p);
    });
  }
  if (n > 1) {
    const VarAttrs var_attrs{mask, 0, 1};
    call(&var, {view_of(out, out_sizes)}, {in}, &var_attrs);
    expect("var", out, spread);
    call(&std, {view_of(out, out_sizes)}, {in}, &var_attrs);
    expect("std", out, [](const Values& v) { return std::sqrt(spread(v)); });
    call(&var_mean, {view_of(out, out_sizes), view_of(out2, out_sizes)}, {in}, &var_attrs);
    expect("var_mean", out2, [&](const Values& v) { return total(v) / n; });
  }
}

TEST(Reduce, Rows) {
  for (int64_t n : {1, 2, 31, 100, 1000}) check<float>({5, n}, {n, 1}, 2, 2e-5);
  for_each_seed([] { check<float>({3, 700}, {700, 1}, 2, 2e-5); });
}
TEST(Reduce, Columns) {
  for (int64_t n : {1, 7, 40, 300}) check<float>({n, 35}, {35, 1}, 1, 2e-5);
  for_each_seed([] { check<float>({50, 70}, {70, 1}, 1, 2e-5); });
}
TEST(Reduce, SeveralDimensions) {
  check<float>({4, 6, 5}, {30, 5, 1}, 0b101, 2e-5);
  check<float>({4, 6, 5, 3}, {90, 15, 3, 1}, 0b1010, 2e-5);
  check<float>({8, 9}, {1, 8}, 0b10, 2e-5);
  check<float>({8, 9}, {18, 2}, 0b01, 2e-5);
  check<float>({6}, {1}, kAllDims, 2e-5);
  check<float>({}, {}, kAllDims, 2e-5);
}
TEST(Reduce, NothingAlongSeveralDimensions) {
  const DeviceArray<float> x(size_t{1}), out(3);
  const ReduceAttrs attrs{0b101};
  call(&sum, {view_of(out, {3})}, {view_of(x, {0, 3, 4})}, &attrs);
  EXPECT_EQ(out.host(), std::vector<float>(3, 0.0f));
}
TEST(Reduce, Pieces) {
  check<float>({20000}, {1}, kAllDims, 5e-5);
  check<float>({5000, 3}, {3, 1}, 0b01, 5e-5);
  for_each_seed([] { check<double>({2, 9000}, {9000, 1}, 0b10, 1e-12); });
}
TEST(Reduce, Dtypes) {
  check<double>({6, 80}, {80, 1}, 2, 1e-13);
  check<float16>({6, 80}, {80, 1}, 2, 3e-3);
  check<bfloat16>({6, 80}, {80, 1}, 2, 2e-2);
}
TEST(Reduce, Integers) {
  const DeviceArray<int8_t> x(std::vector<int8_t>{100, 100, 100, -5, 0, 7}), extreme(2);
  const DeviceArray<int64_t> out(2);
  const DeviceArray<bool> flag(2);
  const ReduceAttrs attrs{2, 0};
  call(&sum, {view_of(out, {2})}, {view_of(x, {2, 3})}, &attrs);
  EXPECT_EQ(out.host(), (std::vector<int64_t>{300, 2}));
  call(&prod, {view_of(out, {2})}, {view_of(x, {2, 3})}, &attrs);
  EXPECT_EQ(out.host(), (std::vector<int64_t>{1000000, 0}));
  call(&amax, {view_of(extreme, {2})}, {view_of(x, {2, 3})}, &attrs);
  EXPECT_EQ(extreme.host(), (std::vector<int8_t>{100, 7}));
  call(&argmax, {view_of(out, {2})}, {view_of(x, {2, 3})}, &attrs);
  EXPECT_EQ(out.host(), (std::vector<int64_t>{0, 2}));
  call(&count_nonzero, {view_of(out, {2})}, {view_of(x, {2, 3})}, &attrs);
  EXPECT_EQ(out.host(), (std::vector<int64_t>{3, 2}));
  call(&all, {view_of(flag, {2})}, {view_of(x, {2, 3})}, &attrs);
  EXPECT_EQ(flag.host(), (std::vector<bool>{true, false}));
  call(&any, {view_of(flag, {2})}, {view_of(x, {2, 3})}, &attrs);
  EXPECT_EQ(flag.host(), (std::vector<bool>{true, true}));
}
TEST(Reduce, SpecialValues) {
  const DeviceArray<float> x(std::vector<float>{1, NAN, 3, NAN, -INFINITY, -INFINITY, -INFINITY, -INFINITY}), out(2);
  const DeviceArray<int64_t> index(2);
  const ReduceAttrs attrs{2, 0};
  call(&argmax, {view_of(index, {2})}, {view_of(x, {2, 4})}, &attrs);
  EXPECT_EQ(index.host(), (std::vector<int64_t>{1, 0}));
  call(&argmin, {view_of(index, {2})}, {view_of(x, {2, 4})}, &attrs);
  EXPECT_EQ(index.host(), (std::vector<int64_t>{1, 0}));
  call(&amax, {view_of(out, {2})}, {view_of(x, {2, 4})}, &attrs);
  EXPECT_TRUE(std::isnan(out.host()[0]));
  EXPECT_EQ(out.host()[1], -INFINITY);
  call(&nansum, {view_of(out, {2})}, {view_of(x, {2, 4})}, &attrs);
  EXPECT_EQ(out.host()[0], 4);
  call(&logsumexp, {view_of(out, {2})}, {view_of(x, {2, 4})}, &attrs);
  EXPECT_TRUE(std::isnan(out.host()[0]));
  EXPECT_EQ(out.host()[1], -INFINITY);
  // Nothing to sum.
  const DeviceArray<float> none(1);
  call(&sum, {view_of(out, {2})}, {OwnedView(none.data(), DType::kFloat32, {2, 0})}, &attrs);
  EXPECT_EQ(out.host(), (std::vector<float>{0, 0}));
  call(&mean, {view_of(out, {2})}, {OwnedView(none.data(), DType::kFloat32, {2, 0})}, &attrs);
  EXPECT_TRUE(std::isnan(out.host()[1]));
}

}  // namespace
}  // namespace fireseed::cuda

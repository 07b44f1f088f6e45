// Permutations: complete and evenly spread; multinomial: shares of the weights, no repetitions, errors.
#include "emu_test.h"
#include "math/random.h"
#include "tensor/attrs/random.h"

namespace fireseed::cuda {
void randperm(const KernelArgs&);
void multinomial(const KernelArgs&);

namespace {

using namespace cuda_emu;

template <class T>
std::vector<double> permutation(int64_t n, Generator& g, int64_t step = 1) {
  const DeviceArray<T> out(static_cast<size_t>(n * step));
  const GeneratorAttrs attrs{&g};
  const OwnedView view(out.data(), dtype_of<T>::value, {n}, {step});
  call(&randperm, {view}, {view}, &attrs);
  std::vector<double> r;
  const auto all = to_double(out.host());
  for (size_t i = 0; i < all.size(); i += static_cast<size_t>(step)) r.push_back(all[i]);
  return r;
}
void expect_permutation(std::vector<double> p) {
  std::sort(p.begin(), p.end());
  for (size_t i = 0; i < p.size(); ++i) ASSERT_EQ(p[i], static_cast<double>(i));
}

TEST(Randperm, EveryNumberOnce) {
  Generator g(1, 0);
  for (int64_t n : {1, 2, 31, 256, 257, 1000, 8192, 8193, 16383, 16384, 20000}) {
    SCOPED_TRACE(n);
    expect_permutation(permutation<int64_t>(n, g));
  }
  expect_permutation(permutation<int32_t>(500, g, 3));
  expect_permutation(permutation<float16>(200, g));
  expect_permutation(permutation<uint8_t>(256, g));
  for_each_seed([&] { expect_permutation(permutation<int64_t>(600, g)); });
}
TEST(Randperm, AllOrdersAlikeOften) {
  Generator g(2, 0);
  int seen[27] = {};
  constexpr int kTimes = 1200;
  for (int t = 0; t < kTimes; ++t) {
    const auto p = permutation<int64_t>(3, g);
    ++seen[static_cast<int>(p[0] * 9 + p[1] * 3 + p[2])];
  }
  int orders = 0;
  for (int count : seen) {
    if (count == 0) continue;
    ++orders;
    EXPECT_NEAR(count, kTimes / 6, 4.5 * std::sqrt(kTimes / 6.0));
  }
  EXPECT_EQ(orders, 6);
}
TEST(Randperm, LargeOnesHaveNoTrend) {
  Generator g(3, 0);
  const auto a = permutation<int64_t>(20000, g), b = permutation<int64_t>(20000, g);
  EXPECT_NE(a, b);
  const double n = 20000, mean = (n - 1) / 2, variance = (n * n - 1) / 12;
  double with_place = 0, with_next = 0, fixed = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    with_place += (a[i] - mean) * (static_cast<double>(i) - mean) / variance;
    if (i > 0) with_next += (a[i] - mean) * (a[i - 1] - mean) / variance;
    fixed += a[i] == static_cast<double>(i);
  }
  EXPECT_LT(std::fabs(with_place), 4 * std::sqrt(n));
  EXPECT_LT(std::fabs(with_next), 4 * std::sqrt(n));
  EXPECT_LT(fixed, 8);  // 1 is expected
}

template <class T>
std::vector<int64_t> choose(const std::vector<T>& p, int64_t rows, int64_t k, bool replacement, Generator& g) {
  const DeviceArray<T> weights(p);
  const DeviceArray<int64_t> out(static_cast<size_t>(rows * k));
  const MultinomialAttrs attrs{&g, k, replacement};
  const int64_t n = static_cast<int64_t>(p.size()) / rows;
  call(&multinomial, {view_of(out, {rows, k})}, {view_of(weights, {rows, n})}, &attrs);
  return out.host();
}
// Of samples from weights 0, 1, 2, 3, 0 (in every row).
void expect_shares(const std::vector<int64_t>& x) {
  const double n = static_cast<double>(x.size());
  for (int64_t v = 0; v < 5; ++v) {
    const double share = static_cast<double>(std::count(x.begin(), x.end(), v)) / n,
                 want = v < 4 ? static_cast<double>(v) / 6 : 0;
    EXPECT_LE(std::fabs(share - want), 4.5 * std::sqrt(want * (1 - want) / n)) << v;
  }
}
template <class T>
std::vector<T> rows_of_weights(int rows) {
  std::vector<T> p;
  for (int r = 0; r < rows; ++r)
    for (float w : {0.0f, 1.0f, 2.0f, 3.0f, 0.0f}) p.push_back(T(w));
  return p;
}
TEST(Multinomial, Shares) {
  Generator g(4, 0);
  expect_shares(choose(rows_of_weights<float>(1), 1, 6000, true, g));
  expect_shares(choose(rows_of_weights<double>(3), 3, 2000, true, g));
  expect_shares(choose(rows_of_weights<float>(600), 600, 1, false, g));
  expect_shares(choose(rows_of_weights<bfloat16>(600), 600, 1, true, g));
}
TEST(Multinomial, WithoutReplacement) {
  Generator g(5, 0);
  std::vector<float> p(600, 0.0f);  // two rows of 300: 15 have weight, and all of these are wanted
  for (size_t i = 7; i < p.size(); i += 20) p[i] = 1.0f + static_cast<float>(i);
  for_each_seed([&] {
    const auto x = choose(p, 2, 15, false, g);
    for (size_t row = 0; row < 2; ++row) {
      std::vector<int64_t> own(x.begin() + static_cast<int64_t>(row) * 15,
                               x.begin() + static_cast<int64_t>(row) * 15 + 15);
      std::sort(own.begin(), own.end());
      for (size_t i = 0; i < own.size(); ++i) ASSERT_EQ(own[i], static_cast<int64_t>(7 + 20 * i));
    }
  });
}
TEST(Multinomial, ManyCategories) {
  Generator g(6, 0);
  std::vector<float> p(3001, 0.0f);
  p[0] = p[2999] = 1;
  for (int64_t x : choose(p, 1, 300, true, g)) EXPECT_TRUE(x == 0 || x == 2999) << x;
  const auto both = choose(p, 1, 2, false, g);
  EXPECT_EQ(both[0] + both[1], 2999);
}
TEST(Multinomial, Errors) {
  Generator g(7, 0);
  for (bool replacement : {false, true}) {
    EXPECT_NE(failure_of([&] { choose<float>({1, -1, 1}, 1, 2, replacement, g); }).find("< 0"), std::string::npos);
    EXPECT_NE(failure_of([&] { choose<float>({1, NAN, 1}, 1, 2, replacement, g); }), "");
    EXPECT_NE(failure_of([&] { choose<float>({1, INFINITY, 1}, 1, 2, replacement, g); }).find("inf"),
              std::string::npos);
    EXPECT_NE(failure_of([&] { choose<float>({0, 0, 0}, 1, 2, replacement, g); }).find("<= 0"), std::string::npos);
  }
}

}  // namespace
}  // namespace fireseed::cuda

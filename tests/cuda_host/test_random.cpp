// Random kernels: Philox's published vectors, distributions against their moments and distribution functions,
// dropout.
#include <functional>

#include "emu_test.h"
#include "math/philox.h"
#include "math/random.h"
#include "tensor/attrs/random.h"

namespace fireseed::cuda {
void uniform(const KernelArgs&);
void normal(const KernelArgs&);
void log_normal(const KernelArgs&);
void exponential(const KernelArgs&);
void cauchy(const KernelArgs&);
void geometric(const KernelArgs&);
void random_int(const KernelArgs&);
void bernoulli(const KernelArgs&);
void bernoulli_tensor(const KernelArgs&);
void dropout(const KernelArgs&);
void dropout_backward(const KernelArgs&);

namespace {

using namespace cuda_emu;

constexpr int64_t kMany = 20001;

// The kernel's numbers, n of them, from a generator with the given seed.
template <class T, class A>
std::vector<double> draw(Kernel kernel, A attrs, int64_t n, Generator& generator) {
  const DeviceArray<T> out(static_cast<size_t>(n));
  attrs.generator = &generator;
  call(kernel, {view_of(out, {n})}, {view_of(out, {n})}, &attrs);
  return to_double(out.host());
}

// Kolmogorov and Smirnov: the largest distance from the distribution function, which 2.2 / sqrt(n) exceeds with
// probability 1e-4. The seed is fixed, so that the outcome is too.
void expect_distribution(std::vector<double> x, const std::function<double(double)>& cdf, double coarse = 0) {
  std::sort(x.begin(), x.end());
  const double n = static_cast<double>(x.size());
  double distance = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double p = cdf(x[i]), k = static_cast<double>(i);
    distance = std::max({distance, p - k / n, (k + 1) / n - p});
  }
  EXPECT_LT(distance, 2.2 / std::sqrt(n) + coarse);
}

TEST(Philox, PublishedVectors) {  // Random123's kat_vectors
  const auto words = [](uint64_t key, uint64_t low, uint64_t high) {
    const PhiloxWords r = philox(key, low, high);
    return std::vector<uint32_t>(r.w, r.w + 4);
  };
  EXPECT_EQ(words(0, 0, 0), (std::vector<uint32_t>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(words(~0ull, ~0ull, ~0ull), (std::vector<uint32_t>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(words(0x299f31d0a4093822ull, 0x85a308d3243f6a88ull, 0x0370734413198a2eull),
            (std::vector<uint32_t>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Random, Uniform) {
  Generator g(1, 0);
  const auto unit = [](double x) { return std::min(1.0, std::max(0.0, x)); };
  expect_distribution(draw<float>(&uniform, UniformAttrs{}, kMany, g), unit);
  expect_distribution(draw<double>(&uniform, UniformAttrs{}, kMany, g), unit);
  const auto wide = draw<double>(&uniform, UniformAttrs{nullptr, -3, 5}, kMany, g);
  expect_distribution(wide, [&](double x) { return unit((x + 3) / 8); });
  for (double x : draw<bfloat16>(&uniform, UniformAttrs{}, 4000, g)) EXPECT_TRUE(x >= 0 && x < 1) << x;
  for (double x : draw<float16>(&uniform, UniformAttrs{nullptr, 1, 1.001}, 4000, g)) EXPECT_TRUE(x >= 1 && x < 1.001);
}
TEST(Random, Normal) {
  Generator g(2, 0);
  const auto cdf = [](double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); };
  expect_distribution(draw<float>(&normal, NormalAttrs{}, kMany, g), cdf);
  expect_distribution(draw<double>(&normal, NormalAttrs{}, kMany, g), cdf);
  expect_distribution(draw<bfloat16>(&normal, NormalAttrs{}, kMany, g), cdf, 4e-3);
  expect_distribution(draw<float>(&normal, NormalAttrs{nullptr, 2, 3}, kMany, g),
                      [&](double x) { return cdf((x - 2) / 3); });
  expect_distribution(draw<double>(&log_normal, NormalAttrs{nullptr, 1, 2}, kMany, g),
                      [&](double x) { return cdf((std::log(x) - 1) / 2); });
  const auto x = draw<float>(&normal, NormalAttrs{}, kMany, g);
  double next = 0;  // neighbours are independent
  for (size_t i = 0; i + 1 < x.size(); ++i) next += x[i] * x[i + 1];
  EXPECT_LT(std::fabs(next) / std::sqrt(static_cast<double>(kMany)), 4);
}
TEST(Random, ExponentialAndCauchy) {
  Generator g(3, 0);
  const auto cdf = [](double x) { return 1 - std::exp(-2 * x); };
  for (const auto& x : {draw<float>(&exponential, ExponentialAttrs{nullptr, 2}, kMany, g),
                        draw<double>(&exponential, ExponentialAttrs{nullptr, 2}, kMany, g)}) {
    expect_distribution(x, cdf);
    EXPECT_GT(*std::min_element(x.begin(), x.end()), 0);
  }
  expect_distribution(draw<double>(&cauchy, CauchyAttrs{nullptr, 1, 2}, kMany, g),
                      [](double x) { return 0.5 + std::atan((x - 1) / 2) / 3.14159265358979323846; });
}
// The share of each of the values first … last is p(value), within 4.5 standard deviations.
void expect_shares(const std::vector<double>& x, int first, int last, const std::function<double(int)>& p) {
  const double n = static_cast<double>(x.size());
  for (int v = first; v <= last; ++v) {
    const double share = static_cast<double>(std::count(x.begin(), x.end(), v)) / n, want = p(v);
    EXPECT_LT(std::fabs(share - want), 4.5 * std::sqrt(want * (1 - want) / n) + 1e-12) << v;
  }
}
TEST(Random, Integers) {
  Generator g(4, 0);
  const auto seventh = [](int) { return 1.0 / 7; };
  expect_shares(draw<int64_t>(&random_int, RandomIntAttrs{nullptr, 7, -3, 0}, kMany, g), -3, 3, seventh);
  expect_shares(draw<int32_t>(&random_int, RandomIntAttrs{nullptr, 7, -3, 1}, kMany, g), -3, 3, seventh);
  expect_shares(draw<uint8_t>(&random_int, RandomIntAttrs{nullptr, 7, 200, 0}, kMany, g), 200, 206, seventh);
  expect_shares(draw<bfloat16>(&random_int, RandomIntAttrs{nullptr, 7, 0, 0}, kMany, g), 0, 6, seventh);
  expect_shares(draw<bool>(&random_int, RandomIntAttrs{nullptr, 2, 0, 0}, kMany, g), 0, 1, [](int) { return 0.5; });
  double least = 0, most = 0;
  for (double x : draw<int64_t>(&random_int, RandomIntAttrs{nullptr, 0, 0, 1}, 1000, g)) {
    least = std::min(least, x);
    most = std::max(most, x);
  }
  EXPECT_LT(least, -9e18);
  EXPECT_GT(most, 9e18);
}
TEST(Random, BernoulliAndGeometric) {
  Generator g(5, 0);
  const auto p = [](int v) { return v ? 0.3 : 0.7; };
  expect_shares(draw<float>(&bernoulli, BernoulliAttrs{nullptr, 0.3}, kMany, g), 0, 1, p);
  expect_shares(draw<int16_t>(&bernoulli, BernoulliAttrs{nullptr, 0.3}, kMany, g), 0, 1, p);
  expect_shares(draw<bool>(&bernoulli, BernoulliAttrs{nullptr, 1.0}, 100, g), 0, 1, [](int v) { return v; });
  expect_shares(draw<float16>(&bernoulli, BernoulliAttrs{nullptr, 0.0}, 100, g), 0, 1, [](int v) { return 1 - v; });
  const auto trials = [](int v) { return std::pow(0.7, v - 1) * 0.3; };
  expect_shares(draw<int32_t>(&geometric, BernoulliAttrs{nullptr, 0.3}, kMany, g), 0, 5,
                [&](int v) { return v == 0 ? 0 : trials(v); });
}
TEST(Random, BernoulliByElement) {
  Generator g(6, 0);
  const GeneratorAttrs attrs{&g};
  std::vector<float> p(6000);
  for (size_t i = 0; i < p.size(); ++i) p[i] = i % 3 == 0 ? 0.0f : i % 3 == 1 ? 1.0f : 0.25f;
  const DeviceArray<float> dp(p);
  const DeviceArray<double> out(p.size());
  call(&bernoulli_tensor, {view_of(out, {6000})}, {view_of(out, {6000}), view_of(dp, {6000})}, &attrs);
  const auto x = out.host();
  std::vector<double> third;
  for (size_t i = 0; i < x.size(); ++i) {
    if (i % 3 == 2) third.push_back(x[i]);
    else EXPECT_EQ(x[i], static_cast<double>(p[i]));
  }
  expect_shares(third, 0, 1, [](int v) { return v ? 0.25 : 0.75; });
}

TEST(Random, SeedsAndOffsets) {
  Generator a(7, 0), b(7, 0), c(8, 0);
  const auto first = draw<float>(&uniform, UniformAttrs{}, 100, a),
             second = draw<float>(&uniform, UniformAttrs{}, 100, a);
  EXPECT_EQ(draw<float>(&uniform, UniformAttrs{}, 100, b), first);
  EXPECT_EQ(draw<float>(&uniform, UniformAttrs{}, 100, b), second);
  EXPECT_NE(first, second);
  EXPECT_NE(draw<float>(&uniform, UniformAttrs{}, 100, c), first);
  EXPECT_EQ(a.offset(), 200u);
  b.set_offset(0);  // one call of 200 is two of 100
  auto both = first;
  both.insert(both.end(), second.begin(), second.end());
  EXPECT_EQ(draw<float>(&uniform, UniformAttrs{}, 200, b), both);
}
TEST(Random, LayoutsAndAlignment) {
  Generator a(9, 0), b(9, 0), c(9, 0);
  const auto want = draw<float>(&uniform, UniformAttrs{}, 35, a);
  const DeviceArray<float> wide(70), shifted(36);
  UniformAttrs attrs{&b};
  const OwnedView strided(wide.data(), DType::kFloat32, {5, 7}, {1, 10});
  call(&uniform, {strided}, {strided}, &attrs);
  const auto all = wide.host();
  for (size_t i = 0; i < 5; ++i)
    for (size_t j = 0; j < 7; ++j) EXPECT_EQ(all[i + 10 * j], want[i * 7 + j]);
  EXPECT_TRUE(std::isnan(all[5]) && std::isnan(all[16]));
  attrs.generator = &c;
  const OwnedView off(shifted.data() + 1, DType::kFloat32, {35});
  call(&uniform, {off}, {off}, &attrs);
  const auto v = to_double(shifted.host());
  EXPECT_EQ(std::vector<double>(v.begin() + 1, v.end()), want);
}

template <class T>
void check_dropout(double p) {
  Generator g(10, 0);
  const auto x = random_values<T>(5003, 1.0);
  const DeviceArray<T> dx(x), y(x.size()), gx(x.size());
  const DeviceArray<bool> mask(x.size());
  const DropoutAttrs attrs{&g, p};
  const DropoutBackwardAttrs backward{p};
  call(&dropout, {view_of(y, {5003}), view_of(mask, {5003})}, {view_of(dx, {5003})}, &attrs);
  call(&dropout_backward, {view_of(gx, {5003})}, {view_of(dx, {5003}), view_of(mask, {5003})}, &backward);
  const auto kept = to_double(mask.host());
  expect_shares(kept, 0, 1, [&](int v) { return v ? 1 - p : p; });
  std::vector<double> want;
  for (size_t i = 0; i < x.size(); ++i) want.push_back(kept[i] != 0 ? to_double(x[i]) / (1 - p) : 0.0);
  const double tolerance = sizeof(T) == 2 ? 1e-2 : 1e-6;
  expect_near(y, want, tolerance);
  expect_near(gx, want, tolerance);
}
TEST(Random, Dropout) {
  check_dropout<float>(0.25);
  check_dropout<double>(0.5);
  check_dropout<bfloat16>(0.1);
  check_dropout<float16>(0.9);
  check_dropout<float>(0.0);
  check_dropout<float>(1.0);
}
TEST(Random, DropoutFollowsTheLogicalOrder) {
  Generator a(11, 0), b(11, 0);
  const auto x = random_values<float>(24, 1.0);
  std::vector<float> turned(24);
  for (size_t i = 0; i < 4; ++i)
    for (size_t j = 0; j < 6; ++j) turned[j * 4 + i] = x[i * 6 + j];
  const DeviceArray<float> dx(x), dt(turned), y(24), z(24);
  const DeviceArray<bool> my(24), mz(24);
  DropoutAttrs attrs{&a, 0.5};
  call(&dropout, {view_of(y, {4, 6}), view_of(my, {4, 6})}, {view_of(dx, {4, 6})}, &attrs);
  attrs.generator = &b;
  call(&dropout, {view_of(z, {4, 6}), view_of(mz, {4, 6})}, {OwnedView(dt.data(), DType::kFloat32, {4, 6}, {1, 4})},
       &attrs);
  EXPECT_EQ(y.host(), z.host());
  EXPECT_EQ(my.host(), mz.host());
}

}  // namespace
}  // namespace fireseed::cuda

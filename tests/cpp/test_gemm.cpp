// Tests of the matrix product and the convolutions: random shapes and strides against plain loops in double.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "base/parallel.h"
#include "ops/conv.h"
#include "ops/copy.h"
#include "ops/creation.h"
#include "ops/matmul.h"
#include "ops/shape.h"

namespace fireseed {
namespace {

std::mt19937 rng(11);

int64_t below(int64_t n) { return static_cast<int64_t>(rng() % static_cast<unsigned>(n)); }

Tensor random_tensor(const Dims& sizes, DType t) {
  Tensor x = empty(sizes, DType::kFloat32);
  for (int64_t i = 0; i < x.numel(); ++i) x.data<float>()[i] = static_cast<float>(below(2001) - 1000) / 1000;
  return to(x, t);
}
// A matrix as a row-major, transposed or stepped view.
Tensor random_matrix(int64_t rows, int64_t cols, DType t) {
  switch (below(4)) {
    case 0: return transpose(random_tensor({cols, rows}, t), 0, 1);
    case 1: return slice(random_tensor({rows, cols * 2}, t), 1, {}, {}, 2);
    case 2: return slice(random_tensor({rows, cols + 3}, t), 1, 1, cols + 1);
    default: return random_tensor({rows, cols}, t);
  }
}
std::vector<double> values(const Tensor& x) {
  const Tensor d = contiguous(to(x, DType::kFloat64));
  return std::vector<double>(d.data<double>(), d.data<double>() + d.numel());
}
double tolerance(DType t, double terms) {
  const double eps = t == DType::kFloat64 ? 1e-15 : t == DType::kFloat32 ? 3e-7 : t == DType::kFloat16 ? 1e-3 : 8e-3;
  return 4 * eps * (1 + std::sqrt(terms)) +
         (t == DType::kFloat16 || t == DType::kBFloat16 ? 4 * eps * std::sqrt(terms) : 0);
}
// The same call with one thread and with three: the same bits.
template <class F>
Tensor any_threads(F f) {
  const int before = num_threads();
  set_num_threads(1);
  const Tensor one = f();
  set_num_threads(3);
  const Tensor three = f();
  set_num_threads(before);
  EXPECT_EQ(0, std::memcmp(one.data<char>(), three.data<char>(), static_cast<size_t>(one.numel()) * one.itemsize()));
  return one;
}

void check_product(int64_t m, int64_t n, int64_t k, DType t) {
  const Tensor a = random_matrix(m, k, t), b = random_matrix(k, n, t);
  const std::vector<double> x = values(a), y = values(b);
  const std::vector<double> c = values(any_threads([&] { return matmul(a, b); }));
  ASSERT_EQ(static_cast<int64_t>(c.size()), m * n);
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j) {
      double sum = 0;
      for (int64_t p = 0; p < k; ++p) sum += x[i * k + p] * y[p * n + j];
      ASSERT_NEAR(c[i * n + j], sum, tolerance(t, static_cast<double>(k)) * std::fmax(1, std::fabs(sum)))
          << m << "x" << k << " * " << k << "x" << n << " " << dtype_name(t) << " at " << i << ", " << j;
    }
}

TEST(Gemm, RandomShapes) {
  for (DType t : {DType::kFloat32, DType::kFloat64, DType::kFloat16, DType::kBFloat16})
    for (int i = 0; i < 120; ++i) {
      const auto size = [] { return below(3) == 0 ? below(5) : below(3) == 0 ? 1 + below(150) : 1 + below(40); };
      const int64_t m = size(), n = size(), k = size();
      check_product(m, n, k, t);
    }
}

TEST(Gemm, SkinnyAndLong) {
  for (int64_t m : {1, 2, 4, 7, 17})
    for (int64_t n : {1, 3, 33}) {
      check_product(m, n, 40000, DType::kFloat32);
      check_product(m, n, 9001, DType::kFloat64);
      check_product(m, 1500 + n, 70, DType::kFloat32);
      check_product(1500 + n, m, 70, DType::kFloat32);
    }
  check_product(300, 420, 500, DType::kFloat32);
  for (int i = 0; i < 4; ++i)
    check_product(300, 128, 500, DType::kFloat32);  // one thread packs B otherwise than three
}

// A large first operand whose columns lie far apart: the same sums in the same order as from its rows.
TEST(Gemm, LargeTransposed) {
  for (DType t : {DType::kFloat32, DType::kFloat64, DType::kFloat16, DType::kBFloat16}) {
    const Tensor a = transpose(random_tensor({1101, 803}, t), 0, 1), b = random_tensor({1101, 430}, t);
    const Tensor turned = any_threads([&] { return matmul(a, b); }), straight = matmul(contiguous(a), b);
    EXPECT_EQ(values(turned), values(straight)) << dtype_name(t);
    const Tensor sets = transpose(random_tensor({203, 512}, t), 0, 1), d = random_tensor({203, 420}, t);
    EXPECT_EQ(values(any_threads([&] { return matmul(sets, d); })), values(matmul(contiguous(sets), d)))
        << dtype_name(t);
    const Tensor deep = transpose(random_tensor({4001, 150}, t), 0, 1), c = random_tensor({4001, 120}, t);
    EXPECT_EQ(values(any_threads([&] { return matmul(deep, c); })), values(matmul(contiguous(deep), c)))
        << dtype_name(t);
  }
}

TEST(Gemm, IntegersWrap) {
  const Tensor a = to(full({2, 3}, 100, DType::kInt64), DType::kInt8);
  EXPECT_EQ(values(matmul(a, transpose(a, 0, 1)))[0], static_cast<double>(static_cast<int8_t>(30000)));
}

TEST(Gemm, NothingToSum) {
  for (double x : values(matmul(empty({3, 0}, DType::kFloat32), empty({0, 4}, DType::kFloat32)))) EXPECT_EQ(x, 0);
  EXPECT_EQ(matmul(empty({0, 5}, DType::kFloat32), empty({5, 4}, DType::kFloat32)).numel(), 0);
}

TEST(Gemm, BroadcastBatches) {
  const Tensor a = random_tensor({3, 1, 5, 7}, DType::kFloat64), b = random_tensor({4, 7, 6}, DType::kFloat64);
  const Tensor c = matmul(a, b);
  ASSERT_EQ(c.sizes(), (Dims{3, 4, 5, 6}));
  for (int64_t i = 0; i < 3; ++i)
    for (int64_t j = 0; j < 4; ++j) {
      const std::vector<double> got = values(select(select(c, 0, i), 0, j)),
                                want = values(matmul(select(select(a, 0, i), 0, 0), select(b, 0, j)));
      for (size_t p = 0; p < got.size(); ++p) EXPECT_NEAR(got[p], want[p], 1e-14);
    }
}

struct Shape { int64_t n, groups, in, out, size[2], kernel[2], stride[2], pad[2], dilation[2]; };

void check_convolution(const Shape& s, DType t) {
  int64_t o[2];
  for (int i = 0; i < 2; ++i) {
    const int64_t room = s.size[i] + 2 * s.pad[i] - s.dilation[i] * (s.kernel[i] - 1) - 1;
    if (room < 0) return;
    o[i] = room / s.stride[i] + 1;
  }
  const Tensor x = random_tensor({s.n, s.groups * s.in, s.size[0], s.size[1]}, t),
               w = random_tensor({s.groups * s.out, s.in, s.kernel[0], s.kernel[1]}, t),
               b = random_tensor({s.groups * s.out}, t);
  const Dims stride{s.stride[0], s.stride[1]}, pad{s.pad[0], s.pad[1]}, dilation{s.dilation[0], s.dilation[1]};
  const std::vector<double> xs = values(x), ws = values(w), bs = values(b);
  const std::vector<double> y = values(any_threads([&] { return conv2d(x, w, b, stride, pad, dilation, s.groups); }));
  ASSERT_EQ(static_cast<int64_t>(y.size()), s.n * s.groups * s.out * o[0] * o[1]);
  std::vector<double> want(y.size());
  for (size_t i = 0; i < want.size(); ++i) want[i] = bs[i / static_cast<size_t>(o[0] * o[1]) % bs.size()];
  // What the transposed convolution makes of y's grid is checked against the same sums.
  std::vector<double> spread(xs.size());
  const Tensor g = random_tensor({s.n, s.groups * s.out, o[0], o[1]}, t);
  const std::vector<double> gs = values(g);
  for (int64_t n = 0; n < s.n; ++n)
    for (int64_t m = 0; m < s.groups * s.out; ++m)
      for (int64_t c = 0; c < s.in; ++c)
        for (int64_t oy = 0; oy < o[0]; ++oy)
          for (int64_t ox = 0; ox < o[1]; ++ox)
            for (int64_t ky = 0; ky < s.kernel[0]; ++ky)
              for (int64_t kx = 0; kx < s.kernel[1]; ++kx) {
                const int64_t iy = oy * s.stride[0] - s.pad[0] + ky * s.dilation[0],
                              ix = ox * s.stride[1] - s.pad[1] + kx * s.dilation[1];
                if (iy < 0 || iy >= s.size[0] || ix < 0 || ix >= s.size[1]) continue;
                const int64_t yi = ((n * s.groups * s.out + m) * o[0] + oy) * o[1] + ox,
                              xi = ((n * s.groups * s.in + m / s.out * s.in + c) * s.size[0] + iy) * s.size[1] + ix,
                              wi = ((m * s.in + c) * s.kernel[0] + ky) * s.kernel[1] + kx;
                want[static_cast<size_t>(yi)] += xs[static_cast<size_t>(xi)] * ws[static_cast<size_t>(wi)];
                spread[static_cast<size_t>(xi)] += gs[static_cast<size_t>(yi)] * ws[static_cast<size_t>(wi)];
              }
  const double terms = static_cast<double>(s.in * s.kernel[0] * s.kernel[1]);
  for (size_t i = 0; i < y.size(); ++i)
    ASSERT_NEAR(y[i], want[i], tolerance(t, terms) * std::fmax(1, std::fabs(want[i])));
  Dims extra;
  for (int i = 0; i < 2; ++i) {
    extra.push_back(s.size[i] - ((o[i] - 1) * s.stride[i] - 2 * s.pad[i] + s.dilation[i] * (s.kernel[i] - 1) + 1));
    if (s.size[i] < 1 || (extra[i] >= s.stride[i] && extra[i] >= s.dilation[i])) return;
  }
  const std::vector<double> back = values(
      any_threads([&] { return convolve_transpose(2, g, w, Tensor(), stride, pad, extra, s.groups, dilation); }));
  const double more = static_cast<double>(s.out * s.kernel[0] * s.kernel[1]);
  ASSERT_EQ(back.size(), spread.size());
  for (size_t i = 0; i < back.size(); ++i)
    ASSERT_NEAR(back[i], spread[i], tolerance(t, more) * std::fmax(1, std::fabs(spread[i])));
}

TEST(Conv, RandomShapes) {
  for (DType t : {DType::kFloat32, DType::kFloat64, DType::kFloat16})
    for (int i = 0; i < 80; ++i) {
      Shape s;
      s.n = below(10) == 0 ? 0 : 1 + below(3);
      s.groups = below(3) == 0 ? 1 + below(4) : 1;
      s.in = 1 + below(below(2) ? 12 : 2);
      s.out = 1 + below(below(2) ? 34 : 2);
      for (int a = 0; a < 2; ++a) {
        s.size[a] = 1 + below(14);
        s.kernel[a] = 1 + below(4);
        s.stride[a] = 1 + below(3);
        s.pad[a] = below(4);
        s.dilation[a] = 1 + (below(3) == 0 ? below(3) : 0);
      }
      check_convolution(s, t);
    }
  // Stride phases of one tap, which is not the first, from a row of one pixel.
  check_convolution({2, 1, 2, 3, {5, 8}, {4, 1}, {3, 1}, {0, 0}, {1, 1}}, DType::kFloat32);
}

}  // namespace
}  // namespace fireseed

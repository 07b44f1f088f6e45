// Cholesky and linear equations by residuals: one block and several, batches, what cannot be factored, pivots.
#include "emu_test.h"
#include "tensor/backend.h"

namespace fireseed::cuda {
void cholesky(const KernelArgs&);
void solve(const KernelArgs&);

namespace {

using namespace cuda_emu;

template <class T>
struct Matrices {
  std::vector<T> v;
  int64_t n, m;
  T& at(int64_t matrix, int64_t i, int64_t j) { return v[static_cast<size_t>((matrix * n + i) * m + j)]; }
  double get(int64_t matrix, int64_t i, int64_t j) const {
    return static_cast<double>(v[static_cast<size_t>((matrix * n + i) * m + j)]);
  }
};

// a a^T + identity of random a (n, n).
template <class T>
Matrices<T> positive_definite(int64_t count, int64_t n) {
  Matrices<T> r{std::vector<T>(static_cast<size_t>(count * n * n)), n, n};
  const Matrices<double> a{random_values<double>(count * n * n, 1.0), n, n};
  for (int64_t b = 0; b < count; ++b)
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < n; ++j) {
        double sum = i == j ? static_cast<double>(n) : 0;
        for (int64_t k = 0; k < n; ++k) sum += a.get(b, i, k) * a.get(b, j, k);
        r.at(b, i, j) = static_cast<T>(sum / static_cast<double>(n));
      }
  return r;
}

template <class T>
void check_cholesky(int64_t count, int64_t n, double tolerance) {
  SCOPED_TRACE("n " + std::to_string(n));
  Matrices<T> a = positive_definite<T>(count, n);
  const Matrices<T> whole = a;
  for (int64_t b = 0; b < count; ++b)  // above the diagonal nothing is read
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = i + 1; j < n; ++j) a.at(b, i, j) = static_cast<T>(NAN);
  const DeviceArray<T> in(a.v), out(a.v.size());
  const DeviceArray<int32_t> info(static_cast<size_t>(count));
  call(&cholesky, {view_of(out, {count, n, n}), view_of(info, {count})}, {view_of(in, {count, n, n})});
  EXPECT_EQ(info.host(), std::vector<int32_t>(static_cast<size_t>(count), 0));
  const Matrices<T> l{out.host(), n, n};
  double worst = 0;
  for (int64_t b = 0; b < count; ++b)
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < n; ++j) {
        if (j > i) {
          ASSERT_EQ(l.get(b, i, j), 0);
          continue;
        }
        double sum = 0;
        for (int64_t k = 0; k <= j; ++k) sum += l.get(b, i, k) * l.get(b, j, k);
        worst = std::max(worst, std::fabs(sum - whole.get(b, i, j)));
      }
  EXPECT_LE(worst, tolerance);
}

template <class T>
void check_solve(int64_t count, int64_t n, int64_t m, double tolerance) {
  SCOPED_TRACE("n " + std::to_string(n) + ", m " + std::to_string(m));
  Matrices<T> a{random_values<T>(count * n * n, 1.0, 3), n, n};
  for (int64_t b = 0; b < count; ++b)
    for (int64_t i = 0; i < n; ++i) {
      a.at(b, i, (i + 1) % n) += static_cast<T>(2 * n);  // well conditioned, and every row is exchanged
      if (n > 1) a.at(b, i, i) = T(0);
    }
  const Matrices<T> x{random_values<T>(count * n * m, 1.0, 4), n, m};
  Matrices<T> right{std::vector<T>(x.v.size()), n, m};
  std::vector<double> expected;
  for (int64_t b = 0; b < count; ++b)
    for (int64_t i = 0; i < n; ++i)
      for (int64_t c = 0; c < m; ++c) {
        double sum = 0;
        for (int64_t k = 0; k < n; ++k) sum += a.get(b, i, k) * x.get(b, k, c);
        right.at(b, i, c) = static_cast<T>(sum);
        expected.push_back(x.get(b, i, c));
      }
  const DeviceArray<T> da(a.v), db(right.v), out(x.v.size());
  const DeviceArray<int32_t> info(static_cast<size_t>(count));
  call(&solve, {view_of(out, {count, n, m}), view_of(info, {count})},
       {view_of(da, {count, n, n}), view_of(db, {count, n, m})});
  EXPECT_EQ(info.host(), std::vector<int32_t>(static_cast<size_t>(count), 0));
  expect_near(out, expected, tolerance);
  EXPECT_EQ(std::memcmp(da.host().data(), a.v.data(), a.v.size() * sizeof(T)), 0);
}

TEST(Linalg, Cholesky) {
  for (int64_t n : {1, 2, 31, 32, 33, 64, 65, 100}) {
    check_cholesky<double>(2, n, 1e-13);
    check_cholesky<float>(2, n, 4e-6);
  }
  for_each_seed([] { check_cholesky<double>(2, 70, 1e-13); });
}
TEST(Linalg, NotPositive) {
  const int64_t n = 70;
  Matrices<double> a = positive_definite<double>(4, n);
  a.at(0, 0, 0) = -1;
  a.at(1, 5, 5) = 0;
  a.at(2, 68, 68) = -3;
  const DeviceArray<double> in(a.v), out(a.v.size());
  const DeviceArray<int32_t> info(4);
  call(&cholesky, {view_of(out, {4, n, n}), view_of(info, {4})}, {view_of(in, {4, n, n})});
  EXPECT_EQ(info.host(), (std::vector<int32_t>{1, 6, 69, 0}));
}
TEST(Linalg, Solve) {
  for (int64_t n : {1, 2, 17, 64, 65, 96}) check_solve<double>(2, n, 1, 1e-12);
  for (int64_t n : {30, 77}) check_solve<float>(1, n, 5, 1e-5);
  check_solve<double>(1, 70, 140, 1e-12);
  check_solve<double>(3, 6, 300, 1e-12);
  for_each_seed([] {
    check_solve<double>(2, 20, 3, 1e-12);
    check_solve<double>(2, 70, 3, 1e-12);
  });
}
// Column `zero` of matrix 1 is zero.
TEST(Linalg, FullPrecisionWhereProductsMayBeTf32) {
  allow_tf32 = true;
  check_solve<float>(2, 100, 5, 1e-5);
  check_cholesky<float>(2, 100, 4e-6);
  allow_tf32 = false;
}
void check_singular(int64_t n, int64_t zero) {
  SCOPED_TRACE("n " + std::to_string(n));
  Matrices<double> a{std::vector<double>(static_cast<size_t>(2 * n * n)), n, n};
  for (int64_t b = 0; b < 2; ++b)
    for (int64_t i = 0; i < n; ++i) a.at(b, i, (i + 1) % n) = 2;
  for (int64_t i = 0; i < n; ++i) a.at(1, i, zero) = 0;
  const DeviceArray<double> da(a.v), db(random_values<double>(2 * n, 1.0)), out(static_cast<size_t>(2 * n));
  const DeviceArray<int32_t> info(2);
  call(&solve, {view_of(out, {2, n, 1}), view_of(info, {2})}, {view_of(da, {2, n, n}), view_of(db, {2, n, 1})});
  EXPECT_EQ(info.host(), (std::vector<int32_t>{0, static_cast<int32_t>(zero + 1)}));
}
TEST(Linalg, Singular) {
  check_singular(5, 3);
  check_singular(70, 0);
  check_singular(70, 40);
  check_singular(70, 69);
}

}  // namespace
}  // namespace fireseed::cuda

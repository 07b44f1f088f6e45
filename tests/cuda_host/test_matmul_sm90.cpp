// Matrix products by Hopper's kernel (TMA, wgmma) against float64: layouts, odd sizes, batches, bias, parts of k.
#include "emu_test.h"
#include "tensor/attrs/matmul.h"

namespace fireseed::cuda {
void matmul(const KernelArgs&);
void linear(const KernelArgs&);
void addmm(const KernelArgs&);

namespace {

using namespace cuda_emu;

// A batch of matrices, stored by rows or by columns, rows padded so that they are aligned; the same one for the whole
// batch where `expanded`.
template <class T>
struct Matrices {
  Dims sizes, strides;
  std::vector<T> values;
  DeviceArray<T> array;
  Matrices(int64_t batch, int64_t rows, int64_t columns, bool by_columns, bool expanded, unsigned seed)
      : sizes{batch, rows, columns},
        strides(strides_for(rows, columns, by_columns, expanded)),
        values(random_values<T>(
            (expanded ? 1 : batch) * pitch(by_columns ? rows : columns) * (by_columns ? columns : rows), 1.0, seed)),
        array(values) {}
  static int64_t pitch(int64_t n) { return (n + 7) / 8 * 8; }
  static Dims strides_for(int64_t rows, int64_t columns, bool by_columns, bool expanded) {
    const int64_t p = pitch(by_columns ? rows : columns);
    return {expanded ? 0 : p * (by_columns ? columns : rows), by_columns ? 1 : p, by_columns ? p : 1};
  }
  OwnedView view() const { return OwnedView(array.data(), dtype_of<T>::value, sizes, strides); }
  double at(int64_t i, int64_t r, int64_t c) const {
    return to_double(values[static_cast<size_t>(i * strides[0] + r * strides[1] + c * strides[2])]);
  }
};

template <class T>
std::vector<double> product(const Matrices<T>& a, const Matrices<T>& b) {
  const int64_t batch = a.sizes[0], m = a.sizes[1], k = a.sizes[2], n = b.sizes[2];
  std::vector<double> r;
  for (int64_t i = 0; i < batch; ++i)
    for (int64_t row = 0; row < m; ++row)
      for (int64_t column = 0; column < n; ++column) {
        double s = 0;
        for (int64_t x = 0; x < k; ++x) s += a.at(i, row, x) * b.at(i, x, column);
        r.push_back(s);
      }
  return r;
}

template <class T>
void check(int64_t batch, int64_t m, int64_t n, int64_t k, bool a_by_columns, bool b_by_columns,
           bool expanded = false) {
  SCOPED_TRACE(std::to_string(m) + " x " + std::to_string(n) + " x " + std::to_string(k) +
               (a_by_columns ? " a by columns" : "") + (b_by_columns ? " b by columns" : ""));
  const Matrices<T> a(batch, m, k, a_by_columns, false, 1), b(batch, k, n, b_by_columns, expanded, 2);
  const DeviceArray<T> c(static_cast<size_t>(batch * m * n));
  call(&matmul, {view_of(c, {batch, m, n})}, {a.view(), b.view()});
  expect_near(c, product(a, b), std::is_same_v<T, float16> ? 1e-3 : 8e-3);
}
template <class T>
void check_layouts(int64_t m, int64_t n, int64_t k) {
  for (bool a : {false, true})
    for (bool b : {false, true}) check<T>(1, m, n, k, a, b);
}

TEST(MatmulSm90, Layouts) {
  check_layouts<bfloat16>(128, 128, 64);
  check_layouts<float16>(136, 264, 200);
  check_layouts<bfloat16>(131, 77, 99);  // rows padded to multiples of 16 bytes
}
TEST(MatmulSm90, LargeTilesAndMoreTilesThanBlocks) {
  check_layouts<bfloat16>(140, 520, 72);
  check<float16>(1, 600, 300, 72, false, true);
}
TEST(MatmulSm90, Batches) {
  check<bfloat16>(3, 72, 80, 136, false, true);
  check<float16>(2, 64, 136, 64, true, false);
  check<float16>(3, 72, 64, 72, false, false, true);
}
TEST(MatmulSm90, AnyOrder) {
  for_each_seed([] {
    check<bfloat16>(1, 72, 136, 328, false, true);
    check<bfloat16>(5, 64, 64, 72, true, false);
  });
}
TEST(MatmulSm90, PartsOfKAreSummedInOrder) {
  const Matrices<bfloat16> a(1, 64, 1060, false, false, 1), b(1, 1060, 72, false, false, 2);
  const DeviceArray<bfloat16> c(64 * 72);
  std::vector<uint16_t> first;
  for_each_seed([&] {
    call(&matmul, {view_of(c, {1, 64, 72})}, {a.view(), b.view()});
    std::vector<uint16_t> bits;
    for (const bfloat16 x : c.host()) bits.push_back(x.bits);
    if (first.empty()) first = bits;
    EXPECT_EQ(bits, first);
  });
  expect_near(c, product(a, b), 8e-3);
}
TEST(MatmulSm90, BiasAlphaAndBeta) {
  constexpr int64_t m = 100, n = 88, k = 72;
  const Matrices<float16> x(1, m, k, false, false, 1), w(1, k, n, true, false, 2);
  const DeviceArray<float16> bias(random_values<float16>(n, 1.0, 3)), in(random_values<float16>(m * n, 1.0, 4)),
      out(m * n);
  const auto expected = product(x, w);
  const auto b = to_double(bias.host()), d = to_double(in.host());
  const OwnedView x2(x.array.data(), DType::kFloat16, {m, k}, {x.strides[1], 1});
  const OwnedView w2(w.array.data(), DType::kFloat16, {n, k}, {w.strides[2], 1});
  const OwnedView wt(w.array.data(), DType::kFloat16, {k, n}, {1, w.strides[2]});
  std::vector<double> e;
  for (size_t i = 0; i < expected.size(); ++i) e.push_back(expected[i] + b[i % n]);
  call(&linear, {view_of(out, {m, n})}, {x2, w2, view_of(bias, {n})});
  expect_near(out, e, 1e-3);
  const AddmmAttrs attrs{2.0, -0.5};
  for (size_t i = 0; i < expected.size(); ++i) e[i] = 2 * expected[i] - 0.5 * d[i];
  call(&addmm, {view_of(out, {m, n})}, {view_of(in, {m, n}), x2, wt}, &attrs);
  expect_near(out, e, 1e-3);
  // To memory of other strides.
  const DeviceArray<float16> wide(m * 100);
  call(&matmul, {OwnedView(wide.data(), DType::kFloat16, {m, n}, {1, m})}, {x2, wt});
  const auto v = wide.host();
  for (int64_t r = 0; r < m; ++r)
    for (int64_t j = 0; j < n; ++j)
      ASSERT_NEAR(to_double(v[static_cast<size_t>(j * m + r)]), expected[static_cast<size_t>(r * n + j)], 3e-2);
}

}  // namespace
}  // namespace fireseed::cuda

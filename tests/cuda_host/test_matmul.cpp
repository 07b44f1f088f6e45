// Matrix products against float64: shapes around the tiles, transposed and strided operands, batches, every dtype.
#include "emu_test.h"
#include "kernels/tile_plan.h"
#include "tensor/attrs/matmul.h"
#include "tensor/backend.h"

namespace fireseed::cuda {
void matmul(const KernelArgs&);
void linear(const KernelArgs&);
void addmm(const KernelArgs&);

namespace {

using namespace cuda_emu;

double at(const std::vector<double>& v, const Dims& strides, std::initializer_list<int64_t> index) {
  int64_t o = 0, i = 0;
  for (int64_t x : index) o += x * strides[i++];
  return v[static_cast<size_t>(o)];
}

// (batch, m, k) x (batch, k, n); a and b may be stored transposed, with `extra` elements between their rows.
template <class T>
void check(int64_t batch, int64_t m, int64_t n, int64_t k, bool ta, bool tb, int64_t extra, double tolerance) {
  SCOPED_TRACE(std::to_string(m) + " x " + std::to_string(n) + " x " + std::to_string(k) + (ta ? " ta" : "") +
               (tb ? " tb" : ""));
  const auto strides = [&](int64_t rows, int64_t columns, bool transposed) {
    const int64_t pitch = (transposed ? rows : columns) + extra;
    return Dims{pitch * (transposed ? columns : rows), transposed ? 1 : pitch, transposed ? pitch : 1};
  };
  const Dims sa = strides(m, k, ta), sb = strides(k, n, tb);
  const auto a = random_values<T>(batch * sa[0], 1.0, 1), b = random_values<T>(batch * sb[0], 1.0, 2);
  const auto ad = to_double(a), bd = to_double(b);
  const DeviceArray<T> da(a), db(b), c(static_cast<size_t>(batch * m * n));
  constexpr DType t = dtype_of<T>::value;
  call(&matmul, {view_of(c, {batch, m, n})},
       {OwnedView(da.data(), t, {batch, m, k}, sa), OwnedView(db.data(), t, {batch, k, n}, sb)});
  std::vector<double> expected;
  for (int64_t i = 0; i < batch; ++i)
    for (int64_t r = 0; r < m; ++r)
      for (int64_t j = 0; j < n; ++j) {
        double s = 0;
        for (int64_t x = 0; x < k; ++x) s += at(ad, sa, {i, r, x}) * at(bd, sb, {i, x, j});
        expected.push_back(s);
      }
  expect_near(c, expected, tolerance);
}
// (2, m, k) x (k, n) expanded over the batch, neither in pieces of 16 bytes.
template <class T>
void check_expanded(int64_t m, int64_t n, int64_t k) {
  const auto a = random_values<T>(2 * m * k, 1.0, 1), b = random_values<T>(k * n, 1.0, 2);
  const DeviceArray<T> da(a), db(b), c(static_cast<size_t>(2 * m * n));
  constexpr DType t = dtype_of<T>::value;
  call(&matmul, {view_of(c, {2, m, n})}, {view_of(da, {2, m, k}), OwnedView(db.data(), t, {2, k, n}, {0, n, 1})});
  std::vector<double> expected;
  for (int64_t r = 0; r < 2 * m; ++r)
    for (int64_t j = 0; j < n; ++j) {
      double s = 0;
      for (int64_t x = 0; x < k; ++x)
        s += to_double(a[static_cast<size_t>(r * k + x)]) * to_double(b[static_cast<size_t>(x * n + j)]);
      expected.push_back(s);
    }
  expect_near(c, expected, 5e-2);
}
template <class T>
void check_layouts(int64_t m, int64_t n, int64_t k, double tolerance) {
  for (bool ta : {false, true})
    for (bool tb : {false, true}) check<T>(1, m, n, k, ta, tb, 0, tolerance);
}

TEST(Matmul, Float) {
  check_layouts<float>(5, 7, 3, 1e-5);
  check_layouts<float>(64, 64, 16, 1e-5);
  check_layouts<float>(70, 130, 33, 2e-5);
  check<float>(1, 1, 1, 1, false, false, 0, 1e-6);
  check<float>(3, 9, 20, 17, false, true, 3, 1e-5);
  check<float>(1, 260, 270, 20, false, false, 0, 2e-5);  // the large tile
  check<float>(1, 4, 4, 0, false, false, 0, 0);
  for_each_seed([] { check<float>(2, 33, 65, 40, true, false, 0, 2e-5); });
}
TEST(Matmul, Double) {
  check_layouts<double>(20, 70, 35, 1e-12);
  for_each_seed([] { check<double>(1, 20, 30, 40, false, false, 0, 1e-12); });
}
// The emulated device's compute capability for a scope; a real one keeps its own.
struct Capability {
  explicit Capability(const char* value) { setenv("FS_CUDA_EMU_CAPABILITY", value, 1); }
  ~Capability() { unsetenv("FS_CUDA_EMU_CAPABILITY"); }
};
TEST(Matmul, HalvesByTensorCores) {
  const Capability before_hopper("80");
  check_layouts<bfloat16>(128, 128, 32, 5e-2);
  check_layouts<bfloat16>(136, 72, 104, 8e-2);
  check_layouts<float16>(40, 136, 64, 1e-2);
  check<float16>(1, 130, 24, 44, false, true, 4, 1e-2);  // pitch of 48
  check<bfloat16>(3, 16, 16, 24, true, false, 0, 5e-2);
  for_each_seed([] { check<float16>(2, 24, 40, 72, false, false, 0, 1e-2); });
}
TEST(Matmul, HalvesThatDoNotLieInPieces) {
  const Capability before_hopper("80");
  check_layouts<bfloat16>(17, 9, 13, 5e-2);  // gathered
  check<float16>(1, 3, 3, 5, false, false, 0, 1e-2);
  check_layouts<float16>(40, 72, 1, 1e-2);
  check<bfloat16>(3, 20, 70, 35, true, false, 1, 5e-2);
  check<float16>(2, 20, 257, 37, false, false, 0, 2e-2);  // a copied, b gathered for lack of rows of a
  check<float16>(2, 258, 261, 21, true, true, 0, 2e-2);   // both copied
  check_expanded<bfloat16>(260, 300, 9);
  for_each_seed([] { check<float16>(1, 21, 35, 41, true, true, 2, 1e-2); });
}
TEST(Matmul, HalvesBeforeTensorCores) {
  const Capability turing("75");
  check_layouts<float16>(70, 33, 40, 1e-2);
  check<bfloat16>(2, 16, 24, 21, false, true, 1, 5e-2);
}
TEST(Matmul, FloatsAsTf32) {
  allow_tf32 = true;
  check_layouts<float>(72, 136, 44, 5e-2);
  check_layouts<float>(33, 17, 19, 5e-2);
  check<float>(2, 130, 24, 44, false, true, 4, 5e-2);
  for_each_seed([] { check<float>(2, 24, 40, 72, true, false, 0, 5e-2); });
  const std::vector<float> fine(16 * 16, 1.0f + 0x1p-13f), one(16 * 16, 1.0f);
  const DeviceArray<float> a(fine), b(one), c(16 * 16);
  call(&matmul, {view_of(c, {16, 16})}, {view_of(a, {16, 16}), view_of(b, {16, 16})});
  EXPECT_EQ(c.host(), std::vector<float>(16 * 16, 16.0f));
  allow_tf32 = false;
  call(&matmul, {view_of(c, {16, 16})}, {view_of(a, {16, 16}), view_of(b, {16, 16})});
  EXPECT_EQ(c.host(), std::vector<float>(16 * 16, 16.0f + 0x1p-9f));
}
TEST(Matmul, DeepProductsInParts) {
  check_layouts<float>(20, 30, 700, 1e-4);
  check_layouts<double>(20, 30, 700, 1e-12);
  for (int64_t k : {129, 200, 333}) {  // parts that end anywhere
    check<float>(1, 21, 2, k, false, false, 0, 1e-4);
    check<bfloat16>(1, 21, 2, k, false, false, 0, 3e-1);
  }
  check_layouts<bfloat16>(24, 40, 1288, 3e-1);
  check<float16>(2, 16, 24, 1288, false, true, 0, 2e-1);
  for_each_seed([] { check<bfloat16>(1, 16, 16, 1032, false, true, 0, 3e-1); });
  // The same bits each time, whatever the order of the blocks.
  const auto a = random_values<float>(20 * 900, 1.0, 1), b = random_values<float>(900 * 24, 1.0, 2);
  const DeviceArray<float> da(a), db(b), c(20 * 24);
  std::vector<float> first;
  for_each_seed([&] {
    call(&matmul, {view_of(c, {20, 24})}, {view_of(da, {20, 900}), view_of(db, {900, 24})});
    if (first.empty()) first = c.host();
    EXPECT_EQ(c.host(), first);
  });
  // beta and alpha are applied once.
  const DeviceArray<float> in(random_values<float>(20 * 24, 1.0, 3)), out(20 * 24);
  const AddmmAttrs attrs{2.0, -0.5};
  std::vector<double> expected;
  const auto d = in.host();
  for (size_t i = 0; i < first.size(); ++i) expected.push_back(2.0 * first[i] - 0.5 * d[i]);
  call(&addmm, {view_of(out, {20, 24})}, {view_of(in, {20, 24}), view_of(da, {20, 900}), view_of(db, {900, 24})},
       &attrs);
  expect_near(out, expected, 1e-4);
}
TEST(Matmul, PlansGiveAllMultiprocessorsWork) {
  constexpr TileOption kOptions[] = {{64, 64, 0.6}, {128, 64, 0.8}, {128, 128, 1.0}};
  constexpr TileCosts kCosts = {620, 32};
  const auto plan = [&](int64_t m, int64_t n, int64_t k, int64_t batch) {
    return plan_tiles(kOptions, 3, kCosts, m, n, k, batch, 132);
  };
  const TilePlan large = plan(8192, 8192, 8192, 1), small = plan(512, 512, 512, 1), deep = plan(64, 64, 65536, 1);
  EXPECT_EQ(large.option, 2);
  EXPECT_EQ(large.parts, 1);
  EXPECT_EQ(small.option, 0);
  EXPECT_GE(deep.parts, 16);
  for (const TilePlan& p : {large, small, deep}) EXPECT_EQ(p.part % 32, 0);
  EXPECT_GE(deep.parts * deep.part, 65536);
  EXPECT_LT((deep.parts - 1) * deep.part, 65536);
  EXPECT_EQ(plan(64, 64, 65536, 1000).parts, 1);
  EXPECT_EQ(plan(5, 5, 0, 1).parts, 1);
}
template <class T>
void check_matrix_and_vector(double tolerance) {
  for (bool transposed : {false, true}) {
    check<T>(1, 37, 1, 41, transposed, false, 0, tolerance);
    check<T>(1, 1, 37, 41, false, transposed, 0, tolerance);
    check<T>(3, 1, 136, 48, false, transposed, 0, tolerance);
    check<T>(2, 136, 1, 48, transposed, false, 0, tolerance);
    check<T>(1, 1, 9, 1200, false, transposed, 0, tolerance * 6);  // a block a row, or parts of k
    check<T>(1, 130, 1, 1201, transposed, false, 1, tolerance * 6);
  }
  check<T>(1, 1, 1, 20000, false, false, 0, tolerance * 30);
  for_each_seed([&] { check<T>(1, 1, 130, 520, false, false, 0, tolerance * 6); });
}
TEST(Matmul, MatrixAndVector) {
  check_matrix_and_vector<float>(2e-5);
  check_matrix_and_vector<double>(1e-12);
  check_matrix_and_vector<float16>(1e-2);
  check_matrix_and_vector<bfloat16>(5e-2);
  check<float>(1, 1, 7, 0, false, false, 0, 0);
}
TEST(Matmul, Vectors) {
  const auto a = random_values<float>(12, 1.0, 1), v = random_values<float>(4, 1.0, 2);
  const DeviceArray<float> da(a), dv(v), out(3), dot(1);
  call(&matmul, {view_of(out, {3})}, {view_of(da, {3, 4}), view_of(dv, {4})});
  std::vector<double> expected(3);
  for (size_t i = 0; i < 3; ++i)
    for (size_t j = 0; j < 4; ++j) expected[i] += static_cast<double>(a[i * 4 + j]) * v[j];
  expect_near(out, expected, 1e-6);
  call(&matmul, {view_of(out, {3})}, {view_of(dv, {4}), OwnedView(da.data(), DType::kFloat32, {4, 3}, {1, 4})});
  expect_near(out, expected, 1e-6);
  call(&matmul, {view_of(dot, {})}, {view_of(dv, {4}), view_of(dv, {4})});
  double s = 0;
  for (float x : v) s += static_cast<double>(x) * x;
  expect_near(dot, {s}, 1e-6);
}
TEST(Matmul, Integers) {
  const DeviceArray<int32_t> a(std::vector<int32_t>{1, 2, 3, 4}), b(std::vector<int32_t>{5, 6, 7, 1 << 30}), c(4);
  call(&matmul, {view_of(c, {2, 2})}, {view_of(a, {2, 2}), view_of(b, {2, 2})});
  EXPECT_EQ(c.host(), (std::vector<int32_t>{19, INT32_MIN + 6, 43, 18}));
}

TEST(Matmul, LinearAndAddmm) {
  const auto x = random_values<float>(2 * 3 * 5, 1.0, 1), w = random_values<float>(4 * 5, 1.0, 2);
  const auto bias = random_values<float>(4, 1.0, 3), input = random_values<float>(6 * 4, 1.0, 4);
  const DeviceArray<float> dx(x), dw(w), db(bias), in(input), out(24);
  std::vector<double> product;
  for (size_t r = 0; r < 6; ++r)
    for (size_t j = 0; j < 4; ++j) {
      double s = 0;
      for (size_t k = 0; k < 5; ++k) s += static_cast<double>(x[r * 5 + k]) * w[j * 5 + k];
      product.push_back(s);
    }
  call(&linear, {view_of(out, {2, 3, 4})}, {view_of(dx, {2, 3, 5}), view_of(dw, {4, 5}), view_of(db, {4})});
  std::vector<double> expected = product;
  for (size_t i = 0; i < 24; ++i) expected[i] += bias[i % 4];
  expect_near(out, expected, 1e-6);
  call(&linear, {view_of(out, {2, 3, 4})}, {view_of(dx, {2, 3, 5}), view_of(dw, {4, 5})});
  expect_near(out, product, 1e-6);
  const OwnedView weight_t(dw.data(), DType::kFloat32, {5, 4}, {1, 5});
  const AddmmAttrs attrs{2.0, -0.5};
  for (size_t i = 0; i < 24; ++i) expected[i] = 2 * product[i] - 0.5 * input[i];
  call(&addmm, {view_of(out, {6, 4})}, {view_of(in, {6, 4}), view_of(dx, {6, 5}), weight_t}, &attrs);
  expect_near(out, expected, 1e-6);
  const AddmmAttrs ignore{1.0, 0.0};  // what is not read may be NaN
  const DeviceArray<float> nan(24);
  call(&addmm, {view_of(out, {6, 4})}, {view_of(nan, {6, 4}), view_of(dx, {6, 5}), weight_t}, &ignore);
  expect_near(out, product, 1e-6);
  for (size_t i = 0; i < 24; ++i) expected[i] = product[i] + bias[i % 4];
  const AddmmAttrs one;
  call(&addmm, {view_of(out, {6, 4})},
       {OwnedView(db.data(), DType::kFloat32, {6, 4}, {0, 1}), view_of(dx, {6, 5}), weight_t}, &one);
  expect_near(out, expected, 1e-6);
}

}  // namespace
}  // namespace fireseed::cuda

// Reads and writes by index against plain loops: repeated and negative indices, strides, dtypes, reductions.
#include "emu_test.h"
#include "tensor/attrs/embedding.h"
#include "tensor/attrs/index.h"

namespace fireseed::cuda {
void index(const KernelArgs&);
void index_select(const KernelArgs&);
void gather(const KernelArgs&);
void embedding(const KernelArgs&);
void embedding_backward(const KernelArgs&);
void index_put(const KernelArgs&);
void index_add(const KernelArgs&);
void index_copy(const KernelArgs&);
void index_fill(const KernelArgs&);
void scatter(const KernelArgs&);

namespace {

using namespace cuda_emu;
using Doubles = std::vector<double>;
using Indices = std::vector<int64_t>;

// Small whole numbers, exact in every dtype.
template <class T>
std::vector<T> whole_values(int64_t n, int64_t step = 7) {
  std::vector<T> v;
  for (int64_t i = 0; i < n; ++i) v.push_back(T(static_cast<compute_type<T>>(i * step % 11)));
  return v;
}
Indices indices(int64_t n, int64_t limit, int64_t step = 5) {
  Indices v;
  for (int64_t i = 0; i < n; ++i) v.push_back((i * step + i * i) % limit);
  return v;
}
size_t at(int64_t i) { return static_cast<size_t>(i); }

template <class T>
void check_embedding(int64_t rows, int64_t width, int64_t n) {
  SCOPED_TRACE(std::to_string(width) + " wide");
  const auto w = whole_values<T>(rows * width);
  const Indices ix = indices(n, rows);
  const DeviceArray<T> dw(w), out(at(n * width));
  const DeviceArray<int64_t> di(ix);
  out.fill_nan();
  call(&embedding, {view_of(out, {n, width})}, {view_of(dw, {rows, width}), view_of(di, {n})});
  Doubles e;
  for (int64_t i = 0; i < n; ++i)
    for (int64_t c = 0; c < width; ++c) e.push_back(to_double(w[at(ix[at(i)] * width + c)]));
  expect_near(out, e, 0);
}
TEST(Index, Embedding) {
  check_embedding<float>(9, 1, 5);
  check_embedding<float>(9, 6, 50);
  check_embedding<float>(9, 64, 3);
  check_embedding<float16>(5, 7, 11);
  check_embedding<bfloat16>(5, 16, 11);
  check_embedding<double>(5, 3, 11);
}

template <class T>
void check_embedding_backward(int64_t rows, int64_t width, int64_t n, int64_t padding, bool by_freq) {
  const auto g = random_values<T>(n * width, 1.0);
  const Indices ix = indices(n, rows);
  const DeviceArray<T> dg(g), out(at(rows * width));
  const DeviceArray<int64_t> di(ix);
  out.fill_nan();
  const EmbeddingAttrs attrs{rows, padding, by_freq};
  call(&embedding_backward, {view_of(out, {rows, width})}, {view_of(dg, {n, width}), view_of(di, {n})}, &attrs);
  Doubles e(at(rows * width)), uses(at(rows));
  for (int64_t i = 0; i < n; ++i) {
    if (ix[at(i)] == padding) continue;
    uses[at(ix[at(i)])] += 1;
    for (int64_t c = 0; c < width; ++c) e[at(ix[at(i)] * width + c)] += to_double(g[at(i * width + c)]);
  }
  for (int64_t k = 0; k < rows * width && by_freq; ++k) e[at(k)] /= std::max(1.0, uses[at(k / width)]);
  expect_near(out, e, sizeof(T) == 2 ? 2e-2 : sizeof(T) == 8 ? 1e-13 : 4e-6);
}
TEST(Index, EmbeddingBackward) {
  check_embedding_backward<float>(7, 5, 40, -1, false);
  check_embedding_backward<float>(7, 5, 40, 3, true);
  check_embedding_backward<double>(300, 3, 1500, 0, false);  // several tiles
  check_embedding_backward<double>(50, 2, 5000, -1, false);
  check_embedding_backward<bfloat16>(4, 3, 20, -1, false);
  check_embedding_backward<float>(3, 2, 1, -1, false);
  for_each_seed([] { check_embedding_backward<float>(20, 3, 600, -1, false); });
}

TEST(Index, AdvancedIndexing) {
  // x (3, 4, 5, 2)[:, i, j] with i, j of shape (2, 3), one of them negative
  const auto x = whole_values<float>(120);
  const Indices i{0, -1, 2, 3, 1, -4}, j{4, 0, -5, -1, 2, 2};
  const DeviceArray<float> dx(x), out(3 * 6 * 2);
  const DeviceArray<int64_t> di(i), dj(j);
  const IndexAttrs attrs{1, 0};
  call(&index, {view_of(out, {3, 2, 3, 2})}, {view_of(dx, {3, 4, 5, 2}), view_of(di, {2, 3}), view_of(dj, {2, 3})},
       &attrs);
  Doubles e;
  for (int64_t a = 0; a < 3; ++a)
    for (size_t b = 0; b < 6; ++b)
      for (int64_t c = 0; c < 2; ++c) e.push_back(x[at(((a * 4 + (i[b] + 4) % 4) * 5 + (j[b] + 5) % 5) * 2 + c)]);
  expect_near(out, e, 0);
}
TEST(Index, SelectOfStridedInput) {
  // x is (4, 6) with strides (1, 4): column-major
  const auto x = whole_values<int32_t>(24);
  const DeviceArray<int32_t> dx(x), rows(2 * 6), columns(4 * 3);
  const DeviceArray<int64_t> di(Indices{3, 9, 1}), dj(Indices{5, 0, 5});
  const OwnedView v(dx.data(), DType::kInt32, {4, 6}, {1, 4});
  const IndexDimAttrs first{0, 0}, second{1, 0};
  call(&index_select, {view_of(rows, {2, 6})}, {v, OwnedView(di.data(), DType::kInt64, {2}, {2})}, &first);
  call(&index_select, {view_of(columns, {4, 3})}, {v, view_of(dj, {3})}, &second);
  Doubles e, f;
  for (int64_t r : {3, 1})
    for (int64_t c = 0; c < 6; ++c) e.push_back(x[at(r + 4 * c)]);
  for (int64_t r = 0; r < 4; ++r)
    for (int64_t c : {5, 0, 5}) f.push_back(x[at(r + 4 * c)]);
  expect_near(rows, e, 0);
  expect_near(columns, f, 0);
}
TEST(Index, Gather) {
  for (int64_t dim : {0, 1, 2}) {
    const Dims sizes{3, 4, 5}, shape{2, 3, 4};
    const auto x = whole_values<float>(60);
    const Indices ix = indices(24, sizes[dim]);
    const DeviceArray<float> dx(x), out(24);
    const DeviceArray<int64_t> di(ix);
    const IndexDimAttrs attrs{dim, 0};
    call(&gather, {view_of(out, shape)}, {view_of(dx, sizes), view_of(di, shape)}, &attrs);
    Doubles e;
    for (int64_t k = 0; k < 24; ++k) {
      int64_t p[3] = {k / 12, k / 4 % 3, k % 4};
      p[dim] = ix[at(k)];
      e.push_back(x[at((p[0] * 4 + p[1]) * 5 + p[2])]);
    }
    expect_near(out, e, 0);
  }
}

// self (3, n) and src (3, m): rows apart, each scattered along the last dimension.
template <class T>
void check_scatter(ScatterReduce op, bool include_self, double tolerance) {
  SCOPED_TRACE(static_cast<int>(op) * 2 + include_self);
  const int64_t n = 6, m = 9;
  const auto self = whole_values<T>(3 * n, 5), src = whole_values<T>(3 * m);
  const Indices ix = indices(3 * m, n - 1);  // the last entry is never written
  const DeviceArray<T> dself(self), dsrc(src), out(self.size());
  const DeviceArray<int64_t> di(ix);
  out.fill_nan();
  const ScatterAttrs attrs{1, op, include_self};
  call(&scatter, {view_of(out, {3, n})}, {view_of(dself, {3, n}), view_of(di, {3, m}), view_of(dsrc, {3, m})},
       &attrs);
  Doubles e = to_double(self), count(self.size(), include_self ? 1.0 : 0.0);
  for (int64_t k = 0; k < 3 * m; ++k) {
    const size_t to = at(k / m * n + ix[at(k)]);
    const double v = to_double(src[at(k)]);
    if (count[to] == 0 || op == ScatterReduce::kNone) e[to] = v;
    else if (op == ScatterReduce::kMultiply) e[to] *= v;
    else if (op == ScatterReduce::kMax) e[to] = std::max(e[to], v);
    else if (op == ScatterReduce::kMin) e[to] = std::min(e[to], v);
    else e[to] += v;
    count[to] += 1;
  }
  for (size_t k = 0; k < e.size() && op == ScatterReduce::kMean; ++k)
    if (count[k] > 1) e[k] = is_floating(dtype_of<T>::value) ? e[k] / count[k] : std::floor(e[k] / count[k]);
  expect_near(out, e, tolerance);
}
TEST(Index, ScatterReductions) {
  for (bool include_self : {true, false}) {
    for (ScatterReduce op : {ScatterReduce::kNone, ScatterReduce::kAdd, ScatterReduce::kMultiply, ScatterReduce::kMax,
                             ScatterReduce::kMin, ScatterReduce::kMean}) {
      check_scatter<float>(op, include_self, 1e-6);
      check_scatter<double>(op, include_self, 1e-14);
      check_scatter<int64_t>(op, include_self, 0);
      check_scatter<float16>(op, include_self, 1e-3);
    }
    check_scatter<int16_t>(ScatterReduce::kMean, include_self, 0);
    check_scatter<bfloat16>(ScatterReduce::kAdd, include_self, 8e-3);
  }
}
TEST(Index, ScatterInPlaceOfOneValue) {
  std::vector<float> self(10, 1);
  const DeviceArray<float> x(self), one(std::vector<float>{5});
  const DeviceArray<int64_t> di(Indices{2, 2, 9});
  const ScatterAttrs attrs{0, ScatterReduce::kAdd, 1};
  call(&scatter, {view_of(x, {10})},
       {view_of(x, {10}), view_of(di, {3}), OwnedView(one.data(), DType::kFloat32, {3}, {0})}, &attrs);
  expect_near(x, {1, 1, 11, 1, 1, 1, 1, 1, 1, 6}, 0);
}
TEST(Index, ScatterOfNaN) {
  const DeviceArray<float> x(std::vector<float>{1, 2, 3}), src(std::vector<float>{NAN, 0, 7}), out(3);
  const DeviceArray<int64_t> di(Indices{1, 1, 0});
  const ScatterAttrs attrs{0, ScatterReduce::kMax, 1};
  call(&scatter, {view_of(out, {3})}, {view_of(x, {3}), view_of(di, {3}), view_of(src, {3})}, &attrs);
  expect_near(out, {7, NAN, 3}, 0);
}

TEST(Index, Put) {
  // x (2, 4, 5)[:, i, j] = or += v (2, 3), one place twice
  for (bool accumulate : {false, true}) {
    const auto x = whole_values<float>(40), v = whole_values<float>(6, 3);
    const Indices i{1, -1, 1}, j{2, 0, 2};
    const DeviceArray<float> dx(x), dv(v), out(40);
    const DeviceArray<int64_t> di(i), dj(j);
    const IndexAttrs attrs{1, accumulate};
    call(&index_put, {view_of(out, {2, 4, 5})},
         {view_of(dx, {2, 4, 5}), view_of(dv, {2, 3}), view_of(di, {3}), view_of(dj, {3})}, &attrs);
    Doubles e = to_double(x);
    for (int64_t a = 0; a < 2; ++a)
      for (int64_t k = 0; k < 3; ++k) {
        double& to = e[at((a * 4 + (i[at(k)] + 4) % 4) * 5 + j[at(k)])];
        to = (accumulate ? to : 0) + v[at(a * 3 + k)];
      }
    expect_near(out, e, 0);
  }
}
TEST(Index, AddCopyFill) {
  const Indices ix{2, 0, 2, 1};
  const DeviceArray<int64_t> di(ix);
  for (int64_t dim : {0, 1}) {
    const Dims sizes{3, 4}, source = dim == 0 ? Dims{4, 4} : Dims{3, 4};
    const auto x = whole_values<float>(12), s = whole_values<float>(numel_of(source), 3);
    const DeviceArray<float> dx(x), ds(s), added(12), copied(12), filled(12);
    const IndexAddAttrs add{dim, {-2, -2}};
    const IndexDimAttrs copy{dim, 0};
    const IndexFillAttrs fill{dim, {4.5, 4}};
    call(&index_add, {view_of(added, sizes)}, {view_of(dx, sizes), view_of(di, {4}), view_of(ds, source)}, &add);
    call(&index_copy, {view_of(copied, sizes)}, {view_of(dx, sizes), view_of(di, {4}), view_of(ds, source)}, &copy);
    call(&index_fill, {view_of(filled, sizes)}, {view_of(dx, sizes), view_of(di, {4})}, &fill);
    Doubles a = to_double(x), c = a, f = a;
    for (int64_t k = 0; k < numel_of(source); ++k) {
      const int64_t r = k / 4, q = k % 4;
      const size_t to = dim == 0 ? at(ix[at(r)] * 4 + q) : at(r * 4 + ix[at(q)]);
      a[to] -= 2 * static_cast<double>(s[at(k)]);
      c[to] = s[at(k)];
      f[to] = 4.5;
    }
    expect_near(added, a, 0);
    expect_near(copied, c, 0);
    expect_near(filled, f, 0);
  }
}
TEST(Index, BoolsAreAddedAsOr) {
  const DeviceArray<uint8_t> x(std::vector<uint8_t>{1, 0, 0, 0}), src(std::vector<uint8_t>{1, 1, 0}), out(4);
  const DeviceArray<int64_t> di(Indices{1, 1, 3});
  const IndexAddAttrs attrs{0, {1, 1}};
  const auto bools = [](const DeviceArray<uint8_t>& a) {
    return OwnedView(a.data(), DType::kBool, {static_cast<int64_t>(a.size())});
  };
  call(&index_add, {bools(out)}, {bools(x), view_of(di, {3}), bools(src)}, &attrs);
  expect_near(out, {1, 1, 0, 0}, 0);
}

TEST(Index, BadIndicesStopTheKernel) {
  const DeviceArray<float> x(std::vector<float>(6)), out(3);
  for (int64_t bad : {6, -7, -1}) {
    const DeviceArray<int64_t> di(Indices{0, bad, 1});
    const IndexDimAttrs attrs{0, 0};
    const IndexAttrs wraps{0, 0};
    const auto says = [&](Kernel k, const void* a) {
      return failure_of([&] { call(k, {view_of(out, {3})}, {view_of(x, {6}), view_of(di, {3})}, a); });
    };
    EXPECT_NE(says(&gather, &attrs).find("__trap"), std::string::npos);
    EXPECT_NE(says(&index_select, &attrs).find("__trap"), std::string::npos);
    EXPECT_EQ(says(&index, &wraps).empty(), bad == -1);
    const IndexFillAttrs fill{0, {1, 1}};
    EXPECT_EQ(
        failure_of([&] { call(&index_fill, {view_of(x, {6})}, {view_of(x, {6}), view_of(di, {3})}, &fill); }).empty(),
        bad == -1);
  }
}

}  // namespace
}  // namespace fireseed::cuda

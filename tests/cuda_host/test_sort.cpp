// Sorting and selection against the host: rows of a warp, a block and several tiles, every dtype, ties, NaN, strides.
#include <numeric>

#include "emu_test.h"
#include "tensor/attrs/sort.h"

namespace fireseed::cuda {
#define FS_KERNEL(name) void name(const KernelArgs&);
FS_KERNEL(sort)
FS_KERNEL(topk)
FS_KERNEL(kthvalue)
FS_KERNEL(median_dim)
FS_KERNEL(mode)
FS_KERNEL(searchsorted)
#undef FS_KERNEL

namespace {

using namespace cuda_emu;
using Values = std::vector<double>;
using Places = std::vector<int64_t>;

// Places in sorted order; NaN is the greatest; equal elements keep their order.
Places order_of(const Values& x, bool descending) {
  Places p(x.size());
  std::iota(p.begin(), p.end(), 0);
  const auto less = [](double a, double b) { return std::isnan(b) ? !std::isnan(a) : a < b; };
  std::stable_sort(p.begin(), p.end(), [&](int64_t i, int64_t j) {
    const double a = x[static_cast<size_t>(i)], b = x[static_cast<size_t>(j)];
    return descending ? less(b, a) : less(a, b);
  });
  return p;
}

// Rows along dim of a row-major array, and what the kernels have for them.
struct Lines {
  int64_t outer = 1, n, inner = 1;
  Lines(Dims sizes, int64_t dim) : n(sizes[dim]) {
    for (int64_t i = 0; i < sizes.n; ++i) (i < dim ? outer : inner) *= i == dim ? 1 : sizes[i];
  }
  int64_t rows() const { return outer * inner; }
  size_t at(int64_t row, int64_t k, int64_t length) const {
    return static_cast<size_t>((row / inner * length + k) * inner + row % inner);
  }
  template <class T>
  Values row(const std::vector<T>& x, int64_t r) const {
    Values v;
    for (int64_t k = 0; k < n; ++k) v.push_back(to_double(x[at(r, k, n)]));
    return v;
  }
};

template <class T>
bool same_bits(T a, T b) {
  return std::memcmp(&a, &b, sizeof(T)) == 0;
}

// What `pick` says of each row: the places of `count` elements.
template <class T, class F>
void expect_places(const std::vector<T>& x, const Lines& lines, const DeviceArray<T>& values,
                   const DeviceArray<int64_t>& index, int64_t count, F pick) {
  const auto v = values.host();
  const auto p = index.host();
  for (int64_t r = 0; r < lines.rows(); ++r) {
    const Places expected = pick(lines.row(x, r));
    for (int64_t k = 0; k < count; ++k) {
      const size_t at = lines.at(r, k, count);
      ASSERT_EQ(p[at], expected[static_cast<size_t>(k)]) << "row " << r << ", place " << k;
      ASSERT_TRUE(same_bits<T>(v[at], x[lines.at(r, p[at], lines.n)])) << "row " << r << ", place " << k;
    }
  }
}

template <class T>
void check_sort(const std::vector<T>& x, Dims sizes, int64_t dim, bool descending) {
  SCOPED_TRACE("sort of n " + std::to_string(sizes[dim]) + (descending ? ", descending" : ""));
  const Lines lines(sizes, dim);
  const DeviceArray<T> in(x), values(x.size());
  const DeviceArray<int64_t> index(x.size());
  const SortAttrs attrs{dim, descending};
  call(&sort, {view_of(values, sizes), view_of(index, sizes)}, {view_of(in, sizes)}, &attrs);
  expect_places(x, lines, values, index, lines.n, [&](const Values& row) { return order_of(row, descending); });
}
template <class T>
void check_topk(const std::vector<T>& x, Dims sizes, int64_t dim, int64_t k, bool largest) {
  SCOPED_TRACE("topk of n " + std::to_string(sizes[dim]) + ", k " + std::to_string(k));
  const Lines lines(sizes, dim);
  Dims out_sizes = sizes;
  out_sizes[dim] = k;
  const DeviceArray<T> in(x), values(static_cast<size_t>(numel_of(out_sizes)));
  const DeviceArray<int64_t> index(values.size());
  const TopkAttrs attrs{dim, k, largest, 1};
  call(&topk, {view_of(values, out_sizes), view_of(index, out_sizes)}, {view_of(in, sizes)}, &attrs);
  expect_places(x, lines, values, index, k, [&](const Values& row) { return order_of(row, largest); });
}
template <class T, class F>
void check_select(Kernel kernel, const std::vector<T>& x, Dims sizes, int64_t dim, const SelectAttrs& attrs, F pick) {
  SCOPED_TRACE("selection of n " + std::to_string(sizes[dim]));
  const Lines lines(sizes, dim);
  Dims out_sizes = sizes;
  out_sizes[dim] = 1;
  const DeviceArray<T> in(x), values(static_cast<size_t>(lines.rows()));
  const DeviceArray<int64_t> index(values.size());
  call(kernel, {view_of(values, out_sizes), view_of(index, out_sizes)}, {view_of(in, sizes)}, &attrs);
  expect_places(x, lines, values, index, 1, [&](const Values& row) { return Places{pick(row)}; });
}
int64_t kth_of(const Values& row, int64_t k) { return order_of(row, false)[static_cast<size_t>(k - 1)]; }
int64_t median_of(const Values& row, bool ignore_nan) {
  int64_t numbers = 0, first_nan = -1;
  for (size_t i = 0; i < row.size(); ++i)
    if (!std::isnan(row[i])) ++numbers;
    else if (first_nan < 0) first_nan = static_cast<int64_t>(i);
  if (first_nan >= 0 && (!ignore_nan || numbers == 0)) return first_nan;
  return kth_of(row, (numbers - 1) / 2 + 1);
}
int64_t mode_of(const Values& row) {
  const Places p = order_of(row, false);
  const auto value = [&](size_t i) { return row[static_cast<size_t>(p[i])]; };
  size_t best = 0, longest = 0;
  for (size_t i = 0; i < p.size();) {
    size_t end = i + 1;
    while (end < p.size() && (value(end) == value(i) || (std::isnan(value(end)) && std::isnan(value(i))))) ++end;
    if (end - i > longest) {
      longest = end - i;
      best = end - 1;
    }
    i = end;
  }
  return p[best];
}
template <class T>
void check_selections(const std::vector<T>& x, Dims sizes, int64_t dim) {
  const int64_t n = sizes[dim];
  for (int64_t k : {int64_t{1}, (n + 1) / 2, n})
    check_select(&kthvalue, x, sizes, dim, {dim, 1, k, 0}, [&](const Values& row) { return kth_of(row, k); });
  for (int64_t ignore : {0, 1})
    check_select(&median_dim, x, sizes, dim, {dim, 1, 0, ignore},
                 [&](const Values& row) { return median_of(row, ignore != 0); });
  check_select(&mode, x, sizes, dim, {dim, 1, 0, 0}, [&](const Values& row) { return mode_of(row); });
}

// Values with many ties, NaN, infinities and both zeros where T has them.
template <class T>
std::vector<T> values_with_ties(int64_t n) {
  auto x = random_values<T>(n, 20.0, static_cast<unsigned>(n));
  if constexpr (is_floating(dtype_of<T>::value)) {
    const float special[] = {NAN, INFINITY, -INFINITY, 0.0f, -0.0f, -NAN};
    for (size_t i = 0; i < x.size(); ++i) {
      x[i] = T(std::round(static_cast<float>(x[i])));
      if (i % 7 == 3) x[i] = T(special[i / 7 % 6]);
    }
  }
  return x;
}

constexpr int64_t kTile = 256 * 11;
const std::pair<Dims, int64_t> kShapes[] = {
    {{1}, 0},      {{5, 2}, 1},     {{3, 50}, 1},        {{2, 224}, 1},
    {{2, 225}, 1}, {{2, kTile}, 1}, {{1, kTile + 1}, 1}, {{2, 3 * kTile - 5}, 1},
    {{7, 5}, 0},   {{2, 30, 3}, 1}, {{300, 2}, 0},
};

TEST(Sort, Shapes) {
  for (const auto& [sizes, dim] : kShapes)
    for (bool descending : {false, true}) {
      check_sort(values_with_ties<float>(numel_of(sizes)), sizes, dim, descending);
      check_sort(random_values<float>(numel_of(sizes), 1.0), sizes, dim, descending);
    }
}
TEST(Sort, ManyTiles) { check_sort(values_with_ties<float>(9 * kTile + 17), {9 * kTile + 17}, 0, false); }
TEST(Sort, Seeds) {
  for_each_seed([] {
    check_sort(values_with_ties<float>(150), {3, 50}, 1, false);
    check_sort(values_with_ties<double>(2 * 2000), {2, 2000}, 1, true);
  });
}
template <class T>
void check_dtype() {
  SCOPED_TRACE(dtype_name(dtype_of<T>::value));
  for (int64_t n : {6, 100, 1000, 6000}) {
    const auto x = values_with_ties<T>(n);
    check_sort(x, {n}, 0, false);
    check_sort(x, {n}, 0, true);
    check_topk(x, {n}, 0, std::min<int64_t>(n, 40), true);
    check_topk(x, {n}, 0, std::min<int64_t>(n, 40), false);
    check_selections(x, {n}, 0);
  }
}
TEST(Sort, DTypes) {
  check_dtype<float>();
  check_dtype<double>();
  check_dtype<float16>();
  check_dtype<bfloat16>();
  check_dtype<int64_t>();
  check_dtype<int32_t>();
  check_dtype<int16_t>();
  check_dtype<int8_t>();
  std::vector<uint8_t> bytes;
  for (int i = 0; i < 700; ++i) bytes.push_back(static_cast<uint8_t>(i * 37));
  check_sort(bytes, {700}, 0, false);
  check_topk(bytes, {2, 350}, 1, 5, true);
  check_selections(bytes, {2, 350}, 1);
}
TEST(Sort, Extremes) {
  check_sort(std::vector<int64_t>{INT64_MAX, INT64_MIN, 0, -1, 1}, {5}, 0, false);
  check_sort(std::vector<uint8_t>{255, 0, 128, 127}, {4}, 0, true);
  check_sort(std::vector<float>(300, NAN), {300}, 0, true);
  check_topk(std::vector<float>(6000, NAN), {6000}, 0, 20, false);
  check_selections(std::vector<double>(600, NAN), {600}, 0);
}
TEST(Sort, TopK) {
  const auto x = values_with_ties<float>(2 * 4000);
  for (int64_t k : {1, 3, 400, 600, 4000}) check_topk(x, {2, 4000}, 1, k, k != 3);
  check_topk(x, {4000, 2}, 0, 7, true);
  check_topk(random_values<float>(50000, 1.0), {50000}, 0, 30, true);  // in pieces
  check_topk(values_with_ties<float>(33000), {33000}, 0, 2000, false);
  for_each_seed([&] { check_topk(x, {2, 4000}, 1, 20, true); });
}
TEST(Sort, LongSelections) {  // one row, sorted by all blocks
  const int64_t n = (1 << 17) + 5;
  auto x = random_values<float>(n, 1.0);
  check_select(&median_dim, x, {n}, 0, {0, 1, 0, 0}, [](const Values& row) { return median_of(row, false); });
  x[77] = x[1000] = NAN;
  for (int64_t ignore : {0, 1})
    check_select(&median_dim, x, {n}, 0, {0, 1, 0, ignore},
                 [&](const Values& row) { return median_of(row, ignore != 0); });
}
TEST(Sort, Strides) {
  const auto x = values_with_ties<float>(12);
  const DeviceArray<float> in(x), values(12);
  const DeviceArray<int64_t> index(12);
  const SortAttrs attrs{0, 0};
  call(&sort, {view_of(values, {3, 4}), view_of(index, {3, 4})},
       {OwnedView(in.data(), DType::kFloat32, {3, 4}, {1, 3})}, &attrs);
  std::vector<float> moved;
  for (size_t k = 0; k < 12; ++k) moved.push_back(x[k % 4 * 3 + k / 4]);
  expect_places(moved, Lines({3, 4}, 0), values, index, 3, [](const Values& row) { return order_of(row, false); });
}

template <class T>
void check_search(const std::vector<T>& sequence, Dims seq_sizes, const std::vector<T>& x, Dims sizes) {
  const DeviceArray<T> s(sequence), v(x);
  const DeviceArray<int64_t> wide(x.size());
  const DeviceArray<int32_t> narrow(x.size());
  const int64_t n = seq_sizes[seq_sizes.n - 1], per = sizes[sizes.n - 1];
  for (int64_t right : {0, 1}) {
    Values expected;
    for (int64_t i = 0; i < numel_of(sizes); ++i) {
      const auto row = sequence.begin() + (seq_sizes.n > 1 ? i / per * n : 0);
      const T value = x[static_cast<size_t>(i)];
      const auto at = right ? std::upper_bound(row, row + n, value) : std::lower_bound(row, row + n, value);
      expected.push_back(static_cast<double>(at - row));
    }
    const SearchAttrs to_wide{right, 0}, to_narrow{right, 1};
    call(&searchsorted, {view_of(wide, sizes)}, {view_of(s, seq_sizes), view_of(v, sizes)}, &to_wide);
    call(&searchsorted, {view_of(narrow, sizes)}, {view_of(s, seq_sizes), view_of(v, sizes)}, &to_narrow);
    expect_near(wide, expected, 0);
    expect_near(narrow, expected, 0);
  }
}
TEST(Search, Sorted) {
  check_search<float>({1, 3, 3, 7, 9}, {5}, {0, 1, 2, 3, 9, 10}, {2, 3});
  check_search<int64_t>({1, 3, 5, 2, 4, 6}, {2, 3}, {3, 3, 9, 0, 1, 2, 6, 7}, {2, 4});
  check_search<double>({0.5}, {1}, {0.25, 0.5, 0.75}, {3});
  check_search<int8_t>({-5, -5, 0, 100}, {4}, {-128, -5, 99, 127}, {4});
}
TEST(Search, NaN) {
  const DeviceArray<float> s(std::vector<float>{1, 2, NAN}), v(std::vector<float>{NAN, 1.5});
  const DeviceArray<int64_t> out(2);
  const SearchAttrs attrs{0, 0};
  call(&searchsorted, {view_of(out, {2})}, {view_of(s, {3}), view_of(v, {2})}, &attrs);
  expect_near(out, {3, 1}, 0);
}

}  // namespace
}  // namespace fireseed::cuda

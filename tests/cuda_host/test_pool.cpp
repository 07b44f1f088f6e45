// Pooling against loops in float64: fixed and adaptive windows, 1-d to 3-d, both memory layouts, gradients, NaN.
#include <array>
#include <limits>

#include "emu_test.h"
#include "kernels/pool.cuh"
#include "tensor/attrs/pool.h"

namespace fireseed::cuda {
void max_pool(const KernelArgs&);
void max_pool_with_indices(const KernelArgs&);
void max_pool_with_window(const KernelArgs&);
void max_pool_backward(const KernelArgs&);
void max_pool_window_backward(const KernelArgs&);
void max_pool_window_indices(const KernelArgs&);
void avg_pool(const KernelArgs&);
void avg_pool_backward(const KernelArgs&);
void adaptive_avg_pool(const KernelArgs&);
void adaptive_avg_pool_backward(const KernelArgs&);
void adaptive_max_pool(const KernelArgs&);

namespace {

using namespace cuda_emu;

constexpr double kInf = std::numeric_limits<double>::infinity();

// A pooling of planes and what it gives in float64, windows walked entry by entry.
struct Case {
  int64_t n, c;
  std::array<int64_t, 3> in, out;
  int64_t spatial = 2;
  PoolAttrs a;
  bool adaptive = false, channels_last = false;

  int64_t planes() const { return n * c; }
  int64_t in_plane() const { return in[0] * in[1] * in[2]; }
  int64_t out_plane() const { return out[0] * out[1] * out[2]; }
  Dims sizes(const std::array<int64_t, 3>& s) const {
    Dims d{n, c};
    for (int64_t i = 3 - spatial; i < 3; ++i) d.push_back(s[static_cast<size_t>(i)]);
    return d;
  }
  Dims strides(const std::array<int64_t, 3>& s) const {
    if (!channels_last) return contiguous_strides(sizes(s));
    Dims d{s[0] * s[1] * s[2] * c, 1};
    for (int64_t i = 3 - spatial; i < 3; ++i) d.push_back(c * (i == 2 ? 1 : i == 1 ? s[2] : s[1] * s[2]));
    return d;
  }
  // Where element `pixel` of plane `p` lies in memory.
  size_t at(int64_t p, int64_t pixel, int64_t plane) const {
    return static_cast<size_t>(channels_last ? (p / c * plane + pixel) * c + p % c : p * plane + pixel);
  }
  template <class F>  // f(flat output, flat input, number in the window)
  void walk(F f) const {
    for (int64_t o = 0; o < out_plane(); ++o) {
      const std::array<int64_t, 3> at_o{o / (out[1] * out[2]), o / out[2] % out[1], o % out[2]};
      std::array<int64_t, 3> first, count;
      for (size_t i = 0; i < 3; ++i) {
        first[i] = adaptive ? at_o[i] * in[i] / out[i] : at_o[i] * a.stride[i] - a.padding[i];
        count[i] = adaptive ? ((at_o[i] + 1) * in[i] + out[i] - 1) / out[i] - first[i] : a.kernel[i];
      }
      for (int64_t k = 0; k < count[0] * count[1] * count[2]; ++k) {
        const std::array<int64_t, 3> t{k / (count[1] * count[2]), k / count[2] % count[1], k % count[2]};
        int64_t flat = 0;
        bool inside = true;
        for (size_t i = 0; i < 3; ++i) {
          const int64_t p = first[i] + t[i] * (adaptive ? 1 : a.dilation[i]);
          inside = inside && p >= 0 && p < in[i];
          flat = flat * in[i] + p;
        }
        if (inside) f(o, flat, k);
      }
    }
  }
  double divisor(int64_t o) const {
    if (a.divisor_override) return static_cast<double>(a.divisor_override);
    const std::array<int64_t, 3> at_o{o / (out[1] * out[2]), o / out[2] % out[1], o % out[2]};
    double d = 1;
    for (size_t i = 0; i < 3; ++i) {
      int64_t start = at_o[i] * a.stride[i] - a.padding[i], end = std::min(start + a.kernel[i], in[i] + a.padding[i]);
      if (!a.count_include_pad) start = std::max<int64_t>(0, start), end = std::min(end, in[i]);
      if (adaptive) start = at_o[i] * in[i] / out[i], end = ((at_o[i] + 1) * in[i] + out[i] - 1) / out[i];
      d *= static_cast<double>(end - start);
    }
    return d;
  }
};

template <class T>
OwnedView on(const DeviceArray<T>& m, const Case& k, const std::array<int64_t, 3>& s) {
  return OwnedView(m.data(), dtype_of<T>::value, k.sizes(s), k.strides(s));
}
size_t elements(int64_t n) { return static_cast<size_t>(n); }

struct Maxima {
  std::vector<double> value, gx;
  std::vector<int64_t> index;
  std::vector<uint8_t> window;
};
Maxima maxima(const Case& k, const std::vector<double>& x, const std::vector<double>& g) {
  Maxima m;
  const size_t n = elements(k.planes() * k.out_plane());
  m.value.assign(n, -kInf);
  m.index.assign(n, -1);
  m.window.assign(n, 0);
  m.gx.assign(x.size(), 0.0);
  for (int64_t p = 0; p < k.planes(); ++p) {
    k.walk([&](int64_t o, int64_t i, int64_t t) {
      const size_t to = k.at(p, o, k.out_plane());
      const double v = x[k.at(p, i, k.in_plane())];
      if (m.index[to] >= 0 && !(v > m.value[to] || v != v)) return;
      m.value[to] = v;
      m.index[to] = i;
      m.window[to] = static_cast<uint8_t>(t);
    });
    for (int64_t o = 0; o < k.out_plane(); ++o) {
      const size_t from = k.at(p, o, k.out_plane());
      m.gx[k.at(p, m.index[from], k.in_plane())] += g[from];
    }
  }
  return m;
}

template <class T>
void check_max(const Case& k, double spread = 2, double tolerance = 1e-2) {
  const int64_t n_in = k.planes() * k.in_plane(), n_out = k.planes() * k.out_plane();
  auto x = random_values<T>(n_in, spread);
  for (size_t i = 0; i < x.size(); ++i)  // ties, and where T has them NaN and infinities
    if (i % 5 == 0) x[i] = x[i / 2];
  if constexpr (is_floating(dtype_of<T>::value))
    for (size_t i = 3; i < x.size(); i += 17) x[i] = T(i % 2 ? NAN : -INFINITY);
  const DeviceArray<T> dx(x), y(elements(n_out));
  const DeviceArray<int64_t> index(elements(n_out)), places(elements(n_out));
  const DeviceArray<uint8_t> window(elements(n_out));
  std::vector<double> ones(elements(n_out), 1.0);
  const Maxima want = maxima(k, to_double(x), ones);
  AdaptivePoolAttrs ad;
  ad.spatial = k.spatial;
  const OwnedView in = on(dx, k, k.in), out = on(y, k, k.out), where = on(index, k, k.out);
  if (k.adaptive) {
    call(&adaptive_max_pool, {out, where}, {in}, &ad);
    expect_near(y, want.value, 0);
    EXPECT_EQ(index.host(), want.index);
  } else {
    call(&max_pool, {out}, {in}, &k.a);
    expect_near(y, want.value, 0);
    y.fill_nan();
    call(&max_pool_with_indices, {out, where}, {in}, &k.a);
    expect_near(y, want.value, 0);
    EXPECT_EQ(index.host(), want.index);
    if (k.a.kernel[0] * k.a.kernel[1] * k.a.kernel[2] <= 255) {
      y.fill_nan();
      call(&max_pool_with_window, {out, on(window, k, k.out)}, {in}, &k.a);
      expect_near(y, want.value, 0);
      EXPECT_EQ(window.host(), want.window);
      call(&max_pool_window_indices, {on(places, k, k.out)}, {on(window, k, k.out)}, &k.a);
      EXPECT_EQ(places.host(), want.index);
    }
  }
  if constexpr (is_floating(dtype_of<T>::value)) {
    const auto g = random_values<T>(n_out, 1.0, 2);
    const DeviceArray<T> dg(g), gx(elements(n_in));
    const Maxima m = maxima(k, to_double(x), to_double(g));
    PoolAttrs a = k.a;
    if (k.adaptive) a = PoolAttrs{.spatial = k.spatial, .in = {k.in[0], k.in[1], k.in[2]}};
    call(&max_pool_backward, {on(gx, k, k.in)}, {on(dg, k, k.out), where}, &a);
    expect_near(gx, m.gx, tolerance);
    if (k.adaptive || k.a.kernel[0] * k.a.kernel[1] * k.a.kernel[2] > 255) return;
    gx.fill_nan();
    call(&max_pool_window_backward, {on(gx, k, k.in)}, {on(dg, k, k.out), on(window, k, k.out)}, &a);
    expect_near(gx, m.gx, tolerance);
  }
}

template <class T>
void check_mean(const Case& k, double tolerance) {
  const int64_t n_in = k.planes() * k.in_plane(), n_out = k.planes() * k.out_plane();
  const auto x = random_values<T>(n_in, 1.0), g = random_values<T>(n_out, 1.0, 2);
  const DeviceArray<T> dx(x), dg(g), y(elements(n_out)), gx(elements(n_in));
  std::vector<double> want(elements(n_out), 0.0), wantgx(elements(n_in), 0.0);
  for (int64_t p = 0; p < k.planes(); ++p)
    k.walk([&](int64_t o, int64_t i, int64_t) {
      const size_t to = k.at(p, o, k.out_plane()), from = k.at(p, i, k.in_plane());
      want[to] += to_double(x[from]) / k.divisor(o);
      wantgx[from] += to_double(g[to]) / k.divisor(o);
    });
  AdaptivePoolAttrs ad;
  ad.spatial = k.spatial;
  const void* attrs = k.adaptive ? static_cast<const void*>(&ad) : &k.a;
  call(k.adaptive ? &adaptive_avg_pool : &avg_pool, {on(y, k, k.out)}, {on(dx, k, k.in)}, attrs);
  expect_near(y, want, tolerance);
  call(k.adaptive ? &adaptive_avg_pool_backward : &avg_pool_backward, {on(gx, k, k.in)}, {on(dg, k, k.out)}, attrs);
  expect_near(gx, wantgx, tolerance);
}

// Sizes follow from the attributes.
Case fixed(int64_t spatial, int64_t n, int64_t c, std::array<int64_t, 3> in, PoolAttrs a) {
  Case k{n, c, in, {}, spatial, a};
  for (size_t i = 0; i < 3; ++i) {
    k.a.in[i] = in[i];
    const int64_t reach = in[i] + 2 * a.padding[i] - a.dilation[i] * (a.kernel[i] - 1) - 1;
    k.out[i] = (reach + (a.ceil_mode ? a.stride[i] - 1 : 0)) / a.stride[i] + 1;
    if (a.ceil_mode && (k.out[i] - 1) * a.stride[i] >= in[i] + a.padding[i]) --k.out[i];
  }
  k.a.spatial = spatial;
  return k;
}
std::vector<Case> fixed_cases(bool dilated) {
  std::vector<Case> all{
      fixed(2, 2, 3, {1, 6, 8}, {.kernel = {1, 2, 2}, .stride = {1, 2, 2}}),
      fixed(2, 1, 5, {1, 7, 9}, {.kernel = {1, 3, 3}, .stride = {1, 2, 2}, .padding = {0, 1, 1}}),
      fixed(2, 1, 4, {1, 7, 6}, {.kernel = {1, 3, 2}, .stride = {1, 2, 3}, .padding = {0, 1, 0}, .ceil_mode = 1}),
      fixed(1, 2, 2, {1, 1, 13}, {.kernel = {1, 1, 5}, .stride = {1, 1, 2}, .padding = {0, 0, 2}}),
      fixed(3, 1, 2, {4, 5, 3}, {.kernel = {2, 3, 2}, .stride = {2, 1, 1}, .padding = {1, 1, 0}}),
      fixed(2, 2, 2, {1, 9, 9}, {.kernel = {1, 8, 8}, .stride = {1, 40, 1}}),  // a warp a window
  };
  if (dilated) {
    all.push_back(fixed(2, 1, 4, {1, 8, 9},
                        {.kernel = {1, 3, 2}, .stride = {1, 1, 2}, .padding = {0, 1, 1}, .dilation = {1, 2, 3}}));
    all.push_back(fixed(2, 1, 1, {1, 18, 18}, {.kernel = {1, 17, 17}, .stride = {1, 1, 1}}));
  }
  return all;
}
template <class F>
void both_layouts(Case k, F f) {
  for (bool last : {false, true}) {
    SCOPED_TRACE(last ? "channels last" : "planes");
    k.channels_last = last;
    f(k);
  }
}

TEST(MaxPool, EveryWindow) {
  for (const Case& k : fixed_cases(true)) both_layouts(k, [](const Case& c) { check_max<float>(c); });
}
TEST(MaxPool, EveryDType) {
  const Case k = fixed_cases(false)[1];
  check_max<double>(k);
  check_max<float16>(k);
  check_max<bfloat16>(k, 2, 4e-2);
  check_max<int64_t>(k, 90);
  check_max<int32_t>(k, 90);
  check_max<int16_t>(k, 90);
  check_max<int8_t>(k, 20);
  const Case u = fixed_cases(false)[0];
  const DeviceArray<uint8_t> x(elements(u.planes() * u.in_plane())), y(elements(u.planes() * u.out_plane()));
  cudaMemset(x.data(), 200, x.size());
  call(&max_pool, {on(y, u, u.out)}, {on(x, u, u.in)}, &u.a);
  EXPECT_EQ(y.host(), std::vector<uint8_t>(y.size(), 200));
}
TEST(AveragePool, EveryWindow) {
  for (const Case& k : fixed_cases(false)) {
    both_layouts(k, [](const Case& c) { check_mean<float>(c, 1e-6); });
    Case other = k;
    other.a.count_include_pad = 0;
    check_mean<double>(other, 1e-14);
    other.a.divisor_override = 7;
    check_mean<float>(other, 1e-6);
  }
  check_mean<float16>(fixed_cases(false)[1], 1e-3);
  check_mean<bfloat16>(fixed_cases(false)[1], 8e-3);
}
TEST(AdaptivePool, AnySize) {
  for (const auto& [in, out] : {std::pair<std::array<int64_t, 3>, std::array<int64_t, 3>>{{1, 7, 9}, {1, 3, 4}},
                                {{1, 7, 9}, {1, 1, 1}},
                                {{1, 3, 4}, {1, 5, 4}},
                                {{1, 8, 6}, {1, 8, 6}}}) {
    const Case k{2, 3, in, out, 2, {}, true};
    both_layouts(k, [](const Case& c) {
      check_mean<float>(c, 1e-6);
      check_max<float>(c);
    });
  }
  check_mean<double>(Case{1, 2, {4, 5, 6}, {2, 3, 5}, 3, {}, true}, 1e-14);
  check_max<bfloat16>(Case{1, 2, {1, 1, 40}, {1, 1, 3}, 1, {}, true}, 2, 4e-2);
  for_each_seed([] { check_max<float>(Case{2, 3, {1, 20, 20}, {1, 2, 2}, 2, {}, true}); });
}

// On the device, so that it is the same code: n / d for each pair.
__global__ void divide_all(const WideDivider* by, const int64_t* n, int32_t* quotients, int count) {
  for (int i = static_cast<int>(threadIdx.x); i < count; i += 32) quotients[i] = by[i].divide(n[i]);
}
TEST(Pool, WideDivision) {
  std::vector<WideDivider> by;
  std::vector<int64_t> numbers;
  std::vector<int32_t> expected;
  for (const int64_t d : {1, 2, 3, 7, 64, 1000, 65537, 46341, 2147483646, 2147483647})
    for (const int64_t q : {0, 1, 2, 5, 65536, 1000003, 2147483646})
      for (const int64_t rest : {int64_t{0}, int64_t{1}, d / 2, d - 1}) {
        if (rest >= d) continue;
        by.emplace_back(d);
        numbers.push_back(q * d + rest);
        expected.push_back(static_cast<int32_t>(q));
      }
  const DeviceArray<int64_t> n(numbers);
  const DeviceArray<int32_t> quotients(numbers.size());
  const DeviceArray<uint64_t> dividers(by.size() * (sizeof(WideDivider) / 8));
  FS_CUDA(cudaMemcpy(dividers.data(), by.data(), by.size() * sizeof(WideDivider), cudaMemcpyHostToDevice));
  FS_LAUNCH(divide_all, 1, 32, 0, nullptr, reinterpret_cast<const WideDivider*>(dividers.data()), n.data(),
            quotients.data(), static_cast<int>(numbers.size()));
  EXPECT_EQ(quotients.host(), expected);
}

}  // namespace
}  // namespace fireseed::cuda

// layer, rms, group and batch norm against float64: rows and channels of many sizes, layouts, running statistics.
#include <functional>

#include "emu_test.h"
#include "tensor/attrs/norm.h"

namespace fireseed::cuda {
void layer_norm(const KernelArgs&);
void layer_norm_backward(const KernelArgs&);
void rms_norm(const KernelArgs&);
void rms_norm_backward(const KernelArgs&);
void group_norm(const KernelArgs&);
void group_norm_backward(const KernelArgs&);
void batch_norm(const KernelArgs&);
void batch_norm_backward(const KernelArgs&);

namespace {

using namespace cuda_emu;
using Doubles = std::vector<double>;
using Place = std::function<size_t(size_t)>;

constexpr double kEps = 1e-3;
const OwnedView kAbsent(nullptr, DType::kUndefined, Dims{});

// Element i in memory belongs to statistics `group(i)` and parameters `channel(i)`.
struct Reference {
  Doubles mean, var, y, gx, gw, gb;
  // fixed: mean and var do not depend on x.
  Reference(const Doubles& x, const Doubles& g, const Doubles& w, const Doubles& b, size_t groups, size_t channels,
            const Place& group, const Place& channel, bool centered, const Doubles* fixed_mean = nullptr,
            const Doubles* fixed_var = nullptr)
      : mean(groups), var(groups), y(x.size()), gx(x.size()), gw(channels), gb(channels) {
    const double n = static_cast<double>(x.size()) / static_cast<double>(groups);
    const auto weight = [&](size_t i) { return w.empty() ? 1.0 : w[channel(i)]; };
    for (size_t i = 0; i < x.size() && centered; ++i) mean[group(i)] += x[i] / n;
    for (size_t i = 0; i < x.size(); ++i) var[group(i)] += (x[i] - mean[group(i)]) * (x[i] - mean[group(i)]) / n;
    if (fixed_mean) mean = *fixed_mean, var = *fixed_var;
    Doubles a(groups), c(groups);
    const auto rstd = [&](size_t i) { return 1 / std::sqrt(var[group(i)] + kEps); };
    const auto hat = [&](size_t i) { return (x[i] - mean[group(i)]) * rstd(i); };
    for (size_t i = 0; i < x.size(); ++i) {
      y[i] = hat(i) * weight(i) + (b.empty() ? 0.0 : b[channel(i)]);
      gw[channel(i)] += g[i] * hat(i);
      gb[channel(i)] += g[i];
      if (centered && !fixed_mean) a[group(i)] += weight(i) * g[i] / n;
      if (!fixed_mean) c[group(i)] += weight(i) * g[i] * hat(i) / n;
    }
    for (size_t i = 0; i < x.size(); ++i) gx[i] = rstd(i) * (weight(i) * g[i] - a[group(i)] - hat(i) * c[group(i)]);
  }
  Doubles rstd() const {
    Doubles r;
    for (double v : var) r.push_back(1 / std::sqrt(v + kEps));
    return r;
  }
};

// Values around 0.5, so that the mean matters.
template <class T>
std::vector<T> values(int64_t n, unsigned seed, double spread = 1.0) {
  std::vector<T> v = random_values<T>(n, spread, seed);
  for (T& x : v) x = T(static_cast<compute_type<T>>(to_double(x) + 0.5));
  return v;
}

enum class Kind { kLayer, kRms, kGroup };

// group: sizes [N, C, …]; else rows of the last dimension. Parameters of type P.
template <class T, class P = T>
void check_rows(Kind kind, Dims sizes, bool with_params, double tolerance, int64_t groups = 1) {
  using C = compute_type<T>;
  const bool group = kind == Kind::kGroup, centered = kind != Kind::kRms;
  const int64_t total = numel_of(sizes), channels = group ? sizes[1] : sizes[sizes.n - 1];
  int64_t inner = 1;
  for (int64_t d = 2; d < sizes.n && group; ++d) inner *= sizes[d];
  const int64_t row = group ? channels / groups * inner : channels, rows = total / row;
  const auto x = values<T>(total, 1), g = values<T>(total, 2);
  const auto w = values<P>(channels, 3), b = values<P>(channels, 4);
  const Reference e(
      to_double(x), to_double(g), with_params ? to_double(w) : Doubles{},
      with_params && centered ? to_double(b) : Doubles{}, static_cast<size_t>(rows), static_cast<size_t>(channels),
      [=](size_t i) { return i / static_cast<size_t>(row); },
      [=](size_t i) { return i / static_cast<size_t>(inner) % static_cast<size_t>(channels); }, centered);
  const DeviceArray<T> dx(x), dg(g), y(x.size()), gx(x.size());
  const DeviceArray<P> dw(w), db(b);
  const DeviceArray<C> mean(static_cast<size_t>(rows)), rstd(static_cast<size_t>(rows)), gw(w.size()), gb(w.size());
  const Dims stat = group ? Dims{sizes[0], groups} : Dims{rows}, params{channels};
  const OwnedView weight = with_params ? view_of(dw, params) : kAbsent,
                  bias = with_params ? view_of(db, params) : kAbsent;
  const LayerNormAttrs line{channels, kEps};
  const GroupNormAttrs grouped{groups, kEps};
  const void* attrs = group ? static_cast<const void*>(&grouped) : &line;
  const OwnedView vx = view_of(dx, sizes), vg = view_of(dg, sizes), vy = view_of(y, sizes), vgx = view_of(gx, sizes),
                  vm = view_of(mean, stat), vr = view_of(rstd, stat), vgw = view_of(gw, params),
                  vgb = view_of(gb, params);
  if (centered) {
    call(group ? &group_norm : &layer_norm, {vy, vm, vr}, {vx, weight, bias}, attrs);
    expect_near(mean, e.mean, sizeof(C) == 8 ? 1e-13 : 1e-6);
    call(group ? &group_norm_backward : &layer_norm_backward, {vgx, vgw, vgb}, {vg, vx, weight, vm, vr}, attrs);
    expect_near(gb, e.gb, tolerance);
  } else {
    call(&rms_norm, {vy, vr}, {vx, weight}, attrs);
    call(&rms_norm_backward, {vgx, vgw}, {vg, vx, weight, vr}, attrs);
  }
  expect_near(y, e.y, tolerance);
  expect_near(rstd, e.rstd(), sizeof(C) == 8 ? 1e-13 : 4e-6);
  expect_near(gx, e.gx, tolerance);
  expect_near(gw, e.gw, tolerance);
}

TEST(Norm, RowsOfManyLengths) {
  for (Kind kind : {Kind::kLayer, Kind::kRms})
    for (int64_t n : {1, 2, 33, 300, 1025}) {
      SCOPED_TRACE(n);
      check_rows<float>(kind, {7, n}, n != 33, 2e-5);
      check_rows<double>(kind, {2, 3, n}, true, 1e-12);
    }
  check_rows<float>(Kind::kLayer, {300, 5}, true, 2e-5);
}
// The mean square is infinite: what is finite becomes 0.
template <class T>
void check_infinity(int64_t n) {
  std::vector<T> x(static_cast<size_t>(n), T(1.0f));
  x[1] = T(std::numeric_limits<float>::infinity());
  const DeviceArray<T> dx(x), y(x.size());
  const DeviceArray<compute_type<T>> rstd(1);
  const LayerNormAttrs attrs{n, kEps};
  call(&rms_norm, {view_of(y, {1, n}), view_of(rstd, {1})}, {view_of(dx, {1, n}), kAbsent}, &attrs);
  const std::vector<T> r = y.host();
  for (size_t i = 0; i < r.size(); ++i) {
    if (i == 1) EXPECT_TRUE(std::isnan(to_double(r[i])));
    else EXPECT_EQ(to_double(r[i]), 0.0) << i;
  }
}
TEST(Norm, InfiniteMeanSquare) {
  for (int64_t n : {3, 33, 1024}) {
    check_infinity<float>(n);
    check_infinity<double>(n);
    check_infinity<bfloat16>(n);
  }
}
TEST(Norm, Groups) {
  check_rows<float>(Kind::kGroup, {3, 6, 5, 2}, true, 2e-5, 2);
  check_rows<float>(Kind::kGroup, {2, 4}, true, 2e-5, 2);
  check_rows<double>(Kind::kGroup, {2, 8, 700}, true, 1e-12, 4);
  check_rows<double>(Kind::kGroup, {3, 4, 33}, false, 1e-12, 1);
  check_rows<double>(Kind::kGroup, {5, 4, 9}, true, 1e-12, 4);
}
TEST(Norm, Halves) {
  for (Kind kind : {Kind::kLayer, Kind::kRms}) {
    check_rows<float16>(kind, {5, 70}, true, 4e-3);
    check_rows<bfloat16, float>(kind, {5, 70}, true, 3e-2);
  }
  check_rows<float16, float>(Kind::kGroup, {2, 4, 9}, true, 4e-3, 2);
}
// A thread a vector of each row, some rows a block; rows that are kept, or only their ends; rows that begin anywhere.
TEST(Norm, RowsInVectors) {
  for (Kind kind : {Kind::kLayer, Kind::kRms}) {
    check_rows<float>(kind, {700, 16}, true, 4e-5);
    check_rows<float>(kind, {41, 200}, true, 2e-5);
    check_rows<float>(kind, {3, 2048}, true, 2e-5);
    check_rows<float>(kind, {2, 4096}, true, 4e-5);
    check_rows<float>(kind, {1, 40000}, kind == Kind::kLayer, 2e-4);
    check_rows<float>(kind, {3, 1027}, false, 2e-5);
    check_rows<float16>(kind, {300, 64}, true, 4e-3);
    check_rows<bfloat16, float>(kind, {9, 768}, true, 3e-2);
    check_rows<bfloat16>(kind, {3, 4100}, true, 3e-2);
    check_rows<float16, bfloat16>(kind, {3, 264}, true, 4e-3);
  }
  check_rows<float>(Kind::kGroup, {2, 8, 12, 8}, true, 2e-5, 2);
  check_rows<bfloat16>(Kind::kGroup, {3, 6, 5, 8}, true, 3e-2, 3);
  check_rows<float>(Kind::kGroup, {3, 32}, true, 2e-5, 4);
  check_rows<float>(Kind::kGroup, {3, 12}, true, 2e-5, 2);
}
TEST(Norm, AnyOrderOfThreads) {
  for_each_seed([] {
    check_rows<float>(Kind::kLayer, {40, 200}, true, 2e-5);
    check_rows<bfloat16>(Kind::kRms, {9, 2056}, true, 3e-2);
    check_rows<float>(Kind::kLayer, {3, 1100}, true, 2e-5);
    check_rows<float>(Kind::kGroup, {2, 4, 9}, true, 2e-5, 2);
  });
}
TEST(Norm, FarFromZero) {
  std::vector<float> x = random_values<float>(2000, 1.0);
  for (float& v : x) v += 1000;
  const DeviceArray<float> dx(x), y(x.size()), mean(1), rstd(1);
  const LayerNormAttrs attrs{2000, kEps};
  call(&layer_norm, {view_of(y, {1, 2000}), view_of(mean, {1}), view_of(rstd, {1})},
       {view_of(dx, {1, 2000}), kAbsent, kAbsent}, &attrs);
  const auto one = [](size_t) { return size_t{0}; };
  const Reference e(to_double(x), Doubles(2000), {}, {}, 1, 1, one, one, true);
  expect_near(y, e.y, 3e-4);
}
TEST(Norm, NothingToSum) {
  const DeviceArray<float> none(0), w(std::vector<float>(4, 1)), gw(4), gb(4);
  const LayerNormAttrs attrs{4, kEps};
  const OwnedView x(nullptr, DType::kFloat32, {0, 4}), stat(nullptr, DType::kFloat32, {0});
  call(&layer_norm_backward, {x, view_of(gw, {4}), view_of(gb, {4})}, {x, x, view_of(w, {4}), stat, stat}, &attrs);
  expect_near(gw, Doubles(4), 0);
  expect_near(gb, Doubles(4), 0);
}
TEST(Norm, NaNStaysInItsRow) {
  std::vector<float> x = random_values<float>(3 * 40, 1.0);
  x[45] = NAN;
  const DeviceArray<float> dx(x), y(x.size()), mean(3), rstd(3);
  const LayerNormAttrs attrs{40, kEps};
  call(&layer_norm, {view_of(y, {3, 40}), view_of(mean, {3}), view_of(rstd, {3})},
       {view_of(dx, {3, 40}), kAbsent, kAbsent}, &attrs);
  const auto v = y.host();
  for (size_t i = 0; i < v.size(); ++i) EXPECT_EQ(std::isnan(v[i]), i / 40 == 1) << i;
}

// last: channels-last memory. Running statistics are float and every second element of an array.
template <class T, class P = T>
void check_batch(Dims sizes, bool last, bool training, bool with_params, double tolerance) {
  using C = compute_type<T>;
  const int64_t total = numel_of(sizes), channels = sizes[1];
  int64_t inner = 1;
  for (int64_t d = 2; d < sizes.n; ++d) inner *= sizes[d];
  Dims strides = contiguous_strides(sizes);
  if (last) {
    strides[1] = 1;
    int64_t step = channels;
    for (int64_t d = sizes.n - 1; d >= 2; --d) strides[d] = step, step *= sizes[d];
    strides[0] = step;
  }
  const auto x = values<T>(total, 1, 2.0), g = values<T>(total, 2);
  const auto w = values<P>(channels, 3), b = values<P>(channels, 4);
  std::vector<float> running_mean(static_cast<size_t>(2 * channels), 7), running_var = running_mean;
  Doubles before_mean, before_var;
  for (int64_t c = 0; c < channels; ++c) {
    before_mean.push_back(running_mean[static_cast<size_t>(2 * c)] = static_cast<float>(c) * 0.25f);
    before_var.push_back(running_var[static_cast<size_t>(2 * c)] = 1 + static_cast<float>(c) * 0.5f);
  }
  const Place channel = [=](size_t i) {
    return last ? i % static_cast<size_t>(channels) : i / static_cast<size_t>(inner) % static_cast<size_t>(channels);
  };
  const Reference e(to_double(x), to_double(g), with_params ? to_double(w) : Doubles{},
                    with_params ? to_double(b) : Doubles{}, static_cast<size_t>(channels),
                    static_cast<size_t>(channels), channel, channel, true, training ? nullptr : &before_mean,
                    training ? nullptr : &before_var);
  const DeviceArray<T> dx(x), dg(g), y(x.size()), gx(x.size());
  const DeviceArray<P> dw(w), db(b);
  const DeviceArray<float> dm(running_mean), dv(running_var);
  const DeviceArray<C> mean(w.size()), invstd(w.size()), gw(w.size()), gb(w.size());
  const auto whole = [&](const DeviceArray<T>& a) { return OwnedView(a.data(), dtype_of<T>::value, sizes, strides); };
  const Dims params{channels};
  const OwnedView weight = with_params ? view_of(dw, params) : kAbsent,
                  bias = with_params ? view_of(db, params) : kAbsent;
  const BatchNormAttrs attrs{training, 0.3, kEps};
  call(&batch_norm, {whole(y), view_of(mean, params), view_of(invstd, params)},
       {whole(dx), weight, bias, OwnedView(dm.data(), DType::kFloat32, params, {2}),
        OwnedView(dv.data(), DType::kFloat32, params, {2})},
       &attrs);
  expect_near(y, e.y, tolerance);
  expect_near(mean, e.mean, sizeof(C) == 8 ? 1e-13 : 1e-6);
  expect_near(invstd, e.rstd(), sizeof(C) == 8 ? 1e-13 : 1e-5);
  const double count = static_cast<double>(sizes[0] * inner);
  Doubles after_mean, after_var;
  for (size_t c = 0; c < w.size(); ++c) {
    after_mean.push_back(training ? 0.7 * before_mean[c] + 0.3 * e.mean[c] : before_mean[c]);
    after_var.push_back(training ? 0.7 * before_var[c] + 0.3 * e.var[c] * count / (count - 1) : before_var[c]);
    after_mean.push_back(7);  // what lies between
    after_var.push_back(7);
  }
  expect_near(dm, after_mean, 1e-6);
  expect_near(dv, after_var, 1e-5);
  call(&batch_norm_backward, {whole(gx), view_of(gw, params), view_of(gb, params)},
       {whole(dg), whole(dx), weight, view_of(mean, params), view_of(invstd, params)}, &attrs);
  expect_near(gx, e.gx, tolerance);
  expect_near(gw, e.gw, tolerance);
  expect_near(gb, e.gb, tolerance);
}

TEST(BatchNorm, LayoutsAndModes) {
  for (bool training : {true, false})
    for (bool last : {false, true}) {
      SCOPED_TRACE(std::to_string(training) + std::to_string(last));
      check_batch<float>({3, 5, 4, 7}, last, training, true, 2e-5);
      check_batch<double>({2, 35, 3, 3}, last, training, false, 1e-12);
      check_batch<double>({3, 2, 50, 60}, last, training, true, 1e-11);
    }
  check_batch<float>({300, 37}, false, true, true, 4e-5);
  check_batch<float>({2, 1}, false, true, true, 2e-5);
}
TEST(BatchNorm, Halves) {
  check_batch<float16, float>({3, 5, 20}, false, true, true, 4e-3);
  check_batch<bfloat16>({3, 5, 4, 5}, true, true, true, 3e-2);
}
TEST(BatchNorm, Vectors) {
  for (bool training : {true, false}) {
    check_batch<float>({5, 3, 8, 8}, false, training, true, 2e-5);
    check_batch<bfloat16, float>({3, 5, 14, 14}, false, training, true, 3e-2);
    check_batch<float16>({40, 16, 2, 3}, true, training, true, 4e-3);
    check_batch<float16, float>({90, 272}, false, training, true, 4e-3);
    check_batch<float>({2, 3, 130, 130}, false, training, true, 1e-4);
  }
}
// What is added up lies far from zero, or begins far from the mean.
TEST(BatchNorm, FarFromZero) {
  std::vector<float> x = random_values<float>(2 * 6000, 1.0);
  for (size_t i = 0; i < x.size(); ++i) x[i] += i % 6000 < 4 ? -500.0f : 1000.0f;
  const DeviceArray<float> dx(x), y(x.size()), mean(1), invstd(1);
  const BatchNormAttrs attrs{true, 0.3, kEps};
  call(&batch_norm, {view_of(y, {2, 1, 6000}), view_of(mean, {1}), view_of(invstd, {1})},
       {view_of(dx, {2, 1, 6000}), kAbsent, kAbsent, kAbsent, kAbsent}, &attrs);
  const auto one = [](size_t) { return size_t{0}; };
  const Reference e(to_double(x), Doubles(x.size()), {}, {}, 1, 1, one, one, true);
  expect_near(invstd, e.rstd(), 1e-6);
  expect_near(y, e.y, 3e-4);
}
TEST(BatchNorm, AnyOrderOfThreads) {
  for_each_seed([] {
    check_batch<bfloat16>({9, 16, 4, 4}, true, true, true, 3e-2);
    check_batch<float>({4, 5, 60}, false, true, true, 2e-5);
    check_batch<float>({70, 5}, false, true, true, 2e-5);
  });
}

}  // namespace
}  // namespace fireseed::cuda

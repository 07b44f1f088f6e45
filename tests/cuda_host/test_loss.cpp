// nll_loss and cross_entropy against float64: reductions, weights, ignored targets, smoothing, layouts, bad targets.
#include "emu_test.h"
#include "tensor/attrs/loss.h"

namespace fireseed::cuda {
void nll_loss(const KernelArgs&);
void nll_loss_backward(const KernelArgs&);
void cross_entropy(const KernelArgs&);
void cross_entropy_backward(const KernelArgs&);

namespace {

using namespace cuda_emu;

struct Case {
  Dims sizes;
  Reduction reduction = Reduction::kMean;
  double smoothing = 0;
  bool weighted = false;
};
struct Expected {
  std::vector<double> each, lse, gx;
  double loss = 0, total = 0;
};

// The loss of logits (or, for nll, log-probabilities) x and its gradient for cotangents g (one a row, or one in all).
Expected reference(const Case& c, bool nll, const std::vector<double>& x, const std::vector<int64_t>& target,
                   const std::vector<double>& w, const std::vector<double>& g) {
  const int64_t classes = c.sizes.n > 1 ? c.sizes[1] : c.sizes[0];
  int64_t inner = 1;
  for (int64_t d = 2; d < c.sizes.n; ++d) inner *= c.sizes[d];
  const auto rows = static_cast<int64_t>(target.size());
  const auto weight = [&](int64_t k) { return c.weighted ? w[static_cast<size_t>(k)] : 1.0; };
  Expected e;
  e.gx.assign(x.size(), 0.0);
  double all = 0;
  for (int64_t k = 0; k < classes; ++k) all += weight(k);
  for (int pass = 0; pass < 2; ++pass) {
    for (int64_t r = 0; r < rows; ++r) {
      const auto at = [&](int64_t k) {
        return static_cast<size_t>(r / inner * classes * inner + k * inner + r % inner);
      };
      double sum = 0, smooth = 0;
      for (int64_t k = 0; k < classes; ++k) sum += std::exp(x[at(k)]);
      const double lse = std::log(sum);
      const int64_t t = target[static_cast<size_t>(r)];
      if (pass == 0) {
        double v = 0;
        if (t >= 0) {
          for (int64_t k = 0; k < classes; ++k) smooth += weight(k) * (lse - x[at(k)]);
          v = nll ? -weight(t) * x[at(t)]
                  : (1 - c.smoothing) * weight(t) * (lse - x[at(t)]) +
                        c.smoothing / static_cast<double>(classes) * smooth;
          e.total += weight(t);
        }
        e.each.push_back(v);
        e.lse.push_back(lse);
        e.loss += v;
      } else if (t >= 0) {
        const double scale = c.reduction == Reduction::kNone ? g[static_cast<size_t>(r)]
                                                             : g[0] / (c.reduction == Reduction::kMean ? e.total : 1);
        const double keep = (1 - c.smoothing) * weight(t), part = c.smoothing / static_cast<double>(classes);
        for (int64_t k = 0; k < classes; ++k)
          e.gx[at(k)] =
              nll ? (k == t ? -weight(t) * scale : 0)
                  : scale * (std::exp(x[at(k)] - lse) * (keep + part * all) - (k == t ? keep : 0) - part * weight(k));
      }
    }
  }
  if (c.reduction == Reduction::kMean) e.loss /= e.total;
  return e;
}

template <class T>
void check(const Case& c, double tolerance, bool ignore = true) {
  using C = compute_type<T>;
  Dims rows;
  for (int64_t d = 0; d < c.sizes.n; ++d)
    if (d != (c.sizes.n > 1)) rows.push_back(c.sizes[d]);
  const int64_t classes = c.sizes.n > 1 ? c.sizes[1] : c.sizes[0], n = numel_of(rows);
  const bool none = c.reduction == Reduction::kNone;
  const auto x = random_values<T>(numel_of(c.sizes), 2.0);
  std::vector<T> w = random_values<T>(classes, 0.5, 3);
  for (T& v : w) v = T(static_cast<C>(0.1 + std::fabs(to_double(v))));
  const auto g = random_values<T>(none ? n : 1, 1.0, 4);
  std::vector<int64_t> target;
  for (int64_t r = 0; r < n; ++r) target.push_back(ignore && r % 5 == 3 ? -100 : (r * 7 + 1) % classes);
  const Dims loss_sizes = none ? rows : Dims{};
  const DeviceArray<T> dx(x), dw(w), dg(g), loss(static_cast<size_t>(none ? n : 1)), gx(x.size());
  const DeviceArray<int64_t> dt(target);
  const DeviceArray<C> lse(static_cast<size_t>(n));
  const DeviceArray<double> total(1);
  const ClassLossAttrs attrs{c.reduction, -100, c.smoothing};
  const OwnedView weight = c.weighted ? view_of(dw, {classes}) : OwnedView(nullptr, DType::kUndefined, Dims{});
  for (bool nll : {false, true}) {
    if (nll && c.smoothing > 0) continue;
    SCOPED_TRACE(nll ? "nll_loss" : "cross_entropy");
    const Expected e = reference(c, nll, to_double(x), target, to_double(w), to_double(g));
    for (const auto* out : {&loss, &gx}) out->fill_nan();
    if (nll)
      call(&nll_loss, {view_of(loss, loss_sizes), view_of(total, Dims{})},
           {view_of(dx, c.sizes), view_of(dt, rows), weight}, &attrs);
    else
      call(&cross_entropy, {view_of(loss, loss_sizes), view_of(lse, rows), view_of(total, Dims{})},
           {view_of(dx, c.sizes), view_of(dt, rows), weight}, &attrs);
    expect_near(loss, none ? e.each : std::vector<double>{e.loss}, tolerance);
    expect_near(total, {e.total}, 1e-12);
    if (nll) {
      call(&nll_loss_backward, {view_of(gx, c.sizes)},
           {view_of(dg, loss_sizes), view_of(dt, rows), weight, view_of(total, Dims{})}, &attrs);
    } else {
      expect_near(lse, e.lse, sizeof(T) == 8 ? 1e-13 : 2e-6);
      call(&cross_entropy_backward, {view_of(gx, c.sizes)},
           {view_of(dg, loss_sizes), view_of(dx, c.sizes), view_of(dt, rows), weight, view_of(lse, rows),
            view_of(total, Dims{})},
           &attrs);
    }
    expect_near(gx, e.gx, tolerance);
  }
}

TEST(Loss, ReductionsWeightsSmoothing) {
  for (Reduction r : {Reduction::kMean, Reduction::kSum, Reduction::kNone})
    for (double smoothing : {0.0, 0.2})
      for (bool weighted : {false, true}) {
        check<float>({{13, 10}, r, smoothing, weighted}, 4e-6);
        check<double>({{3, 33}, r, smoothing, weighted}, 1e-13);
      }
}
TEST(Loss, AnyNumberOfClasses) {
  for (int64_t classes : {1, 2, 5, 31, 32, 1000, 1500})
    check<float>({{9, classes}, Reduction::kMean, 0.1, true}, 4e-6);
  check<float>({{700, 3}}, 4e-6);
  check<double>({{400, 1}}, 1e-13);
  check<double>({{7}}, 1e-13, false);
}
TEST(Loss, Planes) {
  check<float>({{2, 5, 3, 3}, Reduction::kMean, 0.1, true}, 4e-6);
  check<float>({{2, 19, 50}, Reduction::kNone, 0.1, true}, 4e-6);
  check<double>({{2, 1100, 2}, Reduction::kSum}, 1e-13);
}
TEST(Loss, Halves) {
  for (Reduction r : {Reduction::kMean, Reduction::kNone}) {
    check<float16>({{6, 40}, r, 0.1, true}, 2e-3);
    check<bfloat16>({{6, 40}, r, 0.1, true}, 1.6e-2);
  }
}
// Vectors, and elements before and behind them where rows begin anywhere.
TEST(Loss, ManyClassesInHalves) {
  for (int64_t classes : {1000, 1003, 2500})
    for (bool weighted : {false, true}) {
      check<bfloat16>({{5, classes}, Reduction::kMean, 0.1, weighted}, 1.6e-2);
      check<float16>({{5, classes}, Reduction::kNone, 0, weighted}, 2e-3);
      check<float>({{5, classes}, Reduction::kNone, 0.1, weighted}, 4e-6);
    }
  check<bfloat16>({{3, 1003, 3}, Reduction::kMean, 0.1, true}, 1.6e-2);
  check<bfloat16>({{2, 21, 70}, Reduction::kMean, 0.1, true}, 1.6e-2);
}
// More rows than one block sums.
TEST(Loss, ManyRows) {
  check<float>({{2500, 3}}, 4e-6);
  check<float16>({{2, 5, 700}, Reduction::kSum}, 2e-3);
}
TEST(Loss, AnyOrderOfThreads) {
  for_each_seed([] {
    check<float>({{9, 40}, Reduction::kMean, 0.1, true}, 4e-6);
    check<float>({{3, 1100}, Reduction::kMean, 0.1, true}, 4e-6);
    check<bfloat16>({{3, 1103}}, 1.6e-2);
  });
}
TEST(Loss, StridedInput) {
  const auto x = random_values<float>(5 * 4, 1.0);
  const std::vector<int64_t> target{0, 9, 2, 9, 4, 9, 1, 9};
  const DeviceArray<float> dx(x), loss(1), lse(4);
  const DeviceArray<int64_t> dt(target);
  const DeviceArray<double> total(1);
  const ClassLossAttrs attrs;
  call(&cross_entropy, {view_of(loss, Dims{}), view_of(lse, {4}), view_of(total, Dims{})},
       {OwnedView(dx.data(), DType::kFloat32, {4, 5}, {1, 4}), OwnedView(dt.data(), DType::kInt64, {4}, {2}),
        OwnedView(nullptr, DType::kUndefined, Dims{})},
       &attrs);
  std::vector<double> rows;
  for (size_t i = 0; i < 4; ++i)
    for (size_t j = 0; j < 5; ++j) rows.push_back(x[j * 4 + i]);
  expect_near(loss, {reference({{4, 5}}, false, rows, {0, 2, 4, 1}, {}, {1}).loss}, 2e-6);
}

// Loss and lse of one batch of logits [N, C] under the mean.
std::vector<double> special(const std::vector<float>& x, const std::vector<int64_t>& target) {
  const auto n = static_cast<int64_t>(target.size());
  const DeviceArray<float> dx(x), loss(1), lse(target.size());
  const DeviceArray<int64_t> dt(target);
  const DeviceArray<double> total(1);
  const ClassLossAttrs attrs;
  call(&cross_entropy, {view_of(loss, Dims{}), view_of(lse, {n}), view_of(total, Dims{})},
       {view_of(dx, {n, 3}), view_of(dt, {n}), OwnedView(nullptr, DType::kUndefined, Dims{})}, &attrs);
  std::vector<double> r = to_double(lse.host());
  r.push_back(loss.host()[0]);
  return r;
}
TEST(Loss, SpecialValues) {
  const float inf = INFINITY;
  EXPECT_TRUE(std::isnan(special({0, NAN, 1}, {0})[1]));
  EXPECT_EQ(special({-inf, -inf, 5}, {2}), (std::vector<double>{5, 0}));
  EXPECT_EQ(special({-inf, 0, -inf}, {0})[1], inf);
  EXPECT_NEAR(special({1e30f, 1e30f, 0}, {2})[0], 1e30, 1e24);
  EXPECT_EQ(special({-inf, -inf, -inf}, {2})[0], -inf);
  EXPECT_TRUE(std::isnan(special({1, 2, 3}, {-100})[1]));  // nothing to average
  EXPECT_TRUE(std::isnan(special({}, {})[0]));
}
TEST(Loss, BadTargetsStopTheKernel) {
  EXPECT_NE(failure_of([] { special({1, 2, 3}, {3}); }).find("__trap"), std::string::npos);
  EXPECT_NE(failure_of([] { special({1, 2, 3}, {-1}); }).find("__trap"), std::string::npos);
}

}  // namespace
}  // namespace fireseed::cuda

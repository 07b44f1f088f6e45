// Optimizer steps against the published formulas in float64, and gradient clipping over lists of tensors.
#include <functional>

#include "emu_test.h"
#include "tensor/attrs/optim.h"

namespace fireseed::cuda {
#define FS_STEPS(f)                                                                                                  \
  f(sgd_step) f(adam_step) f(rmsprop_step) f(adagrad_step) f(adadelta_step) f(lion_step) f(nadam_step) f(radam_step) \
      f(adamax_step) f(asgd_step) f(rprop_step) f(ftrl_step) f(foreach_norm) f(foreach_scale) f(foreach_clamp)
#define FS_DECLARE(name) void name(const KernelArgs&);
FS_STEPS(FS_DECLARE)

namespace {

using namespace cuda_emu;

// One element's step: p, g (weight decay and sign not yet in it), states, the step's number t.
using Step = std::function<void(double& p, double g, double* s, double t)>;

struct Rule {
  Kernel kernel;
  std::vector<double> hyper;
  int64_t flags;
  bool has_step;
  std::vector<double> numbers;  // 0-dim states before the first step
  int states;
  double fill;  // of state number `filled`, from 1; the others begin with 0
  Step step;
  int filled = 0;
};

double sign(double x) { return x > 0 ? 1 : x < 0 ? -1 : 0; }

constexpr double kLr = 0.1, kB1 = 0.9, kB2 = 0.99, kEps = 1e-8, kDecay = 0.05;

Rule adam(int64_t flags) {
  const bool amsgrad = flags & kAmsgrad, decoupled = flags & kDecoupled, maximize = flags & kMaximize;
  return {&adam_step,
          {kLr, kB1, kB2, kEps, kDecay},
          flags,
          true,
          {},
          amsgrad ? 3 : 2,
          0,
          [=](double& p, double g, double* s, double t) {
            if (maximize) g = -g;
            if (decoupled) p *= 1 - kLr * kDecay;
            else g += kDecay * p;
            s[0] = kB1 * s[0] + (1 - kB1) * g;
            s[1] = kB2 * s[1] + (1 - kB2) * g * g;
            if (amsgrad) s[2] = std::max(s[2], s[1]);
            const double m = s[0] / (1 - std::pow(kB1, t)), v = s[amsgrad ? 2 : 1] / (1 - std::pow(kB2, t));
            p -= kLr * m / (std::sqrt(v) + kEps);
          }};
}
Rule sgd(double momentum, int64_t flags) {
  constexpr double kDampening = 0.3;
  const bool nesterov = flags & kNesterov, maximize = flags & kMaximize;
  return {&sgd_step,
          {kLr, momentum, nesterov ? 0 : kDampening, kDecay},
          flags | (momentum != 0 ? kMomentum : 0),
          false,
          {},
          momentum != 0 ? 1 : 0,
          0,
          [=](double& p, double g, double* s, double t) {
            if (maximize) g = -g;
            g += kDecay * p;
            if (momentum != 0) {
              s[0] = t == 1 ? g : momentum * s[0] + (1 - (nesterov ? 0 : kDampening)) * g;
              g = nesterov ? g + momentum * s[0] : s[0];
            }
            p -= kLr * g;
          }};
}
Rule rmsprop(bool centered, double momentum) {
  return {&rmsprop_step,
          {kLr, kB2, 1e-3, momentum, kDecay},
          (centered ? kCentered : 0) | (momentum != 0 ? kMomentum : 0),
          true,
          {},
          1 + centered + (momentum != 0),
          0,
          [=](double& p, double g, double* s, double) {
            g += kDecay * p;
            s[0] = kB2 * s[0] + (1 - kB2) * g * g;
            double v = s[0];
            if (centered) {
              s[1] = kB2 * s[1] + (1 - kB2) * g;
              v -= s[1] * s[1];
            }
            const double update = g / (std::sqrt(v) + 1e-3);
            double& buffer = s[1 + centered];
            if (momentum != 0) buffer = momentum * buffer + update;
            p -= kLr * (momentum != 0 ? buffer : update);
          }};
}
Rule nadam() {
  return {&nadam_step,
          {kLr, kB1, kB2, kEps, kDecay, 0.004},
          0,
          true,
          {1.0},
          2,
          0,
          [](double& p, double g, double* s, double t) {
            const auto mu = [](double k) { return kB1 * (1 - 0.5 * std::pow(0.96, k * 0.004)); };
            double product = 1;
            for (double k = 1; k <= t; ++k) product *= mu(k);
            g += kDecay * p;
            s[0] = kB1 * s[0] + (1 - kB1) * g;
            s[1] = kB2 * s[1] + (1 - kB2) * g * g;
            const double m = mu(t + 1) * s[0] / (1 - product * mu(t + 1)) + (1 - mu(t)) * g / (1 - product);
            p -= kLr * m / (std::sqrt(s[1] / (1 - std::pow(kB2, t))) + kEps);
          }};
}
Rule radam() {
  return {&radam_step,
          {kLr, kB1, kB2, kEps, kDecay},
          kDecoupled,
          true,
          {},
          2,
          0,
          [](double& p, double g, double* s, double t) {
            p *= 1 - kLr * kDecay;
            s[0] = kB1 * s[0] + (1 - kB1) * g;
            s[1] = kB2 * s[1] + (1 - kB2) * g * g;
            const double m = s[0] / (1 - std::pow(kB1, t)), power = std::pow(kB2, t);
            const double limit = 2 / (1 - kB2) - 1, rho = limit - 2 * t * power / (1 - power);
            if (rho <= 5) p -= kLr * m;
            else
              p -= kLr * m * std::sqrt((rho - 4) * (rho - 2) * limit / ((limit - 4) * (limit - 2) * rho)) *
                   std::sqrt(1 - power) / (std::sqrt(s[1]) + kEps);
          }};
}
Rule asgd() {
  return {&asgd_step,
          {kLr, 1e-2, 0.75, 2, kDecay},
          0,
          true,
          {kLr, 1.0},
          1,
          0,
          [](double& p, double g, double* s, double t) {
            g += kDecay * p;
            const double eta = t == 1 ? kLr : kLr / std::pow(1 + 1e-2 * kLr * (t - 1), 0.75);
            const double mu = t == 1 ? 1 : 1 / std::max(1.0, (t - 1) - 2);
            p = p * (1 - 1e-2 * eta) - eta * g;
            s[0] += (p - s[0]) * mu;
          }};
}
Rule rprop() {
  return {&rprop_step,
          {0.5, 1.2, 1e-6, 50},
          0,
          true,
          {},
          2,
          kLr,
          [](double& p, double g, double* s, double) {
            const double agreement = g * s[0];
            s[1] = std::min(50.0, std::max(1e-6, s[1] * (agreement > 0 ? 1.2 : agreement < 0 ? 0.5 : 1)));
            if (agreement < 0) g = 0;
            p -= sign(g) * s[1];
            s[0] = g;
          },
          2};
}
Rule ftrl(double power) {
  return {&ftrl_step,
          {kLr, power, 0.01, 0.02, 0.03, 0.5, 0},
          0,
          false,
          {},
          2,
          0.1,
          [=](double& p, double g, double* s, double) {
            const double l2 = 0.02 + 0.5 / (2 * kLr), before = std::pow(s[0], -power);
            s[0] += g * g;
            const double after = std::pow(s[0], -power);
            s[1] += g + 2 * 0.03 * p - (after - before) / kLr * p;
            p = std::fabs(s[1]) <= 0.01 ? 0 : (sign(s[1]) * 0.01 - s[1]) / (after / kLr + 2 * l2);
          },
          1};
}
Rule simple(int which) {
  if (which == 0)
    return {&adagrad_step, {kLr, 0.2, 1e-3, kDecay}, 0, true, {}, 1, 0, [](double& p, double g, double* s, double t) {
              g += kDecay * p;
              s[0] += g * g;
              p -= kLr / (1 + (t - 1) * 0.2) * g / (std::sqrt(s[0]) + 1e-3);
            }};
  if (which == 1)
    return {&adadelta_step, {kLr, 0.9, 1e-3, kDecay}, 0, true, {}, 2, 0, [](double& p, double g, double* s, double) {
              g += kDecay * p;
              s[0] = 0.9 * s[0] + 0.1 * g * g;
              const double delta = std::sqrt(s[1] + 1e-3) / std::sqrt(s[0] + 1e-3) * g;
              s[1] = 0.9 * s[1] + 0.1 * delta * delta;
              p -= kLr * delta;
            }};
  if (which == 2)
    return {&lion_step, {kLr, kB1, kB2, kDecay}, 0, false, {}, 1, 0, [](double& p, double g, double* s, double) {
              p = p * (1 - kLr * kDecay) - kLr * sign(kB1 * s[0] + (1 - kB1) * g);
              s[0] = kB2 * s[0] + (1 - kB2) * g;
            }};
  return {
      &adamax_step, {kLr, kB1, kB2, kEps, kDecay}, 0, true, {}, 2, 0, [](double& p, double g, double* s, double t) {
        g += kDecay * p;
        s[0] = kB1 * s[0] + (1 - kB1) * g;
        s[1] = std::max(kB2 * s[1], std::fabs(g) + kEps);
        p -= kLr / (1 - std::pow(kB1, t)) * s[0] / s[1];
      }};
}

// One group member: device arrays and float64 shadows. Every third one has its memory off 16 bytes.
template <class T>
struct Member {
  Dims sizes;
  size_t n, shift;
  std::vector<std::vector<double>> shadow;  // p, states
  std::vector<std::unique_ptr<DeviceArray<T>>> arrays;
  std::unique_ptr<DeviceArray<float>> step;
  std::vector<std::unique_ptr<DeviceArray<double>>> numbers;

  Member(const Rule& r, Dims s, int index)
      : sizes(s), n(static_cast<size_t>(numel_of(s))), shift(index % 3 == 2 ? 1 : 0) {
    for (int k = 0; k < 1 + r.states; ++k) {
      std::vector<T> v =
          k == 0 ? random_values<T>(static_cast<int64_t>(n + shift), 1.0, 7u + static_cast<unsigned>(index))
                 : std::vector<T>(n + shift, T(static_cast<float>(k == r.filled ? r.fill : 0)));
      auto d = to_double(v);
      shadow.push_back(std::vector<double>(d.begin() + static_cast<int64_t>(shift), d.end()));
      arrays.push_back(std::make_unique<DeviceArray<T>>(v));
    }
    step = std::make_unique<DeviceArray<float>>(std::vector<float>{0});
    for (double x : r.numbers) numbers.push_back(std::make_unique<DeviceArray<double>>(std::vector<double>{x}));
  }
  OwnedView view(size_t k) const { return OwnedView(arrays[k]->data() + shift, dtype_of<T>::value, sizes); }
};

// Three steps of a group of tensors of the given sizes, against the shadows.
template <class T>
void check(const Rule& r, const std::vector<Dims>& sizes, double tolerance) {
  std::vector<Member<T>> members;
  for (size_t i = 0; i < sizes.size(); ++i) members.emplace_back(r, sizes[i], static_cast<int>(i));
  std::vector<double> hyper = r.hyper;
  OptimAttrs attrs{static_cast<int64_t>(members.size()), r.flags};
  for (int t = 1; t <= 3; ++t) {
    SCOPED_TRACE("step " + std::to_string(t));
    attrs.flags = r.flags | (r.kernel == &sgd_step && t == 1 ? kFirstStep : 0);
    std::vector<OwnedView> in{OwnedView(hyper.data(), DType::kFloat64, {static_cast<int64_t>(hyper.size())})};
    std::vector<std::unique_ptr<DeviceArray<T>>> grads;
    std::vector<std::vector<double>> g;
    for (Member<T>& m : members) in.push_back(m.view(0));
    for (Member<T>& m : members) {
      auto v = random_values<T>(static_cast<int64_t>(m.n), 1.0,
                                100u * static_cast<unsigned>(t) + static_cast<unsigned>(m.n));
      g.push_back(to_double(v));
      grads.push_back(std::make_unique<DeviceArray<T>>(v));
      in.push_back(OwnedView(grads.back()->data(), dtype_of<T>::value, m.sizes));
    }
    if (r.has_step)
      for (Member<T>& m : members) in.push_back(OwnedView(m.step->data(), DType::kFloat32, {}));
    for (size_t k = 0; k < r.numbers.size(); ++k)
      for (Member<T>& m : members) in.push_back(OwnedView(m.numbers[k]->data(), DType::kFloat64, {}));
    for (size_t k = 1; k < 1 + static_cast<size_t>(r.states); ++k)
      for (Member<T>& m : members) in.push_back(m.view(k));
    std::vector<TensorView> views;
    for (const OwnedView& v : in) views.push_back(v.view);
    r.kernel(KernelArgs{views.data(), nullptr, static_cast<int32_t>(views.size()), 0, &attrs});

    for (size_t i = 0; i < members.size(); ++i) {
      Member<T>& m = members[i];
      for (size_t e = 0; e < m.n; ++e) {
        double s[4] = {};
        for (size_t k = 1; k < m.shadow.size(); ++k) s[k - 1] = m.shadow[k][e];
        r.step(m.shadow[0][e], g[i][e], s, t);
        for (size_t k = 1; k < m.shadow.size(); ++k) m.shadow[k][e] = s[k - 1];
      }
      if (r.has_step) { EXPECT_EQ(m.step->host()[0], static_cast<float>(t)); }
      for (size_t k = 0; k < m.shadow.size(); ++k) {
        SCOPED_TRACE("tensor " + std::to_string(i) + ", part " + std::to_string(k));
        const auto all = to_double(m.arrays[k]->host());
        int reported = 0;
        for (size_t e = 0; e < m.n && reported < 3; ++e) {
          const double x = all[e + m.shift], want = m.shadow[k][e];
          if (std::fabs(x - want) <= tolerance * std::max(1.0, std::fabs(want))) continue;
          ADD_FAILURE() << "element " << e << ": got " << x << ", expected " << want;
          ++reported;
        }
      }
    }
  }
}

const std::vector<Dims> kSizes = {{3}, {17, 5}, {33}, {}, {0, 4}, {129}, {8193}};

std::vector<Rule> all_rules() {
  return {sgd(0, 0),
          sgd(0.9, 0),
          sgd(0.9, kNesterov),
          sgd(0.9, kMaximize),
          adam(0),
          adam(kAmsgrad),
          adam(kDecoupled),
          adam(kDecoupled | kMaximize | kAmsgrad),
          rmsprop(false, 0),
          rmsprop(true, 0),
          rmsprop(false, 0.9),
          rmsprop(true, 0.9),
          simple(0),
          simple(1),
          simple(2),
          simple(3),
          nadam(),
          radam(),
          asgd(),
          rprop(),
          ftrl(-0.5),
          ftrl(-0.7)};
}

TEST(Optim, EveryRuleInDouble) {
  int i = 0;
  for (const Rule& r : all_rules()) {
    SCOPED_TRACE("rule " + std::to_string(i++));
    check<double>(r, kSizes, 1e-11);
  }
}
TEST(Optim, EveryRuleInFloat) {
  int i = 0;
  for (const Rule& r : all_rules()) {
    SCOPED_TRACE("rule " + std::to_string(i++));
    if (r.kernel == &lion_step || r.kernel == &rprop_step) continue;  // a sign of a rounded zero is either
    check<float>(r, {{33}, {257}}, 3e-4);
  }
}
TEST(Optim, Halves) {
  check<bfloat16>(sgd(0, 0), {{33}, {16}}, 3e-2);
  check<float16>(adam(kDecoupled), {{40}, {16}}, 1e-2);
}
TEST(Optim, ManyTensors) {  // more than one table holds
  std::vector<Dims> sizes;
  for (int64_t i = 0; i < 200; ++i) sizes.push_back({1 + i % 7});
  for_each_seed([&] { check<float>(adam(0), sizes, 1e-4); });
}

TEST(Optim, StridedTensors) {
  // p is transposed, g is not, the states lie as p.
  const auto p0 = random_values<double>(12, 1.0), g0 = random_values<double>(12, 1.0, 2);
  const DeviceArray<double> p(p0), g(g0), m(std::vector<double>(12, 0.0)), v(std::vector<double>(12, 0.0));
  const DeviceArray<double> step(std::vector<double>{4});
  std::vector<double> hyper = {kLr, kB1, kB2, kEps, 0};
  const OptimAttrs attrs{1, 0};
  const auto transposed = [](const DeviceArray<double>& a) {
    return OwnedView(a.data(), DType::kFloat64, {4, 3}, {1, 4});
  };
  call(&adam_step, {},
       {OwnedView(hyper.data(), DType::kFloat64, {5}), transposed(p), view_of(g, {4, 3}),
        OwnedView(step.data(), DType::kFloat64, {}), transposed(m), transposed(v)},
       &attrs);
  EXPECT_EQ(step.host()[0], 5);
  const auto got = p.host(), mean = m.host();
  for (size_t i = 0; i < 4; ++i)
    for (size_t j = 0; j < 3; ++j) {
      const double gi = g0[i * 3 + j], mi = (1 - kB1) * gi, vi = (1 - kB2) * gi * gi;
      const double want =
          p0[j * 4 + i] - kLr * (mi / (1 - std::pow(kB1, 5))) / (std::sqrt(vi / (1 - std::pow(kB2, 5))) + kEps);
      EXPECT_NEAR(got[j * 4 + i], want, 1e-12);
      EXPECT_NEAR(mean[j * 4 + i], mi, 1e-15);
    }
}

// ---- lists -------------------------------------------------------------------------------------------------

TEST(Foreach, Norm) {
  const auto a = random_values<float>(9001, 1.0), c = random_values<float>(15, 2.0, 3);
  const auto b = random_values<double>(77, 1.0, 2);
  std::vector<float> zeros(5, 0.0f);
  const DeviceArray<float> da(a), dc(c), dz(zeros), empty(0);
  const DeviceArray<double> db(b);
  std::vector<double> all = to_double(a);
  all.insert(all.end(), b.begin(), b.end());
  for (size_t i = 0; i < 15; i += 3) all.push_back(c[i]);
  all.insert(all.end(), 5, 0.0);
  for (double order : {2.0, 1.0, 3.0, 0.5, static_cast<double>(INFINITY), static_cast<double>(-INFINITY), 0.0}) {
    SCOPED_TRACE(order);
    double want = order < 0 ? INFINITY : 0;
    for (double x : all) {
      if (std::isinf(order)) want = order > 0 ? std::max(want, std::fabs(x)) : std::min(want, std::fabs(x));
      else want += std::pow(std::fabs(x), order);
    }
    if (order == 0) want = 3;  // tensors that are not zero
    else if (!std::isinf(order)) want = std::pow(want, 1 / order);
    const ForeachNormAttrs attrs{order};
    for_each_seed([&] {
      const DeviceArray<double> out(1);
      call(&foreach_norm, {view_of(out, {})},
           {view_of(da, {9001}), view_of(db, {7, 11}), view_of(empty, {0}),
            OwnedView(dc.data(), DType::kFloat32, {5}, {3}), view_of(dz, {5})},
           &attrs);
      expect_near(out, {want}, 1e-6);
    });
  }
  const DeviceArray<bfloat16> half(std::vector<bfloat16>(300, bfloat16(2.0f))), out(1);
  const ForeachNormAttrs attrs{2};
  call(&foreach_norm, {view_of(out, {})}, {view_of(half, {300})}, &attrs);
  expect_near(out, {std::sqrt(1200.0)}, 4e-3);
}
TEST(Foreach, NormOfNaN) {
  const DeviceArray<float> x(std::vector<float>{1, NAN, 2}), out(1);
  for (double order : {2.0, static_cast<double>(INFINITY), static_cast<double>(-INFINITY)}) {
    const ForeachNormAttrs attrs{order};
    call(&foreach_norm, {view_of(out, {})}, {view_of(x, {3})}, &attrs);
    EXPECT_TRUE(std::isnan(out.host()[0])) << order;
  }
}
TEST(Foreach, ScaleAndClamp) {
  const auto a = random_values<float>(8200, 1.0);
  const auto h = random_values<float16>(31, 1.0);
  const DeviceArray<float> da(a), factor(std::vector<float>{0.25f}), strided(std::vector<float>{1, 9, -3, 9, 5, 9});
  const DeviceArray<float16> dh(h);
  const auto every_second = [&] { return OwnedView(strided.data(), DType::kFloat32, {3}, {2}); };
  call(&foreach_scale, {}, {view_of(factor, {}), view_of(da, {8200}), view_of(dh, {31}), every_second()});
  auto want = to_double(a), want_half = to_double(h);
  for (double& x : want) x *= 0.25;
  for (double& x : want_half) x *= 0.25;
  expect_near(da, want, 0);
  expect_near(dh, want_half, 0);
  EXPECT_EQ(strided.host(), (std::vector<float>{0.25f, 9, -0.75f, 9, 1.25f, 9}));
  const ForeachClampAttrs limits{-0.1, 0.2};
  call(&foreach_clamp, {}, {view_of(da, {8200}), every_second()}, &limits);
  for (double& x : want) x = std::min<double>(0.2f, std::max<double>(-0.1f, x));
  expect_near(da, want, 0);
  EXPECT_EQ(strided.host(), (std::vector<float>{0.2f, 9, -0.1f, 9, 0.2f, 9}));
}

}  // namespace
}  // namespace fireseed::cuda

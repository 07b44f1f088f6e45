// ctc_loss and its gradient against the sum over all paths: repeated labels, empty ones, lengths, impossible labels.
#include "emu_test.h"
#include "tensor/attrs/loss.h"

namespace fireseed::cuda {
void ctc_loss(const KernelArgs&);
void ctc_loss_backward(const KernelArgs&);

namespace {

using namespace cuda_emu;
using Values = std::vector<double>;
using Labels = std::vector<int64_t>;

// Loss of one sample, lp[t * step + c], and d = exp(lp) - posterior in place of it where `gradient` is set.
double by_paths(const Values& lp, size_t offset, size_t step, int64_t steps, int64_t classes, const Labels& labels,
                int64_t blank, Values* gradient) {
  int64_t paths = 1;
  for (int64_t t = 0; t < steps; ++t) paths *= classes;
  double total = 0;
  Values at(static_cast<size_t>(steps * classes));  // probability of paths that are in a class at a time
  for (int64_t p = 0; p < paths; ++p) {
    Labels path, collapsed;
    double log_p = 0;
    for (int64_t t = 0, rest = p; t < steps; ++t, rest /= classes) {
      path.push_back(rest % classes);
      log_p += lp[offset + static_cast<size_t>(t) * step + static_cast<size_t>(path.back())];
      if ((t == 0 || path[static_cast<size_t>(t)] != path[static_cast<size_t>(t - 1)]) && path.back() != blank)
        collapsed.push_back(path.back());
    }
    if (collapsed != labels) continue;
    total += std::exp(log_p);
    for (int64_t t = 0; t < steps; ++t)
      at[static_cast<size_t>(t * classes + path[static_cast<size_t>(t)])] += std::exp(log_p);
  }
  if (gradient)
    for (size_t k = 0; k < at.size(); ++k) {
      const size_t to = offset + k / static_cast<size_t>(classes) * step + k % static_cast<size_t>(classes);
      (*gradient)[to] = std::exp(lp[to]) - at[k] / total;
    }
  return -std::log(total);
}

template <class T>
void check(int64_t time, int64_t classes, int64_t blank, const std::vector<Labels>& labels, const Labels& steps,
           double tolerance) {
  const auto batch = static_cast<int64_t>(labels.size());
  auto x = random_values<T>(time * batch * classes, 1.0, static_cast<unsigned>(time));
  for (int64_t r = 0; r < time * batch; ++r) {  // log_softmax
    double sum = 0;
    for (int64_t c = 0; c < classes; ++c) sum += std::exp(to_double(x[static_cast<size_t>(r * classes + c)]));
    for (int64_t c = 0; c < classes; ++c) {
      T& v = x[static_cast<size_t>(r * classes + c)];
      v = static_cast<T>(to_double(v) - std::log(sum));
    }
  }
  const Values lp = to_double(x);
  size_t longest = 0;
  for (const Labels& l : labels) longest = std::max(longest, l.size());
  Labels padded, lengths;
  for (const Labels& l : labels) {
    lengths.push_back(static_cast<int64_t>(l.size()));
    for (size_t k = 0; k < longest; ++k) padded.push_back(k < l.size() ? l[k] : 0);
  }
  std::vector<T> g;
  Values loss, gx(lp.size());
  for (int64_t n = 0; n < batch; ++n) {
    g.push_back(T(0.5f + static_cast<float>(n)));
    loss.push_back(by_paths(lp, static_cast<size_t>(n * classes), static_cast<size_t>(batch * classes),
                            steps[static_cast<size_t>(n)], classes, labels[static_cast<size_t>(n)], blank, &gx));
  }
  for (size_t k = 0; k < gx.size(); ++k) gx[k] *= to_double(g[k / static_cast<size_t>(classes) % labels.size()]);
  const DeviceArray<T> in(x), dg(g), out(labels.size()), dgx(x.size());
  const DeviceArray<int64_t> dl(padded), ds(steps), dn(lengths);
  const auto s = static_cast<int64_t>(longest);
  const CtcAttrs attrs{blank};
  const Dims shape{time, batch, classes};
  call(&ctc_loss, {view_of(out, {batch})},
       {view_of(in, shape), view_of(dl, {batch, s}), view_of(ds, {batch}), view_of(dn, {batch})}, &attrs);
  expect_near(out, loss, tolerance);
  call(
      &ctc_loss_backward, {view_of(dgx, shape)},
      {view_of(dg, {batch}), view_of(in, shape), view_of(dl, {batch, s}), view_of(ds, {batch}), view_of(dn, {batch})},
      &attrs);
  expect_near(dgx, gx, tolerance);
}

TEST(Ctc, AgainstAllPaths) {
  check<double>(5, 3, 0, {{1}, {1, 2}, {2, 2}, {}}, {5, 5, 5, 5}, 1e-12);
  check<float>(6, 3, 0, {{1, 2, 1}, {2}}, {6, 3}, 1e-5);
  check<double>(5, 4, 3, {{0, 1, 0}, {2, 0}}, {4, 5}, 1e-12);  // the last class is the blank
  check<double>(1, 3, 0, {{2}}, {1}, 1e-12);
  check<double>(2, 3, 0, {{2, 1}}, {2}, 1e-12);
}
TEST(Ctc, Seeds) {
  for_each_seed([] { check<double>(6, 3, 0, {{1, 2, 1}, {1, 1}, {2}}, {6, 5, 6}, 1e-12); });
}
TEST(Ctc, Impossible) {  // two labels in one step, and no steps at all
  const DeviceArray<float> lp(std::vector<float>(2 * 3 * 2, std::log(0.5f))), out(3), g(std::vector<float>{0, 0, 1}),
      gx(12);
  const DeviceArray<int64_t> labels(Labels{1, 1, 1, 1, 1, 1}), steps(Labels{1, 0, 0}), lengths(Labels{2, 1, 0});
  const CtcAttrs attrs{0};
  const Dims shape{2, 3, 2};
  call(&ctc_loss, {view_of(out, {3})},
       {view_of(lp, shape), view_of(labels, {3, 2}), view_of(steps, {3}), view_of(lengths, {3})}, &attrs);
  expect_near(out, {INFINITY, INFINITY, 0}, 0);
  call(&ctc_loss_backward, {view_of(gx, shape)},
       {view_of(g, {3}), view_of(lp, shape), view_of(labels, {3, 2}), view_of(steps, {3}), view_of(lengths, {3})},
       &attrs);
  expect_near(gx, Values(12, 0.0), 0);
}
TEST(Ctc, LongLabels) {  // more states than threads: one class, so each path of the labels is the only one
  const int64_t time = 200, length = 100;
  const DeviceArray<double> lp(Values(static_cast<size_t>(time * 2), std::log(0.5))), out(1);
  const DeviceArray<int64_t> labels(Labels(static_cast<size_t>(length), 1)), steps(Labels{time}),
      lengths(Labels{length});
  const CtcAttrs attrs{0};
  call(&ctc_loss, {view_of(out, {1})},
       {view_of(lp, {time, 1, 2}), view_of(labels, {1, length}), view_of(steps, {1}), view_of(lengths, {1})}, &attrs);
  // Paths of `length` runs of ones with blanks between them: choose(time + 1, 2 length) of 2^time.
  const double n = time + 1, k = 2 * length;
  const double log_paths = std::lgamma(n + 1) - std::lgamma(k + 1) - std::lgamma(n - k + 1);
  expect_near(out, {static_cast<double>(time) * std::log(2.0) - log_paths}, 1e-11);
}

}  // namespace
}  // namespace fireseed::cuda

// One recurrent layer in one direction, and its gradients by differences of a float64 reference: every mode, both
// directions, packed sequences, absent states and biases, layouts.
#include "emu_test.h"
#include "tensor/attrs/rnn.h"

namespace fireseed::cuda {
void rnn(const KernelArgs&);
void rnn_backward(const KernelArgs&);

namespace {

using namespace cuda_emu;
using Values = std::vector<double>;

struct Case {
  RnnMode mode = RnnMode::kTanh;
  int64_t steps = 3, batch = 2, input = 3, hidden = 5;
  bool reverse = false, states = true, biases = true;
  std::vector<int64_t> sizes{};  // packed where not empty
  bool batch_first = false;      // x and y's cotangent lie (batch, steps, …) in memory
  int64_t gates() const { return rnn_gates(mode); }
  int64_t slots() const { return rnn_slots(mode); }
  bool lstm() const { return mode == RnnMode::kLstm; }
  int64_t count(int64_t t) const { return sizes.empty() ? batch : sizes[static_cast<size_t>(t)]; }
  int64_t rows() const {
    int64_t n = 0;
    for (int64_t t = 0; t < steps; ++t) n += count(t);
    return n;
  }
};

// x, h0, c0, w_ih, w_hh, b_ih, b_hh.
constexpr int kOperands = 7;
struct Operands { Values v[kOperands]; };

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

// y, h and c, one after the other. x's rows in packed order.
Values reference(const Case& c, const Operands& in) {
  const int64_t hidden = c.hidden;
  Values y(static_cast<size_t>(c.rows() * hidden)), h = in.v[1], cell = in.v[2];
  std::vector<int64_t> offset{0};
  for (int64_t t = 0; t < c.steps; ++t) offset.push_back(offset.back() + c.count(t));
  for (int64_t s = 0; s < c.steps; ++s) {
    const int64_t t = c.reverse ? c.steps - 1 - s : s;
    for (int64_t r = 0; r < c.count(t); ++r) {
      const int64_t row = offset[static_cast<size_t>(t)] + r;
      Values gi, gh;
      for (int64_t g = 0; g < c.gates() * hidden; ++g) {
        double a = in.v[5][static_cast<size_t>(g)], b = in.v[6][static_cast<size_t>(g)];
        for (int64_t i = 0; i < c.input; ++i)
          a += in.v[0][static_cast<size_t>(row * c.input + i)] * in.v[3][static_cast<size_t>(g * c.input + i)];
        for (int64_t i = 0; i < hidden; ++i)
          b += h[static_cast<size_t>(r * hidden + i)] * in.v[4][static_cast<size_t>(g * hidden + i)];
        gi.push_back(a);
        gh.push_back(b);
      }
      for (int64_t j = 0; j < hidden; ++j) {
        const auto sum = [&](int64_t g) {
          return gi[static_cast<size_t>(g * hidden + j)] + gh[static_cast<size_t>(g * hidden + j)];
        };
        double& state = h[static_cast<size_t>(r * hidden + j)];
        switch (c.mode) {
          case RnnMode::kTanh: state = std::tanh(sum(0)); break;
          case RnnMode::kRelu: state = std::max(0.0, sum(0)); break;
          case RnnMode::kLstm: {
            double& k = cell[static_cast<size_t>(r * hidden + j)];
            k = sigmoid(sum(1)) * k + sigmoid(sum(0)) * std::tanh(sum(2));
            state = sigmoid(sum(3)) * std::tanh(k);
            break;
          }
          case RnnMode::kGru: {
            const size_t n = static_cast<size_t>(2 * hidden + j);
            const double u = std::tanh(gi[n] + sigmoid(sum(0)) * gh[n]), z = sigmoid(sum(1));
            state = (1 - z) * u + z * state;
            break;
          }
        }
        y[static_cast<size_t>(row * hidden + j)] = state;
      }
    }
  }
  y.insert(y.end(), h.begin(), h.end());
  if (c.lstm()) y.insert(y.end(), cell.begin(), cell.end());
  return y;
}

template <class T>
void check(const Case& c, double tolerance) {
  SCOPED_TRACE("mode " + std::to_string(static_cast<int>(c.mode)) + (c.reverse ? " reverse" : "") +
               (c.sizes.empty() ? "" : " packed") + (c.states ? "" : " no states") + (c.biases ? "" : " no biases"));
  const int64_t hidden = c.hidden, joint = c.gates() * hidden, rows = c.rows(), state = c.batch * hidden;
  const int64_t counts[kOperands] = {rows * c.input, state, state, joint * c.input, joint * hidden, joint, joint};
  std::vector<T> values[kOperands];
  Operands in;
  for (int i = 0; i < kOperands; ++i) {
    values[i] = random_values<T>(counts[i], 0.6, static_cast<unsigned>(i + 1));
    const bool absent = (!c.states && (i == 1 || i == 2)) || (!c.biases && i > 4);
    if (absent) values[i].assign(values[i].size(), T(0));
    in.v[i] = to_double(values[i]);
  }
  const bool packed = !c.sizes.empty();
  // A (rows, n) operand of the sequence as the kernel sees it: (N, n), or (T, B, n), perhaps (B, T, n) in memory.
  const auto ordered = [&](const std::vector<T>& v, int64_t n) {
    if (!c.batch_first) return v;
    std::vector<T> r(v.size());
    for (int64_t t = 0; t < c.steps; ++t)
      for (int64_t b = 0; b < c.batch; ++b)
        for (int64_t i = 0; i < n; ++i)
          r[static_cast<size_t>((b * c.steps + t) * n + i)] = v[static_cast<size_t>((t * c.batch + b) * n + i)];
    return r;
  };
  const auto sequence = [&](const DeviceArray<T>& a, int64_t n) {
    constexpr DType t = dtype_of<T>::value;
    if (packed) return OwnedView(a.data(), t, {rows, n});
    if (c.batch_first) return OwnedView(a.data(), t, {c.steps, c.batch, n}, {n, c.steps * n, 1});
    return OwnedView(a.data(), t, {c.steps, c.batch, n});
  };
  const auto none = [] { return OwnedView(nullptr, DType::kUndefined, Dims{}); };
  const auto matrix = [&](const DeviceArray<T>& a, int64_t m, int64_t n, bool there = true) {
    return there ? view_of(a, {m, n}) : none();
  };
  const auto vector = [&](const DeviceArray<T>& a, bool there) { return there ? view_of(a, {joint}) : none(); };
  std::vector<int64_t> sizes = c.sizes;
  const auto batch_sizes = [&] {
    return packed ? OwnedView(sizes.data(), DType::kInt64, {static_cast<int64_t>(sizes.size())}) : none();
  };

  const DeviceArray<T> x(ordered(values[0], c.input)), h0(values[1]), c0(values[2]), w_ih(values[3]), w_hh(values[4]),
      b_ih(values[5]), b_hh(values[6]);
  const DeviceArray<T> y(static_cast<size_t>(rows * hidden)), h(values[1].size()), cell(values[1].size()),
      gates(static_cast<size_t>(rows * c.slots() * hidden)), cells(static_cast<size_t>(rows * hidden));
  const OwnedView y_view = packed ? view_of(y, {rows, hidden}) : view_of(y, {c.steps, c.batch, hidden});
  RnnAttrs attrs{.mode = c.mode, .reverse = c.reverse};
  const Values expected = reference(c, in);
  const Values ey(expected.begin(), expected.begin() + rows * hidden),
      eh(expected.begin() + rows * hidden, expected.begin() + rows * hidden + state);
  for (bool keep : {false, true}) {
    attrs.keep = keep;
    y.fill_nan();
    call(&rnn,
         {y_view, matrix(h, c.batch, hidden), matrix(cell, c.batch, hidden, c.lstm()),
          matrix(gates, rows, c.slots() * hidden, keep && c.slots() > 1),
          matrix(cells, rows, hidden, keep && c.lstm())},
         {sequence(x, c.input), matrix(h0, c.batch, hidden, c.states),
          matrix(c0, c.batch, hidden, c.states && c.lstm()), matrix(w_ih, joint, c.input),
          matrix(w_hh, joint, hidden), vector(b_ih, c.biases), vector(b_hh, c.biases), batch_sizes()},
         &attrs);
    expect_near(y, ey, tolerance);
    expect_near(h, eh, tolerance);
    if (c.lstm()) expect_near(cell, Values(expected.end() - state, expected.end()), tolerance);
  }

  // The gradients of Σ g · outputs.
  const auto gy = random_values<T>(rows * hidden, 1.0, 20), gh = random_values<T>(state, 1.0, 21),
             gc = random_values<T>(state, 1.0, 22);
  const DeviceArray<T> dgy(ordered(gy, hidden)), dgh(gh), dgc(gc);
  const auto loss = [&](const Operands& o) {
    const Values out = reference(c, o);
    double s = 0;
    for (size_t i = 0; i < out.size(); ++i) {
      const size_t n = gy.size(), m = gh.size();
      s += out[i] * to_double(i < n ? gy[i] : i < n + m ? gh[i - n] : gc[i - n - m]);
    }
    return s;
  };
  const DeviceArray<T> gx(values[0].size()), gh0(values[1].size()), gc0(values[2].size()), gw_ih(values[3].size()),
      gw_hh(values[4].size()), gb_ih(values[5].size()), gb_hh(values[6].size());
  const OwnedView gx_view = packed ? view_of(gx, {rows, c.input}) : view_of(gx, {c.steps, c.batch, c.input});
  call(
      &rnn_backward,
      {gx_view, matrix(gh0, c.batch, hidden, c.states), matrix(gc0, c.batch, hidden, c.states && c.lstm()),
       matrix(gw_ih, joint, c.input), matrix(gw_hh, joint, hidden), vector(gb_ih, c.biases), vector(gb_hh, c.biases)},
      {sequence(dgy, hidden), matrix(dgh, c.batch, hidden), matrix(dgc, c.batch, hidden, c.lstm()),
       sequence(x, c.input), matrix(h0, c.batch, hidden, c.states), matrix(c0, c.batch, hidden, c.states && c.lstm()),
       matrix(w_ih, joint, c.input), matrix(w_hh, joint, hidden), y_view,
       matrix(gates, rows, c.slots() * hidden, c.slots() > 1), matrix(cells, rows, hidden, c.lstm()), batch_sizes()},
      &attrs);
  const DeviceArray<T>* got[kOperands] = {&gx, &gh0, &gc0, &gw_ih, &gw_hh, &gb_ih, &gb_hh};
  for (int i = 0; i < kOperands; ++i) {
    if ((i == 1 && !c.states) || (i == 2 && !(c.states && c.lstm())) || (i > 4 && !c.biases)) continue;
    SCOPED_TRACE("gradient " + std::to_string(i));
    const auto v = got[i]->host();
    const size_t every = std::max<size_t>(1, v.size() / 40);
    for (size_t k = 0; k < v.size(); k += every) {
      double& x = in.v[i][k];
      const double old = x, step = 1e-5;
      x = old + step;
      const double up = loss(in);
      x = old - step;
      const double expected = (up - loss(in)) / (2 * step);
      x = old;
      EXPECT_NEAR(to_double(v[k]), expected, std::max(tolerance, 1e-8) * std::max(1.0, std::fabs(expected))) << k;
    }
  }
}

template <class T>
void check_modes(Case c, double tolerance) {
  for (RnnMode m : {RnnMode::kTanh, RnnMode::kRelu, RnnMode::kLstm, RnnMode::kGru}) {
    c.mode = m;
    for (bool reverse : {false, true}) {
      c.reverse = reverse;
      check<T>(c, tolerance);
    }
  }
}

TEST(Rnn, Sequences) {
  check_modes<float>({}, 2e-5);
  check_modes<double>({.states = false, .biases = false}, 1e-12);
  check_modes<double>({.steps = 1}, 1e-12);
  check_modes<double>({.steps = 1, .states = false}, 1e-12);
}
TEST(Rnn, Packed) {
  check_modes<double>({.steps = 4, .batch = 3, .sizes = {3, 2, 2, 1}}, 1e-12);
  check_modes<float>({.steps = 4, .batch = 3, .states = false, .sizes = {3, 3, 1, 1}}, 2e-5);
}
TEST(Rnn, Layouts) {
  check_modes<double>({.steps = 4, .batch = 3, .input = 2, .hidden = 4, .batch_first = true}, 1e-12);
}
TEST(Rnn, ManyUnits) { check<double>({.mode = RnnMode::kLstm, .steps = 2, .input = 1, .hidden = 130}, 1e-11); }
TEST(Rnn, Stretches) {  // more rows than one buffer of sums takes
  const Case c{.mode = RnnMode::kGru, .steps = 3, .batch = 4100, .input = 1, .hidden = 1};
  const int64_t rows = c.rows();
  const auto x = random_values<float>(rows, 1.0, 1), w = random_values<float>(3, 1.0, 2);
  const DeviceArray<float> dx(x), dw(w), y(static_cast<size_t>(rows)), h(static_cast<size_t>(c.batch));
  const auto none = [] { return OwnedView(nullptr, DType::kUndefined, Dims{}); };
  const Dims sizes{c.steps, c.batch, 1};
  for (bool reverse : {false, true}) {
    const RnnAttrs attrs{.mode = c.mode, .reverse = reverse};
    Case r = c;
    r.reverse = reverse;
    const Operands in{
        {to_double(x), Values(static_cast<size_t>(c.batch)), {}, to_double(w), to_double(w), Values(3), Values(3)}};
    call(&rnn, {view_of(y, sizes), view_of(h, {c.batch, 1}), none(), none(), none()},
         {view_of(dx, sizes), none(), none(), view_of(dw, {3, 1}), view_of(dw, {3, 1}), none(), none(), none()},
         &attrs);
    Values e = reference(r, in);
    e.resize(static_cast<size_t>(rows));
    expect_near(y, e, 1e-5);
  }
}
TEST(Rnn, Seeds) {
  for_each_seed([] {
    check<float>({.mode = RnnMode::kLstm, .steps = 3, .batch = 3, .input = 2, .hidden = 3, .sizes = {3, 2, 1}}, 2e-5);
    check<float>({.mode = RnnMode::kGru, .steps = 2, .input = 2, .hidden = 3, .reverse = true}, 2e-5);
  });
}

}  // namespace
}  // namespace fireseed::cuda

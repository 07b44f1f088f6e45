// A recurrent layer and its gradient in differentiable functions, step by step.
#include "ops/activation.h"
#include "ops/creation.h"
#include "ops/matmul.h"
#include "ops/move.h"
#include "ops/pointwise.h"
#include "ops/reduce.h"
#include "ops/rnn.h"
#include "ops/shape.h"

namespace fireseed {
namespace {

struct Step {
  int64_t time, count, offset;
  Tensor h, c;      // the state of the step's rows before it
  Tensor s[4];      // the gates: LSTM i, f, u, o; GRU r, z, u and the recurrent part of u; RNN none
  Tensor y, c_new;  // the state after it
};

// Rows [0, count) of v, and v with these replaced.
Tensor head(const Tensor& v, int64_t count) { return count == v.size(0) ? v : narrow(v, 0, 0, count); }
Tensor with_head(const Tensor& v, const Tensor& rows) {
  if (rows.size(0) == v.size(0)) return rows;
  const Tensor parts[] = {rows, narrow(v, 0, rows.size(0), v.size(0) - rows.size(0))};
  return cat(parts);
}
Tensor columns(const Tensor& v, int64_t i, int64_t size) { return narrow(v, 1, i * size, size); }

class Layer {
 public:
  Layer(RnnMode mode, const Tensor& x, const Tensor& batch_sizes, const Tensor& h0, const Tensor& c0,
        const RnnWeights& weights, bool reverse)
      : mode_(mode), x_(x), weights_(weights), packed_(batch_sizes.defined()) {
    const int64_t steps = packed_ ? batch_sizes.numel() : x.size(0), hidden = weights.w_hh.size(0) / rnn_gates(mode);
    const int64_t batch = packed_ ? batch_sizes.data<int64_t>()[0] : x.size(1);
    for (int64_t t = 0, at = 0; t < steps; ++t) {
      Step step;
      step.time = t;
      step.count = packed_ ? batch_sizes.data<int64_t>()[t] : batch;
      step.offset = at;
      at += step.count;
      steps_.push_back(step);
    }
    for (int64_t s = 0; s < steps; ++s) order_.push_back(reverse ? steps - 1 - s : s);
    h_ = h0.defined() ? h0 : zeros(Dims{batch, weights.w_hh.size(1)}, x.dtype(), x.device());
    if (mode == RnnMode::kLstm) c_ = c0.defined() ? c0 : zeros(Dims{batch, hidden}, x.dtype(), x.device());
    const Tensor gates = linear(x, weights.w_ih, weights.b_ih);
    for (const int64_t t : order_)
      run(steps_[static_cast<size_t>(t)], part_of(gates, steps_[static_cast<size_t>(t)]));
  }

  RnnResult result() const {
    std::vector<Tensor> y;
    for (const Step& s : steps_) y.push_back(s.y);
    return {packed_ ? cat(y) : stack(y), h_, c_};
  }

  std::vector<Tensor> backward(const Tensor* g) const {
    const bool lstm = mode_ == RnnMode::kLstm, gru = mode_ == RnnMode::kGru;
    Tensor gh = g[1].defined() ? g[1] : zeros(h_.sizes(), x_.dtype(), x_.device());
    Tensor gc = !lstm ? Tensor() : g[2].defined() ? g[2] : zeros(c_.sizes(), x_.dtype(), x_.device());
    std::vector<Tensor> d(steps_.size()), e(steps_.size()), h(steps_.size());  // of the sums with x, with h; states
    for (size_t k = order_.size(); k-- > 0;) {
      const auto t = static_cast<size_t>(order_[k]);
      const Step& s = steps_[t];
      Tensor gy = head(gh, s.count), direct;
      if (g[0].defined()) gy = gy + part_of(g[0], s);
      if (lstm) {
        const Tensor &i = s.s[0], &f = s.s[1], &u = s.s[2], &o = s.s[3], tc = tanh(s.c_new);
        const Tensor g_cell = head(gc, s.count) + gy * o * (1.0 - tc * tc);
        const Tensor parts[] = {g_cell * u * (i * (1.0 - i)), g_cell * s.c * (f * (1.0 - f)),
                                g_cell * i * (1.0 - u * u), gy * tc * (o * (1.0 - o))};
        d[t] = e[t] = cat(parts, 1);
        gc = with_head(gc, g_cell * f);
      } else if (gru) {
        const Tensor &r = s.s[0], &z = s.s[1], &u = s.s[2], &part = s.s[3];
        const Tensor gu = gy * (1.0 - z) * (1.0 - u * u);
        const Tensor gr = gu * part * (r * (1.0 - r)), gz = gy * (s.h - u) * (z * (1.0 - z));
        const Tensor with_x[] = {gr, gz, gu}, with_h[] = {gr, gz, gu * r};
        d[t] = cat(with_x, 1);
        e[t] = cat(with_h, 1);
        direct = gy * z;
      } else {
        d[t] = e[t] = mode_ == RnnMode::kTanh ? gy * (1.0 - s.y * s.y) : where(s.y > 0.0, gy, zeros_like(gy));
      }
      h[t] = s.h;
      Tensor before = matmul(e[t], weights_.w_hh);
      if (gru) before = before + direct;
      gh = with_head(gh, before);
    }
    const Tensor all_d = cat(d), all_e = cat(e);
    const Tensor rows = packed_ ? x_ : reshape(x_, Dims{x_.size(0) * x_.size(1), x_.size(2)});
    return {reshape(matmul(all_d, weights_.w_ih), x_.sizes()),
            gh,
            gc,
            matmul(transpose(all_d, 0, 1), rows),
            matmul(transpose(all_e, 0, 1), cat(h)),
            sum(all_d, Dims{0}),
            sum(all_e, Dims{0})};
  }

 private:
  // The rows of a step in a tensor of all steps.
  Tensor part_of(const Tensor& v, const Step& s) const {
    return packed_ ? narrow(v, 0, s.offset, s.count) : select(v, 0, s.time);
  }

  void run(Step& s, const Tensor& gates) {
    s.h = head(h_, s.count);
    const Tensor recurrent = linear(s.h, weights_.w_hh, weights_.b_hh);
    const int64_t hidden = weights_.w_hh.size(0) / rnn_gates(mode_);
    if (mode_ == RnnMode::kLstm) {
      const Tensor sums = gates + recurrent;
      for (int k = 0; k < 4; ++k)
        s.s[k] = k == 2 ? tanh(columns(sums, k, hidden)) : sigmoid(columns(sums, k, hidden));
      s.c = head(c_, s.count);
      s.c_new = s.s[1] * s.c + s.s[0] * s.s[2];
      s.y = s.s[3] * tanh(s.c_new);
      if (weights_.w_hr.defined()) s.y = linear(s.y, weights_.w_hr);
      c_ = with_head(c_, s.c_new);
    } else if (mode_ == RnnMode::kGru) {
      for (int k = 0; k < 2; ++k) s.s[k] = sigmoid(columns(gates, k, hidden) + columns(recurrent, k, hidden));
      s.s[3] = columns(recurrent, 2, hidden);
      s.s[2] = tanh(columns(gates, 2, hidden) + s.s[0] * s.s[3]);
      s.y = s.s[2] + s.s[1] * (s.h - s.s[2]);
    } else {
      s.y = mode_ == RnnMode::kTanh ? tanh(gates + recurrent) : relu(gates + recurrent);
    }
    h_ = with_head(h_, s.y);
  }

  const RnnMode mode_;
  const Tensor x_;
  const RnnWeights weights_;
  const bool packed_;
  std::vector<Step> steps_;     // by time
  std::vector<int64_t> order_;  // the times in the order in which they are made
  Tensor h_, c_;
};

}  // namespace

RnnResult rnn_composite(RnnMode mode, const Tensor& x, const Tensor& batch_sizes, const Tensor& h0, const Tensor& c0,
                        const RnnWeights& weights, bool reverse) {
  return Layer(mode, x, batch_sizes, h0, c0, weights, reverse).result();
}

std::vector<Tensor> rnn_composite_backward(RnnMode mode, const Tensor& x, const Tensor& batch_sizes, const Tensor& h0,
                                           const Tensor& c0, const RnnWeights& weights, bool reverse,
                                           const Tensor* g) {
  return Layer(mode, x, batch_sizes, h0, c0, weights, reverse).backward(g);
}

}  // namespace fireseed

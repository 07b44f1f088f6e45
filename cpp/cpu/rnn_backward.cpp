// Backward pass of one recurrent layer in one direction. Note [Recurrent steps] in rnn.h.
#include "cpu/rnn.h"

namespace fireseed::cpu::FS_ISA {
namespace {

// Cotangents of the gates' sums are made step by step, from the last to the first: those of a step need the state's,
// which is the product of the next step's with W_hh. All of them are kept, a row each as in the gates (LSTM di, df,
// du, do; GRU dr, dz, dn and that of the recurrent part of n), and the gradients of x and of the weights are products
// over all rows at the end.
template <class T, RnnMode kMode>
class Backward {
 public:
  static constexpr bool kLstm = kMode == RnnMode::kLstm, kGru = kMode == RnnMode::kGru;
  static constexpr int64_t kSlots = rnn_slots(kMode), kGates = rnn_gates(kMode);
  static constexpr int kW = kTileCols<T>;

  explicit Backward(const KernelArgs& args)
      : args_(args),
        hidden_(args.in[7].size(1)),
        input_(args.in[6].size(1)),
        width_(kSlots * hidden_),
        a_step_(kGates * hidden_ + 64 / static_cast<int64_t>(sizeof(T))),
        panels_(RnnPanels<T>::count(hidden_)),
        steps_(args.in[8], args.in[11], args.in[11].defined() ? first_size(args.in[11]) : args.in[8].size(1),
               args.attrs<RnnAttrs>().reverse),
        g_out_(args.in[0].defined() && args.in[0].stride(-1) == 1 ? TensorView{} : args.in[0]),
        h0_(args.in[4]),
        c0_(args.in[5]),
        w_hh_(args.in[7]),
        out_(args.in[8]),
        gates_(args.in[9]),
        cells_(args.in[10]) {
    start();
    if (steps_.batch > 0) {
      if (rnn_by_columns<T>(steps_.batch, steps_.batch * kGates * hidden_ * hidden_, kGates * hidden_ * hidden_))
        by_columns();
      else by_rows();
    }
    finish();
  }

 private:
  static int64_t first_size(const TensorView& sizes) { return sizes.numel ? *sizes.ptr<int64_t>() : 0; }

  // dh (B, H), dc (B, H): cotangents of the state, at first of the final one.
  void start() {
    const int64_t state = steps_.batch * hidden_;
    for (int i = 0; i < (kLstm ? 2 : 1); ++i) {
      Scratch<T>& d = i == 0 ? dh_ : dc_;
      d.reset(rnn_most(1, state));
      const RnnDense<T> g(args_.in[1 + i]);
      if (g) __builtin_memcpy(d.data(), g.data(), static_cast<size_t>(state) * sizeof(T));
      else __builtin_memset(d.data(), 0, static_cast<size_t>(state) * sizeof(T));
    }
    zeros_.reset(hidden_);
    __builtin_memset(zeros_.data(), 0, static_cast<size_t>(hidden_) * sizeof(T));
    d_.reset(rnn_most(1, steps_.rows * width_));
    a_.reset(rnn_most(1, 2 * steps_.batch * a_step_));
  }

  // Row r of the state that step t started from.
  const T* before(int64_t t, int64_t r, const RnnDense<T>& all, const RnnDense<T>& initial) {
    const int64_t p = steps_.before(t, r);
    return p >= 0 ? all.data() + p * hidden_ : initial ? initial.data() + r * hidden_ : zeros_.data();
  }
  // Row r of step t of y's cotangent; null where there is none.
  const T* g_out_at(int64_t t, int64_t r) {
    const TensorView& g = args_.in[0];
    if (g_out_ || !g.defined()) return g_out_ ? g_out_.data() + (steps_.offset(t) + r) * hidden_ : nullptr;
    return g.ptr<T>() + (steps_.packed() ? (steps_.offset(t) + r) * g.stride(0) : t * g.stride(0) + r * g.stride(1));
  }
  T* a_at(int64_t s, int64_t r) { return a_.data() + (s % 2 * steps_.batch + r) * a_step_; }

  // dh of rows [r0, r1) and the columns of panel q, from the gates' cotangents of step s (its time: t).
  void to_state(int64_t s, int64_t t, int64_t r0, int64_t r1, int64_t q, const T* panel) {
    const int64_t n = rnn_least(r1, steps_.count(t)) - r0;
    if (n > 0)
      rnn_product<T>(kGates * hidden_, a_at(s, r0), a_step_, n, panel, dh_.data() + r0 * hidden_ + q * kW, hidden_,
                     static_cast<int>(rnn_least(kW, hidden_ - q * kW)), kGru ? T(1) : T(0), nullptr);
  }

  // The cotangents of the gates of step s, rows [r0, r1), columns [j0, j1); their sums over rows are added to `sums`.
  void to_gates(int64_t s, int64_t t, int64_t r0, int64_t r1, int64_t j0, int64_t j1, T* sums) {
    constexpr int kV = Vec<T>::kSize;
    const int64_t end = rnn_least(r1, steps_.count(t)), first = steps_.offset(t);
    for (int64_t r = r0; r < end; ++r) {
      const int64_t row = first + r;
      T *d = d_.data() + row * width_, *a = a_at(s, r), *dh = dh_.data() + r * hidden_;
      const T* g = kLstm || kGru ? gates_.data() + row * width_ : nullptr;
      const T* g_out = g_out_at(t, r);
      T* dc = kLstm ? dc_.data() + r * hidden_ : nullptr;
      const T* cell = kLstm ? cells_.data() + row * hidden_ : nullptr;
      const T* prior = kLstm ? before(t, r, cells_, c0_) : kGru ? before(t, r, out_, h0_) : nullptr;
      for (int64_t j = j0; j < j1; j += kV) {
        const int n = j1 - j < kV ? static_cast<int>(j1 - j) : kV;
        const auto gate = [&](int64_t k) { return rnn_load(g + k * hidden_ + j, n); };
        Vec<T> grad = rnn_load(dh + j, n);
        if (g_out) grad += rnn_load(g_out + j, n);
        Vec<T> v[kSlots];
        if constexpr (kLstm) {
          const Vec<T> gates[4] = {gate(0), gate(1), gate(2), gate(3)};
          Vec<T> gc = rnn_load(dc + j, n);
          lstm_step_grad(grad, gates, rnn_load(prior + j, n), rnn_load(cell + j, n), gc, v);
          rnn_store(dc + j, gc, n);
          for (int64_t k = 0; k < 4; ++k) rnn_store(a + k * hidden_ + j, v[k], n);
        } else if constexpr (kGru) {
          const Vec<T> gates[4] = {gate(0), gate(1), gate(2), gate(3)};
          rnn_store(dh + j, gru_step_grad(grad, gates, rnn_load(prior + j, n), v), n);
          rnn_store(a + j, v[0], n);
          rnn_store(a + hidden_ + j, v[1], n);
          rnn_store(a + 2 * hidden_ + j, v[3], n);
        } else {
          v[0] = plain_rnn_step_grad<kMode == RnnMode::kRelu>(grad, rnn_load(out_.data() + row * hidden_ + j, n));
          rnn_store(a + j, v[0], n);
        }
        for (int64_t k = 0; k < kSlots; ++k) {
          T* sum = sums + k * hidden_ + j;
          rnn_store(d + k * hidden_ + j, v[k], n);
          rnn_store(sum, rnn_load(sum, n) + v[k], n);
        }
      }
    }
  }

  void by_rows() {
    RnnPanels<T> w;
    if (steps_.steps > 1) w.pack(w_hh_.data(), kGates * hidden_, hidden_);
    reset_sums(rnn_ceil_div(steps_.batch, kRnnRows));
    parallel_for(steps_.batch, kRnnRows, [&](int64_t r0, int64_t r1) {
      for (int64_t s = steps_.steps - 1; s >= 0; --s) {
        for (int64_t q = 0; q < panels_ && s + 1 < steps_.steps; ++q)
          to_state(s + 1, steps_.time(s + 1), r0, r1, q, w.at(q));
        to_gates(s, steps_.time(s), r0, r1, 0, hidden_, sums_.data() + r0 / kRnnRows * width_);
      }
    });
  }

  void by_columns() {
    RnnPanels<T> w;
    if (steps_.steps > 1) w.pack(w_hh_.data(), kGates * hidden_, hidden_);
    reset_sums(1);
    const int64_t work = steps_.batch * kW * kGates * hidden_;
    for (int64_t s = steps_.steps - 1; s >= 0; --s)
      parallel_for(panels_, items_in_chunk(panels_, work), [&](int64_t begin, int64_t end) {
        for (int64_t q = begin; q < end && s + 1 < steps_.steps; ++q)
          to_state(s + 1, steps_.time(s + 1), 0, steps_.batch, q, w.at(q));
        to_gates(s, steps_.time(s), 0, steps_.batch, begin * kW, rnn_least(hidden_, end * kW), sums_.data());
      });
  }

  void reset_sums(int64_t parts) {
    parts_ = parts;
    sums_.reset(parts * width_);
    __builtin_memset(sums_.data(), 0, static_cast<size_t>(parts * width_) * sizeof(T));
  }

  // c (m, n) = a (m, k) b (k, n)
  static void multiply(int64_t m, int64_t n, int64_t k, const T* a, int64_t a_row, int64_t a_col, const T* b,
                       int64_t b_row, T* c, int64_t c_row, T beta = T(0)) {
    GemmCall<T> g{};
    g.m = m, g.n = n, g.k = k;
    g.a = a, g.a_row = a_row, g.a_col = a_col;
    g.b = b, g.b_row = b_row, g.b_col = 1;
    g.c = c, g.c_row = c_row, g.c_col = 1;
    g.beta = beta;
    gemm(g);
  }

  // The gradient of W_hh: rows of `d` with the states they started from.
  void to_recurrent(int64_t joint, const T* d, T* to) {
    const int64_t batch = steps_.batch, rows = steps_.rows;
    const auto add = [&](int64_t first, int64_t count, const T* h, T beta) {
      const T* from = d + first * width_;
      multiply(joint, hidden_, count, from, 1, width_, h, hidden_, to, hidden_, beta);
      if (kGru)
        multiply(hidden_, hidden_, count, from + 3 * hidden_, 1, width_, h, hidden_, to + 2 * hidden_ * hidden_,
                 hidden_, beta);
    };
    if (!steps_.packed()) {  // the states are the results of the step before
      const int64_t first = steps_.time(0) * batch, others = first == 0 ? batch : 0;
      add(others, rows - batch, out_.data() + (batch - others) * hidden_, T(0));
      if (h0_) add(first, batch, h0_.data(), T(1));
      return;
    }
    Scratch<T> h(rnn_most(1, rows * hidden_));
    parallel_for(steps_.steps, 16384 / rnn_most(1, batch * hidden_) + 1, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t)
        for (int64_t r = 0; r < steps_.count(t); ++r)
          __builtin_memcpy(h.data() + (steps_.offset(t) + r) * hidden_, before(t, r, out_, h0_),
                           static_cast<size_t>(hidden_) * sizeof(T));
    });
    add(0, rows, h.data(), T(0));
  }

  // The gradients that are products over all rows.
  void finish() {
    const int64_t rows = steps_.rows, joint = kGru ? 2 * hidden_ : kGates * hidden_;
    const T* d = d_.data();
    const auto wanted = [&](int i) { return args_.out[i].defined(); };
    const auto target = [&](int i) { return args_.out[i].ptr<T>(); };
    if (wanted(1)) {
      const int64_t n = steps_.batch ? steps_.count(steps_.time(0)) : 0;
      multiply(n, hidden_, kGates * hidden_, a_at(0, 0), a_step_, 1, w_hh_.data(), hidden_, dh_.data(), hidden_,
               kGru ? T(1) : T(0));
      __builtin_memcpy(target(1), dh_.data(), static_cast<size_t>(steps_.batch * hidden_) * sizeof(T));
    }
    if (kLstm && wanted(2))
      __builtin_memcpy(target(2), dc_.data(), static_cast<size_t>(steps_.batch * hidden_) * sizeof(T));
    if (wanted(0)) {
      const RnnDense<T> w_ih(args_.in[6]);
      multiply(rows, input_, kGates * hidden_, d, width_, 1, w_ih.data(), input_, target(0), input_);
    }
    if (wanted(3)) {
      const RnnDense<T> x(args_.in[3]);
      multiply(kGates * hidden_, input_, rows, d, 1, width_, x.data(), input_, target(3), input_);
    }
    if (wanted(4)) to_recurrent(joint, d, target(4));
    for (int i = 5; i < 7; ++i)
      for (int64_t j = 0; wanted(i) && j < kGates * hidden_; ++j) {
        T sum = 0;
        for (int64_t p = 0; p < parts_; ++p)
          sum += sums_[p * width_ + (kGru && i == 6 && j >= 2 * hidden_ ? j + hidden_ : j)];
        target(i)[j] = sum;
      }
  }

  const KernelArgs& args_;
  const int64_t hidden_, input_, width_, a_step_, panels_;
  RnnSteps steps_;
  const RnnDense<T> g_out_, h0_, c0_, w_hh_, out_, gates_, cells_;
  int64_t parts_ = 0;
  Scratch<T> dh_, dc_, zeros_;
  Scratch<T> d_;     // the gates' cotangents of all rows
  Scratch<T> a_;     // those of two steps with short strides, in the order of W_hh's rows
  Scratch<T> sums_;  // `parts_` sums of d_ over rows
};

}  // namespace

// in: cotangents of y, h_n, c_n, each or absent; x, h0, c0, w_ih, w_hh; y, gates, cells and batch sizes of the
// forward pass. out: gradients of x, h0, c0, w_ih, w_hh, b_ih, b_hh; those not wanted are absent.
void rnn_backward(const KernelArgs& args) {
  dispatch_wide_float(args.in[8].dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    switch (args.attrs<RnnAttrs>().mode) {
      case RnnMode::kTanh: Backward<T, RnnMode::kTanh>{args}; break;
      case RnnMode::kRelu: Backward<T, RnnMode::kRelu>{args}; break;
      case RnnMode::kLstm: Backward<T, RnnMode::kLstm>{args}; break;
      case RnnMode::kGru: Backward<T, RnnMode::kGru>{args}; break;
    }
  });
}

}  // namespace fireseed::cpu::FS_ISA

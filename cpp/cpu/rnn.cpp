// Forward pass of one recurrent layer in one direction: RNN (tanh, relu), LSTM, GRU. Note [Recurrent steps] in rnn.h.
#include "cpu/rnn.h"

namespace fireseed::cpu::FS_ISA {
namespace {

template <class T, RnnMode kMode>
class Forward {
 public:
  static constexpr bool kLstm = kMode == RnnMode::kLstm, kGru = kMode == RnnMode::kGru;
  static constexpr int64_t kSlots = rnn_slots(kMode), kGates = rnn_gates(kMode);
  static constexpr int kW = kTileCols<T>;

  explicit Forward(const KernelArgs& args)
      : keep_(args.attrs<RnnAttrs>().keep && args.out[3].defined()),
        hidden_(args.in[4].size(1)),
        input_(args.in[3].size(1)),
        panels_(RnnPanels<T>::count(hidden_)),
        steps_(args.out[0], args.in[7], args.out[1].size(0), args.attrs<RnnAttrs>().reverse),
        x_(args.in[0].stride(-1) == 1 || input_ == 1 ? TensorView{} : args.in[0]),
        h0_(args.in[1]),
        c0_(args.in[2]),
        w_ih_(args.in[3]),
        w_hh_(args.in[4]),
        out_(args.out[0].template ptr<T>()),
        cells_(keep_ && kLstm ? args.out[4].template ptr<T>() : nullptr),
        gates_(keep_ ? args.out[3].template ptr<T>() : nullptr),
        h_step_(hidden_ + 64 / static_cast<int64_t>(sizeof(T))) {
    const TensorView& x = args.in[0];
    x_data_ = x_ ? x_.data() : x.ptr<T>();
    x_row_ = x_ ? input_ : x.stride(-2);
    x_time_ = x_ ? input_ * steps_.batch : steps_.packed() ? 0 : x.stride(0);
    add_biases(args.in[5], args.in[6]);
    start();
    if (steps_.steps == 1) one_step();
    else if (rnn_by_columns<T>(steps_.batch, steps_.batch * kGates * hidden_ * hidden_,
                               kGates * hidden_ * (hidden_ + input_)))
      by_columns();
    else by_rows();
    finish(args.out[1], h_now_, h_step_);
    if (kLstm) finish(args.out[2], cell_.data(), hidden_);
  }

 private:
  // Row r of step t of the input.
  const T* x_at(int64_t t, int64_t r) {
    return x_data_ + (steps_.packed() ? (steps_.offset(t) + r) * x_row_ : t * x_time_ + r * x_row_);
  }

  void add_biases(const TensorView& b_ih, const TensorView& b_hh) {
    bias_.reset(kSlots * hidden_);
    __builtin_memset(bias_.data(), 0, static_cast<size_t>(kSlots * hidden_) * sizeof(T));
    for (const TensorView* b : {&b_ih, &b_hh})
      for (int64_t i = 0; b->defined() && i < kGates * hidden_; ++i) {
        const bool apart = kGru && b == &b_hh && i >= 2 * hidden_;
        bias_[apart ? i + hidden_ : i] += b->ptr<T>()[i * b->stride(0)];
      }
  }

  void start() {
    const int64_t batch = steps_.batch;
    state_.reset(2 * batch * h_step_);
    h_now_ = state_.data();
    h_next_ = h_now_ + batch * h_step_;
    if (kLstm) cell_.reset(rnn_most(1, batch * hidden_));
    const size_t row = static_cast<size_t>(hidden_) * sizeof(T);
    for (int64_t r = 0; r < batch; ++r) {
      if (h0_) __builtin_memcpy(h_now_ + r * h_step_, h0_.data() + r * hidden_, row);
      else __builtin_memset(h_now_ + r * h_step_, 0, row);
    }
    if (kLstm && c0_) __builtin_memcpy(cell_.data(), c0_.data(), static_cast<size_t>(batch) * row);
    if (kLstm && !c0_) __builtin_memset(cell_.data(), 0, static_cast<size_t>(batch) * row);
  }
  void finish(const TensorView& to, const T* from, int64_t step) {
    for (int64_t r = 0; r < steps_.batch; ++r)
      __builtin_memcpy(to.ptr<T>() + r * hidden_, from + r * step, static_cast<size_t>(hidden_) * sizeof(T));
  }
  // The rows of [r0, r1) that step t leaves alone keep their state.
  void carry(int64_t t, int64_t r0, int64_t r1, const T* h, T* h_next) {
    for (int64_t r = rnn_most(r0, steps_.count(t)); r < r1; ++r)
      __builtin_memcpy(h_next + r * h_step_, h + r * h_step_, static_cast<size_t>(hidden_) * sizeof(T));
  }

  // Sums of one block of rows and columns: where they are, and how far it is to the next row and to the next gate.
  struct Block {
    T* sums;
    int64_t step, gate;
  };
  static Block block_in(T* local) { return {local, kSlots * kW, kW}; }

  // x W_ih^T + bias for the columns of panel q; panel_of(p): packed panel p.
  template <class F>
  void from_input(const Block& b, const T* x, int64_t x_step, int64_t rows, int64_t q, F panel_of) {
    for (int64_t g = 0; g < kGates; ++g)
      rnn_product<T>(input_, x, x_step, rows, panel_of(g * panels_ + q), b.sums + g * b.gate, b.step, columns_of(q),
                     T(0), bias_.data() + g * hidden_ + q * kW);
  }
  // beta times what is there + h W_hh^T; the GRU's third product goes to a slot of its own, with its bias. h null: a
  // state of zeros.
  template <class F>
  void from_state(const Block& b, const T* h, int64_t rows, int64_t q, T beta, F panel_of) {
    const int cols = columns_of(q);
    for (int64_t g = 0; g < kGates; ++g) {
      const bool apart = kGru && g == 2;
      T* c = b.sums + (apart ? 3 : g) * b.gate;
      const T* bias = apart ? bias_.data() + 3 * hidden_ + q * kW : nullptr;
      if (h) {
        rnn_product<T>(hidden_, h, h_step_, rows, panel_of(g * panels_ + q), c, b.step, cols, apart ? T(0) : beta,
                       bias);
      } else if (apart || beta == T(0)) {
        for (int64_t r = 0; r < rows; ++r)
          for (int j = 0; j < cols; ++j) c[r * b.step + j] = bias ? bias[j] : T(0);
      }
    }
  }
  // From the sums, with those of the input where they are made apart (rows as in the gates), to the new state of rows
  // [r0, r0 + rows) of step t, columns [j, j + cols).
  template <bool kApart>
  void activate(const Block& b, int64_t t, int64_t r0, int64_t rows, int64_t j, int64_t cols, const T* h, T* h_next) {
    constexpr int kV = Vec<T>::kSize;
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t row = steps_.offset(t) + r0 + r, state = (r0 + r) * h_step_ + j;
      const T *sums = b.sums + r * b.step, *input = kApart ? projected_ + row * kSlots * hidden_ + j : nullptr;
      T* kept = keep_ ? gates_ + row * kSlots * hidden_ + j : nullptr;
      T* cell = kLstm ? cell_.data() + (r0 + r) * hidden_ + j : nullptr;
      for (int64_t i = 0; i < cols; i += kV) {
        const int n = cols - i < kV ? static_cast<int>(cols - i) : kV;
        const auto sum = [&](int64_t k) {
          const Vec<T> s = rnn_load(sums + k * b.gate + i, n);
          return kApart && !(kGru && k == 3) ? s + rnn_load(input + k * hidden_ + i, n) : s;
        };
        Vec<T> y, v[4];
        if constexpr (kLstm) {
          for (int64_t k = 0; k < 4; ++k) v[k] = sum(k);
          Vec<T> c = rnn_load(cell + i, n);
          y = lstm_step(v, c);
          rnn_store(cell + i, c, n);
          if (keep_) rnn_store(cells_ + row * hidden_ + j + i, c, n);
        } else if constexpr (kGru) {
          v[0] = sum(0), v[1] = sum(1), v[3] = sum(3);
          v[2] = kApart ? rnn_load(input + 2 * hidden_ + i, n) : sum(2);
          y = gru_step(v, rnn_load(h + state + i, n));
        } else {
          y = plain_rnn_step<kMode == RnnMode::kRelu>(sum(0));
        }
        if (kSlots > 1 && keep_)
          for (int64_t k = 0; k < kSlots; ++k) rnn_store(kept + k * hidden_ + i, v[k], n);
        rnn_store(h_next + state + i, y, n);
        rnn_store(out_ + row * hidden_ + j + i, y, n);
      }
    }
  }
  int columns_of(int64_t q) const { return static_cast<int>(rnn_least(kW, hidden_ - q * kW)); }
  void swap_states() {
    T* h = h_now_;
    h_now_ = h_next_;
    h_next_ = h;
  }

  void by_rows() {
    RnnPanels<T> wx, wh;
    wx.pack_gates(w_ih_.data(), kGates, hidden_, input_);
    wh.pack_gates(w_hh_.data(), kGates, hidden_, hidden_);
    const auto x_panel = [&](int64_t p) { return wx.at(p); };
    const auto h_panel = [&](int64_t p) { return wh.at(p); };
    const int64_t x_step = input_ + 64 / static_cast<int64_t>(sizeof(T));
    parallel_for(steps_.batch, kRnnRows, [&](int64_t r0, int64_t r1) {
      Scratch<T> rows(kRnnRows * x_step), local(kRnnRows * kSlots * kW);
      T *h = h_now_, *h_next = h_next_;
      for (int64_t s = 0; s < steps_.steps; ++s) {
        const int64_t t = steps_.time(s), n = rnn_least(r1, steps_.count(t)) - r0;
        carry(t, r0, r1, h, h_next);
        for (int64_t r = 0; r < n; ++r)
          __builtin_memcpy(rows.data() + r * x_step, x_at(t, r0 + r), static_cast<size_t>(input_) * sizeof(T));
        const T* state = s == 0 && !h0_ ? nullptr : h + r0 * h_step_;
        for (int64_t q = 0; n > 0 && q < panels_; ++q) {
          const Block b = block_in(local.data());
          from_input(b, rows.data(), x_step, n, q, x_panel);
          from_state(b, state, n, q, T(1), h_panel);
          activate<false>(b, t, r0, n, q * kW, columns_of(q), h, h_next);
        }
        T* other = h;
        h = h_next;
        h_next = other;
      }
    });
    if (steps_.steps % 2) swap_states();
  }

  void by_columns() {
    RnnPanels<T> wh;
    wh.pack_gates(w_hh_.data(), kGates, hidden_, hidden_);
    const auto h_panel = [&](int64_t p) { return wh.at(p); };
    // The rows of x one after the other.
    const int64_t rows = steps_.rows, batch = steps_.batch;
    Scratch<T> dense;
    if (!steps_.packed() && (x_time_ != batch * x_row_)) {
      dense.reset(rows * input_);
      parallel_for(steps_.steps, 16384 / (batch * input_) + 1, [&](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; ++t)
          for (int64_t r = 0; r < batch; ++r)
            __builtin_memcpy(dense.data() + (t * batch + r) * input_, x_at(t, r),
                             static_cast<size_t>(input_) * sizeof(T));
      });
    }
    // Without gates to keep, a stretch of steps at a time goes through one buffer.
    const int64_t width = kSlots * hidden_;
    const int64_t stretch = gates_ ? steps_.steps : rnn_least(steps_.steps, rnn_ceil_div(512, batch));
    Scratch<T> buffer(gates_ ? 0 : rnn_least(rows, stretch * batch) * width);
    const int64_t work = batch * kW * kGates * hidden_;
    for (int64_t s0 = 0; s0 < steps_.steps; s0 += stretch) {
      const int64_t s1 = rnn_least(steps_.steps, s0 + stretch);
      const int64_t ta = steps_.time(s0), tb = steps_.time(s1 - 1), first = rnn_least(ta, tb),
                    last = rnn_most(ta, tb);
      const int64_t row0 = steps_.offset(first), row1 = steps_.offset(last) + steps_.count(last);
      projected_ = gates_ ? gates_ : buffer.data() - row0 * width;
      GemmCall<T> g{};
      g.m = row1 - row0;
      g.n = kGates * hidden_;
      g.k = input_;
      g.a = dense ? dense.data() + row0 * input_ : x_data_ + row0 * x_row_;
      g.a_row = dense ? input_ : x_row_;
      g.a_col = 1;
      g.b = w_ih_.data();
      g.b_row = 1;
      g.b_col = input_;
      g.c = projected_ + row0 * width;
      g.c_row = width;
      g.c_col = 1;
      g.bias_col = bias_.data();
      gemm(g);
      for (int64_t s = s0; s < s1; ++s) {
        const int64_t t = steps_.time(s), n = steps_.count(t);
        carry(t, 0, batch, h_now_, h_next_);
        const T* state = s == 0 && !h0_ ? nullptr : h_now_;
        parallel_for(panels_, items_in_chunk(panels_, work), [&](int64_t begin, int64_t end) {
          Scratch<T> local(n * kSlots * kW);
          for (int64_t q = begin; q < end; ++q) {
            const Block b = block_in(local.data());
            from_state(b, state, n, q, T(0), h_panel);
            activate<true>(b, t, 0, n, q * kW, columns_of(q), h_now_, h_next_);
          }
        });
        swap_states();
      }
    }
  }

  // A single step: each panel of the weights is packed by the task that needs it, or, for few rows, none is.
  void one_step() {
    const int64_t n = steps_.count(0), width = kSlots * hidden_;
    const T* state = h0_ ? h_now_ : nullptr;
    carry(0, 0, steps_.batch, h_now_, h_next_);
    if (n <= 4) {
      Scratch<T> buffer(gates_ ? 0 : n * width);
      const Block b = {gates_ ? gates_ : buffer.data(), width, hidden_};
      const auto multiply = [&](const T* a, int64_t a_row, const T* w, int64_t k, int64_t columns, T* c, T beta,
                                const T* bias) {
        GemmCall<T> g{};
        g.m = n, g.n = columns, g.k = k;
        g.a = a, g.a_row = a_row, g.a_col = 1;
        g.b = w, g.b_row = 1, g.b_col = k;
        g.c = c, g.c_row = width, g.c_col = 1;
        g.beta = beta;
        g.bias_col = bias;
        gemm(g);
      };
      multiply(x_at(0, 0), x_row_, w_ih_.data(), input_, kGates * hidden_, b.sums, T(0), bias_.data());
      const int64_t joint = (kGru ? 2 : kGates) * hidden_;
      if (state) multiply(state, h_step_, w_hh_.data(), hidden_, joint, b.sums, T(1), nullptr);
      if (kGru) {
        if (state)
          multiply(state, h_step_, w_hh_.data() + joint * hidden_, hidden_, hidden_, b.sums + 3 * hidden_, T(0),
                   bias_.data() + 3 * hidden_);
        else
          for (int64_t r = 0; r < n; ++r)
            __builtin_memcpy(b.sums + r * width + 3 * hidden_, bias_.data() + 3 * hidden_,
                             static_cast<size_t>(hidden_) * sizeof(T));
      }
      activate<false>(b, 0, 0, n, 0, hidden_, h_now_, h_next_);
    } else {
      const int64_t work = kW * kGates * ((n + 8) * (input_ + hidden_) + 40 * n);
      parallel_for(panels_, items_in_chunk(panels_, work), [&](int64_t begin, int64_t end) {
        Scratch<T> panel(kW * rnn_most(input_, hidden_)), local(n * kSlots * kW);
        for (int64_t q = begin; q < end; ++q) {
          const Block b = block_in(local.data());
          from_input(b, x_at(0, 0), x_row_, n, q, [&](int64_t p) {
            RnnPanels<T>::pack_gate(panel.data(), w_ih_.data(), p, hidden_, input_);
            return panel.data();
          });
          from_state(b, state, n, q, T(1), [&](int64_t p) {
            RnnPanels<T>::pack_gate(panel.data(), w_hh_.data(), p, hidden_, hidden_);
            return panel.data();
          });
          activate<false>(b, 0, 0, n, q * kW, columns_of(q), h_now_, h_next_);
        }
      });
    }
    swap_states();
  }

  const bool keep_;
  const int64_t hidden_, input_, panels_;
  RnnSteps steps_;
  const RnnDense<T> x_, h0_, c0_, w_ih_, w_hh_;
  T *const out_, *const cells_;
  T* const gates_;          // the gates of all rows, or null
  T* projected_ = nullptr;  // by columns: x W_ih^T + bias, rows as in the gates
  const int64_t h_step_;
  const T* x_data_;
  int64_t x_row_, x_time_;
  Scratch<T> bias_, state_, cell_;  // bias_: a slot as in the gates; state_: two (batch, h_step_)
  T *h_now_, *h_next_;
};

}  // namespace

// in: x (T, B, I) or packed (N, I); h0 (B, H), c0 (B, H) or absent (zeros); w_ih (G H, I), w_hh (G H, H), b_ih, b_hh
// (G H) or absent; batch sizes (T) int64 or absent. out: y (T, B, H) or (N, H); h_n, c_n (B, H); where `keep`: gates
// (N, slots H), cells (N, H). c0, c_n and cells: LSTM only; gates not for the plain RNN.
// LSTM: Hochreiter and Schmidhuber 1997; GRU: Cho et al. 2014, the reset gate after the product.
void rnn(const KernelArgs& args) {
  dispatch_wide_float(args.out[0].dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    switch (args.attrs<RnnAttrs>().mode) {
      case RnnMode::kTanh: Forward<T, RnnMode::kTanh>{args}; break;
      case RnnMode::kRelu: Forward<T, RnnMode::kRelu>{args}; break;
      case RnnMode::kLstm: Forward<T, RnnMode::kLstm>{args}; break;
      case RnnMode::kGru: Forward<T, RnnMode::kGru>{args}; break;
    }
  });
}

}  // namespace fireseed::cpu::FS_ISA

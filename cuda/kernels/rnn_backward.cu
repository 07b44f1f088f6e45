// Recurrent layers, backward: one layer in one direction. Note [Recurrent steps on devices] in rnn.cuh.
#include "kernels/rnn.cuh"
#include "tensor/attrs/reduce.h"

namespace fireseed::cuda {

void sum(const KernelArgs& args);  // reduce.cu

namespace {

// One step. Rows of g, gates, cells, out, d, d_recurrent and before begin with the step's.
template <class T>
struct GradStep {
  RnnOperand<T> g;               // y's cotangent; null: none
  const T *gates, *cells, *out;  // of the forward pass
  // What the step started from: rows [0, prior_rows) of the step before, the others of the initial state (null:
  // zeros).
  const T *prior_out, *prior_cells, *h0, *c0;
  int64_t prior_rows;
  T *dh, *dc;          // (batch, hidden): cotangents of the state after the step, become those before it but for
                       // what goes through the sums
  T *d, *d_recurrent;  // (rows, gates * hidden): cotangents of the input's and of the recurrent sums; those differ
                       // for the GRU only, else d_recurrent is null
  T* before;           // (rows, hidden) or null: gets the states that the step started from
  int64_t rows, hidden;
};

template <class T, RnnMode kMode>
__global__ void __launch_bounds__(kRnnThreads) rnn_step_grad(const __grid_constant__ GradStep<T> s) {
  using V = Num<T>;
  constexpr int kGates = static_cast<int>(rnn_gates(kMode)), kSlots = static_cast<int>(rnn_slots(kMode));
  const int64_t j = static_cast<int64_t>(blockIdx.x) * kRnnThreads + threadIdx.x;
  if (j >= s.hidden) return;
  for (int64_t r = blockIdx.y; r < s.rows; r += gridDim.y) {
    const int64_t state = r * s.hidden + j;
    const auto prior = [&](const T* all, const T* initial) {
      if (r < s.prior_rows) return V(all[state]);
      return initial ? V(initial[state]) : V(T(0));
    };
    V grad = s.dh[state], v[4], d[4];
    if (s.g.p) grad = grad + s.g.p[r * s.g.row + j * s.g.col];
    if (kSlots > 1)
      for (int k = 0; k < kSlots; ++k) v[k] = s.gates[(r * kSlots + k) * s.hidden + j];
    if constexpr (kMode == RnnMode::kLstm) {
      V gc = s.dc[state];
      lstm_step_grad(grad, v, prior(s.prior_cells, s.c0), V(s.cells[state]), gc, d);
      s.dc[state] = gc.v;
    } else if constexpr (kMode == RnnMode::kGru) {
      s.dh[state] = gru_step_grad(grad, v, prior(s.prior_out, s.h0), d).v;
    } else {
      d[0] = plain_rnn_step_grad<kMode == RnnMode::kRelu>(grad, V(s.out[state]));
    }
    for (int k = 0; k < kGates; ++k) {
      const int64_t at = (r * kGates + k) * s.hidden + j;
      s.d[at] = d[k].v;
      if (kMode == RnnMode::kGru) s.d_recurrent[at] = d[k == 2 ? 3 : k].v;
    }
    if (s.before) s.before[state] = prior(s.prior_out, s.h0).v;
  }
}

template <class T, RnnMode kMode>
void backward(const KernelArgs& args) {
  constexpr int64_t kGates = rnn_gates(kMode), kSlots = rnn_slots(kMode);
  constexpr bool kLstm = kMode == RnnMode::kLstm, kGru = kMode == RnnMode::kGru;
  const TensorView &g = args.in[0], &w_ih = args.in[6], &w_hh = args.in[7], &sizes = args.in[11];
  const int64_t hidden = w_hh.size(1), input = w_ih.size(1), joint = kGates * hidden;
  const int64_t batch = sizes.defined() ? sizes.numel ? *sizes.ptr<int64_t>() : 0 : args.in[8].size(1);
  const RnnSteps steps(args.in[8], sizes, batch, args.attrs<RnnAttrs>().reverse != 0);
  const int64_t rows = steps.rows;
  const Contiguous h0(args.in[4]), c0(args.in[5]), out(args.in[8]), gates(args.in[9]), cells(args.in[10]);
  const auto wanted = [&](int i) { return args.out[i].defined(); };
  const auto or_null = [](const Contiguous& c) { return c.view().defined() ? c.template ptr<T>() : nullptr; };
  const auto room = [](int64_t n) { return static_cast<size_t>(n + 1) * sizeof(T); };

  const Scratch dh_own(room(wanted(1) ? 0 : batch * hidden)), dc_own(room(wanted(2) ? 0 : batch * hidden));
  T* const dh = wanted(1) ? args.out[1].ptr<T>() : dh_own.ptr<T>();
  T* const dc = wanted(2) ? args.out[2].ptr<T>() : dc_own.ptr<T>();
  copy_or_clear(dh, batch, hidden, args.in[1]);
  if (kLstm) copy_or_clear(dc, batch, hidden, args.in[2]);
  const Scratch d(room(rows * joint)), d_apart(room(kGru ? rows * joint : 0));
  const T* const d_recurrent = kGru ? d_apart.ptr<T>() : d.ptr<T>();
  const bool gathers = steps.packed() && wanted(4);
  const Scratch before(room(gathers ? rows * hidden : 0));

  for (int64_t s = steps.steps - 1; s >= 0; --s) {
    const int64_t t = steps.time(s), n = steps.count(t), row = steps.offset(t), p = steps.before(t);
    GradStep<T> step{};
    if (g.defined()) {
      const int64_t own = steps.packed() ? row : t;
      step.g = {g.ptr<T>() + own * g.stride(0), g.stride(-2), g.stride(-1)};
    }
    if (kSlots > 1) step.gates = gates.ptr<T>() + row * kSlots * hidden;
    if (kLstm) step.cells = cells.ptr<T>() + row * hidden;
    step.out = out.ptr<T>() + row * hidden;
    if (p >= 0) {
      step.prior_rows = std::min(n, steps.count(p));
      step.prior_out = out.ptr<T>() + steps.offset(p) * hidden;
      if (kLstm) step.prior_cells = cells.ptr<T>() + steps.offset(p) * hidden;
    }
    step.h0 = or_null(h0), step.c0 = or_null(c0);
    step.dh = dh, step.dc = dc;
    step.d = d.ptr<T>() + row * joint;
    if (kGru) step.d_recurrent = d_apart.ptr<T>() + row * joint;
    if (gathers) step.before = before.ptr<T>() + row * hidden;
    step.rows = n, step.hidden = hidden;
    FS_LAUNCH((rnn_step_grad<T, kMode>), rnn_grid(n, hidden), kRnnThreads, 0, current_stream(), step);
    if (s == 0 && !wanted(1)) break;
    RnnOperand<T> past{};
    if (kGru) past = {dh, hidden, 1};
    rnn_product<T>(n, hidden, joint, {d_recurrent + row * joint, joint, 1}, rnn_operand<T>(w_hh), dh, hidden, past);
  }

  const RnnOperand<T> to_input{d.ptr<T>(), joint, 1}, to_state{d_recurrent, joint, 1};
  if (wanted(0)) rnn_product<T>(rows, input, joint, to_input, rnn_operand<T>(w_ih), args.out[0].ptr<T>(), input);
  if (wanted(3)) {
    const Contiguous x(args.in[3]);
    rnn_product<T>(joint, input, rows, transposed(to_input), {x.ptr<T>(), input, 1}, args.out[3].ptr<T>(), input);
  }
  if (wanted(4)) {
    T* const to = args.out[4].ptr<T>();
    const auto from_rows = [&](int64_t first, int64_t count, const T* h, bool add) {
      RnnOperand<T> sum{};
      if (add) sum = {to, hidden, 1};
      rnn_product<T>(joint, hidden, count, {to_state.p + first * joint, 1, joint}, {h, hidden, 1}, to, hidden, sum);
    };
    if (steps.packed()) {
      from_rows(0, rows, before.ptr<T>(), false);
    } else {  // the states are the results of the step before
      const int64_t first = steps.offset(steps.time(0)), others = first == 0 ? batch : 0;
      from_rows(others, rows - batch, out.ptr<T>() + (batch - others) * hidden, false);
      if (or_null(h0)) from_rows(first, batch, h0.ptr<T>(), true);
    }
  }
  for (int i = 5; i < 7; ++i)
    if (wanted(i)) {
      const RnnMatrix all(i == 5 ? to_input.p : to_state.p, rows, joint);
      const ReduceAttrs over_rows{1, 0};
      sum(KernelArgs{&all.view, &args.out[i], 1, 1, &over_rows});
    }
}

}  // namespace

// in: cotangents of y, h_n, c_n, each or absent; x, h0, c0, w_ih, w_hh; y, gates, cells and batch sizes of the
// forward pass. out: gradients of x, h0, c0, w_ih, w_hh, b_ih, b_hh; those not wanted are absent.
void rnn_backward(const KernelArgs& args) {
  dispatch_rnn(args.in[8].dtype, args.attrs<RnnAttrs>().mode,
               [&]<class T, RnnMode kMode>() { backward<T, kMode>(args); });
}

}  // namespace fireseed::cuda

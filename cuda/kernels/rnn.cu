// Recurrent layers, forward: one layer in one direction: RNN (tanh, relu), LSTM, GRU. Note [Recurrent steps on
// devices] in rnn.cuh.
#include "kernels/rnn.cuh"

namespace fireseed::cuda {
namespace {

// One step. Rows of sums, gates, cells and out begin with the step's.
template <class T>
struct Step {
  const T* sums;       // of the input, with its bias; `pitch` elements a row, a slot of `hidden` for each gate
  const T* recurrent;  // (rows, gates * hidden); null: a state of zeros
  const T* bias;       // of the recurrent sums, or null; bias_step elements from one to the next
  T *h, *c;            // (batch, hidden): the state, brought up to date
  T *out, *cells;      // (rows, hidden); cells: LSTM, or null
  T* gates;            // (rows, slots * hidden) or null; may be `sums`
  int64_t rows, hidden, pitch, bias_step;
};

template <class T, RnnMode kMode>
__global__ void __launch_bounds__(kRnnThreads) rnn_step(const __grid_constant__ Step<T> s) {
  using V = Num<T>;
  constexpr int kGates = static_cast<int>(rnn_gates(kMode)), kSlots = static_cast<int>(rnn_slots(kMode));
  const int64_t j = static_cast<int64_t>(blockIdx.x) * kRnnThreads + threadIdx.x;
  if (j >= s.hidden) return;
  for (int64_t r = blockIdx.y; r < s.rows; r += gridDim.y) {
    V v[4];
    for (int k = 0; k < kGates; ++k) {
      V recurrent = s.bias ? s.bias[(k * s.hidden + j) * s.bias_step] : T(0);
      if (s.recurrent) recurrent = recurrent + s.recurrent[r * kGates * s.hidden + k * s.hidden + j];
      v[k] = s.sums[r * s.pitch + k * s.hidden + j];
      if (kMode == RnnMode::kGru && k == 2) v[3] = recurrent;
      else v[k] = v[k] + recurrent;
    }
    const int64_t state = r * s.hidden + j;
    V y;
    if constexpr (kMode == RnnMode::kLstm) {
      V c = s.c[state];
      y = lstm_step(v, c);
      s.c[state] = c.v;
      if (s.cells) s.cells[state] = c.v;
    } else if constexpr (kMode == RnnMode::kGru) {
      y = gru_step(v, V(s.h[state]));
    } else {
      y = plain_rnn_step<kMode == RnnMode::kRelu>(v[0]);
    }
    if (kSlots > 1 && s.gates)
      for (int k = 0; k < kSlots; ++k) s.gates[(r * kSlots + k) * s.hidden + j] = v[k].v;
    s.h[state] = y.v;
    s.out[state] = y.v;
  }
}

constexpr int64_t kStretchRows = 8192;

template <class T, RnnMode kMode>
void forward(const KernelArgs& args) {
  constexpr int64_t kGates = rnn_gates(kMode), kSlots = rnn_slots(kMode);
  constexpr bool kLstm = kMode == RnnMode::kLstm;
  const TensorView &h0 = args.in[1], &w_ih = args.in[3], &w_hh = args.in[4], &b_ih = args.in[5], &b_hh = args.in[6];
  const int64_t hidden = w_hh.size(1), input = w_ih.size(1), joint = kGates * hidden;
  const RnnSteps steps(args.out[0], args.in[7], args.out[1].size(0), args.attrs<RnnAttrs>().reverse != 0);
  const int64_t batch = steps.batch;
  const Contiguous x(args.in[0]);
  T* const gates = kSlots > 1 && args.out[3].defined() ? args.out[3].ptr<T>() : nullptr;
  T* const cells = kLstm && args.out[4].defined() ? args.out[4].ptr<T>() : nullptr;
  copy_or_clear(args.out[1].ptr<T>(), batch, hidden, h0);
  if (kLstm) copy_or_clear(args.out[2].ptr<T>(), batch, hidden, args.in[2]);

  // Without gates to keep, a stretch of steps at a time goes through one buffer.
  const int64_t stretch = gates ? steps.steps : std::min(steps.steps, 1 + kStretchRows / std::max<int64_t>(1, batch));
  const int64_t pitch = gates ? kSlots * hidden : joint;
  const Scratch recurrent(static_cast<size_t>(batch * joint + 1) * sizeof(T));
  std::optional<Scratch> buffer;
  if (!gates) buffer.emplace(static_cast<size_t>(std::min(steps.rows, stretch * batch) * joint + 1) * sizeof(T));
  for (int64_t s0 = 0; s0 < steps.steps; s0 += stretch) {
    const int64_t s1 = std::min(steps.steps, s0 + stretch), ta = steps.time(s0), tb = steps.time(s1 - 1);
    const int64_t row0 = steps.offset(std::min(ta, tb)), last = std::max(ta, tb);
    const int64_t row1 = steps.offset(last) + steps.count(last);
    T* const sums = gates ? gates + row0 * pitch : buffer->template ptr<T>();  // of row0
    RnnOperand<T> bias{};
    if (b_ih.defined()) bias = {b_ih.ptr<T>(), 0, b_ih.stride(0)};
    rnn_product<T>(row1 - row0, joint, input, {x.ptr<T>() + row0 * input, input, 1}, transposed(rnn_operand<T>(w_ih)),
                   sums, pitch, bias);
    for (int64_t s = s0; s < s1; ++s) {
      const int64_t t = steps.time(s), n = steps.count(t), row = steps.offset(t);
      const bool zeros = s == 0 && !h0.defined();
      if (!zeros)
        rnn_product<T>(n, joint, hidden, {args.out[1].ptr<T>(), hidden, 1}, transposed(rnn_operand<T>(w_hh)),
                       recurrent.ptr<T>(), joint);
      Step<T> step{};
      step.sums = sums + (row - row0) * pitch;
      step.recurrent = zeros ? nullptr : recurrent.ptr<T>();
      if (b_hh.defined()) step.bias = b_hh.ptr<T>(), step.bias_step = b_hh.stride(0);
      step.h = args.out[1].ptr<T>();
      step.out = args.out[0].ptr<T>() + row * hidden;
      if (kLstm) step.c = args.out[2].ptr<T>();
      if (cells) step.cells = cells + row * hidden;
      if (gates) step.gates = gates + row * pitch;
      step.rows = n, step.hidden = hidden, step.pitch = pitch;
      FS_LAUNCH((rnn_step<T, kMode>), rnn_grid(n, hidden), kRnnThreads, 0, current_stream(), step);
    }
  }
}

}  // namespace

// in: x (T, B, I) or packed (N, I); h0 (B, H), c0 (B, H) or absent (zeros); w_ih (G H, I), w_hh (G H, H), b_ih, b_hh
// (G H) or absent; batch sizes (T) int64 on the host or absent. out: y (T, B, H) or (N, H); h_n, c_n (B, H); where
// `keep`: gates (N, slots H), cells (N, H). c0, c_n and cells: LSTM only; gates not for the plain RNN.
void rnn(const KernelArgs& args) {
  dispatch_rnn(args.out[0].dtype, args.attrs<RnnAttrs>().mode,
               [&]<class T, RnnMode kMode>() { forward<T, kMode>(args); });
}

}  // namespace fireseed::cuda

// ctc_loss: the forward-backward algorithm over labels with blanks between them, in double and in logarithms.
// Rarely used: a wheel has it as PTX.
#include <optional>

#include "device/contiguous.cuh"
#include "device/memory.cuh"
#include "device/reduce.cuh"
#include "tensor/attrs/loss.h"

namespace fireseed::cuda {
namespace {

// Note [CTC]
// A sample's paths go through 2 L + 1 states: its labels with blanks before, between and behind them. A block a
// sample walks along the time, all states of a moment at once: what the loss needs is two moments of the forward
// table. For the gradient the whole table is kept and walked back, which leaves in it the log-probability of all
// paths that stand in a state at a time. A second kernel, a block for each sample and time, adds up the states of
// each class: those of a label in the order of states by the thread of its first one, the blanks, which are half of
// all states, by the whole block.

constexpr int kCtcThreads = 128;

__device__ __forceinline__ double log_add(double a, double b) {
  const double top = a > b ? a : b, low = a > b ? b : a;
  if (top == -kInfinity<double>) return top;
  return top + ::log1p(::exp(low - top));
}

struct CtcArgs {
  const void* lp;  // (T, N, C)
  DType dtype;
  const int64_t *labels, *steps, *lengths;  // (N, S), (N), (N)
  int64_t time, batch, classes, longest, blank;
  double* table;  // (N, rows, 2 S + 1)
  int64_t rows;   // time, or 2 where only the last moments are needed
  double* loss;   // (N)

  __device__ __forceinline__ double log_prob(int64_t t, int64_t n, int64_t c) const {
    const int64_t at = (t * batch + n) * classes + c;
    if (dtype == DType::kFloat64) return load_number(lp, at, dtype, double{});
    return load_number(lp, at, dtype, float{});
  }
  __device__ __forceinline__ int64_t label(int64_t n, int64_t s) const {
    return s & 1 ? labels[n * longest + s / 2] : blank;
  }
  // May state s be reached from s - 2, over the blank?
  __device__ __forceinline__ bool skips(int64_t n, int64_t s) const {
    return s >= 2 && (s & 1) && label(n, s) != label(n, s - 2);
  }
  __device__ __forceinline__ double* moment(int64_t n, int64_t t) const {
    return table + (n * rows + t % rows) * (2 * longest + 1);
  }
};

// loss[n] = -log P(labels) of sample n = blockIdx.x. kBoth: table[n][t][s] = log-probability of the paths through s
// at t; `after` (N, 2, 2 S + 1) is room for the walk back.
template <bool kBoth>
__global__ void __launch_bounds__(kCtcThreads) walk_paths(const __grid_constant__ CtcArgs args, double* after) {
  const int64_t n = blockIdx.x, length = args.lengths[n], states = 2 * length + 1, steps = args.steps[n];
  if (steps == 0) {
    if (threadIdx.x == 0) args.loss[n] = length == 0 ? 0 : kInfinity<double>;
    return;
  }
  for (int64_t t = 0; t < steps; ++t) {
    double* now = args.moment(n, t);
    const double* before = t > 0 ? args.moment(n, t - 1) : nullptr;
    for (int64_t s = threadIdx.x; s < states; s += kCtcThreads) {
      double a = -kInfinity<double>;
      if (t == 0) {
        if (s < 2) a = 0;
      } else {
        a = before[s];
        if (s >= 1) a = log_add(a, before[s - 1]);
        if (args.skips(n, s)) a = log_add(a, before[s - 2]);
      }
      now[s] = a + args.log_prob(t, n, args.label(n, s));
    }
    __syncthreads();
  }
  if (threadIdx.x == 0) {
    const double* last = args.moment(n, steps - 1);
    args.loss[n] = -(states > 1 ? log_add(last[states - 1], last[states - 2]) : last[0]);
  }
  if constexpr (kBoth) {
    __syncthreads();
    double* const room = after + n * 2 * (2 * args.longest + 1);
    for (int64_t t = steps - 1; t >= 0; --t) {
      // beta: log-probability of the rest of the path from s at time t on, t included
      double* beta = room + t % 2 * (2 * args.longest + 1);
      const double* next = room + (t + 1) % 2 * (2 * args.longest + 1);
      double* now = args.moment(n, t);
      for (int64_t s = threadIdx.x; s < states; s += kCtcThreads) {
        double v = s >= states - 2 ? 0 : -kInfinity<double>;
        if (t < steps - 1) {
          v = next[s];
          if (s + 1 < states) v = log_add(v, next[s + 1]);
          if (s + 2 < states && args.skips(n, s + 2)) v = log_add(v, next[s + 2]);
        }
        beta[s] = v + args.log_prob(t, n, args.label(n, s));
        now[s] += beta[s];
      }
      __syncthreads();
    }
  }
}

__global__ void store_losses(const double* loss, void* out, DType dtype, int64_t n) {
  for (int64_t i = grid_thread(); i < n; i += grid_threads()) store_number(out, i, dtype, loss[i]);
}

// gx (T, N, C) = g (exp(lp) - posterior); a block for time blockIdx.x and sample blockIdx.y.
__global__ void __launch_bounds__(kCtcThreads)
    class_gradients(const __grid_constant__ CtcArgs args, const void* g, void* gx) {
  const int64_t t = blockIdx.x;
  for (int64_t n = blockIdx.y; n < args.batch; n += gridDim.y) {
    const int64_t states = 2 * args.lengths[n] + 1, base = (t * args.batch + n) * args.classes;
    const double loss = args.loss[n], scale = args.dtype == DType::kFloat64 ? load_number(g, n, args.dtype, double{})
                                                                            : load_number(g, n, args.dtype, float{});
    const bool none = t >= args.steps[n] || (scale == 0 && loss == kInfinity<double>);
    const auto put = [&](int64_t c, double sum) {
      const double x = args.log_prob(t, n, c);
      store_number(gx, base + c, args.dtype, none ? 0.0 : scale * (::exp(x) - ::exp(sum + loss - x)));
    };
    for (int64_t c = threadIdx.x; c < args.classes; c += kCtcThreads) put(c, -kInfinity<double>);
    __syncthreads();
    if (none) continue;
    const double* paths = args.moment(n, t);
    const int64_t* labels = args.labels + n * args.longest;
    for (int64_t s = 1 + 2 * static_cast<int64_t>(threadIdx.x); s < states; s += 2 * kCtcThreads) {
      const int64_t c = labels[s / 2];
      bool first = c != args.blank;
      for (int64_t k = 0; first && k < s / 2; ++k) first = labels[k] != c;
      if (!first) continue;
      double sum = paths[s];
      for (int64_t k = s + 2; k < states; k += 2)
        if (labels[k / 2] == c) sum = log_add(sum, paths[k]);
      put(c, sum);
    }
    double blanks = -kInfinity<double>;
    for (int64_t s = threadIdx.x; s < states; s += kCtcThreads)
      if (args.label(n, s) == args.blank) blanks = log_add(blanks, paths[s]);
    blanks = block_reduce<kCtcThreads>(blanks, [](double a, double b) { return log_add(a, b); });
    if (threadIdx.x == 0) put(args.blank, blanks);
    __syncthreads();
  }
}

// The arguments of a call, whose inputs from `first` on are log-probabilities, labels, input and label lengths.
struct CtcCall {
  Contiguous lp, labels, steps, lengths;
  CtcArgs args{};
  std::optional<Scratch> table, loss;
  CtcCall(const KernelArgs& call, int first, bool whole)
      : lp(call.in[first]), labels(call.in[first + 1]), steps(call.in[first + 2]), lengths(call.in[first + 3]) {
    const TensorView& x = call.in[first];
    args.lp = lp.ptr<void>();
    args.dtype = x.dtype;
    args.labels = labels.ptr<int64_t>();
    args.steps = steps.ptr<int64_t>();
    args.lengths = lengths.ptr<int64_t>();
    args.time = x.sizes[0];
    args.batch = x.sizes[1];
    args.classes = x.sizes[2];
    args.longest = call.in[first + 1].sizes[1];
    args.blank = call.attrs<CtcAttrs>().blank;
    args.rows = whole && args.time > 2 ? args.time : 2;
    table.emplace(static_cast<size_t>(args.batch * args.rows * (2 * args.longest + 1)) * sizeof(double));
    loss.emplace(static_cast<size_t>(args.batch) * sizeof(double));
    args.table = table->ptr<double>();
    args.loss = loss->ptr<double>();
  }
};

}  // namespace

// in: log_probs (T, N, C), labels (N, S), input lengths (N), label lengths (N). out: -log P(labels | log_probs) of
// each sample (Graves, Fernández, Gomez, Schmidhuber 2006).
void ctc_loss(const KernelArgs& args) {
  if (args.out[0].numel == 0) return;
  const CtcCall c(args, 0, false);
  const auto batch = static_cast<unsigned>(c.args.batch);
  FS_LAUNCH((walk_paths<false>), batch, kCtcThreads, 0, current_stream(), c.args, static_cast<double*>(nullptr));
  FS_LAUNCH(store_losses, grid_for(c.args.batch, 128, 1 << 16), 128, 0, current_stream(), c.args.loss,
            args.out[0].data, args.out[0].dtype, c.args.batch);
}

// in: g (N), then as ctc_loss. out: gx (T, N, C) = g (exp(lp) - posterior), for lp that come from log_softmax.
void ctc_loss_backward(const KernelArgs& args) {
  if (args.out[0].numel == 0) return;
  const CtcCall c(args, 1, true);
  const Contiguous g(args.in[0]);
  const Scratch after(static_cast<size_t>(c.args.batch * 2 * (2 * c.args.longest + 1)) * sizeof(double));
  const auto batch = static_cast<unsigned>(c.args.batch);
  FS_LAUNCH((walk_paths<true>), batch, kCtcThreads, 0, current_stream(), c.args, after.ptr<double>());
  const dim3 grid(static_cast<unsigned>(c.args.time), batch < 65535 ? batch : 65535);
  FS_LAUNCH(class_gradients, grid, kCtcThreads, 0, current_stream(), c.args, g.ptr<void>(), args.out[0].data);
}

}  // namespace fireseed::cuda

// ctc_loss: the forward-backward algorithm over labels with blanks between them, in double and in logarithms.
#include "cpu/contiguous.h"
#include "cpu/reduce.h"
#include "math/scalar.h"
#include "tensor/attrs/loss.h"

namespace fireseed::cpu::FS_ISA {
namespace {

FS_INLINE double log_add(double a, double b) {
  const double top = a > b ? a : b, low = a > b ? b : a;
  if (top == -kInfinity) return -kInfinity;
  return top + log1p(exp(Num<double>(low - top))).v;
}

// One sample: log-probabilities lp[t * step + c], labels [length].
template <class T>
struct Sample {
  const T* lp;
  int64_t step, steps, blank;
  const int64_t* labels;
  int64_t length;

  int64_t states() const { return 2 * length + 1; }
  int64_t label(int64_t s) const { return s & 1 ? labels[s / 2] : blank; }
  double at(int64_t t, int64_t s) const { return widen_from<double>(lp[t * step + label(s)]); }
  // May state s be reached from s - 2, over the blank?
  bool skips(int64_t s) const { return s >= 2 && (s & 1) && label(s) != label(s - 2); }

  // alpha[t * states + s]: log-probability of all paths that stand in s at time t. Gives -log P(labels).
  double forward(double* alpha) const {
    const int64_t n = states();
    if (steps == 0) return length == 0 ? 0 : kInfinity;
    for (int64_t s = 0; s < n; ++s) alpha[s] = s < 2 ? at(0, s) : -kInfinity;
    for (int64_t t = 1; t < steps; ++t) {
      const double* before = alpha + (t - 1) * n;
      for (int64_t s = 0; s < n; ++s) {
        double a = before[s];
        if (s >= 1) a = log_add(a, before[s - 1]);
        if (skips(s)) a = log_add(a, before[s - 2]);
        alpha[t * n + s] = a + at(t, s);
      }
    }
    const double* last = alpha + (steps - 1) * n;
    return -(n > 1 ? log_add(last[n - 1], last[n - 2]) : last[0]);
  }
};

// in: log_probs (T, N, C), labels (N, S), input lengths (N), label lengths (N).
template <class T>
Sample<T> sample_of(const T* lp, const int64_t* labels, const KernelArgs& args, int first, int64_t n) {
  const TensorView& x = args.in[first];
  return {lp + n * x.sizes[2],
          x.sizes[1] * x.sizes[2],
          args.in[first + 2].ptr<int64_t>()[n],
          args.attrs<CtcAttrs>().blank,
          labels + n * args.in[first + 1].sizes[1],
          args.in[first + 3].ptr<int64_t>()[n]};
}

}  // namespace

// out: -log P(labels | log_probs) of each sample (Graves, Fernández, Gomez, Schmidhuber 2006).
void ctc_loss(const KernelArgs& args) {
  const TensorView& in = args.in[0];
  const Contiguous<int64_t> labels(args.in[1]);
  dispatch_float(in.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const Contiguous<T> lp(in);
    T* loss = args.out[0].ptr<T>();
    parallel_for(in.sizes[1], 1, [&](int64_t b, int64_t e) {
      for (int64_t n = b; n < e; ++n) {
        const Sample<T> s = sample_of(lp.data(), labels.data(), args, 0, n);
        Scratch<double> alpha(larger(1, s.steps * s.states()));
        loss[n] = narrow_to<T>(s.forward(alpha.data()));
      }
    });
  });
}

// in: g (N), then as ctc_loss. out: gx (T, N, C) = g (exp(lp) - posterior), for lp that come from log_softmax.
void ctc_loss_backward(const KernelArgs& args) {
  const TensorView& in = args.in[1];
  const int64_t classes = in.sizes[2];
  const Contiguous<int64_t> labels(args.in[2]);
  dispatch_float(in.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const Contiguous<T> lp(in), grad(args.in[0]);
    T* gx = args.out[0].ptr<T>();
    parallel_for(in.sizes[1], 1, [&](int64_t b, int64_t e) {
      Scratch<double> sums(classes);
      double* sum = sums.data();
      for (int64_t n = b; n < e; ++n) {
        const Sample<T> s = sample_of(lp.data(), labels.data(), args, 1, n);
        const int64_t states = s.states();
        Scratch<double> table(larger(1, s.steps * states) + 2 * states);
        double *alpha = table.data(), *beta = alpha + larger(1, s.steps * states), *next = beta + states;
        const double loss = s.forward(alpha), g = widen_from<double>(grad.data()[n]);
        for (int64_t t = in.sizes[0] - 1; t >= 0; --t) {
          T* out = gx + t * s.step + n * classes;
          if (t >= s.steps || (g == 0 && loss == kInfinity)) {
            for (int64_t c = 0; c < classes; ++c) out[c] = narrow_to<T>(0);
            continue;
          }
          // beta: log-probability of the rest of the path from s at time t on, t included
          for (int64_t k = 0; k < states; ++k) {
            double v = -kInfinity;
            if (t == s.steps - 1) {
              v = k >= states - 2 ? 0 : -kInfinity;
            } else {
              v = next[k];
              if (k + 1 < states) v = log_add(v, next[k + 1]);
              if (k + 2 < states && s.skips(k + 2)) v = log_add(v, next[k + 2]);
            }
            beta[k] = v + s.at(t, k);
          }
          for (int64_t c = 0; c < classes; ++c) sum[c] = -kInfinity;
          for (int64_t k = 0; k < states; ++k) {
            double& v = sum[s.label(k)];
            v = log_add(v, alpha[t * states + k] + beta[k]);
          }
          const T* p = s.lp + t * s.step;
          for (int64_t c = 0; c < classes; ++c) {
            const double x = widen_from<double>(p[c]);
            const double posterior = exp(Num<double>(sum[c] + loss - x)).v;
            out[c] = narrow_to<T>(g * (exp(Num<double>(x)).v - posterior));
          }
          double* swap = beta;
          beta = next;
          next = swap;
        }
      }
    });
  });
}

}  // namespace fireseed::cpu::FS_ISA

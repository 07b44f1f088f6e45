// Steps of the common optimizers: SGD, Adam and AdamW, RMSprop, Adagrad, Adadelta, Lion.
#include "cpu/optim_driver.h"

namespace fireseed::cpu::FS_ISA {

namespace {

// What all rules share: the sign of the gradient and weight decay added to it.
struct Decay {
  double weight_decay = 0;
  bool maximize = false;
};
template <class V>
struct DecayLanes {
  V weight_decay;
  bool maximize, decay;
  explicit DecayLanes(const Decay& d)
      : weight_decay(d.weight_decay), maximize(d.maximize), decay(d.weight_decay != 0) {}
  FS_INLINE V operator()(V p, V g) const {
    if (maximize) g = -g;
    if (decay) g = fma(p, weight_decay, g);
    return g;
  }
};

struct Sgd {
  static constexpr int kStates = 1, kScalars = 0;
  static constexpr bool kHasStep = false;
  double step = 0, lr, momentum, dampening;
  Decay decay;
  bool has_momentum, first, nesterov;
  Sgd(const double* h, int64_t flags, double, const TensorView* const*)
      : lr(h[0]),
        momentum(h[1]),
        dampening(h[2]),
        decay{h[3], (flags & kMaximize) != 0},
        has_momentum(flags & kMomentum),
        first(flags & kFirstStep),
        nesterov(flags & kNesterov) {}
  bool uses(int) const { return has_momentum; }

  template <class V>
  struct Constants {
    DecayLanes<V> decay;
    V minus_lr, momentum, share;
    bool has_momentum, first, nesterov;
    explicit Constants(const Sgd& r)
        : decay(r.decay),
          minus_lr(-r.lr),
          momentum(r.momentum),
          share(1 - r.dampening),
          has_momentum(r.has_momentum),
          first(r.first),
          nesterov(r.nesterov) {}
    FS_INLINE void apply(V& p, V g, V* s) const {
      g = decay(p, g);
      if (has_momentum) {
        s[0] = first ? g : fma(g, share, s[0] * momentum);
        g = nesterov ? fma(s[0], momentum, g) : s[0];
      }
      p = fma(g, minus_lr, p);
    }
  };
};

struct Adam {
  static constexpr int kStates = 3, kScalars = 0;
  static constexpr bool kHasStep = true;
  double step, beta1, beta2, eps, step_size, root_correction, shrink;
  Decay decay;
  bool amsgrad, decoupled;
  Adam(const double* h, int64_t flags, double t, const TensorView* const*)
      : step(t),
        beta1(h[1]),
        beta2(h[2]),
        eps(h[3]),
        amsgrad(flags & kAmsgrad),
        decoupled((flags & kDecoupled) && h[4] != 0) {
    step_size = h[0] / (1 - __builtin_pow(beta1, t));
    root_correction = __builtin_sqrt(1 - __builtin_pow(beta2, t));
    shrink = 1 - h[0] * h[4];
    decay = {decoupled ? 0.0 : h[4], (flags & kMaximize) != 0};
  }
  bool uses(int k) const { return k < 2 || amsgrad; }

  template <class V>
  struct Constants {
    DecayLanes<V> decay;
    Lerp<V> mean;
    V beta2, share2, eps, minus_step, root_correction, shrink;
    bool amsgrad, decoupled;
    explicit Constants(const Adam& r)
        : decay(r.decay),
          mean(1 - r.beta1),
          beta2(r.beta2),
          share2(1 - r.beta2),
          eps(r.eps),
          minus_step(-r.step_size),
          root_correction(r.root_correction),
          shrink(r.shrink),
          amsgrad(r.amsgrad),
          decoupled(r.decoupled) {}
    FS_INLINE void apply(V& p, V g, V* s) const {
      g = decay(p, g);
      if (decoupled) p = p * shrink;
      s[0] = mean(s[0], g);
      s[1] = fma(share2 * g, g, s[1] * beta2);
      V second = s[1];
      if (amsgrad) second = s[2] = maximum(s[2], s[1]);
      const V denominator = sqrt(second) / root_correction + eps;
      p = p + minus_step * s[0] / denominator;
    }
  };
};

struct RmsProp {
  static constexpr int kStates = 3, kScalars = 0;
  static constexpr bool kHasStep = true;
  double step, lr, alpha, eps, momentum;
  Decay decay;
  bool centered, has_momentum;
  RmsProp(const double* h, int64_t flags, double t, const TensorView* const*)
      : step(t),
        lr(h[0]),
        alpha(h[1]),
        eps(h[2]),
        momentum(h[3]),
        decay{h[4], (flags & kMaximize) != 0},
        centered(flags & kCentered),
        has_momentum(flags & kMomentum) {}
  bool uses(int k) const { return k == 0 || (k == 1 ? centered : has_momentum); }

  template <class V>
  struct Constants {
    DecayLanes<V> decay;
    Lerp<V> mean;
    V minus_lr, alpha, share, eps, momentum;
    bool centered, has_momentum;
    explicit Constants(const RmsProp& r)
        : decay(r.decay),
          mean(1 - r.alpha),
          minus_lr(-r.lr),
          alpha(r.alpha),
          share(1 - r.alpha),
          eps(r.eps),
          momentum(r.momentum),
          centered(r.centered),
          has_momentum(r.has_momentum) {}
    FS_INLINE void apply(V& p, V g, V* s) const {
      g = decay(p, g);
      s[0] = fma(share * g, g, s[0] * alpha);
      V second = s[0];
      if (centered) {
        s[1] = mean(s[1], g);
        second = fma(-s[1], s[1], second);
      }
      const V root = sqrt(second) + eps;
      if (has_momentum) {
        s[2] = s[2] * momentum + g / root;
        p = fma(s[2], minus_lr, p);
      } else {
        p = p + minus_lr * g / root;
      }
    }
  };
};

struct Adagrad {
  static constexpr int kStates = 1, kScalars = 0;
  static constexpr bool kHasStep = true;
  double step, eps, rate;
  Decay decay;
  Adagrad(const double* h, int64_t flags, double t, const TensorView* const*)
      : step(t), eps(h[2]), rate(h[0] / (1 + (t - 1) * h[1])), decay{h[3], (flags & kMaximize) != 0} {}
  bool uses(int) const { return true; }

  template <class V>
  struct Constants {
    DecayLanes<V> decay;
    V eps, minus_rate;
    explicit Constants(const Adagrad& r) : decay(r.decay), eps(r.eps), minus_rate(-r.rate) {}
    FS_INLINE void apply(V& p, V g, V* s) const {
      g = decay(p, g);
      s[0] = fma(g, g, s[0]);
      p = p + minus_rate * g / (sqrt(s[0]) + eps);
    }
  };
};

struct Adadelta {
  static constexpr int kStates = 2, kScalars = 0;
  static constexpr bool kHasStep = true;
  double step, lr, rho, eps;
  Decay decay;
  Adadelta(const double* h, int64_t flags, double t, const TensorView* const*)
      : step(t), lr(h[0]), rho(h[1]), eps(h[2]), decay{h[3], (flags & kMaximize) != 0} {}
  bool uses(int) const { return true; }

  template <class V>
  struct Constants {
    DecayLanes<V> decay;
    V minus_lr, rho, share, eps;
    explicit Constants(const Adadelta& r)
        : decay(r.decay), minus_lr(-r.lr), rho(r.rho), share(1 - r.rho), eps(r.eps) {}
    FS_INLINE void apply(V& p, V g, V* s) const {
      g = decay(p, g);
      s[0] = fma(share * g, g, s[0] * rho);
      const V delta = sqrt(s[1] + eps) / sqrt(s[0] + eps) * g;
      s[1] = fma(share * delta, delta, s[1] * rho);
      p = fma(delta, minus_lr, p);
    }
  };
};

struct Lion {
  static constexpr int kStates = 1, kScalars = 0;
  static constexpr bool kHasStep = false;
  double step = 0, lr, beta1, beta2, shrink;
  bool maximize;
  Lion(const double* h, int64_t flags, double, const TensorView* const*)
      : lr(h[0]), beta1(h[1]), beta2(h[2]), shrink(1 - h[0] * h[3]), maximize(flags & kMaximize) {}
  bool uses(int) const { return true; }

  template <class V>
  struct Constants {
    V minus_lr, shrink;
    Lerp<V> update, mean;
    bool maximize;
    explicit Constants(const Lion& r)
        : minus_lr(-r.lr), shrink(r.shrink), update(1 - r.beta1), mean(1 - r.beta2), maximize(r.maximize) {}
    FS_INLINE void apply(V& p, V g, V* s) const {
      if (maximize) g = -g;
      const V direction = update(s[0], g), zero(0.0);
      const V sign = where(direction > zero, V(1.0), where(direction < zero, V(-1.0), direction));
      p = fma(sign, minus_lr, p * shrink);
      s[0] = mean(s[0], g);
    }
  };
};

}  // namespace

// Hyperparameters lr, momentum, dampening, weight_decay; state momentum_buffer (kMomentum), which kFirstStep sets.
void sgd_step(const KernelArgs& args) { run_rule<Sgd>(args); }

// lr, beta1, beta2, eps, weight_decay; states exp_avg, exp_avg_sq, max_exp_avg_sq (kAmsgrad). AdamW: kDecoupled.
void adam_step(const KernelArgs& args) { run_rule<Adam>(args); }

// lr, alpha, eps, momentum, weight_decay; states square_avg, grad_avg (kCentered), momentum_buffer (kMomentum).
void rmsprop_step(const KernelArgs& args) { run_rule<RmsProp>(args); }

// lr, lr_decay, eps, weight_decay; state sum.
void adagrad_step(const KernelArgs& args) { run_rule<Adagrad>(args); }

// lr, rho, eps, weight_decay; states square_avg, acc_delta.
void adadelta_step(const KernelArgs& args) { run_rule<Adadelta>(args); }

// lr, beta1, beta2, weight_decay; state exp_avg (Chen et al. 2023, "Symbolic Discovery of Optimization Algorithms").
void lion_step(const KernelArgs& args) { run_rule<Lion>(args); }

}  // namespace fireseed::cpu::FS_ISA

// Update rules of the common optimizers, for every device: SGD, Adam and AdamW, RMSprop, Adagrad, Adadelta, Lion.
#pragma once

#include "math/num.h"
#include "tensor/attrs/optim.h"
#include "tensor/view.h"

namespace fireseed {
inline namespace FS_MATH_NAMESPACE {

// Note [Update rules]
// A Rule is what one tensor's step needs, already computed: Rule(hyperparameters, flags, step, scalars), with
// `scalars` pointing to the tensor's kScalars 0-dim states, which it may rewrite. Rule::Constants<V> broadcasts it
// and applies it: apply(V& p, V g, V* states). The order of operations and the fused multiply-adds are those of
// PyTorch's single-tensor optimizers, so that float32 results agree to the last bit but for rare ties.
inline constexpr int kMaxStates = 4, kMaxNumbers = 2;

// A 0-dim float32 or float64 state.
struct Number {
  void* data = nullptr;
  bool wide = false;  // float64
  FS_HD double get() const {
    return wide ? *static_cast<double*>(data) : static_cast<double>(*static_cast<float*>(data));
  }
  FS_HD void set(double x) const {
    if (wide) *static_cast<double*>(data) = x;
    else *static_cast<float*>(data) = static_cast<float>(x);
  }
  FS_HD void multiply(double x) const {  // in its own precision
    if (wide) *static_cast<double*>(data) *= x;
    else *static_cast<float*>(data) *= static_cast<float>(x);
  }
};
inline Number number_of(const TensorView& v) { return {v.data, v.dtype == DType::kFloat64}; }

// start + weight * (end - start), computed from the nearer end (torch.lerp).
template <class V>
struct MovingMean {
  V weight, coefficient;
  bool from_start;
  FS_FN explicit MovingMean(double w) : weight(w), coefficient(w), from_start((w < 0 ? -w : w) < 0.5) {
    if (!from_start) coefficient = weight - V(1.0);
  }
  FS_FN V operator()(V start, V end) const { return fma(coefficient, end - start, from_start ? start : end); }
};

// The gradient with its sign and, where `weight_decay` is not 0, weight decay added.
template <class V>
struct Gradient {
  V weight_decay;
  bool maximize, decay;
  FS_FN Gradient(double w, bool negate) : weight_decay(w), maximize(negate), decay(w != 0) {}
  FS_FN V operator()(V p, V g) const {
    if (maximize) g = -g;
    if (decay) g = fma(p, weight_decay, g);
    return g;
  }
};

struct Sgd {
  static constexpr int kStates = 1, kScalars = 0;
  static constexpr bool kHasStep = false;
  double step = 0, lr, momentum, dampening, weight_decay;
  bool maximize, has_momentum, first, nesterov;
  FS_HD Sgd(const double* h, int64_t flags, double, const Number*)
      : lr(h[0]),
        momentum(h[1]),
        dampening(h[2]),
        weight_decay(h[3]),
        maximize(flags & kMaximize),
        has_momentum(flags & kMomentum),
        first(flags & kFirstStep),
        nesterov(flags & kNesterov) {}
  FS_HD bool uses(int) const { return has_momentum; }

  template <class V>
  struct Constants {
    Gradient<V> gradient;
    V minus_lr, momentum, share;
    bool has_momentum, first, nesterov;
    FS_FN explicit Constants(const Sgd& r)
        : gradient(r.weight_decay, r.maximize),
          minus_lr(-r.lr),
          momentum(r.momentum),
          share(1 - r.dampening),
          has_momentum(r.has_momentum),
          first(r.first),
          nesterov(r.nesterov) {}
    FS_FN void apply(V& p, V g, V* s) const {
      g = gradient(p, g);
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
  double step, beta1, beta2, eps, step_size, root_correction, shrink, weight_decay;
  bool maximize, amsgrad, decoupled;
  FS_HD Adam(const double* h, int64_t flags, double t, const Number*)
      : step(t),
        beta1(h[1]),
        beta2(h[2]),
        eps(h[3]),
        amsgrad(flags & kAmsgrad),
        decoupled((flags & kDecoupled) && h[4] != 0) {
    step_size = h[0] / (1 - ::pow(beta1, t));
    root_correction = ::sqrt(1 - ::pow(beta2, t));
    shrink = 1 - h[0] * h[4];
    weight_decay = decoupled ? 0.0 : h[4];
    maximize = flags & kMaximize;
  }
  FS_HD bool uses(int k) const { return k < 2 || amsgrad; }

  template <class V>
  struct Constants {
    Gradient<V> gradient;
    MovingMean<V> mean;
    V beta2, share2, eps, minus_step, root_correction, shrink;
    bool amsgrad, decoupled;
    FS_FN explicit Constants(const Adam& r)
        : gradient(r.weight_decay, r.maximize),
          mean(1 - r.beta1),
          beta2(r.beta2),
          share2(1 - r.beta2),
          eps(r.eps),
          minus_step(-r.step_size),
          root_correction(r.root_correction),
          shrink(r.shrink),
          amsgrad(r.amsgrad),
          decoupled(r.decoupled) {}
    FS_FN void apply(V& p, V g, V* s) const {
      g = gradient(p, g);
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
  double step, lr, alpha, eps, momentum, weight_decay;
  bool maximize, centered, has_momentum;
  FS_HD RmsProp(const double* h, int64_t flags, double t, const Number*)
      : step(t),
        lr(h[0]),
        alpha(h[1]),
        eps(h[2]),
        momentum(h[3]),
        weight_decay(h[4]),
        maximize(flags & kMaximize),
        centered(flags & kCentered),
        has_momentum(flags & kMomentum) {}
  FS_HD bool uses(int k) const { return k == 0 || (k == 1 ? centered : has_momentum); }

  template <class V>
  struct Constants {
    Gradient<V> gradient;
    MovingMean<V> mean;
    V minus_lr, alpha, share, eps, momentum;
    bool centered, has_momentum;
    FS_FN explicit Constants(const RmsProp& r)
        : gradient(r.weight_decay, r.maximize),
          mean(1 - r.alpha),
          minus_lr(-r.lr),
          alpha(r.alpha),
          share(1 - r.alpha),
          eps(r.eps),
          momentum(r.momentum),
          centered(r.centered),
          has_momentum(r.has_momentum) {}
    FS_FN void apply(V& p, V g, V* s) const {
      g = gradient(p, g);
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
  double step, eps, rate, weight_decay;
  bool maximize;
  FS_HD Adagrad(const double* h, int64_t flags, double t, const Number*)
      : step(t), eps(h[2]), rate(h[0] / (1 + (t - 1) * h[1])), weight_decay(h[3]), maximize(flags & kMaximize) {}
  FS_HD bool uses(int) const { return true; }

  template <class V>
  struct Constants {
    Gradient<V> gradient;
    V eps, minus_rate;
    FS_FN explicit Constants(const Adagrad& r)
        : gradient(r.weight_decay, r.maximize), eps(r.eps), minus_rate(-r.rate) {}
    FS_FN void apply(V& p, V g, V* s) const {
      g = gradient(p, g);
      s[0] = fma(g, g, s[0]);
      p = p + minus_rate * g / (sqrt(s[0]) + eps);
    }
  };
};

struct Adadelta {
  static constexpr int kStates = 2, kScalars = 0;
  static constexpr bool kHasStep = true;
  double step, lr, rho, eps, weight_decay;
  bool maximize;
  FS_HD Adadelta(const double* h, int64_t flags, double t, const Number*)
      : step(t), lr(h[0]), rho(h[1]), eps(h[2]), weight_decay(h[3]), maximize(flags & kMaximize) {}
  FS_HD bool uses(int) const { return true; }

  template <class V>
  struct Constants {
    Gradient<V> gradient;
    V minus_lr, rho, share, eps;
    FS_FN explicit Constants(const Adadelta& r)
        : gradient(r.weight_decay, r.maximize), minus_lr(-r.lr), rho(r.rho), share(1 - r.rho), eps(r.eps) {}
    FS_FN void apply(V& p, V g, V* s) const {
      g = gradient(p, g);
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
  FS_HD Lion(const double* h, int64_t flags, double, const Number*)
      : lr(h[0]), beta1(h[1]), beta2(h[2]), shrink(1 - h[0] * h[3]), maximize(flags & kMaximize) {}
  FS_HD bool uses(int) const { return true; }

  template <class V>
  struct Constants {
    V minus_lr, shrink;
    MovingMean<V> update, mean;
    bool maximize;
    FS_FN explicit Constants(const Lion& r)
        : minus_lr(-r.lr), shrink(r.shrink), update(1 - r.beta1), mean(1 - r.beta2), maximize(r.maximize) {}
    FS_FN void apply(V& p, V g, V* s) const {
      if (maximize) g = -g;
      const V direction = update(s[0], g), zero(0.0);
      const V sign = where(direction > zero, V(1.0), where(direction < zero, V(-1.0), direction));
      p = fma(sign, minus_lr, p * shrink);
      s[0] = mean(s[0], g);
    }
  };
};

}  // namespace FS_MATH_NAMESPACE
}  // namespace fireseed

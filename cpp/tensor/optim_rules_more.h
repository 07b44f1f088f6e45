// Update rules of the less common optimizers: NAdam, RAdam, Adamax, ASGD, Rprop, FTRL.
#pragma once

#include "tensor/optim_rules.h"

namespace fireseed {
inline namespace FS_MATH_NAMESPACE {

// Dozat 2016. The running product of the momentum schedule is the tensor's 0-dim state.
struct NAdam {
  static constexpr int kStates = 2, kScalars = 1;
  static constexpr bool kHasStep = true;
  double step, beta1, beta2, eps, correction2, gradient_rate, mean_rate, decay, shrink;
  bool maximize, decoupled;
  FS_HD NAdam(const double* h, int64_t flags, double t, const Number* scalars)
      : step(t),
        beta1(h[1]),
        beta2(h[2]),
        eps(h[3]),
        maximize(flags & kMaximize),
        decoupled((flags & kDecoupled) && h[4] != 0) {
    const double lr = h[0], momentum_decay = h[5];
    const double mu = beta1 * (1.0 - 0.5 * ::pow(0.96, t * momentum_decay));
    const double mu_next = beta1 * (1.0 - 0.5 * ::pow(0.96, (t + 1) * momentum_decay));
    scalars[0].multiply(mu);
    const double so_far = scalars[0].get();
    correction2 = 1 - ::pow(beta2, t);
    gradient_rate = -lr * (1.0 - mu) / (1.0 - so_far);
    mean_rate = -lr * mu_next / (1.0 - so_far * mu_next);
    decay = decoupled ? 0.0 : h[4];
    shrink = 1 - lr * h[4];
  }
  FS_HD bool uses(int) const { return true; }

  template <class V>
  struct Constants {
    Gradient<V> gradient;
    MovingMean<V> mean;
    V beta2, share2, eps, correction2, gradient_rate, mean_rate, shrink;
    bool decoupled;
    FS_FN explicit Constants(const NAdam& r)
        : gradient(r.decay, r.maximize),
          mean(1 - r.beta1),
          beta2(r.beta2),
          share2(1 - r.beta2),
          eps(r.eps),
          correction2(r.correction2),
          gradient_rate(r.gradient_rate),
          mean_rate(r.mean_rate),
          shrink(r.shrink),
          decoupled(r.decoupled) {}
    FS_FN void apply(V& p, V g, V* s) const {
      g = gradient(p, g);
      if (decoupled) p = p * shrink;
      s[0] = mean(s[0], g);
      s[1] = fma(share2 * g, g, s[1] * beta2);
      const V denominator = sqrt(s[1] / correction2) + eps;
      p = p + gradient_rate * g / denominator;
      p = p + mean_rate * s[0] / denominator;
    }
  };
};

// Liu et al. 2019: Adam, rectified; plain momentum while the variance of the second moment is intractable.
struct RAdam {
  static constexpr int kStates = 2, kScalars = 0;
  static constexpr bool kHasStep = true;
  double step, lr, beta1, beta2, eps, correction1, root2, rectifier, decay, shrink;
  bool maximize, decoupled, rectified;
  FS_HD RAdam(const double* h, int64_t flags, double t, const Number*)
      : step(t),
        lr(h[0]),
        beta1(h[1]),
        beta2(h[2]),
        eps(h[3]),
        rectifier(1),
        maximize(flags & kMaximize),
        decoupled((flags & kDecoupled) && h[4] != 0) {
    const double power = ::pow(beta2, t), correction2 = 1 - power;
    correction1 = 1 - ::pow(beta1, t);
    root2 = ::sqrt(correction2);
    const double limit = 2 / (1 - beta2) - 1, rho = limit - 2 * t * power / correction2;
    rectified = rho > 5.0;
    if (rectified) rectifier = ::sqrt((rho - 4) * (rho - 2) * limit / ((limit - 4) * (limit - 2) * rho));
    decay = decoupled ? 0.0 : h[4];
    shrink = 1 - lr * h[4];
  }
  FS_HD bool uses(int) const { return true; }

  template <class V>
  struct Constants {
    Gradient<V> gradient;
    MovingMean<V> mean;
    V lr, beta2, share2, eps, correction1, root2, rectifier, shrink;
    bool decoupled, rectified;
    FS_FN explicit Constants(const RAdam& r)
        : gradient(r.decay, r.maximize),
          mean(1 - r.beta1),
          lr(r.lr),
          beta2(r.beta2),
          share2(1 - r.beta2),
          eps(r.eps),
          correction1(r.correction1),
          root2(r.root2),
          rectifier(r.rectifier),
          shrink(r.shrink),
          decoupled(r.decoupled),
          rectified(r.rectified) {}
    FS_FN void apply(V& p, V g, V* s) const {
      g = gradient(p, g);
      if (decoupled) p = p * shrink;
      s[0] = mean(s[0], g);
      s[1] = fma(share2 * g, g, s[1] * beta2);
      V update = s[0] / correction1 * lr;
      if (rectified) update = update * (V(1.0) / (sqrt(s[1]) + eps) * root2) * rectifier;
      p = p - update;
    }
  };
};

// Kingma and Ba 2015, section 7.1.
struct Adamax {
  static constexpr int kStates = 2, kScalars = 0;
  static constexpr bool kHasStep = true;
  double step, beta1, beta2, eps, rate, decay;
  bool maximize;
  FS_HD Adamax(const double* h, int64_t flags, double t, const Number*)
      : step(t),
        beta1(h[1]),
        beta2(h[2]),
        eps(h[3]),
        rate(h[0] / (1 - ::pow(h[1], t))),
        decay(h[4]),
        maximize(flags & kMaximize) {}
  FS_HD bool uses(int) const { return true; }

  template <class V>
  struct Constants {
    Gradient<V> gradient;
    MovingMean<V> mean;
    V beta2, eps, minus_rate;
    FS_FN explicit Constants(const Adamax& r)
        : gradient(r.decay, r.maximize), mean(1 - r.beta1), beta2(r.beta2), eps(r.eps), minus_rate(-r.rate) {}
    FS_FN void apply(V& p, V g, V* s) const {
      g = gradient(p, g);
      s[0] = mean(s[0], g);
      s[1] = maximum(s[1] * beta2, abs(g) + eps);
      p = p + minus_rate * s[0] / s[1];
    }
  };
};

// Polyak and Juditsky 1992: gradient descent with an average of the iterates. 0-dim states: eta, mu.
struct Asgd {
  static constexpr int kStates = 1, kScalars = 2;
  static constexpr bool kHasStep = true;
  double step, minus_eta, shrink, mu, decay;
  bool maximize;
  FS_HD Asgd(const double* h, int64_t flags, double t, const Number* scalars)
      : step(t), decay(h[4]), maximize(flags & kMaximize) {
    const double lr = h[0], lambd = h[1], alpha = h[2], t0 = h[3];
    minus_eta = -scalars[0].get();
    shrink = 1 + lambd * minus_eta;
    mu = scalars[1].get();
    scalars[0].set(lr / ::pow(1 + lambd * lr * t, alpha));
    scalars[1].set(1 / (t - t0 > 1 ? t - t0 : 1.0));
  }
  FS_HD bool uses(int) const { return true; }

  template <class V>
  struct Constants {
    Gradient<V> gradient;
    V minus_eta, shrink, mu;
    bool copies;
    FS_FN explicit Constants(const Asgd& r)
        : gradient(r.decay, r.maximize), minus_eta(r.minus_eta), shrink(r.shrink), mu(r.mu), copies(r.mu == 1) {}
    FS_FN void apply(V& p, V g, V* s) const {
      g = gradient(p, g);
      p = fma(g, minus_eta, p * shrink);
      s[0] = copies ? p : s[0] + (p - s[0]) * mu;
    }
  };
};

// Riedmiller and Braun 1993; states: the last gradient and the step sizes.
struct Rprop {
  static constexpr int kStates = 2, kScalars = 0;
  static constexpr bool kHasStep = true;
  double step, smaller, larger, least, most;
  bool maximize;
  FS_HD Rprop(const double* h, int64_t flags, double t, const Number*)
      : step(t), smaller(h[0]), larger(h[1]), least(h[2]), most(h[3]), maximize(flags & kMaximize) {}
  FS_HD bool uses(int) const { return true; }

  template <class V>
  struct Constants {
    V smaller, larger, least, most, zero, one;
    bool maximize;
    FS_FN explicit Constants(const Rprop& r)
        : smaller(r.smaller),
          larger(r.larger),
          least(r.least),
          most(r.most),
          zero(0.0),
          one(1.0),
          maximize(r.maximize) {}
    FS_FN void apply(V& p, V g, V* s) const {
      if (maximize) g = -g;
      const V agreement = g * s[0];
      const auto turned = agreement < zero;
      const V factor =
          where(agreement > zero, larger, where(turned, smaller, where(agreement == zero, one, agreement)));
      V size = s[1] * factor;
      size = where(size < least, least, where(size > most, most, size));
      s[1] = size;
      g = where(turned, zero, g);
      const V minus_sign = where(g > zero, -one, where(g < zero, one, where(g == zero, zero, g)));
      p = fma(minus_sign, size, p);
      s[0] = g;
    }
  };
};

// McMahan et al. 2013 ("Ad Click Prediction"), with the options that Keras documents; states: the squared-gradient
// accumulator n and the linear term z. lr_power = -1/2 is the paper's schedule.
struct Ftrl {
  static constexpr int kStates = 2, kScalars = 0;
  static constexpr bool kHasStep = false;
  double step = 0, lr, power, l1, l2, shrinkage, decay;
  bool maximize;
  FS_HD Ftrl(const double* h, int64_t flags, double, const Number*)
      : lr(h[0]),
        power(-h[1]),
        l1(h[2]),
        l2(h[3] + h[5] / (2 * h[0])),
        shrinkage(h[4]),
        decay(h[6]),
        maximize(flags & kMaximize) {}
  FS_HD bool uses(int) const { return true; }

  template <class V>
  struct Constants {
    Gradient<V> gradient;
    V inverse_lr, l1, two_l2, two_shrinkage;
    double power;
    FS_FN explicit Constants(const Ftrl& r)
        : gradient(r.decay, r.maximize),
          inverse_lr(1 / r.lr),
          l1(r.l1),
          two_l2(2 * r.l2),
          two_shrinkage(2 * r.shrinkage),
          power(r.power) {}
    FS_FN V raised(V x) const {
      if (power == 0.5) return sqrt(x);
      const auto raise = [this](auto v) { return static_cast<decltype(v)>(::pow(static_cast<double>(v), power)); };
      if constexpr (V::kSize == 1) x.v = raise(x.v);
      else
        for (int i = 0; i < V::kSize; ++i) x.v[i] = raise(typename V::Scalar(x.v[i]));
      return x;
    }
    FS_FN void apply(V& p, V g, V* s) const {
      g = gradient(p, g);
      const V before = raised(s[0]);
      s[0] = fma(g, g, s[0]);
      const V after = raised(s[0]);
      s[1] = s[1] + fma(two_shrinkage, p, g) - (after - before) * inverse_lr * p;
      const V clipped = min(max(s[1], -l1), l1);
      p = (clipped - s[1]) / fma(after, inverse_lr, two_l2);
    }
  };
};

}  // namespace FS_MATH_NAMESPACE
}  // namespace fireseed

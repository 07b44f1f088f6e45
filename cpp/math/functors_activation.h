// Functors of the activation functions; gradients at the kinks are PyTorch's.
#pragma once

#include "math/functor.h"

namespace fireseed {
inline namespace FS_MATH_NAMESPACE {

FS_FUNCTOR1(Relu, kSaveOut, where(x <= 0.0, 0.0, x), where(y <= 0.0, 0.0, g))
FS_FUNCTOR1(Sigmoid, kSaveOut, sigmoid(x), g * ((1.0 - y) * y))

// min(max(x, low), high); no gradient at the bounds themselves. relu6 is low = 0, high = 6.
struct Hardtanh {
  double low = -1.0, high = 1.0;
  static constexpr int kSaves = kSave0;
  template <class V>
  FS_FN V forward(V x) const {
    return where(x < low, low, where(x > high, high, x));
  }
  template <class V>
  FS_FN V grad(V g, V x, V) const {
    return where((x <= low) | (x >= high), 0.0, g);
  }
};
struct LeakyRelu {
  double slope = 0.01;
  FS_FUNCTOR1_BODY(kSave0, where(x > 0.0, x, x* slope), where(x > 0.0, g, g* slope))
};
// scale * x for x > 0, scale * alpha * (exp(rate * x) - 1) below: elu, selu (Klambauer et al. 2017), celu (rate =
// 1/alpha).
struct Elu {
  double alpha = 1.0, scale = 1.0, rate = 1.0;
  FS_FUNCTOR1_BODY(kSave0, where(x <= 0.0, expm1(x* rate) * (alpha * scale), x* scale),
                   where(x <= 0.0, g* exp(x* rate) * (alpha * scale * rate), g* scale))
};
// x Phi(x) (Hendrycks and Gimpel 2016).
struct Gelu {
  static constexpr int kSaves = kSave0;
  template <class V>
  FS_FN V forward(V x) const {
    return x * ndtr(x);
  }
  template <class V>
  FS_FN V grad(V g, V x, V) const {
    return g * (ndtr(x) + x * exp(x * x * -0.5) * 0.398942280401432677940);
  }
};
// Its tanh approximation: x (1 + tanh u) / 2 = x sigmoid(2u), u = sqrt(2/pi) (x + 0.044715 x^3).
struct GeluTanh {
  static constexpr int kSaves = kSave0;
  static constexpr double kTwoRoot = 1.59576912160573071176;  // 2 sqrt(2/pi)
  template <class V>
  FS_FN V forward(V x) const {
    return x * sigmoid(x * (x * x * (kTwoRoot * 0.044715) + kTwoRoot));
  }
  template <class V>
  FS_FN V grad(V g, V x, V) const {
    const V z = x * x;
    const V s = sigmoid(x * (z * (kTwoRoot * 0.044715) + kTwoRoot));
    return g * (s + x * (s * (1.0 - s)) * (z * (kTwoRoot * 3.0 * 0.044715) + kTwoRoot));
  }
};
// x sigmoid(x).
struct Silu {
  static constexpr int kSaves = kSave0;
  template <class V>
  FS_FN V forward(V x) const {
    return x / (exp_minus(x) + 1.0);
  }
  template <class V>
  FS_FN V grad(V g, V x, V) const {
    const V s = sigmoid(x);
    return g * (s * (x * (1.0 - s) + 1.0));
  }
};
// x tanh(softplus(x)) (Misra 2019): tanh(log(1 + e)) = n / (n + 2), n = e (e + 2), e = exp(x).
struct Mish {
  static constexpr int kSaves = kSave0;
  template <class V>
  FS_FN V forward(V x) const {
    const V e = exp(minimum(x, 20.0)), n = e * (e + 2.0);
    return x * (n / (n + 2.0));
  }
  template <class V>
  FS_FN V grad(V g, V x, V) const {
    const V e = exp(minimum(x, 20.0)), n = e * (e + 2.0);
    const V t = n / (n + 2.0);
    return g * (t + x * sigmoid(x) * (1.0 - t * t));
  }
};
struct Hardswish {
  static constexpr int kSaves = kSave0;
  template <class V>
  FS_FN V forward(V x) const {
    return where(x <= -3.0, x * 0.0, where(x >= 3.0, x, x * (x + 3.0) / 6.0));
  }
  template <class V>
  FS_FN V grad(V g, V x, V) const {
    return where(x <= -3.0, 0.0, where(x < 3.0, g * (x / 3.0 + 0.5), g));
  }
};
FS_FUNCTOR1(Hardsigmoid, kSave0, where(x <= -3.0, 0.0, where(x >= 3.0, 1.0, (x + 3.0) / 6.0)),
            where((x > -3.0) & (x < 3.0), g / 6.0, 0.0))
struct Hardshrink {
  double lambd = 0.5;
  FS_FUNCTOR1_BODY(kSave0, where((x >= -lambd) & (x <= lambd), 0.0, x), where((x >= -lambd) & (x <= lambd), 0.0, g))
};
struct Softshrink {
  double lambd = 0.5;
  FS_FUNCTOR1_BODY(kSave0, where(x > lambd, x - lambd, where(x < -lambd, x + lambd, x * 0.0)),
                   where((x >= -lambd) & (x <= lambd), 0.0, g))
};
// x - tanh(x).
struct Tanhshrink {
  static constexpr int kSaves = kSave0;
  template <class V>
  FS_FN V forward(V x) const {
    return x - tanh(x);
  }
  template <class V>
  FS_FN V grad(V g, V x, V) const {
    const V t = tanh(x);
    return g * (t * t);
  }
};
// log(1 + exp(beta x)) / beta; x itself where beta x > threshold.
struct Softplus {
  double beta = 1.0, threshold = 20.0;
  static constexpr int kSaves = kSave0;
  template <class V>
  FS_FN V forward(V x) const {
    const V t = x * beta;
    return where(t > threshold, x, (maximum(t, 0.0) + log1p_unit(exp_minus(abs(t)))) * (1.0 / beta));
  }
  template <class V>
  FS_FN V grad(V g, V x, V) const {
    const V t = x * beta;
    return where(t > threshold, g, g * sigmoid(t));
  }
};
FS_FUNCTOR1(Softsign, kSave0, x / (abs(x) + 1.0), g / square(abs(x) + 1.0))
// log(sigmoid(x)) = min(x, 0) - log(1 + exp(-|x|)).
FS_FUNCTOR1(LogSigmoid, kSave0, minimum(x, 0.0) - log1p_unit(exp_minus(abs(x))), g* sigmoid(-x))
struct Threshold {
  double threshold = 0.0, value = 0.0;
  FS_FUNCTOR1_BODY(kSave0, where(x <= threshold, value, x), where(x <= threshold, 0.0, g))
};

}  // namespace FS_MATH_NAMESPACE
}  // namespace fireseed

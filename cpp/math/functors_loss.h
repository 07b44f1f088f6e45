// Functors of the elementwise losses: x = prediction, y = target, unreduced.
#pragma once

#include "math/functors_binary.h"

namespace fireseed {
inline namespace FS_MATH_NAMESPACE {

FS_FUNCTOR2(MseLoss, kSave0 | kSave1, square(x - y), g*((x - y) * 2.0), g*((y - x) * 2.0))
FS_FUNCTOR2(L1Loss, kSave0 | kSave1, abs(x - y), g* sign(x - y), g* sign(y - x))
// d^2 / (2 beta) for |d| < beta, else |d| - beta / 2 (beta > 0).
struct SmoothL1Loss {
  double beta = 1.0;
  static constexpr int kSaves = kSave0 | kSave1;
  template <class V>
  FS_FN V forward(V x, V y) const {
    const V d = abs(x - y);
    return where(d < beta, d * d * (0.5 / beta), d - 0.5 * beta);
  }
  template <class V>
  FS_FN V grad_x(V g, V x, V y, V) const {
    const V d = x - y;
    return g * where(d <= -beta, -1.0, where(d >= beta, 1.0, d / beta));
  }
  template <class V>
  FS_FN V grad_y(V g, V x, V y, V z) const {
    return -grad_x(g, x, y, z);
  }
};
// d^2 / 2 for |d| <= delta, else delta (|d| - delta / 2) (Huber 1964).
struct HuberLoss {
  double delta = 1.0;
  static constexpr int kSaves = kSave0 | kSave1;
  template <class V>
  FS_FN V forward(V x, V y) const {
    const V d = abs(x - y);
    return where(d <= delta, d * d * 0.5, (d - 0.5 * delta) * delta);
  }
  template <class V>
  FS_FN V grad_x(V g, V x, V y, V) const {
    const V d = x - y;
    return g * where(d <= -delta, -delta, where(d >= delta, delta, d));
  }
  template <class V>
  FS_FN V grad_y(V g, V x, V y, V z) const {
    return -grad_x(g, x, y, z);
  }
};
// -(y log x + (1 - y) log(1 - x)), the logarithms not below -100.
struct BceLoss {
  static constexpr int kSaves = kSave0 | kSave1;
  template <class V>
  FS_FN V forward(V x, V y) const {
    return (y - 1.0) * maximum(log1p(-x), -100.0) - y * maximum(log(x), -100.0);
  }
  template <class V>
  FS_FN V grad_x(V g, V x, V y, V) const {
    return g * (x - y) / maximum((1.0 - x) * x, 1e-12);
  }
  template <class V>
  FS_FN V grad_y(V g, V x, V, V) const {
    return g * (maximum(log1p(-x), -100.0) - maximum(log(x), -100.0));
  }
};
// The same of sigmoid(x): max(x, 0) - x y + log(1 + exp(-|x|)).
FS_FUNCTOR2(BceWithLogitsLoss, kSave0 | kSave1, maximum(x, 0.0) - x * y + log1p_unit(exp_minus(abs(x))),
            g*(sigmoid(x) - y), -(g* x))
// log(1 + exp(-y x)), y = ±1.
FS_FUNCTOR2(SoftMarginLoss, kSave0 | kSave1, maximum(-(y* x), 0.0) + log1p_unit(exp_minus(abs(y * x))),
            -(g*(y* sigmoid(-(y* x)))), -(g*(x* sigmoid(-(y* x)))))
// y (log y - x), 0 where y = 0; and with y itself in logs.
FS_FUNCTOR2(KlDiv, kSave0 | kSave1, where(y == 0.0, 0.0, y* log(y)) - y * x, -(g* y),
            where(y > 0.0, g*(log(y) + 1.0 - x), -(g* x)))
FS_FUNCTOR2(KlDivLog, kSave0 | kSave1, exp(y) * (y - x), -(g* exp(y)), g*(exp(y) * (y - x + 1.0)))

}  // namespace FS_MATH_NAMESPACE
}  // namespace fireseed

// One step of the recurrent layers and its gradient, for SIMD registers and numbers: what is done with the sums that
// the matrix products gave.
#pragma once

#include "math/exp_log.h"

namespace fireseed {
inline namespace FS_MATH_NAMESPACE {

// v: the sums of the gates i, f, u, o; becomes the gates. c: the cell; becomes the new one. Returns the new state.
// (Hochreiter and Schmidhuber 1997)
template <class V>
FS_FN V lstm_step(V (&v)[4], V& c) {
  v[0] = sigmoid(v[0]), v[1] = sigmoid(v[1]), v[2] = tanh(v[2]), v[3] = sigmoid(v[3]);
  c = fma(v[1], c, v[0] * v[2]);
  return v[3] * tanh(c);
}
// g: the new state's cotangent; v: the gates; before, after: the cell; gc: cotangent of the cell after the step,
// becomes that before it. d: cotangents of the sums.
template <class V>
FS_FN void lstm_step_grad(V g, const V (&v)[4], V before, V after, V& gc, V (&d)[4]) {
  const V one = V(scalar_of<V>(1)), y = tanh(after), c = fma(g * v[3], one - y * y, gc);
  d[0] = c * v[2] * (v[0] * (one - v[0]));
  d[1] = c * before * (v[1] * (one - v[1]));
  d[2] = c * v[0] * (one - v[2] * v[2]);
  d[3] = g * y * (v[3] * (one - v[3]));
  gc = c * v[1];
}

// v: the sums of r and z, and of the input's and the recurrent part of n; becomes r, z, n and the recurrent part.
// Returns the new state. (Cho et al. 2014, the reset gate after the product)
template <class V>
FS_FN V gru_step(V (&v)[4], V h) {
  v[0] = sigmoid(v[0]), v[1] = sigmoid(v[1]);
  v[2] = tanh(fma(v[0], v[3], v[2]));
  return fma(v[1], h - v[2], v[2]);
}
// g: the new state's cotangent; v as gru_step left it; h: the state before. d: cotangents of the sums. Returns the
// part of h's cotangent that does not go through the sums.
template <class V>
FS_FN V gru_step_grad(V g, const V (&v)[4], V h, V (&d)[4]) {
  const V one = V(scalar_of<V>(1));
  d[2] = g * (one - v[1]) * (one - v[2] * v[2]);
  d[0] = d[2] * v[3] * (v[0] * (one - v[0]));
  d[1] = g * (h - v[2]) * (v[1] * (one - v[1]));
  d[3] = d[2] * v[0];
  return g * v[1];
}

// The new state of the plain layer from its sum, and the sum's cotangent from the state's, g, and the state y.
template <bool kRelu, class V>
FS_FN V plain_rnn_step(V sum) {
  if constexpr (kRelu) return where(sum <= scalar_of<V>(0), V(scalar_of<V>(0)), sum);
  else return tanh(sum);
}
template <bool kRelu, class V>
FS_FN V plain_rnn_step_grad(V g, V y) {
  const V zero = V(scalar_of<V>(0)), one = V(scalar_of<V>(1));
  if constexpr (kRelu) return where(y <= zero, zero, g);
  else return g * (one - y * y);
}

}  // namespace FS_MATH_NAMESPACE
}  // namespace fireseed

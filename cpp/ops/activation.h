// Activation functions; formulas and gradients in math/functors_activation.h.
#pragma once

#include "tensor/tensor.h"

namespace fireseed {

Tensor relu(const Tensor& x);
Tensor relu6(const Tensor& x);
Tensor hardtanh(const Tensor& x, double min_val = -1.0, double max_val = 1.0);
Tensor leaky_relu(const Tensor& x, double negative_slope = 0.01);
Tensor elu(const Tensor& x, double alpha = 1.0);
Tensor celu(const Tensor& x, double alpha = 1.0);
Tensor selu(const Tensor& x);
Tensor gelu(const Tensor& x, bool tanh_approximation = false);
Tensor silu(const Tensor& x);
Tensor mish(const Tensor& x);
Tensor hardswish(const Tensor& x);
Tensor hardsigmoid(const Tensor& x);
Tensor hardshrink(const Tensor& x, double lambd = 0.5);
Tensor softshrink(const Tensor& x, double lambd = 0.5);
Tensor tanhshrink(const Tensor& x);
Tensor softplus(const Tensor& x, double beta = 1.0, double threshold = 20.0);
Tensor softsign(const Tensor& x);
Tensor log_sigmoid(const Tensor& x);
Tensor threshold(const Tensor& x, double threshold, double value);
// weight: one element, or one for each channel (dimension 1 of x).
Tensor prelu(const Tensor& x, const Tensor& weight);
// Halves x along dim and gives first * sigmoid(second).
Tensor glu(const Tensor& x, int64_t dim = -1);

}  // namespace fireseed

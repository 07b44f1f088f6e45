// Normalisations of Tensors.
#pragma once

#include "tensor/tensor.h"

namespace fireseed {

// x [N, C, ...]; running_mean, running_var, weight, bias [C] may be absent. training: statistics of the batch, and
// the running ones are updated in place: running <- (1 - momentum) running + momentum batch (unbiased variance).
Tensor batch_norm(const Tensor& x, const Tensor& running_mean, const Tensor& running_var, const Tensor& weight,
                  const Tensor& bias, bool training, double momentum = 0.1, double eps = 1e-5);
// Over the last dimensions, whose sizes are `shape`; weight and bias of that shape may be absent.
Tensor layer_norm(const Tensor& x, const Dims& shape, const Tensor& weight = {}, const Tensor& bias = {},
                  double eps = 1e-5);
// eps absent (NaN): the machine epsilon of x's dtype.
Tensor rms_norm(const Tensor& x, const Dims& shape, const Tensor& weight, double eps);
Tensor group_norm(const Tensor& x, int64_t groups, const Tensor& weight = {}, const Tensor& bias = {},
                  double eps = 1e-5);
Tensor instance_norm(const Tensor& x, const Tensor& running_mean, const Tensor& running_var, const Tensor& weight,
                     const Tensor& bias, bool use_input_stats = true, double momentum = 0.1, double eps = 1e-5);
// x / (k + alpha mean of x² over `size` channels)^beta (Krizhevsky 2012)
Tensor local_response_norm(const Tensor& x, int64_t size, double alpha = 1e-4, double beta = 0.75, double k = 1.0);

}  // namespace fireseed

// Small linear algebra that is a composition of other ops.
#pragma once

#include "tensor/tensor.h"

namespace fireseed {

Tensor trace(const Tensor& x);                                // (n, m) -> ()
Tensor kron(const Tensor& a, const Tensor& b);                // Kronecker product, any ranks
Tensor cross(const Tensor& a, const Tensor& b, int64_t dim);  // vectors of 3 along dim, broadcast
// Distances ||a_i - b_j||_p: (…, n, d) and (…, m, d) -> (…, n, m).
Tensor cdist(const Tensor& a, const Tensor& b, double p = 2);

}  // namespace fireseed

// Small linear algebra that is a composition of other ops.
#pragma once

#include <utility>

#include "tensor/tensor.h"

namespace fireseed {

Tensor trace(const Tensor& x);                                // (n, m) -> ()
Tensor kron(const Tensor& a, const Tensor& b);                // Kronecker product, any ranks
Tensor cross(const Tensor& a, const Tensor& b, int64_t dim);  // vectors of 3 along dim, broadcast
// Distances ||a_i - b_j||_p: (…, n, d) and (…, m, d) -> (…, n, m).
Tensor cdist(const Tensor& a, const Tensor& b, double p = 2);

// L with A = L L^T of positive-definite A (…, n, n), lower triangle read, and int32 (…): 0, or the order of the first
// leading minor that is not positive. Without a gradient.
std::pair<Tensor, Tensor> cholesky_info(const Tensor& a);
// X with A X = B, for A (…, n, n) and B (…, n, k) of the same batch, and int32 (…): 0, or the position (from 1) of a
// zero pivot. Without a gradient.
std::pair<Tensor, Tensor> solve_info(const Tensor& a, const Tensor& b);

}  // namespace fireseed

// Matrix products of every rank, and what is made of them: linear, addmm and its family, tensordot, einsum.
#pragma once

#include <string_view>
#include <vector>

#include "tensor/tensor.h"

namespace fireseed {

// torch.matmul: vectors, matrices and batches of them (broadcast).
Tensor matmul(const Tensor& a, const Tensor& b);
Tensor mm(const Tensor& a, const Tensor& b);     // (m, k) (k, n)
Tensor bmm(const Tensor& a, const Tensor& b);    // (b, m, k) (b, k, n)
Tensor mv(const Tensor& a, const Tensor& b);     // (m, k) (k)
Tensor dot(const Tensor& a, const Tensor& b);    // (k) (k)
Tensor outer(const Tensor& a, const Tensor& b);  // (m) (n) -> (m, n)
Tensor inner(const Tensor& a, const Tensor& b);  // over the last axes
// x (..., k), weight (n, k) or (k), bias (n) or absent: x weight^T + bias.
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias = Tensor());
// beta * input + alpha * product; input broadcasts to the product's shape.
Tensor addmm(const Tensor& input, const Tensor& a, const Tensor& b, Scalar beta = 1, Scalar alpha = 1);
Tensor baddbmm(const Tensor& input, const Tensor& a, const Tensor& b, Scalar beta = 1, Scalar alpha = 1);
Tensor addbmm(const Tensor& input, const Tensor& a, const Tensor& b, Scalar beta = 1, Scalar alpha = 1);
Tensor addmv(const Tensor& input, const Tensor& a, const Tensor& b, Scalar beta = 1, Scalar alpha = 1);
Tensor addr(const Tensor& input, const Tensor& a, const Tensor& b, Scalar beta = 1, Scalar alpha = 1);
// x1 (..., i), x2 (..., j), weight (o, i, j), bias (o): x1^T weight[o] x2 + bias[o].
Tensor bilinear(const Tensor& x1, const Tensor& x2, const Tensor& weight, const Tensor& bias = Tensor());
// Sums over dims_a of a with dims_b of b; what is left of a, then of b.
Tensor tensordot(const Tensor& a, const Tensor& b, const Dims& dims_a, const Dims& dims_b);
// torch.einsum: letters, repeated letters (diagonals), "...", explicit or implicit output.
Tensor einsum(std::string_view equation, const std::vector<Tensor>& operands);
// Product of a chain of matrices in the cheapest order.
Tensor multi_dot(const std::vector<Tensor>& tensors);

}  // namespace fireseed

// Numerical analysis of samples: differences, integrals, covariances, histograms, index arithmetic.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "tensor/tensor.h"

namespace fireseed {

// Derivatives along dims by second-order central differences; at the borders of order `edge_order` (1 or 2).
// spacing: one step a dimension; or `coordinates`, one vector a dimension.
std::vector<Tensor> gradient(const Tensor& x, const std::vector<double>& spacing, const Dims& dims,
                             int64_t edge_order = 1);
std::vector<Tensor> gradient(const Tensor& x, const std::vector<Tensor>& coordinates, const Dims& dims,
                             int64_t edge_order = 1);

// Integral of y along dim by the trapezoid rule, over points x (broadcast; a vector lies along dim) or steps dx.
Tensor trapezoid(const Tensor& y, const Tensor& x, int64_t dim = -1);
Tensor trapezoid(const Tensor& y, double dx = 1, int64_t dim = -1);
Tensor cumulative_trapezoid(const Tensor& y, const Tensor& x, int64_t dim = -1);
Tensor cumulative_trapezoid(const Tensor& y, double dx = 1, int64_t dim = -1);

// Covariance of the rows of x (variables, observations), with integer counts and float weights of the observations.
Tensor cov(const Tensor& x, int64_t correction = 1, const Tensor& fweights = {}, const Tensor& aweights = {});
Tensor corrcoef(const Tensor& x);

// Coordinates in `shape` of row-major positions: one int64 tensor a dimension.
std::vector<Tensor> unravel_index(const Tensor& indices, const std::vector<int64_t>& shape);

// Counts (or sums of weights) of x's elements between ascending edges, the last bin closed; density: divided by the
// total and the bins' widths. Elements outside and NaN are left out.
Tensor histogram(const Tensor& x, const Tensor& edges, const Tensor& weight = {}, bool density = false);
// `bins` equal bins over range, or from the least to the greatest element. Result: histogram and edges.
std::pair<Tensor, Tensor> histogram(const Tensor& x, int64_t bins,
                                    const std::optional<std::pair<double, double>>& range = {},
                                    const Tensor& weight = {}, bool density = false);
// Of the points x (…, D), with one vector of edges a dimension.
Tensor histogramdd(const Tensor& x, const std::vector<Tensor>& edges, const Tensor& weight = {},
                   bool density = false);
// The edges of equal bins: range as (low, high) pairs, or empty.
std::vector<Tensor> histogramdd_edges(const Tensor& x, const std::vector<int64_t>& bins,
                                      const std::vector<double>& range);

}  // namespace fireseed

// Reductions and scans of Tensors. `dims` empty: all dimensions.
#pragma once

#include <optional>
#include <utility>

#include "tensor/tensor.h"

namespace fireseed {

// Bitmask of the wrapped dims (kAllDims where empty); IndexError for one out of range, RuntimeError for a repeated
// one.
int64_t dims_mask(const Dims& dims, int64_t rank, const char* op);
// `sizes` with the dimensions of mask removed, or kept as ones.
Dims reduced_sizes(const Dims& sizes, int64_t mask, bool keepdim);
// The inverse view: a reduced tensor read with `sizes` again (stride 0).
Tensor expand_reduced(const Tensor& x, const Dims& sizes, int64_t mask, bool keepdim);

// Sums: dtype kUndefined keeps float dtypes and makes int64 of integers and bool.
Tensor sum(const Tensor& x, const Dims& dims = {}, bool keepdim = false, DType dtype = DType::kUndefined);
Tensor nansum(const Tensor& x, const Dims& dims = {}, bool keepdim = false, DType dtype = DType::kUndefined);
Tensor mean(const Tensor& x, const Dims& dims = {}, bool keepdim = false, DType dtype = DType::kUndefined);
Tensor nanmean(const Tensor& x, const Dims& dims = {}, bool keepdim = false, DType dtype = DType::kUndefined);
Tensor prod(const Tensor& x, DType dtype = DType::kUndefined);
Tensor prod(const Tensor& x, int64_t dim, bool keepdim = false, DType dtype = DType::kUndefined);

// Extremes; NaN wins. Ties share the gradient evenly, except in the forms with indices.
Tensor amax(const Tensor& x, const Dims& dims = {}, bool keepdim = false);
Tensor amin(const Tensor& x, const Dims& dims = {}, bool keepdim = false);
std::pair<Tensor, Tensor> aminmax(const Tensor& x, std::optional<int64_t> dim = {}, bool keepdim = false);
std::pair<Tensor, Tensor> max(const Tensor& x, int64_t dim, bool keepdim = false);  // values, indices
std::pair<Tensor, Tensor> min(const Tensor& x, int64_t dim, bool keepdim = false);
Tensor argmax(const Tensor& x, std::optional<int64_t> dim = {}, bool keepdim = false);
Tensor argmin(const Tensor& x, std::optional<int64_t> dim = {}, bool keepdim = false);

Tensor any(const Tensor& x, const Dims& dims = {}, bool keepdim = false);
Tensor all(const Tensor& x, const Dims& dims = {}, bool keepdim = false);
Tensor count_nonzero(const Tensor& x, const Dims& dims = {});

Tensor logsumexp(const Tensor& x, const Dims& dims, bool keepdim = false);
Tensor var(const Tensor& x, const Dims& dims = {}, double correction = 1, bool keepdim = false);
Tensor stddev(const Tensor& x, const Dims& dims = {}, double correction = 1, bool keepdim = false);
std::pair<Tensor, Tensor> var_mean(const Tensor& x, const Dims& dims = {}, double correction = 1,
                                   bool keepdim = false);
std::pair<Tensor, Tensor> std_mean(const Tensor& x, const Dims& dims = {}, double correction = 1,
                                   bool keepdim = false);
// (Σ |x|^p)^(1/p)
Tensor vector_norm(const Tensor& x, double p = 2, const Dims& dims = {}, bool keepdim = false,
                   DType dtype = DType::kUndefined);
// Fraction q (0-dim or 1-dim tensor of x's dtype) of the sorted values; interpolation: linear, lower, higher,
// midpoint, nearest.
Tensor quantile(const Tensor& x, const Tensor& q, std::optional<int64_t> dim = {}, bool keepdim = false,
                const char* interpolation = "linear", bool ignore_nan = false);
// x / max(norm, eps)
Tensor normalize(const Tensor& x, double p = 2, int64_t dim = 1, double eps = 1e-12);
// Every slice along dim scaled down to norm at most maxnorm.
Tensor renorm(const Tensor& x, double p, int64_t dim, double maxnorm);

Tensor cumsum(const Tensor& x, int64_t dim, DType dtype = DType::kUndefined);
Tensor cumprod(const Tensor& x, int64_t dim, DType dtype = DType::kUndefined);
std::pair<Tensor, Tensor> cummax(const Tensor& x, int64_t dim);
std::pair<Tensor, Tensor> cummin(const Tensor& x, int64_t dim);
Tensor logcumsumexp(const Tensor& x, int64_t dim);
Tensor diff(const Tensor& x, int64_t n = 1, int64_t dim = -1);

}  // namespace fireseed

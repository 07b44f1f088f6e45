// Random numbers: filling tensors in place, random tensors, permutations, sampling, dropout.
#pragma once

#include <optional>

#include "math/random.h"
#include "tensor/tensor.h"

namespace fireseed {

// In place, from `generator` (null: the default one); autograd sees new values that depend on nothing. As PyTorch's
// Tensor methods of these names: bounds, dtypes and errors are theirs.
void uniform_(const Tensor& x, double from = 0, double to = 1, Generator* generator = nullptr);
void normal_(const Tensor& x, double mean = 0, double std = 1, Generator* generator = nullptr);
void log_normal_(const Tensor& x, double mean = 1, double std = 2, Generator* generator = nullptr);
void random_(const Tensor& x, Generator* generator = nullptr);  // all of the dtype's (exact) non-negative integers
void random_(const Tensor& x, int64_t from, std::optional<int64_t> to, Generator* generator = nullptr);
void bernoulli_(const Tensor& x, double p = 0.5, Generator* generator = nullptr);
void bernoulli_(const Tensor& x, const Tensor& p, Generator* generator = nullptr);
void exponential_(const Tensor& x, double lambda = 1, Generator* generator = nullptr);
void geometric_(const Tensor& x, double p, Generator* generator = nullptr);
void cauchy_(const Tensor& x, double median = 0, double sigma = 1, Generator* generator = nullptr);

// New tensors.
Tensor rand(const Dims& sizes, DType dtype = default_dtype(), Generator* generator = nullptr, Device device = {});
Tensor randn(const Dims& sizes, DType dtype = default_dtype(), Generator* generator = nullptr, Device device = {});
Tensor randint(int64_t low, int64_t high, const Dims& sizes, DType dtype = DType::kInt64,
               Generator* generator = nullptr, Device device = {});
Tensor randperm(int64_t n, DType dtype = DType::kInt64, Generator* generator = nullptr, Device device = {});
Tensor bernoulli(const Tensor& p, Generator* generator = nullptr);            // dtype and sizes of p
Tensor bernoulli(const Tensor& x, double p, Generator* generator = nullptr);  // dtype and sizes of x
// Normal samples with means and standard deviations given element by element (broadcast).
Tensor normal(const Tensor& mean, const Tensor& std, Generator* generator = nullptr);
Tensor normal(const Tensor& mean, double std, Generator* generator = nullptr);
Tensor normal(double mean, const Tensor& std, Generator* generator = nullptr);
// (n) -> (num_samples) or (rows, n) -> (rows, num_samples), int64.
Tensor multinomial(const Tensor& p, int64_t num_samples, bool replacement = false, Generator* generator = nullptr);

// x with elements zeroed with probability p and the others scaled by 1 / (1 - p) (Srivastava et al. 2014); x itself
// unless training.
Tensor dropout(const Tensor& x, double p = 0.5, bool training = true, Generator* generator = nullptr);
Tensor feature_dropout(const Tensor& x, double p = 0.5, bool training = true);  // whole channels (dim 0, 1)
Tensor alpha_dropout(const Tensor& x, double p = 0.5, bool training = false);   // Klambauer et al. 2017
Tensor feature_alpha_dropout(const Tensor& x, double p = 0.5, bool training = false);

}  // namespace fireseed

// Embedding tables: lookup, bags, renormalisation.
#pragma once

#include <optional>
#include <string_view>

#include "tensor/tensor.h"

namespace fireseed {

// weight (V, D), integer indices of any shape -> (shape, D). padding_idx (-1: none) takes no gradient.
Tensor embedding(const Tensor& weight, const Tensor& indices, int64_t padding_idx = -1,
                 bool scale_grad_by_freq = false);
// Gradient of embedding with respect to weight.
Tensor embedding_backward(const Tensor& g, const Tensor& indices, int64_t num_weights, int64_t padding_idx,
                          bool scale_grad_by_freq);
// Scales the rows of weight named by indices down to norm max_norm, in place.
void embedding_renorm_(const Tensor& weight, const Tensor& indices, double max_norm, double norm_type = 2.0);
// Sums, means or maxima ("sum", "mean", "max") of bags of rows: indices (N,) with offsets, or (B, N) without.
Tensor embedding_bag(const Tensor& indices, const Tensor& weight, const Tensor& offsets = {},
                     std::string_view mode = "mean", const Tensor& per_sample_weights = {},
                     bool include_last_offset = false, std::optional<int64_t> padding_idx = {},
                     bool scale_grad_by_freq = false);

}  // namespace fireseed

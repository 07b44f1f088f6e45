// Sorting, selection and search of Tensors. NaN counts as the greatest number.
#pragma once

#include <optional>
#include <tuple>
#include <utility>

#include "tensor/tensor.h"

namespace fireseed {

// Values and int64 indices. Sorts are always stable.
std::pair<Tensor, Tensor> sort(const Tensor& x, int64_t dim = -1, bool descending = false);
Tensor argsort(const Tensor& x, int64_t dim = -1, bool descending = false);
std::pair<Tensor, Tensor> topk(const Tensor& x, int64_t k, int64_t dim = -1, bool largest = true, bool sorted = true);
std::pair<Tensor, Tensor> kthvalue(const Tensor& x, int64_t k, int64_t dim = -1, bool keepdim = false);
Tensor median(const Tensor& x, bool ignore_nan = false);  // of all elements: the lower one
std::pair<Tensor, Tensor> median(const Tensor& x, int64_t dim, bool keepdim = false, bool ignore_nan = false);
std::pair<Tensor, Tensor> mode_along(const Tensor& x, int64_t dim = -1, bool keepdim = false);
// Positions in the sorted last dimension of `sequence` (1-dim: shared by all values).
Tensor searchsorted(const Tensor& sequence, const Tensor& values, bool out_int32 = false, bool right = false,
                    const Tensor& sorter = {});
// Unique elements (sorted), the index of each input element among them, and how often each occurs. dim absent: of the
// flattened tensor; else unique slices along dim. consecutive: only runs of equal neighbours are merged.
std::tuple<Tensor, Tensor, Tensor> unique(const Tensor& x, std::optional<int64_t> dim = {}, bool consecutive = false);
Tensor isin(const Tensor& elements, const Tensor& test, bool invert = false);

}  // namespace fireseed

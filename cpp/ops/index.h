// Reading and writing by index: advanced indexing, select, gather, scatter, masks.
#pragma once

#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "tensor/tensor.h"

namespace fireseed {

// x[indices] with PyTorch's rules: entry i indexes dimension i, undefined means all of it, bool and uint8 tensors are
// masks, integer tensors broadcast together. IndexError for bad indices.
Tensor index(const Tensor& x, std::span<const Tensor> indices);
// x[indices] = values (or += with accumulate); values broadcast.
void index_put_(const Tensor& x, std::span<const Tensor> indices, const Tensor& values, bool accumulate = false);
Tensor index_put(const Tensor& x, std::span<const Tensor> indices, const Tensor& values, bool accumulate = false);
// x[indices] = values as Python writes it: values are cast to x's dtype and may have superfluous leading 1s.
void set_item(const Tensor& x, std::span<const Tensor> indices, const Tensor& values);

Tensor index_select(const Tensor& x, int64_t dim, const Tensor& index);
Tensor index_add(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& source, Scalar alpha = 1);
Tensor index_copy(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& source);
Tensor index_fill(const Tensor& x, int64_t dim, const Tensor& index, Scalar value);
Tensor index_fill(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& value);  // 0-dim value
Tensor index_reduce(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& source, std::string_view reduce,
                    bool include_self = true);
void index_reduce_(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& source, std::string_view reduce,
                   bool include_self = true);
void index_add_(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& source, Scalar alpha = 1);
void index_copy_(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& source);
void index_fill_(const Tensor& x, int64_t dim, const Tensor& index, Scalar value);

Tensor gather(const Tensor& x, int64_t dim, const Tensor& index);
// reduce: "" (overwrite), "add"/"sum", "multiply"/"prod", "amax", "amin", "mean".
Tensor scatter(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& src, std::string_view reduce = "",
               bool include_self = true);
Tensor scatter(const Tensor& x, int64_t dim, const Tensor& index, Scalar value, std::string_view reduce = "");
void scatter_(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& src, std::string_view reduce = "",
              bool include_self = true);
void scatter_(const Tensor& x, int64_t dim, const Tensor& index, Scalar value, std::string_view reduce = "");
Tensor scatter_add(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& src);
Tensor take(const Tensor& x, const Tensor& index);  // of the flattened x
Tensor take_along_dim(const Tensor& x, const Tensor& index, int64_t dim);
Tensor take_along_dim(const Tensor& x, const Tensor& index);
Tensor put(const Tensor& x, const Tensor& index, const Tensor& source, bool accumulate = false);

Tensor masked_fill(const Tensor& x, const Tensor& mask, Scalar value);
Tensor masked_fill(const Tensor& x, const Tensor& mask, const Tensor& value);  // 0-dim value
void masked_fill_(const Tensor& x, const Tensor& mask, Scalar value);
Tensor masked_select(const Tensor& x, const Tensor& mask);
Tensor masked_scatter(const Tensor& x, const Tensor& mask, const Tensor& source);
int64_t count_nonzero_all(const Tensor& x);
Tensor nonzero(const Tensor& x);                     // int64 (n, rank)
std::vector<Tensor> nonzero_tuple(const Tensor& x);  // one int64 vector a dimension

// x with `src` in place of the view that select, slice or diagonal gives.
Tensor select_scatter(const Tensor& x, const Tensor& src, int64_t dim, int64_t at);
Tensor slice_scatter(const Tensor& x, const Tensor& src, int64_t dim, std::optional<int64_t> start,
                     std::optional<int64_t> end, int64_t step);
Tensor diagonal_scatter(const Tensor& x, const Tensor& src, int64_t offset, int64_t dim1, int64_t dim2);
// nonzero cut or filled up to `size` rows.
Tensor nonzero_static(const Tensor& x, int64_t size, int64_t fill_value = -1);

// How often each value of a non-negative integer vector occurs (or the sum of its weights), at least minlength long.
Tensor bincount(const Tensor& x, const Tensor& weights = {}, int64_t minlength = 0);
// Counts of x in `bins` equal bins of [low, high]; low == high: of x's own range.
Tensor histc(const Tensor& x, int64_t bins = 100, double low = 0, double high = 0);

// Index tensors for kernels: int64, from int64 or int32. RuntimeError naming op otherwise.
Tensor as_index(const Tensor& index, const char* op);

}  // namespace fireseed

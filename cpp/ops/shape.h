// Shapes and views: broadcasting rules and every op whose result shares its input's storage.
#pragma once

#include <optional>
#include <vector>

#include "tensor/tensor.h"

namespace fireseed {

// Shape of the broadcast of a and b; RuntimeError naming op and both shapes.
Dims broadcast_shapes(const Dims& a, const Dims& b, const char* op);
// x summed over the dimensions in which it was broadcast from `sizes`.
Tensor sum_to(const Tensor& x, const Dims& sizes);

Tensor view(const Tensor& x, const Dims& sizes);     // one size may be -1; throws where strides do not allow it
Tensor view_dtype(const Tensor& x, DType dtype);     // the same bytes; the last dimension grows or shrinks
Tensor reshape(const Tensor& x, const Dims& sizes);  // view, or a copy
Tensor flatten(const Tensor& x, int64_t start_dim = 0, int64_t end_dim = -1);
Tensor unflatten(const Tensor& x, int64_t dim, const Dims& sizes);
Tensor squeeze(const Tensor& x);
Tensor squeeze(const Tensor& x, const Dims& dims);
Tensor unsqueeze(const Tensor& x, int64_t dim);
Tensor permute(const Tensor& x, const Dims& dims);
Tensor transpose(const Tensor& x, int64_t dim0, int64_t dim1);
Tensor t(const Tensor& x);                 // at most 2 dims
Tensor matrix_transpose(const Tensor& x);  // .mT
Tensor movedim(const Tensor& x, const Dims& source, const Dims& destination);
Tensor expand(const Tensor& x, const Dims& sizes);  // -1 keeps a size
Tensor broadcast_to(const Tensor& x, const Dims& sizes);
Tensor select(const Tensor& x, int64_t dim, int64_t index);
Tensor slice(const Tensor& x, int64_t dim, std::optional<int64_t> start, std::optional<int64_t> end,
             int64_t step = 1);
Tensor narrow(const Tensor& x, int64_t dim, int64_t start, int64_t length);
Tensor diagonal(const Tensor& x, int64_t offset = 0, int64_t dim1 = 0, int64_t dim2 = 1);
Tensor unfold(const Tensor& x, int64_t dim, int64_t size, int64_t step);
Tensor as_strided(const Tensor& x, const Dims& sizes, const Dims& strides, std::optional<int64_t> offset = {});
Tensor view_as(const Tensor& x, const Tensor& other);
Tensor detach(const Tensor& x);      // shares storage, no history
Tensor alias_view(const Tensor& x);  // a view of all of x, with history
std::vector<Tensor> unbind(const Tensor& x, int64_t dim = 0);
std::vector<Tensor> split(const Tensor& x, int64_t size, int64_t dim = 0);
std::vector<Tensor> split_with_sizes(const Tensor& x, const std::vector<int64_t>& sizes, int64_t dim = 0);
std::vector<Tensor> chunk(const Tensor& x, int64_t chunks, int64_t dim = 0);
std::vector<Tensor> tensor_split(const Tensor& x, int64_t sections, int64_t dim);
std::vector<Tensor> tensor_split(const Tensor& x, const std::vector<int64_t>& at, int64_t dim);
// Replaces -1 in `sizes`, checks the element count.
Dims infer_sizes(const Dims& sizes, int64_t numel, const char* op);
// Zeros of `sizes` with g at the window (sizes of g, strides and offset relative to a contiguous result), added where
// the window overlaps itself. Gradient of every window view.
Tensor window_backward(const Tensor& g, const Dims& sizes, const Dims& strides, int64_t offset);

}  // namespace fireseed

// Pooling over 1 to 3 spatial dimensions.
#pragma once

#include <optional>
#include <utility>

#include "tensor/tensor.h"

namespace fireseed {

// x: (N, C, spatial...) or (C, spatial...). kernel, stride, padding, dilation: one number or one for each spatial
// dimension; an empty stride means the kernel. RuntimeError for shapes that leave no output.
Tensor max_pool(const Tensor& x, int64_t spatial, const Dims& kernel, const Dims& stride = {},
                const Dims& padding = {0}, const Dims& dilation = {1}, bool ceil_mode = false);
// Values and int64 positions in the flattened plane.
std::pair<Tensor, Tensor> max_pool_with_indices(const Tensor& x, int64_t spatial, const Dims& kernel,
                                                const Dims& stride = {}, const Dims& padding = {0},
                                                const Dims& dilation = {1}, bool ceil_mode = false);
Tensor avg_pool(const Tensor& x, int64_t spatial, const Dims& kernel, const Dims& stride = {},
                const Dims& padding = {0}, bool ceil_mode = false, bool count_include_pad = true,
                std::optional<int64_t> divisor_override = {});
// output_size: -1 keeps a dimension's size.
Tensor adaptive_avg_pool(const Tensor& x, int64_t spatial, const Dims& output_size);
std::pair<Tensor, Tensor> adaptive_max_pool(const Tensor& x, int64_t spatial, const Dims& output_size);
// Puts values back where max pooling found them; the rest is 0. output_size: spatial sizes, or empty for the
// smallest.
Tensor max_unpool(const Tensor& x, const Tensor& indices, int64_t spatial, const Dims& kernel, const Dims& stride,
                  const Dims& padding, const Dims& output_size);
// (sum x^p)^(1/p) over windows.
Tensor lp_pool(const Tensor& x, int64_t spatial, double norm_type, const Dims& kernel, const Dims& stride,
               bool ceil_mode);

}  // namespace fireseed

// Ops that move elements to other places: joining, repeating, reversing, triangles, padding, unfolding.
#pragma once

#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "tensor/tensor.h"

namespace fireseed {

Tensor cat(std::span<const Tensor> tensors, int64_t dim = 0);
Tensor stack(std::span<const Tensor> tensors, int64_t dim = 0);
Tensor hstack(std::span<const Tensor> tensors);
Tensor vstack(std::span<const Tensor> tensors);
Tensor dstack(std::span<const Tensor> tensors);
Tensor column_stack(std::span<const Tensor> tensors);
Tensor block_diag(std::span<const Tensor> tensors);

Tensor flip(const Tensor& x, const Dims& dims);
Tensor fliplr(const Tensor& x);
Tensor flipud(const Tensor& x);
Tensor roll(const Tensor& x, const Dims& shifts, const Dims& dims = {});  // no dims: of the flattened tensor
Tensor rot90(const Tensor& x, int64_t k, const Dims& dims);
Tensor repeat(const Tensor& x, const Dims& repeats);
Tensor tile(const Tensor& x, const Dims& repeats);
Tensor repeat_interleave(const Tensor& repeats, std::optional<int64_t> output_size = {});
Tensor repeat_interleave(const Tensor& x, int64_t repeats, std::optional<int64_t> dim = {});
Tensor repeat_interleave(const Tensor& x, const Tensor& repeats, std::optional<int64_t> dim = {},
                         std::optional<int64_t> output_size = {});

Tensor tril(const Tensor& x, int64_t diagonal = 0);
Tensor triu(const Tensor& x, int64_t diagonal = 0);
Tensor tril_indices(int64_t rows, int64_t cols, int64_t offset = 0, DType dtype = DType::kInt64, Device device = {});
Tensor triu_indices(int64_t rows, int64_t cols, int64_t offset = 0, DType dtype = DType::kInt64, Device device = {});
Tensor diag(const Tensor& x, int64_t diagonal = 0);
Tensor diag_embed(const Tensor& x, int64_t offset = 0, int64_t dim1 = -2, int64_t dim2 = -1);
Tensor diagflat(const Tensor& x, int64_t offset = 0);

std::vector<Tensor> meshgrid(std::span<const Tensor> tensors, std::string_view indexing = "ij");
Tensor cartesian_prod(std::span<const Tensor> tensors);
Tensor combinations(const Tensor& x, int64_t r = 2, bool with_replacement = false);
std::vector<Tensor> broadcast_tensors(std::span<const Tensor> tensors);

Tensor one_hot(const Tensor& classes, int64_t num_classes = -1);

// pad lists (before, after) pairs from the last dimension backwards. Modes: constant, reflect, replicate, circular.
Tensor pad(const Tensor& x, const Dims& pad, std::string_view mode = "constant", Scalar value = 0.0);
Tensor constant_pad(const Tensor& x, const Dims& pad, Scalar value = 0.0);

// unfold (im2col) and fold (col2im) of nn.functional: (N, C, H, W) <-> (N, C * kh * kw, L); pairs [height, width].
Tensor im2col(const Tensor& x, const Dims& kernel, const Dims& dilation, const Dims& padding, const Dims& stride);
Tensor col2im(const Tensor& x, const Dims& output_size, const Dims& kernel, const Dims& dilation, const Dims& padding,
              const Dims& stride);

Tensor pixel_shuffle(const Tensor& x, int64_t upscale_factor);
Tensor pixel_unshuffle(const Tensor& x, int64_t downscale_factor);
Tensor channel_shuffle(const Tensor& x, int64_t groups);

}  // namespace fireseed

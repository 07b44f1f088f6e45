// Convolutions of one to three spatial axes and their transposes.
#pragma once

#include "tensor/tensor.h"

namespace fireseed {

enum class ConvPadding { kExplicit, kSame, kValid };

// x (n, c, spatial...) or without n, weight (m, c / groups, kernel...), bias (m) or absent; `rank` spatial axes (1 to
// 3). stride, padding, dilation: one value or one an axis. kSame (stride 1) keeps the size, kValid pads nothing.
Tensor convolve(int64_t rank, const Tensor& x, const Tensor& weight, const Tensor& bias, const Dims& stride,
                const Dims& padding, const Dims& dilation, int64_t groups, ConvPadding mode = ConvPadding::kExplicit);
// weight (c, m / groups, kernel...): the gradient of convolve to its input, as a layer.
Tensor convolve_transpose(int64_t rank, const Tensor& x, const Tensor& weight, const Tensor& bias, const Dims& stride,
                          const Dims& padding, const Dims& output_padding, int64_t groups, const Dims& dilation);

inline Tensor conv1d(const Tensor& x, const Tensor& weight, const Tensor& bias = Tensor(), const Dims& stride = {1},
                     const Dims& padding = {0}, const Dims& dilation = {1}, int64_t groups = 1) {
  return convolve(1, x, weight, bias, stride, padding, dilation, groups);
}
inline Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias = Tensor(), const Dims& stride = {1},
                     const Dims& padding = {0}, const Dims& dilation = {1}, int64_t groups = 1) {
  return convolve(2, x, weight, bias, stride, padding, dilation, groups);
}
inline Tensor conv3d(const Tensor& x, const Tensor& weight, const Tensor& bias = Tensor(), const Dims& stride = {1},
                     const Dims& padding = {0}, const Dims& dilation = {1}, int64_t groups = 1) {
  return convolve(3, x, weight, bias, stride, padding, dilation, groups);
}

}  // namespace fireseed

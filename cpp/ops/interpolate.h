// Resampling of images and volumes.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "tensor/tensor.h"

namespace fireseed {

// x: (N, C, [D, [H,]] W). size or scale_factor (one number or one for each spatial dimension). Modes: nearest,
// nearest-exact, linear, bilinear, trilinear, bicubic, area. ValueError, NotImplementedError as PyTorch.
Tensor interpolate(const Tensor& x, const std::optional<Dims>& size,
                   const std::optional<std::vector<double>>& scale_factor, std::string_view mode = "nearest",
                   std::optional<bool> align_corners = {}, std::optional<bool> recompute_scale_factor = {},
                   bool antialias = false);

}  // namespace fireseed

// Sampling at the points of a grid (Jaderberg 2015).
#pragma once

#include "tensor/attrs/grid_sample.h"
#include "tensor/tensor.h"

namespace fireseed {

// x (N, C, [D,] H, W), grid (N, out…, 2 or 3) of points x, y(, z) in [-1, 1] -> (N, C, out…).
Tensor grid_sample(const Tensor& x, const Tensor& grid, GridMode mode = GridMode::kLinear,
                   GridPadding padding = GridPadding::kZeros, bool align_corners = false);

}  // namespace fireseed

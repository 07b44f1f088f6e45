// Attributes of sampling at the points of a grid.
#pragma once

#include <cstdint>

namespace fireseed {

enum class GridMode : int32_t { kLinear, kNearest, kCubic };
enum class GridPadding : int32_t { kZeros, kBorder, kReflection };

struct GridSampleAttrs {
  GridMode mode = GridMode::kLinear;
  GridPadding padding = GridPadding::kZeros;
  int64_t align_corners = 0;
  int64_t needs = 3;  // backward: bit 0 the gradient of the input, bit 1 of the grid
};

}  // namespace fireseed

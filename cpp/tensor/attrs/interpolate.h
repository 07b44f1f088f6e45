// Attributes of resampling ops: interpolate and grid_sample. Entries are [depth, height, width].
#pragma once

#include <cstdint>

namespace fireseed {

enum class InterpolateMode : int64_t { kNearest, kNearestExact, kLinear, kCubic };

struct InterpolateAttrs {
  int64_t in[3] = {1, 1, 1};    // spatial sizes of the small-to-large map: forward input
  int64_t out[3] = {1, 1, 1};   // and forward output
  double scale[3] = {0, 0, 0};  // the user's scale factors; 0: sizes decide
  InterpolateMode mode = InterpolateMode::kNearest;
  int64_t align_corners = 0;
  int64_t antialias = 0;
  int64_t spatial = 2;
};

enum class GridMode : int64_t { kBilinear, kNearest, kBicubic };
enum class GridPadding : int64_t { kZeros, kBorder, kReflection };

struct GridSampleAttrs {
  GridMode mode = GridMode::kBilinear;
  GridPadding padding = GridPadding::kZeros;
  int64_t align_corners = 0;
};

}  // namespace fireseed

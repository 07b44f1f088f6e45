// Attributes of interpolate. Entries are [depth, height, width].
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

}  // namespace fireseed

// Attributes of convolutions of one to three spatial axes.
#pragma once

#include <cstdint>

namespace fireseed {

// Axes stand right-aligned in three places (depth, height, width); missing ones have stride 1, padding 0,
// dilation 1 and size 1. `size`: conv: the output's spatial sizes; conv_backward_input: the input's;
// conv_backward_weight: the kernel's.
struct ConvAttrs {
  int64_t rank = 2;
  int64_t groups = 1;
  int64_t stride[3] = {1, 1, 1};
  int64_t padding[3] = {};
  int64_t dilation[3] = {1, 1, 1};
  int64_t size[3] = {1, 1, 1};
};

}  // namespace fireseed

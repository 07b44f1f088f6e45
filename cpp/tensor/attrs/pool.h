// Attributes of pooling ops. Entries are [depth, height, width]; 1-d and 2-d pooling leave the front ones neutral.
#pragma once

#include <cstdint>

namespace fireseed {

struct PoolAttrs {
  int64_t kernel[3] = {1, 1, 1};
  int64_t stride[3] = {1, 1, 1};
  int64_t padding[3] = {0, 0, 0};
  int64_t dilation[3] = {1, 1, 1};
  int64_t spatial = 2;  // spatial dimensions of the tensor: its last 1, 2 or 3
  int64_t ceil_mode = 0;
  int64_t count_include_pad = 1;  // avg_pool
  int64_t divisor_override = 0;   // avg_pool; 0: none
  int64_t in[3] = {1, 1, 1};      // backward passes: spatial sizes of the forward input
};

struct AdaptivePoolAttrs {
  int64_t spatial = 2;
  int64_t in[3] = {1, 1, 1};   // backward pass: spatial sizes of the forward input
  int64_t out[3] = {1, 1, 1};  // forward pass: spatial sizes of the result
};

}  // namespace fireseed

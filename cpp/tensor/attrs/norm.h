// Attributes of the normalisations.
#pragma once

#include <cstdint>

namespace fireseed {

struct BatchNormAttrs {
  int64_t training = 0;  // 1: statistics of the batch, and the running ones are updated
  double momentum = 0.1;
  double eps = 1e-5;
};

// layer_norm, rms_norm: over the last `size` elements of each row.
struct LayerNormAttrs {
  int64_t size = 1;
  double eps = 1e-5;
};

struct GroupNormAttrs {
  int64_t groups = 1;
  double eps = 1e-5;
};

}  // namespace fireseed

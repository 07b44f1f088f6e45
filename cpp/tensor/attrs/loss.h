// Attributes of the losses.
#pragma once

#include <cstdint>

namespace fireseed {

enum class Reduction : int64_t { kNone, kMean, kSum };

// nll_loss and cross_entropy on class indices; classes stand in dimension 1 (0 for a single sample).
struct ClassLossAttrs {
  Reduction reduction = Reduction::kMean;
  int64_t ignore_index = -100;
  double label_smoothing = 0;  // cross_entropy only
};

struct CtcAttrs { int64_t blank = 0; };

}  // namespace fireseed

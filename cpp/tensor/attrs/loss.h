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

// Elementwise losses of (input, target).
struct PairLossAttrs {
  Reduction reduction = Reduction::kMean;
  double beta = 1;  // smooth_l1: beta, huber: delta
};

}  // namespace fireseed

// Attributes of embedding ops.
#pragma once

#include <cstdint>

namespace fireseed {

// embedding, embedding_backward. padding_idx -1: none.
struct EmbeddingAttrs {
  int64_t num_weights = 0;  // embedding_backward: rows of the result
  int64_t padding_idx = -1;
  int64_t scale_grad_by_freq = 0;
};

struct EmbeddingRenormAttrs {
  double max_norm = 0;
  double norm_type = 2;
};

enum class BagMode : int64_t { kSum, kMean, kMax };

struct EmbeddingBagAttrs {
  int64_t bags = 0;
  BagMode mode = BagMode::kMean;
  int64_t padding_idx = -1;
};

}  // namespace fireseed

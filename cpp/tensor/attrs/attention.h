// Attributes of scaled dot product attention.
#pragma once

#include <cstdint>

namespace fireseed {

struct AttentionAttrs {
  double scale = 1;
  int64_t causal = 0;  // 1: query i sees keys 0 .. i
  int64_t groups = 1;  // query heads that share a key and value head
};

}  // namespace fireseed

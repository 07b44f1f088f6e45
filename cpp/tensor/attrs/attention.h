// Attributes of scaled dot product attention.
#pragma once

#include <cstdint>

namespace fireseed {

// Kernels take scores times log2(e), so that weights are powers of two; the forward pass keeps logarithms to base 2.
inline constexpr double kLog2E = 1.44269504088896340736;

struct AttentionAttrs {
  double scale = 1;
  int64_t causal = 0;  // 1: query i sees keys 0 .. i
  int64_t groups = 1;  // query heads that share a key and value head
};

}  // namespace fireseed

// Attributes of ops that move elements around: cat, flip, roll, triangles, padding, unfold.
#pragma once

#include <cstdint>

#include "base/shape.h"
#include "tensor/attrs/index.h"

namespace fireseed {

struct CatAttrs { int64_t dim = 0; };

struct FlipAttrs {
  int64_t mask = 0;  // bit d: dimension d is reversed
};

struct RollAttrs {
  Dims shifts;  // one for each dimension, in [0, size)
};

struct RepeatAttrs {
  Dims repeats;  // one for each dimension of the output
};

struct RepeatInterleaveAttrs {
  int64_t total = 0;  // sum of the repeats
};

struct OneHotAttrs { int64_t num_classes = 0; };

struct TriAttrs { int64_t diagonal = 0; };

// before[d], after[d]: elements added in front of and behind dimension d (negative: cut off).
struct ConstantPadAttrs {
  Dims before;
  FillValue value;
  Dims after;
};

enum class PadMode : int64_t { kReflect, kReplicate, kCircular };

struct ModePadAttrs {
  Dims before;  // one for each dimension; negative: cut off
  PadMode mode = PadMode::kReflect;
  Dims after;
};

// unfold (im2col) and fold (col2im): [height, width].
struct Im2colAttrs {
  int64_t kernel[2] = {1, 1};
  int64_t dilation[2] = {1, 1};
  int64_t padding[2] = {0, 0};
  int64_t stride[2] = {1, 1};
  int64_t image[2] = {0, 0};  // col2im: height and width of the result
};

}  // namespace fireseed

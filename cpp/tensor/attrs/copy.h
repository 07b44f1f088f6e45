// Attributes of copy and fill.
#pragma once

#include "base/scalar_value.h"

namespace fireseed {

// copy: the dtype of the output (kernels read it from the output's view).
struct CopyAttrs {
  int64_t dtype = 0;
  int64_t keep_layout = 0;  // dense inputs keep the order of their dims in memory; 0: row-major
  int64_t device = -2;      // where the output lies: a CUDA device's index, -1: the CPU, -2: where the input does
  int64_t non_blocking = 0;
};

struct FillAttrs { Scalar value; };

}  // namespace fireseed

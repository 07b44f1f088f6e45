// Attributes of copy and fill.
#pragma once

#include "base/scalar_value.h"

namespace fireseed {

// copy: the dtype of the output (kernels read it from the output's view).
struct CopyAttrs {
  int64_t dtype = 0;
  int64_t keep_layout = 0;  // dense inputs keep the order of their dims in memory; 0: row-major
};

struct FillAttrs { Scalar value; };

}  // namespace fireseed

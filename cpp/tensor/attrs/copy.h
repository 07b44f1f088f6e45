// Attributes of copy and fill.
#pragma once

#include "base/scalar_value.h"

namespace fireseed {

// copy: the dtype of the output (kernels read it from the output's view).
struct CopyAttrs {
  int64_t dtype = 0;
};

struct FillAttrs {
  Scalar value;
};

}  // namespace fireseed

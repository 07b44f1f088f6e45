// Small helpers shared by the indexing families of ops/.
#pragma once

#include "tensor/attrs/index.h"
#include "tensor/tensor.h"

namespace fireseed {

FillValue fill_value(Scalar v);
// Value of a 0-dim tensor; RuntimeError naming op for other shapes.
Scalar scalar_of(const Tensor& value, const char* op);

}  // namespace fireseed

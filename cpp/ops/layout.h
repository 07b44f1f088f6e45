// Memory orders of images: channels-last results for channels-last inputs.
#pragma once

#include "tensor/tensor.h"

namespace fireseed {

// Dense with the channels (dimension 1) innermost, and not row-major; of rank 4 or 5.
bool is_channels_last(const Tensor& x);
// A shell in the layout of `model`: the channels stay innermost where they were.
Tensor shell_like(const Dims& sizes, DType dtype, const Tensor& model);

}  // namespace fireseed

// Softmax family of Tensors.
#pragma once

#include "tensor/tensor.h"

namespace fireseed {

// Over dim, after a cast to dtype where one is given.
Tensor softmax(const Tensor& x, int64_t dim, DType dtype = DType::kUndefined);
Tensor log_softmax(const Tensor& x, int64_t dim, DType dtype = DType::kUndefined);

}  // namespace fireseed

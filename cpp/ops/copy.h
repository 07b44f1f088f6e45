// Copies, casts and fills.
#pragma once

#include "tensor/tensor.h"

namespace fireseed {

Tensor to(const Tensor& x, DType dtype);        // x itself where it already has the dtype
Tensor clone(const Tensor& x);                  // contiguous copy
Tensor contiguous(const Tensor& x);             // x itself where it is contiguous
void copy_(const Tensor& dst, const Tensor& src);  // broadcasts and casts src into dst, with history
void fill_(const Tensor& x, Scalar value);
void zero_(const Tensor& x);

}  // namespace fireseed

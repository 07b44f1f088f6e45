// Copies, casts and fills.
#pragma once

#include "tensor/tensor.h"

namespace fireseed {

Tensor to(const Tensor& x, DType dtype);  // x itself where it already has the dtype
// In this dtype on this device; x itself where it is so already. non_blocking: a copy between pinned memory and a
// device may still run when the call returns.
Tensor to(const Tensor& x, DType dtype, Device device, bool non_blocking = false);
Tensor clone(const Tensor& x);                     // contiguous copy
bool is_dense(const Tensor& x);                    // no gaps, no overlaps, any order of dims
Tensor clone_keeping_layout(const Tensor& x);      // a copy whose dims lie in memory as x's do, if x is dense
Tensor channels_last(const Tensor& x);             // (N, C, spatial…) lying as (N, spatial…, C)
Tensor contiguous(const Tensor& x);                // x itself where it is contiguous
void copy_(const Tensor& dst, const Tensor& src);  // broadcasts and casts src into dst, with history
void copy_(const Tensor& dst, const Tensor& src, bool non_blocking);
void fill_(const Tensor& x, Scalar value);
void zero_(const Tensor& x);

}  // namespace fireseed

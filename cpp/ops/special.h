// Special functions beyond those of ops/pointwise.h; integers are promoted to the default float dtype.
#pragma once

#include "tensor/attrs/special.h"
#include "tensor/tensor.h"

namespace fireseed {

// Differentiable: i0e, i1e, erfcx, entr, log_ndtr, ndtri. The gradients of the others are not implemented, as in
// PyTorch.
Tensor special(SpecialFunction function, const Tensor& x);
// Broadcasts. Differentiable: igamma and igammac in their second argument, zeta in its second.
Tensor special(SpecialPair function, const Tensor& x, const Tensor& y);

}  // namespace fireseed

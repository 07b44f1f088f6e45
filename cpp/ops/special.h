// Special functions beyond those of ops/pointwise.h; integers are promoted to the default float dtype.
#pragma once

#include <utility>

#include "tensor/attrs/special.h"
#include "tensor/tensor.h"

namespace fireseed {

// Differentiable: i0e, i1e, erfcx, entr, log_ndtr, ndtri. The gradients of the others are not implemented, as in
// PyTorch.
Tensor special(SpecialFunction function, const Tensor& x);
// Broadcasts. Differentiable: igamma and igammac in their second argument, zeta in its second.
Tensor special(SpecialPair function, const Tensor& x, const Tensor& y);
// x = mantissa 2^exponent with 1/2 <= |mantissa| < 1; the exponents are int32.
std::pair<Tensor, Tensor> frexp(const Tensor& x);

}  // namespace fireseed

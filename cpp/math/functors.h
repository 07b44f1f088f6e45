// One struct of templates a pointwise op: forward and gradient formulas, read as SIMD, number, Tensor or expression.
#pragma once

#include "math/functors_activation.h"
#include "math/functors_binary.h"
#include "math/functors_loss.h"
#include "math/functors_math.h"
#include "math/functors_ternary.h"

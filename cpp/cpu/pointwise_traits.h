// What pointwise kernels need of the functors: the formulas, and which of them hold for integers.
#pragma once

#include "cpu/pointwise_core.h"
#include "math/functor_traits.h"

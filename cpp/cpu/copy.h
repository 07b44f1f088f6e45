// Copying elements between views, for kernels that need an operand in another layout or dtype.
#pragma once

#include "tensor/view.h"

namespace fireseed::cpu::FS_ISA {

// out <- in, cast to out's dtype; the same sizes, any strides, no overlap.
void copy_elements(const TensorView& out, const TensorView& in);

}  // namespace fireseed::cpu::FS_ISA

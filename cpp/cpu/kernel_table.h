// The kernels chosen for this machine's processor.
#pragma once

#include "tensor/kernel_index.h"

namespace fireseed::cpu {

// In the order of KernelIndex, and the name of their instruction set ("v4").
const Kernel* kernels();
const char* isa_name();

}  // namespace fireseed::cpu

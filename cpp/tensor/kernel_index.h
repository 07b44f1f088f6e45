// The order of kernels in a table: every op of ops.def that has a kernel.
#pragma once

#include "tensor/view.h"

namespace fireseed {

enum KernelIndex : int {
#define FS_UNARY(name, Functor) kKernel_##name, kKernel_##name##_backward,
#define FS_BINARY(name, Functor) kKernel_##name,
#define FS_COMPARE(name, Functor) kKernel_##name,
#define FS_TERNARY(name, Functor) kKernel_##name,
#define FS_KERNEL(name) kKernel_##name,
#define FS_VIEW(name)
#include "ops.def"
#undef FS_UNARY
#undef FS_BINARY
#undef FS_COMPARE
#undef FS_TERNARY
#undef FS_KERNEL
#undef FS_VIEW
  kNumKernels
};

}  // namespace fireseed

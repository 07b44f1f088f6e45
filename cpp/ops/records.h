// Declares the record of every op in ops.def: fireseed::op::name.
#pragma once

#include "engine/apply.h"

namespace fireseed::op {

#define FS_UNARY(name, Functor) \
  extern Op name;               \
  extern Op name##_backward;
#define FS_BINARY(name, Functor) extern Op name;
#define FS_COMPARE(name, Functor) extern Op name;
#define FS_TERNARY(name, Functor) extern Op name;
#define FS_KERNEL(name) extern Op name;
#define FS_VIEW(name) extern Op name;
#include "ops.def"
#undef FS_UNARY
#undef FS_BINARY
#undef FS_COMPARE
#undef FS_TERNARY
#undef FS_KERNEL
#undef FS_VIEW

}  // namespace fireseed::op

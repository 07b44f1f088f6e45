// Fills the records with the kernels of this machine when the library loads.
#include "ops/records.h"

#include "cpu/kernel_table.h"

namespace fireseed {
namespace {

bool fill() {
  const Kernel* k = cpu::kernels();
#define FS_UNARY(name, Functor)          \
  op::name.cpu = k[cpu::kKernel_##name]; \
  op::name##_backward.cpu = k[cpu::kKernel_##name##_backward];
#define FS_BINARY(name, Functor) op::name.cpu = k[cpu::kKernel_##name];
#define FS_COMPARE(name, Functor) op::name.cpu = k[cpu::kKernel_##name];
#define FS_TERNARY(name, Functor) op::name.cpu = k[cpu::kKernel_##name];
#define FS_KERNEL(name) op::name.cpu = k[cpu::kKernel_##name];
#define FS_VIEW(name)
#include "ops.def"
#undef FS_UNARY
#undef FS_BINARY
#undef FS_COMPARE
#undef FS_TERNARY
#undef FS_KERNEL
#undef FS_VIEW
  return true;
}

[[maybe_unused]] const bool filled = fill();

}  // namespace
}  // namespace fireseed

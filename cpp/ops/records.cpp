// Fills the records with the kernels of this machine when the library loads, and of a device when its plugin does.
#include "ops/records.h"

#include "cpu/kernel_table.h"
#include "tensor/backend.h"

namespace fireseed {
namespace {

// `column` of every record from a table of kernels.
void fill(const Kernel* k, Kernel Op::* column) {
#define FS_UNARY(name, Functor)         \
  op::name.*column = k[kKernel_##name]; \
  op::name##_backward.*column = k[kKernel_##name##_backward];
#define FS_BINARY(name, Functor) op::name.*column = k[kKernel_##name];
#define FS_COMPARE(name, Functor) op::name.*column = k[kKernel_##name];
#define FS_TERNARY(name, Functor) op::name.*column = k[kKernel_##name];
#define FS_KERNEL(name) op::name.*column = k[kKernel_##name];
#define FS_VIEW(name)
#include "ops.def"
#undef FS_UNARY
#undef FS_BINARY
#undef FS_COMPARE
#undef FS_TERNARY
#undef FS_KERNEL
#undef FS_VIEW
}

bool fill_all() {
  fill(cpu::kernels(), &Op::cpu);
  on_backend = [](const Backend& b) { fill(b.kernels, &Op::cuda); };
  return true;
}

[[maybe_unused]] const bool filled = fill_all();

}  // namespace
}  // namespace fireseed

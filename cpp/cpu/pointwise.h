// The driver of pointwise kernels: broadcasting, strides, halves, threads and streaming stores around a core loop.
#pragma once

#include "cpu/vec.h"
#include "tensor/view.h"

namespace fireseed::cpu::FS_ISA {

inline constexpr int kMaxPointwiseInputs = 5;

// A core computes n elements of the compute type: p[0] is the output, p[1…] the inputs. Inputs with step 1 lie
// contiguously; those with step 0 hold one value, repeated over a whole register. `stream`: write past the caches
// where p[0] is aligned to a register.
using PointwiseCore = void (*)(char* const* p, const int64_t* step, int64_t n, const void* attrs, bool stream);

// Runs `core` over args.out[0] and the inputs. Half operands are converted to float and back around it; all others
// are passed as they are. attrs goes to the core untouched.
void run_pointwise(const KernelArgs& args, PointwiseCore core, const void* attrs);

}  // namespace fireseed::cpu::FS_ISA

// Runs an op whose operands lie on a CUDA device, and copies between devices.
#pragma once

#include "engine/op.h"
#include "tensor/backend.h"

namespace fireseed {

// Checks the devices, brings 0-dim CPU operands over, makes the device current and calls `kernel_caller` with the
// op's CUDA kernel. Throws RuntimeError for mixed devices, NotImplementedError where the op has no kernel.
void run_on_device(const Op& op, Inputs in, const void* attrs, const Tensor* out,
                   void (*kernel_caller)(const Op&, Kernel, Inputs, const void*, const Tensor*));

// dst <- src, of the same shape, across devices, with a cast where the dtypes differ.
void transfer(const Tensor& dst, const Tensor& src, bool non_blocking);

}  // namespace fireseed

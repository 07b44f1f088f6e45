// FS_CUDA: a CUDA runtime call whose failure becomes a fireseed::Error naming the op.
#pragma once

#include <cuda_runtime_api.h>

#include "tensor/backend.h"

namespace fireseed::cuda {

// Note [Sticky errors]
// A kernel that reads out of bounds loses the whole context: from then on every call fails with the same code. Such
// an error is reported with its op (or, launches being asynchronous, with the ops launched since the last wait) the
// first time; later calls say in one line that the device is lost.
[[noreturn, gnu::cold]] void fail_cuda(cudaError_t code, const char* what);

#define FS_CUDA(call)                                                                                 \
  do {                                                                                                \
    const cudaError_t fs_code = (call);                                                               \
    if (__builtin_expect(fs_code != cudaSuccess, false)) ::fireseed::cuda::fail_cuda(fs_code, #call); \
  } while (0)

// After a kernel: an error that it left behind, and a note of its op for errors that show later.
void check_kernel(const char* op);
// The device was waited for without an error: nothing launched so far can be to blame for a later one.
void all_is_well();

}  // namespace fireseed::cuda

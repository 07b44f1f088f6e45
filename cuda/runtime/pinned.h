// Page-locked host memory, kept for reuse, and copies between host and devices.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

namespace fireseed::cuda {

// A freed block is given out again only when the copies that use it are done.
void* allocate_pinned(size_t bytes);
void free_pinned(void* p) noexcept;
// device -1: the host. See Backend::copy.
void copy(void* dst, int dst_device, const void* src, int src_device, size_t bytes, bool pinned, bool non_blocking);

}  // namespace fireseed::cuda

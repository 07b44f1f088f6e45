// FS_LAUNCH: the one way a kernel is started.
#pragma once

#include <cuda_runtime_api.h>

#include "runtime/stream.h"

#if defined(FS_CUDA_EMU)
// A plain loop over threads, for kernels without barriers.
namespace fireseed::cuda_emu {
struct Index { unsigned x, y, z; };
inline thread_local Index thread_index, block_index, block_size, grid_size;
template <class K, class... A>
void launch(K kernel, dim3 grid, dim3 block, cudaStream_t, const A&... args) {
  block_size = {block.x, block.y, block.z};
  grid_size = {grid.x, grid.y, grid.z};
  for (unsigned b = 0; b < grid.x; ++b)
    for (unsigned t = 0; t < block.x; ++t) {
      block_index = {b, 0, 0};
      thread_index = {t, 0, 0};
      kernel(args...);
    }
}
}  // namespace fireseed::cuda_emu
#undef __global__
#undef __device__
#undef __host__
#undef __launch_bounds__
#define __global__
#define __device__
#define __host__
#define __launch_bounds__(...)
#define threadIdx (::fireseed::cuda_emu::thread_index)
#define blockIdx (::fireseed::cuda_emu::block_index)
#define blockDim (::fireseed::cuda_emu::block_size)
#define gridDim (::fireseed::cuda_emu::grid_size)
#define FS_LAUNCH(kernel, grid, block, smem, stream, ...) \
  ::fireseed::cuda_emu::launch(kernel, dim3(grid), dim3(block), stream, __VA_ARGS__)
#else
#define FS_UNPAREN_(...) __VA_ARGS__
#define FS_UNPAREN(x) FS_UNPAREN_ x
#define FS_LAUNCH(kernel, grid, block, smem, stream, ...) (kernel)<<<(grid), (block), (smem), (stream)>>>(__VA_ARGS__)
#endif

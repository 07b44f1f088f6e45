// Rows handled by one thread, one warp or the whole block, and indices that are out of range.
#pragma once

#include <cstdio>

#include "device/math.cuh"
#include "device/reduce.cuh"
#include "device/vec.cuh"

namespace fireseed::cuda {

// op over the kLanes threads of a row: 1, a warp or the block's kThreads; in every thread. All threads take part.
template <int kThreads, int kLanes, class T, class Op>
__device__ __forceinline__ T row_reduce(T v, Op op) {
  static_assert(kLanes == 1 || kLanes == kWarpSize || kLanes == kThreads);
  if constexpr (kLanes == 1) return v;
  else if constexpr (kLanes == kWarpSize) return warp_reduce(v, op);
  else return block_reduce<kThreads>(v, op);
}

// What a kernel does with an index outside [0, size): it says so and stops; the error comes where the device is next
// waited for.
[[maybe_unused, gnu::cold, gnu::noinline]] static __device__ void fail_index(const char* op, int64_t index,
                                                                             int64_t size) {
#if !defined(FS_CUDA_EMU)
  printf("%s: index %lld is out of bounds for size %lld\n", op, static_cast<long long>(index),
         static_cast<long long>(size));
#else
  (void)op, (void)index, (void)size;
#endif
  __trap();
}

}  // namespace fireseed::cuda

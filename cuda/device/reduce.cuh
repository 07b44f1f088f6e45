// Reductions of one value a thread over a warp and over a block, in a fixed order.
#pragma once

#include "runtime/launch.h"

namespace fireseed::cuda {

inline constexpr int kWarpSize = 32;
inline constexpr unsigned kFullMask = 0xffffffffu;

// op over the warp's 32 values, in every lane. All lanes take part.
template <class T, class Op>
__device__ __forceinline__ T warp_reduce(T v, Op op) {
#pragma unroll
  for (int d = kWarpSize / 2; d > 0; d /= 2) v = op(v, __shfl_xor_sync(kFullMask, v, d));
  return v;
}

// op over the block's kThreads values, in every thread. All threads take part. May be called again at once.
template <int kThreads, class T, class Op>
__device__ __forceinline__ T block_reduce(T v, Op op) {
  static_assert(kThreads % kWarpSize == 0 && kThreads <= kWarpSize * kWarpSize);
  constexpr int kWarps = kThreads / kWarpSize;
  v = warp_reduce(v, op);
  if constexpr (kWarps > 1) {
    FS_SHARED(T, part, [kWarps]);
    const int warp = static_cast<int>(threadIdx.x) / kWarpSize, lane = static_cast<int>(threadIdx.x) % kWarpSize;
    if (lane == 0) part[warp] = v;
    __syncthreads();
    v = part[0];
#pragma unroll
    for (int w = 1; w < kWarps; ++w) v = op(v, part[w]);
    __syncthreads();  // part may be written again
  }
  return v;
}

struct AddOp {
  template <class T>
  __device__ __forceinline__ T operator()(T a, T b) const {
    return a + b;
  }
};
// NaN where either is NaN.
struct MaxOp {
  template <class T>
  __device__ __forceinline__ T operator()(T a, T b) const {
    return a != a || a > b ? a : b;
  }
};
struct MinOp {
  template <class T>
  __device__ __forceinline__ T operator()(T a, T b) const {
    return a != a || a < b ? a : b;
  }
};

}  // namespace fireseed::cuda

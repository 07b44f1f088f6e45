// Prefixes over a warp and a block: of states that an associative join combines, in a fixed order.
#pragma once

#include "device/reduce.cuh"

namespace fireseed::cuda {

// The value of the lane `delta` below, for types of a multiple of 8 bytes; lanes without one get their own.
template <class S>
__device__ __forceinline__ S shuffle_up(const S& s, int delta) {
  static_assert(sizeof(S) % 8 == 0 && std::is_trivially_copyable_v<S>);
  constexpr int kWords = static_cast<int>(sizeof(S) / 8);
  uint64_t w[kWords];
  __builtin_memcpy(w, &s, sizeof(S));
#pragma unroll
  for (int i = 0; i < kWords; ++i) w[i] = __shfl_up_sync(kFullMask, w[i], static_cast<unsigned>(delta));
  S r;
  __builtin_memcpy(&r, w, sizeof(S));
  return r;
}

// The join of the threads before this one (`identity` for the first), and in `total` of all. join(earlier, later).
// All threads take part. May be called again at once.
template <int kThreads, class S, class Join>
__device__ __forceinline__ S block_scan(S own, S identity, Join join, S& total) {
  static_assert(kThreads % kWarpSize == 0 && kThreads <= kWarpSize * kWarpSize);
  constexpr int kWarps = kThreads / kWarpSize;
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize, lane = static_cast<int>(threadIdx.x) % kWarpSize;
#pragma unroll
  for (int d = 1; d < kWarpSize; d *= 2) {
    const S below = shuffle_up(own, d);
    if (lane >= d) own = join(below, own);
  }
  S before = shuffle_up(own, 1);
  if (lane == 0) before = identity;
  FS_SHARED(S, part, [kWarps]);
  if (lane == kWarpSize - 1) part[warp] = own;
  __syncthreads();
  S warps = identity;
  total = identity;
#pragma unroll
  for (int w = 0; w < kWarps; ++w) {
    if (w == warp) warps = total;
    total = join(total, part[w]);
  }
  __syncthreads();  // part may be written again
  return join(warps, before);
}

}  // namespace fireseed::cuda

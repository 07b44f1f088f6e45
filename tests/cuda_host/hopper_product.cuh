// A matrix product with all of Hopper's parts, for the tests of the emulation and of the device: one warp brings
// tiles by TMA to a ring of stages, a warpgroup multiplies them. Bugs can be planted.
#pragma once

#include "device/hopper.cuh"

namespace fireseed::cuda {

enum HopperBug { kNoBug, kWrongBytes, kWrongParity, kEarlyRelease, kWrongKStep, kNoFence, kWrongStageOffset };

inline constexpr int kHopperStages = 2, kHopperStageElements = 64 * 64 + 128 * 64;
inline constexpr size_t kHopperShared = kHopperStages * kHopperStageElements * 2 + 2 * kHopperStages * 8;

// c (m x n, float, row-major) = a (m x k) b (n x k)^T; a block makes 64 x 128. k is a multiple of 64.
template <class T, int kBug>
static __global__ void __launch_bounds__(160)
    hopper_product(const __grid_constant__ CUtensorMap map_a, const __grid_constant__ CUtensorMap map_b, float* c,
                   int m, int n, int k) {
  FS_DYN_SMEM(T, tiles);
  auto* full = reinterpret_cast<uint64_t*>(tiles + kHopperStages * kHopperStageElements);
  uint64_t* empty = full + kHopperStages;
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int row0 = static_cast<int>(blockIdx.y) * 64, column0 = static_cast<int>(blockIdx.x) * 128, steps = k / 64;
  if (threadIdx.x == 0) {
    for (int s = 0; s < kHopperStages; ++s) {
      mbarrier_init(full + s, 1);
      mbarrier_init(empty + s, 128);
    }
    mbarrier_init_fence();
  }
  __syncthreads();
  if (warp == 4) {  // the producer
    if (lane == 0) {
      for (int step = 0; step < steps; ++step) {
        const int s = step % kHopperStages, round = step / kHopperStages;
        mbarrier_wait(empty + s, (round + (kBug == kWrongParity ? 0 : 1)) % 2);
        T* stage = tiles + s * kHopperStageElements;
        mbarrier_arrive_expect(full + s, kHopperStageElements * 2 + (kBug == kWrongBytes ? 16 : 0));
        tma_load_2d(stage, &map_a, step * 64, row0, full + s);
        tma_load_2d(stage + 64 * 64, &map_b, step * 64, column0, full + s);
      }
    }
    return;
  }
  float d[64];
#pragma unroll
  for (int i = 0; i < 64; ++i) d[i] = 0.0f;
  for (int step = 0; step < steps; ++step) {
    const int s = step % kHopperStages;
    const T* stage = tiles + (kBug == kWrongStageOffset ? 0 : s) * kHopperStageElements;
    mbarrier_wait(full + s, step / kHopperStages % 2);
    const uint64_t a = wgmma_descriptor(stage), b = wgmma_descriptor(stage + 64 * 64);
    if (kBug != kNoFence) wgmma_fence();
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int at = kBug == kWrongKStep ? i * 8 : i * 16;
      wgmma_64xnx16<T>(d, advance_k(a, at), advance_k(b, at), true);
    }
    wgmma_commit();
    if (kBug == kEarlyRelease) mbarrier_arrive(empty + s);
    wgmma_wait<0>();
    if (kBug != kEarlyRelease) mbarrier_arrive(empty + s);
  }
#pragma unroll
  for (int i = 0; i < 64; ++i) {
    const int row = row0 + warp * 16 + lane / 4 + i % 4 / 2 * 8, column = column0 + i / 4 * 8 + lane % 4 * 2 + i % 2;
    if (row < m && column < n) c[static_cast<int64_t>(row) * n + column] = d[i];
  }
}

}  // namespace fireseed::cuda

// Matrix products of halves on Hopper: TMA brings tiles to a ring of stages, warpgroups multiply them by wgmma.
// Optimised in full: compiled for size, ptxas waits for each wgmma before the next (C7520).
#include <algorithm>

#include "device/hopper.cuh"
#include "kernels/gemm.cuh"
#include "kernels/tile.cuh"
#include "kernels/tile_plan.h"
#include "runtime/device.h"
#include "runtime/stream.h"
#include "runtime/tensor_map.h"

namespace fireseed::cuda {
namespace {

// Note [Hopper tiles]
// A block has three warpgroups. One thread of the first is the producer: it keeps a ring of stages full, 64 elements
// of k of both operands each, by TMA. The other two are consumers: each makes 64 x kN of the block's 128 x kN
// elements. A stage has two mbarriers: `full` counts the bytes that come, `empty` the eight warps of the consumers,
// which arrive when the products that read the stage are done; one group of products is always under way. As many
// blocks as there are multiprocessors go through the tiles (tile_at gives the order), and while consumers store a
// tile, the producer fills the ring for the next one. An operand lies in a stage as in memory, swizzled by 128 bytes:
// along k, in rows of 64 elements of k; or across k, in boxes of 64 x 64, rows of 64 elements of the other dimension.
// The second way costs wgmma nothing (the descriptor is another one), so no operand is ever transposed.
constexpr int kM = 128, kK = 64, kThreads = 384;
constexpr int kPartPitch = 32 + 8, kPart = 16 * kPartPitch;  // of the epilogue: no bank is met twice
[[maybe_unused]] constexpr int kBox = 64 * 64;               // elements; other architectures compile no kernel
template <int kN>
constexpr int kStages = kN == 256 ? 4 : 6;
template <int kN>
constexpr int kStage = (kM + kN) * kK;  // elements
template <int kN>
constexpr size_t kSharedBytes = kStages<kN> * (kStage<kN> * 2 + 2 * sizeof(uint64_t)) + 8 * kPart * sizeof(float);

struct Work {
  uint32_t tiles_m, tiles_n;
  uint32_t count;             // tiles of all matrices and parts of k, below 2^31
  bool batched_a, batched_b;  // else one matrix for the whole batch
};
struct Item { int row0, column0, k0, steps, batch, part; };
template <int kN>
__device__ __forceinline__ Item item_at(const Gemm& g, const Work& work, uint32_t i) {
  const uint32_t tiles = work.tiles_m * work.tiles_n, rest = i / tiles, batch = static_cast<uint32_t>(g.batch);
  uint32_t row, column;
  tile_at(i - rest * tiles, work.tiles_m, work.tiles_n, row, column);
  Item item;
  item.part = static_cast<int>(rest / batch);
  item.batch = static_cast<int>(rest % batch);
  item.row0 = static_cast<int>(row) * kM;
  item.column0 = static_cast<int>(column) * kN;
  const int64_t k0 = int64_t{item.part} * g.part, k1 = k0 + g.part < g.k ? k0 + g.part : g.k;
  item.k0 = static_cast<int>(k0);
  item.steps = static_cast<int>((k1 - k0 + kK - 1) / kK);
  return item;
}

// The place in the ring.
template <int kN>
struct Ring {
  int stage = 0, parity = 0;
  __device__ __forceinline__ void next() {
    if (++stage == kStages<kN>) {
      stage = 0;
      parity ^= 1;
    }
  }
};

// Starts to bring `kOuter` elements from `first` on by 64 elements of k from k0 on.
template <bool kAcross, int kOuter, class T>
__device__ __forceinline__ void load_tile(T* to, const CUtensorMap& map, int first, int k0, int plane,
                                          uint64_t* barrier) {
  if constexpr (kAcross) {
#pragma unroll
    for (int i = 0; i < kOuter / 64; ++i) tma_load_3d(to + i * kBox, &map, first + i * 64, k0, plane, barrier);
  } else {
    tma_load_3d(to, &map, k0, first, plane, barrier);
  }
}
template <bool kAcross, class T>
__device__ __forceinline__ uint64_t descriptor_of(const T* tile) {
  if constexpr (kAcross) return wgmma_descriptor_across(tile, kBox * 2);
  else return wgmma_descriptor(tile);
}

// A warp's 16 x kN sums to the epilogue, 32 columns at a time through its part of shared memory.
template <int kHalf>
__device__ __forceinline__ void store_sums(const float (&d)[kHalf], float* part, const GemmOut<float>& out,
                                           int64_t row0, int64_t column0, int64_t m, int64_t n) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  float* const mine = part + lane / 4 * kPartPitch + lane % 4 * 2;
#pragma unroll 1
  for (int p = 0; p < kHalf; p += 16) {
#pragma unroll
    for (int i = 0; i < kHalf; i += 16) {
      if (i != p) continue;  // registers have no numbers at run time
#pragma unroll
      for (int j = 0; j < 16; j += 4) {
        put_sums(mine + j * 2, d[i + j], d[i + j + 1]);
        put_sums(mine + j * 2 + 8 * kPartPitch, d[i + j + 2], d[i + j + 3]);
      }
    }
    __syncwarp();
    hand_rows<16, 32>(out, part, kPartPitch, row0, 1, column0 + p * 2, m, n);
    __syncwarp();
  }
}

// Compiles to: no spills, HGMMA, UTMALDG
template <class T, int kN, bool kAcrossA, bool kAcrossB>
__global__ void __launch_bounds__(kThreads, 1)
    gemm_wgmma(const __grid_constant__ Gemm g, const __grid_constant__ CUtensorMap map_a,
               const __grid_constant__ CUtensorMap map_b, const Work work) {
#if defined(FS_CUDA_EMU) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
  FS_DYN_SMEM(T, tiles);
  auto* sums = reinterpret_cast<float*>(tiles + kStages<kN> * kStage<kN>);
  auto* full = reinterpret_cast<uint64_t*>(sums + 8 * kPart);
  uint64_t* empty = full + kStages<kN>;
  if (threadIdx.x == 0) {
#pragma unroll 1
    for (int s = 0; s < kStages<kN>; ++s) {
      mbarrier_init(full + s, 1);
      mbarrier_init(empty + s, 8);
    }
    mbarrier_init_fence();
  }
  __syncthreads();
  Ring<kN> ring;
  if (threadIdx.x < 128) {
    fewer_registers<40>();
    if (threadIdx.x == 0) {
      for (uint32_t i = blockIdx.x; i < work.count; i += gridDim.x) {
        const Item item = item_at<kN>(g, work, i);
        const int plane_a = work.batched_a ? item.batch : 0, plane_b = work.batched_b ? item.batch : 0;
        for (int step = 0; step < item.steps; ++step, ring.next()) {
          T* stage = tiles + ring.stage * kStage<kN>;
          uint64_t* barrier = full + ring.stage;
          mbarrier_wait(empty + ring.stage, ring.parity ^ 1);  // the phase before the first counts as ended
          mbarrier_arrive_expect(barrier, kStage<kN> * 2);
          load_tile<kAcrossA, kM>(stage, map_a, item.row0, item.k0 + step * kK, plane_a, barrier);
          load_tile<kAcrossB, kN>(stage + kM * kK, map_b, item.column0, item.k0 + step * kK, plane_b, barrier);
        }
      }
    }
  } else {
    more_registers<232>();
    const int warp = static_cast<int>(threadIdx.x) / 32 - 4, half = warp / 4;  // of the consumers
    const bool first_lane = threadIdx.x % 32 == 0;
    for (uint32_t i = blockIdx.x; i < work.count; i += gridDim.x) {
      const Item item = item_at<kN>(g, work, i);
      float d[kN / 2];
      uint64_t* read = nullptr;  // the barrier of the stage that the products under way read
      for (int step = 0; step < item.steps; ++step, ring.next()) {
        const T* stage = tiles + ring.stage * kStage<kN>;
        mbarrier_wait(full + ring.stage, ring.parity);
        const uint64_t a = descriptor_of<kAcrossA>(stage + half * kBox);
        const uint64_t b = descriptor_of<kAcrossB>(stage + kM * kK);
        wgmma_fence();
#pragma unroll
        for (int k = 0; k < kK; k += 16)
          wgmma_64xnx16<T, kAcrossA, kAcrossB>(d, advance_k<kAcrossA>(a, k), advance_k<kAcrossB>(b, k),
                                               step > 0 || k > 0);
        wgmma_commit();
        wgmma_wait<1>();
        __syncwarp();
        if (read && first_lane) mbarrier_arrive(read);
        read = empty + ring.stage;
      }
      wgmma_wait<0>();
      __syncwarp();
      if (first_lane) mbarrier_arrive(read);
      wgmma_results(d);
      store_sums(d, sums + warp * kPart, GemmOut<float>(g, dtype_of<T>::value, item.batch, item.part),
                 item.row0 + warp * 16, item.column0, g.m, g.n);
    }
  }
#else
  __trap();
#endif
}

// Operand 0 (a) or 1 (b) for loads of `outer` elements by 64 of k.
CUtensorMap map_of(const Gemm& g, int operand, bool across, int outer) {
  const int64_t size = operand == 0 ? g.m : g.n, stride = g.batch_index.ndim ? g.batch_index.stride[operand][0] : 0;
  const int64_t pitch = operand == 0 ? (across ? g.a_col : g.a_row) : (across ? g.b_row : g.b_col);
  return tensor_map_3d(operand == 0 ? g.a : g.b, g.dtype, stride ? g.batch : 1, across ? g.k : size,
                       across ? size : g.k, stride ? stride : pitch, pitch, across ? 64 : outer);
}

template <class T, int kN, bool kAcrossA, bool kAcrossB>
void launch_wgmma(const Gemm& g) {
  const TileGrid tiles(g.m, g.n, kM, kN, 1);
  const bool batched = g.batch_index.ndim > 0;
  const int64_t count = int64_t{tiles.m} * tiles.n * g.batch * g.parts;
  FS_CHECK(count < (int64_t{1} << 31), "a product of ", g.batch, " matrices of ", g.m, " x ", g.n,
           " elements has 2^31 tiles or more; split it");
  const Work work{tiles.m, tiles.n, static_cast<uint32_t>(count), batched && g.batch_index.stride[0][0] != 0,
                  batched && g.batch_index.stride[1][0] != 0};
  const auto blocks = static_cast<unsigned>(std::min<int64_t>(work.count, multiprocessors()));
  FS_LAUNCH((gemm_wgmma<T, kN, kAcrossA, kAcrossB>), blocks, kThreads, kSharedBytes<kN>, current_stream(), g,
            map_of(g, 0, kAcrossA, kM), map_of(g, 1, kAcrossB, kN), work);
}
template <class T, int kN>
void launch_wgmma(const Gemm& g, bool across_a, bool across_b) {
  if (across_a && across_b) launch_wgmma<T, kN, true, true>(g);
  else if (across_a) launch_wgmma<T, kN, true, false>(g);
  else if (across_b) launch_wgmma<T, kN, false, true>(g);
  else launch_wgmma<T, kN, false, false>(g);
}

bool run(const Gemm& g_, bool across_a, bool across_b) {
  constexpr int64_t kMost = int64_t{1} << 30;
  if (compute_capability() != 90 || g_.batch_index.ndim > 1) return false;
  if (g_.m < 64 || g_.n < 64 || g_.k < kK || g_.m > kMost || g_.n > kMost || g_.k > kMost) return false;
  // Overlapping rows are left to other kernels.
  if ((across_a ? g_.a_col - g_.m : g_.a_row - g_.k) < 0 || (across_b ? g_.b_row - g_.n : g_.b_col - g_.k) < 0)
    return false;
  Gemm g = g_;
  constexpr TileOption kOptions[] = {{128, 256, 1.0}, {128, 128, 0.8}};
  const TilePlan plan = plan_tiles(kOptions, 2, {1600, kK}, g.m, g.n, g.k, g.batch, multiprocessors());
  g.parts = plan.parts;
  g.part = plan.part;
  in_parts(g, [&](const Gemm& h) {
    const auto launch_of = [&](auto tag) {
      using T = typename decltype(tag)::type;
      if (plan.option == 0) launch_wgmma<T, 256>(h, across_a, across_b);
      else launch_wgmma<T, 128>(h, across_a, across_b);
    };
    if (h.dtype == DType::kFloat16) launch_of(TypeTag<float16>{});
    else launch_of(TypeTag<bfloat16>{});
  });
  return true;
}

}  // namespace

bool run_wgmma(const Gemm& g, bool across_a, bool across_b) { return run(g, across_a, across_b); }

}  // namespace fireseed::cuda

// Matrix products of halves by tensor cores (sm_80): mma.sync on tiles that cp.async brings to shared memory.
#include <algorithm>

#include "kernels/gemm.cuh"
#include "runtime/device.h"
#include "runtime/stream.h"

namespace fireseed::cuda {
namespace {

// Note [Tensor core tiles]
// A block of 8 warps makes a tile of 128 x 128, a warp 64 x 32 of it (4 x 4 mma tiles of 16 x 8), in steps of 32
// along k, two steps ahead of the arithmetic. A tile of an operand lies in shared memory as it lies in memory, rows
// along its contiguous dimension, padded by 16 bytes so that the eight rows of an ldmatrix meet no bank twice; where
// the contiguous dimension is not k, ldmatrix transposes.
constexpr int kTile = 128, kStep = 32, kStages = 3, kThreads = 256, kPad = 8;

// Elements of one stage's tile of an operand.
template <bool kAlongK>
constexpr int kTileElements = kAlongK ? kTile * (kStep + kPad) : kStep * (kTile + kPad);

// Starts the copies of a tile: `first` is its first row or column of c, of `size`; k0 its first element along k.
template <bool kAlongK, class T>
__device__ __forceinline__ void fetch_tile(T* tile, const T* from, int64_t outer_step, int64_t first, int64_t size,
                                           int64_t k0, int64_t k) {
  constexpr int kRow = kAlongK ? kStep : kTile, kRows = kAlongK ? kTile : kStep, kChunks = kRow / 8;
  const int64_t row0 = kAlongK ? first : k0, rows = kAlongK ? size : k;
  const int64_t column0 = kAlongK ? k0 : first, columns = kAlongK ? k : size;
#pragma unroll
  for (int i = 0; i < kRows * kChunks / kThreads; ++i) {
    const int e = static_cast<int>(threadIdx.x) + i * kThreads, r = e / kChunks, chunk = e % kChunks * 8;
    const int64_t rest = columns - column0 - chunk;
    const int valid = row0 + r < rows && rest > 0 ? static_cast<int>(rest < 8 ? rest : 8) : 0;
    const T* p = valid ? from + (row0 + r) * outer_step + column0 + chunk : from;
    cp_async<16>(tile + r * (kRow + kPad) + chunk, p, valid * static_cast<int>(sizeof(T)));
  }
}

template <class T, bool kAlongKA, bool kAlongKB>
__global__ void __launch_bounds__(kThreads) gemm_mma(const __grid_constant__ Gemm<T> g) {
  FS_DYN_SMEM(T, shared);
  constexpr int kA = kTileElements<kAlongKA>, kStage = kA + kTileElements<kAlongKB>;
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int warp_row = warp / 4 * 64, warp_column = warp % 4 * 32;
  const int64_t row0 = static_cast<int64_t>(blockIdx.y) * kTile, column0 = static_cast<int64_t>(blockIdx.x) * kTile;
  const int64_t steps = (g.k + kStep - 1) / kStep;
  for (int64_t batch = blockIdx.z; batch < g.batch; batch += gridDim.z) {
    int64_t offset[4];
    g.batch_index.offsets(batch, offset);
    const T *a = g.a + offset[0], *b = g.b + offset[1], *d = g.d + offset[3];
    const auto fetch = [&](int64_t step) {
      if (step < steps) {
        T* stage = shared + step % kStages * kStage;
        fetch_tile<kAlongKA>(stage, a, kAlongKA ? g.a_row : g.a_col, row0, g.m, step * kStep, g.k);
        fetch_tile<kAlongKB>(stage + kA, b, kAlongKB ? g.b_col : g.b_row, column0, g.n, step * kStep, g.k);
      }
      cp_async_commit();
    };
    float sum[4][4][4];
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
      for (int j = 0; j < 4; ++j)
#pragma unroll
        for (int r = 0; r < 4; ++r) sum[i][j][r] = 0.0f;
    fetch(0);
    fetch(1);
    for (int64_t step = 0; step < steps; ++step) {
      cp_async_wait<1>();
      __syncthreads();  // the stage is there, and all are done with the one before, which is filled next
      fetch(step + 2);
      const T* tile_a = shared + step % kStages * kStage;
      const T* tile_b = tile_a + kA;
#pragma unroll
      for (int k = 0; k < kStep; k += 16) {
        uint32_t fa[4][4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {  // rows 0-7, 8-15 at k, then at k + 8
          const int m = warp_row + i * 16;
          if constexpr (kAlongKA) ldmatrix_x4(fa[i], tile_a + (m + lane % 16) * (kStep + kPad) + k + lane / 16 * 8);
          else
            ldmatrix_x4<true>(fa[i], tile_a + (k + lane / 16 * 8 + lane % 8) * (kTile + kPad) + m + lane / 8 % 2 * 8);
        }
#pragma unroll
        for (int j = 0; j < 4; j += 2) {  // columns 0-7 at k and k + 8, then columns 8-15
          const int n = warp_column + j * 8;
          uint32_t f[4];
          if constexpr (kAlongKB)
            ldmatrix_x4(f, tile_b + (n + lane / 16 * 8 + lane % 8) * (kStep + kPad) + k + lane / 8 % 2 * 8);
          else ldmatrix_x4<true>(f, tile_b + (k + lane % 16) * (kTile + kPad) + n + lane / 16 * 8);
          const uint32_t left[2] = {f[0], f[1]}, right[2] = {f[2], f[3]};
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            mma_16816(sum[i][j], fa[i], left, T());
            mma_16816(sum[i][j + 1], fa[i], right, T());
          }
        }
      }
    }
    cp_async_wait<0>();
    __syncthreads();  // the next matrix of the batch fills the stages again
    T* c = g.c + offset[2];
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
      for (int j = 0; j < 4; ++j)
#pragma unroll
        for (int r = 0; r < 4; ++r) {
          const int64_t row = row0 + warp_row + i * 16 + lane / 4 + r / 2 * 8;
          const int64_t column = column0 + warp_column + j * 8 + lane % 4 * 2 + r % 2;
          if (row < g.m && column < g.n)
            c[row * g.c_row + column * g.c_col] = gemm_result(g, sum[i][j][r], d, row, column);
        }
  }
}

// How an operand can be copied in pieces of 16 bytes: along k, along the other dimension, or not at all.
enum class Along { kK, kOther, kNone };
template <class T>
Along along(const T* p, int64_t k_step, int64_t other_step, const Gemm<T>& g, int operand) {
  if (!aligned_for(p, 16)) return Along::kNone;
  for (int i = 0; i < g.batch_index.ndim; ++i)
    if (g.batch_index.stride[operand][i] % 8 != 0) return Along::kNone;
  if (k_step == 1 && other_step % 8 == 0) return Along::kK;
  if (other_step == 1 && k_step % 8 == 0) return Along::kOther;
  return Along::kNone;
}

template <class T, bool kAlongKA, bool kAlongKB>
void launch_mma(const Gemm<T>& g) {
  const dim3 grid(static_cast<unsigned>((g.n + kTile - 1) / kTile), static_cast<unsigned>((g.m + kTile - 1) / kTile),
                  static_cast<unsigned>(std::min(g.batch, kMostBatches)));
  constexpr size_t kBytes = kStages * (kTileElements<kAlongKA> + kTileElements<kAlongKB>)*sizeof(T);
  FS_LAUNCH((gemm_mma<T, kAlongKA, kAlongKB>), grid, kThreads, kBytes, current_stream(), g);
}

template <class T>
bool run(const Gemm<T>& g) {
  if (compute_capability() < 80 || g.k == 0 || g.m < 16 || g.n < 8 || (g.m + kTile - 1) / kTile > 65535) return false;
  const Along a = along(g.a, g.a_col, g.a_row, g, 0), b = along(g.b, g.b_row, g.b_col, g, 1);
  if (a == Along::kNone || b == Along::kNone) return false;
  if (a == Along::kK && b == Along::kK) launch_mma<T, true, true>(g);
  else if (a == Along::kK) launch_mma<T, true, false>(g);
  else if (b == Along::kK) launch_mma<T, false, true>(g);
  else launch_mma<T, false, false>(g);
  return true;
}

}  // namespace

bool run_mma(const Gemm<float16>& g) { return run(g); }
bool run_mma(const Gemm<bfloat16>& g) { return run(g); }

}  // namespace fireseed::cuda

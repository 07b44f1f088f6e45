// Matrix products of halves by tensor cores (sm_80), on the tiles of mma_tile.cuh.
#include "kernels/gemm.cuh"
#include "kernels/mma_tile.cuh"
#include "kernels/tile.cuh"
#include "runtime/device.h"
#include "runtime/stream.h"

namespace fireseed::cuda {
namespace {

// Compiles to: no spills, HMMA, LDSM
template <class Tile, bool kAlongKA, bool kAlongKB>
__global__ void __launch_bounds__(Tile::kThreads, 512 / Tile::kThreads)
    gemm_mma(const __grid_constant__ Gemm<typename Tile::T> g, uint32_t tiles_m, uint32_t tiles_n) {
  using T = typename Tile::T;
  using A = CopyLoader<Tile, Tile::kM, kAlongKA>;
  using B = CopyLoader<Tile, Tile::kN, kAlongKB>;
  FS_DYN_SMEM(T, shared);
  uint32_t tile_row, tile_column;
  tile_at(blockIdx.x, tiles_m, tiles_n, tile_row, tile_column);
  const int64_t row0 = int64_t{tile_row} * Tile::kM, column0 = int64_t{tile_column} * Tile::kN;
  for (int64_t batch = blockIdx.y; batch < g.batch; batch += gridDim.y) {
    int64_t offset[4];
    g.batch_index.offsets(batch, offset);
    A a(g.a + offset[0], kAlongKA ? g.a_row : g.a_col, row0, g.m, g.k);
    B b(g.b + offset[1], kAlongKB ? g.b_col : g.b_row, column0, g.n, g.k);
    typename Tile::Sums sum;
    mma_main_loop<Tile>(sum, shared, a, b, 0, g.k);
    const GemmOut<T> out(g, batch);
    mma_epilogue<Tile>(sum, shared, row0, column0, g.m, g.n, out);
  }
}

// How an operand can be copied in pieces of 16 bytes: along k, along the other dimension, or not at all.
enum class Along { kK, kOther, kNone };
template <class T>
Along along(const T* p, int64_t k_step, int64_t other_step, const Gemm<T>& g, int operand) {
  if (!aligned_for(p, 16)) return Along::kNone;
  for (int i = 0; i < g.batch_index.ndim; ++i)
    if (g.batch_index.stride[operand][i] % kVecSize<T> != 0) return Along::kNone;
  if (k_step == 1 && other_step % kVecSize<T> == 0) return Along::kK;
  if (other_step == 1 && k_step % kVecSize<T> == 0) return Along::kOther;
  return Along::kNone;
}

template <class T, bool kAlongKA, bool kAlongKB>
void launch_mma(const Gemm<T>& g) {
  using Tile = MmaTile<T, 128, 128>;
  using A = CopyLoader<Tile, Tile::kM, kAlongKA>;
  using B = CopyLoader<Tile, Tile::kN, kAlongKB>;
  const TileGrid tiles(g.m, g.n, Tile::kM, Tile::kN, g.batch);
  FS_LAUNCH((gemm_mma<Tile, kAlongKA, kAlongKB>), tiles.grid, Tile::kThreads, (Tile::template kSharedBytes<A, B>),
            current_stream(), g, tiles.m, tiles.n);
}

template <class T>
bool run(const Gemm<T>& g) {
  if (compute_capability() < 80 || g.k == 0 || g.m < 16 || g.n < 8) return false;
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

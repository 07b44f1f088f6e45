// Matrix products on tiles of tensor cores: the kernel, and the choice of loaders, tile and parts of k.
#pragma once

#include <optional>

#include "kernels/gemm.cuh"
#include "kernels/mma_tile.cuh"
#include "kernels/tile_plan.h"
#include "runtime/device.h"
#include "runtime/stream.h"

namespace fireseed::cuda {

// Loaders of a and b for a kernel: copies along k or across it, or gathers.
enum class Along { kK, kOther, kNone };

template <class Tile, int kOuter, Along kAlong>
struct MmaLoader {
  using Type = CopyLoader<Tile, kOuter, kAlong == Along::kK>;
  template <class T>
  __device__ __forceinline__ static Type make(const T* p, int64_t outer_step, int64_t k_step, int64_t first,
                                              int64_t size, int64_t k) {
    return Type(p, kAlong == Along::kK ? outer_step : k_step, first, size, k);
  }
};
template <class Tile, int kOuter>
struct MmaLoader<Tile, kOuter, Along::kNone> {
  using Type = GatherLoader<Tile, kOuter>;
  template <class T>
  __device__ __forceinline__ static Type make(const T* p, int64_t outer_step, int64_t k_step, int64_t first,
                                              int64_t size, int64_t k) {
    return Type(p, outer_step, k_step, first, size, k);
  }
};

// Registers for two blocks of 256 threads where that is enough.
template <class Tile, Along kA>
constexpr int kBlocks =
    (sizeof(typename Tile::T) == 2 && kA != Along::kNone && Tile::kM * Tile::kN != 128 * 64 ? 512 : 384) /
    Tile::kThreads;

// Compiles to (matmul_mma.cu): no spills, HMMA, LDSM
template <class Tile, Along kA, Along kB>
static __global__ void __launch_bounds__(Tile::kThreads, (kBlocks<Tile, kA>))
    gemm_mma(const __grid_constant__ Gemm<typename Tile::T> g, uint32_t tiles_m, uint32_t tiles_n) {
  using T = typename Tile::T;
  FS_DYN_SMEM(T, shared);
  uint32_t tile_row, tile_column;
  tile_at(blockIdx.x, tiles_m, tiles_n, tile_row, tile_column);
  const int64_t row0 = int64_t{tile_row} * Tile::kM, column0 = int64_t{tile_column} * Tile::kN;
  const int part = static_cast<int>(blockIdx.z), k = static_cast<int>(g.k), k0 = part * static_cast<int>(g.part);
  const int k1 = k - k0 < g.part ? k : k0 + static_cast<int>(g.part);
  for (int64_t batch = blockIdx.y; batch < g.batch; batch += gridDim.y) {
    int64_t offset[4];
    g.batch_index.offsets(batch, offset);
    auto a = MmaLoader<Tile, Tile::kM, kA>::make(g.a + offset[0], g.a_row, g.a_col, row0, g.m, k1);
    auto b = MmaLoader<Tile, Tile::kN, kB>::make(g.b + offset[1], g.b_col, g.b_row, column0, g.n, k1);
    typename Tile::Sums sum;
    mma_main_loop<Tile>(sum, shared, a, b, k0, k1);
    const GemmOut<T> out(g, batch, part);
    mma_epilogue<Tile>(sum, shared, row0, column0, g.m, g.n, out);
  }
}

template <class Tile, Along kA, Along kB>
void launch_mma(const Gemm<typename Tile::T>& g) {
  using A = typename MmaLoader<Tile, Tile::kM, kA>::Type;
  using B = typename MmaLoader<Tile, Tile::kN, kB>::Type;
  const TileGrid tiles(g.m, g.n, Tile::kM, Tile::kN, g.batch, g.parts);
  FS_LAUNCH((gemm_mma<Tile, kA, kB>), tiles.grid, Tile::kThreads, (Tile::template kSharedBytes<A, B>),
            current_stream(), g, tiles.m, tiles.n);
}
template <class Tile>
void launch_mma(const Gemm<typename Tile::T>& g, Along a, Along b) {
  if (a == Along::kK && b == Along::kK) launch_mma<Tile, Along::kK, Along::kK>(g);
  else if (a == Along::kK) launch_mma<Tile, Along::kK, Along::kOther>(g);
  else if (b == Along::kK) launch_mma<Tile, Along::kOther, Along::kK>(g);
  else launch_mma<Tile, Along::kOther, Along::kOther>(g);
}

// How operand 0 (a) or 1 (b) can be copied in pieces of 16 bytes.
template <class T>
Along along(const Gemm<T>& g, int operand) {
  const T* p = operand == 0 ? g.a : g.b;
  const int64_t k_step = operand == 0 ? g.a_col : g.b_row, outer_step = operand == 0 ? g.a_row : g.b_col;
  if (!aligned_for(p, 16)) return Along::kNone;
  for (int i = 0; i < g.batch_index.ndim; ++i)
    if (g.batch_index.stride[operand][i] % kVecSize<T> != 0) return Along::kNone;
  const int64_t outer = operand == 0 ? g.m : g.n;
  if (k_step == 1 && (outer_step % kVecSize<T> == 0 || outer == 1)) return Along::kK;
  if (outer_step == 1 && (k_step % kVecSize<T> == 0 || g.k == 1)) return Along::kOther;
  return Along::kNone;
}

// An operand copied so that it can be: the rows as they are, padded to 16 bytes. g then reads the copy.
template <class T>
class AlignedOperand {
 public:
  AlignedOperand(Gemm<T>& g, int operand) {
    int64_t& k_step = operand == 0 ? g.a_col : g.b_row;
    int64_t& outer_step = operand == 0 ? g.a_row : g.b_col;
    const T*& data = operand == 0 ? g.a : g.b;
    const int64_t outer = operand == 0 ? g.m : g.n;
    const bool along_k = k_step <= outer_step;
    const int64_t inner = along_k ? g.k : outer, rows = along_k ? outer : g.k;
    const int64_t pitch = (inner + kVecSize<T> - 1) / kVecSize<T> * kVecSize<T>;
    Dims sizes{inner, rows}, from{along_k ? k_step : outer_step, along_k ? outer_step : k_step}, to{1, pitch};
    int64_t next = pitch * rows;
    for (int i = 0; i < g.batch_index.ndim; ++i) {
      int64_t& stride = g.batch_index.stride[operand][i];
      if (stride == 0) continue;  // one matrix for all
      sizes.push_back(g.batch_index.size[i].d);
      from.push_back(stride);
      to.push_back(next);
      stride = next;
      next *= g.batch_index.size[i].d;
    }
    memory_.emplace(static_cast<size_t>(next) * sizeof(T));
    TensorView v[2];
    Dims reversed[3];
    for (int64_t i = sizes.n; i-- > 0;) {
      reversed[0].push_back(sizes[i]);
      reversed[1].push_back(to[i]);
      reversed[2].push_back(from[i]);
    }
    for (int i = 0; i < 2; ++i) {
      v[i].dtype = dtype_of<T>::value;
      v[i].ndim = static_cast<int32_t>(sizes.n);
      v[i].numel = numel_of(sizes);
      v[i].sizes = reversed[0].d;
      v[i].strides = reversed[i + 1].d;
    }
    v[0].data = memory_->ptr<void>();
    v[1].data = const_cast<T*>(data);
    copy_operand(v[0], v[1]);
    data = memory_->ptr<T>();
    k_step = along_k ? 1 : pitch;
    outer_step = along_k ? pitch : 1;
  }
  AlignedOperand(const AlignedOperand&) = delete;
  AlignedOperand& operator=(const AlignedOperand&) = delete;

 private:
  std::optional<Scratch> memory_;
};

// products_a_clock: see TileCosts.
template <class T>
bool run_on_tensor_cores(const Gemm<T>& g_, double products_a_clock) {
  if (compute_capability() < 80 || g_.k == 0 || g_.k > kMostMmaK) return false;
  Gemm<T> g = g_;
  // Operands that cannot be copied in pieces of 16 bytes are brought into shape first, where their elements are used
  // often enough, else gathered.
  std::optional<AlignedOperand<T>> copy[2];
  for (int i = 0; i < 2; ++i)
    if (along(g, i) == Along::kNone && (i == 0 ? g.n : g.m) >= 256) copy[i].emplace(g, i);
  const Along a = along(g, 0), b = along(g, 1);
  const bool gather = a == Along::kNone || b == Along::kNone;
  if constexpr (is_half(dtype_of<T>::value)) {
    if (!gather && run_wgmma(g, a == Along::kOther, b == Along::kOther)) return true;
  }
  constexpr TileOption kOptions[] = {{64, 64, 0.6}, {128, 64, 0.8}, {128, 128, 1.0}};
  const TilePlan plan = plan_tiles(kOptions, gather ? 1 : 3, {products_a_clock, 64 / static_cast<int>(sizeof(T))},
                                   g.m, g.n, g.k, g.batch, multiprocessors());
  g.parts = plan.parts;
  g.part = plan.part;
  in_parts(g, [&](const Gemm<T>& h) {
    if (gather) launch_mma<MmaTile<T, 64, 64>, Along::kNone, Along::kNone>(h);
    else if (plan.option == 0) launch_mma<MmaTile<T, 64, 64>>(h, a, b);
    else if (plan.option == 1) launch_mma<MmaTile<T, 128, 64>>(h, a, b);
    else launch_mma<MmaTile<T, 128, 128>>(h, a, b);
  });
  return true;
}

}  // namespace fireseed::cuda

// Matrix products on tiles of tensor cores: the kernel, and the choice of loaders, tile and parts of k.
#pragma once

#include <optional>

#include "kernels/gemm.cuh"
#include "kernels/mma_tile.cuh"
#include "kernels/tile_plan.h"
#include "runtime/device.h"
#include "runtime/stream.h"

namespace fireseed::cuda {

// How an operand is brought: copied along k or across it, or gathered.
enum class Along { kK, kOther, kNone };

template <class A, class B, class Tile>
__device__ __forceinline__ void multiply(typename Tile::Sums& sum, typename Tile::T* shared, const Gemm& g,
                                         const int64_t (&offset)[4], int64_t row0, int64_t column0, int k0, int k1) {
  using T = typename Tile::T;
  const T *p = static_cast<const T*>(g.a) + offset[0], *q = static_cast<const T*>(g.b) + offset[1];
  if constexpr (A::kGathers) {
    A a(p, g.a_row, g.a_col, row0, g.m, k1);
    B b(q, g.b_col, g.b_row, column0, g.n, k1);
    mma_main_loop<Tile>(sum, shared, a, b, k0, k1);
  } else {
    A a(p, A::kAlongK ? g.a_row : g.a_col, row0, g.m, k1);
    B b(q, B::kAlongK ? g.b_col : g.b_row, column0, g.n, k1);
    mma_main_loop<Tile>(sum, shared, a, b, k0, k1);
  }
}

// Registers for two blocks of 256 threads where that is enough.
template <class Tile, bool kGather>
constexpr int kBlocks = (sizeof(typename Tile::T) == 2 && !kGather ? 512 : 384) / Tile::kThreads;

// Both operands copied, or both gathered.
// Compiles to (matmul_mma.cu): no spills, HMMA, LDSM
template <class Tile, bool kGather>
static __global__ void __launch_bounds__(Tile::kThreads, kBlocks<Tile, kGather>)
    gemm_mma(const __grid_constant__ Gemm g, bool along_a, bool along_b, uint32_t tiles_m, uint32_t tiles_n) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
  __trap();
#else
  using T = typename Tile::T;
  using A = CopyLoader<Tile, Tile::kM, true>;
  using B = CopyLoader<Tile, Tile::kN, true>;
  using AcrossA = CopyLoader<Tile, Tile::kM, false>;
  using AcrossB = CopyLoader<Tile, Tile::kN, false>;
  FS_DYN_SMEM(T, shared);
  uint32_t tile_row, tile_column;
  tile_at(blockIdx.x, tiles_m, tiles_n, tile_row, tile_column);
  const int64_t row0 = int64_t{tile_row} * Tile::kM, column0 = int64_t{tile_column} * Tile::kN;
  const int part = static_cast<int>(blockIdx.z), k = static_cast<int>(g.k), k0 = part * static_cast<int>(g.part);
  const int k1 = k - k0 < g.part ? k : k0 + static_cast<int>(g.part);
  for (int64_t batch = blockIdx.y; batch < g.batch; batch += gridDim.y) {
    int64_t offset[4];
    g.batch_index.offsets(batch, offset);
    typename Tile::Sums sum;
    if constexpr (kGather) {
      using GatherA = GatherLoader<Tile, Tile::kM>;
      using GatherB = GatherLoader<Tile, Tile::kN>;
      multiply<GatherA, GatherB, Tile>(sum, shared, g, offset, row0, column0, k0, k1);
    } else if (along_a) {
      if (along_b) multiply<A, B, Tile>(sum, shared, g, offset, row0, column0, k0, k1);
      else multiply<A, AcrossB, Tile>(sum, shared, g, offset, row0, column0, k0, k1);
    } else {
      if (along_b) multiply<AcrossA, B, Tile>(sum, shared, g, offset, row0, column0, k0, k1);
      else multiply<AcrossA, AcrossB, Tile>(sum, shared, g, offset, row0, column0, k0, k1);
    }
    mma_epilogue<Tile>(sum, shared, row0, column0, g.m, g.n, GemmOut<float>(g, dtype_of<T>::value, batch, part));
  }
#endif
}

template <class Tile, bool kGather>
void launch_mma(const Gemm& g, Along a, Along b) {
  const TileGrid tiles(g.m, g.n, Tile::kM, Tile::kN, g.batch, g.parts);
  FS_LAUNCH((gemm_mma<Tile, kGather>), tiles.grid, Tile::kThreads, Tile::kSharedBytes, current_stream(), g,
            a == Along::kK, b == Along::kK, tiles.m, tiles.n);
}

// How operand 0 (a) or 1 (b) can be copied in pieces of 16 bytes.
inline Along along(const Gemm& g, int operand) {
  const void* p = operand == 0 ? g.a : g.b;
  const int64_t vec = 16 / dtype_size(g.dtype);
  const int64_t k_step = operand == 0 ? g.a_col : g.b_row, outer_step = operand == 0 ? g.a_row : g.b_col;
  if (!aligned_for(p, 16)) return Along::kNone;
  for (int i = 0; i < g.batch_index.ndim; ++i)
    if (g.batch_index.stride[operand][i] % vec != 0) return Along::kNone;
  const int64_t outer = operand == 0 ? g.m : g.n;
  if (k_step == 1 && (outer_step % vec == 0 || outer == 1)) return Along::kK;
  if (outer_step == 1 && (k_step % vec == 0 || g.k == 1)) return Along::kOther;
  return Along::kNone;
}

// An operand copied so that it can be: the rows as they are, padded to 16 bytes. g then reads the copy.
class AlignedOperand {
 public:
  AlignedOperand(Gemm& g, int operand) {
    int64_t& k_step = operand == 0 ? g.a_col : g.b_row;
    int64_t& outer_step = operand == 0 ? g.a_row : g.b_col;
    const void*& data = operand == 0 ? g.a : g.b;
    const int64_t outer = operand == 0 ? g.m : g.n;
    const bool along_k = k_step <= outer_step;
    const int64_t inner = along_k ? g.k : outer, rows = along_k ? outer : g.k;
    const int64_t vec = 16 / dtype_size(g.dtype), pitch = (inner + vec - 1) / vec * vec;
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
    memory_.emplace(static_cast<size_t>(next * dtype_size(g.dtype)));
    TensorView v[2];
    Dims reversed[3];
    for (int64_t i = sizes.n; i-- > 0;) {
      reversed[0].push_back(sizes[i]);
      reversed[1].push_back(to[i]);
      reversed[2].push_back(from[i]);
    }
    for (int i = 0; i < 2; ++i) {
      v[i].dtype = g.dtype;
      v[i].ndim = static_cast<int32_t>(sizes.n);
      v[i].numel = numel_of(sizes);
      v[i].sizes = reversed[0].d;
      v[i].strides = reversed[i + 1].d;
    }
    v[0].data = memory_->ptr<void>();
    v[1].data = const_cast<void*>(data);
    copy_operand(v[0], v[1]);
    data = memory_->ptr<void>();
    k_step = along_k ? 1 : pitch;
    outer_step = along_k ? pitch : 1;
  }
  AlignedOperand(const AlignedOperand&) = delete;
  AlignedOperand& operator=(const AlignedOperand&) = delete;

 private:
  std::optional<Scratch> memory_;
};

// Of operands of T. products_a_clock: see TileCosts.
template <class T>
bool run_on_tensor_cores(Gemm g, double products_a_clock) {
  if (compute_capability() < 80 || g.k == 0 || g.k > kMostMmaK) return false;
  // Operands that cannot be copied in pieces of 16 bytes are brought into shape first, where their elements are used
  // often enough, else gathered.
  std::optional<AlignedOperand> copy[2];
  for (int i = 0; i < 2; ++i)
    if (along(g, i) == Along::kNone && (i == 0 ? g.n : g.m) >= 256) copy[i].emplace(g, i);
  const Along a = along(g, 0), b = along(g, 1);
  const bool gather = a == Along::kNone || b == Along::kNone;
  if (g.k == 1) {  // the rows behind the one there is: copies of no bytes want aligned addresses too
    if (a == Along::kOther) g.a_col = 0;
    if (b == Along::kOther) g.b_row = 0;
  }
  if constexpr (is_half(dtype_of<T>::value)) {
    if (!gather && run_wgmma(g, a == Along::kOther, b == Along::kOther)) return true;
  }
  constexpr TileOption kOptions[] = {{64, 64, 0.6}, {128, 128, 1.0}};
  const TilePlan plan = plan_tiles(kOptions, gather ? 1 : 2, {products_a_clock, 64 / static_cast<int>(sizeof(T))},
                                   g.m, g.n, g.k, g.batch, multiprocessors());
  g.parts = plan.parts;
  g.part = plan.part;
  in_parts(g, [&](const Gemm& h) {
    if (gather) launch_mma<MmaTile<T, 64, 64>, true>(h, a, b);
    else if (plan.option == 0) launch_mma<MmaTile<T, 64, 64>, false>(h, a, b);
    else launch_mma<MmaTile<T, 128, 128>, false>(h, a, b);
  });
  return true;
}

}  // namespace fireseed::cuda

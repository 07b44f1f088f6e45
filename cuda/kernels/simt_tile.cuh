// A tile of a product by plain arithmetic: what a block does between its operands' loaders and its epilogue. The
// counterpart of mma_tile.cuh for float and double in full precision.
#pragma once

#include "device/memory.cuh"
#include "kernels/tile.cuh"

namespace fireseed::cuda {

// Note [Plain tiles]
// A block of 256 threads makes a tile of 16 kPer x 16 kPer, a thread kPer x kPer of it, in steps of 64 / kPer along
// k. Two stages in shared memory: one is multiplied while the next is on its way, first to registers, then to the
// other stage. In shared memory rows go along the tile: stage[k][row or column].
//
// A loader brings one operand, as for tensor cores:
//   void fetch(int64_t k0);      reads elements k0 to k0 + kStep - 1 of k to registers, zeros for what is outside
//   void land(C* stage);         writes them, element (outer, k) to stage[k * kPitch + outer]
// An epilogue gets the sums as hand_rows (tile.cuh) says, through shared memory.

template <class C_, int kPer_>
struct SimtTile {
  using C = C_;
  static constexpr int kPer = kPer_, kTile = 16 * kPer, kStep = 64 / kPer, kThreads = 256;
  static constexpr int kPitch = kTile + 16 / static_cast<int>(sizeof(C)), kStage = kStep * kPitch;
  using Sums = C[kPer][kPer];
  // Row i of the part of a thread at `at`: groups of four, 64 apart, so that neighbouring threads read neighbouring
  // words.
  __device__ __forceinline__ static constexpr int part(int i, int at) { return i / 4 * 64 + at * 4 + i % 4; }
};

// sum = the products over elements k0 to k1 - 1 of k; `shared`: 4 stages (2 of each operand), 16-byte aligned, which
// may be used again afterwards. All threads of the block.
template <class Tile, class A, class B>
__device__ __forceinline__ void simt_main_loop(typename Tile::Sums& sum, typename Tile::C* shared, A& a, B& b,
                                               int64_t k0, int64_t k1) {
  using C = typename Tile::C;
  constexpr int kPer = Tile::kPer;
  const int tx = static_cast<int>(threadIdx.x) % 16, ty = static_cast<int>(threadIdx.x) / 16;
#pragma unroll
  for (int i = 0; i < kPer; ++i)
#pragma unroll
    for (int j = 0; j < kPer; ++j) sum[i][j] = C(0);
  C* now = shared;
  C* next = shared + 2 * Tile::kStage;
#pragma unroll 1
  for (int64_t k = k0 - Tile::kStep; k < k1; k += Tile::kStep) {  // the first time there is nothing to multiply
    const bool more = k + Tile::kStep < k1;
    if (more) {
      a.fetch(k + Tile::kStep);
      b.fetch(k + Tile::kStep);
    }
    if (k >= k0) {
#pragma unroll(4)
      for (int i = 0; i < Tile::kStep; ++i) {
        const C *row_a = now + i * Tile::kPitch, *row_b = row_a + Tile::kStage;
        Vec<C, kVecSize<C>> x[kPer / kVecSize<C>], y[kPer / kVecSize<C>];
#pragma unroll
        for (int p = 0; p < kPer; p += kVecSize<C>) {
          x[p / kVecSize<C>] = Vec<C, kVecSize<C>>::load(row_a + Tile::part(p, ty));
          y[p / kVecSize<C>] = Vec<C, kVecSize<C>>::load(row_b + Tile::part(p, tx));
        }
#pragma unroll
        for (int p = 0; p < kPer; ++p)
#pragma unroll
          for (int q = 0; q < kPer; ++q)
            sum[p][q] =
                multiply_add(x[p / kVecSize<C>].v[p % kVecSize<C>], y[q / kVecSize<C>].v[q % kVecSize<C>], sum[p][q]);
      }
    }
    if (more) {
      a.land(next);
      b.land(next + Tile::kStage);
    }
    __syncthreads();  // the next stage is there, and all are done with this one
    C* const t = now;
    now = next;
    next = t;
  }
}

// Hands the tile at (row0, column0) of an m x n product to the epilogue; `shared` as in simt_main_loop. A warp has
// two rows at a time, each made by half of it.
template <class Tile, class Epilogue>
__device__ __forceinline__ void simt_epilogue(const typename Tile::Sums& sum, typename Tile::C* shared, int64_t row0,
                                              int64_t column0, int64_t m, int64_t n, const Epilogue& epilogue) {
  using C = typename Tile::C;
  static_assert(16 * Tile::kPitch <= 4 * Tile::kStage);
  const int tx = static_cast<int>(threadIdx.x) % 16, warp = static_cast<int>(threadIdx.x) / 32;
  C* const part = shared + 2 * warp * Tile::kPitch;
  C* const mine = part + static_cast<int>(threadIdx.x) / 16 % 2 * Tile::kPitch;
#pragma unroll 1
  for (int p = 0; p < Tile::kPer; ++p) {
#pragma unroll
    for (int i = 0; i < Tile::kPer; ++i) {
      if (i != p) continue;  // registers have no numbers at run time
#pragma unroll
      for (int j = 0; j < Tile::kPer; j += 4)
        put_sums(mine + Tile::part(j, tx), sum[i][j], sum[i][j + 1], sum[i][j + 2], sum[i][j + 3]);
    }
    __syncwarp();
    hand_rows<2, Tile::kTile>(epilogue, part, Tile::kPitch, row0 + Tile::part(p, 2 * warp), 4, column0, m, n);
    __syncwarp();
  }
  __syncthreads();
}

// Calls f(load), where load(p, i) is element i of p in arithmetic type C. Outside of loops over loads: these then
// stand behind one another without branches.
template <class C, class F>
__device__ __forceinline__ void with_load(DType t, const F& f) {
  if (sizeof(C) == 8 || t == DType::kFloat32) {
    f([](const void* p, int64_t i) { return static_cast<const C*>(p)[i]; });
  } else {
    f([t](const void* p, int64_t i) { return decode_float<C>(static_cast<const uint16_t*>(p)[i], t); });
  }
}

// A matrix of any strides and dtype: element (outer, k) is number outer * outer_step + k * k_step. Threads go along k
// first where that is contiguous.
template <class Tile>
struct SimtLoader {
  using C = typename Tile::C;
  static constexpr int kLoads = Tile::kTile * Tile::kStep / Tile::kThreads;

  const void* from;
  DType dtype;
  int64_t first;      // this thread's first element, at k = 0
  int64_t jump;       // elements of memory from one of its elements to the next
  int64_t k_step, k;  // k: elements along k from its first one to the end
  int outer_rest;     // elements of the tile along the other dimension from its first one to the end
  int place, place_jump, outer_jump, k_jump;
  C next[kLoads];

  // The tile begins at element `start` of the other dimension's `size`.
  __device__ __forceinline__ SimtLoader(const void* matrix, DType dtype_, int64_t offset, int64_t outer_step,
                                        int64_t k_step_, int64_t start, int64_t size, int64_t k_size)
      : from(matrix), dtype(dtype_), k_step(k_step_) {
    const bool along_k = k_step == 1;
    const int t = static_cast<int>(threadIdx.x);
    const int outer = along_k ? t / Tile::kStep : t % Tile::kTile, at = along_k ? t % Tile::kStep : t / Tile::kTile;
    outer_jump = along_k ? Tile::kThreads / Tile::kStep : 0;
    k_jump = along_k ? 0 : Tile::kThreads / Tile::kTile;
    first = offset + (start + outer) * outer_step + at * k_step;
    jump = outer_jump * outer_step + k_jump * k_step;
    k = k_size - at;
    const int64_t rest = size - start - outer;
    outer_rest = rest < Tile::kTile ? static_cast<int>(rest) : Tile::kTile;
    place = at * Tile::kPitch + outer;
    place_jump = k_jump * Tile::kPitch + outer_jump;
  }
  __device__ __forceinline__ void fetch(int64_t k0) {
    const int64_t left = k - k0;
    const int k_rest = left < Tile::kStep ? static_cast<int>(left) : Tile::kStep;
    with_load<C>(dtype, [&](auto load) {
      int64_t at = first + k0 * k_step;
      int outer = 0, step = 0;
#pragma unroll
      for (int i = 0; i < kLoads; ++i) {
        next[i] = (outer < outer_rest) & (step < k_rest) ? load(from, at) : C(0);
        at += jump;
        outer += outer_jump;
        step += k_jump;
      }
    });
  }
  __device__ __forceinline__ void land(C* stage) {
    stage += place;
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
      *stage = next[i];
      stage += place_jump;
    }
  }
};

}  // namespace fireseed::cuda

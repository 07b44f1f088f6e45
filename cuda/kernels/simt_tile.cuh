// A tile of a product by plain arithmetic: what a block does between its operands' loaders and its epilogue. The
// counterpart of mma_tile.cuh for float and double in full precision.
#pragma once

#include "device/vec.cuh"
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
// An epilogue gets the sums as hand_four (tile.cuh) says.

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

__device__ __forceinline__ float multiply_add(float a, float b, float c) { return ::fmaf(a, b, c); }
__device__ __forceinline__ double multiply_add(double a, double b, double c) { return ::fma(a, b, c); }

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
  if (k0 < k1) {
    a.fetch(k0);
    b.fetch(k0);
    a.land(now);
    b.land(now + Tile::kStage);
  }
  __syncthreads();
  for (int64_t k = k0; k < k1; k += Tile::kStep) {
    const bool more = k + Tile::kStep < k1;
    if (more) {
      a.fetch(k + Tile::kStep);
      b.fetch(k + Tile::kStep);
    }
#pragma unroll(8)
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

// Hands the tile at (row0, column0) of an m x n product to the epilogue.
template <class Tile, class Epilogue>
__device__ __forceinline__ void simt_epilogue(const typename Tile::Sums& sum, int64_t row0, int64_t column0,
                                              int64_t m, int64_t n, Epilogue& epilogue) {
  const int tx = static_cast<int>(threadIdx.x) % 16, ty = static_cast<int>(threadIdx.x) / 16;
#pragma unroll
  for (int i = 0; i < Tile::kPer; ++i) {
    const int64_t row = row0 + Tile::part(i, ty);
    if (row >= m) continue;
#pragma unroll
    for (int j = 0; j < Tile::kPer; j += 4) {
      const int64_t column = column0 + Tile::part(j, tx), rest = n - column;
      const typename Tile::C v[4] = {sum[i][j], sum[i][j + 1], sum[i][j + 2], sum[i][j + 3]};
      if (rest > 0) hand_four(epilogue, row, column, v, rest < 4 ? static_cast<int>(rest) : 4);
    }
  }
}

// A matrix of any strides and dtype: element (outer, k) at from[outer * outer_step + k * k_step]. Threads go along k
// first where that is contiguous.
template <class Tile, class T>
struct SimtLoader {
  using C = typename Tile::C;
  static constexpr int kLoads = Tile::kTile * Tile::kStep / Tile::kThreads;

  const T* from;      // this thread's first element, at k = 0
  int64_t jump;       // elements of memory from one of its elements to the next
  int64_t k_step, k;  // k: elements along k from its first one to the end
  int outer_rest;     // elements of the tile along the other dimension from its first one to the end
  int place, place_jump, outer_jump, k_jump;
  C next[kLoads];

  __device__ __forceinline__ SimtLoader(const T* matrix, int64_t outer_step, int64_t k_step_, int64_t first,
                                        int64_t size, int64_t k_size)
      : k_step(k_step_) {
    const bool along_k = k_step == 1;
    const int t = static_cast<int>(threadIdx.x);
    const int outer = along_k ? t / Tile::kStep : t % Tile::kTile, at = along_k ? t % Tile::kStep : t / Tile::kTile;
    outer_jump = along_k ? Tile::kThreads / Tile::kStep : 0;
    k_jump = along_k ? 0 : Tile::kThreads / Tile::kTile;
    from = matrix + (first + outer) * outer_step + at * k_step;
    jump = outer_jump * outer_step + k_jump * k_step;
    k = k_size - at;
    const int64_t rest = size - first - outer;
    outer_rest = rest < Tile::kTile ? static_cast<int>(rest) : Tile::kTile;
    place = at * Tile::kPitch + outer;
    place_jump = k_jump * Tile::kPitch + outer_jump;
  }
  __device__ __forceinline__ void fetch(int64_t k0) {
    const int64_t left = k - k0;
    const int k_rest = left < Tile::kStep ? static_cast<int>(left) : Tile::kStep;
    const T* p = from + k0 * k_step;
    int outer = 0, at = 0;
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
      next[i] = outer < outer_rest && at < k_rest ? load_as<C>(*p) : C(0);
      p += jump;
      outer += outer_jump;
      at += k_jump;
    }
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

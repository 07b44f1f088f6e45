// A tile of a product by tensor cores (mma.sync, sm_80): what a block does between its operands' loaders and its
// epilogue. Matrix products and convolutions are made of it.
#pragma once

#include "device/vec.cuh"
#include "kernels/tile.cuh"

namespace fireseed::cuda {

// Note [Tensor core tiles]
// A block makes kM x kN elements of sum over k of a[row, k] b[k, column] in steps of 64 bytes along k. A ring of
// three stages in shared memory holds the operands of a step; two steps are on their way while one is multiplied. A
// tile of an operand lies along k (rows of kStep elements) or across it (rows of kOuter elements), as it lies in
// memory, its rows padded so that eight of them, as ldmatrix and the plain loads of tf32 read them, meet no bank
// twice. Across k, ldmatrix transposes halves; floats are read one by one. Operands are float16, bfloat16, or float,
// which is rounded to tf32 when it is read from shared memory. Sums are float. k is counted in 32 bits (kMostMmaK).
//
// A loader brings one operand:
//   static constexpr bool kAlongK;
//   void fetch(T* tile, int k0);       starts to bring elements k0 to k0 + kStep - 1 of k, zeros for what is outside:
//                                      by cp_async to the tile (not committed), or to registers
//   void land(T* tile);                the same tile, later: what is in registers goes to the tile
// The place of an element in the tile is MmaOperand<T, kOuter, kAlongK>::place(outer, k). CopyLoader brings a matrix
// in pieces of 16 bytes, GatherLoader one of any strides.
// An epilogue gets the sums as hand_four (tile.cuh) says: they go through shared memory, so that neighbouring threads
// have neighbouring elements of a row.

inline constexpr int64_t kMostMmaK = (int64_t{1} << 31) - 1024;

template <class T, int kOuter, bool kAlongK>
struct MmaOperand {
  static constexpr int kStep = 64 / static_cast<int>(sizeof(T));
  static constexpr int kPitch = kAlongK ? kStep + 16 / static_cast<int>(sizeof(T)) : kOuter + 8;
  static constexpr int kElements = (kAlongK ? kOuter : kStep) * kPitch;
  __device__ __forceinline__ static constexpr int place(int outer, int k) {
    return kAlongK ? outer * kPitch + k : k * kPitch + outer;
  }
};

// 128 x 128 (8 warps), 128 x 64 or 64 x 64 (4 warps); a warp makes kWarpM x 32 in mma tiles of 16 x 8.
template <class T_, int kM_, int kN_>
struct MmaTile {
  using T = T_;
  static constexpr int kM = kM_, kN = kN_, kStep = 64 / static_cast<int>(sizeof(T)), kStages = 3;
  static constexpr int kWarpM = kM / 2, kWarpN = 32, kWarpsN = kN / kWarpN, kThreads = 2 * kWarpsN * 32;
  static constexpr int kRows = kWarpM / 16, kColumns = kWarpN / 8;  // mma tiles of a warp
  static constexpr int kMmaK = 32 / static_cast<int>(sizeof(T));    // of one mma instruction
  using Sums = float[kRows][kColumns][4];

  template <class A>
  using OperandA = MmaOperand<T, kM, A::kAlongK>;
  template <class B>
  using OperandB = MmaOperand<T, kN, B::kAlongK>;
  // Of the epilogue: 32 rows of a warp.
  static constexpr int kPart = 32 * kPartPitch;
  template <class A, class B>
  static constexpr size_t kSharedBytes =
      std::max(kStages * (OperandA<A>::kElements + OperandB<B>::kElements) * sizeof(T),
               static_cast<size_t>(kThreads / 32 * kPart) * sizeof(float));
};

// Fragments of 16 outer elements x kMmaK from outer element `outer` and element k on: in register r, outer elements
// from 8 (r % 2) and elements of k from (kMmaK / 2) (r / 2) on for a; the other way round for b.
template <class Operand, bool kIsA, bool kAlongK, class T>
__device__ __forceinline__ void mma_fragments(uint32_t (&r)[4], const T* tile, int outer, int k, int lane) {
  constexpr int kChunk = 16 / static_cast<int>(sizeof(T));  // elements of a row of ldmatrix
  const int low = lane / 8 % 2, high = lane / 16;
  const int outer_half = kIsA ? low : high, k_half = kIsA ? high : low;
  if constexpr (kAlongK) {
    ldmatrix_x4(r, tile + Operand::place(outer + outer_half * 8 + lane % 8, k + k_half * kChunk));
  } else if constexpr (sizeof(T) == 2) {
    ldmatrix_x4<true>(r, tile + Operand::place(outer + outer_half * 8, k + k_half * kChunk + lane % 8));
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int o = kIsA ? i % 2 : i / 2, h = kIsA ? i / 2 : i % 2;
      r[i] = __float_as_uint(tile[Operand::place(outer + o * 8 + lane / 4, k + h * 4 + lane % 4)]);
    }
  }
  if constexpr (std::is_same_v<T, float>) {
#pragma unroll
    for (int i = 0; i < 4; ++i) r[i] = to_tf32(__uint_as_float(r[i]));
  }
}

// sum += the products of one stage.
template <class Tile, class A, class B>
__device__ __forceinline__ void mma_stage(typename Tile::Sums& sum, const typename Tile::T* tile_a,
                                          const typename Tile::T* tile_b) {
  using T = typename Tile::T;
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int warp_row = warp / Tile::kWarpsN * Tile::kWarpM, warp_column = warp % Tile::kWarpsN * Tile::kWarpN;
#pragma unroll
  for (int k = 0; k < Tile::kStep; k += Tile::kMmaK) {
    uint32_t a[Tile::kRows][4];
#pragma unroll
    for (int i = 0; i < Tile::kRows; ++i)
      mma_fragments<typename Tile::template OperandA<A>, true, A::kAlongK>(a[i], tile_a, warp_row + i * 16, k, lane);
#pragma unroll
    for (int j = 0; j < Tile::kColumns; j += 2) {
      uint32_t b[4];
      mma_fragments<typename Tile::template OperandB<B>, false, B::kAlongK>(b, tile_b, warp_column + j * 8, k, lane);
      const uint32_t left[2] = {b[0], b[1]}, right[2] = {b[2], b[3]};
#pragma unroll
      for (int i = 0; i < Tile::kRows; ++i) {
        if constexpr (std::is_same_v<T, float>) {
          mma_1688_tf32(sum[i][j], a[i], left);
          mma_1688_tf32(sum[i][j + 1], a[i], right);
        } else {
          mma_16816(sum[i][j], a[i], left, T());
          mma_16816(sum[i][j + 1], a[i], right, T());
        }
      }
    }
  }
}

// sum = the products over elements k0 to k1 - 1 of k, k0 a multiple of kStep. `shared`: Tile::kSharedBytes<A, B>,
// which may be used again afterwards. All threads of the block.
template <class Tile, class A, class B>
__device__ __forceinline__ void mma_main_loop(typename Tile::Sums& sum, typename Tile::T* shared, A& a, B& b, int k0,
                                              int k1) {
  using T = typename Tile::T;
  static_assert(Tile::kStages == 3);
  constexpr int kA = Tile::template OperandA<A>::kElements, kStage = kA + Tile::template OperandB<B>::kElements;
#pragma unroll
  for (int i = 0; i < Tile::kRows; ++i)
#pragma unroll
    for (int j = 0; j < Tile::kColumns; ++j)
#pragma unroll
      for (int r = 0; r < 4; ++r) sum[i][j][r] = 0.0f;
  const auto fetch = [&](T* stage, int k) {
    if (k < k1) {
      a.fetch(stage, k);
      b.fetch(stage + kA, k);
    }
    cp_async_commit();
  };
  const auto land = [&](T* stage, int k) {
    if (k < k1) {
      a.land(stage);
      b.land(stage + kA);
    }
  };
  for (int i = 0; i < 2; ++i) {
    fetch(shared + i * kStage, k0 + i * Tile::kStep);
    land(shared + i * kStage, k0 + i * Tile::kStep);
  }
  int now = 0;
  for (int k = k0; k < k1; k += Tile::kStep) {
    cp_async_wait<1>();
    __syncthreads();  // the stage is there, and all are done with the one before, which is filled next
    T* filled = shared + (now == 0 ? 2 : now - 1) * kStage;
    fetch(filled, k + 2 * Tile::kStep);
    mma_stage<Tile, A, B>(sum, shared + now * kStage, shared + now * kStage + kA);
    land(filled, k + 2 * Tile::kStep);
    now = now == 2 ? 0 : now + 1;
  }
  cp_async_wait<0>();
  __syncthreads();
}

// Hands the tile at (row0, column0) of an m x n product to the epilogue; `shared` as in mma_main_loop.
template <class Tile, class Epilogue>
__device__ __forceinline__ void mma_epilogue(const typename Tile::Sums& sum, typename Tile::T* shared, int64_t row0,
                                             int64_t column0, int64_t m, int64_t n, Epilogue& epilogue) {
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  row0 += warp / Tile::kWarpsN * Tile::kWarpM;
  column0 += warp % Tile::kWarpsN * Tile::kWarpN;
  float* const part = reinterpret_cast<float*>(shared) + warp * Tile::kPart;
#pragma unroll
  for (int i = 0; i < Tile::kRows; i += 2) {  // 32 rows of the warp at a time
#pragma unroll
    for (int h = 0; h < 4; ++h)
#pragma unroll
      for (int j = 0; j < Tile::kColumns; ++j) {
        const Vec<float, 2> v{sum[i + h / 2][j][h % 2 * 2], sum[i + h / 2][j][h % 2 * 2 + 1]};
        v.store(part + (h * 8 + lane / 4) * kPartPitch + j * 8 + lane % 4 * 2);
      }
    __syncwarp();
    hand_rows<32>(epilogue, part, row0 + i * 16, column0, m, n);
    __syncwarp();
  }
  __syncthreads();
}

// A matrix whose rows (kAlongK: elements along k; else: along the other dimension) are contiguous, 16-byte aligned
// and `pitch` elements apart, a multiple of 16 bytes. The tile begins at element `first` of the other dimension's
// `size`.
template <class Tile, int kOuter, bool kAlongK_>
struct CopyLoader {
  using T = typename Tile::T;
  static constexpr bool kAlongK = kAlongK_;
  using Operand = MmaOperand<T, kOuter, kAlongK>;
  static constexpr int kVec = kVecSize<T>, kChunks = (kAlongK ? Tile::kStep : kOuter) / kVec;
  static constexpr int kRows = kAlongK ? kOuter : Tile::kStep, kPass = Tile::kThreads / kChunks;
  static_assert(Tile::kThreads % kChunks == 0 && kRows % kPass == 0);

  const T* from;  // this thread's first piece, at k = 0
  int64_t pitch;
  int k;     // elements along k from its first one to the end
  int rest;  // rows (kAlongK) or elements of a piece that are inside, along the other dimension

  __device__ __forceinline__ CopyLoader(const T* matrix, int64_t pitch_, int64_t first, int64_t size, int64_t k_size)
      : pitch(pitch_) {
    const int row = static_cast<int>(threadIdx.x) / kChunks, chunk = static_cast<int>(threadIdx.x) % kChunks * kVec;
    from = matrix + (kAlongK ? (first + row) * pitch + chunk : row * pitch + first + chunk);
    k = static_cast<int>(k_size) - (kAlongK ? chunk : row);
    const int64_t inside = size - first - (kAlongK ? row : chunk);
    const int most = kAlongK ? kRows : kVec;
    rest = inside < most ? (inside < 0 ? 0 : static_cast<int>(inside)) : most;
  }
  __device__ __forceinline__ void fetch(T* tile, int k0) {
    const int left = k - k0, most = kAlongK ? kVec : kRows, inside = left < most ? left : most;
    const T* p = from + (kAlongK ? k0 : k0 * pitch);
    const int row = static_cast<int>(threadIdx.x) / kChunks, chunk = static_cast<int>(threadIdx.x) % kChunks * kVec;
#pragma unroll
    for (int i = 0; i < kRows / kPass; ++i) {
      const int rows = kAlongK ? rest : inside, columns = kAlongK ? inside : rest;
      const int valid = i * kPass < rows && columns > 0 ? columns * static_cast<int>(sizeof(T)) : 0;
      cp_async<16>(tile + (row + i * kPass) * Operand::kPitch + chunk, p, valid);
      p += kPass * pitch;
    }
  }
  __device__ __forceinline__ void land(T*) {}
};

// A matrix of any strides, element by element through registers; `along_k`: threads go along k first.
template <class Tile, int kOuter>
struct GatherLoader {
  using T = typename Tile::T;
  static constexpr bool kAlongK = true;
  using Operand = MmaOperand<T, kOuter, kAlongK>;
  static constexpr int kLoads = kOuter * Tile::kStep / Tile::kThreads;

  const T* from;
  int64_t outer_step, k_step, size, k;
  bool along_k;
  T next[kLoads];

  __device__ __forceinline__ GatherLoader(const T* matrix, int64_t outer_step_, int64_t k_step_, int64_t first,
                                          int64_t size_, int64_t k_size)
      : from(matrix + first * outer_step_),
        outer_step(outer_step_),
        k_step(k_step_),
        size(size_ - first),
        k(k_size),
        along_k(k_step_ <= outer_step_) {}
  __device__ __forceinline__ void element(int i, int& outer, int& at) const {
    const int e = static_cast<int>(threadIdx.x) + i * Tile::kThreads;
    outer = along_k ? e / Tile::kStep : e % kOuter;
    at = along_k ? e % Tile::kStep : e / kOuter;
  }
  __device__ __forceinline__ void fetch(T*, int k0) {
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
      int outer, at;
      element(i, outer, at);
      next[i] = outer < size && k0 + at < k ? from[outer * outer_step + (k0 + at) * k_step] : T();
    }
  }
  __device__ __forceinline__ void land(T* tile) {
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
      int outer, at;
      element(i, outer, at);
      tile[Operand::place(outer, at)] = next[i];
    }
  }
};

}  // namespace fireseed::cuda

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
//   static constexpr bool kAlongK;     how its tiles lie
//   void fetch(T* tile, int k0);       starts to bring elements k0 to k0 + kStep - 1 of k, zeros for what is outside:
//                                      by cp_async to the tile (not committed), or to registers
//   void land(T* tile);                the same tile, later: what is in registers goes to the tile
// Element (outer, k) is at outer * kAlongPitch + k of a tile along k, at k * kAcrossPitch + outer of one across.
// CopyLoader brings a matrix in pieces of 16 bytes, GatherLoader one of any strides.
// An epilogue gets the sums as hand_rows (tile.cuh) says: they go through shared memory, so that neighbouring threads
// have neighbouring elements of a row.

inline constexpr int64_t kMostMmaK = (int64_t{1} << 31) - 1024;

template <class T, int kOuter>
struct MmaOperand {
  static constexpr int kStep = 64 / static_cast<int>(sizeof(T));
  static constexpr int kAlongPitch = kStep + 16 / static_cast<int>(sizeof(T)), kAcrossPitch = kOuter + 8;
  static constexpr int kElements = std::max(kOuter * kAlongPitch, kStep* kAcrossPitch);
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

  static constexpr int kStageA = MmaOperand<T, kM>::kElements, kStage = kStageA + MmaOperand<T, kN>::kElements;
  // Of the epilogue: 32 rows of a warp; pairs that 4 lanes write in each of 8 rows meet no bank twice.
  static constexpr int kPartPitch = kWarpN + 8, kPart = 32 * kPartPitch;
  static constexpr size_t kSharedBytes =
      std::max(kStages * kStage * sizeof(T), static_cast<size_t>(kThreads / 32 * kPart) * sizeof(float));
};

// Where in a tile a lane begins to read fragments from outer element `outer` on.
template <int kOuter, bool kIsA, bool kAlongK, class T>
__device__ __forceinline__ int fragment_place(int outer, int lane) {
  using Operand = MmaOperand<T, kOuter>;
  constexpr int kChunk = 16 / static_cast<int>(sizeof(T));  // elements of a row of ldmatrix
  const int low = lane / 8 % 2, high = lane / 16;
  const int outer_half = kIsA ? low : high, k_half = kIsA ? high : low;
  if constexpr (kAlongK) return (outer + outer_half * 8 + lane % 8) * Operand::kAlongPitch + k_half * kChunk;
  else if constexpr (sizeof(T) == 2)
    return (k_half * kChunk + lane % 8) * Operand::kAcrossPitch + outer + outer_half * 8;
  else return lane % 4 * Operand::kAcrossPitch + outer + lane / 4;
}
// Fragments of 16 outer elements x kMmaK: in register r, outer elements from 8 (r % 2) and elements of k from
// (kMmaK / 2) (r / 2) on for a; the other way round for b. `at`: by fragment_place.
template <int kOuter, bool kIsA, bool kAlongK, class T>
__device__ __forceinline__ void mma_fragments(uint32_t (&r)[4], const T* at, int outer, int k) {
  using Operand = MmaOperand<T, kOuter>;
  if constexpr (kAlongK) {
    ldmatrix_x4(r, at + outer * Operand::kAlongPitch + k);
  } else if constexpr (sizeof(T) == 2) {
    ldmatrix_x4<true>(r, at + k * Operand::kAcrossPitch + outer);
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int o = kIsA ? i % 2 : i / 2, h = kIsA ? i / 2 : i % 2;
      r[i] = __float_as_uint(at[(k + h * 4) * Operand::kAcrossPitch + outer + o * 8]);
    }
  }
  if constexpr (std::is_same_v<T, float>) {
#pragma unroll
    for (int i = 0; i < 4; ++i) r[i] = to_tf32(__uint_as_float(r[i]));
  }
}

// sum += the products of one stage; at_a, at_b: where fragments of this warp begin.
template <class Tile, bool kAlongA, bool kAlongB>
__device__ __forceinline__ void mma_stage(typename Tile::Sums& sum, const typename Tile::T* at_a,
                                          const typename Tile::T* at_b) {
  using T = typename Tile::T;
#pragma unroll
  for (int k = 0; k < Tile::kStep; k += Tile::kMmaK) {
    uint32_t a[Tile::kRows][4];
#pragma unroll
    for (int i = 0; i < Tile::kRows; ++i) mma_fragments<Tile::kM, true, kAlongA>(a[i], at_a, i * 16, k);
#pragma unroll
    for (int j = 0; j < Tile::kColumns; j += 2) {
      uint32_t b[4];
      mma_fragments<Tile::kN, false, kAlongB>(b, at_b, j * 8, k);
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

// sum = the products over elements k0 to k1 - 1 of k, k0 a multiple of kStep. `shared`: Tile::kSharedBytes, which may
// be used again afterwards. All threads of the block.
template <class Tile, class A, class B>
__device__ __forceinline__ void mma_main_loop(typename Tile::Sums& sum, typename Tile::T* shared, A& a, B& b, int k0,
                                              int k1) {
  using T = typename Tile::T;
  static_assert(Tile::kStages == 3);
#pragma unroll
  for (int i = 0; i < Tile::kRows; ++i)
#pragma unroll
    for (int j = 0; j < Tile::kColumns; ++j)
#pragma unroll
      for (int r = 0; r < 4; ++r) sum[i][j][r] = 0.0f;
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int place_a = fragment_place<Tile::kM, true, A::kAlongK, T>(warp / Tile::kWarpsN * Tile::kWarpM, lane);
  const int place_b =
      Tile::kStageA + fragment_place<Tile::kN, false, B::kAlongK, T>(warp % Tile::kWarpsN * Tile::kWarpN, lane);
  const auto stage = [&](int i) { return shared + i * Tile::kStage; };
#pragma unroll 1
  for (int i = 0; i < 2; ++i) {
    const int k = k0 + i * Tile::kStep;
    if (k < k1) {
      a.fetch(stage(i), k);
      b.fetch(stage(i) + Tile::kStageA, k);
      a.land(stage(i));
      b.land(stage(i) + Tile::kStageA);
    }
    cp_async_commit();
  }
  int now = 0;  // the stage of k
#pragma unroll 1
  for (int k = k0; k < k1; k += Tile::kStep) {
    cp_async_wait<1>();
    __syncthreads();  // the stage is there, and all are done with the one before, which is filled next
    T* const filled = stage(now == 0 ? 2 : now - 1);
    const bool fetches = k1 - k > 2 * Tile::kStep;
    if (fetches) {
      a.fetch(filled, k + 2 * Tile::kStep);
      b.fetch(filled + Tile::kStageA, k + 2 * Tile::kStep);
    }
    cp_async_commit();
    mma_stage<Tile, A::kAlongK, B::kAlongK>(sum, stage(now) + place_a, stage(now) + place_b);
    if (fetches) {
      a.land(filled);
      b.land(filled + Tile::kStageA);
    }
    now = now == 2 ? 0 : now + 1;
  }
  cp_async_wait<0>();
  __syncthreads();
}

// Hands the tile at (row0, column0) of an m x n product to the epilogue; `shared` as in mma_main_loop.
template <class Tile, class Epilogue>
__device__ __forceinline__ void mma_epilogue(const typename Tile::Sums& sum, typename Tile::T* shared, int64_t row0,
                                             int64_t column0, int64_t m, int64_t n, const Epilogue& epilogue) {
  constexpr int kPitch = Tile::kPartPitch;
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  row0 += warp / Tile::kWarpsN * Tile::kWarpM;
  column0 += warp % Tile::kWarpsN * Tile::kWarpN;
  float* const part = reinterpret_cast<float*>(shared) + warp * Tile::kPart;
  float* const mine = part + lane / 4 * kPitch + lane % 4 * 2;
#pragma unroll 1
  for (int p = 0; p < Tile::kRows; p += 2) {  // 32 rows of the warp at a time
#pragma unroll
    for (int i = 0; i < Tile::kRows; i += 2) {
      if (i != p) continue;  // registers have no numbers at run time
#pragma unroll
      for (int h = 0; h < 4; ++h)
#pragma unroll
        for (int j = 0; j < Tile::kColumns; ++j) {
          const float (&s)[4] = sum[i + h / 2][j];
          put_sums(mine + h * 8 * kPitch + j * 8, s[h % 2 * 2], s[h % 2 * 2 + 1]);
        }
    }
    __syncwarp();
    hand_rows<32, Tile::kWarpN>(epilogue, part, kPitch, row0 + p * 16, 1, column0, m, n);
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
  using Operand = MmaOperand<T, kOuter>;
  static constexpr bool kGathers = false, kAlongK = kAlongK_;
  static constexpr int kVec = kVecSize<T>, kChunks = (kAlongK ? Tile::kStep : kOuter) / kVec;
  static constexpr int kRows = kAlongK ? kOuter : Tile::kStep, kPass = Tile::kThreads / kChunks;
  static constexpr int kPitch = kAlongK ? Operand::kAlongPitch : Operand::kAcrossPitch;
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
    const int rows = kAlongK ? rest : inside, columns = kAlongK ? inside : rest;
    const int bytes = columns > 0 ? columns * static_cast<int>(sizeof(T)) : 0;
    const T* p = from + (kAlongK ? k0 : k0 * pitch);
    T* const to =
        tile + static_cast<int>(threadIdx.x) / kChunks * kPitch + static_cast<int>(threadIdx.x) % kChunks * kVec;
#pragma unroll
    for (int i = 0; i < kRows / kPass; ++i) {
      cp_async<16>(to + i * kPass * kPitch, p, i * kPass < rows ? bytes : 0);
      p += kPass * pitch;
    }
  }
  __device__ __forceinline__ void land(T*) {}
};

// A number with the bits of T: arrays of it stay in registers.
template <class T>
using BitsOf = std::conditional_t<sizeof(T) == 2, uint16_t, uint32_t>;

// A matrix of any strides, element by element through registers.
template <class Tile, int kOuter>
struct GatherLoader {
  using T = typename Tile::T;
  using Bits = BitsOf<T>;
  using Operand = MmaOperand<T, kOuter>;
  static constexpr bool kGathers = true, kAlongK = true;
  static constexpr int kLoads = kOuter * Tile::kStep / Tile::kThreads;
  static_assert(Tile::kThreads % kOuter == 0);

  const Bits* from;       // this thread's first element, at k = 0
  int64_t jump, k_step;   // elements of memory from one of its elements to the next; from one of k to the next
  int rest, k;            // elements along the other dimension, and along k, from its first one to the end
  int place, outer_jump;  // of its elements: threads go along k first where memory does
  Bits next[kLoads];

  __device__ __forceinline__ GatherLoader(const T* matrix, int64_t outer_step, int64_t k_step_, int64_t first,
                                          int64_t size, int64_t k_size)
      : k_step(k_step_) {
    const bool k_first = k_step <= outer_step;
    const int t = static_cast<int>(threadIdx.x);
    const int outer = k_first ? t / Tile::kStep : t % kOuter, at = k_first ? t % Tile::kStep : t / kOuter;
    outer_jump = k_first ? Tile::kThreads / Tile::kStep : 0;
    from = reinterpret_cast<const Bits*>(matrix) + (first + outer) * outer_step + at * k_step;
    jump = k_first ? outer_jump * outer_step : Tile::kThreads / kOuter * k_step;
    const int64_t inside = size - first - outer;
    rest = inside < kOuter ? static_cast<int>(inside) : kOuter;
    k = static_cast<int>(k_size) - at;
    place = outer * Operand::kAlongPitch + at;
  }
  __device__ __forceinline__ int k_jump() const { return outer_jump ? 0 : Tile::kThreads / kOuter; }
  __device__ __forceinline__ void fetch(T*, int k0) {
    const Bits* p = from + k0 * k_step;
    int outer_rest = rest, k_rest = k - k0;
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
      next[i] = (outer_rest > 0) & (k_rest > 0) ? *p : Bits{0};
      p += jump;
      outer_rest -= outer_jump;
      k_rest -= k_jump();
    }
  }
  __device__ __forceinline__ void land(T* tile) {
    Bits* to = reinterpret_cast<Bits*>(tile) + place;
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
      *to = next[i];
      to += outer_jump * Operand::kAlongPitch + k_jump();
    }
  }
};

}  // namespace fireseed::cuda

// Convolutions in tiles by tensor cores: loaders that gather the image, kernels and their launches.
#pragma once

#include <optional>

#include "kernels/conv_tile.cuh"
#include "kernels/mma_tile.cuh"
#include "runtime/allocator.h"
#include "runtime/device.h"
#include "runtime/stream.h"

namespace fireseed::cuda {

// Note [Images in vectors]
// Where channels are innermost in memory and a multiple of 16 bytes, k runs over (tap, channel): a piece of 16 bytes
// is one tap of one pixel, brought by cp_async or zeros. Else k runs over (channel, tap) and elements come one by one
// through registers: neighbouring threads have neighbouring pixels, and a thread writes vectors along k. The weight
// is packed to a matrix of the same k beforehand, unless it lies so. Rows of the product are pixels in the first
// case, so that neighbouring threads write neighbouring channels; else columns are, so that they write neighbouring
// pixels.

// ---- operands of conv and of the gradient to the input -------------------------------------------------------

// A thread's elements of a tile, which lie side by side, from registers to shared memory.
template <class T, int kLoads>
__device__ __forceinline__ void store_vectors(T* to, const BitsOf<T> (&from)[kLoads]) {
  constexpr int kVec = kVecSize<T>;
#pragma unroll
  for (int i = 0; i < kLoads; i += kVec) {
    Vec<BitsOf<T>, kVec> v;
#pragma unroll
    for (int j = 0; j < kVec; ++j) v.v[j] = from[i + j];
    v.store(reinterpret_cast<BitsOf<T>*>(to) + i);
  }
}
// The element that a tap of a pixel reads.
template <class T>
__device__ __forceinline__ const BitsOf<T>* element(const Pixel& pixel, const Tap& tap) {
  return reinterpret_cast<const BitsOf<T>*>(pixel.at) + tap.offset;
}
// The same for a piece of 16 bytes, to shared memory; zeros outside.
template <class T>
__device__ __forceinline__ void copy_piece(T* to, const ConvPart& part, const Pixel& pixel, const Tap& tap) {
  const bool inside = part.reads(pixel, tap);
  cp_async<16>(to, inside ? element<T>(pixel, tap) : part.job.src, inside ? 16 : 0);
}

// Tiles along k: rows are pixels.
template <class Tile, int kOuter>
struct ImageVectors {
  using T = typename Tile::T;
  static constexpr bool kAlongK = true;
  using Operand = MmaOperand<T, kOuter>;
  static constexpr int kVec = kVecSize<T>, kChunks = Tile::kStep / kVec, kPass = Tile::kThreads / kChunks,
                       kPixels = kOuter / kPass;
  static_assert(kOuter % kPass == 0);
  const ConvPart& part;
  Pixel pixel[kPixels];

  __device__ __forceinline__ ImageVectors(const ConvPart& part_, int32_t first) : part(part_) {
#pragma unroll
    for (int i = 0; i < kPixels; ++i)
      pixel[i] = part.pixel(first + static_cast<int32_t>(threadIdx.x) / kChunks + i * kPass);
  }
  __device__ __forceinline__ void fetch(T* tile, int k0) {
    const int row = static_cast<int>(threadIdx.x) / kChunks, chunk = static_cast<int>(threadIdx.x) % kChunks * kVec;
    int32_t unused;
    const Tap tap = part.tap(k0 + chunk, true, unused);
#pragma unroll
    for (int i = 0; i < kPixels; ++i)
      copy_piece(tile + (row + i * kPass) * Operand::kAlongPitch + chunk, part, pixel[i], tap);
  }
  __device__ __forceinline__ void land(T*) {}
};
template <class Tile, int kOuter>
struct ImageElements {
  using T = typename Tile::T;
  static constexpr bool kAlongK = true;
  using Operand = MmaOperand<T, kOuter>;
  static constexpr int kVec = kVecSize<T>, kLoads = kOuter * Tile::kStep / Tile::kThreads;
  static_assert(kLoads % kVec == 0 && Tile::kThreads % kOuter == 0);
  const ConvPart& part;
  TapRing<Tile::kStep> ring;
  Pixel pixel;
  BitsOf<T> next[kLoads];

  __device__ __forceinline__ ImageElements(const ConvPart& part_, const TapRing<Tile::kStep>& ring_, int32_t first)
      : part(part_), ring(ring_), pixel(part_.pixel(first + static_cast<int32_t>(threadIdx.x) % kOuter)) {}
  __device__ __forceinline__ void fetch(T*, int k0) {
    const Tap* taps = ring.taps(k0) + static_cast<int>(threadIdx.x) / kOuter * kLoads;
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
      const Tap tap = taps[i];
      next[i] = part.reads(pixel, tap) ? *element<T>(pixel, tap) : BitsOf<T>{0};
    }
    ring.fill(part, k0 + 2 * Tile::kStep);
  }
  __device__ __forceinline__ void land(T* tile) {
    const int t = static_cast<int>(threadIdx.x);
    store_vectors(tile + t % kOuter * Operand::kAlongPitch + t / kOuter * kLoads, next);
  }
};

// to[number][row][k]: the weight of phase and group `number` as rows of `pitch` elements, zeros behind its k. Bits:
// of an element.
template <class Bits>
static __global__ void __launch_bounds__(256)
    pack_weight(const __grid_constant__ ConvJob job, Bits* to, Divider<int32_t> pitch, bool taps_first) {
  const ConvPart part(job, blockIdx.y, sizeof(Bits));
  const int32_t count = job.rows * static_cast<int32_t>(pitch.d);
  to += static_cast<int64_t>(blockIdx.y) * count;
  for (int64_t i = grid_thread(); i < count; i += grid_threads()) {
    int32_t row = static_cast<int32_t>(i), weight;
    const int32_t k = take(row, pitch);
    part.tap(k, taps_first, weight);
    to[i] = k < part.k ? static_cast<const Bits*>(job.weight)[part.group * job.w_group + row * job.w_row + weight]
                       : Bits{0};
  }
}

// weight: as pack_weight leaves it.
// Compiles to (conv_mma.cu): no spills, HMMA
template <class Tile, bool kVectors>
static __global__ void __launch_bounds__(Tile::kThreads)
    convolve_mma(const __grid_constant__ ConvJob job, const typename Tile::T* weight, int64_t pitch, uint32_t tiles_m,
                 uint32_t tiles_n, bool vectors) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
  __trap();
#else
  using T = typename Tile::T;
  constexpr int kPixels = kVectors ? Tile::kM : Tile::kN, kChannels = kVectors ? Tile::kN : Tile::kM;
  FS_DYN_SMEM(T, shared);
  FS_SHARED(typename TapRing<Tile::kStep>::Memory, taps, [1]);
  FS_SHARED(int64_t, places, [kPixels]);
  uint32_t tile_row, tile_column;
  tile_at(blockIdx.x, tiles_m, tiles_n, tile_row, tile_column);
  const int64_t row0 = int64_t{tile_row} * Tile::kM, column0 = int64_t{tile_column} * Tile::kN;
  const int64_t parts = int64_t{job.groups} * job.phases[0] * job.phases[1] * job.phases[2];
  for (int64_t number = blockIdx.y; number < parts; number += gridDim.y) {
    const ConvPart part(job, number, sizeof(T));
    const int64_t m = kVectors ? part.pixels : job.rows, n = kVectors ? job.rows : part.pixels;
    if (row0 >= m || column0 >= n) continue;
    const int32_t first = static_cast<int32_t>(kVectors ? row0 : column0);
    place_pixels(part, places, first, kPixels);
    CopyLoader<Tile, kChannels, true> rows(weight + number * job.rows * pitch, pitch, kVectors ? column0 : row0,
                                           job.rows, part.k);
    typename Tile::Sums sum;
    if constexpr (kVectors) {
      ImageVectors<Tile, kPixels> image(part, first);
      mma_main_loop<Tile>(sum, shared, image, rows, 0, part.k);
    } else {
      TapRing<Tile::kStep> ring{taps[0]};
      ring.start(part);
      ImageElements<Tile, kPixels> image(part, ring, first);
      mma_main_loop<Tile>(sum, shared, rows, image, 0, part.k);
    }
    const ConvOut<float, kVectors> out{part, places, first, dtype_of<T>::value, vectors};
    mma_epilogue<Tile>(sum, shared, row0, column0, m, n, out);
  }
#endif
}

// ---- operands of the gradient to the weight --------------------------------------------------------------------

// Tiles across k, which runs over pixels: a row of the tile is one pixel.
template <class Tile, int kOuter>
struct WindowVectors {
  using T = typename Tile::T;
  static constexpr bool kAlongK = false;
  using Operand = MmaOperand<T, kOuter>;
  static constexpr int kVec = kVecSize<T>, kChunks = kOuter / kVec, kPass = Tile::kThreads / kChunks,
                       kPixels = Tile::kStep / kPass;
  static_assert(Tile::kThreads % kChunks == 0 && Tile::kStep % kPass == 0);
  const ConvPart& part;
  const PixelRange& range;
  Tap tap;

  __device__ __forceinline__ WindowVectors(const ConvPart& part_, const PixelRange& range_, int32_t first)
      : part(part_), range(range_) {
    int32_t unused;
    tap = part.tap(first + static_cast<int32_t>(threadIdx.x) % kChunks * kVec, true, unused);
  }
  __device__ __forceinline__ void fetch(T* tile, int k0) {
    const int row = static_cast<int>(threadIdx.x) / kChunks, chunk = static_cast<int>(threadIdx.x) % kChunks * kVec;
#pragma unroll
    for (int i = 0; i < kPixels; ++i) {
      const Pixel pixel = pixel_pair(part, range, part.job.out, k0 + row + i * kPass).window;
      copy_piece(tile + (row + i * kPass) * Operand::kAcrossPitch + chunk, part, pixel, tap);
    }
  }
  __device__ __forceinline__ void land(T*) {}
};

// kWindows: the windows, by the taps of the tile's columns; else the gradient, of which this thread has rows from
// `first` on.
template <class Tile, int kOuter, bool kWindows>
struct PixelElements {
  using T = typename Tile::T;
  static constexpr bool kAlongK = false;
  using Operand = MmaOperand<T, kOuter>;
  static constexpr int kVec = kVecSize<T>, kLoads = kOuter * Tile::kStep / Tile::kThreads;
  static_assert(kLoads % kVec == 0 && Tile::kThreads % Tile::kStep == 0);
  const ConvPart& part;
  const PixelRange& range;
  const T* g;
  const Tap* taps;
  int rest;
  BitsOf<T> next[kLoads];

  __device__ __forceinline__ PixelElements(const ConvPart& part_, const PixelRange& range_, const T* g_,
                                           const Tap* taps_, int32_t first)
      : part(part_), range(range_) {
    const int outer = static_cast<int>(threadIdx.x) / Tile::kStep * kLoads;
    g = g_ + int64_t{first + outer} * part.job.out_channel;
    taps = taps_ + outer;
    rest = part.job.rows - first - outer;
  }
  __device__ __forceinline__ void fetch(T*, int k0) {
    const PixelPair pair = pixel_pair(part, range, g, k0 + static_cast<int>(threadIdx.x) % Tile::kStep);
    const auto* gradient = reinterpret_cast<const BitsOf<T>*>(pair.gradient);
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
      if constexpr (kWindows) {
        const Tap tap = taps[i];
        next[i] = part.reads(pair.window, tap) ? *element<T>(pair.window, tap) : BitsOf<T>{0};
      } else {
        next[i] = (gradient != nullptr) & (i < rest) ? gradient[i * part.job.out_channel] : BitsOf<T>{0};
      }
    }
  }
  __device__ __forceinline__ void land(T* tile) {
    const int t = static_cast<int>(threadIdx.x);
    store_vectors(tile + t % Tile::kStep * Operand::kAcrossPitch + t / Tile::kStep * kLoads, next);
  }
};

// Compiles to (conv_mma.cu): no spills, HMMA
template <class Tile, bool kVectors>
static __global__ void __launch_bounds__(Tile::kThreads)
    sum_weight_mma(const __grid_constant__ ConvJob job, const typename Tile::T* g, float* sums, int64_t parts,
                   int64_t per_part, uint32_t tiles_m, uint32_t tiles_n) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
  __trap();
#else
  using T = typename Tile::T;
  FS_DYN_SMEM(T, shared);
  FS_SHARED(Tap, taps, [Tile::kN]);
  uint32_t tile_row, tile_column;
  tile_at(blockIdx.x, tiles_m, tiles_n, tile_row, tile_column);
  const int64_t row0 = int64_t{tile_row} * Tile::kM, column0 = int64_t{tile_column} * Tile::kN;
  for (int64_t number = blockIdx.y; number < job.groups * parts; number += gridDim.y) {
    const ConvPart part(job, number % job.groups, sizeof(T));
    const PixelRange range(job, number / job.groups, per_part);
    typename Tile::Sums sum;
    if constexpr (kVectors) {
      CopyLoader<Tile, Tile::kM, false> gradient(g + part.out_row(0) + range.begin * job.out_step[2], job.out_step[2],
                                                 row0, job.rows, range.count);
      WindowVectors<Tile, Tile::kN> window(part, range, static_cast<int32_t>(column0));
      mma_main_loop<Tile>(sum, shared, gradient, window, 0, range.count);
    } else {
      if (threadIdx.x < Tile::kN) {
        int32_t unused;
        taps[threadIdx.x] = part.tap(static_cast<int32_t>(column0 + threadIdx.x), false, unused);
      }
      __syncthreads();
      PixelElements<Tile, Tile::kM, false> gradient(part, range, g, taps, static_cast<int32_t>(row0));
      PixelElements<Tile, Tile::kN, true> window(part, range, g, taps, 0);
      mma_main_loop<Tile>(sum, shared, gradient, window, 0, range.count);
    }
    const WeightOut<float> out(sums + (number / job.groups * job.groups + part.group) * job.rows * part.k, part.k);
    mma_epilogue<Tile>(sum, shared, row0, column0, job.rows, part.k, out);
  }
#endif
}

// ---- launches --------------------------------------------------------------------------------------------------

// Whether the weight already is what pack_weight makes of it.
inline bool weight_is_packed(const ConvJob& job, bool taps_first) {
  if (job.all_phases() != 1 || job.w_row % (16 / dtype_size(job.dtype)) != 0 || !aligned_for(job.weight, 16))
    return false;
  int64_t step = taps_first ? job.channels : 1;
  if (taps_first && job.w_channel != 1 && job.channels != 1) return false;
  for (int i = 2; i >= 0; --i) {
    const PixelAxis& a = job.axis[i][0];
    if (a.ker0 != 0 || (a.taps > 1 && (a.dker != 1 || job.w_step[i] != step))) return false;
    step *= a.taps;
  }
  return (taps_first || job.w_channel == step || job.channels == 1) && job.w_group == int64_t{job.rows} * job.w_row;
}

template <class Tile, bool kVectors>
void launch_mma(const ConvJob& job, const typename Tile::T* weight, int64_t pitch) {
  const int64_t pixels = job.batch * job.pixels();
  const TileGrid tiles(kVectors ? pixels : job.rows, kVectors ? job.rows : pixels, Tile::kM, Tile::kN,
                       job.groups * job.all_phases());
  FS_LAUNCH((convolve_mma<Tile, kVectors>), tiles.grid, Tile::kThreads, Tile::kSharedBytes, current_stream(), job,
            weight, pitch, tiles.m, tiles.n, vector_results(job, kVectors));
}

template <class Tile>
void launch_layout(const ConvJob& job, bool in_vectors, const typename Tile::T* weight, int64_t pitch) {
  if (in_vectors) launch_mma<Tile, true>(job, weight, pitch);
  else launch_mma<Tile, false>(job, weight, pitch);
}

template <class Tile, bool kVectors>
void launch_weight(const ConvJob& job, const typename Tile::T* g, int64_t parts, float* sums) {
  const TileGrid tiles(job.rows, job.channels * job.taps(), Tile::kM, Tile::kN, job.groups * parts);
  const int64_t steps = (job.batch * job.pixels() + Tile::kStep - 1) / Tile::kStep;
  FS_LAUNCH((sum_weight_mma<Tile, kVectors>), tiles.grid, Tile::kThreads, Tile::kSharedBytes, current_stream(), job,
            g, sums, parts, (steps + parts - 1) / parts * Tile::kStep, tiles.m, tiles.n);
}

template <class T>
bool run_mma_job(const ConvJob& job) {
  if (compute_capability() < 80) return false;
  const bool in_vectors = image_vectors(job);
  const T* weight = static_cast<const T*>(job.weight);
  int64_t pitch = job.w_row;
  std::optional<Scratch> packed;
  if (!weight_is_packed(job, in_vectors)) {
    constexpr int64_t kVec = kVecSize<T>;
    pitch = (job.channels * job.taps() + kVec - 1) / kVec * kVec;
    const int64_t count = job.rows * pitch, parts = job.groups * job.all_phases();
    if (parts > 65535 || count >= int64_t{1} << 31) return false;
    packed.emplace(static_cast<size_t>(std::max<int64_t>(1, parts * count)) * sizeof(T));
    weight = packed->template ptr<T>();
    const dim3 grid(grid_for(count, 256, 1 << 16), static_cast<unsigned>(parts));
    const Divider<int32_t> row(std::max<int64_t>(1, pitch));
    FS_LAUNCH((pack_weight<BitsOf<T>>), grid, 256, 0, current_stream(), job, packed->template ptr<BitsOf<T>>(), row,
              in_vectors);
  }
  if (large_tiles(job.rows, job.batch * job.pixels(), job.groups * job.all_phases()))
    launch_layout<MmaTile<T, 128, 128>>(job, in_vectors, weight, pitch);
  else launch_layout<MmaTile<T, 64, 64>>(job, in_vectors, weight, pitch);
  return true;
}

template <class T>
bool run_mma_weight(const ConvJob& job, const void* gradient, bool in_vectors, int64_t parts, float* sums) {
  const T* g = static_cast<const T*>(gradient);
  if (compute_capability() < 80) return false;
  if (large_tiles(job.rows, job.channels * job.taps(), job.groups * parts)) {
    if (in_vectors) launch_weight<MmaTile<T, 128, 128>, true>(job, g, parts, sums);
    else launch_weight<MmaTile<T, 128, 128>, false>(job, g, parts, sums);
  } else {
    if (in_vectors) launch_weight<MmaTile<T, 64, 64>, true>(job, g, parts, sums);
    else launch_weight<MmaTile<T, 64, 64>, false>(job, g, parts, sums);
  }
  return true;
}

}  // namespace fireseed::cuda

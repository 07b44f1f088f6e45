// Convolutions in tiles by plain arithmetic: float and double in full precision, halves where there are no tensor
// cores for them.
#include "kernels/conv_tile.cuh"
#include "kernels/simt_tile.cuh"
#include "runtime/device.h"
#include "runtime/stream.h"

namespace fireseed::cuda {
namespace {

// Pixels of the image: a thread has one, and every (threads / tile)th element of k.
template <class Tile, class T>
struct ImageLoader {
  using C = typename Tile::C;
  static constexpr int kLoads = Tile::kTile * Tile::kStep / Tile::kThreads, kJump = Tile::kThreads / Tile::kTile;
  const ConvPart<T>& part;
  TapRing<Tile::kStep>& ring;
  Pixel<T> pixel;
  int at;  // its first element of k in a step
  C next[kLoads];

  __device__ __forceinline__ ImageLoader(const ConvPart<T>& part_, TapRing<Tile::kStep>& ring_, int32_t first)
      : part(part_),
        ring(ring_),
        pixel(part_.pixel(first + static_cast<int32_t>(threadIdx.x) % Tile::kTile)),
        at(static_cast<int>(threadIdx.x) / Tile::kTile) {}
  __device__ __forceinline__ void fetch(int64_t k0) {
    const Tap* taps = ring.taps(k0) + at;
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
      const Tap tap = taps[i * kJump];
      next[i] = part.reads(pixel, tap) ? load_as<C>(pixel.at[tap.offset]) : C(0);
    }
    ring.fill(part, k0 + 2 * Tile::kStep);
  }
  __device__ __forceinline__ void land(C* stage) {
    const int t = static_cast<int>(threadIdx.x) % Tile::kTile;
#pragma unroll
    for (int i = 0; i < kLoads; ++i) stage[(at + i * kJump) * Tile::kPitch + t] = next[i];
  }
};

// The weight: a thread has one element of k in a step, and every (threads / step)th row.
template <class Tile, class T>
struct WeightLoader {
  using C = typename Tile::C;
  static constexpr int kLoads = Tile::kTile * Tile::kStep / Tile::kThreads, kJump = Tile::kThreads / Tile::kStep;
  const TapRing<Tile::kStep>& ring;
  const T* from;
  int32_t row_step, k;
  int at, row, rest;  // its element of k in a step, its first row, rows from there to the end
  C next[kLoads];

  __device__ __forceinline__ WeightLoader(const ConvPart<T>& part, const TapRing<Tile::kStep>& ring_, int32_t first)
      : ring(ring_),
        row_step(part.job.w_row),
        k(part.k),
        at(static_cast<int>(threadIdx.x) % Tile::kStep),
        row(static_cast<int>(threadIdx.x) / Tile::kStep) {
    rest = part.job.rows - first - row;
    from = part.job.weight + part.group * part.job.w_group + (first + row) * row_step;
  }
  __device__ __forceinline__ void fetch(int64_t k0) {
    const bool inside = k0 + at < k;
    const T* p = from + (inside ? ring.weights(k0)[at] : 0);
#pragma unroll
    for (int i = 0; i < kLoads; ++i)
      next[i] = inside && i * kJump < rest ? load_as<C>(p[i * kJump * row_step]) : C(0);
  }
  __device__ __forceinline__ void land(C* stage) {
#pragma unroll
    for (int i = 0; i < kLoads; ++i) stage[at * Tile::kPitch + row + i * kJump] = next[i];
  }
};

// Compiles to: no spills
template <class T, int kPer>
__global__ void __launch_bounds__(256, kPer == 8 ? 1 : 2)
    convolve_tiles(const __grid_constant__ ConvJob<T> job, uint32_t tiles_m, uint32_t tiles_n, bool vectors) {
  using Tile = SimtTile<compute_type<T>, kPer>;
  using C = typename Tile::C;
  using Aligned = Vec<C, kVecSize<C>>;
  FS_SHARED(Aligned, shared, [4 * Tile::kStage / kVecSize<C>]);
  FS_SHARED(typename TapRing<Tile::kStep>::Memory, taps, [1]);
  uint32_t tile_row, tile_column;
  tile_at(blockIdx.x, tiles_m, tiles_n, tile_row, tile_column);
  const int64_t row0 = int64_t{tile_row} * Tile::kTile, column0 = int64_t{tile_column} * Tile::kTile;
  const int64_t parts = int64_t{job.groups} * job.phases[0] * job.phases[1] * job.phases[2];
  for (int64_t number = blockIdx.y; number < parts; number += gridDim.y) {
    const ConvPart<T> part(job, number);
    if (column0 >= part.pixels) continue;  // this phase has fewer
    TapRing<Tile::kStep> ring{taps[0]};
    ring.start(part);
    ImageLoader<Tile, T> image(part, ring, static_cast<int32_t>(column0));
    WeightLoader<Tile, T> weight(part, ring, static_cast<int32_t>(row0));
    typename Tile::Sums sum;
    C* const stages = reinterpret_cast<C*>(&shared[0]);
    simt_main_loop<Tile>(sum, stages, weight, image, 0, part.k);
    const ConvOut<T, false> out{part, vectors};
    simt_epilogue<Tile>(sum, row0, column0, job.rows, part.pixels, out);
  }
}

template <class T, int kPer>
void launch(const ConvJob<T>& job) {
  const TileGrid tiles(job.rows, job.batch * job.pixels(), 16 * kPer, 16 * kPer, job.groups * job.all_phases());
  FS_LAUNCH((convolve_tiles<T, kPer>), tiles.grid, 256, 0, current_stream(), job, tiles.m, tiles.n,
            vector_results(job, false));
}

// ---- gradient to the weight --------------------------------------------------------------------------------

// Its operands; k runs over pixels. A thread has one pixel in a step, and every (threads / step)th row or column.
template <class Tile, class T>
struct GradientLoader {
  using C = typename Tile::C;
  static constexpr int kLoads = Tile::kTile * Tile::kStep / Tile::kThreads, kJump = Tile::kThreads / Tile::kStep;
  const ConvPart<T>& part;
  const PixelRange<T>& range;
  const T* g;
  int at, row, rest;
  C next[kLoads];

  __device__ __forceinline__ GradientLoader(const ConvPart<T>& part_, const PixelRange<T>& range_, const T* g_,
                                            int32_t first)
      : part(part_),
        range(range_),
        at(static_cast<int>(threadIdx.x) % Tile::kStep),
        row(static_cast<int>(threadIdx.x) / Tile::kStep) {
    g = g_ + int64_t{first + row} * part.job.out_channel;
    rest = part.job.rows - first - row;
  }
  __device__ __forceinline__ void fetch(int64_t k0) {
    const T* p = pixel_pair(part, range, g, static_cast<int32_t>(k0) + at).gradient;
#pragma unroll
    for (int i = 0; i < kLoads; ++i)
      next[i] = p && i * kJump < rest ? load_as<C>(p[i * kJump * part.job.out_channel]) : C(0);
  }
  __device__ __forceinline__ void land(C* stage) {
#pragma unroll
    for (int i = 0; i < kLoads; ++i) stage[at * Tile::kPitch + row + i * kJump] = next[i];
  }
};
template <class Tile, class T>
struct WindowLoader {
  using C = typename Tile::C;
  static constexpr int kLoads = Tile::kTile * Tile::kStep / Tile::kThreads, kJump = Tile::kThreads / Tile::kStep;
  const ConvPart<T>& part;
  const PixelRange<T>& range;
  int at;
  const Tap* taps;
  C next[kLoads];

  // taps_: of the columns of the tile.
  __device__ __forceinline__ WindowLoader(const ConvPart<T>& part_, const PixelRange<T>& range_, const Tap* taps_)
      : part(part_),
        range(range_),
        at(static_cast<int>(threadIdx.x) % Tile::kStep),
        taps(taps_ + static_cast<int>(threadIdx.x) / Tile::kStep) {}
  __device__ __forceinline__ void fetch(int64_t k0) {
    const Pixel<T> pixel = pixel_pair(part, range, part.job.out, static_cast<int32_t>(k0) + at).window;
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
      const Tap tap = taps[i * kJump];
      next[i] = part.reads(pixel, tap) ? load_as<C>(pixel.at[tap.offset]) : C(0);
    }
  }
  __device__ __forceinline__ void land(C* stage) {
    const int column = static_cast<int>(threadIdx.x) / Tile::kStep;
#pragma unroll
    for (int i = 0; i < kLoads; ++i) stage[at * Tile::kPitch + column + i * kJump] = next[i];
  }
};

// Compiles to: no spills
template <class T, int kPer>
__global__ void __launch_bounds__(256, kPer == 8 ? 1 : 2)
    sum_weight_tiles(const __grid_constant__ ConvJob<T> job, const T* g, compute_type<T>* sums, int64_t parts,
                     int64_t per_part, uint32_t tiles_m, uint32_t tiles_n) {
  using Tile = SimtTile<compute_type<T>, kPer>;
  using C = typename Tile::C;
  using Aligned = Vec<C, kVecSize<C>>;
  FS_SHARED(Aligned, shared, [4 * Tile::kStage / kVecSize<C>]);
  FS_SHARED(Tap, taps, [Tile::kTile]);
  uint32_t tile_row, tile_column;
  tile_at(blockIdx.x, tiles_m, tiles_n, tile_row, tile_column);
  const int64_t row0 = int64_t{tile_row} * Tile::kTile, column0 = int64_t{tile_column} * Tile::kTile;
  for (int64_t number = blockIdx.y; number < job.groups * parts; number += gridDim.y) {
    const ConvPart<T> part(job, number % job.groups);
    const PixelRange<T> range(job, number / job.groups, per_part);
    if (threadIdx.x < Tile::kTile) {
      int32_t unused;
      taps[threadIdx.x] = part.template tap<false>(static_cast<int32_t>(column0 + threadIdx.x), unused);
    }
    __syncthreads();
    GradientLoader<Tile, T> gradient(part, range, g, static_cast<int32_t>(row0));
    WindowLoader<Tile, T> window(part, range, taps);
    typename Tile::Sums sum;
    simt_main_loop<Tile>(sum, reinterpret_cast<C*>(&shared[0]), gradient, window, 0, range.count);
    WeightOut<C> out{sums + (number / job.groups * job.groups + part.group) * job.rows * part.k, part.k};
    simt_epilogue<Tile>(sum, row0, column0, job.rows, part.k, out);
  }
}

template <class T, int kPer>
void launch_weight(const ConvJob<T>& job, const T* g, int64_t parts, compute_type<T>* sums) {
  constexpr int64_t kStep = SimtTile<compute_type<T>, kPer>::kStep;
  const TileGrid tiles(job.rows, job.channels * job.taps(), 16 * kPer, 16 * kPer, job.groups * parts);
  const int64_t steps = (job.batch * job.pixels() + kStep - 1) / kStep,
                per_part = (steps + parts - 1) / parts * kStep;
  FS_LAUNCH((sum_weight_tiles<T, kPer>), tiles.grid, 256, 0, current_stream(), job, g, sums, parts, per_part, tiles.m,
            tiles.n);
}

// Tiles of 128 x 128 where they keep the device busy.
bool large_tiles(int64_t m, int64_t n, int64_t batch) {
  return (m + 127) / 128 * ((n + 127) / 128) * batch >= multiprocessors();
}

}  // namespace

template <class T>
void conv_simt(const ConvJob<T>& job) {
  if constexpr (std::is_same_v<T, float>) {
    if (large_tiles(job.rows, job.batch * job.pixels(), job.groups * job.all_phases())) return launch<T, 8>(job);
  }
  launch<T, 4>(job);
}

template <class T>
void conv_simt_weight(const ConvJob<T>& job, const T* g, int64_t parts, compute_type<T>* sums) {
  if constexpr (std::is_same_v<T, float>) {
    if (job.rows > 64 && job.channels * job.taps() > 64) return launch_weight<T, 8>(job, g, parts, sums);
  }
  launch_weight<T, 4>(job, g, parts, sums);
}

#define FS_CONV_SIMT(T)                       \
  template void conv_simt(const ConvJob<T>&); \
  template void conv_simt_weight(const ConvJob<T>&, const T*, int64_t, compute_type<T>*);
FS_CONV_SIMT(float)
FS_CONV_SIMT(double)
FS_CONV_SIMT(float16)
FS_CONV_SIMT(bfloat16)
#undef FS_CONV_SIMT

}  // namespace fireseed::cuda

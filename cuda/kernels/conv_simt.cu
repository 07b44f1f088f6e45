// Convolutions in tiles by plain arithmetic: float in full precision, halves where there are no tensor cores for
// them.
#include "kernels/conv_tile.cuh"
#include "kernels/simt_tile.cuh"
#include "runtime/stream.h"

namespace fireseed::cuda {
namespace {

// Pixels of the image: a thread has one, and every (threads / tile)th element of k.
template <class Tile>
struct ImageLoader {
  using C = typename Tile::C;
  static constexpr int kLoads = Tile::kTile * Tile::kStep / Tile::kThreads, kJump = Tile::kThreads / Tile::kTile;
  const ConvPart& part;
  DType dtype;
  TapRing<Tile::kStep>& ring;
  Pixel pixel;
  int at;  // its first element of k in a step
  C next[kLoads];

  __device__ __forceinline__ ImageLoader(const ConvPart& part_, DType t, TapRing<Tile::kStep>& ring_, int32_t first)
      : part(part_),
        dtype(t),
        ring(ring_),
        pixel(part_.pixel(first + static_cast<int32_t>(threadIdx.x) % Tile::kTile)),
        at(static_cast<int>(threadIdx.x) / Tile::kTile) {}
  __device__ __forceinline__ void fetch(int64_t k0) {
    const Tap* taps = ring.taps(k0) + at;
    with_load<C>(dtype, [&](auto load) {
#pragma unroll
      for (int i = 0; i < kLoads; ++i) {
        const Tap tap = taps[i * kJump];
        next[i] = part.reads(pixel, tap) ? load(pixel.at + int64_t{tap.offset} * part.size, 0) : C(0);
      }
    });
    ring.fill(part, k0 + 2 * Tile::kStep);
  }
  __device__ __forceinline__ void land(C* stage) {
    const int t = static_cast<int>(threadIdx.x) % Tile::kTile;
#pragma unroll
    for (int i = 0; i < kLoads; ++i) stage[(at + i * kJump) * Tile::kPitch + t] = next[i];
  }
};

// Rows of one element of k in a step, (threads / step) apart: of the weight, and of the gradient.
template <class Tile>
struct RowLoader {
  using C = typename Tile::C;
  static constexpr int kLoads = Tile::kTile * Tile::kStep / Tile::kThreads, kJump = Tile::kThreads / Tile::kStep;
  DType dtype;
  int at, row, rest;  // its element of k in a step, its first row, rows from there to the end
  C next[kLoads];

  __device__ __forceinline__ RowLoader(DType t, int32_t rows)
      : dtype(t),
        at(static_cast<int>(threadIdx.x) % Tile::kStep),
        row(static_cast<int>(threadIdx.x) / Tile::kStep),
        rest(rows - row) {}
  // From p on, `step` elements from row to row; p: null for zeros.
  __device__ __forceinline__ void read(const char* p, int64_t step) {
    with_load<C>(dtype, [&](auto load) {
#pragma unroll
      for (int i = 0; i < kLoads; ++i)
        next[i] = (p != nullptr) & (i * kJump < rest) ? load(p, i * kJump * step) : C(0);
    });
  }
  __device__ __forceinline__ void land(C* stage) {
#pragma unroll
    for (int i = 0; i < kLoads; ++i) stage[at * Tile::kPitch + row + i * kJump] = next[i];
  }
};
template <class Tile>
struct WeightLoader : RowLoader<Tile> {
  const TapRing<Tile::kStep>& ring;
  const char* from;
  int32_t row_step, k;
  int size;

  __device__ __forceinline__ WeightLoader(const ConvPart& part, DType t, const TapRing<Tile::kStep>& ring_,
                                          int32_t first)
      : RowLoader<Tile>(t, part.job.rows - first), ring(ring_), row_step(part.job.w_row), k(part.k), size(part.size) {
    from = static_cast<const char*>(part.job.weight) +
           int64_t{part.group * part.job.w_group + (first + this->row) * row_step} * size;
  }
  __device__ __forceinline__ void fetch(int64_t k0) {
    this->read(k0 + this->at < k ? from + int64_t{ring.weights(k0)[this->at]} * size : nullptr, row_step);
  }
};

// Compiles to: no spills
template <int kPer>
__global__ void __launch_bounds__(256, kPer == 8 ? 1 : 2)
    convolve_tiles(const __grid_constant__ ConvJob job, uint32_t tiles_m, uint32_t tiles_n, bool vectors) {
  using C = float;
  using Tile = SimtTile<C, kPer>;
  using Aligned = Vec<C, kVecSize<C>>;
  FS_SHARED(Aligned, shared, [4 * Tile::kStage / kVecSize<C>]);
  FS_SHARED(typename TapRing<Tile::kStep>::Memory, taps, [1]);
  FS_SHARED(int64_t, places, [Tile::kTile]);
  const DType t = kPer == 8 ? DType::kFloat32 : job.dtype;
  uint32_t tile_row, tile_column;
  tile_at(blockIdx.x, tiles_m, tiles_n, tile_row, tile_column);
  const int64_t row0 = int64_t{tile_row} * Tile::kTile, column0 = int64_t{tile_column} * Tile::kTile;
  const int64_t parts = int64_t{job.groups} * job.phases[0] * job.phases[1] * job.phases[2];
  for (int64_t number = blockIdx.y; number < parts; number += gridDim.y) {
    const ConvPart part(job, number, t == DType::kFloat32 ? 4 : 2);
    if (column0 >= part.pixels) continue;  // this phase has fewer
    place_pixels(part, places, static_cast<int32_t>(column0), Tile::kTile);
    TapRing<Tile::kStep> ring{taps[0]};
    ring.start(part);
    ImageLoader<Tile> image(part, t, ring, static_cast<int32_t>(column0));
    WeightLoader<Tile> weight(part, t, ring, static_cast<int32_t>(row0));
    typename Tile::Sums sum;
    C* const stages = reinterpret_cast<C*>(&shared[0]);
    simt_main_loop<Tile>(sum, stages, weight, image, 0, part.k);
    const ConvOut<C, false> out{part, places, static_cast<int32_t>(column0), t, vectors};
    simt_epilogue<Tile>(sum, stages, row0, column0, job.rows, part.pixels, out);
  }
}

template <int kPer>
void launch_tiles(const ConvJob& job) {
  const TileGrid tiles(job.rows, job.batch * job.pixels(), 16 * kPer, 16 * kPer, job.groups * job.all_phases());
  FS_LAUNCH((convolve_tiles<kPer>), tiles.grid, 256, 0, current_stream(), job, tiles.m, tiles.n,
            vector_results(job, false));
}

// ---- gradient to the weight --------------------------------------------------------------------------------

// Its operands; k runs over pixels. A thread has one pixel in a step, and every (threads / step)th row or column.
template <class Tile>
struct GradientLoader : RowLoader<Tile> {
  const ConvPart& part;
  const PixelRange& range;
  const char* g;

  __device__ __forceinline__ GradientLoader(const ConvPart& part_, DType t, const PixelRange& range_, const void* g_,
                                            int32_t first)
      : RowLoader<Tile>(t, part_.job.rows - first), part(part_), range(range_) {
    g = static_cast<const char*>(g_) + int64_t{first + this->row} * part.job.out_channel * part.size;
  }
  __device__ __forceinline__ void fetch(int64_t k0) {
    this->read(pixel_pair(part, range, g, static_cast<int32_t>(k0) + this->at).gradient, part.job.out_channel);
  }
};
template <class Tile>
struct WindowLoader {
  using C = typename Tile::C;
  static constexpr int kLoads = Tile::kTile * Tile::kStep / Tile::kThreads, kJump = Tile::kThreads / Tile::kStep;
  const ConvPart& part;
  DType dtype;
  const PixelRange& range;
  int at;
  const Tap* taps;
  C next[kLoads];

  // taps_: of the columns of the tile.
  __device__ __forceinline__ WindowLoader(const ConvPart& part_, DType t, const PixelRange& range_, const Tap* taps_)
      : part(part_),
        dtype(t),
        range(range_),
        at(static_cast<int>(threadIdx.x) % Tile::kStep),
        taps(taps_ + static_cast<int>(threadIdx.x) / Tile::kStep) {}
  __device__ __forceinline__ void fetch(int64_t k0) {
    const Pixel pixel = pixel_pair(part, range, part.job.out, static_cast<int32_t>(k0) + at).window;
    with_load<C>(dtype, [&](auto load) {
#pragma unroll
      for (int i = 0; i < kLoads; ++i) {
        const Tap tap = taps[i * kJump];
        next[i] = part.reads(pixel, tap) ? load(pixel.at + int64_t{tap.offset} * part.size, 0) : C(0);
      }
    });
  }
  __device__ __forceinline__ void land(C* stage) {
    const int column = static_cast<int>(threadIdx.x) / Tile::kStep;
#pragma unroll
    for (int i = 0; i < kLoads; ++i) stage[at * Tile::kPitch + column + i * kJump] = next[i];
  }
};

// Compiles to: no spills
template <int kPer>
__global__ void __launch_bounds__(256, kPer == 8 ? 1 : 2)
    sum_weight_tiles(const __grid_constant__ ConvJob job, const void* g, float* sums, int64_t parts, int64_t per_part,
                     uint32_t tiles_m, uint32_t tiles_n) {
  using C = float;
  using Tile = SimtTile<C, kPer>;
  using Aligned = Vec<C, kVecSize<C>>;
  FS_SHARED(Aligned, shared, [4 * Tile::kStage / kVecSize<C>]);
  FS_SHARED(Tap, taps, [Tile::kTile]);
  const DType t = kPer == 8 ? DType::kFloat32 : job.dtype;
  uint32_t tile_row, tile_column;
  tile_at(blockIdx.x, tiles_m, tiles_n, tile_row, tile_column);
  const int64_t row0 = int64_t{tile_row} * Tile::kTile, column0 = int64_t{tile_column} * Tile::kTile;
  for (int64_t number = blockIdx.y; number < job.groups * parts; number += gridDim.y) {
    const ConvPart part(job, number % job.groups, t == DType::kFloat32 ? 4 : 2);
    const PixelRange range(job, number / job.groups, per_part);
    if (threadIdx.x < Tile::kTile) {
      int32_t unused;
      taps[threadIdx.x] = part.tap(static_cast<int32_t>(column0 + threadIdx.x), false, unused);
    }
    __syncthreads();
    GradientLoader<Tile> gradient(part, t, range, g, static_cast<int32_t>(row0));
    WindowLoader<Tile> window(part, t, range, taps);
    typename Tile::Sums sum;
    C* const stages = reinterpret_cast<C*>(&shared[0]);
    simt_main_loop<Tile>(sum, stages, gradient, window, 0, range.count);
    const WeightOut<C> out(sums + (number / job.groups * job.groups + part.group) * job.rows * part.k, part.k);
    simt_epilogue<Tile>(sum, stages, row0, column0, job.rows, part.k, out);
  }
}

template <int kPer>
void launch_weight(const ConvJob& job, const void* g, int64_t parts, float* sums) {
  constexpr int64_t kStep = SimtTile<float, kPer>::kStep;
  const TileGrid tiles(job.rows, job.channels * job.taps(), 16 * kPer, 16 * kPer, job.groups * parts);
  const int64_t steps = (job.batch * job.pixels() + kStep - 1) / kStep,
                per_part = (steps + parts - 1) / parts * kStep;
  FS_LAUNCH((sum_weight_tiles<kPer>), tiles.grid, 256, 0, current_stream(), job, g, sums, parts, per_part, tiles.m,
            tiles.n);
}

}  // namespace

void conv_simt(const ConvJob& job) {
  if (job.dtype == DType::kFloat32 && large_tiles(job.rows, job.batch * job.pixels(), job.groups * job.all_phases()))
    launch_tiles<8>(job);
  else launch_tiles<4>(job);
}

void conv_simt_weight(const ConvJob& job, const void* g, int64_t parts, float* sums) {
  if (job.dtype == DType::kFloat32 && job.rows > 64 && job.channels * job.taps() > 64)
    launch_weight<8>(job, g, parts, sums);
  else launch_weight<4>(job, g, parts, sums);
}

}  // namespace fireseed::cuda

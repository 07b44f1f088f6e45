// What products made in tiles share: the grid, the order of tiles, and how results reach an epilogue.
#pragma once

#include <algorithm>

#include "device/vec.cuh"

namespace fireseed::cuda {

// For the host: blocks along x make the tiles of an m x n product, blocks along y go on in steps over `batch`, and
// blocks along z make parts of k.
struct TileGrid {
  uint32_t m, n;  // tiles
  dim3 grid;
  TileGrid(int64_t rows, int64_t columns, int64_t tile_m, int64_t tile_n, int64_t batch, int parts = 1) {
    const int64_t tiles_m = (rows + tile_m - 1) / tile_m, tiles_n = (columns + tile_n - 1) / tile_n;
    FS_CHECK(tiles_m < (int64_t{1} << 31) / tiles_n, "a product of ", rows, " x ", columns,
             " elements has more tiles than one launch has blocks; split it");
    m = static_cast<uint32_t>(tiles_m);
    n = static_cast<uint32_t>(tiles_n);
    grid = dim3(m * n, static_cast<unsigned>(std::min<int64_t>(batch, 65535)), static_cast<unsigned>(parts));
  }
};

// The order in which blocks take the tiles: bands of eight tiles of rows, within a band column by column, so that
// blocks that run together share operands in the L2 cache.
__device__ __forceinline__ void tile_at(uint32_t i, uint32_t tiles_m, uint32_t tiles_n, uint32_t& row,
                                        uint32_t& column) {
  constexpr uint32_t kBand = 8;
  const uint32_t band = i / (kBand * tiles_n), in_band = i - band * (kBand * tiles_n);
  const uint32_t rest = tiles_m - band * kBand, rows = rest < kBand ? rest : kBand;
  row = band * kBand + in_band % rows;
  column = in_band / rows;
}

// Hands four neighbours of a row, of which the first `inside` exist, to an epilogue: by one call of
// four(row, column, v, inside) where it has it, else of (row, column, value) for each.
template <class Epilogue, class C>
__device__ __forceinline__ void hand_four(Epilogue& epilogue, int64_t row, int64_t column, const C (&v)[4],
                                          int inside) {
  if constexpr (requires { epilogue.four(row, column, v, inside); }) {
    epilogue.four(row, column, v, inside);
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i)
      if (i < inside) epilogue(row, column + i, v[i]);
  }
}

// A warp hands rows of 32 sums, kPartPitch apart in shared memory, at (row0, column0) of an m x n product.
inline constexpr int kPartPitch = 32 + 8;  // pairs that 4 lanes write in each of 8 rows meet no bank twice
template <int kRows, class Epilogue>
__device__ __forceinline__ void hand_rows(Epilogue& epilogue, const float* part, int64_t row0, int64_t column0,
                                          int64_t m, int64_t n) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  column0 += lane % 8 * 4;
  const int64_t rest = n - column0;
  const int inside = rest < 4 ? static_cast<int>(rest) : 4;
  if (inside <= 0) return;
#pragma unroll 1
  for (int r = lane / 8; r < kRows && row0 + r < m; r += 4) {
    const auto v = Vec<float, 4>::load(part + r * kPartPitch + lane % 8 * 4);
    hand_four(epilogue, row0 + r, column0, v.v, inside);
  }
}

}  // namespace fireseed::cuda

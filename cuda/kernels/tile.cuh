// What products made in tiles share: the grid, the order of tiles, and how results reach an epilogue.
#pragma once

#include <algorithm>

#include "device/memory.cuh"

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

// Sums to shared memory, aligned, by one instruction. Not as words (Vec): sums would need registers of both kinds.
__device__ __forceinline__ void put_sums(float* p, float a, float b) {
#if defined(FS_CUDA_EMU)
  Vec<float, 2>{a, b}.store(p);
#else
  *reinterpret_cast<float2*>(p) = make_float2(a, b);
#endif
}
__device__ __forceinline__ void put_sums(float* p, float a, float b, float c, float d) {
#if defined(FS_CUDA_EMU)
  Vec<float, 4>{a, b, c, d}.store(p);
#else
  *reinterpret_cast<float4*>(p) = make_float4(a, b, c, d);
#endif
}
__device__ __forceinline__ void put_sums(double* p, double a, double b, double c, double d) {
#if defined(FS_CUDA_EMU)
  Vec<double, 2>{a, b}.store(p);
  Vec<double, 2>{c, d}.store(p + 2);
#else
  *reinterpret_cast<double2*>(p) = make_double2(a, b);
  *reinterpret_cast<double2*>(p + 2) = make_double2(c, d);
#endif
}

// Element i of p, a float of dtype t, from arithmetic type C.
template <class C>
__device__ __forceinline__ void store_sum(void* p, int64_t i, DType t, C x) {
  if (sizeof(C) == 8 || t == DType::kFloat32) static_cast<C*>(p)[i] = x;
  else static_cast<uint16_t*>(p)[i] = encode<uint16_t>(static_cast<float>(x), t);
}
// The same for elements i to i + 3, which are aligned vectors.
template <class C>
__device__ __forceinline__ void store_four(void* p, int64_t i, DType t, const C (&x)[4]) {
  constexpr int kVec = kVecSize<C>;
  if (sizeof(C) == 8 || t == DType::kFloat32) {
#pragma unroll
    for (int j = 0; j < 4; j += kVec) {
      Vec<C, kVec> v;
#pragma unroll
      for (int e = 0; e < kVec; ++e) v.v[e] = x[j + e];
      v.store(static_cast<C*>(p) + i + j);
    }
  } else {
    Vec<uint16_t, 4> v;
#pragma unroll
    for (int j = 0; j < 4; ++j) v.v[j] = encode<uint16_t>(static_cast<float>(x[j]), t);
    v.store(static_cast<uint16_t*>(p) + i);
  }
}

// A warp hands kRows rows of kColumns sums, `pitch` apart in shared memory, to an epilogue: row r of them is row
// row0 + r * row_step of an m x n product, from column0 on. An epilogue is called as (row, column, value) for each;
// where it has four(row, column, v) and `vectors` is set, by that for four neighbours of a row: n is then a multiple
// of four. All calls are in one place of the code, and neighbouring threads have neighbouring columns.
template <int kRows, int kColumns, class Epilogue, class C>
__device__ __forceinline__ void hand_rows(const Epilogue& epilogue, const C* part, int pitch, int64_t row0,
                                          int row_step, int64_t column0, int64_t m, int64_t n) {
  constexpr int kVec = kVecSize<C>;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  if constexpr (requires(C(&v)[4]) { epilogue.four(row0, column0, v); }) {
    if (epilogue.vectors) {
      constexpr int kGroups = kColumns / 4;
#pragma unroll 1
      for (int i = lane; i < kRows * kGroups; i += 32) {
        const int r = i / kGroups, c = i % kGroups * 4;
        const int64_t row = row0 + r * row_step, column = column0 + c;
        if (row >= m || column >= n) continue;
        C v[4];
#pragma unroll
        for (int j = 0; j < 4; j += kVec) {
          const auto u = Vec<C, kVec>::load(part + r * pitch + c + j);
#pragma unroll
          for (int e = 0; e < kVec; ++e) v[j + e] = u.v[e];
        }
        epilogue.four(row, column, v);
      }
      return;
    }
  }
#pragma unroll 1
  for (int c = lane; c < kColumns && column0 + c < n; c += 32)
#pragma unroll 1
    for (int r = 0; r < kRows; ++r) {
      const int64_t row = row0 + r * row_step;
      if (row >= m) break;
      epilogue(row, column0 + c, part[r * pitch + c]);
    }
}

}  // namespace fireseed::cuda

// Register-tiled micro-kernels of the matrix product: one tile of C, up to kMaxRows x kTileCols<T>, in registers.
#pragma once

#include "cpu/vec.h"

namespace fireseed::cpu::FS_ISA {

// Blocking constants of one instruction set. The tile is kMaxRows rows by two vectors: its accumulators, two vectors
// of B and one broadcast of A fill the register file (32 registers on AVX-512 and NEON, else 16).
#if defined(__AVX512F__)
inline constexpr int kMaxRows = 14;
#elif defined(__AVX2__)
inline constexpr int kMaxRows = 6;
#elif defined(__aarch64__)
inline constexpr int kMaxRows = 12;
#else
inline constexpr int kMaxRows = 4;
#endif
inline constexpr int kTileVecs = 2;
template <class T>
inline constexpr int kTileCols = kTileVecs * Vec<T>::kSize;
// Elements of K in a block: a row panel of A (kMaxRows x kBlockK) stays in L1.
template <class T>
inline constexpr int64_t kBlockK = sizeof(T) == 4 ? 384 : 192;
// Columns of B in a block: kBlockK x kBlockCols stays in L2 (half of 1 MiB).
inline constexpr int64_t kBlockCols = 384;

// What happens to a finished tile: c = relu?(alpha * tile + beta * c + bias_col[j] + bias_row[i]), masked to `cols`.
template <class T>
struct TileStore {
  T* c;               // (rows, cols), unit column stride
  int64_t c_step;     // elements from row to row
  T alpha, beta;      // beta 0: c is not read
  const T* bias_col;  // of the tile's first column, or null
  const T* bias_row;  // of the tile's first row, or null
  bool relu;
  int cols;                  // valid columns
  uint16_t* half = nullptr;  // where set: c's values go here instead, rounded, row by row c_step apart
  bool bf16 = false;         // to bfloat16, else to float16
};

// Writes the sums of one tile to C.
template <class T, int kRows, int kVecs>
FS_INLINE void finish_tile(const Vec<T> (&acc)[kRows][kVecs], const TileStore<T>& s) {
  constexpr int kV = Vec<T>::kSize;
  const bool plain = !s.bias_col && !s.bias_row && !s.relu && !s.half;
  if (plain && s.cols == kVecs * kV) {
    if (s.beta == T(0)) {
#pragma GCC unroll 16
      for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
        for (int v = 0; v < kVecs; ++v) (acc[i][v] * Vec<T>(s.alpha)).store(s.c + i * s.c_step + v * kV);
    } else {
#pragma GCC unroll 16
      for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
        for (int v = 0; v < kVecs; ++v) {
          T* c = s.c + i * s.c_step + v * kV;
          fma(Vec<T>(s.beta), Vec<T>::load(c), acc[i][v] * Vec<T>(s.alpha)).store(c);
        }
    }
    return;
  }
#pragma GCC unroll 4
  for (int v = 0; v < kVecs; ++v) {
    const int left = s.cols - v * kV, n = left < 0 ? 0 : left > kV ? kV : left;
    const Vec<T> bias = s.bias_col ? Vec<T>::load(s.bias_col + v * kV, n) : Vec<T>(T(0));
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
      T* c = s.c + i * s.c_step + v * kV;
      Vec<T> r = acc[i][v] * Vec<T>(s.alpha);
      if (s.beta != T(0)) r = fma(Vec<T>(s.beta), Vec<T>::load(c, n), r);
      if (s.bias_col) r += bias;
      if (s.bias_row) r += Vec<T>(s.bias_row[i]);
      if (s.relu) r = where(r < Vec<T>(T(0)), Vec<T>(T(0)), r);
      if constexpr (same_type<T, float>) {
        if (s.half) {
          uint16_t* h = s.half + i * s.c_step + v * kV;
          if (s.bf16) store_float(reinterpret_cast<bfloat16*>(h), r, n);
          else store_float(reinterpret_cast<float16*>(h), r, n);
          continue;
        }
      }
      r.store(c, n);
    }
  }
}

// tile(i, j) = sum over k of a(i, k) b(k, j); b's rows hold kVecs whole vectors (readable, also beyond the valid
// columns). kRowA: a(i, k) = a[i * a_step + k], else a[k * a_step + i].
template <class T, int kRows, int kVecs, bool kRowA>
void tile_kernel(int64_t k, const T* a, int64_t a_step, const T* b, int64_t b_step, const TileStore<T>& s) {
  constexpr int kV = Vec<T>::kSize;
  Vec<T> acc[kRows][kVecs];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) acc[i][v] = Vec<T>(T(0));
  // Rows are addressed from a pointer in three: 12 rows then need 4 pointers and one stride, which fits.
  const T* row[(kRows + 2) / 3];
#pragma GCC unroll 8
  for (int i = 0; i < (kRows + 2) / 3; ++i) row[i] = kRowA ? a + 3 * i * a_step : a;
  for (; k > 0; --k) {
    Vec<T> bv[kVecs];
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) {
      bv[v] = Vec<T>::load(b + v * kV);
      if constexpr (kV * sizeof(T) == 64) __builtin_prefetch(b + 4 * b_step + v * kV);  // B comes from L2
    }
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
      const Vec<T> av(kRowA ? row[i / 3][(i % 3) * a_step] : a[i]);
#pragma GCC unroll 4
      for (int v = 0; v < kVecs; ++v) acc[i][v] = fma(av, bv[v], acc[i][v]);
    }
    b += b_step;
    if constexpr (kRowA) {
#pragma GCC unroll 8
      for (int i = 0; i < (kRows + 2) / 3; ++i) ++row[i];
    } else {
      a += a_step;
    }
  }
  finish_tile<T, kRows, kVecs>(acc, s);
}

template <class T>
using TileKernel = void (*)(int64_t, const T*, int64_t, const T*, int64_t, const TileStore<T>&);

namespace detail_gemm {
template <class T, int kVecs, bool kRowA, class Seq>
struct TileTable;
template <class T, int kVecs, bool kRowA, size_t... kI>
struct TileTable<T, kVecs, kRowA, std::index_sequence<kI...>> {
  static constexpr TileKernel<T> kFn[] = {&tile_kernel<T, static_cast<int>(kI) + 1, kVecs, kRowA>...};
};
}  // namespace detail_gemm

// The kernel for `rows` in [1, kMaxRows] and one or two vectors of columns.
template <class T>
FS_INLINE TileKernel<T> tile_kernel_for(int rows, int vecs, bool row_a) {
  using Seq = std::make_index_sequence<kMaxRows>;
  if (vecs == 1)
    return row_a ? detail_gemm::TileTable<T, 1, true, Seq>::kFn[rows - 1]
                 : detail_gemm::TileTable<T, 1, false, Seq>::kFn[rows - 1];
  return row_a ? detail_gemm::TileTable<T, 2, true, Seq>::kFn[rows - 1]
               : detail_gemm::TileTable<T, 2, false, Seq>::kFn[rows - 1];
}

}  // namespace fireseed::cpu::FS_ISA

// Products of bfloat16 on processors with AMX: tiles of 16 x 16 sums, 32 elements of K an instruction.
#pragma once

#include "cpu/gemm_bf16.h"

#if defined(__AVX512F__) && defined(__linux__) && defined(__GNUC__) && __GNUC__ >= 11
#define FS_HAS_AMX 1

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace fireseed::cpu::FS_ISA {

// The processor has it and the kernel lends its 8 KB of registers to this process, which has to be asked for once.
inline bool has_amx() {
  static const bool has = [] {
    constexpr unsigned kBf16 = 1u << 22, kTile = 1u << 24;
    constexpr long kAskForState = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & kBf16) && (d & kTile) &&
           syscall(SYS_arch_prctl, kAskForState, kTileData) == 0;
  }();
  return has;
}

// Panels of pairs as PairPanels', padded with zeros to whole tiles along K; rows of A always along K.
struct AmxPanels {
  using Packed = uint32_t;
  static constexpr int kDepth = 2;
  static constexpr int kRows = 32;         // of a panel of A: two tiles
  static constexpr int64_t kUnit = 32;     // elements of K in a tile
  static constexpr int64_t kBlock = 1024;  // of K: sums stay in tiles, as tiles of A and B may come from L2
  static constexpr bool kDirect = false, kRowsOnly = true;

  static void pack_b(uint32_t* dst, const bfloat16* src, int64_t row, int64_t col, int64_t k, int n) {
    PairPanels::pack_b(dst, src, row, col, k, n);
    const int width = panel_width<float>(n);
    for (int64_t p = (k + 1) / 2; p % kTile != 0; ++p)
      for (int v = 0; v < width; v += 16) _mm512_storeu_si512(dst + p * width + v, _mm512_setzero_si512());
  }
  static void pack_rows(uint32_t* dst, int64_t step, const bfloat16* src, int64_t row, int64_t col, int64_t m,
                        int64_t k) {
    if (row == 1 && col != 1) return turn_rows(dst, step, src, col, m, k);
    PairPanels::pack_rows(dst, step, src, row, col, m, k);
    for (int64_t i = 0; i < m; ++i)
      for (int64_t p = (k + 1) / 2; p % kTile != 0; ++p) dst[i * step + p] = 0;
  }
  static void pack_cols(uint32_t*, const bfloat16*, int64_t, int64_t, int64_t, int64_t) {}  // kRowsOnly

  struct Kernel {
    int rows, vecs;
    void operator()(int64_t pairs, const uint32_t* a, int64_t a_step, const uint32_t* b, int64_t b_step,
                    const TileStore<float>& s) const {
      const int64_t steps = (pairs + kTile - 1) / kTile;
      if (vecs == 1)
        rows > kTile ? run<2, 1>(steps, a, a_step, b, b_step, s) : run<1, 1>(steps, a, a_step, b, b_step, s);
      else rows > kTile ? run<2, 2>(steps, a, a_step, b, b_step, s) : run<1, 2>(steps, a, a_step, b, b_step, s);
    }

    // kA tiles of A by kB tiles of B: tmm0-3 sums, tmm4-5 A, tmm6-7 B.
    template <int kA, int kB>
    __attribute__((target("amx-tile,amx-bf16"))) void run(int64_t steps, const uint32_t* a, int64_t a_step,
                                                          const uint32_t* b, int64_t b_step,
                                                          const TileStore<float>& s) const {
      struct alignas(64) {
        uint8_t palette = 1, start_row = 0, reserved[14] = {};
        uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
        uint8_t rows[16] = {};
      } config;
      const uint8_t low = static_cast<uint8_t>(kA == 2 ? kTile : rows), high = static_cast<uint8_t>(rows - low);
      const uint8_t tile_rows[8] = {low, low, high, high, low, high, kTile, kTile};
      for (int t = 0; t < 8; ++t) {
        config.rows[t] = tile_rows[t];
        if (tile_rows[t] == 0) config.row_bytes[t] = 0;
      }
      alignas(64) float sums[kRows][2 * kTile];
      const int64_t a_bytes = a_step * 4, b_bytes = b_step * 4;
      asm volatile("" ::: "memory");  // the tile instructions do not tell the compiler what they read
      _tile_loadconfig(&config);
      _tile_zero(0);
      if constexpr (kB == 2) _tile_zero(1);
      if constexpr (kA == 2) _tile_zero(2);
      if constexpr (kA == 2 && kB == 2) _tile_zero(3);
      for (int64_t t = 0; t < steps; ++t) {
        const uint32_t *at = a + t * kTile, *bt = b + t * kTile * b_step;
        _tile_loadd(6, bt, b_bytes);
        _tile_loadd(4, at, a_bytes);
        _tile_dpbf16ps(0, 4, 6);
        if constexpr (kB == 2) {
          _tile_loadd(7, bt + 16, b_bytes);
          _tile_dpbf16ps(1, 4, 7);
        }
        if constexpr (kA == 2) {
          _tile_loadd(5, at + kTile * a_step, a_bytes);
          _tile_dpbf16ps(2, 5, 6);
          if constexpr (kB == 2) _tile_dpbf16ps(3, 5, 7);
        }
      }
      _tile_stored(0, &sums[0][0], sizeof sums[0]);
      if constexpr (kB == 2) _tile_stored(1, &sums[0][kTile], sizeof sums[0]);
      if constexpr (kA == 2) _tile_stored(2, &sums[kTile][0], sizeof sums[0]);
      if constexpr (kA == 2 && kB == 2) _tile_stored(3, &sums[kTile][kTile], sizeof sums[0]);
      _tile_release();
      asm volatile("" ::: "memory");
      int i = 0;
      for (; i + 4 <= rows; i += 4) finish<4, kB>(&sums[i][0], i, s);
      for (; i < rows; ++i) finish<1, kB>(&sums[i][0], i, s);
    }
  };
  // Rows of A that are pairs as they lie; blocks of K end with whole tiles.
  static bool rows_in_place(int64_t k, int64_t row, int64_t col) {
    return col == 1 && row % kDepth == 0 && k % kUnit == 0;
  }
  static Kernel kernel(int rows, int vecs, bool) { return {rows, vecs}; }

 private:
  static constexpr int kTile = 16;

  template <int kCount, int kVecs>
  static void finish(const float* sums, int row, TileStore<float> s) {
    s.c += row * s.c_step;
    if (s.bias_row) s.bias_row += row;
    if (s.half) s.half += row * s.c_step;
    Vec<float> sum[kCount][kVecs];
#pragma GCC unroll 4
    for (int i = 0; i < kCount; ++i)
#pragma GCC unroll 2
      for (int v = 0; v < kVecs; ++v) sum[i][v] = Vec<float>::load(sums + i * 2 * kTile + v * kTile);
    finish_tile<float, kCount, kVecs>(sum, s);
  }
  // pack_rows from columns of A that lie side by side: squares of pairs are turned in registers.
  static void turn_rows(uint32_t* dst, int64_t step, const bfloat16* src, int64_t col, int64_t m, int64_t k) {
    for (int64_t i = 0; i < m; i += kTile) {
      const int rows = static_cast<int>(m - i < kTile ? m - i : kTile);
      for (int64_t p = 0; p < (k + 1) / 2; p += kTile) {
        Vec<int32_t> r[kTile];
#pragma GCC unroll 16
        for (int j = 0; j < kTile; ++j) {
          const int64_t kk = 2 * (p + j);
          const bfloat16* s = src + i + kk * col;
          const __m512i x = PairPanels::low(s, kk < k ? rows : 0);
          const __m512i y = PairPanels::low(s + col, kk + 1 < k ? rows : 0);
          r[j].v = (native_t<int32_t>)_mm512_or_si512(x, _mm512_slli_epi32(y, 16));
        }
        transpose_registers(r);
        for (int j = 0; j < rows; ++j) _mm512_storeu_si512(dst + (i + j) * step + p, (__m512i)r[j].v);
      }
    }
  }
};

}  // namespace fireseed::cpu::FS_ISA

#endif

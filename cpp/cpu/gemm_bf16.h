// Products of bfloat16 on processors with AVX512_BF16: pairs along K are multiplied and added to float sums.
#pragma once

#if defined(__AVX512F__)

#include <immintrin.h>

#include "cpu/gemm_pack.h"

namespace fireseed::cpu::FS_ISA {

// The instruction set is one step beyond x86-64-v4, so it is asked for at run time, and only the micro-kernel is
// compiled for it.
inline bool has_bf16_products() {
  static const bool has = __builtin_cpu_supports("avx512bf16");
  return has;
}

// tile(i, j) = sum over pairs p of a(i, 2p) b(2p, j) + a(i, 2p + 1) b(2p + 1, j), as tile_kernel: an element of the
// panels is a pair.
template <int kRows, int kVecs, bool kRowA>
__attribute__((target("avx512bf16"))) void pair_kernel(int64_t pairs, const uint32_t* a, int64_t a_step,
                                                       const uint32_t* b, int64_t b_step, const TileStore<float>& s) {
  __m512 acc[kRows][kVecs];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) acc[i][v] = _mm512_setzero_ps();
  const uint32_t* row[(kRows + 2) / 3];
#pragma GCC unroll 8
  for (int i = 0; i < (kRows + 2) / 3; ++i) row[i] = kRowA ? a + 3 * i * a_step : a;
  for (; pairs > 0; --pairs) {
    __m512bh bv[kVecs];
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) bv[v] = (__m512bh)_mm512_loadu_si512(b + v * 16);
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
      const __m512bh av = (__m512bh)_mm512_set1_epi32(static_cast<int>(kRowA ? row[i / 3][(i % 3) * a_step] : a[i]));
#pragma GCC unroll 4
      for (int v = 0; v < kVecs; ++v) acc[i][v] = _mm512_dpbf16_ps(acc[i][v], av, bv[v]);
    }
    b += b_step;
    if constexpr (kRowA) {
#pragma GCC unroll 8
      for (int i = 0; i < (kRows + 2) / 3; ++i) ++row[i];
    } else {
      a += a_step;
    }
  }
  Vec<float> sum[kRows][kVecs];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) sum[i][v] = Vec<float>(acc[i][v]);
  finish_tile<float, kRows, kVecs>(sum, s);
}

struct PairPanels {
  using Packed = uint32_t;
  using Kernel = void (*)(int64_t, const uint32_t*, int64_t, const uint32_t*, int64_t, const TileStore<float>&);
  static constexpr int kDepth = 2;
  static constexpr int kRows = kMaxRows;
  static constexpr int64_t kUnit = 8, kBlock = kDepth * kBlockK<float>;
  static constexpr bool kDirect = false, kRowsOnly = false;

  // The first n of 16 elements, each in the low half of a lane.
  FS_INLINE static __m512i low(const bfloat16* p, int n) {
    if (n == 16) return _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
    return _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(static_cast<__mmask16>((1u << n) - 1), p));
  }
  FS_INLINE static uint32_t pair(bfloat16 x, bfloat16 y) { return x.bits | static_cast<uint32_t>(y.bits) << 16; }

  // dst[p * width + j] = (src[2p * row + j * col], src[(2p + 1) * row + j * col]), zero beyond k and n.
  static void pack_b(uint32_t* dst, const bfloat16* src, int64_t row, int64_t col, int64_t k, int n) {
    const int width = panel_width<float>(n);
    for (int v = 0; v < width; v += 16) {
      const int left = n - v, lanes = left < 0 ? 0 : left > 16 ? 16 : left;
      const bfloat16* s = src + v * col;
      uint32_t* d = dst + v;
      if (col == 1) {
        for (int64_t i = 0; i < k; i += 2) {
          const __m512i x = low(s + i * row, lanes), y = low(s + (i + 1) * row, i + 1 < k ? lanes : 0);
          _mm512_storeu_si512(d + i / 2 * width, _mm512_or_si512(x, _mm512_slli_epi32(y, 16)));
        }
      } else if (row == 1) {  // pairs lie side by side: squares of registers are turned
        for (int64_t i = 0; i < k; i += 32) {
          const uint32_t here = k - i >= 32 ? ~0u : (1u << (k - i)) - 1;
          Vec<int32_t> r[16];
#pragma GCC unroll 16
          for (int j = 0; j < 16; ++j)
            r[j].v = (native_t<int32_t>)(j < lanes ? _mm512_maskz_loadu_epi16(here, s + j * col + i)
                                                   : _mm512_setzero_si512());
          transpose_registers(r);
          const int64_t pairs = (k - i + 1) / 2;
#pragma GCC unroll 16
          for (int j = 0; j < 16; ++j)
            if (j < pairs) _mm512_storeu_si512(d + (i / 2 + j) * width, (__m512i)r[j].v);
        }
      } else {
        for (int64_t i = 0; i < k; i += 2)
          for (int j = 0; j < 16; ++j) {
            const bfloat16* p = s + i * row + j * col;
            d[i / 2 * width + j] = j < lanes ? pair(p[0], i + 1 < k ? p[row] : bfloat16{}) : 0;
          }
      }
    }
  }
  // dst[i * step + p] = (src[i * row + 2p * col], src[i * row + (2p + 1) * col]), i < m.
  static void pack_rows(uint32_t* dst, int64_t step, const bfloat16* src, int64_t row, int64_t col, int64_t m,
                        int64_t k) {
    for (int64_t i = 0; i < m; ++i) {
      const bfloat16* s = src + i * row;
      uint32_t* d = dst + i * step;
      if (col == 1) {
        int64_t j = 0;
        for (; j + 32 <= k; j += 32) _mm512_storeu_si512(d + j / 2, _mm512_loadu_si512(s + j));
        if (j < k) {
          const __mmask16 pairs = static_cast<__mmask16>((1u << ((k - j + 1) / 2)) - 1);
          _mm512_mask_storeu_epi32(d + j / 2, pairs, _mm512_maskz_loadu_epi16((1u << (k - j)) - 1, s + j));
        }
      } else {
        for (int64_t j = 0; j < k; j += 2) d[j / 2] = pair(s[j * col], j + 1 < k ? s[(j + 1) * col] : bfloat16{});
      }
    }
  }
  // dst[p * m + i] = (src[2p * col + i], src[(2p + 1) * col + i]), i < m <= kMaxRows.
  static void pack_cols(uint32_t* dst, const bfloat16* src, int64_t col, int64_t m, int64_t k, int64_t) {
    const int n = static_cast<int>(m);
    for (int64_t i = 0; i < k; i += 2) {
      const __m512i x = low(src + i * col, n), y = low(src + (i + 1) * col, i + 1 < k ? n : 0);
      _mm512_mask_storeu_epi32(dst + i / 2 * m, static_cast<__mmask16>((1u << n) - 1),
                               _mm512_or_si512(x, _mm512_slli_epi32(y, 16)));
    }
  }
  static bool rows_in_place(int64_t, int64_t, int64_t) { return false; }
  static Kernel kernel(int rows, int vecs, bool row_a) {
    using Seq = std::make_index_sequence<kMaxRows>;
    if (vecs == 1) return row_a ? table<1, true>(rows, Seq()) : table<1, false>(rows, Seq());
    return row_a ? table<2, true>(rows, Seq()) : table<2, false>(rows, Seq());
  }

 private:
  template <int kVecs, bool kRowA, size_t... kI>
  static Kernel table(int rows, std::index_sequence<kI...>) {
    static constexpr Kernel kFn[] = {&pair_kernel<static_cast<int>(kI) + 1, kVecs, kRowA>...};
    return kFn[rows - 1];
  }
};

}  // namespace fireseed::cpu::FS_ISA

#endif

// Products of some rows with one packed panel of columns, for kernels that do their own blocking (rnn, attention).
#pragma once

#include "cpu/gemm.h"
#include "cpu/gemm_pack.h"

namespace fireseed::cpu::FS_ISA {

// c (rows, cols) = alpha a b + beta c + bias, cols <= kTileCols. a (rows, k): a(i, k) = a[i * a_step + k], or with
// kRowA false a[k * a_step + i]. b (k, cols): rows b_step apart, whole vectors readable.
template <bool kRowA = true, class T>
void panel_product(int64_t k, const T* a, int64_t a_step, int64_t rows, const T* b, int64_t b_step, T* c,
                   int64_t c_step, int cols, T alpha, T beta, const T* bias = nullptr) {
  const int vecs = cols <= Vec<T>::kSize ? 1 : 2;
  const int64_t parts = (rows + kMaxRows - 1) / kMaxRows;
  for (int64_t p = 0; p < parts; ++p) {
    const int64_t i = piece_begin(rows, parts, p);
    const int n = static_cast<int>(piece_begin(rows, parts, p + 1) - i);
    const TileStore<T> store = {c + i * c_step, c_step, alpha, beta, bias, nullptr, false, cols};
    tile_kernel_for<T>(n, vecs, kRowA)(k, a + (kRowA ? i * a_step : i), a_step, b, b_step, store);
  }
}

// The same for any number of columns of a row-major b (k, n).
template <bool kRowA = true, class T>
void rows_product(int64_t k, const T* a, int64_t a_step, int64_t rows, const T* b, int64_t b_step, T* c,
                  int64_t c_step, int64_t n, T alpha, T beta) {
  for (int64_t j = 0; j < n; j += kTileCols<T>)
    panel_product<kRowA>(k, a, a_step, rows, b + j, b_step, c + j, c_step,
                         static_cast<int>(n - j < kTileCols<T> ? n - j : kTileCols<T>), alpha, beta);
}

}  // namespace fireseed::cpu::FS_ISA

// Packers of the matrix product: dense operands of any stride and type into the panels that the micro-kernel reads.
#pragma once

#include <utility>

#include "cpu/gemm_kernel.h"

namespace fireseed::cpu::FS_ISA {

namespace detail_gemm {
template <class V, int kStep, size_t... kI>
FS_INLINE void transpose_pair(V& a, V& b, std::index_sequence<kI...>) {
  constexpr int kN = sizeof...(kI);
  const V x = a, y = b;
  a = __builtin_shufflevector(x, y, ((kI & kStep) ? kN + kI - kStep : kI)...);
  b = __builtin_shufflevector(x, y, ((kI & kStep) ? kN + kI : kI + kStep)...);
}
template <class T, int kStep>
FS_INLINE void transpose_steps(Vec<T>* r) {
  constexpr int kV = Vec<T>::kSize;
  if constexpr (kStep < kV) {
#pragma GCC unroll 16
    for (int i = 0; i < kV; ++i)
      if (!(i & kStep)) transpose_pair<native_t<T>, kStep>(r[i].v, r[i + kStep].v, std::make_index_sequence<kV>());
    transpose_steps<T, kStep * 2>(r);
  }
}
}  // namespace detail_gemm

// r[i][j] <- r[j][i] for a square of registers.
template <class T>
FS_INLINE void transpose_registers(Vec<T>* r) {
  detail_gemm::transpose_steps<T, 1>(r);
}

// One vector of T from S: the same type, or float from a half.
template <class T, class S>
FS_INLINE Vec<T> load_as(const S* p) {
  if constexpr (same_type<T, S>) return Vec<T>::load(p);
  else return load_float(p);
}
template <class T, class S>
FS_INLINE Vec<T> load_as(const S* p, int n) {
  if constexpr (same_type<T, S>) return Vec<T>::load(p, n);
  else return load_float(p, n);
}

// Width of the panel that holds n <= kTileCols columns: one vector or two.
template <class T>
FS_INLINE int panel_width(int64_t n) {
  return n <= Vec<T>::kSize ? Vec<T>::kSize : kTileCols<T>;
}

// dst[kk * width + j] = src[kk * row + j * col] for kk < k, j < n <= kTileCols; columns n..width are zero.
template <class T, class S>
void pack_b(T* dst, const S* src, int64_t row, int64_t col, int64_t k, int n) {
  constexpr int kV = Vec<T>::kSize;
  const int width = panel_width<T>(n);
  if (col == 1) {
    if (n == kTileCols<T>) {
      for (int64_t i = 0; i < k; ++i)
        for (int v = 0; v < kTileVecs; ++v) load_as<T>(src + i * row + v * kV).store(dst + i * width + v * kV);
    } else {
      for (int64_t i = 0; i < k; ++i)
        for (int v = 0; v * kV < width; ++v) {
          const int left = n - v * kV;
          load_as<T>(src + i * row + v * kV, left > kV ? kV : left).store(dst + i * width + v * kV);
        }
    }
    return;
  }
  if (row == 1) {  // k runs along memory: squares of registers are turned
    for (int v = 0; v * kV < width; ++v) {
      const int left = n - v * kV, lanes = left > kV ? kV : left;
      const S* s = src + v * kV * col;
      T* d = dst + v * kV;
      int64_t i = 0;
      if (lanes == kV) {
        for (; i + kV <= k; i += kV) {
          Vec<T> r[kV];
#pragma GCC unroll 16
          for (int j = 0; j < kV; ++j) r[j] = load_as<T>(s + j * col + i);
          transpose_registers(r);
#pragma GCC unroll 16
          for (int j = 0; j < kV; ++j) r[j].store(d + (i + j) * width);
        }
      }
      for (; i < k; i += kV) {
        const int depth = k - i > kV ? kV : static_cast<int>(k - i);
        Vec<T> r[kV];
        for (int j = 0; j < kV; ++j) r[j] = j < lanes ? load_as<T>(s + j * col + i, depth) : Vec<T>(T(0));
        transpose_registers(r);
        for (int j = 0; j < depth; ++j) r[j].store(d + (i + j) * width);
      }
    }
    return;
  }
  for (int64_t i = 0; i < k; ++i)
    for (int j = 0; j < width; ++j) dst[i * width + j] = j < n ? static_cast<T>(src[i * row + j * col]) : T(0);
}

// Row form: dst[i * step + kk] = src[i * row + kk * col], i < m.
template <class T, class S>
void pack_a_rows(T* dst, int64_t step, const S* src, int64_t row, int64_t col, int64_t m, int64_t k) {
  constexpr int kV = Vec<T>::kSize;
  for (int64_t i = 0; i < m; ++i) {
    const S* s = src + i * row;
    T* d = dst + i * step;
    if (col == 1) {
      int64_t j = 0;
      for (; j + kV <= k; j += kV) load_as<T>(s + j).store(d + j);
      if (j < k) load_as<T>(s + j, static_cast<int>(k - j)).store(d + j, static_cast<int>(k - j));
    } else {
      for (int64_t j = 0; j < k; ++j) d[j] = static_cast<T>(s[j * col]);
    }
  }
}

// Column form: dst[kk * m + i] = src[kk * col + i], i < m <= kMaxRows. Of a row of src, `readable` >= m elements
// exist. Whole vectors overlap where they can: masked ones wait for one another.
template <class T, class S>
void pack_a_cols(T* dst, const S* src, int64_t col, int64_t m, int64_t k, int64_t readable) {
  constexpr int kV = Vec<T>::kSize;
  if (m <= kV && readable >= kV) {
    for (int64_t kk = 0; kk + 1 < k; ++kk) load_as<T>(src + kk * col).store(dst + kk * m);
    load_as<T>(src + (k - 1) * col).store(dst + (k - 1) * m, static_cast<int>(m));
    return;
  }
  for (int64_t kk = 0; kk < k; ++kk)
    for (int64_t i = 0; i < m; i += kV) {
      const int n = m - i > kV ? kV : static_cast<int>(m - i);
      load_as<T>(src + kk * col + i, n).store(dst + kk * m + i, n);
    }
}

}  // namespace fireseed::cpu::FS_ISA

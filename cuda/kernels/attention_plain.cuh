// Tiles of attention by plain arithmetic: 256 threads, thread (ty, tx) = (t / 16, t % 16).
#pragma once

#include "kernels/attention.cuh"

namespace fireseed::cuda {

// Note [Attention by plain arithmetic]
// One kernel for each type of arithmetic, C: float (of float32 and the halves) or double. A block has 64 rows, a
// thread 4 x 4 scores of 64 x 64 and sums of 4 rows and kPer columns. What is done to single scores stands in loops
// that take the first of a thread's four columns and then turn the columns round, so that it is compiled once.

inline constexpr int kPlainThreads = 256, kTile = 64;
// Columns of a thread's sums, and of a block's.
template <class C>
inline constexpr int kPer = sizeof(C) == 4 ? 8 : 4;
template <class C>
inline constexpr int kColumns = 16 * kPer<C>;
// Elements along the summed dimension that lie in shared memory at a time, and steps between them.
template <class C>
inline constexpr int kTileStep = static_cast<int>(128 / sizeof(C));
template <class C>
inline constexpr int kTilePitch = kTile + static_cast<int>(16 / sizeof(C));
template <class C>
inline constexpr int kValuePitch = kColumns<C> + static_cast<int>(16 / sizeof(C));
// Elements of shared memory: what the products fetch, then a tile of weights.
template <class C>
inline constexpr int kFetched =
    kTileStep<C> * (2 * kTilePitch<C> > kValuePitch<C> ? 2 * kTilePitch<C> : kValuePitch<C>);
template <class C>
inline constexpr int kPlainShared = kFetched<C> + kTile * kTilePitch<C>;

// An operand of one head; steps in bytes.
struct PlainOperand {
  char* data;
  int64_t row, col;
  int rows, columns;
};
template <class C>
__device__ __forceinline__ PlainOperand operand_of(const Attention<C>& a, const Matrix<C>& m, int64_t offset,
                                                   int64_t rows, int64_t columns) {
  const int size = std::is_same_v<C, double> ? 8 : a.dtype == DType::kFloat32 ? 4 : 2;
  return {reinterpret_cast<char*>(m.data) + offset * size, m.row * size, m.col * size, static_cast<int>(rows),
          static_cast<int>(columns)};
}
__device__ __forceinline__ PlainOperand choose(bool first, const PlainOperand& a, const PlainOperand& b) {
  return {first ? a.data : b.data, first ? a.row : b.row, first ? a.col : b.col, first ? a.rows : b.rows,
          first ? a.columns : b.columns};
}

// Brings the columns of x round by one.
template <int kRows, int kN, class C>
__device__ __forceinline__ void turn_columns(C (&x)[kRows][kN]) {
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    const C first = x[i][0];
#pragma unroll
    for (int j = 0; j + 1 < kN; ++j) x[i][j] = x[i][j + 1];
    x[i][kN - 1] = first;
  }
}

// Elements at p, p + step, … (bytes): x[k] for k < valid, else zero; all loads before the first conversion.
template <int kN, class C>
__device__ __forceinline__ void load_some(C (&x)[kN], DType dtype, const char* p, int64_t step, int valid) {
  if (std::is_same_v<C, double> || dtype == DType::kFloat32) {
#pragma unroll
    for (int k = 0; k < kN; ++k, p += step) x[k] = k < valid ? *reinterpret_cast<const C*>(p) : C(0);
    return;
  }
  if constexpr (std::is_same_v<C, float>) {
    uint16_t bits[kN];
#pragma unroll
    for (int k = 0; k < kN; ++k, p += step) bits[k] = k < valid ? *reinterpret_cast<const uint16_t*>(p) : uint16_t{0};
#pragma unroll
    for (int k = 0; k < kN; ++k) x[k] = decode_float<float>(bits[k], dtype);
  }
}
// Rows [r0, r0 + kRows) and columns [c0, c0 + kWidth) of m, zeros outside, to tile[r * kRowStep + c * kColStep].
template <int kRows, int kWidth, int kRowStep, int kColStep, class C>
__device__ __forceinline__ void fetch_tile(C* tile, const PlainOperand& m, DType dtype, int r0, int c0) {
  constexpr int kAtOnce = kPlainThreads / kWidth, kLoads = 4;
  static_assert(kRows % (kAtOnce * kLoads) == 0);
  const int r = static_cast<int>(threadIdx.x) / kWidth, c = static_cast<int>(threadIdx.x) % kWidth;
  const int rest = m.rows - r0 - r;
  // Of rows r, r + kAtOnce, … so many are inside.
  int valid = c0 + c >= m.columns || rest <= 0 ? 0 : ((rest < kRows ? rest : kRows) - 1) / kAtOnce + 1;
  const char* from = m.data + (r0 + r) * m.row + (c0 + c) * m.col;
  tile += r * kRowStep + c * kColStep;
#pragma unroll 1
  for (int i = 0; i < kRows; i += kAtOnce * kLoads) {
    C x[kLoads];
    load_some(x, dtype, from, kAtOnce * m.row, valid);
#pragma unroll
    for (int k = 0; k < kLoads; ++k) tile[k * kAtOnce * kRowStep] = x[k];
    from += kAtOnce * kLoads * m.row;
    tile += kAtOnce * kLoads * kRowStep;
    valid -= kLoads;
  }
}
template <int kN, class C>
__device__ __forceinline__ void load_vectors(C (&x)[kN], const C* from) {
  constexpr int kV = static_cast<int>(16 / sizeof(C));
#pragma unroll
  for (int i = 0; i < kN; i += kV) {
    const auto v = Vec<C, kV>::load(from + i);
#pragma unroll
    for (int j = 0; j < kV; ++j) x[i + j] = v.v[j];
  }
}

// s[i][j] = Σ_c a[a0 + 4 ty + i][c] b[b0 + 4 tx + j][c]; rows outside count as zeros.
template <class C>
__device__ __forceinline__ void tile_scores(C (&s)[4][4], const PlainOperand& a, int a0, const PlainOperand& b,
                                            int b0, DType dtype, C* shared) {
  constexpr int kStep = kTileStep<C>, kPitch = kTilePitch<C>;
  const int t = static_cast<int>(threadIdx.x), tx = t % 16, ty = t / 16;
  C *tile_a = shared, *tile_b = shared + kStep * kPitch;
#pragma unroll
  for (int i = 0; i < 4; ++i)
#pragma unroll
    for (int j = 0; j < 4; ++j) s[i][j] = C(0);
#pragma unroll 1
  for (int c0 = 0; c0 < a.columns; c0 += kStep) {
#pragma unroll 1
    for (int which = 0; which < 2; ++which)
      fetch_tile<kTile, kStep, 1, kPitch>(which == 0 ? tile_a : tile_b, choose(which == 0, a, b), dtype,
                                          which == 0 ? a0 : b0, c0);
    __syncthreads();
#pragma unroll(sizeof(C) == 4 ? 4 : 1)
    for (int c = 0; c < kStep; ++c) {
      C x[4], y[4];
      load_vectors(x, tile_a + c * kPitch + ty * 4);
      load_vectors(y, tile_b + c * kPitch + tx * 4);
#pragma unroll
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j) s[i][j] = multiply_add(x[i], y[j], s[i][j]);
    }
    __syncthreads();
  }
}

// Column of a thread's c-th sum: groups of four, so that neighbouring threads read neighbouring words.
__device__ __forceinline__ int tile_column(int c, int tx) { return c / 4 * 64 + tx * 4 + c % 4; }
// Puts w[i][j], of row 4 ty + i and summed index 4 tx + j, where tile_sums reads it.
template <class C>
__device__ __forceinline__ void put_weights(C* weights, const C (&w)[4][4]) {
  const int tx = static_cast<int>(threadIdx.x) % 16, ty = static_cast<int>(threadIdx.x) / 16;
  constexpr int kV = static_cast<int>(16 / sizeof(C));
#pragma unroll
  for (int j = 0; j < 4; ++j)
#pragma unroll
    for (int i = 0; i < 4; i += kV) {
      Vec<C, kV> v;
#pragma unroll
      for (int k = 0; k < kV; ++k) v.v[k] = w[i + k][j];
      v.store(weights + (tx * 4 + j) * kTilePitch<C> + ty * 4 + i);
    }
}
// sum[i][c] += Σ_n w[n][4 ty + i] v[v0 + n][c0 + tile_column(c)], n < 64; rows outside count as zeros. The weights
// may have been written just before, and may be written again when it returns.
template <class C>
__device__ __forceinline__ void tile_sums(C (&sum)[4][kPer<C>], const C* weights, const PlainOperand& v, int v0,
                                          int c0, DType dtype, C* shared) {
  constexpr int kStep = kTileStep<C>, kPitch = kValuePitch<C>;
  const int t = static_cast<int>(threadIdx.x), tx = t % 16, ty = t / 16;
  const bool all = v.columns - c0 > 64;  // else the second half of a thread's sums is not asked for
#pragma unroll 1
  for (int n0 = 0; n0 < kTile; n0 += kStep) {
    fetch_tile<kStep, kColumns<C>, kPitch, 1>(shared, v, dtype, v0 + n0, c0);
    __syncthreads();
#pragma unroll(sizeof(C) == 4 ? 2 : 1)
    for (int n = 0; n < kStep; ++n) {
      C w[4];
      load_vectors(w, weights + (n0 + n) * kTilePitch<C> + ty * 4);
#pragma unroll
      for (int c = 0; c < kPer<C>; c += 4) {
        if (c > 0 && !all) break;
        C x[4];
        load_vectors(x, shared + n * kPitch + tile_column(c, tx));
#pragma unroll
        for (int i = 0; i < 4; ++i)
#pragma unroll
          for (int j = 0; j < 4; ++j) sum[i][c + j] = multiply_add(w[i], x[j], sum[i][c + j]);
      }
    }
    __syncthreads();
  }
}
// to[r0 + 4 ty + i][c0 + tile_column(c)] = sum[i][c] * factor[i], inside its rows and columns. Overwrites `sum`.
template <class C>
__device__ __forceinline__ void store_tile(const PlainOperand& to, DType dtype, int r0, int c0, C (&sum)[4][kPer<C>],
                                           const C (&factor)[4]) {
  const int tx = static_cast<int>(threadIdx.x) % 16, ty = static_cast<int>(threadIdx.x) / 16;
#pragma unroll
  for (int i = 0; i < 4; ++i)
#pragma unroll
    for (int c = 0; c < kPer<C>; ++c) sum[i][c] *= factor[i];
#pragma unroll 1
  for (int c = 0; c < kPer<C>; ++c) {
    const int column = c0 + tile_column(c, tx), rest = to.rows - r0 - ty * 4;
    const int valid = column >= to.columns || rest <= 0 ? 0 : rest < 4 ? rest : 4;
    char* at = to.data + (r0 + ty * 4) * to.row + column * to.col;
#pragma unroll
    for (int i = 0; i < 4; ++i, at += to.row) {
      if (i >= valid) break;
      if (std::is_same_v<C, double> || dtype == DType::kFloat32) *reinterpret_cast<C*>(at) = sum[i][0];
      else
        *reinterpret_cast<uint16_t*>(at) = dtype == DType::kFloat16
                                               ? float_to_half(static_cast<float>(sum[i][0])).bits
                                               : float_to_bfloat(static_cast<float>(sum[i][0])).bits;
    }
    turn_columns(sum);
  }
}

// What is added to the scores (times log2 e) of rows r0 .., 4 of the block's own, with one other: the mask, -inf
// where they do not see each other. of_keys: the own rows are keys and the others queries, else the other way round.
template <class C>
__device__ __forceinline__ void load_masks(C (&x)[4], const Attention<C>& a, int64_t mask_at, int64_t r0,
                                           int64_t other, bool of_keys) {
  const int rest = static_cast<int>(of_keys ? a.keys : a.queries) - r0, ahead = other - r0;
  int low = 0, high = rest < 4 ? rest : 4;  // those of the four that see or are seen
  if (a.causal && of_keys && ahead + 1 < high) high = ahead + 1;
  if (a.causal && !of_keys) low = ahead;
  if (other >= (of_keys ? a.queries : a.keys)) high = 0;
  const int64_t own_step = of_keys ? a.mask_col : a.mask_row, other_step = of_keys ? a.mask_row : a.mask_col;
  mask_at += r0 * own_step + other * other_step;
#pragma unroll
  for (int i = 0; i < 4; ++i) x[i] = i >= low && i < high ? C(0) : -kInfinity<C>;
  if (!a.mask) return;
  if (a.mask_dtype == DType::kBool) {
#pragma unroll
    for (int i = 0; i < 4; ++i, mask_at += own_step)
      if (i >= low && i < high && !static_cast<const uint8_t*>(a.mask)[mask_at]) x[i] = -kInfinity<C>;
    return;
  }
#pragma unroll 1
  for (int i = 0; i < 4; ++i, mask_at += own_step) {
    if (i >= low && i < high) x[0] = masked(a, mask_at, C(0));
    const C first = x[0];
    x[0] = x[1], x[1] = x[2], x[2] = x[3], x[3] = first;
  }
}

}  // namespace fireseed::cuda

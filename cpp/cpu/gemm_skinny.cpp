// Products of few rows: matrix x vector and its like, bound by reading B once; no packing, K or N shared out.
#include "base/parallel.h"
#include "cpu/gemm.h"
#include "cpu/gemm_pack.h"

namespace fireseed::cpu::FS_ISA {
namespace {

// Note [Skinny products]
// Where B's rows lie along memory (b_col == 1), rows of B are added up, several at a time, into a strip of C held in
// L1. Where its columns do (b_row == 1), dot products run along K. Long K and long N are cut at fixed places.

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
constexpr int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
constexpr int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

// Columns of C at a time: long pieces of B's rows are what the hardware fetches ahead best.
template <class T, int kRows>
constexpr int64_t kStrip = 16384 / static_cast<int64_t>(sizeof(T)) / kRows & ~int64_t{63};

template <int kDepth>
struct Depth {
  static constexpr int kValue = kDepth;
};

// y[r * y_step + j] = sum over kk < k of a[r * a_row + kk * a_col] b[kk * b_row + j], j < n.
template <class S, class T, int kRows, int kDepth>
void add_rows(T* y, int64_t y_step, const T* a, int64_t a_row, int64_t a_col, const S* b, int64_t b_row, int64_t n,
              int64_t k) {
  constexpr int kV = Vec<T>::kSize;
  bool first = true;
  const auto block = [&](auto depth_tag, int64_t kk) {
    constexpr int kD = decltype(depth_tag)::kValue;
    T w[kRows][kD];
    for (int r = 0; r < kRows; ++r)
      for (int d = 0; d < kD; ++d) w[r][d] = a[r * a_row + (kk + d) * a_col];
    const S* rows = b + kk * b_row;
    int64_t j = 0;
    for (; j + kV <= n; j += kV) {
      Vec<T> bv[kD];
#pragma GCC unroll 8
      for (int d = 0; d < kD; ++d) {
        bv[d] = load_as<T>(rows + d * b_row + j);
        // Rows are too short for the hardware to run far ahead; a vector alone leaves it the time.
        if constexpr (kRows > 1) __builtin_prefetch(rows + (kD + d) * b_row + j, 0, 2);
      }
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) {
        Vec<T> acc = first ? Vec<T>(T(0)) : Vec<T>::load(y + r * y_step + j);
#pragma GCC unroll 8
        for (int d = 0; d < kD; ++d) acc = fma(Vec<T>(w[r][d]), bv[d], acc);
        acc.store(y + r * y_step + j);
      }
    }
    if (j < n) {
      const int lanes = static_cast<int>(n - j);
      for (int r = 0; r < kRows; ++r) {
        Vec<T> acc = first ? Vec<T>(T(0)) : Vec<T>::load(y + r * y_step + j, lanes);
        for (int d = 0; d < kD; ++d) acc = fma(Vec<T>(w[r][d]), load_as<T>(rows + d * b_row + j, lanes), acc);
        acc.store(y + r * y_step + j, lanes);
      }
    }
    first = false;
  };
  int64_t kk = 0;
  for (; kk + kDepth <= k; kk += kDepth) block(Depth<kDepth>{}, kk);
  for (; kk < k; ++kk) block(Depth<1>{}, kk);
}

// out[r * kCols + c] = sum over kk of a[r * a_row + kk] b[c * b_col + kk]. kAhead fetches the 8th column behind each
// into L2.
template <class S, class T, int kRows, int kCols, bool kAhead = false>
void dot_tile(T* out, const T* a, int64_t a_row, const S* b, int64_t b_col, int64_t k) {
  constexpr int kV = Vec<T>::kSize;
  Vec<T> acc[kRows][kCols];
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
    for (int c = 0; c < kCols; ++c) acc[r][c] = Vec<T>(T(0));
  int64_t kk = 0;
  for (; kk + kV <= k; kk += kV) {
    Vec<T> bv[kCols];
#pragma GCC unroll 8
    for (int c = 0; c < kCols; ++c) {
      bv[c] = load_as<T>(b + c * b_col + kk);
      if constexpr (kAhead) __builtin_prefetch(b + (c + 8) * b_col + kk, 0, 2);
    }
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      const Vec<T> av = Vec<T>::load(a + r * a_row + kk);
#pragma GCC unroll 8
      for (int c = 0; c < kCols; ++c) acc[r][c] = fma(av, bv[c], acc[r][c]);
    }
  }
  if (kk < k) {
    const int lanes = static_cast<int>(k - kk);
    Vec<T> bv[kCols];
#pragma GCC unroll 8
    for (int c = 0; c < kCols; ++c) bv[c] = load_as<T>(b + c * b_col + kk, lanes);
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      const Vec<T> av = Vec<T>::load(a + r * a_row + kk, lanes);
#pragma GCC unroll 8
      for (int c = 0; c < kCols; ++c) acc[r][c] = fma(av, bv[c], acc[r][c]);
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
    for (int c = 0; c < kCols; ++c) out[r * kCols + c] = reduce_add(acc[r][c]);
}

#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kDotCols[5] = {0, 8, 4, 4, 4};
#else
constexpr int kDotCols[5] = {0, 8, 4, 2, 2};
#endif

// c(i, j) <- its final value from the sum; only for whole sums.
template <class S, class T>
FS_INLINE void finish(const GemmCall<S>& g, int64_t i, int64_t j, T sum) {
  T& c = g.c[i * g.c_row + j * g.c_col];
  T r = g.alpha * sum;
  if (g.beta != T(0)) r += g.beta * c;
  if (g.bias_col) r += g.bias_col[j];
  if (g.bias_row) r += g.bias_row[i];
  c = g.relu && r < T(0) ? T(0) : r;
}

// Columns [j0, j1) of rows i0 .. i0 + kRows over K [k0, k1).
template <class S, class T, int kRows, bool kAhead = false>
void dot_block(const GemmCall<S>& g, T* part, const T* a, int64_t a_row, int64_t i0, int64_t j0, int64_t j1,
               int64_t k0, int64_t k1) {
  constexpr int kCols = kDotCols[kRows];
  T out[kRows * kCols];
  const auto put = [&](int64_t j, int cols) {
    for (int r = 0; r < kRows; ++r)
      for (int c = 0; c < cols; ++c) {
        if (part) part[(i0 + r) * g.n + j + c] = out[r * cols + c];
        else finish(g, i0 + r, j + c, out[r * cols + c]);
      }
  };
  int64_t j = j0;
  const T* rows = a + i0 * a_row + k0;
  for (; j + kCols <= j1; j += kCols) {
    dot_tile<S, T, kRows, kCols, kAhead>(out, rows, a_row, g.b + j * g.b_col + k0, g.b_col, k1 - k0);
    put(j, kCols);
  }
  for (; j < j1; ++j) {
    dot_tile<S, T, kRows, 1>(out, rows, a_row, g.b + j * g.b_col + k0, g.b_col, k1 - k0);
    put(j, 1);
  }
}

template <class S, class T>
void dot_columns(const GemmCall<S>& g, const T* a, int64_t a_row) {
  const int64_t pieces = g.k > 32768 ? least(64, g.k / 16384) : 1;
  const int64_t chunk = most(8, ceil_div(131072, most(1, g.k / pieces * most(g.m, 4))) & ~int64_t{7});
  const int64_t chunks = ceil_div(g.n, chunk);
  // With few rows memory is what they wait for: the next columns are fetched while these are in use.
  const bool ahead = g.m <= 8 && g.n * g.k * static_cast<int64_t>(sizeof(S)) > 8 << 20;
  Scratch<T> parts(pieces > 1 ? pieces * g.m * g.n : 0);
  parallel_for(chunks * pieces, 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t p = task / chunks, j0 = task % chunks * chunk, j1 = least(g.n, j0 + chunk);
      const int64_t k0 = piece_begin(g.k, pieces, p), k1 = piece_begin(g.k, pieces, p + 1);
      T* part = parts ? parts.data() + p * g.m * g.n : nullptr;
      // A few columns stay in L1 while all rows pass.
      for (int64_t j = j0; j < j1; j += 8) {
        const int64_t je = least(j1, j + 8);
        int64_t i = 0;
        if (ahead && g.m >= 4) dot_block<S, T, 4, true>(g, part, a, a_row, 0, j, je, k0, k1), i = 4;
        for (; i + 4 <= g.m; i += 4) dot_block<S, T, 4>(g, part, a, a_row, i, j, je, k0, k1);
        if (g.m - i == 3) dot_block<S, T, 3>(g, part, a, a_row, i, j, je, k0, k1);
        if (g.m - i == 2) dot_block<S, T, 2>(g, part, a, a_row, i, j, je, k0, k1);
        if (g.m - i == 1) dot_block<S, T, 1>(g, part, a, a_row, i, j, je, k0, k1);
      }
    }
  });
  if (parts) gemm_combine(g, parts.data(), pieces);
}

template <class S, class T, int kRows>
void strip_rows(const GemmCall<S>& g, const T* a, int64_t a_row, int64_t a_col) {
  constexpr int64_t kWidth = kStrip<T, kRows>;
  const int64_t strips = ceil_div(g.n, kWidth), width = ceil_div(ceil_div(g.n, strips), 64) * 64;
  const int64_t cuts = least(least(16, g.k / 64), g.k * least(g.n, width) * kRows / 131072);  // of K
  const int64_t pieces = most(1, least(cuts, 2 * cuts / strips));
  Scratch<T> parts(pieces > 1 ? pieces * kRows * g.n : 0);
  parallel_for(strips * pieces, 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t p = task / strips, j0 = task % strips * width, cols = most(0, least(width, g.n - j0));
      const int64_t k0 = piece_begin(g.k, pieces, p), k1 = piece_begin(g.k, pieces, p + 1);
      alignas(64) T y[kRows * kWidth];
      add_rows<S, T, kRows, kRows == 1 ? 8 : 4>(y, kWidth, a + k0 * a_col, a_row, a_col, g.b + k0 * g.b_row + j0,
                                                g.b_row, cols, k1 - k0);
      for (int r = 0; r < kRows; ++r)
        for (int64_t j = 0; j < cols; ++j) {
          if (parts) parts[(p * kRows + r) * g.n + j0 + j] = y[r * kWidth + j];
          else finish(g, r, j0 + j, y[r * kWidth + j]);
        }
    }
  });
  if (parts) gemm_combine(g, parts.data(), pieces);
}

}  // namespace

template <class S>
bool gemm_skinny(const GemmCall<S>& g) {
  using T = compute_type<S>;
  constexpr bool kSame = same_type<S, T>;
  // A dot product ends in a sum across lanes, which is worth turning B for only where K is short. All rows of A meet
  // a few columns: many that do not lie along K should stay in L1, else the blocked product reads B where it lies.
  const bool few = g.m <= 8 || g.a_col == 1 || (g.m + 8) * g.k * static_cast<int64_t>(sizeof(T)) <= 40 << 10;
  const bool dots = g.b_row == 1 && (g.m <= 2 || (g.k >= 32 * g.m && few)), rows = !dots && g.b_col == 1 && g.m <= 4;
  if (!dots && !rows) return false;
  const bool direct = kSame && (rows || g.a_col == 1);
  SmallScratch<T, 1024> copy(direct ? 0 : g.m * g.k);
  const T* a = direct ? reinterpret_cast<const T*>(g.a) : copy.data();
  const int64_t a_row = direct ? g.a_row : g.k, a_col = direct ? g.a_col : 1;
  if (!direct) pack_a_rows<T>(copy.data(), g.k, g.a, g.a_row, g.a_col, g.m, g.k);
  if (dots) {
    dot_columns(g, a, a_row);
  } else {
    if (g.m == 1) strip_rows<S, T, 1>(g, a, a_row, a_col);
    if (g.m == 2) strip_rows<S, T, 2>(g, a, a_row, a_col);
    if (g.m == 3) strip_rows<S, T, 3>(g, a, a_row, a_col);
    if (g.m == 4) strip_rows<S, T, 4>(g, a, a_row, a_col);
  }
  return true;
}
template bool gemm_skinny(const GemmCall<float>&);
template bool gemm_skinny(const GemmCall<double>&);
template bool gemm_skinny(const GemmCall<float16>&);
template bool gemm_skinny(const GemmCall<bfloat16>&);

}  // namespace fireseed::cpu::FS_ISA

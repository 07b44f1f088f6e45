// Factorisations of matrices: Cholesky, and linear equations by LU with row exchanges; blocked over the matrix
// product.
#include "base/parallel.h"
#include "cpu/gemm.h"
#include "cpu/gemm_pack.h"
#include "tensor/view.h"

namespace fireseed::cpu::FS_ISA {
namespace {

// Note [Blocked factorisations]
// A block of columns is factored by plain loops, the equations of its rows to the right are solved, and what is left
// over, nearly all of the work, is one matrix product (Golub and Van Loan, Matrix Computations, 4.2 and 3.4: right-
// looking). Matrices are row-major with `ld` elements from row to row.

constexpr int64_t kCholeskyBlock = 64;
constexpr int64_t kPanel = 32;  // columns of an LU block: few registers, as its plain loops pass all rows
constexpr int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
constexpr int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
// Elements from row to row of a copy with n columns: whole registers, and rows in different sets of the caches.
constexpr int64_t row_step(int64_t n) { return (n + 15) / 16 * 16 + 16; }

// y[0, n) -= f x[0, n)
template <class T>
FS_INLINE void subtract_row(T* y, const T* x, T f, int64_t n) {
  constexpr int kV = Vec<T>::kSize;
  const Vec<T> minus(-f);
  int64_t i = 0;
  for (; i + kV <= n; i += kV) fma(minus, Vec<T>::load(x + i), Vec<T>::load(y + i)).store(y + i);
  if (i < n) {
    const int lanes = static_cast<int>(n - i);
    fma(minus, Vec<T>::load(x + i, lanes), Vec<T>::load(y + i, lanes)).store(y + i, lanes);
  }
}
template <class T>
FS_INLINE void scale_row(T* y, T f, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] *= f;
}

// A triangle (k, k): element (i, j) at p[i * row + j * col]; kUnit: ones on the diagonal.
template <class T>
struct Triangle {
  const T* p;
  int64_t row, col;
  bool unit;
  T at(int64_t i, int64_t j) const { return p[i * row + j * col]; }
};

// b (k, n) <- L^-1 b.
template <class T>
void solve_lower(const Triangle<T>& l, int64_t k, T* b, int64_t ld, int64_t n) {
  parallel_for(n, 128, [&](int64_t begin, int64_t end) {
    for (int64_t j = 0; j < k; ++j) {
      T* row = b + j * ld + begin;
      if (!l.unit) scale_row(row, T(1) / l.at(j, j), end - begin);
      for (int64_t i = j + 1; i < k; ++i) subtract_row(b + i * ld + begin, row, l.at(i, j), end - begin);
    }
  });
}
// b (k, n) <- U^-1 b.
template <class T>
void solve_upper(const Triangle<T>& u, int64_t k, T* b, int64_t ld, int64_t n) {
  parallel_for(n, 128, [&](int64_t begin, int64_t end) {
    for (int64_t j = k; j-- > 0;) {
      T* row = b + j * ld + begin;
      scale_row(row, T(1) / u.at(j, j), end - begin);
      for (int64_t i = 0; i < j; ++i) subtract_row(b + i * ld + begin, row, u.at(i, j), end - begin);
    }
  });
}

// c (m, n) -= a (m, k) b (k, n); b and c have rows `ld` apart.
template <class T>
void subtract_product(T* c, int64_t c_row, const T* a, int64_t a_row, int64_t a_col, const T* b, int64_t b_row,
                      int64_t m, int64_t n, int64_t k) {
  GemmCall<T> g{};
  g.m = m;
  g.n = n;
  g.k = k;
  g.a = a;
  g.a_row = a_row;
  g.a_col = a_col;
  g.b = b;
  g.b_row = b_row;
  g.b_col = 1;
  g.c = c;
  g.c_row = c_row;
  g.c_col = 1;
  g.alpha = -1;
  g.beta = 1;
  gemm(g);
}

// to[j][i] = from[i][j] where j <= i, and some beyond the diagonal.
template <class T>
void transpose_triangle(const T* from, int64_t from_ld, T* to, int64_t to_ld, int64_t n, bool lower) {
  constexpr int64_t kV = Vec<T>::kSize;
  const int64_t tiles = (n + kV - 1) / kV;
  parallel_for(tiles, most(1, 16384 / most(1, kV * n)), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t i = t * kV, j_begin = lower ? 0 : i, j_end = lower ? i + 1 : n;
      const int rows = static_cast<int>(least(kV, n - i));
      for (int64_t j = j_begin; j < j_end; j += kV) {
        const int cols = static_cast<int>(least(kV, n - j));
        Vec<T> r[kV];
        for (int k = 0; k < kV; ++k)
          r[k] = k < rows ? Vec<T>::load(from + (i + k) * from_ld + j, cols) : Vec<T>(T(0));
        transpose_registers(r);
        for (int k = 0; k < cols; ++k) r[k].store(to + (j + k) * to_ld + i, rows);
      }
    }
  });
}

// u: the upper triangle of a symmetric matrix -> U with U^T U = it; what lies below the diagonal is lost. Returns 0,
// or the order of the first leading minor that is not positive.
template <class T>
int64_t factor_upper(T* u, int64_t ld, int64_t n) {
  constexpr int64_t kV = Vec<T>::kSize;
  for (int64_t k0 = 0; k0 < n; k0 += kCholeskyBlock) {
    const int64_t kb = least(kCholeskyBlock, n - k0), k1 = k0 + kb;
    T* d = u + k0 * ld + k0;
    for (int64_t j = 0; j < kb; ++j) {
      T* row = d + j * ld;
      if (!(row[j] > T(0))) return k0 + j + 1;
      const T root = static_cast<T>(__builtin_sqrt(static_cast<double>(row[j])));
      row[j] = root;
      scale_row(row + j + 1, T(1) / root, kb - j - 1);
      for (int64_t i = j + 1; i < kb; ++i) {
        const int64_t from = i / kV * kV;  // whole registers
        subtract_row(d + i * ld + from, row + from, row[i], kb - from);
      }
    }
    if (k1 == n) break;
    solve_lower(Triangle<T>{d, 1, ld, false}, kb, u + k0 * ld + k1, ld, n - k1);
    for (int64_t i = k1; i < n; i += 2 * kCholeskyBlock) {  // in bands, to leave out most of the lower triangle
      const T* right = u + k0 * ld + i;
      subtract_product(u + i * ld + i, ld, right, 1, ld, right, ld, least(2 * kCholeskyBlock, n - i), n - i, kb);
    }
  }
  return 0;
}

// The pivot's row j, columns (j, k1), leaves rows [j + 1, n): multipliers into column j. Returns the row of the
// greatest element in column j + 1.
template <class T>
int64_t eliminate(T* a, int64_t ld, int64_t n, int64_t k0, int64_t j, int64_t k1) {
  constexpr int kV = Vec<T>::kSize, kVecs = static_cast<int>(kPanel / kV);
  const T inverse = T(1) / a[j * ld + j];
  Vec<T> u[kVecs];
  int lanes[kVecs];
  for (int v = 0; v < kVecs; ++v) {
    const int64_t left = k1 - k0 - v * kV;
    lanes[v] = static_cast<int>(left < 0 ? 0 : least(left, kV));
    T row[kV];
    for (int i = 0; i < kV; ++i) {
      const int64_t col = k0 + v * kV + i;
      row[i] = col > j && col < k1 ? a[j * ld + col] : T(0);
    }
    u[v] = Vec<T>::load(row);
  }
  const bool whole = k1 - k0 == kPanel;
  int64_t best = j + 1;
  T greatest = -1;
  for (int64_t i = j + 1; i < n; ++i) {
    T* row = a + i * ld + k0;
    const T f = row[j - k0] * inverse;
    const Vec<T> minus(-f);
    if (whole) {
      for (int v = 0; v < kVecs; ++v) fma(minus, u[v], Vec<T>::load(row + v * kV)).store(row + v * kV);
    } else {
      for (int v = 0; v < kVecs; ++v)
        fma(minus, u[v], Vec<T>::load(row + v * kV, lanes[v])).store(row + v * kV, lanes[v]);
    }
    row[j - k0] = f;
    if (j + 1 < k1) {
      const T size = row[j + 1 - k0] < 0 ? -row[j + 1 - k0] : row[j + 1 - k0];
      if (size > greatest) {
        greatest = size;
        best = i;
      }
    }
  }
  return best;
}

template <class T>
void swap_rows(T* a, int64_t ld, int64_t i, int64_t j, int64_t n) {
  T *x = a + i * ld, *y = a + j * ld;
  for (int64_t k = 0; k < n; ++k) {
    const T t = x[k];
    x[k] = y[k];
    y[k] = t;
  }
}

// x (n, m) <- a^-1 x; a (n, n) is overwritten by its factors. Returns 0, or the position from 1 of a zero pivot.
template <class T>
int64_t solve_in_place(T* a, int64_t ld, int64_t n, T* x, int64_t m) {
  for (int64_t k0 = 0; k0 < n; k0 += kPanel) {
    const int64_t k1 = least(n, k0 + kPanel);
    int64_t pivot = k0;
    for (int64_t i = k0 + 1; i < n; ++i)
      if (__builtin_fabs(static_cast<double>(a[i * ld + k0])) >
          __builtin_fabs(static_cast<double>(a[pivot * ld + k0])))
        pivot = i;
    for (int64_t j = k0; j < k1; ++j) {
      if (pivot != j) {
        swap_rows(a, ld, j, pivot, n);
        swap_rows(x, m, j, pivot, m);
      }
      if (a[j * ld + j] == T(0)) return j + 1;
      pivot = eliminate(a, ld, n, k0, j, k1);
    }
    const Triangle<T> l{a + k0 * ld + k0, ld, 1, true};
    solve_lower(l, k1 - k0, x + k0 * m, m, m);
    if (k1 == n) break;
    solve_lower(l, k1 - k0, a + k0 * ld + k1, ld, n - k1);
    const T* below = a + k1 * ld + k0;
    subtract_product(a + k1 * ld + k1, ld, below, ld, 1, a + k0 * ld + k1, ld, n - k1, n - k1, k1 - k0);
    subtract_product(x + k1 * m, m, below, ld, 1, x + k0 * m, m, n - k1, m, k1 - k0);
  }
  for (int64_t k0 = (n - 1) / kPanel * kPanel; k0 >= 0; k0 -= kPanel) {
    const int64_t k1 = least(n, k0 + kPanel);
    solve_upper(Triangle<T>{a + k0 * ld + k0, ld, 1, false}, k1 - k0, x + k0 * m, m, m);
    if (k0 > 0) subtract_product(x, m, a + k0, ld, 1, x + k0 * m, m, k0, m, k1 - k0);
  }
  return 0;
}

// Calls f(i) for each matrix of a batch; small ones are shared out whole.
template <class F>
void each_matrix(int64_t count, int64_t n, F&& f) {
  const int64_t work = most(1, n * n * n / 3);
  if (count == 1 || work > 64 * kChunkProducts) {
    for (int64_t i = 0; i < count; ++i) f(i);
    return;
  }
  parallel_for(count, items_in_chunk(count, work), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) f(i);
  });
}

}  // namespace

// in: a (batch..., n, n) row-major, of which the lower triangle is read; out: L (batch..., n, n) with a = L L^T, zero
// above the diagonal, and int32 (batch...): 0, or the order of the first leading minor that is not positive.
void cholesky(const KernelArgs& args) {
  const TensorView &in = args.in[0], &out = args.out[0];
  int32_t* info = args.out[1].ptr<int32_t>();
  const int64_t n = in.size(-1), count = args.out[1].numel, ld = row_step(n);
  const auto run = [&](auto tag) {
    using T = decltype(tag);
    each_matrix(count, n, [&](int64_t i) {
      T* to = out.ptr<T>() + i * n * n;
      Scratch<T> u(n * ld);
      transpose_triangle(in.ptr<T>() + i * n * n, n, u.data(), ld, n, true);
      info[i] = static_cast<int32_t>(factor_upper(u.data(), ld, n));
      __builtin_memset(to, 0, static_cast<size_t>(n * n) * sizeof(T));
      transpose_triangle<T>(u.data(), ld, to, n, n, false);
      for (int64_t r = 0; r < n; ++r)  // the tiles on the diagonal
        for (int64_t c = r + 1; c < least(n, r / Vec<T>::kSize * Vec<T>::kSize + Vec<T>::kSize); ++c)
          to[r * n + c] = 0;
    });
  };
  if (in.dtype == DType::kFloat64) run(double());
  else run(float());
}

// in: a (batch..., n, n), b (batch..., n, m) row-major; out: x (batch..., n, m) with a x = b, and int32 (batch...):
// 0, or the position from 1 of a zero pivot: a is singular.
void solve(const KernelArgs& args) {
  const TensorView &a = args.in[0], &b = args.in[1], &out = args.out[0];
  int32_t* info = args.out[1].ptr<int32_t>();
  const int64_t n = a.size(-1), m = b.size(-1), count = args.out[1].numel, ld = row_step(n);
  const auto run = [&](auto tag) {
    using T = decltype(tag);
    each_matrix(count, n, [&](int64_t i) {
      Scratch<T> lu(n * ld);
      for (int64_t r = 0; r < n; ++r)
        __builtin_memcpy(lu.data() + r * ld, a.ptr<T>() + (i * n + r) * n, static_cast<size_t>(n) * sizeof(T));
      T* x = out.ptr<T>() + i * n * m;
      __builtin_memcpy(x, b.ptr<T>() + i * n * m, static_cast<size_t>(n * m) * sizeof(T));
      info[i] = static_cast<int32_t>(solve_in_place(lu.data(), ld, n, x, m));
    });
  };
  if (a.dtype == DType::kFloat64) run(double());
  else run(float());
}

}  // namespace fireseed::cpu::FS_ISA

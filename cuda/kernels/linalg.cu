// Factorisations of matrices: Cholesky, and linear equations by LU with row exchanges; blocked over the matrix
// product.
// Rarely used: a wheel has it as PTX.
#include "kernels/gemm.cuh"

#include "device/contiguous.cuh"
#include "device/reduce.cuh"
#include "runtime/check.h"

namespace fireseed::cuda {
namespace {

// Note [Factorisations]
// As on the CPU (cpp/cpu/linalg.cpp, Note [Blocked factorisations]): a block of columns is factored, the equations of
// what lies beside it are solved, and the rest, nearly all of the work, is one matrix product; a batch goes through
// the steps together. Columns are factored by one block of threads a matrix. A matrix whose factorisation fails keeps
// its number in info, is left alone by the following factor steps, and its result has no meaning.

constexpr int kFactorThreads = 256, kFactorWarps = kFactorThreads / kWarpSize;
template <class T>
constexpr int kCholeskyBlock = sizeof(T) == 4 ? 64 : 32;
constexpr int kPanel = 32;  // columns of an LU block: one a lane
constexpr int kPanelThreads = 128;
constexpr int kSmallSystem = 64;

// c (m, n) -= a (m, k) b (k, n) for each matrix of a batch; steps are in elements.
template <class T>
struct Operand {
  const T* p;
  int64_t row, col, batch;
};
template <class T>
void subtract_product(T* c, int64_t c_row, int64_t c_batch, const Operand<T>& a, const Operand<T>& b, int64_t m,
                      int64_t n, int64_t k, int64_t count) {
  if (m == 0 || n == 0) return;
  Gemm g(dtype_of<T>::value);
  g.m = m;
  g.n = n;
  g.k = k;
  g.a = a.p;
  g.a_row = a.row;
  g.a_col = a.col;
  g.b = b.p;
  g.b_row = b.row;
  g.b_col = b.col;
  g.c = c;
  g.d = c;
  g.c_row = g.d_row = c_row;
  g.c_col = g.d_col = 1;
  g.alpha = -1;
  g.beta = 1;
  g.exact = true;  // errors would grow from block to block
  g.batch = count;
  g.batch_index.ndim = 1;
  g.batch_index.size[0] = Divider<int32_t>(count);
  g.batch_index.stride[0][0] = a.batch;
  g.batch_index.stride[1][0] = b.batch;
  g.batch_index.stride[2][0] = g.batch_index.stride[3][0] = c_batch;
  run_gemm(g);
}

unsigned grid_of(int64_t count) { return grid_for(count, 1, 1 << 20); }

// No matrix has failed.
void clear_info(const TensorView& info) {
  if (info.numel == 0) return;
  FS_CUDA(cudaMemsetAsync(info.data, 0, static_cast<size_t>(info.numel) * sizeof(int32_t), current_stream()));
}

// ---- Cholesky ----------------------------------------------------------------------------------------------

// to = the lower triangles of `from`, or with from = to the upper ones cleared. Elements of `words` words.
__global__ void keep_lower(const uint32_t* from, uint32_t* to, int64_t n, int words, int64_t rows) {
  const int64_t row_words = n * words;
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const int64_t end = (row % n + 1) * words;
    for (int64_t i = threadIdx.x; i < row_words; i += blockDim.x)
      to[row * row_words + i] = i < end ? from[row * row_words + i] : 0;
  }
}

// The diagonal block of kb columns at k0, a block a matrix.
template <class T>
__global__ void __launch_bounds__(kFactorThreads)
    factor_diagonal(T* l, int32_t* info, int64_t n, int64_t k0, int kb, int64_t count) {
  constexpr int kBlock = kCholeskyBlock<T>;
  FS_SHARED(T, a, [kBlock][kBlock + 1]);
  const int t = static_cast<int>(threadIdx.x);
  for (int64_t matrix = blockIdx.x; matrix < count; matrix += gridDim.x) {
    if (k0 > 0 && info[matrix] != 0) continue;
    T* p = l + matrix * n * n + k0 * n + k0;
    const int warp = t / kWarpSize, lane = t % kWarpSize;
    for (int i = warp; i < kb; i += kFactorWarps)
      for (int j = lane; j <= i; j += kWarpSize) a[i][j] = p[i * n + j];
    __syncthreads();
    int failed = 0;
    for (int j = 0; j < kb; ++j) {
      const T pivot = a[j][j];
      if (!(pivot > T(0))) {
        failed = j + 1;
        break;
      }
      const T root = ::sqrt(pivot), inverse = T(1) / root;
      __syncthreads();  // all have read the pivot
      for (int i = j + t; i < kb; i += kFactorThreads) a[i][j] = i == j ? root : a[i][j] * inverse;
      __syncthreads();
      for (int i = j + 1 + warp; i < kb; i += kFactorWarps)
        for (int c = j + 1 + lane; c <= i; c += kWarpSize) a[i][c] -= a[i][j] * a[c][j];
      __syncthreads();
    }
    if (t == 0 && (k0 == 0 || failed)) info[matrix] = failed ? static_cast<int32_t>(k0 + failed) : 0;
    for (int i = warp; i < kb; i += kFactorWarps)
      for (int j = lane; j <= i; j += kWarpSize) p[i * n + j] = a[i][j];
    __syncthreads();  // a may be written again
  }
}

// The rows below it: x with x L^T = them, a thread a row. gridDim.y: matrices.
template <class T>
__global__ void __launch_bounds__(kCholeskyBlock<T>) solve_below(T* l, int64_t n, int64_t k0, int64_t matrices) {
  constexpr int kBlock = kCholeskyBlock<T>;
  FS_SHARED(T, diagonal, [kBlock][kBlock + 1]);
  FS_SHARED(T, rows, [kBlock][kBlock + 1]);
  const int t = static_cast<int>(threadIdx.x);
  const int64_t first = k0 + kBlock + static_cast<int64_t>(blockIdx.x) * kBlock;
  const int count = static_cast<int>(n - first < kBlock ? n - first : kBlock);
  for (int64_t matrix = blockIdx.y; matrix < matrices; matrix += gridDim.y) {
    T* p = l + matrix * n * n;
    for (int i = 0; i < kBlock; ++i) {
      diagonal[i][t] = t <= i ? p[(k0 + i) * n + k0 + t] : T(0);
      rows[i][t] = i < count ? p[(first + i) * n + k0 + t] : T(0);
    }
    __syncthreads();
#pragma unroll 1
    for (int j = 0; j < kBlock; ++j) {
      T sum = rows[t][j];
#pragma unroll 4
      for (int c = 0; c < j; ++c) sum -= rows[t][c] * diagonal[j][c];
      rows[t][j] = sum / diagonal[j][j];
    }
    __syncthreads();
    for (int i = 0; i < count; ++i) p[(first + i) * n + k0 + t] = rows[i][t];
    __syncthreads();  // rows may be written again
  }
}

unsigned matrices_of(int64_t count) { return static_cast<unsigned>(count < 65535 ? count : 65535); }

template <class T>
void factor_cholesky(T* l, int32_t* info, int64_t n, int64_t count) {
  constexpr int64_t kBlock = kCholeskyBlock<T>, kBand = 1024;
  const cudaStream_t stream = current_stream();
  for (int64_t k0 = 0; k0 < n; k0 += kBlock) {
    const int64_t kb = n - k0 < kBlock ? n - k0 : kBlock, k1 = k0 + kb;
    FS_LAUNCH((factor_diagonal<T>), grid_of(count), kFactorThreads, 0, stream, l, info, n, k0, static_cast<int>(kb),
              count);
    if (k1 == n) break;
    const dim3 grid(static_cast<unsigned>((n - k1 + kBlock - 1) / kBlock), matrices_of(count));
    FS_LAUNCH((solve_below<T>), grid, static_cast<unsigned>(kBlock), 0, stream, l, n, k0, count);
    for (int64_t i = k1; i < n; i += kBand) {  // in bands, to leave out most of the upper triangle
      const T* below = l + i * n + k0;
      const int64_t columns = n - i < kBand ? n - i : kBand;
      subtract_product(l + i * n + i, n, n * n, Operand<T>{below, n, 1, n * n}, Operand<T>{below, 1, n, n * n}, n - i,
                       columns, kb, count);
    }
  }
}

// ---- linear equations --------------------------------------------------------------------------------------

// The greater of two elements and its row; of equal ones the upper. What is no number is never greater.
template <class T>
struct Pivot {
  T size;
  int row;
  __device__ __forceinline__ void offer(T value, int at) {
    const T s = value < T(0) ? -value : value;
    if (s > size || (s == size && at < row)) {
      size = s;
      row = at;
    }
  }
};
// Over the block's threads, in all of them; row `none` where no thread has one.
template <class T>
__device__ __forceinline__ int pivot_row(const Pivot<T>& own, int none) {
  const T greatest = block_reduce<kFactorThreads>(own.size, [](T a, T b) { return a > b ? a : b; });
  const int row =
      block_reduce<kFactorThreads>(own.size == greatest && own.size >= T(0) ? own.row : INT32_MAX, MinOp{});
  return row == INT32_MAX ? none : row;
}

// Whole systems of up to kSmallSystem rows, a block each: a in shared memory, x (n, m) <- a^-1 x in place.
template <class T>
__global__ void __launch_bounds__(kFactorThreads)
    solve_small(const T* matrices, T* right, int32_t* info, int n, int m, int64_t count) {
  FS_SHARED(T, a, [kSmallSystem][kSmallSystem + 1]);
  const int t = static_cast<int>(threadIdx.x), warp = t / kWarpSize, lane = t % kWarpSize;
  int wide = 1;  // threads beside one another in a row of x
  while (wide < m && wide < kFactorThreads) wide *= 2;
  const int own_row = t / wide, own_column = t % wide;
  for (int64_t matrix = blockIdx.x; matrix < count; matrix += gridDim.x) {
    T* x = right + matrix * n * m;
    for (int i = warp; i < n; i += kFactorWarps)
      for (int j = lane; j < n; j += kWarpSize) a[i][j] = matrices[(matrix * n + i) * n + j];
    __syncthreads();
    int failed = 0;
    for (int j = 0; j < n; ++j) {
      Pivot<T> own{T(-1), INT32_MAX};
      for (int i = j + t; i < n; i += kFactorThreads) own.offer(a[i][j], i);
      const int row = pivot_row(own, j);
      if (row != j) {
        for (int c = t; c < n; c += kFactorThreads) {
          const T swap = a[j][c];
          a[j][c] = a[row][c];
          a[row][c] = swap;
        }
        for (int c = t; c < m; c += kFactorThreads) {
          const T swap = x[j * m + c];
          x[j * m + c] = x[row * m + c];
          x[row * m + c] = swap;
        }
      }
      __syncthreads();
      const T pivot = a[j][j];
      if (pivot == T(0)) {
        failed = j + 1;
        break;
      }
      const T inverse = T(1) / pivot;
      const int rest = n - j - 1;
      for (int i = j + 1 + warp; i < n; i += kFactorWarps) {
        const T f = a[i][j] * inverse;
        for (int c = lane; c < rest + m; c += kWarpSize) {
          if (c < rest) a[i][j + 1 + c] -= f * a[j][j + 1 + c];
          else x[i * m + c - rest] -= f * x[j * m + c - rest];
        }
      }
      __syncthreads();
    }
    for (int j = n - 1; j >= 0 && !failed; --j) {
      const T inverse = T(1) / a[j][j];
      for (int c = t; c < m; c += kFactorThreads) x[j * m + c] *= inverse;
      __syncthreads();
      for (int i = own_row; i < j; i += kFactorThreads / wide)
        for (int c = own_column; c < m; c += wide) x[i * m + c] -= a[i][j] * x[j * m + c];
      __syncthreads();
    }
    if (t == 0) info[matrix] = failed;
    __syncthreads();  // a may be written again
  }
}

// Columns [k0, k1) of a, rows from k0 on, a block a matrix; swapped rows go to pivots. A warp takes a row, a lane a
// column; the greatest element of the next column is found on the way.
template <class T>
__global__ void __launch_bounds__(kFactorThreads)
    factor_panel(T* a, int32_t* pivots, int32_t* info, int n, int k0, int k1, int64_t count) {
  constexpr int kWarps = kFactorThreads / kWarpSize;
  static_assert(kPanel == kWarpSize);
  const int t = static_cast<int>(threadIdx.x), warp = t / kWarpSize, lane = t % kWarpSize, column = k0 + lane;
  for (int64_t matrix = blockIdx.x; matrix < count; matrix += gridDim.x) {
    if (k0 > 0 && info[matrix] != 0) continue;
    T* p = a + matrix * n * n;
    Pivot<T> own{T(-1), INT32_MAX};
    for (int i = k0 + t; i < n; i += kFactorThreads) own.offer(p[static_cast<int64_t>(i) * n + k0], i);
    int failed = 0;
    for (int j = k0; j < k1; ++j) {
      const int row = pivot_row(own, j);
      if (t == 0) pivots[matrix * n + j] = row;
      if (warp == 0 && column < k1 && row != j) {
        const T swap = p[static_cast<int64_t>(j) * n + column];
        p[static_cast<int64_t>(j) * n + column] = p[static_cast<int64_t>(row) * n + column];
        p[static_cast<int64_t>(row) * n + column] = swap;
      }
      __syncthreads();
      const T pivot = p[static_cast<int64_t>(j) * n + j];
      if (pivot == T(0)) {
        failed = j + 1;
        break;
      }
      const T inverse = T(1) / pivot, u = column < k1 ? p[static_cast<int64_t>(j) * n + column] : T(0);
      own = {T(-1), INT32_MAX};
      for (int i = j + 1 + warp; i < n; i += kWarps) {
        T* at = p + static_cast<int64_t>(i) * n + column;
        T v = column >= j && column < k1 ? *at : T(0);
        const T f = __shfl_sync(kFullMask, v, j - k0) * inverse;
        v = column == j ? f : v - f * u;
        if (column >= j && column < k1) *at = v;
        const T next = __shfl_sync(kFullMask, v, (j + 1 - k0) % kWarpSize);
        if (j + 1 < k1) own.offer(next, i);
      }
      __syncthreads();
    }
    if (t == 0 && (k0 == 0 || failed)) info[matrix] = failed;
    __syncthreads();
  }
}

// With pivots, right of the panel, in a and in x: rows are swapped as they say, then those beside the panel become
// L^-1 of themselves. Without, in x: they become U^-1 of themselves, U the panel's upper triangle. A thread a column,
// which waits in shared memory.
template <class T>
__global__ void __launch_bounds__(kPanelThreads)
    solve_panel(T* a, T* x, const int32_t* pivots, const int32_t* info, int64_t n, int64_t m, int64_t k0, int kb,
                int64_t count) {
  FS_SHARED(T, triangle, [kPanel][kPanel + 1]);
  FS_SHARED(T, columns, [kPanel][kPanelThreads]);
  const bool upper = pivots == nullptr;
  const int t = static_cast<int>(threadIdx.x);
  const int64_t right = upper ? 0 : n - k0 - kb, c = grid_thread();
  for (int64_t matrix = blockIdx.y; matrix < count; matrix += gridDim.y) {
    if (info[matrix] != 0) continue;  // it has no pivots
    T* p = a + matrix * n * n;
    for (int i = t / kPanel; i < kb; i += kPanelThreads / kPanel) {
      const int j = t % kPanel;
      const T e = j < kb ? p[(k0 + i) * n + k0 + j] : T(0);
      triangle[i][j] = upper && i == j ? T(1) / e : e;
    }
    __syncthreads();
    if (c < right + m) {
      T* column = c < right ? p + k0 + kb + c : x + matrix * n * m + c - right;
      const int64_t step = c < right ? n : m;
      T* from = column + k0 * step;
      for (int i = 0; i < kb; ++i, from += step) {
        const int64_t row = upper ? k0 + i : pivots[matrix * n + k0 + i];
        const T own = *from;
        if (row != k0 + i) {
          *from = column[row * step];
          column[row * step] = own;
        }
        columns[i][t] = *from;
      }
      for (int done = 0; done < kb; ++done) {
        const int i = upper ? kb - 1 - done : done;
        T sum = columns[i][t];
#pragma unroll 4
        for (int k = 0; k < done; ++k) {
          const int j = upper ? kb - 1 - k : k;
          sum -= triangle[i][j] * columns[j][t];
        }
        if (upper) sum *= triangle[i][i];
        columns[i][t] = sum;
        column[(k0 + i) * step] = sum;
      }
    }
    __syncthreads();  // triangle may be written again
  }
}

// x (count, n, m) <- a^-1 x; a (count, n, n) is overwritten by its factors.
template <class T>
void solve_in_place(T* a, T* x, int32_t* info, int64_t n, int64_t m, int64_t count) {
  const cudaStream_t stream = current_stream();
  const Scratch pivots(static_cast<size_t>(count * n) * sizeof(int32_t));
  for (int64_t k0 = 0; k0 < n; k0 += kPanel) {
    const int64_t k1 = n - k0 < kPanel ? n : k0 + kPanel, kb = k1 - k0;
    FS_LAUNCH((factor_panel<T>), grid_of(count), kFactorThreads, 0, stream, a, pivots.ptr<int32_t>(), info,
              static_cast<int>(n), static_cast<int>(k0), static_cast<int>(k1), count);
    const dim3 grid(grid_for(n - k1 + m, kPanelThreads, INT32_MAX), matrices_of(count));
    FS_LAUNCH((solve_panel<T>), grid, kPanelThreads, 0, stream, a, x, pivots.ptr<int32_t>(), info, n, m, k0,
              static_cast<int>(kb), count);
    const Operand<T> below{a + k1 * n + k0, n, 1, n * n};
    subtract_product(a + k1 * n + k1, n, n * n, below, Operand<T>{a + k0 * n + k1, n, 1, n * n}, n - k1, n - k1, kb,
                     count);
    subtract_product(x + k1 * m, m, n * m, below, Operand<T>{x + k0 * m, m, 1, n * m}, n - k1, m, kb, count);
  }
  for (int64_t k0 = (n - 1) / kPanel * kPanel; k0 >= 0; k0 -= kPanel) {
    const int64_t kb = n - k0 < kPanel ? n - k0 : kPanel;
    const dim3 grid(grid_for(m, kPanelThreads, INT32_MAX), matrices_of(count));
    FS_LAUNCH((solve_panel<T>), grid, kPanelThreads, 0, stream, a, x, nullptr, info, n, m, k0, static_cast<int>(kb),
              count);
    subtract_product(x, m, n * m, Operand<T>{a + k0, n, 1, n * n}, Operand<T>{x + k0 * m, m, 1, n * m}, k0, m, kb,
                     count);
  }
}

}  // namespace

// in: a (batch..., n, n) row-major, of which the lower triangle is read; out: L (batch..., n, n) with a = L L^T, zero
// above the diagonal, and int32 (batch...): 0, or the order of the first leading minor that is not positive.
void cholesky(const KernelArgs& args) {
  const TensorView &in = args.in[0], &out = args.out[0];
  const int64_t n = in.size(-1), count = args.out[1].numel, numel = count * n * n;
  if (numel == 0) return clear_info(args.out[1]);
  const auto run = [&](auto tag) {
    using T = decltype(tag);
    T* l = out.ptr<T>();
    const auto keep = [&](const T* from) {
      FS_LAUNCH(keep_lower, grid_of(count * n), 128, 0, current_stream(), reinterpret_cast<const uint32_t*>(from),
                reinterpret_cast<uint32_t*>(l), n, static_cast<int>(sizeof(T) / 4), count * n);
    };
    keep(in.ptr<const T>());
    factor_cholesky(l, args.out[1].ptr<int32_t>(), n, count);
    if (n > kCholeskyBlock<T>) keep(l);  // products write above the diagonal
  };
  if (in.dtype == DType::kFloat64) run(double());
  else run(float());
}

// in: a (batch..., n, n), b (batch..., n, m) row-major; out: x (batch..., n, m) with a x = b, and int32 (batch...):
// 0, or the position from 1 of a zero pivot: a is singular.
void solve(const KernelArgs& args) {
  const TensorView &a = args.in[0], &b = args.in[1], &out = args.out[0];
  const int64_t n = a.size(-1), m = b.size(-1), count = args.out[1].numel;
  if (count * n == 0) return clear_info(args.out[1]);
  FS_CHECK(n < (int64_t{1} << 31) && (n > kSmallSystem || n * m < (int64_t{1} << 31)), "linalg.solve: matrices of ",
           n, " rows and ", m, " right-hand sides are too large for a CUDA device");
  const auto run = [&](auto tag) {
    using T = decltype(tag);
    int32_t* info = args.out[1].ptr<int32_t>();
    move_view(out, b);
    if (n <= kSmallSystem) {
      FS_LAUNCH((solve_small<T>), grid_of(count), kFactorThreads, 0, current_stream(), a.ptr<const T>(), out.ptr<T>(),
                info, static_cast<int>(n), static_cast<int>(m), count);
      return;
    }
    const Scratch factors(static_cast<size_t>(count * n * n) * sizeof(T));
    TensorView copy = a;
    copy.data = factors.ptr<void>();
    move_view(copy, a);
    solve_in_place(factors.ptr<T>(), out.ptr<T>(), info, n, m, count);
  };
  if (a.dtype == DType::kFloat64) run(double());
  else run(float());
}

}  // namespace fireseed::cuda

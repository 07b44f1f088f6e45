// Products of a matrix and a vector: every element of the matrix is read once, in the order in which it lies.
#include <algorithm>

#include "device/reduce.cuh"
#include "kernels/gemm.cuh"
#include "runtime/device.h"
#include "runtime/stream.h"

namespace fireseed::cuda {
namespace {

// y[i] = sum over k of matrix[i, k] x[k]; y is the column (m, 1) of a product, or the row (1, n).
struct Vector {
  Gemm g;
  const void *matrix, *x;
  int64_t n, outer_step, k_step, x_step;
  bool is_row;    // the vector is a, the matrix b
  bool vectors;   // aligned ones
  bool by_warps;  // multiply_rows: a row is a warp's, else a block's

  explicit Vector(const Gemm& g_) : g(g_), is_row(g_.n != 1) {
    matrix = is_row ? g.b : g.a;
    x = is_row ? g.a : g.b;
    n = is_row ? g.n : g.m;
    outer_step = is_row ? g.b_col : g.a_row;
    k_step = is_row ? g.b_row : g.a_col;
    x_step = is_row ? g.a_col : g.b_row;
  }
};

// One matrix of the batch and one part of k: where its operands begin, in elements.
struct VectorPart {
  int64_t matrix, x, k0, k1;
  __device__ __forceinline__ VectorPart(const Vector& v, int64_t batch) {
    int64_t offset[4];
    v.g.batch_index.offsets(batch, offset);
    matrix = v.is_row ? offset[1] : offset[0];
    x = v.is_row ? offset[0] : offset[1];
    k0 = blockIdx.z * v.g.part;
    k1 = k0 + v.g.part < v.g.k ? k0 + v.g.part : v.g.k;
  }
};
template <class C>
__device__ __forceinline__ void put(const Vector& v, int64_t batch, int64_t i, C sum) {
  GemmOut<C>(v.g, v.g.dtype, batch, blockIdx.z)(v.is_row ? 0 : i, v.is_row ? i : 0, sum);
}

// Adds, in pieces of 16 bytes from k on, `step` elements apart, the products of a row and x; U: bits of an element.
template <class U, class C>
__device__ __forceinline__ void add_row(C& sum, const void* row, const void* x, DType t, int64_t k, int64_t k1,
                                        int step) {
  constexpr int kVec = kVecSize<U>;
#pragma unroll 1
  for (; k + kVec <= k1; k += step) {
    const auto a = Vec<U, kVec>::load(static_cast<const U*>(row) + k);
    const auto b = Vec<U, kVec>::load(static_cast<const U*>(x) + k);
#pragma unroll
    for (int i = 0; i < kVec; ++i) sum += decode_float<C>(a.v[i], t) * decode_float<C>(b.v[i], t);
  }
}
// The same for four neighbouring rows that lie next to each other element by element.
template <class U, class C>
__device__ __forceinline__ void add_columns(C (&sum)[4], const Vector& v, int64_t first, int64_t x, int64_t k,
                                            int64_t k1, int step) {
  constexpr int kVec = sizeof(U) == 8 ? 2 : 4;
#pragma unroll(4)
  for (; k < k1; k += step) {
    const C b = decode_float<C>(static_cast<const U*>(v.x)[x + k * v.x_step], v.g.dtype);
#pragma unroll
    for (int i = 0; i < 4; i += kVec) {
      const auto a = Vec<U, kVec>::load(static_cast<const U*>(v.matrix) + first + k * v.k_step + i);
#pragma unroll
      for (int j = 0; j < kVec; ++j) sum[i + j] += decode_float<C>(a.v[j], v.g.dtype) * b;
    }
  }
}

// A warp or a block a row of the matrix; neighbouring threads take neighbouring elements along k.
template <class C>
__global__ void __launch_bounds__(256) multiply_rows(const __grid_constant__ Vector v) {
  const DType t = v.g.dtype;
  const int threads = v.by_warps ? kWarpSize : 256, lane = static_cast<int>(threadIdx.x) % threads;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * (256 / threads) + threadIdx.x / threads;
  for (int64_t batch = blockIdx.y; batch < v.g.batch; batch += gridDim.y) {
    const VectorPart part(v, batch);
    const int64_t first = part.matrix + row * v.outer_step, k1 = part.k1;
    C sum = 0;
    if (row < v.n) {
      int64_t k = part.k0 + lane;
      if (v.vectors) {
        const int size = sizeof(C) == 8 ? 8 : t == DType::kFloat32 ? 4 : 2, vec = 16 / size;
        const char* const p = static_cast<const char*>(v.matrix) + first * size;
        const char* const x = static_cast<const char*>(v.x) + part.x * size;
        k = part.k0 + lane * vec;
        if constexpr (sizeof(C) == 8) add_row<uint64_t>(sum, p, x, t, k, k1, threads * vec);
        else if (t == DType::kFloat32) add_row<uint32_t>(sum, p, x, t, k, k1, threads * vec);
        else add_row<uint16_t>(sum, p, x, t, k, k1, threads * vec);
        k = part.k0 + (k1 - part.k0) / vec * vec + lane;
      }
#pragma unroll 1
      for (; k < k1; k += threads)
        sum += load_number(v.matrix, first + k * v.k_step, t, C{}) * load_number(v.x, part.x + k * v.x_step, t, C{});
    }
    if (v.by_warps) sum = warp_reduce(sum, AddOp{});
    else sum = block_reduce<256>(sum, AddOp{});
    if (lane == 0 && row < v.n) put(v, batch, row, sum);
  }
}

// For a matrix whose rows lie next to each other element by element: a warp has 128 rows, its threads four each; the
// warps of a block share out k.
template <class C>
__global__ void __launch_bounds__(256) multiply_columns(const __grid_constant__ Vector v) {
  constexpr int kWarps = 8;
  FS_SHARED(C, sums, [kWarps][128]);
  const DType t = v.g.dtype;
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize, warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const int64_t row0 = static_cast<int64_t>(blockIdx.x) * 128, row = row0 + lane * 4;
  const int inside = v.n - row < 4 ? static_cast<int>(v.n - row) : 4;
  for (int64_t batch = blockIdx.y; batch < v.g.batch; batch += gridDim.y) {
    const VectorPart part(v, batch);
    const int64_t first = part.matrix + row, k0 = part.k0 + warp;
    C sum[4] = {};
    if (v.vectors && inside == 4) {
      if constexpr (sizeof(C) == 8) add_columns<uint64_t>(sum, v, first, part.x, k0, part.k1, kWarps);
      else if (t == DType::kFloat32) add_columns<uint32_t>(sum, v, first, part.x, k0, part.k1, kWarps);
      else add_columns<uint16_t>(sum, v, first, part.x, k0, part.k1, kWarps);
    } else {
#pragma unroll 1
      for (int64_t k = k0; k < part.k1; k += kWarps) {
        const C b = load_number(v.x, part.x + k * v.x_step, t, C{});
#pragma unroll
        for (int i = 0; i < 4; ++i)
          if (i < inside) sum[i] += load_number(v.matrix, first + k * v.k_step + i, t, C{}) * b;
      }
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) sums[warp][lane * 4 + i] = sum[i];
    __syncthreads();
    const int64_t mine = row0 + threadIdx.x;
    if (threadIdx.x < 128 && mine < v.n) {
      C total = sums[0][threadIdx.x];
#pragma unroll
      for (int w = 1; w < kWarps; ++w) total += sums[w][threadIdx.x];
      put(v, batch, mine, total);
    }
    __syncthreads();
  }
}

}  // namespace

void run_vector(const Gemm& g) {
  Vector v(g);
  const auto divides = [&](int operand, int64_t n) {
    for (int i = 0; i < g.batch_index.ndim; ++i)
      if (g.batch_index.stride[operand][i] % n != 0) return false;
    return true;
  };
  const bool by_columns = v.outer_step == 1 && v.k_step != 1 && v.n > 1;
  const int64_t size = dtype_size(g.dtype), vec = by_columns ? std::min<int64_t>(4, 16 / size) : 16 / size;
  v.vectors = aligned_for(v.matrix, static_cast<size_t>(vec * size)) && divides(v.is_row ? 1 : 0, vec) &&
              (by_columns ? v.k_step % vec == 0
                          : v.k_step == 1 && v.x_step == 1 && (v.outer_step % vec == 0 || v.n == 1) &&
                                aligned_for(v.x, 16) && divides(v.is_row ? 0 : 1, vec));
  // Rows by warps where there are enough of them or they are short; k in parts where there are few blocks.
  const int64_t want = int64_t{4} * multiprocessors();
  v.by_warps = g.k <= 1024 || v.n * g.batch >= want * 8;
  const int64_t per_block = by_columns ? 128 : v.by_warps ? 8 : 1, blocks = (v.n + per_block - 1) / per_block;
  const int64_t least = by_columns ? 256 : 8192;  // elements of k in a part
  int64_t parts = std::clamp<int64_t>(want / (blocks * g.batch), 1, std::min<int64_t>(64, g.k / least + 1));
  v.g.part = (g.k + parts - 1) / parts;
  v.g.part = std::max<int64_t>((v.g.part + 15) / 16 * 16, 16);
  v.g.parts = static_cast<int>(std::max<int64_t>((g.k + v.g.part - 1) / v.g.part, 1));
  FS_CHECK(blocks < (int64_t{1} << 31), "a product of a matrix of ", v.n, " rows and a vector: too many rows");
  in_parts(Gemm(v.g), [&](const Gemm& h) {
    v.g = h;
    const dim3 grid(static_cast<unsigned>(blocks), static_cast<unsigned>(std::min<int64_t>(g.batch, 65535)),
                    static_cast<unsigned>(h.parts));
    dispatch_float_compute(g.dtype, "matrix product", [&](auto c) {
      using C = decltype(c);
      if (by_columns) FS_LAUNCH((multiply_columns<C>), grid, 256, 0, current_stream(), v);
      else FS_LAUNCH((multiply_rows<C>), grid, 256, 0, current_stream(), v);
    });
  });
}

}  // namespace fireseed::cuda

// Products of a matrix and a vector: every element of the matrix is read once, in the order in which it lies.
#include <algorithm>

#include "device/reduce.cuh"
#include "kernels/gemm.cuh"
#include "runtime/device.h"
#include "runtime/stream.h"

namespace fireseed::cuda {
namespace {

// y[i] = sum over k of matrix[i, k] x[k]; y is the column (m, 1) of a product, or the row (1, n).
template <class T>
struct Vector {
  Gemm<T> g;
  const T *matrix, *x;
  int64_t n, outer_step, k_step, x_step;
  bool is_row;   // the vector is a, the matrix b
  bool vectors;  // aligned ones

  explicit Vector(const Gemm<T>& g_) : g(g_), is_row(g_.n != 1) {
    matrix = is_row ? g.b : g.a;
    x = is_row ? g.a : g.b;
    n = is_row ? g.n : g.m;
    outer_step = is_row ? g.b_col : g.a_row;
    k_step = is_row ? g.b_row : g.a_col;
    x_step = is_row ? g.a_col : g.b_row;
  }
  __device__ __forceinline__ void put(const GemmOut<T>& out, int64_t i, compute_type<T> sum) const {
    out(is_row ? 0 : i, is_row ? i : 0, sum);
  }
};

// kRowThreads threads a row of the matrix; neighbouring threads take neighbouring elements along k.
template <class T, int kRowThreads>
__global__ void __launch_bounds__(256) multiply_rows(const __grid_constant__ Vector<T> v) {
  using C = compute_type<T>;
  constexpr int kVec = kVecSize<T>;
  const int lane = static_cast<int>(threadIdx.x) % kRowThreads;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * (256 / kRowThreads) + threadIdx.x / kRowThreads;
  const int64_t part = blockIdx.z, k0 = part * v.g.part, k1 = k0 + v.g.part < v.g.k ? k0 + v.g.part : v.g.k;
  for (int64_t batch = blockIdx.y; batch < v.g.batch; batch += gridDim.y) {
    int64_t offset[4];
    v.g.batch_index.offsets(batch, offset);
    const T* p = v.matrix + (v.is_row ? offset[1] : offset[0]) + row * v.outer_step;
    const T* x = v.x + (v.is_row ? offset[0] : offset[1]);
    C sum = 0;
    if (row < v.n) {
      int64_t k = k0 + lane;
      if (v.vectors) {
        for (k = k0 + lane * kVec; k + kVec <= k1; k += kRowThreads * kVec) {
          const auto a = Vec<T, kVec>::load(p + k), b = Vec<T, kVec>::load(x + k);
#pragma unroll
          for (int i = 0; i < kVec; ++i) sum += load_as<C>(a.v[i]) * load_as<C>(b.v[i]);
        }
        k = k0 + (k1 - k0) / kVec * kVec + lane;
      }
      for (; k < k1; k += kRowThreads) sum += load_as<C>(p[k * v.k_step]) * load_as<C>(x[k * v.x_step]);
    }
    if constexpr (kRowThreads == kWarpSize) sum = warp_reduce(sum, AddOp{});
    else sum = block_reduce<kRowThreads>(sum, AddOp{});
    if (lane == 0 && row < v.n) v.put(GemmOut<T>(v.g, batch, part), row, sum);
  }
}

// For a matrix whose rows lie next to each other element by element: a warp has 128 rows, its threads four each; the
// warps of a block share out k.
template <class T>
__global__ void __launch_bounds__(256) multiply_columns(const __grid_constant__ Vector<T> v) {
  using C = compute_type<T>;
  constexpr int kWarps = 8, kVec = sizeof(T) == 8 ? 2 : 4;
  FS_SHARED(C, sums, [kWarps][128]);
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize, warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const int64_t row0 = static_cast<int64_t>(blockIdx.x) * 128, row = row0 + lane * 4;
  const int inside = v.n - row < 4 ? static_cast<int>(v.n - row) : 4;
  const int64_t part = blockIdx.z, k0 = part * v.g.part, k1 = k0 + v.g.part < v.g.k ? k0 + v.g.part : v.g.k;
  for (int64_t batch = blockIdx.y; batch < v.g.batch; batch += gridDim.y) {
    int64_t offset[4];
    v.g.batch_index.offsets(batch, offset);
    const T* p = v.matrix + (v.is_row ? offset[1] : offset[0]) + row;
    const T* x = v.x + (v.is_row ? offset[0] : offset[1]);
    C sum[4] = {};
    if (v.vectors && inside == 4) {
#pragma unroll(4)
      for (int64_t k = k0 + warp; k < k1; k += kWarps) {
        const C b = load_as<C>(x[k * v.x_step]);
#pragma unroll
        for (int i = 0; i < 4; i += kVec) {
          const auto a = Vec<T, kVec>::load(p + k * v.k_step + i);
#pragma unroll
          for (int j = 0; j < kVec; ++j) sum[i + j] += load_as<C>(a.v[j]) * b;
        }
      }
    } else {
      for (int64_t k = k0 + warp; k < k1; k += kWarps) {
        const C b = load_as<C>(x[k * v.x_step]);
#pragma unroll
        for (int i = 0; i < 4; ++i)
          if (i < inside) sum[i] += load_as<C>(p[k * v.k_step + i]) * b;
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
      v.put(GemmOut<T>(v.g, batch, part), mine, total);
    }
    __syncthreads();
  }
}

}  // namespace

template <class T>
void run_vector(const Gemm<T>& g) {
  Vector<T> v(g);
  const auto divides = [&](int operand, int64_t n) {
    for (int i = 0; i < g.batch_index.ndim; ++i)
      if (g.batch_index.stride[operand][i] % n != 0) return false;
    return true;
  };
  const bool by_columns = v.outer_step == 1 && v.k_step != 1 && v.n > 1;
  const int64_t vec = by_columns ? std::min<int64_t>(4, kVecSize<T>) : kVecSize<T>;
  v.vectors = aligned_for(v.matrix, static_cast<size_t>(vec) * sizeof(T)) && divides(v.is_row ? 1 : 0, vec) &&
              (by_columns ? v.k_step % vec == 0
                          : v.k_step == 1 && v.x_step == 1 && (v.outer_step % vec == 0 || v.n == 1) &&
                                aligned_for(v.x, 16) && divides(v.is_row ? 0 : 1, vec));
  // Rows by warps where there are enough of them or they are short; k in parts where there are few blocks.
  const int64_t want = int64_t{4} * multiprocessors();
  const bool by_warps = g.k <= 1024 || v.n * g.batch >= want * 8;
  const int64_t per_block = by_columns ? 128 : by_warps ? 8 : 1, blocks = (v.n + per_block - 1) / per_block;
  const int64_t least = by_columns ? 256 : 8192;  // elements of k in a part
  int64_t parts = std::clamp<int64_t>(want / (blocks * g.batch), 1, std::min<int64_t>(64, g.k / least + 1));
  v.g.part = (g.k + parts - 1) / parts;
  v.g.part = std::max<int64_t>((v.g.part + 15) / 16 * 16, 16);
  v.g.parts = static_cast<int>(std::max<int64_t>((g.k + v.g.part - 1) / v.g.part, 1));
  FS_CHECK(blocks < (int64_t{1} << 31), "a product of a matrix of ", v.n, " rows and a vector: too many rows");
  in_parts(v.g, [&](const Gemm<T>& h) {
    v.g = h;
    const dim3 grid(static_cast<unsigned>(blocks), static_cast<unsigned>(std::min<int64_t>(g.batch, 65535)),
                    static_cast<unsigned>(h.parts));
    if (by_columns) FS_LAUNCH((multiply_columns<T>), grid, 256, 0, current_stream(), v);
    else if (by_warps) FS_LAUNCH((multiply_rows<T, 32>), grid, 256, 0, current_stream(), v);
    else FS_LAUNCH((multiply_rows<T, 256>), grid, 256, 0, current_stream(), v);
  });
}
template void run_vector(const Gemm<float>&);
template void run_vector(const Gemm<double>&);
template void run_vector(const Gemm<float16>&);
template void run_vector(const Gemm<bfloat16>&);

}  // namespace fireseed::cuda

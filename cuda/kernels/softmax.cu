// softmax and log_softmax along any dimension, forward and backward.
#include "tensor/attrs/softmax.h"

#include "device/contiguous.cuh"
#include "device/reduce.cuh"
#include "device/vec.cuh"
#include "math/scalar.h"

namespace fireseed::cuda {
namespace {

// Note [Softmax rows]
// Rows along the last dimension: a warp each where they fit into its registers (1024 elements, or 256 that are not
// aligned) and memory is read once, else a block each, which reads them twice. Along other dimensions 32 neighbouring
// rows are one block's columns, so that memory is read along. The sum is kept relative to the largest element so far,
// and scaled when that grows. Loops over memory are not unrolled: a thread's 16 bytes are work enough, and the code
// stays small.
constexpr int kSoftmaxThreads = 256;
constexpr int64_t kMostBlocks = 1 << 20;
constexpr int64_t kShortRow = 1024, kTinyRow = 256;

template <class T>
using Many = Vec<T, kVecSize<T>>;

// The largest of some values and Σ exp(x - top).
template <class C>
struct RunningSum {
  C top = -kInfinity<C>, sum = 0;

  template <int kN>
  __device__ __forceinline__ void add(const C (&x)[kN]) {
    C larger = top;
#pragma unroll
    for (int k = 0; k < kN; ++k) larger = MaxOp{}(larger, x[k]);
    const C level = larger == -kInfinity<C> ? C(0) : larger;  // nothing but -infinity yet
    sum *= exp(top - level);
#pragma unroll
    for (int k = 0; k < kN; ++k) sum += exp(x[k] - level);
    top = larger;
  }
  // This part's sum where the largest of all parts is `all`.
  __device__ __forceinline__ C relative_to(C all) const { return sum * exp(top - all); }
};

// y = exp(x - top) / Σ, or x - top - log Σ.
template <class C>
struct Normalise {
  C top, scale, log_sum;
  bool log_wanted;
  __device__ __forceinline__ Normalise(C t, C sum, bool l)
      : top(t), scale(C(1) / sum), log_sum(l ? log(sum) : C(0)), log_wanted(l) {}
  __device__ __forceinline__ C operator()(C x) const { return log_wanted ? x - top - log_sum : exp(x - top) * scale; }
};

// gx = y (g - Σ g y), or g - exp(y) Σ g.
template <class C>
__device__ __forceinline__ C sum_term(C g, C y, bool log_wanted) {
  return log_wanted ? g : g * y;
}
template <class C>
__device__ __forceinline__ C gradient(C g, C y, C sum, bool log_wanted) {
  return log_wanted ? g - exp(y) * sum : y * (g - sum);
}

// ---- a warp a row ------------------------------------------------------------------------------------------

// kPer elements a lane of a row of n; `fill` behind its end. kVectors: rows start at multiples of 16 bytes.
template <int kPer, bool kVectors, class T, class C>
__device__ __forceinline__ void load_row(const T* row, int n, int lane, C fill, C (&v)[kPer]) {
  constexpr int kN = kVecSize<T>;
  if constexpr (kVectors) {
#pragma unroll
    for (int j = 0; j < kPer / kN; ++j) {
      const int at = (j * kWarpSize + lane) * kN;
      if (at < n) {
        const auto x = Many<T>::load(row + at);
#pragma unroll
        for (int k = 0; k < kN; ++k) v[j * kN + k] = load_as<C>(x.v[k]);
      } else {
#pragma unroll
        for (int k = 0; k < kN; ++k) v[j * kN + k] = fill;
      }
    }
  } else {
#pragma unroll
    for (int j = 0; j < kPer; ++j) {
      const int at = j * kWarpSize + lane;
      v[j] = at < n ? load_as<C>(row[at]) : fill;
    }
  }
}
template <int kPer, bool kVectors, class T, class C>
__device__ __forceinline__ void store_row(T* row, int n, int lane, const C (&v)[kPer]) {
  constexpr int kN = kVecSize<T>;
  if constexpr (kVectors) {
#pragma unroll
    for (int j = 0; j < kPer / kN; ++j) {
      const int at = (j * kWarpSize + lane) * kN;
      Many<T> y;
#pragma unroll
      for (int k = 0; k < kN; ++k) y.v[k] = store_as<T>(v[j * kN + k]);
      if (at < n) y.store(row + at);
    }
  } else {
#pragma unroll
    for (int j = 0; j < kPer; ++j)
      if (j * kWarpSize + lane < n) row[j * kWarpSize + lane] = store_as<T>(v[j]);
  }
}

// Compiles to: no spills
template <class T, int kPer, bool kVectors, int kThreads>
__global__ void __launch_bounds__(kThreads) softmax_warps(const T* x, T* y, int n, int64_t rows, bool log_wanted) {
  using C = compute_type<T>;
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
#pragma unroll 1
  for (int64_t row = grid_thread() / kWarpSize; row < rows; row += grid_threads() / kWarpSize) {
    C v[kPer];
    load_row<kPer, kVectors>(x + row * n, n, lane, -kInfinity<C>, v);
    C top = v[0];
#pragma unroll
    for (int j = 1; j < kPer; ++j) top = MaxOp{}(top, v[j]);
    top = warp_reduce(top, MaxOp{});
    C sum = 0;
#pragma unroll
    for (int j = 0; j < kPer; ++j) {
      v[j] -= top;
      const C e = exp(v[j]);
      sum += e;
      v[j] = log_wanted ? v[j] : e;
    }
    sum = warp_reduce(sum, AddOp{});
    const C factor = log_wanted ? C(1) : C(1) / sum, shift = log_wanted ? log(sum) : C(0);
#pragma unroll
    for (int j = 0; j < kPer; ++j) v[j] = v[j] * factor - shift;
    store_row<kPer, kVectors>(y + row * n, n, lane, v);
  }
}

// Compiles to: no spills
template <class T, int kPer, bool kVectors, int kThreads>
__global__ void __launch_bounds__(kThreads)
    softmax_backward_warps(const T* g, const T* y, T* gx, int n, int64_t rows, bool log_wanted) {
  using C = compute_type<T>;
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
#pragma unroll 1
  for (int64_t row = grid_thread() / kWarpSize; row < rows; row += grid_threads() / kWarpSize) {
    C u[kPer], v[kPer];
    load_row<kPer, kVectors>(g + row * n, n, lane, C(0), u);
    load_row<kPer, kVectors>(y + row * n, n, lane, C(0), v);
    C sum = 0;
#pragma unroll
    for (int j = 0; j < kPer; ++j) sum += sum_term(u[j], v[j], log_wanted);
    sum = warp_reduce(sum, AddOp{});
#pragma unroll
    for (int j = 0; j < kPer; ++j) u[j] = gradient(u[j], v[j], sum, log_wanted);
    store_row<kPer, kVectors>(gx + row * n, n, lane, u);
  }
}

// ---- a block a row -----------------------------------------------------------------------------------------

// Calls whole(i) for this thread's vectors of a row and single(i) for its elements outside of them.
template <class T, int kThreads, class F, class G>
__device__ __forceinline__ void walk_row(int64_t n, bool vectors, const F& whole, const G& single) {
  constexpr int kN = kVecSize<T>;
  const int64_t covered = vectors ? n / kN * kN : 0;
#pragma unroll 1
  for (int64_t i = int64_t{threadIdx.x} * kN; i < covered; i += int64_t{kThreads} * kN) whole(i);
#pragma unroll 1
  for (int64_t i = covered + threadIdx.x; i < n; i += kThreads) single(i);
}
// The elements from `row` on, in the arithmetic type.
template <class T, class C = compute_type<T>>
__device__ __forceinline__ void load_many(const T* row, C (&v)[kVecSize<T>]) {
  const auto x = Many<T>::load(row);
#pragma unroll
  for (int k = 0; k < kVecSize<T>; ++k) v[k] = load_as<C>(x.v[k]);
}

template <class T, int kThreads>
__global__ void __launch_bounds__(kThreads)
    softmax_rows(const T* x, T* y, int64_t n, int64_t rows, bool vectors, bool log_wanted) {
  using C = compute_type<T>;
  constexpr int kN = kVecSize<T>;
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const T* from = x + row * n;
    T* to = y + row * n;
    RunningSum<C> part;
    walk_row<T, kThreads>(
        n, vectors,
        [&](int64_t i) {
          C v[kN];
          load_many(from + i, v);
          part.add(v);
        },
        [&](int64_t i) {
          const C v[1] = {load_as<C>(from[i])};
          part.add(v);
        });
    const C top = block_reduce<kThreads>(part.top, MaxOp{});
    const Normalise<C> normalise(top, block_reduce<kThreads>(part.relative_to(top), AddOp{}), log_wanted);
    walk_row<T, kThreads>(
        n, vectors,
        [&](int64_t i) {
          C v[kN];
          load_many(from + i, v);
          Many<T> r;
#pragma unroll
          for (int k = 0; k < kN; ++k) r.v[k] = store_as<T>(normalise(v[k]));
          r.store(to + i);
        },
        [&](int64_t i) { to[i] = store_as<T>(normalise(load_as<C>(from[i]))); });
  }
}

// Compiles to: no spills
template <class T, int kThreads>
__global__ void __launch_bounds__(kThreads)
    softmax_backward_rows(const T* g, const T* y, T* gx, int64_t n, int64_t rows, bool vectors, bool log_wanted) {
  using C = compute_type<T>;
  constexpr int kN = kVecSize<T>;
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const T *from = g + row * n, *out = y + row * n;
    T* to = gx + row * n;
    C sum = 0;
    walk_row<T, kThreads>(
        n, vectors,
        [&](int64_t i) {
          C u[kN], v[kN];
          load_many(from + i, u);
          load_many(out + i, v);
#pragma unroll
          for (int k = 0; k < kN; ++k) sum += sum_term(u[k], v[k], log_wanted);
        },
        [&](int64_t i) { sum += sum_term(load_as<C>(from[i]), load_as<C>(out[i]), log_wanted); });
    sum = block_reduce<kThreads>(sum, AddOp{});
    walk_row<T, kThreads>(
        n, vectors,
        [&](int64_t i) {
          C u[kN], v[kN];
          load_many(from + i, u);
          load_many(out + i, v);
          Many<T> r;
#pragma unroll
          for (int k = 0; k < kN; ++k) r.v[k] = store_as<T>(gradient(u[k], v[k], sum, log_wanted));
          r.store(to + i);
        },
        [&](int64_t i) { to[i] = store_as<T>(gradient(load_as<C>(from[i]), load_as<C>(out[i]), sum, log_wanted)); });
  }
}

// ---- 32 rows a block, elements `inner` apart -----------------------------------------------------------------

// op over the block's threads of one column.
template <int kThreads, class C, class Op>
__device__ __forceinline__ C column_reduce(C v, Op op) {
  constexpr int kY = kThreads / kWarpSize;
  FS_SHARED(C, part, [kY][kWarpSize]);
  const int x = static_cast<int>(threadIdx.x) % kWarpSize;
  part[threadIdx.x / kWarpSize][x] = v;
  __syncthreads();
  v = part[0][x];
#pragma unroll
  for (int k = 1; k < kY; ++k) v = op(v, part[k][x]);
  __syncthreads();  // part may be written again
  return v;
}

template <class T, int kThreads>
__global__ void __launch_bounds__(kThreads)
    softmax_columns(const T* x, T* y, int64_t n, int64_t inner, int64_t rows, bool log_wanted) {
  using C = compute_type<T>;
  constexpr int kY = kThreads / kWarpSize;
  for (int64_t first = int64_t{blockIdx.x} * kWarpSize; first < rows; first += int64_t{gridDim.x} * kWarpSize) {
    const int64_t row = first + threadIdx.x % kWarpSize, base = row / inner * n * inner + row % inner;
    const int64_t begin = row < rows ? threadIdx.x / kWarpSize : n;  // threads without a row only take part
    RunningSum<C> part;
#pragma unroll 2
    for (int64_t i = begin; i < n; i += kY) {
      const C v[1] = {load_as<C>(x[base + i * inner])};
      part.add(v);
    }
    const C top = column_reduce<kThreads>(part.top, MaxOp{});
    const Normalise<C> normalise(top, column_reduce<kThreads>(part.relative_to(top), AddOp{}), log_wanted);
#pragma unroll 2
    for (int64_t i = begin; i < n; i += kY)
      y[base + i * inner] = store_as<T>(normalise(load_as<C>(x[base + i * inner])));
  }
}

template <class T, int kThreads>
__global__ void __launch_bounds__(kThreads)
    softmax_backward_columns(const T* g, const T* y, T* gx, int64_t n, int64_t inner, int64_t rows, bool log_wanted) {
  using C = compute_type<T>;
  constexpr int kY = kThreads / kWarpSize;
  for (int64_t first = int64_t{blockIdx.x} * kWarpSize; first < rows; first += int64_t{gridDim.x} * kWarpSize) {
    const int64_t row = first + threadIdx.x % kWarpSize, base = row / inner * n * inner + row % inner;
    const int64_t begin = row < rows ? threadIdx.x / kWarpSize : n;
    C sum = 0;
#pragma unroll 2
    for (int64_t i = begin; i < n; i += kY)
      sum += sum_term(load_as<C>(g[base + i * inner]), load_as<C>(y[base + i * inner]), log_wanted);
    sum = column_reduce<kThreads>(sum, AddOp{});
#pragma unroll 2
    for (int64_t i = begin; i < n; i += kY) {
      const int64_t at = base + i * inner;
      gx[at] = store_as<T>(gradient(load_as<C>(g[at]), load_as<C>(y[at]), sum, log_wanted));
    }
  }
}

// ---- launches ----------------------------------------------------------------------------------------------

// Rows start at multiples of 16 bytes, in all of the arrays.
template <class T>
bool in_vectors(int64_t n, std::initializer_list<const void*> arrays) {
  bool all = n % kVecSize<T> == 0;
  for (const void* p : arrays) all = all && aligned_for(p, 16);
  return all;
}

void run_forward(const KernelArgs& args, bool log_wanted) {
  const AxisShape s(args.in[0], args.attrs<SoftmaxAttrs>().dim);
  const int64_t rows = s.outer * s.inner;
  if (rows == 0 || s.n == 0) return;
  const Contiguous x(args.in[0]);
  dispatch_float(args.in[0].dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    constexpr int kThreads = kSoftmaxThreads;
    const T* from = x.ptr<T>();
    T* to = args.out[0].ptr<T>();
    if (s.inner != 1) {
      FS_LAUNCH((softmax_columns<T, kThreads>), grid_for(rows, kWarpSize, kMostBlocks), kThreads, 0, current_stream(),
                from, to, s.n, s.inner, rows, log_wanted);
      return;
    }
    const bool vectors = in_vectors<T>(s.n, {from, to});
    if constexpr (sizeof(T) <= 4) {
      const auto n = static_cast<int>(s.n < kShortRow ? s.n : kShortRow);
      const unsigned blocks = grid_for(rows, kThreads / kWarpSize, kMostBlocks);
      const auto warps = [&](auto per, auto aligned) {
        FS_LAUNCH((softmax_warps<T, decltype(per)::value, decltype(aligned)::value, kThreads>), blocks, kThreads, 0,
                  current_stream(), from, to, n, rows, log_wanted);
      };
      using Tiny = std::integral_constant<int, kTinyRow / kWarpSize>;
      using Short = std::integral_constant<int, kShortRow / kWarpSize>;
      if (s.n <= kTinyRow && !vectors) return warps(Tiny{}, std::false_type{});
      if (s.n <= kTinyRow) return warps(Tiny{}, std::true_type{});
      if (s.n <= kShortRow && vectors) return warps(Short{}, std::true_type{});
    }
    FS_LAUNCH((softmax_rows<T, kThreads>), grid_for(rows, 1, kMostBlocks), kThreads, 0, current_stream(), from, to,
              s.n, rows, vectors, log_wanted);
  });
}

void run_backward(const KernelArgs& args, bool log_wanted) {
  const AxisShape s(args.in[0], args.attrs<SoftmaxAttrs>().dim);
  const int64_t rows = s.outer * s.inner;
  if (rows == 0 || s.n == 0) return;
  const Contiguous g(args.in[0]), y(args.in[1]);
  dispatch_float(args.in[0].dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    constexpr int kThreads = kSoftmaxThreads;
    const T *from = g.ptr<T>(), *out = y.ptr<T>();
    T* to = args.out[0].ptr<T>();
    if (s.inner != 1) {
      FS_LAUNCH((softmax_backward_columns<T, kThreads>), grid_for(rows, kWarpSize, kMostBlocks), kThreads, 0,
                current_stream(), from, out, to, s.n, s.inner, rows, log_wanted);
      return;
    }
    const bool vectors = in_vectors<T>(s.n, {from, out, to});
    if constexpr (sizeof(T) <= 4) {
      const auto n = static_cast<int>(s.n < kShortRow ? s.n : kShortRow);
      const unsigned blocks = grid_for(rows, kThreads / kWarpSize, kMostBlocks);
      const auto warps = [&](auto per, auto aligned) {
        FS_LAUNCH((softmax_backward_warps<T, decltype(per)::value, decltype(aligned)::value, kThreads>), blocks,
                  kThreads, 0, current_stream(), from, out, to, n, rows, log_wanted);
      };
      using Tiny = std::integral_constant<int, kTinyRow / kWarpSize>;
      using Short = std::integral_constant<int, kShortRow / kWarpSize>;
      if (s.n <= kTinyRow && !vectors) return warps(Tiny{}, std::false_type{});
      if (s.n <= kTinyRow) return warps(Tiny{}, std::true_type{});
      if (s.n <= kShortRow && vectors) return warps(Short{}, std::true_type{});
    }
    FS_LAUNCH((softmax_backward_rows<T, kThreads>), grid_for(rows, 1, kMostBlocks), kThreads, 0, current_stream(),
              from, out, to, s.n, rows, vectors, log_wanted);
  });
}

}  // namespace

void softmax(const KernelArgs& args) { run_forward(args, false); }
void log_softmax(const KernelArgs& args) { run_forward(args, true); }
void softmax_backward(const KernelArgs& args) { run_backward(args, false); }
void log_softmax_backward(const KernelArgs& args) { run_backward(args, true); }

}  // namespace fireseed::cuda

// Rows of floats by some threads each: vectors of 16 bytes, kept in shared memory so that memory is read once.
#pragma once

#include <algorithm>
#include <initializer_list>

#include "device/index.cuh"
#include "device/reduce.cuh"
#include "device/vec.cuh"
#include "runtime/device.h"

namespace fireseed::cuda {

// Note [Rows in vectors]
// A row is one block's, or one of several in a block: blockDim.x threads a row (a power of two up to 32, or whole
// warps), blockDim.y rows a block; how many is plan_rows' choice, by the length of the row alone. The row is cut at
// multiples of 16 bytes: between them it moves in vectors, thread t having vectors t, t + blockDim.x, …; the few
// elements at its ends move alone, and all of them do where the arrays do not lie alike. Vectors are copied to shared
// memory at first (asynchronously: no registers, no unrolled code), each thread's own, so no barrier is needed; what
// does not fit is read from memory again, the last first, while that may be in the cache. Kernels serve both halves
// (RowMemory<uint16_t>, by a flag), and of float64 only elements.

// Loads of a thread under way, where they are no vectors.
template <class C>
inline constexpr int kFlight = sizeof(C) == 4 ? 4 : 1;

// 16 bytes of global memory.
using Raw = Vec<uint32_t, 4>;
template <class T>
__device__ __forceinline__ Raw load_raw(const T* p) {
  return Raw::load_global(reinterpret_cast<const uint32_t*>(p));
}
template <class T>
__device__ __forceinline__ void store_raw(T* p, const Raw& x) {
  x.store_global(reinterpret_cast<uint32_t*>(p));
}

// Their code stands once.
[[gnu::noinline]] static __device__ double exponential_of(double x) { return ::exp(x); }
[[gnu::noinline]] static __device__ double logarithm_of(double x) { return ::log(x); }

// How floats lie in memory: U is float, double or, for either half, uint16_t. kN elements are a vector; 1: there are
// none. Shifts stand for divisions here and below: the wheel's fast compilation leaves even those by constants in
// full.
template <class U>
struct RowMemory;
template <>
struct RowMemory<double> {
  using Unit = double;
  using Compute = double;
  static constexpr int kN = 1, kLogN = 0, kLogSize = 3;
  __device__ __forceinline__ double widen(double x) const { return x; }
  __device__ __forceinline__ double load(const double* p) const { return *p; }
  __device__ __forceinline__ void store(double* p, double x) const { *p = x; }
  __device__ __forceinline__ void widen(const Raw&, double (&)[1]) const {}
  __device__ __forceinline__ Raw narrow(const double (&)[1]) const { return {}; }
  __device__ __forceinline__ double exponential(double x) const { return exponential_of(x); }  // e^x
  __device__ __forceinline__ double logarithm(double x) const { return logarithm_of(x); }
};
template <>
struct RowMemory<float> {
  using Unit = float;
  using Compute = float;
  static constexpr int kN = 4, kLogN = 2, kLogSize = 2;
  __device__ __forceinline__ float widen(float x) const { return x; }
  __device__ __forceinline__ float load(const float* p) const { return *p; }
  __device__ __forceinline__ void store(float* p, float x) const { *p = x; }
  __device__ __forceinline__ float element(const Raw& x, int k) const { return __uint_as_float(x.v[k]); }
  __device__ __forceinline__ void widen(const Raw& x, float (&v)[kN]) const {
#pragma unroll
    for (int k = 0; k < kN; ++k) v[k] = element(x, k);
  }
  __device__ __forceinline__ Raw narrow(const float (&v)[kN]) const {
    Raw x;
#pragma unroll
    for (int k = 0; k < kN; ++k) x.v[k] = __float_as_uint(v[k]);
    return x;
  }
  __device__ __forceinline__ float exponential(float x) const { return ::expf(x); }
  __device__ __forceinline__ float logarithm(float x) const { return ::logf(x); }
};
template <>
struct RowMemory<uint16_t> {
  using Unit = uint16_t;
  using Compute = float;
  static constexpr int kN = 8, kLogN = 3, kLogSize = 1;
  bool bfloat;
  __device__ __forceinline__ float widen(uint16_t x) const {
    return bfloat ? __uint_as_float(static_cast<uint32_t>(x) << 16) : half_to_float(half_bits<float16>(x));
  }
  __device__ __forceinline__ float load(const uint16_t* p) const { return widen(*p); }
  __device__ __forceinline__ void store(uint16_t* p, float x) const {
    *p = bfloat ? float_to_bfloat(x).bits : float_to_half(x).bits;
  }
  __device__ __forceinline__ float element(const Raw& x, int k) const {
    const uint32_t word = x.v[k >> 1], bits = k & 1 ? word >> 16 : word & 0xffffu;
    if (!bfloat) return half_to_float(half_bits<float16>(static_cast<uint16_t>(bits)));
    return __uint_as_float(k & 1 ? word & 0xffff0000u : word << 16);
  }
  __device__ __forceinline__ void widen(const Raw& x, float (&v)[kN]) const {
#pragma unroll
    for (int k = 0; k < kN; ++k) v[k] = element(x, k);
  }
  __device__ __forceinline__ Raw narrow(const float (&v)[kN]) const {
    Raw x;
#pragma unroll
    for (int k = 0; k < kN / 2; ++k)
      x.v[k] =
          bfloat ? pack_halves(v[2 * k], v[2 * k + 1], bfloat16{}) : pack_halves(v[2 * k], v[2 * k + 1], float16{});
    return x;
  }
  // The error, 1e-7 |x|, is far below that of the halves.
  __device__ __forceinline__ float exponential(float x) const { return exp2_approx(x * 1.44269504088896340736f); }
  __device__ __forceinline__ float logarithm(float x) const { return ::logf(x); }
};
// An element of any float dtype.
__device__ __forceinline__ void store_float(void* p, int64_t i, DType t, double x) {
  if (t == DType::kFloat64) static_cast<double*>(p)[i] = x;
  else if (t == DType::kFloat32) static_cast<float*>(p)[i] = static_cast<float>(x);
  else RowMemory<uint16_t>{t == DType::kBFloat16}.store(static_cast<uint16_t*>(p) + i, static_cast<float>(x));
}
// Calls f(RowMemory) for a float dtype.
template <class F>
void dispatch_row_memory(DType t, F&& f) {
  if (t == DType::kFloat64) f(RowMemory<double>{});
  else if (t == DType::kFloat32) f(RowMemory<float>{});
  else f(RowMemory<uint16_t>{t == DType::kBFloat16});
}

// ---- which thread has what ---------------------------------------------------------------------------------

inline constexpr int kMostRowThreads = 1024;
inline constexpr int64_t kMostRowsAtOnce = int64_t{1} << 30;

struct RowPlan {
  int lanes = 1, rows = 1;  // threads a row, rows a block
  bool vectors = false;
  int kept = 0;  // vectors of a row, in each array, that stay in shared memory
  size_t shared = 0;
  dim3 block() const { return dim3(static_cast<unsigned>(lanes), static_cast<unsigned>(rows)); }
  unsigned blocks(int64_t n) const { return grid_for(n, rows, INT32_MAX); }
};

// For contiguous rows of n elements in `arrays`, of which the first `kept_arrays` are kept.
inline RowPlan plan_rows(int64_t n, int per_vector, int kept_arrays, std::initializer_list<const void*> arrays,
                         int most_lanes = kMostRowThreads) {
  RowPlan p;
  const auto place = [](const void* a) { return reinterpret_cast<uintptr_t>(a) % 16; };
  p.vectors = per_vector > 1 && n / per_vector < kMostRowsAtOnce && (n % per_vector == 0 || n > 64);
  for (const void* a : arrays) p.vectors = p.vectors && place(a) == place(*arrays.begin());
  const int64_t pieces = p.vectors ? (n + per_vector - 1) / per_vector : n;
  const int64_t each = 4 / std::max(kept_arrays, 1);  // loads of a thread
  if (pieces <= kWarpSize * each) {
    while (p.lanes < pieces && p.lanes < kWarpSize) p.lanes *= 2;
  } else {
    p.lanes = static_cast<int>(
        std::min<int64_t>(most_lanes, (pieces + each * kWarpSize - 1) / (each * kWarpSize) * kWarpSize));
  }
  p.rows = std::max(1, 256 / p.lanes);
  if (!p.vectors || kept_arrays == 0) return p;
  // Two blocks of 1024 threads share a multiprocessor's memory; kernels have up to 1 KB of their own.
  const size_t most = std::min<size_t>(112 * 1024, most_shared_memory() - 1024);
  const size_t one = static_cast<size_t>(kept_arrays * p.rows) * 16;
  p.kept = static_cast<int>(std::min<int64_t>(n / per_vector, static_cast<int64_t>(most / one)));
  p.shared = static_cast<size_t>(p.kept) * one;
  if (p.shared > kPlainSharedBytes - 1024) p.shared = std::max(p.shared, kPlainSharedBytes + 16);
  return p;
}

// Rows along any dimension of row-major arrays: elements `stride` apart. Neighbouring rows are neighbours in memory,
// up to `inner` of them; `outer` elements on come the next ones.
struct StridedRows {
  int64_t n, stride, outer;
  Divider<int32_t> inner;
  int32_t rows;
  __device__ __forceinline__ int64_t first(int32_t row) const {
    const int32_t q = inner.divide(row);
    return q * outer + (row - q * static_cast<int32_t>(inner.d));
  }
};
// Calls f(StridedRows, offset of their first element, number of their first row) for at most 2^30 rows at a time.
template <class F>
void in_strided_rows(int64_t all_outer, int64_t n, int64_t all_inner, const F& f) {
  if (all_outer == 0 || all_inner == 0) return;
  const int64_t inner = std::min(all_inner, kMostRowsAtOnce),
                outer = std::max<int64_t>(1, kMostRowsAtOnce / all_inner);
  for (int64_t o = 0; o < all_outer; o += outer)
    for (int64_t i = 0; i < all_inner; i += inner) {
      const int64_t wide = std::min(inner, all_inner - i), rows = wide * std::min(outer, all_outer - o);
      f(StridedRows{n, all_inner, n * all_inner, Divider<int32_t>(wide), static_cast<int32_t>(rows)},
        o * n * all_inner + i, o * all_inner + i);
    }
}

// This thread's row, or `rows` and more where there is none.
__device__ __forceinline__ int row_number() { return static_cast<int>(blockIdx.x * blockDim.y + threadIdx.y); }

// Where a row is cut.
template <class Memory>
struct RowCut {
  using Unit = typename Memory::Unit;
  static constexpr int kN = Memory::kN;
  int64_t n;
  int head = 0, vectors = 0;  // elements before the first vector, vectors
  __device__ __forceinline__ RowCut(const Unit* row, int64_t size, bool in_vectors) : n(size) {
    if constexpr (kN > 1) {
      if (!in_vectors) return;
      head = static_cast<int>(-reinterpret_cast<uintptr_t>(row) & 15) >> Memory::kLogSize;
      if (head > n) head = static_cast<int>(n);
      vectors = static_cast<int>((n - head) >> Memory::kLogN);
    }
  }
  // Elements outside of the vectors, and the k-th of them.
  __device__ __forceinline__ int64_t singles() const { return n - (int64_t{vectors} << Memory::kLogN); }
  __device__ __forceinline__ int64_t single(int64_t k) const {
    return k < head ? k : k + (int64_t{vectors} << Memory::kLogN);
  }
};

// This thread's vectors of a row from memory, two loads under way: `for (…; s.v < cut.vectors;) raw = s.next(cut)`.
template <class Memory>
struct VectorStream {
  static constexpr int kN = Memory::kN;
  const typename Memory::Unit* from;
  int v, step;
  Raw ahead{}, second{};
  __device__ __forceinline__ VectorStream(const typename Memory::Unit* row, const RowCut<Memory>& cut)
      : from(row + cut.head), v(static_cast<int>(threadIdx.x)), step(static_cast<int>(blockDim.x)) {
    if (v < cut.vectors) ahead = load_raw(from + int64_t{v} * kN);
    if (v + step < cut.vectors) second = load_raw(from + int64_t{v + step} * kN);
  }
  // Vector number v, which moves on.
  __device__ __forceinline__ Raw next(const RowCut<Memory>& cut) {
    const Raw now = ahead;
    ahead = second;
    if (v + 2 * step < cut.vectors) second = load_raw(from + int64_t{v + 2 * step} * kN);
    v += step;
    return now;
  }
};

// Begins to copy 16 bytes to shared memory (cp_async).
template <class T>
__device__ __forceinline__ void keep(T* to, const T* from) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
  load_raw(from).store(reinterpret_cast<uint32_t*>(to));
#else
  cp_async<16>(to, from);
#endif
}

// The vectors of a row of an array, of which some are kept.
template <class Memory>
struct KeptRow {
  using Unit = typename Memory::Unit;
  static constexpr int kN = Memory::kN;
  const Unit* from;  // the first vector
  Unit* kept;
  int num_kept;
  __device__ __forceinline__ KeptRow(const Unit* row, const RowCut<Memory>& cut, Unit* memory, int most)
      : from(row + cut.head), kept(memory), num_kept(most) {}
  // Begins to copy; the data is there after wait().
  __device__ __forceinline__ void fetch(const RowCut<Memory>& cut) const {
    if constexpr (kN > 1) {
      const int last = cut.vectors < num_kept ? cut.vectors : num_kept;
#pragma unroll 1
      for (int v = static_cast<int>(threadIdx.x); v < last; v += static_cast<int>(blockDim.x)) {
        keep(kept + v * kN, from + int64_t{v} * kN);
      }
    }
  }
  __device__ __forceinline__ static void wait() {
    if constexpr (kN > 1) {
      cp_async_commit();
      cp_async_wait<0>();
    }
  }
  __device__ __forceinline__ void vector(int v, const Memory& memory, typename Memory::Compute (&x)[kN]) const {
    Raw raw;
    if (v < num_kept) raw = Raw::load(reinterpret_cast<const uint32_t*>(kept + v * kN));
    else raw = load_raw(from + int64_t{v} * kN);
    memory.widen(raw, x);
  }
};

// kMany elements `step` apart, of which there are `left` > 0; the others are `fill`. The loads are under way
// together: nothing stands between them.
template <int kMany, class Memory, class C>
__device__ __forceinline__ void load_apart(const Memory& memory, const typename Memory::Unit* p, int64_t step,
                                           int64_t left, C fill, C (&x)[kMany]) {
  typename Memory::Unit raw[kMany];
#pragma unroll
  for (int u = 0; u < kMany; ++u) raw[u] = p[u < left ? u * step : 0];
#pragma unroll
  for (int u = 0; u < kMany; ++u) x[u] = u < left ? memory.widen(raw[u]) : fill;
}

// ---- Σ exp ---------------------------------------------------------------------------------------------------

// v = {the largest of some values, Σ exp(x - top), …}, top taken as 0 where it is infinite; NaN is in the sum only.
template <class Memory, class C, int kCount, int kMany>
__device__ __forceinline__ void add_exponentials(const Memory& memory, C (&v)[kCount], const C (&x)[kMany]) {
  C top = v[0];
#pragma unroll
  for (int k = 0; k < kMany; ++k) top = x[k] > top ? x[k] : top;
  const C level = top - top == C(0) ? top : C(0);
  C sum = v[1] * memory.exponential(v[0] - level);
#pragma unroll
  for (int k = 0; k < kMany; ++k) sum += memory.exponential(x[k] - level);
  v[0] = top;
  v[1] = sum;
}
// Of two parts; what stands behind the first two numbers is added.
template <class Memory>
struct MergeExponentials {
  Memory memory;
  template <int kCount, class C>
  __device__ __forceinline__ void operator()(C (&a)[kCount], const C (&b)[kCount]) const {
    const C top = b[0] > a[0] ? b[0] : a[0], level = top - top == C(0) ? top : C(0);
    a[1] = a[1] * memory.exponential(a[0] - level) + b[1] * memory.exponential(b[0] - level);
    a[0] = top;
#pragma unroll
    for (int k = 2; k < kCount; ++k) a[k] += b[k];
  }
};

// ---- reductions --------------------------------------------------------------------------------------------

// merge(C (&a)[kCount], const C (&b)[kCount]) over a row's blockDim.x threads, in all of them, in a fixed order;
// `none` changes nothing. All threads of the block take part. Calls that follow one another alternate between two
// buffers.
template <int kCount, class C, class Merge>
__device__ __forceinline__ void merge_row(C (&v)[kCount], const C (&none)[kCount], const Merge& merge,
                                          int buffer = 0) {
  const int lanes = static_cast<int>(blockDim.x);
  FS_SHARED(C, part, [2][kCount][kWarpSize]);
  const int thread = static_cast<int>(threadIdx.y) * lanes + static_cast<int>(threadIdx.x);
  const int warp = thread >> 5, lane = thread & 31, warps = lanes >> 5;
  int d = lanes < kWarpSize ? lanes >> 1 : kWarpSize / 2;
#pragma unroll 1
  for (bool last = lanes <= kWarpSize;; last = true) {  // over a warp, then over its warps' results
#pragma unroll 1
    for (; d > 0; d >>= 1) {
      C other[kCount];
#pragma unroll
      for (int k = 0; k < kCount; ++k) other[k] = __shfl_xor_sync(kFullMask, v[k], d);
      merge(v, other);
    }
    if (last) return;
#pragma unroll
    for (int k = 0; k < kCount; ++k)
      if (lane == 0) part[buffer][k][warp] = v[k];
    __syncthreads();
#pragma unroll
    for (int k = 0; k < kCount; ++k)
      v[k] = lane < warps ? part[buffer][k][static_cast<int>(threadIdx.y) * warps + lane] : none[k];
    d = kWarpSize / 2;
  }
}
// Their sums.
struct AddAll {
  template <int kCount, class C>
  __device__ __forceinline__ void operator()(C (&a)[kCount], const C (&b)[kCount]) const {
#pragma unroll
    for (int k = 0; k < kCount; ++k) a[k] += b[k];
  }
};

}  // namespace fireseed::cuda

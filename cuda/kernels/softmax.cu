// softmax and log_softmax along any dimension, forward and backward.
#include "tensor/attrs/softmax.h"

#include "device/contiguous.cuh"
#include "device/row_vectors.cuh"

namespace fireseed::cuda {
namespace {

// Note [Softmax rows]
// Rows along the last dimension are read from memory once (Note [Rows in vectors]). Along other dimensions 32
// neighbouring rows are one block's columns, so that memory is read along. The sum is kept relative to the largest
// element so far, and scaled when that grows.
constexpr int kColumnThreads = 256;

// y = exp(x - top) / Σ, or x - top - log Σ.
template <class Memory, class C = typename Memory::Compute>
struct Normalise {
  Memory memory;
  C top, scale, log_sum;
  bool log_wanted;
  __device__ __forceinline__ Normalise(const Memory& m, const C (&v)[2], bool l)
      : memory(m), top(v[0]), scale(C(1) / v[1]), log_sum(memory.logarithm(v[1])), log_wanted(l) {
    if (top == kInfinity<C>) scale = log_sum = top - top;  // no number: infinity / infinity
  }
  __device__ __forceinline__ C operator()(C x) const {
    return log_wanted ? x - top - log_sum : memory.exponential(x - top) * scale;
  }
};

// gx = y (g - Σ g y), or g - exp(y) Σ g.
template <class C>
__device__ __forceinline__ C sum_term(C g, C y, bool log_wanted) {
  return log_wanted ? g : g * y;
}
template <class Memory, class C>
__device__ __forceinline__ C gradient(const Memory& memory, C g, C y, C sum, bool log_wanted) {
  return log_wanted ? g - memory.exponential(y) * sum : y * (g - sum);
}

// ---- rows --------------------------------------------------------------------------------------------------

// Compiles to: no spills, LDGSTS.E.BYPASS.128, STG.E.128
template <class Memory, class T = typename Memory::Unit>
__global__ void __launch_bounds__(kMostRowThreads) softmax_rows(const Memory memory, const T* x, T* y, int64_t n,
                                                                int rows, int kept, bool vectors, bool log_wanted) {
  using C = typename Memory::Compute;
  constexpr int kN = Memory::kN;
  FS_DYN_SMEM(T, room);
  const int row = row_number();
  const int64_t at = row < rows ? row * n : 0;
  const RowCut<Memory> cut(x + at, row < rows ? n : 0, vectors);
  const KeptRow<Memory> in(x + at, cut, room + static_cast<int>(threadIdx.y) * kept * kN, kept);
  in.fetch(cut);
  const int lane = static_cast<int>(threadIdx.x), lanes = static_cast<int>(blockDim.x);
  C v[2] = {-kInfinity<C>, 0}, many[kN];
#pragma unroll 1
  for (int64_t k = lane; k < cut.singles(); k += lanes) {
    const C one[1] = {memory.load(x + at + cut.single(k))};
    add_exponentials(memory, v, one);
  }
  in.wait();
  int i = lane;
  if constexpr (kN > 1) {
#pragma unroll 1
    for (; i < cut.vectors; i += lanes) {
      in.vector(i, memory, many);
      add_exponentials(memory, v, many);
    }
  }
  const C none[2] = {-kInfinity<C>, 0};
  merge_row(v, none, MergeExponentials<Memory>{memory});
  const Normalise<Memory> normalise(memory, v, log_wanted);
  if constexpr (kN > 1) {
#pragma unroll 1
    for (i -= lanes; i >= 0; i -= lanes) {
      in.vector(i, memory, many);
#pragma unroll
      for (int j = 0; j < kN; ++j) many[j] = normalise(many[j]);
      store_raw(y + at + cut.head + int64_t{i} * kN, memory.narrow(many));
    }
  }
#pragma unroll 1
  for (int64_t k = lane; k < cut.singles(); k += lanes)
    memory.store(y + at + cut.single(k), normalise(memory.load(x + at + cut.single(k))));
}

// Compiles to: no spills, LDGSTS.E.BYPASS.128, STG.E.128
template <class Memory, class T = typename Memory::Unit>
__global__ void __launch_bounds__(kMostRowThreads)
    softmax_backward_rows(const Memory memory, const T* g, const T* y, T* gx, int64_t n, int rows, int kept,
                          bool vectors, bool log_wanted) {
  using C = typename Memory::Compute;
  constexpr int kN = Memory::kN;
  FS_DYN_SMEM(T, room);
  const int row = row_number();
  const int64_t at = row < rows ? row * n : 0;
  const RowCut<Memory> cut(g + at, row < rows ? n : 0, vectors);
  T* const own = room + static_cast<int>(threadIdx.y) * 2 * kept * kN;
  const KeptRow<Memory> in_g(g + at, cut, own, kept), in_y(y + at, cut, own + kept * kN, kept);
  in_g.fetch(cut);
  in_y.fetch(cut);
  const int lane = static_cast<int>(threadIdx.x), lanes = static_cast<int>(blockDim.x);
  C sum[1] = {0}, a[kN], b[kN];
#pragma unroll 1
  for (int64_t k = lane; k < cut.singles(); k += lanes)
    sum[0] += sum_term(memory.load(g + at + cut.single(k)), memory.load(y + at + cut.single(k)), log_wanted);
  in_y.wait();
  int i = lane;
  if constexpr (kN > 1) {
#pragma unroll 1
    for (; i < cut.vectors; i += lanes) {
      in_g.vector(i, memory, a);
      in_y.vector(i, memory, b);
#pragma unroll
      for (int j = 0; j < kN; ++j) sum[0] += sum_term(a[j], b[j], log_wanted);
    }
  }
  const C none[1] = {0};
  merge_row(sum, none, AddAll{});
  if constexpr (kN > 1) {
#pragma unroll 1
    for (i -= lanes; i >= 0; i -= lanes) {
      in_g.vector(i, memory, a);
      in_y.vector(i, memory, b);
#pragma unroll
      for (int j = 0; j < kN; ++j) a[j] = gradient(memory, a[j], b[j], sum[0], log_wanted);
      store_raw(gx + at + cut.head + int64_t{i} * kN, memory.narrow(a));
    }
  }
#pragma unroll 1
  for (int64_t k = lane; k < cut.singles(); k += lanes) {
    const int64_t e = at + cut.single(k);
    memory.store(gx + e, gradient(memory, memory.load(g + e), memory.load(y + e), sum[0], log_wanted));
  }
}

// ---- 32 rows a block, elements `stride` apart ----------------------------------------------------------------

// merge over the block's threads of one column.
template <int kThreads, int kCount, class C, class Merge>
__device__ __forceinline__ void merge_column(C (&v)[kCount], const Merge& merge) {
  constexpr int kY = kThreads / kWarpSize;
  FS_SHARED(C, part, [kY][kCount][kWarpSize]);
  const int x = static_cast<int>(threadIdx.x) & 31;
#pragma unroll
  for (int k = 0; k < kCount; ++k) part[threadIdx.x >> 5][k][x] = v[k];
  __syncthreads();
#pragma unroll
  for (int k = 0; k < kCount; ++k) v[k] = part[0][k][x];
#pragma unroll 1
  for (int y = 1; y < kY; ++y) {
    C other[kCount];
#pragma unroll
    for (int k = 0; k < kCount; ++k) other[k] = part[y][k][x];
    merge(v, other);
  }
}

// Compiles to: no spills
template <class Memory, int kThreads, class T = typename Memory::Unit>
__global__ void __launch_bounds__(kThreads)
    softmax_columns(const Memory memory, const T* x, T* y, const StridedRows s, bool log_wanted) {
  using C = typename Memory::Compute;
  constexpr int kY = kThreads / kWarpSize;
  const int32_t row = static_cast<int32_t>(blockIdx.x * kWarpSize + (threadIdx.x & 31));
  const int64_t n = row < s.rows ? s.n : 0, base = row < s.rows ? s.first(row) : 0;
  constexpr int kMany = kFlight<C>;
  C v[2] = {-kInfinity<C>, 0}, many[kMany];
  const int64_t y0 = threadIdx.x >> 5, step = kY * s.stride, start = base + y0 * s.stride;
  // Elements of this thread that are left.
  int64_t left = (n - y0 + kY - 1) >> 3;
  static_assert(kY == 8);
  const T* p = x + start;
#pragma unroll 1
  for (int64_t k = left; k > 0; k -= kMany, p += kMany * step) {
    load_apart(memory, p, step, k, -kInfinity<C>, many);
    add_exponentials(memory, v, many);
  }
  merge_column<kThreads>(v, MergeExponentials<Memory>{memory});
  const Normalise<Memory> normalise(memory, v, log_wanted);
  p = x + start;
  T* to = y + start;
#pragma unroll 1
  for (; left > 0; left -= kMany, p += kMany * step, to += kMany * step) {
    load_apart(memory, p, step, left, C(0), many);
#pragma unroll
    for (int u = 0; u < kMany; ++u)
      if (u < left) memory.store(to + u * step, normalise(many[u]));
  }
}

// Compiles to: no spills
template <class Memory, int kThreads, class T = typename Memory::Unit>
__global__ void __launch_bounds__(kThreads) softmax_backward_columns(const Memory memory, const T* g, const T* y,
                                                                     T* gx, const StridedRows s, bool log_wanted) {
  using C = typename Memory::Compute;
  constexpr int kY = kThreads / kWarpSize;
  const int32_t row = static_cast<int32_t>(blockIdx.x * kWarpSize + (threadIdx.x & 31));
  const int64_t n = row < s.rows ? s.n : 0, base = row < s.rows ? s.first(row) : 0;
  constexpr int kMany = kFlight<C>;
  C sum[1] = {0}, a[kMany], b[kMany];
  const int64_t y0 = threadIdx.x >> 5, step = kY * s.stride, start = base + y0 * s.stride;
  int64_t left = (n - y0 + kY - 1) >> 3;
  static_assert(kY == 8);
  int64_t at = start;
#pragma unroll 1
  for (int64_t k = left; k > 0; k -= kMany, at += kMany * step) {
    load_apart(memory, g + at, step, k, C(0), a);
    load_apart(memory, y + at, step, k, C(0), b);
#pragma unroll
    for (int u = 0; u < kMany; ++u) sum[0] += u < k ? sum_term(a[u], b[u], log_wanted) : C(0);
  }
  merge_column<kThreads>(sum, AddAll{});
  at = start;
#pragma unroll 1
  for (; left > 0; left -= kMany, at += kMany * step) {
    load_apart(memory, g + at, step, left, C(0), a);
    load_apart(memory, y + at, step, left, C(0), b);
#pragma unroll
    for (int u = 0; u < kMany; ++u)
      if (u < left) memory.store(gx + at + u * step, gradient(memory, a[u], b[u], sum[0], log_wanted));
  }
}

// ---- launches ----------------------------------------------------------------------------------------------

// Calls f(rows, number of the first) for as many.
template <class F>
void in_rows(int64_t rows, const F& f) {
  for (int64_t r = 0; r < rows; r += kMostRowsAtOnce) f(static_cast<int>(std::min(kMostRowsAtOnce, rows - r)), r);
}

void run_forward(const KernelArgs& args, bool log_wanted) {
  const AxisShape s(args.in[0], args.attrs<SoftmaxAttrs>().dim);
  if (args.in[0].numel == 0) return;
  const Contiguous x(args.in[0]);
  dispatch_row_memory(args.in[0].dtype, [&](auto memory) {
    using Memory = decltype(memory);
    using T = typename Memory::Unit;
    const T* from = x.ptr<T>();
    T* to = args.out[0].ptr<T>();
    if (s.inner != 1) {
      in_strided_rows(s.outer, s.n, s.inner, [&](const StridedRows& c, int64_t at, int64_t) {
        FS_LAUNCH((softmax_columns<Memory, kColumnThreads>), grid_for(c.rows, kWarpSize, INT32_MAX), kColumnThreads,
                  0, current_stream(), memory, from + at, to + at, c, log_wanted);
      });
      return;
    }
    const RowPlan p = plan_rows(s.n, Memory::kN, 1, {from, to});
    in_rows(s.outer, [&](int rows, int64_t first) {
      FS_LAUNCH((softmax_rows<Memory>), p.blocks(rows), p.block(), p.shared, current_stream(), memory,
                from + first * s.n, to + first * s.n, s.n, rows, p.kept, p.vectors, log_wanted);
    });
  });
}

void run_backward(const KernelArgs& args, bool log_wanted) {
  const AxisShape s(args.in[0], args.attrs<SoftmaxAttrs>().dim);
  if (args.in[0].numel == 0) return;
  const Contiguous g(args.in[0]), y(args.in[1]);
  dispatch_row_memory(args.in[0].dtype, [&](auto memory) {
    using Memory = decltype(memory);
    using T = typename Memory::Unit;
    const T *from = g.ptr<T>(), *out = y.ptr<T>();
    T* to = args.out[0].ptr<T>();
    if (s.inner != 1) {
      in_strided_rows(s.outer, s.n, s.inner, [&](const StridedRows& c, int64_t at, int64_t) {
        FS_LAUNCH((softmax_backward_columns<Memory, kColumnThreads>), grid_for(c.rows, kWarpSize, INT32_MAX),
                  kColumnThreads, 0, current_stream(), memory, from + at, out + at, to + at, c, log_wanted);
      });
      return;
    }
    const RowPlan p = plan_rows(s.n, Memory::kN, 2, {from, out, to});
    in_rows(s.outer, [&](int rows, int64_t first) {
      const int64_t at = first * s.n;
      FS_LAUNCH((softmax_backward_rows<Memory>), p.blocks(rows), p.block(), p.shared, current_stream(), memory,
                from + at, out + at, to + at, s.n, rows, p.kept, p.vectors, log_wanted);
    });
  });
}

}  // namespace

void softmax(const KernelArgs& args) { run_forward(args, false); }
void log_softmax(const KernelArgs& args) { run_forward(args, true); }
void softmax_backward(const KernelArgs& args) { run_backward(args, false); }
void log_softmax_backward(const KernelArgs& args) { run_backward(args, true); }

}  // namespace fireseed::cuda

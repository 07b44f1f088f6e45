// layer_norm, rms_norm and group_norm: statistics of rows that are contiguous, forward and backward.
#include "kernels/norm.cuh"
#include "tensor/attrs/norm.h"

namespace fireseed::cuda {
namespace {

// Note [Normalised rows]
// Rows are read from memory once (Note [Rows in vectors]). Backward, the sums over rows (gradients of parameters)
// come along where a row is at most kMostColumnLanes vectors: each thread keeps its columns' sums in registers for
// many rows, with the next row's loads under way; else they are another walk (Note [Channel sums]).
constexpr int kMostColumnLanes = 512;
// Blocks that share a multiprocessor's registers; before Hopper fewer bytes have to be under way.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900
constexpr int kColumnBlocks = 1;
#else
constexpr int kColumnBlocks = 2;
#endif
constexpr int kColumnStages = 3;  // rows under way, and the one that is worked on

// Rows of n elements. Element i of a row has the parameters of channel row % groups * per + i / inner: layer_norm is
// one group with as many channels as elements.
struct RowShape { int64_t rows, n, groups, per, inner; };

// Where parameters of a row's elements lie. A vector has kN neighbouring parameters (`lines`) or one.
template <class Memory>
struct Channels {
  using C = typename Memory::Compute;
  Param<Memory> w, b;
  LargeDivider inner;
  Divider<int32_t> groups;
  int64_t per;
  bool lines;
  Channels(const RowShape& s, const Param<Memory>& weight, const Param<Memory>& bias)
      : w(weight), b(bias), inner(s.inner, s.n), groups(s.groups), per(s.per), lines(s.inner == 1) {}
  __device__ __forceinline__ int64_t first(int row) const {
    return (row - int64_t{groups.divide(row)} * static_cast<int32_t>(groups.d)) * per;
  }
  __device__ __forceinline__ int64_t of(int64_t i) const { return lines ? i : inner.divide(i); }
  // v w + b for a vector of a row, its elements from the i-th on; first_channel: of the row. kBias: else without b.
  template <bool kBias>
  __device__ __forceinline__ void apply(const Memory& memory, int64_t first_channel, int64_t i,
                                        C (&v)[Memory::kN]) const {
    C p[Memory::kN];
    if (w.p) {
      load(w, memory, first_channel, i, p);
#pragma unroll
      for (int k = 0; k < Memory::kN; ++k) v[k] *= p[k];
    }
    if (kBias && b.p) {
      load(b, memory, first_channel, i, p);
#pragma unroll
      for (int k = 0; k < Memory::kN; ++k) v[k] += p[k];
    }
  }
  __device__ __forceinline__ void load(const Param<Memory>& from, const Memory& memory, int64_t first_channel,
                                       int64_t i, C (&p)[Memory::kN]) const {
    if (lines) {
      from.load_many(memory, first_channel + i, p);
    } else {
      const C one = from.load(memory, first_channel + of(i));
#pragma unroll
      for (int k = 0; k < Memory::kN; ++k) p[k] = one;
    }
  }
  // The same for one element.
  template <bool kBias>
  __device__ __forceinline__ C apply_one(const Memory& memory, int64_t first_channel, int64_t i, C v) const {
    const int64_t c = first_channel + of(i);
    if (w.p) v *= w.load(memory, c);
    if (kBias && b.p) v += b.load(memory, c);
    return v;
  }
};

template <class Memory>
struct NormRows {
  using T = typename Memory::Unit;
  using C = typename Memory::Compute;
  const T *x, *g;
  T* y;
  C *mean, *rstd;
  int64_t n;
  C eps;
  int rows, kept;
  bool vectors, center;  // center: else the mean is taken as 0 (rms_norm)
};

// y = (x - mean) rstd w + b.
// Compiles to: no spills
template <class Memory>
__global__ void __launch_bounds__(kMostRowThreads)
    norm_rows(const Memory memory, const __grid_constant__ NormRows<Memory> a,
              const __grid_constant__ Channels<Memory> channels) {
  using T = typename Memory::Unit;
  using C = typename Memory::Compute;
  constexpr int kN = Memory::kN;
  FS_DYN_SMEM(T, room);
  const int row = row_number(), lane = static_cast<int>(threadIdx.x), lanes = static_cast<int>(blockDim.x);
  const bool there = row < a.rows;
  const int64_t at = there ? row * a.n : 0;
  const RowCut<Memory> cut(a.x + at, there ? a.n : 0, a.vectors);
  const KeptRow<Memory> in(a.x + at, cut, room + static_cast<int>(threadIdx.y) * a.kept * kN, a.kept);
  in.fetch(cut);
  MomentSum<C> sum;
  C many[kN];
#pragma unroll 1
  for (int64_t k = lane; k < cut.singles(); k += lanes) {
    const C one[1] = {memory.load(a.x + at + cut.single(k))};
    sum.add(one, a.center);
  }
  in.wait();
  int i = lane;
  if constexpr (kN > 1) {
#pragma unroll 1
    for (; i < cut.vectors; i += lanes) {
      in.vector(i, memory, many);
      sum.add(many, a.center);
    }
  }
  C v[3];
  const C none[3] = {0, 0, 0};
  sum.get(v, a.center);
  merge_row(v, none, MergeMoments{});
  if (!there) return;
  const C mean = v[1], rstd = C(1) / sqrt(Num<C>(v[2] / static_cast<C>(a.n) + a.eps)).v;
  if (lane == 0) {
    if (a.mean) a.mean[row] = mean;
    a.rstd[row] = rstd;
  }
  const int64_t first = channels.first(row);
  if constexpr (kN > 1) {
#pragma unroll 1
    for (i -= lanes; i >= 0; i -= lanes) {
      in.vector(i, memory, many);
#pragma unroll
      for (int k = 0; k < kN; ++k) many[k] = (many[k] - mean) * rstd;
      const int64_t e = cut.head + (int64_t{i} << Memory::kLogN);
      channels.template apply<true>(memory, first, e, many);
      store_raw(a.y + at + e, memory.narrow(many));
    }
  }
#pragma unroll 1
  for (int64_t k = lane; k < cut.singles(); k += lanes) {
    const int64_t e = cut.single(k);
    const C hat = (memory.load(a.x + at + e) - mean) * rstd;
    memory.store(a.y + at + e, channels.template apply_one<true>(memory, first, e, hat));
  }
}

// gx = rstd (wg - mean(wg) - xhat mean(wg xhat)) with wg = w g.
template <class C>
struct RowFactors {
  C mean, rstd, a = 0, b = 0;
  __device__ __forceinline__ C hat(C x) const { return (x - mean) * rstd; }
  __device__ __forceinline__ C of_hat(C wg, C hat) const { return (wg - a - hat * b) * rstd; }
  __device__ __forceinline__ C gradient(C wg, C x) const { return of_hat(wg, hat(x)); }
};

// Compiles to: no spills
template <class Memory>
__global__ void __launch_bounds__(kMostRowThreads)
    norm_backward_rows(const Memory memory, const __grid_constant__ NormRows<Memory> a,
                       const __grid_constant__ Channels<Memory> channels) {
  using T = typename Memory::Unit;
  using C = typename Memory::Compute;
  constexpr int kN = Memory::kN;
  FS_DYN_SMEM(T, room);
  const int row = row_number(), lane = static_cast<int>(threadIdx.x), lanes = static_cast<int>(blockDim.x);
  const bool there = row < a.rows;
  const int64_t at = there ? row * a.n : 0, first = there ? channels.first(row) : 0;
  const RowCut<Memory> cut(a.x + at, there ? a.n : 0, a.vectors);
  T* const own = room + static_cast<int>(threadIdx.y) * 2 * a.kept * kN;
  const KeptRow<Memory> in_g(a.g + at, cut, own, a.kept), in_x(a.x + at, cut, own + a.kept * kN, a.kept);
  in_g.fetch(cut);
  in_x.fetch(cut);
  RowFactors<C> f{a.center && there ? a.mean[row] : C(0), there ? a.rstd[row] : C(0)};
  C v[2] = {0, 0}, g[kN], x[kN];
#pragma unroll 1
  for (int64_t k = lane; k < cut.singles(); k += lanes) {
    const int64_t e = cut.single(k);
    const C wg = channels.template apply_one<false>(memory, first, e, memory.load(a.g + at + e));
    v[0] += wg;
    v[1] += wg * f.hat(memory.load(a.x + at + e));
  }
  in_x.wait();
  int i = lane;
  if constexpr (kN > 1) {
#pragma unroll 1
    for (; i < cut.vectors; i += lanes) {
      in_g.vector(i, memory, g);
      in_x.vector(i, memory, x);
      channels.template apply<false>(memory, first, cut.head + (int64_t{i} << Memory::kLogN), g);
#pragma unroll
      for (int k = 0; k < kN; ++k) {
        v[0] += g[k];
        v[1] += g[k] * f.hat(x[k]);
      }
    }
  }
  const C none[2] = {0, 0};
  merge_row(v, none, AddAll{});
  if (!there) return;
  f.a = a.center ? v[0] / static_cast<C>(a.n) : C(0);
  f.b = v[1] / static_cast<C>(a.n);
  if constexpr (kN > 1) {
#pragma unroll 1
    for (i -= lanes; i >= 0; i -= lanes) {
      const int64_t e = cut.head + (int64_t{i} << Memory::kLogN);
      in_g.vector(i, memory, g);
      in_x.vector(i, memory, x);
      channels.template apply<false>(memory, first, e, g);
#pragma unroll
      for (int k = 0; k < kN; ++k) g[k] = f.gradient(g[k], x[k]);
      store_raw(a.y + at + e, memory.narrow(g));
    }
  }
#pragma unroll 1
  for (int64_t k = lane; k < cut.singles(); k += lanes) {
    const int64_t e = cut.single(k);
    const C wg = channels.template apply_one<false>(memory, first, e, memory.load(a.g + at + e));
    memory.store(a.y + at + e, f.gradient(wg, memory.load(a.x + at + e)));
  }
}

// The same where a thread has one vector of each of its rows, and partial[block][2][n]: Σ g and Σ g xhat over the
// block's. Compiles to: no spills, LDGSTS.E.BYPASS.128, STG.E.128
template <class Memory>
__global__ void __launch_bounds__(kMostColumnLanes, kColumnBlocks)
    norm_backward_columns(const Memory memory, const __grid_constant__ NormRows<Memory> a, const Param<Memory> weight,
                          typename Memory::Compute* partial) {
  using T = typename Memory::Unit;
  using C = typename Memory::Compute;
  constexpr int kN = Memory::kN;
  FS_DYN_SMEM(T, room);  // [kColumnStages][g, x][threads][kN]; in the end the sums
  const int lane = static_cast<int>(threadIdx.x), size = static_cast<int>(a.n), at = lane << Memory::kLogN;
  const int step = static_cast<int>(gridDim.x * blockDim.y), array = static_cast<int>(blockDim.x * blockDim.y) * kN;
  const bool used = at < size;
  C sum_g[kN], sum_gx[kN];
#pragma unroll
  for (int k = 0; k < kN; ++k) sum_g[k] = sum_gx[k] = 0;
  int row = row_number(), buffer = 0, stage = 0;
  T* const own = room + ((static_cast<int>(threadIdx.y * blockDim.x) + lane) << Memory::kLogN);
#pragma unroll 1
  for (int k = 0, r = row; k + 1 < kColumnStages; ++k, r += step) {
    if (used && r < a.rows) {
      keep(own + 2 * k * array, a.g + int64_t{r} * size + at);
      keep(own + (2 * k + 1) * array, a.x + int64_t{r} * size + at);
    }
    cp_async_commit();
  }
  RowFactors<C> next{0, 0};
  if (row < a.rows) next = {a.center ? a.mean[row] : C(0), a.rstd[row]};
#pragma unroll 1
  for (; row - static_cast<int>(threadIdx.y) < a.rows; row += step, buffer ^= 1) {
    RowFactors<C> f = next;
    if (row < a.rows - step) next = {a.center ? a.mean[row + step] : C(0), a.rstd[row + step]};
    const int later = stage == 0 ? kColumnStages - 1 : stage - 1;
    if (used && row < a.rows - (kColumnStages - 1) * step) {
      const int64_t from = int64_t{row + (kColumnStages - 1) * step} * size + at;
      keep(own + 2 * later * array, a.g + from);
      keep(own + (2 * later + 1) * array, a.x + from);
    }
    cp_async_commit();
    cp_async_wait<kColumnStages - 1>();
    const bool there = used && row < a.rows;
    Raw g{}, x{};
    if (there) {
      g = Raw::load(reinterpret_cast<const uint32_t*>(own + 2 * stage * array));
      x = Raw::load(reinterpret_cast<const uint32_t*>(own + (2 * stage + 1) * array));
    }
    stage = stage == kColumnStages - 1 ? 0 : stage + 1;
    C w[kN], v[2] = {0, 0};
#pragma unroll
    for (int k = 0; k < kN; ++k) w[k] = 1;
    // For each row twice, and g and x not widened yet: registers are scarce, the cache is near.
    if (weight.p && used) weight.load_many(memory, at, w);
#pragma unroll
    for (int k = 0; k < kN; ++k) {
      const C one = memory.element(g, k), hat = f.hat(memory.element(x, k));
      sum_g[k] += one;
      sum_gx[k] += one * hat;
      v[0] += w[k] * one;
      v[1] += w[k] * one * hat;
    }
    const C none[2] = {0, 0};
    merge_row(v, none, AddAll{}, buffer);
    f.a = a.center ? v[0] / static_cast<C>(size) : C(0);
    f.b = v[1] / static_cast<C>(size);
#pragma unroll
    for (int k = 0; k < kN; ++k) w[k] = 1;
    if (weight.p && used) weight.load_many(memory, at, w);
#pragma unroll
    for (int k = 0; k < kN; ++k) w[k] = f.gradient(w[k] * memory.element(g, k), memory.element(x, k));
    if (there) store_raw(a.y + int64_t{row} * size + at, memory.narrow(w));
  }
  const int wide = static_cast<int>(blockDim.x) << Memory::kLogN;
  if (blockDim.y > 1) {
    cp_async_wait<0>();
    __syncthreads();
    C* sums = reinterpret_cast<C*>(room) + static_cast<int>(threadIdx.y) * 2 * wide + at;
#pragma unroll
    for (int k = 0; k < kN; ++k) sums[k] = sum_g[k], sums[wide + k] = sum_gx[k];
    __syncthreads();
    if (threadIdx.y > 0) return;
#pragma unroll 1
    for (unsigned y = 1; y < blockDim.y; ++y) {
      sums += 2 * wide;
#pragma unroll
      for (int k = 0; k < kN; ++k) sum_g[k] += sums[k], sum_gx[k] += sums[wide + k];
    }
  }
  if (!used) return;
  C* const to = partial + int64_t{blockIdx.x} * 2 * size + at;
#pragma unroll
  for (int k = 0; k < kN; ++k) to[k] = sum_g[k], to[size + k] = sum_gx[k];
}

// ---- launches ----------------------------------------------------------------------------------------------

// Calls f(number of the first row, rows) for whole groups of at most 2^30 rows.
template <class F>
void in_parts(const RowShape& s, const F& f) {
  const int64_t part = std::max<int64_t>(1, kMostRowsAtOnce / s.groups) * s.groups;
  for (int64_t r = 0; r < s.rows; r += part) f(r, static_cast<int>(std::min(part, s.rows - r)));
}

// In vectors only where each has kN neighbouring parameters, or one.
template <class Memory>
RowPlan norm_plan(const RowShape& s, const ParamOperand<Memory>& w, const ParamOperand<Memory>& b, int kept_arrays,
                  std::initializer_list<const void*> arrays) {
  constexpr int kN = Memory::kN;
  const bool fits = s.inner == 1 ? s.n % kN == 0 && w.aligned() && b.aligned() : s.inner % kN == 0;
  const bool free = !w.get().p && !b.get().p;
  const bool whole = free || (fits && aligned_for(*arrays.begin(), 16));
  return plan_rows(s.n, whole ? kN : 1, kept_arrays, arrays);
}

void forward(const KernelArgs& args, const RowShape& s, double eps, bool center) {
  if (s.rows == 0) return;
  const DType dtype = args.in[0].dtype;
  const Contiguous x(args.in[0]);
  dispatch_row_memory(dtype, [&](auto memory) {
    using Memory = decltype(memory);
    using T = typename Memory::Unit;
    using C = typename Memory::Compute;
    const ParamOperand<Memory> w(args.in[1], dtype), b(center ? args.in[2] : TensorView{}, dtype);
    const RowPlan p = norm_plan(s, w, b, 1, {x.ptr<void>(), args.out[0].ptr<void>()});
    const Channels<Memory> channels(s, w.get(), b.get());
    in_parts(s, [&](int64_t first, int rows) {
      const NormRows<Memory> a{x.ptr<T>() + first * s.n,
                               nullptr,
                               args.out[0].ptr<T>() + first * s.n,
                               center ? args.out[1].ptr<C>() + first : nullptr,
                               args.out[center ? 2 : 1].ptr<C>() + first,
                               s.n,
                               static_cast<C>(eps),
                               rows,
                               p.kept,
                               p.vectors,
                               center};
      FS_LAUNCH((norm_rows<Memory>), p.blocks(rows), p.block(), p.shared, current_stream(), memory, a, channels);
    });
  });
}

// `sums`: of the channels whose sums are gw and gb.
void backward(const KernelArgs& args, const RowShape& s, const ChannelShape& sums, bool center) {
  if (args.in[1].numel == 0) {
    for (int i = 1; i < args.num_out; ++i)
      if (args.out[i].numel > 0) fill_view(args.out[i], 0);
    return;
  }
  const DType dtype = args.in[1].dtype;
  const Contiguous g(args.in[0]), x(args.in[1]);
  dispatch_row_memory(dtype, [&](auto memory) {
    using Memory = decltype(memory);
    using T = typename Memory::Unit;
    using C = typename Memory::Compute;
    const ParamOperand<Memory> w(args.in[2], dtype), none(TensorView{}, dtype);
    T* const gx = args.out[0].ptr<T>();
    NormRows<Memory> a{x.ptr<T>(),
                       g.ptr<T>(),
                       gx,
                       center ? args.in[3].ptr<C>() : nullptr,
                       args.in[center ? 4 : 3].ptr<C>(),
                       s.n,
                       0,
                       0,
                       0,
                       false,
                       center};
    const auto finish = [&](void* partial, int64_t pieces) {
      write_param_grads(partial, pieces, sums.channels, sizeof(C) == 8, args.out[1].ptr<void>(),
                        center ? args.out[2].ptr<void>() : nullptr);
    };
    const RowPlan p = norm_plan(s, w, none, 2, {a.x, a.g, a.y});
    if constexpr (Memory::kN > 1) {
      const int64_t vectors = s.n / Memory::kN;
      const bool whole = p.vectors && s.inner == 1 && s.n % Memory::kN == 0 && aligned_for(a.x, 16) && w.aligned();
      if (whole && s.groups == 1 && vectors <= kMostColumnLanes && s.rows <= kMostRowsAtOnce) {
        int lanes = 1;
        while (lanes < vectors && lanes < kWarpSize) lanes *= 2;
        if (vectors > kWarpSize) lanes = static_cast<int>((vectors + kWarpSize - 1) / kWarpSize) * kWarpSize;
        const int side = kMostColumnLanes / lanes;
        const unsigned blocks = grid_for(s.rows, side, int64_t{2} * multiprocessors());
        const Scratch partial(static_cast<size_t>(blocks) * 2 * static_cast<size_t>(s.n) * sizeof(C));
        a.rows = static_cast<int>(s.rows);
        const size_t threads = static_cast<size_t>(side * lanes);
        size_t shared = std::max(threads * 16 * 2 * kColumnStages, threads * Memory::kN * 2 * sizeof(C));
        if (shared > kPlainSharedBytes - 1024) shared = std::max(shared, kPlainSharedBytes + 16);
        FS_LAUNCH((norm_backward_columns<Memory>), blocks,
                  dim3(static_cast<unsigned>(lanes), static_cast<unsigned>(side)), shared, current_stream(), memory,
                  a, w.get(), partial.ptr<C>());
        return finish(partial.ptr<void>(), blocks);
      }
    }
    const Channels<Memory> channels(s, w.get(), none.get());
    in_parts(s, [&](int64_t first, int rows) {
      NormRows<Memory> part = a;
      part.x += first * s.n;
      part.g += first * s.n;
      part.y += first * s.n;
      if (center) part.mean += first;
      part.rstd += first;
      part.rows = rows;
      part.kept = p.kept;
      part.vectors = p.vectors;
      FS_LAUNCH((norm_backward_rows<Memory>), p.blocks(rows), p.block(), p.shared, current_stream(), memory, part,
                channels);
    });
    const ChannelSums all(sums, dtype, a.g, a.x, a.mean, a.rstd);
    finish(all.partial(), all.pieces());
  });
}

RowShape line_shape(const TensorView& x, int64_t n) { return {n ? x.numel / n : 0, n, 1, n, 1}; }
ChannelShape line_channels(const TensorView& x, int64_t n) { return {n ? x.numel / n : 0, n, 1, 1, n}; }

RowShape group_shape(const TensorView& x, int64_t groups) {
  RowShape s{x.sizes[0] * groups, 0, groups, x.sizes[1] / groups, 1};
  for (int d = 2; d < x.ndim; ++d) s.inner *= x.sizes[d];
  s.n = s.per * s.inner;
  return s;
}

}  // namespace

// in: x, weight or absent, bias or absent. out: y, mean and rstd of each row (compute type).
void layer_norm(const KernelArgs& args) {
  const auto& a = args.attrs<LayerNormAttrs>();
  forward(args, line_shape(args.in[0], a.size), a.eps, true);
}
// in: g, x, weight or absent, mean, rstd. out: gx, gw, gb (compute type, [size]).
void layer_norm_backward(const KernelArgs& args) {
  const int64_t n = args.attrs<LayerNormAttrs>().size;
  backward(args, line_shape(args.in[1], n), line_channels(args.in[1], n), true);
}
// in: x, weight or absent. out: y, rstd.
void rms_norm(const KernelArgs& args) {
  const auto& a = args.attrs<LayerNormAttrs>();
  forward(args, line_shape(args.in[0], a.size), a.eps, false);
}
// in: g, x, weight or absent, rstd. out: gx, gw.
void rms_norm_backward(const KernelArgs& args) {
  const int64_t n = args.attrs<LayerNormAttrs>().size;
  backward(args, line_shape(args.in[1], n), line_channels(args.in[1], n), false);
}
// in: x, weight or absent, bias or absent. out: y, mean and rstd [N, groups] (compute type).
void group_norm(const KernelArgs& args) {
  const auto& a = args.attrs<GroupNormAttrs>();
  forward(args, group_shape(args.in[0], a.groups), a.eps, true);
}
// in: g, x, weight or absent, mean, rstd. out: gx, gw, gb (compute type, [C]).
void group_norm_backward(const KernelArgs& args) {
  const TensorView& x = args.in[1];
  const RowShape s = group_shape(x, args.attrs<GroupNormAttrs>().groups);
  backward(args, s, {x.sizes[0], x.sizes[1], s.inner, s.groups, s.per}, true);
}

}  // namespace fireseed::cuda

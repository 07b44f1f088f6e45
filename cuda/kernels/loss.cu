// Losses on class indices: nll_loss and cross_entropy (log-softmax fused), forward and backward.
#include "tensor/attrs/loss.h"

#include "device/contiguous.cuh"
#include "device/memory.cuh"
#include "device/row_vectors.cuh"
#include "device/rows.cuh"

namespace fireseed::cuda {
namespace {

// Note [Cross-entropy rows]
// A row of logits is read once for the loss, with Σ exp relative to the largest logit so far, and once for the
// gradient (Note [Rows in vectors]). Where classes lie far apart (planes) a thread has a row of its own and its
// neighbours the neighbouring ones. What follows from a row's sums is another kernel's, which serves all dtypes.
constexpr int kLossThreads = 256;
constexpr int kTotalThreads = 512;
constexpr int64_t kMostLossBlocks = 1024;  // each leaves one partial sum

// Input [N, C, inner] (a single sample: N = 1), target [N, inner].
struct ClassShape {
  int64_t classes, inner = 1, outer = 1;
  explicit ClassShape(const TensorView& in) : classes(in.sizes[in.ndim > 1]) {
    for (int d = 2; d < in.ndim; ++d) inner *= in.sizes[d];
    if (in.ndim > 1) outer = in.sizes[0];
  }
};

template <class T>
const T* optional_ptr(const Contiguous& c) {
  return c.view().defined() ? c.ptr<T>() : nullptr;
}

// The rows of a launch. x: logits or log-probabilities. Where labels are smoothed, smoothed: Σ_c w_c (lse - x_c) of
// each row, and weights: Σ w, where classes have weights. lse: log Σ exp(x), null for nll_loss.
struct LossRows {
  const void *x, *weight;
  const double* weights;
  const int64_t* target;
  void *each, *lse, *smoothed;  // each: the losses, or null
  StridedRows s;
  ClassLossAttrs a;
  double smooth;  // label_smoothing / classes
  DType dtype;
  bool vectors;
};

// The end of it: the sums over all rows, as loss and total weight.
struct LossResult {
  void* loss;
  double* total;
  DType dtype;
  Reduction reduction;
  __device__ __forceinline__ void write(double sum, double weight) const {
    if (reduction != Reduction::kNone)
      store_float(loss, 0, dtype, reduction == Reduction::kMean ? sum / weight : sum);
    *total = weight;
  }
};

// The loss of each row: -w_t x_t, or (1 - e) w_t (lse - x_t) + e/C Σ_c w_c (lse - x_c). Blocks leave their sums in
// partial; a single block the result.
template <int kThreads>
__global__ void __launch_bounds__(kThreads)
    row_losses(const __grid_constant__ LossRows k, double* partial, const LossResult result) {
  double loss = 0, total = 0;
  const DType compute = k.dtype == DType::kFloat64 ? DType::kFloat64 : DType::kFloat32;
#pragma unroll 1
  for (int64_t r = grid_thread(); r < k.s.rows; r += grid_threads()) {
    const int64_t t = k.target[r];
    double v = 0;
    if (t != k.a.ignore_index) {
      if (t < 0 || t >= k.s.n) fail_index(k.lse ? "cross_entropy: target" : "nll_loss: target", t, k.s.n);
      const double w = k.weight ? load_double(k.weight, t, k.dtype) : 1.0;
      v = load_double(k.x, k.s.first(static_cast<int32_t>(r)) + t * k.s.stride, k.dtype);
      v = w * (k.lse ? load_double(k.lse, r, compute) - v : -v);
      if (k.smoothed) v = (1 - k.a.label_smoothing) * v + k.smooth * load_double(k.smoothed, r, compute);
      total += w;
    }
    if (k.each) store_float(k.each, r, k.dtype, v);
    loss += v;
  }
  loss = block_reduce<kThreads>(loss, AddOp{});
  total = block_reduce<kThreads>(total, AddOp{});
  if (threadIdx.x != 0) return;
  if (!partial) return result.write(loss, total);
  partial[2 * blockIdx.x] = loss;
  partial[2 * blockIdx.x + 1] = total;
}

// One block: the sums of all blocks.
template <int kThreads>
__global__ void __launch_bounds__(kThreads)
    loss_total(const double* partial, int64_t blocks, const LossResult result) {
  double loss = 0, weight = 0;
#pragma unroll 1
  for (int64_t i = threadIdx.x; i < blocks; i += kThreads) loss += partial[2 * i], weight += partial[2 * i + 1];
  loss = block_reduce<kThreads>(loss, AddOp{});
  weight = block_reduce<kThreads>(weight, AddOp{});
  if (threadIdx.x == 0) result.write(loss, weight);
}

// Σ w of all classes.
template <int kThreads>
__global__ void __launch_bounds__(kThreads) weight_total(const void* weight, DType dtype, int64_t n, double* total) {
  double sum = 0;
#pragma unroll 1
  for (int64_t i = threadIdx.x; i < n; i += kThreads) sum += load_double(weight, i, dtype);
  sum = block_reduce<kThreads>(sum, AddOp{});
  if (threadIdx.x == 0) *total = sum;
}

// What a row's loss is made of: Σ exp (as in add_exponentials) and, where labels are smoothed, Σ w (x - origin).
template <class Memory, class C = typename Memory::Compute>
struct RowSums {
  C v[3] = {-kInfinity<C>, 0, 0}, origin = 0;
  __device__ __forceinline__ RowSums(const Memory& memory, const typename Memory::Unit* row, bool smooths) {
    if (smooths) origin = memory.load(row);
    if (origin - origin != C(0)) origin = 0;
  }
  template <int kMany>
  __device__ __forceinline__ void add(const Memory& memory, const C (&x)[kMany], int64_t left, bool smooths) {
    if (smooths) {
#pragma unroll
      for (int j = 0; j < kMany; ++j) v[2] += j < left ? x[j] - origin : C(0);
    }
    add_exponentials(memory, v, x);
  }
  // This thread's Σ w (x - origin) where classes have weights; most of the row comes from the cache.
  __device__ __forceinline__ void weigh(const Memory& memory, const LossRows& k, const typename Memory::Unit* row) {
    v[2] = 0;
#pragma unroll 1
    for (int64_t c = threadIdx.x; c < k.s.n; c += blockDim.x)
      v[2] += memory.load(static_cast<const typename Memory::Unit*>(k.weight) + c) *
              (memory.load(row + c * k.s.stride) - origin);
  }
  __device__ __forceinline__ void write(const Memory& memory, const LossRows& k, int64_t r) const {
    const C level = v[0] - v[0] == C(0) ? v[0] : C(0), lse = level + memory.logarithm(v[1]);
    static_cast<C*>(k.lse)[r] = lse;
    const double all = k.weights ? *k.weights : static_cast<double>(k.s.n);
    if (k.smoothed)
      static_cast<C*>(k.smoothed)[r] =
          static_cast<C>(all * static_cast<double>(lse - origin) - static_cast<double>(v[2]));
  }
};

// A row's threads stay together; rows beyond the last one take part in barriers only.
// Compiles to: no spills, LDG.E.128
template <class Memory>
__global__ void __launch_bounds__(kLossThreads)
    cross_entropy_rows(const Memory memory, const __grid_constant__ LossRows k) {
  using T = typename Memory::Unit;
  using C = typename Memory::Compute;
  constexpr int kN = Memory::kN;
  const int r = row_number();
  const bool there = r < k.s.rows, smooths = k.smoothed != nullptr;
  const T* row = static_cast<const T*>(k.x) + (there ? k.s.first(r) : 0);
  const RowCut<Memory> cut(row, there ? k.s.n : 0, k.vectors);
  RowSums<Memory> sums(memory, row, smooths);
#pragma unroll 1
  for (int64_t i = threadIdx.x; i < cut.singles(); i += blockDim.x) {
    const C one[1] = {memory.load(row + cut.single(i) * k.s.stride)};
    sums.add(memory, one, 1, smooths);
  }
  if constexpr (kN > 1) {
#pragma unroll 1
    for (VectorStream<Memory> in(row, cut); in.v < cut.vectors;) {
      C many[kN];
      memory.widen(in.next(cut), many);
      sums.add(memory, many, kN, smooths);
    }
  }
  if (k.weights && there) sums.weigh(memory, k, row);
  const C nothing[3] = {-kInfinity<C>, 0, 0};
  merge_row(sums.v, nothing, MergeExponentials<Memory>{memory});
  if (threadIdx.x == 0 && there) sums.write(memory, k, r);
}

// A thread a row.
// Compiles to: no spills
template <class Memory>
__global__ void __launch_bounds__(kLossThreads)
    cross_entropy_planes(const Memory memory, const __grid_constant__ LossRows k) {
  using T = typename Memory::Unit;
  using C = typename Memory::Compute;
  const int r = row_number();
  if (r >= k.s.rows) return;
  const T *const row = static_cast<const T*>(k.x) + k.s.first(r), *p = row;
  RowSums<Memory> sums(memory, row, k.smoothed != nullptr);
  C many[kFlight<C>];
#pragma unroll 1
  for (int64_t left = k.s.n; left > 0; left -= kFlight<C>, p += kFlight<C> * k.s.stride) {
    load_apart(memory, p, k.s.stride, left, -kInfinity<C>, many);
    sums.add(memory, many, left, k.smoothed != nullptr);
  }
  if (k.weights) sums.weigh(memory, k, row);
  sums.write(memory, k, r);
}

// What one row's loss is multiplied with on the way back. g: of the row, or of all.
__device__ __forceinline__ double row_scale(double g, Reduction reduction, const double* total) {
  return reduction == Reduction::kMean ? g / *total : g;
}

// The elements of gx that are not zero.
__global__ void nll_backward_rows(const void* g, const int64_t* target, const void* weight, const double* total,
                                  void* gx, const StridedRows s, ClassLossAttrs a, DType dtype) {
  const int64_t r = grid_thread();
  if (r >= s.rows) return;
  const int64_t t = target[r];
  if (t == a.ignore_index || t < 0 || t >= s.n) return;
  const double scale = row_scale(load_double(g, a.reduction == Reduction::kNone ? r : 0, dtype), a.reduction, total);
  const double w = weight ? load_double(weight, t, dtype) : 1.0;
  store_float(gx, s.first(static_cast<int32_t>(r)) + t * s.stride, dtype, -w * scale);
}

struct LossGradient {
  const void *g, *x, *weight;
  const int64_t* target;
  const void* lse;
  const double *total, *weights;
  void* gx;
  StridedRows s;
  ClassLossAttrs a;
  double smooth;  // label_smoothing / classes
  bool vectors;
};

// gx_c = scale (softmax_c ((1 - e) w_t + e/C Σ w) - (1 - e) w_t [c = t] - e/C w_c), softmax_c = exp(x_c - lse).
template <class Memory, class C = typename Memory::Compute>
struct RowGradient {
  using T = typename Memory::Unit;
  const T* weight;  // where they differ, and labels are smoothed
  int64_t target;
  C p = 0, q = 0, h = 0, lse;
  bool used;
  __device__ __forceinline__ RowGradient(const Memory& memory, const LossGradient& k, int64_t r)
      : weight(k.weights ? static_cast<const T*>(k.weight) : nullptr),
        target(k.target[r]),
        lse(static_cast<const C*>(k.lse)[r]),
        used(target != k.a.ignore_index && target >= 0 && target < k.s.n) {
    const C g = memory.load(static_cast<const T*>(k.g) + (k.a.reduction == Reduction::kNone ? r : 0));
    const double scale = row_scale(static_cast<double>(g), k.a.reduction, k.total);
    const double w =
        k.weight ? static_cast<double>(memory.load(static_cast<const T*>(k.weight) + (used ? target : 0))) : 1.0;
    const double hit = (1 - k.a.label_smoothing) * w * scale;
    p = static_cast<C>(hit + k.smooth * (k.weights ? *k.weights : static_cast<double>(k.s.n)) * scale);
    q = static_cast<C>(k.smooth * scale);
    h = static_cast<C>(hit);
  }
  // x of class c becomes its gradient.
  __device__ __forceinline__ void apply(const Memory& memory, int64_t c, C& x) const {
    x = memory.exponential(x - lse) * p - (weight ? q * memory.load(weight + c) : q);
    if (c == target) x -= h;
    if (!used) x = 0;
  }
};

// Compiles to: no spills, LDG.E.128, STG.E.128
template <class Memory>
__global__ void __launch_bounds__(kLossThreads)
    cross_entropy_backward_rows(const Memory memory, const __grid_constant__ LossGradient k) {
  using T = typename Memory::Unit;
  using C = typename Memory::Compute;
  constexpr int kN = Memory::kN;
  const int r = row_number();
  if (r >= k.s.rows) return;
  const RowGradient<Memory> gradient(memory, k, r);
  const int64_t first = k.s.first(r);
  const T* from = static_cast<const T*>(k.x) + first;
  T* to = static_cast<T*>(k.gx) + first;
  const RowCut<Memory> cut(from, k.s.n, k.vectors);
#pragma unroll 1
  for (int64_t i = threadIdx.x; i < cut.singles(); i += blockDim.x) {
    const int64_t c = cut.single(i);
    C one = memory.load(from + c * k.s.stride);
    gradient.apply(memory, c, one);
    memory.store(to + c * k.s.stride, one);
  }
  if constexpr (kN > 1) {
    const C q = gradient.weight ? C(0) : gradient.q;
    const T* const weight = gradient.weight ? gradient.weight + cut.head : nullptr;
    const int64_t target = gradient.target - cut.head;
#pragma unroll 1
    for (VectorStream<Memory> in(from, cut); in.v < cut.vectors;) {
      const int64_t at = int64_t{in.v} << Memory::kLogN;
      C many[kN];
      memory.widen(in.next(cut), many);
#pragma unroll
      for (int j = 0; j < kN; ++j) many[j] = memory.exponential(many[j] - gradient.lse) * gradient.p - q;
      if (weight) {
#pragma unroll
        for (int j = 0; j < kN; ++j) many[j] -= gradient.q * memory.load(weight + at + j);
      }
      const int64_t hit = target - at;
#pragma unroll
      for (int j = 0; j < kN; ++j) {
        if (hit == j) many[j] -= gradient.h;
        if (!gradient.used) many[j] = 0;
      }
      store_raw(to + cut.head + at, memory.narrow(many));
    }
  }
}

// A thread a row.
// Compiles to: no spills
template <class Memory>
__global__ void __launch_bounds__(kLossThreads)
    cross_entropy_backward_planes(const Memory memory, const __grid_constant__ LossGradient k) {
  using T = typename Memory::Unit;
  using C = typename Memory::Compute;
  const int r = row_number();
  if (r >= k.s.rows) return;
  const RowGradient<Memory> gradient(memory, k, r);
  const int64_t first = k.s.first(r);
  const T* p = static_cast<const T*>(k.x) + first;
  T* to = static_cast<T*>(k.gx) + first;
  C many[kFlight<C>];
#pragma unroll 1
  for (int64_t c = 0; c < k.s.n; c += kFlight<C>) {
    load_apart(memory, p, k.s.stride, k.s.n - c, C(0), many);
#pragma unroll
    for (int u = 0; u < kFlight<C>; ++u) {
      if (c + u >= k.s.n) break;
      gradient.apply(memory, c + u, many[u]);
      memory.store(to + u * k.s.stride, many[u]);
    }
    p += kFlight<C> * k.s.stride;
    to += kFlight<C> * k.s.stride;
  }
}

// ---- launches ----------------------------------------------------------------------------------------------

// A thread has a row: neighbours read neighbours.
bool in_planes(const ClassShape& s) { return s.inner >= kWarpSize; }

RowPlan loss_plan(const ClassShape& s, int per_vector, std::initializer_list<const void*> arrays) {
  if (s.inner == 1) return plan_rows(s.classes, per_vector, 0, arrays, kLossThreads);
  RowPlan p = plan_rows(in_planes(s) ? 1 : s.classes, 1, 0, arrays, kLossThreads);
  p.vectors = false;
  return p;
}

// Σ weight on the device, where it is wanted.
class WeightTotal {
 public:
  WeightTotal(const ClassLossAttrs& a, const Contiguous& weight) {
    if (a.label_smoothing <= 0 || !weight.view().defined()) return;
    memory_.emplace(sizeof(double));
    FS_LAUNCH((weight_total<kTotalThreads>), 1, kTotalThreads, 0, current_stream(), weight.ptr<void>(),
              weight.view().dtype, weight.view().numel, memory_->ptr<double>());
  }
  const double* data() const { return memory_ ? memory_->ptr<double>() : nullptr; }

 private:
  std::optional<Scratch> memory_;
};

void forward(const KernelArgs& args, bool nll) {
  const auto& a = args.attrs<ClassLossAttrs>();
  const ClassShape s(args.in[0]);
  const DType dtype = args.in[0].dtype;
  const auto unit = static_cast<int64_t>(dtype_size(dtype));
  const int64_t all = s.outer * s.inner;
  const Contiguous x(args.in[0]), target(args.in[1]), weight(args.in[2]);
  const WeightTotal weights(a, weight);
  const LossResult result{args.out[0].ptr<void>(), args.out[args.num_out - 1].ptr<double>(), dtype, a.reduction};
  const int64_t most = (all / kMostRowsAtOnce + 2) * kMostLossBlocks;
  const Scratch partial(2 * sizeof(double) * static_cast<size_t>(std::min(most, all + 1)));
  int64_t blocks = 0;
  dispatch_row_memory(dtype, [&](auto memory) {
    using Memory = decltype(memory);
    using C = typename Memory::Compute;
    const Scratch smoothed(a.label_smoothing > 0 ? static_cast<size_t>(all) * sizeof(C) : 0);
    in_strided_rows(s.outer, s.classes, s.inner, [&](const StridedRows& rows, int64_t at, int64_t first) {
      LossRows k{};
      k.x = x.ptr<char>() + at * unit;
      k.weight = optional_ptr<void>(weight);
      k.weights = weights.data();
      k.target = target.ptr<int64_t>() + first;
      if (a.reduction == Reduction::kNone) k.each = args.out[0].ptr<char>() + first * unit;
      k.s = rows;
      k.a = a;
      k.smooth = a.label_smoothing / static_cast<double>(s.classes);
      k.dtype = dtype;
      if (!nll) {
        k.lse = args.out[1].ptr<C>() + first;
        if (a.label_smoothing > 0) k.smoothed = smoothed.ptr<C>() + first;
        const RowPlan p = loss_plan(s, Memory::kN, {k.x});
        k.vectors = p.vectors;
        if (in_planes(s))
          FS_LAUNCH((cross_entropy_planes<Memory>), p.blocks(rows.rows), p.block(), 0, current_stream(), memory, k);
        else FS_LAUNCH((cross_entropy_rows<Memory>), p.blocks(rows.rows), p.block(), 0, current_stream(), memory, k);
      }
      const bool single = all <= 2 * kTotalThreads;
      const unsigned wide = single ? 1 : grid_for(rows.rows, kTotalThreads, kMostLossBlocks);
      FS_LAUNCH((row_losses<kTotalThreads>), wide, kTotalThreads, 0, current_stream(), k,
                single ? nullptr : partial.ptr<double>() + 2 * blocks, result);
      blocks += wide;
    });
  });
  if (blocks != 1 || all > 2 * kTotalThreads)
    FS_LAUNCH((loss_total<kTotalThreads>), 1, kTotalThreads, 0, current_stream(), partial.ptr<double>(), blocks,
              result);
}

}  // namespace

// in: log-probabilities [N, C, …], target int64 [N, …], weight [C] or absent.
// out: loss (0-dim, or [N, …] for none), total weight (0-dim float64).
void nll_loss(const KernelArgs& args) { forward(args, true); }

// in: logits [N, C, …], target int64 [N, …], weight [C] or absent.
// out: loss, lse [N, …] (compute type), total weight (0-dim float64).
void cross_entropy(const KernelArgs& args) { forward(args, false); }

// in: g, target, weight or absent, total weight; out: gx of the input's shape.
void nll_loss_backward(const KernelArgs& args) {
  const auto& a = args.attrs<ClassLossAttrs>();
  const ClassShape s(args.out[0]);
  if (args.out[0].numel == 0) return;
  const DType dtype = args.out[0].dtype;
  const auto unit = static_cast<int64_t>(dtype_size(dtype));
  const Contiguous g(args.in[0]), target(args.in[1]), weight(args.in[2]);
  fill_view(args.out[0], 0);
  in_strided_rows(s.outer, s.classes, s.inner, [&](const StridedRows& rows, int64_t at, int64_t first) {
    FS_LAUNCH(nll_backward_rows, grid_for(rows.rows, kLossThreads, INT32_MAX), kLossThreads, 0, current_stream(),
              g.ptr<char>() + (a.reduction == Reduction::kNone ? first * unit : 0), target.ptr<int64_t>() + first,
              optional_ptr<void>(weight), args.in[3].ptr<double>(), args.out[0].ptr<char>() + at * unit, rows, a,
              dtype);
  });
}

// in: g, logits, target, weight or absent, lse, total weight; out: gx.
void cross_entropy_backward(const KernelArgs& args) {
  const auto& a = args.attrs<ClassLossAttrs>();
  const ClassShape s(args.in[1]);
  if (args.out[0].numel == 0) return;
  const auto unit = static_cast<int64_t>(dtype_size(args.in[1].dtype));
  const Contiguous g(args.in[0]), x(args.in[1]), target(args.in[2]), weight(args.in[3]), lse(args.in[4]);
  const WeightTotal weights(a, weight);
  dispatch_row_memory(args.in[1].dtype, [&](auto memory) {
    using Memory = decltype(memory);
    const int64_t lse_unit = sizeof(typename Memory::Compute);
    in_strided_rows(s.outer, s.classes, s.inner, [&](const StridedRows& rows, int64_t at, int64_t first) {
      LossGradient k{g.ptr<char>() + (a.reduction == Reduction::kNone ? first * unit : 0),
                     x.ptr<char>() + at * unit,
                     optional_ptr<void>(weight),
                     target.ptr<int64_t>() + first,
                     lse.ptr<char>() + first * lse_unit,
                     args.in[5].ptr<double>(),
                     weights.data(),
                     args.out[0].ptr<char>() + at * unit,
                     rows,
                     a,
                     a.label_smoothing / static_cast<double>(s.classes),
                     false};
      const RowPlan p = loss_plan(s, Memory::kN, {k.x, k.gx});
      k.vectors = p.vectors;
      const unsigned blocks = p.blocks(rows.rows);
      if (in_planes(s))
        FS_LAUNCH((cross_entropy_backward_planes<Memory>), blocks, p.block(), 0, current_stream(), memory, k);
      else FS_LAUNCH((cross_entropy_backward_rows<Memory>), blocks, p.block(), 0, current_stream(), memory, k);
    });
  });
}

}  // namespace fireseed::cuda

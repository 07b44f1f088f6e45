// Losses on class indices: nll_loss and cross_entropy (log-softmax fused), forward and backward.
#include "tensor/attrs/loss.h"

#include "device/contiguous.cuh"
#include "device/rows.cuh"

namespace fireseed::cuda {
namespace {

constexpr int kLossThreads = 128;
constexpr int kMostLossBlocks = 1024;  // each leaves one partial sum

// Input [N, C, inner] (a single sample: N = 1), target [N, inner].
struct ClassShape {
  int64_t classes, inner, rows;
  explicit ClassShape(const TensorView& in) : classes(in.sizes[in.ndim > 1]), inner(1), rows(1) {
    for (int d = 2; d < in.ndim; ++d) inner *= in.sizes[d];
    if (in.ndim > 1) rows = in.sizes[0] * inner;
  }
  // Class 0 of a row; the others are `inner` apart.
  __device__ __forceinline__ int64_t first(int64_t row) const { return row / inner * classes * inner + row % inner; }
};

// What one row's loss is multiplied with on the way back.
template <class T>
__device__ __forceinline__ double row_scale(const T* g, Reduction reduction, const double* total, int64_t row) {
  if (reduction == Reduction::kNone) return load_as<compute_type<T>>(g[row]);
  return static_cast<double>(load_as<compute_type<T>>(g[0])) / (reduction == Reduction::kMean ? *total : 1.0);
}
template <class T>
__device__ __forceinline__ double weight_of(const T* weight, int64_t c) {
  return weight ? static_cast<double>(load_as<compute_type<T>>(weight[c])) : 1.0;
}

// Leaves the block's Σ loss and Σ weight in partial[blockIdx].
template <int kThreads>
__device__ __forceinline__ void write_partial(double* partial, double loss, double weight) {
  loss = block_reduce<kThreads>(loss, AddOp{});
  weight = block_reduce<kThreads>(weight, AddOp{});
  if (threadIdx.x != 0) return;
  partial[2 * blockIdx.x] = loss;
  partial[2 * blockIdx.x + 1] = weight;
}

// One block: the sums of all blocks, as loss and total weight.
template <class T, int kThreads>
__global__ void __launch_bounds__(kThreads)
    loss_total(const double* partial, int blocks, Reduction reduction, T* loss_out, double* total) {
  double loss = 0, weight = 0;
  for (int i = static_cast<int>(threadIdx.x); i < blocks; i += kThreads)
    loss += partial[2 * i], weight += partial[2 * i + 1];
  loss = block_reduce<kThreads>(loss, AddOp{});
  weight = block_reduce<kThreads>(weight, AddOp{});
  if (threadIdx.x != 0) return;
  if (reduction != Reduction::kNone) *loss_out = store_as<T>(reduction == Reduction::kMean ? loss / weight : loss);
  *total = weight;
}

template <class T, int kThreads>
__global__ void __launch_bounds__(kThreads) nll_rows(const T* x, const int64_t* target, const T* weight, T* each,
                                                     double* partial, ClassShape s, int64_t ignore_index) {
  double loss = 0, total = 0;
  for (int64_t r = grid_thread(); r < s.rows; r += grid_threads()) {
    const int64_t t = target[r];
    double v = 0;
    if (t != ignore_index) {
      if (t < 0 || t >= s.classes) fail_index("nll_loss", t, s.classes);
      const double w = weight_of(weight, t);
      v = -w * static_cast<double>(load_as<compute_type<T>>(x[s.first(r) + t * s.inner]));
      total += w;
    }
    if (each) each[r] = store_as<T>(v);
    loss += v;
  }
  write_partial<kThreads>(partial, loss, total);
}

template <class T>
__global__ void nll_backward_elements(const T* g, const int64_t* target, const T* weight, const double* total, T* gx,
                                      ClassShape s, ClassLossAttrs a) {
  const int64_t n = s.rows * s.classes;
#pragma unroll 1
  for (int64_t i = grid_thread(); i < n; i += grid_threads()) {
    const int64_t c = i / s.inner % s.classes, r = i / (s.inner * s.classes) * s.inner + i % s.inner, t = target[r];
    const bool hit = c == t && t != a.ignore_index;
    gx[i] = store_as<T>(hit ? -weight_of(weight, t) * row_scale(g, a.reduction, total, r) : 0.0);
  }
}

// kLanes threads a row: loss = (1 - e) w_t (lse - x_t) + e/C Σ_c w_c (lse - x_c), lse = log Σ exp(x).
// Compiles to: no spills
template <class T, int kThreads, int kLanes>
__global__ void __launch_bounds__(kThreads)
    cross_entropy_rows(const T* x, const int64_t* target, const T* weight, T* each, compute_type<T>* lse,
                       double* partial, ClassShape s, ClassLossAttrs a) {
  using C = compute_type<T>;
  constexpr int kRows = kThreads / kLanes;
  const int lane = static_cast<int>(threadIdx.x) % kLanes;
  const bool smooths = a.label_smoothing > 0;
  double loss = 0, total = 0;
  // A row's threads stay together; rows beyond the last one take part in barriers only.
  for (int64_t r0 = int64_t{blockIdx.x} * kRows; r0 < s.rows; r0 += int64_t{gridDim.x} * kRows) {
    const int64_t r = r0 + threadIdx.x / kLanes;
    const int64_t classes = r < s.rows ? s.classes : 0;
    const T* row = x + (r < s.rows ? s.first(r) : 0);
    C top = -kInfinity<C>;
    for (int64_t c = lane; c < classes; c += kLanes) top = MaxOp{}(top, load_as<C>(row[c * s.inner]));
    top = row_reduce<kThreads, kLanes>(top, MaxOp{});
    const C shift = top - top == C(0) ? top : C(0);  // 0 where top is no number
    C sum = 0, weights = 0, weighted = 0;            // Σ exp(x - shift), Σ w, Σ w (x - shift)
    for (int64_t c = lane; c < classes; c += kLanes) {
      const C d = load_as<C>(row[c * s.inner]) - shift;
      sum += exp(Num<C>(d)).v;
      if (smooths) {
        const C w = weight ? load_as<C>(weight[c]) : C(1);
        weights += w;
        weighted += w * d;
      }
    }
    sum = row_reduce<kThreads, kLanes>(sum, AddOp{});
    if (smooths) {
      weights = row_reduce<kThreads, kLanes>(weights, AddOp{});
      weighted = row_reduce<kThreads, kLanes>(weighted, AddOp{});
    }
    if (lane != 0 || r >= s.rows) continue;
    const C rest = log(Num<C>(sum)).v;  // lse - shift
    lse[r] = shift + rest;
    const int64_t t = target[r];
    double v = 0;
    if (t != a.ignore_index) {
      if (t < 0 || t >= s.classes) fail_index("cross_entropy: target", t, s.classes);
      const double w = weight_of(weight, t);
      v = w * static_cast<double>(shift + rest - load_as<C>(row[t * s.inner]));
      if (smooths)
        v = (1 - a.label_smoothing) * v +
            a.label_smoothing / static_cast<double>(s.classes) *
                (static_cast<double>(weights) * static_cast<double>(rest) - static_cast<double>(weighted));
      total += w;
    }
    if (each) each[r] = store_as<T>(v);
    loss += v;
  }
  write_partial<kThreads>(partial, loss, total);
}

// kLanes threads a row:
// gx_c = scale (softmax_c ((1 - e) w_t + e/C Σ w) - (1 - e) w_t [c = t] - e/C w_c), softmax_c = exp(x_c - lse).
template <class T, int kThreads, int kLanes>
__global__ void __launch_bounds__(kThreads)
    cross_entropy_backward_rows(const T* g, const T* x, const int64_t* target, const T* weight,
                                const compute_type<T>* lse, const double* total, T* gx, ClassShape s,
                                ClassLossAttrs a) {
  using C = compute_type<T>;
  constexpr int kRows = kThreads / kLanes;
  const int lane = static_cast<int>(threadIdx.x) % kLanes;
  const double keep = 1 - a.label_smoothing, smooth = a.label_smoothing / static_cast<double>(s.classes);
  C weights = static_cast<C>(s.classes);
  if (smooth > 0 && weight) {
    weights = 0;
    for (int64_t c = threadIdx.x; c < s.classes; c += kThreads) weights += load_as<C>(weight[c]);
    weights = block_reduce<kThreads>(weights, AddOp{});
  }
  for (int64_t r = int64_t{blockIdx.x} * kRows + threadIdx.x / kLanes; r < s.rows; r += int64_t{gridDim.x} * kRows) {
    const int64_t t = target[r], base = s.first(r);
    const bool used = t != a.ignore_index && t >= 0 && t < s.classes;
    const double scale = used ? row_scale(g, a.reduction, total, r) : 0.0;
    const double hit = used ? keep * weight_of(weight, t) * scale : 0.0;
    const C p = static_cast<C>(hit + smooth * static_cast<double>(weights) * scale),
            q = static_cast<C>(smooth * scale), h = static_cast<C>(hit), z = lse[r];
    for (int64_t c = lane; c < s.classes; c += kLanes) {
      const int64_t at = base + c * s.inner;
      C v = 0;
      if (used) {
        v = exp(Num<C>(load_as<C>(x[at]) - z)).v * p;
        if (c == t) v -= h;
        if (smooth > 0) v -= weight ? q * load_as<C>(weight[c]) : q;
      }
      gx[at] = store_as<T>(v);
    }
  }
}

// Calls f(std::integral_constant): the number of threads a row should have.
template <class F>
void dispatch_lanes(const ClassShape& s, F&& f) {
  if (s.inner >= kWarpSize || s.classes <= 4) f(std::integral_constant<int, 1>{});  // neighbours read neighbours
  else if (s.classes <= 1024) f(std::integral_constant<int, kWarpSize>{});
  else f(std::integral_constant<int, kLossThreads>{});
}

template <class T>
const T* optional_ptr(const Contiguous& c) {
  return c.view().defined() ? c.ptr<T>() : nullptr;
}

template <class T>
void finish(const KernelArgs& args, Reduction reduction, const Scratch& partial, unsigned blocks) {
  FS_LAUNCH((loss_total<T, kLossThreads>), 1, kLossThreads, 0, current_stream(), partial.ptr<double>(),
            static_cast<int>(blocks), reduction, args.out[0].ptr<T>(), args.out[args.num_out - 1].ptr<double>());
}

}  // namespace

// in: log-probabilities [N, C, …], target int64 [N, …], weight [C] or absent.
// out: loss (0-dim, or [N, …] for none), total weight (0-dim float64).
void nll_loss(const KernelArgs& args) {
  const auto& a = args.attrs<ClassLossAttrs>();
  const ClassShape s(args.in[0]);
  const Contiguous x(args.in[0]), target(args.in[1]), weight(args.in[2]);
  const unsigned blocks = grid_for(s.rows, kLossThreads, kMostLossBlocks);
  const Scratch partial(2 * sizeof(double) * (blocks + 1));
  dispatch_float(args.in[0].dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    FS_LAUNCH((nll_rows<T, kLossThreads>), blocks, kLossThreads, 0, current_stream(), x.ptr<T>(),
              target.ptr<int64_t>(), optional_ptr<T>(weight),
              a.reduction == Reduction::kNone ? args.out[0].ptr<T>() : nullptr, partial.ptr<double>(), s,
              a.ignore_index);
    finish<T>(args, a.reduction, partial, blocks);
  });
}

// in: g, target, weight or absent, total weight; out: gx of the input's shape.
void nll_loss_backward(const KernelArgs& args) {
  const auto& a = args.attrs<ClassLossAttrs>();
  const ClassShape s(args.out[0]);
  if (args.out[0].numel == 0) return;
  const Contiguous g(args.in[0]), target(args.in[1]), weight(args.in[2]);
  dispatch_float(args.out[0].dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    FS_LAUNCH((nll_backward_elements<T>), grid_for(args.out[0].numel, 256, 1 << 16), 256, 0, current_stream(),
              g.ptr<T>(), target.ptr<int64_t>(), optional_ptr<T>(weight), args.in[3].ptr<double>(),
              args.out[0].ptr<T>(), s, a);
  });
}

// in: logits [N, C, …], target int64 [N, …], weight [C] or absent.
// out: loss, lse [N, …] (compute type), total weight (0-dim float64).
void cross_entropy(const KernelArgs& args) {
  const auto& a = args.attrs<ClassLossAttrs>();
  const ClassShape s(args.in[0]);
  const Contiguous x(args.in[0]), target(args.in[1]), weight(args.in[2]);
  dispatch_float(args.in[0].dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_type<T>;
    dispatch_lanes(s, [&](auto lanes) {
      constexpr int kLanes = decltype(lanes)::value;
      const unsigned blocks = grid_for(s.rows, kLossThreads / kLanes, kMostLossBlocks);
      const Scratch partial(2 * sizeof(double) * (blocks + 1));
      FS_LAUNCH((cross_entropy_rows<T, kLossThreads, kLanes>), blocks, kLossThreads, 0, current_stream(), x.ptr<T>(),
                target.ptr<int64_t>(), optional_ptr<T>(weight),
                a.reduction == Reduction::kNone ? args.out[0].ptr<T>() : nullptr, args.out[1].ptr<C>(),
                partial.ptr<double>(), s, a);
      finish<T>(args, a.reduction, partial, blocks);
    });
  });
}

// in: g, logits, target, weight or absent, lse, total weight; out: gx.
void cross_entropy_backward(const KernelArgs& args) {
  const auto& a = args.attrs<ClassLossAttrs>();
  const ClassShape s(args.in[1]);
  if (args.out[0].numel == 0) return;
  const Contiguous g(args.in[0]), x(args.in[1]), target(args.in[2]), weight(args.in[3]), lse(args.in[4]);
  dispatch_float(args.in[1].dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_type<T>;
    dispatch_lanes(s, [&](auto lanes) {
      constexpr int kLanes = decltype(lanes)::value;
      FS_LAUNCH((cross_entropy_backward_rows<T, kLossThreads, kLanes>),
                grid_for(s.rows, kLossThreads / kLanes, 1 << 16), kLossThreads, 0, current_stream(), g.ptr<T>(),
                x.ptr<T>(), target.ptr<int64_t>(), optional_ptr<T>(weight), lse.ptr<C>(), args.in[5].ptr<double>(),
                args.out[0].ptr<T>(), s, a);
    });
  });
}

}  // namespace fireseed::cuda

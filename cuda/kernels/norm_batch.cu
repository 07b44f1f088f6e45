// batch_norm over planes (NC…) and over channels-last memory, forward and backward.
#include "kernels/norm.cuh"
#include "tensor/attrs/norm.h"

namespace fireseed::cuda {
namespace {

constexpr int kFinishThreads = 256;
constexpr int kApplyThreads = 256;
// Blocks that share a multiprocessor: a thread has one vector under way, so there must be many threads.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
constexpr int kApplyBlocks = 4;
#else
constexpr int kApplyBlocks = 5;
#endif

// Channels-last without gaps: memory [rows, channels] (the output has the input's layout; infer sees to it).
bool channels_last_dense(const TensorView& x) {
  if (x.ndim < 3 || x.strides[1] != 1) return false;
  int64_t step = x.sizes[1];
  for (int d = x.ndim - 1; d >= 2; --d) {
    if (x.sizes[d] != 1 && x.strides[d] != step) return false;
    step *= x.sizes[d];
  }
  return x.sizes[0] == 1 || x.strides[0] == step;
}
// v with the channels as last dimension.
struct ChannelsLast {
  Dims sizes, strides;
  TensorView view;
  explicit ChannelsLast(const TensorView& v) : view(v) {
    for (int k = 0; k < v.ndim; ++k) {
      const int d = k == 0 ? 0 : k + 1 < v.ndim ? k + 1 : 1;
      sizes.push_back(v.sizes[d]);
      strides.push_back(v.strides[d]);
    }
    view.sizes = sizes.d;
    view.strides = strides.d;
    view.contiguous = channels_last_dense(v);
  }
};
// An operand in the memory order that the kernel works in; copied where it is not.
class InLayout {
 public:
  InLayout(const TensorView& v, bool last) : last_(v), data_(last ? last_.view : v) {}
  template <class T>
  const T* ptr() const {
    return data_.ptr<T>();
  }

 private:
  ChannelsLast last_;
  Contiguous data_;
};

ChannelShape batch_shape(const TensorView& x, bool last) {
  ChannelShape s;
  s.n = x.sizes[0];
  s.channels = x.sizes[1];
  for (int d = 2; d < x.ndim; ++d) s.inner *= x.sizes[d];
  if (last) s.n *= s.inner, s.inner = 1;
  return s;
}

// ---- what follows from the sums --------------------------------------------------------------------------------

// A float operand of any dtype and stride, or nothing.
struct AnyFloat {
  void* p = nullptr;
  int64_t step = 0;
  DType dtype = DType::kUndefined;
  explicit AnyFloat(const TensorView& v) {
    if (!v.defined()) return;
    p = v.data;
    step = v.strides[0];
    dtype = v.dtype;
  }
  __device__ __forceinline__ double get(int64_t c, double missing) const {
    return p ? load_double(p, c * step, dtype) : missing;
  }
  // A running statistic <- (1 - momentum) running + momentum value
  __device__ __forceinline__ void update(int64_t c, double value, double momentum) const {
    if (p) store_float(p, c * step, dtype, (1 - momentum) * get(c, 0) + momentum * value);
  }
};

// What stands in the arithmetic type: float, or `wide`.
struct Wide {
  void* p = nullptr;
  bool wide = false;
  __device__ __forceinline__ double get(int64_t i) const {
    return wide ? static_cast<const double*>(p)[i] : static_cast<double>(static_cast<const float*>(p)[i]);
  }
  __device__ __forceinline__ void set(int64_t i, double x) const {
    if (wide) static_cast<double*>(p)[i] = x;
    else static_cast<float*>(p)[i] = static_cast<float>(x);
  }
};

// partial: of moments (kStatistics) or of gradients. kRunning: the statistics are the running ones.
enum class Finish { kStatistics, kRunning, kBackward, kParamGrads };

// Factors [4][channels] for apply_factors: f0, f1, f2, f3 with result = g f0 + (x - f1) f2 + f3.
struct FinishArgs {
  Finish kind;
  Wide partial, mean, invstd, gw, gb, factors;
  AnyFloat w, b, running_mean, running_var;
  int64_t pieces = 0, piece = 1, channels = 0;
  double count = 1, share = 1, unbiased = 1;  // share: 1 / count; unbiased: count / (count - 1)
  double eps = 0, momentum = 0;
  bool training = false;
  FinishArgs(Finish k, const TensorView& weight, const TensorView& bias, const TensorView& rm, const TensorView& rv)
      : kind(k), w(weight), b(bias), running_mean(rm), running_var(rv) {}
  void set_count(int64_t n) {
    count = static_cast<double>(n);
    share = 1 / count;
    unbiased = count / (count - 1);
  }
};

// 32 channels a block.
template <int kThreads>
__global__ void __launch_bounds__(kThreads) finish_channels(const __grid_constant__ FinishArgs a) {
  constexpr int kY = kThreads / kWarpSize;
  FS_SHARED(double, part, [kY][2][kWarpSize]);
  const int lane = static_cast<int>(threadIdx.x) & 31, y = static_cast<int>(threadIdx.x) >> 5;
  const int64_t c = int64_t{blockIdx.x} * kWarpSize + lane;
  const bool moments = a.kind == Finish::kStatistics;
  double u = 0, v = 0;
#pragma unroll 1
  for (int pass = 0; pass < (moments ? 2 : 1); ++pass) {  // the second: how far the pieces' means are from the mean
    const double mean = u * a.share;
    double s = 0, t = 0;
    if (c < a.channels) {
#pragma unroll 1
      for (int64_t k = y; k < a.pieces; k += kY) {
        const double p = a.partial.get(2 * k * a.channels + c) - mean;
        const double left = a.count - static_cast<double>(k * a.piece), piece = static_cast<double>(a.piece);
        s += moments ? (left < piece ? left : piece) * (pass == 0 ? p : p * p) : p;
        if (pass == 0) t += a.partial.get((2 * k + 1) * a.channels + c);
      }
    }
    part[y][0][lane] = s;
    part[y][1][lane] = t;
    __syncthreads();
    if (pass == 0) u = 0;
#pragma unroll 1
    for (int k = 0; k < kY; ++k) {
      (pass == 0 ? u : v) += part[k][0][lane];
      v += part[k][1][lane];
    }
    __syncthreads();
  }
  if (y != 0 || c >= a.channels) return;
  const double w = a.w.get(c, 1);
  double mean = 0, f0 = 0, f2 = 0, f3 = 0;
  if (a.kind == Finish::kBackward || a.kind == Finish::kParamGrads) {
    a.gw.set(c, v);
    if (a.gb.p) a.gb.set(c, u);
    if (a.kind == Finish::kParamGrads) return;
    const double r = a.invstd.get(c);
    mean = a.mean.get(c);
    f0 = r * w;
    if (a.training) {
      f2 = -f0 * v * a.share * r;
      f3 = -f0 * u * a.share;
    }
  } else {
    mean = a.running_mean.get(c, 0);
    double var = a.running_var.get(c, 1);
    if (moments) {
      mean = u * a.share;
      var = v * a.share;
      a.running_mean.update(c, mean, a.momentum);
      a.running_var.update(c, var * a.unbiased, a.momentum);
    }
    const double r = 1 / sqrt(Num<double>(var + a.eps)).v;
    a.mean.set(c, mean);
    a.invstd.set(c, r);
    f2 = w * r;
    f3 = a.b.get(c, 0);
  }
  a.factors.set(c, f0);
  a.factors.set(a.channels + c, mean);
  a.factors.set(2 * a.channels + c, f2);
  a.factors.set(3 * a.channels + c, f3);
}

// ---- the elements --------------------------------------------------------------------------------------------

template <class Memory>
struct ApplyArgs {
  using T = typename Memory::Unit;
  const T *g, *x;  // g null: none
  T* to;
  const typename Memory::Compute* factors;
  int64_t numel, channels;
  LargeDivider inner, channel;
  bool vectors, lines;  // lines: a vector has kN neighbouring channels; else it is of one or two
  __device__ __forceinline__ int64_t of(int64_t i, int64_t& left) const {
    const int64_t k = inner.n == 1 ? i : inner.divide(i);
    left = (k + 1) * inner.n - i;
    return k - channel.divide(k) * channels;
  }
};

// A vector a thread, of memory [n, channels, inner].
// Compiles to: no spills, LDG.E.128, STG.E.128
template <class Memory>
__global__ void __launch_bounds__(kApplyThreads, kApplyBlocks)
    apply_factors(const Memory memory, const __grid_constant__ ApplyArgs<Memory> a) {
  using C = typename Memory::Compute;
  constexpr int kN = Memory::kN;
  const int64_t i = grid_thread() << Memory::kLogN;
  if (i >= a.numel) return;
  int64_t left = 0;
  const int64_t c = a.of(i, left);
  const C *const f0 = a.factors, *const f1 = f0 + a.channels, *const f2 = f1 + a.channels,
                 *const f3 = f2 + a.channels;
  if constexpr (kN > 1) {
    if (a.vectors && i + kN <= a.numel) {
      const Raw x = load_raw(a.x + i), g = a.g ? load_raw(a.g + i) : Raw{};
      C y[kN];
      if (a.lines) {
#pragma unroll
        for (int k = 0; k < kN; k += 4) {
          const auto p1 = Vec<float, 4>::load_global(f1 + c + k), p2 = Vec<float, 4>::load_global(f2 + c + k),
                     p3 = Vec<float, 4>::load_global(f3 + c + k);
#pragma unroll
          for (int j = 0; j < 4; ++j) y[k + j] = (memory.element(x, k + j) - p1.v[j]) * p2.v[j] + p3.v[j];
          if (!a.g) continue;
          const auto p0 = Vec<float, 4>::load_global(f0 + c + k);
#pragma unroll
          for (int j = 0; j < 4; ++j) y[k + j] += memory.element(g, k + j) * p0.v[j];
        }
      } else {
        const int64_t d = left >= kN ? c : c + 1 < a.channels ? c + 1 : 0;
        const C p1 = f1[c], p2 = f2[c], p3 = f3[c], q1 = f1[d], q2 = f2[d], q3 = f3[d];
#pragma unroll
        for (int k = 0; k < kN; ++k)
          y[k] = (memory.element(x, k) - (k < left ? p1 : q1)) * (k < left ? p2 : q2) + (k < left ? p3 : q3);
        if (a.g) {
          const C p0 = f0[c], q0 = f0[d];
#pragma unroll
          for (int k = 0; k < kN; ++k) y[k] += memory.element(g, k) * (k < left ? p0 : q0);
        }
      }
      store_raw(a.to + i, memory.narrow(y));
      return;
    }
  }
#pragma unroll 1
  for (int64_t e = i; e < i + kN && e < a.numel; ++e) {
    const int64_t d = a.of(e, left);
    C y = (memory.load(a.x + e) - f1[d]) * f2[d] + f3[d];
    if (a.g) y = memory.load(a.g + e) * f0[d] + y;
    memory.store(a.to + e, y);
  }
}

__global__ void widen_elements(const void* from, DType dtype, Wide to, int64_t n) {
#pragma unroll 1
  for (int64_t i = grid_thread(); i < n; i += grid_threads()) to.set(i, load_double(from, i, dtype));
}

// ---- launches ----------------------------------------------------------------------------------------------

void finish(FinishArgs a, int64_t channels) {
  a.channels = channels;
  FS_LAUNCH((finish_channels<kFinishThreads>), grid_for(channels, kWarpSize, INT32_MAX), kFinishThreads, 0,
            current_stream(), a);
}
void take(FinishArgs& a, const ChannelSums& sums, bool wide) {
  a.partial = {sums.partial(), wide};
  a.pieces = sums.pieces();
  a.piece = sums.piece();
}

template <class Memory, class T = typename Memory::Unit, class C = typename Memory::Compute>
void apply(const Memory& memory, const ChannelShape& s, const T* g, const T* x, T* to, const C* factors) {
  constexpr int kN = Memory::kN;
  const int64_t numel = s.count() * s.channels;
  const bool lines = s.inner == 1 && s.channels % kN == 0, vectors = (lines || s.inner >= kN) && aligned_for(x, 16) &&
                                                                     aligned_for(to, 16) &&
                                                                     (!g || aligned_for(g, 16));
  const ApplyArgs<Memory> a{g,
                            x,
                            to,
                            factors,
                            numel,
                            s.channels,
                            LargeDivider(s.inner, numel),
                            LargeDivider(s.channels, numel / s.inner),
                            vectors,
                            lines};
  FS_LAUNCH((apply_factors<Memory>), grid_for(numel, kApplyThreads * kN, INT32_MAX), kApplyThreads, 0,
            current_stream(), memory, a);
}

}  // namespace

void convert_floats(const TensorView& v, bool to_double, void* to) {
  FS_LAUNCH(widen_elements, grid_for(v.numel, 256, 1024), 256, 0, current_stream(), v.ptr<void>(), v.dtype,
            Wide{to, to_double}, v.numel);
}

void write_param_grads(void* partial, int64_t pieces, int64_t channels, bool in_double, void* gw, void* gb) {
  FinishArgs a(Finish::kParamGrads, {}, {}, {}, {});
  a.partial = {partial, in_double};
  a.pieces = pieces;
  a.gw = {gw, in_double};
  a.gb = {gb, in_double};
  finish(a, channels);
}

// in: x [N, C, …], weight, bias, running mean, running var (each may be absent; the running ones are updated in place
// when training). out: y in x's layout, mean and invstd [C] (compute type) as used.
void batch_norm(const KernelArgs& args) {
  const auto& a = args.attrs<BatchNormAttrs>();
  const TensorView& in = args.in[0];
  if (in.numel == 0) return;
  const bool last = !in.contiguous && channels_last_dense(in);
  const ChannelShape s = batch_shape(in, last);
  const InLayout x(in, last);
  dispatch_row_memory(in.dtype, [&](auto memory) {
    using T = typename decltype(memory)::Unit;
    using C = typename decltype(memory)::Compute;
    const Scratch factors(static_cast<size_t>(4 * s.channels) * sizeof(C));
    constexpr bool kWide = sizeof(C) == 8;
    FinishArgs f(a.training ? Finish::kStatistics : Finish::kRunning, args.in[1], args.in[2], args.in[3], args.in[4]);
    f.set_count(s.count());
    f.eps = a.eps;
    f.momentum = a.momentum;
    f.mean = {args.out[1].ptr<void>(), kWide};
    f.invstd = {args.out[2].ptr<void>(), kWide};
    f.factors = {factors.ptr<void>(), kWide};
    std::optional<ChannelSums> sums;
    if (a.training) take(f, sums.emplace(s, in.dtype, nullptr, x.ptr<void>(), nullptr, nullptr), kWide);
    finish(f, s.channels);
    apply(memory, s, static_cast<const T*>(nullptr), x.ptr<T>(), args.out[0].ptr<T>(), factors.ptr<C>());
  });
}

// in: g, x, weight or absent, mean, invstd. out: gx in x's layout, gw, gb [C] (compute type).
// training: gx = w invstd (g - mean(g) - xhat mean(g xhat)); evaluation: gx = w invstd g.
void batch_norm_backward(const KernelArgs& args) {
  const auto& a = args.attrs<BatchNormAttrs>();
  const TensorView& in = args.in[1];
  if (in.numel == 0) {
    for (int k = 1; k < 3; ++k)
      if (args.out[k].numel > 0) fill_view(args.out[k], 0);
    return;
  }
  const bool last = !in.contiguous && channels_last_dense(in);
  const ChannelShape s = batch_shape(in, last);
  const InLayout g(args.in[0], last), x(in, last);
  dispatch_row_memory(in.dtype, [&](auto memory) {
    using T = typename decltype(memory)::Unit;
    using C = typename decltype(memory)::Compute;
    const Scratch factors(static_cast<size_t>(4 * s.channels) * sizeof(C));
    constexpr bool kWide = sizeof(C) == 8;
    const ChannelSums sums(s, in.dtype, g.ptr<void>(), x.ptr<void>(), args.in[3].ptr<void>(), args.in[4].ptr<void>());
    FinishArgs f(Finish::kBackward, args.in[2], {}, {}, {});
    take(f, sums, kWide);
    f.set_count(s.count());
    f.training = a.training != 0;
    f.mean = {args.in[3].ptr<void>(), kWide};
    f.invstd = {args.in[4].ptr<void>(), kWide};
    f.gw = {args.out[1].ptr<void>(), kWide};
    f.gb = {args.out[2].ptr<void>(), kWide};
    f.factors = {factors.ptr<void>(), kWide};
    finish(f, s.channels);
    apply(memory, s, g.ptr<T>(), x.ptr<T>(), args.out[0].ptr<T>(), factors.ptr<C>());
  });
}

}  // namespace fireseed::cuda

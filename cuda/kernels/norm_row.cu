// layer_norm, rms_norm and group_norm: statistics of rows that are contiguous, forward and backward.
#include "kernels/norm.cuh"
#include "tensor/attrs/norm.h"

namespace fireseed::cuda {
namespace {

// `rows` rows of n elements. Element i of a row has the parameters of channel row % groups * per + i / inner:
// layer_norm is one group with as many channels as elements.
struct RowShape { int64_t rows, n, groups, per, inner; };

// Channel of element i of a row.
struct ChannelOf {
  int64_t first, inner;
  __device__ __forceinline__ ChannelOf(const RowShape& s, int64_t row)
      : first(s.groups > 1 ? row % s.groups * s.per : 0), inner(s.inner) {}
  __device__ __forceinline__ int64_t operator()(int64_t i) const { return first + (inner > 1 ? i / inner : i); }
};

// kLanes threads a row. y = (x - mean) rstd w + b; kCenter: else the mean is taken as zero (rms_norm).
// Compiles to: no spills
template <bool kCenter, class T, int kThreads, int kLanes, class C = compute_type<T>>
__global__ void __launch_bounds__(kThreads)
    norm_rows(const T* x, const C* w, const C* b, T* y, C* mean_out, C* rstd_out, RowShape s, double eps) {
  constexpr int kRows = kThreads / kLanes;
  const int lane = static_cast<int>(threadIdx.x) % kLanes;
  for (int64_t r = int64_t{blockIdx.x} * kRows + threadIdx.x / kLanes; r < s.rows; r += int64_t{gridDim.x} * kRows) {
    const T* row = x + r * s.n;
    C mean = 0, squares = 0;
    if constexpr (kCenter) {
      for (int64_t i = lane; i < s.n; i += kLanes) mean += load_as<C>(row[i]);
      mean = row_reduce<kThreads, kLanes>(mean, AddOp{}) / static_cast<C>(s.n);
    }
    for (int64_t i = lane; i < s.n; i += kLanes) {
      const C d = load_as<C>(row[i]) - mean;
      squares += d * d;
    }
    squares = row_reduce<kThreads, kLanes>(squares, AddOp{});
    const C rstd = C(1) / sqrt(Num<C>(squares / static_cast<C>(s.n) + static_cast<C>(eps))).v;
    if (lane == 0) {
      if constexpr (kCenter) mean_out[r] = mean;
      rstd_out[r] = rstd;
    }
    const ChannelOf channel(s, r);
    for (int64_t i = lane; i < s.n; i += kLanes) {
      C v = (load_as<C>(row[i]) - mean) * rstd;
      const int64_t c = channel(i);
      if (w) v *= w[c];
      if (b) v += b[c];
      y[r * s.n + i] = store_as<T>(v);
    }
  }
}

// gx = rstd (wg - mean(wg) - xhat mean(wg xhat)) with wg = w g.
// Compiles to: no spills
template <bool kCenter, class T, int kThreads, int kLanes, class C = compute_type<T>>
__global__ void __launch_bounds__(kThreads)
    norm_backward_rows(const T* g, const T* x, const C* w, const C* mean, const C* rstd, T* gx, RowShape s) {
  constexpr int kRows = kThreads / kLanes;
  const int lane = static_cast<int>(threadIdx.x) % kLanes;
  for (int64_t r = int64_t{blockIdx.x} * kRows + threadIdx.x / kLanes; r < s.rows; r += int64_t{gridDim.x} * kRows) {
    const int64_t base = r * s.n;
    const C m = kCenter ? mean[r] : C(0), rs = rstd[r];
    const ChannelOf channel(s, r);
    C a = 0, b = 0;
    for (int64_t i = lane; i < s.n; i += kLanes) {
      C wg = load_as<C>(g[base + i]);
      if (w) wg *= w[channel(i)];
      a += wg;
      b += wg * ((load_as<C>(x[base + i]) - m) * rs);
    }
    a = kCenter ? row_reduce<kThreads, kLanes>(a, AddOp{}) / static_cast<C>(s.n) : C(0);
    b = row_reduce<kThreads, kLanes>(b, AddOp{}) / static_cast<C>(s.n);
    for (int64_t i = lane; i < s.n; i += kLanes) {
      C wg = load_as<C>(g[base + i]);
      if (w) wg *= w[channel(i)];
      gx[base + i] = store_as<T>((wg - a - (load_as<C>(x[base + i]) - m) * rs * b) * rs);
    }
  }
}

// Calls f(std::integral_constant): the number of threads a row should have.
template <class F>
void dispatch_lanes(int64_t n, F&& f) {
  if (n <= 1024) f(std::integral_constant<int, kWarpSize>{});
  else f(std::integral_constant<int, kNormThreads>{});
}
unsigned blocks_for(const RowShape& s, int lanes) { return grid_for(s.rows, kNormThreads / lanes, 1 << 16); }

template <bool kCenter>
void forward(const KernelArgs& args, const RowShape& s, double eps) {
  if (s.rows == 0) return;
  const Contiguous x(args.in[0]);
  dispatch_float(args.in[0].dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_type<T>;
    const Params<C> w(args.in[1]), b(kCenter ? args.in[2] : TensorView{});
    dispatch_lanes(s.n, [&](auto lanes) {
      constexpr int kLanes = decltype(lanes)::value;
      FS_LAUNCH((norm_rows<kCenter, T, kNormThreads, kLanes>), blocks_for(s, kLanes), kNormThreads, 0,
                current_stream(), x.ptr<T>(), w.data(), b.data(), args.out[0].ptr<T>(),
                kCenter ? args.out[1].ptr<C>() : nullptr, args.out[kCenter ? 2 : 1].ptr<C>(), s, eps);
    });
  });
}

// `channels`: of the sums that are gw and gb.
template <bool kCenter>
void backward(const KernelArgs& args, const RowShape& s, const ChannelShape& channels) {
  if (args.in[1].numel == 0) {
    for (int i = 1; i < args.num_out; ++i) fill_zero(args.out[i]);
    return;
  }
  const Contiguous g(args.in[0]), x(args.in[1]);
  dispatch_float(args.in[1].dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_type<T>;
    const Params<C> w(args.in[2]);
    const C* mean = kCenter ? args.in[3].ptr<C>() : nullptr;
    const C* rstd = args.in[kCenter ? 4 : 3].ptr<C>();
    dispatch_lanes(s.n, [&](auto lanes) {
      constexpr int kLanes = decltype(lanes)::value;
      FS_LAUNCH((norm_backward_rows<kCenter, T, kNormThreads, kLanes>), blocks_for(s, kLanes), kNormThreads, 0,
                current_stream(), g.ptr<T>(), x.ptr<T>(), w.data(), mean, rstd, args.out[0].ptr<T>(), s);
    });
    ChannelSums<T> sums(channels);
    sums.template run<ChannelSum::kGradient>(x.ptr<T>(), g.ptr<T>(), mean, rstd);
    FS_LAUNCH((write_param_grads<C>), grid_for(channels.channels, 256, INT32_MAX), 256, 0, current_stream(),
              sums.partial(), sums.pieces(), channels.channels, args.out[1].ptr<C>(),
              kCenter ? args.out[2].ptr<C>() : nullptr);
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
  forward<true>(args, line_shape(args.in[0], a.size), a.eps);
}
// in: g, x, weight or absent, mean, rstd. out: gx, gw, gb (compute type, [size]).
void layer_norm_backward(const KernelArgs& args) {
  const int64_t n = args.attrs<LayerNormAttrs>().size;
  backward<true>(args, line_shape(args.in[1], n), line_channels(args.in[1], n));
}
// in: x, weight or absent. out: y, rstd.
void rms_norm(const KernelArgs& args) {
  const auto& a = args.attrs<LayerNormAttrs>();
  forward<false>(args, line_shape(args.in[0], a.size), a.eps);
}
// in: g, x, weight or absent, rstd. out: gx, gw.
void rms_norm_backward(const KernelArgs& args) {
  const int64_t n = args.attrs<LayerNormAttrs>().size;
  backward<false>(args, line_shape(args.in[1], n), line_channels(args.in[1], n));
}
// in: x, weight or absent, bias or absent. out: y, mean and rstd [N, groups] (compute type).
void group_norm(const KernelArgs& args) {
  const auto& a = args.attrs<GroupNormAttrs>();
  forward<true>(args, group_shape(args.in[0], a.groups), a.eps);
}
// in: g, x, weight or absent, mean, rstd. out: gx, gw, gb (compute type, [C]).
void group_norm_backward(const KernelArgs& args) {
  const TensorView& x = args.in[1];
  const RowShape s = group_shape(x, args.attrs<GroupNormAttrs>().groups);
  backward<true>(args, s, {x.sizes[0], x.sizes[1], s.inner, s.groups, s.per});
}

}  // namespace fireseed::cuda

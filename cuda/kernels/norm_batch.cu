// batch_norm over planes (NC…) and over channels-last memory, forward and backward.
#include "kernels/norm.cuh"
#include "tensor/attrs/norm.h"

namespace fireseed::cuda {
namespace {

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

// A running statistic, or nothing.
struct Running {
  void* p = nullptr;
  int64_t step = 0;
  DType dtype = DType::kUndefined;
  explicit Running(const TensorView& v) {
    if (!v.defined()) return;
    p = v.data;
    step = v.strides[0];
    dtype = v.dtype;
  }
  // running <- (1 - momentum) running + momentum value
  __device__ __forceinline__ void update(int64_t c, double value, double momentum) const {
    if (p) store_number(p, c * step, dtype, (1 - momentum) * load_double(p, c * step, dtype) + momentum * value);
  }
  __device__ __forceinline__ double get(int64_t c, double missing) const {
    return p ? load_double(p, c * step, dtype) : missing;
  }
};

template <class C>
__global__ void write_mean(const C* partial, int64_t pieces, int64_t channels, double count, Running running,
                           double momentum, C* mean) {
  const int64_t c = grid_thread();
  if (c >= channels) return;
  const double m = channel_total(partial, pieces, channels, 0, c) / count;
  mean[c] = static_cast<C>(m);
  running.update(c, m, momentum);
}
template <class C>
__global__ void write_invstd(const C* partial, int64_t pieces, int64_t channels, double count, Running running,
                             double momentum, double eps, C* invstd) {
  const int64_t c = grid_thread();
  if (c >= channels) return;
  const double var = channel_total(partial, pieces, channels, 0, c) / count;
  invstd[c] = static_cast<C>(1 / sqrt(Num<double>(var + eps)).v);
  running.update(c, var * (count / (count - 1)), momentum);
}
template <class C>
__global__ void use_running(Running mean, Running var, int64_t channels, double eps, C* mean_out, C* invstd) {
  const int64_t c = grid_thread();
  if (c >= channels) return;
  mean_out[c] = static_cast<C>(mean.get(c, 0));
  invstd[c] = static_cast<C>(1 / sqrt(Num<double>(var.get(c, 1) + eps)).v);
}

// Channel of element i of memory [n, channels, inner].
template <class I>
struct ChannelAt {
  Divider<I> inner, channels;
  explicit ChannelAt(const ChannelShape& s) : inner(s.inner), channels(s.channels) {}
  __device__ __forceinline__ I operator()(I i) const {
    const I k = inner.divide(i);
    return k - channels.divide(k) * static_cast<I>(channels.d);
  }
};

template <class T, class I, class C = compute_type<T>>
__global__ void normalize(const T* x, const C* mean, const C* invstd, const C* w, const C* b, T* y,
                          ChannelAt<I> channel, int64_t n) {
  for (int64_t i = grid_thread(); i < n; i += grid_threads()) {
    const I c = channel(static_cast<I>(i));
    C v = (load_as<C>(x[i]) - mean[c]) * (w ? w[c] * invstd[c] : invstd[c]);
    if (b) v += b[c];
    y[i] = store_as<T>(v);
  }
}

// factors [3][channels]: gx = g f0 + (x - mean) f1 + f2. Writes gw and gb too.
template <class C>
__global__ void write_factors(const C* partial, int64_t pieces, int64_t channels, double count, bool training,
                              const C* w, const C* invstd, C* factors, C* gw, C* gb) {
  const int64_t c = grid_thread();
  if (c >= channels) return;
  const double sg = channel_total(partial, pieces, channels, 0, c),
               sgx = channel_total(partial, pieces, channels, 1, c);  // of g xhat
  gw[c] = static_cast<C>(sgx);
  gb[c] = static_cast<C>(sg);
  const double r = static_cast<double>(invstd[c]), f = r * (w ? static_cast<double>(w[c]) : 1.0);
  factors[c] = static_cast<C>(f);
  factors[channels + c] = training ? static_cast<C>(-f * sgx / count * r) : C(0);
  factors[2 * channels + c] = training ? static_cast<C>(-f * sg / count) : C(0);
}

template <class T, class I, class C = compute_type<T>>
__global__ void normalize_backward(const T* g, const T* x, const C* mean, const C* factors, T* gx,
                                   ChannelAt<I> channel, int64_t channels, int64_t n) {
  for (int64_t i = grid_thread(); i < n; i += grid_threads()) {
    const I c = channel(static_cast<I>(i));
    gx[i] = store_as<T>(load_as<C>(g[i]) * factors[c] + (load_as<C>(x[i]) - mean[c]) * factors[channels + c] +
                        factors[2 * channels + c]);
  }
}

}  // namespace

// in: x [N, C, …], weight, bias, running mean, running var (each may be absent; the running ones are updated in place
// when training). out: y in x's layout, mean and invstd [C] (compute type) as used.
void batch_norm(const KernelArgs& args) {
  const auto& a = args.attrs<BatchNormAttrs>();
  const TensorView& in = args.in[0];
  if (in.numel == 0) return;
  const bool last = !in.contiguous && channels_last_dense(in);
  const ChannelShape s = batch_shape(in, last);
  const InLayout x(in, last);
  const Running running_mean(args.in[3]), running_var(args.in[4]);
  const auto count = static_cast<double>(s.count());
  const unsigned blocks = grid_for(s.channels, 128, INT32_MAX);
  dispatch_float(in.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_type<T>;
    const Params<C> w(args.in[1]), b(args.in[2]);
    C *mean = args.out[1].ptr<C>(), *invstd = args.out[2].ptr<C>();
    if (a.training) {
      ChannelSums<T> sums(s);
      sums.template run<ChannelSum::kValue>(x.ptr<T>(), nullptr, nullptr, nullptr);
      FS_LAUNCH((write_mean<C>), blocks, 128, 0, current_stream(), sums.partial(), sums.pieces(), s.channels, count,
                running_mean, a.momentum, mean);
      sums.template run<ChannelSum::kSquare>(x.ptr<T>(), nullptr, mean, nullptr);
      FS_LAUNCH((write_invstd<C>), blocks, 128, 0, current_stream(), sums.partial(), sums.pieces(), s.channels, count,
                running_var, a.momentum, a.eps, invstd);
    } else {
      FS_LAUNCH((use_running<C>), blocks, 128, 0, current_stream(), running_mean, running_var, s.channels, a.eps,
                mean, invstd);
    }
    dispatch_index(in.numel < INT32_MAX, [&](auto index_tag) {
      using I = typename decltype(index_tag)::type;
      FS_LAUNCH((normalize<T, I>), grid_for(in.numel, 256, 1 << 16), 256, 0, current_stream(), x.ptr<T>(), mean,
                invstd, w.data(), b.data(), args.out[0].ptr<T>(), ChannelAt<I>(s), in.numel);
    });
  });
}

// in: g, x, weight or absent, mean, invstd. out: gx in x's layout, gw, gb [C] (compute type).
// training: gx = w invstd (g - mean(g) - xhat mean(g xhat)); evaluation: gx = w invstd g.
void batch_norm_backward(const KernelArgs& args) {
  const auto& a = args.attrs<BatchNormAttrs>();
  const TensorView& in = args.in[1];
  if (in.numel == 0) {
    fill_zero(args.out[1]);
    fill_zero(args.out[2]);
    return;
  }
  const bool last = !in.contiguous && channels_last_dense(in);
  const ChannelShape s = batch_shape(in, last);
  const InLayout g(args.in[0], last), x(in, last);
  dispatch_float(in.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_type<T>;
    const Params<C> w(args.in[2]);
    const C *mean = args.in[3].ptr<C>(), *invstd = args.in[4].ptr<C>();
    ChannelSums<T> sums(s);
    sums.template run<ChannelSum::kGradient>(x.ptr<T>(), g.ptr<T>(), mean, invstd);
    const Scratch factors(static_cast<size_t>(3 * s.channels) * sizeof(C));
    FS_LAUNCH((write_factors<C>), grid_for(s.channels, 128, INT32_MAX), 128, 0, current_stream(), sums.partial(),
              sums.pieces(), s.channels, static_cast<double>(s.count()), a.training != 0, w.data(), invstd,
              factors.ptr<C>(), args.out[1].ptr<C>(), args.out[2].ptr<C>());
    dispatch_index(in.numel < INT32_MAX, [&](auto index_tag) {
      using I = typename decltype(index_tag)::type;
      FS_LAUNCH((normalize_backward<T, I>), grid_for(in.numel, 256, 1 << 16), 256, 0, current_stream(), g.ptr<T>(),
                x.ptr<T>(), mean, factors.ptr<C>(), args.out[0].ptr<T>(), ChannelAt<I>(s), s.channels, in.numel);
    });
  });
}

}  // namespace fireseed::cuda

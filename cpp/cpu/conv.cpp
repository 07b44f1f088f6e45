// Kernels of convolutions: forward, gradient to the input (also the transposed convolution), gradient to the weight.
#include "cpu/conv.h"

#include "base/parallel.h"
#include "tensor/attrs/conv.h"
#include "tensor/view.h"

namespace fireseed::cpu::FS_ISA {
namespace {

// Size or stride of spatial axis i (0..2 = depth, height, width) of a view with `rank` spatial axes.
int64_t spatial_size(const TensorView& v, int64_t rank, int i) { return i < 3 - rank ? 1 : v.size(i - 3); }
int64_t spatial_stride(const TensorView& v, int64_t rank, int i) { return i < 3 - rank ? 0 : v.stride(i - 3); }

// The operands in float or double: themselves, or converted from halves.
template <class S>
struct Operand {
  using T = compute_type<S>;
  explicit Operand(const TensorView& v) {
    if constexpr (same_type<S, T>) {
      data = v.ptr<T>();
    } else {
      copy.reset(v.numel);
      const S* s = v.ptr<S>();
      parallel_for(v.numel, 65536, [&](int64_t begin, int64_t end) {
        constexpr int kV = Vec<T>::kSize;
        int64_t i = begin;
        for (; i + kV <= end; i += kV) load_float(s + i).store(copy.data() + i);
        for (; i < end; ++i) copy[i] = static_cast<T>(s[i]);
      });
      data = copy.data();
    }
  }
  Scratch<T> copy;
  T* data = nullptr;
};

// The result likewise: written in float or double, converted by finish().
template <class S>
struct Result {
  using T = compute_type<S>;
  explicit Result(const TensorView& v) : view(v) {
    if constexpr (same_type<S, T>) {
      data = v.ptr<T>();
    } else {
      copy.reset(v.numel);
      data = copy.data();
    }
  }
  void finish() {
    if constexpr (!same_type<S, T>) {
      S* d = view.ptr<S>();
      parallel_for(view.numel, 65536, [&](int64_t begin, int64_t end) {
        constexpr int kV = Vec<T>::kSize;
        int64_t i = begin;
        for (; i + kV <= end; i += kV) store_float(d + i, Vec<T>::load(data + i));
        for (; i < end; ++i) d[i] = S(data[i]);
      });
    }
  }
  const TensorView& view;
  Scratch<T> copy;
  T* data = nullptr;
};

template <class T>
void set_strides(ConvJob<T>& job, const TensorView& src, const TensorView& out) {
  job.src_channel = job.axis[0].src * job.axis[1].src * job.axis[2].src;
  job.src_image = src.size(1) * job.src_channel;
  int64_t plane = 1;
  for (int i = 2; i < out.ndim; ++i) plane *= out.size(i);
  job.out_channel = plane;
  job.out_image = out.size(1) * plane;
}

// A kernel of one element, unpadded, stride 1: pixels are one long row.
template <class T>
bool flatten_pointwise(ConvJob<T>& job) {
  int64_t size = 1;
  for (const ConvAxis& a : job.axis) {
    if (a.taps != 1 || a.off0 != 0 || a.step != 1 || a.src != a.out) return false;
    size *= a.out;
  }
  if (job.out_step[2] != 1 || (job.axis[1].out > 1 && job.out_step[1] != job.axis[2].out) ||
      (job.axis[0].out > 1 && job.out_step[0] != job.axis[1].out * job.axis[2].out))
    return false;
  for (int i = 0; i < 3; ++i) job.weight += job.axis[i].ker0 * job.w_tap[i];  // a stride phase has any of the taps
  const ConvAxis one = {1, 1, 1, 1, 0, 1, 0, 1};
  job.axis[0] = job.axis[1] = one;
  job.axis[2] = {size, 1, size, 1, 0, 1, 0, 1};
  return true;
}

// Output channels would fill little of a vector of them, but pixels of a row fill one, and L2 holds a band of four
// rows.
template <class T>
bool few_outputs(const ConvJob<T>& job) {
  constexpr int64_t kV = Vec<T>::kSize;
  const ConvAxis &ay = job.axis[1], &ax = job.axis[2];
  const int64_t row_bytes = job.channels * job.axis[0].taps * (ax.out + 2 * kV) * static_cast<int64_t>(sizeof(T));
  return (job.rows <= 4 || (job.groups > 1 && job.rows <= 8)) && job.taps() > 1 && ay.step == 1 && ax.step == 1 &&
         job.out_step[2] <= 2 && ay.out >= 4 && ax.out >= kV && 4 * ax.out >= 3 * ((ax.out + kV - 1) / kV * kV) &&
         4 * row_bytes <= kBandBytes;
}

template <class T>
void run_job(ConvJob<T> job) {
  if (conv_whole(job)) return;
  if (job.channels == 1) return conv_direct(job);
  if (few_outputs(job)) return conv_direct(job);
  const bool pointwise = flatten_pointwise(job);
  if (pointwise && (job.axis[2].out >= 256 || (job.batch == 1 && job.axis[2].out >= 32))) {
    GemmCall<T> g{};
    g.m = job.rows;
    g.n = job.axis[2].out;
    g.k = job.channels;
    g.a_row = job.w_row;
    g.a_col = job.w_channel;
    g.b_row = job.src_channel;
    g.b_col = 1;
    g.c_row = job.out_channel;
    g.c_col = 1;
    const int64_t products = g.m * g.n * g.k;
    parallel_for(job.batch * job.groups,
                 products > 16 * kChunkProducts && job.batch * job.groups < 8
                     ? job.batch * job.groups
                     : items_in_chunk(job.batch * job.groups, products),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t i = begin; i < end; ++i) {
                     const int64_t n = i / job.groups, group = i % job.groups;
                     GemmCall<T> one = g;
                     one.a = job.weight + group * job.w_group;
                     one.b = job.src + n * job.src_image + group * job.channels * job.src_channel;
                     one.c = job.out + n * job.out_image + group * job.rows * job.out_channel;
                     one.bias_row = job.bias ? job.bias + group * job.rows : nullptr;
                     gemm(one);
                   }
                 });
    return;
  }
  if (conv_pixels(job)) return;
  if constexpr (same_type<T, float>) {
    if (conv_winograd(job)) return;
  }
  conv_gemm(job);
}

// Bias as `count` contiguous T; null where there is none.
template <class S>
const compute_type<S>* bias_values(const KernelArgs& args, Scratch<compute_type<S>>& room) {
  if (args.num_in < 3 || !args.in[2].defined()) return nullptr;
  const TensorView& b = args.in[2];
  room.reset(b.numel + 1);
  for (int64_t i = 0; i < b.numel; ++i) room[i] = static_cast<compute_type<S>>(b.ptr<S>()[i * b.stride(0)]);
  return room.data();
}

template <class T>
ConvJob<T> forward_job(const ConvAttrs& at, const TensorView& x, const TensorView& w, const int64_t* ker,
                       const TensorView& y) {
  ConvJob<T> job{};
  for (int i = 0; i < 3; ++i)
    job.axis[i] = conv_axis(at.stride[i], at.padding[i], at.dilation[i], spatial_size(x, at.rank, i), ker[i],
                            spatial_size(y, at.rank, i));
  job.batch = x.size(0);
  job.groups = at.groups;
  job.channels = x.size(1) / at.groups;
  job.rows = y.size(1) / at.groups;
  set_strides(job, x, y);
  job.out_step[2] = 1;
  job.out_step[1] = job.axis[2].out;
  job.out_step[0] = job.axis[1].out * job.axis[2].out;
  job.w_row = w.stride(0);
  job.w_channel = w.stride(1);
  job.w_group = job.rows * job.w_row;
  for (int i = 0; i < 3; ++i) job.w_tap[i] = spatial_stride(w, at.rank, i);
  return job;
}

}  // namespace

// in: x (n, c, spatial...) contiguous, weight (m, c / groups, kernel...), optional bias (m); out (n, m, size...).
void conv(const KernelArgs& args) {
  const ConvAttrs& at = args.attrs<ConvAttrs>();
  dispatch_float(args.out[0].dtype, [&](auto tag) {
    using S = typename decltype(tag)::type;
    using T = compute_type<S>;
    if (args.out[0].numel == 0) return;
    const Operand<S> x(args.in[0]);
    const TensorView& wv = args.in[1];
    const Operand<S> w(wv);
    Result<S> y(args.out[0]);
    Scratch<T> bias;
    int64_t ker[3];
    for (int i = 0; i < 3; ++i) ker[i] = spatial_size(wv, at.rank, i);
    ConvJob<T> job = forward_job<T>(at, args.in[0], wv, ker, args.out[0]);
    job.src = x.data;
    job.weight = w.data;
    job.out = y.data;
    job.bias = bias_values<S>(args, bias);
    run_job(job);
    y.finish();
  });
}

// in: g (n, m, spatial...) contiguous, weight (m, c / groups, kernel...), optional bias (c); out (n, c, size...):
// each stride phase of the output is a convolution of its own with stride 1.
void conv_backward_input(const KernelArgs& args) {
  const ConvAttrs& at = args.attrs<ConvAttrs>();
  dispatch_float(args.out[0].dtype, [&](auto tag) {
    using S = typename decltype(tag)::type;
    using T = compute_type<S>;
    const TensorView &gv = args.in[0], &wv = args.in[1], &xv = args.out[0];
    if (xv.numel == 0) return;
    const Operand<S> g(gv), w(wv);
    Result<S> x(xv);
    Scratch<T> bias;
    ConvJob<T> job{};
    job.batch = gv.size(0);
    job.groups = at.groups;
    job.channels = gv.size(1) / at.groups;
    job.rows = xv.size(1) / at.groups;
    job.bias = bias_values<S>(args, bias);
    job.src = g.data;
    job.weight = w.data;
    job.w_row = wv.stride(1);
    job.w_channel = wv.stride(0);
    job.w_group = job.channels * job.w_channel;
    for (int i = 0; i < 3; ++i) job.w_tap[i] = spatial_stride(wv, at.rank, i);

    ConvAxis phase[3];
    const auto make_phase = [&](int i, int64_t r) {  // false: no tap falls onto this phase
      phase[i] = conv_phase(at.stride[i], at.padding[i], at.dilation[i], spatial_size(gv, at.rank, i),
                            spatial_size(wv, at.rank, i), spatial_size(xv, at.rank, i), r);
      return phase[i].taps > 0;
    };
    const int64_t phases[3] = {at.stride[0], at.stride[1], at.stride[2]};
    int64_t in[3];
    for (int i = 0; i < 3; ++i) in[i] = spatial_size(xv, at.rank, i);
    bool empty_phase = job.channels == 0;
    for (int i = 0; i < 3; ++i)
      for (int64_t r = 0; r < phases[i] && r < in[i]; ++r) empty_phase |= !make_phase(i, r);
    const int64_t plane = in[0] * in[1] * in[2];
    if (empty_phase) {  // what no tap reaches is the bias alone
      parallel_for(xv.size(0) * xv.size(1), 16384 / plane + 1, [&](int64_t begin, int64_t end) {
        for (int64_t c = begin; c < end; ++c) {
          const T b = job.bias ? job.bias[c % xv.size(1)] : T(0);
          for (int64_t i = 0; i < plane; ++i) x.data[c * plane + i] = b;
        }
      });
    }
    for (int64_t rz = 0; rz < phases[0] && rz < in[0]; ++rz)
      for (int64_t ry = 0; ry < phases[1] && ry < in[1]; ++ry)
        for (int64_t rx = 0; rx < phases[2] && rx < in[2]; ++rx) {
          if (job.channels == 0 || !make_phase(0, rz) || !make_phase(1, ry) || !make_phase(2, rx)) continue;
          const auto make_part = [&](int64_t x0) {
            ConvJob<T> part = job;
            for (int i = 0; i < 3; ++i) part.axis[i] = phase[i];
            set_strides(part, gv, xv);
            part.out_step[0] = phases[0] * in[1] * in[2];
            part.out_step[1] = phases[1] * in[2];
            part.out_step[2] = phases[2];
            part.out = x.data + (rz * in[1] + ry) * in[2] + x0;
            return part;
          };
          const ConvJob<T> part = make_part(rx);
          if (job.channels == 1 && phases[2] == 2 && rx == 0 && in[2] > 1 && make_phase(2, 1)) {
            conv_direct_phases(part, make_part(1));
            break;
          }
          run_job(part);
        }
    x.finish();
  });
}

// in: x (n, c, spatial...), g (n, m, spatial...), both contiguous; out (m, c / groups, size...).
void conv_backward_weight(const KernelArgs& args) {
  const ConvAttrs& at = args.attrs<ConvAttrs>();
  dispatch_float(args.out[0].dtype, [&](auto tag) {
    using S = typename decltype(tag)::type;
    using T = compute_type<S>;
    const TensorView& wv = args.out[0];
    if (wv.numel == 0) return;
    const Operand<S> x(args.in[0]), g(args.in[1]);
    Result<S> w(wv);
    ConvJob<T> job = forward_job<T>(at, args.in[0], wv, at.size, args.in[1]);
    job.src = x.data;
    if (conv_whole_weight(job, static_cast<const T*>(g.data), w.data)) return w.finish();
    if (job.channels == 1 && (job.rows <= 8 || job.groups > 1 || (job.batch >= 8 && job.taps() <= 9))) {
      conv_direct_weight(job, static_cast<const T*>(g.data), w.data);
    } else {
      flatten_pointwise(job);
      if (conv_taps_weight(job, static_cast<const T*>(g.data), w.data)) return w.finish();
      if constexpr (same_type<T, float>) {
        if (conv_winograd_weight(job, g.data, w.data)) return w.finish();
      }
      conv_weight(job, static_cast<const T*>(g.data), w.data);
    }
    w.finish();
  });
}

}  // namespace fireseed::cpu::FS_ISA

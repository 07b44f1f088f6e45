// conv, conv_backward_input and conv_backward_weight: their views as launches, and the choice of kernel.
#include "device/rows.cuh"
#include "kernels/conv.cuh"
#include "kernels/gemm.cuh"
#include "runtime/allocator.h"
#include "runtime/stream.h"
#include "tensor/backend.h"

namespace fireseed::cuda {
namespace {

// Size or stride of spatial axis i (0..2 = depth, height, width) of a view with `rank` spatial axes.
int64_t spatial_size(const TensorView& v, int64_t rank, int i) { return i < 3 - rank ? 1 : v.size(i - 3); }
int64_t spatial_stride(const TensorView& v, int64_t rank, int i) { return i < 3 - rank ? 0 : v.stride(i - 3); }

// Whether offsets in v, from dimension `first` on, are of 31 bits.
void check_offsets(const TensorView& v, int first, const char* what) {
  int64_t last = 0;
  for (int i = first; i < v.ndim; ++i) last += (v.size(i) - 1) * v.stride(i);
  FS_CHECK(last < int64_t{1} << 31, "convolution on CUDA: ", what, " of shape ", v.shape(),
           " spans 2^31 elements or more; cut it into smaller pieces");
}

PixelAxis pixel_axis(const ConvAxis& a, int64_t first, int64_t pace) {
  const auto i = [](int64_t n) { return static_cast<int32_t>(n); };
  return {i(a.out),
          i(a.step),
          i(a.src),
          i(a.taps),
          i(a.off0),
          i(a.doff),
          i(a.ker0),
          i(a.dker),
          i(first),
          i(pace),
          Divider<int32_t>(a.out),
          Divider<int32_t>(std::max<int64_t>(1, a.taps))};
}

// All but the axes. w_row, w_channel, w_group: strides of the weight by output channel, by channel and by group.
ConvJob job_of(const ConvAttrs& at, const TensorView& src, const TensorView& w, const TensorView& out) {
  check_offsets(src, 1, "an image");
  check_offsets(w, 0, "a weight");
  check_offsets(out, 1, "an image");
  ConvJob job{};
  job.dtype = src.dtype;
  job.batch = static_cast<int32_t>(src.size(0));
  job.groups = static_cast<int32_t>(at.groups);
  job.channels = static_cast<int32_t>(src.size(1) / at.groups);
  job.rows = static_cast<int32_t>(out.size(1) / at.groups);
  job.by_channels = Divider<int32_t>(std::max(1, job.channels));
  job.by_rows = Divider<int32_t>(std::max(1, job.rows));
  job.src = src.data;
  job.src_image = src.stride(0);
  job.src_channel = static_cast<int32_t>(src.stride(1));
  job.weight = w.data;
  job.out = out.data;
  job.out_image = out.stride(0);
  job.out_channel = static_cast<int32_t>(out.stride(1));
  for (int i = 0; i < 3; ++i) {
    job.src_step[i] = static_cast<int32_t>(spatial_stride(src, at.rank, i));
    job.w_step[i] = static_cast<int32_t>(spatial_stride(w, at.rank, i));
    job.out_step[i] = static_cast<int32_t>(spatial_stride(out, at.rank, i));
    job.phases[i] = 1;
  }
  return job;
}

// x, w, y of conv; also of conv_backward_weight, where y is the gradient.
ConvJob forward_job(const ConvAttrs& at, const TensorView& x, const TensorView& w, const TensorView& y) {
  ConvJob job = job_of(at, x, w, y);
  job.w_row = static_cast<int32_t>(w.stride(0));
  job.w_channel = static_cast<int32_t>(w.stride(1));
  job.w_group = job.rows * job.w_row;
  for (int i = 0; i < 3; ++i)
    job.axis[i][0] = pixel_axis(conv_axis(at.stride[i], at.padding[i], at.dilation[i], spatial_size(x, at.rank, i),
                                          spatial_size(w, at.rank, i), spatial_size(y, at.rank, i)),
                                0, 1);
  return job;
}

void add_bias(ConvJob& job, const KernelArgs& args) {
  if (args.num_in < 3 || !args.in[2].defined()) return;
  job.bias = args.in[2].data;
  job.bias_step = args.in[2].stride(0);
}

// Whether the job may and could be done by tensor cores; by the functions for halves, or for float as tf32.
bool may_use_tensor_cores(DType t) { return is_half(t) || (t == DType::kFloat32 && allow_tf32_conv); }

// Whether tiles of products would stand mostly empty: few output channels, or few of both a group.
bool few_channels(const ConvJob& job) { return job.rows <= 4 || (job.rows <= 8 && job.channels <= 8); }

// Whether the axes of a view lie behind one another, `step` elements apart.
bool is_dense(const int32_t (&steps)[3], int64_t z, int64_t y, int64_t x) {
  return (y == 1 || steps[1] == x * steps[2]) && (z == 1 || steps[0] == y * x * steps[2]);
}

// A kernel of one element with stride 1 and no padding is a matrix product for each image, or one for all where
// channels are innermost. Returns false where the job is another one, or the product might be in tf32 and this must
// not, or the other way round.
bool run_product(const ConvJob& job) {
  if (job.groups != 1 || job.all_phases() != 1 || (job.dtype == DType::kFloat32 && (allow_tf32_conv || allow_tf32)))
    return false;
  int64_t size[3];
  for (int i = 0; i < 3; ++i) {
    const PixelAxis& a = job.axis[i][0];
    if (a.taps != 1 || a.off0 != 0 || a.step != 1 || a.src != a.out) return false;
    size[i] = a.out;
  }
  const int64_t pixels = job.pixels();
  if (!is_dense(job.src_step, size[0], size[1], size[2]) || !is_dense(job.out_step, size[0], size[1], size[2]))
    return false;
  Gemm g(job.dtype);
  g.k = job.channels;
  g.c = job.out;
  if (job.channels_last() && job.src_image == pixels * job.src_step[2] && job.out_image == pixels * job.out_step[2]) {
    g.m = job.batch * pixels;
    g.n = job.rows;
    g.a = job.src;
    g.a_row = job.src_step[2];
    g.a_col = job.src_channel;
    g.b = job.weight;
    g.b_row = job.w_channel;
    g.b_col = job.w_row;
    g.c_row = job.out_step[2];
    g.c_col = job.out_channel;
    g.d_col = job.bias_step;
  } else {
    g.m = job.rows;
    g.n = pixels;
    g.a = job.weight;
    g.a_row = job.w_row;
    g.a_col = job.w_channel;
    g.b = job.src;
    g.b_row = job.src_channel;
    g.b_col = job.src_step[2];
    g.c_row = job.out_channel;
    g.c_col = job.out_step[2];
    g.d_row = job.bias_step;
    g.batch = job.batch;
    g.batch_index.ndim = 1;
    g.batch_index.size[0] = Divider<int32_t>(job.batch);
    g.batch_index.stride[0][0] = g.batch_index.stride[3][0] = 0;
    g.batch_index.stride[1][0] = job.src_image;
    g.batch_index.stride[2][0] = job.out_image;
  }
  if (job.bias) {
    g.d = job.bias;
    g.beta = 1;
  }
  run_gemm(g);
  return true;
}

void run_job(const ConvJob& job) {
  if (job.channels == 0 || few_channels(job)) return conv_direct(job);
  if (run_product(job)) return;
  if (job.dtype == DType::kFloat64) return conv_direct(job);
  const int64_t images = std::max<int64_t>(1, (int64_t{1} << 30) / job.pixels());
  for (int64_t n = 0; n < job.batch; n += images) {  // pixels are numbered in 32 bits
    ConvJob part = job;
    part.batch = static_cast<int32_t>(std::min(images, job.batch - n));
    part.src = element_of(job, job.src, n * job.src_image);
    part.out = const_cast<void*>(element_of(job, job.out, n * job.out_image));
    if (may_use_tensor_cores(job.dtype) && (is_half(job.dtype) ? conv_mma(part) : conv_tf32(part))) continue;
    conv_simt(part);
  }
}

// As many parts as make some hundred blocks, if each has some steps of pixels and their sums are not too large.
int64_t tile_weight_parts(const ConvJob& job) {
  const int64_t k = job.channels * job.taps(), total = job.batch * job.pixels();
  const int64_t tiles = (job.rows + 63) / 64 * ((k + 63) / 64) * job.groups;
  const int64_t most = std::min(total / 256, (int64_t{16} << 20) / (job.groups * job.rows * k) + 1);
  return std::max((total >> 30) + 1, std::min(std::max<int64_t>(1, 528 / tiles), most));
}

// dw = the parts of its sums, added: kLanes threads an element.
template <class C, int kLanes>
__global__ void __launch_bounds__(kConvThreads)
    add_weight_parts(void* dw, DType dtype, const __grid_constant__ StridedIndex<1, int64_t> index, const C* sums,
                     const __grid_constant__ WeightParts p, Divider<int32_t> taps, Divider<int32_t> channels) {
  const int lane = static_cast<int>(threadIdx.x) % kLanes;
  const int64_t i = static_cast<int64_t>(blockIdx.x) * (kConvThreads / kLanes) + threadIdx.x / kLanes;
  const bool valid = i < p.count;
  C sum = C(0);
  if (valid) {
    int32_t m = static_cast<int32_t>(i);
    const int32_t t = take(m, taps), c = take(m, channels);
    sums += static_cast<int64_t>(m) * channels.d * taps.d + c * p.channel_step + t * p.tap_step;
#pragma unroll 8
    for (int64_t j = lane; j < p.parts; j += kLanes) sum += sums[j * p.count];
  }
  sum = row_reduce<kConvThreads, kLanes>(sum, AddOp{});
  if (valid && lane == 0) store_sum(dw, index.offset(i), dtype, sum);
}

template <class C, int kLanes>
void launch_add(const TensorView& dw, const C* sums, const WeightParts& p, int64_t taps, int64_t channels) {
  FS_LAUNCH((add_weight_parts<C, kLanes>), grid_for(p.count, kConvThreads / kLanes, int64_t{1} << 31), kConvThreads,
            0, current_stream(), dw.data, dw.dtype, Geometry<1>({&dw}).index<int64_t>(), sums, p,
            Divider<int32_t>(taps), Divider<int32_t>(channels));
}

}  // namespace

// in: x (n, c, spatial...), weight (m, c / groups, kernel...), optional bias (m); out (n, m, size...).
void conv(const KernelArgs& args) {
  ConvJob job = forward_job(args.attrs<ConvAttrs>(), args.in[0], args.in[1], args.out[0]);
  add_bias(job, args);
  run_job(job);
}

// in: g (n, m, spatial...), weight (m, c / groups, kernel...), optional bias (c); out (n, c, size...).
void conv_backward_input(const KernelArgs& args) {
  const ConvAttrs& at = args.attrs<ConvAttrs>();
  const TensorView &g = args.in[0], &w = args.in[1], &x = args.out[0];
  ConvJob job = job_of(at, g, w, x);
  job.w_row = static_cast<int32_t>(w.stride(1));
  job.w_channel = static_cast<int32_t>(w.stride(0));
  job.w_group = job.channels * job.w_channel;
  add_bias(job, args);
  int64_t count[3], r[3];  // phases that have pixels, and the first ones of a launch
  for (int i = 0; i < 3; ++i) count[i] = std::min(at.stride[i], spatial_size(x, at.rank, i));
  for (r[0] = 0; r[0] < count[0]; r[0] += kMaxPhases)
    for (r[1] = 0; r[1] < count[1]; r[1] += kMaxPhases)
      for (r[2] = 0; r[2] < count[2]; r[2] += kMaxPhases) {
        for (int i = 0; i < 3; ++i) {
          job.phases[i] = static_cast<int32_t>(std::min<int64_t>(kMaxPhases, count[i] - r[i]));
          for (int j = 0; j < job.phases[i]; ++j)
            job.axis[i][j] =
                pixel_axis(conv_phase(at.stride[i], at.padding[i], at.dilation[i], spatial_size(g, at.rank, i),
                                      spatial_size(w, at.rank, i), spatial_size(x, at.rank, i), r[i] + j),
                           r[i] + j, at.stride[i]);
        }
        run_job(job);
      }
}

// in: x (n, c, spatial...), g (n, m, spatial...); out (m, c / groups, size...).
void conv_backward_weight(const KernelArgs& args) {
  const TensorView& dw = args.out[0];
  const ConvJob job = forward_job(args.attrs<ConvAttrs>(), args.in[0], dw, args.in[1]);
  const bool empty = args.in[0].numel == 0 || args.in[1].numel == 0;
  const int64_t taps = job.taps();
  FS_CHECK(empty || job.pixels() <= int64_t{1} << 30, "convolution on CUDA: an image of ", job.pixels(),
           " pixels; cut it into smaller ones");
  const bool direct = few_channels(job) || job.channels == 1 || dw.dtype == DType::kFloat64;
  WeightParts p{0, dw.numel, static_cast<int32_t>(taps), 1};
  if (!empty) p.parts = direct ? direct_weight_parts(job) : tile_weight_parts(job);
  const size_t size = dw.dtype == DType::kFloat64 ? 8 : 4;
  const Scratch sums(static_cast<size_t>(std::max<int64_t>(1, p.parts * p.count)) * size);
  if (!empty) {
    const void* g = args.in[1].data;
    bool done = direct;
    if (direct) conv_direct_weight(job, g, p.parts, sums.ptr<void>());
    if (!done && may_use_tensor_cores(dw.dtype)) {
      const bool in_vectors = weight_vectors(job, g);
      done = (is_half(dw.dtype) ? conv_mma_weight : conv_tf32_weight)(job, g, in_vectors, p.parts, sums.ptr<float>());
      if (done && in_vectors) {
        p.channel_step = 1;
        p.tap_step = job.channels;
      }
    }
    if (!done) conv_simt_weight(job, g, p.parts, sums.ptr<float>());
  }
  dispatch_float_compute(dw.dtype, "convolution", [&](auto c) {
    using C = decltype(c);
    if (p.parts >= kWarpSize) launch_add<C, kWarpSize>(dw, sums.ptr<C>(), p, taps, job.channels);
    else launch_add<C, 1>(dw, sums.ptr<C>(), p, taps, job.channels);
  });
}

}  // namespace fireseed::cuda

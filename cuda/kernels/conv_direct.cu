// Convolutions without tiles, for few channels a group (depthwise): a thread makes a few neighbouring pixels.
#include "device/reduce.cuh"
#include "kernels/conv.cuh"
#include "kernels/simt_tile.cuh"
#include "runtime/stream.h"

namespace fireseed::cuda {
namespace {

constexpr int kPixels = 4;  // of a thread

// How elements of a launch are numbered: groups of kPixels along the width, height, depth, then channels and images;
// channels come first where they are innermost in memory.
struct DirectOrder {
  Divider<int32_t> x, y, z, channels;
  bool channels_last;
  int64_t count;
};

template <class C>
__global__ void __launch_bounds__(kConvThreads)
    convolve_directly(const __grid_constant__ ConvJob job, const __grid_constant__ DirectOrder order) {
  const PixelAxis* axis[3];
  axes_of(job, static_cast<int>(blockIdx.y), axis);
  const PixelAxis &az = *axis[0], &ay = *axis[1], &ax = *axis[2];
  for (int64_t e = grid_thread(); e < order.count; e += grid_threads()) {
    int32_t i = static_cast<int32_t>(e), m = 0;
    if (order.channels_last) m = take(i, order.channels);
    const int32_t x = take(i, order.x) * kPixels, y = take(i, order.y), z = take(i, order.z);
    if (!order.channels_last) m = take(i, order.channels);
    if (x >= ax.out || y >= ay.out || z >= az.out) continue;  // this phase has fewer pixels
    int32_t group = m;
    const int32_t row = take(group, job.by_rows);
    C sum[kPixels];
    const C bias = job.bias ? load_number(job.bias, m * job.bias_step, job.dtype, C{}) : C(0);
#pragma unroll
    for (int j = 0; j < kPixels; ++j) sum[j] = bias;
    const int32_t x0 = x * ax.step + ax.off0, y0 = y * ay.step + ay.off0, z0 = z * az.step + az.off0;
    with_load<C>(job.dtype, [&](auto load) {
      int64_t src = i * job.src_image + group * job.channels * job.src_channel;
      int32_t w = group * job.w_group + row * job.w_row;
#pragma unroll 1
      for (int32_t c = 0; c < job.channels; ++c, src += job.src_channel, w += job.w_channel) {
#pragma unroll 1
        for (int32_t tz = 0; tz < az.taps; ++tz) {
          const int32_t iz = z0 + tz * az.doff;
          if (static_cast<uint32_t>(iz) >= static_cast<uint32_t>(az.src)) continue;
#pragma unroll 1
          for (int32_t ty = 0; ty < ay.taps; ++ty) {
            const int32_t iy = y0 + ty * ay.doff;
            if (static_cast<uint32_t>(iy) >= static_cast<uint32_t>(ay.src)) continue;
            const int64_t line = src + iz * job.src_step[0] + iy * job.src_step[1];
            int32_t wt = w + (az.ker0 + tz * az.dker) * job.w_step[0] + (ay.ker0 + ty * ay.dker) * job.w_step[1] +
                         ax.ker0 * job.w_step[2];
#pragma unroll 1
            for (int32_t tx = 0; tx < ax.taps; ++tx, wt += ax.dker * job.w_step[2]) {
              const C v = load(job.weight, wt);
              int32_t ix = x0 + tx * ax.doff;
#pragma unroll
              for (int j = 0; j < kPixels; ++j, ix += ax.step)
                if (static_cast<uint32_t>(ix) < static_cast<uint32_t>(ax.src))
                  sum[j] = multiply_add(v, load(job.src, line + ix * job.src_step[2]), sum[j]);
            }
          }
        }
      }
    });
    const int64_t out = i * job.out_image + m * job.out_channel + (az.first + z * az.pace) * job.out_step[0] +
                        (ay.first + y * ay.pace) * job.out_step[1];
#pragma unroll
    for (int j = 0; j < kPixels; ++j)
      if (x + j < ax.out)
        store_sum(job.out, out + (ax.first + (x + j) * ax.pace) * job.out_step[2], job.dtype, sum[j]);
  }
}

// ---- gradient to the weight --------------------------------------------------------------------------------

constexpr int kTaps = 9;  // of one block

struct WeightOrder {
  Divider<int32_t> taps, tap_groups;
  int64_t pixels, total, per_part;  // of an image, of all images, of a part of the sum
};

// A block sums, for one weight row m, one channel c and up to kTaps taps, the products of one part of the pixels.
template <class C>
__global__ void __launch_bounds__(kConvThreads)
    sum_weight_directly(const __grid_constant__ ConvJob job, const __grid_constant__ WeightOrder order, const void* g,
                        C* sums) {
  struct alignas(16) Tap { int32_t z, y, x, offset; };
  FS_SHARED(Tap, tap, [kTaps]);
  const PixelAxis &az = job.axis[0][0], &ay = job.axis[1][0], &ax = job.axis[2][0];
  int32_t m = static_cast<int32_t>(blockIdx.x);
  const int32_t tap0 = take(m, order.tap_groups) * kTaps, c = take(m, job.by_channels);
  const int32_t taps = static_cast<int32_t>(order.taps.d), group = job.by_rows.divide(m);
  const int t = static_cast<int>(threadIdx.x);
  if (t < kTaps) {
    int32_t i = tap0 + t < taps ? tap0 + t : taps - 1;
    Tap to;
    to.x = take(i, ax.by_taps) * ax.doff + ax.off0;
    to.y = take(i, ay.by_taps) * ay.doff + ay.off0;
    to.z = i * az.doff + az.off0;
    to.offset = to.z * job.src_step[0] + to.y * job.src_step[1] + to.x * job.src_step[2];
    tap[t] = to;
  }
  __syncthreads();
  const int64_t begin = blockIdx.y * order.per_part;
  const int64_t rest = order.total - begin;
  const int32_t length = static_cast<int32_t>(rest < order.per_part ? rest : order.per_part);
  const int64_t first_image = begin / order.pixels;
  const int32_t first_pixel = static_cast<int32_t>(begin - first_image * order.pixels);
  const int64_t src = first_image * job.src_image + (group * job.channels + c) * job.src_channel;
  const int64_t first = first_image * job.out_image + m * job.out_channel;
  C sum[kTaps];
#pragma unroll
  for (int j = 0; j < kTaps; ++j) sum[j] = C(0);
  with_load<C>(job.dtype, [&](auto load) {
#pragma unroll 1
    for (int32_t p = t; p < length; p += kConvThreads) {
      int32_t n = first_pixel + p;
      const int32_t x = take(n, ax.by_out), y = take(n, ay.by_out), z = take(n, az.by_out);
      const C v =
          load(g, first + n * job.out_image + z * job.out_step[0] + y * job.out_step[1] + x * job.out_step[2]);
      const int32_t sx = x * ax.step, sy = y * ay.step, sz = z * az.step;
      const int64_t at = src + n * job.src_image + sz * job.src_step[0] + sy * job.src_step[1] + sx * job.src_step[2];
#pragma unroll
      for (int j = 0; j < kTaps; ++j) {
        const Tap to = tap[j];
        const bool inside = (static_cast<uint32_t>(sx + to.x) < static_cast<uint32_t>(ax.src)) &
                            (static_cast<uint32_t>(sy + to.y) < static_cast<uint32_t>(ay.src)) &
                            (static_cast<uint32_t>(sz + to.z) < static_cast<uint32_t>(az.src));  // no branches
        if (inside) sum[j] = multiply_add(v, load(job.src, at + to.offset), sum[j]);
      }
    }
  });
  constexpr int kWarps = kConvThreads / kWarpSize;
  FS_SHARED(C, of_warp, [kWarps][kTaps]);
#pragma unroll
  for (int j = 0; j < kTaps; ++j) {
    const C total = warp_reduce(sum[j], AddOp{});
    if (t % kWarpSize == 0) of_warp[t / kWarpSize][j] = total;
  }
  __syncthreads();
  if (t < kTaps && tap0 + t < taps) {
    C total = of_warp[0][t];
#pragma unroll 1
    for (int w = 1; w < kWarps; ++w) total += of_warp[w][t];
    sums += (static_cast<int64_t>(blockIdx.y) * job.groups * job.rows + m) * job.channels * taps + c * taps + tap0;
    sums[t] = total;
  }
}

}  // namespace

void conv_direct(const ConvJob& whole) {
  const int64_t groups_x = (whole.axis[2][0].out + kPixels - 1) / kPixels;
  DirectOrder order;
  order.x = Divider<int32_t>(groups_x);
  order.y = Divider<int32_t>(whole.axis[1][0].out);
  order.z = Divider<int32_t>(whole.axis[0][0].out);
  order.channels = Divider<int32_t>(int64_t{whole.groups} * whole.rows);
  order.channels_last = whole.channels_last();
  const int64_t per_image = groups_x * whole.axis[1][0].out * whole.axis[0][0].out * whole.groups * whole.rows;
  const int64_t images = std::max<int64_t>(1, std::numeric_limits<int32_t>::max() / per_image);
  for (int64_t n = 0; n < whole.batch; n += images) {
    ConvJob job = whole;
    job.src = element_of(job, job.src, n * job.src_image);
    job.out = const_cast<void*>(element_of(job, job.out, n * job.out_image));
    order.count = std::min(images, whole.batch - n) * per_image;
    const dim3 grid(grid_for(order.count, kConvThreads, 1 << 20), static_cast<unsigned>(job.all_phases()));
    if (job.dtype == DType::kFloat64)
      FS_LAUNCH((convolve_directly<double>), grid, kConvThreads, 0, current_stream(), job, order);
    else FS_LAUNCH((convolve_directly<float>), grid, kConvThreads, 0, current_stream(), job, order);
  }
}

// As many parts as make a thousand blocks, if each has some pixels a thread.
int64_t direct_weight_parts(const ConvJob& job) {
  const int64_t blocks = int64_t{job.groups} * job.rows * job.channels * ((job.taps() + kTaps - 1) / kTaps);
  const int64_t total = job.batch * job.pixels(), most = std::max<int64_t>(1, total / (4 * kConvThreads));
  return std::clamp<int64_t>(1024 / blocks, (total >> 30) + 1, std::max((total >> 30) + 1, most));
}

void conv_direct_weight(const ConvJob& job, const void* g, int64_t parts, void* sums) {
  WeightOrder order;
  order.taps = Divider<int32_t>(job.taps());
  const int64_t tap_groups = (job.taps() + kTaps - 1) / kTaps;
  order.tap_groups = Divider<int32_t>(tap_groups);
  order.pixels = job.pixels();
  order.total = job.batch * order.pixels;
  order.per_part = (order.total + parts - 1) / parts;
  const dim3 grid(static_cast<unsigned>(int64_t{job.groups} * job.rows * job.channels * tap_groups),
                  static_cast<unsigned>(parts));
  dispatch_float_compute(job.dtype, "convolution", [&](auto c) {
    using C = decltype(c);
    FS_LAUNCH((sum_weight_directly<C>), grid, kConvThreads, 0, current_stream(), job, order, g,
              static_cast<C*>(sums));
  });
}

}  // namespace fireseed::cuda

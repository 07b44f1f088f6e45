// What convolutions made in tiles share: the table of taps, pixels, the choice of operands and the epilogue.
#pragma once

#include "kernels/conv.cuh"
#include "kernels/tile.cuh"
#include "runtime/device.h"

namespace fireseed::cuda {

// Note [Gathered tiles]
// A convolution is a product whose k runs over (channel, tap), or (tap, channel) where channels are innermost in
// memory, and whose other dimensions are output channels and pixels of all images. The operand of the image is
// gathered: a thread keeps one or two pixels and meets the taps of each step of k. What a tap reads, relative to a
// pixel, is computed once a block and step, two steps ahead (TapRing). In the gradient to the weight k runs over the
// pixels: a thread keeps its taps and meets new pixels.

// Tiles of 128 x 128 where they keep the device busy.
inline bool large_tiles(int64_t m, int64_t n, int64_t batch) {
  return (m + 127) / 128 * ((n + 127) / 128) * batch >= multiprocessors();
}

// One element of k (or column of dw): where it reads, relative to a pixel, and where its weight is.
struct alignas(16) Tap { int32_t offset, z, y, x; };
inline constexpr int32_t kOutside = -(1 << 30);  // as z of a tap or pixel that does not exist

struct Pixel {
  const char* at;
  int32_t z, y, x;
};

// One phase and group of a launch; `size`: bytes of an element, a constant where a kernel is for one dtype.
struct ConvPart {
  const ConvJob& job;
  int size;
  const PixelAxis *az, *ay, *ax;
  int32_t group, k, pixels;  // k: channels * taps; pixels of all images

  __device__ __forceinline__ ConvPart(const ConvJob& job_, int64_t number, int size_) : job(job_), size(size_) {
    const int32_t phases = job.phases[0] * job.phases[1] * job.phases[2];
    group = static_cast<int32_t>(number) / phases;
    const PixelAxis* axis[3];
    axes_of(job, static_cast<int>(number) - group * phases, axis);
    az = axis[0];
    ay = axis[1];
    ax = axis[2];
    k = job.channels * az->taps * ay->taps * ax->taps;
    pixels = job.batch * az->out * ay->out * ax->out;
  }
  // Element i of k, in the order of (channel, tap), or (tap, channel); and where its weight is.
  __device__ __forceinline__ Tap tap(int32_t i, bool taps_first, int32_t& weight) const {
    weight = 0;
    if (i >= k) return {0, kOutside, 0, 0};
    int32_t c = 0;
    if (taps_first) c = take(i, job.by_channels);
    const int32_t tx = take(i, ax->by_taps), ty = take(i, ay->by_taps);
    int32_t tz = i;
    if (!taps_first) {
      tz = take(i, az->by_taps);
      c = i;
    }
    weight = c * job.w_channel + (az->ker0 + tz * az->dker) * job.w_step[0] +
             (ay->ker0 + ty * ay->dker) * job.w_step[1] + (ax->ker0 + tx * ax->dker) * job.w_step[2];
    const int32_t z = az->off0 + tz * az->doff, y = ay->off0 + ty * ay->doff, x = ax->off0 + tx * ax->doff;
    return {c * job.src_channel + z * job.src_step[0] + y * job.src_step[1] + x * job.src_step[2], z, y, x};
  }
  // Of pixel i of all images.
  __device__ __forceinline__ void place(int32_t i, int32_t& n, int32_t& z, int32_t& y, int32_t& x) const {
    x = take(i, ax->by_out);
    y = take(i, ay->by_out);
    z = take(i, az->by_out);
    n = i;
  }
  __device__ __forceinline__ Pixel pixel(int32_t i) const {
    if (i >= pixels) return {image(0), kOutside, 0, 0};
    int32_t n, z, y, x;
    place(i, n, z, y, x);
    z *= az->step;
    y *= ay->step;
    x *= ax->step;
    return {image(n) + int64_t{z * job.src_step[0] + y * job.src_step[1] + x * job.src_step[2]} * size, z, y, x};
  }
  __device__ __forceinline__ const char* image(int64_t n) const {
    return static_cast<const char*>(job.src) +
           (n * job.src_image + int64_t{group} * job.channels * job.src_channel) * size;
  }
  __device__ __forceinline__ bool reads(const Pixel& p, const Tap& t) const {
    return (static_cast<uint32_t>(p.x + t.x) < static_cast<uint32_t>(ax->src)) &
           (static_cast<uint32_t>(p.y + t.y) < static_cast<uint32_t>(ay->src)) &
           (static_cast<uint32_t>(p.z + t.z) < static_cast<uint32_t>(az->src));  // no branches
  }
  // Where the result has pixel i, which exists, of the first channel of all groups.
  __device__ __forceinline__ int64_t out_offset(int32_t i) const {
    int32_t n, z, y, x;
    place(i, n, z, y, x);
    return n * job.out_image + (az->first + z * az->pace) * job.out_step[0] +
           (ay->first + y * ay->pace) * job.out_step[1] + (ax->first + x * ax->pace) * job.out_step[2];
  }
  __device__ __forceinline__ int64_t out_row(int32_t row) const {
    return (int64_t{group} * job.rows + row) * job.out_channel;
  }
};

// The taps of four steps of k in shared memory: those of step s are written while step s - 2 is fetched, with a
// barrier between.
template <int kStep>
struct TapRing {
  struct Memory {
    Tap tap[4][kStep];
    int32_t weight[4][kStep];
  };
  Memory& memory;
  __device__ __forceinline__ static int slot(int64_t k0) { return static_cast<int>(k0) / kStep % 4; }
  __device__ __forceinline__ const Tap* taps(int64_t k0) const { return memory.tap[slot(k0)]; }
  __device__ __forceinline__ const int32_t* weights(int64_t k0) const { return memory.weight[slot(k0)]; }
  __device__ __forceinline__ void fill(const ConvPart& part, int64_t k0) {
    const int t = static_cast<int>(threadIdx.x), s = slot(k0);
    if (t < kStep && k0 < part.k)
      memory.tap[s][t] = part.tap(static_cast<int32_t>(k0) + t, false, memory.weight[s][t]);
  }
  // The first two steps. Ends with a barrier.
  __device__ __forceinline__ void start(const ConvPart& part) {
    fill(part, 0);
    fill(part, kStep);
    __syncthreads();
  }
};

// Where the result has the `count` pixels from `first` on, in shared memory. A barrier follows before they are read.
__device__ __forceinline__ void place_pixels(const ConvPart& part, int64_t* places, int32_t first, int count) {
  const int t = static_cast<int>(threadIdx.x);
  if (t < count && first + t < part.pixels) places[t] = part.out_offset(first + t);
}

// The epilogue of conv and its gradient to the input. kPixelRows: rows of the product are pixels, columns output
// channels; else the other way round. dtype: the job's.
template <class C, bool kPixelRows>
struct ConvOut {
  const ConvPart& part;
  const int64_t* places;  // by place_pixels, from `first` on
  int32_t first;
  DType dtype;
  bool vectors;  // vector_results

  __device__ __forceinline__ C bias(int64_t m) const {
    const ConvJob& job = part.job;
    return job.bias ? load_number(job.bias, (int64_t{part.group} * job.rows + m) * job.bias_step, dtype, C{}) : C(0);
  }
  __device__ __forceinline__ int64_t at(int64_t row, int64_t column) const {
    const int32_t pixel = static_cast<int32_t>(kPixelRows ? row : column),
                  m = static_cast<int32_t>(row + column) - pixel;
    return places[pixel - first] + part.out_row(m);
  }
  __device__ __forceinline__ void operator()(int64_t row, int64_t column, C sum) const {
    store_sum(part.job.out, at(row, column), dtype, sum + bias(kPixelRows ? column : row));
  }
  __device__ __forceinline__ void four(int64_t row, int64_t column, const C (&sum)[4]) const {
    C r[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) r[i] = sum[i] + bias(kPixelRows ? column + i : row);
    store_four(part.job.out, at(row, column), dtype, r);
  }
};

// Whether ConvOut may write vectors: four neighbours of a row, from a multiple of four on, are one.
inline bool vector_results(const ConvJob& job, bool pixel_rows) {
  if (!aligned_for(job.out, static_cast<size_t>(std::min<int64_t>(16, 4 * dtype_size(job.dtype))))) return false;
  if (pixel_rows && (job.out_channel != 1 || job.rows % 4 != 0 || job.out_step[2] % 4 != 0)) return false;
  if (!pixel_rows &&
      (job.out_channel % 4 != 0 || job.out_step[2] != 1 || job.axis[2][0].pace != 1 || job.axis[2][0].out % 4 != 0))
    return false;
  return job.out_image % 4 == 0 && job.out_step[0] % 4 == 0 && job.out_step[1] % 4 == 0;
}

// The pixels of one part of the gradient to the weight.
struct PixelRange {
  int64_t begin;  // among the pixels of all images
  int64_t image;  // that it lies in
  int32_t first;  // its place there
  int32_t count;
  __device__ __forceinline__ PixelRange(const ConvJob& job, int64_t number, int64_t per_part) {
    const int64_t plane = int64_t{job.axis[0][0].out} * job.axis[1][0].out * job.axis[2][0].out;
    begin = number * per_part;
    image = begin / plane;
    first = static_cast<int32_t>(begin - image * plane);
    const int64_t rest = plane * job.batch - begin;
    count = static_cast<int32_t>(rest < per_part ? rest : per_part);
  }
};

// Pixel k of a range: where its window begins and where its gradient is, in g of the same dtype; null where there is
// no such pixel.
struct PixelPair {
  Pixel window;
  const char* gradient;
};
__device__ __forceinline__ PixelPair pixel_pair(const ConvPart& part, const PixelRange& range, const void* g,
                                                int32_t k) {
  const ConvJob& job = part.job;
  if (k >= range.count) return {{part.image(0), kOutside, 0, 0}, nullptr};
  int32_t n, z, y, x;
  part.place(range.first + k, n, z, y, x);
  const int64_t image = range.image + n;
  const char* const gradient =
      static_cast<const char*>(g) +
      (image * job.out_image + part.out_row(0) + z * job.out_step[0] + y * job.out_step[1] + x * job.out_step[2]) *
          part.size;
  z *= part.az->step;
  y *= part.ay->step;
  x *= part.ax->step;
  return {{part.image(image) + int64_t{z * job.src_step[0] + y * job.src_step[1] + x * job.src_step[2]} * part.size,
           z, y, x},
          gradient};
}

// The epilogue of the gradient to the weight: rows are output channels of the group, columns elements of (channel,
// tap) in the order of the kernel; to one part of the sums.
template <class C>
struct WeightOut {
  C* to;  // of the part and group
  int32_t k;
  bool vectors;  // k is a multiple of four
  __device__ __forceinline__ WeightOut(C* sums, int32_t k_) : to(sums), k(k_), vectors(k_ % 4 == 0) {}
  __device__ __forceinline__ void operator()(int64_t row, int64_t column, C sum) const { to[row * k + column] = sum; }
  __device__ __forceinline__ void four(int64_t row, int64_t column, const C (&sum)[4]) const {
    store_four(to + row * k + column, 0, sizeof(C) == 8 ? DType::kFloat64 : DType::kFloat32, sum);
  }
};

}  // namespace fireseed::cuda

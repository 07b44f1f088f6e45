// What convolutions made in tiles share: the table of taps, pixels, the choice of operands and the epilogue.
#pragma once

#include "kernels/conv.cuh"
#include "kernels/tile.cuh"

namespace fireseed::cuda {

// Note [Gathered tiles]
// A convolution is a product whose k runs over (channel, tap), or (tap, channel) where channels are innermost in
// memory, and whose other dimensions are output channels and pixels of all images. The operand of the image is
// gathered: a thread keeps one or two pixels and meets the taps of each step of k. What a tap reads, relative to a
// pixel, is computed once a block and step, two steps ahead (TapRing). In the gradient to the weight k runs over the
// pixels: a thread keeps its taps and meets new pixels.

// One element of k (or column of dw): where it reads, relative to a pixel, and where its weight is.
struct Tap { int32_t offset, z, y, x; };
inline constexpr int32_t kOutside = -(1 << 30);  // as z of a tap or pixel that does not exist

template <class T>
struct Pixel {
  const T* at;
  int32_t z, y, x;
};

// One phase and group of a launch.
template <class T>
struct ConvPart {
  const ConvJob<T>& job;
  const PixelAxis *az, *ay, *ax;
  int32_t group, k, pixels;  // k: channels * taps; pixels of all images

  __device__ __forceinline__ ConvPart(const ConvJob<T>& job_, int64_t number) : job(job_) {
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
  template <bool kTapsFirst>
  __device__ __forceinline__ Tap tap(int32_t i, int32_t& weight) const {
    weight = 0;
    if (i >= k) return {0, kOutside, 0, 0};
    int32_t c = 0;
    if constexpr (kTapsFirst) c = take(i, job.by_channels);
    const int32_t tx = take(i, ax->by_taps), ty = take(i, ay->by_taps);
    int32_t tz = i;
    if constexpr (!kTapsFirst) {
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
  __device__ __forceinline__ Pixel<T> pixel(int32_t i) const {
    if (i >= pixels) return {job.src, kOutside, 0, 0};
    int32_t n, z, y, x;
    place(i, n, z, y, x);
    z *= az->step;
    y *= ay->step;
    x *= ax->step;
    return {job.src + n * job.src_image + int64_t{group} * job.channels * job.src_channel + z * job.src_step[0] +
                y * job.src_step[1] + x * job.src_step[2],
            z, y, x};
  }
  __device__ __forceinline__ bool reads(const Pixel<T>& p, const Tap& t) const {
    return static_cast<uint32_t>(p.x + t.x) < static_cast<uint32_t>(ax->src) &&
           static_cast<uint32_t>(p.y + t.y) < static_cast<uint32_t>(ay->src) &&
           static_cast<uint32_t>(p.z + t.z) < static_cast<uint32_t>(az->src);
  }
  __device__ __forceinline__ int64_t out_offset(int32_t n, int32_t z, int32_t y, int32_t x) const {
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
  template <class T>
  __device__ __forceinline__ void fill(const ConvPart<T>& part, int64_t k0) {
    const int t = static_cast<int>(threadIdx.x), s = slot(k0);
    if (t < kStep && k0 < part.k)
      memory.tap[s][t] = part.template tap<false>(static_cast<int32_t>(k0) + t, memory.weight[s][t]);
  }
  // The first two steps. Ends with a barrier.
  template <class T>
  __device__ __forceinline__ void start(const ConvPart<T>& part) {
    fill(part, 0);
    fill(part, kStep);
    __syncthreads();
  }
};

// The epilogue of conv and its gradient to the input. kPixelRows: rows of the product are pixels, columns output
// channels; else the other way round.
template <class T, bool kPixelRows>
struct ConvOut {
  using C = compute_type<T>;
  const ConvPart<T>& part;
  bool vectors;  // host: four neighbours from a multiple of four on are an aligned vector

  __device__ __forceinline__ C bias(int64_t m) const {
    const ConvJob<T>& job = part.job;
    return job.bias ? load_as<C>(job.bias[(int64_t{part.group} * job.rows + m) * job.bias_step]) : C(0);
  }
  __device__ __forceinline__ void four(int64_t row, int64_t column, const C (&v)[4], int inside) const {
    const ConvJob<T>& job = part.job;
    const int32_t first = static_cast<int32_t>(kPixelRows ? row : column);
    int32_t n, z, y, x;
    part.place(first, n, z, y, x);
    const int64_t offset = part.out_offset(n, z, y, x);
    T* const to = job.out + offset + part.out_row(static_cast<int32_t>(kPixelRows ? column : row));
    // Elements that go on in one direction; pixels do as long as their line does.
    const int32_t step = kPixelRows ? job.out_channel : part.ax->pace * job.out_step[2];
    C r[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) r[i] = kPixelRows ? (i < inside ? v[i] + bias(column + i) : C(0)) : v[i] + bias(row);
    if (inside == 4 && (kPixelRows || x + 3 < part.ax->out)) {
      if constexpr (sizeof(T) <= 4) {
        if (vectors && step == 1 && (kPixelRows || offset % 4 == 0))
          return Vec<T, 4>{store_as<T>(r[0]), store_as<T>(r[1]), store_as<T>(r[2]), store_as<T>(r[3])}.store(to);
      }
#pragma unroll
      for (int i = 0; i < 4; ++i) to[i * step] = store_as<T>(r[i]);
      return;
    }
#pragma unroll 1
    for (int i = 0; i < inside; ++i) {
      int64_t at = i * step;
      if constexpr (!kPixelRows) {
        part.place(first + i, n, z, y, x);
        at = part.out_offset(n, z, y, x) - offset;
      }
      to[at] = store_as<T>(i == 0 ? r[0] : i == 1 ? r[1] : i == 2 ? r[2] : r[3]);
    }
  }
};

// Whether ConvOut may write vectors: all that is added to a multiple of four is one.
template <class T>
bool vector_results(const ConvJob<T>& job, bool pixel_rows) {
  if (!aligned_for(job.out, std::min<size_t>(16, 4 * sizeof(T))) || job.out_image % 4 != 0) return false;
  if (!pixel_rows) return job.out_step[2] == 1 && job.out_channel % 4 == 0;
  return job.out_channel == 1 && job.rows % 4 == 0 && job.out_step[0] % 4 == 0 && job.out_step[1] % 4 == 0 &&
         job.out_step[2] % 4 == 0;
}

// The pixels of one part of the gradient to the weight.
template <class T>
struct PixelRange {
  int64_t begin;  // among the pixels of all images
  int64_t image;  // that it lies in
  int32_t first;  // its place there
  int32_t count;
  __device__ __forceinline__ PixelRange(const ConvJob<T>& job, int64_t number, int64_t per_part) {
    const int64_t plane = int64_t{job.axis[0][0].out} * job.axis[1][0].out * job.axis[2][0].out;
    begin = number * per_part;
    image = begin / plane;
    first = static_cast<int32_t>(begin - image * plane);
    const int64_t rest = plane * job.batch - begin;
    count = static_cast<int32_t>(rest < per_part ? rest : per_part);
  }
};

// Pixel k of a range: where its window begins and where its gradient is.
template <class T>
struct PixelPair {
  Pixel<T> window;
  const T* gradient;
};
template <class T>
__device__ __forceinline__ PixelPair<T> pixel_pair(const ConvPart<T>& part, const PixelRange<T>& range, const T* g,
                                                   int32_t k) {
  const ConvJob<T>& job = part.job;
  if (k >= range.count) return {{job.src, kOutside, 0, 0}, nullptr};
  int32_t n, z, y, x;
  part.place(range.first + k, n, z, y, x);
  const int64_t image = range.image + n;
  g += image * job.out_image + part.out_row(0) + z * job.out_step[0] + y * job.out_step[1] + x * job.out_step[2];
  z *= part.az->step;
  y *= part.ay->step;
  x *= part.ax->step;
  return {{job.src + image * job.src_image + int64_t{part.group} * job.channels * job.src_channel +
               z * job.src_step[0] + y * job.src_step[1] + x * job.src_step[2],
           z, y, x},
          g};
}

// The epilogue of the gradient to the weight: rows are output channels of the group, columns elements of (channel,
// tap) in the order of the kernel; to one part of the sums.
template <class C>
struct WeightOut {
  C* to;  // of the part and group
  int32_t k;
  __device__ __forceinline__ void four(int64_t row, int64_t column, const C (&v)[4], int inside) {
    C* p = to + row * k + column;
    if constexpr (sizeof(C) == 4) {
      if (inside == 4 && k % 4 == 0) return Vec<C, 4>{v[0], v[1], v[2], v[3]}.store(p);
    }
#pragma unroll
    for (int i = 0; i < 4; ++i)
      if (i < inside) p[i] = v[i];
  }
};

}  // namespace fireseed::cuda

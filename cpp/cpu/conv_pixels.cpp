// Convolutions of few input channels: pixels broadcast against vectors of output channels.
#include "base/parallel.h"
#include "cpu/conv_band.h"

namespace fireseed::cpu::FS_ISA {
namespace {

using detail_band::ceil_div, detail_band::least;

// Note [Pixels against channels]
// The tile is that of the matrix product with the roles turned: its rows are pixels of one row of the output,
// broadcast from the band where they lie (element k = (channel, tap) of all of them is offset[k] away), its columns
// are output channels, whose weights are packed once. So nothing is gathered, whatever the size of the row. Finished
// rows of the output are turned to rows of channels through a buffer.

// tile(i, m) = sum over k of a[offset[k] + i] w[k, m]: kRows pixels by kVecs vectors of channels.
template <class T, int kRows, int kVecs>
void pixel_tile(int64_t k, const T* a, const int64_t* offset, const T* w, T* tile) {
  constexpr int kV = Vec<T>::kSize;
  Vec<T> acc[kRows][kVecs];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) acc[i][v] = Vec<T>(T(0));
  for (int64_t kk = 0; kk < k; ++kk, w += kVecs * kV) {
    const T* s = a + offset[kk];
    Vec<T> wv[kVecs];
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) wv[v] = Vec<T>::load(w + v * kV);
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
      const Vec<T> x(s[i]);
#pragma GCC unroll 4
      for (int v = 0; v < kVecs; ++v) acc[i][v] = fma(x, wv[v], acc[i][v]);
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) acc[i][v].store(tile + (i * kVecs + v) * kV);
}

template <class T>
using PixelTile = void (*)(int64_t, const T*, const int64_t*, const T*, T*);
template <class T, int kVecs, size_t... kI>
PixelTile<T> pixel_tile_of(int rows, std::index_sequence<kI...>) {
  static constexpr PixelTile<T> kFn[] = {&pixel_tile<T, static_cast<int>(kI) + 1, kVecs>...};
  return kFn[rows - 1];
}
template <class T>
PixelTile<T> pixel_tile_for(int rows, int vecs) {
  constexpr auto seq = std::make_index_sequence<kMaxRows>();
  return vecs == 1 ? pixel_tile_of<T, 1>(rows, seq) : pixel_tile_of<T, 2>(rows, seq);
}

// out[c * out_channel + x] = tile[x * step + c] + bias[c] for x < pixels <= kSize, c < channels.
template <class T>
void turn_pixels(const T* tile, int64_t step, int pixels, int channels, const T* bias, T* out, int64_t out_channel) {
  constexpr int kV = Vec<T>::kSize;
  for (int c0 = 0; c0 < channels; c0 += kV) {
    Vec<T> r[kV];
#pragma GCC unroll 16
    for (int i = 0; i < kV; ++i) r[i] = Vec<T>::load(tile + i * step + c0);  // also behind the row: unused
    transpose_registers(r);
    T* o = out + c0 * out_channel;
#pragma GCC unroll 16
    for (int i = 0; i < kV; ++i) {
      if (c0 + i >= channels) break;
      const Vec<T> y = r[i] + Vec<T>(bias ? bias[c0 + i] : T(0));
      if (pixels == kV) y.store(o + i * out_channel);
      else y.store(o + i * out_channel, pixels);
    }
  }
}

// Whether all taps of an axis stay inside.
bool inside(const ConvAxis& a) {
  const int64_t low = detail_band::lowest(a);
  return low >= 0 && low + detail_band::reach(a) + (a.out - 1) * a.step < a.src;
}

// Longer sums are faster as gathered products or by Winograd's tiles; rows of few pixels, and weights of many rows,
// as gathered products.
constexpr int64_t kMaxChannels = 8, kMaxWidth = 64, kMinPixels = 4, kMaxPixels = 1024;

}  // namespace

template <class T>
bool conv_pixels(const ConvJob<T>& job) {
  constexpr int kV = Vec<T>::kSize, kW = kTileCols<T>;
  const ConvAxis &az = job.axis[0], &ay = job.axis[1], &ax = job.axis[2];
  const int64_t panels = ceil_div(job.rows, kW),
                lanes = (panels - 1) * kW + panel_width<T>(job.rows - (panels - 1) * kW);
  if (job.channels > kMaxChannels || job.rows > kMaxWidth || 2 * job.rows < lanes || job.out_step[2] != 1 ||
      ax.out < kMinPixels || ax.out > kMaxPixels)
    return false;
  if (job.batch * job.pixels() == 0) return true;

  const int64_t k = job.channels * job.taps();
  Scratch<T> rows(job.rows * k), weights(job.groups * panels * kW * k);
  for (int64_t group = 0; group < job.groups; ++group) {
    for (int64_t r = 0; r < job.rows; ++r) tap_weights(job, group, r, rows.data() + r * k);
    for (int64_t q = 0; q < panels; ++q)
      pack_b<T>(weights.data() + (group * panels + q) * kW * k, rows.data() + q * kW * k, 1, k, k,
                static_cast<int>(least(kW, job.rows - q * kW)));
  }

  // Where nothing is padded and pixels are neighbours, the image itself is the band.
  const bool plain = ax.step == 1 && inside(az) && inside(ay) && inside(ax);
  const Band<T> shape(job);
  Scratch<int64_t> in_image(plain ? k : 0);
  for (int64_t i = 0; i < k && plain; ++i) {
    const int64_t x = i % ax.taps, y = i / ax.taps % ay.taps, z = i / ax.taps / ay.taps % az.taps;
    in_image[i] = i / job.taps() * job.src_channel +
                  ((az.off0 + z * az.doff) * ay.src + ay.off0 + y * ay.doff) * ax.src + ax.off0 + x * ax.doff;
  }
  const int64_t per_image = az.out * shape.bands, tasks = job.batch * job.groups * per_image;
  const int64_t cost = shape.rows * ax.out * (job.rows * k + 4), tiles = ceil_div(ax.out, kMaxRows);
  parallel_for(tasks, 100000 / cost + 1, [&](int64_t begin, int64_t end) {
    Band<T> band(job);
    Scratch<T> row((ax.out + kV) * kW);
    const int64_t* offset = plain ? in_image.data() : band.offset.data();
    for (int64_t task = begin; task < end; ++task) {
      const int64_t b = task % shape.bands, z = task / shape.bands % az.out, ng = task / per_image;
      const int64_t group = ng % job.groups, n = ng / job.groups;
      const int64_t y0 = b * band.rows, count = least(band.rows, ay.out - y0);
      const T* image = job.src + n * job.src_image + group * job.channels * job.src_channel;
      if (!plain) band.load(image, z, y0, count);
      for (int64_t q = 0; q < panels; ++q) {
        const int channels = static_cast<int>(least(kW, job.rows - q * kW)), width = panel_width<T>(channels);
        const T* w = weights.data() + (group * panels + q) * kW * k;
        const int64_t m = group * job.rows + q * kW;
        const T* bias = job.bias ? job.bias + m : nullptr;
        for (int64_t y = 0; y < count; ++y) {
          const T* src = plain ? image + (z * az.step * ay.src + (y0 + y) * ay.step) * ax.src
                               : band.buffer.data() + y * ay.step * band.row;
          T* out =
              job.out + n * job.out_image + m * job.out_channel + z * job.out_step[0] + (y0 + y) * job.out_step[1];
          int64_t turned = 0;
          for (int64_t t = 0; t < tiles; ++t) {
            const int64_t x = piece_begin(ax.out, tiles, t), x_end = piece_begin(ax.out, tiles, t + 1);
            pixel_tile_for<T>(static_cast<int>(x_end - x), width / kV)(k, src + x, offset, w, row.data() + x * width);
            for (; turned + kV <= x_end || (t + 1 == tiles && turned < x_end); turned += kV)
              turn_pixels(row.data() + turned * width, width, static_cast<int>(least(kV, x_end - turned)), channels,
                          bias, out + turned, job.out_channel);
          }
        }
      }
    }
  });
  return true;
}
template bool conv_pixels(const ConvJob<float>&);
template bool conv_pixels(const ConvJob<double>&);

}  // namespace fireseed::cpu::FS_ISA

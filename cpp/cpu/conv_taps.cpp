// Gradient of a convolution to its weight from bands of the image: taps broadcast against vectors of output channels.
#include "base/parallel.h"
#include "cpu/conv_band.h"

namespace fireseed::cpu::FS_ISA {
namespace {

using detail_band::ceil_div, detail_band::least, detail_band::most;

// Rows of a tile. Each has a pointer of its own, and 12 fit into general registers.
constexpr int kTapRows = kMaxRows < 12 ? kMaxRows : 12;

// sum(i, m) (+)= sum over pixels (y, x) of src[offset[i] + y * src_row + x] g[(y * width + x), m] for kRows elements
// (channel, tap) and kVecs vectors of output channels.
template <class T, int kRows, int kVecs>
void taps_tile(int64_t count, int64_t width, const T* src, int64_t src_row, const int64_t* offset, const T* g, T* sum,
               int64_t sum_step, bool add) {
  constexpr int kV = Vec<T>::kSize;
  Vec<T> acc[kRows][kVecs];
#pragma GCC unroll 12
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) acc[i][v] = add ? Vec<T>::load(sum + i * sum_step + v * kV) : Vec<T>(T(0));
  for (int64_t y = 0; y < count; ++y, src += src_row) {
    const T* at[kRows];  // behind the row
#pragma GCC unroll 12
    for (int i = 0; i < kRows; ++i) at[i] = src + offset[i] + width;
    for (int64_t x = -width; x < 0; ++x, g += kVecs * kV) {
      Vec<T> gv[kVecs];
#pragma GCC unroll 4
      for (int v = 0; v < kVecs; ++v) gv[v] = Vec<T>::load(g + v * kV);
#pragma GCC unroll 12
      for (int i = 0; i < kRows; ++i) {
        const Vec<T> s(at[i][x]);
#pragma GCC unroll 4
        for (int v = 0; v < kVecs; ++v) acc[i][v] = fma(s, gv[v], acc[i][v]);
      }
    }
  }
#pragma GCC unroll 12
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) acc[i][v].store(sum + i * sum_step + v * kV);
}

template <class T>
using TapsTile = void (*)(int64_t, int64_t, const T*, int64_t, const int64_t*, const T*, T*, int64_t, bool);
template <class T, int kVecs, size_t... kI>
TapsTile<T> taps_tile_of(int rows, std::index_sequence<kI...>) {
  static constexpr TapsTile<T> kFn[] = {&taps_tile<T, static_cast<int>(kI) + 1, kVecs>...};
  return kFn[rows - 1];
}
template <class T>
TapsTile<T> taps_tile_for(int rows, int vecs) {
  constexpr auto seq = std::make_index_sequence<kTapRows>();
  return vecs == 1 ? taps_tile_of<T, 1>(rows, seq) : taps_tile_of<T, 2>(rows, seq);
}

constexpr int64_t kTapsBytes = 128 << 10;  // of a band, and of its output gradients: both stay in L2
constexpr int64_t kBlockTaps = 320;        // elements (channel, tap) of a task
constexpr int64_t kLeastPixels = 128;      // of an image that is read in place

// One tap, and the pixels are the source's, in order (flatten_pointwise).
template <class T>
bool reads_pixels(const ConvJob<T>& job) {
  const ConvAxis& ax = job.axis[2];
  return job.taps() == 1 && ax.step == 1 && ax.off0 == 0 && ax.out == ax.src && job.axis[0].src == 1 &&
         job.axis[1].src == 1 && job.axis[0].out == 1 && job.axis[1].out == 1;
}

// Whether bands are the faster way. Of a single tap there is little to gather, and short rows leave most of a vector
// of the band unused. Where Winograd's transform fits its products are fewer, but it costs about as much as the
// products of some channels do.
template <class T>
bool bands_pay(const ConvJob<T>& job) {
  const ConvAxis& ax = job.axis[2];
  const int64_t taps = job.taps();
  if (taps == 1 || (ax.out < 7 && job.channels * taps > kBlockTaps)) return false;
  if constexpr (same_type<T, float>) {
    if (winograd_fits(job, 2, 3)) return job.channels <= 12 && ax.out >= 10;
    if (winograd_fits(job, 2, 5)) return job.channels <= 24;
    if (winograd_fits(job, 1, 3)) return job.channels <= 48;
    if (winograd_fits(job, 1, 5)) return job.channels <= 64;
  }
  return true;
}

// dw^T (rows (c, t), columns m) = X (rows (c, t), pixels) G^T (pixels, m) as in conv_weight, but each row of X is
// read where it lies: in a band (Note [Direct convolution]), or in the image itself where there is one tap and every
// pixel is read. G^T is packed along with it. A task takes a block of channels through a part of the bands; the parts
// are fixed and summed in order.
template <class T>
void taps_weight(const ConvJob<T>& job, const T* g, T* dw) {
  constexpr int kV = Vec<T>::kSize, kW = kTileCols<T>;
  const ConvAxis &az = job.axis[0], &ay = job.axis[1], &ax = job.axis[2];
  const int64_t taps = job.taps(), rows = job.channels * taps, cols = job.rows;
  const int64_t pixels = job.batch * job.pixels();
  const int64_t panels = ceil_div(cols, kW), padded = (panels - 1) * kW + panel_width<T>(cols - (panels - 1) * kW);

  // Parts of few pixels would leave more sums than work.
  int64_t parts = most(1, least(16, pixels / 256)), channel_cuts = ceil_div(rows, kBlockTaps);
  channel_cuts = most(1, least(job.channels, least(channel_cuts, rows * cols * pixels / 200000)));
  const int64_t most_pixels = most(1, kTapsBytes / (padded * static_cast<int64_t>(sizeof(T))));
  ConvJob<T> block = job;
  block.channels = ceil_div(job.channels, channel_cuts);
  const bool in_place = reads_pixels(job);
  // A unit is a band of rows, or a part of the one row of pixels.
  int64_t most_rows = most(1, most_pixels / ax.out), cuts = ceil_div(ax.out, most_pixels);
  if (!in_place) {
    const Band<T> shape(block, nullptr, kTapsBytes, most_rows);
    most_rows = shape.rows, cuts = shape.bands;
  }
  const int64_t units = job.batch * az.out * cuts;
  parts = most(1, least(least(parts, units), rows * cols * pixels / channel_cuts / 200000));
  while (parts > 1 && parts * rows * padded > (1 << 20)) parts = ceil_div(parts, 2);

  Scratch<T> sums(job.groups * parts * rows * padded);
  parallel_for(job.groups * parts * channel_cuts, 1, [&](int64_t begin, int64_t end) {
    Scratch<T> gt((in_place ? ceil_div(ax.out, cuts) : most_rows * ax.out) * padded);
    for (int64_t task = begin; task < end; ++task) {
      const int64_t cut = task % channel_cuts, part = task / channel_cuts % parts,
                    group = task / channel_cuts / parts;
      const int64_t c0 = piece_begin(job.channels, channel_cuts, cut);
      ConvJob<T> own = job;
      own.channels = piece_begin(job.channels, channel_cuts, cut + 1) - c0;
      const int64_t k = own.channels * taps, tiles = ceil_div(k, kTapRows);
      Scratch<int64_t> planes(in_place ? k : 0);
      for (int64_t i = 0; i < k && in_place; ++i) planes[i] = i * job.src_channel;
      if (in_place) own.channels = 0;  // of the band
      Band<T> band(own, nullptr, kTapsBytes, most_rows);
      const int64_t* offset = in_place ? planes.data() : band.offset.data();
      T* sum = sums.data() + ((group * parts + part) * rows + c0 * taps) * padded;
      bool add = false;
      for (int64_t u = piece_begin(units, parts, part); u < piece_begin(units, parts, part + 1); ++u, add = true) {
        const int64_t b = u % cuts, z = u / cuts % az.out, n = u / cuts / az.out;
        const T* src = job.src + n * job.src_image + (group * job.channels + c0) * job.src_channel;
        int64_t p = b * most_rows * ax.out, count = least(most_rows, ay.out - b * most_rows), width = ax.out;
        if (in_place) {
          p = piece_begin(ax.out, cuts, b), count = 1, width = piece_begin(ax.out, cuts, b + 1) - p;
          src += p;
        } else {
          band.load(src, z, b * most_rows, count);
          src = band.buffer.data();
        }
        const int64_t size = count * width;
        for (int64_t q = 0; q < panels; ++q) {
          const int n_cols = static_cast<int>(least(kW, cols - q * kW)), lanes = panel_width<T>(n_cols);
          T* panel = gt.data() + q * kW * size;
          pack_b<T>(panel,
                    g + n * job.out_image + (group * cols + q * kW) * job.out_channel + z * ay.out * ax.out + p, 1,
                    job.out_channel, size, n_cols);
          for (int64_t i = 0; i < tiles; ++i) {
            const int64_t i0 = piece_begin(k, tiles, i);
            taps_tile_for<T>(static_cast<int>(piece_begin(k, tiles, i + 1) - i0), lanes / kV)(
                count, width, src, ay.step * band.row, offset + i0, panel, sum + i0 * padded + q * kW, padded, add);
          }
        }
      }
    }
  });
  conv_weight_of_sums(job, parts, padded, static_cast<const T*>(sums.data()), dw);
}

}  // namespace

template <class T>
bool conv_taps_weight(const ConvJob<T>& job, const T* g, T* dw) {
  if (job.rows * job.channels * job.taps() * job.batch * job.pixels() == 0) return false;
  if (!reads_pixels(job)) {
    if (!bands_pay(job)) return false;
    taps_weight(job, g, dw);
    return true;
  }
  if (job.axis[2].out < kLeastPixels) return false;
  if (job.rows <= job.channels) {
    taps_weight(job, g, dw);
    return true;
  }
  // Image and gradient change places, as that of fewer channels is the one to pack.
  ConvJob<T> turned = job;
  turned.src = g;
  turned.src_image = job.out_image, turned.src_channel = job.out_channel;
  turned.out_image = job.src_image, turned.out_channel = job.src_channel;
  turned.channels = job.rows, turned.rows = job.channels;
  turned.w_row = job.w_channel, turned.w_channel = job.w_row;
  taps_weight(turned, job.src, dw);
  return true;
}
template bool conv_taps_weight(const ConvJob<float>&, const float*, float*);
template bool conv_taps_weight(const ConvJob<double>&, const double*, double*);

}  // namespace fireseed::cpu::FS_ISA

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

constexpr int64_t kBandBytes = 128 << 10;  // of a band, and of its output gradients: both stay in L2
constexpr int64_t kBlockTaps = 320;        // elements (channel, tap) of a task

// Whether this is the faster way. Of a single tap there is little to gather, and short rows leave most of a vector of
// the band unused. Where Winograd's transform fits its products are fewer, but it costs about as much as the products
// of some channels do.
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

}  // namespace

// dw^T (rows (c, t), columns m) = X (rows (c, t), pixels) G^T (pixels, m) as in conv_weight, but each row of X is
// read where it lies in the band (Note [Direct convolution]), and G^T is packed band by band. A task takes a block of
// channels through a part of the bands; the parts are fixed and summed in order.
template <class T>
bool conv_taps_weight(const ConvJob<T>& job, const T* g, T* dw) {
  constexpr int kV = Vec<T>::kSize, kW = kTileCols<T>;
  const ConvAxis &az = job.axis[0], &ay = job.axis[1], &ax = job.axis[2];
  const int64_t taps = job.taps(), rows = job.channels * taps, cols = job.rows;
  const int64_t pixels = job.batch * job.pixels();
  if (rows == 0 || cols == 0 || pixels == 0 || !bands_pay(job)) return false;
  const int64_t panels = ceil_div(cols, kW), padded = (panels - 1) * kW + panel_width<T>(cols - (panels - 1) * kW);

  // Parts of few pixels would leave more sums than work.
  int64_t parts = most(1, least(16, pixels / 256)), channel_cuts = ceil_div(rows, kBlockTaps);
  channel_cuts = most(1, least(job.channels, least(channel_cuts, rows * cols * pixels / 200000)));
  const int64_t most_rows = most(1, kBandBytes / (ax.out * padded * static_cast<int64_t>(sizeof(T))));
  ConvJob<T> block = job;
  block.channels = ceil_div(job.channels, channel_cuts);
  const Band<T> shape(block, nullptr, kBandBytes, most_rows);
  const int64_t units = job.batch * az.out * shape.bands;
  parts = most(1, least(least(parts, units), rows * cols * pixels / channel_cuts / 200000));
  while (parts > 1 && parts * rows * padded > (1 << 20)) parts = ceil_div(parts, 2);

  Scratch<T> sums(job.groups * parts * rows * padded);
  parallel_for(job.groups * parts * channel_cuts, 1, [&](int64_t begin, int64_t end) {
    Scratch<T> gt(shape.rows * ax.out * padded);
    for (int64_t task = begin; task < end; ++task) {
      const int64_t cut = task % channel_cuts, part = task / channel_cuts % parts,
                    group = task / channel_cuts / parts;
      const int64_t c0 = piece_begin(job.channels, channel_cuts, cut);
      ConvJob<T> own = job;
      own.channels = piece_begin(job.channels, channel_cuts, cut + 1) - c0;
      Band<T> band(own, nullptr, kBandBytes, shape.rows);
      const int64_t k = own.channels * taps, tiles = ceil_div(k, kTapRows), src_row = ay.step * band.row;
      T* sum = sums.data() + ((group * parts + part) * rows + c0 * taps) * padded;
      bool add = false;
      for (int64_t u = piece_begin(units, parts, part); u < piece_begin(units, parts, part + 1); ++u, add = true) {
        const int64_t b = u % shape.bands, z = u / shape.bands % az.out, n = u / shape.bands / az.out;
        const int64_t y0 = b * shape.rows, count = least(shape.rows, ay.out - y0), size = count * ax.out;
        band.load(job.src + n * job.src_image + (group * job.channels + c0) * job.src_channel, z, y0, count);
        for (int64_t q = 0; q < panels; ++q) {
          const int n_cols = static_cast<int>(least(kW, cols - q * kW)), width = panel_width<T>(n_cols);
          T* panel = gt.data() + q * kW * size;
          pack_b<T>(panel,
                    g + n * job.out_image + (group * cols + q * kW) * job.out_channel + (z * ay.out + y0) * ax.out, 1,
                    job.out_channel, size, n_cols);
          for (int64_t i = 0; i < tiles; ++i) {
            const int64_t i0 = piece_begin(k, tiles, i);
            taps_tile_for<T>(static_cast<int>(piece_begin(k, tiles, i + 1) - i0), width / kV)(
                count, ax.out, band.buffer.data(), src_row, band.offset.data() + i0, panel,
                sum + i0 * padded + q * kW, padded, add);
          }
        }
      }
    }
  });
  conv_weight_of_sums(job, parts, padded, static_cast<const T*>(sums.data()), dw);
  return true;
}
template bool conv_taps_weight(const ConvJob<float>&, const float*, float*);
template bool conv_taps_weight(const ConvJob<double>&, const double*, double*);

}  // namespace fireseed::cpu::FS_ISA

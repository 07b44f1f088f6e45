// Gradient of a convolution to its weight: (channel, tap) rows gathered from the image x output channels.
#include "base/parallel.h"
#include "cpu/conv.h"

namespace fireseed::cpu::FS_ISA {
namespace {

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
constexpr int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
constexpr int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

}  // namespace

// Squares of kV channels and rows are summed and turned; without parts, as of an empty batch, dw is 0.
template <class T>
void conv_weight_of_sums(const ConvJob<T>& job, int64_t parts, int64_t padded, const T* sums, T* dw) {
  constexpr int kV = Vec<T>::kSize;
  const ConvAxis &az = job.axis[0], &ay = job.axis[1], &ax = job.axis[2];
  const int64_t taps = job.taps(), rows = job.channels * taps, cols = job.rows;
  const bool flat = (ax.taps == 1 || job.w_tap[2] == 1) && (ay.taps == 1 || job.w_tap[1] == ax.taps) &&
                    (az.taps == 1 || job.w_tap[0] == ax.taps * ay.taps) &&
                    (job.channels == 1 || job.w_channel == taps);
  const int64_t row_squares = ceil_div(rows, kV);
  const int64_t grain = 16384 / (rows * kV * most(1, parts)) + 1;
  parallel_for(job.groups * ceil_div(cols, kV), grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t group = i / ceil_div(cols, kV), m = i % ceil_div(cols, kV) * kV;
      const int lanes = static_cast<int>(least(kV, cols - m));
      for (int64_t q = 0; q < row_squares; ++q) {
        const int64_t k = q * kV;
        const int n = static_cast<int>(least(kV, rows - k));
        Vec<T> r[kV];
        for (int j = 0; j < kV; ++j) {
          r[j] = Vec<T>(T(0));
          if (j >= n) continue;
          const T* s = sums + group * parts * rows * padded + (k + j) * padded + m;
          for (int64_t p = 0; p < parts; ++p) r[j] += Vec<T>::load(s + p * rows * padded);
        }
        T* d = dw + group * job.w_group + m * job.w_row;
        if (taps == 1 && job.w_row == 1) {
          for (int j = 0; j < n; ++j) r[j].store(d + (k + j) * job.w_channel, lanes);
          continue;
        }
        transpose_registers(r);
        if (flat) {
          for (int l = 0; l < lanes; ++l) r[l].store(d + l * job.w_row + k, n);
          continue;
        }
        for (int l = 0; l < lanes; ++l) {
          T values[kV];
          r[l].store(values);
          for (int j = 0; j < n; ++j) {
            const int64_t t = (k + j) % taps, x = t % ax.taps, y = t / ax.taps % ay.taps, z = t / ax.taps / ay.taps;
            d[l * job.w_row + (k + j) / taps * job.w_channel + z * job.w_tap[0] + y * job.w_tap[1] +
              x * job.w_tap[2]] = values[j];
          }
        }
      }
    }
  });
}
template void conv_weight_of_sums(const ConvJob<float>&, int64_t, int64_t, const float*, float*);
template void conv_weight_of_sums(const ConvJob<double>&, int64_t, int64_t, const double*, double*);

// dw^T (rows (c, t), columns m) = X (rows (c, t), pixels) G^T (pixels, m). X is gathered a block of pixels at a time
// by runs along memory; G^T is packed once, as it meets every row. Where there are few rows the pixels are cut into a
// fixed number of parts, summed in order at the end.
template <class T>
void conv_weight(const ConvJob<T>& job, const T* g, T* dw) {
  constexpr int kV = Vec<T>::kSize, kW = kTileCols<T>;
  const int64_t taps = job.taps(), rows = job.channels * taps, cols = job.rows;
  const int64_t pixels = job.batch * job.pixels(), image_pixels = job.pixels();
  if (rows == 0 || cols == 0) return;
  const int64_t col_panels = ceil_div(cols, kW),
                padded = (col_panels - 1) * kW + panel_width<T>(cols - (col_panels - 1) * kW);
  const int64_t row_panels = ceil_div(rows, kMaxRows);
  int64_t kc = kBlockK<T>;  // pixels of a block: its part of G^T stays in L2
  while (kc > 64 && kc * padded > kBlockK<T> * kBlockCols / 2) kc /= 2;
  kc = most(kV, least(kc, ceil_div(pixels, kV) * kV));
  const int64_t blocks = ceil_div(pixels, kc);
  int64_t parts = least(16, most(1, blocks / 2));
  while (parts > 1 && (parts * rows * padded > (1 << 20) || rows * cols * pixels / parts < 200000)) parts /= 2;
  const int64_t row_groups =
      most(1, least(row_panels, least(ceil_div(24, parts * job.groups), rows * cols * pixels / parts / 200000)));

  Scratch<T> gt(job.groups * blocks * kc * padded);
  parallel_for(job.groups * blocks * col_panels, 16384 / (kc * kW) + 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t panel = i % col_panels, b = i / col_panels % blocks, group = i / col_panels / blocks;
      const int n = static_cast<int>(least(kW, cols - panel * kW)), w = panel_width<T>(n);
      T* d = gt.data() + (group * blocks + b) * kc * padded + panel * kW * kc;
      const int64_t p1 = least(pixels, (b + 1) * kc);
      for (int64_t p = b * kc; p < p1;) {  // a block may hold pixels of several images
        const int64_t image = p / image_pixels, q = p % image_pixels, len = least(p1 - p, image_pixels - q);
        pack_b<T>(d, g + image * job.out_image + (group * cols + panel * kW) * job.out_channel + q, 1,
                  job.out_channel, len, n);
        d += len * w;
        p += len;
      }
    }
  });

  const int64_t per_group = parts * rows * padded;
  Scratch<T> sums(job.groups * per_group);
  parallel_for(job.groups * parts * row_groups, 1, [&](int64_t begin, int64_t end) {
    PixelBlock block(taps, kc / kV + 1, kV);
    const int64_t a_step = kc + kV;
    Scratch<T> a(kMaxRows * a_step);
    for (int64_t task = begin; task < end; ++task) {
      const int64_t rg = task % row_groups, part = task / row_groups % parts, group = task / row_groups / parts;
      const int64_t r_begin = piece_begin(row_panels, row_groups, rg),
                    r_end = piece_begin(row_panels, row_groups, rg + 1);
      T* c = sums.data() + group * per_group + part * rows * padded;
      const T* src = job.src + group * job.channels * job.src_channel;
      bool first = true;
      for (int64_t b = piece_begin(blocks, parts, part); b < piece_begin(blocks, parts, part + 1); ++b) {
        const int64_t p0 = b * kc, count = least(kc, pixels - p0);
        block.build(job, p0, count);
        for (int64_t r = r_begin; r < r_end; ++r) {
          const int64_t i0 = piece_begin(rows, row_panels, r);
          const int n_rows = static_cast<int>(piece_begin(rows, row_panels, r + 1) - i0);
          for (int y = 0; y < n_rows; ++y) {
            const T* plane = src + (i0 + y) / taps * job.src_channel;
            const int64_t t = (i0 + y) % taps;
            T* d = a.data() + y * a_step;
            for (int64_t v = 0; v < block.vectors(); ++v)
              gather_vector(plane, block.begin(t, v), block.end(t, v), block.step()).store(d + v * kV);
          }
          for (int64_t q = 0; q < col_panels; ++q) {
            const int w = panel_width<T>(cols - q * kW);
            const TileStore<T> store = {
                c + i0 * padded + q * kW, padded, T(1), first ? T(0) : T(1), nullptr, nullptr, false, w};
            tile_kernel_for<T>(n_rows, w / kV, true)(
                count, a.data(), a_step, gt.data() + (group * blocks + b) * kc * padded + q * kW * kc, w, store);
          }
        }
        first = false;
      }
    }
  });

  conv_weight_of_sums(job, blocks ? parts : 0, padded, static_cast<const T*>(sums.data()), dw);
}
template void conv_weight(const ConvJob<float>&, const float*, float*);
template void conv_weight(const ConvJob<double>&, const double*, double*);

}  // namespace fireseed::cpu::FS_ISA

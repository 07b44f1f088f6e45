// Convolution as a blocked product whose B panels are gathered from the image.
#include "base/parallel.h"
#include "cpu/conv.h"

namespace fireseed::cpu::FS_ISA {
namespace {

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
constexpr int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
constexpr int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

// Weights of all groups as rows of k = (channel, tap), `step` elements apart.
template <class T>
void pack_weights(const ConvJob<T>& job, T* dst, int64_t step) {
  const ConvAxis &az = job.axis[0], &ay = job.axis[1], &ax = job.axis[2];
  const int64_t rows = job.groups * job.rows, k = job.channels * job.taps();
  parallel_for(rows, 16384 / (k + 1) + 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const T* w = job.weight + i / job.rows * job.w_group + i % job.rows * job.w_row;
      T* d = dst + i * step;
      for (int64_t c = 0; c < job.channels; ++c)
        for (int64_t z = 0; z < az.taps; ++z)
          for (int64_t y = 0; y < ay.taps; ++y) {
            const T* s = w + c * job.w_channel + (az.ker0 + z * az.dker) * job.w_tap[0] +
                         (ay.ker0 + y * ay.dker) * job.w_tap[1] + ax.ker0 * job.w_tap[2];
            for (int64_t x = 0; x < ax.taps; ++x) *d++ = s[x * ax.dker * job.w_tap[2]];
          }
    }
  });
}

// Offsets into `out` of the columns of a panel: directly storable, or lane by lane.
template <class T>
struct PanelTarget {
  T* base;  // of column 0 where contiguous
  bool contiguous;
  int64_t at[kTileCols<T>];
};

template <class T>
PanelTarget<T> panel_target(const ConvJob<T>& job, T* out, int64_t p, int cols, bool dense) {
  PanelTarget<T> t;
  const int64_t pixels = job.pixels();
  const int64_t n = p / pixels, q = p % pixels;
  t.contiguous = dense && q + cols <= pixels;
  t.base = out;
  if (t.contiguous) {
    t.base = out + n * job.out_image + q;
    return t;
  }
  const ConvAxis &az = job.axis[0], &ay = job.axis[1], &ax = job.axis[2];
  int64_t x = q % ax.out, y = q / ax.out % ay.out, z = q / ax.out / ay.out, i = n;
  for (int l = 0; l < cols; ++l) {
    t.at[l] = i * job.out_image + z * job.out_step[0] + y * job.out_step[1] + x * job.out_step[2];
    if (++x < ax.out) continue;
    x = 0;
    if (++y < ay.out) continue;
    y = 0;
    if (++z < az.out) continue;
    z = 0;
    ++i;
  }
  return t;
}

}  // namespace

template <class T>
void conv_gemm(const ConvJob<T>& job) {
  constexpr int kV = Vec<T>::kSize, kW = kTileCols<T>;
  const int64_t taps = job.taps(), k = job.channels * taps, pixels = job.batch * job.pixels();
  if (pixels == 0 || job.rows == 0) return;
  int64_t step = ceil_div(k, 16) * 16 + 16;
  if (step * static_cast<int64_t>(sizeof(T)) % 1024 == 0) step += 16;
  Scratch<T> weights(job.groups * job.rows * step);
  pack_weights(job, weights.data(), step);

  const int64_t k_blocks = most(1, (k + kBlockK<T> / 4) / kBlockK<T>);
  const int64_t kc = most(1, ceil_div(k, k_blocks));
  const int64_t row_panels = ceil_div(job.rows, kMaxRows);
  const int64_t panels = ceil_div(pixels, kW);
  // Panels of a task: about a 32nd of all, within what L2 holds and at least ~10 us of work.
  const int64_t work = most(1, job.rows * k * kW);
  int64_t width = most(panels * job.groups / 32, ceil_div(200000, work));
  width = most(1, least(width, least(panels, most(1, kBlockK<T> * kBlockCols / (kc * kW)))));
  if (width > 48) width = 48;
  const int64_t blocks = ceil_div(panels, width);
  const int64_t row_groups = blocks * job.groups >= 16 ? 1 : least(row_panels, ceil_div(16, blocks * job.groups));
  const bool dense = job.out_step[2] == 1 && (job.axis[1].out == 1 || job.out_step[1] == job.axis[2].out) &&
                     (job.axis[0].out == 1 || job.out_step[0] == job.axis[1].out * job.axis[2].out);

  parallel_for(blocks * row_groups * job.groups, 1, [&](int64_t begin, int64_t end) {
    PixelBlock block(taps, width * kTileVecs, kV);
    Scratch<T> packed(width * kW * kc);
    Scratch<PanelTarget<T>> targets(width);
    int64_t built = -1;
    for (int64_t task = begin; task < end; ++task) {
      const int64_t group = task % job.groups, rg = task / job.groups % row_groups,
                    b = task / job.groups / row_groups;
      const int64_t p0 = b * width * kW, count = least(width * kW, pixels - p0), here = ceil_div(count, kW);
      T* out = job.out + group * job.rows * job.out_channel;
      if (built != b) {
        block.build(job, p0, count);
        for (int64_t q = 0; q < here; ++q)
          targets[q] = panel_target(job, job.out, p0 + q * kW, static_cast<int>(least(kW, count - q * kW)), dense);
        built = b;
      }
      const int64_t shift = out - job.out;
      const T* src = job.src + group * job.channels * job.src_channel;
      const int64_t r_begin = piece_begin(row_panels, row_groups, rg),
                    r_end = piece_begin(row_panels, row_groups, rg + 1);
      for (int64_t k0 = 0; k0 == 0 || k0 < k; k0 += kc) {
        const int64_t kn = least(kc, k - k0);
        const int64_t c0 = taps ? k0 / taps : 0, t0 = taps ? k0 % taps : 0;
        for (int64_t q = 0; q < here; ++q) {  // gather B
          const int64_t v0 = q * kTileVecs, vn = least(kTileVecs, block.vectors() - v0);
          const int64_t w = vn * kV;
          T* d = packed.data() + q * kW * kc;
          // Row i of the block is (channel, tap) = divmod(k0 + i, taps): tap by tap, as the pieces are all channels'
          // alike.
          for (int64_t t = 0; t < taps && t < kn + t0; ++t) {
            const int64_t c = t < t0 ? c0 + 1 : c0, i0 = t < t0 ? t + taps - t0 : t - t0;
            if (i0 >= kn) continue;
            for (int64_t v = 0; v < vn; ++v)
              gather_channels(src + c * job.src_channel, job.src_channel, block.begin(t, v0 + v),
                              block.end(t, v0 + v), block.step(), d + i0 * w + v * kV, taps * w,
                              ceil_div(kn - i0, taps));
          }
        }
        for (int64_t r = r_begin; r < r_end; ++r) {
          const int64_t i = piece_begin(job.rows, row_panels, r);
          const int rows = static_cast<int>(piece_begin(job.rows, row_panels, r + 1) - i);
          const T* a = weights.data() + (group * job.rows + i) * step + k0;
          for (int64_t q = 0; q < here; ++q) {
            const int cols = static_cast<int>(least(kW, count - q * kW));
            const int w = panel_width<T>(cols);
            TileStore<T> store = {nullptr, 0,
                                  T(1),    k0 == 0 ? T(0) : T(1),
                                  nullptr, job.bias && k0 == 0 ? job.bias + group * job.rows + i : nullptr,
                                  false,   cols};
            const TileKernel<T> kernel = tile_kernel_for<T>(rows, w / kV, true);
            const PanelTarget<T>& target = targets[q];
            const T* bp = packed.data() + q * kW * kc;
            if (target.contiguous) {
              store.c = target.base + shift + i * job.out_channel;
              store.c_step = job.out_channel;
              kernel(kn, a, step, bp, w, store);
            } else {
              alignas(64) T tile[kMaxRows * kW];
              store.c = tile;
              store.c_step = kW;
              T* o = out + i * job.out_channel;
              if (k0 > 0) {
                for (int y = 0; y < rows; ++y)
                  for (int l = 0; l < cols; ++l) tile[y * kW + l] = o[y * job.out_channel + target.at[l]];
              }
              kernel(kn, a, step, bp, w, store);
              for (int y = 0; y < rows; ++y)
                for (int l = 0; l < cols; ++l) o[y * job.out_channel + target.at[l]] = tile[y * kW + l];
            }
          }
        }
      }
    }
  });
}
template void conv_gemm(const ConvJob<float>&);
template void conv_gemm(const ConvJob<double>&);

}  // namespace fireseed::cpu::FS_ISA

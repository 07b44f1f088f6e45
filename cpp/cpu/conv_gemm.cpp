// Convolution as a blocked product whose B panels are gathered from the image.
#include "base/parallel.h"
#include "cpu/conv.h"

namespace fireseed::cpu::FS_ISA {
namespace {

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
constexpr int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
constexpr int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

// Weights of all groups as rows of k = (channel, tap), `step` elements apart. Blocks of rows go through the channels
// together, as neighbours in memory may be of either.
template <class T>
void pack_weights(const ConvJob<T>& job, T* dst, int64_t step) {
  const ConvAxis &az = job.axis[0], &ay = job.axis[1], &ax = job.axis[2];
  constexpr int64_t kRows = 16;
  const int64_t taps = job.taps(), blocks = ceil_div(job.rows, kRows);
  SmallScratch<int64_t, 64> offsets(taps);
  int64_t* at = offsets.data();
  for (int64_t z = 0; z < az.taps; ++z)
    for (int64_t y = 0; y < ay.taps; ++y)
      for (int64_t x = 0; x < ax.taps; ++x)
        *at++ = (az.ker0 + z * az.dker) * job.w_tap[0] + (ay.ker0 + y * ay.dker) * job.w_tap[1] +
                (ax.ker0 + x * ax.dker) * job.w_tap[2];
  const int64_t* offset = offsets.data();
  parallel_for(job.groups * blocks, 16384 / (kRows * job.channels * taps + 1) + 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t group = i / blocks, r0 = i % blocks * kRows, r1 = least(job.rows, r0 + kRows);
      for (int64_t c = 0; c < job.channels; ++c)
        for (int64_t r = r0; r < r1; ++r) {
          const T* s = job.weight + group * job.w_group + r * job.w_row + c * job.w_channel;
          T* d = dst + (group * job.rows + r) * step + c * taps;
          for (int64_t t = 0; t < taps; ++t) d[t] = s[offset[t]];
        }
    }
  });
}

// Whether the weights already lie so: rows of (channel, tap), all taps forward.
template <class T>
bool rows_of_taps(const ConvJob<T>& job) {
  int64_t step = 1;
  for (int i = 2; i >= 0; --i) {
    const ConvAxis& a = job.axis[i];
    if (a.ker0 != 0 || (a.taps > 1 && (a.dker != 1 || job.w_tap[i] != step))) return false;
    step *= a.taps;
  }
  return job.channels == 1 || job.w_channel == step;
}

// Where the columns of a panel go: straight into `out`, or in runs of neighbours along a row of pixels.
template <class T>
struct PanelTarget {
  T* base;  // of column 0 where contiguous
  bool contiguous;
  struct Run {
    int64_t at;
    int lane, count;  // at most a vector
  } run[kTileCols<T>];
  int runs;
};

template <class T>
PanelTarget<T> panel_target(const ConvJob<T>& job, T* out, int64_t p, int cols, bool dense) {
  PanelTarget<T> t;
  const int64_t pixels = job.pixels();
  const int64_t n = p / pixels, q = p % pixels;
  t.contiguous = dense && q + cols <= pixels;
  t.base = out;
  t.runs = 0;
  if (t.contiguous) {
    t.base = out + n * job.out_image + q;
    return t;
  }
  const ConvAxis &az = job.axis[0], &ay = job.axis[1], &ax = job.axis[2];
  int64_t x = q % ax.out, y = q / ax.out % ay.out, z = q / ax.out / ay.out, i = n;
  for (int l = 0; l < cols;) {
    int count = static_cast<int>(least(least(cols - l, Vec<T>::kSize), ax.out - x));
    if (dense) {  // the rows of an image follow one another
      const int64_t left = pixels - ((z * ay.out + y) * ax.out + x);
      count = static_cast<int>(least(least(cols - l, Vec<T>::kSize), left));
    }
    t.run[t.runs++] = {i * job.out_image + z * job.out_step[0] + y * job.out_step[1] + x * job.out_step[2], l, count};
    l += count;
    x += count;
    y += x / ax.out;
    x %= ax.out;
    z += y / ay.out;
    y %= ay.out;
    i += z / az.out;
    z %= az.out;
  }
  return t;
}

}  // namespace

// Note [Gathered product]
// weight (rows, k) x B (k, pixels), k = (channel, tap). A task takes a block of panels of pixels: it gathers the part
// of B for a block of k into panels and multiplies all rows with it. Where there are few pixels, blocks are too few
// for the threads and the weights are what must be read: B is gathered first, once, and a task takes a group of rows.
template <class T>
void conv_gemm(const ConvJob<T>& job) {
  constexpr int kV = Vec<T>::kSize, kW = kTileCols<T>;
  const int64_t taps = job.taps(), k = job.channels * taps, pixels = job.batch * job.pixels();
  if (pixels == 0 || job.rows == 0) return;
  const int64_t k_blocks = most(1, (k + kBlockK<T> / 4) / kBlockK<T>);
  const int64_t kc = most(1, ceil_div(k, k_blocks));
  const int64_t row_panels = ceil_div(job.rows, kMaxRows);
  const int64_t panels = ceil_div(pixels, kW);
  // Panels of a task: about a 32nd of all, within what L2 holds, at least ~10 us of work and, as each is a reading of
  // the weights, four.
  const int64_t work = most(1, job.rows * k * kW);
  int64_t width = most(most(4, panels * job.groups / 32), ceil_div(200000, work));
  width = most(1, least(width, least(panels, most(1, kBlockK<T> * kBlockCols / (kc * kW)))));
  if (width > 48) width = 48;
  const int64_t blocks = ceil_div(panels, width);
  const int64_t row_groups = blocks * job.groups >= 16 ? 1 : least(row_panels, ceil_div(16, blocks * job.groups));
  const bool ahead = row_groups > 1;
  const bool dense = job.out_step[2] == 1 && (job.axis[1].out == 1 || job.out_step[1] == job.axis[2].out) &&
                     (job.axis[0].out == 1 || job.out_step[0] == job.axis[1].out * job.axis[2].out);

  const bool scattered = !dense || job.pixels() % kW != 0;

  // Rows whose distance falls onto few cache sets are packed, where they are read more than a few times.
  int64_t step = job.w_row;
  const T* weights = job.weight;
  Scratch<T> packed_weights;
  if (!rows_of_taps(job) || (panels > 4 && step * static_cast<int64_t>(sizeof(T)) % 4096 == 0)) {
    step = ceil_div(k, 16) * 16 + 16;
    if (step * static_cast<int64_t>(sizeof(T)) % 1024 == 0) step += 16;
    packed_weights.reset(job.groups * job.rows * step);
    pack_weights(job, packed_weights.data(), step);
    weights = packed_weights.data();
  }
  const int64_t w_group = packed_weights ? job.rows * step : job.w_group;

  // B of summed elements [k0, k0 + kn) for panels [0, here) of a block.
  const auto gather = [&](PixelBlock& block, int64_t group, int64_t q_begin, int64_t q_end, int64_t k0, T* dst) {
    const T* src = job.src + group * job.channels * job.src_channel;
    const int64_t kn = least(kc, k - k0), c0 = taps ? k0 / taps : 0, t0 = taps ? k0 % taps : 0;
    for (int64_t q = q_begin; q < q_end; ++q) {
      const int64_t v0 = q * kTileVecs, vn = least(kTileVecs, block.vectors() - v0), w = vn * kV;
      T* d = dst + q * kW * kc;
      // Row i of the block is (channel, tap) = divmod(k0 + i, taps): tap by tap, as the pieces are all channels'
      // alike.
      for (int64_t t = 0; t < taps && t < kn + t0; ++t) {
        const int64_t c = t < t0 ? c0 + 1 : c0, i0 = t < t0 ? t + taps - t0 : t - t0;
        if (i0 >= kn) continue;
        for (int64_t v = 0; v < vn; ++v)
          gather_channels(src + c * job.src_channel, job.src_channel, block.begin(t, v0 + v), block.end(t, v0 + v),
                          block.step(), d + i0 * w + v * kV, taps * w, ceil_div(kn - i0, taps));
      }
    }
  };
  const int64_t block_size = width * kW * kc;  // elements of B in a block, for one block of k
  Scratch<T> all(ahead ? job.groups * blocks * k_blocks * block_size : 0);
  if (ahead) {
    parallel_for(job.groups * blocks * k_blocks, 1, [&](int64_t begin, int64_t end) {
      PixelBlock block(taps, width * kTileVecs, kV);
      for (int64_t i = begin; i < end; ++i) {
        const int64_t b = i / k_blocks % blocks, count = least(width * kW, pixels - b * width * kW);
        block.build(job, b * width * kW, count);
        gather(block, i / k_blocks / blocks, 0, ceil_div(count, kW), i % k_blocks * kc, all.data() + i * block_size);
      }
    });
  }

  parallel_for(blocks * row_groups * job.groups, 1, [&](int64_t begin, int64_t end) {
    PixelBlock block(ahead ? 0 : taps, width * kTileVecs, kV);
    Scratch<T> own(ahead ? 0 : block_size);
    // Tiles whose columns lie apart in the output are summed here.
    Scratch<T> sums(k_blocks > 1 && scattered ? ceil_div(row_panels, row_groups) * kMaxRows * width * kW : 0);
    alignas(64) T one_tile[kMaxRows * kW];
    Scratch<PanelTarget<T>> targets(width);
    int64_t built = -1;
    for (int64_t task = begin; task < end; ++task) {
      const int64_t group = task % job.groups, rg = task / job.groups % row_groups,
                    b = task / job.groups / row_groups;
      const int64_t p0 = b * width * kW, count = least(width * kW, pixels - p0), here = ceil_div(count, kW);
      T* out = job.out + group * job.rows * job.out_channel;
      if (built != b) {
        if (!ahead) block.build(job, p0, count);
        for (int64_t q = 0; q < here; ++q)
          targets[q] = panel_target(job, job.out, p0 + q * kW, static_cast<int>(least(kW, count - q * kW)), dense);
        built = b;
      }
      const int64_t shift = out - job.out;
      const int64_t r_begin = piece_begin(row_panels, row_groups, rg),
                    r_end = piece_begin(row_panels, row_groups, rg + 1);
      const int64_t i_begin = piece_begin(job.rows, row_panels, r_begin);
      for (int64_t kb = 0; kb < k_blocks; ++kb) {
        const int64_t k0 = kb * kc, kn = least(kc, k - k0);
        T* panel = ahead ? all.data() + ((group * blocks + b) * k_blocks + kb) * block_size : own.data();
        if (!ahead) gather(block, group, 0, here, k0, panel);
        for (int64_t r = r_begin; r < r_end; ++r) {
          const int64_t i = piece_begin(job.rows, row_panels, r);
          const int rows = static_cast<int>(piece_begin(job.rows, row_panels, r + 1) - i);
          const T* a = weights + group * w_group + i * step + k0;
          for (int64_t q = 0; q < here; ++q) {
            const int cols = static_cast<int>(least(kW, count - q * kW));
            const int w = panel_width<T>(cols);
            TileStore<T> store = {nullptr, 0,
                                  T(1),    k0 == 0 ? T(0) : T(1),
                                  nullptr, job.bias && k0 == 0 ? job.bias + group * job.rows + i : nullptr,
                                  false,   cols};
            const TileKernel<T> kernel = tile_kernel_for<T>(rows, w / kV, true);
            const PanelTarget<T>& target = targets[q];
            const T* bp = panel + q * kW * kc;
            if (target.contiguous) {
              store.c = target.base + shift + i * job.out_channel;
              store.c_step = job.out_channel;
              kernel(kn, a, step, bp, w, store);
            } else {
              T* tile = k_blocks > 1 ? sums.data() + ((i - i_begin) * here + q * rows) * kW : one_tile;
              store.c = tile;
              store.c_step = kW;
              kernel(kn, a, step, bp, w, store);
              T* o = out + i * job.out_channel;
              for (int j = 0; kb + 1 == k_blocks && j < target.runs; ++j) {
                const auto& run = target.run[j];
                for (int y = 0; y < rows; ++y)
                  put_lanes(o + y * job.out_channel + run.at, job.out_step[2],
                            Vec<T>::load(tile + y * kW + run.lane, run.count), run.count);
              }
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

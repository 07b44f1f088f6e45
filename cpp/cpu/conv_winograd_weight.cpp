// Gradient to the weight of convolutions of 3 x 3 (and 3) taps through Winograd's transform.
#include "base/parallel.h"
#include "cpu/winograd.h"

namespace fireseed::cpu::FS_ISA {
namespace {

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
constexpr int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
constexpr int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
constexpr int64_t kW = kTileCols<float>;

// The points of the output gradients of one block: dst[tile * tile_step + point * point_step + m].
template <class W>
void gradient_block(const WinogradJob& w, const float* g, const TileBlock& b, int64_t group, float* dst,
                    int64_t tile_step, int64_t point_step, PixelPatch& patch) {
  const ConvJob<float>& job = w.job;
  const int64_t rows = b.y1 - b.y0, cols = b.x1 - b.x0;
  patch.build(b.y0 * W::kOutY, b.x0 * W::kOut, rows * W::kOutY, cols * W::kOut, job.axis[1].out, job.axis[2].out);
  for (int64_t plane = b.plane0; plane < b.plane1; ++plane, dst += rows * cols * tile_step) {
    const int64_t n = plane / job.axis[0].out, z = plane % job.axis[0].out;
    for (int64_t m = 0; m < job.rows; m += kLanes) {
      patch.load(g + n * job.out_image + z * job.out_step[0] + (group * job.rows + m) * job.out_channel,
                 job.out_channel, job.rows - m < kLanes ? static_cast<int>(job.rows - m) : kLanes);
      float* d = dst + m;
      for (int64_t y = 0; y < rows; ++y)
        for (int64_t x = 0; x < cols; ++x, d += tile_step)
          gradient_tile<W>(patch.data() + y * W::kOutY * patch.pitch() + x * W::kOut * kLanes, patch.pitch(), d,
                           point_step, kLanes);
    }
  }
}

// dw of summed elements [k0, k1) and output channels [m, m + width) from sum[point * point_step + (k - k0) * row +
// i].
template <class W>
void weight_block(const WinogradJob& w, int64_t group, int64_t k0, int64_t k1, int64_t m, int64_t width,
                  const float* sum, int64_t row, int64_t point_step, float* dw) {
  const ConvJob<float>& job = w.job;
  const ConvAxis& az = job.axis[0];
  for (int64_t v = 0; v < width && m + v < job.rows; v += kLanes) {
    const int n = job.rows - m - v < kLanes ? static_cast<int>(job.rows - m - v) : kLanes;
    for (int64_t k = k0; k < k1; ++k) {
      const float* s = sum + (k - k0) * row + v;
      WVec t[W::kTapY][6], g[W::kTaps + kLanes];
#pragma GCC unroll 6
      for (int x = 0; x < 6; ++x) {
        WVec c[W::kInY];
#pragma GCC unroll 6
        for (int y = 0; y < W::kInY; ++y) c[y] = WVec::load(s + (y * 6 + x) * point_step);
        if constexpr (W::kAxes == 2) weight_values<W::kTap>(c, 1, &t[0][x], 6);
        else t[0][x] = c[0];
      }
#pragma GCC unroll 5
      for (int y = 0; y < W::kTapY; ++y) weight_values<W::kTap>(t[y], 1, g + W::kTap * y, 1);
      float* d = dw + group * job.w_group + (m + v) * job.w_row + k % job.channels * job.w_channel +
                 (az.ker0 + k / job.channels * az.dker) * job.w_tap[0];
#pragma GCC unroll 3
      for (int t0 = 0; t0 < W::kTaps; t0 += kLanes) {
        const int taps = W::kTaps - t0 < kLanes ? W::kTaps - t0 : kLanes;
        WVec r[kLanes];
#pragma GCC unroll 16
        for (int i = 0; i < kLanes; ++i) r[i] = i < taps ? g[t0 + i] : WVec(0.0f);
        transpose_registers(r);
        if (n == kLanes) {
#pragma GCC unroll 16
          for (int j = 0; j < kLanes; ++j) r[j].store(d + j * job.w_row + t0, taps);
        } else {
          for (int j = 0; j < n; ++j) r[j].store(d + j * job.w_row + t0, taps);
        }
      }
    }
  }
}

// sum(k, m) (+)= sum over tiles of v(tile, k) g(tile, m) for `rows` elements k and `cols` channels m (whole vectors).
void tile_products(int64_t tiles, int64_t rows, int64_t cols, const float* v, int64_t v_row, const float* g,
                   int64_t g_row, float* sum, int64_t sum_row, bool add) {
  const int64_t panels = ceil_div(rows, kMaxRows), cuts = ceil_div(tiles, kBlockK<float>);
  for (int64_t c = 0; c < cuts; ++c) {
    const int64_t t = piece_begin(tiles, cuts, c), n = piece_begin(tiles, cuts, c + 1) - t;
    for (int64_t m = 0; m < cols; m += kW) {
      const int width = static_cast<int>(least(kW, cols - m));
      for (int64_t q = 0; q < panels; ++q) {
        const int64_t k = piece_begin(rows, panels, q);
        const TileStore<float> store = {
            sum + k * sum_row + m, sum_row, 1.0f, add || c > 0 ? 1.0f : 0.0f, nullptr, nullptr, false, width};
        tile_kernel_for<float>(static_cast<int>(piece_begin(rows, panels, q + 1) - k), width / kLanes, false)(
            n, v + t * v_row + k, v_row, g + t * g_row + m, g_row, store);
      }
    }
  }
}

template <class W>
void winograd_weight(const WinogradJob& w, const float* g, float* dw, int64_t group) {
  const ConvJob<float>& job = w.job;
  const int64_t depth = w.depth, columns = ceil_div(job.rows, kLanes) * kLanes;
  const int64_t v_row = depth + 16, g_row = columns + 16;
  const TileGrid grid(w.planes, job.axis[1].out, job.axis[2].out, W::kOutY, W::kOut, 32);
  // Rounds of tiles whose points stay in the last cache.
  const int64_t tile_bytes = W::kPoints * (v_row + g_row) * static_cast<int64_t>(sizeof(float));
  const int64_t rounds = least(grid.blocks, ceil_div(grid.tiles, most(64, (4 << 20) / tile_bytes)));
  const int64_t room = least(grid.tiles, (ceil_div(grid.blocks, rounds)) * grid.largest);
  const int64_t v_step = point_step_of(room * v_row), g_step = point_step_of(room * g_row);
  // The sums of all points are `points / taps` times the weight. Where one round and one task can finish a block of
  // them they stay in L2; else they are kept, and a task takes one point.
  const int64_t sum_bytes = W::kPoints * depth * columns * static_cast<int64_t>(sizeof(float));
  const bool whole = rounds == 1 && sum_bytes > (1 << 20);
  const int64_t row_block = whole ? 3 * kMaxRows : 9 * kMaxRows, col_block = whole ? 2 * kW : 4 * kW;
  const int64_t row_cuts = ceil_div(depth, row_block), col_cuts = ceil_div(columns, col_block);
  const int64_t point_tasks = whole ? 1 : W::kPoints;

  const PointLayout at = {v_row, v_step, kLanes, job.channels};
  Scratch<float> v(W::kPoints * v_step + kLanes), gp(W::kPoints * g_step + kLanes);
  Scratch<float> sums(whole ? 0 : W::kPoints * depth * columns);
  for (int64_t r = 0; r < rounds; ++r) {
    const int64_t b0 = piece_begin(grid.blocks, rounds, r), b1 = piece_begin(grid.blocks, rounds, r + 1);
    const TileBlock last = grid.block(b1 - 1);
    const int64_t first = grid.block(b0).first, count = last.first + last.count - first;
    parallel_for(2 * (b1 - b0), 1, [&](int64_t begin, int64_t end) {
      PixelPatch source, gradient;
      for (int64_t i = begin; i < end; ++i) {
        const TileBlock b = grid.block(b0 + i / 2);
        const int64_t t = b.first - first;
        if (i % 2 == 0) source_block<W>(w, b, group, 0, job.channels, v.data() + t * v_row, at, source);
        else gradient_block<W>(w, g, b, group, gp.data() + t * g_row, g_row, g_step, gradient);
      }
    });
    parallel_for(point_tasks * row_cuts * col_cuts, 1, [&](int64_t begin, int64_t end) {
      Scratch<float> own(whole ? W::kPoints * row_block * col_block : 0);
      for (int64_t i = begin; i < end; ++i) {
        const int64_t point = i / (row_cuts * col_cuts), rc = i / col_cuts % row_cuts, cc = i % col_cuts;
        const int64_t k0 = piece_begin(depth, row_cuts, rc), k1 = piece_begin(depth, row_cuts, rc + 1);
        const int64_t m = cc * col_block, width = least(col_block, columns - m);
        if (whole) {
          const int64_t step = (k1 - k0) * width;
          for (int p = 0; p < W::kPoints; ++p)
            tile_products(count, k1 - k0, width, v.data() + p * v_step + k0, v_row, gp.data() + p * g_step + m, g_row,
                          own.data() + p * step, width, false);
          weight_block<W>(w, group, k0, k1, m, width, own.data(), width, step, dw);
        } else {
          tile_products(count, k1 - k0, width, v.data() + point * v_step + k0, v_row, gp.data() + point * g_step + m,
                        g_row, sums.data() + (point * depth + k0) * columns + m, columns, r > 0);
        }
      }
    });
  }
  if (whole) return;
  parallel_for(depth, 4096 / columns + 1, [&](int64_t begin, int64_t end) {
    weight_block<W>(w, group, begin, end, 0, columns, sums.data() + begin * columns, columns, depth * columns, dw);
  });
}

}  // namespace

bool conv_winograd_weight(const ConvJob<float>& job, const float* g, float* dw) {
  return with_winograd(job, [&](auto form) {
    const WinogradJob w(job, form);
    for (int64_t group = 0; group < job.groups; ++group) winograd_weight<decltype(form)>(w, g, dw, group);
  });
}

}  // namespace fireseed::cpu::FS_ISA

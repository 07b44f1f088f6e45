// Convolutions of 3 x 3 (and 3) taps through Winograd's transform: forward and gradient to the input.
#include <cstdlib>

#include "base/parallel.h"
#include "cpu/winograd.h"

namespace fireseed::cpu::FS_ISA {
namespace {

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
constexpr int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
constexpr int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
constexpr int64_t kW = kTileCols<float>;
constexpr int64_t kL2 = 3 << 18;        // bytes of L2 to plan with
constexpr int64_t kFewBytes = 3 << 20;  // of weights' points that are made once
constexpr int64_t kLeastChannels = 6;   // with fewer the transforms cost more than they save

// One vector of output channels: taps g[tap] to points, `step` apart.
template <class W>
FS_INLINE void weight_tile(const WVec* g, float* dst, int64_t step) {
  WVec t[W::kInY][W::kTap];
#pragma GCC unroll 5
  for (int x = 0; x < W::kTap; ++x) {
    if constexpr (W::kAxes == 2) weight_points<W::kTap>(g + x, W::kTap, &t[0][x], W::kTap);
    else t[0][x] = g[x];
  }
#pragma GCC unroll 6
  for (int y = 0; y < W::kInY; ++y) {
    WVec p[6];
    weight_points<W::kTap>(t[y], 1, p, 1);
#pragma GCC unroll 6
    for (int x = 0; x < 6; ++x) p[x].store(dst + (y * 6 + x) * step);
  }
}

// Rows 0..n of `count` values, `step` apart, turned: dst[i] holds value i of every row.
FS_INLINE void turn_rows(const float* src, int64_t step, int n, int count, WVec* dst) {
  WVec r[kLanes];
  if (n == kLanes) {
#pragma GCC unroll 16
    for (int j = 0; j < kLanes; ++j)
      r[j] = count == kLanes ? WVec::load(src + j * step) : WVec::load(src + j * step, count);
  } else {
    for (int j = 0; j < kLanes; ++j) r[j] = j < n ? WVec::load(src + j * step, count) : WVec(0.0f);
  }
  transpose_registers(r);
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i)
    if (i < count) dst[i] = r[i];
}

// The taps of the weights of output channels [m, m + kLanes) and summed elements [k0, k0 + count), count <= kLanes,
// all of one tap along the first axis: g[(k - k0) * taps + tap], a lane an output channel.
template <class W>
FS_INLINE void turn_weights(const WinogradJob& w, int64_t group, int64_t m, int64_t k0, int count, WVec* g) {
  const ConvJob<float>& job = w.job;
  const ConvAxis& az = job.axis[0];
  const int64_t left = job.rows - m;
  const int n = left < kLanes ? static_cast<int>(most(left, 0)) : kLanes;
  const int64_t tz = k0 / job.channels, c = k0 % job.channels;
  const float* s =
      job.weight + group * job.w_group + m * job.w_row + c * job.w_channel + (az.ker0 + tz * az.dker) * job.w_tap[0];
  if (count == kLanes && !w.turned && job.w_channel == W::kTaps) {  // one after the other: whole squares
    for (int t = 0; t < W::kTaps; ++t) turn_rows(s + t * kLanes, job.w_row, n, kLanes, g + t * kLanes);
    return;
  }
  for (int i = 0; i < count; ++i, s += job.w_channel, g += W::kTaps) {
#pragma GCC unroll 3
    for (int t = 0; t < W::kTaps; t += kLanes)
      turn_rows(s + t, job.w_row, n, W::kTaps - t < kLanes ? W::kTaps - t : kLanes, g + t);
    if (!w.turned) continue;
    for (int t = 0; t < W::kTaps / 2; ++t) {
      const WVec x = g[t];
      g[t] = g[W::kTaps - 1 - t];
      g[W::kTaps - 1 - t] = x;
    }
  }
}

// The points of the weights of output channels [m, m + width) and summed elements [k0, k1), as the panel
// u[point * point_step + (k - k0) * width + i].
template <class W>
void weight_panel(const WinogradJob& w, int64_t group, int64_t m, int64_t width, int64_t k0, int64_t k1, float* u,
                  int64_t point_step) {
  WVec g[W::kTaps * kLanes];
  for (int64_t v = 0; v < width; v += kLanes) {
    float* d = u + v;
    for (int64_t k = k0; k < k1;) {
      const int64_t left = w.job.channels - k % w.job.channels;
      const int n = static_cast<int>(least(least(left, k1 - k), kLanes));
      turn_weights<W>(w, group, m + v, k, n, g);
      for (int i = 0; i < n; ++i, d += width) weight_tile<W>(g + i * W::kTaps, d, point_step);
      k += n;
    }
  }
}

// m(point) (+)= v(point) u(point): (tiles, k) x (k, width) for each point.
void point_products(int points, int64_t tiles, int64_t k, const float* v, int64_t tile_step, int64_t v_step,
                    const float* u, int64_t width, int64_t u_step, float* m, int64_t m_step, bool add) {
  const int64_t panels = ceil_div(tiles, kMaxRows);
  for (int p = 0; p < points; ++p)
    for (int64_t q = 0; q < panels; ++q) {
      const int64_t t = piece_begin(tiles, panels, q);
      const int rows = static_cast<int>(piece_begin(tiles, panels, q + 1) - t);
      const TileStore<float> store = {
          m + p * m_step + t * width, width, 1.0f, add ? 1.0f : 0.0f, nullptr, nullptr, false,
          static_cast<int>(width)};
      tile_kernel_for<float>(rows, static_cast<int>(width / kLanes), true)(k, v + p * v_step + t * tile_step,
                                                                           tile_step, u + p * u_step, width, store);
    }
}

// The outputs of one block for channels [m, m + width) from src[point * point_step + tile * width + i].
template <class W>
void output_block(const WinogradJob& w, const TileBlock& b, int64_t group, int64_t m, int64_t width, const float* src,
                  int64_t point_step, PixelPatch& patch) {
  const ConvJob<float>& job = w.job;
  const int64_t rows = b.y1 - b.y0, cols = b.x1 - b.x0;
  patch.build(b.y0 * W::kOutY, b.x0 * W::kOut, rows * W::kOutY, cols * W::kOut, job.axis[1].out, job.axis[2].out);
  for (int64_t plane = b.plane0; plane < b.plane1; ++plane, src += rows * cols * width) {
    const int64_t n = plane / job.axis[0].out, z = plane % job.axis[0].out;
    for (int64_t v = 0; v < width && m + v < job.rows; v += kLanes) {
      const int left = job.rows - m - v < kLanes ? static_cast<int>(job.rows - m - v) : kLanes;
      const int64_t channel = group * job.rows + m + v;
      const WVec bias = job.bias ? WVec::load(job.bias + channel, left) : WVec(0.0f);
      const float* s = src + v;
      for (int64_t y = 0; y < rows; ++y)
        for (int64_t x = 0; x < cols; ++x, s += width)
          output_tile<W>(s, point_step, patch.data() + y * W::kOutY * patch.pitch() + x * W::kOut * kLanes,
                         patch.pitch(), bias);
      patch.store(job.out + n * job.out_image + z * job.out_step[0] + channel * job.out_channel, job.out_channel,
                  left);
    }
  }
}

int64_t panel_columns(int64_t rows, int64_t q) { return panel_width<float>(least(kW, rows - q * kW)); }

// Few channels: the weights' points fit into the caches and are made once; a task takes a block of tiles through all
// three steps.
template <class W>
void few_channels(const WinogradJob& w, int64_t group) {
  const ConvJob<float>& job = w.job;
  const int64_t panels = ceil_div(job.rows, kW), depth = w.depth;
  const int64_t panel_size = W::kPoints * point_step_of(depth * kW);
  Scratch<float> points(panels * panel_size);
  const int64_t cut = most(1, 2048 / kW), cuts = ceil_div(depth, cut);
  parallel_for(panels * cuts, 4, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t q = i / cuts, k0 = i % cuts * cut, width = panel_columns(job.rows, q);
      weight_panel<W>(w, group, q * kW, width, k0, least(depth, k0 + cut),
                      points.data() + q * panel_size + k0 * width, point_step_of(depth * width));
    }
  });
  // A block's points of source and outputs take up to 2/3 of L2, but there are 16 blocks or more.
  const int64_t tiles = w.planes * ceil_div(job.axis[1].out, W::kOutY) * ceil_div(job.axis[2].out, W::kOut);
  int64_t target = kL2 * 2 / 3 / static_cast<int64_t>(sizeof(float)) / (W::kPoints * (depth + kW));
  target = least(most(target, kMaxRows), most(kMaxRows / 2, ceil_div(tiles, 16)));
  const TileGrid grid(w.planes, job.axis[1].out, job.axis[2].out, W::kOutY, W::kOut, target);
  parallel_for(grid.blocks, 1, [&](int64_t begin, int64_t end) {
    const int64_t tile_step = depth + 16, v_step = point_step_of(grid.largest * tile_step),
                  m_step = point_step_of(grid.largest * kW);
    Scratch<float> v(W::kPoints * v_step + kLanes), m(W::kPoints * m_step);
    PixelPatch source, output;
    for (int64_t i = begin; i < end; ++i) {
      const TileBlock b = grid.block(i);
      source_block<W>(w, b, group, 0, job.channels, v.data(), {tile_step, v_step, kLanes, job.channels}, source);
      for (int64_t q = 0; q < panels; ++q) {
        const int64_t width = panel_columns(job.rows, q);
        point_products(W::kPoints, b.count, depth, v.data(), tile_step, v_step, points.data() + q * panel_size, width,
                       point_step_of(depth * width), m.data(), m_step, false);
        output_block<W>(w, b, group, q * kW, width, m.data(), m_step, output);
      }
    }
  });
}

// Many channels: the weights' points would be several times the weights themselves. The sources' points of up to 128
// tiles are made first; then a task takes one panel of output channels through the other steps, a part of the sum at
// a time, so that the weights' points stay in L2.
template <class W>
void many_channels(const WinogradJob& w, int64_t group) {
  const ConvJob<float>& job = w.job;
  const int64_t panels = ceil_div(job.rows, kW), depth = w.depth;
  const TileGrid grid(w.planes, job.axis[1].out, job.axis[2].out, W::kOutY, W::kOut, 32);
  const int64_t rounds = most(1, (grid.tiles + 63) / 128);
  const int64_t tile_step = depth + 16;
  const int64_t squares = ceil_div(depth, kLanes);  // that the weights are turned by
  const int64_t cuts =
      least(squares, ceil_div(depth * W::kPoints * kW * static_cast<int64_t>(sizeof(float)), kL2 / 2));
  Scratch<float> v;
  for (int64_t r = 0; r < rounds; ++r) {
    const int64_t b0 = piece_begin(grid.blocks, rounds, r), b1 = piece_begin(grid.blocks, rounds, r + 1);
    if (b0 == b1) continue;
    const TileBlock last = grid.block(b1 - 1);
    const int64_t first = grid.block(b0).first, count = last.first + last.count - first;
    const int64_t v_step = point_step_of(count * tile_step);
    if (!v) v.reset(W::kPoints * point_step_of((count + grid.largest) * tile_step) + kLanes);
    // Where there are few blocks a task takes a part of the channels.
    const int64_t lanes = ceil_div(job.channels, kLanes), parts = b1 - b0 < 8 ? least(4, lanes) : 1;
    parallel_for((b1 - b0) * parts, 1, [&](int64_t begin, int64_t end) {
      PixelPatch patch;
      for (int64_t i = begin; i < end; ++i) {
        const TileBlock b = grid.block(b0 + i / parts);
        const int64_t c0 = piece_begin(lanes, parts, i % parts) * kLanes,
                      c1 = piece_begin(lanes, parts, i % parts + 1) * kLanes;
        source_block<W>(w, b, group, c0, least(job.channels, c1), v.data() + (b.first - first) * tile_step,
                        {tile_step, v_step, kLanes, job.channels}, patch);
      }
    });
    parallel_for(panels, 1, [&](int64_t begin, int64_t end) {
      const int64_t m_step = point_step_of(count * kW), largest_cut = ceil_div(squares, cuts) * kLanes;
      Scratch<float> u(W::kPoints * point_step_of(largest_cut * kW)), m(W::kPoints * m_step);
      PixelPatch patch;
      for (int64_t q = begin; q < end; ++q) {
        const int64_t width = panel_columns(job.rows, q);
        for (int64_t c = 0; c < cuts; ++c) {
          const int64_t k0 = piece_begin(squares, cuts, c) * kLanes,
                        k1 = least(depth, piece_begin(squares, cuts, c + 1) * kLanes);
          const int64_t u_step = point_step_of((k1 - k0) * width);
          weight_panel<W>(w, group, q * kW, width, k0, k1, u.data(), u_step);
          point_products(W::kPoints, count, k1 - k0, v.data() + k0, tile_step, v_step, u.data(), width, u_step,
                         m.data(), m_step, c > 0);
        }
        for (int64_t i = b0; i < b1; ++i) {
          const TileBlock b = grid.block(i);
          output_block<W>(w, b, group, q * kW, width, m.data() + (b.first - first) * width, m_step, patch);
        }
      }
    });
  }
}

constexpr int kFewTiles = 4;
constexpr int kTilePoints = kMaxRows < 12 ? 3 : 6;       // whose sums of all tiles are in registers
constexpr int kDepth = 8, kPointStep = kDepth * kLanes;  // summed elements whose weights' points are in L1

// m(point, tile) (+)= sum over k of v(point, tile)[k] u(point, k): v and m have kLanes floats a tile, kTiles of them
// a point; u has kPointStep a point.
template <int kTiles>
void few_products(int k, const float* v, const float* u, float* m, bool add) {
  WVec acc[kTilePoints][kTiles];
#pragma GCC unroll 8
  for (int p = 0; p < kTilePoints; ++p)
#pragma GCC unroll 4
    for (int t = 0; t < kTiles; ++t) acc[p][t] = add ? WVec::load(m + (p * kTiles + t) * kLanes) : WVec(0.0f);
  for (int i = 0; i < k; ++i, ++v, u += kLanes) {
#pragma GCC unroll 8
    for (int p = 0; p < kTilePoints; ++p) {
      const WVec x = WVec::load(u + p * kPointStep);
#pragma GCC unroll 4
      for (int t = 0; t < kTiles; ++t) acc[p][t] = fma(WVec(v[(p * kTiles + t) * kLanes]), x, acc[p][t]);
    }
  }
#pragma GCC unroll 8
  for (int p = 0; p < kTilePoints; ++p)
#pragma GCC unroll 4
    for (int t = 0; t < kTiles; ++t) acc[p][t].store(m + (p * kTiles + t) * kLanes);
}
constexpr void (*kFewProducts[kFewTiles])(int, const float*, const float*, float*, bool) = {
    few_products<1>, few_products<2>, few_products<3>, few_products<4>};

// Few tiles: the weights' points are most of the work. A task takes kLanes output channels: it makes the points of a
// few summed elements, which stay in L1, and multiplies all tiles with them.
template <class W>
void few_tiles(const WinogradJob& w, int64_t group) {
  const ConvJob<float>& job = w.job;
  const TileGrid grid(w.planes, job.axis[1].out, job.axis[2].out, W::kOutY, W::kOut, kFewTiles);
  const int64_t lanes = ceil_div(job.channels, kLanes), blocks = job.axis[0].taps * lanes;
  const int64_t step = grid.tiles * kLanes;  // from point to point
  const PointLayout at = {kLanes, step, W::kPoints * step, lanes * W::kPoints * step};
  Scratch<float> v(blocks * W::kPoints * step);
  parallel_for(lanes, 4, [&](int64_t begin, int64_t end) {
    PixelPatch patch;
    for (int64_t i = 0; i < grid.blocks; ++i) {
      const TileBlock b = grid.block(i);
      source_block<W>(w, b, group, begin * kLanes, least(job.channels, end * kLanes), v.data() + b.first * kLanes, at,
                      patch);
    }
  });
  const bool runs = !w.turned && job.w_channel == W::kTaps;
  const auto products = kFewProducts[grid.tiles - 1];
  parallel_for(ceil_div(job.rows, kLanes), 1, [&](int64_t begin, int64_t end) {
    Scratch<float> m(W::kPoints * step);
    PixelPatch patch;
    WVec g[W::kTaps * kLanes];
    alignas(64) float u[W::kPoints * kPointStep];
    for (int64_t q = begin; q < end; ++q) {
      for (int64_t i = 0; i < blocks; ++i) {
        const int64_t c = i % lanes * kLanes;
        const int depth = static_cast<int>(least(job.channels - c, kLanes));
        turn_weights<W>(w, group, q * kLanes, i / lanes * job.channels + c, depth, g);
        for (int k = 0; k < depth; k += kDepth) {
          const int n = depth - k < kDepth ? depth - k : kDepth;
          for (int j = k; j < k + n; ++j) {
            if (runs && q * kLanes + j < job.rows) {  // a row's taps that are turned next
              const float* row = job.weight + group * job.w_group + (q * kLanes + j) * job.w_row;
              for (int a = 0; a < kLanes * W::kTaps; a += 16) __builtin_prefetch(row + (c + kLanes) * W::kTaps + a);
            }
            weight_tile<W>(g + j * W::kTaps, u + (j - k) * kLanes, kPointStep);
          }
          for (int p = 0; p < W::kPoints; p += kTilePoints)
            products(n, v.data() + (i * W::kPoints + p) * step + k, u + p * kPointStep, m.data() + p * step,
                     i + k > 0);
        }
      }
      for (int64_t i = 0; i < grid.blocks; ++i) {
        const TileBlock b = grid.block(i);
        output_block<W>(w, b, group, q * kLanes, kLanes, m.data() + b.first * kLanes, step, patch);
      }
    }
  });
}

// Taps one after the other, forwards or backwards, on every pixel.
bool plain_taps(const ConvAxis& a, int taps) {
  return a.taps == taps && a.step == 1 && (a.doff == 1 || a.doff == -1 || taps == 1);
}

}  // namespace

bool winograd_fits(const ConvJob<float>& job, int axes, int taps) {
  static const bool on = [] {
    const char* text = std::getenv("FIRESEED_WINOGRAD");
    return !text || text[0] != '0' || text[1] != 0;
  }();
  const ConvAxis &ay = job.axis[1], &ax = job.axis[2];
  if (!on || job.batch == 0 || job.channels < kLeastChannels || job.rows < kLeastChannels) return false;
  if (!plain_taps(ax, taps) || !plain_taps(ay, axes == 2 ? taps : 1)) return false;
  if (axes == 2 && (ay.doff != ax.doff || job.w_tap[1] != taps)) return false;
  return job.w_tap[2] == 1 && job.out_step[2] == 1 && job.out_step[1] == ax.out;
}

bool conv_winograd(const ConvJob<float>& job) {
  bool done = true;
  const bool fits = with_winograd(job, [&](auto form) {
    using W = decltype(form);
    const WinogradJob w(job, form);
    // A pixel costs a product a tap, a tile one a point; the weights' points cost as much as those of about 8 tiles,
    // and without them turned weights would have to be packed.
    const int64_t tiles = w.planes * ceil_div(job.axis[1].out, W::kOutY) * ceil_div(job.axis[2].out, W::kOut);
    const int64_t direct = W::kTaps * job.batch * job.pixels() + (w.turned ? 512 : 0);
    done = direct >= W::kPoints * (tiles + 8);
    if (!done) return;
    for (int64_t group = 0; group < job.groups; ++group) {
      if (tiles <= kFewTiles) few_tiles<W>(w, group);
      else if ((tiles <= 128 && job.rows > 3 * kW) ||
               w.depth * job.rows * W::kPoints * static_cast<int64_t>(sizeof(float)) > kFewBytes)
        many_channels<W>(w, group);
      else few_channels<W>(w, group);
    }
  });
  return fits && done;
}

}  // namespace fireseed::cpu::FS_ISA

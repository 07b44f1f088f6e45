// Winograd's minimal filtering F(4, 3): the transforms of tiles and weights, and how an image is cut into tiles.
#pragma once

#include "cpu/conv.h"

namespace fireseed::cpu::FS_ISA {

// Note [Winograd]
// Four outputs of a 3-tap filter over six inputs d take six products instead of twelve:
//   y = A^T ((G w) * (B^T d)),   in two axes   Y = A^T ((G W G^T) * (B^T D B)) A,
// which makes a tile of 4 x 4 outputs from 6 x 6 inputs with 36 products instead of 144. The products of one of the
// 36 points, over all tiles and channels, are a matrix product: (tiles, channels) x (channels, output channels).
// The gradient to the input is the same with turned weights; that to the weight is the transpose of the same form:
//   dW = G^T ((A dY A^T) * (B^T D B)) G, summed over the tiles: (channels, tiles) x (tiles, output channels).
// The matrices come from evaluating polynomials at 0, +-1/sqrt(2), +-sqrt(2) and infinity. Of the points with few
// operations these lose least: the error grows to about twice that of direct summation (with 0, +-1, +-2 and infinity
// it is five times). Lanes are channels throughout, so tiles of any image size cost the same.

using WVec = Vec<float>;
inline constexpr int kLanes = WVec::kSize;

// One axis is transformed or two; 3 taps make 4 outputs of 6 inputs, 5 taps 2.
template <int kNumAxes, int kNumTaps>
struct Winograd {
  static constexpr int kAxes = kNumAxes;
  static constexpr int kTap = kNumTaps;
  static constexpr int kOut = 7 - kTap;
  static constexpr int kInY = kAxes == 2 ? 6 : 1;
  static constexpr int kOutY = kAxes == 2 ? kOut : 1;
  static constexpr int kTapY = kAxes == 2 ? kTap : 1;
  static constexpr int kPoints = kInY * 6;
  static constexpr int kTaps = kTapY * kTap;
};

inline constexpr float kPointA = 0.70710678118654752f, kPointB = 1.41421356237309505f;

// v = B^T d: 6 -> 6. Element i of an axis stands at [i * step].
FS_INLINE void source_points(const WVec* d, int ds, WVec* v, int vs) {
  const WVec d0 = d[0], d1 = d[ds], d2 = d[2 * ds], d3 = d[3 * ds], d4 = d[4 * ds], d5 = d[5 * ds];
  const WVec a(kPointA), b(kPointB), half(0.5f), two(2.0f), s(2.5f);
  const WVec even_a = d4 - two * d2, odd_a = d3 - two * d1, even_b = fma(-half, d2, d4), odd_b = fma(-half, d1, d3);
  v[0] = fma(-s, d2, d0 + d4);
  v[vs] = fma(a, odd_a, even_a);
  v[2 * vs] = fma(-a, odd_a, even_a);
  v[3 * vs] = fma(b, odd_b, even_b);
  v[4 * vs] = fma(-b, odd_b, even_b);
  v[5 * vs] = fma(-s, d3, d1 + d5);
}
// y = A^T m: 6 -> kOut.
template <int kOut>
FS_INLINE void output_values(const WVec* m, int ms, WVec* y, int ys) {
  const WVec a(kPointA), b(kPointB), half(0.5f), two(2.0f), a3(0.5f * kPointA), b3(2.0f * kPointB);
  const WVec s1 = m[ms] + m[2 * ms], d1 = m[ms] - m[2 * ms], s2 = m[3 * ms] + m[4 * ms], d2 = m[3 * ms] - m[4 * ms];
  y[0] = m[0] + (s1 + s2);
  if constexpr (kOut == 2) {
    y[ys] = fma(a, d1, fma(b, d2, m[5 * ms]));
  } else {
    y[ys] = fma(a, d1, b * d2);
    y[2 * ys] = fma(half, s1, two * s2);
    y[3 * ys] = fma(a3, d1, fma(b3, d2, m[5 * ms]));
  }
}
// p = A y: kOut -> 6.
template <int kOut>
FS_INLINE void output_points(const WVec* y, int ys, WVec* p, int ps) {
  const WVec a(kPointA), b(kPointB), half(0.5f), two(2.0f);
  const WVec y0 = y[0], y1 = y[ys];
  WVec even_a = y0, odd_a = y1, even_b = y0, odd_b = y1, last = y1;
  if constexpr (kOut == 4) {
    const WVec y2 = y[2 * ys];
    last = y[3 * ys];
    even_a = fma(half, y2, y0), odd_a = fma(half, last, y1);
    even_b = fma(two, y2, y0), odd_b = fma(two, last, y1);
  }
  p[0] = y0;
  p[ps] = fma(a, odd_a, even_a);
  p[2 * ps] = fma(-a, odd_a, even_a);
  p[3 * ps] = fma(b, odd_b, even_b);
  p[4 * ps] = fma(-b, odd_b, even_b);
  p[5 * ps] = last;
}
// u = G w: kTap -> 6.
template <int kTap>
FS_INLINE void weight_points(const WVec* w, int ws, WVec* u, int us) {
  const WVec na(-2.0f / 3.0f), nb(1.0f / 6.0f), half(0.5f), two(2.0f);
  const WVec ca(-2.0f / 3.0f * kPointA), cb(1.0f / 6.0f * kPointB);
  WVec high_a = w[2 * ws], high_b = w[2 * ws], odd_a = w[ws], odd_b = w[ws];
  if constexpr (kTap == 5) {
    high_a = fma(half, w[4 * ws], high_a), high_b = fma(two, w[4 * ws], high_b);
    odd_a = fma(half, w[3 * ws], odd_a), odd_b = fma(two, w[3 * ws], odd_b);
  }
  const WVec even_a = fma(half * na, high_a, na * w[0]), even_b = fma(two * nb, high_b, nb * w[0]);
  u[0] = w[0];
  u[us] = fma(ca, odd_a, even_a);
  u[2 * us] = fma(-ca, odd_a, even_a);
  u[3 * us] = fma(cb, odd_b, even_b);
  u[4 * us] = fma(-cb, odd_b, even_b);
  u[5 * us] = w[(kTap - 1) * ws];
}
// w = G^T u: 6 -> kTap.
template <int kTap>
FS_INLINE void weight_values(const WVec* u, int us, WVec* w, int ws) {
  const WVec na(-2.0f / 3.0f), nb(1.0f / 6.0f), half(0.5f), two(2.0f);
  WVec s1 = na * (u[us] + u[2 * us]), s2 = nb * (u[3 * us] + u[4 * us]);
  WVec d1 = WVec(-2.0f / 3.0f * kPointA) * (u[us] - u[2 * us]),
       d2 = WVec(1.0f / 6.0f * kPointB) * (u[3 * us] - u[4 * us]);
  w[0] = u[0] + (s1 + s2);
  w[ws] = d1 + d2;
  s1 *= half, s2 *= two;
  if constexpr (kTap == 5) {
    w[2 * ws] = s1 + s2;
    w[3 * ws] = fma(half, d1, two * d2);
    s1 *= half, s2 *= two;
  }
  w[(kTap - 1) * ws] = (s1 + s2) + u[5 * us];
}

// Floats from point to point, at least n: an odd number of cache lines, so that the points of a tile, written
// together, fall onto different sets.
constexpr int64_t point_step_of(int64_t n) { return ((n + 15) / 16 | 1) * 16; }

FS_INLINE void store_lanes(WVec v, float* p, int n) {
  if (n == kLanes) v.store(p);
  else v.store(p, n);
}

// One tile of pixels (kLanes channels each, rows `pitch` floats apart) to its points, `step` floats apart; the first
// n channels are written.
template <class W>
FS_INLINE void source_tile(const float* src, int64_t pitch, float* dst, int64_t step, int n) {
  WVec t[W::kInY][6];
#pragma GCC unroll 6
  for (int x = 0; x < 6; ++x) {
    WVec c[W::kInY];
#pragma GCC unroll 6
    for (int y = 0; y < W::kInY; ++y) c[y] = WVec::load(src + y * pitch + x * kLanes);
    if constexpr (W::kAxes == 2) source_points(c, 1, &t[0][x], 6);
    else t[0][x] = c[0];
  }
#pragma GCC unroll 6
  for (int y = 0; y < W::kInY; ++y) {
    WVec r[6];
    source_points(t[y], 1, r, 1);
#pragma GCC unroll 6
    for (int x = 0; x < 6; ++x) store_lanes(r[x], dst + (y * 6 + x) * step, n);
  }
}

// A tile of output gradients to its points.
template <class W>
FS_INLINE void gradient_tile(const float* src, int64_t pitch, float* dst, int64_t step, int n) {
  WVec t[W::kInY][W::kOut];
#pragma GCC unroll 4
  for (int x = 0; x < W::kOut; ++x) {
    WVec c[W::kOutY];
#pragma GCC unroll 4
    for (int y = 0; y < W::kOutY; ++y) c[y] = WVec::load(src + y * pitch + x * kLanes);
    if constexpr (W::kAxes == 2) output_points<W::kOut>(c, 1, &t[0][x], W::kOut);
    else t[0][x] = c[0];
  }
#pragma GCC unroll 6
  for (int y = 0; y < W::kInY; ++y) {
    WVec r[6];
    output_points<W::kOut>(t[y], 1, r, 1);
#pragma GCC unroll 6
    for (int x = 0; x < 6; ++x) store_lanes(r[x], dst + (y * 6 + x) * step, n);
  }
}

// Products of the points, `step` floats apart, to a tile of outputs.
template <class W>
FS_INLINE void output_tile(const float* src, int64_t step, float* dst, int64_t pitch, WVec bias) {
  WVec t[W::kOutY][6];
#pragma GCC unroll 6
  for (int x = 0; x < 6; ++x) {
    WVec c[W::kInY];
#pragma GCC unroll 6
    for (int y = 0; y < W::kInY; ++y) c[y] = WVec::load(src + (y * 6 + x) * step);
    if constexpr (W::kAxes == 2) output_values<W::kOut>(c, 1, &t[0][x], 6);
    else t[0][x] = c[0];
  }
#pragma GCC unroll 4
  for (int y = 0; y < W::kOutY; ++y) {
    WVec r[W::kOut];
    output_values<W::kOut>(t[y], 1, r, 1);
#pragma GCC unroll 4
    for (int x = 0; x < W::kOut; ++x) (r[x] + bias).store(dst + y * pitch + x * kLanes);
  }
}

// Note [Tile blocks]
// The outputs are cut into tiles, numbered by (plane, row of tiles, column of tiles), a plane being one image at one
// depth. A block is a run of about `target` of them that is a rectangle: several planes, rows of tiles of one plane,
// or a part of one row.
struct TileBlock {
  int64_t plane0, plane1, y0, y1, x0, x1;
  int64_t first, count;  // tiles
};

struct TileGrid {
  TileGrid(int64_t plane_count, int64_t out_h, int64_t out_w, int64_t tile_h, int64_t tile_w, int64_t target)
      : planes(plane_count), ty((out_h + tile_h - 1) / tile_h), tx((out_w + tile_w - 1) / tile_w) {
    const int64_t per_plane = ty * tx;
    if (per_plane <= target) {
      plane_cuts = (planes + target / per_plane - 1) / (target / per_plane);
    } else {
      plane_cuts = planes;
      // Rounded: blocks of half the size would leave the rows of a product's tile half empty.
      const int64_t rows = (target + tx / 2) / tx;
      if (rows > 0) y_cuts = (ty + rows - 1) / rows;
      else y_cuts = ty, x_cuts = (tx + target / 2) / target;
    }
    blocks = plane_cuts * y_cuts * x_cuts;
    tiles = planes * per_plane;
    largest = block(0).count;  // the first pieces of a cut are the largest
  }
  TileBlock block(int64_t b) const {
    const int64_t cx = b % x_cuts, cy = b / x_cuts % y_cuts, cp = b / x_cuts / y_cuts;
    TileBlock r = {piece_begin(planes, plane_cuts, cp),
                   piece_begin(planes, plane_cuts, cp + 1),
                   piece_begin(ty, y_cuts, cy),
                   piece_begin(ty, y_cuts, cy + 1),
                   piece_begin(tx, x_cuts, cx),
                   piece_begin(tx, x_cuts, cx + 1),
                   0,
                   0};
    r.first = (r.plane0 * ty + r.y0) * tx + r.x0;
    r.count = (r.plane1 - r.plane0) * (r.y1 - r.y0) * (r.x1 - r.x0);
    return r;
  }
  int64_t planes, ty, tx, plane_cuts = 1, y_cuts = 1, x_cuts = 1, blocks = 0, tiles = 0, largest = 0;
};

// A rectangle of pixels [y0, y0 + rows) x [x0, x0 + cols) of planes of (height, width), and its copy in which a pixel
// is a vector of kLanes channels; what lies outside of the plane is 0 in the copy and not written back.
class PixelPatch {
 public:
  void build(int64_t y0, int64_t x0, int64_t rows, int64_t cols, int64_t height, int64_t width) {
    if (y0 == y0_ && x0 == x0_ && rows == rows_ && cols == cols_) return;
    y0_ = y0, x0_ = x0, rows_ = rows, cols_ = cols;
    buffer_.reset(rows * cols * kLanes);
    const int64_t ya = y0 < 0 ? -y0 : 0, yb = y0 + rows > height ? height - y0 : rows;
    const int64_t xa = x0 < 0 ? -x0 : 0, xb = x0 + cols > width ? width - x0 : cols;
    __builtin_memset(buffer_.data(), 0, static_cast<size_t>(rows * cols * kLanes) * sizeof(float));
    runs_ = 0;
    if (ya >= yb || xa >= xb) return;
    start_ = (y0 + ya) * width + x0 + xa;
    length_ = xb - xa;
    runs_ = yb - ya;
    run_step_ = width;
    if (length_ == width) length_ *= runs_, runs_ = 1;  // whole rows lie one after the other
    at_.reset((yb - ya) * (xb - xa));
    int32_t* at = at_.data();
    for (int64_t y = ya; y < yb; ++y)
      for (int64_t x = xa; x < xb; ++x) *at++ = static_cast<int32_t>((y * cols + x) * kLanes);
  }

  // Channels [0, n) of `plane`, `step` apart, into the copy; lanes n.. become 0.
  void load(const float* plane, int64_t step, int n) {
    each_vector([&](int64_t p, int count, const int32_t* at) {
      WVec r[kLanes];
      if (n == kLanes && count == kLanes) {
#pragma GCC unroll 16
        for (int c = 0; c < kLanes; ++c) r[c] = WVec::load(plane + c * step + p);
      } else {
        for (int c = 0; c < kLanes; ++c) r[c] = c < n ? WVec::load(plane + c * step + p, count) : WVec(0.0f);
      }
      transpose_registers(r);
      if (count == kLanes) {
#pragma GCC unroll 16
        for (int i = 0; i < kLanes; ++i) r[i].store(buffer_.data() + at[i]);
      } else {
        for (int i = 0; i < count; ++i) r[i].store(buffer_.data() + at[i]);
      }
    });
  }
  // The way back.
  void store(float* plane, int64_t step, int n) {
    each_vector([&](int64_t p, int count, const int32_t* at) {
      WVec r[kLanes];
      if (count == kLanes) {
#pragma GCC unroll 16
        for (int i = 0; i < kLanes; ++i) r[i] = WVec::load(buffer_.data() + at[i]);
      } else {
        for (int i = 0; i < kLanes; ++i) r[i] = i < count ? WVec::load(buffer_.data() + at[i]) : WVec(0.0f);
      }
      transpose_registers(r);
      if (n == kLanes && count == kLanes) {
#pragma GCC unroll 16
        for (int c = 0; c < kLanes; ++c) r[c].store(plane + c * step + p);
      } else {
        for (int c = 0; c < n; ++c) r[c].store(plane + c * step + p, count);
      }
    });
  }
  float* data() { return buffer_.data(); }
  int64_t pitch() const { return cols_ * kLanes; }

 private:
  template <class F>
  FS_INLINE void each_vector(F f) {
    const int32_t* at = at_.data();
    for (int64_t run = 0; run < runs_; ++run) {
      const int64_t base = start_ + run * run_step_;
      for (int64_t p = 0; p < length_; p += kLanes) {
        const int count = length_ - p < kLanes ? static_cast<int>(length_ - p) : kLanes;
        f(base + p, count, at);
        at += count;
      }
    }
  }

  int64_t y0_ = 0, x0_ = 0, rows_ = 0, cols_ = 0;
  int64_t start_ = 0, length_ = 0, runs_ = 0, run_step_ = 0;
  Scratch<float> buffer_;
  Scratch<int32_t> at_;  // where each pixel of the plane stands in the copy
};

// Calls f(Winograd<axes, taps>()) with the form that fits the job; false: none does.
template <class F>
bool with_winograd(const ConvJob<float>& job, F f) {
  if (winograd_fits(job, 2, 3)) return f(Winograd<2, 3>()), true;
  if (winograd_fits(job, 2, 5)) return f(Winograd<2, 5>()), true;
  if (winograd_fits(job, 1, 3)) return f(Winograd<1, 3>()), true;
  if (winograd_fits(job, 1, 5)) return f(Winograd<1, 5>()), true;
  return false;
}

// What the kernels know of a job beyond the job itself.
struct WinogradJob {
  template <class W>
  WinogradJob(const ConvJob<float>& j, W) : job(j), turned(j.axis[2].doff < 0) {
    low_y = turned ? job.axis[1].off0 - (W::kTapY - 1) : job.axis[1].off0;
    low_x = turned ? job.axis[2].off0 - (W::kTap - 1) : job.axis[2].off0;
    depth = job.axis[0].taps * job.channels;
    planes = job.batch * job.axis[0].out;
  }
  const ConvJob<float>& job;
  bool turned;           // taps run backwards
  int64_t low_y, low_x;  // source position of the first tap of output 0
  int64_t depth;         // summed elements: (tap along the first axis, channel)
  int64_t planes;        // of outputs: (image, depth)
};

// Where points of sources stand: the steps from tile to tile, from point to point, from kLanes channels to the next
// ones and from tap to tap of the first axis.
struct PointLayout { int64_t tile, point, lanes, tap; };

// The points of the sources of one block, of channels [c_begin, c_end), the first a multiple of kLanes.
template <class W>
void source_block(const WinogradJob& w, const TileBlock& b, int64_t group, int64_t c_begin, int64_t c_end, float* dst,
                  const PointLayout& at, PixelPatch& patch) {
  const ConvJob<float>& job = w.job;
  const ConvAxis& az = job.axis[0];
  const int64_t rows = b.y1 - b.y0, cols = b.x1 - b.x0;
  patch.build(b.y0 * W::kOutY + w.low_y, b.x0 * W::kOut + w.low_x, rows * W::kOutY + W::kTapY - 1,
              cols * W::kOut + W::kTap - 1, job.axis[1].src, job.axis[2].src);
  for (int64_t plane = b.plane0; plane < b.plane1; ++plane, dst += rows * cols * at.tile) {
    const int64_t n = plane / az.out, z = plane % az.out;
    for (int64_t tz = 0; tz < az.taps; ++tz) {
      const int64_t zz = z * az.step + az.off0 + tz * az.doff;
      for (int64_t c = c_begin; c < c_end; c += kLanes) {
        const int left = c_end - c < kLanes ? static_cast<int>(c_end - c) : kLanes;
        float* d = dst + tz * at.tap + c / kLanes * at.lanes;
        if (zz < 0 || zz >= az.src) {
          for (int64_t t = 0; t < rows * cols; ++t)
            for (int p = 0; p < W::kPoints; ++p) store_lanes(WVec(0.0f), d + t * at.tile + p * at.point, left);
          continue;
        }
        patch.load(job.src + n * job.src_image + (group * job.channels + c) * job.src_channel +
                       zz * job.axis[1].src * job.axis[2].src,
                   job.src_channel, left);
        for (int64_t y = 0; y < rows; ++y) {
          const float* s = patch.data() + y * W::kOutY * patch.pitch();
          if (left == kLanes) {
            for (int64_t x = 0; x < cols; ++x, d += at.tile)
              source_tile<W>(s + x * W::kOut * kLanes, patch.pitch(), d, at.point, kLanes);
          } else {
            for (int64_t x = 0; x < cols; ++x, d += at.tile)
              source_tile<W>(s + x * W::kOut * kLanes, patch.pitch(), d, at.point, left);
          }
        }
      }
    }
  }
}

}  // namespace fireseed::cpu::FS_ISA

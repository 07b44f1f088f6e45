// Convolutions of one input channel a group (depthwise, and images of one channel), or to few outputs: taps straight
// on padded rows.
#include "base/parallel.h"
#include "cpu/conv_band.h"

namespace fireseed::cpu::FS_ISA {
namespace {

using detail_band::ceil_div, detail_band::least, detail_band::most, detail_band::kUnroll;

#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kGroup = 4;  // output channels that share a loaded vector
#else
constexpr int kGroup = 2;
#endif

// out(r, u)[lane] = bias[r] + sum over taps of w[r * taps + t] src[offset[t] + u * du + lane] for kR output channels
// and kU rows or vectors of pixels, stored where they belong.
template <class T, int kR, int kU, int kTaps>
FS_INLINE void taps_sum(const T* src, const int64_t* offset, const T* w, int64_t taps, int64_t du, const T* bias,
                        T* out, int64_t out_channel, int64_t out_u, int64_t out_x, int lanes) {
  Vec<T> acc[kR][kU];
#pragma GCC unroll 8
  for (int r = 0; r < kR; ++r)
#pragma GCC unroll 8
    for (int u = 0; u < kU; ++u) acc[r][u] = Vec<T>(bias[r]);
  const auto tap = [&](int64_t t) __attribute__((always_inline)) {
    const T* s = src + offset[t];
    Vec<T> x[kU];
#pragma GCC unroll 8
    for (int u = 0; u < kU; ++u) x[u] = Vec<T>::load(s + u * du);
#pragma GCC unroll 8
    for (int r = 0; r < kR; ++r) {
      const Vec<T> wt(w[r * taps + t]);
#pragma GCC unroll 8
      for (int u = 0; u < kU; ++u) acc[r][u] = fma(wt, x[u], acc[r][u]);
    }
  };
  if constexpr (kTaps > 0) {
#pragma GCC unroll 16
    for (int t = 0; t < kTaps; ++t) tap(t);
  } else {
    for (int64_t t = 0; t < taps; ++t) tap(t);
  }
#pragma GCC unroll 8
  for (int r = 0; r < kR; ++r)
#pragma GCC unroll 8
    for (int u = 0; u < kU; ++u) put_lanes(out + r * out_channel + u * out_u, out_x, acc[r][u], lanes);
}

// A band of kR output channels: `count` rows of the grid from source row 0 of the band.
template <class T, int kR, int kTaps>
void direct_rows(const ConvJob<T>& job, const Band<T>& band, const T* buffer, const int64_t* offset, const T* w,
                 const T* bias, T* out, int64_t count) {
  constexpr int kV = Vec<T>::kSize;
  const int64_t taps = job.channels * job.taps(), width = job.axis[2].out, src_row = job.axis[1].step * band.row;
  const int64_t out_y = job.out_step[1], out_x = job.out_step[2];
  int64_t y = 0;
  for (; y + kUnroll <= count; y += kUnroll)
    for (int64_t x = 0; x < width; x += kV)
      taps_sum<T, kR, kUnroll, kTaps>(buffer + y * src_row + x, offset, w, taps, src_row, bias,
                                      out + y * out_y + x * out_x, job.out_channel, out_y, out_x,
                                      static_cast<int>(least(kV, width - x)));
  for (; width <= kV && y + 2 <= count; y += 2)
    taps_sum<T, kR, 2, kTaps>(buffer + y * src_row, offset, w, taps, src_row, bias, out + y * out_y, job.out_channel,
                              out_y, out_x, static_cast<int>(width));
  for (; y < count; ++y) {
    int64_t x = 0;
    for (; x + kUnroll * kV <= width; x += kUnroll * kV)
      taps_sum<T, kR, kUnroll, kTaps>(buffer + y * src_row + x, offset, w, taps, kV, bias,
                                      out + y * out_y + x * out_x, job.out_channel, kV * out_x, out_x, kV);
    for (; x < width; x += kV)
      taps_sum<T, kR, 1, kTaps>(buffer + y * src_row + x, offset, w, taps, 0, bias, out + y * out_y + x * out_x,
                                job.out_channel, 0, out_x, static_cast<int>(least(kV, width - x)));
  }
}

// Two vectors with lanes alternating: a0 b0 a1 b1 ...
template <class V, size_t... kI>
FS_INLINE void join_pairs(V& a, V& b, std::index_sequence<kI...>) {
  constexpr size_t kN = sizeof...(kI);
  const V x = a, y = b;
  a = __builtin_shufflevector(x, y, (kI / 2 + kI % 2 * kN)...);
  b = __builtin_shufflevector(x, y, (kN / 2 + kI / 2 + kI % 2 * kN)...);
}

// The taps of one phase of stride 2: where they read, their weights, how many.
template <class T>
struct PhaseTaps {
  const int64_t* offset;
  const T* w;
  int64_t taps;
};

// Like taps_sum for the two phases of stride 2 along a row: n <= 2 kSize elements of each of kU rows.
template <class T, int kU>
FS_INLINE void phases_sum(const T* src, const PhaseTaps<T>* phase, int64_t du, T bias, T* out, int64_t out_u, int n) {
  constexpr int kV = Vec<T>::kSize;
  Vec<T> acc[2][kU];
#pragma GCC unroll 2
  for (int p = 0; p < 2; ++p) {
#pragma GCC unroll 8
    for (int u = 0; u < kU; ++u) acc[p][u] = Vec<T>(bias);
    for (int64_t t = 0; t < phase[p].taps; ++t) {
      const T* s = src + phase[p].offset[t];
      const Vec<T> wt(phase[p].w[t]);
#pragma GCC unroll 8
      for (int u = 0; u < kU; ++u) acc[p][u] = fma(wt, Vec<T>::load(s + u * du), acc[p][u]);
    }
  }
#pragma GCC unroll 8
  for (int u = 0; u < kU; ++u) {
    Vec<T> a = acc[0][u], b = acc[1][u];
    join_pairs(a.v, b.v, std::make_index_sequence<kV>());
    T* o = out + u * out_u;
    if (n == 2 * kV) {
      a.store(o);
      b.store(o + kV);
    } else {
      a.store(o, n < kV ? n : kV);
      if (n > kV) b.store(o + kV, n - kV);
    }
  }
}

// sum[r][t] += g[r] * src at tap t, lane by lane, for kR output channels and kT taps at once.
template <class T, int kR, int kT>
void tap_dots(const T* src, int64_t src_row, const int64_t* offset, const T* g, int64_t g_channel, int64_t rows,
              int64_t width, T* sum, int64_t sum_row) {
  constexpr int kV = Vec<T>::kSize;
  Vec<T> acc[kR][kT];
#pragma GCC unroll 4
  for (int r = 0; r < kR; ++r)
#pragma GCC unroll 16
    for (int t = 0; t < kT; ++t) acc[r][t] = Vec<T>::load(sum + r * sum_row + t * kV);
  for (int64_t y = 0; y < rows; ++y) {
    const T *s = src + y * src_row, *gy = g + y * width;
    int64_t x = 0;
    for (; x + kV <= width; x += kV) {
      Vec<T> gv[kR];
#pragma GCC unroll 4
      for (int r = 0; r < kR; ++r) gv[r] = Vec<T>::load(gy + r * g_channel + x);
#pragma GCC unroll 16
      for (int t = 0; t < kT; ++t) {
        const Vec<T> v = Vec<T>::load(s + offset[t] + x);
#pragma GCC unroll 4
        for (int r = 0; r < kR; ++r) acc[r][t] = fma(gv[r], v, acc[r][t]);
      }
    }
    if (x < width) {
      const int n = static_cast<int>(width - x);
      Vec<T> gv[kR];
#pragma GCC unroll 4
      for (int r = 0; r < kR; ++r) gv[r] = Vec<T>::load(gy + r * g_channel + x, n);
#pragma GCC unroll 16
      for (int t = 0; t < kT; ++t) {
        const Vec<T> v = Vec<T>::load(s + offset[t] + x, n);
#pragma GCC unroll 4
        for (int r = 0; r < kR; ++r) acc[r][t] = fma(gv[r], v, acc[r][t]);
      }
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < kR; ++r)
#pragma GCC unroll 16
    for (int t = 0; t < kT; ++t) acc[r][t].store(sum + r * sum_row + t * kV);
}

constexpr int kMaxDots = 9;
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kDotRows = 3;  // output channels at once
#else
constexpr int kDotRows = 1;
#endif
template <class T>
using TapDots = void (*)(const T*, int64_t, const int64_t*, const T*, int64_t, int64_t, int64_t, T*, int64_t);
template <class T, int kR, size_t... kI>
TapDots<T> tap_dots_of(int taps, std::index_sequence<kI...>) {
  static constexpr TapDots<T> kFn[] = {&tap_dots<T, kR, static_cast<int>(kI) + 1>...};
  return kFn[taps - 1];
}
template <class T>
TapDots<T> tap_dots_for(int64_t rows, int64_t taps) {
  const auto seq = std::make_index_sequence<kMaxDots>();
  if constexpr (kDotRows > 1) {
    if (rows == 2) return tap_dots_of<T, 2>(static_cast<int>(taps), seq);
    if (rows > 2) return tap_dots_of<T, 3>(static_cast<int>(taps), seq);
  }
  return tap_dots_of<T, 1>(static_cast<int>(taps), seq);
}

}  // namespace

template <class T>
void conv_direct(const ConvJob<T>& job) {
  if (job.batch * job.groups * job.rows * job.pixels() == 0) return;
  const int64_t taps = job.channels * job.taps(), bytes = job.channels == 1 ? 24576 : kBandBytes;
  const ConvAxis &az = job.axis[0], &ay = job.axis[1], &ax = job.axis[2];
  const int64_t most_rows = most(kUnroll, job.batch * job.groups * az.out * ay.out / 16);  // 16 tasks or more
  const Band<T> shape(job, nullptr, bytes, most_rows);
  Scratch<T> bias(job.groups * job.rows);
  for (int64_t i = 0; i < job.groups * job.rows; ++i) bias[i] = job.bias ? job.bias[i] : T(0);
  const int64_t per_image = az.out * shape.bands, tasks = job.batch * job.groups * per_image;
  const int64_t cost = shape.rows * ax.out * (job.rows * taps + 4);
  parallel_for(tasks, 100000 / cost + 1, [&](int64_t begin, int64_t end) {
    Band<T> band(job, nullptr, bytes, most_rows);
    SmallScratch<T, 256> w(job.rows * taps);
    int64_t have = -1;
    for (int64_t task = begin; task < end; ++task) {
      const int64_t b = task % shape.bands, z = task / shape.bands % az.out, ng = task / per_image;
      const int64_t group = ng % job.groups, n = ng / job.groups;
      const int64_t y0 = b * band.rows, count = least(band.rows, ay.out - y0);
      band.load(job.src + n * job.src_image + group * job.channels * job.src_channel, z, y0, count);
      if (have != group)
        for (int64_t r = 0; r < job.rows; ++r) tap_weights(job, group, r, w.data() + r * taps);
      have = group;
      T* out = job.out + n * job.out_image + group * job.rows * job.out_channel + z * job.out_step[0] +
               y0 * job.out_step[1];
      const auto rows = [&](auto fn, int64_t r) {
        fn(job, band, band.buffer.data(), band.offset.data(), w.data() + r * taps, bias.data() + group * job.rows + r,
           out + r * job.out_channel, count);
      };
      int64_t r = 0;
      for (; r + kGroup <= job.rows; r += kGroup) rows(direct_rows<T, kGroup, 0>, r);
      if (r + 3 == job.rows) rows(direct_rows<T, 3, 0>, r), r += 3;
      if (r + 2 <= job.rows) rows(direct_rows<T, 2, 0>, r), r += 2;
      if (r < job.rows) {
        if (taps == 9) rows(direct_rows<T, 1, 9>, r);
        else rows(direct_rows<T, 1, 0>, r);
      }
    }
  });
}
template void conv_direct(const ConvJob<float>&);
template void conv_direct(const ConvJob<double>&);

// Both phases of stride 2 along the last axis, whose outputs alternate.
template <class T>
void conv_direct_phases(const ConvJob<T>& job, const ConvJob<T>& odd) {
  constexpr int kV = Vec<T>::kSize;
  if (job.batch * job.groups * job.rows * job.pixels() == 0) return;
  const int64_t taps[2] = {job.taps(), odd.taps()};
  const ConvAxis &az = job.axis[0], &ay = job.axis[1];
  const int64_t width = job.axis[2].out + odd.axis[2].out;
  const Band<T> shape(job, &odd);
  const int64_t per_image = az.out * shape.bands, tasks = job.batch * job.groups * per_image;
  const int64_t cost = shape.rows * width * (job.rows * (taps[0] + taps[1]) + 8) / 2;
  parallel_for(tasks, 100000 / cost + 1, [&](int64_t begin, int64_t end) {
    Band<T> band(job, &odd);
    SmallScratch<T, 256> w(taps[0] + taps[1]);
    const PhaseTaps<T> phase[2] = {{band.offset.data(), w.data(), taps[0]},
                                   {band.other_offset.data(), w.data() + taps[0], taps[1]}};
    const int64_t src_row = ay.step * band.row, out_y = job.out_step[1];
    for (int64_t task = begin; task < end; ++task) {
      const int64_t b = task % shape.bands, z = task / shape.bands % az.out, ng = task / per_image;
      const int64_t group = ng % job.groups, n = ng / job.groups;
      const int64_t y0 = b * band.rows, count = least(band.rows, ay.out - y0);
      band.load(job.src + n * job.src_image + group * job.src_channel, z, y0, count);
      for (int64_t r = 0; r < job.rows; ++r) {
        tap_weights(job, group, r, w.data());
        tap_weights(odd, group, r, w.data() + taps[0]);
        const int64_t channel = group * job.rows + r;
        const T bias = job.bias ? job.bias[channel] : T(0);
        T* out = job.out + n * job.out_image + channel * job.out_channel + z * job.out_step[0] + y0 * out_y;
        for (int64_t x = 0; x < width; x += 2 * kV) {
          const int lanes = static_cast<int>(least(2 * kV, width - x));
          const T* s = band.buffer.data() + x / 2;
          int64_t y = 0;
          for (; y + kUnroll <= count; y += kUnroll)
            phases_sum<T, kUnroll>(s + y * src_row, phase, src_row, bias, out + y * out_y + x, out_y, lanes);
          for (; y < count; ++y)
            phases_sum<T, 1>(s + y * src_row, phase, src_row, bias, out + y * out_y + x, out_y, lanes);
        }
      }
    }
  });
}
template void conv_direct_phases(const ConvJob<float>&, const ConvJob<float>&);
template void conv_direct_phases(const ConvJob<double>&, const ConvJob<double>&);

template <class T>
void conv_direct_weight(const ConvJob<T>& job, const T* g, T* dw) {
  constexpr int kV = Vec<T>::kSize;
  const int64_t taps = job.taps(), outputs = job.groups * job.rows;
  if (outputs == 0) return;
  const ConvAxis &az = job.axis[0], &ay = job.axis[1], &ax = job.axis[2];
  // Parts: fixed cuts of the batch, so that few channels still fill the threads.
  const int64_t parts = most(1, least(job.batch, ceil_div(32, job.groups)));
  Scratch<T> sums(job.groups * parts * job.rows * taps + 1);
  const int64_t cost = (job.batch / parts + 1) * job.pixels() * (job.rows * taps + 4) + 1;
  parallel_for(job.groups * parts, 100000 / cost + 1, [&](int64_t begin, int64_t end) {
    Band<T> band(job);
    Scratch<T> lanes(job.rows * taps * kV);
    const int64_t src_row = ay.step * band.row;
    for (int64_t task = begin; task < end; ++task) {
      const int64_t part = task % parts, group = task / parts;
      __builtin_memset(lanes.data(), 0, static_cast<size_t>(job.rows * taps * kV) * sizeof(T));
      for (int64_t n = piece_begin(job.batch, parts, part); n < piece_begin(job.batch, parts, part + 1); ++n)
        for (int64_t z = 0; z < az.out; ++z)
          for (int64_t y0 = 0; y0 < ay.out; y0 += band.rows) {
            const int64_t count = least(band.rows, ay.out - y0);
            band.load(job.src + n * job.src_image + group * job.src_channel, z, y0, count);
            const T* gp = g + n * job.out_image + group * job.rows * job.out_channel + (z * ay.out + y0) * ax.out;
            for (int64_t r = 0; r < job.rows; r += kDotRows)
              for (int64_t t = 0; t < taps;) {
                const int64_t calls = ceil_div(taps - t, kMaxDots), now = ceil_div(taps - t, calls);
                tap_dots_for<T>(least(kDotRows, job.rows - r), now)(
                    band.buffer.data(), src_row, band.offset.data() + t, gp + r * job.out_channel, job.out_channel,
                    count, ax.out, lanes.data() + (r * taps + t) * kV, taps * kV);
                t += now;
              }
          }
      T* sum = sums.data() + task * job.rows * taps;
      for (int64_t i = 0; i < job.rows * taps; ++i) sum[i] = reduce_add(Vec<T>::load(lanes.data() + i * kV));
    }
  });
  for (int64_t i = 0; i < outputs; ++i) {
    const int64_t group = i / job.rows, r = i % job.rows;
    T* d = dw + group * job.w_group + r * job.w_row;
    for (int64_t t = 0; t < taps; ++t) {
      T sum = 0;
      for (int64_t p = 0; p < parts; ++p) sum += sums[((group * parts + p) * job.rows + r) * taps + t];
      const int64_t x = t % ax.taps, y = t / ax.taps % ay.taps, z = t / ax.taps / ay.taps;
      d[z * job.w_tap[0] + y * job.w_tap[1] + x * job.w_tap[2]] = sum;
    }
  }
}
template void conv_direct_weight(const ConvJob<float>&, const float*, float*);
template void conv_direct_weight(const ConvJob<double>&, const double*, double*);

}  // namespace fireseed::cpu::FS_ISA

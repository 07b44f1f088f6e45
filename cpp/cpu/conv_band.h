// A band of rows of an image in a zero-padded buffer, from which direct convolutions read their taps.
#pragma once

#include "cpu/conv.h"

namespace fireseed::cpu::FS_ISA {
namespace detail_band {

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
constexpr int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
constexpr int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

// Even and odd elements of two vectors.
template <class V, size_t... kI>
FS_INLINE void split_pairs(V& a, V& b, std::index_sequence<kI...>) {
  const V x = a, y = b;
  a = __builtin_shufflevector(x, y, (2 * kI)...);
  b = __builtin_shufflevector(x, y, (2 * kI + 1)...);
}

// Where the taps of an axis begin and how far they reach.
inline int64_t lowest(const ConvAxis& a) { return a.doff < 0 ? a.off0 + (a.taps - 1) * a.doff : a.off0; }
inline int64_t reach(const ConvAxis& a) { return (a.taps - 1) * (a.doff < 0 ? -a.doff : a.doff); }

constexpr int kUnroll = 4;  // rows of the output at once

}  // namespace detail_band

// Note [Direct convolution]
// With one channel there is no inner sum for a matrix product, with some it is short. A band of source rows of all
// channels of a group is copied into a zero-padded buffer, its columns sorted by their remainder modulo the stride,
// so that every tap (of a channel) of every output row is a plain contiguous run: either multiplied by one weight,
// row by row (conv_direct.cpp), or broadcast pixel by pixel against a vector of output channels (conv_pixels.cpp).
template <class T>
struct Band {
  // `other`: a job that differs along the last axis alone, or null. The band takes about `bytes`, by default what
  // stays in L1, and at most `most_rows` rows of the output.
  explicit Band(const ConvJob<T>& job, const ConvJob<T>* other = nullptr, int64_t bytes = 24576,
                int64_t most_rows = INT64_MAX)
      : channels(job.channels), src_channel(job.src_channel), az(job.axis[0]), ay(job.axis[1]), ax(job.axis[2]) {
    constexpr int kV = Vec<T>::kSize;
    x_low = detail_band::lowest(ax);
    x_reach = detail_band::reach(ax);
    if (other) {
      const int64_t low = detail_band::lowest(other->axis[2]), end = low + detail_band::reach(other->axis[2]);
      x_reach = detail_band::most(x_low + x_reach, end) - detail_band::least(x_low, low);
      x_low = detail_band::least(x_low, low);
    }
    y_low = detail_band::lowest(ay);
    phases = ax.step;
    sub = detail_band::ceil_div(ax.out, kV) * kV + x_reach / phases + kV;  // one remainder class of a row
    row = phases * sub;
    rows = bytes / static_cast<int64_t>(sizeof(T)) / detail_band::most(1, channels * az.taps * row * ay.step);
    rows = detail_band::most(1, detail_band::least(detail_band::least(ay.out, most_rows), rows));
    if (rows < ay.out && rows > detail_band::kUnroll) rows = rows / detail_band::kUnroll * detail_band::kUnroll;
    bands = detail_band::ceil_div(ay.out, rows);
    source_rows = (rows - 1) * ay.step + detail_band::reach(ay) + 1;
    const int64_t size = channels * az.taps * source_rows * row;
    buffer.reset(size + kV);
    __builtin_memset(buffer.data(), 0, static_cast<size_t>(size) * sizeof(T));
    set_offsets(ax, offset);
    if (other) set_offsets(other->axis[2], other_offset);
  }
  void set_offsets(const ConvAxis& taps_x, Scratch<int64_t>& to) {
    to.reset(channels * az.taps * ay.taps * taps_x.taps);
    int64_t* o = to.data();
    for (int64_t z = 0; z < channels * az.taps; ++z)  // also through the channels: they follow one another
      for (int64_t y = 0; y < ay.taps; ++y)
        for (int64_t x = 0; x < taps_x.taps; ++x) {
          const int64_t i = taps_x.off0 + x * taps_x.doff - x_low;
          *o++ = (z * source_rows + ay.off0 + y * ay.doff - y_low) * row + i % phases * sub + i / phases;
        }
  }

  // Rows of the output rows [y0, y0 + n) at depth z, from the channels' planes. The margins left and right stay 0.
  void load(const T* planes, int64_t z, int64_t y0, int64_t n) {
    for (int64_t c = 0; c < channels; ++c)
      load_plane(planes + c * src_channel, buffer.data() + c * az.taps * source_rows * row, z, y0, n);
  }

  const int64_t channels, src_channel;
  const ConvAxis &az, &ay, &ax;
  int64_t x_low, x_reach, y_low, phases, sub, row, rows, bands, source_rows;
  Scratch<T> buffer;
  Scratch<int64_t> offset, other_offset;  // of each (channel, tap), for output row 0 and column 0 of the band

 private:
  void load_plane(const T* plane, T* to, int64_t z, int64_t y0, int64_t n) {
    constexpr int kV = Vec<T>::kSize;
    const int64_t need = (n - 1) * ay.step + detail_band::reach(ay) + 1, first = y0 * ay.step + y_low;
    const int64_t span = (ax.out - 1) * ax.step + x_reach + 1, width = ax.src, height = ay.src;
    const int64_t x_begin = detail_band::most(0, x_low), x_end = detail_band::least(width, x_low + span),
                  count = x_end - x_begin;
    const int64_t lead = x_begin - x_low, pitch = row, half = sub;
    const int64_t even_at = lead % 2 * half + lead / 2, odd_at = (lead + 1) % 2 * half + (lead + 1) / 2;
    for (int64_t tz = 0; tz < az.taps; ++tz) {
      const int64_t zz = z * az.step + az.off0 + tz * az.doff;
      T* d = to + tz * source_rows * pitch;
      const bool outside = zz < 0 || zz >= az.src || count <= 0;
      const T* s = plane + (zz * height + first) * width + x_begin;
      for (int64_t r = 0; r < need; ++r, d += pitch, s += width) {
        if (outside || first + r < 0 || first + r >= height) {
          for (int64_t x = 0; x < pitch; x += kV) Vec<T>(T(0)).store(d + x);
          continue;
        }
        if (phases == 1) {  // whole vectors, zeros past the end: there is room for one more
          int64_t x = 0;
          for (; x + kV <= count; x += kV) Vec<T>::load(s + x).store(d + lead + x);
          if (x < count) Vec<T>::load(s + x, static_cast<int>(count - x)).store(d + lead + x);
        } else if (phases == 2) {
          T *even = d + even_at, *odd = d + odd_at;
          for (int64_t x = 0; x < count; x += 2 * kV, even += kV, odd += kV) {
            const int64_t left = count - x;
            Vec<T> a, b;
            if (left >= 2 * kV) {
              a = Vec<T>::load(s + x);
              b = Vec<T>::load(s + x + kV);
            } else {
              const int na = static_cast<int>(detail_band::least(left, kV));
              a = Vec<T>::load(s + x, na);
              b = Vec<T>::load(s + x + na, static_cast<int>(left) - na);
            }
            detail_band::split_pairs(a.v, b.v, std::make_index_sequence<kV>());
            a.store(even);
            b.store(odd);
          }
        } else {
          for (int64_t p = 0; p < phases; ++p) {
            int64_t i = lead + ((p - lead) % phases + phases) % phases;
            T* e = d + p * half + i / phases;
            for (; i < lead + count; i += phases) *e++ = s[i - lead];
          }
        }
      }
    }
  }
};

// Weights of (group, row) in the order of channels and taps.
template <class T>
inline void tap_weights(const ConvJob<T>& job, int64_t group, int64_t row, T* d) {
  const ConvAxis &az = job.axis[0], &ay = job.axis[1], &ax = job.axis[2];
  const T* w = job.weight + group * job.w_group + row * job.w_row;
  for (int64_t c = 0; c < job.channels; ++c, w += job.w_channel)
    for (int64_t z = 0; z < az.taps; ++z)
      for (int64_t y = 0; y < ay.taps; ++y)
        for (int64_t x = 0; x < ax.taps; ++x)
          *d++ = w[(az.ker0 + z * az.dker) * job.w_tap[0] + (ay.ker0 + y * ay.dker) * job.w_tap[1] +
                   (ax.ker0 + x * ax.dker) * job.w_tap[2]];
}

}  // namespace fireseed::cpu::FS_ISA

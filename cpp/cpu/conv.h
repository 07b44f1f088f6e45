// Convolution as products over a grid of pixels: the geometry that the forward and backward kernels share.
#pragma once

#include <cstdint>

#include "base/dtype.h"
#include "cpu/gemm.h"
#include "cpu/gemm_pack.h"
#include "tensor/conv_axis.h"

namespace fireseed::cpu::FS_ISA {

// Note [Pixel grids]
// A convolution, and each stride phase of its gradient to the input, is
//   out(n, m, p) = bias(m) + sum over channels c and taps t of weight(m, c, t) src(n, c, p * step + off(t)),
// src being 0 outside. Per axis the taps are an arithmetic progression (tensor/conv_axis.h). The pixels p of all
// images form the columns of a matrix product whose B panels are gathered from src as they are needed: the im2col
// matrix never exists.

template <class T>
struct ConvJob {
  ConvAxis axis[3];                       // depth, height, width
  int64_t batch, groups, channels, rows;  // channels and rows (output channels) of one group
  const T* src;
  int64_t src_image, src_channel;  // planes are contiguous
  T* out;
  int64_t out_image, out_channel;
  int64_t out_step[3];
  const T* weight;
  int64_t w_group, w_row, w_channel, w_tap[3];
  const T* bias;  // rows * groups values, or null

  int64_t pixels() const { return axis[0].out * axis[1].out * axis[2].out; }
  int64_t taps() const { return axis[0].taps * axis[1].taps * axis[2].taps; }
};

// Lanes [lo, hi) of one vector come from src[offset + lane * step]; the others are 0 or another piece's.
struct Piece {
  int64_t offset;
  int32_t lo, hi;
};

// For each tap and each vector of a range of pixels: the pieces it is gathered from.
class PixelBlock {
 public:
  // Room for ranges of up to `vectors` vectors of `lanes` pixels.
  PixelBlock(int64_t taps, int64_t vectors, int64_t lanes)
      : lanes_(lanes), pieces_(taps * vectors * lanes), first_(taps * vectors + 1), runs_(vectors * lanes) {}

  // Pixels [p0, p0 + count) of batch * pixels; image strides as in the job.
  template <class T>
  void build(const ConvJob<T>& job, int64_t p0, int64_t count) {
    const ConvAxis &az = job.axis[0], &ay = job.axis[1], &ax = job.axis[2];
    int64_t left = p0;
    int64_t x = left % ax.out;
    left /= ax.out;
    int64_t y = left % ay.out;
    left /= ay.out;
    int64_t z = left % az.out, n = left / az.out;
    int num_runs = 0;
    for (int64_t lane = 0; lane < count;) {  // runs end with a row of the grid or with a vector
      int64_t len = ax.out - x;
      if (len > count - lane) len = count - lane;
      const int64_t room = lanes_ - lane % lanes_;
      if (len > room) len = room;
      runs_[num_runs++] = {
          static_cast<int32_t>(lane), static_cast<int32_t>(len), z * az.step, y * ay.step, x * ax.step,
          n * job.src_image};
      lane += len;
      x += len;
      if (x == ax.out) {
        x = 0;
        if (++y == ay.out) {
          y = 0;
          if (++z == az.out) z = 0, ++n;
        }
      }
    }
    vectors_ = (count + lanes_ - 1) / lanes_;
    int64_t at = 0, slot = 0;
    for (int64_t tz = 0; tz < az.taps; ++tz)
      for (int64_t ty = 0; ty < ay.taps; ++ty)
        for (int64_t tx = 0; tx < ax.taps; ++tx) {
          const int64_t oz = az.off0 + tz * az.doff, oy = ay.off0 + ty * ay.doff, ox = ax.off0 + tx * ax.doff;
          int r = 0;
          for (int64_t v = 0; v < vectors_; ++v) {
            first_[slot++] = static_cast<int32_t>(at);
            for (; r < num_runs && runs_[r].lane < (v + 1) * lanes_; ++r) {
              const Run& run = runs_[r];
              const int64_t zz = run.z + oz, yy = run.y + oy, x0 = run.x + ox;
              if (zz < 0 || zz >= az.src || yy < 0 || yy >= ay.src) continue;
              int64_t lo = 0, hi = run.len;
              if (ax.step == 1) {
                if (x0 < 0) lo = -x0;
                if (x0 + hi > ax.src) hi = ax.src - x0;
              } else {
                if (x0 < 0) lo = (-x0 + ax.step - 1) / ax.step;
                if (x0 + (hi - 1) * ax.step >= ax.src) hi = x0 >= ax.src ? 0 : (ax.src - x0 + ax.step - 1) / ax.step;
              }
              if (lo >= hi) continue;
              const int32_t lane = run.lane - static_cast<int32_t>(v * lanes_);
              pieces_[at++] = {run.image + (zz * ay.src + yy) * ax.src + x0 - lane * ax.step,
                               lane + static_cast<int32_t>(lo), lane + static_cast<int32_t>(hi)};
            }
          }
        }
    first_[slot] = static_cast<int32_t>(at);
    step_ = ax.step;
  }

  int64_t vectors() const { return vectors_; }
  int64_t step() const { return step_; }
  const Piece* begin(int64_t tap, int64_t vector) { return &pieces_[first_[tap * vectors_ + vector]]; }
  const Piece* end(int64_t tap, int64_t vector) { return &pieces_[first_[tap * vectors_ + vector + 1]]; }

 private:
  struct Run {
    int32_t lane, len;
    int64_t z, y, x, image;
  };
  int64_t lanes_, vectors_ = 0, step_ = 1;
  Scratch<Piece> pieces_;
  Scratch<int32_t> first_;
  Scratch<Run> runs_;
};

// One vector of pixels of one channel (`plane`: the channel in image 0) through one tap.
template <class T>
FS_INLINE Vec<T> gather_vector(const T* plane, const Piece* p, const Piece* end, int64_t step) {
  constexpr int kV = Vec<T>::kSize;
#if defined(__AVX512F__)
  if (step == 1) {
    Vec<T> r(T(0));
    for (; p != end; ++p) {
      const uint32_t m = (1u << p->hi) - (1u << p->lo);
      if constexpr (sizeof(T) == 4) r.v = _mm512_mask_loadu_ps(r.v, static_cast<__mmask16>(m), plane + p->offset);
      else r.v = _mm512_mask_loadu_pd(r.v, static_cast<__mmask8>(m), plane + p->offset);
    }
    return r;
  }
  if (step == 2) {  // every other element of two vectors
    Vec<T> r(T(0));
    for (; p != end; ++p) {
      const uint64_t raw = (uint64_t{1} << (2 * p->hi - 1)) - (uint64_t{1} << (2 * p->lo));
      const uint32_t m = (1u << p->hi) - (1u << p->lo);
      const T* s = plane + p->offset;
      if constexpr (sizeof(T) == 4) {
        const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
        const __m512 a = _mm512_maskz_loadu_ps(static_cast<__mmask16>(raw), s);
        const __m512 b = _mm512_maskz_loadu_ps(static_cast<__mmask16>(raw >> 16), s + 16);
        r.v = _mm512_mask_mov_ps(r.v, static_cast<__mmask16>(m), _mm512_permutex2var_ps(a, even, b));
      } else {
        const __m512i even = _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14);
        const __m512d a = _mm512_maskz_loadu_pd(static_cast<__mmask8>(raw), s);
        const __m512d b = _mm512_maskz_loadu_pd(static_cast<__mmask8>(raw >> 8), s + 8);
        r.v = _mm512_mask_mov_pd(r.v, static_cast<__mmask8>(m), _mm512_permutex2var_pd(a, even, b));
      }
    }
    return r;
  }
#endif
  if (step == 1 && end - p == 1 && p->hi - p->lo == kV) return Vec<T>::load(plane + p->offset);
  alignas(64) T lane[kV] = {};
  for (; p != end; ++p)
    for (int l = p->lo; l < p->hi; ++l) lane[l] = plane[p->offset + l * step];
  return Vec<T>::load(lane);
}

#if defined(__AVX512F__)
// The same vector of `count` channels from kPieces pieces, `dst_step` apart: all masks and addresses are the
// channels' alike. With step 2 two vectors are filled through masks and their even lanes kept.
template <class T, int kPieces, int kStep>
void gather_pieces(const T* plane, int64_t src_channel, const Piece* p, T* dst, int64_t dst_step, int64_t count) {
  using M = typename Mask<T>::Native;
  constexpr int kV = Vec<T>::kSize;
  const auto load = [](Vec<T>& to, M mask, const T* s) __attribute__((always_inline)) {
    if constexpr (sizeof(T) == 4) to.v = _mm512_mask_loadu_ps(to.v, mask, s);
    else to.v = _mm512_mask_loadu_pd(to.v, mask, s);
  };
  M low[kPieces], high[kPieces];
  const T* src[kPieces];
#pragma GCC unroll 4
  for (int i = 0; i < kPieces; ++i) {
    src[i] = plane + p[i].offset;
    const uint64_t bits = kStep == 1 ? (uint64_t{1} << p[i].hi) - (uint64_t{1} << p[i].lo)
                                     : (uint64_t{1} << (2 * p[i].hi - 1)) - (uint64_t{1} << (2 * p[i].lo));
    low[i] = static_cast<M>(bits);
    high[i] = static_cast<M>(bits >> kV);
  }
  for (int64_t c = 0; c < count; ++c) {
    Vec<T> a(T(0)), b(T(0));
#pragma GCC unroll 4
    for (int i = 0; i < kPieces; ++i) {
      load(a, low[i], src[i]);
      if constexpr (kStep == 2) load(b, high[i], src[i] + kV);
      src[i] += src_channel;
    }
    if constexpr (kStep == 2) {
      if constexpr (sizeof(T) == 4) {
        const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
        a.v = _mm512_permutex2var_ps(a.v, even, b.v);
      } else {
        a.v = _mm512_permutex2var_pd(a.v, _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14), b.v);
      }
    }
    a.store(dst + c * dst_step);
  }
}
#endif

// The same vector of `count` channels, written `dst_step` apart.
template <class T>
FS_INLINE void gather_channels(const T* plane, int64_t src_channel, const Piece* p, const Piece* end, int64_t step,
                               T* dst, int64_t dst_step, int64_t count) {
  constexpr int kV = Vec<T>::kSize;
  if (step == 1 && end - p == 1 && p->hi - p->lo == kV) {
    const T* s = plane + p->offset;
    for (int64_t c = 0; c < count; ++c) Vec<T>::load(s + c * src_channel).store(dst + c * dst_step);
    return;
  }
  if (p == end) {
    for (int64_t c = 0; c < count; ++c) Vec<T>(T(0)).store(dst + c * dst_step);
    return;
  }
#if defined(__AVX512F__)
  if (step <= 2 && end - p <= 4) {
    using Fn = void (*)(const T*, int64_t, const Piece*, T*, int64_t, int64_t);
    static constexpr Fn kFn[2][4] = {
        {gather_pieces<T, 1, 1>, gather_pieces<T, 2, 1>, gather_pieces<T, 3, 1>, gather_pieces<T, 4, 1>},
        {gather_pieces<T, 1, 2>, gather_pieces<T, 2, 2>, gather_pieces<T, 3, 2>, gather_pieces<T, 4, 2>}};
    return kFn[step - 1][end - p - 1](plane, src_channel, p, dst, dst_step, count);
  }
#endif
  for (int64_t c = 0; c < count; ++c) gather_vector(plane + c * src_channel, p, end, step).store(dst + c * dst_step);
}

// Lanes [0, n) of v to o, `step` apart.
template <class T>
FS_INLINE void put_lanes(T* o, int64_t step, Vec<T> v, int n) {
  if (step == 1) {
    if (n == Vec<T>::kSize) v.store(o);
    else v.store(o, n);
    return;
  }
#if defined(__AVX512F__)
  if (step == 2) {  // lanes spread to every other element of two vectors, stored through a mask
    constexpr int kV = Vec<T>::kSize;
    const uint32_t m = static_cast<uint32_t>((uint64_t{1} << (2 * n)) - 1) & 0x55555555u;
    if constexpr (sizeof(T) == 4) {
      const __m512i low = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
      _mm512_mask_storeu_ps(o, static_cast<__mmask16>(m), _mm512_permutexvar_ps(low, v.v));
      _mm512_mask_storeu_ps(o + kV, static_cast<__mmask16>(m >> 16),
                            _mm512_permutexvar_ps(_mm512_add_epi32(low, _mm512_set1_epi32(8)), v.v));
    } else {
      const __m512i low = _mm512_setr_epi64(0, 0, 1, 1, 2, 2, 3, 3);
      _mm512_mask_storeu_pd(o, static_cast<__mmask8>(m), _mm512_permutexvar_pd(low, v.v));
      _mm512_mask_storeu_pd(o + kV, static_cast<__mmask8>(m >> 8),
                            _mm512_permutexvar_pd(_mm512_add_epi64(low, _mm512_set1_epi64(4)), v.v));
    }
    return;
  }
#endif
  alignas(64) T lane[Vec<T>::kSize];
  v.store(lane);
  for (int l = 0; l < n; ++l) o[l * step] = lane[l];
}

// conv_gemm.cpp: any job. conv_direct.cpp: any job, made for one channel a group or few output channels.
inline constexpr int64_t kBandBytes = 256 << 10;  // of a band of several channels that conv_direct takes
template <class T>
void conv_gemm(const ConvJob<T>& job);
template <class T>
void conv_direct(const ConvJob<T>& job);
// Two such jobs whose outputs alternate along the last axis (odd.out = job.out + 1, steps of 2).
template <class T>
void conv_direct_phases(const ConvJob<T>& job, const ConvJob<T>& odd);

// conv_pixels.cpp: handles jobs of few channels, and returns true, where that is the faster way.
template <class T>
bool conv_pixels(const ConvJob<T>& job);

// conv_whole.cpp: handles jobs whose kernel covers the image, or transposed ones of one pixel, and returns true; and
// the gradient to the weight of the former.
template <class T>
bool conv_whole(const ConvJob<T>& job);
template <class T>
bool conv_whole_weight(const ConvJob<T>& job, const T* g, T* dw);

// conv_winograd.cpp: handles jobs of three taps and unit steps along the last axis or two, and returns true, where
// that is the faster way. FIRESEED_WINOGRAD=0 turns it off.
bool conv_winograd(const ConvJob<float>& job);
// Whether its form of `taps` taps along one axis or two fits the job.
bool winograd_fits(const ConvJob<float>& job, int axes, int taps);
// conv_winograd_weight.cpp: likewise, the gradient to the weight.
bool conv_winograd_weight(const ConvJob<float>& job, const float* g, float* dw);

// The gradient to the weight: dw(m, c, t) = sum over images and pixels of g(n, m, p) src(n, c, p * step + off(t)). g
// has the job's out_image and out_channel strides, dw its w_* strides; out and weight are not used. conv_weight.cpp:
// any job; conv_direct.cpp: one channel a group.
template <class T>
void conv_weight(const ConvJob<T>& job, const T* g, T* dw);
template <class T>
void conv_direct_weight(const ConvJob<T>& job, const T* g, T* dw);

// dw of sums over parts of the pixels: sums[((group * parts + part) * rows + (c, t)) * padded + m], padded being
// whole vectors of output channels (conv_weight.cpp).
template <class T>
void conv_weight_of_sums(const ConvJob<T>& job, int64_t parts, int64_t padded, const T* sums, T* dw);

// conv_taps.cpp: the gradient to the weight straight from bands of the image; returns true where that is the faster
// way.
template <class T>
bool conv_taps_weight(const ConvJob<T>& job, const T* g, T* dw);

}  // namespace fireseed::cpu::FS_ISA

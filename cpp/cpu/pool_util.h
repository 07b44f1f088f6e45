// What pooling kernels share: geometry, conversion on load and store, and the phase split that makes strides vanish.
#pragma once

#include <utility>

#include "cpu/index_util.h"
#include "cpu/vec.h"
#include "tensor/attrs/pool.h"

namespace fireseed::cpu::FS_ISA {

// Type pooling computes in: halves in float, small integers in int32.
template <class T> struct pool_type_of { using type = int32_t; };
template <> struct pool_type_of<int64_t> { using type = int64_t; };
template <> struct pool_type_of<float> { using type = float; };
template <> struct pool_type_of<double> { using type = double; };
template <> struct pool_type_of<float16> { using type = float; };
template <> struct pool_type_of<bfloat16> { using type = float; };
template <class T> using pool_type = typename pool_type_of<T>::type;

template <class T> inline constexpr bool is_half_type = false;
template <> inline constexpr bool is_half_type<float16> = true;
template <> inline constexpr bool is_half_type<bfloat16> = true;

template <class C, class T>
inline Vec<C> load_as(const T* p) {
  if constexpr (same_type<C, T>) {
    return Vec<C>::load(p);
  } else if constexpr (is_half_type<T>) {
    return load_float(p);
  } else {
    C lanes[Vec<C>::kSize];
    for (int i = 0; i < Vec<C>::kSize; ++i) lanes[i] = static_cast<C>(p[i]);
    return Vec<C>::load(lanes);
  }
}
template <class C, class T>
inline Vec<C> load_as(const T* p, int n) {
  if constexpr (same_type<C, T>) {
    return Vec<C>::load(p, n);
  } else if constexpr (is_half_type<T>) {
    return load_float(p, n);
  } else {
    C lanes[Vec<C>::kSize] = {};
    for (int i = 0; i < n; ++i) lanes[i] = static_cast<C>(p[i]);
    return Vec<C>::load(lanes);
  }
}
template <class C, class T>
inline void store_as(T* p, Vec<C> v, int n) {
  if constexpr (same_type<C, T>) {
    n == Vec<C>::kSize ? v.store(p) : v.store(p, n);
  } else if constexpr (is_half_type<T>) {
    n == Vec<C>::kSize ? store_float(p, v) : store_float(p, v, n);
  } else {
    C lanes[Vec<C>::kSize];
    v.store(lanes);
    for (int i = 0; i < n; ++i) p[i] = static_cast<T>(lanes[i]);
  }
}
// dst[i * ds] = src[i] for i < n, converting.
template <class C, class T>
inline void store_row(T* dst, int64_t ds, const C* src, int64_t n) {
  constexpr int kV = Vec<C>::kSize;
  if (ds == 1 && (same_type<C, T> || is_half_type<T>)) {
    int64_t i = 0;
    for (; i + kV <= n; i += kV) store_as<C>(dst + i, Vec<C>::load(src + i), kV);
    if (i < n) store_as<C>(dst + i, Vec<C>::load(src + i, static_cast<int>(n - i)), static_cast<int>(n - i));
  } else {
    for (int64_t i = 0; i < n; ++i) dst[i * ds] = static_cast<T>(src[i]);
  }
}
// dst[i] = src[i * ss] for i < n, converting.
template <class C, class T>
inline void load_row(C* dst, const T* src, int64_t ss, int64_t n) {
  constexpr int kV = Vec<C>::kSize;
  if constexpr (is_half_type<T>) {
    if (ss == 1) {
      int64_t i = 0;
      for (; i + kV <= n; i += kV) load_float(src + i).store(dst + i);
      if (i < n) load_float(src + i, static_cast<int>(n - i)).store(dst + i, static_cast<int>(n - i));
      return;
    }
  }
  if (ss == 1) {
    if constexpr (same_type<C, T>) copy_bytes(dst, src, n * static_cast<int64_t>(sizeof(C)));
    else
      for (int64_t i = 0; i < n; ++i) dst[i] = static_cast<C>(src[i]);
  } else {
    for (int64_t i = 0; i < n; ++i) dst[i] = static_cast<C>(src[i * ss]);
  }
}

// Sizes and strides of one pooled pair: `image` is the larger side (input of the forward pass, output of the backward
// pass), `pooled` the smaller one.
struct PoolShape {
  int64_t in[3], out[3];  // spatial sizes of image and pooled
  int64_t xs[3], os[3];   // their strides
  int64_t planes = 1;     // product of the dimensions before the spatial ones
  Loop<2> lead;           // (image, pooled) over those dimensions
  bool channels_last = false;
  int64_t batch = 1, channels = 1, x_batch = 0, o_batch = 0;

  PoolShape(const TensorView& image, const TensorView& pooled, int64_t spatial) {
    const int front = image.ndim - static_cast<int>(spatial);
    for (int i = 0; i < 3; ++i) {
      const int d = front + i - (3 - static_cast<int>(spatial));
      in[i] = d < front ? 1 : image.sizes[d];
      out[i] = d < front ? 1 : pooled.sizes[d];
      xs[i] = d < front ? 0 : image.strides[d];
      os[i] = d < front ? 0 : pooled.strides[d];
    }
    for (int d = 0; d < front; ++d) lead.dim(image.sizes[d], {image.strides[d], pooled.strides[d]});
    planes = lead.numel;
    if (front > 0) {
      channels = image.sizes[front - 1];
      batch = channels > 0 ? planes / channels : 0;
      channels_last = channels >= 4 && image.strides[front - 1] == 1 && pooled.strides[front - 1] == 1 &&
                      xs[2] >= channels && os[2] >= channels && front <= 2;
      if (front == 2) {
        x_batch = image.strides[0];
        o_batch = pooled.strides[0];
      }
    }
  }
};

// Taps t of a window at position o that fall inside [0, n): [t0, t1).
inline void valid_taps(int64_t o, int64_t stride, int64_t pad, int64_t dil, int64_t k, int64_t n, int64_t& t0,
                       int64_t& t1) {
  const int64_t start = o * stride - pad;
  t0 = start < 0 ? min_of(k, div_up(-start, dil)) : 0;
  t1 = n - start <= 0 ? 0 : min_of(k, div_up(n - start, dil));
  t1 = max_of(t0, t1);
}

// Lanes 0, 2, 4, … or 1, 3, 5, … of two registers in a row; and the inverse: the lower or upper half of a, b
// interleaved.
template <class C, int kFirst, size_t... kI>
FS_INLINE Vec<C> pick_lanes(Vec<C> a, Vec<C> b, std::index_sequence<kI...>) {
  using Index = native_t<lane_int<C>>;
  return Vec<C>(__builtin_shuffle(a.v, b.v, Index{static_cast<lane_int<C>>(2 * kI + kFirst)...}));
}
template <class C, int kHalf, size_t... kI>
FS_INLINE Vec<C> zip_lanes(Vec<C> a, Vec<C> b, std::index_sequence<kI...>) {
  using Index = native_t<lane_int<C>>;
  constexpr int kV = Vec<C>::kSize;
  return Vec<C>(
      __builtin_shuffle(a.v, b.v, Index{static_cast<lane_int<C>>((kI % 2) * kV + kHalf * kV / 2 + kI / 2)...}));
}
template <class C>
using LaneSequence = std::make_index_sequence<static_cast<size_t>(Vec<C>::kSize)>;

// even[i] = src[2 i], odd[i] = src[2 i + 1] for n entries of src; writes whole registers.
template <class C>
inline void split_pairs(const C* src, int64_t n, C* even, C* odd) {
  constexpr int kV = Vec<C>::kSize;
  for (int64_t i = 0; i < n; i += 2 * kV, even += kV, odd += kV) {
    const int64_t left = n - i;
    const Vec<C> a = left >= kV ? Vec<C>::load(src + i) : Vec<C>::load(src + i, static_cast<int>(left));
    const Vec<C> b = left >= 2 * kV ? Vec<C>::load(src + i + kV)
                     : left > kV    ? Vec<C>::load(src + i + kV, static_cast<int>(left - kV))
                                    : Vec<C>(C(0));
    pick_lanes<C, 0>(a, b, LaneSequence<C>()).store(even);
    pick_lanes<C, 1>(a, b, LaneSequence<C>()).store(odd);
  }
}
// The inverse; reads whole registers, writes n entries.
template <class C>
inline void join_pairs(C* dst, int64_t n, const C* even, const C* odd) {
  constexpr int kV = Vec<C>::kSize;
  for (int64_t i = 0; i < n; i += 2 * kV, even += kV, odd += kV) {
    const int64_t left = n - i;
    const Vec<C> e = Vec<C>::load(even), o = Vec<C>::load(odd);
    const Vec<C> lo = zip_lanes<C, 0>(e, o, LaneSequence<C>()), hi = zip_lanes<C, 1>(e, o, LaneSequence<C>());
    left >= kV ? lo.store(dst + i) : lo.store(dst + i, static_cast<int>(left));
    if (left >= 2 * kV) hi.store(dst + i + kV);
    else if (left > kV) hi.store(dst + i + kV, static_cast<int>(left - kV));
  }
}
// dst[i] = src[i] for i < n; writes whole registers.
template <class C>
inline void copy_wide(C* dst, const C* src, int64_t n) {
  constexpr int kV = Vec<C>::kSize;
  for (int64_t i = 0; i < n; i += kV)
    (n - i >= kV ? Vec<C>::load(src + i) : Vec<C>::load(src + i, static_cast<int>(n - i))).store(dst + i);
}

// Note [Phase split]
// A window entry (ky, kx) of all outputs of a band of rows is read from image[(oh*s + ky*d - p), (ow*s + kx*d - p)].
// Splitting the padded image into stride_h * stride_w "phases" (rows and columns of one remainder) makes that a
// contiguous array: phase[(ky*d) % s][(kx*d) % s] shifted by (ky*d/s, kx*d/s). With rows of one pitch the whole band
// is one long vector loop for each window entry, whatever stride, padding and width are. Rows are written in order
// and in whole registers: what overruns a row is written again with the next one, and phases end in room for the
// last.
struct PhasePlan {
  static constexpr int64_t kRoom = kVecBytes / 4;  // lanes of the widest register of floats

  int64_t kh, kw, sh, sw, ph, pw, dh, dw, h, w;
  int64_t band;        // output rows in a band
  int64_t pitch;       // entries of a phase's row: output width plus the columns windows reach over
  int64_t rows;        // rows of a phase
  int64_t phase_size;  // rows * pitch and room behind
  int64_t slice;       // all phases of one depth slice
  int64_t e0 = 0, e1 = 0, o0 = 0,
          o1 = 0;                       // column strides 1 and 2: entries of the even and odd columns' phases inside
  int64_t used_h = 0, used_w = 0;       // phases that some window entry reads
  MoveScratch<int64_t> slot_h, slot_w;  // number of each phase among them, -1: nobody reads it

  PhasePlan(const PoolAttrs& a, const PoolShape& s, int64_t band_rows) : slot_h(a.stride[1]), slot_w(a.stride[2]) {
    kh = a.kernel[1], kw = a.kernel[2], sh = a.stride[1], sw = a.stride[2];
    ph = a.padding[1], pw = a.padding[2], dh = a.dilation[1], dw = a.dilation[2];
    h = s.in[1], w = s.in[2];
    number_phases(slot_h.data(), used_h, kh, dh, sh);
    number_phases(slot_w.data(), used_w, kw, dw, sw);
    pitch = s.out[2] + (kw - 1) * dw / sw;
    inside(pw % sw, e0, e1);
    inside((pw + 1) % sw, o0, o1);
    band = band_rows > 0 ? band_rows : s.out[1];
    if (band_rows == 0) {
      const int64_t reach = (kh - 1) * dh / sh;
      const int64_t row_cost = pitch * used_h * used_w;
      band = min_of(s.out[1], max_of(8, 4096 / max_of(1, row_cost)) + reach);
    }
    rows = band + (kh - 1) * dh / sh;
    phase_size = rows * pitch + 2 * kRoom;
    slice = used_h * used_w * phase_size;
  }
  static void number_phases(int64_t* slot, int64_t& used, int64_t k, int64_t d, int64_t stride) {
    for (int64_t p = 0; p < stride; ++p) slot[p] = -1;
    for (int64_t t = 0; t < k; ++t)
      if (slot[t * d % stride] < 0) slot[t * d % stride] = used++;
  }
  int64_t tap_offset(int64_t ky, int64_t kx) const {
    return (slot_h[ky * dh % sh] * used_w + slot_w[kx * dw % sw]) * phase_size + ky * dh / sh * pitch + kx * dw / sw;
  }

  // Fills the phases of one depth slice for output rows [oh0, oh0 + n); `blank` stands outside the image.
  // line: scratch of w entries.
  template <class C, class T>
  void split(C* dst, const T* image, int64_t row_stride, int64_t col_stride, int64_t oh0, int64_t n, C blank,
             C* line) const {
    const int64_t need = n + (kh - 1) * dh / sh;
    for (int64_t p = 0; p < sh; ++p) {
      if (slot_h[p] < 0) continue;
      for (int64_t r = 0; r < need; ++r) {
        const int64_t y = (oh0 + r) * sh + p - ph;
        C* out = dst + slot_h[p] * used_w * phase_size + r * pitch;
        if (y < 0 || y >= h) {
          for (int64_t q = 0; q < used_w; ++q) fill_run(out + q * phase_size, 1, blank, pitch);
          continue;
        }
        const T* row = image + y * row_stride;
        const C* src;
        if constexpr (same_type<C, T>) {
          if (col_stride == 1) {
            src = row;
          } else {
            load_row(line, row, col_stride, w);
            src = line;
          }
        } else {
          load_row(line, row, col_stride, w);
          src = line;
        }
        split_row(out, src, blank);
      }
    }
  }
  // Entries [j0, j1) of phase q's row lie inside the image.
  void inside(int64_t q, int64_t& j0, int64_t& j1) const {
    const int64_t shift = q - pw;
    j0 = shift < 0 ? min_of(pitch, div_up(-shift, sw)) : 0;
    j1 = w - shift <= 0 ? 0 : min_of(pitch, div_up(w - shift, sw));
    j1 = max_of(j0, j1);
  }
  template <class C>
  void split_row(C* first, const C* src, C blank) const {
    if (sw == 1) {
      for (int64_t j = 0; j < e0; ++j) first[j] = blank;
      copy_wide(first + e0, src, e1 - e0);
      for (int64_t j = e1; j < pitch; ++j) first[j] = blank;
      return;
    }
    if (sw == 2 && used_w == 2) {
      // Even columns of the image go to one phase from entry pw/2 on, odd ones to the other.
      C* even = first + slot_w[pw % 2] * phase_size;
      C* odd = first + slot_w[(pw + 1) % 2] * phase_size;
      for (int64_t j = 0; j < e0; ++j) even[j] = blank;
      for (int64_t j = 0; j < o0; ++j) odd[j] = blank;
      split_pairs(src, min_of(w, 2 * max_of(e1 - e0, o1 - o0)), even + e0, odd + o0);
      for (int64_t j = e1; j < pitch; ++j) even[j] = blank;
      for (int64_t j = o1; j < pitch; ++j) odd[j] = blank;
      return;
    }
    for (int64_t q = 0; q < sw; ++q) {
      if (slot_w[q] < 0) continue;
      C* out = first + slot_w[q] * phase_size;
      int64_t j0, j1;
      inside(q, j0, j1);
      const C* from = src + j0 * sw + q - pw;
      for (int64_t j = 0; j < j0; ++j) out[j] = blank;
      for (int64_t j = 0; j < j1 - j0; ++j) out[j0 + j] = from[sw * j];
      for (int64_t j = j1; j < pitch; ++j) out[j] = blank;
    }
  }
  // The reverse for a whole slice (band = all rows): image row y from the phases; zeros where no window reaches.
  // line: scratch of w entries.
  template <class C, class T>
  void merge_row(T* row, int64_t col_stride, const C* src, int64_t y, C* line) const {
    const int64_t q = y + ph, r = q / sh, p = q % sh;
    if (r >= rows || slot_h[p] < 0) {
      fill_run(row, col_stride, static_cast<T>(C(0)), w);
      return;
    }
    const C* in = src + slot_h[p] * used_w * phase_size + r * pitch;
    C* to = line;
    if constexpr (same_type<C, T>) {
      if (col_stride == 1) to = row;
    }
    const int64_t reach = min_of(w, pitch * sw - pw);
    if (sw == 1) {
      copy_bytes(to, in + pw, reach * static_cast<int64_t>(sizeof(C)));
    } else if (sw == 2 && used_w == 2) {
      join_pairs(to, reach, in + slot_w[pw % 2] * phase_size + pw / 2,
                 in + slot_w[(pw + 1) % 2] * phase_size + (pw + 1) / 2);
    } else {
      for (int64_t k = 0; k < sw; ++k) {
        int64_t j0, j1;
        inside(k, j0, j1);
        if (slot_w[k] < 0) {
          for (int64_t j = j0; j < j1; ++j) to[j * sw + k - pw] = C(0);
          continue;
        }
        const C* from = in + slot_w[k] * phase_size;
        for (int64_t j = j0; j < j1; ++j) to[j * sw + k - pw] = from[j];
      }
    }
    for (int64_t x = max_of(0, reach); x < w; ++x) to[x] = C(0);
    if constexpr (same_type<C, T>) {
      if (col_stride == 1) return;
    }
    store_row(row, col_stride, line, w);
  }
};

// Fetches into the cache, a few lines at each step, what the next band of rows is read from: splitting a band waits
// for memory, computing it does not.
struct ReadAhead {
  const char* at = nullptr;
  int64_t lines = 0, per_step = 0;

  // The first depth slice that output rows [oh, oh + band) of depth od read, in `steps` steps.
  template <class T>
  static ReadAhead rows(const PoolAttrs& a, const PoolShape& s, const T* plane, int64_t od, int64_t oh, int64_t band,
                        int64_t steps) {
    const int64_t z = max_of(0, od * a.stride[0] - a.padding[0]), y = max_of(0, oh * a.stride[1] - a.padding[1]);
    const int64_t y1 =
        min_of(s.in[1], (oh + band - 1) * a.stride[1] - a.padding[1] + (a.kernel[1] - 1) * a.dilation[1] + 1);
    ReadAhead r;
    if (z >= s.in[0] || y1 <= y || s.xs[2] != 1) return r;
    r.at = reinterpret_cast<const char*>(plane + z * s.xs[0] + y * s.xs[1]);
    r.lines = div_up(((y1 - 1 - y) * s.xs[1] + s.in[2]) * static_cast<int64_t>(sizeof(T)), 64);
    r.per_step = div_up(r.lines, max_of(1, steps));
    return r;
  }
  FS_INLINE void step() {
    for (int64_t i = 0; i < per_step && lines > 0; ++i, --lines, at += 64) __builtin_prefetch(at);
  }
};

// Divisors of average pooling: entries of each window along each dimension, counted as PyTorch does (padding counts
// where count_include_pad, what ceil_mode adds beyond it does not), or divisor_override.
template <class C>
class PoolDivisors {
 public:
  PoolDivisors(const PoolAttrs& a, const PoolShape& s)
      : override_(static_cast<C>(a.divisor_override)), counts_(s.out[0] + s.out[1] + s.out[2]) {
    C* at = counts_.data();
    for (int i = 0; i < 3; ++i) {
      count_[i] = at;
      for (int64_t o = 0; o < s.out[i]; ++o) {
        int64_t start = o * a.stride[i] - a.padding[i];
        int64_t end = min_of(start + a.kernel[i], s.in[i] + a.padding[i]);
        if (!a.count_include_pad) {
          start = max_of(0, start);
          end = min_of(end, s.in[i]);
        }
        *at++ = a.divisor_override ? C(1) : static_cast<C>(end - start);
      }
    }
  }
  // Factor of depth and row; times width(x) it is the divisor.
  C part(int64_t od, int64_t oh) const { return override_ != C(0) ? override_ : count_[0][od] * count_[1][oh]; }
  C width(int64_t ow) const { return count_[2][ow]; }
  const C* widths() const { return count_[2]; }
  C at(int64_t od, int64_t oh, int64_t ow) const { return part(od, oh) * width(ow); }

 private:
  C override_;
  MoveScratch<C> counts_;
  C* count_[3];
};

// row[i] /= factor * widths[i].
template <class C>
inline void divide_row(C* row, const C* widths, C factor, int64_t n) {
  constexpr int kV = Vec<C>::kSize;
  for (int64_t i = 0; i < n; i += kV) {
    const int m = static_cast<int>(min_of(kV, n - i));
    if (m == kV) (Vec<C>::load(row + i) / (Vec<C>(factor) * Vec<C>::load(widths + i))).store(row + i);
    else (Vec<C>::load(row + i, m) / (Vec<C>(factor) * Vec<C>::load(widths + i, m))).store(row + i, m);
  }
}

// Where the values of a window entry come from (Note [Phase split]): the phases of a band, from lane l on, or, where
// columns go by twos and all windows lie inside, every other entry of the row itself, which `lanes` outputs read.
template <class C>
struct PhaseValues {
  const C* at;
  FS_INLINE Vec<C> load(int64_t offset, int u) const { return Vec<C>::load(at + offset + u * Vec<C>::kSize); }
};
template <class C>
struct RowValues {
  const C* at;
  int lanes;
  FS_INLINE Vec<C> load(int64_t offset, int) const {
    constexpr int kV = Vec<C>::kSize;
    const C* p = at + offset;
    const int n = 2 * lanes - 1;  // entries: an even one is the last
    if (n < kV) return pick_lanes<C, 0>(Vec<C>::load(p, n), Vec<C>(C(0)), LaneSequence<C>());
    return pick_lanes<C, 0>(Vec<C>::load(p), Vec<C>::load(p + kV, n - kV), LaneSequence<C>());
  }
};
// Whether rows are read so.
template <class C, class T>
inline bool reads_rows(const PoolAttrs& a, const PoolShape& s) {
  if (!same_type<C, T> || a.stride[2] != 2 || s.xs[2] != 1) return false;
  for (int i = 0; i < 3; ++i)
    if (a.padding[i] != 0 || (s.out[i] - 1) * a.stride[i] + (a.kernel[i] - 1) * a.dilation[i] >= s.in[i])
      return false;
  return true;
}

// One window entry of a band: where its values start, what to add to a lane's base index, its number.
struct PoolTap {
  int64_t offset;
  int64_t index;
  int64_t code;
};

}  // namespace fireseed::cpu::FS_ISA

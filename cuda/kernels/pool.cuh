// Shared by the pooling kernels: how the elements of a side are numbered, and which windows hold which positions.
#pragma once

#include "device/index.cuh"
#include "device/memory.cuh"
#include "device/rows.cuh"
#include "runtime/stream.h"
#include "tensor/attrs/pool.h"

namespace fireseed::cuda {

// Note [Pooling]
// Both sides are (N, C, D, H, W) with any strides; N, D and H may be absent (size 1, stride 0). Forward kernels have
// a thread, or for large windows a warp, an output. Backward kernels have a thread a position of the input, which
// sums the outputs whose windows hold it, in their order: no atomics, the same bits every time. Threads are numbered
// as memory is, by pixels within a plane or, in channels-last memory, by channels within a pixel.

inline constexpr int kPoolThreads = 256;

// Strides of one side.
struct PoolSide {
  int64_t n = 0, c = 0, s[3] = {};
  PoolSide() = default;
  PoolSide(const TensorView& v, int64_t spatial) {
    const int front = v.ndim - static_cast<int>(spatial);
    for (int64_t i = 3 - spatial; i < 3; ++i) s[i] = v.strides[front + i - (3 - spatial)];
    if (front > 0) c = v.strides[front - 1];
    if (front > 1) n = v.strides[front - 2];
  }
  __device__ __forceinline__ int64_t plane(int64_t in, int64_t ic) const { return in * n + ic * c; }
  __device__ __forceinline__ int64_t pixel(int32_t z, int32_t y, int32_t x) const {
    return z * s[0] + y * s[1] + x * s[2];
  }
};

// Division of numbers below 2^62 by one below 2^31: floor(2 n m / 2^64) / 2^s with m = ceil(2^(63 + s) / d), where
// 2^s is the first power of two that d does not exceed (Granlund and Montgomery 1994).
struct WideDivider {
  uint64_t magic = 0;
  int32_t shift = 0;
  WideDivider() = default;
  explicit WideDivider(int64_t d) {
    while ((int64_t{1} << shift) < d) ++shift;
    __extension__ using Wide = unsigned __int128;
    magic = static_cast<uint64_t>(((Wide{1} << (63 + shift)) + static_cast<Wide>(d - 1)) / static_cast<Wide>(d));
  }
  __device__ __forceinline__ int32_t divide(int64_t n) const {
    return static_cast<int32_t>(__umul64hi(static_cast<uint64_t>(n) * 2, magic) >> shift);
  }
};

// Along each dimension, output o reads positions first + k * dilation.
struct PoolGeometry {
  int32_t in[3], out[3], kernel[3], padding[3], dilation[3];
  Divider<int32_t> stride[3], by_dilation[3];
  WideDivider by_in[3], by_out[3];
  bool adaptive = false;  // window o of n covers [floor(o I / n), ceil((o + 1) I / n))

  // image: the larger side, pooled: the smaller one.
  PoolGeometry(const TensorView& image, const TensorView& pooled, int64_t spatial) {
    for (int i = 0; i < 3; ++i) {
      const int64_t d = i - 3;  // counted from the end
      const bool there = i >= 3 - spatial;
      in[i] = there ? static_cast<int32_t>(image.size(d)) : 1;
      out[i] = there ? static_cast<int32_t>(pooled.size(d)) : 1;
      kernel[i] = dilation[i] = 1;
      padding[i] = 0;
      by_in[i] = WideDivider(in[i] > 0 ? in[i] : 1);
      by_out[i] = WideDivider(out[i] > 0 ? out[i] : 1);
    }
  }
  void set_windows(const PoolAttrs& a) {
    for (int i = 0; i < 3; ++i) {
      const int64_t reach = in[i] + 2 * a.padding[i];  // a longer stride has one window
      const int64_t step = a.stride[i] < reach ? a.stride[i] : reach + 1;
      if (reach + (a.kernel[i] - 1) * a.dilation[i] + step >= INT32_MAX)
        fail(ErrorKind::kRuntime,
             "pooling on CUDA: windows that reach over 2^31 positions are not supported, got size ", in[i],
             ", kernel_size ", a.kernel[i], ", padding ", a.padding[i], ", dilation ", a.dilation[i]);
      kernel[i] = static_cast<int32_t>(a.kernel[i]);
      padding[i] = static_cast<int32_t>(a.padding[i]);
      dilation[i] = static_cast<int32_t>(a.dilation[i]);
      by_dilation[i] = Divider<int32_t>(dilation[i]);
      stride[i] = Divider<int32_t>(step);
    }
  }
  int64_t outputs() const { return int64_t{out[0]} * out[1] * out[2]; }
  int64_t inputs() const { return int64_t{in[0]} * in[1] * in[2]; }

  // The part of output o's window that lies inside: `count` positions from `first` on, which are the window's entries
  // from number `tap` on.
  __device__ __forceinline__ void window(int i, int32_t o, int32_t& first, int32_t& count, int32_t& tap) const {
    tap = 0;
    if (adaptive) {
      const int64_t at = int64_t{o} * in[i];
      first = by_out[i].divide(at);
      count = by_out[i].divide(at + in[i] + out[i] - 1) - first;
      return;
    }
    const int32_t d = dilation[i], start = o * static_cast<int32_t>(stride[i].d) - padding[i];
    int32_t end = in[i] - start;  // entries before `end` lie before the input's end
    if (start < 0) tap = by_dilation[i].divide(-start + d - 1);
    end = end > 0 ? by_dilation[i].divide(end + d - 1) : 0;
    if (tap > kernel[i]) tap = kernel[i];
    if (end > kernel[i]) end = kernel[i];
    count = end > tap ? end - tap : 0;
    first = start + tap * d;
  }
  // All dimensions.
  __device__ __forceinline__ void windows(const int32_t (&o)[3], int32_t (&first)[3], int32_t (&count)[3],
                                          int32_t (&tap)[3]) const {
#pragma unroll
    for (int i = 0; i < 3; ++i) window(i, o[i], first[i], count[i], tap[i]);
  }
  // Outputs [begin, end) whose windows reach over position p.
  __device__ __forceinline__ void reaching(int i, int32_t p, int32_t& begin, int32_t& end) const {
    if (adaptive) {
      const int64_t at = int64_t{p} * out[i];
      begin = by_in[i].divide(at);
      end = out[i] > 0 ? by_in[i].divide(at + out[i] - 1) + 1 : 0;
      return;
    }
    const int32_t at = p + padding[i], behind = at - (kernel[i] - 1) * dilation[i];
    begin = behind > 0 ? stride[i].divide(behind + static_cast<int32_t>(stride[i].d) - 1) : 0;
    end = stride[i].divide(at) + 1;
    if (end > out[i]) end = out[i];
  }
  // Number of position p in the window of output o; -1 where it lies between the entries.
  __device__ __forceinline__ int32_t tap_of(int i, int32_t o, int32_t p) const {
    const int32_t d = dilation[i], distance = p + padding[i] - o * static_cast<int32_t>(stride[i].d);
    const int32_t tap = by_dilation[i].divide(distance);
    return tap * d == distance ? tap : -1;
  }
};

// What a window's sum is divided by: its entries, counted as PyTorch does (padding counts where count_include_pad,
// what ceil_mode adds beyond it does not), or divisor_override.
struct PoolDivisor {
  int64_t given = 0;  // divisor_override; 0: none
  bool count_include_pad = false;
  PoolDivisor() = default;
  explicit PoolDivisor(const PoolAttrs& a) : given(a.divisor_override), count_include_pad(a.count_include_pad != 0) {}

  // counts: of the entries of output o's window that lie inside.
  template <class C>
  __device__ __forceinline__ C of(const PoolGeometry& g, const int32_t (&o)[3], const int32_t (&counts)[3]) const {
    if (given != 0) return static_cast<C>(given);
    C r = 1;
#pragma unroll
    for (int i = 0; i < 3; ++i) {
      int32_t count = counts[i];
      if (count_include_pad) {
        const int32_t start = o[i] * static_cast<int32_t>(g.stride[i].d) - g.padding[i], end = start + g.kernel[i];
        count = (end < g.in[i] + g.padding[i] ? end : g.in[i] + g.padding[i]) - start;
      }
      r *= static_cast<C>(count);
    }
    return r;
  }
};

// Numbers of one side's elements, below 2^31, and back.
struct PoolNumbers {
  Divider<int32_t> c, s[3];
  int64_t first_n = 0, first_c = 0;
  bool channels_last = false;

  __device__ __forceinline__ void place(int64_t number, int64_t& n, int64_t& ic, int32_t (&p)[3]) const {
    int32_t i = static_cast<int32_t>(number), rest = i;
    if (channels_last) {
      rest = c.divide(i);
      ic = first_c + (i - rest * static_cast<int32_t>(c.d));
    }
#pragma unroll
    for (int d = 2; d >= 0; --d) {
      i = rest;
      rest = s[d].divide(i);
      p[d] = i - rest * static_cast<int32_t>(s[d].d);
    }
    if (!channels_last) {
      i = rest;
      rest = c.divide(i);
      ic = first_c + (i - rest * static_cast<int32_t>(c.d));
    }
    n = first_n + rest;
  }
};

// Calls f(numbers, count) for all elements of v, a side with the spatial sizes `size`; more than once where there are
// more than 2^30.
template <class F>
void for_pool_parts(const TensorView& v, int64_t spatial, const int32_t (&size)[3], const F& f) {
  constexpr int64_t kMost = int64_t{1} << 30;
  const int front = v.ndim - static_cast<int>(spatial);
  const int64_t channels = front > 0 ? v.sizes[front - 1] : 1, batch = front > 1 ? v.sizes[front - 2] : 1;
  const int64_t plane = int64_t{size[0]} * size[1] * size[2];
  PoolNumbers m;
  for (int i = 0; i < 3; ++i) m.s[i] = Divider<int32_t>(size[i]);
  m.channels_last = channels > 1 && v.strides[front - 1] == 1 && v.stride(-1) != 1;
  const int64_t some_c = channels * plane <= kMost ? channels : plane < kMost ? kMost / plane : 1;
  const int64_t some_n = some_c == channels && channels * plane * batch > kMost ? kMost / (channels * plane) : batch;
  for (m.first_n = 0; m.first_n < batch; m.first_n += some_c == channels ? some_n : 1) {
    const int64_t n = some_c == channels ? (batch - m.first_n < some_n ? batch - m.first_n : some_n) : 1;
    for (m.first_c = 0; m.first_c < channels; m.first_c += some_c) {
      const int64_t c = channels - m.first_c < some_c ? channels - m.first_c : some_c;
      m.c = Divider<int32_t>(c);
      f(m, n * c * plane);
    }
  }
}

// What all kernels get.
struct PoolCall {
  PoolGeometry g;
  PoolNumbers numbers;
  PoolSide image, pooled, found;
  int64_t count = 0;  // threads' elements
  DType dtype = DType::kUndefined;
};

// Entries of a window's row that are read together.
inline constexpr int kRun = 3;

// Elements of the dtypes whose arithmetic is done in C: float for float32 and the halves, double, int64_t.
template <class C>
__device__ __forceinline__ C pool_load(const void* p, int64_t i, DType t) {
  return load_number(p, i, t, C{});
}
template <class C>
__device__ __forceinline__ void pool_store(void* p, int64_t i, DType t, C v) {
  if constexpr (std::is_same_v<C, int64_t>) store_number(p, i, t, v);
  else if (sizeof(C) == 8 || t == DType::kFloat32) static_cast<C*>(p)[i] = v;
  else static_cast<uint16_t*>(p)[i] = encode<uint16_t>(v, t);
}
// kRun elements, `step` apart, of which the first `count` exist; `none` for the rest.
template <class C>
__device__ __forceinline__ void pool_load_run(const void* p, int64_t i, int64_t step, int32_t count, DType t, C none,
                                              C (&v)[kRun]) {
  if (std::is_same_v<C, float> && t != DType::kFloat32) {
#pragma unroll
    for (int u = 0; u < kRun; ++u)
      v[u] = u < count ? decode_float<float>(static_cast<const uint16_t*>(p)[i + u * step], t) : none;
  } else {
#pragma unroll
    for (int u = 0; u < kRun; ++u)
      v[u] = u < count ? pool_load<C>(p, i + u * step, std::is_same_v<C, float> ? DType::kFloat32 : t) : none;
  }
}

}  // namespace fireseed::cuda

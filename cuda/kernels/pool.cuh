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

// Along each dimension, output o reads positions first + k * dilation.
struct PoolGeometry {
  int32_t in[3], out[3], kernel[3], padding[3], dilation[3];
  Divider<int32_t> stride[3];
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
      stride[i] = Divider<int32_t>(step);
    }
  }
  int64_t outputs() const { return int64_t{out[0]} * out[1] * out[2]; }
  int64_t inputs() const { return int64_t{in[0]} * in[1] * in[2]; }

  // floor(a n / d)
  __device__ __forceinline__ static int32_t scaled(int64_t a, int32_t n, int32_t d) {
    const int64_t p = a * n;
    return p < (int64_t{1} << 32) ? static_cast<int32_t>(static_cast<uint32_t>(p) / static_cast<uint32_t>(d))
                                  : static_cast<int32_t>(p / d);
  }
  __device__ __forceinline__ int32_t adaptive_end(int i, int32_t o) const {
    return scaled(int64_t{o} + 1, in[i], out[i]) + (static_cast<int64_t>(o + 1) * in[i] % out[i] != 0 ? 1 : 0);
  }
  // The part of output o's window that lies inside: `count` positions from `first` on, which are the window's entries
  // from number `tap` on.
  __device__ __forceinline__ void window(int i, int32_t o, int32_t& first, int32_t& count, int32_t& tap) const {
    tap = 0;
    if (adaptive) {
      first = scaled(o, in[i], out[i]);
      count = adaptive_end(i, o) - first;
      return;
    }
    const int32_t d = dilation[i], start = o * static_cast<int32_t>(stride[i].d) - padding[i];
    int32_t end = in[i] - start;  // entries before `end` lie before the input's end
    if (d == 1) {
      if (start < 0) tap = -start;
    } else {
      if (start < 0) tap = (-start + d - 1) / d;
      end = (end + d - 1) / d;
    }
    if (tap > kernel[i]) tap = kernel[i];
    if (end > kernel[i]) end = kernel[i];
    count = end > tap ? end - tap : 0;
    first = start + tap * d;
  }
  // Outputs [begin, end) whose windows reach over position p.
  __device__ __forceinline__ void reaching(int i, int32_t p, int32_t& begin, int32_t& end) const {
    if (adaptive) {
      begin = scaled(p, out[i], in[i]);
      end = static_cast<int32_t>(((int64_t{p} + 1) * out[i] - 1) / in[i]) + 1;
      if (out[i] == 0) end = 0;
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
    if (d == 1) return distance;
    return distance % d == 0 ? distance / d : -1;
  }
};

// What a window's sum is divided by: its entries, counted as PyTorch does (padding counts where count_include_pad,
// what ceil_mode adds beyond it does not), or divisor_override.
struct PoolDivisor {
  int64_t given = 0;  // divisor_override; 0: none
  bool count_include_pad = false;
  PoolDivisor() = default;
  explicit PoolDivisor(const PoolAttrs& a) : given(a.divisor_override), count_include_pad(a.count_include_pad != 0) {}

  template <class C>
  __device__ __forceinline__ C of(const PoolGeometry& g, const int32_t (&o)[3]) const {
    if (given != 0) return static_cast<C>(given);
    C r = 1;
#pragma unroll
    for (int i = 0; i < 3; ++i) {
      int32_t first, count, tap;
      g.window(i, o[i], first, count, tap);
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

// Elements of dtype T; AnyInteger is the call's dtype.
struct AnyInteger {};
template <class T>
struct PoolElement {
  using C = compute_type<T>;
  static __device__ __forceinline__ C load(const void* p, int64_t i, DType) {
    return load_as<C>(static_cast<const T*>(p)[i]);
  }
  static __device__ __forceinline__ void store(void* p, int64_t i, DType, C v) {
    static_cast<T*>(p)[i] = store_as<T>(v);
  }
  static __device__ __forceinline__ C lowest(DType) { return -kInfinity<C>; }
};
template <>
struct PoolElement<AnyInteger> {
  using C = int64_t;
  static __device__ __forceinline__ C load(const void* p, int64_t i, DType t) {
    return load_number(p, i, t, int64_t{});
  }
  static __device__ __forceinline__ void store(void* p, int64_t i, DType t, C v) { store_number(p, i, t, v); }
  static __device__ __forceinline__ C lowest(DType t) { return t == DType::kInt64 ? INT64_MIN : INT32_MIN; }
};

}  // namespace fireseed::cuda

// Kernels behind view gradients and ranges: window_backward, arange.
#include "base/parallel.h"
#include "tensor/attrs/shape.h"
#include "tensor/view.h"

namespace fireseed::cpu::FS_ISA {

namespace {

// out[window] += g over an odometer of g's dims; rows along the last dim.
template <class T, class C>
void add_window(const T* g, const int64_t* g_strides, T* out, const WindowAttrs& a) {
  const int64_t n = a.sizes.n;
  int64_t rows = 1;
  for (int64_t i = 0; i + 1 < n; ++i) rows *= a.sizes[i];
  const int64_t len = n ? a.sizes[n - 1] : 1;
  const int64_t gs = n ? g_strides[n - 1] : 0, os = n ? a.strides[n - 1] : 0;
  int64_t index[kMaxRank] = {};
  for (int64_t r = 0; r < rows; ++r) {
    const T* p = g;
    T* q = out + a.offset;
    for (int64_t i = 0; i + 1 < n; ++i) {
      p += index[i] * g_strides[i];
      q += index[i] * a.strides[i];
    }
    if (gs == 1 && os == 1) {
      for (int64_t i = 0; i < len; ++i) q[i] = static_cast<T>(static_cast<C>(q[i]) + static_cast<C>(p[i]));
    } else {
      for (int64_t i = 0; i < len; ++i)
        q[i * os] = static_cast<T>(static_cast<C>(q[i * os]) + static_cast<C>(p[i * gs]));
    }
    for (int64_t i = n - 2; i >= 0; --i) {
      if (++index[i] < a.sizes[i]) break;
      index[i] = 0;
    }
  }
}

template <class T>
void fill_range(T* out, int64_t n, const RangeAttrs& a) {
  parallel_for(n, 1 << 15, [&](int64_t b, int64_t e) {
    if (a.linspace) {
      // From both ends, so that the last entry is exact.
      const int64_t half = n / 2;
      for (int64_t i = b; i < e; ++i) {
        const double v = i < half || n == 1 ? a.start + a.step * static_cast<double>(i)
                                            : a.end - a.step * static_cast<double>(n - 1 - i);
        if constexpr (requires { static_cast<T>(v); }) {
          out[i] = static_cast<T>(v);
        } else {
          out[i] = T(static_cast<float>(v));
        }
      }
      return;
    }
    for (int64_t i = b; i < e; ++i) {
      if constexpr (std::is_integral_v<T>) {
        out[i] = static_cast<T>(a.istart + i * a.istep);
      } else if constexpr (std::is_floating_point_v<T>) {
        out[i] = static_cast<T>(a.start + static_cast<double>(i) * a.step);
      } else {
        out[i] = T(static_cast<float>(a.start + static_cast<double>(i) * a.step));
      }
    }
  });
}

}  // namespace

void window_backward(const KernelArgs& args) {
  const auto& a = args.attrs<WindowAttrs>();
  const TensorView& g = args.in[0];
  const TensorView& out = args.out[0];
  __builtin_memset(out.data, 0, static_cast<size_t>(out.numel) * dtype_size(out.dtype));
  if (g.numel == 0) return;
  dispatch_all(g.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    if constexpr (std::is_same_v<T, bool>) {
      add_window<uint8_t, uint8_t>(g.ptr<uint8_t>(), g.strides, out.ptr<uint8_t>(), a);
    } else {
      add_window<T, compute_type<T>>(g.ptr<T>(), g.strides, out.ptr<T>(), a);
    }
  });
}

void arange(const KernelArgs& args) {
  const auto& a = args.attrs<RangeAttrs>();
  const TensorView& out = args.out[0];
  dispatch_all(out.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    if constexpr (std::is_same_v<T, bool>) {
      fill_range<uint8_t>(out.ptr<uint8_t>(), out.numel, a);
    } else {
      fill_range<T>(out.ptr<T>(), out.numel, a);
    }
  });
}

}  // namespace fireseed::cpu::FS_ISA

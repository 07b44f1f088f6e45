// unfold and fold: windows of images as columns (im2col), and columns summed back into images (col2im).
#include "device/index.cuh"
#include "device/memory.cuh"
#include "runtime/stream.h"
#include "tensor/attrs/move.h"

namespace fireseed::cuda {
namespace {

constexpr int kIm2colThreads = 256;

// Images (n, c, h, w) and columns (n, c * kh * kw, oh * ow). I: type of element numbers and offsets.
template <class I>
struct Windows {
  Divider<I> c, h, w, kh, kw, oh, ow, stride[2];
  I image[4], columns[3];  // strides
  I padding[2], dilation[2];
};

template <class I>
Windows<I> windows_of(const Im2colAttrs& a, const TensorView& image, const TensorView& columns) {
  Windows<I> p;
  const auto count = [&](int i) {
    return (image.size(2 + i) + 2 * a.padding[i] - a.dilation[i] * (a.kernel[i] - 1) - 1) / a.stride[i] + 1;
  };
  p.c = Divider<I>(image.size(1));
  p.h = Divider<I>(image.size(2));
  p.w = Divider<I>(image.size(3));
  p.kh = Divider<I>(a.kernel[0]);
  p.kw = Divider<I>(a.kernel[1]);
  p.oh = Divider<I>(count(0));
  p.ow = Divider<I>(count(1));
  for (int i = 0; i < 4; ++i) p.image[i] = static_cast<I>(image.stride(i));
  for (int i = 0; i < 3; ++i) p.columns[i] = static_cast<I>(columns.stride(i));
  for (int i = 0; i < 2; ++i) {
    p.stride[i] = Divider<I>(a.stride[i]);
    p.padding[i] = static_cast<I>(a.padding[i]);
    p.dilation[i] = static_cast<I>(a.dilation[i]);
  }
  return p;
}

// An element of the columns a thread.
template <class U, class I>
__global__ void __launch_bounds__(kIm2colThreads)
    unfold_windows(U* columns, const U* image, const __grid_constant__ Windows<I> p, int64_t count) {
  for (int64_t e = grid_thread(); e < count; e += grid_threads()) {
    I i = static_cast<I>(e);
    const I x = take(i, p.ow), y = take(i, p.oh), l = y * static_cast<I>(p.ow.d) + x;
    I row = i;
    const I j = take(i, p.kw), k = take(i, p.kh), c = take(i, p.c), n = i;
    row -= n * static_cast<I>(p.c.d) * static_cast<I>(p.kh.d) * static_cast<I>(p.kw.d);
    const I iy = y * static_cast<I>(p.stride[0].d) - p.padding[0] + k * p.dilation[0];
    const I ix = x * static_cast<I>(p.stride[1].d) - p.padding[1] + j * p.dilation[1];
    const bool inside = iy >= 0 && iy < static_cast<I>(p.h.d) && ix >= 0 && ix < static_cast<I>(p.w.d);
    columns[n * p.columns[0] + row * p.columns[1] + l * p.columns[2]] =
        inside ? image[n * p.image[0] + c * p.image[1] + iy * p.image[2] + ix * p.image[3]] : U(0);
  }
}

// A pixel of the image a thread: it sums the entries that cover it, in the order of the kernel's elements.
template <class C, class I>
__global__ void __launch_bounds__(kIm2colThreads)
    fold_windows(void* image, const void* columns, DType dtype, const __grid_constant__ Windows<I> p, int64_t count) {
  for (int64_t e = grid_thread(); e < count; e += grid_threads()) {
    I i = static_cast<I>(e);
    const I x = take(i, p.w), y = take(i, p.h), c = take(i, p.c), n = i;
    const I first_row = c * static_cast<I>(p.kh.d) * static_cast<I>(p.kw.d);
    C sum = 0;
    for (I k = 0; k < static_cast<I>(p.kh.d); ++k) {
      I oy = y + p.padding[0] - k * p.dilation[0];
      if (oy < 0 || take(oy, p.stride[0]) != 0 || oy >= static_cast<I>(p.oh.d)) continue;
      for (I j = 0; j < static_cast<I>(p.kw.d); ++j) {
        I ox = x + p.padding[1] - j * p.dilation[1];
        if (ox < 0 || take(ox, p.stride[1]) != 0 || ox >= static_cast<I>(p.ow.d)) continue;
        const I row = first_row + k * static_cast<I>(p.kw.d) + j, l = oy * static_cast<I>(p.ow.d) + ox;
        sum += load_number(columns, n * p.columns[0] + row * p.columns[1] + l * p.columns[2], dtype, C());
      }
    }
    store_number(image, n * p.image[0] + c * p.image[1] + y * p.image[2] + x * p.image[3], dtype, sum);
  }
}

bool fits_int32(const TensorView& a, const TensorView& b) {
  return Geometry<1>({&a}).fits_int32() && Geometry<1>({&b}).fits_int32();
}

}  // namespace

// in: (n, c, h, w); out: (n, c * kh * kw, l): the windows of the image as columns, zeros outside it.
void im2col(const KernelArgs& args) {
  const TensorView &in = args.in[0], &out = args.out[0];
  if (out.numel == 0) return;
  dispatch_size(out.dtype, [&](auto tag) {
    using U = typename decltype(tag)::type;
    dispatch_index(fits_int32(in, out), [&](auto index_tag) {
      using I = typename decltype(index_tag)::type;
      FS_LAUNCH((unfold_windows<U, I>), grid_for(out.numel, kIm2colThreads, 1 << 16), kIm2colThreads, 0,
                current_stream(), out.ptr<U>(), in.ptr<U>(), windows_of<I>(args.attrs<Im2colAttrs>(), in, out),
                out.numel);
    });
  });
}

// in: (n, c * kh * kw, l); out: (n, c, h, w), each pixel the sum of the window entries that cover it.
void col2im(const KernelArgs& args) {
  const TensorView &in = args.in[0], &out = args.out[0];
  if (out.numel == 0) return;
  dispatch_float_compute(out.dtype, "fold", [&](auto zero) {
    dispatch_index(fits_int32(in, out), [&](auto index_tag) {
      using I = typename decltype(index_tag)::type;
      FS_LAUNCH((fold_windows<decltype(zero), I>), grid_for(out.numel, kIm2colThreads, 1 << 16), kIm2colThreads, 0,
                current_stream(), out.data, in.data, out.dtype, windows_of<I>(args.attrs<Im2colAttrs>(), out, in),
                out.numel);
    });
  });
}

}  // namespace fireseed::cuda

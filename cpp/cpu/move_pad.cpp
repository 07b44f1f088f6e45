// Kernels for padding (constant, reflect, replicate, circular) and for unfold/fold (im2col, col2im).
#include "cpu/index_util.h"
#include "tensor/attrs/move.h"

namespace fireseed::cpu::FS_ISA {
namespace {

// Visits the rows (all dimensions but the last) of a shape in order, keeping each row's coordinates.
template <class F>
void for_rows(const int64_t* sizes, int lead, int64_t begin, int64_t end, F&& f) {
  int64_t at[kMaxRank] = {};
  int64_t rest = begin;
  for (int d = lead - 1; d >= 0; --d) {
    at[d] = rest % sizes[d];
    rest /= sizes[d];
  }
  for (int64_t r = begin; r < end; ++r) {
    f(at, r);
    for (int d = lead - 1; d >= 0; --d) {
      if (++at[d] < sizes[d]) break;
      at[d] = 0;
    }
  }
}

template <class T>
inline T add_as(T a, T b) {
  using C = compute_type<T>;
  return static_cast<T>(static_cast<C>(a) + static_cast<C>(b));
}

}  // namespace

// out: in with attrs.before[d] entries of attrs.value in front of each dimension (negative: entries cut off) and as
// many behind as the output's size asks for. The backward pass is the same op with negated amounts.
void constant_pad(const KernelArgs& args) {
  const ConstantPadAttrs& a = args.attrs<ConstantPadAttrs>();
  const TensorView &in = args.in[0], &out = args.out[0];
  if (out.numel == 0) return;
  dispatch_all(out.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T value = fill_as<T>(a.value);
    const T* px = in.ptr<const T>();
    T* po = out.ptr<T>();
    if (out.ndim == 0) {
      *po = *px;
      return;
    }
    const int lead = out.ndim - 1;
    const int64_t n = out.sizes[lead], os = out.strides[lead], xs = in.strides[lead];
    const int64_t shift = a.before[lead];
    const int64_t c0 = max_of(0, min_of(n, shift)), c1 = max_of(c0, min_of(n, shift + in.sizes[lead]));
    parallel_for(out.numel / n, max_of(1, kMoveChunk / n), [&](int64_t begin, int64_t end) {
      for_rows(out.sizes, lead, begin, end, [&](const int64_t* at, int64_t) {
        const T* x = px;
        T* o = po;
        bool inside = true;
        for (int d = 0; d < lead; ++d) {
          const int64_t i = at[d] - a.before[d];
          inside = inside && i >= 0 && i < in.sizes[d];
          x += i * in.strides[d];
          o += at[d] * out.strides[d];
        }
        if (!inside) return fill_run(o, os, value, n);
        fill_run(o, os, value, c0);
        copy_run(o + c0 * os, os, x + (c0 - shift) * xs, xs, c1 - c0);
        fill_run(o + c1 * os, os, value, n - c1);
      });
    });
  });
}

namespace {

// Source position of each output position along one dimension of size n.
void pad_map(PadMode mode, int64_t before, int64_t n, int64_t out_n, int64_t* map) {
  for (int64_t o = 0; o < out_n; ++o) {
    int64_t i = o - before;
    if (mode == PadMode::kReplicate) {
      i = max_of(0, min_of(n - 1, i));
    } else if (mode == PadMode::kCircular) {
      i %= n;
      if (i < 0) i += n;
    } else if (n == 1) {
      i = 0;
    } else {  // the edge itself is not repeated
      const int64_t period = 2 * (n - 1);
      i %= period;
      if (i < 0) i += period;
      if (i >= n) i = period - i;
    }
    map[o] = i;
  }
}

// The maps of all dimensions, one after the other.
class PadMaps {
 public:
  PadMaps(const ModePadAttrs& a, const TensorView& small, const TensorView& large) : maps_(total(large)) {
    int64_t at = 0;
    for (int d = 0; d < large.ndim; ++d) {
      map_[d] = maps_.data() + at;
      pad_map(a.mode, a.before[d], small.sizes[d], large.sizes[d], map_[d]);
      at += large.sizes[d];
    }
  }
  const int64_t* operator[](int d) const { return map_[d]; }

 private:
  static int64_t total(const TensorView& v) {
    int64_t n = 0;
    for (int d = 0; d < v.ndim; ++d) n += v.sizes[d];
    return n;
  }
  MoveScratch<int64_t> maps_;
  int64_t* map_[kMaxRank];
};

}  // namespace

// out: in continued past its edges by reflection, replication or wrapping around (attrs.mode); rank >= 1.
void mode_pad(const KernelArgs& args) {
  const ModePadAttrs& a = args.attrs<ModePadAttrs>();
  const TensorView &in = args.in[0], &out = args.out[0];
  if (out.numel == 0) return;
  const PadMaps maps(a, in, out);
  const int lead = out.ndim - 1;
  const int64_t n = out.sizes[lead], m = in.sizes[lead], os = out.strides[lead], xs = in.strides[lead];
  const int64_t shift = a.before[lead];
  const int64_t c0 = max_of(0, min_of(n, shift)), c1 = max_of(c0, min_of(n, shift + m));
  dispatch_size(out.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* px = in.ptr<const T>();
    T* po = out.ptr<T>();
    const int64_t* map = maps[lead];
    parallel_for(out.numel / n, max_of(1, kMoveChunk / n), [&](int64_t begin, int64_t end) {
      for_rows(out.sizes, lead, begin, end, [&](const int64_t* at, int64_t) {
        const T* x = px;
        T* o = po;
        for (int d = 0; d < lead; ++d) {
          x += maps[d][at[d]] * in.strides[d];
          o += at[d] * out.strides[d];
        }
        for (int64_t i = 0; i < c0; ++i) o[i * os] = x[map[i] * xs];
        copy_run(o + c0 * os, os, x + (c0 - shift) * xs, xs, c1 - c0);
        for (int64_t i = c1; i < n; ++i) o[i * os] = x[map[i] * xs];
      });
    });
  });
}

// in: g of the padded shape; out: gx of the unpadded shape, each entry the sum of the places it was copied to.
void mode_pad_backward(const KernelArgs& args) {
  const ModePadAttrs& a = args.attrs<ModePadAttrs>();
  const TensorView &g = args.in[0], &out = args.out[0];
  if (out.numel == 0) return;
  zero_view(out);
  if (g.numel == 0) return;
  const PadMaps maps(a, out, g);
  // Dimensions in front of the first padded one are independent of each other: one task each.
  int free_dims = 0;
  while (free_dims < g.ndim - 1 && a.before[free_dims] == 0 && g.sizes[free_dims] == out.sizes[free_dims])
    ++free_dims;
  Loop<2> planes;
  for (int d = 0; d < free_dims; ++d) planes.dim(g.sizes[d], {out.strides[d], g.strides[d]});
  int64_t rows = 1;
  for (int d = free_dims; d < g.ndim - 1; ++d) rows *= g.sizes[d];
  const int last = g.ndim - 1;
  const int64_t n = g.sizes[last], os = out.strides[last], gs = g.strides[last];
  const int64_t shift = a.before[last];
  const int64_t c0 = max_of(0, min_of(n, shift)), c1 = max_of(c0, min_of(n, shift + out.sizes[last]));
  dispatch_float(out.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    parallel_for(planes.numel, max_of(1, kMoveChunk / max_of(1, rows * n)), [&](int64_t begin, int64_t end) {
      for (int64_t p = begin; p < end; ++p) {
        int64_t base[2];
        planes.offsets(p, base);
        for_rows(g.sizes + free_dims, last - free_dims, 0, rows, [&](const int64_t* at, int64_t) {
          T* o = out.ptr<T>() + base[0];
          const T* x = g.ptr<const T>() + base[1];
          for (int d = free_dims; d < last; ++d) {
            o += maps[d][at[d - free_dims]] * out.strides[d];
            x += at[d - free_dims] * g.strides[d];
          }
          const int64_t* map = maps[last];
          for (int64_t i = 0; i < c0; ++i) o[map[i] * os] = add_as(o[map[i] * os], x[i * gs]);
          if (os == 1 && gs == 1) {
            for (int64_t i = c0; i < c1; ++i) o[i - shift] = add_as(o[i - shift], x[i]);
          } else {
            for (int64_t i = c0; i < c1; ++i) o[(i - shift) * os] = add_as(o[(i - shift) * os], x[i * gs]);
          }
          for (int64_t i = c1; i < n; ++i) o[map[i] * os] = add_as(o[map[i] * os], x[i * gs]);
        });
      }
    });
  });
}

namespace {

struct UnfoldPlan {
  int64_t h, w, oh, ow;  // image and grid of windows
  UnfoldPlan(const Im2colAttrs& a, int64_t height, int64_t width) : h(height), w(width) {
    oh = (h + 2 * a.padding[0] - a.dilation[0] * (a.kernel[0] - 1) - 1) / a.stride[0] + 1;
    ow = (w + 2 * a.padding[1] - a.dilation[1] * (a.kernel[1] - 1) - 1) / a.stride[1] + 1;
  }
  // Windows x in [x0, x1) whose column x * stride + shift lies in [0, w).
  static void valid(int64_t shift, int64_t stride, int64_t w, int64_t ow, int64_t& x0, int64_t& x1) {
    x0 = shift < 0 ? min_of(ow, div_up(-shift, stride)) : 0;
    x1 = w - shift <= 0 ? 0 : min_of(ow, div_up(w - shift, stride));
    x1 = max_of(x0, x1);
  }
};

}  // namespace

// in: (N, C, H, W); out: (N, C * kh * kw, L): the windows of the image as columns, zeros outside it.
void im2col(const KernelArgs& args) {
  const Im2colAttrs& a = args.attrs<Im2colAttrs>();
  const TensorView &in = args.in[0], &out = args.out[0];
  if (out.numel == 0) return;
  const UnfoldPlan plan(a, in.sizes[2], in.sizes[3]);
  const int64_t kh = a.kernel[0], kw = a.kernel[1], oh = plan.oh, ow = plan.ow, channels = in.sizes[1];
  dispatch_size(out.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const PackedOut<T> target(out);
    parallel_for(in.sizes[0] * channels * kh * kw, max_of(1, kMoveChunk / (oh * ow)),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t row = begin; row < end; ++row) {
                     const int64_t j = row % kw, i = row / kw % kh, c = row / (kw * kh) % channels,
                                   image = row / (kw * kh * channels);
                     const T* x = in.ptr<const T>() + image * in.strides[0] + c * in.strides[1];
                     T* o = target.data() + row * oh * ow;
                     const int64_t shift = j * a.dilation[1] - a.padding[1];
                     int64_t x0, x1;
                     UnfoldPlan::valid(shift, a.stride[1], plan.w, ow, x0, x1);
                     for (int64_t y = 0; y < oh; ++y, o += ow) {
                       const int64_t iy = y * a.stride[0] - a.padding[0] + i * a.dilation[0];
                       if (iy < 0 || iy >= plan.h) {
                         fill_run(o, 1, T(0), ow);
                         continue;
                       }
                       const T* line = x + iy * in.strides[2];
                       fill_run(o, 1, T(0), x0);
                       if (x1 > x0)
                         copy_run(o + x0, 1, line + (x0 * a.stride[1] + shift) * in.strides[3],
                                  a.stride[1] * in.strides[3], x1 - x0);
                       fill_run(o + x1, 1, T(0), ow - x1);
                     }
                   }
                 });
    target.flush();
  });
}

// in: (N, C * kh * kw, L); out: (N, C, H, W), each pixel the sum of the window entries that cover it.
void col2im(const KernelArgs& args) {
  const Im2colAttrs& a = args.attrs<Im2colAttrs>();
  const TensorView &in = args.in[0], &out = args.out[0];
  if (out.numel == 0) return;
  const UnfoldPlan plan(a, out.sizes[2], out.sizes[3]);
  const int64_t kh = a.kernel[0], kw = a.kernel[1], oh = plan.oh, ow = plan.ow, h = plan.h, w = plan.w,
                channels = out.sizes[1];
  dispatch_float(out.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_type<T>;
    const Packed<T> packed(in);
    const int64_t planes = out.sizes[0] * channels, chunk = max_of(1, kMoveChunk / (h * w));
    parallel_for(planes, chunk, [&](int64_t begin, int64_t end) {
      const MoveScratch<C> plane(h * w);
      for (int64_t p = begin; p < end; ++p) {
        __builtin_memset(plane.data(), 0, static_cast<size_t>(h * w) * sizeof(C));
        const T* g = packed.data() + p * kh * kw * oh * ow;
        for (int64_t i = 0; i < kh; ++i) {
          for (int64_t j = 0; j < kw; ++j, g += oh * ow) {
            const int64_t shift = j * a.dilation[1] - a.padding[1], s = a.stride[1];
            int64_t x0, x1;
            UnfoldPlan::valid(shift, s, w, ow, x0, x1);
            for (int64_t y = 0; y < oh; ++y) {
              const int64_t iy = y * a.stride[0] - a.padding[0] + i * a.dilation[0];
              if (iy < 0 || iy >= h) continue;
              C* line = plane.data() + iy * w;
              const T* row = g + y * ow;
              if (s == 1) {
                for (int64_t x = x0; x < x1; ++x) line[x + shift] += static_cast<C>(row[x]);
              } else {
                for (int64_t x = x0; x < x1; ++x) line[x * s + shift] += static_cast<C>(row[x]);
              }
            }
          }
        }
        T* o = out.ptr<T>() + p / channels * out.strides[0] + p % channels * out.strides[1];
        for (int64_t y = 0; y < h; ++y)
          for (int64_t x = 0; x < w; ++x)
            o[y * out.strides[2] + x * out.strides[3]] = static_cast<T>(plane[y * w + x]);
      }
    });
  });
}

}  // namespace fireseed::cpu::FS_ISA

// Resampling: nearest, linear and cubic in one to three dimensions, with antialiasing, and its gradient.
// Rarely used: a wheel has it as PTX.
#include "tensor/resample.h"

#include "kernels/pool.cuh"
#include "runtime/allocator.h"

namespace fireseed::cuda {
namespace {

// Note [Tables of taps]
// What outputs read depends on one coordinate at a time, so one block a dimension first makes tables: output o reads
// inputs first[o] + t with weight[t][o], t < count. For the gradient it adds the outputs [begin[p], end[p]) that read
// input p. Weights that are 0 are not used: what they stand for may lie outside, or be infinite.
constexpr int kTableThreads = 256;

template <class C>
struct Axis {
  int32_t* first;
  C* weight;
  int32_t *begin, *end;  // gradient only
  int32_t count, size, in;
};
template <class C>
struct Axes {
  Axis<C> axis[3];
};

template <class C, int kThreads>
__global__ void __launch_bounds__(kThreads)
    make_tables(const __grid_constant__ InterpolateAttrs a, const __grid_constant__ Axes<C> axes) {
  const int i = static_cast<int>(blockIdx.x), thread = static_cast<int>(threadIdx.x);
  const Axis<C>& axis = axes.axis[i];
  for (int32_t o = thread; o < axis.size; o += kThreads) {
    int32_t first = 0;
    for (int32_t t = 0; t < axis.count; ++t) axis.weight[int64_t{t} * axis.size + o] = C(0);
    output_taps<C>(a, i, o, axis.count, [&](int64_t t, int64_t from, C w) {
      const int64_t last = axis.in - 1;
      const auto at = static_cast<int32_t>(from < 0 ? 0 : from > last ? last : from);
      if (t == 0) first = at;
      axis.weight[int64_t{at - first} * axis.size + o] += w;  // at the edges several taps are one input
    });
    axis.first[o] = first;
  }
  if (axis.begin == nullptr) return;
  __syncthreads();
  for (int32_t p = thread; p < axis.in; p += kThreads) {
    // first[] does not decrease: the least o with first[o] > bound
    const auto beyond = [&](int32_t bound) {
      int32_t low = 0, high = axis.size;
      while (low < high) {
        const int32_t middle = low + (high - low) / 2;
        if (axis.first[middle] > bound) high = middle;
        else low = middle + 1;
      }
      return low;
    };
    axis.begin[p] = beyond(p - axis.count);
    axis.end[p] = beyond(p);
  }
}

// The tables of all dimensions in one piece of memory.
template <class C>
class Tables {
 public:
  Tables(const InterpolateAttrs& a, bool gradient) : memory_(layout(a, gradient, nullptr)) {
    layout(a, gradient, memory_.template ptr<char>());
    FS_LAUNCH((make_tables<C, kTableThreads>), 3, kTableThreads, 0, current_stream(), a, axes);
  }
  Axes<C> axes;

 private:
  // Bytes needed; sets the pointers behind p.
  size_t layout(const InterpolateAttrs& a, bool gradient, char* p) {
    size_t at = 0;
    const auto take = [&](int64_t n, size_t size) {
      char* here = p ? p + at : nullptr;
      at += (static_cast<size_t>(n) * size + 15) / 16 * 16;
      return here;
    };
    for (int i = 0; i < 3; ++i) {
      const int64_t count = tap_count<C>(a, i);
      auto* weight = reinterpret_cast<C*>(take(count * a.out[i], sizeof(C)));
      auto* first = reinterpret_cast<int32_t*>(take(a.out[i], 4));
      int32_t *begin = nullptr, *end = nullptr;
      if (gradient) {
        begin = reinterpret_cast<int32_t*>(take(a.in[i], 4));
        end = reinterpret_cast<int32_t*>(take(a.in[i], 4));
      }
      axes.axis[i] = {first,
                      weight,
                      begin,
                      end,
                      static_cast<int32_t>(count),
                      static_cast<int32_t>(a.out[i]),
                      static_cast<int32_t>(a.in[i])};
    }
    return at;
  }
  Scratch memory_;
};

struct Places {
  PoolNumbers numbers;
  PoolSide image, result;  // the forward input and output
  int64_t count = 0;
};

// x of float32, the halves or uint8 where C is float, else of float64; y of the same dtype.
template <class C>
__global__ void __launch_bounds__(kPoolThreads)
    resample(const void* x, void* y, DType t, const __grid_constant__ Places a,
             const __grid_constant__ Axes<C> axes) {
  const bool bytes = t == DType::kUInt8;
  const auto &zs = axes.axis[0], &ys = axes.axis[1], &xs = axes.axis[2];
  for (int64_t i = grid_thread(); i < a.count; i += grid_threads()) {
    int64_t n, c;
    int32_t o[3];
    a.numbers.place(i, n, c, o);
    const int64_t from = a.image.plane(n, c) + a.image.pixel(zs.first[o[0]], ys.first[o[1]], xs.first[o[2]]);
    C sum = 0;
    for (int32_t tx = 0; tx < xs.count; ++tx) {
      const C wx = xs.weight[int64_t{tx} * xs.size + o[2]];
      if (wx == C(0)) continue;
      C column = 0;
      for (int32_t tz = 0; tz < zs.count; ++tz) {
        const C wz = zs.weight[int64_t{tz} * zs.size + o[0]];
        for (int32_t ty = 0; ty < ys.count; ++ty) {
          const C w = wz * ys.weight[int64_t{ty} * ys.size + o[1]];
          if (w == C(0)) continue;
          const int64_t at = from + a.image.pixel(tz, ty, tx);
          column += w * (bytes ? static_cast<C>(static_cast<const uint8_t*>(x)[at]) : pool_load<C>(x, at, t));
        }
      }
      sum += wx * column;
    }
    const int64_t to = a.result.plane(n, c) + a.result.pixel(o[0], o[1], o[2]);
    if (bytes) {
      const float r = ::rintf(static_cast<float>(sum));
      static_cast<uint8_t*>(y)[to] = static_cast<uint8_t>(r < 0.0f ? 0.0f : r > 255.0f ? 255.0f : r);
    } else {
      pool_store(y, to, t, sum);
    }
  }
}

template <class C>
__global__ void __launch_bounds__(kPoolThreads)
    resample_gradient(const void* g, void* gx, DType t, const __grid_constant__ Places a,
                      const __grid_constant__ Axes<C> axes) {
  const auto &zs = axes.axis[0], &ys = axes.axis[1], &xs = axes.axis[2];
  for (int64_t i = grid_thread(); i < a.count; i += grid_threads()) {
    int64_t n, c;
    int32_t p[3];
    a.numbers.place(i, n, c, p);
    const int64_t from = a.result.plane(n, c);
    const auto weight = [&](const Axis<C>& axis, int32_t o, int32_t at) {
      return axis.weight[int64_t{at - axis.first[o]} * axis.size + o];
    };
    C sum = 0;
    for (int32_t ox = xs.begin[p[2]]; ox < xs.end[p[2]]; ++ox) {
      const C wx = weight(xs, ox, p[2]);
      if (wx == C(0)) continue;
      C column = 0;
      for (int32_t oz = zs.begin[p[0]]; oz < zs.end[p[0]]; ++oz) {
        const C wz = weight(zs, oz, p[0]);
        for (int32_t oy = ys.begin[p[1]]; oy < ys.end[p[1]]; ++oy) {
          const C w = wz * weight(ys, oy, p[1]);
          if (w != C(0)) column += w * pool_load<C>(g, from + a.result.pixel(oz, oy, ox), t);
        }
      }
      sum += wx * column;
    }
    pool_store(gx, a.image.plane(n, c) + a.image.pixel(p[0], p[1], p[2]), t, sum);
  }
}

// The nearest modes move elements, of `size` bytes, as they are.
__global__ void __launch_bounds__(kPoolThreads)
    pick_nearest(const void* x, void* y, int size, const __grid_constant__ Places a,
                 const __grid_constant__ Axes<float> axes) {
  for (int64_t i = grid_thread(); i < a.count; i += grid_threads()) {
    int64_t n, c;
    int32_t o[3];
    a.numbers.place(i, n, c, o);
    const int64_t to = a.result.plane(n, c) + a.result.pixel(o[0], o[1], o[2]);
    const int64_t from = a.image.plane(n, c) +
                         a.image.pixel(axes.axis[0].first[o[0]], axes.axis[1].first[o[1]], axes.axis[2].first[o[2]]);
    if (size == 1) static_cast<uint8_t*>(y)[to] = static_cast<const uint8_t*>(x)[from];
    else if (size == 2) static_cast<uint16_t*>(y)[to] = static_cast<const uint16_t*>(x)[from];
    else if (size == 4) static_cast<uint32_t*>(y)[to] = static_cast<const uint32_t*>(x)[from];
    else static_cast<uint64_t*>(y)[to] = static_cast<const uint64_t*>(x)[from];
  }
}

// Calls f(places, blocks) for the elements of `numbered`, one of the two sides.
template <class F>
void for_places(const TensorView& image, const TensorView& result, const TensorView& numbered,
                const int64_t (&sizes)[3], int64_t spatial, const F& f) {
  Places a{{}, PoolSide(image, spatial), PoolSide(result, spatial), 0};
  int32_t size[3];
  for (int i = 0; i < 3; ++i) size[i] = static_cast<int32_t>(sizes[i]);
  for_pool_parts(numbered, spatial, size, [&](const PoolNumbers& numbers, int64_t count) {
    a.numbers = numbers;
    a.count = count;
    f(a, grid_for(count, kPoolThreads, 1 << 20));
  });
}

}  // namespace

// in: (N, C, [D, [H,]] W) of sizes attrs.in; out: the same with sizes attrs.out.
void interpolate(const KernelArgs& args) {
  const InterpolateAttrs& a = args.attrs<InterpolateAttrs>();
  const TensorView &in = args.in[0], &out = args.out[0];
  if (out.numel == 0) return;
  const bool nearest = a.mode == InterpolateMode::kNearest || a.mode == InterpolateMode::kNearestExact;
  if (nearest) {
    const Tables<float> tables(a, false);
    for_places(in, out, out, a.out, a.spatial, [&](const Places& p, unsigned blocks) {
      FS_LAUNCH(pick_nearest, blocks, kPoolThreads, 0, current_stream(), in.data, out.data,
                static_cast<int>(dtype_size(out.dtype)), p, tables.axes);
    });
    return;
  }
  const auto run = [&](auto zero) {
    using C = decltype(zero);
    const Tables<C> tables(a, false);
    for_places(in, out, out, a.out, a.spatial, [&](const Places& p, unsigned blocks) {
      FS_LAUNCH((resample<C>), blocks, kPoolThreads, 0, current_stream(), in.data, out.data, in.dtype, p,
                tables.axes);
    });
  };
  if (in.dtype == DType::kUInt8) run(float{});
  else dispatch_float_compute(in.dtype, "interpolate", run);
}

// in: g of sizes attrs.out; out: gx of sizes attrs.in, each the sum of the outputs that read it, in their order.
void interpolate_backward(const KernelArgs& args) {
  const InterpolateAttrs& a = args.attrs<InterpolateAttrs>();
  const TensorView &g = args.in[0], &out = args.out[0];
  if (out.numel == 0) return;
  dispatch_float_compute(out.dtype, "interpolate", [&](auto zero) {
    using C = decltype(zero);
    const Tables<C> tables(a, true);
    for_places(out, g, out, a.in, a.spatial, [&](const Places& p, unsigned blocks) {
      FS_LAUNCH((resample_gradient<C>), blocks, kPoolThreads, 0, current_stream(), g.data, out.data, out.dtype, p,
                tables.axes);
    });
  });
}

}  // namespace fireseed::cuda

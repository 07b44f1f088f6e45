// Pooling, backward: each position of the input sums the outputs whose windows chose or hold it.
#include "kernels/pool.cuh"

namespace fireseed::cuda {
namespace {

// found: places in the flattened plane (int64), or numbers inside the windows (uint8).
template <class T, class Found>
__global__ void __launch_bounds__(kPoolThreads)
    max_gradient(const T* g, const Found* found, T* gx, const __grid_constant__ PoolCall a) {
  using C = compute_type<T>;
  constexpr bool kInWindow = sizeof(Found) == 1;
  for (int64_t i = grid_thread(); i < a.count; i += grid_threads()) {
    int64_t n, c;
    int32_t p[3], begin[3], end[3];
    a.numbers.place(i, n, c, p);
#pragma unroll
    for (int d = 0; d < 3; ++d) a.g.reaching(d, p[d], begin[d], end[d]);
    const T* from = g + a.pooled.plane(n, c);
    const Found* chosen = found + a.found.plane(n, c);
    const int32_t place = (p[0] * a.g.in[1] + p[1]) * a.g.in[2] + p[2];
    C sum = 0;
    for (int32_t z = begin[0]; z < end[0]; ++z) {
      const int32_t tz = kInWindow ? a.g.tap_of(0, z, p[0]) : 0;
      for (int32_t y = begin[1]; y < end[1]; ++y) {
        const int32_t ty = kInWindow ? a.g.tap_of(1, y, p[1]) : 0;
        if ((tz | ty) < 0) continue;
        for (int32_t x = begin[2]; x < end[2]; ++x) {
          int32_t wanted = place;
          if constexpr (kInWindow) {
            const int32_t tx = a.g.tap_of(2, x, p[2]);
            wanted = tx < 0 ? -1 : (tz * a.g.kernel[1] + ty) * a.g.kernel[2] + tx;
          }
          if (chosen[a.found.pixel(z, y, x)] == wanted) sum += load_as<C>(from[a.pooled.pixel(z, y, x)]);
        }
      }
    }
    gx[a.image.plane(n, c) + a.image.pixel(p[0], p[1], p[2])] = store_as<T>(sum);
  }
}

template <class T>
__global__ void __launch_bounds__(kPoolThreads) mean_gradient(const T* g, T* gx, const __grid_constant__ PoolCall a,
                                                              const __grid_constant__ PoolDivisor divisor) {
  using C = compute_type<T>;
  for (int64_t i = grid_thread(); i < a.count; i += grid_threads()) {
    int64_t n, c;
    int32_t p[3], begin[3], end[3], o[3];
    a.numbers.place(i, n, c, p);
#pragma unroll
    for (int d = 0; d < 3; ++d) a.g.reaching(d, p[d], begin[d], end[d]);
    const T* from = g + a.pooled.plane(n, c);
    C sum = 0;
    for (o[0] = begin[0]; o[0] < end[0]; ++o[0])
      for (o[1] = begin[1]; o[1] < end[1]; ++o[1])
        for (o[2] = begin[2]; o[2] < end[2]; ++o[2])
          sum += load_as<C>(from[a.pooled.pixel(o[0], o[1], o[2])]) / divisor.of<C>(a.g, o);
    gx[a.image.plane(n, c) + a.image.pixel(p[0], p[1], p[2])] = store_as<T>(sum);
  }
}

template <class Found>
void max_backward(const KernelArgs& args, const PoolGeometry& g) {
  const int64_t spatial = args.attrs<PoolAttrs>().spatial;
  const TensorView &cotangent = args.in[0], &found = args.in[1], &out = args.out[0];
  if (out.numel == 0) return;
  PoolCall a{g, {}, PoolSide(out, spatial), PoolSide(cotangent, spatial), PoolSide(found, spatial), 0, out.dtype};
  dispatch_float(out.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    for_pool_parts(out, spatial, g.in, [&](const PoolNumbers& numbers, int64_t count) {
      a.numbers = numbers;
      a.count = count;
      FS_LAUNCH((max_gradient<T, Found>), grid_for(count, kPoolThreads, 1 << 20), kPoolThreads, 0, current_stream(),
                cotangent.ptr<const T>(), found.ptr<const Found>(), out.ptr<T>(), a);
    });
  });
}

void mean_backward(const KernelArgs& args, int64_t spatial, const PoolGeometry& g, const PoolDivisor& divisor) {
  const TensorView &cotangent = args.in[0], &out = args.out[0];
  if (out.numel == 0) return;
  PoolCall a{g, {}, PoolSide(out, spatial), PoolSide(cotangent, spatial), {}, 0, out.dtype};
  dispatch_float(out.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    for_pool_parts(out, spatial, g.in, [&](const PoolNumbers& numbers, int64_t count) {
      a.numbers = numbers;
      a.count = count;
      FS_LAUNCH((mean_gradient<T>), grid_for(count, kPoolThreads, 1 << 20), kPoolThreads, 0, current_stream(),
                cotangent.ptr<const T>(), out.ptr<T>(), a, divisor);
    });
  });
}

}  // namespace

// in: g, int64 indices of max_pool_with_indices or adaptive_max_pool (g's shape); out: gx of the input's shape.
void max_pool_backward(const KernelArgs& args) {
  const PoolAttrs& p = args.attrs<PoolAttrs>();
  PoolGeometry g(args.out[0], args.in[0], p.spatial);
  // Adaptive pooling leaves the windows' attributes at 1. Fixed windows of one entry and stride 1 are the adaptive
  // ones of equal sizes.
  g.adaptive = true;
  for (int i = 0; i < 3; ++i) g.adaptive = g.adaptive && p.kernel[i] == 1 && p.stride[i] == 1;
  if (!g.adaptive) g.set_windows(p);
  max_backward<int64_t>(args, g);
}

// in: g, uint8 window numbers of max_pool_with_window (g's shape); out: gx of the input's shape.
void max_pool_window_backward(const KernelArgs& args) {
  const PoolAttrs& p = args.attrs<PoolAttrs>();
  PoolGeometry g(args.out[0], args.in[0], p.spatial);
  g.set_windows(p);
  max_backward<uint8_t>(args, g);
}

// in: g; out: gx of the input's shape, g over the window's divisor on each entry of the window.
void avg_pool_backward(const KernelArgs& args) {
  const PoolAttrs& p = args.attrs<PoolAttrs>();
  PoolGeometry g(args.out[0], args.in[0], p.spatial);
  g.set_windows(p);
  mean_backward(args, p.spatial, g, PoolDivisor(p));
}

// in: g; out: gx of the input's shape.
void adaptive_avg_pool_backward(const KernelArgs& args) {
  const int64_t spatial = args.attrs<AdaptivePoolAttrs>().spatial;
  PoolGeometry g(args.out[0], args.in[0], spatial);
  g.adaptive = true;
  mean_backward(args, spatial, g, PoolDivisor());
}

}  // namespace fireseed::cuda

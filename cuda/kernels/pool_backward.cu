// Pooling, backward: each position of the input sums the outputs whose windows chose or hold it.
#include "kernels/pool.cuh"

namespace fireseed::cuda {
namespace {

// found: places in the flattened plane (int64), or with in_window numbers inside the windows (uint8); null for means.
template <class C>
__global__ void __launch_bounds__(kPoolThreads)
    pool_gradient(const void* g, const void* found, bool in_window, void* gx, const __grid_constant__ PoolCall a,
                  const __grid_constant__ PoolDivisor divisor) {
#pragma unroll 1
  for (int64_t i = grid_thread(); i < a.count; i += grid_threads()) {
    int64_t n, c;
    int32_t p[3], begin[3], end[3], o[3];
    a.numbers.place(i, n, c, p);
#pragma unroll
    for (int d = 0; d < 3; ++d) a.g.reaching(d, p[d], begin[d], end[d]);
    const int64_t from = a.pooled.plane(n, c), chosen = a.found.plane(n, c);
    const int32_t place = (p[0] * a.g.in[1] + p[1]) * a.g.in[2] + p[2];
    C sum = 0;
#pragma unroll 1
    for (o[0] = begin[0]; o[0] < end[0]; ++o[0]) {
      const int32_t tz = in_window ? a.g.tap_of(0, o[0], p[0]) : 0;
#pragma unroll 1
      for (o[1] = begin[1]; o[1] < end[1]; ++o[1]) {
        const int32_t ty = in_window ? a.g.tap_of(1, o[1], p[1]) : 0;
        if ((tz | ty) < 0) continue;
#pragma unroll 1
        for (o[2] = begin[2]; o[2] < end[2]; ++o[2]) {
          C over = 1;
          if (!found) {
            int32_t first[3], count[3], tap[3];
            a.g.windows(o, first, count, tap);
            over = divisor.of<C>(a.g, o, count);
          } else {
            const int64_t at = chosen + a.found.pixel(o[0], o[1], o[2]);
            int32_t wanted = place;
            if (in_window) {
              const int32_t tx = a.g.tap_of(2, o[2], p[2]);
              wanted = tx < 0 ? -1 : (tz * a.g.kernel[1] + ty) * a.g.kernel[2] + tx;
            }
            const int64_t own =
                in_window ? static_cast<const uint8_t*>(found)[at] : static_cast<const int64_t*>(found)[at];
            if (own != wanted) continue;
          }
          const C v = pool_load<C>(g, from + a.pooled.pixel(o[0], o[1], o[2]), a.dtype);
          sum += found ? v : v / over;
        }
      }
    }
    pool_store(gx, a.image.plane(n, c) + a.image.pixel(p[0], p[1], p[2]), a.dtype, sum);
  }
}

void pool_backward_any(const KernelArgs& args, int64_t spatial, const PoolGeometry& g, const TensorView* found,
                       const PoolDivisor& divisor = {}) {
  const TensorView &cotangent = args.in[0], &out = args.out[0];
  if (out.numel == 0) return;
  PoolCall a{g, {}, PoolSide(out, spatial), PoolSide(cotangent, spatial), {}, 0, out.dtype};
  if (found) a.found = PoolSide(*found, spatial);
  for_pool_parts(out, spatial, g.in, [&](const PoolNumbers& numbers, int64_t count) {
    a.numbers = numbers;
    a.count = count;
    dispatch_float_compute(out.dtype, "pooling", [&](auto zero) {
      using C = decltype(zero);
      FS_LAUNCH((pool_gradient<C>), grid_for(count, kPoolThreads, 1 << 20), kPoolThreads, 0, current_stream(),
                cotangent.data, found ? found->data : nullptr, found && found->dtype == DType::kUInt8, out.data, a,
                divisor);
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
  pool_backward_any(args, p.spatial, g, &args.in[1]);
}

// in: g, uint8 window numbers of max_pool_with_window (g's shape); out: gx of the input's shape.
void max_pool_window_backward(const KernelArgs& args) {
  const PoolAttrs& p = args.attrs<PoolAttrs>();
  PoolGeometry g(args.out[0], args.in[0], p.spatial);
  g.set_windows(p);
  pool_backward_any(args, p.spatial, g, &args.in[1]);
}

// in: g; out: gx of the input's shape, g over the window's divisor on each entry of the window.
void avg_pool_backward(const KernelArgs& args) {
  const PoolAttrs& p = args.attrs<PoolAttrs>();
  PoolGeometry g(args.out[0], args.in[0], p.spatial);
  g.set_windows(p);
  pool_backward_any(args, p.spatial, g, nullptr, PoolDivisor(p));
}

// in: g; out: gx of the input's shape.
void adaptive_avg_pool_backward(const KernelArgs& args) {
  const int64_t spatial = args.attrs<AdaptivePoolAttrs>().spatial;
  PoolGeometry g(args.out[0], args.in[0], spatial);
  g.adaptive = true;
  pool_backward_any(args, spatial, g, nullptr);
}

}  // namespace fireseed::cuda

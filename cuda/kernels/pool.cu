// Pooling, forward: maxima with or without their places, means; of fixed and adaptive windows.
#include "kernels/pool.cuh"

namespace fireseed::cuda {
namespace {

// Of a window: its maximum and nothing else, its place in the plane, or in the window; or its mean.
enum class Want { kNone, kIndex, kWindow, kMean };

// Windows from this size on have a warp each.
constexpr int64_t kWideWindow = 32;

// The warp's first largest value, or its last NaN. at: their places, all different or the same start.
template <class C>
__device__ __forceinline__ void warp_best(C& best, int32_t& at) {
#pragma unroll
  for (int d = kWarpSize / 2; d > 0; d /= 2) {
    const C other = __shfl_xor_sync(kFullMask, best, d);
    const int32_t place = __shfl_xor_sync(kFullMask, at, d);
    const bool nan = best != best, other_nan = other != other;
    const bool better =
        nan || other_nan ? other_nan && (!nan || place > at) : other > best || (other == best && place < at);
    best = better ? other : best;
    at = better ? place : at;
  }
}

// y: the maximum of each window (PyTorch's rule: the first largest entry, or the last NaN; -infinity counts as none),
// or its sum over the divisor; found: the maximum's place in the flattened plane (int64) or in the window (uint8). A
// window is a thread's, or with `wide` (of floats) a warp's.
template <class C>
__global__ void __launch_bounds__(kPoolThreads)
    pool_windows(const void* x, void* y, void* found, Want want, const __grid_constant__ PoolCall a,
                 const __grid_constant__ PoolDivisor divisor, bool wide) {
  constexpr bool kInteger = std::is_same_v<C, int64_t>;
  const int shift = wide ? 5 : 0, lane = wide ? static_cast<int>(threadIdx.x) % kWarpSize : 0;
  const bool mean = !kInteger && want == Want::kMean;
  C none = 0;
  if constexpr (kInteger) none = a.dtype == DType::kInt64 ? INT64_MIN : INT32_MIN;
  else if (!mean) none = -kInfinity<C>;
  // Places are numbers in the input's plane, or in the window.
  const bool in_window = want == Want::kWindow;
  const int32_t rows = in_window ? a.g.kernel[1] : a.g.in[1], columns = in_window ? a.g.kernel[2] : a.g.in[2];
#pragma unroll 1
  for (int64_t i = grid_thread() >> shift; i < a.count; i += grid_threads() >> shift) {
    int64_t n, c;
    int32_t o[3], first[3], count[3], tap[3];
    a.numbers.place(i, n, c, o);
    a.g.windows(o, first, count, tap);
    const int64_t plane = a.image.plane(n, c);
    const auto place = [&](int32_t iz, int32_t iy, int32_t ix, int32_t z, int32_t k, int32_t j) {
      return in_window ? ((tap[0] + z) * rows + tap[1] + k) * columns + tap[2] + j : (iz * rows + iy) * columns + ix;
    };
    C best = none;
    int32_t at = place(first[0], first[1], first[2], 0, 0, 0);
    // A thread takes runs of a row, a lane of a warp single entries.
    const int run = wide ? 1 : kRun;
    const int32_t in_row = wide ? count[2] : (count[2] + kRun - 1) / kRun, layer = count[1] * in_row;
    const int32_t all = count[0] * layer, next = in_window ? 1 : a.g.dilation[2];
    const int64_t step = a.g.dilation[2] * a.image.s[2];
    int32_t z = 0, k = 0, j = 0;
#pragma unroll 1
    for (int32_t e = lane; e < all; e += wide ? kWarpSize : 1) {
      if (wide) {
        z = e / layer;
        k = (e - z * layer) / in_row;
        j = e - z * layer - k * in_row;
      }
      const int32_t iz = first[0] + z * a.g.dilation[0], iy = first[1] + k * a.g.dilation[1],
                    ix = first[2] + j * a.g.dilation[2], from = place(iz, iy, ix, z, k, j);
      const int32_t left = count[2] - j;
      C v[kRun];
      pool_load_run(x, plane + a.image.pixel(iz, iy, ix), step, left < run ? left : run, a.dtype, none, v);
#pragma unroll
      for (int u = 0; u < kRun; ++u) {
        const bool better = mean | (v[u] > best) | (v[u] != v[u]);
        if (better) at = from + u * next;
        if (better) best = mean ? best + v[u] : v[u];
      }
      j += run;
      if (j >= count[2]) {
        j = 0;
        ++k;
        if (k == count[1]) {
          k = 0;
          ++z;
        }
      }
    }
    if constexpr (!kInteger) {
      if (wide && mean) best = warp_reduce(best, AddOp{});
      else if (wide) warp_best(best, at);
      if (mean) best /= divisor.of<C>(a.g, o, count);
    }
    if (lane != 0) continue;
    pool_store(y, a.pooled.plane(n, c) + a.pooled.pixel(o[0], o[1], o[2]), a.dtype, best);
    const int64_t to = a.found.plane(n, c) + a.found.pixel(o[0], o[1], o[2]);
    if (want == Want::kIndex) static_cast<int64_t*>(found)[to] = at;
    if (want == Want::kWindow) static_cast<uint8_t*>(found)[to] = static_cast<uint8_t>(at);
  }
}

// out[i]: the place in the flattened plane that entry window[i] of output i's window is.
__global__ void __launch_bounds__(kPoolThreads)
    place_windows(const uint8_t* window, int64_t* out, const __grid_constant__ PoolCall a) {
#pragma unroll 1
  for (int64_t i = grid_thread(); i < a.count; i += grid_threads()) {
    int64_t n, c;
    int32_t o[3];
    a.numbers.place(i, n, c, o);
    const int32_t t = window[a.found.plane(n, c) + a.found.pixel(o[0], o[1], o[2])], w = a.g.kernel[2],
                  h = a.g.kernel[1];
    const int32_t k[3] = {t / (w * h), t / w % h, t % w};
    int64_t at = 0;
    for (int d = 0; d < 3; ++d)
      at = at * a.g.in[d] + o[d] * static_cast<int32_t>(a.g.stride[d].d) - a.g.padding[d] + k[d] * a.g.dilation[d];
    out[a.pooled.plane(n, c) + a.pooled.pixel(o[0], o[1], o[2])] = at;
  }
}

// Positions of a window, about.
int64_t window_size(const PoolGeometry& g) {
  int64_t size = 1;
  for (int i = 0; i < 3; ++i) size *= g.adaptive ? (g.in[i] + g.out[i] - 1) / g.out[i] : g.kernel[i];
  return size;
}
// A warp a window: where its entries are neighbours in memory.
bool wide(const PoolCall& a) { return window_size(a.g) >= kWideWindow && !a.numbers.channels_last; }

void pool_any(const KernelArgs& args, Want want, int64_t spatial, const PoolGeometry& g,
              const PoolDivisor& divisor = {}) {
  const TensorView &in = args.in[0], &out = args.out[0];
  if (out.numel == 0) return;
  PoolCall a{g, {}, PoolSide(in, spatial), PoolSide(out, spatial), {}, 0, in.dtype};
  void* found = nullptr;
  if (want == Want::kIndex || want == Want::kWindow) {
    a.found = PoolSide(args.out[1], spatial);
    found = args.out[1].data;
  }
  for_pool_parts(out, spatial, g.out, [&](const PoolNumbers& numbers, int64_t count) {
    a.numbers = numbers;
    a.count = count;
    dispatch_compute(in.dtype, [&](auto zero) {
      using C = decltype(zero);
      const bool by_warps = is_floating(in.dtype) && wide(a);
      FS_LAUNCH((pool_windows<C>), grid_for(by_warps ? count * kWarpSize : count, kPoolThreads, 1 << 20),
                kPoolThreads, 0, current_stream(), in.data, out.data, found, want, a, divisor, by_warps);
    });
  });
}

PoolGeometry fixed_windows(const TensorView& image, const TensorView& pooled, const PoolAttrs& a) {
  PoolGeometry g(image, pooled, a.spatial);
  g.set_windows(a);
  return g;
}
PoolGeometry adaptive_windows(const TensorView& image, const TensorView& pooled, int64_t spatial) {
  PoolGeometry g(image, pooled, spatial);
  g.adaptive = true;
  return g;
}

void max_pool_fixed(const KernelArgs& args, Want want) {
  const PoolAttrs& a = args.attrs<PoolAttrs>();
  pool_any(args, want, a.spatial, fixed_windows(args.in[0], args.out[0], a));
}

}  // namespace

// in: (N, C, [D, [H,]] W) or without N; out: maxima of the windows of attrs (padding counts as -inf; NaN wins).
void max_pool(const KernelArgs& args) { max_pool_fixed(args, Want::kNone); }
// The same, and out[1]: int64, the position of each maximum in its plane, D*H*W flattened.
void max_pool_with_indices(const KernelArgs& args) { max_pool_fixed(args, Want::kIndex); }
// The same, and out[1]: uint8, the number of each maximum inside its window (windows of up to 255 entries).
void max_pool_with_window(const KernelArgs& args) { max_pool_fixed(args, Want::kWindow); }

// in: (N, C, [D, [H,]] W) or without N; out: maxima of the adaptive windows and their int64 positions in the plane.
void adaptive_max_pool(const KernelArgs& args) {
  const int64_t spatial = args.attrs<AdaptivePoolAttrs>().spatial;
  pool_any(args, Want::kIndex, spatial, adaptive_windows(args.in[0], args.out[0], spatial));
}

// in: (N, C, [D, [H,]] W) or without N; out: means of the windows of attrs (dilation is not used).
void avg_pool(const KernelArgs& args) {
  const PoolAttrs& a = args.attrs<PoolAttrs>();
  pool_any(args, Want::kMean, a.spatial, fixed_windows(args.in[0], args.out[0], a), PoolDivisor(a));
}
// in: (N, C, [D, [H,]] W) or without N; out: means of the adaptive windows.
void adaptive_avg_pool(const KernelArgs& args) {
  const int64_t spatial = args.attrs<AdaptivePoolAttrs>().spatial;
  pool_any(args, Want::kMean, spatial, adaptive_windows(args.in[0], args.out[0], spatial));
}

// in: uint8 window numbers of max_pool_with_window; out: int64, the positions in the flattened plane that they mean.
void max_pool_window_indices(const KernelArgs& args) {
  const PoolAttrs& p = args.attrs<PoolAttrs>();
  const TensorView &window = args.in[0], &out = args.out[0];
  if (out.numel == 0) return;
  PoolCall a{PoolGeometry(out, out, p.spatial), {}, {},       PoolSide(out, p.spatial),
             PoolSide(window, p.spatial),       0,  out.dtype};
  for (int i = 0; i < 3; ++i) a.g.in[i] = static_cast<int32_t>(p.in[i]);
  a.g.set_windows(p);
  for_pool_parts(out, p.spatial, a.g.out, [&](const PoolNumbers& numbers, int64_t count) {
    a.numbers = numbers;
    a.count = count;
    FS_LAUNCH(place_windows, grid_for(count, kPoolThreads, 1 << 20), kPoolThreads, 0, current_stream(),
              window.ptr<const uint8_t>(), out.ptr<int64_t>(), a);
  });
}

}  // namespace fireseed::cuda

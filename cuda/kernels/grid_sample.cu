// Sampling of images and volumes at the points of a grid, and its gradients.
#include "tensor/sampling.h"

#include <algorithm>

#include "device/contiguous.cuh"
#include "device/vec.cuh"
#include "runtime/check.h"
#include "runtime/device.h"

namespace fireseed::cuda {
namespace {

constexpr int kSampleThreads = 256;

struct SampleShape {
  GridSampleAttrs attrs;
  int32_t size[3];  // as memory has them: (depth,) height, width
  int64_t batch = 0, channels = 0, plane = 1, points = 1, groups = 1;

  SampleShape(const TensorView& input, const TensorView& grid, const GridSampleAttrs& a) : attrs(a) {
    batch = input.sizes[0];
    channels = input.sizes[1];
    for (int d = 2; d < input.ndim; ++d) {
      size[d - 2] = static_cast<int32_t>(input.sizes[d]);
      plane *= input.sizes[d];
      points *= grid.sizes[d - 1];
    }
    // Groups of channels: enough threads where there are few points.
    const int64_t wanted = int64_t{multiprocessors()} * 2048;
    groups = std::clamp<int64_t>(wanted / std::max<int64_t>(1, batch * points), 1, std::max<int64_t>(1, channels));
  }
};

// What a point reads along each dimension: kTaps neighbours, -1 for those outside, which read zero. slope: derivative
// of the weight by the grid's coordinate.
template <class C, int kDims, int kTaps>
struct Point {
  int32_t index[kDims][kTaps];
  C weight[kDims][kTaps], slope[kDims][kTaps];

  // grid: the point's coordinates x, y(, z).
  __device__ __forceinline__ Point(const C* grid, const SampleShape& s) {
#pragma unroll
    for (int d = 0; d < kDims; ++d) place(d, grid[kDims - 1 - d], s.size[d], s.attrs);
  }
  __device__ __forceinline__ static void bring_inside(C& x, C& slope, int32_t size, const GridSampleAttrs& a) {
    if (a.padding == GridPadding::kZeros) return;
    if (a.padding == GridPadding::kReflection)  // between the centres of the outer pixels, or their outer edges
      reflect_inside(x, slope, a.align_corners ? C(0) : C(-0.5), static_cast<C>(a.align_corners ? size - 1 : size));
    clip_inside(x, slope, static_cast<C>(size - 1));
  }
  __device__ __forceinline__ void place(int d, C coordinate, int32_t size, const GridSampleAttrs& a) {
    const C scale = grid_scale<C>(a, size), end = static_cast<C>(size);
    C x = (coordinate + C(1)) * scale - grid_shift<C>(a), by = scale, low;
    if constexpr (kTaps == 4) {  // the weights see the point itself, the padding moves its neighbours
      low = floor_number(x);
      cubic_taps(x - low, weight[d], slope[d]);
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        C at = low + static_cast<C>(k - 1);
        bring_inside(at, by, size, a);
        index[d][k] = index_inside<int32_t>(at, end);
        slope[d][k] *= scale;
      }
    } else {
      bring_inside(x, by, size, a);
      if (a.mode == GridMode::kNearest) {
        index[d][0] = index_inside<int32_t>(round_number(x), end);
        index[d][1] = -1;
        weight[d][0] = C(1);
        weight[d][1] = slope[d][0] = slope[d][1] = C(0);
        return;
      }
      linear_place(x, low, weight[d][1]);
      weight[d][0] = C(1) - weight[d][1];
      slope[d][0] = -by;
      slope[d][1] = by;
      index[d][0] = index_inside<int32_t>(low, end);
      index[d][1] = index_inside<int32_t>(low + C(1), end);
    }
  }
  static constexpr int kCorners = kDims == 3 ? kTaps * kTaps * kTaps : kTaps * kTaps;
  __device__ __forceinline__ static int tap(int corner, int d) {
    return (d == kDims - 1 ? corner : d == kDims - 2 ? corner / kTaps : corner / (kTaps * kTaps)) % kTaps;
  }
  // Calls f(corner, offset in a plane or -1, weight).
  template <class F>
  __device__ __forceinline__ void corners(const SampleShape& s, const F& f) const {
#pragma unroll
    for (int k = 0; k < kCorners; ++k) {
      int32_t at = index[0][tap(k, 0)], outside = at;
      C w = weight[0][tap(k, 0)];
#pragma unroll
      for (int d = 1; d < kDims; ++d) {
        const int32_t i = index[d][tap(k, d)];
        outside |= i;
        at = at * s.size[d] + i;
        w *= weight[d][tap(k, d)];
      }
      f(k, outside < 0 ? -1 : at, w);
    }
  }
};

// Thread i: a point and a group of channels [c0, c1), neighbouring points in neighbouring threads.
struct SampleWork {
  int64_t n, p, c0, c1;
  __device__ __forceinline__ SampleWork(int64_t i, const SampleShape& s, int64_t groups) {
    p = i % s.points;
    const int64_t rest = i / s.points, group = rest % groups;
    n = rest / groups;
    c0 = group * s.channels / groups;
    c1 = (group + 1) * s.channels / groups;
  }
};

template <class C, int kDims, int kTaps>
__global__ void __launch_bounds__(kSampleThreads)
    sample(const C* x, const C* grid, C* out, const __grid_constant__ SampleShape s) {
  for (int64_t i = grid_thread(); i < s.batch * s.groups * s.points; i += grid_threads()) {
    const SampleWork w(i, s, s.groups);
    const Point<C, kDims, kTaps> point(grid + (w.n * s.points + w.p) * kDims, s);
    for (int64_t c = w.c0; c < w.c1; ++c) {
      const C* plane = x + (w.n * s.channels + c) * s.plane;
      C sum = 0;
      point.corners(s, [&](int, int32_t at, C weight) { sum += (at < 0 ? C(0) : plane[at]) * weight; });
      out[(w.n * s.channels + c) * s.points + w.p] = sum;
    }
  }
}

// Points that read one element add to it in any order.
template <class C, int kDims, int kTaps>
__global__ void __launch_bounds__(kSampleThreads)
    sample_input_gradient(const C* g, const C* grid, C* gx, const __grid_constant__ SampleShape s) {
  for (int64_t i = grid_thread(); i < s.batch * s.groups * s.points; i += grid_threads()) {
    const SampleWork w(i, s, s.groups);
    const Point<C, kDims, kTaps> point(grid + (w.n * s.points + w.p) * kDims, s);
    for (int64_t c = w.c0; c < w.c1; ++c) {
      C* plane = gx + (w.n * s.channels + c) * s.plane;
      const C cotangent = g[(w.n * s.channels + c) * s.points + w.p];
      point.corners(s, [&](int, int32_t at, C weight) {
        if (at >= 0) atomicAdd(plane + at, cotangent * weight);
      });
    }
  }
}

template <class C, int kDims, int kTaps>
__global__ void __launch_bounds__(kSampleThreads)
    sample_grid_gradient(const C* g, const C* x, const C* grid, C* ggrid, const __grid_constant__ SampleShape s) {
  using P = Point<C, kDims, kTaps>;
  for (int64_t i = grid_thread(); i < s.batch * s.points; i += grid_threads()) {
    const SampleWork w(i, s, 1);
    const P point(grid + i * kDims, s);
    C sum[P::kCorners] = {};  // over the channels: cotangent times the value at this corner
    for (int64_t c = 0; c < s.channels; ++c) {
      const C* plane = x + (w.n * s.channels + c) * s.plane;
      const C cotangent = g[(w.n * s.channels + c) * s.points + w.p];
      point.corners(s, [&](int k, int32_t at, C) { sum[k] += cotangent * (at < 0 ? C(0) : plane[at]); });
    }
#pragma unroll
    for (int d = 0; d < kDims; ++d) {
      C total = 0;
#pragma unroll
      for (int k = 0; k < P::kCorners; ++k) {
        C slope = point.slope[d][P::tap(k, d)];
#pragma unroll
        for (int e = 0; e < kDims; ++e)
          if (e != d) slope *= point.weight[e][P::tap(k, e)];
        total += sum[k] * slope;
      }
      ggrid[i * kDims + kDims - 1 - d] = total;
    }
  }
}

template <int kD, int kT>
struct Kind {
  static constexpr int kDims = kD, kTaps = kT;
};
// Calls f(C{}, Kind<dimensions, taps>{}); nearest sampling is linear with weights 1 and 0.
template <class F>
void dispatch_sampling(const TensorView& input, const GridSampleAttrs& a, const F& f) {
  const auto with = [&](auto zero) {
    if (a.mode == GridMode::kCubic) f(zero, Kind<2, 4>{});
    else if (input.ndim == 5) f(zero, Kind<3, 2>{});
    else f(zero, Kind<2, 2>{});
  };
  if (input.dtype == DType::kFloat64) with(double{});
  else with(float{});
}
unsigned blocks_for(int64_t threads) { return grid_for(threads, kSampleThreads, 1 << 20); }

}  // namespace

// in: input (N, C, [D,] H, W), grid (N, [D',] H', W', 2 or 3) of the same dtype, float32 or float64; out: (N, C,
// [D',] H', W').
void grid_sample(const KernelArgs& args) {
  const GridSampleAttrs& a = args.attrs<GridSampleAttrs>();
  if (args.out[0].numel == 0) return;
  const SampleShape s(args.in[0], args.in[1], a);
  const Contiguous x(args.in[0]), grid(args.in[1]);
  dispatch_sampling(args.in[0], a, [&](auto zero, auto kind) {
    using C = decltype(zero);
    using K = decltype(kind);
    FS_LAUNCH((sample<C, K::kDims, K::kTaps>), blocks_for(s.batch * s.groups * s.points), kSampleThreads, 0,
              current_stream(), x.template ptr<C>(), grid.template ptr<C>(), args.out[0].ptr<C>(), s);
  });
}

// in: g, input, grid; out: the gradients of input and grid that attrs.needs names. The input's is summed by atomic
// additions, so that its last bits may differ from run to run where points share elements (as in PyTorch).
void grid_sample_backward(const KernelArgs& args) {
  const GridSampleAttrs& a = args.attrs<GridSampleAttrs>();
  const TensorView& input = args.in[1];
  const SampleShape s(input, args.in[2], a);
  const Contiguous g(args.in[0]), x(input), grid(args.in[2]);
  dispatch_sampling(input, a, [&](auto zero, auto kind) {
    using C = decltype(zero);
    using K = decltype(kind);
    if ((a.needs & 1) && input.numel > 0) {
      C* gx = args.out[0].ptr<C>();
      FS_CUDA(cudaMemsetAsync(gx, 0, static_cast<size_t>(input.numel) * sizeof(C), current_stream()));
      FS_LAUNCH((sample_input_gradient<C, K::kDims, K::kTaps>), blocks_for(s.batch * s.groups * s.points),
                kSampleThreads, 0, current_stream(), g.template ptr<C>(), grid.template ptr<C>(), gx, s);
    }
    if ((a.needs & 2) && args.in[2].numel > 0)
      FS_LAUNCH((sample_grid_gradient<C, K::kDims, K::kTaps>), blocks_for(s.batch * s.points), kSampleThreads, 0,
                current_stream(), g.template ptr<C>(), x.template ptr<C>(), grid.template ptr<C>(),
                args.out[1].ptr<C>(), s);
  });
}

}  // namespace fireseed::cuda

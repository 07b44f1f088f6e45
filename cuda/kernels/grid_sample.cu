// Sampling of images and volumes at the points of a grid, and its gradients.
// Rarely used: a wheel has it as PTX.
#include "tensor/sampling.h"

#include <algorithm>

#include "device/contiguous.cuh"
#include "device/vec.cuh"
#include "runtime/check.h"
#include "runtime/device.h"

namespace fireseed::cuda {
namespace {

// Note [Sampled points]
// One kernel for each type of arithmetic; dimensions, taps and what is wanted are known when it runs. A thread has a
// point and a group of channels. What the point reads along each dimension lies in shared memory as a column of the
// thread's own (so that it may be indexed), and so do its corners: offsets in a plane and weights. Corners go by
// fours.

constexpr int kSampleThreads = 128, kMostTaps = 4, kMostCorners = 16;  // of 2 x cubic; 3 x linear has 8
constexpr int kSumRow = 3 * kMostTaps;

enum class SampleJob { kForward, kInputGradient, kGridGradient };

template <class C>
struct Sampling {
  SampleJob job;
  const C *input = nullptr, *g = nullptr, *grid = nullptr;
  C* out;  // the output, or the gradient
  GridSampleAttrs attrs;
  int dims, taps, corners;
  int32_t size[3];  // as memory has them: (depth,) height, width
  int64_t batch, channels, plane = 1, points = 1, groups = 1;

  Sampling(SampleJob wanted, C* result, const TensorView& x, const TensorView& at, const GridSampleAttrs& a)
      : job(wanted), out(result), attrs(a) {
    dims = x.ndim - 2;
    taps = a.mode == GridMode::kCubic ? 4 : 2;  // nearest sampling is linear with weights 1 and 0
    corners = dims == 3 ? taps * taps * taps : taps * taps;
    batch = x.sizes[0];
    channels = x.sizes[1];
    for (int d = 0; d < dims; ++d) {
      size[d] = static_cast<int32_t>(x.sizes[d + 2]);
      plane *= x.sizes[d + 2];
      points *= at.sizes[d + 1];
    }
    // Groups of channels: enough threads where there are few points.
    const int64_t wanted_threads = int64_t{multiprocessors()} * 2048;
    if (job != SampleJob::kGridGradient)
      groups = std::clamp<int64_t>(wanted_threads / std::max<int64_t>(1, batch * points), 1,
                                   std::max<int64_t>(1, channels));
  }
};

// What a thread's point reads: for tap k of dimension d, row 4 d + k, the neighbour (-1: outside, it reads zero), its
// weight, and the derivative of the weight by the grid's coordinate.
template <class C>
struct PointTaps {
  int32_t (*index)[kSampleThreads];
  C (*weight)[kSampleThreads], (*slope)[kSampleThreads];
};

template <class C>
__device__ __forceinline__ void bring_inside(C& x, C& slope, int32_t size, const GridSampleAttrs& a) {
  if (a.padding == GridPadding::kZeros) return;
  if (a.padding == GridPadding::kReflection)  // between the centres of the outer pixels, or their outer edges
    reflect_inside(x, slope, a.align_corners ? C(0) : C(-0.5), static_cast<C>(a.align_corners ? size - 1 : size));
  clip_inside(x, slope, static_cast<C>(size - 1));
}
// Dimension d of a point, in rows from 4 d on.
template <class C>
__device__ __forceinline__ void place(const PointTaps<C>& to, int d, C coordinate, int32_t size,
                                      const GridSampleAttrs& a) {
  const int t = static_cast<int>(threadIdx.x), row = d * kMostTaps;
  const C scale = grid_scale<C>(a, size), end = static_cast<C>(size);
  const bool cubic =
      a.mode == GridMode::kCubic;  // the weights see the point itself, the padding moves its neighbours
  C x = (coordinate + C(1)) * scale - grid_shift<C>(a), by = scale, low = floor_number(x);
  if (cubic) {
    C weight[4], slope[4];
    cubic_taps(x - low, weight, slope);
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      to.weight[row + k][t] = weight[k];
      to.slope[row + k][t] = slope[k] * scale;
    }
  }
#pragma unroll 1
  for (int k = 0; k < (cubic ? 4 : 1); ++k) {
    C at = cubic ? low + static_cast<C>(k - 1) : x;
    bring_inside(at, by, size, a);
    if (cubic) to.index[row + k][t] = index_inside<int32_t>(at, end);
    else x = at;
  }
  if (cubic) return;
  C upper, slope = by;
  linear_place(x, low, upper);
  int32_t near = index_inside<int32_t>(low, end), far = index_inside<int32_t>(low + C(1), end);
  if (a.mode == GridMode::kNearest) {
    near = index_inside<int32_t>(round_number(x), end);
    far = -1;
    upper = slope = C(0);
  }
  to.index[row][t] = near;
  to.index[row + 1][t] = far;
  to.weight[row][t] = C(1) - upper;
  to.weight[row + 1][t] = upper;
  to.slope[row][t] = -slope;
  to.slope[row + 1][t] = slope;
}
// The row of corner k's tap along dimension d.
template <class C>
__device__ __forceinline__ int tap_row(const Sampling<C>& s, int k, int d) {
  return d * kMostTaps + (k >> ((s.dims - 1 - d) * (s.taps / 2)) & (s.taps - 1));
}

template <class C>
__global__ void __launch_bounds__(kSampleThreads) sample(const __grid_constant__ Sampling<C> s) {
  FS_SHARED(int32_t, index, [3 * kMostTaps][kSampleThreads]);
  FS_SHARED(C, weight, [3 * kMostTaps][kSampleThreads]);
  FS_SHARED(int32_t, corner, [kMostCorners][kSampleThreads]);   // offset in a plane, or -1
  FS_SHARED(C, corner_weight, [kMostCorners][kSampleThreads]);  // gradients of the grid: slopes, then four sums
  const PointTaps<C> taps{index, weight, corner_weight};
  const int t = static_cast<int>(threadIdx.x);
  const bool of_grid = s.job == SampleJob::kGridGradient;
  for (int64_t i = grid_thread(); i < s.batch * s.groups * s.points; i += grid_threads()) {
    // Neighbouring points in neighbouring threads; channels [c0, c1).
    const int64_t p = i % s.points, n = i / s.points / s.groups, group = i / s.points % s.groups;
    const int64_t c0 = group * s.channels / s.groups, c1 = (group + 1) * s.channels / s.groups;
    const int64_t point = n * s.points + p;
#pragma unroll 1
    for (int d = 0; d < s.dims; ++d)  // the grid's coordinates are x, y(, z)
      place(taps, d, s.grid[point * s.dims + s.dims - 1 - d], s.size[d], s.attrs);
    C total[3] = {};  // the gradient of the point, in memory's order
#pragma unroll 1
    for (int k = 0; k < s.corners; ++k) {
      int32_t at = 0, outside = 0;
      C w = C(1);
#pragma unroll 1
      for (int d = 0; d < s.dims; ++d) {
        const int row = tap_row(s, k, d);
        outside |= index[row][t];
        at = at * s.size[d] + index[row][t];
        w *= weight[row][t];
      }
      corner[k][t] = outside < 0 ? -1 : at;
      if (!of_grid) corner_weight[k][t] = w;
    }
    const C* image = s.input + (n * s.channels + c0) * s.plane;
    const C* g = s.g + (n * s.channels + c0) * s.points + p;
    C* out = s.out + (n * s.channels + c0) * (s.job == SampleJob::kForward ? s.points : s.plane);
    if (!of_grid) {
#pragma unroll 1
      for (int64_t c = c0; c < c1; ++c) {
        C sum = 0;
#pragma unroll 1
        for (int k0 = 0; k0 < s.corners; k0 += 4) {
          if (s.job == SampleJob::kForward) {
            C x[4];
#pragma unroll
            for (int k = 0; k < 4; ++k) x[k] = corner[k0 + k][t] < 0 ? C(0) : image[corner[k0 + k][t]];
#pragma unroll
            for (int k = 0; k < 4; ++k) sum += x[k] * corner_weight[k0 + k][t];
            continue;
          }
          const C cotangent = *g;
#pragma unroll
          for (int k = 0; k < 4; ++k)  // points that read one element add to it in any order
            if (corner[k0 + k][t] >= 0) atomicAdd(out + corner[k0 + k][t], cotangent * corner_weight[k0 + k][t]);
        }
        if (s.job == SampleJob::kForward) out[p] = sum;
        image += s.plane;
        g += s.points;
        out += s.job == SampleJob::kForward ? s.points : s.plane;
      }
      continue;
    }
#pragma unroll 1
    for (int k0 = 0; k0 < s.corners; k0 += 4) {
      C sum[4] = {};  // over the channels: cotangent times the value at the corner
#pragma unroll 1
      for (int64_t c = 0; c < s.channels; ++c) {
        C x[4];
#pragma unroll
        for (int k = 0; k < 4; ++k) x[k] = corner[k0 + k][t] < 0 ? C(0) : image[c * s.plane + corner[k0 + k][t]];
        const C cotangent = g[c * s.points];
#pragma unroll
        for (int k = 0; k < 4; ++k) sum[k] += cotangent * x[k];
      }
#pragma unroll
      for (int k = 0; k < 4; ++k) corner_weight[kSumRow + k][t] = sum[k];
#pragma unroll
      for (int d = 0; d < 3; ++d) {
        if (d >= s.dims) break;
#pragma unroll 1
        for (int k = 0; k < 4; ++k) {
          C slope = corner_weight[tap_row(s, k0 + k, d)][t];
#pragma unroll 1
          for (int e = 0; e < s.dims; ++e)
            if (e != d) slope *= weight[tap_row(s, k0 + k, e)][t];
          total[d] += corner_weight[kSumRow + k][t] * slope;
        }
      }
    }
#pragma unroll
    for (int d = 0; d < 3; ++d)
      if (d < s.dims) s.out[point * s.dims + s.dims - 1 - d] = total[d];
  }
}

template <class C>
void run(const Sampling<C>& s) {
  FS_LAUNCH((sample<C>), grid_for(s.batch * s.groups * s.points, kSampleThreads, 1 << 20), kSampleThreads, 0,
            current_stream(), s);
}
template <class F>
void dispatch_sampling(const TensorView& input, const F& f) {
  if (input.dtype == DType::kFloat64) f(double{});
  else f(float{});
}

}  // namespace

// in: input (N, C, [D,] H, W), grid (N, [D',] H', W', 2 or 3) of the same dtype, float32 or float64; out: (N, C,
// [D',] H', W').
void grid_sample(const KernelArgs& args) {
  const GridSampleAttrs& a = args.attrs<GridSampleAttrs>();
  if (args.out[0].numel == 0) return;
  const Contiguous x(args.in[0]), grid(args.in[1]);
  dispatch_sampling(args.in[0], [&](auto zero) {
    using C = decltype(zero);
    Sampling<C> s(SampleJob::kForward, args.out[0].ptr<C>(), args.in[0], args.in[1], a);
    s.input = x.template ptr<C>(), s.grid = grid.template ptr<C>();
    run(s);
  });
}

// in: g, input, grid; out: the gradients of input and grid that attrs.needs names. The input's is summed by atomic
// additions, so that its last bits may differ from run to run where points share elements (as in PyTorch).
void grid_sample_backward(const KernelArgs& args) {
  const GridSampleAttrs& a = args.attrs<GridSampleAttrs>();
  const TensorView& input = args.in[1];
  const Contiguous g(args.in[0]), x(input), grid(args.in[2]);
  dispatch_sampling(input, [&](auto zero) {
    using C = decltype(zero);
    const auto gradient = [&](SampleJob job, const TensorView& to) {
      Sampling<C> s(job, to.ptr<C>(), input, args.in[2], a);
      s.input = x.template ptr<C>(), s.g = g.template ptr<C>(), s.grid = grid.template ptr<C>();
      run(s);
    };
    if ((a.needs & 1) && input.numel > 0) {
      FS_CUDA(cudaMemsetAsync(args.out[0].data, 0, static_cast<size_t>(input.numel) * sizeof(C), current_stream()));
      gradient(SampleJob::kInputGradient, args.out[0]);
    }
    if ((a.needs & 2) && args.in[2].numel > 0) gradient(SampleJob::kGridGradient, args.out[1]);
  });
}

}  // namespace fireseed::cuda

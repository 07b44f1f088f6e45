// Sampling of images and volumes at the points of a grid, and its gradients.
#include "tensor/attrs/grid_sample.h"

#include "cpu/contiguous.h"

namespace fireseed::cpu::FS_ISA {
namespace {

// Note [Grid sampling]
// A point reads taps[d] neighbours along each dimension d (1 nearest, 2 linear, 4 cubic), with weights that are
// products over the dimensions. A block of points is turned into tables [corner][point] of offsets into a channel's
// plane (-1: outside, reads zero) and weights; then every channel runs through the block with the same tables.
constexpr int kMaxDims = 3, kMaxTaps = 4, kMaxCorners = 16;  // 2^3 or 4^2
constexpr int64_t kBlock = 128;

// One dimension of one point; derivative: of the weight by the grid's coordinate.
template <class C>
struct Axis {
  int64_t index[kMaxTaps];  // -1 outside
  C weight[kMaxTaps], derivative[kMaxTaps];
};

FS_INLINE float floor_of(float x) { return __builtin_floorf(x); }
FS_INLINE double floor_of(double x) { return __builtin_floor(x); }
FS_INLINE float round_of(float x) { return __builtin_rintf(x); }
FS_INLINE double round_of(double x) { return __builtin_rint(x); }

// x brought into [0, size - 1] as the padding says; slope: d result / d x.
template <class C>
FS_INLINE C bring_inside(C x, int64_t size, const GridSampleAttrs& a, C& slope) {
  slope = C(1);
  if (a.padding == GridPadding::kZeros) return x;
  if (a.padding == GridPadding::kReflection) {  // between the centres of the outer pixels, or their outer edges
    const C low = a.align_corners ? C(0) : C(-0.5);
    const C span = static_cast<C>(a.align_corners ? size - 1 : size);
    if (span == C(0)) {
      slope = C(0);
      return C(0);
    }
    x -= low;
    if (x < C(0)) {
      x = -x;
      slope = C(-1);
    }
    const C flips = floor_of(x / span), rest = x - flips * span;
    const bool odd = flips - C(2) * floor_of(flips * C(0.5)) != C(0);
    x = odd ? span - rest + low : rest + low;
    if (odd) slope = -slope;
  }
  const C last = static_cast<C>(size - 1);
  if (!(x > C(0))) {  // also NaN
    slope = C(0);
    return C(0);
  }
  if (x >= last) {
    slope = C(0);
    return last;
  }
  return x;
}
// x as an index of [0, size), or -1.
template <class C>
FS_INLINE int64_t inside(C x, int64_t size) {
  return x >= C(0) && x < static_cast<C>(size) ? static_cast<int64_t>(x) : -1;
}

// Keys' cubic kernel with A = -0.75: weights of the points at -1, 0, 1, 2 and their derivatives, 0 <= t < 1.
template <class C>
FS_INLINE void cubic(C t, C* w, C* dw) {
  const C a = static_cast<C>(-0.75);
  const auto near = [a](C x) { return ((a + 2) * x - (a + 3)) * x * x + 1; };
  const auto far = [a](C x) { return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a; };
  const auto near_slope = [a](C x) { return (3 * (a + 2) * x - 2 * (a + 3)) * x; };
  const auto far_slope = [a](C x) { return (3 * a * x - 10 * a) * x + 8 * a; };
  w[0] = far(t + 1);
  w[1] = near(t);
  w[2] = near(1 - t);
  w[3] = far(2 - t);
  dw[0] = far_slope(t + 1);
  dw[1] = near_slope(t);
  dw[2] = -near_slope(1 - t);
  dw[3] = -far_slope(2 - t);
}

// Inlined, as is fill_block: GCC 12 loses calls of functions whose stores it has vectorised under a mask (modref).
template <class C>
FS_INLINE void place(C grid, int64_t size, const GridSampleAttrs& a, Axis<C>& axis) {
  const C scale = static_cast<C>(a.align_corners ? size - 1 : size) / C(2);
  const C x = (grid + C(1)) * scale - (a.align_corners ? C(0) : C(0.5));
  C slope;
  if (a.mode == GridMode::kCubic) {  // the weights see the point itself, the padding moves its neighbours
    const C low = floor_of(x);
    cubic(x - low, axis.weight, axis.derivative);
    for (int k = 0; k < 4; ++k) {
      axis.index[k] = inside(bring_inside(low + static_cast<C>(k - 1), size, a, slope), size);
      axis.derivative[k] *= scale;
    }
    return;
  }
  C at = bring_inside(x, size, a, slope);
  const bool finite = at > C(-2e9) && at < C(2e9);
  if (!finite) at = C(-100);
  if (a.mode == GridMode::kNearest) {
    axis.index[0] = inside(round_of(at), size);
    axis.weight[0] = C(1);
    axis.derivative[0] = C(0);
    return;
  }
  const C low = floor_of(at), t = at - low;
  axis.index[0] = inside(low, size);
  axis.index[1] = inside(low + C(1), size);
  axis.weight[0] = C(1) - t;
  axis.weight[1] = t;
  axis.derivative[1] = slope * scale;
  axis.derivative[0] = -axis.derivative[1];
}

// What all kernels need of the shapes.
struct Geometry {
  GridSampleAttrs attrs;
  int dims = 2, taps = 2, corners = 4;
  int64_t batch = 0, channels = 0, plane = 1, points = 1;
  int64_t size[kMaxDims];  // as memory has them: (depth,) height, width

  Geometry(const TensorView& input, const TensorView& grid, const GridSampleAttrs& a) : attrs(a) {
    dims = input.ndim - 2;
    taps = a.mode == GridMode::kNearest ? 1 : a.mode == GridMode::kLinear ? 2 : 4;
    corners = 1;
    batch = input.size(0);
    channels = input.size(1);
    for (int d = 0; d < dims; ++d) {
      corners *= taps;
      size[d] = input.size(2 + d);
      plane *= size[d];
      points *= grid.size(1 + d);
    }
  }
  int64_t blocks() const { return (points + kBlock - 1) / kBlock; }
};

template <class C>
struct Block {
  int64_t count;
  int64_t offset[kMaxCorners][kBlock];
  C weight[kMaxCorners][kBlock];
};

// The tables of a block's points; slopes, where asked for: [corner][dimension][point].
template <bool kSlopes, class C>
FS_INLINE void fill_block(const Geometry& g, const C* grid, Block<C>& b, [[maybe_unused]] C* slopes) {
  for (int64_t p = 0; p < b.count; ++p) {
    Axis<C> axis[kMaxDims];
    for (int d = 0; d < g.dims; ++d)  // the grid's order is x, y(, z)
      place(grid[p * g.dims + g.dims - 1 - d], g.size[d], g.attrs, axis[d]);
    for (int k = 0; k < g.corners; ++k) {
      int tap[kMaxDims], rest = k;
      for (int d = g.dims - 1; d >= 0; --d) {
        tap[d] = rest % g.taps;
        rest /= g.taps;
      }
      int64_t offset = 0;
      C weight = C(1);
      bool in = true;
      for (int d = 0; d < g.dims; ++d) {
        in &= axis[d].index[tap[d]] >= 0;
        offset = offset * g.size[d] + axis[d].index[tap[d]];
        weight *= axis[d].weight[tap[d]];
      }
      b.offset[k][p] = in ? offset : -1;
      b.weight[k][p] = weight;
      if constexpr (kSlopes)
        for (int d = 0; d < g.dims; ++d) {
          C slope = C(1);
          for (int e = 0; e < g.dims; ++e) slope *= d == e ? axis[e].derivative[tap[e]] : axis[e].weight[tap[e]];
          slopes[(k * kMaxDims + d) * kBlock + p] = slope;
        }
    }
  }
}

template <class C>
void sample(const KernelArgs& args) {
  const Geometry g(args.in[0], args.in[1], args.attrs<GridSampleAttrs>());
  const Contiguous<C> in(args.in[0]), grid(args.in[1]);
  C* out = args.out[0].ptr<C>();
  parallel_for(g.batch * g.blocks(), 1, [&](int64_t begin, int64_t end) {
    Block<C> b;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t n = i / g.blocks(), first = i % g.blocks() * kBlock;
      b.count = g.points - first < kBlock ? g.points - first : kBlock;
      fill_block<false, C>(g, grid.data() + (n * g.points + first) * g.dims, b, nullptr);
      for (int64_t c = 0; c < g.channels; ++c) {
        const C* plane = in.data() + (n * g.channels + c) * g.plane;
        C* to = out + (n * g.channels + c) * g.points + first;
        for (int k = 0; k < g.corners; ++k)
          for (int64_t p = 0; p < b.count; ++p) {
            const int64_t offset = b.offset[k][p];
            const C term = offset >= 0 ? plane[offset] * b.weight[k][p] : C(0);
            to[p] = k == 0 ? term : to[p] + term;
          }
      }
    }
  });
}

// Each plane of the input's gradient belongs to one thread; the tables are made again for every group of channels.
template <class C>
void input_gradient(const Geometry& g, const C* cotangent, const C* grid, C* gx) {
  const int64_t wanted = g.batch * g.channels / 16;
  const int64_t group = wanted < 1 ? 1 : wanted < g.channels ? wanted : g.channels;
  const int64_t groups = (g.channels + group - 1) / group;
  parallel_for(g.batch * groups, 1, [&](int64_t begin, int64_t end) {
    Block<C> b;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t n = i / groups, c0 = i % groups * group, c1 = c0 + group < g.channels ? c0 + group : g.channels;
      C* planes = gx + n * g.channels * g.plane;
      for (int64_t e = c0 * g.plane; e < c1 * g.plane; ++e) planes[e] = C(0);
      for (int64_t first = 0; first < g.points; first += kBlock) {
        b.count = g.points - first < kBlock ? g.points - first : kBlock;
        fill_block<false, C>(g, grid + (n * g.points + first) * g.dims, b, nullptr);
        for (int64_t c = c0; c < c1; ++c) {
          const C* from = cotangent + (n * g.channels + c) * g.points + first;
          C* plane = planes + c * g.plane;
          for (int k = 0; k < g.corners; ++k)
            for (int64_t p = 0; p < b.count; ++p)
              if (b.offset[k][p] >= 0) plane[b.offset[k][p]] += from[p] * b.weight[k][p];
        }
      }
    }
  });
}

template <class C>
void grid_gradient(const Geometry& g, const C* cotangent, const C* in, const C* grid, C* ggrid) {
  parallel_for(g.batch * g.blocks(), 1, [&](int64_t begin, int64_t end) {
    Block<C> b;
    Scratch<C> slopes(kMaxCorners * kMaxDims * kBlock);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t n = i / g.blocks(), first = i % g.blocks() * kBlock;
      b.count = g.points - first < kBlock ? g.points - first : kBlock;
      fill_block<true, C>(g, grid + (n * g.points + first) * g.dims, b, slopes.data());
      C* to = ggrid + (n * g.points + first) * g.dims;
      for (int64_t p = 0; p < b.count * g.dims; ++p) to[p] = C(0);
      for (int k = 0; k < g.corners; ++k) {
        C sum[kBlock];  // over the channels: cotangent times the value at this corner
        for (int64_t p = 0; p < b.count; ++p) sum[p] = C(0);
        for (int64_t c = 0; c < g.channels; ++c) {
          const C* plane = in + (n * g.channels + c) * g.plane;
          const C* from = cotangent + (n * g.channels + c) * g.points + first;
          for (int64_t p = 0; p < b.count; ++p)
            if (b.offset[k][p] >= 0) sum[p] += from[p] * plane[b.offset[k][p]];
        }
        for (int d = 0; d < g.dims; ++d)
          for (int64_t p = 0; p < b.count; ++p)
            to[p * g.dims + g.dims - 1 - d] += sum[p] * slopes[(k * kMaxDims + d) * kBlock + p];
      }
    }
  });
}

template <class C>
void sample_backward(const KernelArgs& args) {
  const GridSampleAttrs& a = args.attrs<GridSampleAttrs>();
  const Geometry g(args.in[1], args.in[2], a);
  const Contiguous<C> cotangent(args.in[0]), in(args.in[1]), grid(args.in[2]);
  if (a.needs & 1) input_gradient(g, cotangent.data(), grid.data(), args.out[0].ptr<C>());
  if (a.needs & 2) grid_gradient(g, cotangent.data(), in.data(), grid.data(), args.out[1].ptr<C>());
}

}  // namespace

void grid_sample(const KernelArgs& args) {
  if (args.out[0].dtype == DType::kFloat64) sample<double>(args);
  else sample<float>(args);
}
void grid_sample_backward(const KernelArgs& args) {
  if (args.in[0].dtype == DType::kFloat64) sample_backward<double>(args);
  else sample_backward<float>(args);
}

}  // namespace fireseed::cpu::FS_ISA

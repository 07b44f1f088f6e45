// Sampling of images and volumes at the points of a grid, and its gradients.
#include "tensor/sampling.h"

#include "cpu/contiguous.h"

// A function the optimiser does not look into from outside: GCC 12 (ipa-modref) drops calls of functions whose stores
// it has vectorised under a mask.
#if defined(__clang__)
#define FS_OPAQUE [[gnu::noinline]]
#else
#define FS_OPAQUE [[gnu::noipa]]
#endif

namespace fireseed::cpu::FS_ISA {
namespace {

// Note [Grid sampling]
// A point reads taps[d] neighbours along each dimension d (1 nearest, 2 linear, 4 cubic), with weights that are
// products over the dimensions. A block of points is turned into tables [corner][point] of offsets into a channel's
// plane (-1: outside, reads zero) and weights; then every channel runs through the block with the same tables. The
// tables come from passes over the block that the compiler vectorises, without branches on a point's values.
constexpr int kMaxDims = 3, kMaxTaps = 4, kMaxCorners = 16;  // 2^3 or 4^2
constexpr int kBlock = 128;

template <class C> struct index_type { using type = int32_t; };
template <> struct index_type<double> { using type = int64_t; };
template <class C> using Index = typename index_type<C>::type;

// One dimension of a block's points; derivative: of the weight by the grid's coordinate.
template <class C>
struct Axis {
  Index<C> index[kMaxTaps][kBlock];  // -1 outside
  C weight[kMaxTaps][kBlock], derivative[kMaxTaps][kBlock];
};

// x brought into [0, size - 1] as the padding says; slope is multiplied with the derivative.
template <class C>
FS_INLINE void bring_inside(C* x, C* slope, int count, int64_t size, const GridSampleAttrs& a) {
  if (a.padding == GridPadding::kZeros) return;
  if (a.padding == GridPadding::kReflection) {  // between the centres of the outer pixels, or their outer edges
    const C low = a.align_corners ? C(0) : C(-0.5);
    const C span = static_cast<C>(a.align_corners ? size - 1 : size);
    for (int p = 0; p < count; ++p) reflect_inside(x[p], slope[p], low, span);
  }
  const C last = static_cast<C>(size - 1);
  for (int p = 0; p < count; ++p) clip_inside(x[p], slope[p], last);
}
// x as indices of [0, size), or -1.
template <class C>
FS_INLINE void to_index(const C* x, Index<C>* index, int count, int64_t size) {
  const C end = static_cast<C>(size);
  for (int p = 0; p < count; ++p) index[p] = index_inside<Index<C>>(x[p], end);
}

// The table of one dimension from the grid's coordinates there.
template <class C>
FS_INLINE void place(const C* coordinate, int count, int64_t size, const GridSampleAttrs& a, Axis<C>& axis) {
  const C scale = grid_scale<C>(a, size), shift = grid_shift<C>(a);
  C x[kBlock], low[kBlock], slope[kBlock];
  for (int p = 0; p < count; ++p) {
    x[p] = (coordinate[p] + C(1)) * scale - shift;
    slope[p] = scale;
  }
  if (a.mode == GridMode::kCubic) {  // the weights see the point itself, the padding moves its neighbours
    for (int p = 0; p < count; ++p) {
      low[p] = floor_number(x[p]);
      C w[4], s[4];
      cubic_taps(x[p] - low[p], w, s);
      for (int k = 0; k < 4; ++k) {
        axis.weight[k][p] = w[k];
        axis.derivative[k][p] = scale * s[k];
      }
    }
    for (int k = 0; k < 4; ++k) {
      for (int p = 0; p < count; ++p) x[p] = low[p] + static_cast<C>(k - 1);
      bring_inside(x, slope, count, size, a);
      to_index(x, axis.index[k], count, size);
    }
    return;
  }
  bring_inside(x, slope, count, size, a);
  if (a.mode == GridMode::kNearest) {
    for (int p = 0; p < count; ++p) {
      low[p] = round_number(x[p]);
      axis.weight[0][p] = C(1);
      axis.derivative[0][p] = C(0);
    }
    to_index(low, axis.index[0], count, size);
    return;
  }
  for (int p = 0; p < count; ++p) {
    linear_place(x[p], low[p], axis.weight[1][p]);
    axis.weight[0][p] = C(1) - axis.weight[1][p];
    axis.derivative[1][p] = slope[p];
    axis.derivative[0][p] = -slope[p];
    x[p] = low[p] + C(1);
  }
  to_index(low, axis.index[0], count, size);
  to_index(x, axis.index[1], count, size);
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
  int count;
  Index<C> offset[kMaxCorners][kBlock];
  C weight[kMaxCorners][kBlock];
};

// The elements of a plane at a register of offsets; 0 where the offset is negative.
template <class C>
FS_INLINE Vec<C> gather(const C* plane, const Index<C>* offset) {
#if defined(__AVX512F__)
  const __m512i at = _mm512_loadu_si512(offset);
  if constexpr (sizeof(C) == 4)
    return _mm512_mask_i32gather_ps(_mm512_setzero_ps(), _mm512_cmpge_epi32_mask(at, _mm512_setzero_si512()), at,
                                    plane, 4);
  else
    return _mm512_mask_i64gather_pd(_mm512_setzero_pd(), _mm512_cmpge_epi64_mask(at, _mm512_setzero_si512()), at,
                                    plane, 8);
#elif defined(__AVX2__)
  const __m256i at = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(offset)), none = _mm256_set1_epi32(-1);
  if constexpr (sizeof(C) == 4)
    return _mm256_mask_i32gather_ps(_mm256_setzero_ps(), plane, at, _mm256_castsi256_ps(_mm256_cmpgt_epi32(at, none)),
                                    4);
  else
    return _mm256_mask_i64gather_pd(_mm256_setzero_pd(), plane, at, _mm256_castsi256_pd(_mm256_cmpgt_epi64(at, none)),
                                    8);
#else
  C lane[Vec<C>::kSize];
  for (int i = 0; i < Vec<C>::kSize; ++i) lane[i] = offset[i] < 0 ? C(0) : plane[offset[i]];
  return Vec<C>::load(lane);
#endif
}

// The tables of a block's points, filled up to whole registers; slopes, where asked for: [corner][dimension][point].
template <class C>
FS_OPAQUE void fill_block(const Geometry& g, const C* grid, Block<C>& b, C* slopes) {
  Axis<C> axis[kMaxDims];
  for (int d = 0; d < g.dims; ++d) {
    C coordinate[kBlock];
    const C* from = grid + g.dims - 1 - d;  // the grid's order is x, y(, z)
    for (int p = 0; p < b.count; ++p) coordinate[p] = from[p * g.dims];
    place(coordinate, b.count, g.size[d], g.attrs, axis[d]);
  }
  for (int k = 0; k < g.corners; ++k) {
    int tap[kMaxDims], rest = k;
    for (int d = g.dims - 1; d >= 0; --d) {
      tap[d] = rest % g.taps;
      rest /= g.taps;
    }
    Index<C>* offset = b.offset[k];
    C* weight = b.weight[k];
    for (int p = 0; p < b.count; ++p) {
      offset[p] = axis[0].index[tap[0]][p];
      weight[p] = axis[0].weight[tap[0]][p];
    }
    for (int d = 1; d < g.dims; ++d) {
      const Index<C>* index = axis[d].index[tap[d]];
      const C* factor = axis[d].weight[tap[d]];
      const Index<C> size = static_cast<Index<C>>(g.size[d]);
      for (int p = 0; p < b.count; ++p) {
        const Index<C> at = offset[p] * size + index[p];
        offset[p] = (offset[p] | index[p]) < 0 ? Index<C>(-1) : at;
        weight[p] *= factor[p];
      }
    }
    for (int p = b.count; p < kBlock && p < b.count + Vec<C>::kSize; ++p) {
      offset[p] = -1;
      weight[p] = C(0);
    }
    if (slopes)
      for (int d = 0; d < g.dims; ++d) {
        C* slope = slopes + (k * kMaxDims + d) * kBlock;
        for (int p = 0; p < b.count; ++p) slope[p] = axis[d].derivative[tap[d]][p];
        for (int e = 0; e < g.dims; ++e) {
          if (e == d) continue;
          const C* factor = axis[e].weight[tap[e]];
          for (int p = 0; p < b.count; ++p) slope[p] *= factor[p];
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
      b.count = static_cast<int>(g.points - first < kBlock ? g.points - first : kBlock);
      fill_block<C>(g, grid.data() + (n * g.points + first) * g.dims, b, nullptr);
      for (int64_t c = 0; c < g.channels; ++c) {
        const C* plane = in.data() + (n * g.channels + c) * g.plane;
        C* to = out + (n * g.channels + c) * g.points + first;
        for (int p = 0; p < b.count; p += Vec<C>::kSize) {
          Vec<C> sum(C(0));
          for (int k = 0; k < g.corners; ++k)
            sum = fma(gather(plane, b.offset[k] + p), Vec<C>::load(b.weight[k] + p), sum);
          put(to + p, sum, b.count - p < Vec<C>::kSize ? b.count - p : Vec<C>::kSize);
        }
      }
    }
  });
}

// Each plane of the input's gradient belongs to one thread; the tables are made again for every group of channels.
template <class C>
void input_gradient(const Geometry& g, const C* cotangent, const C* grid, C* gx) {
  const int64_t wanted = g.batch < 16 ? 16 / larger(g.batch, int64_t{1}) : 1;  // groups of channels
  const int64_t group = larger((g.channels + wanted - 1) / wanted, int64_t{1});
  const int64_t groups = (g.channels + group - 1) / group;
  parallel_for(g.batch * groups, 1, [&](int64_t begin, int64_t end) {
    Block<C> b;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t n = i / groups, c0 = i % groups * group, c1 = c0 + group < g.channels ? c0 + group : g.channels;
      C* planes = gx + n * g.channels * g.plane;
      for (int64_t e = c0 * g.plane; e < c1 * g.plane; ++e) planes[e] = C(0);
      for (int64_t first = 0; first < g.points; first += kBlock) {
        b.count = static_cast<int>(g.points - first < kBlock ? g.points - first : kBlock);
        fill_block<C>(g, grid + (n * g.points + first) * g.dims, b, nullptr);
        for (int64_t c = c0; c < c1; ++c) {
          const C* from = cotangent + (n * g.channels + c) * g.points + first;
          C* plane = planes + c * g.plane;
          for (int k = 0; k < g.corners; ++k)
            for (int p = 0; p < b.count; ++p)
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
      b.count = static_cast<int>(g.points - first < kBlock ? g.points - first : kBlock);
      fill_block<C>(g, grid + (n * g.points + first) * g.dims, b, slopes.data());
      C* to = ggrid + (n * g.points + first) * g.dims;
      for (int p = 0; p < b.count * g.dims; ++p) to[p] = C(0);
      for (int k = 0; k < g.corners; ++k) {
        C sum[kBlock];  // over the channels: cotangent times the value at this corner
        for (int p = 0; p < b.count; p += Vec<C>::kSize) {
          const int lanes = b.count - p < Vec<C>::kSize ? b.count - p : Vec<C>::kSize;
          Vec<C> total(C(0));
          for (int64_t c = 0; c < g.channels; ++c) {
            const C* from = cotangent + (n * g.channels + c) * g.points + first;
            total =
                fma(take<C>(from + p, lanes), gather(in + (n * g.channels + c) * g.plane, b.offset[k] + p), total);
          }
          put(sum + p, total, lanes);
        }
        for (int d = 0; d < g.dims; ++d)
          for (int p = 0; p < b.count; ++p)
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

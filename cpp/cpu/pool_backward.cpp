// Backward passes of max and average pooling; each adds the pooled gradient back to the entries it came from.
#include "cpu/pool_util.h"

namespace fireseed::cpu::FS_ISA {
namespace {

// Taps of one output plane over a whole-plane phase split of every depth slice.
int64_t plane_taps(const PoolAttrs& a, const PoolShape& s, const PhasePlan& plan, int64_t od, PoolTap* taps) {
  int64_t d0, d1, n = 0;
  valid_taps(od, a.stride[0], a.padding[0], a.dilation[0], a.kernel[0], s.in[0], d0, d1);
  for (int64_t z = d0; z < d1; ++z) {
    const int64_t slice = od * a.stride[0] - a.padding[0] + z * a.dilation[0];
    for (int64_t y = 0; y < plan.kh; ++y)
      for (int64_t x = 0; x < plan.kw; ++x)
        taps[n++] = {slice * plan.slice + plan.tap_offset(y, x), 0, (z * plan.kh + y) * plan.kw + x};
  }
  return n;
}

// gx of planes in the phase layout. fill(od, offset, pitch, g) writes one output plane's gradient at the phases'
// pitch; entry l then goes to every tap.
template <class T, class Fill>
void spread_planes(const PoolAttrs& a, const PoolShape& s, T* image, Fill&& fill) {
  using C = compute_type<T>;
  constexpr int kV = Vec<C>::kSize;
  const PhasePlan plan(a, s, s.out[1]);
  const int64_t lanes = plan.band * plan.pitch, padded = div_up(lanes, kV) * kV;
  const int64_t work = plan.slice * s.in[0];
  parallel_for(s.planes, max_of(1, kMoveChunk / max_of(1, work)), [&](int64_t begin, int64_t end) {
    const MoveScratch<C> phases(work + 2 * kV), g(padded), line(s.in[2] + kV);
    const MoveScratch<PoolTap> taps(a.kernel[0] * plan.kh * plan.kw);
    // The columns between the output's width and the pitch take no part, nor does the last register's rest.
    for (int64_t i = 0; i < padded; ++i) g[i] = C(0);
    for (int64_t p = begin; p < end; ++p) {
      int64_t off[2];
      s.lead.offsets(p, off);
      __builtin_memset(phases.data(), 0, static_cast<size_t>(work) * sizeof(C));
      for (int64_t od = 0; od < s.out[0]; ++od) {
        fill(od, off[1] + od * s.os[0], plan.pitch, g.data());
        const int64_t num_taps = plane_taps(a, s, plan, od, taps.data());
        for (int64_t t = 0; t < num_taps; ++t) {
          C* to = phases.data() + taps[t].offset;
          int64_t l = 0;
          for (; l + kV <= lanes; l += kV) (Vec<C>::load(to + l) + Vec<C>::load(g.data() + l)).store(to + l);
          if (l < lanes) {
            const int n = static_cast<int>(lanes - l);
            (Vec<C>::load(to + l, n) + Vec<C>::load(g.data() + l, n)).store(to + l, n);
          }
        }
      }
      for (int64_t z = 0; z < s.in[0]; ++z)
        for (int64_t y = 0; y < s.in[1]; ++y)
          plan.merge_row(image + off[0] + z * s.xs[0] + y * s.xs[1], s.xs[2], phases.data() + z * plan.slice, y,
                         line.data());
    }
  });
}

}  // namespace

// in: g, int64 indices of max_pool_with_indices (g's shape); out: gx of the input's shape.
void max_pool_backward(const KernelArgs& args) {
  const PoolAttrs& a = args.attrs<PoolAttrs>();
  const TensorView &g = args.in[0], &indices = args.in[1], &out = args.out[0];
  if (out.numel == 0) return;
  zero_view(out);
  if (g.numel == 0) return;
  dispatch_float(out.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_type<T>;
    const int front = out.ndim - static_cast<int>(a.spatial);
    int64_t plane = 1, pooled = 1;
    for (int d = front; d < out.ndim; ++d) {
      plane *= out.sizes[d];
      pooled *= g.sizes[d];
    }
    // Channels last (2-d lead, channel stride 1): a pixel's channels are neighbours; plane entries lie `step` apart.
    const auto linear = [&](const TensorView& v, int64_t& step) {
      step = v.sizes[v.ndim - 1] > 1 || a.spatial == 1 ? v.strides[v.ndim - 1] : 0;
      int64_t expect = 0;
      for (int d = v.ndim - 1; d >= front; --d) {
        if (v.sizes[d] == 1) continue;
        if (expect == 0) step = expect = v.strides[d];
        if (v.strides[d] != expect) return false;
        expect = v.strides[d] * v.sizes[d];
      }
      if (expect == 0) step = 1;
      return true;
    };
    const PoolShape sg(out, g, a.spatial), si(out, indices, a.spatial);
    int64_t xs, gs, is;
    if (sg.channels_last && si.channels_last && linear(out, xs) && linear(g, gs) && linear(indices, is)) {
      const int64_t blocks = div_up(sg.channels, 64);
      parallel_for(sg.batch * blocks, 1, [&](int64_t begin, int64_t end) {
        for (int64_t task = begin; task < end; ++task) {
          const int64_t b = task / blocks, c0 = task % blocks * 64, c1 = min_of(sg.channels, c0 + 64);
          T* x = out.ptr<T>() + b * sg.x_batch;
          const T* gp = g.ptr<const T>() + b * sg.o_batch;
          const int64_t* at = indices.ptr<const int64_t>() + b * si.o_batch;
          for (int64_t i = 0; i < pooled; ++i)
            for (int64_t c = c0; c < c1; ++c) {
              T& to = x[at[i * is + c] * xs + c];
              to = static_cast<T>(static_cast<C>(to) + static_cast<C>(gp[i * gs + c]));
            }
        }
      });
      return;
    }
    if (linear(out, xs) && linear(g, gs) && linear(indices, is)) {
      Loop<3> lead;
      for (int d = 0; d < front; ++d) lead.dim(out.sizes[d], {out.strides[d], g.strides[d], indices.strides[d]});
      const int64_t chunk = max_of(1, kMoveChunk / plane);
      parallel_for(lead.numel, chunk, [&](int64_t begin, int64_t end) {
        for (int64_t p = begin; p < end; ++p) {
          int64_t off[3];
          lead.offsets(p, off);
          T* x = out.ptr<T>() + off[0];
          const T* gp = g.ptr<const T>() + off[1];
          const int64_t* at = indices.ptr<const int64_t>() + off[2];
          if constexpr (same_type<C, T>) {
            for (int64_t i = 0; i < pooled; ++i) x[at[i * is] * xs] += gp[i * gs];
          } else {  // halves are summed in float
            const MoveScratch<C> sums(plane);
            __builtin_memset(sums.data(), 0, static_cast<size_t>(plane) * sizeof(C));
            for (int64_t i = 0; i < pooled; ++i) sums[at[i * is]] += static_cast<C>(gp[i * gs]);
            for (int64_t i = 0; i < plane; ++i) x[i * xs] = static_cast<T>(sums[i]);
          }
        }
      });
      return;
    }
    const PackedOut<T> target(out);
    const Packed<T> gp(g);
    const Packed<int64_t> at(indices);
    if (!out.contiguous) zero_bytes(target.data(), out.numel * static_cast<int64_t>(sizeof(T)));
    parallel_for(out.numel / plane, max_of(1, kMoveChunk / plane), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin * pooled; i < end * pooled; ++i) {
        T& to = target.data()[i / pooled * plane + at.data()[i]];
        to = static_cast<T>(static_cast<C>(to) + static_cast<C>(gp.data()[i]));
      }
    });
    target.flush();
  });
}

// in: uint8 window numbers of max_pool_with_window; out: int64, the positions in the flattened plane that they mean.
void max_pool_window_indices(const KernelArgs& args) {
  const PoolAttrs& a = args.attrs<PoolAttrs>();
  const TensorView &window = args.in[0], &out = args.out[0];
  if (out.numel == 0) return;
  const PoolShape s(out, window, a.spatial);  // both sides have the pooled shape here
  const int64_t rows = s.out[0] * s.out[1];
  parallel_for(s.planes * rows, max_of(1, kMoveChunk / s.out[2]), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t oh = row % s.out[1], od = row / s.out[1] % s.out[0];
      int64_t off[2];
      s.lead.offsets(row / rows, off);
      int64_t* o = out.ptr<int64_t>() + off[0] + od * s.xs[0] + oh * s.xs[1];
      const uint8_t* w = window.ptr<const uint8_t>() + off[1] + od * s.os[0] + oh * s.os[1];
      for (int64_t ow = 0; ow < s.out[2]; ++ow) {
        const int64_t t = w[ow * s.os[2]], kx = t % a.kernel[2], ky = t / a.kernel[2] % a.kernel[1],
                      kz = t / (a.kernel[2] * a.kernel[1]);
        const int64_t z = od * a.stride[0] - a.padding[0] + kz * a.dilation[0],
                      y = oh * a.stride[1] - a.padding[1] + ky * a.dilation[1];
        o[ow * s.xs[2]] = (z * a.in[1] + y) * a.in[2] + ow * a.stride[2] - a.padding[2] + kx * a.dilation[2];
      }
    }
  });
}

namespace {

// A plane's gradient while it is summed: the plane itself where that is dense and of the computing type, else
// scratch.
template <class T>
class PlaneSum {
 public:
  using C = compute_type<T>;
  explicit PlaneSum(const PoolShape& s)
      : s_(s),
        size_(s.in[0] * s.in[1] * s.in[2]),
        direct_(same_type<C, T> && s.xs[2] == 1 && (s.in[1] == 1 || s.xs[1] == s.in[2]) &&
                (s.in[0] == 1 || s.xs[0] == s.in[1] * s.in[2])),
        scratch_(direct_ ? 0 : size_) {}
  C* begin(T* image) {
    C* p = scratch_.data();
    if constexpr (same_type<C, T>) {
      if (direct_) p = image;
    }
    __builtin_memset(p, 0, static_cast<size_t>(size_) * sizeof(C));
    return p;
  }
  void end(T* image) const {
    if (direct_) return;
    for (int64_t z = 0; z < s_.in[0]; ++z)
      for (int64_t y = 0; y < s_.in[1]; ++y)
        store_row(image + z * s_.xs[0] + y * s_.xs[1], s_.xs[2], scratch_.data() + (z * s_.in[1] + y) * s_.in[2],
                  s_.in[2]);
  }

 private:
  const PoolShape& s_;
  int64_t size_;
  bool direct_;
  MoveScratch<C> scratch_;
};

// 2 x 2 windows side by side on one float plane: every entry is written once.
template <class C>
void window_2x2(const PoolShape& s, const PoolShape& sw, const C* g, const uint8_t* window, C* image) {
  using I = lane_int<C>;
  constexpr int kV = Vec<C>::kSize;
  const int64_t ow = s.out[2], w = s.in[2];
  const Vec<C> zero(C(0));
  for (int64_t y = 0; y < s.out[1]; ++y) {
    C *top = image + 2 * y * s.xs[1], *bottom = top + s.xs[1];
    for (int64_t x = 0; x < ow; x += kV) {
      const int n = static_cast<int>(min_of(kV, ow - x));
      I lanes[kV] = {};
      const uint8_t* from = window + y * sw.os[1] + x;
      for (int i = 0; i < n; ++i) lanes[i] = from[i];
      const Vec<I> code = Vec<I>::load(lanes);
      const Vec<C> v = n == kV ? Vec<C>::load(g + y * s.os[1] + x) : Vec<C>::load(g + y * s.os[1] + x, n);
      Vec<C> part[4];
      for (int t = 0; t < 4; ++t) part[t] = where(mask_cast<C>(code == Vec<I>(I(t))), v, zero);
      for (int r = 0; r < 2; ++r) {
        C* to = (r ? bottom : top) + 2 * x;
        const Vec<C> lo = zip_lanes<C, 0>(part[2 * r], part[2 * r + 1], LaneSequence<C>());
        const Vec<C> hi = zip_lanes<C, 1>(part[2 * r], part[2 * r + 1], LaneSequence<C>());
        if (n == kV) {
          lo.store(to);
          hi.store(to + kV);
        } else {
          lo.store(to, static_cast<int>(min_of(kV, 2 * n)));
          if (2 * n > kV) hi.store(to + kV, 2 * n - kV);
        }
      }
    }
    for (int64_t x = 2 * ow; x < w; ++x) top[x] = bottom[x] = C(0);
  }
  for (int64_t y = 2 * s.out[1]; y < s.in[1]; ++y) fill_run(image + y * s.xs[1], 1, C(0), w);
}

// Offset of each window entry from the window's first one, by strides.
void tap_table(const PoolAttrs& a, int64_t s0, int64_t s1, int64_t s2, int64_t* table) {
  int64_t t = 0;
  for (int64_t z = 0; z < a.kernel[0]; ++z)
    for (int64_t y = 0; y < a.kernel[1]; ++y)
      for (int64_t x = 0; x < a.kernel[2]; ++x)
        table[t++] = z * a.dilation[0] * s0 + y * a.dilation[1] * s1 + x * a.dilation[2] * s2;
}

template <class T>
void window_backward_channels_last(const PoolAttrs& a, const PoolShape& s, const PoolShape& sw, const T* g,
                                   const uint8_t* window, T* image, const int64_t* table, int64_t taps) {
  using C = compute_type<T>;
  using I = lane_int<C>;
  constexpr int kV = Vec<C>::kSize;
  const int64_t blocks = div_up(s.channels, 4 * kV);
  parallel_for(s.batch * blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t b = task / blocks, c0 = task % blocks * 4 * kV, c1 = min_of(s.channels, c0 + 4 * kV);
      for (int64_t od = 0; od < s.out[0]; ++od)
        for (int64_t oh = 0; oh < s.out[1]; ++oh)
          for (int64_t ow = 0; ow < s.out[2]; ++ow) {
            int64_t t0[3], t1[3];
            const int64_t o[3] = {od, oh, ow};
            for (int i = 0; i < 3; ++i)
              valid_taps(o[i], a.stride[i], a.padding[i], a.dilation[i], a.kernel[i], s.in[i], t0[i], t1[i]);
            const T* gp = g + b * s.o_batch + od * s.os[0] + oh * s.os[1] + ow * s.os[2];
            const uint8_t* wp = window + b * sw.o_batch + od * sw.os[0] + oh * sw.os[1] + ow * sw.os[2];
            T* first = image + b * s.x_batch + (od * a.stride[0] - a.padding[0]) * s.xs[0] +
                       (oh * a.stride[1] - a.padding[1]) * s.xs[1] + (ow * a.stride[2] - a.padding[2]) * s.xs[2];
            for (int64_t c = c0; c < c1; c += kV) {
              const int n = static_cast<int>(min_of(kV, c1 - c));
              I lanes[kV] = {};
              for (int i = 0; i < n; ++i) lanes[i] = wp[c + i];
              const Vec<I> code = Vec<I>::load(lanes);
              const Vec<C> v = n == kV ? load_as<C>(gp + c) : load_as<C>(gp + c, n);
              for (int64_t z = t0[0]; z < t1[0]; ++z)
                for (int64_t y = t0[1]; y < t1[1]; ++y)
                  for (int64_t x = t0[2]; x < t1[2]; ++x) {
                    const int64_t t = (z * a.kernel[1] + y) * a.kernel[2] + x;
                    const auto mine = code == Vec<I>(static_cast<I>(t));
                    if (t >= taps || !mine.any()) continue;
                    T* to = first + table[t] + c;
                    const Vec<C> old = n == kV ? load_as<C>(to) : load_as<C>(to, n);
                    store_as<C>(to, old + where(mask_cast<C>(mine), v, Vec<C>(C(0))), n);
                  }
            }
          }
    }
  });
}

}  // namespace

// in: g, uint8 window numbers of max_pool_with_window (g's shape); out: gx of the input's shape.
void max_pool_window_backward(const KernelArgs& args) {
  const PoolAttrs& a = args.attrs<PoolAttrs>();
  const TensorView &g = args.in[0], &window = args.in[1], &out = args.out[0];
  if (out.numel == 0) return;
  if (g.numel == 0) return zero_view(out);
  const int64_t taps = a.kernel[0] * a.kernel[1] * a.kernel[2];
  const MoveScratch<int64_t> table(taps);
  dispatch_float(out.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_type<T>;
    const PoolShape s(out, g, a.spatial), sw(out, window, a.spatial);
    const T* gp = g.ptr<const T>();
    const uint8_t* wp = window.ptr<const uint8_t>();
    T* px = out.ptr<T>();
    if (s.channels_last && sw.channels_last) {
      tap_table(a, s.xs[0], s.xs[1], s.xs[2], table.data());
      zero_view(out);
      return window_backward_channels_last(a, s, sw, gp, wp, px, table.data(), taps);
    }
    bool pairs = same_type<C, T> && s.in[0] == 1 && s.xs[2] == 1 && s.os[2] == 1 && sw.os[2] == 1 &&
                 s.in[1] >= 2 * s.out[1] && s.in[2] >= 2 * s.out[2];
    for (int i = 1; i < 3; ++i)
      pairs = pairs && a.kernel[i] == 2 && a.stride[i] == 2 && a.padding[i] == 0 && a.dilation[i] == 1;
    pairs = pairs && a.kernel[0] == 1 && s.out[0] == 1;
    tap_table(a, s.in[1] * s.in[2], s.in[2], 1, table.data());
    parallel_for(s.planes, max_of(1, kMoveChunk / (s.in[0] * s.in[1] * s.in[2])), [&](int64_t begin, int64_t end) {
      PlaneSum<T> sum(s);
      for (int64_t p = begin; p < end; ++p) {
        int64_t off[2], woff[2];
        s.lead.offsets(p, off);
        sw.lead.offsets(p, woff);
        if constexpr (same_type<C, T>) {
          if (pairs) {
            window_2x2<C>(s, sw, gp + off[1], wp + woff[1], px + off[0]);
            continue;
          }
        }
        C* x = sum.begin(px + off[0]);
        for (int64_t od = 0; od < s.out[0]; ++od)
          for (int64_t oh = 0; oh < s.out[1]; ++oh) {
            const int64_t first =
                ((od * a.stride[0] - a.padding[0]) * s.in[1] + oh * a.stride[1] - a.padding[1]) * s.in[2] -
                a.padding[2];
            const T* gl = gp + off[1] + od * s.os[0] + oh * s.os[1];
            const uint8_t* wl = wp + woff[1] + od * sw.os[0] + oh * sw.os[1];
            for (int64_t ow = 0; ow < s.out[2]; ++ow)
              x[first + ow * a.stride[2] + table[wl[ow * sw.os[2]]]] += static_cast<C>(gl[ow * s.os[2]]);
          }
        sum.end(px + off[0]);
      }
    });
  });
}

namespace {

// Windows that lie side by side from the image's corner on: no entry is read twice.
bool side_by_side(const PoolAttrs& a, const PoolShape& s) {
  for (int i = 0; i < 3; ++i)
    if (a.kernel[i] != a.stride[i] || a.padding[i] != 0 || s.out[i] * a.kernel[i] > s.in[i]) return false;
  return true;
}

// Then every row of g is divided and spread once, and all rows of its windows are copies of that.
template <class T, class C>
void spread_side_by_side(const PoolAttrs& a, const PoolShape& s, const PoolDivisors<C>& divisors, const T* g,
                         T* image) {
  constexpr int kV = Vec<C>::kSize;
  const int64_t w = s.in[2], ow = s.out[2], kw = a.kernel[2], rows = s.out[0] * s.out[1];
  const int64_t cost = w * a.kernel[0] * a.kernel[1];
  parallel_for(s.planes * s.in[0] * s.in[1], max_of(1, kMoveChunk / max_of(1, cost)),
               [&](int64_t begin, int64_t end) {
                 const MoveScratch<C> row(ow + kV), line(w + 2 * kV);
                 for (int64_t i = 0; i < w + 2 * kV; ++i) line[i] = C(0);
                 int64_t ready = -1, off[2], y = begin % s.in[1], z = begin / s.in[1] % s.in[0];
                 s.lead.offsets(begin / (s.in[0] * s.in[1]), off);
                 for (int64_t task = begin; task < end; ++task, ++y) {
                   if (y == s.in[1]) {
                     y = 0;
                     if (++z == s.in[0]) {
                       z = 0;
                       s.lead.offsets(task / (s.in[0] * s.in[1]), off);
                     }
                   }
                   T* to = image + off[0] + z * s.xs[0] + y * s.xs[1];
                   const int64_t oh = y / a.kernel[1], od = z / a.kernel[0];
                   if (oh >= s.out[1] || od >= s.out[0]) {  // behind the last window
                     fill_run(to, s.xs[2], static_cast<T>(C(0)), w);
                     continue;
                   }
                   const int64_t key = (task - y - z * s.in[1]) * rows + od * s.out[1] + oh;
                   if (key != ready) {
                     ready = key;
                     load_row(row.data(), g + off[1] + od * s.os[0] + oh * s.os[1], s.os[2], ow);
                     divide_row(row.data(), divisors.widths(), divisors.part(od, oh), ow);
                     if (kw == 2) {
                       for (int64_t x = 0; x < ow; x += kV) {
                         const Vec<C> v = Vec<C>::load(row.data() + x);
                         zip_lanes<C, 0>(v, v, LaneSequence<C>()).store(line.data() + 2 * x);
                         zip_lanes<C, 1>(v, v, LaneSequence<C>()).store(line.data() + 2 * x + kV);
                       }
                       for (int64_t x = 2 * ow; x < w; ++x) line[x] = C(0);
                     } else {
                       for (int64_t x = 0; x < ow; ++x)
                         for (int64_t k = 0; k < kw; ++k) line[x * kw + k] = row[x];
                     }
                   }
                   store_row(to, s.xs[2], line.data(), w);
                 }
               });
}

}  // namespace

// in: g; out: gx of the input's shape, g over the window's divisor on each entry of the window.
void avg_pool_backward(const KernelArgs& args) {
  const PoolAttrs& a = args.attrs<PoolAttrs>();
  const TensorView &g = args.in[0], &out = args.out[0];
  if (out.numel == 0) return;
  if (g.numel == 0) return zero_view(out);
  dispatch_float(out.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_type<T>;
    const PoolShape s(out, g, a.spatial);
    const PoolDivisors<C> divisors(a, s);
    const T* gp = g.ptr<const T>();
    if (s.channels_last) {
      zero_view(out);
      constexpr int kV = Vec<C>::kSize;
      const int64_t blocks = div_up(s.channels, 4 * kV);
      parallel_for(s.batch * blocks, 1, [&](int64_t begin, int64_t end) {
        for (int64_t task = begin; task < end; ++task) {
          const int64_t b = task / blocks, c0 = task % blocks * 4 * kV, c1 = min_of(s.channels, c0 + 4 * kV);
          for (int64_t od = 0; od < s.out[0]; ++od)
            for (int64_t oh = 0; oh < s.out[1]; ++oh)
              for (int64_t ow = 0; ow < s.out[2]; ++ow) {
                int64_t t0[3], t1[3];
                const int64_t o[3] = {od, oh, ow};
                for (int i = 0; i < 3; ++i)
                  valid_taps(o[i], a.stride[i], a.padding[i], 1, a.kernel[i], s.in[i], t0[i], t1[i]);
                const T* from = gp + b * s.o_batch + od * s.os[0] + oh * s.os[1] + ow * s.os[2];
                const Vec<C> divisor(divisors.at(od, oh, ow));
                T* x = out.ptr<T>() + b * s.x_batch + (od * a.stride[0] - a.padding[0]) * s.xs[0] +
                       (oh * a.stride[1] - a.padding[1]) * s.xs[1] + (ow * a.stride[2] - a.padding[2]) * s.xs[2];
                for (int64_t c = c0; c < c1; c += kV) {
                  const int n = static_cast<int>(min_of(kV, c1 - c));
                  const Vec<C> v = (n == kV ? load_as<C>(from + c) : load_as<C>(from + c, n)) / divisor;
                  for (int64_t z = t0[0]; z < t1[0]; ++z)
                    for (int64_t y = t0[1]; y < t1[1]; ++y)
                      for (int64_t k = t0[2]; k < t1[2]; ++k) {
                        T* to = x + z * s.xs[0] + y * s.xs[1] + k * s.xs[2] + c;
                        store_as<C>(to, (n == kV ? load_as<C>(to) : load_as<C>(to, n)) + v, n);
                      }
                }
              }
        }
      });
      return;
    }
    if (side_by_side(a, s)) return spread_side_by_side(a, s, divisors, gp, out.ptr<T>());
    const int64_t oh = s.out[1], ow = s.out[2];
    spread_planes<T>(a, s, out.ptr<T>(), [&](int64_t od, int64_t at, int64_t pitch, C* gl) {
      for (int64_t y = 0; y < oh; ++y) {
        C* row = gl + y * pitch;
        load_row(row, gp + at + y * s.os[1], s.os[2], ow);
        const C rows = divisors.part(od, y);
        divide_row(row, divisors.widths(), rows, ow);
      }
    });
  });
}

}  // namespace fireseed::cpu::FS_ISA

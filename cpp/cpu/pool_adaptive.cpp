// Adaptive pooling: the output's size is given, window o of n covers [floor(o*I/n), ceil((o+1)*I/n)).
#include "cpu/pool_util.h"

namespace fireseed::cpu::FS_ISA {
namespace {

inline int64_t window_start(int64_t o, int64_t out, int64_t in) { return o * in / out; }
inline int64_t window_end(int64_t o, int64_t out, int64_t in) { return ((o + 1) * in + out - 1) / out; }

// Sum of n entries: four registers side by side, then a fixed tree.
template <class C, class T>
C sum_run(const T* p, int64_t step, int64_t n) {
  constexpr int kV = Vec<C>::kSize;
  if (step != 1 || n < 8) {
    C sum = C(0);
    for (int64_t i = 0; i < n; ++i) sum += static_cast<C>(p[i * step]);
    return sum;
  }
  Vec<C> s[4] = {Vec<C>(C(0)), Vec<C>(C(0)), Vec<C>(C(0)), Vec<C>(C(0))};
  int64_t i = 0;
  for (; i + 4 * kV <= n; i += 4 * kV)
    for (int u = 0; u < 4; ++u) s[u] += load_as<C>(p + i + u * kV);
  for (; i + kV <= n; i += kV) s[0] += load_as<C>(p + i);
  if (i < n) s[1] += load_as<C>(p + i, static_cast<int>(n - i));
  return reduce_add((s[0] + s[1]) + (s[2] + s[3]));
}

// Registers that hold what n entries leave beside whole groups of four: 1 to 4, the last one perhaps in part.
template <class C>
int last_registers(int64_t n) {
  return static_cast<int>((n - 1) % (4 * Vec<C>::kSize) / Vec<C>::kSize) + 1;
}
// The lanes whose sum is the sum of n dense entries: four registers side by side, then a fixed tree.
// kLast = last_registers(n).
template <class C, int kLast, class T>
FS_INLINE Vec<C> sum_lanes(const T* p, int64_t n) {
  constexpr int kV = Vec<C>::kSize;
  const int64_t groups = (n - 1) / (4 * kV);
  const T* last = p + groups * (4 * kV);
  const int part = static_cast<int>(n - groups * (4 * kV)) - (kLast - 1) * kV;
  Vec<C> s[4];
  for (int u = 0; u < 4; ++u)
    s[u] = u + 1 < kLast    ? load_as<C>(last + u * kV)
           : u + 1 == kLast ? load_as<C>(last + u * kV, part)
                            : Vec<C>(C(0));
  for (; p < last; p += 4 * kV)
    for (int u = 0; u < 4; ++u) s[u] += load_as<C>(p + u * kV);
  return (s[0] + s[1]) + (s[2] + s[3]);
}
// Lane u of the result: the sum of rows[u]'s lanes, pair by pair.
template <class C>
Vec<C> sum_rows(Vec<C>* rows) {
  for (int n = Vec<C>::kSize; n > 1; n /= 2)
    for (int u = 0; u < n / 2; ++u)
      rows[u] = pick_lanes<C, 0>(rows[2 * u], rows[2 * u + 1], LaneSequence<C>()) +
                pick_lanes<C, 1>(rows[2 * u], rows[2 * u + 1], LaneSequence<C>());
  return rows[0];
}
// Lane u of the result: the sum of the n dense entries from p + u * step on, for u < count; zero beyond.
template <class C, int kLast, class T>
Vec<C> sum_planes(const T* p, int64_t step, int count, int64_t n) {
  constexpr int kV = Vec<C>::kSize;
  Vec<C> rows[kV];
  if (count == kV) {
    for (int u = 0; u < kV; ++u) rows[u] = sum_lanes<C, kLast>(p + u * step, n);
  } else {
    for (int u = 0; u < kV; ++u) rows[u] = u < count ? sum_lanes<C, kLast>(p + u * step, n) : Vec<C>(C(0));
  }
  return sum_rows<C>(rows);
}
template <class C, class T>
Vec<C> sum_planes(const T* p, int64_t step, int count, int64_t n) {
  switch (last_registers<C>(n)) {
    case 1: return sum_planes<C, 1>(p, step, count, n);
    case 2: return sum_planes<C, 2>(p, step, count, n);
    case 3: return sum_planes<C, 3>(p, step, count, n);
    default: return sum_planes<C, 4>(p, step, count, n);
  }
}

struct Window {
  int64_t begin[3], end[3];
  Window(const PoolShape& s, int64_t od, int64_t oh, int64_t ow) {
    const int64_t o[3] = {od, oh, ow};
    for (int i = 0; i < 3; ++i) {
      begin[i] = window_start(o[i], s.out[i], s.in[i]);
      end[i] = window_end(o[i], s.out[i], s.in[i]);
    }
  }
  int64_t count() const { return (end[0] - begin[0]) * (end[1] - begin[1]) * (end[2] - begin[2]); }
};

template <class F>
void for_outputs(const PoolShape& s, F&& f) {
  for (int64_t od = 0; od < s.out[0]; ++od)
    for (int64_t oh = 0; oh < s.out[1]; ++oh)
      for (int64_t ow = 0; ow < s.out[2]; ++ow) f(Window(s, od, oh, ow), od * s.os[0] + oh * s.os[1] + ow * s.os[2]);
}

inline bool dense_plane(const PoolShape& s) {
  return s.xs[2] == 1 && (s.in[1] == 1 || s.xs[1] == s.in[2]) && (s.in[0] == 1 || s.xs[0] == s.in[1] * s.in[2]);
}

}  // namespace

// in: (.., [D, [H,]] W); out: means of the adaptive windows.
void adaptive_avg_pool(const KernelArgs& args) {
  const AdaptivePoolAttrs& a = args.attrs<AdaptivePoolAttrs>();
  const TensorView &in = args.in[0], &out = args.out[0];
  if (out.numel == 0) return;
  dispatch_float(in.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_type<T>;
    constexpr int kV = Vec<C>::kSize;
    const PoolShape s(in, out, a.spatial);
    const T* px = in.ptr<const T>();
    T* po = out.ptr<T>();
    const int64_t plane = s.in[0] * s.in[1] * s.in[2];
    if (s.channels_last) {
      const int64_t blocks = div_up(s.channels, 4 * kV);
      parallel_for(s.batch * blocks, max_of(1, kMoveChunk / (plane * 4 * kV)), [&](int64_t begin, int64_t end) {
        for (int64_t task = begin; task < end; ++task) {
          const int64_t b = task / blocks, c0 = task % blocks * 4 * kV, c1 = min_of(s.channels, c0 + 4 * kV);
          for_outputs(s, [&](const Window& w, int64_t at) {
            const Vec<C> count(static_cast<C>(w.count()));
            for (int64_t c = c0; c < c1; c += kV) {
              const int n = static_cast<int>(min_of(kV, c1 - c));
              Vec<C> sum(C(0));
              for (int64_t z = w.begin[0]; z < w.end[0]; ++z)
                for (int64_t y = w.begin[1]; y < w.end[1]; ++y) {
                  const T* p = px + b * s.x_batch + z * s.xs[0] + y * s.xs[1] + c;
                  for (int64_t x = w.begin[2]; x < w.end[2]; ++x)
                    sum += n == kV ? load_as<C>(p + x * s.xs[2]) : load_as<C>(p + x * s.xs[2], n);
                }
              store_as<C>(po + b * s.o_batch + at + c, sum / count, n);
            }
          });
        }
      });
      return;
    }
    const bool whole = s.out[0] * s.out[1] * s.out[2] == 1 && dense_plane(s);
    parallel_for(s.planes, max_of(1, kMoveChunk / plane), [&](int64_t begin, int64_t end) {
      if (whole) {
        const int64_t x_step = s.lead.inner_stride(0), o_step = s.lead.inner_stride(1);
        return s.lead.rows(begin, end, [&](const int64_t* off, int64_t count) {
          for (int64_t p = 0; p < count; p += kV) {
            const int n = static_cast<int>(min_of(kV, count - p));
            const T* x = px + off[0] + p * x_step;
            T* o = po + off[1] + p * o_step;
            const Vec<C> means = sum_planes<C>(x, x_step, n, plane) / Vec<C>(static_cast<C>(plane));
            if (o_step == 1) {
              store_as<C>(o, means, n);
            } else {
              for (int u = 0; u < n; ++u) o[u * o_step] = static_cast<T>(means[u]);
            }
          }
        });
      }
      for (int64_t p = begin; p < end; ++p) {
        int64_t off[2];
        s.lead.offsets(p, off);
        const T* x = px + off[0];
        for_outputs(s, [&](const Window& w, int64_t at) {
          C sum = C(0);
          for (int64_t z = w.begin[0]; z < w.end[0]; ++z)
            for (int64_t y = w.begin[1]; y < w.end[1]; ++y)
              sum += sum_run<C>(x + z * s.xs[0] + y * s.xs[1] + w.begin[2] * s.xs[2], s.xs[2], w.end[2] - w.begin[2]);
          po[off[1] + at] = static_cast<T>(sum / static_cast<C>(w.count()));
        });
      }
    });
  });
}

// in: g; out: gx of the input's shape.
void adaptive_avg_pool_backward(const KernelArgs& args) {
  const AdaptivePoolAttrs& a = args.attrs<AdaptivePoolAttrs>();
  const TensorView &g = args.in[0], &out = args.out[0];
  if (out.numel == 0) return;
  if (g.numel == 0) return zero_view(out);
  dispatch_float(out.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_type<T>;
    const PoolShape s(out, g, a.spatial);
    const T* gp = g.ptr<const T>();
    T* px = out.ptr<T>();
    const int64_t plane = s.in[0] * s.in[1] * s.in[2];
    // Windows that do not overlap (and cover everything) write each entry once.
    const bool even = s.in[0] % s.out[0] == 0 && s.in[1] % s.out[1] == 0 && s.in[2] % s.out[2] == 0;
    if (s.channels_last) {
      constexpr int kV = Vec<C>::kSize;
      if (!even) zero_view(out);
      const int64_t blocks = div_up(s.channels, 4 * kV);
      parallel_for(s.batch * blocks, max_of(1, kMoveChunk / (plane * 4 * kV)), [&](int64_t begin, int64_t end) {
        for (int64_t task = begin; task < end; ++task) {
          const int64_t b = task / blocks, c0 = task % blocks * 4 * kV, c1 = min_of(s.channels, c0 + 4 * kV);
          for_outputs(s, [&](const Window& w, int64_t at) {
            for (int64_t c = c0; c < c1; c += kV) {
              const int n = static_cast<int>(min_of(kV, c1 - c));
              const Vec<C> v = load_as<C>(gp + b * s.o_batch + at + c, n) / Vec<C>(static_cast<C>(w.count()));
              for (int64_t z = w.begin[0]; z < w.end[0]; ++z)
                for (int64_t y = w.begin[1]; y < w.end[1]; ++y)
                  for (int64_t x = w.begin[2]; x < w.end[2]; ++x) {
                    T* to = px + b * s.x_batch + z * s.xs[0] + y * s.xs[1] + x * s.xs[2] + c;
                    store_as<C>(to, even ? v : load_as<C>(to, n) + v, n);
                  }
            }
          });
        }
      });
      return;
    }
    const bool whole = s.out[0] * s.out[1] * s.out[2] == 1 && dense_plane(s);
    parallel_for(s.planes, max_of(1, kMoveChunk / plane), [&](int64_t begin, int64_t end) {
      const MoveScratch<C> sums(plane);
      for (int64_t p = begin; p < end; ++p) {
        int64_t off[2];
        s.lead.offsets(p, off);
        T* x = px + off[0];
        if (whole) {
          fill_run(x, 1, static_cast<T>(static_cast<C>(gp[off[1]]) / static_cast<C>(plane)), plane);
          continue;
        }
        __builtin_memset(sums.data(), 0, static_cast<size_t>(plane) * sizeof(C));
        for_outputs(s, [&](const Window& w, int64_t at) {
          const C v = static_cast<C>(gp[off[1] + at]) / static_cast<C>(w.count());
          for (int64_t z = w.begin[0]; z < w.end[0]; ++z)
            for (int64_t y = w.begin[1]; y < w.end[1]; ++y)
              for (int64_t k = w.begin[2]; k < w.end[2]; ++k) sums[(z * s.in[1] + y) * s.in[2] + k] += v;
        });
        for (int64_t z = 0; z < s.in[0]; ++z)
          for (int64_t y = 0; y < s.in[1]; ++y)
            store_row(x + z * s.xs[0] + y * s.xs[1], s.xs[2], sums.data() + (z * s.in[1] + y) * s.in[2], s.in[2]);
      }
    });
  });
}

// in: (.., [D, [H,]] W); out: maxima of the adaptive windows and their int64 positions in the flattened plane.
// The gradient is max_pool_backward.
void adaptive_max_pool(const KernelArgs& args) {
  const AdaptivePoolAttrs& a = args.attrs<AdaptivePoolAttrs>();
  const TensorView &in = args.in[0], &out = args.out[0];
  if (out.numel == 0) return;
  dispatch_float(in.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_type<T>;
    const PoolShape s(in, out, a.spatial), si(in, args.out[1], a.spatial);
    int64_t* found = args.out[1].ptr<int64_t>();
    const int64_t plane = s.in[0] * s.in[1] * s.in[2];
    parallel_for(s.planes, max_of(1, kMoveChunk / plane), [&](int64_t begin, int64_t end) {
      for (int64_t p = begin; p < end; ++p) {
        int64_t off[2], ioff[2];
        s.lead.offsets(p, off);
        si.lead.offsets(p, ioff);
        const T* x = in.ptr<const T>() + off[0];
        for (int64_t od = 0; od < s.out[0]; ++od)
          for (int64_t oh = 0; oh < s.out[1]; ++oh)
            for (int64_t ow = 0; ow < s.out[2]; ++ow) {
              const Window w(s, od, oh, ow);
              C best = static_cast<C>(-__builtin_inf());
              int64_t best_at = (w.begin[0] * s.in[1] + w.begin[1]) * s.in[2] + w.begin[2];
              for (int64_t z = w.begin[0]; z < w.end[0]; ++z)
                for (int64_t y = w.begin[1]; y < w.end[1]; ++y)
                  for (int64_t k = w.begin[2]; k < w.end[2]; ++k) {
                    const C v = static_cast<C>(x[z * s.xs[0] + y * s.xs[1] + k * s.xs[2]]);
                    if (v > best || v != v) {
                      best = v;
                      best_at = (z * s.in[1] + y) * s.in[2] + k;
                    }
                  }
              out.ptr<T>()[off[1] + od * s.os[0] + oh * s.os[1] + ow * s.os[2]] = static_cast<T>(best);
              found[ioff[1] + od * si.os[0] + oh * si.os[1] + ow * si.os[2]] = best_at;
            }
      }
    });
  });
}

}  // namespace fireseed::cpu::FS_ISA

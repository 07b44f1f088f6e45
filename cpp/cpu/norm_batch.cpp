// batch_norm over planes (NC…) and over channels-last memory, forward and backward.
#include "cpu/norm_util.h"
#include "tensor/attrs/norm.h"

namespace fireseed::cpu::FS_ISA {
namespace {

// Note [Batch norm layouts]
// planes: memory [n, channels, inner], inner > 1: each plane is a contiguous run of one channel.
// columns: memory [rows, channels]: two-dimensional input, or dense channels-last; channels are lanes.
// The output has the input's layout (the op's infer sees to it).
struct BatchShape {
  int64_t n = 1, channels = 1, inner = 1;
  bool columns = false;
  int64_t count() const { return n * inner; }
};

bool channels_last_dense(const TensorView& x) {
  if (x.ndim < 3 || x.strides[1] != 1) return false;
  int64_t step = x.sizes[1];
  for (int d = x.ndim - 1; d >= 2; --d) {
    if (x.sizes[d] != 1 && x.strides[d] != step) return false;
    step *= x.sizes[d];
  }
  return x.sizes[0] == 1 || x.strides[0] == step;
}
BatchShape batch_shape(const TensorView& x, bool columns) {
  BatchShape s;
  s.n = x.sizes[0];
  s.channels = x.sizes[1];
  for (int d = 2; d < x.ndim; ++d) s.inner *= x.sizes[d];
  s.columns = columns || s.inner == 1;
  return s;
}

// An operand in the memory order of `columns`; copied where it is not.
template <class T>
class InLayout {
 public:
  InLayout(const TensorView& v, bool channels_last) {
    if (channels_last ? channels_last_dense(v) : v.contiguous) {
      data_ = v.ptr<T>();
      return;
    }
    copy_.reset(v.numel);
    TensorView w = v;
    int64_t sizes[kMaxRank], strides[kMaxRank];
    if (channels_last) {  // N, …, C
      int k = 0;
      for (int d = 0; d < v.ndim; ++d)
        if (d != 1) sizes[k] = v.sizes[d], strides[k++] = v.strides[d];
      sizes[k] = v.sizes[1], strides[k] = v.strides[1];
      w.sizes = sizes;
      w.strides = strides;
    }
    copy_to_contiguous(w, copy_.data());
    data_ = copy_.data();
  }
  const T* data() const { return data_; }

 private:
  Scratch<T> copy_;
  const T* data_;
};

constexpr int64_t kPieceElements = 32768;

// Mean and variance (biased) of every channel, as doubles.
template <class T>
void channel_moments(const BatchShape& s, const T* x, double* mean, double* var) {
  using C = compute_type<T>;
  const double count = static_cast<double>(s.count());
  if (s.columns) {
    const int64_t rows = s.count(), width = smaller(s.channels, kColTile), tiles = ceil_div(s.channels, width);
    const int64_t piece = larger(1, kPieceElements / (width * kRowGroup)) * kRowGroup, pieces = ceil_div(rows, piece);
    constexpr int kW = Vec<C>::kSize;
    const int64_t groups = ceil_div(width, kW);
    Scratch<VarState<C>> states(tiles * pieces * groups);
    VarState<C>* all = states.data();
    parallel_for(tiles * pieces, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t tile = i % tiles, first = i / tiles * piece, last = smaller(rows, first + piece);
        const int64_t c0 = tile * width, cols = smaller(width, s.channels - c0);
        for (int64_t r = first; r < last; r += kRowGroup) {
          const void* ptrs[kRowGroup];
          const int nrows = static_cast<int>(smaller(kRowGroup, last - r));
          for (int k = 0; k < nrows; ++k) ptrs[k] = x + (r + k) * s.channels + c0;
          add_moments_cols<T>(all + (tile * pieces + i / tiles) * groups, ptrs, nrows, cols, r - first);
        }
      }
    });
    for (int64_t tile = 0; tile < tiles; ++tile) {
      VarState<C>* st = all + tile * pieces * groups;
      for (int64_t step = 1; step < pieces; step *= 2)
        for (int64_t k = 0; k + step < pieces; k += 2 * step)
          merge_moments_cols(st + k * groups, st + (k + step) * groups, groups, step * piece,
                             smaller(rows, (k + 2 * step) * piece) - (k + step) * piece);
      for (int64_t c = tile * width; c < smaller(s.channels, (tile + 1) * width); ++c) {
        const int64_t g = (c - tile * width) / kW, lane = (c - tile * width) % kW;
        mean[c] = static_cast<double>(st[g].shift[lane]) + static_cast<double>(st[g].mean[lane]);
        var[c] = static_cast<double>(st[g].m2[lane]) / count;
      }
    }
    return;
  }
  const int64_t planes = larger(1, kPieceElements / s.inner), pieces = ceil_div(s.n, planes);
  Scratch<Part> parts(s.channels * pieces);
  Part* all = parts.data();
  const int64_t work = smaller(planes, s.n) * s.inner;
  parallel_for(s.channels * pieces, larger(1, kPieceElements / work), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t c = i / pieces, piece = i % pieces;
      Part part;
      part.a.d = part.b.d = 0;
      for (int64_t n = piece * planes; n < smaller(s.n, (piece + 1) * planes); ++n)
        add_moments<true>(part, x + (n * s.channels + c) * s.inner, s.inner, s.channels * s.inner);
      all[i] = part;
    }
  });
  for (int64_t c = 0; c < s.channels; ++c) {
    Part total = all[c * pieces];
    for (int64_t k = 1; k < pieces; ++k) merge_moments(total, all[c * pieces + k]);
    mean[c] = total.a.d;
    var[c] = total.b.d / count;
  }
}

// Calls plane(c, offset) for every plane, or row(offset) for every row.
template <class Plane, class Row>
void each_line(const BatchShape& s, Plane&& plane, Row&& row) {
  if (s.columns) {
    parallel_for(s.count(), larger(1, kPieceElements / s.channels), [&](int64_t b, int64_t e) {
      for (int64_t r = b; r < e; ++r) row(r * s.channels);
    });
    return;
  }
  parallel_for(s.n * s.channels, larger(1, kPieceElements / s.inner), [&](int64_t b, int64_t e) {
    for (int64_t p = b; p < e; ++p) plane(p % s.channels, p * s.inner);
  });
}

// running <- (1 - momentum) running + momentum value
void update_running(const TensorView& running, const double* value, int64_t n, double momentum, double factor) {
  if (!running.defined()) return;
  dispatch_float(running.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    T* p = running.ptr<T>();
    for (int64_t i = 0; i < n; ++i) {
      T& r = p[i * running.strides[0]];
      r = narrow_to<T>((1 - momentum) * widen_from<double>(r) + momentum * value[i] * factor);
    }
  });
}

// Σ g and Σ g (x - mean) of every channel.
template <class T>
void channel_sums(const BatchShape& s, const T* g, const T* x, const compute_type<T>* mean, double* sum_g,
                  double* sum_gx) {
  using C = compute_type<T>;
  using V = Vec<C>;
  if (s.columns) {
    const int64_t rows = s.count(), chunk = rows_per_sum(rows, s.channels), tasks = ceil_div(rows, chunk);
    const int64_t step = ceil_div(s.channels, 64) * 64;
    Scratch<C> partial(tasks * 2 * step);
    C* all = partial.data();
    parallel_for(rows, chunk, [&](int64_t begin, int64_t end) {
      for (int64_t at = begin; at < end; at += chunk) {
        C *a = all + at / chunk * 2 * step, *b = a + step;
        __builtin_memset(a, 0, static_cast<size_t>(2 * step) * sizeof(C));
        const int64_t last = smaller(end, at + chunk);
        for (int64_t r = at; r < last; r += kRowGroup) {
          const int nrows = static_cast<int>(smaller(kRowGroup, last - r));
          each_vec<C>(s.channels, [&](int64_t c, int k) __attribute__((always_inline)) {
            const V m = take<C>(mean + c, k);
            V u = V::load(a + c), v = V::load(b + c);
            for (int i = 0; i < nrows; ++i) {
              const int64_t o = (r + i) * s.channels + c;
              const V gi = take<C>(g + o, k);
              u += gi;
              v = fma(gi, take<C>(x + o, k) - m, v);
            }
            u.store(a + c);
            v.store(b + c);
          });
        }
      }
    });
    for (int64_t c = 0; c < s.channels; ++c) {
      double u = 0, v = 0;
      for (int64_t t = 0; t < tasks; ++t) {
        u += static_cast<double>(all[t * 2 * step + c]);
        v += static_cast<double>(all[t * 2 * step + step + c]);
      }
      sum_g[c] = u;
      sum_gx[c] = v;
    }
    return;
  }
  const int64_t planes = larger(1, kPieceElements / s.inner), pieces = ceil_div(s.n, planes);
  Scratch<TwoSums> parts(s.channels * pieces);
  TwoSums* all = parts.data();
  const int64_t work = smaller(planes, s.n) * s.inner;
  parallel_for(s.channels * pieces, larger(1, kPieceElements / work), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t c = i / pieces, piece = i % pieces;
      TwoSums total;
      for (int64_t n = piece * planes; n < smaller(s.n, (piece + 1) * planes); ++n) {
        const int64_t at = (n * s.channels + c) * s.inner;
        const TwoSums t = two_sums<true>(g + at, x + at, s.inner, mean[c], s.channels * s.inner);
        total.g += t.g;
        total.gx += t.gx;
      }
      all[i] = total;
    }
  });
  for (int64_t c = 0; c < s.channels; ++c) {
    sum_g[c] = sum_gx[c] = 0;
    for (int64_t k = 0; k < pieces; ++k) {
      sum_g[c] += all[c * pieces + k].g;
      sum_gx[c] += all[c * pieces + k].gx;
    }
  }
}

}  // namespace

// in: x [N, C, …], weight, bias, running mean, running var (each may be absent; the running ones are updated in place
// when training). out: y in x's layout, mean and invstd [C] (compute type) as used.
// y = (x - mean) / sqrt(var + eps) w + b (Ioffe, Szegedy 2015).
void batch_norm(const KernelArgs& args) {
  const auto& a = args.attrs<BatchNormAttrs>();
  const bool last = !args.in[0].contiguous && channels_last_dense(args.in[0]);
  const BatchShape s = batch_shape(args.in[0], last);
  if (s.count() == 0 || s.channels == 0) return;
  dispatch_float(args.in[0].dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_type<T>;
    const InLayout<T> input(args.in[0], last);
    const T* x = input.data();
    T* y = args.out[0].ptr<T>();
    Params<C> weight(args.in[1], s.channels, 1), bias(args.in[2], s.channels, 0);
    C *mean = args.out[1].ptr<C>(), *invstd = args.out[2].ptr<C>();
    Scratch<double> moments(2 * s.channels);
    double *mu = moments.data(), *var = mu + s.channels;
    if (a.training) {
      channel_moments(s, x, mu, var);
      const double count = static_cast<double>(s.count());
      update_running(args.in[3], mu, s.channels, a.momentum, 1);
      update_running(args.in[4], var, s.channels, a.momentum, count / (count - 1));
    } else {
      Params<double> m(args.in[3], s.channels, 0), v(args.in[4], s.channels, 1);
      for (int64_t c = 0; c < s.channels; ++c) mu[c] = m[c], var[c] = v[c];
    }
    C* w = weight.data();
    const C* b = bias.data();
    for (int64_t c = 0; c < s.channels; ++c) {
      mean[c] = static_cast<C>(mu[c]);
      invstd[c] = static_cast<C>(1 / __builtin_sqrt(var[c] + a.eps));
      w[c] *= invstd[c];
    }
    each_line(
        s, [&](int64_t c, int64_t at) { affine_run(x + at, y + at, s.inner, mean[c], w[c], b[c], s.inner); },
        [&](int64_t at) {
          each_vec<C>(s.channels, [&](int64_t c, int k) __attribute__((always_inline)) {
            put(y + at + c, fma(take<C>(x + at + c, k) - take<C>(mean + c, k), take<C>(w + c, k), take<C>(b + c, k)),
                k);
          });
        });
  });
}

// in: g, x, weight or absent, mean, invstd. out: gx in x's layout, gw, gb [C] (compute type).
// training: gx = w invstd (g - mean(g) - xhat mean(g xhat)); evaluation: gx = w invstd g.
void batch_norm_backward(const KernelArgs& args) {
  const auto& a = args.attrs<BatchNormAttrs>();
  const bool last = !args.in[1].contiguous && channels_last_dense(args.in[1]);
  const BatchShape s = batch_shape(args.in[1], last);
  dispatch_float(args.in[1].dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_type<T>;
    C *gw = args.out[1].ptr<C>(), *gb = args.out[2].ptr<C>();
    if (s.count() == 0) {
      for (int64_t c = 0; c < s.channels; ++c) gw[c] = gb[c] = C(0);
      return;
    }
    const InLayout<T> grad(args.in[0], last), input(args.in[1], last);
    const T *g = grad.data(), *x = input.data();
    T* gx = args.out[0].ptr<T>();
    Params<C> weight(args.in[2], s.channels, 1);
    const C *mean = args.in[3].ptr<C>(), *invstd = args.in[4].ptr<C>();
    Scratch<double> sums(2 * s.channels);
    double *sg = sums.data(), *sgx = sg + s.channels;
    channel_sums(s, g, x, mean, sg, sgx);
    Scratch<C> factors(2 * s.channels);
    C *wb = factors.data(), *wc = wb + s.channels, *wa = weight.data();
    const double count = static_cast<double>(s.count());
    for (int64_t c = 0; c < s.channels; ++c) {
      const double r = static_cast<double>(invstd[c]);
      gw[c] = static_cast<C>(sgx[c] * r);
      gb[c] = static_cast<C>(sg[c]);
      const double f = static_cast<double>(wa[c]) * r;
      wa[c] = static_cast<C>(f);
      wb[c] = a.training ? static_cast<C>(-f * sgx[c] / count * r * r) : C(0);
      wc[c] = a.training ? static_cast<C>(-f * sg[c] / count) : C(0);
    }
    each_line(
        s,
        [&](int64_t c, int64_t at) {
          affine_backward_run(g + at, x + at, gx + at, s.inner, mean[c], wa[c], wb[c], wc[c], s.inner);
        },
        [&](int64_t at) {
          each_vec<C>(s.channels, [&](int64_t c, int k) __attribute__((always_inline)) {
            const Vec<C> d = take<C>(x + at + c, k) - take<C>(mean + c, k);
            put(gx + at + c,
                fma(take<C>(g + at + c, k), take<C>(wa + c, k), fma(d, take<C>(wb + c, k), take<C>(wc + c, k))), k);
          });
        });
  });
}

}  // namespace fireseed::cpu::FS_ISA

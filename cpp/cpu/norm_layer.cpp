// layer_norm and rms_norm over the last dimensions, forward and backward.
#include "cpu/norm_util.h"
#include "tensor/attrs/norm.h"

namespace fireseed::cpu::FS_ISA {
namespace {

// kCenter: layer_norm; else rms_norm, whose mean is taken as zero.
template <bool kCenter, class T>
FS_INLINE void row_forward(const T* x, T* y, int64_t n, double eps, const compute_type<T>* w,
                           const compute_type<T>* b, compute_type<T>* mean, compute_type<T>* rstd) {
  using C = compute_type<T>;
  using V = Vec<C>;
  constexpr int kW = V::kSize;
  constexpr int kVecs = 8;
  if (n <= kVecs * kW) {  // a short row stays in registers
    V v[kVecs], sum = C(0), squares = C(0);
    const int vecs = static_cast<int>(ceil_div(n, kW)), last = static_cast<int>(n - (vecs - 1) * kW);
    const C inverse = C(1) / static_cast<C>(n);
    for (int i = 0; i < vecs; ++i) sum += v[i] = take<C>(x + i * kW, i + 1 < vecs ? kW : last);
    const C m = kCenter ? reduce_add(sum) * inverse : C(0);
    for (int i = 0; i < vecs; ++i) {
      v[i] -= V(m);
      if (i + 1 == vecs) v[i] = where(Mask<C>::first(last), v[i], V(C(0)));
      squares = fma(v[i], v[i], squares);
    }
    const double spread = static_cast<double>(reduce_add(squares)) / static_cast<double>(n);
    const C r = static_cast<C>(1 / __builtin_sqrt(spread + eps));
    if constexpr (kCenter) *mean = m;
    *rstd = r;
    for (int i = 0; i < vecs; ++i) {
      const int k = i + 1 < vecs ? kW : last;
      V u = v[i] * V(r);
      if (w) u = b ? fma(u, take<C>(w + i * kW, k), take<C>(b + i * kW, k)) : u * take<C>(w + i * kW, k);
      else if (b) u += take<C>(b + i * kW, k);
      put(y + i * kW, u, k);
    }
    return;
  }
  double mu = 0, square = 0;
  if constexpr (kCenter) {
    Part part;
    part.a.d = part.b.d = 0;
    add_moments(part, x, n);
    mu = part.a.d;
    square = part.b.d / static_cast<double>(n);
    *mean = static_cast<C>(mu);
  } else {
    Part part;
    SumReducer<T, MapSquare, T>::init_part(part);
    SumReducer<T, MapSquare, T>::run(part, x, n, 0, {});
    square = part.a.d / static_cast<double>(n);
  }
  const double r = 1 / __builtin_sqrt(square + eps);
  *rstd = static_cast<C>(r);
  const V m = mu, s = r;
  each_vec<C>(n, [&](int64_t i, int k) __attribute__((always_inline)) {
    fetch_next(x, n, i);
    V v = (take<C>(x + i, k) - m) * s;
    if (w) v = b ? fma(v, take<C>(w + i, k), take<C>(b + i, k)) : v * take<C>(w + i, k);
    else if (b) v += take<C>(b + i, k);
    put(y + i, v, k);
  });
}

// gx of one row; gw += g xhat and gb += g where asked for.
template <bool kCenter, class T>
FS_INLINE void row_backward(const T* g, const T* x, T* gx, int64_t n, compute_type<T> mean, compute_type<T> rstd,
                            const compute_type<T>* w, compute_type<T>* gw, compute_type<T>* gb) {
  using C = compute_type<T>;
  using V = Vec<C>;
  const V m = mean, s = rstd;
  V a = C(0), b = C(0);
  each_vec<C>(n, [&](int64_t i, int k) __attribute__((always_inline)) {
    const V gi = take<C>(g + i, k), hat = (take<C>(x + i, k) - m) * s;  // g is zero beyond the tail
    const V wg = w ? gi * take<C>(w + i, k) : gi;
    if (kCenter) a += wg;
    b = fma(wg, hat, b);
    put(gw + i, fma(gi, hat, take<C>(gw + i, k)), k);
    if (kCenter) put(gb + i, gi + take<C>(gb + i, k), k);
  });
  const double count = static_cast<double>(n);
  const V c1 = kCenter ? static_cast<double>(reduce_add(a)) / count : 0.0;
  const V c2 = static_cast<double>(reduce_add(b)) / count;
  each_vec<C>(n, [&](int64_t i, int k) __attribute__((always_inline)) {
    fetch_next(g, n, i);
    fetch_next(x, n, i);
    const V gi = take<C>(g + i, k), hat = (take<C>(x + i, k) - m) * s;
    V wg = w ? gi * take<C>(w + i, k) : gi;
    if (kCenter) wg -= c1;
    put(gx + i, (wg - hat * c2) * s, k);
  });
}

template <bool kCenter>
void forward(const KernelArgs& args) {
  const auto& a = args.attrs<LayerNormAttrs>();
  const int64_t n = a.size, rows = n ? args.in[0].numel / n : 0;
  dispatch_float(args.in[0].dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_type<T>;
    const Contiguous<T> input(args.in[0]);
    const bool has_w = args.in[1].defined(), has_b = kCenter && args.in[2].defined();
    Params<C> weight(args.in[1], has_w ? n : 0, 1);
    Params<C> bias(kCenter ? args.in[2] : TensorView{}, has_b ? n : 0, 0);
    const T* x = input.data();
    T* y = args.out[0].ptr<T>();
    C* mean = kCenter ? args.out[1].ptr<C>() : nullptr;
    C* rstd = args.out[kCenter ? 2 : 1].ptr<C>();
    const C *w = has_w ? weight.data() : nullptr, *b = has_b ? bias.data() : nullptr;
    parallel_for(rows, larger(1, 16384 / larger(1, n)), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r)
        row_forward<kCenter>(x + r * n, y + r * n, n, a.eps, w, b, mean + r, rstd + r);
    });
  });
}

template <bool kCenter>
void backward(const KernelArgs& args) {
  const auto& a = args.attrs<LayerNormAttrs>();
  const int64_t n = a.size, rows = n ? args.in[1].numel / n : 0;
  dispatch_float(args.in[1].dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_type<T>;
    const Contiguous<T> grad(args.in[0]), input(args.in[1]);
    const bool has_w = args.in[2].defined();
    Params<C> weight(args.in[2], has_w ? n : 0, 1);
    const C* w = has_w ? weight.data() : nullptr;
    const C* mean = kCenter ? args.in[3].ptr<C>() : nullptr;
    const C* rstd = args.in[kCenter ? 4 : 3].ptr<C>();
    const T *g = grad.data(), *x = input.data();
    T* gx = args.out[0].ptr<T>();
    const int64_t chunk = rows_per_sum(rows, n), tasks = larger(1, ceil_div(rows, chunk));
    const int64_t step = ceil_div(n, 64) * 64;
    Scratch<C> partial(tasks * 2 * step);
    C* p = partial.data();
    if (rows == 0) __builtin_memset(p, 0, static_cast<size_t>(2 * step) * sizeof(C));
    parallel_for(rows, chunk, [&](int64_t begin, int64_t end) {
      for (int64_t at = begin; at < end; at += chunk) {
        C *gw = p + at / chunk * 2 * step, *gb = gw + step;
        __builtin_memset(gw, 0, static_cast<size_t>(2 * step) * sizeof(C));
        for (int64_t r = at; r < smaller(end, at + chunk); ++r)
          row_backward<kCenter>(g + r * n, x + r * n, gx + r * n, n, kCenter ? mean[r] : C(0), rstd[r], w, gw, gb);
      }
    });
    add_partials(p, tasks, 2 * step, n, args.out[1].ptr<C>());
    if (kCenter) add_partials(p + step, tasks, 2 * step, n, args.out[2].ptr<C>());
  });
}

}  // namespace

// in: x, weight or absent, bias or absent. out: y, mean and rstd of each row (compute type).
// y = (x - mean) / sqrt(var + eps) w + b (Ba, Kiros, Hinton 2016).
void layer_norm(const KernelArgs& args) { forward<true>(args); }
// in: g, x, weight or absent, mean, rstd. out: gx, gw, gb (compute type, [size]).
void layer_norm_backward(const KernelArgs& args) { backward<true>(args); }
// in: x, weight or absent. out: y, rstd. y = x / sqrt(mean(x²) + eps) w (Zhang, Sennrich 2019).
void rms_norm(const KernelArgs& args) { forward<false>(args); }
// in: g, x, weight or absent, rstd. out: gx, gw.
void rms_norm_backward(const KernelArgs& args) { backward<false>(args); }

}  // namespace fireseed::cpu::FS_ISA

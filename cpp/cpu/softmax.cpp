// softmax and log_softmax along any dimension, forward and backward.
#include "cpu/contiguous.h"
#include "cpu/reduce_exp.h"
#include "tensor/attrs/softmax.h"

namespace fireseed::cpu::FS_ISA {
namespace {

// Columns of one task where the dimension is not the last: so many vectors side by side, the more the longer the runs
// of memory and the fewer the pages, and at least kMinColVecs of them where there are threads enough.
constexpr int kColVecs = 64, kMinColVecs = 4;

// y = exp(x - max) / Σ exp(x - max), or x - log Σ exp(x), over n contiguous elements.
template <bool kLog, class T>
void softmax_row(const T* x, T* y, int64_t n) {
  using C = compute_type<T>;
  using V = Vec<C>;
  constexpr int kW = V::kSize;
  if (n <= kW) {  // short rows are many
    const int k = static_cast<int>(n);
    const V v = load_as<C>(x, k, limits_of<C>::lowest), d = v - V(reduce_max(v)), e = exp(d);
    const C s = reduce_add(where(Mask<C>::first(k), e, V(C(0))));
    put(y, kLog ? d - V(log(Num<C>(s)).v) : e * V(C(1) / s), k);
    return;
  }
  const C top = block_max<C>(x, n);
  const V m = top;
  if constexpr (kLog) {
    const C s = block_exp_sum<C>(x, n, top);
    // x - (m + log s) would lose digits where m is large
    const V ls = log(Num<C>(s)).v;
    each_vec<C>(n,
                [&](int64_t i, int k) __attribute__((always_inline)) { put(y + i, take<C>(x + i, k) - m - ls, k); });
  } else if constexpr (same_type<C, T>) {
    V s0 = C(0), s1 = C(0);
    int64_t i = 0;
    for (; i + 2 * kW <= n; i += 2 * kW) {
      fetch_next(x, n, i);
      fetch_next(x, n, i + kW);
      const V e0 = exp(V::load(x + i) - m), e1 = exp(V::load(x + i + kW) - m);
      e0.store(y + i);
      e1.store(y + i + kW);
      s0 += e0, s1 += e1;
    }
    for (; i < n; i += kW) {
      const int k = static_cast<int>(smaller(kW, n - i));
      const V e = where(Mask<C>::first(k), exp(take<C>(x + i, k) - m), V(C(0)));
      put(y + i, e, k);
      s0 += e;
    }
    const V scale = C(1) / reduce_add(s0 + s1);
    each_vec<C>(n,
                [&](int64_t j, int k) __attribute__((always_inline)) { put(y + j, take<C>(y + j, k) * scale, k); });
  } else {
    const V scale = C(1) / block_exp_sum<C>(x, n, top);
    each_vec<C>(n, [&](int64_t i, int k)
                       __attribute__((always_inline)) { put(y + i, exp(take<C>(x + i, k) - m) * scale, k); });
  }
}

// The same down `n` rows of `stride` elements, for `cols` columns, cols <= kColVecs * lanes.
template <bool kLog, class T>
void softmax_cols(const T* x, T* y, int64_t n, int64_t stride, int64_t cols) {
  using C = compute_type<T>;
  using V = Vec<C>;
  V top[kColVecs], sum[kColVecs];
  const int vecs = static_cast<int>(ceil_div(cols, V::kSize));
  for (int v = 0; v < vecs; ++v) top[v] = limits_of<C>::lowest, sum[v] = C(0);
  for (int64_t r = 0; r < n; r += kRowGroup) {
    const int rows = static_cast<int>(smaller(kRowGroup, n - r));
    int v = 0;
    each_vec<C>(cols, [&](int64_t c, int k) __attribute__((always_inline)) {
      V m = top[v];
      for (int i = 0; i < rows; ++i) m = maximum(take<C>(x + (r + i) * stride + c, k), m);
      const V shift = finite_shift(m);
      V s = sum[v] * exp(top[v] - shift);  // 0 at first: exp(-inf)
      for (int i = 0; i < rows; ++i) s += exp(take<C>(x + (r + i) * stride + c, k) - shift);
      top[v] = m;
      sum[v] = s;
      ++v;
    });
  }
  // top - top: 0, or no number where the largest is none or infinite, as in a row
  for (int v = 0; v < vecs; ++v) sum[v] = (kLog ? log(sum[v]) : V(C(1)) / sum[v]) + (top[v] - top[v]);
  for (int64_t r = 0; r < n; ++r) {
    int v = 0;
    each_vec<C>(cols, [&](int64_t c, int k) __attribute__((always_inline)) {
      const V d = take<C>(x + r * stride + c, k) - top[v];
      put(y + r * stride + c, kLog ? d - sum[v] : exp(d) * sum[v], k);
      ++v;
    });
  }
}

// Whether the following pays: what was written is read again, which short runs of memory that do not stay in L2 make
// slower than a second exp. (By the shape alone, not by a task's columns: the bits differ.)
template <class T>
bool once(const AxisShape& s) {
  constexpr int64_t kSize = sizeof(T);
  return s.inner * kSize >= 4096 || 2 * s.n * s.inner * kSize <= 1 << 20;
}

// The same with one exp an element: y holds exp(x - shift) of a group of rows first, the largest element so far, and
// is brought to the last group's shift when the sum is known.
template <class T>
void softmax_cols_once(const T* x, T* y, int64_t n, int64_t stride, int64_t cols) {
  using V = Vec<T>;
  const int64_t step = ceil_div(cols, V::kSize) * V::kSize;
  Scratch<T> tops(ceil_div(n, kRowGroup) * step);
  V top[kColVecs], sum[kColVecs];
  const int vecs = static_cast<int>(ceil_div(cols, V::kSize));
  for (int v = 0; v < vecs; ++v) top[v] = limits_of<T>::lowest, sum[v] = T(0);
  for (int64_t r = 0; r < n; r += kRowGroup) {
    const int rows = static_cast<int>(smaller(kRowGroup, n - r));
    int v = 0;
    each_vec<T>(cols, [&](int64_t c, int k) __attribute__((always_inline)) {
      V m = top[v];
      for (int i = 0; i < rows; ++i) m = maximum(take<T>(x + (r + i) * stride + c, k), m);
      const V shift = finite_shift(m);
      V s = sum[v] * exp(top[v] - shift);  // 0 at first: exp(-inf)
      for (int i = 0; i < rows; ++i) {
        const V e = exp(take<T>(x + (r + i) * stride + c, k) - shift);
        put(y + (r + i) * stride + c, e, k);
        s += e;
      }
      m.store(tops.data() + r / kRowGroup * step + c);  // -inf: what was written is 0
      top[v] = m;
      sum[v] = s;
      ++v;
    });
  }
  for (int v = 0; v < vecs; ++v) {
    sum[v] = V(T(1)) / sum[v] + (top[v] - top[v]);  // no number where the largest is none or infinite
    top[v] = finite_shift(top[v]);
  }
  for (int64_t r = 0; r < n; r += kRowGroup) {
    const int rows = static_cast<int>(smaller(kRowGroup, n - r));
    int v = 0;
    each_vec<T>(cols, [&](int64_t c, int k) __attribute__((always_inline)) {
      const V scale = exp(V::load(tops.data() + r / kRowGroup * step + c) - top[v]) * sum[v];
      for (int i = 0; i < rows; ++i) {
        T* at = y + (r + i) * stride + c;
        put(at, take<T>(at, k) * scale, k);
      }
      ++v;
    });
  }
}

// softmax: gx = y (g - Σ g y); log_softmax: gx = g - exp(y) Σ g.
template <bool kLog, class T>
void softmax_backward_row(const T* g, const T* y, T* gx, int64_t n) {
  using C = compute_type<T>;
  using V = Vec<C>;
  V s0 = C(0), s1 = C(0);
  constexpr int kW = V::kSize;
  auto term = [&](int64_t i, int k) __attribute__((always_inline)) {
    const V a = take<C>(g + i, k);
    return kLog ? a : a * take<C>(y + i, k);
  };
  int64_t i = 0;
  for (; i + 2 * kW <= n; i += 2 * kW) s0 += term(i, kW), s1 += term(i + kW, kW);
  for (; i < n; i += kW) s0 += term(i, static_cast<int>(smaller(kW, n - i)));
  const V s = reduce_add(s0 + s1);
  each_vec<C>(n, [&](int64_t j, int k) __attribute__((always_inline)) {
    const V a = take<C>(g + j, k), b = take<C>(y + j, k);
    put(gx + j, kLog ? a - exp(b) * s : b * (a - s), k);
  });
}

template <bool kLog, class T>
void softmax_backward_cols(const T* g, const T* y, T* gx, int64_t n, int64_t stride, int64_t cols) {
  using C = compute_type<T>;
  using V = Vec<C>;
  V sum[kColVecs];
  for (int v = 0; v < ceil_div(cols, V::kSize); ++v) sum[v] = C(0);
  for (int64_t r = 0; r < n; ++r) {
    int v = 0;
    each_vec<C>(cols, [&](int64_t c, int k) __attribute__((always_inline)) {
      const V a = take<C>(g + r * stride + c, k);
      sum[v++] += kLog ? a : a * take<C>(y + r * stride + c, k);
    });
  }
  for (int64_t r = 0; r < n; ++r) {
    int v = 0;
    each_vec<C>(cols, [&](int64_t c, int k) __attribute__((always_inline)) {
      const V a = take<C>(g + r * stride + c, k), b = take<C>(y + r * stride + c, k);
      put(gx + r * stride + c, kLog ? a - exp(b) * sum[v] : b * (a - sum[v]), k);
      ++v;
    });
  }
}

// Calls row(offset) for every line of a last dimension, cols(offset, columns) for tiles of any other.
template <class T, class Row, class Cols>
void each_line(const AxisShape& s, Row&& row, Cols&& cols) {
  constexpr int64_t kGrain = 8192;
  if (s.n == 0) return;
  if (s.inner == 1) {
    parallel_for(s.outer, larger(1, kGrain / s.n), [&](int64_t b, int64_t e) {
      for (int64_t i = b; i < e; ++i) row(i * s.n);
    });
    return;
  }
  // Columns do not meet: how many are side by side changes no bit.
  constexpr int64_t kV = Vec<compute_type<T>>::kSize;
  const int64_t shared = ceil_div(s.inner, ceil_div(num_threads(), s.outer));
  const int64_t width = larger(kMinColVecs * kV, smaller(kColVecs * kV, ceil_div(shared, kV) * kV));
  const int64_t tiles = ceil_div(s.inner, width);
  parallel_for(s.outer * tiles, larger(1, kGrain / (s.n * smaller(width, s.inner))), [&](int64_t b, int64_t e) {
    for (int64_t i = b; i < e; ++i) {
      const int64_t c = i % tiles * width;
      cols(i / tiles * s.n * s.inner + c, smaller(width, s.inner - c));
    }
  });
}

template <bool kLog>
void forward(const KernelArgs& args) {
  const AxisShape s = axis_shape(args.in[0], args.attrs<SoftmaxAttrs>().dim);
  dispatch_float(args.in[0].dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const Contiguous<T> in(args.in[0]);
    const T* x = in.data();
    T* y = args.out[0].ptr<T>();
    each_line<T>(
        s, [&](int64_t at) { softmax_row<kLog>(x + at, y + at, s.n); },
        [&](int64_t at, int64_t cols) {
          if constexpr (!kLog && same_type<T, compute_type<T>>) {
            if (once<T>(s)) return softmax_cols_once(x + at, y + at, s.n, s.inner, cols);
          }
          softmax_cols<kLog>(x + at, y + at, s.n, s.inner, cols);
        });
  });
}

template <bool kLog>
void backward(const KernelArgs& args) {
  const AxisShape s = axis_shape(args.out[0], args.attrs<SoftmaxAttrs>().dim);
  dispatch_float(args.in[0].dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const Contiguous<T> grad(args.in[0]), result(args.in[1]);
    const T *g = grad.data(), *y = result.data();
    T* gx = args.out[0].ptr<T>();
    each_line<T>(
        s, [&](int64_t at) { softmax_backward_row<kLog>(g + at, y + at, gx + at, s.n); },
        [&](int64_t at, int64_t cols) { softmax_backward_cols<kLog>(g + at, y + at, gx + at, s.n, s.inner, cols); });
  });
}

}  // namespace

// in x, out y: float types, same shape, contiguous.
void softmax(const KernelArgs& args) { forward<false>(args); }
void log_softmax(const KernelArgs& args) { forward<true>(args); }
// in (g, y), out gx.
void softmax_backward(const KernelArgs& args) { backward<false>(args); }
void log_softmax_backward(const KernelArgs& args) { backward<true>(args); }

}  // namespace fireseed::cpu::FS_ISA

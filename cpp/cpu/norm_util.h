// Shared by the normalisations: parameters in the compute type, two sums at once, sums over rows by columns.
#pragma once

#include "cpu/contiguous.h"
#include "cpu/reduce_var.h"

namespace fireseed::cpu::FS_ISA {

// A vector of n parameters of any float dtype as C; `missing` where the operand is absent.
template <class C>
class Params {
 public:
  Params(const TensorView& v, int64_t n, double missing) {
    values_.reset(larger(1, n));
    if (!v.defined()) {
      for (int64_t i = 0; i < n; ++i) values_[i] = static_cast<C>(missing);
      return;
    }
    dispatch_float(v.dtype, [&](auto tag) {
      using T = typename decltype(tag)::type;
      const Contiguous<T> c(v);
      const T* p = c.data();
      for (int64_t i = 0; i < n; ++i) values_[i] = widen_from<C>(p[i]);
    });
  }
  C* data() { return values_.data(); }
  C operator[](int64_t i) { return values_[i]; }

 private:
  Scratch<C> values_;
};

struct TwoSums { double g = 0, gx = 0; };

// Σ g and Σ g (x - center) over n contiguous elements. kFetch: what lies `next` elements on is wanted next.
template <bool kFetch = false, class T>
FS_INLINE TwoSums two_sums(const T* g, const T* x, int64_t n, compute_type<T> center, int64_t next = 0) {
  using C = compute_type<T>;
  using V = Vec<C>;
  constexpr int kW = V::kSize;
  TwoSums total;
  const V m = center;
  while (n > 0) {
    const int64_t block = smaller(n, 128 * kW);
    V a0 = C(0), a1 = C(0), b0 = C(0), b1 = C(0);
    int64_t i = 0;
    for (; i + 2 * kW <= block; i += 2 * kW) {
      for (int v = 0; kFetch && v < 2; ++v) {
        fetch_next(g, next, i + v * kW);
        fetch_next(x, next, i + v * kW);
      }
      const V g0 = load_as<C>(g + i), g1 = load_as<C>(g + i + kW);
      a0 += g0, a1 += g1;
      b0 = fma(g0, load_as<C>(x + i) - m, b0);
      b1 = fma(g1, load_as<C>(x + i + kW) - m, b1);
    }
    for (; i < block; i += kW) {
      const int k = static_cast<int>(smaller(kW, block - i));
      const V g0 = take<C>(g + i, k);
      a0 += g0;
      b0 = fma(g0, (k == kW ? load_as<C>(x + i) : load_as<C>(x + i, k, center)) - m, b0);
    }
    total.g += static_cast<double>(reduce_add(a0 + a1));
    total.gx += static_cast<double>(reduce_add(b0 + b1));
    g += block, x += block, n -= block;
  }
  return total;
}

// y = (x - mean) scale + shift over n contiguous elements; what lies `next` elements on is brought closer.
template <class T, class C>
FS_INLINE void affine_run(const T* x, T* y, int64_t n, C mean, C scale, C shift, int64_t next) {
  const Vec<C> m = mean, s = scale, b = shift;
  each_vec<C>(n, [&](int64_t i, int k) __attribute__((always_inline)) {
    fetch_next(x, next, i);
    put(y + i, fma(take<C>(x + i, k) - m, s, b), k);
  });
}

// gx = g a + (x - mean) b + c over n contiguous elements, likewise.
template <class T, class C>
FS_INLINE void affine_backward_run(const T* g, const T* x, T* gx, int64_t n, C mean, C a, C b, C c, int64_t next) {
  const Vec<C> m = mean, va = a, vb = b, vc = c;
  each_vec<C>(n, [&](int64_t i, int k) __attribute__((always_inline)) {
    fetch_next(g, next, i);
    fetch_next(x, next, i);
    put(gx + i, fma(take<C>(g + i, k), va, fma(take<C>(x + i, k) - m, vb, vc)), k);
  });
}

// Rows of one task of a sum over `rows` rows of `n` columns: at most 32 tasks, whatever the number of threads.
inline int64_t rows_per_sum(int64_t rows, int64_t n) {
  const int64_t by_work = larger(1, 16384 / larger(1, n));
  return larger(by_work, ceil_div(rows, 32));
}

// out[i] = Σ_t partial[t * step + i], in the order of t.
template <class C>
void add_partials(const C* partial, int64_t tasks, int64_t step, int64_t n, C* out) {
  each_vec<C>(n, [&](int64_t i, int k) __attribute__((always_inline)) {
    Vec<C> s = take<C>(partial + i, k);
    for (int64_t t = 1; t < tasks; ++t) s += take<C>(partial + t * step + i, k);
    put(out + i, s, k);
  });
}

}  // namespace fireseed::cpu::FS_ISA

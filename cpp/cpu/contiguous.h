// Row-major operands: Contiguous<T> copies to scratch what is not one already; loops over vectors with a tail.
#pragma once

#include "base/parallel.h"
#include "cpu/reduce.h"
#include "cpu/scratch.h"

namespace fireseed::cpu::FS_ISA {

// Copies a strided view to row-major memory.
template <class T>
void copy_to_contiguous(const TensorView& v, T* to) {
  if (v.numel == 0) return;
  const T* from = v.ptr<T>();
  if (v.ndim == 0) {
    *to = *from;
    return;
  }
  const int64_t n = v.sizes[v.ndim - 1], step = v.strides[v.ndim - 1], rows = v.numel / n;
  parallel_for(rows, larger(1, 16384 / n), [&](int64_t b, int64_t e) {
    for (int64_t r = b; r < e; ++r) {
      int64_t off = 0, i = r;
      for (int d = v.ndim - 2; d >= 0; --d) {
        off += i % v.sizes[d] * v.strides[d];
        i /= v.sizes[d];
      }
      const T* p = from + off;
      T* q = to + r * n;
      if (step == 1) __builtin_memcpy(q, p, static_cast<size_t>(n) * sizeof(T));
      else
        for (int64_t k = 0; k < n; ++k) q[k] = p[k * step];
    }
  });
}

template <class T>
class Contiguous {
 public:
  explicit Contiguous(const TensorView& v) {
    if (v.contiguous || !v.defined()) {
      data_ = v.ptr<T>();
      return;
    }
    copy_.reset(v.numel);
    copy_to_contiguous(v, copy_.data());
    data_ = copy_.data();
  }
  const T* data() const { return data_; }

 private:
  Scratch<T> copy_;
  const T* data_;
};

// A row-major array seen from one of its dimensions: [outer, n, inner].
struct AxisShape { int64_t outer = 1, n = 1, inner = 1; };
inline AxisShape axis_shape(const TensorView& v, int64_t dim) {
  AxisShape s;
  for (int d = 0; d < v.ndim; ++d) {
    if (d < dim) s.outer *= v.sizes[d];
    else if (d == dim) s.n = v.sizes[d];
    else s.inner *= v.sizes[d];
  }
  return s;
}

// Calls f(i, lanes) for the vectors that cover [0, n).
template <class C, class F>
FS_INLINE void each_vec(int64_t n, F&& f) {
  constexpr int kW = Vec<C>::kSize;
  int64_t i = 0;
  for (; i + kW <= n; i += kW) f(i, kW);
  if (i < n) f(i, static_cast<int>(n - i));
}
// lanes elements of memory as C, zeros beyond; and back.
template <class C, class T>
FS_INLINE Vec<C> take(const T* p, int n) {
  return n == Vec<C>::kSize ? load_as<C>(p) : load_as<C>(p, n, C(0));
}
template <class T, class C>
FS_INLINE void put(T* p, Vec<C> x, int n) {
  if (n == Vec<C>::kSize) store_as(p, x);
  else store_as(p, x, n);
}

}  // namespace fireseed::cpu::FS_ISA

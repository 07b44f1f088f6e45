// Runs an update rule over all tensors of a parameter group: pieces of fixed size, one pass over memory.
#pragma once

#include "base/dtype.h"
#include "base/parallel.h"
#include "cpu/vec.h"
#include "tensor/allocator.h"
#include "tensor/optim_rules.h"

namespace fireseed::cpu::FS_ISA {

inline constexpr int64_t kOptimPiece = 16384;  // elements a parallel piece

// The register type that tensors of T are computed in, and masked loads and stores for it.
template <class T> struct lanes_of { using type = VecF; };
template <> struct lanes_of<double> { using type = VecD; };
template <class T>
using lanes = typename lanes_of<T>::type;

template <class T>
FS_INLINE VecF load_lanes(const T* p) {
  return load_float(p);
}
FS_INLINE VecD load_lanes(const double* p) { return VecD::load(p); }
template <class T>
FS_INLINE VecF load_lanes(const T* p, int n) {
  return load_float(p, n);
}
FS_INLINE VecD load_lanes(const double* p, int n) { return VecD::load(p, n); }
template <class T>
FS_INLINE void store_lanes(T* p, VecF x) {
  store_float(p, x);
}
FS_INLINE void store_lanes(double* p, VecD x) { x.store(p); }
template <class T>
FS_INLINE void store_lanes(T* p, VecF x, int n) {
  store_float(p, x, n);
}
FS_INLINE void store_lanes(double* p, VecD x, int n) { x.store(p, n); }

// An array for the length of a scope, on the stack while short.
template <class T, int kShort>
class ShortArray {
 public:
  explicit ShortArray(int64_t n) : n_(n) {
    data_ = n <= kShort ? reinterpret_cast<T*>(local_)
                        : static_cast<T*>(allocate_bytes(sizeof(T) * static_cast<size_t>(n)));
  }
  ~ShortArray() {
    if (n_ > kShort) free_bytes(data_, sizeof(T) * static_cast<size_t>(n_));
  }
  ShortArray(const ShortArray&) = delete;
  ShortArray& operator=(const ShortArray&) = delete;
  T& operator[](int64_t i) { return data_[i]; }
  const T& operator[](int64_t i) const { return data_[i]; }

 private:
  int64_t n_;
  T* data_;
  alignas(64) unsigned char local_[sizeof(T) * kShort];
};

// Offset of element `index` in row-major order.
inline int64_t logical_offset(const TensorView& v, int64_t index) {
  if (v.contiguous) return index;
  int64_t at = 0;
  for (int d = v.ndim - 1; d >= 0; --d) {
    at += index % v.sizes[d] * v.strides[d];
    index /= v.sizes[d];
  }
  return at;
}

// Whether a and b have the same sizes and strides.
inline bool same_layout(const TensorView& a, const TensorView& b) {
  if (a.contiguous && b.contiguous) return true;
  for (int d = 0; d < a.ndim; ++d)
    if (a.sizes[d] != 1 && a.strides[d] != b.strides[d]) return false;
  return true;
}

// Whether the elements fill an interval of memory in some order of the dimensions.
inline bool is_dense(const TensorView& v) {
  if (v.contiguous) return true;
  int64_t expected = 1;
  bool used[kMaxRank] = {};
  for (int found = 0; found < v.ndim; ++found) {
    int at = -1;
    for (int d = 0; d < v.ndim; ++d)
      if (!used[d] && (v.sizes[d] == 1 || v.strides[d] == expected)) at = d;
    if (at < 0) return false;
    used[at] = true;
    expected *= v.sizes[at];
  }
  return true;
}

// Calls f(tensor, begin, end) for pieces of all tensors, in parallel where there is enough work.
template <class F>
void for_each_piece(const TensorView* tensors, int64_t count, F&& f) {
  int64_t total = 0;
  for (int64_t i = 0; i < count; ++i) total += tensors[i].numel;
  if (total <= kOptimPiece) {
    for (int64_t i = 0; i < count; ++i)
      if (tensors[i].numel > 0) f(i, int64_t{0}, tensors[i].numel);
    return;
  }
  ShortArray<int64_t, 128> first(count + 1);  // the first piece of each tensor
  first[0] = 0;
  for (int64_t i = 0; i < count; ++i) first[i + 1] = first[i] + (tensors[i].numel + kOptimPiece - 1) / kOptimPiece;
  parallel_for(first[count], 1, [&](int64_t b, int64_t e) {
    int64_t low = 0, high = count;  // the last tensor that starts at or before piece b
    while (high - low > 1) {
      const int64_t middle = (low + high) / 2;
      if (first[middle] <= b) low = middle;
      else high = middle;
    }
    for (int64_t piece = b; piece < e; ++piece) {
      while (first[low + 1] <= piece) ++low;
      const int64_t begin = (piece - first[low]) * kOptimPiece, left = tensors[low].numel - begin;
      f(low, begin, begin + (left < kOptimPiece ? left : kOptimPiece));
    }
  });
}

// One step of `Rule` over flat memory: p and states s are read and written, g is read.
template <class Rule, class T>
void update_flat(const Rule& rule, T* p, const T* g, T* const* s, int64_t n) {
  using V = lanes<T>;
  const typename Rule::template Constants<V> c(rule);
  int64_t i = 0;
  for (; i + V::kSize <= n; i += V::kSize) {
    V states[kMaxStates];
    for (int k = 0; k < Rule::kStates; ++k) states[k] = rule.uses(k) ? load_lanes(s[k] + i) : V(0.0);
    V x = load_lanes(p + i);
    c.apply(x, load_lanes(g + i), states);
    store_lanes(p + i, x);
    for (int k = 0; k < Rule::kStates; ++k)
      if (rule.uses(k)) store_lanes(s[k] + i, states[k]);
  }
  if (i < n) {
    const int m = static_cast<int>(n - i);
    V states[kMaxStates];
    for (int k = 0; k < Rule::kStates; ++k) states[k] = rule.uses(k) ? load_lanes(s[k] + i, m) : V(0.0);
    V x = load_lanes(p + i, m);
    c.apply(x, load_lanes(g + i, m), states);
    store_lanes(p + i, x, m);
    for (int k = 0; k < Rule::kStates; ++k)
      if (rule.uses(k)) store_lanes(s[k] + i, states[k], m);
  }
}

// The same over elements [begin, end) in row-major order of differently laid out tensors, through small buffers.
template <class Rule, class T>
void update_strided(const Rule& rule, const TensorView& p, const TensorView& g, const TensorView* const* s,
                    int64_t begin, int64_t end) {
  constexpr int64_t kBuffer = 128;
  T x[kBuffer], y[kBuffer], z[kMaxStates][kBuffer];
  T* states[kMaxStates] = {z[0], z[1], z[2], z[3]};
  for (int64_t i = begin; i < end; i += kBuffer) {
    const int64_t m = end - i < kBuffer ? end - i : kBuffer;
    for (int64_t k = 0; k < m; ++k) {
      x[k] = p.ptr<T>()[logical_offset(p, i + k)];
      y[k] = g.ptr<T>()[logical_offset(g, i + k)];
      for (int j = 0; j < Rule::kStates; ++j)
        if (rule.uses(j)) z[j][k] = s[j]->ptr<T>()[logical_offset(*s[j], i + k)];
    }
    update_flat<Rule, T>(rule, x, y, states, m);
    for (int64_t k = 0; k < m; ++k) {
      p.ptr<T>()[logical_offset(p, i + k)] = x[k];
      for (int j = 0; j < Rule::kStates; ++j)
        if (rule.uses(j)) s[j]->ptr<T>()[logical_offset(*s[j], i + k)] = z[j][k];
    }
  }
}

// Runs a rule of tensor/optim_rules.h: Note [Update rules].
template <class Rule>
void run_rule(const KernelArgs& args) {
  const auto& a = args.attrs<OptimAttrs>();
  const int64_t n = a.count;
  const double* const hyper = args.in[0].ptr<double>();
  const TensorView *const params = args.in + 1, *const grads = params + n, *const steps = grads + n;
  const TensorView* const scalars = Rule::kHasStep ? steps + n : steps;
  const TensorView* const states = scalars + Rule::kScalars * n;
  ShortArray<Rule, 16> rules(n);
  for (int64_t i = 0; i < n; ++i) {
    double step = 0;
    if constexpr (Rule::kHasStep) {
      const Number number = number_of(steps[i]);
      number.set(step = number.get() + 1);
    }
    if (i > 0 && Rule::kScalars == 0 && step == rules[i - 1].step) {
      __builtin_memcpy(static_cast<void*>(&rules[i]), &rules[i - 1], sizeof(Rule));
      continue;
    }
    Number own[kMaxNumbers];
    for (int k = 0; k < Rule::kScalars; ++k) own[k] = number_of(scalars[k * n + i]);
    rules[i] = Rule(hyper, a.flags, step, own);
    rules[i].step = step;
  }
  for_each_piece(params, n, [&](int64_t i, int64_t begin, int64_t end) {
    const Rule& rule = rules[i];
    const TensorView& p = params[i];
    const TensorView* s[kMaxStates] = {};
    int slot = 0;  // absent states take no inputs
    bool flat = same_layout(p, grads[i]) && is_dense(p);
    for (int k = 0; k < Rule::kStates; ++k) {
      if (!rule.uses(k)) continue;
      s[k] = states + slot++ * n + i;
      flat = flat && same_layout(p, *s[k]);
    }
    dispatch_float(p.dtype, [&](auto tag) {
      using T = typename decltype(tag)::type;
      if (!flat) return update_strided<Rule, T>(rule, p, grads[i], s, begin, end);
      T* at[kMaxStates] = {};
      for (int k = 0; k < Rule::kStates; ++k)
        if (rule.uses(k)) at[k] = s[k]->ptr<T>() + begin;
      update_flat<Rule, T>(rule, p.ptr<T>() + begin, grads[i].ptr<T>() + begin, at, end - begin);
    });
  });
}

}  // namespace fireseed::cpu::FS_ISA

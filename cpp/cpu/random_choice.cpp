// Random kernels that choose: dropout with its mask, permutations, sampling from given weights.
#include "base/dtype.h"
#include "cpu/random_stream.h"
#include "tensor/attrs/random.h"

namespace fireseed::cpu::FS_ISA {

namespace {

template <class T>
FS_INLINE T scaled(T x, bool keep, compute_type<T> scale) {
  using C = compute_type<T>;
  return T(static_cast<C>(x) * (keep ? scale : C(0)));
}

// y = x * (keep ? scale : 0), so that NaN and infinities of dropped elements give NaN, as a product with noise does.
template <class T>
void dropout_words(const uint32_t* raw, const T* x, T* y, uint8_t* mask, int64_t n, uint64_t threshold,
                   compute_type<T> scale) {
  int64_t i = 0;
  if constexpr (!same_type<T, double>) {
    const VecF on(scale), off(0.0f);
    for (; i + VecU::kSize <= n; i += VecU::kSize) {
      const auto keep = below(raw + 2 * i, threshold);
      store_float(y + i, load_float(x + i) * where(mask_cast<float>(keep), on, off));
      store_bytes(mask + i, keep);
    }
  }
  for (; i < n; ++i) {
    const uint64_t u = static_cast<uint64_t>(Generator::temper(raw[2 * i])) << 32 | Generator::temper(raw[2 * i + 1]);
    mask[i] = (u & Generator::kMask53) < threshold;
    y[i] = scaled(x[i], mask[i], scale);
  }
}

// Offset of element `index` in row-major order.
FS_INLINE int64_t row_major_offset(const TensorView& v, int64_t index) {
  if (v.contiguous) return index;
  int64_t at = 0;
  for (int d = v.ndim - 1; d >= 0; --d) {
    at += index % v.sizes[d] * v.strides[d];
    index /= v.sizes[d];
  }
  return at;
}

// The noise's value for a kept element, rounded to T as PyTorch's noise tensor is.
template <class T>
compute_type<T> dropout_scale(double p) {
  using C = compute_type<T>;
  if (p >= 1) return C(0);
  return static_cast<C>(T(C(1) / static_cast<C>(1 - p)));
}

// Swaps of a Fisher-Yates shuffle: index i with i + word % (n - i).
template <class I>
void shuffle(I* p, int64_t n, Generator& generator) {
  for (int64_t i = 0; i < n; ++i) p[i] = static_cast<I>(i);
  constexpr int64_t kAhead = 16;
  // Serial on purpose: a swap depends on those before it. Only `draw`'s generation overlaps.
  draw(generator, n - 1, 1, n, [&](const uint32_t* raw, int64_t begin, int64_t count) {
    uint32_t z[kPiece + kAhead];
    for (int64_t b = 0; b < count; b += kPiece) {
      const int64_t m = count - b < kPiece ? count - b : kPiece, first = begin + b;
      for (int64_t k = 0; k < m; ++k) {  // below 2^32 the rounded quotient's floor is the quotient
        const uint32_t v = Generator::temper(raw[b + k]), d = static_cast<uint32_t>(n - first - k);
        const double v_double = v, d_double = d;
        const uint32_t q = static_cast<uint32_t>(v_double / d_double);
        z[k] = v - q * d + static_cast<uint32_t>(first + k);
      }
      for (int64_t k = m; k < m + kAhead; ++k) z[k] = z[m - 1];
      for (int64_t k = 0; k < m; ++k) {
        __builtin_prefetch(p + z[k + kAhead], 1);
        const I other = p[z[k]];
        p[z[k]] = p[first + k];
        p[first + k] = other;
      }
    }
  });
}

// Errors that a row of weights may hold, as bits.
constexpr int kNegative = 1, kNotFinite = 2, kZeroSum = 4;

// The first position of the largest of q[0 .. n), none of which is NaN: its value by registers, then a search.
template <class C>
int64_t position_of_largest(const C* q, int64_t n) {
  using V = Vec<C>;
  V most[4] = {V(q[0]), V(q[0]), V(q[0]), V(q[0])};
  int64_t i = 0;
  for (; i + 4 * V::kSize <= n; i += 4 * V::kSize)
    for (int j = 0; j < 4; ++j) most[j] = max(most[j], V::load(q + i + j * V::kSize));
  C best = reduce_max(max(max(most[0], most[1]), max(most[2], most[3])));
  for (; i < n; ++i) best = q[i] > best ? q[i] : best;
  for (i = 0; i + V::kSize <= n && !(V::load(q + i) == V(best)).any();) i += V::kSize;
  while (i < n - 1 && q[i] != best) ++i;
  return i;
}

// Positions of the k largest of q[0 .. n) into `index`, in descending order (first position wins a tie): a heap of
// the k best with the worst on top.
template <class C>
void largest(const C* q, int64_t n, int64_t k, int64_t* index) {
  auto worse = [q](int64_t a, int64_t b) { return q[a] < q[b] || (q[a] == q[b] && a > b); };  // a below b
  auto sift = [&](int64_t at, int64_t size) {
    while (true) {
      int64_t child = 2 * at + 1;
      if (child >= size) return;
      if (child + 1 < size && worse(index[child + 1], index[child])) ++child;
      if (!worse(index[child], index[at])) return;
      const int64_t t = index[at];
      index[at] = index[child];
      index[child] = t;
      at = child;
    }
  };
  for (int64_t i = 0; i < k; ++i) index[i] = i;
  for (int64_t i = k / 2 - 1; i >= 0; --i) sift(i, k);
  for (int64_t i = k; i < n; ++i) {
    if (!worse(index[0], i)) continue;
    index[0] = i;
    sift(0, k);
  }
  for (int64_t size = k; size > 1; --size) {
    const int64_t t = index[0];
    index[0] = index[size - 1];
    index[size - 1] = t;
    sift(0, size - 1);
  }
}

// Without replacement: the k largest of p / q with q exponential (Gumbel's trick without logarithms of p).
template <class T>
int sample_without(const TensorView& p, const TensorView& out, Generator& generator, int64_t k) {
  using C = compute_type<T>;
  const int64_t n = p.size(-1), rows = p.ndim > 1 ? p.sizes[0] : 1;
  const int64_t row_step = p.ndim > 1 ? p.strides[0] : 0, step = p.stride(-1);
  const T* const weights = p.ptr<T>();
  int errors = 0;
  parallel_for(rows, 1 + 16384 / n, [&](int64_t b, int64_t e) {
    int bad = 0;
    for (int64_t r = b; r < e; ++r) {
      int invalid = 0, positive = 0;  // a sum of numbers >= 0 is 0 where none is positive
      const T* const w = weights + r * row_step;
      auto look = [&](T weight) {
        const C x = static_cast<C>(weight);
        invalid |= !(x >= 0) | !(x < static_cast<C>(__builtin_inf()));
        positive |= x > 0;
      };
      if (step == 1) {
        for (int64_t i = 0; i < n; ++i) look(w[i]);
      } else {
        for (int64_t i = 0; i < n; ++i) look(w[i * step]);
      }
      bad |= (invalid ? kNotFinite : 0) | (positive ? 0 : kZeroSum);
    }
    if (bad) __atomic_fetch_or(&errors, bad, __ATOMIC_RELAXED);
  });
  if (errors) return errors;
  const StreamBuffer scores(static_cast<size_t>(rows * n) * sizeof(C));
  C* const s = scores.as<C>();
  draw(generator, rows * n, 2, kRandomChunk, [&](const uint32_t* raw, int64_t begin, int64_t count) {
    double u[kPiece];
    for (int64_t i = 0; i < count; i += kPiece) {
      const int64_t m = count - i < kPiece ? count - i : kPiece;
      uniforms53(raw + 2 * i, u, m);
      exponentials(u, m, -1.0);
      int64_t row = (begin + i) / n, column = (begin + i) % n;
      for (int64_t j = 0; j < m; ++j) {
        const C q = static_cast<C>(T(static_cast<C>(u[j])));
        s[begin + i + j] = static_cast<C>(T(static_cast<C>(weights[row * row_step + column * step]) / q));
        if (++column == n) {
          column = 0;
          ++row;
        }
      }
    }
  });
  int64_t* const result = out.ptr<int64_t>();
  parallel_for(rows, 1 + 16384 / n, [&](int64_t b, int64_t e) {
    for (int64_t r = b; r < e; ++r) {
      if (k == 1) result[r] = position_of_largest(s + r * n, n);
      else largest(s + r * n, n, k, result + r * k);
    }
  });
  return 0;
}

// With replacement: uniform doubles looked up in each row's cumulative weights, whose last entry is 1.
template <class T>
int sample_with(const TensorView& p, const TensorView& out, Generator& generator, int64_t k) {
  using C = compute_type<T>;
  const int64_t n = p.size(-1), rows = p.ndim > 1 ? p.sizes[0] : 1;
  const int64_t row_step = p.ndim > 1 ? p.strides[0] : 0, step = p.stride(-1);
  const T* const weights = p.ptr<T>();
  const StreamBuffer uniforms(static_cast<size_t>(rows * k) * sizeof(double));
  const StreamBuffer sums(static_cast<size_t>(rows * n) * sizeof(C));
  double* const u = uniforms.as<double>();
  int64_t* const result = out.ptr<int64_t>();
  int errors = 0;
  parallel_for(rows, 1 + 4096 / n, [&](int64_t b, int64_t e) {
    int bad = 0;
    for (int64_t r = b; r < e; ++r) {
      C* const c = sums.as<C>() + r * n;
      C sum = 0;
      for (int64_t i = 0; i < n; ++i) {
        const C w = static_cast<C>(weights[r * row_step + i * step]);
        if (!(w >= 0)) bad |= kNegative;
        else if (!(w < __builtin_inf())) bad |= kNotFinite;
        c[i] = sum += w;
      }
      if (!(sum > 0)) bad |= kZeroSum;
      for (int64_t i = 0; i < n; ++i) c[i] /= sum;
      c[n - 1] = 1;
    }
    if (bad) __atomic_fetch_or(&errors, bad, __ATOMIC_RELAXED);
  });
  if (errors) return errors;
  draw(generator, rows * k, 2, kRandomChunk,
       [&](const uint32_t* raw, int64_t begin, int64_t count) { uniforms53(raw, u + begin, count); });
  parallel_for(rows * k, 2048, [&](int64_t b, int64_t e) {
    for (int64_t i = b; i < e; ++i) {
      const C* const c = sums.as<C>() + i / k * n;
      int64_t left = 0, right = n;
      while (left < right) {
        const int64_t middle = left + (right - left) / 2;
        if (static_cast<double>(c[middle]) < u[i]) left = middle + 1;
        else right = middle;
      }
      result[i] = left;
    }
  });
  return 0;
}

}  // namespace

// dropout(x) -> y, mask: y = x * mask / (1 - p); mask (bool, x's sizes) is 1 with probability 1 - p. Elements are
// drawn in x's logical order, so that the memory layout chosen for an activation does not change the numbers.
void dropout(const KernelArgs& args) {
  const auto& a = args.attrs<DropoutAttrs>();
  const TensorView &x = args.in[0], &y = args.out[0], &mask = args.out[1];
  const uint64_t threshold = static_cast<uint64_t>(__builtin_ceil((1 - a.p) * 0x1p53));
  const bool flat = x.contiguous && y.contiguous && mask.contiguous;
  const GeneratorGuard guard(*a.generator);
  Generator nothing(0);  // p = 1 keeps nothing and draws nothing
  dispatch_float(x.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto scale = dropout_scale<T>(a.p);
    draw(a.p < 1 ? *a.generator : nothing, x.numel, 2, kRandomChunk,
         [&](const uint32_t* raw, int64_t begin, int64_t n) {
           const T* const from = x.ptr<T>();
           T* const to = y.ptr<T>();
           uint8_t* const bits = mask.ptr<uint8_t>();
           if (flat) return dropout_words(raw, from + begin, to + begin, bits + begin, n, threshold, scale);
           T piece[kPiece];
           uint8_t piece_bits[kPiece];
           for (int64_t i = 0; i < n; i += kPiece) {
             const int64_t m = n - i < kPiece ? n - i : kPiece;
             for (int64_t k = 0; k < m; ++k) piece[k] = from[row_major_offset(x, begin + i + k)];
             dropout_words(raw + 2 * i, piece, piece, piece_bits, m, threshold, scale);
             for (int64_t k = 0; k < m; ++k) {
               to[row_major_offset(y, begin + i + k)] = piece[k];
               bits[row_major_offset(mask, begin + i + k)] = piece_bits[k];
             }
           }
         });
  });
}

// dropout_backward(g, mask) -> gx = g * mask / (1 - p).
void dropout_backward(const KernelArgs& args) {
  const auto& a = args.attrs<DropoutBackwardAttrs>();
  const TensorView &g = args.in[0], &mask = args.in[1], &gx = args.out[0];
  const bool flat = g.contiguous && mask.contiguous && gx.contiguous;
  dispatch_float(g.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto scale = dropout_scale<T>(a.p);
    parallel_for(g.numel, 16384, [&](int64_t b, int64_t e) {
      const T* const from = g.ptr<T>();
      T* const to = gx.ptr<T>();
      const uint8_t* const bits = mask.ptr<uint8_t>();
      if (flat) {
        for (int64_t i = b; i < e; ++i) to[i] = scaled(from[i], bits[i], scale);
      } else {
        for (int64_t i = b; i < e; ++i)
          to[row_major_offset(gx, i)] = scaled(from[row_major_offset(g, i)], bits[row_major_offset(mask, i)], scale);
      }
    });
  });
}

// randperm(self: n elements) -> out: a uniformly random permutation of 0 … n - 1.
void randperm(const KernelArgs& args) {
  const auto& a = args.attrs<GeneratorAttrs>();
  const TensorView& out = args.out[0];
  const int64_t n = out.numel, step = out.ndim > 0 ? out.strides[0] : 1;
  constexpr int64_t kFew = 0xffffffff / 20;  // below, one word is enough for a fair choice
  const GeneratorGuard guard(*a.generator);
  dispatch_all(out.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    T* const data = out.ptr<T>();
    const auto as_t = [](int64_t v) {
      if constexpr (sizeof(T) == 2 && !same_type<T, int16_t>) return T(static_cast<float>(v));
      else return static_cast<T>(v);
    };
    if (n < kFew) {
      if constexpr (same_type<T, int32_t>) {
        if (step == 1) return shuffle(data, n, *a.generator);
      }
      const StreamBuffer buffer(static_cast<size_t>(n) * sizeof(int32_t));
      int32_t* const p = buffer.as<int32_t>();
      shuffle(p, n, *a.generator);
      parallel_for(n, 32768, [&](int64_t b, int64_t e) {
        for (int64_t i = b; i < e; ++i) data[i * step] = as_t(p[i]);
      });
      return;
    }
    draw(*a.generator, n, 2, n, [&](const uint32_t* raw, int64_t begin, int64_t count) {
      for (int64_t k = 0; k < count; ++k) {
        const uint64_t word =
            static_cast<uint64_t>(Generator::temper(raw[2 * k])) << 32 | Generator::temper(raw[2 * k + 1]);
        const int64_t i = begin + k, z = static_cast<int64_t>(word % static_cast<uint64_t>(i + 1));
        data[i * step] = as_t(i);
        data[i * step] = data[z * step];
        data[z * step] = as_t(i);
      }
    });
  });
}

// multinomial(p: (n) or (rows, n)) -> out (k) or (rows, k), int64: positions drawn with probabilities p / sum(p).
void multinomial(const KernelArgs& args) {
  const auto& a = args.attrs<MultinomialAttrs>();
  const TensorView &p = args.in[0], &out = args.out[0];
  if (out.numel == 0) return;
  const bool replacement = a.replacement && a.num_samples > 1;  // one sample: both are the same question
  int errors = 0;
  {
    const GeneratorGuard guard(*a.generator);
    dispatch_float(p.dtype, [&](auto tag) {
      using T = typename decltype(tag)::type;
      errors = replacement ? sample_with<T>(p, out, *a.generator, a.num_samples)
                           : sample_without<T>(p, out, *a.generator, a.num_samples);
    });
  }
  if (!replacement) {
    FS_CHECK(!(errors & kNotFinite), "probability tensor contains either `inf`, `nan` or element < 0");
    FS_CHECK(!(errors & kZeroSum), "invalid multinomial distribution (sum of probabilities <= 0)");
    return;
  }
  FS_CHECK(!(errors & kNegative), "invalid multinomial distribution (encountering probability entry < 0)");
  FS_CHECK(!(errors & kNotFinite),
           "invalid multinomial distribution (encountering probability entry = infinity or NaN)");
  FS_CHECK(!(errors & kZeroSum), "invalid multinomial distribution (sum of probabilities <= 0)");
}

}  // namespace fireseed::cpu::FS_ISA

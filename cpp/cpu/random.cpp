// Kernels that fill a tensor from one distribution: uniform, normal, integers, Bernoulli, exponential and the rest.
#include "base/dtype.h"
#include "cpu/random_normal.h"
#include "cpu/random_stream.h"
#include "tensor/attrs/random.h"

namespace fireseed::cpu::FS_ISA {

namespace {

// n doubles in [0, 1) from 2 * n raw words, transformed by f and stored as T, through a small local buffer.
template <class T, class F>
void transform_doubles(const uint32_t* raw, T* dst, int64_t n, F&& f) {
  double u[kPiece];
  for (int64_t i = 0; i < n; i += kPiece) {
    const int64_t m = n - i < kPiece ? n - i : kPiece;
    uniforms53(raw + 2 * i, u, m);
    for (int64_t k = 0; k < m; ++k) u[k] = f(u[k]);
    store_doubles(dst + i, u, m);
  }
}

// T in [from, to) from one word each, in single precision; rounding up to `to` gives `from`.
template <class T>
void uniform_words(const uint32_t* raw, T* dst, int64_t n, float from, float to) {
  const bool plain = from == 0 && to == 1 && sizeof(T) == 4;
  const VecF width(to - from), low(from);
  const float to_t = static_cast<float>(T(to)), from_t = static_cast<float>(T(from));
  int64_t i = 0;
  for (; i < n; i += VecF::kSize) {
    const int m = n - i < VecF::kSize ? static_cast<int>(n - i) : VecF::kSize;
    const VecU words = m == VecF::kSize ? VecU::load(raw + i) : VecU::load(raw + i, m);
    VecF x = uniform24(words);
    if (!plain) {
      x = fma(x, width, low);
      if constexpr (sizeof(T) == 2) {
        T rounded[VecF::kSize];
        store_float(rounded, x);
        x = load_float(rounded);
      }
      x = where(x == VecF(to_t), VecF(from_t), x);
    }
    if (m == VecF::kSize) store_float(dst + i, x);
    else store_float(dst + i, x, m);
  }
}
void uniform_words(const uint32_t* raw, double* dst, int64_t n, double from, double to) {
  const VecD width(to - from), low(from), high(to);
  for (int64_t i = 0; i < n; i += VecD::kSize) {
    const int m = n - i < VecD::kSize ? static_cast<int>(n - i) : VecD::kSize;
    const VecU words = m == VecD::kSize ? VecU::load(raw + 2 * i) : VecU::load(raw + 2 * i, 2 * m);
    VecD x = fma(uniform53(words), width, low);
    x = where(x == high, low, x);
    if (m == VecD::kSize) x.store(dst + i);
    else x.store(dst + i, m);
  }
}

// Samples in blocks of 16 for a contiguous tensor of at least 16 elements. A last partial block spends its words
// all the same (float, double; halves skip them), then the last 16 elements are drawn anew.
template <class T>
void normal_contiguous(const TensorView& out, Generator& generator, double mean, double std) {
  using C = compute_type<T>;
  constexpr int kWords = sizeof(C) / 4;
  T* const data = out.ptr<T>();
  const int64_t n = out.numel, blocks = n / 16, rest = n % 16;
  const C mu = static_cast<C>(mean), sigma = static_cast<C>(std);
  auto fill = [&](const uint32_t* raw, T* dst, int64_t count) {
    if constexpr (same_type<T, C>) {
      normal_blocks(raw, dst, count, mu, sigma);
    } else {
      for (int64_t i = 0; i < count; ++i) {
        float block[16];
        normal_blocks(raw + 16 * i, block, 1, mu, sigma);
        for (int j = 0; j < 16; j += VecF::kSize) store_float(dst + 16 * i + j, VecF::load(block + j));
      }
    }
  };
  const GeneratorGuard guard(generator);
  draw(generator, blocks, 16 * kWords, kRandomChunk / 16,
       [&](const uint32_t* raw, int64_t begin, int64_t count) { fill(raw, data + 16 * begin, count); });
  if (rest == 0) return;
  if (same_type<T, C>) draw(generator, rest, kWords, kRandomChunk, [](const uint32_t*, int64_t, int64_t) {});
  draw(generator, 1, 16 * kWords, 1, [&](const uint32_t* raw, int64_t, int64_t) { fill(raw, data + n - 16, 1); });
}

// One double precision sample after another, in memory order.
template <class T, class F>
void normal_serial(const TensorView& out, Generator& generator, F&& f) {
  const GeneratorGuard guard(generator);
  const MemoryOrder order(out);
  T* const data = out.ptr<T>();
  for (int64_t i = 0; i < out.numel; ++i) {
    const double x = f(generator.normal());
    store_doubles(data + (order.dense ? i : order.offset(i)), &x, 1);
  }
}

template <class T>
void random_int_words(const uint32_t* raw, T* dst, int64_t n, const RandomIntAttrs& a) {
  uint32_t words[2 * kPiece];
  const int64_t per = a.wide ? 2 : 1;
  const uint32_t range = static_cast<uint32_t>(a.range);
  // floor(word * inverse / 2^32) is the quotient or one less.
  const uint32_t inverse = a.wide ? 0 : static_cast<uint32_t>(range <= 1 ? 0xffffffffu : (uint64_t{1} << 32) / range);
  const uint64_t base = static_cast<uint64_t>(a.base);
  for (int64_t i = 0; i < n; i += kPiece) {
    const int64_t m = n - i < kPiece ? n - i : kPiece;
    for (int64_t k = 0; k < m * per; ++k) words[k] = Generator::temper(raw[i * per + k]);
    T* const d = dst + i;
    auto put = [&](int64_t k, uint64_t v) {
      if constexpr (same_type<T, float16> || same_type<T, bfloat16>)
        d[k] = T(static_cast<float>(static_cast<int64_t>(v)));
      else d[k] = static_cast<T>(static_cast<int64_t>(v));
    };
    if (!a.wide) {
      for (int64_t k = 0; k < m; ++k) {
        const uint32_t q = static_cast<uint32_t>((static_cast<uint64_t>(words[k]) * inverse) >> 32);
        const uint32_t r = words[k] - q * range, s = r - range;
        put(k, (r < s ? r : s) + base);
      }
    } else if ((a.range & (a.range - 1)) == 0) {  // a power of two, or 0 for 2^64
      for (int64_t k = 0; k < m; ++k) {
        const uint64_t v = static_cast<uint64_t>(words[2 * k]) << 32 | words[2 * k + 1];
        put(k, (v & (a.range - 1)) + base);
      }
    } else {
      for (int64_t k = 0; k < m; ++k) {
        const uint64_t v = static_cast<uint64_t>(words[2 * k]) << 32 | words[2 * k + 1];
        put(k, v % a.range + base);
      }
    }
  }
}

// 1 where a 53-bit uniform of two words is below p, else 0: u < p * 2^53 on integers.
template <class T>
void bernoulli_words(const uint32_t* raw, T* dst, int64_t n, uint64_t threshold) {
  const T one = T(1.0f), zero = T(0.0f);
  int64_t i = 0;
  for (; i + VecU::kSize <= n; i += VecU::kSize) {
    const auto hit = below(raw + 2 * i, threshold);
    if constexpr (same_type<T, float>) {
      where(mask_cast<float>(hit), VecF(1.0f), VecF(0.0f)).store(dst + i);
    } else if constexpr (sizeof(T) == 1) {
      store_bytes(reinterpret_cast<uint8_t*>(dst + i), hit);
    } else {
      uint8_t bytes[VecU::kSize];
      store_bytes(bytes, hit);
      for (int k = 0; k < VecU::kSize; ++k) dst[i + k] = bytes[k] ? one : zero;
    }
  }
  for (; i < n; ++i) {
    const uint64_t u = static_cast<uint64_t>(Generator::temper(raw[2 * i])) << 32 | Generator::temper(raw[2 * i + 1]);
    dst[i] = (u & Generator::kMask53) < threshold ? one : zero;
  }
}

// Offsets of two views' elements in the memory order of the first one.
struct PairOrder {
  bool flat;
  int rank = 0;
  int64_t sizes[kMaxRank], first[kMaxRank], second[kMaxRank];

  PairOrder(const TensorView& a, const TensorView& b) : flat(a.contiguous && b.contiguous) {
    for (int i = 0; i < a.ndim; ++i) {
      if (a.sizes[i] == 1) continue;
      int at = rank++;
      for (; at > 0 && first[at - 1] < a.strides[i]; --at) {
        sizes[at] = sizes[at - 1];
        first[at] = first[at - 1];
        second[at] = second[at - 1];
      }
      sizes[at] = a.sizes[i];
      first[at] = a.strides[i];
      second[at] = b.strides[i];
    }
  }
  void offsets(int64_t index, int64_t* of_first, int64_t* of_second) const {
    int64_t x = 0, y = 0;
    for (int d = rank - 1; d >= 0; --d) {
      const int64_t j = index % sizes[d];
      x += j * first[d];
      y += j * second[d];
      index /= sizes[d];
    }
    *of_first = x;
    *of_second = y;
  }
};

// 1 where a uniform (24 bits for C = float, else 53) is below the element's probability. Returns whether some
// probability was outside [0, 1].
template <class C, class T>
bool below_probabilities(const uint32_t* raw, const C* p, T* dst, int64_t n) {
  C u[kPiece];
  if constexpr (same_type<C, float>) {
    for (int64_t k = 0; k < n; ++k)
      u[k] = static_cast<float>(static_cast<int32_t>(Generator::temper(raw[k]) & Generator::kMask24)) * 0x1p-24f;
  } else {
    uniforms53(raw, u, n);
  }
  int bad = 0;
  for (int64_t k = 0; k < n; ++k) bad |= !(p[k] >= 0) | !(p[k] <= 1);
  const T one = T(1.0f), zero = T(0.0f);
  for (int64_t k = 0; k < n; ++k) dst[k] = u[k] < p[k] ? one : zero;
  return bad != 0;
}

}  // namespace

// uniform(self) -> out of self's shape: from + u * (to - from), u uniform in [0, 1) with 24 or (float64) 53 bits.
void uniform(const KernelArgs& args) {
  const auto& a = args.attrs<UniformAttrs>();
  const TensorView& out = args.out[0];
  dispatch_float(out.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_type<T>;
    const C from = static_cast<C>(a.from), to = static_cast<C>(a.to);
    fill_stream<T>(out, *a.generator, sizeof(C) / 4,
                   [&](const uint32_t* raw, T* dst, int64_t n) { uniform_words(raw, dst, n, from, to); });
  });
}

// normal(self) -> out: mean + std * Box-Muller.
void normal(const KernelArgs& args) {
  const auto& a = args.attrs<NormalAttrs>();
  const TensorView& out = args.out[0];
  dispatch_float(out.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    if (out.contiguous && out.numel >= 16) return normal_contiguous<T>(out, *a.generator, a.mean, a.std);
    normal_serial<T>(out, *a.generator, [&](double x) { return __builtin_fma(x, a.std, a.mean); });
  });
}

// log_normal(self) -> out: exp(mean + std * normal).
void log_normal(const KernelArgs& args) {
  const auto& a = args.attrs<NormalAttrs>();
  dispatch_float(args.out[0].dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    normal_serial<T>(args.out[0], *a.generator,
                     [&](double x) { return __builtin_exp(__builtin_fma(x, a.std, a.mean)); });
  });
}

// random_int(self) -> out: word % range + base.
void random_int(const KernelArgs& args) {
  const auto& a = args.attrs<RandomIntAttrs>();
  dispatch_all(args.out[0].dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    fill_stream<T>(args.out[0], *a.generator, a.wide ? 2 : 1,
                   [&](const uint32_t* raw, T* dst, int64_t n) { random_int_words(raw, dst, n, a); });
  });
}

// bernoulli(self) -> out: 1 with probability p, else 0.
void bernoulli(const KernelArgs& args) {
  const auto& a = args.attrs<BernoulliAttrs>();
  const uint64_t threshold = static_cast<uint64_t>(__builtin_ceil(a.p * 0x1p53));
  dispatch_all(args.out[0].dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    fill_stream<T>(args.out[0], *a.generator, 2,
                   [&](const uint32_t* raw, T* dst, int64_t n) { bernoulli_words(raw, dst, n, threshold); });
  });
}

// bernoulli_tensor(self, p) -> out: 1 with the element's own probability; p has out's sizes. One word an element
// (24 bits) where p is not float64.
void bernoulli_tensor(const KernelArgs& args) {
  const auto& a = args.attrs<GeneratorAttrs>();
  const TensorView &p = args.in[args.num_in - 1], &out = args.out[0];
  const PairOrder order(out, p);
  const GeneratorGuard guard(*a.generator);
  int bad = 0;
  dispatch_float(p.dtype, [&](auto p_tag) {
    using P = typename decltype(p_tag)::type;
    using C = compute_type<P>;
    dispatch_all(out.dtype, [&](auto tag) {
      using T = typename decltype(tag)::type;
      T* const data = out.ptr<T>();
      const P* const given = p.ptr<P>();
      constexpr int kWords = sizeof(C) / 4;
      draw(*a.generator, out.numel, kWords, kRandomChunk, [&](const uint32_t* raw, int64_t begin, int64_t n) {
        C probability[kPiece];
        T piece[kPiece];
        int64_t at[kPiece], p_at;
        for (int64_t i = 0; i < n; i += kPiece) {
          const int64_t m = n - i < kPiece ? n - i : kPiece;
          if (order.flat) {
            for (int64_t k = 0; k < m; ++k) probability[k] = static_cast<C>(given[begin + i + k]);
            if (below_probabilities(raw + i * kWords, probability, data + begin + i, m))
              __atomic_store_n(&bad, 1, __ATOMIC_RELAXED);
            continue;
          }
          for (int64_t k = 0; k < m; ++k) {
            order.offsets(begin + i + k, &at[k], &p_at);
            probability[k] = static_cast<C>(given[p_at]);
          }
          if (below_probabilities(raw + i * kWords, probability, piece, m))
            __atomic_store_n(&bad, 1, __ATOMIC_RELAXED);
          for (int64_t k = 0; k < m; ++k) data[at[k]] = piece[k];
        }
      });
    });
  });
  FS_CHECK(!bad, "bernoulli: expected every probability to be in [0, 1]");
}

// exponential(self) -> out: -log(1 - u) / lambda.
void exponential(const KernelArgs& args) {
  const auto& a = args.attrs<ExponentialAttrs>();
  const double scale = -1.0 / a.lambda;
  dispatch_float(args.out[0].dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    fill_stream<T>(args.out[0], *a.generator, 2, [&](const uint32_t* raw, T* dst, int64_t n) {
      if constexpr (same_type<T, double>) {
        transform_doubles(raw, dst, n, [&](double u) { return scale * __builtin_log1p(-u); });
      } else {
        double u[kPiece];
        for (int64_t i = 0; i < n; i += kPiece) {
          const int64_t m = n - i < kPiece ? n - i : kPiece;
          uniforms53(raw + 2 * i, u, m);
          exponentials(u, m, scale);
          store_doubles(dst + i, u, m);
        }
      }
    });
  });
}

// geometric(self) -> out: ceil(log(u) / log(1 - p)), the trials up to the first success.
void geometric(const KernelArgs& args) {
  const auto& a = args.attrs<BernoulliAttrs>();
  const double log_q = __builtin_log1p(-a.p);
  dispatch_all(args.out[0].dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    fill_stream<T>(args.out[0], *a.generator, 2, [&](const uint32_t* raw, T* dst, int64_t n) {
      transform_doubles(raw, dst, n, [&](double u) { return __builtin_ceil(__builtin_log(u) / log_q); });
    });
  });
}

// cauchy(self) -> out: median + sigma * tan(pi * (u - 1/2)).
void cauchy(const KernelArgs& args) {
  const auto& a = args.attrs<CauchyAttrs>();
  dispatch_float(args.out[0].dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    fill_stream<T>(args.out[0], *a.generator, 2, [&](const uint32_t* raw, T* dst, int64_t n) {
      transform_doubles(raw, dst, n, [&](double u) {
        return a.median + a.sigma * __builtin_tan(3.14159265358979323846 * (u - 0.5));
      });
    });
  });
}

}  // namespace fireseed::cpu::FS_ISA

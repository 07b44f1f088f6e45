// mt19937 by the register: blocks of raw words, and their delivery to kernels in stream order.
#pragma once

#include "base/parallel.h"
#include "cpu/vec.h"
#include "math/random.h"
#include "tensor/allocator.h"
#include "tensor/view.h"

namespace fireseed::cpu::FS_ISA {

using VecU = Vec<uint32_t>;
using VecU64 = Vec<uint64_t>;

FS_INLINE VecU temper(VecU y) {
  y = y ^ (y >> 11);
  y = y ^ ((y << 7) & VecU(0x9d2c5680u));
  y = y ^ ((y << 15) & VecU(0xefc60000u));
  return y ^ (y >> 18);
}

// Note [Linear recurrence]
// Written as one long sequence, mt19937 is w[i + 624] = twist(w[i], w[i + 1], w[i + 397]): nothing wraps round, and
// the nearest word it needs lies 227 back, so registers of up to 16 words advance it with plain unaligned loads.
// w[0 .. 624) is a block of the generator; `blocks` further ones are appended.
inline void advance(uint32_t* w, int64_t blocks) {
  const int64_t n = blocks * Generator::kWords;
  const VecU high(0x80000000u), low(0x7fffffffu), one(1u), matrix(0x9908b0dfu), zero(0u);
#pragma GCC unroll 4
  for (int64_t i = 0; i < n; i += VecU::kSize) {
    const VecU u = VecU::load(w + i), v = VecU::load(w + i + 1), m = VecU::load(w + i + Generator::kOffset);
    const VecU y = (u & high) | (v & low);
    const VecU a = (zero - (v & one)) & matrix;
    (m ^ (y >> 1) ^ a).store(w + i + Generator::kWords);
  }
}

// A pair of words as PyTorch reads 64 bits: the first word is the high half.
FS_INLINE VecU64 join_words(VecU w) {
  const VecU64 x = bit_cast_to<uint64_t>(w);
  return (x << 32) | (x >> 32);
}
// Integers below 2^53 as doubles, by their halves in the mantissas of 2^52 and 2^84.
FS_INLINE VecD to_double53(VecU64 x) {
  const VecD low = bit_cast_to<double>((x & VecU64(0xffffffffu)) | VecU64(0x4330000000000000u)) - VecD(0x1p52);
  const VecD high = bit_cast_to<double>((x >> 32) | VecU64(0x4530000000000000u)) - VecD(0x1p84);
  return high + low;
}
// Uniforms in [0, 1): 24 bits of a word, 53 bits of a pair of words (raw words given).
FS_INLINE VecF uniform24(VecU raw) {
  return convert<float>(bit_cast_to<int32_t>(temper(raw) & VecU(Generator::kMask24))) * VecF(0x1p-24f);
}
FS_INLINE VecD uniform53(VecU raw) {
  return to_double53(join_words(temper(raw)) & VecU64(Generator::kMask53)) * VecD(0x1p-53);
}

// The first words of kSize consecutive pairs, and the second ones.
FS_INLINE void split_pairs(const uint32_t* raw, VecU* first, VecU* second) {
  const VecU a = VecU::load(raw), b = VecU::load(raw + VecU::kSize);
  using N = native_t<uint32_t>;
  N even, odd;
  for (int i = 0; i < VecU::kSize; ++i) {
    even[i] = static_cast<uint32_t>(2 * i);
    odd[i] = static_cast<uint32_t>(2 * i + 1);
  }
  *first = VecU((N)__builtin_shuffle(a.v, b.v, even));
  *second = VecU((N)__builtin_shuffle(a.v, b.v, odd));
}

// Lanes whose 53-bit uniform (high 21 bits from the first word of a pair) is below `threshold`.
FS_INLINE Mask<uint32_t> below(const uint32_t* raw, uint64_t threshold) {
  const VecU top(static_cast<uint32_t>(threshold >> 32)), rest(static_cast<uint32_t>(threshold));
  VecU first, second;
  split_pairs(raw, &first, &second);
  first = temper(first) & VecU(0x1fffffu);
  const auto tie = first == top;
  auto less = first < top;
  if (__builtin_expect(tie.any(), 0)) less = less | (tie & (temper(second) < rest));
  return less;
}

// The lanes of a mask as bytes 0 and 1.
FS_INLINE void store_bytes(uint8_t* p, Mask<uint32_t> m) {
#if defined(__AVX512F__)
  const __m128i bytes = _mm_maskz_set1_epi8(m.m, 1);
  __builtin_memcpy(p, &bytes, 16);
#else
  typedef uint8_t Bytes __attribute__((vector_size(VecU::kSize)));
  const Bytes bytes = __builtin_convertvector((native_t<uint32_t>)m.m & 1u, Bytes);
  __builtin_memcpy(p, &bytes, sizeof bytes);
#endif
}

// Uniform doubles of n pairs of raw words.
inline void uniforms53(const uint32_t* raw, double* out, int64_t n) {
  int64_t i = 0;
  for (; i + VecD::kSize <= n; i += VecD::kSize) uniform53(VecU::load(raw + 2 * i)).store(out + i);
  if (i < n) {
    const int m = static_cast<int>(n - i);
    uniform53(VecU::load(raw + 2 * i, 2 * m)).store(out + i, m);
  }
}

// Bytes for the length of a scope.
class StreamBuffer {
 public:
  explicit StreamBuffer(size_t bytes) : bytes_(bytes), data_(allocate_bytes(bytes)) {}
  ~StreamBuffer() { free_bytes(data_, bytes_); }
  StreamBuffer(const StreamBuffer&) = delete;
  StreamBuffer& operator=(const StreamBuffer&) = delete;
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  size_t bytes_;
  void* data_;
};

// Calls f(raw, begin, n) over the elements [0, count) in pieces of at most `chunk`, on any thread: raw points to the
// first of `words` * n raw words of elements begin … begin + n - 1. The generator ends where drawing one element
// after another would have left it. While one buffer is turned into elements, the next one is generated.
template <class F>
void draw(Generator& generator, int64_t count, int words, int64_t chunk, F&& f) {
  constexpr int64_t kBlock = Generator::kWords, kBlocks = 312;  // 760 KiB a buffer: few meetings of threads
  constexpr int64_t kBufferWords = (kBlocks + 1) * kBlock;
  if (count <= 0) return;
  int64_t used = generator.used();
  if (used + count * words <= kBlock) {
    for (int64_t b = 0; b < count; b += chunk)
      f(static_cast<const uint32_t*>(generator.words()) + used + b * words, b, count - b < chunk ? count - b : chunk);
    generator.set_used(static_cast<int>(used + count * words));
    return;
  }
  const int64_t most = kBlocks * kBlock / words;  // elements a buffer holds
  const bool one_buffer = count <= most;
  const int64_t words_here = one_buffer ? (count * words / kBlock + 3) * kBlock : kBufferWords;
  const StreamBuffer memory(static_cast<size_t>((one_buffer ? 1 : 2) * words_here) * sizeof(uint32_t));
  uint32_t* current = memory.as<uint32_t>();
  uint32_t* next = current + (one_buffer ? 0 : words_here);
  __builtin_memcpy(current, generator.words(), sizeof(uint32_t) * kBlock);

  int64_t done = 0, n = count < most ? count : most;
  int64_t blocks = (used + n * words + kBlock - 1) / kBlock - 1;
  advance(current, blocks);
  while (true) {
    const int64_t left = count - done - n;
    const int64_t next_used = used + n * words - blocks * kBlock;  // 1 … 624
    const int64_t next_n = left < most ? left : most;
    const int64_t next_blocks = next_n > 0 ? (next_used + next_n * words + kBlock - 1) / kBlock - 1 : 0;
    const int64_t pieces = (n + chunk - 1) / chunk;
    auto turn = [&](int64_t piece) {
      const int64_t b = piece * chunk;
      f(static_cast<const uint32_t*>(current) + used + b * words, done + b, n - b < chunk ? n - b : chunk);
    };
    if (next_n == 0) {
      parallel_for(pieces, 1, [&](int64_t b, int64_t e) {
        for (int64_t i = b; i < e; ++i) turn(i);
      });
      __builtin_memcpy(generator.words(), current + blocks * kBlock, sizeof(uint32_t) * kBlock);
      generator.set_used(static_cast<int>(next_used));
      return;
    }
    __builtin_memcpy(next, current + blocks * kBlock, sizeof(uint32_t) * kBlock);
    parallel_for(pieces + 1, 1, [&](int64_t b, int64_t e) {
      for (int64_t i = b; i < e; ++i) {
        if (i == 0) advance(next, next_blocks);
        else turn(i - 1);
      }
    });
    uint32_t* const swap = current;
    current = next;
    next = swap;
    done += n;
    n = next_n;
    used = next_used;
    blocks = next_blocks;
  }
}

// The elements of a view in memory order (largest stride outermost), which is the order of the stream.
struct MemoryOrder {
  bool dense = true;  // the elements fill an interval of memory
  int rank = 0;
  int64_t sizes[kMaxRank], strides[kMaxRank];

  explicit MemoryOrder(const TensorView& v) {
    if (v.contiguous) return;
    for (int i = 0; i < v.ndim; ++i) {
      if (v.sizes[i] == 1) continue;
      int at = rank++;
      for (; at > 0 && strides[at - 1] < v.strides[i]; --at) {
        sizes[at] = sizes[at - 1];
        strides[at] = strides[at - 1];
      }
      sizes[at] = v.sizes[i];
      strides[at] = v.strides[i];
    }
    int64_t step = 1;
    for (int i = rank - 1; i >= 0; --i) {
      dense = dense && strides[i] == step;
      step *= sizes[i];
    }
  }
  // Offset of element `index` of this order.
  int64_t offset(int64_t index) const {
    int64_t at = 0;
    for (int i = rank - 1; i >= 0; --i) {
      at += index % sizes[i] * strides[i];
      index /= sizes[i];
    }
    return at;
  }
};

inline constexpr int64_t kRandomChunk = 8192;  // elements a parallel piece
inline constexpr int64_t kPiece = 256;         // elements of a small local buffer

// Fills `out` in memory order: f(raw, dst, n) turns n * words raw words into n contiguous elements.
template <class T, class F>
void fill_stream(const TensorView& out, Generator& generator, int words, F&& f) {
  const GeneratorGuard guard(generator);
  const MemoryOrder order(out);
  T* const data = out.ptr<T>();
  draw(generator, out.numel, words, kRandomChunk, [&](const uint32_t* raw, int64_t begin, int64_t n) {
    if (order.dense) return f(raw, data + begin, n);
    T piece[kPiece];
    for (int64_t i = 0; i < n; i += kPiece) {
      const int64_t m = n - i < kPiece ? n - i : kPiece;
      f(raw + i * words, piece, m);
      for (int64_t k = 0; k < m; ++k) data[order.offset(begin + i + k)] = piece[k];
    }
  });
}

// log(x) of normal x > 0 (fdlibm's e_log: x = 2^k (1 + f), s = f / (2 + f), polynomial in s^2; below 1 ulp).
FS_INLINE VecD log_normal_range(VecD x) {
  const VecU64 bits = bit_cast_to<uint64_t>(x) + VecU64(0x3ff0000000000000u - 0x3fe6a09e00000000u);
  const VecU64 exponent = bits >> 52;
  const VecD f = bit_cast_to<double>((bits & VecU64(0x000fffffffffffffu)) + VecU64(0x3fe6a09e00000000u)) - VecD(1.0);
  const VecD k = bit_cast_to<double>(exponent | VecU64(0x4330000000000000u)) - VecD(0x1p52 + 1023);
  const VecD s = f / (VecD(2.0) + f), z = s * s, w = z * z;
  const VecD t1 = w * fma(w, fma(w, VecD(1.531383769920937332e-01), VecD(2.222219843214978396e-01)),
                          VecD(3.999999999940941908e-01));
  const VecD t2 = z * fma(w,
                          fma(w, fma(w, VecD(1.479819860511658591e-01), VecD(1.818357216161805012e-01)),
                              VecD(2.857142874366239149e-01)),
                          VecD(6.666666666666735130e-01));
  const VecD h = VecD(0.5) * f * f;
  return k * VecD(6.93147180369123816490e-01) -
         ((h - (s * (h + (t1 + t2)) + k * VecD(1.90821492927058770002e-10))) - f);
}
// Uniforms u to exponentials -log(1 - u) / lambda in place; 1 - u is exact and never 0.
inline void exponentials(double* u, int64_t n, double scale) {
  for (int64_t i = 0; i < n; i += VecD::kSize) {
    const int m = n - i < VecD::kSize ? static_cast<int>(n - i) : VecD::kSize;
    const VecD x = VecD(scale) * log_normal_range(VecD(1.0) - VecD::load(u + i, m));
    x.store(u + i, m);
  }
}

// n doubles as elements of T.
template <class T>
void store_doubles(T* out, const double* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    if constexpr (sizeof(T) == 2 && !same_type<T, int16_t>) out[i] = T(static_cast<float>(x[i]));
    else out[i] = static_cast<T>(x[i]);
  }
}

}  // namespace fireseed::cpu::FS_ISA

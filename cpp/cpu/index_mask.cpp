// Kernels driven by a mask: masked_fill, masked_select, masked_scatter, and nonzero with its count.
#include "cpu/index_util.h"
#include "cpu/vec.h"

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace fireseed::cpu::FS_ISA {
namespace {

template <class T>
inline bool truthy(T v) {
  if constexpr (dtype_of<T>::value == DType::kFloat16 || dtype_of<T>::value == DType::kBFloat16)
    return (v.bits & 0x7fffu) != 0;
  else return v != T(0);
}

// Number of true entries of n mask bytes (0 or 1), 8 at a time.
inline int64_t count_bytes(const uint8_t* m, int64_t n) {
  int64_t total = 0, i = 0;
  while (i + 8 <= n) {
    const int64_t stop = min_of(n - 7, i + 8 * 255);
    uint64_t lanes = 0;
    for (; i < stop; i += 8) {
      uint64_t w;
      __builtin_memcpy(&w, m + i, 8);
      lanes += w;
    }
    const uint64_t even = lanes & 0x00ff00ff00ff00ffull, odd = (lanes >> 8) & 0x00ff00ff00ff00ffull;
    total += static_cast<int64_t>(((even + odd) * 0x0001000100010001ull) >> 48);
  }
  for (; i < n; ++i) total += m[i];
  return total;
}

template <class T>
inline int64_t count_run(const T* p, int64_t step, int64_t n) {
  if constexpr (dtype_of<T>::value == DType::kBool) {
    if (step == 1) return count_bytes(reinterpret_cast<const uint8_t*>(p), n);
  }
  int64_t c = 0;
  for (int64_t i = 0; i < n; ++i) c += truthy(p[i * step]);
  return c;
}

// Exclusive prefix of the true counts of chunks of kMoveChunk elements; returns the total.
template <class T, int N>
int64_t chunk_counts(const T* mask, const Loop<N>& loop, int operand, int64_t* before) {
  const int64_t step = loop.inner_stride(operand);
  parallel_for(loop.numel, kMoveChunk, [&](int64_t begin, int64_t end) {
    int64_t c = 0;
    loop.rows(begin, end, [&](const int64_t (&off)[N], int64_t n) { c += count_run(mask + off[operand], step, n); });
    before[begin / kMoveChunk] = c;
  });
  int64_t total = 0;
  for (int64_t i = 0; i < div_up(loop.numel, kMoveChunk); ++i) {
    const int64_t c = before[i];
    before[i] = total;
    total += c;
  }
  return total;
}

// Writes src[i] where mask[i], packed, and returns the end. Writes `left` elements at most, so that a neighbour's
// part of the output is never touched.
template <class T>
T* compress_run(T* out, const T* src, int64_t ss, const bool* mask, int64_t ms, int64_t n, int64_t& left) {
  int64_t i = 0;
#if defined(__AVX512F__)
  if constexpr (sizeof(T) >= 4) {
    if (ss == 1 && ms == 1) {
      constexpr int kLanes = 64 / static_cast<int>(sizeof(T));
      for (; i + kLanes <= n && left > 0; i += kLanes) {
        const __m512i v = _mm512_loadu_si512(src + i);
        if constexpr (sizeof(T) == 4) {
          const __m128i m = _mm_loadu_si128(reinterpret_cast<const __m128i*>(mask + i));
          const __mmask16 k = _mm_test_epi8_mask(m, m);
          const int c = __builtin_popcount(k);
          const __m512i packed = _mm512_maskz_compress_epi32(k, v);
          if (left >= kLanes) _mm512_storeu_si512(out, packed);
          else _mm512_mask_storeu_epi32(out, static_cast<__mmask16>((1u << c) - 1), packed);
          out += c;
          left -= c;
        } else {
          uint64_t w;
          __builtin_memcpy(&w, mask + i, 8);
          const __m128i m = _mm_cvtsi64_si128(static_cast<long long>(w));
          const __mmask8 k = static_cast<__mmask8>(_mm_test_epi8_mask(m, m));
          const int c = __builtin_popcount(k);
          const __m512i packed = _mm512_maskz_compress_epi64(k, v);
          if (left >= kLanes) _mm512_storeu_si512(out, packed);
          else _mm512_mask_storeu_epi64(out, static_cast<__mmask8>((1u << c) - 1), packed);
          out += c;
          left -= c;
        }
      }
    }
  }
#endif
  for (; i < n && left > 0; ++i) {
    *out = src[i * ss];
    const bool m = mask[i * ms];
    out += m;
    left -= m;
  }
  return out;
}

}  // namespace

// in: self, bool mask (self's shape by strides); out: attrs.value where the mask is true, else self.
void masked_fill(const KernelArgs& args) {
  const MaskedFillAttrs& a = args.attrs<MaskedFillAttrs>();
  const TensorView &self = args.in[0], &mask = args.in[1], &out = args.out[0];
  if (out.numel == 0) return;
  dispatch_all(out.dtype, [&](auto tag) {
    using S = typename decltype(tag)::type;
    const S filled = fill_as<S>(a.value);
    dispatch_size(out.dtype, [&](auto bits) {
      using T = typename decltype(bits)::type;
      if constexpr (sizeof(T) == sizeof(S)) {
        T value;
        __builtin_memcpy(&value, &filled, sizeof(T));
        const Loop<3> loop = loop_of(out, self, mask);
        T* po = out.ptr<T>();
        const T* px = self.ptr<const T>();
        const bool* pm = mask.ptr<const bool>();
        const int64_t os = loop.inner_stride(0), xs = loop.inner_stride(1), ms = loop.inner_stride(2);
        parallel_for(loop.numel, kMoveChunk, [&](int64_t begin, int64_t end) {
          loop.rows(begin, end, [&](const int64_t (&off)[3], int64_t n) {
            T* o = po + off[0];
            const T* x = px + off[1];
            const bool* m = pm + off[2];
            if (os == 1 && xs == 1 && ms == 1) {
              // Without a branch, so that it vectorises: the mask's byte (0 or 1) becomes all zeros or all ones.
              const uint8_t* bytes = reinterpret_cast<const uint8_t*>(m);
              for (int64_t i = 0; i < n; ++i) {
                o[i] = static_cast<T>(x[i] ^ ((x[i] ^ value) & static_cast<T>(-static_cast<T>(bytes[i]))));
              }
            } else if (os == 1 && ms == 1 && xs == 0) {
              const T v = *x;
              for (int64_t i = 0; i < n; ++i) o[i] = m[i] ? value : v;
            } else if (ms == 0) {
              if (*m) fill_run(o, os, value, n);
              else if (o != x) copy_run(o, os, x, xs, n);
            } else {
              for (int64_t i = 0; i < n; ++i) o[i * os] = m[i * ms] ? value : x[i * xs];
            }
          });
        });
      }
    });
  });
}

// in: any tensor; out: 0-dim int64, the number of entries that are not zero (NaN counts).
void nonzero_count(const KernelArgs& args) {
  const TensorView& in = args.in[0];
  int64_t total = 0;
  if (in.numel > 0) {
    dispatch_all(in.dtype, [&](auto tag) {
      using T = typename decltype(tag)::type;
      const Loop<1> loop = loop_of(in);
      const MoveScratch<int64_t> before(div_up(loop.numel, kMoveChunk));
      total = chunk_counts(in.ptr<const T>(), loop, 0, before.data());
    });
  }
  *args.out[0].ptr<int64_t>() = total;
}

// in: any tensor of rank r; out: int64 (n, r), the coordinates of entries that are not zero, in row-major order.
// n is what nonzero_count gave.
void nonzero(const KernelArgs& args) {
  const TensorView &in = args.in[0], &out = args.out[0];
  const int rank = in.ndim;
  if (in.numel == 0 || out.numel == 0) return;
  const PackedOut<int64_t> target(out);
  dispatch_all(in.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const Packed<T> packed(in);
    const T* p = packed.data();
    Loop<1> flat;
    flat.dim(in.numel, {1});
    const MoveScratch<int64_t> before(div_up(in.numel, kMoveChunk));
    chunk_counts(p, flat, 0, before.data());
    parallel_for(in.numel, kMoveChunk, [&](int64_t begin, int64_t end) {
      const int64_t chunk = begin / kMoveChunk;
      const int64_t stop = end == in.numel ? out.sizes[0] : before[chunk + 1];
      int64_t row = before[chunk];
      int64_t* o = target.data() + row * rank;
      if (rank == 1) {
        for (int64_t i = begin; row < stop; ++i) {
          *o = i;
          const bool t = truthy(p[i]);
          o += t;
          row += t;
        }
        return;
      }
      const int64_t inner = in.sizes[rank - 1];
      int64_t at[kMaxRank];
      int64_t rest = begin;
      for (int d = rank - 1; d >= 0; --d) {
        at[d] = rest % in.sizes[d];
        rest /= in.sizes[d];
      }
      for (int64_t i = begin; row < stop; ++i) {
        if (truthy(p[i])) {
          for (int d = 0; d < rank; ++d) o[d] = at[d];
          o += rank;
          ++row;
        }
        if (++at[rank - 1] == inner) {
          at[rank - 1] = 0;
          for (int d = rank - 2; d >= 0; --d) {
            if (++at[d] < in.sizes[d]) break;
            at[d] = 0;
          }
        }
      }
    });
  });
  target.flush();
}

// in: self, bool mask (self's shape by strides); out: 1-D, the elements where the mask is true, in row-major order.
// Its length is what nonzero_count gave for the mask.
void masked_select(const KernelArgs& args) {
  const TensorView &self = args.in[0], &mask = args.in[1], &out = args.out[0];
  if (self.numel == 0 || out.numel == 0) return;
  const Loop<2> loop = loop_of(self, mask);
  const bool* pm = mask.ptr<const bool>();
  const MoveScratch<int64_t> before(div_up(loop.numel, kMoveChunk));
  const int64_t total = min_of(chunk_counts(pm, loop, 1, before.data()), out.numel);
  dispatch_size(out.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const PackedOut<T> target(out);
    const T* px = self.ptr<const T>();
    const int64_t xs = loop.inner_stride(0), ms = loop.inner_stride(1);
    parallel_for(loop.numel, kMoveChunk, [&](int64_t begin, int64_t end) {
      const int64_t chunk = begin / kMoveChunk;
      T* o = target.data() + before[chunk];
      int64_t left = (end == loop.numel ? total : min_of(total, before[chunk + 1])) - before[chunk];
      loop.rows(begin, end, [&](const int64_t (&off)[2], int64_t n) {
        o = compress_run(o, px + off[0], xs, pm + off[1], ms, n, left);
      });
    });
    target.flush();
  });
}

// in: self, bool mask (self's shape by strides), source; out: self with the masked entries replaced by source's
// elements in row-major order. RuntimeError when the source has fewer elements than the mask has true entries.
void masked_scatter(const KernelArgs& args) {
  const TensorView &self = args.in[0], &mask = args.in[1], &source = args.in[2], &out = args.out[0];
  if (self.numel == 0) return;
  const Loop<3> loop = loop_of(out, self, mask);
  const bool* pm = mask.ptr<const bool>();
  const MoveScratch<int64_t> before(div_up(loop.numel, kMoveChunk));
  const int64_t total = chunk_counts(pm, loop, 2, before.data());
  if (total > source.numel) {
    fail(ErrorKind::kRuntime, "masked_scatter: the mask has ", total, " true entries but source has only ",
         source.numel, " elements (shape ", source.shape(),
         "); expected number of elements of source >= number of ones in mask");
  }
  dispatch_size(out.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const Packed<T> packed(source);
    T* po = out.ptr<T>();
    const T* px = self.ptr<const T>();
    const int64_t os = loop.inner_stride(0), xs = loop.inner_stride(1), ms = loop.inner_stride(2);
    parallel_for(loop.numel, kMoveChunk, [&](int64_t begin, int64_t end) {
      const T* s = packed.data() + before[begin / kMoveChunk];
      loop.rows(begin, end, [&](const int64_t (&off)[3], int64_t n) {
        for (int64_t i = 0; i < n; ++i) {
          if (pm[off[2] + i * ms]) po[off[0] + i * os] = *s++;
          else po[off[0] + i * os] = px[off[1] + i * xs];
        }
      });
    });
  });
}

}  // namespace fireseed::cpu::FS_ISA

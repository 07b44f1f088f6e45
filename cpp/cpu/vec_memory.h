// Registers from and to memory that holds something else: bools as masks, 16-bit floats as float. Comes with
// cpu/vec.h.
#pragma once

#include "base/half.h"
#include "cpu/vec.h"

namespace fireseed::cpu::FS_ISA {

// ---- bool memory (one byte a value) as masks -------------------------------------------------------------------

#if !defined(__AVX512F__)
template <int kBytes>
struct byte_vector {
  typedef int8_t type __attribute__((vector_size(kBytes)));
};
#endif
// Mask of kSize bytes at p, true where not 0; and of the first n.
template <class T>
FS_INLINE Mask<T> load_mask(const uint8_t* p) {
#if defined(__AVX512F__)
  using Bits = typename Mask<T>::Native;
  if constexpr (sizeof(T) == 1) {
    const __m512i b = _mm512_loadu_si512(p);
    return Mask<T>(static_cast<Bits>(_mm512_test_epi8_mask(b, b)));
  } else if constexpr (sizeof(T) == 2) {
    const __m256i b = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    return Mask<T>(static_cast<Bits>(_mm256_test_epi8_mask(b, b)));
  } else {
    const __m128i b = sizeof(T) == 4 ? _mm_loadu_si128(reinterpret_cast<const __m128i*>(p))
                                     : _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
    return Mask<T>(static_cast<Bits>(_mm_test_epi8_mask(b, b)));
  }
#else
  typename byte_vector<Mask<T>::kSize>::type b;
  __builtin_memcpy(&b, p, sizeof b);
  return Mask<T>(__builtin_convertvector(b != 0, typename Mask<T>::Native));
#endif
}
template <class T>
FS_INLINE Mask<T> load_mask(const uint8_t* p, int n) {
  uint8_t bytes[Mask<T>::kSize] = {};
  for (int i = 0; i < n; ++i) bytes[i] = p[i];
  return load_mask<T>(bytes);
}
// 1 or 0 a lane.
template <class T>
FS_INLINE void store_mask(uint8_t* p, Mask<T> m) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 1) {
    _mm512_storeu_si512(p, _mm512_maskz_set1_epi8(m.m, 1));
  } else if constexpr (sizeof(T) == 2) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_maskz_set1_epi8(m.m, 1));
  } else if constexpr (sizeof(T) == 4) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm_maskz_set1_epi8(m.m, 1));
  } else {
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_maskz_set1_epi8(m.m, 1));
  }
#else
  using Bytes = typename byte_vector<Mask<T>::kSize>::type;
  const Bytes b = __builtin_convertvector(m.m, Bytes) & 1;
  __builtin_memcpy(p, &b, sizeof b);
#endif
}
template <class T>
FS_INLINE void store_mask(uint8_t* p, Mask<T> m, int n) {
  uint8_t bytes[Mask<T>::kSize];
  store_mask(bytes, m);
  for (int i = 0; i < n; ++i) p[i] = bytes[i];
}

// Value conversion between lane types of the same size (float <-> int32, double <-> int64); floats truncate.
template <class To, class T>
FS_INLINE Vec<To> convert(Vec<T> a) {
  static_assert(sizeof(To) == sizeof(T));
  return Vec<To>(__builtin_convertvector(a.v, native_t<To>));
}
// The same bits read as another lane type.
template <class To, class T>
FS_INLINE Vec<To> bit_cast_to(Vec<T> a) {
  return Vec<To>((native_t<To>)a.v);
}

// ---- float, float16 and bfloat16 memory as Vec<float> --------------------------------------------------------

using VecF = Vec<float>;
using VecD = Vec<double>;

namespace detail_half {
constexpr int kN = VecF::kSize;
typedef uint16_t U16 __attribute__((vector_size(kN * 2)));
using U32 = native_t<uint32_t>;

FS_INLINE U16 load_u16(const void* p) {
  U16 h;
  __builtin_memcpy(&h, p, sizeof h);
  return h;
}
FS_INLINE U16 load_u16(const void* p, int n) {
#if defined(__AVX512F__)
  return (U16)_mm256_maskz_loadu_epi16(static_cast<__mmask16>((1u << n) - 1), p);
#else
  uint16_t lanes[kN] = {};
  const uint16_t* s = static_cast<const uint16_t*>(p);
  for (int i = 0; i < n; ++i) lanes[i] = s[i];
  return load_u16(lanes);
#endif
}
FS_INLINE void store_u16(void* p, U16 h) { __builtin_memcpy(p, &h, sizeof h); }
FS_INLINE void store_u16(void* p, U16 h, int n) {
#if defined(__AVX512F__)
  _mm256_mask_storeu_epi16(p, static_cast<__mmask16>((1u << n) - 1), (__m256i)h);
#else
  uint16_t* d = static_cast<uint16_t*>(p);
  for (int i = 0; i < n; ++i) d[i] = h[i];
#endif
}
FS_INLINE U32 widen(U16 h) {
#if defined(__AVX512F__)
  return (U32)_mm512_cvtepu16_epi32((__m256i)h);
#elif defined(__AVX2__)
  return (U32)_mm256_cvtepu16_epi32((__m128i)h);
#else
  return __builtin_convertvector(h, U32);
#endif
}
FS_INLINE U16 narrow(U32 w) {  // lanes below 2^16
#if defined(__AVX512F__)
  return (U16)_mm512_cvtepi32_epi16((__m512i)w);
#elif defined(__AVX2__)
  const __m256i packed = _mm256_packus_epi32((__m256i)w, (__m256i)w);
  return (U16)_mm256_castsi256_si128(_mm256_permute4x64_epi64(packed, 0x08));
#else
  return __builtin_convertvector(w, U16);
#endif
}

FS_INLINE VecF to_float(U16 h, const bfloat16*) { return VecF((native_t<float>)(widen(h) << 16)); }
FS_INLINE U16 from_float(VecF x, const bfloat16*) {
  const U32 u = (U32)x.v;
  const U32 rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
  const VecF nan_or = where(x == x, VecF((native_t<float>)rounded), VecF((native_t<float>)(U32{} + 0x7fc0u)));
  return narrow((U32)nan_or.v);
}

FS_INLINE VecF to_float(U16 h, const float16*) {
#if defined(__AVX512F__)
  return VecF(_mm512_cvtph_ps((__m256i)h));
#elif defined(__F16C__)
  return VecF(_mm256_cvtph_ps((__m128i)h));
#else
  // Scaling by 2^112 moves the exponent's bias and normalises subnormals; infinities and NaN get their exponent back.
  const U32 w = widen(h), sign = (w & 0x8000u) << 16, magnitude = (w & 0x7fffu) << 13;
  const VecF scaled = VecF((native_t<float>)magnitude) * VecF(5.192296858534828e33f);
  const U32 special = (U32)(magnitude >= 0x0f800000u) & 0x7f800000u;
  return VecF((native_t<float>)((U32)scaled.v | special | sign));
#endif
}
FS_INLINE U16 from_float(VecF x, const float16*) {
#if defined(__AVX512F__)
  return (U16)_mm512_cvtps_ph(x.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#elif defined(__F16C__)
  return (U16)_mm256_cvtps_ph(x.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#else
  // As float16(float) in base/half.h, lane by lane.
  const U32 u = (U32)x.v, sign = (u >> 16) & 0x8000u, a = u & 0x7fffffffu;
  const U32 normal = (a + 0xfffu + ((a >> 13) & 1u) - 0x38000000u) >> 13;
  const U32 subnormal = (U32)((VecF((native_t<float>)a) + VecF(0.5f)).v) - 0x3f000000u;
  U32 r = (a < 0x38800000u) ? subnormal : normal;
  r = (a >= 0x477ff000u) ? (U32{} + 0x7c00u) : r;
  r = (a > 0x7f800000u) ? (U32{} + 0x7e00u) : r;
  return narrow(r | sign);
#endif
}
}  // namespace detail_half

// kSize elements of S = float, float16 or bfloat16 as float lanes, and back (round to nearest even).
FS_INLINE VecF load_float(const float* p) { return VecF::load(p); }
FS_INLINE VecF load_float(const float* p, int n) { return VecF::load(p, n); }
FS_INLINE void store_float(float* p, VecF x) { x.store(p); }
FS_INLINE void store_float(float* p, VecF x, int n) { x.store(p, n); }
FS_INLINE VecF load_float(const float16* p) { return detail_half::to_float(detail_half::load_u16(p), p); }
FS_INLINE VecF load_float(const float16* p, int n) { return detail_half::to_float(detail_half::load_u16(p, n), p); }
FS_INLINE void store_float(float16* p, VecF x) { detail_half::store_u16(p, detail_half::from_float(x, p)); }
FS_INLINE void store_float(float16* p, VecF x, int n) { detail_half::store_u16(p, detail_half::from_float(x, p), n); }
FS_INLINE VecF load_float(const bfloat16* p) { return detail_half::to_float(detail_half::load_u16(p), p); }
FS_INLINE VecF load_float(const bfloat16* p, int n) { return detail_half::to_float(detail_half::load_u16(p, n), p); }
FS_INLINE void store_float(bfloat16* p, VecF x) { detail_half::store_u16(p, detail_half::from_float(x, p)); }
FS_INLINE void store_float(bfloat16* p, VecF x, int n) {
  detail_half::store_u16(p, detail_half::from_float(x, p), n);
}

}  // namespace fireseed::cpu::FS_ISA

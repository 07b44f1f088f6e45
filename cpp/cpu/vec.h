// Vec<T>: one native SIMD register of T with its Mask<T>; the only file that knows the instruction sets by name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

// GCC 12's own AVX-512 header reads "undefined" registers and warns about it in whoever includes it.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#if defined(__SSE4_1__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

#include "base/half.h"

#ifndef FS_ISA
#error "cpu/ files are compiled once per instruction set with -DFS_ISA=v2|v3|v4|neon"
#endif

#define FS_INLINE [[gnu::always_inline]] inline

#if defined(__AVX512F__)
#define FS_VEC_BYTES 64
#elif defined(__AVX2__)
#define FS_VEC_BYTES 32
#else
#define FS_VEC_BYTES 16
#endif

namespace fireseed::cpu::FS_ISA {

inline constexpr int kVecBytes = FS_VEC_BYTES;

// The type of size and kind that holds T's bits in lanes (also what a comparison of T gives).
template <int kBytes> struct int_of_size;
template <> struct int_of_size<1> { using type = int8_t; };
template <> struct int_of_size<2> { using type = int16_t; };
template <> struct int_of_size<4> { using type = int32_t; };
template <> struct int_of_size<8> { using type = int64_t; };
template <class T>
using lane_int = typename int_of_size<sizeof(T)>::type;

template <class T> inline constexpr bool is_float_lane = false;
template <> inline constexpr bool is_float_lane<float> = true;
template <> inline constexpr bool is_float_lane<double> = true;
template <class A, class B> inline constexpr bool same_type = false;
template <class A> inline constexpr bool same_type<A, A> = true;

template <class T>
struct native {
  typedef T type __attribute__((vector_size(FS_VEC_BYTES)));
};
template <class T>
using native_t = typename native<T>::type;

template <class T> struct Vec;

// One truth value a lane. On AVX-512 a bit each (k registers), elsewhere all-ones/all-zeros lanes.
template <class T>
struct Mask {
  static constexpr int kSize = FS_VEC_BYTES / static_cast<int>(sizeof(T));
#if defined(__AVX512F__)
  template <int kLanes, class = void> struct bits_of { using type = uint64_t; };
  template <class U> struct bits_of<8, U> { using type = uint8_t; };
  template <class U> struct bits_of<16, U> { using type = uint16_t; };
  template <class U> struct bits_of<32, U> { using type = uint32_t; };
  using Native = typename bits_of<kSize>::type;
  static constexpr Native kAll = static_cast<Native>(~uint64_t{0});
  Native m;
  Mask() = default;
  FS_INLINE explicit Mask(Native bits) : m(bits) {}
  FS_INLINE static Mask filled(bool value) { return Mask(value ? kAll : Native{0}); }
  // The first n lanes, 0 <= n <= kSize.
  FS_INLINE static Mask first(int n) {
    if constexpr (kSize == 64) return Mask(_bzhi_u64(~uint64_t{0}, static_cast<uint32_t>(n)));
    else return Mask(static_cast<Native>(_bzhi_u32(~uint32_t{0}, static_cast<uint32_t>(n))));
  }
  FS_INLINE uint64_t bits() const { return m; }
  FS_INLINE bool any() const { return m != 0; }
  FS_INLINE bool all() const { return m == kAll; }
  FS_INLINE friend Mask operator&(Mask a, Mask b) { return Mask(static_cast<Native>(a.m & b.m)); }
  FS_INLINE friend Mask operator|(Mask a, Mask b) { return Mask(static_cast<Native>(a.m | b.m)); }
  FS_INLINE friend Mask operator^(Mask a, Mask b) { return Mask(static_cast<Native>(a.m ^ b.m)); }
  FS_INLINE Mask operator~() const { return Mask(static_cast<Native>(~m)); }
#else
  using Native = native_t<lane_int<T>>;
  Native m;
  Mask() = default;
  FS_INLINE explicit Mask(Native lanes) : m(lanes) {}
  FS_INLINE static Mask filled(bool value) { return Mask(Native{} - static_cast<lane_int<T>>(value)); }
  FS_INLINE static Mask first(int n) {
    Native lane;
    for (int i = 0; i < kSize; ++i) lane[i] = static_cast<lane_int<T>>(i);
    return Mask(lane < (Native{} + static_cast<lane_int<T>>(n)));
  }
  FS_INLINE uint64_t bits() const {
#if defined(__AVX2__)
    if constexpr (sizeof(T) == 4) return static_cast<uint32_t>(_mm256_movemask_ps((__m256)m));
    if constexpr (sizeof(T) == 8) return static_cast<uint32_t>(_mm256_movemask_pd((__m256d)m));
    if constexpr (sizeof(T) == 1) return static_cast<uint32_t>(_mm256_movemask_epi8((__m256i)m));
#elif defined(__SSE4_1__)
    if constexpr (sizeof(T) == 4) return static_cast<uint32_t>(_mm_movemask_ps((__m128)m));
    if constexpr (sizeof(T) == 8) return static_cast<uint32_t>(_mm_movemask_pd((__m128d)m));
    if constexpr (sizeof(T) == 1) return static_cast<uint32_t>(_mm_movemask_epi8((__m128i)m));
#endif
    uint64_t r = 0;
    for (int i = 0; i < kSize; ++i) r |= static_cast<uint64_t>(m[i] & 1) << i;
    return r;
  }
  FS_INLINE bool any() const { return bits() != 0; }
  FS_INLINE bool all() const { return bits() == (kSize >= 64 ? ~uint64_t{0} : (uint64_t{1} << (kSize & 63)) - 1); }
  FS_INLINE friend Mask operator&(Mask a, Mask b) { return Mask(a.m & b.m); }
  FS_INLINE friend Mask operator|(Mask a, Mask b) { return Mask(a.m | b.m); }
  FS_INLINE friend Mask operator^(Mask a, Mask b) { return Mask(a.m ^ b.m); }
  FS_INLINE Mask operator~() const { return Mask(~m); }
#endif
  // a where the mask holds, else b.
  FS_INLINE friend Vec<T> where(Mask c, Vec<T> a, Vec<T> b) { return Vec<T>::select(c, a, b); }
};

// The same lanes of another element type of the same size.
template <class To, class T>
FS_INLINE Mask<To> mask_cast(Mask<T> c) {
  static_assert(sizeof(To) == sizeof(T));
  return Mask<To>(c.m);
}

#if defined(__AVX512F__)
namespace detail512 {
enum Compare { kEq, kLt, kLe, kNe, kGe, kGt };  // a op b
// AVX-512 comparison of any lane type into a bit mask.
template <class T, Compare kOp>
FS_INLINE auto compare(native_t<T> a, native_t<T> b) {
  constexpr int kF = kOp == kEq   ? _CMP_EQ_OQ
                     : kOp == kLt ? _CMP_LT_OQ
                     : kOp == kLe ? _CMP_LE_OQ
                     : kOp == kNe ? _CMP_NEQ_UQ
                     : kOp == kGe ? _CMP_GE_OQ
                                  : _CMP_GT_OQ;
  constexpr int kI = kOp == kEq   ? _MM_CMPINT_EQ
                     : kOp == kLt ? _MM_CMPINT_LT
                     : kOp == kLe ? _MM_CMPINT_LE
                     : kOp == kNe ? _MM_CMPINT_NE
                     : kOp == kGe ? _MM_CMPINT_NLT
                                  : _MM_CMPINT_NLE;
  constexpr bool kUnsigned = static_cast<T>(-1) > static_cast<T>(0);
  if constexpr (same_type<T, float>) return _mm512_cmp_ps_mask(a, b, kF);
  else if constexpr (same_type<T, double>) return _mm512_cmp_pd_mask(a, b, kF);
  else if constexpr (sizeof(T) == 8 && kUnsigned) return _mm512_cmp_epu64_mask((__m512i)a, (__m512i)b, kI);
  else if constexpr (sizeof(T) == 8) return _mm512_cmp_epi64_mask((__m512i)a, (__m512i)b, kI);
  else if constexpr (sizeof(T) == 4 && kUnsigned) return _mm512_cmp_epu32_mask((__m512i)a, (__m512i)b, kI);
  else if constexpr (sizeof(T) == 4) return _mm512_cmp_epi32_mask((__m512i)a, (__m512i)b, kI);
  else if constexpr (sizeof(T) == 2 && kUnsigned) return _mm512_cmp_epu16_mask((__m512i)a, (__m512i)b, kI);
  else if constexpr (sizeof(T) == 2) return _mm512_cmp_epi16_mask((__m512i)a, (__m512i)b, kI);
  else if constexpr (kUnsigned) return _mm512_cmp_epu8_mask((__m512i)a, (__m512i)b, kI);
  else return _mm512_cmp_epi8_mask((__m512i)a, (__m512i)b, kI);
}

// Note [Square roots]
// The divider makes a square root of 16 floats in 12 cycles; an estimate and fused multiply-adds make it in 7, with
// the same bits. From y = (1 + e) / sqrt(x), |e| <= 2^-14, one step of Goldschmidt's iteration gives g ~ sqrt(x) and
// h ~ 1 / (2 sqrt(x)), each within an ulp and a quarter; then x - g^2 is exact, and g + (x - g^2) h rounds as sqrt(x)
// does (Markstein 1990). That was shown by trying, for every significand, all such g and h, and for the few values
// whose root lies next to the middle of two floats all y: so it holds for any estimate of that accuracy. x - g^2 is
// exact down to 2^-100; positive x below that go to the divider. vfixupimm sets right 0, infinity, negatives and NaN.
FS_INLINE __m512 sqrt_fused(__m512 x) {
  const __m512 half = _mm512_set1_ps(0.5f), y = _mm512_rsqrt14_ps(x);
  __m512 g = _mm512_mul_ps(x, y), h = _mm512_mul_ps(y, half);
  const __m512 r = _mm512_fnmadd_ps(g, h, half);
  g = _mm512_fmadd_ps(g, r, g);
  h = _mm512_fmadd_ps(h, r, h);
  const __m512 root = _mm512_fmadd_ps(_mm512_fnmadd_ps(g, g, x), h, g);
  __mmask16 small = _mm512_cmp_ps_mask(x, _mm512_set1_ps(0x1p-100f), _CMP_LT_OQ);
  small = _mm512_mask_cmp_ps_mask(small, x, _mm512_setzero_ps(), _CMP_GT_OQ);
  if (__builtin_expect(small != 0, 0)) return _mm512_sqrt_ps(x);
  // Four bits a class, what to put: 0 keep, 1 x, 2 x as quiet NaN, 3 the default NaN. From the lowest: quiet NaN,
  // signalling NaN, zero, one, -infinity, infinity, negative, positive.
  return _mm512_fixupimm_ps(root, x, _mm512_set1_epi32(0x03130122), 0);
}
}  // namespace detail512
#endif

// A register of kSize lanes of T: float, double and the integers of 8 to 64 bits. A plain number becomes a
// broadcast where an operand is expected, so `x * 2.0` and `where(x < 0, 0, x)` read as they do for one number.
template <class T>
struct Vec {
  using Scalar = T;
  using Native = native_t<T>;
  static constexpr int kSize = FS_VEC_BYTES / static_cast<int>(sizeof(T));
  Native v;

  Vec() = default;
  FS_INLINE Vec(Native native) : v(native) {}
  template <class S>
    requires(__is_enum(S) ||
             requires(S s) {
               static_cast<T>(s);
               s + 1;
               static_cast<double>(s);
             })
  FS_INLINE Vec(S s) : v(static_cast<T>(s) - Native{}) {}

  FS_INLINE static Vec load(const T* p) {
    Vec r;
    __builtin_memcpy(&r.v, p, sizeof(Native));
    return r;
  }
  FS_INLINE void store(T* p) const { __builtin_memcpy(p, &v, sizeof(Native)); }
  // The first n lanes (0 <= n <= kSize), zeros beyond; touches no memory past p[n - 1].
  FS_INLINE static Vec load(const T* p, int n) {
#if defined(__AVX512F__)
    const auto m = Mask<T>::first(n).m;
    if constexpr (sizeof(T) == 8) return Vec((Native)_mm512_maskz_loadu_epi64(m, p));
    else if constexpr (sizeof(T) == 4) return Vec((Native)_mm512_maskz_loadu_epi32(m, p));
    else if constexpr (sizeof(T) == 2) return Vec((Native)_mm512_maskz_loadu_epi16(m, p));
    else return Vec((Native)_mm512_maskz_loadu_epi8(m, p));
#else
#if defined(__AVX2__)
    if constexpr (sizeof(T) == 4)
      return Vec((Native)_mm256_maskload_epi32(reinterpret_cast<const int*>(p), (__m256i)Mask<T>::first(n).m));
    if constexpr (sizeof(T) == 8)
      return Vec((Native)_mm256_maskload_epi64(reinterpret_cast<const long long*>(p), (__m256i)Mask<T>::first(n).m));
#endif
    T lanes[kSize] = {};
    for (int i = 0; i < n; ++i) lanes[i] = p[i];
    return load(lanes);
#endif
  }
  FS_INLINE void store(T* p, int n) const {
#if defined(__AVX512F__)
    const auto m = Mask<T>::first(n).m;
    if constexpr (sizeof(T) == 8) _mm512_mask_storeu_epi64(p, m, (__m512i)v);
    else if constexpr (sizeof(T) == 4) _mm512_mask_storeu_epi32(p, m, (__m512i)v);
    else if constexpr (sizeof(T) == 2) _mm512_mask_storeu_epi16(p, m, (__m512i)v);
    else _mm512_mask_storeu_epi8(p, m, (__m512i)v);
#else
#if defined(__AVX2__)
    if constexpr (sizeof(T) == 4)
      return _mm256_maskstore_epi32(reinterpret_cast<int*>(p), (__m256i)Mask<T>::first(n).m, (__m256i)v);
    if constexpr (sizeof(T) == 8)
      return _mm256_maskstore_epi64(reinterpret_cast<long long*>(p), (__m256i)Mask<T>::first(n).m, (__m256i)v);
#endif
    T lanes[kSize];
    store(lanes);
    for (int i = 0; i < n; ++i) p[i] = lanes[i];
#endif
  }
  // Non-temporal store; p must be aligned to the register (kVecBytes). Call stream_fence() after the last one.
  FS_INLINE void stream(T* p) const {
#if defined(__AVX512F__)
    _mm512_stream_si512(reinterpret_cast<__m512i*>(p), (__m512i)v);
#elif defined(__AVX2__)
    _mm256_stream_si256(reinterpret_cast<__m256i*>(p), (__m256i)v);
#elif defined(__SSE2__)
    _mm_stream_si128(reinterpret_cast<__m128i*>(p), (__m128i)v);
#else
    store(p);
#endif
  }
  FS_INLINE T operator[](int i) const { return v[i]; }
  // 0, 1, 2, …
  FS_INLINE static Vec iota() {
    Native r;
    for (int i = 0; i < kSize; ++i) r[i] = static_cast<T>(i);
    return r;
  }

  FS_INLINE friend Vec operator+(Vec a, Vec b) { return a.v + b.v; }
  FS_INLINE friend Vec operator-(Vec a, Vec b) { return a.v - b.v; }
  FS_INLINE friend Vec operator*(Vec a, Vec b) { return a.v * b.v; }
  FS_INLINE friend Vec operator/(Vec a, Vec b) { return a.v / b.v; }
  FS_INLINE Vec operator-() const { return -v; }
  FS_INLINE Vec& operator+=(Vec b) {
    v += b.v;
    return *this;
  }
  FS_INLINE Vec& operator-=(Vec b) {
    v -= b.v;
    return *this;
  }
  FS_INLINE Vec& operator*=(Vec b) {
    v *= b.v;
    return *this;
  }
  FS_INLINE Vec& operator/=(Vec b) {
    v /= b.v;
    return *this;
  }
  // Bits of integer lanes.
  FS_INLINE friend Vec operator&(Vec a, Vec b) { return a.v & b.v; }
  FS_INLINE friend Vec operator|(Vec a, Vec b) { return a.v | b.v; }
  FS_INLINE friend Vec operator^(Vec a, Vec b) { return a.v ^ b.v; }
  FS_INLINE Vec operator~() const { return ~v; }
  FS_INLINE friend Vec operator<<(Vec a, int n) { return a.v << n; }
  FS_INLINE friend Vec operator>>(Vec a, int n) { return a.v >> n; }
  FS_INLINE friend Vec operator<<(Vec a, Vec n) { return a.v << n.v; }
  FS_INLINE friend Vec operator>>(Vec a, Vec n) { return a.v >> n.v; }

#if defined(__AVX512F__)
#define FS_VEC_COMPARE(op, name)                                      \
  FS_INLINE friend Mask<T> operator op(Vec a, Vec b) {                \
    return Mask<T>(detail512::compare<T, detail512::name>(a.v, b.v)); \
  }
#else
#define FS_VEC_COMPARE(op, name) \
  FS_INLINE friend Mask<T> operator op(Vec a, Vec b) { return Mask<T>((typename Mask<T>::Native)(a.v op b.v)); }
#endif
  FS_VEC_COMPARE(==, kEq)
  FS_VEC_COMPARE(!=, kNe)
  FS_VEC_COMPARE(<, kLt)
  FS_VEC_COMPARE(<=, kLe)
  FS_VEC_COMPARE(>, kGt)
  FS_VEC_COMPARE(>=, kGe)
#undef FS_VEC_COMPARE

  FS_INLINE static Vec select(Mask<T> c, Vec a, Vec b) {
#if defined(__AVX512F__)
    if constexpr (same_type<T, float>) return _mm512_mask_blend_ps(c.m, b.v, a.v);
    else if constexpr (same_type<T, double>) return _mm512_mask_blend_pd(c.m, b.v, a.v);
    else if constexpr (sizeof(T) == 8) return Vec((Native)_mm512_mask_blend_epi64(c.m, (__m512i)b.v, (__m512i)a.v));
    else if constexpr (sizeof(T) == 4) return Vec((Native)_mm512_mask_blend_epi32(c.m, (__m512i)b.v, (__m512i)a.v));
    else if constexpr (sizeof(T) == 2) return Vec((Native)_mm512_mask_blend_epi16(c.m, (__m512i)b.v, (__m512i)a.v));
    else return Vec((Native)_mm512_mask_blend_epi8(c.m, (__m512i)b.v, (__m512i)a.v));
#else
    return Vec(c.m ? a.v : b.v);
#endif
  }

  // a * b + c: one rounding where the machine has FMA (all but x86-64-v2).
  FS_INLINE friend Vec fma(Vec a, Vec b, Vec c) {
    if constexpr (!is_float_lane<T>) return a.v * b.v + c.v;
#if defined(__AVX512F__)
    else if constexpr (same_type<T, float>) return _mm512_fmadd_ps(a.v, b.v, c.v);
    else return _mm512_fmadd_pd(a.v, b.v, c.v);
#elif defined(__FMA__)
    else if constexpr (same_type<T, float>) return _mm256_fmadd_ps(a.v, b.v, c.v);
    else return _mm256_fmadd_pd(a.v, b.v, c.v);
#elif defined(__ARM_NEON)
    else if constexpr (same_type<T, float>)
      return (Native)vfmaq_f32((float32x4_t)c.v, (float32x4_t)a.v, (float32x4_t)b.v);
    else return (Native)vfmaq_f64((float64x2_t)c.v, (float64x2_t)a.v, (float64x2_t)b.v);
#else
    else return a.v * b.v + c.v;
#endif
  }
  FS_INLINE friend Vec abs(Vec a) {
    if constexpr (is_float_lane<T>) {
      constexpr lane_int<T> kMagnitude = static_cast<lane_int<T>>(~(uint64_t{1} << (8 * sizeof(T) - 1)));
      return Vec((Native)((native_t<lane_int<T>>)a.v & kMagnitude));
    } else if constexpr (static_cast<T>(-1) > static_cast<T>(0)) {
      return a;
    } else {
      return select(a < Vec(T{0}), -a, a);
    }
  }

#if defined(__AVX512F__)
#define FS_VEC_ROUND(name, mode, neon)                                                                     \
  FS_INLINE friend Vec name(Vec a) {                                                                       \
    if constexpr (same_type<T, float>) return _mm512_roundscale_ps(a.v, (mode) | _MM_FROUND_NO_EXC);       \
    else if constexpr (same_type<T, double>) return _mm512_roundscale_pd(a.v, (mode) | _MM_FROUND_NO_EXC); \
    else return a;                                                                                         \
  }
#elif defined(__AVX2__)
#define FS_VEC_ROUND(name, mode, neon)                                                                \
  FS_INLINE friend Vec name(Vec a) {                                                                  \
    if constexpr (same_type<T, float>) return _mm256_round_ps(a.v, (mode) | _MM_FROUND_NO_EXC);       \
    else if constexpr (same_type<T, double>) return _mm256_round_pd(a.v, (mode) | _MM_FROUND_NO_EXC); \
    else return a;                                                                                    \
  }
#elif defined(__SSE4_1__)
#define FS_VEC_ROUND(name, mode, neon)                                                             \
  FS_INLINE friend Vec name(Vec a) {                                                               \
    if constexpr (same_type<T, float>) return _mm_round_ps(a.v, (mode) | _MM_FROUND_NO_EXC);       \
    else if constexpr (same_type<T, double>) return _mm_round_pd(a.v, (mode) | _MM_FROUND_NO_EXC); \
    else return a;                                                                                 \
  }
#elif defined(__ARM_NEON)
#define FS_VEC_ROUND(name, mode, neon)                                                        \
  FS_INLINE friend Vec name(Vec a) {                                                          \
    if constexpr (same_type<T, float>) return (Native)v##neon##q_f32((float32x4_t)a.v);       \
    else if constexpr (same_type<T, double>) return (Native)v##neon##q_f64((float64x2_t)a.v); \
    else return a;                                                                            \
  }
#else
#define FS_VEC_ROUND(name, mode, neon)                                                   \
  FS_INLINE friend Vec name(Vec a) {                                                     \
    if constexpr (is_float_lane<T>) {                                                    \
      for (int i = 0; i < kSize; ++i) a.v[i] = static_cast<T>(__builtin_##name(a.v[i])); \
    }                                                                                    \
    return a;                                                                            \
  }
#endif
  FS_VEC_ROUND(floor, _MM_FROUND_TO_NEG_INF, rndm)
  FS_VEC_ROUND(ceil, _MM_FROUND_TO_POS_INF, rndp)
  FS_VEC_ROUND(trunc, _MM_FROUND_TO_ZERO, rnd)
  FS_VEC_ROUND(nearbyint, _MM_FROUND_TO_NEAREST_INT, rndn)
#undef FS_VEC_ROUND

  FS_INLINE friend Vec sqrt(Vec a) {
    static_assert(is_float_lane<T>);
#if defined(__AVX512F__)
    if constexpr (same_type<T, float>) return detail512::sqrt_fused(a.v);  // Note [Square roots]
    else return _mm512_sqrt_pd(a.v);
#elif defined(__AVX2__)
    if constexpr (same_type<T, float>) return _mm256_sqrt_ps(a.v);
    else return _mm256_sqrt_pd(a.v);
#elif defined(__SSE4_1__)
    if constexpr (same_type<T, float>) return _mm_sqrt_ps(a.v);
    else return _mm_sqrt_pd(a.v);
#elif defined(__ARM_NEON)
    if constexpr (same_type<T, float>) return (Native)vsqrtq_f32((float32x4_t)a.v);
    else return (Native)vsqrtq_f64((float64x2_t)a.v);
#else
    for (int i = 0; i < kSize; ++i)
      a.v[i] = sizeof(T) == 4 ? static_cast<T>(__builtin_sqrtf(static_cast<float>(a.v[i])))
                              : static_cast<T>(__builtin_sqrt(a.v[i]));
    return a;
#endif
  }
  // The smaller / larger; b where the two are unordered.
  FS_INLINE friend Vec min(Vec a, Vec b) {
#if defined(__AVX512F__)
    if constexpr (same_type<T, float>) return _mm512_min_ps(a.v, b.v);
    else if constexpr (same_type<T, double>) return _mm512_min_pd(a.v, b.v);
    else
#elif defined(__AVX2__)
    if constexpr (same_type<T, float>) return _mm256_min_ps(a.v, b.v);
    else if constexpr (same_type<T, double>) return _mm256_min_pd(a.v, b.v);
    else
#elif defined(__SSE4_1__)
    if constexpr (same_type<T, float>) return _mm_min_ps(a.v, b.v);
    else if constexpr (same_type<T, double>) return _mm_min_pd(a.v, b.v);
    else
#endif
      return Vec(a.v < b.v ? a.v : b.v);
  }
  FS_INLINE friend Vec max(Vec a, Vec b) {
#if defined(__AVX512F__)
    if constexpr (same_type<T, float>) return _mm512_max_ps(a.v, b.v);
    else if constexpr (same_type<T, double>) return _mm512_max_pd(a.v, b.v);
    else
#elif defined(__AVX2__)
    if constexpr (same_type<T, float>) return _mm256_max_ps(a.v, b.v);
    else if constexpr (same_type<T, double>) return _mm256_max_pd(a.v, b.v);
    else
#elif defined(__SSE4_1__)
    if constexpr (same_type<T, float>) return _mm_max_ps(a.v, b.v);
    else if constexpr (same_type<T, double>) return _mm_max_pd(a.v, b.v);
    else
#endif
      return Vec(a.v > b.v ? a.v : b.v);
  }
  // Lanes where a or b is NaN.
  FS_INLINE friend Mask<T> unordered(Vec a, Vec b)
    requires is_float_lane<T>
  {
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4) return Mask<T>(_mm512_cmp_ps_mask(a.v, b.v, _CMP_UNORD_Q));
    else return Mask<T>(_mm512_cmp_pd_mask(a.v, b.v, _CMP_UNORD_Q));
#else
    return (a != a) | (b != b);
#endif
  }
  // NaN where either is NaN.
  FS_INLINE friend Vec minimum(Vec a, Vec b) {
    if constexpr (is_float_lane<T>) return select(a != a, a, min(a, b));
    else return min(a, b);
  }
  FS_INLINE friend Vec maximum(Vec a, Vec b) {
    if constexpr (is_float_lane<T>) return select(a != a, a, max(a, b));
    else return max(a, b);
  }

  // Reductions over the lanes by halves: lane i with lane i + w, w = kSize/2 … 1.
  FS_INLINE friend T reduce_add(Vec a) {
    return fold(a, [](Vec x, Vec y) [[gnu::always_inline]] { return x + y; });
  }
  FS_INLINE friend T reduce_max(Vec a) {
    return fold(a, [](Vec x, Vec y) [[gnu::always_inline]] { return maximum(x, y); });
  }
  FS_INLINE friend T reduce_min(Vec a) {
    return fold(a, [](Vec x, Vec y) [[gnu::always_inline]] { return minimum(x, y); });
  }

 private:
  template <int kWidth, size_t... kI>
  FS_INLINE static Vec rotated(Vec a, std::index_sequence<kI...>) {
    using Index = native_t<lane_int<T>>;
    return __builtin_shuffle(a.v, Index{static_cast<lane_int<T>>((kI + kWidth) % kSize)...});
  }
  template <int kWidth = kSize / 2, class F>
  FS_INLINE static T fold(Vec a, F f) {
    if constexpr (kWidth == 0) {
      return a.v[0];
    } else {
      return fold<kWidth / 2>(f(a, rotated<kWidth>(a, std::make_index_sequence<kSize>())), f);
    }
  }
};

#if defined(__AVX512F__)
// Primitives of math/exp_log.h and math/special.h that AVX-512 has as instructions; the generic forms are there.
// x * 2^n for integral n, rounded once.
FS_INLINE Vec<float> scale2(Vec<float> x, Vec<float> n) { return _mm512_scalef_ps(x.v, n.v); }
FS_INLINE Vec<double> scale2(Vec<double> x, Vec<double> n) { return _mm512_scalef_pd(x.v, n.v); }
// x = m * 2^e with m in [0.75, 1.5): m = 1, e = -inf / inf for 0 / inf; m = NaN for x < 0 and NaN.
FS_INLINE Vec<float> log_split(Vec<float> x, Vec<float>& e) {
  const Vec<float> m = _mm512_getmant_ps(x.v, _MM_MANT_NORM_p75_1p5, _MM_MANT_SIGN_nan);
  const Vec<float> whole = _mm512_getexp_ps(x.v);
  e = _mm512_mask_add_ps(whole.v, (m < Vec<float>(1)).m, whole.v, Vec<float>(1).v);
  return m;
}
FS_INLINE Vec<double> log_split(Vec<double> x, Vec<double>& e) {
  const Vec<double> m = _mm512_getmant_pd(x.v, _MM_MANT_NORM_p75_1p5, _MM_MANT_SIGN_nan);
  const Vec<double> whole = _mm512_getexp_pd(x.v);
  e = _mm512_mask_add_pd(whole.v, (m < Vec<double>(1)).m, whole.v, Vec<double>(1).v);
  return m;
}
// table[i mod 16] lane by lane.
FS_INLINE Vec<float> lookup16(const float* table, Vec<int32_t> i) {
  return _mm512_permutexvar_ps((__m512i)i.v, _mm512_loadu_ps(table));
}
#elif defined(__AVX2__)
FS_INLINE Vec<float> lookup16(const float* table, Vec<int32_t> i) {
  const __m256 low = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table), (__m256i)i.v);
  const __m256 high = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table + 8), (__m256i)i.v);
  return where(Mask<float>(((i & 8) != 0).m), Vec<float>(high), Vec<float>(low));
}
#endif

// The lower / upper half of the lanes in double, and back.
FS_INLINE Vec<double> widen_low(Vec<float> x) {
#if defined(__AVX512F__)
  return _mm512_cvtps_pd(_mm512_castps512_ps256(x.v));
#elif defined(__AVX2__)
  return _mm256_cvtps_pd(_mm256_castps256_ps128(x.v));
#else
  Vec<double> r;
  for (int i = 0; i < Vec<double>::kSize; ++i) r.v[i] = x.v[i];
  return r;
#endif
}
FS_INLINE Vec<double> widen_high(Vec<float> x) {
#if defined(__AVX512F__)
  return _mm512_cvtps_pd(_mm512_extractf32x8_ps(x.v, 1));
#elif defined(__AVX2__)
  return _mm256_cvtps_pd(_mm256_extractf128_ps(x.v, 1));
#else
  Vec<double> r;
  for (int i = 0; i < Vec<double>::kSize; ++i) r.v[i] = x.v[i + Vec<double>::kSize];
  return r;
#endif
}
FS_INLINE Vec<float> narrow(Vec<double> low, Vec<double> high) {
#if defined(__AVX512F__)
  return _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(low.v)), _mm512_cvtpd_ps(high.v), 1);
#elif defined(__AVX2__)
  return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm256_cvtpd_ps(low.v)), _mm256_cvtpd_ps(high.v), 1);
#else
  Vec<float> r;
  for (int i = 0; i < Vec<double>::kSize; ++i) {
    r.v[i] = static_cast<float>(low.v[i]);
    r.v[i + Vec<double>::kSize] = static_cast<float>(high.v[i]);
  }
  return r;
#endif
}

FS_INLINE void stream_fence() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

}  // namespace fireseed::cpu::FS_ISA

#include "cpu/vec_memory.h"  // IWYU pragma: export

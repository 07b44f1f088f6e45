// Num<T>: one number with the interface of a SIMD register, so that every formula is written once; FS_HD and FS_FN.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "base/host_device.h"

// Functions of math/ run on host and device. FS_FN: such a function that must disappear into its caller.
#if defined(__CUDACC__)
#define FS_FN FS_HD __forceinline__
#else
#define FS_FN [[gnu::always_inline]] inline
#endif

// fma(a, b, c) rounds once where this is 1; without the instruction it is a * b + c.
#if defined(__FMA__) || defined(__AVX512F__) || defined(__ARM_FEATURE_FMA) || defined(__CUDACC__)
#define FS_MATH_FMA 1
#else
#define FS_MATH_FMA 0
#endif

// Note [One namespace an instruction set]
// Inline functions compiled for AVX-512 must never serve an older machine, so everything in math/ sits in an inline
// namespace named after the instruction set: `fireseed::exp` is `fireseed::v4::exp` in one file, `fireseed::v2::exp`
// in another, and the linker keeps them apart.
#if defined(FS_ISA)
#define FS_MATH_NAMESPACE FS_ISA
#else
#define FS_MATH_NAMESPACE host
#endif

namespace fireseed {
inline namespace FS_MATH_NAMESPACE {

template <class T>
struct Num;

// Result of comparing Num<T>.
template <class T>
struct NumMask {
  bool m;
  FS_FN friend NumMask operator&(NumMask a, NumMask b) { return {a.m && b.m}; }
  FS_FN friend NumMask operator|(NumMask a, NumMask b) { return {a.m || b.m}; }
  FS_FN friend NumMask operator^(NumMask a, NumMask b) { return {a.m != b.m}; }
  FS_FN NumMask operator~() const { return {!m}; }
  FS_FN bool any() const { return m; }
  FS_FN bool all() const { return m; }
  FS_FN uint64_t bits() const { return m; }
  FS_FN friend Num<T> where(NumMask c, Num<T> a, Num<T> b) { return c.m ? a : b; }
};

template <class T> inline constexpr bool is_real = false;
template <> inline constexpr bool is_real<float> = true;
template <> inline constexpr bool is_real<double> = true;

template <class T>
struct Num {
  using Scalar = T;
  static constexpr int kSize = 1;
  T v;

  Num() = default;
  template <class S>
    requires(requires(S s) {
      static_cast<T>(s);
      s + 1;
      static_cast<double>(s);
    })
  FS_FN Num(S s) : v(static_cast<T>(s)) {}
  FS_FN static Num load(const T* p) { return Num(*p); }
  FS_FN void store(T* p) const { *p = v; }

  FS_FN friend Num operator+(Num a, Num b) {
    if constexpr (is_real<T>) return Num(a.v + b.v);
    else return Num(static_cast<T>(static_cast<uint64_t>(a.v) + static_cast<uint64_t>(b.v)));  // wraps
  }
  FS_FN friend Num operator-(Num a, Num b) {
    if constexpr (is_real<T>) return Num(a.v - b.v);
    else return Num(static_cast<T>(static_cast<uint64_t>(a.v) - static_cast<uint64_t>(b.v)));  // wraps
  }
  FS_FN friend Num operator*(Num a, Num b) {
    if constexpr (is_real<T>) return Num(a.v * b.v);
    else return Num(static_cast<T>(static_cast<uint64_t>(a.v) * static_cast<uint64_t>(b.v)));  // wraps
  }
  FS_FN friend Num operator/(Num a, Num b) { return Num(static_cast<T>(a.v / b.v)); }
  FS_FN Num operator-() const {
    if constexpr (is_real<T>) return Num(-v);
    else return Num(T{0}) - *this;
  }
  FS_FN Num operator~() const { return Num(static_cast<T>(~v)); }
  FS_FN Num& operator+=(Num b) { return *this = *this + b; }
  FS_FN Num& operator-=(Num b) { return *this = *this - b; }
  FS_FN Num& operator*=(Num b) { return *this = *this * b; }
  FS_FN Num& operator/=(Num b) { return *this = *this / b; }
  FS_FN friend Num operator&(Num a, Num b) { return Num(a.v & b.v); }
  FS_FN friend Num operator|(Num a, Num b) { return Num(a.v | b.v); }
  FS_FN friend Num operator^(Num a, Num b) { return Num(a.v ^ b.v); }
  FS_FN friend Num operator<<(Num a, int n) {  // through unsigned: a left shift of a negative number wraps
    return Num(static_cast<T>(static_cast<uint64_t>(a.v) << n));
  }
  FS_FN friend Num operator>>(Num a, int n) { return Num(static_cast<T>(a.v >> n)); }
  FS_FN friend NumMask<T> operator==(Num a, Num b) { return {a.v == b.v}; }
  FS_FN friend NumMask<T> operator!=(Num a, Num b) { return {a.v != b.v}; }
  FS_FN friend NumMask<T> operator<(Num a, Num b) { return {a.v < b.v}; }
  FS_FN friend NumMask<T> operator<=(Num a, Num b) { return {a.v <= b.v}; }
  FS_FN friend NumMask<T> operator>(Num a, Num b) { return {a.v > b.v}; }
  FS_FN friend NumMask<T> operator>=(Num a, Num b) { return {a.v >= b.v}; }

  FS_FN friend Num fma(Num a, Num b, Num c) {
    if constexpr (!is_real<T> || !FS_MATH_FMA) return Num(static_cast<T>(a.v * b.v + c.v));
    else if constexpr (sizeof(T) == 4) return Num(::fmaf(a.v, b.v, c.v));
    else return Num(::fma(a.v, b.v, c.v));
  }
  FS_FN friend Num abs(Num a) {
    if constexpr (!is_real<T>) return a.v < 0 ? -a : a;
    else if constexpr (sizeof(T) == 4) return Num(::fabsf(a.v));
    else return Num(::fabs(a.v));
  }
#define FS_NUM_ROUND(name, libm)                                   \
  FS_FN friend Num name(Num a) {                                   \
    if constexpr (!is_real<T>) return a;                           \
    else if constexpr (sizeof(T) == 4) return Num(::libm##f(a.v)); \
    else return Num(::libm(a.v));                                  \
  }
  FS_NUM_ROUND(floor, floor)
  FS_NUM_ROUND(ceil, ceil)
  FS_NUM_ROUND(trunc, trunc)
  FS_NUM_ROUND(nearbyint, nearbyint)
  FS_NUM_ROUND(sqrt, sqrt)
#undef FS_NUM_ROUND
  // b where the two are unordered.
  FS_FN friend Num min(Num a, Num b) { return a.v < b.v ? a : b; }
  FS_FN friend Num max(Num a, Num b) { return a.v > b.v ? a : b; }
  // NaN where either is NaN.
  FS_FN friend Num minimum(Num a, Num b) { return a.v != a.v || a.v < b.v ? a : b; }
  FS_FN friend Num maximum(Num a, Num b) { return a.v != a.v || a.v > b.v ? a : b; }
};

template <class To, class T>
FS_FN NumMask<To> mask_cast(NumMask<T> c) {
  return {c.m};
}
template <class To, class T>
FS_FN Num<To> convert(Num<T> a) {
  return Num<To>(static_cast<To>(a.v));
}
template <class To, class T>
FS_FN Num<To> bit_cast_to(Num<T> a) {
  static_assert(sizeof(To) == sizeof(T));
  To r;
  memcpy(&r, &a.v, sizeof r);
  return Num<To>(r);
}

// What the formulas of math/ work on: Num<float>, Num<double> and cpu/'s Vec of the same.
template <class V>
concept Lanes = requires(V x) {
  typename V::Scalar;
  V::kSize;
  x.v;
};
template <class V>
using scalar_of = typename V::Scalar;

}  // namespace FS_MATH_NAMESPACE
}  // namespace fireseed

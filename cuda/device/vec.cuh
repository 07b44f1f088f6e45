// Vec<T, N>: N neighbouring elements moved by one instruction; and the types that arithmetic on T is done in.
#pragma once

#include "base/dtype.h"
#include "device/intrinsics.cuh"

namespace fireseed::cuda {

// 2, 4, 8 or 16 bytes. load and store want addresses that are multiples of the size (aligned_for tells).
template <class T, int N>
struct alignas(sizeof(T) * N) Vec {
  static_assert(sizeof(T) * N <= 16 && (sizeof(T) * N & (sizeof(T) * N - 1)) == 0);
  T v[N];

  __device__ __forceinline__ static Vec load(const T* p) { return *reinterpret_cast<const Vec*>(p); }
  __device__ __forceinline__ void store(T* p) const { *reinterpret_cast<Vec*>(p) = *this; }
};
// As many T as fill 16 bytes.
template <class T>
inline constexpr int kVecSize = static_cast<int>(16 / sizeof(T));

template <class C>
inline constexpr C kInfinity = static_cast<C>(__builtin_inf());

inline bool aligned_for(const void* p, size_t bytes) { return reinterpret_cast<uintptr_t>(p) % bytes == 0; }

template <class H>
__device__ __forceinline__ H half_bits(uint16_t bits) {
  H h;
  h.bits = bits;
  return h;
}

// Conversions from storage to arithmetic and back; the halves by one instruction.
template <class C, class T>
__device__ __forceinline__ C load_as(T x) {
  if constexpr (std::is_same_v<T, float16>) return static_cast<C>(half_to_float(x));
  else return static_cast<C>(x);
}
template <class T, class C>
__device__ __forceinline__ T store_as(C x) {
  if constexpr (std::is_same_v<T, float16>) return float_to_half(static_cast<float>(x));
  else if constexpr (std::is_same_v<T, bfloat16>) return float_to_bfloat(static_cast<float>(x));
  else return static_cast<T>(x);
}

}  // namespace fireseed::cuda

// Vec<T, N>: N neighbouring elements moved by one instruction; and the types that arithmetic on T is done in.
#pragma once

#include "base/dtype.h"
#include "device/intrinsics.cuh"

namespace fireseed::cuda {

// 1, 2, 4, 8 or 16 bytes. load and store want addresses that are multiples of the size (aligned_for tells).
template <class T, int N>
struct alignas(sizeof(T) * N) Vec {
  static_assert(sizeof(T) * N <= 16 && (sizeof(T) * N & (sizeof(T) * N - 1)) == 0);
  T v[N];

  // load_global and store_global are for global memory alone, and surely one instruction for 8 or 16 bytes.
#if defined(FS_CUDA_EMU)
  static Vec load(const T* p) { return *reinterpret_cast<const Vec*>(p); }
  void store(T* p) const { *reinterpret_cast<Vec*>(p) = *this; }
  static Vec load_global(const T* p) { return load(p); }
  void store_global(T* p) const { store(p); }
#else
  // Through words that nvcc moves as a whole; structs it takes apart, and joins again only when it optimises in full.
  using Word = std::conditional_t<
      sizeof(T) * N == 16, uint4,
      std::conditional_t<sizeof(T) * N == 8, uint2,
                         std::conditional_t<sizeof(T) * N == 4, uint32_t,
                                            std::conditional_t<sizeof(T) * N == 2, uint16_t, uint8_t>>>>;
  __device__ __forceinline__ static Vec load(const T* p) {
    return __builtin_bit_cast(Vec, *reinterpret_cast<const Word*>(p));
  }
  __device__ __forceinline__ void store(T* p) const { *reinterpret_cast<Word*>(p) = __builtin_bit_cast(Word, *this); }
  __device__ __forceinline__ static Vec load_global(const T* p) {
    if constexpr (sizeof(Vec) < 8) return load(p);
    else return __builtin_bit_cast(Vec, cuda::load_global(reinterpret_cast<const Word*>(p)));
  }
  __device__ __forceinline__ void store_global(T* p) const {
    if constexpr (sizeof(Vec) < 8) store(p);
    else cuda::store_global(reinterpret_cast<Word*>(p), __builtin_bit_cast(Word, *this));
  }
#endif
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

// Random numbers in kernels: the words of an element, uniforms and the distributions made from them.
#pragma once

#include "device/vec.cuh"
#include "math/philox.h"
#include "runtime/graph.h"

namespace fireseed::cuda {

// The four words of element i (Note [Random numbers on devices]).
__device__ __forceinline__ PhiloxWords words_of(const PhiloxState& s, int64_t i) {
  return philox(s.key, s.offset + (s.extra ? *s.extra : 0) + static_cast<uint64_t>(i));
}

// 53 bits of two words, the first one high, as on the CPU.
__device__ __forceinline__ uint64_t bits53(uint32_t high, uint32_t low) {
  return (static_cast<uint64_t>(high) << 32 | low) & ((uint64_t{1} << 53) - 1);
}

// Uniform in [0, 1) with 24 or 53 bits.
__device__ __forceinline__ float uniform_of(const PhiloxWords& r, float) {
  return static_cast<float>(r.w[0] >> 8) * 0x1p-24f;
}
__device__ __forceinline__ double uniform_of(const PhiloxWords& r, double) {
  return static_cast<double>(bits53(r.w[0], r.w[1])) * 0x1p-53;
}

// Uniform in (0, 1], for logarithms: 32 bits that reach far into the tail, or 53.
__device__ __forceinline__ float positive_of(uint32_t w) { return (static_cast<float>(w) + 1.0f) * 0x1p-32f; }
__device__ __forceinline__ double positive_of(uint32_t high, uint32_t low) {
  return (static_cast<double>(bits53(high, low)) + 1.0) * 0x1p-53;
}

// Standard normal: Box and Muller 1958.
__device__ __forceinline__ float normal_of(const PhiloxWords& r, float) {
  const float angle = 6.283185307179586f * (static_cast<float>(r.w[1] >> 8) * 0x1p-24f);
  return ::sqrtf(-2.0f * ::logf(positive_of(r.w[0]))) * ::cosf(angle);
}
__device__ __forceinline__ double normal_of(const PhiloxWords& r, double) {
  const double angle = 6.283185307179586 * (static_cast<double>(bits53(r.w[2], r.w[3])) * 0x1p-53);
  return ::sqrt(-2.0 * ::log(positive_of(r.w[0], r.w[1]))) * ::cos(angle);
}

// Exponential with rate 1, never 0.
__device__ __forceinline__ float exponential_of(const PhiloxWords& r, float) {
  const float x = -::logf(positive_of(r.w[0]));
  return x > 0x1p-25f ? x : 0x1p-25f;
}
__device__ __forceinline__ double exponential_of(const PhiloxWords& r, double) {
  const double x = -::log(positive_of(r.w[0], r.w[1]));
  return x > 0x1p-54 ? x : 0x1p-54;
}

}  // namespace fireseed::cuda

// Neighbouring elements of a float dtype that is known at run time: loads and stores of up to 16 bytes at once.
#pragma once

#include "device/memory.cuh"

namespace fireseed::cuda {

// The first n of N elements; at once where `whole` says that they are aligned and all there.
template <int N, class U>
__device__ __forceinline__ Vec<U, N> load_some(const U* p, int n, bool whole) {
  if (whole) return Vec<U, N>::load_global(p);
  Vec<U, N> v{};
#pragma unroll
  for (int j = 0; j < N; ++j)
    if (j < n) v.v[j] = p[j];
  return v;
}
template <int N, class U>
__device__ __forceinline__ void store_some(const Vec<U, N>& v, U* p, int n, bool whole) {
  if (whole) return v.store_global(p);
#pragma unroll
  for (int j = 0; j < N; ++j)
    if (j < n) p[j] = v.v[j];
}

// Tensors of one dtype, moved kVec elements at a time: arithmetic in float for float32 and the halves, else in
// double.
struct FloatMemory {
  using Compute = float;
  static constexpr int kVec = 4;
  DType dtype;
  __device__ __forceinline__ void load(const void* p, int64_t i, int n, bool whole, float* x) const {
    if (dtype == DType::kFloat32) {
      const auto v = load_some<kVec>(static_cast<const float*>(p) + i, n, whole);
#pragma unroll
      for (int j = 0; j < kVec; ++j) x[j] = v.v[j];
    } else {
      const auto v = load_some<kVec>(static_cast<const uint16_t*>(p) + i, n, whole);
#pragma unroll
      for (int j = 0; j < kVec; ++j) x[j] = decode_float<float>(v.v[j], dtype);
    }
  }
  __device__ __forceinline__ void store(void* p, int64_t i, int n, bool whole, const float* x) const {
    if (dtype == DType::kFloat32) {
      store_some(Vec<float, kVec>{x[0], x[1], x[2], x[3]}, static_cast<float*>(p) + i, n, whole);
    } else {
      Vec<uint16_t, kVec> v;
#pragma unroll
      for (int j = 0; j < kVec; ++j) v.v[j] = half(x[j]);
      store_some(v, static_cast<uint16_t*>(p) + i, n, whole);
    }
  }
  __device__ __forceinline__ void store_one(void* p, int64_t i, float x) const {
    if (dtype == DType::kFloat32) static_cast<float*>(p)[i] = x;
    else static_cast<uint16_t*>(p)[i] = half(x);
  }

 private:
  __device__ __forceinline__ uint16_t half(float x) const {
    return dtype == DType::kFloat16 ? float_to_half(x).bits : float_to_bfloat(x).bits;
  }
};
struct DoubleMemory {
  using Compute = double;
  static constexpr int kVec = 2;
  __device__ __forceinline__ void load(const void* p, int64_t i, int n, bool whole, double* x) const {
    const auto v = load_some<kVec>(static_cast<const double*>(p) + i, n, whole);
#pragma unroll
    for (int j = 0; j < kVec; ++j) x[j] = v.v[j];
  }
  __device__ __forceinline__ void store(void* p, int64_t i, int n, bool whole, const double* x) const {
    store_some(Vec<double, kVec>{x[0], x[1]}, static_cast<double*>(p) + i, n, whole);
  }
};

}  // namespace fireseed::cuda

// Operands whose dtype is known at run time only: loads and stores with arithmetic in float, double or int64.
#pragma once

#include "device/vec.cuh"

namespace fireseed::cuda {

__device__ __forceinline__ float load_number(const void* p, int64_t i, DType t, float) {
  if (t == DType::kFloat32) return static_cast<const float*>(p)[i];
  if (t == DType::kFloat16) return half_to_float(static_cast<const float16*>(p)[i]);
  return static_cast<float>(static_cast<const bfloat16*>(p)[i]);
}
__device__ __forceinline__ double load_number(const void* p, int64_t i, DType, double) {
  return static_cast<const double*>(p)[i];
}
__device__ __forceinline__ int64_t load_number(const void* p, int64_t i, DType t, int64_t) {
  switch (t) {
    case DType::kInt64: return static_cast<const int64_t*>(p)[i];
    case DType::kInt32: return static_cast<const int32_t*>(p)[i];
    case DType::kInt16: return static_cast<const int16_t*>(p)[i];
    case DType::kInt8: return static_cast<const int8_t*>(p)[i];
    default: return static_cast<const uint8_t*>(p)[i];
  }
}
// Any float dtype as double.
__device__ __forceinline__ double load_double(const void* p, int64_t i, DType t) {
  return t == DType::kFloat64 ? load_number(p, i, t, double{}) : static_cast<double>(load_number(p, i, t, float{}));
}
// Any dtype from any arithmetic type; integers of fewer bits wrap.
template <class C>
__device__ __forceinline__ void store_number(void* p, int64_t i, DType t, C x) {
  switch (t) {
    case DType::kFloat32: static_cast<float*>(p)[i] = static_cast<float>(x); return;
    case DType::kFloat64: static_cast<double*>(p)[i] = static_cast<double>(x); return;
    case DType::kFloat16: static_cast<float16*>(p)[i] = float_to_half(static_cast<float>(x)); return;
    case DType::kBFloat16: static_cast<bfloat16*>(p)[i] = float_to_bfloat(static_cast<float>(x)); return;
    case DType::kBool: static_cast<uint8_t*>(p)[i] = x != C(0); return;
    case DType::kInt64: static_cast<int64_t*>(p)[i] = static_cast<int64_t>(x); return;
    case DType::kInt32: static_cast<int32_t*>(p)[i] = static_cast<int32_t>(x); return;
    case DType::kInt16: static_cast<int16_t*>(p)[i] = static_cast<int16_t>(x); return;
    default: static_cast<uint8_t*>(p)[i] = static_cast<uint8_t>(static_cast<int64_t>(x)); return;
  }
}

// The bits that store_number writes, and back; U is the unsigned integer of the dtype's size.
template <class U, class C>
__device__ __forceinline__ U encode(C x, DType t) {
  if constexpr (sizeof(U) == 1) {
    return t == DType::kBool ? U(x != C(0)) : static_cast<U>(static_cast<int64_t>(x));
  } else if constexpr (sizeof(U) == 2) {
    if (t == DType::kFloat16) return float_to_half(static_cast<float>(x)).bits;
    if (t == DType::kBFloat16) return float_to_bfloat(static_cast<float>(x)).bits;
    return static_cast<U>(static_cast<int64_t>(x));
  } else if constexpr (sizeof(U) == 4) {
    return t == DType::kFloat32 ? __float_as_uint(static_cast<float>(x)) : static_cast<U>(static_cast<int64_t>(x));
  } else {
    return static_cast<U>(t == DType::kFloat64 ? __double_as_longlong(static_cast<double>(x))
                                               : static_cast<int64_t>(x));
  }
}
template <class C, class U>
__device__ __forceinline__ C decode_float(U bits, DType t) {
  if constexpr (sizeof(U) == 2)
    return static_cast<C>(t == DType::kFloat16 ? half_to_float(half_bits<float16>(bits))
                                               : static_cast<float>(half_bits<bfloat16>(bits)));
  else if constexpr (sizeof(U) == 4) return static_cast<C>(__uint_as_float(bits));
  else return static_cast<C>(__longlong_as_double(static_cast<long long>(bits)));
}
// Calls f(U{}) with U as encode wants it.
template <class F>
void dispatch_unit(DType t, F&& f) {
  switch (dtype_size(t)) {
    case 1: f(uint8_t{}); break;
    case 2: f(uint16_t{}); break;
    case 4: f(uint32_t{}); break;
    default: f(uint64_t{}); break;
  }
}
// The same for floats, and the type of their arithmetic: f(U{}, C{}).
template <class F>
void dispatch_float_unit(DType t, F&& f) {
  if (t == DType::kFloat64) f(uint64_t{}, double{});
  else if (t == DType::kFloat32) f(uint32_t{}, float{});
  else f(uint16_t{}, float{});
}

// Calls f(float{}), f(double{}) or f(int64_t{}): the type that arithmetic on dtype t is done in.
template <class F>
void dispatch_compute(DType t, F&& f) {
  if (t == DType::kFloat64) f(double{});
  else if (is_floating(t)) f(float{});
  else f(int64_t{});
}
template <class F>
void dispatch_float_compute(DType t, const char* op, F&& f) {
  if (!is_floating(t)) fail(ErrorKind::kRuntime, op, ": not implemented for '", dtype_name(t), "', only for floats");
  if (t == DType::kFloat64) f(double{});
  else f(float{});
}

}  // namespace fireseed::cuda

// Element types: sizes, names, PyTorch's promotion table, and dispatch from a run-time DType to a C++ type.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/error.h"
#include "base/half.h"

namespace fireseed {

// Order matters: integers by width, then floats; promotion below relies on it.
enum class DType : int8_t {
  kBool,
  kUInt8,
  kInt8,
  kInt16,
  kInt32,
  kInt64,
  kFloat16,
  kBFloat16,
  kFloat32,
  kFloat64,
  kUndefined
};
inline constexpr int kNumDTypes = 10;

constexpr size_t dtype_size(DType t) {
  constexpr uint8_t kSize[] = {1, 1, 1, 2, 4, 8, 2, 2, 4, 8, 0};
  return kSize[static_cast<int>(t)];
}
// "float32", "int64", …: as in fireseed.float32.
constexpr const char* dtype_name(DType t) {
  constexpr const char* kName[] = {"bool",    "uint8",    "int8",    "int16",   "int32",    "int64",
                                   "float16", "bfloat16", "float32", "float64", "undefined"};
  return kName[static_cast<int>(t)];
}
constexpr bool is_floating(DType t) { return t >= DType::kFloat16 && t <= DType::kFloat64; }
constexpr bool is_integral(DType t) { return t <= DType::kInt64; }  // bool included
constexpr bool is_half(DType t) { return t == DType::kFloat16 || t == DType::kBFloat16; }

// Result type of two dtypes of the same kind of operand (torch.promote_types).
constexpr DType promote_types(DType a, DType b) {
  if (a == b) return a;
  if (a == DType::kUndefined) return b;
  if (b == DType::kUndefined) return a;
  const bool fa = is_floating(a), fb = is_floating(b);
  if (fa != fb) return fa ? a : b;
  if (fa) {
    if (is_half(a) && is_half(b)) return DType::kFloat32;
    return a > b ? a : b;
  }
  if ((a == DType::kUInt8 && b == DType::kInt8) || (a == DType::kInt8 && b == DType::kUInt8)) return DType::kInt16;
  return a > b ? a : b;  // uint8 with a wider signed type: the signed type; bool is lowest
}

template <class T>
struct dtype_of;
template <> struct dtype_of<bool> { static constexpr DType value = DType::kBool; };
template <> struct dtype_of<uint8_t> { static constexpr DType value = DType::kUInt8; };
template <> struct dtype_of<int8_t> { static constexpr DType value = DType::kInt8; };
template <> struct dtype_of<int16_t> { static constexpr DType value = DType::kInt16; };
template <> struct dtype_of<int32_t> { static constexpr DType value = DType::kInt32; };
template <> struct dtype_of<int64_t> { static constexpr DType value = DType::kInt64; };
template <> struct dtype_of<float16> { static constexpr DType value = DType::kFloat16; };
template <> struct dtype_of<bfloat16> { static constexpr DType value = DType::kBFloat16; };
template <> struct dtype_of<float> { static constexpr DType value = DType::kFloat32; };
template <> struct dtype_of<double> { static constexpr DType value = DType::kFloat64; };

template <class T>
struct TypeTag {
  using type = T;
};

// Calls f(TypeTag<T>{}) for the C++ type of `t`. The lists say which types are instantiated; the caller's
// infer has already refused the others, so reaching the end is an internal error.
template <class F>
void dispatch_all(DType t, F&& f) {
  switch (t) {
    case DType::kBool: return f(TypeTag<bool>{});
    case DType::kUInt8: return f(TypeTag<uint8_t>{});
    case DType::kInt8: return f(TypeTag<int8_t>{});
    case DType::kInt16: return f(TypeTag<int16_t>{});
    case DType::kInt32: return f(TypeTag<int32_t>{});
    case DType::kInt64: return f(TypeTag<int64_t>{});
    case DType::kFloat16: return f(TypeTag<float16>{});
    case DType::kBFloat16: return f(TypeTag<bfloat16>{});
    case DType::kFloat32: return f(TypeTag<float>{});
    case DType::kFloat64: return f(TypeTag<double>{});
    case DType::kUndefined: break;
  }
}
// Floats only: where an infer let integers pass, a kernel reading four bytes of each would run over their end.
template <class F>
void dispatch_float(DType t, F&& f) {
  switch (t) {
    case DType::kFloat16: return f(TypeTag<float16>{});
    case DType::kBFloat16: return f(TypeTag<bfloat16>{});
    case DType::kFloat64: return f(TypeTag<double>{});
    case DType::kFloat32: return f(TypeTag<float>{});
    default:
      fail(ErrorKind::kRuntime, "not implemented for '", dtype_name(t), "', only for floats; convert with .float()");
  }
}
// By element size only, for kernels that move bits: uint8_t, uint16_t, uint32_t, uint64_t.
template <class F>
void dispatch_size(DType t, F&& f) {
  switch (dtype_size(t)) {
    case 1: return f(TypeTag<uint8_t>{});
    case 2: return f(TypeTag<uint16_t>{});
    case 4: return f(TypeTag<uint32_t>{});
    default: return f(TypeTag<uint64_t>{});
  }
}

// The type sums of T are accumulated in, and its arithmetic is done in: halves in float.
template <class T>
struct compute_type_of {
  using type = T;
};
template <> struct compute_type_of<float16> { using type = float; };
template <> struct compute_type_of<bfloat16> { using type = float; };
template <class T>
using compute_type = typename compute_type_of<T>::type;

}  // namespace fireseed

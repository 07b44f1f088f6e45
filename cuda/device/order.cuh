// Sort keys: unsigned numbers in the order of the elements they stand for.
#pragma once

#include <type_traits>

#include "base/dtype.h"
#include "runtime/launch.h"

namespace fireseed::cuda {

// Note [Order keys]
// The keys of cpp/cpu/sort.h at the width of the element, so that kernels are made for widths, not ten dtypes:
// floats flip their bits so that NaN comes last and -0 = +0, signed integers flip the sign bit; descending order
// complements the key. All but NaN and zero are got back from their key; those two are read again where they came
// from, so that their bits stay.
struct KeyRule {
  uint64_t sign = 0;      // the sign bit; 0: unsigned
  uint64_t infinity = 0;  // of floats: the bits of infinity
  bool floating = false, descending = false;

  constexpr explicit KeyRule(DType t, bool descending_ = false) : descending(descending_) {
    floating = is_floating(t);
    if (t != DType::kBool && t != DType::kUInt8) sign = uint64_t{1} << (8 * dtype_size(t) - 1);
    if (t == DType::kFloat64) infinity = 0x7ff0000000000000u;
    if (t == DType::kFloat32) infinity = 0x7f800000u;
    if (t == DType::kBFloat16) infinity = 0x7f80u;
    if (t == DType::kFloat16) infinity = 0x7c00u;
  }
};

template <class U>
inline constexpr U kLastKey = static_cast<U>(~U(0));

// U: the unsigned type of the element's size.
template <class U>
__device__ __forceinline__ U order_key(U bits, const KeyRule& rule) {
  const U sign = static_cast<U>(rule.sign);
  U key = static_cast<U>(bits ^ sign);
  if (rule.floating) {
    const U magnitude = static_cast<U>(bits & static_cast<U>(~sign));
    if (magnitude > static_cast<U>(rule.infinity)) key = kLastKey<U>;
    else if (magnitude == 0) key = sign;
    else if (bits & sign) key = static_cast<U>(~bits);
  }
  return rule.descending ? static_cast<U>(~key) : key;
}

}  // namespace fireseed::cuda

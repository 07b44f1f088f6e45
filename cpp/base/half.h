// Storage types for the 16-bit floats, with exact conversions; arithmetic happens in float.
#pragma once

#include <cstdint>
#include <cstring>

#include "base/host_device.h"

namespace fireseed {

namespace detail {
FS_HD inline uint32_t float_bits(float x) {
  uint32_t u;
  std::memcpy(&u, &x, 4);
  return u;
}
FS_HD inline float bits_float(uint32_t u) {
  float x;
  std::memcpy(&x, &u, 4);
  return x;
}
}  // namespace detail

struct bfloat16 {
  uint16_t bits;
  bfloat16() = default;
  FS_HD explicit bfloat16(float x) {  // round to nearest even; NaN stays NaN
    const uint32_t u = detail::float_bits(x);
    bits = (u & 0x7fffffffu) > 0x7f800000u ? static_cast<uint16_t>(0x7fc0u)
                                           : static_cast<uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
  }
  FS_HD explicit operator float() const { return detail::bits_float(static_cast<uint32_t>(bits) << 16); }
};

struct float16 {
  uint16_t bits;
  float16() = default;
  FS_HD explicit float16(float x) {  // round to nearest even
    const uint32_t u = detail::float_bits(x), sign = (u >> 16) & 0x8000u, a = u & 0x7fffffffu;
    if (a > 0x7f800000u) {
      bits = static_cast<uint16_t>(sign | 0x7e00u);
    } else if (a >= 0x477ff000u) {  // rounds to at least 65520: infinity
      bits = static_cast<uint16_t>(sign | 0x7c00u);
    } else if (a < 0x38800000u) {  // subnormal half: let float addition round at 2^-24
      const float r = detail::bits_float(a) + 0.5f;
      bits = static_cast<uint16_t>(sign | (detail::float_bits(r) - 0x3f000000u));
    } else {
      bits = static_cast<uint16_t>(sign | ((a + 0xfffu + ((a >> 13) & 1u) - 0x38000000u) >> 13));
    }
  }
  FS_HD explicit operator float() const {
    const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16, e = (bits >> 10) & 0x1fu, m = bits & 0x3ffu;
    if (e == 0) {  // zero and subnormals: m * 2^-24
      const float f = static_cast<float>(m) * 5.9604644775390625e-8f;
      return detail::bits_float(detail::float_bits(f) | sign);
    }
    if (e == 31) return detail::bits_float(sign | 0x7f800000u | (m << 13));
    return detail::bits_float(sign | ((e + 112u) << 23) | (m << 13));
  }
};

}  // namespace fireseed

// Scalar: a Python number (bool, int or float) on its way into an op; trivially copyable, so it may stand in attrs.
#pragma once

#include <cstdint>

#include "base/dtype.h"

namespace fireseed {

struct Scalar {
  enum Kind : int64_t { kBool, kInt, kFloat };
  Kind kind = kInt;
  union {
    int64_t i = 0;
    double d;
  };

  Scalar() = default;
  Scalar(double v) : kind(kFloat), d(v) {}
  Scalar(float v) : kind(kFloat), d(v) {}
  Scalar(int v) : kind(kInt), i(v) {}
  Scalar(int64_t v) : kind(kInt), i(v) {}
  Scalar(bool v) : kind(kBool), i(v) {}

  bool is_float() const { return kind == kFloat; }
  double to_double() const { return kind == kFloat ? d : static_cast<double>(i); }
  int64_t to_int() const { return kind == kFloat ? static_cast<int64_t>(d) : i; }
  bool to_bool() const { return kind == kFloat ? d != 0 : i != 0; }
};

// Whether t can mean s: as in PyTorch integers must lie in its range (uint8 also takes -255..-1, which wrap),
// fractions are cut off, and infinities and NaN need a float.
constexpr bool fits(Scalar s, DType t) {
  if (t == DType::kBool || t == DType::kFloat64) return true;
  if (is_floating(t)) {
    const double x = s.to_double(), size = x < 0 ? -x : x;
    const double most = t == DType::kFloat16 ? 65504.0 : t == DType::kBFloat16 ? 0x1.FEp127 : 0x1.FFFFFEp127;
    return !(size > most) || size > 0x1.FFFFFFFFFFFFFp1023;
  }
  const int bits = t == DType::kUInt8 ? 8 : 8 * static_cast<int>(dtype_size(t)) - 1;
  if (s.is_float()) {
    const double end = bits == 63 ? 0x1p63 : static_cast<double>(int64_t{1} << bits);
    return s.d < end && s.d >= -end;
  }
  if (bits == 63) return true;
  const int64_t end = int64_t{1} << bits;
  return s.i < end && s.i >= -end && !(t == DType::kUInt8 && s.i == -end);
}
inline void check_fits(Scalar s, DType t, const char* op) {
  if (fits(s, t)) return;
  if (s.is_float())
    fail(ErrorKind::kRuntime, op, ": value ", s.d, " cannot be converted to type ", dtype_name(t),
         " without overflow");
  fail(ErrorKind::kRuntime, op, ": value ", s.i, " cannot be converted to type ", dtype_name(t), " without overflow");
}

}  // namespace fireseed

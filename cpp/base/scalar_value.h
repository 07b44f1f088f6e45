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

}  // namespace fireseed

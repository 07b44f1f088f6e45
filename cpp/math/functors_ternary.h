// Functors of three inputs.
#pragma once

#include "math/functor.h"

namespace fireseed {
inline namespace FS_MATH_NAMESPACE {

#define FS_FUNCTOR3_GRAD(name, formula)                                                                        \
  template <class V>                                                                                           \
  FS_FN V name([[maybe_unused]] V g, [[maybe_unused]] V a, [[maybe_unused]] V b, [[maybe_unused]] V c) const { \
    return formula;                                                                                            \
  }

// a + value b c.
struct Addcmul {
  double value = 1.0;
  static constexpr int kSaves = kSave1 | kSave2;
  template <class V>
  FS_FN V forward(V a, V b, V c) const {
    return a + b * c * value;
  }
  FS_FUNCTOR3_GRAD(grad_a, g)
  FS_FUNCTOR3_GRAD(grad_b, g*(c* value))
  FS_FUNCTOR3_GRAD(grad_c, g*(b* value))
};
// a + value b / c.
struct Addcdiv {
  double value = 1.0;
  static constexpr int kSaves = kSave1 | kSave2;
  template <class V>
  FS_FN V forward(V a, V b, V c) const {
    return a + b / c * value;
  }
  FS_FUNCTOR3_GRAD(grad_a, g)
  FS_FUNCTOR3_GRAD(grad_b, g* value / c)
  FS_FUNCTOR3_GRAD(grad_c, -(g*(b* value / (c * c))))
};
// a + c (b - a), from the nearer end.
struct Lerp {
  static constexpr int kSaves = kSave0 | kSave1 | kSave2;
  template <class V>
  FS_FN V forward(V a, V b, V c) const {
    return where(abs(c) < 0.5, a + c * (b - a), b - (b - a) * (1.0 - c));
  }
  FS_FUNCTOR3_GRAD(grad_a, g * (1.0 - c))
  FS_FUNCTOR3_GRAD(grad_b, g* c)
  FS_FUNCTOR3_GRAD(grad_c, g*(b - a))
};
// min(max(a, b), c).
struct ClampTensor {
  static constexpr int kSaves = kSave0 | kSave1 | kSave2;
  template <class V>
  FS_FN V forward(V a, V b, V c) const {
    return minimum(maximum(a, b), c);
  }
  FS_FUNCTOR3_GRAD(grad_a, where((a >= b) & (a <= c), g, 0.0))
  FS_FUNCTOR3_GRAD(grad_b, where((b < c) & (a < b), g, 0.0))
  FS_FUNCTOR3_GRAD(grad_c, where((a > c) | (c < b), g, 0.0))
};

}  // namespace FS_MATH_NAMESPACE
}  // namespace fireseed

// Functors of two inputs: arithmetic, powers, extremes, bits, comparisons and logic.
#pragma once

#include "math/functor.h"

namespace fireseed {
inline namespace FS_MATH_NAMESPACE {

#define FS_FUNCTOR2(Name, saves, forward_formula, grad_x_formula, grad_y_formula) \
  struct Name { FS_FUNCTOR2_BODY(saves, forward_formula, grad_x_formula, grad_y_formula) };

// ---- arithmetic --------------------------------------------------------------------------------------------
struct Add {
  double alpha = 1.0;
  FS_FUNCTOR2_BODY(kSaveNone, alpha == 1.0 ? x + y : x + y * alpha, g, alpha == 1.0 ? g : g * alpha)
};
struct Sub {
  double alpha = 1.0;
  FS_FUNCTOR2_BODY(kSaveNone, alpha == 1.0 ? x - y : x - y * alpha, g, g * -alpha)
};
FS_FUNCTOR2(Mul, kSave0 | kSave1, x* y, g* y, g* x)
FS_FUNCTOR2(Div, kSave0 | kSave1, x / y, g / y, -(g*(x / y / y)))
// Quotients rounded towards zero and down; the lanes' division of integers truncates.
FS_FUNCTOR2(DivTrunc, kSaveNone, trunc(x / y), zeros_like(g), zeros_like(g))
FS_FUNCTOR2(FloorDivide, kSaveNone, floor_div(x, y), zeros_like(g), zeros_like(g))
FS_FUNCTOR2(Fmod, kSave0 | kSave1, fmod(x, y), g, -(g* trunc(x / y)))
FS_FUNCTOR2(Remainder, kSave0 | kSave1, remainder(x, y), g, -(g* floor(x / y)))
FS_FUNCTOR2(Pow, kSave0 | kSave1 | kSaveOut, pow(x, y), g* where(y == 0.0, 0.0, y* pow(x, y - 1.0)),
            g* where((x == 0.0) & (y >= 0.0), 0.0, z* log(x)))

// ---- extremes ----------------------------------------------------------------------------------------------
FS_FUNCTOR2(Maximum, kSave0 | kSave1, maximum(x, y), where(x == y, g * 0.5, where(x < y, 0.0, g)),
            where(x == y, g * 0.5, where(x > y, 0.0, g)))
FS_FUNCTOR2(Minimum, kSave0 | kSave1, minimum(x, y), where(x == y, g * 0.5, where(x > y, 0.0, g)),
            where(x == y, g * 0.5, where(x < y, 0.0, g)))
FS_FUNCTOR2(Fmax, kSave0 | kSave1, fmax(x, y), where((x >= y) | (y != y), g, 0.0), where((x >= y) | (y != y), 0.0, g))
FS_FUNCTOR2(Fmin, kSave0 | kSave1, fmin(x, y), where((x <= y) | (y != y), g, 0.0), where((x <= y) | (y != y), 0.0, g))

// ---- angles, lengths, logarithms ---------------------------------------------------------------------------
struct Atan2 {
  FS_FUNCTOR2_BODY(kSave0 | kSave1, atan2(x, y), g*(y* inverse_square(x, y)), -(g*(x* inverse_square(x, y))))
  // 1 / (x^2 + y^2), 0 at the origin.
  template <class V>
  FS_FN static V inverse_square(V x, V y) {
    const V s = x * x + y * y;
    return where(s == 0.0, 0.0, 1.0 / s);
  }
};
FS_FUNCTOR2(Hypot, kSave0 | kSave1 | kSaveOut, hypot(x, y), g*(x / z), g*(y / z))
FS_FUNCTOR2(Copysign, kSave0 | kSaveOut, copysign(x, y), g* where(x == 0.0, 0.0, z / x), zeros_like(g))
FS_FUNCTOR2(Xlogy, kSave0 | kSave1, where(y != y, y, where(x == 0.0, 0.0, x* log(y))),
            where((x == 0.0) & (y <= 0.0), 0.0, g* log(y)), g*(x / y))
FS_FUNCTOR2(Xlog1py, kSave0 | kSave1, where(y != y, y, where(x == 0.0, 0.0, x* log1p(y))),
            where((x == 0.0) & (y <= -1.0), 0.0, g* log1p(y)), g*(x / (y + 1.0)))
// log(exp(x) + exp(y)) without overflow.
FS_FUNCTOR2(Logaddexp, kSave0 | kSave1,
            where((x == y) & (abs(x) == __builtin_inf()), x, maximum(x, y) + log1p(exp(-abs(x - y)))),
            g* sigmoid(x - y), g* sigmoid(y - x))
FS_FUNCTOR2(Logaddexp2, kSave0 | kSave1,
            where((x == y) & (abs(x) == __builtin_inf()), x,
                  maximum(x, y) + log1p(exp2(-abs(x - y))) * 1.44269504088896340736),
            g* sigmoid((x - y) * 0.693147180559945309417), g* sigmoid((y - x) * 0.693147180559945309417))
// 0, y or 1 for x < 0, x = 0, x > 0.
FS_FUNCTOR2(Heaviside, kSaveNone,
            where(x == 0.0, y, where(x != x, x, where(x < 0.0, zeros_like(x), zeros_like(x) + 1.0))), zeros_like(g),
            zeros_like(g))
// y is the slope, already broadcast to x's shape.
FS_FUNCTOR2(Prelu, kSave0 | kSave1, where(x > 0.0, x, x* y), where(x > 0.0, g, g* y), where(x > 0.0, 0.0, g* x))
// x + weight (y - x), from the nearer end.
struct LerpScalar {
  double weight = 0.5;
  FS_FUNCTOR2_BODY(kSaveNone, weight < 0.5 ? x + (y - x) * weight : y - (y - x) * (1.0 - weight), g * (1.0 - weight),
                   g* weight)
};

// ---- bits of integers --------------------------------------------------------------------------------------
#define FS_FUNCTOR_BITS(Name, formula) \
  struct Name {                        \
    template <class V>                 \
    FS_FN V forward(V x, V y) const {  \
      return formula;                  \
    }                                  \
  };
FS_FUNCTOR_BITS(BitwiseAnd, x& y)
FS_FUNCTOR_BITS(BitwiseOr, x | y)
FS_FUNCTOR_BITS(BitwiseXor, x ^ y)

// ---- comparisons and logic (bool results) ------------------------------------------------------------------
#define FS_FUNCTOR_COMPARE(Name, formula) \
  struct Name {                           \
    template <class V>                    \
    FS_FN auto forward(V x, V y) const {  \
      return formula;                     \
    }                                     \
  };
FS_FUNCTOR_COMPARE(Eq, x == y)
FS_FUNCTOR_COMPARE(Ne, x != y)
FS_FUNCTOR_COMPARE(Lt, x < y)
FS_FUNCTOR_COMPARE(Le, x <= y)
FS_FUNCTOR_COMPARE(Gt, x > y)
FS_FUNCTOR_COMPARE(Ge, x >= y)
FS_FUNCTOR_COMPARE(LogicalAnd, (x != 0) & (y != 0))
FS_FUNCTOR_COMPARE(LogicalOr, (x != 0) | (y != 0))
FS_FUNCTOR_COMPARE(LogicalXor, (x != 0) ^ (y != 0))

}  // namespace FS_MATH_NAMESPACE
}  // namespace fireseed

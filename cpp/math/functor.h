// What all functors share: which tensors a gradient reads, and the macros that state a formula in one line.
#pragma once

#include "math/scalar.h"

namespace fireseed {
inline namespace FS_MATH_NAMESPACE {

// Note [Functors]
// `V` is a register (Vec), a number (Num), a Tensor or an expression. A formula may use + - * /, comparisons,
// where(c, a, b), the functions of math/scalar.h and plain numbers on either side; no `if` on a V. Parameters are
// double members: the functor object is the op's attrs. Gradients: g is the cotangent of the output.
//   one input    forward(x)        grad(g, x, y)                        y = the output
//   two inputs   forward(x, y)     grad_x(g, x, y, z), grad_y(…)        z = the output
//   three        forward(a, b, c)  grad_a(g, a, b, c), grad_b, grad_c
// kSaves says which of the tensors the gradient reads; those it does not name are not passed.
enum SaveBits : int { kSaveNone = 0, kSave0 = 1, kSave1 = 2, kSave2 = 4, kSaveOut = 8 };

// The zero of a register; ops/ has the one of a tensor.
template <Lanes V>
FS_FN V zeros_like(V) {
  return V(scalar_of<V>(0));
}

#define FS_FUNCTOR1(Name, saves, forward_formula, grad_formula)                            \
  struct Name {                                                                            \
    static constexpr int kSaves = saves;                                                   \
    template <class V>                                                                     \
    FS_FN V forward([[maybe_unused]] V x) const {                                          \
      return forward_formula;                                                              \
    }                                                                                      \
    template <class V>                                                                     \
    FS_FN V grad([[maybe_unused]] V g, [[maybe_unused]] V x, [[maybe_unused]] V y) const { \
      return grad_formula;                                                                 \
    }                                                                                      \
  };
// The part of a two-input functor inside its struct, so that parameters can stand beside it.
#define FS_FUNCTOR2_BODY(saves, forward_formula, grad_x_formula, grad_y_formula)                                 \
  static constexpr int kSaves = saves;                                                                           \
  template <class V>                                                                                             \
  FS_FN V forward(V x, V y) const {                                                                              \
    return forward_formula;                                                                                      \
  }                                                                                                              \
  template <class V>                                                                                             \
  FS_FN V grad_x([[maybe_unused]] V g, [[maybe_unused]] V x, [[maybe_unused]] V y, [[maybe_unused]] V z) const { \
    return grad_x_formula;                                                                                       \
  }                                                                                                              \
  template <class V>                                                                                             \
  FS_FN V grad_y([[maybe_unused]] V g, [[maybe_unused]] V x, [[maybe_unused]] V y, [[maybe_unused]] V z) const { \
    return grad_y_formula;                                                                                       \
  }
#define FS_FUNCTOR1_BODY(saves, forward_formula, grad_formula)                           \
  static constexpr int kSaves = saves;                                                   \
  template <class V>                                                                     \
  FS_FN V forward(V x) const {                                                           \
    return forward_formula;                                                              \
  }                                                                                      \
  template <class V>                                                                     \
  FS_FN V grad([[maybe_unused]] V g, [[maybe_unused]] V x, [[maybe_unused]] V y) const { \
    return grad_formula;                                                                 \
  }

}  // namespace FS_MATH_NAMESPACE
}  // namespace fireseed

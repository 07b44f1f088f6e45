// Records of pointwise ops made from functors: shape rules, gradients for any order, fused gradients.
#pragma once

#include <type_traits>

#include "math/functors.h"
#include "ops/pointwise.h"
#include "ops/records.h"
#include "ops/shape.h"

namespace fireseed {

// ---- shape rules -------------------------------------------------------------------------------------------

// Results keep the order of x's dimensions in memory (channels last stays channels last), without its gaps.
void keep_layout(const Tensor& shell, const Tensor& x);
inline void like_first(const Tensor& x, DType dtype, Tensor* out) {
  const TensorImpl* t = x.impl();
  out[0] = make_shell(t->sizes, t->ndim, dtype, t->device);
  if (__builtin_expect(!x.is_contiguous(), false)) keep_layout(out[0], x);
}
inline void unary_infer(Inputs in, const void*, Tensor* out) { like_first(in[0], in[0].dtype(), out); }
inline void test_infer(Inputs in, const void*, Tensor* out) { like_first(in[0], DType::kBool, out); }

// Broadcasts all inputs; 0-dim CPU tensors may stand beside tensors of a device.
void broadcast_infer(const char* op, Inputs in, DType dtype, Tensor* out);
template <const Op& kOp>
void binary_infer(Inputs in, const void*, Tensor* out) {
  if (in[0].same_shape(in[1]) && in[0].device() == in[1].device()) return like_first(in[0], in[0].dtype(), out);
  broadcast_infer(kOp.name, in, in[0].dtype(), out);
}
template <const Op& kOp>
void ternary_infer(Inputs in, const void*, Tensor* out) {
  broadcast_infer(kOp.name, in, in[0].dtype(), out);
}
template <const Op& kOp>
void compare_infer(Inputs in, const void*, Tensor* out) {
  broadcast_infer(kOp.name, in, DType::kBool, out);
}

// ---- gradients ---------------------------------------------------------------------------------------------

template <class F>
F functor_of(const Vjp& c) {
  if constexpr (std::is_empty_v<F>) return F{};
  else return c.attrs<F>();
}
template <class F>
constexpr uint16_t functor_size() {
  return std::is_empty_v<F> ? 0 : sizeof(F);
}
template <class F>
constexpr uint32_t functor_saves() {
  return ((F::kSaves & kSave0) ? save_input(0) : 0) | ((F::kSaves & kSave1) ? save_input(1) : 0) |
         ((F::kSaves & kSave2) ? save_input(2) : 0) | ((F::kSaves & kSaveOut) ? save_output(0) : 0);
}
// Saved tensor, or an undefined one where the formula does not read it.
template <class F>
Tensor saved(const Vjp& c, int i) {
  return (F::kSaves & (1 << i)) ? c.input(i) : Tensor();
}
template <class F>
Tensor saved_out(const Vjp& c) {
  return (F::kSaves & kSaveOut) ? c.output(0) : Tensor();
}

template <class F>
void unary_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  gx[0] = functor_of<F>(c).grad(g[0], saved<F>(c, 0), saved_out<F>(c));
}
template <class F, const Op& kBackward>
void unary_vjp_fused(const Vjp& c, const Tensor* g, Tensor* gx) {
  const F f = functor_of<F>(c);
  Tensor in[3] = {g[0]};
  size_t n = 1;
  if (F::kSaves & kSave0) in[n++] = c.input(0);
  if (F::kSaves & kSaveOut) in[n++] = c.output(0);
  apply(kBackward, Inputs(in, n), &f, gx);
}
template <class F>
void binary_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  const F f = functor_of<F>(c);
  // With kBilinear an input is saved only where the other one wants its gradient.
  const bool bilinear = F::kSaves == (kSave0 | kSave1) && std::is_same_v<F, Mul>;
  const Tensor x = bilinear && !c.needs(1) ? Tensor() : saved<F>(c, 0);
  const Tensor y = bilinear && !c.needs(0) ? Tensor() : saved<F>(c, 1);
  const Tensor z = saved_out<F>(c);
  if (c.needs(0)) gx[0] = f.grad_x(g[0], x, y, z);
  if (c.needs(1)) gx[1] = f.grad_y(g[0], x, y, z);
}
template <class F>
void ternary_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  const F f = functor_of<F>(c);
  const Tensor x = saved<F>(c, 0), y = saved<F>(c, 1), z = saved<F>(c, 2);
  if (c.needs(0)) gx[0] = f.grad_a(g[0], x, y, z);
  if (c.needs(1)) gx[1] = f.grad_b(g[0], x, y, z);
  if (c.needs(2)) gx[2] = f.grad_c(g[0], x, y, z);
}
// Only the prediction's gradient has a kernel; a target's is composed.
template <class F, const Op& kBackward>
void loss_vjp_fused(const Vjp& c, const Tensor* g, Tensor* gx) {
  const F f = functor_of<F>(c);
  const Tensor x = c.input(0), y = c.input(1);
  if (c.needs(0)) {
    const Tensor in[] = {g[0], x, y};
    apply(kBackward, in, &f, gx);
  }
  if (c.needs(1)) gx[1] = f.grad_y(g[0], x, y, Tensor());
}

// ---- records -----------------------------------------------------------------------------------------------

inline constexpr uint32_t kPointwiseFlags = kPointwise | kInPlaceOk;

template <class F, const Op& kBackward>
constexpr Op unary_op(const char* name) {
  return Op{.name = name,
            .flags = kPointwiseFlags,
            .saves = functor_saves<F>(),
            .attrs_size = functor_size<F>(),
            .infer = unary_infer,
            .vjp = unary_vjp<F>,
            .vjp_fused = unary_vjp_fused<F, kBackward>};
}
template <class F>
constexpr Op backward_op(const char* name) {
  return Op{.name = name,
            .flags = kPointwiseFlags | kNotDifferentiable,
            .attrs_size = functor_size<F>(),
            .infer = unary_infer};
}
template <class F, const Op& kOp>
constexpr Op binary_op(const char* name, uint32_t flags = 0) {
  return Op{.name = name,
            .flags = kPointwiseFlags | flags,
            .saves = functor_saves<F>(),
            .attrs_size = functor_size<F>(),
            .infer = binary_infer<kOp>,
            .vjp = binary_vjp<F>};
}
template <class F, const Op& kOp>
constexpr Op ternary_op(const char* name) {
  return Op{.name = name,
            .flags = kPointwiseFlags,
            .saves = functor_saves<F>(),
            .attrs_size = functor_size<F>(),
            .infer = ternary_infer<kOp>,
            .vjp = ternary_vjp<F>};
}
template <const Op& kOp>
constexpr Op compare_op(const char* name) {
  return Op{.name = name, .flags = kPointwise | kNotDifferentiable, .infer = compare_infer<kOp>};
}

// Defines the records of an FS_UNARY line.
#define FS_UNARY_RECORDS(name_, Functor)                                    \
  constinit Op op::name_ = unary_op<Functor, op::name_##_backward>(#name_); \
  constinit Op op::name_##_backward = backward_op<Functor>(#name_ "_backward");

}  // namespace fireseed

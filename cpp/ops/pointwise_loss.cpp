// Records and functions of the elementwise losses.
#include "ops/pointwise_rules.h"

namespace fireseed {

namespace {

template <class F, const Op& kOp, const Op& kBackward>
constexpr Op loss_op(const char* name) {
  Op r = binary_op<F, kOp>(name);
  r.vjp_fused = loss_vjp_fused<F, kBackward>;
  return r;
}
template <class F, const Op& kOp>
constexpr Op loss_backward_op(const char* name) {
  return Op{.name = name,
            .flags = kPointwise | kNotDifferentiable,
            .attrs_size = functor_size<F>(),
            .infer = ternary_infer<kOp>};
}

}  // namespace

#define FS_LOSS_RECORDS(name_, Functor)                                               \
  constinit Op op::name_ = loss_op<Functor, op::name_, op::name_##_backward>(#name_); \
  constinit Op op::name_##_backward = loss_backward_op<Functor, op::name_##_backward>(#name_ "_backward");
FS_LOSS_RECORDS(mse_loss, MseLoss)
FS_LOSS_RECORDS(l1_loss, L1Loss)
FS_LOSS_RECORDS(smooth_l1_loss, SmoothL1Loss)
FS_LOSS_RECORDS(huber_loss, HuberLoss)
FS_LOSS_RECORDS(bce_loss, BceLoss)
FS_LOSS_RECORDS(bce_with_logits_loss, BceWithLogitsLoss)
#undef FS_LOSS_RECORDS
constinit Op op::soft_margin_loss = binary_op<SoftMarginLoss, op::soft_margin_loss>("soft_margin_loss");
constinit Op op::kl_div = binary_op<KlDiv, op::kl_div>("kl_div");
constinit Op op::kl_div_log = binary_op<KlDivLog, op::kl_div_log>("kl_div_log");

namespace {
template <class A>
Tensor run(const Op& op, const Tensor& x, const Tensor& y, const A& attrs) {
  const DType t = result_type(x, y);
  Tensor in[2] = {cast_operand(x, t), cast_operand(y, t)}, out;
  FS_CHECK_KIND(is_floating(t), ErrorKind::kNotImplemented, "\"", op.name, "\" not implemented for '", dtype_name(t),
                "'");
  apply(op, in, &attrs, &out);
  return out;
}
}  // namespace

Tensor mse_loss_elements(const Tensor& x, const Tensor& y) { return run(op::mse_loss, x, y, MseLoss{}); }
Tensor l1_loss_elements(const Tensor& x, const Tensor& y) { return run(op::l1_loss, x, y, L1Loss{}); }
Tensor smooth_l1_loss_elements(const Tensor& x, const Tensor& y, double beta) {
  return run(op::smooth_l1_loss, x, y, SmoothL1Loss{beta});
}
Tensor huber_loss_elements(const Tensor& x, const Tensor& y, double delta) {
  return run(op::huber_loss, x, y, HuberLoss{delta});
}
Tensor bce_loss_elements(const Tensor& x, const Tensor& y) { return run(op::bce_loss, x, y, BceLoss{}); }
Tensor bce_with_logits_loss_elements(const Tensor& x, const Tensor& y) {
  return run(op::bce_with_logits_loss, x, y, BceWithLogitsLoss{});
}
Tensor soft_margin_loss_elements(const Tensor& x, const Tensor& y) {
  return run(op::soft_margin_loss, x, y, SoftMarginLoss{});
}
Tensor kl_div_elements(const Tensor& x, const Tensor& y, bool log_target) {
  return log_target ? run(op::kl_div_log, x, y, KlDivLog{}) : run(op::kl_div, x, y, KlDiv{});
}

}  // namespace fireseed

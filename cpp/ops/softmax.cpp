// Records of softmax and log_softmax.
#include "ops/softmax.h"

#include "ops/copy.h"
#include "ops/pointwise.h"
#include "ops/records.h"
#include "ops/reduce.h"
#include "tensor/attrs/softmax.h"

namespace fireseed {
namespace {

void softmax_infer(Inputs in, const void*, Tensor* out) {
  out[0] = make_shell(in[0].sizes(), in[0].dtype(), in[0].device());
}

// y (g - Σ g y)
void softmax_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  const Tensor y = c.output(), gy = g[0] * y;
  gx[0] = gy - y * sum(gy, Dims{c.attrs<SoftmaxAttrs>().dim}, true);
}
void softmax_vjp_fused(const Vjp& c, const Tensor* g, Tensor* gx) {
  gx[0] = apply1(op::softmax_backward, {g[0], c.output()}, c.attrs<SoftmaxAttrs>());
}
// g - exp(y) Σ g
void log_softmax_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  gx[0] = g[0] - exp(c.output()) * sum(g[0], Dims{c.attrs<SoftmaxAttrs>().dim}, true);
}
void log_softmax_vjp_fused(const Vjp& c, const Tensor* g, Tensor* gx) {
  gx[0] = apply1(op::log_softmax_backward, {g[0], c.output()}, c.attrs<SoftmaxAttrs>());
}

Tensor run(const Op& op, const Tensor& x, int64_t dim, DType dtype) {
  const Tensor y = dtype == DType::kUndefined ? x : to(x, dtype);
  FS_CHECK_KIND(y.is_floating(), ErrorKind::kNotImplemented, op.name, ": not implemented for dtype ",
                dtype_name(y.dtype()), "; expected a floating point dtype. Convert with .float(), or give dtype=");
  return apply1(op, {y}, SoftmaxAttrs{wrap_dim(dim, x.dim(), op.name)});
}

}  // namespace

constinit Op op::softmax{.name = "softmax",
                         .saves = save_output(0),
                         .attrs_size = sizeof(SoftmaxAttrs),
                         .infer = softmax_infer,
                         .vjp = softmax_vjp,
                         .vjp_fused = softmax_vjp_fused};
constinit Op op::log_softmax{.name = "log_softmax",
                             .saves = save_output(0),
                             .attrs_size = sizeof(SoftmaxAttrs),
                             .infer = softmax_infer,
                             .vjp = log_softmax_vjp,
                             .vjp_fused = log_softmax_vjp_fused};
constinit Op op::softmax_backward{.name = "softmax_backward",
                                  .flags = kNotDifferentiable,
                                  .attrs_size = sizeof(SoftmaxAttrs),
                                  .infer = softmax_infer};
constinit Op op::log_softmax_backward{.name = "log_softmax_backward",
                                      .flags = kNotDifferentiable,
                                      .attrs_size = sizeof(SoftmaxAttrs),
                                      .infer = softmax_infer};

Tensor softmax(const Tensor& x, int64_t dim, DType dtype) { return run(op::softmax, x, dim, dtype); }
Tensor log_softmax(const Tensor& x, int64_t dim, DType dtype) { return run(op::log_softmax, x, dim, dtype); }

}  // namespace fireseed

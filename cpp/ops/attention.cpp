// Record of scaled dot product attention, and its form in differentiable functions.
#include "ops/attention.h"

#include <cmath>
#include <limits>
#include <sstream>

#include "engine/mode.h"
#include "ops/copy.h"
#include "ops/creation.h"
#include "ops/index.h"
#include "ops/matmul.h"
#include "ops/move.h"
#include "ops/pointwise.h"
#include "ops/random.h"
#include "ops/records.h"
#include "ops/reduce.h"
#include "ops/shape.h"
#include "ops/softmax.h"
#include "tensor/attrs/attention.h"

namespace fireseed {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Sizes with other last two.
Dims with_last(const Dims& sizes, int64_t rows, int64_t cols) {
  Dims r = sizes;
  r[r.n - 2] = rows;
  r[r.n - 1] = cols;
  return r;
}
// A shell that lies as (batch, rows, heads, cols) where x is (batch, heads, rows, cols): merging the heads is a view
// then.
Tensor shell_by_rows(const Dims& sizes, DType dtype, Device device) {
  Tensor y = make_shell(sizes, dtype, device);
  if (sizes.n != 4) return y;
  int64_t* strides = y.impl()->strides;
  strides[0] = sizes[1] * sizes[2] * sizes[3];
  strides[1] = sizes[3];
  strides[2] = sizes[1] * sizes[3];
  y.impl()->refresh_contiguous();
  return y;
}

// in: q, k, v, mask or absent.
void attention_infer(Inputs in, const void*, Tensor* out) {
  const Tensor& q = in[0];
  out[0] = shell_by_rows(with_last(q.sizes(), q.size(-2), in[2].size(-1)), q.dtype(), q.device());
  Dims rows = q.sizes();
  --rows.n;
  out[1] = make_shell(rows, is_half(q.dtype()) ? DType::kFloat32 : q.dtype(), q.device());
}
void attention_backward_infer(Inputs in, const void*, Tensor* out) {
  for (int i = 0; i < 3; ++i) {
    const Tensor& x = in[i + 1];
    const bool by_rows = x.dim() == 4 && x.stride(1) < x.stride(2);
    out[i] = by_rows ? shell_by_rows(x.sizes(), x.dtype(), x.device()) : make_shell(x.sizes(), x.dtype(), x.device());
  }
}

// The scores' softmax (..., L, S), rows that see nothing as zeros. k has q's heads.
Tensor weights_of(const Tensor& q, const Tensor& k, const Tensor& mask, double scale, bool causal) {
  // Both factors get a root of the scale: less overflow in halves.
  const double root = std::sqrt(std::fabs(scale));
  Tensor scores = matmul(q * std::copysign(root, scale), transpose(k * root, -2, -1));
  Tensor hidden;
  if (causal) {
    hidden = logical_not(tril(ones(Dims{q.size(-2), k.size(-2)}, DType::kBool, q.device())));
  } else if (mask.defined()) {
    if (mask.dtype() == DType::kBool) hidden = logical_not(mask);
    else scores = scores + mask;
  }
  if (hidden.defined()) scores = masked_fill(scores, hidden, -kInfinity);
  Tensor weights = softmax(scores, -1);
  if (mask.defined()) weights = masked_fill(weights, all(detach(scores) == -kInfinity, Dims{-1}, true), 0.0);
  return weights;
}
// Key heads repeated to q's, and the gradient summed back.
Tensor repeat_heads(const Tensor& x, int64_t groups) { return groups == 1 ? x : repeat_interleave(x, groups, -3); }
Tensor sum_heads(const Tensor& g, int64_t groups) {
  return groups == 1 ? g : sum(unflatten(g, -3, Dims{g.size(-3) / groups, groups}), Dims{-3});
}

void attention_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  if (!g[0].defined()) return;
  const auto& a = c.attrs<AttentionAttrs>();
  const Tensor q = c.input(0), k = repeat_heads(c.input(1), a.groups), v = repeat_heads(c.input(2), a.groups);
  const Tensor p = weights_of(q, k, c.input(3), a.scale, a.causal);
  if (c.needs(2)) gx[2] = sum_heads(matmul(transpose(p, -2, -1), g[0]), a.groups);
  if (!c.needs(0) && !c.needs(1)) return;
  const Tensor gp = matmul(g[0], transpose(v, -2, -1)) * p;
  const Tensor gs = (gp - p * sum(gp, Dims{-1}, true)) * a.scale;
  if (c.needs(0)) gx[0] = matmul(gs, k);
  if (c.needs(1)) gx[1] = sum_heads(matmul(transpose(gs, -2, -1), q), a.groups);
}
void attention_vjp_fused(const Vjp& c, const Tensor* g, Tensor* gx) {
  if (!g[0].defined()) return;
  const Tensor in[] = {g[0], c.input(0), c.input(1), c.input(2), c.output(0), c.output(1), c.input(3)};
  Tensor out[3];
  apply(op::attention_backward, in, &c.attrs<AttentionAttrs>(), out);
  for (int i = 0; i < 3; ++i)
    if (c.needs(i)) gx[i] = out[i];
}

bool wants_gradient(const Tensor& t) {
  if (!t.defined() || !mode.grad_enabled) return false;
  if (t.is_view()) grad_fn(t);  // brings the flag up to date
  return t.requires_grad();
}

}  // namespace

constinit Op op::attention{
    .name = "attention",
    .saves = save_input(0) | save_input(1) | save_input(2) | save_input(3) | save_output(0) | save_output(1),
    .attrs_size = sizeof(AttentionAttrs),
    .num_outputs = 2,
    .infer = attention_infer,
    .vjp = attention_vjp,
    .vjp_fused = attention_vjp_fused};
constinit Op op::attention_backward{.name = "attention_backward",
                                    .flags = kNotDifferentiable,
                                    .attrs_size = sizeof(AttentionAttrs),
                                    .num_outputs = 3,
                                    .infer = attention_backward_infer};

Tensor scaled_dot_product_attention(const Tensor& query, const Tensor& key, const Tensor& value, const Tensor& mask,
                                    double dropout_p, bool causal, std::optional<double> scale, bool enable_gqa) {
  Tensor q = query, k = key, v = value;
  const auto shapes = [&] {
    std::ostringstream s;
    s << q.sizes() << ", " << k.sizes() << " and " << v.sizes();
    return s.str();
  };
  FS_CHECK_KIND(q.dim() >= 2 && k.dim() >= 2 && v.dim() >= 2, ErrorKind::kValue,
                "scaled_dot_product_attention: query, key and value must be at least 2-dimensional, got ", shapes());
  FS_CHECK(!causal || !mask.defined(),
           "scaled_dot_product_attention: Explicit attn_mask should not be set when is_causal=True");
  FS_CHECK(q.dtype() == k.dtype() && q.dtype() == v.dtype(),
           "scaled_dot_product_attention: Expected query, key, and value to have the same dtype, but got ",
           dtype_name(q.dtype()), ", ", dtype_name(k.dtype()), " and ", dtype_name(v.dtype()));
  FS_CHECK_KIND(q.is_floating(), ErrorKind::kNotImplemented,
                "scaled_dot_product_attention: expected a floating point dtype, got ", dtype_name(q.dtype()));
  FS_CHECK(q.size(-1) == k.size(-1) && k.size(-2) == v.size(-2),
           "scaled_dot_product_attention: expected shapes (..., L, E), (..., S, E) and (..., S, V), got ", shapes());
  FS_CHECK(
      !mask.defined() || mask.dtype() == DType::kBool || mask.dtype() == q.dtype() || mask.dtype() == DType::kFloat32,
      "scaled_dot_product_attention: Expected attn_mask dtype to be bool or float or to match query dtype, but "
      "got attn_mask.dtype: ",
      mask.defined() ? dtype_name(mask.dtype()) : "", " and query.dtype: ", dtype_name(q.dtype()));
  AttentionAttrs attrs{.scale = scale.value_or(1.0 / std::sqrt(static_cast<double>(q.size(-1)))), .causal = causal};
  if (enable_gqa) {
    FS_CHECK(q.dim() >= 3 && k.dim() >= 3 && v.dim() >= 3 && k.size(-3) > 0 && v.size(-3) > 0 &&
                 q.size(-3) % k.size(-3) == 0 && q.size(-3) % v.size(-3) == 0,
             "scaled_dot_product_attention: the number of query heads must be a multiple of the number of key and "
             "value heads, got shapes ",
             shapes());
    if (k.size(-3) == v.size(-3)) {
      attrs.groups = q.size(-3) / k.size(-3);
    } else {
      k = repeat_heads(k, q.size(-3) / k.size(-3));
      v = repeat_heads(v, q.size(-3) / v.size(-3));
    }
  }
  // The same leading axes for all; where heads are shared, but for their number.
  const int64_t own = attrs.groups > 1 ? 3 : 2;
  const auto leading = [&](const Tensor& x) { return Dims(x.sizes().d, x.dim() - own); };
  const Dims lead = broadcast_shapes(broadcast_shapes(leading(q), leading(k), "scaled_dot_product_attention"),
                                     leading(v), "scaled_dot_product_attention");
  const auto expanded = [&](const Tensor& x) {
    Dims sizes = lead;
    for (int64_t i = x.dim() - own; i < x.dim(); ++i) sizes.push_back(x.size(i));
    return sizes == x.sizes() ? x : expand(x, sizes);
  };
  q = expanded(q);
  k = expanded(k);
  v = expanded(v);
  if (dropout_p > 0.0 || wants_gradient(mask)) {
    const Tensor weights = weights_of(q, repeat_heads(k, attrs.groups), mask, attrs.scale, causal);
    return matmul(dropout(weights, dropout_p, true), repeat_heads(v, attrs.groups));
  }
  const Tensor in[] = {q, k, v,
                       mask.defined() ? expand(detach(mask), with_last(q.sizes(), q.size(-2), k.size(-2))) : mask};
  Tensor out[2];
  apply(op::attention, in, &attrs, out);
  return out[0];
}

}  // namespace fireseed

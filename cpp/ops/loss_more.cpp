// The other losses, made of differentiable operations.
#include <cmath>
#include <limits>
#include <vector>

#include "ops/activation.h"
#include "ops/copy.h"
#include "ops/index.h"
#include "ops/loss.h"
#include "ops/move.h"
#include "ops/pointwise.h"
#include "ops/reduce.h"
#include "ops/shape.h"
#include "ops/softmax.h"

namespace fireseed {
namespace {

Tensor number(double x) { return wrapped_number(Scalar(x)); }
Tensor weighted(const Tensor& x, const Tensor& weight) { return weight.defined() ? x * weight : x; }

}  // namespace

Tensor mse_loss(const Tensor& x, const Tensor& target, Reduction reduction) {
  return reduce_loss(mse_loss_elements(x, target), reduction);
}
Tensor l1_loss(const Tensor& x, const Tensor& target, Reduction reduction) {
  return reduce_loss(l1_loss_elements(x, target), reduction);
}
Tensor smooth_l1_loss(const Tensor& x, const Tensor& target, Reduction reduction, double beta) {
  FS_CHECK(beta >= 0, "smooth_l1_loss: beta must not be negative, got ", beta);
  if (beta == 0) return l1_loss(x, target, reduction);
  return reduce_loss(smooth_l1_loss_elements(x, target, beta), reduction);
}
Tensor huber_loss(const Tensor& x, const Tensor& target, Reduction reduction, double delta) {
  FS_CHECK(delta > 0, "huber_loss: delta must be greater than 0, got ", delta);
  return reduce_loss(huber_loss_elements(x, target, delta), reduction);
}
Tensor soft_margin_loss(const Tensor& x, const Tensor& target, Reduction reduction) {
  return reduce_loss(soft_margin_loss_elements(x, target), reduction);
}

Tensor binary_cross_entropy(const Tensor& x, const Tensor& target, const Tensor& weight, Reduction reduction) {
  FS_CHECK_VALUE(x.same_shape(target), "binary_cross_entropy: Using a target size (", target.sizes(),
                 ") that is different to the input size (", x.sizes(),
                 ") is deprecated. Please ensure they have the same size.");
  const Tensor p = detach(x);
  FS_CHECK(x.numel() == 0 || !item(any(logical_or(lt(p, number(0)), gt(p, number(1))))).to_bool(),
           "binary_cross_entropy: all elements of input should be between 0 and 1");
  return reduce_loss(weighted(bce_loss_elements(x, target), weight), reduction);
}

Tensor binary_cross_entropy_with_logits(const Tensor& x, const Tensor& target, const Tensor& weight,
                                        Reduction reduction, const Tensor& pos_weight) {
  FS_CHECK_VALUE(x.same_shape(target), "binary_cross_entropy_with_logits: Target size (", target.sizes(),
                 ") must be the same as input size (", x.sizes(), ")");
  Tensor loss;
  if (pos_weight.defined()) {
    // (1 - t) x + (1 + (p - 1) t) log(1 + exp(-x))
    const Tensor log_weight = (pos_weight - 1.0) * target + 1.0;
    loss = (1.0 - target) * x - log_weight * log_sigmoid(x);
  } else {
    loss = bce_with_logits_loss_elements(x, target);
  }
  return reduce_loss(weighted(loss, weight), reduction);
}

Tensor kl_div(const Tensor& x, const Tensor& target, std::string_view reduction, bool log_target) {
  // Where the target wants a gradient, its own term must be NaN for negative targets, as xlogy's is.
  const Tensor terms = target.requires_grad() && !log_target ? xlogy(target, target) - target * x
                                                             : kl_div_elements(x, target, log_target);
  if (reduction == "batchmean") {
    const Tensor total = sum(terms);
    return x.dim() ? total / static_cast<double>(x.size(0)) : total;
  }
  return reduce_loss(terms, parse_reduction(reduction, "kl_div"));
}

Tensor poisson_nll_loss(const Tensor& x, const Tensor& target, bool log_input, bool full, double eps,
                        Reduction reduction) {
  Tensor loss = log_input ? exp(x) - target * x : x - target * log(x + eps);
  if (full) {
    // Stirling's approximation of log(target!) where the target exceeds 1
    const Tensor stirling = target * log(target) - target + 0.5 * log((2 * M_PI) * target);
    loss = loss + masked_fill(stirling, le(target, number(1)), Scalar(0.0));
  }
  return reduce_loss(loss, reduction);
}

Tensor gaussian_nll_loss(const Tensor& x, const Tensor& target, const Tensor& var, bool full, double eps,
                         Reduction reduction) {
  Tensor v = var;
  if (!v.same_shape(x)) {
    Dims heads = x.sizes();
    if (x.dim() > 0 && v.dim() == x.dim() - 1) {
      --heads.n;
      if (v.sizes() == heads) v = unsqueeze(v, -1);
    }
    bool ok = v.dim() == x.dim();
    for (int64_t d = 0; ok && d < x.dim(); ++d) ok = v.size(d) == x.size(d) || v.size(d) == 1;
    FS_CHECK_VALUE(ok || v.dim() == 0, "gaussian_nll_loss: var is of incorrect size: shape ", var.sizes(),
                   " for input of shape ", x.sizes());
  }
  FS_CHECK_VALUE(v.numel() == 0 || !item(any(lt(detach(v), number(0)))).to_bool(),
                 "gaussian_nll_loss: var has negative entry/entries");
  // The clamp to eps is no part of the gradient.
  const Tensor d = detach(v), lift = where(lt(d, number(eps)), eps - d, zeros_like(d));
  v = v + lift;
  Tensor loss = 0.5 * (log(v) + square(x - target) / v);
  if (full) loss = loss + 0.5 * std::log(2 * M_PI);
  return reduce_loss(loss, reduction);
}

Tensor hinge_embedding_loss(const Tensor& x, const Tensor& target, double margin, Reduction reduction) {
  const Tensor near = where(ne(target, number(1)), relu(margin - x), 0.0);
  const Tensor far = where(ne(target, number(-1)), x, 0.0);
  return reduce_loss(near + far, reduction);
}

Tensor cosine_similarity(const Tensor& x1, const Tensor& x2, int64_t dim, double eps) {
  const DType t = result_type(x1, x2);
  FS_CHECK(is_floating(t), "cosine_similarity: expected common dtype to be floating point, yet common dtype is ",
           dtype_name(t));
  const Dims sizes = broadcast_shapes(x1.sizes(), x2.sizes(), "cosine_similarity");
  const Tensor a = expand(to(x1, t), sizes), b = expand(to(x2, t), sizes);
  const Dims dims{wrap_dim(dim, sizes.n, "cosine_similarity")};
  const Tensor na = maximum(vector_norm(a, 2, dims, true), eps), nb = maximum(vector_norm(b, 2, dims, true), eps);
  return sum((a / na) * (b / nb), dims);
}

Tensor pairwise_distance(const Tensor& x1, const Tensor& x2, double p, double eps, bool keepdim) {
  return vector_norm(x1 - x2 + eps, p, Dims{-1}, keepdim);
}

Tensor cosine_embedding_loss(const Tensor& x1, const Tensor& x2, const Tensor& target, double margin,
                             Reduction reduction) {
  FS_CHECK(target.dim() == 0 || target.dim() == 1,
           "cosine_embedding_loss: 0D or 1D target tensor expected, got shape ", target.sizes());
  FS_CHECK(x1.dim() == target.dim() + 1 && x2.dim() == target.dim() + 1, "cosine_embedding_loss: ", target.dim(),
           "D target tensor expects ", target.dim() + 1, "D input tensors, but found inputs with sizes ", x1.sizes(),
           " and ", x2.sizes());
  const Dims dims{x1.dim() - 1};
  constexpr double kEps = 1e-12;
  const Tensor dot = sum(x1 * x2, dims);
  const Tensor scale = sqrt((sum(x1 * x1, dims) + kEps) * (sum(x2 * x2, dims) + kEps));
  const Tensor cosine = dot / scale;
  const Tensor same = where(eq(target, number(1)), 1.0 - cosine, 0.0);
  const Tensor other = where(eq(target, number(-1)), relu(cosine - margin), 0.0);
  return reduce_loss(same + other, reduction);
}

Tensor margin_ranking_loss(const Tensor& x1, const Tensor& x2, const Tensor& target, double margin,
                           Reduction reduction) {
  FS_CHECK(x1.dim() == x2.dim() && x1.dim() == target.dim(),
           "margin_ranking_loss: All input tensors should have same dimension "
           "but got sizes: input1: ",
           x1.sizes(), ", input2: ", x2.sizes(), ", target: ", target.sizes());
  return reduce_loss(relu(-target * (x1 - x2) + margin), reduction);
}

Tensor triplet_margin_loss(const Tensor& anchor, const Tensor& positive, const Tensor& negative, double margin,
                           double p, double eps, bool swap, Reduction reduction) {
  FS_CHECK_VALUE(margin > 0, "triplet_margin_loss: margin must be greater than 0, got ", margin);
  FS_CHECK(anchor.dim() == positive.dim() && positive.dim() == negative.dim(),
           "triplet_margin_loss: The anchor, positive, and "
           "negative tensors are expected to have the same number of dimensions, but got: anchor ",
           anchor.dim(), "D, positive ", positive.dim(), "D, and negative ", negative.dim(), "D inputs");
  const Tensor near = pairwise_distance(anchor, positive, p, eps);
  Tensor far = pairwise_distance(anchor, negative, p, eps);
  if (swap) far = minimum(far, pairwise_distance(positive, negative, p, eps));
  return reduce_loss(relu(margin + near - far), reduction);
}

Tensor multi_margin_loss(const Tensor& input, const Tensor& target, double p, double margin, const Tensor& weight,
                         Reduction reduction) {
  FS_CHECK_VALUE(p == 1 || p == 2, "multi_margin_loss: only p == 1 and p == 2 supported, got ", p);
  FS_CHECK(input.dim() <= 2 && input.numel() > 0,
           "multi_margin_loss: Expected non-empty vector or matrix with optional 0-dim "
           "batch size, but got: ",
           input.sizes());
  const Tensor x = input.dim() == 2 ? input : reshape(input, Dims{1, -1});
  const Tensor t = reshape(to(target, DType::kInt64), Dims{-1});
  FS_CHECK(t.size(0) == x.size(0), "multi_margin_loss: inconsistent target size, expected ", x.size(0), " but got ",
           target.sizes());
  const Tensor index = unsqueeze(t, 1);
  Tensor z = relu(margin - gather(x, 1, index) + x);
  if (p == 2) z = z * z;
  if (weight.defined()) z = z * unsqueeze(index_select(weight, 0, t), 1);
  const Tensor others = scatter(ones_like(x), 1, index, Scalar(0.0));
  const Tensor loss = sum(z * detach(others), Dims{1}) / static_cast<double>(x.size(1));
  if (input.dim() < 2 && reduction == Reduction::kNone) return reshape(loss, Dims{});
  return reduce_loss(loss, reduction);
}

Tensor multilabel_margin_loss(const Tensor& input, const Tensor& target, Reduction reduction) {
  FS_CHECK(input.dim() <= 2 && target.same_shape(input),
           "multilabel_margin_loss: inconsistent target size: ", target.sizes(),
           " for input of size: ", input.sizes());
  const int64_t classes = input.dim() ? input.size(-1) : 1;
  const Tensor x = reshape(input, Dims{-1, classes}), t = reshape(to(target, DType::kInt64), Dims{-1, classes});
  // Targets up to the first -1 count.
  const Tensor used = eq(cumsum(to(lt(t, number(0)), DType::kInt64), 1), number(0));
  const Tensor index = masked_fill(t, logical_not(used), Scalar(int64_t{0}));
  const Tensor is_target =
      gt(scatter_add(zeros(x.sizes(), DType::kInt64, x.device()), 1, index, to(used, DType::kInt64)), number(0));
  // [N, target, other class]
  const Tensor gap = relu(1.0 - unsqueeze(gather(x, 1, index), 2) + unsqueeze(x, 1));
  const Tensor counts = logical_and(unsqueeze(used, 2), unsqueeze(logical_not(is_target), 1));
  const Tensor loss = sum(where(counts, gap, 0.0), Dims{1, 2}) / static_cast<double>(classes);
  if (input.dim() < 2 && reduction == Reduction::kNone) return reshape(loss, Dims{});
  return reduce_loss(loss, reduction);
}

Tensor multilabel_soft_margin_loss(const Tensor& x, const Tensor& target, const Tensor& weight, Reduction reduction) {
  const Tensor terms = weighted(-(target * log_sigmoid(x) + (1.0 - target) * log_sigmoid(-x)), weight);
  return reduce_loss(mean(terms, Dims{-1}), reduction);
}

}  // namespace fireseed

// Embedding: checks, records, gradients.
#include "ops/embedding.h"

#include <string>

#include "ops/copy.h"
#include "ops/creation.h"
#include "ops/index.h"
#include "ops/move.h"
#include "ops/pointwise.h"
#include "ops/records.h"
#include "ops/reduce.h"
#include "ops/shape.h"
#include "tensor/attrs/embedding.h"

namespace fireseed {
namespace {

void embedding_infer(Inputs in, const void*, Tensor* out) {
  Dims sizes = in[1].sizes();
  sizes.push_back(in[0].size(1));
  out[0] = make_shell(sizes, in[0].dtype(), in[0].device());
}
void embedding_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  EmbeddingAttrs a = c.attrs<EmbeddingAttrs>();
  a.num_weights = c.input_sizes(0)[0];
  gx[0] = apply1(op::embedding_backward, {g[0], c.input(1)}, a);
}

void embedding_backward_infer(Inputs in, const void* attrs, Tensor* out) {
  const Dims sizes{static_cast<const EmbeddingAttrs*>(attrs)->num_weights, in[0].size(-1)};
  out[0] = make_shell(sizes, in[0].dtype(), in[0].device());
}
void embedding_backward_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  const auto& a = c.attrs<EmbeddingAttrs>();
  const Tensor indices = c.input(1);
  Tensor r = embedding(g[0], indices);
  if (a.scale_grad_by_freq) {
    const Tensor flat = reshape(indices, Dims{-1});
    const Tensor counts = index_add(zeros(Dims{a.num_weights}, r.dtype(), r.device()), 0, flat,
                                    ones(flat.sizes(), r.dtype(), r.device()));
    r = r / unsqueeze(reshape(index_select(counts, 0, flat), indices.sizes()), -1);
  }
  if (a.padding_idx >= 0) {
    const Tensor padded = indices == wrapped_number(Scalar(a.padding_idx));
    r = masked_fill(r, unsqueeze(padded, -1), Scalar(0));
  }
  gx[0] = r;
}

void renorm_infer(Inputs in, const void*, Tensor* out) {
  out[0] = make_shell(in[0].sizes(), in[0].dtype(), in[0].device());
}

// in: weight, indices (n,), offsets (bags,), per-sample weights (n,) or nothing.
void bag_infer(Inputs in, const void* attrs, Tensor* out) {
  out[0] = make_shell(Dims{static_cast<const EmbeddingBagAttrs*>(attrs)->bags, in[0].size(1)}, in[0].dtype(),
                      in[0].device());
}
void bag_max_infer(Inputs in, const void* attrs, Tensor* out) {
  bag_infer(in, attrs, out);
  out[1] = make_shell(out[0].sizes(), DType::kInt64, in[0].device());
}

// The bag of each of n positions.
Tensor bag_of_position(const Tensor& offsets, int64_t bags, int64_t n) {
  const Tensor starts = slice(offsets, 0, 0, bags);
  const Tensor tail = full(Dims{1}, Scalar(n), DType::kInt64, offsets.device());
  const Tensor parts[] = {slice(offsets, 0, 1, bags),
                          offsets.size(0) > bags ? slice(offsets, 0, bags, bags + 1) : tail};
  return repeat_interleave(cat(parts, 0) - starts, std::optional<int64_t>(n));
}

void bag_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  const auto& a = c.attrs<EmbeddingBagAttrs>();
  const Tensor indices = c.input(1), offsets = c.input(2);
  if (indices.numel() == 0) {
    if (c.needs(0)) gx[0] = zeros(c.input_sizes(0), g[0].dtype(), g[0].device());
    return;
  }
  const Tensor bag = bag_of_position(offsets, a.bags, indices.numel());
  Tensor rows = index_select(g[0], 0, bag);  // (n, D)
  Tensor kept;                               // 1 where a position counts
  if (a.padding_idx >= 0) kept = to(indices != wrapped_number(Scalar(a.padding_idx)), g[0].dtype());
  if (c.needs(0)) {
    Tensor scaled = rows;
    if (c.num_inputs() > 3) {
      scaled = rows * unsqueeze(c.input(3), -1);
    } else if (a.mode == BagMode::kMean) {
      const Tensor one = kept.defined() ? kept : ones(Dims{indices.numel()}, g[0].dtype(), g[0].device());
      const Tensor counts = index_add(zeros(Dims{a.bags}, g[0].dtype(), g[0].device()), 0, bag, one);
      scaled = rows / unsqueeze(index_select(maximum(counts, 1.0), 0, bag), -1);
    }
    gx[0] = embedding_backward(scaled, indices, c.input_sizes(0)[0], a.padding_idx, false);
  }
  if (c.needs(3)) {
    Tensor dots = sum(rows * index_select(c.input(0), 0, indices), Dims{1}, false);
    gx[3] = kept.defined() ? dots * kept : dots;
  }
}

void bag_max_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  if (!g[0].defined()) return;
  const Tensor from = c.output(1);  // -1: an empty bag
  const Tensor empty_bag = from < 0.0;
  gx[0] = scatter_add(zeros(c.input_sizes(0), g[0].dtype(), g[0].device()), 0,
                      masked_fill(from, empty_bag, Scalar(0)), masked_fill(g[0], empty_bag, Scalar(0)));
}

Tensor checked_indices(const Tensor& indices, const char* op) {
  FS_CHECK(indices.dtype() == DType::kInt64 || indices.dtype() == DType::kInt32, op,
           ": Expected tensor for argument 'indices' to have one of the following scalar types: Long, Int; but got ",
           dtype_name(indices.dtype()), " (shape ", indices.sizes(), ")");
  return to(indices, DType::kInt64);
}

}  // namespace

constinit Op op::embedding{.name = "embedding",
                           .saves = save_input(1),
                           .attrs_size = sizeof(EmbeddingAttrs),
                           .infer = embedding_infer,
                           .vjp = embedding_vjp};
constinit Op op::embedding_backward{.name = "embedding_backward",
                                    .saves = save_input(1),
                                    .attrs_size = sizeof(EmbeddingAttrs),
                                    .infer = embedding_backward_infer,
                                    .vjp = embedding_backward_vjp};
constinit Op op::embedding_renorm{.name = "embedding_renorm",
                                  .flags = kInPlaceOk | kNotDifferentiable,
                                  .attrs_size = sizeof(EmbeddingRenormAttrs),
                                  .infer = renorm_infer};
constinit Op op::embedding_bag{.name = "embedding_bag",
                               .saves = save_input(0) | save_input(1) | save_input(2) | save_input(3),
                               .attrs_size = sizeof(EmbeddingBagAttrs),
                               .infer = bag_infer,
                               .vjp = bag_vjp};
constinit Op op::embedding_bag_max{.name = "embedding_bag_max",
                                   .saves = save_output(1),
                                   .attrs_size = sizeof(EmbeddingBagAttrs),
                                   .num_outputs = 2,
                                   .infer = bag_max_infer,
                                   .vjp = bag_max_vjp};

Tensor embedding(const Tensor& weight, const Tensor& indices, int64_t padding_idx, bool scale_grad_by_freq) {
  FS_CHECK(weight.dim() == 2, "embedding: 'weight' must be 2-D, got shape ", weight.sizes());
  EmbeddingAttrs a;
  a.num_weights = weight.size(0);
  a.padding_idx = padding_idx;
  a.scale_grad_by_freq = scale_grad_by_freq;
  return apply1(op::embedding, {weight, checked_indices(indices, "embedding")}, a);
}

Tensor embedding_backward(const Tensor& g, const Tensor& indices, int64_t num_weights, int64_t padding_idx,
                          bool scale_grad_by_freq) {
  EmbeddingAttrs a;
  a.num_weights = num_weights;
  a.padding_idx = padding_idx;
  a.scale_grad_by_freq = scale_grad_by_freq;
  return apply1(op::embedding_backward, {g, indices}, a);
}

void embedding_renorm_(const Tensor& weight, const Tensor& indices, double max_norm, double norm_type) {
  FS_CHECK(weight.dim() == 2, "embedding_renorm_: 'weight' must be 2-D, got shape ", weight.sizes());
  EmbeddingRenormAttrs a;
  a.max_norm = max_norm;
  a.norm_type = norm_type;
  const Tensor in[] = {weight, checked_indices(indices, "embedding_renorm_")};
  apply_inplace(op::embedding_renorm, in, &a);
}

Tensor embedding_bag(const Tensor& indices, const Tensor& weight, const Tensor& offsets, std::string_view mode,
                     const Tensor& per_sample_weights, bool include_last_offset, std::optional<int64_t> padding_idx,
                     bool scale_grad_by_freq) {
  constexpr const char* op = "embedding_bag";
  FS_CHECK(weight.dim() == 2, op, ": weight has to be a 2D Tensor, but got Tensor of dimension ", weight.dim());
  Tensor at = checked_indices(indices, op), starts, scale = per_sample_weights;
  FS_CHECK_VALUE(!scale.defined() || scale.same_shape(indices), op, ": If per_sample_weights (shape ",
                 scale.defined() ? scale.sizes() : Dims{},
                 ") is not None, then it must have the same shape as the input (", indices.sizes(), ")");
  EmbeddingBagAttrs a;
  if (indices.dim() == 2) {
    FS_CHECK_VALUE(
        !offsets.defined(), op,
        ": if input is 2D, then offsets has to be None, as input is treated is a mini-batch of fixed length "
        "sequences. However, found offsets of shape ",
        offsets.defined() ? offsets.sizes() : Dims{});
    a.bags = indices.size(0);
    starts = arange(Scalar(0), Scalar(a.bags), Scalar(1), DType::kInt64, indices.device()) *
             wrapped_number(Scalar(indices.size(1)));
    at = reshape(at, Dims{indices.numel()});
    if (scale.defined()) scale = reshape(scale, Dims{indices.numel()});
  } else {
    FS_CHECK_VALUE(indices.dim() == 1, op, ": input has to be 1D or 2D Tensor, but got Tensor of dimension ",
                   indices.dim());
    FS_CHECK_VALUE(offsets.defined(), op, ": offsets has to be a 1D Tensor but got None");
    FS_CHECK_VALUE(offsets.dim() == 1, op, ": offsets has to be a 1D Tensor, got shape ", offsets.sizes());
    starts = checked_indices(offsets, op);
    a.bags = offsets.size(0);
    if (include_last_offset) {
      FS_CHECK(a.bags >= 1, op, ": include_last_offset: number of offset should be at least 1");
      --a.bags;
    }
  }
  a.padding_idx = -1;
  if (padding_idx) {
    FS_CHECK(*padding_idx >= -weight.size(0) && *padding_idx < weight.size(0), op,
             ": padding_idx must be within the number of embeddings, got ", *padding_idx, " for ", weight.size(0),
             " rows");
    a.padding_idx = *padding_idx < 0 ? *padding_idx + weight.size(0) : *padding_idx;
  }
  FS_CHECK_VALUE(mode == "sum" || mode == "mean" || mode == "max", op,
                 ": mode has to be one of sum or mean or max, got ", std::string(mode));
  a.mode = mode == "sum" ? BagMode::kSum : mode == "mean" ? BagMode::kMean : BagMode::kMax;
  FS_CHECK_KIND(!scale.defined() || a.mode == BagMode::kSum, ErrorKind::kNotImplemented, op,
                ": per_sample_weights was not None. "
                "per_sample_weights is only supported for mode='sum' (got mode='",
                std::string(mode), "').");
  if (a.mode == BagMode::kMax) {
    FS_CHECK_VALUE(!scale_grad_by_freq, op, ": max mode does not support scaling the gradient by the frequency");
    const Tensor in[] = {weight, at, starts};
    Tensor out[2];
    apply(op::embedding_bag_max, in, &a, out);
    return out[0];
  }
  if (scale_grad_by_freq) {
    // Through embedding, whose gradient knows the frequencies.
    const Tensor rows = embedding(weight, at, a.padding_idx, true);
    const Tensor bag = bag_of_position(starts, a.bags, at.numel());
    Tensor kept = ones(Dims{at.numel()}, weight.dtype(), weight.device());
    if (a.padding_idx >= 0) kept = to(at != wrapped_number(Scalar(a.padding_idx)), weight.dtype());
    const Tensor weights = scale.defined() ? scale * kept : kept;
    const Tensor sums = index_add(zeros(Dims{a.bags, weight.size(1)}, weight.dtype(), weight.device()), 0, bag,
                                  rows * unsqueeze(weights, -1));
    if (a.mode == BagMode::kSum) return sums;
    const Tensor counts = index_add(zeros(Dims{a.bags}, weight.dtype(), weight.device()), 0, bag, kept);
    return sums / unsqueeze(maximum(counts, 1.0), -1);
  }
  if (!scale.defined()) return apply1(op::embedding_bag, {weight, at, starts}, a);
  FS_CHECK(scale.dtype() == weight.dtype(), op,
           ": Expected per_sample_weights to have the same dtype as weight, got ", dtype_name(scale.dtype()), " and ",
           dtype_name(weight.dtype()));
  return apply1(op::embedding_bag, {weight, at, starts, scale}, a);
}

}  // namespace fireseed

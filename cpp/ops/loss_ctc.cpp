// Records of ctc_loss.
#include "ops/copy.h"
#include "ops/index.h"
#include "ops/loss.h"
#include "ops/move.h"
#include "ops/pointwise.h"
#include "ops/records.h"
#include "ops/reduce.h"
#include "ops/shape.h"

namespace fireseed {
namespace {

void ctc_infer(Inputs in, const void*, Tensor* out) {
  out[0] = make_shell(Dims{in[0].size(1)}, in[0].dtype(), in[0].device());
}
void ctc_backward_infer(Inputs in, const void*, Tensor* out) {
  out[0] = make_shell(in[1].sizes(), in[1].dtype(), in[1].device());
}
void ctc_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  if (!c.needs(0)) return;
  gx[0] = apply1(op::ctc_loss_backward, {g[0], c.input(0), c.input(1), c.input(2), c.input(3)}, c.attrs<CtcAttrs>());
}

// Lengths as contiguous int64 (N) on the CPU; each within [0, limit].
Tensor check_lengths(const Tensor& lengths, int64_t n, int64_t limit, const char* what) {
  FS_CHECK(is_integral(lengths.dtype()), "ctc_loss: ", what, " must be integral, got ", dtype_name(lengths.dtype()));
  const Tensor v = contiguous(reshape(to(lengths, DType::kInt64, Device{}), Dims{-1}));
  FS_CHECK(v.numel() == n, "ctc_loss: ", what, " must be of size batch_size ", n, ", got ", v.numel());
  for (int64_t i = 0; i < n; ++i) {
    const int64_t x = v.data<int64_t>()[i];
    FS_CHECK(x >= 0 && x <= limit, "ctc_loss: Expected ", what, " to have values in [0, ", limit, "], but got value ",
             x, " at position ", i);
  }
  return v;
}

}  // namespace

constinit Op op::ctc_loss{.name = "ctc_loss",
                          .saves = save_input(0) | save_input(1) | save_input(2) | save_input(3),
                          .attrs_size = sizeof(CtcAttrs),
                          .infer = ctc_infer,
                          .vjp = ctc_vjp};
constinit Op op::ctc_loss_backward{.name = "ctc_loss_backward",
                                   .flags = kNotDifferentiable,
                                   .attrs_size = sizeof(CtcAttrs),
                                   .infer = ctc_backward_infer};

Tensor ctc_loss(const Tensor& log_probs, const Tensor& targets, const Tensor& input_lengths,
                const Tensor& target_lengths, int64_t blank, Reduction reduction, bool zero_infinity) {
  FS_CHECK(log_probs.is_floating(), "ctc_loss: expected floating point log_probs, got ",
           dtype_name(log_probs.dtype()));
  FS_CHECK(log_probs.dim() == 2 || log_probs.dim() == 3,
           "ctc_loss: log_probs must have shape (T, N, C) or (T, C), got ", log_probs.sizes());
  FS_CHECK(is_integral(targets.dtype()), "ctc_loss: targets must be integral, got ", dtype_name(targets.dtype()));
  const bool batched = log_probs.dim() == 3;
  const Tensor lp = batched ? log_probs : unsqueeze(log_probs, 1);
  const int64_t n = lp.size(1), classes = lp.size(2);
  FS_CHECK(blank >= 0 && blank < classes, "ctc_loss: blank must be in label range [0, ", classes, "), got ", blank);
  const Tensor in_len = check_lengths(input_lengths, n, lp.size(0), "input_lengths");
  Tensor labels = contiguous(to(targets, DType::kInt64, Device{}));  // checked on the CPU
  Tensor out_len;
  if (labels.dim() == 2) {
    FS_CHECK(labels.size(0) == n, "ctc_loss: targets of shape ", labels.sizes(), " for a batch of ", n);
    out_len = check_lengths(target_lengths, n, labels.size(1), "target_lengths");
  } else {  // one sample, or all labels joined: padded to (N, longest)
    FS_CHECK(labels.dim() == 1, "ctc_loss: targets must be 1D (joined) or 2D (N, S), got shape ", labels.sizes());
    out_len = check_lengths(target_lengths, n, labels.size(0), "target_lengths");
    int64_t longest = 0, total = 0;
    for (int64_t i = 0; i < n; ++i) {
      const int64_t k = out_len.data<int64_t>()[i];
      longest = k > longest ? k : longest;
      total += k;
    }
    FS_CHECK(total <= labels.size(0), "ctc_loss: Expected targets to have at least ", total,
             " labels (the sum of target_lengths), "
             "but got shape ",
             labels.sizes());
    const Tensor padded = zeros(Dims{n, longest}, DType::kInt64);
    int64_t at = 0;
    for (int64_t i = 0; i < n; ++i)
      for (int64_t k = 0; k < out_len.data<int64_t>()[i]; ++k)
        padded.data<int64_t>()[i * longest + k] = labels.data<int64_t>()[at++];
    labels = padded;
  }
  for (int64_t i = 0; i < n; ++i)
    for (int64_t k = 0; k < out_len.data<int64_t>()[i]; ++k) {
      const int64_t c = labels.data<int64_t>()[i * labels.size(1) + k];
      FS_CHECK(c >= 0 && c < classes, "ctc_loss: label ", c, " of sample ", i, " is out of range [0, ", classes, ")");
    }
  const auto beside = [&](const Tensor& t) { return to(t, t.dtype(), lp.device()); };
  out_len = beside(out_len);
  Tensor loss = apply1(op::ctc_loss, {lp, beside(labels), beside(in_len), out_len}, CtcAttrs{blank});
  if (zero_infinity) loss = where(eq(loss, wrapped_number(Scalar(__builtin_inf()))), 0.0, loss);
  if (reduction == Reduction::kMean)
    return mean(loss / to(clamp(out_len, Scalar(int64_t{1}), std::nullopt), loss.dtype()));
  if (reduction == Reduction::kSum) return sum(loss);
  return batched ? loss : squeeze(loss, Dims{0});
}

}  // namespace fireseed

// Losses of Tensors, with PyTorch's names, defaults and reductions.
#pragma once

#include <string_view>

#include "tensor/attrs/loss.h"
#include "tensor/tensor.h"

namespace fireseed {

// "none", "mean", "sum"; ValueError naming op otherwise.
Reduction parse_reduction(std::string_view name, const char* op);
// x reduced over all elements.
Tensor reduce_loss(const Tensor& x, Reduction reduction);

// Log-probabilities (C), (N, C) or (N, C, ...) against class indices (), (N) or (N, ...).
Tensor nll_loss(const Tensor& x, const Tensor& target, const Tensor& weight = {}, int64_t ignore_index = -100,
                Reduction reduction = Reduction::kMean);
// Logits against class indices, or against probabilities of x's shape.
Tensor cross_entropy(const Tensor& x, const Tensor& target, const Tensor& weight = {}, int64_t ignore_index = -100,
                     Reduction reduction = Reduction::kMean, double label_smoothing = 0);

// Elementwise; x and target broadcast.
Tensor mse_loss(const Tensor& x, const Tensor& target, Reduction reduction = Reduction::kMean);
Tensor l1_loss(const Tensor& x, const Tensor& target, Reduction reduction = Reduction::kMean);
Tensor smooth_l1_loss(const Tensor& x, const Tensor& target, Reduction reduction = Reduction::kMean, double beta = 1);
Tensor huber_loss(const Tensor& x, const Tensor& target, Reduction reduction = Reduction::kMean, double delta = 1);
Tensor binary_cross_entropy(const Tensor& x, const Tensor& target, const Tensor& weight = {},
                            Reduction reduction = Reduction::kMean);
Tensor binary_cross_entropy_with_logits(const Tensor& x, const Tensor& target, const Tensor& weight = {},
                                        Reduction reduction = Reduction::kMean, const Tensor& pos_weight = {});
Tensor soft_margin_loss(const Tensor& x, const Tensor& target, Reduction reduction = Reduction::kMean);
Tensor kl_div(const Tensor& x, const Tensor& target, std::string_view reduction = "mean", bool log_target = false);
Tensor poisson_nll_loss(const Tensor& x, const Tensor& target, bool log_input, bool full, double eps,
                        Reduction reduction);
Tensor gaussian_nll_loss(const Tensor& x, const Tensor& target, const Tensor& var, bool full, double eps,
                         Reduction reduction);

Tensor hinge_embedding_loss(const Tensor& x, const Tensor& target, double margin, Reduction reduction);
Tensor cosine_embedding_loss(const Tensor& x1, const Tensor& x2, const Tensor& target, double margin,
                             Reduction reduction);
Tensor margin_ranking_loss(const Tensor& x1, const Tensor& x2, const Tensor& target, double margin,
                           Reduction reduction);
Tensor triplet_margin_loss(const Tensor& anchor, const Tensor& positive, const Tensor& negative, double margin,
                           double p, double eps, bool swap, Reduction reduction);
Tensor multi_margin_loss(const Tensor& x, const Tensor& target, double p, double margin, const Tensor& weight,
                         Reduction reduction);
Tensor multilabel_margin_loss(const Tensor& x, const Tensor& target, Reduction reduction);
Tensor multilabel_soft_margin_loss(const Tensor& x, const Tensor& target, const Tensor& weight, Reduction reduction);

// Connectionist temporal classification (Graves 2006). log_probs (T, N, C) or (T, C), as log_softmax gives them;
// targets (N, S) or joined (sum of target_lengths); lengths int tensors (N).
Tensor ctc_loss(const Tensor& log_probs, const Tensor& targets, const Tensor& input_lengths,
                const Tensor& target_lengths, int64_t blank = 0, Reduction reduction = Reduction::kMean,
                bool zero_infinity = false);

Tensor cosine_similarity(const Tensor& x1, const Tensor& x2, int64_t dim = 1, double eps = 1e-8);
Tensor pairwise_distance(const Tensor& x1, const Tensor& x2, double p = 2, double eps = 1e-6, bool keepdim = false);

}  // namespace fireseed

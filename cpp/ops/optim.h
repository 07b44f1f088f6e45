// Optimizer steps over whole parameter groups, gradient norms and clipping, and two optimizers for C++ programs.
#pragma once

#include <span>
#include <vector>

#include "engine/op.h"
#include "tensor/attrs/optim.h"
#include "tensor/tensor.h"

namespace fireseed {

// One step of `op` (sgd_step, adam_step, …) with inputs laid out as Note [Optimizer steps] in tensor/attrs/optim.h
// says. Parameters and states change in place; saved versions of them are invalidated as after any in-place write.
void optimizer_step(const Op& op, Inputs in, const OptimAttrs& attrs);
// The record of "adam_step" and so on; null where there is none of that name.
const Op* find_optimizer(const char* name);

// The norm of order `order` of all elements of all tensors, 0-dim (clip_grad_norm_'s total norm).
Tensor foreach_norm(std::span<const Tensor> tensors, double order = 2);
void foreach_scale_(std::span<const Tensor> tensors, const Tensor& factor);  // factor: 0-dim
void foreach_clamp_(std::span<const Tensor> tensors, double low, double high);
// Scales all gradients by max_norm / (total norm + 1e-6) where that is less than 1; returns the total norm before.
Tensor clip_grad_norm_(std::span<const Tensor> parameters, double max_norm, double order = 2,
                       bool error_if_nonfinite = false);

// Stochastic gradient descent with momentum, for C++ programs. Tensors without gradients are left alone.
class Sgd {
 public:
  double lr, momentum, dampening, weight_decay;
  bool nesterov;

  explicit Sgd(std::vector<Tensor> parameters, double lr = 1e-3, double momentum = 0, double dampening = 0,
               double weight_decay = 0, bool nesterov = false);
  void step();
  void zero_grad();

 private:
  std::vector<Tensor> parameters_, buffers_;
  Tensor hyper_;
};

// Adam (Kingma and Ba 2015), or AdamW (Loshchilov and Hutter 2019) with `decoupled`.
class Adam {
 public:
  double lr, beta1, beta2, eps, weight_decay;
  bool decoupled;

  explicit Adam(std::vector<Tensor> parameters, double lr = 1e-3, double beta1 = 0.9, double beta2 = 0.999,
                double eps = 1e-8, double weight_decay = 0, bool decoupled = false);
  void step();
  void zero_grad();

 private:
  std::vector<Tensor> parameters_, steps_, means_, squares_;
  Tensor hyper_;
};

}  // namespace fireseed

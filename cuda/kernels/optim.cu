// Steps of the common optimizers: SGD, Adam and AdamW, RMSprop, Adagrad, Adadelta, Lion.
#include "kernels/optim.cuh"

namespace fireseed::cuda {

// Hyperparameters lr, momentum, dampening, weight_decay; state momentum_buffer (kMomentum), which kFirstStep sets.
void sgd_step(const KernelArgs& args) { run_rule<Sgd>(args); }

// lr, beta1, beta2, eps, weight_decay; states exp_avg, exp_avg_sq, max_exp_avg_sq (kAmsgrad). AdamW: kDecoupled.
void adam_step(const KernelArgs& args) { run_rule<Adam>(args); }

// lr, alpha, eps, momentum, weight_decay; states square_avg, grad_avg (kCentered), momentum_buffer (kMomentum).
void rmsprop_step(const KernelArgs& args) { run_rule<RmsProp>(args); }

// lr, lr_decay, eps, weight_decay; state sum.
void adagrad_step(const KernelArgs& args) { run_rule<Adagrad>(args); }

// lr, rho, eps, weight_decay; states square_avg, acc_delta.
void adadelta_step(const KernelArgs& args) { run_rule<Adadelta>(args); }

// lr, beta1, beta2, weight_decay; state exp_avg (Chen et al. 2023, "Symbolic Discovery of Optimization Algorithms").
void lion_step(const KernelArgs& args) { run_rule<Lion>(args); }

}  // namespace fireseed::cuda

// Steps of the less common optimizers: NAdam, RAdam, Adamax, ASGD, Rprop, FTRL.
// Rarely used: a wheel has it as PTX.
#include "kernels/optim.cuh"
#include "tensor/optim_rules_more.h"

namespace fireseed::cuda {

// lr, beta1, beta2, eps, weight_decay, momentum_decay; 0-dim mu_product; states exp_avg, exp_avg_sq.
void nadam_step(const KernelArgs& args) { run_rule<NAdam>(args); }

// lr, beta1, beta2, eps, weight_decay; states exp_avg, exp_avg_sq.
void radam_step(const KernelArgs& args) { run_rule<RAdam>(args); }

// lr, beta1, beta2, eps, weight_decay; states exp_avg, exp_inf.
void adamax_step(const KernelArgs& args) { run_rule<Adamax>(args); }

// lr, lambd, alpha, t0, weight_decay; 0-dim eta, mu; state ax.
void asgd_step(const KernelArgs& args) { run_rule<Asgd>(args); }

// etaminus, etaplus, smallest and largest step size; states prev, step_size.
void rprop_step(const KernelArgs& args) { run_rule<Rprop>(args); }

// lr, lr_power, l1, l2, l2_shrinkage, beta, weight_decay; states accumulator, linear.
void ftrl_step(const KernelArgs& args) { run_rule<Ftrl>(args); }

}  // namespace fireseed::cuda

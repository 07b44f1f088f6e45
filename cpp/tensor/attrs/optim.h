// Attributes of the optimizer steps and of the operations over lists of tensors.
#pragma once

#include <cstdint>

namespace fireseed {

// Note [Optimizer steps]
// One kernel call updates all tensors of a parameter group. Inputs, in this order:
//   in[0]                   hyperparameters, float64, in the order of the kernel's comment; always on the CPU;
//   count times each group  parameters, gradients, then (all but sgd and lion) the 0-dim float32 or float64 `step`
//                           tensors, which the kernel increments, then the state tensors;
//   one each                for the bits of device_hyper, lowest first: a float32 or float64 number on the device
//   that
//                           stands for that hyperparameter and is read when the kernel runs, so that a step in a
//                           captured graph follows a scheduler. Only on devices.
// Parameters and states are updated in place, in their own memory; a tensor's gradient and states have its shape and
// dtype, but for the 0-dim states that a kernel's comment names.
struct OptimAttrs {
  int64_t count = 0;  // tensors
  int64_t flags = 0;  // of those below, or-ed
  int64_t device_hyper = 0;
};

// OptimAttrs::flags.
inline constexpr int64_t kMaximize = 1;    // ascend: the gradient changes its sign
inline constexpr int64_t kNesterov = 2;    // sgd
inline constexpr int64_t kMomentum = 4;    // sgd, rmsprop: has a momentum state
inline constexpr int64_t kFirstStep = 8;   // sgd: the momentum state is not yet set
inline constexpr int64_t kAmsgrad = 16;    // adam: has the running maximum
inline constexpr int64_t kDecoupled = 32;  // weight decay scales the parameter and leaves the gradient alone
inline constexpr int64_t kCentered = 64;   // rmsprop: has the mean of the gradient

struct ForeachNormAttrs {
  double order = 2;  // the vector norm's p; infinity for the largest magnitude
};
struct ForeachClampAttrs { double low = 0, high = 0; };

}  // namespace fireseed

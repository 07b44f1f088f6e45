// Python functions as hooks of tensors.
#pragma once

#include <vector>

#include "bind/gil.h"
#include "engine/node.h"

namespace fireseed::bind {

// tensor.register_hook: gradient -> another gradient, or None to leave it.
struct GradientHook {
  Held function;
  Tensor operator()(const Tensor& g) const;
};
// tensor.register_post_accumulate_grad_hook: called with the leaf.
struct AccumulatedHook {
  Held function;
  void operator()(const Tensor& leaf) const;
};

// The Python functions that these hooks, and nothing else, keep alive: for the cycle collector.
std::vector<const HeldObject*> held_by(const TensorHooks& hooks);

}  // namespace fireseed::bind

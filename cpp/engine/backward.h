// The backward pass.
#pragma once

#include <vector>

#include "engine/node.h"

namespace fireseed {

struct BackwardOptions {
  bool retain_graph = false;
  bool create_graph = false;
};

// Adds d(sum of roots . seeds)/d(leaf) to leaf.grad, for all leaves or, where `inputs` is not empty, these alone.
// An undefined seed means ones, allowed for one-element roots.
void backward(const std::vector<Tensor>& roots, const std::vector<Tensor>& seeds, const BackwardOptions& options,
              const std::vector<Tensor>& inputs = {});

// Gradients of the roots with respect to `inputs` (leaves or not), without touching any .grad. An input that the
// roots do not depend on gives an undefined tensor if allow_unused, else throws.
std::vector<Tensor> gradients(const std::vector<Tensor>& roots, const std::vector<Tensor>& seeds,
                              const std::vector<Tensor>& inputs, const BackwardOptions& options, bool allow_unused);

}  // namespace fireseed

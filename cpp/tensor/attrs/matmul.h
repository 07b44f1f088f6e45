// Attributes of the matrix products.
#pragma once

namespace fireseed {

// addmm: out = beta * input + alpha * (a @ b).
struct AddmmAttrs {
  double alpha = 1;
  double beta = 1;
};

}  // namespace fireseed

// What the files of the reduce family share.
#pragma once

#include "ops/copy.h"
#include "ops/pointwise.h"
#include "ops/records.h"
#include "ops/reduce.h"
#include "ops/shape.h"
#include "tensor/attrs/reduce.h"

namespace fireseed {

// Makes one output of a reduction of `x`.
inline Tensor reduced_shell(const Tensor& x, int64_t mask, int64_t keepdim, DType dtype) {
  return make_shell(reduced_sizes(x.sizes(), mask, keepdim), dtype, x.device());
}
inline DType sum_dtype(DType t) { return is_floating(t) ? t : DType::kInt64; }

// Cotangent or result of a reduction, read in the input's shape.
template <class A>
Tensor expand_like_input(const Vjp& c, const Tensor& t) {
  const auto& a = c.attrs<A>();
  return expand_reduced(t, c.input_sizes(0), a.mask, a.keepdim);
}
// Elements reduced into each output.
inline int64_t reduced_count(const Dims& sizes, int64_t mask) {
  int64_t n = 1;
  for (int64_t d = 0; d < sizes.n; ++d)
    if ((mask >> d) & 1) n *= sizes[d];
  return n;
}

// "mean(): could not infer output dtype …", as PyTorch says it.
inline void require_float(const Tensor& x, const char* op) {
  FS_CHECK(x.is_floating(), op, "(): input dtype should be either floating point or complex dtypes. Got ",
           dtype_name(x.dtype()), " instead. Convert with .float() first");
}
// There is something to choose from.
inline void require_elements(const Tensor& x, int64_t mask, const char* op) {
  if (x.numel() != 0) return;
  if (mask == kAllDims) {
    FS_CHECK(x.numel(), op, "(): Expected reduction dim to be specified for input.numel() == 0 (shape ", x.sizes(),
             "). Specify the reduction dim with the 'dim' argument.");
  }
  for (int64_t d = 0; d < x.dim(); ++d)
    if ((mask >> d) & 1)
      FS_CHECK_INDEX(x.size(d) != 0, op, "(): Expected reduction dim ", d, " to have non-zero size (shape ",
                     x.sizes(), ").");
}

}  // namespace fireseed

// Memory orders of images.
#include "ops/layout.h"

namespace fireseed {

bool is_channels_last(const Tensor& x) {
  if (x.dim() < 4 || x.is_contiguous() || x.size(1) < 2) return false;
  int64_t step = 1;
  for (int64_t i = 0; i < x.dim(); ++i) {
    const int64_t d = i == 0 ? 1 : i == x.dim() - 1 ? 0 : x.dim() - i;
    if (x.size(d) != 1 && x.stride(d) != step) return false;
    step *= x.size(d);
  }
  return true;
}

Tensor shell_like(const Dims& sizes, DType dtype, const Tensor& model) {
  Tensor r = make_shell(sizes, dtype, model.device());
  if (is_channels_last(model)) {
    int64_t step = 1;
    for (int64_t i = 0; i < sizes.n; ++i) {
      const int64_t d = i == 0 ? 1 : i == sizes.n - 1 ? 0 : sizes.n - i;
      r.impl()->strides[d] = step;
      step *= sizes[d] > 1 ? sizes[d] : 1;
    }
    r.impl()->refresh_contiguous();
  }
  return r;
}

}  // namespace fireseed

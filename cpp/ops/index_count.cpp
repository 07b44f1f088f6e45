// Counting by value: bincount, histc, histogram.
#include <cmath>

#include "engine/mode.h"
#include "ops/copy.h"
#include "ops/creation.h"
#include "ops/index.h"
#include "ops/pointwise.h"
#include "ops/reduce.h"
#include "ops/shape.h"

namespace fireseed {

Tensor bincount(const Tensor& x, const Tensor& weights, int64_t minlength) {
  FS_CHECK_KIND(is_integral(x.dtype()) && x.dtype() != DType::kBool, ErrorKind::kNotImplemented,
                "\"bincount_cpu\" not implemented for '", dtype_name(x.dtype()), "'");
  FS_CHECK(minlength >= 0, "bincount: minlength should be >= 0, got ", minlength);
  FS_CHECK(x.dim() == 1, "bincount only supports 1-d non-negative integral inputs, got shape ", x.sizes());
  FS_CHECK(!weights.defined() || weights.same_shape(x),
           "bincount: weights should be 1-d and have the same length as input, got shapes ", x.sizes(), " and ",
           weights.defined() ? weights.sizes() : Dims{});
  GradMode off(false);
  const DType dtype = !weights.defined()                   ? DType::kInt64
                      : weights.dtype() == DType::kFloat32 ? DType::kFloat32
                                                           : DType::kFloat64;
  int64_t bins = minlength;
  if (x.numel() > 0) {
    FS_CHECK(item(amin(x)).to_int() >= 0, "bincount only supports 1-d non-negative integral inputs.");
    const int64_t largest = item(amax(x)).to_int();
    bins = largest + 1 > bins ? largest + 1 : bins;
  }
  const Tensor counts = zeros(Dims{bins}, dtype, x.device());
  if (x.numel() == 0) return counts;
  const Tensor add = weights.defined() ? to(weights, dtype) : expand(ones(Dims{1}, dtype, x.device()), x.sizes());
  index_add_(counts, 0, to(x, DType::kInt64), add);
  return counts;
}

namespace {

// Range of a histogram: [low, high], or that of the data where both are equal.
void histogram_range(const Tensor& x, double& low, double& high, const char* op) {
  FS_CHECK(low <= high, op, ": max must be larger than min, got min ", low, " and max ", high);
  if (low == high && x.numel() > 0) {
    low = item(amin(x)).to_double();
    high = item(amax(x)).to_double();
  }
  FS_CHECK(std::isfinite(low) && std::isfinite(high), op, ": range of [", low, ", ", high, "] is not finite");
  if (low == high) {
    low -= 1;
    high += 1;
  }
}

}  // namespace

Tensor histc(const Tensor& x, int64_t bins, double low, double high) {
  FS_CHECK_KIND(x.is_floating(), ErrorKind::kNotImplemented, "\"histogram_cpu\" not implemented for '",
                dtype_name(x.dtype()), "'");
  FS_CHECK(bins > 0, "histc: bins must be > 0, but got ", bins);
  GradMode off(false);
  histogram_range(x, low, high, "torch.histc");
  const Tensor flat = reshape(x, Dims{x.numel()});
  const Tensor counts = zeros(Dims{bins}, x.dtype(), x.device());
  if (x.numel() == 0) return counts;
  const Tensor inside = logical_and(flat >= low, flat <= high);
  const Tensor scaled = (masked_select(flat, inside) - low) * (static_cast<double>(bins) / (high - low));
  const Tensor at = clamp(to(scaled, DType::kInt64), Scalar(0), Scalar(bins - 1));
  index_add_(counts, 0, at, expand(ones(Dims{1}, x.dtype(), x.device()), at.sizes()));
  return counts;
}

}  // namespace fireseed

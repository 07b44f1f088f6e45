// Attributes of reductions and scans.
#pragma once

#include <cstdint>

namespace fireseed {

// `mask`: bit d set means dimension d is reduced. kAllDims reduces everything (also a 0-dim tensor).
inline constexpr int64_t kAllDims = -1;

// sum, mean, prod, amax, amin, argmax, argmin, max_dim, min_dim, all, any, count_nonzero, logsumexp, nansum.
struct ReduceAttrs {
  int64_t mask = kAllDims;
  int64_t keepdim = 0;
};

// var, std, var_mean, std_mean: sum of squared deviations / max(0, n - correction).
struct VarAttrs {
  int64_t mask = kAllDims;
  int64_t keepdim = 0;
  double correction = 1;
};

// norm: (sum |x|^p)^(1/p); p = 0 counts nonzeros, ±inf take the largest / smallest |x|.
struct NormAttrs {
  int64_t mask = kAllDims;
  int64_t keepdim = 0;
  double p = 2;
};

// cumsum, cumprod, cummax, cummin, logcumsumexp along `dim`.
struct ScanAttrs { int64_t dim = 0; };

}  // namespace fireseed

// Attributes of indexing ops: select, gather, scatter, masks.
#pragma once

#include <cstdint>

#include "base/shape.h"

namespace fireseed {

// A fill value in both readings: float dtypes take `real`, integers and bool take `integer`.
struct FillValue {
  double real = 0;
  int64_t integer = 0;
};

// index, index_put: k = num index tensors. Indexed dimensions are [dim, dim + k) of the source view.
struct IndexAttrs {
  int64_t dim = 0;
  int64_t accumulate = 0;  // index_put: add instead of overwrite
};

// index_select, index_copy, gather: `wrap` lets -1 mean the last entry.
struct IndexDimAttrs {
  int64_t dim = 0;
  int64_t wrap = 0;
};

// index_add: self[index[i]] += alpha * source[i] along dim.
struct IndexAddAttrs {
  int64_t dim = 0;
  FillValue alpha;
};

// index_fill along dim; masked_fill (dim unused); constant_pad has its own.
struct IndexFillAttrs {
  int64_t dim = 0;
  FillValue value;
};

// nonzero, masked_select: number of entries, from nonzero_count.
struct CountAttrs { int64_t count = 0; };

struct MaskedFillAttrs { FillValue value; };

enum class ScatterReduce : int64_t { kNone, kAdd, kMultiply, kMax, kMin, kMean };

// scatter family: out = self; out[.., index[.., i, ..], ..] op= src[.., i, ..] along dim.
struct ScatterAttrs {
  int64_t dim = 0;
  ScatterReduce reduce = ScatterReduce::kNone;
  int64_t include_self = 1;  // 0: written entries start from the identity of the reduction
};

}  // namespace fireseed

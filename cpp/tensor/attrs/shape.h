// Attributes of view ops and of copying.
#pragma once

#include <cstdint>

#include "base/shape.h"

namespace fireseed {

// view, squeeze, unsqueeze, expand: the output's sizes. permute: output dim i is input dim d[i].
struct DimsAttrs { Dims dims; };

// slice: x[start : start + length * step : step] along dim.  select: x[start] along dim (length unused).
struct SliceAttrs {
  int64_t dim = 0;
  int64_t start = 0;
  int64_t step = 1;
  int64_t length = 0;
};

// diagonal of dims dim1, dim2, `offset` above the main one.
struct DiagonalAttrs {
  int64_t offset = 0;
  int64_t dim1 = 0;
  int64_t dim2 = 1;
};

// unfold: windows of `size` every `step` along dim.
struct UnfoldAttrs {
  int64_t dim = 0;
  int64_t size = 1;
  int64_t step = 1;
};

// as_strided, and window_backward (out: zeros of in_sizes, with g added at the window). Elements.
struct WindowAttrs {
  Dims sizes, strides;
  int64_t offset = 0;         // as_strided: from the storage's start; window_backward: from out's start
  Dims in_sizes, in_strides;  // as_strided: geometry of its input; window_backward: in_sizes = out's sizes
  int64_t in_offset = 0;
};

// arange/linspace: out[i] = start + i * step, the last entry of a linspace exactly `end`.
struct RangeAttrs {
  double start = 0;
  double step = 1;
  double end = 0;
  int64_t istart = 0;  // integer dtypes
  int64_t istep = 1;
  int64_t linspace = 0;
};

}  // namespace fireseed

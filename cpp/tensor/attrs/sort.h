// Attributes of sorting and selection.
#pragma once

#include <cstdint>

namespace fireseed {

struct SortAttrs {
  int64_t dim = 0;
  int64_t descending = 0;
};

struct TopkAttrs {
  int64_t dim = 0;
  int64_t k = 1;
  int64_t largest = 1;
  int64_t sorted = 1;
};

// kthvalue: the k-th smallest, k from 1. median_dim: k unused.
struct SelectAttrs {
  int64_t dim = 0;
  int64_t keepdim = 0;
  int64_t k = 1;
  int64_t ignore_nan = 0;  // median_dim: nanmedian
};

struct SearchAttrs {
  int64_t right = 0;  // 0: first position with sequence[i] >= value; 1: > value
  int64_t out_int32 = 0;
};

}  // namespace fireseed

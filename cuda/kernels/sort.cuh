// Rows sorted by order keys: what sort, topk and selections share (Note [Sorting rows] in sort.cu).
#pragma once

#include <optional>

#include "device/contiguous.cuh"
#include "device/order.cuh"
#include "device/reduce.cuh"
#include "runtime/device.h"

namespace fireseed::cuda {

template <class U>
struct KeyPairs {
  U* keys = nullptr;
  uint32_t* index = nullptr;
};

// Rows of n elements from x or from pairs, to pairs or, where values is set, the first `keep` of each row to values
// and indices. x stays to be read where keys do not tell the element: row r of it begins at r * x_n.
template <class U>
struct SortArgs {
  const U* x = nullptr;
  int64_t x_n = 0;
  KeyPairs<U> from, to;
  U* values = nullptr;
  int64_t* indices = nullptr;
  int64_t rows = 0, n = 0, keep = 0;
  KeyRule rule{DType::kBool};
};

// The longest row that one block sorts.
template <class U>
inline constexpr int kSortItems = sizeof(U) == 8 ? 7 : 11;  // of a thread; odd: no bank conflicts
inline constexpr int kSortThreads = 256;
template <class U>
inline constexpr int64_t kSortTile = kSortThreads * kSortItems<U>;

// Memory for rows * n pairs.
template <class U>
class PairMemory {
 public:
  explicit PairMemory(int64_t count)
      : keys_(static_cast<size_t>(count) * sizeof(U)), index_(static_cast<size_t>(count) * sizeof(uint32_t)) {}
  KeyPairs<U> pairs() const { return {keys_.ptr<U>(), index_.ptr<uint32_t>()}; }

 private:
  Scratch keys_, index_;
};

inline constexpr int64_t kMostBlocks = 1 << 20;  // of a grid; kernels go on in steps of it

// Sorts as args say (sort.cu). args.to is for the result, or null where values are.
template <class U>
void sort_rows(SortArgs<U> args, const char* op);

}  // namespace fireseed::cuda

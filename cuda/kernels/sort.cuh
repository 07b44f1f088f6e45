// Rows sorted by order keys: what sort, topk and selections share (Note [Sorting rows] in sort.cu).
#pragma once

#include <optional>

#include "device/contiguous.cuh"
#include "device/order.cuh"
#include "device/reduce.cuh"
#include "runtime/device.h"

namespace fireseed::cuda {

// Keys are of 32 bits, or of 64 for elements of 64 (K); the size of elements is known at run time. A key is the order
// key of the element, zero above its bits.
template <class K>
struct KeyPairs {
  K* keys = nullptr;
  uint32_t* index = nullptr;
};

// Elements of x and how they are ordered.
struct SortElements {
  const void* x = nullptr;
  int size = 1;  // bytes
  KeyRule rule{DType::kBool};
  SortElements() = default;
  SortElements(const void* p, DType t, bool descending = false)
      : x(p), size(static_cast<int>(dtype_size(t))), rule(t, descending) {}
  explicit SortElements(const uint64_t* numbers) : x(numbers), size(8) {}

  template <class K>
  __device__ __forceinline__ K mask() const {
    return static_cast<K>(~K{0}) >> (8 * (static_cast<int>(sizeof(K)) - size));
  }
  template <class K>
  __device__ __forceinline__ K bits(int64_t i) const {
    if (sizeof(K) == 8 || size == 4) return static_cast<const K*>(x)[i];
    return size == 2 ? static_cast<const uint16_t*>(x)[i] : static_cast<const uint8_t*>(x)[i];
  }
  template <class K>
  __device__ __forceinline__ K key(int64_t i) const {
    return order_key(bits<K>(i), rule) & mask<K>();
  }
  // The element's bits; false where the key stands for several (NaN, zero).
  template <class K>
  __device__ __forceinline__ bool element_of(K key, K& bits) const {
    if (rule.descending) key = ~key & mask<K>();
    const K sign = static_cast<K>(rule.sign);
    bits = key ^ sign;
    if (!rule.floating) return true;
    if (!(key & sign)) bits = ~key;
    return key != mask<K>() && key != sign;
  }
  template <class K>
  __device__ __forceinline__ bool is_nan(K key) const {
    return rule.floating && key == (rule.descending ? K{0} : mask<K>());
  }
  // Element i of `to`, of the same size.
  template <class K>
  __device__ __forceinline__ void put(void* to, int64_t i, K bits) const {
    if (sizeof(K) == 8 || size == 4) static_cast<K*>(to)[i] = bits;
    else if (size == 2) static_cast<uint16_t*>(to)[i] = static_cast<uint16_t>(bits);
    else static_cast<uint8_t*>(to)[i] = static_cast<uint8_t>(bits);
  }
};
// Calls f(K{}).
template <class F>
void dispatch_key(DType t, const F& f) {
  if (dtype_size(t) == 8) f(uint64_t{});
  else f(uint32_t{});
}

// Rows of n elements from x or from pairs, to pairs or, where values is set, the first `keep` of each row to values
// and indices. x stays to be read where keys do not tell the element: row r of it begins at r * x_n.
template <class K>
struct SortArgs {
  SortElements in;
  int64_t x_n = 0;
  KeyPairs<K> from, to;
  void* values = nullptr;
  int64_t* indices = nullptr;
  int64_t rows = 0, n = 0, keep = 0;
};

inline constexpr int kSortItems = 7;  // of a thread; odd: no bank conflicts
inline constexpr int kSortThreads = 256;
inline constexpr int64_t kSortTile = kSortThreads * kSortItems;  // the longest row that one block sorts

// Memory for rows * n pairs.
template <class K>
class PairMemory {
 public:
  explicit PairMemory(int64_t count)
      : keys_(static_cast<size_t>(count) * sizeof(K)), index_(static_cast<size_t>(count) * sizeof(uint32_t)) {}
  KeyPairs<K> pairs() const { return {keys_.ptr<K>(), index_.ptr<uint32_t>()}; }

 private:
  Scratch keys_, index_;
};

inline constexpr int64_t kMostBlocks = 1 << 20;  // of a grid; kernels go on in steps of it

// Sorts as args say (sort.cu). args.to is for the result, or null where values are.
template <class K>
void sort_rows(SortArgs<K> args, const char* op);

}  // namespace fireseed::cuda

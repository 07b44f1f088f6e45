// Sorting: keys whose unsigned order is PyTorch's, packed with their index; small, merge and radix sorts on them.
#pragma once

#include "cpu/contiguous.h"
#include "cpu/reduce_ops.h"

namespace fireseed::cpu::FS_ISA {

// Note [Sort keys]
// An element becomes an unsigned number of the same order: floats flip their bits so that NaN comes last and -0 = +0,
// signed integers flip the sign bit; descending order complements it. Key and index together are unique, so every
// sort of them is stable and the result does not depend on how the work was cut.

template <class T>
FS_INLINE auto sort_key(T x) {
  if constexpr (same_type<T, double>) {
    if (x != x) return ~uint64_t{0};
    if (x == 0) x = 0;
    uint64_t u;
    __builtin_memcpy(&u, &x, 8);
    return u & (uint64_t{1} << 63) ? ~u : u | (uint64_t{1} << 63);
  } else if constexpr (is_float_type<T>) {
    const float f = widen_from<float>(x);
    const float z = f == 0 ? 0.0f : f;
    uint32_t u;
    __builtin_memcpy(&u, &z, 4);
    return f != f ? ~uint32_t{0} : u & 0x80000000u ? ~u : u | 0x80000000u;
  } else if constexpr (sizeof(T) == 8) {
    return static_cast<uint64_t>(x) ^ (uint64_t{1} << 63);
  } else {
    return static_cast<uint32_t>(static_cast<int32_t>(x)) ^ 0x80000000u;
  }
}
template <class T>
inline constexpr bool kWideKey = sizeof(T) == 8;

// 32-bit key in the high half, index in the low half.
using Packed = uint64_t;
// 64-bit key and its index.
struct Wide {
  uint64_t key, index;
  bool operator<(const Wide& o) const { return key < o.key || (key == o.key && index < o.index); }
};
FS_INLINE int64_t index_of(Packed p) { return static_cast<int64_t>(p & 0xffffffffu); }
FS_INLINE int64_t index_of(const Wide& w) { return static_cast<int64_t>(w.index); }
FS_INLINE uint64_t key_of(Packed p) { return p >> 32; }
FS_INLINE uint64_t key_of(const Wide& w) { return w.key; }

template <class T>
using SortItem = typename choose_type<kWideKey<T>, Wide, Packed>::type;

template <class T>
FS_INLINE SortItem<T> sort_item(T x, int64_t index, bool descending) {
  auto key = sort_key(x);
  if (descending) key = ~key;
  if constexpr (kWideKey<T>) return Wide{key, static_cast<uint64_t>(index)};
  else return (static_cast<uint64_t>(key) << 32) | static_cast<uint64_t>(index);
}

// Sorts up to 64 unique numbers: the place of each is the count of smaller ones.
inline void sort_by_rank(Packed* a, int64_t n) {
  constexpr int kW = Vec<int64_t>::kSize;
  alignas(64) int64_t padded[64];
  Packed sorted[64];
  const int64_t whole = ceil_div(n, kW) * kW;
  for (int64_t i = 0; i < n; ++i) padded[i] = static_cast<int64_t>(a[i] ^ (uint64_t{1} << 63));
  for (int64_t i = n; i < whole; ++i) padded[i] = INT64_MAX;
  for (int64_t i = 0; i < n; ++i) {
    const Vec<int64_t> x = padded[i];
    int rank = 0;
    for (int64_t j = 0; j < whole; j += kW) rank += __builtin_popcountll((Vec<int64_t>::load(padded + j) < x).bits());
    sorted[rank] = a[i];
  }
  for (int64_t i = 0; i < n; ++i) a[i] = sorted[i];
}
inline void sort_few(Packed* a, int64_t n) { sort_by_rank(a, n); }
inline void sort_few(Wide* a, int64_t n) {
  for (int64_t i = 1; i < n; ++i) {
    const Wide x = a[i];
    int64_t j = i;
    for (; j > 0 && x < a[j - 1]; --j) a[j] = a[j - 1];
    a[j] = x;
  }
}
template <class Item>
inline constexpr int64_t kFew = sizeof(Item) == 8 ? 64 : 24;

// Merges sorted a[0, n) and b[0, m) into out.
template <class Item>
void merge_runs(const Item* a, int64_t n, const Item* b, int64_t m, Item* out) {
  int64_t i = 0, j = 0;
  while (i < n && j < m) {
    const bool second = b[j] < a[i];
    *out++ = second ? b[j] : a[i];
    j += second;
    i += !second;
  }
  while (i < n) *out++ = a[i++];
  while (j < m) *out++ = b[j++];
}

// Bottom-up merge sort of a, with tmp of the same size.
template <class Item>
void merge_sort(Item* a, Item* tmp, int64_t n) {
  for (int64_t b = 0; b < n; b += kFew<Item>) sort_few(a + b, smaller(kFew<Item>, n - b));
  Item *from = a, *to = tmp;
  for (int64_t run = kFew<Item>; run < n; run *= 2) {
    for (int64_t b = 0; b < n; b += 2 * run) {
      const int64_t mid = smaller(n, b + run), end = smaller(n, b + 2 * run);
      merge_runs(from + b, mid - b, from + mid, end - mid, to + b);
    }
    Item* t = from;
    from = to;
    to = t;
  }
  if (from != a) __builtin_memcpy(static_cast<void*>(a), from, static_cast<size_t>(n) * sizeof(Item));
}

// Radix sort by the key's bytes from the least; equal keys keep their order, which is that of the index.
template <class Item>
void radix_sort(Item* a, Item* tmp, int64_t n, int key_bytes) {
  uint32_t count[8][256];
  __builtin_memset(count, 0, sizeof count);
  for (int64_t i = 0; i < n; ++i) {
    const uint64_t key = key_of(a[i]);
    for (int b = 0; b < key_bytes; ++b) ++count[b][(key >> (8 * b)) & 255];
  }
  Item *from = a, *to = tmp;
  for (int b = 0; b < key_bytes; ++b) {
    uint32_t* c = count[b];
    if (c[(key_of(from[0]) >> (8 * b)) & 255] == static_cast<uint32_t>(n)) continue;  // all in one bucket
    uint32_t sum = 0;
    for (int d = 0; d < 256; ++d) {
      const uint32_t k = c[d];
      c[d] = sum;
      sum += k;
    }
    for (int64_t i = 0; i < n; ++i) to[c[(key_of(from[i]) >> (8 * b)) & 255]++] = from[i];
    Item* t = from;
    from = to;
    to = t;
  }
  if (from != a) __builtin_memcpy(static_cast<void*>(a), from, static_cast<size_t>(n) * sizeof(Item));
}

template <class Item>
void sort_items(Item* a, Item* tmp, int64_t n) {
  constexpr int kKeyBytes = sizeof(Item) == 8 ? 4 : 8;
  if (n <= kFew<Item>) sort_few(a, n);
  else if (n < (sizeof(Item) == 8 ? 400 : 1500) || n > INT32_MAX) merge_sort(a, tmp, n);
  else radix_sort(a, tmp, n, kKeyBytes);
}

// How many of the first `k` merged items come from a (merge path): the split that keeps the order.
template <class Item>
int64_t merge_split(const Item* a, int64_t n, const Item* b, int64_t m, int64_t k) {
  int64_t low = larger(0, k - m), high = smaller(k, n);
  while (low < high) {
    const int64_t mid = (low + high) / 2;
    if (b[k - mid - 1] < a[mid]) high = mid;
    else low = mid + 1;
  }
  return low;
}

// One long line on all threads: pieces are sorted, then merged pairwise, each merge cut into equal parts.
template <class Item>
void sort_items_parallel(Item* a, Item* tmp, int64_t n) {
  constexpr int64_t kPiece = 65536;
  int64_t pieces = 1;
  while (pieces < num_threads() && n / (2 * pieces) >= kPiece / 2) pieces *= 2;
  if (pieces == 1) return sort_items(a, tmp, n);
  const int64_t run = ceil_div(n, pieces);
  parallel_for(pieces, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t b = smaller(n, i * run);
      sort_items(a + b, tmp + b, smaller(n, b + run) - b);
    }
  });
  Item *from = a, *to = tmp;
  for (int64_t width = run; width < n; width *= 2) {
    parallel_for(ceil_div(n, kPiece), 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {  // output positions [i, i + 1) kPiece, which may span two pairs
        int64_t at = i * kPiece;
        const int64_t stop = smaller(n, at + kPiece);
        while (at < stop) {
          const int64_t b = at / (2 * width) * (2 * width), mid = smaller(n, b + width),
                        last = smaller(n, b + 2 * width);
          const int64_t to_here = smaller(stop, last);
          const Item *x = from + b, *y = from + mid;
          const int64_t i0 = merge_split(x, mid - b, y, last - mid, at - b);
          const int64_t i1 = merge_split(x, mid - b, y, last - mid, to_here - b);
          const int64_t j0 = at - b - i0, j1 = to_here - b - i1;
          merge_runs(x + i0, i1 - i0, y + j0, j1 - j0, to + at);
          at = to_here;
        }
      }
    });
    Item* t = from;
    from = to;
    to = t;
  }
  if (from != a)
    parallel_for(n, kPiece, [&](int64_t b, int64_t e) {
      __builtin_memcpy(static_cast<void*>(a + b), from + b, static_cast<size_t>(e - b) * sizeof(Item));
    });
}

// Puts the k smallest items first (in no order): quickselect with the median of three.
template <class Item>
void select_smallest(Item* a, int64_t n, int64_t k) {
  int64_t low = 0, high = n - 1;
  while (high - low > 16) {
    const int64_t mid = low + (high - low) / 2;
    auto swap = [&](int64_t i, int64_t j) {
      const Item t = a[i];
      a[i] = a[j];
      a[j] = t;
    };
    if (a[mid] < a[low]) swap(mid, low);
    if (a[high] < a[low]) swap(high, low);
    if (a[high] < a[mid]) swap(high, mid);
    const Item pivot = a[mid];
    int64_t i = low, j = high;
    while (i <= j) {
      while (a[i] < pivot) ++i;
      while (pivot < a[j]) --j;
      if (i <= j) swap(i++, j--);
    }
    if (k - 1 <= j) high = j;
    else if (k - 1 >= i) low = i;
    else return;
  }
  for (int64_t i = low + 1; i <= high; ++i) {
    const Item x = a[i];
    int64_t j = i;
    for (; j > low && x < a[j - 1]; --j) a[j] = a[j - 1];
    a[j] = x;
  }
}

}  // namespace fireseed::cpu::FS_ISA

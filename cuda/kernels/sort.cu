// sort, and mode, which counts in sorted rows.
#include "kernels/sort.cuh"

#include "device/reduce.cuh"
#include "tensor/attrs/sort.h"

namespace fireseed::cuda {
namespace {

// Note [Sorting rows]
// Elements become keys (Note [Order keys]) with their 32-bit place in the row. A block sorts a tile: each thread
// sorts kSortItems keys in registers, then runs are merged pairwise in shared memory, each thread writing kSortItems
// of the result: where they begin in both runs is found by a binary search along the diagonal of the merge (Green,
// Odeh and Birk 2012, "Merge path"). Longer rows are merged tile by tile in the same way, pass by pass over device
// memory. Merges take equal keys from the earlier run first, so the sort is stable and has one result.

// How many of the first `count` merged keys come from a (of n); b has m. Of equal keys a's come first.
template <class U, class I>
__device__ __forceinline__ I merge_split(const U* a, I n, const U* b, I m, I count) {
  I low = count > m ? count - m : 0, high = count < n ? count : n;
  while (low < high) {
    const I middle = (low + high) / 2;
    if (b[count - middle - 1] < a[middle]) high = middle;
    else low = middle + 1;
  }
  return low;
}

// The keys after the first `count` of the merge of a (of n) and b (of m), in shared memory; what lies behind the end
// is a last key.
template <class U>
__device__ __forceinline__ void merge_some(const U* keys, const uint32_t* index, int a, int n, int b, int m,
                                           int count, U (&k)[kSortItems], uint32_t (&v)[kSortItems]) {
  int i = static_cast<int>(merge_split(keys + a, n, keys + b, m, count)), j = count - i;
#pragma unroll
  for (int e = 0; e < kSortItems; ++e) {
    const bool second = j < m && (i >= n || keys[b + j] < keys[a + i]);
    const int at = second ? b + j : a + i;
    const bool any = second || i < n;
    k[e] = any ? keys[at] : kLastKey<U>;
    v[e] = any ? index[at] : ~0u;
    if (second) ++j;
    else ++i;
  }
}

// The place `at` of sorted row `row`.
template <class U>
__device__ __forceinline__ void put_sorted(const SortArgs<U>& args, int64_t row, int64_t at, U key, uint32_t index) {
  if (!args.values) {
    args.to.keys[row * args.n + at] = key;
    args.to.index[row * args.n + at] = index;
  } else if (at < args.keep) {
    U bits;
    if (!args.in.element_of(key, bits)) bits = args.in.template bits<U>(row * args.x_n + index);
    args.in.put(args.values, row * args.keep + at, bits);
    args.indices[row * args.keep + at] = index;
  }
}

// A block a tile: of kSortThreads, or a warp for short rows.
// Compiles to: no spills
template <class U>
__global__ void __launch_bounds__(kSortThreads) sort_tiles(const __grid_constant__ SortArgs<U> args) {
  const int t = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x), tile = threads * kSortItems;
  FS_DYN_SMEM(U, keys);
  auto* const index = reinterpret_cast<uint32_t*>(keys + tile);
  const int64_t tiles = (args.n + tile - 1) / tile;
  for (int64_t block = blockIdx.x; block < args.rows * tiles; block += gridDim.x) {
    const int64_t row = block / tiles, first = block % tiles * tile;
    const int count = static_cast<int>(args.n - first < tile ? args.n - first : tile);
#pragma unroll 1
    for (int i = t; i < tile; i += threads) {
      U key = kLastKey<U>;
      uint32_t place = ~0u;
      if (i < count) {
        const int64_t at = row * args.n + first + i;
        key = args.from.keys ? args.from.keys[at] : args.in.template key<U>(at);
        place = args.from.keys ? args.from.index[at] : static_cast<uint32_t>(first + i);
      }
      keys[i] = key;
      index[i] = place;
    }
    __syncthreads();
    U k[kSortItems];
    uint32_t v[kSortItems];
#pragma unroll
    for (int e = 0; e < kSortItems; ++e) {
      k[e] = keys[t * kSortItems + e];
      v[e] = index[t * kSortItems + e];
    }
#pragma unroll
    for (int pass = 0; pass < kSortItems; ++pass) {  // neighbours are exchanged (Knuth 5.3.4): stable
#pragma unroll
      for (int e = pass & 1; e + 1 < kSortItems; e += 2) {
        const bool swap = k[e + 1] < k[e];
        const U low = swap ? k[e + 1] : k[e], high = swap ? k[e] : k[e + 1];
        const uint32_t first_place = swap ? v[e + 1] : v[e], second_place = swap ? v[e] : v[e + 1];
        k[e] = low, k[e + 1] = high;
        v[e] = first_place, v[e + 1] = second_place;
      }
    }
#pragma unroll 1
    for (int width = 1;; width *= 2) {  // in threads; runs of `width` threads' keys are sorted
      __syncthreads();
#pragma unroll
      for (int e = 0; e < kSortItems; ++e) {
        keys[t * kSortItems + e] = k[e];
        index[t * kSortItems + e] = v[e];
      }
      __syncthreads();
      if (width >= threads || width * kSortItems >= count) break;
      const int a = t / (2 * width) * (2 * width) * kSortItems, run = width * kSortItems;
      merge_some(keys, index, a, run, a + run, run, t * kSortItems - a, k, v);
    }
#pragma unroll 1
    for (int i = t; i < count; i += threads) put_sorted(args, row, first + i, keys[i], index[i]);
    __syncthreads();  // keys may be written again
  }
}

// Runs of `width` (a multiple of the tile) of each row are merged pairwise; a block writes a tile.
// Compiles to: no spills
template <class U>
__global__ void __launch_bounds__(kSortThreads) merge_tiles(const __grid_constant__ SortArgs<U> args, int64_t width) {
  constexpr int kTile = static_cast<int>(kSortTile);
  FS_SHARED(U, keys, [kTile]);
  FS_SHARED(uint32_t, index, [kTile]);
  FS_SHARED(int64_t, split, [2]);
  const int t = static_cast<int>(threadIdx.x);
  const int64_t tiles = (args.n + kTile - 1) / kTile;
  for (int64_t block = blockIdx.x; block < args.rows * tiles; block += gridDim.x) {
    const int64_t row = block / tiles, first = block % tiles * kTile;
    const int64_t begin = first / (2 * width) * (2 * width), left = args.n - begin;
    const int64_t n = left < width ? left : width, m = left < 2 * width ? left - n : width;
    const U *a = args.from.keys + row * args.n + begin, *b = a + n;
    const uint32_t *a_index = args.from.index + row * args.n + begin, *b_index = a_index + n;
    const int64_t from = first - begin, to = from + kTile < n + m ? from + kTile : n + m;
    if (t < 2) split[t] = merge_split(a, n, b, m, t == 0 ? from : to);
    __syncthreads();
    const int64_t a0 = split[0], b0 = from - a0;
    const int count = static_cast<int>(to - from), from_a = static_cast<int>(split[1] - a0);
#pragma unroll 2
    for (int i = t; i < count; i += kSortThreads) {
      const bool first_run = i < from_a;
      keys[i] = first_run ? a[a0 + i] : b[b0 + i - from_a];
      index[i] = first_run ? a_index[a0 + i] : b_index[b0 + i - from_a];
    }
    __syncthreads();
    U k[kSortItems];
    uint32_t v[kSortItems];
    const int own = t * kSortItems < count ? t * kSortItems : count;
    merge_some(keys, index, 0, from_a, from_a, count - from_a, own, k, v);
    __syncthreads();
#pragma unroll
    for (int e = 0; e < kSortItems; ++e) {
      keys[t * kSortItems + e] = k[e];
      index[t * kSortItems + e] = v[e];
    }
    __syncthreads();
#pragma unroll 1
    for (int i = t; i < count; i += kSortThreads) put_sorted(args, row, first + i, keys[i], index[i]);
    __syncthreads();  // keys and split may be written again
  }
}

}  // namespace

template <class U>
void sort_rows(SortArgs<U> args, const char* op) {
  constexpr int64_t kTile = kSortTile, kSmallTile = kWarpSize * kSortItems, kPair = sizeof(U) + sizeof(uint32_t);
  FS_CHECK(args.n < (int64_t{1} << 32) - 1, op, ": rows of ", args.n, " elements on a CUDA device, at most 2^32 - 2");
  const cudaStream_t stream = current_stream();
  if (args.n <= kSmallTile) {
    FS_LAUNCH((sort_tiles<U>), grid_for(args.rows, 1, kMostBlocks), kWarpSize, kSmallTile * kPair, stream, args);
    return;
  }
  const unsigned blocks = grid_for(args.rows * ((args.n + kTile - 1) / kTile), 1, kMostBlocks);
  if (args.n <= kTile) {
    FS_LAUNCH((sort_tiles<U>), blocks, kSortThreads, kTile * kPair, stream, args);
    return;
  }
  int passes = 0;
  for (int64_t width = kTile; width < args.n; width *= 2) ++passes;
  const PairMemory<U> first(args.rows * args.n);
  std::optional<PairMemory<U>> second;
  if (args.values && passes > 1) second.emplace(args.rows * args.n);
  SortArgs<U> step = args;
  step.values = nullptr;
  // Without values the result is one of the two buffers' place, so that the last pass writes it.
  const KeyPairs<U> other = args.values ? (second ? second->pairs() : KeyPairs<U>{}) : args.to;
  KeyPairs<U> now = first.pairs(), next = other;
  if (!args.values && passes % 2 == 0) std::swap(now, next);
  step.to = now;
  FS_LAUNCH((sort_tiles<U>), blocks, kSortThreads, kTile * kPair, stream, step);
  for (int64_t width = kTile; width < args.n; width *= 2) {
    step.from = now;
    step.to = next;
    if (2 * width >= args.n) step.values = args.values;
    FS_LAUNCH((merge_tiles<U>), blocks, kSortThreads, 0, stream, step, width);
    std::swap(now, next);
  }
}
template void sort_rows(SortArgs<uint32_t>, const char*);
template void sort_rows(SortArgs<uint64_t>, const char*);

namespace {

// A block a row of sorted pairs: each last element of a run counts the run. The longest wins, of equal ones the
// first.
template <class U, int kThreads>
__global__ void __launch_bounds__(kThreads) pick_mode(const SortElements in, const KeyPairs<U> sorted, int64_t rows,
                                                      int64_t n, void* values, int64_t* indices) {
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const U* keys = sorted.keys + row * n;
    uint64_t best = 0;  // length of the run, and what makes early ends greater
    for (int64_t i = threadIdx.x; i < n; i += kThreads) {
      const U key = keys[i];
      if (i + 1 < n && keys[i + 1] == key) continue;
      int64_t low = 0, high = i;  // the run's first element
      while (low < high) {
        const int64_t middle = (low + high) / 2;
        if (keys[middle] < key) low = middle + 1;
        else high = middle;
      }
      const uint64_t own = static_cast<uint64_t>(i - low + 1) << 32 | (~static_cast<uint64_t>(i) & 0xffffffffu);
      best = own > best ? own : best;
    }
    best = block_reduce<kThreads>(best, MaxOp{});
    if (threadIdx.x == 0) {
      const uint32_t at = sorted.index[row * n + static_cast<int64_t>(~best & 0xffffffffu)];
      in.put(values, row, in.template bits<U>(row * n + at));
      indices[row] = at;
    }
  }
}

}  // namespace

// out: values and int64 indices of in's shape; stable; NaN is the greatest number.
void sort(const KernelArgs& args) {
  const auto& a = args.attrs<SortAttrs>();
  if (args.in[0].numel == 0) return;
  const AxisShape s(args.in[0], a.dim);
  const RowInput in(args.in[0], a.dim);
  RowOutput values(args.out[0], a.dim), indices(args.out[1], a.dim);
  dispatch_key(args.in[0].dtype, [&](auto key) {
    SortArgs<decltype(key)> job;
    job.in = SortElements(in.ptr<void>(), args.in[0].dtype, a.descending != 0);
    job.values = values.ptr<void>();
    job.indices = indices.ptr<int64_t>();
    job.rows = s.outer * s.inner;
    job.n = job.x_n = job.keep = s.n;
    sort_rows(job, "sort");
  });
  values.finish();
  indices.finish();
}

// The most frequent value (the smallest of several) and its last index.
void mode(const KernelArgs& args) {
  const int64_t dim = args.attrs<SelectAttrs>().dim;
  if (args.in[0].numel == 0) return;
  const AxisShape s(args.in[0], dim);
  const RowInput in(args.in[0], dim);
  const int64_t rows = s.outer * s.inner;
  dispatch_key(args.in[0].dtype, [&](auto key) {
    using U = decltype(key);
    const PairMemory<U> sorted(rows * s.n);
    SortArgs<U> job;
    job.in = SortElements(in.ptr<void>(), args.in[0].dtype);
    job.to = sorted.pairs();
    job.rows = rows;
    job.n = job.x_n = s.n;
    sort_rows(job, "mode");
    FS_LAUNCH((pick_mode<U, 128>), grid_for(rows, 1, kMostBlocks), 128, 0, current_stream(), job.in, sorted.pairs(),
              rows, s.n, args.out[0].data, args.out[1].ptr<int64_t>());
  });
}

}  // namespace fireseed::cuda

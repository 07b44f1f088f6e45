// sort, and mode, which counts in sorted rows.
#include "kernels/sort.cuh"

#include "device/reduce.cuh"
#include "tensor/attrs/sort.h"

namespace fireseed::cuda {
namespace {

// Note [Sorting rows]
// Elements become keys (Note [Order keys]) with their 32-bit place in the row. A block sorts a tile: each thread
// sorts kItems keys in registers, then runs are merged pairwise in shared memory, each thread writing kItems of the
// result: where they begin in both runs is found by a binary search along the diagonal of the merge (Green, Odeh and
// Birk 2012, "Merge path"). Longer rows are merged tile by tile in the same way, pass by pass over device memory.
// Merges take equal keys from the earlier run first, so the sort is stable and has one result.

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
template <class U, int kItems>
__device__ __forceinline__ void merge_some(const U* keys, const uint32_t* index, int a, int n, int b, int m,
                                           int count, U (&k)[kItems], uint32_t (&v)[kItems]) {
  int i = static_cast<int>(merge_split(keys + a, n, keys + b, m, count)), j = count - i;
#pragma unroll
  for (int e = 0; e < kItems; ++e) {
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
    if (!element_of(key, args.rule, bits)) bits = args.x[row * args.x_n + index];
    args.values[row * args.keep + at] = bits;
    args.indices[row * args.keep + at] = index;
  }
}

// A block a tile.
// Compiles to: no spills
template <class U, int kThreads, int kItems>
__global__ void __launch_bounds__(kThreads) sort_tiles(const __grid_constant__ SortArgs<U> args) {
  constexpr int kTile = kThreads * kItems;
  FS_SHARED(U, keys, [kTile]);
  FS_SHARED(uint32_t, index, [kTile]);
  const int t = static_cast<int>(threadIdx.x);
  const int64_t tiles = (args.n + kTile - 1) / kTile;
  for (int64_t block = blockIdx.x; block < args.rows * tiles; block += gridDim.x) {
    const int64_t row = block / tiles, first = block % tiles * kTile;
    const int count = static_cast<int>(args.n - first < kTile ? args.n - first : kTile);
#pragma unroll 4
    for (int i = t; i < kTile; i += kThreads) {
      U key = kLastKey<U>;
      uint32_t place = ~0u;
      if (i < count) {
        const int64_t at = row * args.n + first + i;
        key = args.from.keys ? args.from.keys[at] : order_key(args.x[at], args.rule);
        place = args.from.keys ? args.from.index[at] : static_cast<uint32_t>(first + i);
      }
      keys[i] = key;
      index[i] = place;
    }
    __syncthreads();
    U k[kItems];
    uint32_t v[kItems];
#pragma unroll
    for (int e = 0; e < kItems; ++e) {
      k[e] = keys[t * kItems + e];
      v[e] = index[t * kItems + e];
    }
#pragma unroll
    for (int pass = 0; pass < kItems; ++pass) {  // neighbours are exchanged (Knuth 5.3.4): stable
#pragma unroll
      for (int e = pass & 1; e + 1 < kItems; e += 2) {
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
      for (int e = 0; e < kItems; ++e) {
        keys[t * kItems + e] = k[e];
        index[t * kItems + e] = v[e];
      }
      __syncthreads();
      if (width >= kThreads || width * kItems >= count) break;
      const int a = t / (2 * width) * (2 * width) * kItems, run = width * kItems;
      merge_some(keys, index, a, run, a + run, run, t * kItems - a, k, v);
    }
#pragma unroll 1
    for (int i = t; i < count; i += kThreads) put_sorted(args, row, first + i, keys[i], index[i]);
    __syncthreads();  // keys may be written again
  }
}

// Runs of `width` (a multiple of the tile) of each row are merged pairwise; a block writes a tile.
// Compiles to: no spills
template <class U, int kThreads, int kItems>
__global__ void __launch_bounds__(kThreads) merge_tiles(const __grid_constant__ SortArgs<U> args, int64_t width) {
  constexpr int kTile = kThreads * kItems;
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
#pragma unroll 4
    for (int i = t; i < count; i += kThreads) {
      const bool first_run = i < from_a;
      keys[i] = first_run ? a[a0 + i] : b[b0 + i - from_a];
      index[i] = first_run ? a_index[a0 + i] : b_index[b0 + i - from_a];
    }
    __syncthreads();
    U k[kItems];
    uint32_t v[kItems];
    const int own = t * kItems < count ? t * kItems : count;
    merge_some(keys, index, 0, from_a, from_a, count - from_a, own, k, v);
    __syncthreads();
#pragma unroll
    for (int e = 0; e < kItems; ++e) {
      keys[t * kItems + e] = k[e];
      index[t * kItems + e] = v[e];
    }
    __syncthreads();
#pragma unroll 1
    for (int i = t; i < count; i += kThreads) put_sorted(args, row, first + i, keys[i], index[i]);
    __syncthreads();  // keys and split may be written again
  }
}

}  // namespace

template <class U>
void sort_rows(SortArgs<U> args, const char* op) {
  constexpr int kItems = kSortItems<U>;
  constexpr int64_t kTile = kSortTile<U>, kSmallTile = kWarpSize * 7;
  FS_CHECK(args.n < (int64_t{1} << 32) - 1, op, ": rows of ", args.n, " elements on a CUDA device, at most 2^32 - 2");
  const cudaStream_t stream = current_stream();
  if (args.n <= kSmallTile) {
    FS_LAUNCH((sort_tiles<U, kWarpSize, 7>), grid_for(args.rows, 1, kMostBlocks), kWarpSize, 0, stream, args);
    return;
  }
  const unsigned blocks = grid_for(args.rows * ((args.n + kTile - 1) / kTile), 1, kMostBlocks);
  if (args.n <= kTile) {
    FS_LAUNCH((sort_tiles<U, kSortThreads, kItems>), blocks, kSortThreads, 0, stream, args);
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
  FS_LAUNCH((sort_tiles<U, kSortThreads, kItems>), blocks, kSortThreads, 0, stream, step);
  for (int64_t width = kTile; width < args.n; width *= 2) {
    step.from = now;
    step.to = next;
    if (2 * width >= args.n) step.values = args.values;
    FS_LAUNCH((merge_tiles<U, kSortThreads, kItems>), blocks, kSortThreads, 0, stream, step, width);
    std::swap(now, next);
  }
}
template void sort_rows(SortArgs<uint8_t>, const char*);
template void sort_rows(SortArgs<uint16_t>, const char*);
template void sort_rows(SortArgs<uint32_t>, const char*);
template void sort_rows(SortArgs<uint64_t>, const char*);

namespace {

// A block a row of sorted pairs: each last element of a run counts the run. The longest wins, of equal ones the
// first.
template <class U, int kThreads>
__global__ void __launch_bounds__(kThreads)
    pick_mode(const U* x, const KeyPairs<U> sorted, int64_t rows, int64_t n, U* values, int64_t* indices) {
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
      values[row] = x[row * n + at];
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
  dispatch_size(args.in[0].dtype, [&](auto tag) {
    using U = typename decltype(tag)::type;
    SortArgs<U> job;
    job.x = in.ptr<U>();
    job.values = values.ptr<U>();
    job.indices = indices.ptr<int64_t>();
    job.rows = s.outer * s.inner;
    job.n = job.x_n = job.keep = s.n;
    job.rule = KeyRule(args.in[0].dtype, a.descending != 0);
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
  dispatch_size(args.in[0].dtype, [&](auto tag) {
    using U = typename decltype(tag)::type;
    const PairMemory<U> sorted(rows * s.n);
    SortArgs<U> job;
    job.x = in.ptr<U>();
    job.to = sorted.pairs();
    job.rows = rows;
    job.n = job.x_n = s.n;
    job.rule = KeyRule(args.in[0].dtype);
    sort_rows(job, "mode");
    FS_LAUNCH((pick_mode<U, 128>), grid_for(rows, 1, kMostBlocks), 128, 0, current_stream(), job.x, sorted.pairs(),
              rows, s.n, args.out[0].ptr<U>(), args.out[1].ptr<int64_t>());
  });
}

}  // namespace fireseed::cuda

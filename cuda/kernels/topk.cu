// Selection along a dimension: topk, kthvalue, median_dim.
#include <algorithm>

#include "device/scan.cuh"
#include "kernels/sort.cuh"
#include "tensor/attrs/sort.h"

namespace fireseed::cuda {
namespace {

// Note [Radix selection]
// The key of rank k is found digit by digit, 8 bits at a time from the top: a block counts the digits of the row's
// keys that share the digits found so far and walks up the counts. A last pass writes, in the order of the row, the
// keys that are smaller and as many equal ones as belong to the k (topk), or the equal one of that rank (kthvalue).
// Few long rows are cut into pieces whose first k are selected first.

constexpr int kSelectThreads = 256;
constexpr int kAhead = 4;  // neighbours a thread looks at in the last pass

template <class U>
struct SelectArgs {
  SortElements in;  // rows of n, or pairs
  KeyPairs<U> from;
  int64_t rows = 0, n = 0, pieces = 1, piece = 0, k = 1;
  KeyPairs<U> to;  // topk: k of each piece, filled up with last keys
  void* value = nullptr;
  int64_t* where = nullptr;  // kthvalue
  bool median = false, ignore_nan = false;
};

// Rank (from 1) of the lower median among n keys of which `nans` are NaN: of the numbers, or where NaN counts the
// first NaN.
__device__ __forceinline__ int64_t median_rank(int64_t n, int64_t nans, bool ignore_nan) {
  const int64_t numbers = n - nans;
  if (nans > 0 && !ignore_nan) return numbers + 1;
  return numbers > 0 ? (numbers - 1) / 2 + 1 : 1;
}

template <class U, int kThreads>
__global__ void __launch_bounds__(kThreads) select_rows(const __grid_constant__ SelectArgs<U> args) {
  constexpr int kDigits = 256, kOwn = kDigits / kThreads;
  const int bits = 8 * args.in.size;
  FS_SHARED(uint32_t, counts, [kDigits]);
  FS_SHARED(int64_t, found, [2]);  // the digit, and how many keys have smaller ones
  const int t = static_cast<int>(threadIdx.x), lane = t % kWarpSize;
  const auto add = [](auto a, auto b) { return a + b; };
  for (int64_t block = blockIdx.x; block < args.rows * args.pieces; block += gridDim.x) {
    const int64_t begin = block % args.pieces * args.piece, base = block / args.pieces * args.n + begin;
    const int64_t count = args.n - begin < args.piece ? args.n - begin : args.piece;
    const auto key_at = [&](int64_t i) {
      return args.from.keys ? args.from.keys[base + i] : args.in.template key<U>(base + i);
    };
    int64_t k = args.k < count ? args.k : count;
    if (args.median) {
      int64_t nans = 0;
      for (int64_t i = t; i < count; i += kThreads) nans += args.in.is_nan(key_at(i));
      k = median_rank(count, block_reduce<kThreads>(nans, AddOp{}), args.ignore_nan);
    }
    U key = 0;
    int64_t rank = k;  // among the keys that share key's digits
#pragma unroll 1
    for (int shift = bits - 8; shift >= 0; shift -= 8) {
#pragma unroll 1
      for (int d = t; d < kDigits; d += kThreads) counts[d] = 0;
      __syncthreads();
      for (int64_t first = 0; first < count; first += kThreads) {
        unsigned digit = kDigits;
        if (first + t < count) {
          const U own = key_at(first + t);
          const bool shares = shift + 8 == bits ||
                              static_cast<uint64_t>(own) >> (shift + 8) == static_cast<uint64_t>(key) >> (shift + 8);
          if (shares) digit = static_cast<unsigned>(own >> shift) & 255u;
        }
        const unsigned peers = __match_any_sync(kFullMask, digit);
        if (digit < kDigits && lane == __ffs(static_cast<int>(peers)) - 1)
          atomicAdd(&counts[digit], static_cast<uint32_t>(__popc(peers)));
      }
      __syncthreads();
      int64_t own = 0, total;
#pragma unroll 1
      for (int e = 0; e < kOwn; ++e) own += counts[t * kOwn + e];
      int64_t before = block_scan<kThreads>(own, int64_t{0}, add, total);
#pragma unroll 1
      for (int e = 0; e < kOwn; ++e) {
        const int64_t c = counts[t * kOwn + e];
        if (before < rank && rank <= before + c) {
          found[0] = t * kOwn + e;
          found[1] = before;
        }
        before += c;
      }
      __syncthreads();
      key = static_cast<U>(key | static_cast<U>(static_cast<U>(found[0]) << shift));
      rank -= found[1];
    }
    // seen: how many smaller and (low half) equal keys came before
    const int64_t smaller = k - rank;
    uint64_t seen = 0;
    for (int64_t first = 0; first < count; first += kThreads * kAhead) {
      const int64_t own = first + t * kAhead;
      U keys[kAhead];
      uint64_t mine = 0, total;
#pragma unroll
      for (int e = 0; e < kAhead; ++e) {
        if (own + e >= count) continue;
        keys[e] = key_at(own + e);
        mine += keys[e] < key ? uint64_t{1} << 32 : keys[e] == key;
      }
      uint64_t before = seen + block_scan<kThreads>(mine, uint64_t{0}, add, total);
      seen += total;
#pragma unroll
      for (int e = 0; e < kAhead; ++e) {
        if (own + e >= count || keys[e] > key) continue;
        const auto less = static_cast<int64_t>(before >> 32), equal = static_cast<int64_t>(before & 0xffffffffu);
        before += keys[e] < key ? uint64_t{1} << 32 : 1;
        const int64_t at = keys[e] < key ? less : equal < rank ? smaller + equal : k;
        if (args.value) {
          if (keys[e] == key && equal + 1 == rank) {
            args.in.put(args.value, block, args.in.template bits<U>(base + own + e));
            args.where[block] = own + e;
          }
        } else if (at < k) {
          args.to.keys[block * args.k + at] = keys[e];
          args.to.index[block * args.k + at] =
              args.from.keys ? args.from.index[base + own + e] : static_cast<uint32_t>(begin + own + e);
        }
      }
    }
    if (!args.value) {
      for (int64_t i = k + t; i < args.k; i += kThreads) {
        args.to.keys[block * args.k + i] = kLastKey<U>;
        args.to.index[block * args.k + i] = ~0u;
      }
    }
    __syncthreads();  // counts and found may be written again
  }
}

// The element of rank k of sorted rows; a thread a row.
template <class U>
__global__ void pick_rank(const __grid_constant__ SelectArgs<U> args) {
  for (int64_t row = grid_thread(); row < args.rows; row += grid_threads()) {
    const U* keys = args.from.keys + row * args.n;
    int64_t k = args.k;
    if (args.median) {
      int64_t low = 0, high = args.n;  // the first NaN
      while (low < high) {
        const int64_t middle = (low + high) / 2;
        if (args.in.is_nan(keys[middle])) high = middle;
        else low = middle + 1;
      }
      k = median_rank(args.n, args.n - low, args.ignore_nan);
    }
    const uint32_t at = args.from.index[row * args.n + k - 1];
    args.in.put(args.value, row, args.in.template bits<U>(row * args.n + at));
    args.where[row] = at;
  }
}

template <class U>
void launch_select(const SelectArgs<U>& args) {
  const unsigned blocks = grid_for(args.rows * args.pieces, 1, kMostBlocks);
  if (args.piece <= 512) FS_LAUNCH((select_rows<U, kWarpSize>), blocks, kWarpSize, 0, current_stream(), args);
  else FS_LAUNCH((select_rows<U, kSelectThreads>), blocks, kSelectThreads, 0, current_stream(), args);
}

// The k first of rows of n as pairs in `job.from`, for sort_rows to put in order; n is then k.
template <class U>
void topk_pairs(SortArgs<U>& job, std::optional<PairMemory<U>> (&memory)[2]) {
  SelectArgs<U> a;
  a.in = job.in;
  a.rows = job.rows;
  a.n = a.piece = job.n;
  a.k = job.keep;
  const int64_t wanted = 2 * int64_t{multiprocessors()} / job.rows;
  const int64_t most = job.n / std::max<int64_t>(4 * a.k, 8192);
  a.pieces = std::max<int64_t>(1, std::min(wanted, most));
  for (int level = 0;; ++level) {
    a.piece = (a.n + a.pieces - 1) / a.pieces;
    a.pieces = (a.n + a.piece - 1) / a.piece;
    a.to = memory[level].emplace(a.rows * a.pieces * a.k).pairs();
    launch_select(a);
    if (a.pieces == 1) break;
    a.from = a.to;
    a.n = a.pieces * a.k;
    a.pieces = 1;
  }
  job.from = a.to;
  job.n = a.k;
}

// kthvalue and median_dim.
void select_rank(const KernelArgs& args, const char* op, bool median) {
  const auto& attrs = args.attrs<SelectAttrs>();
  const AxisShape s(args.in[0], attrs.dim);
  if (args.in[0].numel == 0) return;
  const RowInput in(args.in[0], attrs.dim);
  dispatch_key(args.in[0].dtype, [&](auto key) {
    using U = decltype(key);
    SelectArgs<U> a;
    a.in = SortElements(in.ptr<void>(), args.in[0].dtype);
    a.rows = s.outer * s.inner;
    a.n = a.piece = s.n;
    a.k = attrs.k;
    a.value = args.out[0].data;
    a.where = args.out[1].ptr<int64_t>();
    a.median = median;
    a.ignore_nan = attrs.ignore_nan != 0;
    constexpr int64_t kLongRow = 1 << 17;
    if (s.n < kLongRow || a.rows >= multiprocessors()) return launch_select(a);
    const PairMemory<U> sorted(a.rows * a.n);  // all blocks sort one row sooner than one block selects from it
    SortArgs<U> job;
    job.in = a.in;
    job.to = a.from = sorted.pairs();
    job.rows = a.rows;
    job.n = job.x_n = a.n;
    sort_rows(job, op);
    FS_LAUNCH((pick_rank<U>), grid_for(a.rows, 128, kMostBlocks), 128, 0, current_stream(), a);
  });
}

}  // namespace

// out: the k largest (smallest) along dim and their int64 indices, in order; of equal ones the first.
void topk(const KernelArgs& args) {
  const auto& attrs = args.attrs<TopkAttrs>();
  const AxisShape s(args.in[0], attrs.dim);
  if (attrs.k == 0 || args.in[0].numel == 0) return;
  FS_CHECK(s.n < (int64_t{1} << 32) - 1, "topk: rows of ", s.n, " elements on a CUDA device, at most 2^32 - 2");
  const RowInput in(args.in[0], attrs.dim);
  RowOutput values(args.out[0], attrs.dim), indices(args.out[1], attrs.dim);
  dispatch_key(args.in[0].dtype, [&](auto key) {
    using U = decltype(key);
    SortArgs<U> job;
    job.in = SortElements(in.ptr<void>(), args.in[0].dtype, attrs.largest != 0);
    job.values = values.ptr<void>();
    job.indices = indices.ptr<int64_t>();
    job.rows = s.outer * s.inner;
    job.n = job.x_n = s.n;
    job.keep = attrs.k;
    std::optional<PairMemory<U>> memory[2];
    if (s.n > kSortTile && attrs.k <= s.n / 8) topk_pairs(job, memory);
    sort_rows(job, "topk");
  });
  values.finish();
  indices.finish();
}

// out: value and index of the k-th smallest (k from 1); NaN is the greatest.
void kthvalue(const KernelArgs& args) { select_rank(args, "kthvalue", false); }
// The lower median; NaN if there is one, or with ignore_nan the median of the others.
void median_dim(const KernelArgs& args) { select_rank(args, "median", true); }

}  // namespace fireseed::cuda

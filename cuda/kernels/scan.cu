// Scans along a dimension: cumsum, cumprod, cummax, cummin, logcumsumexp.
#include <algorithm>
#include <optional>

#include "device/contiguous.cuh"
#include "device/memory.cuh"
#include "device/order.cuh"
#include "device/scan.cuh"
#include "runtime/device.h"
#include "tensor/attrs/reduce.h"

namespace fireseed::cuda {
namespace {

// Note [Scans]
// The input is seen as (outer, n, inner) and scanned along n. Where inner is 1, a block walks along a row in tiles
// and carries the total from one to the next; elements come and go through shared memory, so that neighbouring
// threads touch neighbouring elements although each joins kItems in sequence. Else (and for very short rows) a thread
// walks along a column. Where rows or columns are too few to fill the device, they are cut into pieces: one kernel
// joins each piece to a total, and the scan then starts each piece from the totals before it. All orders are fixed:
// the same input gives the same bits. No atomics.
//
// A rule says whether its elements may be of one byte (kHasBytes) and has an Item of 8 bytes (what is joined), a
// State, and static functions identity(), first(item, i), join(earlier, later), result(state), decode(bits, args),
// store(args, at, start, item), where `at` is an element and `start` the first of its row.

constexpr int kItems = 7;  // odd: rows of 7 words in shared memory have no bank conflicts
constexpr int kScanThreads = 256;
constexpr int64_t kShortRow = 16;    // a thread each
constexpr int64_t kMediumRow = 512;  // a warp each

struct ScanArgs {
  const void* in;
  void *out, *index;
  void* partial;  // states, [row][piece] or [piece][column]; null where one piece is all
  DType in_dtype, out_dtype;
  int in_size;  // bytes of an element
  int64_t rows, n, inner, piece, pieces;
  bool smallest;
  KeyRule rule{DType::kBool};
  __device__ __forceinline__ int64_t end_of(int64_t begin) const { return n - begin < piece ? n : begin + piece; }
};

template <class U>
__device__ __forceinline__ uint64_t decode_integer(U bits, DType t) {
  if (t == DType::kBool || t == DType::kUInt8) return bits;
  return static_cast<uint64_t>(static_cast<int64_t>(static_cast<std::make_signed_t<U>>(bits)));
}

// Sums and products; floats in double, so that the error does not grow with the length; integers wrap around.
template <class C, bool kProd>
struct SumRule {
  static constexpr bool kHasBytes = !std::is_same_v<C, double>;
  using Item = C;
  using State = C;
  __device__ __forceinline__ static C identity() { return C(kProd ? 1 : 0); }
  __device__ __forceinline__ static C first(C item, int64_t) { return item; }
  __device__ __forceinline__ static C join(C a, C b) { return kProd ? a * b : a + b; }
  __device__ __forceinline__ static C result(C s) { return s; }
  template <class U>
  __device__ __forceinline__ static C decode(U bits, const ScanArgs& args) {
    if constexpr (std::is_same_v<C, double>) return decode_float<double>(bits, args.in_dtype);
    else return decode_integer(bits, args.in_dtype);
  }
  __device__ __forceinline__ static void store(const ScanArgs& args, int64_t at, int64_t, C item) {
    if constexpr (std::is_same_v<C, double>) store_number(args.out, at, args.out_dtype, item);
    else static_cast<C*>(args.out)[at] = item;  // int64
  }
};

// The greatest key and its last place; of the smallest, keys are complemented. NaN is the greatest in both.
struct ExtremeRule {
  static constexpr bool kHasBytes = true;
  using Item = uint64_t;
  struct State {
    uint64_t key;
    int64_t index;  // -1: nothing yet
  };
  __device__ __forceinline__ static State identity() { return {0, -1}; }
  __device__ __forceinline__ static State first(uint64_t key, int64_t i) { return {key, i}; }
  __device__ __forceinline__ static State join(const State& a, const State& b) {
    return b.index >= 0 && (b.key > a.key || (b.key == a.key && b.index > a.index)) ? b : a;
  }
  __device__ __forceinline__ static uint64_t result(const State& s) { return static_cast<uint64_t>(s.index); }
  template <class U>
  __device__ __forceinline__ static uint64_t decode(U bits, const ScanArgs& args) {
    const U key = order_key(bits, args.rule);
    return args.smallest && !is_nan_key(key, args.rule) ? static_cast<U>(~key) : key;
  }
  __device__ __forceinline__ static void store(const ScanArgs& args, int64_t at, int64_t start, uint64_t index) {
    static_cast<uint64_t*>(args.index)[at] = index;
    const int64_t from = start + static_cast<int64_t>(index) * args.inner;
    switch (args.in_size) {
      case 1: move<uint8_t>(args, at, from); return;
      case 2: move<uint16_t>(args, at, from); return;
      case 4: move<uint32_t>(args, at, from); return;
      default: move<uint64_t>(args, at, from); return;
    }
  }
  template <class U>
  __device__ __forceinline__ static void move(const ScanArgs& args, int64_t to, int64_t from) {
    static_cast<U*>(args.out)[to] = static_cast<const U*>(args.in)[from];
  }
};

// log Σ exp(x) as the greatest x and Σ exp(x - greatest).
struct LogSumRule {
  static constexpr bool kHasBytes = false;
  using Item = double;
  struct State { double top, sum; };
  __device__ __forceinline__ static State identity() { return {-kInfinity<double>, 0}; }
  __device__ __forceinline__ static State first(double x, int64_t) {
    return {x, x == -kInfinity<double> ? 0.0 : 1.0};
  }
  // A call: its exponential would stand in the kernels two dozen times.
  __device__ [[gnu::noinline]] static State join(const State& a, const State& b) {
    const bool second = b.top > a.top || b.top != b.top;
    const double top = second ? b.top : a.top, low = second ? a.top : b.top;
    const double scale = low == top ? 1.0 : ::exp(low - top);
    return {top, second ? a.sum * scale + b.sum : a.sum + b.sum * scale};
  }
  __device__ __forceinline__ static double result(const State& s) {
    return s.top == kInfinity<double> || s.top == -kInfinity<double> ? s.top : s.top + ::log(s.sum);
  }
  template <class U>
  __device__ __forceinline__ static double decode(U bits, const ScanArgs& args) {
    return decode_float<double>(bits, args.in_dtype);
  }
  __device__ __forceinline__ static void store(const ScanArgs& args, int64_t at, int64_t, double y) {
    store_number(args.out, at, args.out_dtype, y);
  }
};

// Elements 0 … valid - 1 of kCount that are `step` apart; all loads come before the first use.
template <class R, class U, int kCount>
__device__ __forceinline__ void load_units(const ScanArgs& args, int64_t at, int64_t step, int valid,
                                           typename R::Item (&item)[kCount]) {
  U bits[kCount];
#pragma unroll
  for (int k = 0; k < kCount; ++k) bits[k] = k < valid ? static_cast<const U*>(args.in)[at + k * step] : U(0);
#pragma unroll
  for (int k = 0; k < kCount; ++k) item[k] = R::decode(bits[k], args);
}
template <class R, int kCount>
__device__ __forceinline__ void load_items(const ScanArgs& args, int64_t at, int64_t step, int64_t valid,
                                           typename R::Item (&item)[kCount]) {
  const int n = static_cast<int>(valid < kCount ? valid : kCount);
  switch (args.in_size) {
    case 1:
      if constexpr (R::kHasBytes) load_units<R, uint8_t>(args, at, step, n, item);
      return;
    case 2: return load_units<R, uint16_t>(args, at, step, n, item);
    case 4: return load_units<R, uint32_t>(args, at, step, n, item);
    default: return load_units<R, uint64_t>(args, at, step, n, item);
  }
}

// ---- rows --------------------------------------------------------------------------------------------------

template <class R, int kThreads>
__global__ void __launch_bounds__(kThreads) scan_rows(const __grid_constant__ ScanArgs args) {
  using State = typename R::State;
  constexpr int kTile = kThreads * kItems;
  FS_SHARED(typename R::Item, tile, [kTile]);
  const int t = static_cast<int>(threadIdx.x);
  const auto join = [](const State& a, const State& b) { return R::join(a, b); };
  for (int64_t block = blockIdx.x; block < args.rows * args.pieces; block += gridDim.x) {
    const int64_t row = block / args.pieces, piece = block % args.pieces, start = row * args.n;
    const int64_t begin = piece * args.piece, end = args.end_of(begin);
    State carry = R::identity();
    if (piece > 0) {
      const State* totals = static_cast<const State*>(args.partial) + row * args.pieces;
      State own = R::identity();
      for (int64_t q = t; q < piece; q += kThreads) own = R::join(own, totals[q]);
      block_scan<kThreads>(own, R::identity(), join, carry);
    }
    for (int64_t first = begin; first < end; first += kTile) {
      typename R::Item item[kItems];
      load_items<R>(args, start + first + t, kThreads, (end - first - t + kThreads - 1) / kThreads, item);
#pragma unroll
      for (int i = 0; i < kItems; ++i) tile[t + i * kThreads] = item[i];
      __syncthreads();
      const int64_t own = first + t * kItems;
      State s[kItems];
#pragma unroll
      for (int i = 0; i < kItems; ++i) {
        const State one = own + i < end ? R::first(tile[t * kItems + i], own + i) : R::identity();
        s[i] = i == 0 ? one : R::join(s[i > 0 ? i - 1 : 0], one);
      }
      State total;
      State before = block_scan<kThreads>(s[kItems - 1], R::identity(), join, total);
      before = R::join(carry, before);
#pragma unroll
      for (int i = 0; i < kItems; ++i)
        if (own + i < end) tile[t * kItems + i] = R::result(R::join(before, s[i]));
      __syncthreads();
#pragma unroll 1
      for (int i = 0; i < kItems; ++i) {
        const int64_t at = first + t + i * kThreads;
        if (at < end) R::store(args, start + at, start, tile[t + i * kThreads]);
      }
      carry = R::join(carry, total);
      __syncthreads();  // tile may be written again
    }
  }
}

template <class R>
__global__ void __launch_bounds__(kScanThreads) join_row_pieces(const __grid_constant__ ScanArgs args) {
  using State = typename R::State;
  for (int64_t block = blockIdx.x; block < args.rows * args.pieces; block += gridDim.x) {
    const int64_t start = block / args.pieces * args.n, begin = block % args.pieces * args.piece;
    const int64_t end = args.end_of(begin);
    State own = R::identity(), total;
    for (int64_t i = begin + threadIdx.x; i < end; i += kItems * kScanThreads) {
      typename R::Item item[kItems];
      load_items<R>(args, start + i, kScanThreads, (end - i + kScanThreads - 1) / kScanThreads, item);
#pragma unroll
      for (int k = 0; k < kItems; ++k)
        if (i + k * kScanThreads < end) own = R::join(own, R::first(item[k], i + k * kScanThreads));
    }
    block_scan<kScanThreads>(own, R::identity(), [](const State& a, const State& b) { return R::join(a, b); }, total);
    if (threadIdx.x == 0) static_cast<State*>(args.partial)[block] = total;
  }
}

// ---- columns -----------------------------------------------------------------------------------------------

// Calls f(item, i, offset) for the elements [begin, end) of a column, several loads at a time.
template <class R, class F>
__device__ __forceinline__ void walk_column(const ScanArgs& args, int64_t start, int64_t begin, int64_t end, F f) {
  constexpr int kAhead = 4;
  for (int64_t i = begin; i < end; i += kAhead) {
    typename R::Item item[kAhead];
    load_items<R>(args, start + i * args.inner, args.inner, end - i, item);
#pragma unroll
    for (int k = 0; k < kAhead; ++k)
      if (i + k < end) f(item[k], i + k, start + (i + k) * args.inner);
  }
}

// gridDim.y: pieces.
template <class R>
__global__ void __launch_bounds__(kScanThreads) scan_columns(const __grid_constant__ ScanArgs args) {
  using State = typename R::State;
  for (int64_t c = grid_thread(); c < args.rows; c += grid_threads()) {
    const int64_t start = c / args.inner * args.n * args.inner + c % args.inner;
    const int64_t begin = blockIdx.y * args.piece, end = args.end_of(begin);
    State s = R::identity();
    for (int64_t q = 0; q < blockIdx.y; ++q)
      s = R::join(s, static_cast<const State*>(args.partial)[q * args.rows + c]);
    walk_column<R>(args, start, begin, end, [&](typename R::Item x, int64_t i, int64_t at) {
      s = R::join(s, R::first(x, i));
      R::store(args, at, start, R::result(s));
    });
  }
}

template <class R>
__global__ void __launch_bounds__(kScanThreads) join_column_pieces(const __grid_constant__ ScanArgs args) {
  using State = typename R::State;
  for (int64_t c = grid_thread(); c < args.rows; c += grid_threads()) {
    const int64_t start = c / args.inner * args.n * args.inner + c % args.inner;
    const int64_t begin = blockIdx.y * args.piece, end = args.end_of(begin);
    State s = R::identity();
    walk_column<R>(args, start, begin, end,
                   [&](typename R::Item x, int64_t i, int64_t) { s = R::join(s, R::first(x, i)); });
    static_cast<State*>(args.partial)[static_cast<int64_t>(blockIdx.y) * args.rows + c] = s;
  }
}

// ---- the host's part ---------------------------------------------------------------------------------------

int64_t pieces_of(int64_t wanted, int64_t n, int64_t least, int64_t most) {
  return std::max<int64_t>(1, std::min({wanted, n / least, most}));
}

template <class R>
void scan(const KernelArgs& call, bool smallest = false) {
  const AxisShape s(call.in[0], call.attrs<ScanAttrs>().dim);
  if (call.in[0].numel == 0) return;
  const Contiguous in(call.in[0]);
  ScanArgs a{};
  a.in = in.ptr<void>();
  a.out = call.out[0].data;
  a.index = call.num_out > 1 ? call.out[1].data : nullptr;
  a.in_dtype = call.in[0].dtype;
  a.in_size = static_cast<int>(dtype_size(a.in_dtype));
  a.out_dtype = call.out[0].dtype;
  a.smallest = smallest;
  a.rule = KeyRule(a.in_dtype);
  a.rows = s.outer * s.inner;
  a.n = s.n;
  a.inner = s.inner;
  const bool by_rows = s.inner == 1 && s.n > kShortRow;
  const int64_t units = by_rows ? a.rows : (a.rows + kScanThreads - 1) / kScanThreads;
  const int64_t wanted = 4 * int64_t{multiprocessors()} / units;
  a.pieces = by_rows ? pieces_of(wanted, s.n, 4 * kScanThreads * kItems, 1024) : pieces_of(wanted, s.n, 64, 64);
  a.piece = (s.n + a.pieces - 1) / a.pieces;
  a.pieces = (s.n + a.piece - 1) / a.piece;
  std::optional<Scratch> partial;
  if (a.pieces > 1) {
    partial.emplace(static_cast<size_t>(a.rows * a.pieces) * sizeof(typename R::State));
    a.partial = partial->ptr<void>();
  }
  const cudaStream_t stream = current_stream();
  if (by_rows) {
    const unsigned blocks = grid_for(a.rows * a.pieces, 1, 1 << 20);
    if (a.pieces > 1) FS_LAUNCH((join_row_pieces<R>), blocks, kScanThreads, 0, stream, a);
    if (s.n <= kMediumRow) FS_LAUNCH((scan_rows<R, kWarpSize>), blocks, kWarpSize, 0, stream, a);
    else FS_LAUNCH((scan_rows<R, kScanThreads>), blocks, kScanThreads, 0, stream, a);
    return;
  }
  const dim3 grid(grid_for(a.rows, kScanThreads, 1 << 20), static_cast<unsigned>(a.pieces));
  if (a.pieces > 1) FS_LAUNCH((join_column_pieces<R>), grid, kScanThreads, 0, stream, a);
  FS_LAUNCH((scan_columns<R>), grid, kScanThreads, 0, stream, a);
}

}  // namespace

// out[i] = x[0] + … + x[i]; integers and bool give int64.
void cumsum(const KernelArgs& args) {
  if (is_floating(args.in[0].dtype)) scan<SumRule<double, false>>(args);
  else scan<SumRule<uint64_t, false>>(args);
}
void cumprod(const KernelArgs& args) {
  if (is_floating(args.in[0].dtype)) scan<SumRule<double, true>>(args);
  else scan<SumRule<uint64_t, true>>(args);
}

// out[0] values, out[1] indices (int64) of the last greatest so far; NaN stays.
void cummax(const KernelArgs& args) { scan<ExtremeRule>(args); }
void cummin(const KernelArgs& args) { scan<ExtremeRule>(args, true); }
// out[i] = log Σ_{j <= i} exp(x[j]), float types.
void logcumsumexp(const KernelArgs& args) { scan<LogSumRule>(args); }

}  // namespace fireseed::cuda

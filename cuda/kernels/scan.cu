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
// walks along a column. Where rows or columns are too few to fill the device, they are cut into pieces: the kernel
// runs once to join each piece to a total, and then starts each piece from the totals before it. All orders are
// fixed: the same input gives the same bits. No atomics.
//
// Elements travel as their bits in 64 (Bits). A rule says what they are: it has a State of a multiple of 8 bytes, and
// functions identity(), first(bits, i), join(earlier, later) and result(state): the bits of the output, or of its
// place. The kernels' loops are not unrolled, so that a rule's arithmetic stands there few times.

using Bits = uint64_t;
constexpr int kItems = 7;  // odd: rows of 7 words in shared memory have no bank conflicts
constexpr int kScanThreads = 256;
constexpr int64_t kShortRow = 16;    // a thread each
constexpr int64_t kMediumRow = 512;  // a warp each

struct ScanArgs {
  const void* in;
  void *out, *index;  // index: extremes
  void* partial;      // states, [row][piece] or [piece][column]; null where one piece is all
  DType in_dtype, out_dtype;
  int in_size, out_size;  // bytes of an element
  int64_t rows, n, inner, piece, pieces;
  bool totals;  // only the totals of the pieces are wanted
  bool other;   // of the rule's two operations the second: products, smallest
  KeyRule rule{DType::kBool};
  __device__ __forceinline__ int64_t end_of(int64_t begin) const { return n - begin < piece ? n : begin + piece; }
};

__device__ __forceinline__ double float_of(Bits bits, DType t) {
  if (t == DType::kFloat64) return __longlong_as_double(static_cast<long long>(bits));
  if (t == DType::kFloat32) return static_cast<double>(__uint_as_float(static_cast<uint32_t>(bits)));
  return decode_float<double>(static_cast<uint16_t>(bits), t);
}
__device__ __forceinline__ Bits bits_of(double x, DType t) {
  if (t == DType::kFloat64) return encode<uint64_t>(x, t);
  const auto y = static_cast<float>(x);
  if (t == DType::kFloat32) return __float_as_uint(y);
  return t == DType::kFloat16 ? float_to_half(y).bits : float_to_bfloat(y).bits;
}

// Sums and products: of floats in double, so that the error does not grow with the length (a State is its bits), of
// integers and bool in int64, wrapping around.
struct NumberRule {
  const ScanArgs& args;
  using State = uint64_t;
  __device__ __forceinline__ static uint64_t bits(double x) { return encode<uint64_t>(x, DType::kFloat64); }
  __device__ __forceinline__ uint64_t identity() const {
    return args.rule.floating && args.other ? bits(1.0) : uint64_t{args.other};
  }
  __device__ __forceinline__ uint64_t first(Bits x, int64_t) const {
    if (args.rule.floating) return bits(float_of(x, args.in_dtype));
    const int unused = 64 - 8 * args.in_size;
    return args.rule.sign == 0 ? x : static_cast<uint64_t>(static_cast<int64_t>(x << unused) >> unused);
  }
  __device__ __forceinline__ uint64_t join(uint64_t a, uint64_t b) const {
    if (!args.rule.floating) return args.other ? a * b : a + b;
    const double x = float_of(a, DType::kFloat64), y = float_of(b, DType::kFloat64);
    return bits(args.other ? x * y : x + y);
  }
  __device__ __forceinline__ Bits result(uint64_t s) const {
    return args.rule.floating ? bits_of(float_of(s, DType::kFloat64), args.out_dtype) : s;
  }
};
// The greatest key and its last place; of the smallest, keys are complemented. NaN is the greatest in both.
struct ExtremeRule {
  const ScanArgs& args;
  struct State {
    uint64_t key;
    int64_t index;  // -1: nothing yet
  };
  __device__ __forceinline__ State identity() const { return {0, -1}; }
  __device__ __forceinline__ State first(Bits x, int64_t i) const {
    const Bits all = ~Bits{0} >> (64 - 8 * args.in_size), key = order_key(x, args.rule) & all;
    return {args.other && !(args.rule.floating && key == all) ? ~key & all : key, i};
  }
  __device__ __forceinline__ State join(const State& a, const State& b) const {
    return b.index >= 0 && (b.key > a.key || (b.key == a.key && b.index > a.index)) ? b : a;
  }
  __device__ __forceinline__ Bits result(const State& s) const { return static_cast<Bits>(s.index); }
};
// log Σ exp(x) as the greatest x and Σ exp(x - greatest).
struct LogSumRule {
  const ScanArgs& args;
  struct State { double top, sum; };
  __device__ __forceinline__ State identity() const { return {-kInfinity<double>, 0}; }
  __device__ __forceinline__ State first(Bits bits, int64_t) const {
    const double x = float_of(bits, args.in_dtype);
    return {x, x == -kInfinity<double> ? 0.0 : 1.0};
  }
  __device__ __forceinline__ State join(const State& a, const State& b) const {
    const bool second = b.top > a.top || b.top != b.top;
    const double top = second ? b.top : a.top, low = second ? a.top : b.top;
    const double scale = low == top ? 1.0 : ::exp(low - top);
    return {top, second ? a.sum * scale + b.sum : a.sum + b.sum * scale};
  }
  __device__ __forceinline__ Bits result(const State& s) const {
    const bool infinite = s.top == kInfinity<double> || s.top == -kInfinity<double>;
    return bits_of(infinite ? s.top : s.top + ::log(s.sum), args.out_dtype);
  }
};

// Elements at + k * step of p for k < valid, else zero; all loads come before the first use.
template <int kCount>
__device__ __forceinline__ void load_bits(Bits (&x)[kCount], const void* p, int size, int64_t at, int64_t step,
                                          int valid) {
  const char* from = static_cast<const char*>(p) + at * size;
  const int64_t bytes = step * size;
  const auto load = [&](auto zero) {
    using U = decltype(zero);
#pragma unroll
    for (int k = 0; k < kCount; ++k, from += bytes) x[k] = k < valid ? *reinterpret_cast<const U*>(from) : zero;
  };
  if (size == 4) load(uint32_t{});
  else if (size == 8) load(uint64_t{});
  else if (size == 2) load(uint16_t{});
  else load(uint8_t{});
}
__device__ __forceinline__ void store_bits(void* p, int size, int64_t at, Bits x) {
  if (size == 4) static_cast<uint32_t*>(p)[at] = static_cast<uint32_t>(x);
  else if (size == 8) static_cast<uint64_t*>(p)[at] = x;
  else if (size == 2) static_cast<uint16_t*>(p)[at] = static_cast<uint16_t>(x);
  else static_cast<uint8_t*>(p)[at] = static_cast<uint8_t>(x);
}
// A rule's result to element `at` of a row that begins at `start`.
template <class R>
__device__ __forceinline__ void store_result(const ScanArgs& args, int64_t at, int64_t start, Bits x) {
  if constexpr (std::is_same_v<R, ExtremeRule>) {
    static_cast<uint64_t*>(args.index)[at] = x;
    Bits chosen[1];
    load_bits(chosen, args.in, args.in_size, start + static_cast<int64_t>(x) * args.inner, 0, 1);
    x = chosen[0];
  }
  store_bits(args.out, args.out_size, at, x);
}

// The join of `start` and the threads before this one, and in `total` of `start` and all; whole warps of at most
// kScanThreads threads. All threads take part. May be called again at once.
template <class R>
__device__ __forceinline__ typename R::State block_join(const R& rule, typename R::State own,
                                                        const typename R::State& start, typename R::State& total) {
  using State = typename R::State;
  FS_SHARED(State, part, [kScanThreads / kWarpSize]);
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize, lane = static_cast<int>(threadIdx.x) % kWarpSize;
#pragma unroll 1
  for (int d = 1; d < kWarpSize; d *= 2) {
    const State below = shuffle_up(own, d);
    if (lane >= d) own = rule.join(below, own);
  }
  if (lane == kWarpSize - 1) part[warp] = own;
  own = shuffle_up(own, 1);
  if (lane == 0) own = rule.identity();
  __syncthreads();
  State before = start;
  total = start;
#pragma unroll 1
  for (int w = 0; w < static_cast<int>(blockDim.x) / kWarpSize; ++w) {
    if (w == warp) before = total;
    total = rule.join(total, part[w]);
  }
  __syncthreads();  // part may be written again
  return rule.join(before, own);
}

// Blocks of one or more warps.
template <class R>
__global__ void __launch_bounds__(kScanThreads) scan_rows(const __grid_constant__ ScanArgs args) {
  using State = typename R::State;
  FS_DYN_SMEM(Bits, tile);  // blockDim.x * kItems
  const R rule{args};
  const int t = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x), tile_size = threads * kItems;
  for (int64_t block = blockIdx.x; block < args.rows * args.pieces; block += gridDim.x) {
    const int64_t row = block / args.pieces, piece = block % args.pieces, start = row * args.n;
    const int64_t begin = piece * args.piece, end = args.end_of(begin);
    State carry = rule.identity();
    // Where pieces come before, the first step joins their totals; they fit in one tile.
    const bool joins = piece > 0 && !args.totals;
#pragma unroll 1
    for (int64_t first = joins ? begin - tile_size : begin; first < end; first += tile_size) {
      const bool of_pieces = first < begin;
      const int valid = of_pieces                 ? static_cast<int>(piece)
                        : end - first < tile_size ? static_cast<int>(end - first)
                                                  : tile_size;
      if (!of_pieces) {
        Bits x[kItems];
        load_bits(x, args.in, args.in_size, start + first + t, threads, (valid - t + threads - 1) / threads);
#pragma unroll
        for (int i = 0; i < kItems; ++i) tile[t + i * threads] = x[i];
      }
      __syncthreads();
      State own = rule.identity();
#pragma unroll 1
      for (int i = t * kItems; i < valid && i < (t + 1) * kItems; ++i) {
        const State one = of_pieces ? static_cast<const State*>(args.partial)[row * args.pieces + i]
                                    : rule.first(tile[i], first + i);
        own = i == t * kItems ? one : rule.join(own, one);
      }
      State before = block_join(rule, own, carry, carry);
      if (args.totals || of_pieces) continue;
#pragma unroll 1
      for (int i = t * kItems; i < valid && i < (t + 1) * kItems; ++i) {
        before = rule.join(before, rule.first(tile[i], first + i));
        tile[i] = rule.result(before);
      }
      __syncthreads();
#pragma unroll 1
      for (int i = t; i < valid; i += threads) store_result<R>(args, start + first + i, start, tile[i]);
      __syncthreads();  // tile may be written again
    }
    if (args.totals && t == 0) static_cast<State*>(args.partial)[block] = carry;
  }
}

// gridDim.y: pieces.
template <class R>
__global__ void __launch_bounds__(kScanThreads) scan_columns(const __grid_constant__ ScanArgs args) {
  using State = typename R::State;
  constexpr int kAhead = 4;  // loads at a time
  const R rule{args};
  auto* const partial = static_cast<State*>(args.partial);
  for (int64_t c = grid_thread(); c < args.rows; c += grid_threads()) {
    const int64_t start = c / args.inner * args.n * args.inner + c % args.inner;
    const int64_t begin = blockIdx.y * args.piece, end = args.end_of(begin);
    State s = rule.identity();
    if (!args.totals)
#pragma unroll 1
      for (int64_t q = 0; q < blockIdx.y; ++q) s = rule.join(s, partial[q * args.rows + c]);
    Bits x[kAhead] = {};
#pragma unroll 1
    for (int64_t i = begin; i < end; ++i) {
      const int64_t at = start + i * args.inner;
      if ((i - begin) % kAhead == 0)
        load_bits(x, args.in, args.in_size, at, args.inner, static_cast<int>(end - i < kAhead ? end - i : kAhead));
      s = rule.join(s, rule.first(x[0], i));
      if (!args.totals) store_result<R>(args, at, start, rule.result(s));
#pragma unroll
      for (int k = 0; k + 1 < kAhead; ++k) x[k] = x[k + 1];
    }
    if (args.totals) partial[static_cast<int64_t>(blockIdx.y) * args.rows + c] = s;
  }
}

// ---- the host's part ---------------------------------------------------------------------------------------

int64_t pieces_of(int64_t wanted, int64_t n, int64_t least, int64_t most) {
  return std::max<int64_t>(1, std::min({wanted, n / least, most}));
}

template <class R>
void scan(const KernelArgs& call, bool other) {
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
  a.out_size = static_cast<int>(dtype_size(a.out_dtype));
  a.other = other;
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
  const auto launch = [&](bool totals) {
    a.totals = totals;
    if (by_rows) {
      const unsigned threads = s.n <= kMediumRow ? kWarpSize : kScanThreads;
      FS_LAUNCH((scan_rows<R>), grid_for(a.rows * a.pieces, 1, 1 << 20), threads, sizeof(Bits) * kItems * threads,
                current_stream(), a);
    } else {
      const dim3 grid(grid_for(a.rows, kScanThreads, 1 << 20), static_cast<unsigned>(a.pieces));
      FS_LAUNCH((scan_columns<R>), grid, kScanThreads, 0, current_stream(), a);
    }
  };
  if (a.pieces > 1) launch(true);
  launch(false);
}

}  // namespace

// out[i] = x[0] + … + x[i]; integers and bool give int64.
void cumsum(const KernelArgs& args) { scan<NumberRule>(args, false); }
void cumprod(const KernelArgs& args) { scan<NumberRule>(args, true); }

// out[0] values, out[1] indices (int64) of the last greatest so far; NaN stays.
void cummax(const KernelArgs& args) { scan<ExtremeRule>(args, false); }
void cummin(const KernelArgs& args) { scan<ExtremeRule>(args, true); }
// out[i] = log Σ_{j <= i} exp(x[j]), float types.
void logcumsumexp(const KernelArgs& args) { scan<LogSumRule>(args, false); }

}  // namespace fireseed::cuda

// The driver of reductions over any set of dimensions: reducers supply the arithmetic.
#pragma once

#include <algorithm>
#include <optional>

#include "device/index.cuh"
#include "device/memory.cuh"
#include "runtime/allocator.h"
#include "runtime/device.h"
#include "runtime/stream.h"
#include "tensor/attrs/reduce.h"

namespace fireseed::cuda {

// Note [Reductions]
// A block of 256 threads is X outputs times Y lanes that share the elements of an output. Where the reduced elements
// of an output lie side by side, lanes are neighbours in the block; else outputs are. Lanes are joined in shared
// memory, in a tree of fixed shape. Where outputs are too few to fill the device, the elements are cut into pieces
// (gridDim.y) whose states go to scratch memory and are joined, in order, by a second kernel. No atomics: the same
// bits each time.
//
// A reducer has a State that is trivially copyable, and static functions
//   identity(params), add(state, x, index, params), merge(state, later, params), finish(state, args, output),
// and kUnroll, how many elements a lane has under way.

inline constexpr int kReduceThreads = 256;

struct ReduceParams {
  int map = 0;            // of the sum: what happens to an element first
  double p = 2;           // norm's order
  double correction = 0;  // var
  bool divide = false;    // by the number of elements
  bool root = false;      // square root, or for norm the p-th
  bool largest = false;   // extremes
};

struct ReduceArgs {
  const void* in;
  void *out0, *out1;
  void* partial;  // states, [piece][output]; null where one piece is all
  DType in_dtype, out0_dtype, out1_dtype;
  StridedIndex<1, int64_t, int32_t> kept, reduced;
  int64_t outputs, n, piece;  // elements of an output, and those of a piece of it
  int32_t x;                  // outputs of a block
  bool lanes_side_by_side;
  ReduceParams params;
};

template <class R, class C>
static __global__ void __launch_bounds__(kReduceThreads) reduce_kernel(const __grid_constant__ ReduceArgs args) {
  using State = typename R::State;
  FS_SHARED(State, part, [kReduceThreads]);
  const int t = static_cast<int>(threadIdx.x), x_size = args.x, y_size = kReduceThreads / x_size;
  const int x = args.lanes_side_by_side ? t / y_size : t % x_size,
            y = args.lanes_side_by_side ? t % y_size : t / x_size;
  const int64_t output = static_cast<int64_t>(blockIdx.x) * x_size + x;
  State state = R::identity(args.params);
  if (output < args.outputs) {
    constexpr int kUnroll = R::kUnroll;  // loads under way
    const int64_t base = args.kept.offset(output);
    const int64_t begin = static_cast<int64_t>(blockIdx.y) * args.piece;
    const int64_t end = begin + args.piece < args.n ? begin + args.piece : args.n;
#pragma unroll 1
    for (int64_t i = begin + y; i < end; i += kUnroll * y_size) {
      C v[kUnroll];
#pragma unroll
      for (int u = 0; u < kUnroll; ++u)
        if (u == 0 || i + u * y_size < end)
          v[u] = load_number(args.in, base + args.reduced.offset(i + u * y_size), args.in_dtype, C());
#pragma unroll
      for (int u = 0; u < kUnroll; ++u)
        if (u == 0 || i + u * y_size < end) R::add(state, v[u], i + u * y_size, args.params);
    }
  }
  // part[x][y] for either order of threads
  part[x * y_size + y] = state;
  __syncthreads();
  for (int d = y_size / 2; d > 0; d /= 2) {
    if (y < d) R::merge(part[x * y_size + y], part[x * y_size + y + d], args.params);
    __syncthreads();
  }
  if (y == 0 && output < args.outputs) {
    if (args.partial)
      static_cast<State*>(args.partial)[static_cast<int64_t>(blockIdx.y) * args.outputs + output] = part[x * y_size];
    else R::finish(part[x * y_size], args, output);
  }
}

template <class R>
static __global__ void __launch_bounds__(kReduceThreads)
    join_pieces(const __grid_constant__ ReduceArgs args, int64_t pieces) {
  using State = typename R::State;
  const int64_t output = grid_thread();
  if (output >= args.outputs) return;
  const State* p = static_cast<const State*>(args.partial) + output;
  State state = *p;
  for (int64_t i = 1; i < pieces; ++i) R::merge(state, p[i * args.outputs], args.params);
  R::finish(state, args, output);
}

// The dimensions of v that are reduced, or the others, as a view of their own.
struct DimensionsOf {
  Dims sizes, strides;
  TensorView view;
  DimensionsOf(const TensorView& v, int64_t mask, bool reduced) {
    for (int i = 0; i < v.ndim; ++i) {
      const bool is_reduced = mask == kAllDims || (mask >> i & 1);
      if (is_reduced != reduced) continue;
      sizes.push_back(v.sizes[i]);
      strides.push_back(v.strides[i]);
    }
    view = v;
    view.ndim = static_cast<int32_t>(sizes.n);
    view.sizes = sizes.d;
    view.strides = strides.d;
    view.numel = numel_of(sizes);
  }
  DimensionsOf(const DimensionsOf&) = delete;
  DimensionsOf& operator=(const DimensionsOf&) = delete;
};

inline int64_t power_of_two_from(int64_t n) {
  int64_t p = 1;
  while (p < n) p *= 2;
  return p;
}

template <class R, class C>
void reduce(const KernelArgs& call, int64_t mask, const ReduceParams& params) {
  const TensorView& in = call.in[0];
  const DimensionsOf kept_dims(in, mask, false), reduced_dims(in, mask, true);
  const Geometry<1> kept({&kept_dims.view}), reduced({&reduced_dims.view});
  const int64_t outputs = kept.numel(), n = reduced.numel();
  if (outputs == 0) return;
  const int64_t row_step = reduced.ndim() ? reduced.stride(0, 0) : 0,
                column_step = kept.ndim() ? kept.stride(0, 0) : 0;
  const bool side_by_side = outputs == 1 || (n > 1 && (row_step < 0 ? -row_step : row_step) <=
                                                          (column_step < 0 ? -column_step : column_step));
  int64_t y;
  if (side_by_side) y = std::min<int64_t>(kReduceThreads, power_of_two_from(n / 4));
  else y = std::min<int64_t>(8, power_of_two_from(n / 8));
  while (!side_by_side && kReduceThreads / y > 32 && outputs * y < 32 * kReduceThreads && y * 8 <= n) y *= 2;
  const int64_t x = kReduceThreads / y, blocks = (outputs + x - 1) / x;
  const int64_t wanted = int64_t{8} * multiprocessors();
  int64_t pieces = 1;
  if (blocks < wanted)
    pieces = std::min({(n + 16 * y - 1) / (16 * y), (wanted + blocks - 1) / blocks, int64_t{1024}});
  pieces = std::max<int64_t>(pieces, 1);
  const int64_t piece = (n + pieces - 1) / pieces;
  if (piece > 0) pieces = (n + piece - 1) / piece;
  std::optional<Scratch> partial;
  if (pieces > 1) partial.emplace(static_cast<size_t>(pieces * outputs) * sizeof(typename R::State));
  constexpr int64_t kLimit = int64_t{1} << 31;
  FS_CHECK((kept.ndim() < 2 || outputs < kLimit) && (reduced.ndim() < 2 || n < kLimit),
           "a reduction of 2^31 elements or more over several dimensions that do not lie side by side (shape ",
           in.shape(), "); make the tensor contiguous first");
  ReduceArgs a{};
  a.in = in.data;
  a.out0 = call.out[0].data;
  a.out0_dtype = call.out[0].dtype;
  if (call.num_out > 1) {
    a.out1 = call.out[1].data;
    a.out1_dtype = call.out[1].dtype;
  }
  a.partial = partial ? partial->ptr<void>() : nullptr;
  a.in_dtype = in.dtype;
  a.kept = kept.template index<int64_t, int32_t>();
  a.reduced = reduced.template index<int64_t, int32_t>();
  a.outputs = outputs;
  a.n = n;
  a.piece = piece;
  a.x = static_cast<int32_t>(x);
  a.lanes_side_by_side = side_by_side;
  a.params = params;
  FS_LAUNCH((reduce_kernel<R, C>), dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(pieces)), kReduceThreads,
            0, current_stream(), a);
  if (pieces > 1)
    FS_LAUNCH((join_pieces<R>), grid_for(outputs, kReduceThreads, INT32_MAX), kReduceThreads, 0, current_stream(), a,
              pieces);
}

}  // namespace fireseed::cuda

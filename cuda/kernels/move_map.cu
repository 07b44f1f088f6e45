// Kernels whose elements come from computed places: mode_pad and its gradient, repeat, repeat_interleave, one_hot.
#include <algorithm>

#include "device/contiguous.cuh"
#include "device/memory.cuh"
#include "device/rows.cuh"
#include "tensor/attrs/move.h"

namespace fireseed::cuda {
namespace {

constexpr int kMapThreads = 256;

// Where output coordinate o of a dimension comes from; innermost dimension first.
struct CoordinateMap {
  int32_t ndim = 0;
  PadMode mode = PadMode::kCircular;
  int64_t in[kMaxRank], before[kMaxRank], out_stride[kMaxRank], in_stride[kMaxRank];

  __device__ __forceinline__ int64_t source(int d, int64_t o) const {
    const int64_t n = in[d];
    int64_t i = o - before[d];
    if (i >= 0 && i < n) return i;
    if (mode == PadMode::kReplicate) return i < 0 ? 0 : n - 1;
    if (n == 1) return 0;
    const int64_t period = mode == PadMode::kCircular ? n : 2 * (n - 1);  // of reflection: edges are not repeated
    i %= period;
    if (i < 0) i += period;
    return i < n ? i : period - i;
  }
};

// numbers: of out's elements, with I bits.
template <class U, class I>
__global__ void __launch_bounds__(kMapThreads)
    map_elements(const U* x, U* y, const __grid_constant__ CoordinateMap map,
                 const __grid_constant__ StridedIndex<1, I> sizes, int64_t count) {
  for (int64_t i = grid_thread(); i < count; i += grid_threads()) {
    I rest = static_cast<I>(i);
    int64_t from = 0, to = 0;
    for (int d = 0; d < map.ndim; ++d) {
      const I q = sizes.size[d].divide(rest);
      const int64_t o = rest - q * static_cast<I>(sizes.size[d].d);
      rest = q;
      to += o * map.out_stride[d];
      from += map.source(d, o) * map.in_stride[d];
    }
    y[to] = x[from];
  }
}

// out[o] = in[source(o)]; in's missing dimensions stand in front.
void map_view(const TensorView& in, const TensorView& out, PadMode mode, const Dims* before) {
  CoordinateMap map;
  map.mode = mode;
  map.ndim = out.ndim;
  StridedIndex<1, int64_t> wide;
  StridedIndex<1, int32_t> narrow;
  for (int k = 0; k < out.ndim; ++k) {
    const int d = out.ndim - 1 - k, from = in.ndim - 1 - k;
    map.in[k] = from < 0 ? 1 : in.sizes[from];
    map.in_stride[k] = from < 0 ? 0 : in.strides[from];
    map.before[k] = before ? (*before)[d] : 0;
    map.out_stride[k] = out.strides[d];
    wide.size[k] = Divider<int64_t>(out.sizes[d]);
    if (out.numel < (int64_t{1} << 31)) narrow.size[k] = Divider<int32_t>(out.sizes[d]);
  }
  dispatch_size(out.dtype, [&](auto tag) {
    using U = typename decltype(tag)::type;
    const unsigned blocks = grid_for(out.numel, kMapThreads, 1 << 20);
    if (out.numel < (int64_t{1} << 31))
      FS_LAUNCH((map_elements<U, int32_t>), blocks, kMapThreads, 0, current_stream(), in.ptr<const U>(), out.ptr<U>(),
                map, narrow, out.numel);
    else
      FS_LAUNCH((map_elements<U, int64_t>), blocks, kMapThreads, 0, current_stream(), in.ptr<const U>(), out.ptr<U>(),
                map, wide, out.numel);
  });
}

// One dimension of a padding's gradient. g: (outer, large, inner) and gx: (outer, small, inner), contiguous; each
// entry sums the places it was copied to, in their order.
template <class C>
__global__ void __launch_bounds__(kMapThreads)
    unpad_dimension(const void* g, DType g_dtype, void* gx, DType gx_dtype, PadMode mode, int64_t before,
                    int64_t large, int64_t small, int64_t inner, int64_t count) {
  for (int64_t k = grid_thread(); k < count; k += grid_threads()) {
    const int64_t i = k / inner % small, base = k / inner / small * large * inner + k % inner;
    C sum = 0;
    const auto add = [&](int64_t o) { sum += load_number(g, base + o * inner, g_dtype, C{}); };
    const auto least = [](int64_t o, int64_t period) {
      return o >= 0 ? o % period : (period - -o % period) % period;
    };
    if (small == 1) {
      for (int64_t o = 0; o < large; ++o) add(o);
    } else if (mode == PadMode::kReplicate) {
      const int64_t first = i == 0 ? 0 : i + before, last = i == small - 1 ? large - 1 : i + before;
      for (int64_t o = first > 0 ? first : 0; o <= last && o < large; ++o) add(o);
    } else if (mode == PadMode::kCircular) {
      for (int64_t o = least(i + before, small); o < large; o += small) add(o);
    } else {  // places i and -i of each period; one at the edges
      const int64_t period = 2 * (small - 1);
      int64_t a = least(before + i, period), b = least(before - i, period);
      if (a > b) {
        const int64_t t = a;
        a = b;
        b = t;
      }
      for (; a < large; a += period, b += period) {
        add(a);
        if (b != a && b < large) add(b);
      }
    }
    store_number(gx, k, gx_dtype, sum);
  }
}

// ---- repeat_interleave -------------------------------------------------------------------------------------

// Inclusive sums of `values` (n,) by one block, tile by tile; stops at a negative value or where the total is not
// `expected`.
template <int kThreads>
__global__ void __launch_bounds__(kThreads)
    repeat_ends(const int64_t* values, int64_t* ends, int64_t n, int64_t expected) {
  FS_SHARED(int64_t, warp_sum, [kThreads / kWarpSize]);
  const int thread = static_cast<int>(threadIdx.x), lane = thread % kWarpSize, warp = thread / kWarpSize;
  int64_t carry = 0;
  for (int64_t tile = 0; tile < n; tile += kThreads) {
    const int64_t i = tile + thread;
    int64_t v = i < n ? values[i] : 0;
    if (v < 0) fail_index("repeat_interleave: repeats can not be negative", v, expected);
#pragma unroll
    for (int d = 1; d < kWarpSize; d *= 2) {
      const int64_t other = __shfl_up_sync(kFullMask, v, d);
      if (lane >= d) v += other;
    }
    if (lane == kWarpSize - 1) warp_sum[warp] = v;
    __syncthreads();
    int64_t before = carry;
    for (int w = 0; w < kThreads / kWarpSize; ++w) {
      if (w < warp) before += warp_sum[w];
      carry += warp_sum[w];
    }
    if (i < n) ends[i] = before + v;
    __syncthreads();  // warp_sum may be written again
  }
  if (thread == 0 && carry != expected) fail_index("repeat_interleave: sum of repeats", carry, expected);
}

// out[o]: the first i with ends[i] > o.
__global__ void __launch_bounds__(kMapThreads)
    repeat_numbers(const int64_t* ends, int64_t n, int64_t* out, int64_t step, int64_t count) {
  for (int64_t o = grid_thread(); o < count; o += grid_threads()) {
    int64_t low = 0, high = n;
    while (low < high) {
      const int64_t middle = low + (high - low) / 2;
      if (ends[middle] > o) high = middle;
      else low = middle + 1;
    }
    out[o * step] = low;
  }
}

__global__ void __launch_bounds__(kMapThreads) one_hot_rows(const int64_t* classes, int64_t* out, int64_t num_classes,
                                                            const StridedIndex<1, int64_t> at, int64_t count) {
  for (int64_t i = grid_thread(); i < count; i += grid_threads()) {
    const int64_t row = i / num_classes, c = classes[row];
    if (c < 0 || c >= num_classes) fail_index("one_hot: Class values must be in [0, num_classes)", c, num_classes);
    out[at.offset(i)] = c == i % num_classes;
  }
}

}  // namespace

// out: in continued past its edges by reflection, replication or wrapping around (attrs.mode); rank >= 1.
void mode_pad(const KernelArgs& args) {
  const ModePadAttrs& a = args.attrs<ModePadAttrs>();
  if (args.out[0].numel > 0) map_view(args.in[0], args.out[0], a.mode, &a.before);
}

// in: g of the padded shape; out: gx of the unpadded shape, each entry the sum of the places it was copied to; one
// launch a padded dimension, sums of halves in float.
void mode_pad_backward(const KernelArgs& args) {
  const ModePadAttrs& a = args.attrs<ModePadAttrs>();
  const TensorView &g = args.in[0], &out = args.out[0];
  if (out.numel == 0) return;
  int dims[kMaxRank], n = 0;
  for (int d = 0; d < out.ndim; ++d)
    if (a.before[d] != 0 || g.sizes[d] != out.sizes[d]) dims[n++] = d;
  if (n == 0) return move_view(out, g);
  const Contiguous whole(g);
  std::optional<Scratch> memory[2];
  TensorView from = whole.view();
  Dims sizes = g.shape();
  dispatch_float_compute(out.dtype, "mode_pad_backward", [&](auto zero) {
    using C = decltype(zero);
    for (int k = 0; k < n; ++k) {
      const int d = dims[k];
      const bool last = k == n - 1 && out.contiguous;
      const int64_t large = sizes[d];
      sizes[d] = out.sizes[d];
      const int64_t count = numel_of(sizes);
      int64_t inner = 1;
      for (int i = d + 1; i < out.ndim; ++i) inner *= sizes[i];
      const DType dtype = k == n - 1 ? out.dtype : dtype_of<C>::value;
      if (!last) memory[k % 2].emplace(static_cast<size_t>(count) * dtype_size(dtype));
      void* to = last ? out.data : memory[k % 2]->template ptr<void>();
      FS_LAUNCH((unpad_dimension<C>), grid_for(count, kMapThreads, 1 << 20), kMapThreads, 0, current_stream(),
                from.data, from.dtype, to, dtype, a.mode, a.before[d], large, out.sizes[d], inner, count);
      from.data = to;
      from.dtype = dtype;
    }
    if (out.contiguous) return;
    const Dims strides = contiguous_strides(sizes);
    from.sizes = sizes.d;
    from.strides = strides.d;
    from.numel = out.numel;
    move_view(out, from);
  });
}

// out: in tiled along each dimension of out (in may have fewer, leading ones are added).
void repeat(const KernelArgs& args) {
  if (args.out[0].numel > 0) map_view(args.in[0], args.out[0], PadMode::kCircular, nullptr);
}

// in: int64 repeats (n,); out: int64 (sum of repeats,), i repeated repeats[i] times. Stops the kernel at a negative
// one or where their sum is not the output's size.
void repeat_interleave(const KernelArgs& args) {
  const TensorView &in = args.in[0], &out = args.out[0];
  if (in.numel == 0) {
    if (out.numel != 0)
      fail(ErrorKind::kRuntime, "repeat_interleave: the sum of repeats does not match output_size ", out.numel);
    return;
  }
  const Contiguous repeats(in);
  const Scratch ends(static_cast<size_t>(in.numel) * sizeof(int64_t));
  FS_LAUNCH((repeat_ends<256>), 1, 256, 0, current_stream(), repeats.ptr<int64_t>(), ends.ptr<int64_t>(), in.numel,
            out.numel);
  FS_LAUNCH(repeat_numbers, grid_for(out.numel, kMapThreads, 1 << 20), kMapThreads, 0, current_stream(),
            ends.ptr<int64_t>(), in.numel, out.ptr<int64_t>(), out.strides[0], out.numel);
}

// in: int64 classes of any shape; out: int64 (shape, C), 1 at the class and 0 elsewhere. Stops the kernel at a class
// outside [0, C).
void one_hot(const KernelArgs& args) {
  const TensorView &in = args.in[0], &out = args.out[0];
  if (out.numel == 0) return;
  const Contiguous classes(in);
  const Geometry<1> g({&out});
  FS_LAUNCH(one_hot_rows, grid_for(out.numel, kMapThreads, 1 << 20), kMapThreads, 0, current_stream(),
            classes.ptr<int64_t>(), out.ptr<int64_t>(), out.size(-1), g.index<int64_t>(), out.numel);
}

}  // namespace fireseed::cuda

// Kernels driven by a mask: masked_fill, masked_select, masked_scatter, and nonzero with its count.
#include <algorithm>

#include "device/contiguous.cuh"
#include "device/rows.cuh"
#include "device/scan.cuh"
#include "runtime/device.h"
#include "tensor/attrs/index.h"

namespace fireseed::cuda {
namespace {

template <class T, class I>
__global__ void fill_where(T* out, const T* x, const uint8_t* mask, StridedIndex<3, I> at, T value, int64_t n) {
  for (int64_t i = grid_thread(); i < n; i += grid_threads()) {
    I o[3];
    at.offsets(static_cast<I>(i), o);
    out[o[0]] = mask[o[2]] ? value : x[o[1]];
  }
}

// Note [Places of true elements]
// An element's place among the true ones is how many come before it. The elements are cut into pieces, one a block:
// one kernel counts the true ones of each piece; the next adds up the counts of the pieces before its own and walks
// along its piece with a scan over the block.

constexpr int kMaskThreads = 256;
constexpr int kLoadsAhead = 8;  // neighbours a thread looks at
constexpr int64_t kMaskTile = kMaskThreads * kLoadsAhead;

struct MaskArgs {
  const void* mask;
  StridedIndex<1, int64_t> at;
  int size;       // bytes of an element
  uint64_t bits;  // those that make it true: of floats all but the sign
  int64_t n, piece;
  int64_t* counts;  // of each piece

  __device__ __forceinline__ bool is_true(int64_t i) const {
    const int64_t o = at.offset(i);
    uint64_t v;
    switch (size) {
      case 1: v = static_cast<const uint8_t*>(mask)[o]; break;
      case 2: v = static_cast<const uint16_t*>(mask)[o]; break;
      case 4: v = static_cast<const uint32_t*>(mask)[o]; break;
      default: v = static_cast<const uint64_t*>(mask)[o];
    }
    return (v & bits) != 0;
  }
};

__global__ void __launch_bounds__(kMaskThreads) count_true(const __grid_constant__ MaskArgs args) {
  const int64_t begin = blockIdx.x * args.piece, end = args.n - begin < args.piece ? args.n : begin + args.piece;
  int64_t count = 0;
  for (int64_t i = begin + threadIdx.x; i < end; i += kMaskThreads) count += args.is_true(i);
  count = block_reduce<kMaskThreads>(count, AddOp{});
  if (threadIdx.x == 0) args.counts[blockIdx.x] = count;
}
__global__ void __launch_bounds__(kMaskThreads) add_counts(const int64_t* counts, int64_t pieces, int64_t* out) {
  int64_t sum = 0;
  for (int64_t i = threadIdx.x; i < pieces; i += kMaskThreads) sum += counts[i];
  sum = block_reduce<kMaskThreads>(sum, AddOp{});
  if (threadIdx.x == 0) *out = sum;
}

// Calls f(i, place, is true) for the elements of this block's piece; place: how many true ones come before.
template <class F>
__device__ __forceinline__ void each_place(const MaskArgs& args, F f) {
  const int64_t begin = blockIdx.x * args.piece, end = args.n - begin < args.piece ? args.n : begin + args.piece;
  int64_t place = 0;
  for (int64_t q = threadIdx.x; q < blockIdx.x; q += kMaskThreads) place += args.counts[q];
  place = block_reduce<kMaskThreads>(place, AddOp{});
  for (int64_t first = begin; first < end; first += kMaskTile) {
    const int64_t own = first + static_cast<int64_t>(threadIdx.x) * kLoadsAhead;
    unsigned is_true = 0;
    for (int e = 0; e < kLoadsAhead; ++e)
      if (own + e < end && args.is_true(own + e)) is_true |= 1u << e;
    int64_t total;
    int64_t before = place + block_scan<kMaskThreads>(
                                 static_cast<int64_t>(__popc(is_true)), int64_t{0},
                                 [](int64_t a, int64_t b) { return a + b; }, total);
    place += total;
    for (int e = 0; e < kLoadsAhead && own + e < end; ++e) {
      f(own + e, before, (is_true >> e & 1) != 0);
      before += is_true >> e & 1;
    }
  }
}

struct Coordinates {
  int64_t size[kMaxRank];
  int rank;
};
// limit: rows of out.
__global__ void __launch_bounds__(kMaskThreads)
    put_coordinates(const __grid_constant__ MaskArgs args, const __grid_constant__ Coordinates c, int64_t* out,
                    int64_t limit) {
  each_place(args, [&](int64_t i, int64_t place, bool is_true) {
    if (!is_true || place >= limit) return;
    for (int d = c.rank - 1; d >= 0; --d) {
      out[place * c.rank + d] = i % c.size[d];
      i /= c.size[d];
    }
  });
}
// limit: elements of out.
template <class U>
__global__ void __launch_bounds__(kMaskThreads)
    select_true(const __grid_constant__ MaskArgs args, const U* x,
                const __grid_constant__ StridedIndex<1, int64_t> at, U* out, int64_t limit) {
  each_place(args, [&](int64_t i, int64_t place, bool is_true) {
    if (is_true && place < limit) out[place] = x[at.offset(i)];
  });
}
// count: elements of source.
template <class U>
__global__ void __launch_bounds__(kMaskThreads)
    scatter_true(const __grid_constant__ MaskArgs args, const U* x, const U* source, int64_t count, U* out,
                 const __grid_constant__ StridedIndex<2, int64_t> at) {
  each_place(args, [&](int64_t i, int64_t place, bool is_true) {
    int64_t o[2];
    at.offsets(i, o);
    if (is_true && place >= count) fail_index("masked_scatter: too few elements in source", place, count);
    out[o[0]] = is_true ? source[place] : x[o[1]];
  });
}

// The pieces of a mask, counted.
class MaskPieces {
 public:
  explicit MaskPieces(const TensorView& mask)
      : piece_(piece_of(mask.numel)),
        pieces_((mask.numel + piece_ - 1) / piece_),
        memory_(static_cast<size_t>(pieces_) * sizeof(int64_t)) {
    args.mask = mask.data;
    args.at = Geometry<1>({&mask}).index<int64_t>();
    args.size = static_cast<int>(dtype_size(mask.dtype));
    args.bits = ~uint64_t{0};
    if (is_floating(mask.dtype)) args.bits = (uint64_t{1} << (8 * args.size - 1)) - 1;
    args.n = mask.numel;
    args.piece = piece_;
    args.counts = memory_.ptr<int64_t>();
    FS_LAUNCH(count_true, blocks(), kMaskThreads, 0, current_stream(), args);
  }
  unsigned blocks() const { return static_cast<unsigned>(pieces_); }
  MaskArgs args{};

 private:
  static int64_t piece_of(int64_t n) {
    const int64_t pieces = std::min(8 * int64_t{multiprocessors()}, (n + kMaskTile - 1) / kMaskTile);
    return ((n + pieces - 1) / pieces + kMaskTile - 1) / kMaskTile * kMaskTile;
  }
  int64_t piece_, pieces_;
  Scratch memory_;
};

}  // namespace

// in: self, bool mask (self's shape by strides); out: attrs.value where the mask is true, else self.
void masked_fill(const KernelArgs& args) {
  const FillValue& v = args.attrs<MaskedFillAttrs>().value;
  const TensorView &out = args.out[0], &self = args.in[0], &mask = args.in[1];
  if (out.numel == 0) return;
  const Geometry<3> g({&out, &self, &mask});
  dispatch_all(out.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    T value;
    if constexpr (is_half(dtype_of<T>::value)) value = T(static_cast<float>(v.real));
    else if constexpr (is_floating(dtype_of<T>::value)) value = static_cast<T>(v.real);
    else value = static_cast<T>(v.integer);
    dispatch_index(g.fits_int32(), [&](auto index_tag) {
      using I = typename decltype(index_tag)::type;
      FS_LAUNCH((fill_where<T, I>), grid_for(g.numel(), 256, 1 << 20), 256, 0, current_stream(), out.ptr<T>(),
                self.ptr<const T>(), mask.ptr<const uint8_t>(), g.template index<I>(), value, g.numel());
    });
  });
}

// in: any tensor; out: 0-dim int64, the number of entries that are not zero (NaN counts).
void nonzero_count(const KernelArgs& args) {
  const MaskPieces pieces(args.in[0]);
  FS_LAUNCH(add_counts, 1, kMaskThreads, 0, current_stream(), pieces.args.counts, int64_t{pieces.blocks()},
            args.out[0].ptr<int64_t>());
}

// in: any tensor of rank r; out: int64 (n, r), the coordinates of entries that are not zero, in row-major order.
// n is what nonzero_count gave.
void nonzero(const KernelArgs& args) {
  const TensorView &in = args.in[0], &out = args.out[0];
  if (in.numel == 0 || out.numel == 0) return;
  const MaskPieces pieces(in);
  Coordinates c{};
  c.rank = in.ndim;
  for (int d = 0; d < in.ndim; ++d) c.size[d] = in.sizes[d];
  FS_LAUNCH(put_coordinates, pieces.blocks(), kMaskThreads, 0, current_stream(), pieces.args, c, out.ptr<int64_t>(),
            out.sizes[0]);
}

// in: self, bool mask (self's shape by strides); out: 1-D, the elements where the mask is true, in row-major order.
// Its length is what nonzero_count gave for the mask.
void masked_select(const KernelArgs& args) {
  const TensorView &self = args.in[0], &mask = args.in[1], &out = args.out[0];
  if (self.numel == 0 || out.numel == 0) return;
  const MaskPieces pieces(mask);
  const Geometry<1> g({&self});
  dispatch_size(out.dtype, [&](auto tag) {
    using U = typename decltype(tag)::type;
    FS_LAUNCH((select_true<U>), pieces.blocks(), kMaskThreads, 0, current_stream(), pieces.args, self.ptr<const U>(),
              g.index<int64_t>(), out.ptr<U>(), out.numel);
  });
}

// in: self, bool mask (self's shape by strides), source; out: self with the masked entries replaced by source's
// elements in row-major order. A source with fewer elements than the mask has true entries stops the kernel.
void masked_scatter(const KernelArgs& args) {
  const TensorView &self = args.in[0], &mask = args.in[1], &out = args.out[0];
  if (self.numel == 0) return;
  const MaskPieces pieces(mask);
  const Contiguous source(args.in[2]);
  const Geometry<2> g({&out, &self});
  dispatch_size(out.dtype, [&](auto tag) {
    using U = typename decltype(tag)::type;
    FS_LAUNCH((scatter_true<U>), pieces.blocks(), kMaskThreads, 0, current_stream(), pieces.args, self.ptr<const U>(),
              source.ptr<U>(), args.in[2].numel, out.ptr<U>(), g.index<int64_t>());
  });
}

}  // namespace fireseed::cuda

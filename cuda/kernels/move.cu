// Kernels that copy elements to other places: cat, flip, roll, constant_pad, tril, triu.
#include "tensor/attrs/move.h"

#include <algorithm>
#include <cstring>

#include "device/contiguous.cuh"

namespace fireseed::cuda {
namespace {

// A box of a view: its first element and sizes; strides may be negated.
struct Box {
  TensorView view;
  Dims sizes, strides;
  explicit Box(const TensorView& v) : view(v), sizes(v.shape()), strides(v.strides, v.ndim) {}
  Box(const Box&) = delete;
  Box& operator=(const Box&) = delete;
  // Elements [start, start + length) of dimension d.
  void narrow(int d, int64_t start, int64_t length) {
    shift(start * strides[d]);
    sizes[d] = length;
  }
  void reverse(int d) {
    shift((sizes[d] - 1) * strides[d]);
    strides[d] = -strides[d];
  }
  const TensorView& get() {
    view.sizes = sizes.d;
    view.strides = strides.d;
    view.numel = numel_of(sizes);
    view.contiguous = false;
    return view;
  }

 private:
  void shift(int64_t elements) {
    view.data = static_cast<char*>(view.data) + elements * static_cast<int64_t>(dtype_size(view.dtype));
  }
};

constexpr int kMoveThreads = 256;

// The bits of a fill value in dtype t.
uint64_t bits_of(DType t, const FillValue& v) {
  uint64_t bits = 0;
  dispatch_all(t, [&](auto tag) {
    using T = typename decltype(tag)::type;
    T x;
    if constexpr (std::is_same_v<T, float16> || std::is_same_v<T, bfloat16>) x = T(static_cast<float>(v.real));
    else if constexpr (std::is_floating_point_v<T>) x = static_cast<T>(v.real);
    else x = static_cast<T>(v.integer);
    std::memcpy(&bits, &x, sizeof x);
  });
  return bits;
}

template <bool kLower, class U>
__global__ void __launch_bounds__(kMoveThreads)
    keep_triangle(U* to, const U* from, const StridedIndex<2, int64_t> index, int64_t count, int64_t m, int64_t n,
                  int64_t k) {
  for (int64_t i = grid_thread(); i < count; i += grid_threads()) {
    int64_t at[2];
    index.offsets(i, at);
    const int64_t column = i % n, row = i / n % m;
    const bool kept = kLower ? column - row <= k : column - row >= k;
    to[at[0]] = kept ? from[at[1]] : U(0);
  }
}

template <bool kLower>
void triangle(const KernelArgs& args) {
  const TensorView &in = args.in[0], &out = args.out[0];
  if (out.numel == 0) return;
  const Geometry<2> g({&out, &in});
  dispatch_size(out.dtype, [&](auto tag) {
    using U = typename decltype(tag)::type;
    FS_LAUNCH((keep_triangle<kLower, U>), grid_for(out.numel, kMoveThreads, 1 << 16), kMoveThreads, 0,
              current_stream(), out.ptr<U>(), in.ptr<U>(), g.index<int64_t>(), out.numel, in.size(-2), in.size(-1),
              args.attrs<TriAttrs>().diagonal);
  });
}

}  // namespace

// in: n tensors equal but in size along attrs.dim; out: them one after the other along it. One launch a tensor.
void cat(const KernelArgs& args) {
  const int dim = static_cast<int>(args.attrs<CatAttrs>().dim);
  const TensorView& out = args.out[0];
  if (out.numel == 0) return;
  int64_t start = 0;
  for (int j = 0; j < args.num_in; ++j) {
    if (args.in[j].numel == 0) continue;
    Box part(out);
    part.narrow(dim, start, args.in[j].sizes[dim]);
    move_view(part.get(), args.in[j]);
    start += args.in[j].sizes[dim];
  }
}

// out: in with the dimensions of attrs.mask reversed.
void flip(const KernelArgs& args) {
  if (args.out[0].numel == 0) return;
  Box from(args.in[0]);
  for (int d = 0; d < args.in[0].ndim; ++d)
    if (args.attrs<FlipAttrs>().mask >> d & 1) from.reverse(d);
  move_view(args.out[0], from.get());
}

// out[(i + shift) mod n] = in[i] in each dimension: each rolled dimension falls into [0, size - shift) and the rest.
void roll(const KernelArgs& args) {
  const RollAttrs& a = args.attrs<RollAttrs>();
  const TensorView &in = args.in[0], &out = args.out[0];
  if (out.numel == 0) return;
  int rolled[kMaxRank], n = 0;
  for (int d = 0; d < in.ndim; ++d)
    if (a.shifts[d] != 0) rolled[n++] = d;
  for (int box = 0; box < 1 << n; ++box) {
    Box from(in), to(out);
    for (int j = 0; j < n; ++j) {
      const int d = rolled[j];
      const int64_t shift = a.shifts[d], head = in.sizes[d] - shift;
      const bool tail = box >> j & 1;
      from.narrow(d, tail ? head : 0, tail ? shift : head);
      to.narrow(d, tail ? 0 : shift, tail ? shift : head);
    }
    move_view(to.get(), from.get());
  }
}

// out: in with attrs.before[d] entries of attrs.value in front of each dimension (negative: entries cut off) and as
// many behind as the output's size asks for.
void constant_pad(const KernelArgs& args) {
  const ConstantPadAttrs& a = args.attrs<ConstantPadAttrs>();
  const TensorView &in = args.in[0], &out = args.out[0];
  if (out.numel == 0) return;
  Box from(in), to(out);
  bool grows = false, empty = in.numel == 0;
  for (int d = 0; d < out.ndim; ++d) {
    const int64_t begin = std::max<int64_t>(0, a.before[d]);
    const int64_t end = std::min(out.sizes[d], a.before[d] + in.sizes[d]);
    empty = empty || end <= begin;
    grows = grows || end - begin < out.sizes[d];
    if (empty) continue;
    to.narrow(d, begin, end - begin);
    from.narrow(d, begin - a.before[d], end - begin);
  }
  if (grows || empty) fill_view(out, bits_of(out.dtype, a.value));
  if (!empty) move_view(to.get(), from.get());
}

// out: the lower triangle of each matrix of in (rank >= 2), zero above attrs.diagonal.
void tril(const KernelArgs& args) { triangle<true>(args); }
// out: the upper triangle of each matrix of in (rank >= 2), zero below attrs.diagonal.
void triu(const KernelArgs& args) { triangle<false>(args); }

}  // namespace fireseed::cuda

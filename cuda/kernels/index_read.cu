// Kernels that read by index: index (advanced indexing), index_select, gather, embedding.
#include "kernels/index.cuh"

namespace fireseed::cuda {
namespace {

// out (before + B + after, contiguous) = src (before + indexed + after), in units of sizeof(U) bytes.
template <class U, class I>
__global__ void read_units(const U* src, U* out, const __grid_constant__ IndexList list, StridedIndex<1, I> before,
                           StridedIndex<1, I> slice, Divider<I> after, Divider<I> batch, int64_t n) {
  for (int64_t i = grid_thread(); i < n; i += grid_threads()) {
    const I row = after.divide(static_cast<I>(i)), first = batch.divide(row);
    const I a = static_cast<I>(i) - row * static_cast<I>(after.d), b = row - first * static_cast<I>(batch.d);
    out[i] = src[list.offset(b) + before.offset(first) + slice.offset(a)];
  }
}

// The largest unit of bytes (16 at most) in which rows of a source and an output can be moved.
// dims: those before the slice.
int64_t unit_of(const TensorView& src, const TensorView& out, int64_t dims, const Geometry<1>& slice, int64_t after) {
  const auto size = static_cast<int64_t>(dtype_size(src.dtype));
  if (!slice.is_flat(0)) return size;
  uint64_t all = 16 | static_cast<uint64_t>(after * size) | reinterpret_cast<uintptr_t>(src.data) |
                 reinterpret_cast<uintptr_t>(out.data);
  for (int64_t d = 0; d < dims; ++d) all |= static_cast<uint64_t>(src.strides[d] * size);
  return static_cast<int64_t>(all & (~all + 1));
}

// dim: first of the k indexed dimensions.
void read(const TensorView& src, const TensorView& out, const TensorView* index, int k, int64_t dim, bool wrap) {
  if (out.numel == 0) return;
  FS_CHECK(out.contiguous, "an indexing kernel got an output that is not contiguous");
  const IndexTensors tensors(index, k, src, dim, wrap);
  const SomeDims before_dims(src, 0, dim), after_dims(src, dim + k, src.ndim);
  const Geometry<1> before({&before_dims.view}), slice({&after_dims.view}), whole({&src});
  const int64_t after = slice.numel(), size = static_cast<int64_t>(dtype_size(src.dtype));
  const int64_t unit = unit_of(src, out, dim + k, slice, after);
  IndexList list = tensors.list;
  for (int j = 0; j < k; ++j) list.stride[j] = list.stride[j] * size / unit;
  const auto run = [&](auto unit_tag) {
    using U = typename decltype(unit_tag)::type;
    dispatch_index(whole.fits_int32() && out.numel < INT32_MAX, [&](auto tag) {
      using I = typename decltype(tag)::type;
      auto b = before.template index<I>();
      auto s = slice.template index<I>();
      for (int i = 0; i < b.ndim; ++i) b.stride[0][i] = static_cast<I>(b.stride[0][i] * size / unit);
      if (unit != size) {  // one run
        s.ndim = 1;
        s.stride[0][0] = 1;
      }
      const int64_t n = out.numel * size / unit;
      FS_LAUNCH((read_units<U, I>), grid_for(n, 256, 1 << 20), 256, 0, current_stream(), src.ptr<const U>(),
                out.ptr<U>(), list, b, s, Divider<I>(after * size / unit), Divider<I>(index[0].numel), n);
    });
  };
  switch (unit) {
    case 16: return run(TypeTag<Vec<uint64_t, 2>>{});
    case 8: return run(TypeTag<uint64_t>{});
    case 4: return run(TypeTag<uint32_t>{});
    case 2: return run(TypeTag<uint16_t>{});
    default: return run(TypeTag<uint8_t>{});
  }
}

template <class U, class I>
__global__ void gather_elements(const U* src, const int64_t* index, U* out, StridedIndex<3, I> at, int64_t size,
                                int64_t stride, bool wrap, int64_t n) {
  for (int64_t i = grid_thread(); i < n; i += grid_threads()) {
    I o[3];
    at.offsets(static_cast<I>(i), o);
    out[o[2]] = src[o[0] + checked_index(index[o[1]], size, wrap) * stride];
  }
}

}  // namespace

// in: source (before + indexed + after), k int64 tensors of one shape B; out: before + B + after.
void index(const KernelArgs& args) {
  read(args.in[0], args.out[0], args.in + 1, args.num_in - 1, args.attrs<IndexAttrs>().dim, true);
}

// in: source, int64 index (1-D or 0-D); out: source with `dim` replaced by the selected entries.
void index_select(const KernelArgs& args) {
  const auto& a = args.attrs<IndexDimAttrs>();
  read(AsRank1(args.in[0]).view, args.out[0], args.in + 1, 1, a.dim, a.wrap != 0);
}

// in: weight (V, D), int64 indices of any shape; out: (indices' shape, D).
void embedding(const KernelArgs& args) { read(args.in[0], args.out[0], args.in + 1, 1, 0, false); }

// in: source, int64 index; out[.., i, ..] = source[.., index[.., i, ..], ..], of index's shape.
void gather(const KernelArgs& args) {
  const auto& a = args.attrs<IndexDimAttrs>();
  const TensorView &src = args.in[0], &index = args.in[1], &out = args.out[0];
  if (index.numel == 0) return;
  const int64_t size = src.ndim ? src.sizes[a.dim] : 1, stride = src.ndim ? src.strides[a.dim] : 1;
  const Lines lines(src, index, a.dim);
  const Geometry<3> g({&lines.view, &index, &out});
  dispatch_size(out.dtype, [&](auto tag) {
    using U = typename decltype(tag)::type;
    dispatch_index(g.fits_int32(), [&](auto index_tag) {
      using I = typename decltype(index_tag)::type;
      FS_LAUNCH((gather_elements<U, I>), grid_for(index.numel, 256, 1 << 20), 256, 0, current_stream(),
                src.ptr<const U>(), index.ptr<const int64_t>(), out.ptr<U>(), g.template index<I>(), size, stride,
                a.wrap != 0, index.numel);
    });
  });
}

}  // namespace fireseed::cuda

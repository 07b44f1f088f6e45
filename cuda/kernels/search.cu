// searchsorted: places in sorted sequences by binary search, a thread a value.
#include "device/contiguous.cuh"
#include "device/memory.cuh"
#include "tensor/attrs/sort.h"

namespace fireseed::cuda {
namespace {

// The first place of seq[0, n) whose element is >= the value (right: > the value). per: values of one sequence; 0: of
// all.
template <class C>
__global__ void search_rows(const void* seq, const void* values, void* out, DType in_dtype, DType out_dtype,
                            int64_t n, int64_t per, int64_t count, bool right) {
  for (int64_t i = grid_thread(); i < count; i += grid_threads()) {
    const C x = load_number(values, i, in_dtype, C{});
    const int64_t start = per ? i / per * n : 0;
    int64_t low = 0, left = n;
    while (left > 0) {
      const int64_t half = left / 2;
      const C m = load_number(seq, start + low + half, in_dtype, C{});
      const bool before = right ? !(m > x) : !(m >= x);
      low = before ? low + half + 1 : low;
      left = before ? left - half - 1 : half;
    }
    store_number(out, i, out_dtype, low);
  }
}

}  // namespace

// in: sorted sequence [n] or [..., n], values [...]. out: int64 or int32 positions of the values' shape.
void searchsorted(const KernelArgs& args) {
  const auto& a = args.attrs<SearchAttrs>();
  const TensorView &seq = args.in[0], &values = args.in[1];
  if (values.numel == 0) return;
  const Contiguous s(seq), v(values);
  const int64_t n = seq.ndim ? seq.sizes[seq.ndim - 1] : 1;
  const int64_t per = seq.ndim <= 1 ? 0 : values.sizes[values.ndim - 1];
  dispatch_compute(seq.dtype, [&](auto c) {
    using C = decltype(c);
    FS_LAUNCH((search_rows<C>), grid_for(values.numel, 256, 1 << 20), 256, 0, current_stream(), s.ptr<void>(),
              v.ptr<void>(), args.out[0].data, seq.dtype, args.out[0].dtype, n, per, values.numel, a.right != 0);
  });
}

}  // namespace fireseed::cuda

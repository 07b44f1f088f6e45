// masked_fill.
#include "device/index.cuh"
#include "runtime/stream.h"
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

}  // namespace fireseed::cuda

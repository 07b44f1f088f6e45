// Reduction kernels with indices: argmax, argmin, max_dim, min_dim.
#include "cpu/reduce_arg.h"
#include "tensor/attrs/reduce.h"

namespace fireseed::cpu::FS_ISA {
namespace {

template <bool kMax, bool kValues>
void reduce_arg(const KernelArgs& args) {
  const auto& a = args.attrs<ReduceAttrs>();
  dispatch_all(args.in[0].dtype, [&](auto tag) {
    using T = memory_type<typename decltype(tag)::type>;
    reduce(args.in[0], args.out, a.mask, a.keepdim, reduce_fns_of<ArgReducer<T, kMax, kValues>>, {});
  });
}

}  // namespace

// Flat index (over the reduced dimensions, row-major) of the first largest / smallest element; NaN wins.
void argmax(const KernelArgs& args) { reduce_arg<true, false>(args); }
void argmin(const KernelArgs& args) { reduce_arg<false, false>(args); }
// out[0] value, out[1] index (int64) along one dimension.
void max_dim(const KernelArgs& args) { reduce_arg<true, true>(args); }
void min_dim(const KernelArgs& args) { reduce_arg<false, true>(args); }

}  // namespace fireseed::cpu::FS_ISA

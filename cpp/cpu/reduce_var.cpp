// Reduction kernels of spread: var, std, var_mean, std_mean.
#include "cpu/reduce_var.h"
#include "tensor/attrs/reduce.h"

namespace fireseed::cpu::FS_ISA {
namespace {

template <bool kTwo>
void reduce_var(const KernelArgs& args, bool root) {
  const auto& a = args.attrs<VarAttrs>();
  ReduceParams params;
  params.correction = a.correction;
  params.root = root;
  dispatch_float(args.in[0].dtype, [&](auto tag) {
    reduce(args.in[0], args.out, a.mask, a.keepdim, reduce_fns_of<VarReducer<typename decltype(tag)::type, kTwo>>,
           params);
  });
}

}  // namespace

// out[0] = Σ (x - mean)² / max(0, n - correction) or its root; *_mean: out[1] = mean. Float types.
void var(const KernelArgs& args) { reduce_var<false>(args, false); }
void std(const KernelArgs& args) { reduce_var<false>(args, true); }
void var_mean(const KernelArgs& args) { reduce_var<true>(args, false); }
void std_mean(const KernelArgs& args) { reduce_var<true>(args, true); }

}  // namespace fireseed::cpu::FS_ISA

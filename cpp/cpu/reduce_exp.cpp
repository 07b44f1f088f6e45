// Reduction kernels with exp, log and pow: logsumexp, and norm for general p.
#include "cpu/reduce_exp.h"
#include "tensor/attrs/reduce.h"

namespace fireseed::cpu::FS_ISA {

// log Σ exp(x), with the maximum taken out. Float types.
void logsumexp(const KernelArgs& args) {
  const auto& a = args.attrs<ReduceAttrs>();
  dispatch_float(args.in[0].dtype, [&](auto tag) {
    reduce(args.in[0], args.out, a.mask, a.keepdim, reduce_fns_of<LogSumExpReducer<typename decltype(tag)::type>>,
           {});
  });
}

void norm_general(const KernelArgs& args) {
  const auto& a = args.attrs<NormAttrs>();
  ReduceParams params;
  params.p = a.p;
  params.root = true;
  dispatch_float(args.in[0].dtype, [&](auto tag) {
    reduce(args.in[0], args.out, a.mask, a.keepdim, reduce_fns_of<PowReducer<typename decltype(tag)::type>>, params);
  });
}

}  // namespace fireseed::cpu::FS_ISA

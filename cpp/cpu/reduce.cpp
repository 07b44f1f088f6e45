// Reduction kernels: sum, mean, prod, amax, amin, all, any, count_nonzero, norm (p = 0, 1, 2, ±inf), nansum.
#include "cpu/reduce_ops.h"
#include "tensor/attrs/reduce.h"

namespace fireseed::cpu::FS_ISA {

void norm_general(const KernelArgs& args);  // reduce_exp.cpp

namespace {

template <class T, class Map>
void reduce_sum(const KernelArgs& args, int64_t mask, bool keepdim, const ReduceParams& params) {
  using Out = typename choose_type<is_float_type<T>, T, int64_t>::type;
  reduce(args.in[0], args.out, mask, keepdim, reduce_fns_of<SumReducer<T, Map, Out>>, params);
}

template <class T, bool kMax, class Map>
void reduce_extreme(const KernelArgs& args, int64_t mask, bool keepdim) {
  reduce(args.in[0], args.out, mask, keepdim, reduce_fns_of<ExtremeReducer<T, kMax, Map>>, {});
}

template <class O, CountAs kAs>
void reduce_count(const KernelArgs& args) {
  const auto& a = args.attrs<ReduceAttrs>();
  dispatch_all(args.in[0].dtype, [&](auto tag) {
    using T = memory_type<typename decltype(tag)::type>;
    reduce(args.in[0], args.out, a.mask, a.keepdim, reduce_fns_of<CountReducer<T, O, kAs>>, {});
  });
}

}  // namespace

// out = Σ x: float types keep their dtype, integers and bool give int64.
void sum(const KernelArgs& args) {
  const auto& a = args.attrs<ReduceAttrs>();
  if (args.in[0].dtype == DType::kBool) return reduce_count<int64_t, CountAs::kCount>(args);
  dispatch_all(args.in[0].dtype, [&](auto tag) {
    using T = memory_type<typename decltype(tag)::type>;
    reduce_sum<T, MapIdentity>(args, a.mask, a.keepdim, {});
  });
}

// out = Σ x / n, float types.
void mean(const KernelArgs& args) {
  const auto& a = args.attrs<ReduceAttrs>();
  ReduceParams params;
  params.mean = true;
  dispatch_float(args.in[0].dtype, [&](auto tag) {
    reduce_sum<typename decltype(tag)::type, MapIdentity>(args, a.mask, a.keepdim, params);
  });
}

// Sum with NaN read as zero, float types.
void nansum(const KernelArgs& args) {
  const auto& a = args.attrs<ReduceAttrs>();
  dispatch_float(args.in[0].dtype, [&](auto tag) {
    reduce_sum<typename decltype(tag)::type, MapNanToZero>(args, a.mask, a.keepdim, {});
  });
}

void prod(const KernelArgs& args) {
  const auto& a = args.attrs<ReduceAttrs>();
  dispatch_all(args.in[0].dtype, [&](auto tag) {
    using T = memory_type<typename decltype(tag)::type>;
    using Out = typename choose_type<is_float_type<T>, T, int64_t>::type;
    reduce(args.in[0], args.out, a.mask, a.keepdim, reduce_fns_of<ProdReducer<T, Out>>, {});
  });
}

void amax(const KernelArgs& args) {
  const auto& a = args.attrs<ReduceAttrs>();
  dispatch_all(args.in[0].dtype, [&](auto tag) {
    reduce_extreme<memory_type<typename decltype(tag)::type>, true, MapIdentity>(args, a.mask, a.keepdim);
  });
}

void amin(const KernelArgs& args) {
  const auto& a = args.attrs<ReduceAttrs>();
  dispatch_all(args.in[0].dtype, [&](auto tag) {
    reduce_extreme<memory_type<typename decltype(tag)::type>, false, MapIdentity>(args, a.mask, a.keepdim);
  });
}

void count_nonzero(const KernelArgs& args) { reduce_count<int64_t, CountAs::kCount>(args); }
void any(const KernelArgs& args) { reduce_count<uint8_t, CountAs::kAny>(args); }
void all(const KernelArgs& args) { reduce_count<uint8_t, CountAs::kAll>(args); }

// Vector norm of order p over the reduced dimensions, float types.
void norm(const KernelArgs& args) {
  const auto& a = args.attrs<NormAttrs>();
  dispatch_float(args.in[0].dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    if (a.p == 2) {
      ReduceParams params;
      params.root = true;
      reduce_sum<T, MapSquare>(args, a.mask, a.keepdim, params);
    } else if (a.p == 1) {
      reduce_sum<T, MapAbs>(args, a.mask, a.keepdim, {});
    } else if (a.p == 0) {
      reduce(args.in[0], args.out, a.mask, a.keepdim, reduce_fns_of<CountReducer<T, T, CountAs::kCount>>, {});
    } else if (a.p == kInfinity) {
      reduce_extreme<T, true, MapAbs>(args, a.mask, a.keepdim);
    } else if (a.p == -kInfinity) {
      reduce_extreme<T, false, MapAbs>(args, a.mask, a.keepdim);
    } else {
      norm_general(args);
    }
  });
}

}  // namespace fireseed::cpu::FS_ISA

// Reductions: sum, mean, nansum, prod, extremes, any, all, count_nonzero, norm, argmax, var, logsumexp and friends.
#include "kernels/reduce.cuh"

#include "device/math.cuh"

namespace fireseed::cuda {
namespace {

enum Map { kSame, kNanToZero, kAbs, kSquare, kNonzero };

// Σ map(x), perhaps divided, perhaps a root of it. kPowers: Σ |x|^p and its p-th root, a reducer of its own for its
// size.
template <class C, bool kPowers = false>
struct SumReducer {
  static constexpr int kUnroll = kPowers ? 1 : 4;
  using State = C;
  __device__ __forceinline__ static C identity(const ReduceParams&) { return C(0); }
  __device__ __forceinline__ static void add(C& s, C x, int64_t, const ReduceParams& params) {
    if constexpr (kPowers) {
      x = pow(Num<C>(x < C(0) ? -x : x), Num<C>(params.p)).v;
    } else if constexpr (is_real<C>) {
      switch (params.map) {
        case kNanToZero: x = x != x ? C(0) : x; break;
        case kAbs: x = x < C(0) ? -x : x; break;
        case kSquare: x = x * x; break;
        case kNonzero: x = x != C(0) ? C(1) : C(0); break;
        default: break;
      }
    }
    s += x;
  }
  __device__ __forceinline__ static void merge(C& s, const C& later, const ReduceParams&) { s += later; }
  template <class Args>
  __device__ __forceinline__ static void finish(C s, const Args& args, int64_t output) {
    if constexpr (is_real<C>) {
      if (args.params.divide) s /= static_cast<C>(args.n);
      if constexpr (kPowers) s = pow(Num<C>(s), Num<C>(1.0 / args.params.p)).v;
      else if (args.params.root) s = sqrt(Num<C>(s)).v;
    }
    store_number(args.out0, output, args.out0_dtype, s);
  }
};

// How many are not zero; any (some) and all (as many as there are), by params.map.
enum CountAs { kCount, kAny, kAll };
template <class C>
struct CountReducer {
  static constexpr int kUnroll = 4;
  using State = int64_t;
  __device__ __forceinline__ static int64_t identity(const ReduceParams&) { return 0; }
  __device__ __forceinline__ static void add(int64_t& s, C x, int64_t, const ReduceParams&) { s += x != C(0); }
  __device__ __forceinline__ static void merge(int64_t& s, const int64_t& later, const ReduceParams&) { s += later; }
  template <class Args>
  __device__ __forceinline__ static void finish(int64_t s, const Args& args, int64_t output) {
    if (args.params.map == kAny) s = s > 0;
    if (args.params.map == kAll) s = s == args.n;
    store_number(args.out0, output, args.out0_dtype, s);
  }
};

template <class C>
struct ProdReducer {
  static constexpr int kUnroll = 2;
  using State = C;
  __device__ __forceinline__ static C identity(const ReduceParams&) { return C(1); }
  __device__ __forceinline__ static void add(C& s, C x, int64_t, const ReduceParams&) {
    s = (Num<C>(s) * Num<C>(x)).v;
  }
  __device__ __forceinline__ static void merge(C& s, const C& later, const ReduceParams&) {
    s = (Num<C>(s) * Num<C>(later)).v;
  }
  template <class Args>
  __device__ __forceinline__ static void finish(C s, const Args& args, int64_t output) {
    store_number(args.out0, output, args.out0_dtype, s);
  }
};

// The least number of C there is, or the greatest.
template <class C>
__device__ __forceinline__ C outermost(bool greatest) {
  if constexpr (is_real<C>) return greatest ? kInfinity<C> : -kInfinity<C>;
  else return greatest ? INT64_MAX : INT64_MIN;
}

// The largest or smallest x, or |x| (kAbs); NaN where one is.
template <class C>
struct ExtremeReducer {
  static constexpr int kUnroll = 4;
  using State = C;
  __device__ __forceinline__ static C identity(const ReduceParams& params) {
    return params.map == kAbs && params.largest ? C(0) : outermost<C>(!params.largest);
  }
  __device__ __forceinline__ static void add(C& s, C x, int64_t, const ReduceParams& params) {
    if (params.map == kAbs && x < C(0)) x = -x;
    merge(s, x, params);
  }
  __device__ __forceinline__ static void merge(C& s, const C& x, const ReduceParams& params) {
    const bool better = params.largest ? x > s : x < s;
    s = x != x || (s == s && better) ? x : s;
  }
  template <class Args>
  __device__ __forceinline__ static void finish(C s, const Args& args, int64_t output) {
    store_number(args.out0, output, args.out0_dtype, s);
  }
};

// Where the extreme is: the first of equals, the first NaN where there is one. out0 = index; where out1 is asked for,
// out0 = value, out1 = index.
template <class C>
struct ArgReducer {
  static constexpr int kUnroll = 2;
  struct State {
    C value;
    int64_t index;  // -1: nothing seen
  };
  __device__ __forceinline__ static State identity(const ReduceParams& params) {
    return {outermost<C>(!params.largest), -1};
  }
  __device__ __forceinline__ static void add(State& s, C x, int64_t index, const ReduceParams& params) {
    merge(s, State{x, index}, params);
  }
  __device__ __forceinline__ static void merge(State& s, const State& o, const ReduceParams& params) {
    if (o.index < 0) return;
    const bool s_nan = s.value != s.value, o_nan = o.value != o.value;
    const bool better = o_nan ? !s_nan : !s_nan && (params.largest ? o.value > s.value : o.value < s.value);
    const bool equal = o_nan ? s_nan : o.value == s.value;
    if (s.index < 0 || better || (equal && o.index < s.index)) s = o;
  }
  template <class Args>
  __device__ __forceinline__ static void finish(const State& s, const Args& args, int64_t output) {
    if (args.out1) store_number(args.out0, output, args.out0_dtype, s.value);
    static_cast<int64_t*>(args.out1 ? args.out1 : args.out0)[output] = s.index;
  }
};

// Mean and Σ (x - mean)² by Welford's step, joined as Chan, Golub and LeVeque (1979) do.
template <class C>
struct VarReducer {
  static constexpr int kUnroll = 2;
  struct State {
    C mean, square;
    int64_t n;
  };
  __device__ __forceinline__ static State identity(const ReduceParams&) { return {C(0), C(0), 0}; }
  __device__ __forceinline__ static void add(State& s, C x, int64_t, const ReduceParams&) {
    ++s.n;
    const C d = x - s.mean;
    s.mean += d / static_cast<C>(s.n);
    s.square += d * (x - s.mean);
  }
  __device__ __forceinline__ static void merge(State& s, const State& o, const ReduceParams&) {
    if (o.n == 0) return;
    if (s.n == 0) {
      s = o;
      return;
    }
    const int64_t n = s.n + o.n;
    const C d = o.mean - s.mean, share = static_cast<C>(o.n) / static_cast<C>(n);
    s.mean += d * share;
    s.square += o.square + d * d * share * static_cast<C>(s.n);
    s.n = n;
  }
  template <class Args>
  __device__ __forceinline__ static void finish(const State& s, const Args& args, int64_t output) {
    const double rest = static_cast<double>(args.n) - args.params.correction;
    C v = s.square / static_cast<C>(rest > 0 ? rest : 0.0);
    if (args.n == 0) v = C(0) / C(0);
    if (args.params.root) v = sqrt(Num<C>(v)).v;
    store_number(args.out0, output, args.out0_dtype, v);
    if (args.out1) store_number(args.out1, output, args.out1_dtype, args.n ? s.mean : C(0) / C(0));
  }
};

// log Σ exp(x) with the largest x taken out.
template <class C>
struct LogSumExpReducer {
  static constexpr int kUnroll = 1;
  struct State { C top, sum; };
  __device__ __forceinline__ static State identity(const ReduceParams&) { return {-kInfinity<C>, C(0)}; }
  __device__ __forceinline__ static void add(State& s, C x, int64_t, const ReduceParams& params) {
    merge(s, State{x, C(1)}, params);
  }
  __device__ __forceinline__ static void merge(State& s, const State& o, const ReduceParams&) {
    if (o.top == s.top) {
      s.sum += o.sum;
    } else if (o.top > s.top) {
      s.sum = o.sum + s.sum * exp(Num<C>(s.top - o.top)).v;
      s.top = o.top;
    } else {
      s.sum += o.sum * exp(Num<C>(o.top - s.top)).v;  // NaN too comes here
    }
  }
  template <class Args>
  __device__ __forceinline__ static void finish(const State& s, const Args& args, int64_t output) {
    store_number(args.out0, output, args.out0_dtype, s.top + log(Num<C>(s.sum)).v);
  }
};

void count(const KernelArgs& args, int64_t mask, CountAs as) {
  ReduceParams params;
  params.map = as;
  dispatch_compute(args.in[0].dtype,
                   [&](auto c) { reduce<CountReducer<decltype(c)>, decltype(c)>(args, mask, params); });
}
void sum_of(const KernelArgs& args, int64_t mask, const ReduceParams& params) {
  dispatch_compute(args.in[0].dtype,
                   [&](auto c) { reduce<SumReducer<decltype(c)>, decltype(c)>(args, mask, params); });
}
void extreme(const KernelArgs& args, int64_t mask, bool largest, Map map = kSame) {
  ReduceParams params;
  params.largest = largest;
  params.map = map;
  dispatch_compute(args.in[0].dtype,
                   [&](auto c) { reduce<ExtremeReducer<decltype(c)>, decltype(c)>(args, mask, params); });
}
void where_extreme(const KernelArgs& args, bool largest) {
  ReduceParams params;
  params.largest = largest;
  dispatch_compute(args.in[0].dtype, [&](auto c) {
    reduce<ArgReducer<decltype(c)>, decltype(c)>(args, args.attrs<ReduceAttrs>().mask, params);
  });
}
void spread(const KernelArgs& args, bool root) {
  const auto& a = args.attrs<VarAttrs>();
  ReduceParams params;
  params.correction = a.correction;
  params.root = root;
  dispatch_float_compute(args.in[0].dtype, "var",
                         [&](auto c) { reduce<VarReducer<decltype(c)>, decltype(c)>(args, a.mask, params); });
}

}  // namespace

void sum(const KernelArgs& args) {
  const int64_t mask = args.attrs<ReduceAttrs>().mask;
  if (args.in[0].dtype == DType::kBool) return count(args, mask, kCount);
  sum_of(args, mask, {});
}
void mean(const KernelArgs& args) {
  ReduceParams params;
  params.divide = true;
  sum_of(args, args.attrs<ReduceAttrs>().mask, params);
}
void nansum(const KernelArgs& args) {
  ReduceParams params;
  params.map = kNanToZero;
  sum_of(args, args.attrs<ReduceAttrs>().mask, params);
}
void prod(const KernelArgs& args) {
  dispatch_compute(args.in[0].dtype, [&](auto c) {
    reduce<ProdReducer<decltype(c)>, decltype(c)>(args, args.attrs<ReduceAttrs>().mask, {});
  });
}
void amax(const KernelArgs& args) { extreme(args, args.attrs<ReduceAttrs>().mask, true); }
void amin(const KernelArgs& args) { extreme(args, args.attrs<ReduceAttrs>().mask, false); }
void any(const KernelArgs& args) { count(args, args.attrs<ReduceAttrs>().mask, kAny); }
void all(const KernelArgs& args) { count(args, args.attrs<ReduceAttrs>().mask, kAll); }
void count_nonzero(const KernelArgs& args) { count(args, args.attrs<ReduceAttrs>().mask, kCount); }
void norm(const KernelArgs& args) {
  const auto& a = args.attrs<NormAttrs>();
  if (a.p == __builtin_inf() || a.p == -__builtin_inf()) return extreme(args, a.mask, a.p > 0, kAbs);
  ReduceParams params;
  params.p = a.p;
  if (a.p != 0 && a.p != 1 && a.p != 2)
    return dispatch_float_compute(args.in[0].dtype, "norm", [&](auto c) {
      reduce<SumReducer<decltype(c), true>, decltype(c)>(args, a.mask, params);
    });
  params.map = a.p == 0 ? kNonzero : a.p == 1 ? kAbs : kSquare;
  params.root = a.p == 2;
  sum_of(args, a.mask, params);
}
void argmax(const KernelArgs& args) { where_extreme(args, true); }
void argmin(const KernelArgs& args) { where_extreme(args, false); }
void max_dim(const KernelArgs& args) { where_extreme(args, true); }
void min_dim(const KernelArgs& args) { where_extreme(args, false); }
void var(const KernelArgs& args) { spread(args, false); }
void std(const KernelArgs& args) { spread(args, true); }
void var_mean(const KernelArgs& args) { spread(args, false); }
void std_mean(const KernelArgs& args) { spread(args, true); }
void logsumexp(const KernelArgs& args) {
  dispatch_float_compute(args.in[0].dtype, "logsumexp", [&](auto c) {
    reduce<LogSumExpReducer<decltype(c)>, decltype(c)>(args, args.attrs<ReduceAttrs>().mask, {});
  });
}

}  // namespace fireseed::cuda

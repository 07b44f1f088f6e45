// Operations over a list of tensors at once: global norm, scaling, clamping (gradient clipping).
#include "device/reduce.cuh"
#include "kernels/optim.cuh"

namespace fireseed::cuda {
namespace {

enum class Norm : int { kTwo, kOne, kLargest, kSmallest, kCount, kGeneral };

// What one element adds, and how two sums come together. `start` is the sum of nothing. kSquares: kind is kTwo, the
// norm that gradients are clipped by.
template <bool kSquares>
struct NormOp {
  Norm kind;
  template <class C>
  __device__ __forceinline__ C operator()(C a, C b) const {
    if (!kSquares && kind == Norm::kLargest) return MaxOp{}(a, b);
    if (!kSquares && kind == Norm::kSmallest) return MinOp{}(a, b);
    return a + b;
  }
  template <class C>
  __device__ __forceinline__ C with(C sum, C x, double order) const {
    if (kSquares) return sum + x * x;
    if (kind == Norm::kCount) return sum + (x == C(0) ? C(0) : C(1));
    const C size = x < C(0) ? -x : x;
    return (*this)(sum, kind == Norm::kGeneral ? static_cast<C>(::pow(static_cast<double>(size), order)) : size);
  }
  template <class C>
  __device__ __forceinline__ C start() const {
    return !kSquares && kind == Norm::kSmallest ? kInfinity<C> : C(0);
  }
};

// partial[block] of the norm's sum over a piece of a tensor. kCount: 1 for a piece, there a tensor, that is not zero.
template <bool kSquares, class M>
__global__ void __launch_bounds__(kListThreads)
    partial_norms(const __grid_constant__ TensorList<1> list, double* partial, NormOp<kSquares> op, double order,
                  const M memory) {
  using C = std::conditional_t<kSquares, typename M::Compute, double>;
  const int block = static_cast<int>(blockIdx.x), row = list.row_of(block);
  double total = op.template start<double>();
  C sum = op.template start<C>();
  int pending = 0;
  for_each_vector<M::kVec>(list, row, block - list.first[row], [&](int64_t i, int n, bool whole) {
    typename M::Compute x[M::kVec];
    memory.load(list.at[0][row], i, n, whole, x);
#pragma unroll
    for (int j = 0; j < M::kVec; ++j)
      if (j < n) sum = op.with(sum, static_cast<C>(x[j]), order);
    if (++pending == 64) {  // single precision for short runs only
      total = op(total, static_cast<double>(sum));
      sum = op.template start<C>();
      pending = 0;
    }
  });
  total = block_reduce<kListThreads>(op(total, static_cast<double>(sum)), op);
  if (threadIdx.x == 0) partial[block] = op.kind == Norm::kCount ? (total == 0 ? 0.0 : 1.0) : total;
}

__global__ void __launch_bounds__(kListThreads)
    join_norms(const double* partial, int64_t n, void* out, DType dtype, NormOp<false> op, double order) {
  double total = op.start<double>();
  for (int64_t i = threadIdx.x; i < n; i += kListThreads) total = op(total, partial[i]);
  total = block_reduce<kListThreads>(total, op);
  if (threadIdx.x != 0) return;
  if (op.kind == Norm::kTwo) total = ::sqrt(total);
  if (op.kind == Norm::kGeneral) total = ::pow(total, 1 / order);
  store_number(out, 0, dtype, total);
}

void run_norm(const KernelArgs& args, Norm kind, double order) {
  // The norm of norms is the norm of everything, but for order 0, where PyTorch counts the tensors that are not zero.
  const int64_t piece = kind == Norm::kCount ? int64_t{1} << 62 : kListPiece;
  int64_t pieces = 0;
  for (int i = 0; i < args.num_in; ++i)
    if (args.in[i].numel > 0) pieces += (args.in[i].numel - 1) / piece + 1;
  const Scratch partial(static_cast<size_t>(pieces + 1) * sizeof(double));
  for_each_list<1>(
      args.num_in, piece, 0, [&](int64_t i, const TensorView** c) { c[0] = args.in + i; },
      [&](auto memory, const auto& list, int blocks, int64_t before) {
        using M = decltype(memory);
        double* const sums = partial.ptr<double>() + before;
        if (kind == Norm::kTwo)
          FS_LAUNCH((partial_norms<true, M>), blocks, kListThreads, 0, current_stream(), list, sums,
                    NormOp<true>{kind}, order, memory);
        else
          FS_LAUNCH((partial_norms<false, M>), blocks, kListThreads, 0, current_stream(), list, sums,
                    NormOp<false>{kind}, order, memory);
      });
  FS_LAUNCH((join_norms), 1, kListThreads, 0, current_stream(), partial.ptr<double>(), pieces, args.out[0].data,
            args.out[0].dtype, NormOp<false>{kind}, order);
}

struct ScaleBy {
  const void* factor;
  bool wide;
  __device__ __forceinline__ double factor_value() const {
    return wide ? *static_cast<const double*>(factor) : static_cast<double>(*static_cast<const float*>(factor));
  }
  template <class C>
  struct On {
    C factor;
    __device__ __forceinline__ explicit On(const ScaleBy& s) : factor(static_cast<C>(s.factor_value())) {}
    __device__ __forceinline__ C operator()(C x) const { return x * factor; }
  };
};
struct ClampTo {
  double low, high;
  template <class C>
  struct On {
    C low, high;
    __device__ __forceinline__ explicit On(const ClampTo& c)
        : low(static_cast<C>(c.low)), high(static_cast<C>(c.high)) {}
    __device__ __forceinline__ C operator()(C x) const { return MinOp{}(MaxOp{}(x, low), high); }
  };
};

template <class F, class M>
__global__ void __launch_bounds__(kListThreads)
    change_list(const __grid_constant__ TensorList<1> list, const F f, const M memory) {
  const int block = static_cast<int>(blockIdx.x), row = list.row_of(block);
  const typename F::template On<typename M::Compute> on(f);
  for_each_vector<M::kVec>(list, row, block - list.first[row], [&](int64_t i, int n, bool whole) {
    typename M::Compute x[M::kVec];
    memory.load(list.at[0][row], i, n, whole, x);
#pragma unroll
    for (int j = 0; j < M::kVec; ++j) x[j] = on(x[j]);
    memory.store(list.at[0][row], i, n, whole, x);
  });
}

template <class F>
void change(const TensorView* tensors, int64_t n, const F& f) {
  for_each_list<1>(
      n, kListPiece, 1, [&](int64_t i, const TensorView** c) { c[0] = tensors + i; },
      [&](auto memory, const auto& list, int blocks, int64_t) {
        FS_LAUNCH((change_list<F, decltype(memory)>), blocks, kListThreads, 0, current_stream(), list, f, memory);
      });
}

}  // namespace

// foreach_norm(tensors…) -> out (0-dim, any float type): the vector norm of each tensor's vector norm, as
// clip_grad_norm_ defines it. Pieces and their order are fixed: the same bits every time.
void foreach_norm(const KernelArgs& args) {
  const double order = args.attrs<ForeachNormAttrs>().order;
  run_norm(args,
           order == 2                    ? Norm::kTwo
           : order == 1                  ? Norm::kOne
           : order == kInfinity<double>  ? Norm::kLargest
           : order == -kInfinity<double> ? Norm::kSmallest
           : order == 0                  ? Norm::kCount
                                         : Norm::kGeneral,
           order);
}

// foreach_scale(factor (0-dim float32 or float64), tensors…): every tensor times the factor, in place.
void foreach_scale(const KernelArgs& args) {
  change(args.in + 1, args.num_in - 1, ScaleBy{args.in[0].data, args.in[0].dtype == DType::kFloat64});
}

// foreach_clamp(tensors…): every tensor limited to [low, high], in place; NaN stays.
void foreach_clamp(const KernelArgs& args) {
  const auto& a = args.attrs<ForeachClampAttrs>();
  change(args.in, args.num_in, ClampTo{a.low, a.high});
}

}  // namespace fireseed::cuda

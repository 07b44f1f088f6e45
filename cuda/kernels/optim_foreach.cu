// Operations over a list of tensors at once: global norm, scaling, clamping (gradient clipping).
#include "device/memory.cuh"
#include "device/reduce.cuh"
#include "kernels/optim.cuh"

namespace fireseed::cuda {
namespace {

enum class Norm : int { kTwo, kOne, kLargest, kSmallest, kCount, kGeneral };

// What one element adds, and how two sums come together. `start` is the sum of nothing.
template <Norm kKind>
struct NormOp {
  template <class C>
  __device__ __forceinline__ C operator()(C a, C b) const {
    if constexpr (kKind == Norm::kLargest) return MaxOp{}(a, b);
    else if constexpr (kKind == Norm::kSmallest) return MinOp{}(a, b);
    else return a + b;
  }
  template <class C>
  __device__ __forceinline__ C with(C sum, C x, double order) const {
    if constexpr (kKind == Norm::kTwo) return sum + x * x;
    else if constexpr (kKind == Norm::kCount) return sum + (x == C(0) ? C(0) : C(1));
    else if constexpr (kKind == Norm::kGeneral) return sum + ::pow(static_cast<double>(x < C(0) ? -x : x), order);
    else return (*this)(sum, x < C(0) ? -x : x);
  }
  template <class C>
  __device__ __forceinline__ static C start() {
    return kKind == Norm::kSmallest ? kInfinity<C> : C(0);
  }
};

// partial[block] of the norm's sum over a piece of a tensor. kCount: 1 for a piece, there a tensor, that is not zero.
template <Norm kKind, class T>
__global__ void __launch_bounds__(kListThreads)
    partial_norms(const __grid_constant__ TensorList<1> list, double* partial, double order) {
  using C = std::conditional_t<kKind == Norm::kGeneral, double, compute_type<T>>;
  constexpr NormOp<kKind> op;
  const int block = static_cast<int>(blockIdx.x), row = list.row_of(block);
  const T* const x = static_cast<const T*>(list.at[0][row]);
  double total = NormOp<kKind>::template start<double>();
  C sum = NormOp<kKind>::template start<C>();
  int pending = 0;
  for_each_vector<T>(list, row, block - list.first[row], [&](auto count, int64_t i) {
    const auto v = Vec<T, decltype(count)::value>::load(x + i);
#pragma unroll
    for (int j = 0; j < decltype(count)::value; ++j)
      sum = op.with(sum, static_cast<C>(load_as<compute_type<T>>(v.v[j])), order);
    if (++pending == 64) {  // single precision for short runs only
      total = op(total, static_cast<double>(sum));
      sum = NormOp<kKind>::template start<C>();
      pending = 0;
    }
  });
  total = block_reduce<kListThreads>(op(total, static_cast<double>(sum)), op);
  if (threadIdx.x == 0) partial[block] = kKind == Norm::kCount ? (total == 0 ? 0.0 : 1.0) : total;
}

template <Norm kKind>
__global__ void __launch_bounds__(kListThreads)
    join_norms(const double* partial, int64_t n, void* out, DType dtype, double order) {
  constexpr NormOp<kKind> op;
  double total = NormOp<kKind>::template start<double>();
  for (int64_t i = threadIdx.x; i < n; i += kListThreads) total = op(total, partial[i]);
  total = block_reduce<kListThreads>(total, op);
  if (threadIdx.x != 0) return;
  if constexpr (kKind == Norm::kTwo) total = ::sqrt(total);
  if constexpr (kKind == Norm::kGeneral) total = ::pow(total, 1 / order);
  store_number(out, 0, dtype, total);
}

template <Norm kKind>
void run_norm(const KernelArgs& args, double order) {
  // The norm of norms is the norm of everything, but for order 0, where PyTorch counts the tensors that are not zero.
  const int64_t piece = kKind == Norm::kCount ? int64_t{1} << 62 : kListPiece;
  int64_t pieces = 0;
  for (int i = 0; i < args.num_in; ++i)
    if (args.in[i].numel > 0) pieces += (args.in[i].numel - 1) / piece + 1;
  const Scratch partial(static_cast<size_t>(pieces + 1) * sizeof(double));
  for_each_list<1>(
      args.num_in, piece, 0, [&](int64_t i, const TensorView** c) { c[0] = args.in + i; },
      [&](auto tag, const auto& list, int blocks, int64_t before) {
        using T = typename decltype(tag)::type;
        FS_LAUNCH((partial_norms<kKind, T>), blocks, kListThreads, 0, current_stream(), list,
                  partial.ptr<double>() + before, order);
      });
  FS_LAUNCH((join_norms<kKind>), 1, kListThreads, 0, current_stream(), partial.ptr<double>(), pieces,
            args.out[0].data, args.out[0].dtype, order);
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

template <class F, class T>
__global__ void __launch_bounds__(kListThreads) change_list(const __grid_constant__ TensorList<1> list, const F f) {
  using C = compute_type<T>;
  const int block = static_cast<int>(blockIdx.x), row = list.row_of(block);
  T* const x = static_cast<T*>(list.at[0][row]);
  const typename F::template On<C> on(f);
  for_each_vector<T>(list, row, block - list.first[row], [&](auto count, int64_t i) {
    auto v = Vec<T, decltype(count)::value>::load(x + i);
#pragma unroll
    for (int j = 0; j < decltype(count)::value; ++j) v.v[j] = store_as<T>(on(load_as<C>(v.v[j])));
    v.store(x + i);
  });
}

template <class F>
void change(const TensorView* tensors, int64_t n, const F& f) {
  for_each_list<1>(
      n, kListPiece, 1, [&](int64_t i, const TensorView** c) { c[0] = tensors + i; },
      [&](auto tag, const auto& list, int blocks, int64_t) {
        using T = typename decltype(tag)::type;
        FS_LAUNCH((change_list<F, T>), blocks, kListThreads, 0, current_stream(), list, f);
      });
}

}  // namespace

// foreach_norm(tensors…) -> out (0-dim, any float type): the vector norm of each tensor's vector norm, as
// clip_grad_norm_ defines it. Pieces and their order are fixed: the same bits every time.
void foreach_norm(const KernelArgs& args) {
  const double order = args.attrs<ForeachNormAttrs>().order;
  if (order == 2) run_norm<Norm::kTwo>(args, order);
  else if (order == 1) run_norm<Norm::kOne>(args, order);
  else if (order == kInfinity<double>) run_norm<Norm::kLargest>(args, order);
  else if (order == -kInfinity<double>) run_norm<Norm::kSmallest>(args, order);
  else if (order == 0) run_norm<Norm::kCount>(args, order);
  else run_norm<Norm::kGeneral>(args, order);
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

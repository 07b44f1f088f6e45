// Pointwise kernels made from the functors of math/: broadcasting, strides, vectors of 16 bytes, halves.
#pragma once

#include "device/index.cuh"
#include "device/math.cuh"
#include "device/vec.cuh"
#include "math/functor_traits.h"
#include "runtime/stream.h"

namespace fireseed::cuda {

// Note [Pointwise kernels]
// Two kinds of kernels share the work, so that 200 formulas stay small as machine code for five architectures.
// Formulas of the hot path (kInVectors) have kernels of their own, for float and for 16-bit storage, which move
// vectors of 16 bytes: all operands lie alike, with an innermost step of 1 or one value for a row. Everything else
// goes through one kernel a file (group of ops.def) and arithmetic type (float, double, int64), which picks the
// formula by number at run time and takes any strides, element by element. Integers of fewer bits wrap around when
// they are stored, so int64 serves all of them.

// ---- the calls of a functor --------------------------------------------------------------------------------

struct ForwardCall1 {
  template <class F> static constexpr int kInputs = 1;
  template <class F, class V>
  FS_FN static auto apply(const F& f, const V* v) {
    return f.forward(v[0]);
  }
};
struct ForwardCall2 {
  template <class F> static constexpr int kInputs = 2;
  template <class F, class V>
  FS_FN static auto apply(const F& f, const V* v) {
    return f.forward(v[0], v[1]);
  }
};
struct ForwardCall3 {
  template <class F> static constexpr int kInputs = 3;
  template <class F, class V>
  FS_FN static auto apply(const F& f, const V* v) {
    return f.forward(v[0], v[1], v[2]);
  }
};
// v = g and those of input and output that F saves.
struct GradCall1 {
  template <class F>
  static constexpr int kInputs = 1 + ((F::kSaves & kSave0) ? 1 : 0) + ((F::kSaves & kSaveOut) ? 1 : 0);
  template <class F, class V>
  FS_FN static V apply(const F& f, const V* v) {
    constexpr int kOut = (F::kSaves & kSave0) ? 2 : 1;
    return f.grad(v[0], v[(F::kSaves & kSave0) ? 1 : 0], v[(F::kSaves & kSaveOut) ? kOut : 0]);
  }
};
// v = g, x, y of a two-input functor whose gradients do not read the output.
struct GradXCall {
  template <class F> static constexpr int kInputs = 3;
  template <class F, class V>
  FS_FN static V apply(const F& f, const V* v) {
    return f.grad_x(v[0], v[1], v[2], v[0]);
  }
};

// ---- how operands lie in memory ----------------------------------------------------------------------------

inline constexpr int kMostInputs = 3, kMostOperands = kMostInputs + 1;

// All operands are T, arithmetic too.
template <class T>
struct PlainMemory {
  using Unit = T;
  using Compute = T;
  __device__ __forceinline__ T widen(T x) const { return x; }
  __device__ __forceinline__ T narrow(T x) const { return x; }
  __device__ __forceinline__ T load(const void* p, int32_t i, int) const { return static_cast<const T*>(p)[i]; }
  __device__ __forceinline__ void store(void* p, int32_t i, T x) const { static_cast<T*>(p)[i] = x; }
};
// All operands are of one 16-bit type.
struct HalfMemory {
  using Unit = uint16_t;
  using Compute = float;
  bool bfloat;
  __device__ __forceinline__ float widen(uint16_t x) const {
    return bfloat ? __uint_as_float(static_cast<uint32_t>(x) << 16) : half_to_float(half_bits<float16>(x));
  }
  __device__ __forceinline__ uint16_t narrow(float x) const {
    return bfloat ? float_to_bfloat(x).bits : float_to_half(x).bits;
  }
};
// Each operand is any float type but double.
struct AnyFloatMemory {
  using Compute = float;
  uint8_t dtype[kMostOperands];  // DType; 0: the output
  __device__ __forceinline__ float load(const void* p, int32_t i, int k) const {
    if (dtype[k] == static_cast<uint8_t>(DType::kFloat32)) return static_cast<const float*>(p)[i];
    const uint16_t bits = static_cast<const uint16_t*>(p)[i];
    return HalfMemory{dtype[k] == static_cast<uint8_t>(DType::kBFloat16)}.widen(bits);
  }
  __device__ __forceinline__ void store(void* p, int32_t i, float x) const {
    if (dtype[0] == static_cast<uint8_t>(DType::kFloat32)) static_cast<float*>(p)[i] = x;
    else static_cast<uint16_t*>(p)[i] = HalfMemory{dtype[0] == static_cast<uint8_t>(DType::kBFloat16)}.narrow(x);
  }
};
// Each operand is any integer type, or bool.
struct AnyIntMemory {
  using Compute = int64_t;
  uint8_t dtype[kMostOperands];
  __device__ __forceinline__ int64_t load(const void* p, int32_t i, int k) const {
    switch (static_cast<DType>(dtype[k])) {
      case DType::kInt64: return static_cast<const int64_t*>(p)[i];
      case DType::kInt32: return static_cast<const int32_t*>(p)[i];
      case DType::kInt16: return static_cast<const int16_t*>(p)[i];
      case DType::kInt8: return static_cast<const int8_t*>(p)[i];
      default: return static_cast<const uint8_t*>(p)[i];
    }
  }
  __device__ __forceinline__ void store(void* p, int32_t i, int64_t x) const {
    switch (static_cast<DType>(dtype[0])) {
      case DType::kInt64: static_cast<int64_t*>(p)[i] = x; return;
      case DType::kInt32: static_cast<int32_t*>(p)[i] = static_cast<int32_t>(x); return;
      case DType::kInt16: static_cast<int16_t*>(p)[i] = static_cast<int16_t>(x); return;
      case DType::kBool: static_cast<uint8_t*>(p)[i] = x != 0; return;
      default: static_cast<uint8_t*>(p)[i] = static_cast<uint8_t>(x); return;
    }
  }
};

// ---- what is hot -------------------------------------------------------------------------------------------

// Formulas with vector kernels of their own (1: for float, 2: for the halves too), and how many vectors a thread has
// under way.
template <class F> inline constexpr int kInVectors = 0;
template <class F> inline constexpr int kVectorUnroll = 1;
#define FS_HOT(F, types, unroll)                          \
  template <> inline constexpr int kInVectors<F> = types; \
  template <> inline constexpr int kVectorUnroll<F> = unroll;
FS_HOT(Relu, 2, 2)
FS_HOT(Neg, 2, 2)
FS_HOT(Add, 2, 2)
FS_HOT(Sub, 2, 2)
FS_HOT(Mul, 2, 2)
FS_HOT(AddScalar, 2, 2)
FS_HOT(MulScalar, 2, 2)
FS_HOT(Sigmoid, 2, 1)
FS_HOT(Tanh, 2, 1)
FS_HOT(Gelu, 2, 1)
FS_HOT(GeluTanh, 2, 1)
FS_HOT(Silu, 2, 1)
FS_HOT(Exp, 2, 1)
FS_HOT(Square, 2, 1)
FS_HOT(Div, 2, 1)
FS_HOT(DivScalar, 2, 1)
FS_HOT(LeakyRelu, 1, 2)
FS_HOT(Hardtanh, 1, 2)
FS_HOT(Abs, 1, 2)
FS_HOT(Clamp, 1, 2)
FS_HOT(RsubScalar, 1, 2)
FS_HOT(Elu, 1, 1)
FS_HOT(Mish, 1, 1)
FS_HOT(Hardswish, 1, 1)
FS_HOT(Softplus, 1, 1)
FS_HOT(Sqrt, 1, 1)
FS_HOT(Rsqrt, 1, 1)
FS_HOT(Reciprocal, 1, 1)
FS_HOT(Log, 1, 1)
FS_HOT(Sin, 1, 1)
FS_HOT(Cos, 1, 1)
FS_HOT(Maximum, 1, 1)
FS_HOT(Minimum, 1, 1)
FS_HOT(Addcmul, 1, 1)
FS_HOT(Lerp, 1, 1)
FS_HOT(LerpScalar, 1, 1)
FS_HOT(Eq, 1, 1)
FS_HOT(Ne, 1, 1)
FS_HOT(Lt, 1, 1)
FS_HOT(Le, 1, 1)
FS_HOT(Gt, 1, 1)
FS_HOT(Ge, 1, 1)
FS_HOT(MseLoss, 1, 1)
FS_HOT(L1Loss, 1, 1)
FS_HOT(SmoothL1Loss, 1, 1)
FS_HOT(BceWithLogitsLoss, 1, 1)
#undef FS_HOT

// ---- kernels -----------------------------------------------------------------------------------------------

inline constexpr int kPointwiseThreads = 256;

template <int kIn>
struct PointwiseArgs {
  void* out;
  const void* in[kIn];
  StridedIndex<kIn + 1, int32_t> index;
  int32_t n;            // elements, or vectors
  int32_t tail;         // elements behind the last vector
  bool row_value[kIn];  // the operand is one value along the innermost dimension
};

// The result of a functor is a number or, for tests and comparisons, a mask that is stored as bool.
template <class R>
inline constexpr bool kIsMask = false;
template <class T>
inline constexpr bool kIsMask<NumMask<T>> = true;

// Compiles to (pointwise_activation.cu): no spills, LDG.E.128, STG.E.128
template <class Call, class F, int kIn, class Memory, int kVec>
static __global__ void __launch_bounds__(kPointwiseThreads)
    pointwise_vectors(const F f, const Memory memory, const __grid_constant__ PointwiseArgs<kIn> args) {
  using C = typename Memory::Compute;
  using Unit = typename Memory::Unit;
  using Result = decltype(Call::apply(f, static_cast<const Num<C>*>(nullptr)));
  using OutUnit = std::conditional_t<kIsMask<Result>, uint8_t, Unit>;
  constexpr int kUnroll = kVectorUnroll<F>;
  const int32_t first = static_cast<int32_t>(blockIdx.x * (kUnroll * kPointwiseThreads) + threadIdx.x);
  Vec<Unit, kVec> x[kUnroll][kIn];
  int32_t to[kUnroll] = {};
#pragma unroll
  for (int u = 0; u < kUnroll; ++u) {
    const int32_t i = first + u * kPointwiseThreads;
    const bool last = i == args.n && args.tail > 0;  // a part of a vector, only where all lies flat
    if (i >= args.n && !last) continue;
    int32_t offset[kIn + 1];
    args.index.offsets(i, offset);
    to[u] = offset[0];
#pragma unroll
    for (int k = 0; k < kIn; ++k) {
      const Unit* p = static_cast<const Unit*>(args.in[k]) + offset[k + 1];
      if (args.row_value[k]) {
        const Unit value = *p;
#pragma unroll
        for (int j = 0; j < kVec; ++j) x[u][k].v[j] = value;
      } else if (last) {
#pragma unroll
        for (int j = 0; j < kVec; ++j) x[u][k].v[j] = p[j < args.tail ? j : 0];
      } else {
        x[u][k] = Vec<Unit, kVec>::load_global(p);
      }
    }
  }
#pragma unroll
  for (int u = 0; u < kUnroll; ++u) {
    const int32_t i = first + u * kPointwiseThreads;
    const bool last = i == args.n && args.tail > 0;
    if (i >= args.n && !last) continue;
    Vec<OutUnit, kVec> y;
#pragma unroll
    for (int j = 0; j < kVec; ++j) {
      Num<C> v[kIn];
#pragma unroll
      for (int k = 0; k < kIn; ++k) v[k] = Num<C>(memory.widen(x[u][k].v[j]));
      const Result r = Call::apply(f, static_cast<const Num<C>*>(v));
      if constexpr (kIsMask<Result>) y.v[j] = static_cast<OutUnit>(r.m);
      else y.v[j] = memory.narrow(r.v);
    }
    OutUnit* out = static_cast<OutUnit*>(args.out) + to[u];
    if (last) {
#pragma unroll
      for (int j = 0; j < kVec; ++j)
        if (j < args.tail) out[j] = y.v[j];
    } else {
      y.store_global(out);
    }
  }
}

// A formula of a list: Call says how functor F is used.
template <class Call_, class F_>
struct Item {
  using Call = Call_;
  using F = F_;
  static constexpr int kInputs = Call::template kInputs<F>;
};
template <class... Items>
struct ItemList {
  static constexpr int kSize = sizeof...(Items);
};
template <class... Items, class... More>
ItemList<Items..., More...> operator+(ItemList<Items...>, ItemList<More...>);

template <int kAt, class First, class... Rest>
struct ItemAt : ItemAt<kAt - 1, Rest...> {};
template <class First, class... Rest>
struct ItemAt<0, First, Rest...> {
  using type = First;
};
template <int kAt, class... Items>
typename ItemAt<kAt, Items...>::type item_at(ItemList<Items...>);
template <class Wanted, class... Items>
constexpr int index_of(ItemList<Items...>) {
  int i = 0;
  (void)((std::is_same_v<Wanted, Items> ? true : (++i, false)) || ...);
  return i;
}

// The functor's parameters, whatever it is.
struct FunctorBytes {
  double parameter[3];
  template <class F>
  __device__ __forceinline__ F get() const {
    if constexpr (std::is_empty_v<F>) {
      return F{};
    } else {
      static_assert(sizeof(F) <= sizeof(parameter));
      F f;
      memcpy(static_cast<void*>(&f), parameter, sizeof f);
      return f;
    }
  }
};

// sink(result) of formula number `item` of List at v.
template <class List, int kLow, int kHigh, class C, class Sink>
__device__ __forceinline__ void call_item(int item, const FunctorBytes& bytes, const Num<C>* v, const Sink& sink) {
  if constexpr (kHigh - kLow == 1) {
    using I = decltype(item_at<kLow>(List{}));
    if constexpr (is_real<C> || kOnIntegers<typename I::F>) sink(I::Call::apply(bytes.get<typename I::F>(), v));
  } else {
    constexpr int kMiddle = (kLow + kHigh) / 2;
    if (item < kMiddle) call_item<List, kLow, kMiddle>(item, bytes, v, sink);
    else call_item<List, kMiddle, kHigh>(item, bytes, v, sink);
  }
}

// Loads of kUnroll elements are under way at once; they wait in shared memory, each thread using its own, so that the
// code of the formulas stands here once.
template <class List, class Memory>
static __global__ void __launch_bounds__(kPointwiseThreads)
    pointwise_elements(const int item, const int num_in, const FunctorBytes bytes, const Memory memory,
                       const __grid_constant__ PointwiseArgs<kMostInputs> args) {
  using C = typename Memory::Compute;
  constexpr int kUnroll = 4;
  FS_SHARED(C, waiting, [kUnroll][kMostInputs][kPointwiseThreads]);
  const int thread = static_cast<int>(threadIdx.x);
  const int32_t first = static_cast<int32_t>(blockIdx.x * (kUnroll * kPointwiseThreads) + threadIdx.x);
#pragma unroll
  for (int u = 0; u < kUnroll; ++u) {
    const int32_t i = first + u * kPointwiseThreads;
    if (i >= args.n) break;
    int32_t offset[kMostInputs + 1];
    args.index.offsets(i, offset);
#pragma unroll
    for (int k = 0; k < kMostInputs; ++k)
      if (k < num_in) waiting[u][k][thread] = memory.load(args.in[k], offset[k + 1], k + 1);
  }
#pragma unroll 1
  for (int u = 0; u < kUnroll; ++u) {
    const int32_t i = first + u * kPointwiseThreads;
    if (i >= args.n) break;
    Num<C> v[kMostInputs];
#pragma unroll
    for (int k = 0; k < kMostInputs; ++k) v[k] = Num<C>(k < num_in ? waiting[u][k][thread] : C(0));
    int32_t offset[kMostInputs + 1];
    args.index.offsets(i, offset);
    call_item<List, 0, List::kSize>(item, bytes, v, [&](auto r) {
      if constexpr (kIsMask<decltype(r)>) static_cast<uint8_t*>(args.out)[offset[0]] = r.m;
      else memory.store(args.out, offset[0], r.v);
    });
  }
}

// ---- launches ----------------------------------------------------------------------------------------------

// An attribute-less functor needs no attrs.
template <class F>
F functor_of(const void* attrs) {
  if constexpr (std::is_empty_v<F>) return F{};
  else return *static_cast<const F*>(attrs);
}

// The output and the inputs; kIn may exceed the number of inputs (then the output stands for them).
template <int kIn>
Geometry<kIn + 1> geometry_of(const KernelArgs& args) {
  const TensorView* views[kIn + 1];
  views[0] = &args.out[0];
  for (int k = 0; k < kIn; ++k) views[k + 1] = k < args.num_in ? &args.in[k] : &args.out[0];
  return Geometry<kIn + 1>(views);
}
template <int kIn>
void operand_bytes(const KernelArgs& args, int64_t (&bytes)[kIn + 1]) {
  for (int k = 0; k <= kIn; ++k)
    bytes[k] = static_cast<int64_t>(dtype_size(k > 0 && k <= args.num_in ? args.in[k - 1].dtype : args.out[0].dtype));
}

// All operands can be walked in vectors.
template <int kOperands>
bool in_vectors(const Geometry<kOperands>& g, int vec, const int64_t (&bytes)[kOperands]) {
  if (g.ndim() == 0 || (g.ndim() > 1 && g.size(0) % vec != 0)) return false;
  for (int k = 0; k < kOperands; ++k) {
    if (k > 0 && g.stride(k, 0) == 0) continue;
    if (g.stride(k, 0) != 1 || !aligned_for(g.data(k), static_cast<size_t>(vec * bytes[k]))) return false;
    for (int i = 1; i < g.ndim(); ++i)
      if (g.stride(k, i) % vec != 0) return false;
  }
  return true;
}

template <int kIn>
PointwiseArgs<kIn> pointwise_args(const Geometry<kIn + 1>& g, int vec) {
  PointwiseArgs<kIn> a;
  a.out = g.data(0);
  for (int k = 0; k < kIn; ++k) {
    a.in[k] = g.data(k + 1);
    a.row_value[k] = g.ndim() == 0 || g.stride(k + 1, 0) == 0;
  }
  a.index = g.template index<int32_t>(vec);
  a.n = static_cast<int32_t>(g.numel() / vec);
  a.tail = static_cast<int32_t>(g.numel() % vec);
  return a;
}

template <class List, class Call, class F, class Memory>
void launch_elements(const KernelArgs& args, const Memory& memory) {
  constexpr int kItem = index_of<Item<Call, F>>(List{});
  static_assert(kItem < List::kSize, "the formula is not in this file's list");
  FunctorBytes bytes{};
  if constexpr (!std::is_empty_v<F>) memcpy(bytes.parameter, args.attrs_ptr, sizeof(F));
  int64_t sizes[kMostOperands];
  operand_bytes<kMostInputs>(args, sizes);
  geometry_of<kMostInputs>(args).in_parts(sizes, [&](const Geometry<kMostOperands>& g) {
    FS_LAUNCH((pointwise_elements<List, Memory>), grid_for(g.numel(), 4 * kPointwiseThreads, INT32_MAX),
              kPointwiseThreads, 0, current_stream(), kItem, args.num_in, bytes, memory,
              pointwise_args<kMostInputs>(g, 1));
  });
}

// False where the operands do not lie in vectors.
template <class Call, class F, int kIn, class Memory>
bool launch_vectors(const KernelArgs& args, const F& f, const Memory& memory) {
  constexpr int kVec = kVecSize<typename Memory::Unit>;
  int64_t sizes[kIn + 1];
  operand_bytes<kIn>(args, sizes);
  const auto whole = geometry_of<kIn>(args);
  if (!in_vectors(whole, kVec, sizes)) return false;
  whole.in_parts(sizes, [&](const Geometry<kIn + 1>& g) {
    const auto a = pointwise_args<kIn>(g, kVec);
    FS_LAUNCH((pointwise_vectors<Call, F, kIn, Memory, kVec>),
              grid_for(a.n + (a.tail > 0), kVectorUnroll<F> * kPointwiseThreads, INT32_MAX), kPointwiseThreads, 0,
              current_stream(), f, memory, a);
  });
  return true;
}

template <class Memory>
Memory any_memory(const KernelArgs& args) {
  Memory m{};
  m.dtype[0] = static_cast<uint8_t>(args.out[0].dtype);
  for (int k = 0; k < args.num_in; ++k) m.dtype[k + 1] = static_cast<uint8_t>(args.in[k].dtype);
  return m;
}

// float32, float64 and, by conversion, the halves.
template <class List, class Call, class F>
void float_kernel(const KernelArgs& args) {
  const DType t = args.in[0].dtype;
  if (!is_floating(t))
    fail(ErrorKind::kRuntime, "not implemented for '", dtype_name(t), "', only for floats; convert with .float()");
  if (t == DType::kFloat64) return launch_elements<List, Call, F>(args, PlainMemory<double>{});
  if constexpr (kInVectors<F> > 0) {
    constexpr int kIn = Item<Call, F>::kInputs;
    bool same = args.out[0].dtype == t || args.out[0].dtype == DType::kBool;
    for (int k = 1; k < kIn; ++k) same &= args.in[k].dtype == t;
    F f{};
    if constexpr (!std::is_empty_v<F>) f = *static_cast<const F*>(args.attrs_ptr);
    if (same && t == DType::kFloat32 && launch_vectors<Call, F, kIn>(args, f, PlainMemory<float>{})) return;
    if constexpr (kInVectors<F> == 2) {
      if (same && is_half(t) && launch_vectors<Call, F, kIn>(args, f, HalfMemory{t == DType::kBFloat16})) return;
    }
  }
  launch_elements<List, Call, F>(args, any_memory<AnyFloatMemory>(args));
}
template <class List, class Call, class F>
void integer_kernel(const KernelArgs& args) {
  launch_elements<List, Call, F>(args, any_memory<AnyIntMemory>(args));
}
// By the dtype of the first input.
template <class List, class Call, class F>
void pointwise_kernel(const KernelArgs& args) {
  if constexpr (kOnIntegers<F>) {
    if (!is_floating(args.in[0].dtype)) return integer_kernel<List, Call, F>(args);
  }
  float_kernel<List, Call, F>(args);
}

}  // namespace fireseed::cuda

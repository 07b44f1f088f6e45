// Pointwise kernels made from the functors of math/: broadcasting, strides, vectors of 16 bytes, halves.
#pragma once

#include "device/float_memory.cuh"
#include "device/index.cuh"
#include "device/math.cuh"
#include "math/functor_traits.h"
#include "runtime/stream.h"

namespace fireseed::cuda {

// Note [Pointwise kernels]
// 200 formulas stay small as machine code for five architectures: one kernel a file (group of ops.def) and arithmetic
// type (float, double, int64) picks the formula by number at run time. Operands that lie alike, with an innermost
// step of 1 or one value for a row, are moved in vectors, others with any strides element by element. A thread's
// elements wait in shared memory, so that the code of a formula is there once. The formulas that models spend their
// time in (kInVectors) have kernels of their own besides, for float32 and the halves, which keep vectors in
// registers. Integers of fewer bits wrap around when they are stored, so int64 serves all of them.

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

// All operands are float64.
struct PlainDoubleMemory {
  using Compute = double;
  static constexpr bool kVectors = true;
  __device__ __forceinline__ void load(const void* p, int32_t i, int, double (&x)[4]) const {
    DoubleMemory{}.load(p, i, 2, true, x);
    DoubleMemory{}.load(p, i + 2, 2, true, x + 2);
  }
  __device__ __forceinline__ void store(void* p, int32_t i, const double (&x)[4]) const {
    DoubleMemory{}.store(p, i, 2, true, x);
    DoubleMemory{}.store(p, i + 2, 2, true, x + 2);
  }
  __device__ __forceinline__ double load(const void* p, int32_t i, int) const {
    return static_cast<const double*>(p)[i];
  }
  __device__ __forceinline__ void store(void* p, int32_t i, double x) const { static_cast<double*>(p)[i] = x; }
};
// Each operand is any float type but double.
struct AnyFloatMemory {
  using Compute = float;
  static constexpr bool kVectors = true;
  DType dtype[kMostOperands];  // 0: the output
  __device__ __forceinline__ float load(const void* p, int32_t i, int k) const {
    return load_number(p, i, dtype[k], float{});
  }
  __device__ __forceinline__ void store(void* p, int32_t i, float x) const {
    FloatMemory{dtype[0]}.store_one(p, i, x);
  }
  __device__ __forceinline__ void load(const void* p, int32_t i, int k, float (&x)[4]) const {
    FloatMemory{dtype[k]}.load(p, i, 4, true, x);
  }
  __device__ __forceinline__ void store(void* p, int32_t i, const float (&x)[4]) const {
    FloatMemory{dtype[0]}.store(p, i, 4, true, x);
  }
};
// Each operand is any integer type, or bool.
struct AnyIntMemory {
  using Compute = int64_t;
  static constexpr bool kVectors = false;
  DType dtype[kMostOperands];
  __device__ __forceinline__ int64_t load(const void* p, int32_t i, int k) const {
    return load_number(p, i, dtype[k], int64_t{});
  }
  __device__ __forceinline__ void store(void* p, int32_t i, int64_t x) const { store_number(p, i, dtype[0], x); }
};

// ---- what is hot -------------------------------------------------------------------------------------------

// Formulas with kernels of their own.
template <class F> inline constexpr bool kInVectors = false;
#define FS_HOT(F) template <> inline constexpr bool kInVectors<F> = true;
FS_HOT(Relu)
FS_HOT(Sigmoid)
FS_HOT(Tanh)
FS_HOT(Gelu)
FS_HOT(GeluTanh)
FS_HOT(Silu)
FS_HOT(Add)
FS_HOT(Sub)
FS_HOT(Mul)
FS_HOT(Div)
FS_HOT(AddScalar)
FS_HOT(MulScalar)
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

// A thread has one vector of float32 or halves, or, where all is flat, one of the elements behind the last vector.
//
// Compiles to (pointwise_activation.cu): no spills, LDG.E.128, STG.E.128
template <class Call, class F, int kIn>
static __global__ void __launch_bounds__(kPointwiseThreads)
    pointwise_vectors(const F f, const FloatMemory memory, const __grid_constant__ PointwiseArgs<kIn> args) {
  using V = Num<float>;
  constexpr int kVec = FloatMemory::kVec;
  constexpr bool kMask = kIsMask<decltype(Call::apply(f, static_cast<const V*>(nullptr)))>;
  const int32_t i = static_cast<int32_t>(blockIdx.x * kPointwiseThreads + threadIdx.x);
  int32_t offset[kIn + 1];
  if (i >= args.n) {
    const int32_t j = i - args.n;
    if (j >= args.tail) return;
    args.index.offsets(args.n, offset);
    V v[kIn];
#pragma unroll
    for (int k = 0; k < kIn; ++k)
      v[k] = V(load_number(args.in[k], offset[k + 1] + (args.row_value[k] ? 0 : j), memory.dtype, float{}));
    const auto r = Call::apply(f, static_cast<const V*>(v));
    if constexpr (kMask) static_cast<uint8_t*>(args.out)[offset[0] + j] = r.m;
    else memory.store_one(args.out, offset[0] + j, r.v);
    return;
  }
  args.index.offsets(i, offset);
  float x[kIn][kVec];
#pragma unroll
  for (int k = 0; k < kIn; ++k) {
    if (args.row_value[k]) {
      const float value = load_number(args.in[k], offset[k + 1], memory.dtype, float{});
#pragma unroll
      for (int j = 0; j < kVec; ++j) x[k][j] = value;
    } else {
      memory.load(args.in[k], offset[k + 1], kVec, true, x[k]);
    }
  }
  float y[kVec];
  Vec<uint8_t, kVec> mask;
#pragma unroll
  for (int j = 0; j < kVec; ++j) {
    V v[kIn];
#pragma unroll
    for (int k = 0; k < kIn; ++k) v[k] = V(x[k][j]);
    const auto r = Call::apply(f, static_cast<const V*>(v));
    if constexpr (kMask) mask.v[j] = r.m;
    else y[j] = r.v;
  }
  if constexpr (kMask) mask.store(static_cast<uint8_t*>(args.out) + offset[0]);
  else memory.store(args.out, offset[0], kVec, true, y);
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

inline constexpr int kElements = 4;
struct ElementwiseCall {
  int item, num_in;
  bool mask;     // the output is bool
  bool vectors;  // args counts vectors of kElements
  FunctorBytes bytes;
};

// The result of formula number `item` of List at v; a mask's as 0 or 1.
template <class List, int kLow, int kHigh, class C>
__device__ __forceinline__ C call_item(int item, const FunctorBytes& bytes, const Num<C>* v) {
  if constexpr (kHigh - kLow == 1) {
    using I = decltype(item_at<kLow>(List{}));
    if constexpr (is_real<C> || kOnIntegers<typename I::F>) {
      const auto r = I::Call::apply(bytes.get<typename I::F>(), v);
      if constexpr (kIsMask<std::remove_cvref_t<decltype(r)>>) return static_cast<C>(r.m);
      else return r.v;
    }
    return C(0);
  } else {
    constexpr int kMiddle = (kLow + kHigh) / 2;
    if (item < kMiddle) return call_item<List, kLow, kMiddle>(item, bytes, v);
    return call_item<List, kMiddle, kHigh>(item, bytes, v);
  }
}

// A thread has kElements: a vector of them (Vectors), or such as are a block's width apart. With vectors, the
// elements behind the last one have a thread each, where all lies flat.
template <class List, class Memory>
static __global__ void __launch_bounds__(kPointwiseThreads)
    pointwise_elements(const ElementwiseCall call, const Memory memory,
                       const __grid_constant__ PointwiseArgs<kMostInputs> args) {
  using C = typename Memory::Compute;
  FS_SHARED(C, waiting, [kElements][kMostInputs][kPointwiseThreads]);
  const int thread = static_cast<int>(threadIdx.x);
  const int32_t vector = static_cast<int32_t>(blockIdx.x * kPointwiseThreads) + thread;
  const bool in_vector = Memory::kVectors && call.vectors && vector < args.n;
  int32_t offset[kMostInputs + 1];
  // The offsets of the thread's element u; false where there is none.
  const auto place = [&](int u) {
    if (Memory::kVectors && call.vectors) {
      const int32_t behind = vector - args.n;
      args.index.offsets(behind < 0 ? vector : args.n, offset);
      if (behind < 0) return true;
      offset[0] += behind;
#pragma unroll
      for (int k = 0; k < kMostInputs; ++k) offset[k + 1] += args.row_value[k] ? 0 : behind;
      return u == 0 && behind < args.tail;
    }
    const int32_t i = static_cast<int32_t>((blockIdx.x * kElements + u) * kPointwiseThreads) + thread;
    args.index.offsets(i, offset);
    return i < args.n;
  };
  if constexpr (Memory::kVectors) {
    if (in_vector) {
      args.index.offsets(vector, offset);
#pragma unroll
      for (int k = 0; k < kMostInputs; ++k) {
        if (k >= call.num_in) break;
        C x[kElements];
        if (args.row_value[k]) x[0] = x[1] = x[2] = x[3] = memory.load(args.in[k], offset[k + 1], k + 1);
        else memory.load(args.in[k], offset[k + 1], k + 1, x);
#pragma unroll
        for (int u = 0; u < kElements; ++u) waiting[u][k][thread] = x[u];
      }
    }
  }
  if (!in_vector) {
#pragma unroll 1
    for (int u = 0; u < kElements; ++u) {
      if (!place(u)) break;
#pragma unroll
      for (int k = 0; k < kMostInputs; ++k)
        if (k < call.num_in) waiting[u][k][thread] = memory.load(args.in[k], offset[k + 1], k + 1);
    }
  }
#pragma unroll 1
  for (int u = 0; u < kElements; ++u) {
    if (!in_vector && !place(u)) break;
    Num<C> v[kMostInputs];
#pragma unroll
    for (int k = 0; k < kMostInputs; ++k) v[k] = Num<C>(k < call.num_in ? waiting[u][k][thread] : C(0));
    const C r = call_item<List, 0, List::kSize>(call.item, call.bytes, v);
    if (in_vector) waiting[u][0][thread] = r;
    else if (call.mask) static_cast<uint8_t*>(args.out)[offset[0]] = r != C(0);
    else memory.store(args.out, offset[0], r);
  }
  if constexpr (Memory::kVectors) {
    if (!in_vector) return;
    args.index.offsets(vector, offset);
    C y[kElements];
#pragma unroll
    for (int u = 0; u < kElements; ++u) y[u] = waiting[u][0][thread];
    if (call.mask) {
      Vec<uint8_t, kElements> mask;
#pragma unroll
      for (int u = 0; u < kElements; ++u) mask.v[u] = y[u] != C(0);
      mask.store(static_cast<uint8_t*>(args.out) + offset[0]);
    } else {
      memory.store(args.out, offset[0], y);
    }
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
  using C = typename Memory::Compute;
  ElementwiseCall call{};
  call.item = index_of<Item<Call, F>>(List{});
  static_assert(index_of<Item<Call, F>>(List{}) < List::kSize, "the formula is not in this file's list");
  if constexpr (!std::is_empty_v<F>) memcpy(call.bytes.parameter, args.attrs_ptr, sizeof(F));
  call.num_in = args.num_in;
  if constexpr (is_real<C> || kOnIntegers<F>)
    call.mask = kIsMask<decltype(Call::apply(std::declval<const F&>(), static_cast<const Num<C>*>(nullptr)))>;
  int64_t sizes[kMostOperands];
  operand_bytes<kMostInputs>(args, sizes);
  const auto whole = geometry_of<kMostInputs>(args);
  call.vectors = Memory::kVectors && in_vectors(whole, kElements, sizes);
  whole.in_parts(sizes, [&](const Geometry<kMostOperands>& g) {
    const auto a = pointwise_args<kMostInputs>(g, call.vectors ? kElements : 1);
    FS_LAUNCH(
        (pointwise_elements<List, Memory>),
        grid_for(call.vectors ? a.n + a.tail : a.n, (call.vectors ? 1 : kElements) * kPointwiseThreads, INT32_MAX),
        kPointwiseThreads, 0, current_stream(), call, memory, a);
  });
}

// False where the operands do not lie in vectors. All inputs are of dtype t, the output too or bool.
template <class Call, class F, int kIn>
bool launch_vectors(const KernelArgs& args, const F& f, DType t) {
  constexpr int kVec = FloatMemory::kVec;
  int64_t sizes[kIn + 1];
  operand_bytes<kIn>(args, sizes);
  const auto whole = geometry_of<kIn>(args);
  if (!in_vectors(whole, kVec, sizes)) return false;
  whole.in_parts(sizes, [&](const Geometry<kIn + 1>& g) {
    const auto a = pointwise_args<kIn>(g, kVec);
    FS_LAUNCH((pointwise_vectors<Call, F, kIn>), grid_for(a.n + a.tail, kPointwiseThreads, INT32_MAX),
              kPointwiseThreads, 0, current_stream(), f, FloatMemory{t}, a);
  });
  return true;
}

template <class Memory>
Memory any_memory(const KernelArgs& args) {
  Memory m{};
  m.dtype[0] = args.out[0].dtype;
  for (int k = 0; k < args.num_in; ++k) m.dtype[k + 1] = args.in[k].dtype;
  return m;
}

// float32, float64 and, by conversion, the halves.
template <class List, class Call, class F>
void float_kernel(const KernelArgs& args) {
  const DType t = args.in[0].dtype;
  if (!is_floating(t))
    fail(ErrorKind::kRuntime, "not implemented for '", dtype_name(t), "', only for floats; convert with .float()");
  if (t == DType::kFloat64) return launch_elements<List, Call, F>(args, PlainDoubleMemory{});
  if constexpr (kInVectors<F>) {
    constexpr int kIn = Item<Call, F>::kInputs;
    bool same = args.out[0].dtype == t || args.out[0].dtype == DType::kBool;
    for (int k = 1; k < kIn; ++k) same &= args.in[k].dtype == t;
    F f{};
    if constexpr (!std::is_empty_v<F>) f = *static_cast<const F*>(args.attrs_ptr);
    if (same && launch_vectors<Call, F, kIn>(args, f, t)) return;
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

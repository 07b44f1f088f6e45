// Core loops made from functors, and the kernels that pick one by dtype; see math/functor.h for the formulas.
#pragma once

#include "cpu/pointwise.h"
#include "math/functor_traits.h"

namespace fireseed::cpu::FS_ISA {

// ---- one loop for every formula ----------------------------------------------------------------------------

// An attribute-less functor needs no attrs.
template <class F>
FS_INLINE F functor_of(const void* attrs) {
  if constexpr (__is_empty(F)) return F{};
  else return *static_cast<const F*>(attrs);
}

template <bool kFirst, class A, class B> struct if_then { using type = A; };
template <class A, class B> struct if_then<false, A, B> { using type = B; };

// Call::apply(functor, v) computes one register from kIn registers v[0…]; its result is a Vec<T> or, for tests and
// comparisons, a mask (then the output is bool).
template <class T, int kIn, class Call, class F>
void pointwise_core(char* const* p, const int64_t* step, int64_t n, const void* attrs, bool stream) {
  using V = Vec<T>;
  constexpr int W = V::kSize;
  const F f = functor_of<F>(attrs);
  const T* in[kIn];
  int64_t move[kIn];
  for (int k = 0; k < kIn; ++k) {
    in[k] = reinterpret_cast<const T*>(p[k + 1]);
    move[k] = step[k + 1] * W;
  }
  constexpr bool kMask = !same_type<decltype(Call::apply(f, static_cast<const V*>(nullptr))), V>;
  using Out = typename if_then<kMask, uint8_t, T>::type;
  Out* out = reinterpret_cast<Out*>(p[0]);
  stream = stream && (reinterpret_cast<uintptr_t>(out) & (FS_VEC_BYTES - 1)) == 0;
  int64_t i = 0;
  for (; i + 2 * W <= n; i += 2 * W) {
    V a[kIn], b[kIn];
    for (int k = 0; k < kIn; ++k) {
      a[k] = V::load(in[k]);
      b[k] = V::load(in[k] + move[k]);
      in[k] += 2 * move[k];
    }
    const auto ra = Call::apply(f, static_cast<const V*>(a));
    const auto rb = Call::apply(f, static_cast<const V*>(b));
    if constexpr (kMask) {
      store_mask(out + i, ra);
      store_mask(out + i + W, rb);
    } else if (stream) {
      ra.stream(out + i);
      rb.stream(out + i + W);
    } else {
      ra.store(out + i);
      rb.store(out + i + W);
    }
  }
  while (i < n) {  // at most one whole register and a part of one
    const int count = static_cast<int>(n - i < W ? n - i : W);
    V a[kIn];
    for (int k = 0; k < kIn; ++k) {
      a[k] = V::load(in[k], count);
      in[k] += move[k];
    }
    const auto r = Call::apply(f, static_cast<const V*>(a));
    if constexpr (kMask) store_mask(out + i, r, count);
    else r.store(out + i, count);
    i += count;
  }
}

struct ForwardCall1 {
  template <class F, class V>
  FS_INLINE static auto apply(const F& f, const V* v) {
    return f.forward(v[0]);
  }
};
struct ForwardCall2 {
  template <class F, class V>
  FS_INLINE static auto apply(const F& f, const V* v) {
    return f.forward(v[0], v[1]);
  }
};
struct ForwardCall3 {
  template <class F, class V>
  FS_INLINE static auto apply(const F& f, const V* v) {
    return f.forward(v[0], v[1], v[2]);
  }
};
// v = g and those of input and output that F saves.
struct GradCall1 {
  template <class F>
  static constexpr int kInputs = 1 + ((F::kSaves & kSave0) ? 1 : 0) + ((F::kSaves & kSaveOut) ? 1 : 0);
  template <class F, class V>
  FS_INLINE static V apply(const F& f, const V* v) {
    constexpr int kOut = (F::kSaves & kSave0) ? 2 : 1;
    return f.grad(v[0], v[(F::kSaves & kSave0) ? 1 : 0], v[(F::kSaves & kSaveOut) ? kOut : 0]);
  }
};
// v = g, x, y of a two-input functor whose gradients do not read the output.
struct GradXCall {
  template <class F, class V>
  FS_INLINE static V apply(const F& f, const V* v) {
    return f.grad_x(v[0], v[1], v[2], v[0]);
  }
};

// ---- kernels -----------------------------------------------------------------------------------------------

// float32, float64 and, by conversion, the halves.
template <int kIn, class Call, class F>
void float_kernel(const KernelArgs& args, DType compute) {
  if (!is_floating(compute))
    fail(ErrorKind::kRuntime, "not implemented for '", dtype_name(compute),
         "', only for floats; convert with .float()");
  run_pointwise(
      args, compute == DType::kFloat64 ? &pointwise_core<double, kIn, Call, F> : &pointwise_core<float, kIn, Call, F>,
      args.attrs_ptr);
}
template <int kIn, class Call, class F>
void integer_kernel(const KernelArgs& args, DType compute) {
  PointwiseCore core = nullptr;
  switch (compute) {
    case DType::kInt64: core = &pointwise_core<int64_t, kIn, Call, F>; break;
    case DType::kInt32: core = &pointwise_core<int32_t, kIn, Call, F>; break;
    case DType::kInt16: core = &pointwise_core<int16_t, kIn, Call, F>; break;
    case DType::kInt8: core = &pointwise_core<int8_t, kIn, Call, F>; break;
    default: core = &pointwise_core<uint8_t, kIn, Call, F>; break;  // uint8 and bool
  }
  run_pointwise(args, core, args.attrs_ptr);
}
// By the dtype of the first input.
template <int kIn, class Call, class F>
void any_kernel(const KernelArgs& args) {
  const DType t = args.in[0].dtype;
  if (is_floating(t)) return float_kernel<kIn, Call, F>(args, t);
  integer_kernel<kIn, Call, F>(args, t);
}
template <int kIn, class Call, class F>
void pointwise_kernel(const KernelArgs& args) {
  if constexpr (kOnIntegers<F>) any_kernel<kIn, Call, F>(args);
  else float_kernel<kIn, Call, F>(args, args.in[0].dtype);
}
template <class F>
void unary_backward(const KernelArgs& args) {
  float_kernel<GradCall1::kInputs<F>, GradCall1, F>(args, args.in[0].dtype);
}

}  // namespace fireseed::cpu::FS_ISA

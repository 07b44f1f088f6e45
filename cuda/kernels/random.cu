// Random kernels: fills from one distribution, Bernoulli by element, dropout and its gradient.
#include "device/contiguous.cuh"
#include "device/memory.cuh"
#include "device/random.cuh"
#include "tensor/attrs/random.h"

namespace fireseed::cuda {
namespace {

// An output as contiguous memory: its own, or scratch memory that finish() copies into place.
class Target {
 public:
  explicit Target(const TensorView& v) : out_(v), flat_(v) {
    if (v.contiguous) return;
    strides_ = contiguous_strides(v.shape());
    memory_.emplace(static_cast<size_t>(v.numel) * dtype_size(v.dtype));
    flat_.data = memory_->ptr<void>();
    flat_.strides = strides_.d;
    flat_.contiguous = true;
  }
  Target(const Target&) = delete;
  Target& operator=(const Target&) = delete;
  template <class T>
  T* ptr() const {
    return flat_.ptr<T>();
  }
  void finish() const {
    if (memory_) move_view(out_, flat_);
  }

 private:
  const TensorView& out_;
  TensorView flat_;
  Dims strides_;
  std::optional<Scratch> memory_;
};

// ---- distributions -----------------------------------------------------------------------------------------
// bits<U>(words, dtype): an element of dtype as its bits, U. Kernels are compiled for sizes of elements, not for
// dtypes, as a draw is much code and the conversion little.

template <class C>
struct UniformDraw {
  static constexpr bool kLong = false;
  C from, to, rounded_to;  // `to` as the dtype has it
  template <class U>
  __device__ __forceinline__ U bits(const PhiloxWords& r, DType t) const {
    const U x = encode<U>(::fma(uniform_of(r, C{}), to - from, from), t);
    return decode_float<C>(x, t) == rounded_to ? encode<U>(from, t) : x;  // rounding up to `to` gives `from`
  }
};
template <class C, bool kLog>
struct NormalDraw {
  static constexpr bool kLong = sizeof(C) == 8;
  C mean, std;
  template <class U>
  __device__ __forceinline__ U bits(const PhiloxWords& r, DType t) const {
    const C x = ::fma(normal_of(r, C{}), std, mean);
    return encode<U>(kLog ? ::exp(x) : x, t);
  }
};
template <class C>
struct ExponentialDraw {
  static constexpr bool kLong = sizeof(C) == 8;
  C scale;
  template <class U>
  __device__ __forceinline__ U bits(const PhiloxWords& r, DType t) const {
    return encode<U>(exponential_of(r, C{}) * scale, t);
  }
};
struct CauchyDraw {
  static constexpr bool kLong = true;
  double median, sigma;
  template <class U>
  __device__ __forceinline__ U bits(const PhiloxWords& r, DType t) const {
    return encode<U>(median + sigma * ::tan(3.14159265358979323846 * (uniform_of(r, double{}) - 0.5)), t);
  }
};
struct GeometricDraw {
  static constexpr bool kLong = true;
  double log_q;
  template <class U>
  __device__ __forceinline__ U bits(const PhiloxWords& r, DType t) const {
    const double trials = ::ceil(::log(positive_of(r.w[0], r.w[1])) / log_q);
    return encode<U>(trials > 1 ? trials : 1.0, t);
  }
};
struct IntegerDraw {
  static constexpr bool kLong = true;
  uint64_t range, base;
  bool wide;
  template <class U>
  __device__ __forceinline__ U bits(const PhiloxWords& r, DType t) const {
    uint64_t v;
    if (!wide) v = r.w[0] % static_cast<uint32_t>(range);
    else {
      v = static_cast<uint64_t>(r.w[0]) << 32 | r.w[1];
      if (range != 0) v %= range;
    }
    return encode<U>(static_cast<int64_t>(v + base), t);
  }
};
struct BernoulliDraw {
  static constexpr bool kLong = false;
  uint64_t threshold;  // p * 2^53
  template <class U>
  __device__ __forceinline__ U bits(const PhiloxWords& r, DType t) const {
    return encode<U>(bits53(r.w[0], r.w[1]) < threshold ? 1.0f : 0.0f, t);
  }
};

// ---- kernels -----------------------------------------------------------------------------------------------

constexpr int kRandomThreads = 256;
// Elements a thread makes at once: few, as each is a hundred instructions, and one where it is a thousand.
template <class Draw, class U>
constexpr int kDrawn = Draw::kLong      ? 1
                       : sizeof(U) == 8 ? 2
                                        : 4;

template <class Draw, class U>
__global__ void __launch_bounds__(kRandomThreads)
    fill_random(U* out, int64_t n, int64_t vectors, DType dtype, const Draw draw, const PhiloxState state) {
  constexpr int kVec = kDrawn<Draw, U>;
  for (int64_t v = grid_thread(); v < vectors; v += grid_threads()) {
    Vec<U, kVec> x;
#pragma unroll
    for (int j = 0; j < kVec; ++j) x.v[j] = draw.template bits<U>(words_of(state, v * kVec + j), dtype);
    x.store(out + v * kVec);
  }
  for (int64_t i = vectors * kVec + grid_thread(); i < n; i += grid_threads())
    out[i] = draw.template bits<U>(words_of(state, i), dtype);
}

template <class U, class Draw>
void fill(const TensorView& out, Generator& generator, const Draw& draw) {
  const Target target(out);
  U* const data = target.template ptr<U>();
  const int64_t n = out.numel, vectors = aligned_for(data, 16) ? n / kDrawn<Draw, U> : 0;
  FS_LAUNCH((fill_random<Draw, U>), grid_for(vectors > 0 ? vectors : n, kRandomThreads, 1 << 16), kRandomThreads, 0,
            current_stream(), data, n, vectors, out.dtype, draw, philox_state(generator, static_cast<uint64_t>(n)));
  target.finish();
}
// Of any dtype.
template <class Draw>
void fill_any(const TensorView& out, Generator& generator, const Draw& draw) {
  dispatch_unit(out.dtype, [&](auto unit) { fill<decltype(unit)>(out, generator, draw); });
}

template <class U, class C>
__global__ void __launch_bounds__(kRandomThreads)
    below_probability(const void* p, DType p_dtype, U* out, DType dtype, int64_t n, const PhiloxState state) {
  const U one = encode<U>(C(1), dtype);
  for (int64_t i = grid_thread(); i < n; i += grid_threads())
    out[i] = uniform_of(words_of(state, i), C{}) < load_number(p, i, p_dtype, C{}) ? one : U(0);
}

template <class T>
__global__ void __launch_bounds__(kRandomThreads)
    dropout_elements(const T* x, T* y, uint8_t* mask, int64_t n, uint64_t threshold, compute_type<T> scale,
                     const PhiloxState state) {
  using C = compute_type<T>;
  for (int64_t i = grid_thread(); i < n; i += grid_threads()) {
    const PhiloxWords r = words_of(state, i);
    const bool keep = bits53(r.w[0], r.w[1]) < threshold;
    y[i] = store_as<T>(load_as<C>(x[i]) * (keep ? scale : C(0)));
    mask[i] = keep;
  }
}
template <class T>
__global__ void __launch_bounds__(kRandomThreads)
    dropout_gradient(const T* g, const uint8_t* mask, T* gx, int64_t n, compute_type<T> scale) {
  using C = compute_type<T>;
  for (int64_t i = grid_thread(); i < n; i += grid_threads())
    gx[i] = store_as<T>(load_as<C>(g[i]) * (mask[i] ? scale : C(0)));
}

// The noise's value for a kept element, rounded to T as PyTorch's noise tensor is.
template <class T>
compute_type<T> dropout_scale(double p) {
  using C = compute_type<T>;
  if (p >= 1) return C(0);
  return static_cast<C>(T(C(1) / static_cast<C>(1 - p)));
}

}  // namespace

// uniform(self) -> out of self's shape: from + u * (to - from), u uniform in [0, 1) with 24 or (float64) 53 bits.
void uniform(const KernelArgs& args) {
  const auto& a = args.attrs<UniformAttrs>();
  const DType t = args.out[0].dtype;
  dispatch_float_unit(t, [&](auto unit, auto compute) {
    using C = decltype(compute);
    C to = static_cast<C>(a.to);
    if (t == DType::kFloat16) to = static_cast<C>(static_cast<float>(float16(static_cast<float>(to))));
    if (t == DType::kBFloat16) to = static_cast<C>(static_cast<float>(bfloat16(static_cast<float>(to))));
    fill<decltype(unit)>(args.out[0], *a.generator, UniformDraw<C>{static_cast<C>(a.from), static_cast<C>(a.to), to});
  });
}

// normal(self) -> out: mean + std * Box-Muller.
void normal(const KernelArgs& args) {
  const auto& a = args.attrs<NormalAttrs>();
  dispatch_float_unit(args.out[0].dtype, [&](auto unit, auto compute) {
    using C = decltype(compute);
    fill<decltype(unit)>(args.out[0], *a.generator,
                         NormalDraw<C, false>{static_cast<C>(a.mean), static_cast<C>(a.std)});
  });
}

// log_normal(self) -> out: exp(mean + std * normal).
void log_normal(const KernelArgs& args) {
  const auto& a = args.attrs<NormalAttrs>();
  dispatch_float_unit(args.out[0].dtype, [&](auto unit, auto compute) {
    using C = decltype(compute);
    fill<decltype(unit)>(args.out[0], *a.generator,
                         NormalDraw<C, true>{static_cast<C>(a.mean), static_cast<C>(a.std)});
  });
}

// exponential(self) -> out: -log(u) / lambda.
void exponential(const KernelArgs& args) {
  const auto& a = args.attrs<ExponentialAttrs>();
  dispatch_float_unit(args.out[0].dtype, [&](auto unit, auto compute) {
    using C = decltype(compute);
    fill<decltype(unit)>(args.out[0], *a.generator, ExponentialDraw<C>{static_cast<C>(1 / a.lambda)});
  });
}

// cauchy(self) -> out: median + sigma * tan(pi * (u - 1/2)).
void cauchy(const KernelArgs& args) {
  const auto& a = args.attrs<CauchyAttrs>();
  dispatch_float_unit(args.out[0].dtype, [&](auto unit, auto) {
    fill<decltype(unit)>(args.out[0], *a.generator, CauchyDraw{a.median, a.sigma});
  });
}

// geometric(self) -> out: ceil(log(u) / log(1 - p)), the trials up to the first success.
void geometric(const KernelArgs& args) {
  const auto& a = args.attrs<BernoulliAttrs>();
  fill_any(args.out[0], *a.generator, GeometricDraw{__builtin_log1p(-a.p)});
}

// random_int(self) -> out: word % range + base.
void random_int(const KernelArgs& args) {
  const auto& a = args.attrs<RandomIntAttrs>();
  fill_any(args.out[0], *a.generator, IntegerDraw{a.range, static_cast<uint64_t>(a.base), a.wide != 0});
}

// bernoulli(self) -> out: 1 with probability p, else 0.
void bernoulli(const KernelArgs& args) {
  const auto& a = args.attrs<BernoulliAttrs>();
  fill_any(args.out[0], *a.generator, BernoulliDraw{static_cast<uint64_t>(__builtin_ceil(a.p * 0x1p53))});
}

// bernoulli_tensor(self, p) -> out: 1 with the element's own probability; p has out's sizes. Probabilities outside
// [0, 1] count as 0 or 1: looking at them would mean to wait for the device.
void bernoulli_tensor(const KernelArgs& args) {
  const auto& a = args.attrs<GeneratorAttrs>();
  const TensorView& out = args.out[0];
  const Contiguous p(args.in[args.num_in - 1]);
  const Target target(out);
  const PhiloxState state = philox_state(*a.generator, static_cast<uint64_t>(out.numel));
  dispatch_float_compute(p.view().dtype, "bernoulli", [&](auto compute) {
    using C = decltype(compute);
    dispatch_unit(out.dtype, [&](auto unit) {
      using U = decltype(unit);
      FS_LAUNCH((below_probability<U, C>), grid_for(out.numel, kRandomThreads, 1 << 16), kRandomThreads, 0,
                current_stream(), p.template ptr<void>(), p.view().dtype, target.template ptr<U>(), out.dtype,
                out.numel, state);
    });
  });
  target.finish();
}

// dropout(x) -> y, mask: y = x * mask / (1 - p); mask (bool, x's sizes) is 1 with probability 1 - p. Elements are
// drawn in x's logical order, so that the memory layout chosen for an activation does not change the numbers.
void dropout(const KernelArgs& args) {
  const auto& a = args.attrs<DropoutAttrs>();
  const int64_t n = args.in[0].numel;
  const Contiguous x(args.in[0]);
  const Target y(args.out[0]), mask(args.out[1]);
  const uint64_t threshold = static_cast<uint64_t>(__builtin_ceil((1 - a.p) * 0x1p53));
  // p = 1 keeps nothing and draws nothing.
  const PhiloxState state = a.p < 1 ? philox_state(*a.generator, static_cast<uint64_t>(n)) : PhiloxState{};
  dispatch_float(args.in[0].dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    FS_LAUNCH((dropout_elements<T>), grid_for(n, kRandomThreads, 1 << 16), kRandomThreads, 0, current_stream(),
              x.template ptr<T>(), y.template ptr<T>(), mask.template ptr<uint8_t>(), n, threshold,
              dropout_scale<T>(a.p), state);
  });
  y.finish();
  mask.finish();
}

// dropout_backward(g, mask) -> gx = g * mask / (1 - p).
void dropout_backward(const KernelArgs& args) {
  const auto& a = args.attrs<DropoutBackwardAttrs>();
  const int64_t n = args.in[0].numel;
  const Contiguous g(args.in[0]), mask(args.in[1]);
  const Target gx(args.out[0]);
  dispatch_float(args.in[0].dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    FS_LAUNCH((dropout_gradient<T>), grid_for(n, kRandomThreads, 1 << 16), kRandomThreads, 0, current_stream(),
              g.template ptr<T>(), mask.template ptr<uint8_t>(), gx.template ptr<T>(), n, dropout_scale<T>(a.p));
  });
  gx.finish();
}

}  // namespace fireseed::cuda

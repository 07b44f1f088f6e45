// Random kernels: fills from one distribution, Bernoulli by element, dropout and its gradient.
#include "device/contiguous.cuh"
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
// make<T>(words): an element of dtype T.

template <class C>
struct UniformDraw {
  C from, to;
  template <class T>
  __device__ __forceinline__ T make(const PhiloxWords& r) const {
    const T x = store_as<T>(::fma(uniform_of(r, C{}), to - from, from));
    // Rounding up to `to` gives `from`.
    return load_as<C>(x) == load_as<C>(store_as<T>(to)) ? store_as<T>(from) : x;
  }
};
template <class C, bool kLog>
struct NormalDraw {
  C mean, std;
  template <class T>
  __device__ __forceinline__ T make(const PhiloxWords& r) const {
    const C x = ::fma(normal_of(r, C{}), std, mean);
    return store_as<T>(kLog ? ::exp(x) : x);
  }
};
template <class C>
struct ExponentialDraw {
  C scale;
  template <class T>
  __device__ __forceinline__ T make(const PhiloxWords& r) const {
    return store_as<T>(exponential_of(r, C{}) * scale);
  }
};
struct CauchyDraw {
  double median, sigma;
  template <class T>
  __device__ __forceinline__ T make(const PhiloxWords& r) const {
    return store_as<T>(median + sigma * ::tan(3.14159265358979323846 * (uniform_of(r, double{}) - 0.5)));
  }
};
struct GeometricDraw {
  double log_q;
  template <class T>
  __device__ __forceinline__ T make(const PhiloxWords& r) const {
    const double trials = ::ceil(::log(positive_of(r.w[0], r.w[1])) / log_q);
    return store_as<T>(trials > 1 ? trials : 1.0);
  }
};
struct IntegerDraw {
  uint64_t range, base;
  bool wide;
  template <class T>
  __device__ __forceinline__ T make(const PhiloxWords& r) const {
    uint64_t v;
    if (!wide) v = r.w[0] % static_cast<uint32_t>(range);
    else {
      v = static_cast<uint64_t>(r.w[0]) << 32 | r.w[1];
      if (range != 0) v %= range;
    }
    const int64_t x = static_cast<int64_t>(v + base);
    if constexpr (sizeof(T) == 2 && !std::is_same_v<T, int16_t>) return store_as<T>(static_cast<float>(x));
    else return static_cast<T>(x);
  }
};
struct BernoulliDraw {
  uint64_t threshold;  // p * 2^53
  template <class T>
  __device__ __forceinline__ T make(const PhiloxWords& r) const {
    return store_as<T>(bits53(r.w[0], r.w[1]) < threshold ? 1.0f : 0.0f);
  }
};

// ---- kernels -----------------------------------------------------------------------------------------------

constexpr int kRandomThreads = 256;
// Elements a thread makes at once: few, as each is a hundred instructions.
template <class T>
constexpr int kDrawn = sizeof(T) == 8 ? 2 : 4;

template <class Draw, class T>
__global__ void __launch_bounds__(kRandomThreads)
    fill_random(T* out, int64_t n, int64_t vectors, const Draw draw, const PhiloxState state) {
  constexpr int kVec = kDrawn<T>;
  for (int64_t v = grid_thread(); v < vectors; v += grid_threads()) {
    Vec<T, kVec> x;
#pragma unroll
    for (int j = 0; j < kVec; ++j) x.v[j] = draw.template make<T>(words_of(state, v * kVec + j));
    x.store(out + v * kVec);
  }
  for (int64_t i = vectors * kVec + grid_thread(); i < n; i += grid_threads())
    out[i] = draw.template make<T>(words_of(state, i));
}

template <class T, class Draw>
void fill(const TensorView& out, Generator& generator, const Draw& draw) {
  const Target target(out);
  T* const data = target.template ptr<T>();
  const int64_t n = out.numel, vectors = aligned_for(data, 16) ? n / kDrawn<T> : 0;
  FS_LAUNCH((fill_random<Draw, T>), grid_for(vectors > 0 ? vectors : n, kRandomThreads, 1 << 16), kRandomThreads, 0,
            current_stream(), data, n, vectors, draw, philox_state(generator, static_cast<uint64_t>(n)));
  target.finish();
}

template <class P, class T>
__global__ void __launch_bounds__(kRandomThreads)
    below_probability(const P* p, T* out, int64_t n, const PhiloxState state) {
  using C = compute_type<P>;
  for (int64_t i = grid_thread(); i < n; i += grid_threads())
    out[i] = store_as<T>(uniform_of(words_of(state, i), C{}) < load_as<C>(p[i]) ? 1.0f : 0.0f);
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
  dispatch_float(args.out[0].dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_type<T>;
    fill<T>(args.out[0], *a.generator, UniformDraw<C>{static_cast<C>(a.from), static_cast<C>(a.to)});
  });
}

// normal(self) -> out: mean + std * Box-Muller.
void normal(const KernelArgs& args) {
  const auto& a = args.attrs<NormalAttrs>();
  dispatch_float(args.out[0].dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_type<T>;
    fill<T>(args.out[0], *a.generator, NormalDraw<C, false>{static_cast<C>(a.mean), static_cast<C>(a.std)});
  });
}

// log_normal(self) -> out: exp(mean + std * normal).
void log_normal(const KernelArgs& args) {
  const auto& a = args.attrs<NormalAttrs>();
  dispatch_float(args.out[0].dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_type<T>;
    fill<T>(args.out[0], *a.generator, NormalDraw<C, true>{static_cast<C>(a.mean), static_cast<C>(a.std)});
  });
}

// exponential(self) -> out: -log(u) / lambda.
void exponential(const KernelArgs& args) {
  const auto& a = args.attrs<ExponentialAttrs>();
  dispatch_float(args.out[0].dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_type<T>;
    fill<T>(args.out[0], *a.generator, ExponentialDraw<C>{static_cast<C>(1 / a.lambda)});
  });
}

// cauchy(self) -> out: median + sigma * tan(pi * (u - 1/2)).
void cauchy(const KernelArgs& args) {
  const auto& a = args.attrs<CauchyAttrs>();
  dispatch_float(args.out[0].dtype, [&](auto tag) {
    fill<typename decltype(tag)::type>(args.out[0], *a.generator, CauchyDraw{a.median, a.sigma});
  });
}

// geometric(self) -> out: ceil(log(u) / log(1 - p)), the trials up to the first success.
void geometric(const KernelArgs& args) {
  const auto& a = args.attrs<BernoulliAttrs>();
  dispatch_all(args.out[0].dtype, [&](auto tag) {
    fill<typename decltype(tag)::type>(args.out[0], *a.generator, GeometricDraw{__builtin_log1p(-a.p)});
  });
}

// random_int(self) -> out: word % range + base.
void random_int(const KernelArgs& args) {
  const auto& a = args.attrs<RandomIntAttrs>();
  dispatch_all(args.out[0].dtype, [&](auto tag) {
    fill<typename decltype(tag)::type>(args.out[0], *a.generator,
                                       IntegerDraw{a.range, static_cast<uint64_t>(a.base), a.wide != 0});
  });
}

// bernoulli(self) -> out: 1 with probability p, else 0.
void bernoulli(const KernelArgs& args) {
  const auto& a = args.attrs<BernoulliAttrs>();
  const BernoulliDraw draw{static_cast<uint64_t>(__builtin_ceil(a.p * 0x1p53))};
  dispatch_all(args.out[0].dtype,
               [&](auto tag) { fill<typename decltype(tag)::type>(args.out[0], *a.generator, draw); });
}

// bernoulli_tensor(self, p) -> out: 1 with the element's own probability; p has out's sizes. Probabilities outside
// [0, 1] count as 0 or 1: looking at them would mean to wait for the device.
void bernoulli_tensor(const KernelArgs& args) {
  const auto& a = args.attrs<GeneratorAttrs>();
  const TensorView& out = args.out[0];
  const Contiguous p(args.in[args.num_in - 1]);
  const Target target(out);
  const PhiloxState state = philox_state(*a.generator, static_cast<uint64_t>(out.numel));
  dispatch_float(p.view().dtype, [&](auto p_tag) {
    using P = typename decltype(p_tag)::type;
    dispatch_all(out.dtype, [&](auto tag) {
      using T = typename decltype(tag)::type;
      FS_LAUNCH((below_probability<P, T>), grid_for(out.numel, kRandomThreads, 1 << 16), kRandomThreads, 0,
                current_stream(), p.template ptr<P>(), target.template ptr<T>(), out.numel, state);
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

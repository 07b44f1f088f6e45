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
// operator()(words, dtype): an element of dtype, in the type that the draw computes in. Kernels are compiled for
// draws, not for dtypes: a draw is a hundred instructions or more, its conversion a few.

// x as dtype t has it.
template <class C>
__host__ __device__ __forceinline__ C rounded(C x, DType t) {
  if (t == DType::kFloat16) return static_cast<C>(static_cast<float>(float16(static_cast<float>(x))));
  if (t == DType::kBFloat16) return static_cast<C>(static_cast<float>(bfloat16(static_cast<float>(x))));
  return x;
}

template <class C>
struct UniformDraw {
  C from, to, rounded_to;  // `to` as the dtype has it
  __device__ __forceinline__ C operator()(const PhiloxWords& r, DType t) const {
    const C x = ::fma(uniform_of(r, C{}), to - from, from);
    return rounded(x, t) == rounded_to ? from : x;  // rounding up to `to` gives `from`
  }
};
template <class C>
struct NormalDraw {
  C mean, std;
  bool log;
  __device__ __forceinline__ C operator()(const PhiloxWords& r, DType) const {
    const C x = ::fma(normal_of(r, C{}), std, mean);
    return log ? ::exp(x) : x;
  }
};
template <class C>
struct ExponentialDraw {
  C scale;
  __device__ __forceinline__ C operator()(const PhiloxWords& r, DType) const {
    return exponential_of(r, C{}) * scale;
  }
};
struct CauchyDraw {
  double median, sigma;
  __device__ __forceinline__ double operator()(const PhiloxWords& r, DType) const {
    return median + sigma * ::tan(3.14159265358979323846 * (uniform_of(r, double{}) - 0.5));
  }
};
struct GeometricDraw {
  double log_q;
  __device__ __forceinline__ double operator()(const PhiloxWords& r, DType) const {
    const double trials = ::ceil(::log(positive_of(r.w[0], r.w[1])) / log_q);
    return trials > 1 ? trials : 1.0;
  }
};
struct IntegerDraw {
  uint64_t range, base;
  bool wide;
  __device__ __forceinline__ int64_t operator()(const PhiloxWords& r, DType) const {
    uint64_t v;
    if (!wide) {
      v = r.w[0] % static_cast<uint32_t>(range);
    } else {
      v = static_cast<uint64_t>(r.w[0]) << 32 | r.w[1];
      if (range != 0) v %= range;
    }
    return static_cast<int64_t>(v + base);
  }
};
struct BernoulliDraw {
  uint64_t threshold;  // p * 2^53
  __device__ __forceinline__ float operator()(const PhiloxWords& r, DType) const {
    return bits53(r.w[0], r.w[1]) < threshold ? 1.0f : 0.0f;
  }
};

// ---- kernels -----------------------------------------------------------------------------------------------

constexpr int kRandomThreads = 256;

template <class Draw>
__global__ void __launch_bounds__(kRandomThreads)
    fill_random(void* out, int64_t n, DType dtype, const Draw draw, const PhiloxState state) {
#pragma unroll 1
  for (int64_t i = grid_thread(); i < n; i += grid_threads())
    store_number(out, i, dtype, draw(words_of(state, i), dtype));
}

template <class Draw>
void fill(const TensorView& out, Generator& generator, const Draw& draw) {
  const Target target(out);
  const int64_t n = out.numel;
  FS_LAUNCH((fill_random<Draw>), grid_for(n, kRandomThreads, 1 << 16), kRandomThreads, 0, current_stream(),
            target.template ptr<void>(), n, out.dtype, draw, philox_state(generator, static_cast<uint64_t>(n)));
  target.finish();
}

template <class C>
__global__ void __launch_bounds__(kRandomThreads)
    below_probability(const void* p, DType p_dtype, void* out, DType dtype, int64_t n, const PhiloxState state) {
#pragma unroll 1
  for (int64_t i = grid_thread(); i < n; i += grid_threads())
    store_number(out, i, dtype, uniform_of(words_of(state, i), C{}) < load_number(p, i, p_dtype, C{}) ? 1.0f : 0.0f);
}

template <class C>
__global__ void __launch_bounds__(kRandomThreads)
    dropout_elements(const void* x, void* y, uint8_t* mask, DType dtype, int64_t n, uint64_t threshold, C scale,
                     const PhiloxState state) {
#pragma unroll 1
  for (int64_t i = grid_thread(); i < n; i += grid_threads()) {
    const PhiloxWords r = words_of(state, i);
    const bool keep = bits53(r.w[0], r.w[1]) < threshold;
    store_number(y, i, dtype, load_number(x, i, dtype, C{}) * (keep ? scale : C(0)));
    mask[i] = keep;
  }
}
template <class C>
__global__ void __launch_bounds__(kRandomThreads)
    dropout_gradient(const void* g, const uint8_t* mask, void* gx, DType dtype, int64_t n, C scale) {
  constexpr int kUnroll = 4;  // loads under way
  for (int64_t first = grid_thread(); first < n; first += kUnroll * grid_threads()) {
    C v[kUnroll];
    bool keep[kUnroll];
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      const int64_t i = first + u * grid_threads();
      if (i >= n) break;
      v[u] = load_number(g, i, dtype, C{});
      keep[u] = mask[i];
    }
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      const int64_t i = first + u * grid_threads();
      if (i < n) store_number(gx, i, dtype, v[u] * (keep[u] ? scale : C(0)));
    }
  }
}

// The noise's value for a kept element, rounded to dtype t as PyTorch's noise tensor is.
template <class C>
C dropout_scale(double p, DType t) {
  if (p >= 1) return C(0);
  return rounded(C(1) / static_cast<C>(1 - p), t);
}

}  // namespace

// uniform(self) -> out of self's shape: from + u * (to - from), u uniform in [0, 1) with 24 or (float64) 53 bits.
void uniform(const KernelArgs& args) {
  const auto& a = args.attrs<UniformAttrs>();
  const DType t = args.out[0].dtype;
  dispatch_float_compute(t, "uniform", [&](auto compute) {
    using C = decltype(compute);
    const C to = static_cast<C>(a.to);
    fill(args.out[0], *a.generator, UniformDraw<C>{static_cast<C>(a.from), to, rounded(to, t)});
  });
}

// mean + std * Box-Muller, or exp of it.
static void fill_normal(const KernelArgs& args, const char* op, bool log) {
  const auto& a = args.attrs<NormalAttrs>();
  dispatch_float_compute(args.out[0].dtype, op, [&](auto compute) {
    using C = decltype(compute);
    fill(args.out[0], *a.generator, NormalDraw<C>{static_cast<C>(a.mean), static_cast<C>(a.std), log});
  });
}
// normal(self) -> out: mean + std * normal.
void normal(const KernelArgs& args) { fill_normal(args, "normal", false); }
// log_normal(self) -> out: exp(mean + std * normal).
void log_normal(const KernelArgs& args) { fill_normal(args, "log_normal", true); }

// exponential(self) -> out: -log(u) / lambda.
void exponential(const KernelArgs& args) {
  const auto& a = args.attrs<ExponentialAttrs>();
  dispatch_float_compute(args.out[0].dtype, "exponential", [&](auto compute) {
    using C = decltype(compute);
    fill(args.out[0], *a.generator, ExponentialDraw<C>{static_cast<C>(1 / a.lambda)});
  });
}

// cauchy(self) -> out: median + sigma * tan(pi * (u - 1/2)).
void cauchy(const KernelArgs& args) {
  const auto& a = args.attrs<CauchyAttrs>();
  fill(args.out[0], *a.generator, CauchyDraw{a.median, a.sigma});
}

// geometric(self) -> out: ceil(log(u) / log(1 - p)), the trials up to the first success.
void geometric(const KernelArgs& args) {
  const auto& a = args.attrs<BernoulliAttrs>();
  fill(args.out[0], *a.generator, GeometricDraw{__builtin_log1p(-a.p)});
}

// random_int(self) -> out: word % range + base.
void random_int(const KernelArgs& args) {
  const auto& a = args.attrs<RandomIntAttrs>();
  fill(args.out[0], *a.generator, IntegerDraw{a.range, static_cast<uint64_t>(a.base), a.wide != 0});
}

// bernoulli(self) -> out: 1 with probability p, else 0.
void bernoulli(const KernelArgs& args) {
  const auto& a = args.attrs<BernoulliAttrs>();
  fill(args.out[0], *a.generator, BernoulliDraw{static_cast<uint64_t>(__builtin_ceil(a.p * 0x1p53))});
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
    FS_LAUNCH((below_probability<decltype(compute)>), grid_for(out.numel, kRandomThreads, 1 << 16), kRandomThreads, 0,
              current_stream(), p.template ptr<void>(), p.view().dtype, target.template ptr<void>(), out.dtype,
              out.numel, state);
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
  const DType t = args.in[0].dtype;
  dispatch_float_compute(t, "dropout", [&](auto compute) {
    using C = decltype(compute);
    FS_LAUNCH((dropout_elements<C>), grid_for(n, kRandomThreads, 1 << 16), kRandomThreads, 0, current_stream(),
              x.template ptr<void>(), y.template ptr<void>(), mask.template ptr<uint8_t>(), t, n, threshold,
              dropout_scale<C>(a.p, t), state);
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
  const DType t = args.in[0].dtype;
  dispatch_float_compute(t, "dropout_backward", [&](auto compute) {
    using C = decltype(compute);
    FS_LAUNCH((dropout_gradient<C>), grid_for(n, kRandomThreads, 1 << 16), kRandomThreads, 0, current_stream(),
              g.template ptr<void>(), mask.template ptr<uint8_t>(), gx.template ptr<void>(), t, n,
              dropout_scale<C>(a.p, t));
  });
  gx.finish();
}

}  // namespace fireseed::cuda

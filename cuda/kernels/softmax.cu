// softmax and log_softmax along any dimension, forward and backward.
#include "tensor/attrs/softmax.h"

#include "device/contiguous.cuh"
#include "device/reduce.cuh"
#include "device/vec.cuh"
#include "math/scalar.h"

namespace fireseed::cuda {
namespace {

// A tensor of shape (outer, n, inner): a row is the n elements that are `inner` apart.
struct Rows {
  int64_t outer, n, inner;
  Rows(const TensorView& v, int64_t dim) : outer(1), n(1), inner(1) {
    for (int i = 0; i < v.ndim; ++i) (i < dim ? outer : i == dim ? n : inner) *= v.sizes[i];
  }
  int64_t count() const { return outer * inner; }
};

// One block a row. y = exp(x - top) / Σ, or x - top - log Σ.
// Compiles to: no spills
template <bool kLog, class T, int kThreads>
__global__ void __launch_bounds__(kThreads) softmax_rows(const T* x, T* y, int64_t n, int64_t inner, int64_t rows) {
  using C = compute_type<T>;
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const int64_t base = row / inner * n * inner + row % inner;
    C top = -kInfinity<C>;
    for (int64_t i = threadIdx.x; i < n; i += kThreads) top = MaxOp{}(top, load_as<C>(x[base + i * inner]));
    top = block_reduce<kThreads>(top, MaxOp{});
    C sum = 0;
    for (int64_t i = threadIdx.x; i < n; i += kThreads) sum += exp(load_as<C>(x[base + i * inner]) - top);
    sum = block_reduce<kThreads>(sum, AddOp{});
    const C scale = C(1) / sum, log_sum = kLog ? log(sum) : C(0);
    for (int64_t i = threadIdx.x; i < n; i += kThreads) {
      const C d = load_as<C>(x[base + i * inner]) - top;
      y[base + i * inner] = store_as<T>(kLog ? d - log_sum : exp(d) * scale);
    }
  }
}

// gx = y (g - Σ g y), or g - exp(y) Σ g.
template <bool kLog, class T, int kThreads>
__global__ void __launch_bounds__(kThreads)
    softmax_backward_rows(const T* g, const T* y, T* gx, int64_t n, int64_t inner, int64_t rows) {
  using C = compute_type<T>;
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const int64_t base = row / inner * n * inner + row % inner;
    C sum = 0;
    for (int64_t i = threadIdx.x; i < n; i += kThreads) {
      const int64_t at = base + i * inner;
      sum += kLog ? load_as<C>(g[at]) : load_as<C>(g[at]) * load_as<C>(y[at]);
    }
    sum = block_reduce<kThreads>(sum, AddOp{});
    for (int64_t i = threadIdx.x; i < n; i += kThreads) {
      const int64_t at = base + i * inner;
      const C gi = load_as<C>(g[at]), yi = load_as<C>(y[at]);
      gx[at] = store_as<T>(kLog ? gi - exp(yi) * sum : yi * (gi - sum));
    }
  }
}

constexpr int kMostBlocks = 1 << 20;

template <bool kLog>
void run_forward(const KernelArgs& args) {
  const Rows r(args.in[0], args.attrs<SoftmaxAttrs>().dim);
  if (r.count() == 0 || r.n == 0) return;
  const Contiguous x(args.in[0]);
  dispatch_float(args.in[0].dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    FS_LAUNCH((softmax_rows<kLog, T, 128>), grid_for(r.count(), 1, kMostBlocks), 128, 0, current_stream(), x.ptr<T>(),
              args.out[0].ptr<T>(), r.n, r.inner, r.count());
  });
}

template <bool kLog>
void run_backward(const KernelArgs& args) {
  const Rows r(args.in[0], args.attrs<SoftmaxAttrs>().dim);
  if (r.count() == 0 || r.n == 0) return;
  const Contiguous g(args.in[0]), y(args.in[1]);
  dispatch_float(args.in[0].dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    FS_LAUNCH((softmax_backward_rows<kLog, T, 128>), grid_for(r.count(), 1, kMostBlocks), 128, 0, current_stream(),
              g.ptr<T>(), y.ptr<T>(), args.out[0].ptr<T>(), r.n, r.inner, r.count());
  });
}

}  // namespace

void softmax(const KernelArgs& args) { run_forward<false>(args); }
void log_softmax(const KernelArgs& args) { run_forward<true>(args); }
void softmax_backward(const KernelArgs& args) { run_backward<false>(args); }
void log_softmax_backward(const KernelArgs& args) { run_backward<true>(args); }

}  // namespace fireseed::cuda

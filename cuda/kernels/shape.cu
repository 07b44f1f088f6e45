// Kernels behind view gradients and ranges: window_backward, arange.
#include "tensor/attrs/shape.h"

#include <algorithm>
#include <numeric>

#include "device/contiguous.cuh"
#include "device/memory.cuh"

namespace fireseed::cuda {
namespace {

constexpr int kShapeThreads = 256;

// Operand 0: the window in out, 1: g.
template <class C, bool kAdd>
__global__ void __launch_bounds__(kShapeThreads)
    put_window(void* out, const void* g, DType dtype, const StridedIndex<2, int64_t> index, int64_t n) {
  for (int64_t i = grid_thread(); i < n; i += grid_threads()) {
    int64_t at[2];
    index.offsets(i, at);
    const C v = load_number(g, at[1], dtype, C{});
    store_number(out, at[0], dtype, kAdd ? load_number(out, at[0], dtype, C{}) + v : v);
  }
}

__global__ void __launch_bounds__(kShapeThreads)
    fill_range(void* out, DType dtype, int64_t n, const __grid_constant__ RangeAttrs a) {
  for (int64_t i = grid_thread(); i < n; i += grid_threads()) {
    if (a.linspace) {  // from both ends, so that the last entry is exact
      const double v = i < n / 2 || n == 1 ? a.start + a.step * static_cast<double>(i)
                                           : a.end - a.step * static_cast<double>(n - 1 - i);
      store_number(out, i, dtype, v);
    } else if (is_floating(dtype)) {
      store_number(out, i, dtype, a.start + static_cast<double>(i) * a.step);
    } else {
      store_number(out, i, dtype, a.istart + i * a.istep);
    }
  }
}

// Note [Overlapping windows]
// Entries of a window may lie on one another (an unfolded view). Dimensions that keep all entries apart are found,
// largest first: each stride is beyond what the smaller ones reach. One launch adds those; the others are walked
// through launch by launch, so that every element is summed in order, without atomics.
class WindowParts {
 public:
  explicit WindowParts(const WindowAttrs& a) : a_(a) {
    int order[kMaxRank];
    const int n = static_cast<int>(a.sizes.n);
    std::iota(order, order + n, 0);
    std::stable_sort(order, order + n, [&](int x, int y) { return a.sizes[x] > a.sizes[y]; });
    for (int k = 0; k < n; ++k) {
      const int d = order[k];
      apart_[d] = true;
      if (!all_apart()) {
        apart_[d] = false;
        launches_ *= a.sizes[d];
      }
    }
  }
  int64_t launches() const { return launches_; }
  bool apart(int d) const { return apart_[d]; }

 private:
  bool all_apart() const {
    int order[kMaxRank], n = 0;
    for (int d = 0; d < a_.sizes.n; ++d)
      if (apart_[d] && a_.sizes[d] > 1) order[n++] = d;
    std::sort(order, order + n, [&](int x, int y) { return a_.strides[x] < a_.strides[y]; });
    int64_t reach = 0;
    for (int k = 0; k < n; ++k) {
      if (a_.strides[order[k]] <= reach) return false;
      reach += (a_.sizes[order[k]] - 1) * a_.strides[order[k]];
    }
    return true;
  }
  const WindowAttrs& a_;
  bool apart_[kMaxRank] = {};
  int64_t launches_ = 1;
};

}  // namespace

// in: g; out: zeros of sizes attrs.in_sizes, with g added at the window (attrs.sizes, strides, offset).
void window_backward(const KernelArgs& args) {
  const auto& a = args.attrs<WindowAttrs>();
  const TensorView &g = args.in[0], &out = args.out[0];
  if (out.numel == 0) return;
  fill_view(out, 0);
  if (g.numel == 0) return;
  const WindowParts parts(a);
  const auto bytes = static_cast<int64_t>(dtype_size(out.dtype));
  Dims sizes = a.sizes;
  for (int d = 0; d < sizes.n; ++d)
    if (!parts.apart(d)) sizes[d] = 1;
  TensorView to = out, from = g;
  to.sizes = from.sizes = sizes.d;
  to.strides = a.strides.d;
  to.ndim = from.ndim = static_cast<int32_t>(sizes.n);
  to.numel = from.numel = numel_of(sizes);
  for (int64_t k = 0; k < parts.launches(); ++k) {
    int64_t rest = k, at = a.offset, source = 0;
    for (int64_t d = sizes.n - 1; d >= 0; --d) {
      if (parts.apart(static_cast<int>(d))) continue;
      at += rest % a.sizes[d] * a.strides[d];
      source += rest % a.sizes[d] * g.strides[d];
      rest /= a.sizes[d];
    }
    to.data = out.ptr<char>() + at * bytes;
    from.data = g.ptr<char>() + source * bytes;
    const Geometry<2> both({&to, &from});
    dispatch_compute(out.dtype, [&](auto zero) {
      using C = decltype(zero);
      const unsigned blocks = grid_for(to.numel, kShapeThreads, 1 << 20);
      if (parts.launches() == 1) {
        FS_LAUNCH((put_window<C, false>), blocks, kShapeThreads, 0, current_stream(), to.data, from.data, out.dtype,
                  both.index<int64_t>(), to.numel);
      } else {
        FS_LAUNCH((put_window<C, true>), blocks, kShapeThreads, 0, current_stream(), to.data, from.data, out.dtype,
                  both.index<int64_t>(), to.numel);
      }
    });
  }
}

// out: attrs.start + i * attrs.step, or attrs.istart + i * attrs.istep in integer dtypes.
void arange(const KernelArgs& args) {
  const TensorView& out = args.out[0];
  FS_LAUNCH(fill_range, grid_for(out.numel, kShapeThreads, 1 << 20), kShapeThreads, 0, current_stream(), out.data,
            out.dtype, out.numel, args.attrs<RangeAttrs>());
}

}  // namespace fireseed::cuda

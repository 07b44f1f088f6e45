// Embedding kernels beside those of indexing: max-norm renormalisation, bags (sum, mean, max).
#include "tensor/attrs/embedding.h"

#include "device/contiguous.cuh"
#include "device/memory.cuh"
#include "device/rows.cuh"
#include "runtime/check.h"

namespace fireseed::cuda {
namespace {

constexpr int kBagThreads = 256;

// ---- renormalisation ---------------------------------------------------------------------------------------

// A warp an index. The first that names a row scales it to norm max_norm where its norm_type-norm is larger.
// claimed: one zero a row.
template <int kThreads>
__global__ void __launch_bounds__(kThreads)
    renorm_rows(void* weight, DType dtype, int64_t row_step, int64_t step, int64_t rows, int64_t width,
                const int64_t* index, int64_t n, unsigned* claimed, EmbeddingRenormAttrs a) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  for (int64_t i = grid_thread() / kWarpSize; i < n; i += grid_threads() / kWarpSize) {
    const int64_t r = index[i];
    if (r < 0 || r >= rows) fail_index("embedding", r, rows);
    unsigned taken = 0;
    if (lane == 0) taken = atomicExch(&claimed[r], 1u);
    taken = __shfl_sync(kFullMask, taken, 0);
    if (taken != 0) continue;
    double norm = 0;
    const bool largest = ::fabs(a.norm_type) == kInfinity<double>;
    for (int64_t c = lane; c < width; c += kWarpSize) {
      const double x = ::fabs(load_double(weight, r * row_step + c * step, dtype));
      if (a.norm_type == 2) norm += x * x;
      else if (a.norm_type == 1) norm += x;
      else if (largest) norm = x > norm ? x : norm;
      else norm += ::pow(x, a.norm_type);
    }
    norm = largest ? warp_reduce(norm, MaxOp{}) : warp_reduce(norm, AddOp{});
    if (a.norm_type == 2) norm = ::sqrt(norm);
    else if (a.norm_type != 1 && !largest) norm = ::pow(norm, 1 / a.norm_type);
    if (!(norm > a.max_norm)) continue;
    const double scale = a.max_norm / (norm + 1e-7);
    for (int64_t c = lane; c < width; c += kWarpSize) {
      const int64_t at = r * row_step + c * step;
      const double x = load_double(weight, at, dtype);
      if (dtype == DType::kFloat64) static_cast<double*>(weight)[at] = x * scale;
      else store_number(weight, at, dtype, static_cast<float>(x) * static_cast<float>(scale));
    }
  }
}

// ---- bags --------------------------------------------------------------------------------------------------

// Bag b holds the positions from offsets[b] to the next offset, the last one the rest of the n indices.
struct Bags {
  const int64_t *index, *offsets;
  int64_t n, count, rows, width, padding_idx;

  __device__ __forceinline__ void range(int64_t b, int64_t& begin, int64_t& end) const {
    begin = b < count ? offsets[b] : n;
    end = b + 1 < count ? offsets[b + 1] : n;
    if (b == 0 && begin != 0) fail_index("embedding_bag: offsets[0] has to be 0", begin, n);
    if (begin < 0 || end > n || end < begin) fail_index("embedding_bag: offsets", end < begin ? begin : end, n);
  }
  __device__ __forceinline__ int64_t row(int64_t e) const {
    const int64_t r = index[e];
    if (r < 0 || r >= rows) fail_index("embedding_bag: input", r, rows);
    return r;
  }
};

// A thread a bag and column. scale: null, or a number for each position, scale_step apart.
template <class T>
__global__ void __launch_bounds__(kBagThreads)
    sum_bags(const T* weight, const T* scale, int64_t scale_step, T* out, StridedIndex<1, int64_t> to,
             const __grid_constant__ Bags bags, bool mean, int64_t count) {
  using C = compute_type<T>;
  for (int64_t i = grid_thread(); i < count; i += grid_threads()) {
    const int64_t c = i % bags.width;
    int64_t begin, end, used = 0;
    bags.range(i / bags.width, begin, end);
    C sum = 0;
    for (int64_t e = begin; e < end; ++e) {
      const int64_t r = bags.row(e);
      if (r == bags.padding_idx) continue;
      const C v = load_as<C>(weight[r * bags.width + c]);
      sum += scale ? v * load_as<C>(scale[e * scale_step]) : v;
      ++used;
    }
    out[to.offset(i)] = store_as<T>(sum / static_cast<C>(mean && used > 0 ? used : 1));
  }
}

template <class T>
__global__ void __launch_bounds__(kBagThreads)
    max_bags(const T* weight, T* out, StridedIndex<1, int64_t> to, int64_t* found, StridedIndex<1, int64_t> found_to,
             const __grid_constant__ Bags bags, int64_t count) {
  using C = compute_type<T>;
  for (int64_t i = grid_thread(); i < count; i += grid_threads()) {
    const int64_t c = i % bags.width;
    int64_t begin, end, from = -1;
    bags.range(i / bags.width, begin, end);
    C best = 0;
    for (int64_t e = begin; e < end; ++e) {
      const int64_t r = bags.row(e);
      if (r == bags.padding_idx) continue;
      const C v = load_as<C>(weight[r * bags.width + c]);
      if (from >= 0 && !(v > best)) continue;
      best = v;
      from = r;
    }
    out[to.offset(i)] = store_as<T>(best);
    found[found_to.offset(i)] = from;
  }
}

// The operands of a bag op, contiguous.
struct BagOperands {
  Contiguous weight, index, offsets;
  Bags bags;
  explicit BagOperands(const KernelArgs& args)
      : weight(args.in[0]),
        index(args.in[1]),
        offsets(args.in[2]),
        bags{index.ptr<int64_t>(),
             offsets.ptr<int64_t>(),
             args.in[1].numel,
             args.in[2].numel,
             args.in[0].sizes[0],
             args.in[0].sizes[1],
             args.attrs<EmbeddingBagAttrs>().padding_idx} {}
};

}  // namespace

// in: weight (V, D), int64 indices; out: weight with the rows named by indices scaled down to norm max_norm where
// their norm_type-norm exceeds it. Stops the kernel at an index outside [0, V).
void embedding_renorm(const KernelArgs& args) {
  const TensorView &weight = args.in[0], &out = args.out[0];
  if (out.data != weight.data) move_view(out, weight);
  if (out.numel == 0 || args.in[1].numel == 0) return;
  const Contiguous index(args.in[1]);
  const int64_t n = args.in[1].numel;
  const Scratch claimed(static_cast<size_t>(out.sizes[0]) * sizeof(unsigned));
  FS_CUDA(cudaMemsetAsync(claimed.ptr(), 0, static_cast<size_t>(out.sizes[0]) * sizeof(unsigned), current_stream()));
  FS_LAUNCH((renorm_rows<kBagThreads>), grid_for(n * kWarpSize, kBagThreads, 1 << 20), kBagThreads, 0,
            current_stream(), out.data, out.dtype, out.strides[0], out.strides[1], out.sizes[0], out.sizes[1],
            index.ptr<int64_t>(), n, claimed.ptr<unsigned>(), args.attrs<EmbeddingRenormAttrs>());
}

// in: weight (V, D), int64 indices (n,), int64 offsets (>= bags,), optional per-sample weights (n,); out: (bags, D),
// the weighted sum or the mean of each bag's rows; padding_idx counts nowhere. Empty bags give 0. Stops the kernel at
// wrong offsets and indices.
void embedding_bag(const KernelArgs& args) {
  const TensorView& out = args.out[0];
  if (out.numel == 0) return;
  const BagOperands in(args);
  const bool weighted = args.num_in > 3 && args.in[3].defined(),
             mean = args.attrs<EmbeddingBagAttrs>().mode == BagMode::kMean;
  const Geometry<1> g({&out});
  dispatch_float(out.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    FS_LAUNCH((sum_bags<T>), grid_for(out.numel, kBagThreads, 1 << 20), kBagThreads, 0, current_stream(),
              in.weight.ptr<T>(), weighted ? args.in[3].ptr<const T>() : nullptr,
              weighted ? args.in[3].strides[0] : 0, out.ptr<T>(), g.index<int64_t>(), in.bags, mean, out.numel);
  });
}

// in: weight (V, D), int64 indices (n,), int64 offsets; out[0]: (bags, D), the maximum of each bag's rows (0 for an
// empty bag), out[1]: int64 (bags, D), the row each came from (-1 for an empty bag).
void embedding_bag_max(const KernelArgs& args) {
  const TensorView &out = args.out[0], &found = args.out[1];
  if (out.numel == 0) return;
  const BagOperands in(args);
  const Geometry<1> g({&out}), places({&found});
  dispatch_float(out.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    FS_LAUNCH((max_bags<T>), grid_for(out.numel, kBagThreads, 1 << 20), kBagThreads, 0, current_stream(),
              in.weight.ptr<T>(), out.ptr<T>(), g.index<int64_t>(), found.ptr<int64_t>(), places.index<int64_t>(),
              in.bags, out.numel);
  });
}

}  // namespace fireseed::cuda

// Kernels that write by index: index_put, index_add, index_copy, index_fill, scatter and its reductions, and the
// gradient of embedding.
#include "kernels/index.cuh"
#include "tensor/attrs/embedding.h"

namespace fireseed::cuda {
namespace {

// Note [Writes by index]
// Several positions may name one destination. So that each is written once, with the same bits every time and with
// the CPU's result (the last one wins, sums go in index order), the pairs (destination, position) are sorted as
// numbers destination << shift | position by a bitonic network (Batcher 1968); then the first position of each
// destination combines all of them. No atomics.

constexpr int kSortThreads = 256, kTile = 2 * kSortThreads;
constexpr uint64_t kDropped = ~uint64_t{0};

__device__ __forceinline__ void order(uint64_t& a, uint64_t& b, bool ascending) {
  if ((a > b) != ascending) return;
  const uint64_t t = a;
  a = b;
  b = t;
}

// A tile in shared memory: all steps for sequences up to the tile (first = 2), or the last steps of sequences of
// length `first`.
template <int kThreads>
__global__ void __launch_bounds__(kThreads) sort_tile(uint64_t* keys, int64_t first) {
  FS_SHARED(uint64_t, tile, [2 * kThreads]);
  const int t = static_cast<int>(threadIdx.x);
  const int64_t base = int64_t{blockIdx.x} * 2 * kThreads;
  tile[t] = keys[base + t];
  tile[t + kThreads] = keys[base + t + kThreads];
  __syncthreads();
  for (int64_t length = first; length <= 2 * kThreads || length == first; length *= 2) {
    for (int step = static_cast<int>(length / 2 < kThreads ? length / 2 : kThreads); step > 0; step /= 2) {
      const int i = t / step * 2 * step + t % step;
      order(tile[i], tile[i + step], ((base + i) & length) == 0);
      __syncthreads();
    }
  }
  keys[base + t] = tile[t];
  keys[base + t + kThreads] = tile[t + kThreads];
}
// One step of sequences of `length`, for steps longer than a tile.
__global__ void sort_step(uint64_t* keys, int64_t length, int64_t step) {
  const int64_t t = grid_thread(), i = t / step * 2 * step + t % step;
  order(keys[i], keys[i + step], (i & length) == 0);
}

__global__ void make_keys(const __grid_constant__ IndexList list, uint64_t* keys, int64_t n, int64_t padded,
                          int shift, int64_t skip) {
  const int64_t b = grid_thread();
  if (b >= padded) return;
  keys[b] = b >= n || list.index[0][b] == skip
                ? kDropped
                : static_cast<uint64_t>(list.offset(b)) << shift | static_cast<uint64_t>(b);
}
__global__ void make_scatter_keys(const int64_t* index, StridedIndex<2, int64_t> at, int64_t size, int64_t stride,
                                  uint64_t* keys, int64_t n, int64_t padded, int shift) {
  const int64_t i = grid_thread();
  if (i >= padded) return;
  keys[i] = kDropped;
  if (i >= n) return;
  int64_t o[2];
  at.offsets(i, o);
  keys[i] = static_cast<uint64_t>(o[0] + checked_index(index[o[1]], size, false) * stride) << shift |
            static_cast<uint64_t>(i);
}

// Sorted pairs of n positions.
class Pairs {
 public:
  static constexpr int64_t kNone = INT64_MIN;
  // Positions whose first index is `skip` are left out.
  Pairs(const IndexList& list, int64_t n, int64_t skip = kNone) : Pairs(n) {
    FS_LAUNCH(make_keys, grid_for(padded_, 256, INT32_MAX), 256, 0, current_stream(), list, keys(), n, padded_,
              shift_, skip);
    sort();
  }
  // Along lines of `out`, one position for each element of index.
  Pairs(const TensorView& out, const TensorView& index, int64_t dim) : Pairs(index.numel) {
    const Lines lines(out, index, dim);
    const Geometry<2> g({&lines.view, &index});
    FS_LAUNCH(make_scatter_keys, grid_for(padded_, 256, INT32_MAX), 256, 0, current_stream(),
              index.ptr<const int64_t>(), g.index<int64_t>(), out.ndim ? out.sizes[dim] : 1,
              out.ndim ? out.strides[dim] : 1, keys(), n_, padded_, shift_);
    sort();
  }
  uint64_t* keys() const { return memory_.ptr<uint64_t>(); }
  int64_t count() const { return n_; }
  int shift() const { return shift_; }

 private:
  explicit Pairs(int64_t n) : n_(n), padded_(padded(n)), memory_(static_cast<size_t>(padded_) * sizeof(uint64_t)) {
    while ((int64_t{1} << shift_) < n) ++shift_;
  }
  static int64_t padded(int64_t n) {
    int64_t p = kTile;
    while (p < n) p *= 2;
    return p;
  }
  void sort() const {
    const auto tiles = static_cast<unsigned>(padded_ / kTile);
    FS_LAUNCH((sort_tile<kSortThreads>), tiles, kSortThreads, 0, current_stream(), keys(), int64_t{2});
    for (int64_t length = 2 * kTile; length <= padded_; length *= 2) {
      for (int64_t step = length / 2; step >= kTile; step /= 2)
        FS_LAUNCH(sort_step, tiles, kSortThreads, 0, current_stream(), keys(), length, step);
      FS_LAUNCH((sort_tile<kSortThreads>), tiles, kSortThreads, 0, current_stream(), keys(), length);
    }
  }

  int64_t n_, padded_;
  int shift_ = 0;
  Scratch memory_;
};

struct Combine {
  ScatterReduce op = ScatterReduce::kNone;
  bool include_self = true;
  bool scaled = false;  // values times alpha
  bool fill = false;    // alpha instead of values
  FillValue alpha;
};

template <class T, bool kFloat = is_floating(dtype_of<T>::value)>
using Accumulator = std::conditional_t<kFloat, compute_type<T>, int64_t>;

// Destinations and values: slices of `before` and `after` dimensions (dst, values) for each position of the batch.
struct Slices {
  StridedIndex<2, int64_t> before, after;
  StridedIndex<1, int64_t> batch;
  int64_t after_count, count;  // elements of a slice's after part, and of a slice
};

template <class T>
__global__ void combine_slices(T* dst, const T* values, const uint64_t* keys, int64_t n, int shift,
                               const __grid_constant__ Slices s, Combine how) {
  using A = Accumulator<T>;
  A alpha;
  if constexpr (std::is_same_v<A, int64_t>)
    alpha = sizeof(T) == sizeof(bool) && std::is_same_v<T, bool> ? static_cast<int64_t>(how.alpha.integer != 0)
                                                                 : how.alpha.integer;
  else alpha = static_cast<A>(how.alpha.real);
  for (int64_t i = grid_thread(); i < n * s.count; i += grid_threads()) {
    const int64_t j = i / s.count, e = i % s.count;
    if (keys[j] == kDropped) continue;
    const uint64_t to = keys[j] >> shift;
    if (j > 0 && keys[j - 1] >> shift == to) continue;  // an earlier thread's
    int64_t b[2], a[2];
    s.before.offsets(e / s.after_count, b);
    s.after.offsets(e % s.after_count, a);
    T& out = dst[static_cast<int64_t>(to) + b[0] + a[0]];
    bool empty = !how.include_self;
    A sum = empty ? A(0) : load_as<A>(out);
    int64_t used = empty ? 0 : 1;
    for (int64_t k = j; k < n && keys[k] >> shift == to && keys[k] != kDropped; ++k, ++used) {
      A v = alpha;
      if (!how.fill) {
        const auto at = static_cast<int64_t>(keys[k] & ((uint64_t{1} << shift) - 1));
        v = load_as<A>(values[s.batch.offset(at) + b[1] + a[1]]);
        if (how.scaled) v *= alpha;
      }
      if (empty || how.op == ScatterReduce::kNone) sum = v;
      else if (how.op == ScatterReduce::kMultiply) sum *= v;
      else if (how.op == ScatterReduce::kMax) sum = v > sum || v != v ? v : sum;
      else if (how.op == ScatterReduce::kMin) sum = v < sum || v != v ? v : sum;
      else sum += v;
      empty = false;
    }
    if (how.op == ScatterReduce::kMean && used > 1) {
      if constexpr (!std::is_same_v<A, int64_t>) {
        sum /= static_cast<A>(used);
      } else if constexpr (!std::is_same_v<T, bool>) {  // floor division
        const int64_t whole = static_cast<int64_t>(static_cast<T>(sum)), q = whole / used;
        sum = q - (whole % used != 0 && whole < 0);
      }
    }
    out = store_as<T>(sum);
  }
}

// dst (before + indexed + after) from values (before + B + after), the B positions in `pairs`. B has b_rank
// dimensions, which stand at `dim` of values; indexed are k.
void write(const TensorView& dst, const TensorView& values, const Pairs& pairs, int64_t dim, int64_t k,
           int64_t b_rank, const Combine& how) {
  const TensorView before_dst = SomeDims(dst, 0, dim).view, before_values = SomeDims(values, 0, dim).view;
  const TensorView after_dst = SomeDims(dst, dim + k, dst.ndim).view,
                   after_values = SomeDims(values, dim + b_rank, values.ndim).view;
  const Geometry<2> before({&before_dst, &before_values}), after({&after_dst, &after_values});
  const SomeDims batch_dims(values, dim, dim + b_rank);
  const Geometry<1> batch({&batch_dims.view});
  const Slices s{before.index<int64_t>(), after.index<int64_t>(), batch.index<int64_t>(), after.numel(),
                 before.numel() * after.numel()};
  if (s.count == 0 || pairs.count() == 0) return;
  dispatch_all(dst.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    FS_LAUNCH((combine_slices<T>), grid_for(pairs.count() * s.count, 256, 1 << 20), 256, 0, current_stream(),
              dst.ptr<T>(), how.fill ? nullptr : values.ptr<const T>(), pairs.keys(), pairs.count(), pairs.shift(), s,
              how);
  });
}

void copy_unless_same(const TensorView& to, const TensorView& from) {
  if (to.data != from.data) move_view(to, from);
}

bool is_one(const FillValue& v, DType t) { return is_floating(t) ? v.real == 1 : v.integer == 1; }

// index_add, index_copy: source at the index along dim.
void write_along(const KernelArgs& args, int64_t dim, bool wrap, const Combine& how) {
  copy_unless_same(args.out[0], args.in[0]);
  const AsRank1 out(args.out[0]), source(args.in[2]);
  if (source.view.numel == 0) return;
  const IndexTensors index(args.in + 1, 1, out.view, dim, wrap);
  write(out.view, source.view, Pairs(index.list, args.in[1].numel), dim, 1, 1, how);
}

}  // namespace

// in: self, values (before + B + after, broadcast by strides), k int64 tensors of shape B; out: self with the values
// written (or added).
void index_put(const KernelArgs& args) {
  const auto& a = args.attrs<IndexAttrs>();
  const TensorView &out = args.out[0], &values = args.in[1];
  const int k = args.num_in - 2;
  copy_unless_same(out, args.in[0]);
  if (values.numel == 0) return;
  const IndexTensors index(args.in + 2, k, out, a.dim, true);
  Combine how;
  if (a.accumulate) how.op = ScatterReduce::kAdd;
  write(out, values, Pairs(index.list, args.in[2].numel), a.dim, k, args.in[2].ndim, how);
}

// in: self, int64 index (1-D or 0-D), source; out: self + alpha * source at the index along dim.
void index_add(const KernelArgs& args) {
  const auto& a = args.attrs<IndexAddAttrs>();
  Combine how;
  how.op = ScatterReduce::kAdd;
  how.alpha = a.alpha;
  how.scaled = !is_one(a.alpha, args.out[0].dtype);
  write_along(args, a.dim, false, how);
}

// in: self, int64 index, source; out: self with source written at the index along dim (the last one wins).
void index_copy(const KernelArgs& args) {
  const auto& a = args.attrs<IndexDimAttrs>();
  write_along(args, a.dim, a.wrap != 0, {});
}

// in: self, int64 index; out: self with attrs.value at the index along dim; negative indices wrap.
void index_fill(const KernelArgs& args) {
  const auto& a = args.attrs<IndexFillAttrs>();
  copy_unless_same(args.out[0], args.in[0]);
  const AsRank1 out(args.out[0]);
  if (args.in[1].numel == 0 || out.view.numel == 0) return;
  const IndexTensors index(args.in + 1, 1, out.view, a.dim, true);
  Combine how;
  how.fill = true;
  how.alpha = a.value;
  write(out.view, out.view, Pairs(index.list, args.in[1].numel), a.dim, 1, 1, how);
}

// in: self, int64 index, src (at least index's shape; a value comes with strides 0); out: self with src scattered in
// along dim by attrs.reduce, in index order.
void scatter(const KernelArgs& args) {
  const auto& a = args.attrs<ScatterAttrs>();
  const TensorView &index = args.in[1], &src = args.in[2], &out = args.out[0];
  copy_unless_same(out, args.in[0]);
  if (index.numel == 0) return;
  TensorView point = out, values = src;  // no dimension before or after; src's are the batch
  point.ndim = 0;
  values.ndim = index.ndim;
  values.sizes = index.sizes;
  Combine how;
  how.op = a.reduce;
  how.include_self = a.include_self != 0;
  write(point, values, Pairs(out, index, a.dim), 0, 0, index.ndim, how);
}
// The same kernel: the op differs in what its gradient needs.
void scatter_reduce(const KernelArgs& args) { scatter(args); }

// in: g (.., D), int64 indices; out: (V, D), each row the sum of its occurrences' gradients (in order of position);
// padding_idx gets none; with scale_grad_by_freq divided by the number of occurrences.
void embedding_backward(const KernelArgs& args) {
  const auto& a = args.attrs<EmbeddingAttrs>();
  const TensorView &g = args.in[0], &index = args.in[1], &out = args.out[0];
  if (out.numel == 0) return;
  fill_view(out, 0);
  if (index.numel == 0) return;
  const IndexTensors rows(&index, 1, out, 0, false);
  const Pairs pairs(rows.list, index.numel, a.padding_idx >= 0 ? a.padding_idx : Pairs::kNone);
  Combine how;
  how.op = a.scale_grad_by_freq ? ScatterReduce::kMean : ScatterReduce::kAdd;
  how.include_self = false;
  write(out, g, pairs, 0, 1, g.ndim - 1, how);
}

}  // namespace fireseed::cuda

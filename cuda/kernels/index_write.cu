// Kernels that write by index: index_put, index_add, index_copy, index_fill, scatter and its reductions, and the
// gradient of embedding.
#include "kernels/index.cuh"
#include "kernels/sort.cuh"
#include "tensor/attrs/embedding.h"

namespace fireseed::cuda {
namespace {

// Note [Writes by index]
// Several positions may name one destination. So that each is written once, with the same bits every time and with
// the CPU's result (the last one wins, sums go in index order), positions are sorted by destination (Note [Sorting
// rows]: stable, so they stay in order); then the first position of each destination combines all of them. No
// atomics.

constexpr uint64_t kDropped = ~uint64_t{0};

__global__ void make_keys(const __grid_constant__ IndexList list, uint64_t* keys, int64_t n, int64_t skip) {
  for (int64_t b = grid_thread(); b < n; b += grid_threads())
    keys[b] = list.index[0][b] == skip ? kDropped : static_cast<uint64_t>(list.offset(b));
}
__global__ void make_scatter_keys(const int64_t* index, const __grid_constant__ StridedIndex<2, int64_t> at,
                                  int64_t size, int64_t stride, uint64_t* keys, int64_t n) {
  for (int64_t i = grid_thread(); i < n; i += grid_threads()) {
    int64_t o[2];
    at.offsets(i, o);
    keys[i] = static_cast<uint64_t>(o[0] + checked_index(index[o[1]], size, false) * stride);
  }
}

// n positions, sorted by destination.
class SortedPositions {
 public:
  static constexpr int64_t kNone = INT64_MIN;
  // Positions whose first index is `skip` are left out.
  SortedPositions(const IndexList& list, int64_t n, int64_t skip = kNone) : sorted_(n), n_(n) {
    const Scratch keys(static_cast<size_t>(n) * sizeof(uint64_t));
    FS_LAUNCH(make_keys, grid_for(n, 256, 1 << 20), 256, 0, current_stream(), list, keys.ptr<uint64_t>(), n, skip);
    sort(keys.ptr<uint64_t>());
  }
  // Along lines of `out`, one position for each element of index.
  SortedPositions(const TensorView& out, const TensorView& index, int64_t dim)
      : sorted_(index.numel), n_(index.numel) {
    const Lines lines(out, index, dim);
    const Geometry<2> g({&lines.view, &index});
    const Scratch keys(static_cast<size_t>(n_) * sizeof(uint64_t));
    FS_LAUNCH(make_scatter_keys, grid_for(n_, 256, 1 << 20), 256, 0, current_stream(), index.ptr<const int64_t>(),
              g.index<int64_t>(), out.ndim ? out.sizes[dim] : 1, out.ndim ? out.strides[dim] : 1,
              keys.ptr<uint64_t>(), n_);
    sort(keys.ptr<uint64_t>());
  }
  KeyPairs<uint64_t> pairs() const { return sorted_.pairs(); }
  int64_t count() const { return n_; }

 private:
  void sort(const uint64_t* keys) const {
    SortArgs<uint64_t> job;
    job.in = SortElements(keys);
    job.to = pairs();
    job.rows = 1;
    job.n = job.x_n = n_;
    sort_rows(job, "indexing");
  }
  PairMemory<uint64_t> sorted_;
  int64_t n_;
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
__global__ void combine_slices(T* dst, const T* values, const KeyPairs<uint64_t> sorted, int64_t n,
                               const __grid_constant__ Slices s, Combine how) {
  using A = Accumulator<T>;
  A alpha;
  if constexpr (std::is_same_v<A, int64_t>)
    alpha = sizeof(T) == sizeof(bool) && std::is_same_v<T, bool> ? static_cast<int64_t>(how.alpha.integer != 0)
                                                                 : how.alpha.integer;
  else alpha = static_cast<A>(how.alpha.real);
  for (int64_t i = grid_thread(); i < n * s.count; i += grid_threads()) {
    const int64_t j = i / s.count, e = i % s.count;
    const uint64_t to = sorted.keys[j];
    if (to == kDropped || (j > 0 && sorted.keys[j - 1] == to)) continue;  // an earlier thread's
    int64_t b[2], a[2];
    s.before.offsets(e / s.after_count, b);
    s.after.offsets(e % s.after_count, a);
    T& out = dst[static_cast<int64_t>(to) + b[0] + a[0]];
    bool empty = !how.include_self;
    A sum = empty ? A(0) : load_as<A>(out);
    int64_t used = empty ? 0 : 1;
    for (int64_t k = j; k < n && sorted.keys[k] == to; ++k, ++used) {
      A v = alpha;
      if (!how.fill) {
        v = load_as<A>(values[s.batch.offset(sorted.index[k]) + b[1] + a[1]]);
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
void write(const TensorView& dst, const TensorView& values, const SortedPositions& pairs, int64_t dim, int64_t k,
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
              dst.ptr<T>(), how.fill ? nullptr : values.ptr<const T>(), pairs.pairs(), pairs.count(), s, how);
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
  write(out.view, source.view, SortedPositions(index.list, args.in[1].numel), dim, 1, 1, how);
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
  write(out, values, SortedPositions(index.list, args.in[2].numel), a.dim, k, args.in[2].ndim, how);
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
  write(out.view, out.view, SortedPositions(index.list, args.in[1].numel), a.dim, 1, 1, how);
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
  write(point, values, SortedPositions(out, index, a.dim), 0, 0, index.ndim, how);
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
  const SortedPositions pairs(rows.list, index.numel, a.padding_idx >= 0 ? a.padding_idx : SortedPositions::kNone);
  Combine how;
  how.op = a.scale_grad_by_freq ? ScatterReduce::kMean : ScatterReduce::kAdd;
  how.include_self = false;
  write(out, g, pairs, 0, 1, g.ndim - 1, how);
}

}  // namespace fireseed::cuda

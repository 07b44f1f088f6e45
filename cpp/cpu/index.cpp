// Kernels that read by index: index (advanced indexing), index_select, gather, and their writing twins index_put,
// index_add, index_copy, index_fill.
#include "cpu/index_util.h"

namespace fireseed::cpu::FS_ISA {
namespace {

struct SetOp {
  template <class T>
  static void apply(T& dst, T v) {
    dst = v;
  }
};
struct AddOp {
  template <class T>
  static void apply(T& dst, T v) {
    if constexpr (dtype_of<T>::value == DType::kBool) dst = dst || v;
    else if constexpr (sizeof(compute_type<T>) != sizeof(T)) dst = T(static_cast<float>(dst) + static_cast<float>(v));
    else dst = static_cast<T>(dst + v);
  }
};

// Sum over the k index tensors of wrapped index * stride, one entry per position of their common shape B; throws
// `kind` naming the dimension when an index is out of range.
class IndexOffsets {
 public:
  IndexOffsets(const char* op, ErrorKind kind, const TensorView* index, int k, const int64_t* sizes,
               const int64_t* strides, int64_t first_dim, bool wrap)
      : count_(index[0].numel), offsets_(count_) {
    for (int j = 0; j < k; ++j) {
      const Packed<int64_t> packed(index[j]);
      const int64_t* p = packed.data();
      FirstBad bad;
      parallel_for(count_, 16384, [&](int64_t b, int64_t e) {
        if (add_offsets(p + b, e - b, sizes[j], strides[j], wrap, offsets_.data() + b, j == 0)) return;
        for (int64_t i = b; i < e; ++i) {
          const int64_t v = wrap && p[i] < 0 ? p[i] + sizes[j] : p[i];
          if (v < 0 || v >= sizes[j]) return bad.report(i);
        }
      });
      if (bad.found()) fail_index(kind, op, p[bad.pos()], first_dim + j, sizes[j]);
    }
  }
  int64_t count() const { return count_; }
  const int64_t* data() const { return offsets_.data(); }

 private:
  int64_t count_;
  MoveScratch<int64_t> offsets_;
};

// out (before + B + after, dense) = src (before + indexed + after) read at the offsets.
template <class T>
void read_at(T* out, const TensorView& src, int64_t dim, int64_t k, const IndexOffsets& at) {
  const T* in = src.ptr<const T>();
  int64_t after = 1;
  for (int64_t d = dim + k; d < src.ndim; ++d) after *= src.sizes[d];
  Loop<2> slice;  // (out, src) over the dimensions after the indexed ones
  int64_t step = after;
  for (int64_t d = dim + k; d < src.ndim; ++d) {
    step /= src.sizes[d];
    slice.dim(src.sizes[d], {step, src.strides[d]});
  }
  Loop<1> before;
  for (int64_t d = 0; d < dim; ++d) before.dim(src.sizes[d], {src.strides[d]});
  const int64_t nb = at.count();
  const int64_t* offsets = at.data();
  const int64_t rows = before.numel * nb;
  const int64_t chunk = max_of(1, kMoveChunk / max_of(1, after));
  parallel_for(rows, chunk, [&](int64_t begin, int64_t end) {
    while (begin < end) {
      const int64_t b = begin % nb, n = min_of(nb - b, end - begin);
      int64_t base[1];
      before.offsets(begin / nb, base);
      const T* from = in + base[0];
      T* to = out + begin * after;
      const int64_t* o = offsets + b;
      if (after == 1) {
        for (int64_t i = 0; i < n; ++i) to[i] = from[o[i]];
      } else if (slice.dense(1)) {
        for (int64_t i = 0; i < n; ++i) {
          if (i + 2 < n) fetch_row(from + o[i + 2], after);
          copy_run(to + i * after, 1, from + o[i], 1, after);
        }
      } else {
        const int64_t ds = slice.inner_stride(0), ss = slice.inner_stride(1);
        for (int64_t i = 0; i < n; ++i) {
          slice.rows(0, after, [&](const int64_t (&off)[2], int64_t m) {
            copy_run(to + i * after + off[0], ds, from + o[i] + off[1], ss, m);
          });
        }
      }
      begin += n;
    }
  });
}

template <class Op, class T>
inline void apply_run(T* dst, int64_t ds, const T* src, int64_t ss, int64_t n, T alpha, bool scaled) {
  if (scaled) {
    using C = compute_type<T>;
    for (int64_t i = 0; i < n; ++i)
      Op::apply(dst[i * ds], static_cast<T>(static_cast<C>(alpha) * static_cast<C>(src[i * ss])));
  } else if (ds == 1 && ss == 1) {
    for (int64_t i = 0; i < n; ++i) Op::apply(dst[i], src[i]);
  } else {
    for (int64_t i = 0; i < n; ++i) Op::apply(dst[i * ds], src[i * ss]);
  }
}

// dst (before + indexed + after) op= values (before + B + after; any strides) at the offsets. Each entry of dst takes
// its values in index order whatever the number of threads: tasks split `before` and the range of destinations.
template <class Op, class T>
void write_at(const TensorView& dst, const TensorView& values, int64_t b_rank, int64_t dim, int64_t k,
              const IndexOffsets& at, T alpha, bool scaled) {
  T* out = dst.ptr<T>();
  const T* in = values.ptr<const T>();
  Loop<2> before, slice;  // (dst, values)
  Loop<1> batch;          // values over B
  for (int64_t d = 0; d < dim; ++d) before.dim(dst.sizes[d], {dst.strides[d], values.strides[d]});
  for (int64_t d = 0; d < b_rank; ++d) batch.dim(values.sizes[dim + d], {values.strides[dim + d]});
  for (int64_t d = dim + k; d < dst.ndim; ++d)
    slice.dim(dst.sizes[d], {dst.strides[d], values.strides[d - k + b_rank]});
  const int64_t nb = at.count(), after = slice.numel;
  const int64_t* offsets = at.data();
  // Rows of some length are shared out by where they go: task r takes the offsets of the r-th part of the range. The
  // order of the values of each entry, and so the result, does not depend on the number of parts.
  const int64_t parts = after >= 16 && nb * after > kMoveChunk ? num_threads() : 1;
  int64_t span = 1;
  for (int64_t d = dim; d < dim + k; ++d) span += (dst.sizes[d] - 1) * dst.strides[d];
  const int64_t part = div_up(span, parts);
  const int64_t chunk = parts > 1 ? 1 : max_of(1, kMoveChunk / max_of(1, nb * after));
  const int64_t ds = slice.inner_stride(0), ss = slice.inner_stride(1);
  parallel_for(before.numel * parts, chunk, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t low = task % parts * part, high = low + part;
      int64_t base[2];
      before.offsets(task / parts, base);
      T* to = out + base[0];
      const T* from = in + base[1];
      int64_t i = 0;
      batch.rows(0, nb, [&](const int64_t (&voff)[1], int64_t m) {
        const T* row = from + voff[0];
        const int64_t row_step = batch.inner_stride(0);
        if (after == 1) {
          for (int64_t j = 0; j < m; ++j, ++i)
            apply_run<Op>(to + offsets[i], 1, row + j * row_step, 1, 1, alpha, scaled);
          return;
        }
        for (int64_t j = 0; j < m; ++j, ++i) {
          if (parts > 1 && (offsets[i] < low || offsets[i] >= high)) continue;
          if (slice.rank <= 1) {
            apply_run<Op>(to + offsets[i], ds, row + j * row_step, ss, after, alpha, scaled);
          } else {
            slice.rows(0, after, [&](const int64_t (&off)[2], int64_t r) {
              apply_run<Op>(to + offsets[i] + off[0], ds, row + j * row_step + off[1], ss, r, alpha, scaled);
            });
          }
        }
      });
    }
  });
}

// A 0-dim tensor indexes like one of shape [1].
struct AsRank1 {
  int64_t one = 1;
  TensorView view;
  explicit AsRank1(const TensorView& v) : view(v) {
    if (v.ndim == 0) {
      view.sizes = view.strides = &one;
      view.ndim = 1;
    }
  }
};

}  // namespace

// in: source (before + indexed + after), k int64 tensors of one shape B; out: before + B + after. IndexError.
void index(const KernelArgs& args) {
  const IndexAttrs& a = args.attrs<IndexAttrs>();
  const TensorView& src = args.in[0];
  const TensorView& out = args.out[0];
  const int k = args.num_in - 1;
  if (out.numel == 0 && args.in[1].numel == 0) return;
  const IndexOffsets at("index", ErrorKind::kIndex, args.in + 1, k, src.sizes + a.dim, src.strides + a.dim, a.dim,
                        true);
  if (out.numel == 0) return;
  dispatch_size(out.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const PackedOut<T> target(out);
    read_at<T>(target.data(), src, a.dim, k, at);
    target.flush();
  });
}

// in: self, values (before + B + after, broadcast by strides), k int64 tensors of shape B; out: self with the values
// written (or added, in index order). IndexError.
void index_put(const KernelArgs& args) {
  const IndexAttrs& a = args.attrs<IndexAttrs>();
  const TensorView& out = args.out[0];
  const TensorView& values = args.in[1];
  const int k = args.num_in - 2;
  const IndexOffsets at("index_put", ErrorKind::kIndex, args.in + 2, k, out.sizes + a.dim, out.strides + a.dim, a.dim,
                        true);
  copy_view(out, args.in[0]);
  if (values.numel == 0) return;
  const int64_t b_rank = args.in[2].ndim;
  if (a.accumulate) {
    dispatch_all(out.dtype, [&](auto tag) {
      using T = typename decltype(tag)::type;
      write_at<AddOp, T>(out, values, b_rank, a.dim, k, at, T(), false);
    });
  } else {
    dispatch_size(out.dtype, [&](auto tag) {
      using T = typename decltype(tag)::type;
      write_at<SetOp, T>(out, values, b_rank, a.dim, k, at, T(), false);
    });
  }
}

// in: source, int64 index (1-D or 0-D); out: source with `dim` replaced by the selected entries. IndexError.
void index_select(const KernelArgs& args) {
  const IndexDimAttrs& a = args.attrs<IndexDimAttrs>();
  const AsRank1 src(args.in[0]);
  const TensorView& out = args.out[0];
  if (args.in[1].numel == 0) return;
  const IndexOffsets at("index_select", ErrorKind::kIndex, args.in + 1, 1, src.view.sizes + a.dim,
                        src.view.strides + a.dim, a.dim, a.wrap != 0);
  if (out.numel == 0) return;
  dispatch_size(out.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const PackedOut<T> target(out);
    read_at<T>(target.data(), src.view, a.dim, 1, at);
    target.flush();
  });
}

// in: self, int64 index (1-D or 0-D), source; out: self + alpha * source at the index along dim. RuntimeError.
void index_add(const KernelArgs& args) {
  const IndexAddAttrs& a = args.attrs<IndexAddAttrs>();
  const AsRank1 out(args.out[0]), source(args.in[2]);
  const IndexOffsets at("index_add", ErrorKind::kRuntime, args.in + 1, 1, out.view.sizes + a.dim,
                        out.view.strides + a.dim, a.dim, false);
  copy_view(args.out[0], args.in[0]);
  if (source.view.numel == 0) return;
  dispatch_all(out.view.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const bool scaled = is_floating(out.view.dtype) ? a.alpha.real != 1 : a.alpha.integer != 1;
    write_at<AddOp, T>(out.view, source.view, 1, a.dim, 1, at, fill_as<T>(a.alpha), scaled);
  });
}

// in: self, int64 index, source; out: self with source written at the index along dim (the last one wins).
// IndexError.
void index_copy(const KernelArgs& args) {
  const IndexDimAttrs& a = args.attrs<IndexDimAttrs>();
  const AsRank1 out(args.out[0]), source(args.in[2]);
  const IndexOffsets at("index_copy", ErrorKind::kIndex, args.in + 1, 1, out.view.sizes + a.dim,
                        out.view.strides + a.dim, a.dim, a.wrap != 0);
  copy_view(args.out[0], args.in[0]);
  if (source.view.numel == 0) return;
  dispatch_size(out.view.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    write_at<SetOp, T>(out.view, source.view, 1, a.dim, 1, at, T(), false);
  });
}

// in: self, int64 index; out: self with attrs.value at the index along dim; negative indices wrap. IndexError.
void index_fill(const KernelArgs& args) {
  const IndexFillAttrs& a = args.attrs<IndexFillAttrs>();
  const AsRank1 out(args.out[0]);
  const IndexOffsets at("index_fill", ErrorKind::kIndex, args.in + 1, 1, out.view.sizes + a.dim,
                        out.view.strides + a.dim, a.dim, true);
  copy_view(args.out[0], args.in[0]);
  if (at.count() == 0 || out.view.numel == 0) return;
  dispatch_all(out.view.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    T value = fill_as<T>(a.value);
    int64_t sizes[kMaxRank], zero[kMaxRank] = {};
    for (int d = 0; d < out.view.ndim; ++d) sizes[d] = d == a.dim ? at.count() : out.view.sizes[d];
    TensorView values = out.view;
    values.data = &value;
    values.sizes = sizes;
    values.strides = zero;
    write_at<SetOp, T>(out.view, values, 1, a.dim, 1, at, T(), false);
  });
}

namespace {

// Chooses how a gather/scatter walks: `other` runs over every dimension of the index but `dim`.
struct Lines {
  Loop<3> other;  // (self, index, src or out)
  int64_t n = 1, self_step = 0, index_step = 0, src_step = 0, limit = 1;
  bool along = true;  // the inner loop runs along dim (else along the other dimensions' runs)

  Lines(const TensorView& self, const TensorView& index, const TensorView& src, int64_t dim) {
    for (int64_t d = 0; d < index.ndim; ++d)
      if (d != dim) other.dim(index.sizes[d], {self.strides[d], index.strides[d], src.strides[d]});
    if (index.ndim > 0) {
      n = index.sizes[dim];
      self_step = self.strides[dim];
      index_step = index.strides[dim];
      src_step = src.strides[dim];
      limit = self.sizes[dim];
    }
    along = dim == index.ndim - 1 || other.rank == 0 || other.inner_size() < 8;
  }
  // Calls f(self, ss, index, is, src, cs, self_step_per_index, m, line position) on runs of m steps.
  template <class T, class S, class F>
  void run(T* self, const int64_t* index, S* src, F&& f) const {
    const int64_t chunk = max_of(1, kMoveChunk / 2 / max_of(1, n));
    parallel_for(other.numel, along ? chunk : max_of(chunk, 16), [&](int64_t begin, int64_t end) {
      if (along) {
        int64_t ahead[3] = {other.inner_stride(0), other.inner_stride(1), other.inner_stride(2)};
        other.rows(begin, end, [&](const int64_t (&off)[3], int64_t m) {
          for (int64_t j = 0; j < m; ++j) {
            f(self + off[0] + j * ahead[0], int64_t{0}, index + off[1] + j * ahead[1], index_step,
              src + off[2] + j * ahead[2], src_step, n);
          }
        });
      } else {
        for (int64_t i = 0; i < n; ++i) {
          other.rows(begin, end, [&](const int64_t (&off)[3], int64_t m) {
            f(self + off[0], other.inner_stride(0), index + off[1] + i * index_step, other.inner_stride(1),
              src + off[2] + i * src_step, other.inner_stride(2), m);
          });
        }
      }
    });
  }
};

inline constexpr int64_t kIndexBlock = 128;

// at[i] = index (wrapped where add is the size) * step, for a block; false where one is out of range. Vectorises.
inline bool checked_block(const int64_t* idx, int64_t is, int64_t n, int64_t limit, int64_t add, int64_t step,
                          int64_t* at) {
  uint64_t wrong = 0;
  const auto body = [&](int64_t stride) {
    for (int64_t i = 0; i < n; ++i) {
      int64_t v = idx[i * stride];
      v += v < 0 ? add : 0;
      wrong |= static_cast<uint64_t>(static_cast<uint64_t>(v) >= static_cast<uint64_t>(limit));
      at[i] = v * step;
    }
  };
  if (is == 1) body(1);
  else body(is);
  return wrong == 0;
}

// After a loop flagged a bad index: finds the first one and throws.
[[gnu::cold]] void raise_bad(const char* op, const TensorView& index, int64_t dim, int64_t size, bool wrap) {
  for (int64_t pos = 0; pos < index.numel; ++pos) {
    const int64_t v = index_at(index, pos);
    if (v >= size || (wrap ? v < -size : v < 0)) fail_index(ErrorKind::kRuntime, op, v, dim, size);
  }
}

}  // namespace

// in: source, int64 index; out[.., i, ..] = source[.., index[.., i, ..], ..], of index's shape. RuntimeError.
void gather(const KernelArgs& args) {
  const IndexDimAttrs& a = args.attrs<IndexDimAttrs>();
  const TensorView &src = args.in[0], &index = args.in[1], &out = args.out[0];
  if (index.numel == 0) return;
  const Lines lines(src, index, out, a.dim);
  const int64_t limit = lines.limit, step = lines.self_step, add = a.wrap ? limit : 0;
  FirstBad bad;
  dispatch_size(out.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    lines.run(src.ptr<const T>(), index.ptr<const int64_t>(), out.ptr<T>(),
              [&](const T* from, int64_t fs, const int64_t* idx, int64_t is, T* to, int64_t ts, int64_t m) {
                for (int64_t j = 0; j < m; j += kIndexBlock) {
                  const int64_t n = min_of(kIndexBlock, m - j);
                  int64_t at[kIndexBlock];
                  if (!checked_block(idx + j * is, is, n, limit, add, step, at)) return bad.report(0);
                  const T* f = from + j * fs;
                  T* t = to + j * ts;
                  if (ts == 1 && fs == 0) {
                    for (int64_t i = 0; i < n; ++i) t[i] = f[at[i]];
                  } else {
                    for (int64_t i = 0; i < n; ++i) t[i * ts] = f[i * fs + at[i]];
                  }
                }
              });
  });
  if (bad.found()) raise_bad("gather", index, a.dim, limit, a.wrap != 0);
}

namespace {

struct MulOp {
  template <class T>
  static void apply(T& dst, T v) {
    if constexpr (dtype_of<T>::value == DType::kBool) dst = dst && v;
    else if constexpr (sizeof(compute_type<T>) != sizeof(T)) dst = T(static_cast<float>(dst) * static_cast<float>(v));
    else dst = static_cast<T>(dst * v);
  }
};
// NaN wins, as in torch.amax.
struct MaxOp {
  template <class T>
  static void apply(T& dst, T v) {
    using C = compute_type<T>;
    const C a = static_cast<C>(dst), b = static_cast<C>(v);
    if (b > a || b != b) dst = v;
  }
};
struct MinOp {
  template <class T>
  static void apply(T& dst, T v) {
    using C = compute_type<T>;
    const C a = static_cast<C>(dst), b = static_cast<C>(v);
    if (b < a || b != b) dst = v;
  }
};

// `self`: where set, out's lines along dim are copied from there one by one just before they are written to.
template <class Op, class T>
void scatter_with(const TensorView& out, const TensorView& index, const TensorView& src, int64_t dim, const char* op,
                  const T* self = nullptr) {
  if (index.numel == 0) return;
  const Lines lines(out, index, src, dim);
  const int64_t limit = lines.limit, step = lines.self_step;
  FirstBad bad;
  lines.run(out.ptr<T>(), index.ptr<const int64_t>(), src.ptr<const T>(),
            [&](T* to, int64_t ts, const int64_t* idx, int64_t is, const T* from, int64_t fs, int64_t m) {
              if (self) __builtin_memcpy(to, self + (to - out.ptr<T>()), static_cast<size_t>(limit) * sizeof(T));
              for (int64_t j = 0; j < m; j += kIndexBlock) {
                const int64_t n = min_of(kIndexBlock, m - j);
                int64_t at[kIndexBlock];
                if (!checked_block(idx + j * is, is, n, limit, 0, step, at)) return bad.report(0);
                const T* f = from + j * fs;
                T* t = to + j * ts;
                if (ts == 0 && fs == 1) {
                  for (int64_t i = 0; i < n; ++i) Op::apply(t[at[i]], f[i]);
                } else {
                  for (int64_t i = 0; i < n; ++i) Op::apply(t[i * ts + at[i]], f[i * fs]);
                }
              }
            });
  if (bad.found()) raise_bad(op, index, dim, limit, false);
}

// Written entries start from the identity of the reduction (include_self=False).
template <class T>
void reset_written(const TensorView& out, const TensorView& index, const ScatterAttrs& a) {
  using L = std::numeric_limits<T>;
  FillValue v;
  switch (a.reduce) {
    case ScatterReduce::kMultiply: v = {1, 1}; break;
    case ScatterReduce::kMax: v.real = -__builtin_inf(); break;
    case ScatterReduce::kMin: v.real = __builtin_inf(); break;
    default: break;
  }
  T value = fill_as<T>(v);
  if constexpr (L::is_integer) {
    if (a.reduce == ScatterReduce::kMax) value = L::lowest();
    if (a.reduce == ScatterReduce::kMin) value = L::max();
  }
  int64_t zero[kMaxRank] = {};
  TensorView src = index;
  src.data = &value;
  src.strides = zero;
  scatter_with<SetOp, T>(out, index, src, a.dim, "scatter_reduce");
}

template <class T>
void scatter_mean(const TensorView& out, const TensorView& index, const TensorView& src, const ScatterAttrs& a) {
  // Counts live in a dense array of out's shape; entries that nothing was added to keep a count of 1.
  const MoveScratch<int32_t> counts(out.numel);
  fill_dense(counts.data(), out.numel, a.include_self ? 1 : 0);
  const Dims dense = contiguous_strides(out.shape());
  TensorView count_view = out;
  count_view.data = counts.data();
  count_view.strides = dense.d;
  count_view.dtype = DType::kInt32;
  int32_t one = 1;
  int64_t zero[kMaxRank] = {};
  TensorView ones = index;
  ones.data = &one;
  ones.strides = zero;
  scatter_with<AddOp, int32_t>(count_view, index, ones, a.dim, "scatter_reduce");
  scatter_with<AddOp, T>(out, index, src, a.dim, "scatter_reduce");
  const Loop<2> loop = loop_of(out, count_view);
  T* p = out.ptr<T>();
  parallel_for(loop.numel, kMoveChunk, [&](int64_t begin, int64_t end) {
    loop.rows(begin, end, [&](const int64_t (&off)[2], int64_t n) {
      for (int64_t j = 0; j < n; ++j) {
        T& x = p[off[0] + j * loop.inner_stride(0)];
        const int32_t c = counts[off[1] + j * loop.inner_stride(1)];
        if (c <= 1) continue;
        if constexpr (dtype_of<T>::value >= DType::kFloat16) {
          using C = compute_type<T>;
          x = static_cast<T>(static_cast<C>(x) / static_cast<C>(c));
        } else if constexpr (dtype_of<T>::value != DType::kBool) {
          int64_t q = static_cast<int64_t>(x) / c;  // floor division
          if (static_cast<int64_t>(x) % c != 0 && x < T(0)) --q;
          x = static_cast<T>(q);
        }
      }
    });
  });
}

}  // namespace

// in: self, int64 index, src (at least index's shape; a value comes with strides 0); out: self with src scattered in
// along dim by attrs.reduce. Along one line entries are applied in index order. RuntimeError for a bad index.
void scatter(const KernelArgs& args) {
  const ScatterAttrs& a = args.attrs<ScatterAttrs>();
  const TensorView &index = args.in[1], &src = args.in[2], &out = args.out[0];
  const TensorView& self = args.in[0];
  // Where every line along the last dimension is visited, each can be copied while it is in the cache.
  bool by_lines = (a.reduce == ScatterReduce::kNone || a.reduce == ScatterReduce::kAdd) && a.include_self &&
                  index.numel > 0 && out.ndim > 0 && a.dim == out.ndim - 1 && out.contiguous && self.contiguous &&
                  self.data != out.data;
  for (int d = 0; by_lines && d < out.ndim - 1; ++d) by_lines = index.sizes[d] == out.sizes[d];
  if (!by_lines) copy_view(out, self);
  if (a.reduce == ScatterReduce::kNone) {
    dispatch_size(out.dtype, [&](auto tag) {
      using T = typename decltype(tag)::type;
      scatter_with<SetOp, T>(out, index, src, a.dim, "scatter", by_lines ? self.ptr<const T>() : nullptr);
    });
    return;
  }
  dispatch_all(out.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    if (!a.include_self) reset_written<T>(out, index, a);
    switch (a.reduce) {
      case ScatterReduce::kAdd:
        return scatter_with<AddOp, T>(out, index, src, a.dim, "scatter_add",
                                      by_lines ? self.ptr<const T>() : nullptr);
      case ScatterReduce::kMultiply: return scatter_with<MulOp, T>(out, index, src, a.dim, "scatter_reduce");
      case ScatterReduce::kMax: return scatter_with<MaxOp, T>(out, index, src, a.dim, "scatter_reduce");
      case ScatterReduce::kMin: return scatter_with<MinOp, T>(out, index, src, a.dim, "scatter_reduce");
      default: return scatter_mean<T>(out, index, src, a);
    }
  });
}

// The same kernel: the op differs in what its gradient needs.
void scatter_reduce(const KernelArgs& args) { scatter(args); }

}  // namespace fireseed::cpu::FS_ISA

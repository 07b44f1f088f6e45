// Embedding kernels: row gather and its dense gradient, max-norm renormalisation, bags (sum, mean, max).
#include "tensor/attrs/embedding.h"

#include "cpu/index_util.h"
#include "cpu/pool_util.h"

namespace fireseed::cpu::FS_ISA {
namespace {

void check_rows(const char* op, const int64_t* index, int64_t n, int64_t rows) {
  FirstBad bad;
  parallel_for(n, kMoveChunk, [&](int64_t b, int64_t e) {
    uint64_t wrong = 0;
    for (int64_t i = b; i < e; ++i) wrong |= static_cast<uint64_t>(index[i]) >= static_cast<uint64_t>(rows);
    if (!wrong) return;
    for (int64_t i = b; i < e; ++i)
      if (static_cast<uint64_t>(index[i]) >= static_cast<uint64_t>(rows)) return bad.report(i);
  });
  if (bad.found()) fail_index(ErrorKind::kIndex, op, index[bad.pos()], 0, rows);
}

// Positions 0..n-1 grouped by row, each group in ascending order: those of row r are order[start[r] .. start[r + 1]).
// Rows equal to `skip` keep none.
class RowGroups {
 public:
  RowGroups(const int64_t* index, int64_t n, int64_t rows, int64_t skip) : start_(rows + 2), order_(n) {
    int64_t* s = start_.data();
    __builtin_memset(s, 0, static_cast<size_t>(rows + 2) * sizeof(int64_t));
    for (int64_t i = 0; i < n; ++i)
      if (index[i] != skip) ++s[index[i] + 2];
    for (int64_t r = 2; r < rows + 2; ++r) s[r] += s[r - 1];
    for (int64_t i = 0; i < n; ++i)
      if (index[i] != skip) order_[s[index[i] + 1]++] = i;
  }
  int64_t begin(int64_t row) const { return start_[row]; }
  int64_t end(int64_t row) const { return start_[row + 1]; }
  const int64_t* order() const { return order_.data(); }

 private:
  MoveScratch<int64_t> start_, order_;
};

}  // namespace

// in: weight (V, D), int64 indices of any shape; out: (indices' shape, D). IndexError.
void embedding(const KernelArgs& args) {
  const TensorView &weight = args.in[0], &out = args.out[0];
  const Packed<int64_t> packed(args.in[1]);
  const int64_t n = args.in[1].numel, width = weight.sizes[1];
  const int64_t* index = packed.data();
  check_rows("embedding", index, n, weight.sizes[0]);
  if (out.numel == 0) return;
  dispatch_size(out.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* w = weight.ptr<const T>();
    const PackedOut<T> target(out);
    const int64_t row = weight.strides[0], col = weight.strides[1];
    parallel_for(n, max_of(1, kMoveChunk / width), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        if (i + 2 < end) fetch_row(w + index[i + 2] * row, width);
        copy_run(target.data() + i * width, 1, w + index[i] * row, col, width);
      }
    });
    target.flush();
  });
}

// in: g (.., D), int64 indices; out: (V, D), each row the sum of its occurrences' gradients (in order of position);
// padding_idx gets none; with scale_grad_by_freq divided by the number of occurrences. Each row is written once.
void embedding_backward(const KernelArgs& args) {
  const EmbeddingAttrs& a = args.attrs<EmbeddingAttrs>();
  const TensorView& out = args.out[0];
  const Packed<int64_t> packed(args.in[1]);
  const int64_t n = args.in[1].numel, rows = out.sizes[0], width = out.sizes[1];
  check_rows("embedding_backward", packed.data(), n, rows);
  if (out.numel == 0) return;
  const RowGroups groups(packed.data(), n, rows, a.padding_idx);
  dispatch_float(out.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_type<T>;
    constexpr int kV = Vec<C>::kSize;
    const Packed<T> gp(args.in[0]);
    const PackedOut<T> target(out);
    parallel_for(rows, max_of(1, 4 * kMoveChunk / width), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end;) {
        T* o = target.data() + r * width;
        const int64_t g0 = groups.begin(r), g1 = groups.end(r);
        if (g0 == g1) {  // a stretch of rows that nothing refers to
          int64_t stop = r + 1;
          while (stop < end && groups.begin(stop) == groups.end(stop)) ++stop;
          __builtin_memset(o, 0, static_cast<size_t>((stop - r) * width) * sizeof(T));
          r = stop;
          continue;
        }
        const bool scaled = a.scale_grad_by_freq && g1 - g0 > 1;
        const Vec<C> scale(static_cast<C>(1) / static_cast<C>(g1 - g0));
        for (int64_t c = 0; c < width; c += kV) {
          const int m = static_cast<int>(min_of(kV, width - c));
          Vec<C> sum(C(0));
          for (int64_t j = g0; j < g1; ++j) {
            const T* g = gp.data() + groups.order()[j] * width + c;
            sum += m == kV ? load_as<C>(g) : load_as<C>(g, m);
          }
          store_as<C>(o + c, scaled ? sum * scale : sum, m);
        }
        ++r;
      }
    });
    target.flush();
  });
}

// in: weight (V, D), int64 indices; out: weight with the rows named by indices scaled down to norm max_norm where
// their norm_type-norm exceeds it. IndexError.
void embedding_renorm(const KernelArgs& args) {
  const EmbeddingRenormAttrs& a = args.attrs<EmbeddingRenormAttrs>();
  const TensorView& out = args.out[0];
  const Packed<int64_t> packed(args.in[1]);
  const int64_t n = args.in[1].numel, rows = out.sizes[0], width = out.sizes[1];
  check_rows("embedding", packed.data(), n, rows);
  copy_view(out, args.in[0]);
  if (out.numel == 0) return;
  const MoveScratch<uint8_t> seen(rows);
  __builtin_memset(seen.data(), 0, static_cast<size_t>(rows));
  dispatch_float(out.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    for (int64_t i = 0; i < n; ++i) {
      const int64_t r = packed.data()[i];
      if (seen[r]) continue;
      seen[r] = 1;
      T* row = out.ptr<T>() + r * out.strides[0];
      const int64_t step = out.strides[1];
      double norm = 0;
      for (int64_t c = 0; c < width; ++c) {
        const double x = __builtin_fabs(static_cast<double>(static_cast<compute_type<T>>(row[c * step])));
        if (a.norm_type == 2) norm += x * x;
        else if (a.norm_type == 1) norm += x;
        else if (__builtin_isinf(a.norm_type)) norm = x > norm ? x : norm;
        else norm += __builtin_pow(x, a.norm_type);
      }
      if (a.norm_type == 2) norm = __builtin_sqrt(norm);
      else if (a.norm_type != 1 && !__builtin_isinf(a.norm_type)) norm = __builtin_pow(norm, 1 / a.norm_type);
      if (!(norm > a.max_norm)) continue;
      using C = compute_type<T>;
      const C scale = static_cast<C>(a.max_norm / (norm + 1e-7));
      for (int64_t c = 0; c < width; ++c) row[c * step] = static_cast<T>(static_cast<C>(row[c * step]) * scale);
    }
  });
}

namespace {

// First and last position of bag b among n indices.
inline void bag_range(const int64_t* offsets, int64_t count, int64_t b, int64_t n, int64_t& begin, int64_t& end) {
  begin = offsets[b];
  end = b + 1 < count ? offsets[b + 1] : n;
}

void check_bags(const int64_t* offsets, int64_t count, int64_t n) {
  if (count == 0) return;
  if (offsets[0] != 0) {
    fail(ErrorKind::kRuntime,
         "embedding_bag: offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to start from ",
         "position 0. However, got ", offsets[0]);
  }
  for (int64_t b = 0; b < count; ++b) {
    if (offsets[b] > n) {
      fail(ErrorKind::kRuntime, "embedding_bag: offsets[", b, "] can not be greater than input's length ", n,
           " but got ", offsets[b]);
    }
    if (b > 0 && offsets[b] < offsets[b - 1]) {
      fail(ErrorKind::kRuntime, "embedding_bag: offsets must not decrease, got ", offsets[b - 1], " then ",
           offsets[b]);
    }
  }
}

void check_bag_rows(const int64_t* index, int64_t n, int64_t rows) {
  for (int64_t i = 0; i < n; ++i) {
    if (static_cast<uint64_t>(index[i]) >= static_cast<uint64_t>(rows)) {
      fail(ErrorKind::kRuntime, "embedding_bag: Index ", i, " of input takes value ", index[i],
           " which is not in the valid range [0, ", rows, ")");
    }
  }
}

}  // namespace

// in: weight (V, D), int64 indices (n,), int64 offsets (>= bags,), optional per-sample weights (n,); out: (bags, D),
// the weighted sum or the mean of each bag's rows; padding_idx counts nowhere. Empty bags give 0. RuntimeError.
void embedding_bag(const KernelArgs& args) {
  const EmbeddingBagAttrs& a = args.attrs<EmbeddingBagAttrs>();
  const TensorView &weight = args.in[0], &out = args.out[0];
  const Packed<int64_t> index(args.in[1]), offsets(args.in[2]);
  const int64_t n = args.in[1].numel, count = args.in[2].numel, width = weight.sizes[1];
  check_bags(offsets.data(), count, n);
  check_bag_rows(index.data(), n, weight.sizes[0]);
  if (out.numel == 0) return;
  const bool weighted = args.num_in > 3 && args.in[3].defined();
  dispatch_float(out.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_type<T>;
    constexpr int kV = Vec<C>::kSize;
    const Packed<T> w(weight);
    const PackedOut<T> target(out);
    const T* scale = weighted ? args.in[3].ptr<const T>() : nullptr;
    const int64_t scale_step = weighted ? args.in[3].strides[0] : 0;
    const int64_t average = max_of(1, n / max_of(1, a.bags)) * width;
    parallel_for(a.bags, max_of(1, kMoveChunk / average), [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) {
        int64_t e0, e1, used = 0;
        bag_range(offsets.data(), count, b, n, e0, e1);
        for (int64_t e = e0; e < e1; ++e) used += index.data()[e] != a.padding_idx;
        const Vec<C> divisor(static_cast<C>(a.mode == BagMode::kMean && used > 0 ? used : 1));
        for (int64_t c = 0; c < width; c += kV) {
          const int m = static_cast<int>(min_of(kV, width - c));
          Vec<C> sum(C(0));
          for (int64_t e = e0; e < e1; ++e) {
            const int64_t r = index.data()[e];
            if (r == a.padding_idx) continue;
            const T* p = w.data() + r * width + c;
            const Vec<C> v = m == kV ? load_as<C>(p) : load_as<C>(p, m);
            sum += weighted ? v * Vec<C>(static_cast<C>(scale[e * scale_step])) : v;
          }
          store_as<C>(target.data() + b * width + c, sum / divisor, m);
        }
      }
    });
    target.flush();
  });
}

// in: weight (V, D), int64 indices (n,), int64 offsets; out[0]: (bags, D), the maximum of each bag's rows (0 for an
// empty bag), out[1]: int64 (bags, D), the row each came from (-1 for an empty bag). RuntimeError.
void embedding_bag_max(const KernelArgs& args) {
  const EmbeddingBagAttrs& a = args.attrs<EmbeddingBagAttrs>();
  const TensorView &weight = args.in[0], &out = args.out[0];
  const Packed<int64_t> index(args.in[1]), offsets(args.in[2]);
  const int64_t n = args.in[1].numel, count = args.in[2].numel, width = weight.sizes[1];
  check_bags(offsets.data(), count, n);
  check_bag_rows(index.data(), n, weight.sizes[0]);
  if (out.numel == 0) return;
  dispatch_float(out.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_type<T>;
    const Packed<T> w(weight);
    const PackedOut<T> target(out);
    const PackedOut<int64_t> rows(args.out[1]);
    const int64_t average = max_of(1, n / max_of(1, a.bags)) * width;
    parallel_for(a.bags, max_of(1, kMoveChunk / average), [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) {
        int64_t e0, e1;
        bag_range(offsets.data(), count, b, n, e0, e1);
        T* o = target.data() + b * width;
        int64_t* from = rows.data() + b * width;
        for (int64_t c = 0; c < width; ++c) {
          o[c] = static_cast<T>(C(0));
          from[c] = -1;
        }
        for (int64_t e = e0; e < e1; ++e) {
          const int64_t r = index.data()[e];
          if (r == a.padding_idx) continue;
          const T* p = w.data() + r * width;
          for (int64_t c = 0; c < width; ++c) {
            if (from[c] >= 0 && !(static_cast<C>(p[c]) > static_cast<C>(o[c]))) continue;
            o[c] = p[c];
            from[c] = r;
          }
        }
      }
    });
    target.flush();
    rows.flush();
  });
}

}  // namespace fireseed::cpu::FS_ISA

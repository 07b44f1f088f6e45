// Forward pass of scaled dot product attention. Note [Blocked attention] in attention.h.
#include "cpu/attention.h"

namespace fireseed::cpu::FS_ISA {
namespace {

constexpr int64_t kQueries = 32 / kMaxRows * kMaxRows;  // queries of a block: whole row panels
constexpr int64_t kKeys = 512;                          // keys of a block
constexpr int64_t kFew = 4;                             // queries that are not worth packing keys for

template <class T>
class Forward {
 public:
  using C = compute_type<T>;
  using V = Vec<C>;
  static constexpr int kV = V::kSize;
  static constexpr int64_t kW = kTileCols<C>;

  explicit Forward(const KernelArgs& args)
      : attrs_(args.attrs<AttentionAttrs>()),
        q_(args.in[0]),
        k_(args.in[1]),
        v_(args.in[2]),
        mask_(args.num_in > 3 ? args.in[3] : TensorView{}),
        out_(args.out[0]),
        lse_(args.out[1].defined() ? args.out[1].ptr<C>() : nullptr),
        panels_(pieces_of(k_.rows, kW)),
        v_step_(whole_vectors<C>(v_.cols)) {
    const int64_t blocks = pieces_of(q_.rows, kQueries), heads = q_.count();
    if (blocks * attrs_.groups > 1 && q_.rows > kFew) pack();
    const int64_t products = q_.rows * k_.rows * (q_.cols + v_.cols + 16) / (attrs_.causal ? 2 : 1);
    parallel_for(heads * blocks, at_least(1, 2 * kSerialProducts * blocks / at_least(1, products)),
                 [&](int64_t begin, int64_t end) {
                   Block b(*this);
                   for (int64_t task = begin; task < end; ++task) {
                     // The last queries, which see the most keys, go first.
                     const int64_t i = blocks - 1 - task % blocks;
                     b.run(task / blocks, piece_begin(q_.rows, blocks, i), piece_begin(q_.rows, blocks, i + 1));
                   }
                 });
  }

 private:
  // Packed keys and values, for heads that several blocks of queries look at.
  void pack() {
    const int64_t heads = k_.count(), panel = kW * k_.cols;
    keys_.reset(heads * panels_ * panel);
    values_.reset(heads * k_.rows * v_step_);
    parallel_for(heads * panels_, at_least(1, 16384 / (panel + 1)), [&](int64_t begin, int64_t end) {
      for (int64_t task = begin; task < end; ++task) {
        const int64_t head = task / panels_, p = task % panels_;
        pack_panel(keys_.data() + task * panel, k_, head, p);
        copy_rows(values_.data() + (head * k_.rows + p * kW) * v_step_, v_step_, v_, head, p * kW,
                  at_most(k_.rows, (p + 1) * kW), C(1));
      }
    });
  }

  // One block of queries with all the keys it sees.
  class Block {
   public:
    explicit Block(Forward& f)
        : f_(f),
          q_step_(whole_vectors<C>(f.q_.cols) + kV),
          queries_(kQueries * q_step_),
          scores_(kQueries * kStep),
          sum_(kQueries * f.v_step_) {
      if (f.keys_) return;
      keys_.reset(kW * f.k_.cols);
      if (!kInPlace || f.v_.col != 1 || f.v_.cols % kV != 0) values_.reset(kKeys * f.v_step_);
    }

    void run(int64_t head, int64_t i0, int64_t i1) {
      const int64_t rows = i1 - i0, keys = f_.attrs_.causal ? at_most(i1, f_.k_.rows) : f_.k_.rows;
      const int64_t kv = head / f_.attrs_.groups;
      const bool few = kInPlace && rows <= kFew && !f_.keys_ && f_.k_.col == 1 && f_.v_.col == 1;
      copy_rows(queries_.data(), q_step_, f_.q_, head, i0, i1, static_cast<C>(f_.attrs_.scale * kLog2E));
      for (int64_t r = 0; r < rows; ++r) {
        max_[r] = -static_cast<C>(__builtin_inf());
        total_[r] = 0;
      }
      __builtin_memset(sum_.data(), 0, static_cast<size_t>(rows * f_.v_step_) * sizeof(C));
      for (int64_t j0 = 0; j0 < keys; j0 += kKeys) {
        const int64_t n = at_most(kKeys, keys - j0);
        if (few) few_scores(kv, j0, n, rows);
        else scores(kv, j0, n, rows);
        for (int64_t r = 0; r < rows; ++r) {
          const int64_t seen = f_.attrs_.causal ? at_most(n, at_least(0, i0 + r + 1 - j0)) : n;
          if (f_.mask_.any()) f_.mask_.apply(scores_.data() + r * kStep, head, i0 + r, j0, seen);
          weigh(r, seen, n);
        }
        if (few) few_sums(kv, j0, n, rows);
        else sums(kv, j0, n, rows);
      }
      T* out = f_.out_.at(head);
      for (int64_t r = 0; r < rows; ++r) {
        store_row(out + (i0 + r) * f_.out_.row, sum_.data() + r * f_.v_step_, f_.v_.cols,
                  total_[r] == C(0) ? C(0) : C(1) / total_[r]);
        // A row that saw nothing: its weights are 2^(s - inf) = 0 in the backward pass too.
        if (f_.lse_)
          f_.lse_[head * f_.q_.rows + i0 + r] =
              total_[r] == C(0) ? static_cast<C>(__builtin_inf()) : max_[r] + log2(total_[r]);
      }
    }

   private:
    static constexpr int64_t kStep = kKeys + 16;
    static constexpr bool kInPlace = same_type<T, C>;

    // scores (rows, n) = queries k^T for n keys from j0.
    void scores(int64_t kv, int64_t j0, int64_t n, int64_t rows) {
      const int64_t cols = f_.q_.cols;
      for (int64_t j = 0; j < n; j += kW) {
        const int64_t p = (j0 + j) / kW;
        const C* panel = keys_.data();
        if (f_.keys_) panel = f_.keys_.data() + (kv * f_.panels_ + p) * kW * cols;
        else pack_panel(keys_.data(), f_.k_, kv, p);
        panel_product(cols, queries_.data(), q_step_, rows, panel, panel_step<C>(f_.k_.rows, p), scores_.data() + j,
                      kStep, static_cast<int>(at_most(kW, n - j)), C(1), C(0));
      }
    }
    // sum (rows, V) += weights v.
    void sums(int64_t kv, int64_t j0, int64_t n, int64_t rows) {
      const C* values = f_.keys_ ? f_.values_.data() + (kv * f_.k_.rows + j0) * f_.v_step_ : values_.data();
      int64_t step = f_.v_step_;
      if (!f_.keys_) {
        if (values_) {
          copy_rows(values_.data(), f_.v_step_, f_.v_, kv, j0, j0 + n, C(1));
        } else {
          values = reinterpret_cast<const C*>(f_.v_.at(kv) + j0 * f_.v_.row);
          step = f_.v_.row;
        }
      }
      rows_product(n, scores_.data(), kStep, rows, values, step, sum_.data(), f_.v_step_, f_.v_step_, C(1), C(1));
    }
    // The same for few rows: nothing is packed.
    void few_scores(int64_t kv, int64_t j0, int64_t n, int64_t rows) {
      GemmCall<C> g{};
      g.m = rows, g.n = n, g.k = f_.q_.cols;
      g.a = queries_.data(), g.a_row = q_step_, g.a_col = 1;
      g.b = reinterpret_cast<const C*>(f_.k_.at(kv) + j0 * f_.k_.row), g.b_row = 1, g.b_col = f_.k_.row;
      g.c = scores_.data(), g.c_row = kStep, g.c_col = 1;
      gemm(g);
    }
    void few_sums(int64_t kv, int64_t j0, int64_t n, int64_t rows) {
      GemmCall<C> g{};
      g.m = rows, g.n = f_.v_.cols, g.k = n;
      g.a = scores_.data(), g.a_row = kStep, g.a_col = 1;
      g.b = reinterpret_cast<const C*>(f_.v_.at(kv) + j0 * f_.v_.row), g.b_row = f_.v_.row, g.b_col = 1;
      g.c = sum_.data(), g.c_row = f_.v_step_, g.c_col = 1;
      g.beta = 1;
      gemm(g);
    }

    // Turns the first `seen` scores of row r into weights relative to the row's new maximum, the others up to n into
    // zeros; brings the row's maximum, total and sum up to date.
    void weigh(int64_t r, int64_t seen, int64_t n) {
      C* s = scores_.data() + r * kStep;
      const V low = V(-static_cast<C>(__builtin_inf()));
      const int64_t whole = seen / kV * kV;
      const Mask<C> tail = Mask<C>::first(static_cast<int>(seen - whole));
      V m0 = where(tail, V::load(s + whole), low), m1 = low;  // the buffer has a vector more than kKeys
      int64_t j = 0;
      for (; j + 2 * kV <= whole; j += 2 * kV) {
        m0 = max(V::load(s + j), m0);
        m1 = max(V::load(s + j + kV), m1);
      }
      if (j < whole) m0 = max(V::load(s + j), m0);
      const C old = max_[r], found = reduce_max(max(m0, m1)), top = found > old ? found : old;
      const C base = top == low[0] ? C(0) : top;
      V t0 = where(tail, weight_of(V::load(s + whole) - V(base)), V(C(0))), t1 = C(0);
      t0.store(s + whole);
      for (j = 0; j + 2 * kV <= whole; j += 2 * kV) {
        const V a = weight_of(V::load(s + j) - V(base)), b = weight_of(V::load(s + j + kV) - V(base));
        a.store(s + j);
        b.store(s + j + kV);
        t0 += a;
        t1 += b;
      }
      if (j < whole) {
        const V a = weight_of(V::load(s + j) - V(base));
        a.store(s + j);
        t0 += a;
      }
      for (j = whole + kV; j < n; j += kV) V(C(0)).store(s + j);
      C total = reduce_add(t0 + t1);
      if (total_[r] != C(0)) {
        if (old != top) {
          const V shrink = exp2(V(old - base));
          total_[r] *= shrink[0];
          C* sum = sum_.data() + r * f_.v_step_;
          for (int64_t e = 0; e < f_.v_step_; e += kV) (V::load(sum + e) * shrink).store(sum + e);
        }
        total += total_[r];
      }
      total_[r] = total;
      max_[r] = top;
    }

    Forward& f_;
    const int64_t q_step_;
    Scratch<C> queries_, scores_, sum_;
    Scratch<C> keys_, values_;  // a panel and a block, where the call has none packed
    C max_[kQueries], total_[kQueries];
  };

  const AttentionAttrs& attrs_;
  const Heads<T> q_, k_, v_;
  const AttentionMask<C> mask_;
  const Heads<T> out_;
  C* const lse_;
  const int64_t panels_, v_step_;
  Scratch<C> keys_, values_;
};

}  // namespace

// in: q (..., L, E), k (..., S, E), v (..., S, V), mask with q's leading axes, L and S (strides may be 0), bool or
// float, or absent; k and v have q's heads divided by `groups`. out: y (..., L, V), and where wanted the logarithms
// to base 2 of the rows' sums (heads, L) in the compute type.
void attention(const KernelArgs& args) {
  dispatch_float(args.in[0].dtype, [&](auto tag) { Forward<typename decltype(tag)::type>{args}; });
}

}  // namespace fireseed::cpu::FS_ISA

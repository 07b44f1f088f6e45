// Forward pass of scaled dot product attention. Note [Blocked attention] in attention.h.
#include "cpu/attention.h"

namespace fireseed::cpu::FS_ISA {
namespace {

constexpr int64_t kKeys = 256;  // of a block: its scores stay in L1
constexpr int64_t kFew = 4;     // queries that are not worth a panel; their softmax is one vector

// Running softmax of the scores of some queries: the largest score so far, and the sum of the weights 2^(s -
// largest).
template <class C>
struct RunningSoftmax {
  using V = Vec<C>;
  FS_INLINE static V lowest() { return -static_cast<C>(__builtin_inf()); }
  V largest = lowest(), total = C(0);

  // Takes in a largest score `found`; returns what the sums so far are to be multiplied by. Where all scores are -inf
  // weights are relative to 0, so that they are 0.
  FS_INLINE V raise(V found, V& base) {
    const V old = largest;
    largest = where(found > old, found, old);
    base = where(largest == lowest(), V(C(0)), largest);
    const V shrink = where(old == largest, V(C(1)), weight_of(old - base));
    total = where(total == C(0), total, total * shrink);
    return shrink;
  }
  // What the sums are divided by at the end (0 for a query that saw nothing), and the logarithm of the row's sum. For
  // a row that saw nothing it is inf: its weights are 2^(s - inf) = 0 in the backward pass too.
  FS_INLINE V share() const { return where(total == C(0), V(C(0)), V(C(1)) / total); }
  FS_INLINE V log_sum() const {
    return where(total == C(0), V(static_cast<C>(__builtin_inf())), largest + log2(total));
  }
};

template <class T>
class Forward {
 public:
  using C = compute_type<T>;
  using V = Vec<C>;
  static constexpr int kV = V::kSize;
  static constexpr int64_t kQ = kPanelQueries<C>;
  static constexpr int kVecs = kTileVecs;

  explicit Forward(const KernelArgs& args)
      : attrs_(args.attrs<AttentionAttrs>()),
        q_(args.in[0]),
        k_(args.in[1]),
        v_(args.in[2]),
        mask_(args.num_in > 3 ? args.in[3] : TensorView{}),
        out_(args.out[0]),
        lse_(args.out[1].defined() ? args.out[1].ptr<C>() : nullptr),
        v_step_(whole_vectors<C>(v_.cols)),
        few_(q_.rows <= at_most(kFew, kV) && in_place<C>(k_, false) && in_place<C>(v_, false)) {
    const int64_t panels = pieces_of(q_.rows, kQ), heads = q_.count();
    const int64_t products = at_most(q_.rows, kQ) * k_.rows * (q_.cols + v_.cols + 16) / (attrs_.causal ? 2 : 1);
    parallel_for(heads * panels, items_in_chunk(heads * panels, products), [&](int64_t begin, int64_t end) {
      Panel p(*this);
      for (int64_t task = begin; task < end; ++task) {
        // The last queries, which see the most keys, go first.
        const int64_t i = (panels - 1 - task % panels) * kQ, rows = at_most(kQ, q_.rows - i);
        if (few_) p.run_few(task / panels, rows);
        else p.run(task / panels, i, rows);
      }
    });
  }

 private:
  // One panel of queries with all the keys it sees.
  class Panel {
   public:
    explicit Panel(Forward& f)
        : f_(f),
          queries_(kQ * whole_vectors<C>(f.q_.cols)),
          scores_(kKeys * kQ),
          sums_(kQ * f.v_step_),
          keys_(in_place<C>(f.k_, false) ? 0 : kKeys * whole_vectors<C>(f.k_.cols)),
          values_(f.few_ || in_place<C>(f.v_, true) ? 0 : kKeys * f.v_step_),
          mask_(f.mask_.any() ? mask_room<C>(kKeys) : 0) {}

    void run(int64_t head, int64_t i0, int64_t rows) {
      const int64_t keys = f_.attrs_.causal ? at_most(i0 + rows, f_.k_.rows) : f_.k_.rows;
      const int64_t kv = head / f_.attrs_.groups, lanes = panel_width<C>(rows);
      pack_queries(queries_.data(), f_.q_, head, i0, rows);
      RunningSoftmax<C> soft[kVecs];
      if (keys == 0) set_zero(sums_.data(), rows * f_.v_step_);
      for (int64_t j0 = 0; j0 < keys; j0 += kKeys) {
        const int64_t n = at_most(kKeys, keys - j0);
        const auto k = rows_of<C>(f_.k_, kv, j0, j0 + n, false, keys_.data());
        panel_product(f_.q_.cols, k.data, k.step, n, queries_.data(), lanes, scores_.data(), kQ,
                      static_cast<int>(lanes), static_cast<C>(f_.attrs_.scale * kLog2E), C(0));
        if (f_.mask_.any()) f_.mask_.apply(scores_.data(), kQ, head, i0, rows, j0, n, mask_.data());
        if (f_.attrs_.causal) hide(i0 - j0, n);
        if (lanes == kQ) weigh<kVecs>(soft, n, rows, j0 > 0);
        else weigh<1>(soft, n, rows, j0 > 0);
        const auto v = rows_of<C>(f_.v_, kv, j0, j0 + n, true, values_.data());
        rows_product<false>(n, scores_.data(), kQ, rows, v.data, v.step, sums_.data(), f_.v_step_, f_.v_step_, C(1),
                            C(j0 > 0));
      }
      finish(soft, head, i0, rows);
    }

    // All queries, where they are few: nothing is packed, and scores lie along the keys.
    void run_few(int64_t head, int64_t rows) {
      const int64_t kv = head / f_.attrs_.groups, q_step = whole_vectors<C>(f_.q_.cols);
      copy_rows(queries_.data(), q_step, f_.q_, head, 0, rows, static_cast<C>(f_.attrs_.scale * kLog2E));
      RunningSoftmax<C> soft[kVecs];
      set_zero(sums_.data(), rows * f_.v_step_);
      for (int64_t j0 = 0; j0 < f_.k_.rows; j0 += kKeys) {
        const int64_t n = at_most(kKeys, f_.k_.rows - j0);
        GemmCall<C> g{};
        g.m = rows, g.n = n, g.k = f_.q_.cols;
        g.a = queries_.data(), g.a_row = q_step, g.a_col = 1;
        g.b = reinterpret_cast<const C*>(f_.k_.at(kv) + j0 * f_.k_.row), g.b_row = 1, g.b_col = f_.k_.row;
        g.c = scores_.data(), g.c_row = kKeys, g.c_col = 1;
        gemm(g);
        for (int64_t r = 0; r < rows; ++r) {
          const int64_t seen = f_.attrs_.causal ? at_most(n, at_least(0, r + 1 - j0)) : n;
          C* s = scores_.data() + r * kKeys;
          if (f_.mask_.any()) f_.mask_.apply_row(s, head, r, j0, seen, mask_.data());
          weigh_row(soft[0], r, s, seen, n);
        }
        g.n = f_.v_.cols, g.k = n;
        g.a = scores_.data(), g.a_row = kKeys;
        g.b = reinterpret_cast<const C*>(f_.v_.at(kv) + j0 * f_.v_.row), g.b_row = f_.v_.row, g.b_col = 1;
        g.c = sums_.data(), g.c_row = f_.v_step_;
        g.beta = 1;
        gemm(g);
      }
      finish(soft, head, 0, rows);
    }

   private:
    // Scores of keys that come after the query become -inf. The first query comes `ahead` keys after the first key.
    void hide(int64_t ahead, int64_t n) {
      for (int64_t j = at_least(0, ahead + 1); j < n; ++j)
        for (int64_t r = 0; r < kQ; r += kV) {
          C* s = scores_.data() + j * kQ + r;
          where(hidden_lanes<C>(j, ahead + r), RunningSoftmax<C>::lowest(), V::load(s)).store(s);
        }
    }

    // Turns the scores of n keys into weights and brings the softmax and, where there are any, the sums up to date.
    template <int kN>
    void weigh(RunningSoftmax<C>* soft, int64_t n, int64_t rows, bool any_sums) {
      C* const s = scores_.data();
      V found[kN], base[kN], total[kN];
      for (int v = 0; v < kN; ++v) found[v] = RunningSoftmax<C>::lowest();
      for (int64_t j = 0; j < n; ++j)
        for (int v = 0; v < kN; ++v) found[v] = max(V::load(s + j * kQ + v * kV), found[v]);
      bool moved = false;
      alignas(64) C shrink[kN * kV];
      for (int v = 0; v < kN; ++v) {
        const V by = soft[v].raise(found[v], base[v]);
        moved |= !(by == V(C(1))).all();
        by.store(shrink + v * kV);
        total[v] = C(0);
      }
      for (int64_t j = 0; j < n; ++j)
        for (int v = 0; v < kN; ++v) {
          const V w = weight_of(V::load(s + j * kQ + v * kV) - base[v]);
          w.store(s + j * kQ + v * kV);
          total[v] += w;
        }
      for (int v = 0; v < kN; ++v) soft[v].total += total[v];
      if (!any_sums || !moved) return;
      for (int64_t r = 0; r < rows; ++r) scale_sums(r, shrink[r]);
    }
    // The same for the scores s of query r, whose first `seen` of n keys count; its softmax is lane r.
    void weigh_row(RunningSoftmax<C>& soft, int64_t r, C* s, int64_t seen, int64_t n) {
      const V low = RunningSoftmax<C>::lowest();
      V found = low, base, total = C(0);
      for (int64_t j = 0; j < seen; j += kV) {
        const int lanes = static_cast<int>(at_most(kV, seen - j));
        found = max(where(Mask<C>::first(lanes), V::load(s + j, lanes), low), found);
      }
      const V largest = reduce_max(found);
      const Mask<C> mine = Mask<C>::first(static_cast<int>(r + 1)) & ~Mask<C>::first(static_cast<int>(r));
      const V shrink = soft.raise(where(mine, largest, low), base);
      const V from = base[static_cast<int>(r)];
      for (int64_t j = 0; j < n; j += kV) {  // n <= kKeys, which is whole vectors
        V w = weight_of(V::load(s + j) - from);
        if (j + kV > seen) w = where(Mask<C>::first(static_cast<int>(at_least(0, seen - j))), w, V(C(0)));
        w.store(s + j);
        total += w;
      }
      soft.total += where(mine, V(reduce_add(total)), V(C(0)));
      if (shrink[static_cast<int>(r)] != C(1)) scale_sums(r, shrink[static_cast<int>(r)]);
    }
    void scale_sums(int64_t r, C by) {
      C* sum = sums_.data() + r * f_.v_step_;
      for (int64_t e = 0; e < f_.v_step_; e += kV) (V::load(sum + e) * V(by)).store(sum + e);
    }

    void finish(const RunningSoftmax<C>* soft, int64_t head, int64_t i0, int64_t rows) {
      alignas(64) C share[kQ], log_sum[kQ];
      for (int v = 0; v < kVecs; ++v) {
        soft[v].share().store(share + v * kV);
        soft[v].log_sum().store(log_sum + v * kV);
      }
      T* out = f_.out_.at(head) + i0 * f_.out_.row;
      for (int64_t r = 0; r < rows; ++r)
        store_row(out + r * f_.out_.row, sums_.data() + r * f_.v_step_, f_.v_.cols, share[r]);
      if (f_.lse_) __builtin_memcpy(f_.lse_ + head * f_.q_.rows + i0, log_sum, static_cast<size_t>(rows) * sizeof(C));
    }

    Forward& f_;
    Scratch<C> queries_, scores_, sums_;
    Scratch<C> keys_, values_, mask_;  // copies of a block, where it cannot be used as it is
  };

  const AttentionAttrs& attrs_;
  const Heads<T> q_, k_, v_;
  const AttentionMask<C> mask_;
  const Heads<T> out_;
  C* const lse_;
  const int64_t v_step_;
  const bool few_;
};

}  // namespace

// in: q (..., L, E), k (..., S, E), v (..., S, V), mask with q's leading axes, L and S (strides may be 0), bool or
// float, or absent; k and v have q's heads divided by `groups`. out: y (..., L, V), and where wanted the logarithms
// to base 2 of the rows' sums (heads, L) in the compute type.
void attention(const KernelArgs& args) {
  dispatch_float(args.in[0].dtype, [&](auto tag) { Forward<typename decltype(tag)::type>{args}; });
}

}  // namespace fireseed::cpu::FS_ISA

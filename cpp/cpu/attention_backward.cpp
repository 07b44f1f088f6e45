// Backward pass of scaled dot product attention. Note [Blocked attention] in attention.h.
#include "cpu/attention.h"

namespace fireseed::cpu::FS_ISA {
namespace {

constexpr int64_t kKeys = 64;        // of a block
constexpr int64_t kPanels = 2;       // of queries in a block
constexpr int64_t kRangeKeys = 512;  // a task has at least so many keys of a head, or all
constexpr int64_t kTasks = 16;       // as many are wanted

// With weights p = 2^(s - lse), dp = g v^T and d = Σ g y of each row: ds = p (dp - d);
// gv = p^T g, gq = ds k scale, gk = ds^T q scale.
// A task has a key head and a range of its keys. For each query head it packs the queries and cotangents, and goes
// through the blocks of keys, for each through the queries that see it. Each range adds up its own part of gq; where
// there are several ranges the parts are added at the end, in order.
template <class T>
class Backward {
 public:
  using C = compute_type<T>;
  using V = Vec<C>;
  static constexpr int kV = V::kSize;
  static constexpr int64_t kQ = kPanelQueries<C>;

  explicit Backward(const KernelArgs& args)
      : attrs_(args.attrs<AttentionAttrs>()),
        g_(args.in[0]),
        q_(args.in[1]),
        k_(args.in[2]),
        v_(args.in[3]),
        y_(args.in[4]),
        mask_(args.in[6]),
        gq_(args.out[0]),
        gk_(args.out[1]),
        gv_(args.out[2]),
        lse_(args.in[5].ptr<C>()),
        q_step_(whole_vectors<C>(q_.cols)),
        v_step_(whole_vectors<C>(v_.cols)) {
    if (q_.count() == 0) return;
    const int64_t heads = k_.count(), blocks = pieces_of(k_.rows, kKeys);
    ranges_ = at_least(1, at_most(kTasks / heads, k_.rows / kRangeKeys));
    if (ranges_ > 1) parts_.reset(ranges_ * q_.count() * q_.rows * q_step_);
    const int64_t products = attrs_.groups * q_.rows * k_.rows * (q_.cols + v_.cols + 16) * 2 / ranges_;
    parallel_for(heads * ranges_, items_in_chunk(heads * ranges_, products), [&](int64_t begin, int64_t end) {
      Range r(*this, at_most(k_.rows, pieces_of(blocks, ranges_) * kKeys));
      for (int64_t task = begin; task < end; ++task) {
        const int64_t range = task % ranges_;
        r.run(task / ranges_, range, at_most(k_.rows, piece_begin(blocks, ranges_, range) * kKeys),
              at_most(k_.rows, piece_begin(blocks, ranges_, range + 1) * kKeys));
      }
    });
    if (ranges_ > 1) add_parts();
  }

 private:
  // The gradients of a range of keys of a head.
  class Range {
   public:
    Range(Backward& f, int64_t keys)
        : f_(f),
          panels_(pieces_of(f.q_.rows, kQ)),
          p_(kKeys * kStep),
          ds_(kKeys * kStep),
          gk_(keys * f.q_step_),
          gv_(keys * f.v_step_),
          gq_(f.ranges_ > 1 ? 0 : f.q_.rows * f.q_step_),
          q_panels_(panels_ * kQ * f.q_.cols),
          g_panels_(panels_ * kQ * f.v_.cols),
          d_(panels_ * kQ),
          k_room_(in_place<C>(f.k_, true) ? 0 : keys * f.q_step_),
          v_room_(in_place<C>(f.v_, false) ? 0 : keys * f.v_step_),
          q_room_(in_place<C>(f.q_, true) ? 0 : f.q_.rows * f.q_step_),
          g_room_(in_place<C>(f.g_, true) ? 0 : f.q_.rows * f.v_step_),
          y_room_(in_place<C>(f.y_, true) ? 0 : f.v_step_),
          mask_(f.mask_.any() ? mask_room<C>(kKeys) : 0) {}

    void run(int64_t kv, int64_t range, int64_t begin, int64_t end) {
      const int64_t keys = end - begin, q_step = f_.q_step_, v_step = f_.v_step_, rows = f_.q_.rows;
      const auto k = rows_of<C>(f_.k_, kv, begin, end, true, k_room_.data());
      const auto v = rows_of<C>(f_.v_, kv, begin, end, false, v_room_.data());
      set_zero(gk_.data(), keys * q_step);
      set_zero(gv_.data(), keys * v_step);
      for (int64_t head = kv * f_.attrs_.groups; head < (kv + 1) * f_.attrs_.groups; ++head) {
        const auto q = rows_of<C>(f_.q_, head, 0, rows, true, q_room_.data());
        const auto g = rows_of<C>(f_.g_, head, 0, rows, true, g_room_.data());
        C* gq = f_.ranges_ > 1 ? f_.part(range, head) : gq_.data();
        set_zero(gq, rows * q_step);
        pack(head, g);
        for (int64_t j = 0; j < keys; j += kKeys) {
          const int64_t n = at_most(kKeys, keys - j), first = begin + j;  // of the block's keys
          for (int64_t i = f_.attrs_.causal ? first / kQ * kQ : 0; i < rows; i += kPanels * kQ)
            block(head, i, at_most(rows - i, kPanels * kQ), first, n, {k.data + j * k.step, k.step},
                  {v.data + j * v.step, v.step}, {q.data + i * q.step, q.step}, {g.data + i * g.step, g.step},
                  gk_.data() + j * q_step, gv_.data() + j * v_step, gq + i * q_step);
        }
        if (f_.ranges_ == 1) f_.store(head, 0, rows, gq);
      }
      T *gk = f_.gk_.at(kv) + begin * f_.gk_.row, *gv = f_.gv_.at(kv) + begin * f_.gv_.row;
      for (int64_t j = 0; j < keys; ++j) {
        store_row(gk + j * f_.gk_.row, gk_.data() + j * q_step, f_.k_.cols, static_cast<C>(f_.attrs_.scale));
        store_row(gv + j * f_.gv_.row, gv_.data() + j * v_step, f_.v_.cols, C(1));
      }
    }

   private:
    static constexpr int64_t kStep = kPanels * kQ;

    // Panels of a head's queries and cotangents, and d of each row.
    void pack(int64_t head, Rows<C> g) {
      for (int64_t p = 0; p < panels_; ++p) {
        const int64_t i = p * kQ, rows = at_most(kQ, f_.q_.rows - i);
        pack_queries(q_panels_.data() + i * f_.q_.cols, f_.q_, head, i, rows);
        pack_queries(g_panels_.data() + i * f_.v_.cols, f_.g_, head, i, rows);
        for (int64_t r = i; r < i + rows; ++r) {
          const C* gr = g.data + r * g.step;
          const C* y = rows_of<C>(f_.y_, head, r, r + 1, true, y_room_.data()).data;
          V sum = C(0);
          for (int64_t e = 0; e < f_.v_step_; e += kV) sum = fma(V::load(gr + e), V::load(y + e), sum);
          d_[r] = reduce_add(sum);
        }
      }
    }

    // `rows` queries from i0 on with the n keys from j0 on; k, v, q, g, gk, gv and gq begin at these.
    void block(int64_t head, int64_t i0, int64_t rows, int64_t j0, int64_t n, Rows<C> k, Rows<C> v, Rows<C> q,
               Rows<C> g, C* gk, C* gv, C* gq) {
      const int64_t q_step = f_.q_step_, v_step = f_.v_step_;
      for (int64_t r = 0; r < rows; r += kQ) {
        const int64_t i = i0 + r, mine = at_most(kQ, rows - r), lanes = panel_width<C>(mine);
        const int64_t seen = f_.attrs_.causal ? at_most(n, at_least(0, i + mine - j0)) : n;
        panel_product(f_.q_.cols, k.data, k.step, seen, q_panels_.data() + i * f_.q_.cols, lanes, p_.data() + r,
                      kStep, static_cast<int>(lanes), static_cast<C>(f_.attrs_.scale * kLog2E), C(0));
        panel_product(f_.v_.cols, v.data, v.step, seen, g_panels_.data() + i * f_.v_.cols, lanes, ds_.data() + r,
                      kStep, static_cast<int>(lanes), C(1), C(0));
        if (f_.mask_.any()) f_.mask_.apply(p_.data() + r, kStep, head, i, mine, j0, seen, mask_.data());
        const C *lse = f_.lse_ + head * f_.q_.rows + i, *d = d_.data() + i;
        for (int64_t l = 0; l < mine; l += kV)
          weigh(p_.data() + r + l, ds_.data() + r + l, V::load(lse + l, static_cast<int>(at_most(kV, mine - l))),
                V::load(d + l), f_.attrs_.causal ? i + l - j0 : n, seen, n);
      }
      rows_product(rows, p_.data(), kStep, n, g.data, g.step, gv, v_step, v_step, C(1), C(1));
      rows_product(rows, ds_.data(), kStep, n, q.data, q.step, gk, q_step, q_step, C(1), C(1));
      rows_product<false>(n, ds_.data(), kStep, rows, k.data, k.step, gq, q_step, q_step, C(1), C(1));
    }

    // A vector of queries with n keys, of which it sees the first `seen` at most: scores become weights, dp becomes
    // ds. The first query comes `ahead` keys after the first key.
    static void weigh(C* p, C* ds, V lse, V d, int64_t ahead, int64_t seen, int64_t n) {
      for (int64_t j = 0; j < seen; ++j, p += kStep, ds += kStep) {
        V w = weight_of(V::load(p) - lse), dw = w * (V::load(ds) - d);
        if (j > ahead) {
          const Mask<C> hidden = hidden_lanes<C>(j, ahead);
          w = where(hidden, V(C(0)), w);
          dw = where(hidden, V(C(0)), dw);
        }
        w.store(p);
        dw.store(ds);
      }
      for (int64_t j = seen; j < n; ++j, p += kStep, ds += kStep) {
        V(C(0)).store(p);
        V(C(0)).store(ds);
      }
    }

    Backward& f_;
    const int64_t panels_;
    Scratch<C> p_, ds_, gk_, gv_, gq_, q_panels_, g_panels_, d_;
    Scratch<C> k_room_, v_room_, q_room_, g_room_, y_room_, mask_;  // copies, where something cannot be used as it is
  };

  // gq of a head as one range of keys adds it up.
  C* part(int64_t range, int64_t head) { return parts_.data() + (range * q_.count() + head) * q_.rows * q_step_; }

  void store(int64_t head, int64_t begin, int64_t end, const C* gq) {
    T* to = gq_.at(head);
    for (int64_t i = begin; i < end; ++i, gq += q_step_)
      store_row(to + i * gq_.row, gq, q_.cols, static_cast<C>(attrs_.scale));
  }

  void add_parts() {
    const int64_t rows = q_.count() * q_.rows;
    parallel_for(rows, at_least(1, 8192 / (q_step_ * ranges_ + 1)), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        C* sum = part(0, 0) + row * q_step_;
        for (int64_t r = 1; r < ranges_; ++r) {
          const C* more = part(r, 0) + row * q_step_;
          for (int64_t e = 0; e < q_step_; e += kV) (V::load(sum + e) + V::load(more + e)).store(sum + e);
        }
        store(row / q_.rows, row % q_.rows, row % q_.rows + 1, sum);
      }
    });
  }

  const AttentionAttrs& attrs_;
  const Heads<T> g_, q_, k_, v_, y_;
  const AttentionMask<C> mask_;
  const Heads<T> gq_, gk_, gv_;
  const C* const lse_;
  const int64_t q_step_, v_step_;
  int64_t ranges_ = 1;
  Scratch<C> parts_;
};

}  // namespace

// in: g, q, k, v, y, the rows' sums as the forward pass gave them, mask or absent. out: gq, gk, gv.
void attention_backward(const KernelArgs& args) {
  dispatch_float(args.in[1].dtype, [&](auto tag) { Backward<typename decltype(tag)::type>{args}; });
}

}  // namespace fireseed::cpu::FS_ISA

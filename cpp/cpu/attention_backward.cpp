// Backward pass of scaled dot product attention. Note [Blocked attention] in attention.h.
#include "cpu/attention.h"

namespace fireseed::cpu::FS_ISA {
namespace {

constexpr int64_t kQueries = 64, kKeys = 128;  // of a block
constexpr int64_t kRangeKeys = 512;            // a task has at least so many keys of a head, or all
constexpr int64_t kTasks = 16;                 // as many are wanted

// With weights p = 2^(s - lse), dp = g v^T and d = Σ g y of each row: ds = p (dp - d);
// gv = p^T g, gq = ds k scale, gk = ds^T q scale.
// A task has a key head and a range of its keys; it goes through the blocks of keys, and for each through the queries
// that see it. Each range adds up its own part of gq; the parts are added at the end, in order.
template <class T>
class Backward {
 public:
  using C = compute_type<T>;
  using V = Vec<C>;
  static constexpr int kV = V::kSize;
  static constexpr int64_t kW = kTileCols<C>;

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
        panels_(pieces_of(k_.rows, kW)),
        q_step_(whole_vectors<C>(q_.cols)),
        v_step_(whole_vectors<C>(v_.cols)) {
    if (q_.count() == 0) return;
    pack();
    const int64_t heads = k_.count();
    ranges_ = at_least(1, at_most(kTasks / heads, k_.rows / kRangeKeys));
    const int64_t part = q_.count() * q_.rows * q_step_;
    parts_.reset(ranges_ * part);
    const int64_t products = attrs_.groups * q_.rows * k_.rows * (q_.cols + v_.cols + 16) * 2;
    parallel_for(heads * ranges_, at_least(1, kSerialProducts * ranges_ / at_least(1, products)),
                 [&](int64_t begin, int64_t end) {
                   Block b(*this);
                   for (int64_t task = begin; task < end; ++task) {
                     const int64_t head = task / ranges_, range = task % ranges_;
                     for (int64_t n = head * attrs_.groups; n < (head + 1) * attrs_.groups; ++n)
                       __builtin_memset(gq_at(range, n), 0, static_cast<size_t>(q_.rows * q_step_) * sizeof(C));
                     // Ranges and blocks begin with a panel.
                     const int64_t end_key = at_most(k_.rows, piece_begin(panels_, ranges_, range + 1) * kW);
                     for (int64_t j = piece_begin(panels_, ranges_, range) * kW; j < end_key; j += kKeys)
                       b.run(head, range, j, at_most(end_key, j + kKeys));
                   }
                 });
    add_parts();
  }

 private:
  C* gq_at(int64_t range, int64_t head) { return parts_.data() + (range * q_.count() + head) * q_.rows * q_step_; }

  // Row-major copies of q, k and g, transposed panels of k and v, d of each row.
  void pack() {
    const int64_t heads = k_.count(), queries = q_.count();
    k_panels_.reset(heads * panels_ * kW * k_.cols);
    v_panels_.reset(heads * panels_ * kW * v_.cols);
    k_rows_.reset(heads * k_.rows * q_step_);
    q_rows_.reset(queries * q_.rows * q_step_);
    g_rows_.reset(queries * q_.rows * v_step_);
    d_.reset(queries * q_.rows);
    parallel_for(heads * panels_, at_least(1, 16384 / (kW * (2 * k_.cols + v_.cols) + 1)),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t task = begin; task < end; ++task) {
                     const int64_t head = task / panels_, p = task % panels_;
                     pack_panel(k_panels_.data() + task * kW * k_.cols, k_, head, p);
                     pack_panel(v_panels_.data() + task * kW * v_.cols, v_, head, p);
                     copy_rows(k_rows_.data() + (head * k_.rows + p * kW) * q_step_, q_step_, k_, head, p * kW,
                               at_most(k_.rows, (p + 1) * kW), C(1));
                   }
                 });
    const int64_t blocks = pieces_of(q_.rows, kQueries);
    parallel_for(queries * blocks, at_least(1, 16384 / (kQueries * (q_step_ + 2 * v_step_) + 1)),
                 [&](int64_t begin, int64_t end) {
                   Scratch<C> y(v_step_);
                   for (int64_t task = begin; task < end; ++task) {
                     const int64_t head = task / blocks, i0 = task % blocks * kQueries;
                     const int64_t i1 = at_most(q_.rows, i0 + kQueries);
                     C* g = g_rows_.data() + head * q_.rows * v_step_;
                     copy_rows(q_rows_.data() + (head * q_.rows + i0) * q_step_, q_step_, q_, head, i0, i1, C(1));
                     copy_rows(g + i0 * v_step_, v_step_, g_, head, i0, i1, C(1));
                     for (int64_t i = i0; i < i1; ++i) {
                       copy_rows(y.data(), v_step_, y_, head, i, i + 1, C(1));
                       V sum = C(0);
                       for (int64_t e = 0; e < v_step_; e += kV)
                         sum = fma(V::load(g + i * v_step_ + e), V::load(y.data() + e), sum);
                       d_[head * q_.rows + i] = reduce_add(sum);
                     }
                   }
                 });
  }

  // One block of keys with all the queries that see it.
  class Block {
   public:
    explicit Block(Backward& f)
        : f_(f), p_(kQueries * kStep), ds_(kQueries * kStep), gk_(kKeys * f.q_step_), gv_(kKeys * f.v_step_) {}

    void run(int64_t kv, int64_t range, int64_t j0, int64_t j1) {
      const int64_t n = j1 - j0;
      __builtin_memset(gk_.data(), 0, static_cast<size_t>(n * f_.q_step_) * sizeof(C));
      __builtin_memset(gv_.data(), 0, static_cast<size_t>(n * f_.v_step_) * sizeof(C));
      for (int64_t head = kv * f_.attrs_.groups; head < (kv + 1) * f_.attrs_.groups; ++head)
        for (int64_t i = f_.attrs_.causal ? j0 : 0; i < f_.q_.rows; i += kQueries)
          queries(kv, range, head, i, at_most(f_.q_.rows, i + kQueries), j0, n);
      T *gk = f_.gk_.at(kv), *gv = f_.gv_.at(kv);
      for (int64_t j = 0; j < n; ++j) {
        store_row(gk + (j0 + j) * f_.gk_.row, gk_.data() + j * f_.q_step_, f_.k_.cols,
                  static_cast<C>(f_.attrs_.scale));
        store_row(gv + (j0 + j) * f_.gv_.row, gv_.data() + j * f_.v_step_, f_.v_.cols, C(1));
      }
    }

   private:
    static constexpr int64_t kStep = kKeys + 16;

    void queries(int64_t kv, int64_t range, int64_t head, int64_t i0, int64_t i1, int64_t j0, int64_t keys) {
      const int64_t rows = i1 - i0, q_step = f_.q_step_, v_step = f_.v_step_;
      const int64_t n = f_.attrs_.causal ? at_most(keys, i1 - j0) : keys;
      const C* q = f_.q_rows_.data() + (head * f_.q_.rows + i0) * q_step;
      const C* g = f_.g_rows_.data() + (head * f_.q_.rows + i0) * v_step;
      for (int64_t j = 0; j < n; j += kW) {
        const int64_t p = (j0 + j) / kW, step = panel_step<C>(f_.k_.rows, p), at = kv * f_.panels_ + p;
        const int cols = static_cast<int>(at_most(kW, n - j));
        panel_product(f_.q_.cols, q, q_step, rows, f_.k_panels_.data() + at * kW * f_.k_.cols, step, p_.data() + j,
                      kStep, cols, static_cast<C>(f_.attrs_.scale * kLog2E), C(0));
        panel_product(f_.v_.cols, g, v_step, rows, f_.v_panels_.data() + at * kW * f_.v_.cols, step, ds_.data() + j,
                      kStep, cols, C(1), C(0));
      }
      for (int64_t r = 0; r < rows; ++r) {
        const int64_t seen = f_.attrs_.causal ? at_most(n, at_least(0, i0 + r + 1 - j0)) : n;
        C *p = p_.data() + r * kStep, *ds = ds_.data() + r * kStep;
        if (f_.mask_.any()) f_.mask_.apply(p, head, i0 + r, j0, seen);
        const V lse = f_.lse_[head * f_.q_.rows + i0 + r], d = f_.d_[head * f_.q_.rows + i0 + r];
        for (int64_t j = 0; j < n; j += kV) {  // the buffers have a vector more than kKeys
          V w = weight_of(V::load(p + j) - lse), dw = w * (V::load(ds + j) - d);
          if (j + kV > seen) {
            const Mask<C> in = Mask<C>::first(static_cast<int>(at_least(0, seen - j)));
            w = where(in, w, V(C(0)));
            dw = where(in, dw, V(C(0)));
          }
          w.store(p + j);
          dw.store(ds + j);
        }
      }
      C* gq = f_.gq_at(range, head) + i0 * q_step;
      rows_product<false>(rows, p_.data(), kStep, n, g, v_step, gv_.data(), v_step, v_step, C(1), C(1));
      rows_product<false>(rows, ds_.data(), kStep, n, q, q_step, gk_.data(), q_step, q_step, C(1), C(1));
      rows_product(n, ds_.data(), kStep, rows, f_.k_rows_.data() + (kv * f_.k_.rows + j0) * q_step, q_step, gq,
                   q_step, q_step, C(1), C(1));
    }

    Backward& f_;
    Scratch<C> p_, ds_, gk_, gv_;
  };

  void add_parts() {
    const int64_t rows = q_.count() * q_.rows, part = rows * q_step_;
    parallel_for(rows, at_least(1, 8192 / (q_step_ * ranges_ + 1)), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        C* sum = parts_.data() + row * q_step_;
        for (int64_t r = 1; r < ranges_; ++r)
          for (int64_t e = 0; e < q_step_; e += kV) (V::load(sum + e) + V::load(sum + r * part + e)).store(sum + e);
        store_row(gq_.at(row / q_.rows) + row % q_.rows * gq_.row, sum, q_.cols, static_cast<C>(attrs_.scale));
      }
    });
  }

  const AttentionAttrs& attrs_;
  const Heads<T> g_, q_, k_, v_, y_;
  const AttentionMask<C> mask_;
  const Heads<T> gq_, gk_, gv_;
  const C* const lse_;
  const int64_t panels_, q_step_, v_step_;
  int64_t ranges_ = 1;
  Scratch<C> k_panels_, v_panels_, k_rows_, q_rows_, g_rows_, d_, parts_;
};

}  // namespace

// in: g, q, k, v, y, the rows' sums as the forward pass gave them, mask or absent. out: gq, gk, gv.
void attention_backward(const KernelArgs& args) {
  dispatch_float(args.in[1].dtype, [&](auto tag) { Backward<typename decltype(tag)::type>{args}; });
}

}  // namespace fireseed::cpu::FS_ISA

// Losses on class indices: nll_loss and cross_entropy (log-softmax fused), forward and backward.
#include <atomic>

#include "cpu/contiguous.h"
#include "cpu/reduce_exp.h"
#include "tensor/attrs/loss.h"

namespace fireseed::cpu::FS_ISA {
namespace {

// Input [N, C, inner] (a single sample: N = 1), target [N, inner].
struct ClassShape {
  int64_t n, classes, inner;
  int64_t rows() const { return n * inner; }
};
ClassShape class_shape(const TensorView& in) {
  if (in.ndim == 1) return {1, in.sizes[0], 1};
  ClassShape s{in.sizes[0], in.sizes[1], 1};
  for (int d = 2; d < in.ndim; ++d) s.inner *= in.sizes[d];
  return s;
}

// The first target outside [0, classes), reported after the parallel part.
class BadTarget {
 public:
  void note(int64_t row) {
    int64_t seen = row_.load(std::memory_order_relaxed);
    while (row < seen && !row_.compare_exchange_weak(seen, row, std::memory_order_relaxed)) {}
  }
  void check(const char* op, const int64_t* target, int64_t classes) const {
    const int64_t row = row_.load(std::memory_order_relaxed);
    FS_CHECK_INDEX(row == kNone, op, ": Target ", target[row], " is out of bounds. Expected a class index in [0, ",
                   classes - 1, "] or ignore_index");
  }

 private:
  static constexpr int64_t kNone = INT64_MAX;
  std::atomic<int64_t> row_{kNone};
};

// Rows of one task; partial sums are kept per task and added in order.
int64_t rows_per_task(int64_t classes) { return larger(16, 8192 / larger(1, classes)); }

// Runs task(begin, end, loss, weight) over all rows and gives Σ loss and Σ weight.
template <class F>
void sum_rows(int64_t rows, int64_t chunk, double& loss, double& weight, F&& task) {
  const int64_t tasks = ceil_div(rows, chunk);
  SmallScratch<double, 128> partial(2 * tasks);
  double* p = partial.data();
  parallel_for(rows, chunk, [&](int64_t b, int64_t e) {
    for (int64_t at = b; at < e; at += chunk) {  // a caller may run several chunks as one range
      double* slot = p + 2 * (at / chunk);
      slot[0] = slot[1] = 0;
      task(at, smaller(e, at + chunk), slot[0], slot[1]);
    }
  });
  loss = weight = 0;
  for (int64_t i = 0; i < tasks; ++i) loss += p[2 * i], weight += p[2 * i + 1];
}

// Loss and total weight of a reduced loss.
template <class T>
void write_total(const KernelArgs& args, Reduction reduction, double loss, double weight) {
  if (reduction != Reduction::kNone)
    *args.out[0].ptr<T>() = narrow_to<T>(reduction == Reduction::kMean ? loss / weight : loss);
  *args.out[args.num_out - 1].ptr<double>() = weight;
}

// What one row's loss is multiplied with on the way back.
template <class T>
double row_scale(const T* g, Reduction reduction, double total, int64_t row) {
  if (reduction == Reduction::kNone) return widen_from<double>(g[row]);
  return widen_from<double>(g[0]) / (reduction == Reduction::kMean ? total : 1);
}

// Σ w_c, and Σ w_c x_c over a contiguous row; w null: ones.
template <class T, class W>
double weighted_sum(const T* x, const W* w, int64_t n) {
  double s = 0;
  for (int64_t c = 0; c < n; ++c) s += (w ? widen_from<double>(w[c]) : 1) * (x ? widen_from<double>(x[c]) : 1);
  return s;
}

// log Σ exp over a contiguous row.
template <class T, class C>
FS_INLINE C row_lse(const T* x, int64_t n) {
  using V = Vec<C>;
  if (n <= V::kSize) {
    const V v = load_as<C>(x, static_cast<int>(n), limits_of<C>::lowest);
    const C shift = finite_shift(Num<C>(reduce_max(v))).v;
    return shift + log(Num<C>(reduce_add(exp(v - V(shift))))).v;
  }
  const C shift = finite_shift(Num<C>(block_max<C>(x, n))).v;
  return shift + log(Num<C>(block_exp_sum<C>(x, n, shift))).v;
}

}  // namespace

// in: log-probabilities [N, C, …], target int64 [N, …], weight [C] or absent.
// out: loss (0-dim, or [N, …] for none), total weight (0-dim float64).
void nll_loss(const KernelArgs& args) {
  const auto& a = args.attrs<ClassLossAttrs>();
  const ClassShape s = class_shape(args.in[0]);
  BadTarget bad;
  const Contiguous<int64_t> target(args.in[1]);
  const int64_t* t = target.data();
  dispatch_float(args.in[0].dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const Contiguous<T> input(args.in[0]), weight(args.in[2]);
    const T *x = input.data(), *w = args.in[2].defined() ? weight.data() : nullptr;
    T* each = a.reduction == Reduction::kNone ? args.out[0].ptr<T>() : nullptr;
    double loss, total;
    sum_rows(s.rows(), 4096, loss, total, [&](int64_t b, int64_t e, double& l, double& tw) {
      for (int64_t r = b; r < e; ++r) {
        if (each) each[r] = narrow_to<T>(0);
        if (t[r] == a.ignore_index) continue;
        if (t[r] < 0 || t[r] >= s.classes) {
          bad.note(r);
          continue;
        }
        const double wt = w ? widen_from<double>(w[t[r]]) : 1;
        const double v = -wt * widen_from<double>(x[(r / s.inner * s.classes + t[r]) * s.inner + r % s.inner]);
        if (each) each[r] = narrow_to<T>(v);
        l += v;
        tw += wt;
      }
    });
    write_total<T>(args, a.reduction, loss, total);
  });
  bad.check("nll_loss", t, s.classes);
}

// in: g, target, weight or absent, total weight; out: gx of the input's shape.
void nll_loss_backward(const KernelArgs& args) {
  const auto& a = args.attrs<ClassLossAttrs>();
  const ClassShape s = class_shape(args.out[0]);
  const Contiguous<int64_t> target(args.in[1]);
  const int64_t* t = target.data();
  const double total = *args.in[3].ptr<double>();
  dispatch_float(args.out[0].dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const Contiguous<T> grad(args.in[0]), weight(args.in[2]);
    const T *g = grad.data(), *w = args.in[2].defined() ? weight.data() : nullptr;
    T* gx = args.out[0].ptr<T>();
    const auto entry = [&](int64_t r) {  // of the row's target; -1: none
      if (t[r] == a.ignore_index || t[r] < 0 || t[r] >= s.classes) return int64_t{-1};
      return (r / s.inner * s.classes + t[r]) * s.inner + r % s.inner;
    };
    const auto value = [&](int64_t r) {
      return narrow_to<T>(-(w ? widen_from<double>(w[t[r]]) : 1) * row_scale(g, a.reduction, total, r));
    };
    // A sample's entries are written while its zeros are still near.
    parallel_for(s.n, larger(1, 65536 / larger(1, s.classes * s.inner)), [&](int64_t b, int64_t e) {
      const int64_t size = s.classes * s.inner;
      __builtin_memset(static_cast<void*>(gx + b * size), 0, static_cast<size_t>((e - b) * size) * sizeof(T));
      for (int64_t r = b * s.inner; r < e * s.inner; ++r)
        if (const int64_t at = entry(r); at >= 0) gx[at] = value(r);
    });
  });
}

// Cross-entropy of logits, in one pass: for row x with target t and smoothing e over C classes,
//   loss = (1 - e) w_t (lse - x_t) + e/C Σ_c w_c (lse - x_c),  lse = log Σ exp(x)
// in: logits [N, C, …], target int64 [N, …], weight [C] or absent.
// out: loss, lse [N, …] (compute type), total weight (0-dim float64).
void cross_entropy(const KernelArgs& args) {
  const auto& a = args.attrs<ClassLossAttrs>();
  const ClassShape s = class_shape(args.in[0]);
  BadTarget bad;
  const Contiguous<int64_t> target(args.in[1]);
  const int64_t* t = target.data();
  dispatch_float(args.in[0].dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_type<T>;
    const Contiguous<T> input(args.in[0]), weight(args.in[2]);
    const T *x = input.data(), *w = args.in[2].defined() ? weight.data() : nullptr;
    T* each = a.reduction == Reduction::kNone ? args.out[0].ptr<T>() : nullptr;
    C* lse = args.out[1].ptr<C>();
    const double smooth = a.label_smoothing / static_cast<double>(s.classes);
    const double weights = a.label_smoothing > 0 ? weighted_sum<T>(nullptr, w, s.classes) : 0;
    double loss, total;
    sum_rows(s.rows(), rows_per_task(s.classes), loss, total, [&](int64_t b, int64_t e, double& l, double& tw) {
      SmallScratch<T, 1024> line(s.inner > 1 ? s.classes : 0);
      for (int64_t r = b; r < e; ++r) {
        const T* row = x + r * s.classes;
        if (s.inner > 1) {
          const T* from = x + r / s.inner * s.classes * s.inner + r % s.inner;
          for (int64_t c = 0; c < s.classes; ++c) line.data()[c] = from[c * s.inner];
          row = line.data();
        }
        const C z = row_lse<T, C>(row, s.classes);
        lse[r] = z;
        if (each) each[r] = narrow_to<T>(0);
        if (t[r] == a.ignore_index) continue;
        if (t[r] < 0 || t[r] >= s.classes) {
          bad.note(r);
          continue;
        }
        const double zd = static_cast<double>(z), wt = w ? widen_from<double>(w[t[r]]) : 1;
        double v = wt * (zd - widen_from<double>(row[t[r]]));
        if (a.label_smoothing > 0)
          v = (1 - a.label_smoothing) * v + smooth * (weights * zd - weighted_sum(row, w, s.classes));
        if (each) each[r] = narrow_to<T>(v);
        l += v;
        tw += wt;
      }
    });
    write_total<T>(args, a.reduction, loss, total);
  });
  bad.check("cross_entropy", t, s.classes);
}

// gx_c = scale (softmax_c ((1 - e) w_t + e/C Σ w) - (1 - e) w_t [c = t] - e/C w_c), softmax_c = exp(x_c - lse).
// in: g, logits, target, weight or absent, lse, total weight; out: gx.
void cross_entropy_backward(const KernelArgs& args) {
  const auto& a = args.attrs<ClassLossAttrs>();
  const ClassShape s = class_shape(args.in[1]);
  const Contiguous<int64_t> target(args.in[2]);
  const int64_t* t = target.data();
  const double total = *args.in[5].ptr<double>();
  dispatch_float(args.in[1].dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_type<T>;
    using V = Vec<C>;
    constexpr int kW = V::kSize;
    const Contiguous<T> grad(args.in[0]), input(args.in[1]), weight(args.in[3]);
    const Contiguous<C> saved(args.in[4]);
    const T *g = grad.data(), *x = input.data(), *w = args.in[3].defined() ? weight.data() : nullptr;
    T* gx = args.out[0].ptr<T>();
    const double smooth = a.label_smoothing / static_cast<double>(s.classes);
    const double weights = a.label_smoothing > 0 ? weighted_sum<T>(nullptr, w, s.classes) : 0;
    parallel_for(s.rows(), rows_per_task(s.classes), [&](int64_t b, int64_t e) {
      SmallScratch<T, 1024> line(s.inner > 1 ? s.classes : 0);
      for (int64_t r = b; r < e; ++r) {
        const int64_t at = s.inner > 1 ? r / s.inner * s.classes * s.inner + r % s.inner : r * s.classes;
        T* out = s.inner > 1 ? line.data() : gx + at;
        const bool used = t[r] != a.ignore_index && t[r] >= 0 && t[r] < s.classes;
        const double scale = used ? row_scale(g, a.reduction, total, r) : 0;
        if (!used) {
          for (int64_t c = 0; c < s.classes; ++c) gx[at + c * s.inner] = narrow_to<T>(0);
          continue;
        }
        const T* row = x + at;
        if (s.inner > 1) {
          for (int64_t c = 0; c < s.classes; ++c) out[c] = row[c * s.inner];
          row = out;
        }
        const double hit = (1 - a.label_smoothing) * (w ? widen_from<double>(w[t[r]]) : 1) * scale;
        const V z = saved.data()[r], p = hit + smooth * weights * scale, q = smooth * scale;
        const C xt = widen_from<C>(row[t[r]]);
        const bool minus = a.label_smoothing > 0;
        for (int64_t c = 0; c < s.classes; c += kW) {
          const int k = static_cast<int>(smaller(kW, s.classes - c));
          V v = exp((k == kW ? load_as<C>(row + c) : load_as<C>(row + c, k, C(0))) - z) * p;
          if (minus) v -= w ? q * (k == kW ? load_as<C>(w + c) : load_as<C>(w + c, k, C(0))) : q;
          if (k == kW) store_as(out + c, v);
          else store_as(out + c, v, k);
        }
        C vt = exp(Num<C>(xt) - Num<C>(saved.data()[r])).v * p[0] - static_cast<C>(hit);
        if (minus) vt -= q[0] * (w ? widen_from<C>(w[t[r]]) : C(1));
        out[t[r]] = narrow_to<T>(static_cast<double>(vt));
        if (s.inner > 1)
          for (int64_t c = 0; c < s.classes; ++c) gx[at + c * s.inner] = out[c];
      }
    });
  });
}

}  // namespace fireseed::cpu::FS_ISA

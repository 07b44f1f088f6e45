// What the recurrent kernels share: the steps of a sequence, operands in row-major order, packed weights.
#pragma once

#include "base/parallel.h"
#include "cpu/copy.h"
#include "cpu/gemm_panel.h"
#include "math/recurrent.h"
#include "math/scalar.h"
#include "tensor/attrs/rnn.h"
#include "tensor/view.h"

namespace fireseed::cpu::FS_ISA {

// float32 and float64; infer lets nothing else pass.
template <class F>
void dispatch_wide_float(DType t, F&& f) {
  if (t == DType::kFloat64) f(TypeTag<double>{});
  else f(TypeTag<float>{});
}

// Note [Recurrent steps]
// A step is x_t W_ih^T + h W_hh^T and a few functions of the gates. There are two ways to share the steps out:
//   by rows     a task takes some sequences of the batch through all steps; nothing is shared, so nobody waits. The
//               weights, both of them, must stay in the second cache, as every task reads them in every step.
//   by columns  for each step, tasks of some hidden units each for the whole batch: one barrier a step, and every
//               weight is read by one task. The products with x are made beforehand, for all steps at once.
// Which one depends on the sizes alone. The recurrent weights are packed once for all steps.

constexpr int64_t rnn_ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
constexpr int64_t rnn_least(int64_t a, int64_t b) { return a < b ? a : b; }
constexpr int64_t rnn_most(int64_t a, int64_t b) { return a > b ? a : b; }

inline constexpr int64_t kRnnRows = 8;  // sequences of a task by rows

// By columns or by rows? products: of one step; weights: elements read in a step.
template <class T>
bool rnn_by_columns(int64_t batch, int64_t products, int64_t weights) {
  const bool in_cache = weights * static_cast<int64_t>(sizeof(T)) <= 768 * 1024;
  if (in_cache && batch >= 2 * kRnnRows) return false;
  return products >= (in_cache ? int64_t{1} << 20 : int64_t{1} << 19);
}

// A view's elements in row-major order: in place, or copied.
template <class T>
class RnnDense {
 public:
  explicit RnnDense(const TensorView& v) : data_(v.defined() ? v.ptr<T>() : nullptr) {
    if (!v.defined() || v.contiguous) return;
    copy_.reset(rnn_most(1, v.numel));
    int64_t strides[kMaxRank], step = 1;
    for (int d = v.ndim - 1; d >= 0; --d) {
      strides[d] = step;
      step *= v.sizes[d];
    }
    TensorView to = v;
    to.data = copy_.data();
    to.strides = strides;
    to.contiguous = true;
    copy_elements(to, v);
    data_ = copy_.data();
  }
  const T* data() const { return data_; }
  explicit operator bool() const { return data_ != nullptr; }

 private:
  Scratch<T> copy_;
  const T* data_;
};

// The steps of a batch of sequences: rows of step t are offset(t) .. offset(t) + count(t) of the packed rows. Without
// `sizes` all sequences have the same length.
class RnnSteps {
 public:
  RnnSteps(const TensorView& out, const TensorView& sizes, int64_t batch, bool reverse)
      : steps(sizes.defined() ? sizes.numel : out.size(0)),
        batch(batch),
        rows(out.numel / rnn_most(1, out.size(-1))),
        reverse_(reverse),
        sizes_(sizes) {
    if (!sizes_) return;
    offsets_.reset(steps);
    for (int64_t t = 0, at = 0; t < steps; at += sizes_.data()[t], ++t) offsets_[t] = at;
  }
  const int64_t steps, batch, rows;

  int64_t time(int64_t s) const { return reverse_ ? steps - 1 - s : s; }  // of the s-th step that is made
  int64_t count(int64_t t) const { return sizes_ ? sizes_.data()[t] : batch; }
  int64_t offset(int64_t t) { return sizes_ ? offsets_[t] : t * batch; }
  bool packed() const { return static_cast<bool>(sizes_); }
  // The packed row with the state that row r of step t started from; -1: the initial state.
  int64_t before(int64_t t, int64_t r) {
    const int64_t p = reverse_ ? t + 1 : t - 1;
    return p < 0 || p >= steps || r >= count(p) ? -1 : offset(p) + r;
  }

 private:
  bool reverse_;
  RnnDense<int64_t> sizes_;
  Scratch<int64_t> offsets_;
};

// Panels of kTileCols columns of B (k, n), one after the other, as the micro-kernel reads them.
template <class T>
class RnnPanels {
 public:
  static constexpr int kW = kTileCols<T>;
  // For each of `gates` blocks of `hidden` rows of w (gates * hidden, k): the panels of the transposed block.
  void pack_gates(const T* w, int64_t gates, int64_t hidden, int64_t k) {
    reset(gates * count(hidden), k);
    parallel_for(gates * count(hidden), rnn_most(1, 16384 / (k * kW)), [&](int64_t begin, int64_t end) {
      for (int64_t p = begin; p < end; ++p) pack_gate(data_.data() + p * kW * k, w, p, hidden, k);
    });
  }
  static void pack_gate(T* to, const T* w, int64_t p, int64_t hidden, int64_t k) {
    const int64_t gate = p / count(hidden), j = p % count(hidden) * kW;
    pack_b<T>(to, w + (gate * hidden + j) * k, 1, k, k, static_cast<int>(rnn_least(kW, hidden - j)));
  }
  // The panels of w (k, n) itself.
  void pack(const T* w, int64_t k, int64_t n) {
    reset(count(n), k);
    parallel_for(count(n), rnn_most(1, 16384 / (k * kW)), [&](int64_t begin, int64_t end) {
      for (int64_t p = begin; p < end; ++p)
        pack_b<T>(data_.data() + p * kW * k, w + p * kW, n, 1, k, static_cast<int>(rnn_least(kW, n - p * kW)));
    });
  }
  static int64_t count(int64_t n) { return rnn_ceil_div(n, kW); }
  const T* at(int64_t p) { return data_.data() + p * kW * k_; }

 private:
  void reset(int64_t panels, int64_t k) {
    k_ = k;
    data_.reset(panels * kW * k);
  }
  Scratch<T> data_;
  int64_t k_ = 0;
};

// c (rows, cols) = a (rows, k) panel + beta c + bias, cols <= kTileCols.
template <class T>
void rnn_product(int64_t k, const T* a, int64_t a_step, int64_t rows, const T* panel, T* c, int64_t c_step, int cols,
                 T beta, const T* bias) {
  panel_product(k, a, a_step, rows, panel, panel_width<T>(cols), c, c_step, cols, T(1), beta, bias);
}

// n <= kSize elements.
template <class T>
FS_INLINE Vec<T> rnn_load(const T* p, int n) {
  return n == Vec<T>::kSize ? Vec<T>::load(p) : Vec<T>::load(p, n);
}
template <class T>
FS_INLINE void rnn_store(T* p, Vec<T> x, int n) {
  if (n == Vec<T>::kSize) x.store(p);
  else x.store(p, n);
}

}  // namespace fireseed::cpu::FS_ISA

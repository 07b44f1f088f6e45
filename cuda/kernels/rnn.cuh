// What the recurrent kernels share: the steps of a batch of sequences, products, states.
#pragma once

#include <algorithm>
#include <optional>
#include <vector>

#include "device/contiguous.cuh"
#include "device/math.cuh"
#include "kernels/gemm.cuh"
#include "math/recurrent.h"
#include "runtime/check.h"
#include "tensor/attrs/rnn.h"

namespace fireseed::cuda {

// Note [Recurrent steps on devices]
// The products with the input are one matrix product for all steps. A step is then h W_hh^T and a kernel for what
// comes after the sums. The state lies in the result h_n and is brought up to date there, rows of sequences that have
// ended or not begun being left alone. Backward, a step is a kernel for the cotangents of the sums, which are kept,
// and their product with W_hh; the gradients of x, the weights and biases are products and sums over all rows at the
// end.

// The steps of a batch of sequences, on the host: rows of step t are offset(t) .. offset(t) + count(t) of the packed
// rows. Without `sizes` all sequences have the same length.
class RnnSteps {
 public:
  RnnSteps(const TensorView& out, const TensorView& sizes, int64_t batch, bool reverse)
      : steps(sizes.defined() ? sizes.numel : out.size(0)),
        batch(batch),
        rows(out.numel / std::max<int64_t>(1, out.size(-1))),
        reverse_(reverse),
        sizes_(sizes.defined() ? sizes.ptr<int64_t>() : nullptr) {
    int64_t at = 0;
    for (int64_t t = 0; sizes_ && t < steps; at += sizes_[t], ++t) offsets_.push_back(at);
  }
  const int64_t steps, batch, rows;

  int64_t time(int64_t s) const { return reverse_ ? steps - 1 - s : s; }  // of the s-th step that is made
  int64_t count(int64_t t) const { return sizes_ ? sizes_[t] : batch; }
  int64_t offset(int64_t t) const { return sizes_ ? offsets_[static_cast<size_t>(t)] : t * batch; }
  bool packed() const { return sizes_ != nullptr; }
  // The step that step t starts from; -1: none.
  int64_t before(int64_t t) const {
    const int64_t p = reverse_ ? t + 1 : t - 1;
    return p >= steps ? -1 : p;
  }

 private:
  bool reverse_;
  const int64_t* sizes_;
  std::vector<int64_t> offsets_;
};

// float32 and float64; infer lets nothing else pass. Calls f.template operator()<T, kMode>().
template <class F>
void dispatch_rnn(DType t, RnnMode mode, F&& f) {
  const auto by_mode = [&]<class T>(TypeTag<T>) {
    switch (mode) {
      case RnnMode::kTanh: return f.template operator()<T, RnnMode::kTanh>();
      case RnnMode::kRelu: return f.template operator()<T, RnnMode::kRelu>();
      case RnnMode::kLstm: return f.template operator()<T, RnnMode::kLstm>();
      case RnnMode::kGru: return f.template operator()<T, RnnMode::kGru>();
    }
  };
  if (t == DType::kFloat64) by_mode(TypeTag<double>{});
  else by_mode(TypeTag<float>{});
}

// A row-major (rows, columns) matrix at `p` as a view, with what it points to.
struct RnnMatrix {
  Dims sizes, strides;
  TensorView view;
  template <class T>
  RnnMatrix(const T* p, int64_t rows, int64_t columns) : sizes{rows, columns}, strides{columns, 1} {
    view.data = const_cast<T*>(p);
    view.dtype = dtype_of<T>::value;
    view.ndim = 2;
    view.numel = rows * columns;
    view.sizes = sizes.d;
    view.strides = strides.d;
  }
  RnnMatrix(const RnnMatrix&) = delete;
  RnnMatrix& operator=(const RnnMatrix&) = delete;
};

// to (rows, columns) = from, or zeros where it is absent.
template <class T>
void copy_or_clear(T* to, int64_t rows, int64_t columns, const TensorView& from) {
  if (rows * columns == 0) return;
  if (from.defined()) move_view(RnnMatrix(to, rows, columns).view, from);
  else FS_CUDA(cudaMemsetAsync(to, 0, static_cast<size_t>(rows * columns) * sizeof(T), current_stream()));
}

// An operand of a product, with its steps.
template <class T>
struct RnnOperand {
  const T* p;
  int64_t row, col;
};
template <class T>
RnnOperand<T> rnn_operand(const TensorView& v) {
  return {v.ptr<T>(), v.stride(0), v.stride(1)};
}
template <class T>
RnnOperand<T> transposed(const RnnOperand<T>& o) {
  return {o.p, o.col, o.row};
}
// c (m, n), rows `pitch` apart, = a (m, k) b (k, n) + d where there is one (which may be c).
template <class T>
void rnn_product(int64_t m, int64_t n, int64_t k, RnnOperand<T> a, RnnOperand<T> b, T* c, int64_t pitch,
                 RnnOperand<T> d = {}) {
  Gemm g(dtype_of<T>::value);
  g.m = m, g.n = n, g.k = k;
  g.a = a.p, g.a_row = a.row, g.a_col = a.col;
  g.b = b.p, g.b_row = b.row, g.b_col = b.col;
  g.c = c, g.c_row = pitch, g.c_col = 1;
  if (d.p) g.d = d.p, g.d_row = d.row, g.d_col = d.col, g.beta = 1;
  run_gemm(g);
}

// Kernels of a step: a thread a unit of the state, in blocks along the units, blocks of the grid's second dimension
// along the rows.
inline constexpr int kRnnThreads = 128;
inline dim3 rnn_grid(int64_t rows, int64_t hidden) {
  return dim3(static_cast<unsigned>((hidden + kRnnThreads - 1) / kRnnThreads),
              static_cast<unsigned>(std::min<int64_t>(rows, 65535)));
}

}  // namespace fireseed::cuda

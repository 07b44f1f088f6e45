// Contiguous: a view as contiguous memory on the current stream, copied only where it is not; and rows along any
// dimension, for kernels that want their elements side by side.
#pragma once

#include <optional>

#include "device/index.cuh"
#include "runtime/allocator.h"
#include "runtime/stream.h"

namespace fireseed::cuda {

// Copies the elements of `from` to `to`, views of the same sizes and dtype (kernels/copy.cu, Note [Copies]).
void move_view(const TensorView& to, const TensorView& from);
// Every element of `to` becomes the low bytes of `bits`.
void fill_view(const TensorView& to, uint64_t bits);

class Contiguous {
 public:
  explicit Contiguous(const TensorView& v) : view_(v) {
    if (v.contiguous || v.numel == 0) return;
    strides_ = contiguous_strides(v.shape());
    memory_.emplace(static_cast<size_t>(v.numel) * dtype_size(v.dtype));
    view_.data = memory_->ptr<void>();
    view_.strides = strides_.d;
    view_.contiguous = true;
    move_view(view_, v);
  }
  Contiguous(const Contiguous&) = delete;
  Contiguous& operator=(const Contiguous&) = delete;
  const TensorView& view() const { return view_; }
  template <class T>
  const T* ptr() const {
    return view_.ptr<const T>();
  }

 private:
  TensorView view_;
  Dims strides_;
  std::optional<Scratch> memory_;
};

// A row-major array seen from one of its dimensions: (outer, n, inner).
struct AxisShape {
  int64_t outer = 1, n = 1, inner = 1;
  AxisShape(const TensorView& v, int64_t dim) {
    for (int i = 0; i < v.ndim; ++i) (i < dim ? outer : i == dim ? n : inner) *= v.sizes[i];
  }
};

// v with dimension `dim` moved behind the others.
struct MovedLast {
  Dims sizes, strides;
  TensorView view;
  MovedLast(const TensorView& v, int64_t dim) : view(v) {
    for (int i = 0; i <= v.ndim; ++i) {
      const int64_t d = i < v.ndim ? i : dim;
      if ((i < v.ndim && i == dim) || d >= v.ndim) continue;
      sizes.push_back(v.sizes[d]);
      strides.push_back(v.strides[d]);
    }
    view.sizes = sizes.d;
    view.strides = strides.d;
    int64_t step = 1;
    view.contiguous = true;
    for (int i = v.ndim - 1; i >= 0; step *= sizes[i--])
      if (sizes[i] != 1 && strides[i] != step) view.contiguous = false;
  }
  MovedLast(const MovedLast&) = delete;
  MovedLast& operator=(const MovedLast&) = delete;
};

// Rows along `dim`, contiguous one after the other.
class RowInput {
 public:
  RowInput(const TensorView& v, int64_t dim) : moved_(v, dim), rows_(moved_.view) {}
  template <class T>
  const T* ptr() const {
    return rows_.ptr<T>();
  }

 private:
  MovedLast moved_;
  Contiguous rows_;
};
// The same for an output; finish() puts the rows in their place.
class RowOutput {
 public:
  RowOutput(const TensorView& v, int64_t dim) : moved_(v, dim) {
    if (!moved_.view.contiguous) memory_.emplace(static_cast<size_t>(v.numel) * dtype_size(v.dtype));
  }
  template <class T>
  T* ptr() const {
    return memory_ ? memory_->ptr<T>() : moved_.view.ptr<T>();
  }
  void finish() const {
    if (!memory_) return;
    const Dims strides = contiguous_strides(moved_.sizes);
    TensorView rows = moved_.view;
    rows.data = memory_->ptr<void>();
    rows.strides = strides.d;
    move_view(moved_.view, rows);
  }

 private:
  MovedLast moved_;
  std::optional<Scratch> memory_;
};

}  // namespace fireseed::cuda

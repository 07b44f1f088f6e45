// Contiguous: a view as contiguous memory on the current stream, copied only where it is not.
#pragma once

#include <optional>

#include "device/index.cuh"
#include "runtime/allocator.h"
#include "runtime/stream.h"

namespace fireseed::cuda {

// to[offset of i in operand 0] = from[offset of i in operand 1] for elements of sizeof(U) bytes.
template <class U, class I>
static __global__ void move_elements(U* to, const U* from, StridedIndex<2, I> index, int64_t n) {
  for (int64_t k = grid_thread(); k < n; k += grid_threads()) {
    I o[2];
    index.offsets(static_cast<I>(k), o);
    to[o[0]] = from[o[1]];
  }
}

// Copies the elements of `from` to `to`, views of the same sizes and dtype.
inline void move_view(const TensorView& to, const TensorView& from) {
  const Geometry<2> g({&to, &from});
  if (g.numel() == 0) return;
  dispatch_size(to.dtype, [&](auto tag) {
    using U = typename decltype(tag)::type;
    dispatch_index(g.fits_int32(), [&](auto index_tag) {
      using I = typename decltype(index_tag)::type;
      FS_LAUNCH((move_elements<U, I>), grid_for(g.numel(), 256, 1 << 16), 256, 0, current_stream(), to.ptr<U>(),
                from.ptr<U>(), g.template index<I>(), g.numel());
    });
  });
}

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

}  // namespace fireseed::cuda

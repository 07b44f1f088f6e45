// TensorView and KernelArgs: all that a kernel sees. Plain data; no ownership, no autograd.
#pragma once

#include <cstdint>

#include "base/dtype.h"
#include "base/shape.h"

namespace fireseed {

// A strided array. sizes and strides (in elements) have ndim entries and outlive the call.
struct TensorView {
  void* data = nullptr;
  const int64_t* sizes = nullptr;
  const int64_t* strides = nullptr;
  int64_t numel = 0;
  int32_t ndim = 0;
  DType dtype = DType::kUndefined;
  bool contiguous = true;  // row-major without gaps

  bool defined() const { return dtype != DType::kUndefined; }  // an optional operand may be absent
  template <class T>
  T* ptr() const {
    return static_cast<T*>(data);
  }
  int64_t size(int64_t i) const { return sizes[i < 0 ? i + ndim : i]; }
  int64_t stride(int64_t i) const { return strides[i < 0 ? i + ndim : i]; }
  Dims shape() const { return Dims(sizes, ndim); }
};

// Operands of one kernel call. Outputs are allocated by apply; an in-place call has out[0] on in[0]'s memory.
struct KernelArgs {
  const TensorView* in = nullptr;
  const TensorView* out = nullptr;
  int32_t num_in = 0;
  int32_t num_out = 0;
  const void* attrs_ptr = nullptr;

  template <class A>
  const A& attrs() const {
    return *static_cast<const A*>(attrs_ptr);
  }
};

using Kernel = void (*)(const KernelArgs&);

}  // namespace fireseed

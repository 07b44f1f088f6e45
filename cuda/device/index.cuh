// Where elements of strided views lie: dimensions merged, division by multiplication where 32 bits are enough.
#pragma once

#include <cstdint>

#include "runtime/launch.h"
#include "tensor/view.h"

namespace fireseed::cuda {

// Note [Index arithmetic]
// Kernels are templates over I, the type of element numbers and offsets: int32_t where every offset of every operand
// is below 2^31 (divisions are then a multiplication), int64_t else. The host picks once a launch (dispatch_index).

// Division of numbers below 2^31 by a constant: Granlund and Montgomery 1994.
template <class I>
struct Divider {
  I d = 1;
  Divider() = default;
  explicit Divider(int64_t n) : d(static_cast<I>(n)) {}
  __device__ __forceinline__ I divide(I n) const { return n / d; }
};
template <>
struct Divider<int32_t> {
  uint32_t d = 1, magic = 1;
  int32_t shift = 0;
  Divider() = default;
  explicit Divider(int64_t n) : d(static_cast<uint32_t>(n)) {
    while (shift < 31 && (int64_t{1} << shift) < n) ++shift;
    magic = static_cast<uint32_t>(((uint64_t{1} << 32) * ((uint64_t{1} << shift) - d)) / d + 1);
  }
  __device__ __forceinline__ int32_t divide(int32_t n) const {
    const uint32_t u = static_cast<uint32_t>(n);
    return static_cast<int32_t>((__umulhi(u, magic) + u) >> shift);
  }
};

// n mod d; n becomes n / d.
template <class I>
__device__ __forceinline__ I take(I& n, const Divider<I>& d) {
  const I q = d.divide(n), r = n - q * static_cast<I>(d.d);
  n = q;
  return r;
}

// The sizes that kOperands views share and the strides of each, innermost dimension first. D: of element numbers,
// where there is more than one dimension.
template <int kOperands, class I, class D = I>
struct StridedIndex {
  int32_t ndim = 0;
  Divider<D> size[kMaxRank];
  I stride[kOperands][kMaxRank];

  // Offsets, in elements, of element `linear` in row-major order.
  __device__ __forceinline__ void offsets(I linear, I (&offset)[kOperands]) const {
#pragma unroll
    for (int k = 0; k < kOperands; ++k) offset[k] = 0;
#pragma unroll 1
    for (int i = 0; i + 1 < ndim; ++i) {
      const D n = static_cast<D>(linear), q = size[i].divide(n), r = n - q * static_cast<D>(size[i].d);
#pragma unroll
      for (int k = 0; k < kOperands; ++k) offset[k] += static_cast<I>(r) * stride[k][i];
      linear = static_cast<I>(q);
    }
    if (ndim > 0) {
#pragma unroll
      for (int k = 0; k < kOperands; ++k) offset[k] += linear * stride[k][ndim - 1];
    }
  }
  __device__ __forceinline__ I offset(I linear) const
    requires(kOperands == 1)
  {
    I o[1];
    offsets(linear, o);
    return o[0];
  }
};

// The same on the host, in 64 bits: merges dimensions that lie behind one another in all operands.
template <int kOperands>
class Geometry {
 public:
  // views[k] all have the sizes of views[0].
  explicit Geometry(const TensorView* const (&views)[kOperands]) {
    const TensorView& first = *views[0];
    numel_ = first.numel;
    for (int k = 0; k < kOperands; ++k) data_[k] = static_cast<char*>(views[k]->data);
    for (int i = first.ndim - 1; i >= 0; --i) {
      const int64_t n = first.sizes[i];
      if (n == 1) continue;
      bool merges = ndim_ > 0;
      for (int k = 0; k < kOperands && merges; ++k)
        merges = views[k]->strides[i] == stride_[k][ndim_ - 1] * size_[ndim_ - 1];
      if (merges) {
        size_[ndim_ - 1] *= n;
        continue;
      }
      size_[ndim_] = n;
      for (int k = 0; k < kOperands; ++k) stride_[k][ndim_] = views[k]->strides[i];
      ++ndim_;
    }
  }
  int64_t numel() const { return numel_; }
  int ndim() const { return ndim_; }
  int64_t size(int i) const { return size_[i]; }  // 0: innermost
  int64_t stride(int k, int i) const { return stride_[k][i]; }
  // The operand's first element.
  char* data(int k) const { return data_[k]; }
  // Operand k is read from end to end.
  bool is_flat(int k) const { return ndim_ == 0 || (ndim_ == 1 && stride_[k][0] == 1); }
  // Operand k is one value.
  bool is_uniform(int k) const { return ndim_ == 0 || (ndim_ == 1 && stride_[k][0] == 0); }
  bool fits_int32() const {
    constexpr int64_t kLimit = int64_t{1} << 31;
    if (numel_ >= kLimit) return false;
    for (int k = 0; k < kOperands; ++k) {
      int64_t last = 0;
      for (int i = 0; i < ndim_; ++i) last += (size_[i] - 1) * (stride_[k][i] < 0 ? -stride_[k][i] : stride_[k][i]);
      if (last >= kLimit) return false;
    }
    return true;
  }
  // Groups of p neighbours along the innermost dimension can be taken as one element.
  bool packs(int64_t p) const {
    if (ndim_ == 0 || size_[0] % p != 0) return false;
    for (int k = 0; k < kOperands; ++k) {
      if (stride_[k][0] != 1) return false;
      for (int i = 1; i < ndim_; ++i)
        if (stride_[k][i] % p != 0) return false;
    }
    return true;
  }
  Geometry packed(int64_t p) const {
    Geometry r = *this;
    if (p == 1) return r;
    r.numel_ /= p;
    r.size_[0] /= p;
    for (int k = 0; k < kOperands; ++k)
      for (int i = 1; i < ndim_; ++i) r.stride_[k][i] /= p;
    return r;
  }
  // All dimensions but a and b.
  Geometry without(int a, int b) const {
    Geometry r = *this;
    r.ndim_ = 0;
    r.numel_ = 1;
    for (int i = 0; i < ndim_; ++i) {
      if (i == a || i == b) continue;
      r.size_[r.ndim_] = size_[i];
      for (int k = 0; k < kOperands; ++k) r.stride_[k][r.ndim_] = stride_[k][i];
      r.numel_ *= size_[i];
      ++r.ndim_;
    }
    return r;
  }
  // Of groups of `vec` elements, neighbours along the innermost dimension. Offsets stay those of elements.
  template <class I, class D = I>
  StridedIndex<kOperands, I, D> index(int64_t vec = 1) const {
    StridedIndex<kOperands, I, D> r;
    r.ndim = ndim_;
    for (int i = 0; i < ndim_; ++i) {
      const int64_t step = i == 0 ? vec : 1;  // a size of 0 is never divided by
      r.size[i] = Divider<D>(size_[i] < step ? 1 : size_[i] / step);
      for (int k = 0; k < kOperands; ++k) r.stride[k][i] = static_cast<I>(stride_[k][i] * step);
    }
    return r;
  }
  // Calls f(part) for parts of at most 2^30 elements whose offsets fit in 31 bits; usually for the whole.
  // bytes[k]: size of operand k's elements.
  template <class F>
  void in_parts(const int64_t (&bytes)[kOperands], const F& f) const {
    if (numel_ <= (int64_t{1} << 30) && fits_int32()) return f(*this);
    // The innermost dimension at multiples of 4096 alone, if others can be cut: vectors stay whole and aligned.
    int d = ndim_ - 1;
    for (int i = 1; i < ndim_; ++i)
      if (size_[i] > size_[d]) d = i;
    if (size_[0] > size_[d] && (size_[0] >= 8192 || size_[d] == 1)) d = 0;
    const int64_t half = size_[d] / 2 >= 4096 ? size_[d] / 8192 * 4096 : size_[d] / 2;
    Geometry a = *this, b = *this;
    a.size_[d] = half;
    b.size_[d] -= half;
    a.numel_ = numel_ / size_[d] * half;
    b.numel_ = numel_ - a.numel_;
    for (int k = 0; k < kOperands; ++k) b.data_[k] += half * stride_[k][d] * bytes[k];
    a.in_parts(bytes, f);
    b.in_parts(bytes, f);
  }

 private:
  int ndim_ = 0;
  int64_t numel_ = 0;
  char* data_[kOperands] = {};
  int64_t size_[kMaxRank] = {};
  int64_t stride_[kOperands][kMaxRank] = {};
};

// Calls f(TypeTag<int32_t>{}) or f(TypeTag<int64_t>{}).
template <class F>
void dispatch_index(bool fits_int32, F&& f) {
  if (fits_int32) f(TypeTag<int32_t>{});
  else f(TypeTag<int64_t>{});
}

// This thread's number in the grid and the number of threads in it, for loops over elements:
//   for (int64_t i = grid_thread(); i < n; i += grid_threads())
__device__ __forceinline__ int64_t grid_thread() {
  return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ __forceinline__ int64_t grid_threads() { return static_cast<int64_t>(gridDim.x) * blockDim.x; }

// Blocks for n pieces of work, per_block in each, `most` at most: kernels go on in steps of the grid.
inline unsigned grid_for(int64_t n, int64_t per_block, int64_t most) {
  const int64_t want = (n + per_block - 1) / per_block;
  return static_cast<unsigned>(want < most ? want : most);
}

}  // namespace fireseed::cuda

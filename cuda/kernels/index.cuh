// Shared by the indexing kernels: index tensors as offsets, and the dimensions of a view in groups.
#pragma once

#include <deque>

#include "device/contiguous.cuh"
#include "device/rows.cuh"
#include "tensor/attrs/index.h"

namespace fireseed::cuda {

// The place of index v in a dimension; -1 is the last entry where `wrap` is set. Stops the kernel outside of it.
__device__ __forceinline__ int64_t checked_index(int64_t v, int64_t size, bool wrap) {
  const int64_t at = wrap && v < 0 ? v + size : v;
  if (at < 0 || at >= size) fail_index("indexing", v, size);
  return at;
}

// k contiguous index tensors of one shape; offset(b) = Σ_j index_j[b] stride_j.
struct IndexList {
  const int64_t* index[kMaxRank];
  int64_t size[kMaxRank], stride[kMaxRank];
  int k;
  bool wrap;
  __device__ __forceinline__ int64_t offset(int64_t b) const {
    int64_t sum = 0;
    for (int j = 0; j < k; ++j) sum += checked_index(index[j][b], size[j], wrap) * stride[j];
    return sum;
  }
};

// The same on the host, where it owns the copies of tensors that are not contiguous.
class IndexTensors {
 public:
  // Indexes dimensions dim, dim + 1, … of `in`.
  IndexTensors(const TensorView* index, int k, const TensorView& in, int64_t dim, bool wrap) {
    list.k = k;
    list.wrap = wrap;
    for (int j = 0; j < k; ++j) {
      list.index[j] = copies_.emplace_back(index[j]).ptr<int64_t>();
      list.size[j] = in.sizes[dim + j];
      list.stride[j] = in.strides[dim + j];
    }
  }
  IndexList list;

 private:
  std::deque<Contiguous> copies_;
};

// Dimensions [begin, end) of a view, as a view of their own.
struct SomeDims {
  TensorView view;
  SomeDims(const TensorView& v, int64_t begin, int64_t end) : view(v) {
    view.sizes += begin;
    view.strides += begin;
    view.ndim = static_cast<int32_t>(end - begin);
    view.numel = numel_of(view.shape());
  }
};

// A 0-dim tensor indexes like one of shape [1].
struct AsRank1 {
  int64_t one = 1;
  TensorView view;
  explicit AsRank1(const TensorView& v) : view(v) {
    if (v.ndim) return;
    view.sizes = view.strides = &one;
    view.ndim = 1;
  }
  AsRank1(const AsRank1&) = delete;
  AsRank1& operator=(const AsRank1&) = delete;
};

// v with the sizes of `like` and, along dim, stride 0: the lines that gather and scatter walk along.
struct Lines {
  Dims strides;
  TensorView view;
  Lines(const TensorView& v, const TensorView& like, int64_t dim) : strides(v.strides, like.ndim), view(v) {
    if (like.ndim) strides[dim] = 0;
    view.ndim = like.ndim;
    view.sizes = like.sizes;
    view.strides = strides.d;
    view.numel = like.numel;
  }
  Lines(const Lines&) = delete;
  Lines& operator=(const Lines&) = delete;
};

}  // namespace fireseed::cuda

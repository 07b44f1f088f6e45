// Shared by the normalisations: parameters of any float dtype, moments, and sums over all elements of a channel.
#pragma once

#include <algorithm>
#include <optional>

#include "device/contiguous.cuh"
#include "device/math.cuh"
#include "device/memory.cuh"

#include "device/row_vectors.cuh"

namespace fireseed::cuda {

// Contiguous floats of v's values, in double or else in float.
void convert_floats(const TensorView& v, bool to_double, void* to);

// A parameter on the device: of the rows' dtype or, `wide`, of the arithmetic type; null where it is absent.
template <class Memory>
struct Param {
  using C = typename Memory::Compute;
  static constexpr int kN = Memory::kN;
  const void* p = nullptr;
  bool wide = false;
  __device__ __forceinline__ C load(const Memory& memory, int64_t i) const {
    return wide ? static_cast<const C*>(p)[i] : memory.load(static_cast<const typename Memory::Unit*>(p) + i);
  }
  // kN neighbours; aligned.
  __device__ __forceinline__ void load_many(const Memory& memory, int64_t i, C (&v)[kN]) const {
    if constexpr (kN == 8) {
      if (wide) {
        const auto a = Vec<float, 4>::load_global(static_cast<const float*>(p) + i),
                   b = Vec<float, 4>::load_global(static_cast<const float*>(p) + i + 4);
#pragma unroll
        for (int k = 0; k < 4; ++k) v[k] = a.v[k], v[k + 4] = b.v[k];
        return;
      }
    }
    if constexpr (kN > 1) memory.widen(load_raw(static_cast<const typename Memory::Unit*>(p) + i), v);
  }
};
// The same on the host; converted where it is neither.
template <class Memory>
class ParamOperand {
 public:
  using C = typename Memory::Compute;
  ParamOperand(const TensorView& v, DType rows) : whole_(v) {
    if (!v.defined() || v.numel == 0) return;
    param_.wide = v.dtype != rows;
    param_.p = whole_.ptr<void>();
    if (v.dtype == rows || v.dtype == dtype_of<C>::value) return;
    memory_.emplace(static_cast<size_t>(v.numel) * sizeof(C));
    convert_floats(whole_.view(), sizeof(C) == 8, memory_->ptr<void>());
    param_.p = memory_->ptr<void>();
  }
  const Param<Memory>& get() const { return param_; }
  bool aligned() const { return aligned_for(param_.p, 16); }

 private:
  Contiguous whole_;
  std::optional<Scratch> memory_;
  Param<Memory> param_;
};

// i / n for i below 2^53.
struct LargeDivider {
  Divider<int32_t> quick;
  int64_t n;
  double inverse;
  bool small;  // all i are below 2^31
  LargeDivider(int64_t d, int64_t most)
      : quick(std::min<int64_t>(d, INT32_MAX)),
        n(d),
        inverse(1.0 / static_cast<double>(d)),
        small(most <= INT32_MAX) {}
  __device__ __forceinline__ int64_t divide(int64_t i) const {
    if (small) return quick.divide(static_cast<int32_t>(i));
    int64_t q = static_cast<int64_t>(static_cast<double>(i) * inverse);
    const int64_t r = i - q * n;
    if (r < 0) --q;
    if (r >= n) ++q;
    return q;
  }
};

// ---- moments -----------------------------------------------------------------------------------------------

// Note [Moments]
// Mean and Σ (x - mean)² in one walk over memory: a thread adds up what its elements differ from its first ones by,
// and their squares. A share p of its elements being those first ones, the cancellation in Σ d² - (Σ d)² / n loses no
// more than a factor 1 / p, whatever the data. Parts are then merged by Chan's formula, which loses nothing.
template <class C>
struct MomentSum {
  C origin = 0, s1 = 0, s2 = 0;
  int count = 0;
  // The mean of the first elements; without `center` the origin stays 0.
  template <int kMany>
  __device__ __forceinline__ void add(const C (&x)[kMany], bool center) {
    if (count == 0 && center) {
      C sum = 0;
#pragma unroll
      for (int k = 0; k < kMany; ++k) sum += x[k];
      sum *= C(1) / C(kMany);
      origin = sum - sum == C(0) ? sum : C(0);
    }
#pragma unroll
    for (int k = 0; k < kMany; ++k) {
      const C d = x[k] - origin;
      s1 += d;
      s2 += d * d;
    }
    count += kMany;
  }
  // {count, mean, Σ (x - mean)²}; without `center` the mean is taken as 0.
  __device__ __forceinline__ void get(C (&v)[3], bool center) const {
    const C n = static_cast<C>(count), part = count > 0 && center ? s1 / n : C(0);
    const C rest = center ? s2 - part * s1 : s2;  // s1 may be infinite
    v[0] = n;
    v[1] = origin + part;
    v[2] = rest < C(0) ? C(0) : rest;
  }
};
// Symmetric, so that all threads that merge the same parts get the same bits.
struct MergeMoments {
  template <class C>
  __device__ __forceinline__ void operator()(C (&a)[3], const C (&b)[3]) const {
    const C n = a[0] + b[0], inverse = n > C(0) ? C(1) / n : C(0), d = b[1] - a[1];
    a[2] = (a[2] + b[2]) + d * d * (a[0] * b[0] * inverse);
    a[1] = a[1] * (a[0] * inverse) + b[1] * (b[0] * inverse);
    a[0] = n;
  }
};

// ---- sums of channels --------------------------------------------------------------------------------------

// x in memory order [n, channels, inner]. Where the statistics of an element lie: mean[n * stat_row + channel /
// stat_div].
struct ChannelShape {
  int64_t n = 1, channels = 1, inner = 1;
  int64_t stat_row = 0, stat_div = 1;
  int64_t count() const { return n * inner; }
};

// Note [Channel sums]
// For each channel two numbers over n and inner. A channel's elements are cut into pieces (gridDim.y), of which each
// leaves partial[piece][2][channels], in the arithmetic type; whoever uses them adds them up in double.
//   columns (inner = 1): a block is some vectors of neighbouring channels times some rows;
//   planes: a block is one channel.
class ChannelSums {
 public:
  // Mean and Σ (x - mean)² of the pieces or, where there is g, Σ g and Σ g (x - mean) rstd; mean null: 0.
  ChannelSums(const ChannelShape& s, DType dtype, const void* g, const void* x, const void* mean, const void* rstd);
  void* partial() const { return partial_->ptr<void>(); }
  int64_t pieces() const { return pieces_; }
  int64_t piece() const { return piece_; }  // elements of a channel

 private:
  int64_t pieces_ = 0, piece_ = 0;
  std::optional<Scratch> partial_;
};

// gw and gb of each channel from partial[piece][2][channels] of Σ g and Σ g (x - mean) rstd; gb may be null. In
// double or else in float.
void write_param_grads(void* partial, int64_t pieces, int64_t channels, bool in_double, void* gw, void* gb);

}  // namespace fireseed::cuda

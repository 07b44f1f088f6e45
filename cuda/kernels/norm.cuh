// Shared by the normalisations: parameters in the compute type, and sums over all elements of a channel.
#pragma once

#include <algorithm>
#include <optional>

#include "device/contiguous.cuh"
#include "device/memory.cuh"
#include "device/rows.cuh"
#include "runtime/device.h"

namespace fireseed::cuda {

inline constexpr int kNormThreads = 256;

template <class C>
static __global__ void convert_params(const void* from, DType dtype, int64_t step, C* to, int64_t n) {
  for (int64_t i = grid_thread(); i < n; i += grid_threads())
    to[i] = static_cast<C>(load_double(from, i * step, dtype));
}

// A parameter of any float dtype as contiguous C; null where the operand is absent.
template <class C>
class Params {
 public:
  explicit Params(const TensorView& v) : whole_(v) {
    if (!v.defined() || v.numel == 0) return;
    if (v.dtype == dtype_of<C>::value) {
      p_ = whole_.ptr<C>();
      return;
    }
    memory_.emplace(static_cast<size_t>(v.numel) * sizeof(C));
    FS_LAUNCH((convert_params<C>), grid_for(v.numel, 256, 1024), 256, 0, current_stream(), whole_.ptr<void>(),
              v.dtype, int64_t{1}, memory_->ptr<C>(), v.numel);
    p_ = memory_->ptr<C>();
  }
  const C* data() const { return p_; }

 private:
  Contiguous whole_;
  std::optional<Scratch> memory_;
  const C* p_ = nullptr;
};

// Note [Channel sums]
// x in memory order [n, channels, inner]; for each channel up to two sums over n and inner. A channel's elements are
// cut into pieces (gridDim.y); a piece's sums go to partial[piece][2][channels] and are added, in order and in
// double, by whoever uses them (channel_total).
//   columns (inner = 1): a block is 32 channels times 8 rows;  planes: a block is one channel.
// Where the statistics of an element lie: mean[n * stat_row + channel / stat_div].
enum class ChannelSum { kValue, kSquare, kGradient };  // Σ x; Σ (x - mean)²; Σ g and Σ g (x - mean) rstd

struct ChannelShape {
  int64_t n = 1, channels = 1, inner = 1;
  int64_t stat_row = 0, stat_div = 1;
  int64_t count() const { return n * inner; }
};

template <class T>
struct ChannelArgs {
  const T *x, *g;
  const compute_type<T>*mean, *rstd;  // null: 0 and 1
  compute_type<T>* partial;
  ChannelShape s;
  int64_t piece;  // rows, or for planes elements of a channel, of one piece
};

template <ChannelSum kSum, class T, class C = compute_type<T>>
__device__ __forceinline__ void add_element(const ChannelArgs<T>& a, int64_t at, int64_t stat, C& u, C& v) {
  const C x = load_as<C>(a.x[at]);
  if constexpr (kSum == ChannelSum::kValue) {
    u += x;
  } else {
    const C d = a.mean ? x - a.mean[stat] : x;
    if constexpr (kSum == ChannelSum::kSquare) {
      u += d * d;
    } else {
      const C g = load_as<C>(a.g[at]);
      u += g;
      v += g * (a.rstd ? d * a.rstd[stat] : d);
    }
  }
}

template <ChannelSum kSum, class T, int kThreads>
static __global__ void __launch_bounds__(kThreads) column_sums(const __grid_constant__ ChannelArgs<T> a) {
  using C = compute_type<T>;
  constexpr int kY = kThreads / kWarpSize;
  FS_SHARED(C, part, [2][kY][kWarpSize]);
  const int x = static_cast<int>(threadIdx.x) % kWarpSize, y = static_cast<int>(threadIdx.x) / kWarpSize;
  const int64_t c = int64_t{blockIdx.x} * kWarpSize + x, first = int64_t{blockIdx.y} * a.piece;
  const int64_t last = first + a.piece < a.s.n ? first + a.piece : a.s.n;
  C u = 0, v = 0;
  if (c < a.s.channels) {
    const int64_t stat = c / a.s.stat_div;
    for (int64_t r = first + y; r < last; r += kY)
      add_element<kSum>(a, r * a.s.channels + c, r * a.s.stat_row + stat, u, v);
  }
  part[0][y][x] = u;
  part[1][y][x] = v;
  __syncthreads();
  if (y != 0 || c >= a.s.channels) return;
  for (int k = 1; k < kY; ++k) u += part[0][k][x], v += part[1][k][x];
  C* out = a.partial + int64_t{blockIdx.y} * 2 * a.s.channels + c;
  out[0] = u;
  out[a.s.channels] = v;
}

template <ChannelSum kSum, class T, class I, int kThreads>
static __global__ void __launch_bounds__(kThreads)
    plane_sums(const __grid_constant__ ChannelArgs<T> a, Divider<I> inner) {
  using C = compute_type<T>;
  const int64_t c = blockIdx.x, first = int64_t{blockIdx.y} * a.piece, stat = c / a.s.stat_div;
  const int64_t last = first + a.piece < a.s.n * a.s.inner ? first + a.piece : a.s.n * a.s.inner;
  C u = 0, v = 0;
  for (int64_t k = first + threadIdx.x; k < last; k += kThreads) {
    const int64_t n = inner.divide(static_cast<I>(k));
    add_element<kSum>(a, (n * a.s.channels + c) * a.s.inner + (k - n * a.s.inner), n * a.s.stat_row + stat, u, v);
  }
  u = block_reduce<kThreads>(u, AddOp{});
  v = block_reduce<kThreads>(v, AddOp{});
  if (threadIdx.x != 0) return;
  C* out = a.partial + int64_t{blockIdx.y} * 2 * a.s.channels + c;
  out[0] = u;
  out[a.s.channels] = v;
}

// Sum `which` of a channel.
template <class C>
__device__ __forceinline__ double channel_total(const C* partial, int64_t pieces, int64_t channels, int which,
                                                int64_t c) {
  double sum = 0;
  for (int64_t k = 0; k < pieces; ++k) sum += static_cast<double>(partial[(2 * k + which) * channels + c]);
  return sum;
}

// The sums of all channels, in pieces.
template <class T>
class ChannelSums {
 public:
  using C = compute_type<T>;
  explicit ChannelSums(const ChannelShape& s)
      : s_(s),
        columns_(s.inner == 1),
        blocks_(columns_ ? (s.channels + kWarpSize - 1) / kWarpSize : s.channels),
        pieces_(std::clamp<int64_t>(s.count() / (columns_ ? 64 : 4096), 1,
                                    std::min<int64_t>(1024, 1 + int64_t{8} * multiprocessors() / blocks_))),
        piece_((s.count() + pieces_ - 1) / pieces_),
        partial_(static_cast<size_t>(pieces_ * 2 * s.channels) * sizeof(C)) {}
  template <ChannelSum kSum>
  void run(const T* x, const T* g, const C* mean, const C* rstd) {
    const ChannelArgs<T> a{x, g, mean, rstd, partial_.ptr<C>(), s_, piece_};
    const dim3 grid(static_cast<unsigned>(blocks_), static_cast<unsigned>(pieces_));
    if (columns_) {
      FS_LAUNCH((column_sums<kSum, T, kNormThreads>), grid, kNormThreads, 0, current_stream(), a);
      return;
    }
    dispatch_index(s_.count() < INT32_MAX, [&](auto tag) {
      using I = typename decltype(tag)::type;
      FS_LAUNCH((plane_sums<kSum, T, I, kNormThreads>), grid, kNormThreads, 0, current_stream(), a,
                Divider<I>(s_.inner));
    });
  }
  const C* partial() const { return partial_.ptr<C>(); }
  int64_t pieces() const { return pieces_; }

 private:
  ChannelShape s_;
  bool columns_;
  int64_t blocks_, pieces_, piece_;
  Scratch partial_;
};

// gw and gb of each channel from Σ g (x - mean) rstd and Σ g; gb may be null.
template <class C>
static __global__ void write_param_grads(const C* partial, int64_t pieces, int64_t channels, C* gw, C* gb) {
  const int64_t c = grid_thread();
  if (c >= channels) return;
  gw[c] = static_cast<C>(channel_total(partial, pieces, channels, 1, c));  // 0 where pieces is 0
  if (gb) gb[c] = static_cast<C>(channel_total(partial, pieces, channels, 0, c));
}

// Gradients of parameters where there is nothing to sum.
inline void fill_zero(const TensorView& v) {
  if (v.numel == 0) return;
  dispatch_float(v.dtype, [&](auto tag) {
    using C = compute_type<typename decltype(tag)::type>;
    FS_LAUNCH((write_param_grads<C>), grid_for(v.numel, 256, INT32_MAX), 256, 0, current_stream(),
              static_cast<const C*>(nullptr), int64_t{0}, v.numel, v.ptr<C>(), static_cast<C*>(nullptr));
  });
}

}  // namespace fireseed::cuda

// Sums and moments of channels, for the normalisations (Note [Channel sums]).
#include "kernels/norm.cuh"

namespace fireseed::cuda {
namespace {

constexpr int kSumThreads = 256;

template <class Memory>
struct SumArgs {
  using T = typename Memory::Unit;
  using C = typename Memory::Compute;
  const T *x, *g;
  const C *mean, *rstd;  // mean null: 0
  C* partial;
  int64_t n, channels, inner, stat_row, piece;  // piece: rows, or for planes elements of a channel
  int stat_div, log_side;                       // columns: 1 << log_side rows a block at a time
  LargeDivider plane;                           // by inner
  bool vectors;
};

// A block is blockDim.x vectors of neighbouring channels times blockDim.y rows.
// Compiles to: no spills, LDG.E.128
template <class Memory, bool kGradients>
__global__ void __launch_bounds__(kSumThreads)
    column_sums(const Memory memory, const __grid_constant__ SumArgs<Memory> a) {
  using C = typename Memory::Compute;
  constexpr int kN = Memory::kN;
  FS_SHARED(C, part, [2][kSumThreads * kN]);
  const int lanes = static_cast<int>(blockDim.x), side = static_cast<int>(blockDim.y);
  const int log_each = a.vectors ? Memory::kLogN : 0;  // channels of a thread
  const int64_t c = (int64_t{blockIdx.x} * lanes + threadIdx.x) << log_each;
  const int64_t first = int64_t{blockIdx.y} * a.piece, last = first + a.piece < a.n ? first + a.piece : a.n;
  const bool there = c < a.channels;
  C u[kN], v[kN], p[kN], q[kN];  // moments: Σ d, Σ d², first element; gradients: Σ g, Σ g xhat, mean, rstd
#pragma unroll
  for (int k = 0; k < kN; ++k) u[k] = v[k] = p[k] = 0, q[k] = 1;
  const auto load = [&](const typename Memory::Unit* row, C(&x)[kN]) {
    if constexpr (kN > 1) {
      if (a.vectors) return memory.widen(load_raw(row + c), x);
    }
    x[0] = memory.load(row + c);
#pragma unroll
    for (int k = 1; k < kN; ++k) x[k] = 0;
  };
  // Of a row, where statistics belong to rows, or of the channels.
  const int64_t stat = static_cast<uint32_t>(c) / static_cast<uint32_t>(a.stat_div);
  const auto load_stats = [&](int64_t row) {
    if (a.stat_row > 0) {
      const int64_t s = row * a.stat_row + stat;
      const C mean = a.mean ? a.mean[s] : C(0), rstd = a.rstd[s];
#pragma unroll
      for (int k = 0; k < kN; ++k) p[k] = mean, q[k] = rstd;
    } else {
#pragma unroll
      for (int k = 0; k < kN; ++k) {
        const int64_t s = k == 0 || a.vectors ? c + k : c;
        p[k] = a.mean ? a.mean[s] : C(0);
        q[k] = a.rstd[s];
      }
    }
  };
  int64_t r = first + threadIdx.y;
  if (there && r < last) {
    if constexpr (kGradients) load_stats(r);
    else load(a.x + r * a.channels, p);
#pragma unroll
    for (int k = 0; k < kN; ++k)
      if (!kGradients && p[k] - p[k] != C(0)) p[k] = 0;
#pragma unroll 1
    for (; r < last; r += side) {
      C x[kN], g[kN];
      load(a.x + r * a.channels, x);
      if constexpr (kGradients) load(a.g + r * a.channels, g);
      if (kGradients && a.stat_row > 0) load_stats(r);
#pragma unroll
      for (int k = 0; k < kN; ++k) {
        const C d = x[k] - p[k];
        if constexpr (kGradients) {
          u[k] += g[k];
          v[k] += g[k] * (d * q[k]);
        } else {
          u[k] += d;
          v[k] += d * d;
        }
      }
    }
  }
  // The rows that thread y had.
  const int64_t rows = last - first, full = rows >> a.log_side, extra = rows & (side - 1);
  const auto count = [&](int y) { return static_cast<C>(full + (y < extra ? 1 : 0)); };
  const int at = (static_cast<int>(threadIdx.y) * lanes + static_cast<int>(threadIdx.x)) << log_each;
#pragma unroll
  for (int k = 0; k < kN; ++k) {
    if constexpr (!kGradients) {
      const C n = count(static_cast<int>(threadIdx.y)), shift = n > C(0) ? u[k] / n : C(0);
      v[k] = v[k] - shift * u[k];
      if (v[k] < C(0)) v[k] = 0;
      u[k] = p[k] + shift;
    }
    if (k == 0 || a.vectors) part[0][at + k] = u[k], part[1][at + k] = v[k];
  }
  __syncthreads();
  // Thread t adds up channel t.
  const int wide = lanes << log_each, t = static_cast<int>(threadIdx.y) * lanes + static_cast<int>(threadIdx.x);
  const int64_t channel = int64_t{blockIdx.x} * wide + t;
  if (t >= wide || channel >= a.channels) return;
  C sum = 0, squares = 0;
#pragma unroll 1
  for (int y = 0; y < side; ++y) {
    sum += part[0][y * wide + t] * (kGradients ? C(1) : count(y));
    squares += part[1][y * wide + t];
  }
  if constexpr (!kGradients) {
    sum /= static_cast<C>(last - first);
#pragma unroll 1
    for (int y = 0; y < side; ++y) {
      const C d = count(y) > C(0) ? part[0][y * wide + t] - sum : C(0);
      squares += count(y) * d * d;
    }
  }
  C* const out = a.partial + int64_t{blockIdx.y} * 2 * a.channels + channel;
  out[0] = sum;
  out[a.channels] = squares;
}

// A block is one channel.
// Compiles to: no spills, LDG.E.128
template <class Memory, bool kGradients>
__global__ void __launch_bounds__(kSumThreads)
    plane_sums(const Memory memory, const __grid_constant__ SumArgs<Memory> a) {
  using C = typename Memory::Compute;
  constexpr int kN = Memory::kN;
  const int64_t c = blockIdx.x, total = a.n * a.inner, first = int64_t{blockIdx.y} * a.piece;
  const int64_t last = first + a.piece < total ? first + a.piece : total;
  const int64_t stat = static_cast<uint32_t>(c) / static_cast<uint32_t>(a.stat_div);
  // Element k of the channel, in memory and among the statistics.
  const auto place = [&](int64_t k, int64_t& statistic) {
    const int64_t n = a.plane.divide(k);
    statistic = n * a.stat_row + stat;
    return (n * (a.channels - 1) + c) * a.inner + k;
  };
  MomentSum<C> moments;
  C sums[2] = {0, 0};
  const auto add = [&](C x, C g, C mean, C rstd) {
    sums[0] += g;
    sums[1] += g * ((x - mean) * rstd);
  };
  if constexpr (kN > 1) {
    if (a.vectors) {
      constexpr int kStep = kSumThreads * kN;
      int64_t k = first + (int64_t{threadIdx.x} << Memory::kLogN), s = 0, ahead_s = 0;
      Raw next_x{}, next_g{};
      if (k < last) {
        const int64_t at = place(k, ahead_s);
        next_x = load_raw(a.x + at);
        if constexpr (kGradients) next_g = load_raw(a.g + at);
      }
#pragma unroll 1
      for (; k < last; k += kStep) {
        C x[kN], g[kN];
        memory.widen(next_x, x);
        if constexpr (kGradients) memory.widen(next_g, g);
        s = ahead_s;
        if (k + kStep < last) {
          const int64_t at = place(k + kStep, ahead_s);
          next_x = load_raw(a.x + at);
          if constexpr (kGradients) next_g = load_raw(a.g + at);
        }
        if constexpr (kGradients) {
          const C mean = a.mean ? a.mean[s] : C(0), rstd = a.rstd[s];
#pragma unroll
          for (int j = 0; j < kN; ++j) add(x[j], g[j], mean, rstd);
        } else {
          moments.add(x, true);
        }
      }
    }
  }
  if (!a.vectors) {
#pragma unroll 1
    for (int64_t k = first + threadIdx.x; k < last; k += kSumThreads) {
      int64_t s = 0;
      const int64_t at = place(k, s);
      const C x[1] = {memory.load(a.x + at)};
      if constexpr (kGradients) add(x[0], memory.load(a.g + at), a.mean ? a.mean[s] : C(0), a.rstd[s]);
      else moments.add(x, true);
    }
  }
  C* const out = a.partial + int64_t{blockIdx.y} * 2 * a.channels + c;
  if constexpr (kGradients) {
    const C none[2] = {0, 0};
    merge_row(sums, none, AddAll{});
    if (threadIdx.x != 0) return;
    out[0] = sums[0];
    out[a.channels] = sums[1];
  } else {
    C v[3];
    const C none[3] = {0, 0, 0};
    moments.get(v, true);
    merge_row(v, none, MergeMoments{});
    if (threadIdx.x != 0) return;
    out[0] = v[1];
    out[a.channels] = v[2];
  }
}

}  // namespace

ChannelSums::ChannelSums(const ChannelShape& s, DType dtype, const void* g, const void* x, const void* mean,
                         const void* rstd) {
  dispatch_row_memory(dtype, [&](auto memory) {
    using Memory = decltype(memory);
    using T = typename Memory::Unit;
    using C = typename Memory::Compute;
    constexpr int64_t kN = Memory::kN;
    const bool columns = s.inner == 1 && (s.stat_row == 0 || s.stat_div % kN == 0 || s.stat_div >= s.channels);
    const bool vectors =
        kN > 1 && (columns ? s.channels : s.inner) % kN == 0 && aligned_for(x, 16) && (!g || aligned_for(g, 16));
    const int64_t side_by_side = vectors ? s.channels / kN : s.channels;
    const int log_side = side_by_side > 16 ? 3 : side_by_side > 8 ? 4 : 5, lanes = kSumThreads >> log_side;
    const int64_t blocks = columns ? (side_by_side + lanes - 1) / lanes : s.channels;
    const int64_t least = columns ? int64_t{4} << log_side : 16 * kSumThreads;  // elements of a channel in a piece
    pieces_ = std::clamp<int64_t>(s.count() / least, 1,
                                  std::max<int64_t>(1, std::min<int64_t>(1024, 16 * multiprocessors() / blocks)));
    piece_ = ((s.count() + pieces_ - 1) / pieces_ + kN - 1) / kN * kN;
    pieces_ = (s.count() + piece_ - 1) / piece_;
    partial_.emplace(static_cast<size_t>(pieces_ * 2 * s.channels) * sizeof(C));
    const SumArgs<Memory> a{static_cast<const T*>(x),
                            static_cast<const T*>(g),
                            static_cast<const C*>(mean),
                            static_cast<const C*>(rstd),
                            partial_->ptr<C>(),
                            s.n,
                            s.channels,
                            s.inner,
                            s.stat_row,
                            piece_,
                            static_cast<int>(s.stat_div),
                            log_side,
                            LargeDivider(s.inner, s.count()),
                            vectors};
    const dim3 grid(static_cast<unsigned>(blocks), static_cast<unsigned>(pieces_));
    const dim3 block =
        columns ? dim3(static_cast<unsigned>(lanes), static_cast<unsigned>(1 << log_side)) : dim3(kSumThreads);
    const auto run = [&](auto gradients) {
      constexpr bool kGradients = decltype(gradients)::value;
      if (columns) FS_LAUNCH((column_sums<Memory, kGradients>), grid, block, 0, current_stream(), memory, a);
      else FS_LAUNCH((plane_sums<Memory, kGradients>), grid, block, 0, current_stream(), memory, a);
    };
    if (g) run(std::true_type{});
    else run(std::false_type{});
  });
}

}  // namespace fireseed::cuda

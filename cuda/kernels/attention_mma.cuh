// What the attention kernels for tensor cores share: tiles of heads in shared memory, products of fragments, the
// operands that can be copied to such tiles.
#pragma once

#include <optional>

#include "device/contiguous.cuh"
#include "kernels/attention.cuh"
#include "runtime/device.h"

namespace fireseed::cuda {

// Note [Attention by tensor cores]
// A block has four warps, a warp 16 kM rows of its own; tiles of the others come by cp.async while the ones before
// are worked on. Rows are padded by 16 bytes, so that the eight rows of an ldmatrix meet no bank twice, and filled up
// with zeros to kHead columns. What a product leaves in registers, rows g and g + 8 of columns 2t and 2t + 1 (lane
// 4 g + t), is as halves what the next product wants as its left operand: weights never go to shared memory. Masks
// come and results leave through shared memory, in loops that are not unrolled; heads of three sizes are compiled.

inline constexpr int kMmaThreads = 128;
template <int kHead>
inline constexpr int kHeadPitch = kHead + 8;

// Starts the copies of rows [r0, r0 + kRows) of m, which has `rows` rows of `columns`; zeros beyond.
template <int kRows, int kHead, class T>
__device__ __forceinline__ void fetch_rows(T* tile, const Matrix<T>& m, int r0, int rows, int columns) {
  constexpr int kChunks = kHead / 8, kStep = kMmaThreads / kChunks;  // rows that all threads copy at once
  static_assert(kMmaThreads % kChunks == 0 && kRows % kStep == 0);
  const int t = static_cast<int>(threadIdx.x), r = t / kChunks, c = t % kChunks * 8;
  const int rest = columns - c, bytes = static_cast<int>(sizeof(T)) * (rest < 0 ? 0 : rest < 8 ? rest : 8);
  const int inside = rows - r0;
  const T* from = m.data + (r0 + r) * m.row + c;
  tile += r * kHeadPitch<kHead> + c;
#pragma unroll(4)
  for (int i = 0; i < kRows; i += kStep) {
    const int valid = r + i < inside ? bytes : 0;
    cp_async<16>(tile + i * kHeadPitch<kHead>, from, valid);  // of no bytes: from nowhere
    from += kStep * m.row;
  }
}

// s[m][n]: the 16 x 8 products of rows 16 m .. of a with rows 8 n .. of b, tiles of kHead columns.
template <int kHead, int kM, int kN, class T>
__device__ __forceinline__ void score_products(float (&s)[kM][kN][4], const T* a, const T* b) {
  constexpr int kPitch = kHeadPitch<kHead>;
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
#pragma unroll
  for (int m = 0; m < kM; ++m)
#pragma unroll
    for (int n = 0; n < kN; ++n)
#pragma unroll
      for (int r = 0; r < 4; ++r) s[m][n][r] = 0.0f;
#pragma unroll
  for (int k = 0; k < kHead; k += 16) {
    uint32_t left[kM][4];
#pragma unroll
    for (int m = 0; m < kM; ++m) ldmatrix_x4(left[m], a + (m * 16 + lane % 16) * kPitch + k + lane / 16 * 8);
#pragma unroll
    for (int n = 0; n < kN; n += 2) {
      uint32_t f[4];
      ldmatrix_x4(f, b + (n * 8 + lane / 16 * 8 + lane % 8) * kPitch + k + lane / 8 % 2 * 8);
      const uint32_t near[2] = {f[0], f[1]}, far[2] = {f[2], f[3]};
#pragma unroll
      for (int m = 0; m < kM; ++m) {
        mma_16816(s[m][n], left[m], near, T());
        mma_16816(s[m][n + 1], left[m], far, T());
      }
    }
  }
}

// sum[m][c] += w[m] (16 x 8 kN, as score_products leaves it) times 8 kN rows of b, columns 8 c ...
template <int kHead, int kM, int kN, int kC, class T>
__device__ __forceinline__ void weight_products(float (&sum)[kM][kC][4], const float (&w)[kM][kN][4], const T* b) {
  constexpr int kPitch = kHeadPitch<kHead>;
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
#pragma unroll
  for (int n = 0; n < kN; n += 2) {
    uint32_t left[kM][4];
#pragma unroll
    for (int m = 0; m < kM; ++m)
#pragma unroll
      for (int r = 0; r < 4; ++r)
        left[m][r] = pack_halves(w[m][n + r / 2][r % 2 * 2], w[m][n + r / 2][r % 2 * 2 + 1], T());
#pragma unroll
    for (int c = 0; c < kC; c += 2) {
      uint32_t f[4];
      ldmatrix_x4<true>(f, b + (n * 8 + lane % 16) * kPitch + c * 8 + lane / 16 * 8);
      const uint32_t near[2] = {f[0], f[1]}, far[2] = {f[2], f[3]};
#pragma unroll
      for (int m = 0; m < kM; ++m) {
        mma_16816(sum[m][c], left[m], near, T());
        mma_16816(sum[m][c + 1], left[m], far, T());
      }
    }
  }
}

// Floats of shared memory for the mask of a warp's 16 kM rows and 8 kN others.
template <int kN>
inline constexpr int kMaskPitch = 8 * kN + 8;
template <int kM, int kN>
inline constexpr int kMaskTile = 16 * kM * kMaskPitch<kN>;

// The scores of a warp's 16 kM own rows from `own` on with 8 kN others from o0 on: times `factor`, -inf where they do
// not see each other. kOfKeys: the own rows are keys and the others queries, else the other way round. own_rows and
// other_rows: how many there are. With a mask, mask_at is where the head's begins and `tile` kMaskTile floats of the
// warp: neighbouring lanes read neighbouring elements of it.
template <bool kOfKeys, int kM, int kN, class T>
__device__ __forceinline__ void put_mask(const Attention<T>& a, float (&s)[kM][kN][4], int own, int own_rows, int o0,
                                         int other_rows, int64_t mask_at, float factor, float* tile) {
  constexpr int kOwn = 16 * kM, kOthers = 8 * kN, kPitch = kMaskPitch<kN>;
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  // Element `other` is hidden from own row r where it is < diagonal + r (keys) or > diagonal + r (queries).
  const int diagonal = own - o0, inside = other_rows - o0 < kOthers ? other_rows - o0 : kOthers;
  const auto hidden = [&](int r, int other) {
    return other >= inside || (a.causal && (kOfKeys ? other < diagonal + r : other > diagonal + r));
  };
  if (a.mask) {
    const int64_t own_step = kOfKeys ? a.mask_col : a.mask_row, other_step = kOfKeys ? a.mask_row : a.mask_col;
    mask_at += own * own_step + o0 * other_step;
    __syncwarp();  // all have read the tile before
#pragma unroll 1
    for (int e = lane; e < kOwn * kOthers; e += kWarpSize) {
      const int r = kOfKeys ? e % kOwn : e / kOthers, other = kOfKeys ? e / kOwn : e % kOthers;
      float x = -kInfinity<float>;
      if (own + r < own_rows && !hidden(r, other)) x = masked(a, mask_at + r * own_step + other * other_step, 0.0f);
      tile[r * kPitch + other] = x;
    }
    __syncwarp();
  }
#pragma unroll
  for (int m = 0; m < kM; ++m)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int r = m * 16 + half * 8 + lane / 4;
      if (a.mask) {
#pragma unroll
        for (int n = 0; n < kN; ++n) {
          const auto x = Vec<float, 2>::load(tile + r * kPitch + n * 8 + lane % 4 * 2);
#pragma unroll
          for (int i = 0; i < 2; ++i) {
            float& to = s[m][n][half * 2 + i];
            to = x.v[i] == -kInfinity<float> ? x.v[i] : multiply_add(to, factor, x.v[i]);
          }
        }
      } else {
        // Others [low, low + count) take part.
        const int low = a.causal && kOfKeys ? diagonal + r : 0;
        const int end = a.causal && !kOfKeys && diagonal + r + 1 < inside ? diagonal + r + 1 : inside;
        const unsigned count = end > low ? static_cast<unsigned>(end - low) : 0;
        const int first = lane % 4 * 2 - low;
#pragma unroll
        for (int n = 0; n < kN; ++n)
#pragma unroll
          for (int i = 0; i < 2; ++i) {
            float& to = s[m][n][half * 2 + i];
            to = static_cast<unsigned>(first + n * 8 + i) < count ? to * factor : -kInfinity<float>;
          }
      }
    }
}

// to[r0 + row][c0 + column] = sum * factor for a warp's 16 kM rows, inside rows and columns; `tile`: as many rows of
// kPitch halves in shared memory that only this warp uses. vectors: 16 bytes may be stored at once.
template <int kPitch, int kM, int kC, class T>
__device__ __forceinline__ void store_rows(const Matrix<T>& to, T* tile, int r0, int rows, int c0, int columns,
                                           bool vectors, const float (&sum)[kM][kC][4],
                                           const float (&factor)[kM][2]) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  __syncwarp();  // all have read the tile
#pragma unroll
  for (int m = 0; m < kM; ++m)
#pragma unroll
    for (int half = 0; half < 2; ++half)
#pragma unroll
      for (int c = 0; c < kC; ++c) {
        const float f = factor[m][half];
        *reinterpret_cast<uint32_t*>(tile + (m * 16 + half * 8 + lane / 4) * kPitch + c * 8 + lane % 4 * 2) =
            pack_halves(sum[m][c][half * 2] * f, sum[m][c][half * 2 + 1] * f, T());
      }
  __syncwarp();
  const int step = vectors ? 8 : 1;
#pragma unroll 1
  for (int e = lane * step; e < 16 * kM * 8 * kC; e += kWarpSize * step) {
    const int row = e / (8 * kC), column = e % (8 * kC);
    if (r0 + row >= rows || c0 + column >= columns) continue;
    const T* from = tile + row * kPitch + column;
    T* at = &to(r0 + row, c0 + column);
    if (vectors) Vec<T, 8>::load(from).store(at);
    else *at = *from;
  }
}
// Whether store_rows may store vectors to v.
inline bool stores_vectors(const TensorView& v) {
  if (v.stride(-1) != 1 || v.size(-1) % 8 != 0 || !aligned_for(v.data, 16)) return false;
  for (int i = 0; i + 1 < v.ndim; ++i)
    if (v.strides[i] % 8 != 0) return false;
  return true;
}

// A view whose rows can be copied 16 bytes at a time: itself where it lies so, else a copy.
class AlignedRows {
 public:
  explicit AlignedRows(const TensorView& v) : view_(v) {
    bool fits = (v.stride(-1) == 1 || v.size(-1) == 1) && aligned_for(v.data, 16);
    for (int i = 0; i + 1 < v.ndim; ++i) fits = fits && (v.strides[i] % 8 == 0 || v.sizes[i] == 1);
    strides_ = v.shape();
    if (fits || v.numel == 0) {
      // Rows behind a single one are copies of no bytes, which want aligned addresses too.
      for (int i = 0; i < v.ndim; ++i) strides_[i] = v.sizes[i] == 1 ? 0 : v.strides[i];
      view_.strides = strides_.d;
      return;
    }
    int64_t step = 1;
    for (int i = v.ndim - 1; i >= 0; --i) {
      strides_[i] = step;
      step *= i == v.ndim - 1 ? pieces_of(v.size(i), 8) * 8 : v.size(i);
    }
    memory_.emplace(static_cast<size_t>(step) * dtype_size(v.dtype));
    view_.data = memory_->ptr<void>();
    view_.strides = strides_.d;
    view_.contiguous = false;
    move_view(view_, v);
  }
  AlignedRows(const AlignedRows&) = delete;
  AlignedRows& operator=(const AlignedRows&) = delete;
  const TensorView& view() const { return view_; }

 private:
  TensorView view_;
  Dims strides_;
  std::optional<Scratch> memory_;
};

// Whether a call is one for tensor cores.
template <class T>
bool suits_mma(const Attention<T>& a) {
  return compute_capability() >= 80 && a.depth > 0 && a.depth <= 256 && a.width > 0 && a.width <= 256 && a.keys > 0 &&
         a.queries > 0 && a.groups * pieces_of(a.queries, 32) < INT32_MAX;
}
// Calls f.template operator()<kHead>() with the size that heads are filled up to.
template <class F>
bool dispatch_head(int64_t columns, F&& f) {
  if (columns <= 64) return f.template operator()<64>();
  if (columns <= 128) return f.template operator()<128>();
  return f.template operator()<256>();
}

}  // namespace fireseed::cuda

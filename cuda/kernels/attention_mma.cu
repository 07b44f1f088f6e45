// Scaled dot product attention of halves, forward, by tensor cores (sm_80). Note [Attention by tensor cores].
// Optimised in full: less code so, and the loops that decide the speed stay without copies of registers and spills.
#include "kernels/attention_mma.cuh"

namespace fireseed::cuda {
namespace {

template <class T, int kHead, int kM, int kKeys>
struct ForwardShape {
  static constexpr int kPitch = kHeadPitch<kHead>, kQueries = 64 * kM, kStage = 2 * kKeys * kPitch;
  static constexpr int kMask = kMaskTile<kM, kKeys / 8>;  // of a warp
  static constexpr size_t kTiles = sizeof(T) * (kQueries * kPitch + 2 * kStage);
  static constexpr size_t bytes(bool mask) { return kTiles + (mask ? sizeof(float) * 4 * kMask : 0); }
};

// A block has 64 kM queries of a head. The next keys and values come while a tile of each is worked on.
// Compiles to: no spills, HMMA, LDSM, LDGSTS
template <class T, int kHead, int kM, int kKeys>
__global__ void __launch_bounds__(kMmaThreads, 2)
    attention_mma(const __grid_constant__ Attention<T> a, bool vectors) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
  __trap();
#else
  using S = ForwardShape<T, kHead, kM, kKeys>;
  constexpr int kPitch = S::kPitch, kQueries = S::kQueries, kN = kKeys / 8, kC = kHead / 8;
  FS_DYN_SMEM(T, tile_q);
  T* stages = tile_q + kQueries * kPitch;  // two, of keys and values; then the mask
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize, warp_row = warp * 16 * kM;
  float* mask_tile = reinterpret_cast<float*>(stages + 2 * S::kStage) + warp * S::kMask;
  const int queries = static_cast<int>(a.queries), depth = static_cast<int>(a.depth),
            width = static_cast<int>(a.width);
  const int blocks = (queries + kQueries - 1) / kQueries, head = static_cast<int>(blockIdx.x) / blocks;
  const int i0 = (blocks - 1 - static_cast<int>(blockIdx.x) % blocks) * kQueries;  // the most keys first
  int64_t at[kQueryOperands], key_at[kKeyOperands];
  a.query_heads.offsets(head, at);
  a.key_heads.offsets(head / static_cast<int>(a.groups), key_at);
  const Matrix<T> k = a.k.at(key_at[kOffK]), v = a.v.at(key_at[kOffV]);
  const int all_keys = static_cast<int>(a.keys),
            keys = a.causal && i0 + kQueries < all_keys ? i0 + kQueries : all_keys;
  fetch_rows<kQueries, kHead>(tile_q, a.q.at(at[kOffQ]), i0, queries, depth);

  // Scores are multiplied by `factor` when they become weights, or before, where there is a mask to be added or the
  // largest score would not give the largest weight.
  const float to_base_2 = a.scale * static_cast<float>(kLog2E);
  const bool before = a.mask != nullptr || !(a.scale > 0.0f);
  const float factor = before ? 1.0f : to_base_2;
  float sum[kM][kC][4], top[kM][2], total[kM][2];
#pragma unroll
  for (int m = 0; m < kM; ++m) {
#pragma unroll
    for (int c = 0; c < kC; ++c)
#pragma unroll
      for (int r = 0; r < 4; ++r) sum[m][c][r] = 0.0f;
    top[m][0] = top[m][1] = -kInfinity<float>;
    total[m][0] = total[m][1] = 0.0f;
  }
  // Before the first tile there is a step that only fetches.
#pragma unroll 1
  for (int j0 = -kKeys; j0 < keys; j0 += kKeys) {
    if (j0 >= 0) {
      cp_async_wait<0>();
      __syncthreads();  // the stage is there, and all are done with the other
    }
    const int next = j0 + kKeys;
    if (next < keys) {
      T* stage = stages + next / kKeys % 2 * S::kStage;
      fetch_rows<kKeys, kHead>(stage, k, next, all_keys, depth);
      fetch_rows<kKeys, kHead>(stage + kKeys * kPitch, v, next, all_keys, width);
    }
    cp_async_commit();
    if (j0 < 0) continue;
    const T* tile_k = stages + j0 / kKeys % 2 * S::kStage;
    float s[kM][kN][4];
    score_products<kHead>(s, tile_q + warp_row * kPitch, tile_k);
    if (before || next > all_keys || (a.causal && next - 1 > i0 + warp_row))
      put_mask<false>(a, s, i0 + warp_row, queries, j0, all_keys, at[kOffMask], before ? to_base_2 : 1.0f, mask_tile);
    float shrink[kM][2];
    bool grew = false;
#pragma unroll
    for (int m = 0; m < kM; ++m)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float found = top[m][half];
#pragma unroll
        for (int n = 0; n < kN; ++n) found = larger(found, larger(s[m][n][half * 2], s[m][n][half * 2 + 1]));
        found = larger(found, __shfl_xor_sync(kFullMask, found, 1));
        found = larger(found, __shfl_xor_sync(kFullMask, found, 2));
        const float base = found == -kInfinity<float> ? 0.0f : found * factor;
        shrink[m][half] = exp2_approx(multiply_add(top[m][half], factor, -base));
        grew = grew || found != top[m][half];
        top[m][half] = found;
        float part = total[m][half] * shrink[m][half];
#pragma unroll
        for (int n = 0; n < kN; ++n)
#pragma unroll
          for (int r = half * 2; r < half * 2 + 2; ++r) {
            s[m][n][r] = exp2_approx(multiply_add(s[m][n][r], factor, -base));
            part += s[m][n][r];
          }
        total[m][half] = part;
      }
    if (__any_sync(kFullMask, grew)) {  // rarely, after the first tiles
#pragma unroll
      for (int m = 0; m < kM; ++m)
#pragma unroll
        for (int c = 0; c < kC; ++c)
#pragma unroll
          for (int r = 0; r < 4; ++r) sum[m][c][r] *= shrink[m][r / 2];
    }
    weight_products<kHead>(sum, s, tile_k + kKeys * kPitch);
  }
  cp_async_wait<0>();
  float inverse[kM][2] = {};
#pragma unroll 1
  for (int j = 0; j < 2 * kM; ++j) {  // the first of the rows, which then are brought round
    float all = total[0][0];
    all += __shfl_xor_sync(kFullMask, all, 1);
    all += __shfl_xor_sync(kFullMask, all, 2);
    const int i = i0 + warp_row + j * 8 + lane / 4;
    if (a.lse && lane % 4 == 0 && i < queries)
      a.lse[head * a.queries + i] = all == 0.0f ? kInfinity<float> : multiply_add(top[0][0], factor, base2_log(all));
#pragma unroll
    for (int n = 0; n + 1 < 2 * kM; ++n) {
      total[n / 2][n % 2] = total[(n + 1) / 2][(n + 1) % 2];
      top[n / 2][n % 2] = top[(n + 1) / 2][(n + 1) % 2];
      inverse[n / 2][n % 2] = inverse[(n + 1) / 2][(n + 1) % 2];
    }
    inverse[kM - 1][1] = all == 0.0f ? 0.0f : 1.0f / all;
  }
  store_rows<kPitch>(a.y.at(at[kOffY]), tile_q + warp_row * kPitch, i0 + warp_row, queries, 0, width, vectors, sum,
                     inverse);
#endif
}

template <class T, int kHead>
bool launch_mma(const Attention<T>& a, bool vectors) {
  constexpr int kM = kHead <= 128 ? 2 : 1, kKeys = kHead <= 64 ? 64 : 32;
  using S = ForwardShape<T, kHead, kM, kKeys>;
  const size_t bytes = S::bytes(a.mask != nullptr);
  const int64_t blocks = a.heads * pieces_of(a.queries, S::kQueries);
  if (blocks >= int64_t{1} << 31 || most_shared_memory() < bytes) return false;
  FS_LAUNCH((attention_mma<T, kHead, kM, kKeys>), static_cast<unsigned>(blocks), kMmaThreads, bytes, current_stream(),
            a, vectors);
  return true;
}

template <class T>
bool run_forward(AttentionViews x, const AttentionAttrs& attrs, const Attention<float>& given) {
  if (!suits_mma(given)) return false;
  const AlignedRows q(x.q), k(x.k), v(x.v);
  x.q = q.view(), x.k = k.view(), x.v = v.view();
  Attention<T> a = attention_of<T>(x, attrs);
  a.lse = given.lse;
  const bool vectors = stores_vectors(x.y);
  return dispatch_head(std::max(a.depth, a.width), [&]<int kHead>() { return launch_mma<T, kHead>(a, vectors); });
}

}  // namespace

bool run_attention_mma(const AttentionViews& x, const AttentionAttrs& attrs, const Attention<float>& a) {
  return a.dtype == DType::kFloat16 ? run_forward<float16>(x, attrs, a) : run_forward<bfloat16>(x, attrs, a);
}

}  // namespace fireseed::cuda

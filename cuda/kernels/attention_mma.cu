// Scaled dot product attention of halves, forward, by tensor cores (sm_80). Note [Attention by tensor cores].
#include "kernels/attention_mma.cuh"

namespace fireseed::cuda {
namespace {

// A block has 64 kM queries of a head. The next keys and values come while a tile of each is worked on.
template <class T, int kHead, int kM, int kKeys>
__global__ void __launch_bounds__(kMmaThreads, 2) attention_mma(const __grid_constant__ Attention<T> a, bool pairs) {
  constexpr int kPitch = kHeadPitch<kHead>, kQueries = 64 * kM, kN = kKeys / 8, kC = kHead / 8;
  FS_DYN_SMEM(T, tile_q);
  T* stages = tile_q + kQueries * kPitch;  // two, of keys and values
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const int warp_row = static_cast<int>(threadIdx.x) / kWarpSize * 16 * kM;
  const int64_t blocks = (a.queries + kQueries - 1) / kQueries, head = blockIdx.x / blocks;
  const int64_t i0 = (blocks - 1 - blockIdx.x % blocks) * kQueries;  // those that see the most keys go first
  int64_t at[kQueryOperands], key_at[kKeyOperands];
  a.query_heads.offsets(head, at);
  a.key_heads.offsets(head / a.groups, key_at);
  const Matrix<T> k = a.k.at(key_at[kOffK]), v = a.v.at(key_at[kOffV]);
  const int64_t keys = a.causal && i0 + kQueries < a.keys ? i0 + kQueries : a.keys;
  const auto fetch = [&](int64_t j0) {
    T* stage = stages + j0 / kKeys % 2 * (2 * kKeys * kPitch);
    fetch_rows<kKeys, kHead>(stage, k, j0, a.keys, a.depth);
    fetch_rows<kKeys, kHead>(stage + kKeys * kPitch, v, j0, a.keys, a.width);
  };
  fetch_rows<kQueries, kHead>(tile_q, a.q.at(at[kOffQ]), i0, a.queries, a.depth);
  fetch(0);
  cp_async_commit();

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
  for (int64_t j0 = 0; j0 < keys; j0 += kKeys) {
    cp_async_wait<0>();
    __syncthreads();  // the stage is there, and all are done with the other
    if (j0 + kKeys < keys) fetch(j0 + kKeys);
    cp_async_commit();
    const T* tile_k = stages + j0 / kKeys % 2 * (2 * kKeys * kPitch);
    float s[kM][kN][4];
    score_products<kHead>(s, tile_q + warp_row * kPitch, tile_k);
    if (before || j0 + kKeys > a.keys || (a.causal && j0 + kKeys - 1 > i0 + warp_row))
      put_mask<false>(a, s, i0 + warp_row, j0, at[kOffMask], before ? to_base_2 : 1.0f);
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
  float inverse[kM][2];
#pragma unroll
  for (int m = 0; m < kM; ++m)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float all = total[m][half];
      all += __shfl_xor_sync(kFullMask, all, 1);
      all += __shfl_xor_sync(kFullMask, all, 2);
      inverse[m][half] = all == 0.0f ? 0.0f : 1.0f / all;
      const int64_t i = i0 + warp_row + m * 16 + half * 8 + lane / 4;
      if (a.lse && lane % 4 == 0 && i < a.queries)
        a.lse[head * a.queries + i] =
            all == 0.0f ? kInfinity<float> : multiply_add(top[m][half], factor, base2_log(all));
    }
  store_rows(a.y.at(at[kOffY]), i0 + warp_row, a.queries, 0, a.width, pairs, sum, inverse);
}

template <class T, int kHead>
bool launch_mma(const Attention<T>& a, bool pairs) {
  constexpr int kM = kHead <= 128 ? 2 : 1, kKeys = kHead <= 64 ? 64 : 32, kQueries = 64 * kM;
  constexpr size_t kBytes = sizeof(T) * kHeadPitch<kHead> * (kQueries + 4 * kKeys);
  const int64_t blocks = a.heads * pieces_of(a.queries, kQueries);
  if (blocks >= int64_t{1} << 31 || most_shared_bytes() < kBytes) return false;
  FS_LAUNCH((attention_mma<T, kHead, kM, kKeys>), static_cast<unsigned>(blocks), kMmaThreads, kBytes,
            current_stream(), a, pairs);
  return true;
}

template <class T>
bool run(AttentionViews x, const AttentionAttrs& attrs, const Attention<T>& given) {
  if (!suits_mma(given)) return false;
  const AlignedRows q(x.q), k(x.k), v(x.v);
  x.q = q.view(), x.k = k.view(), x.v = v.view();
  Attention<T> a = attention_of<T>(x, attrs);
  a.lse = given.lse;
  const bool pairs = stores_pairs(x.y);
  return dispatch_head(std::max(a.depth, a.width), [&]<int kHead>() { return launch_mma<T, kHead>(a, pairs); });
}

}  // namespace

bool run_attention_mma(const AttentionViews& x, const AttentionAttrs& attrs, const Attention<float16>& a) {
  return run(x, attrs, a);
}
bool run_attention_mma(const AttentionViews& x, const AttentionAttrs& attrs, const Attention<bfloat16>& a) {
  return run(x, attrs, a);
}

}  // namespace fireseed::cuda

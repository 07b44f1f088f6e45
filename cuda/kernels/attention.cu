// Scaled dot product attention, forward: the kernel for plain arithmetic. Note [Attention on devices].
#include "kernels/attention.cuh"

namespace fireseed::cuda {
namespace {

// A block has 64 queries of a head and 16 kPer columns of the values. Scores are thread (ty, tx)'s of queries 4 ty ..
// and keys 4 tx ..; the 16 threads of a ty share their queries.
template <class T, int kPer>
__global__ void __launch_bounds__(kPlainThreads) attention_plain(const __grid_constant__ Attention<T> a) {
  using C = compute_type<T>;
  FS_DYN_SMEM(C, shared);
  C* weights = shared + kFetched<C, kPer>;
  const int tx = static_cast<int>(threadIdx.x) % 16, ty = static_cast<int>(threadIdx.x) / 16;
  constexpr int kColumns = 16 * kPer;
  const int64_t chunks = a.width > kColumns ? (a.width + kColumns - 1) / kColumns : 1;
  const int64_t blocks = (a.queries + kTile - 1) / kTile, task = blockIdx.x / chunks, head = task / blocks;
  const int64_t c0 = blockIdx.x % chunks * kColumns;
  const int64_t i0 = (blocks - 1 - task % blocks) * kTile;  // the last queries, which see the most keys, go first
  int64_t at[kQueryOperands], key_at[kKeyOperands];
  a.query_heads.offsets(head, at);
  a.key_heads.offsets(head / a.groups, key_at);
  const Matrix<T> q = a.q.at(at[kOffQ]), k = a.k.at(key_at[kOffK]), v = a.v.at(key_at[kOffV]);
  const C factor = a.scale * static_cast<C>(kLog2E);
  C top[4], total[4], sum[4][kPer];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    top[i] = -kInfinity<C>;
    total[i] = C(0);
#pragma unroll
    for (int c = 0; c < kPer; ++c) sum[i][c] = C(0);
  }
  const int64_t keys = a.causal && i0 + kTile < a.keys ? i0 + kTile : a.keys;
  for (int64_t j0 = 0; j0 < keys; j0 += kTile) {
    C s[4][4];
    tile_scores(s, q, i0, a.queries, k, j0, a.keys, a.depth, shared);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int64_t row = i0 + ty * 4 + i;
      C found = top[i];
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const int64_t key = j0 + tx * 4 + j;
        if (!sees(a, row, key)) s[i][j] = -kInfinity<C>;
        else
          s[i][j] = a.mask ? masked(a, at[kOffMask] + row * a.mask_row + key * a.mask_col, s[i][j] * factor)
                           : s[i][j] * factor;
        found = larger(found, s[i][j]);
      }
#pragma unroll
      for (int d = 8; d > 0; d /= 2) found = larger(found, __shfl_xor_sync(kFullMask, found, d));
      const C base = found == -kInfinity<C> ? C(0) : found, shrink = power_of_two(top[i] - base);
      top[i] = found;
      total[i] *= shrink;
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        s[i][j] = power_of_two(s[i][j] - base);
        total[i] += s[i][j];
      }
#pragma unroll
      for (int c = 0; c < kPer; ++c) sum[i][c] *= shrink;
    }
    put_weights(weights, s);
    tile_sums(sum, weights, v, j0, a.keys, c0, a.width, shared);
  }
  C inverse[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
#pragma unroll
    for (int d = 8; d > 0; d /= 2) total[i] += __shfl_xor_sync(kFullMask, total[i], d);
    inverse[i] = total[i] == C(0) ? C(0) : C(1) / total[i];
    const int64_t row = i0 + ty * 4 + i;
    // A row that saw nothing: its weights are 2^(s - inf) = 0 in the backward pass too.
    if (a.lse && tx == 0 && c0 == 0 && row < a.queries)
      a.lse[head * a.queries + row] = total[i] == C(0) ? kInfinity<C> : top[i] + base2_log(total[i]);
  }
  store_tile(a.y.at(at[kOffY]), i0, a.queries, c0, a.width, sum, inverse);
}

template <class T, int kPer>
void launch_plain(const Attention<T>& a) {
  using C = compute_type<T>;
  const int64_t chunks = std::max<int64_t>(1, pieces_of(a.width, 16 * kPer));
  const int64_t blocks = a.heads * pieces_of(a.queries, kTile) * chunks;
  FS_CHECK(blocks < (int64_t{1} << 31), "attention: ", a.heads, " heads of ", a.queries, " queries are too many");
  FS_LAUNCH((attention_plain<T, kPer>), static_cast<unsigned>(blocks), kPlainThreads,
            sizeof(C) * kPlainShared<C, kPer>, current_stream(), a);
}

}  // namespace

// in: q (..., L, E), k (..., S, E), v (..., S, V), mask with q's leading axes, L and S (strides may be 0), bool or
// float, or absent; k and v have q's heads divided by `groups`. out: y (..., L, V), and where wanted the logarithms
// to base 2 of the rows' sums (heads, L) in the compute type.
void attention(const KernelArgs& args) {
  const auto& attrs = args.attrs<AttentionAttrs>();
  AttentionViews x;
  x.q = args.in[0], x.k = args.in[1], x.v = args.in[2], x.y = args.out[0];
  if (args.num_in > 3) x.mask = args.in[3];
  dispatch_float(x.q.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    Attention<T> a = attention_of<T>(x, attrs);
    if (args.out[1].defined()) a.lse = args.out[1].ptr<compute_type<T>>();
    if constexpr (is_half(dtype_of<T>::value)) {
      if (run_attention_mma(x, attrs, a)) return;
    }
    if constexpr (std::is_same_v<T, float>) {
      if (a.width > 64) return launch_plain<T, 8>(a);
    }
    launch_plain<T, 4>(a);
  });
}

}  // namespace fireseed::cuda

// Scaled dot product attention, forward: the kernel for plain arithmetic. Note [Attention on devices].
#include "kernels/attention_plain.cuh"

namespace fireseed::cuda {
namespace {

// A block has 64 queries of a head and kColumns columns of the values. Scores are thread (ty, tx)'s of queries 4 ty
// .. and keys 4 tx ..; the 16 threads of a ty share their queries.
template <class C>
__global__ void __launch_bounds__(kPlainThreads) attention_plain(const __grid_constant__ Attention<C> a) {
  FS_DYN_SMEM(C, shared);
  C* weights = shared + kFetched<C>;
  const int tx = static_cast<int>(threadIdx.x) % 16, ty = static_cast<int>(threadIdx.x) / 16;
  const int queries = static_cast<int>(a.queries), all_keys = static_cast<int>(a.keys);
  const int width = static_cast<int>(a.width), chunks = width > kColumns<C> ? (width - 1) / kColumns<C> + 1 : 1;
  const int blocks = (queries + kTile - 1) / kTile, task = static_cast<int>(blockIdx.x) / chunks,
            head = task / blocks;
  const int c0 = static_cast<int>(blockIdx.x) % chunks * kColumns<C>;
  const int i0 = (blocks - 1 - task % blocks) * kTile;  // the last queries, which see the most keys, go first
  int64_t at[kQueryOperands], key_at[kKeyOperands];
  a.query_heads.offsets(head, at);
  a.key_heads.offsets(head / static_cast<int>(a.groups), key_at);
  const PlainOperand q = operand_of(a, a.q, at[kOffQ], a.queries, a.depth);
  const PlainOperand k = operand_of(a, a.k, key_at[kOffK], a.keys, a.depth);
  const PlainOperand v = operand_of(a, a.v, key_at[kOffV], a.keys, a.width);
  const C factor = a.scale * static_cast<C>(kLog2E);
  C top[4], total[4], sum[4][kPer<C>];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    top[i] = -kInfinity<C>;
    total[i] = C(0);
#pragma unroll
    for (int c = 0; c < kPer<C>; ++c) sum[i][c] = C(0);
  }
  const int keys = a.causal && i0 + kTile < all_keys ? i0 + kTile : all_keys;
#pragma unroll 1
  for (int j0 = 0; j0 < keys; j0 += kTile) {
    C s[4][4], found[4], base[4], shrink[4];
    tile_scores(s, q, i0, k, j0, a.dtype, shared);
#pragma unroll
    for (int i = 0; i < 4; ++i) found[i] = top[i];
#pragma unroll 1
    for (int j = 0; j < 4; ++j) {
      C put[4];
      load_masks(put, a, at[kOffMask], i0 + ty * 4, j0 + tx * 4 + j, false);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const C x = put[i] == -kInfinity<C> ? put[i] : multiply_add(s[i][0], factor, put[i]);
        s[i][0] = x;
        found[i] = larger(found[i], x);
      }
      turn_columns(s);
    }
#pragma unroll 1
    for (int d = 8; d > 0; d /= 2)
#pragma unroll
      for (int i = 0; i < 4; ++i) found[i] = larger(found[i], __shfl_xor_sync(kFullMask, found[i], d));
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      base[i] = found[i] == -kInfinity<C> ? C(0) : found[i];
      shrink[i] = top[i] - base[i];
      top[i] = found[i];
    }
    // s = 2^(s - base), and once more shrink = 2^shrink.
#pragma unroll 1
    for (int j = 0; j < 5; ++j) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const C x = power_of_two(j == 0 ? shrink[i] : s[i][0] - base[i]);
        if (j == 0) shrink[i] = x;
        else s[i][0] = x;
        total[i] = j == 0 ? total[i] * x : total[i] + x;
      }
      if (j > 0) turn_columns(s);
    }
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
      for (int c = 0; c < kPer<C>; ++c) sum[i][c] *= shrink[i];
    put_weights(weights, s);
    tile_sums(sum, weights, v, j0, c0, a.dtype, shared);
  }
  C inverse[4] = {};
#pragma unroll 1
  for (int i = 0; i < 4; ++i) {
    C all = total[0];
#pragma unroll
    for (int d = 8; d > 0; d /= 2) all += __shfl_xor_sync(kFullMask, all, d);
    const int row = i0 + ty * 4 + i;
    // A row that saw nothing: its weights are 2^(s - inf) = 0 in the backward pass too.
    if (a.lse && tx == 0 && c0 == 0 && row < queries)
      a.lse[head * a.queries + row] = all == C(0) ? kInfinity<C> : top[0] + base2_log(all);
    const C next = all == C(0) ? C(0) : C(1) / all;
#pragma unroll
    for (int j = 0; j < 3; ++j) total[j] = total[j + 1], top[j] = top[j + 1], inverse[j] = inverse[j + 1];
    inverse[3] = next;
  }
  store_tile(operand_of(a, a.y, at[kOffY], a.queries, a.width), a.dtype, i0, c0, sum, inverse);
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
  dispatch_float_compute(x.q.dtype, "attention", [&](auto zero) {
    using C = decltype(zero);
    Attention<C> a = attention_of<C>(x, attrs);
    if (args.out[1].defined()) a.lse = args.out[1].ptr<C>();
    if constexpr (std::is_same_v<C, float>) {
      if (is_half(a.dtype) && run_attention_mma(x, attrs, a)) return;
    }
    const int64_t chunks = std::max<int64_t>(1, pieces_of(a.width, kColumns<C>));
    const int64_t blocks = a.heads * pieces_of(a.queries, kTile) * chunks;
    FS_CHECK(blocks < (int64_t{1} << 31), "attention: ", a.heads, " heads of ", a.queries, " queries are too many");
    FS_LAUNCH((attention_plain<C>), static_cast<unsigned>(blocks), kPlainThreads, sizeof(C) * kPlainShared<C>,
              current_stream(), a);
  });
}

}  // namespace fireseed::cuda

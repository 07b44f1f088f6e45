// Scaled dot product attention, backward: the kernels for plain arithmetic. Note [Attention on devices].
#include "kernels/attention_plain.cuh"
#include "runtime/allocator.h"

namespace fireseed::cuda {
namespace {

// d = Σ g y of each row, a warp a row. gridDim.y: heads.
template <class C>
__global__ void __launch_bounds__(256) row_products(const __grid_constant__ Attention<C> a, C* d) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize, queries = static_cast<int>(a.queries);
  for (int head = static_cast<int>(blockIdx.y); head < a.heads; head += static_cast<int>(gridDim.y)) {
    int64_t at[kQueryOperands];
    a.query_heads.offsets(head, at);
    for (int64_t i = grid_thread() / kWarpSize; i < queries; i += grid_threads() / kWarpSize) {
      int64_t g = at[kOffG] + i * a.g.row, y = at[kOffY] + i * a.y.row;
      C sum = C(0);
#pragma unroll 1
      for (int c = lane; c < a.width; c += kWarpSize)
        sum = multiply_add(load_number(a.g.data, g + c * a.g.col, a.dtype, C()),
                           load_number(a.y.data, y + c * a.y.col, a.dtype, C()), sum);
      sum = warp_reduce(sum, AddOp{});
      if (lane == 0) d[head * a.queries + i] = sum;
    }
  }
}

// of_keys: a block has 64 keys and goes through the queries of all heads that share them, for gk and gv; else it has
// 64 queries and goes through the keys, for gq. Of each kColumns columns. Scores are thread (ty, tx)'s of the block's
// own rows 4 ty .. and of the others 4 tx ...
template <class C>
__global__ void __launch_bounds__(kPlainThreads)
    attention_gradients(const __grid_constant__ Attention<C> a, bool of_keys) {
  FS_DYN_SMEM(C, shared);
  C* weights = shared + kFetched<C>;
  const int tx = static_cast<int>(threadIdx.x) % 16, ty = static_cast<int>(threadIdx.x) / 16;
  const int queries = static_cast<int>(a.queries), keys = static_cast<int>(a.keys),
            groups = static_cast<int>(a.groups);
  const int depth = static_cast<int>(a.depth), width = static_cast<int>(a.width);
  const int rows = of_keys ? keys : queries, columns = of_keys && width > depth ? width : depth;
  const int blocks = (rows + kTile - 1) / kTile, chunks = (columns + kColumns<C> - 1) / kColumns<C>;
  const int task = static_cast<int>(blockIdx.x) / chunks, own_head = task / blocks;
  const int c0 = static_cast<int>(blockIdx.x) % chunks * kColumns<C>;
  // Those that see or are seen by the most go first.
  const int r0 = (of_keys ? task % blocks : blocks - 1 - task % blocks) * kTile;
  const int key_head = of_keys ? own_head : own_head / groups;
  int64_t key_at[kKeyOperands];
  a.key_heads.offsets(key_head, key_at);
  const PlainOperand k = operand_of(a, a.k, key_at[kOffK], a.keys, a.depth);
  const PlainOperand v = operand_of(a, a.v, key_at[kOffV], a.keys, a.width);
  const C factor = a.scale * static_cast<C>(kLog2E);
  // Sums for gv and for gk, or only for gq. What is done twice stands in loops that exchange the two, so that it is
  // compiled once.
  C first[4][kPer<C>], second[4][kPer<C>];
#pragma unroll
  for (int i = 0; i < 4; ++i)
#pragma unroll
    for (int c = 0; c < kPer<C>; ++c) first[i][c] = second[i][c] = C(0);
  const auto exchange = [&] {
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
      for (int c = 0; c < kPer<C>; ++c) {
        const C x = first[i][c];
        first[i][c] = second[i][c], second[i][c] = x;
      }
  };
  const int others = of_keys ? queries : a.causal && r0 + kTile < keys ? r0 + kTile : keys;
  const int head0 = of_keys ? key_head * groups : own_head, head1 = of_keys ? head0 + groups : head0 + 1;
  int64_t at[kQueryOperands];
#pragma unroll 1
  for (int head = head0; head < head1; ++head) {
    a.query_heads.offsets(head, at);
    const PlainOperand q = operand_of(a, a.q, at[kOffQ], queries, depth);
    const PlainOperand g = operand_of(a, a.g, at[kOffG], queries, width);
    const C *lse = a.lse + head * a.queries, *d = a.d + head * a.queries;
#pragma unroll 1
    for (int o0 = of_keys && a.causal ? r0 : 0; o0 < others; o0 += kTile) {
      C p[4][4], ds[4][4];
      const auto shift = [&] {
#pragma unroll
        for (int i = 0; i < 4; ++i)
#pragma unroll
          for (int j = 0; j < 4; ++j) p[i][j] = ds[i][j];
      };
#pragma unroll 1
      for (int which = 0; which < 2; ++which) {  // of q and k, then of g and v
        shift();
        const PlainOperand of_query = choose(which == 0, q, g), of_key = choose(which == 0, k, v);
        tile_scores(ds, choose(of_keys, of_key, of_query), r0, choose(of_keys, of_query, of_key), o0, a.dtype,
                    shared);
      }
#pragma unroll 1
      for (int j = 0; j < 4; ++j) {
        const int row = r0 + ty * 4, other = o0 + tx * 4 + j;
        C put[4];
        load_masks(put, a, at[kOffMask], row, other, of_keys);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int wanted = of_keys ? other : row + i, query = wanted < queries ? wanted : queries - 1;
          const C s = multiply_add(p[i][0], factor, put[i]), weight = power_of_two(s - lse[query]);
          const C slope = weight * (ds[i][0] - d[query]);
          // Hidden pairs add nothing, even where a product is no number.
          p[i][0] = put[i] == -kInfinity<C> ? C(0) : weight;
          ds[i][0] = put[i] == -kInfinity<C> ? C(0) : slope;
        }
        turn_columns(p);
        turn_columns(ds);
      }
#pragma unroll 1
      for (int which = 0; which < 2; ++which) {
        if (which == 1 || of_keys) {
          put_weights(weights, p);
          tile_sums(first, weights, choose(which == 0, g, choose(of_keys, q, k)), o0, c0, a.dtype, shared);
        }
        shift();
        exchange();
      }
    }
  }
#pragma unroll 1
  for (int which = 0; which < 2; ++which) {
    const C f = which == 0 ? C(1) : a.scale, scale[4] = {f, f, f, f};
    const PlainOperand gv = operand_of(a, a.gv, key_at[kOffGv], keys, width);
    const PlainOperand gk = operand_of(a, a.gk, key_at[kOffGk], keys, depth);
    const PlainOperand gq = operand_of(a, a.gq, at[kOffGq], queries, depth);
    if (which == 1 || of_keys)
      store_tile(choose(which == 0, gv, choose(of_keys, gk, gq)), a.dtype, r0, c0, first, scale);
    exchange();
  }
}

template <class C>
void launch_plain(const Attention<C>& a, bool of_keys) {
  const int64_t columns = of_keys ? std::max(a.width, a.depth) : a.depth;
  const int64_t own = of_keys ? a.heads / a.groups * pieces_of(a.keys, kTile) : a.heads * pieces_of(a.queries, kTile);
  const int64_t blocks = own * pieces_of(columns, kColumns<C>);
  FS_CHECK(blocks < (int64_t{1} << 31), "attention_backward: ", a.heads, " heads of ", a.queries, " queries and ",
           a.keys, " keys are too many");
  FS_LAUNCH((attention_gradients<C>), static_cast<unsigned>(blocks), kPlainThreads, sizeof(C) * kPlainShared<C>,
            current_stream(), a, of_keys);
}

}  // namespace

// in: g, q, k, v, y, the rows' sums as the forward pass gave them, mask or absent. out: gq, gk, gv.
void attention_backward(const KernelArgs& args) {
  const auto& attrs = args.attrs<AttentionAttrs>();
  AttentionViews x;
  x.g = args.in[0], x.q = args.in[1], x.k = args.in[2], x.v = args.in[3], x.y = args.in[4], x.mask = args.in[6];
  x.gq = args.out[0], x.gk = args.out[1], x.gv = args.out[2];
  dispatch_float_compute(x.q.dtype, "attention_backward", [&](auto zero) {
    using C = decltype(zero);
    Attention<C> a = attention_of<C>(x, attrs);
    const int64_t rows = a.heads * a.queries;
    const Scratch d(static_cast<size_t>(std::max<int64_t>(1, rows)) * sizeof(C));
    a.lse = args.in[5].ptr<C>();
    a.d = d.ptr<C>();
    const dim3 grid(grid_for(a.queries, 256 / kWarpSize, 1 << 16),
                    static_cast<unsigned>(std::min<int64_t>(a.heads, 65535)));
    FS_LAUNCH((row_products<C>), grid, 256, 0, current_stream(), a, d.ptr<C>());
    if constexpr (std::is_same_v<C, float>) {
      if (is_half(a.dtype) && run_attention_backward_mma(x, attrs, a)) return;
    }
    launch_plain(a, true);
    launch_plain(a, false);
  });
}

}  // namespace fireseed::cuda

// Scaled dot product attention, backward: the kernels for plain arithmetic. Note [Attention on devices].
#include "kernels/attention.cuh"
#include "runtime/allocator.h"

namespace fireseed::cuda {
namespace {

// d = Σ g y of each row, a warp a row.
template <class T>
__global__ void row_products(const __grid_constant__ Attention<T> a, compute_type<T>* d) {
  using C = compute_type<T>;
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const int64_t rows = a.heads * a.queries, warps = grid_threads() / kWarpSize;
  for (int64_t row = grid_thread() / kWarpSize; row < rows; row += warps) {
    int64_t at[kQueryOperands];
    a.query_heads.offsets(row / a.queries, at);
    const Matrix<T> g = a.g.at(at[kOffG]), y = a.y.at(at[kOffY]);
    const int64_t i = row % a.queries;
    C sum = C(0);
    for (int64_t c = lane; c < a.width; c += kWarpSize)
      sum = multiply_add(load_as<C>(g(i, c)), load_as<C>(y(i, c)), sum);
    sum = warp_reduce(sum, AddOp{});
    if (lane == 0) d[row] = sum;
  }
}

// kOfKeys: a block has 64 keys and goes through the queries of all heads that share them, for gk and gv; else it has
// 64 queries and goes through the keys, for gq. Of each 16 kPer columns. Scores are thread (ty, tx)'s of the block's
// own rows 4 ty .. and of the others 4 tx ...
template <class T, int kPer, bool kOfKeys>
__global__ void __launch_bounds__(kPlainThreads) attention_gradients(const __grid_constant__ Attention<T> a) {
  using C = compute_type<T>;
  FS_DYN_SMEM(C, shared);
  C* weights = shared + kFetched<C, kPer>;
  const int tx = static_cast<int>(threadIdx.x) % 16, ty = static_cast<int>(threadIdx.x) / 16;
  constexpr int kColumns = 16 * kPer;
  const int64_t rows = kOfKeys ? a.keys : a.queries, blocks = (rows + kTile - 1) / kTile;
  const int64_t columns = kOfKeys && a.width > a.depth ? a.width : a.depth;
  const int64_t chunks = (columns + kColumns - 1) / kColumns, task = blockIdx.x / chunks, own_head = task / blocks;
  const int64_t c0 = blockIdx.x % chunks * kColumns;
  // Those that see or are seen by the most go first.
  const int64_t r0 = (kOfKeys ? task % blocks : blocks - 1 - task % blocks) * kTile;
  const int64_t key_head = kOfKeys ? own_head : own_head / a.groups;
  int64_t key_at[kKeyOperands];
  a.key_heads.offsets(key_head, key_at);
  const Matrix<T> k = a.k.at(key_at[kOffK]), v = a.v.at(key_at[kOffV]);
  const C factor = a.scale * static_cast<C>(kLog2E);
  C first[4][kPer], second[4][kPer];  // of gv (keys only); of gk or gq
#pragma unroll
  for (int i = 0; i < 4; ++i)
#pragma unroll
    for (int c = 0; c < kPer; ++c) first[i][c] = second[i][c] = C(0);
  const int64_t others = kOfKeys ? a.queries : a.causal && r0 + kTile < a.keys ? r0 + kTile : a.keys;
  const int64_t head0 = kOfKeys ? key_head * a.groups : own_head, head1 = kOfKeys ? head0 + a.groups : head0 + 1;
  int64_t at[kQueryOperands];
  for (int64_t head = head0; head < head1; ++head) {
    a.query_heads.offsets(head, at);
    const Matrix<T> q = a.q.at(at[kOffQ]), g = a.g.at(at[kOffG]);
    const C *lse = a.lse + head * a.queries, *d = a.d + head * a.queries;
    for (int64_t o0 = kOfKeys && a.causal ? r0 : 0; o0 < others; o0 += kTile) {
      C p[4][4], ds[4][4];
      if constexpr (kOfKeys) {
        tile_scores(p, k, r0, a.keys, q, o0, a.queries, a.depth, shared);
        tile_scores(ds, v, r0, a.keys, g, o0, a.queries, a.width, shared);
      } else {
        tile_scores(p, q, r0, a.queries, k, o0, a.keys, a.depth, shared);
        tile_scores(ds, g, r0, a.queries, v, o0, a.keys, a.width, shared);
      }
#pragma unroll
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          const int64_t row = r0 + ty * 4 + i, other = o0 + tx * 4 + j;
          const int64_t query = kOfKeys ? other : row, key = kOfKeys ? row : other;
          if (sees(a, query, key)) {
            C s = p[i][j] * factor;
            if (a.mask) s = masked(a, at[kOffMask] + query * a.mask_row + key * a.mask_col, s);
            p[i][j] = power_of_two(s - lse[query]);
            ds[i][j] = p[i][j] * (ds[i][j] - d[query]);
          } else {
            p[i][j] = ds[i][j] = C(0);
          }
        }
      if constexpr (kOfKeys) {
        put_weights(weights, p);
        tile_sums(first, weights, g, o0, a.queries, c0, a.width, shared);
        put_weights(weights, ds);
        tile_sums(second, weights, q, o0, a.queries, c0, a.depth, shared);
      } else {
        put_weights(weights, ds);
        tile_sums(second, weights, k, o0, a.keys, c0, a.depth, shared);
      }
    }
  }
  const C one[4] = {C(1), C(1), C(1), C(1)}, scale[4] = {a.scale, a.scale, a.scale, a.scale};
  if constexpr (kOfKeys) {
    store_tile(a.gv.at(key_at[kOffGv]), r0, a.keys, c0, a.width, first, one);
    store_tile(a.gk.at(key_at[kOffGk]), r0, a.keys, c0, a.depth, second, scale);
  } else {
    store_tile(a.gq.at(at[kOffGq]), r0, a.queries, c0, a.depth, second, scale);
  }
}

template <class T, int kPer, bool kOfKeys>
void launch_plain(const Attention<T>& a) {
  using C = compute_type<T>;
  const int64_t columns = kOfKeys ? std::max(a.width, a.depth) : a.depth;
  const int64_t own = kOfKeys ? a.heads / a.groups * pieces_of(a.keys, kTile) : a.heads * pieces_of(a.queries, kTile);
  const int64_t blocks = own * pieces_of(columns, 16 * kPer);
  FS_CHECK(blocks < (int64_t{1} << 31), "attention_backward: ", a.heads, " heads of ", a.queries, " queries and ",
           a.keys, " keys are too many");
  FS_LAUNCH((attention_gradients<T, kPer, kOfKeys>), static_cast<unsigned>(blocks), kPlainThreads,
            sizeof(C) * kPlainShared<C, kPer>, current_stream(), a);
}

}  // namespace

// in: g, q, k, v, y, the rows' sums as the forward pass gave them, mask or absent. out: gq, gk, gv.
void attention_backward(const KernelArgs& args) {
  const auto& attrs = args.attrs<AttentionAttrs>();
  AttentionViews x;
  x.g = args.in[0], x.q = args.in[1], x.k = args.in[2], x.v = args.in[3], x.y = args.in[4], x.mask = args.in[6];
  x.gq = args.out[0], x.gk = args.out[1], x.gv = args.out[2];
  dispatch_float(x.q.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_type<T>;
    Attention<T> a = attention_of<T>(x, attrs);
    const int64_t rows = a.heads * a.queries;
    const Scratch d(static_cast<size_t>(std::max<int64_t>(1, rows)) * sizeof(C));
    a.lse = args.in[5].ptr<C>();
    a.d = d.ptr<C>();
    FS_LAUNCH((row_products<T>), grid_for(rows, 256 / kWarpSize, 1 << 16), 256, 0, current_stream(), a, d.ptr<C>());
    if constexpr (is_half(dtype_of<T>::value)) {
      if (run_attention_backward_mma(x, attrs, a)) return;
    }
    if constexpr (std::is_same_v<T, float>) {
      if (a.width > 64 || a.depth > 64) {
        launch_plain<T, 8, true>(a);
        launch_plain<T, 8, false>(a);
        return;
      }
    }
    launch_plain<T, 4, true>(a);
    launch_plain<T, 4, false>(a);
  });
}

}  // namespace fireseed::cuda

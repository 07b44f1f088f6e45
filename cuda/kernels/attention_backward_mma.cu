// Scaled dot product attention of halves, backward, by tensor cores (sm_80). Note [Attention by tensor cores].
#include "kernels/attention_mma.cuh"

namespace fireseed::cuda {
namespace {

// kOfKeys: a block has 64 kM keys and goes through the queries of all heads that share them, for gk and gv; else it
// has 64 queries kM and goes through the keys, for gq. Of each up to 128 columns. Its own rows (k and v, or q and g)
// stay in shared memory, tiles of kOthers rows of the others come two steps apart, for keys with the queries' sums.
template <class T, int kHead, int kM, int kOthers, bool kOfKeys>
struct Shape {
  static constexpr int kPitch = kHeadPitch<kHead>, kOwn = 64 * kM, kColumns = kHead < 128 ? kHead : 128;
  static constexpr int kStage = 2 * kOthers * kPitch;  // elements of two tiles
  static constexpr size_t kTiles = sizeof(T) * (2 * kOwn * kPitch + 2 * kStage);
  static constexpr size_t kBytes = kTiles + (kOfKeys ? sizeof(float) * 4 * kOthers : 0);
};

template <class T, int kHead, int kM, int kOthers, bool kOfKeys>
__global__ void __launch_bounds__(kMmaThreads, 2)
    attention_gradients_mma(const __grid_constant__ Attention<T> a, bool pairs_first, bool pairs_second) {
  using S = Shape<T, kHead, kM, kOthers, kOfKeys>;
  constexpr int kPitch = S::kPitch, kOwn = S::kOwn, kN = kOthers / 8, kC = S::kColumns / 8;
  FS_DYN_SMEM(T, own_first);  // k or q; then v or g; then the stages
  T *own_second = own_first + kOwn * kPitch, *stages = own_second + kOwn * kPitch;
  float* stage_rows = reinterpret_cast<float*>(stages + 2 * S::kStage);  // lse and d of a stage's queries
  const int t = static_cast<int>(threadIdx.x), lane = t % kWarpSize, warp_row = t / kWarpSize * 16 * kM;
  const int64_t rows = kOfKeys ? a.keys : a.queries, blocks = (rows + kOwn - 1) / kOwn;
  const int64_t columns = kOfKeys && a.width > a.depth ? a.width : a.depth;
  const int64_t chunks = (columns + S::kColumns - 1) / S::kColumns, task = blockIdx.x / chunks;
  const int64_t own_head = task / blocks, c0 = blockIdx.x % chunks * S::kColumns;
  // Those that see or are seen by the most go first.
  const int64_t r0 = (kOfKeys ? task % blocks : blocks - 1 - task % blocks) * kOwn;
  const int64_t key_head = kOfKeys ? own_head : own_head / a.groups;
  int64_t key_at[kKeyOperands], at[kQueryOperands];
  a.key_heads.offsets(key_head, key_at);
  const Matrix<T> k = a.k.at(key_at[kOffK]), v = a.v.at(key_at[kOffV]);
  const int64_t head0 = kOfKeys ? key_head * a.groups : own_head;
  a.query_heads.offsets(head0, at);

  const int64_t others = kOfKeys ? a.queries : a.causal && r0 + kOwn < a.keys ? r0 + kOwn : a.keys;
  const int64_t begin = kOfKeys && a.causal ? r0 : 0;
  const int64_t pieces = others > begin ? (others - begin + kOthers - 1) / kOthers : 0;
  const int64_t steps = kOfKeys ? pieces * a.groups : pieces;
  const auto fetch = [&](int64_t step) {
    T* stage = stages + step % 2 * S::kStage;
    const int64_t o0 = begin + (kOfKeys ? step % pieces : step) * kOthers;
    if constexpr (kOfKeys) {
      const int64_t head = head0 + step / pieces;
      int64_t o[kQueryOperands];
      a.query_heads.offsets(head, o);
      fetch_rows<kOthers, kHead>(stage, a.q.at(o[kOffQ]), o0, a.queries, a.depth);
      fetch_rows<kOthers, kHead>(stage + kOthers * kPitch, a.g.at(o[kOffG]), o0, a.queries, a.width);
      if (t < 2 * kOthers) {
        const int64_t i = o0 + t % kOthers;
        const float* from = (t < kOthers ? a.lse : a.d) + head * a.queries;
        cp_async<4>(stage_rows + step % 2 * 2 * kOthers + t, i < a.queries ? from + i : from, i < a.queries ? 4 : 0);
      }
    } else {
      fetch_rows<kOthers, kHead>(stage, k, o0, a.keys, a.depth);
      fetch_rows<kOthers, kHead>(stage + kOthers * kPitch, v, o0, a.keys, a.width);
    }
  };
  if constexpr (kOfKeys) {
    fetch_rows<kOwn, kHead>(own_first, k, r0, a.keys, a.depth);
    fetch_rows<kOwn, kHead>(own_second, v, r0, a.keys, a.width);
  } else {
    fetch_rows<kOwn, kHead>(own_first, a.q.at(at[kOffQ]), r0, a.queries, a.depth);
    fetch_rows<kOwn, kHead>(own_second, a.g.at(at[kOffG]), r0, a.queries, a.width);
  }
  if (steps > 0) fetch(0);
  cp_async_commit();

  // The sums and products of this thread's own queries.
  float row_lse[kM][2], row_d[kM][2];
#pragma unroll
  for (int m = 0; m < kM; ++m)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int64_t i = r0 + warp_row + m * 16 + half * 8 + lane / 4;
      const bool there = !kOfKeys && i < a.queries;
      row_lse[m][half] = there ? a.lse[own_head * a.queries + i] : 0.0f;
      row_d[m][half] = there ? a.d[own_head * a.queries + i] : 0.0f;
    }
  float first[kOfKeys ? kM : 1][kC][4], second[kM][kC][4];  // of gv; of gk or gq
#pragma unroll
  for (int m = 0; m < kM; ++m)
#pragma unroll
    for (int c = 0; c < kC; ++c)
#pragma unroll
      for (int r = 0; r < 4; ++r) {
        if constexpr (kOfKeys) first[m][c][r] = 0.0f;
        second[m][c][r] = 0.0f;
      }

  const float to_base_2 = a.scale * static_cast<float>(kLog2E);
  for (int64_t step = 0; step < steps; ++step) {
    cp_async_wait<0>();
    __syncthreads();  // the stage is there, and all are done with the other
    if (step + 1 < steps) fetch(step + 1);
    cp_async_commit();
    const T *other_first = stages + step % 2 * S::kStage, *other_second = other_first + kOthers * kPitch;
    const float* sums = stage_rows + step % 2 * 2 * kOthers;
    const int64_t o0 = begin + (kOfKeys ? step % pieces : step) * kOthers;
    float p[kM][kN][4], ds[kM][kN][4];
    score_products<kHead>(p, own_first + warp_row * kPitch, other_first);
    score_products<kHead>(ds, own_second + warp_row * kPitch, other_second);
    // Whether some of the block's pairs do not see each other.
    const bool tests = a.mask != nullptr || o0 + kOthers > (kOfKeys ? a.queries : a.keys) ||
                       (a.causal && (kOfKeys ? o0 < r0 + kOwn - 1 : o0 + kOthers - 1 > r0));
    if (tests) {
      if (kOfKeys && a.mask) a.query_heads.offsets(head0 + step / pieces, at);
      put_mask<kOfKeys>(a, p, r0 + warp_row, o0, at[kOffMask], to_base_2);
    }
    const float factor = tests ? 1.0f : to_base_2;
#pragma unroll
    for (int n = 0; n < kN; ++n)
#pragma unroll
      for (int r = 0; r < 4; ++r) {
        float lse = 0.0f, d = 0.0f;
        if constexpr (kOfKeys) {
          const int other = n * 8 + lane % 4 * 2 + r % 2;
          lse = sums[other], d = sums[kOthers + other];
        }
#pragma unroll
        for (int m = 0; m < kM; ++m) {
          if constexpr (!kOfKeys) lse = row_lse[m][r / 2], d = row_d[m][r / 2];
          p[m][n][r] = exp2_approx(multiply_add(p[m][n][r], factor, -lse));
          ds[m][n][r] = p[m][n][r] * (ds[m][n][r] - d);
        }
      }
    if constexpr (kOfKeys) weight_products<kHead>(first, p, other_second + c0);
    weight_products<kHead>(second, ds, other_first + c0);
  }
  cp_async_wait<0>();
  float one[kM][2], scale[kM][2];
#pragma unroll
  for (int m = 0; m < kM; ++m) {
    one[m][0] = one[m][1] = 1.0f;
    scale[m][0] = scale[m][1] = a.scale;
  }
  if constexpr (kOfKeys) {
    store_rows(a.gv.at(key_at[kOffGv]), r0 + warp_row, a.keys, c0, a.width, pairs_first, first, one);
    store_rows(a.gk.at(key_at[kOffGk]), r0 + warp_row, a.keys, c0, a.depth, pairs_second, second, scale);
  } else {
    store_rows(a.gq.at(at[kOffGq]), r0 + warp_row, a.queries, c0, a.depth, pairs_second, second, scale);
  }
}

template <class T, int kHead, int kM, int kOthers, bool kOfKeys>
void launch_mma(const Attention<T>& a, bool pairs_first, bool pairs_second) {
  using S = Shape<T, kHead, kM, kOthers, kOfKeys>;
  const int64_t columns = kOfKeys ? std::max(a.width, a.depth) : a.depth;
  const int64_t own =
      kOfKeys ? a.heads / a.groups * pieces_of(a.keys, S::kOwn) : a.heads * pieces_of(a.queries, S::kOwn);
  const int64_t blocks = own * pieces_of(columns, S::kColumns);
  FS_CHECK(blocks < (int64_t{1} << 31), "attention_backward: ", a.heads, " heads of ", a.queries, " queries and ",
           a.keys, " keys are too many");
  FS_LAUNCH((attention_gradients_mma<T, kHead, kM, kOthers, kOfKeys>), static_cast<unsigned>(blocks), kMmaThreads,
            S::kBytes, current_stream(), a, pairs_first, pairs_second);
}

template <class T>
bool run(AttentionViews x, const AttentionAttrs& attrs, const Attention<T>& given) {
  if (!suits_mma(given)) return false;
  return dispatch_head(std::max(given.depth, given.width), [&]<int kHead>() {
    constexpr int kM = kHead <= 64 ? 2 : 1;  // registers
    const size_t most = std::max(Shape<T, kHead, kM, 32, true>::kBytes, Shape<T, kHead, kM, 32, false>::kBytes);
    if (most_shared_bytes() < most) return false;
    const AlignedRows q(x.q), k(x.k), v(x.v), g(x.g);
    x.q = q.view(), x.k = k.view(), x.v = v.view(), x.g = g.view();
    Attention<T> a = attention_of<T>(x, attrs);
    a.lse = given.lse, a.d = given.d;
    launch_mma<T, kHead, kM, 32, true>(a, stores_pairs(x.gv), stores_pairs(x.gk));
    launch_mma<T, kHead, kM, 32, false>(a, false, stores_pairs(x.gq));
    return true;
  });
}

}  // namespace

bool run_attention_backward_mma(const AttentionViews& x, const AttentionAttrs& attrs, const Attention<float16>& a) {
  return run(x, attrs, a);
}
bool run_attention_backward_mma(const AttentionViews& x, const AttentionAttrs& attrs, const Attention<bfloat16>& a) {
  return run(x, attrs, a);
}

}  // namespace fireseed::cuda

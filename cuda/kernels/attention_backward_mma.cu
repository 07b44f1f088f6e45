// Scaled dot product attention of halves, backward, by tensor cores (sm_80). Note [Attention by tensor cores].
// Optimised in full: less code so, and the loops that decide the speed stay without copies of registers and spills.
#include "kernels/attention_mma.cuh"

namespace fireseed::cuda {
namespace {

// kOfKeys: a block has 64 kM keys and goes through the queries of all heads that share them, for gk and gv; else it
// has 64 queries kM and goes through the keys, for gq. Of each up to 128 columns. Its own rows (k and v, or q and g)
// stay in shared memory, tiles of kOthers rows of the others come two steps apart, for keys with the queries' sums.
template <class T, int kHead, int kM, int kOthers, bool kOfKeys>
struct BackwardShape {
  static constexpr int kPitch = kHeadPitch<kHead>, kOwn = 64 * kM, kColumns = kHead < 128 ? kHead : 128;
  static constexpr int kStage = 2 * kOthers * kPitch;  // elements of two tiles
  static constexpr size_t kTiles = sizeof(T) * (2 * kOwn * kPitch + 2 * kStage);
  static constexpr size_t kSums = kOfKeys ? sizeof(float) * 4 * kOthers : 0;
  static constexpr int kMask = kMaskTile<kM, kOthers / 8>;  // of a warp
  static constexpr size_t bytes(bool mask) { return kTiles + kSums + (mask ? sizeof(float) * 4 * kMask : 0); }
};

// Compiles to: no spills, HMMA, LDSM, LDGSTS
template <class T, int kHead, int kM, int kOthers, bool kOfKeys>
__global__ void __launch_bounds__(kMmaThreads, 2)
    attention_gradients_mma(const __grid_constant__ Attention<T> a, bool vectors_first, bool vectors_second) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
  __trap();
#else
  using S = BackwardShape<T, kHead, kM, kOthers, kOfKeys>;
  constexpr int kPitch = S::kPitch, kOwn = S::kOwn, kN = kOthers / 8, kC = S::kColumns / 8;
  FS_DYN_SMEM(T, own_first);  // k or q; then v or g; then the stages, the sums and the mask
  T *own_second = own_first + kOwn * kPitch, *stages = own_second + kOwn * kPitch;
  float* stage_rows = reinterpret_cast<float*>(stages + 2 * S::kStage);  // lse and d of a stage's queries
  const int t = static_cast<int>(threadIdx.x), lane = t % kWarpSize, warp = t / kWarpSize, warp_row = warp * 16 * kM;
  float* mask_tile = stage_rows + (kOfKeys ? 4 * kOthers : 0) + warp * S::kMask;
  const int queries = static_cast<int>(a.queries), keys = static_cast<int>(a.keys),
            groups = static_cast<int>(a.groups);
  const int depth = static_cast<int>(a.depth), width = static_cast<int>(a.width);
  const int rows = kOfKeys ? keys : queries, others = kOfKeys ? queries : keys;
  const int blocks = (rows + kOwn - 1) / kOwn, columns = kOfKeys && width > depth ? width : depth;
  const int chunks = (columns + S::kColumns - 1) / S::kColumns, task = static_cast<int>(blockIdx.x) / chunks;
  const int own_head = task / blocks, key_head = kOfKeys ? own_head : own_head / groups;
  const int c0 = static_cast<int>(blockIdx.x) % chunks * S::kColumns;
  // Those that see or are seen by the most go first.
  const int r0 = (kOfKeys ? task % blocks : blocks - 1 - task % blocks) * kOwn;
  int64_t key_at[kKeyOperands], at[kQueryOperands];
  a.key_heads.offsets(key_head, key_at);
  int head = kOfKeys ? key_head * groups : own_head;  // of the queries in the last tile fetched
  a.query_heads.offsets(head, at);
  fetch_rows<kOwn, kHead>(own_first, kOfKeys ? a.k.at(key_at[kOffK]) : a.q.at(at[kOffQ]), r0, rows, depth);
  fetch_rows<kOwn, kHead>(own_second, kOfKeys ? a.v.at(key_at[kOffV]) : a.g.at(at[kOffG]), r0, rows, width);

  // The sums and products of this thread's own queries.
  float row_lse[kM][2], row_d[kM][2];
#pragma unroll
  for (int m = 0; m < kM; ++m)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int i = r0 + warp_row + m * 16 + half * 8 + lane / 4;
      const bool there = !kOfKeys && i < queries;
      row_lse[m][half] = there ? a.lse[head * a.queries + i] : 0.0f;
      row_d[m][half] = there ? a.d[head * a.queries + i] : 0.0f;
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
  const int begin = kOfKeys && a.causal ? r0 : 0, end = !kOfKeys && a.causal && r0 + kOwn < keys ? r0 + kOwn : others;
  const int pieces = end > begin ? (end - begin + kOthers - 1) / kOthers : 0,
            steps = kOfKeys ? pieces * groups : pieces;
  int next = begin, fetched = begin;
  int64_t fetched_mask = 0;
  // Before the first tile there is a step that only fetches.
#pragma unroll 1
  for (int step = -1; step < steps; ++step) {
    if (step >= 0) {
      cp_async_wait<0>();
      __syncthreads();  // the stage is there, and all are done with the other
    }
    const int o0 = fetched;
    const int64_t mask_at = fetched_mask;
    if (step + 1 < steps) {
      if (kOfKeys && next >= end) {
        next = begin;
        a.query_heads.offsets(++head, at);
      }
      T* to = stages + (step + 1) % 2 * S::kStage;
      fetch_rows<kOthers, kHead>(to, kOfKeys ? a.q.at(at[kOffQ]) : a.k.at(key_at[kOffK]), next, others, depth);
      fetch_rows<kOthers, kHead>(to + kOthers * kPitch, kOfKeys ? a.g.at(at[kOffG]) : a.v.at(key_at[kOffV]), next,
                                 others, width);
      if (kOfKeys && t < 2 * kOthers) {
        const int i = next + t % kOthers;
        const float* from = (t < kOthers ? a.lse : a.d) + head * a.queries;
        cp_async<4>(stage_rows + (step + 1) % 2 * 2 * kOthers + t, from + i, i < others ? 4 : 0);
      }
      fetched = next;
      fetched_mask = at[kOffMask];
      next += kOthers;
    }
    cp_async_commit();
    if (step < 0) continue;
    const T *other_first = stages + step % 2 * S::kStage, *other_second = other_first + kOthers * kPitch;
    const float* sums = stage_rows + step % 2 * 2 * kOthers;
    float p[kM][kN][4], ds[kM][kN][4];
    score_products<kHead>(p, own_first + warp_row * kPitch, other_first);
    score_products<kHead>(ds, own_second + warp_row * kPitch, other_second);
    // Whether some of the block's pairs do not see each other.
    const bool tests = a.mask != nullptr || o0 + kOthers > others ||
                       (a.causal && (kOfKeys ? o0 < r0 + kOwn - 1 : o0 + kOthers - 1 > r0));
    // ds -= d; of hidden pairs it is zero, also where the product of g and v is no number.
    const auto subtract = [&](bool some_hidden) {
#pragma unroll
      for (int n = 0; n < kN; ++n)
#pragma unroll
        for (int r = 0; r < 4; ++r)
#pragma unroll
          for (int m = 0; m < kM; ++m) {
            float& x = ds[m][n][r];
            x -= kOfKeys ? sums[kOthers + n * 8 + lane % 4 * 2 + r % 2] : row_d[m][r / 2];
            if (some_hidden && p[m][n][r] == -kInfinity<float>) x = 0.0f;
          }
    };
    if (tests) {
      put_mask<kOfKeys>(a, p, r0 + warp_row, rows, o0, others, mask_at, to_base_2, mask_tile);
      subtract(true);
    } else {
      subtract(false);
    }
    const float factor = tests ? 1.0f : to_base_2;
#pragma unroll
    for (int n = 0; n < kN; ++n)
#pragma unroll
      for (int r = 0; r < 4; ++r)
#pragma unroll
        for (int m = 0; m < kM; ++m) {
          const float lse = kOfKeys ? sums[n * 8 + lane % 4 * 2 + r % 2] : row_lse[m][r / 2];
          p[m][n][r] = exp2_approx(multiply_add(p[m][n][r], factor, -lse));
          ds[m][n][r] *= p[m][n][r];
        }
    if constexpr (kOfKeys) weight_products<kHead>(first, p, other_second + c0);
    weight_products<kHead>(second, ds, other_first + c0);
  }
  cp_async_wait<0>();
  __syncthreads();  // where there were no steps, the own tiles are only now there to be overwritten
  float one[kM][2], scale[kM][2];
#pragma unroll
  for (int m = 0; m < kM; ++m) {
    one[m][0] = one[m][1] = 1.0f;
    scale[m][0] = scale[m][1] = a.scale;
  }
  if constexpr (kOfKeys) {
    store_rows<kPitch>(a.gv.at(key_at[kOffGv]), own_second + warp_row * kPitch, r0 + warp_row, rows, c0, width,
                       vectors_first, first, one);
    store_rows<kPitch>(a.gk.at(key_at[kOffGk]), own_first + warp_row * kPitch, r0 + warp_row, rows, c0, depth,
                       vectors_second, second, scale);
  } else {
    store_rows<kPitch>(a.gq.at(at[kOffGq]), own_first + warp_row * kPitch, r0 + warp_row, rows, c0, depth,
                       vectors_second, second, scale);
  }
#endif
}

template <class T, int kHead, int kM, int kOthers, bool kOfKeys>
void launch_mma(const Attention<T>& a, bool vectors_first, bool vectors_second) {
  using S = BackwardShape<T, kHead, kM, kOthers, kOfKeys>;
  const int64_t columns = kOfKeys ? std::max(a.width, a.depth) : a.depth;
  const int64_t own =
      kOfKeys ? a.heads / a.groups * pieces_of(a.keys, S::kOwn) : a.heads * pieces_of(a.queries, S::kOwn);
  const int64_t blocks = own * pieces_of(columns, S::kColumns);
  FS_CHECK(blocks < (int64_t{1} << 31), "attention_backward: ", a.heads, " heads of ", a.queries, " queries and ",
           a.keys, " keys are too many");
  FS_LAUNCH((attention_gradients_mma<T, kHead, kM, kOthers, kOfKeys>), static_cast<unsigned>(blocks), kMmaThreads,
            S::bytes(a.mask != nullptr), current_stream(), a, vectors_first, vectors_second);
}

template <class T>
bool run_backward(AttentionViews x, const AttentionAttrs& attrs, const Attention<float>& given) {
  if (!suits_mma(given)) return false;
  return dispatch_head(std::max(given.depth, given.width), [&]<int kHead>() {
    constexpr int kM = kHead <= 64 ? 2 : 1;  // registers
    if (most_shared_memory() < BackwardShape<T, kHead, kM, 32, true>::bytes(given.mask != nullptr)) return false;
    const AlignedRows q(x.q), k(x.k), v(x.v), g(x.g);
    x.q = q.view(), x.k = k.view(), x.v = v.view(), x.g = g.view();
    Attention<T> a = attention_of<T>(x, attrs);
    a.lse = given.lse, a.d = given.d;
    launch_mma<T, kHead, kM, 32, true>(a, stores_vectors(x.gv), stores_vectors(x.gk));
    launch_mma<T, kHead, kM, 32, false>(a, false, stores_vectors(x.gq));
    return true;
  });
}

}  // namespace

bool run_attention_backward_mma(const AttentionViews& x, const AttentionAttrs& attrs, const Attention<float>& a) {
  return a.dtype == DType::kFloat16 ? run_backward<float16>(x, attrs, a) : run_backward<bfloat16>(x, attrs, a);
}

}  // namespace fireseed::cuda

// Blocked matrix product: small calls run straight on the operands, large ones through packed panels.
#include "cpu/gemm.h"

#include "base/parallel.h"
#include "cpu/gemm_amx.h"
#include "cpu/gemm_bf16.h"
#include "cpu/gemm_pack.h"

namespace fireseed::cpu::FS_ISA {
namespace {

// Note [Blocked product]
// C is cut into tiles of up to kMaxRows x kTileCols, each the work of one micro-kernel call, and K into blocks of
// about kBlockK. Tasks (a group of row panels x a block of column panels) are claimed by the threads; consecutive
// ones share their columns, so that a thread keeps its part of B in its L2, and a row panel of A stays in L1 while it
// meets the column panels of the block. What does not already lie well is packed: a row panel of A by the task that
// is about to use it, the columns of B by their task where one task has all the rows, else by all threads before the
// tasks of a K block. The cut of K depends on m, n, k and the strides alone, and each element of C is summed in order
// by one thread at a time: the bits do not depend on the number of threads.

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
constexpr int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
constexpr int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

// Rows of A: m cut into near-equal panels of at most max_rows.
struct RowPanels {
  explicit RowPanels(int64_t m, int max_rows = kMaxRows)
      : count(ceil_div(m, max_rows)), base(m / count), extra(m % count) {}
  int64_t begin(int64_t i) const { return i * base + least(i, extra); }
  int rows(int64_t i) const { return static_cast<int>(base + (i < extra)); }
  int64_t count, base, extra;
};

template <class T>
TileStore<T> tile_store(const GemmCall<T>& g, int64_t i, int64_t j, int cols) {
  return {g.c + i * g.c_row + j,
          g.c_row,
          g.alpha,
          g.beta,
          g.bias_col ? g.bias_col + j : nullptr,
          g.bias_row ? g.bias_row + i : nullptr,
          g.relu,
          cols};
}

// Whole product on this thread, B's full panels read where they lie. A must have a unit stride.
template <class T>
void gemm_small(const GemmCall<T>& g) {
  constexpr int kV = Vec<T>::kSize, kW = kTileCols<T>;
  const bool row_a = g.a_col == 1;
  const int64_t a_step = row_a ? g.a_row : g.a_col;
  const RowPanels panels(g.m);
  const bool direct = g.b_col == 1;
  SmallScratch<T, 16384 / sizeof(T)> packed(direct && g.n % kV == 0 ? 0 : g.k * kW);
  for (int64_t j = 0; j < g.n; j += kW) {
    const int cols = static_cast<int>(least(kW, g.n - j));
    const int width = panel_width<T>(cols);
    const T* b = g.b + j * g.b_col;
    int64_t b_step = g.b_row;
    if (!direct || cols != width) {
      pack_b<T>(packed.data(), b, g.b_row, g.b_col, g.k, cols);
      b = packed.data();
      b_step = width;
    }
    for (int64_t p = 0; p < panels.count; ++p) {
      const int64_t i = panels.begin(p);
      tile_kernel_for<T>(panels.rows(p), width / kV, row_a)(g.k, g.a + i * (row_a ? g.a_row : 1), a_step, b, b_step,
                                                            tile_store(g, i, j, cols));
    }
  }
}

// Bytes between rows that put all of them into few sets of L1.
template <class T>
bool bad_step(int64_t step, int64_t bytes = 4096) {
  return (step * static_cast<int64_t>(sizeof(T))) % bytes == 0;
}

constexpr int64_t kTaskProducts = 128 << 10;         // least work of a task: about 2 us
constexpr int64_t kMaxTasks = 256, kManyTasks = 64;  // columns are not cut for more than many
constexpr int64_t kSharedBytes = 1 << 20;            // more than this is not found in L2 again
constexpr int64_t kDeepProducts = 2 << 20;           // least work between two barriers: about 20 us
constexpr int64_t kEachProducts = 4 << 20;           // up to here it is no loss that every thread packs B
constexpr int64_t kOwnRows = 16 * kMaxRows;  // up to here one task takes all rows of its columns and packs them;
                                             // twice as many where threads are few

template <class Panels>
constexpr int64_t kMaxDepth = Panels::kBlock * 7 / 4 / Panels::kDepth;  // of a block of K

// Panels of S's compute type.
template <class S>
struct PlainPanels {
  using Packed = compute_type<S>;         // an element of the panels
  static constexpr int kDepth = 1;        // how many of K's it holds
  static constexpr int kRows = kMaxRows;  // of a panel of A
  static constexpr int64_t kUnit = 8;     // a block of K is a multiple of it
  // And about so long: wide registers read and write more of C for the same work, so there are fewer blocks.
  static constexpr int64_t kBlock =
      Vec<Packed>::kSize * sizeof(Packed) == 64 ? kBlockK<Packed> * 4 / 3 : kBlockK<Packed>;
  static constexpr bool kDirect = same_type<S, Packed>;  // operands may be read where they lie
  static constexpr bool kRowsOnly = false;               // panels of A have their rows along K
  static void pack_b(Packed* dst, const S* src, int64_t row, int64_t col, int64_t k, int n) {
    FS_ISA::pack_b<Packed>(dst, src, row, col, k, n);
  }
  static void pack_rows(Packed* dst, int64_t step, const S* src, int64_t row, int64_t col, int64_t m, int64_t k) {
    pack_a_rows<Packed>(dst, step, src, row, col, m, k);
  }
  static void pack_cols(Packed* dst, const S* src, int64_t col, int64_t m, int64_t k, int64_t readable) {
    pack_a_cols<Packed>(dst, src, col, m, k, readable);
  }
  static bool rows_in_place(int64_t, int64_t, int64_t) { return false; }  // as kDirect has it
  static auto kernel(int rows, int vecs, bool row_a) { return tile_kernel_for<Packed>(rows, vecs, row_a); }
};

// Blocks of about kBlockK along K.
template <class Panels>
int64_t count_k_blocks(int64_t k) {
  return most(1, (k + Panels::kBlock / 4) / Panels::kBlock);
}

template <class S, class Panels = PlainPanels<S>>
void gemm_blocked(const GemmCall<S>& g) {
  using T = compute_type<S>;
  using P = typename Panels::Packed;
  constexpr int kV = Vec<T>::kSize, kW = kTileCols<T>, kDepth = Panels::kDepth;
  constexpr bool kSame = Panels::kDirect;
  const RowPanels panels(g.m, Panels::kRows);
  const int64_t col_panels = ceil_div(g.n, kW);
  const int64_t k_blocks = count_k_blocks<Panels>(g.k);
  const int64_t kc =
      ceil_div(ceil_div(g.k, k_blocks), Panels::kUnit) * Panels::kUnit;  // at most kDepth kMaxDepth<Panels>
  const int64_t depth = kc / kDepth;

  // Where K is deep, all of it of a task's columns of B does not stay in L2: one block of K for all tasks, then the
  // next.
  const int64_t b_bytes = g.k * least(g.n, kBlockCols) * static_cast<int64_t>(sizeof(S));
  const bool deep = k_blocks >= 4 && b_bytes > kSharedBytes && g.m * g.n * kc > kDeepProducts;

  // What needs packing. A panel of B is read once per row panel, one of A once per column panel.
  const bool row_a = Panels::kRowsOnly || g.a_col == 1 || g.a_row != 1;
  const bool a_in_place = Panels::rows_in_place(g.k, g.a_row, g.a_col);
  const bool pack_a =
      !a_in_place && (!kSame || (g.a_col != 1 && g.a_row != 1) ||
                      (row_a ? g.n > 4 * kW && (bad_step<S>(g.a_row) || g.a_row * kMaxRows > (1 << 14))
                             : g.n > kW && (deep || bad_step<S>(g.a_col) || g.a_col * kc > (1 << 16))));
  const bool packs_b = !kSame || g.b_col != 1 || (g.m > 4 * kMaxRows && g.b_row * kc > (1 << 16));
  const bool tail_b = !packs_b && g.n % kV != 0;  // the last panel must hold whole vectors
  // Little work on few columns: each thread takes some rows and packs all of B for itself, as a panel is sooner
  // packed than fetched from another core.
  const bool each_b = (packs_b ? col_panels < 4 : tail_b && col_panels == 1) && g.m * g.n * g.k < kEachProducts;
  const bool own_b =
      each_b || (packs_b && (g.m <= kOwnRows ? col_panels >= 4
                                             : g.m <= 2 * kOwnRows && col_panels >= most(4, 2 * num_threads())));
  const bool shared_b = packs_b && !own_b;

  const bool by_blocks = shared_b || (deep && !own_b);  // of K: all tasks together

  // The grid of tasks. Turning A is worth it for some columns only.
  const int64_t want = least(kMaxTasks, most(1, g.m * g.n * (by_blocks ? least(g.k, kc) : g.k) / kTaskProducts));
  const int64_t max_blocks = pack_a ? most(1, g.n / 128) : col_panels;
  const int64_t fitting = (1 << 20) / static_cast<int64_t>(depth * sizeof(P));  // columns of a block in 1 MiB
  const int64_t block_cols = kDepth > 1 ? kDepth * kBlockCols : least(kBlockCols, fitting);
  int64_t row_groups = 1, col_blocks = ceil_div(col_panels * kW, block_cols);
  if (each_b) {
    row_groups = least(panels.count, num_threads());
  } else if (own_b) {
    col_blocks = most(col_blocks, least(max_blocks, want));
    const int64_t threads = num_threads();  // few tasks: as many for each thread
    if (col_blocks < 3 * threads) col_blocks = least(col_panels, ceil_div(col_blocks, threads) * threads);
  } else {
    row_groups = least(panels.count, ceil_div(want, col_blocks));
    const int64_t some = least(want, kManyTasks);
    if (row_groups * col_blocks < some) col_blocks = most(col_blocks, least(max_blocks, ceil_div(some, row_groups)));
  }

  // Where all of B stays in L2 as it is, tasks go by rows: a thread's part of C is then contiguous, as in the
  // pointwise operations before and after, and need not come from another core's cache.
  const bool by_rows = !packs_b && row_groups >= 8 && g.n * kc * static_cast<int64_t>(sizeof(S)) <= (1 << 19);

  // Columns of a large A are read whole, once: a panel's part of each is less than two cache lines, far from the
  // next. Where there are others to fetch what one thread packed, it must be used often.
  const int64_t a_bytes = g.m * kc * static_cast<int64_t>(sizeof(S));
  const bool often =
      num_threads() == 1 ? col_blocks > 1 && a_bytes > kSharedBytes / 2 : col_blocks > 2 && a_bytes > kSharedBytes;
  const bool shared_a = pack_a && !row_a && !own_b && (deep || often);

  // Columns of A that lie in the same sets of L1: what two panels have of a line would be fetched twice. A task packs
  // some panels at a time, which read these lines together.
  const bool group_a = pack_a && !row_a && !own_b && !shared_a && kc >= 128 && bad_step<S>(g.a_col, 2048);
  if (group_a) {
    const int64_t threads = num_threads(), few = most(ceil_div(panels.count, 4), ceil_div(8 * threads, col_blocks));
    row_groups = least(row_groups, ceil_div(few, threads) * threads);
  }

  Scratch<P> b_pack(shared_b ? col_panels * kW * depth : tail_b && !own_b ? kW * g.k : 0);
  constexpr int64_t kChunk = 64;                      // columns of A that are packed at a time
  const int64_t a_size = Panels::kRows * depth + kV;  // of a panel; not a multiple of 4096 bytes
  Scratch<P> a_packs(shared_a ? panels.count * a_size : 0);
  // Panels p0 .. p1 of A, one after the other.
  const auto pack_columns = [&](P* to, int64_t p0, int64_t p1, int64_t k0, int64_t kn) {
    constexpr int64_t kStrip =
        8 * kDepth;  // lines of as many columns stay in L1, also where they lie in the same set
    for (int64_t kk = 0; kk < kn; kk += kStrip)
      for (int64_t p = p0; p < p1; ++p) {
        const int64_t i = panels.begin(p), at = k0 % kc + kk;
        Panels::pack_cols(to + (p - p0) * a_size + at / kDepth * panels.rows(p),
                          g.a + i * g.a_row + (k0 + kk) * g.a_col, g.a_col, panels.rows(p), least(kStrip, kn - kk),
                          g.m - i);
      }
  };
  const auto pack_panel = [&](P* to, int64_t q, int64_t k0, int64_t kn) {
    const int64_t j = q * kW;
    Panels::pack_b(to, g.b + k0 * g.b_row + j * g.b_col, g.b_row, g.b_col, kn, static_cast<int>(least(kW, g.n - j)));
  };
  if (tail_b && !own_b) {
    const int64_t j = (col_panels - 1) * kW;
    Panels::pack_b(b_pack.data(), g.b + j, g.b_row, g.b_col, g.k, static_cast<int>(g.n - j));
  }

  // Block [k0, k0 + kn) of one task.
  const auto run = [&](int64_t task, int64_t k0, int64_t kn) {
    const int64_t rg = by_rows ? task / col_blocks : task % row_groups;
    const int64_t cb = by_rows ? task % col_blocks : task / row_groups;
    const int64_t p_end = piece_begin(panels.count, row_groups, rg + 1);
    const int64_t q_begin = piece_begin(col_panels, col_blocks, cb),
                  q_end = piece_begin(col_panels, col_blocks, cb + 1);
    const bool first = k0 == 0, last = k0 + kn == g.k;
    const int64_t p_begin = piece_begin(panels.count, row_groups, rg);
    P* panels_b = b_pack.data() + q_begin * kW * depth;
    P* group = nullptr;
    if (own_b) {
      panels_b = static_cast<P*>(thread_scratch(static_cast<size_t>((q_end - q_begin) * kW * depth) * sizeof(P)));
      for (int64_t q = q_begin; q < q_end; ++q) pack_panel(panels_b + (q - q_begin) * kW * depth, q, k0, kn);
    }
    if (group_a) {
      group = static_cast<P*>(thread_scratch(static_cast<size_t>((p_end - p_begin) * a_size) * sizeof(P)));
      pack_columns(group, p_begin, p_end, k0, kn);
    }
    alignas(64) P a_pack[Panels::kRows * (kMaxDepth<Panels> + 16)];
    for (int64_t p = p_begin; p < p_end; ++p) {
      const int64_t i = panels.begin(p);
      const int rows = panels.rows(p);
      const S* src = g.a + i * g.a_row + k0 * g.a_col;
      const P* a = reinterpret_cast<const P*>(src);
      int64_t step = (row_a ? g.a_row : g.a_col) / (a_in_place ? kDepth : 1);
      if (shared_a) {
        a = a_packs.data() + p * a_size;
        step = rows;
      } else if (group) {
        a = group + (p - p_begin) * a_size;
        step = rows;
      } else if (pack_a) {
        a = a_pack;
        step = row_a ? depth + 16 : rows;
        if (row_a) Panels::pack_rows(a_pack, step, src, g.a_row, g.a_col, rows, kn);
        else Panels::pack_cols(a_pack, src, g.a_col, rows, kn, g.m - i);
      }
      for (int64_t q = q_begin; q < q_end; ++q) {
        const int64_t j = q * kW;
        const int cols = static_cast<int>(least(kW, g.n - j));
        const int width = panel_width<T>(cols);
        const bool packed = packs_b || (tail_b && q == col_panels - 1);
        const P* b = packs_b || own_b ? panels_b + (q - q_begin) * kW * depth
                     : packed         ? b_pack.data() + k0 * width
                                      : reinterpret_cast<const P*>(g.b) + k0 * g.b_row + j;
        TileStore<T> store = {g.c + i * g.c_row + j,
                              g.c_row,
                              g.alpha,
                              first ? g.beta : T(1),
                              last && g.bias_col ? g.bias_col + j : nullptr,
                              last && g.bias_row ? g.bias_row + i : nullptr,
                              last && g.relu,
                              cols};
        if constexpr (sizeof(S) == 2) {
          if (g.rounded) store.half = reinterpret_cast<uint16_t*>(g.rounded + i * g.c_row + j);
          store.bf16 = same_type<S, bfloat16>;
        }
        Panels::kernel(rows, width / kV, row_a)(ceil_div(kn, kDepth), a, step, b, packed ? width : g.b_row, store);
      }
    }
  };
  const int64_t tasks = row_groups * col_blocks;
  if (shared_a || by_blocks) {
    const int64_t b_parts = shared_b ? col_panels : 0;
    for (int64_t k0 = 0; k0 < g.k; k0 += kc) {
      const int64_t kn = least(kc, g.k - k0), a_parts = shared_a ? ceil_div(kn, kChunk) : 0;
      parallel_for(a_parts + b_parts, most(1, 16384 / (kn * kW)), [&](int64_t begin, int64_t end) {
        for (int64_t q = begin; q < end; ++q)
          if (q < a_parts)
            pack_columns(a_packs.data(), 0, panels.count, k0 + q * kChunk, least(kChunk, kn - q * kChunk));
          else pack_panel(b_pack.data() + (q - a_parts) * kW * depth, q - a_parts, k0, kn);
      });
      parallel_for(tasks, 1, [&](int64_t begin, int64_t end) {
        for (int64_t task = begin; task < end; ++task) run(task, k0, kn);
      });
    }
  } else {
    parallel_for(tasks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t task = begin; task < end; ++task)
        for (int64_t k0 = 0; k0 < g.k; k0 += kc) run(task, k0, least(kc, g.k - k0));
    });
  }
}

// K cut into a fixed number of pieces, each a product of its own into scratch; then their sum in order.
template <class S>
void gemm_split_k(const GemmCall<S>& g, int64_t pieces) {
  using T = compute_type<S>;
  Scratch<T> parts(pieces * g.m * g.n);
  parallel_for(pieces, 1, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      const int64_t k0 = piece_begin(g.k, pieces, p);
      GemmCall<S> part = g;
      part.k = piece_begin(g.k, pieces, p + 1) - k0;
      part.a = g.a + k0 * g.a_col;
      part.b = g.b + k0 * g.b_row;
      part.c = parts.data() + p * g.m * g.n;
      part.c_row = g.n;
      part.c_col = 1;
      part.alpha = 1;
      part.beta = 0;
      part.bias_col = part.bias_row = nullptr;
      part.relu = false;
      gemm_blocked(part);
    }
  });
  gemm_combine(g, parts.data(), pieces);
}

template <class S>
GemmCall<S> transposed(const GemmCall<S>& g) {
  GemmCall<S> t = g;
  t.m = g.n;
  t.n = g.m;
  t.a = g.b;
  t.a_row = g.b_col;
  t.a_col = g.b_row;
  t.b = g.a;
  t.b_row = g.a_col;
  t.b_col = g.a_row;
  t.c_row = g.c_col;
  t.c_col = g.c_row;
  t.bias_col = g.bias_row;
  t.bias_row = g.bias_col;
  return t;
}

// Few tiles and a long K: not enough work side by side.
template <class S>
bool splits_k(const GemmCall<S>& g) {
  const int64_t tiles = ceil_div(g.m, kMaxRows) * ceil_div(g.n, kTileCols<compute_type<S>>);
  return (tiles <= 32 || g.m * g.n <= 8192) && g.k >= 4096 && g.k >= 8 * most(g.m, g.n);
}

template <class S>
void gemm_any(GemmCall<S> g) {
  using T = compute_type<S>;
  if (g.m <= 0 || g.n <= 0) return;
  if (g.k <= 0) return gemm_combine(g, static_cast<const T*>(nullptr), 0);
  // An axis of one element has no stride: pick the convenient one.
  if (g.k == 1) g.a_col = g.b_row = 1;
  if (g.m == 1) g.a_row = g.k, g.c_row = g.n;
  if (g.n == 1) g.b_col = 1;
  if (g.m <= g.n && g.m <= kMaxSkinnyRows && gemm_skinny(g)) return;
  if (g.n < g.m && g.n <= kMaxSkinnyRows && gemm_skinny(transposed(g))) return;
  if (g.n == 1) g.c_col = 1;
  if (g.c_col != 1) {
    if (g.c_row == 1) return gemm_any(transposed(g));
    Scratch<T> dense(g.m * g.n);  // C with no unit stride: rare
    GemmCall<S> inner = g;
    inner.c = dense.data();
    inner.c_row = g.n;
    inner.c_col = 1;
    inner.alpha = 1;
    inner.beta = 0;
    inner.bias_col = inner.bias_row = nullptr;
    inner.relu = false;
    gemm_any(inner);
    return gemm_combine(g, dense.data(), 1);
  }
  if constexpr (same_type<S, T>) {
    if (g.m * g.n * g.k <= kSerialProducts && (g.a_col == 1 || g.a_row == 1)) return gemm_small(g);
  }
  if (splits_k(g)) return gemm_split_k(g, least(16, g.k / 1024));
#if defined(__AVX512F__)
  if constexpr (same_type<S, bfloat16>) {
#if defined(FS_HAS_AMX)
    if (has_amx()) return gemm_blocked<S, AmxPanels>(g);
#endif
    if (has_bf16_products()) return gemm_blocked<S, PairPanels>(g);
  }
#endif
  gemm_blocked(g);
}

}  // namespace

template <class S>
void gemm_combine(const GemmCall<S>& g, const compute_type<S>* parts, int64_t count) {
  using T = compute_type<S>;
  // Pieces of rows where C's lie along memory, else whole rows.
  constexpr int64_t kPiece = 1024;
  const int64_t pieces = g.c_col == 1 ? most(1, ceil_div(g.n, kPiece)) : 1;
  const int64_t grain = most(1, 16384 / most(1, ceil_div(g.n, pieces) * most(1, count)));
  parallel_for(g.m * pieces, grain, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t i = task / pieces, j0 = piece_begin(g.n, pieces, task % pieces),
                    j1 = piece_begin(g.n, pieces, task % pieces + 1);
      const T* from = parts + i * g.n;
      int64_t j = j0;
      const auto finish = [&](auto sum, auto c, auto bias) {
        using V = decltype(sum);
        V r = V(g.alpha) * sum;
        if (g.beta != T(0)) r += V(g.beta) * c;
        if (g.bias_col) r += bias;
        if (g.bias_row) r += V(g.bias_row[i]);
        return r;
      };
      for (constexpr int kV = Vec<T>::kSize; g.c_col == 1 && j + kV <= j1; j += kV) {
        Vec<T> sum(T(0));
        for (int64_t p = 0; p < count; ++p) sum += Vec<T>::load(from + p * g.m * g.n + j);
        T* c = g.c + i * g.c_row + j;
        const Vec<T> r =
            finish(sum, g.beta != T(0) ? Vec<T>::load(c) : sum, g.bias_col ? Vec<T>::load(g.bias_col + j) : sum);
        (g.relu ? where(r < Vec<T>(T(0)), Vec<T>(T(0)), r) : r).store(c);
      }
      for (; j < j1; ++j) {
        T sum = 0;
        for (int64_t p = 0; p < count; ++p) sum += from[p * g.m * g.n + j];
        T& c = g.c[i * g.c_row + j * g.c_col];
        const T r = finish(sum, g.beta != T(0) ? c : sum, g.bias_col ? g.bias_col[j] : sum);
        c = g.relu && r < T(0) ? T(0) : r;
      }
    }
  });
}

template void gemm_combine(const GemmCall<float>&, const float*, int64_t);
template void gemm_combine(const GemmCall<double>&, const double*, int64_t);
template void gemm_combine(const GemmCall<float16>&, const float*, int64_t);
template void gemm_combine(const GemmCall<bfloat16>&, const float*, int64_t);

template <class S>
bool gemm_rounds(const GemmCall<S>& g) {
  if (g.m <= kMaxSkinnyRows || g.n <= kMaxSkinnyRows || g.k < 2 || g.beta != 0 || g.c_col != 1 || splits_k(g))
    return false;
#if defined(__AVX512F__)
  if constexpr (same_type<S, bfloat16>) {
#if defined(FS_HAS_AMX)
    if (has_amx()) return count_k_blocks<AmxPanels>(g.k) == 1;
#endif
    if (has_bf16_products()) return count_k_blocks<PairPanels>(g.k) == 1;
  }
#endif
  return count_k_blocks<PlainPanels<S>>(g.k) == 1;
}
template bool gemm_rounds(const GemmCall<float16>&);
template bool gemm_rounds(const GemmCall<bfloat16>&);

void gemm(const GemmCall<float>& call) { gemm_any(call); }
void gemm(const GemmCall<double>& call) { gemm_any(call); }
void gemm(const GemmCall<float16>& call) { gemm_any(call); }
void gemm(const GemmCall<bfloat16>& call) { gemm_any(call); }

template <class S>
void gemm_batched(const GemmCall<S>& first, int64_t batch, int64_t a_batch, int64_t b_batch, int64_t c_batch) {
  const auto one = [&](int64_t i) {
    GemmCall<S> g = first;
    g.a += i * a_batch;
    g.b += i * b_batch;
    g.c += i * c_batch;
    gemm(g);
  };
  const int64_t products = most(1, first.m * first.n * first.k);
  if (batch == 1 || products > 64 * kChunkProducts) {
    for (int64_t i = 0; i < batch; ++i) one(i);
    return;
  }
  parallel_for(batch, items_in_chunk(batch, products), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) one(i);
  });
}
template void gemm_batched(const GemmCall<float>&, int64_t, int64_t, int64_t, int64_t);
template void gemm_batched(const GemmCall<double>&, int64_t, int64_t, int64_t, int64_t);
template void gemm_batched(const GemmCall<float16>&, int64_t, int64_t, int64_t, int64_t);
template void gemm_batched(const GemmCall<bfloat16>&, int64_t, int64_t, int64_t, int64_t);

}  // namespace fireseed::cpu::FS_ISA

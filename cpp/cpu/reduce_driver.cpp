// The driver of all reductions: merges dimensions, chooses the loop, cuts the work and merges the pieces.
#include "base/parallel.h"
#include "cpu/reduce.h"
#include "tensor/allocator.h"

namespace fireseed::cpu::FS_ISA {
namespace {

struct KeptDim { int64_t size, in, out0, out1; };
struct ReducedDim { int64_t size, in; };

struct Plan {
  int nkept = 0, nreduced = 0;
  int64_t outputs = 1, count = 1;  // number of outputs; elements reduced into each
  KeptDim kept[kMaxRank];          // outermost first
  ReducedDim reduced[kMaxRank];
  int in_size, out0_size, out1_size;
};

inline int64_t magnitude(int64_t x) { return x < 0 ? -x : x; }

void make_plan(Plan& plan, const TensorView& in, const TensorView* out, int64_t mask, bool keepdim,
               const ReduceFns& fns) {
  plan.in_size = fns.in_size;
  plan.out0_size = fns.out0_size;
  plan.out1_size = fns.out1_size;
  const bool two = fns.out1_size > 0;
  int j = 0;
  for (int d = 0; d < in.ndim; ++d) {
    const bool reduced = (mask >> d) & 1;
    const int64_t n = in.sizes[d];
    if (reduced) {
      plan.count *= n;
      if (n != 1) plan.reduced[plan.nreduced++] = {n, in.strides[d]};
      if (keepdim) ++j;
    } else {
      plan.outputs *= n;
      if (n != 1) plan.kept[plan.nkept++] = {n, in.strides[d], out[0].strides[j], two ? out[1].strides[j] : 0};
      ++j;
    }
  }
  // Larger strides outermost. Outputs are independent; the reduced keep their order where indices matter.
  for (int i = 1; i < plan.nkept; ++i)
    for (int k = i; k > 0 && magnitude(plan.kept[k - 1].in) < magnitude(plan.kept[k].in); --k) {
      const KeptDim t = plan.kept[k];
      plan.kept[k] = plan.kept[k - 1];
      plan.kept[k - 1] = t;
    }
  if (!fns.ordered)
    for (int i = 1; i < plan.nreduced; ++i)
      for (int k = i; k > 0 && magnitude(plan.reduced[k - 1].in) < magnitude(plan.reduced[k].in); --k) {
        const ReducedDim t = plan.reduced[k];
        plan.reduced[k] = plan.reduced[k - 1];
        plan.reduced[k - 1] = t;
      }
  int m = 0;
  for (int i = 1; i < plan.nkept; ++i) {
    KeptDim& a = plan.kept[m];
    const KeptDim b = plan.kept[i];
    if (a.in == b.in * b.size && a.out0 == b.out0 * b.size && (!two || a.out1 == b.out1 * b.size)) {
      a = {a.size * b.size, b.in, b.out0, b.out1};
    } else {
      plan.kept[++m] = b;
    }
  }
  if (plan.nkept) plan.nkept = m + 1;
  m = 0;
  for (int i = 1; i < plan.nreduced; ++i) {
    ReducedDim& a = plan.reduced[m];
    const ReducedDim b = plan.reduced[i];
    if (a.in == b.in * b.size) {
      a = {a.size * b.size, b.in};
    } else {
      plan.reduced[++m] = b;
    }
  }
  if (plan.nreduced) plan.nreduced = m + 1;
}

// Offset into the input of flat reduced index `i`.
inline int64_t reduced_offset(const Plan& plan, int64_t i, int ndims) {
  int64_t off = 0;
  for (int d = ndims - 1; d >= 0; --d) {
    off += i % plan.reduced[d].size * plan.reduced[d].in;
    i /= plan.reduced[d].size;
  }
  return off;
}
struct OutputOffset { int64_t in = 0, out0 = 0, out1 = 0; };
// Offsets of flat output `i` over the first `ndims` kept dimensions.
inline OutputOffset output_offset(const Plan& plan, int64_t i, int ndims) {
  OutputOffset r;
  if (ndims == 1) return {i * plan.kept[0].in, i * plan.kept[0].out0, i * plan.kept[0].out1};
  for (int d = ndims - 1; d >= 0; --d) {
    const KeptDim& k = plan.kept[d];
    const int64_t q = i % k.size;
    i /= k.size;
    r.in += q * k.in;
    r.out0 += q * k.out0;
    r.out1 += q * k.out1;
  }
  return r;
}

template <class T>
inline void gather_as(void* to, const void* from, int64_t n, int64_t stride) {
  T* a = static_cast<T*>(to);
  const T* b = static_cast<const T*>(from);
  for (int64_t i = 0; i < n; ++i) a[i] = b[i * stride];
}
void gather(void* to, const void* from, int64_t n, int64_t stride, int size) {
  switch (size) {
    case 1: return gather_as<uint8_t>(to, from, n, stride);
    case 2: return gather_as<uint16_t>(to, from, n, stride);
    case 4: return gather_as<uint32_t>(to, from, n, stride);
    default: return gather_as<uint64_t>(to, from, n, stride);
  }
}
template <class T>
inline void scatter_as(void* to, const void* from, int64_t n, int64_t stride) {
  T* a = static_cast<T*>(to);
  const T* b = static_cast<const T*>(from);
  for (int64_t i = 0; i < n; ++i) a[i * stride] = b[i];
}
void scatter(void* to, const void* from, int64_t n, int64_t stride, int size) {
  switch (size) {
    case 1: return scatter_as<uint8_t>(to, from, n, stride);
    case 2: return scatter_as<uint16_t>(to, from, n, stride);
    case 4: return scatter_as<uint32_t>(to, from, n, stride);
    default: return scatter_as<uint64_t>(to, from, n, stride);
  }
}

constexpr int kBufferBytes = 16384;

// Adds the reduced elements [begin, end) of the output at `base` to part.
void run_range(const Plan& plan, const ReduceFns& fns, const ReduceParams& params, const char* base, int64_t begin,
               int64_t end, Part& part) {
  const int es = plan.in_size;
  if (plan.nreduced == 0) {
    fns.run(part, base, end - begin, begin, params);
    return;
  }
  const ReducedDim inner = plan.reduced[plan.nreduced - 1];
  if (plan.nreduced == 1 && inner.in == 1) {
    fns.run(part, base + begin * es, end - begin, begin, params);
    return;
  }
  const bool direct = inner.in == 1 && inner.size >= 64;
  alignas(64) char buffer[kBufferBytes];
  const int64_t capacity = kBufferBytes / es;
  int64_t filled = 0, first = begin;
  for (int64_t i = begin; i < end;) {
    const int64_t outer = i / inner.size, at = i - outer * inner.size;
    const int64_t n = smaller(inner.size - at, end - i);
    const char* p = base + (reduced_offset(plan, outer, plan.nreduced - 1) + at * inner.in) * es;
    if (direct) {
      fns.run(part, p, n, i, params);
      i += n;
      continue;
    }
    int64_t take = smaller(n, capacity - filled);
    gather(buffer + filled * es, p, take, inner.in, es);
    filled += take;
    i += take;
    if (filled == capacity) {
      fns.run(part, buffer, filled, first, params);
      filled = 0;
      first = i;
    }
  }
  if (filled) fns.run(part, buffer, filled, first, params);
}

void merge_tree(Part* parts, int64_t n, const ReduceFns& fns) {
  for (int64_t step = 1; step < n; step *= 2)
    for (int64_t i = 0; i + step < n; i += 2 * step) fns.merge_part(parts[i], parts[i + step]);
}

void reduce_rows(const Plan& plan, const ReduceFns& fns, const ReduceParams& params, const TensorView& in,
                 const TensorView* out) {
  const char* src = static_cast<const char*>(in.data);
  char* dst0 = static_cast<char*>(out[0].data);
  char* dst1 = plan.out1_size ? static_cast<char*>(out[1].data) : nullptr;
  const int64_t pieces = ceil_div(plan.count, fns.grain);
  auto emit = [&](const Part& part, const OutputOffset& at) {
    fns.emit_part(part, params, dst0 + at.out0 * plan.out0_size, dst1 ? dst1 + at.out1 * plan.out1_size : nullptr);
  };
  if (pieces <= 1) {
    const int64_t chunk = larger(1, fns.grain / larger(1, plan.count));
    parallel_for(plan.outputs, chunk, [&](int64_t b, int64_t e) {
      for (int64_t i = b; i < e; ++i) {
        const OutputOffset at = output_offset(plan, i, plan.nkept);
        Part part;
        fns.init_part(part);
        if (plan.count) run_range(plan, fns, params, src + at.in * plan.in_size, 0, plan.count, part);
        emit(part, at);
      }
    });
    return;
  }
  const int64_t total = plan.outputs * pieces;
  const size_t bytes = static_cast<size_t>(total) * sizeof(Part);
  Part small[64];
  Part* parts = total <= 64 ? small : static_cast<Part*>(allocate_bytes(bytes));
  parallel_for(total, 1, [&](int64_t b, int64_t e) {
    for (int64_t i = b; i < e; ++i) {
      const int64_t piece = i % pieces;
      const OutputOffset at = output_offset(plan, i / pieces, plan.nkept);
      fns.init_part(parts[i]);
      run_range(plan, fns, params, src + at.in * plan.in_size, piece * fns.grain,
                smaller(plan.count, (piece + 1) * fns.grain), parts[i]);
    }
  });
  for (int64_t i = 0; i < plan.outputs; ++i) {
    merge_tree(parts + i * pieces, pieces, fns);
    emit(parts[i * pieces], output_offset(plan, i, plan.nkept));
  }
  if (parts != small) free_bytes(parts, bytes);
}

void reduce_cols(const Plan& plan, const ReduceFns& fns, const ReduceParams& params, const TensorView& in,
                 const TensorView* out) {
  const char* src = static_cast<const char*>(in.data);
  char* dst0 = static_cast<char*>(out[0].data);
  char* dst1 = plan.out1_size ? static_cast<char*>(out[1].data) : nullptr;
  const int es = plan.in_size;
  const KeptDim inner = plan.kept[plan.nkept - 1];
  const int64_t width = smaller(inner.size, kColTile);
  const int64_t tiles = ceil_div(inner.size, width), outer = plan.outputs / inner.size;
  // Rows of one piece: a multiple of the row group near the grain.
  const int64_t piece_rows = larger(1, fns.grain / (width * kRowGroup)) * kRowGroup;
  const int64_t pieces = larger(1, ceil_div(plan.count, piece_rows));
  const int64_t groups = ceil_div(width, fns.lanes);
  const int64_t tile_bytes = groups * fns.state_bytes;  // at most 1024 columns of 16 bytes (32 on narrow lanes)
  const bool gathered = inner.in != 1;
  const ReducedDim* last = plan.nreduced ? &plan.reduced[plan.nreduced - 1] : nullptr;

  auto accumulate = [&](void* states, int64_t task_outer, int64_t tile, int64_t piece) {
    const int64_t c0 = tile * width, ncols = smaller(width, inner.size - c0);
    const char* base = src + (output_offset(plan, task_outer, plan.nkept - 1).in + c0 * inner.in) * es;
    const int64_t begin = piece * piece_rows, end = smaller(plan.count, begin + piece_rows);
    alignas(64) char buffer[kRowGroup * kColTile * 8];
    fns.init_cols(states, ceil_div(ncols, fns.lanes));
    int64_t within = last ? begin % last->size : 0;
    int64_t row_offset = begin < end ? reduced_offset(plan, begin, plan.nreduced) : 0;
    for (int64_t r = begin; r < end; r += kRowGroup) {
      const void* rows[kRowGroup];
      const int nrows = static_cast<int>(smaller(kRowGroup, end - r));
      for (int k = 0; k < nrows; ++k) {
        rows[k] = base + row_offset * es;
        if (last) {
          row_offset += last->in;
          if (++within == last->size) {
            within = 0;
            if (r + k + 1 < end) row_offset = reduced_offset(plan, r + k + 1, plan.nreduced);
          }
        }
        if (gathered) {
          gather(buffer + k * ncols * es, rows[k], ncols, inner.in, es);
          rows[k] = buffer + k * ncols * es;
        }
      }
      fns.cols(states, rows, nrows, ncols, r - begin, r, params);
    }
  };
  auto emit = [&](const void* states, int64_t task_outer, int64_t tile) {
    const int64_t c0 = tile * width, ncols = smaller(width, inner.size - c0);
    const OutputOffset at = output_offset(plan, task_outer, plan.nkept - 1);
    char* to0 = dst0 + (at.out0 + c0 * inner.out0) * plan.out0_size;
    char* to1 = dst1 ? dst1 + (at.out1 + c0 * inner.out1) * plan.out1_size : nullptr;
    if (inner.out0 == 1 && (!dst1 || inner.out1 == 1)) {
      fns.emit_cols(states, ncols, plan.count, params, to0, to1);
      return;
    }
    alignas(64) char b0[kColTile * 8], b1[kColTile * 8];
    fns.emit_cols(states, ncols, plan.count, params, b0, b1);
    scatter(to0, b0, ncols, inner.out0, plan.out0_size);
    if (dst1) scatter(to1, b1, ncols, inner.out1, plan.out1_size);
  };

  if (pieces == 1) {
    const int64_t chunk = larger(1, fns.grain / larger(1, plan.count * width));
    parallel_for(outer * tiles, chunk, [&](int64_t b, int64_t e) {
      alignas(64) char states[kColTile * 32];
      for (int64_t i = b; i < e; ++i) {
        accumulate(states, i / tiles, i % tiles, 0);
        emit(states, i / tiles, i % tiles);
      }
    });
    return;
  }
  const int64_t total = outer * tiles * pieces;
  const size_t bytes = static_cast<size_t>(total * tile_bytes);
  char* all = static_cast<char*>(allocate_bytes(bytes));
  // The pieces of neighbouring tiles follow each other, so that whole rows are read in order.
  parallel_for(total, 1, [&](int64_t b, int64_t e) {
    for (int64_t i = b; i < e; ++i) {
      const int64_t tile = i % tiles, piece = i / tiles % pieces, o = i / (tiles * pieces);
      accumulate(all + ((o * tiles + tile) * pieces + piece) * tile_bytes, o, tile, piece);
    }
  });
  parallel_for(outer * tiles, larger(1, fns.grain / (pieces * width)), [&](int64_t b, int64_t e) {
    for (int64_t i = b; i < e; ++i) {
      char* states = all + i * pieces * tile_bytes;
      for (int64_t step = 1; step < pieces; step *= 2)
        for (int64_t k = 0; k + step < pieces; k += 2 * step) {
          const int64_t na = step * piece_rows;
          const int64_t nb = smaller(plan.count, (k + 2 * step) * piece_rows) - (k + step) * piece_rows;
          fns.merge_cols(states + k * tile_bytes, states + (k + step) * tile_bytes, groups, na, nb);
        }
      emit(states, i / tiles, i % tiles);
    }
  });
  free_bytes(all, bytes);
}

}  // namespace

void reduce(const TensorView& in, const TensorView* out, int64_t mask, bool keepdim, const ReduceFns& fns,
            const ReduceParams& params) {
  const int64_t all = (int64_t{1} << in.ndim) - 1;
  if (in.contiguous && (mask & all) == all && in.numel <= fns.grain) {  // a small whole tensor
    Part part;
    fns.init_part(part);
    if (in.numel) fns.run(part, in.data, in.numel, 0, params);
    fns.emit_part(part, params, out[0].data, fns.out1_size ? out[1].data : nullptr);
    return;
  }
  Plan plan;
  make_plan(plan, in, out, mask, keepdim, fns);
  if (plan.outputs == 0) return;
  const bool inner_reduced = plan.nreduced && plan.reduced[plan.nreduced - 1].in == 1;
  const bool inner_kept = plan.nkept && plan.kept[plan.nkept - 1].in == 1;
  const int64_t width = plan.nkept ? plan.kept[plan.nkept - 1].size : 1;
  bool cols;
  if (inner_kept && !inner_reduced) {
    cols = width >= 8 || plan.count < 4;
  } else {  // short rows of many outputs are turned into columns
    cols = plan.count <= 24 && width >= 32;
  }
  if (cols && plan.count > 0) {
    reduce_cols(plan, fns, params, in, out);
  } else {
    reduce_rows(plan, fns, params, in, out);
  }
}

}  // namespace fireseed::cpu::FS_ISA

// Joining, repeating, reversing and triangles: checks, records, gradients.
#include "ops/move.h"

#include <algorithm>
#include <optional>

#include "ops/copy.h"
#include "ops/creation.h"
#include "ops/index.h"
#include "ops/pointwise.h"
#include "ops/records.h"
#include "ops/reduce.h"
#include "ops/shape.h"
#include "tensor/attrs/move.h"

namespace fireseed {
namespace {

void like_input(Inputs in, const void*, Tensor* out) {
  out[0] = make_shell(in[0].sizes(), in[0].dtype(), in[0].device());
}

// --- cat: in = tensors of one rank and dtype
// ------------------------------------------------------------------------

void cat_infer(Inputs in, const void* attrs, Tensor* out) {
  const int64_t dim = static_cast<const CatAttrs*>(attrs)->dim;
  Dims sizes = in[0].sizes();
  for (size_t i = 1; i < in.size(); ++i) {
    FS_CHECK(in[i].dim() == sizes.n, "cat: Tensors must have same number of dimensions: got ", sizes.n, " and ",
             in[i].dim(), " (shapes ", in[0].sizes(), " and ", in[i].sizes(), ")");
    for (int64_t d = 0; d < sizes.n; ++d)
      FS_CHECK(d == dim || in[i].size(d) == sizes[d], "cat: Sizes of tensors must match except in dimension ", dim,
               ". Expected size ", sizes[d], " but got size ", in[i].size(d), " for tensor number ", i,
               " in the list (shapes ", in[0].sizes(), " and ", in[i].sizes(), ")");
    sizes[dim] += in[i].size(dim);
  }
  out[0] = make_shell(sizes, in[0].dtype(), in[0].device());
}
void cat_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  const int64_t dim = c.attrs<CatAttrs>().dim;
  int64_t at = 0;
  for (int i = 0; i < c.num_inputs(); ++i) {
    const int64_t n = c.saved_sizes(i)[dim];
    if (c.needs(i)) gx[i] = narrow(g[0], dim, at, n);
    at += n;
  }
}

// --- flip, roll, repeat, tril, triu
// ---------------------------------------------------------------------------------

void flip_vjp(const Vjp& c, const Tensor* g, Tensor* gx) { gx[0] = apply1(op::flip, {g[0]}, c.attrs<FlipAttrs>()); }
void roll_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  RollAttrs a = c.attrs<RollAttrs>();
  for (int64_t d = 0; d < a.shifts.n; ++d)
    if (a.shifts[d] != 0) a.shifts[d] = g[0].size(d) - a.shifts[d];
  gx[0] = apply1(op::roll, {g[0]}, a);
}

void repeat_infer(Inputs in, const void* attrs, Tensor* out) {
  Dims sizes = static_cast<const RepeatAttrs*>(attrs)->repeats;
  const int64_t lead = sizes.n - in[0].dim();
  for (int64_t d = 0; d < in[0].dim(); ++d) {
    FS_CHECK(!__builtin_mul_overflow(sizes[lead + d], in[0].size(d), &sizes[lead + d]),
             "repeat: the size is too large");
  }
  out[0] = make_shell(sizes, in[0].dtype(), in[0].device());
}
void repeat_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  const Dims& repeats = c.attrs<RepeatAttrs>().repeats;
  const Dims sizes = c.input_sizes(0);
  Tensor r = g[0];
  const int64_t lead = repeats.n - sizes.n;
  for (int64_t d = 0; d < repeats.n; ++d) {
    if (repeats[d] == 1) continue;
    // [.., repeats * size, ..] -> [repeats, .., size] summed over the first: one dimension at a time.
    Dims split{1, 1, 1, 1};
    const Dims now = r.sizes();
    for (int64_t i = 0; i < d; ++i) split[0] *= now[i];
    split[1] = repeats[d];
    split[2] = d < lead ? 1 : sizes[d - lead];
    for (int64_t i = d + 1; i < now.n; ++i) split[3] *= now[i];
    Dims back = now;
    back[d] = split[2];
    r = reshape(sum(reshape(r, split), Dims{1}, false), back);
  }
  gx[0] = reshape(r, sizes);
}

void tril_vjp(const Vjp& c, const Tensor* g, Tensor* gx) { gx[0] = apply1(op::tril, {g[0]}, c.attrs<TriAttrs>()); }
void triu_vjp(const Vjp& c, const Tensor* g, Tensor* gx) { gx[0] = apply1(op::triu, {g[0]}, c.attrs<TriAttrs>()); }

void repeat_interleave_infer(Inputs in, const void* attrs, Tensor* out) {
  out[0] = make_shell(Dims{static_cast<const RepeatInterleaveAttrs*>(attrs)->total}, DType::kInt64, in[0].device());
}
void one_hot_infer(Inputs in, const void* attrs, Tensor* out) {
  Dims sizes = in[0].sizes();
  sizes.push_back(static_cast<const OneHotAttrs*>(attrs)->num_classes);
  out[0] = make_shell(sizes, DType::kInt64, in[0].device());
}

}  // namespace

constinit Op op::cat{
    .name = "cat", .flags = kSavesSizes, .attrs_size = sizeof(CatAttrs), .infer = cat_infer, .vjp = cat_vjp};
constinit Op op::flip{.name = "flip", .attrs_size = sizeof(FlipAttrs), .infer = like_input, .vjp = flip_vjp};
constinit Op op::roll{.name = "roll", .attrs_size = sizeof(RollAttrs), .infer = like_input, .vjp = roll_vjp};
constinit Op op::repeat{
    .name = "repeat", .attrs_size = sizeof(RepeatAttrs), .infer = repeat_infer, .vjp = repeat_vjp};
constinit Op op::tril{
    .name = "tril", .flags = kInPlaceOk, .attrs_size = sizeof(TriAttrs), .infer = like_input, .vjp = tril_vjp};
constinit Op op::triu{
    .name = "triu", .flags = kInPlaceOk, .attrs_size = sizeof(TriAttrs), .infer = like_input, .vjp = triu_vjp};
constinit Op op::repeat_interleave{.name = "repeat_interleave",
                                   .flags = kNotDifferentiable | kHostSync,
                                   .attrs_size = sizeof(RepeatInterleaveAttrs),
                                   .infer = repeat_interleave_infer};
constinit Op op::one_hot{.name = "one_hot",
                         .flags = kNotDifferentiable | kHostSync,
                         .attrs_size = sizeof(OneHotAttrs),
                         .infer = one_hot_infer};

Tensor cat(std::span<const Tensor> tensors, int64_t dim) {
  FS_CHECK_VALUE(!tensors.empty(), "cat: expected a non-empty list of Tensors");
  DType dtype = tensors[0].dtype();
  const Tensor* first = nullptr;
  bool plain = true;  // one dtype and no empty vector, which PyTorch skips whatever the others' rank
  for (const Tensor& t : tensors) {
    FS_CHECK(t.dim() > 0, "cat: zero-dimensional tensor cannot be concatenated");
    dtype = promote_types(dtype, t.dtype());
    const bool skipped = t.dim() == 1 && t.size(0) == 0;
    if (!skipped && !first) first = &t;
    plain = plain && !skipped && t.dtype() == tensors[0].dtype();
  }
  CatAttrs a;
  a.dim = wrap_dim(dim, first ? first->dim() : 1, "cat");
  Tensor out;
  if (plain) {
    apply(op::cat, tensors, &a, &out);
    return out;
  }
  std::vector<Tensor> in;
  for (const Tensor& t : tensors)
    if (!first || first->dim() == 1 || !(t.dim() == 1 && t.size(0) == 0)) in.push_back(to(t, dtype));
  apply(op::cat, in, &a, &out);
  return out;
}

Tensor stack(std::span<const Tensor> tensors, int64_t dim) {
  FS_CHECK(!tensors.empty(), "stack expects a non-empty TensorList");
  const int64_t d = wrap_dim(dim, tensors[0].dim() + 1, "stack");
  std::vector<Tensor> in;
  in.reserve(tensors.size());
  for (const Tensor& t : tensors) {
    FS_CHECK(t.same_shape(tensors[0]), "stack expects each tensor to be equal size, but got ", tensors[0].sizes(),
             " at entry 0 and ", t.sizes(), " at entry ", in.size());
    in.push_back(unsqueeze(t, d));
  }
  return cat(in, d);
}

namespace {

Tensor at_least(const Tensor& x, int64_t rank) {
  Tensor r = x;
  if (r.dim() == 0) r = unsqueeze(r, 0);
  if (rank >= 2 && r.dim() == 1) r = unsqueeze(r, 0);
  if (rank >= 3 && r.dim() == 2) r = unsqueeze(r, 2);
  return r;
}
std::vector<Tensor> all_at_least(std::span<const Tensor> tensors, int64_t rank, const char* op) {
  FS_CHECK(!tensors.empty(), op, " expects a non-empty TensorList");
  std::vector<Tensor> r;
  for (const Tensor& t : tensors) r.push_back(at_least(t, rank));
  return r;
}

}  // namespace

Tensor hstack(std::span<const Tensor> tensors) {
  const std::vector<Tensor> in = all_at_least(tensors, 1, "hstack");
  return cat(in, in[0].dim() == 1 ? 0 : 1);
}
Tensor vstack(std::span<const Tensor> tensors) { return cat(all_at_least(tensors, 2, "vstack"), 0); }
Tensor dstack(std::span<const Tensor> tensors) { return cat(all_at_least(tensors, 3, "dstack"), 2); }
Tensor column_stack(std::span<const Tensor> tensors) {
  FS_CHECK(!tensors.empty(), "column_stack expects a non-empty TensorList");
  std::vector<Tensor> in;
  for (const Tensor& t : tensors) in.push_back(t.dim() <= 1 ? reshape(t, Dims{t.numel(), 1}) : t);
  return hstack(in);
}
Tensor block_diag(std::span<const Tensor> tensors) {
  int64_t rows = 0, cols = 0;
  DType dtype = DType::kUndefined;
  std::vector<Tensor> blocks;
  for (const Tensor& t : tensors) {
    FS_CHECK(t.dim() <= 2, "block_diag: Input tensors must have 2 or fewer dimensions. Input ", blocks.size(),
             " has ", t.dim(), " dimensions");
    blocks.push_back(at_least(t, 2));
    rows += blocks.back().size(0);
    cols += blocks.back().size(1);
    dtype = promote_types(dtype, t.dtype());
  }
  if (blocks.empty()) return zeros(Dims{1, 0});
  std::vector<Tensor> padded;
  int64_t at = 0;
  for (const Tensor& b : blocks) {
    padded.push_back(constant_pad(to(b, dtype), Dims{at, cols - at - b.size(1)}));
    at += b.size(1);
  }
  return cat(padded, 0);
}

Tensor flip(const Tensor& x, const Dims& dims) {
  FlipAttrs a;
  for (int64_t d : dims) {
    const int64_t bit = int64_t{1} << wrap_dim(d, x.dim(), "flip");
    FS_CHECK(!(a.mask & bit), "flip: dim ", d, " appears multiple times in the list of dims");
    a.mask |= bit;
  }
  if (x.dim() == 0) a.mask = 0;
  return apply1(op::flip, {x}, a);
}
Tensor fliplr(const Tensor& x) {
  FS_CHECK(x.dim() >= 2, "fliplr: Input must be >= 2-d, got shape ", x.sizes());
  return flip(x, Dims{1});
}
Tensor flipud(const Tensor& x) {
  FS_CHECK(x.dim() >= 1, "flipud: Input must be >= 1-d, got shape ", x.sizes());
  return flip(x, Dims{0});
}

Tensor roll(const Tensor& x, const Dims& shifts, const Dims& dims) {
  FS_CHECK(shifts.n > 0, "roll: `shifts` required");
  if (dims.n == 0) {
    FS_CHECK(shifts.n == 1, "roll: shifts and dimensions must align. shifts: ", shifts.n, ", dims:", dims.n);
    if (x.dim() == 0) return clone(x);
    if (x.dim() == 1) return roll(x, shifts, Dims{0});
    return reshape(roll(reshape(x, Dims{x.numel()}), shifts, Dims{0}), x.sizes());
  }
  FS_CHECK(shifts.n == dims.n, "roll: shifts and dimensions must align. shifts: ", shifts.n, ", dims:", dims.n);
  FS_CHECK_INDEX(x.dim() > 0, "roll: Dimension specified as ", dims[0], " but tensor has no dimensions");
  RollAttrs a;
  a.shifts = Dims::filled(x.dim(), 0);
  for (int64_t i = 0; i < dims.n; ++i) {
    const int64_t d = wrap_dim(dims[i], x.dim(), "roll");
    if (x.size(d) == 0) continue;
    const int64_t n = x.size(d);
    a.shifts[d] = (((a.shifts[d] + shifts[i] % n) % n) + n) % n;
  }
  return apply1(op::roll, {x}, a);
}

Tensor rot90(const Tensor& x, int64_t k, const Dims& dims) {
  FS_CHECK(dims.n == 2, "rot90: expected total rotation dims == 2, but got dims = ", dims.n);
  FS_CHECK(x.dim() >= 2, "rot90: expected total dims >= 2, but got total dims = ", x.dim());
  const int64_t d0 = wrap_dim(dims[0], x.dim(), "rot90"), d1 = wrap_dim(dims[1], x.dim(), "rot90");
  FS_CHECK(d0 != d1, "rot90: expected rotation dims to be different, but got dim0 = ", dims[0],
           " and dim1 = ", dims[1]);
  switch ((k % 4 + 4) % 4) {
    case 1: return transpose(flip(x, Dims{d1}), d0, d1);
    case 2: return flip(x, Dims{d0, d1});
    case 3: return transpose(flip(x, Dims{d0}), d0, d1);
    default: return clone(x);
  }
}

Tensor repeat(const Tensor& x, const Dims& repeats) {
  FS_CHECK(repeats.n >= x.dim(),
           "Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor: got repeats ",
           repeats, " for shape ", x.sizes());
  for (int64_t r : repeats)
    FS_CHECK(r >= 0, "repeat: Trying to create tensor with negative dimension, got repeats ", repeats);
  return apply1(op::repeat, {x}, RepeatAttrs{repeats});
}
Tensor tile(const Tensor& x, const Dims& repeats) {
  Dims full = Dims::filled(x.dim() > repeats.n ? x.dim() - repeats.n : 0, 1);
  for (int64_t r : repeats) full.push_back(r);
  return repeat(x, full);
}

Tensor repeat_interleave(const Tensor& repeats, std::optional<int64_t> output_size) {
  FS_CHECK(repeats.dim() == 1, "repeat_interleave only accept 1D vector as repeat, got shape ", repeats.sizes());
  FS_CHECK(repeats.dtype() == DType::kInt64 || repeats.dtype() == DType::kInt32,
           "repeats has to be Long or Int tensor, got ", dtype_name(repeats.dtype()));
  const Tensor r = to(repeats, DType::kInt64);
  RepeatInterleaveAttrs a;
  if (output_size) {
    a.total = *output_size;
  } else if (r.numel() > 0) {
    const Tensor dense = contiguous(to(r, DType::kInt64, Device{}));
    for (int64_t i = 0; i < dense.numel(); ++i) {
      const int64_t c = dense.data<int64_t>()[i];
      FS_CHECK(c >= 0, "repeat_interleave: repeats can not be negative, got ", c, " at position ", i);
      a.total += c;
    }
  }
  FS_CHECK(a.total >= 0, "repeat_interleave: output_size can not be negative, got ", a.total);
  return apply1(op::repeat_interleave, {r}, a);
}
Tensor repeat_interleave(const Tensor& x, int64_t repeats, std::optional<int64_t> dim) {
  FS_CHECK(repeats >= 0, "repeat_interleave: Repeats must be non-negative, got ", repeats);
  const Tensor in = dim ? (x.dim() ? x : unsqueeze(x, 0)) : reshape(x, Dims{x.numel()});
  const int64_t d = dim ? wrap_dim(*dim, x.dim(), "repeat_interleave") : 0;
  if (in.dim() == kMaxRank) {
    return repeat_interleave(in, full(Dims{in.size(d)}, Scalar(repeats), DType::kInt64, x.device()), d);
  }
  Dims wide = in.sizes(), flat = in.sizes();
  wide.push_back(0);
  for (int64_t i = wide.n - 1; i > d + 1; --i) wide[i] = wide[i - 1];
  wide[d + 1] = repeats;
  flat[d] *= repeats;
  const Tensor r = reshape(expand(unsqueeze(in, d + 1), wide), flat);
  return r.impl()->storage == x.impl()->storage ? clone(r) : r;
}
Tensor repeat_interleave(const Tensor& x, const Tensor& repeats, std::optional<int64_t> dim,
                         std::optional<int64_t> output_size) {
  const Tensor in = dim ? (x.dim() ? x : unsqueeze(x, 0)) : reshape(x, Dims{x.numel()});
  const int64_t d = dim ? wrap_dim(*dim, x.dim(), "repeat_interleave") : 0;
  FS_CHECK(repeats.dim() <= 1, "repeats must be 0-dim or 1-dim tensor, got shape ", repeats.sizes());
  Tensor r = repeats;
  if (r.numel() == 1 && in.size(d) != 1) r = expand(reshape(r, Dims{1}), Dims{in.size(d)});
  if (r.dim() == 0) r = reshape(r, Dims{1});
  FS_CHECK(r.numel() == in.size(d),
           "repeats must have the same size as input along dim, but got repeats.size(0) = ", r.numel(),
           " and input.size(", d, ") = ", in.size(d));
  return index_select(in, d, repeat_interleave(r, output_size));
}

Tensor tril(const Tensor& x, int64_t diagonal) {
  FS_CHECK(x.dim() >= 2, "tril: input tensor must have at least 2 dimensions, got shape ", x.sizes());
  return apply1(op::tril, {x}, TriAttrs{diagonal});
}
Tensor triu(const Tensor& x, int64_t diagonal) {
  FS_CHECK(x.dim() >= 2, "triu: input tensor must have at least 2 dimensions, got shape ", x.sizes());
  return apply1(op::triu, {x}, TriAttrs{diagonal});
}

namespace {

Tensor triangle_indices(int64_t rows, int64_t cols, int64_t offset, DType dtype, bool lower, const char* op,
                        Device device) {
  FS_CHECK(rows >= 0 && cols >= 0, op, ": row and col must be non-negative, got ", rows, " and ", cols);
  FS_CHECK(dtype == DType::kInt64 || dtype == DType::kInt32, op, ": only supports int32 and int64, got ",
           dtype_name(dtype));
  const auto first = [&](int64_t i) { return lower ? int64_t{0} : std::clamp<int64_t>(i + offset, 0, cols); };
  const auto last = [&](int64_t i) { return lower ? std::clamp<int64_t>(i + offset + 1, 0, cols) : cols; };
  int64_t n = 0;
  for (int64_t i = 0; i < rows; ++i) n += last(i) - first(i);
  const Tensor r = empty(Dims{2, n}, DType::kInt64);
  int64_t *row = r.data<int64_t>(), *col = row + n;
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = first(i); j < last(i); ++j) {
      *row++ = i;
      *col++ = j;
    }
  return to(r, dtype, device);
}

}  // namespace

Tensor tril_indices(int64_t rows, int64_t cols, int64_t offset, DType dtype, Device device) {
  return triangle_indices(rows, cols, offset, dtype, true, "tril_indices", device);
}
Tensor triu_indices(int64_t rows, int64_t cols, int64_t offset, DType dtype, Device device) {
  return triangle_indices(rows, cols, offset, dtype, false, "triu_indices", device);
}

Tensor diag_embed(const Tensor& x, int64_t offset, int64_t dim1, int64_t dim2) {
  const int64_t rank = x.dim() + 1;
  const int64_t d1 = wrap_dim(dim1, rank, "diag_embed"), d2 = wrap_dim(dim2, rank, "diag_embed");
  FS_CHECK(x.dim() >= 1, "diag_embed: expected at least one dimension, got a 0-dim tensor");
  FS_CHECK(d1 != d2, "diagonal dimensions cannot be identical ", dim1, ", ", dim2);
  const int64_t n = x.size(-1) + (offset < 0 ? -offset : offset);
  // Dimension order of the result, then the window on its diagonal.
  Dims sizes;
  int64_t next = 0;
  for (int64_t d = 0; d < rank; ++d) sizes.push_back(d == d1 || d == d2 ? n : x.size(next++));
  const Dims full = contiguous_strides(sizes);
  Dims strides;
  for (int64_t d = 0; d < rank; ++d)
    if (d != d1 && d != d2) strides.push_back(full[d]);
  strides.push_back(full[d1] + full[d2]);
  const int64_t start = x.size(-1) == 0 ? 0 : offset >= 0 ? offset * full[d2] : -offset * full[d1];
  return window_backward(x, sizes, strides, start);
}
Tensor diag(const Tensor& x, int64_t diagonal_offset) {
  FS_CHECK(x.dim() == 1 || x.dim() == 2, "diag(): Supports 1D or 2D tensors. Got ", x.dim(), "D");
  return x.dim() == 1 ? diag_embed(x, diagonal_offset, 0, 1) : clone(diagonal(x, diagonal_offset, 0, 1));
}
Tensor diagflat(const Tensor& x, int64_t offset) { return diag(reshape(x, Dims{x.numel()}), offset); }

std::vector<Tensor> broadcast_tensors(std::span<const Tensor> tensors) {
  Dims sizes;
  for (const Tensor& t : tensors) sizes = broadcast_shapes(sizes, t.sizes(), "broadcast_tensors");
  std::vector<Tensor> r;
  for (const Tensor& t : tensors) r.push_back(expand(t, sizes));
  return r;
}

std::vector<Tensor> meshgrid(std::span<const Tensor> tensors, std::string_view indexing) {
  FS_CHECK(!tensors.empty(), "meshgrid expects a non-empty TensorList");
  FS_CHECK(indexing == "ij" || indexing == "xy",
           "torch.meshgrid: indexing must be one of \"xy\" or \"ij\", but received: ", std::string(indexing));
  const auto n = static_cast<int64_t>(tensors.size());
  const bool swap = indexing == "xy" && n >= 2;
  std::vector<Tensor> in(tensors.begin(), tensors.end());
  if (swap) std::swap(in[0], in[1]);
  Dims sizes;
  for (const Tensor& t : in) {
    FS_CHECK(t.dim() <= 1, "torch.meshgrid: Expected 0D or 1D tensor in the tensor list but got shape: ", t.sizes());
    FS_CHECK(t.dtype() == in[0].dtype(), "torch.meshgrid expects all tensors to have the same dtype, got ",
             dtype_name(in[0].dtype()), " and ", dtype_name(t.dtype()));
    sizes.push_back(t.numel());
  }
  std::vector<Tensor> r;
  for (int64_t i = 0; i < n; ++i) {
    Dims shape = Dims::filled(n, 1);
    shape[i] = in[static_cast<size_t>(i)].numel();
    r.push_back(expand(reshape(in[static_cast<size_t>(i)], shape), sizes));
  }
  if (swap) std::swap(r[0], r[1]);
  return r;
}

Tensor cartesian_prod(std::span<const Tensor> tensors) {
  for (const Tensor& t : tensors) FS_CHECK(t.dim() == 1, "Expect a 1D vector, but got shape ", t.sizes());
  if (tensors.size() == 1) return tensors[0];
  std::vector<Tensor> columns;
  for (const Tensor& grid : meshgrid(tensors)) columns.push_back(reshape(grid, Dims{grid.numel()}));
  return stack(columns, 1);
}

Tensor combinations(const Tensor& x, int64_t r, bool with_replacement) {
  FS_CHECK(x.dim() == 1, "combinations: Expect a 1D vector, but got shape ", x.sizes());
  FS_CHECK(r >= 0, "combinations: Expect a non-negative number, but got ", r);
  if (r == 0) return empty(Dims{0}, x.dtype(), x.device());
  const int64_t n = x.numel();
  std::vector<int64_t> at(static_cast<size_t>(r)), rows;
  // Counts up through the index tuples in order.
  const auto fill_from = [&](size_t from, int64_t value) {
    for (size_t i = from; i < at.size(); ++i)
      at[i] = with_replacement ? value : value + static_cast<int64_t>(i - from);
  };
  fill_from(0, 0);
  while (n > 0 && at.back() < n) {
    rows.insert(rows.end(), at.begin(), at.end());
    int64_t i = r - 1;
    const auto limit = [&](int64_t j) { return with_replacement ? n - 1 : n - (r - j); };
    while (i >= 0 && at[static_cast<size_t>(i)] == limit(i)) --i;
    if (i < 0) break;
    fill_from(static_cast<size_t>(i), at[static_cast<size_t>(i)] + 1);
  }
  const Tensor index = empty(Dims{static_cast<int64_t>(rows.size())}, DType::kInt64);
  std::copy(rows.begin(), rows.end(), index.data<int64_t>());
  return reshape(index_select(x, 0, to(index, DType::kInt64, x.device())),
                 Dims{static_cast<int64_t>(rows.size()) / r, r});
}

Tensor one_hot(const Tensor& classes, int64_t num_classes) {
  FS_CHECK(classes.dtype() == DType::kInt64, "one_hot is only applicable to index tensor of type LongTensor, got ",
           dtype_name(classes.dtype()));
  OneHotAttrs a;
  a.num_classes = num_classes;
  if (classes.numel() == 0) {
    FS_CHECK(num_classes > 0, "one_hot: Can not infer total number of classes from empty tensor.");
  } else if (num_classes == -1) {
    const Tensor dense = contiguous(to(classes, DType::kInt64, Device{}));
    const int64_t* c = dense.data<int64_t>();
    FS_CHECK(*std::min_element(c, c + dense.numel()) >= 0, "one_hot: Class values must be non-negative.");
    a.num_classes = *std::max_element(c, c + dense.numel()) + 1;
  } else {
    FS_CHECK(num_classes >= 1, "one_hot: num_classes should be positive, got ", num_classes);
  }
  return apply1(op::one_hot, {classes}, a);
}

}  // namespace fireseed

// Indexing along one dimension and by masks: checks, records, gradients.
#include "ops/index.h"

#include "ops/copy.h"
#include "ops/creation.h"
#include "ops/index_util.h"
#include "ops/move.h"
#include "ops/pointwise.h"
#include "ops/records.h"
#include "ops/shape.h"
#include "tensor/attrs/index.h"

namespace fireseed {

FillValue fill_value(Scalar v) {
  FillValue r;
  r.real = v.to_double();
  r.integer = v.to_int();
  return r;
}

Tensor as_index(const Tensor& index, const char* op) {
  if (index.dtype() == DType::kInt64) return index;
  FS_CHECK(index.dtype() == DType::kInt32 || index.numel() == 0, op,
           "(): Expected dtype int32 or int64 for index, but got ", dtype_name(index.dtype()), " (shape ",
           index.sizes(), ")");
  return to(index, DType::kInt64);
}

Scalar scalar_of(const Tensor& value, const char* op) {
  FS_CHECK(value.dim() == 0, op, " only supports a 0-dimensional value tensor, but got tensor with ", value.dim(),
           " dimension(s).");
  return item(value);
}

namespace {

void like_input(Inputs in, const void*, Tensor* out) {
  out[0] = make_shell(in[0].sizes(), in[0].dtype(), in[0].device());
}

// A vector (or 0-dim) of indices.
Tensor index_vector(const Tensor& index, const char* op) {
  FS_CHECK_INDEX(index.dim() <= 1, op, "(): Index is supposed to be a vector, but got dim: ", index.dim(), " (shape ",
                 index.sizes(), ")");
  return as_index(index, op);
}

// --- index_select
// ---------------------------------------------------------------------------------------------------

void index_select_infer(Inputs in, const void* attrs, Tensor* out) {
  Dims sizes = in[0].sizes();
  if (sizes.n > 0) sizes[static_cast<const IndexDimAttrs*>(attrs)->dim] = in[1].numel();
  else
    FS_CHECK(in[1].numel() == 1, "index_select(): Index to scalar can have only 1 value, got ", in[1].numel(),
             " value(s)");
  out[0] = make_shell(sizes, in[0].dtype(), in[0].device());
}
void index_select_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  const Tensor zero = zeros(c.input_sizes(0), g[0].dtype(), g[0].device());
  gx[0] = index_add(zero, c.attrs<IndexDimAttrs>().dim, c.input(1), g[0]);
}

// --- index_add, index_copy, index_fill
// ------------------------------------------------------------------------------

void index_add_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  const auto& a = c.attrs<IndexAddAttrs>();
  if (c.needs(0)) gx[0] = g[0];
  if (c.needs(2)) {
    Tensor r = index_select(g[0], a.dim, c.input(1));
    if (c.input_sizes(2).n == 0) r = reshape(r, Dims{});
    gx[2] = a.alpha.real == 1 ? r : r * a.alpha.real;
  }
}
void index_copy_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  const auto& a = c.attrs<IndexDimAttrs>();
  if (c.needs(0)) gx[0] = index_fill(g[0], a.dim, c.input(1), Scalar(0));
  if (c.needs(2)) {
    const Tensor r = index_select(g[0], a.dim, c.input(1));
    gx[2] = c.input_sizes(2).n == 0 && r.dim() > 0 ? reshape(r, Dims{}) : r;
  }
}
void index_fill_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  gx[0] = index_fill(g[0], c.attrs<IndexFillAttrs>().dim, c.input(1), Scalar(0));
}

// index_add (kRuntime) and index_copy (kIndex): source has x's shape with dim replaced by the number of indices.
void check_source(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& source, const char* op,
                  ErrorKind kind) {
  FS_CHECK(x.dtype() == source.dtype(), op, "(): self and source expected to have the same dtype, but got (self) ",
           dtype_name(x.dtype()), " and (source) ", dtype_name(source.dtype()));
  FS_CHECK_INDEX(index.dim() <= 1, op, "(): Index should be vector-like but got ", index.dim(), "D tensor");
  const int64_t n = index.numel();
  if (x.dim() == 0 || source.dim() == 0) {
    FS_CHECK(source.numel() == n, op, "(): Number of indices (", n,
             ") should be equal to the number of source elements (", source.numel(), ") for a scalar self or source");
    FS_CHECK_INDEX(x.dim() <= 1, op,
                   "(): When source is scalar, destination may have at most one dimension, got shape ", x.sizes());
    return;
  }
  FS_CHECK_KIND(x.dim() == source.dim(), kind, op,
                "(): self and source must have the same number of dimensions, got shapes ", x.sizes(), " and ",
                source.sizes());
  FS_CHECK_KIND(source.size(dim) == n, kind, op, "(): Number of indices (", n,
                ") should be equal to source.size(dim) (", source.size(dim), ")");
  for (int64_t d = 0; d < x.dim(); ++d)
    FS_CHECK(d == dim || x.size(d) == source.size(d), op,
             "(): Source/destination tensor must have same slice shapes. Destination shape ", x.sizes(),
             " at dimension ", dim, " and source shape ", source.sizes());
}

// --- gather
// ---------------------------------------------------------------------------------------------------------

void gather_infer(Inputs in, const void*, Tensor* out) {
  out[0] = make_shell(in[1].sizes(), in[0].dtype(), in[0].device());
}
void gather_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  const auto& a = c.attrs<IndexDimAttrs>();
  Tensor at = c.input(1);
  if (a.wrap) at = where(at < 0.0, at + wrapped_number(Scalar(c.input_sizes(0)[a.dim])), at);
  gx[0] = scatter_add(zeros(c.input_sizes(0), g[0].dtype(), g[0].device()), a.dim, at, g[0]);
}

void check_index_rank(const Tensor& x, const Tensor& index, const char* op) {
  const int64_t a = x.dim() ? x.dim() : 1, b = index.dim() ? index.dim() : 1;
  FS_CHECK(a == b || index.numel() == 0, op, "(): Index tensor must have the same number of dimensions as ",
           op[0] == 's' ? "self" : "input", " tensor, got index shape ", index.sizes(), " and tensor shape ",
           x.sizes());
}

Tensor gather_wrapped(const Tensor& x, int64_t dim, const Tensor& index, bool wrap, const char* op) {
  const int64_t d = wrap_dim(dim, x.dim(), op);
  check_index_rank(x, index, op);
  const Tensor at = as_index(index, op);
  for (int64_t i = 0; i < x.dim() && i < at.dim(); ++i)
    FS_CHECK(i == d || at.size(i) <= x.size(i) || at.numel() == 0, op, "(): Size does not match at dimension ", i,
             " expected index ", at.sizes(), " to be no larger than self ", x.sizes(), " apart from dimension ", d);
  IndexDimAttrs a;
  a.dim = d;
  a.wrap = wrap;
  if (x.dim() == at.dim() || at.numel() == 0) {
    if (x.dim() != at.dim()) return reshape(slice(reshape(x, Dims{x.numel()}), 0, 0, 0), at.sizes());
    return apply1(op::gather, {x, at}, a);
  }
  // One of the two is 0-dim: both as vectors.
  const Tensor r = apply1(op::gather, {x.dim() ? x : unsqueeze(x, 0), at.dim() ? at : unsqueeze(at, 0)}, a);
  return at.dim() ? r : select(r, 0, 0);
}

// --- masks
// ----------------------------------------------------------------------------------------------------------

void masked_fill_infer(Inputs in, const void*, Tensor* out) {
  out[0] = make_shell(broadcast_shapes(in[0].sizes(), in[1].sizes(), "masked_fill"), in[0].dtype(), in[0].device());
}
void masked_fill_vjp(const Vjp& c, const Tensor* g, Tensor* gx) { gx[0] = masked_fill(g[0], c.input(1), Scalar(0)); }

void masked_select_infer(Inputs in, const void* attrs, Tensor* out) {
  out[0] = make_shell(Dims{static_cast<const CountAttrs*>(attrs)->count}, in[0].dtype(), in[0].device());
}
void masked_select_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  gx[0] = masked_scatter(zeros(c.input_sizes(0), g[0].dtype(), g[0].device()), c.input(1), g[0]);
}
void masked_scatter_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  const Tensor mask = c.input(1);
  if (c.needs(0)) gx[0] = masked_fill(g[0], mask, Scalar(0));
  if (c.needs(2)) {
    const Dims sizes = c.input_sizes(2);
    const Tensor taken = masked_select(g[0], mask);
    const int64_t rest = numel_of(sizes) - taken.numel();
    const Tensor parts[] = {taken, zeros(Dims{rest > 0 ? rest : 0}, g[0].dtype(), g[0].device())};
    gx[2] = reshape(rest > 0 ? cat(parts, 0) : taken, sizes);
  }
}

void count_infer(Inputs in, const void*, Tensor* out) { out[0] = make_shell(Dims{}, DType::kInt64, in[0].device()); }
void nonzero_infer(Inputs in, const void* attrs, Tensor* out) {
  out[0] = make_shell(Dims{static_cast<const CountAttrs*>(attrs)->count, in[0].dim()}, DType::kInt64, in[0].device());
}

Tensor as_mask(const Tensor& mask, const char* op) {
  FS_CHECK(mask.dtype() == DType::kBool, op, " only supports boolean masks, but got mask with dtype ",
           dtype_name(mask.dtype()));
  return mask;
}

}  // namespace

constinit Op op::index_select{.name = "index_select",
                              .saves = save_input(1),
                              .attrs_size = sizeof(IndexDimAttrs),
                              .infer = index_select_infer,
                              .vjp = index_select_vjp};
constinit Op op::index_add{.name = "index_add",
                           .flags = kInPlaceOk,
                           .saves = save_input(1),
                           .attrs_size = sizeof(IndexAddAttrs),
                           .infer = like_input,
                           .vjp = index_add_vjp};
constinit Op op::index_copy{.name = "index_copy",
                            .flags = kInPlaceOk,
                            .saves = save_input(1),
                            .attrs_size = sizeof(IndexDimAttrs),
                            .infer = like_input,
                            .vjp = index_copy_vjp};
constinit Op op::index_fill{.name = "index_fill",
                            .flags = kInPlaceOk,
                            .saves = save_input(1),
                            .attrs_size = sizeof(IndexFillAttrs),
                            .infer = like_input,
                            .vjp = index_fill_vjp};
constinit Op op::gather{.name = "gather",
                        .saves = save_input(1),
                        .attrs_size = sizeof(IndexDimAttrs),
                        .infer = gather_infer,
                        .vjp = gather_vjp};
constinit Op op::masked_fill{.name = "masked_fill",
                             .flags = kPointwise | kInPlaceOk,
                             .saves = save_input(1),
                             .attrs_size = sizeof(MaskedFillAttrs),
                             .infer = masked_fill_infer,
                             .vjp = masked_fill_vjp};
constinit Op op::masked_select{.name = "masked_select",
                               .flags = kHostSync,
                               .saves = save_input(1),
                               .attrs_size = sizeof(CountAttrs),
                               .infer = masked_select_infer,
                               .vjp = masked_select_vjp};
constinit Op op::masked_scatter{.name = "masked_scatter",
                                .flags = kInPlaceOk,
                                .saves = save_input(1),
                                .infer = like_input,
                                .vjp = masked_scatter_vjp};
constinit Op op::nonzero_count{.name = "nonzero_count", .flags = kNotDifferentiable, .infer = count_infer};
constinit Op op::nonzero{.name = "nonzero",
                         .flags = kNotDifferentiable | kHostSync,
                         .attrs_size = sizeof(CountAttrs),
                         .infer = nonzero_infer};

Tensor index_select(const Tensor& x, int64_t dim, const Tensor& index) {
  const int64_t d = wrap_dim(dim, x.dim(), "index_select");
  IndexDimAttrs a;
  a.dim = d;
  return apply1(op::index_select, {x, index_vector(index, "index_select")}, a);
}

namespace {

IndexAddAttrs index_add_attrs(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& source, Scalar alpha) {
  const int64_t d = wrap_dim(dim, x.dim(), "index_add");
  check_source(x, d, index, source, "index_add", ErrorKind::kRuntime);
  IndexAddAttrs a;
  a.dim = d;
  a.alpha = fill_value(alpha);
  return a;
}

}  // namespace

Tensor index_add(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& source, Scalar alpha) {
  const IndexAddAttrs a = index_add_attrs(x, dim, index, source, alpha);
  return apply1(op::index_add, {x, as_index(index, "index_add"), source}, a);
}
void index_add_(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& source, Scalar alpha) {
  const IndexAddAttrs a = index_add_attrs(x, dim, index, source, alpha);
  const Tensor in[] = {x, as_index(index, "index_add"), source};
  apply_inplace(op::index_add, in, &a);
}

Tensor index_copy(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& source) {
  const int64_t d = wrap_dim(dim, x.dim(), "index_copy");
  check_source(x, d, index, source, "index_copy", ErrorKind::kIndex);
  IndexDimAttrs a;
  a.dim = d;
  return apply1(op::index_copy, {x, as_index(index, "index_copy"), source}, a);
}
void index_copy_(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& source) {
  const int64_t d = wrap_dim(dim, x.dim(), "index_copy_");
  check_source(x, d, index, source, "index_copy_", ErrorKind::kIndex);
  IndexDimAttrs a;
  a.dim = d;
  const Tensor in[] = {x, as_index(index, "index_copy_"), source};
  apply_inplace(op::index_copy, in, &a);
}

namespace {

IndexFillAttrs index_fill_attrs(const Tensor& x, int64_t dim, const Tensor& index, Scalar value) {
  const int64_t d = wrap_dim(dim, x.dim(), "index_fill_");
  FS_CHECK(index.dtype() == DType::kInt64 || index.dtype() == DType::kInt32,
           "index_fill_(): Expected dtype int64 for index, but got ", dtype_name(index.dtype()));
  FS_CHECK(index.dim() <= 1, "index_fill_(): Index has to be a vector/scalar, got shape ", index.sizes());
  check_fits(value, x.dtype(), "index_fill_()");
  IndexFillAttrs a;
  a.dim = d;
  a.value = fill_value(value);
  return a;
}

}  // namespace

Tensor index_fill(const Tensor& x, int64_t dim, const Tensor& index, Scalar value) {
  const IndexFillAttrs a = index_fill_attrs(x, dim, index, value);
  return apply1(op::index_fill, {x, as_index(index, "index_fill")}, a);
}
void index_fill_(const Tensor& x, int64_t dim, const Tensor& index, Scalar value) {
  const IndexFillAttrs a = index_fill_attrs(x, dim, index, value);
  const Tensor in[] = {x, as_index(index, "index_fill_")};
  apply_inplace(op::index_fill, in, &a);
}
Tensor index_fill(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& value) {
  if (!value.requires_grad()) return index_fill(x, dim, index, scalar_of(value, "index_fill_"));
  FS_CHECK(value.dim() == 0, "index_fill_ only supports a 0-dimensional value tensor, but got tensor with ",
           value.dim(), " dimension(s).");
  // The last of several equal indices gets the whole gradient: count each position once, through a mask.
  const int64_t d = wrap_dim(dim, x.dim(), "index_fill_");
  const Dims line = x.dim() ? Dims{x.size(d)} : Dims{1};
  Tensor mask = index_fill(zeros(line, DType::kBool, x.device()), 0, index, Scalar(true));
  Dims shape = Dims::filled(x.dim(), 1);
  if (x.dim()) shape[d] = x.size(d);
  return masked_fill(x, reshape(mask, shape), value);
}

Tensor gather(const Tensor& x, int64_t dim, const Tensor& index) {
  return gather_wrapped(x, dim, index, false, "gather");
}

Tensor take(const Tensor& x, const Tensor& index) {
  FS_CHECK(index.dtype() == DType::kInt64, "take(): Expected a long tensor for index, but got ",
           dtype_name(index.dtype()));
  FS_CHECK_INDEX(x.numel() > 0 || index.numel() == 0, "take(): tried to take from an empty tensor");
  const Tensor flat = reshape(x, Dims{-1});
  const Tensor in[] = {index};
  return fireseed::index(flat, in);
}

Tensor take_along_dim(const Tensor& x, const Tensor& index, int64_t dim) {
  FS_CHECK(x.dim() == index.dim(),
           "torch.take_along_dim(): input and indices should have the same number of dimensions, but got ", x.dim(),
           " dimensions for input, and ", index.dim(), " dimensions for indices");
  FS_CHECK(index.dtype() == DType::kInt64, "torch.take_along_dim(): dtype of indices should be Long but got ",
           dtype_name(index.dtype()));
  const int64_t d = wrap_dim(dim, x.dim(), "take_along_dim");
  Dims xs = x.sizes(), is = index.sizes();
  for (int64_t i = 0; i < xs.n; ++i) {
    if (i == d) continue;
    const int64_t n = broadcast_shapes(Dims{xs[i]}, Dims{is[i]}, "take_along_dim")[0];
    xs[i] = is[i] = n;
  }
  return gather_wrapped(expand(x, xs), d, expand(index, is), true, "take_along_dim");
}
Tensor take_along_dim(const Tensor& x, const Tensor& index) {
  return gather_wrapped(reshape(x, Dims{-1}), 0, reshape(index, Dims{-1}), true, "take_along_dim");
}

Tensor put(const Tensor& x, const Tensor& index, const Tensor& source, bool accumulate) {
  FS_CHECK(index.dtype() == DType::kInt64, "put_(): Expected a long tensor for index, but got ",
           dtype_name(index.dtype()));
  FS_CHECK(x.dtype() == source.dtype(),
           "put_(): self and source expected to have the same dtype, but got self.dtype = ", dtype_name(x.dtype()),
           " and source.dtype = ", dtype_name(source.dtype()));
  FS_CHECK(index.numel() == source.numel(),
           "put_(): Expected source and index to have the same number of elements, but got source.numel() = ",
           source.numel(), ", index.numel() = ", index.numel());
  FS_CHECK_INDEX(x.numel() > 0 || index.numel() == 0, "put_(): Tried to put elements into an empty tensor");
  const Tensor at[] = {reshape(index, Dims{-1})};
  return reshape(index_put(reshape(x, Dims{-1}), at, reshape(source, Dims{-1}), accumulate), x.sizes());
}

Tensor masked_fill(const Tensor& x, const Tensor& mask, Scalar value) {
  check_fits(value, x.dtype(), "masked_fill");
  return apply1(op::masked_fill, {x, as_mask(mask, "masked_fill_")}, MaskedFillAttrs{fill_value(value)});
}
void masked_fill_(const Tensor& x, const Tensor& mask, Scalar value) {
  check_fits(value, x.dtype(), "masked_fill_");
  const Tensor in[] = {x, as_mask(mask, "masked_fill_")};
  const MaskedFillAttrs a{fill_value(value)};
  apply_inplace(op::masked_fill, in, &a);
}
Tensor masked_fill(const Tensor& x, const Tensor& mask, const Tensor& value) {
  if (!value.requires_grad()) return masked_fill(x, mask, scalar_of(value, "masked_fill_"));
  FS_CHECK(value.dim() == 0, "masked_fill_ only supports a 0-dimensional value tensor, but got tensor with ",
           value.dim(), " dimension(s).");
  return where(as_mask(mask, "masked_fill_"), to(value, x.dtype()), x);
}

int64_t count_nonzero_all(const Tensor& x) {
  if (x.numel() == 0) return 0;
  return item(apply1(op::nonzero_count, {x})).to_int();
}

Tensor nonzero(const Tensor& x) {
  CountAttrs a;
  a.count = count_nonzero_all(x);
  return apply1(op::nonzero, {x}, a);
}
std::vector<Tensor> nonzero_tuple(const Tensor& x) { return unbind(nonzero(x.dim() ? x : unsqueeze(x, 0)), 1); }

Tensor masked_select(const Tensor& x, const Tensor& mask) {
  FS_CHECK(mask.dtype() == DType::kBool, "masked_select: expected BoolTensor for mask, but got ",
           dtype_name(mask.dtype()));
  const Dims sizes = broadcast_shapes(x.sizes(), mask.sizes(), "masked_select");
  CountAttrs a;
  const bool same_mask = mask.sizes() == sizes;
  const Tensor m = same_mask ? mask : expand(mask, sizes);
  a.count = count_nonzero_all(m);
  return apply1(op::masked_select, {x.sizes() == sizes ? x : expand(x, sizes), m}, a);
}

Tensor masked_scatter(const Tensor& x, const Tensor& mask, const Tensor& source) {
  FS_CHECK(mask.dtype() == DType::kBool,
           "masked_scatter_: expected self and mask: expected BoolTensor for mask, but got ",
           dtype_name(mask.dtype()));
  FS_CHECK(x.dtype() == source.dtype(), "masked_scatter: expected self and source to have same dtypes but got ",
           dtype_name(x.dtype()), " and ", dtype_name(source.dtype()));
  const Dims sizes = broadcast_shapes(x.sizes(), mask.sizes(), "masked_scatter");
  return apply1(op::masked_scatter, {x.sizes() == sizes ? x : expand(x, sizes),
                                     mask.sizes() == sizes ? mask : expand(mask, sizes), source});
}

}  // namespace fireseed

// Records of sum, mean, prod, the extremes with and without indices, and the logical reductions.
#include "ops/reduce.h"

#include "ops/index.h"
#include "ops/move.h"
#include "ops/reduce_util.h"

namespace fireseed {

int64_t dims_mask(const Dims& dims, int64_t rank, const char* op) {
  if (dims.empty()) return kAllDims;
  int64_t mask = 0;
  for (int64_t d : dims) {
    const int64_t bit = int64_t{1} << wrap_dim(d, rank, op);
    FS_CHECK(!(mask & bit), op, ": dim ", wrap_dim(d, rank, op), " appears multiple times in the list of dims");
    mask |= bit;
  }
  return rank == 0 ? kAllDims : mask;
}

Dims reduced_sizes(const Dims& sizes, int64_t mask, bool keepdim) {
  Dims r;
  for (int64_t d = 0; d < sizes.n; ++d) {
    if (!((mask >> d) & 1)) r.push_back(sizes[d]);
    else if (keepdim) r.push_back(1);
  }
  return r;
}

Tensor expand_reduced(const Tensor& x, const Dims& sizes, int64_t mask, bool keepdim) {
  Tensor y = x;
  if (!keepdim && x.dim() > 0)
    for (int64_t d = 0; d < sizes.n; ++d)
      if ((mask >> d) & 1) y = unsqueeze(y, d);
  return expand(y, sizes);
}

namespace {

// ---- sums ---------------------------------------------------------------------------------------------------

void sum_infer(Inputs in, const void* attrs, Tensor* out) {
  const auto& a = *static_cast<const ReduceAttrs*>(attrs);
  out[0] = reduced_shell(in[0], a.mask, a.keepdim, sum_dtype(in[0].dtype()));
}
void same_infer(Inputs in, const void* attrs, Tensor* out) {
  const auto& a = *static_cast<const ReduceAttrs*>(attrs);
  out[0] = reduced_shell(in[0], a.mask, a.keepdim, in[0].dtype());
}
void bool_infer(Inputs in, const void* attrs, Tensor* out) {
  const auto& a = *static_cast<const ReduceAttrs*>(attrs);
  out[0] = reduced_shell(in[0], a.mask, a.keepdim, DType::kBool);
}
void index_infer(Inputs in, const void* attrs, Tensor* out) {
  const auto& a = *static_cast<const ReduceAttrs*>(attrs);
  out[0] = reduced_shell(in[0], a.mask, a.keepdim, DType::kInt64);
}
void choice_infer(Inputs in, const void* attrs, Tensor* out) {
  same_infer(in, attrs, out);
  index_infer(in, attrs, out + 1);
}

void sum_vjp(const Vjp& c, const Tensor* g, Tensor* gx) { gx[0] = expand_like_input<ReduceAttrs>(c, g[0]); }
void mean_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  const int64_t n = reduced_count(c.input_sizes(0), c.attrs<ReduceAttrs>().mask);
  gx[0] = expand_like_input<ReduceAttrs>(c, g[0] / static_cast<double>(n));
}
void nansum_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  gx[0] = where(isnan(c.input(0)), 0.0, expand_like_input<ReduceAttrs>(c, g[0]));
}

// Product of all other elements: the exclusive products from both sides, exact also where elements are zero.
void prod_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  const auto& a = c.attrs<ReduceAttrs>();
  const Tensor x = c.input(0), ge = expand_like_input<ReduceAttrs>(c, g[0]);
  if (x.numel() == 0) {
    gx[0] = zeros_like(x);
    return;
  }
  if (!item(any(eq(x, wrapped_number(Scalar(0))))).to_bool()) {
    gx[0] = ge * expand_like_input<ReduceAttrs>(c, c.output()) / x;
    return;
  }
  // With every dimension reduced the flattened tensor is one line; prod takes one dimension otherwise.
  int64_t dim = 0;
  while (a.mask != kAllDims && !((a.mask >> dim) & 1)) ++dim;
  const Tensor line = a.mask == kAllDims ? reshape(x, Dims{-1}) : x;
  if (line.size(dim) == 1) {
    gx[0] = ge;
    return;
  }
  const int64_t n = line.size(dim);
  const Tensor one = ones_like(narrow(line, dim, 0, 1));
  const Tensor left_parts[] = {one, cumprod(narrow(line, dim, 0, n - 1), dim)};
  const Tensor right_parts[] = {flip(cumprod(flip(narrow(line, dim, 1, n - 1), Dims{dim}), dim), Dims{dim}), one};
  gx[0] = ge * reshape(cat(left_parts, dim) * cat(right_parts, dim), x.sizes());
}

// ---- extremes -----------------------------------------------------------------------------------------------

// Elements that reached the extreme share the gradient.
void extreme_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  const auto& a = c.attrs<ReduceAttrs>();
  const Tensor hit = to(eq(c.input(0), expand_like_input<ReduceAttrs>(c, c.output())), g[0].dtype());
  Dims dims;
  for (int64_t d = 0; d < hit.dim(); ++d)
    if ((a.mask >> d) & 1) dims.push_back(d);
  if (hit.dim() == 0) {
    gx[0] = g[0] * hit;
    return;
  }
  gx[0] = hit * expand_reduced(g[0] / sum(hit, dims, a.keepdim), c.input_sizes(0), a.mask, a.keepdim);
}

void choice_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  const auto& a = c.attrs<ReduceAttrs>();
  const Dims sizes = c.input_sizes(0);
  const Tensor index = c.output(1);
  if (sizes.n == 0) {
    gx[0] = g[0];
    return;
  }
  int64_t dim = 0;
  while (!((a.mask >> dim) & 1)) ++dim;
  const Tensor zero = zeros(sizes, g[0].dtype(), g[0].device());
  gx[0] =
      a.keepdim ? scatter(zero, dim, index, g[0]) : scatter(zero, dim, unsqueeze(index, dim), unsqueeze(g[0], dim));
}

ReduceAttrs attrs_of(const Dims& dims, const Tensor& x, bool keepdim, const char* op) {
  return {dims_mask(dims, x.dim(), op), keepdim};
}
Tensor as_dtype(const Tensor& x, DType dtype) { return dtype == DType::kUndefined ? x : to(x, dtype); }

std::pair<Tensor, Tensor> choose(const Op& op, const Tensor& x, int64_t dim, bool keepdim) {
  const ReduceAttrs a = attrs_of(Dims{dim}, x, keepdim, op.name);
  if (x.dim() > 0) {
    FS_CHECK_INDEX(x.size(dim) != 0, op.name, "(): Expected reduction dim ", wrap_dim(dim, x.dim(), op.name),
                   " to have non-zero size (shape ", x.sizes(), ").");
  }
  Tensor out[2];
  apply(op, Inputs(&x, 1), &a, out);
  return {out[0], out[1]};
}

Tensor arg_reduce(const Op& op, const Tensor& x, std::optional<int64_t> dim, bool keepdim) {
  FS_CHECK_KIND(x.dtype() != DType::kBool, ErrorKind::kNotImplemented, op.name, ": not implemented for dtype bool");
  if (dim) {
    const ReduceAttrs a = attrs_of(Dims{*dim}, x, keepdim, op.name);
    if (x.dim() > 0)
      FS_CHECK_INDEX(x.size(*dim) != 0, op.name, "(): Expected reduction dim ", wrap_dim(*dim, x.dim(), op.name),
                     " to have non-zero size (shape ", x.sizes(), ").");
    return apply1(op, {x}, a);
  }
  FS_CHECK_INDEX(x.numel() != 0, op.name, "(): Expected reduction dim to be specified for input.numel() == 0 (shape ",
                 x.sizes(), "). Specify the reduction dim with the 'dim' argument.");
  return apply1(op, {x}, ReduceAttrs{kAllDims, keepdim});
}

}  // namespace

constinit Op op::sum{
    .name = "sum", .flags = kReduce, .attrs_size = sizeof(ReduceAttrs), .infer = sum_infer, .vjp = sum_vjp};
constinit Op op::mean{
    .name = "mean", .flags = kReduce, .attrs_size = sizeof(ReduceAttrs), .infer = same_infer, .vjp = mean_vjp};
constinit Op op::nansum{.name = "nansum",
                        .flags = kReduce,
                        .saves = save_input(0),
                        .attrs_size = sizeof(ReduceAttrs),
                        .infer = sum_infer,
                        .vjp = nansum_vjp};
constinit Op op::prod{.name = "prod",
                      .flags = kReduce,
                      .saves = save_input(0) | save_output(0),
                      .attrs_size = sizeof(ReduceAttrs),
                      .infer = sum_infer,
                      .vjp = prod_vjp};
constinit Op op::amax{.name = "amax",
                      .flags = kReduce,
                      .saves = save_input(0) | save_output(0),
                      .attrs_size = sizeof(ReduceAttrs),
                      .infer = same_infer,
                      .vjp = extreme_vjp};
constinit Op op::amin{.name = "amin",
                      .flags = kReduce,
                      .saves = save_input(0) | save_output(0),
                      .attrs_size = sizeof(ReduceAttrs),
                      .infer = same_infer,
                      .vjp = extreme_vjp};
constinit Op op::max_dim{.name = "max",
                         .flags = kReduce,
                         .saves = save_output(1),
                         .attrs_size = sizeof(ReduceAttrs),
                         .num_outputs = 2,
                         .infer = choice_infer,
                         .vjp = choice_vjp};
constinit Op op::min_dim{.name = "min",
                         .flags = kReduce,
                         .saves = save_output(1),
                         .attrs_size = sizeof(ReduceAttrs),
                         .num_outputs = 2,
                         .infer = choice_infer,
                         .vjp = choice_vjp};
constinit Op op::argmax{
    .name = "argmax", .flags = kReduce | kNotDifferentiable, .attrs_size = sizeof(ReduceAttrs), .infer = index_infer};
constinit Op op::argmin{
    .name = "argmin", .flags = kReduce | kNotDifferentiable, .attrs_size = sizeof(ReduceAttrs), .infer = index_infer};
constinit Op op::any{
    .name = "any", .flags = kReduce | kNotDifferentiable, .attrs_size = sizeof(ReduceAttrs), .infer = bool_infer};
constinit Op op::all{
    .name = "all", .flags = kReduce | kNotDifferentiable, .attrs_size = sizeof(ReduceAttrs), .infer = bool_infer};
constinit Op op::count_nonzero{.name = "count_nonzero",
                               .flags = kReduce | kNotDifferentiable,
                               .attrs_size = sizeof(ReduceAttrs),
                               .infer = index_infer};

Tensor sum(const Tensor& x, const Dims& dims, bool keepdim, DType dtype) {
  return apply1(op::sum, {as_dtype(x, dtype)}, attrs_of(dims, x, keepdim, "sum"));
}

Tensor nansum(const Tensor& x, const Dims& dims, bool keepdim, DType dtype) {
  const Tensor y = as_dtype(x, dtype);
  return y.is_floating() ? apply1(op::nansum, {y}, attrs_of(dims, x, keepdim, "nansum")) : sum(y, dims, keepdim);
}

Tensor mean(const Tensor& x, const Dims& dims, bool keepdim, DType dtype) {
  const Tensor y = as_dtype(x, dtype);
  FS_CHECK(y.is_floating(),
           "mean(): could not infer output dtype. Input dtype must be either a floating point or complex "
           "dtype. Got: ",
           dtype_name(y.dtype()), ". Convert with .float(), or give dtype=");
  return apply1(op::mean, {y}, attrs_of(dims, x, keepdim, "mean"));
}

Tensor nanmean(const Tensor& x, const Dims& dims, bool keepdim, DType dtype) {
  FS_CHECK(x.is_floating(), "nanmean(): expected input to have floating point or complex dtype but got ",
           dtype_name(x.dtype()));
  const Tensor n = sum(logical_not(isnan(x)), dims, keepdim);
  return nansum(x, dims, keepdim, dtype) / n;
}

Tensor prod(const Tensor& x, DType dtype) { return apply1(op::prod, {as_dtype(x, dtype)}, ReduceAttrs{}); }
Tensor prod(const Tensor& x, int64_t dim, bool keepdim, DType dtype) {
  return apply1(op::prod, {as_dtype(x, dtype)}, attrs_of(Dims{dim}, x, keepdim, "prod"));
}

Tensor amax(const Tensor& x, const Dims& dims, bool keepdim) {
  const ReduceAttrs a = attrs_of(dims, x, keepdim, "amax");
  require_elements(x, a.mask, "amax");
  return apply1(op::amax, {x}, a);
}
Tensor amin(const Tensor& x, const Dims& dims, bool keepdim) {
  const ReduceAttrs a = attrs_of(dims, x, keepdim, "amin");
  require_elements(x, a.mask, "amin");
  return apply1(op::amin, {x}, a);
}
std::pair<Tensor, Tensor> aminmax(const Tensor& x, std::optional<int64_t> dim, bool keepdim) {
  const Dims dims = dim ? Dims{*dim} : Dims{};
  if (!dim && keepdim && x.dim() > 0) {
    const Dims ones = Dims::filled(x.dim(), 1);
    return {reshape(amin(x), ones), reshape(amax(x), ones)};
  }
  return {amin(x, dims, keepdim), amax(x, dims, keepdim)};
}

std::pair<Tensor, Tensor> max(const Tensor& x, int64_t dim, bool keepdim) {
  return choose(op::max_dim, x, dim, keepdim);
}
std::pair<Tensor, Tensor> min(const Tensor& x, int64_t dim, bool keepdim) {
  return choose(op::min_dim, x, dim, keepdim);
}
Tensor argmax(const Tensor& x, std::optional<int64_t> dim, bool keepdim) {
  return arg_reduce(op::argmax, x, dim, keepdim);
}
Tensor argmin(const Tensor& x, std::optional<int64_t> dim, bool keepdim) {
  return arg_reduce(op::argmin, x, dim, keepdim);
}

// uint8 keeps its dtype, as in PyTorch.
Tensor any(const Tensor& x, const Dims& dims, bool keepdim) {
  const Tensor y = apply1(op::any, {x}, attrs_of(dims, x, keepdim, "any"));
  return x.dtype() == DType::kUInt8 ? to(y, DType::kUInt8) : y;
}
Tensor all(const Tensor& x, const Dims& dims, bool keepdim) {
  const Tensor y = apply1(op::all, {x}, attrs_of(dims, x, keepdim, "all"));
  return x.dtype() == DType::kUInt8 ? to(y, DType::kUInt8) : y;
}
Tensor count_nonzero(const Tensor& x, const Dims& dims) {
  return apply1(op::count_nonzero, {x}, attrs_of(dims, x, false, "count_nonzero"));
}

}  // namespace fireseed

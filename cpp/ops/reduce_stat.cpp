// Records of var, std, norm and logsumexp; quantile and the other statistics made of them.
#include <cmath>
#include <limits>

#include "ops/index.h"
#include "ops/matmul.h"
#include "ops/move.h"
#include "ops/reduce_util.h"
#include "ops/sort.h"

namespace fireseed {
namespace {

template <class A>
void stat_infer(Inputs in, const void* attrs, Tensor* out) {
  const auto& a = *static_cast<const A*>(attrs);
  out[0] = reduced_shell(in[0], a.mask, a.keepdim, in[0].dtype());
}
void pair_infer(Inputs in, const void* attrs, Tensor* out) {
  stat_infer<VarAttrs>(in, attrs, out);
  stat_infer<VarAttrs>(in, attrs, out + 1);
}

// d var = 2 / (n - correction) (x - mean) g, for g already in the input's shape.
Tensor var_gradient(const Vjp& c, const Tensor& g, const Tensor& x) {
  const auto& a = c.attrs<VarAttrs>();
  const double n = static_cast<double>(reduced_count(c.input_sizes(0), a.mask)), left = n - a.correction;
  Dims dims;
  for (int64_t d = 0; d < x.dim(); ++d)
    if ((a.mask >> d) & 1) dims.push_back(d);
  const Tensor center = x.dim() ? x - mean(x, dims, true) : x - x;
  if (left <= 0) {  // no spread: infinite or undefined
    const double factor =
        left < 0 ? std::numeric_limits<double>::infinity() : std::numeric_limits<double>::quiet_NaN();
    return left < 0 ? g * factor : g * center * factor;
  }
  return (2 / left) * g * center;
}
// Cotangent of the variance behind a standard deviation y: g / (2 y), zero where y is.
Tensor through_root(const Tensor& g, const Tensor& y) {
  return where(eq(y, wrapped_number(Scalar(0))), 0.0, g / (y * 2.0));
}
void var_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  gx[0] = var_gradient(c, expand_like_input<VarAttrs>(c, g[0]), c.input(0));
}
void std_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  gx[0] = var_gradient(c, expand_like_input<VarAttrs>(c, through_root(g[0], c.output())), c.input(0));
}
void pair_vjp(const Vjp& c, const Tensor& g_var, const Tensor& g_mean, Tensor* gx) {
  if (g_var.defined()) gx[0] = var_gradient(c, expand_like_input<VarAttrs>(c, g_var), c.input(0));
  if (!g_mean.defined()) return;
  const int64_t n = reduced_count(c.input_sizes(0), c.attrs<VarAttrs>().mask);
  const Tensor m = expand_like_input<VarAttrs>(c, g_mean / static_cast<double>(n));
  gx[0] = gx[0].defined() ? gx[0] + m : m;
}
void var_mean_vjp(const Vjp& c, const Tensor* g, Tensor* gx) { pair_vjp(c, g[0], g[1], gx); }
void std_mean_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  pair_vjp(c, g[0].defined() ? through_root(g[0], c.output()) : Tensor(), g[1], gx);
}

void norm_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  const auto& a = c.attrs<NormAttrs>();
  const Tensor x = c.input(0);
  const Tensor ge = expand_like_input<NormAttrs>(c, g[0]), y = expand_like_input<NormAttrs>(c, c.output());
  const Tensor zero = wrapped_number(Scalar(0));
  if (a.p == 0) {
    gx[0] = zeros_like(x);
  } else if (a.p == 1) {
    gx[0] = sign(x) * ge;
  } else if (a.p == 2) {
    gx[0] = ge * where(eq(y, zero), 0.0, x / y);
  } else if (std::isinf(a.p)) {
    const Tensor hit = to(eq(abs(x), y), x.dtype());
    Dims dims;
    for (int64_t d = 0; d < x.dim(); ++d)
      if ((a.mask >> d) & 1) dims.push_back(d);
    gx[0] = sign(x) * hit * ge / (x.dim() ? sum(hit, dims, true) : hit);
  } else if (a.p < 1) {
    const Tensor r = sign(x) * pow(abs(x), a.p - 1) * pow(y, 1 - a.p) * ge;
    gx[0] = where(eq(x, zero), 0.0, r);
  } else if (a.p < 2) {
    const Tensor r = sign(x) * pow(abs(x), a.p - 1) * (ge / pow(y, a.p - 1));
    gx[0] = where(eq(y, zero), 0.0, r);
  } else {
    gx[0] = x * pow(abs(x), a.p - 2) * where(eq(y, zero), 0.0, ge / pow(y, a.p - 1));
  }
}

void logsumexp_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  const Tensor y = expand_like_input<ReduceAttrs>(c, c.output());
  // Where all terms are -inf, x - y would be NaN: the weight is zero there.
  const Tensor safe = where(eq(y, wrapped_number(Scalar(-std::numeric_limits<double>::infinity()))), 0.0, y);
  gx[0] = expand_like_input<ReduceAttrs>(c, g[0]) * exp(c.input(0) - safe);
}

Tensor moments(const Op& op, const Tensor& x, const Dims& dims, double correction, bool keepdim, Tensor* second) {
  FS_CHECK(x.is_floating(), op.name, ": expected a floating point dtype, got ", dtype_name(x.dtype()),
           " (std and var only support floating point and complex dtypes)");
  const VarAttrs a{dims_mask(dims, x.dim(), op.name), keepdim, correction};
  Tensor out[2];
  apply(op, Inputs(&x, 1), &a, out);
  if (second) *second = out[1];
  return out[0];
}

}  // namespace

constinit Op op::var{.name = "var",
                     .flags = kReduce,
                     .saves = save_input(0),
                     .attrs_size = sizeof(VarAttrs),
                     .infer = stat_infer<VarAttrs>,
                     .vjp = var_vjp};
constinit Op op::std{.name = "std",
                     .flags = kReduce,
                     .saves = save_input(0) | save_output(0),
                     .attrs_size = sizeof(VarAttrs),
                     .infer = stat_infer<VarAttrs>,
                     .vjp = std_vjp};
constinit Op op::var_mean{.name = "var_mean",
                          .flags = kReduce,
                          .saves = save_input(0),
                          .attrs_size = sizeof(VarAttrs),
                          .num_outputs = 2,
                          .infer = pair_infer,
                          .vjp = var_mean_vjp};
constinit Op op::std_mean{.name = "std_mean",
                          .flags = kReduce,
                          .saves = save_input(0) | save_output(0),
                          .attrs_size = sizeof(VarAttrs),
                          .num_outputs = 2,
                          .infer = pair_infer,
                          .vjp = std_mean_vjp};
constinit Op op::norm{.name = "norm",
                      .flags = kReduce,
                      .saves = save_input(0) | save_output(0),
                      .attrs_size = sizeof(NormAttrs),
                      .infer = stat_infer<NormAttrs>,
                      .vjp = norm_vjp};
constinit Op op::logsumexp{.name = "logsumexp",
                           .flags = kReduce,
                           .saves = save_input(0) | save_output(0),
                           .attrs_size = sizeof(ReduceAttrs),
                           .infer = stat_infer<ReduceAttrs>,
                           .vjp = logsumexp_vjp};

Tensor logsumexp(const Tensor& x, const Dims& dims, bool keepdim) {
  const Tensor y = as_float(x);
  return apply1(op::logsumexp, {y}, ReduceAttrs{dims_mask(dims, x.dim(), "logsumexp"), keepdim});
}
Tensor var(const Tensor& x, const Dims& dims, double correction, bool keepdim) {
  return moments(op::var, x, dims, correction, keepdim, nullptr);
}
Tensor stddev(const Tensor& x, const Dims& dims, double correction, bool keepdim) {
  return moments(op::std, x, dims, correction, keepdim, nullptr);
}
std::pair<Tensor, Tensor> var_mean(const Tensor& x, const Dims& dims, double correction, bool keepdim) {
  std::pair<Tensor, Tensor> r;
  r.first = moments(op::var_mean, x, dims, correction, keepdim, &r.second);
  return r;
}
std::pair<Tensor, Tensor> std_mean(const Tensor& x, const Dims& dims, double correction, bool keepdim) {
  std::pair<Tensor, Tensor> r;
  r.first = moments(op::std_mean, x, dims, correction, keepdim, &r.second);
  return r;
}

Tensor vector_norm(const Tensor& x, double p, const Dims& dims, bool keepdim, DType dtype) {
  FS_CHECK(x.is_floating(), "linalg.vector_norm: Expected a floating point or complex tensor as input. Got ",
           dtype_name(x.dtype()));
  const Tensor y = dtype == DType::kUndefined ? x : to(x, dtype);
  const NormAttrs a{dims_mask(dims, x.dim(), "linalg.vector_norm"), keepdim, p};
  if (y.numel() == 0 && (p < 0 || std::isinf(p))) {
    for (int64_t d = 0; d < y.dim(); ++d)
      FS_CHECK(!((a.mask >> d) & 1) || y.size(d) != 0, "linalg.vector_norm: cannot compute the norm of order ", p,
               " on the dimension ", d,
               " because this dimension is empty and the operation does not have an identity (shape ", x.sizes(),
               ")");
  }
  return apply1(op::norm, {y}, a);
}

Tensor quantile(const Tensor& x, const Tensor& q, std::optional<int64_t> dim, bool keepdim, const char* interpolation,
                bool ignore_nan) {
  const char* name = ignore_nan ? "nanquantile" : "quantile";
  FS_CHECK(x.numel() > 0, name, "() input tensor must be non-empty");
  FS_CHECK(x.dtype() == DType::kFloat32 || x.dtype() == DType::kFloat64, name,
           "() input tensor must be either float or double dtype, got ", dtype_name(x.dtype()));
  FS_CHECK(q.dim() <= 1, name, "() q must be a scalar or 1D tensor, got shape ", q.sizes());
  FS_CHECK(q.dtype() == x.dtype(), name, "() q tensor must be same dtype as the input tensor: expected ",
           dtype_name(x.dtype()), ", got ", dtype_name(q.dtype()));
  const std::string_view how = interpolation;
  FS_CHECK(how == "linear" || how == "lower" || how == "higher" || how == "midpoint" || how == "nearest", name,
           "() interpolation must be one of linear, lower, higher, midpoint or nearest, but got ", interpolation);
  // The reduced dimension last, sorted: [rest..., n].
  const Tensor lines = dim ? movedim(x.dim() ? x : reshape(x, Dims{1}), Dims{wrap_dim(*dim, x.dim(), name)}, Dims{-1})
                           : reshape(x, Dims{-1});
  const Tensor sorted = sort(lines, -1).first;
  const int64_t n = lines.size(-1);
  const Tensor qs = reshape(q, Dims{-1});
  FS_CHECK(item(all(logical_and(ge(qs, wrapped_number(Scalar(0))), le(qs, wrapped_number(Scalar(1)))))).to_bool(),
           name, "() q values must be in the range [0, 1]");
  // rank [rest..., nq]
  Dims rest = lines.sizes();
  --rest.n;
  Dims with_q = rest;
  with_q.push_back(qs.size(0));
  Tensor rank;
  if (ignore_nan) {
    const Tensor count = to(sum(logical_not(isnan(lines)), Dims{-1}, true), x.dtype());
    rank = maximum(qs * (count - 1.0), 0.0);
  } else {
    // A line with NaN gives NaN: its rank is moved to the last element, which is NaN.
    const Tensor last = static_cast<double>(n - 1) * ones_like(qs);
    const Tensor has_nan = any(isnan(lines), Dims{-1}, true);
    rank = where(has_nan, last, qs * static_cast<double>(n - 1));
  }
  rank = expand(rank, with_q);
  if (how == "lower") rank = floor(rank);
  if (how == "higher") rank = ceil(rank);
  if (how == "nearest") rank = round(rank);
  const Tensor below = to(rank, DType::kInt64);
  Tensor result = gather(sorted, -1, below);
  if (how == "linear" || how == "midpoint") {
    const Tensor weight = how == "midpoint" ? full_like(rank, Scalar(0.5)) : rank - to(below, x.dtype());
    result = lerp(result, gather(sorted, -1, to(ceil(rank), DType::kInt64)), weight);
  }
  // [rest..., nq] -> nq first, or gone where q is 0-dim
  if (q.dim() == 0) {
    result = squeeze(result, Dims{-1});
    if (x.dim() == 0) return reshape(result, Dims{});
    if (keepdim) result = dim ? unsqueeze(result, *dim) : reshape(result, Dims::filled(x.dim(), 1));
    return result;
  }
  result = movedim(result, Dims{-1}, Dims{0});
  if (keepdim && x.dim() > 0) {
    if (dim) {
      result = unsqueeze(result, wrap_dim(*dim, x.dim(), name) + 1);
    } else {
      Dims sizes{qs.size(0)};
      for (int64_t d = 0; d < x.dim(); ++d) sizes.push_back(1);
      result = reshape(result, sizes);
    }
  }
  return result;
}

Tensor normalize(const Tensor& x, double p, int64_t dim, double eps) {
  const Tensor n = maximum(vector_norm(x, p, Dims{dim}, true), eps);
  return x / expand(n, x.sizes());
}

Tensor renorm(const Tensor& x, double p, int64_t dim, double maxnorm) {
  FS_CHECK(p > 0, "renorm: non-positive norm degree ", p, " not supported");
  FS_CHECK(maxnorm >= 0, "renorm: expected maxnorm to be >= 0 but got ", maxnorm);
  FS_CHECK(x.dim() > 1, "renorm: input needs at least 2 dimensions, got ", x.dim(), " dimensions");
  const int64_t keep = wrap_dim(dim, x.dim(), "renorm");
  Dims dims;
  for (int64_t d = 0; d < x.dim(); ++d)
    if (d != keep) dims.push_back(d);
  const Tensor n = vector_norm(x, p, dims, true);
  return x * where(gt(n, wrapped_number(Scalar(maxnorm))), maxnorm / (n + 1e-7), ones_like(n));
}

}  // namespace fireseed

// Records of the scans: cumsum, cumprod, cummax, cummin, logcumsumexp; diff.
#include <limits>

#include "ops/index.h"
#include "ops/move.h"
#include "ops/reduce_util.h"

namespace fireseed {
namespace {

void scan_infer(Inputs in, const void*, Tensor* out) {
  out[0] = make_shell(in[0].sizes(), sum_dtype(in[0].dtype()), in[0].device());
}
void same_infer(Inputs in, const void*, Tensor* out) {
  out[0] = make_shell(in[0].sizes(), in[0].dtype(), in[0].device());
}
void choice_infer(Inputs in, const void*, Tensor* out) {
  out[0] = make_shell(in[0].sizes(), in[0].dtype(), in[0].device());
  out[1] = make_shell(in[0].sizes(), DType::kInt64, in[0].device());
}

// Σ_{j >= i}
Tensor reverse_cumsum(const Tensor& x, int64_t dim) {
  if (x.dim() == 0) return x;
  return flip(cumsum(flip(x, Dims{dim}), dim), Dims{dim});
}

void cumsum_vjp(const Vjp& c, const Tensor* g, Tensor* gx) { gx[0] = reverse_cumsum(g[0], c.attrs<ScanAttrs>().dim); }

void cumprod_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  const int64_t dim = c.attrs<ScanAttrs>().dim;
  const Tensor x = c.input(0), y = c.output();
  if (x.dim() == 0 || x.numel() == 0 || x.size(dim) == 1) {
    gx[0] = g[0];
    return;
  }
  if (!item(any(eq(x, wrapped_number(Scalar(0))))).to_bool()) {
    gx[0] = reverse_cumsum(g[0] * y, dim) / x;
    return;
  }
  // With zeros: for each k, the products that leave x_k out, one entry of the gradient at a time.
  const int64_t n = x.size(dim);
  std::vector<Tensor> parts;
  Tensor before = ones_like(narrow(x, dim, 0, 1));  // Π_{j < k} x_j
  for (int64_t k = 0; k < n; ++k) {
    Tensor omitted = before;
    if (k + 1 < n) {
      const Tensor rest[] = {before, before * cumprod(narrow(x, dim, k + 1, n - k - 1), dim)};
      omitted = cat(rest, dim);
    }
    parts.push_back(sum(narrow(g[0], dim, k, n - k) * omitted, Dims{dim}, true));
    before = before * narrow(x, dim, k, 1);
  }
  gx[0] = cat(parts, dim);
}

void choice_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  const int64_t dim = c.attrs<ScanAttrs>().dim;
  if (g[0].dim() == 0) {
    gx[0] = g[0];
    return;
  }
  gx[0] = scatter_add(zeros(c.input_sizes(0), g[0].dtype(), g[0].device()), dim, c.output(1), g[0]);
}

// gx_i = Σ_{j >= i} g_j exp(x_i - y_j), with the maximum taken out of both exponents.
void logcumsumexp_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  const int64_t dim = c.attrs<ScanAttrs>().dim;
  const Tensor x = c.input(0), y = c.output();
  if (x.dim() == 0 || x.numel() == 0) {
    gx[0] = g[0];
    return;
  }
  const Tensor top = detach(amax(x, Dims{dim}, true)), m = where(isfinite(top), top, 0.0);
  gx[0] = exp(x - m) * reverse_cumsum(g[0] * exp(m - y), dim);
}

// The same in logarithms, by logcumsumexp from the end, for the two signs of g apart: no overflow.
void logcumsumexp_vjp_fused(const Vjp& c, const Tensor* g, Tensor* gx) {
  const int64_t dim = c.attrs<ScanAttrs>().dim;
  const Tensor x = c.input(0), y = c.output();
  if (x.dim() == 0) {
    gx[0] = g[0];
    return;
  }
  const double low = -std::numeric_limits<double>::infinity();
  const Tensor zero = wrapped_number(Scalar(0));
  auto half = [&](const Tensor& positive) {
    const Tensor lg = where(gt(positive, zero), log(positive), low);
    const Tensor r = flip(logcumsumexp(flip(lg - y, Dims{dim}), dim), Dims{dim});
    return exp(r + x);
  };
  gx[0] = half(g[0]) - half(-g[0]);
}

int64_t scan_dim(const Tensor& x, int64_t dim, const char* op) { return wrap_dim(dim, x.dim(), op); }

std::pair<Tensor, Tensor> scan_choice(const Op& op, const Tensor& x, int64_t dim) {
  const ScanAttrs a{scan_dim(x, dim, op.name)};
  Tensor out[2];
  apply(op, Inputs(&x, 1), &a, out);
  return {out[0], out[1]};
}

}  // namespace

constinit Op op::cumsum{.name = "cumsum", .attrs_size = sizeof(ScanAttrs), .infer = scan_infer, .vjp = cumsum_vjp};
constinit Op op::cumprod{.name = "cumprod",
                         .saves = save_input(0) | save_output(0),
                         .attrs_size = sizeof(ScanAttrs),
                         .infer = scan_infer,
                         .vjp = cumprod_vjp};
constinit Op op::cummax{.name = "cummax",
                        .saves = save_output(1),
                        .attrs_size = sizeof(ScanAttrs),
                        .num_outputs = 2,
                        .infer = choice_infer,
                        .vjp = choice_vjp};
constinit Op op::cummin{.name = "cummin",
                        .saves = save_output(1),
                        .attrs_size = sizeof(ScanAttrs),
                        .num_outputs = 2,
                        .infer = choice_infer,
                        .vjp = choice_vjp};
constinit Op op::logcumsumexp{.name = "logcumsumexp",
                              .saves = save_input(0) | save_output(0),
                              .attrs_size = sizeof(ScanAttrs),
                              .infer = same_infer,
                              .vjp = logcumsumexp_vjp,
                              .vjp_fused = logcumsumexp_vjp_fused};

Tensor cumsum(const Tensor& x, int64_t dim, DType dtype) {
  const Tensor y = dtype == DType::kUndefined ? x : to(x, dtype);
  const Tensor r = apply1(op::cumsum, {y}, ScanAttrs{scan_dim(x, dim, "cumsum")});
  return dtype == DType::kUndefined ? r : to(r, dtype);
}
Tensor cumprod(const Tensor& x, int64_t dim, DType dtype) {
  const Tensor y = dtype == DType::kUndefined ? x : to(x, dtype);
  const Tensor r = apply1(op::cumprod, {y}, ScanAttrs{scan_dim(x, dim, "cumprod")});
  return dtype == DType::kUndefined ? r : to(r, dtype);
}
std::pair<Tensor, Tensor> cummax(const Tensor& x, int64_t dim) { return scan_choice(op::cummax, x, dim); }
std::pair<Tensor, Tensor> cummin(const Tensor& x, int64_t dim) { return scan_choice(op::cummin, x, dim); }
Tensor logcumsumexp(const Tensor& x, int64_t dim) {
  FS_CHECK_KIND(x.is_floating(), ErrorKind::kNotImplemented, "logcumsumexp: expected a floating point dtype, got ",
                dtype_name(x.dtype()));
  return apply1(op::logcumsumexp, {x}, ScanAttrs{scan_dim(x, dim, "logcumsumexp")});
}

Tensor diff(const Tensor& x, int64_t n, int64_t dim) {
  FS_CHECK(x.dim() > 0, "diff: expected input to be at least one-dimensional, got a 0-dim tensor");
  FS_CHECK(n >= 0, "diff: order must be non-negative but got ", n);
  const int64_t d = wrap_dim(dim, x.dim(), "diff");
  Tensor y = x;
  for (int64_t i = 0; i < n && y.size(d) > 0; ++i) {
    const int64_t m = y.size(d) - 1;
    const Tensor after = narrow(y, d, 1, m), before = narrow(y, d, 0, m);
    y = x.dtype() == DType::kBool ? logical_xor(after, before) : after - before;
  }
  return y;
}

}  // namespace fireseed

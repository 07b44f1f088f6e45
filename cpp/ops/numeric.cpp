// Differences, integrals, covariances, histograms and index arithmetic as compositions.
#include "ops/numeric.h"

#include <cmath>

#include "engine/mode.h"
#include "ops/copy.h"
#include "ops/index.h"
#include "ops/matmul.h"
#include "ops/move.h"
#include "ops/pointwise.h"
#include "ops/reduce.h"
#include "ops/shape.h"
#include "ops/sort.h"

namespace fireseed {
namespace {

Tensor join(const Tensor& first, const Tensor& middle, const Tensor& last, int64_t dim) {
  const Tensor parts[] = {first, middle, last};
  return cat(parts, dim);
}
void check_gradient(const Tensor& x, size_t given, const Dims& dims, int64_t edge_order) {
  FS_CHECK(static_cast<int64_t>(given) == dims.n,
           "torch.gradient expected spacing to be unspecified, a scalar or a list of ", dims.n,
           " entries, one for each dimension, but got a list of ", given);
  FS_CHECK(edge_order == 1 || edge_order == 2, "torch.gradient only supports edge_order=1 and edge_order=2, got ",
           edge_order);
  for (int64_t i = 0; i < dims.n; ++i) {
    for (int64_t j = 0; j < i; ++j)
      FS_CHECK(dims[i] != dims[j], "dim ", dims[i], " appears multiple times in the list of dims");
    FS_CHECK(x.size(dims[i]) > edge_order, "torch.gradient expected each dimension size to be at least edge_order+1");
  }
}
Dims wrapped(const Dims& dims, int64_t rank, const char* op) {
  Dims r;
  for (int64_t d : dims) r.push_back(wrap_dim(d, rank, op));
  return r;
}

}  // namespace

std::vector<Tensor> gradient(const Tensor& x, const std::vector<double>& spacing, const Dims& dims,
                             int64_t edge_order) {
  const Dims along = wrapped(dims, x.dim(), "gradient");
  check_gradient(x, spacing.size(), along, edge_order);
  std::vector<Tensor> r;
  for (int64_t i = 0; i < along.n; ++i) {
    const int64_t d = along[i], n = x.size(d);
    const double h = spacing[static_cast<size_t>(i)];
    const auto at = [&](int64_t k) { return narrow(x, d, k < 0 ? k + n : k, 1); };
    const Tensor center = (narrow(x, d, 2, n - 2) - narrow(x, d, 0, n - 2)) / (2.0 * h);
    const Tensor first = edge_order == 1 ? (at(1) - at(0)) / h : (-1.5 * at(0) + 2.0 * at(1) - 0.5 * at(2)) / h;
    const Tensor last = edge_order == 1 ? (at(-1) - at(-2)) / h : (1.5 * at(-1) - 2.0 * at(-2) + 0.5 * at(-3)) / h;
    r.push_back(join(first, center, last, d));
  }
  return r;
}

std::vector<Tensor> gradient(const Tensor& x, const std::vector<Tensor>& coordinates, const Dims& dims,
                             int64_t edge_order) {
  const Dims along = wrapped(dims, x.dim(), "gradient");
  check_gradient(x, coordinates.size(), along, edge_order);
  std::vector<Tensor> r;
  for (int64_t i = 0; i < along.n; ++i) {
    const int64_t d = along[i], n = x.size(d);
    const Tensor& c = coordinates[static_cast<size_t>(i)];
    FS_CHECK(c.dim() == 1 && c.size(0) == n, "torch.gradient expected the coordinates of dimension ", d,
             " to be a vector of length ", n, ", got shape ", c.sizes());
    Dims column;  // c lies along d
    for (int64_t k = 0; k < x.dim(); ++k) column.push_back(k == d ? n - 1 : 1);
    const Tensor h = reshape(diff(c), column);
    const auto at = [&](int64_t k) { return narrow(x, d, k < 0 ? k + n : k, 1); };
    const auto step = [&](int64_t k) { return narrow(h, d, k < 0 ? k + n - 1 : k, 1); };
    const Tensor p = narrow(h, d, 0, n - 2), q = narrow(h, d, 1, n - 2);  // the steps left and right
    const Tensor center = -q / (p * (p + q)) * narrow(x, d, 0, n - 2) + (q - p) / (p * q) * narrow(x, d, 1, n - 2) +
                          p / (q * (p + q)) * narrow(x, d, 2, n - 2);
    Tensor first = (at(1) - at(0)) / step(0), last = (at(-1) - at(-2)) / step(-1);
    if (edge_order == 2) {
      const Tensor a = step(0), b = step(1), u = step(-2), v = step(-1);
      first = -(2.0 * a + b) / (a * (a + b)) * at(0) + (a + b) / (a * b) * at(1) - a / (b * (a + b)) * at(2);
      last = v / (u * (u + v)) * at(-3) - (u + v) / (u * v) * at(-2) + (2.0 * v + u) / (v * (u + v)) * at(-1);
    }
    r.push_back(join(first, center, last, d));
  }
  return r;
}

// ---- integrals ----

namespace {

// Sums of neighbours along dim.
Tensor pairs(const Tensor& y, int64_t d) {
  const int64_t n = y.size(d);
  return narrow(y, d, 0, n - 1) + narrow(y, d, 1, n - 1);
}
// The steps between the points x, broadcast against y.
Tensor steps(const Tensor& y, const Tensor& x, int64_t d, const char* op) {
  FS_CHECK(x.dtype() != DType::kBool && y.dtype() != DType::kBool, op,
           ": received a bool input for `x` or `y`, but "
           "bool is not supported");
  Tensor points = x;
  if (x.dim() == 1 && y.dim() != 1) {
    FS_CHECK(x.size(0) == y.size(d), op, ": There must be one `x` value for each sample point, got x of shape ",
             x.sizes(), " and y of shape ", y.sizes());
    Dims column;
    for (int64_t k = 0; k < y.dim(); ++k) column.push_back(k == d ? x.size(0) : 1);
    points = reshape(x, column);
  } else if (x.dim() < y.dim()) {
    Dims sizes;
    for (int64_t k = x.dim(); k < y.dim(); ++k) sizes.push_back(1);
    for (int64_t k = 0; k < x.dim(); ++k) sizes.push_back(x.size(k));
    points = reshape(x, sizes);
  }
  return diff(points, 1, d);
}
Dims without(const Tensor& y, int64_t d) { return reduced_sizes(y.sizes(), int64_t{1} << d, false); }

}  // namespace

Tensor trapezoid(const Tensor& y, const Tensor& x, int64_t dim) {
  const int64_t d = wrap_dim(dim, y.dim(), "trapezoid");
  if (y.size(d) == 0) return zeros(without(y, d), y.dtype(), y.device());
  const Tensor dx = steps(y, x, d, "trapezoid");
  return sum(pairs(y, d) * dx, Dims{d}) / 2.0;
}
Tensor trapezoid(const Tensor& y, double dx, int64_t dim) {
  FS_CHECK(y.dtype() != DType::kBool, "trapezoid: received a bool input for `y`, but bool is not supported");
  const int64_t d = wrap_dim(dim, y.dim(), "trapezoid");
  if (y.size(d) == 0) return zeros(without(y, d), y.dtype(), y.device());
  return (sum(y, Dims{d}) - (select(y, d, 0) + select(y, d, -1)) * 0.5) * dx;
}
Tensor cumulative_trapezoid(const Tensor& y, const Tensor& x, int64_t dim) {
  const int64_t d = wrap_dim(dim, y.dim(), "cumulative_trapezoid");
  const Tensor dx = steps(y, x, d, "cumulative_trapezoid");
  return cumsum(pairs(y, d) * dx, d) / 2.0;
}
Tensor cumulative_trapezoid(const Tensor& y, double dx, int64_t dim) {
  FS_CHECK(y.dtype() != DType::kBool,
           "cumulative_trapezoid: received a bool input for `y`, but bool is not supported");
  const int64_t d = wrap_dim(dim, y.dim(), "cumulative_trapezoid");
  return cumsum(pairs(y, d), d) * (dx / 2.0);
}

// ---- covariance ----

namespace {

void check_weights(const Tensor& w, int64_t observations, bool integral, const char* name) {
  FS_CHECK(w.dim() <= 1, "cov(): expected ", name, " to have one or fewer dimensions but got ", name, " with ",
           w.dim(), " dimensions");
  FS_CHECK(integral ? !w.is_floating() && w.dtype() != DType::kBool : w.is_floating(), "cov(): expected ", name,
           " to have ", integral ? "integral" : "floating point", " dtype but got ", name, " with ",
           dtype_name(w.dtype()), " dtype");
  FS_CHECK(w.numel() == observations, "cov(): expected ", name,
           " to have the same numel as there are observations in the input but got ", w.numel(),
           " != ", observations);
  if (observations > 0) FS_CHECK(item(amin(w)).to_double() >= 0, "cov(): ", name, " cannot be negative");
}

}  // namespace

Tensor cov(const Tensor& x, int64_t correction, const Tensor& fweights, const Tensor& aweights) {
  FS_CHECK(x.dim() <= 2, "cov(): expected input to have two or fewer dimensions but got an input with ", x.dim(),
           " dimensions");
  FS_CHECK(x.dtype() != DType::kBool, "cov(): bool dtype is not supported for input");
  Tensor rows = as_float(x.dim() == 2 ? x : reshape(x, Dims{1, x.numel()}));
  const int64_t n = rows.size(1);
  Tensor w, total, spread = wrapped_number(Scalar(static_cast<double>(n - correction)));
  if (fweights.defined()) {
    check_weights(fweights, n, true, "fweights");
    w = to(reshape(fweights, Dims{n}), rows.dtype());
  }
  if (aweights.defined()) {
    check_weights(aweights, n, false, "aweights");
    const Tensor a = reshape(aweights, Dims{n});
    w = w.defined() ? w * a : a;
  }
  Tensor average;
  if (w.defined()) {
    total = sum(w);
    FS_CHECK(n == 0 || item(total).to_double() != 0, "cov(): weights sum to zero, can't be normalized");
    spread = aweights.defined() && correction != 0
                 ? total - sum(w * reshape(aweights, Dims{n})) * static_cast<double>(correction) / total
                 : total - static_cast<double>(correction);
    average = sum(rows * w, Dims{1}, true) / total;
  } else {
    average = sum(rows, Dims{1}, true) / static_cast<double>(n);
  }
  if (item(spread).to_double() <= 0) spread = wrapped_number(Scalar(0.0));
  rows = rows - average;
  return squeeze(matmul(rows, transpose(w.defined() ? rows * w : rows, 0, 1)) / spread);
}

Tensor corrcoef(const Tensor& x) {
  FS_CHECK(x.dim() <= 2, "corrcoef(): expected input to have two or fewer dimensions but got an input with ", x.dim(),
           " dimensions");
  const Tensor c = cov(x);
  if (c.dim() == 0) return c / c;
  const Tensor d = sqrt(clamp(diagonal(c), Scalar(0.0), {}));
  return clamp(c / unsqueeze(d, 1) / unsqueeze(d, 0), Scalar(-1.0), Scalar(1.0));
}

// ---- histograms, indices ----

std::vector<Tensor> unravel_index(const Tensor& indices, const std::vector<int64_t>& shape) {
  FS_CHECK_TYPE(!indices.is_floating() && indices.dtype() != DType::kBool,
                "expected 'indices' to be integer dtype, but got ", dtype_name(indices.dtype()));
  std::vector<Tensor> r(shape.size());
  int64_t stride = 1;
  for (size_t d = shape.size(); d-- > 0;) {
    FS_CHECK_VALUE(shape[d] >= 0, "'shape' cannot have negative values, but got ", shape[d]);
    const Tensor at = floor_divide(to(indices, DType::kInt64), wrapped_number(Scalar(stride)));
    r[d] = remainder(at, wrapped_number(Scalar(shape[d])));
    stride *= shape[d];
  }
  return r;
}

namespace {

// Which bin each element of the vector x lies in; `inside` loses those that lie in none.
Tensor bins_of(const Tensor& x, const Tensor& edges, Tensor& inside) {
  FS_CHECK(edges.dim() == 1 && edges.size(0) > 0, "histogram: edges must be a vector that is not empty, got shape ",
           edges.sizes());
  FS_CHECK(edges.dtype() == x.dtype(), "histogram: input and edges must have the same dtype, got ",
           dtype_name(x.dtype()), " and ", dtype_name(edges.dtype()));
  const int64_t bins = edges.size(0) - 1;
  const Tensor in = logical_and(ge(x, select(edges, 0, 0)), le(x, select(edges, 0, -1)));
  inside = inside.defined() ? logical_and(inside, in) : in;
  return clamp(add(searchsorted(edges, x, false, true), wrapped_number(Scalar(-1))), Scalar(0),
               Scalar(bins > 0 ? bins - 1 : 0));
}
// Edges of equal bins; a range of no width is widened.
Tensor equal_bins(const Tensor& x, int64_t bins, const std::optional<std::pair<double, double>>& range,
                  const char* op) {
  FS_CHECK(bins > 0, op, ": bins must be > 0, but got ", bins, " for dimension 0");
  double low = 0, high = 1;
  if (range) {
    low = range->first;
    high = range->second;
    FS_CHECK(low <= high, op, ": min should not exceed max, but got min ", low, " and max ", high);
  } else if (x.numel() > 0) {
    low = item(amin(x)).to_double();
    high = item(amax(x)).to_double();
  }
  FS_CHECK(std::isfinite(low) && std::isfinite(high), op, ": range of [", low, ", ", high, "] is not finite");
  if (low == high) {
    low -= 0.5;
    high += 0.5;
  }
  return linspace(low, high, bins + 1, x.dtype(), x.device());
}
Tensor weights_of(const Tensor& weight, const Tensor& x, int64_t count) {
  if (!weight.defined()) return expand(ones(Dims{1}, x.dtype(), x.device()), Dims{count});
  FS_CHECK(weight.numel() == count, "histogramdd(): weight must have one value for each point, got ", weight.numel(),
           " for ", count);
  FS_CHECK(weight.dtype() == x.dtype(), "histogramdd(): input and weight must have the same dtype, got ",
           dtype_name(x.dtype()), " and ", dtype_name(weight.dtype()));
  return reshape(weight, Dims{count});
}

}  // namespace

Tensor histogramdd(const Tensor& x, const std::vector<Tensor>& edges, const Tensor& weight, bool density) {
  FS_CHECK(x.dim() >= 2, "torch.histogramdd: input tensor should have at least 2 dimensions, but got ", x.dim());
  FS_CHECK(x.is_floating(), "torch.histogramdd: not implemented for ", dtype_name(x.dtype()));
  const int64_t dims = x.size(-1);
  FS_CHECK(static_cast<int64_t>(edges.size()) == dims, "torch.histogramdd: expected ", dims,
           " sequences of bin edges for a ", dims, "-dimensional histogram but got ", edges.size());
  GradMode off(false);
  int64_t count = 1, total = 1;
  for (int64_t d = 0; d + 1 < x.dim(); ++d) count *= x.size(d);
  const Tensor points = reshape(x, Dims{count, dims});
  Tensor at, inside;
  Dims sizes;
  for (int64_t d = 0; d < dims; ++d) {
    const Tensor& e = edges[static_cast<size_t>(d)];
    const Tensor bin = bins_of(contiguous(select(points, 1, d)), e, inside);
    sizes.push_back(e.size(0) - 1);
    total *= e.size(0) - 1;
    at = at.defined() ? add(mul(at, wrapped_number(Scalar(e.size(0) - 1))), bin) : bin;
  }
  Tensor r = zeros(Dims{total}, x.dtype(), x.device());
  if (total > 0 && count > 0) {
    const Tensor w = weights_of(weight, x, count);
    index_add_(r, 0, masked_select(at, inside), masked_select(w, inside));
  }
  r = reshape(r, sizes);
  if (density) {
    r = r / sum(r);
    for (int64_t d = 0; d < dims; ++d) {
      Dims column;
      for (int64_t k = 0; k < dims; ++k) column.push_back(k == d ? sizes[d] : 1);
      r = r / reshape(diff(edges[static_cast<size_t>(d)]), column);
    }
  }
  return r;
}
std::vector<Tensor> histogramdd_edges(const Tensor& x, const std::vector<int64_t>& bins,
                                      const std::vector<double>& range) {
  FS_CHECK(x.dim() >= 2, "torch.histogramdd: input tensor should have at least 2 dimensions, but got ", x.dim());
  FS_CHECK(static_cast<int64_t>(bins.size()) == x.size(-1), "torch.histogramdd: expected ", x.size(-1),
           " bin counts, but got ", bins.size());
  FS_CHECK(range.empty() || range.size() == 2 * bins.size(), "torch.histogramdd: for a ", bins.size(),
           "-dimensional histogram range should have ", 2 * bins.size(), " elements, but got ", range.size());
  GradMode off(false);
  std::vector<Tensor> r;
  for (size_t d = 0; d < bins.size(); ++d) {
    std::optional<std::pair<double, double>> one;
    if (!range.empty()) one = {range[2 * d], range[2 * d + 1]};
    r.push_back(equal_bins(select(x, -1, static_cast<int64_t>(d)), bins[d], one, "torch.histogramdd"));
  }
  return r;
}

Tensor histogram(const Tensor& x, const Tensor& edges, const Tensor& weight, bool density) {
  return histogramdd(reshape(x, Dims{x.numel(), 1}), {edges}, weight, density);
}
std::pair<Tensor, Tensor> histogram(const Tensor& x, int64_t bins,
                                    const std::optional<std::pair<double, double>>& range, const Tensor& weight,
                                    bool density) {
  FS_CHECK(x.is_floating(), "torch.histogram: not implemented for ", dtype_name(x.dtype()));
  GradMode off(false);
  const Tensor edges = equal_bins(x, bins, range, "torch.histogram");
  return {histogram(x, edges, weight, density), edges};
}

}  // namespace fireseed

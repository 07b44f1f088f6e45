// Python functions of the reduce family: sums, means, extremes, statistics, norms and scans.
#include "ops/reduce.h"

#include <cmath>

#include "bind/fast_call.h"
#include "ops/copy.h"
#include "ops/move.h"
#include "ops/pointwise.h"
#include "ops/shape.h"
#include "ops/sort.h"

namespace fireseed::bind {
namespace {

Dims dims_or_all(Args& a, int i) { return a.opt_dims(i).value_or(Dims{}); }

// correction= of var and std: 1 where None.
double correction(Args& a, int i) { return a.given(i) ? a.f64(i) : 1.0; }

Tensor whole_extreme(const Tensor& x, bool largest) {
  FS_CHECK(x.numel() != 0, largest ? "max" : "min",
           "(): Expected reduction dim to be specified for input.numel() == 0. Specify the "
           "reduction dim with the 'dim' argument.");
  return largest ? amax(x) : amin(x);
}

double order_of(std::string_view name, const char* op) {
  FS_CHECK(name == "fro", op, ": expected order 'fro', 'nuc' or a number, got '", name, "'");
  return 2;
}

constexpr std::nullopt_t kNuclear = std::nullopt;  // 'nuc' as an order

// 'nuc', 2 and -2: sum, largest and smallest of the singular values, which Python finds.
Tensor singular_value_norm(const Tensor& x, std::optional<double> ord, int64_t rows, int64_t cols, bool keepdim) {
  PyObject* module = PyImport_ImportModule("fireseed.linalg._svd");
  if (!module) throw PythonError{};
  PyObject* order = ord ? PyFloat_FromDouble(*ord) : PyUnicode_FromString("nuc");
  PyObject* r =
      PyObject_CallMethod(module, "singular_value_norm", "NN(LL)O", wrap(x), order, static_cast<long long>(rows),
                          static_cast<long long>(cols), keepdim ? Py_True : Py_False);
  Py_DECREF(module);
  const Tensor* value = as_tensor(r);
  if (!value) throw PythonError{};
  Tensor result = *value;
  Py_DECREF(r);
  return result;
}

// Matrix norms: Frobenius, the largest or smallest absolute column (±1) or row (±inf) sum, and singular_value_norm's.
Tensor matrix_norm(const Tensor& x, std::optional<double> order, int64_t rows, int64_t cols, bool keepdim,
                   DType dtype) {
  const char* op = "linalg.matrix_norm";
  FS_CHECK(x.dim() >= 2, op, ": The input tensor A must have at least 2 dimensions, got shape ", x.sizes());
  const Tensor y = dtype == DType::kUndefined ? x : to(x, dtype);
  const int64_t r = wrap_dim(rows, y.dim(), op), c = wrap_dim(cols, y.dim(), op);
  FS_CHECK(r != c, op, ": dims must be different. Got (", rows, ", ", cols, ")");
  if (!order || std::abs(*order) == 2) return singular_value_norm(y, order, r, c, keepdim);
  const double ord = *order;
  const bool column = std::abs(ord) == 1;
  FS_CHECK(column || std::isinf(ord), op, ": Order ", ord, " not supported.");
  const Tensor sums = sum(abs(y), Dims{column ? r : c}, true);
  const Dims other{column ? c : r};
  const bool none = sums.size(other[0]) == 0;  // the largest of no sums is 0
  Tensor n = ord < 0 ? amin(sums, other, true) : none ? sum(sums, other, true) : amax(sums, other, true);
  return keepdim ? n : squeeze(n, Dims{r, c});
}

Tensor linalg_norm(Args& a, std::optional<double> ord, bool frobenius) {
  const Tensor& x = a.tensor(0);
  const std::optional<Dims> dims = a.opt_dims(2);
  const bool keepdim = a.boolean(3);
  const DType dtype = a.opt_dtype(4);
  if (frobenius) {
    const Dims d = dims ? *dims : Dims{-2, -1};
    FS_CHECK(x.dim() >= 2 && d.n <= 2, "linalg.norm: the Frobenius norm needs a matrix, got shape ", x.sizes());
    return vector_norm(x, 2, d, keepdim, dtype);
  }
  if (!ord) {
    if (dims) return vector_norm(x, 2, *dims, keepdim, dtype);
    const Tensor n = vector_norm(x, 2, Dims{}, keepdim, dtype);
    return n;
  }
  if ((dims && dims->n == 2) || (!dims && x.dim() == 2)) {
    const Dims d = dims ? *dims : Dims{-2, -1};
    return matrix_norm(x, *ord, d[0], d[1], keepdim, dtype);
  }
  FS_CHECK(dims || x.dim() <= 2, "linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got ",
           x.dim(), "D.");
  return vector_norm(x, *ord, dims.value_or(Dims{}), keepdim, dtype);
}

// norm(x, 'nuc', dim, keepdim, dtype): dim names the matrices' two dimensions, the last two where it is absent.
Tensor nuclear_norm(Args& a, const char* op) {
  const Dims d = a.opt_dims(2).value_or(Dims{-2, -1});
  FS_CHECK(d.n == 2, op, ": the nuclear norm needs two dimensions in dim. Got ", d);
  return matrix_norm(a.tensor(0), kNuclear, d[0], d[1], a.boolean(3), a.opt_dtype(4));
}

Tensor quantile_of(Args& a, const Tensor& q, bool ignore_nan) {
  const std::string how(a.str(4));
  return quantile(a.tensor(0), q, a.opt_i64(2), a.boolean(3), how.c_str(), ignore_nan);
}
Tensor fraction(Args& a) { return full(Dims{}, Scalar(a.f64(1)), a.tensor(0).dtype(), a.tensor(0).device()); }

constexpr unsigned kBoth = kFunction | kMethod;

}  // namespace

FS_BINDINGS(reduce) {
  def(
      "sum(Tensor input, int[]? dim=None, bool keepdim=False, *, dtype? dtype=None)", kBoth,
      [](Args& a) { return sum(a.tensor(0), dims_or_all(a, 1), a.boolean(2), a.opt_dtype(3)); },
      "Sum over dim (all dimensions by default). Integers and bool give int64.");
  def(
      "nansum(Tensor input, int[]? dim=None, bool keepdim=False, *, dtype? dtype=None)", kBoth,
      [](Args& a) { return nansum(a.tensor(0), dims_or_all(a, 1), a.boolean(2), a.opt_dtype(3)); },
      "Sum with NaN read as 0.");
  def(
      "mean(Tensor input, int[]? dim=None, bool keepdim=False, *, dtype? dtype=None)", kBoth,
      [](Args& a) { return mean(a.tensor(0), dims_or_all(a, 1), a.boolean(2), a.opt_dtype(3)); },
      "Mean over dim; floats only.");
  def(
      "nanmean(Tensor input, int[]? dim=None, bool keepdim=False, *, dtype? dtype=None)", kBoth,
      [](Args& a) { return nanmean(a.tensor(0), dims_or_all(a, 1), a.boolean(2), a.opt_dtype(3)); },
      "Mean of what is not NaN.");
  def(
      "prod(Tensor input, *, dtype? dtype=None)", kBoth, [](Args& a) { return prod(a.tensor(0), a.opt_dtype(1)); },
      "Product of all elements, or along dim.");
  def("prod(Tensor input, int dim, bool keepdim=False, *, dtype? dtype=None)", kBoth,
      [](Args& a) { return prod(a.tensor(0), a.i64(1), a.boolean(2), a.opt_dtype(3)); });
  def(
      "amax(Tensor input, int[]? dim=None, bool keepdim=False)", kBoth,
      [](Args& a) { return amax(a.tensor(0), dims_or_all(a, 1), a.boolean(2)); },
      "Largest elements; ties share the gradient.");
  def(
      "amin(Tensor input, int[]? dim=None, bool keepdim=False)", kBoth,
      [](Args& a) { return amin(a.tensor(0), dims_or_all(a, 1), a.boolean(2)); },
      "Smallest elements; ties share the gradient.");
  def("aminmax(Tensor input, *, int? dim=None, bool keepdim=False)", kBoth | kFreshOut | kExactOut, [](Args& a) {
    const auto r = aminmax(a.tensor(0), a.opt_i64(1), a.boolean(2));
    return named("aminmax", {"min", "max"}, {r.first, r.second});
  });
  def(
      "max(Tensor input)", kBoth, [](Args& a) { return whole_extreme(a.tensor(0), true); },
      "Largest element; with dim: (values, indices); with other: elementwise.");
  def("max(Tensor input, int dim, bool keepdim=False)", kBoth, [](Args& a) {
    const auto r = max(a.tensor(0), a.i64(1), a.boolean(2));
    return named("max", {"values", "indices"}, {r.first, r.second});
  });
  def("max(Tensor input, Tensor other)", kBoth, [](Args& a) { return maximum(a.tensor(0), a.tensor(1)); });
  def(
      "min(Tensor input)", kBoth, [](Args& a) { return whole_extreme(a.tensor(0), false); },
      "Smallest element; with dim: (values, indices); with other: elementwise.");
  def("min(Tensor input, int dim, bool keepdim=False)", kBoth, [](Args& a) {
    const auto r = min(a.tensor(0), a.i64(1), a.boolean(2));
    return named("min", {"values", "indices"}, {r.first, r.second});
  });
  def("min(Tensor input, Tensor other)", kBoth, [](Args& a) { return minimum(a.tensor(0), a.tensor(1)); });
  def(
      "argmax(Tensor input, int? dim=None, bool keepdim=False)", kBoth,
      [](Args& a) {
        const Tensor r = argmax(a.tensor(0), a.opt_i64(1), a.boolean(2));
        return !a.given(1) && a.boolean(2) ? reshape(r, Dims::filled(a.tensor(0).dim(), 1)) : r;
      },
      "Index of the first largest element (of the flattened tensor without dim).");
  def(
      "argmin(Tensor input, int? dim=None, bool keepdim=False)", kBoth,
      [](Args& a) {
        const Tensor r = argmin(a.tensor(0), a.opt_i64(1), a.boolean(2));
        return !a.given(1) && a.boolean(2) ? reshape(r, Dims::filled(a.tensor(0).dim(), 1)) : r;
      },
      "Index of the first smallest element (of the flattened tensor without dim).");
  def(
      "any(Tensor input, int[]? dim=None, bool keepdim=False)", kBoth,
      [](Args& a) { return any(a.tensor(0), dims_or_all(a, 1), a.boolean(2)); }, "Whether an element is nonzero.");
  def(
      "all(Tensor input, int[]? dim=None, bool keepdim=False)", kBoth,
      [](Args& a) { return all(a.tensor(0), dims_or_all(a, 1), a.boolean(2)); }, "Whether all elements are nonzero.");
  def("count_nonzero(Tensor input, int[]? dim=None)", kBoth,
      [](Args& a) { return count_nonzero(a.tensor(0), dims_or_all(a, 1)); });
  def(
      "logsumexp(Tensor input, int[] dim, bool keepdim=False)", kBoth | kSpecial,
      [](Args& a) { return logsumexp(a.tensor(0), a.dims(1), a.boolean(2)); },
      "log of the sum of exp over dim, without overflow.");

  // unbiased= is the older way to say correction = 1 or 0.
  def("var(Tensor input, bool unbiased)", kBoth, [](Args& a) { return var(a.tensor(0), {}, a.boolean(1)); });
  def(
      "var(Tensor input, int[]? dim=None, *, Scalar? correction=None, bool keepdim=False)", kBoth,
      [](Args& a) { return var(a.tensor(0), dims_or_all(a, 1), correction(a, 2), a.boolean(3)); },
      "Variance: squared deviations over n - correction (1 by default).");
  def("var(Tensor input, int[]? dim=None, bool unbiased=True, bool keepdim=False)", kBoth,
      [](Args& a) { return var(a.tensor(0), dims_or_all(a, 1), a.boolean(2), a.boolean(3)); });
  def("std(Tensor input, bool unbiased)", kBoth, [](Args& a) { return stddev(a.tensor(0), {}, a.boolean(1)); });
  def(
      "std(Tensor input, int[]? dim=None, *, Scalar? correction=None, bool keepdim=False)", kBoth,
      [](Args& a) { return stddev(a.tensor(0), dims_or_all(a, 1), correction(a, 2), a.boolean(3)); },
      "Standard deviation: the root of var.");
  def("std(Tensor input, int[]? dim=None, bool unbiased=True, bool keepdim=False)", kBoth,
      [](Args& a) { return stddev(a.tensor(0), dims_or_all(a, 1), a.boolean(2), a.boolean(3)); });
  def("var_mean(Tensor input, bool unbiased)", kFunction,
      [](Args& a) { return var_mean(a.tensor(0), {}, a.boolean(1)); });
  def("var_mean(Tensor input, int[]? dim=None, *, Scalar? correction=None, bool keepdim=False)", kFunction,
      [](Args& a) { return var_mean(a.tensor(0), dims_or_all(a, 1), correction(a, 2), a.boolean(3)); });
  def("var_mean(Tensor input, int[]? dim=None, bool unbiased=True, bool keepdim=False)", kFunction,
      [](Args& a) { return var_mean(a.tensor(0), dims_or_all(a, 1), a.boolean(2), a.boolean(3)); });
  def("std_mean(Tensor input, bool unbiased)", kFunction,
      [](Args& a) { return std_mean(a.tensor(0), {}, a.boolean(1)); });
  def("std_mean(Tensor input, int[]? dim=None, *, Scalar? correction=None, bool keepdim=False)", kFunction,
      [](Args& a) { return std_mean(a.tensor(0), dims_or_all(a, 1), correction(a, 2), a.boolean(3)); });
  def("std_mean(Tensor input, int[]? dim=None, bool unbiased=True, bool keepdim=False)", kFunction,
      [](Args& a) { return std_mean(a.tensor(0), dims_or_all(a, 1), a.boolean(2), a.boolean(3)); });

  def(
      "norm(Tensor input, Scalar? p=2, int[]? dim=None, bool keepdim=False, dtype? dtype=None)", kBoth,
      [](Args& a) {
        return vector_norm(a.tensor(0), a.given(1) ? a.f64(1) : 2.0, dims_or_all(a, 2), a.boolean(3), a.opt_dtype(4));
      },
      "Vector norm of order p over dim.");
  def("norm(Tensor input, str p, int[]? dim=None, bool keepdim=False, dtype? dtype=None)", kBoth, [](Args& a) {
    if (a.str(1) == "nuc") return nuclear_norm(a, "norm");
    return vector_norm(a.tensor(0), order_of(a.str(1), "norm"), dims_or_all(a, 2), a.boolean(3), a.opt_dtype(4));
  });
  def(
      "vector_norm(Tensor x, Scalar ord=2, int[]? dim=None, bool keepdim=False, *, dtype? dtype=None)", kLinalg,
      [](Args& a) { return vector_norm(a.tensor(0), a.f64(1), dims_or_all(a, 2), a.boolean(3), a.opt_dtype(4)); },
      "(sum |x|^ord)^(1/ord) over dim.");
  def("norm(Tensor A, Scalar? ord=None, int[]? dim=None, bool keepdim=False, dtype? dtype=None)", kLinalg,
      [](Args& a) { return linalg_norm(a, a.given(1) ? std::optional<double>(a.f64(1)) : std::nullopt, false); });
  def("norm(Tensor A, str ord, int[]? dim=None, bool keepdim=False, dtype? dtype=None)", kLinalg, [](Args& a) {
    if (a.str(1) == "nuc") return nuclear_norm(a, "linalg.norm");
    order_of(a.str(1), "linalg.norm");
    return linalg_norm(a, std::nullopt, true);
  });
  def("matrix_norm(Tensor A, Scalar ord, int[] dim=[-2, -1], bool keepdim=False, *, dtype? dtype=None)", kLinalg,
      [](Args& a) {
        const Dims d = a.dims(2);
        FS_CHECK(d.n == 2, "linalg.matrix_norm: dim must be a 2-tuple. Got ", d);
        return matrix_norm(a.tensor(0), a.f64(1), d[0], d[1], a.boolean(3), a.opt_dtype(4));
      });
  def("matrix_norm(Tensor A, str ord='fro', int[] dim=[-2, -1], bool keepdim=False, *, dtype? dtype=None)", kLinalg,
      [](Args& a) {
        if (a.str(1) == "nuc") return nuclear_norm(a, "linalg.matrix_norm");
        order_of(a.str(1), "linalg.matrix_norm");
        FS_CHECK(a.tensor(0).dim() >= 2,
                 "linalg.matrix_norm: The input tensor A must have at least 2 dimensions, got shape ",
                 a.tensor(0).sizes());
        return vector_norm(a.tensor(0), 2, a.dims(2), a.boolean(3), a.opt_dtype(4));
      });
  def(
      "dist(Tensor input, Tensor other, Scalar p=2)", kBoth,
      [](Args& a) { return vector_norm(a.tensor(0) - a.tensor(1), a.f64(2)); }, "Norm of order p of input - other.");
  def("renorm(Tensor input, Scalar p, int dim, Scalar maxnorm)", kBoth | kInPlace,
      [](Args& a) { return renorm(a.tensor(0), a.f64(1), a.i64(2), a.f64(3)); });
  def(
      "normalize(Tensor input, float p=2.0, int dim=1, float eps=1e-12)", kNN,
      [](Args& a) { return normalize(a.tensor(0), a.f64(1), a.i64(2), a.f64(3)); },
      "x / max(norm of order p along dim, eps).");

  def("quantile(Tensor input, float q, int? dim=None, bool keepdim=False, *, str interpolation='linear')", kBoth,
      [](Args& a) { return quantile_of(a, as_tensor(a.object(1)) ? a.tensor(1) : fraction(a), false); });
  def("quantile(Tensor input, Tensor q, int? dim=None, bool keepdim=False, *, str interpolation='linear')", kBoth,
      [](Args& a) { return quantile_of(a, a.tensor(1), false); });
  def("nanquantile(Tensor input, float q, int? dim=None, bool keepdim=False, *, str interpolation='linear')", kBoth,
      [](Args& a) { return quantile_of(a, as_tensor(a.object(1)) ? a.tensor(1) : fraction(a), true); });
  def("nanquantile(Tensor input, Tensor q, int? dim=None, bool keepdim=False, *, str interpolation='linear')", kBoth,
      [](Args& a) { return quantile_of(a, a.tensor(1), true); });
}

FS_BINDINGS(scan) {
  def(
      "cumsum(Tensor input, int dim, *, dtype? dtype=None)", kBoth | kInPlace,
      [](Args& a) { return cumsum(a.tensor(0), a.i64(1), a.opt_dtype(2)); }, "Running sum along dim.");
  def(
      "cumprod(Tensor input, int dim, *, dtype? dtype=None)", kBoth | kInPlace,
      [](Args& a) { return cumprod(a.tensor(0), a.i64(1), a.opt_dtype(2)); }, "Running product along dim.");
  def("cummax(Tensor input, int dim)", kBoth, [](Args& a) {
    const auto r = cummax(a.tensor(0), a.i64(1));
    return named("cummax", {"values", "indices"}, {r.first, r.second});
  });
  def("cummin(Tensor input, int dim)", kBoth, [](Args& a) {
    const auto r = cummin(a.tensor(0), a.i64(1));
    return named("cummin", {"values", "indices"}, {r.first, r.second});
  });
  def(
      "diff(Tensor input, int n=1, int dim=-1, Tensor? prepend=None, Tensor? append=None)", kBoth,
      [](Args& a) {
        if (a.i64(1) == 0) return clone(a.tensor(0));  // as PyTorch: nothing is joined on
        std::vector<Tensor> parts;
        for (int i : {3, 0, 4})
          if (a.given(i)) parts.push_back(a.tensor(i));
        return diff(parts.size() == 1 ? parts[0] : cat(parts, a.i64(2)), a.i64(1), a.i64(2));
      },
      "n-th differences along dim.");
  def("logcumsumexp(Tensor input, int dim)", kBoth, [](Args& a) { return logcumsumexp(a.tensor(0), a.i64(1)); });
}

}  // namespace fireseed::bind

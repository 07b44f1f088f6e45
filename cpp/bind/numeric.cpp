// Python functions of numerical analysis: gradient, trapezoid, cov, histogram, unravel_index.
#include "ops/numeric.h"

#include "bind/fast_call.h"
#include "ops/pointwise.h"

namespace fireseed::bind {
namespace {

constexpr unsigned kBoth = kFunction | kMethod;

// The items of a list or tuple; a single object counts as a list of one.
std::vector<PyObject*> items(PyObject* o) {
  if (!PyTuple_Check(o) && !PyList_Check(o)) return {o};
  return {PySequence_Fast_ITEMS(o), PySequence_Fast_ITEMS(o) + PySequence_Fast_GET_SIZE(o)};
}
double number(PyObject* o) {
  const double v = PyFloat_AsDouble(o);
  if (v == -1 && PyErr_Occurred()) throw PythonError{};
  return v;
}
int64_t whole(PyObject* o) {
  const int64_t v = PyLong_AsLongLong(o);
  if (v == -1 && PyErr_Occurred()) throw PythonError{};
  return v;
}
bool holds_tensors(PyObject* o) {
  const std::vector<PyObject*> list = items(o);
  return !list.empty() && as_tensor(list[0]);
}
std::vector<Tensor> tensors_in(PyObject* o) {
  std::vector<Tensor> r;
  for (PyObject* item : items(o)) {
    const Tensor* t = as_tensor(item);
    FS_CHECK_TYPE(t, "expected a list of tensors");
    r.push_back(*t);
  }
  return r;
}

std::vector<Tensor> gradient_of(Args& a) {
  const Tensor& x = a.tensor(0);
  Dims dims;
  if (a.given(2)) dims = a.dims(2);
  else
    for (int64_t d = 0; d < x.dim(); ++d) dims.push_back(d);
  const int64_t order = a.i64(3);
  const bool list = a.given(1) && (PyTuple_Check(a.object(1)) || PyList_Check(a.object(1)));
  if (a.given(1) && holds_tensors(a.object(1))) {
    const std::vector<Tensor> c = tensors_in(a.object(1));
    if (list || c[0].dim() > 0) return gradient(x, c, dims, order);
    return gradient(x, std::vector<double>(static_cast<size_t>(dims.n), item(c[0]).to_double()), dims, order);
  }
  std::vector<double> spacing(static_cast<size_t>(dims.n), 1.0);
  if (list) {
    spacing.clear();
    for (PyObject* item : items(a.object(1))) spacing.push_back(number(item));
  } else if (a.given(1)) {
    spacing.assign(static_cast<size_t>(dims.n), number(a.object(1)));
  }
  return gradient(x, spacing, dims, order);
}

Named histogram_result(const std::pair<Tensor, Tensor>& r) {
  return named("histogram", {"hist", "bin_edges"}, {r.first, r.second});
}

}  // namespace

FS_BINDINGS(numeric) {
  def(
      "gradient(Tensor input, *, object spacing=None, int[]? dim=None, int edge_order=1)", kFunction,
      [](Args& a) { return gradient_of(a); }, "Derivatives along each dimension by central differences.");
  for (const char* name : {"trapezoid", "trapz"}) {
    const std::string with_x = std::string(name) + "(Tensor y, Tensor x, *, int dim=-1)";
    const std::string with_dx = std::string(name) + "(Tensor y, *, Scalar dx=1, int dim=-1)";
    def(
        with_x.c_str(), kFunction, [](Args& a) { return trapezoid(a.tensor(0), a.tensor(1), a.i64(2)); },
        "Integral of y along dim by the trapezoid rule.");
    def(with_dx.c_str(), kFunction, [](Args& a) { return trapezoid(a.tensor(0), a.f64(1), a.i64(2)); });
  }
  def(
      "cumulative_trapezoid(Tensor y, Tensor x, *, int dim=-1)", kFunction,
      [](Args& a) { return cumulative_trapezoid(a.tensor(0), a.tensor(1), a.i64(2)); },
      "Running integral of y along dim by the trapezoid rule.");
  def("cumulative_trapezoid(Tensor y, *, Scalar dx=1, int dim=-1)", kFunction,
      [](Args& a) { return cumulative_trapezoid(a.tensor(0), a.f64(1), a.i64(2)); });
  def("cov(Tensor input, *, int correction=1, Tensor? fweights=None, Tensor? aweights=None)", kBoth,
      [](Args& a) { return cov(a.tensor(0), a.i64(1), a.opt_tensor(2), a.opt_tensor(3)); });
  def("corrcoef(Tensor input)", kBoth, [](Args& a) { return corrcoef(a.tensor(0)); });

  def(
      "_unravel_index(Tensor indices, int[] shape)", kPrivate,
      [](Args& a) {
        const Dims shape = a.dims(1);
        return unravel_index(a.tensor(0), std::vector<int64_t>(shape.begin(), shape.end()));
      },
      "Coordinates of row-major positions in an array of this shape.");
  def(
      "histogram(Tensor input, Tensor bins, *, Tensor? weight=None, bool density=False)", kBoth,
      [](Args& a) {
        return histogram_result({histogram(a.tensor(0), a.tensor(1), a.opt_tensor(2), a.boolean(3)), a.tensor(1)});
      },
      "Counts, or sums of weights, of the elements in bins; (hist, bin_edges).");
  def("histogram(Tensor input, int bins=100, *, object range=None, Tensor? weight=None, bool density=False)", kBoth,
      [](Args& a) {
        std::optional<std::pair<double, double>> range;
        if (a.given(2)) {
          const std::vector<PyObject*> ends = items(a.object(2));
          FS_CHECK(ends.size() == 2, "torch.histogram: range should have 2 elements, but got ", ends.size());
          range = {number(ends[0]), number(ends[1])};
        }
        return histogram_result(histogram(a.tensor(0), a.i64(1), range, a.opt_tensor(3), a.boolean(4)));
      });
  def(
      "_histogramdd(Tensor input, object bins, object range=None, Tensor? weight=None, bool density=False)", kPrivate,
      [](Args& a) {
        const Tensor& x = a.tensor(0);
        std::vector<Tensor> edges;
        if (holds_tensors(a.object(1))) {
          edges = tensors_in(a.object(1));
        } else {
          std::vector<int64_t> bins;
          for (PyObject* item : items(a.object(1))) bins.push_back(whole(item));
          if (PyLong_Check(a.object(1)) && x.dim() > 0) bins.assign(static_cast<size_t>(x.size(-1)), bins[0]);
          std::vector<double> range;
          if (a.given(2))
            for (PyObject* item : items(a.object(2))) range.push_back(number(item));
          edges = histogramdd_edges(x, bins, range);
        }
        edges.insert(edges.begin(), histogramdd(x, edges, a.opt_tensor(3), a.boolean(4)));
        return edges;
      },
      "The histogram of points, then the edges of each dimension.");
}

}  // namespace fireseed::bind

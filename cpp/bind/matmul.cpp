// Python names of the matrix products.
#include "bind/fast_call.h"
#include "ops/matmul.h"
#include "ops/shape.h"

namespace fireseed::bind {
namespace {

// dims of tensordot: an int (the last of a with the first of b), or two lists of axes.
Tensor tensordot_ints(const Tensor& a, const Tensor& b, int64_t n) {
  FS_CHECK(n >= 0, "tensordot expects dims >= 0, but got dims=", n);
  FS_CHECK(n <= a.dim() && n <= b.dim(), "tensordot expects dims < ndim_a or ndim_b, but got dims=", n);
  Dims da, db;
  for (int64_t i = 0; i < n; ++i) {
    da.push_back(i - n);
    db.push_back(i);
  }
  return tensordot(a, b, da, db);
}

// One of tensordot's two lists of axes: an int or a sequence of ints.
Dims axes_of(PyObject* o) {
  Dims d;
  if (PyLong_Check(o)) {
    d.push_back(PyLong_AsLongLong(o));
    return d;
  }
  PyObject* fast = PySequence_Fast(o, "tensordot(): dims must be an int or two sequences of ints");
  if (!fast) throw PythonError();
  for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(fast); ++i) {
    const long long v = PyLong_AsLongLong(PySequence_Fast_GET_ITEM(fast, i));
    if (v == -1 && PyErr_Occurred()) break;
    d.push_back(v);
  }
  Py_DECREF(fast);
  if (PyErr_Occurred()) throw PythonError();
  return d;
}

Tensor tensordot_lists(const Tensor& a, const Tensor& b, PyObject* dims) {
  if (const Tensor* t = as_tensor(dims)) {  // an int tensor: one number, or two rows
    if (t->numel() == 1) return tensordot_ints(a, b, item(*t).to_int());
    FS_CHECK(t->dim() == 2 && t->size(0) == 2,
             "tensordot(): dims as a tensor must hold one number or two rows, got shape ", t->sizes());
    Dims da, db;
    for (int64_t i = 0; i < t->size(1); ++i) {
      da.push_back(item(select(select(*t, 0, 0), 0, i)).to_int());
      db.push_back(item(select(select(*t, 0, 1), 0, i)).to_int());
    }
    return tensordot(a, b, da, db);
  }
  FS_CHECK_TYPE(PySequence_Check(dims) && PySequence_Size(dims) == 2,
                "tensordot(): dims must be an int or two sequences of ints, got ", Py_TYPE(dims)->tp_name);
  PyObject *first = PySequence_GetItem(dims, 0), *second = PySequence_GetItem(dims, 1);
  struct Drop {
    PyObject *a, *b;
    ~Drop() {
      Py_XDECREF(a);
      Py_XDECREF(b);
    }
  } drop{first, second};
  if (!first || !second) throw PythonError();
  return tensordot(a, b, axes_of(first), axes_of(second));
}

Tensor einsum_operands(Args& a, int count) {
  std::vector<Tensor> operands;
  for (int i = 1; i <= count; ++i)
    if (a.given(i)) operands.push_back(a.tensor(i));
  return einsum(a.str(0), operands);
}

}  // namespace

FS_BINDINGS(matmul) {
  def(
      "matmul(Tensor input, Tensor other)", kFunction | kMethod,
      [](Args& a) { return matmul(a.tensor(0), a.tensor(1)); },
      "Matrix product of vectors, matrices or batches of them, as numpy.matmul: (..., m, k) (..., k, n) -> (..., m, "
      "n).");
  def(
      "mm(Tensor input, Tensor mat2)", kFunction | kMethod, [](Args& a) { return mm(a.tensor(0), a.tensor(1)); },
      "(m, k) (k, n) -> (m, n).");
  def(
      "bmm(Tensor input, Tensor mat2)", kFunction | kMethod, [](Args& a) { return bmm(a.tensor(0), a.tensor(1)); },
      "(b, m, k) (b, k, n) -> (b, m, n).");
  def(
      "mv(Tensor input, Tensor vec)", kFunction | kMethod, [](Args& a) { return mv(a.tensor(0), a.tensor(1)); },
      "(m, k) (k) -> (m).");
  def(
      "dot(Tensor input, Tensor tensor)", kFunction | kMethod, [](Args& a) { return dot(a.tensor(0), a.tensor(1)); },
      "Sum of products of two vectors of one length.");
  def(
      "vdot(Tensor input, Tensor other)", kFunction | kMethod, [](Args& a) { return dot(a.tensor(0), a.tensor(1)); },
      "dot (there are no complex numbers here).");
  def(
      "outer(Tensor input, Tensor vec2)", kFunction | kMethod,
      [](Args& a) { return outer(a.tensor(0), a.tensor(1)); }, "(m) (n) -> (m, n).");
  def(
      "ger(Tensor input, Tensor vec2)", kFunction | kMethod, [](Args& a) { return outer(a.tensor(0), a.tensor(1)); },
      "outer.");
  def(
      "inner(Tensor input, Tensor other)", kFunction | kMethod,
      [](Args& a) { return inner(a.tensor(0), a.tensor(1)); }, "Sum of products over the last axes.");
  def(
      "addmm(Tensor input, Tensor mat1, Tensor mat2, *, Scalar beta=1, Scalar alpha=1)",
      kFunction | kMethod | kInPlace,
      [](Args& a) { return addmm(a.tensor(0), a.tensor(1), a.tensor(2), a.scalar(3), a.scalar(4)); },
      "beta * input + alpha * (mat1 @ mat2).");
  def(
      "baddbmm(Tensor input, Tensor batch1, Tensor batch2, *, Scalar beta=1, Scalar alpha=1)",
      kFunction | kMethod | kInPlace,
      [](Args& a) { return baddbmm(a.tensor(0), a.tensor(1), a.tensor(2), a.scalar(3), a.scalar(4)); },
      "beta * input + alpha * bmm(batch1, batch2).");
  def(
      "addbmm(Tensor input, Tensor batch1, Tensor batch2, *, Scalar beta=1, Scalar alpha=1)",
      kFunction | kMethod | kInPlace,
      [](Args& a) { return addbmm(a.tensor(0), a.tensor(1), a.tensor(2), a.scalar(3), a.scalar(4)); },
      "beta * input + alpha * (bmm(batch1, batch2) summed over the batch).");
  def(
      "addmv(Tensor input, Tensor mat, Tensor vec, *, Scalar beta=1, Scalar alpha=1)", kFunction | kMethod | kInPlace,
      [](Args& a) { return addmv(a.tensor(0), a.tensor(1), a.tensor(2), a.scalar(3), a.scalar(4)); },
      "beta * input + alpha * (mat @ vec).");
  def(
      "addr(Tensor input, Tensor vec1, Tensor vec2, *, Scalar beta=1, Scalar alpha=1)",
      kFunction | kMethod | kInPlace,
      [](Args& a) { return addr(a.tensor(0), a.tensor(1), a.tensor(2), a.scalar(3), a.scalar(4)); },
      "beta * input + alpha * outer(vec1, vec2).");
  def(
      "linear(Tensor input, Tensor weight, Tensor? bias=None)", kNN,
      [](Args& a) { return linear(a.tensor(0), a.tensor(1), a.opt_tensor(2)); },
      "input (..., in) weight (out, in) bias (out): input @ weight.T + bias.");
  def(
      "tensordot(Tensor a, Tensor b, int dims=2)", kFunction,
      [](Args& a) { return tensordot_ints(a.tensor(0), a.tensor(1), a.i64(2)); },
      "Sum of products over the last `dims` axes of a and the first of b, or over two lists of axes.");
  def("tensordot(Tensor a, Tensor b, object dims)", kFunction,
      [](Args& a) { return tensordot_lists(a.tensor(0), a.tensor(1), a.object(2)); });
  def(
      "einsum(str equation, Tensor a, Tensor? b=None, Tensor? c=None, Tensor? d=None, Tensor? e=None, Tensor? "
      "f=None, "
      "Tensor? g=None, Tensor? h=None)",
      kFunction, [](Args& a) { return einsum_operands(a, 8); }, "Sums of products in Einstein's notation.");
  def(
      "einsum(str equation, Tensor[] operands)", kFunction, [](Args& a) { return einsum(a.str(0), a.tensors(1)); },
      "Sums of products in Einstein's notation.");
  def("matmul(Tensor input, Tensor other)", kLinalg, [](Args& a) { return matmul(a.tensor(0), a.tensor(1)); });
  def(
      "multi_dot(Tensor[] tensors)", kLinalg, [](Args& a) { return multi_dot(a.tensors(0)); },
      "Product of a chain of matrices, multiplied in the cheapest order.");
}

}  // namespace fireseed::bind

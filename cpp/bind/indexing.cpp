// x[index] and x[index] = value: ints, slices, None, Ellipsis, bools, lists, arrays and tensors.
#include "bind/python_types.h"

#include "engine/mode.h"
#include "ops/copy.h"
#include "ops/creation.h"
#include "ops/index.h"
#include "ops/shape.h"

namespace fireseed::bind {

namespace {

// Note [Indexing]
// Basic parts (ints, slices, None, Ellipsis) become views, left to right; tensor parts are collected with the
// dimension they stand at, and one gather (index) or scatter (index_put_) follows, as in numpy.
struct Parsed {
  Tensor view;
  std::vector<Tensor> indices;  // by dimension of `view`; empty where only basic parts came
};

std::optional<int64_t> slice_bound(PyObject* o) {
  if (o == Py_None) return std::nullopt;
  if (PyLong_Check(o)) return PyNumber_AsSsize_t(o, nullptr);  // beyond 64 bits: the nearest
  int64_t v;
  FS_CHECK_TYPE(to_int(o, v), "slice indices must be integers or None or have an __index__ method, got ",
                Py_TYPE(o)->tp_name);
  return v;
}

// An int index; IndexError where it is none or does not fit dimension `dim` of that size.
int64_t checked_int(PyObject* o, int64_t dim, int64_t size) {
  int overflow = 0;
  int64_t v = 0;
  if (PyLong_Check(o)) v = PyLong_AsLongLongAndOverflow(o, &overflow);
  else FS_CHECK_INDEX(to_int(o, v), "an index must be an int, got ", Py_TYPE(o)->tp_name);
  if (overflow) {
    fail(ErrorKind::kIndex, "index beyond ", overflow > 0 ? "2**63" : "-2**63", " is out of bounds for dimension ",
         dim, " with size ", size);
  }
  FS_CHECK_INDEX(v >= -size && v < size, "index ", v, " is out of bounds for dimension ", dim, " with size ", size);
  return v;
}

// As in PyTorch a list with slices, None, Ellipsis or tensors in it is meant as a tuple.
bool is_tuple_in_disguise(PyObject* index) {
  if (!PyList_Check(index) || PyList_GET_SIZE(index) > 32) return false;
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(index); ++i) {
    PyObject* o = PyList_GET_ITEM(index, i);
    if (PySlice_Check(o) || o == Py_None || o == Py_Ellipsis || is_tensor(o)) return true;
  }
  return false;
}

Tensor apply_slice(const Tensor& x, int64_t dim, PyObject* s) {
  auto* p = reinterpret_cast<PySliceObject*>(s);
  if (p->start == Py_None && p->stop == Py_None && p->step == Py_None) return x;
  const int64_t step = slice_bound(p->step).value_or(1);
  FS_CHECK_VALUE(step > 0, "step must be greater than zero, got ", step, ". For a reversed tensor use flip(dims)");
  return slice(x, dim, slice_bound(p->start), slice_bound(p->stop), step);
}

bool is_plain_int(PyObject* o) {
  if (PyLong_Check(o)) return !PyBool_Check(o);
  return !is_tensor(o) && !PyFloat_Check(o) && PyIndex_Check(o) && is_numpy_scalar(o);
}

// A list or tuple that, as an index, stands for a tensor of integers or bools.
Tensor index_tensor(PyObject* o) {
  if (const Tensor* t = as_tensor(o)) {
    FS_CHECK_INDEX(is_integral(t->dtype()), "tensors used as indices must be long, int, byte or bool tensors, got ",
                   dtype_name(t->dtype()));
    return *t;
  }
  Tensor t = tensor_from_data(o, DType::kUndefined, true);
  if (t.numel() == 0 && t.is_floating()) t = to(t, DType::kInt64);
  FS_CHECK_INDEX(
      is_integral(t.dtype()),
      "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices (got ",
      Py_TYPE(o)->tp_name, ")");
  return t;
}

// How many dimensions of x one part takes.
int64_t consumed(PyObject* o) {
  if (o == Py_None || o == Py_Ellipsis || PyBool_Check(o)) return 0;
  if (const Tensor* t = as_tensor(o)) return t->dtype() == DType::kBool || t->dtype() == DType::kUInt8 ? t->dim() : 1;
  if (PyList_Check(o) || PyObject_CheckBuffer(o) || PySequence_Check(o)) {
    if (PyBytes_Check(o) || PyUnicode_Check(o)) return 1;
    if (is_plain_int(o)) return 1;
    Tensor t = tensor_from_data(o, DType::kUndefined, true);
    return t.dtype() == DType::kBool ? t.dim() : 1;
  }
  return 1;
}

Parsed parse(const Tensor& x, PyObject* index) {
  Parsed r;
  r.view = x;
  PyObject* one[1] = {index};
  PyObject** parts = one;
  Py_ssize_t n = 1;
  if (PyTuple_Check(index) || is_tuple_in_disguise(index)) {
    parts = PySequence_Fast_ITEMS(index);
    n = PySequence_Fast_GET_SIZE(index);
  }
  int64_t taken = 0;
  for (Py_ssize_t i = 0; i < n; ++i) taken += consumed(parts[i]);
  FS_CHECK_INDEX(taken <= x.dim(), "too many indices for tensor of dimension ", x.dim());
  int64_t dim = 0;
  bool ellipsis = false;
  for (Py_ssize_t i = 0; i < n; ++i) {
    PyObject* o = parts[i];
    if (is_plain_int(o)) {
      r.view = select(r.view, dim, checked_int(o, i, r.view.size(dim)));
      if (dim < static_cast<int64_t>(r.indices.size())) r.indices.erase(r.indices.begin() + dim);
    } else if (PySlice_Check(o)) {
      r.view = apply_slice(r.view, dim, o);
      ++dim;
    } else if (o == Py_Ellipsis) {
      FS_CHECK_INDEX(!ellipsis, "an index can only have a single ellipsis ('...')");
      ellipsis = true;
      dim += x.dim() - taken;
    } else if (o == Py_None) {
      r.view = unsqueeze(r.view, dim);
      ++dim;
    } else if (PyBool_Check(o)) {
      // A bool adds a dimension of size 1 or 0.
      r.view = unsqueeze(r.view, dim);
      r.indices.resize(static_cast<size_t>(dim) + 1);
      r.indices[static_cast<size_t>(dim)] = full(Dims{1}, Scalar(o == Py_True), DType::kBool);
      ++dim;
    } else if (!PyUnicode_Check(o) && !PyBytes_Check(o) &&
               (is_tensor(o) || PySequence_Check(o) || PyObject_CheckBuffer(o))) {
      Tensor t = index_tensor(o);
      if (t.dtype() == DType::kUInt8) t = to(t, DType::kBool);
      if (t.dim() == 0 && t.dtype() != DType::kBool && is_tensor(o)) {
        // A 0-dim integer tensor is an int.
        const int64_t v = item(t).to_int(), size = r.view.size(dim);
        FS_CHECK_INDEX(v >= -size && v < size, "index ", v, " is out of bounds for dimension ", i, " with size ",
                       size);
        r.view = select(r.view, dim, v);
        continue;
      }
      if (t.dtype() == DType::kBool && t.dim() == 0) {
        r.view = unsqueeze(r.view, dim);
        t = reshape(t, {1});
      }
      if (t.dtype() == DType::kBool) {
        for (int64_t k = 0; k < t.dim(); ++k)
          FS_CHECK_INDEX(t.size(k) == r.view.size(dim + k), "The shape of the mask ", t.sizes(), " at index ", k,
                         " does not match the shape of the indexed tensor ", r.view.sizes(), " at index ", dim + k);
      }
      const int64_t width = t.dtype() == DType::kBool ? t.dim() : 1;
      if (static_cast<int64_t>(r.indices.size()) < dim + width) r.indices.resize(static_cast<size_t>(dim + width));
      r.indices[static_cast<size_t>(dim)] = t;
      dim += width;
    } else {
      fail(PyUnicode_Check(o) || PyBytes_Check(o) ? ErrorKind::kType : ErrorKind::kIndex,
           "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid "
           "indices (got ",
           Py_TYPE(o)->tp_name, ")");
    }
  }
  return r;
}

// ops/index.h takes one tensor a dimension: a mask of k dims stands at the first of its k dims, the others left out.
std::vector<Tensor> packed(const Parsed& p) {
  std::vector<Tensor> out;
  for (size_t i = 0; i < p.indices.size();) {
    const Tensor& t = p.indices[i];
    out.push_back(t);
    i += t.defined() && t.dtype() == DType::kBool ? static_cast<size_t>(t.dim()) : 1;
  }
  return out;
}

bool any_index(const Parsed& p) {
  for (const Tensor& t : p.indices)
    if (t.defined()) return true;
  return false;
}

}  // namespace

PyObject* tensor_subscript(PyObject* self, PyObject* index) {
  return guarded([&]() -> PyObject* {
    const Tensor& x = *as_tensor(self);
    if (PyLong_CheckExact(index)) {
      FS_CHECK_INDEX(x.dim() > 0,
                     "invalid index of a 0-dim tensor. Use `tensor.item()` to convert a 0-dim tensor to a number");
      return wrap(select(x, 0, checked_int(index, 0, x.size(0))));
    }
    Parsed p = parse(x, index);
    if (any_index(p)) return wrap(fireseed::index(p.view, packed(p)));
    if (p.view.impl() == x.impl()) return wrap(alias_view(x));
    return wrap(p.view);
  });
}

int tensor_ass_subscript(PyObject* self, PyObject* index, PyObject* value) {
  PyObject* r = guarded([&]() -> PyObject* {
    FS_CHECK_TYPE(value, "Tensor does not support deleting items");
    const Tensor& x = *as_tensor(self);
    Parsed p;
    if (PyLong_CheckExact(index)) {
      FS_CHECK_INDEX(x.dim() > 0, "invalid index of a 0-dim tensor. Use x.fill_(value)");
      p.view = select(x, 0, checked_int(index, 0, x.size(0)));
    } else {
      p = parse(x, index);
    }
    Scalar s;
    const Tensor* v = as_tensor(value);
    Tensor made;
    if (!v && (PyFloat_CheckExact(value) || PyLong_CheckExact(value) || PyBool_Check(value)) && to_scalar(value, s)) {
      if (!any_index(p)) {
        fill_(p.view, s);
        return self;
      }
      made = scalar_tensor(s, p.view.dtype());
      v = &made;
    } else if (!v) {
      made = to(tensor_from_data(value, p.view.dtype(), true), p.view.dtype(), p.view.device());
      v = &made;
    }
    if (any_index(p)) {
      index_put_(p.view, packed(p), *v, false);
    } else {
      copy_(p.view, *v);
    }
    return self;
  });
  return r ? 0 : -1;
}

}  // namespace fireseed::bind

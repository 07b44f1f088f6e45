// Python data in and out: nested lists, numbers, the buffer protocol, numpy arrays.
#include "bind/python_types.h"

#include <cstring>
#include <memory>
#include <string>

#include "ops/copy.h"
#include "ops/creation.h"
#include "ops/shape.h"

namespace fireseed::bind {

namespace {

// dtype of a buffer format character ("f", "<i8" is never used by buffers; "@f", "=q" are).
DType dtype_of_format(const char* format, Py_ssize_t itemsize) {
  const char* f = format ? format : "B";
  if (*f == '@' || *f == '=' || *f == '<') ++f;
  if (*f == '>' || *f == '!') return DType::kUndefined;
  switch (*f) {
    case '?': return DType::kBool;
    case 'B': return DType::kUInt8;
    case 'b': return DType::kInt8;
    case 'e': return DType::kFloat16;
    case 'f': return DType::kFloat32;
    case 'd': return DType::kFloat64;
    case 'h':
    case 'i':
    case 'l':
    case 'q':
    case 'n':
      return itemsize == 8   ? DType::kInt64
             : itemsize == 4 ? DType::kInt32
             : itemsize == 2 ? DType::kInt16
                             : DType::kInt8;
    default: return DType::kUndefined;
  }
}

const char* format_of_dtype(DType t) {
  switch (t) {
    case DType::kBool: return "?";
    case DType::kUInt8: return "B";
    case DType::kInt8: return "b";
    case DType::kInt16: return "h";
    case DType::kInt32: return "i";
    case DType::kInt64: return "q";
    case DType::kFloat16: return "e";
    case DType::kFloat32: return "f";
    case DType::kFloat64: return "d";
    default: return nullptr;
  }
}

void release_buffer(void* context) {
  auto* view = static_cast<Py_buffer*>(context);
  if (Py_IsInitialized()) {
    PyGILState_STATE gil = PyGILState_Ensure();
    PyBuffer_Release(view);
    PyGILState_Release(gil);
  }
  delete view;
}

// --- Nested sequences ---------------------------------------------------------------------------------------------

bool is_sequence(PyObject* o) {
  return PyList_Check(o) || PyTuple_Check(o) ||
         (PySequence_Check(o) && !PyUnicode_Check(o) && !PyBytes_Check(o) && !is_tensor(o) && !PyDict_Check(o));
}

void measure(PyObject* data, Dims& sizes) {
  PyObject* at = data;
  std::vector<PyObject*> held;
  while (is_sequence(at)) {
    const Py_ssize_t n = PySequence_Size(at);
    if (n < 0) throw PythonError{};
    sizes.push_back(n);
    if (n == 0) break;
    at = PySequence_GetItem(at, 0);
    if (!at) throw PythonError{};
    held.push_back(at);
    if (const Tensor* t = as_tensor(at)) {
      for (int64_t s : t->sizes()) sizes.push_back(s);
      break;
    }
    if (PyObject_CheckBuffer(at) && !PyBytes_Check(at) && !is_numpy_scalar(at)) {
      Tensor t2 = tensor_from_buffer(at, false);
      for (int64_t s : t2.sizes()) sizes.push_back(s);
      break;
    }
  }
  for (PyObject* o : held) Py_DECREF(o);
}

// Category and dtype that the elements ask for, joined over all of them.
void infer_dtype(PyObject* data, DType& dtype) {
  auto join = [&](DType t) { dtype = dtype == DType::kUndefined ? t : promote_types(dtype, t); };
  if (PyFloat_Check(data) && !is_numpy_scalar(data)) return join(default_dtype());
  if (PyBool_Check(data)) return join(DType::kBool);
  if (PyLong_Check(data)) return join(DType::kInt64);
  if (const Tensor* t = as_tensor(data)) return join(t->dtype());
  if (is_numpy_scalar(data)) {
    const std::string name = Py_TYPE(data)->tp_name;
    for (int i = 0; i < kNumDTypes; ++i)
      if (name == std::string("numpy.") + dtype_name(static_cast<DType>(i)) ||
          name == std::string("numpy.") + dtype_name(static_cast<DType>(i)) + "_")
        return join(static_cast<DType>(i));
    if (name == "numpy.bool" || name == "numpy.bool_") return join(DType::kBool);
    if (name == "numpy.longlong") return join(DType::kInt64);
  }
  if (PyObject_CheckBuffer(data) && !PyBytes_Check(data)) return join(tensor_from_buffer(data, false).dtype());
  if (is_sequence(data)) {
    PyObject* fast = PySequence_Fast(data, "expected a sequence");
    if (!fast) throw PythonError{};
    const Py_ssize_t n = PySequence_Fast_GET_SIZE(fast);
    try {
      for (Py_ssize_t i = 0; i < n; ++i) infer_dtype(PySequence_Fast_GET_ITEM(fast, i), dtype);
    } catch (...) {
      Py_DECREF(fast);
      throw;
    }
    Py_DECREF(fast);
    return;
  }
  Scalar s;
  if (to_scalar(data, s))
    return join(s.kind == Scalar::kFloat ? default_dtype() : s.kind == Scalar::kBool ? DType::kBool : DType::kInt64);
  if (PyUnicode_Check(data)) fail(ErrorKind::kType, "new(): invalid data type 'str'");
  fail(ErrorKind::kRuntime, "Could not infer dtype of ", Py_TYPE(data)->tp_name);
}

// A number on its way into a tensor of dtype; false where data is none. Integers must fit; floats may become
// infinite.
bool element_value(PyObject* data, DType dtype, Scalar& s) {
  if (PyLong_CheckExact(data) && is_floating(dtype)) {
    s = Scalar(PyLong_AsDouble(data));
    if (PyErr_Occurred()) throw PythonError{};
    return true;
  }
  if (PyLong_CheckExact(data)) {
    int overflow;
    const long long v = PyLong_AsLongLongAndOverflow(data, &overflow);
    FS_CHECK_VALUE(!overflow, "tensor(): an int is too large for ", dtype_name(dtype),
                   " (int64 holds -2**63 to 2**63 - 1); give a float, or dtype=float64");
    s = Scalar(static_cast<int64_t>(v));
  } else if (!to_scalar(data, s)) {
    return false;
  }
  if (!is_floating(dtype)) check_fits(s, dtype, "tensor()");
  return true;
}

void fill_nested(PyObject* data, const Dims& sizes, int64_t depth, char*& p, DType dtype) {
  const size_t item_bytes = dtype_size(dtype);
  if (depth == sizes.n) {
    Scalar s;
    if (PyFloat_CheckExact(data) && dtype == DType::kFloat32) {
      const float f = static_cast<float>(PyFloat_AS_DOUBLE(data));
      std::memcpy(p, &f, 4);
    } else {
      if (is_sequence(data))
        fail(ErrorKind::kValue, "expected sequence of length ", 0, " at dim ", depth,
             ": the nested lists have unequal depths");
      FS_CHECK_TYPE(element_value(data, dtype, s), "must be real number, not ", Py_TYPE(data)->tp_name);
      write_element(p, dtype, s);
    }
    p += item_bytes;
    return;
  }
  if (as_tensor(data) || (PyObject_CheckBuffer(data) && !PyBytes_Check(data) && !is_numpy_scalar(data))) {
    Tensor t = as_tensor(data) ? *as_tensor(data) : tensor_from_buffer(data, false);
    const Dims rest(sizes.d + depth, sizes.n - depth);
    FS_CHECK_VALUE(t.sizes() == rest, "expected a tensor of shape ", rest, " at dim ", depth, ", got ", t.sizes());
    Tensor c = contiguous(to(detach(t), dtype, Device{}));
    const size_t bytes = static_cast<size_t>(c.numel()) * item_bytes;
    std::memcpy(p, c.impl()->data, bytes);
    p += bytes;
    return;
  }
  FS_CHECK_TYPE(is_sequence(data), "not a sequence");
  PyObject* fast = PySequence_Fast(data, "not a sequence");
  if (!fast) throw PythonError{};
  const Py_ssize_t n = PySequence_Fast_GET_SIZE(fast);
  try {
    FS_CHECK_VALUE(n == sizes[depth], "expected sequence of length ", sizes[depth], " at dim ", depth, " (got ", n,
                   ")");
    for (Py_ssize_t i = 0; i < n; ++i) fill_nested(PySequence_Fast_GET_ITEM(fast, i), sizes, depth + 1, p, dtype);
  } catch (...) {
    Py_DECREF(fast);
    throw;
  }
  Py_DECREF(fast);
}

}  // namespace

Tensor tensor_from_buffer(PyObject* o, bool) {
  auto view = std::make_unique<Py_buffer>();
  if (PyObject_GetBuffer(o, view.get(), PyBUF_RECORDS) < 0) {
    PyErr_Clear();
    if (PyObject_GetBuffer(o, view.get(), PyBUF_RECORDS_RO) < 0) {
      PyErr_Clear();
      fail(ErrorKind::kType, "can't convert ", Py_TYPE(o)->tp_name,
           " to a tensor: its buffer has no supported element type (float64, float32, float16, int64, int32, int16, "
           "int8, "
           "uint8 and bool are)");
    }
  }
  const DType dtype = dtype_of_format(view->format, view->itemsize);
  const std::string format = view->format ? view->format : "B";
  Dims sizes, strides;
  bool ok = dtype != DType::kUndefined && view->ndim <= kMaxRank, negative = false;
  for (int i = 0; ok && i < view->ndim; ++i) {
    sizes.push_back(view->shape[i]);
    const Py_ssize_t step = view->strides ? view->strides[i] : 0;
    negative |= step < 0;
    ok &= step % view->itemsize == 0;
    strides.push_back(step / view->itemsize);
  }
  if (!view->strides) strides = contiguous_strides(sizes);
  if (!ok || negative) {
    PyBuffer_Release(view.get());
    FS_CHECK_VALUE(format[0] != '>' && format[0] != '!',
                   "given numpy array has byte order different from the native byte order. Conversion between byte "
                   "orders is currently not supported: use array.astype(array.dtype.newbyteorder('='))");
    FS_CHECK_VALUE(!negative,
                   "At least one stride in the given numpy array is negative, and tensors with negative strides are "
                   "not currently supported. (You can probably work around this by making a copy of your array with "
                   "array.copy().)");
    fail(ErrorKind::kType, "can't convert an array of format '", format,
         "' to a tensor. The only supported types are: float64, float32, float16, int64, int32, int16, int8, uint8, "
         "and bool.");
  }
  int64_t extent = 1;
  for (int64_t i = 0; i < sizes.n; ++i)
    extent = sizes[i] == 0 || extent == 0 ? 0 : extent + (sizes[i] - 1) * strides[i];
  void* data = view->buf;
  const auto bytes = static_cast<size_t>(extent * view->itemsize);
  Py_buffer* raw = view.release();
  Tensor t = make_shell(sizes, dtype);
  t.impl()->storage = Storage::foreign(data, bytes, release_buffer, raw).release();
  t.impl()->data = static_cast<char*>(data);
  for (int64_t i = 0; i < sizes.n; ++i) t.impl()->strides[i] = strides[i];
  t.impl()->refresh_contiguous();
  return t;
}

Tensor tensor_from_data(PyObject* data, DType dtype, bool copy) {
  if (const Tensor* t = as_tensor(data)) {
    Tensor d = detach(*t);
    if (dtype != DType::kUndefined && dtype != d.dtype()) return to(d, dtype);
    return copy ? clone(d) : d;
  }
  if (PyFloat_CheckExact(data))
    return scalar_tensor(Scalar(PyFloat_AS_DOUBLE(data)), dtype == DType::kUndefined ? default_dtype() : dtype);
  if (PyObject_CheckBuffer(data) && !PyBytes_Check(data) && !is_numpy_scalar(data)) {
    Tensor t = tensor_from_buffer(data, false);
    if (dtype != DType::kUndefined && dtype != t.dtype()) return to(t, dtype);
    return copy ? clone(t) : t;
  }
  Dims sizes;
  const bool nested = is_sequence(data);
  if (nested) measure(data, sizes);
  if (dtype == DType::kUndefined) {
    infer_dtype(data, dtype);
    if (dtype == DType::kUndefined) dtype = default_dtype();
  }
  Tensor t = empty(sizes, dtype);
  char* p = t.impl()->data;
  if (!nested) {
    Scalar s;
    FS_CHECK_TYPE(element_value(data, dtype, s), "tensor(): cannot make a tensor of ", Py_TYPE(data)->tp_name,
                  "; give numbers, nested lists, arrays or tensors");
    write_element(p, dtype, s);
    return t;
  }
  fill_nested(data, sizes, 0, p, dtype);
  return t;
}

// --- Out ----------------------------------------------------------------------------------------------------------

namespace {

PyObject* element(const char* p, DType t) {
  if (t == DType::kFloat32) {
    float f;
    std::memcpy(&f, p, 4);
    return PyFloat_FromDouble(static_cast<double>(f));
  }
  return to_python(read_element(p, t));
}

PyObject* nested_list(const TensorImpl* t, const char* p, int64_t depth) {
  if (depth == t->ndim) return element(p, t->dtype);
  const int64_t n = t->sizes[depth];
  const int64_t step = t->strides[depth] * static_cast<int64_t>(dtype_size(t->dtype));
  PyObject* list = PyList_New(static_cast<Py_ssize_t>(n));
  if (!list) return nullptr;
  const bool numbers = depth + 1 == t->ndim;
  for (int64_t i = 0; i < n; ++i, p += step) {
    PyObject* e = numbers ? element(p, t->dtype) : nested_list(t, p, depth + 1);
    if (!e) {
      Py_DECREF(list);
      return nullptr;
    }
    PyList_SET_ITEM(list, static_cast<Py_ssize_t>(i), e);
  }
  return list;
}

struct BufferGeometry { Py_ssize_t shape[kMaxRank], strides[kMaxRank]; };

}  // namespace

PyObject* tensor_to_list(const Tensor& x) {
  if (!x.device().is_cpu()) return tensor_to_list(to(detach(x), x.dtype(), Device{}));
  return nested_list(x.impl(), x.impl()->data, 0);
}

int tensor_getbuffer(PyObject* self, Py_buffer* view, int flags) {
  const Tensor& t = *as_tensor(self);
  const char* format = format_of_dtype(t.dtype());
  if (!t.device().is_cpu()) {
    PyErr_SetString(PyExc_BufferError, "the memory of a CUDA tensor cannot be read here. Use tensor.cpu() first.");
    view->obj = nullptr;
    return -1;
  }
  if (t.requires_grad()) {
    PyErr_SetString(PyExc_BufferError,
                    "Can't give out the memory of a Tensor that requires grad. Use tensor.detach() first.");
    view->obj = nullptr;
    return -1;
  }
  if (!format) {
    PyErr_Format(PyExc_BufferError, "Got unsupported ScalarType %s: it has no buffer format; use .float() first",
                 dtype_name(t.dtype()));
    view->obj = nullptr;
    return -1;
  }
  if (!(flags & PyBUF_STRIDES) && !t.is_contiguous()) {
    PyErr_SetString(PyExc_BufferError, "the tensor is not contiguous; use .contiguous() first");
    view->obj = nullptr;
    return -1;
  }
  auto* g = new BufferGeometry;
  for (int64_t i = 0; i < t.dim(); ++i) {
    g->shape[i] = static_cast<Py_ssize_t>(t.size(i));
    g->strides[i] = static_cast<Py_ssize_t>(t.stride(i) * static_cast<int64_t>(t.itemsize()));
  }
  view->obj = self;
  Py_INCREF(self);
  view->buf = t.impl()->data;
  view->len = static_cast<Py_ssize_t>(t.numel() * static_cast<int64_t>(t.itemsize()));
  view->readonly = 0;
  view->itemsize = static_cast<Py_ssize_t>(t.itemsize());
  view->format = flags & PyBUF_FORMAT ? const_cast<char*>(format) : nullptr;
  view->ndim = static_cast<int>(t.dim());
  view->shape = flags & PyBUF_ND ? g->shape : nullptr;
  view->strides = (flags & PyBUF_STRIDES) == PyBUF_STRIDES ? g->strides : nullptr;
  view->suboffsets = nullptr;
  view->internal = g;
  return 0;
}

void tensor_releasebuffer(PyObject*, Py_buffer* view) { delete static_cast<BufferGeometry*>(view->internal); }

// numpy.ndarray(shape, dtype, buffer, 0, strides): numpy's own constructor on our buffer; zero copy.
PyObject* tensor_to_numpy(PyObject* self) {
  static PyObject *ndarray = nullptr, *dtypes[kNumDTypes];
  const Tensor& t = *as_tensor(self);
  if (!t.device().is_cpu()) {
    PyErr_Format(PyExc_TypeError,
                 "can't convert cuda:%d device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host "
                 "memory first.",
                 t.device().index);
    return nullptr;
  }
  if (!ndarray) {
    PyObject* np = PyImport_ImportModule("numpy");
    if (!np) return nullptr;
    ndarray = PyObject_GetAttrString(np, "ndarray");
    PyObject* dtype = PyObject_GetAttrString(np, "dtype");
    for (int i = 0; i < kNumDTypes; ++i) {
      if (static_cast<DType>(i) == DType::kBFloat16) continue;
      dtypes[i] = PyObject_CallFunction(dtype, "s", dtype_name(static_cast<DType>(i)));
      if (!dtypes[i]) return nullptr;
    }
    Py_DECREF(dtype);
    Py_DECREF(np);
  }
  PyObject* dtype = dtypes[static_cast<int>(t.dtype())];
  if (!dtype) {
    PyErr_Format(PyExc_TypeError, "Got unsupported ScalarType BFloat16: numpy has no bfloat16; use .float() first");
    return nullptr;
  }
  const Py_ssize_t n = static_cast<Py_ssize_t>(t.dim());
  PyObject* shape = PyTuple_New(n);
  for (Py_ssize_t i = 0; i < n; ++i) PyTuple_SET_ITEM(shape, i, PyLong_FromLongLong(t.size(i)));
  PyObject* args[5] = {shape, dtype, self, nullptr, nullptr};
  PyObject* r;
  if (t.numel() == 0) {
    r = PyObject_Vectorcall(ndarray, args, 2, nullptr);
  } else if (t.is_contiguous()) {
    r = PyObject_Vectorcall(ndarray, args, 3, nullptr);
  } else {
    // Any strides: the buffer is the storage, from this tensor's first element on.
    const auto extent_bytes = static_cast<Py_ssize_t>(t.impl()->storage->nbytes) -
                              static_cast<Py_ssize_t>(t.impl()->offset * static_cast<int64_t>(t.itemsize()));
    PyObject* flat = guarded([&]() -> PyObject* {
      const int64_t one = 1, count = extent_bytes / static_cast<int64_t>(t.itemsize());
      return wrap(alias(t, &count, &one, 1, t.impl()->offset));
    });
    if (!flat) return nullptr;
    PyObject* strides = PyTuple_New(n);
    for (Py_ssize_t i = 0; i < n; ++i)
      PyTuple_SET_ITEM(strides, i, PyLong_FromLongLong(t.stride(i) * static_cast<int64_t>(t.itemsize())));
    args[2] = flat;
    args[3] = PyLong_FromLong(0);
    args[4] = strides;
    r = PyObject_Vectorcall(ndarray, args, 5, nullptr);
    Py_DECREF(flat);
    Py_DECREF(args[3]);
    Py_DECREF(strides);
  }
  Py_DECREF(shape);
  return r;
}

}  // namespace fireseed::bind

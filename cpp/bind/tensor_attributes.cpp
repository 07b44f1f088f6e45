// Attributes of Tensor: x.shape, x.grad, x.data, …
#include "bind/function.h"
#include "bind/python_types.h"
#include "bind/registry.h"
#include "engine/mode.h"
#include "engine/node.h"
#include "ops/copy.h"
#include "ops/shape.h"

namespace fireseed::bind {

namespace {

#define FS_GET(name) PyObject* get_##name(PyObject* self, void*)
const Tensor& self_tensor(PyObject* self) { return reinterpret_cast<PyTensor*>(self)->tensor; }

FS_GET(shape) {
  auto* o = reinterpret_cast<PyTensor*>(self);
  const TensorImpl* t = o->tensor.impl();
  if (PyObject* s = o->shape) {
    bool same = PyTuple_GET_SIZE(s) == t->ndim;
    for (int i = 0; same && i < t->ndim; ++i) same = PyLong_AsLongLong(PyTuple_GET_ITEM(s, i)) == t->sizes[i];
    if (same) {
      Py_INCREF(s);
      return s;
    }
    Py_CLEAR(o->shape);
  }
  PyObject* s = to_python(o->tensor.sizes());
  Py_XINCREF(s);
  o->shape = s;
  return s;
}
FS_GET(dtype) { return to_python(self_tensor(self).dtype()); }
FS_GET(device) { return to_python(self_tensor(self).device()); }
FS_GET(ndim) { return PyLong_FromLongLong(self_tensor(self).dim()); }
FS_GET(itemsize) { return PyLong_FromSize_t(self_tensor(self).itemsize()); }
FS_GET(nbytes) {
  return PyLong_FromSize_t(self_tensor(self).itemsize() * static_cast<size_t>(self_tensor(self).numel()));
}
FS_GET(requires_grad) {
  const Tensor& t = self_tensor(self);
  if (t.is_view() && !t.requires_grad()) grad_fn(t);
  return PyBool_FromLong(t.requires_grad());
}
FS_GET(is_leaf) { return PyBool_FromLong(grad_fn(self_tensor(self)) == nullptr); }
FS_GET(version) {
  return guarded([&]() -> PyObject* {
    FS_CHECK(!self_tensor(self).impl()->has(TensorImpl::kInference),
             "Inference tensors do not track version counter.");
    return PyLong_FromUnsignedLong(self_tensor(self).version());
  });
}
FS_GET(false) {
  (void)self;
  Py_RETURN_FALSE;
}
// The CUDA Array Interface, version 3 (Numba's): how CuPy, Numba and others see device memory.
FS_GET(cuda_array_interface) {
  return guarded([&]() -> PyObject* {
    const Tensor& t = self_tensor(self);
    if (t.device().is_cpu() || t.requires_grad() || t.dtype() == DType::kBFloat16) {
      PyErr_Format(PyExc_AttributeError, "Can't get __cuda_array_interface__ on %s",
                   t.device().is_cpu() ? "non-CUDA tensor; use tensor.cuda() first"
                   : t.requires_grad() ? "Variable that requires grad; use var.detach() first"
                                       : "a bfloat16 tensor: it has no code for that dtype");
      return nullptr;
    }
    const char kind = t.dtype() == DType::kBool    ? 'b'
                      : t.is_floating()            ? 'f'
                      : t.dtype() == DType::kUInt8 ? 'u'
                                                   : 'i';
    const int64_t size = static_cast<int64_t>(t.itemsize());
    PyObject* shape = PyTuple_New(static_cast<Py_ssize_t>(t.dim()));
    PyObject* strides = PyTuple_New(static_cast<Py_ssize_t>(t.dim()));
    for (int64_t i = 0; i < t.dim(); ++i) {
      PyTuple_SET_ITEM(shape, static_cast<Py_ssize_t>(i), PyLong_FromLongLong(t.size(i)));
      PyTuple_SET_ITEM(strides, static_cast<Py_ssize_t>(i), PyLong_FromLongLong(t.stride(i) * size));
    }
    return Py_BuildValue("{s:N,s:N,s:N,s:(NO),s:i}", "shape", shape, "strides", strides, "typestr",
                         PyUnicode_FromFormat("%c%c%d", size == 1 ? '|' : '<', kind, static_cast<int>(size)), "data",
                         PyLong_FromVoidPtr(t.numel() ? t.impl()->data : nullptr), Py_False, "version", 2);
  });
}
FS_GET(is_cuda) { return PyBool_FromLong(!self_tensor(self).device().is_cpu()); }
FS_GET(is_cpu) { return PyBool_FromLong(self_tensor(self).device().is_cpu()); }
FS_GET(retains_grad) { return PyBool_FromLong(self_tensor(self).impl()->has(TensorImpl::kRetainGrad)); }
FS_GET(grad) { return wrap(self_tensor(self).grad()); }
FS_GET(grad_fn) {
  Node* n = grad_fn(self_tensor(self));
  if (!n) Py_RETURN_NONE;
  return wrap_node(n);
}
FS_GET(base) {
  const Tensor& t = self_tensor(self);
  return wrap(Tensor::share(t.impl()->base));
}
FS_GET(data) {
  Tensor d = detached_alias(self_tensor(self));
  d.impl()->set(TensorImpl::kDetachedData, true);
  return wrap(d);
}
FS_GET(T) {
  return guarded([&]() -> PyObject* {
    const Tensor& t = self_tensor(self);
    Dims p;
    for (int64_t i = t.dim() - 1; i >= 0; --i) p.push_back(i);
    return wrap(permute(t, p));
  });
}
FS_GET(mT) {
  return guarded([&]() -> PyObject* { return wrap(matrix_transpose(self_tensor(self))); });
}
FS_GET(layout) {
  (void)self;
  PyObject* m = PyImport_ImportModule("fireseed");
  PyObject* r = m ? PyObject_GetAttrString(m, "strided") : nullptr;
  Py_XDECREF(m);
  return r;
}
FS_GET(names) {
  PyObject* r = PyTuple_New(static_cast<Py_ssize_t>(self_tensor(self).dim()));
  for (Py_ssize_t i = 0; r && i < PyTuple_GET_SIZE(r); ++i) {
    Py_INCREF(Py_None);
    PyTuple_SET_ITEM(r, i, Py_None);
  }
  return r;
}
FS_GET(array_priority) {
  (void)self;
  return PyFloat_FromDouble(1000.0);
}
FS_GET(output_nr) { return PyLong_FromLong(self_tensor(self).impl()->output_nr); }
FS_GET(none) {
  (void)self;
  Py_RETURN_NONE;
}

int assign_requires_grad(PyObject* self, PyObject* value, void*) {
  return guarded([&]() -> PyObject* {
    FS_CHECK(value, "cannot delete requires_grad");
    const int on = PyObject_IsTrue(value);
    if (on < 0) throw PythonError{};
    set_requires_grad(self_tensor(self), on);
    return self;
  })
             ? 0
             : -1;
}
int set_grad(PyObject* self, PyObject* value, void*) {
  return guarded([&]() -> PyObject* {
    const Tensor& t = self_tensor(self);
    if (!value || value == Py_None) {
      t.set_grad(Tensor());
      return self;
    }
    const Tensor* g = as_tensor(value);
    FS_CHECK_TYPE(g, "assigned grad expected to be a Tensor or None but got grad of type '", Py_TYPE(value)->tp_name,
                  "'");
    FS_CHECK(g->impl() != t.impl(), "can't assign Variable as its own grad");
    FS_CHECK(g->same_shape(t), "assigned grad has data of a different size: grad ", g->sizes(), ", tensor ",
             t.sizes());
    FS_CHECK(g->dtype() == t.dtype(), "assigned grad has data of a different type: grad ", dtype_name(g->dtype()),
             ", tensor ", dtype_name(t.dtype()));
    t.set_grad(*g);
    return self;
  })
             ? 0
             : -1;
}
// x.data = y: x takes over y's memory and geometry; history and identity stay.
int set_data(PyObject* self, PyObject* value, void*) {
  return guarded([&]() -> PyObject* {
    const Tensor* v = value ? as_tensor(value) : nullptr;
    FS_CHECK_TYPE(v, "Variable data has to be a tensor, but got ", value ? Py_TYPE(value)->tp_name : "nothing");
    TensorImpl* t = self_tensor(self).impl();
    const TensorImpl* s = v->impl();
    ref_inc(s->storage);
    if (t->storage) ref_dec(t->storage);
    t->storage = s->storage;
    t->data = s->data;
    t->offset = s->offset;
    t->dtype = s->dtype;
    t->device = s->device;
    t->ndim = s->ndim;
    for (int i = 0; i < s->ndim; ++i) {
      t->sizes[i] = s->sizes[i];
      t->strides[i] = s->strides[i];
    }
    t->refresh_contiguous();
    return self;
  })
             ? 0
             : -1;
}

PyObject* get_dict(PyObject* self, void* context) {
  PyObject* r = PyObject_GenericGetDict(self, context);
  if (r) track(self);
  return r;
}

}  // namespace

PyGetSetDef tensor_getset[] = {
    {"shape", get_shape, nullptr, "Sizes, as a Size.", nullptr},
    {"dtype", get_dtype, nullptr, "Element type.", nullptr},
    {"device", get_device, nullptr, "Where the memory lies.", nullptr},
    {"ndim", get_ndim, nullptr, "Number of dimensions.", nullptr},
    {"itemsize", get_itemsize, nullptr, "Bytes an element.", nullptr},
    {"nbytes", get_nbytes, nullptr, "Bytes of all elements.", nullptr},
    {"requires_grad", get_requires_grad, assign_requires_grad, "Does a gradient flow to it?", nullptr},
    {"is_leaf", get_is_leaf, nullptr, "Made by the user, not by a recorded op.", nullptr},
    {"grad", get_grad, set_grad, "Gradient summed by backward(), or None.", nullptr},
    {"_grad", get_grad, set_grad, nullptr, nullptr},
    {"grad_fn", get_grad_fn, nullptr, "The recorded op that made it, or None.", nullptr},
    {"data", get_data, set_data, "The same memory without history.", nullptr},
    {"T", get_T, nullptr, "All dimensions reversed.", nullptr},
    {"mT", get_mT, nullptr, "The last two dimensions swapped.", nullptr},
    {"H", get_mT, nullptr, "Conjugate transpose; real tensors: mT.", nullptr},
    {"mH", get_mT, nullptr, "Conjugate transpose; real tensors: mT.", nullptr},
    {"_version", get_version, nullptr, "Count of in-place writes to the storage.", nullptr},
    {"_base", get_base, nullptr, "The tensor it is a view of, or None.", nullptr},
    {"__cuda_array_interface__", get_cuda_array_interface, nullptr, "Device memory, as CuPy and Numba read it.",
     nullptr},
    {"is_cuda", get_is_cuda, nullptr, nullptr, nullptr},
    {"is_cpu", get_is_cpu, nullptr, nullptr, nullptr},
    {"is_sparse", get_false, nullptr, nullptr, nullptr},
    {"is_quantized", get_false, nullptr, nullptr, nullptr},
    {"is_meta", get_false, nullptr, nullptr, nullptr},
    {"is_nested", get_false, nullptr, nullptr, nullptr},
    {"is_mps", get_false, nullptr, nullptr, nullptr},
    {"is_xpu", get_false, nullptr, nullptr, nullptr},
    {"is_mkldnn", get_false, nullptr, nullptr, nullptr},
    {"is_sparse_csr", get_false, nullptr, nullptr, nullptr},
    {"retains_grad", get_retains_grad, nullptr, nullptr, nullptr},
    {"layout", get_layout, nullptr, nullptr, nullptr},
    {"names", get_names, nullptr, nullptr, nullptr},
    {"__array_priority__", get_array_priority, nullptr, "numpy leaves arithmetic with tensors to them.", nullptr},
    {"output_nr", get_output_nr, nullptr, nullptr, nullptr},
    {"_backward_hooks", get_none, nullptr, nullptr, nullptr},
    {"__dict__", get_dict, PyObject_GenericSetDict, "The user's own attributes.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

void set_requires_grad(const Tensor& t, bool on) {
  FS_CHECK(t.is_leaf() || on,
           "you can only change requires_grad flags of leaf variables. If you want to use a computed variable in a "
           "subgraph that doesn't require differentiation use var_no_grad = var.detach().");
  FS_CHECK(
      !on || mode.inference || !t.impl()->has(TensorImpl::kInference),
      "Setting requires_grad=True on inference tensor outside InferenceMode is not allowed. Use clone() to get a "
      "normal tensor.");
  FS_CHECK(!on || t.is_floating(), "only Tensors of floating point dtype can require gradients, this one is ",
           dtype_name(t.dtype()));
  t.impl()->set(TensorImpl::kRequiresGrad, on || !t.is_leaf());
}

}  // namespace fireseed::bind

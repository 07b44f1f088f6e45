// The Python type Tensor: object life, operators, attributes. Methods come from the signature table (fast_call.h).
#include "bind/python_types.h"

#include <structmember.h>

#include <cstring>
#include <string>

#include "bind/function.h"
#include "bind/hooks.h"
#include "bind/registry.h"
#include "engine/mode.h"
#include "engine/node.h"
#include "ops/copy.h"
#include "ops/shape.h"

namespace fireseed::bind {

PyTypeObject* tensor_type;

namespace {

// --- Object life --------------------------------------------------------------------------------------------------

// Note [Tensor objects]
// TensorImpl::pyobj points, unowned, at the one Python object that stands for it while that lives, so that p.grad is
// p.grad. Exact Tensors come from a free list. The cycle collector tracks an exact Tensor only from the moment it has
// something that can close a cycle (attributes, hooks, a Function as its history): track(). Subclasses always are.
constexpr int kMaxFree = 256;
PyTensor* free_objects[kMaxFree];
int num_free = 0;

PyTensor* new_object(PyTypeObject* type) {
  PyTensor* o;
  if (type == tensor_type && num_free) {
    o = free_objects[--num_free];
    PyObject_Init(reinterpret_cast<PyObject*>(o), type);
  } else {
    o = type == tensor_type ? PyObject_GC_New(PyTensor, type) : reinterpret_cast<PyTensor*>(type->tp_alloc(type, 0));
    if (!o) throw PythonError{};
  }
  new (&o->tensor) Tensor;
  o->dict = nullptr;
  o->weakrefs = nullptr;
  o->shape = nullptr;
  return o;
}

void tensor_dealloc(PyObject* self) {
  auto* o = reinterpret_cast<PyTensor*>(self);
  PyTypeObject* type = Py_TYPE(self);
  PyObject_GC_UnTrack(self);
  if (__builtin_expect(o->weakrefs != nullptr, false)) PyObject_ClearWeakRefs(self);
  if (TensorImpl* t = o->tensor.impl(); t && t->pyobj == self) t->pyobj = nullptr;
  Py_CLEAR(o->dict);
  Py_CLEAR(o->shape);
  o->tensor.~Tensor();
  if (type == tensor_type && num_free < kMaxFree) {
    free_objects[num_free++] = o;
  } else {
    type->tp_free(self);
  }
  Py_DECREF(type);
}

// What the object owns alone, down to its hooks and to the Function that made it: another owner of the TensorImpl or
// of the node may still call those.
int tensor_traverse(PyObject* self, visitproc visit, void* arg) {
  auto* o = reinterpret_cast<PyTensor*>(self);
  Py_VISIT(Py_TYPE(self));
  Py_VISIT(o->dict);
  const TensorImpl* t = o->tensor.impl();
  if (!t || t->refs.load(std::memory_order_acquire) != 1) return 0;
  if (t->hooks)
    for (const auto* held : held_by(*t->hooks)) Py_VISIT(held->get());
  if (t->grad_fn && t->grad_fn->refs.load(std::memory_order_acquire) == 1 && t->grad_fn->custom)
    Py_VISIT(static_cast<PyObject*>(t->grad_fn->custom->python_object()));
  return 0;
}
int tensor_clear(PyObject* self) {
  auto* o = reinterpret_cast<PyTensor*>(self);
  Py_CLEAR(o->dict);
  if (TensorImpl* t = o->tensor.impl(); t && t->hooks && t->refs.load(std::memory_order_acquire) == 1) {
    const auto hooks = std::exchange(t->hooks->hooks, {});
    const auto post = std::exchange(t->hooks->post_accumulate, {});
  }
  return 0;
}

PyObject* wrap_as(Tensor t, PyTypeObject* type) {
  PyTensor* o = new_object(type);
  t.impl()->pyobj = o;
  o->tensor = std::move(t);
  return reinterpret_cast<PyObject*>(o);
}

}  // namespace

void track(PyObject* tensor) {
  if (!PyObject_GC_IsTracked(tensor)) PyObject_GC_Track(tensor);
}

PyObject* wrap(Tensor t) {
  if (!t.defined()) Py_RETURN_NONE;
  if (void* p = t.impl()->pyobj) {
    auto* o = static_cast<PyObject*>(p);
    Py_INCREF(o);
    return o;
  }
  t.impl()->set(TensorImpl::kWrappedNumber, false);
  return wrap_as(std::move(t), tensor_type);
}

namespace {

// Tensor(), Tensor(2, 3), Tensor([1., 2.]): PyTorch's old constructor; floats of the default dtype.
PyObject* tensor_new(PyTypeObject* type, PyObject* args, PyObject*) {
  return guarded([&]() -> PyObject* {
    const Py_ssize_t n = PyTuple_GET_SIZE(args);
    Tensor t;
    if (n == 0) {
      t = empty(Dims{0}, default_dtype());
    } else if (PyObject* first = PyTuple_GET_ITEM(args, 0); n == 1 && is_tensor(first)) {
      t = detached_alias(*as_tensor(first));
    } else if (n == 1 && !PyLong_Check(first) &&
               Py_TYPE(first) != reinterpret_cast<PyTypeObject*>(Py_TYPE(to_python(Dims{})))) {
      t = tensor_from_data(first, default_dtype(), true);
    } else {
      Dims sizes;
      PyObject* list = n == 1 && PyTuple_Check(first) ? first : args;
      for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(list); ++i) {
        int64_t v;
        FS_CHECK_TYPE(to_int(PyTuple_GET_ITEM(list, i), v), "Tensor(): sizes must be ints, got ",
                      Py_TYPE(PyTuple_GET_ITEM(list, i))->tp_name, ". To make a tensor of values use tensor([...])");
        sizes.push_back(v);
      }
      t = empty(sizes, default_dtype());
    }
    return wrap_as(t, type);
  });
}

// Tensor._make_subclass(cls, data, requires_grad=False): a cls object on data's memory; a leaf.
PyObject* make_subclass(PyObject* /*tensor type*/, PyObject* args, PyObject* kwargs) {
  return guarded([&]() -> PyObject* {
    PyObject *cls, *data;
    int requires_grad = 0;
    static const char* names[] = {"cls", "data", "requires_grad", nullptr};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO|p", const_cast<char**>(names), &cls, &data, &requires_grad))
      throw PythonError{};
    const Tensor* t = as_tensor(data);
    FS_CHECK_TYPE(t, "_make_subclass: data must be a Tensor, not ", Py_TYPE(data)->tp_name);
    FS_CHECK_TYPE(PyType_Check(cls) && PyType_IsSubtype(reinterpret_cast<PyTypeObject*>(cls), tensor_type),
                  "_make_subclass: cls must be a subclass of Tensor");
    Tensor d = detached_alias(*t);
    FS_CHECK(!requires_grad || d.is_floating(),
             "Only Tensors of floating point and complex dtype can require gradients");
    d.impl()->set(TensorImpl::kRequiresGrad, requires_grad);
    return wrap_as(d, reinterpret_cast<PyTypeObject*>(cls));
  });
}

// --- Operators ----------------------------------------------------------------------------------------------------

const Function *f_add, *f_sub, *f_mul, *f_div, *f_floor_divide, *f_remainder, *f_pow, *f_matmul, *f_and, *f_or,
    *f_xor, *f_lshift, *f_rshift, *f_neg, *f_abs, *f_invert, *f_eq, *f_ne, *f_lt, *f_le, *f_gt, *f_ge, *f_iadd,
    *f_isub, *f_imul, *f_idiv, *f_ifloor_divide, *f_iremainder, *f_ipow, *f_iand, *f_ior, *f_ixor, *f_ilshift,
    *f_irshift;

bool operand(PyObject* o) {
  if (is_tensor(o) || PyFloat_CheckExact(o) || PyLong_CheckExact(o) || PyBool_Check(o)) return true;
  Scalar s;
  try {
    return to_scalar(o, s);
  } catch (const PythonError&) {
    PyErr_Clear();
    return false;
  }
}

// A numpy array beside a tensor is taken as one (on its own memory); new reference, null where o is something else.
PyObject* array_operand(PyObject* o) {
  if (operand(o)) return Py_NewRef(o);
  if (!PyObject_CheckBuffer(o) || is_numpy_scalar(o) || !PyObject_HasAttrString(o, "__array_interface__"))
    return nullptr;
  return guarded([&]() -> PyObject* { return wrap(tensor_from_buffer(o, false)); });
}
[[gnu::cold]] PyObject* with_arrays(const Function& f, PyObject* a, PyObject* b) {
  PyObject *x = array_operand(a), *y = x ? array_operand(b) : nullptr, *r = nullptr;
  if (x && y) {
    PyObject* args[] = {x, y};
    r = call(f, args, 2, nullptr);
  } else if (!PyErr_Occurred()) {
    r = Py_NewRef(Py_NotImplemented);
  }
  Py_XDECREF(x);
  Py_XDECREF(y);
  return r;
}

template <const Function** F>
PyObject* binary(PyObject* a, PyObject* b) {
  if (__builtin_expect(!operand(a) || !operand(b), false)) return with_arrays(**F, a, b);
  PyObject* args[] = {a, b};
  return call(**F, args, 2, nullptr);
}
template <const Function** F>
PyObject* power(PyObject* a, PyObject* b, PyObject* mod) {
  if (mod != Py_None) {
    PyErr_SetString(PyExc_TypeError, "pow() with a modulus is not supported for tensors");
    return nullptr;
  }
  return binary<F>(a, b);
}
template <const Function** F>
PyObject* unary(PyObject* a) {
  return call(**F, &a, 1, nullptr);
}
PyObject* positive(PyObject* a) {
  Py_INCREF(a);
  return a;
}

PyObject* compare(PyObject* a, PyObject* b, int op) {
  static const Function* const* table[] = {&f_lt, &f_le, &f_eq, &f_ne, &f_gt, &f_ge};
  // As PyTorch: == None is False, an ordering with None is an error of Python's own.
  if (__builtin_expect(!operand(b), false)) return with_arrays(**table[op], a, b);
  PyObject* args[] = {a, b};
  return call(**table[op], args, 2, nullptr);
}

int truth(PyObject* self) {
  try {
    const Tensor& t = *as_tensor(self);
    FS_CHECK(t.numel() != 0, "Boolean value of Tensor with no values is ambiguous");
    FS_CHECK(t.numel() == 1, "Boolean value of Tensor with more than one value is ambiguous (shape ", t.sizes(),
             "). Use .any() or .all()");
    return item(t).to_bool();
  } catch (...) {
    set_python_error();
    return -1;
  }
}
void check_one_element(const Tensor& t) {
  FS_CHECK_VALUE(t.numel() == 1, "only one element tensors can be converted to Python scalars, this one has shape ",
                 t.sizes());
}
PyObject* as_float(PyObject* self) {
  return guarded([&]() -> PyObject* {
    check_one_element(*as_tensor(self));
    return PyFloat_FromDouble(item(*as_tensor(self)).to_double());
  });
}
PyObject* as_int(PyObject* self) {
  return guarded([&]() -> PyObject* {
    check_one_element(*as_tensor(self));
    const Scalar s = item(*as_tensor(self));
    return s.is_float() ? PyLong_FromDouble(s.d) : PyLong_FromLongLong(s.i);
  });
}
PyObject* as_index(PyObject* self) {
  return guarded([&]() -> PyObject* {
    const Tensor& t = *as_tensor(self);
    FS_CHECK_TYPE(t.numel() == 1 && is_integral(t.dtype()),
                  "only integer tensors of a single element can be converted to an index; this one is ",
                  dtype_name(t.dtype()), " of shape ", t.sizes());
    return PyLong_FromLongLong(item(t).to_int());
  });
}

Py_ssize_t length(PyObject* self) {
  const Tensor& t = *as_tensor(self);
  if (t.dim() == 0) {
    PyErr_SetString(PyExc_TypeError, "len() of a 0-d tensor");
    return -1;
  }
  return static_cast<Py_ssize_t>(t.size(0));
}
PyObject* sequence_item(PyObject* self, Py_ssize_t i) {
  return guarded([&]() -> PyObject* { return wrap(select(*as_tensor(self), 0, i)); });
}
PyObject* iterate(PyObject* self) {
  return guarded([&]() -> PyObject* {
    const Tensor& t = *as_tensor(self);
    FS_CHECK_TYPE(t.dim() > 0, "iteration over a 0-d tensor");
    PyObject* tuple = to_python(unbind(t, 0));
    if (!tuple) throw PythonError{};
    PyObject* it = PyObject_GetIter(tuple);
    Py_DECREF(tuple);
    return it;
  });
}

PyObject* repr(PyObject* self) {
  static PyObject* str_function = nullptr;
  if (!str_function) {
    PyObject* m = PyImport_ImportModule("fireseed._tensor_str");
    if (!m) return nullptr;
    str_function = PyObject_GetAttrString(m, "_str");
    Py_DECREF(m);
    if (!str_function) return nullptr;
  }
  return PyObject_CallOneArg(str_function, self);
}
int set_attribute(PyObject* self, PyObject* name, PyObject* value) {
  const int r = PyObject_GenericSetAttr(self, name, value);
  if (reinterpret_cast<PyTensor*>(self)->dict) track(self);
  return r;
}
PyObject* get_dict(PyObject* self, void* context) {
  PyObject* r = PyObject_GenericGetDict(self, context);
  if (r) track(self);
  return r;
}
Py_hash_t hash(PyObject* self) { return static_cast<Py_hash_t>(reinterpret_cast<uintptr_t>(self) >> 4); }

// --- Attributes ---------------------------------------------------------------------------------------------------

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

PyGetSetDef getset[] = {
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

PyMethodDef methods[] = {
    {"_make_subclass", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(make_subclass)),
     METH_VARARGS | METH_KEYWORDS | METH_STATIC, "A subclass object on the memory of `data`."},
    {nullptr, nullptr, 0, nullptr}};

PyMemberDef members[] = {{"__dictoffset__", T_PYSSIZET, offsetof(PyTensor, dict), READONLY, nullptr},
                         {"__weaklistoffset__", T_PYSSIZET, offsetof(PyTensor, weakrefs), READONLY, nullptr},
                         {nullptr, 0, 0, 0, nullptr}};

#define FS_SLOT(slot, f) {slot, reinterpret_cast<void*>(f)}
PyType_Slot slots[] = {FS_SLOT(Py_tp_new, tensor_new),
                       FS_SLOT(Py_tp_dealloc, tensor_dealloc),
                       FS_SLOT(Py_tp_traverse, tensor_traverse),
                       FS_SLOT(Py_tp_clear, tensor_clear),
                       FS_SLOT(Py_tp_setattro, set_attribute),
                       FS_SLOT(Py_tp_repr, repr),
                       FS_SLOT(Py_tp_hash, hash),
                       FS_SLOT(Py_tp_richcompare, compare),
                       FS_SLOT(Py_tp_iter, iterate),
                       FS_SLOT(Py_tp_getset, getset),
                       FS_SLOT(Py_tp_methods, methods),
                       FS_SLOT(Py_tp_members, members),
                       FS_SLOT(Py_tp_doc, const_cast<char*>("A strided array with a gradient.")),
                       FS_SLOT(Py_nb_add, (binary<&f_add>)),
                       FS_SLOT(Py_nb_subtract, (binary<&f_sub>)),
                       FS_SLOT(Py_nb_multiply, (binary<&f_mul>)),
                       FS_SLOT(Py_nb_true_divide, (binary<&f_div>)),
                       FS_SLOT(Py_nb_floor_divide, (binary<&f_floor_divide>)),
                       FS_SLOT(Py_nb_remainder, (binary<&f_remainder>)),
                       FS_SLOT(Py_nb_power, (power<&f_pow>)),
                       FS_SLOT(Py_nb_matrix_multiply, (binary<&f_matmul>)),
                       FS_SLOT(Py_nb_and, (binary<&f_and>)),
                       FS_SLOT(Py_nb_or, (binary<&f_or>)),
                       FS_SLOT(Py_nb_xor, (binary<&f_xor>)),
                       FS_SLOT(Py_nb_lshift, (binary<&f_lshift>)),
                       FS_SLOT(Py_nb_rshift, (binary<&f_rshift>)),
                       FS_SLOT(Py_nb_inplace_add, (binary<&f_iadd>)),
                       FS_SLOT(Py_nb_inplace_subtract, (binary<&f_isub>)),
                       FS_SLOT(Py_nb_inplace_multiply, (binary<&f_imul>)),
                       FS_SLOT(Py_nb_inplace_true_divide, (binary<&f_idiv>)),
                       FS_SLOT(Py_nb_inplace_floor_divide, (binary<&f_ifloor_divide>)),
                       FS_SLOT(Py_nb_inplace_remainder, (binary<&f_iremainder>)),
                       FS_SLOT(Py_nb_inplace_power, (power<&f_ipow>)),
                       FS_SLOT(Py_nb_inplace_and, (binary<&f_iand>)),
                       FS_SLOT(Py_nb_inplace_or, (binary<&f_ior>)),
                       FS_SLOT(Py_nb_inplace_xor, (binary<&f_ixor>)),
                       FS_SLOT(Py_nb_inplace_lshift, (binary<&f_ilshift>)),
                       FS_SLOT(Py_nb_inplace_rshift, (binary<&f_irshift>)),
                       FS_SLOT(Py_nb_negative, (unary<&f_neg>)),
                       FS_SLOT(Py_nb_absolute, (unary<&f_abs>)),
                       FS_SLOT(Py_nb_invert, (unary<&f_invert>)),
                       FS_SLOT(Py_nb_positive, positive),
                       FS_SLOT(Py_nb_bool, truth),
                       FS_SLOT(Py_nb_float, as_float),
                       FS_SLOT(Py_nb_int, as_int),
                       FS_SLOT(Py_nb_index, as_index),
                       FS_SLOT(Py_mp_length, length),
                       FS_SLOT(Py_sq_length, length),
                       FS_SLOT(Py_sq_item, sequence_item),
                       FS_SLOT(Py_mp_subscript, tensor_subscript),
                       FS_SLOT(Py_mp_ass_subscript, tensor_ass_subscript),
                       FS_SLOT(Py_bf_getbuffer, tensor_getbuffer),
                       FS_SLOT(Py_bf_releasebuffer, tensor_releasebuffer),
                       {0, nullptr}};
PyType_Spec spec = {"fireseed.Tensor", sizeof(PyTensor), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, slots};

}  // namespace

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

void add_tensor_type(PyObject* module) {
  tensor_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&spec));
  if (!tensor_type) return;
  Py_INCREF(tensor_type);
  PyModule_AddObject(module, "Tensor", reinterpret_cast<PyObject*>(tensor_type));
}

void link_operators() {
  struct Link {
    const Function** slot;
    const char* name;
    bool method;
  };
  const Link links[] = {{&f_add, "add", false},
                        {&f_sub, "sub", false},
                        {&f_mul, "mul", false},
                        {&f_div, "div", false},
                        {&f_floor_divide, "floor_divide", false},
                        {&f_remainder, "remainder", false},
                        {&f_pow, "pow", false},
                        {&f_matmul, "matmul", false},
                        {&f_and, "bitwise_and", false},
                        {&f_or, "bitwise_or", false},
                        {&f_xor, "bitwise_xor", false},
                        {&f_lshift, "bitwise_left_shift", false},
                        {&f_rshift, "bitwise_right_shift", false},
                        {&f_neg, "neg", false},
                        {&f_abs, "abs", false},
                        {&f_invert, "bitwise_not", false},
                        {&f_eq, "eq", false},
                        {&f_ne, "ne", false},
                        {&f_lt, "lt", false},
                        {&f_le, "le", false},
                        {&f_gt, "gt", false},
                        {&f_ge, "ge", false},
                        {&f_iadd, "add_", true},
                        {&f_isub, "sub_", true},
                        {&f_imul, "mul_", true},
                        {&f_idiv, "div_", true},
                        {&f_ifloor_divide, "floor_divide_", true},
                        {&f_iremainder, "remainder_", true},
                        {&f_ipow, "pow_", true},
                        {&f_iand, "bitwise_and_", true},
                        {&f_ior, "bitwise_or_", true},
                        {&f_ixor, "bitwise_xor_", true},
                        {&f_ilshift, "bitwise_left_shift_", true},
                        {&f_irshift, "bitwise_right_shift_", true}};
  for (const Link& l : links) *l.slot = l.method ? &method(l.name) : &function(l.name);
}

}  // namespace fireseed::bind

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
Py_hash_t hash(PyObject* self) { return static_cast<Py_hash_t>(reinterpret_cast<uintptr_t>(self) >> 4); }

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
                       FS_SLOT(Py_tp_getset, tensor_getset),
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

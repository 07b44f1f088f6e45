// ModuleBase: what nn.Module inherits so that module(x) costs little more than module.forward(x).
#include "bind/python_types.h"

#include <structmember.h>

namespace fireseed::bind {
namespace {

struct PyModuleBase {
  PyObject_HEAD vectorcallfunc vectorcall;
  char hooked;  // set by a module's first hook: calls then take the slow path, Module._call_impl
};

bool all_hooked = false;  // the same for hooks of all modules
PyObject *name_forward, *name_call_impl;

// self(*args, **kwargs) = self.forward(*args, **kwargs), or self._call_impl(…) where there are hooks.
PyObject* module_vectorcall(PyObject* self, PyObject* const* args, size_t nargsf, PyObject* kwnames) {
  PyObject* name = all_hooked || reinterpret_cast<PyModuleBase*>(self)->hooked ? name_call_impl : name_forward;
  const size_t n = static_cast<size_t>(PyVectorcall_NARGS(nargsf));
  const size_t total = n + (kwnames ? static_cast<size_t>(PyTuple_GET_SIZE(kwnames)) : 0);
  PyObject* small[8];
  PyObject** stack = total + 2 <= 8 ? small : static_cast<PyObject**>(PyMem_Malloc((total + 2) * sizeof(PyObject*)));
  if (!stack) return PyErr_NoMemory();
  stack[0] = nullptr;  // room for the callee to put a bound self
  stack[1] = self;
  for (size_t i = 0; i < total; ++i) stack[i + 2] = args[i];
  PyObject* result = PyObject_VectorcallMethod(name, stack + 1, (n + 1) | PY_VECTORCALL_ARGUMENTS_OFFSET, kwnames);
  if (stack != small) PyMem_Free(stack);
  return result;
}

PyObject* module_new(PyTypeObject* type, PyObject*, PyObject*) {
  PyObject* self = type->tp_alloc(type, 0);
  if (!self) return nullptr;
  reinterpret_cast<PyModuleBase*>(self)->vectorcall = module_vectorcall;
  return self;
}

PyObject* set_all_hooked(PyObject*, PyObject* on) {
  const int v = PyObject_IsTrue(on);
  if (v < 0) return nullptr;
  all_hooked = v;
  Py_RETURN_NONE;
}

PyMemberDef members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(PyModuleBase, vectorcall), READONLY, nullptr},
    {"_hooked", T_BOOL, offsetof(PyModuleBase, hooked), 0, const_cast<char*>("Whether calls look for hooks.")},
    {nullptr, 0, 0, 0, nullptr}};
PyMethodDef methods[] = {
    {"_set_all_hooked", set_all_hooked, METH_O | METH_STATIC, "Whether all modules look for hooks."},
    {nullptr, nullptr, 0, nullptr}};
PyType_Slot slots[] = {{Py_tp_new, reinterpret_cast<void*>(module_new)},
                       {Py_tp_call, reinterpret_cast<void*>(PyVectorcall_Call)},
                       {Py_tp_members, members},
                       {Py_tp_methods, methods},
                       {Py_tp_doc, const_cast<char*>("The call path of nn.Module.")},
                       {0, nullptr}};
PyType_Spec spec = {"fireseed._C.ModuleBase", sizeof(PyModuleBase), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_VECTORCALL, slots};

}  // namespace

void add_module_base(PyObject* module) {
  name_forward = PyUnicode_InternFromString("forward");
  name_call_impl = PyUnicode_InternFromString("_call_impl");
  PyObject* type = PyType_FromSpec(&spec);
  if (type) PyModule_AddObject(module, "ModuleBase", type);
}

}  // namespace fireseed::bind

// Functions by name, and the two Python types that call them: module functions and methods.
#include "bind/registry.h"

#include <structmember.h>

#include <cstring>
#include <map>
#include <memory>
#include <string>

#include "bind/python_types.h"
#include "ops/autocast.h"

namespace fireseed::bind {

namespace {

using Table = std::map<std::string, std::unique_ptr<Function>>;
Table& functions() {
  static Table t;
  return t;
}
Table& nn_functions() {
  static Table t;
  return t;
}
Table& linalg_functions() {
  static Table t;
  return t;
}
Table& special_functions() {
  static Table t;
  return t;
}
Table& private_functions() {
  static Table t;
  return t;
}
Table& methods() {
  static Table t;
  return t;
}

void add_to(Table& table, const std::string& name, const Signature& s, const char* doc, bool out, bool inplace) {
  auto& slot = table[name];
  if (!slot) {
    slot = std::make_unique<Function>();
    slot->name = name;
    if (const CastPolicies* p = cast_policies(name)) {
      slot->autocast[0] = p->cpu;
      slot->autocast[1] = p->cuda;
    }
    slot->allow_out = out;
    slot->inplace = inplace;
  }
  if (slot->inplace && !inplace) {  // an own in-place form replaces the generic one
    slot->inplace = false;
    slot->signatures.clear();
  } else if (!slot->inplace && inplace) {
    return;
  }
  slot->signatures.push_back(s);
  slot->doc += (slot->doc.empty() ? "" : "\n") + s.text + (doc ? std::string("\n\n") + doc : "");
}

// --- Python objects -----------------------------------------------------------------------------------------------

struct PyFunctionObject_ {
  PyObject_HEAD vectorcallfunc vectorcall;
  const Function* function;
};
using FunctionObject = PyFunctionObject_;

PyObject* function_vectorcall(PyObject* self, PyObject* const* args, size_t nargsf, PyObject* kwnames) {
  return call(*reinterpret_cast<FunctionObject*>(self)->function, args, PyVectorcall_NARGS(nargsf), kwnames);
}
PyObject* method_vectorcall(PyObject* self, PyObject* const* args, size_t nargsf, PyObject* kwnames) {
  const Py_ssize_t n = PyVectorcall_NARGS(nargsf);
  const Function& f = *reinterpret_cast<FunctionObject*>(self)->function;
  if (n == 0 || !is_tensor(args[0])) {
    PyErr_Format(PyExc_TypeError, "descriptor '%s' for 'fireseed.Tensor' objects doesn't apply to a '%s' object",
                 f.name.c_str(), n ? Py_TYPE(args[0])->tp_name : "missing");
    return nullptr;
  }
  return call(f, args, n, kwnames);
}
PyObject* function_repr(PyObject* self) {
  return PyUnicode_FromFormat("<built-in function %s>",
                              reinterpret_cast<FunctionObject*>(self)->function->name.c_str());
}
PyObject* function_name(PyObject* self, void*) {
  return PyUnicode_FromString(reinterpret_cast<FunctionObject*>(self)->function->name.c_str());
}
PyObject* function_doc(PyObject* self, void*) {
  return PyUnicode_FromString(reinterpret_cast<FunctionObject*>(self)->function->doc.c_str());
}
PyObject* function_module(PyObject*, void*) { return PyUnicode_FromString("fireseed"); }
PyObject* function_reduce(PyObject* self, PyObject*) { return function_name(self, nullptr); }
PyObject* method_get(PyObject* self, PyObject* object, PyObject*) {
  if (!object || object == Py_None) {
    Py_INCREF(self);
    return self;
  }
  return PyMethod_New(self, object);
}
PyGetSetDef function_getset[] = {{"__name__", function_name, nullptr, nullptr, nullptr},
                                 {"__qualname__", function_name, nullptr, nullptr, nullptr},
                                 {"__doc__", function_doc, nullptr, nullptr, nullptr},
                                 {"__module__", function_module, nullptr, nullptr, nullptr},
                                 {nullptr, nullptr, nullptr, nullptr, nullptr}};
PyMethodDef function_methods[] = {{"__reduce__", function_reduce, METH_NOARGS, nullptr},
                                  {nullptr, nullptr, 0, nullptr}};
PyMemberDef function_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(FunctionObject, vectorcall), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr}};
PyType_Slot function_slots[] = {{Py_tp_call, reinterpret_cast<void*>(PyVectorcall_Call)},
                                {Py_tp_repr, reinterpret_cast<void*>(function_repr)},
                                {Py_tp_getset, function_getset},
                                {Py_tp_methods, function_methods},
                                {Py_tp_members, function_members},
                                {0, nullptr}};
PyType_Spec function_spec = {"fireseed.builtin_function", sizeof(FunctionObject), 0,
                             Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL, function_slots};
PyType_Slot method_slots[] = {{Py_tp_call, reinterpret_cast<void*>(PyVectorcall_Call)},
                              {Py_tp_repr, reinterpret_cast<void*>(function_repr)},
                              {Py_tp_descr_get, reinterpret_cast<void*>(method_get)},
                              {Py_tp_getset, function_getset},
                              {Py_tp_methods, function_methods},
                              {Py_tp_members, function_members},
                              {0, nullptr}};
PyType_Spec method_spec = {"fireseed.method_descriptor", sizeof(FunctionObject), 0,
                           Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR,
                           method_slots};

PyTypeObject *function_type, *method_type;

PyObject* make_object(const Function* f, bool as_method) {
  auto* o = PyObject_New(FunctionObject, as_method ? method_type : function_type);
  o->vectorcall = as_method ? method_vectorcall : function_vectorcall;
  o->function = f;
  return reinterpret_cast<PyObject*>(o);
}

void publish_namespace(PyObject* module, const char* name, const Table& table) {
  PyObject* sub = PyModule_New((std::string("fireseed._C.") + name).c_str());
  for (const auto& [n, f] : table) PyModule_AddObject(sub, n.c_str(), make_object(f.get(), false));
  PyModule_AddObject(module, name, sub);
}

const Function& find(const Table& t, const char* name) {
  const auto it = t.find(name);
  if (it == t.end()) {
    std::fprintf(stderr, "fireseed: the extension lacks the function '%s'\n", name);
    std::abort();
  }
  return *it->second;
}

}  // namespace

void define(const char* signature, unsigned where, Handler handler, const char* doc) {
  std::string name;
  Signature s = parse_signature(signature, name);
  s.handler = handler;
  if (where & kFunction) add_to(functions(), name, s, doc, true, false);
  if (where & kFreshOut) functions().at(name)->fresh_out = true;
  if (where & kExactOut) functions().at(name)->exact_out = true;
  if (where & kNN) add_to(nn_functions(), name, s, doc, true, false);
  if (where & kLinalg) add_to(linalg_functions(), name, s, doc, true, false);
  if (where & kSpecial) add_to(special_functions(), name, s, doc, true, false);
  if (where & kPrivate) add_to(private_functions(), name, s, doc, false, false);
  if (where & kMethod) add_to(methods(), name, s, doc, false, false);
  if (where & kInPlace) add_to(methods(), name + "_", s, doc, false, true);
}

const Function& function(const char* name) { return find(functions(), name); }
const Function& method(const char* name) { return find(methods(), name); }

void publish(PyObject* module) {
  function_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&function_spec));
  method_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&method_spec));
  PyObject* names = PyList_New(0);
  for (const auto& [n, f] : functions()) {
    PyModule_AddObject(module, n.c_str(), make_object(f.get(), false));
    PyObject* s = PyUnicode_FromString(n.c_str());
    PyList_Append(names, s);
    Py_DECREF(s);
  }
  for (const auto& [n, f] : methods()) {  // exp_(x) beside x.exp_()
    if (n.front() == '_' || n.back() != '_' || functions().count(n)) continue;
    PyModule_AddObject(module, n.c_str(), make_object(f.get(), false));
    PyObject* s = PyUnicode_FromString(n.c_str());
    PyList_Append(names, s);
    Py_DECREF(s);
  }
  for (const auto& [n, f] : private_functions()) PyModule_AddObject(module, n.c_str(), make_object(f.get(), false));
  PyModule_AddObject(module, "_function_names", names);
  publish_namespace(module, "_nn", nn_functions());
  publish_namespace(module, "_linalg", linalg_functions());
  publish_namespace(module, "_special", special_functions());
  for (const auto& [n, f] : methods()) {
    PyObject* o = make_object(f.get(), true);
    PyObject_SetAttrString(reinterpret_cast<PyObject*>(tensor_type), n.c_str(), o);
    Py_DECREF(o);
  }
}

}  // namespace fireseed::bind

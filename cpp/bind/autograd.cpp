// Autograd for Python: backward, grad, hooks, modes, nodes.
#include <cstring>
#include <memory>
#include <string>

#include "bind/hooks.h"
#include "bind/python_types.h"
#include "bind/registry.h"
#include "engine/apply.h"
#include "engine/backward.h"
#include "engine/mode.h"
#include "engine/node.h"
#include "ops/creation.h"
#include "ops/shape.h"

namespace fireseed::bind {

namespace {

std::vector<Tensor> tensor_list(PyObject* o, const char* what) {
  std::vector<Tensor> r;
  if (!o || o == Py_None) return r;
  if (const Tensor* t = as_tensor(o)) return {*t};
  PyObject* fast = PySequence_Fast(o, "expected a tensor or a sequence of tensors");
  if (!fast) throw PythonError{};
  for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(fast); ++i) {
    PyObject* e = PySequence_Fast_GET_ITEM(fast, i);
    const Tensor* t = as_tensor(e);
    if (!t && e != Py_None) {
      Py_DECREF(fast);
      fail(ErrorKind::kType, what, ": expected tensors, got ", Py_TYPE(e)->tp_name, " at ", i);
    }
    r.push_back(t ? *t : Tensor());
  }
  Py_DECREF(fast);
  return r;
}

// --- Nodes --------------------------------------------------------------------------------------------------------

struct PyNode {
  PyObject_HEAD Node* node;
  TensorImpl* leaf;  // AccumulateGrad: node is null
};
PyTypeObject* node_type;

PyObject* wrap_edge(const Edge& e) {
  if (!e.defined()) Py_RETURN_NONE;
  if (e.node && e.node->custom && e.node->custom->python_object()) {
    auto* o = static_cast<PyObject*>(e.node->custom->python_object());
    Py_INCREF(o);
    return o;
  }
  auto* o = PyObject_New(PyNode, node_type);
  o->node = e.node;
  o->leaf = e.leaf;
  if (e.node) ref_inc(e.node);
  if (e.leaf) ref_inc(e.leaf);
  return reinterpret_cast<PyObject*>(o);
}
void node_dealloc(PyObject* self) {
  auto* n = reinterpret_cast<PyNode*>(self);
  if (n->node) ref_dec(n->node);
  if (n->leaf) ref_dec(n->leaf);
  PyTypeObject* t = Py_TYPE(self);
  PyObject_Free(self);
  Py_DECREF(t);
}
std::string node_text(PyObject* self) {
  auto* n = reinterpret_cast<PyNode*>(self);
  return n->node ? n->node->name() : "AccumulateGrad";
}
PyObject* node_name(PyObject* self, PyObject*) { return PyUnicode_FromString(node_text(self).c_str()); }
PyObject* node_repr(PyObject* self) {
  return PyUnicode_FromFormat("<%s object at %p>", node_text(self).c_str(), reinterpret_cast<PyNode*>(self)->node);
}
PyObject* next_of(Node* n) {
  PyObject* r = PyTuple_New(n ? n->num_inputs : 0);
  for (Py_ssize_t i = 0; r && i < PyTuple_GET_SIZE(r); ++i) {
    const Edge& e = n->edges()[i];
    PyTuple_SET_ITEM(r, i, Py_BuildValue("(Nk)", wrap_edge(e), static_cast<unsigned long>(e.output_nr)));
  }
  return r;
}
PyObject* node_next(PyObject* self, void*) { return next_of(reinterpret_cast<PyNode*>(self)->node); }
PyObject* node_variable(PyObject* self, void*) {
  auto* n = reinterpret_cast<PyNode*>(self);
  return wrap(Tensor::share(n->leaf));
}
PyObject* node_compare(PyObject* a, PyObject* b, int op) {
  if (Py_TYPE(b) != node_type || (op != Py_EQ && op != Py_NE)) Py_RETURN_NOTIMPLEMENTED;
  auto *x = reinterpret_cast<PyNode*>(a), *y = reinterpret_cast<PyNode*>(b);
  return PyBool_FromLong((x->node == y->node && x->leaf == y->leaf) == (op == Py_EQ));
}
Py_hash_t node_hash(PyObject* a) {
  auto* x = reinterpret_cast<PyNode*>(a);
  return static_cast<Py_hash_t>(
      (x->node ? reinterpret_cast<uintptr_t>(x->node) : reinterpret_cast<uintptr_t>(x->leaf)) >> 4);
}

PyObject* tensor_tuple(const std::vector<Tensor>& v) { return to_python(v); }

PyObject* make_handle(PyObject* owner, int64_t id, const char* kind) {
  PyObject* m = PyImport_ImportModule("fireseed.autograd._handle");
  if (!m) return nullptr;
  PyObject* r = PyObject_CallMethod(m, "EngineHandle", "OLs", owner, static_cast<long long>(id), kind);
  Py_DECREF(m);
  return r;
}

void take_replacement(PyObject* r, std::vector<Tensor>& gs) {
  if (r == Py_None) return;
  const auto list = tensor_list(r, "hook");
  for (size_t i = 0; i < list.size() && i < gs.size(); ++i) gs[i] = list[i];
}

PyObject* node_register_hook(PyObject* self, PyObject* f) {
  return guarded([&]() -> PyObject* {
    Node* n = reinterpret_cast<PyNode*>(self)->node;
    FS_CHECK(n, "register_hook on AccumulateGrad: use tensor.register_hook or register_post_accumulate_grad_hook");
    Held held = std::make_shared<HeldObject>(f);
    const int64_t id = next_hook_id();
    n->extras().post_hooks.push_back({id, [held](std::vector<Tensor>& gx, std::vector<Tensor>& g) {
                                        WithGil gil;
                                        PyObject *a = tensor_tuple(gx), *b = tensor_tuple(g);
                                        PyObject* r = PyObject_CallFunctionObjArgs(held->get(), a, b, nullptr);
                                        Py_XDECREF(a);
                                        Py_XDECREF(b);
                                        if (!r) throw PythonError{};
                                        take_replacement(r, gx);
                                        Py_DECREF(r);
                                      }});
    return make_handle(self, id, "post");
  });
}
PyObject* node_register_prehook(PyObject* self, PyObject* f) {
  return guarded([&]() -> PyObject* {
    Node* n = reinterpret_cast<PyNode*>(self)->node;
    FS_CHECK(n, "register_prehook on AccumulateGrad: use tensor.register_hook");
    Held held = std::make_shared<HeldObject>(f);
    const int64_t id = next_hook_id();
    n->extras().pre_hooks.push_back({id, [held](std::vector<Tensor>& g) {
                                       WithGil gil;
                                       PyObject* a = tensor_tuple(g);
                                       PyObject* r = PyObject_CallOneArg(held->get(), a);
                                       Py_XDECREF(a);
                                       if (!r) throw PythonError{};
                                       take_replacement(r, g);
                                       Py_DECREF(r);
                                     }});
    return make_handle(self, id, "pre");
  });
}
PyObject* node_remove_hook(PyObject* self, PyObject* args) {
  long long id;
  if (!PyArg_ParseTuple(args, "L", &id)) return nullptr;
  if (Node* n = reinterpret_cast<PyNode*>(self)->node; n && n->extra) {
    std::erase_if(n->extra->post_hooks, [&](auto& h) { return h.first == id; });
    std::erase_if(n->extra->pre_hooks, [&](auto& h) { return h.first == id; });
  }
  Py_RETURN_NONE;
}
PyMethodDef node_methods[] = {
    {"name", node_name, METH_NOARGS, "Name of the recorded op."},
    {"register_hook", node_register_hook, METH_O, "hook(grad_inputs, grad_outputs) -> grad_inputs or None"},
    {"register_prehook", node_register_prehook, METH_O, "hook(grad_outputs) -> grad_outputs or None"},
    {"_remove_hook", node_remove_hook, METH_VARARGS, nullptr},
    {nullptr, nullptr, 0, nullptr}};
PyGetSetDef node_getset[] = {
    {"next_functions", node_next, nullptr, "((node, output number), …) of the inputs", nullptr},
    {"variable", node_variable, nullptr, "AccumulateGrad: the leaf", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};
PyType_Slot node_slots[] = {{Py_tp_dealloc, reinterpret_cast<void*>(node_dealloc)},
                            {Py_tp_repr, reinterpret_cast<void*>(node_repr)},
                            {Py_tp_richcompare, reinterpret_cast<void*>(node_compare)},
                            {Py_tp_hash, reinterpret_cast<void*>(node_hash)},
                            {Py_tp_methods, node_methods},
                            {Py_tp_getset, node_getset},
                            {0, nullptr}};
PyType_Spec node_spec = {"fireseed.autograd.graph.Node", sizeof(PyNode), 0, Py_TPFLAGS_DEFAULT, node_slots};

// --- Modes --------------------------------------------------------------------------------------------------------

// with no_grad(): / enable_grad(): / set_grad_enabled(on): / inference_mode(on): one C type, the target in `on`.
struct PyGradMode {
  PyObject_HEAD bool on, inference;
  bool before, before_inference;
};

PyObject* mode_enter(PyObject* self, PyObject*) {
  auto* m = reinterpret_cast<PyGradMode*>(self);
  m->before = mode.grad_enabled;
  m->before_inference = mode.inference;
  mode.grad_enabled = m->on;
  if (m->inference) mode.inference = !m->on;
  Py_INCREF(self);
  return self;
}
PyObject* mode_exit(PyObject* self, PyObject* const*, Py_ssize_t) {
  auto* m = reinterpret_cast<PyGradMode*>(self);
  mode.grad_enabled = m->before;
  mode.inference = m->before_inference;
  Py_RETURN_NONE;
}
PyObject* mode_call(PyObject* self, PyObject* args, PyObject* kwargs) {
  // Used as a decorator: @no_grad() or @no_grad.
  PyObject* m = PyImport_ImportModule("fireseed.autograd.grad_mode");
  if (!m) return nullptr;
  PyObject* decorate = PyObject_GetAttrString(m, "_decorate");
  Py_DECREF(m);
  if (!decorate) return nullptr;
  PyObject* f;
  PyObject* r = nullptr;
  if (PyArg_ParseTuple(args, "O", &f)) r = PyObject_CallFunctionObjArgs(decorate, self, f, nullptr);
  Py_DECREF(decorate);
  (void)kwargs;
  return r;
}
PyObject* mode_clone(PyObject* self, PyObject*) {
  PyTypeObject* t = Py_TYPE(self);
  auto* r = reinterpret_cast<PyGradMode*>(t->tp_alloc(t, 0));
  if (!r) return nullptr;
  r->on = reinterpret_cast<PyGradMode*>(self)->on;
  r->inference = reinterpret_cast<PyGradMode*>(self)->inference;
  return reinterpret_cast<PyObject*>(r);
}
template <int Default, bool SetNow, bool Inference>
PyObject* mode_new(PyTypeObject* type, PyObject* args, PyObject* kwargs) {
  bool on = Default == 1;
  PyObject* given = nullptr;
  const Py_ssize_t n = PyTuple_GET_SIZE(args);
  if (n > 0) given = PyTuple_GET_ITEM(args, 0);
  if (!given && kwargs && PyDict_GET_SIZE(kwargs)) given = PyDict_GetItemString(kwargs, "mode");
  PyObject* decorated = nullptr;
  if (given && PyCallable_Check(given) && !PyBool_Check(given)) {
    decorated = given;
  } else if (given) {
    const int v = PyObject_IsTrue(given);
    if (v < 0) return nullptr;
    on = Inference ? !v : v;
  }
  auto* m = reinterpret_cast<PyGradMode*>(type->tp_alloc(type, 0));
  if (!m) return nullptr;
  m->on = on;
  m->inference = Inference;
  if (decorated) {
    PyObject* t = PyTuple_Pack(1, decorated);
    PyObject* r = mode_call(reinterpret_cast<PyObject*>(m), t, nullptr);
    Py_DECREF(t);
    Py_DECREF(m);
    return r;
  }
  if (SetNow) {
    // set_grad_enabled(x) takes effect at once; __exit__ goes back to what was before.
    m->before = mode.grad_enabled;
    mode.grad_enabled = on;
  }
  return reinterpret_cast<PyObject*>(m);
}
PyObject* set_now_enter(PyObject* self, PyObject*) {
  auto* m = reinterpret_cast<PyGradMode*>(self);
  m->before_inference = mode.inference;
  mode.grad_enabled = m->on;
  Py_INCREF(self);
  return self;
}
PyMethodDef mode_methods[] = {
    {"__enter__", mode_enter, METH_NOARGS, nullptr},
    {"__exit__", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(mode_exit)), METH_FASTCALL, nullptr},
    {"clone", mode_clone, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr}};
PyMethodDef set_now_methods[] = {
    {"__enter__", set_now_enter, METH_NOARGS, nullptr},
    {"__exit__", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(mode_exit)), METH_FASTCALL, nullptr},
    {"clone", mode_clone, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr}};

template <int Default, bool SetNow, bool Inference>
void add_mode(PyObject* module, const char* name, const char* full, const char* doc) {
  PyType_Slot s[] = {{Py_tp_new, reinterpret_cast<void*>(mode_new<Default, SetNow, Inference>)},
                     {Py_tp_call, reinterpret_cast<void*>(mode_call)},
                     {Py_tp_methods, SetNow ? set_now_methods : mode_methods},
                     {Py_tp_doc, const_cast<char*>(doc)},
                     {0, nullptr}};
  PyType_Spec spec = {full, sizeof(PyGradMode), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, s};
  PyModule_AddObject(module, name, PyType_FromSpec(&spec));
}

void note_trace(Node* n) {
  WithGil gil;
  PyObject* m = PyImport_ImportModule("traceback");
  PyObject* list = m ? PyObject_CallMethod(m, "format_stack", nullptr) : nullptr;
  PyObject* empty = PyUnicode_FromString("");
  PyObject* text = list ? PyUnicode_Join(empty, list) : nullptr;
  if (text) n->extras().trace = PyUnicode_AsUTF8(text);
  PyErr_Clear();
  Py_XDECREF(text);
  Py_DECREF(empty);
  Py_XDECREF(list);
  Py_XDECREF(m);
}

BackwardOptions options_of(Args& a, int retain, int create) {
  BackwardOptions o;
  o.create_graph = a.given(create) && a.boolean(create);
  o.retain_graph = a.given(retain) ? a.boolean(retain) : o.create_graph;
  return o;
}

}  // namespace

PyObject* wrap_node(Node* n) {
  Edge e;
  e.node = n;
  return wrap_edge(e);
}

FS_BINDINGS(autograd) {
  def(
      "backward(Tensor self, Tensor? gradient=None, bool? retain_graph=None, bool create_graph=False, object "
      "inputs=None)",
      kMethod,
      [](Args& a) {
        const BackwardOptions o = options_of(a, 2, 3);
        std::vector<Tensor> inputs;
        if (a.given(4)) {
          inputs = tensor_list(a.object(4), "backward");
          FS_CHECK(!inputs.empty(), "`inputs` argument to `backward()` cannot be empty.");
        }
        std::vector<Tensor> roots{a.tensor(0)}, seeds;
        if (a.given(1)) seeds.push_back(a.tensor(1));
        without_gil([&] { backward(roots, seeds, o, inputs); });
      },
      "Adds the gradient of this tensor with respect to the leaves of its graph to their .grad.");
  def("_run_backward(object tensors, object grad_tensors, bool? retain_graph, bool create_graph, object inputs)",
      kPrivate, [](Args& a) {
        const BackwardOptions o = options_of(a, 2, 3);
        std::vector<Tensor> roots = tensor_list(a.object(0), "backward"),
                            seeds = tensor_list(a.object(1), "backward"),
                            inputs = tensor_list(a.object(4), "backward");
        without_gil([&] { backward(roots, seeds, o, inputs); });
      });
  def("_run_grad(object outputs, object inputs, object grad_outputs, bool? retain_graph, bool create_graph, bool "
      "allow_unused)",
      kPrivate, [](Args& a) {
        const BackwardOptions o = options_of(a, 3, 4);
        std::vector<Tensor> roots = tensor_list(a.object(0), "grad"), inputs = tensor_list(a.object(1), "grad"),
                            seeds = tensor_list(a.object(2), "grad");
        const bool unused = a.boolean(5);
        return without_gil([&] { return gradients(roots, seeds, inputs, o, unused); });
      });
  def("requires_grad_(Tensor self, bool requires_grad=True)", kMethod, [](Args& a) {
    set_requires_grad(a.tensor(0), a.boolean(1));
    return a.self();
  });
  def("retain_grad(Tensor self)", kMethod, [](Args& a) { retain_grad(a.tensor(0)); });
  def("register_hook(Tensor self, object hook)", kMethod, [](Args& a) -> PyObject* {
    const int64_t id = add_hook(a.tensor(0), GradientHook{std::make_shared<HeldObject>(a.object(1))});
    track(a.object(0));
    return make_handle(a.object(0), id, "tensor");
  });
  def("register_post_accumulate_grad_hook(Tensor self, object hook)", kMethod, [](Args& a) -> PyObject* {
    const Tensor& t = a.tensor(0);
    FS_CHECK(t.requires_grad(), "cannot register a hook on a tensor that doesn't require gradient");
    FS_CHECK(t.is_leaf(), "post accumulate grad hooks cannot be registered on non-leaf tensors");
    if (!t.impl()->hooks) t.impl()->hooks = new TensorHooks;
    const int64_t id = next_hook_id();
    t.impl()->hooks->post_accumulate.push_back({id, AccumulatedHook{std::make_shared<HeldObject>(a.object(1))}});
    track(a.object(0));
    return make_handle(a.object(0), id, "tensor");
  });
  def("_is_view(Tensor self)", kMethod, [](Args& a) { return a.tensor(0).is_view(); });
  def("_remove_hook(Tensor self, int id)", kMethod, [](Args& a) { remove_hook(a.tensor(0), a.i64(1)); });
  def("detach(Tensor input)", kFunction | kMethod, [](Args& a) { return detach(a.tensor(0)); });
  def("detach_(Tensor self)", kMethod, [](Args& a) {
    TensorImpl* t = a.tensor(0).impl();
    FS_CHECK(!t->base, "Can't detach views in-place. Use detach() instead.");
    if (t->grad_fn) autograd_handlers.release_node(t);
    t->grad_fn = nullptr;
    t->set(TensorImpl::kRequiresGrad, false);
    return a.self();
  });
  def("is_grad_enabled()", kFunction, [](Args&) { return mode.grad_enabled; });
  def("_set_grad_enabled(bool on)", kPrivate, [](Args& a) { mode.grad_enabled = a.boolean(0); });
  def("is_inference_mode_enabled()", kFunction, [](Args&) { return mode.inference; });
  def("is_inference(Tensor input)", kMethod | kFunction,
      [](Args& a) { return a.tensor(0).impl()->has(TensorImpl::kInference); });
  def("is_anomaly_enabled()", kFunction, [](Args&) { return mode.anomaly; });
  def("_set_anomaly(bool on)", kPrivate, [](Args& a) {
    mode.anomaly = a.boolean(0);
    node_created = note_trace;
  });
}

void add_autograd(PyObject* module) {
  node_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&node_spec));
  Py_INCREF(node_type);
  PyModule_AddObject(module, "_Node", reinterpret_cast<PyObject*>(node_type));
  add_function_support(module);
  add_mode<0, false, false>(module, "no_grad", "fireseed.no_grad",
                            "Context manager and decorator: record no gradients.");
  add_mode<1, false, false>(module, "enable_grad", "fireseed.enable_grad",
                            "Context manager and decorator: record gradients.");
  add_mode<1, true, false>(module, "set_grad_enabled", "fireseed.set_grad_enabled",
                           "Function and context manager: record gradients or not.");
  add_mode<0, false, true>(module, "inference_mode", "fireseed.inference_mode",
                           "Context manager and decorator: no gradients and none later.");
}

}  // namespace fireseed::bind

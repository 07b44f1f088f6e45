// The C half of autograd.Function: a rule that calls Python, and the tensors it saved.
#include <string>
#include <vector>

#include "bind/gil.h"
#include "bind/python_types.h"
#include "engine/mode.h"
#include "engine/node.h"

namespace fireseed::bind {

namespace {

// The rule of a Python Function: calls cls.backward(ctx, *grads) with the GIL.
struct PythonRule : CustomRule {
  Held context;  // FunctionCtx: carries _call_backward
  std::string class_name;
  std::vector<Saved> saved;
  std::vector<int> saved_output;  // which output a saved tensor is, -1 for none
  std::vector<int> input_of_arg;  // argument -> edge, -1 where it was no tensor
  bool freed = false;
  const Node* node = nullptr;

  ~PythonRule() override {
    free_saved();
    if (!Py_IsInitialized()) return;
    WithGil gil;  // a ctx that outlives its node has nothing saved any more
    if (context && Py_REFCNT(context->get()) > 1 && PyObject_SetAttrString(context->get(), "_rule", Py_False) < 0)
      PyErr_Clear();
  }
  void free_saved() {
    for (Saved& s : saved)
      if (s.tensor) ref_dec(s.tensor);
    saved.clear();
    freed = true;
  }
  void release_saved() override { free_saved(); }
  std::string name() const override { return class_name + "Backward"; }
  void* python_object() const override { return context->get(); }

  void backward(const Node& n, const Tensor* g, Tensor* gx, bool) override {
    WithGil gil;
    PyObject* grads = PyTuple_New(n.num_outputs);
    for (int i = 0; i < n.num_outputs; ++i) {
      PyObject* o;
      if (g[i].defined()) {
        o = wrap(g[i]);
      } else {
        Py_INCREF(Py_None);
        o = Py_None;
      }
      PyTuple_SET_ITEM(grads, i, o);
    }
    PyObject* r = PyObject_CallMethod(context->get(), "_call_backward", "(O)", grads);
    Py_DECREF(grads);
    if (!r) throw PythonError{};
    PyObject* tuple = PyTuple_Check(r) ? r : PyTuple_Pack(1, r);
    if (tuple != r) Py_DECREF(r);
    const Py_ssize_t count = PyTuple_GET_SIZE(tuple);
    const auto expected = static_cast<Py_ssize_t>(input_of_arg.size());
    bool extra_none = true;
    for (Py_ssize_t i = expected; i < count; ++i) extra_none &= PyTuple_GET_ITEM(tuple, i) == Py_None;
    if (count < expected || !extra_none) {
      Py_DECREF(tuple);
      fail(ErrorKind::kRuntime, "function ", name(), " returned an incorrect number of gradients (expected ",
           expected, ", got ", count, ")");
    }
    for (Py_ssize_t i = 0; i < expected; ++i) {
      const int at = input_of_arg[static_cast<size_t>(i)];
      PyObject* o = PyTuple_GET_ITEM(tuple, i);
      if (at < 0 || o == Py_None) continue;
      const Tensor* t = as_tensor(o);
      if (!t) {
        const std::string got = Py_TYPE(o)->tp_name;
        Py_DECREF(tuple);
        fail(ErrorKind::kType, "function ", name(), ": expected Variable or None as gradient ", i, " (got ", got,
             ")");
      }
      gx[at] = *t;
    }
    Py_DECREF(tuple);
  }
};

// _attach_function(ctx, class_name, args, outputs, saved, dirty, non_differentiable) -> outputs with history
PyObject* attach_function(PyObject*, PyObject* args) {
  return guarded([&]() -> PyObject* {
    PyObject *ctx, *name, *call_args, *outputs, *saved, *dirty, *non_diff;
    if (!PyArg_ParseTuple(args, "OUO!O!OOO", &ctx, &name, &PyTuple_Type, &call_args, &PyTuple_Type, &outputs, &saved,
                          &dirty, &non_diff))
      throw PythonError{};
    auto in_list = [](PyObject* list, PyObject* o) {
      for (Py_ssize_t i = 0; list != Py_None && i < PyTuple_GET_SIZE(list); ++i)
        if (PyTuple_GET_ITEM(list, i) == o) return true;
      return false;
    };
    const Py_ssize_t n_args = PyTuple_GET_SIZE(call_args), n_out = PyTuple_GET_SIZE(outputs);
    auto* rule = new PythonRule;
    rule->context = std::make_shared<HeldObject>(ctx);
    rule->class_name = PyUnicode_AsUTF8(name);
    std::vector<Edge> edges;
    for (Py_ssize_t i = 0; i < n_args; ++i) {
      const Tensor* t = as_tensor(PyTuple_GET_ITEM(call_args, i));
      rule->input_of_arg.push_back(t ? static_cast<int>(edges.size()) : -1);
      if (t) edges.push_back(gradient_edge(*t));
    }
    // Outputs that are inputs returned as they came get a handle of their own.
    std::vector<Tensor> outs;
    std::vector<bool> differentiable, rebase;
    PyObject* result = PyTuple_New(n_out);
    for (Py_ssize_t i = 0; i < n_out; ++i) {
      PyObject* o = PyTuple_GET_ITEM(outputs, i);
      const Tensor* t = as_tensor(o);
      Tensor out = t ? *t : Tensor();
      bool diff = t && t->is_floating() && !in_list(non_diff, o);
      const bool is_dirty = t && in_list(dirty, o);
      bool is_input = false;
      for (Py_ssize_t k = 0; k < n_args; ++k) is_input |= PyTuple_GET_ITEM(call_args, k) == o;
      const bool was_view = t && (out.is_view() || t->impl()->has(TensorImpl::kNoGradView));
      if (t && is_input && !is_dirty) out = detached_alias(*t);
      else if (t && !is_dirty && diff && (out.requires_grad() || out.is_view())) out = detached_alias(*t);
      if (t && !is_dirty && diff && (is_input || was_view)) {
        out.impl()->set(TensorImpl::kNoGradView, false);
        out.impl()->set(TensorImpl::kMultiView, true);
      }
      outs.push_back(out);
      differentiable.push_back(diff);
      rebase.push_back(is_dirty);
      PyObject* w;
      if (t) {
        w = wrap(out);
      } else {
        Py_INCREF(o);
        w = o;
      }
      PyTuple_SET_ITEM(result, i, w);
    }
    Node* n = Node::make(nullptr, rule, static_cast<int>(edges.size()), outs.data(), static_cast<int>(n_out), 0,
                         nullptr, 0);
    rule->node = n;
    for (size_t i = 0; i < edges.size(); ++i) set_edge(n->edges()[i], edges[i]);
    for (Py_ssize_t i = 0; saved != Py_None && i < PyTuple_GET_SIZE(saved); ++i) {
      const Tensor* t = as_tensor(PyTuple_GET_ITEM(saved, i));
      Saved s;
      int which = -1;
      if (t) {
        for (Py_ssize_t k = 0; k < n_out; ++k)
          if (PyTuple_GET_ITEM(outputs, k) == PyTuple_GET_ITEM(saved, i)) which = static_cast<int>(k);
        s.tensor = which >= 0 ? detached_alias(*t).release() : Tensor(*t).release();
        s.version = s.tensor->storage->version;
      }
      rule->saved.push_back(s);
      rule->saved_output.push_back(which);
    }
    for (Py_ssize_t i = 0; i < n_out; ++i) {
      const auto k = static_cast<size_t>(i);
      if (!outs[k].defined() || !differentiable[k]) continue;
      if (rebase[k]) {
        outs[k].bump_version();
        for (Saved& s : rule->saved)
          if (s.tensor && s.tensor->storage == outs[k].impl()->storage) s.version = s.tensor->storage->version;
        FS_CHECK(i == 0 || !outs[k].is_view(), "mark_dirty on a view that is not the first output is not supported");
        if (i == 0) {
          rebase_history(outs[k], n);
        } else {
          set_history(outs[k], n, static_cast<int>(i));
        }
      } else {
        set_history(outs[k], n, static_cast<int>(i));
      }
      track(PyTuple_GET_ITEM(result, i));  // the ctx may refer to its outputs
    }
    PyObject* capsule = PyCapsule_New(rule, "fireseed.rule", nullptr);
    PyObject_SetAttrString(ctx, "_rule", capsule);
    Py_DECREF(capsule);
    ref_dec(n);
    return result;
  });
}

// _function_saved(ctx): the saved tensors, checked against overwriting.
PyObject* function_saved(PyObject*, PyObject* ctx) {
  return guarded([&]() -> PyObject* {
    PyObject* capsule = PyObject_GetAttrString(ctx, "_rule");
    if (!capsule) throw PythonError{};
    auto* rule =
        capsule == Py_False ? nullptr : static_cast<PythonRule*>(PyCapsule_GetPointer(capsule, "fireseed.rule"));
    Py_DECREF(capsule);
    if (!rule && PyErr_Occurred()) throw PythonError{};
    FS_CHECK(rule, "saved_tensors: the graph this ctx belongs to is gone, and what it saved with it");
    FS_CHECK(!rule->freed,
             "Trying to backward through the graph a second time (or directly access saved tensors after they have "
             "already "
             "been freed), at ",
             rule->name(),
             ". Specify retain_graph=True if you need to backward through the graph a "
             "second time or if you need to access saved tensors after calling backward.");
    PyObject* r = PyTuple_New(static_cast<Py_ssize_t>(rule->saved.size()));
    for (size_t i = 0; i < rule->saved.size(); ++i) {
      const Saved& s = rule->saved[i];
      Tensor t = Tensor::share(s.tensor);
      if (t.defined()) {
        if (s.version != s.tensor->storage->version) {
          Py_DECREF(r);
          fail(ErrorKind::kRuntime,
               "one of the variables needed for gradient computation has been modified by an inplace operation: [",
               dtype_name(t.dtype()), " ", t.sizes(), "], saved by ", rule->name(), ", is at version ",
               s.tensor->storage->version, "; expected version ", s.version, " instead.");
        }
        if (rule->saved_output[i] >= 0 && mode.grad_enabled) {
          t = detached_alias(t);
          set_history(t, const_cast<Node*>(rule->node), rule->saved_output[i]);
        }
      }
      PyTuple_SET_ITEM(r, static_cast<Py_ssize_t>(i), wrap(t));
    }
    return r;
  });
}

PyMethodDef functions[] = {{"_attach_function", attach_function, METH_VARARGS, nullptr},
                           {"_function_saved", function_saved, METH_O, nullptr},
                           {nullptr, nullptr, 0, nullptr}};

}  // namespace

void add_function_support(PyObject* module) { PyModule_AddFunctions(module, functions); }

}  // namespace fireseed::bind

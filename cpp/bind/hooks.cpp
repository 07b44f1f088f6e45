// Python functions as hooks of tensors.
#include "bind/hooks.h"

#include <string>

#include "bind/python_types.h"

namespace fireseed::bind {

Tensor GradientHook::operator()(const Tensor& g) const {
  WithGil gil;
  PyObject* arg = wrap(g);
  PyObject* r = arg ? PyObject_CallOneArg(function->get(), arg) : nullptr;
  Py_XDECREF(arg);
  if (!r) throw PythonError{};
  const Tensor* t = as_tensor(r);
  Tensor out = t ? *t : Tensor();
  const bool none = r == Py_None;
  const std::string got = Py_TYPE(r)->tp_name;
  Py_DECREF(r);
  FS_CHECK_TYPE(t || none, "expected Variable, but hook returned '", got, "'");
  FS_CHECK(!t || out.same_shape(g), "hook '' has changed the size of value: ", g.sizes(), " to ", out.sizes());
  return out;
}

void AccumulatedHook::operator()(const Tensor& leaf) const {
  WithGil gil;
  PyObject* arg = wrap(leaf);
  PyObject* r = arg ? PyObject_CallOneArg(function->get(), arg) : nullptr;
  Py_XDECREF(arg);
  if (!r) throw PythonError{};
  Py_DECREF(r);
}

std::vector<const HeldObject*> held_by(const TensorHooks& hooks) {
  std::vector<const HeldObject*> held;
  auto add = [&](const Held& h) {
    if (h.use_count() == 1) held.push_back(h.get());
  };
  for (const Hook& h : hooks.hooks)
    if (const auto* f = h.call.target<GradientHook>()) add(f->function);
  for (const auto& h : hooks.post_accumulate)
    if (const auto* f = h.second.target<AccumulatedHook>()) add(f->function);
  return held;
}

}  // namespace fireseed::bind

// Autocast of named functions, and its switches for Python.
#include "engine/autocast.h"

#include "bind/function.h"
#include "bind/python_types.h"
#include "bind/registry.h"

namespace fireseed::bind {

// The function with its arguments cast by its policy, and autocast off: Note [Autocast]. An explicit dtype= wins.
PyObject* finish_with_autocast(const Function& f, const Signature& s, PyObject** slots, const VarArgs& v) {
  std::vector<PyObject*> owned;
  PyObject* result = guarded([&]() -> PyObject* {
    std::vector<Tensor> all;
    bool has_dtype = false;
    for (size_t i = 0; i < s.params.size(); ++i) {
      if (const Tensor* t = as_tensor(slots[i])) all.push_back(*t);
      if (s.params[i].kind == Kind::kTensorList && slots[i] && (PyList_Check(slots[i]) || PyTuple_Check(slots[i])))
        for (Py_ssize_t k = 0; k < PySequence_Fast_GET_SIZE(slots[i]); ++k)
          if (const Tensor* t = as_tensor(PySequence_Fast_GET_ITEM(slots[i], k))) all.push_back(*t);
      has_dtype |= s.params[i].kind == Kind::kDType && slots[i] && slots[i] != Py_None;
    }
    DeviceKind kind = DeviceKind::kCpu;
    for (const Tensor& t : all)
      if (!t.device().is_cpu()) kind = t.device().kind;
    const CastPolicy policy = f.autocast[static_cast<int>(kind)];
    // Not for this device: the ops inside may still be cast.
    if (policy == CastPolicy::kNone || !(mode.autocast & autocast_bit(kind))) return run_handler(f, s, slots, v);
    if (policy == CastPolicy::kAsIs) {
      const AutocastOff off;
      return run_handler(f, s, slots, v);
    }
    DType widest = DType::kUndefined;
    for (const Tensor& t : all)
      if (autocast_eligible(t, kind)) widest = promote_types(widest, t.dtype());
    const DType target = autocast_target(policy, kind, widest, f.name.c_str());
    const auto cast = [&](PyObject* o) -> PyObject* {  // new reference
      const Tensor* t = as_tensor(o);
      if (t && !has_dtype && autocast_eligible(*t, kind) && t->dtype() != target)
        return wrap(autocast_to(*t, target, kind));
      Py_INCREF(o);
      return o;
    };
    for (size_t i = 0; i < s.params.size(); ++i) {
      if (as_tensor(slots[i])) {
        slots[i] = cast(slots[i]);
        owned.push_back(slots[i]);
      } else if (s.params[i].kind == Kind::kTensorList && slots[i] &&
                 (PyList_Check(slots[i]) || PyTuple_Check(slots[i]))) {
        const Py_ssize_t n = PySequence_Fast_GET_SIZE(slots[i]);
        PyObject* list = PyList_New(n);
        for (Py_ssize_t k = 0; k < n; ++k) PyList_SET_ITEM(list, k, cast(PySequence_Fast_GET_ITEM(slots[i], k)));
        slots[i] = list;
        owned.push_back(list);
      }
    }
    const AutocastOff off;
    return run_handler(f, s, slots, v);
  });
  for (PyObject* o : owned) Py_DECREF(o);
  return result;
}

namespace {

DeviceKind kind_arg(Args& a, int i) {
  const std::string_view s = a.given(i) ? a.str(i) : "cuda";
  FS_CHECK(s == "cpu" || s == "cuda", "autocast: expected the device type 'cpu' or 'cuda', got '", s, "'");
  return s == "cpu" ? DeviceKind::kCpu : DeviceKind::kCuda;
}

}  // namespace

FS_BINDINGS(autocast) {
  def("is_autocast_enabled(str? device_type=None)", kFunction,
      [](Args& a) { return a.given(0) ? (mode.autocast & autocast_bit(kind_arg(a, 0))) != 0 : mode.autocast != 0; });
  def("set_autocast_enabled(str device_type, bool enabled)", kFunction, [](Args& a) {
    const uint8_t bit = autocast_bit(kind_arg(a, 0));
    mode.autocast = static_cast<uint8_t>(a.boolean(1) ? mode.autocast | bit : mode.autocast & ~bit);
  });
  def("_get_autocast_dtype(str device_type)", kPrivate,
      [](Args& a) { return autocast_state.lower[static_cast<int>(kind_arg(a, 0))]; });
  def("_set_autocast_dtype(str device_type, dtype dtype)", kPrivate, [](Args& a) {
    const DType t = a.dtype(1);
    FS_CHECK(is_half(t) || t == DType::kFloat32, "autocast: expected dtype bfloat16, float16 or float32, got ",
             dtype_name(t));
    autocast_state.lower[static_cast<int>(kind_arg(a, 0))] = t;
  });
  def("is_autocast_cache_enabled()", kFunction, [](Args&) { return autocast_state.cache; });
  def("set_autocast_cache_enabled(bool enabled)", kFunction, [](Args& a) { autocast_state.cache = a.boolean(0); });
  def("autocast_increment_nesting()", kFunction, [](Args&) -> int64_t { return ++autocast_state.nesting; });
  def("autocast_decrement_nesting()", kFunction, [](Args&) -> int64_t { return --autocast_state.nesting; });
  def("clear_autocast_cache()", kFunction, [](Args&) { clear_autocast_cache(); });
}

}  // namespace fireseed::bind

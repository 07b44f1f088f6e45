// Python objects owned by code that runs without the GIL, and scopes that take or give up the GIL.
#pragma once

#include <memory>

#include "bind/fast_call.h"

namespace fireseed::bind {

// A Python object owned from C++ code that runs without the GIL.
class HeldObject {
 public:
  explicit HeldObject(PyObject* o) : o_(o) { Py_INCREF(o); }
  HeldObject(const HeldObject&) = delete;
  ~HeldObject() {
    if (!Py_IsInitialized()) return;
    PyGILState_STATE gil = PyGILState_Ensure();
    Py_DECREF(o_);
    PyGILState_Release(gil);
  }
  PyObject* get() const { return o_; }

 private:
  PyObject* o_;
};
using Held = std::shared_ptr<HeldObject>;

struct WithGil {
  PyGILState_STATE state = PyGILState_Ensure();
  ~WithGil() { PyGILState_Release(state); }
};
struct WithoutGil {
  PyThreadState* state = PyEval_SaveThread();
  ~WithoutGil() { PyEval_RestoreThread(state); }
};

// Runs f without the GIL; a Python error set inside survives.
template <class F>
auto without_gil(F&& f) {
  WithoutGil released;
  return f();
}

}  // namespace fireseed::bind

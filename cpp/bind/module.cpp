// The extension module fireseed._C.
#include "bind/python_types.h"
#include "bind/registry.h"
#include "engine/apply.h"

namespace {

PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "fireseed._C", "The engine of fireseed.", -1, nullptr, nullptr, nullptr, nullptr, nullptr};

}  // namespace

PyMODINIT_FUNC PyInit__C() {
  using namespace fireseed::bind;
  PyObject* module = PyModule_Create(&definition);
  if (!module) return nullptr;
  add_python_types(module);
  add_tensor_type(module);
  add_autograd(module);
  add_module_base(module);
  if (PyErr_Occurred()) return nullptr;
  fireseed::host_lock.release = []() -> void* { return PyGILState_Check() ? PyEval_SaveThread() : nullptr; };
  fireseed::host_lock.acquire = [](void* state) { PyEval_RestoreThread(static_cast<PyThreadState*>(state)); };
  run_registrars();
  publish(module);
  link_operators();
  PyModule_AddStringConstant(module, "__version__", FS_VERSION);
  if (PyErr_Occurred()) return nullptr;
  return module;
}

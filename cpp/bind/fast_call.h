// Python functions and methods from one-line signatures: parsed once at load, called by vectorcall without pybind11.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <initializer_list>
#include <optional>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "tensor/tensor.h"

namespace fireseed {
class Generator;
}

namespace fireseed::bind {

// Where a function is reachable from Python.
enum Where : unsigned {
  kFunction = 1,    // fireseed.name
  kMethod = 2,      // Tensor.name
  kNN = 4,          // fireseed.nn.functional.name (attribute of fireseed._C._nn)
  kInPlace = 8,     // also Tensor.name_: the result is copied into self, with its history
  kLinalg = 16,     // fireseed.linalg.name
  kSpecial = 32,    // fireseed.special.name
  kPrivate = 64,    // fireseed._C.name only
  kFreshOut = 128,  // out= must share no memory with the inputs, not even be one of them
  kExactOut = 256,  // out= must have the result's dtype
};

struct Function;

// What factories use where no device is named (set_default_device, `with device(…)`).
extern thread_local Device default_device;

// The arguments of one call, by position in the signature; conversion happens on access and throws TypeError.
class Args {
 public:
  // varargs: the ints of an `int...` parameter given one by one, at position `var_index`.
  Args(const Function& f, PyObject** slots, PyObject* const* varargs = nullptr, Py_ssize_t var_count = 0,
       int var_index = -1)
      : function_(f), slots_(slots), varargs_(varargs), var_count_(var_count), var_index_(var_index) {}
  const Tensor& tensor(int i);  // also takes Operand: Python numbers become 0-dim wrapped numbers
  Tensor opt_tensor(int i);
  std::vector<Tensor> tensors(int i);
  int64_t i64(int i);
  std::optional<int64_t> opt_i64(int i);
  double f64(int i);
  std::optional<double> opt_f64(int i);
  bool boolean(int i);
  Scalar scalar(int i);
  std::optional<Scalar> opt_scalar(int i);
  Dims dims(int i);
  std::optional<Dims> opt_dims(int i);
  DType dtype(int i);
  DType opt_dtype(int i);    // kUndefined where None
  Device opt_device(int i);  // the thread's default device where None
  Device device_or(int i, Device fallback);
  std::string_view str(int i);
  std::optional<std::string_view> opt_str(int i);
  Generator* generator(int i);  // null where None: the default one of the tensor's device
  PyObject* object(int i) { return slots_[i]; }
  bool given(int i) const { return slots_[i] && slots_[i] != Py_None; }
  PyObject* self() {  // the first argument, as a new reference: what in-place methods return
    Py_INCREF(slots_[0]);
    return slots_[0];
  }
  const Function& function() const { return function_; }

 private:
  const Function& function_;
  PyObject** slots_;
  PyObject* const* varargs_;
  Py_ssize_t var_count_;
  int var_index_;
  Tensor numbers_[4];  // operands made from Python numbers
};

// --- Results ------------------------------------------------------------------------------------------------------

struct Named {
  const char* type_name;
  std::vector<const char*> fields;
  std::vector<Tensor> values;
};
// A named tuple, as torch.return_types has them.
inline Named named(const char* type_name, std::initializer_list<const char*> fields,
                   std::initializer_list<Tensor> values) {
  return Named{type_name, fields, values};
}

PyObject* wrap(Tensor t);  // new reference; the same object while one is alive; None where undefined
PyObject* to_python(const Named& n);
PyObject* to_python(const std::vector<Tensor>& v);
PyObject* to_python(const Dims& d);  // fireseed.Size
PyObject* to_python(Scalar s);
PyObject* to_python(DType t);
PyObject* to_python(Device d);
inline PyObject* to_python(Tensor t) { return wrap(std::move(t)); }
inline PyObject* to_python(PyObject* p) { return p; }
inline PyObject* to_python(bool b) { return PyBool_FromLong(b); }
inline PyObject* to_python(int64_t i) { return PyLong_FromLongLong(i); }
inline PyObject* to_python(double d) { return PyFloat_FromDouble(d); }
PyObject* to_python(std::string_view s);
template <class... T>
PyObject* to_python(const std::tuple<T...>& t) {
  PyObject* r = PyTuple_New(sizeof...(T));
  if (!r) return nullptr;
  Py_ssize_t i = 0;
  std::apply([&](const auto&... x) { (PyTuple_SET_ITEM(r, i++, to_python(x)), ...); }, t);
  return r;
}
template <class A, class B>
PyObject* to_python(const std::pair<A, B>& p) {
  return to_python(std::tuple<A, B>(p.first, p.second));
}

// --- Definitions --------------------------------------------------------------------------------------------------

using Handler = PyObject* (*)(Args&);

void define(const char* signature, unsigned where, Handler handler, const char* doc);

// def("softmax(Tensor input, int dim, dtype? dtype=None)", kFunction | kMethod, [](Args& a) { … }, "docstring");
// The lambda must not capture. See docs/adding-an-op.md for the signature language.
template <class F>
void def(const char* signature, unsigned where, F, const char* doc = nullptr) {
  define(
      signature, where,
      [](Args& a) -> PyObject* {
        if constexpr (std::is_void_v<decltype(F{}(a))>) {
          F{}(a);
          Py_RETURN_NONE;
        } else {
          return to_python(F{}(a));
        }
      },
      doc);
}

// FS_BINDINGS(family) { def(…); … }: run once when the module loads.
struct Registrar { explicit Registrar(void (*f)()); };
#define FS_BINDINGS(family)                                 \
  static void bind_##family();                              \
  static const Registrar registrar_##family(bind_##family); \
  static void bind_##family()

// Runs f, turning C++ exceptions into Python ones; returns f's result or nullptr.
template <class F>
PyObject* guarded(F&& f) noexcept;
void set_python_error() noexcept;  // from the exception in flight

template <class F>
PyObject* guarded(F&& f) noexcept {
  try {
    return f();
  } catch (...) {
    set_python_error();
    return nullptr;
  }
}

// The Python object: one handle, and room for attributes and weak references.
struct PyTensor {
  PyObject_HEAD Tensor tensor;
  PyObject* dict;
  PyObject* weakrefs;
  PyObject* shape;  // the Size last given out, reused while it is right
};
extern PyTypeObject* tensor_type;

inline bool is_tensor(PyObject* o) { return Py_TYPE(o) == tensor_type || PyType_IsSubtype(Py_TYPE(o), tensor_type); }
// The Tensor behind a Python object, or null where it is none.
inline const Tensor* as_tensor(PyObject* o) {
  return o && is_tensor(o) ? &reinterpret_cast<PyTensor*>(o)->tensor : nullptr;
}
void track(PyObject* tensor);  // shows it to the cycle collector: Note [Tensor objects]
// Raised by code that has already set the Python error.
struct PythonError {};

}  // namespace fireseed::bind

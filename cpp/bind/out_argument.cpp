// The out= argument: what it may be, and copying a result into it.
#include "bind/out_argument.h"

#include <memory>
#include <sstream>

#include "bind/python_types.h"
#include "engine/mode.h"
#include "ops/copy.h"

namespace fireseed::bind {

namespace {

// First and one past the last byte that t's elements lie in; empty where it has none.
std::pair<const char*, const char*> span_of(const Tensor& t) {
  const char* first = static_cast<const char*>(t.impl()->data);
  if (t.numel() == 0) return {first, first};
  int64_t last = 0;
  for (int i = 0; i < t.dim(); ++i) last += (t.size(i) - 1) * t.stride(i);
  return {first, first + (last + 1) * static_cast<int64_t>(dtype_size(t.dtype()))};
}

bool same_view(const Tensor& a, const Tensor& b) {
  return a.impl()->data == b.impl()->data && a.dtype() == b.dtype() && a.same_shape(b) && a.strides() == b.strides();
}

// out and x share memory in a way that writing out element by element could change elements of x still to be read.
// fresh: not even the very same view is allowed.
bool overlaps(const Tensor& out, const Tensor& x, bool fresh) {
  if (out.impl()->storage != x.impl()->storage) return false;
  if (out.impl() == x.impl() || same_view(out, x)) return fresh;
  const auto [a, a_end] = span_of(out);
  const auto [b, b_end] = span_of(x);
  return a < b_end && b < a_end && out.is_contiguous() && x.is_contiguous();
}

template <class F>
void for_each_tensor(PyObject* const* slots, size_t n, F&& f) {
  for (size_t i = 0; i < n; ++i) {
    if (!slots[i]) continue;
    if (const Tensor* t = as_tensor(slots[i])) {
      f(*t);
    } else if (PyList_Check(slots[i]) || PyTuple_Check(slots[i])) {
      PyObject** items = PySequence_Fast_ITEMS(slots[i]);
      for (Py_ssize_t k = 0; k < PySequence_Fast_GET_SIZE(slots[i]); ++k)
        if (const Tensor* t = as_tensor(items[k])) f(*t);
    }
  }
}

void check_memory(const Function& f, PyObject* const* slots, size_t num_slots, const Tensor& out) {
  for (int i = 0; i < out.dim(); ++i)
    FS_CHECK(out.size(i) <= 1 || out.stride(i) != 0, f.name,
             "(): unsupported operation: more than one element of the written-to tensor (out=, shape ", out.sizes(),
             ", strides ", out.strides(),
             ") refers to a single memory location. Please clone() the tensor before performing the operation.");
  for_each_tensor(slots, num_slots, [&](const Tensor& x) {
    FS_CHECK(
        !overlaps(out, x, f.fresh_out), f.name,
        "(): unsupported operation: some elements of the input tensor and the written-to tensor refer to a single "
        "memory location. Please clone() the tensor before performing the operation.");
  });
}

}  // namespace

PyObject* copy_to_out(const Function& f, PyObject* const* slots, size_t num_slots, PyObject* result, PyObject* out) {
  if (!result) return nullptr;
  PyObject* r = guarded([&]() -> PyObject* {
    auto put = [&](PyObject* dst, PyObject* src) {
      const Tensor *d = as_tensor(dst), *v = as_tensor(src);
      FS_CHECK_TYPE(d && v, f.name, "(): argument 'out' must be Tensor (or a tuple of them), not ",
                    Py_TYPE(dst)->tp_name);
      FS_CHECK(
          !mode.grad_enabled || (!d->requires_grad() && !v->requires_grad()), f.name,
          "(): functions with out=... arguments don't support automatic differentiation, but one of the arguments "
          "requires grad.");
      FS_CHECK(!(f.exact_out || (PyTuple_Check(result) && v->dtype() == DType::kInt64)) || d->dtype() == v->dtype(),
               f.name, "(): Expected out tensor to have dtype ", dtype_name(v->dtype()), ", but got ",
               dtype_name(d->dtype()), " instead");
      FS_CHECK(is_floating(d->dtype()) || !is_floating(v->dtype()), f.name, "(): result type ",
               dtype_name(v->dtype()), " can't be cast to the desired output type ", dtype_name(d->dtype()));
      check_memory(f, slots, num_slots, *d);
      if (!d->same_shape(*v)) {
        if (d->numel()) {
          std::ostringstream text;
          text << f.name << "(): An output with one or more elements was resized since it had shape " << d->sizes()
               << ", which does not match the required output shape " << v->sizes()
               << ". Give an out= of that shape, or an empty one.";
          if (PyErr_WarnEx(PyExc_UserWarning, text.str().c_str(), 1) < 0) throw PythonError{};
        }
        resize_(*d, v->sizes());
      }
      copy_(*d, *v);
    };
    if (PyTuple_Check(result) && !is_tensor(out)) {
      PyObject* fast = PySequence_Fast(out, "out must be a tuple of tensors");
      if (!fast) throw PythonError{};
      const std::unique_ptr<PyObject, decltype([](PyObject* o) { Py_DECREF(o); })> keep(fast);
      const Py_ssize_t n = PyTuple_GET_SIZE(result);
      FS_CHECK_TYPE(PySequence_Fast_GET_SIZE(fast) == n, f.name, "(): argument 'out' must be a tuple of ", n,
                    " Tensors, got ", PySequence_Fast_GET_SIZE(fast));
      for (Py_ssize_t i = 0; i < n; ++i) put(PySequence_Fast_GET_ITEM(fast, i), PyTuple_GET_ITEM(result, i));
      if (Py_TYPE(result) != &PyTuple_Type) {  // a named tuple of the outs
        PyObject* r = PyObject_CallOneArg(reinterpret_cast<PyObject*>(Py_TYPE(result)), out);
        if (!r) throw PythonError{};
        return r;
      }
    } else {
      put(out, result);
    }
    Py_INCREF(out);
    return out;
  });
  Py_DECREF(result);
  return r;
}

}  // namespace fireseed::bind

// Methods of Tensor whose work is done in Python: pickling, copying, formatting.
#include "bind/python_types.h"
#include "bind/registry.h"
#include "engine/mode.h"
#include "ops/copy.h"
#include "ops/shape.h"
#include "tensor/backend.h"

namespace fireseed::bind {

namespace {

// "torch.cuda.FloatTensor" as it stands, or of the class fireseed.cuda.FloatTensor.
std::string tensor_type_name(PyObject* kind) {
  std::string text;
  for (const char* attribute : {"__module__", "__name__"}) {
    PyObject* part = PyUnicode_Check(kind) ? Py_NewRef(kind) : PyObject_GetAttrString(kind, attribute);
    if (!part) throw PythonError{};
    const char* utf8 = PyUnicode_Check(part) ? PyUnicode_AsUTF8(part) : "";
    if (utf8) text += (text.empty() ? "" : ".") + std::string(utf8);
    Py_DECREF(part);
    if (PyUnicode_Check(kind)) break;
  }
  return text;
}

PyObject* python_function(const char* module, const char* name) {
  PyObject* m = PyImport_ImportModule(module);
  if (!m) throw PythonError{};
  PyObject* f = PyObject_GetAttrString(m, name);
  Py_DECREF(m);
  if (!f) throw PythonError{};
  return f;
}

PyObject* call_python(const char* module, const char* name, std::initializer_list<PyObject*> args) {
  PyObject* f = python_function(module, name);
  PyObject* r = PyObject_Vectorcall(f, args.begin(), args.size(), nullptr);
  Py_DECREF(f);
  return r;
}

const char* type_name(DType t) {
  switch (t) {
    case DType::kBool: return "BoolTensor";
    case DType::kUInt8: return "ByteTensor";
    case DType::kInt8: return "CharTensor";
    case DType::kInt16: return "ShortTensor";
    case DType::kInt32: return "IntTensor";
    case DType::kInt64: return "LongTensor";
    case DType::kFloat16: return "HalfTensor";
    case DType::kBFloat16: return "BFloat16Tensor";
    case DType::kFloat64: return "DoubleTensor";
    default: return "FloatTensor";
  }
}

}  // namespace

FS_BINDINGS(python_methods) {
  def("__reduce_ex__(Tensor self, int protocol)", kMethod,
      [](Args& a) { return call_python("fireseed._pickle", "reduce_tensor", {a.object(0)}); });
  def("__deepcopy__(Tensor self, object memo)", kMethod,
      [](Args& a) { return call_python("fireseed._pickle", "deepcopy_tensor", {a.object(0), a.object(1)}); });
  def("__copy__(Tensor self)", kMethod,
      [](Args& a) { return call_python("fireseed._pickle", "copy_tensor", {a.object(0)}); });
  def("__format__(Tensor self, str spec)", kMethod, [](Args& a) -> PyObject* {
    const Tensor& x = a.tensor(0);
    if (x.dim() == 0 && PyUnicode_GET_LENGTH(a.object(1)) > 0) {
      PyObject* number = to_python(item(x));
      PyObject* r = number ? PyObject_Format(number, a.object(1)) : nullptr;
      Py_XDECREF(number);
      return r;
    }
    if (PyUnicode_GET_LENGTH(a.object(1)) == 0)
      return x.dim() == 0 ? PyObject_Str(to_python(item(x))) : PyObject_Str(a.object(0));
    fail(ErrorKind::kType,
         "unsupported format string passed to Tensor.__format__: only tensors with one element and no "
         "dimension take one, this one has shape ",
         x.sizes());
  });
  def(
      "__array_wrap__(Tensor self, object array, object context=None, object return_scalar=None)", kMethod,
      [](Args& a) -> PyObject* { return wrap(tensor_from_data(a.object(1), DType::kUndefined, false)); },
      "What a numpy function made of this tensor, as a tensor.");
  def("__contains__(Tensor self, object element)", kMethod, [](Args& a) -> PyObject* {
    Scalar number;
    FS_CHECK(is_tensor(a.object(1)) || to_scalar(a.object(1), number),
             "Tensor.__contains__ only supports Tensor or scalar, but you passed in a ",
             Py_TYPE(a.object(1))->tp_name, ".");
    PyObject* same = PyObject_RichCompare(a.object(0), a.object(1), Py_EQ);
    if (!same) return nullptr;
    PyObject* any = PyObject_CallMethod(same, "any", nullptr);
    Py_DECREF(same);
    if (!any) return nullptr;
    const int r = PyObject_IsTrue(any);
    Py_DECREF(any);
    return r < 0 ? nullptr : PyBool_FromLong(r);
  });
  def("type(Tensor self, object dtype=None, bool non_blocking=False)", kMethod, [](Args& a) -> PyObject* {
    const Tensor& x = a.tensor(0);
    if (!a.given(1))
      return PyUnicode_FromFormat(x.device().is_cpu() ? "%s.%s" : "%s.cuda.%s", shown_name, type_name(x.dtype()));
    if (is_dtype(a.object(1))) return wrap(to(x, dtype_from(a.object(1))));
    const std::string s = tensor_type_name(a.object(1));
    // "torch.FloatTensor" is on the CPU, "torch.cuda.FloatTensor" on a GPU: x's, or the current one.
    const bool on_gpu = s.find("cuda.") != std::string::npos;
    Device device;
    if (on_gpu)
      device = x.device().is_cpu() ? Device{DeviceKind::kCuda, static_cast<int8_t>(backend("cuda").current_device())}
                                   : x.device();
    const std::string name = s.substr(s.rfind('.') == std::string::npos ? 0 : s.rfind('.') + 1);
    for (int i = 0; i < kNumDTypes; ++i)
      if (name == type_name(static_cast<DType>(i))) {
        const DType dtype = static_cast<DType>(i);
        return wrap(x.device() == device ? to(x, dtype) : to(x, dtype, device, a.boolean(2)));
      }
    fail(ErrorKind::kValue, "type(): invalid type: '", s, "'");
  });
  def(
      "_show_as_torch(bool yes)", kPrivate,
      [](Args& a) -> PyObject* {
        shown_name = a.boolean(0) ? "torch" : "fireseed";
        Py_RETURN_NONE;
      },
      "Whether dtypes, sizes and Tensor.type() are printed as PyTorch prints them: 'torch.float32'.");
  def(
      "_whole_storage(Tensor self)", kPrivate,
      [](Args& a) {
        const Tensor& x = a.tensor(0);
        const int64_t n = static_cast<int64_t>(x.impl()->storage->nbytes / x.itemsize()), one = 1;
        return alias(x, &n, &one, 1, 0);
      },
      "All elements of the tensor's storage, as a 1-dim tensor on it.");
  def(
      "_to_bytes(Tensor self)", kPrivate,
      [](Args& a) -> PyObject* {
        const Tensor x = contiguous(to(detach(a.tensor(0)), a.tensor(0).dtype(), Device{}));
        return PyBytes_FromStringAndSize(x.impl()->data,
                                         static_cast<Py_ssize_t>(x.numel() * static_cast<int64_t>(x.itemsize())));
      },
      "The elements' bytes, row-major.");
}

}  // namespace fireseed::bind

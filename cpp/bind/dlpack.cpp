// DLPack, both ways (the public C structure of the DLPack standard, version 0).
#include "bind/python_types.h"
#include "tensor/backend.h"

namespace fireseed::bind {

namespace {

struct DLDevice {
  int32_t type;  // 1: CPU, 2: CUDA
  int32_t id;
};
struct DLDataType {
  uint8_t code;  // 0 int, 1 uint, 2 float, 4 bfloat, 6 bool
  uint8_t bits;
  uint16_t lanes;
};
struct DLTensor {
  void* data;
  DLDevice device;
  int32_t ndim;
  DLDataType dtype;
  int64_t* shape;
  int64_t* strides;
  uint64_t byte_offset;
};
struct DLManagedTensor {
  DLTensor tensor;
  void* manager;
  void (*deleter)(DLManagedTensor*);
};

struct Exported {
  DLManagedTensor managed;
  Tensor tensor;
  int64_t shape[kMaxRank], strides[kMaxRank];
};

DLDataType code_of(DType t) {
  const auto bits = static_cast<uint8_t>(dtype_size(t) * 8);
  switch (t) {
    case DType::kBool: return {6, 8, 1};
    case DType::kUInt8: return {1, 8, 1};
    case DType::kBFloat16: return {4, 16, 1};
    default: return {static_cast<uint8_t>(is_floating(t) ? 2 : 0), bits, 1};
  }
}
DType dtype_of_code(DLDataType d) {
  for (int i = 0; i < kNumDTypes; ++i) {
    const DLDataType c = code_of(static_cast<DType>(i));
    if (c.code == d.code && c.bits == d.bits && d.lanes == 1) return static_cast<DType>(i);
  }
  return DType::kUndefined;
}

void capsule_gone(PyObject* capsule) {
  if (auto* m = static_cast<DLManagedTensor*>(PyCapsule_GetPointer(capsule, "dltensor"))) {
    m->deleter(m);
  } else {
    PyErr_Clear();  // renamed by its consumer, who owns it now
  }
}

DLDevice device_of(const Tensor& x) { return x.device().is_cpu() ? DLDevice{1, 0} : DLDevice{2, x.device().index}; }

// Work on the consumer's stream waits for what has been submitted to ours. stream: None or 1, the legacy default
// stream; 2, the thread's default stream; -1, nothing to wait for; else a cudaStream_t.
void hand_over(const Tensor& x, PyObject* stream) {
  if (x.device().is_cpu()) {
    FS_CHECK_VALUE(!stream || stream == Py_None, "__dlpack__: stream must be None for a CPU tensor");
    return;
  }
  const Backend& b = backend("__dlpack__");
  long long number = 1;
  if (stream && stream != Py_None) {
    number = PyLong_AsLongLong(stream);
    if (number == -1 && PyErr_Occurred()) throw PythonError{};
    if (number == -1) return;
    FS_CHECK_VALUE(number > 0, "__dlpack__: stream ", number, " is not allowed by DLPack for CUDA");
  }
  void* const theirs = reinterpret_cast<void*>(static_cast<intptr_t>(number));
  void* const ours = b.current_stream(x.device().index);
  if (theirs == ours) return;
  void* const event = b.new_event(x.device().index, false, false);
  b.event_record(event, ours);
  b.stream_wait(theirs, event);
  b.free_event(event);
}

PyObject* to_dlpack(const Tensor& x) {
  FS_CHECK_KIND(!x.requires_grad(), ErrorKind::kRuntime,
                "Can't export tensors that require gradient, use tensor.detach()");
  auto* e = new Exported;
  e->tensor = x;
  for (int64_t i = 0; i < x.dim(); ++i) {
    e->shape[i] = x.size(i);
    e->strides[i] = x.stride(i);
  }
  e->managed.tensor = DLTensor{
      x.impl()->data, device_of(x), static_cast<int32_t>(x.dim()), code_of(x.dtype()), e->shape, e->strides, 0};
  e->managed.manager = e;
  e->managed.deleter = [](DLManagedTensor* m) { delete static_cast<Exported*>(m->manager); };
  return PyCapsule_New(&e->managed, "dltensor", capsule_gone);
}

Tensor from_capsule(PyObject* capsule) {
  auto* m = static_cast<DLManagedTensor*>(PyCapsule_GetPointer(capsule, "dltensor"));
  if (!m) throw PythonError{};
  const DLTensor& d = m->tensor;
  const DType dtype = dtype_of_code(d.dtype);
  FS_CHECK(d.device.type == 1 || d.device.type == 2,
           "from_dlpack: only CPU and CUDA memory can be taken, got device type ", d.device.type);
  Device device;
  if (d.device.type == 2) device = Device{DeviceKind::kCuda, static_cast<int8_t>(d.device.id)};
  check_device(device, "from_dlpack");
  FS_CHECK(dtype != DType::kUndefined, "from_dlpack: unsupported element type (code ", static_cast<int>(d.dtype.code),
           ", ", static_cast<int>(d.dtype.bits), " bits)");
  Tensor t = make_shell(d.shape, d.ndim, dtype, device);
  int64_t extent = 1;
  for (int i = 0; i < d.ndim; ++i) {
    if (d.strides) t.impl()->strides[i] = d.strides[i];
    FS_CHECK(t.impl()->strides[i] >= 0, "from_dlpack: negative strides are not supported; copy the array first");
    extent = d.shape[i] == 0 || extent == 0 ? 0 : extent + (d.shape[i] - 1) * t.impl()->strides[i];
  }
  t.impl()->refresh_contiguous();
  char* data = static_cast<char*>(d.data) + d.byte_offset;
  PyCapsule_SetName(capsule, "used_dltensor");
  t.impl()->storage = Storage::foreign(
                          data, static_cast<size_t>(extent) * dtype_size(dtype),
                          [](void* c) {
                            auto* managed = static_cast<DLManagedTensor*>(c);
                            if (!managed->deleter || !Py_IsInitialized()) return;
                            PyGILState_STATE gil = PyGILState_Ensure();
                            managed->deleter(managed);
                            PyGILState_Release(gil);
                          },
                          m, device)
                          .release();
  t.impl()->data = data;
  return t;
}

// o.__dlpack__(), with our stream where o lies on a CUDA device.
PyObject* ask_for_capsule(PyObject* o) {
  int type = 1, index = 0;
  if (PyObject_HasAttrString(o, "__dlpack_device__")) {
    PyObject* d = PyObject_CallMethod(o, "__dlpack_device__", nullptr);
    if (!d) return nullptr;
    if (PyTuple_Check(d) && PyTuple_GET_SIZE(d) == 2) {
      type = static_cast<int>(PyLong_AsLong(PyTuple_GET_ITEM(d, 0)));
      index = static_cast<int>(PyLong_AsLong(PyTuple_GET_ITEM(d, 1)));
    }
    Py_DECREF(d);
    if (PyErr_Occurred()) return nullptr;
  }
  if (type != 2) return PyObject_CallMethod(o, "__dlpack__", nullptr);
  check_device(Device{DeviceKind::kCuda, static_cast<int8_t>(index)}, "from_dlpack");
  PyObject* method = PyObject_GetAttrString(o, "__dlpack__");
  if (!method) return nullptr;
  PyObject* args = PyTuple_New(0);
  PyObject* kwargs =
      Py_BuildValue("{s:N}", "stream", PyLong_FromVoidPtr(backend("from_dlpack").current_stream(index)));
  PyObject* r = args && kwargs ? PyObject_Call(method, args, kwargs) : nullptr;
  Py_XDECREF(args);
  Py_XDECREF(kwargs);
  Py_DECREF(method);
  return r;
}

}  // namespace

FS_BINDINGS(dlpack) {
  def("__dlpack__(Tensor self, *, object stream=None, object max_version=None, object dl_device=None, object "
      "copy=None)",
      kMethod, [](Args& a) {
        hand_over(a.tensor(0), a.object(1));
        return to_dlpack(a.tensor(0));
      });
  def("__dlpack_device__(Tensor self)", kMethod, [](Args& a) -> PyObject* {
    const DLDevice d = device_of(a.tensor(0));
    return Py_BuildValue("(ii)", d.type, d.id);
  });
  def(
      "from_dlpack(object ext_tensor, *, object device=None, object copy=None)", kFunction,
      [](Args& a) -> PyObject* {
        PyObject* o = a.object(0);
        if (PyCapsule_CheckExact(o)) return wrap(from_capsule(o));
        PyObject* capsule = ask_for_capsule(o);
        if (!capsule) return nullptr;
        PyObject* r = guarded([&] { return wrap(from_capsule(capsule)); });
        Py_DECREF(capsule);
        return r;
      },
      "A tensor on the memory of any object with __dlpack__.");
  def("to_dlpack(Tensor tensor)", kFunction, [](Args& a) { return to_dlpack(a.tensor(0)); });
}

}  // namespace fireseed::bind

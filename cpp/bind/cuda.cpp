// What fireseed.cuda asks the plugin: devices, streams, events, memory. Names begin with _cuda; handles are ints.
#include "bind/gil.h"
#include "bind/python_types.h"
#include "bind/registry.h"
#include "math/random.h"
#include "tensor/backend.h"

namespace fireseed::bind {
namespace {

const Backend& need() { return backend("cuda"); }

int device_arg(Args& a, int i) {
  if (!a.given(i)) return need().current_device();
  const int64_t index = a.i64(i);
  const int n = need().device_count();
  FS_CHECK(index >= 0 && index < n, "cuda: device ", index, " does not exist: there ", n == 1 ? "is " : "are ", n,
           n == 1 ? " CUDA device" : " CUDA devices", " (invalid device ordinal)");
  return static_cast<int>(index);
}
void* handle_arg(Args& a, int i) {
  void* p = PyLong_AsVoidPtr(a.object(i));
  if (!p && PyErr_Occurred()) throw PythonError{};
  return p;
}
PyObject* handle(void* p) { return PyLong_FromVoidPtr(p); }

PyObject* put(PyObject* dict, const char* key, PyObject* value) {
  if (!value || PyDict_SetItemString(dict, key, value) < 0) throw PythonError{};
  Py_DECREF(value);
  return dict;
}
PyObject* number(uint64_t v) { return PyLong_FromUnsignedLongLong(v); }

PyObject* properties(int device) {
  DeviceProperties p;
  need().properties(device, p);
  PyObject* d = PyDict_New();
  put(d, "name", PyUnicode_FromString(p.name));
  put(d, "uuid", PyBytes_FromStringAndSize(reinterpret_cast<const char*>(p.uuid), sizeof p.uuid));
  put(d, "major", PyLong_FromLong(p.major));
  put(d, "minor", PyLong_FromLong(p.minor));
  put(d, "multi_processor_count", PyLong_FromLong(p.multi_processor_count));
  put(d, "max_threads_per_multi_processor", PyLong_FromLong(p.max_threads_per_multi_processor));
  put(d, "max_threads_per_block", PyLong_FromLong(p.max_threads_per_block));
  put(d, "warp_size", PyLong_FromLong(p.warp_size));
  put(d, "regs_per_multiprocessor", PyLong_FromLong(p.regs_per_multiprocessor));
  put(d, "pci_bus_id", PyLong_FromLong(p.pci_bus_id));
  put(d, "pci_device_id", PyLong_FromLong(p.pci_device_id));
  put(d, "pci_domain_id", PyLong_FromLong(p.pci_domain_id));
  put(d, "is_integrated", PyLong_FromLong(p.is_integrated));
  put(d, "is_multi_gpu_board", PyLong_FromLong(p.is_multi_gpu_board));
  put(d, "total_memory", number(p.total_memory));
  put(d, "L2_cache_size", number(p.l2_cache_size));
  put(d, "shared_memory_per_block", number(p.shared_memory_per_block));
  put(d, "shared_memory_per_block_optin", number(p.shared_memory_per_block_optin));
  return put(d, "shared_memory_per_multiprocessor", number(p.shared_memory_per_multiprocessor));
}

PyObject* memory(int device) {
  DeviceMemory m;
  need().memory(device, m);
  PyObject* d = PyDict_New();
  put(d, "allocated", number(m.allocated));
  put(d, "max_allocated", number(m.max_allocated));
  put(d, "reserved", number(m.reserved));
  put(d, "max_reserved", number(m.max_reserved));
  put(d, "active", number(m.active));
  put(d, "largest_free", number(m.largest_free));
  put(d, "segments", number(m.num_segments));
  put(d, "allocations", number(m.num_allocations));
  put(d, "frees", number(m.num_frees));
  put(d, "retries", number(m.num_retries));
  return put(d, "ooms", number(m.num_ooms));
}

}  // namespace

PyObject* out_of_memory_error() {
  static PyObject* type = PyErr_NewExceptionWithDoc("fireseed.OutOfMemoryError",
                                                    "A CUDA device ran out of memory; the program may go on.",
                                                    PyExc_RuntimeError, nullptr);
  return type;
}

FS_BINDINGS(cuda) {
  def("_cuda_out_of_memory_error()", kPrivate, [](Args&) -> PyObject* {
    PyObject* type = out_of_memory_error();
    Py_INCREF(type);
    return type;
  });
  def("_cuda_device_count()", kPrivate, [](Args&) -> int64_t {
    const Backend* b = without_gil([] { return find_backend(); });
    return b ? b->device_count() : 0;
  });
  def("_cuda_reason()", kPrivate, [](Args&) { return std::string_view(no_backend_reason()); });
  def("_cuda_allow_tf32_conv(bool on)", kPrivate, [](Args& a) { allow_tf32_conv = a.boolean(0); });
  def("_cuda_allow_tf32(bool on)", kPrivate, [](Args& a) { allow_tf32 = a.boolean(0); });
  def("_cuda_is_emulated()", kPrivate, [](Args&) { return need().emulated; });
  def(
      "_cuda_has_kernel(str name)", kPrivate,
      [](Args& a) -> bool {
        static constexpr const char* kNames[] = {
#define FS_UNARY(name, Functor) #name, #name "_backward",
#define FS_BINARY(name, Functor) #name,
#define FS_COMPARE(name, Functor) #name,
#define FS_TERNARY(name, Functor) #name,
#define FS_KERNEL(name) #name,
#define FS_VIEW(name)
#include "ops.def"
#undef FS_UNARY
#undef FS_BINARY
#undef FS_COMPARE
#undef FS_TERNARY
#undef FS_KERNEL
#undef FS_VIEW
        };
        for (int i = 0; i < kNumKernels; ++i)
          if (a.str(0) == kNames[i]) return need().kernels[i] != nullptr;
        fail(ErrorKind::kValue, "no op of this name has a kernel");
      },
      "Does the plugin have this op's kernel?");
  def("_cuda_current_device()", kPrivate, [](Args&) -> int64_t { return need().current_device(); });
  def("_cuda_set_device(int device)", kPrivate, [](Args& a) { need().set_device(device_arg(a, 0)); });
  def("_cuda_properties(int device)", kPrivate, [](Args& a) { return properties(device_arg(a, 0)); });
  def("_cuda_can_access_peer(int device, int peer)", kPrivate,
      [](Args& a) { return need().can_access_peer(device_arg(a, 0), device_arg(a, 1)); });
  def("_cuda_versions()", kPrivate, [](Args&) -> PyObject* {
    int driver = 0, runtime = 0;
    need().versions(driver, runtime);
    return Py_BuildValue("(ii)", driver, runtime);
  });
  def("_cuda_manual_seed(int device, object seed)", kPrivate, [](Args& a) {
    const uint64_t seed = PyLong_AsUnsignedLongLongMask(a.object(1));
    if (PyErr_Occurred()) throw PythonError{};
    default_generator(device_arg(a, 0)).manual_seed(seed);
  });
  def(
      "_cuda_manual_seed_all(object seed)", kPrivate,
      [](Args& a) {
        const uint64_t seed = PyLong_AsUnsignedLongLongMask(a.object(0));
        if (PyErr_Occurred()) throw PythonError{};
        seed_devices(seed);
      },
      "Seeds the default generators of all CUDA devices; needs no device.");
  def("_cuda_initial_seed(int device)", kPrivate,
      [](Args& a) { return PyLong_FromUnsignedLongLong(default_generator(device_arg(a, 0)).initial_seed()); });
  def("_cuda_get_rng_state(int device)", kPrivate, [](Args& a) {
    const Generator& g = default_generator(device_arg(a, 0));
    Tensor t = empty({static_cast<int64_t>(g.state_bytes())}, DType::kUInt8);
    g.get_state(t.impl()->data);
    return t;
  });
  def("_cuda_set_rng_state(int device, Tensor state)", kPrivate, [](Args& a) {
    const Tensor& t = a.tensor(1);
    FS_CHECK_TYPE(t.dtype() == DType::kUInt8 && t.is_contiguous() && t.device().is_cpu(),
                  "set_rng_state: expected a uint8 tensor on the CPU");
    default_generator(device_arg(a, 0)).set_state(t.impl()->data, static_cast<size_t>(t.numel()));
  });
  def("_cuda_synchronize(int? device=None)", kPrivate, [](Args& a) {
    const int d = device_arg(a, 0);
    without_gil([&] { need().synchronize(d); });
  });

  def("_cuda_mem_get_info(int device)", kPrivate, [](Args& a) -> PyObject* {
    uint64_t free = 0, total = 0;
    need().device_memory(device_arg(a, 0), free, total);
    return Py_BuildValue("(KK)", static_cast<unsigned long long>(free), static_cast<unsigned long long>(total));
  });
  def("_cuda_memory(int device)", kPrivate, [](Args& a) { return memory(device_arg(a, 0)); });
  def("_cuda_reset_peak_memory(int device)", kPrivate, [](Args& a) { need().reset_peak_memory(device_arg(a, 0)); });
  def("_cuda_set_memory_fraction(int device, float fraction)", kPrivate,
      [](Args& a) { need().set_memory_fraction(device_arg(a, 0), a.f64(1)); });
  def("_cuda_empty_cache()", kPrivate, [](Args&) {
    if (find_backend()) need().empty_cache();
  });
  def("record_stream(Tensor self, object stream)", kMethod, [](Args& a) {
    const Tensor& x = a.tensor(0);
    FS_CHECK(!x.device().is_cpu(), "record_stream: expected a CUDA tensor, got one on cpu");
    PyObject* s = PyObject_GetAttrString(a.object(1), "cuda_stream");
    if (!s) throw PythonError{};
    void* stream = PyLong_AsVoidPtr(s);
    Py_DECREF(s);
    need().record_stream(x.impl()->storage->data, stream);
  });

  def("_cuda_current_stream(int device)", kPrivate,
      [](Args& a) { return handle(need().current_stream(device_arg(a, 0))); });
  def("_cuda_default_stream(int device)", kPrivate,
      [](Args& a) { return handle(need().default_stream(device_arg(a, 0))); });
  def("_cuda_copy_stream(int device)", kPrivate,
      [](Args& a) { return handle(need().copy_stream(device_arg(a, 0))); });
  def("_cuda_set_stream(int device, object stream)", kPrivate,
      [](Args& a) { need().set_stream(device_arg(a, 0), handle_arg(a, 1)); });
  def("_cuda_new_stream(int device, int priority)", kPrivate,
      [](Args& a) { return handle(need().new_stream(device_arg(a, 0), static_cast<int>(a.i64(1)))); });
  def("_cuda_stream_synchronize(object stream)", kPrivate, [](Args& a) {
    void* s = handle_arg(a, 0);
    without_gil([&] { need().stream_synchronize(s); });
  });
  def("_cuda_stream_query(object stream)", kPrivate, [](Args& a) { return need().stream_query(handle_arg(a, 0)); });
  def("_cuda_stream_wait(object stream, object event)", kPrivate,
      [](Args& a) { need().stream_wait(handle_arg(a, 0), handle_arg(a, 1)); });
  def("_cuda_is_capturing()", kPrivate, [](Args&) -> bool {
    const Backend* b = find_backend();
    return b && b->capturing(b->current_device());
  });

  def("_cuda_new_pool()", kPrivate, [](Args&) -> int64_t { return need().new_pool(); });
  def("_cuda_release_pool(int device, int pool)", kPrivate, [](Args& a) {
    const Backend* b = find_backend();
    if (b) b->release_pool(device_arg(a, 0), static_cast<int>(a.i64(1)));
  });
  def("_cuda_begin_capture(int device, int pool)", kPrivate,
      [](Args& a) { return handle(need().begin_capture(device_arg(a, 0), static_cast<int>(a.i64(1)))); });
  def("_cuda_end_capture(object graph)", kPrivate, [](Args& a) { need().end_capture(handle_arg(a, 0)); });
  def("_cuda_replay(object graph)", kPrivate, [](Args& a) { need().replay(handle_arg(a, 0)); });
  def("_cuda_free_graph(object graph)", kPrivate, [](Args& a) { need().free_graph(handle_arg(a, 0)); });

  def("_cuda_new_event(int device, bool timing, bool blocking)", kPrivate,
      [](Args& a) { return handle(need().new_event(device_arg(a, 0), a.boolean(1), a.boolean(2))); });
  def("_cuda_free_event(object event)", kPrivate, [](Args& a) { need().free_event(handle_arg(a, 0)); });
  def("_cuda_event_record(object event, object stream)", kPrivate,
      [](Args& a) { need().event_record(handle_arg(a, 0), handle_arg(a, 1)); });
  def("_cuda_event_query(object event)", kPrivate, [](Args& a) { return need().event_query(handle_arg(a, 0)); });
  def("_cuda_event_synchronize(object event)", kPrivate, [](Args& a) {
    void* e = handle_arg(a, 0);
    without_gil([&] { need().event_synchronize(e); });
  });
  def("_cuda_event_elapsed(object start, object end)", kPrivate,
      [](Args& a) { return static_cast<double>(need().event_elapsed(handle_arg(a, 0), handle_arg(a, 1))); });
}

}  // namespace fireseed::bind

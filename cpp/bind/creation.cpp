// Creation functions for Python: tensor, as_tensor, from_numpy, zeros, arange and their kin.
#include "bind/python_types.h"
#include "bind/registry.h"
#include "base/parallel.h"
#include "cpu/kernel_table.h"
#include "ops/copy.h"
#include "ops/creation.h"
#include "ops/shape.h"
#include "tensor/allocator.h"

namespace fireseed::bind {

namespace {

Tensor finish(Args& a, Tensor t, int requires_grad) {
  if (a.boolean(requires_grad)) set_requires_grad(t, true);
  return t;
}

// On the device asked for; else where it is, if it was a tensor, else on the default device.
Tensor placed(Args& a, Tensor t, int data, int device) {
  const Device d = a.device_or(device, as_tensor(a.object(data)) ? t.device() : default_device);
  return d == t.device() ? t : to(t, t.dtype(), d);
}
// Where asked for, else with x.
Device beside(Args& a, int device, const Tensor& x) { return a.device_or(device, x.device()); }
DType dtype_or(Args& a, int i, DType fallback) { return a.given(i) ? a.dtype(i) : fallback; }

Tensor make_tensor(Args& a, int data, int dtype, int device, int requires_grad) {
  if (const Tensor* src = as_tensor(a.object(data)); src && a.function().name == "tensor") {
    if (PyErr_WarnEx(PyExc_UserWarning,
                     "To copy construct from a tensor, it is recommended to use sourceTensor.detach().clone() or "
                     "sourceTensor.detach().clone().requires_grad_(True), rather than tensor(sourceTensor).",
                     1) < 0)
      throw PythonError{};
  }
  return finish(a, placed(a, tensor_from_data(a.object(data), a.opt_dtype(dtype), true), data, device),
                requires_grad);
}

}  // namespace

FS_BINDINGS(creation) {
  def(
      "tensor(object data, *, dtype? dtype=None, device? device=None, bool requires_grad=False)", kFunction,
      [](Args& a) { return make_tensor(a, 0, 1, 2, 3); },
      "A new tensor with the values of lists, numbers or arrays (copied).");
  def("as_tensor(object data, dtype? dtype=None, device? device=None)", kFunction, [](Args& a) -> PyObject* {
    if (const Tensor* t = as_tensor(a.object(0)); t) {
      const DType d = dtype_or(a, 1, t->dtype());
      const Device device = beside(a, 2, *t);
      return d == t->dtype() && device == t->device() ? a.self() : wrap(to(*t, d, device));
    }
    return wrap(placed(a, tensor_from_data(a.object(0), a.opt_dtype(1), false), 0, 2));
  });
  def("asarray(object obj, *, dtype? dtype=None, device? device=None, bool? copy=None, bool requires_grad=False)",
      kFunction, [](Args& a) {
        return finish(a, placed(a, tensor_from_data(a.object(0), a.opt_dtype(1), a.given(3) && a.boolean(3)), 0, 2),
                      4);
      });
  def(
      "from_numpy(object ndarray)", kFunction,
      [](Args& a) {
        FS_CHECK_TYPE(PyObject_CheckBuffer(a.object(0)) && !is_tensor(a.object(0)),
                      "from_numpy: expected np.ndarray (got ", Py_TYPE(a.object(0))->tp_name, ")");
        return tensor_from_buffer(a.object(0), true);
      },
      "A tensor on the array's memory.");
  def("frombuffer(object buffer, *, dtype dtype, int count=-1, int offset=0, bool requires_grad=False)", kFunction,
      [](Args& a) {
        Tensor bytes = tensor_from_buffer(a.object(0), false);
        const DType d = a.dtype(1);
        const int64_t size = static_cast<int64_t>(dtype_size(d));
        const int64_t have = bytes.numel() * static_cast<int64_t>(bytes.itemsize()) - a.i64(3);
        const int64_t n = a.i64(2) < 0 ? have / size : a.i64(2);
        FS_CHECK_VALUE(a.i64(3) >= 0 && have > 0 && (a.i64(2) >= 0 || have % size == 0),
                       "frombuffer: buffer length (", have, " bytes) after offset (", a.i64(3),
                       " bytes) must be a multiple of element size (", size, ") and not 0");
        FS_CHECK_VALUE(have >= n * size, "frombuffer: requested buffer length (", n * size, " bytes) after offset (",
                       a.i64(3), " bytes) must not be greater than actual buffer length");
        Tensor r = detached_alias(bytes);
        TensorImpl* t = r.impl();
        t->dtype = d;
        t->ndim = 1;
        t->sizes[0] = n;
        t->strides[0] = 1;
        t->data += a.i64(3);
        Storage* whole = t->storage;  // ours alone: it begins where the tensor does, whatever the offset's alignment
        whole->data = t->data;
        whole->nbytes = whole->capacity = whole->nbytes - static_cast<size_t>(a.i64(3));
        t->refresh_contiguous();
        return finish(a, r, 4);
      });
  def("empty(int... size, *, dtype? dtype=None, device? device=None, bool requires_grad=False)", kFunction,
      [](Args& a) {
        const DType t = a.opt_dtype(1);
        return finish(a, empty(a.dims(0), t == DType::kUndefined ? default_dtype() : t, a.opt_device(2)), 3);
      });
  def("zeros(int... size, *, dtype? dtype=None, device? device=None, bool requires_grad=False)", kFunction,
      [](Args& a) { return finish(a, zeros(a.dims(0), a.opt_dtype(1), a.opt_device(2)), 3); });
  def("ones(int... size, *, dtype? dtype=None, device? device=None, bool requires_grad=False)", kFunction,
      [](Args& a) { return finish(a, ones(a.dims(0), a.opt_dtype(1), a.opt_device(2)), 3); });
  def("full(int[] size, Scalar fill_value, *, dtype? dtype=None, device? device=None, bool requires_grad=False)",
      kFunction, [](Args& a) { return finish(a, full(a.dims(0), a.scalar(1), a.opt_dtype(2), a.opt_device(3)), 4); });
  def("empty_strided(int[] size, int[] stride, *, dtype? dtype=None, device? device=None, bool requires_grad=False)",
      kFunction, [](Args& a) {
        const DType t = a.opt_dtype(2);
        return finish(
            a, empty_strided(a.dims(0), a.dims(1), t == DType::kUndefined ? default_dtype() : t, a.opt_device(3)), 4);
      });
  def("empty_like(Tensor input, *, dtype? dtype=None, device? device=None, bool requires_grad=False)", kFunction,
      [](Args& a) { return finish(a, empty_like(a.tensor(0), a.opt_dtype(1), beside(a, 2, a.tensor(0))), 3); });
  def("zeros_like(Tensor input, *, dtype? dtype=None, device? device=None, bool requires_grad=False)", kFunction,
      [](Args& a) { return finish(a, zeros_like(a.tensor(0), a.opt_dtype(1), beside(a, 2, a.tensor(0))), 3); });
  def("ones_like(Tensor input, *, dtype? dtype=None, device? device=None, bool requires_grad=False)", kFunction,
      [](Args& a) { return finish(a, ones_like(a.tensor(0), a.opt_dtype(1), beside(a, 2, a.tensor(0))), 3); });
  def("full_like(Tensor input, Scalar fill_value, *, dtype? dtype=None, device? device=None, bool "
      "requires_grad=False)",
      kFunction, [](Args& a) {
        return finish(a, full_like(a.tensor(0), a.scalar(1), a.opt_dtype(2), beside(a, 3, a.tensor(0))), 4);
      });
  def("new_empty(Tensor self, int... size, *, dtype? dtype=None, device? device=None, bool requires_grad=False)",
      kMethod, [](Args& a) {
        return finish(a, empty(a.dims(1), dtype_or(a, 2, a.tensor(0).dtype()), beside(a, 3, a.tensor(0))), 4);
      });
  def("new_empty_strided(Tensor self, int[] size, int[] stride, *, dtype? dtype=None, device? device=None, bool "
      "requires_grad=False)",
      kMethod, [](Args& a) {
        return finish(
            a, empty_strided(a.dims(1), a.dims(2), dtype_or(a, 3, a.tensor(0).dtype()), beside(a, 4, a.tensor(0))),
            5);
      });
  def("new_zeros(Tensor self, int... size, *, dtype? dtype=None, device? device=None, bool requires_grad=False)",
      kMethod, [](Args& a) {
        return finish(a, zeros(a.dims(1), dtype_or(a, 2, a.tensor(0).dtype()), beside(a, 3, a.tensor(0))), 4);
      });
  def("new_ones(Tensor self, int... size, *, dtype? dtype=None, device? device=None, bool requires_grad=False)",
      kMethod, [](Args& a) {
        return finish(a, ones(a.dims(1), dtype_or(a, 2, a.tensor(0).dtype()), beside(a, 3, a.tensor(0))), 4);
      });
  def("new_full(Tensor self, int[] size, Scalar fill_value, *, dtype? dtype=None, device? device=None, bool "
      "requires_grad=False)",
      kMethod, [](Args& a) {
        return finish(a, full(a.dims(1), a.scalar(2), dtype_or(a, 3, a.tensor(0).dtype()), beside(a, 4, a.tensor(0))),
                      5);
      });
  def("new_tensor(Tensor self, object data, *, dtype? dtype=None, device? device=None, bool requires_grad=False)",
      kMethod, [](Args& a) {
        const Tensor x = tensor_from_data(a.object(1), dtype_or(a, 2, a.tensor(0).dtype()), true);
        return finish(a, to(x, x.dtype(), beside(a, 3, a.tensor(0))), 4);
      });
  def("arange(Scalar end, *, dtype? dtype=None, device? device=None, bool requires_grad=False)", kFunction,
      [](Args& a) {
        return finish(a, arange(Scalar(0), a.scalar(0), Scalar(1), a.opt_dtype(1), a.opt_device(2)), 3);
      });
  def("arange(Scalar start, Scalar end, Scalar step=1, *, dtype? dtype=None, device? device=None, bool "
      "requires_grad=False)",
      kFunction, [](Args& a) {
        return finish(a, arange(a.scalar(0), a.scalar(1), a.scalar(2), a.opt_dtype(3), a.opt_device(4)), 5);
      });
  def("range(Scalar start, Scalar end, Scalar step=1, *, dtype? dtype=None, device? device=None, bool "
      "requires_grad=False)",
      kFunction, [](Args& a) {
        const double s = a.f64(2);
        const DType t = a.opt_dtype(3);
        return finish(a,
                      arange(Scalar(a.f64(0)), Scalar(a.f64(1) + s * 0.5), Scalar(s),
                             t == DType::kUndefined ? default_dtype() : t, a.opt_device(4)),
                      5);
      });
  def("linspace(Scalar start, Scalar end, int steps, *, dtype? dtype=None, device? device=None, bool "
      "requires_grad=False)",
      kFunction,
      [](Args& a) { return finish(a, linspace(a.f64(0), a.f64(1), a.i64(2), a.opt_dtype(3), a.opt_device(4)), 5); });
  def("logspace(Scalar start, Scalar end, int steps, float base=10.0, *, dtype? dtype=None, device? device=None, "
      "bool requires_grad=False)",
      kFunction, [](Args& a) {
        return finish(a, logspace(a.f64(0), a.f64(1), a.i64(2), a.f64(3), a.opt_dtype(4), a.opt_device(5)), 6);
      });
  def("eye(int n, int? m=None, *, dtype? dtype=None, device? device=None, bool requires_grad=False)", kFunction,
      [](Args& a) {
        return finish(a, eye(a.i64(0), a.given(1) ? a.i64(1) : a.i64(0), a.opt_dtype(2), a.opt_device(3)), 4);
      });
  def("scalar_tensor(Scalar s, *, dtype? dtype=None, device? device=None, bool requires_grad=False)", kFunction,
      [](Args& a) {
        const DType t = a.opt_dtype(1);
        return finish(a, full({}, a.scalar(0), t == DType::kUndefined ? default_dtype() : t, a.opt_device(2)), 3);
      });

  def("_set_default_device(device? device)", kPrivate, [](Args& a) { default_device = a.device_or(0, Device{}); });
  def("_get_default_device()", kPrivate, [](Args&) { return default_device; });
  def("get_default_dtype()", kFunction, [](Args&) { return default_dtype(); });
  def("set_default_dtype(dtype d)", kFunction, [](Args& a) { set_default_dtype(a.dtype(0)); });
  def("promote_types(dtype type1, dtype type2)", kFunction,
      [](Args& a) { return promote_types(a.dtype(0), a.dtype(1)); });
  def("can_cast(dtype from_, dtype to)", kFunction, [](Args& a) {
    const DType f = a.dtype(0), t = a.dtype(1);
    return !(is_floating(f) && !is_floating(t)) && !(t == DType::kBool && f != DType::kBool);
  });
  def("is_nonzero(Tensor input)", kFunction | kMethod, [](Args& a) {
    FS_CHECK(a.tensor(0).numel() == 1, "Boolean value of Tensor with ",
             a.tensor(0).numel() ? "more than one value" : "no values", " is ambiguous");
    return item(a.tensor(0)).to_bool();
  });
  def("get_num_threads()", kFunction, [](Args&) { return static_cast<int64_t>(num_threads()); });
  def("set_num_threads(int n)", kFunction, [](Args& a) {
    FS_CHECK(a.i64(0) > 0, "set_num_threads expects a positive integer, got ", a.i64(0));
    set_num_threads(static_cast<int>(a.i64(0)));
  });
  def("get_num_interop_threads()", kFunction, [](Args&) { return int64_t{1}; });
  def("set_num_interop_threads(int n)", kFunction, [](Args& a) { a.i64(0); });
  def("_isa()", kPrivate, [](Args&) { return std::string_view(cpu::isa_name()); });
  def("_allocator_stats()", kPrivate, [](Args&) -> PyObject* {
    const AllocatorStats s = allocator_stats();
    return Py_BuildValue("{s:K,s:K,s:K,s:K}", "allocated_bytes", static_cast<unsigned long long>(s.allocated_bytes),
                         "max_allocated_bytes", static_cast<unsigned long long>(s.max_allocated_bytes),
                         "reserved_bytes", static_cast<unsigned long long>(s.reserved_bytes), "num_allocations",
                         static_cast<unsigned long long>(s.num_allocations));
  });
  def("_empty_cache()", kPrivate, [](Args&) { empty_cache(); });
  def("_reset_peak_memory_stats()", kPrivate, [](Args&) { reset_peak_memory_stats(); });
}

}  // namespace fireseed::bind

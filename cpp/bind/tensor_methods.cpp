// Metadata, conversion and copying: the methods every tensor has.
#include <cstring>
#include <string>

#include "bind/python_types.h"
#include "bind/registry.h"
#include "engine/apply.h"
#include "engine/mode.h"
#include "ops/copy.h"
#include "ops/creation.h"
#include "ops/shape.h"
#include "tensor/backend.h"

namespace fireseed::bind {

void resize_(const Tensor& x, const Dims& sizes) {
  TensorImpl* t = x.impl();
  const int64_t n = numel_of(sizes);
  const size_t need = static_cast<size_t>(t->offset + n) * x.itemsize();
  if (need > t->storage->nbytes) {
    t->storage->resize(need);
    t->data = static_cast<char*>(t->storage->data) + t->offset * static_cast<int64_t>(x.itemsize());
  }
  const Dims strides = contiguous_strides(sizes);
  t->ndim = static_cast<int8_t>(sizes.n);
  for (int64_t i = 0; i < sizes.n; ++i) {
    t->sizes[i] = sizes[i];
    t->strides[i] = strides[i];
  }
  t->refresh_contiguous();
}

namespace {

Tensor to_device_dtype(const Tensor& x, Device device, DType dtype, bool copy, bool non_blocking) {
  if (dtype == DType::kUndefined) dtype = x.dtype();
  if (device != x.device()) return to(x, dtype, device, non_blocking);
  return dtype == x.dtype() ? (copy ? clone_keeping_layout(x) : x) : to(x, dtype);
}

Tensor pinned_copy(const Tensor& x) {
  Tensor y = make_shell(x.sizes(), x.dtype());
  y.impl()->storage = Storage::allocate_pinned(static_cast<size_t>(x.numel()) * x.itemsize()).release();
  y.impl()->data = static_cast<char*>(y.impl()->storage->data);
  GradMode off(false);
  copy_(y, x);
  return y;
}

// x takes over y's metadata and storage: the in-place view methods (unsqueeze_, t_, …).
void become(const Tensor& x, const Tensor& y, const char* name) {
  FS_CHECK(!(x.requires_grad() && x.is_leaf() && mode.grad_enabled), name,
           ": a leaf Variable that requires grad is being used in an in-place operation.");
  TensorImpl *t = x.impl(), *s = y.impl();
  t->ndim = s->ndim;
  for (int i = 0; i < s->ndim; ++i) {
    t->sizes[i] = s->sizes[i];
    t->strides[i] = s->strides[i];
  }
  t->offset = s->offset;
  t->data = s->data;
  t->refresh_contiguous();
  if (s->grad_fn) set_history(x, s->grad_fn, s->output_nr);
}

template <class F>
PyObject* become_view(Args& a, F&& f) {
  const Tensor x = a.tensor(0);
  Tensor y = f(x);
  become(x, y, a.function().name.c_str());
  return a.self();
}

// "channels_last" of fireseed.channels_last; empty where none is given.
std::string format_name(Args& a, int i) {
  if (!a.given(i)) return "";
  PyObject* text = PyObject_Str(a.object(i));
  if (!text) throw PythonError{};
  std::string s = PyUnicode_AsUTF8(text);
  Py_DECREF(text);
  return s.substr(s.rfind('.') + 1);
}

// y, which may be self, in the memory format of argument i.
PyObject* in_format(Args& a, const Tensor& y, int i) {
  if (!a.given(i)) return y.impl() == a.tensor(0).impl() ? a.self() : wrap(y);
  const std::string format = format_name(a, i);
  const bool last = format == "channels_last" || format == "channels_last_3d";
  const Tensor z = last ? channels_last(y) : format == "contiguous_format" ? contiguous(y) : y;
  return z.impl()->storage == a.tensor(0).impl()->storage ? a.self() : wrap(z);
}

}  // namespace

FS_BINDINGS(tensor_methods) {
  def("size(Tensor self, int? dim=None)", kMethod, [](Args& a) -> PyObject* {
    const Tensor& x = a.tensor(0);
    if (!a.given(1)) return to_python(x.sizes());
    FS_CHECK_INDEX(x.dim() > 0, "Dimension specified as ", a.i64(1), " but tensor has no dimensions");
    return to_python(x.size(wrap_dim(a.i64(1), x.dim(), "size")));
  });
  def("stride(Tensor self, int? dim=None)", kMethod, [](Args& a) -> PyObject* {
    const Tensor& x = a.tensor(0);
    if (a.given(1)) return to_python(x.stride(wrap_dim(a.i64(1), x.dim(), "stride")));
    PyObject* r = PyTuple_New(static_cast<Py_ssize_t>(x.dim()));
    for (int64_t i = 0; i < x.dim(); ++i)
      PyTuple_SET_ITEM(r, static_cast<Py_ssize_t>(i), PyLong_FromLongLong(x.stride(i)));
    return r;
  });
  def("dim(Tensor self)", kMethod, [](Args& a) { return a.tensor(0).dim(); });
  def("ndimension(Tensor self)", kMethod, [](Args& a) { return a.tensor(0).dim(); });
  def("numel(Tensor input)", kFunction | kMethod, [](Args& a) { return a.tensor(0).numel(); });
  def("nelement(Tensor self)", kMethod, [](Args& a) { return a.tensor(0).numel(); });
  def("element_size(Tensor self)", kMethod, [](Args& a) { return static_cast<int64_t>(a.tensor(0).itemsize()); });
  def("storage_offset(Tensor self)", kMethod, [](Args& a) { return a.tensor(0).impl()->offset; });
  def("data_ptr(Tensor self)", kMethod, [](Args& a) { return PyLong_FromVoidPtr(a.tensor(0).impl()->data); });
  def("is_contiguous(Tensor self, *, object memory_format=None)", kMethod, [](Args& a) -> bool {
    const Tensor& x = a.tensor(0);
    if (!a.given(1)) return x.is_contiguous();
    PyObject* text = PyObject_Str(a.object(1));
    const char* s = text ? PyUnicode_AsUTF8(text) : "";
    const bool last = s && std::strstr(s, "channels_last");
    Py_XDECREF(text);
    if (!last) return x.is_contiguous();
    if (x.dim() < 4) return false;
    // (N, C, spatial…) lying as (N, spatial…, C)
    Dims p{0};
    for (int64_t i = 2; i < x.dim(); ++i) p.push_back(i);
    p.push_back(1);
    int64_t step = 1;
    for (int64_t i = p.n - 1; i >= 0; --i) {
      if (x.size(p[i]) != 1 && x.stride(p[i]) != step) return false;
      step *= x.size(p[i]);
    }
    return true;
  });
  def("is_floating_point(Tensor input)", kFunction | kMethod, [](Args& a) { return a.tensor(0).is_floating(); });
  def("is_complex(Tensor input)", kFunction | kMethod, [](Args& a) {
    a.tensor(0);
    return false;
  });
  def("is_signed(Tensor self)", kMethod, [](Args& a) {
    const DType t = a.tensor(0).dtype();
    return t != DType::kBool && t != DType::kUInt8;
  });
  def("is_same_size(Tensor self, Tensor other)", kMethod,
      [](Args& a) { return a.tensor(0).same_shape(a.tensor(1)); });
  def("is_set_to(Tensor self, Tensor tensor)", kMethod, [](Args& a) {
    const Tensor &x = a.tensor(0), &y = a.tensor(1);
    return x.impl()->data == y.impl()->data && x.sizes() == y.sizes() && x.strides() == y.strides();
  });
  def("get_device(Tensor self)", kMethod,
      [](Args& a) -> int64_t { return a.tensor(0).device().is_cpu() ? -1 : a.tensor(0).device().index; });
  def("item(Tensor self)", kMethod, [](Args& a) { return item(a.tensor(0)); });
  def("tolist(Tensor self)", kMethod, [](Args& a) { return tensor_to_list(a.tensor(0)); });
  def("numpy(Tensor self, *, bool force=False)", kMethod, [](Args& a) -> PyObject* {
    const Tensor& x = a.tensor(0);
    if (a.boolean(1) && !x.device().is_cpu()) {
      PyObject* host = wrap(to(detach(x), x.dtype(), Device{}));
      PyObject* r = tensor_to_numpy(host);
      Py_DECREF(host);
      return r;
    }
    if (x.requires_grad()) {
      FS_CHECK(a.boolean(1), "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.");
      PyObject* d = wrap(detach(x));
      PyObject* r = tensor_to_numpy(d);
      Py_DECREF(d);
      return r;
    }
    return tensor_to_numpy(a.object(0));
  });
  def("__array__(Tensor self, object dtype=None, object copy=None)", kMethod, [](Args& a) -> PyObject* {
    const Tensor& x = a.tensor(0);
    FS_CHECK(!x.requires_grad(),
             "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.");
    PyObject* r = tensor_to_numpy(a.object(0));
    if (!r || !a.given(1)) return r;
    PyObject* c = PyObject_CallMethod(r, "astype", "O", a.object(1));
    Py_DECREF(r);
    return c;
  });
  def("clone(Tensor input, *, object memory_format=None)", kFunction | kMethod, [](Args& a) {
    const std::string format = format_name(a, 1);
    if (format == "channels_last" || format == "channels_last_3d")
      return clone_keeping_layout(channels_last(a.tensor(0)));
    return format == "contiguous_format" ? clone(a.tensor(0)) : clone_keeping_layout(a.tensor(0));
  });
  def("contiguous(Tensor self, object memory_format=None)", kMethod, [](Args& a) -> PyObject* {
    const Tensor& x = a.tensor(0);
    const std::string format = format_name(a, 1);
    if (format == "channels_last" || format == "channels_last_3d") {
      Tensor y = channels_last(x);
      return y.impl()->storage == x.impl()->storage ? a.self() : wrap(y);
    }
    return x.is_contiguous() ? a.self() : wrap(clone(x));
  });
  def("to(Tensor self, dtype dtype, bool non_blocking=False, bool copy=False, *, object memory_format=None)", kMethod,
      [](Args& a) -> PyObject* {
        const Tensor& x = a.tensor(0);
        const DType t = a.dtype(1);
        if (t == x.dtype() && !a.boolean(3) && !a.given(4)) return a.self();
        const Tensor y =
            t == x.dtype() && !a.boolean(3) ? x : to_device_dtype(x, x.device(), t, a.boolean(3), a.boolean(2));
        return in_format(a, y, 4);
      });
  def("to(Tensor self, device? device=None, dtype? dtype=None, bool non_blocking=False, bool copy=False, *, object "
      "memory_format=None)",
      kMethod, [](Args& a) -> PyObject* {
        const Tensor& x = a.tensor(0);
        const Tensor y =
            to_device_dtype(x, a.given(1) ? a.opt_device(1) : x.device(), a.opt_dtype(2), a.boolean(4), a.boolean(3));
        return in_format(a, y, 5);
      });
  def("to(Tensor self, Tensor other, bool non_blocking=False, bool copy=False)", kMethod, [](Args& a) -> PyObject* {
    const Tensor& x = a.tensor(0);
    Tensor y = to_device_dtype(x, a.tensor(1).device(), a.tensor(1).dtype(), a.boolean(3), a.boolean(2));
    return y.impl() == x.impl() ? a.self() : wrap(y);
  });
  def("type_as(Tensor self, Tensor other)", kMethod,
      [](Args& a) { return to(a.tensor(0), a.tensor(1).dtype(), a.tensor(1).device()); });
  def("cpu(Tensor self, object memory_format=None)", kMethod, [](Args& a) -> PyObject* {
    const Tensor& x = a.tensor(0);
    return x.device().is_cpu() ? a.self() : wrap(to(x, x.dtype(), Device{}));
  });
  def("cuda(Tensor self, device? device=None, bool non_blocking=False, object memory_format=None)", kMethod,
      [](Args& a) -> PyObject* {
        const Tensor& x = a.tensor(0);
        Device device = a.opt_device(1);
        if (!a.given(1)) device = Device{DeviceKind::kCuda, static_cast<int8_t>(backend("cuda").current_device())};
        FS_CHECK(!device.is_cpu(), "cuda: expected a CUDA device, got ", device);
        return x.device() == device ? a.self() : wrap(to(x, x.dtype(), device, a.boolean(2)));
      });
#define FS_CAST(name, type)                                     \
  def(name "(Tensor self)", kMethod, [](Args& a) -> PyObject* { \
    const Tensor& x = a.tensor(0);                              \
    return x.dtype() == type ? a.self() : wrap(to(x, type));    \
  })
  FS_CAST("float", DType::kFloat32);
  FS_CAST("double", DType::kFloat64);
  FS_CAST("half", DType::kFloat16);
  FS_CAST("bfloat16", DType::kBFloat16);
  FS_CAST("long", DType::kInt64);
  FS_CAST("int", DType::kInt32);
  FS_CAST("short", DType::kInt16);
  FS_CAST("char", DType::kInt8);
  FS_CAST("byte", DType::kUInt8);
  FS_CAST("bool", DType::kBool);
#undef FS_CAST
  def("copy_(Tensor self, Operand other, bool non_blocking=False)", kMethod, [](Args& a) {
    copy_(a.tensor(0), a.tensor(1), a.boolean(2));
    return a.self();
  });
  def("fill_(Tensor self, Scalar value)", kMethod, [](Args& a) {
    const Tensor x = a.tensor(0);
    if (const Tensor* v = as_tensor(a.object(1)); v && v->requires_grad()) {
      FS_CHECK(v->dim() == 0, "fill_ only supports 0-dimension value tensor but got tensor with ", v->dim(),
               " dimensions.");
      copy_(x, *v);
    } else {
      fill_(x, a.scalar(1));
    }
    return a.self();
  });
  def("fill(Tensor input, Scalar value)", kFunction | kMethod, [](Args& a) {
    const Tensor* v = as_tensor(a.object(1));
    if (v && v->requires_grad()) {
      FS_CHECK(v->dim() == 0, "fill only supports a 0-dimension value tensor, got one of shape ", v->sizes());
      return to(clone(expand(*v, a.tensor(0).sizes())), a.tensor(0).dtype());
    }
    // With history: the old value's gradient is zero.
    Tensor r = clone(a.tensor(0));
    fill_(r, a.scalar(1));
    return r;
  });
  def("zero_(Tensor self)", kFunction | kMethod, [](Args& a) {
    zero_(a.tensor(0));
    return a.self();
  });
  def("resize_(Tensor self, int... size)", kMethod, [](Args& a) {
    FS_CHECK(!a.tensor(0).requires_grad(), "cannot resize variables that require grad");
    resize_(a.tensor(0), a.dims(1));
    return a.self();
  });
  def("resize_as_(Tensor self, Tensor the_template)", kMethod, [](Args& a) {
    FS_CHECK(!a.tensor(0).requires_grad(), "cannot resize variables that require grad");
    resize_(a.tensor(0), a.tensor(1).sizes());
    return a.self();
  });
  def("set_(Tensor self, Tensor source)", kMethod, [](Args& a) -> PyObject* {
    check_inplace(a.tensor(0), "set_");
    if (PyObject_SetAttrString(a.object(0), "data", a.object(1)) < 0) return nullptr;
    return a.self();
  });
  def("is_pinned(Tensor self, object device=None)", kMethod,
      [](Args& a) { return a.tensor(0).impl()->storage->pinned; });
  def("pin_memory(Tensor self, object device=None)", kMethod, [](Args& a) -> PyObject* {
    const Tensor& x = a.tensor(0);
    FS_CHECK(x.device().is_cpu(), "cannot pin a tensor on ", x.device(), "; only dense CPU tensors can be pinned");
    return x.impl()->storage->pinned ? a.self() : wrap(pinned_copy(x));
  });
  def("is_shared(Tensor self)", kMethod, [](Args&) { return false; });
  def("share_memory_(Tensor self)", kMethod, [](Args& a) { return a.self(); });
  def("_storage_id(Tensor self)", kMethod, [](Args& a) { return PyLong_FromVoidPtr(a.tensor(0).impl()->storage); });
  def("_storage_nbytes(Tensor self)", kMethod,
      [](Args& a) { return static_cast<int64_t>(a.tensor(0).impl()->storage->nbytes); });

  // Views
  def(
      "view(Tensor self, dtype dtype)", kMethod, [](Args& a) { return view_dtype(a.tensor(0), a.dtype(1)); },
      "The same bytes read as another dtype.");
  def("view(Tensor self, int... size)", kMethod, [](Args& a) { return view(a.tensor(0), a.dims(1)); });
  def("view_as(Tensor self, Tensor other)", kMethod, [](Args& a) { return view_as(a.tensor(0), a.tensor(1)); });
  def("reshape(Tensor input, int... shape)", kMethod, [](Args& a) { return reshape(a.tensor(0), a.dims(1)); });
  def("reshape(Tensor input, int[] shape)", kFunction, [](Args& a) { return reshape(a.tensor(0), a.dims(1)); });
  def("reshape_as(Tensor self, Tensor other)", kMethod,
      [](Args& a) { return reshape(a.tensor(0), a.tensor(1).sizes()); });
  def("ravel(Tensor input)", kFunction | kMethod, [](Args& a) { return reshape(a.tensor(0), Dims{-1}); });
  def("flatten(Tensor input, int start_dim=0, int end_dim=-1)", kFunction | kMethod,
      [](Args& a) { return flatten(a.tensor(0), a.i64(1), a.i64(2)); });
  def("unflatten(Tensor input, int dim, int[] sizes)", kFunction | kMethod,
      [](Args& a) { return unflatten(a.tensor(0), a.i64(1), a.dims(2)); });
  def("squeeze(Tensor input)", kFunction | kMethod, [](Args& a) { return squeeze(a.tensor(0)); });
  def("squeeze(Tensor input, int[] dim)", kFunction | kMethod,
      [](Args& a) { return squeeze(a.tensor(0), a.dims(1)); });
  def("unsqueeze(Tensor input, int dim)", kFunction | kMethod,
      [](Args& a) { return unsqueeze(a.tensor(0), a.i64(1)); });
  def("permute(Tensor input, int... dims)", kMethod, [](Args& a) { return permute(a.tensor(0), a.dims(1)); });
  def("permute(Tensor input, int[] dims)", kFunction, [](Args& a) { return permute(a.tensor(0), a.dims(1)); });
  for (const char* s : {"transpose(Tensor input, int dim0, int dim1)", "swapaxes(Tensor input, int axis0, int axis1)",
                        "swapdims(Tensor input, int dim0, int dim1)"})
    def(s, kFunction | kMethod, [](Args& a) { return transpose(a.tensor(0), a.i64(1), a.i64(2)); });
  def("t(Tensor input)", kFunction | kMethod, [](Args& a) { return t(a.tensor(0)); });
  def("adjoint(Tensor input)", kFunction | kMethod, [](Args& a) { return matrix_transpose(a.tensor(0)); });
  for (const char* s : {"movedim(Tensor input, int[] source, int[] destination)",
                        "moveaxis(Tensor input, int[] source, int[] destination)"})
    def(s, kFunction | kMethod, [](Args& a) { return movedim(a.tensor(0), a.dims(1), a.dims(2)); });
  def("expand(Tensor self, int... size)", kMethod, [](Args& a) { return expand(a.tensor(0), a.dims(1)); });
  def("expand_as(Tensor self, Tensor other)", kMethod,
      [](Args& a) { return expand(a.tensor(0), a.tensor(1).sizes()); });
  def("broadcast_to(Tensor input, int[] size)", kFunction | kMethod,
      [](Args& a) { return broadcast_to(a.tensor(0), a.dims(1)); });
  def("select(Tensor input, int dim, int index)", kFunction | kMethod,
      [](Args& a) { return select(a.tensor(0), a.i64(1), a.i64(2)); });
  def("narrow(Tensor input, int dim, int start, int length)", kFunction | kMethod, [](Args& a) {
    const Tensor* start = as_tensor(a.object(2));
    FS_CHECK(!start || (start->dim() == 0 && is_integral(start->dtype()) && start->dtype() != DType::kBool),
             "narrow: start must be an 0-dim integral Tensor, got shape ", start->sizes(), " of ",
             dtype_name(start->dtype()));
    return narrow(a.tensor(0), a.i64(1), a.i64(2), a.i64(3));
  });
  def("diagonal(Tensor input, int offset=0, int dim1=0, int dim2=1)", kFunction | kMethod,
      [](Args& a) { return diagonal(a.tensor(0), a.i64(1), a.i64(2), a.i64(3)); });
  def("diagonal(Tensor A, *, int offset=0, int dim1=-2, int dim2=-1)", kLinalg,
      [](Args& a) { return diagonal(a.tensor(0), a.i64(1), a.i64(2), a.i64(3)); });
  def("unfold(Tensor self, int dimension, int size, int step)", kMethod,
      [](Args& a) { return unfold(a.tensor(0), a.i64(1), a.i64(2), a.i64(3)); });
  def("as_strided(Tensor input, int[] size, int[] stride, int? storage_offset=None)", kFunction | kMethod,
      [](Args& a) { return as_strided(a.tensor(0), a.dims(1), a.dims(2), a.opt_i64(3)); });
  def("unbind(Tensor input, int dim=0)", kFunction | kMethod, [](Args& a) { return unbind(a.tensor(0), a.i64(1)); });
  def("split(Tensor tensor, int split_size_or_sections, int dim=0)", kFunction,
      [](Args& a) { return split(a.tensor(0), a.i64(1), a.i64(2)); });
  def("split(Tensor self, int split_size, int dim=0)", kMethod,
      [](Args& a) { return split(a.tensor(0), a.i64(1), a.i64(2)); });
  auto sections = [](Args& a) {
    const Dims d = a.dims(1);
    return split_with_sizes(a.tensor(0), std::vector<int64_t>(d.begin(), d.end()), a.i64(2));
  };
  def("split(Tensor tensor, int[] split_size_or_sections, int dim=0)", kFunction, sections);
  def("split(Tensor self, int[] split_size, int dim=0)", kMethod, sections);
  def("split_with_sizes(Tensor input, int[] split_sizes, int dim=0)", kFunction | kMethod, sections);
  def("chunk(Tensor input, int chunks, int dim=0)", kFunction | kMethod,
      [](Args& a) { return chunk(a.tensor(0), a.i64(1), a.i64(2)); });
  def("tensor_split(Tensor input, int indices_or_sections, int dim=0)", kFunction | kMethod,
      [](Args& a) { return tensor_split(a.tensor(0), a.i64(1), a.i64(2)); });
  def("tensor_split(Tensor input, Tensor tensor_indices_or_sections, int dim=0)", kFunction | kMethod, [](Args& a) {
    const Tensor& at = a.tensor(1);
    FS_CHECK(at.dtype() == DType::kInt64 && at.dim() <= 1,
             "tensor_split expected tensor_indices_or_sections to be a zero-dimensional or one-dimensional int64 "
             "tensor, got ",
             dtype_name(at.dtype()), " of shape ", at.sizes());
    if (at.dim() == 0) return tensor_split(a.tensor(0), item(at).to_int(), a.i64(2));
    const Tensor list = contiguous(to(at, DType::kInt64, Device{}));
    return tensor_split(a.tensor(0), std::vector<int64_t>(list.data<int64_t>(), list.data<int64_t>() + list.numel()),
                        a.i64(2));
  });
  def("tensor_split(Tensor input, int[] indices_or_sections, int dim=0)", kFunction | kMethod, [](Args& a) {
    const Dims d = a.dims(1);
    return tensor_split(a.tensor(0), std::vector<int64_t>(d.begin(), d.end()), a.i64(2));
  });
  def("_alias(Tensor self)", kMethod, [](Args& a) { return alias_view(a.tensor(0)); });
  // In-place views
  def("unsqueeze_(Tensor self, int dim)", kMethod,
      [](Args& a) { return become_view(a, [&](const Tensor& x) { return unsqueeze(x, a.i64(1)); }); });
  def("squeeze_(Tensor self)", kMethod,
      [](Args& a) { return become_view(a, [&](const Tensor& x) { return squeeze(x); }); });
  def("squeeze_(Tensor self, int[] dim)", kMethod,
      [](Args& a) { return become_view(a, [&](const Tensor& x) { return squeeze(x, a.dims(1)); }); });
  def("t_(Tensor self)", kMethod, [](Args& a) { return become_view(a, [&](const Tensor& x) { return t(x); }); });
  for (const char* s : {"transpose_(Tensor self, int dim0, int dim1)", "swapaxes_(Tensor self, int axis0, int axis1)",
                        "swapdims_(Tensor self, int dim0, int dim1)"})
    def(s, kMethod,
        [](Args& a) { return become_view(a, [&](const Tensor& x) { return transpose(x, a.i64(1), a.i64(2)); }); });
  def("as_strided_(Tensor self, int[] size, int[] stride, int? storage_offset=None)", kMethod, [](Args& a) {
    return become_view(a, [&](const Tensor& x) { return as_strided(x, a.dims(1), a.dims(2), a.opt_i64(3)); });
  });
}

}  // namespace fireseed::bind

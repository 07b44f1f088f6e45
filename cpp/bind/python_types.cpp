// dtype, device, Size, Generator, and conversions of plain Python values.
#include "bind/python_types.h"

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "bind/function.h"
#include "math/random.h"
#include "tensor/backend.h"

namespace fireseed::bind {

const char* shown_name = "fireseed";
thread_local Device default_device;

namespace {

PyTypeObject* make_type(PyObject* module, PyType_Spec* spec, PyObject* bases = nullptr) {
  PyObject* t = PyType_FromSpecWithBases(spec, bases);
  if (!t) return nullptr;
  const char* dot = std::strrchr(spec->name, '.');
  Py_INCREF(t);
  PyModule_AddObject(module, dot ? dot + 1 : spec->name, t);
  return reinterpret_cast<PyTypeObject*>(t);
}

// --- dtype --------------------------------------------------------------------------------------------------------

struct PyDType { PyObject_HEAD DType value; };
PyTypeObject* dtype_type;
PyObject* dtype_objects[kNumDTypes];

PyObject* dtype_repr(PyObject* self) {
  return PyUnicode_FromFormat("%s.%s", shown_name, dtype_name(reinterpret_cast<PyDType*>(self)->value));
}
PyObject* dtype_reduce(PyObject* self, PyObject*) {
  return PyUnicode_FromString(dtype_name(reinterpret_cast<PyDType*>(self)->value));
}
PyObject* dtype_is_float(PyObject* self, void*) {
  return PyBool_FromLong(is_floating(reinterpret_cast<PyDType*>(self)->value));
}
PyObject* dtype_false(PyObject*, void*) { Py_RETURN_FALSE; }
PyObject* dtype_is_signed(PyObject* self, void*) {
  const DType t = reinterpret_cast<PyDType*>(self)->value;
  return PyBool_FromLong(t != DType::kBool && t != DType::kUInt8);
}
PyObject* dtype_itemsize(PyObject* self, void*) {
  return PyLong_FromSize_t(dtype_size(reinterpret_cast<PyDType*>(self)->value));
}
PyMethodDef dtype_methods[] = {{"__reduce__", dtype_reduce, METH_NOARGS, nullptr}, {nullptr, nullptr, 0, nullptr}};
PyGetSetDef dtype_getset[] = {{"is_floating_point", dtype_is_float, nullptr, "True for float dtypes", nullptr},
                              {"is_complex", dtype_false, nullptr, "complex dtypes do not exist here", nullptr},
                              {"is_signed", dtype_is_signed, nullptr, "False for bool and uint8", nullptr},
                              {"itemsize", dtype_itemsize, nullptr, "bytes an element", nullptr},
                              {nullptr, nullptr, nullptr, nullptr, nullptr}};
PyType_Slot dtype_slots[] = {{Py_tp_repr, reinterpret_cast<void*>(dtype_repr)},
                             {Py_tp_methods, dtype_methods},
                             {Py_tp_getset, dtype_getset},
                             {Py_tp_doc, const_cast<char*>("Element type of a tensor.")},
                             {0, nullptr}};
PyType_Spec dtype_spec = {"fireseed.dtype", sizeof(PyDType), 0, Py_TPFLAGS_DEFAULT, dtype_slots};

// --- device -------------------------------------------------------------------------------------------------------

struct PyDevice {
  PyObject_HEAD Device value;
  bool has_index;
};
PyTypeObject* device_type;

PyObject* make_device(Device d, bool has_index) {
  auto* o = PyObject_New(PyDevice, device_type);
  if (!o) return nullptr;
  o->value = d;
  o->has_index = has_index;
  return reinterpret_cast<PyObject*>(o);
}

Device parse_device(std::string_view s, bool& has_index) {
  const size_t colon = s.find(':');
  const std::string_view kind = s.substr(0, colon);
  has_index = colon != std::string_view::npos;
  Device d;
  if (kind == "cuda") {
    d.kind = DeviceKind::kCuda;
  } else {
    FS_CHECK(kind == "cpu", "Expected one of cpu, cuda device type at start of device string: ", s);
  }
  if (has_index) {
    const std::string digits(s.substr(colon + 1));
    FS_CHECK(!digits.empty() && digits.find_first_not_of("0123456789") == std::string::npos && digits.size() < 3,
             "Invalid device string: '", s, "'");
    d.index = static_cast<int8_t>(std::stoi(digits));
    FS_CHECK(!d.is_cpu() || d.index == 0, "CPU device index must be -1 or zero, got ", static_cast<int>(d.index));
  }
  return d;
}

PyObject* device_new(PyTypeObject*, PyObject* args, PyObject* kwargs) {
  return guarded([&]() -> PyObject* {
    PyObject* what;
    long index = -1;
    static const char* names[] = {"type", "index", nullptr};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|l", const_cast<char**>(names), &what, &index))
      throw PythonError{};
    bool has_index = false;
    Device d;
    if (Py_TYPE(what) == device_type) {
      Py_INCREF(what);
      return what;
    }
    if (PyLong_Check(what)) {
      d.kind = DeviceKind::kCuda;
      d.index = static_cast<int8_t>(PyLong_AsLong(what));
      has_index = true;
    } else {
      FS_CHECK_TYPE(PyUnicode_Check(what), "device(): argument 'type' must be str or int, not ",
                    Py_TYPE(what)->tp_name);
      d = parse_device(PyUnicode_AsUTF8(what), has_index);
    }
    if (index >= 0) {
      FS_CHECK(!has_index, "type (string) must not include an index because index was passed explicitly");
      d.index = static_cast<int8_t>(index);
      has_index = true;
    }
    return make_device(d, has_index);
  });
}
PyObject* device_str(PyObject* self) {
  auto* d = reinterpret_cast<PyDevice*>(self);
  const char* kind = d->value.is_cpu() ? "cpu" : "cuda";
  return d->has_index ? PyUnicode_FromFormat("%s:%d", kind, d->value.index) : PyUnicode_FromString(kind);
}
PyObject* device_repr(PyObject* self) {
  auto* d = reinterpret_cast<PyDevice*>(self);
  const char* kind = d->value.is_cpu() ? "cpu" : "cuda";
  return d->has_index ? PyUnicode_FromFormat("device(type='%s', index=%d)", kind, d->value.index)
                      : PyUnicode_FromFormat("device(type='%s')", kind);
}
Py_hash_t device_hash(PyObject* self) {
  auto* d = reinterpret_cast<PyDevice*>(self);
  return static_cast<Py_hash_t>(d->value.kind) * 64 + d->value.index * 2 + d->has_index + 1;
}
PyObject* device_compare(PyObject* a, PyObject* b, int op) {
  if (Py_TYPE(b) != device_type || (op != Py_EQ && op != Py_NE)) Py_RETURN_NOTIMPLEMENTED;
  auto *x = reinterpret_cast<PyDevice*>(a), *y = reinterpret_cast<PyDevice*>(b);
  const bool same = x->value == y->value && (x->has_index == y->has_index);
  return PyBool_FromLong(same == (op == Py_EQ));
}
PyObject* device_get_type(PyObject* self, void*) {
  return PyUnicode_FromString(reinterpret_cast<PyDevice*>(self)->value.is_cpu() ? "cpu" : "cuda");
}
PyObject* device_get_index(PyObject* self, void*) {
  auto* d = reinterpret_cast<PyDevice*>(self);
  if (!d->has_index) Py_RETURN_NONE;
  return PyLong_FromLong(d->value.index);
}
PyObject* device_reduce(PyObject* self, PyObject*) {
  PyObject* text = device_str(self);
  return Py_BuildValue("O(N)", device_type, text);
}
// `with device("cuda"):` makes it the default of factories; the ones before stand in a list of the thread.
thread_local std::vector<Device> device_stack;
PyObject* device_enter(PyObject* self, PyObject*) {
  return guarded([&]() -> PyObject* {
    const Device d = device_from(self);
    device_stack.push_back(default_device);
    default_device = d;
    Py_INCREF(self);
    return self;
  });
}
PyObject* device_exit(PyObject*, PyObject*) {
  if (!device_stack.empty()) {
    default_device = device_stack.back();
    device_stack.pop_back();
  }
  Py_RETURN_FALSE;
}
PyMethodDef device_methods[] = {{"__enter__", device_enter, METH_NOARGS, "Makes it the default of factories."},
                                {"__exit__", device_exit, METH_VARARGS, nullptr},
                                {"__reduce__", device_reduce, METH_NOARGS, nullptr},
                                {nullptr, nullptr, 0, nullptr}};
PyGetSetDef device_getset[] = {{"type", device_get_type, nullptr, "'cpu' or 'cuda'", nullptr},
                               {"index", device_get_index, nullptr, "number of the device, or None", nullptr},
                               {nullptr, nullptr, nullptr, nullptr, nullptr}};
PyType_Slot device_slots[] = {{Py_tp_new, reinterpret_cast<void*>(device_new)},
                              {Py_tp_repr, reinterpret_cast<void*>(device_repr)},
                              {Py_tp_str, reinterpret_cast<void*>(device_str)},
                              {Py_tp_hash, reinterpret_cast<void*>(device_hash)},
                              {Py_tp_richcompare, reinterpret_cast<void*>(device_compare)},
                              {Py_tp_methods, device_methods},
                              {Py_tp_getset, device_getset},
                              {Py_tp_doc, const_cast<char*>("device('cpu'), device('cuda', 0), device('cuda:0')")},
                              {0, nullptr}};
PyType_Spec device_spec = {"fireseed.device", sizeof(PyDevice), 0, Py_TPFLAGS_DEFAULT, device_slots};

// --- Size ---------------------------------------------------------------------------------------------------------

PyTypeObject* size_type;

PyObject* size_repr(PyObject* self) {
  PyObject* list = PySequence_List(self);
  if (!list) return nullptr;
  PyObject* r = PyUnicode_FromFormat("%s.Size(%R)", shown_name, list);
  Py_DECREF(list);
  return r;
}
PyObject* size_numel(PyObject* self, PyObject*) {
  long long n = 1;
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(self); ++i) n *= PyLong_AsLongLong(PyTuple_GET_ITEM(self, i));
  return PyLong_FromLongLong(n);
}
PyObject* size_new(PyTypeObject* type, PyObject* args, PyObject* kwargs) {
  PyObject* r = PyTuple_Type.tp_new(type, args, kwargs);
  if (!r) return nullptr;
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(r); ++i) {
    PyObject* item = PyTuple_GET_ITEM(r, i);
    if (PyLong_Check(item)) continue;
    int64_t v;
    if (!to_int(item, v)) {
      PyErr_Format(PyExc_TypeError, "Size() takes an iterable of 'int' (item %zd is '%s')", i,
                   Py_TYPE(item)->tp_name);
      Py_DECREF(r);
      return nullptr;
    }
    PyTuple_SET_ITEM(r, i, PyLong_FromLongLong(v));
    Py_DECREF(item);
  }
  return r;
}
PyObject* as_size(PyObject* tuple) {
  if (!tuple || !PyTuple_Check(tuple)) return tuple;
  PyObject* r = PyObject_CallOneArg(reinterpret_cast<PyObject*>(size_type), tuple);
  Py_DECREF(tuple);
  return r;
}
PyObject* size_concat(PyObject* a, PyObject* b) { return as_size(PyTuple_Type.tp_as_sequence->sq_concat(a, b)); }
PyObject* size_repeat(PyObject* a, Py_ssize_t n) { return as_size(PyTuple_Type.tp_as_sequence->sq_repeat(a, n)); }
PyObject* size_subscript(PyObject* self, PyObject* index) {
  if (PyLong_CheckExact(index)) {
    Py_ssize_t i = PyLong_AsSsize_t(index);
    const Py_ssize_t n = PyTuple_GET_SIZE(self);
    if (i < 0) i += n;
    if (i >= 0 && i < n) {
      PyObject* r = PyTuple_GET_ITEM(self, i);
      Py_INCREF(r);
      return r;
    }
  }
  PyObject* r = PyTuple_Type.tp_as_mapping->mp_subscript(self, index);
  return PySlice_Check(index) ? as_size(r) : r;
}
PyObject* size_reduce(PyObject* self, PyObject*) { return Py_BuildValue("O(N)", size_type, PySequence_List(self)); }
PyMethodDef size_methods[] = {{"numel", size_numel, METH_NOARGS, "Product of the sizes."},
                              {"__reduce__", size_reduce, METH_NOARGS, nullptr},
                              {nullptr, nullptr, 0, nullptr}};
PyType_Slot size_slots[] = {{Py_tp_new, reinterpret_cast<void*>(size_new)},
                            {Py_tp_repr, reinterpret_cast<void*>(size_repr)},
                            {Py_sq_concat, reinterpret_cast<void*>(size_concat)},
                            {Py_sq_repeat, reinterpret_cast<void*>(size_repeat)},
                            {Py_mp_subscript, reinterpret_cast<void*>(size_subscript)},
                            {Py_tp_methods, size_methods},
                            {Py_tp_doc, const_cast<char*>("Shape of a tensor: a tuple of ints.")},
                            {0, nullptr}};
PyType_Spec size_spec = {"fireseed.Size", 0, 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, size_slots};

// --- Generator ----------------------------------------------------------------------------------------------------

struct PyGenerator {
  PyObject_HEAD Generator* value;  // null: default_generator(), which may be the thread's own
};
PyTypeObject* generator_type;

Generator* native(PyObject* self) {
  Generator* value = reinterpret_cast<PyGenerator*>(self)->value;
  return value ? value : &default_generator();
}

PyObject* generator_new(PyTypeObject* type, PyObject* args, PyObject* kwargs) {
  PyObject* device = nullptr;
  static const char* names[] = {"device", nullptr};
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O", const_cast<char**>(names), &device)) return nullptr;
  auto* g = reinterpret_cast<PyGenerator*>(type->tp_alloc(type, 0));
  if (!g) return nullptr;
  g->value = nullptr;
  return guarded([&]() -> PyObject* {
    struct Drop {
      PyObject* o;
      ~Drop() { Py_XDECREF(o); }
    } drop{reinterpret_cast<PyObject*>(g)};
    const Device d = device && device != Py_None ? device_from(device) : Device{};
    g->value = new Generator(67280421310721ull, d.is_cpu() ? -1 : d.index);  // PyTorch's default seed
    return std::exchange(drop.o, nullptr);
  });
}
void generator_dealloc(PyObject* self) {
  auto* g = reinterpret_cast<PyGenerator*>(self);
  delete g->value;
  PyTypeObject* t = Py_TYPE(self);
  t->tp_free(self);
  Py_DECREF(t);
}
PyObject* generator_manual_seed(PyObject* self, PyObject* seed) {
  return guarded([&]() -> PyObject* {
    int64_t v;
    if (PyLong_Check(seed)) {
      v = static_cast<int64_t>(PyLong_AsUnsignedLongLongMask(seed));
    } else {
      FS_CHECK_TYPE(to_int(seed, v), "manual_seed expected an int, got ", Py_TYPE(seed)->tp_name);
    }
    native(self)->manual_seed(static_cast<uint64_t>(v));
    Py_INCREF(self);
    return self;
  });
}
PyObject* generator_seed(PyObject* self, PyObject*) { return PyLong_FromUnsignedLongLong(native(self)->seed()); }
PyObject* generator_initial_seed(PyObject* self, PyObject*) {
  return PyLong_FromUnsignedLongLong(native(self)->initial_seed());
}
PyObject* generator_get_state(PyObject* self, PyObject*) {
  return guarded([&]() -> PyObject* {
    Tensor t = empty(Dims{static_cast<int64_t>(native(self)->state_bytes())}, DType::kUInt8);
    native(self)->get_state(t.impl()->data);
    return wrap(t);
  });
}
PyObject* generator_set_state(PyObject* self, PyObject* state) {
  return guarded([&]() -> PyObject* {
    const Tensor* t = as_tensor(state);
    FS_CHECK_TYPE(t && t->dtype() == DType::kUInt8 && t->is_contiguous() && t->device().is_cpu(),
                  "set_state: expected a uint8 tensor (ByteTensor) on the CPU");
    native(self)->set_state(t->impl()->data, static_cast<size_t>(t->numel()));
    Py_INCREF(self);
    return self;
  });
}
PyObject* generator_device(PyObject* self, void*) {
  const int d = native(self)->device();
  return d < 0 ? make_device(Device{}, false) : make_device(Device{DeviceKind::kCuda, static_cast<int8_t>(d)}, true);
}
PyMethodDef generator_methods[] = {
    {"manual_seed", generator_manual_seed, METH_O, "Sets the seed; returns the generator."},
    {"seed", generator_seed, METH_NOARGS, "Seeds from the system's entropy; returns the seed."},
    {"initial_seed", generator_initial_seed, METH_NOARGS, "The seed last set."},
    {"get_state", generator_get_state, METH_NOARGS, "State as a uint8 tensor, in PyTorch's layout."},
    {"set_state", generator_set_state, METH_O, "Restores a state."},
    {nullptr, nullptr, 0, nullptr}};
PyGetSetDef generator_getset[] = {{"device", generator_device, nullptr, "Whose numbers it makes.", nullptr},
                                  {nullptr, nullptr, nullptr, nullptr, nullptr}};
PyType_Slot generator_slots[] = {{Py_tp_new, reinterpret_cast<void*>(generator_new)},
                                 {Py_tp_dealloc, reinterpret_cast<void*>(generator_dealloc)},
                                 {Py_tp_methods, generator_methods},
                                 {Py_tp_getset, generator_getset},
                                 {Py_tp_doc, const_cast<char*>("A stream of random numbers: PyTorch's mt19937.")},
                                 {0, nullptr}};
PyType_Spec generator_spec = {"fireseed.Generator", sizeof(PyGenerator), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
                              generator_slots};

}  // namespace

bool is_dtype(PyObject* o) { return Py_TYPE(o) == dtype_type; }
DType dtype_from(PyObject* o) { return reinterpret_cast<PyDType*>(o)->value; }
bool is_device_like(PyObject* o) {
  return Py_TYPE(o) == device_type || PyUnicode_Check(o) || (PyLong_Check(o) && !PyBool_Check(o));
}
namespace {
// "cuda" without a number is the thread's current device.
Device current_of(Device d) {
  if (!d.is_cpu()) d.index = static_cast<int8_t>(backend("device").current_device());
  return d;
}
}  // namespace
Device device_from(PyObject* o) {
  Device d;
  if (Py_TYPE(o) == device_type) {
    d = reinterpret_cast<PyDevice*>(o)->value;
    if (!reinterpret_cast<PyDevice*>(o)->has_index) d = current_of(d);
  } else if (PyUnicode_Check(o)) {
    bool has_index;
    d = parse_device(PyUnicode_AsUTF8(o), has_index);
    if (!has_index) d = current_of(d);
  } else if (PyLong_Check(o) && !PyBool_Check(o)) {
    const long index = PyLong_AsLong(o);
    FS_CHECK(index >= 0 && index < 100, "Invalid device index: ", index);
    d = Device{DeviceKind::kCuda, static_cast<int8_t>(index)};
  } else {
    fail(ErrorKind::kType, "device must be a device or a string such as 'cpu', not ", Py_TYPE(o)->tp_name);
  }
  if (!d.is_cpu()) check_device(d, "device");
  return d;
}
bool is_generator(PyObject* o) { return PyType_IsSubtype(Py_TYPE(o), generator_type); }
Generator* generator_from(PyObject* o) {
  FS_CHECK_TYPE(is_generator(o), "generator must be a Generator, not ", Py_TYPE(o)->tp_name);
  return native(o);
}

bool is_numpy_scalar(PyObject* o) {
  // numpy's scalars derive from numpy.generic; asked by name, as numpy may not be loaded.
  for (PyTypeObject* t = Py_TYPE(o); t; t = t->tp_base)
    if (!std::strcmp(t->tp_name, "numpy.generic")) return true;
  return false;
}

bool to_int(PyObject* o, int64_t& out) {
  if (!o) return false;
  if (const Tensor* t = as_tensor(o)) {
    if (t->numel() != 1 || !is_integral(t->dtype())) return false;
    out = item(*t).to_int();
    return true;
  }
  if (PyFloat_Check(o) || !PyIndex_Check(o)) return false;
  PyObject* i = PyNumber_Index(o);
  if (!i) {
    PyErr_Clear();
    return false;
  }
  out = PyLong_AsLongLong(i);
  Py_DECREF(i);
  if (out == -1 && PyErr_Occurred()) throw PythonError{};
  return true;
}

bool to_scalar(PyObject* o, Scalar& out) {
  if (!o) return false;
  if (PyFloat_Check(o)) {
    out = Scalar(PyFloat_AS_DOUBLE(o));
  } else if (PyBool_Check(o)) {
    out = Scalar(o == Py_True);
  } else if (PyLong_Check(o)) {
    int overflow;
    const long long v = PyLong_AsLongLongAndOverflow(o, &overflow);
    if (overflow) {
      PyErr_SetString(PyExc_OverflowError,
                      "int too big to convert: tensors hold ints of -2**63 to 2**63 - 1; write it as a float");
      throw PythonError{};
    }
    out = Scalar(static_cast<int64_t>(v));
  } else if (const Tensor* t = as_tensor(o)) {
    if (t->numel() != 1) return false;
    out = item(*t);
  } else if (is_numpy_scalar(o)) {
    if (PyIndex_Check(o) && Py_TYPE(o)->tp_as_number && Py_TYPE(o)->tp_as_number->nb_index &&
        !std::strstr(Py_TYPE(o)->tp_name, "float")) {
      if (std::strstr(Py_TYPE(o)->tp_name, "bool")) {
        out = Scalar(PyObject_IsTrue(o) == 1);
        return true;
      }
      int64_t v;
      if (to_int(o, v)) {
        out = Scalar(v);
        return true;
      }
    }
    if (std::strstr(Py_TYPE(o)->tp_name, "bool")) {
      out = Scalar(PyObject_IsTrue(o) == 1);
      return true;
    }
    const double d = PyFloat_AsDouble(o);
    if (PyErr_Occurred()) {
      PyErr_Clear();
      return false;
    }
    out = Scalar(d);
  } else if (PyIndex_Check(o)) {
    int64_t v;
    if (!to_int(o, v)) return false;
    out = Scalar(v);
  } else {
    return false;
  }
  return true;
}

PyObject* to_python(DType t) {
  PyObject* o = dtype_objects[static_cast<int>(t)];
  Py_INCREF(o);
  return o;
}
PyObject* to_python(Device d) { return make_device(d, !d.is_cpu()); }
PyObject* to_python(std::string_view s) {
  return PyUnicode_FromStringAndSize(s.data(), static_cast<Py_ssize_t>(s.size()));
}
PyObject* to_python(Scalar s) {
  switch (s.kind) {
    case Scalar::kBool: return PyBool_FromLong(s.i != 0);
    case Scalar::kInt: return PyLong_FromLongLong(s.i);
    default: return PyFloat_FromDouble(s.d);
  }
}
PyObject* to_python(const Dims& d) {
  PyObject* r = size_type->tp_alloc(size_type, static_cast<Py_ssize_t>(d.n));
  if (!r) return nullptr;
  for (int64_t i = 0; i < d.n; ++i) PyTuple_SET_ITEM(r, i, PyLong_FromLongLong(d[i]));
  return r;
}
PyObject* to_python(const std::vector<Tensor>& v) {
  PyObject* r = PyTuple_New(static_cast<Py_ssize_t>(v.size()));
  if (!r) return nullptr;
  for (size_t i = 0; i < v.size(); ++i) PyTuple_SET_ITEM(r, static_cast<Py_ssize_t>(i), wrap(v[i]));
  return r;
}
namespace {

// "torch.return_types.max(\nvalues=…,\nindices=…)", as PyTorch prints results with named fields.
PyObject* named_repr(PyObject* self) {
  const char* name = std::strrchr(Py_TYPE(self)->tp_name, '.');
  PyObject* fields = PyObject_GetAttrString(reinterpret_cast<PyObject*>(Py_TYPE(self)), "__match_args__");
  if (!fields) return nullptr;
  PyObject* text = PyUnicode_FromFormat("%s.return_types.%s(", shown_name, name ? name + 1 : Py_TYPE(self)->tp_name);
  for (Py_ssize_t i = 0; text && i < PyTuple_GET_SIZE(fields); ++i) {
    PyObject* item = PyUnicode_FromFormat("%s\n%U=%R", i ? "," : "", PyTuple_GET_ITEM(fields, i),
                                          PyStructSequence_GetItem(self, i));
    PyUnicode_AppendAndDel(&text, item);
  }
  Py_DECREF(fields);
  if (text) PyUnicode_AppendAndDel(&text, PyUnicode_FromString(")"));
  return text;
}

}  // namespace

PyObject* to_python(const Named& n) {
  // Types by name and fields, made once.
  static PyObject* cache = PyDict_New();
  std::string key = n.type_name;
  for (const char* f : n.fields) key += std::string("/") + f;
  PyObject* type = PyDict_GetItemString(cache, key.c_str());
  if (!type) {
    std::vector<PyStructSequence_Field> fields;
    for (const char* f : n.fields) fields.push_back({f, nullptr});
    fields.push_back({nullptr, nullptr});
    static std::vector<std::string*> names;
    names.push_back(new std::string(std::string("fireseed.return_types.") + n.type_name));
    PyStructSequence_Desc desc = {names.back()->c_str(), nullptr, fields.data(), static_cast<int>(n.fields.size())};
    type = reinterpret_cast<PyObject*>(PyStructSequence_NewType(&desc));
    if (!type) return nullptr;
    reinterpret_cast<PyTypeObject*>(type)->tp_repr = named_repr;
    PyDict_SetItemString(cache, key.c_str(), type);
    Py_DECREF(type);
  }
  PyObject* r = PyStructSequence_New(reinterpret_cast<PyTypeObject*>(type));
  if (!r) return nullptr;
  for (size_t i = 0; i < n.values.size(); ++i)
    PyStructSequence_SetItem(r, static_cast<Py_ssize_t>(i), wrap(n.values[i]));
  return r;
}

void add_python_types(PyObject* module) {
  dtype_type = make_type(module, &dtype_spec);
  struct Alias {
    const char* name;
    DType t;
  };
  static constexpr Alias kAliases[] = {{"float", DType::kFloat32}, {"double", DType::kFloat64},
                                       {"half", DType::kFloat16},  {"int", DType::kInt32},
                                       {"long", DType::kInt64},    {"short", DType::kInt16}};
  for (int i = 0; i < kNumDTypes; ++i) {
    auto* o = PyObject_New(PyDType, dtype_type);
    o->value = static_cast<DType>(i);
    dtype_objects[i] = reinterpret_cast<PyObject*>(o);
    Py_INCREF(o);
    PyModule_AddObject(module, dtype_name(o->value), reinterpret_cast<PyObject*>(o));
  }
  for (const Alias& a : kAliases) PyModule_AddObject(module, a.name, to_python(a.t));
  device_type = make_type(module, &device_spec);
  PyObject* bases = PyTuple_Pack(1, &PyTuple_Type);
  size_type = make_type(module, &size_spec, bases);
  Py_DECREF(bases);
  generator_type = make_type(module, &generator_spec);
  auto* g = reinterpret_cast<PyGenerator*>(generator_type->tp_alloc(generator_type, 0));
  g->value = nullptr;
  PyModule_AddObject(module, "default_generator", reinterpret_cast<PyObject*>(g));
}

}  // namespace fireseed::bind

// The signature language: parsing at load, matching and converting arguments at each call.
#include "bind/function.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <unordered_map>

#include "bind/out_argument.h"
#include "bind/python_types.h"
#include "engine/apply.h"
#include "engine/autocast.h"
#include "engine/mode.h"
#include "math/random.h"
#include "ops/copy.h"
#include "tensor/backend.h"

namespace fireseed::bind {

namespace {

std::vector<void (*)()>& registrars() {
  static std::vector<void (*)()> list;
  return list;
}

struct KindName {
  const char* text;
  Kind kind;
};
constexpr KindName kKinds[] = {{"Tensor", Kind::kTensor},       {"Operand", Kind::kOperand},
                               {"Tensor[]", Kind::kTensorList}, {"int", Kind::kInt},
                               {"float", Kind::kFloat},         {"bool", Kind::kBool},
                               {"Scalar", Kind::kScalar},       {"int[]", Kind::kIntList},
                               {"int...", Kind::kIntList},      {"dtype", Kind::kDType},
                               {"device", Kind::kDevice},       {"str", Kind::kStr},
                               {"Generator", Kind::kGenerator}, {"object", Kind::kObject}};

[[noreturn]] void bad_signature(const char* text, const std::string& why) {
  std::fprintf(stderr, "fireseed: bad signature \"%s\": %s\n", text, why.c_str());
  std::abort();
}

std::string trimmed(std::string s) {
  const size_t a = s.find_first_not_of(' '), b = s.find_last_not_of(' ');
  return a == std::string::npos ? "" : s.substr(a, b - a + 1);
}

PyObject* parse_default(const char* signature, std::string t) {
  if (t == "None") Py_RETURN_NONE;
  if (t == "True") Py_RETURN_TRUE;
  if (t == "False") Py_RETURN_FALSE;
  if (t[0] == '[') {  // a list of ints
    PyObject* list = PyList_New(0);
    for (size_t at = 1; at + 1 < t.size();) {
      const size_t end = std::min(t.find(',', at), t.size() - 1);
      PyObject* v = parse_default(signature, trimmed(t.substr(at, end - at)));
      PyList_Append(list, v);
      Py_DECREF(v);
      at = end + 1;
    }
    PyObject* tuple = PyList_AsTuple(list);
    Py_DECREF(list);
    return tuple;
  }
  if (t[0] == '\'' || t[0] == '"')
    return PyUnicode_FromStringAndSize(t.data() + 1, static_cast<Py_ssize_t>(t.size()) - 2);
  try {
    if (t.find_first_of(".enf") != std::string::npos) return PyFloat_FromDouble(std::stod(t));
    return PyLong_FromLongLong(std::stoll(t));
  } catch (const std::exception&) { bad_signature(signature, "cannot read the default '" + t + "'"); }
}

}  // namespace

Registrar::Registrar(void (*f)()) { registrars().push_back(f); }
void run_registrars() {
  for (auto f : registrars()) f();
}

Signature parse_signature(const char* text, std::string& name) {
  Signature s;
  s.text = text;
  const std::string all = text;
  const size_t open = all.find('('), close = all.rfind(')');
  if (open == std::string::npos || close == std::string::npos) bad_signature(text, "no parentheses");
  name = trimmed(all.substr(0, open));
  std::string body = all.substr(open + 1, close - open - 1);
  bool keyword_only = false;
  size_t at = 0;
  while (at < body.size()) {
    size_t end = at;
    bool quoted = false;
    int depth = 0;  // of brackets, in a type (int[]) or a default ([0, 1])
    while (end < body.size() && (quoted || depth || body[end] != ',')) {
      if (body[end] == '\'') quoted = !quoted;
      depth += body[end] == '[' ? 1 : body[end] == ']' ? -1 : 0;
      ++end;
    }
    const std::string item = trimmed(body.substr(at, end - at));
    at = end + 1;
    if (item.empty()) continue;
    if (item == "*") {
      keyword_only = true;
      continue;
    }
    const size_t space = item.find(' ');
    if (space == std::string::npos) bad_signature(text, "no type in '" + item + "'");
    std::string type = item.substr(0, space), rest = trimmed(item.substr(space + 1));
    Param p;
    if (type.back() == '?') {
      p.optional = true;
      type.pop_back();
    }
    bool found = false;
    for (const KindName& k : kKinds)
      if (type == k.text) {
        p.kind = k.kind;
        found = true;
      }
    if (!found) bad_signature(text, "unknown type '" + type + "'");
    p.varargs = type == "int...";
    const size_t eq = rest.find('=');
    p.name = trimmed(rest.substr(0, eq));
    p.interned = PyUnicode_InternFromString(p.name.c_str());
    if (eq != std::string::npos) p.fallback = parse_default(text, trimmed(rest.substr(eq + 1)));
    p.keyword_only = keyword_only;
    if (!keyword_only) ++s.num_positional;
    if (!p.fallback) s.num_required = static_cast<int>(s.params.size()) + 1;
    s.params.push_back(p);
  }
  if (s.params.size() > kMaxParams) bad_signature(text, "too many parameters");
  return s;
}

namespace {

bool is_number(PyObject* o) {
  return PyLong_Check(o) || PyFloat_Check(o) || PyBool_Check(o) || (!is_tensor(o) && PyIndex_Check(o)) ||
         (Py_TYPE(o)->tp_as_number && Py_TYPE(o)->tp_as_number->nb_float && !is_tensor(o) && !PyUnicode_Check(o) &&
          is_numpy_scalar(o));
}
bool is_int(PyObject* o) {
  if (PyLong_Check(o)) return !PyBool_Check(o);
  if (const Tensor* t = as_tensor(o)) return t->numel() == 1 && is_integral(t->dtype()) && t->dim() == 0;
  return PyIndex_Check(o);
}
bool is_int_sequence(PyObject* o) {
  if (!PyList_Check(o) && !PyTuple_Check(o)) return false;
  const Py_ssize_t n = PySequence_Fast_GET_SIZE(o);
  for (Py_ssize_t i = 0; i < n; ++i)
    if (!is_int(PySequence_Fast_GET_ITEM(o, i))) return false;
  return true;
}

bool accepts(const Param& p, PyObject* o) {
  if (o == Py_None) return p.optional || p.kind == Kind::kObject;
  switch (p.kind) {
    case Kind::kTensor: return is_tensor(o);
    case Kind::kOperand: return is_tensor(o) || is_number(o);
    case Kind::kTensorList: {
      if (!PyList_Check(o) && !PyTuple_Check(o)) return false;
      const Py_ssize_t n = PySequence_Fast_GET_SIZE(o);
      for (Py_ssize_t i = 0; i < n; ++i)
        if (!is_tensor(PySequence_Fast_GET_ITEM(o, i))) return false;
      return true;
    }
    case Kind::kInt: return is_int(o);
    case Kind::kFloat: return is_number(o) || (is_tensor(o) && as_tensor(o)->numel() == 1);
    case Kind::kBool: return PyBool_Check(o);
    case Kind::kScalar: return is_number(o) || (is_tensor(o) && as_tensor(o)->dim() == 0);
    case Kind::kIntList: return is_int(o) || is_int_sequence(o);
    case Kind::kDType: return is_dtype(o);
    case Kind::kDevice: return is_device_like(o);
    case Kind::kStr: return PyUnicode_Check(o);
    case Kind::kGenerator: return is_generator(o);
    case Kind::kObject: return true;
  }
  return false;
}

int find_param(const Signature& s, PyObject* key) {
  const int n = static_cast<int>(s.params.size());
  for (int i = 0; i < n; ++i)
    if (s.params[static_cast<size_t>(i)].interned == key) return i;
  for (int i = 0; i < n; ++i)
    if (PyUnicode_Compare(key, s.params[static_cast<size_t>(i)].interned) == 0) return i;
  // numpy's names, as PyTorch takes them
  const char* k = PyUnicode_AsUTF8(key);
  if (!k) return -1;
  const char* other = !std::strcmp(k, "axis")       ? "dim"
                      : !std::strcmp(k, "keepdims") ? "keepdim"
                      : !std::strcmp(k, "x")        ? "input"
                      : !std::strcmp(k, "x1")       ? "input"
                      : !std::strcmp(k, "x2")       ? "other"
                      : !std::strcmp(k, "self")     ? "input"
                      : !std::strcmp(k, "input")    ? "self"
                                                    : nullptr;
  if (other)
    for (int i = 0; i < n; ++i)
      if (s.params[static_cast<size_t>(i)].name == other) return i;
  return -1;
}

enum class Match { kYes, kNo };

// Puts the arguments into slots. `why` (if wanted) gets the reason for a mismatch.
Match match(const Signature& s, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames, bool check_types,
            bool allow_out, PyObject** slots, PyObject** out_arg, VarArgs* varargs, std::string* why) {
  const size_t n = s.params.size();
  for (size_t i = 0; i < n; ++i) slots[i] = nullptr;
  Py_ssize_t positional = nargs;
  if (nargs > s.num_positional || (s.num_positional && nargs >= s.num_positional &&
                                   s.params[static_cast<size_t>(s.num_positional - 1)].varargs)) {
    const Param& last = s.params[s.num_positional ? static_cast<size_t>(s.num_positional - 1) : 0];
    if (s.num_positional == 0 || !last.varargs) {
      if (why)
        *why = "takes at most " + std::to_string(s.num_positional) + " positional arguments (" +
               std::to_string(nargs) + " given)";
      return Match::kNo;
    }
    const Py_ssize_t first = s.num_positional - 1;
    if (nargs - first > 1 || is_int(args[first])) {
      *varargs = {args + first, nargs - first, static_cast<int>(first)};
      slots[first] = args[first];
      positional = first;
    }
  }
  for (Py_ssize_t i = 0; i < positional; ++i) slots[i] = args[i];
  if (kwnames) {
    const Py_ssize_t nk = PyTuple_GET_SIZE(kwnames);
    for (Py_ssize_t k = 0; k < nk; ++k) {
      PyObject* key = PyTuple_GET_ITEM(kwnames, k);
      const int at = find_param(s, key);
      if (at < 0) {
        const char* name = PyUnicode_AsUTF8(key);
        if (allow_out && !std::strcmp(name, "out")) {
          *out_arg = args[nargs + k];
          continue;
        }
        if (!std::strcmp(name, "layout") || !std::strcmp(name, "memory_format") || !std::strcmp(name, "pin_memory") ||
            !std::strcmp(name, "non_blocking"))
          continue;  // one layout, no pinned memory on the CPU: accepted and of no effect
        if (why) *why = std::string("got an unexpected keyword argument '") + name + "'";
        return Match::kNo;
      }
      if (slots[at]) {
        if (why) *why = "got multiple values for argument '" + s.params[static_cast<size_t>(at)].name + "'";
        return Match::kNo;
      }
      slots[at] = args[nargs + k];
    }
  }
  for (size_t i = 0; i < n; ++i) {
    const Param& p = s.params[i];
    if (!slots[i]) {
      if (!p.fallback) {
        if (why) *why = "missing required argument '" + p.name + "' (position " + std::to_string(i + 1) + ")";
        return Match::kNo;
      }
      slots[i] = p.fallback;
      continue;
    }
    if (check_types && varargs->index != static_cast<int>(i) && !accepts(p, slots[i])) {
      if (why) {
        *why = "argument '" + p.name + "' (position " + std::to_string(i + 1) + ") must be " + kind_name(p) +
               ", not " + Py_TYPE(slots[i])->tp_name;
      }
      return Match::kNo;
    }
  }
  return Match::kYes;
}

}  // namespace

// Note [Generic in-place forms]
// x.name_() without a form of its own runs name(x) and copies the result into x. What the recorded op saved of x
// would be overwritten by that, so where a gradient is recorded the op works on a copy of x.
PyObject* run_handler(const Function& f, const Signature& s, PyObject** slots, const VarArgs& v) {
  return guarded([&]() -> PyObject* {
    PyObject* self_object = slots[0];
    Tensor original;  // Note [Generic in-place forms]
    if (__builtin_expect(f.inplace, false)) {
      const Tensor* self = as_tensor(self_object);
      check_inplace(*self, f.name.c_str());
      bool record = false;
      for (size_t i = 0; mode.grad_enabled && i < s.params.size(); ++i)
        if (const Tensor* t = as_tensor(slots[i])) record |= t->requires_grad();
      if (record) {
        original = clone(*self);
        slots[0] = wrap(original);
      }
    }
    Args a(f, slots, v.first, v.count, v.index);
    PyObject* r;
    try {
      r = s.handler(a);
    } catch (const DeviceMemoryError&) {
      if (original.defined()) Py_DECREF(slots[0]);
      throw;
    } catch (const Error& e) {
      // Every error names the function that was called, unless only the Python layer calls it.
      if (original.defined()) Py_DECREF(slots[0]);
      const bool is_private = f.name.front() == '_' && f.name.back() != '_';
      if (is_private || std::string_view(e.what()).find(f.name) != std::string_view::npos) throw;
      throw Error(e.kind(), f.name + "(): " + e.what());
    }
    if (original.defined()) {
      Py_DECREF(slots[0]);
      slots[0] = self_object;
    }
    if (__builtin_expect(mode.inference && r,
                         false)) {  // apply() marks results of ops; this, what comes from nothing
      bool made = Py_REFCNT(r) == 1;
      for (size_t i = 0; made && i < s.params.size(); ++i) made = !as_tensor(slots[i]);
      if (const Tensor* t = made ? as_tensor(r) : nullptr) t->impl()->set(TensorImpl::kInference, true);
    }
    if (__builtin_expect(f.inplace && r, false)) {
      const Tensor* value = as_tensor(r);
      const Tensor* self = as_tensor(slots[0]);
      FS_CHECK_TYPE(value && self, f.name, ": no in-place form");
      FS_CHECK(value->dim() <= self->dim() || value->same_shape(*self), f.name, ": output with shape ", self->sizes(),
               " doesn't match the broadcast shape ", value->sizes());
      FS_CHECK(!(is_floating(value->dtype()) && !is_floating(self->dtype())), f.name, ": result type ",
               dtype_name(value->dtype()), " can't be cast to the desired output type ", dtype_name(self->dtype()));
      if (value->impl() != self->impl()) {
        FS_CHECK(value->same_shape(*self), f.name, ": output with shape ", self->sizes(),
                 " doesn't match the broadcast shape ", value->sizes());
        const Tensor keep = *value;
        copy_(*self, keep);
      }
      Py_DECREF(r);
      Py_INCREF(slots[0]);
      return slots[0];
    }
    return r;
  });
}

namespace {

PyObject* finish(const Function& f, const Signature& s, PyObject** slots, const VarArgs& v = {}) {
  if (__builtin_expect(mode.autocast != 0, false) &&
      (f.autocast[0] != CastPolicy::kNone || f.autocast[1] != CastPolicy::kNone))
    return finish_with_autocast(f, s, slots, v);
  return run_handler(f, s, slots, v);
}

}  // namespace

PyObject* call(const Function& f, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
  PyObject* slots[kMaxParams];
  // One signature: conversions report what is wrong; no checking beforehand.
  if (f.signatures.size() == 1 && !kwnames) {
    const Signature& s = f.signatures[0];
    if (__builtin_expect(nargs <= s.num_positional && nargs >= s.num_required && !s.has_varargs(), true)) {
      for (Py_ssize_t i = 0; i < nargs; ++i) slots[i] = args[i];
      for (size_t i = static_cast<size_t>(nargs); i < s.params.size(); ++i) slots[i] = s.params[i].fallback;
      return finish(f, s, slots);
    }
  }
  const bool several = f.signatures.size() > 1;
  for (const Signature& s : f.signatures) {
    PyObject* out = nullptr;
    VarArgs varargs;
    if (match(s, args, nargs, kwnames, several, f.allow_out, slots, &out, &varargs, nullptr) == Match::kYes) {
      if (!out || out == Py_None) return finish(f, s, slots, varargs);
      const AutocastOff off;  // a result's place has its dtype already
      return copy_to_out(f, slots, s.params.size(), run_handler(f, s, slots, varargs), out);
    }
  }
  std::string text = f.name + "(): ";
  if (!several) {
    PyObject* out = nullptr;
    VarArgs varargs;
    std::string why;
    match(f.signatures[0], args, nargs, kwnames, true, f.allow_out, slots, &out, &varargs, &why);
    text += why + ". Signature: " + f.signatures[0].text;
  } else {
    text += "received an invalid combination of arguments - got (";
    for (Py_ssize_t i = 0; i < nargs; ++i) text += std::string(i ? ", " : "") + Py_TYPE(args[i])->tp_name;
    if (kwnames)
      for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(kwnames); ++i)
        text += std::string(nargs + i ? ", " : "") + PyUnicode_AsUTF8(PyTuple_GET_ITEM(kwnames, i)) + "=" +
                Py_TYPE(args[nargs + i])->tp_name;
    text += "), but expected one of:";
    for (const Signature& s : f.signatures) {
      PyObject* out = nullptr;
      VarArgs varargs;
      std::string why;
      match(s, args, nargs, kwnames, true, f.allow_out, slots, &out, &varargs, &why);
      text += "\n * " + s.text + "\n      " + why;
    }
  }
  PyErr_SetString(PyExc_TypeError, text.c_str());
  return nullptr;
}

std::string kind_name(const Param& p) {
  static const std::unordered_map<int, const char*> names = {{int(Kind::kTensor), "Tensor"},
                                                             {int(Kind::kOperand), "Tensor or Number"},
                                                             {int(Kind::kTensorList), "tuple of Tensors"},
                                                             {int(Kind::kInt), "int"},
                                                             {int(Kind::kFloat), "float"},
                                                             {int(Kind::kBool), "bool"},
                                                             {int(Kind::kScalar), "Number"},
                                                             {int(Kind::kIntList), "tuple of ints"},
                                                             {int(Kind::kDType), "dtype"},
                                                             {int(Kind::kDevice), "device"},
                                                             {int(Kind::kStr), "str"},
                                                             {int(Kind::kGenerator), "Generator"},
                                                             {int(Kind::kObject), "object"}};
  return std::string(names.at(static_cast<int>(p.kind))) + (p.optional ? " or None" : "");
}

// --- Conversions --------------------------------------------------------------------------------------------------

namespace {

[[noreturn, gnu::cold]] void bad_argument(const Args& a, PyObject** slots, int i) {
  const Function& f = a.function();
  const Signature* s = nullptr;
  for (const Signature& c : f.signatures)
    if (static_cast<int>(c.params.size()) > i) s = s ? s : &c;
  const Param& p = s->params[static_cast<size_t>(i)];
  fail(ErrorKind::kType, f.name, "(): argument '", p.name, "' (position ", i + 1, ") must be ", kind_name(p),
       ", not ", Py_TYPE(slots[i])->tp_name);
}

}  // namespace

const Tensor& Args::tensor(int i) {
  PyObject* o = slots_[i];
  if (const Tensor* t = as_tensor(o); __builtin_expect(t != nullptr, true)) return *t;
  Scalar s;
  if (o && i < 4 && to_scalar(o, s)) {
    const Param* p = nullptr;
    for (const Signature& c : function_.signatures)
      if (static_cast<int>(c.params.size()) > i && c.params[static_cast<size_t>(i)].kind == Kind::kOperand)
        p = &c.params[static_cast<size_t>(i)];
    if (p) return numbers_[i] = wrapped_number(s);
  }
  bad_argument(*this, slots_, i);
}

Tensor Args::opt_tensor(int i) {
  if (!given(i)) return Tensor();
  return tensor(i);
}

std::vector<Tensor> Args::tensors(int i) {
  PyObject* o = slots_[i];
  if (!PyList_Check(o) && !PyTuple_Check(o)) bad_argument(*this, slots_, i);
  const Py_ssize_t n = PySequence_Fast_GET_SIZE(o);
  std::vector<Tensor> r;
  r.reserve(static_cast<size_t>(n));
  for (Py_ssize_t k = 0; k < n; ++k) {
    const Tensor* t = as_tensor(PySequence_Fast_GET_ITEM(o, k));
    FS_CHECK_TYPE(t, function_.name, "(): expected Tensor as element ", k, " in argument ", i, ", but got ",
                  Py_TYPE(PySequence_Fast_GET_ITEM(o, k))->tp_name);
    r.push_back(*t);
  }
  return r;
}

int64_t Args::i64(int i) {
  PyObject* o = slots_[i];
  if (PyLong_Check(o)) {
    const long long v = PyLong_AsLongLong(o);
    if (v == -1 && PyErr_Occurred()) throw PythonError{};
    return v;
  }
  int64_t v;
  if (!to_int(o, v)) bad_argument(*this, slots_, i);
  return v;
}
std::optional<int64_t> Args::opt_i64(int i) {
  if (!given(i)) return std::nullopt;
  return i64(i);
}
double Args::f64(int i) {
  PyObject* o = slots_[i];
  if (PyFloat_CheckExact(o)) return PyFloat_AS_DOUBLE(o);
  Scalar s;
  if (!to_scalar(o, s)) bad_argument(*this, slots_, i);
  return s.to_double();
}
std::optional<double> Args::opt_f64(int i) {
  if (!given(i)) return std::nullopt;
  return f64(i);
}
bool Args::boolean(int i) {
  PyObject* o = slots_[i];
  if (o == Py_True) return true;
  if (o == Py_False) return false;
  const int v = PyObject_IsTrue(o);
  if (v < 0) throw PythonError{};
  return v;
}
Scalar Args::scalar(int i) {
  Scalar s;
  if (!to_scalar(slots_[i], s)) bad_argument(*this, slots_, i);
  return s;
}
std::optional<Scalar> Args::opt_scalar(int i) {
  if (!given(i)) return std::nullopt;
  return scalar(i);
}
Dims Args::dims(int i) {
  Dims r;
  if (i == var_index_) {
    for (Py_ssize_t k = 0; k < var_count_; ++k) {
      int64_t v;
      FS_CHECK_TYPE(to_int(varargs_[k], v), function_.name, "(): argument ", i + 1,
                    " must be tuple of ints, but found element of type ", Py_TYPE(varargs_[k])->tp_name, " at pos ",
                    k);
      r.push_back(v);
    }
    return r;
  }
  PyObject* o = slots_[i];
  if (PyList_Check(o) || PyTuple_Check(o)) {
    const Py_ssize_t n = PySequence_Fast_GET_SIZE(o);
    for (Py_ssize_t k = 0; k < n; ++k) {
      PyObject* e = PySequence_Fast_GET_ITEM(o, k);
      int64_t v;
      if (!to_int(e, v)) {
        FS_CHECK_TYPE(false, function_.name, "(): argument ", i + 1,
                      " must be tuple of ints, but found element of type ", Py_TYPE(e)->tp_name, " at pos ", k);
      }
      r.push_back(v);
    }
    return r;
  }
  int64_t v;
  if (!to_int(o, v)) bad_argument(*this, slots_, i);
  r.push_back(v);
  return r;
}
std::optional<Dims> Args::opt_dims(int i) {
  if (!given(i)) return std::nullopt;
  return dims(i);
}
DType Args::dtype(int i) {
  if (!is_dtype(slots_[i])) {
    if (slots_[i] == reinterpret_cast<PyObject*>(&PyFloat_Type)) return default_dtype();
    if (slots_[i] == reinterpret_cast<PyObject*>(&PyLong_Type)) return DType::kInt64;
    if (slots_[i] == reinterpret_cast<PyObject*>(&PyBool_Type)) return DType::kBool;
    bad_argument(*this, slots_, i);
  }
  return dtype_from(slots_[i]);
}
DType Args::opt_dtype(int i) { return given(i) ? dtype(i) : DType::kUndefined; }
Device Args::opt_device(int i) { return given(i) ? device_from(slots_[i]) : default_device; }
Device Args::device_or(int i, Device fallback) { return given(i) ? device_from(slots_[i]) : fallback; }
std::string_view Args::str(int i) {
  if (!PyUnicode_Check(slots_[i])) bad_argument(*this, slots_, i);
  Py_ssize_t n;
  const char* p = PyUnicode_AsUTF8AndSize(slots_[i], &n);
  if (!p) throw PythonError{};
  return {p, static_cast<size_t>(n)};
}
std::optional<std::string_view> Args::opt_str(int i) {
  if (!given(i)) return std::nullopt;
  return str(i);
}
Generator* Args::generator(int i) { return given(i) ? generator_from(slots_[i]) : nullptr; }

// --- Errors -------------------------------------------------------------------------------------------------------

void set_python_error() noexcept {
  try {
    throw;
  } catch (const PythonError&) {
  } catch (const DeviceMemoryError& e) { PyErr_SetString(out_of_memory_error(), e.what()); } catch (const Error& e) {
    PyObject* type = PyExc_RuntimeError;
    switch (e.kind()) {
      case ErrorKind::kRuntime: break;
      case ErrorKind::kValue: type = PyExc_ValueError; break;
      case ErrorKind::kType: type = PyExc_TypeError; break;
      case ErrorKind::kIndex: type = PyExc_IndexError; break;
      case ErrorKind::kNotImplemented: type = PyExc_NotImplementedError; break;
      case ErrorKind::kMemory: type = PyExc_MemoryError; break;
    }
    PyErr_SetString(type, e.what());
  } catch (const std::bad_alloc&) { PyErr_NoMemory(); } catch (const std::exception& e) {
    PyErr_SetString(PyExc_RuntimeError, e.what());
  }
}

}  // namespace fireseed::bind

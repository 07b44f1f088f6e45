// What a bound function is: its name, overloads, handlers.
#pragma once

#include "bind/fast_call.h"

#include <string>

#include "engine/op.h"

namespace fireseed::bind {

inline constexpr size_t kMaxParams = 24;

enum class Kind : uint8_t {
  kTensor,
  kOperand,
  kTensorList,
  kInt,
  kFloat,
  kBool,
  kScalar,
  kIntList,
  kDType,
  kDevice,
  kStr,
  kGenerator,
  kObject
};

struct Param {
  std::string name;
  PyObject* interned = nullptr;
  PyObject* fallback = nullptr;  // the default, or null where the argument is required
  Kind kind = Kind::kObject;
  bool optional = false;  // takes None
  bool keyword_only = false;
  bool varargs = false;
};

struct Signature {
  std::string text;
  std::vector<Param> params;
  int num_positional = 0;
  int num_required = 0;  // up to and including the last parameter without default
  Handler handler = nullptr;
  bool has_varargs() const { return num_positional && params[static_cast<size_t>(num_positional - 1)].varargs; }
};

struct Function {
  std::string name;
  std::vector<Signature> signatures;
  std::string doc;
  bool allow_out = true;
  bool inplace = false;         // the generic in-place form: copy the result into self
  bool fresh_out = false;       // kFreshOut
  bool exact_out = false;       // kExactOut
  CastPolicy autocast[2] = {};  // by DeviceKind: ops/autocast.cpp
};

Signature parse_signature(const char* text, std::string& name);
std::string kind_name(const Param& p);
// The ints given one by one for an `int...` parameter.
struct VarArgs {
  PyObject* const* first = nullptr;
  Py_ssize_t count = 0;
  int index = -1;
};

// Runs the handler on arguments that matched; with autocast on, after casting them by the function's policy.
PyObject* run_handler(const Function& f, const Signature& s, PyObject** slots, const VarArgs& v);
PyObject* finish_with_autocast(const Function& f, const Signature& s, PyObject** slots, const VarArgs& v);
PyObject* call(const Function& f, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames);
void run_registrars();

}  // namespace fireseed::bind

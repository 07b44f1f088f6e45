// Python side of the optimizer steps: plans of a parameter group, run by one call without touching Python per tensor.
#include "ops/optim.h"

#include <cstring>
#include <memory>

#include "bind/fast_call.h"

namespace fireseed::bind {
namespace {

// Note [Optimizer plans]
// A plan is what one kernel call of one parameter group needs: the tensors, and where in the group's dict the
// hyperparameters stand. run_plans checks that nothing a plan relies on has changed (the group's parameters, which of
// them have gradients, the flags); if something has, it runs nothing and Python makes new plans. Values (learning
// rate, betas, …) are read from the dict at every run.
constexpr char kPlanName[] = "fireseed.optim.plan";

struct Owned {
  PyObject* p = nullptr;
  Owned() = default;
  explicit Owned(PyObject* borrowed) : p(borrowed) { Py_XINCREF(p); }
  Owned(Owned&& o) noexcept : p(o.p) { o.p = nullptr; }
  Owned(const Owned&) = delete;
  Owned& operator=(Owned&&) = delete;
  ~Owned() { Py_XDECREF(p); }
};

struct HyperKey {
  Owned key;
  Py_ssize_t index;  // into a tuple value (betas), or -1
};
struct FlagKey {
  Owned key;
  int64_t bit;
};

struct Plan {
  const Op* op = nullptr;
  OptimAttrs attrs;
  Owned group, params_key;
  std::vector<HyperKey> hyper;
  std::vector<FlagKey> flags;
  std::vector<TensorImpl*> members;  // all of the group's parameters, in order
  std::vector<Tensor> absent;        // parameters that had no gradient
  std::vector<Tensor> in;            // as optimizer_step wants them; gradients filled for a run

  explicit Plan(PyObject* group_dict) : group(group_dict), params_key(PyUnicode_InternFromString("params")) {
    Py_XDECREF(params_key.p);  // Owned took its own reference
  }
};

Plan* plan_of(PyObject* capsule) {
  auto* plan = static_cast<Plan*>(PyCapsule_GetPointer(capsule, kPlanName));
  if (!plan) throw PythonError{};
  return plan;
}

double number_of(PyObject* value, const char* what) {
  if (PyFloat_CheckExact(value)) return PyFloat_AS_DOUBLE(value);
  if (const Tensor* t = as_tensor(value)) {
    FS_CHECK_VALUE(t->numel() == 1, what, ": a tensor hyperparameter must have one element, got shape ", t->sizes());
    return item(*t).to_double();
  }
  const double x = PyFloat_AsDouble(value);
  if (x == -1.0 && PyErr_Occurred()) throw PythonError{};
  return x;
}

// The value under `key`, borrowed; KeyError where there is none.
PyObject* lookup(PyObject* dict, PyObject* key) {
  PyObject* value = PyDict_GetItemWithError(dict, key);
  if (!value) {
    if (!PyErr_Occurred()) PyErr_SetObject(PyExc_KeyError, key);
    throw PythonError{};
  }
  return value;
}

// Numbers go to the plan's first input, tensors beside the parameters on a device behind its last one.
void read_hyper(Plan& plan) {
  double* out = plan.in[0].data<double>();
  for (size_t k = 0; k < plan.hyper.size(); ++k) {
    const HyperKey& h = plan.hyper[k];
    PyObject* value = lookup(plan.group.p, h.key.p);
    if (h.index >= 0) {
      FS_CHECK_TYPE((PyTuple_Check(value) || PyList_Check(value)) && PySequence_Fast_GET_SIZE(value) > h.index,
                    plan.op->name, ": expected a tuple of at least ", h.index + 1, " numbers in the parameter group");
      value = PySequence_Fast_GET_ITEM(value, h.index);
    }
    const Tensor* t = as_tensor(value);
    if (t && !t->device().is_cpu() && t->device() == plan.in[1].device() && t->numel() == 1 &&
        (t->dtype() == DType::kFloat32 || t->dtype() == DType::kFloat64)) {
      plan.attrs.device_hyper |= int64_t{1} << k;
      plan.in.push_back(*t);
      out[k] = 0;
    } else {
      out[k] = number_of(value, plan.op->name);
    }
  }
}

// A plan's inputs without the tensors that read_hyper appended, after a step or an error.
struct WithoutHyperTensors {
  Plan& plan;
  size_t size;
  explicit WithoutHyperTensors(Plan& p) : plan(p), size(p.in.size()) {}
  ~WithoutHyperTensors() {
    plan.in.resize(size);
    plan.attrs.device_hyper = 0;
  }
  WithoutHyperTensors(const WithoutHyperTensors&) = delete;
  WithoutHyperTensors& operator=(const WithoutHyperTensors&) = delete;
};

int64_t read_flags(const Plan& plan) {
  int64_t flags = 0;
  for (const FlagKey& f : plan.flags) {
    PyObject* value = PyDict_GetItemWithError(plan.group.p, f.key.p);
    if (!value) {
      if (PyErr_Occurred()) throw PythonError{};
      continue;
    }
    const int truth = value == Py_False ? 0 : value == Py_True ? 1 : PyObject_IsTrue(value);
    if (truth < 0) throw PythonError{};
    if (truth) flags |= f.bit;
  }
  return flags;
}

// Whether the plan still describes its group.
bool is_current(const Plan& plan) {
  PyObject* params = lookup(plan.group.p, plan.params_key.p);
  if (!PyList_Check(params) || PyList_GET_SIZE(params) != static_cast<Py_ssize_t>(plan.members.size())) return false;
  for (size_t i = 0; i < plan.members.size(); ++i) {
    const Tensor* t = as_tensor(PyList_GET_ITEM(params, static_cast<Py_ssize_t>(i)));
    if (!t || t->impl() != plan.members[i]) return false;
  }
  for (const Tensor& p : plan.absent)
    if (p.impl()->grad) return false;
  for (int64_t i = 0; i < plan.attrs.count; ++i)
    if (!plan.in[static_cast<size_t>(1 + i)].impl()->grad) return false;
  const int64_t fixed = plan.attrs.flags & kFirstStep;
  return (read_flags(plan) | fixed) == plan.attrs.flags;
}

// The gradients in a plan's inputs for the time of one step; they must not outlive zero_grad(set_to_none=True) there.
// While the interpreter is locked nobody can drop them, so that their counts need not be touched.
class Gradients {
 public:
  Gradients(Plan& plan, size_t n, bool counted) : plan_(plan), n_(n), counted_(counted) {
    for (size_t i = 0; i < n; ++i) {
      TensorImpl* g = plan.in[1 + i].impl()->grad;
      plan.in[1 + n + i] = counted ? Tensor::share(g) : Tensor::adopt(g);
    }
  }
  ~Gradients() {
    for (size_t i = 0; i < n_; ++i) {
      if (counted_) plan_.in[1 + n_ + i] = Tensor();
      else plan_.in[1 + n_ + i].release();
    }
  }
  Gradients(const Gradients&) = delete;
  Gradients& operator=(const Gradients&) = delete;

 private:
  Plan& plan_;
  size_t n_;
  bool counted_;
};

// Lets other Python threads run for as long as it lives.
class Unlocked {
 public:
  explicit Unlocked(bool on) : state_(on ? PyEval_SaveThread() : nullptr) {}
  ~Unlocked() {
    if (state_) PyEval_RestoreThread(state_);
  }
  Unlocked(const Unlocked&) = delete;
  Unlocked& operator=(const Unlocked&) = delete;

 private:
  PyThreadState* state_;
};

void run_plan(Plan& plan) {
  const size_t n = static_cast<size_t>(plan.attrs.count);
  if (n == 0) return;  // a group without gradients; the plan waits for the first
  const WithoutHyperTensors restore(plan);
  read_hyper(plan);
  int64_t total = 0;
  for (size_t i = 0; i < n; ++i) total += plan.in[1 + i].numel();
  for (size_t i = 0; i < n; ++i)  // reading a hyperparameter may have run Python code
    FS_CHECK(plan.in[1 + i].impl()->grad, plan.op->name, ": parameter ", i, " lost its gradient during the step");
  const bool is_long = total > (1 << 18);
  const Gradients gradients(plan, n, is_long);
  const Unlocked unlocked(is_long);
  optimizer_step(*plan.op, plan.in, plan.attrs);
}

// (op, group, hyper, flags, first, params, states, absent) -> plan. hyper: keys, or (key, index) pairs; flags:
// (key, bit) pairs; states: the step and other tensors, group after group, each in the order of params.
PyObject* make_plan(Args& a) {
  const std::string name(a.str(0));
  PyObject* group = a.object(1);
  FS_CHECK_TYPE(PyDict_Check(group), "_optim_plan: the parameter group must be a dict");
  auto plan = std::make_unique<Plan>(group);
  plan->op = find_optimizer(name.c_str());
  FS_CHECK_VALUE(plan->op, "_optim_plan: there is no optimizer step named ", name);
  PyObject *hyper = a.object(2), *flags = a.object(3);
  FS_CHECK_TYPE(PyTuple_Check(hyper) && PyTuple_Check(flags), "_optim_plan: hyper and flags must be tuples");
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(hyper); ++i) {
    PyObject* h = PyTuple_GET_ITEM(hyper, i);
    if (PyTuple_Check(h))
      plan->hyper.push_back({Owned(PyTuple_GET_ITEM(h, 0)), PyLong_AsSsize_t(PyTuple_GET_ITEM(h, 1))});
    else plan->hyper.push_back({Owned(h), -1});
  }
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(flags); ++i) {
    PyObject* f = PyTuple_GET_ITEM(flags, i);
    plan->flags.push_back({Owned(PyTuple_GET_ITEM(f, 0)), PyLong_AsLongLong(PyTuple_GET_ITEM(f, 1))});
  }
  const std::vector<Tensor> params = a.tensors(5), states = a.tensors(6);
  plan->absent = a.tensors(7);
  for (const Tensor& p : params)
    for (int64_t d = 0; d < p.dim(); ++d)
      FS_CHECK(p.size(d) <= 1 || p.stride(d) != 0, name,
               ": unsupported operation: more than one element of a parameter", " (shape ", p.sizes(), ", strides ",
               p.strides(),
               ") refers to a single memory location. Please clone() it before giving it to the optimizer.");
  plan->attrs.count = static_cast<int64_t>(params.size());
  plan->attrs.flags = read_flags(*plan) | (a.boolean(4) ? kFirstStep : 0);
  PyObject* members = lookup(group, plan->params_key.p);
  FS_CHECK_TYPE(PyList_Check(members), "_optim_plan: group['params'] must be a list");
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(members); ++i) {
    const Tensor* t = as_tensor(PyList_GET_ITEM(members, i));
    FS_CHECK_TYPE(t, "_optim_plan: group['params'] must hold tensors");
    plan->members.push_back(t->impl());
  }
  plan->in.push_back(empty({static_cast<int64_t>(plan->hyper.size())}, DType::kFloat64));
  plan->in.insert(plan->in.end(), params.begin(), params.end());
  plan->in.resize(plan->in.size() + params.size());
  plan->in.insert(plan->in.end(), states.begin(), states.end());
  return PyCapsule_New(plan.release(), kPlanName, [](PyObject* capsule) {
    delete static_cast<Plan*>(PyCapsule_GetPointer(capsule, kPlanName));
  });
}

// Runs a list of plans; false, and nothing done, where one of them is out of date.
bool run_plans(Args& a) {
  PyObject* list = a.object(0);
  if (!PyList_Check(list)) return false;
  const Py_ssize_t n = PyList_GET_SIZE(list);
  for (Py_ssize_t i = 0; i < n; ++i)
    if (!is_current(*plan_of(PyList_GET_ITEM(list, i)))) return false;
  for (Py_ssize_t i = 0; i < n; ++i) run_plan(*plan_of(PyList_GET_ITEM(list, i)));
  return true;
}

// zero_grad(set_to_none=True): forgets the gradients of all parameters of a list of groups.
void clear_grads(Args& a) {
  PyObject* groups = a.object(0);
  FS_CHECK_TYPE(PyList_Check(groups), "zero_grad: param_groups must be a list of dicts");
  static PyObject* const key = PyUnicode_InternFromString("params");
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(groups); ++i) {
    FS_CHECK_TYPE(PyDict_Check(PyList_GET_ITEM(groups, i)), "zero_grad: param_groups must be a list of dicts");
    PyObject* params = lookup(PyList_GET_ITEM(groups, i), key);
    FS_CHECK_TYPE(PyList_Check(params), "zero_grad: a group's params must be a list");
    for (Py_ssize_t k = 0; k < PyList_GET_SIZE(params); ++k) {
      const Tensor* p = as_tensor(PyList_GET_ITEM(params, k));
      FS_CHECK_TYPE(p, "zero_grad: a group's params must be tensors");
      if (p->impl()->grad) p->set_grad(Tensor());
    }
  }
}

}  // namespace

FS_BINDINGS(optim) {
  def("_optim_plan(str op, object group, object hyper, object flags, bool first, Tensor[] params, Tensor[] states, "
      "Tensor[] absent)",
      kPrivate, [](Args& a) { return make_plan(a); });
  def("_optim_run(object plans)", kPrivate, [](Args& a) { return run_plans(a); });
  def("_clear_grads(object groups)", kPrivate, [](Args& a) { clear_grads(a); });
  def("_foreach_total_norm(Tensor[] tensors, float order)", kPrivate,
      [](Args& a) { return foreach_norm(a.tensors(0), a.f64(1)); });
  def("_clip_grad_norm_(Tensor[] parameters, float max_norm, float norm_type=2.0, bool error_if_nonfinite=False)",
      kPrivate, [](Args& a) { return clip_grad_norm_(a.tensors(0), a.f64(1), a.f64(2), a.boolean(3)); });
  def("_foreach_scale_(Tensor[] tensors, Tensor factor)", kPrivate,
      [](Args& a) { foreach_scale_(a.tensors(0), a.tensor(1)); });
  def("_foreach_clamp_(Tensor[] tensors, float low, float high)", kPrivate,
      [](Args& a) { foreach_clamp_(a.tensors(0), a.f64(1), a.f64(2)); });
}

}  // namespace fireseed::bind

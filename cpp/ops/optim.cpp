// Records and checks of the optimizer steps and of the operations over lists of tensors.
#include "ops/optim.h"

#include <cmath>
#include <cstring>

#include "engine/mode.h"
#include "ops/copy.h"
#include "ops/creation.h"
#include "ops/pointwise.h"
#include "ops/records.h"

namespace fireseed {
namespace {

struct Layout {
  const Op* op;
  int hyper;  // hyperparameters
  bool has_step;
  int scalars;       // 0-dim states
  int states;        // states that are always there
  int64_t optional;  // flags that each add a state
};

const Layout kLayouts[] = {
    {&op::sgd_step, 4, false, 0, 0, kMomentum},
    {&op::adam_step, 5, true, 0, 2, kAmsgrad},
    {&op::rmsprop_step, 5, true, 0, 1, kCentered | kMomentum},
    {&op::adagrad_step, 4, true, 0, 1, 0},
    {&op::adadelta_step, 4, true, 0, 2, 0},
    {&op::lion_step, 4, false, 0, 1, 0},
    {&op::nadam_step, 6, true, 1, 2, 0},
    {&op::radam_step, 5, true, 0, 2, 0},
    {&op::adamax_step, 5, true, 0, 2, 0},
    {&op::asgd_step, 5, true, 2, 1, 0},
    {&op::rprop_step, 4, true, 0, 2, 0},
    {&op::ftrl_step, 7, false, 0, 2, 0},
};

const Layout& layout_of(const Op& op) {
  for (const Layout& l : kLayouts)
    if (l.op == &op) return l;
  fail(ErrorKind::kRuntime, op.name, ": not an optimizer step");
}

// Inputs of one step: hyperparameters, then `per` tensors for each parameter.
int tensors_per_parameter(const Layout& l, int64_t flags) {
  return 2 + (l.has_step ? 1 : 0) + l.scalars + l.states +
         __builtin_popcountll(static_cast<uint64_t>(flags & l.optional));
}

[[noreturn, gnu::cold]] void mismatch(const Op& op, size_t i, const Tensor& p, const char* what, const Tensor& t) {
  fail(ErrorKind::kRuntime, op.name, ": parameter ", i, " has shape ", p.sizes(), " and dtype ",
       dtype_name(p.dtype()), ", but its ", what, " has shape ", t.sizes(), " and dtype ", dtype_name(t.dtype()));
}

void check_step(const Op& op, Inputs in, const OptimAttrs& a) {
  const Layout& l = layout_of(op);
  const size_t n = static_cast<size_t>(a.count), per = static_cast<size_t>(tensors_per_parameter(l, a.flags));
  const auto extra = static_cast<size_t>(__builtin_popcountll(static_cast<uint64_t>(a.device_hyper)));
  FS_CHECK(in.size() == 1 + n * per + extra, op.name, ": ", a.count, " parameters need ", 1 + n * per + extra,
           " tensors, got ", in.size());
  for (const Tensor& t : in.subspan(1 + n * per))
    FS_CHECK(t.numel() == 1 && (t.dtype() == DType::kFloat32 || t.dtype() == DType::kFloat64), op.name,
             ": a tensor hyperparameter must be one float32 or float64 number, got shape ", t.sizes(), " and dtype ",
             dtype_name(t.dtype()));
  FS_CHECK(in[0].dtype() == DType::kFloat64 && in[0].numel() == l.hyper && in[0].is_contiguous(), op.name,
           ": expected ", l.hyper, " float64 hyperparameters, got shape ", in[0].sizes(), " and dtype ",
           dtype_name(in[0].dtype()));
  const size_t numbers = (l.has_step ? 1u : 0u) + static_cast<size_t>(l.scalars);
  for (size_t i = 0; i < n; ++i) {
    const Tensor& p = in[1 + i];
    FS_CHECK(p.is_floating(), op.name, ": parameter ", i, " has dtype ", dtype_name(p.dtype()),
             "; only floats can be optimized");
    for (size_t k = 1; k < per; ++k) {
      const Tensor& t = in[1 + k * n + i];
      if (k >= 2 && k < 2 + numbers) {
        FS_CHECK(t.numel() == 1 && (t.dtype() == DType::kFloat32 || t.dtype() == DType::kFloat64), op.name,
                 ": the step and other one-number states of parameter ", i, " must be float32 or float64, got shape ",
                 t.sizes(), " and dtype ", dtype_name(t.dtype()));
      } else if (t.dtype() != p.dtype() || !t.same_shape(p)) {
        mismatch(op, i, p, k == 1 ? "gradient" : "state", t);
      }
    }
  }
}

void step_infer(Inputs, const void*, Tensor*) {}

void norm_infer(Inputs in, const void*, Tensor* out) {
  DType t = DType::kUndefined;
  for (const Tensor& x : in) {
    FS_CHECK(x.is_floating(), "foreach_norm: expected floating point tensors, got dtype ", dtype_name(x.dtype()));
    t = promote_types(t, x.dtype());
  }
  out[0] = make_shell({}, t == DType::kUndefined ? default_dtype() : t, in.empty() ? Device{} : in[0].device());
}
void floats_infer(Inputs in, const void*, Tensor*) {
  for (const Tensor& x : in)
    FS_CHECK(x.is_floating(), "expected floating point tensors, got dtype ", dtype_name(x.dtype()));
}

// Parameters that have gradients: fills `in` with the hyperparameters, then parameters, gradients and `groups`.
std::vector<Tensor> gather(const Tensor& hyper, const std::vector<Tensor>& parameters,
                           const std::vector<bool>& wanted,
                           std::initializer_list<const std::vector<Tensor>*> groups) {
  std::vector<Tensor> in{hyper};
  auto append = [&](auto&& get) {
    for (size_t i = 0; i < parameters.size(); ++i)
      if (wanted[i]) in.push_back(get(i));
  };
  append([&](size_t i) { return parameters[i]; });
  append([&](size_t i) { return parameters[i].grad(); });
  for (const auto* g : groups) append([&](size_t i) { return (*g)[i]; });
  return in;
}

int64_t count_of(const std::vector<bool>& wanted) {
  int64_t n = 0;
  for (bool w : wanted) n += w;
  return n;
}

void write_hyper(const Tensor& hyper, std::initializer_list<double> values) {
  std::memcpy(hyper.data<double>(), values.begin(), values.size() * sizeof(double));
}

}  // namespace

#define FS_STEP(name_)                                                 \
  constinit Op op::name_{.name = #name_,                               \
                         .flags = kMutatesInputs | kNotDifferentiable, \
                         .attrs_size = sizeof(OptimAttrs),             \
                         .num_outputs = 0,                             \
                         .host_inputs = save_input(0),                 \
                         .infer = step_infer};
FS_STEP(sgd_step)
FS_STEP(adam_step)
FS_STEP(rmsprop_step)
FS_STEP(adagrad_step)
FS_STEP(adadelta_step)
FS_STEP(lion_step)
FS_STEP(nadam_step)
FS_STEP(radam_step)
FS_STEP(adamax_step)
FS_STEP(asgd_step)
FS_STEP(rprop_step)
FS_STEP(ftrl_step)
#undef FS_STEP

constinit Op op::foreach_norm{
    .name = "foreach_norm", .flags = kNotDifferentiable, .attrs_size = sizeof(ForeachNormAttrs), .infer = norm_infer};
constinit Op op::foreach_scale{
    .name = "foreach_scale", .flags = kMutatesInputs | kNotDifferentiable, .num_outputs = 0, .infer = floats_infer};
constinit Op op::foreach_clamp{.name = "foreach_clamp",
                               .flags = kMutatesInputs | kNotDifferentiable,
                               .attrs_size = sizeof(ForeachClampAttrs),
                               .num_outputs = 0,
                               .infer = floats_infer};

void optimizer_step(const Op& op, Inputs in, const OptimAttrs& attrs) {
  check_step(op, in, attrs);
  if (attrs.count == 0) return;
  apply(op, in, &attrs, nullptr);
  const size_t n = static_cast<size_t>(attrs.count);
  const size_t end = in.size() - static_cast<size_t>(__builtin_popcountll(static_cast<uint64_t>(attrs.device_hyper)));
  for (size_t i = 1; i < end; ++i)
    if (i <= n || i > 2 * n) in[i].bump_version();  // all but the gradients and hyperparameters
}

const Op* find_optimizer(const char* name) {
  for (const Layout& l : kLayouts)
    if (!std::strcmp(l.op->name, name)) return l.op;
  return nullptr;
}

Tensor foreach_norm(std::span<const Tensor> tensors, double order) {
  const ForeachNormAttrs attrs{order};
  Tensor out;
  apply(op::foreach_norm, tensors, &attrs, &out);
  return out;
}

void foreach_scale_(std::span<const Tensor> tensors, const Tensor& factor) {
  FS_CHECK(factor.numel() == 1 && (factor.dtype() == DType::kFloat32 || factor.dtype() == DType::kFloat64),
           "foreach_scale: expected a factor of one float32 or float64 number, got shape ", factor.sizes(),
           " and dtype ", dtype_name(factor.dtype()));
  std::vector<Tensor> in{factor};
  in.insert(in.end(), tensors.begin(), tensors.end());
  apply(op::foreach_scale, in, nullptr, nullptr);
  for (const Tensor& x : tensors) x.bump_version();
}

void foreach_clamp_(std::span<const Tensor> tensors, double low, double high) {
  const ForeachClampAttrs attrs{low, high};
  apply(op::foreach_clamp, tensors, &attrs, nullptr);
  for (const Tensor& x : tensors) x.bump_version();
}

Tensor clip_grad_norm_(std::span<const Tensor> parameters, double max_norm, double order, bool error_if_nonfinite) {
  GradMode off(false);
  std::vector<Tensor> grads;
  for (const Tensor& p : parameters)
    if (p.grad().defined()) grads.push_back(p.grad());
  if (grads.empty()) return scalar_tensor(Scalar(0.0), default_dtype());
  Tensor total = foreach_norm(grads, order);
  if (!total.device().is_cpu() && !error_if_nonfinite) {  // without waiting for the device
    const Tensor room = reciprocal(add(total, wrapped_number(Scalar(1e-6)))) * max_norm;
    const Tensor factor = clamp(room, std::nullopt, Scalar(1.0));
    foreach_scale_(grads, is_half(factor.dtype()) ? to(factor, DType::kFloat32) : factor);
    return total;
  }
  const double norm = item(total).to_double();
  FS_CHECK(
      !error_if_nonfinite || std::isfinite(norm), "The total norm of order ", order,
      " for gradients from `parameters` is non-finite, so it cannot be clipped. To disable this error and scale the "
      "gradients by the non-finite norm anyway, set `error_if_nonfinite=False`");
  // In the precision of the norm, as the same formula on tensors would round.
  double factor;
  if (total.dtype() == DType::kFloat64) factor = 1.0 / (norm + 1e-6) * max_norm;
  else factor = 1.0f / (static_cast<float>(norm) + 1e-6f) * static_cast<float>(max_norm);
  if (!(factor >= 1)) foreach_scale_(grads, full({}, Scalar(factor), DType::kFloat64, total.device()));
  return total;
}

Sgd::Sgd(std::vector<Tensor> parameters, double lr_, double momentum_, double dampening_, double weight_decay_,
         bool nesterov_)
    : lr(lr_),
      momentum(momentum_),
      dampening(dampening_),
      weight_decay(weight_decay_),
      nesterov(nesterov_),
      parameters_(std::move(parameters)),
      buffers_(parameters_.size()),
      hyper_(empty({4}, DType::kFloat64)) {}

void Sgd::step() {
  GradMode off(false);
  write_hyper(hyper_, {lr, momentum, dampening, weight_decay});
  const int64_t flags = (nesterov ? kNesterov : 0) | (momentum != 0 ? kMomentum : 0);
  std::vector<bool> starts(parameters_.size()), goes_on(parameters_.size());
  for (size_t i = 0; i < parameters_.size(); ++i) {
    if (!parameters_[i].grad().defined()) continue;
    starts[i] = momentum != 0 && !buffers_[i].defined();
    goes_on[i] = !starts[i];
    if (starts[i]) buffers_[i] = zeros_like(parameters_[i]);
  }
  auto run = [&](const std::vector<bool>& wanted, int64_t extra) {
    const auto in =
        momentum != 0 ? gather(hyper_, parameters_, wanted, {&buffers_}) : gather(hyper_, parameters_, wanted, {});
    optimizer_step(op::sgd_step, in, OptimAttrs{count_of(wanted), flags | extra});
  };
  run(starts, kFirstStep);
  run(goes_on, 0);
}

void Sgd::zero_grad() {
  for (const Tensor& p : parameters_) p.set_grad(Tensor());
}

Adam::Adam(std::vector<Tensor> parameters, double lr_, double beta1_, double beta2_, double eps_,
           double weight_decay_, bool decoupled_)
    : lr(lr_),
      beta1(beta1_),
      beta2(beta2_),
      eps(eps_),
      weight_decay(weight_decay_),
      decoupled(decoupled_),
      parameters_(std::move(parameters)),
      hyper_(empty({5}, DType::kFloat64)) {
  GradMode off(false);
  for (const Tensor& p : parameters_) {
    steps_.push_back(full({}, Scalar(0.0), DType::kFloat32, p.device()));
    means_.push_back(zeros_like(p));
    squares_.push_back(zeros_like(p));
  }
}

void Adam::step() {
  GradMode off(false);
  write_hyper(hyper_, {lr, beta1, beta2, eps, weight_decay});
  std::vector<bool> wanted(parameters_.size());
  for (size_t i = 0; i < parameters_.size(); ++i) wanted[i] = parameters_[i].grad().defined();
  const auto in = gather(hyper_, parameters_, wanted, {&steps_, &means_, &squares_});
  optimizer_step(op::adam_step, in, OptimAttrs{count_of(wanted), decoupled ? kDecoupled : 0});
}

void Adam::zero_grad() {
  for (const Tensor& p : parameters_) p.set_grad(Tensor());
}

}  // namespace fireseed

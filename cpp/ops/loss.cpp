// Records of nll_loss and cross_entropy on class indices; cross_entropy on probabilities.
#include "ops/loss.h"

#include "ops/copy.h"
#include "ops/index.h"
#include "ops/pointwise.h"
#include "ops/records.h"
#include "ops/reduce.h"
#include "ops/shape.h"
#include "ops/softmax.h"

namespace fireseed {

Reduction parse_reduction(std::string_view name, const char* op) {
  if (name == "mean") return Reduction::kMean;
  if (name == "sum") return Reduction::kSum;
  if (name == "none") return Reduction::kNone;
  fail(ErrorKind::kValue, op, ": '", name, "' is not a valid value for reduction; expected 'none', 'mean' or 'sum'");
}

Tensor reduce_loss(const Tensor& x, Reduction reduction) {
  if (reduction == Reduction::kNone) return x;
  return reduction == Reduction::kMean ? mean(x) : sum(x);
}

namespace {

int64_t class_dim(const Tensor& x) { return x.dim() == 1 ? 0 : 1; }
Dims without_classes(const Tensor& x) {
  Dims r;
  for (int64_t d = 0; d < x.dim(); ++d)
    if (d != class_dim(x)) r.push_back(x.size(d));
  return r;
}
Dims loss_sizes(const Tensor& x, const void* attrs) {
  return static_cast<const ClassLossAttrs*>(attrs)->reduction == Reduction::kNone ? without_classes(x) : Dims{};
}

void nll_infer(Inputs in, const void* attrs, Tensor* out) {
  out[0] = make_shell(loss_sizes(in[0], attrs), in[0].dtype(), in[0].device());
  out[1] = make_shell(Dims{}, DType::kFloat64, in[0].device());
}
void cross_infer(Inputs in, const void* attrs, Tensor* out) {
  const DType t = in[0].dtype();
  out[0] = make_shell(loss_sizes(in[0], attrs), t, in[0].device());
  out[1] = make_shell(without_classes(in[0]), is_half(t) ? DType::kFloat32 : t, in[0].device());
  out[2] = make_shell(Dims{}, DType::kFloat64, in[0].device());
}
void nll_backward_infer(Inputs in, const void*, Tensor* out) {  // in[4]: the input, for its shape
  out[0] = make_shell(in[4].sizes(), in[4].dtype(), in[4].device());
}
void cross_backward_infer(Inputs in, const void*, Tensor* out) {
  out[0] = make_shell(in[1].sizes(), in[1].dtype(), in[1].device());
}

// What the rules of both losses need of each target: the class to look at (0 where ignored), the weight of the
// sample times the cotangent of its loss, and the latter alone, zero where ignored.
struct Targets { Tensor index, scale, valid_scale; };
Targets targets_of(const Tensor& g, const Tensor& target, const Tensor& weight, const Tensor& total,
                   const ClassLossAttrs& a, DType dtype) {
  Targets t;
  const Tensor ignored = eq(target, wrapped_number(Scalar(a.ignore_index)));
  t.index = masked_fill(target, ignored, Scalar(int64_t{0}));
  const Tensor each = a.reduction == Reduction::kMean ? g / to(detach(total), dtype) : g;
  t.valid_scale = where(ignored, 0.0, expand(each, target.sizes()));
  t.scale = t.valid_scale;
  if (weight.defined())
    t.scale = t.scale * reshape(index_select(to(weight, dtype), 0, reshape(t.index, Dims{-1})), target.sizes());
  return t;
}

void nll_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  if (!g[0].defined() || !c.needs(0)) return;
  const Tensor x = c.input(0);
  const int64_t dim = class_dim(x);
  const Targets t = targets_of(g[0], c.input(1), c.input(2), c.output(1), c.attrs<ClassLossAttrs>(), x.dtype());
  gx[0] = scatter(zeros(x.sizes(), x.dtype(), x.device()), dim, unsqueeze(t.index, dim), unsqueeze(-t.scale, dim));
}
void nll_vjp_fused(const Vjp& c, const Tensor* g, Tensor* gx) {
  if (!g[0].defined() || !c.needs(0)) return;
  gx[0] = apply1(op::nll_loss_backward, {g[0], c.input(1), c.input(2), c.output(1), c.input(0)},
                 c.attrs<ClassLossAttrs>());
}

void cross_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  if (!g[0].defined() || !c.needs(0)) return;
  const auto& a = c.attrs<ClassLossAttrs>();
  const Tensor x = c.input(0), weight = c.input(2);
  const int64_t dim = class_dim(x);
  const double classes = static_cast<double>(x.size(dim)), smooth = a.label_smoothing / classes;
  const Targets t = targets_of(g[0], c.input(1), weight, c.output(2), a, x.dtype());
  const Tensor hit = t.scale * (1 - a.label_smoothing);
  Tensor per_row = hit;
  if (smooth > 0) {
    const Tensor rest = t.valid_scale * smooth;
    per_row = per_row + (weight.defined() ? rest * to(sum(weight), x.dtype()) : rest * classes);
  }
  Tensor r = softmax(x, dim) * unsqueeze(per_row, dim);
  r = r - scatter(zeros(x.sizes(), x.dtype(), x.device()), dim, unsqueeze(t.index, dim), unsqueeze(hit, dim));
  if (smooth > 0) {
    Tensor rest = unsqueeze(t.valid_scale * smooth, dim);
    if (weight.defined()) {
      Dims sizes = Dims::filled(x.dim(), 1);
      sizes[dim] = x.size(dim);
      rest = rest * reshape(to(weight, x.dtype()), sizes);
    }
    r = r - rest;
  }
  gx[0] = r;
}
void cross_vjp_fused(const Vjp& c, const Tensor* g, Tensor* gx) {
  if (!g[0].defined() || !c.needs(0)) return;
  gx[0] = apply1(op::cross_entropy_backward, {g[0], c.input(0), c.input(1), c.input(2), c.output(1), c.output(2)},
                 c.attrs<ClassLossAttrs>());
}

// Shapes and dtypes of a loss on class indices; gives the target as int64.
Tensor check_classes(const char* op, const Tensor& x, const Tensor& target, const Tensor& weight) {
  FS_CHECK_KIND(x.is_floating(), ErrorKind::kNotImplemented, op, ": expected a floating point input, got ",
                dtype_name(x.dtype()));
  FS_CHECK(x.dim() >= 1, op, ": input tensor should be 1D or more ((C), (N, C) or (N, C, ...)), got a 0-dim tensor");
  FS_CHECK(is_integral(target.dtype()) && target.dtype() != DType::kBool, op,
           ": expected scalar type Long for the target, but "
           "found ",
           dtype_name(target.dtype()), ". Class indices are integers: convert with .long()");
  const Dims want = without_classes(x);
  FS_CHECK_VALUE(x.dim() == 1 || target.dim() == 0 || x.size(0) == target.size(0), op,
                 ": Expected input batch_size (", x.size(0), ") to match target batch_size (",
                 target.dim() ? target.size(0) : 1, ").");
  FS_CHECK(target.sizes() == want || (x.dim() == 1 && target.numel() == 1), op, ": expected a target of shape ", want,
           " for input of shape ", x.sizes(), ", got ", target.sizes());
  if (weight.defined()) {
    FS_CHECK(weight.dim() == 1 && weight.size(0) == x.size(class_dim(x)), op,
             ": weight tensor should be defined either for all ", x.size(class_dim(x)),
             " classes or no classes but got weight tensor of shape: ", weight.sizes());
    FS_CHECK(weight.dtype() == x.dtype(), op, ": expected weight of the input's dtype ", dtype_name(x.dtype()),
             ", got ", dtype_name(weight.dtype()));
  }
  const Tensor t = to(target, DType::kInt64);
  return t.sizes() == want ? t : reshape(t, want);
}

// Cross-entropy against probabilities of x's shape: -Σ_c w_c t_c log_softmax(x)_c, the mean over samples.
Tensor cross_entropy_soft(const Tensor& x, const Tensor& target, const Tensor& weight, Reduction reduction,
                          double smoothing) {
  const int64_t dim = class_dim(x);
  const double classes = static_cast<double>(x.size(dim));
  Tensor t = smoothing > 0 ? target * (1 - smoothing) + smoothing / classes : target;
  Tensor terms = log_softmax(x, dim) * t;
  if (weight.defined()) {
    FS_CHECK(weight.dim() == 1 && weight.size(0) == x.size(dim),
             "cross_entropy: weight tensor should be defined either for all ", x.size(dim),
             " classes or no classes but got weight tensor of shape: ", weight.sizes());
    Dims sizes = Dims::filled(x.dim(), 1);
    sizes[dim] = x.size(dim);
    terms = terms * reshape(weight, sizes);
  }
  if (reduction == Reduction::kNone) return -sum(terms, Dims{dim});
  const Tensor total = -sum(terms);
  return reduction == Reduction::kSum ? total : total / (static_cast<double>(x.numel()) / classes);
}

}  // namespace

constinit Op op::nll_loss{.name = "nll_loss",

                          .saves = save_input(0) | save_input(1) | save_input(2) | save_output(1),
                          .attrs_size = sizeof(ClassLossAttrs),
                          .num_outputs = 2,
                          .infer = nll_infer,
                          .vjp = nll_vjp,
                          .vjp_fused = nll_vjp_fused};
constinit Op op::nll_loss_backward{.name = "nll_loss_backward",
                                   .flags = kNotDifferentiable,
                                   .attrs_size = sizeof(ClassLossAttrs),
                                   .infer = nll_backward_infer};
constinit Op op::cross_entropy{
    .name = "cross_entropy",
    .saves = save_input(0) | save_input(1) | save_input(2) | save_output(1) | save_output(2),
    .attrs_size = sizeof(ClassLossAttrs),
    .num_outputs = 3,
    .infer = cross_infer,
    .vjp = cross_vjp,
    .vjp_fused = cross_vjp_fused};
constinit Op op::cross_entropy_backward{.name = "cross_entropy_backward",
                                        .flags = kNotDifferentiable,
                                        .attrs_size = sizeof(ClassLossAttrs),
                                        .infer = cross_backward_infer};

Tensor nll_loss(const Tensor& x, const Tensor& target, const Tensor& weight, int64_t ignore_index,
                Reduction reduction) {
  const Tensor in[] = {x, check_classes("nll_loss", x, target, weight), weight};
  const ClassLossAttrs a{reduction, ignore_index, 0};
  Tensor out[2];
  apply(op::nll_loss, in, &a, out);
  return out[0];
}

Tensor cross_entropy(const Tensor& x, const Tensor& target, const Tensor& weight, int64_t ignore_index,
                     Reduction reduction, double label_smoothing) {
  FS_CHECK(label_smoothing >= 0 && label_smoothing <= 1,
           "cross_entropy: label_smoothing must be between 0.0 and 1.0. Got: ", label_smoothing);
  if (x.dim() >= 1 && target.is_floating() && target.same_shape(x)) {
    FS_CHECK(ignore_index < 0, "cross_entropy: ignore_index is not supported for floating point target");
    return cross_entropy_soft(x, target, weight, reduction, label_smoothing);
  }
  const Tensor in[] = {x, check_classes("cross_entropy", x, target, weight), weight};
  const ClassLossAttrs a{reduction, ignore_index, label_smoothing};
  Tensor out[3];
  apply(op::cross_entropy, in, &a, out);
  return out[0];
}

}  // namespace fireseed

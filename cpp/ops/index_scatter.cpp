// Scatter and its reductions: checks, record, gradients.
#include <string>

#include "ops/copy.h"
#include "ops/creation.h"
#include "ops/index.h"
#include "ops/index_util.h"
#include "ops/pointwise.h"
#include "ops/records.h"
#include "ops/shape.h"
#include "tensor/attrs/index.h"

namespace fireseed {
namespace {

void scatter_infer(Inputs in, const void*, Tensor* out) {
  out[0] = make_shell(in[0].sizes(), in[0].dtype(), in[0].device());
}

// The reductions whose gradient needs the operands are an op of their own: the others save the index alone.
const Op& op_for(ScatterReduce r) {
  return r == ScatterReduce::kMultiply || r == ScatterReduce::kMax || r == ScatterReduce::kMin ? op::scatter_reduce
                                                                                               : op::scatter;
}

Tensor scatter_by(const Tensor& x, const Tensor& index, const Tensor& src, ScatterAttrs a) {
  return apply1(op_for(a.reduce), {x, index, src}, a);
}
// Entries of index's shape all equal to `value`.
Tensor filled(const Tensor& index, DType dtype, Scalar value) {
  return expand(full(Dims{}, value, dtype, index.device()), index.sizes());
}

Tensor scatter_sum(const Tensor& x, const Tensor& index, const Tensor& src, int64_t dim) {
  ScatterAttrs a;
  a.dim = dim;
  a.reduce = ScatterReduce::kAdd;
  return scatter_by(x, index, src, a);
}
Tensor clear_at(const Tensor& x, const Tensor& index, int64_t dim) {
  ScatterAttrs a;
  a.dim = dim;
  return scatter_by(x, index, filled(index, x.dtype(), Scalar(0)), a);
}

void product_vjp(const Vjp& c, const Tensor& g, Tensor* gx) {
  const auto& a = c.attrs<ScatterAttrs>();
  const Tensor self = c.input(0), index = c.input(1), src = c.input(2), result = c.output();
  const Scalar one(1);
  if (c.needs(0)) {
    const Tensor masked = masked_fill(self, self == 0.0, one);
    const Tensor r = g * scatter_by(masked, index, src, a) / masked;
    gx[0] = a.include_self ? r : clear_at(r, index, a.dim);
  }
  if (c.needs(2)) {
    // With one zero among an entry's factors its own gradient is the product of the others.
    const Tensor src_zero = src == 0.0;
    const Tensor zeros_here =
        gather(scatter_sum(zeros_like(self), index, to(src_zero, self.dtype()), a.dim), a.dim, index);
    const Tensor single = logical_and(src_zero, zeros_here == 1.0);
    const Tensor others = scatter_by(self, index, masked_fill(src, single, one), a);
    gx[2] = where(single, gather(g * others, a.dim, index),
                  gather(g * result, a.dim, index) / masked_fill(src, src_zero, one));
  }
}

void extremum_vjp(const Vjp& c, const Tensor& g, Tensor* gx) {
  const auto& a = c.attrs<ScatterAttrs>();
  const Tensor self = c.input(0), index = c.input(1), src = c.input(2), result = c.output();
  Tensor self_wins = to(self == result, g.dtype());
  const Tensor src_wins = to(src == gather(result, a.dim, index), g.dtype());
  if (!a.include_self) self_wins = clear_at(self_wins, index, a.dim);
  // Those that reached the extremum share its gradient evenly.
  const Tensor winners = scatter_sum(self_wins, index, src_wins, a.dim);
  const Tensor share = g / masked_fill(winners, winners == 0.0, Scalar(1));
  if (c.needs(0)) gx[0] = self_wins * share;
  if (c.needs(2)) gx[2] = src_wins * gather(share, a.dim, index);
}

void mean_vjp(const Vjp& c, const Tensor& g, Tensor* gx) {
  const auto& a = c.attrs<ScatterAttrs>();
  const Tensor index = c.input(1);
  Tensor count = a.include_self ? ones_like(g) : zeros_like(g);
  count = scatter_sum(count, index, filled(index, g.dtype(), Scalar(1)), a.dim);
  count = masked_fill(count, count == 0.0, Scalar(1));
  const Tensor share = g / count;
  if (c.needs(0)) gx[0] = a.include_self ? share : clear_at(share, index, a.dim);
  if (c.needs(2)) gx[2] = gather(share, a.dim, index);
}

void scatter_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  const auto& a = c.attrs<ScatterAttrs>();
  switch (a.reduce) {
    case ScatterReduce::kNone:
      if (c.needs(0)) gx[0] = clear_at(g[0], c.input(1), a.dim);
      if (c.needs(2)) gx[2] = gather(g[0], a.dim, c.input(1));
      return;
    case ScatterReduce::kAdd:
      if (c.needs(0)) gx[0] = a.include_self ? g[0] : clear_at(g[0], c.input(1), a.dim);
      if (c.needs(2)) gx[2] = gather(g[0], a.dim, c.input(1));
      return;
    default: return mean_vjp(c, g[0], gx);
  }
}
void scatter_reduce_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  if (c.attrs<ScatterAttrs>().reduce == ScatterReduce::kMultiply) product_vjp(c, g[0], gx);
  else extremum_vjp(c, g[0], gx);
}

ScatterReduce reduction(std::string_view name, const char* op) {
  if (name.empty()) return ScatterReduce::kNone;
  if (name == "add" || name == "sum") return ScatterReduce::kAdd;
  if (name == "multiply" || name == "prod") return ScatterReduce::kMultiply;
  if (name == "amax") return ScatterReduce::kMax;
  if (name == "amin") return ScatterReduce::kMin;
  if (name == "mean") return ScatterReduce::kMean;
  fail(ErrorKind::kRuntime, op,
       "(): reduce argument must be either sum, prod, mean, amax or amin (scatter: add or multiply), got ",
       std::string(name));
}

// The operands of a scatter: one rank (0-dim ones as vectors), src cut to the index's shape.
struct ScatterCall {
  Tensor x, index, src;
  ScatterAttrs attrs;
  bool nothing = false;

  ScatterCall(const Tensor& self, int64_t dim, const Tensor& at, const Tensor& source, std::string_view reduce,
              bool include_self, bool value, const char* op) {
    attrs.dim = wrap_dim(dim, self.dim(), op);
    attrs.reduce = reduction(reduce, op);
    attrs.include_self = include_self;
    FS_CHECK(at.dtype() == DType::kInt64 || at.dtype() == DType::kInt32, op,
             "(): Expected dtype int64 for index, but got ", dtype_name(at.dtype()));
    FS_CHECK(self.dtype() == source.dtype(), op, "(): Expected self.dtype to be equal to src.dtype, got ",
             dtype_name(self.dtype()), " and ", dtype_name(source.dtype()));
    x = self.dim() ? self : unsqueeze(self, 0);
    nothing = at.numel() == 0;
    if (nothing) return;
    index = as_index(at, op);
    if (index.dim() == 0) index = unsqueeze(index, 0);
    FS_CHECK(index.dim() == x.dim(), op,
             "(): Index tensor must have the same number of dimensions as self tensor, got index shape ", at.sizes(),
             " and self shape ", self.sizes());
    for (int64_t d = 0; d < x.dim(); ++d)
      FS_CHECK(d == attrs.dim || index.size(d) <= x.size(d), op, "(): Expected index ", at.sizes(),
               " to be no larger than self ", self.sizes(), " apart from dimension ", attrs.dim);
    if (value) {
      src = expand(source, index.sizes());
      return;
    }
    src = source.dim() ? source : unsqueeze(source, 0);
    FS_CHECK(src.dim() == index.dim(), op,
             "(): Index tensor must have the same number of dimensions as src tensor, got index shape ", at.sizes(),
             " and src shape ", source.sizes());
    for (int64_t d = 0; d < src.dim(); ++d) {
      FS_CHECK(index.size(d) <= src.size(d), op, "(): Expected index ", at.sizes(), " to be no larger than self ",
               self.sizes(), " apart from dimension ", attrs.dim, " and to be no larger size than src ",
               source.sizes());
      if (index.size(d) < src.size(d)) src = narrow(src, d, 0, index.size(d));
    }
  }
  Tensor run(const Tensor& self) const {
    if (nothing) return clone(self);
    const Tensor r = scatter_by(x, index, src, attrs);
    return self.dim() ? r : select(r, 0, 0);
  }
  void run_inplace() const {
    if (nothing) return;
    const Tensor in[] = {x, index, src};
    apply_inplace(op_for(attrs.reduce), in, &attrs);
  }
};

}  // namespace

constinit Op op::scatter{.name = "scatter",
                         .flags = kInPlaceOk,
                         .saves = save_input(1),
                         .attrs_size = sizeof(ScatterAttrs),
                         .infer = scatter_infer,
                         .vjp = scatter_vjp};
constinit Op op::scatter_reduce{.name = "scatter_reduce",
                                .flags = kInPlaceOk,
                                .saves = save_input(0) | save_input(1) | save_input(2) | save_output(0),
                                .attrs_size = sizeof(ScatterAttrs),
                                .infer = scatter_infer,
                                .vjp = scatter_reduce_vjp};

Tensor scatter(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& src, std::string_view reduce,
               bool include_self) {
  return ScatterCall(x, dim, index, src, reduce, include_self, false, "scatter").run(x);
}
Tensor scatter(const Tensor& x, int64_t dim, const Tensor& index, Scalar value, std::string_view reduce) {
  return ScatterCall(x, dim, index, full(Dims{}, value, x.dtype(), x.device()), reduce, true, true, "scatter").run(x);
}
void scatter_(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& src, std::string_view reduce,
              bool include_self) {
  ScatterCall(x, dim, index, src, reduce, include_self, false, "scatter").run_inplace();
}
void scatter_(const Tensor& x, int64_t dim, const Tensor& index, Scalar value, std::string_view reduce) {
  ScatterCall(x, dim, index, full(Dims{}, value, x.dtype(), x.device()), reduce, true, true, "scatter").run_inplace();
}
Tensor scatter_add(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& src) {
  return ScatterCall(x, dim, index, src, "add", true, false, "scatter_add").run(x);
}

namespace {

// index as the scatter of source's shape needs it.
Tensor spread_index(const Tensor& x, int64_t d, const Tensor& index, const Tensor& source, std::string_view reduce) {
  FS_CHECK(reduce == "prod" || reduce == "mean" || reduce == "amax" || reduce == "amin",
           "index_reduce(): Expected reduce to be one of prod, mean, amax or amin but got ", std::string(reduce),
           ".");
  FS_CHECK_INDEX(index.dim() <= 1, "index_reduce(): Index is supposed to be a vector, but got shape ", index.sizes());
  FS_CHECK_INDEX(source.dim() == x.dim() && (x.dim() == 0 || source.size(d) == index.numel()),
                 "index_reduce(): Number of indices (", index.numel(),
                 ") should be equal to source.size(dim), got source shape ", source.sizes());
  Dims shape = Dims::filled(source.dim(), 1);
  if (source.dim()) shape[d] = index.numel();
  return expand(reshape(index, shape), source.sizes());
}

}  // namespace

Tensor index_reduce(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& source, std::string_view reduce,
                    bool include_self) {
  const int64_t d = wrap_dim(dim, x.dim(), "index_reduce");
  return scatter(x, d, spread_index(x, d, index, source, reduce), source, reduce, include_self);
}
void index_reduce_(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& source, std::string_view reduce,
                   bool include_self) {
  const int64_t d = wrap_dim(dim, x.dim(), "index_reduce");
  scatter_(x, d, spread_index(x, d, index, source, reduce), source, reduce, include_self);
}

}  // namespace fireseed

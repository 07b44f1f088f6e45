// Records of sort, topk, kthvalue, median, mode and searchsorted; unique and isin made of them.
#include "ops/sort.h"

#include "ops/index.h"
#include "ops/move.h"
#include "ops/reduce_util.h"
#include "tensor/attrs/sort.h"

namespace fireseed {
namespace {

void sort_infer(Inputs in, const void*, Tensor* out) {
  out[0] = make_shell(in[0].sizes(), in[0].dtype(), in[0].device());
  out[1] = make_shell(in[0].sizes(), DType::kInt64, in[0].device());
}
void topk_infer(Inputs in, const void* attrs, Tensor* out) {
  const auto& a = *static_cast<const TopkAttrs*>(attrs);
  Dims sizes = in[0].sizes();
  if (sizes.n) sizes[a.dim] = a.k;
  out[0] = make_shell(sizes, in[0].dtype(), in[0].device());
  out[1] = make_shell(sizes, DType::kInt64, in[0].device());
}
void select_infer(Inputs in, const void* attrs, Tensor* out) {
  const auto& a = *static_cast<const SelectAttrs*>(attrs);
  const Dims sizes = reduced_sizes(in[0].sizes(), int64_t{1} << a.dim, a.keepdim);
  out[0] = make_shell(sizes, in[0].dtype(), in[0].device());
  out[1] = make_shell(sizes, DType::kInt64, in[0].device());
}
void search_infer(Inputs in, const void* attrs, Tensor* out) {
  const auto& a = *static_cast<const SearchAttrs*>(attrs);
  out[0] = make_shell(in[1].sizes(), a.out_int32 ? DType::kInt32 : DType::kInt64, in[1].device());
}

// g goes back to the elements that were chosen (each at most once).
Tensor to_chosen(const Vjp& c, const Tensor& g, const Tensor& index, int64_t dim) {
  const Dims sizes = c.input_sizes(0);
  if (sizes.n == 0) return reshape(g, sizes);
  return scatter(zeros(sizes, g.dtype(), g.device()), dim, index, g);
}
void sort_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  gx[0] = to_chosen(c, g[0], c.output(1), c.attrs<SortAttrs>().dim);
}
void topk_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  gx[0] = to_chosen(c, g[0], c.output(1), c.attrs<TopkAttrs>().dim);
}
void select_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  const auto& a = c.attrs<SelectAttrs>();
  const Tensor index = c.output(1);
  const bool lost = !a.keepdim && c.input_sizes(0).n > 0;
  gx[0] = to_chosen(c, lost ? unsqueeze(g[0], a.dim) : g[0], lost ? unsqueeze(index, a.dim) : index, a.dim);
}

template <class A>
std::pair<Tensor, Tensor> run(const Op& op, const Tensor& x, const A& a) {
  Tensor out[2];
  apply(op, Inputs(&x, 1), &a, out);
  return {out[0], out[1]};
}
int64_t length(const Tensor& x, int64_t dim) { return x.dim() ? x.size(dim) : 1; }
void require_length(const Tensor& x, int64_t dim, const char* op) {
  FS_CHECK_INDEX(length(x, dim) != 0, op, "(): Expected reduction dim ", dim, " to have non-zero size (shape ",
                 x.sizes(), ").");
}

}  // namespace

constinit Op op::sort{.name = "sort",
                      .saves = save_output(1),
                      .attrs_size = sizeof(SortAttrs),
                      .num_outputs = 2,
                      .infer = sort_infer,
                      .vjp = sort_vjp};
constinit Op op::topk{.name = "topk",
                      .saves = save_output(1),
                      .attrs_size = sizeof(TopkAttrs),
                      .num_outputs = 2,
                      .infer = topk_infer,
                      .vjp = topk_vjp};
constinit Op op::kthvalue{.name = "kthvalue",
                          .saves = save_output(1),
                          .attrs_size = sizeof(SelectAttrs),
                          .num_outputs = 2,
                          .infer = select_infer,
                          .vjp = select_vjp};
constinit Op op::median_dim{.name = "median",
                            .saves = save_output(1),
                            .attrs_size = sizeof(SelectAttrs),
                            .num_outputs = 2,
                            .infer = select_infer,
                            .vjp = select_vjp};
constinit Op op::mode{.name = "mode",
                      .saves = save_output(1),
                      .attrs_size = sizeof(SelectAttrs),
                      .num_outputs = 2,
                      .infer = select_infer,
                      .vjp = select_vjp};
constinit Op op::searchsorted{
    .name = "searchsorted", .flags = kNotDifferentiable, .attrs_size = sizeof(SearchAttrs), .infer = search_infer};

std::pair<Tensor, Tensor> sort(const Tensor& x, int64_t dim, bool descending) {
  return run(op::sort, x, SortAttrs{wrap_dim(dim, x.dim(), "sort"), descending});
}
Tensor argsort(const Tensor& x, int64_t dim, bool descending) { return sort(x, dim, descending).second; }

std::pair<Tensor, Tensor> topk(const Tensor& x, int64_t k, int64_t dim, bool largest, bool sorted) {
  const int64_t d = wrap_dim(dim, x.dim(), "topk");
  FS_CHECK(k >= 0 && k <= length(x, d), "topk: selected index k out of range: k = ", k, " of dimension ", d,
           " of shape ", x.sizes());
  FS_CHECK_KIND(x.dtype() != DType::kBool, ErrorKind::kNotImplemented, "topk: not implemented for dtype bool");
  return run(op::topk, x, TopkAttrs{d, k, largest, sorted});
}

std::pair<Tensor, Tensor> kthvalue(const Tensor& x, int64_t k, int64_t dim, bool keepdim) {
  const int64_t d = wrap_dim(dim, x.dim(), "kthvalue");
  require_length(x, d, "kthvalue");
  FS_CHECK(k >= 1 && k <= length(x, d), "kthvalue(): selected number k out of range for dimension ", d, ": k = ", k,
           ", shape ", x.sizes());
  return run(op::kthvalue, x, SelectAttrs{d, keepdim, k, 0});
}

Tensor median(const Tensor& x, bool ignore_nan) {
  if (x.numel() == 0) {
    FS_CHECK(x.is_floating(), "median(): empty input of dtype ", dtype_name(x.dtype()), " has no median");
    return full(Dims{}, Scalar(__builtin_nan("")), x.dtype(), x.device());
  }
  return run(op::median_dim, reshape(x, Dims{-1}), SelectAttrs{0, 0, 0, ignore_nan}).first;
}
std::pair<Tensor, Tensor> median(const Tensor& x, int64_t dim, bool keepdim, bool ignore_nan) {
  const int64_t d = wrap_dim(dim, x.dim(), "median");
  require_length(x, d, "median");
  return run(op::median_dim, x, SelectAttrs{d, keepdim, 0, ignore_nan});
}
std::pair<Tensor, Tensor> mode_along(const Tensor& x, int64_t dim, bool keepdim) {
  const int64_t d = wrap_dim(dim, x.dim(), "mode");
  require_length(x, d, "mode");
  return run(op::mode, x, SelectAttrs{d, keepdim, 0, 0});
}

Tensor searchsorted(const Tensor& sequence, const Tensor& values, bool out_int32, bool right, const Tensor& sorter) {
  FS_CHECK(sequence.dim() > 0,
           "searchsorted(): boundaries tensor should have at least 1 dimension, got a 0-dim tensor");
  if (sequence.dim() > 1) {
    bool ok = sequence.dim() == values.dim();
    for (int64_t d = 0; ok && d + 1 < values.dim(); ++d) ok = sequence.size(d) == values.size(d);
    FS_CHECK(ok,
             "searchsorted(): boundaries tensor should be 1 dimension or the first N-1 dimensions of boundaries "
             "tensor and "
             "input value tensor must match, but we got boundaries tensor ",
             sequence.sizes(), " and input value tensor ", values.sizes());
  }
  Tensor s = sequence;
  if (sorter.defined()) {
    FS_CHECK(sorter.same_shape(sequence),
             "searchsorted(): boundary and sorter must have the same size, but got boundary tensor ",
             sequence.sizes(), " and got sorter tensor ", sorter.sizes());
    FS_CHECK(sorter.dtype() == DType::kInt64, "searchsorted(): sorter must be a tensor of int64 but got dtype ",
             dtype_name(sorter.dtype()));
    s = gather(sequence, -1, sorter);
  }
  const DType t = result_type(s, values);
  return apply1(op::searchsorted, {to(s, t), cast_operand(values, t)}, SearchAttrs{right, out_int32});
}

namespace {

// Marks the starts of runs of equal neighbours in [n] or [n, m]; the first always starts one.
Tensor run_starts(const Tensor& rows) {
  const int64_t n = rows.size(0);
  Tensor differs = ne(narrow(rows, 0, 1, n - 1), narrow(rows, 0, 0, n - 1));
  if (rows.dim() > 1) differs = any(differs, Dims{1});
  const Tensor parts[] = {ones(Dims{1}, DType::kBool, differs.device()), differs};
  return cat(parts, 0);
}

}  // namespace

std::tuple<Tensor, Tensor, Tensor> unique(const Tensor& input, std::optional<int64_t> dim, bool consecutive) {
  const Tensor x = detach(input);
  const char* name = consecutive ? "unique_consecutive" : "unique";
  const int64_t d = dim ? wrap_dim(*dim, x.dim(), name) : 0;
  // Rows to compare: elements of the flattened tensor, or slices along dim.
  const bool slices = dim && x.dim() > 1;
  const Tensor front = slices ? transpose(x, 0, d) : reshape(x, Dims{-1});
  const int64_t n = front.size(0);
  if (n == 0) {
    const Tensor none = zeros(Dims{0}, DType::kInt64, x.device());
    return {x.dim() == 0 || !dim ? reshape(x, Dims{0}) : x, dim ? none : zeros(x.sizes(), DType::kInt64, x.device()),
            none};
  }
  const Tensor rows = slices ? reshape(front, Dims{n, -1}) : front;
  Tensor order;
  if (!consecutive) {
    if (slices) {  // stable sorts by the columns from the last give the lexicographic order
      order = arange(Scalar(0), Scalar(n), Scalar(1), DType::kInt64, x.device());
      for (int64_t c = rows.size(1) - 1; c >= 0; --c)
        order = index_select(order, 0, argsort(index_select(select(rows, 1, c), 0, order), 0));
    } else {
      order = argsort(rows, 0);
    }
  }
  const Tensor sorted = order.defined() ? index_select(rows, 0, order) : rows;
  const Tensor starts = run_starts(sorted);
  const Tensor group = cumsum(starts, 0) - 1.0;
  const Tensor first = reshape(nonzero(starts), Dims{-1});
  Tensor values = index_select(order.defined() ? index_select(front, 0, order) : front, 0, first);
  if (slices) values = contiguous(transpose(values, 0, d));
  const Tensor place = to(group, DType::kInt64);
  Tensor inverse = order.defined() ? scatter(zeros(Dims{n}, DType::kInt64, x.device()), 0, order, place) : place;
  if (!dim) inverse = reshape(inverse, x.sizes());
  const Tensor ends[] = {narrow(first, 0, 1, first.size(0) - 1),
                         full(Dims{1}, Scalar(n), DType::kInt64, first.device())};
  const Tensor counts = cat(ends, 0) - first;
  return {values, inverse, counts};
}

Tensor isin(const Tensor& elements, const Tensor& test, bool invert) {
  const DType t = result_type(elements, test);
  const Tensor e = cast_operand(elements, t), flat = reshape(cast_operand(test, t), Dims{-1});
  if (flat.size(0) == 0) return full(e.sizes(), Scalar(invert), DType::kBool, e.device());
  const Tensor sorted = sort(flat, 0).first;
  const Tensor at = clamp(searchsorted(sorted, e), Scalar(int64_t{0}), Scalar(flat.size(0) - 1));
  const Tensor found = eq(reshape(index_select(sorted, 0, reshape(at, Dims{-1})), e.sizes()), e);
  return invert ? logical_not(found) : found;
}

}  // namespace fireseed

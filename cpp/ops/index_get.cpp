// Advanced indexing: x[i, mask, ...] and x[...] = v on tensors, after NumPy's and PyTorch's rules.
#include <algorithm>

#include "ops/copy.h"
#include "ops/creation.h"
#include "ops/index.h"
#include "ops/index_util.h"
#include "ops/records.h"
#include "ops/shape.h"
#include "tensor/attrs/index.h"

namespace fireseed {
namespace {

// in: source (before + indexed + after), k index tensors of one shape B -> before + B + after.
Dims indexed_sizes(const Dims& source, const Dims& b, int64_t dim, int64_t k) {
  Dims r(source.d, dim);
  for (int64_t x : b) r.push_back(x);
  for (int64_t i = dim + k; i < source.n; ++i) r.push_back(source[i]);
  return r;
}

void index_infer(Inputs in, const void* attrs, Tensor* out) {
  const auto& a = *static_cast<const IndexAttrs*>(attrs);
  const auto k = static_cast<int64_t>(in.size()) - 1;
  out[0] = make_shell(indexed_sizes(in[0].sizes(), in[1].sizes(), a.dim, k), in[0].dtype(), in[0].device());
}

// Runs index_put on x with the index tensors a node saved, from input `first` on.
Tensor put_at(const Vjp& c, int first, const Tensor& x, const Tensor& values, IndexAttrs a) {
  std::vector<Tensor> in{x, values};
  for (int i = first; i < c.num_inputs(); ++i) in.push_back(c.input(i));
  Tensor out;
  apply(op::index_put, in, &a, &out);
  return out;
}
void index_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  IndexAttrs a = c.attrs<IndexAttrs>();
  a.accumulate = 1;
  gx[0] = put_at(c, 1, zeros(c.input_sizes(0), g[0].dtype(), g[0].device()), g[0], a);
}

void index_put_infer(Inputs in, const void*, Tensor* out) {
  out[0] = make_shell(in[0].sizes(), in[0].dtype(), in[0].device());
}
void index_put_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  IndexAttrs a = c.attrs<IndexAttrs>();
  if (c.needs(0)) {
    if (a.accumulate) {
      gx[0] = g[0];
    } else {
      const auto k = static_cast<int64_t>(c.num_inputs()) - 2;
      const Tensor zero = zeros(Dims{}, g[0].dtype(), g[0].device());
      gx[0] = put_at(c, 2, g[0], expand(zero, indexed_sizes(g[0].sizes(), c.input(2).sizes(), a.dim, k)), a);
    }
  }
  if (c.needs(1)) {
    std::vector<Tensor> in{g[0]};
    for (int i = 2; i < c.num_inputs(); ++i) in.push_back(c.input(i));
    apply(op::index, in, &a, &gx[1]);
  }
}

// Indices in the form the kernels take: x with the indexed dimensions next to each other, int64 tensors of one shape.
struct Prepared {
  Tensor x;
  std::vector<Tensor> at;
  int64_t dim = 0;
};

bool is_mask(DType t) { return t == DType::kBool || t == DType::kUInt8; }

// Indices and single numbers on the CPU go where x is, as in PyTorch.
Tensor beside(const Tensor& t, const Tensor& x) {
  return t.device() == x.device() || !t.device().is_cpu() ? t : to(t, t.dtype(), x.device());
}

Prepared prepare(const Tensor& source, std::span<const Tensor> indices, const char* op) {
  Prepared p;
  p.x = source;
  std::vector<Tensor> by_dim;  // undefined: the whole dimension
  for (size_t i = 0; i < indices.size(); ++i) {
    const Tensor& t = indices[i];
    if (!t.defined()) {
      by_dim.emplace_back();
      continue;
    }
    const auto d = static_cast<int64_t>(by_dim.size());
    if (is_mask(t.dtype())) {
      if (t.dim() == 0) {  // True or False: a new dimension of size 1 or 0
        p.x = unsqueeze(p.x, std::min(d, p.x.dim()));
        by_dim.push_back(select(nonzero(unsqueeze(t, 0)), 1, 0));
        continue;
      }
      FS_CHECK_INDEX(d + t.dim() <= p.x.dim(), op, ": too many indices for tensor of dimension ", p.x.dim(),
                     " (mask of shape ", t.sizes(), " at index ", i, ")");
      for (int64_t j = 0; j < t.dim(); ++j)
        FS_CHECK_INDEX(t.size(j) == p.x.size(d + j), op, ": The shape of the mask ", t.sizes(), " at index ", j,
                       " does not match the shape of the indexed tensor ", p.x.sizes(), " at index ", d + j);
      for (Tensor& column : unbind(nonzero(t), 1)) by_dim.push_back(column);
    } else {
      FS_CHECK_INDEX(t.dtype() == DType::kInt64 || t.dtype() == DType::kInt32 || t.dtype() == DType::kInt16 ||
                         t.dtype() == DType::kInt8,
                     op, ": tensors used as indices must be long, int, byte or bool tensors, but got ",
                     dtype_name(t.dtype()));
      by_dim.push_back(to(t, DType::kInt64));
    }
  }
  FS_CHECK_INDEX(static_cast<int64_t>(by_dim.size()) <= p.x.dim(), op, ": too many indices for tensor of dimension ",
                 p.x.dim(), " (got ", by_dim.size(), ")");
  Dims common, order;
  bool adjacent = true, first = true;
  int64_t last = -1;
  for (size_t d = 0; d < by_dim.size(); ++d) {
    const Tensor& t = by_dim[d];
    if (!t.defined()) continue;
    const auto at = static_cast<int64_t>(d);
    if (first) {
      common = t.sizes();
      p.dim = at;
    } else {
      try {
        common = broadcast_shapes(common, t.sizes(), op);
      } catch (const Error&) {
        fail(ErrorKind::kIndex, op, ": shape mismatch: indexing tensors could not be broadcast together with shapes ",
             common, ", ", t.sizes());
      }
      adjacent = adjacent && at == last + 1;
    }
    first = false;
    last = at;
    order.push_back(at);
    p.at.push_back(t);
  }
  for (Tensor& t : p.at) {
    t = beside(t, source);
    if (!(t.sizes() == common)) t = expand(t, common);
  }
  if (!adjacent) {
    for (int64_t d = 0; d < p.x.dim(); ++d)
      if (std::find(order.begin(), order.end(), d) == order.end()) order.push_back(d);
    p.x = permute(p.x, order);
    p.dim = 0;
  }
  return p;
}

// A single mask of leading dimensions, or null.
const Tensor* lone_mask(const Tensor& x, std::span<const Tensor> indices) {
  if (indices.size() != 1 || !indices[0].defined() || indices[0].dtype() != DType::kBool) return nullptr;
  const Tensor& m = indices[0];
  if (m.dim() == 0 || m.dim() > x.dim()) return nullptr;
  for (int64_t i = 0; i < m.dim(); ++i)
    if (m.size(i) != x.size(i)) return nullptr;
  return &m;
}

std::vector<Tensor> put_inputs(const Prepared& p, const Tensor& values, const char* op) {
  const Dims shape = indexed_sizes(p.x.sizes(), p.at[0].sizes(), p.dim, static_cast<int64_t>(p.at.size()));
  Tensor v = values;
  while (v.dim() > shape.n && v.size(0) == 1) v = select(v, 0, 0);
  bool fits = v.dim() <= shape.n;
  for (int64_t i = 0; fits && i < v.dim(); ++i) {
    const int64_t have = v.size(v.dim() - 1 - i);
    fits = have == 1 || have == shape[shape.n - 1 - i];
  }
  FS_CHECK(fits, op, ": shape mismatch: value tensor of shape ", values.sizes(),
           " cannot be broadcast to indexing result of shape ", shape);
  std::vector<Tensor> in{p.x, v.sizes() == shape ? v : expand(v, shape)};
  in.insert(in.end(), p.at.begin(), p.at.end());
  return in;
}

bool none_defined(std::span<const Tensor> indices) {
  return std::none_of(indices.begin(), indices.end(), [](const Tensor& t) { return t.defined(); });
}

constexpr uint32_t save_indices(int first) {
  uint32_t bits = 0;
  for (int i = first; i < 15; ++i) bits |= save_input(i);
  return bits;
}

}  // namespace

constinit Op op::index{.name = "index",
                       .saves = save_indices(1),
                       .attrs_size = sizeof(IndexAttrs),
                       .infer = index_infer,
                       .vjp = index_vjp};
constinit Op op::index_put{.name = "index_put",
                           .flags = kInPlaceOk,
                           .saves = save_indices(2),
                           .attrs_size = sizeof(IndexAttrs),
                           .infer = index_put_infer,
                           .vjp = index_put_vjp};

Tensor index(const Tensor& x, std::span<const Tensor> indices) {
  if (indices.size() == 1 && indices[0].defined() && indices[0].dtype() == DType::kInt64 && x.dim() > 0)
    return apply1(op::index, {x, beside(indices[0], x)}, IndexAttrs{});
  if (const Tensor* mask = lone_mask(x, indices); mask && mask->dim() == x.dim())
    return masked_select(x, beside(*mask, x));
  if (none_defined(indices)) return alias_view(x);
  const Prepared p = prepare(x, indices, "index");
  std::vector<Tensor> in{p.x};
  in.insert(in.end(), p.at.begin(), p.at.end());
  IndexAttrs a;
  a.dim = p.dim;
  Tensor out;
  apply(op::index, in, &a, &out);
  return out;
}

void index_put_(const Tensor& x, std::span<const Tensor> indices, const Tensor& values, bool accumulate) {
  FS_CHECK(x.dtype() == values.dtype(),
           "index_put_: Index put requires the source and destination dtypes match, got ", dtype_name(x.dtype()),
           " for the destination and ", dtype_name(values.dtype()), " for the source.");
  if (values.numel() == 1 && !accumulate && !values.requires_grad()) {
    if (const Tensor* mask = lone_mask(x, indices)) {
      Dims shape = mask->sizes();
      while (shape.n < x.dim()) shape.push_back(1);
      const Tensor m = beside(*mask, x);
      return masked_fill_(x, shape.n == m.dim() ? m : reshape(m, shape), item(values));
    }
  }
  if (none_defined(indices)) {
    FS_CHECK(!accumulate, "index_put_: at least one index must be a tensor");
    return copy_(x, values);
  }
  const Prepared p = prepare(x, indices, "index_put_");
  const std::vector<Tensor> in = put_inputs(p, values.dim() == 0 ? beside(values, x) : values, "index_put_");
  IndexAttrs a;
  a.dim = p.dim;
  a.accumulate = accumulate;
  apply_inplace(op::index_put, in, &a);
}

Tensor index_put(const Tensor& x, std::span<const Tensor> indices, const Tensor& values, bool accumulate) {
  const Tensor r = clone(x);
  index_put_(r, indices, values, accumulate);
  return r;
}

void set_item(const Tensor& x, std::span<const Tensor> indices, const Tensor& values) {
  index_put_(x, indices, to(values, x.dtype()));
}

namespace {

Tensor with_part(const Tensor& x, Tensor (*part)(const Tensor&, const int64_t*), const int64_t* a, const Tensor& src,
                 const char* op) {
  const Tensor r = clone(x);
  const Tensor target = part(r, a);
  FS_CHECK(target.same_shape(src), op,
           ": expected src to have a size equal to the slice of self. src size = ", src.sizes(),
           ", slice size = ", target.sizes());
  copy_(target, src);
  return r;
}

}  // namespace

Tensor select_scatter(const Tensor& x, const Tensor& src, int64_t dim, int64_t at) {
  const int64_t a[] = {dim, at};
  return with_part(
      x, [](const Tensor& r, const int64_t* p) { return select(r, p[0], p[1]); }, a, src, "select_scatter");
}
Tensor slice_scatter(const Tensor& x, const Tensor& src, int64_t dim, std::optional<int64_t> start,
                     std::optional<int64_t> end, int64_t step) {
  const int64_t a[] = {dim, start.value_or(0), end.value_or(INT64_MAX), step};
  return with_part(
      x, [](const Tensor& r, const int64_t* p) { return slice(r, p[0], p[1], p[2], p[3]); }, a, src, "slice_scatter");
}
Tensor diagonal_scatter(const Tensor& x, const Tensor& src, int64_t offset, int64_t dim1, int64_t dim2) {
  const int64_t a[] = {offset, dim1, dim2};
  return with_part(
      x, [](const Tensor& r, const int64_t* p) { return diagonal(r, p[0], p[1], p[2]); }, a, src, "diagonal_scatter");
}

Tensor nonzero_static(const Tensor& x, int64_t size, int64_t fill_value) {
  FS_CHECK(size >= 0, "nonzero_static: 'size' must be an non-negative integer, got ", size);
  const Tensor found = nonzero(x);
  const Tensor r = full(Dims{size, x.dim()}, Scalar(fill_value), DType::kInt64, x.device());
  const int64_t n = std::min(size, found.size(0));
  copy_(slice(r, 0, 0, n), slice(found, 0, 0, n));
  return r;
}

}  // namespace fireseed

// View ops: records, strides rules and gradients.
#include "ops/shape.h"

#include <algorithm>

#include "ops/copy.h"
#include "ops/records.h"
#include "ops/reduce.h"
#include "tensor/attrs/shape.h"

namespace fireseed {

Dims broadcast_shapes(const Dims& a, const Dims& b, const char* op) {
  Dims r = a.n >= b.n ? a : b;
  const Dims& s = a.n >= b.n ? b : a;
  const int64_t lead = r.n - s.n;
  for (int64_t i = 0; i < s.n; ++i) {
    int64_t& x = r[lead + i];
    if (x == s[i] || s[i] == 1) continue;
    FS_CHECK(x == 1, op, ": The size of tensor a (", a[a.n - s.n + i], ") must match the size of tensor b (",
             b[b.n - s.n + i], ") at non-singleton dimension ", lead + i, "; shapes ", a, " and ", b,
             " do not broadcast");
    x = s[i];
  }
  return r;
}

Tensor sum_to(const Tensor& x, const Dims& sizes) {
  const int64_t lead = x.dim() - sizes.n;
  FS_CHECK(lead >= 0, "sum_to: cannot reduce ", x.sizes(), " to ", sizes);
  Dims dims;
  for (int64_t i = 0; i < lead; ++i) dims.push_back(i);
  for (int64_t i = 0; i < sizes.n; ++i)
    if (sizes[i] == 1 && x.size(lead + i) != 1) dims.push_back(lead + i);
  Tensor r = dims.n ? sum(x, dims, true) : x;
  return lead ? view(r, sizes) : r;
}

Dims infer_sizes(const Dims& sizes, int64_t numel, const char* op) {
  Dims r = sizes;
  int64_t at = -1, known = 1;
  for (int64_t i = 0; i < r.n; ++i) {
    if (r[i] == -1) {
      FS_CHECK(at < 0, op, ": only one dimension can be inferred, got ", sizes);
      at = i;
    } else {
      FS_CHECK(r[i] >= 0, op, ": invalid shape dimension ", r[i], " in ", sizes);
      FS_CHECK(!__builtin_mul_overflow(known, r[i], &known), op, ": the size ", sizes, " has too many elements");
    }
  }
  if (at >= 0) {
    FS_CHECK(known != 0 || numel != 0, op, ": cannot reshape tensor of 0 elements into shape ", sizes,
             " because the unspecified dimension size -1 can be any value and is ambiguous");
    FS_CHECK(known != 0 && numel % known == 0, op, ": shape '", sizes, "' is invalid for input of size ", numel);
    r[at] = numel / known;
  } else {
    FS_CHECK(known == numel, op, ": shape '", sizes, "' is invalid for input of size ", numel);
  }
  return r;
}

namespace {

// Strides of a view of x as `sizes`, or false where the elements do not lie that way.
bool view_strides(const TensorImpl* x, const Dims& sizes, int64_t* strides) {
  if (x->has(TensorImpl::kContiguous) || x->numel == 0) {
    int64_t step = 1;
    for (int64_t i = sizes.n - 1; i >= 0; --i) {
      strides[i] = step;
      step *= sizes[i] > 1 ? sizes[i] : 1;
    }
    return true;
  }
  // Walk both shapes from the right, in chunks of x's dims that lie evenly.
  int64_t v = sizes.n - 1;
  int64_t chunk_numel = 1, view_numel = 1;
  int64_t chunk_stride = x->ndim ? x->strides[x->ndim - 1] : 1;
  for (int64_t d = x->ndim - 1; d >= 0; --d) {
    chunk_numel *= x->sizes[d];
    if (d == 0 || (x->sizes[d - 1] != 1 && x->strides[d - 1] != chunk_numel * chunk_stride)) {
      while (v >= 0 && (view_numel < chunk_numel || sizes[v] == 1)) {
        strides[v] = view_numel * chunk_stride;
        view_numel *= sizes[v];
        --v;
      }
      if (view_numel != chunk_numel) return false;
      if (d > 0) {
        chunk_stride = x->strides[d - 1];
        chunk_numel = view_numel = 1;
      }
    }
  }
  return v == -1;
}

void view_infer(Inputs in, const void* attrs, Tensor* out) {
  const Dims& sizes = static_cast<const DimsAttrs*>(attrs)->dims;
  int64_t strides[kMaxRank];
  FS_CHECK(view_strides(in[0].impl(), sizes, strides),
           "view size is not compatible with input tensor's size and stride (at least one dimension spans across two "
           "contiguous subspaces): cannot view ",
           in[0].sizes(), " with strides ", in[0].strides(), " as ", sizes, ". Use .reshape(...) instead.");
  out[0] = alias(in[0], sizes.d, strides, sizes.n, in[0].impl()->offset);
}
void view_vjp(const Vjp& c, const Tensor* g, Tensor* gx) { gx[0] = reshape(g[0], c.input_sizes(0)); }

// squeeze and unsqueeze keep the strides of the dims longer than 1; attrs: the output's sizes.
void squeeze_infer(Inputs in, const void* attrs, Tensor* out) {
  const Dims& sizes = static_cast<const DimsAttrs*>(attrs)->dims;
  const TensorImpl* x = in[0].impl();
  int64_t strides[kMaxRank];
  int64_t s = x->ndim - 1, next = 1;
  for (int64_t i = sizes.n - 1; i >= 0; --i) {
    if (sizes[i] == 1) {
      strides[i] = next;
      continue;
    }
    while (x->sizes[s] == 1) --s;
    strides[i] = x->strides[s];
    next = x->strides[s] * (x->sizes[s] ? x->sizes[s] : 1);
    --s;
  }
  out[0] = alias(in[0], sizes.d, strides, sizes.n, x->offset);
}

void permute_infer(Inputs in, const void* attrs, Tensor* out) {
  const Dims& p = static_cast<const DimsAttrs*>(attrs)->dims;
  const TensorImpl* x = in[0].impl();
  int64_t sizes[kMaxRank], strides[kMaxRank];
  for (int64_t i = 0; i < p.n; ++i) {
    sizes[i] = x->sizes[p[i]];
    strides[i] = x->strides[p[i]];
  }
  out[0] = alias(in[0], sizes, strides, p.n, x->offset);
}
void permute_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  const Dims& p = c.attrs<DimsAttrs>().dims;
  Dims inverse = p;
  for (int64_t i = 0; i < p.n; ++i) inverse[p[i]] = i;
  gx[0] = permute(g[0], inverse);
}

void expand_infer(Inputs in, const void* attrs, Tensor* out) {
  const Dims& sizes = static_cast<const DimsAttrs*>(attrs)->dims;
  const TensorImpl* x = in[0].impl();
  int64_t strides[kMaxRank];
  const int64_t lead = sizes.n - x->ndim;
  for (int64_t i = 0; i < sizes.n; ++i)
    strides[i] = i < lead || (x->sizes[i - lead] == 1 && sizes[i] != 1) ? 0 : x->strides[i - lead];
  out[0] = alias(in[0], sizes.d, strides, sizes.n, x->offset);
}
void expand_vjp(const Vjp& c, const Tensor* g, Tensor* gx) { gx[0] = sum_to(g[0], c.input_sizes(0)); }

void slice_infer(Inputs in, const void* attrs, Tensor* out) {
  const auto& a = *static_cast<const SliceAttrs*>(attrs);
  const TensorImpl* x = in[0].impl();
  int64_t sizes[kMaxRank], strides[kMaxRank];
  for (int64_t i = 0; i < x->ndim; ++i) {
    sizes[i] = x->sizes[i];
    strides[i] = x->strides[i];
  }
  sizes[a.dim] = a.length;
  strides[a.dim] *= a.step;
  out[0] = alias(in[0], sizes, strides, x->ndim, x->offset + a.start * x->strides[a.dim]);
}
void slice_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  const auto& a = c.attrs<SliceAttrs>();
  const Dims sizes = c.input_sizes(0);
  Dims strides = contiguous_strides(sizes);
  const int64_t offset = a.start * strides[a.dim];
  strides[a.dim] *= a.step;
  gx[0] = window_backward(g[0], sizes, strides, offset);
}

void select_infer(Inputs in, const void* attrs, Tensor* out) {
  const auto& a = *static_cast<const SliceAttrs*>(attrs);
  const TensorImpl* x = in[0].impl();
  int64_t sizes[kMaxRank], strides[kMaxRank];
  int64_t n = 0;
  for (int64_t i = 0; i < x->ndim; ++i) {
    if (i == a.dim) continue;
    sizes[n] = x->sizes[i];
    strides[n++] = x->strides[i];
  }
  out[0] = alias(in[0], sizes, strides, n, x->offset + a.start * x->strides[a.dim]);
}
void select_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  const auto& a = c.attrs<SliceAttrs>();
  const Dims sizes = c.input_sizes(0);
  const Dims full = contiguous_strides(sizes);
  Dims strides;
  for (int64_t i = 0; i < sizes.n; ++i)
    if (i != a.dim) strides.push_back(full[i]);
  gx[0] = window_backward(g[0], sizes, strides, a.start * full[a.dim]);
}

// Sizes, strides and offset of a diagonal of something with `sizes` and `strides`.
int64_t diagonal_window(const DiagonalAttrs& a, const Dims& sizes, const Dims& strides, Dims& out_sizes,
                        Dims& out_strides) {
  const int64_t s1 = sizes[a.dim1], s2 = sizes[a.dim2];
  const int64_t n = a.offset >= 0 ? std::max<int64_t>(std::min(s1, s2 - a.offset), 0)
                                  : std::max<int64_t>(std::min(s1 + a.offset, s2), 0);
  for (int64_t i = 0; i < sizes.n; ++i) {
    if (i == a.dim1 || i == a.dim2) continue;
    out_sizes.push_back(sizes[i]);
    out_strides.push_back(strides[i]);
  }
  out_sizes.push_back(n);
  out_strides.push_back(strides[a.dim1] + strides[a.dim2]);
  if (n == 0) return 0;
  return a.offset >= 0 ? a.offset * strides[a.dim2] : -a.offset * strides[a.dim1];
}
void diagonal_infer(Inputs in, const void* attrs, Tensor* out) {
  Dims sizes, strides;
  const int64_t offset =
      diagonal_window(*static_cast<const DiagonalAttrs*>(attrs), in[0].sizes(), in[0].strides(), sizes, strides);
  out[0] = alias(in[0], sizes.d, strides.d, sizes.n, in[0].impl()->offset + offset);
}
void diagonal_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  const Dims in = c.input_sizes(0);
  Dims sizes, strides;
  const int64_t offset = diagonal_window(c.attrs<DiagonalAttrs>(), in, contiguous_strides(in), sizes, strides);
  gx[0] = window_backward(g[0], in, strides, offset);
}

void unfold_window(const UnfoldAttrs& a, const Dims& in_sizes, const Dims& in_strides, Dims& sizes, Dims& strides) {
  sizes = in_sizes;
  strides = in_strides;
  if (in_sizes.n == 0) {
    sizes = Dims{a.size};
    strides = Dims{1};
    return;
  }
  sizes[a.dim] = (in_sizes[a.dim] - a.size) / a.step + 1;
  strides[a.dim] = in_strides[a.dim] * a.step;
  sizes.push_back(a.size);
  strides.push_back(in_strides[a.dim]);
}
void unfold_infer(Inputs in, const void* attrs, Tensor* out) {
  Dims sizes, strides;
  unfold_window(*static_cast<const UnfoldAttrs*>(attrs), in[0].sizes(), in[0].strides(), sizes, strides);
  out[0] = alias(in[0], sizes.d, strides.d, sizes.n, in[0].impl()->offset);
}
void unfold_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  const Dims in = c.input_sizes(0);
  Dims sizes, strides;
  unfold_window(c.attrs<UnfoldAttrs>(), in, contiguous_strides(in), sizes, strides);
  gx[0] = window_backward(g[0], in, strides, 0);
}

void as_strided_infer(Inputs in, const void* attrs, Tensor* out) {
  const auto& a = *static_cast<const WindowAttrs*>(attrs);
  int64_t last = a.offset;
  bool empty = false;
  for (int64_t i = 0; i < a.sizes.n; ++i) {
    FS_CHECK(a.sizes[i] >= 0 && a.strides[i] >= 0, "as_strided: negative size or stride: sizes ", a.sizes,
             ", strides ", a.strides);
    empty |= a.sizes[i] == 0;
    last += (a.sizes[i] - 1) * a.strides[i];
  }
  const auto room = static_cast<int64_t>(in[0].impl()->storage->nbytes / in[0].itemsize());
  FS_CHECK(a.offset >= 0 && (empty || last < room), "setStorage: sizes ", a.sizes, ", strides ", a.strides,
           ", storage offset ", a.offset, " require ", last + 1, " elements, out of bounds for storage of ", room);
  out[0] = alias(in[0], a.sizes.d, a.strides.d, a.sizes.n, a.offset);
}
void as_strided_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  // Through a flat image of the storage, which holds whatever geometry input and output have.
  const auto& a = c.attrs<WindowAttrs>();
  auto end = [](const Dims& sizes, const Dims& strides, int64_t offset) {
    for (int64_t i = 0; i < sizes.n; ++i) offset += sizes[i] ? (sizes[i] - 1) * strides[i] : 0;
    return offset + 1;
  };
  const int64_t extent = std::max(end(a.sizes, a.strides, a.offset), end(a.in_sizes, a.in_strides, a.in_offset));
  Tensor flat = window_backward(g[0], Dims{extent}, a.strides, a.offset);
  gx[0] = as_strided(flat, a.in_sizes, a.in_strides, a.in_offset);
}

void window_backward_infer(Inputs in, const void* attrs, Tensor* out) {
  out[0] = make_shell(static_cast<const WindowAttrs*>(attrs)->in_sizes, in[0].dtype(), in[0].device());
}
void window_backward_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  const auto& a = c.attrs<WindowAttrs>();
  gx[0] = as_strided(contiguous(g[0]), a.sizes, a.strides, contiguous(g[0]).impl()->offset + a.offset);
}

}  // namespace

constinit Op op::view{
    .name = "view", .flags = kView, .attrs_size = sizeof(DimsAttrs), .infer = view_infer, .vjp = view_vjp};
constinit Op op::squeeze{
    .name = "squeeze", .flags = kView, .attrs_size = sizeof(DimsAttrs), .infer = squeeze_infer, .vjp = view_vjp};
constinit Op op::unsqueeze{
    .name = "unsqueeze", .flags = kView, .attrs_size = sizeof(DimsAttrs), .infer = squeeze_infer, .vjp = view_vjp};
constinit Op op::permute{
    .name = "permute", .flags = kView, .attrs_size = sizeof(DimsAttrs), .infer = permute_infer, .vjp = permute_vjp};
constinit Op op::expand{
    .name = "expand", .flags = kView, .attrs_size = sizeof(DimsAttrs), .infer = expand_infer, .vjp = expand_vjp};
constinit Op op::slice{
    .name = "slice", .flags = kView, .attrs_size = sizeof(SliceAttrs), .infer = slice_infer, .vjp = slice_vjp};
constinit Op op::select{
    .name = "select", .flags = kView, .attrs_size = sizeof(SliceAttrs), .infer = select_infer, .vjp = select_vjp};
constinit Op op::diagonal{.name = "diagonal",
                          .flags = kView,
                          .attrs_size = sizeof(DiagonalAttrs),
                          .infer = diagonal_infer,
                          .vjp = diagonal_vjp};
constinit Op op::unfold{
    .name = "unfold", .flags = kView, .attrs_size = sizeof(UnfoldAttrs), .infer = unfold_infer, .vjp = unfold_vjp};
constinit Op op::as_strided{.name = "as_strided",
                            .flags = kView,
                            .attrs_size = sizeof(WindowAttrs),
                            .infer = as_strided_infer,
                            .vjp = as_strided_vjp};
constinit Op op::window_backward{.name = "window_backward",
                                 .attrs_size = sizeof(WindowAttrs),
                                 .infer = window_backward_infer,
                                 .vjp = window_backward_vjp};

Tensor window_backward(const Tensor& g, const Dims& sizes, const Dims& strides, int64_t offset) {
  WindowAttrs a;
  a.sizes = g.sizes();
  a.strides = strides;
  a.offset = offset;
  a.in_sizes = sizes;
  return apply1(op::window_backward, {g}, a);
}

Tensor view(const Tensor& x, const Dims& sizes) {
  return apply1(op::view, {x}, DimsAttrs{infer_sizes(sizes, x.numel(), "view")});
}

Tensor reshape(const Tensor& x, const Dims& sizes) {
  const Dims want = infer_sizes(sizes, x.numel(), "reshape");
  int64_t strides[kMaxRank];
  if (view_strides(x.impl(), want, strides)) return apply1(op::view, {x}, DimsAttrs{want});
  return apply1(op::view, {clone(x)}, DimsAttrs{want});
}

Tensor flatten(const Tensor& x, int64_t start_dim, int64_t end_dim) {
  const int64_t a = wrap_dim(start_dim, x.dim(), "flatten"), b = wrap_dim(end_dim, x.dim(), "flatten");
  FS_CHECK(a <= b, "flatten() has invalid args: start_dim cannot come after end_dim");
  if (x.dim() == 0) return reshape(x, {1});
  if (a == b) return x;
  Dims sizes;
  for (int64_t i = 0; i <= a; ++i) sizes.push_back(x.size(i));
  for (int64_t i = a + 1; i <= b; ++i) sizes[a] *= x.size(i);
  for (int64_t i = b + 1; i < x.dim(); ++i) sizes.push_back(x.size(i));
  return reshape(x, sizes);
}

Tensor unflatten(const Tensor& x, int64_t dim, const Dims& sizes) {
  dim = wrap_dim(dim, x.dim(), "unflatten");
  FS_CHECK(sizes.n > 0, "unflatten: sizes must be non-empty");
  const Dims inner = infer_sizes(sizes, x.size(dim), "unflatten");
  Dims all;
  for (int64_t i = 0; i < x.dim(); ++i) {
    if (i != dim) {
      all.push_back(x.size(i));
    } else {
      for (int64_t s : inner) all.push_back(s);
    }
  }
  return view(x, all);
}

Tensor squeeze(const Tensor& x) {
  DimsAttrs a;
  for (int64_t i = 0; i < x.dim(); ++i)
    if (x.size(i) != 1) a.dims.push_back(x.size(i));
  return apply1(op::squeeze, {x}, a);
}
Tensor squeeze(const Tensor& x, const Dims& dims) {
  uint64_t drop = 0;
  for (int64_t d : dims) drop |= uint64_t{1} << wrap_dim(d, x.dim(), "squeeze");
  DimsAttrs a;
  for (int64_t i = 0; i < x.dim(); ++i)
    if (!(drop >> i & 1) || x.size(i) != 1) a.dims.push_back(x.size(i));
  return apply1(op::squeeze, {x}, a);
}
Tensor unsqueeze(const Tensor& x, int64_t dim) {
  dim = wrap_dim(dim, x.dim() + 1, "unsqueeze");
  DimsAttrs a;
  for (int64_t i = 0; i < dim; ++i) a.dims.push_back(x.size(i));
  a.dims.push_back(1);
  for (int64_t i = dim; i < x.dim(); ++i) a.dims.push_back(x.size(i));
  return apply1(op::unsqueeze, {x}, a);
}

Tensor permute(const Tensor& x, const Dims& dims) {
  FS_CHECK(dims.n == x.dim(),
           "permute(sparse_coo): number of dimensions in the tensor input does not match the length of "
           "the desired ordering of dimensions i.e. input.dim() = ",
           x.dim(), " is not equal to len(dims) = ", dims.n);
  DimsAttrs a{dims};
  uint64_t seen = 0;
  for (int64_t i = 0; i < dims.n; ++i) {
    a.dims[i] = wrap_dim(dims[i], x.dim(), "permute");
    FS_CHECK(!(seen >> a.dims[i] & 1), "permute: duplicate dims are not allowed, got ", dims);
    seen |= uint64_t{1} << a.dims[i];
  }
  return apply1(op::permute, {x}, a);
}
Tensor transpose(const Tensor& x, int64_t dim0, int64_t dim1) {
  const int64_t a = wrap_dim(dim0, x.dim(), "transpose"), b = wrap_dim(dim1, x.dim(), "transpose");
  DimsAttrs p;
  for (int64_t i = 0; i < x.dim(); ++i) p.dims.push_back(i == a ? b : i == b ? a : i);
  return apply1(op::permute, {x}, p);
}
Tensor t(const Tensor& x) {
  FS_CHECK(x.dim() <= 2, "t() expects a tensor with <= 2 dimensions, but self is ", x.dim(), "D (shape ", x.sizes(),
           ")");
  return transpose(x, 0, x.dim() < 2 ? 0 : 1);
}
Tensor matrix_transpose(const Tensor& x) {
  FS_CHECK(x.dim() >= 2, "tensor.mT is only supported on matrices or batches of matrices. Got ", x.dim(),
           "-D tensor.");
  return transpose(x, -2, -1);
}
Tensor movedim(const Tensor& x, const Dims& source, const Dims& destination) {
  FS_CHECK(source.n == destination.n, "movedim: Invalid source or destination dims: source (", source,
           " dims) should contain the same number of dims as destination (", destination, " dims)");
  const int64_t n = x.dim();
  Dims order = Dims::filled(n, -1);
  uint64_t used = 0;
  for (int64_t i = 0; i < source.n; ++i) {
    const int64_t s = wrap_dim(source[i], n, "movedim"), d = wrap_dim(destination[i], n, "movedim");
    FS_CHECK(!(used >> s & 1), "movedim: repeated dim in `source` (", source, ")");
    if (n == 0) return alias_view(x);
    FS_CHECK(order[d] < 0, "movedim: repeated dim in `destination` (", destination, ")");
    order[d] = s;
    used |= uint64_t{1} << s;
  }
  int64_t next = 0;
  for (int64_t i = 0; i < n; ++i) {
    if (order[i] >= 0) continue;
    while (used >> next & 1) ++next;
    order[i] = next++;
  }
  return permute(x, order);
}

Tensor expand(const Tensor& x, const Dims& sizes) {
  DimsAttrs a{sizes};
  const int64_t lead = sizes.n - x.dim();
  FS_CHECK(lead >= 0, "expand(", dtype_name(x.dtype()), x.sizes(), ", size=", sizes,
           "): the number of sizes provided (", sizes.n,
           ") must be greater or equal to the number of dimensions in the tensor (", x.dim(), ")");
  for (int64_t i = 0; i < sizes.n; ++i) {
    if (i < lead) {
      FS_CHECK(sizes[i] >= 0, "expand: The expanded size of the tensor (", sizes[i],
               ") isn't allowed in a leading, non-existing dimension ", i);
      continue;
    }
    const int64_t have = x.size(i - lead);
    if (sizes[i] == -1) a.dims[i] = have;
    FS_CHECK(a.dims[i] == have || (have == 1 && a.dims[i] >= 0), "expand: The expanded size of the tensor (",
             sizes[i], ") must match the existing size (", have, ") at non-singleton dimension ", i,
             ".  Target sizes: ", sizes, ".  Tensor sizes: ", x.sizes());
  }
  return apply1(op::expand, {x}, a);
}
Tensor broadcast_to(const Tensor& x, const Dims& sizes) { return expand(x, sizes); }

Tensor select(const Tensor& x, int64_t dim, int64_t index) {
  FS_CHECK_INDEX(x.dim() > 0, "select() cannot be applied to a 0-dim tensor.");
  SliceAttrs a;
  a.dim = wrap_dim(dim, x.dim(), "select");
  const int64_t n = x.size(a.dim);
  FS_CHECK_INDEX(index >= -n && index < n, "select: index ", index, " is out of bounds for dimension ", a.dim,
                 " with size ", n);
  a.start = index < 0 ? index + n : index;
  return apply1(op::select, {x}, a);
}

Tensor slice(const Tensor& x, int64_t dim, std::optional<int64_t> start, std::optional<int64_t> end, int64_t step) {
  FS_CHECK(x.dim() > 0, "slice() cannot be applied to a 0-dim tensor.");
  FS_CHECK_VALUE(step > 0, "slice step must be positive");
  SliceAttrs a;
  a.dim = wrap_dim(dim, x.dim(), "slice");
  const int64_t n = x.size(a.dim);
  int64_t b = start.value_or(0), e = end.value_or(n);
  if (b < 0) b += n;
  if (e < 0) e += n;
  b = b < 0 ? 0 : b > n ? n : b;
  e = e < b ? b : e > n ? n : e;
  a.start = b;
  a.step = step;
  a.length = (e - b + step - 1) / step;
  return apply1(op::slice, {x}, a);
}

Tensor narrow(const Tensor& x, int64_t dim, int64_t start, int64_t length) {
  FS_CHECK(x.dim() > 0, "narrow() cannot be applied to a 0-dim tensor.");
  FS_CHECK(length >= 0, "narrow(): length must be non-negative.");
  const int64_t d = wrap_dim(dim, x.dim(), "narrow"), n = x.size(d);
  FS_CHECK_INDEX(start >= -n && start <= n, "narrow: start out of range (expected to be in range of [", -n, ", ", n,
                 "], but got ", start, ")");
  if (start < 0) start += n;
  FS_CHECK(start <= n - length, "narrow: start (", start, ") + length (", length, ") exceeds dimension size (", n,
           ").");
  return apply1(op::slice, {x}, SliceAttrs{d, start, 1, length});
}

Tensor diagonal(const Tensor& x, int64_t offset, int64_t dim1, int64_t dim2) {
  DiagonalAttrs a{offset, wrap_dim(dim1, x.dim(), "diagonal"), wrap_dim(dim2, x.dim(), "diagonal")};
  FS_CHECK(a.dim1 != a.dim2, "diagonal: diagonal dimensions cannot be identical ", dim1, ", ", dim2);
  return apply1(op::diagonal, {x}, a);
}

Tensor unfold(const Tensor& x, int64_t dim, int64_t size, int64_t step) {
  UnfoldAttrs a{wrap_dim(dim, x.dim(), "unfold"), size, step};
  const int64_t n = x.dim() ? x.size(a.dim) : 1;
  FS_CHECK(size >= 0, "unfold: size is ", size, " but must be >= 0");
  FS_CHECK(size <= n, "unfold: maximum size for tensor at dimension ", a.dim, " is ", n, " but size is ", size);
  FS_CHECK(step > 0, "unfold: step is ", step, " but must be > 0");
  return apply1(op::unfold, {x}, a);
}

Tensor as_strided(const Tensor& x, const Dims& sizes, const Dims& strides, std::optional<int64_t> offset) {
  FS_CHECK(sizes.n == strides.n, "as_strided: mismatch in length of strides and shape: ", sizes, ", ", strides);
  WindowAttrs a;
  a.sizes = sizes;
  a.strides = strides;
  a.offset = offset.value_or(x.impl()->offset);
  a.in_sizes = x.sizes();
  a.in_strides = x.strides();
  a.in_offset = x.impl()->offset;
  return apply1(op::as_strided, {x}, a);
}

Tensor view_as(const Tensor& x, const Tensor& other) { return view(x, other.sizes()); }
Tensor alias_view(const Tensor& x) { return apply1(op::view, {x}, DimsAttrs{x.sizes()}); }

Tensor detach(const Tensor& x) {
  Tensor r = detached_alias(x);
  return r;
}

Tensor view_dtype(const Tensor& x, DType dtype) {
  const auto from = static_cast<int64_t>(x.itemsize()), to = static_cast<int64_t>(dtype_size(dtype));
  Dims sizes = x.sizes(), strides = x.strides();
  int64_t offset = x.impl()->offset;
  if (from != to) {
    const char *a = dtype_name(x.dtype()), *b = dtype_name(dtype);
    FS_CHECK(x.dim() > 0, "view: self.dim() cannot be 0 to view ", a, " as ", b, " (different element sizes)");
    FS_CHECK(x.stride(-1) == 1, "view: self.stride(-1) must be 1 to view ", a, " as ", b,
             " (different element sizes), but got ", x.stride(-1));
    const int64_t last = x.dim() - 1;
    if (from > to) {
      const int64_t k = from / to;
      for (int64_t d = 0; d < last; ++d) strides[d] *= k;
      sizes[last] *= k;
      offset *= k;
    } else {
      const int64_t k = to / from;
      FS_CHECK(sizes[last] % k == 0, "view: self.size(-1) must be divisible by ", k, " to view ", a, " as ", b,
               " (different element sizes), but got ", sizes[last]);
      FS_CHECK(offset % k == 0, "view: self.storage_offset() must be divisible by ", k, " to view ", a, " as ", b,
               " (different element sizes), but got ", offset);
      for (int64_t d = 0; d < last; ++d) {
        FS_CHECK(strides[d] % k == 0, "view: self.stride(", d, ") must be divisible by ", k, " to view ", a, " as ",
                 b, " (different element sizes), but got ", strides[d]);
        strides[d] /= k;
      }
      sizes[last] /= k;
      offset /= k;
    }
  }
  Tensor y = detached_alias(x);
  TensorImpl* t = y.impl();
  t->dtype = dtype;
  t->offset = offset;
  for (int64_t d = 0; d < sizes.n; ++d) {
    t->sizes[d] = sizes[d];
    t->strides[d] = strides[d];
  }
  t->refresh_contiguous();
  return y;
}

}  // namespace fireseed

// Records of copy and fill, their in-place forms, and what the engine borrows from ops/.
#include "ops/copy.h"

#include "engine/mode.h"
#include "ops/creation.h"
#include "ops/pointwise.h"
#include "ops/records.h"
#include "ops/shape.h"
#include "tensor/attrs/copy.h"

namespace fireseed {
// Do the elements fill a block of memory without gaps or overlaps, in whatever order of dims?
bool is_dense(const Tensor& t) {
  const TensorImpl* x = t.impl();
  bool used[kMaxRank] = {};
  int64_t step = 1;
  for (int round = 0; round < x->ndim; ++round) {
    int at = -1;
    for (int i = 0; i < x->ndim && at < 0; ++i)
      if (!used[i] && (x->sizes[i] == 1 || x->strides[i] == step)) at = i;
    if (at < 0) return false;
    used[at] = true;
    step *= x->sizes[at];
  }
  return true;
}

namespace {

void copy_infer(Inputs in, const void* attrs, Tensor* out) {
  const TensorImpl* x = in[0].impl();
  const auto& a = *static_cast<const CopyAttrs*>(attrs);
  Device device = x->device;
  if (a.device != -2) device = a.device < 0 ? Device{} : Device{DeviceKind::kCuda, static_cast<int8_t>(a.device)};
  out[0] = make_shell(x->sizes, x->ndim, static_cast<DType>(a.dtype), device);
  if (!a.keep_layout || x->has(TensorImpl::kContiguous) || !is_dense(in[0])) return;
  TensorImpl* y = out[0].impl();
  for (int i = 0; i < x->ndim; ++i) y->strides[i] = x->strides[i];
  y->refresh_contiguous();
}
// The engine casts it to the input's dtype and moves it to the input's device.
void copy_vjp(const Vjp&, const Tensor* g, Tensor* gx) { gx[0] = g[0]; }

// In place: in = {dst, src}; the recorded op whose input 0 gets no gradient.
void copy_into_infer(Inputs in, const void*, Tensor* out) {
  const TensorImpl* x = in[0].impl();
  const Dims b = broadcast_shapes(in[0].sizes(), in[1].sizes(), "copy_");
  FS_CHECK(b == in[0].sizes(), "copy_: output with shape ", in[0].sizes(), " doesn't match the broadcast shape ", b,
           " (source shape ", in[1].sizes(), ")");
  out[0] = make_shell(x->sizes, x->ndim, x->dtype, x->device);
}
void copy_into_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  if (c.needs(0)) gx[0] = zeros(c.input_sizes(0), c.input_dtype(0), c.device());  // the old value no longer matters
  if (c.needs(1)) gx[1] = g[0];
}

// fill: in = {x}, out = x's shape holding the value; only ever run in place.
void fill_infer(Inputs in, const void*, Tensor* out) {
  const TensorImpl* x = in[0].impl();
  out[0] = make_shell(x->sizes, x->ndim, x->dtype, x->device);
}
void fill_vjp(const Vjp& c, const Tensor*, Tensor* gx) {
  gx[0] = zeros(c.input_sizes(0), c.input_dtype(0), c.device());
}

bool fill_engine_ops() {
  engine_ops.add = [](const Tensor& a, const Tensor& b) { return add(a, b); };
  engine_ops.add_ = [](const Tensor& a, const Tensor& b) { add_(a, b); };
  engine_ops.sum_to = sum_to;
  engine_ops.cast = to;
  engine_ops.clone = clone;
  engine_ops.expand = [](const Tensor& x, const Dims& sizes) { return expand(x, sizes); };
  engine_ops.move = [](const Tensor& x, Device device) { return to(x, x.dtype(), device); };
  engine_ops.zeros = [](const Dims& s, DType t, Device d) { return zeros(s, t, d); };
  engine_ops.ones = [](const Dims& s, DType t, Device d) { return ones(s, t, d); };
  engine_ops.copy_ = copy_;
  engine_ops.as_strided = [](const Tensor& x, const Dims& sizes, const Dims& strides, int64_t offset) {
    return as_strided(x, sizes, strides, offset);
  };
  engine_ops.window_backward = window_backward;
  return true;
}
[[maybe_unused]] const bool filled = fill_engine_ops();

}  // namespace

constinit Op op::copy{
    .name = "copy", .flags = kTransfer, .attrs_size = sizeof(CopyAttrs), .infer = copy_infer, .vjp = copy_vjp};
constinit Op op::copy_into{.name = "copy_into",
                           .flags = kPointwise | kInPlaceOk | kTransfer,
                           .attrs_size = sizeof(CopyAttrs),
                           .infer = copy_into_infer,
                           .vjp = copy_into_vjp};
constinit Op op::fill{.name = "fill",
                      .flags = kPointwise | kInPlaceOk,
                      .attrs_size = sizeof(FillAttrs),
                      .infer = fill_infer,
                      .vjp = fill_vjp};

Tensor to(const Tensor& x, DType dtype) {
  if (x.dtype() == dtype) return x;
  return apply1(op::copy, {x}, CopyAttrs{static_cast<int64_t>(dtype), 1});
}

Tensor to(const Tensor& x, DType dtype, Device device, bool non_blocking) {
  if (x.device() == device) return to(x, dtype);
  CopyAttrs a{static_cast<int64_t>(dtype), 1};
  a.device = device.is_cpu() ? -1 : device.index;
  a.non_blocking = non_blocking;
  return apply1(op::copy, {x}, a);
}

Tensor clone_keeping_layout(const Tensor& x) {
  return apply1(op::copy, {x}, CopyAttrs{static_cast<int64_t>(x.dtype()), 1});
}

Tensor channels_last(const Tensor& x) {
  FS_CHECK(x.dim() == 4 || x.dim() == 5, "required rank ", x.dim() == 5 ? 5 : 4,
           " tensor to use channels_last format, got shape ", x.sizes());
  return movedim(contiguous(movedim(x, Dims{1}, Dims{-1})), Dims{-1}, Dims{1});
}

Tensor clone(const Tensor& x) { return apply1(op::copy, {x}, CopyAttrs{static_cast<int64_t>(x.dtype())}); }

Tensor contiguous(const Tensor& x) { return x.is_contiguous() ? x : clone(x); }

void copy_(const Tensor& dst, const Tensor& src) { copy_(dst, src, false); }
void copy_(const Tensor& dst, const Tensor& src, bool non_blocking) {
  if (dst.impl() == src.impl()) return;
  // A source on the same memory but seen otherwise: copy it first.
  const bool overlaps = dst.impl()->storage == src.impl()->storage;
  // PyTorch drops leading 1s of the source that the destination has no room for.
  Tensor s = overlaps ? clone(src) : src;
  while (s.dim() > dst.dim() && s.size(0) == 1) s = select(s, 0, 0);
  const Tensor in[] = {dst, s};
  CopyAttrs a;
  a.non_blocking = non_blocking;
  apply_inplace(op::copy_into, in, &a);
}

void fill_(const Tensor& x, Scalar value) {
  // One value everywhere: of elements that share their memory, one is enough.
  for (int64_t i = 0; i < x.dim(); ++i)
    if (x.stride(i) == 0 && x.size(i) > 1) return fill_(narrow(x, i, 0, 1), value);
  check_fits(value, x.dtype(), "fill_");
  const Tensor in[] = {x};
  const FillAttrs a{value};
  apply_inplace(op::fill, in, &a);
}
void zero_(const Tensor& x) { fill_(x, Scalar(int64_t{0})); }

}  // namespace fireseed

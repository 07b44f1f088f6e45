// Creation functions; arange and linspace are kernels, the rest is fill.
#include "ops/creation.h"

#include <cmath>
#include <cstring>

#include "engine/mode.h"
#include "ops/copy.h"
#include "ops/pointwise.h"
#include "ops/records.h"
#include "ops/shape.h"
#include "tensor/attrs/shape.h"

namespace fireseed {
namespace {

DType or_default(DType t) { return t == DType::kUndefined ? default_dtype() : t; }

struct RangeShape {
  RangeAttrs range;
  int64_t count;
  int64_t dtype;
  Device device;
};

void arange_infer(Inputs, const void* attrs, Tensor* out) {
  const auto& a = *static_cast<const RangeShape*>(attrs);
  out[0] = make_shell(Dims{a.count}, static_cast<DType>(a.dtype), a.device);
}

Tensor range(const RangeAttrs& r, int64_t count, DType dtype, Device device) {
  RangeShape a{r, count, static_cast<int64_t>(dtype), device};
  Tensor out;
  apply(op::arange, Inputs(), &a, &out);
  return out;
}

}  // namespace

static_assert(offsetof(RangeShape, range) == 0);  // the kernel reads RangeAttrs
constinit Op op::arange{
    .name = "arange", .flags = kNotDifferentiable, .attrs_size = sizeof(RangeShape), .infer = arange_infer};

Tensor full(const Dims& sizes, Scalar value, DType dtype, Device device) {
  if (dtype == DType::kUndefined)
    dtype = value.kind == Scalar::kFloat  ? default_dtype()
            : value.kind == Scalar::kBool ? DType::kBool
                                          : DType::kInt64;
  Tensor t = empty(sizes, dtype, device);
  if (value.kind != Scalar::kFloat && value.i == 0 && t.numel() <= 4096 && device.is_cpu()) {
    std::memset(t.impl()->data, 0, static_cast<size_t>(t.numel()) * t.itemsize());
    return t;
  }
  GradMode off(false);
  fill_(t, value);
  t.impl()->storage->version = 0;
  return t;
}
Tensor zeros(const Dims& sizes, DType dtype, Device device) {
  return full(sizes, Scalar(0), or_default(dtype), device);
}
Tensor ones(const Dims& sizes, DType dtype, Device device) {
  return full(sizes, Scalar(1), or_default(dtype), device);
}

Tensor empty_like(const Tensor& x, DType dtype, std::optional<Device> device) {
  if (dtype == DType::kUndefined) dtype = x.dtype();
  const Device where = device.value_or(x.device());
  if (!x.is_contiguous() && is_dense(x))  // the order of dims in memory is kept
    return empty_strided(x.sizes(), x.strides(), dtype, where);
  return empty(x.sizes(), dtype, where);
}
Tensor full_like(const Tensor& x, Scalar value, DType dtype, std::optional<Device> device) {
  if (!x.is_contiguous()) {
    Tensor y = empty_like(x, dtype, device);
    GradMode off(false);
    fill_(y, value);
    y.impl()->storage->version = 0;
    return y;
  }
  return full(x.sizes(), value, dtype == DType::kUndefined ? x.dtype() : dtype, device.value_or(x.device()));
}
Tensor zeros_like(const Tensor& x, DType dtype, std::optional<Device> device) {
  return full_like(x, Scalar(0), dtype, device);
}
Tensor ones_like(const Tensor& x, DType dtype, std::optional<Device> device) {
  return full_like(x, Scalar(1), dtype, device);
}

Tensor arange(Scalar start, Scalar end, Scalar step, DType dtype, Device device) {
  const bool any_float = start.is_float() || end.is_float() || step.is_float();
  if (dtype == DType::kUndefined) dtype = any_float ? default_dtype() : DType::kInt64;
  FS_CHECK(dtype != DType::kBool, "arange: dtype bool is not supported");
  RangeAttrs r;
  int64_t count;
  if (!any_float) {
    const int64_t a = start.i, b = end.i, s = step.i;
    FS_CHECK(s != 0, "arange: step must be nonzero");
    FS_CHECK((s > 0) == (b >= a) || a == b,
             "arange: upper bound and lower bound inconsistent with step sign: start=", a, ", end=", b, ", step=", s);
    count = s > 0 ? (b - a + s - 1) / s : (a - b - s - 1) / -s;
    r.istart = a;
    r.istep = s;
    r.start = static_cast<double>(a);
    r.step = static_cast<double>(s);
  } else {
    const double a = start.to_double(), b = end.to_double(), s = step.to_double();
    FS_CHECK(s != 0, "arange: step must be nonzero");
    FS_CHECK(std::isfinite(a) && std::isfinite(b), "arange: unsupported range: ", a, " -> ", b);
    FS_CHECK((s > 0) == (b >= a) || a == b,
             "arange: upper bound and lower bound inconsistent with step sign: start=", a, ", end=", b, ", step=", s);
    const double size = std::ceil((b - a) / s);
    FS_CHECK(size >= 0 && size < 9.2e18, "arange: invalid size, possible overflow: ", size, " elements");
    count = static_cast<int64_t>(size);
    r.start = a;
    r.step = s;
    r.istart = start.to_int();
    r.istep = step.to_int();
  }
  return range(r, count, dtype, device);
}

Tensor linspace(double start, double end, int64_t steps, DType dtype, Device device) {
  FS_CHECK(steps >= 0, "linspace: number of steps must be non-negative, got ", steps);
  RangeAttrs r;
  r.start = start;
  r.end = end;
  r.step = steps > 1 ? (end - start) / static_cast<double>(steps - 1) : 0;
  r.linspace = 1;
  return range(r, steps, or_default(dtype), device);
}

Tensor logspace(double start, double end, int64_t steps, double base, DType dtype, Device device) {
  Tensor e = linspace(start, end, steps, DType::kFloat64, device);
  return to(pow(wrapped_number(Scalar(base)), e), or_default(dtype));
}

Tensor eye(int64_t n, int64_t m, DType dtype, Device device) {
  FS_CHECK(n >= 0, "eye: n must be greater or equal to 0, got ", n);
  FS_CHECK(m >= 0, "eye: m must be greater or equal to 0, got ", m);
  GradMode off(false);
  Tensor r = zeros({n, m}, dtype, device);
  if (r.numel()) fill_(diagonal(r), Scalar(1));
  r.impl()->storage->version = 0;
  return r;
}

}  // namespace fireseed

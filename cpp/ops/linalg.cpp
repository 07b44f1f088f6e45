// trace, kron, cross, cdist as compositions; records of the factorisations.
#include "ops/linalg.h"

#include <algorithm>

#include "ops/copy.h"
#include "ops/move.h"
#include "ops/pointwise.h"
#include "ops/records.h"
#include "ops/reduce.h"
#include "ops/shape.h"

namespace fireseed {
namespace {

Dims batch_of(const Tensor& a) {
  Dims batch = a.sizes();
  batch.n -= 2;
  return batch;
}
// The last input's sizes and dtype, and one number a matrix.
void factor_infer(Inputs in, const void*, Tensor* out) {
  const Tensor& like = in[in.size() - 1];
  out[0] = make_shell(like.sizes(), like.dtype(), like.device());
  out[1] = make_shell(batch_of(like), DType::kInt32, like.device());
}
void check_matrices(const Tensor& a, const char* op) {
  FS_CHECK(a.dim() >= 2 && a.size(-1) == a.size(-2), op, ": expected square matrices, got shape ", a.sizes());
  FS_CHECK(a.dtype() == DType::kFloat32 || a.dtype() == DType::kFloat64, op, ": expected float32 or float64, got ",
           dtype_name(a.dtype()));
}

}  // namespace

constinit Op op::cholesky{.name = "cholesky", .flags = kNotDifferentiable, .num_outputs = 2, .infer = factor_infer};
constinit Op op::solve{.name = "solve", .flags = kNotDifferentiable, .num_outputs = 2, .infer = factor_infer};

std::pair<Tensor, Tensor> cholesky_info(const Tensor& a) {
  check_matrices(a, "linalg.cholesky");
  const Tensor in = contiguous(a);
  Tensor out[2];
  apply(op::cholesky, Inputs(&in, 1), nullptr, out);
  return {out[0], out[1]};
}
std::pair<Tensor, Tensor> solve_info(const Tensor& a, const Tensor& b) {
  check_matrices(a, "linalg.solve");
  FS_CHECK(b.dim() == a.dim() && batch_of(a) == batch_of(b) && a.size(-1) == b.size(-2) && a.dtype() == b.dtype(),
           "linalg.solve: expected A (…, n, n) and B (…, n, k) of one dtype, got shapes ", a.sizes(), " and ",
           b.sizes());
  const Tensor in[2] = {contiguous(a), contiguous(b)};
  Tensor out[2];
  apply(op::solve, Inputs(in, 2), nullptr, out);
  return {out[0], out[1]};
}

Tensor trace(const Tensor& x) {
  FS_CHECK(x.dim() == 2, "trace: expected a matrix, but got tensor with dim ", x.dim(), " (shape ", x.sizes(), ")");
  return sum(diagonal(x));
}

Tensor kron(const Tensor& a, const Tensor& b) {
  const int64_t n = std::max(a.dim(), b.dim());
  Dims sa, sb, out;
  for (int64_t i = 0; i < n; ++i) {
    const int64_t p = i - (n - a.dim()), q = i - (n - b.dim());
    const int64_t x = p < 0 ? 1 : a.size(p), y = q < 0 ? 1 : b.size(q);
    sa.push_back(x);
    sa.push_back(1);
    sb.push_back(1);
    sb.push_back(y);
    out.push_back(x * y);
  }
  return reshape(mul(reshape(a, sa), reshape(b, sb)), out);
}

Tensor cross(const Tensor& a, const Tensor& b, int64_t dim) {
  FS_CHECK(a.dim() == b.dim(), "linalg.cross: inputs must have the same number of dimensions, got shapes ", a.sizes(),
           " and ", b.sizes());
  const int64_t d = wrap_dim(dim, a.dim(), "linalg.cross");
  FS_CHECK(a.size(d) == 3 && b.size(d) == 3, "linalg.cross: inputs dimension ", d, " must have length 3. Got ",
           a.size(d), " and ", b.size(d));
  const auto term = [&](int64_t i, int64_t j) {
    return sub(mul(select(a, d, i), select(b, d, j)), mul(select(a, d, j), select(b, d, i)));
  };
  const Tensor parts[] = {term(1, 2), term(2, 0), term(0, 1)};
  return stack(parts, d);
}

Tensor cdist(const Tensor& a, const Tensor& b, double p) {
  FS_CHECK(a.dim() >= 2 && b.dim() >= 2, "cdist only supports at least 2D tensors, got shapes ", a.sizes(), " and ",
           b.sizes());
  FS_CHECK(a.size(-1) == b.size(-1), "cdist: X1 and X2 must have the same number of columns. X1: ", a.size(-1),
           " X2: ", b.size(-1));
  FS_CHECK(p >= 0, "cdist only supports non-negative p values, got ", p);
  FS_CHECK(a.is_floating() && b.is_floating(), "cdist only supports floating-point dtypes, got ",
           dtype_name(a.dtype()), " and ", dtype_name(b.dtype()));
  return vector_norm(sub(unsqueeze(a, -2), unsqueeze(b, -3)), p, Dims{-1});
}

}  // namespace fireseed

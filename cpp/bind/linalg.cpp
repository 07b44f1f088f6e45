// Python functions of small linear algebra.
#include "bind/fast_call.h"
#include "ops/linalg.h"

namespace fireseed::bind {

FS_BINDINGS(linalg) {
  def(
      "trace(Tensor input)", kFunction | kMethod, [](Args& a) { return trace(a.tensor(0)); },
      "Sum of the main diagonal.");
  def(
      "kron(Tensor input, Tensor other)", kFunction | kMethod, [](Args& a) { return kron(a.tensor(0), a.tensor(1)); },
      "Kronecker product.");
  def("cross(Tensor input, Tensor other, int? dim=None)", kFunction | kMethod, [](Args& a) {
    const Tensor &x = a.tensor(0), &y = a.tensor(1);
    if (a.given(2)) return cross(x, y, a.i64(2));
    for (int64_t d = 0; d < x.dim(); ++d)
      if (x.size(d) == 3) return cross(x, y, d);
    fail(ErrorKind::kRuntime, "cross: no dimension of size 3 in input of shape ", x.sizes());
  });
  def("cross(Tensor input, Tensor other, *, int dim=-1)", kLinalg,
      [](Args& a) { return cross(a.tensor(0), a.tensor(1), a.i64(2)); });
  def(
      "cdist(Tensor x1, Tensor x2, float p=2.0, object compute_mode=None)", kFunction,
      [](Args& a) { return cdist(a.tensor(0), a.tensor(1), a.f64(2)); },
      "Distances between all rows of x1 and all rows of x2.");
  def("_cholesky(Tensor input)", kPrivate, [](Args& a) { return cholesky_info(a.tensor(0)); });
  def("_solve(Tensor input, Tensor other)", kPrivate, [](Args& a) { return solve_info(a.tensor(0), a.tensor(1)); });
}

}  // namespace fireseed::bind

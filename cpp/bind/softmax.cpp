// Python functions of the softmax family.
#include "ops/softmax.h"

#include "bind/fast_call.h"
#include "ops/pointwise.h"

namespace fireseed::bind {
namespace {

// The dimension nn.functional takes where none is given: 0 for 0, 1 and 3 dimensions, else 1.
int64_t implicit_dim(Args& a) {
  if (a.given(1)) return a.i64(1);
  const int64_t n = a.tensor(0).dim();
  return n == 0 || n == 1 || n == 3 ? 0 : 1;
}

}  // namespace

FS_BINDINGS(softmax) {
  def(
      "softmax(Tensor input, int dim, dtype? dtype=None)", kFunction | kMethod | kSpecial,
      [](Args& a) { return softmax(a.tensor(0), a.i64(1), a.opt_dtype(2)); }, "exp(x) / sum(exp(x)) along dim.");
  def(
      "log_softmax(Tensor input, int dim, dtype? dtype=None)", kFunction | kMethod | kSpecial,
      [](Args& a) { return log_softmax(a.tensor(0), a.i64(1), a.opt_dtype(2)); }, "log of softmax along dim.");
  def(
      "softmax(Tensor input, int? dim=None, int _stacklevel=3, dtype? dtype=None)", kNN,
      [](Args& a) { return softmax(a.tensor(0), implicit_dim(a), a.opt_dtype(3)); },
      "exp(x) / sum(exp(x)) along dim.");
  def(
      "log_softmax(Tensor input, int? dim=None, int _stacklevel=3, dtype? dtype=None)", kNN,
      [](Args& a) { return log_softmax(a.tensor(0), implicit_dim(a), a.opt_dtype(3)); }, "log of softmax along dim.");
  def(
      "softmin(Tensor input, int? dim=None, int _stacklevel=3, dtype? dtype=None)", kNN,
      [](Args& a) { return softmax(-a.tensor(0), implicit_dim(a), a.opt_dtype(3)); }, "softmax of -x along dim.");
}

}  // namespace fireseed::bind

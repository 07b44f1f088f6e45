// Python functions of the embedding family.
#include "ops/embedding.h"

#include <string>

#include "bind/fast_call.h"
#include "engine/mode.h"
#include "ops/copy.h"
#include "ops/shape.h"

namespace fireseed::bind {
namespace {

// None, or a row of weight; AssertionError otherwise, as torch.nn.functional has it.
int64_t padding_row(Args& a, int i, const Tensor& weight) {
  if (!a.given(i)) return -1;
  const int64_t p = a.i64(i), rows = weight.dim() ? weight.size(0) : 0;
  if (p < -rows || p >= rows) {
    PyErr_SetString(PyExc_AssertionError, "Padding_idx must be within num_embeddings");
    throw PythonError{};
  }
  return p < 0 ? p + rows : p;
}

void renorm(const Tensor& weight, const Tensor& indices, double max_norm, double norm_type) {
  GradMode off(false);
  embedding_renorm_(detach(weight), indices, max_norm, norm_type);
}

void no_sparse(bool sparse, const char* op) {
  FS_CHECK_KIND(!sparse, ErrorKind::kNotImplemented, op, ": sparse gradients are not supported; use sparse=False");
}

}  // namespace

FS_BINDINGS(embedding) {
  def(
      "embedding(Tensor input, Tensor weight, int? padding_idx=None, float? max_norm=None, float norm_type=2.0, "
      "bool scale_grad_by_freq=False, bool sparse=False)",
      kNN,
      [](Args& a) {
        const Tensor &indices = a.tensor(0), &weight = a.tensor(1);
        no_sparse(a.boolean(6), "embedding");
        const int64_t padding = padding_row(a, 2, weight);
        if (a.given(3)) renorm(weight, indices, a.f64(3), a.f64(4));
        return embedding(weight, indices, padding, a.boolean(5));
      },
      "Rows of weight (V, D) at the integer indices of input (any shape): (shape, D). padding_idx takes no "
      "gradient.");
  def("embedding(Tensor weight, Tensor indices, int padding_idx=-1, bool scale_grad_by_freq=False, bool "
      "sparse=False)",
      kFunction, [](Args& a) {
        no_sparse(a.boolean(4), "embedding");
        return embedding(a.tensor(0), a.tensor(1), a.i64(2), a.boolean(3));
      });
  def("embedding_renorm_(Tensor weight, Tensor indices, float max_norm, float norm_type)", kFunction, [](Args& a) {
    renorm(a.tensor(0), a.tensor(1), a.f64(2), a.f64(3));
    return a.self();
  });
  def(
      "embedding_bag(Tensor input, Tensor weight, Tensor? offsets=None, float? max_norm=None, float norm_type=2, "
      "bool scale_grad_by_freq=False, str mode='mean', bool sparse=False, Tensor? per_sample_weights=None, "
      "bool include_last_offset=False, int? padding_idx=None)",
      kNN,
      [](Args& a) {
        Tensor indices = a.tensor(0), weight = a.tensor(1);
        if (!weight.is_floating() && indices.is_floating())
          std::swap(indices, weight);  // the order of very old scripts
        no_sparse(a.boolean(7), "embedding_bag");
        if (a.given(3)) renorm(weight, indices, a.f64(3), a.f64(4));
        return embedding_bag(indices, weight, a.opt_tensor(2), a.str(6), a.opt_tensor(8), a.boolean(9), a.opt_i64(10),
                             a.boolean(5));
      },
      "Sums, means or maxima of rows of weight over bags of indices: (B, N), or (N,) with offsets (B,) -> (B, D).");
}

}  // namespace fireseed::bind

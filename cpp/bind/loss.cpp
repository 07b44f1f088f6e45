// Python functions of the losses, with PyTorch's signatures (size_average and reduce are the old way to say
// reduction).
#include "ops/loss.h"

#include <sstream>
#include <string>

#include "bind/fast_call.h"
#include "bind/function.h"
#include "ops/pointwise.h"
#include "ops/reduce.h"

namespace fireseed::bind {
namespace {

// size_average, reduce and reduction as the name of the reduction.
std::string reduction_name(Args& a, int size_average, int reduce, int reduction) {
  if (!a.given(size_average) && !a.given(reduce)) return std::string(a.str(reduction));
  const bool average = !a.given(size_average) || a.boolean(size_average), any = !a.given(reduce) || a.boolean(reduce);
  return any ? average ? "mean" : "sum" : "none";
}
Reduction reduction_of(Args& a, int size_average, int reduce, int reduction) {
  return parse_reduction(reduction_name(a, size_average, reduce, reduction), a.function().name.c_str());
}

// Shapes that differ broadcast, as in PyTorch, but are seldom meant: a warning.
void warn_if_broadcast(Args& a) {
  const Dims &x = a.tensor(0).sizes(), &target = a.tensor(1).sizes();
  if (x == target) return;
  std::ostringstream text;
  text << "Using a target size (" << target << ") that is different to the input size (" << x
       << "). This will likely lead to incorrect results due to broadcasting. Please ensure they have the same size.";
  if (PyErr_WarnEx(PyExc_UserWarning, text.str().c_str(), 1) < 0) throw PythonError{};
}

// loss(reduction), or its elements times a weight of the input's shape; by_weight: the mean divides by the sum of the
// weights.
template <class F>
Tensor weighted(Args& a, int weight, Reduction reduction, bool by_weight, F loss) {
  warn_if_broadcast(a);
  if (!a.given(weight)) return loss(reduction);
  const Tensor w = a.tensor(weight);
  FS_CHECK_VALUE(w.sizes() == a.tensor(0).sizes(), "Weights and input must have the same size.");
  const Tensor y = mul(loss(Reduction::kNone), w);
  return reduction == Reduction::kMean && by_weight ? div(sum(y), sum(w)) : reduce_loss(y, reduction);
}

// Lengths given as a tensor, an int or a sequence of ints.
Tensor lengths(Args& a, int i) {
  if (as_tensor(a.object(i))) return *as_tensor(a.object(i));
  PyObject* list =
      PySequence_Check(a.object(i)) ? PySequence_Fast(a.object(i), "lengths") : PyTuple_Pack(1, a.object(i));
  if (!list) throw PythonError{};
  const Py_ssize_t n = PySequence_Fast_GET_SIZE(list);
  const Tensor t = empty(Dims{n}, DType::kInt64);
  for (Py_ssize_t k = 0; k < n; ++k) t.data<int64_t>()[k] = PyLong_AsLongLong(PySequence_Fast_GET_ITEM(list, k));
  Py_DECREF(list);
  if (PyErr_Occurred()) throw PythonError{};
  return t;
}

#define FS_LEGACY "bool? size_average=None, bool? reduce=None, str reduction='mean'"

}  // namespace

FS_BINDINGS(loss) {
  def(
      "cross_entropy(Tensor input, Tensor target, Tensor? weight=None, bool? size_average=None, int "
      "ignore_index=-100, "
      "bool? reduce=None, str reduction='mean', float label_smoothing=0.0)",
      kNN,
      [](Args& a) {
        return cross_entropy(a.tensor(0), a.tensor(1), a.opt_tensor(2), a.i64(4), reduction_of(a, 3, 5, 6), a.f64(7));
      },
      "Cross-entropy of logits (N, C, ...) against class indices (N, ...) or probabilities (N, C, ...).");
  def(
      "nll_loss(Tensor input, Tensor target, Tensor? weight=None, bool? size_average=None, int ignore_index=-100, "
      "bool? reduce=None, str reduction='mean')",
      kNN,
      [](Args& a) { return nll_loss(a.tensor(0), a.tensor(1), a.opt_tensor(2), a.i64(4), reduction_of(a, 3, 5, 6)); },
      "Negative log-likelihood of log-probabilities (N, C, ...) against class indices (N, ...).");
  def(
      "mse_loss(Tensor input, Tensor target, " FS_LEGACY ", Tensor? weight=None)", kNN,
      [](Args& a) {
        return weighted(a, 5, reduction_of(a, 2, 3, 4), true,
                        [&](Reduction r) { return mse_loss(a.tensor(0), a.tensor(1), r); });
      },
      "(input - target)^2.");
  def(
      "l1_loss(Tensor input, Tensor target, " FS_LEGACY ", Tensor? weight=None)", kNN,
      [](Args& a) {
        return weighted(a, 5, reduction_of(a, 2, 3, 4), true,
                        [&](Reduction r) { return l1_loss(a.tensor(0), a.tensor(1), r); });
      },
      "|input - target|.");
  def(
      "smooth_l1_loss(Tensor input, Tensor target, " FS_LEGACY ", float beta=1.0)", kNN,
      [](Args& a) {
        warn_if_broadcast(a);
        return smooth_l1_loss(a.tensor(0), a.tensor(1), reduction_of(a, 2, 3, 4), a.f64(5));
      },
      "Quadratic below beta, linear above.");
  def("huber_loss(Tensor input, Tensor target, str reduction='mean', float delta=1.0, Tensor? weight=None)", kNN,
      [](Args& a) {
        return weighted(a, 4, parse_reduction(a.str(2), "huber_loss"), false,
                        [&](Reduction r) { return huber_loss(a.tensor(0), a.tensor(1), r, a.f64(3)); });
      });
  def(
      "binary_cross_entropy(Tensor input, Tensor target, Tensor? weight=None, " FS_LEGACY ")", kNN,
      [](Args& a) {
        return binary_cross_entropy(a.tensor(0), a.tensor(1), a.opt_tensor(2), reduction_of(a, 3, 4, 5));
      },
      "Of probabilities in [0, 1]; with logits use binary_cross_entropy_with_logits.");
  def("binary_cross_entropy_with_logits(Tensor input, Tensor target, Tensor? weight=None, " FS_LEGACY
      ", Tensor? pos_weight=None)",
      kNN, [](Args& a) {
        return binary_cross_entropy_with_logits(a.tensor(0), a.tensor(1), a.opt_tensor(2), reduction_of(a, 3, 4, 5),
                                                a.opt_tensor(6));
      });
  def(
      "soft_margin_loss(Tensor input, Tensor target, " FS_LEGACY ")", kNN,
      [](Args& a) { return soft_margin_loss(a.tensor(0), a.tensor(1), reduction_of(a, 2, 3, 4)); },
      "log(1 + exp(-target input)).");
  def(
      "kl_div(Tensor input, Tensor target, " FS_LEGACY ", bool log_target=False)", kNN,
      [](Args& a) { return kl_div(a.tensor(0), a.tensor(1), reduction_name(a, 2, 3, 4), a.boolean(5)); },
      "target (log target - input); reduction may also be batchmean.");
  def("poisson_nll_loss(Tensor input, Tensor target, bool log_input=True, bool full=False, bool? size_average=None, "
      "float eps=1e-08, bool? reduce=None, str reduction='mean')",
      kNN, [](Args& a) {
        return poisson_nll_loss(a.tensor(0), a.tensor(1), a.boolean(2), a.boolean(3), a.f64(5),
                                reduction_of(a, 4, 6, 7));
      });
  def("gaussian_nll_loss(Tensor input, Tensor target, Operand var, bool full=False, float eps=1e-06, str "
      "reduction='mean')",
      kNN, [](Args& a) {
        return gaussian_nll_loss(a.tensor(0), a.tensor(1), a.tensor(2), a.boolean(3), a.f64(4),
                                 parse_reduction(a.str(5), "gaussian_nll_loss"));
      });
  def("hinge_embedding_loss(Tensor input, Tensor target, float margin=1.0, " FS_LEGACY ")", kNN,
      [](Args& a) { return hinge_embedding_loss(a.tensor(0), a.tensor(1), a.f64(2), reduction_of(a, 3, 4, 5)); });
  def("cosine_embedding_loss(Tensor input1, Tensor input2, Tensor target, float margin=0.0, " FS_LEGACY ")", kNN,
      [](Args& a) {
        return cosine_embedding_loss(a.tensor(0), a.tensor(1), a.tensor(2), a.f64(3), reduction_of(a, 4, 5, 6));
      });
  def("margin_ranking_loss(Tensor input1, Tensor input2, Tensor target, float margin=0.0, " FS_LEGACY ")", kNN,
      [](Args& a) {
        return margin_ranking_loss(a.tensor(0), a.tensor(1), a.tensor(2), a.f64(3), reduction_of(a, 4, 5, 6));
      });
  def("triplet_margin_loss(Tensor anchor, Tensor positive, Tensor negative, float margin=1.0, float p=2.0, float "
      "eps=1e-06, "
      "bool swap=False, " FS_LEGACY ")",
      kNN, [](Args& a) {
        return triplet_margin_loss(a.tensor(0), a.tensor(1), a.tensor(2), a.f64(3), a.f64(4), a.f64(5), a.boolean(6),
                                   reduction_of(a, 7, 8, 9));
      });
  def("multi_margin_loss(Tensor input, Tensor target, float p=1.0, float margin=1.0, Tensor? weight=None, " FS_LEGACY
      ")",
      kNN, [](Args& a) {
        return multi_margin_loss(a.tensor(0), a.tensor(1), a.f64(2), a.f64(3), a.opt_tensor(4),
                                 reduction_of(a, 5, 6, 7));
      });
  def("multilabel_margin_loss(Tensor input, Tensor target, " FS_LEGACY ")", kNN,
      [](Args& a) { return multilabel_margin_loss(a.tensor(0), a.tensor(1), reduction_of(a, 2, 3, 4)); });
  def("multilabel_soft_margin_loss(Tensor input, Tensor target, Tensor? weight=None, " FS_LEGACY ")", kNN,
      [](Args& a) {
        return multilabel_soft_margin_loss(a.tensor(0), a.tensor(1), a.opt_tensor(2), reduction_of(a, 3, 4, 5));
      });
  def(
      "ctc_loss(Tensor log_probs, Tensor targets, object input_lengths, object target_lengths, int blank=0, "
      "str reduction='mean', bool zero_infinity=False)",
      kNN,
      [](Args& a) {
        return ctc_loss(a.tensor(0), a.tensor(1), lengths(a, 2), lengths(a, 3), a.i64(4),
                        parse_reduction(a.str(5), "ctc_loss"), a.boolean(6));
      },
      "Connectionist temporal classification of log-probabilities (T, N, C) against label sequences.");
  def("ctc_loss(Tensor log_probs, Tensor targets, object input_lengths, object target_lengths, int blank=0, "
      "int reduction=1, bool zero_infinity=False)",
      kFunction, [](Args& a) {
        const int64_t r = a.i64(5);
        return ctc_loss(a.tensor(0), a.tensor(1), lengths(a, 2), lengths(a, 3), a.i64(4), static_cast<Reduction>(r),
                        a.boolean(6));
      });
  def("cosine_similarity(Tensor x1, Tensor x2, int dim=1, float eps=1e-08)", kNN | kFunction,
      [](Args& a) { return cosine_similarity(a.tensor(0), a.tensor(1), a.i64(2), a.f64(3)); });
  def("pairwise_distance(Tensor x1, Tensor x2, float p=2.0, float eps=1e-06, bool keepdim=False)", kNN | kFunction,
      [](Args& a) { return pairwise_distance(a.tensor(0), a.tensor(1), a.f64(2), a.f64(3), a.boolean(4)); });
}

}  // namespace fireseed::bind

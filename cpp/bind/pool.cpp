// Python functions of the pooling family.
#include "ops/pool.h"

#include <string>

#include "bind/fast_call.h"

namespace fireseed::bind {
namespace {

template <int kSpatial>
PyObject* max_pool_call(Args& a) {
  const Dims stride = a.given(2) ? a.dims(2) : Dims{};
  if (a.boolean(6))
    return to_python(
        max_pool_with_indices(a.tensor(0), kSpatial, a.dims(1), stride, a.dims(3), a.dims(4), a.boolean(5)));
  return to_python(max_pool(a.tensor(0), kSpatial, a.dims(1), stride, a.dims(3), a.dims(4), a.boolean(5)));
}
template <int kSpatial>
PyObject* max_pool_indices_call(Args& a) {
  const Dims stride = a.given(2) ? a.dims(2) : Dims{};
  return to_python(
      max_pool_with_indices(a.tensor(0), kSpatial, a.dims(1), stride, a.dims(3), a.dims(4), a.boolean(5)));
}
template <int kSpatial>
PyObject* avg_pool_call(Args& a) {
  const Dims stride = a.given(2) ? a.dims(2) : Dims{};
  return to_python(
      avg_pool(a.tensor(0), kSpatial, a.dims(1), stride, a.dims(3), a.boolean(4), a.boolean(5), a.opt_i64(6)));
}

// An int, or a sequence of ints and None (-1: the input's size).
Dims output_size(PyObject* o, int64_t spatial, const char* op) {
  const auto one = [op](PyObject* item) -> int64_t {
    if (item == Py_None) return -1;
    const long long v = PyLong_AsLongLong(item);
    if (v == -1 && PyErr_Occurred()) throw PythonError{};
    FS_CHECK(v >= 0, op, ": elements of output_size must be greater than or equal to 0, got ", v);
    return v;
  };
  if (!PyTuple_Check(o) && !PyList_Check(o)) return Dims{one(o)};
  Dims r;
  FS_CHECK(PySequence_Fast_GET_SIZE(o) == spatial || PySequence_Fast_GET_SIZE(o) == 1, op, ": output_size must be ",
           spatial, " numbers, got ", PySequence_Fast_GET_SIZE(o));
  for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(o); ++i) r.push_back(one(PySequence_Fast_GET_ITEM(o, i)));
  return r;
}
template <int kSpatial>
PyObject* adaptive_avg_call(Args& a) {
  return to_python(adaptive_avg_pool(a.tensor(0), kSpatial, output_size(a.object(1), kSpatial, "adaptive_avg_pool")));
}
template <int kSpatial>
PyObject* adaptive_max_call(Args& a) {
  auto r = adaptive_max_pool(a.tensor(0), kSpatial, output_size(a.object(1), kSpatial, "adaptive_max_pool"));
  return a.boolean(2) ? to_python(r) : to_python(r.first);
}
template <int kSpatial>
PyObject* adaptive_max_both(Args& a) {
  return to_python(adaptive_max_pool(a.tensor(0), kSpatial, output_size(a.object(1), kSpatial, "adaptive_max_pool")));
}
template <int kSpatial>
PyObject* max_unpool_call(Args& a) {
  Dims sizes = a.given(5) ? a.dims(5) : Dims{};
  return to_python(
      max_unpool(a.tensor(0), a.tensor(1), kSpatial, a.dims(2), a.given(3) ? a.dims(3) : Dims{}, a.dims(4), sizes));
}
template <int kSpatial>
PyObject* lp_pool_call(Args& a) {
  return to_python(
      lp_pool(a.tensor(0), kSpatial, a.f64(1), a.dims(2), a.given(3) ? a.dims(3) : Dims{}, a.boolean(4)));
}

#define FS_EACH(spatial, doc_max, doc_avg)                                                                       \
  def(                                                                                                           \
      "max_pool" #spatial                                                                                        \
      "d(Tensor input, int[] kernel_size, int[]? stride=None, int[] padding=0, int[] dilation=1, bool "          \
      "ceil_mode=False, "                                                                                        \
      "bool return_indices=False)",                                                                              \
      kNN, [](Args& a) { return max_pool_call<spatial>(a); }, doc_max);                                          \
  def(                                                                                                           \
      "max_pool" #spatial                                                                                        \
      "d(Tensor input, int[] kernel_size, int[]? stride=None, int[] padding=0, int[] dilation=1, bool "          \
      "ceil_mode=False, "                                                                                        \
      "bool return_indices=False)",                                                                              \
      kFunction, [](Args& a) { return max_pool_call<spatial>(a); }, doc_max);                                    \
  def(                                                                                                           \
      "max_pool" #spatial                                                                                        \
      "d_with_indices(Tensor input, int[] kernel_size, int[]? stride=None, int[] padding=0, int[] dilation=1, "  \
      "bool ceil_mode=False, bool return_indices=True)",                                                         \
      kFunction | kNN, [](Args& a) { return max_pool_indices_call<spatial>(a); }, doc_max);                      \
  def(                                                                                                           \
      "avg_pool" #spatial                                                                                        \
      "d(Tensor input, int[] kernel_size, int[]? stride=None, int[] padding=0, bool ceil_mode=False, "           \
      "bool count_include_pad=True, int? divisor_override=None)",                                                \
      kFunction | kNN, [](Args& a) { return avg_pool_call<spatial>(a); }, doc_avg);                              \
  def(                                                                                                           \
      "adaptive_avg_pool" #spatial "d(Tensor input, object output_size)", kFunction | kNN,                       \
      [](Args& a) { return adaptive_avg_call<spatial>(a); },                                                     \
      "Means over windows such that the output has output_size.");                                               \
  def(                                                                                                           \
      "adaptive_max_pool" #spatial "d(Tensor input, object output_size, bool return_indices=False)", kNN,        \
      [](Args& a) { return adaptive_max_call<spatial>(a); },                                                     \
      "Maxima over windows such that the output has output_size.");                                              \
  def(                                                                                                           \
      "adaptive_max_pool" #spatial "d(Tensor input, object output_size)", kFunction,                             \
      [](Args& a) { return adaptive_max_both<spatial>(a); },                                                     \
      "Maxima over windows, and their positions in the plane.");                                                 \
  def("adaptive_max_pool" #spatial "d_with_indices(Tensor input, object output_size, bool return_indices=True)", \
      kNN, [](Args& a) { return adaptive_max_both<spatial>(a); });                                               \
  def(                                                                                                           \
      "max_unpool" #spatial                                                                                      \
      "d(Tensor input, Tensor indices, int[] kernel_size, int[]? stride=None, int[] padding=0, int[]? "          \
      "output_size=None)",                                                                                       \
      kNN, [](Args& a) { return max_unpool_call<spatial>(a); },                                                  \
      "Puts values back where max pooling found them, 0 elsewhere.");                                            \
  def(                                                                                                           \
      "lp_pool" #spatial                                                                                         \
      "d(Tensor input, float norm_type, int[] kernel_size, int[]? stride=None, bool ceil_mode=False)",           \
      kNN, [](Args& a) { return lp_pool_call<spatial>(a); }, "(sum of x^p over windows)^(1/p).");

}  // namespace

FS_BINDINGS(pool) {
  FS_EACH(1, "Largest entries of windows of (N, C, L) or (C, L).", "Means of windows of (N, C, L) or (C, L).")
  FS_EACH(2, "Largest entries of windows of (N, C, H, W) or (C, H, W).",
          "Means of windows of (N, C, H, W) or (C, H, W).")
  FS_EACH(3, "Largest entries of windows of (N, C, D, H, W) or (C, D, H, W).",
          "Means of windows of (N, C, D, H, W) or (C, D, H, W).")
}

}  // namespace fireseed::bind

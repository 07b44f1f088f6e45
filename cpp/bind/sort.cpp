// Python functions of the sort family.
#include "ops/sort.h"

#include "bind/fast_call.h"
#include "ops/pointwise.h"

namespace fireseed::bind {
namespace {

constexpr unsigned kBoth = kFunction | kMethod;

PyObject* values_indices(const char* name, const std::pair<Tensor, Tensor>& r) {
  return to_python(named(name, {"values", "indices"}, {r.first, r.second}));
}

// One tensor, or a tuple with what was asked for beside it.
PyObject* unique_result(const std::tuple<Tensor, Tensor, Tensor>& r, bool inverse, bool counts) {
  if (!inverse && !counts) return to_python(std::get<0>(r));
  std::vector<Tensor> out{std::get<0>(r)};
  if (inverse) out.push_back(std::get<1>(r));
  if (counts) out.push_back(std::get<2>(r));
  return to_python(out);
}

bool right_side(Args& a, int right, int side) {
  const auto s = a.opt_str(side);
  if (!s) return a.boolean(right);
  FS_CHECK(*s == "left" || *s == "right", "searchsorted: side can only be 'left' or 'right' but got ", *s);
  FS_CHECK(*s == "right" || !a.boolean(right),
           "searchsorted: side and right can't be set to opposites, got side of left while "
           "right was True");
  return *s == "right";
}

}  // namespace

FS_BINDINGS(sort) {
  def(
      "sort(Tensor input, int dim=-1, bool descending=False, bool stable=False)", kBoth,
      [](Args& a) { return values_indices("sort", sort(a.tensor(0), a.i64(1), a.boolean(2))); },
      "(values, indices) in order along dim; always stable, NaN last.");
  def("sort(Tensor input, *, bool? stable, int dim=-1, bool descending=False)", kBoth,
      [](Args& a) { return values_indices("sort", sort(a.tensor(0), a.i64(2), a.boolean(3))); });
  def(
      "argsort(Tensor input, int dim=-1, bool descending=False, bool stable=False)", kBoth,
      [](Args& a) { return argsort(a.tensor(0), a.i64(1), a.boolean(2)); }, "Indices that sort along dim.");
  def("msort(Tensor input)", kBoth, [](Args& a) { return sort(a.tensor(0), 0).first; });
  def(
      "topk(Tensor input, int k, int dim=-1, bool largest=True, bool sorted=True)", kBoth,
      [](Args& a) {
        return values_indices("topk", topk(a.tensor(0), a.i64(1), a.i64(2), a.boolean(3), a.boolean(4)));
      },
      "The k largest (or smallest) along dim, in order: (values, indices).");
  def("kthvalue(Tensor input, int k, int dim=-1, bool keepdim=False)", kBoth | kFreshOut | kExactOut,
      [](Args& a) { return values_indices("kthvalue", kthvalue(a.tensor(0), a.i64(1), a.i64(2), a.boolean(3))); });
  def(
      "median(Tensor input)", kBoth, [](Args& a) { return median(a.tensor(0)); },
      "The lower median of all elements; with dim: (values, indices).");
  def("median(Tensor input, int dim, bool keepdim=False)", kBoth,
      [](Args& a) { return values_indices("median", median(a.tensor(0), a.i64(1), a.boolean(2))); });
  def("nanmedian(Tensor input)", kBoth, [](Args& a) { return median(a.tensor(0), true); });
  def("nanmedian(Tensor input, int dim, bool keepdim=False)", kBoth,
      [](Args& a) { return values_indices("nanmedian", median(a.tensor(0), a.i64(1), a.boolean(2), true)); });
  def("mode(Tensor input, int dim=-1, bool keepdim=False)", kBoth,
      [](Args& a) { return values_indices("mode", mode_along(a.tensor(0), a.i64(1), a.boolean(2))); });
  def(
      "searchsorted(Tensor sorted_sequence, Operand input, *, bool out_int32=False, bool right=False, str? "
      "side=None, "
      "Tensor? sorter=None)",
      kFunction,
      [](Args& a) {
        return searchsorted(a.tensor(0), a.tensor(1), a.boolean(2), right_side(a, 3, 4), a.opt_tensor(5));
      },
      "Where the values would have to be inserted to keep the sequence sorted.");
  def("bucketize(Operand input, Tensor boundaries, *, bool out_int32=False, bool right=False)", kFunction,
      [](Args& a) {
        const Tensor& edges = a.tensor(1);
        FS_CHECK(edges.dim() == 1, "bucketize: boundaries tensor must be 1 dimension, but got dim(", edges.dim(),
                 ")");
        return searchsorted(edges, a.tensor(0), a.boolean(2), a.boolean(3));
      });
  def(
      "unique(Tensor input, bool sorted=True, bool return_inverse=False, bool return_counts=False, int? dim=None)",
      kBoth, [](Args& a) { return unique_result(unique(a.tensor(0), a.opt_i64(4)), a.boolean(2), a.boolean(3)); },
      "Sorted unique elements (or slices along dim), with inverse indices and counts on request.");
  def("unique_consecutive(Tensor input, bool return_inverse=False, bool return_counts=False, int? dim=None)", kBoth,
      [](Args& a) { return unique_result(unique(a.tensor(0), a.opt_i64(3), true), a.boolean(1), a.boolean(2)); });
  def("isin(Operand elements, Operand test_elements, *, bool assume_unique=False, bool invert=False)", kFunction,
      [](Args& a) { return isin(a.tensor(0), a.tensor(1), a.boolean(3)); });
}

}  // namespace fireseed::bind

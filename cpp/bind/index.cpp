// Python functions of the indexing family: select, gather, scatter, masks.
#include "ops/index.h"

#include <string>

#include "bind/fast_call.h"
#include "engine/apply.h"
#include "ops/copy.h"
#include "ops/pointwise.h"
#include "ops/records.h"
#include "ops/shape.h"

namespace fireseed::bind {
namespace {

// A sequence of tensors and None.
std::vector<Tensor> optional_tensors(PyObject* o, const char* op) {
  FS_CHECK_TYPE(PyTuple_Check(o) || PyList_Check(o), op, "(): argument 'indices' must be tuple of Tensors, not ",
                Py_TYPE(o)->tp_name);
  std::vector<Tensor> r;
  for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(o); ++i) {
    PyObject* item = PySequence_Fast_GET_ITEM(o, i);
    const Tensor* t = as_tensor(item);
    FS_CHECK_TYPE(t || item == Py_None, op, "(): expected Tensor or None as element ", i, " of 'indices', but got ",
                  Py_TYPE(item)->tp_name);
    r.push_back(t ? *t : Tensor());
  }
  return r;
}

// Writes y into the first argument, with its history.
PyObject* into_self(Args& a, const Tensor& y) {
  copy_(a.tensor(0), y);
  return a.self();
}

std::string old_reduce(std::string_view name) {
  FS_CHECK(name == "add" || name == "multiply", "scatter(): reduce argument must be either add or multiply, got ",
           std::string(name));
  return std::string(name);
}
std::string new_reduce(std::string_view name, const char* op) {
  FS_CHECK(name == "sum" || name == "prod" || name == "mean" || name == "amax" || name == "amin", op,
           "(): reduce argument must be either sum, prod, mean, amax or amin, got ", std::string(name));
  return std::string(name);
}

PyObject* nonzero_result(Args& a) {
  return a.boolean(1) ? to_python(nonzero_tuple(a.tensor(0))) : to_python(nonzero(a.tensor(0)));
}

}  // namespace

FS_BINDINGS(index) {
  constexpr unsigned kBoth = kFunction | kMethod;
  def(
      "index_select(Tensor input, int dim, Tensor index)", kBoth | kFreshOut | kExactOut,
      [](Args& a) { return index_select(a.tensor(0), a.i64(1), a.tensor(2)); },
      "The entries of input at index (int64 or int32 vector) along dim.");
  def(
      "index_add(Tensor input, int dim, Tensor index, Tensor source, *, Scalar alpha=1)", kBoth,
      [](Args& a) { return index_add(a.tensor(0), a.i64(1), a.tensor(2), a.tensor(3), a.scalar(4)); },
      "input + alpha * source added at the positions index along dim; the same bits for any number of threads.");
  def("index_add_(Tensor self, int dim, Tensor index, Tensor source, *, Scalar alpha=1)", kMethod, [](Args& a) {
    index_add_(a.tensor(0), a.i64(1), a.tensor(2), a.tensor(3), a.scalar(4));
    return a.self();
  });
  def(
      "index_copy(Tensor input, int dim, Tensor index, Tensor source)", kBoth,
      [](Args& a) { return index_copy(a.tensor(0), a.i64(1), a.tensor(2), a.tensor(3)); },
      "input with source written at the positions index along dim.");
  def("index_copy_(Tensor self, int dim, Tensor index, Tensor source)", kMethod, [](Args& a) {
    index_copy_(a.tensor(0), a.i64(1), a.tensor(2), a.tensor(3));
    return a.self();
  });
  def("index_fill(Tensor input, int dim, Tensor index, Tensor value)", kBoth,
      [](Args& a) { return index_fill(a.tensor(0), a.i64(1), a.tensor(2), a.tensor(3)); });
  def(
      "index_fill(Tensor input, int dim, Tensor index, Scalar value)", kBoth,
      [](Args& a) { return index_fill(a.tensor(0), a.i64(1), a.tensor(2), a.scalar(3)); },
      "input with value written at the positions index along dim.");
  def("index_fill_(Tensor self, int dim, Tensor index, Tensor value)", kMethod,
      [](Args& a) { return into_self(a, index_fill(a.tensor(0), a.i64(1), a.tensor(2), a.tensor(3))); });
  def("index_fill_(Tensor self, int dim, Tensor index, Scalar value)", kMethod, [](Args& a) {
    index_fill_(a.tensor(0), a.i64(1), a.tensor(2), a.scalar(3));
    return a.self();
  });
  def(
      "index_reduce(Tensor input, int dim, Tensor index, Tensor source, str reduce, *, bool include_self=True)",
      kBoth,
      [](Args& a) { return index_reduce(a.tensor(0), a.i64(1), a.tensor(2), a.tensor(3), a.str(4), a.boolean(5)); },
      "Reduces the entries of source into input at index along dim: prod, mean, amax or amin.");
  def("index_reduce_(Tensor self, int dim, Tensor index, Tensor source, str reduce, *, bool include_self=True)",
      kMethod, [](Args& a) {
        index_reduce_(a.tensor(0), a.i64(1), a.tensor(2), a.tensor(3), a.str(4), a.boolean(5));
        return a.self();
      });
  def(
      "index_put(Tensor input, object indices, Tensor values, bool accumulate=False)", kBoth,
      [](Args& a) {
        return index_put(a.tensor(0), optional_tensors(a.object(1), "index_put"), a.tensor(2), a.boolean(3));
      },
      "input with values written (or added) where indices point, as input[indices] = values.");
  def("index_put_(Tensor self, object indices, Tensor values, bool accumulate=False)", kBoth, [](Args& a) {
    index_put_(a.tensor(0), optional_tensors(a.object(1), "index_put_"), a.tensor(2), a.boolean(3));
    return a.self();
  });

  def(
      "gather(Tensor input, int dim, Tensor index, *, bool sparse_grad=False)", kBoth | kFreshOut | kExactOut,
      [](Args& a) { return gather(a.tensor(0), a.i64(1), a.tensor(2)); },
      "out[.., i, ..] = input[.., index[.., i, ..], ..] along dim.");
  def(
      "scatter(Tensor input, int dim, Tensor index, Tensor src)", kBoth,
      [](Args& a) { return scatter(a.tensor(0), a.i64(1), a.tensor(2), a.tensor(3)); },
      "input with out[.., index[.., i, ..], ..] = src[.., i, ..] along dim.");
  def("scatter(Tensor input, int dim, Tensor index, Tensor src, *, str reduce)", kBoth,
      [](Args& a) { return scatter(a.tensor(0), a.i64(1), a.tensor(2), a.tensor(3), old_reduce(a.str(4))); });
  def("scatter(Tensor input, int dim, Tensor index, Scalar value)", kBoth,
      [](Args& a) { return scatter(a.tensor(0), a.i64(1), a.tensor(2), a.scalar(3)); });
  def("scatter(Tensor input, int dim, Tensor index, Scalar value, *, str reduce)", kBoth,
      [](Args& a) { return scatter(a.tensor(0), a.i64(1), a.tensor(2), a.scalar(3), old_reduce(a.str(4))); });
  def("scatter_(Tensor self, int dim, Tensor index, Tensor src)", kMethod, [](Args& a) {
    scatter_(a.tensor(0), a.i64(1), a.tensor(2), a.tensor(3));
    return a.self();
  });
  def("scatter_(Tensor self, int dim, Tensor index, Tensor src, *, str reduce)", kMethod, [](Args& a) {
    scatter_(a.tensor(0), a.i64(1), a.tensor(2), a.tensor(3), old_reduce(a.str(4)));
    return a.self();
  });
  def("scatter_(Tensor self, int dim, Tensor index, Scalar value)", kMethod, [](Args& a) {
    scatter_(a.tensor(0), a.i64(1), a.tensor(2), a.scalar(3));
    return a.self();
  });
  def("scatter_(Tensor self, int dim, Tensor index, Scalar value, *, str reduce)", kMethod, [](Args& a) {
    scatter_(a.tensor(0), a.i64(1), a.tensor(2), a.scalar(3), old_reduce(a.str(4)));
    return a.self();
  });
  def(
      "scatter_add(Tensor input, int dim, Tensor index, Tensor src)", kBoth,
      [](Args& a) { return scatter_add(a.tensor(0), a.i64(1), a.tensor(2), a.tensor(3)); },
      "input with src added at index along dim; the same bits for any number of threads.");
  def("scatter_add_(Tensor self, int dim, Tensor index, Tensor src)", kMethod, [](Args& a) {
    scatter_(a.tensor(0), a.i64(1), a.tensor(2), a.tensor(3), "add");
    return a.self();
  });
  def(
      "scatter_reduce(Tensor input, int dim, Tensor index, Tensor src, str reduce, *, bool include_self=True)", kBoth,
      [](Args& a) {
        return scatter(a.tensor(0), a.i64(1), a.tensor(2), a.tensor(3), new_reduce(a.str(4), "scatter_reduce"),
                       a.boolean(5));
      },
      "Reduces src into input at index along dim: sum, prod, mean, amax or amin.");
  def("scatter_reduce_(Tensor self, int dim, Tensor index, Tensor src, str reduce, *, bool include_self=True)",
      kMethod, [](Args& a) {
        scatter_(a.tensor(0), a.i64(1), a.tensor(2), a.tensor(3), new_reduce(a.str(4), "scatter_reduce_"),
                 a.boolean(5));
        return a.self();
      });
  def(
      "take(Tensor input, Tensor index)", kBoth | kFreshOut | kExactOut,
      [](Args& a) { return take(a.tensor(0), a.tensor(1)); }, "Elements of the flattened input at index.");
  def(
      "take_along_dim(Tensor input, Tensor indices, int? dim=None)", kBoth,
      [](Args& a) {
        return a.given(2) ? take_along_dim(a.tensor(0), a.tensor(1), a.i64(2))
                          : take_along_dim(a.tensor(0), a.tensor(1));
      },
      "Values of input at indices along dim, the other dimensions broadcast; what argmax and argsort return fits.");
  def("put(Tensor input, Tensor index, Tensor source, bool accumulate=False)", kBoth | kInPlace,
      [](Args& a) { return put(a.tensor(0), a.tensor(1), a.tensor(2), a.boolean(3)); });

  def("masked_fill(Tensor input, Tensor mask, Tensor value)", kBoth,
      [](Args& a) { return masked_fill(a.tensor(0), a.tensor(1), a.tensor(2)); });
  def(
      "masked_fill(Tensor input, Tensor mask, Scalar value)", kBoth,
      [](Args& a) { return masked_fill(a.tensor(0), a.tensor(1), a.scalar(2)); },
      "input with value where the bool mask (broadcast) is true.");
  def("masked_fill_(Tensor self, Tensor mask, Tensor value)", kMethod, [](Args& a) {
    if (a.tensor(2).requires_grad()) return into_self(a, masked_fill(a.tensor(0), a.tensor(1), a.tensor(2)));
    FS_CHECK(a.tensor(2).dim() == 0, "masked_fill_ only supports a 0-dimensional value tensor, but got tensor with ",
             a.tensor(2).dim(), " dimension(s).");
    masked_fill_(a.tensor(0), a.tensor(1), item(a.tensor(2)));
    return a.self();
  });
  def("masked_fill_(Tensor self, Tensor mask, Scalar value)", kMethod, [](Args& a) {
    masked_fill_(a.tensor(0), a.tensor(1), a.scalar(2));
    return a.self();
  });
  def(
      "masked_select(Tensor input, Tensor mask)", kBoth | kFreshOut | kExactOut,
      [](Args& a) { return masked_select(a.tensor(0), a.tensor(1)); },
      "The elements of input where the bool mask is true, as a vector.");
  def(
      "masked_scatter(Tensor input, Tensor mask, Tensor source)", kBoth | kInPlace,
      [](Args& a) { return masked_scatter(a.tensor(0), a.tensor(1), a.tensor(2)); },
      "input with the masked elements replaced by those of source, in order.");
  def(
      "nonzero(Tensor input, *, bool as_tuple=False)", kBoth, [](Args& a) { return nonzero_result(a); },
      "Coordinates of the elements that are not zero: int64 (n, rank), or one vector a dimension.");
  def("nonzero_static(Tensor input, *, int size, int fill_value=-1)", kBoth,
      [](Args& a) { return nonzero_static(a.tensor(0), a.i64(1), a.i64(2)); });
  def(
      "select_scatter(Tensor input, Tensor src, int dim, int index)", kBoth,
      [](Args& a) { return select_scatter(a.tensor(0), a.tensor(1), a.i64(2), a.i64(3)); },
      "input with src as its entry index along dim.");
  def(
      "slice_scatter(Tensor input, Tensor src, int dim=0, int? start=None, int? end=None, int step=1)", kBoth,
      [](Args& a) { return slice_scatter(a.tensor(0), a.tensor(1), a.i64(2), a.opt_i64(3), a.opt_i64(4), a.i64(5)); },
      "input with src as its slice start:end:step along dim.");
  def(
      "diagonal_scatter(Tensor input, Tensor src, int offset=0, int dim1=0, int dim2=1)", kBoth,
      [](Args& a) { return diagonal_scatter(a.tensor(0), a.tensor(1), a.i64(2), a.i64(3), a.i64(4)); },
      "input with src as its diagonal.");
  def("diagonal_copy(Tensor input, int offset=0, int dim1=0, int dim2=1)", kFunction,
      [](Args& a) { return clone(diagonal(a.tensor(0), a.i64(1), a.i64(2), a.i64(3))); });
  def("argwhere(Tensor input)", kBoth, [](Args& a) { return nonzero(a.tensor(0)); });
  def(
      "bincount(Tensor input, Tensor? weights=None, int minlength=0)", kBoth,
      [](Args& a) { return bincount(a.tensor(0), a.opt_tensor(1), a.i64(2)); },
      "How often each value of a vector of non-negative integers occurs, or the sum of its weights.");
  def(
      "histc(Tensor input, int bins=100, Scalar min=0, Scalar max=0)", kBoth,
      [](Args& a) { return histc(a.tensor(0), a.i64(1), a.scalar(2).to_double(), a.scalar(3).to_double()); },
      "Counts of input in equal bins of [min, max]; of its own range where both are equal.");
  def("where(Tensor condition)", kFunction, [](Args& a) { return nonzero_tuple(a.tensor(0)); });
}

}  // namespace fireseed::bind

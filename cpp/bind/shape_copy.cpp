// Python functions of shapes beside the views: splits, the copying forms of views, and what is left of complex
// functions for real tensors.
#include "bind/fast_call.h"
#include "bind/python_types.h"
#include "bind/registry.h"
#include "ops/copy.h"
#include "ops/index.h"
#include "ops/pointwise.h"
#include "ops/shape.h"

namespace fireseed::bind {
namespace {

constexpr unsigned kBoth = kFunction | kMethod;

std::vector<Tensor> copies(std::vector<Tensor> views) {
  for (Tensor& t : views) t = clone(t);
  return views;
}
std::vector<int64_t> list_of(const Dims& d) { return {d.begin(), d.end()}; }

// hsplit, vsplit, dsplit: x cut along dim at the indices, or in equal sections.
int64_t split_dim(const Tensor& x, int64_t least, int64_t dim, const char* op) {
  FS_CHECK(x.dim() >= least, "torch.", op, " requires a tensor with at least ", least,
           " dimension(s), but got a tensor with ", x.dim(), " dimensions!");
  return dim;
}
std::vector<Tensor> equal_sections(const Tensor& x, int64_t n, int64_t dim, const char* op) {
  FS_CHECK(n > 0 && x.size(dim) % n == 0, "torch.", op, " attempted to split along dimension ", dim,
           ", but the size of the dimension ", x.size(dim), " is not divisible by the split_size ", n, "!");
  return tensor_split(x, n, dim);
}
int64_t hsplit_dim(const Tensor& x) { return split_dim(x, 1, x.dim() > 1 ? 1 : 0, "hsplit"); }
int64_t vsplit_dim(const Tensor& x) { return split_dim(x, 2, 0, "vsplit"); }
int64_t dsplit_dim(const Tensor& x) { return split_dim(x, 3, 2, "dsplit"); }

Tensor sum_to_size(const Tensor& x, const Dims& sizes) {
  bool fits = sizes.n <= x.dim();
  for (int64_t i = 0; fits && i < sizes.n; ++i) fits = sizes[i] == 1 || sizes[i] == x.size(x.dim() - sizes.n + i);
  FS_CHECK(fits, "sum_to_size: size ", sizes, " is not expandable to size ", x.sizes());
  return sum_to(x, sizes);
}

Tensor as_strided_scatter(const Tensor& x, const Tensor& src, const Dims& sizes, const Dims& strides,
                          std::optional<int64_t> offset) {
  Tensor r = clone_keeping_layout(x);
  const Tensor window = as_strided(r, sizes, strides, offset);
  FS_CHECK(src.sizes() == sizes,
           "as_strided_scatter: expected src to have a size equal to the slice of self. src size = ", src.sizes(),
           ", slice size = ", sizes);
  copy_(window, src);
  return r;
}

// Uninitialised, with the dimensions lying in memory in the order of `layout`.
Tensor empty_permuted(const Dims& sizes, const Dims& layout, DType dtype, Device device) {
  FS_CHECK(layout.n == sizes.n,
           "Number of dimensions in size does not match the length of the physical_layout; i.e. "
           "len(size) = ",
           sizes.n, " is not equal to len(physical_layout) = ", layout.n);
  Dims strides = sizes;
  bool seen[kMaxRank] = {};
  int64_t step = 1;
  for (int64_t i = layout.n - 1; i >= 0; --i) {
    const int64_t d = layout[i];
    FS_CHECK(d >= 0 && d < sizes.n, "Dimension out of range (expected to be between 0 and ", sizes.n - 1,
             ", but got ", d, " at index ", i,
             ").  NB: negative dims not currently supported; file an issue if you want it.");
    FS_CHECK(!seen[d], "Duplicate dim not allowed in physical_layout: dimension ", d);
    seen[d] = true;
    strides[d] = step;
    step *= sizes[d] > 1 ? sizes[d] : 1;
  }
  return empty_strided(sizes, strides, dtype, device);
}

// pi where negative, else 0; NaN stays.
Tensor angle(const Tensor& input) {
  const Tensor x = as_float(input);
  return where(isnan(x), x, where(x < 0.0, 3.14159265358979323846, x * 0.0));
}

}  // namespace

#define FS_SPLIT(name)                                                      \
  def(#name "(Tensor input, int indices_or_sections)", kBoth, [](Args& a) { \
    const int64_t d = name##_dim(a.tensor(0));                              \
    return equal_sections(a.tensor(0), a.i64(1), d, #name);                 \
  });                                                                       \
  def(#name "(Tensor input, int[] indices_or_sections)", kBoth,             \
      [](Args& a) { return tensor_split(a.tensor(0), list_of(a.dims(1)), name##_dim(a.tensor(0))); });

FS_BINDINGS(shape_copy) {
  FS_SPLIT(hsplit)
  FS_SPLIT(vsplit)
  FS_SPLIT(dsplit)
  def("unsafe_split(Tensor input, int split_size, int dim=0)", kBoth,
      [](Args& a) { return split(a.tensor(0), a.i64(1), a.i64(2)); });
  def("unsafe_split_with_sizes(Tensor input, int[] split_sizes, int dim=0)", kBoth,
      [](Args& a) { return split_with_sizes(a.tensor(0), list_of(a.dims(1)), a.i64(2)); });
  def("unsafe_chunk(Tensor input, int chunks, int dim=0)", kBoth,
      [](Args& a) { return chunk(a.tensor(0), a.i64(1), a.i64(2)); });
  def("sum_to_size(Tensor self, int... size)", kMethod, [](Args& a) { return sum_to_size(a.tensor(0), a.dims(1)); });
  def(
      "as_strided_scatter(Tensor input, Tensor src, int[] size, int[] stride, int? storage_offset=None)", kBoth,
      [](Args& a) { return as_strided_scatter(a.tensor(0), a.tensor(1), a.dims(2), a.dims(3), a.opt_i64(4)); },
      "input with src in place of the window as_strided gives.");
  def("empty_permuted(int[] size, int[] physical_layout, *, dtype? dtype=None, object layout=None, device? "
      "device=None, "
      "bool requires_grad=False, bool pin_memory=False)",
      kFunction, [](Args& a) {
        const DType t = a.opt_dtype(2) == DType::kUndefined ? default_dtype() : a.opt_dtype(2);
        const Tensor r = empty_permuted(a.dims(0), a.dims(1), t, a.opt_device(4));
        if (a.boolean(5)) set_requires_grad(r, true);
        return r;
      });

  // Copies of views
  def("alias_copy(Tensor input)", kFunction, [](Args& a) { return clone_keeping_layout(a.tensor(0)); });
  def("detach_copy(Tensor input)", kFunction, [](Args& a) { return clone(detach(a.tensor(0))); });
  def("view_copy(Tensor input, int[] size)", kFunction, [](Args& a) { return clone(view(a.tensor(0), a.dims(1))); });
  def("expand_copy(Tensor input, int[] size, *, bool implicit=False)", kFunction,
      [](Args& a) { return clone(expand(a.tensor(0), a.dims(1))); });
  def("permute_copy(Tensor input, int[] dims)", kFunction,
      [](Args& a) { return clone(permute(a.tensor(0), a.dims(1))); });
  def("transpose_copy(Tensor input, int dim0, int dim1)", kFunction,
      [](Args& a) { return clone(transpose(a.tensor(0), a.i64(1), a.i64(2))); });
  def("t_copy(Tensor input)", kFunction, [](Args& a) { return clone(t(a.tensor(0))); });
  def("squeeze_copy(Tensor input)", kFunction, [](Args& a) { return clone(squeeze(a.tensor(0))); });
  def("squeeze_copy(Tensor input, int[] dim)", kFunction,
      [](Args& a) { return clone(squeeze(a.tensor(0), a.dims(1))); });
  def("unsqueeze_copy(Tensor input, int dim)", kFunction,
      [](Args& a) { return clone(unsqueeze(a.tensor(0), a.i64(1))); });
  def("select_copy(Tensor input, int dim, int index)", kFunction,
      [](Args& a) { return clone(select(a.tensor(0), a.i64(1), a.i64(2))); });
  def("slice_copy(Tensor input, int dim=0, int? start=None, int? end=None, int step=1)", kFunction,
      [](Args& a) { return clone(slice(a.tensor(0), a.i64(1), a.opt_i64(2), a.opt_i64(3), a.i64(4))); });
  def("narrow_copy(Tensor input, int dim, int start, int length)", kBoth,
      [](Args& a) { return clone(narrow(a.tensor(0), a.i64(1), a.i64(2), a.i64(3))); });
  def("unfold_copy(Tensor input, int dimension, int size, int step)", kFunction,
      [](Args& a) { return clone(unfold(a.tensor(0), a.i64(1), a.i64(2), a.i64(3))); });
  def("as_strided_copy(Tensor input, int[] size, int[] stride, int? storage_offset=None)", kFunction,
      [](Args& a) { return clone(as_strided(a.tensor(0), a.dims(1), a.dims(2), a.opt_i64(3))); });
  def("unbind_copy(Tensor input, int dim=0)", kFunction,
      [](Args& a) { return copies(unbind(a.tensor(0), a.i64(1))); });
  def("split_copy(Tensor input, int split_size, int dim=0)", kFunction,
      [](Args& a) { return copies(split(a.tensor(0), a.i64(1), a.i64(2))); });
  def("split_with_sizes_copy(Tensor input, int[] split_sizes, int dim=0)", kFunction,
      [](Args& a) { return copies(split_with_sizes(a.tensor(0), list_of(a.dims(1)), a.i64(2))); });

  // Complex functions of real tensors: the tensor itself.
  for (const char* s : {"conj(Tensor input)", "conj_physical(Tensor input)", "conj_physical_(Tensor input)",
                        "resolve_conj(Tensor input)", "resolve_neg(Tensor input)"})
    def(s, kBoth, [](Args& a) {
      a.tensor(0);
      return a.self();
    });
  def("real(Tensor input)", kFunction, [](Args& a) {
    a.tensor(0);
    return a.self();
  });
  def("imag(Tensor input)", kFunction, [](Args& a) -> PyObject* {
    a.tensor(0);
    fail(ErrorKind::kRuntime, "imag is not implemented for tensors with non-complex dtypes.");
  });
  for (const char* s : {"is_conj(Tensor input)", "is_neg(Tensor input)"})
    def(s, kBoth, [](Args& a) {
      a.tensor(0);
      return false;
    });
  def(
      "angle(Tensor input)", kBoth, [](Args& a) { return angle(a.tensor(0)); },
      "pi where input is negative, 0 where it is not, NaN where it is NaN.");
}

}  // namespace fireseed::bind

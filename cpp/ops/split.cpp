// Functions that make several views of one tensor: unbind, split, chunk, tensor_split.
#include <algorithm>

#include "engine/apply.h"
#include "ops/records.h"
#include "ops/shape.h"
#include "tensor/attrs/shape.h"

namespace fireseed {

namespace {
// In-place writes to them are refused where a gradient flows, as PyTorch's rules for such views are.
std::vector<Tensor> several_views(std::vector<Tensor> views) {
  for (const Tensor& v : views) v.impl()->set(TensorImpl::kMultiView, true);
  return views;
}
}  // namespace

std::vector<Tensor> unbind(const Tensor& x, int64_t dim) {
  FS_CHECK(x.dim() > 0, "unbind: Dimension specified as ", dim, " but tensor has no dimensions");
  dim = wrap_dim(dim, x.dim(), "unbind");
  std::vector<Tensor> r;
  r.reserve(static_cast<size_t>(x.size(dim)));
  for (int64_t i = 0; i < x.size(dim); ++i) r.push_back(apply1(op::select, {x}, SliceAttrs{dim, i, 1, 0}));
  return several_views(std::move(r));
}

std::vector<Tensor> split(const Tensor& x, int64_t size, int64_t dim) {
  FS_CHECK(x.dim() > 0, "split expects at least a 1-dimensional tensor");
  dim = wrap_dim(dim, x.dim(), "split");
  const int64_t n = x.size(dim);
  FS_CHECK(size >= 0, "split expects split_size be non-negative, but got split_size=", size);
  FS_CHECK(size > 0 || n == 0, "split_size can only be 0 if dimension size is 0, but got dimension size of ", n);
  std::vector<Tensor> r;
  if (n == 0) return several_views({slice(x, dim, 0, 0)});
  for (int64_t i = 0; i < n; i += size)
    r.push_back(apply1(op::slice, {x}, SliceAttrs{dim, i, 1, std::min(size, n - i)}));
  return several_views(std::move(r));
}

std::vector<Tensor> split_with_sizes(const Tensor& x, const std::vector<int64_t>& sizes, int64_t dim) {
  FS_CHECK(x.dim() > 0, "split expects at least a 1-dimensional tensor");
  dim = wrap_dim(dim, x.dim(), "split");
  int64_t total = 0;
  for (int64_t s : sizes) {
    FS_CHECK(s >= 0, "split_with_sizes expects split_sizes have only non-negative entries, but got ", s);
    total += s;
  }
  FS_CHECK(total == x.size(dim), "split_with_sizes expects split_sizes to sum exactly to ", x.size(dim),
           " (input tensor's size at dimension ", dim, "), but got a sum of ", total);
  std::vector<Tensor> r;
  int64_t at = 0;
  for (int64_t s : sizes) {
    r.push_back(apply1(op::slice, {x}, SliceAttrs{dim, at, 1, s}));
    at += s;
  }
  return several_views(std::move(r));
}

std::vector<Tensor> chunk(const Tensor& x, int64_t chunks, int64_t dim) {
  FS_CHECK(x.dim() > 0, "chunk expects at least a 1-dimensional tensor");
  FS_CHECK(chunks > 0, "chunk expects `chunks` to be greater than 0, got: ", chunks);
  const int64_t d = wrap_dim(dim, x.dim(), "chunk"), n = x.size(d);
  const int64_t size = (n + chunks - 1) / chunks;
  if (size == 0) return split_with_sizes(x, std::vector<int64_t>(static_cast<size_t>(chunks), 0), d);
  return split(x, size, d);
}

std::vector<Tensor> tensor_split(const Tensor& x, int64_t sections, int64_t dim) {
  FS_CHECK(x.dim() > 0, "tensor_split expected at least a 1-dimensional tensor, but got a tensor with 0 dims");
  FS_CHECK(sections > 0, "number of sections must be larger than 0, got ", sections);
  const int64_t d = wrap_dim(dim, x.dim(), "tensor_split"), n = x.size(d);
  std::vector<Tensor> r;
  int64_t at = 0;
  for (int64_t i = 0; i < sections; ++i) {
    const int64_t len = n / sections + (i < n % sections ? 1 : 0);
    r.push_back(apply1(op::slice, {x}, SliceAttrs{d, at, 1, len}));
    at += len;
  }
  return r;
}
std::vector<Tensor> tensor_split(const Tensor& x, const std::vector<int64_t>& at, int64_t dim) {
  FS_CHECK(x.dim() > 0, "tensor_split expected at least a 1-dimensional tensor, but got a tensor with 0 dims");
  const int64_t d = wrap_dim(dim, x.dim(), "tensor_split");
  std::vector<Tensor> r;
  int64_t start = 0;
  for (int64_t end : at) {
    r.push_back(slice(x, d, start, end));
    start = end;
  }
  r.push_back(slice(x, d, start, std::nullopt));
  return r;
}

}  // namespace fireseed

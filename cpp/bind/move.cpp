// Python functions of the family that moves elements: joining, repeating, reversing, triangles, padding, unfolding.
#include "ops/move.h"

#include <string>

#include "bind/fast_call.h"
#include "ops/copy.h"
#include "ops/shape.h"

namespace fireseed::bind {
namespace {

Dims dims_or(Args& a, int i, const Dims& fallback) { return a.given(i) ? a.dims(i) : fallback; }

// tril_indices and triu_indices: dtype int64 by default, CPU only.
DType index_dtype(Args& a, int i) { return a.opt_dtype(i) == DType::kUndefined ? DType::kInt64 : a.opt_dtype(i); }

}  // namespace

FS_BINDINGS(move) {
  constexpr unsigned kBoth = kFunction | kMethod;
  for (const char* name : {"cat", "concat", "concatenate"}) {
    const std::string text = std::string(name) + "(Tensor[] tensors, int dim=0)";
    def(
        text.c_str(), kFunction | kFreshOut, [](Args& a) { return cat(a.tensors(0), a.i64(1)); },
        "The tensors one after the other along dim; dtypes are promoted.");
  }
  def(
      "stack(Tensor[] tensors, int dim=0)", kFunction, [](Args& a) { return stack(a.tensors(0), a.i64(1)); },
      "Tensors of one shape side by side along a new dimension.");
  def("hstack(Tensor[] tensors)", kFunction, [](Args& a) { return hstack(a.tensors(0)); });
  def("vstack(Tensor[] tensors)", kFunction, [](Args& a) { return vstack(a.tensors(0)); });
  def("row_stack(Tensor[] tensors)", kFunction, [](Args& a) { return vstack(a.tensors(0)); });
  def("dstack(Tensor[] tensors)", kFunction, [](Args& a) { return dstack(a.tensors(0)); });
  def("column_stack(Tensor[] tensors)", kFunction, [](Args& a) { return column_stack(a.tensors(0)); });
  def("_block_diag(Tensor[] tensors)", kPrivate, [](Args& a) { return block_diag(a.tensors(0)); });
  def("_meshgrid(Tensor[] tensors, str indexing='ij')", kPrivate,
      [](Args& a) { return meshgrid(a.tensors(0), a.str(1)); });
  def("_cartesian_prod(Tensor[] tensors)", kPrivate, [](Args& a) { return cartesian_prod(a.tensors(0)); });
  def("_broadcast_tensors(Tensor[] tensors)", kPrivate, [](Args& a) { return broadcast_tensors(a.tensors(0)); });
  def("combinations(Tensor input, int r=2, bool with_replacement=False)", kFunction,
      [](Args& a) { return combinations(a.tensor(0), a.i64(1), a.boolean(2)); });

  def(
      "flip(Tensor input, int... dims)", kBoth, [](Args& a) { return flip(a.tensor(0), a.dims(1)); },
      "input with the given dimensions reversed (a copy).");
  def("fliplr(Tensor input)", kBoth, [](Args& a) { return fliplr(a.tensor(0)); });
  def("flipud(Tensor input)", kBoth, [](Args& a) { return flipud(a.tensor(0)); });
  def(
      "roll(Tensor input, int[] shifts, int[] dims=[])", kBoth,
      [](Args& a) { return roll(a.tensor(0), a.dims(1), dims_or(a, 2, Dims{})); },
      "input rolled by shifts along dims (or flattened); what leaves one end comes back at the other.");
  def("rot90(Tensor input, int k=1, int[] dims=[0, 1])", kBoth,
      [](Args& a) { return rot90(a.tensor(0), a.i64(1), a.dims(2)); });
  def(
      "repeat(Tensor self, int... repeats)", kMethod, [](Args& a) { return repeat(a.tensor(0), a.dims(1)); },
      "self tiled repeats[d] times along each dimension.");
  def("tile(Tensor input, int... dims)", kBoth, [](Args& a) { return tile(a.tensor(0), a.dims(1)); });
  def(
      "repeat_interleave(Tensor input, int repeats, int? dim=None, *, int? output_size=None)", kBoth,
      [](Args& a) { return repeat_interleave(a.tensor(0), a.i64(1), a.opt_i64(2)); },
      "Each entry along dim repeated (flattened without dim).");
  def("repeat_interleave(Tensor input, Tensor repeats, int? dim=None, *, int? output_size=None)", kBoth,
      [](Args& a) { return repeat_interleave(a.tensor(0), a.tensor(1), a.opt_i64(2), a.opt_i64(3)); });
  def("repeat_interleave(Tensor repeats, *, int? output_size=None)", kFunction,
      [](Args& a) { return repeat_interleave(a.tensor(0), a.opt_i64(1)); });

  def(
      "tril(Tensor input, int diagonal=0)", kBoth | kInPlace, [](Args& a) { return tril(a.tensor(0), a.i64(1)); },
      "The lower triangle of each matrix, zero above the diagonal.");
  def(
      "triu(Tensor input, int diagonal=0)", kBoth | kInPlace, [](Args& a) { return triu(a.tensor(0), a.i64(1)); },
      "The upper triangle of each matrix, zero below the diagonal.");
  def("tril_indices(int row, int col, int offset=0, *, dtype? dtype=None, device? device=None, object layout=None)",
      kFunction,
      [](Args& a) { return tril_indices(a.i64(0), a.i64(1), a.i64(2), index_dtype(a, 3), a.opt_device(4)); });
  def("triu_indices(int row, int col, int offset=0, *, dtype? dtype=None, device? device=None, object layout=None)",
      kFunction,
      [](Args& a) { return triu_indices(a.i64(0), a.i64(1), a.i64(2), index_dtype(a, 3), a.opt_device(4)); });
  def(
      "diag(Tensor input, int diagonal=0)", kBoth, [](Args& a) { return diag(a.tensor(0), a.i64(1)); },
      "A vector as the diagonal of a matrix, or the diagonal of a matrix.");
  def("diag_embed(Tensor input, int offset=0, int dim1=-2, int dim2=-1)", kBoth,
      [](Args& a) { return diag_embed(a.tensor(0), a.i64(1), a.i64(2), a.i64(3)); });
  def("diagflat(Tensor input, int offset=0)", kBoth, [](Args& a) { return diagflat(a.tensor(0), a.i64(1)); });

  def(
      "one_hot(Tensor tensor, int num_classes=-1)", kNN, [](Args& a) { return one_hot(a.tensor(0), a.i64(1)); },
      "int64 (shape, num_classes): 1 at the class, 0 elsewhere.");
  def(
      "pad(Tensor input, int[] pad, str mode='constant', Scalar? value=None)", kNN,
      [](Args& a) {
        const std::string_view mode = a.str(2);
        const Scalar value = a.given(3) ? a.scalar(3) : Scalar(0);
        FS_CHECK_VALUE(mode == "constant" || value.to_double() == 0, "Padding mode \"", std::string(mode),
                       "\" doesn't take in value argument");
        return pad(a.tensor(0), a.dims(1), mode, value);
      },
      "Pads the last len(pad) / 2 dimensions, (before, after) from the last backwards; modes constant, reflect, "
      "replicate, circular.");
  def("constant_pad_nd(Tensor input, int[] pad, Scalar value=0)", kFunction,
      [](Args& a) { return constant_pad(a.tensor(0), a.dims(1), a.scalar(2)); });
  def(
      "unfold(Tensor input, int[] kernel_size, int[] dilation=1, int[] padding=0, int[] stride=1)", kNN,
      [](Args& a) { return im2col(a.tensor(0), a.dims(1), a.dims(2), a.dims(3), a.dims(4)); },
      "Sliding windows of images as columns: (N, C, H, W) -> (N, C * kh * kw, L).");
  def(
      "fold(Tensor input, int[] output_size, int[] kernel_size, int[] dilation=1, int[] padding=0, int[] stride=1)",
      kNN, [](Args& a) { return col2im(a.tensor(0), a.dims(1), a.dims(2), a.dims(3), a.dims(4), a.dims(5)); },
      "Sums columns back into images: (N, C * kh * kw, L) -> (N, C, H, W).");
  def("pixel_shuffle(Tensor input, int upscale_factor)", kFunction | kNN,
      [](Args& a) { return pixel_shuffle(a.tensor(0), a.i64(1)); });
  def("pixel_unshuffle(Tensor input, int downscale_factor)", kFunction | kNN,
      [](Args& a) { return pixel_unshuffle(a.tensor(0), a.i64(1)); });
  def("channel_shuffle(Tensor input, int groups)", kFunction | kNN,
      [](Args& a) { return channel_shuffle(a.tensor(0), a.i64(1)); });
}

}  // namespace fireseed::bind

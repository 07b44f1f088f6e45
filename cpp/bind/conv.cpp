// Python names of the convolutions.
#include "bind/fast_call.h"
#include "ops/conv.h"

namespace fireseed::bind {
namespace {

template <int kRank>
Tensor forward(Args& a) {
  return convolve(kRank, a.tensor(0), a.tensor(1), a.opt_tensor(2), a.dims(3), a.dims(4), a.dims(5), a.i64(6));
}
template <int kRank>
Tensor forward_named(Args& a) {  // padding="same" or "valid"
  const std::string_view padding = a.str(4);
  FS_CHECK(padding == "same" || padding == "valid", "Invalid padding string: '", padding, "'");
  return convolve(kRank, a.tensor(0), a.tensor(1), a.opt_tensor(2), a.dims(3), Dims{0}, a.dims(5), a.i64(6),
                  padding == "same" ? ConvPadding::kSame : ConvPadding::kValid);
}
template <int kRank>
Tensor transposed(Args& a) {
  return convolve_transpose(kRank, a.tensor(0), a.tensor(1), a.opt_tensor(2), a.dims(3), a.dims(4), a.dims(5),
                            a.i64(6), a.dims(7));
}

}  // namespace

#define FS_CONV(rank, doc)                                                                                        \
  def(                                                                                                            \
      "conv" #rank                                                                                                \
      "d(Tensor input, Tensor weight, Tensor? bias=None, int[] stride=1, int[] padding=0, int[] dilation=1, "     \
      "int groups=1)",                                                                                            \
      kNN, [](Args& a) { return forward<rank>(a); }, doc);                                                        \
  def(                                                                                                            \
      "conv" #rank                                                                                                \
      "d(Tensor input, Tensor weight, Tensor? bias=None, int[] stride=1, str padding='valid', int[] dilation=1, " \
      "int groups=1)",                                                                                            \
      kNN, [](Args& a) { return forward_named<rank>(a); }, doc);                                                  \
  def(                                                                                                            \
      "conv_transpose" #rank                                                                                      \
      "d(Tensor input, Tensor weight, Tensor? bias=None, int[] stride=1, int[] padding=0, "                       \
      "int[] output_padding=0, int groups=1, int[] dilation=1)",                                                  \
      kNN, [](Args& a) { return transposed<rank>(a); },                                                           \
      "The gradient of conv" #rank "d to its input, as an op: weight is (in, out / groups, kernel...).")

FS_BINDINGS(conv) {
  FS_CONV(1,
          "input (n, c, w), weight (m, c / groups, kw), bias (m): (n, m, (w + 2 padding - dilation (kw - 1) - 1) / "
          "stride + 1).");
  FS_CONV(2, "input (n, c, h, w), weight (m, c / groups, kh, kw), bias (m); padding also 'same' or 'valid'.");
  FS_CONV(3, "input (n, c, d, h, w), weight (m, c / groups, kd, kh, kw), bias (m); padding also 'same' or 'valid'.");
}

}  // namespace fireseed::bind

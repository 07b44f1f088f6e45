// What a convolution reads along one axis, for its pixels and for those of its gradient to the input.
#pragma once

#include "math/num.h"

namespace fireseed {
inline namespace FS_MATH_NAMESPACE {

// Tap i of pixel p reads source element p * step + off0 + i * doff (zero outside [0, src)) and multiplies it with the
// kernel's element ker0 + i * dker.
struct ConvAxis {
  int64_t out;   // pixels of the grid
  int64_t step;  // source elements from pixel to pixel
  int64_t src;   // source size
  int64_t taps;
  int64_t off0, doff;
  int64_t ker0, dker;
};

// The axis of conv: `kernel` taps, `out` pixels.
inline ConvAxis conv_axis(int64_t stride, int64_t padding, int64_t dilation, int64_t src, int64_t kernel,
                          int64_t out) {
  return {out, stride, src, kernel, -padding, dilation, 0, 1};
}

// Pixels r, r + stride, … of the `in` ones of conv_backward_input, whose source is a gradient of size src: a
// convolution with stride 1 by the taps that fall onto them, which may be none.
inline ConvAxis conv_phase(int64_t stride, int64_t padding, int64_t dilation, int64_t src, int64_t kernel, int64_t in,
                           int64_t r) {
  ConvAxis a = {(in - r + stride - 1) / stride, 1, src, 0, 0, 0, 0, 0};
  int64_t gcd = stride;
  for (int64_t b = dilation; b;) {
    const int64_t rest = gcd % b;
    gcd = b;
    b = rest;
  }
  const int64_t dk = stride / gcd;  // taps that fall onto one phase are dk apart
  for (int64_t k0 = 0; k0 < dk && k0 < kernel; ++k0)
    if ((r + padding - k0 * dilation) % stride == 0) {
      a.taps = (kernel - k0 + dk - 1) / dk;
      a.off0 = (r + padding - k0 * dilation) / stride;
      a.doff = -(dk * dilation / stride);
      a.ker0 = k0;
      a.dker = dk;
      break;
    }
  return a;
}

}  // namespace FS_MATH_NAMESPACE
}  // namespace fireseed

// Where the outputs of a resampling read along one dimension, and with which weights; for every device.
#pragma once

#include "math/num.h"
#include "tensor/attrs/interpolate.h"

namespace fireseed {
inline namespace FS_MATH_NAMESPACE {

// Distance of neighbouring outputs, in inputs.
template <class C>
FS_FN C source_scale(const InterpolateAttrs& a, int i) {
  const C in = static_cast<C>(a.in[i]), out = static_cast<C>(a.out[i]);
  if (a.align_corners) return a.out[i] > 1 ? (in - C(1)) / (out - C(1)) : C(0);
  return a.scale[i] > 0 ? static_cast<C>(1.0 / a.scale[i]) : in / out;
}
FS_FN float floor_number(float x) { return ::floorf(x); }
FS_FN double floor_number(double x) { return ::floor(x); }

// Keys' cubic kernel with A = -0.75 at distance t in [0, 1] from the second of four points.
template <class C>
FS_FN void cubic_weights(C t, C (&w)[4]) {
  const C a = static_cast<C>(-0.75);
  const auto near = [a](C x) { return ((a + 2) * x - (a + 3)) * x * x + 1; };
  const auto far = [a](C x) { return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a; };
  w[0] = far(t + 1);
  w[1] = near(t);
  w[2] = near(1 - t);
  w[3] = far(2 - t);
}

// The filter of antialiased resizing: triangle, or Keys with a = -0.5 (as PIL).
template <class C>
FS_FN C antialias_filter(C x, bool cubic) {
  x = x < C(0) ? -x : x;
  if (!cubic) return x < C(1) ? C(1) - x : C(0);
  const C a = static_cast<C>(-0.5);
  if (x < C(1)) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < C(2)) return (((x - 5) * x + 8) * x - 4) * a;
  return C(0);
}

// Inputs that an output reads along dimension i, at most.
template <class C>
FS_FN int64_t tap_count(const InterpolateAttrs& a, int i) {
  if (i < 3 - a.spatial || a.mode == InterpolateMode::kNearest || a.mode == InterpolateMode::kNearestExact) return 1;
  const bool cubic = a.mode == InterpolateMode::kCubic;
  if (!a.antialias) return cubic ? 4 : 2;
  const C scale = source_scale<C>(a, i);
  const C half = static_cast<C>(cubic ? 2 : 1) * (scale >= C(1) ? scale : C(1));
  return static_cast<int64_t>(2 * half) + 3;
}

// Calls set(t, from, weight) for the taps t < count of output o along dimension i. `from` may lie outside the input:
// the nearest entry is meant. count: tap_count.
template <class C, class F>
FS_FN void output_taps(const InterpolateAttrs& a, int i, int64_t o, int64_t count, const F& set) {
  const int64_t in = a.in[i], out = a.out[i];
  if (i < 3 - a.spatial) return set(0, int64_t{0}, C(1));
  if (a.mode == InterpolateMode::kNearest || a.mode == InterpolateMode::kNearestExact) {
    // In float, as PyTorch's; exact multiples of the first kind are mapped in integers.
    const float s =
        a.scale[i] > 0 ? static_cast<float>(1.0 / a.scale[i]) : static_cast<float>(in) / static_cast<float>(out);
    if (a.mode == InterpolateMode::kNearestExact)
      return set(0, static_cast<int64_t>(floor_number((static_cast<float>(o) + 0.5f) * s)), C(1));
    if (out == in) return set(0, o, C(1));
    if (out == 2 * in) return set(0, o >> 1, C(1));
    return set(0, static_cast<int64_t>(floor_number(static_cast<float>(o) * s)), C(1));
  }
  const bool cubic = a.mode == InterpolateMode::kCubic;
  const C scale = source_scale<C>(a, i);
  if (a.antialias) {
    const C half = static_cast<C>(cubic ? 2 : 1), support = scale >= C(1) ? half * scale : half;
    const C inverse = scale >= C(1) ? C(1) / scale : C(1), center = scale * (static_cast<C>(o) + static_cast<C>(0.5));
    int64_t first = static_cast<int64_t>(center - support + static_cast<C>(0.5));
    int64_t last = static_cast<int64_t>(center + support + static_cast<C>(0.5));
    first = first > 0 ? first : 0;
    last = last < in ? last : in;
    last = last < first + count ? last : first + count;
    const auto weight = [&](int64_t j) {
      return antialias_filter((static_cast<C>(j) - center + static_cast<C>(0.5)) * inverse, cubic);
    };
    C total = C(0);
    for (int64_t j = first; j < last; ++j) total += weight(j);
    for (int64_t t = 0; t < count; ++t) {
      const int64_t j = first + t;
      if (j >= last) set(t, first, C(0));
      else set(t, j, total != C(0) ? weight(j) / total : weight(j));
    }
    return;
  }
  C at = a.align_corners ? scale * static_cast<C>(o)
                         : scale * (static_cast<C>(o) + static_cast<C>(0.5)) - static_cast<C>(0.5);
  if (cubic) {
    const C low = floor_number(at);
    C w[4];
    cubic_weights(at - low, w);
    for (int64_t j = 0; j < 4; ++j) set(j, static_cast<int64_t>(low) - 1 + j, w[j]);
    return;
  }
  if (in == out && scale == C(1)) {
    set(0, o, C(1));
    return set(1, o, C(0));
  }
  if (at < C(0)) at = C(0);
  int64_t low = static_cast<int64_t>(at);
  low = low < in - 1 ? low : in - 1;
  C t = at - static_cast<C>(low);
  t = t < C(0) ? C(0) : t > C(1) ? C(1) : t;
  set(0, low, C(1) - t);
  set(1, low + (low < in - 1), t);
}

}  // namespace FS_MATH_NAMESPACE
}  // namespace fireseed

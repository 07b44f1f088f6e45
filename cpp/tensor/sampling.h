// How a point of a grid reads its neighbours along one dimension; for every device.
#pragma once

#include "tensor/attrs/grid_sample.h"
#include "tensor/resample.h"

namespace fireseed {
inline namespace FS_MATH_NAMESPACE {

// To the nearest integer, ties to the even one.
FS_FN float round_number(float x) { return ::rintf(x); }
FS_FN double round_number(double x) { return ::rint(x); }

// Coordinates of [-1, 1] as positions: x = (coordinate + 1) * scale - shift.
template <class C>
FS_FN C grid_scale(const GridSampleAttrs& a, int64_t size) {
  return static_cast<C>(a.align_corners ? size - 1 : size) / C(2);
}
template <class C>
FS_FN C grid_shift(const GridSampleAttrs& a) {
  return a.align_corners ? C(0) : C(0.5);
}

// x reflected into [low, low + span]; slope is multiplied with the derivative.
template <class C>
FS_FN void reflect_inside(C& x, C& slope, C low, C span) {
  const C from = x - low, distance = from < C(0) ? -from : from;
  C flips = floor_number(distance / (span == C(0) ? C(1) : span));
  flips = span == C(0) ? C(0) : flips;
  const C rest = distance - flips * span;
  const bool odd = flips - C(2) * floor_number(flips * C(0.5)) != C(0);
  const C turned = odd ? -slope : slope;
  slope = from < C(0) ? -turned : turned;
  x = (odd ? span - rest : rest) + low;
}
// x brought into [0, last]; the slope of what was outside, and of NaN, is 0.
template <class C>
FS_FN void clip_inside(C& x, C& slope, C last) {
  const C v = x;
  slope = v > C(0) && v < last ? slope : C(0);
  const C above = v > C(0) ? v : C(0);  // NaN goes to 0
  x = above < last ? above : last;
}
// The lower neighbour of x in linear sampling and the weight of the upper one; what is infinite or NaN lies outside.
template <class C>
FS_FN void linear_place(C x, C& low, C& upper) {
  const C v = x > C(-2e9) && x < C(2e9) ? x : C(-100);
  low = floor_number(v);
  upper = v - low;
}
// x as an index of [0, end), or -1.
template <class I, class C>
FS_FN I index_inside(C x, C end) {
  const bool in = x >= C(0) && x < end;
  return static_cast<I>(in ? x : C(-1));
}

// Keys' cubic kernel with A = -0.75 at distance t in [0, 1] from the second of four points, and its derivative.
template <class C>
FS_FN void cubic_taps(C t, C (&w)[4], C (&slope)[4]) {
  const auto near = [](C x) { return (C(1.25) * x - C(2.25)) * x * x + C(1); };
  const auto far = [](C x) { return ((C(-0.75) * x + C(3.75)) * x - C(6)) * x + C(3); };
  const auto near_slope = [](C x) { return (C(3.75) * x - C(4.5)) * x; };
  const auto far_slope = [](C x) { return (C(-2.25) * x + C(7.5)) * x - C(6); };
  w[0] = far(t + C(1));
  w[1] = near(t);
  w[2] = near(C(1) - t);
  w[3] = far(C(2) - t);
  slope[0] = far_slope(t + C(1));
  slope[1] = near_slope(t);
  slope[2] = -near_slope(C(1) - t);
  slope[3] = -far_slope(C(2) - t);
}

}  // namespace FS_MATH_NAMESPACE
}  // namespace fireseed

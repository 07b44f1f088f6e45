// Which functors hold for integers as well as for floats.
#pragma once

#include "math/functors.h"

namespace fireseed {
inline namespace FS_MATH_NAMESPACE {

// The formula holds for integers too.
template <class F> inline constexpr bool kOnIntegers = false;

template <> inline constexpr bool kOnIntegers<Neg> = true;
template <> inline constexpr bool kOnIntegers<Abs> = true;
template <> inline constexpr bool kOnIntegers<Sign> = true;
template <> inline constexpr bool kOnIntegers<Square> = true;
template <> inline constexpr bool kOnIntegers<AddScalar> = true;
template <> inline constexpr bool kOnIntegers<RsubScalar> = true;
template <> inline constexpr bool kOnIntegers<MulScalar> = true;
template <> inline constexpr bool kOnIntegers<Clamp> = true;
template <> inline constexpr bool kOnIntegers<Relu> = true;
template <> inline constexpr bool kOnIntegers<Hardtanh> = true;
template <> inline constexpr bool kOnIntegers<Threshold> = true;
template <> inline constexpr bool kOnIntegers<Add> = true;
template <> inline constexpr bool kOnIntegers<Sub> = true;
template <> inline constexpr bool kOnIntegers<Mul> = true;
template <> inline constexpr bool kOnIntegers<Maximum> = true;
template <> inline constexpr bool kOnIntegers<Minimum> = true;
template <> inline constexpr bool kOnIntegers<Fmax> = true;
template <> inline constexpr bool kOnIntegers<Fmin> = true;
template <> inline constexpr bool kOnIntegers<Heaviside> = true;
template <> inline constexpr bool kOnIntegers<Addcmul> = true;
template <> inline constexpr bool kOnIntegers<ClampTensor> = true;
template <> inline constexpr bool kOnIntegers<Eq> = true;
template <> inline constexpr bool kOnIntegers<Ne> = true;
template <> inline constexpr bool kOnIntegers<Lt> = true;
template <> inline constexpr bool kOnIntegers<Le> = true;
template <> inline constexpr bool kOnIntegers<Gt> = true;
template <> inline constexpr bool kOnIntegers<Ge> = true;
template <> inline constexpr bool kOnIntegers<LogicalAnd> = true;
template <> inline constexpr bool kOnIntegers<LogicalOr> = true;
template <> inline constexpr bool kOnIntegers<LogicalXor> = true;
template <> inline constexpr bool kOnIntegers<LogicalNot> = true;

}  // namespace FS_MATH_NAMESPACE
}  // namespace fireseed

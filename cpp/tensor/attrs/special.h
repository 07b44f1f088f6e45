// Attributes of the special functions: which of them.
#pragma once

#include <cstdint>

namespace fireseed {

// Of one number.
enum class SpecialFunction : int64_t {
  kAiryAi,
  kBesselJ0,
  kBesselJ1,
  kBesselY0,
  kBesselY1,
  kI0e,
  kI1e,
  kModifiedBesselI0,
  kModifiedBesselI1,
  kModifiedBesselK0,
  kModifiedBesselK1,
  kScaledModifiedBesselK0,
  kScaledModifiedBesselK1,
  kSphericalBesselJ0,
  kErfcx,
  kEntr,
  kLogNdtr,
  kNdtri,
};
// Of two numbers; the polynomials of argument and degree.
enum class SpecialPair : int64_t {
  kIgamma,
  kIgammac,
  kZeta,
  kChebyshevT,
  kChebyshevU,
  kChebyshevV,
  kChebyshevW,
  kShiftedChebyshevT,
  kShiftedChebyshevU,
  kShiftedChebyshevV,
  kShiftedChebyshevW,
  kHermiteH,
  kHermiteHe,
  kLaguerreL,
  kLegendreP,
};

struct SpecialAttrs { SpecialFunction function = SpecialFunction::kAiryAi; };
struct SpecialPairAttrs { SpecialPair function = SpecialPair::kIgamma; };

}  // namespace fireseed

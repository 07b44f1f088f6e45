// Python names of the special functions: fireseed.special, igamma and igammac.
#include "ops/special.h"

#include "bind/fast_call.h"
#include "bind/function.h"

namespace fireseed::bind {
namespace {

Tensor pair(SpecialPair f, Args& a) {
  const Tensor &x = a.tensor(0), &y = a.tensor(1);
  FS_CHECK_TYPE(!(x.is_wrapped_number() && y.is_wrapped_number()), a.function().name,
                "(): expected a Tensor among the operands, got two numbers");
  return special(f, x, y);
}

}  // namespace

#define FS_SPECIAL(name, function) \
  def(name "(Tensor input)", kSpecial, [](Args& a) { return special(SpecialFunction::function, a.tensor(0)); });
#define FS_POLYNOMIAL(name, function) \
  def(name "(Operand input, Operand n)", kSpecial, [](Args& a) { return pair(SpecialPair::function, a); });

FS_BINDINGS(special) {
  FS_SPECIAL("airy_ai", kAiryAi)
  FS_SPECIAL("bessel_j0", kBesselJ0)
  FS_SPECIAL("bessel_j1", kBesselJ1)
  FS_SPECIAL("bessel_y0", kBesselY0)
  FS_SPECIAL("bessel_y1", kBesselY1)
  FS_SPECIAL("i0e", kI0e)
  FS_SPECIAL("i1e", kI1e)
  FS_SPECIAL("modified_bessel_i0", kModifiedBesselI0)
  FS_SPECIAL("modified_bessel_i1", kModifiedBesselI1)
  FS_SPECIAL("modified_bessel_k0", kModifiedBesselK0)
  FS_SPECIAL("modified_bessel_k1", kModifiedBesselK1)
  FS_SPECIAL("scaled_modified_bessel_k0", kScaledModifiedBesselK0)
  FS_SPECIAL("scaled_modified_bessel_k1", kScaledModifiedBesselK1)
  FS_SPECIAL("spherical_bessel_j0", kSphericalBesselJ0)
  FS_SPECIAL("erfcx", kErfcx)
  FS_SPECIAL("entr", kEntr)
  FS_SPECIAL("log_ndtr", kLogNdtr)
  FS_SPECIAL("ndtri", kNdtri)

  FS_POLYNOMIAL("chebyshev_polynomial_t", kChebyshevT)
  FS_POLYNOMIAL("chebyshev_polynomial_u", kChebyshevU)
  FS_POLYNOMIAL("chebyshev_polynomial_v", kChebyshevV)
  FS_POLYNOMIAL("chebyshev_polynomial_w", kChebyshevW)
  FS_POLYNOMIAL("shifted_chebyshev_polynomial_t", kShiftedChebyshevT)
  FS_POLYNOMIAL("shifted_chebyshev_polynomial_u", kShiftedChebyshevU)
  FS_POLYNOMIAL("shifted_chebyshev_polynomial_v", kShiftedChebyshevV)
  FS_POLYNOMIAL("shifted_chebyshev_polynomial_w", kShiftedChebyshevW)
  FS_POLYNOMIAL("hermite_polynomial_h", kHermiteH)
  FS_POLYNOMIAL("hermite_polynomial_he", kHermiteHe)
  FS_POLYNOMIAL("laguerre_polynomial_l", kLaguerreL)
  FS_POLYNOMIAL("legendre_polynomial_p", kLegendreP)

  def(
      "zeta(Operand input, Operand other)", kSpecial, [](Args& a) { return pair(SpecialPair::kZeta, a); },
      "Hurwitz zeta function: sum over k >= 0 of (k + other)^-input.");
  def(
      "igamma(Tensor input, Tensor other)", kFunction | kMethod | kInPlace,
      [](Args& a) { return special(SpecialPair::kIgamma, a.tensor(0), a.tensor(1)); },
      "Regularised lower incomplete gamma function P(input, other).");
  def(
      "igammac(Tensor input, Tensor other)", kFunction | kMethod | kInPlace,
      [](Args& a) { return special(SpecialPair::kIgammac, a.tensor(0), a.tensor(1)); },
      "Regularised upper incomplete gamma function Q(input, other).");
  def("gammainc(Tensor input, Tensor other)", kSpecial,
      [](Args& a) { return special(SpecialPair::kIgamma, a.tensor(0), a.tensor(1)); });
  def("gammaincc(Tensor input, Tensor other)", kSpecial,
      [](Args& a) { return special(SpecialPair::kIgammac, a.tensor(0), a.tensor(1)); });
  def(
      "frexp(Tensor input)", kFunction | kMethod,
      [](Args& a) {
        const auto r = frexp(a.tensor(0));
        return named("frexp", {"mantissa", "exponent"}, {r.first, r.second});
      },
      "input = mantissa 2^exponent, 1/2 <= |mantissa| < 1.");
}

}  // namespace fireseed::bind

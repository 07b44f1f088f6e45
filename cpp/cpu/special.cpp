// Special functions that are used rarely: numbers one by one, in double.
#include "cpu/contiguous.h"
#include "cpu/pointwise.h"
#include "math/special.h"
#include "math/special_polynomial.h"
#include "tensor/attrs/special.h"

namespace fireseed::cpu::FS_ISA {
namespace {

namespace number = ::fireseed::FS_MATH_NAMESPACE::detail;
using Function1 = double (*)(double);
using Function2 = double (*)(double, double);

Function1 function_of(SpecialFunction f) {
  switch (f) {
    case SpecialFunction::kAiryAi: return number::airy_ai_number;
    case SpecialFunction::kBesselJ0: return [](double x) { return ::j0(x); };
    case SpecialFunction::kBesselJ1: return [](double x) { return ::j1(x); };
    case SpecialFunction::kBesselY0: return [](double x) { return ::y0(x); };
    case SpecialFunction::kBesselY1: return [](double x) { return ::y1(x); };
    case SpecialFunction::kI0e: return number::i0e_number;
    case SpecialFunction::kI1e: return number::i1e_number;
    case SpecialFunction::kModifiedBesselI0: return number::i0_number;
    case SpecialFunction::kModifiedBesselI1: return number::i1_number;
    case SpecialFunction::kModifiedBesselK0: return number::k0_number<false>;
    case SpecialFunction::kModifiedBesselK1: return number::k1_number<false>;
    case SpecialFunction::kScaledModifiedBesselK0: return number::k0_number<true>;
    case SpecialFunction::kScaledModifiedBesselK1: return number::k1_number<true>;
    case SpecialFunction::kSphericalBesselJ0: return number::spherical_j0_number;
    case SpecialFunction::kErfcx: return number::erfcx_number;
    case SpecialFunction::kEntr: return number::entr_number;
    case SpecialFunction::kLogNdtr: return number::log_ndtr_number;
    case SpecialFunction::kNdtri: return number::ndtri_number;
  }
  return nullptr;
}
Function2 function_of(SpecialPair f) {
  switch (f) {
    case SpecialPair::kIgamma: return number::igamma_number;
    case SpecialPair::kIgammac: return number::igammac_number;
    case SpecialPair::kZeta: return number::zeta_number;
    case SpecialPair::kChebyshevT: return number::chebyshev_t_number;
    case SpecialPair::kChebyshevU: return number::chebyshev_u_number;
    case SpecialPair::kChebyshevV: return number::chebyshev_v_number;
    case SpecialPair::kChebyshevW: return number::chebyshev_w_number;
    case SpecialPair::kShiftedChebyshevT: return number::shifted_chebyshev_t_number;
    case SpecialPair::kShiftedChebyshevU: return number::shifted_chebyshev_u_number;
    case SpecialPair::kShiftedChebyshevV: return number::shifted_chebyshev_v_number;
    case SpecialPair::kShiftedChebyshevW: return number::shifted_chebyshev_w_number;
    case SpecialPair::kHermiteH: return number::hermite_h_number;
    case SpecialPair::kHermiteHe: return number::hermite_he_number;
    case SpecialPair::kLaguerreL: return number::laguerre_l_number;
    case SpecialPair::kLegendreP: return number::legendre_p_number;
  }
  return nullptr;
}

template <class T>
void special_core(char* const* p, const int64_t* step, int64_t n, const void* attrs, bool) {
  const Function1 f = function_of(static_cast<const SpecialAttrs*>(attrs)->function);
  T* out = reinterpret_cast<T*>(p[0]);
  const T* x = reinterpret_cast<const T*>(p[1]);
  for (int64_t i = 0; i < n; ++i) out[i] = static_cast<T>(f(static_cast<double>(x[i * step[1]])));
}
template <class T>
void special_pair_core(char* const* p, const int64_t* step, int64_t n, const void* attrs, bool) {
  const Function2 f = function_of(static_cast<const SpecialPairAttrs*>(attrs)->function);
  T* out = reinterpret_cast<T*>(p[0]);
  const T *x = reinterpret_cast<const T*>(p[1]), *y = reinterpret_cast<const T*>(p[2]);
  for (int64_t i = 0; i < n; ++i)
    out[i] = static_cast<T>(f(static_cast<double>(x[i * step[1]]), static_cast<double>(y[i * step[2]])));
}

}  // namespace

void special(const KernelArgs& args) {
  const bool wide = args.out[0].dtype == DType::kFloat64;
  run_pointwise(args, wide ? &special_core<double> : &special_core<float>, args.attrs_ptr);
}
void special_pair(const KernelArgs& args) {
  const bool wide = args.out[0].dtype == DType::kFloat64;
  run_pointwise(args, wide ? &special_pair_core<double> : &special_pair_core<float>, args.attrs_ptr);
}

// x = mantissa 2^exponent, 1/2 <= |mantissa| < 1.
void frexp(const KernelArgs& args) {
  const int64_t n = args.in[0].numel;
  int32_t* exponent = args.out[1].ptr<int32_t>();
  dispatch_float(args.in[0].dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_type<T>;
    const Contiguous<T> in(args.in[0]);
    T* mantissa = args.out[0].ptr<T>();
    for (int64_t i = 0; i < n; ++i) {
      int e;
      mantissa[i] = narrow_to<T>(::frexp(static_cast<double>(widen_from<C>(in.data()[i])), &e));
      exponent[i] = e;
    }
  });
}

}  // namespace fireseed::cpu::FS_ISA

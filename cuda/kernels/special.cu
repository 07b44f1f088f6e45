// Special functions that are used rarely, in double; frexp.
// Rarely used: a wheel has it as PTX.
#include "device/contiguous.cuh"
#include "kernels/pointwise.cuh"
#include "math/special_polynomial.h"
#include "tensor/attrs/special.h"

namespace fireseed::cuda {
namespace {

namespace number = ::fireseed::FS_MATH_NAMESPACE::detail;

__device__ __attribute__((noinline)) double special_number(SpecialFunction f, double x) {
  switch (f) {
    case SpecialFunction::kAiryAi: return number::airy_ai_number(x);
    case SpecialFunction::kBesselJ0: return ::j0(x);
    case SpecialFunction::kBesselJ1: return ::j1(x);
    case SpecialFunction::kBesselY0: return ::y0(x);
    case SpecialFunction::kBesselY1: return ::y1(x);
    case SpecialFunction::kI0e: return number::i0e_number(x);
    case SpecialFunction::kI1e: return number::i1e_number(x);
    case SpecialFunction::kModifiedBesselI0: return number::i0_number(x);
    case SpecialFunction::kModifiedBesselI1: return number::i1_number(x);
    case SpecialFunction::kModifiedBesselK0: return number::k0_number<false>(x);
    case SpecialFunction::kModifiedBesselK1: return number::k1_number<false>(x);
    case SpecialFunction::kScaledModifiedBesselK0: return number::k0_number<true>(x);
    case SpecialFunction::kScaledModifiedBesselK1: return number::k1_number<true>(x);
    case SpecialFunction::kSphericalBesselJ0: return number::spherical_j0_number(x);
    case SpecialFunction::kErfcx: return number::erfcx_number(x);
    case SpecialFunction::kEntr: return number::entr_number(x);
    case SpecialFunction::kLogNdtr: return number::log_ndtr_number(x);
    case SpecialFunction::kNdtri: return number::ndtri_number(x);
  }
  return 0.0;
}
__device__ __attribute__((noinline)) double special_number(SpecialPair f, double x, double y) {
  switch (f) {
    case SpecialPair::kIgamma: return number::igamma_number(x, y);
    case SpecialPair::kIgammac: return number::igammac_number(x, y);
    case SpecialPair::kZeta: return number::zeta_number(x, y);
    case SpecialPair::kChebyshevT: return number::chebyshev_t_number(x, y);
    case SpecialPair::kChebyshevU: return number::chebyshev_u_number(x, y);
    case SpecialPair::kChebyshevV: return number::chebyshev_v_number(x, y);
    case SpecialPair::kChebyshevW: return number::chebyshev_w_number(x, y);
    case SpecialPair::kShiftedChebyshevT: return number::shifted_chebyshev_t_number(x, y);
    case SpecialPair::kShiftedChebyshevU: return number::shifted_chebyshev_u_number(x, y);
    case SpecialPair::kShiftedChebyshevV: return number::shifted_chebyshev_v_number(x, y);
    case SpecialPair::kShiftedChebyshevW: return number::shifted_chebyshev_w_number(x, y);
    case SpecialPair::kHermiteH: return number::hermite_h_number(x, y);
    case SpecialPair::kHermiteHe: return number::hermite_he_number(x, y);
    case SpecialPair::kLaguerreL: return number::laguerre_l_number(x, y);
    case SpecialPair::kLegendreP: return number::legendre_p_number(x, y);
  }
  return 0.0;
}

// The attributes are the functors' parameters.
struct Special {
  SpecialFunction function = SpecialFunction::kAiryAi;
  template <class V>
  __device__ __forceinline__ V forward(V x) const {
    return V(special_number(function, static_cast<double>(x.v)));
  }
};
struct SpecialOfTwo {
  SpecialPair function = SpecialPair::kIgamma;
  template <class V>
  __device__ __forceinline__ V forward(V x, V y) const {
    return V(special_number(function, static_cast<double>(x.v), static_cast<double>(y.v)));
  }
};
struct SpecialFormulas : ItemList<Item<ForwardCall1, Special>, Item<ForwardCall2, SpecialOfTwo>> {};

// x = mantissa 2^exponent, 1/2 <= |mantissa| < 1.
template <class T>
__global__ void frexp_kernel(const T* x, T* mantissa, int32_t* exponent, int64_t n) {
  for (int64_t i = grid_thread(); i < n; i += grid_threads()) {
    int e;
    mantissa[i] =
        store_as<T>(static_cast<compute_type<T>>(::frexp(static_cast<double>(load_as<compute_type<T>>(x[i])), &e)));
    exponent[i] = e;
  }
}

}  // namespace

void special(const KernelArgs& args) { float_kernel<SpecialFormulas, ForwardCall1, Special>(args); }
void special_pair(const KernelArgs& args) { float_kernel<SpecialFormulas, ForwardCall2, SpecialOfTwo>(args); }

void frexp(const KernelArgs& args) {
  const int64_t n = args.in[0].numel;
  const Contiguous x(args.in[0]);
  dispatch_float(args.in[0].dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    FS_LAUNCH((frexp_kernel<T>), grid_for(n, 256, 1 << 16), 256, 0, current_stream(), x.ptr<T>(),
              args.out[0].ptr<T>(), args.out[1].ptr<int32_t>(), n);
  });
}

}  // namespace fireseed::cuda

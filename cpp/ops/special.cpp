// Records, gradients and functions of the special functions; formulas in math/special_*.h.
#include "ops/special.h"

#include "ops/copy.h"
#include "ops/pointwise_rules.h"

namespace fireseed {
namespace {

const char* name_of(SpecialFunction f) {
  static constexpr const char* kNames[] = {"special_airy_ai",
                                           "special_bessel_j0",
                                           "special_bessel_j1",
                                           "special_bessel_y0",
                                           "special_bessel_y1",
                                           "special_i0e",
                                           "special_i1e",
                                           "special_modified_bessel_i0",
                                           "special_modified_bessel_i1",
                                           "special_modified_bessel_k0",
                                           "special_modified_bessel_k1",
                                           "special_scaled_modified_bessel_k0",
                                           "special_scaled_modified_bessel_k1",
                                           "special_spherical_bessel_j0"};
  return kNames[static_cast<int64_t>(f)];
}
const char* name_of(SpecialPair f) {
  static constexpr const char* kNames[] = {"igamma: input",
                                           "igammac: input",
                                           "zeta: self",
                                           "special_chebyshev_polynomial_t",
                                           "special_chebyshev_polynomial_u",
                                           "special_chebyshev_polynomial_v",
                                           "special_chebyshev_polynomial_w",
                                           "special_shifted_chebyshev_polynomial_t",
                                           "special_shifted_chebyshev_polynomial_u",
                                           "special_shifted_chebyshev_polynomial_v",
                                           "special_shifted_chebyshev_polynomial_w",
                                           "special_hermite_polynomial_h",
                                           "special_hermite_polynomial_he",
                                           "special_laguerre_polynomial_l",
                                           "special_legendre_polynomial_p"};
  return kNames[static_cast<int64_t>(f)];
}
[[noreturn]] void no_gradient(const char* name) {
  fail(ErrorKind::kRuntime, "derivative for ", name, " is not implemented");
}

void special_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  const SpecialFunction f = c.attrs<SpecialAttrs>().function;
  const Tensor x = c.input(0), y = c.output(0);
  switch (f) {
    case SpecialFunction::kI0e: gx[0] = g[0] * (special(SpecialFunction::kI1e, x) - sign(x) * y); return;
    case SpecialFunction::kI1e: {
      const Tensor at_zero = x == 0.0, away = where(at_zero, 1.0, x);
      gx[0] = g[0] * where(at_zero, 0.5, special(SpecialFunction::kI0e, away) - y * (sign(away) + reciprocal(away)));
      return;
    }
    case SpecialFunction::kErfcx: gx[0] = g[0] * (2.0 * x * y - 1.12837916709551257390); return;
    case SpecialFunction::kEntr: gx[0] = g[0] * (-1.0 - log(x)); return;
    case SpecialFunction::kLogNdtr:
      gx[0] = g[0] / special(SpecialFunction::kErfcx, x * -0.707106781186547524401) * 0.797884560802865355880;
      return;
    case SpecialFunction::kNdtri: gx[0] = g[0] * exp(square(y) * 0.5) * 2.50662827463100050242; return;
    default: no_gradient(name_of(f));
  }
}

void special_pair_infer(Inputs in, const void*, Tensor* out) { broadcast_infer("special", in, in[0].dtype(), out); }
void special_pair_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  const SpecialPair f = c.attrs<SpecialPairAttrs>().function;
  if (c.needs(0) || f > SpecialPair::kZeta) no_gradient(name_of(f));
  const Tensor a = c.input(0), x = c.input(1);
  if (f == SpecialPair::kZeta) {
    gx[1] = g[0] * neg(a) * special(SpecialPair::kZeta, a + 1.0, x);
    return;
  }
  const Tensor weight = exp((a - 1.0) * log(x) - x - lgamma(a));
  gx[1] = f == SpecialPair::kIgamma ? g[0] * weight : neg(g[0]) * weight;
}

void frexp_infer(Inputs in, const void*, Tensor* out) {
  out[0] = make_shell(in[0].sizes(), in[0].dtype(), in[0].device());
  out[1] = make_shell(in[0].sizes(), DType::kInt32, in[0].device());
}
void frexp_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  if (g[0].defined()) gx[0] = g[0] / exp2(to(c.output(1), g[0].dtype()));
}

}  // namespace

constinit Op op::frexp{
    .name = "frexp", .saves = save_output(1), .num_outputs = 2, .infer = frexp_infer, .vjp = frexp_vjp};
constinit Op op::special{.name = "special",
                         .flags = kPointwiseFlags,
                         .saves = save_input(0) | save_output(0),
                         .attrs_size = sizeof(SpecialAttrs),
                         .infer = unary_infer,
                         .vjp = special_vjp};
constinit Op op::special_pair{.name = "special_pair",
                              .flags = kPointwiseFlags,
                              .saves = save_input(0) | save_input(1),
                              .attrs_size = sizeof(SpecialPairAttrs),
                              .infer = special_pair_infer,
                              .vjp = special_pair_vjp};

Tensor special(SpecialFunction function, const Tensor& x) {
  return apply1(op::special, {as_float(x)}, SpecialAttrs{function});
}
Tensor special(SpecialPair function, const Tensor& x, const Tensor& y) {
  DType t = result_type(x, y);
  if (!is_floating(t)) t = default_dtype();
  return apply1(op::special_pair, {cast_operand(x, t), cast_operand(y, t)}, SpecialPairAttrs{function});
}

std::pair<Tensor, Tensor> frexp(const Tensor& x) {
  FS_CHECK(x.is_floating(), "torch.frexp() only supports floating-point dtypes, got ", dtype_name(x.dtype()));
  Tensor out[2];
  apply(op::frexp, Inputs(&x, 1), nullptr, out);
  return {out[0], out[1]};
}

}  // namespace fireseed

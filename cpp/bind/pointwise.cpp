// Python names of the elementwise functions of one input.
#include "bind/fast_call.h"
#include "bind/function.h"
#include "ops/copy.h"
#include "ops/pointwise.h"
#include "ops/records.h"

namespace fireseed::bind {

namespace {

std::optional<Scalar> bound(Args& a, int i) { return a.opt_scalar(i); }

// x <- f(x) for functions of several ops: f sees a copy where the gradient needs the old value.
template <class F>
PyObject* replace(Args& a, F&& f) {
  const Tensor x = a.tensor(0);
  check_inplace(x, a.function().name.c_str());
  const Tensor y = f(x.requires_grad() ? clone(x) : x);
  FS_CHECK(x.is_floating() || !y.is_floating(), a.function().name, ": result type ", dtype_name(y.dtype()),
           " can't be cast to the desired output type ", dtype_name(x.dtype()));
  copy_(x, y);
  return a.self();
}

// log of the multivariate gamma function of dimension p.
Tensor mvlgamma(const Tensor& input, int64_t p) {
  const Tensor x = as_float(input);
  FS_CHECK(p >= 1, "p has to be greater than or equal to 1, got ", p);
  Tensor r = lgamma(x);
  for (int64_t j = 1; j < p; ++j) r = add(r, lgamma(add(x, -0.5 * static_cast<double>(j))));
  return add(r, static_cast<double>(p * (p - 1)) * 0.25 * 1.14472988584940017414);  // log(pi) p (p - 1) / 4
}

}  // namespace

// name(x), x.name() and both in-place spellings.
#define FS_DEF1(python, function, record, float_only)                                               \
  def(python "(Tensor input)", kFunction | kMethod, [](Args& a) { return function(a.tensor(0)); }); \
  def(python "_(Tensor input)", kFunction | kMethod, [](Args& a) {                                  \
    unary_(op::record, a.tensor(0), nullptr, float_only);                                           \
    return a.self();                                                                                \
  });
#define FS_FLOAT1(name) FS_DEF1(#name, name, name, true)
#define FS_SPECIAL1(python, name) def(python "(Tensor input)", kSpecial, [](Args& a) { return name(a.tensor(0)); });

FS_BINDINGS(pointwise_unary) {
  FS_FLOAT1(exp)
  FS_FLOAT1(exp2)
  FS_FLOAT1(expm1)
  FS_FLOAT1(log)
  FS_FLOAT1(log2)
  FS_FLOAT1(log10)
  FS_FLOAT1(log1p)
  FS_FLOAT1(sqrt)
  FS_FLOAT1(rsqrt)
  FS_FLOAT1(reciprocal)
  FS_FLOAT1(sin)
  FS_FLOAT1(cos)
  FS_FLOAT1(tan)
  FS_FLOAT1(asin)
  FS_FLOAT1(acos)
  FS_FLOAT1(atan)
  FS_FLOAT1(sinh)
  FS_FLOAT1(cosh)
  FS_FLOAT1(tanh)
  FS_FLOAT1(asinh)
  FS_FLOAT1(acosh)
  FS_FLOAT1(atanh)
  FS_FLOAT1(sinc)
  FS_FLOAT1(deg2rad)
  FS_FLOAT1(rad2deg)
  FS_FLOAT1(erf)
  FS_FLOAT1(erfc)
  FS_FLOAT1(erfinv)
  FS_FLOAT1(lgamma)
  FS_FLOAT1(digamma)
  FS_FLOAT1(i0)
  FS_FLOAT1(sigmoid)
  FS_DEF1("arcsin", asin, asin, true)
  FS_DEF1("arccos", acos, acos, true)
  FS_DEF1("arctan", atan, atan, true)
  FS_DEF1("arcsinh", asinh, asinh, true)
  FS_DEF1("arccosh", acosh, acosh, true)
  FS_DEF1("arctanh", atanh, atanh, true)
  FS_DEF1("neg", neg, neg, false)
  FS_DEF1("negative", neg, neg, false)
  FS_DEF1("square", square, square, false)
  FS_DEF1("frac", frac, frac, true)
  for (const char* signature : {"abs(Tensor input)", "absolute(Tensor input)"})
    def(signature, kFunction | kMethod, [](Args& a) { return abs(a.tensor(0)); });
  for (const char* signature : {"abs_(Tensor input)", "absolute_(Tensor input)"})
    def(signature, kFunction | kMethod, [](Args& a) {
      if (a.tensor(0).dtype() != DType::kBool) unary_(op::abs, a.tensor(0), nullptr, false);
      return a.self();
    });
  def("sign(Tensor input)", kFunction | kMethod | kInPlace, [](Args& a) { return sign(a.tensor(0)); });
  def("sgn(Tensor input)", kFunction | kMethod | kInPlace, [](Args& a) { return sign(a.tensor(0)); });
  def("positive(Tensor input)", kFunction | kMethod, [](Args& a) {
    FS_CHECK(a.tensor(0).dtype() != DType::kBool, "The `+` operator, on a bool tensor is not supported.");
    return a.self();
  });
  def("ceil(Tensor input)", kFunction | kMethod | kInPlace, [](Args& a) { return ceil(a.tensor(0)); });
  def("floor(Tensor input)", kFunction | kMethod | kInPlace, [](Args& a) { return floor(a.tensor(0)); });
  def("trunc(Tensor input)", kFunction | kMethod | kInPlace, [](Args& a) { return trunc(a.tensor(0)); });
  def("fix(Tensor input)", kFunction | kMethod | kInPlace, [](Args& a) { return trunc(a.tensor(0)); });
  def("round(Tensor input, *, int decimals=0)", kFunction | kMethod | kInPlace,
      [](Args& a) { return round(a.tensor(0), a.i64(1)); });
  def("nan_to_num(Tensor input, float? nan=None, float? posinf=None, float? neginf=None)", kFunction | kMethod,
      [](Args& a) { return nan_to_num(a.tensor(0), a.opt_f64(1), a.opt_f64(2), a.opt_f64(3)); });
  def("nan_to_num_(Tensor input, float? nan=None, float? posinf=None, float? neginf=None)", kFunction | kMethod,
      [](Args& a) {
        return replace(a, [&](const Tensor& x) { return nan_to_num(x, a.opt_f64(1), a.opt_f64(2), a.opt_f64(3)); });
      });
  def("logit(Tensor input, float? eps=None)", kFunction | kMethod | kSpecial,
      [](Args& a) { return logit(a.tensor(0), a.opt_f64(1).value_or(-1.0)); });
  def("logit_(Tensor input, float? eps=None)", kFunction | kMethod,
      [](Args& a) { return replace(a, [&](const Tensor& x) { return logit(x, a.opt_f64(1).value_or(-1.0)); }); });
  def("polygamma(int n, Tensor input)", kFunction | kSpecial,
      [](Args& a) { return polygamma(a.i64(0), a.tensor(1)); });
  def("polygamma(Tensor self, int n)", kMethod, [](Args& a) { return polygamma(a.i64(1), a.tensor(0)); });
  def("polygamma_(Tensor self, int n)", kMethod,
      [](Args& a) { return replace(a, [&](const Tensor& x) { return polygamma(a.i64(1), x); }); });
  def("mvlgamma(Tensor input, int p)", kFunction | kMethod, [](Args& a) { return mvlgamma(a.tensor(0), a.i64(1)); });
  def("mvlgamma_(Tensor input, int p)", kMethod,
      [](Args& a) { return replace(a, [&](const Tensor& x) { return mvlgamma(x, a.i64(1)); }); });
  def("multigammaln(Tensor input, int p)", kSpecial, [](Args& a) { return mvlgamma(a.tensor(0), a.i64(1)); });

  // Bool results.
  def("isnan(Tensor input)", kFunction | kMethod, [](Args& a) { return isnan(a.tensor(0)); });
  def("isinf(Tensor input)", kFunction | kMethod, [](Args& a) { return isinf(a.tensor(0)); });
  def("isposinf(Tensor input)", kFunction | kMethod, [](Args& a) { return isposinf(a.tensor(0)); });
  def("isneginf(Tensor input)", kFunction | kMethod, [](Args& a) { return isneginf(a.tensor(0)); });
  def("isfinite(Tensor input)", kFunction | kMethod, [](Args& a) { return isfinite(a.tensor(0)); });
  def("isreal(Tensor input)", kFunction | kMethod,
      [](Args& a) { return full_like(a.tensor(0), Scalar(true), DType::kBool); });
  def("signbit(Tensor input)", kFunction | kMethod, [](Args& a) { return signbit(a.tensor(0)); });
  def("logical_not(Tensor input)", kFunction | kMethod | kInPlace, [](Args& a) { return logical_not(a.tensor(0)); });
  def("bitwise_not(Tensor input)", kFunction | kMethod | kInPlace, [](Args& a) { return bitwise_not(a.tensor(0)); });

  // Clamp: numbers or tensors.
  static constexpr unsigned kWhere = kFunction | kMethod;
  // Tensor bounds are tried first: a 0-dim tensor would also pass for a number, without its gradient.
  for (const char* signature : {"clamp(Tensor input, Tensor? min=None, Tensor? max=None)",
                                "clip(Tensor input, Tensor? min=None, Tensor? max=None)"})
    def(signature, kWhere, [](Args& a) { return clamp(a.tensor(0), a.opt_tensor(1), a.opt_tensor(2)); });
  for (const char* signature : {"clamp(Tensor input, Scalar? min=None, Scalar? max=None)",
                                "clip(Tensor input, Scalar? min=None, Scalar? max=None)"})
    def(signature, kWhere, [](Args& a) { return clamp(a.tensor(0), bound(a, 1), bound(a, 2)); });
  for (const char* signature : {"clamp_(Tensor input, Tensor? min=None, Tensor? max=None)",
                                "clip_(Tensor input, Tensor? min=None, Tensor? max=None)"})
    def(signature, kWhere, [](Args& a) {
      return replace(a, [&](const Tensor& x) { return clamp(x, a.opt_tensor(1), a.opt_tensor(2)); });
    });
  for (const char* signature : {"clamp_(Tensor input, Scalar? min=None, Scalar? max=None)",
                                "clip_(Tensor input, Scalar? min=None, Scalar? max=None)"})
    def(signature, kWhere, [](Args& a) {
      clamp_(a.tensor(0), bound(a, 1), bound(a, 2));
      return a.self();
    });
  def("clamp_min(Tensor input, Tensor min)", kWhere,
      [](Args& a) { return clamp(a.tensor(0), a.tensor(1), Tensor()); });
  def("clamp_min(Tensor input, Scalar min)", kWhere,
      [](Args& a) { return clamp(a.tensor(0), a.scalar(1), std::optional<Scalar>()); });
  def("clamp_min_(Tensor input, Tensor min)", kWhere,
      [](Args& a) { return replace(a, [&](const Tensor& x) { return clamp(x, a.tensor(1), Tensor()); }); });
  def("clamp_min_(Tensor input, Scalar min)", kWhere, [](Args& a) {
    clamp_(a.tensor(0), a.scalar(1), {});
    return a.self();
  });
  def("clamp_max(Tensor input, Tensor max)", kWhere,
      [](Args& a) { return clamp(a.tensor(0), Tensor(), a.tensor(1)); });
  def("clamp_max(Tensor input, Scalar max)", kWhere,
      [](Args& a) { return clamp(a.tensor(0), std::optional<Scalar>(), a.scalar(1)); });
  def("clamp_max_(Tensor input, Tensor max)", kWhere,
      [](Args& a) { return replace(a, [&](const Tensor& x) { return clamp(x, Tensor(), a.tensor(1)); }); });
  def("clamp_max_(Tensor input, Scalar max)", kWhere, [](Args& a) {
    clamp_(a.tensor(0), {}, a.scalar(1));
    return a.self();
  });

  // fireseed.special
  FS_SPECIAL1("erf", erf)
  FS_SPECIAL1("erfc", erfc)
  FS_SPECIAL1("erfinv", erfinv)
  FS_SPECIAL1("exp2", exp2)
  FS_SPECIAL1("expm1", expm1)
  FS_SPECIAL1("log1p", log1p)
  FS_SPECIAL1("expit", sigmoid)
  FS_SPECIAL1("gammaln", lgamma)
  FS_SPECIAL1("digamma", digamma)
  FS_SPECIAL1("psi", digamma)
  FS_SPECIAL1("ndtr", ndtr)
  FS_SPECIAL1("i0", i0)
  FS_SPECIAL1("i1", i1)
  FS_SPECIAL1("sinc", sinc)
  def("round(Tensor input, *, int decimals=0)", kSpecial, [](Args& a) { return round(a.tensor(0), a.i64(1)); });
}

}  // namespace fireseed::bind

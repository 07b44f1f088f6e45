// Random ops: bounds and errors, in-place fills, permutations, sampling, dropout and its gradient.
#include "ops/random.h"

#include <cmath>
#include <limits>

#include "engine/mode.h"
#include "ops/copy.h"
#include "ops/creation.h"
#include "ops/pointwise.h"
#include "ops/records.h"
#include "ops/shape.h"
#include "tensor/attrs/random.h"

namespace fireseed {
namespace {

// The generator named, or the default one of the device the numbers are made on.
Generator* pick(Generator* generator, Device device) {
  const int index = device.is_cpu() ? -1 : device.index;
  if (!generator) return device.is_cpu() ? &default_generator() : &default_generator(index);
  const int own = generator->device();
  FS_CHECK((own < 0) == device.is_cpu(), "Expected a '", device.is_cpu() ? "cpu" : "cuda",
           "' device type for generator but found '", own < 0 ? "cpu" : "cuda", "'");
  return generator;
}

void same_as_input(Inputs in, const void*, Tensor* out) {
  out[0] = make_shell(in[0].sizes(), in[0].dtype(), in[0].device());
}
// New values depend on nothing, so every gradient is zero.
void zero_gradient(const Vjp& c, const Tensor*, Tensor* gx) {
  for (int i = 0; i < c.num_inputs(); ++i)
    if (c.needs(i)) gx[i] = zeros(c.input_sizes(i), c.input_dtype(i), c.device());
}

void floating_only(const Tensor& x, const char* op) {
  FS_CHECK(x.is_floating(), op, ": expected a floating point tensor, but got dtype ", dtype_name(x.dtype()));
}

// Digits of the significand, and the range, of a float dtype.
int digits_of(DType t) {
  return t == DType::kFloat16 ? 11 : t == DType::kBFloat16 ? 8 : t == DType::kFloat64 ? 53 : 24;
}
double largest_of(DType t) {
  switch (t) {
    case DType::kFloat16: return 65504.0;
    case DType::kBFloat16: return 3.3895313892515355e38;
    case DType::kFloat64: return std::numeric_limits<double>::max();
    default: return static_cast<double>(std::numeric_limits<float>::max());
  }
}
int64_t largest_integer_of(DType t) {
  constexpr int64_t kLargest[] = {1, 255, 127, 32767, 2147483647, std::numeric_limits<int64_t>::max()};
  return kLargest[static_cast<int>(t)];
}
int64_t smallest_integer_of(DType t) {
  return t == DType::kBool || t == DType::kUInt8 ? 0 : -largest_integer_of(t) - 1;
}
int64_t rounded(int64_t v, DType t) {
  switch (t) {
    case DType::kFloat16: return static_cast<int64_t>(static_cast<float>(float16(static_cast<float>(v))));
    case DType::kBFloat16: return static_cast<int64_t>(static_cast<float>(bfloat16(static_cast<float>(v))));
    case DType::kFloat64: return static_cast<int64_t>(static_cast<double>(v));
    default: return static_cast<int64_t>(static_cast<float>(v));
  }
}
int64_t spacing(int64_t v, DType t) {  // of t's numbers at |v|
  const int exponent = 63 - __builtin_clzll(static_cast<uint64_t>(v < 0 ? -v : v) | 1);
  const int shift = exponent - digits_of(t) + 1;
  return shift > 0 ? int64_t{1} << shift : 0;
}
// Integers are drawn as such and then rounded to a float dtype: the bounds move inwards to numbers that survive it.
int64_t least_float(int64_t from, DType t) {
  const int64_t r = rounded(from + 1, t);
  return r < from ? r + spacing(from + 1, t) : from;
}
int64_t most_float(int64_t to, DType t) {
  const int64_t r = rounded(to - 1, t);
  return r >= to ? r - spacing(to - 1, t) : to;
}

void check_integer_range(int64_t from, int64_t last, DType t) {
  if (is_floating(t)) {
    const double most = largest_of(t);
    FS_CHECK(static_cast<double>(from) >= -most && static_cast<double>(from) <= most, "from is out of bounds for ",
             dtype_name(t));
    FS_CHECK(static_cast<double>(last) >= -most && static_cast<double>(last) <= most, "to - 1 is out of bounds for ",
             dtype_name(t));
    return;
  }
  const int64_t low = smallest_integer_of(t), high = largest_integer_of(t);
  FS_CHECK(from >= low && from <= high, "from is out of bounds for ", dtype_name(t));
  FS_CHECK(last >= low && last <= high, "to - 1 is out of bounds for ", dtype_name(t));
}

template <class A>
void fill(const Op& op, const Tensor& x, const A& attrs) {
  apply_inplace(op, Inputs(&x, 1), &attrs);
}

void fill_integers(const Tensor& x, uint64_t range, int64_t base, bool wide, Generator* generator) {
  fill(op::random_int, x, RandomIntAttrs{pick(generator, x.device()), range, base, wide});
}

void dropout_infer(Inputs in, const void*, Tensor* out) {
  out[0] = make_shell(in[0].sizes(), in[0].dtype(), in[0].device());
  out[1] = make_shell(in[0].sizes(), DType::kBool, in[0].device());
}
void dropout_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  if (c.needs(0) && g[0].defined())
    gx[0] = apply1(op::dropout_backward, {g[0], c.output(1)}, DropoutBackwardAttrs{c.attrs<DropoutAttrs>().p});
}
void dropout_backward_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  if (c.needs(0)) gx[0] = apply1(op::dropout_backward, {g[0], c.input(1)}, c.attrs<DropoutBackwardAttrs>());
}

void multinomial_infer(Inputs in, const void* attrs, Tensor* out) {
  const auto& a = *static_cast<const MultinomialAttrs*>(attrs);
  Dims sizes = in[0].sizes();
  sizes[sizes.n - 1] = a.num_samples;
  out[0] = make_shell(sizes, DType::kInt64, in[0].device());
}

void check_probability(double p, const char* op) {
  FS_CHECK_VALUE(p >= 0 && p <= 1, op, " probability has to be between 0 and 1, but got ", p);
}

// Noise of one number a channel: (N, C, 1, …, 1).
Tensor channel_noise(const Tensor& x, double p, const char* op) {
  FS_CHECK(x.dim() >= 2, op, ": expected an input with at least 2 dimensions (batch, channels), but got shape ",
           x.sizes());
  Dims sizes = x.sizes();
  for (int64_t i = 2; i < sizes.n; ++i) sizes[i] = 1;
  Tensor noise = empty(sizes, x.dtype(), x.device());
  bernoulli_(noise, 1 - p);
  return noise;
}

// Saturating noise of alpha dropout: keeps self-normalised activations at mean 0 and variance 1.
Tensor with_alpha_noise(const Tensor& x, Tensor noise, double p) {
  constexpr double kAlpha = 1.7580993408473766;
  const double a = 1.0 / std::sqrt((kAlpha * kAlpha * p + 1) * (1 - p));
  Tensor shift;
  {
    GradMode off(false);
    shift = (noise + -1.0) * (kAlpha * a) + kAlpha * a * p;
    noise = noise * a;
  }
  return x * noise + shift;
}

// x filled with standard normal numbers that, for autograd, follow from mean and std with gradient zero.
Tensor standard_normal_like(const Tensor& x, const Tensor& mean, const Tensor& std, Generator* generator) {
  const NormalAttrs attrs{pick(generator, x.device()), 0, 1};
  floating_only(x, "normal");
  const Tensor in[3] = {x, std, mean};
  apply_inplace(op::normal, Inputs(in, mean.defined() ? 3 : 2), &attrs);
  return x;
}

void check_std(const Tensor& std) {
  GradMode off(false);
  const Tensor values = contiguous(to(std, DType::kFloat64, Device{}));
  for (int64_t i = 0; i < values.numel(); ++i)
    FS_CHECK(values.data<double>()[i] >= 0, "normal expects all elements of std >= 0.0");
}

}  // namespace

#define FS_RANDOM_FILL(name_, Attrs)                    \
  constinit Op op::name_{.name = #name_,                \
                         .flags = kRandom | kInPlaceOk, \
                         .attrs_size = sizeof(Attrs),   \
                         .infer = same_as_input,        \
                         .vjp = zero_gradient};
FS_RANDOM_FILL(uniform, UniformAttrs)
FS_RANDOM_FILL(normal, NormalAttrs)
FS_RANDOM_FILL(log_normal, NormalAttrs)
FS_RANDOM_FILL(random_int, RandomIntAttrs)
FS_RANDOM_FILL(bernoulli, BernoulliAttrs)
FS_RANDOM_FILL(bernoulli_tensor, GeneratorAttrs)
FS_RANDOM_FILL(exponential, ExponentialAttrs)
FS_RANDOM_FILL(geometric, BernoulliAttrs)
FS_RANDOM_FILL(cauchy, CauchyAttrs)
FS_RANDOM_FILL(randperm, GeneratorAttrs)
#undef FS_RANDOM_FILL

constinit Op op::dropout{.name = "dropout",
                         .flags = kRandom,
                         .saves = save_output(1),
                         .attrs_size = sizeof(DropoutAttrs),
                         .num_outputs = 2,
                         .infer = dropout_infer,
                         .vjp = dropout_vjp};
constinit Op op::dropout_backward{.name = "dropout_backward",
                                  .saves = save_input(1),
                                  .attrs_size = sizeof(DropoutBackwardAttrs),
                                  .infer = same_as_input,
                                  .vjp = dropout_backward_vjp};
constinit Op op::multinomial{.name = "multinomial",
                             .flags = kRandom | kNotDifferentiable,
                             .attrs_size = sizeof(MultinomialAttrs),
                             .infer = multinomial_infer};

void uniform_(const Tensor& x, double from, double to, Generator* generator) {
  floating_only(x, "uniform_");
  const double most = largest_of(x.dtype());
  FS_CHECK(from >= -most && from <= most, "from is out of bounds for ", dtype_name(x.dtype()));
  FS_CHECK(to >= -most && to <= most, "to is out of bounds for ", dtype_name(x.dtype()));
  FS_CHECK(from <= to, "uniform_ expects to return a [from, to) range, but found from=", from, " > to=", to);
  FS_CHECK(to - from <= most, "uniform_ expects to-from <= std::numeric_limits<", dtype_name(x.dtype()),
           ">::max(), but found to=", to, " and from=", from, " which result in to-from to exceed the limit");
  fill(op::uniform, x, UniformAttrs{pick(generator, x.device()), from, to});
}

void normal_(const Tensor& x, double mean, double std, Generator* generator) {
  FS_CHECK(std >= 0, "normal expects std >= 0.0, but found std ", std);
  floating_only(x, "normal_");
  fill(op::normal, x, NormalAttrs{pick(generator, x.device()), mean, std});
}

void log_normal_(const Tensor& x, double mean, double std, Generator* generator) {
  FS_CHECK(std > 0, "log_normal_ expects std > 0.0, but found std=", std);
  floating_only(x, "log_normal_");
  fill(op::log_normal, x, NormalAttrs{pick(generator, x.device()), mean, std});
}

void random_(const Tensor& x, Generator* generator) {
  const DType t = x.dtype();
  const uint64_t range =
      is_floating(t) ? (uint64_t{1} << digits_of(t)) + 1 : static_cast<uint64_t>(largest_integer_of(t)) + 1;
  fill_integers(x, range, 0, t == DType::kInt64 || t == DType::kFloat64, generator);
}

void random_(const Tensor& x, int64_t from, std::optional<int64_t> to, Generator* generator) {
  constexpr uint64_t kOneWord = uint64_t{1} << 28;  // up to here the remainder of 32 bits is fair enough
  const DType t = x.dtype();
  uint64_t range;
  if (to) {
    int64_t end = *to;
    FS_CHECK(from < end, "random_ expects 'from' to be less than 'to', but got from=", from, " >= to=", end);
    if (is_floating(t)) {
      from = least_float(from, t);
      end = most_float(end, t);
      FS_CHECK(from < end,
               "random_ expects 'from' casted to dtype to be less than 'to' casted to dtype, but got from=", from,
               " >= to=", end);
    }
    check_integer_range(from, end - 1, t);
    range = static_cast<uint64_t>(end) - static_cast<uint64_t>(from);
  } else if (from == std::numeric_limits<int64_t>::lowest()) {
    FS_CHECK(t == DType::kInt64 || is_floating(t),
             "random_: the full range of 64 bits needs dtype int64 or a float, got ", dtype_name(t));
    return fill_integers(x, 0, 0, true, generator);
  } else {
    int64_t last;
    if (is_floating(t)) {
      last = int64_t{1} << digits_of(t);
      from = least_float(from, t);
      FS_CHECK(from < last,
               "random_ expects 'from' casted to dtype to be less than or equal to 'to_inc' casted to "
               "dtype, but got from=",
               from, " > to_inc=", last);
    } else {
      last = largest_integer_of(t);
    }
    check_integer_range(from, last, t);
    range = static_cast<uint64_t>(last) - static_cast<uint64_t>(from) + 1;
  }
  fill_integers(x, range, from, range >= kOneWord || range == 0, generator);
}

void bernoulli_(const Tensor& x, double p, Generator* generator) {
  FS_CHECK(p >= 0 && p <= 1, "bernoulli_ expects p to be in [0, 1], but got p=", p);
  fill(op::bernoulli, x, BernoulliAttrs{pick(generator, x.device()), p});
}

void bernoulli_(const Tensor& x, const Tensor& p, Generator* generator) {
  floating_only(p, "bernoulli_: p");
  const GeneratorAttrs attrs{pick(generator, x.device())};
  const Tensor in[2] = {x, expand(p, x.sizes())};
  apply_inplace(op::bernoulli_tensor, Inputs(in, 2), &attrs);
}

void exponential_(const Tensor& x, double lambda, Generator* generator) {
  FS_CHECK(lambda > 0, "exponential_ expects lambda > 0.0, but found lambda=", lambda);
  FS_CHECK(x.is_floating(),
           "Exponential distribution is a continuous probability distribution. dtype must be a floating "
           "point but you specified ",
           dtype_name(x.dtype()));
  fill(op::exponential, x, ExponentialAttrs{pick(generator, x.device()), lambda});
}

void geometric_(const Tensor& x, double p, Generator* generator) {
  FS_CHECK(0 < p && p < 1, "geometric_ expects p to be in (0, 1), but got p=", p);
  FS_CHECK_KIND(x.dtype() != DType::kBool, ErrorKind::kNotImplemented, "geometric_: not implemented for dtype bool");
  fill(op::geometric, x, BernoulliAttrs{pick(generator, x.device()), p});
}

void cauchy_(const Tensor& x, double median, double sigma, Generator* generator) {
  FS_CHECK(sigma > 0, "cauchy_ expects sigma > 0.0, but found sigma=", sigma);
  FS_CHECK(x.is_floating(),
           "Cauchy distribution is a continuous probability distribution. dtype must be a floating point "
           "but you specified ",
           dtype_name(x.dtype()));
  fill(op::cauchy, x, CauchyAttrs{pick(generator, x.device()), median, sigma});
}

Tensor rand(const Dims& sizes, DType dtype, Generator* generator, Device device) {
  Tensor x = empty(sizes, dtype, device);
  uniform_(x, 0, 1, generator);
  return x;
}

Tensor randn(const Dims& sizes, DType dtype, Generator* generator, Device device) {
  Tensor x = empty(sizes, dtype, device);
  normal_(x, 0, 1, generator);
  return x;
}

Tensor randint(int64_t low, int64_t high, const Dims& sizes, DType dtype, Generator* generator, Device device) {
  Tensor x = empty(sizes, dtype, device);
  random_(x, low, high, generator);
  return x;
}

Tensor randperm(int64_t n, DType dtype, Generator* generator, Device device) {
  FS_CHECK(n >= 0, "n must be non-negative, got", n);
  FS_CHECK_KIND(dtype != DType::kBool, ErrorKind::kNotImplemented, "randperm: not implemented for dtype bool");
  const int64_t most = is_floating(dtype) ? (int64_t{1} << digits_of(dtype)) + 1 : largest_integer_of(dtype);
  FS_CHECK(n == 0 || n - 1 <= most, "n is too large for result tensor type: '", dtype_name(dtype), "'");
  Tensor x = empty({n}, dtype, device);
  fill(op::randperm, x, GeneratorAttrs{pick(generator, x.device())});
  return x;
}

Tensor bernoulli(const Tensor& p, Generator* generator) {
  Tensor x = empty(p.sizes(), p.dtype(), p.device());
  bernoulli_(x, p, generator);
  return x;
}

Tensor bernoulli(const Tensor& like, double p, Generator* generator) {
  Tensor x = empty(like.sizes(), like.dtype(), like.device());
  bernoulli_(x, p, generator);
  return x;
}

Tensor normal(const Tensor& mean, const Tensor& std, Generator* generator) {
  check_std(std);
  const Tensor x = empty(broadcast_shapes(mean.sizes(), std.sizes(), "normal"), mean.dtype(), mean.device());
  return to(standard_normal_like(x, mean, std, generator) * detach(std) + detach(mean), mean.dtype());
}

Tensor normal(const Tensor& mean, double std, Generator* generator) {
  FS_CHECK(std >= 0, "normal expects std >= 0.0, but found std ", std);
  const Tensor x = empty(mean.sizes(), mean.dtype(), mean.device());
  const NormalAttrs attrs{pick(generator, x.device()), 0, std};
  const Tensor in[2] = {x, mean};
  apply_inplace(op::normal, Inputs(in, 2), &attrs);
  return x + detach(mean);
}

Tensor normal(double mean, const Tensor& std, Generator* generator) {
  check_std(std);
  const Tensor x = empty(std.sizes(), std.dtype(), std.device());
  return standard_normal_like(x, Tensor(), std, generator) * detach(std) + mean;
}

Tensor multinomial(const Tensor& p, int64_t num_samples, bool replacement, Generator* generator) {
  FS_CHECK(p.dim() == 1 || p.dim() == 2, "prob_dist must be 1 or 2 dim");
  FS_CHECK(p.is_floating(),
           "multinomial only supports floating-point dtypes for input, got: ", dtype_name(p.dtype()));
  FS_CHECK(num_samples > 0, "cannot sample n_sample <= 0 samples");
  FS_CHECK(replacement || num_samples <= p.size(-1),
           "cannot sample n_sample > prob_dist.size(-1) samples without replacement");
  FS_CHECK(p.size(-1) <= (1 << 24), "number of categories cannot exceed 2^24");
  FS_CHECK(p.size(-1) > 0 || (p.dim() == 2 && p.size(0) == 0),
           "invalid multinomial distribution (sum of probabilities <= 0)");
  return apply1(op::multinomial, {p}, MultinomialAttrs{pick(generator, p.device()), num_samples, replacement});
}

Tensor dropout(const Tensor& x, double p, bool training, Generator* generator) {
  check_probability(p, "dropout");
  if (!training || p == 0 || x.numel() == 0) return x;
  floating_only(x, "dropout");
  Tensor out[2];
  const DropoutAttrs attrs{pick(generator, x.device()), p};
  apply(op::dropout, Inputs(&x, 1), &attrs, out);
  return std::move(out[0]);
}

Tensor feature_dropout(const Tensor& x, double p, bool training) {
  check_probability(p, "dropout");
  if (!training || p == 0 || x.numel() == 0) return x;
  if (p == 1) return x * 0.0;
  const Tensor noise = channel_noise(x, p, "feature_dropout");
  return x * (noise / (1 - p));
}

Tensor alpha_dropout(const Tensor& x, double p, bool training) {
  check_probability(p, "dropout");
  if (!training || p == 0 || x.numel() == 0) return x;
  if (p == 1) return x * 0.0;
  Tensor noise = empty_like(x);
  bernoulli_(noise, 1 - p);
  return with_alpha_noise(x, noise, p);
}

Tensor feature_alpha_dropout(const Tensor& x, double p, bool training) {
  check_probability(p, "dropout");
  if (!training || p == 0 || x.numel() == 0) return x;
  if (p == 1) return x * 0.0;
  return with_alpha_noise(x, channel_noise(x, p, "feature_alpha_dropout"), p);
}

}  // namespace fireseed

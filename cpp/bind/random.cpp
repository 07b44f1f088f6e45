// Python functions of the random family: creation, in-place fills, sampling, dropout.
#include "ops/random.h"

#include "bind/fast_call.h"
#include "ops/copy.h"
#include "ops/creation.h"
#include "ops/shape.h"

namespace fireseed::bind {
namespace {

DType dtype_or_default(Args& a, int i) {
  const DType t = a.opt_dtype(i);
  return t == DType::kUndefined ? default_dtype() : t;
}

Tensor finish(Tensor x, bool requires_grad) {
  if (requires_grad) {
    FS_CHECK(x.is_floating(), "only Tensors of floating point dtype can require gradients, got ",
             dtype_name(x.dtype()));
    x.impl()->set(TensorImpl::kRequiresGrad, true);
  }
  return x;
}

Tensor like(Args& a, int dtype_at) {
  return empty_like(a.tensor(0), a.opt_dtype(dtype_at), a.device_or(dtype_at + 2, a.tensor(0).device()));
}

// y into x's memory where `inplace`, as torch's functional form does.
PyObject* maybe_inplace(Args& a, Tensor y, bool inplace) {
  if (!inplace) return to_python(std::move(y));
  const Tensor& x = a.tensor(0);
  if (y.impl() != x.impl()) copy_(x, y);
  return a.self();
}

#define FS_FACTORY                                                                             \
  "*, Generator? generator=None, dtype? dtype=None, object layout=None, device? device=None, " \
  "bool pin_memory=False, bool requires_grad=False)"
#define FS_LIKE                                                                            \
  "*, dtype? dtype=None, object layout=None, device? device=None, bool pin_memory=False, " \
  "bool requires_grad=False, object memory_format=None)"

}  // namespace

FS_BINDINGS(random) {
  // Factories: options stand at size + 1 …: generator, dtype, layout, device, pin_memory, requires_grad.
  def(
      "rand(int... size, " FS_FACTORY, kFunction,
      [](Args& a) {
        return finish(rand(a.dims(0), dtype_or_default(a, 2), a.generator(1), a.opt_device(4)), a.boolean(6));
      },
      "Uniform numbers in [0, 1) of the given size.");
  def(
      "randn(int... size, " FS_FACTORY, kFunction,
      [](Args& a) {
        return finish(randn(a.dims(0), dtype_or_default(a, 2), a.generator(1), a.opt_device(4)), a.boolean(6));
      },
      "Standard normal numbers of the given size.");
  def(
      "randint(int low, int high, int[] size, " FS_FACTORY, kFunction,
      [](Args& a) {
        const DType t = a.opt_dtype(4);
        return finish(randint(a.i64(0), a.i64(1), a.dims(2), t == DType::kUndefined ? DType::kInt64 : t,
                              a.generator(3), a.opt_device(6)),
                      a.boolean(8));
      },
      "Integers in [low, high), int64 unless dtype says otherwise.");
  def("randint(int high, int[] size, " FS_FACTORY, kFunction, [](Args& a) {
    const DType t = a.opt_dtype(3);
    return finish(
        randint(0, a.i64(0), a.dims(1), t == DType::kUndefined ? DType::kInt64 : t, a.generator(2), a.opt_device(5)),
        a.boolean(7));
  });
  def(
      "randperm(int n, " FS_FACTORY, kFunction,
      [](Args& a) {
        const DType t = a.opt_dtype(2);
        return finish(randperm(a.i64(0), t == DType::kUndefined ? DType::kInt64 : t, a.generator(1), a.opt_device(4)),
                      a.boolean(6));
      },
      "A random permutation of 0 … n - 1.");
  def("rand_like(Tensor input, " FS_LIKE, kFunction, [](Args& a) {
    Tensor x = like(a, 1);
    uniform_(x);
    return finish(std::move(x), a.boolean(5));
  });
  def("randn_like(Tensor input, " FS_LIKE, kFunction, [](Args& a) {
    Tensor x = like(a, 1);
    normal_(x);
    return finish(std::move(x), a.boolean(5));
  });
  def("randint_like(Tensor input, int low, int high, " FS_LIKE, kFunction, [](Args& a) {
    Tensor x = like(a, 3);
    random_(x, a.i64(1), a.i64(2));
    return finish(std::move(x), a.boolean(7));
  });
  def("randint_like(Tensor input, int high, " FS_LIKE, kFunction, [](Args& a) {
    Tensor x = like(a, 2);
    random_(x, 0, a.i64(1));
    return finish(std::move(x), a.boolean(6));
  });

  def(
      "normal(Tensor mean, Tensor std, *, Generator? generator=None)", kFunction,
      [](Args& a) { return normal(a.tensor(0), a.tensor(1), a.generator(2)); },
      "Normal numbers with the given means and standard deviations.");
  def("normal(Tensor mean, float std=1.0, *, Generator? generator=None)", kFunction,
      [](Args& a) { return normal(a.tensor(0), a.f64(1), a.generator(2)); });
  def("normal(float mean, Tensor std, *, Generator? generator=None)", kFunction,
      [](Args& a) { return normal(a.f64(0), a.tensor(1), a.generator(2)); });
  def("normal(float mean, float std, int[] size, " FS_FACTORY, kFunction, [](Args& a) {
    Tensor x = empty(a.dims(2), dtype_or_default(a, 4), a.opt_device(6));
    normal_(x, a.f64(0), a.f64(1), a.generator(3));
    return finish(std::move(x), a.boolean(8));
  });
  def(
      "bernoulli(Tensor input, *, Generator? generator=None)", kFunction | kMethod,
      [](Args& a) { return bernoulli(a.tensor(0), a.generator(1)); },
      "0 or 1, with the element of input as the probability of 1.");
  def("bernoulli(Tensor input, float p, *, Generator? generator=None)", kFunction | kMethod,
      [](Args& a) { return bernoulli(a.tensor(0), a.f64(1), a.generator(2)); });
  def(
      "multinomial(Tensor input, int num_samples, bool replacement=False, *, Generator? generator=None)",
      kFunction | kMethod | kFreshOut | kExactOut,
      [](Args& a) { return multinomial(a.tensor(0), a.i64(1), a.boolean(2), a.generator(3)); },
      "Positions drawn with probabilities proportional to each row of input, int64.");

  // In place.
  def("uniform_(Tensor self, float from=0.0, float to=1.0, *, Generator? generator=None)", kMethod, [](Args& a) {
    uniform_(a.tensor(0), a.f64(1), a.f64(2), a.generator(3));
    return a.self();
  });
  def("normal_(Tensor self, float mean=0.0, float std=1.0, *, Generator? generator=None)", kMethod, [](Args& a) {
    normal_(a.tensor(0), a.f64(1), a.f64(2), a.generator(3));
    return a.self();
  });
  def("log_normal_(Tensor self, float mean=1.0, float std=2.0, *, Generator? generator=None)", kMethod, [](Args& a) {
    log_normal_(a.tensor(0), a.f64(1), a.f64(2), a.generator(3));
    return a.self();
  });
  def("random_(Tensor self, *, Generator? generator=None)", kMethod, [](Args& a) {
    random_(a.tensor(0), a.generator(1));
    return a.self();
  });
  def("random_(Tensor self, int to, *, Generator? generator=None)", kMethod, [](Args& a) {
    random_(a.tensor(0), 0, a.i64(1), a.generator(2));
    return a.self();
  });
  def("random_(Tensor self, int from, int? to, *, Generator? generator=None)", kMethod, [](Args& a) {
    random_(a.tensor(0), a.i64(1), a.opt_i64(2), a.generator(3));
    return a.self();
  });
  def("bernoulli_(Tensor self, Tensor p, *, Generator? generator=None)", kMethod, [](Args& a) {
    bernoulli_(a.tensor(0), a.tensor(1), a.generator(2));
    return a.self();
  });
  def("bernoulli_(Tensor self, float p=0.5, *, Generator? generator=None)", kMethod, [](Args& a) {
    bernoulli_(a.tensor(0), a.f64(1), a.generator(2));
    return a.self();
  });
  def("exponential_(Tensor self, float lambd=1.0, *, Generator? generator=None)", kMethod, [](Args& a) {
    exponential_(a.tensor(0), a.f64(1), a.generator(2));
    return a.self();
  });
  def("geometric_(Tensor self, float p, *, Generator? generator=None)", kMethod, [](Args& a) {
    geometric_(a.tensor(0), a.f64(1), a.generator(2));
    return a.self();
  });
  def("cauchy_(Tensor self, float median=0.0, float sigma=1.0, *, Generator? generator=None)", kMethod, [](Args& a) {
    cauchy_(a.tensor(0), a.f64(1), a.f64(2), a.generator(3));
    return a.self();
  });

  // Dropout.
  def(
      "dropout(Tensor input, float p=0.5, bool training=True, bool inplace=False)", kNN,
      [](Args& a) { return maybe_inplace(a, dropout(a.tensor(0), a.f64(1), a.boolean(2)), a.boolean(3)); },
      "Zeroes elements with probability p and scales the others by 1 / (1 - p), while training.");
  def("dropout(Tensor input, float p, bool train)", kFunction,
      [](Args& a) { return dropout(a.tensor(0), a.f64(1), a.boolean(2)); });
  def("dropout_(Tensor input, float p, bool train)", kFunction,
      [](Args& a) { return maybe_inplace(a, dropout(a.tensor(0), a.f64(1), a.boolean(2)), true); });
  def("alpha_dropout(Tensor input, float p=0.5, bool training=False, bool inplace=False)", kNN,
      [](Args& a) { return maybe_inplace(a, alpha_dropout(a.tensor(0), a.f64(1), a.boolean(2)), a.boolean(3)); });
  def("alpha_dropout(Tensor input, float p, bool train)", kFunction,
      [](Args& a) { return alpha_dropout(a.tensor(0), a.f64(1), a.boolean(2)); });
  def("feature_dropout(Tensor input, float p, bool train)", kFunction,
      [](Args& a) { return feature_dropout(a.tensor(0), a.f64(1), a.boolean(2)); });
  def("feature_alpha_dropout(Tensor input, float p=0.5, bool training=False, bool inplace=False)", kNN, [](Args& a) {
    return maybe_inplace(a, feature_alpha_dropout(a.tensor(0), a.f64(1), a.boolean(2)), a.boolean(3));
  });
  def("feature_alpha_dropout(Tensor input, float p, bool train)", kFunction,
      [](Args& a) { return feature_alpha_dropout(a.tensor(0), a.f64(1), a.boolean(2)); });
  def("dropout1d(Tensor input, float p=0.5, bool training=True, bool inplace=False)", kNN, [](Args& a) {
    const Tensor& x = a.tensor(0);
    FS_CHECK(
        x.dim() == 2 || x.dim() == 3, "dropout1d: Expected 2D or 3D input, but received a ", x.dim(),
        "D input. Note that dropout1d exists to provide channel-wise dropout on inputs with 1 spatial dimension, a "
        "channel dimension, and an optional batch dimension (i.e. 2D or 3D inputs).");
    Tensor y = x.dim() == 3 ? feature_dropout(x, a.f64(1), a.boolean(2))
                            : squeeze(feature_dropout(unsqueeze(x, 0), a.f64(1), a.boolean(2)), {0});
    return maybe_inplace(a, std::move(y), a.boolean(3));
  });
  def("dropout2d(Tensor input, float p=0.5, bool training=True, bool inplace=False)", kNN,
      [](Args& a) { return maybe_inplace(a, feature_dropout(a.tensor(0), a.f64(1), a.boolean(2)), a.boolean(3)); });
  def("dropout3d(Tensor input, float p=0.5, bool training=True, bool inplace=False)", kNN, [](Args& a) {
    const Tensor& x = a.tensor(0);
    Tensor y = x.dim() != 4 ? feature_dropout(x, a.f64(1), a.boolean(2))
                            : squeeze(feature_dropout(unsqueeze(x, 0), a.f64(1), a.boolean(2)), {0});
    return maybe_inplace(a, std::move(y), a.boolean(3));
  });
}

}  // namespace fireseed::bind

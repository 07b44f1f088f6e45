// Python functions of the normalisations.
#include "ops/norm.h"

#include "bind/fast_call.h"
#include "ops/pointwise.h"
#include "ops/reduce.h"
#include "ops/shape.h"

namespace fireseed::bind {

FS_BINDINGS(norm) {
  def(
      "batch_norm(Tensor input, Tensor? running_mean, Tensor? running_var, Tensor? weight=None, Tensor? bias=None, "
      "bool training=False, float momentum=0.1, float eps=1e-05)",
      kNN,
      [](Args& a) {
        return batch_norm(a.tensor(0), a.opt_tensor(1), a.opt_tensor(2), a.opt_tensor(3), a.opt_tensor(4),
                          a.boolean(5), a.f64(6), a.f64(7));
      },
      "Normalises each channel of (N, C, ...); training updates the running statistics in place.");
  def("batch_norm(Tensor input, Tensor? weight, Tensor? bias, Tensor? running_mean, Tensor? running_var, bool "
      "training, "
      "float momentum, float eps, bool cudnn_enabled)",
      kFunction, [](Args& a) {
        return batch_norm(a.tensor(0), a.opt_tensor(3), a.opt_tensor(4), a.opt_tensor(1), a.opt_tensor(2),
                          a.boolean(5), a.f64(6), a.f64(7));
      });
  def(
      "layer_norm(Tensor input, int[] normalized_shape, Tensor? weight=None, Tensor? bias=None, float eps=1e-05)",
      kNN, [](Args& a) { return layer_norm(a.tensor(0), a.dims(1), a.opt_tensor(2), a.opt_tensor(3), a.f64(4)); },
      "Normalises over the last dimensions, whose sizes are normalized_shape.");
  def("layer_norm(Tensor input, int[] normalized_shape, Tensor? weight=None, Tensor? bias=None, float eps=1e-05, "
      "bool cudnn_enable=True)",
      kFunction,
      [](Args& a) { return layer_norm(a.tensor(0), a.dims(1), a.opt_tensor(2), a.opt_tensor(3), a.f64(4)); });
  def(
      "rms_norm(Tensor input, int[] normalized_shape, Tensor? weight=None, float? eps=None)", kNN | kFunction,
      [](Args& a) {
        return rms_norm(a.tensor(0), a.dims(1), a.opt_tensor(2), a.opt_f64(3).value_or(__builtin_nan("")));
      },
      "x / sqrt(mean(x^2) + eps) over the last dimensions.");
  def(
      "group_norm(Tensor input, int num_groups, Tensor? weight=None, Tensor? bias=None, float eps=1e-05)", kNN,
      [](Args& a) { return group_norm(a.tensor(0), a.i64(1), a.opt_tensor(2), a.opt_tensor(3), a.f64(4)); },
      "Normalises groups of channels of (N, C, ...).");
  def("group_norm(Tensor input, int num_groups, Tensor? weight=None, Tensor? bias=None, float eps=1e-05, "
      "bool cudnn_enabled=True)",
      kFunction,
      [](Args& a) { return group_norm(a.tensor(0), a.i64(1), a.opt_tensor(2), a.opt_tensor(3), a.f64(4)); });
  def(
      "instance_norm(Tensor input, Tensor? running_mean=None, Tensor? running_var=None, Tensor? weight=None, "
      "Tensor? bias=None, bool use_input_stats=True, float momentum=0.1, float eps=1e-05)",
      kNN,
      [](Args& a) {
        return instance_norm(a.tensor(0), a.opt_tensor(1), a.opt_tensor(2), a.opt_tensor(3), a.opt_tensor(4),
                             a.boolean(5), a.f64(6), a.f64(7));
      },
      "Normalises each channel of each sample.");
  def("local_response_norm(Tensor input, int size, float alpha=0.0001, float beta=0.75, float k=1.0)", kNN,
      [](Args& a) { return local_response_norm(a.tensor(0), a.i64(1), a.f64(2), a.f64(3), a.f64(4)); });
  // With the statistics beside the result.
  def("native_layer_norm(Tensor input, int[] normalized_shape, Tensor? weight, Tensor? bias, float eps)", kFunction,
      [](Args& a) {
        const Tensor& x = a.tensor(0);
        const Tensor y = layer_norm(x, a.dims(1), a.opt_tensor(2), a.opt_tensor(3), a.f64(4));
        Dims last;
        for (int64_t d = x.dim() - a.dims(1).n; d < x.dim(); ++d) last.push_back(d);
        const auto [variance, center] = var_mean(x, last, 0, true);
        return std::tuple(y, center, rsqrt(variance + a.f64(4)));
      });
  def("native_group_norm(Tensor input, Tensor? weight, Tensor? bias, int N, int C, int HxW, int group, float eps)",
      kFunction, [](Args& a) {
        const Tensor& x = a.tensor(0);
        const int64_t n = a.i64(3), groups = a.i64(6);
        FS_CHECK(x.numel() == n * a.i64(4) * a.i64(5), "native_group_norm: N, C and HxW do not fit input of shape ",
                 x.sizes());
        const Tensor y = group_norm(x, groups, a.opt_tensor(1), a.opt_tensor(2), a.f64(7));
        const auto [variance, center] =
            var_mean(reshape(x, Dims{n, groups, a.i64(4) / groups * a.i64(5)}), Dims{2}, 0);
        return std::tuple(y, center, rsqrt(variance + a.f64(7)));
      });
  def("native_batch_norm(Tensor input, Tensor? weight, Tensor? bias, Tensor? running_mean, Tensor? running_var, bool "
      "training, float momentum, float eps)",
      kFunction, [](Args& a) {
        const Tensor& x = a.tensor(0);
        const Tensor y = batch_norm(x, a.opt_tensor(3), a.opt_tensor(4), a.opt_tensor(1), a.opt_tensor(2),
                                    a.boolean(5), a.f64(6), a.f64(7));
        if (!a.boolean(5)) return std::tuple(y, empty(Dims{0}, x.dtype()), empty(Dims{0}, x.dtype()));
        Dims others{0};
        for (int64_t d = 2; d < x.dim(); ++d) others.push_back(d);
        const auto [variance, center] = var_mean(detach(x), others, 0);
        return std::tuple(y, center, rsqrt(variance + a.f64(7)));
      });
}

}  // namespace fireseed::bind

// group_norm, forward and backward.
#include "cpu/norm_util.h"
#include "tensor/attrs/norm.h"

namespace fireseed::cpu::FS_ISA {
namespace {

// [n, channels, inner], channels in `groups` groups of `per`.
struct GroupShape { int64_t n, channels, inner, groups, per; };
GroupShape group_shape(const TensorView& x, int64_t groups) {
  GroupShape s{x.sizes[0], x.sizes[1], 1, groups, x.sizes[1] / groups};
  for (int d = 2; d < x.ndim; ++d) s.inner *= x.sizes[d];
  return s;
}

}  // namespace

// in: x, weight or absent, bias or absent. out: y, mean and rstd [N, groups] (compute type).
// y = (x - mean) / sqrt(var + eps) w_c + b_c (Wu, He 2018).
void group_norm(const KernelArgs& args) {
  const auto& a = args.attrs<GroupNormAttrs>();
  const GroupShape s = group_shape(args.in[0], a.groups);
  dispatch_float(args.in[0].dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_type<T>;
    const Contiguous<T> input(args.in[0]);
    Params<C> weight(args.in[1], s.channels, 1), bias(args.in[2], s.channels, 0);
    const T* x = input.data();
    T* y = args.out[0].ptr<T>();
    C *mean = args.out[1].ptr<C>(), *rstd = args.out[2].ptr<C>();
    const C *w = weight.data(), *b = bias.data();
    const int64_t size = s.per * s.inner;
    parallel_for(s.n * s.groups, larger(1, 16384 / larger(1, size)), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        Part part;
        part.a.d = part.b.d = 0;
        add_moments(part, x + i * size, size);
        const double r = 1 / __builtin_sqrt(part.b.d / static_cast<double>(size) + a.eps);
        mean[i] = static_cast<C>(part.a.d);
        rstd[i] = static_cast<C>(r);
        const int64_t c0 = i % s.groups * s.per;
        for (int64_t k = 0; k < s.per; ++k) {
          const int64_t at = i * size + k * s.inner;
          affine_run(x + at, y + at, s.inner, mean[i], static_cast<C>(r) * w[c0 + k], b[c0 + k], size);
        }
      }
    });
  });
}

// in: g, x, weight or absent, mean, rstd. out: gx, gw, gb (compute type, [C]).
void group_norm_backward(const KernelArgs& args) {
  const auto& a = args.attrs<GroupNormAttrs>();
  const GroupShape s = group_shape(args.in[1], a.groups);
  dispatch_float(args.in[1].dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_type<T>;
    const Contiguous<T> grad(args.in[0]), input(args.in[1]);
    Params<C> weight(args.in[2], s.channels, 1);
    const T *g = grad.data(), *x = input.data();
    const C *w = weight.data(), *mean = args.in[3].ptr<C>(), *rstd = args.in[4].ptr<C>();
    T* gx = args.out[0].ptr<T>();
    const int64_t size = s.per * s.inner;
    Scratch<double> sums(2 * larger(1, s.n * s.channels));  // Σ g xhat, Σ g of each plane
    double* sum = sums.data();
    parallel_for(s.n * s.groups, larger(1, 16384 / larger(1, size)), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t c0 = i % s.groups * s.per;
        const double r = static_cast<double>(rstd[i]);
        double wg = 0, wgx = 0;
        for (int64_t k = 0; k < s.per; ++k) {
          const int64_t plane = i * s.per + k, at = plane * s.inner;
          const TwoSums t = two_sums(g + at, x + at, s.inner, mean[i]);
          sum[2 * plane] = t.gx * r;
          sum[2 * plane + 1] = t.g;
          wg += t.g * static_cast<double>(w[c0 + k]);
          wgx += t.gx * r * static_cast<double>(w[c0 + k]);
        }
        const double count = static_cast<double>(size);
        const C b = static_cast<C>(-wgx / count * r * r), c = static_cast<C>(-wg / count * r);
        for (int64_t k = 0; k < s.per; ++k) {
          const int64_t at = i * size + k * s.inner;
          affine_backward_run(g + at, x + at, gx + at, s.inner, mean[i], w[c0 + k] * rstd[i], b, c, size);
        }
      }
    });
    C *gw = args.out[1].ptr<C>(), *gb = args.out[2].ptr<C>();
    for (int64_t c = 0; c < s.channels; ++c) {
      double u = 0, v = 0;
      for (int64_t n = 0; n < s.n; ++n) {
        u += sum[2 * (n * s.channels + c)];
        v += sum[2 * (n * s.channels + c) + 1];
      }
      gw[c] = static_cast<C>(u);
      gb[c] = static_cast<C>(v);
    }
  });
}

}  // namespace fireseed::cpu::FS_ISA

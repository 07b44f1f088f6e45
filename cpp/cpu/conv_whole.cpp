// Convolutions whose kernel covers the image, and transposed ones of one pixel: each is one matrix product a group.
#include "base/parallel.h"
#include "cpu/conv.h"

namespace fireseed::cpu::FS_ISA {
namespace {

// The kernel's elements of a row follow one another.
template <class T>
bool dense_weight(const ConvJob<T>& job) {
  const ConvAxis *ay = &job.axis[1], *ax = &job.axis[2];
  return job.w_tap[2] == 1 && (ay->taps == 1 || job.w_tap[1] == ax->taps) &&
         (job.axis[0].taps == 1 || job.w_tap[0] == ay->taps * ax->taps);
}

// One output pixel, at which the taps meet the source's elements one to one.
template <class T>
bool covers_source(const ConvJob<T>& job) {
  for (const ConvAxis& a : job.axis)
    if (a.out != 1 || a.taps != a.src || a.off0 != 0 || (a.taps > 1 && a.doff != 1) || a.ker0 != 0 || a.dker != 1)
      return false;
  return dense_weight(job) && job.w_channel == job.taps();
}

// One source pixel, which each tap takes to an output pixel of its own, in order.
template <class T>
bool spreads_pixel(const ConvJob<T>& job) {
  int64_t step = 1;
  for (int i = 2; i >= 0; --i) {
    const ConvAxis& a = job.axis[i];
    if (a.src != 1 || a.out != a.taps || a.off0 != 0 || a.ker0 != 0) return false;
    if (a.taps > 1 && (a.step != 1 || a.doff != -1 || a.dker != 1 || job.out_step[i] != step)) return false;
    step *= a.out;
  }
  return dense_weight(job) && job.w_row == job.taps() && job.out_channel == job.taps();
}

}  // namespace

// out(n, m) = bias(m) + sum over k of src(n, k) weight(m, k), or out(n, (m, t)) = bias(m) + sum over c of src(n, c)
// weight(c, (m, t)). Returns false where the job is neither.
template <class T>
bool conv_whole(const ConvJob<T>& job) {
  const bool covers = covers_source(job);
  if (job.channels == 0 || (!covers && !spreads_pixel(job))) return false;
  const int64_t taps = job.taps();
  GemmCall<T> g{};
  g.m = job.batch;
  g.a_row = job.src_image;
  g.a_col = 1;
  g.c_row = job.out_image;
  g.c_col = 1;
  g.k = covers ? job.channels * taps : job.channels;
  g.n = covers ? job.rows : job.rows * taps;
  g.b_row = covers ? 1 : job.w_channel;
  g.b_col = covers ? job.w_row : 1;
  Scratch<T> bias;  // a value a column
  if (job.bias && !covers) {
    bias.reset(job.groups * g.n);
    for (int64_t i = 0; i < job.groups * g.n; ++i) bias[i] = job.bias[i / taps];
  }
  for (int64_t group = 0; group < job.groups; ++group) {
    g.a = job.src + group * job.channels * job.src_channel;
    g.b = job.weight + group * job.w_group;
    g.c = job.out + group * g.n;
    if (job.bias) g.bias_col = (covers ? job.bias : bias.data()) + group * g.n;
    gemm(g);
  }
  return true;
}

// The gradient to the weight of the first kind: dw(m, k) = sum over n of g(n, m) src(n, k).
template <class T>
bool conv_whole_weight(const ConvJob<T>& job, const T* grad, T* dw) {
  if (!covers_source(job)) return false;
  GemmCall<T> g{};
  g.m = job.rows;
  g.n = job.channels * job.taps();
  g.k = job.batch;
  g.a_row = 1;
  g.a_col = job.out_image;
  g.b_row = job.src_image;
  g.b_col = 1;
  g.c_row = job.w_row;
  g.c_col = 1;
  for (int64_t group = 0; group < job.groups; ++group) {
    g.a = grad + group * job.rows;
    g.b = job.src + group * job.channels * job.src_channel;
    g.c = dw + group * job.w_group;
    gemm(g);
  }
  return true;
}

template bool conv_whole(const ConvJob<float>&);
template bool conv_whole(const ConvJob<double>&);
template bool conv_whole_weight(const ConvJob<float>&, const float*, float*);
template bool conv_whole_weight(const ConvJob<double>&, const double*, double*);

}  // namespace fireseed::cpu::FS_ISA

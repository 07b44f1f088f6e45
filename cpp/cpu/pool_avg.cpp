// Average pooling, forward.
#include "cpu/pool_util.h"

namespace fireseed::cpu::FS_ISA {
namespace {

template <class C, int kN, class Values>
[[gnu::always_inline]] inline void sum_block(const Values& from, const PoolTap* taps, int64_t num_taps,
                                             const C* divisors, int64_t l, C* values, int tail) {
  constexpr int kV = Vec<C>::kSize;
  Vec<C> sum[kN];
  for (int u = 0; u < kN; ++u) sum[u] = Vec<C>(C(0));
  for (int64_t t = 0; t < num_taps; ++t) {
    for (int u = 0; u < kN; ++u) sum[u] += from.load(taps[t].offset, u);
  }
  for (int u = 0; u < kN; ++u) {
    const Vec<C> v = sum[u] / Vec<C>::load(divisors + l + u * kV);
    if (tail < kV) v.store(values + l + u * kV, tail);
    else v.store(values + l + u * kV);
  }
}

template <class T>
void avg_planes(const PoolAttrs& a, const PoolShape& s, const T* image, T* pooled) {
  using C = compute_type<T>;
  constexpr int kV = Vec<C>::kSize;
  const PhasePlan plan(a, s, 0);
  const PoolDivisors<C> divisors(a, s);
  const int64_t oh = s.out[1], ow = s.out[2], kd = a.kernel[0];
  const int64_t bands = div_up(oh, plan.band), depth = s.out[0];
  const int64_t lanes = plan.band * plan.pitch;
  const bool direct = same_type<C, T> && plan.pitch == ow && s.os[2] == 1 && (oh == 1 || s.os[1] == ow);
  const bool by_rows = reads_rows<C, T>(a, s);
  const int64_t work = plan.slice * kd;
  parallel_for(
      bands * depth * s.planes, max_of(1, 2 * kMoveChunk / max_of(1, work)), [&](int64_t begin, int64_t end) {
        const MoveScratch<C> phases(work + 2 * kV), values(lanes + 2 * kV), divisor(lanes + 2 * kV),
            line(s.in[2] + kV);
        const MoveScratch<PoolTap> taps(kd * plan.kh * plan.kw);
        for (int64_t i = 0; i < lanes + 2 * kV; ++i) divisor[i] = C(1);
        int64_t current = -1, od = 0, oh0 = 0, n = 0, num_taps = 0, d0 = 0, d1 = 0;
        for (int64_t task = begin; task < end; ++task) {
          const int64_t p = task % s.planes;
          if (task / s.planes != current) {
            current = task / s.planes;
            od = current / bands;
            oh0 = current % bands * plan.band;
            n = min_of(plan.band, oh - oh0);
            valid_taps(od, a.stride[0], a.padding[0], 1, kd, s.in[0], d0, d1);
            num_taps = 0;
            for (int64_t z = 0; z < d1 - d0; ++z)
              for (int64_t y = 0; y < plan.kh; ++y)
                for (int64_t x = 0; x < plan.kw; ++x)
                  taps[num_taps++] = {
                      by_rows ? z * s.xs[0] + y * s.xs[1] + x : z * plan.slice + plan.tap_offset(y, x), 0, 0};
            for (int64_t r = 0; r < n; ++r)
              for (int64_t x = 0; x < ow; ++x) divisor[r * plan.pitch + x] = divisors.at(od, oh0 + r, x);
          }
          int64_t off[2];
          s.lead.offsets(p, off);
          for (int64_t z = d0; z < d1 && !by_rows; ++z) {
            const T* slice = image + off[0] + (od * a.stride[0] - a.padding[0] + z) * s.xs[0];
            plan.split(phases.data() + (z - d0) * plan.slice, slice, s.xs[1], s.xs[2], oh0, n, C(0), line.data());
          }
          const int64_t o_at = off[1] + od * s.os[0] + oh0 * s.os[1];
          const int64_t count = (n - 1) * plan.pitch + ow;
          C* target = values.data();
          if constexpr (same_type<C, T>) {
            if (direct) target = pooled + o_at;
          }
          int64_t l = 0;
          if constexpr (same_type<C, T>) {
            const C* top = image + off[0] + od * a.stride[0] * s.xs[0] + oh0 * a.stride[1] * s.xs[1];
            for (int64_t r = 0; r < n && by_rows; ++r, top += a.stride[1] * s.xs[1])
              for (int64_t x = 0; x < ow; x += kV) {
                const int left = static_cast<int>(min_of(kV, ow - x));
                sum_block<C, 1>(RowValues<C>{top + 2 * x, left}, taps.data(), num_taps, divisor.data(),
                                r * plan.pitch + x, target, left);
              }
            if (by_rows) l = count;
          }
          for (; l + 2 * kV <= count; l += 2 * kV)
            sum_block<C, 2>(PhaseValues<C>{phases.data() + l}, taps.data(), num_taps, divisor.data(), l, target, kV);
          for (; l < count; l += kV)
            sum_block<C, 1>(PhaseValues<C>{phases.data() + l}, taps.data(), num_taps, divisor.data(), l, target,
                            static_cast<int>(min_of(kV, count - l)));
          for (int64_t r = 0; r < n && !direct; ++r)
            store_row(pooled + o_at + r * s.os[1], s.os[2], values.data() + r * plan.pitch, ow);
        }
      });
}

template <class T>
void avg_channels_last(const PoolAttrs& a, const PoolShape& s, const T* image, T* pooled) {
  using C = compute_type<T>;
  constexpr int kV = Vec<C>::kSize;
  const PoolDivisors<C> divisors(a, s);
  const int64_t rows = s.batch * s.out[0] * s.out[1];
  const int64_t row_work = s.out[2] * s.channels * a.kernel[0] * a.kernel[1] * a.kernel[2];
  parallel_for(rows, max_of(1, kMoveChunk / max_of(1, row_work)), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t b = row / (s.out[1] * s.out[0]);
      int64_t o[3] = {row / s.out[1] % s.out[0], row % s.out[1], 0}, t0[3], t1[3];
      for (int i = 0; i < 2; ++i) valid_taps(o[i], a.stride[i], a.padding[i], 1, a.kernel[i], s.in[i], t0[i], t1[i]);
      for (o[2] = 0; o[2] < s.out[2]; ++o[2]) {
        valid_taps(o[2], a.stride[2], a.padding[2], 1, a.kernel[2], s.in[2], t0[2], t1[2]);
        const T* x = image + b * s.x_batch;
        for (int i = 0; i < 3; ++i) x += (o[i] * a.stride[i] - a.padding[i]) * s.xs[i];
        T* out = pooled + b * s.o_batch + o[0] * s.os[0] + o[1] * s.os[1] + o[2] * s.os[2];
        const Vec<C> divisor(divisors.at(o[0], o[1], o[2]));
        for (int64_t c = 0; c < s.channels; c += kV) {
          const int n = static_cast<int>(min_of(kV, s.channels - c));
          Vec<C> sum(C(0));
          for (int64_t z = t0[0]; z < t1[0]; ++z)
            for (int64_t y = t0[1]; y < t1[1]; ++y)
              for (int64_t k = t0[2]; k < t1[2]; ++k) {
                const T* p = x + z * s.xs[0] + y * s.xs[1] + k * s.xs[2] + c;
                sum += n == kV ? load_as<C>(p) : load_as<C>(p, n);
              }
          store_as<C>(out + c, sum / divisor, n);
        }
      }
    }
  });
}

}  // namespace

// in: (.., [D, [H,]] W); out: means of the windows of attrs (dilation is not used).
void avg_pool(const KernelArgs& args) {
  const PoolAttrs& a = args.attrs<PoolAttrs>();
  const TensorView &in = args.in[0], &out = args.out[0];
  if (out.numel == 0) return;
  dispatch_float(in.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const PoolShape s(in, out, a.spatial);
    if (s.channels_last) avg_channels_last<T>(a, s, in.ptr<const T>(), out.ptr<T>());
    else avg_planes<T>(a, s, in.ptr<const T>(), out.ptr<T>());
  });
}

}  // namespace fireseed::cpu::FS_ISA

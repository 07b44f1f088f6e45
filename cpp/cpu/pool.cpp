// Max pooling, forward: values alone, with the index of each maximum, or with its number inside the window.
#include "cpu/pool_util.h"

namespace fireseed::cpu::FS_ISA {
namespace {

enum class Want { kNone, kIndex, kWindow };

template <class C>
C lowest() {
  if constexpr (is_float_lane<C>) return static_cast<C>(-__builtin_inf());
  else return std::numeric_limits<C>::lowest();
}

// Smallest valid flat index (or window number) of an output whose window holds nothing above -inf.
template <Want kWant>
int64_t first_valid(const PoolAttrs& a, const PoolShape& s, int64_t od, int64_t oh, int64_t ow) {
  int64_t d0, d1, h0, h1, w0, w1;
  valid_taps(od, a.stride[0], a.padding[0], a.dilation[0], a.kernel[0], s.in[0], d0, d1);
  valid_taps(oh, a.stride[1], a.padding[1], a.dilation[1], a.kernel[1], s.in[1], h0, h1);
  valid_taps(ow, a.stride[2], a.padding[2], a.dilation[2], a.kernel[2], s.in[2], w0, w1);
  if (kWant == Want::kWindow) return (d0 * a.kernel[1] + h0) * a.kernel[2] + w0;
  const int64_t z = od * a.stride[0] - a.padding[0] + d0 * a.dilation[0];
  const int64_t y = oh * a.stride[1] - a.padding[1] + h0 * a.dilation[1];
  const int64_t x = ow * a.stride[2] - a.padding[2] + w0 * a.dilation[2];
  return (z * s.in[1] + y) * s.in[2] + x;
}

// kN registers of outputs at once: their dependency chains overlap. PyTorch's rule: the first largest entry, or the
// last NaN. Where nothing is NaN, which costs a comparison for two entries to know, one comparison each does.
template <class C, Want kWant, int kN, class Values>
[[gnu::always_inline]] inline void max_block(const Values& from, const PoolTap* taps, int64_t num_taps,
                                             const lane_int<C>* base, int64_t l, C* values, lane_int<C>* found,
                                             int tail) {
  using I = lane_int<C>;
  constexpr int kV = Vec<C>::kSize;
  Vec<C> best[kN];
  Vec<I> at[kN];
  const auto start = [&] {
    for (int u = 0; u < kN; ++u) {
      best[u] = Vec<C>(lowest<C>());
      at[u] = Vec<I>(I(-1));
    }
  };
  const auto take = [&](int u, Mask<C> better, Vec<C> v, const PoolTap& tap) {
    best[u] = where(better, v, best[u]);
    if constexpr (kWant == Want::kIndex) {
      at[u] = where(mask_cast<I>(better), Vec<I>::load(base + l + u * kV) + Vec<I>(static_cast<I>(tap.index)), at[u]);
    } else if constexpr (kWant == Want::kWindow) {
      at[u] = where(mask_cast<I>(better), Vec<I>(static_cast<I>(tap.code)), at[u]);
    }
  };
  const auto value = [&](int64_t t, int u) { return from.load(taps[t].offset, u); };
  start();
  auto nan = Mask<C>::filled(false);
  for (int64_t t = 0; t < num_taps; t += 2) {
    const int64_t next = t + 1 < num_taps ? t + 1 : t;
    for (int u = 0; u < kN; ++u) {
      const Vec<C> v = value(t, u), w = value(next, u);
      if constexpr (is_float_lane<C>) nan = nan | unordered(v, w);
      if constexpr (kWant == Want::kNone) {
        best[u] = max(max(best[u], v), w);
      } else {
        take(u, v > best[u], v, taps[t]);
        take(u, w > best[u], w, taps[next]);
      }
    }
  }
  if constexpr (is_float_lane<C>) {
    if (__builtin_expect(nan.any(), false)) {
      start();
      for (int64_t t = 0; t < num_taps; ++t)
        for (int u = 0; u < kN; ++u) {
          const Vec<C> v = value(t, u);
          take(u, (v > best[u]) | (v != v), v, taps[t]);
        }
    }
  }
  for (int u = 0; u < kN; ++u) {
    if (tail < kV) best[u].store(values + l + u * kV, tail);
    else best[u].store(values + l + u * kV);
    if constexpr (kWant != Want::kNone) at[u].store(found + l + u * kV);
  }
}

template <class T, class O, Want kWant>
void max_planes(const PoolAttrs& a, const PoolShape& s, const T* image, T* pooled, O* where_out) {
  using C = pool_type<T>;
  using I = lane_int<C>;
  constexpr int kV = Vec<C>::kSize;
  const PhasePlan plan(a, s, 0);
  const int64_t oh = s.out[1], ow = s.out[2], kd = a.kernel[0];
  const int64_t bands = div_up(oh, plan.band), depth = s.out[0];
  const int64_t lanes = plan.band * plan.pitch;
  const bool dense = plan.pitch == ow && s.os[2] == 1 && (oh == 1 || s.os[1] == ow);
  const bool direct = dense && same_type<C, T>;
  const bool by_rows = reads_rows<C, T>(a, s);
  const int64_t work = plan.slice * kd;
  // Tasks: band by band, the planes within; consecutive ones share the table of base indices.
  parallel_for(
      bands * depth * s.planes, max_of(1, 2 * kMoveChunk / max_of(1, work)), [&](int64_t begin, int64_t end) {
        const MoveScratch<C> phases(work + 2 * kV), values(lanes + 2 * kV), line(s.in[2] + kV);
        const MoveScratch<I> base(lanes + 2 * kV), found(lanes + 2 * kV);
        const MoveScratch<PoolTap> taps(kd * plan.kh * plan.kw);
        int64_t current = -1, od = 0, oh0 = 0, n = 0, num_taps = 0, d0 = 0, d1 = 0;
        for (int64_t task = begin; task < end; ++task) {
          const int64_t p = task % s.planes;
          if (task / s.planes != current) {
            current = task / s.planes;
            od = current / bands;
            oh0 = current % bands * plan.band;
            n = min_of(plan.band, oh - oh0);
            valid_taps(od, a.stride[0], a.padding[0], a.dilation[0], kd, s.in[0], d0, d1);
            num_taps = 0;
            for (int64_t z = d0; z < d1; ++z) {
              const int64_t slice_index = (od * a.stride[0] - a.padding[0] + z * a.dilation[0]) * s.in[1];
              for (int64_t y = 0; y < plan.kh; ++y)
                for (int64_t x = 0; x < plan.kw; ++x)
                  taps[num_taps++] = {by_rows ? z * a.dilation[0] * s.xs[0] + y * plan.dh * s.xs[1] + x * plan.dw
                                              : (z - d0) * plan.slice + plan.tap_offset(y, x),
                                      (slice_index + y * plan.dh) * plan.w + x * plan.dw,
                                      (z * plan.kh + y) * plan.kw + x};
            }
            if (kWant == Want::kIndex) {
              for (int64_t r = 0; r < n; ++r)
                for (int64_t x = 0; x < plan.pitch; ++x)
                  base[r * plan.pitch + x] =
                      static_cast<I>(((oh0 + r) * plan.sh - plan.ph) * plan.w + x * plan.sw - plan.pw);
            }
          }
          int64_t off[2];
          s.lead.offsets(p, off);
          for (int64_t z = d0; z < d1 && !by_rows; ++z) {
            const T* slice = image + off[0] + (od * a.stride[0] - a.padding[0] + z * a.dilation[0]) * s.xs[0];
            plan.split(phases.data() + (z - d0) * plan.slice, slice, s.xs[1], s.xs[2], oh0, n, lowest<C>(),
                       line.data());
          }
          const int64_t o_at = off[1] + od * s.os[0] + oh0 * s.os[1];
          const int64_t count = (n - 1) * plan.pitch + ow;
          C* target = values.data();
          if constexpr (same_type<C, T>) {
            if (direct) target = pooled + o_at;
          }
          int64_t l = 0;
          if constexpr (same_type<C, T>) {
            const C* top = image + off[0] + od * a.stride[0] * s.xs[0] + oh0 * plan.sh * s.xs[1];
            for (int64_t r = 0; r < n && by_rows; ++r, top += plan.sh * s.xs[1])
              for (int64_t x = 0; x < ow; x += kV) {
                const int left = static_cast<int>(min_of(kV, ow - x));
                max_block<C, kWant, 1>(RowValues<C>{top + 2 * x, left}, taps.data(), num_taps, base.data(),
                                       r * plan.pitch + x, target, found.data(), left);
              }
            if (by_rows) l = count;
          }
          ReadAhead ahead;
          if (task + 1 < end && !by_rows) {  // its image is fetched while this band is computed
            const int64_t next_od = (task + 1) / s.planes / bands,
                          next_oh = (task + 1) / s.planes % bands * plan.band;
            s.lead.offsets((task + 1) % s.planes, off);
            ahead = ReadAhead::rows(a, s, image + off[0], next_od, next_oh, plan.band, div_up(count, 2 * kV));
          }
          for (; l + 2 * kV <= count; l += 2 * kV) {
            ahead.step();
            max_block<C, kWant, 2>(PhaseValues<C>{phases.data() + l}, taps.data(), num_taps, base.data(), l, target,
                                   found.data(), kV);
          }
          for (; l < count; l += kV) {
            max_block<C, kWant, 1>(PhaseValues<C>{phases.data() + l}, taps.data(), num_taps, base.data(), l, target,
                                   found.data(), static_cast<int>(min_of(kV, count - l)));
          }
          for (int64_t r = 0; r < n && !direct; ++r)
            store_row(pooled + o_at + r * s.os[1], s.os[2], values.data() + r * plan.pitch, ow);
          if constexpr (kWant != Want::kNone) {
            I least = 0;
            for (int64_t i = 0; i < count; ++i) least |= found[i];  // negative where one is
            if (least < 0) {
              for (int64_t r = 0; r < n; ++r)
                for (int64_t x = 0; x < ow; ++x) {
                  I& f = found[r * plan.pitch + x];
                  if (f < 0) f = static_cast<I>(first_valid<kWant>(a, s, od, oh0 + r, x));
                }
            }
            if (dense) {
              for (int64_t i = 0; i < count; ++i) where_out[o_at + i] = static_cast<O>(found[i]);
            } else {
              for (int64_t r = 0; r < n; ++r)
                for (int64_t x = 0; x < ow; ++x)
                  where_out[o_at + r * s.os[1] + x * s.os[2]] = static_cast<O>(found[r * plan.pitch + x]);
            }
          }
        }
      });
}

// Channels-last memory: lanes are channels, no split needed.
template <class T, class O, Want kWant>
void max_channels_last(const PoolAttrs& a, const PoolShape& s, const T* image, T* pooled, O* where_out) {
  using C = pool_type<T>;
  using I = lane_int<C>;
  constexpr int kV = Vec<C>::kSize;
  const int64_t channels = s.channels, rows = s.batch * s.out[0] * s.out[1];
  const int64_t row_work = s.out[2] * channels * a.kernel[0] * a.kernel[1] * a.kernel[2];
  parallel_for(rows, max_of(1, kMoveChunk / max_of(1, row_work)), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t oh = row % s.out[1], od = row / s.out[1] % s.out[0], b = row / (s.out[1] * s.out[0]);
      int64_t d0, d1, h0, h1;
      valid_taps(od, a.stride[0], a.padding[0], a.dilation[0], a.kernel[0], s.in[0], d0, d1);
      valid_taps(oh, a.stride[1], a.padding[1], a.dilation[1], a.kernel[1], s.in[1], h0, h1);
      for (int64_t ow = 0; ow < s.out[2]; ++ow) {
        int64_t w0, w1;
        valid_taps(ow, a.stride[2], a.padding[2], a.dilation[2], a.kernel[2], s.in[2], w0, w1);
        const int64_t o_at = b * s.o_batch + od * s.os[0] + oh * s.os[1] + ow * s.os[2];
        const int64_t z0 = od * a.stride[0] - a.padding[0], y0 = oh * a.stride[1] - a.padding[1],
                      x0 = ow * a.stride[2] - a.padding[2];
        const I first = kWant == Want::kNone ? I(0) : static_cast<I>(first_valid<kWant>(a, s, od, oh, ow));
        for (int64_t c = 0; c < channels; c += kV) {
          const int n = static_cast<int>(min_of(kV, channels - c));
          Vec<C> best(lowest<C>());
          Vec<I> at(first);
          for (int64_t z = d0; z < d1; ++z)
            for (int64_t y = h0; y < h1; ++y)
              for (int64_t x = w0; x < w1; ++x) {
                const int64_t iz = z0 + z * a.dilation[0], iy = y0 + y * a.dilation[1], ix = x0 + x * a.dilation[2];
                const T* p = image + b * s.x_batch + iz * s.xs[0] + iy * s.xs[1] + ix * s.xs[2] + c;
                const Vec<C> v = n == kV ? load_as<C>(p) : load_as<C>(p, n);
                auto better = v > best;
                if constexpr (is_float_lane<C>) better = better | (v != v);
                best = where(better, v, best);
                if constexpr (kWant == Want::kIndex) {
                  at = where(mask_cast<I>(better), Vec<I>(static_cast<I>((iz * s.in[1] + iy) * s.in[2] + ix)), at);
                } else if constexpr (kWant == Want::kWindow) {
                  at = where(mask_cast<I>(better), Vec<I>(static_cast<I>((z * a.kernel[1] + y) * a.kernel[2] + x)),
                             at);
                }
              }
          store_as<C>(pooled + o_at + c, best, n);
          if constexpr (kWant != Want::kNone) {
            I lanes[kV];
            at.store(lanes);
            for (int i = 0; i < n; ++i) where_out[o_at + c + i] = static_cast<O>(lanes[i]);
          }
        }
      }
    }
  });
}

bool same_strides(const TensorView& a, const TensorView& b) {
  for (int d = 0; d < a.ndim; ++d)
    if (a.strides[d] != b.strides[d] && a.sizes[d] > 1) return false;
  return true;
}

template <class O, Want kWant>
void max_pool_any(const KernelArgs& args) {
  const PoolAttrs& a = args.attrs<PoolAttrs>();
  const TensorView &in = args.in[0], &out = args.out[0];
  if (out.numel == 0) return;
  const auto run = [&](auto tag) {
    using T = typename decltype(tag)::type;
    const PoolShape s(in, out, a.spatial);
    O* where_out = kWant == Want::kNone ? nullptr : args.out[1].ptr<O>();
    if (kWant != Want::kNone && !same_strides(out, args.out[1])) {
      // Values and positions laid out differently: compute into dense arrays of the values' layout rules.
      const PackedOut<T> values(out);
      const PackedOut<O> places(args.out[1]);
      const Dims strides = contiguous_strides(out.shape());
      TensorView dense = out;
      dense.data = values.data();
      dense.strides = strides.d;
      const PoolShape packed(in, dense, a.spatial);
      max_planes<T, O, kWant>(a, packed, in.ptr<const T>(), values.data(), places.data());
      values.flush();
      places.flush();
    } else if (s.channels_last) {
      max_channels_last<T, O, kWant>(a, s, in.ptr<const T>(), out.ptr<T>(), where_out);
    } else {
      max_planes<T, O, kWant>(a, s, in.ptr<const T>(), out.ptr<T>(), where_out);
    }
  };
  switch (in.dtype) {
    case DType::kUInt8: return run(TypeTag<uint8_t>{});
    case DType::kInt8: return run(TypeTag<int8_t>{});
    case DType::kInt16: return run(TypeTag<int16_t>{});
    case DType::kInt32: return run(TypeTag<int32_t>{});
    case DType::kInt64: return run(TypeTag<int64_t>{});
    default: return dispatch_float(in.dtype, run);
  }
}

}  // namespace

// in: (.., [D, [H,]] W); out: maxima of the windows of attrs (padding counts as -inf; NaN wins).
void max_pool(const KernelArgs& args) { max_pool_any<int64_t, Want::kNone>(args); }

// The same, and out[1]: int64, the position of each maximum in its plane, D*H*W flattened.
void max_pool_with_indices(const KernelArgs& args) { max_pool_any<int64_t, Want::kIndex>(args); }

// The same, and out[1]: uint8, the number of each maximum inside its window (windows of up to 255 entries): what the
// backward pass needs, in an eighth of the memory.
void max_pool_with_window(const KernelArgs& args) { max_pool_any<uint8_t, Want::kWindow>(args); }

}  // namespace fireseed::cpu::FS_ISA

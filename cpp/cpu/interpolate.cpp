// Resampling kernels: nearest, linear and cubic in one to three dimensions, with antialiasing, and their gradients.
#include "tensor/resample.h"

#include "cpu/pool_util.h"

namespace fireseed::cpu::FS_ISA {
namespace {

// Note [Separable taps]
// Every mode is out[o] = sum over t of weight[t][o] * in[index[t][o]] along each dimension in turn. The gradient has
// the same form with the table transposed, so one routine serves both passes.
template <class C>
struct Taps {
  int64_t count = 0, size = 0;  // taps of each output, outputs
  MoveScratch<int32_t> index;   // [tap][output]
  MoveScratch<C> weight;
  Taps(int64_t taps, int64_t n) : count(taps), size(n), index(taps * n + 64), weight(taps * n + 64) {
    for (int64_t i = 0; i < taps * n + 64; ++i) {
      index[i] = 0;
      weight[i] = C(0);
    }
  }
  // Every output is the input at its own place.
  bool plain_identity(int64_t in) const {
    if (in != size) return false;
    for (int64_t o = 0; o < size; ++o)
      for (int64_t t = 0; t < count; ++t)
        if (weight[t * size + o] != C(t == 0 ? 1 : 0) || (t == 0 && index[o] != o)) return false;
    return true;
  }
};

template <class C>
void fill_forward(const InterpolateAttrs& a, int i, Taps<C>& taps) {
  for (int64_t o = 0; o < taps.size; ++o)
    output_taps<C>(a, i, o, taps.count, [&](int64_t t, int64_t from, C w) {
      taps.index[t * taps.size + o] = static_cast<int32_t>(max_of(0, min_of(a.in[i] - 1, from)));
      taps.weight[t * taps.size + o] = w;
    });
}

// Most outputs that read one input.
template <class C>
int64_t transposed_count(const Taps<C>& taps, int64_t in) {
  const MoveScratch<int32_t> uses(in);
  for (int64_t i = 0; i < in; ++i) uses[i] = 0;
  for (int64_t o = 0; o < taps.size; ++o)
    for (int64_t t = 0; t < taps.count; ++t) ++uses[taps.index[t * taps.size + o]];
  int64_t most = 1;
  for (int64_t i = 0; i < in; ++i) most = max_of(most, uses[i]);
  return most;
}
// Into `back` (outputs: the forward inputs), in order of forward output; taps on one (input, output) pair are added.
template <class C>
void transpose_taps(const Taps<C>& taps, int64_t in, Taps<C>& back) {
  const MoveScratch<int32_t> used(in);
  for (int64_t i = 0; i < in; ++i) used[i] = 0;
  for (int64_t o = 0; o < taps.size; ++o)
    for (int64_t t = 0; t < taps.count; ++t) {
      const int64_t i = taps.index[t * taps.size + o];
      const C w = taps.weight[t * taps.size + o];
      if (used[i] > 0 && back.index[(used[i] - 1) * in + i] == o) {
        back.weight[(used[i] - 1) * in + i] += w;
      } else if (w != C(0)) {
        back.index[used[i] * in + i] = static_cast<int32_t>(o);
        back.weight[used[i] * in + i] = w;
        ++used[i];
      }
    }
  // Unused taps read a neighbour, so that a register's indices stay close together.
  for (int64_t i = 0; i < in; ++i)
    for (int64_t t = used[i]; t < back.count; ++t) {
      back.index[t * in + i] = used[i] > 0 ? back.index[i]
                               : i > 0     ? back.index[(t < used[i - 1] ? t : 0) * in + i - 1]
                                           : 0;
      back.weight[t * in + i] = C(0);
    }
}

// The horizontal pass of one row: registers of outputs read two neighbouring registers of inputs and pick lanes,
// which serves every scale down to about one half; other blocks go entry by entry.
template <class C>
class RowMap {
 public:
  explicit RowMap(const Taps<C>& taps)
      : taps_(taps), blocks_(div_up(taps.size, kV)), base_(blocks_), lanes_(blocks_ * kV * taps.count) {
    for (int64_t b = 0; b < blocks_; ++b) {
      const int64_t n = min_of(kV, taps.size - b * kV);
      int64_t low = INT64_MAX, high = 0;
      for (int64_t t = 0; t < taps.count; ++t)
        for (int64_t j = 0; j < n; ++j) {
          const int64_t i = taps.index[t * taps.size + b * kV + j];
          low = min_of(low, i);
          high = max_of(high, i);
        }
      base_[b] = high - low < 2 * kV ? low : -1;
      for (int64_t t = 0; t < taps.count; ++t)
        for (int64_t j = 0; j < kV; ++j)
          lanes_[(b * taps.count + t) * kV + j] =
              j < n && base_[b] >= 0 ? static_cast<lane_int<C>>(taps.index[t * taps.size + b * kV + j] - low) : 0;
    }
  }
  // src has 2 * kV readable entries beyond its end; writes no more than the row's entries.
  void run(const C* src, C* dst) const {
    using Index = native_t<lane_int<C>>;
    for (int64_t b = 0; b < blocks_; ++b) {
      const int64_t o = b * kV;
      if (base_[b] < 0) {
        for (int64_t j = o; j < min_of(taps_.size, o + kV); ++j) {
          C sum = C(0);
          for (int64_t t = 0; t < taps_.count; ++t)
            sum += taps_.weight[t * taps_.size + j] * src[taps_.index[t * taps_.size + j]];
          dst[j] = sum;
        }
        continue;
      }
      const Vec<C> lo = Vec<C>::load(src + base_[b]), hi = Vec<C>::load(src + base_[b] + kV);
      Vec<C> sum(C(0));
      for (int64_t t = 0; t < taps_.count; ++t) {
        const Index pick = Vec<lane_int<C>>::load(lanes_.data() + (b * taps_.count + t) * kV).v;
        // weight[] has room past its last entry for this read
        sum = fma(Vec<C>::load(taps_.weight.data() + t * taps_.size + o), Vec<C>(__builtin_shuffle(lo.v, hi.v, pick)),
                  sum);
      }
      const int64_t left = taps_.size - o;
      left >= kV ? sum.store(dst + o) : sum.store(dst + o, static_cast<int>(left));
    }
  }

 private:
  static constexpr int64_t kV = Vec<C>::kSize;
  const Taps<C>& taps_;
  int64_t blocks_;
  MoveScratch<int64_t> base_;
  MoveScratch<lane_int<C>> lanes_;
};

template <class T> struct resample_type_of { using type = compute_type<T>; };
template <> struct resample_type_of<uint8_t> { using type = float; };

template <class T, class C>
inline void store_resampled(T* dst, int64_t step, const C* src, int64_t n) {
  if constexpr (same_type<T, uint8_t>) {
    for (int64_t i = 0; i < n; ++i) {
      const float r = __builtin_rintf(src[i]);
      dst[i * step] = static_cast<uint8_t>(r < 0 ? 0 : r > 255 ? 255 : r);
    }
  } else {
    store_row(dst, step, src, n);
  }
}

template <class T, class C>
void resample(const TensorView& in, const TensorView& out, int64_t spatial, const Taps<C>& depth,
              const Taps<C>& height, const Taps<C>& width) {
  const PoolShape s(in, out, spatial);
  const RowMap<C> map(width);
  constexpr int64_t kV = Vec<C>::kSize;
  const int64_t rows = s.out[0] * s.out[1], w_in = s.in[2], w_out = s.out[2];
  const T* px = in.ptr<const T>();
  T* po = out.ptr<T>();
  const int64_t cost = w_out * width.count + w_in * height.count * depth.count;
  const int64_t max_taps = depth.count * height.count, line_size = w_in + 3 * kV;
  const bool identity = width.plain_identity(w_in);
  parallel_for(s.planes * rows, max_of(1, kMoveChunk / max_of(1, cost)), [&](int64_t begin, int64_t end) {
    const MoveScratch<C> blended(line_size), lines(same_type<C, T> && s.xs[2] == 1 ? 0 : max_taps * line_size),
        result(w_out + kV), factor(max_taps);
    const MoveScratch<const C*> from(max_taps);
    for (int64_t i = 0; i < line_size; ++i) blended[i] = C(0);
    int64_t off[2], oh = begin % s.out[1], od = begin / s.out[1] % s.out[0];
    s.lead.offsets(begin / rows, off);
    for (int64_t task = begin; task < end; ++task, ++oh) {
      if (oh == s.out[1]) {
        oh = 0;
        if (++od == s.out[0]) {
          od = 0;
          s.lead.offsets(task / rows, off);
        }
      }
      int64_t n = 0;  // rows that have a part in this one
      for (int64_t z = 0; z < depth.count; ++z)
        for (int64_t y = 0; y < height.count; ++y) {
          const C w = depth.weight[z * depth.size + od] * height.weight[y * height.size + oh];
          if (w == C(0)) continue;
          const T* row =
              px + off[0] + depth.index[z * depth.size + od] * s.xs[0] + height.index[y * height.size + oh] * s.xs[1];
          bool ready = false;
          if constexpr (same_type<C, T>) {
            if (s.xs[2] == 1) {
              from[n] = row;
              ready = true;
            }
          }
          if (!ready) {
            load_row(lines.data() + n * line_size, row, s.xs[2], w_in);
            from[n] = lines.data() + n * line_size;
          }
          factor[n++] = w;
        }
      for (int64_t x = 0; x < w_in; x += kV) {
        const int m = static_cast<int>(min_of(kV, w_in - x));
        Vec<C> sum(C(0));
        if (m == kV) {
          for (int64_t k = 0; k < n; ++k) sum += Vec<C>(factor[k]) * Vec<C>::load(from[k] + x);
        } else {
          for (int64_t k = 0; k < n; ++k) sum += Vec<C>(factor[k]) * Vec<C>::load(from[k] + x, m);
        }
        sum.store(blended.data() + x);
      }
      T* to = po + off[1] + od * s.os[0] + oh * s.os[1];
      C* target = identity ? blended.data() : result.data();
      if constexpr (same_type<C, T>) {
        if (s.os[2] == 1 && !identity) target = to;
      }
      if (!identity) map.run(blended.data(), target);
      if (static_cast<const void*>(target) != static_cast<const void*>(to))
        store_resampled(to, s.os[2], target, w_out);
    }
  });
}

// Nearest modes, forward: elements move as they are, in any dtype.
template <class T>
void pick(const TensorView& in, const TensorView& out, int64_t spatial, const Taps<float>& depth,
          const Taps<float>& height, const Taps<float>& width) {
  const PoolShape s(in, out, spatial);
  const int64_t rows = s.out[0] * s.out[1], w = s.out[2];
  const T* px = in.ptr<const T>();
  T* po = out.ptr<T>();
  const int32_t* at = width.index.data();
  parallel_for(s.planes, max_of(1, kMoveChunk / max_of(1, rows * w)), [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      int64_t off[2];
      s.lead.offsets(p, off);
      for (int64_t od = 0; od < s.out[0]; ++od) {
        int32_t last = -1;
        for (int64_t oh = 0; oh < s.out[1]; ++oh) {
          T* o = po + off[1] + od * s.os[0] + oh * s.os[1];
          if (s.os[2] == 1 && height.index[oh] == last) {  // the same source row once more
            copy_run(o, 1, static_cast<const T*>(o - s.os[1]), 1, w);
            continue;
          }
          last = height.index[oh];
          const T* x = px + off[0] + depth.index[od] * s.xs[0] + height.index[oh] * s.xs[1];
          if (s.xs[2] == 1 && s.os[2] == 1) {
            for (int64_t i = 0; i < w; ++i) o[i] = x[at[i]];
          } else {
            for (int64_t i = 0; i < w; ++i) o[i * s.os[2]] = x[at[i] * s.xs[2]];
          }
        }
      }
    }
  });
}

}  // namespace

// in: (N, C, [D, [H,]] W) of sizes attrs.in; out: the same with sizes attrs.out.
void interpolate(const KernelArgs& args) {
  const InterpolateAttrs& a = args.attrs<InterpolateAttrs>();
  const TensorView &in = args.in[0], &out = args.out[0];
  if (out.numel == 0) return;
  if (a.mode == InterpolateMode::kNearest || a.mode == InterpolateMode::kNearestExact) {
    Taps<float> depth(1, a.out[0]), height(1, a.out[1]), width(1, a.out[2]);
    fill_forward(a, 0, depth);
    fill_forward(a, 1, height);
    fill_forward(a, 2, width);
    dispatch_size(out.dtype,
                  [&](auto tag) { pick<typename decltype(tag)::type>(in, out, a.spatial, depth, height, width); });
    return;
  }
  const auto run = [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = typename resample_type_of<T>::type;
    Taps<C> depth(tap_count<C>(a, 0), a.out[0]), height(tap_count<C>(a, 1), a.out[1]),
        width(tap_count<C>(a, 2), a.out[2]);
    fill_forward(a, 0, depth);
    fill_forward(a, 1, height);
    fill_forward(a, 2, width);
    resample<T, C>(in, out, a.spatial, depth, height, width);
  };
  if (in.dtype == DType::kUInt8) run(TypeTag<uint8_t>{});
  else dispatch_float(in.dtype, run);
}

// in: g of sizes attrs.out; out: gx of sizes attrs.in.
void interpolate_backward(const KernelArgs& args) {
  const InterpolateAttrs& a = args.attrs<InterpolateAttrs>();
  const TensorView &g = args.in[0], &out = args.out[0];
  if (out.numel == 0) return;
  if (g.numel == 0) return zero_view(out);
  dispatch_float(out.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_type<T>;
    Taps<C> depth(tap_count<C>(a, 0), a.out[0]), height(tap_count<C>(a, 1), a.out[1]),
        width(tap_count<C>(a, 2), a.out[2]);
    fill_forward(a, 0, depth);
    fill_forward(a, 1, height);
    fill_forward(a, 2, width);
    Taps<C> back_depth(transposed_count(depth, a.in[0]), a.in[0]),
        back_height(transposed_count(height, a.in[1]), a.in[1]),
        back_width(transposed_count(width, a.in[2]), a.in[2]);
    transpose_taps(depth, a.in[0], back_depth);
    transpose_taps(height, a.in[1], back_height);
    transpose_taps(width, a.in[2], back_width);
    resample<T, C>(g, out, a.spatial, back_depth, back_height, back_width);
  });
}

}  // namespace fireseed::cpu::FS_ISA

// Operations over a list of tensors at once: global norm, scaling, clamping (gradient clipping).
#include "cpu/optim_driver.h"

namespace fireseed::cpu::FS_ISA {

namespace {

enum class Norm { kTwo, kOne, kLargest, kSmallest, kCount, kGeneral };

// What one piece contributes: a sum of powers, or an extreme magnitude. Lanes add up at most kRun elements in
// single precision before they go into a double.
template <class T>
double partial_norm(const T* x, int64_t n, Norm kind, double order) {
  using V = lanes<T>;
  constexpr int64_t kRun = 256 * V::kSize;
  double total = kind == Norm::kSmallest ? __builtin_inf() : 0.0;
  for (int64_t b = 0; b < n; b += kRun) {
    const int64_t e = n - b < kRun ? n : b + kRun;
    const V start(kind == Norm::kSmallest ? __builtin_inf() : 0.0);
    V acc[4] = {start, start, start, start};
    int which = 0;
    for (int64_t i = b; i < e; i += V::kSize, which = (which + 1) & 3) {
      const int m = e - i < V::kSize ? static_cast<int>(e - i) : V::kSize;
      V v = m == V::kSize ? load_lanes(x + i) : load_lanes(x + i, m);
      V& a = acc[which];
      if (kind == Norm::kTwo) {
        a = fma(v, v, a);
      } else if (kind == Norm::kOne) {
        a = a + abs(v);
      } else if (kind == Norm::kLargest) {
        a = maximum(a, abs(v));
      } else if (kind == Norm::kSmallest) {
        v = abs(v);
        for (int k = m; k < V::kSize; ++k) v.v[k] = static_cast<typename V::Scalar>(__builtin_inf());
        a = minimum(a, v);
      } else if (kind == Norm::kCount) {
        a = a + where(v == V(0.0), V(0.0), V(1.0));
      } else {
        v = abs(v);
        for (int k = 0; k < m; ++k) total += __builtin_pow(static_cast<double>(v.v[k]), order);
      }
    }
    if (kind == Norm::kLargest) {
      const double r = reduce_max(maximum(maximum(acc[0], acc[1]), maximum(acc[2], acc[3])));
      total = r > total || r != r ? r : total;
    } else if (kind == Norm::kSmallest) {
      const double r = reduce_min(minimum(minimum(acc[0], acc[1]), minimum(acc[2], acc[3])));
      total = r < total || r != r ? r : total;
    } else {
      total += static_cast<double>(reduce_add((acc[0] + acc[1]) + (acc[2] + acc[3])));
    }
  }
  return total;
}

double finish_norm(double x, Norm kind, double order) {
  if (kind == Norm::kTwo) return __builtin_sqrt(x);
  if (kind == Norm::kGeneral) return __builtin_pow(x, 1 / order);
  return x;
}

// Calls f(data, count) on every piece of a list, gathering strided tensors into a buffer (and back where `write`).
template <class T, class F>
void on_elements(const TensorView& v, int64_t begin, int64_t end, bool write, F&& f) {
  T* const data = v.ptr<T>();
  if (is_dense(v)) return f(data + begin, end - begin);
  T buffer[256];
  for (int64_t i = begin; i < end; i += 256) {
    const int64_t m = end - i < 256 ? end - i : 256;
    for (int64_t k = 0; k < m; ++k) buffer[k] = data[logical_offset(v, i + k)];
    f(buffer, m);
    if (!write) continue;
    for (int64_t k = 0; k < m; ++k) data[logical_offset(v, i + k)] = buffer[k];
  }
}

}  // namespace

// foreach_norm(tensors…) -> out (0-dim, float32 or float64): the vector norm of each tensor's vector norm, as
// clip_grad_norm_ defines it. Pieces and their order are fixed: the same bits for any number of threads.
void foreach_norm(const KernelArgs& args) {
  const double order = args.attrs<ForeachNormAttrs>().order;
  const Norm kind = order == 2                  ? Norm::kTwo
                    : order == 1                ? Norm::kOne
                    : order == __builtin_inf()  ? Norm::kLargest
                    : order == -__builtin_inf() ? Norm::kSmallest
                    : order == 0                ? Norm::kCount
                                                : Norm::kGeneral;
  const int64_t n = args.num_in;
  ShortArray<int64_t, 128> first(n + 1);
  first[0] = 0;
  for (int64_t i = 0; i < n; ++i) first[i + 1] = first[i] + (args.in[i].numel + kOptimPiece - 1) / kOptimPiece;
  ShortArray<double, 512> partial(first[n] + 1);
  for_each_piece(args.in, n, [&](int64_t i, int64_t begin, int64_t end) {
    const TensorView& v = args.in[i];
    dispatch_float(v.dtype, [&](auto tag) {
      using T = typename decltype(tag)::type;
      for (int64_t b = begin; b < end; b += kOptimPiece) {  // one piece, but for the serial case's whole tensors
        const int64_t e = end - b < kOptimPiece ? end : b + kOptimPiece;
        double sum = kind == Norm::kSmallest ? __builtin_inf() : 0.0;
        on_elements<T>(v, b, e, false, [&](const T* x, int64_t count) {
          const double r = partial_norm(x, count, kind, order);
          if (kind == Norm::kLargest) sum = r > sum || r != r ? r : sum;
          else if (kind == Norm::kSmallest) sum = r < sum || r != r ? r : sum;
          else sum += r;
        });
        partial[first[i] + b / kOptimPiece] = sum;
      }
    });
  });
  // The norm of norms is the norm of everything, but for order 0, where PyTorch counts the tensors that are not zero.
  double total = kind == Norm::kSmallest ? __builtin_inf() : 0.0;
  for (int64_t i = 0; i < n; ++i) {
    double own = 0;
    for (int64_t k = first[i]; k < first[i + 1]; ++k) {
      const double r = partial[k];
      if (kind == Norm::kLargest) total = r > total || r != r ? r : total;
      else if (kind == Norm::kSmallest) total = r < total || r != r ? r : total;
      else own += r;
    }
    total += kind == Norm::kCount ? static_cast<double>(own != 0) : own;
  }
  const double result = finish_norm(total, kind, order);
  if (args.out[0].dtype == DType::kFloat64) *args.out[0].ptr<double>() = result;
  else if (args.out[0].dtype == DType::kFloat16) *args.out[0].ptr<float16>() = float16(static_cast<float>(result));
  else if (args.out[0].dtype == DType::kBFloat16) *args.out[0].ptr<bfloat16>() = bfloat16(static_cast<float>(result));
  else *args.out[0].ptr<float>() = static_cast<float>(result);
}

// foreach_scale(factor (0-dim float32 or float64), tensors…): every tensor times the factor, in place.
void foreach_scale(const KernelArgs& args) {
  const double factor = number_of(args.in[0]).get();
  for_each_piece(args.in + 1, args.num_in - 1, [&](int64_t i, int64_t begin, int64_t end) {
    const TensorView& v = args.in[1 + i];
    dispatch_float(v.dtype, [&](auto tag) {
      using T = typename decltype(tag)::type;
      using V = lanes<T>;
      on_elements<T>(v, begin, end, true, [&](T* x, int64_t n) {
        const V c(factor);
        int64_t k = 0;
        for (; k + V::kSize <= n; k += V::kSize) store_lanes(x + k, load_lanes(x + k) * c);
        if (k < n) store_lanes(x + k, load_lanes(x + k, static_cast<int>(n - k)) * c, static_cast<int>(n - k));
      });
    });
  });
}

// foreach_clamp(tensors…): every element limited to [low, high], in place; NaN stays.
void foreach_clamp(const KernelArgs& args) {
  const auto& a = args.attrs<ForeachClampAttrs>();
  for_each_piece(args.in, args.num_in, [&](int64_t i, int64_t begin, int64_t end) {
    const TensorView& v = args.in[i];
    dispatch_float(v.dtype, [&](auto tag) {
      using T = typename decltype(tag)::type;
      using V = lanes<T>;
      on_elements<T>(v, begin, end, true, [&](T* x, int64_t n) {
        const V low(a.low), high(a.high);
        const auto limit = [&](V y) { return minimum(maximum(y, low), high); };
        int64_t k = 0;
        for (; k + V::kSize <= n; k += V::kSize) store_lanes(x + k, limit(load_lanes(x + k)));
        if (k < n) store_lanes(x + k, limit(load_lanes(x + k, static_cast<int>(n - k))), static_cast<int>(n - k));
      });
    });
  });
}

}  // namespace fireseed::cpu::FS_ISA

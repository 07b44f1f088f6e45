// Kernels of the matrix products: matmul, linear and addmm, over any batch, strides and dtype.
#include "base/parallel.h"
#include "cpu/gemm.h"
#include "cpu/gemm_pack.h"
#include "tensor/attrs/matmul.h"
#include "tensor/view.h"

namespace fireseed::cpu::FS_ISA {
namespace {

// The batch axes of one call after merging: index -> offsets of a, b and c.
struct Batch {
  int rank = 0;
  int64_t count = 1;
  int64_t size[kMaxRank], a[kMaxRank], b[kMaxRank], c[kMaxRank];

  // Appends an inner axis, merged with the one before where all three operands step alike.
  void push(int64_t n, int64_t sa, int64_t sb, int64_t sc) {
    count *= n;
    if (n == 1) return;
    if (rank > 0) {
      const int r = rank - 1;
      if (a[r] == sa * n && b[r] == sb * n && c[r] == sc * n) {
        size[r] *= n;
        a[r] = sa;
        b[r] = sb;
        c[r] = sc;
        return;
      }
    }
    size[rank] = n;
    a[rank] = sa;
    b[rank] = sb;
    c[rank] = sc;
    ++rank;
  }
  struct Offsets { int64_t a, b, c; };
  Offsets at(int64_t i) const {
    Offsets o = {0, 0, 0};
    for (int r = rank - 1; r >= 0; --r) {
      const int64_t q = i % size[r];
      i /= size[r];
      o.a += q * a[r];
      o.b += q * b[r];
      o.c += q * c[r];
    }
    return o;
  }
};

// One product a (m, k) x b (k, n) -> c (m, n) for each index of the batch.
template <class A, class C>
struct Products {
  Batch batch;
  int64_t m = 1, n = 1, k = 0;
  const A* a = nullptr;
  const A* b = nullptr;
  C* c = nullptr;
  A* rounded = nullptr;  // of halves: c's values go here instead (GemmCall::rounded)
  int64_t a_row = 0, a_col = 0, b_row = 0, b_col = 0, c_row = 0, c_col = 0;

  // A batch over which b stands still is more rows of a, where a's and c's rows go on in step.
  void batch_to_rows() {
    while (batch.count > 0 && batch.rank > 0) {
      const int r = batch.rank - 1;
      if (batch.b[r] != 0 || (m > 1 && (batch.a[r] != a_row * m || batch.c[r] != c_row * m))) return;
      if (m == 1) {
        a_row = batch.a[r];
        c_row = batch.c[r];
      }
      m *= batch.size[r];
      batch.count /= batch.size[r];
      --batch.rank;
    }
  }
};

template <class T>
Products<T, T> products_of(const TensorView& a, const TensorView& b, const TensorView& out) {
  Products<T, T> p;
  const bool row = a.ndim == 1, column = b.ndim == 1;  // a vector is a matrix of one row or column, absent from out
  if (!row && !column)
    for (int i = 0; i < out.ndim - 2; ++i) p.batch.push(out.size(i), a.stride(i), b.stride(i), out.stride(i));
  p.m = row ? 1 : a.size(-2);
  p.n = column ? 1 : b.size(-1);
  p.k = a.size(-1);
  p.a = a.ptr<T>();
  p.b = b.ptr<T>();
  p.c = out.ptr<T>();
  p.a_row = row ? p.k : a.stride(-2);
  p.a_col = a.stride(-1);
  p.b_row = column ? b.stride(0) : b.stride(-2);
  p.b_col = column ? 1 : b.stride(-1);
  p.c_row = row ? 1 : out.stride(column ? -1 : -2);
  p.c_col = column ? 1 : out.stride(-1);
  p.batch_to_rows();
  return p;
}

template <class T>
Products<T, T> products_of_linear(const TensorView& x, const TensorView& weight, const TensorView& out) {
  Products<T, T> p;
  const int nd = x.ndim;
  for (int i = 0; i < nd - 2; ++i) p.batch.push(x.size(i), x.stride(i), 0, out.stride(i));
  p.m = nd > 1 ? x.size(-2) : 1;
  p.n = weight.size(0);
  p.k = weight.size(1);
  p.a = x.ptr<T>();
  p.b = weight.ptr<T>();
  p.c = out.ptr<T>();
  p.a_row = nd > 1 ? x.stride(-2) : p.k;
  p.a_col = x.stride(-1);
  p.b_row = weight.stride(1);
  p.b_col = weight.stride(0);
  p.c_row = nd > 1 ? out.stride(-2) : p.n;
  p.c_col = out.stride(-1);
  p.batch_to_rows();
  return p;
}

// Runs the products with float or double results straight into c.
template <class S>
void run_products(const Products<S, compute_type<S>>& p, compute_type<S> alpha, compute_type<S> beta,
                  const compute_type<S>* bias) {
  GemmCall<S> g{};
  g.m = p.m;
  g.n = p.n;
  g.k = p.k;
  g.a_row = p.a_row;
  g.a_col = p.a_col;
  g.b_row = p.b_row;
  g.b_col = p.b_col;
  g.c_row = p.c_row;
  g.c_col = p.c_col;
  g.alpha = alpha;
  g.beta = beta;
  g.bias_col = bias;
  const auto some = [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Batch::Offsets o = p.batch.at(i);
      GemmCall<S> one = g;
      one.a = p.a + o.a;
      one.b = p.b + o.b;
      if (p.rounded) one.rounded = p.rounded + o.c;
      else one.c = p.c + o.c;
      gemm(one);
    }
  };
  if (p.m == 0 || p.n == 0) return;
  const int64_t products = p.m * p.n * (p.k > 0 ? p.k : 1);
  if (p.batch.count == 1 || products > 64 * kChunkProducts) return some(0, p.batch.count);
  parallel_for(p.batch.count, items_in_chunk(p.batch.count, products), some);
}

// beta c + alpha a b (+ bias) for every dtype. Halves are summed in float and rounded once at the end; integers wrap.
template <class T>
void run_any(const Products<T, T>& p, double alpha, double beta, const T* bias, int64_t bias_step) {
  if (p.m == 0 || p.n == 0 || p.batch.count == 0) return;
  using C = compute_type<T>;
  if constexpr (same_type<T, float> || same_type<T, double>) {
    SmallScratch<T, 256> copy(bias && bias_step != 1 ? p.n : 0);
    if (bias && bias_step != 1) {
      for (int64_t j = 0; j < p.n; ++j) copy.data()[j] = bias[j * bias_step];
      bias = copy.data();
    }
    run_products<T>(p, static_cast<T>(alpha), static_cast<T>(beta), bias);
  } else if constexpr (!same_type<T, C>) {
    SmallScratch<float, 256> wide(p.n);
    for (int64_t j = 0; bias && j < p.n; ++j) wide.data()[j] = static_cast<float>(bias[j * bias_step]);
    GemmCall<T> call{};
    call.m = p.m;
    call.n = p.n;
    call.k = p.k;
    call.c_col = p.c_col;
    call.beta = static_cast<float>(beta);
    const bool rounds = gemm_rounds(call);
    Scratch<float> dense(rounds ? 0 : p.batch.count * p.m * p.n);
    Products<T, float> q;
    q.batch = p.batch;
    q.m = p.m;
    q.n = p.n;
    q.k = p.k;
    q.a = p.a;
    q.b = p.b;
    q.a_row = p.a_row;
    q.a_col = p.a_col;
    q.b_row = p.b_row;
    q.b_col = p.b_col;
    q.c_row = p.c_row;
    q.c_col = p.c_col;
    if (rounds) {
      q.rounded = p.c;
    } else {
      q.c = dense.data();
      q.c_row = p.n;
      q.c_col = 1;
      int64_t step = p.m * p.n;
      for (int r = q.batch.rank - 1; r >= 0; --r) {
        q.batch.c[r] = step;
        step *= q.batch.size[r];
      }
    }
    run_products<T>(q, static_cast<float>(alpha), 0.0f, bias ? wide.data() : nullptr);
    if (rounds) return;
    parallel_for(p.batch.count * p.m, 8192 / p.n + 1, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        T* c = p.c + p.batch.at(row / p.m).c + row % p.m * p.c_row;
        const float* s = dense.data() + row * p.n;
        int64_t j = 0;
        if (beta == 0 && p.c_col == 1)
          for (; j + Vec<float>::kSize <= p.n; j += Vec<float>::kSize) store_float(c + j, Vec<float>::load(s + j));
        for (; j < p.n; ++j) {
          T& x = c[j * p.c_col];
          x = T(beta == 0 ? s[j] : s[j] + static_cast<float>(beta) * static_cast<float>(x));
        }
      }
    });
  } else {
    // Integers: rows of b scaled and added; sums wrap around as PyTorch's do.
    using U = uint64_t;
    const U ua = static_cast<U>(static_cast<int64_t>(alpha)), ub = static_cast<U>(static_cast<int64_t>(beta));
    const int64_t work = p.n * (p.k > 0 ? p.k : 1);
    parallel_for(p.batch.count * p.m, 16384 / work + 1, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const Batch::Offsets o = p.batch.at(row / p.m);
        const T* a = p.a + o.a + row % p.m * p.a_row;
        T* c = p.c + o.c + row % p.m * p.c_row;
        constexpr int64_t kStrip = 256;
        for (int64_t j0 = 0; j0 < p.n; j0 += kStrip) {
          const int64_t cols = p.n - j0 < kStrip ? p.n - j0 : kStrip;
          const T* b = p.b + o.b + j0 * p.b_col;
          U sum[kStrip] = {};
          for (int64_t i = 0; i < p.k; ++i) {
            const U x = static_cast<U>(a[i * p.a_col]);
            const T* r = b + i * p.b_row;
            for (int64_t j = 0; j < cols; ++j) sum[j] += x * static_cast<U>(r[j * p.b_col]);
          }
          for (int64_t j = 0; j < cols; ++j) {
            T& x = c[(j0 + j) * p.c_col];
            U r = ua * sum[j];
            if (ub != 0) r += ub * static_cast<U>(x);
            if (bias) r += static_cast<U>(bias[(j0 + j) * bias_step]);
            x = static_cast<T>(r);
          }
        }
      }
    });
  }
}

}  // namespace

// in: a (batch..., m, k), b (batch..., k, n) of one dtype; out (batch..., m, n). Without batch, a may be (k) and b
// (k): out then lacks m or n.
void matmul(const KernelArgs& args) {
  dispatch_all(args.out[0].dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    run_any<T>(products_of<T>(args.in[0], args.in[1], args.out[0]), 1, 0, nullptr, 0);
  });
}

// in: x (rows..., k), weight (n, k), optional bias (n); out (rows..., n) = x weight^T + bias.
void linear(const KernelArgs& args) {
  dispatch_all(args.out[0].dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const bool biased = args.num_in > 2 && args.in[2].defined();
    run_any<T>(products_of_linear<T>(args.in[0], args.in[1], args.out[0]), 1, 0,
               biased ? args.in[2].ptr<T>() : nullptr, biased ? args.in[2].stride(0) : 0);
  });
}

// in: input, broadcast to out's sizes, a (batch..., m, k), b (batch..., k, n); out = beta input + alpha a b.
// With beta 0 the input is not read (its NaNs vanish, as in BLAS).
void addmm(const KernelArgs& args) {
  const AddmmAttrs& at = args.attrs<AddmmAttrs>();
  dispatch_all(args.out[0].dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const TensorView &input = args.in[0], &out = args.out[0];
    const auto p = products_of<T>(args.in[1], args.in[2], out);
    if (at.beta == 0 || out.numel == 0) return run_any<T>(p, at.alpha, 0, nullptr, 0);
    bool one_row = at.beta == 1;  // the same for each row: a bias
    for (int i = 0; i < out.ndim - 1; ++i) one_row = one_row && (out.size(i) == 1 || input.stride(i) == 0);
    if (one_row && input.data != out.data) return run_any<T>(p, at.alpha, 0, input.ptr<T>(), input.stride(-1));
    if (input.data != out.data) {  // in place the input is there already
      const int64_t n = out.size(-1), rows = out.numel / n;
      parallel_for(rows, 16384 / n + 1, [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) {
          int64_t left = row, from = 0, to = 0;
          for (int i = out.ndim - 2; i >= 0; --i) {
            const int64_t q = left % out.size(i);
            left /= out.size(i);
            from += q * input.stride(i);
            to += q * out.stride(i);
          }
          const T* s = input.ptr<T>() + from;
          T* d = out.ptr<T>() + to;
          for (int64_t j = 0; j < n; ++j) d[j * out.stride(-1)] = s[j * input.stride(-1)];
        }
      });
    }
    run_any<T>(p, at.alpha, at.beta, nullptr, 0);
  });
}

}  // namespace fireseed::cpu::FS_ISA

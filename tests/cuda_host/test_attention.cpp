// Scaled dot product attention and its gradients against float64: sizes around the blocks, causal and other masks,
// shared key heads, layouts, every dtype.
#include "emu_test.h"
#include "tensor/attrs/attention.h"

namespace fireseed::cuda {
void attention(const KernelArgs&);
void attention_backward(const KernelArgs&);

namespace {

using namespace cuda_emu;

enum class MaskKind { kNone, kBool, kOwn, kFloat, kByKey, kAlmostNone };

struct Case {
  int64_t batch = 1, heads = 1, groups = 1, queries = 1, keys = 1, depth = 1, width = 1;
  bool causal = false;
  MaskKind mask = MaskKind::kNone;
  bool by_rows = false;  // (batch, rows, heads, columns) in memory
  double scale = 0.5;
  int64_t pad = 0;  // elements between rows
};

// A (batch, heads, rows, columns) tensor of random values in the case's layout.
template <class T>
struct Operand {
  std::vector<T> values;
  DeviceArray<T> memory;
  Dims sizes, strides;
  Operand(const Case& c, int64_t heads, int64_t rows, int64_t columns, unsigned seed)
      : values(random_values<T>(c.batch * heads * rows * (columns + c.pad), 1.0, seed)),
        memory(values),
        sizes{c.batch, heads, rows, columns} {
    const int64_t p = columns + c.pad;
    strides = c.by_rows ? Dims{heads * rows * p, p, heads * p, 1} : Dims{heads * rows * p, rows * p, p, 1};
  }
  OwnedView view() const { return OwnedView(memory.data(), dtype_of<T>::value, sizes, strides); }
  double operator()(int64_t b, int64_t h, int64_t r, int64_t c) const {
    return to_double(values[static_cast<size_t>(b * strides[0] + h * strides[1] + r * strides[2] + c)]);
  }
};
// What a kernel wrote there.
template <class T>
std::vector<double> written(const Operand<T>& o) {
  const auto v = to_double(o.memory.host());
  std::vector<double> r;
  for (int64_t b = 0; b < o.sizes[0]; ++b)
    for (int64_t h = 0; h < o.sizes[1]; ++h)
      for (int64_t i = 0; i < o.sizes[2]; ++i)
        for (int64_t c = 0; c < o.sizes[3]; ++c)
          r.push_back(v[static_cast<size_t>(b * o.strides[0] + h * o.strides[1] + i * o.strides[2] + c)]);
  return r;
}
void expect_values(const char* what, const std::vector<double>& got, const std::vector<double>& expected,
                   double tolerance) {
  ASSERT_EQ(got.size(), expected.size());
  double top = 1;
  for (double e : expected) top = std::max(top, std::fabs(e));
  int reported = 0;
  for (size_t i = 0; i < got.size() && reported < 3; ++i)
    if (!(std::fabs(got[i] - expected[i]) <= tolerance * top || got[i] == expected[i])) {
      ADD_FAILURE() << what << ", element " << i << ": got " << got[i] << ", expected " << expected[i];
      ++reported;
    }
}

template <class T>
void check(const Case& c, double tolerance) {
  SCOPED_TRACE(std::to_string(c.queries) + " queries, " + std::to_string(c.keys) + " keys, depth " +
               std::to_string(c.depth) + ", width " + std::to_string(c.width));
  using C = compute_type<T>;
  const int64_t kv = c.heads / c.groups, rows = c.batch * c.heads * c.queries;
  const Operand<T> q(c, c.heads, c.queries, c.depth, 1), k(c, kv, c.keys, c.depth, 2), v(c, kv, c.keys, c.width, 3);
  const Operand<T> g(c, c.heads, c.queries, c.width, 4), y(c, c.heads, c.queries, c.width, 5);
  const Operand<T> gq(c, c.heads, c.queries, c.depth, 6), gk(c, kv, c.keys, c.depth, 7),
      gv(c, kv, c.keys, c.width, 8);
  const DeviceArray<C> lse(static_cast<size_t>(rows));

  // The mask: (queries, keys) for all heads, or one of keys for each batch and head.
  const bool by_key = c.mask == MaskKind::kByKey,
             bools = c.mask == MaskKind::kBool || by_key || c.mask == MaskKind::kAlmostNone;
  const int64_t mask_size = by_key ? c.batch * c.heads * c.keys : c.queries * c.keys;
  const auto numbers = random_values<float>(mask_size, 1.0, 9);
  std::vector<uint8_t> flags;
  std::vector<T> own;
  for (int64_t i = 0; i < mask_size; ++i) {
    const bool one_row = c.mask != MaskKind::kAlmostNone || (i / c.keys) % 3 == 1;
    flags.push_back(numbers[static_cast<size_t>(i)] > -0.5f && one_row);
    own.push_back(T(numbers[static_cast<size_t>(i)]));
  }
  const DeviceArray<uint8_t> device_flags(flags);
  const DeviceArray<float> device_numbers(numbers);
  const DeviceArray<T> device_own(own);
  const Dims mask_sizes{c.batch, c.heads, c.queries, c.keys};
  const Dims mask_strides = by_key ? Dims{c.heads * c.keys, c.keys, 0, 1} : Dims{0, 0, c.keys, 1};
  const auto mask_view = [&] {
    switch (c.mask) {
      case MaskKind::kOwn: return OwnedView(device_own.data(), dtype_of<T>::value, mask_sizes, mask_strides);
      case MaskKind::kFloat: return OwnedView(device_numbers.data(), DType::kFloat32, mask_sizes, mask_strides);
      default: return OwnedView(device_flags.data(), DType::kBool, mask_sizes, mask_strides);
    }
  };
  const auto no_mask = [] { return OwnedView(nullptr, DType::kUndefined, Dims{}); };
  const OwnedView mask = c.mask == MaskKind::kNone ? no_mask() : mask_view();
  const auto weight_at = [&](int64_t b, int64_t h, int64_t i, int64_t j, double s) {
    const size_t m = static_cast<size_t>(by_key ? (b * c.heads + h) * c.keys + j : i * c.keys + j);
    if (c.causal && j > i) return -HUGE_VAL;
    if (c.mask == MaskKind::kNone) return s;
    if (bools) return flags[m] ? s : -HUGE_VAL;
    return s + (c.mask == MaskKind::kOwn ? to_double(own[m]) : to_double(numbers[m]));
  };

  std::vector<double> ey, else_, egq(static_cast<size_t>(rows * c.depth)),
      egk(static_cast<size_t>(c.batch * kv * c.keys * c.depth)),
      egv(static_cast<size_t>(c.batch * kv * c.keys * c.width));
  for (int64_t b = 0; b < c.batch; ++b)
    for (int64_t h = 0; h < c.heads; ++h)
      for (int64_t i = 0; i < c.queries; ++i) {
        const int64_t n = h / c.groups, row = (b * c.heads + h) * c.queries + i;
        std::vector<double> p(static_cast<size_t>(c.keys));
        double top = -HUGE_VAL, total = 0, d = 0;
        for (int64_t j = 0; j < c.keys; ++j) {
          double s = 0;
          for (int64_t e = 0; e < c.depth; ++e) s += q(b, h, i, e) * k(b, n, j, e);
          p[static_cast<size_t>(j)] = weight_at(b, h, i, j, s * c.scale);
          top = std::max(top, p[static_cast<size_t>(j)]);
        }
        for (double& s : p) {
          s = std::exp(s - (top == -HUGE_VAL ? 0 : top));
          total += s;
        }
        else_.push_back(total == 0 ? HUGE_VAL : (top + std::log(total)) / std::log(2.0));
        for (double& s : p) s = total == 0 ? 0 : s / total;
        for (int64_t e = 0; e < c.width; ++e) {
          double sum = 0;
          for (int64_t j = 0; j < c.keys; ++j) sum += p[static_cast<size_t>(j)] * v(b, n, j, e);
          ey.push_back(sum);
          d += sum * g(b, h, i, e);
        }
        for (int64_t j = 0; j < c.keys; ++j) {
          double dp = 0;
          for (int64_t e = 0; e < c.width; ++e) {
            dp += g(b, h, i, e) * v(b, n, j, e);
            egv[static_cast<size_t>(((b * kv + n) * c.keys + j) * c.width + e)] +=
                p[static_cast<size_t>(j)] * g(b, h, i, e);
          }
          const double ds = p[static_cast<size_t>(j)] * (dp - d) * c.scale;
          for (int64_t e = 0; e < c.depth; ++e) {
            egq[static_cast<size_t>(row * c.depth + e)] += ds * k(b, n, j, e);
            egk[static_cast<size_t>(((b * kv + n) * c.keys + j) * c.depth + e)] += ds * q(b, h, i, e);
          }
        }
      }

  const AttentionAttrs attrs{c.scale, c.causal, c.groups};
  const OwnedView lse_view(lse.data(), dtype_of<C>::value, {c.batch, c.heads, c.queries});
  for (const auto* o : {&y, &gq, &gk, &gv}) o->memory.fill_nan();
  lse.fill_nan();
  call(&attention, {y.view(), lse_view}, {q.view(), k.view(), v.view(), mask}, &attrs);
  expect_values("y", written(y), ey, tolerance);
  expect_values("lse", to_double(lse.host()), else_, tolerance);
  call(&attention_backward, {gq.view(), gk.view(), gv.view()},
       {g.view(), q.view(), k.view(), v.view(), y.view(), lse_view, mask}, &attrs);
  expect_values("gq", written(gq), egq, 2 * tolerance);
  expect_values("gk", written(gk), egk, 2 * tolerance);
  expect_values("gv", written(gv), egv, 2 * tolerance);
}

template <class T>
void check_masks(Case c, double tolerance) {
  for (MaskKind m : {MaskKind::kNone, MaskKind::kBool, MaskKind::kOwn, MaskKind::kFloat, MaskKind::kByKey,
                     MaskKind::kAlmostNone}) {
    SCOPED_TRACE("mask " + std::to_string(static_cast<int>(m)));
    c.mask = m;
    check<T>(c, tolerance);
  }
  c.mask = MaskKind::kNone;
  c.causal = true;
  check<T>(c, tolerance);
}

TEST(Attention, Float) {
  check<float>({.queries = 3, .keys = 5, .depth = 4, .width = 7}, 1e-5);
  check<float>({.batch = 2, .heads = 2, .queries = 70, .keys = 130, .depth = 40, .width = 33, .by_rows = true}, 1e-5);
  check<float>({.queries = 64, .keys = 64, .depth = 64, .width = 64, .pad = 3}, 1e-5);
  check<float>({.queries = 66, .keys = 65, .depth = 150, .width = 140}, 1e-5);
  check<float>({.queries = 130, .keys = 70, .depth = 8, .width = 8, .causal = true}, 1e-5);
  check<float>({.queries = 70, .keys = 200, .depth = 8, .width = 8, .causal = true}, 1e-5);
  check<float>({.queries = 5, .keys = 5, .depth = 4, .width = 4, .scale = -0.3}, 1e-5);
  check_masks<float>({.batch = 2, .heads = 2, .queries = 9, .keys = 70, .depth = 6, .width = 10}, 1e-5);
}
TEST(Attention, NothingToSee) {
  check<float>({.queries = 3, .keys = 0, .depth = 4, .width = 4}, 0);
  check<float>({.queries = 0, .keys = 3, .depth = 4, .width = 4}, 0);
  check<float>({.queries = 3, .keys = 4, .depth = 0, .width = 4}, 1e-6);
  check<bfloat16>({.queries = 3, .keys = 0, .depth = 8, .width = 8}, 0);
}
TEST(Attention, SharedHeads) {
  check<float>({.batch = 2, .heads = 6, .groups = 3, .queries = 20, .keys = 30, .depth = 8, .width = 8}, 1e-5);
  check<float>({.heads = 4, .groups = 4, .queries = 70, .keys = 70, .depth = 8, .width = 8, .causal = true}, 1e-5);
}
TEST(Attention, Double) {
  check_masks<double>({.heads = 2, .groups = 2, .queries = 70, .keys = 66, .depth = 9, .width = 70}, 1e-13);
  check<double>({.queries = 5, .keys = 70, .depth = 70, .width = 130}, 1e-13);
}
TEST(Attention, HalvesByPlainArithmetic) {  // heads that are too large for tensor cores
  check_masks<float16>({.heads = 2, .queries = 20, .keys = 70, .depth = 260, .width = 9, .scale = 0.1}, 3e-3);
  check<bfloat16>({.queries = 20, .keys = 70, .depth = 300, .width = 260, .scale = 0.1}, 1e-2);
}
TEST(Attention, HalvesByTensorCores) {
  check_masks<float16>({.batch = 2, .heads = 2, .queries = 20, .keys = 70, .depth = 16, .width = 8}, 3e-3);
  check_masks<bfloat16>({.heads = 2, .groups = 2, .queries = 70, .keys = 66, .depth = 64, .width = 40, .scale = 0.1},
                        2e-2);
  check<float16>({.queries = 130, .keys = 70, .depth = 32, .width = 32, .causal = true, .scale = 0.2}, 3e-3);
  check<float16>({.queries = 40, .keys = 200, .depth = 32, .width = 32, .causal = true, .scale = 0.2}, 3e-3);
  check<bfloat16>({.heads = 2,
                   .queries = 70,
                   .keys = 70,
                   .depth = 128,
                   .width = 104,
                   .causal = true,
                   .by_rows = true,
                   .scale = 0.1},
                  2e-2);
  check<float16>({.queries = 33, .keys = 65, .depth = 136, .width = 256, .scale = 0.1}, 3e-3);
  check<float16>({.queries = 5, .keys = 5, .depth = 8, .width = 8, .scale = -0.3}, 3e-3);
  check<float16>({.queries = 1, .keys = 1, .depth = 1, .width = 1}, 3e-3);
}
TEST(Attention, HalvesThatAreCopied) {  // rows that no 16-byte copy can take
  check_masks<float16>({.heads = 2, .queries = 20, .keys = 70, .depth = 7, .width = 9, .pad = 2}, 3e-3);
  check<bfloat16>({.heads = 3, .queries = 20, .keys = 20, .depth = 20, .width = 20, .by_rows = true}, 2e-2);
  check<float16>({.queries = 1, .keys = 20, .depth = 7, .width = 9}, 3e-3);  // a single row
}
// Values of keys that no query sees, so large that their products with g are infinite, change nothing.
template <class T>
void check_hidden(bool causal) {
  const Case c{.queries = 20, .keys = 40, .depth = 16, .width = 16, .causal = causal};
  const Operand<T> q(c, 1, 20, 16, 1), k(c, 1, 40, 16, 2), y(c, 1, 20, 16, 5);
  const Operand<T> gq(c, 1, 20, 16, 6), gk(c, 1, 40, 16, 7), gv(c, 1, 40, 16, 8);
  const DeviceArray<T> g(std::vector<T>(20 * 16, T(1.0f)));
  const DeviceArray<compute_type<T>> lse(size_t{20});
  std::vector<uint8_t> flags(20 * 40);
  for (size_t i = 0; i < flags.size(); ++i) flags[i] = i % 40 < 20;
  const DeviceArray<uint8_t> device_flags(flags);
  const OwnedView mask(causal ? nullptr : device_flags.data(), causal ? DType::kUndefined : DType::kBool,
                       causal ? Dims{} : Dims{1, 1, 20, 40});
  const AttentionAttrs attrs{0.5, causal, 1};
  const OwnedView lse_view(lse.data(), dtype_of<compute_type<T>>::value, {1, 1, 20});
  const OwnedView g_view(g.data(), dtype_of<T>::value, {1, 1, 20, 16});
  std::vector<std::vector<double>> results[2];
  for (int large = 0; large < 2; ++large) {
    auto values = random_values<T>(40 * 16, 1.0, 3);
    for (size_t i = 20 * 16; i < values.size(); ++i) values[i] = T(large ? 3e38f : 0.0f);
    const DeviceArray<T> v(values);
    const OwnedView v_view(v.data(), dtype_of<T>::value, {1, 1, 40, 16});
    for (const auto* o : {&y, &gq, &gk, &gv}) o->memory.fill_nan();
    call(&attention, {y.view(), lse_view}, {q.view(), k.view(), v_view, mask}, &attrs);
    call(&attention_backward, {gq.view(), gk.view(), gv.view()},
         {g_view, q.view(), k.view(), v_view, y.view(), lse_view, mask}, &attrs);
    results[large] = {written(y), written(gq), written(gk), written(gv)};
  }
  for (size_t i = 0; i < results[0].size(); ++i) EXPECT_EQ(results[0][i], results[1][i]) << "result " << i;
  for (double x : results[1][2]) EXPECT_TRUE(std::isfinite(x));
}
TEST(Attention, HiddenPairsAddNothing) {
  for (bool causal : {true, false}) {
    SCOPED_TRACE(causal ? "causal" : "mask");
    check_hidden<bfloat16>(causal);
    check_hidden<float>(causal);
  }
}
TEST(Attention, Seeds) {
  for_each_seed([] {
    check<float>({.heads = 2, .groups = 2, .queries = 66, .keys = 70, .depth = 34, .width = 10, .causal = true},
                 1e-5);
    check<double>({.queries = 9, .keys = 67, .depth = 10, .width = 66}, 1e-13);
    check<float16>(
        {.heads = 2, .groups = 2, .queries = 70, .keys = 66, .depth = 24, .width = 16, .causal = true, .scale = 0.2},
        3e-3);
    check<bfloat16>({.queries = 20, .keys = 40, .depth = 72, .width = 130, .mask = MaskKind::kBool, .scale = 0.1},
                    2e-2);
  });
}

}  // namespace
}  // namespace fireseed::cuda

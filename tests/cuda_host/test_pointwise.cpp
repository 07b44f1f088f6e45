// Every pointwise formula against itself in float64; then how operands lie: flat with a tail, strided, broadcast,
// halves, integers, in place; where, integer division, tests.
#include "device/index.cuh"
#include "emu_test.h"
#include "math/functor_traits.h"
#include "tensor/attrs/special.h"

namespace fireseed::cuda {
#define FS_DECLARE(name) void name(const KernelArgs&);
#define FS_UNARY(name, Functor) FS_DECLARE(name) FS_DECLARE(name##_backward)
#define FS_BINARY(name, Functor) FS_DECLARE(name)
#define FS_COMPARE(name, Functor) FS_DECLARE(name)
#define FS_TERNARY(name, Functor) FS_DECLARE(name)
#define FS_KERNEL(name) FS_DECLARE(name)
#define FS_VIEW(name)
#include "ops.def"
#undef FS_UNARY
#undef FS_BINARY
#undef FS_COMPARE
#undef FS_TERNARY
#undef FS_KERNEL
#undef FS_VIEW
#undef FS_DECLARE

namespace {

using namespace cuda_emu;
using D = Num<double>;

// One number of the result from the numbers of the inputs, in float64.
using Formula = double (*)(const double*);

// Positive numbers below 1, which every formula takes; and their neighbours in T.
template <class T>
std::vector<T> inputs(int64_t n, unsigned seed) {
  std::vector<T> v = random_values<T>(n, 1.0, seed);
  for (T& x : v) {
    const double y = 0.05 + 0.9 * std::fabs(std::fmod(to_double(x), 1.0));
    if constexpr (is_half(dtype_of<T>::value)) x = T(static_cast<float>(y));
    else x = static_cast<T>(y);
  }
  return v;
}

template <class T>
void check(const char* name, Kernel kernel, int num_in, Formula formula, const void* attrs, double tolerance,
           bool mask) {
  SCOPED_TRACE(std::string(name) + " " + dtype_name(dtype_of<T>::value));
  const int64_t n = 1037;  // vectors and a tail
  std::vector<std::vector<T>> x;
  std::vector<std::unique_ptr<DeviceArray<T>>> dx;
  std::vector<TensorView> in;
  std::vector<OwnedView> views;
  views.reserve(4);
  for (int k = 0; k < num_in; ++k) {
    x.push_back(inputs<T>(n, static_cast<unsigned>(k + 1)));
    dx.push_back(std::make_unique<DeviceArray<T>>(x.back()));
    views.push_back(view_of(*dx.back(), {n}));
    in.push_back(views.back().view);
  }
  std::vector<double> expected;
  for (size_t i = 0; i < static_cast<size_t>(n); ++i) {
    double v[4];
    for (int k = 0; k < num_in; ++k) v[k] = to_double(x[static_cast<size_t>(k)][i]);
    expected.push_back(formula(v));
  }
  const auto run = [&](const TensorView& out) { kernel(KernelArgs{in.data(), &out, num_in, 1, attrs}); };
  if (mask) {
    const DeviceArray<bool> out(static_cast<size_t>(n));
    run(view_of(out, {n}).view);
    expect_near(out, expected, 0);
  } else {
    const DeviceArray<T> out(static_cast<size_t>(n));
    run(view_of(out, {n}).view);
    expect_near(out, expected, tolerance);
  }
}
void check_all(const char* name, Kernel kernel, int num_in, Formula formula, const void* attrs, bool mask = false) {
  check<float>(name, kernel, num_in, formula, attrs, 1e-5, mask);
  check<double>(name, kernel, num_in, formula, attrs, 1e-13, mask);
  check<float16>(name, kernel, num_in, formula, attrs, 2e-3, mask);
  check<bfloat16>(name, kernel, num_in, formula, attrs, 1.6e-2, mask);
}

template <class F, class V>
double number(V v) {
  if constexpr (requires { v.m; }) return v.m;
  else return v.v;
}
template <class F>
double forward1(const double* v) {
  return number<F>(F{}.forward(D(v[0])));
}
template <class F>
double forward2(const double* v) {
  return number<F>(F{}.forward(D(v[0]), D(v[1])));
}
template <class F>
double forward3(const double* v) {
  return number<F>(F{}.forward(D(v[0]), D(v[1]), D(v[2])));
}
template <class F>
constexpr int kGradInputs = 1 + ((F::kSaves & kSave0) ? 1 : 0) + ((F::kSaves & kSaveOut) ? 1 : 0);
template <class F>
double grad1(const double* v) {
  constexpr int kOut = (F::kSaves & kSave0) ? 2 : 1;
  return F{}.grad(D(v[0]), D(v[(F::kSaves & kSave0) ? 1 : 0]), D(v[(F::kSaves & kSaveOut) ? kOut : 0])).v;
}
template <class F>
double grad_x(const double* v) {
  return F{}.grad_x(D(v[0]), D(v[1]), D(v[2]), D(v[0])).v;
}

TEST(Pointwise, EveryFormula) {
#define FS_UNARY(name, Functor)                                                                \
  {                                                                                            \
    const Functor f;                                                                           \
    check_all(#name, &name, 1, &forward1<Functor>, &f);                                        \
    check_all(#name " backward", &name##_backward, kGradInputs<Functor>, &grad1<Functor>, &f); \
  }
#define FS_BINARY(name, Functor)                        \
  {                                                     \
    const Functor f;                                    \
    check_all(#name, &name, 2, &forward2<Functor>, &f); \
  }
#define FS_COMPARE(name, Functor) check_all(#name, &name, 2, &forward2<Functor>, nullptr, true);
#define FS_TERNARY(name, Functor)                       \
  {                                                     \
    const Functor f;                                    \
    check_all(#name, &name, 3, &forward3<Functor>, &f); \
  }
#define FS_KERNEL(name)
#define FS_VIEW(name)
#include "ops.def"
#define FS_LOSS(name, Functor)                                   \
  {                                                              \
    const Functor f;                                             \
    check_all(#name, &name##_backward, 3, &grad_x<Functor>, &f); \
  }
  FS_LOSS(mse_loss, MseLoss)
  FS_LOSS(l1_loss, L1Loss)
  FS_LOSS(smooth_l1_loss, SmoothL1Loss)
  FS_LOSS(huber_loss, HuberLoss)
  FS_LOSS(bce_loss, BceLoss)
  FS_LOSS(bce_with_logits_loss, BceWithLogitsLoss)
#undef FS_LOSS
  for (const auto& [kernel, test] : {std::pair<Kernel, Formula>{&isnan, &forward1<IsNan>},
                                     {&isinf, &forward1<IsInf>},
                                     {&isposinf, &forward1<IsPosInf>},
                                     {&isneginf, &forward1<IsNegInf>},
                                     {&isfinite, &forward1<IsFinite>},
                                     {&signbit, &forward1<SignBit>},
                                     {&logical_not, &forward1<LogicalNot>}})
    check_all("test", kernel, 1, test, nullptr, true);
}

// x + y for views of one memory each, against the same walk on the host.
template <class T>
void check_add(Dims sizes, Dims xs, Dims ys, size_t x_offset = 0) {
  int64_t span_x = 1 + static_cast<int64_t>(x_offset), span_y = 1;
  for (int64_t i = 0; i < sizes.n; ++i) {
    span_x += (sizes[i] - 1) * xs[i];
    span_y += (sizes[i] - 1) * ys[i];
  }
  const auto x = random_values<T>(span_x, 1.0, 1), y = random_values<T>(span_y, 1.0, 2);
  const DeviceArray<T> dx(x), dy(y), out(static_cast<size_t>(numel_of(sizes)));
  const Add f{2.0};
  call(&add, {view_of(out, sizes)},
       {OwnedView(dx.data() + x_offset, dtype_of<T>::value, sizes, xs),
        OwnedView(dy.data(), dtype_of<T>::value, sizes, ys)},
       &f);
  std::vector<double> expected;
  for (int64_t k = 0; k < numel_of(sizes); ++k) {
    int64_t rest = k, ox = static_cast<int64_t>(x_offset), oy = 0;
    for (int64_t i = sizes.n - 1; i >= 0; --i) {
      ox += rest % sizes[i] * xs[i];
      oy += rest % sizes[i] * ys[i];
      rest /= sizes[i];
    }
    expected.push_back(to_double(x[static_cast<size_t>(ox)]) + 2.0 * to_double(y[static_cast<size_t>(oy)]));
  }
  expect_near(out, expected, sizeof(T) == 8 ? 1e-15 : sizeof(T) == 4 ? 1e-6 : 1e-2);
}
template <class T>
void check_layouts() {
  check_add<T>({6, 16}, {16, 1}, {0, 1});           // a row for all rows
  check_add<T>({6, 16}, {16, 1}, {1, 0});           // one value a row
  check_add<T>({6, 17}, {17, 1}, {0, 1});           // rows that are no vectors
  check_add<T>({5, 7}, {1, 5}, {7, 1});             // transposed
  check_add<T>({3, 4, 8}, {64, 16, 2}, {0, 8, 1});  // every other element
  check_add<T>({100}, {1}, {0});
  check_add<T>({100}, {1}, {1}, 1);  // misaligned
  check_add<T>({}, {}, {});
  check_add<T>({2, 3, 1, 4, 5}, {100, 20, 7, 5, 1}, {0, 5, 0, 0, 1});
}
TEST(Pointwise, Layouts) {
  check_layouts<float>();
  check_layouts<double>();
  check_layouts<float16>();
  check_layouts<bfloat16>();
  for_each_seed([] { check_layouts<float>(); });
}

// Parts of a view of more than 2^30 elements hold whole vectors, and are all of it.
TEST(Pointwise, PartsOfLargeTensors) {
  for (int64_t inner : {int64_t{12}, int64_t{4100}, int64_t{8188}, int64_t{12292}}) {
    SCOPED_TRACE(inner);
    const int64_t outer = (int64_t{1} << 30) / inner / 1024 + 2;
    const OwnedView x(nullptr, DType::kFloat32, {outer, 1024, inner}),
        y(nullptr, DType::kFloat32, {outer, 1024, inner}, {inner, 0, 1});
    int64_t elements = 0;
    Geometry<2>({&x.view, &y.view}).in_parts({4, 4}, [&](const Geometry<2>& part) {
      EXPECT_EQ(part.size(0) % 4, 0);
      EXPECT_TRUE(part.fits_int32());
      elements += part.numel();
    });
    EXPECT_EQ(elements, outer * 1024 * inner);
  }
}
TEST(Pointwise, InPlace) {
  const auto x = random_values<float>(100, 1.0);
  const DeviceArray<float> dx(x);
  call(&relu, {view_of(dx, {100})}, {view_of(dx, {100})});
  std::vector<double> expected;
  for (float v : x) expected.push_back(v > 0 ? v : 0);
  expect_near(dx, expected, 0);
}

TEST(Pointwise, Integers) {
  const DeviceArray<int8_t> a(std::vector<int8_t>{-128, 127, 5, -7}), b(std::vector<int8_t>{-1, 1, -3, 2}), out(4);
  const auto run = [&](Kernel k, const void* attrs = nullptr) {
    call(k, {view_of(out, {4})}, {view_of(a, {4}), view_of(b, {4})}, attrs);
    const auto v = out.host();
    return std::vector<int>(v.begin(), v.end());
  };
  const Add one;
  EXPECT_EQ(run(&add, &one), (std::vector<int>{127, -128, 2, -5}));  // wraps
  EXPECT_EQ(run(&mul), (std::vector<int>{-128, 127, -15, -14}));
  EXPECT_EQ(run(&floor_divide), (std::vector<int>{-128, 127, -2, -4}));
  EXPECT_EQ(run(&div_trunc), (std::vector<int>{-128, 127, -1, -3}));
  EXPECT_EQ(run(&remainder), (std::vector<int>{0, 0, -1, 1}));
  EXPECT_EQ(run(&fmod), (std::vector<int>{0, 0, 2, -1}));
  EXPECT_EQ(run(&bitwise_and), (std::vector<int>{-128, 1, 5, 0}));
  EXPECT_EQ(run(&maximum), (std::vector<int>{-1, 127, 5, 2}));
  EXPECT_EQ(run(&bitwise_left_shift), (std::vector<int>{0, -2, 0, -28}));
  EXPECT_EQ(run(&bitwise_right_shift), (std::vector<int>{-1, 63, 0, -2}));
  EXPECT_EQ(run(&gcd)[3], 1);
  EXPECT_EQ(run(&lcm)[2], 15);
  const DeviceArray<bool> less(4);
  call(&lt, {view_of(less, {4})}, {view_of(a, {4}), view_of(b, {4})});
  EXPECT_EQ(less.host(), (std::vector<bool>{true, false, false, true}));
  const DeviceArray<uint8_t> u(std::vector<uint8_t>{200, 100}), w(std::vector<uint8_t>{100, 200}), sum(2);
  call(&add, {view_of(sum, {2})}, {view_of(u, {2}), view_of(w, {2})}, &one);
  EXPECT_EQ(sum.host(), (std::vector<uint8_t>{44, 44}));
}

template <class T>
void check_where(Dims sizes, Dims cs, Dims as) {
  const int64_t n = numel_of(sizes);
  std::vector<bool> c;
  std::vector<T> a, b;
  for (int64_t i = 0; i < n; ++i) {
    c.push_back(i % 3 == 0);
    a.push_back(static_cast<T>(i));
    b.push_back(static_cast<T>(i + 64));
  }
  const DeviceArray<T> da(a), db(b), out(a.size());
  DeviceArray<bool> dc(c.size());
  std::unique_ptr<bool[]> bytes(new bool[c.size()]);
  for (size_t i = 0; i < c.size(); ++i) bytes[i] = c[i];
  cudaMemcpy(dc.data(), bytes.get(), c.size(), cudaMemcpyHostToDevice);
  call(&where, {view_of(out, sizes)},
       {OwnedView(dc.data(), DType::kBool, sizes, cs), OwnedView(da.data(), dtype_of<T>::value, sizes, as),
        view_of(db, sizes)});
  const auto v = out.host();
  for (int64_t k = 0; k < n; ++k) {
    int64_t rest = k, oc = 0, oa = 0;
    for (int64_t i = sizes.n - 1; i >= 0; --i) {
      oc += rest % sizes[i] * cs[i];
      oa += rest % sizes[i] * as[i];
      rest /= sizes[i];
    }
    EXPECT_EQ(v[static_cast<size_t>(k)], oc % 3 == 0 ? a[static_cast<size_t>(oa)] : b[static_cast<size_t>(k)]);
  }
}
TEST(Pointwise, Where) {
  for (int64_t n : {1, 5, 16, 70}) {
    check_where<float>({n}, {1}, {1});
    check_where<int64_t>({n}, {0}, {1});
    check_where<uint8_t>({n}, {1}, {0});
  }
  check_where<float>({3, 16}, {16, 1}, {0, 1});
  check_where<int16_t>({3, 16}, {1, 0}, {16, 1});
  check_where<double>({4, 5}, {1, 4}, {5, 1});
}

TEST(Pointwise, Special) {
  const auto x = inputs<double>(50, 1), y = inputs<double>(50, 2);
  const DeviceArray<double> dx(x), dy(y), out(50);
  const SpecialAttrs attrs{SpecialFunction::kBesselJ0};
  call(&special, {view_of(out, {50})}, {view_of(dx, {50})}, &attrs);
  std::vector<double> expected;
  for (double v : x) expected.push_back(::j0(v));
  expect_near(out, expected, 1e-14);
  const SpecialPairAttrs pair{SpecialPair::kLegendreP};
  const DeviceArray<double> degree(std::vector<double>(50, 2.0));
  call(&special_pair, {view_of(out, {50})}, {view_of(dx, {50}), view_of(degree, {50})}, &pair);
  expected.clear();
  for (double v : x) expected.push_back((3 * v * v - 1) / 2);
  expect_near(out, expected, 1e-14);
  const DeviceArray<double> mantissa(50);
  const DeviceArray<int32_t> exponent(50);
  call(&frexp, {view_of(mantissa, {50}), view_of(exponent, {50})}, {view_of(dx, {50})});
  const auto m = mantissa.host();
  const auto e = exponent.host();
  for (size_t i = 0; i < 50; ++i) EXPECT_EQ(std::ldexp(m[i], e[i]), x[i]);
}

}  // namespace
}  // namespace fireseed::cuda

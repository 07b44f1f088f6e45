// mode_pad and its gradient, repeat, repeat_interleave and one_hot, element by element.
#include "emu_test.h"
#include "tensor/attrs/move.h"

namespace fireseed::cuda {
void mode_pad(const KernelArgs&);
void mode_pad_backward(const KernelArgs&);
void repeat(const KernelArgs&);
void repeat_interleave(const KernelArgs&);
void one_hot(const KernelArgs&);

namespace {

using namespace cuda_emu;

int64_t source(PadMode mode, int64_t o, int64_t before, int64_t n) {
  int64_t i = o - before;
  if (mode == PadMode::kReplicate) return std::clamp<int64_t>(i, 0, n - 1);
  while (i < 0 || i >= n) {
    if (mode == PadMode::kCircular) i += i < 0 ? n : -n;
    else if (n == 1) i = 0;
    else i = i < 0 ? -i : 2 * (n - 1) - i;
  }
  return i;
}

template <class T>
void check_pad(PadMode mode, Dims in, Dims before, Dims after, bool strided = false) {
  Dims out = in;
  for (int64_t d = 0; d < in.n; ++d) out[d] += before[d] + after[d];
  ModePadAttrs a;
  a.before = before;
  a.mode = mode;
  a.after = after;
  const auto x = random_values<T>(numel_of(in), 50), g = random_values<T>(numel_of(out), 2, 2);
  std::vector<double> want(g.size()), want_gx(x.size());
  Dims x_strides = contiguous_strides(in);
  if (strided) x_strides[0] = 1, x_strides[in.n - 1] = in[0];  // 2-d: transposed memory
  const Dims dense = contiguous_strides(in);
  for (int64_t o = 0; o < numel_of(out); ++o) {
    int64_t rest = o, from = 0, to = 0;
    for (int64_t d = in.n - 1; d >= 0; --d) {
      const int64_t i = source(mode, rest % out[d], before[d], in[d]);
      from += i * x_strides[d];
      to += i * dense[d];
      rest /= out[d];
    }
    want[static_cast<size_t>(o)] = to_double(x[static_cast<size_t>(from)]);
    want_gx[static_cast<size_t>(to)] += to_double(g[static_cast<size_t>(o)]);
  }
  const DeviceArray<T> dx(x), dg(g), y(g.size()), gx(x.size());
  call(&mode_pad, {view_of(y, out)}, {OwnedView(dx.data(), dtype_of<T>::value, in, x_strides)}, &a);
  expect_near(y, want, 0);
  if constexpr (is_floating(dtype_of<T>::value)) {
    call(&mode_pad_backward, {view_of(gx, in)}, {view_of(dg, out)}, &a);
    expect_near(gx, want_gx, is_half(dtype_of<T>::value) ? 1e-2 : 1e-5);
  }
}

TEST(ModePad, EveryMode) {
  for (const PadMode mode : {PadMode::kReflect, PadMode::kReplicate, PadMode::kCircular}) {
    SCOPED_TRACE(static_cast<int>(mode));
    check_pad<float>(mode, {2, 5}, {0, 2}, {0, 3});
    check_pad<double>(mode, {2, 3, 4, 5}, {0, 0, 2, 1}, {0, 0, 3, 4});
    check_pad<float>(mode, {4, 5}, {2, 2}, {1, 3}, true);
    check_pad<bfloat16>(mode, {3, 4}, {1, 2}, {2, 1});
    check_pad<int32_t>(mode, {3, 4}, {1, 2}, {2, 1});
    check_pad<uint8_t>(mode, {3, 4}, {1, 0}, {2, 0});
    check_pad<float>(mode, {3, 1}, {0, 3}, {0, 2});
    check_pad<float>(mode, {7}, {-2}, {1});
    check_pad<float>(mode, {2, 3, 4, 5}, {0, 1, 1, 1}, {0, 1, 2, 2});
  }
}
TEST(ModePad, StridedGradient) {
  ModePadAttrs a;
  a.before = {1};
  a.after = {2};
  const DeviceArray<float> g(std::vector<float>{1, 2, 3, 4, 5, 6}), gx(std::vector<float>(6, -1.0f));
  call(&mode_pad_backward, {OwnedView(gx.data(), DType::kFloat32, {3}, {2})}, {view_of(g, {6})}, &a);
  EXPECT_EQ(gx.host(), (std::vector<float>{2 + 6, -1, 1 + 3 + 5, -1, 4, -1}));
}
TEST(Repeat, TilesAndNewDimensions) {
  const DeviceArray<int16_t> x(std::vector<int16_t>{1, 2, 3, 4, 5, 6}), y(2 * 4 * 3);
  const RepeatAttrs a{{2, 2, 1}};
  call(&repeat, {view_of(y, {2, 4, 3})}, {OwnedView(x.data(), DType::kInt16, {2, 3}, {1, 2})}, &a);
  std::vector<int16_t> want;
  for (int k = 0; k < 4; ++k)
    for (int16_t v : {1, 3, 5, 2, 4, 6}) want.push_back(v);
  EXPECT_EQ(y.host(), want);
}
TEST(RepeatInterleave, RunsOfManyLengths) {
  for_each_seed([] {
    std::vector<int64_t> counts, want;
    for (int64_t i = 0; i < 700; ++i) {
      counts.push_back(i * i % 4);
      want.insert(want.end(), static_cast<size_t>(counts.back()), i);
    }
    const DeviceArray<int64_t> repeats(counts), out(want.size());
    const RepeatInterleaveAttrs a{static_cast<int64_t>(want.size())};
    call(&repeat_interleave, {view_of(out, {a.total})}, {view_of(repeats, {700})}, &a);
    EXPECT_EQ(out.host(), want);
  });
}
TEST(RepeatInterleave, WrongTotalsStopTheKernel) {
  const DeviceArray<int64_t> repeats(std::vector<int64_t>{1, 2}), out(4);
  EXPECT_NE(failure_of([&] { call(&repeat_interleave, {view_of(out, {4})}, {view_of(repeats, {2})}); }), "");
}
TEST(OneHot, Classes) {
  const DeviceArray<int64_t> classes(std::vector<int64_t>{2, 0, 1, 2}), out(12);
  call(&one_hot, {view_of(out, {2, 2, 3})}, {view_of(classes, {2, 2})});
  EXPECT_EQ(out.host(), (std::vector<int64_t>{0, 0, 1, 1, 0, 0, 0, 1, 0, 0, 0, 1}));
}
TEST(OneHot, WrongClassesStopTheKernel) {
  const DeviceArray<int64_t> classes(std::vector<int64_t>{2, 0, 1, 2}), two(8);
  EXPECT_NE(failure_of([&] { call(&one_hot, {view_of(two, {4, 2})}, {view_of(classes, {4})}); }), "");
}

}  // namespace
}  // namespace fireseed::cuda

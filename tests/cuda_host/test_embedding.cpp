// embedding_renorm and bags of embeddings against loops.
#include <cmath>

#include "emu_test.h"
#include "tensor/attrs/embedding.h"

namespace fireseed::cuda {
void embedding_renorm(const KernelArgs&);
void embedding_bag(const KernelArgs&);
void embedding_bag_max(const KernelArgs&);

namespace {

using namespace cuda_emu;

TEST(EmbeddingRenorm, RowsAreScaledOnce) {
  for (double p : {1.0, 2.0, 3.0, static_cast<double>(INFINITY)})
    for_each_seed([&] {
      const auto w = random_values<float>(6 * 70, 1.0);
      const DeviceArray<float> weight(w), out(w.size());
      const std::vector<int64_t> rows{4, 1, 4, 4, 0, 1};
      const DeviceArray<int64_t> index(rows);
      const EmbeddingRenormAttrs a{1.5, p};
      call(&embedding_renorm, {view_of(out, {6, 70})}, {view_of(weight, {6, 70}), view_of(index, {6})}, &a);
      std::vector<double> want = to_double(w);
      for (size_t r : {size_t{0}, size_t{1}, size_t{4}}) {
        double norm = 0;
        for (size_t c = 0; c < 70; ++c) {
          const double x = std::fabs(want[r * 70 + c]);
          norm = std::isinf(p) ? std::max(norm, x) : norm + std::pow(x, p);
        }
        if (!std::isinf(p)) norm = std::pow(norm, 1 / p);
        if (norm > 1.5)
          for (size_t c = 0; c < 70; ++c) want[r * 70 + c] *= 1.5 / (norm + 1e-7);
      }
      expect_near(out, want, 1e-6);
    });
}

template <class T>
void check_bags(BagMode mode, bool weighted, double tolerance) {
  const int64_t width = 5, padding = 2;
  const auto w = random_values<T>(7 * width, 1.0), scale = random_values<T>(9, 1.0, 2);
  const std::vector<int64_t> rows{3, 2, 6, 0, 2, 5, 5, 1, 2}, starts{0, 3, 3, 4, 8};  // bags 1 (empty), 4 (padding)
  const DeviceArray<T> weight(w), scales(scale), out(5 * 5);
  const DeviceArray<int64_t> index(rows), offsets(starts), found(5 * 5);
  EmbeddingBagAttrs a{5, mode, padding};
  std::vector<double> want(25, 0.0);
  std::vector<int64_t> want_rows(25, -1);
  for (size_t b = 0; b < 5; ++b) {
    const size_t end = b < 4 ? static_cast<size_t>(starts[b + 1]) : rows.size();
    for (size_t c = 0; c < 5; ++c) {
      double used = 0;
      for (auto e = static_cast<size_t>(starts[b]); e < end; ++e) {
        if (rows[e] == padding) continue;
        const double v = to_double(w[static_cast<size_t>(rows[e]) * 5 + c]);
        if (mode != BagMode::kMax) {
          want[b * 5 + c] += weighted ? v * to_double(scale[e]) : v;
        } else if (used == 0 || v > want[b * 5 + c]) {
          want[b * 5 + c] = v;
          want_rows[b * 5 + c] = rows[e];
        }
        ++used;
      }
      if (mode == BagMode::kMean && used > 0) want[b * 5 + c] /= used;
    }
  }
  const OwnedView in = view_of(weight, {7, width}), i = view_of(index, {9}), o = view_of(offsets, {5});
  if (mode == BagMode::kMax) {
    call(&embedding_bag_max, {view_of(out, {5, 5}), view_of(found, {5, 5})}, {in, i, o}, &a);
    EXPECT_EQ(found.host(), want_rows);
  } else if (weighted) {
    call(&embedding_bag, {view_of(out, {5, 5})}, {in, i, o, view_of(scales, {9})}, &a);
  } else {
    call(&embedding_bag, {view_of(out, {5, 5})}, {in, i, o}, &a);
  }
  expect_near(out, want, tolerance);
}

TEST(EmbeddingBag, SumMeanMax) {
  for (const BagMode mode : {BagMode::kSum, BagMode::kMean, BagMode::kMax}) {
    check_bags<float>(mode, false, 1e-6);
    check_bags<double>(mode, false, 1e-14);
    check_bags<bfloat16>(mode, false, 1e-2);
  }
  check_bags<float>(BagMode::kSum, true, 1e-6);
}
TEST(EmbeddingBag, MistakesStopTheKernel) {
  const DeviceArray<float> weight(std::vector<float>(6, 1.0f)), out(4);
  const DeviceArray<int64_t> index(std::vector<int64_t>{0, 2, 1}), bad(std::vector<int64_t>{0, 3, 1}),
      offsets(std::vector<int64_t>{0, 1}), late(std::vector<int64_t>{1, 2}), beyond(std::vector<int64_t>{0, 4});
  EmbeddingBagAttrs a{2, BagMode::kSum, -1};
  const auto fails = [&](const DeviceArray<int64_t>& i, const DeviceArray<int64_t>& o) {
    return failure_of([&] {
      call(&embedding_bag, {view_of(out, {2, 2})}, {view_of(weight, {3, 2}), view_of(i, {3}), view_of(o, {2})}, &a);
    });
  };
  EXPECT_EQ(fails(index, offsets), "");
  EXPECT_NE(fails(bad, offsets), "");
  EXPECT_NE(fails(index, late), "");
  EXPECT_NE(fails(index, beyond), "");
}

}  // namespace
}  // namespace fireseed::cuda

// Hopper's instructions: a product through TMA, mbarriers and wgmma, right and with bugs planted.
#include "emu_test.h"
#include "hopper_product.cuh"
#include "runtime/tensor_map.h"
#if defined(FS_CUDA_EMU)
#include "planted.h"
#endif

namespace fireseed::cuda {
namespace {

using namespace cuda_emu;

template <class T, int kBug>
bool product_is_right(int m, int n, int k) {
  const auto a = random_values<T>(int64_t{m} * k, 1.0, 1), b = random_values<T>(int64_t{n} * k, 1.0, 2);
  const DeviceArray<T> da(a), db(b);
  const DeviceArray<float> c(static_cast<size_t>(m) * static_cast<size_t>(n));
  const CUtensorMap map_a = tensor_map_2d(da.data(), dtype_of<T>::value, m, k, k, 64);
  const CUtensorMap map_b = tensor_map_2d(db.data(), dtype_of<T>::value, n, k, k, 128);
  FS_LAUNCH((hopper_product<T, kBug>),
            dim3(static_cast<unsigned>((n + 127) / 128), static_cast<unsigned>((m + 63) / 64)), 160, kHopperShared,
            nullptr, map_a, map_b, c.data(), m, n, k);
  const auto v = c.host();
  for (int i = 0; i < m; ++i)
    for (int j = 0; j < n; ++j) {
      double sum = 0;
      for (int x = 0; x < k; ++x)
        sum += to_double(a[static_cast<size_t>(i * k + x)]) * to_double(b[static_cast<size_t>(j * k + x)]);
      if (!(std::fabs(v[static_cast<size_t>(i * n + j)] - sum) < 1e-3)) return false;
    }
  return true;
}

TEST(Hopper, Products) {
  EXPECT_TRUE((product_is_right<bfloat16, kNoBug>(64, 128, 64)));
  EXPECT_TRUE((product_is_right<float16, kNoBug>(70, 140, 192)));  // boxes that leave the tensors
  for_each_seed([] { EXPECT_TRUE((product_is_right<bfloat16, kNoBug>(64, 128, 320))); });
}

#if defined(FS_CUDA_EMU)
template <int kBug>
bool run(bool bug) {
  return bug ? product_is_right<bfloat16, kBug>(64, 128, 320) : product_is_right<bfloat16, kNoBug>(64, 128, 320);
}
TEST(Hopper, PlantedBugs) {
  planted("more bytes expected than come", kAll, &run<kWrongBytes>, "deadlock");
  planted("the wrong parity of an mbarrier", kAll, &run<kWrongParity>, "deadlock");
  planted("a stage released before wgmma has read it", kAll, &run<kEarlyRelease>);
  planted("a descriptor advanced by the wrong step", kAll, &run<kWrongKStep>);
  planted("no fence before wgmma", kAll, &run<kNoFence>, "without wgmma_fence");
  planted("the wrong stage", kAll, &run<kWrongStageOffset>);
}
#endif

}  // namespace
}  // namespace fireseed::cuda

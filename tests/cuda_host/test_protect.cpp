// Note [Protected memory]: host code that touches device memory is stopped.
#include "protect.h"

#include "emu_test.h"

namespace fireseed::cuda {
namespace {

using namespace cuda_emu;

// Before anything asks for device memory.
[[maybe_unused]] const int turned_on = setenv("FS_EMU_PROTECT", "1", 1);

__global__ void add_one(float* x, int n) {
  const int i = static_cast<int>(threadIdx.x);
  if (i < n) x[i] += 1.0f;
}

TEST(Protect, KernelsAndCopiesReachDeviceMemory) {
  ASSERT_TRUE(protects());
  const DeviceArray<float> x(std::vector<float>{1, 2, 3});
  FS_LAUNCH(add_one, 1, 32, 0, nullptr, x.data(), 3);
  EXPECT_EQ(x.host(), (std::vector<float>{2, 3, 4}));
  ASSERT_EQ(cudaMemset(x.data(), 0, 4), cudaSuccess);
  EXPECT_EQ(x.host(), (std::vector<float>{0, 3, 4}));
}

TEST(Protect, HostCodeDoesNot) {
  const DeviceArray<float> x(std::vector<float>{1, 2, 3});
  const DeviceArray<float> large(std::vector<float>(1 << 20, 1.0f));
  EXPECT_DEATH(std::fill_n(x.data(), 3, 5.0f), "host code touches device memory");
  EXPECT_DEATH(std::printf("%f", static_cast<double>(large.data()[(1 << 20) - 1])),
               "host code touches device memory");
  EXPECT_EQ(x.host()[0], 1.0f);
}

TEST(Protect, MemsetTakesNoHostMemory) {
  float host[4] = {};
  EXPECT_NE(cudaMemset(host, 1, sizeof host), cudaSuccess);
  cudaGetLastError();
}

}  // namespace
}  // namespace fireseed::cuda

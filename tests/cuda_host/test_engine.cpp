// The emulation itself: order of threads, barriers, shuffles, votes, atomics, shared memory, launch checks, capture.
#include <numeric>

#include "device/reduce.cuh"
#include "emu_test.h"

namespace fireseed::cuda {
namespace {

using namespace cuda_emu;

__global__ void indices(int* out) {
  const int block = static_cast<int>(blockIdx.x + gridDim.x * blockIdx.y);
  const int thread = static_cast<int>(threadIdx.x + blockDim.x * threadIdx.y);
  out[block * 12 + thread] += block * 100 + thread;
}
TEST(Engine, EveryThreadRunsOnce) {
  for_each_seed([] {
    DeviceArray<int> out(std::vector<int>(6 * 12, 0));
    FS_LAUNCH(indices, dim3(3, 2), dim3(4, 3), 0, nullptr, out.data());
    const auto v = out.host();
    for (int b = 0; b < 6; ++b)
      for (int t = 0; t < 12; ++t) EXPECT_EQ(v[static_cast<size_t>(b * 12 + t)], b * 100 + t);
  });
}

template <int kThreads>
__global__ void sum_blocks(const float* in, float* out, int n) {
  float s = 0;
  for (int i = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x); i < n;
       i += kThreads * static_cast<int>(gridDim.x))
    s += in[i];
  s = block_reduce<kThreads>(s, AddOp{});
  if (threadIdx.x == 0) atomicAdd(out, s);
}
TEST(Engine, SumOverBlocks) {
  for_each_seed([] {
    std::vector<float> host(1000);
    std::iota(host.begin(), host.end(), 1.0f);
    DeviceArray<float> in(host), out(std::vector<float>{0});
    FS_LAUNCH((sum_blocks<64>), 3, 64, 0, nullptr, in.data(), out.data(), 1000);
    EXPECT_EQ(out.host()[0], 500500.0f);
    out.fill_nan();
    cudaMemset(out.data(), 0, 4);
    FS_LAUNCH((sum_blocks<256>), 2, 256, 0, nullptr, in.data(), out.data(), 1000);
    EXPECT_EQ(out.host()[0], 500500.0f);
  });
}

__global__ void reverse(const int* in, int* out) {
  FS_DYN_SMEM(int, buffer);
  const int t = static_cast<int>(threadIdx.x), n = static_cast<int>(blockDim.x);
  buffer[t] = in[t];
  __syncthreads();
  out[t] = buffer[n - 1 - t];
}
TEST(Engine, DynamicSharedMemory) {
  for_each_seed([] {
    std::vector<int> host(300);
    std::iota(host.begin(), host.end(), 0);
    DeviceArray<int> in(host), out(300);
    FS_LAUNCH(reverse, 1, 300, 300 * sizeof(int), nullptr, in.data(), out.data());
    const auto v = out.host();
    for (int i = 0; i < 300; ++i) EXPECT_EQ(v[static_cast<size_t>(i)], 299 - i);
  });
}

// A launch takes away nothing that another thread may be about to use.
TEST(Engine, SharedMemoryIsGrantedForGood) {
  const DeviceArray<int> in(std::vector<int>(32, 1)), out(32);
  for (size_t kilobytes : {90, 60}) FS_LAUNCH(reverse, 1, 32, kilobytes * 1024, nullptr, in.data(), out.data());
  cudaFuncAttributes has;
  ASSERT_EQ(cudaFuncGetAttributes(&has, reverse), cudaSuccess);
  EXPECT_GE(has.maxDynamicSharedSizeBytes, 90 * 1024);
  EXPECT_EQ(out.host(), std::vector<int>(32, 1));
}

__global__ void warp_functions(int* out) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  int* row = out + threadIdx.x * 8;
  row[0] = __shfl_sync(kFullMask, lane, 5);
  row[1] = __shfl_up_sync(kFullMask, lane, 2);
  row[2] = __shfl_down_sync(kFullMask, lane, 3, 8);
  row[3] = __shfl_xor_sync(kFullMask, lane, 16);
  row[4] = static_cast<int>(__ballot_sync(kFullMask, lane % 2));
  row[5] = __any_sync(kFullMask, lane == 7) * 2 + __all_sync(kFullMask, lane < 31);
  row[6] = static_cast<int>(__match_any_sync(kFullMask, lane % 4));
  row[7] = static_cast<int>(__shfl_sync(kFullMask, 1.5 * lane, 4));
}
TEST(Engine, WarpFunctions) {
  for_each_seed([] {
    DeviceArray<int> out(64 * 8);
    FS_LAUNCH(warp_functions, 1, 64, 0, nullptr, out.data());
    const auto v = out.host();
    for (int t = 0; t < 64; ++t) {
      const int lane = t % 32, *row = v.data() + t * 8;
      EXPECT_EQ(row[0], 5);
      EXPECT_EQ(row[1], lane < 2 ? lane : lane - 2);
      EXPECT_EQ(row[2], lane % 8 + 3 < 8 ? lane + 3 : lane);
      EXPECT_EQ(row[3], lane ^ 16);
      EXPECT_EQ(row[4], static_cast<int>(0xaaaaaaaau));
      EXPECT_EQ(row[5], 2);
      EXPECT_EQ(row[6], static_cast<int>(0x11111111u << lane % 4));
      EXPECT_EQ(row[7], 6);
    }
  });
}

__global__ void count_holding(int* out) {
  const int t = static_cast<int>(threadIdx.x);
  const int n = __syncthreads_count(t < 10), any = __syncthreads_or(t == 3), all = __syncthreads_and(t != 3);
  out[t] = n * 100 + any * 10 + all;
}
TEST(Engine, BarriersThatCount) {
  for_each_seed([] {
    DeviceArray<int> out(100);
    FS_LAUNCH(count_holding, 1, 100, 0, nullptr, out.data());
    for (int x : out.host()) EXPECT_EQ(x, 1010);
  });
}

__global__ void grab(unsigned* counter, unsigned* ticket, int* best) {
  atomicAdd(counter, 2u);
  ticket[threadIdx.x] = atomicInc(counter + 1, 9);
  atomicMax(best, static_cast<int>(threadIdx.x));
}
TEST(Engine, Atomics) {
  for_each_seed([] {
    DeviceArray<unsigned> counter(std::vector<unsigned>{0, 0}), ticket(40);
    DeviceArray<int> best(std::vector<int>{-1});
    FS_LAUNCH(grab, 1, 40, 0, nullptr, counter.data(), ticket.data(), best.data());
    EXPECT_EQ(counter.host()[0], 80u);
    std::vector<int> seen(10);
    for (unsigned t : ticket.host()) ++seen[t];
    EXPECT_EQ(seen, std::vector<int>(10, 4));
    EXPECT_EQ(best.host()[0], 39);
  });
}

TEST(Engine, RandomOrdersDiffer) {
  std::vector<std::vector<unsigned>> orders;
  for (uint64_t s : {0, 1, 2, 1}) {
    set_seed(s);
    DeviceArray<unsigned> counter(std::vector<unsigned>{0, 0}), ticket(40);
    DeviceArray<int> best(std::vector<int>{-1});
    FS_LAUNCH(grab, 1, 40, 0, nullptr, counter.data(), ticket.data(), best.data());
    orders.push_back(ticket.host());
  }
  set_seed(0);
  EXPECT_NE(orders[0], orders[1]);
  EXPECT_NE(orders[1], orders[2]);
  EXPECT_EQ(orders[1], orders[3]);
}

TEST(Engine, EmptyGridsLaunchNothing) { FS_LAUNCH(reverse, 0, 32, 0, nullptr, nullptr, nullptr); }

TEST(Engine, LaunchesThatCannotBe) {
  const auto launch_with = [](dim3 grid, dim3 block, size_t bytes) {
    return failure_of([&] { FS_LAUNCH(reverse, grid, block, bytes, nullptr, nullptr, nullptr); });
  };
  EXPECT_NE(launch_with(1, 1025, 0).find("block of 1025 x 1 x 1"), std::string::npos);
  EXPECT_NE(launch_with(dim3(1, 65536), 32, 0).find("grid of"), std::string::npos);
  EXPECT_NE(launch_with(1, 32, 228 * 1024).find("invalid argument"), std::string::npos);
  EXPECT_NE(launch_with(1, 0, 0).find("cudaErrorInvalidConfiguration"), std::string::npos);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

__global__ void add_one(int* x) { *x += 1; }
TEST(Engine, GraphsReplayWhatWasCaptured) {
  cudaStream_t stream;
  ASSERT_EQ(cudaStreamCreate(&stream), cudaSuccess);
  DeviceArray<int> x(std::vector<int>{0});
  cudaGraph_t graph;
  cudaGraphExec_t exec;
  ASSERT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
  FS_LAUNCH(add_one, 1, 1, 0, stream, x.data());
  FS_LAUNCH(add_one, 1, 1, 0, stream, x.data());
  ASSERT_EQ(cudaStreamEndCapture(stream, &graph), cudaSuccess);
  EXPECT_EQ(x.host()[0], 0);
  ASSERT_EQ(cudaGraphInstantiate(&exec, graph, 0), cudaSuccess);
  for (int i = 0; i < 3; ++i) ASSERT_EQ(cudaGraphLaunch(exec, stream), cudaSuccess);
  EXPECT_EQ(x.host()[0], 6);
  // A call that waits breaks a capture.
  ASSERT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaErrorStreamCaptureUnsupported);
  EXPECT_EQ(cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureInvalidated);
  cudaGetLastError();
  cudaGraphExecDestroy(exec);
  cudaStreamDestroy(stream);
}

TEST(Engine, MemoryHasAnEnd) {
  void* p;
  EXPECT_EQ(cudaMalloc(&p, size_t{1} << 40), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaGetLastError(), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaFree(reinterpret_cast<void*>(64)), cudaErrorInvalidValue);
  DeviceArray<int> x(4);
  int host[8];
  EXPECT_EQ(cudaMemcpy(host, x.data(), 32, cudaMemcpyDeviceToHost), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(host, x.data(), 16, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  cudaGetLastError();
}

}  // namespace
}  // namespace fireseed::cuda

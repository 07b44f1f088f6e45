// The emulation's power of detection: kernels with a bug planted, each of which must be caught, and the same kernels
// without it, which must be right and silent. A run is a child process, as sanitizers end theirs.
#include <numeric>

#include "device/intrinsics.cuh"
#include "device/reduce.cuh"
#include "device/vec.cuh"
#include "emu_test.h"
#include "planted.h"

namespace fireseed::cuda {
namespace {

using namespace cuda_emu;

std::vector<float> numbers(int n) {
  std::vector<float> v(static_cast<size_t>(n));
  std::iota(v.begin(), v.end(), 1.0f);
  return v;
}

// ---- barriers ----------------------------------------------------------------------------------------------

__global__ void reverse(const float* in, float* out, bool bug) {
  FS_SHARED(float, part, [64]);
  const int t = static_cast<int>(threadIdx.x);
  part[t] = in[t];
  if (!bug) __syncthreads();
  out[t] = part[63 - t];
}
bool run_reverse(bool bug) {
  const DeviceArray<float> in(numbers(64)), out(64);
  FS_LAUNCH(reverse, 1, 64, 0, nullptr, in.data(), out.data(), bug);
  const auto v = out.host();
  for (int i = 0; i < 64; ++i)
    if (v[static_cast<size_t>(i)] != static_cast<float>(64 - i)) return false;
  return true;
}

// Rotates by one, four times over the same buffer: each round must wait until all have read.
__global__ void rotate(const float* in, float* out, bool bug) {
  FS_SHARED(float, part, [64]);
  const int t = static_cast<int>(threadIdx.x);
  float x = in[t];
  for (int round = 0; round < 4; ++round) {
    part[t] = x;
    __syncthreads();
    x = part[(t + 1) % 64];
    if (!bug) __syncthreads();
  }
  out[t] = x;
}
bool run_rotate(bool bug) {
  const DeviceArray<float> in(numbers(64)), out(64);
  FS_LAUNCH(rotate, 1, 64, 0, nullptr, in.data(), out.data(), bug);
  const auto v = out.host();
  for (int i = 0; i < 64; ++i)
    if (v[static_cast<size_t>(i)] != static_cast<float>((i + 4) % 64 + 1)) return false;
  return true;
}

__global__ void divergent_barrier(float* out, bool bug) {
  const int t = static_cast<int>(threadIdx.x);
  if (bug) {
    if (t < 32) __syncthreads();
    else __syncthreads();
  } else {
    __syncthreads();
  }
  out[t] = 1;
}
__global__ void early_return(float* out, bool bug) {
  const int t = static_cast<int>(threadIdx.x);
  out[t] = 1;
  if (bug && t >= 40) return;
  __syncthreads();
}
// Two halves of the block, each with its own barrier.
__global__ void halves(float* out, bool bug) {
  const int t = static_cast<int>(threadIdx.x);
  named_barrier_sync(1 + t / 64, bug ? 128 : 64);
  out[t] = 1;
}
template <class K>
bool run_ones(K kernel, int threads, bool bug) {
  const DeviceArray<float> out(static_cast<size_t>(threads));
  FS_LAUNCH(kernel, 1, threads, 0, nullptr, out.data(), bug);
  return out.host() == std::vector<float>(static_cast<size_t>(threads), 1.0f);
}

TEST(PlantedBugs, Barriers) {
  planted("no barrier between a write and another thread's read", kPlain | kThread, &run_reverse);
  planted("no barrier before shared memory is written again", kPlain | kThread, &run_rotate);
  planted(
      "barriers in the branches of an if", kAll, [](bool b) { return run_ones(divergent_barrier, 64, b); },
      "divergent barrier");
  planted(
      "threads return before a barrier", kAll, [](bool b) { return run_ones(early_return, 64, b); }, "have ended");
  planted("a named barrier waits for too many", kAll, [](bool b) { return run_ones(halves, 128, b); }, "deadlock");
}

// ---- warps -------------------------------------------------------------------------------------------------

__global__ void swap_in_warp(float* out, bool bug) {
  FS_SHARED(float, part, [32]);
  const int t = static_cast<int>(threadIdx.x);
  part[t] = static_cast<float>(t);
  if (!bug) __syncwarp();
  out[t] = part[31 - t] == static_cast<float>(31 - t) ? 1.0f : 0.0f;
}
__global__ void shuffle_in_branch(float* out, bool bug) {
  const int t = static_cast<int>(threadIdx.x);
  float x = 1;
  if (!bug || t % 2 == 0) x = __shfl_xor_sync(kFullMask, x, 2);
  out[t] = x;
}
__global__ void shuffle_of_idle_lane(float* out, bool bug) {
  const int t = static_cast<int>(threadIdx.x);
  float x = 1;
  if (t < 16) x = __shfl_down_sync(0xffffu, x, 8, bug ? 32 : 16);
  out[t] = x;
}
__global__ void outside_mask(float* out, bool bug) {
  const int t = static_cast<int>(threadIdx.x);
  if (t < 16 || bug) __syncwarp(0xffffu);
  out[t] = 1;
}
__global__ void two_collectives(float* out, bool bug) {
  const int t = static_cast<int>(threadIdx.x);
  float x = 1;
  if (bug && t < 16) x = __shfl_sync(kFullMask, x, 0);
  else x = static_cast<float>(__all_sync(kFullMask, 1));
  out[t] = x;
}

TEST(PlantedBugs, Warps) {
  planted("no __syncwarp between lanes", kPlain | kThread, [](bool b) { return run_ones(swap_in_warp, 32, b); });
  planted(
      "a shuffle in a divergent branch", kAll, [](bool b) { return run_ones(shuffle_in_branch, 32, b); }, "deadlock");
  planted("a shuffle from a lane outside the mask", kAll,
          [](bool b) { return run_ones(shuffle_of_idle_lane, 32, b); });
  planted(
      "a lane that is not in its mask", kAll, [](bool b) { return run_ones(outside_mask, 32, b); },
      "not in its own mask");
  planted(
      "lanes meet in different calls", kAll, [](bool b) { return run_ones(two_collectives, 32, b); },
      "divergent warp");
}

// ---- memory ------------------------------------------------------------------------------------------------

__global__ void fill(float* out, int n, bool bug) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (bug ? i <= n : i < n) out[i] = 1;
}
bool run_fill(bool bug) {
  const DeviceArray<float> out(100);
  FS_LAUNCH(fill, 4, 32, 0, nullptr, out.data(), 100, bug);
  return out.host() == std::vector<float>(100, 1.0f);
}
template <int kSize>
__global__ void static_array(float* out) {
  FS_SHARED(float, part, [kSize]);
  const int t = static_cast<int>(threadIdx.x);
  part[t] = 1;
  __syncthreads();
  out[t] = part[t];
}
bool run_static(bool bug) {
  const DeviceArray<float> out(64);
  if (bug) FS_LAUNCH((static_array<63>), 1, 64, 0, nullptr, out.data());
  else FS_LAUNCH((static_array<64>), 1, 64, 0, nullptr, out.data());
  return out.host() == std::vector<float>(64, 1.0f);
}
__global__ void dynamic_array(float* out) {
  FS_DYN_SMEM(float, part);
  const int t = static_cast<int>(threadIdx.x);
  part[t] = 1;
  __syncthreads();
  out[t] = part[t];
}
bool run_dynamic(bool bug) {
  const DeviceArray<float> out(64);
  FS_LAUNCH(dynamic_array, 1, 64, (bug ? 60 : 64) * sizeof(float), nullptr, out.data());
  return out.host() == std::vector<float>(64, 1.0f);
}
__global__ void vector_copy(const float* in, float* out) {
  Vec<float, 4>::load(in + threadIdx.x * 4).store(out + threadIdx.x * 4);
}
bool run_vector(bool bug) {
  const DeviceArray<float> in(numbers(68)), out(64);
  FS_LAUNCH(vector_copy, 1, 16, 0, nullptr, in.data() + (bug ? 1 : 0), out.data());
  return out.host()[0] == (bug ? 2.0f : 1.0f);
}
__global__ void sum_shared(float* out, bool bug) {
  FS_SHARED(float, part, [32]);
  const int t = static_cast<int>(threadIdx.x);
  if (!bug || t > 0) part[t] = 1;
  __syncthreads();
  float s = 0;
  for (int i = 0; i < 32; ++i) s += part[i];
  out[t] = s / 32;
}
__global__ void blocks(float* out, bool bug) {
  const int t = static_cast<int>(threadIdx.x), block = static_cast<int>(blockIdx.x);
  out[(bug ? 0 : block) * 32 + t] = static_cast<float>(block);
}
bool run_blocks(bool bug) {
  const DeviceArray<float> out(64);
  FS_LAUNCH(blocks, 2, 32, 0, nullptr, out.data(), bug);
  const auto v = out.host();
  return v[0] == 0 && v[31] == 0 && v[32] == 1 && v[63] == 1;
}
__global__ void count(int* total, bool bug) {
  FS_SHARED(int, n, [1]);
  if (threadIdx.x == 0) n[0] = 0;
  __syncthreads();
  if (bug) n[0] += 1;
  else atomicAdd(n, 1);
  __syncthreads();
  if (threadIdx.x == 0) *total = n[0];
}
bool run_count(bool bug) {
  const DeviceArray<int> total(1);
  FS_LAUNCH(count, 1, 64, 0, nullptr, total.data(), bug);
  return total.host()[0] == 64;
}

TEST(PlantedBugs, Memory) {
  planted("a write one past the end", kAddress, &run_fill);
  planted("a shared array one too small", kAddress, &run_static);
  planted("less dynamic shared memory than is used", kAddress, &run_dynamic);
  planted("a vector at a misaligned address", kAddress, &run_vector);
  planted("shared memory that nobody wrote", kAll, [](bool b) { return run_ones(sum_shared, 32, b); });
  planted("two blocks write one place", kAll, &run_blocks);
  planted("threads count without atomics", kThread, &run_count);
}

// ---- asynchronous copies -----------------------------------------------------------------------------------

enum RingBug { kNone, kWaitsForTooFew, kNoBarrierAfterWait, kNoBarrierBeforeRefill, kWrongStage, kNoCommit };
// Sums 8 tiles of 64 numbers over a ring of kStages buffers, a tile under way while one is read.
template <int kBug>
__global__ void ring(const float* in, float* out) {
  constexpr int kTiles = 8, kTile = 64, kStages = 3;
  FS_SHARED(float, buffer, [kStages][kTile]);
  const int t = static_cast<int>(threadIdx.x);
  const auto fetch = [&](int tile) {
    if (tile < kTiles) cp_async<4>(&buffer[tile % kStages][t], in + tile * kTile + t);
    if (kBug != kNoCommit) cp_async_commit();
  };
  fetch(0);
  fetch(1);
  float sum = 0;
  for (int tile = 0; tile < kTiles; ++tile) {
    cp_async_wait<kBug == kWaitsForTooFew ? 2 : 1>();
    if (kBug != kNoBarrierAfterWait) __syncthreads();
    sum += buffer[(kBug == kWrongStage ? tile + 1 : tile) % kStages][kTile - 1 - t];
    if (kBug == kNoBarrierBeforeRefill) {
      fetch(tile + 3);  // into the buffer that others still read
      continue;
    }
    fetch(tile + 2);
  }
  out[t] = sum;
}
template <int kBug>
bool run_ring_with() {
  const DeviceArray<float> in(numbers(512)), out(64);
  FS_LAUNCH((ring<kBug>), 1, 64, 0, nullptr, in.data(), out.data());
  const auto v = out.host();
  for (int t = 0; t < 64; ++t) {
    float sum = 0;
    for (int tile = 0; tile < 8; ++tile) sum += static_cast<float>(tile * 64 + 64 - t);
    if (v[static_cast<size_t>(t)] != sum) return false;
  }
  return true;
}
template <int kBug>
bool run_ring(bool bug) {
  return bug ? run_ring_with<kBug>() : run_ring_with<kNone>();
}

TEST(PlantedBugs, AsynchronousCopies) {
  planted("the wait leaves too many groups under way", kAll, &run_ring<kWaitsForTooFew>);
  planted("no barrier after the wait", kPlain | kThread, &run_ring<kNoBarrierAfterWait>);
  planted("a buffer is filled again while it is read", kAll, &run_ring<kNoBarrierBeforeRefill>);
  planted("the wrong buffer of the ring", kAll, &run_ring<kWrongStage>);
  planted("copies that no group has", kAll, &run_ring<kNoCommit>);
}

// ---- products of a warp ------------------------------------------------------------------------------------

// c = a b for a: 16 x 16, b: 16 x 8 of bfloat16, both row-major.
template <bool kBug>
__global__ void warp_product(const bfloat16* a, const bfloat16* b, float* c) {
  alignas(16) FS_SHARED(bfloat16, tile_a, [16][16]);
  alignas(16) FS_SHARED(bfloat16, tile_b, [16][8]);
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = lane; i < 256; i += 32) tile_a[i / 16][i % 16] = a[i];
  for (int i = lane; i < 128; i += 32) tile_b[i / 8][i % 8] = b[i];
  __syncwarp();
  uint32_t fa[4], fb[4], pair[2];
  float d[4] = {0, 0, 0, 0};
  ldmatrix_x4(fa, &tile_a[lane % 16][lane / 16 * 8]);
  ldmatrix_x4<!kBug>(fb, &tile_b[lane % 16][0]);
  pair[0] = fb[0];
  pair[1] = fb[1];
  mma_16816(d, fa, pair, bfloat16());
  const int row = lane / 4, column = lane % 4 * 2;
  c[row * 8 + column] = d[0];
  c[row * 8 + column + 1] = d[1];
  c[(row + 8) * 8 + column] = d[2];
  c[(row + 8) * 8 + column + 1] = d[3];
}
bool run_product(bool bug) {
  const auto a = random_values<bfloat16>(256, 1.0, 1), b = random_values<bfloat16>(128, 1.0, 2);
  const DeviceArray<bfloat16> da(a), db(b);
  const DeviceArray<float> c(128);
  if (bug) FS_LAUNCH((warp_product<true>), 1, 32, 0, nullptr, da.data(), db.data(), c.data());
  else FS_LAUNCH((warp_product<false>), 1, 32, 0, nullptr, da.data(), db.data(), c.data());
  const auto v = c.host();
  for (size_t i = 0; i < 16; ++i)
    for (size_t j = 0; j < 8; ++j) {
      double sum = 0;
      for (size_t k = 0; k < 16; ++k) sum += to_double(a[i * 16 + k]) * to_double(b[k * 8 + j]);
      if (std::fabs(v[i * 8 + j] - sum) > 1e-5) return false;
    }
  return true;
}

TEST(PlantedBugs, WarpProducts) { planted("a fragment loaded without transposing", kAll, &run_product); }

}  // namespace
}  // namespace fireseed::cuda

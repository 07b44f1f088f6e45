// Conformance of Hopper's instructions: mbarriers, TMA with its swizzle, wgmma and its descriptors, register counts.
#include "conformance.h"
#include "device/reduce.cuh"
#include "hopper_product.cuh"
#include "runtime/tensor_map.h"

namespace fireseed::cuda {
namespace {

using namespace conformance;

// A ring of two stages: one warp writes, another reads what other lanes wrote.
__global__ void rings(const uint32_t* in, uint32_t* out, int rounds) {
  FS_SHARED(uint32_t, stage, [2][32]);
  FS_SHARED(uint64_t, full, [2]);
  FS_SHARED(uint64_t, empty, [2]);
  const int t = static_cast<int>(threadIdx.x), lane = t % 32;
  if (t == 0) {
    for (int s = 0; s < 2; ++s) {
      mbarrier_init(full + s, 32);
      mbarrier_init(empty + s, 32);
    }
    mbarrier_init_fence();
  }
  __syncthreads();
  uint32_t sum = 0;
  for (int round = 0; round < rounds; ++round) {
    const int s = round % 2, phase = round / 2 % 2;
    if (t < 32) {
      mbarrier_wait(empty + s, phase ^ 1);  // the phase before the first counts as ended
      stage[s][lane] = in[round * 32 + lane];
      mbarrier_arrive(full + s);
    } else {
      mbarrier_wait(full + s, phase);
      sum = sum * 31 + stage[s][31 - lane];
      mbarrier_arrive(empty + s);
    }
  }
  out[t] = sum;
}
void mbarrier_section(Output& output) {
  constexpr int kRounds = 11;
  const Input in(output, 32 * kRounds);
  const Result out(64);
  output.begin("mbarrier");
  FS_LAUNCH(rings, 1, 64, 0, nullptr, in.data(), out.data(), kRounds);
  output.add(out);
}

constexpr int kTileWords = 64 * 64 / 2;

// Shared memory as TMA leaves it.
__global__ void tiles(const __grid_constant__ CUtensorMap map, int x, int y, uint32_t* out) {
  FS_DYN_SMEM(uint32_t, tile);
  auto* barrier = reinterpret_cast<uint64_t*>(tile + kTileWords);
  if (threadIdx.x == 0) {
    mbarrier_init(barrier, 1);
    mbarrier_init_fence();
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    mbarrier_arrive_expect(barrier, kTileWords * 4);
    tma_load_2d(tile, &map, x, y, barrier);
  }
  mbarrier_wait(barrier, 0);
  for (int i = static_cast<int>(threadIdx.x); i < kTileWords; i += 128) out[i] = tile[i];
}
void tma_section(Output& output) {
  constexpr int kRows = 100, kColumns = 88, kPitch = 96;
  const Input in(output, kRows * kPitch / 2);
  output.begin("tma");
  for (DType dtype : {DType::kFloat16, DType::kBFloat16}) {
    const CUtensorMap map = tensor_map_2d(in.data(), dtype, kRows, kColumns, kPitch, 64);
    constexpr int kAt[][2] = {{0, 0}, {16, 33}, {-8, -3}, {64, 90}, {40, 99}, {0, -64}, {88, 0}};
    for (const auto& at : kAt) {
      const Result out(kTileWords);
      FS_LAUNCH(tiles, 1, 128, kTileWords * 4 + 8, nullptr, map, at[0], at[1], out.data());
      output.add(out);
    }
  }
}

// d = a b^T of single steps of 16 along k (32 bytes in the tile), then of all four; each thread's registers.
template <class T>
__global__ void __launch_bounds__(128) steps_of_wgmma(const __grid_constant__ CUtensorMap map_a,
                                                      const __grid_constant__ CUtensorMap map_b, uint32_t* out) {
  FS_DYN_SMEM(T, tile);
  T* const tile_b = tile + 64 * 64;
  auto* barrier = reinterpret_cast<uint64_t*>(tile + 192 * 64);
  if (threadIdx.x == 0) {
    mbarrier_init(barrier, 1);
    mbarrier_init_fence();
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    mbarrier_arrive_expect(barrier, 192 * 64 * 2);
    tma_load_2d(tile, &map_a, 0, 0, barrier);
    tma_load_2d(tile_b, &map_b, 0, 0, barrier);
  }
  mbarrier_wait(barrier, 0);
  const uint64_t a = wgmma_descriptor(tile), b = wgmma_descriptor(tile_b);
  float d[64];
  for (int round = 0; round < 5; ++round) {
#pragma unroll
    for (int i = 0; i < 64; ++i) d[i] = static_cast<float>(i);  // ignored where nothing is accumulated
    wgmma_fence();
    if (round < 4) {
      wgmma_64xnx16<T>(d, advance_k(a, round * 16), advance_k(b, round * 16), false);
    } else {
#pragma unroll
      for (int i = 0; i < 4; ++i) wgmma_64xnx16<T>(d, advance_k(a, i * 16), advance_k(b, i * 16), true);
    }
    wgmma_commit();
    wgmma_wait<0>();
#pragma unroll
    for (int i = 0; i < 64; ++i) out[(round * 128 + static_cast<int>(threadIdx.x)) * 64 + i] = bits_of(d[i]);
  }
}
template <class T>
std::vector<uint32_t> small_pairs(Output& output, size_t n) {  // integers in -8 … 7
  std::vector<uint32_t> v = output.random(n / 2);
  const auto one = [](uint32_t r) -> uint32_t { return T(static_cast<float>(static_cast<int>(r & 15) - 8)).bits; };
  for (uint32_t& x : v) x = one(x) | one(x >> 8) << 16;
  return v;
}
template <class T>
void run_wgmma(Output& output) {
  const Input a(output, small_pairs<T>(output, 64 * 64)), b(output, small_pairs<T>(output, 128 * 64));
  const Result out(5 * 128 * 64);
  const CUtensorMap map_a = tensor_map_2d(a.data(), dtype_of<T>::value, 64, 64, 64, 64);
  const CUtensorMap map_b = tensor_map_2d(b.data(), dtype_of<T>::value, 128, 64, 64, 128);
  FS_LAUNCH((steps_of_wgmma<T>), 1, 128, 192 * 64 * 2 + 8, nullptr, map_a, map_b, out.data());
  output.add(out);
}
// d (64 x 256) = a (64 x 64) b (64 x 256) of the second of two planes, tiles along k or across it.
template <class T, bool kAcrossA, bool kAcrossB>
__global__ void __launch_bounds__(128)
    wide_wgmma(const __grid_constant__ CUtensorMap map_a, const __grid_constant__ CUtensorMap map_b, uint32_t* out) {
  FS_DYN_SMEM(T, tile);
  T* const tile_b = tile + 64 * 64;
  auto* barrier = reinterpret_cast<uint64_t*>(tile + 320 * 64);
  if (threadIdx.x == 0) {
    mbarrier_init(barrier, 1);
    mbarrier_init_fence();
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    mbarrier_arrive_expect(barrier, 320 * 64 * 2);
    tma_load_3d(tile, &map_a, 0, 0, 1, barrier);
    if constexpr (kAcrossB)
      for (int i = 0; i < 4; ++i) tma_load_3d(tile_b + i * 64 * 64, &map_b, i * 64, 0, 1, barrier);
    else tma_load_3d(tile_b, &map_b, 0, 0, 1, barrier);
  }
  mbarrier_wait(barrier, 0);
  const uint64_t a = kAcrossA ? wgmma_descriptor_across(tile, 64 * 64 * 2) : wgmma_descriptor(tile);
  const uint64_t b = kAcrossB ? wgmma_descriptor_across(tile_b, 64 * 64 * 2) : wgmma_descriptor(tile_b);
  float d[128];
  wgmma_fence();
#pragma unroll
  for (int k = 0; k < 64; k += 16)
    wgmma_64xnx16<T, kAcrossA, kAcrossB>(d, advance_k<kAcrossA>(a, k), advance_k<kAcrossB>(b, k), k > 0);
  wgmma_commit();
  wgmma_wait<0>();
  wgmma_results(d);
#pragma unroll
  for (int i = 0; i < 128; ++i) out[static_cast<int>(threadIdx.x) * 128 + i] = bits_of(d[i]);
}
template <class T, bool kAcrossA, bool kAcrossB>
void run_wide_wgmma(Output& output) {
  const Input a(output, small_pairs<T>(output, 2 * 64 * 64)), b(output, small_pairs<T>(output, 2 * 256 * 64));
  const Result out(128 * 128);
  const auto map = [](const Input& x, int outer, bool across) {
    const int rows = across ? 64 : outer, columns = across ? outer : 64;
    return tensor_map_3d(x.data(), dtype_of<T>::value, 2, rows, columns, rows * columns, columns, rows);
  };
  FS_LAUNCH((wide_wgmma<T, kAcrossA, kAcrossB>), 1, 128, 320 * 64 * 2 + 8, nullptr, map(a, 64, kAcrossA),
            map(b, 256, kAcrossB), out.data());
  output.add(out);
}
template <class T>
void run_wide_wgmma(Output& output) {
  run_wide_wgmma<T, false, false>(output);
  run_wide_wgmma<T, false, true>(output);
  run_wide_wgmma<T, true, false>(output);
  run_wide_wgmma<T, true, true>(output);
}
void wgmma_section(Output& output) {
  output.begin("wgmma_f16");
  run_wgmma<float16>(output);
  output.begin("wgmma_bf16");
  run_wgmma<bfloat16>(output);
  output.begin("wgmma_wide");
  run_wide_wgmma<float16>(output);
  run_wide_wgmma<bfloat16>(output);
}

// The whole pipeline, of sizes that are no multiples of the tile.
void pipeline_section(Output& output) {
  constexpr int kM = 70, kN = 140, kK = 320;
  const Input a(output, small_pairs<bfloat16>(output, kM * kK)), b(output, small_pairs<bfloat16>(output, kN * kK));
  const Result c(kM * kN);
  output.begin("hopper_pipeline");
  const CUtensorMap map_a = tensor_map_2d(a.data(), DType::kBFloat16, kM, kK, kK, 64);
  const CUtensorMap map_b = tensor_map_2d(b.data(), DType::kBFloat16, kN, kK, kK, 128);
  FS_LAUNCH((hopper_product<bfloat16, kNoBug>), dim3((kN + 127) / 128, (kM + 63) / 64), 160, kHopperShared, nullptr,
            map_a, map_b, reinterpret_cast<float*>(c.data()), kM, kN, kK);
  output.add(c);
}

// One warpgroup gives registers to two others; none loses its values.
__global__ void __launch_bounds__(384, 1) register_counts(const uint32_t* in, uint32_t* out) {
  const int t = static_cast<int>(threadIdx.x);
  uint32_t v = in[t];
  if (t < 128) {
    fewer_registers<40>();
    v ^= 0x5a5a5a5au;
  } else {
    more_registers<232>();
    uint32_t own[64];
#pragma unroll
    for (int i = 0; i < 64; ++i) own[i] = in[(t + i) % 384] * static_cast<uint32_t>(i + 1);
    __syncwarp();
#pragma unroll
    for (int i = 0; i < 64; ++i) v = v * 31 + own[i];
  }
  out[t] = v;
}
void register_section(Output& output) {
  const Input in(output, 384);
  const Result out(384);
  output.begin("setmaxnreg");
  FS_LAUNCH(register_counts, 1, 384, 0, nullptr, in.data(), out.data());
  output.add(out);
}

}  // namespace

namespace conformance {

const std::vector<Section>& hopper_sections() {
  static const std::vector<Section> all = {
      {"mbarrier", 90, mbarrier_section},   {"tma", 90, tma_section},
      {"wgmma", 90, wgmma_section},         {"hopper_pipeline", 90, pipeline_section},
      {"setmaxnreg", 90, register_section},
  };
  return all;
}

}  // namespace conformance
}  // namespace fireseed::cuda

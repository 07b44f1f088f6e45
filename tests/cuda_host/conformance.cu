// Every intrinsic of cuda/device/ on random bits, the resulting bits to a file: compiled by nvcc it runs on a GPU, by
// the C++ compiler under the emulation, and the two files must be equal (bench/cuda_check compares them).
//
//   cuda_conformance FILE [SECTION…]        without SECTION: all of them
//
// Sums of tensor cores are of small integers, so that every order and rounding gives the same; sections of library
// functions carry the number of units in the last place by which they may differ.
#include "conformance.h"

#include "device/index.cuh"
#include "device/random.cuh"
#include "device/reduce.cuh"

namespace fireseed::cuda {

// Without the plugin's runtime: an error of CUDA ends the section.
void fail_cuda(cudaError_t code, const char* what) {
  fail(ErrorKind::kRuntime, what, ": ", cudaGetErrorString(code), " (", cudaGetErrorName(code), ")");
}

namespace {

using namespace conformance;

// ---- warps -------------------------------------------------------------------------------------------------

template <int kWidth>
__global__ void shuffles(const uint32_t* in, uint32_t* out) {
  const int t = static_cast<int>(threadIdx.x);
  const uint32_t v = in[t], random = in[t + 128];
  const int from = static_cast<int>(random & 63), delta = static_cast<int>(in[128 + t / 32 * 32] >> 8 & 31);
  uint32_t* const o = out + t * 8;
  o[0] = __shfl_sync(kFullMask, v, from, kWidth);
  o[1] = __shfl_up_sync(kFullMask, v, static_cast<unsigned>(delta), kWidth);
  o[2] = __shfl_down_sync(kFullMask, v, static_cast<unsigned>(delta), kWidth);
  o[3] = __shfl_xor_sync(kFullMask, v, delta, kWidth);
  const uint64_t wide = __shfl_sync(kFullMask, static_cast<unsigned long long>(v) << 32 | random, from, kWidth);
  o[4] = static_cast<uint32_t>(wide);
  o[5] = static_cast<uint32_t>(wide >> 32);
  o[6] = __float_as_uint(__shfl_xor_sync(kFullMask, __uint_as_float(v & 0x7f7fffffu), delta, kWidth));
  const double d = __shfl_down_sync(kFullMask, static_cast<double>(v), 1u, kWidth);
  o[7] = static_cast<uint32_t>(__double_as_longlong(d) >> 24);
}
void shuffle_section(Output& output) {
  const Input in(output, 256);
  const Result out(128 * 8);
  output.begin("shuffle");
  FS_LAUNCH((shuffles<32>), 1, 128, 0, nullptr, in.data(), out.data());
  output.add(out);
  FS_LAUNCH((shuffles<16>), 1, 128, 0, nullptr, in.data(), out.data());
  output.add(out);
  FS_LAUNCH((shuffles<8>), 1, 128, 0, nullptr, in.data(), out.data());
  output.add(out);
  FS_LAUNCH((shuffles<2>), 1, 128, 0, nullptr, in.data(), out.data());
  output.add(out);
}

__global__ void votes(const uint32_t* in, uint32_t* out) {
  const int t = static_cast<int>(threadIdx.x), lane = t % 32;
  const uint32_t v = in[t], mask = in[128 + t / 32] | 1u;
  uint32_t* const o = out + t * 12;
  for (int k = 0; k < 12; ++k) o[k] = 0;
  o[0] = __ballot_sync(kFullMask, static_cast<int>(v & 1));
  o[1] = static_cast<uint32_t>(__any_sync(kFullMask, (v & 31) == 0));
  o[2] = static_cast<uint32_t>(__all_sync(kFullMask, (v & 31) != 0));
  o[3] = __match_any_sync(kFullMask, v >> 29);
  o[4] = __match_any_sync(kFullMask, static_cast<unsigned long long>(v >> 30) << 40);
  o[5] = static_cast<uint32_t>(__syncthreads_count(static_cast<int>(v & 2)));
  o[6] = static_cast<uint32_t>(__syncthreads_or((v & 0xfff) == 0) != 0);
  o[7] = static_cast<uint32_t>(__syncthreads_and((v & 0xfff) != 0) != 0);
  if (mask >> lane & 1) {  // a part of the warp
    o[8] = __ballot_sync(mask, static_cast<int>(v & 4));
    o[9] = __shfl_sync(mask, v, 0);
    o[10] = __match_any_sync(mask, v >> 30);
    __syncwarp(mask);
    o[11] = static_cast<uint32_t>(__any_sync(mask, (v & 7) == 0));
  }
}
void vote_section(Output& output) {
  const Input in(output, 132);
  const Result out(128 * 12);
  output.begin("vote");
  FS_LAUNCH(votes, 1, 128, 0, nullptr, in.data(), out.data());
  output.add(out);
}

__global__ void reductions(const uint32_t* in, uint32_t* out) {
  const int t = static_cast<int>(threadIdx.x);
  const auto v = static_cast<float>(static_cast<int>(in[t]) >> 16);
  out[t * 3] = __float_as_uint(warp_reduce(v * 1.37f, AddOp{}));
  out[t * 3 + 1] = __float_as_uint(block_reduce<128>(v * 0.731f, AddOp{}));
  out[t * 3 + 2] = __float_as_uint(block_reduce<128>(v, MaxOp{}));
}
void reduce_section(Output& output) {
  const Input in(output, 128);
  const Result out(128 * 3);
  output.begin("reduce");
  FS_LAUNCH(reductions, 1, 128, 0, nullptr, in.data(), out.data());
  output.add(out);
}

// ---- numbers -----------------------------------------------------------------------------------------------

__global__ void integer_functions(const uint32_t* in, uint32_t* out, int n, const Divider<int32_t> by) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i >= n) return;
  const uint32_t a = in[i], b = in[n + i];
  const unsigned long long w = static_cast<unsigned long long>(a) << 32 | b;
  uint32_t* const o = out + i * 9;
  o[0] = static_cast<uint32_t>(__popc(a));
  o[1] = static_cast<uint32_t>(__popcll(w));
  o[2] = static_cast<uint32_t>(__clz(static_cast<int>(a >> (b & 31))));
  o[3] = static_cast<uint32_t>(__clzll(static_cast<long long>(w >> (b & 63))));
  o[4] = static_cast<uint32_t>(__ffs(static_cast<int>(a << (b & 31))));
  o[5] = __brev(a);
  o[6] = __umulhi(a, b);
  o[7] = static_cast<uint32_t>(__umul64hi(w, ~w) >> 16);
  o[8] = static_cast<uint32_t>(by.divide(static_cast<int32_t>(a >> 1)));
}
void integer_section(Output& output) {
  constexpr int kN = 512;
  const Input in(output, 2 * kN);
  const Result out(kN * 9);
  output.begin("integer");
  for (int64_t d : {1, 2, 3, 7, 641, 65537, 1 << 30, 0x7fffffff}) {
    FS_LAUNCH(integer_functions, kN / 128, 128, 0, nullptr, in.data(), out.data(), kN, Divider<int32_t>(d));
    output.add(out);
  }
}

__global__ void float_functions(const uint32_t* in, uint32_t* out, int n) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i >= n) return;
  const float a = __uint_as_float(in[i]), b = __uint_as_float(in[n + i]), c = __uint_as_float(in[2 * n + i]);
  uint32_t* const o = out + i * 12;
  o[0] = bits_of(__fadd_rn(a, b));
  o[1] = bits_of(__fmul_rn(a, b));
  o[2] = bits_of(__fmaf_rn(a, b, c));
  o[3] = bits_of(__frcp_rn(a));
  o[4] = bits_of(__fsqrt_rn(a < 0 ? -a : a));
  o[5] = bits_of(a / b);
  o[6] = bits_of(a * b + c);  // two roundings: -fmad=false
  o[7] = bits_of(::rintf(a));
  o[8] = bits_of(::fmodf(a, b));
  o[9] = static_cast<uint32_t>(a < 1e9f && a > -1e9f ? static_cast<int>(a) : 0);
  o[10] = bits_of(static_cast<float>(static_cast<int64_t>(in[i]) * static_cast<int32_t>(in[n + i])));
  o[11] = bits_of(static_cast<float>(static_cast<double>(a) / static_cast<double>(b)));
}
void float_section(Output& output) {
  constexpr int kN = 2048;
  const Input in(output, output.floats(3 * kN));
  const Result out(kN * 12);
  output.begin("float");
  FS_LAUNCH(float_functions, kN / 128, 128, 0, nullptr, in.data(), out.data(), kN);
  output.add(out);
}

__global__ void half_widening(uint32_t* out) {
  const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
  out[2 * i] = bits_of(half_to_float(half_bits<float16>(static_cast<uint16_t>(i))));
  out[2 * i + 1] = bits_of(static_cast<float>(half_bits<bfloat16>(static_cast<uint16_t>(i))));
}
__global__ void half_narrowing(const uint32_t* in, uint32_t* out) {
  const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
  const float x = __uint_as_float(in[i]);
  // A NaN's bits are the processor's own.
  out[2 * i] = x != x ? 0u : float_to_half(x).bits | static_cast<uint32_t>(float_to_bfloat(x).bits) << 16;
  out[2 * i + 1] = x != x ? 0u : to_tf32(x);
}
__global__ void half_nans(uint32_t* out) {
  const float x = __uint_as_float(0x7fc00000u | threadIdx.x << 8 | threadIdx.x << 31);
  out[threadIdx.x] = half_to_float(float_to_half(x)) != x && static_cast<float>(float_to_bfloat(x)) != x &&
                     __uint_as_float(to_tf32(x)) != x;
}
void half_section(Output& output) {
  constexpr int kN = 32768;
  const Input in(output, output.floats(kN));
  const Result wide(2 * 65536), narrow(2 * kN), nans(32);
  output.begin("half");
  FS_LAUNCH(half_widening, 65536 / 256, 256, 0, nullptr, wide.data());
  FS_LAUNCH(half_narrowing, kN / 256, 256, 0, nullptr, in.data(), narrow.data());
  FS_LAUNCH(half_nans, 1, 32, 0, nullptr, nans.data());
  output.add(wide);
  output.add(narrow);
  output.add(nans);
}

// ---- memory ------------------------------------------------------------------------------------------------

// Sums do not depend on the order: integers, and floats that hold small ones.
__global__ void atomics(const uint32_t* in, uint32_t* out) {
  const uint32_t t = blockIdx.x * blockDim.x + threadIdx.x, v = in[t];
  uint32_t* const o = out + (v & 3) * 32;
  atomicAdd(o, v);
  atomicSub(o + 1, v);
  atomicMin(o + 2, v);
  atomicMax(o + 3, v);
  atomicMin(reinterpret_cast<int*>(o + 4), static_cast<int>(v));
  atomicMax(reinterpret_cast<int*>(o + 5), static_cast<int>(v));
  atomicAnd(o + 6, v | 0xff);
  atomicOr(o + 7, v & 0xff00ff);
  atomicXor(o + 8, v);
  atomicInc(o + 9, 100u);
  atomicAdd(reinterpret_cast<float*>(o + 10), static_cast<float>(v >> 20));
  atomicAdd(reinterpret_cast<unsigned long long*>(o + 12), static_cast<unsigned long long>(v) << 8);
  atomicMax(reinterpret_cast<unsigned long long*>(o + 14), static_cast<unsigned long long>(v) << 8);
  atomicAdd(reinterpret_cast<double*>(o + 16), static_cast<double>(v));
  if (t < 4) {
    out[t * 32 + 20] = atomicExch(out + t * 32 + 21, v);
    out[t * 32 + 22] = atomicCAS(out + t * 32 + 23, 0u, v);
    out[t * 32 + 24] = atomicCAS(out + t * 32 + 25, 1u, v);  // refused
  }
}
void atomic_section(Output& output) {
  const Input in(output, 512);
  std::vector<uint32_t> start(4 * 32, 0);
  for (size_t i = 0; i < start.size(); ++i)
    if (i % 32 == 2 || i % 32 == 4 || i % 32 == 6) start[i] = 0x7fffffffu;
  const Input out(output, start);
  output.begin("atomic");
  FS_LAUNCH(atomics, 4, 128, 0, nullptr, in.data(), out.data());
  output.add(out);
}

template <int kBytes>
__global__ void copies(const uint8_t* in, const uint32_t* valid, uint8_t* out) {
  FS_DYN_SMEM(uint8_t, buffer);
  const int t = static_cast<int>(threadIdx.x);
  uint8_t* const first = buffer + t * kBytes;
  uint8_t* const second = first + 64 * kBytes;
  cp_async<kBytes>(first, in + t * kBytes, static_cast<int>(valid[t] % (kBytes + 1)));
  cp_async_commit();
  cp_async<kBytes>(second, in + (63 - t) * kBytes);
  cp_async_commit();
  cp_async_wait<1>();
  for (int i = 0; i < kBytes; ++i) out[t * kBytes + i] = first[i];
  cp_async_wait<0>();
  __syncthreads();
  const int other = 63 - t;  // another thread's, behind the barrier
  for (int i = 0; i < kBytes; ++i) out[(64 + t) * kBytes + i] = buffer[(64 + other) * kBytes + i];
}
template <int kBytes>
void run_copies(Output& output) {
  const Input in(output, 64 * kBytes / 4), valid(output, 64);
  const Result out(2 * 64 * kBytes / 4);
  FS_LAUNCH((copies<kBytes>), 1, 64, 2 * 64 * kBytes, nullptr, reinterpret_cast<const uint8_t*>(in.data()),
            valid.data(), reinterpret_cast<uint8_t*>(out.data()));
  output.add(out);
}
void cp_async_section(Output& output) {
  output.begin("cp_async");
  run_copies<4>(output);
  run_copies<8>(output);
  run_copies<16>(output);
}

__global__ void vectors(const uint32_t* in, uint32_t* out) {
  const auto t = static_cast<int64_t>(threadIdx.x);
  Vec<uint16_t, 8>::load(reinterpret_cast<const uint16_t*>(in) + 8 * t)
      .store(reinterpret_cast<uint16_t*>(out) + 8 * t);
  Vec<uint32_t, 2> v = Vec<uint32_t, 2>::load(in + 2 * t);
  v.v[0] ^= v.v[1];
  v.store(out + 128 + 2 * t);
}
void vector_section(Output& output) {
  const Input in(output, 128);
  const Result out(128 + 64);
  output.begin("vector");
  FS_LAUNCH(vectors, 1, 32, 0, nullptr, in.data(), out.data());
  output.add(out);
}

// ---- tensor cores of sm_80 ---------------------------------------------------------------------------------

template <bool kTranspose>
__global__ void fragments(const uint32_t* in, uint32_t* out) {
  FS_DYN_SMEM(uint32_t, buffer);
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = lane; i < 128; i += 32) buffer[i] = in[i];
  __syncthreads();
  uint32_t r[4];
  ldmatrix_x4<kTranspose>(r, buffer + (lane * 11 + 5) % 32 * 4);  // rows in any order
  for (int m = 0; m < 4; ++m) out[lane * 4 + m] = r[m];
}
void ldmatrix_section(Output& output) {
  const Input in(output, 128);
  const Result out(128);
  output.begin("ldmatrix");
  FS_LAUNCH((fragments<false>), 1, 32, 512, nullptr, in.data(), out.data());
  output.add(out);
  FS_LAUNCH((fragments<true>), 1, 32, 512, nullptr, in.data(), out.data());
  output.add(out);
}

template <class T>
__device__ uint32_t pair_of(uint32_t random) {  // two integers in -8 … 7
  return static_cast<uint32_t>(small<T>(random).bits) | static_cast<uint32_t>(small<T>(random >> 8).bits) << 16;
}
template <class T>
__global__ void half_products(const uint32_t* in, uint32_t* out) {
  const uint32_t* const mine = in + threadIdx.x * 16;
  uint32_t a[4], b[2];
  float d[4];
  for (int i = 0; i < 4; ++i) d[i] = static_cast<float>(mine[i] & 255);
  for (int step = 0; step < 2; ++step) {
    for (int i = 0; i < 4; ++i) a[i] = pair_of<T>(mine[4 + i + 6 * step]);
    for (int i = 0; i < 2; ++i) b[i] = pair_of<T>(mine[8 + i + 6 * step]);
    mma_16816(d, a, b, T{});
  }
  for (int i = 0; i < 4; ++i) out[threadIdx.x * 4 + static_cast<uint32_t>(i)] = bits_of(d[i]);
}
// Numbers as small as the type has: products are exact, and no one is taken for zero.
template <class T>
__global__ void half_products_of_subnormals(uint32_t* out) {
  const uint32_t lane = threadIdx.x;
  const uint32_t least = lane % 4 == 0 ? 3u : 0u, large = float_to_bits<T>(4096.0f);
  const uint32_t a[4] = {least, least | least << 16, 0u, least}, b[2] = {large | large << 16, large};
  float d[4] = {0.0f, 0.0f, 0.0f, 0.0f};
  mma_16816(d, a, b, T{});
  for (int i = 0; i < 4; ++i) out[lane * 4 + static_cast<uint32_t>(i)] = bits_of(d[i]);
}
void mma_section(Output& output) {
  const Input in(output, 32 * 16);
  const Result out(32 * 4);
  output.begin("mma_f16");
  FS_LAUNCH((half_products<float16>), 1, 32, 0, nullptr, in.data(), out.data());
  output.add(out);
  FS_LAUNCH((half_products_of_subnormals<float16>), 1, 32, 0, nullptr, out.data());
  output.add(out);
  output.begin("mma_bf16");
  FS_LAUNCH((half_products<bfloat16>), 1, 32, 0, nullptr, in.data(), out.data());
  output.add(out);
  FS_LAUNCH((half_products_of_subnormals<bfloat16>), 1, 32, 0, nullptr, out.data());
  output.add(out);
}

// noise: bits below tf32's ten, which do not count.
__global__ void tf32_products(const uint32_t* in, uint32_t* out, uint32_t noise) {
  const uint32_t* const mine = in + threadIdx.x * 16;
  const auto operand = [&](int i) {
    return bits_of(static_cast<float>(static_cast<int>(mine[i] & 127) - 64)) | (mine[i] >> 8 & noise);
  };
  const uint32_t a[4] = {operand(0), operand(1), operand(2), operand(3)}, b[2] = {operand(4), operand(5)};
  float d[4];
  for (int i = 0; i < 4; ++i) d[i] = static_cast<float>(mine[8 + i] & 255);
  mma_1688_tf32(d, a, b);
  for (int i = 0; i < 4; ++i) out[threadIdx.x * 4 + static_cast<uint32_t>(i)] = bits_of(d[i]);
}
void tf32_section(Output& output) {
  const Input in(output, 32 * 16);
  const Result out(32 * 4);
  output.begin("mma_tf32");
  FS_LAUNCH(tf32_products, 1, 32, 0, nullptr, in.data(), out.data(), 0u);
  output.add(out);
  output.begin("mma_tf32_low_bits");
  FS_LAUNCH(tf32_products, 1, 32, 0, nullptr, in.data(), out.data(), 0x1fffu);
  output.add(out);
}

// ---- barriers of a part of the block -----------------------------------------------------------------------

// Two warps write, two read, in eight rounds over one buffer.
__global__ void named_barriers(const uint32_t* in, uint32_t* out) {
  FS_SHARED(uint32_t, buffer, [64]);
  const int t = static_cast<int>(threadIdx.x);
  uint32_t sum = 0;
  for (int round = 0; round < 8; ++round) {
    if (t < 64) {
      if (round > 0) named_barrier_sync(2, 128);  // read
      buffer[t] = in[round * 64 + t];
      named_barrier_arrive(1, 128);
    } else {
      named_barrier_sync(1, 128);  // written
      sum = sum * 31 + buffer[127 - t];
      if (round < 7) named_barrier_arrive(2, 128);
    }
  }
  out[t] = sum;
}
void named_barrier_section(Output& output) {
  const Input in(output, 8 * 64);
  const Result out(128);
  output.begin("named_barrier");
  FS_LAUNCH(named_barriers, 1, 128, 0, nullptr, in.data(), out.data());
  output.add(out);
}

// ---- random numbers ----------------------------------------------------------------------------------------

__global__ void random_words(const PhiloxState state, int64_t first, uint32_t* out) {
  const auto i = static_cast<int64_t>(blockIdx.x * blockDim.x + threadIdx.x);
  const PhiloxWords r = words_of(state, first + i);
  uint32_t* const o = out + i * 8;
  for (int k = 0; k < 4; ++k) o[k] = r.w[k];
  o[4] = bits_of(uniform_of(r, float{}));
  o[5] = bits_of(positive_of(r.w[0]));
  const long long u = __double_as_longlong(uniform_of(r, double{}));
  o[6] = static_cast<uint32_t>(u);
  o[7] = static_cast<uint32_t>(u >> 32);
}
void philox_section(Output& output) {
  constexpr int kN = 512;
  const Result out(kN * 8);
  output.begin("philox");
  for (uint64_t key : {uint64_t{0}, uint64_t{0x123456789abcdef}, ~uint64_t{0}}) {
    FS_LAUNCH(random_words, kN / 128, 128, 0, nullptr, PhiloxState{key, key * 3, nullptr}, int64_t{1} << 33,
              out.data());
    output.add(out);
  }
}

__global__ void distributions(const PhiloxState state, float* out) {
  const auto i = static_cast<int64_t>(blockIdx.x * blockDim.x + threadIdx.x);
  const PhiloxWords r = words_of(state, i);
  out[4 * i] = normal_of(r, float{});
  out[4 * i + 1] = exponential_of(r, float{});
  out[4 * i + 2] = static_cast<float>(normal_of(r, double{}));
  out[4 * i + 3] = static_cast<float>(exponential_of(r, double{}));
}
void distribution_section(Output& output) {
  constexpr int kN = 1024;
  const Result out(kN * 4);
  output.begin("distributions", 16);
  FS_LAUNCH(distributions, kN / 128, 128, 0, nullptr, PhiloxState{7, 11, nullptr},
            reinterpret_cast<float*>(out.data()));
  output.add(out);
}

}  // namespace

namespace conformance {

const std::vector<Section>& common_sections() {
  static const std::vector<Section> all = {
      {"shuffle", 0, shuffle_section},
      {"vote", 0, vote_section},
      {"reduce", 0, reduce_section},
      {"integer", 0, integer_section},
      {"float", 0, float_section},
      {"half", 80, half_section},
      {"atomic", 0, atomic_section},
      {"cp_async", 80, cp_async_section},
      {"vector", 0, vector_section},
      {"ldmatrix", 75, ldmatrix_section},
      {"mma", 80, mma_section},
      {"tf32", 80, tf32_section},
      {"named_barrier", 0, named_barrier_section},
      {"philox", 0, philox_section},
      {"distributions", 0, distribution_section},
  };
  return all;
}

}  // namespace conformance
}  // namespace fireseed::cuda

int main(int argc, char** argv) {
  using namespace fireseed::cuda::conformance;
  if (argc < 2) {
    std::fprintf(stderr, "usage: %s FILE [SECTION...]\n", argv[0]);
    return 2;
  }
  int device = 0, failed = 0;
  cudaDeviceProp properties;
  if (const cudaError_t e = cudaGetDeviceProperties(&properties, device); e != cudaSuccess) {
    std::fprintf(stderr, "%s: %s\n", argv[0], cudaGetErrorString(e));
    return 3;
  }
  const int capability = 10 * properties.major + properties.minor;
  Output output(argv[1]);
  unsigned seed = 0;
  for (const auto* sections : {&common_sections(), &hopper_sections(), &math_sections()})
    for (const Section& s : *sections) {
      output.seed(++seed);  // the same input whichever sections run
      bool wanted = argc == 2;
      for (int i = 2; i < argc; ++i) wanted |= std::string(argv[i]) == s.name;
      if (!wanted) continue;
      if (capability < s.capability) {
        output.skip(s.name, "needs compute capability " + std::to_string(s.capability) + ", this is " +
                                std::to_string(capability));
        continue;
      }
      try {
        s.run(output);
      } catch (const fireseed::Error& e) {
        output.skip(s.name, e.what());
        std::fprintf(stderr, "%s: %s\n", s.name, e.what());
        ++failed;
      }
    }
  return failed > 0;
}

// What nvcc gives kernels without an include, for kernels compiled by the C++ compiler: thread indices, barriers,
// shuffles, votes, atomics, math intrinsics, and the two kinds of shared memory. See Note [Emulation] in engine.h.
#pragma once

#include <cuda_runtime_api.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <tuple>
#include <type_traits>
#include <utility>

#include "../engine.h"

#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(n) alignas(n)

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
inline constexpr int warpSize = 32;

namespace fireseed::cuda_emu {

template <class... P, class... A>
cudaError_t launch_kernel(const char* name, void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes,
                          cudaStream_t stream, A&&... a) {
  std::tuple<std::decay_t<P>...> args(static_cast<std::decay_t<P>>(std::forward<A>(a))...);
  return launch(name, reinterpret_cast<const void*>(kernel), grid, block, shared_bytes, stream,
                [kernel, args] { std::apply(kernel, args); });
}

// One object a block and declaration: Tag is the type of a lambda written there.
template <class T, class Tag>
T& shared(Tag) {
  static const char key = 0;
  return *static_cast<T*>(shared_object(&key, sizeof(T), alignof(T) > 16 ? alignof(T) : 16));
}

// ---- shuffles and votes ------------------------------------------------------------------------------------

struct ShuffleOperand {
  uint64_t value, result;
  int source;  // lane to read from
};
inline void compute_shuffle(void* const* operands, uint32_t) {
  for (int lane = 0; lane < 32; ++lane) {
    auto* o = static_cast<ShuffleOperand*>(operands[lane]);
    if (!o) continue;
    const auto* from = static_cast<const ShuffleOperand*>(operands[o->source]);
    o->result = from ? from->value : ~uint64_t{0};  // an idle lane
  }
}
template <class T>
T shuffle(const char* what, uint32_t mask, T value, int source, Where where) {
  static_assert(sizeof(T) <= 8 && std::is_trivially_copyable_v<T>);
  ShuffleOperand o{0, 0, source};
  std::memcpy(&o.value, &value, sizeof(T));
  warp_collective(what, mask, &o, &compute_shuffle, false, where);
  std::memcpy(&value, &o.result, sizeof(T));
  return value;
}
// The segment of `width` lanes that this lane is in.
inline int segment_begin(int width) { return lane_id() & ~(width - 1); }

struct VoteOperand {
  uint64_t value;
  uint32_t result;
};
inline void compute_ballot(void* const* operands, uint32_t mask) {
  uint32_t votes = 0;
  for (int lane = 0; lane < 32; ++lane)
    if (mask >> lane & 1)
      votes |= static_cast<uint32_t>(static_cast<VoteOperand*>(operands[lane])->value != 0) << lane;
  for (int lane = 0; lane < 32; ++lane)
    if (mask >> lane & 1) static_cast<VoteOperand*>(operands[lane])->result = votes;
}
inline void compute_match(void* const* operands, uint32_t mask) {
  for (int lane = 0; lane < 32; ++lane) {
    if (!(mask >> lane & 1)) continue;
    auto* o = static_cast<VoteOperand*>(operands[lane]);
    o->result = 0;
    for (int k = 0; k < 32; ++k)
      if ((mask >> k & 1) && static_cast<VoteOperand*>(operands[k])->value == o->value) o->result |= 1u << k;
  }
}
inline uint32_t ballot(const char* what, uint32_t mask, bool predicate, Where where) {
  VoteOperand o{predicate, 0};
  warp_collective(what, mask, &o, &compute_ballot, false, where);
  return o.result;
}

template <class T, class F>
T warp_reduce(const char* what, uint32_t mask, T value, F, Where where) {
  struct Operand { T value; };
  Operand o{value};
  warp_collective(
      what, mask, &o,
      [](void* const* operands, uint32_t lanes) {
        T r{};
        bool first = true;
        for (int lane = 0; lane < 32; ++lane) {
          if (!(lanes >> lane & 1)) continue;
          const T v = static_cast<Operand*>(operands[lane])->value;
          r = first ? v : F{}(r, v);
          first = false;
        }
        for (int lane = 0; lane < 32; ++lane)
          if (lanes >> lane & 1) static_cast<Operand*>(operands[lane])->value = r;
      },
      false, where);
  return o.value;
}

// ---- atomics: relaxed, as the device's; __atomic builtins so that ThreadSanitizer knows them --------------------

template <class T, class F>
T atomic_update(T* p, F f) {
  using U = std::conditional_t<sizeof(T) == 8, uint64_t, std::conditional_t<sizeof(T) == 4, uint32_t, uint16_t>>;
  U* u = reinterpret_cast<U*>(p);
  U old = __atomic_load_n(u, __ATOMIC_RELAXED);
  for (;;) {
    T before, after;
    std::memcpy(&before, &old, sizeof(T));
    after = f(before);
    U next;
    std::memcpy(&next, &after, sizeof(T));
    if (__atomic_compare_exchange_n(u, &old, next, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
      note_progress();
      return before;
    }
  }
}

void fence();

}  // namespace fireseed::cuda_emu

// ---- barriers ----------------------------------------------------------------------------------------------

#define FS_EMU_WHERE ::fireseed::cuda_emu::Where where = ::fireseed::cuda_emu::Where::current()
inline void __syncthreads(FS_EMU_WHERE) { fireseed::cuda_emu::barrier(0, 0, false, "__syncthreads", where); }
inline int __syncthreads_count(int p, FS_EMU_WHERE) {
  return fireseed::cuda_emu::barrier(0, 0, p != 0, "__syncthreads_count", where);
}
inline int __syncthreads_or(int p, FS_EMU_WHERE) {
  return fireseed::cuda_emu::barrier(0, 0, p != 0, "__syncthreads_or", where) > 0;
}
inline int __syncthreads_and(int p, FS_EMU_WHERE) {
  return fireseed::cuda_emu::barrier(0, 0, p != 0, "__syncthreads_and", where) == fireseed::cuda_emu::block_threads();
}
inline void __syncwarp(unsigned mask = 0xffffffffu, FS_EMU_WHERE) {
  fireseed::cuda_emu::warp_collective("__syncwarp", mask, nullptr, nullptr, true, where);
}
inline void __threadfence() { fireseed::cuda_emu::fence(); }
inline void __threadfence_block() { fireseed::cuda_emu::fence(); }
inline void __threadfence_system() { fireseed::cuda_emu::fence(); }

// ---- warp functions ----------------------------------------------------------------------------------------

template <class T>
T __shfl_sync(unsigned mask, T v, int lane, int width = 32, FS_EMU_WHERE) {
  const int begin = fireseed::cuda_emu::segment_begin(width);
  return fireseed::cuda_emu::shuffle("__shfl_sync", mask, v, begin + (lane & (width - 1)), where);
}
template <class T>
T __shfl_up_sync(unsigned mask, T v, unsigned delta, int width = 32, FS_EMU_WHERE) {
  const int self = fireseed::cuda_emu::lane_id(), from = self - static_cast<int>(delta);
  const bool inside = from >= fireseed::cuda_emu::segment_begin(width);
  return fireseed::cuda_emu::shuffle("__shfl_up_sync", mask, v, inside ? from : self, where);
}
template <class T>
T __shfl_down_sync(unsigned mask, T v, unsigned delta, int width = 32, FS_EMU_WHERE) {
  const int self = fireseed::cuda_emu::lane_id(), from = self + static_cast<int>(delta);
  const bool inside = from < fireseed::cuda_emu::segment_begin(width) + width;
  return fireseed::cuda_emu::shuffle("__shfl_down_sync", mask, v, inside ? from : self, where);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T v, int bits, int width = 32, FS_EMU_WHERE) {
  const int self = fireseed::cuda_emu::lane_id(), from = self ^ bits;
  const bool inside = from < fireseed::cuda_emu::segment_begin(width) + width;
  return fireseed::cuda_emu::shuffle("__shfl_xor_sync", mask, v, inside ? from : self, where);
}
inline unsigned __ballot_sync(unsigned mask, int p, FS_EMU_WHERE) {
  return fireseed::cuda_emu::ballot("__ballot_sync", mask, p != 0, where);
}
inline int __any_sync(unsigned mask, int p, FS_EMU_WHERE) {
  return fireseed::cuda_emu::ballot("__any_sync", mask, p != 0, where) != 0;
}
inline int __all_sync(unsigned mask, int p, FS_EMU_WHERE) {
  return fireseed::cuda_emu::ballot("__all_sync", mask, p == 0, where) == 0;
}
inline unsigned __activemask() { return fireseed::cuda_emu::active_mask(); }
template <class T>
unsigned __match_any_sync(unsigned mask, T v, FS_EMU_WHERE) {
  fireseed::cuda_emu::VoteOperand o{0, 0};
  std::memcpy(&o.value, &v, sizeof(T));
  fireseed::cuda_emu::warp_collective("__match_any_sync", mask, &o, &fireseed::cuda_emu::compute_match, false, where);
  return o.result;
}

// ---- atomics -----------------------------------------------------------------------------------------------

#define FS_EMU_ATOMIC(name, formula)                                                             \
  template <class T, class V>                                                                    \
  T name(T* p, V value) {                                                                        \
    const T v = static_cast<T>(value);                                                           \
    return fireseed::cuda_emu::atomic_update(p, [v](T old) { return static_cast<T>(formula); }); \
  }                                                                                              \
  template <class T, class V>                                                                    \
  T name##_block(T* p, V value) {                                                                \
    return name(p, value);                                                                       \
  }
FS_EMU_ATOMIC(atomicAdd, old + v)
FS_EMU_ATOMIC(atomicSub, old - v)
FS_EMU_ATOMIC(atomicMin, v < old ? v : old)
FS_EMU_ATOMIC(atomicMax, v > old ? v : old)
FS_EMU_ATOMIC(atomicAnd, old& v)
FS_EMU_ATOMIC(atomicOr, old | v)
FS_EMU_ATOMIC(atomicXor, old ^ v)
FS_EMU_ATOMIC(atomicExch, (static_cast<void>(old), v))
#undef FS_EMU_ATOMIC
// Counts up to `limit`, then starts again at 0.
inline unsigned atomicInc(unsigned* p, unsigned limit) {
  return fireseed::cuda_emu::atomic_update(p, [limit](unsigned old) { return old >= limit ? 0u : old + 1; });
}
template <class T>
T atomicCAS(T* p, T expected, T value) {
  return fireseed::cuda_emu::atomic_update(
      p, [&](T old) { return std::memcmp(&old, &expected, sizeof(T)) == 0 ? value : old; });
}

// ---- intrinsics --------------------------------------------------------------------------------------------

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __clz(int x) { return x ? __builtin_clz(static_cast<unsigned>(x)) : 32; }
inline int __clzll(long long x) { return x ? __builtin_clzll(static_cast<unsigned long long>(x)) : 64; }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline unsigned __brev(unsigned x) {
  unsigned r = 0;
  for (int i = 0; i < 32; ++i) r |= (x >> i & 1u) << (31 - i);
  return r;
}
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>((uint64_t{a} * b) >> 32); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return static_cast<unsigned long long>((static_cast<unsigned __int128>(a) * b) >> 64);
}
inline float __int_as_float(int x) { return __builtin_bit_cast(float, x); }
inline int __float_as_int(float x) { return __builtin_bit_cast(int, x); }
inline float __uint_as_float(unsigned x) { return __builtin_bit_cast(float, x); }
inline unsigned __float_as_uint(float x) { return __builtin_bit_cast(unsigned, x); }
inline double __longlong_as_double(long long x) { return __builtin_bit_cast(double, x); }
inline long long __double_as_longlong(double x) { return __builtin_bit_cast(long long, x); }
inline float __expf(float x) { return std::exp(x); }
inline float __logf(float x) { return std::log(x); }
inline float __log2f(float x) { return std::log2(x); }
inline float __powf(float x, float y) { return std::pow(x, y); }
inline float __sinf(float x) { return std::sin(x); }
inline float __cosf(float x) { return std::cos(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __frcp_rn(float a) { return 1.0f / a; }
inline float __fsqrt_rn(float a) { return std::sqrt(a); }
inline float __frsqrt_rn(float a) { return 1.0f / std::sqrt(a); }
inline float rsqrtf(float a) { return 1.0f / std::sqrt(a); }
inline double rsqrt(double a) { return 1.0 / std::sqrt(a); }
template <class T>
T __ldg(const T* p) {
  return *p;
}
template <class T>
T __ldcs(const T* p) {
  return *p;
}
template <class T>
void __stcs(T* p, T v) {
  *p = v;
}
template <class T>
T __ldcg(const T* p) {
  return *p;
}
inline long long clock64() { return 0; }
inline void __nanosleep(unsigned, FS_EMU_WHERE) { fireseed::cuda_emu::poll("__nanosleep", where); }
[[noreturn]] inline void __trap(FS_EMU_WHERE) { fireseed::cuda_emu::trap(where); }

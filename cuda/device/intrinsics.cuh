// Everything that is an instruction rather than C++: each helper has a device form and a form for the emulation.
#pragma once

#include "base/half.h"
#include "runtime/launch.h"

// Calls that the emulation reports by place take the caller's.
#if defined(FS_CUDA_EMU)
#define FS_EMU_WHERE_PARAMETER , ::fireseed::cuda_emu::Where where = ::fireseed::cuda_emu::Where::current()
#else
#define FS_EMU_WHERE_PARAMETER
#endif

namespace fireseed::cuda {

// a b + c rounded once (Num has fma for formulas).
__device__ __forceinline__ float multiply_add(float a, float b, float c) { return ::fmaf(a, b, c); }
__device__ __forceinline__ double multiply_add(double a, double b, double c) { return ::fma(a, b, c); }

// ---- global memory -----------------------------------------------------------------------------------------

// 16 or 8 bytes of global memory by one instruction: the compiler may take loads and stores of structs apart.
#if !defined(FS_CUDA_EMU)
__device__ __forceinline__ uint4 load_global(const uint4* p) {
  uint4 r;
  asm volatile("ld.global.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(r.x), "=r"(r.y), "=r"(r.z), "=r"(r.w)
               : "l"(__cvta_generic_to_global(p))
               : "memory");
  return r;
}
__device__ __forceinline__ uint2 load_global(const uint2* p) {
  uint2 r;
  asm volatile("ld.global.v2.u32 {%0, %1}, [%2];"
               : "=r"(r.x), "=r"(r.y)
               : "l"(__cvta_generic_to_global(p))
               : "memory");
  return r;
}
__device__ __forceinline__ void store_global(uint4* p, uint4 x) {
  asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(__cvta_generic_to_global(p)), "r"(x.x), "r"(x.y),
               "r"(x.z), "r"(x.w)
               : "memory");
}
__device__ __forceinline__ void store_global(uint2* p, uint2 x) {
  asm volatile("st.global.v2.u32 [%0], {%1, %2};" ::"l"(__cvta_generic_to_global(p)), "r"(x.x), "r"(x.y) : "memory");
}
#endif

// ---- halves ------------------------------------------------------------------------------------------------

__device__ __forceinline__ float half_to_float(float16 x) {
#if defined(FS_CUDA_EMU)
  return static_cast<float>(x);
#else
  float r;
  asm("cvt.f32.f16 %0, %1;" : "=f"(r) : "h"(x.bits));
  return r;
#endif
}
__device__ __forceinline__ float16 float_to_half(float x) {
#if defined(FS_CUDA_EMU)
  return float16(x);
#else
  float16 r;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(r.bits) : "f"(x));
  return r;
#endif
}
__device__ __forceinline__ bfloat16 float_to_bfloat(float x) {
#if !defined(FS_CUDA_EMU) && defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  bfloat16 r;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(r.bits) : "f"(x));
  return r;
#else
  return bfloat16(x);
#endif
}

// Two numbers as halves in one register, `low` in the low bits.
__device__ __forceinline__ uint32_t pack_halves(float low, float high, float16) {
#if !defined(FS_CUDA_EMU) && defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  uint32_t r;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
  return r;
#else
  return uint32_t{float_to_half(high).bits} << 16 | float_to_half(low).bits;
#endif
}
__device__ __forceinline__ uint32_t pack_halves(float low, float high, bfloat16) {
#if !defined(FS_CUDA_EMU) && defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  uint32_t r;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
  return r;
#else
  return uint32_t{float_to_bfloat(high).bits} << 16 | float_to_bfloat(low).bits;
#endif
}

// ---- approximate functions ---------------------------------------------------------------------------------

// 2^x by the special function unit: within 2 units in the last place; results below 2^-126 are 0.
__device__ __forceinline__ float exp2_approx(float x) {
#if defined(FS_CUDA_EMU)
  return ::exp2f(x);
#else
  float r;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
  return r;
#endif
}

// ---- asynchronous copies to shared memory (sm_80) ----------------------------------------------------------

// Addresses of shared memory as instructions want them.
__device__ __forceinline__ uint32_t shared_address(const void* p) {
#if defined(FS_CUDA_EMU)
  return cuda_emu::shared_address(p);
#else
  return static_cast<uint32_t>(__cvta_generic_to_shared(p));
#endif
}

// kBytes (4, 8 or 16; aligned) from global to shared memory: the first `valid` of them, then zeros. The data is there
// after cp_async_wait and, for other threads, a barrier behind it. Below sm_80 it is an ordinary copy.
template <int kBytes>
__device__ __forceinline__ void cp_async(void* to, const void* from, int valid = kBytes) {
  static_assert(kBytes == 4 || kBytes == 8 || kBytes == 16);
#if defined(FS_CUDA_EMU)
  cuda_emu::cp_async(to, from, kBytes, valid);
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  if constexpr (kBytes == 16)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from), "r"(valid)
                 : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(shared_address(to)), "l"(from), "n"(kBytes),
                 "r"(valid)
                 : "memory");
#else
  for (int i = 0; i < kBytes; ++i)
    static_cast<uint8_t*>(to)[i] = i < valid ? static_cast<const uint8_t*>(from)[i] : uint8_t{0};
#endif
}
// Closes the group of this thread's copies since the last one.
__device__ __forceinline__ void cp_async_commit() {
#if defined(FS_CUDA_EMU)
  cuda_emu::cp_async_commit();
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
// Waits until at most kPending of this thread's groups are under way.
template <int kPending>
__device__ __forceinline__ void cp_async_wait() {
#if defined(FS_CUDA_EMU)
  cuda_emu::cp_async_wait(kPending);
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
#endif
}

// ---- matrix fragments and products of a warp ---------------------------------------------------------------

// Four 8 x 8 matrices of 16-bit elements; lane l gives the address of row l % 8 of matrix l / 8 (16 bytes, aligned).
// r[m] gets elements 2 (l % 4) and the next of row l / 4 of matrix m; kTranspose: of column l / 4.
template <bool kTranspose = false>
__device__ __forceinline__ void ldmatrix_x4(uint32_t (&r)[4], const void* row FS_EMU_WHERE_PARAMETER) {
#if defined(FS_CUDA_EMU)
  cuda_emu::ldmatrix_x4(r, row, kTranspose, where);
#else
  if constexpr (kTranspose)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
#endif
}

// d += a b for a: 16 x 16 (row-major), b: 16 x 8 (column-major), d: 16 x 8 in float. With g = lane / 4, t = lane % 4:
// a[0]: row g, columns 2t, 2t+1; a[1]: row g+8; a[2], a[3]: columns 2t+8, 2t+9 of the same rows; b[0]: rows 2t, 2t+1
// of column g, b[1]: rows 2t+8, 2t+9; d[0], d[1]: row g, columns 2t, 2t+1; d[2], d[3]: row g+8. (PTX, mma.m16n8k16)
__device__ __forceinline__ void mma_16816(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                                          bfloat16 FS_EMU_WHERE_PARAMETER) {
#if defined(FS_CUDA_EMU)
  cuda_emu::mma_16816(d, a, b, true, where);
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, "
      "%2, "
      "%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  __trap();
#endif
}
__device__ __forceinline__ void mma_16816(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                                          float16 FS_EMU_WHERE_PARAMETER) {
#if defined(FS_CUDA_EMU)
  cuda_emu::mma_16816(d, a, b, false, where);
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  __trap();
#endif
}
// The same for 16 x 8 and 8 x 8 of tf32 (float rounded to 10 bits of mantissa): a[0]: row g, column t; a[1]: row g+8;
// a[2], a[3]: column t+4; b[0]: row t of column g; b[1]: row t+4. (PTX, mma.m16n8k8)
__device__ __forceinline__ void mma_1688_tf32(float (&d)[4], const uint32_t (&a)[4],
                                              const uint32_t (&b)[2] FS_EMU_WHERE_PARAMETER) {
#if defined(FS_CUDA_EMU)
  cuda_emu::mma_1688_tf32(d, a, b, where);
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  __trap();
#endif
}
// x rounded to tf32, to nearest, ties away from zero.
__device__ __forceinline__ uint32_t to_tf32(float x) {
#if defined(FS_CUDA_EMU)
  const uint32_t u = __float_as_uint(x);
  return (u & 0x7f800000u) == 0x7f800000u ? u : (u + 0x1000u) & 0xffffe000u;
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  uint32_t r;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(r) : "f"(x));
  return r;
#else
  return __float_as_uint(x);
#endif
}

// ---- barriers of a part of the block -----------------------------------------------------------------------

// Waits for `threads` threads (a multiple of 32) at barrier `id`, 1 to 15; arrive does not wait.
__device__ __forceinline__ void named_barrier_sync(int id, int threads FS_EMU_WHERE_PARAMETER) {
#if defined(FS_CUDA_EMU)
  cuda_emu::barrier(id, threads, false, "named_barrier_sync", where);
#else
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
#endif
}
__device__ __forceinline__ void named_barrier_arrive(int id, int threads FS_EMU_WHERE_PARAMETER) {
#if defined(FS_CUDA_EMU)
  cuda_emu::barrier_arrive(id, threads, where);
#else
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
#endif
}

}  // namespace fireseed::cuda

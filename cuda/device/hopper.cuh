// Instructions of sm_90 and sm_90a: mbarrier, TMA loads of tiles, wgmma, register counts of warpgroups.
#pragma once

#include <cuda.h>

#include "device/intrinsics.cuh"

namespace fireseed::cuda {

// ---- mbarrier: a barrier in shared memory that also counts bytes of copies ------------------------------------

// One thread initialises, fences, and the block synchronises before anybody uses it. A phase ends when `count`
// arrivals and all expected bytes have come; phases have parity 0, 1, 0, …
__device__ __forceinline__ void mbarrier_init(uint64_t* barrier, int count) {
#if defined(FS_CUDA_EMU)
  cuda_emu::mbarrier_init(barrier, count);
#else
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(count) : "memory");
#endif
}
// Makes the initialisation visible to the copy engine.
__device__ __forceinline__ void mbarrier_init_fence() {
#if !defined(FS_CUDA_EMU) && defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}
__device__ __forceinline__ void mbarrier_arrive(uint64_t* barrier FS_EMU_WHERE_PARAMETER) {
#if defined(FS_CUDA_EMU)
  cuda_emu::mbarrier_arrive(barrier, 0, where);
#else
  asm volatile("{\n.reg .b64 state;\nmbarrier.arrive.shared::cta.b64 state, [%0];\n}" ::"r"(shared_address(barrier))
               : "memory");
#endif
}
// Arrives, and says that `bytes` will come by copies.
__device__ __forceinline__ void mbarrier_arrive_expect(uint64_t* barrier, uint32_t bytes FS_EMU_WHERE_PARAMETER) {
#if defined(FS_CUDA_EMU)
  cuda_emu::mbarrier_arrive(barrier, bytes, where);
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("{\n.reg .b64 state;\nmbarrier.arrive.expect_tx.shared::cta.b64 state, [%0], %1;\n}" ::"r"(
                   shared_address(barrier)),
               "r"(bytes)
               : "memory");
#endif
}
// Waits until the phase of this parity has ended.
__device__ __forceinline__ void mbarrier_wait(uint64_t* barrier, int parity FS_EMU_WHERE_PARAMETER) {
#if defined(FS_CUDA_EMU)
  cuda_emu::mbarrier_wait(barrier, parity, where);
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile(
      "{\n.reg .pred done;\nwaiting:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n@!done bra waiting;\n}" ::"r"(
          shared_address(barrier)),
      "r"(parity)
      : "memory");
#endif
}

// ---- TMA -----------------------------------------------------------------------------------------------------

// Copies the map's box at element (x, y), x along the contiguous dimension, to shared memory (aligned to 1024 bytes
// where it is swizzled); counts its bytes, all of them also where the box leaves the tensor, at `barrier`. One
// thread.
__device__ __forceinline__ void tma_load_2d(void* to, const CUtensorMap* map, int x, int y,
                                            uint64_t* barrier FS_EMU_WHERE_PARAMETER) {
#if defined(FS_CUDA_EMU)
  cuda_emu::tma_load_2d(to, map, x, y, barrier, where);
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];" ::"r"(
          shared_address(to)),
      "l"(map), "r"(shared_address(barrier)), "r"(x), "r"(y)
      : "memory");
#endif
}

// The same of a map of three dimensions, with a box of one element along z.
__device__ __forceinline__ void tma_load_3d(void* to, const CUtensorMap* map, int x, int y, int z,
                                            uint64_t* barrier FS_EMU_WHERE_PARAMETER) {
#if defined(FS_CUDA_EMU)
  cuda_emu::tma_load_3d(to, map, x, y, z, barrier, where);
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], "
      "[%2];" ::"r"(shared_address(to)),
      "l"(map), "r"(shared_address(barrier)), "r"(x), "r"(y), "r"(z)
      : "memory");
#endif
}

// ---- wgmma ---------------------------------------------------------------------------------------------------

// Descriptor of a tile of 16-bit elements, swizzled by 128 bytes, at a multiple of 1024 bytes. Along k (K-major): a
// row has 64 elements along k, groups of eight rows are 1024 bytes. The next 16 elements along k are 32 bytes
// further.
__device__ __forceinline__ uint64_t wgmma_descriptor(const void* tile) {
  return (static_cast<uint64_t>(shared_address(tile) & 0x3ffffu) >> 4) | uint64_t{1} << 16 |
         uint64_t{1024 >> 4} << 32 | uint64_t{1} << 62;
}
// Across k (MN-major): a row has 64 elements along the other dimension, the next row is the next element of k, groups
// of eight are 1024 bytes; the next 64 elements of the other dimension are `next` bytes further. The next 16 elements
// along k are 2048 bytes further. (PTX, strides of canonical layouts: leading dimension offset `next`, stride
// dimension offset 1024)
__device__ __forceinline__ uint64_t wgmma_descriptor_across(const void* tile, int next) {
  return (static_cast<uint64_t>(shared_address(tile) & 0x3ffffu) >> 4) | static_cast<uint64_t>(next >> 4) << 16 |
         uint64_t{1024 >> 4} << 32 | uint64_t{1} << 62;
}
template <bool kAcross = false>
__device__ __forceinline__ uint64_t advance_k(uint64_t descriptor, int elements) {
  return descriptor + static_cast<uint64_t>(elements * (kAcross ? 128 : 2) / 16);
}

// Orders the registers and shared memory that were written before the products that follow.
__device__ __forceinline__ void wgmma_fence() {
#if defined(FS_CUDA_EMU)
  cuda_emu::wgmma_fence();
#elif defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#endif
}
__device__ __forceinline__ void wgmma_commit() {
#if defined(FS_CUDA_EMU)
  cuda_emu::wgmma_commit();
#elif defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#endif
}
// Until at most kPending groups are under way; only then may accumulators be read and tiles be written again.
template <int kPending>
__device__ __forceinline__ void wgmma_wait() {
#if defined(FS_CUDA_EMU)
  cuda_emu::wgmma_wait(kPending);
#elif defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
#endif
}

// Results are read only after this, which follows wgmma_wait: the compiler does not know when they come.
template <int kCount>
__device__ __forceinline__ void wgmma_results([[maybe_unused]] float (&d)[kCount]) {
#if !defined(FS_CUDA_EMU)
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+f"(d[i])::"memory");
#endif
}

// d (64 x n, float; n is twice the elements of d: 128 or 256) += a (64 x 16) b (16 x n), a and b in shared memory,
// along k, or across it where kAcrossA or kAcrossB; d = a b where `accumulate` is false. All 128 threads of a
// warpgroup. Warp w has rows 16 w to 16 w + 15; with g = lane / 4, t = lane % 4, element 4 j + r of d is row 16 w + g
// + 8 (r / 2), column 8 j + 2 t + r % 2.
#define FS_WGMMA_N128(type)                                                                             \
  asm volatile(                                                                                         \
      "{\n.reg .pred p;\nsetp.ne.b32 p, %66, 0;\n"                                                      \
      "wgmma.mma_async.sync.aligned.m64n128k16.f32." type "." type                                      \
      " {"                                                                                              \
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, " \
      "%21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, " \
      "%40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, " \
      "%59, %60, %61, %62, %63"                                                                         \
      "}, %64, %65, p, 1, 1, %67, %68;\n}\n"                                                            \
      : FS_F8(0), FS_F8(8), FS_F8(16), FS_F8(24), FS_F8(32), FS_F8(40), FS_F8(48), FS_F8(56)            \
      : "l"(a), "l"(b), "r"(static_cast<int>(accumulate)), "n"(static_cast<int>(kAcrossA)),             \
        "n"(static_cast<int>(kAcrossB)))
#define FS_WGMMA_N256(type)                                                                                         \
  asm volatile(                                                                                                     \
      "{\n.reg .pred p;\nsetp.ne.b32 p, %130, 0;\n"                                                                 \
      "wgmma.mma_async.sync.aligned.m64n256k16.f32." type "." type                                                  \
      " {"                                                                                                          \
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, "             \
      "%21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, "             \
      "%40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, "             \
      "%59, %60, %61, %62, %63, %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, "             \
      "%78, %79, %80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, %96, "             \
      "%97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, %112, "               \
      "%113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"                    \
      "}, %128, %129, p, 1, 1, %131, %132;\n}\n"                                                                    \
      : FS_F8(0), FS_F8(8), FS_F8(16), FS_F8(24), FS_F8(32), FS_F8(40), FS_F8(48), FS_F8(56), FS_F8(64), FS_F8(72), \
        FS_F8(80), FS_F8(88), FS_F8(96), FS_F8(104), FS_F8(112), FS_F8(120)                                         \
      : "l"(a), "l"(b), "r"(static_cast<int>(accumulate)), "n"(static_cast<int>(kAcrossA)),                         \
        "n"(static_cast<int>(kAcrossB)))
#define FS_F8(i)                                                                                              \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), \
      "+f"(d[i + 7])
template <class T, bool kAcrossA = false, bool kAcrossB = false, int kHalf>
__device__ __forceinline__ void wgmma_64xnx16(float (&d)[kHalf], uint64_t a, uint64_t b,
                                              bool accumulate FS_EMU_WHERE_PARAMETER) {
  static_assert(kHalf == 64 || kHalf == 128);
  [[maybe_unused]] constexpr bool kBfloat = std::is_same_v<T, bfloat16>;
#if defined(FS_CUDA_EMU)
  cuda_emu::wgmma({d, 2 * kHalf, a, b, accumulate, kBfloat, kAcrossA, kAcrossB}, where);
#elif defined(__CUDA_ARCH_FEAT_SM90_ALL)
  if constexpr (kHalf == 64 && kBfloat) FS_WGMMA_N128("bf16");
  else if constexpr (kHalf == 64) FS_WGMMA_N128("f16");
  else if constexpr (kBfloat) FS_WGMMA_N256("bf16");
  else FS_WGMMA_N256("f16");
#endif
}
#undef FS_WGMMA_N128
#undef FS_WGMMA_N256
#undef FS_F8

// Registers a thread of this warpgroup gives up or takes: a multiple of 8.
template <int kCount>
__device__ __forceinline__ void fewer_registers() {
#if !defined(FS_CUDA_EMU) && defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kCount));
#endif
}
template <int kCount>
__device__ __forceinline__ void more_registers() {
#if !defined(FS_CUDA_EMU) && defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kCount));
#endif
}

}  // namespace fireseed::cuda

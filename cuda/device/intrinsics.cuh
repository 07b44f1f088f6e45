// Everything that is an instruction rather than C++: each helper has a device form and a form for the emulation.
#pragma once

#include "base/half.h"
#include "runtime/launch.h"

namespace fireseed::cuda {

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

}  // namespace fireseed::cuda

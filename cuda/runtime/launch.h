// FS_LAUNCH: the one way a kernel is started; FS_SHARED and FS_DYN_SMEM: its shared memory. For nvcc and for the
// emulation.
#pragma once

#if defined(FS_CUDA_EMU)
#include <cuda_emu.h>
#else
#include <cuda_runtime.h>

#include <type_traits>
#include <utility>
#endif

#include <cstdlib>
#include <map>
#include <mutex>
#include <string>

#include "runtime/check.h"

// FS_LAUNCH(kernel, grid, block, shared_bytes, stream, args...). Templates in parentheses: FS_LAUNCH((k<T, 256>), …).
// A grid without blocks launches nothing. Throws Error where the launch is refused, and with FIRESEED_CUDA_SYNC=1
// where the kernel fails.
#define FS_LAUNCH(kernel, grid, block, shared_bytes, stream, ...) \
  ::fireseed::cuda::launch(#kernel, kernel, grid, block, shared_bytes, stream __VA_OPT__(, ) __VA_ARGS__)

// FS_SHARED(float, tile, [32][33]): an array in shared memory. FS_DYN_SMEM(float, buffer): the launch's dynamic
// shared memory as a float*, 1024-byte aligned; one a kernel.
#if defined(FS_CUDA_EMU)
#define FS_SHARED(type, name, dims) auto& name = ::fireseed::cuda_emu::shared<type dims>([] {})
#define FS_DYN_SMEM(type, name) type* const name = static_cast<type*>(::fireseed::cuda_emu::dynamic_shared())
#else
#define FS_SHARED(type, name, dims) __shared__ type name dims
#define FS_DYN_SMEM(type, name)                                   \
  extern __shared__ __align__(1024) unsigned char fs_dyn_smem_[]; \
  type* const name = reinterpret_cast<type*>(fs_dyn_smem_)
#endif

namespace fireseed::cuda {

namespace launching {

[[noreturn, gnu::cold, gnu::noinline]] inline void launch_failed(cudaError_t code, const char* kernel, dim3 grid,
                                                                 dim3 block, size_t shared_bytes) {
  const auto dims = [](dim3 d) {
    return std::to_string(d.x) + " x " + std::to_string(d.y) + " x " + std::to_string(d.z);
  };
  const std::string what = std::string(kernel) + " (grid " + dims(grid) + ", block " + dims(block) + ", " +
                           std::to_string(shared_bytes) + " bytes of shared memory)";
  fail_cuda(code, what.c_str());
}

// FIRESEED_CUDA_SYNC=1: every kernel is waited for at its launch.
inline bool sync_launches() {
  static const bool on = [] {
    const char* s = std::getenv("FIRESEED_CUDA_SYNC");
    return s && *s && *s != '0';
  }();
  return on;
}

inline cudaError_t wait_for_launch(cudaStream_t stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  if (const cudaError_t e = cudaStreamIsCapturing(stream, &status); e != cudaSuccess) return e;
  return status == cudaStreamCaptureStatusNone ? cudaStreamSynchronize(stream) : cudaSuccess;
}

}  // namespace launching

inline constexpr size_t kPlainSharedBytes = 48 * 1024;  // more needs the kernel's consent

// Gives a kernel that consent on the current device. What it has is never made less: another thread may be about to
// launch it with more.
[[gnu::noinline]] inline cudaError_t allow_shared_bytes(const void* kernel, size_t bytes) {
  static std::mutex mutex;
  static std::map<std::pair<int, const void*>, size_t> allowed;
  int device = 0;
  if (const cudaError_t e = cudaGetDevice(&device); e != cudaSuccess) return e;
  const std::lock_guard lock(mutex);
  size_t& most = allowed[{device, kernel}];
  if (bytes <= most) return cudaSuccess;
  const cudaError_t e =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
  if (e == cudaSuccess) most = bytes;
  return e;
}

template <class... P, class... A>
void launch(const char* name, void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream,
            A&&... args) {
  static_assert(sizeof...(P) == sizeof...(A), "FS_LAUNCH: the number of arguments is not the kernel's");
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  cudaError_t e = cudaSuccess;
  if (shared_bytes > kPlainSharedBytes) e = allow_shared_bytes(reinterpret_cast<const void*>(kernel), shared_bytes);
  if (e == cudaSuccess) {
#if defined(FS_CUDA_EMU)
    e = cuda_emu::launch_kernel(name, kernel, grid, block, shared_bytes, stream, std::forward<A>(args)...);
    if (e == cudaSuccess) e = cudaPeekAtLastError();
#else
    kernel<<<grid, block, shared_bytes, stream>>>(static_cast<std::decay_t<P>>(args)...);
    e = cudaPeekAtLastError();
#endif
  }
  if (e == cudaSuccess && launching::sync_launches()) e = launching::wait_for_launch(stream);
  if (__builtin_expect(e != cudaSuccess, false)) launching::launch_failed(e, name, grid, block, shared_bytes);
}

}  // namespace fireseed::cuda

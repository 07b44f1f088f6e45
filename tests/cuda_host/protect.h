// Device memory that only kernels and copies may touch: FS_EMU_PROTECT=1.
#pragma once

#include <cstddef>

namespace fireseed::cuda_emu {

// Note [Protected memory]
// The emulation's device memory is the host's, so that host code which reads a tensor on the device (or a host
// function that fills one) would pass every test here and crash on a GPU. With FS_EMU_PROTECT=1 device memory is
// mapped without access, and gets it only while a kernel, a copy or a memset runs; host code that touches it is
// stopped by SIGSEGV, after a line and a backtrace on stderr.
bool protects();
void* map_protected(size_t bytes);  // null where there is no memory
void unmap_protected(void* p, size_t bytes);

// Device memory is accessible while one of these lives.
class DeviceAccess {
 public:
  DeviceAccess();
  ~DeviceAccess();
  DeviceAccess(const DeviceAccess&) = delete;
  DeviceAccess& operator=(const DeviceAccess&) = delete;
};

}  // namespace fireseed::cuda_emu

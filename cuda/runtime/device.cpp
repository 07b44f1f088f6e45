// Devices: count, current one, properties.
#include "runtime/device.h"

#include <memory>
#include <mutex>

#include "base/error.h"
#include "runtime/check.h"

namespace fireseed::cuda {
namespace {

int count = 0;
thread_local int current = 0;  // as cudaSetDevice was told; 0 in a new thread, for the runtime too
cudaDeviceProp* known[kMaxDevices];
std::once_flag asked[kMaxDevices];

}  // namespace

int start(std::string& reason) {
  int n = 0;
  const cudaError_t code = cudaGetDeviceCount(&n);
  if (code != cudaSuccess) {
    cudaGetLastError();
    reason = std::string(cudaGetErrorString(code)) + " (" + cudaGetErrorName(code) + ")";
    return 0;
  }
  if (n == 0) reason = "no CUDA device was found (is CUDA_VISIBLE_DEVICES set?)";
  count = n < kMaxDevices ? n : kMaxDevices;
  return count;
}

int device_count() { return count; }
int current_device() { return current; }

void set_device(int device) {
  FS_CHECK(device >= 0 && device < count, "CUDA device ", device, " does not exist: there are ", count,
           " (invalid device ordinal)");
  FS_CUDA(cudaSetDevice(device));
  current = device;
}

const cudaDeviceProp& properties(int device) {
  FS_CHECK(device >= 0 && device < count, "CUDA device ", device, " does not exist: there are ", count,
           " (invalid device ordinal)");
  std::call_once(asked[device], [&] {
    auto p = std::make_unique<cudaDeviceProp>();
    FS_CUDA(cudaGetDeviceProperties(p.get(), device));
    known[device] = p.release();
  });
  return *known[device];
}

int compute_capability() {
  const cudaDeviceProp& p = properties(current);
  return 10 * p.major + p.minor;
}
int multiprocessors() { return properties(current).multiProcessorCount; }

void synchronize(int device) {
  const OnDevice on(device);
  FS_CUDA(cudaDeviceSynchronize());
  all_is_well();
}

}  // namespace fireseed::cuda

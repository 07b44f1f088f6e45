// Devices: count, current one, properties.
#include "runtime/device.h"

#include <memory>
#include <mutex>

#include "base/error.h"
#include "runtime/check.h"

namespace fireseed::cuda {
namespace {

int count = 0;
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
// Asked, not remembered: other libraries in the process set it too.
int current_device() {
  int device = 0;
  FS_CUDA(cudaGetDevice(&device));
  return device;
}

void set_device(int device) {
  FS_CHECK(device >= 0 && device < count, "CUDA device ", device, " does not exist: there are ", count,
           " (invalid device ordinal)");
  FS_CUDA(cudaSetDevice(device));
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
  const cudaDeviceProp& p = properties(current_device());
  return 10 * p.major + p.minor;
}
int multiprocessors() { return properties(current_device()).multiProcessorCount; }
size_t most_shared_memory() { return properties(current_device()).sharedMemPerBlockOptin; }

void synchronize(int device) {
  const OnDevice on(device);
  FS_CUDA(cudaDeviceSynchronize());
  all_is_well();
}

}  // namespace fireseed::cuda

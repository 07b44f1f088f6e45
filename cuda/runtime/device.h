// Devices: count, current one, properties.
#pragma once

#include <cuda_runtime_api.h>

#include "tensor/backend.h"

namespace fireseed::cuda {

inline constexpr int kMaxDevices = 64;

// Counts devices; 0 with a reason where there is none.
int start(std::string& reason);
int device_count();
int current_device();
void set_device(int device);
const cudaDeviceProp& properties(int device);
// Of the current device: compute capability as 10 * major + minor (90 = Hopper), multiprocessors, and the bytes of
// shared memory that a block may have.
int compute_capability();
int multiprocessors();
size_t most_shared_memory();
void synchronize(int device);

class OnDevice {
 public:
  explicit OnDevice(int device) : before_(current_device()) {
    if (before_ != device) set_device(device);
    device_ = device;
  }
  ~OnDevice() {
    if (before_ != device_) cudaSetDevice(before_);
  }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

 private:
  int before_, device_;
};

}  // namespace fireseed::cuda

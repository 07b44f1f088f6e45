// The caching allocator of device memory, and Scratch: memory for the length of one kernel call.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

#include "tensor/backend.h"

namespace fireseed::cuda {

// Note [Device memory]
// cudaMalloc waits for the device, so memory is taken in segments (2 MiB for blocks of up to 1 MiB, else 32 MiB or
// more) and cut into blocks that are split and merged as they are used. A block belongs to the stream it was
// allocated on: freed, it may be used again by the same stream at once, as that stream works in order. A block that
// other streams use too (record_stream) waits until they have passed the point where it was freed. A pool keeps the
// blocks of a captured graph apart. FIRESEED_CUDA_CACHE=0 goes to cudaMalloc for each block, for memory checkers.

// On the current stream of `device`, 512-byte aligned; null for 0 bytes never comes. Throws DeviceMemoryError.
void* allocate(int device, size_t bytes, const AllocationNote* note);
void free(int device, void* p) noexcept;
void record_stream(void* p, cudaStream_t stream);
void empty_cache();
void memory(int device, DeviceMemory& m);
void reset_peak_memory(int device);
void set_memory_fraction(int device, double fraction);  // of the device's memory that may be taken

// Allocations on `device` by this thread go to the pool from here to end_pool; a pool's free memory stays its own
// until release_pool.
void begin_pool(int device, int pool);
void end_pool(int device);
void release_pool(int device, int pool);

// Memory on the current stream that a kernel's host code needs until it returns: the next user on the stream comes
// after the kernel.
class Scratch {
 public:
  explicit Scratch(size_t bytes);
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  template <class T = void>
  T* ptr() const {
    return static_cast<T*>(p_);
  }

 private:
  void* p_;
  int device_;
};

}  // namespace fireseed::cuda

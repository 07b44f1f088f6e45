// Storage: the memory that tensors and their views share, with the version counter that catches overwritten saves.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "base/ref.h"
#include "tensor/device.h"

namespace fireseed {

struct AllocationNote;

struct Storage {
  std::atomic<int32_t> refs{1};
  uint32_t version = 0;  // bumped by every in-place write
  void* data = nullptr;
  size_t nbytes = 0;
  size_t capacity = 0;               // bytes at data; for small storages they lie behind this header
  void (*deleter)(void*) = nullptr;  // foreign memory: called with `context` once, at the end
  void* context = nullptr;
  Device device;
  bool inline_data = false;
  bool pinned = false;  // page-locked memory of the host

  // Uninitialised memory on the CPU. Throws Error(kMemory).
  static Ref<Storage> allocate(size_t nbytes);
  // Uninitialised memory on a CUDA device; `note` says what it is for (tensor/backend.h). Throws
  // Error(kDeviceMemory).
  static Ref<Storage> allocate_on(Device device, size_t nbytes, const AllocationNote* note);
  // Uninitialised page-locked memory of the host.
  static Ref<Storage> allocate_pinned(size_t nbytes);
  // Memory owned by somebody else (numpy, DLPack).
  static Ref<Storage> foreign(void* data, size_t nbytes, void (*deleter)(void*), void* context, Device device = {});
  static void destroy(Storage* s);
  // Grows to nbytes, keeping the contents (Tensor.resize_). Throws for foreign memory.
  void resize(size_t new_nbytes);
};

}  // namespace fireseed

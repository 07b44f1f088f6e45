// Backend: what a device plugin (libfireseed_cuda.so) offers libfireseed, and how it is found and loaded.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "base/error.h"
#include "tensor/device.h"
#include "tensor/kernel_index.h"

namespace fireseed {

// Note [Backend]
// CUDA is a plugin: a shared library that links libfireseed and hands over one table of functions and one table of
// kernels. It is opened at the first question about a CUDA device, never by `import fireseed`. Its functions throw
// fireseed::Error. A stream or event is an opaque pointer of the plugin.

inline constexpr uint32_t kBackendVersion = 2;

// A device ran out of memory; the program may go on.
class DeviceMemoryError : public Error {
 public:
  explicit DeviceMemoryError(std::string message) : Error(ErrorKind::kRuntime, std::move(message)) {}
};

using StreamHandle = void*;
using EventHandle = void*;
using GraphHandle = void*;

struct DeviceProperties {
  char name[256] = {};
  unsigned char uuid[16] = {};
  int major = 0, minor = 0;
  int multi_processor_count = 0;
  int max_threads_per_multi_processor = 0;
  int max_threads_per_block = 0;
  int warp_size = 32;
  int regs_per_multiprocessor = 0;
  int pci_bus_id = 0, pci_device_id = 0, pci_domain_id = 0;
  bool is_integrated = false, is_multi_gpu_board = false;
  uint64_t total_memory = 0;
  uint64_t l2_cache_size = 0;
  uint64_t shared_memory_per_block = 0, shared_memory_per_block_optin = 0, shared_memory_per_multiprocessor = 0;
};

// Bytes and counts of one device's caching allocator.
struct DeviceMemory {
  uint64_t allocated = 0, max_allocated = 0;  // handed out
  uint64_t reserved = 0, max_reserved = 0;    // taken from the driver
  uint64_t active = 0;                        // handed out, or freed but still in use by another stream
  uint64_t largest_free = 0;                  // longest free block within the segments
  uint64_t num_segments = 0, num_allocations = 0, num_frees = 0, num_retries = 0, num_ooms = 0;
};

// What an allocation is for: shown when memory runs out.
struct AllocationNote {
  const char* op = nullptr;  // a literal
  DType dtype = DType::kUInt8;
  int ndim = 0;
  const int64_t* sizes = nullptr;
};

struct Backend {
  uint32_t version = 0;
  int num_kernels = 0;
  const Kernel* kernels = nullptr;  // by KernelIndex; null where there is none yet
  bool emulated = false;            // runs on the processor, for tests

  int (*device_count)() = nullptr;
  void (*set_device)(int device) = nullptr;  // of the calling thread
  int (*current_device)() = nullptr;
  void (*properties)(int device, DeviceProperties& p) = nullptr;
  void (*device_memory)(int device, uint64_t& free, uint64_t& total) = nullptr;
  bool (*can_access_peer)(int device, int peer) = nullptr;
  void (*versions)(int& driver, int& runtime) = nullptr;

  // Device memory, for use on the device's current stream. `note` may be null.
  void* (*allocate)(int device, size_t bytes, const AllocationNote* note) = nullptr;
  void (*free)(int device, void* p) noexcept = nullptr;
  void (*record_stream)(void* p, StreamHandle stream) = nullptr;  // p is also used there
  void (*empty_cache)() = nullptr;
  void (*memory)(int device, DeviceMemory& m) = nullptr;
  void (*reset_peak_memory)(int device) = nullptr;
  void (*set_memory_fraction)(int device, double fraction) = nullptr;
  // Page-locked host memory.
  void* (*allocate_pinned)(size_t bytes) = nullptr;
  void (*free_pinned)(void* p) noexcept = nullptr;

  // Copies `bytes` on the current stream of the CUDA side. device -1: the host. Returns when the host's memory may be
  // used again, unless it is pinned and non_blocking.
  void (*copy)(void* dst, int dst_device, const void* src, int src_device, size_t bytes, bool pinned,
               bool non_blocking) = nullptr;

  void (*synchronize)(int device) = nullptr;
  // Called after each kernel: a failed launch, or with FIRESEED_CUDA_SYNC=1 a failed kernel, becomes an Error.
  void (*check)(const char* op) = nullptr;

  StreamHandle (*current_stream)(int device) = nullptr;
  void (*set_stream)(int device, StreamHandle stream) = nullptr;  // of the calling thread
  StreamHandle (*default_stream)(int device) = nullptr;
  StreamHandle (*copy_stream)(int device) = nullptr;
  StreamHandle (*new_stream)(int device, int priority) = nullptr;  // from a pool, never destroyed
  void (*stream_synchronize)(StreamHandle stream) = nullptr;
  bool (*stream_query)(StreamHandle stream) = nullptr;
  void (*stream_wait)(StreamHandle stream, EventHandle event) = nullptr;
  bool (*capturing)(int device) = nullptr;  // is the current stream being captured into a graph?

  int (*new_pool)() = nullptr;  // of memory for graphs
  void (*release_pool)(int device, int pool) = nullptr;
  GraphHandle (*begin_capture)(int device, int pool) = nullptr;
  void (*end_capture)(GraphHandle graph) = nullptr;
  void (*replay)(GraphHandle graph) = nullptr;
  void (*free_graph)(GraphHandle graph) noexcept = nullptr;

  EventHandle (*new_event)(int device, bool timing, bool blocking) = nullptr;
  void (*free_event)(EventHandle event) noexcept = nullptr;
  void (*event_record)(EventHandle event, StreamHandle stream) = nullptr;
  bool (*event_query)(EventHandle event) = nullptr;
  void (*event_synchronize)(EventHandle event) = nullptr;
  float (*event_elapsed)(EventHandle start, EventHandle end) = nullptr;  // milliseconds
};

// What a plugin exports: fills `b`, or returns false with a reason why no device can be used.
extern "C" bool fireseed_cuda_backend(fireseed::Backend* b, char* reason, size_t reason_size);

// The plugin, opened at the first call, or null where there is none or no device; no_backend_reason() says why.
// FIRESEED_CUDA_PLUGIN=path opens that file instead (the emulated plugin of the tests).
const Backend* find_backend();
const std::string& no_backend_reason();
// The same, or an Error naming `what`.
const Backend& backend(const char* what);
// Throws where the device does not exist.
void check_device(Device d, const char* what);
// Called once with the plugin when it is opened; set by ops/, which fills the records.
extern void (*on_backend)(const Backend& b);

// Makes a CUDA device the thread's current one for a scope; nothing for the CPU.
class DeviceGuard {
 public:
  explicit DeviceGuard(Device d);
  ~DeviceGuard();
  DeviceGuard(const DeviceGuard&) = delete;
  DeviceGuard& operator=(const DeviceGuard&) = delete;

 private:
  int before_ = -1;
};

// May a device round the operands of float32 convolutions to tf32? Set by backends.cudnn.allow_tf32; read at
// launches.
extern std::atomic<bool> allow_tf32_conv;
// May a device round the operands of float32 products to tf32? Set by set_float32_matmul_precision; read at launches.
extern std::atomic<bool> allow_tf32;

// The op whose kernel this thread runs on a device now, for errors and scratch memory.
extern thread_local const char* running_op;

}  // namespace fireseed

// Caching CPU allocator: 64-byte aligned blocks, size classes, huge-page segments, bounded cache, statistics.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fireseed {

// Note [Caching allocator]
// Fresh pages cost 20-50 times what reused ones do, so freed blocks stay with us, up to a bound.

// Returns at least `bytes` bytes, 64-byte aligned, uninitialised. Throws Error(kMemory) naming the size when the
// system refuses. Never returns null, also for 0 bytes.
void* allocate_bytes(size_t bytes);
// `bytes` must be what was asked for. Any thread may free.
void free_bytes(void* p, size_t bytes) noexcept;

struct AllocatorStats {
  uint64_t allocated_bytes;      // handed out now
  uint64_t max_allocated_bytes;  // most ever handed out at once (since reset_peak_memory_stats)
  uint64_t reserved_bytes;       // taken from the system and kept
  uint64_t num_allocations;      // calls so far
};
AllocatorStats allocator_stats();
void reset_peak_memory_stats();
void empty_cache();  // gives unused segments back to the system

// Free lists for small engine objects (tensors, nodes, small storages): sizes up to kMaxSmall, no statistics.
inline constexpr size_t kMaxSmall = 1024;
void* allocate_small(size_t bytes);
void free_small(void* p, size_t bytes) noexcept;

}  // namespace fireseed

// The heap behind the caching allocator: blocks split from and merged in 2 MiB-aligned segments of huge pages.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fireseed::detail {

// Note [Heap]
// Two-level segregated fit (Masmano et al., "TLSF", 2004): free blocks stand in lists by size, 32 lists to each
// doubling, and bitmaps find the first list that has a block large enough in constant time. Requests are rounded up
// to a list's lower bound, so that a block which comes back serves the same request again. A block begins with a
// 64-byte header; neighbours merge when freed, so varied sizes do not pile up. Everything is under one lock.

// Returns `bytes` bytes, 64-byte aligned. Throws Error(kMemory).
void* heap_allocate(size_t bytes);
void heap_free(void* p) noexcept;
// Unmaps segments without a block in use and drops the pages of large free blocks.
void heap_trim() noexcept;
// Bytes mapped from the system.
uint64_t heap_reserved();
// Throws Error(kMemory) where `bytes` (1 GiB and more) is beyond what this machine or control group has left;
// `reusable` bytes are ours already.
void check_available(size_t bytes, size_t reusable);
[[noreturn]] void fail_out_of_memory(size_t bytes, const char* why);

// The lock is also taken around fork, by the allocator.
void heap_lock() noexcept;
void heap_unlock() noexcept;

}  // namespace fireseed::detail

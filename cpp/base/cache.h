// Size of the processor's last-level cache, and what follows for results larger than it.
#pragma once

#include <cstdint>

namespace fireseed {

// Bytes of the last-level cache that processor 0 shares; 32 MiB where the system does not say.
int64_t last_cache_bytes();

// Whether an operation that reads and writes `bytes` in all should write past the caches (non-temporal stores): its
// result would push out its inputs, and be gone before anyone reads it. Up to about the cache's size (and a little
// more: the other levels hold something too) plain stores are faster, for the operation and for the next one.
inline bool bypasses_caches(int64_t bytes) {
  return bytes > (int64_t{4} << 20) && bytes > last_cache_bytes() / 4 * 5;
}

}  // namespace fireseed

// Size of the processor's last-level cache, and what follows for results larger than it.
#pragma once

#include <cstdint>

namespace fireseed {

// Bytes of the last-level cache that processor 0 shares; 32 MiB where the system does not say.
int64_t last_cache_bytes();

// Whether an operation that reads and writes so many bytes should write past the caches (non-temporal stores): its
// result would push out its inputs, and be gone before anyone reads it. Such stores run at the memory's pace, though,
// so that while the caches hold a good part of everything, plain ones are faster, unless reading is most of the work.
inline bool bypasses_caches(int64_t read, int64_t written) {
  const int64_t bytes = read + written;
  if (bytes <= int64_t{4} << 20) return false;
  const int64_t cache = last_cache_bytes();
  return bytes > (read >= 2 * written ? cache / 4 * 5 : 2 * cache);
}

}  // namespace fireseed

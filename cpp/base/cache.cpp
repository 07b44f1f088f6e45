// Reads the cache sizes that the kernel of the operating system reports.
#include "base/cache.h"

#include <cstdio>

namespace fireseed {

int64_t last_cache_bytes() {
  static const int64_t bytes = [] {
    int64_t largest = 0;
    for (int index = 0; index < 8; ++index) {  // "32768K"
      char path[80];
      std::snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/size", index);
      FILE* f = std::fopen(path, "re");
      if (f == nullptr) break;
      long size = 0;
      char unit = 'K';
      if (std::fscanf(f, "%ld%c", &size, &unit) >= 1) {
        const int64_t b = static_cast<int64_t>(size) << (unit == 'M' ? 20 : 10);
        if (b > largest) largest = b;
      }
      std::fclose(f);
    }
    return largest > (int64_t{1} << 20) ? largest : int64_t{32} << 20;
  }();
  return bytes;
}

}  // namespace fireseed

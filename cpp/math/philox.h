// Philox4x32-10, the counter-based random numbers of devices: the same function on host and device.
#pragma once

#include <cstdint>

#include "math/num.h"

namespace fireseed {

struct PhiloxWords { uint32_t w[4]; };

// Four random words of a 128-bit counter (low, high) under a 64-bit key (Salmon, Moraes, Dror, Shaw: "Parallel random
// numbers: as easy as 1, 2, 3", 2011). low: what Generator::reserve gave plus the element's number; high: 0, or the
// number of the draw where an element needs more than four words.
FS_HD inline PhiloxWords philox(uint64_t key, uint64_t low, uint64_t high = 0) {
  uint32_t c0 = static_cast<uint32_t>(low), c1 = static_cast<uint32_t>(low >> 32);
  uint32_t c2 = static_cast<uint32_t>(high), c3 = static_cast<uint32_t>(high >> 32);
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53u} * c0, b = uint64_t{0xCD9E8D57u} * c2;
    const uint32_t n0 = static_cast<uint32_t>(b >> 32) ^ c1 ^ k0, n2 = static_cast<uint32_t>(a >> 32) ^ c3 ^ k1;
    c1 = static_cast<uint32_t>(b);
    c3 = static_cast<uint32_t>(a);
    c0 = n0;
    c2 = n2;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

}  // namespace fireseed

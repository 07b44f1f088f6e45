// Tests of the caching allocator: alignment, reuse, bounds, threads, statistics and refusal of enormous sizes.
#include <gtest/gtest.h>

#include <cstring>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "tensor/allocator.h"

namespace fireseed {
namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kCaching = false;  // plain malloc then
#else
constexpr bool kCaching = true;
#endif

constexpr size_t kMiB = size_t{1} << 20;

struct Held {
  unsigned char* p;
  size_t n;
  unsigned char mark;
};

Held take(size_t n, unsigned char mark) {
  auto* p = static_cast<unsigned char*>(n <= kMaxSmall && mark % 2 ? allocate_small(n) : allocate_bytes(n));
  std::memset(p, mark, n);
  return {p, n, mark};
}
bool intact(const Held& h) {
  for (size_t i = 0; i < h.n; i += h.n > 4096 ? 509 : 1) {
    if (h.p[i] != h.mark) return false;
  }
  return h.n == 0 || h.p[h.n - 1] == h.mark;
}
void give(const Held& h) { h.n <= kMaxSmall&& h.mark % 2 ? free_small(h.p, h.n) : free_bytes(h.p, h.n); }

TEST(Allocator, AlignedForEverySize) {
  std::vector<Held> held;
  for (size_t n = 0; n < 5000; n += 37) held.push_back(take(n, 2));
  for (size_t n = 1; n < 8 * kMiB; n = n * 3 + 1) held.push_back(take(n, 2));
  for (size_t n : {size_t{32767}, size_t{32768}, size_t{32769}, kMiB - 1, kMiB, kMiB + 1}) held.push_back(take(n, 4));
  for (const Held& h : held) {
    EXPECT_NE(h.p, nullptr);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(h.p) % 64, 0u) << h.n;
    EXPECT_TRUE(intact(h)) << h.n;
    give(h);
  }
  free_bytes(nullptr, 100);
}

TEST(Allocator, SameSizeComesBack) {
  if (!kCaching) GTEST_SKIP();
  for (size_t n : {size_t{8}, size_t{1000}, size_t{5000}, size_t{40000}, size_t{262144}, 5 * kMiB, 100 * kMiB}) {
    void* first = allocate_bytes(n);
    free_bytes(first, n);
    void* second = allocate_bytes(n);
    EXPECT_EQ(first, second) << n;
    free_bytes(second, n);
  }
}

TEST(Allocator, RandomSizesKeepTheirContents) {
  std::mt19937 random(0);
  std::vector<Held> held;
  for (int i = 0; i < 20000; ++i) {
    if (held.size() > 300 || (!held.empty() && random() % 3 == 0)) {
      const size_t at = random() % held.size();
      ASSERT_TRUE(intact(held[at]));
      give(held[at]);
      held[at] = held.back();
      held.pop_back();
    } else {
      const unsigned scale = random() % 21;
      held.push_back(take(random() % (size_t{1} << scale), static_cast<unsigned char>(random())));
    }
  }
  for (const Held& h : held) {
    EXPECT_TRUE(intact(h));
    give(h);
  }
}

TEST(Allocator, VariedSizesDoNotPileUp) {
  if (!kCaching) GTEST_SKIP();
  empty_cache();
  std::mt19937 random(1);
  std::vector<void*> blocks;
  for (int round = 0; round < 400; ++round) {  // as with sequences of varied length: about 20 MiB at a time
    const size_t n = kMiB / 4 + random() % (4 * kMiB);
    for (int i = 0; i < 8; ++i) blocks.push_back(allocate_bytes(n + static_cast<size_t>(i) * 1000));
    for (int i = 0; i < 8; ++i) free_bytes(blocks[static_cast<size_t>(i)], n + static_cast<size_t>(i) * 1000);
    blocks.clear();
  }
  EXPECT_LT(allocator_stats().reserved_bytes, 200 * kMiB);
}

TEST(Allocator, CacheIsBoundedAndEmptied) {
  if (!kCaching) GTEST_SKIP();
  std::vector<void*> blocks;
  for (int i = 0; i < 10; ++i) blocks.push_back(allocate_bytes(64 * kMiB));
  EXPECT_GE(allocator_stats().reserved_bytes, 640 * kMiB);
  for (void* p : blocks) free_bytes(p, 64 * kMiB);
  EXPECT_LT(allocator_stats().reserved_bytes, 1100 * kMiB);
  empty_cache();
  EXPECT_LT(allocator_stats().reserved_bytes, 150 * kMiB);
  void* p = allocate_bytes(64 * kMiB);
  std::memset(p, 1, 64 * kMiB);
  free_bytes(p, 64 * kMiB);
}

TEST(Allocator, Statistics) {
  reset_peak_memory_stats();
  const AllocatorStats before = allocator_stats();
  void* a = allocate_bytes(3 * kMiB);
  void* b = allocate_bytes(100);
  AllocatorStats s = allocator_stats();
  EXPECT_EQ(s.allocated_bytes - before.allocated_bytes, 3 * kMiB + 100);
  EXPECT_EQ(s.num_allocations - before.num_allocations, 2u);
  EXPECT_GE(s.reserved_bytes, s.allocated_bytes);
  free_bytes(a, 3 * kMiB);
  free_bytes(b, 100);
  s = allocator_stats();
  EXPECT_EQ(s.allocated_bytes, before.allocated_bytes);
  EXPECT_GE(s.max_allocated_bytes, before.allocated_bytes + 3 * kMiB);
  reset_peak_memory_stats();
  EXPECT_EQ(allocator_stats().max_allocated_bytes, allocator_stats().allocated_bytes);
}

TEST(Allocator, EnormousSizesAreMemoryErrors) {
  for (size_t n : {size_t{1} << 62, ~size_t{0}, size_t{1} << 63, size_t{1} << 50, size_t{1} << 46}) {
    try {
      free_bytes(allocate_bytes(n), n);
      ADD_FAILURE() << n;
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kMemory);
      const std::string text = e.what();
      EXPECT_NE(text.find("can't allocate memory: you tried to allocate " + std::to_string(n) + " bytes"),
                std::string::npos)
          << text;
    }
  }
  void* p = allocate_bytes(1000);  // still usable
  free_bytes(p, 1000);
}

TEST(Allocator, BlocksFreedByOtherThreads) {
  std::vector<Held> queue;
  std::mutex mutex;
  bool finished = false;
  std::thread consumer([&] {
    std::vector<Held> mine;
    for (bool last = false; !last;) {
      {
        std::lock_guard<std::mutex> lock(mutex);
        mine.swap(queue);
        last = finished;
      }
      for (const Held& h : mine) {
        EXPECT_TRUE(intact(h));
        give(h);
      }
      mine.clear();
    }
  });
  for (int i = 0; i < 50000; ++i) {
    const Held h = take(static_cast<size_t>(i * 37 % 3000), static_cast<unsigned char>(i));
    std::lock_guard<std::mutex> lock(mutex);
    queue.push_back(h);
  }
  {
    std::lock_guard<std::mutex> lock(mutex);
    finished = true;
  }
  consumer.join();
  if (kCaching) { EXPECT_LT(allocator_stats().reserved_bytes, 512 * kMiB); }
}

TEST(Allocator, ManyThreadsThatEnd) {
  const uint64_t before = allocator_stats().allocated_bytes;
  for (int round = 0; round < 30; ++round) {
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([t] {
        std::vector<Held> held;
        for (int i = 0; i < 400; ++i)
          held.push_back(take(static_cast<size_t>((i + t) * 131 % 60000), static_cast<unsigned char>(i)));
        for (const Held& h : held) give(h);
      });
    }
    for (auto& t : threads) t.join();
  }
  EXPECT_EQ(allocator_stats().allocated_bytes, before);
  if (kCaching) { EXPECT_LT(allocator_stats().reserved_bytes, 600 * kMiB); }
}

// Freed by thread_local and static destructors: after the allocator's own state could have gone.
struct Late {
  Held small = take(100, 1), medium = take(20000, 2), large = take(100000, 2);
  ~Late() {
    give(small);
    give(medium);
    give(large);
  }
};
Late at_process_exit;

TEST(Allocator, ThreadLocalDestructors) {
  for (int i = 0; i < 20; ++i) {
    std::thread([] {
      thread_local Late late;
      EXPECT_TRUE(intact(late.small));
    }).join();
  }
  EXPECT_TRUE(intact(at_process_exit.large));
}

}  // namespace
}  // namespace fireseed

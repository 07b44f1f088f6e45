// The caching allocator: per-thread free lists by size class up to 32 KiB, the heap (tensor/heap.h) above.
#include "tensor/allocator.h"

#include <pthread.h>

#include <atomic>
#include <cstdlib>
#include <cstring>

#include "base/error.h"
#include "tensor/heap.h"

#if defined(__SANITIZE_ADDRESS__)
#define FS_PLAIN_MALLOC 1  // so that AddressSanitizer sees every overrun
#else
#define FS_PLAIN_MALLOC 0
#endif

namespace fireseed {
namespace {

// Note [Size classes]
// Classes 0..15 are the multiples of 64 up to 1024; then come four to each doubling up to 32 KiB. Each thread keeps a
// list of free blocks for every class and trades batches with a central list. A block belongs to no thread: it goes
// to the list of whoever frees it. Blocks are cut from slabs that stay with their class; only the heap gives memory
// back.

constexpr size_t kMaxClassed = size_t{32} << 10;
constexpr int kNumSmall = static_cast<int>(kMaxSmall / 64);
constexpr int kNumClasses = kNumSmall + 20;
constexpr int64_t kSyncBytes = 64 << 10;  // a thread reports to the statistics when it is off by this much
constexpr uint32_t kSyncCalls = 4096;

inline int class_of(size_t bytes) {
  if (bytes <= kMaxSmall) return bytes == 0 ? 0 : static_cast<int>((bytes - 1) >> 6);
  const int shift = 63 - __builtin_clzll(bytes - 1);  // 2^shift < bytes <= 2^(shift + 1)
  const int quarter = static_cast<int>(((bytes - 1) >> (shift - 2)) & 3);
  return kNumSmall + (shift - 10) * 4 + quarter;
}
constexpr size_t class_size(int c) {
  if (c < kNumSmall) return static_cast<size_t>(c + 1) * 64;
  const int shift = 10 + (c - kNumSmall) / 4, quarter = (c - kNumSmall) % 4;
  return (size_t{1} << shift) + static_cast<size_t>(quarter + 1) * (size_t{1} << (shift - 2));
}
static_assert(class_size(kNumClasses - 1) == kMaxClassed);

// Blocks traded with the central list at once.
constexpr uint32_t batch_of(int c) {
  const size_t n = (size_t{64} << 10) / class_size(c);
  return static_cast<uint32_t>(n < 4 ? 4 : n > 64 ? 64 : n);
}

struct FreeBlock { FreeBlock* next; };

struct Batches { uint32_t n[kNumClasses]; };
constexpr Batches kBatch = [] {
  Batches b{};
  for (int c = 0; c < kNumClasses; ++c) b.n[c] = batch_of(c);
  return b;
}();

struct ThreadCache {
  struct List {
    FreeBlock* head;
    uint32_t count;
  } lists[kNumClasses];
  int64_t bytes;   // not yet in `stats`
  uint32_t calls;  // not yet in `stats`
};

// All of this is constant-initialised and trivially destructible: it works before main and after exit.
struct Central {
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  FreeBlock* lists[kNumClasses] = {};
  char* slab[kNumClasses] = {};  // the uncut rest of the newest slab
  char* slab_end[kNumClasses] = {};
  pthread_key_t key = 0;
  bool ready = false;
};
Central central;

struct {
  std::atomic<int64_t> allocated{0}, peak{0};
  std::atomic<uint64_t> calls{0};
} stats;

// One pointer of static TLS: a plain load instead of a call of __tls_get_addr.
[[gnu::tls_model("initial-exec")]] constinit thread_local ThreadCache* cache = nullptr;

void report(int64_t bytes, uint64_t calls) {
  const int64_t now = stats.allocated.fetch_add(bytes, std::memory_order_relaxed) + bytes;
  int64_t peak = stats.peak.load(std::memory_order_relaxed);
  while (now > peak && !stats.peak.compare_exchange_weak(peak, now, std::memory_order_relaxed)) {}
  if (calls > 0) stats.calls.fetch_add(calls, std::memory_order_relaxed);
}

void report(ThreadCache* t) {
  report(t->bytes, t->calls);
  t->bytes = 0;
  t->calls = 0;
}

void before_fork() {
  pthread_mutex_lock(&central.mutex);
  detail::heap_lock();
}
void after_fork() {
  detail::heap_unlock();
  pthread_mutex_unlock(&central.mutex);
}

// Gives `n` blocks of the thread's list to the central one.
void give_back(ThreadCache* t, int c, uint32_t n) {
  auto& list = t->lists[c];
  FreeBlock* const first = list.head;
  FreeBlock* last = first;
  for (uint32_t i = 1; i < n; ++i) last = last->next;
  list.head = last->next;
  list.count -= n;
  pthread_mutex_lock(&central.mutex);
  last->next = central.lists[c];
  central.lists[c] = first;
  pthread_mutex_unlock(&central.mutex);
}

void flush(ThreadCache* t) {
  for (int c = 0; c < kNumClasses; ++c) {
    if (t->lists[c].count > 0) give_back(t, c, t->lists[c].count);
  }
  report(t);
}

void at_thread_exit(void* p) {
  auto* t = static_cast<ThreadCache*>(p);
  flush(t);
  cache = nullptr;  // a later free on this thread makes a new one, and the key calls us again
  std::free(t);
}

[[gnu::cold, gnu::noinline]] ThreadCache* make_cache() {
  pthread_mutex_lock(&central.mutex);
  if (!central.ready) {
    central.ready = true;
    pthread_key_create(&central.key, at_thread_exit);
    pthread_atfork(before_fork, after_fork, after_fork);
  }
  pthread_mutex_unlock(&central.mutex);
  auto* t = static_cast<ThreadCache*>(std::calloc(1, sizeof(ThreadCache)));
  if (t == nullptr) detail::fail_out_of_memory(sizeof(ThreadCache), "The system refused.");
  pthread_setspecific(central.key, t);
  cache = t;
  return t;
}

// Fills the thread's empty list of class `c` and returns one block more.
[[gnu::noinline]] void* refill(ThreadCache* t, int c) {
  const uint32_t batch = kBatch.n[c];
  const size_t size = class_size(c);
  FreeBlock* head = nullptr;
  uint32_t count = 0;
  pthread_mutex_lock(&central.mutex);
  while (count < batch && central.lists[c] != nullptr) {
    FreeBlock* b = central.lists[c];
    central.lists[c] = b->next;
    b->next = head;
    head = b;
    ++count;
  }
  if (count == 0) {
    if (static_cast<size_t>(central.slab_end[c] - central.slab[c]) < size) {
      size_t bytes = 2 * batch * size;
      if (bytes < size_t{16} << 10) bytes = size_t{16} << 10;
      try {
        central.slab[c] = static_cast<char*>(detail::heap_allocate(bytes));
      } catch (...) {
        pthread_mutex_unlock(&central.mutex);
        throw;
      }
      central.slab_end[c] = central.slab[c] + bytes;
    }
    char*& at = central.slab[c];
    FreeBlock** tail = &head;
    for (; count < batch && static_cast<size_t>(central.slab_end[c] - at) >= size; ++count, at += size) {
      auto* b = reinterpret_cast<FreeBlock*>(at);  // in order of address
      *tail = b;
      tail = &b->next;
    }
    *tail = nullptr;
  }
  pthread_mutex_unlock(&central.mutex);
  t->lists[c].head = head->next;
  t->lists[c].count = count - 1;
  return head;
}

inline void* allocate_class(ThreadCache* t, int c) {
  auto& list = t->lists[c];
  FreeBlock* const b = list.head;
  if (__builtin_expect(b == nullptr, 0)) return refill(t, c);
  list.head = b->next;
  --list.count;
  return b;
}

inline void free_class(ThreadCache* t, int c, void* p) {
  auto& list = t->lists[c];
  auto* b = static_cast<FreeBlock*>(p);
  b->next = list.head;
  list.head = b;
  if (__builtin_expect(++list.count > 2 * kBatch.n[c], 0)) give_back(t, c, kBatch.n[c]);
}

inline ThreadCache* this_cache() {
  ThreadCache* const t = cache;
  return __builtin_expect(t != nullptr, 1) ? t : make_cache();
}

inline void count(ThreadCache* t, int64_t bytes, uint32_t calls) {
  t->bytes += bytes;
  t->calls += calls;
  if (__builtin_expect(t->bytes > kSyncBytes || t->bytes < -kSyncBytes || t->calls > kSyncCalls, 0)) report(t);
}

#if FS_PLAIN_MALLOC
void* plain_allocate(size_t bytes) {
  detail::check_available(bytes, 0);
  void* p = nullptr;
  if (posix_memalign(&p, 64, bytes > 0 ? bytes : 1) != 0) detail::fail_out_of_memory(bytes, "The system refused.");
  return p;
}
#endif

}  // namespace

void* allocate_small(size_t bytes) {
#if FS_PLAIN_MALLOC
  return plain_allocate(bytes);
#else
  return allocate_class(this_cache(), bytes == 0 ? 0 : static_cast<int>((bytes - 1) >> 6));
#endif
}

void free_small(void* p, size_t bytes) noexcept {
#if FS_PLAIN_MALLOC
  (void)bytes;
  std::free(p);
#else
  free_class(this_cache(), bytes == 0 ? 0 : static_cast<int>((bytes - 1) >> 6), p);
#endif
}

void* allocate_bytes(size_t bytes) {
#if FS_PLAIN_MALLOC
  void* const p = plain_allocate(bytes);
  report(static_cast<int64_t>(bytes), 1);
  return p;
#else
  if (bytes <= kMaxClassed) {
    ThreadCache* const t = this_cache();
    void* const p = allocate_class(t, class_of(bytes));
    count(t, static_cast<int64_t>(bytes), 1);
    return p;
  }
  void* const p = detail::heap_allocate(bytes);
  count(this_cache(), static_cast<int64_t>(bytes), 1);
  return p;
#endif
}

void free_bytes(void* p, size_t bytes) noexcept {
  if (p == nullptr) return;
#if FS_PLAIN_MALLOC
  std::free(p);
  report(-static_cast<int64_t>(bytes), 0);
#else
  ThreadCache* const t = this_cache();
  if (bytes <= kMaxClassed) {
    free_class(t, class_of(bytes), p);
  } else {
    detail::heap_free(p);
  }
  count(t, -static_cast<int64_t>(bytes), 0);
#endif
}

AllocatorStats allocator_stats() {
  if (cache != nullptr) report(cache);
  AllocatorStats s;
  const int64_t allocated = stats.allocated.load(std::memory_order_relaxed);
  s.allocated_bytes = static_cast<uint64_t>(allocated > 0 ? allocated : 0);
  s.max_allocated_bytes = static_cast<uint64_t>(stats.peak.load(std::memory_order_relaxed));
  s.num_allocations = stats.calls.load(std::memory_order_relaxed);
  s.reserved_bytes = FS_PLAIN_MALLOC ? s.allocated_bytes : detail::heap_reserved();
  return s;
}

void reset_peak_memory_stats() {
  if (cache != nullptr) report(cache);
  stats.peak.store(stats.allocated.load(std::memory_order_relaxed), std::memory_order_relaxed);
}

void empty_cache() { detail::heap_trim(); }

}  // namespace fireseed

// Segments, splitting and merging of the heap behind the caching allocator.
#include "tensor/heap.h"

#include <pthread.h>
#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>

#include "base/error.h"

namespace fireseed::detail {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kMinSegment = size_t{8} << 20;
constexpr size_t kMaxSegment = size_t{64} << 20;  // of shared segments; a larger request gets one of its own
constexpr size_t kHeader = 64;
constexpr size_t kMinBlock = 1024;  // header included; also what sizes are multiples of
constexpr int kMinShift = 10;
constexpr int kMaxShift = 62;
constexpr int kSubShift = 5;
constexpr int kSubs = 1 << kSubShift;
constexpr size_t kMaxRequest = size_t{1} << 61;
constexpr size_t kMinCache = size_t{256} << 20;
constexpr uint64_t kWindow = 32768;  // allocations over which the recent peak is taken

// In front of every block; prev and next are the neighbours in memory, null at the segment's ends.
struct Block {
  size_t size;  // with this header
  Block* prev;
  Block* next;
  Block* list_prev;  // in its list of free blocks
  Block* list_next;
  uint64_t free;
};
static_assert(sizeof(Block) <= kHeader);

struct Heap {
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  uint64_t level_bits = 0;  // levels that have a free block
  uint32_t sub_bits[kMaxShift - kMinShift + 1] = {};
  Block* lists[kMaxShift - kMinShift + 1][kSubs] = {};
  size_t reserved = 0;                    // mapped
  size_t used = 0;                        // in blocks handed out
  size_t window_peak = 0, last_peak = 0;  // most used in this window and in the one before
  uint64_t calls = 0;
  size_t cache_limit = 0;  // of FIRESEED_CPU_CACHE_MB
  bool configured = false, has_limit = false;
};
Heap heap;  // trivially destructible: blocks may be freed by static destructors

struct Lock {
  Lock() { heap_lock(); }
  ~Lock() { heap_unlock(); }
};

size_t round_up(size_t x, size_t to) { return (x + to - 1) / to * to; }

struct Bin { int level, sub; };
// The list whose range holds `size`.
Bin bin_of(size_t size) {
  const int shift = 63 - __builtin_clzll(size);
  return {shift - kMinShift, static_cast<int>((size >> (shift - kSubShift)) & (kSubs - 1))};
}

// A block size for a request: with header, a multiple of kMinBlock and the lower bound of a list.
size_t block_size(size_t bytes) {
  const size_t size = bytes + kHeader;
  const int shift = 63 - __builtin_clzll(size);
  const size_t step = shift - kSubShift > kMinShift ? size_t{1} << (shift - kSubShift) : kMinBlock;
  return round_up(size, step);
}

void insert(Block* b) {
  const Bin bin = bin_of(b->size);
  Block*& head = heap.lists[bin.level][bin.sub];
  b->free = 1;
  b->list_prev = nullptr;
  b->list_next = head;
  if (head != nullptr) head->list_prev = b;
  head = b;
  heap.sub_bits[bin.level] |= 1u << bin.sub;
  heap.level_bits |= uint64_t{1} << bin.level;
}

void remove(Block* b) {
  const Bin bin = bin_of(b->size);
  b->free = 0;
  if (b->list_next != nullptr) b->list_next->list_prev = b->list_prev;
  if (b->list_prev != nullptr) {
    b->list_prev->list_next = b->list_next;
    return;
  }
  heap.lists[bin.level][bin.sub] = b->list_next;
  if (b->list_next != nullptr) return;
  heap.sub_bits[bin.level] &= ~(1u << bin.sub);
  if (heap.sub_bits[bin.level] == 0) heap.level_bits &= ~(uint64_t{1} << bin.level);
}

// A free block of at least `size` (a list's lower bound), or null.
Block* find(size_t size) {
  Bin bin = bin_of(size);
  uint32_t subs = heap.sub_bits[bin.level] & (~0u << bin.sub);
  if (subs == 0) {
    const uint64_t levels = heap.level_bits & (~uint64_t{0} << (bin.level + 1));
    if (levels == 0) return nullptr;
    bin.level = __builtin_ctzll(levels);
    subs = heap.sub_bits[bin.level];
  }
  return heap.lists[bin.level][__builtin_ctz(subs)];
}

// Maps a 2 MiB-aligned segment of at least `size` bytes as one free block; null where the system refuses.
Block* map_segment(size_t size) {
  size_t want = heap.reserved / 4;
  want = want < kMinSegment ? kMinSegment : want > kMaxSegment ? kMaxSegment : want;
  size = round_up(size > want ? size : want, kHugePage);
  void* raw =
      mmap(nullptr, size + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (raw == MAP_FAILED) return nullptr;
  char* const base = static_cast<char*>(raw);
  char* const start = reinterpret_cast<char*>(round_up(reinterpret_cast<uintptr_t>(base), kHugePage));
  const size_t before = static_cast<size_t>(start - base), after = kHugePage - before;
  if (before > 0) munmap(base, before);
  if (after > 0) munmap(start + size, after);
#ifdef MADV_HUGEPAGE
  madvise(start, size, MADV_HUGEPAGE);
#endif
  heap.reserved += size;
  Block* b = new (start) Block{size, nullptr, nullptr, nullptr, nullptr, 0};
  insert(b);
  return b;
}

bool whole_segment(const Block* b) { return b->prev == nullptr && b->next == nullptr; }

void unmap_segment(Block* b) {
  remove(b);
  heap.reserved -= b->size;
  munmap(b, b->size);
}

void unmap_free_segments() {
  for (auto& level : heap.lists) {
    for (Block* b : level) {
      while (b != nullptr) {
        Block* const next = b->list_next;
        if (whole_segment(b)) unmap_segment(b);
        b = next;
      }
    }
  }
}

// What may be mapped beyond the blocks in use. By default the mapped memory stays below what was used at once
// recently: a training step finds the pages of the step before, and a peak long past is forgotten.
size_t cache_limit() {
  if (heap.has_limit) return heap.cache_limit;
  const size_t peak = heap.window_peak > heap.last_peak ? heap.window_peak : heap.last_peak;
  const size_t below_peak = peak > heap.used ? peak - heap.used : 0;
  return below_peak > kMinCache ? below_peak : kMinCache;
}

void configure() {
  heap.configured = true;
  if (const char* text = std::getenv("FIRESEED_CPU_CACHE_MB"); text != nullptr && *text != 0) {
    char* end;
    const double megabytes = std::strtod(text, &end);
    if (end != text && megabytes >= 0 && megabytes < 1e12) {
      heap.has_limit = true;
      heap.cache_limit = static_cast<size_t>(megabytes * (1 << 20));
    }
  }
}

std::string read_file(const std::string& path) {
  std::string text;
  if (FILE* f = std::fopen(path.c_str(), "re")) {
    char buffer[4096];
    size_t got;
    while ((got = std::fread(buffer, 1, sizeof buffer, f)) > 0) text.append(buffer, got);
    std::fclose(f);
  }
  return text;
}

// The number after `key` at a line's start in `text`, or `otherwise`.
double value_after(const std::string& text, const char* key, double otherwise) {
  const std::string lined = "\n" + text;
  const size_t at = lined.find("\n" + std::string(key));
  return at == std::string::npos ? otherwise : std::atof(lined.c_str() + at + 1 + std::strlen(key));
}

// Bytes that this process could still take: the machine's, or less where a control group limits it.
double available_bytes() {
  const std::string memory = read_file("/proc/meminfo");
  double available = (value_after(memory, "MemAvailable:", 1e15) + value_after(memory, "SwapFree:", 0)) * 1024;
  const std::string groups = read_file("/proc/self/cgroup");
  size_t at = 0;
  while (at < groups.size()) {  // "0::/a/b" (v2) or "9:memory:/a/b" (v1)
    size_t end = groups.find('\n', at);
    if (end == std::string::npos) end = groups.size();
    const std::string line = groups.substr(at, end - at);
    at = end + 1;
    const size_t c1 = line.find(':'), c2 = c1 == std::string::npos ? c1 : line.find(':', c1 + 1);
    if (c2 == std::string::npos) continue;
    const std::string controller = line.substr(c1 + 1, c2 - c1 - 1);
    if (!controller.empty() && controller != "memory") continue;
    const bool v2 = controller.empty();
    std::string path = line.substr(c2 + 1);
    for (;;) {
      if (path == "/") path.clear();
      const std::string dir = (v2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory") + path;
      const std::string limit = read_file(dir + (v2 ? "/memory.max" : "/memory.limit_in_bytes"));
      if (!limit.empty() && limit[0] >= '0' && limit[0] <= '9') {
        const double usage = std::atof(read_file(dir + (v2 ? "/memory.current" : "/memory.usage_in_bytes")).c_str());
        const double cached =
            value_after(read_file(dir + "/memory.stat"), v2 ? "inactive_file " : "total_inactive_file ", 0);
        const double left = std::atof(limit.c_str()) - usage + cached;
        if (left < available) available = left;
      }
      if (path.empty()) break;
      path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
    }
  }
  return available;
}

}  // namespace

void heap_lock() noexcept { pthread_mutex_lock(&heap.mutex); }
void heap_unlock() noexcept { pthread_mutex_unlock(&heap.mutex); }

void fail_out_of_memory(size_t bytes, const char* why) {
  fail(ErrorKind::kMemory, "DefaultCPUAllocator: can't allocate memory: you tried to allocate ", bytes, " bytes. ",
       why);
}

void check_available(size_t bytes, size_t reusable) {
  if (bytes > kMaxRequest) fail_out_of_memory(bytes, "No machine has that much; check the sizes of the tensor.");
  if (bytes < size_t{1} << 30) return;
  const double available = available_bytes() + static_cast<double>(reusable);
  if (static_cast<double>(bytes) > available) {
    const std::string why = "Only about " + std::to_string(static_cast<long long>(available < 0 ? 0 : available)) +
                            " bytes are available; use smaller batches or tensors, or free some.";
    fail_out_of_memory(bytes, why.c_str());
  }
}

void* heap_allocate(size_t bytes) {
  if (bytes > kMaxRequest) check_available(bytes, 0);
  const size_t size = block_size(bytes);
  bool refused = false;
  Block* b;
  {
    Lock lock;
    if (!heap.configured) configure();
    b = find(size);
  }
  if (b == nullptr && bytes >= size_t{1} << 30) {
    Lock lock;  // what is free goes back first where it cannot serve anyway
    unmap_free_segments();
  }
  if (b == nullptr) check_available(bytes, 0);
  {
    Lock lock;
    b = find(size);
    if (b == nullptr) b = map_segment(size);
    if (b == nullptr) {
      unmap_free_segments();
      b = map_segment(size);
    }
    refused = b == nullptr;
    if (!refused) {
      remove(b);
      if (b->size - size >= kMinBlock) {
        Block* rest = new (reinterpret_cast<char*>(b) + size) Block{b->size - size, b, b->next, nullptr, nullptr, 0};
        if (b->next != nullptr) b->next->prev = rest;
        b->next = rest;
        b->size = size;
        insert(rest);
      }
      heap.used += b->size;
      if (heap.used > heap.window_peak) heap.window_peak = heap.used;
      if (++heap.calls % kWindow == 0) {
        heap.last_peak = heap.window_peak;
        heap.window_peak = heap.used;
      }
    }
  }
  if (refused) fail_out_of_memory(bytes, "The system refused; use smaller batches or tensors, or free some.");
  return reinterpret_cast<char*>(b) + kHeader;
}

void heap_free(void* p) noexcept {
  Block* b = reinterpret_cast<Block*>(static_cast<char*>(p) - kHeader);
  Lock lock;
  heap.used -= b->size;
  if (Block* next = b->next; next != nullptr && next->free) {
    remove(next);
    b->size += next->size;
    b->next = next->next;
    if (b->next != nullptr) b->next->prev = b;
  }
  if (Block* prev = b->prev; prev != nullptr && prev->free) {
    remove(prev);
    prev->size += b->size;
    prev->next = b->next;
    if (prev->next != nullptr) prev->next->prev = prev;
    b = prev;
  }
  insert(b);
  if (whole_segment(b) && heap.reserved - heap.used > cache_limit()) unmap_segment(b);
}

void heap_trim() noexcept {
  Lock lock;
  unmap_free_segments();
  for (auto& level : heap.lists) {
    for (Block* b : level) {
      for (; b != nullptr; b = b->list_next) {
        const uintptr_t begin = round_up(reinterpret_cast<uintptr_t>(b) + kHeader, kHugePage);
        const uintptr_t end = (reinterpret_cast<uintptr_t>(b) + b->size) / kHugePage * kHugePage;
        if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
      }
    }
  }
}

uint64_t heap_reserved() {
  Lock lock;
  return heap.reserved;
}

}  // namespace fireseed::detail

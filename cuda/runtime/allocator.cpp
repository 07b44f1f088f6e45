// The caching allocator of device memory: Note [Device memory].
#include "runtime/allocator.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <iomanip>
#include <mutex>
#include <set>
#include <sstream>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "runtime/capture.h"
#include "runtime/check.h"
#include "runtime/device.h"
#include "runtime/stream.h"

namespace fireseed::cuda {
namespace {

constexpr size_t kMiB = size_t{1} << 20;
constexpr size_t kRound = 512;   // sizes are multiples of this
constexpr size_t kSmall = kMiB;  // blocks up to this come from small segments
constexpr size_t kSmallSegment = 2 * kMiB;
constexpr size_t kLargeSegment = 32 * kMiB;

struct Block {
  char* data = nullptr;
  size_t size = 0, asked = 0;
  cudaStream_t stream = nullptr;
  int pool = 0;
  bool small = false, used = false;
  Block *before = nullptr, *after = nullptr;  // neighbours in the segment
  std::vector<cudaStream_t> others;           // record_stream
  std::vector<cudaEvent_t> waiting;           // freed, but these have not passed yet
  // What it is for.
  const char* op = nullptr;
  DType dtype = DType::kUInt8;
  int ndim = 0;
  int64_t sizes[kMaxRank] = {};
};

struct Smaller {
  bool operator()(const Block* a, const Block* b) const {
    if (a->pool != b->pool) return a->pool < b->pool;
    if (a->small != b->small) return a->small < b->small;
    if (a->stream != b->stream) return a->stream < b->stream;
    if (a->size != b->size) return a->size < b->size;
    return a->data < b->data;
  }
};

struct DeviceHeap {
  std::mutex mutex;
  std::set<Block*, Smaller> free_blocks;
  std::unordered_map<void*, Block*> live;
  std::vector<Block*> waiting;
  DeviceMemory stats;
  double fraction = 1.0;
  std::vector<int> released_pools;
};

// Never destroyed: tensors may outlive static objects.
DeviceHeap& heap(int device) {
  static auto* all = new DeviceHeap[kMaxDevices];
  return all[device];
}

thread_local int pool_of[kMaxDevices];  // 0: the common one

bool caching() {
  static const bool on = [] {
    const char* e = std::getenv("FIRESEED_CUDA_CACHE");
    return !(e && !std::strcmp(e, "0"));
  }();
  return on;
}

std::string human(uint64_t bytes) {
  std::ostringstream s;
  s << std::fixed << std::setprecision(2);
  if (bytes >= kMiB * 1024) {
    s << static_cast<double>(bytes) / static_cast<double>(kMiB * 1024) << " GiB";
  } else if (bytes >= kMiB) {
    s << static_cast<double>(bytes) / static_cast<double>(kMiB) << " MiB";
  } else if (bytes >= 1024) {
    s << static_cast<double>(bytes) / 1024 << " KiB";
  } else {
    s << bytes << " bytes";
  }
  return s.str();
}

std::string describe(const char* op, DType dtype, int ndim, const int64_t* sizes) {
  std::ostringstream s;
  if (ndim >= 0 && sizes) s << "for a " << dtype_name(dtype) << " tensor of shape " << Dims(sizes, ndim);
  if (op) s << (ndim >= 0 && sizes ? " " : "") << "made by " << op;
  return s.str();
}

void take(DeviceHeap& h, uint64_t bytes) {
  h.stats.reserved += bytes;
  h.stats.max_reserved = std::max(h.stats.max_reserved, h.stats.reserved);
  ++h.stats.num_segments;
}

// A new segment as one free block, or null where the device has no room.
Block* new_segment(DeviceHeap& h, int device, size_t bytes, bool small, cudaStream_t stream, int pool) {
  if (h.fraction < 1.0 && static_cast<double>(h.stats.reserved + bytes) >
                              h.fraction * static_cast<double>(properties(device).totalGlobalMem))
    return nullptr;
  void* p = nullptr;
  const BesideCapture beside;
  const cudaError_t code = cudaMalloc(&p, bytes);
  if (code == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    return nullptr;
  }
  if (code != cudaSuccess) fail_cuda(code, "cudaMalloc");
  take(h, bytes);
  auto* b = new Block;
  b->data = static_cast<char*>(p);
  b->size = bytes;
  b->small = small;
  b->stream = stream;
  b->pool = pool;
  return b;
}

void insert_merged(DeviceHeap& h, Block* b) {
  auto absorb = [&](Block* other) {  // `other` is free and stands in the set
    h.free_blocks.erase(other);
    if (other == b->before) {
      b->data = other->data;
      b->before = other->before;
      if (b->before) b->before->after = b;
    } else {
      b->after = other->after;
      if (b->after) b->after->before = b;
    }
    b->size += other->size;
    delete other;
  };
  auto mergeable = [&](Block* o) { return o && !o->used && o->waiting.empty(); };
  if (mergeable(b->before)) absorb(b->before);
  if (mergeable(b->after)) absorb(b->after);
  h.free_blocks.insert(b);
}

// Blocks whose other streams have passed become free.
void poll_waiting(DeviceHeap& h) {
  for (size_t i = 0; i < h.waiting.size();) {
    Block* b = h.waiting[i];
    while (!b->waiting.empty()) {
      const cudaError_t code = cudaEventQuery(b->waiting.back());
      if (code == cudaErrorNotReady) break;
      cudaEventDestroy(b->waiting.back());
      b->waiting.pop_back();
    }
    cudaGetLastError();
    if (b->waiting.empty()) {
      h.stats.active -= b->size;
      h.waiting[i] = h.waiting.back();
      h.waiting.pop_back();
      insert_merged(h, b);
    } else {
      ++i;
    }
  }
}

// Gives whole free segments back to the driver.
void trim(DeviceHeap& h) {
  for (auto it = h.free_blocks.begin(); it != h.free_blocks.end();) {
    Block* b = *it;
    const bool whole = !b->before && !b->after;
    const bool kept = b->pool != 0 &&
                      std::find(h.released_pools.begin(), h.released_pools.end(), b->pool) == h.released_pools.end();
    if (!whole || kept) {
      ++it;
      continue;
    }
    it = h.free_blocks.erase(it);
    cudaFree(b->data);
    h.stats.reserved -= b->size;
    --h.stats.num_segments;
    delete b;
  }
}

[[noreturn, gnu::cold]] void fail_out_of_memory(DeviceHeap& h, int device, size_t bytes, const AllocationNote* note) {
  ++h.stats.num_ooms;
  uint64_t free_bytes = 0, total = 0;
  {
    size_t f = 0, t = 0;
    if (cudaMemGetInfo(&f, &t) != cudaSuccess) cudaGetLastError();
    free_bytes = f;
    total = t;
  }
  std::ostringstream s;
  const char* op = note && note->op ? note->op : running_op;
  s << (op ? op : "allocate") << ": CUDA out of memory. Tried to allocate " << human(bytes);
  if (note && note->sizes) s << ' ' << describe(nullptr, note->dtype, note->ndim, note->sizes);
  s << " on cuda:" << device << ", which has " << human(total) << ", " << human(free_bytes) << " of it free; "
    << human(h.stats.allocated) << " are in tensors and " << human(h.stats.reserved - h.stats.allocated)
    << " cached.";
  std::vector<const Block*> largest;
  for (const auto& [p, b] : h.live) largest.push_back(b);
  const size_t n = std::min<size_t>(10, largest.size());
  std::partial_sort(largest.begin(), largest.begin() + static_cast<ptrdiff_t>(n), largest.end(),
                    [](const Block* a, const Block* b) { return a->asked > b->asked; });
  if (n) s << " The largest live tensors:";
  for (size_t i = 0; i < n; ++i)
    s << "\n  " << human(largest[i]->asked) << ' '
      << describe(largest[i]->op, largest[i]->dtype, largest[i]->ndim,
                  largest[i]->ndim < 0 ? nullptr : largest[i]->sizes);
  s << "\nSmaller batches, checkpointing, autocast, or freeing tensors (del, no_grad) need less.";
  throw DeviceMemoryError(s.str());
}

Block* find_free(DeviceHeap& h, size_t size, bool small, cudaStream_t stream, int pool) {
  Block key;
  key.size = size;
  key.small = small;
  key.stream = stream;
  key.pool = pool;
  auto it = h.free_blocks.lower_bound(&key);
  if (it == h.free_blocks.end()) return nullptr;
  Block* b = *it;
  if (b->pool != pool || b->small != small || b->stream != stream) return nullptr;
  h.free_blocks.erase(it);
  return b;
}

void split(DeviceHeap& h, Block* b, size_t size) {
  const size_t rest = b->size - size;
  if (rest < (b->small ? kRound : kSmall)) return;
  auto* r = new Block;
  r->data = b->data + size;
  r->size = rest;
  r->small = b->small;
  r->stream = b->stream;
  r->pool = b->pool;
  r->before = b;
  r->after = b->after;
  if (r->after) r->after->before = r;
  b->after = r;
  b->size = size;
  h.free_blocks.insert(r);
}

void destroy_uncached(DeviceHeap& h, Block* b) {
  cudaFree(b->data);
  h.stats.reserved -= b->size;
  --h.stats.num_segments;
  delete b;
}

}  // namespace

void* allocate(int device, size_t bytes, const AllocationNote* note) {
  const OnDevice on(device);
  const cudaStream_t stream = current_stream(device);
  DeviceHeap& h = heap(device);
  const std::lock_guard lock(h.mutex);
  const size_t size = (std::max<size_t>(bytes, 1) + kRound - 1) / kRound * kRound;
  if (size < bytes || bytes >= (size_t{1} << 62)) fail_out_of_memory(h, device, bytes, note);
  const bool small = size <= kSmall;
  const int pool = pool_of[device];
  if (!h.waiting.empty() && pool == 0) poll_waiting(h);
  Block* b = nullptr;
  if (caching()) {
    b = find_free(h, size, small, stream, pool);
    if (!b) {
      const size_t segment = small                  ? kSmallSegment
                             : size < kLargeSegment ? kLargeSegment
                                                    : (size + 2 * kMiB - 1) / (2 * kMiB) * (2 * kMiB);
      b = new_segment(h, device, segment, small, stream, pool);
      if (!b) {  // once more without the cache, and, if need be, with a segment of just this size
        ++h.stats.num_retries;
        if (pool == 0) {
          cudaStreamSynchronize(stream);
          poll_waiting(h);
          trim(h);
        }
        b = find_free(h, size, small, stream, pool);
        if (!b) b = new_segment(h, device, segment, small, stream, pool);
        if (!b && size < segment) b = new_segment(h, device, size, small, stream, pool);
      }
    }
    if (b) split(h, b, size);
  } else {
    b = new_segment(h, device, std::max<size_t>(bytes, 1), false, stream, 0);
  }
  if (!b) fail_out_of_memory(h, device, bytes, note);
  b->used = true;
  b->asked = bytes;
  b->op = note ? note->op : running_op;
  b->ndim = note ? note->ndim : -1;
  if (note) {
    b->dtype = note->dtype;
    if (note->ndim > 0) std::memcpy(b->sizes, note->sizes, static_cast<size_t>(note->ndim) * sizeof(int64_t));
  }
  h.live.emplace(b->data, b);
  DeviceMemory& m = h.stats;
  m.allocated += b->size;
  m.max_allocated = std::max(m.max_allocated, m.allocated);
  m.active += b->size;
  ++m.num_allocations;
  return b->data;
}

void free(int device, void* p) noexcept {
  DeviceHeap& h = heap(device);
  const std::lock_guard lock(h.mutex);
  const auto found = h.live.find(p);
  if (found == h.live.end()) return;
  Block* b = found->second;
  h.live.erase(found);
  h.stats.allocated -= b->size;
  ++h.stats.num_frees;
  b->used = false;
  if (!caching()) {
    h.stats.active -= b->size;
    return destroy_uncached(h, b);  // cudaFree waits for the device
  }
  if (!b->others.empty()) {
    int before = device;
    cudaGetDevice(&before);
    if (before != device) cudaSetDevice(device);  // events belong to the device that is current
    for (cudaStream_t s : b->others) {
      cudaEvent_t e = nullptr;
      if (cudaEventCreateWithFlags(&e, cudaEventDisableTiming) == cudaSuccess &&
          cudaEventRecord(e, s) == cudaSuccess) {
        b->waiting.push_back(e);
      } else {
        if (e) cudaEventDestroy(e);
        cudaGetLastError();
        cudaStreamSynchronize(s);
      }
    }
    b->others.clear();
    if (before != device) cudaSetDevice(before);
  }
  if (!b->waiting.empty()) {
    h.waiting.push_back(b);
    return;
  }
  h.stats.active -= b->size;
  insert_merged(h, b);
}

void record_stream(void* p, cudaStream_t stream) {
  for (int device = 0; device < device_count(); ++device) {
    DeviceHeap& h = heap(device);
    const std::lock_guard lock(h.mutex);
    const auto found = h.live.find(p);
    if (found == h.live.end()) continue;
    Block* b = found->second;
    if (stream != b->stream && std::find(b->others.begin(), b->others.end(), stream) == b->others.end())
      b->others.push_back(stream);
    return;
  }
}

void empty_cache() {
  for (int device = 0; device < device_count(); ++device) {
    DeviceHeap& h = heap(device);
    const std::lock_guard lock(h.mutex);
    if (h.stats.reserved == 0) continue;
    const OnDevice on(device);
    if (!h.waiting.empty()) {
      FS_CUDA(cudaDeviceSynchronize());
      poll_waiting(h);
    }
    trim(h);
  }
}

void memory(int device, DeviceMemory& m) {
  properties(device);  // checks the index
  DeviceHeap& h = heap(device);
  const std::lock_guard lock(h.mutex);
  m = h.stats;
  m.largest_free = 0;
  for (const Block* b : h.free_blocks) m.largest_free = std::max<uint64_t>(m.largest_free, b->size);
}

void reset_peak_memory(int device) {
  properties(device);
  DeviceHeap& h = heap(device);
  const std::lock_guard lock(h.mutex);
  h.stats.max_allocated = h.stats.allocated;
  h.stats.max_reserved = h.stats.reserved;
}

void set_memory_fraction(int device, double fraction) {
  FS_CHECK_VALUE(fraction >= 0 && fraction <= 1,
                 "set_per_process_memory_fraction: expected a fraction in [0, 1], got ", fraction);
  properties(device);
  DeviceHeap& h = heap(device);
  const std::lock_guard lock(h.mutex);
  h.fraction = fraction;
}

void begin_pool(int device, int pool) { pool_of[device] = pool; }
void end_pool(int device) { pool_of[device] = 0; }
void release_pool(int device, int pool) {
  DeviceHeap& h = heap(device);
  const std::lock_guard lock(h.mutex);
  h.released_pools.push_back(pool);
}

Scratch::Scratch(size_t bytes) : device_(current_device()) { p_ = allocate(device_, bytes, nullptr); }
Scratch::~Scratch() { free(device_, p_); }

}  // namespace fireseed::cuda

// parallel_for over a fork-safe pool: chunks are claimed from an atomic counter, so a late helper stalls nobody.
#pragma once

#include <cstdint>

namespace fireseed {

// Threads used by parallel_for, the caller included. Default: FIRESEED_NUM_THREADS, OMP_NUM_THREADS, else the
// processors this process may use (affinity and cgroup quota).
int num_threads();
void set_num_threads(int n);

namespace detail {
using ChunkFn = void (*)(void* context, int64_t begin, int64_t end);
void parallel_run(int64_t n, int64_t chunk, ChunkFn fn, void* context);
}  // namespace detail

// Calls f(begin, end) on disjoint chunks of [0, n), each `chunk` long (the last may be shorter), on any thread.
// The cut depends on n and chunk alone, never on the number of threads: results are the same bits for any count.
// One chunk (n <= chunk), one thread or a nested call runs on the caller. f must not throw.
template <class F>
void parallel_for(int64_t n, int64_t chunk, F&& f) {
  if (n <= 0) return;
  if (n <= chunk) {
    f(int64_t{0}, n);
    return;
  }
  auto* context = &f;
  detail::parallel_run(
      n, chunk, [](void* c, int64_t b, int64_t e) { (*static_cast<decltype(context)>(c))(b, e); },
      const_cast<void*>(static_cast<const void*>(context)));
}

}  // namespace fireseed

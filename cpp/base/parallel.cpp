// The thread pool behind parallel_for: one shared job slot, helpers that spin briefly and then park on a futex.
#include "base/parallel.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "base/error.h"

namespace fireseed {
namespace {

// Note [Thread pool]
// There is one job slot. A caller takes it with `busy` (who finds it taken runs alone), cuts the job into lanes, each
// a contiguous run of chunks, and publishes a lane by setting its counter of chunks that nobody has claimed. Whoever
// decrements a counter from r > 0 owns chunk end - r. The slot cannot be reused before that chunk is reported as
// finished, so the lane's fields are stable for the owner and a late helper cannot hold a stale job: it either owns a
// chunk of the present job or nothing. Each thread empties its own lane first and then takes from the others; the
// caller works like everyone else and afterwards waits only for chunks that someone else has claimed.
//
// Cores exchange cache lines slowly (0.1 to 0.5 us each), so there are few of them: all that a helper needs to know
// is in its lane's line, and while all are busy no line goes to and fro. And in op after op a thread meets the same
// part of the tensors, which its caches still hold.
//
// Where another process wants the processors too, a helper does more harm than good: when it loses its processor
// while it owns a chunk, the caller waits for milliseconds, and while it spins it takes the caller's share. So caller
// and helpers add up how much of the time they were kept from running; where that is a good part a helper rests, and
// longer where it happens again soon after.
//
// All state is trivially destructible and helpers are detached, so nothing happens at exit. After fork the child
// starts without helpers and creates new ones when it first needs them.

constexpr int kMaxThreads = 256;
constexpr int kMaxLanes = 8;  // with more threads several share one
// A helper looks for work this long before it parks: waking it costs 10 to 50 us.
constexpr int64_t kSpinNanoseconds = 200'000;
constexpr int64_t kYieldAfterPauses = 20'000;  // a caller waits this long for claimed chunks before it yields
// A thread looks so often whether it was kept from running, and judges after so much time awake; sooner where a
// helper rested a short time ago.
constexpr int64_t kLookNanoseconds = 1'000'000, kJudgeNanoseconds = 50'000'000, kSoonNanoseconds = 10'000'000;
constexpr int64_t kLostShare = 4;  // a quarter of it lost: the processors are crowded
constexpr int64_t kFirstRest = 160'000'000, kLongestRest = 640'000'000;  // of a helper
constexpr int64_t kRecently = 1'000'000'000;

inline void cpu_pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

int64_t clock_nanoseconds(clockid_t clock) {
  timespec t;
  clock_gettime(clock, &t);
  return static_cast<int64_t>(t.tv_sec) * 1'000'000'000 + t.tv_nsec;
}
int64_t now_nanoseconds() { return clock_nanoseconds(CLOCK_MONOTONIC); }

// One line (of a pair that is prefetched together).
struct alignas(128) Lane {
  std::atomic<int64_t> remaining{0};  // chunks nobody has claimed; <= 0: none
  std::atomic<int64_t> finished{0};   // chunks done
  detail::ChunkFn fn = nullptr;
  void* context = nullptr;
  int64_t n = 0;
  int64_t chunk = 0;
  int64_t end = 0;    // the chunk after the lane's last
  int64_t count = 0;  // its chunks

  bool has_work(std::memory_order order) const { return remaining.load(order) > 0; }
};

struct Pool {
  Lane lanes[kMaxLanes];
  alignas(64) std::atomic<bool> busy{false};
  std::atomic<int> helpers{0};               // helpers that exist
  alignas(64) std::atomic<int> sleepers{0};  // helpers parked or about to
  std::atomic<uint32_t> wake{0};             // futex word; changes with every wake-up call
  alignas(64) std::atomic<int> threads{0};   // the setting; 0: not decided
  std::atomic<int> spin{1};                  // 0 where there are more threads than processors
  std::atomic<bool> atfork{false};
  std::atomic<int64_t> rested{INT64_MIN / 2};  // when a helper's rest last ended
  std::atomic<bool> crowded{false};            // a caller was interrupted: somebody else wants the processors

  // Cold part, under `mutex`.
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  bool alive[kMaxThreads] = {};  // alive[i]: helper i runs; it leaves when i + 1 >= threads
};
Pool pool;

long futex(std::atomic<uint32_t>* word, int op, uint32_t value) {
  return syscall(SYS_futex, reinterpret_cast<uint32_t*>(word), op | FUTEX_PRIVATE_FLAG, value, nullptr, nullptr, 0);
}

// How much of its time the calling thread is kept from running by others.
class Watch {
 public:
  bool due() const { return now_nanoseconds() - looked_ >= kLookNanoseconds; }
  // Takes in the time since the last look, unless the thread slept in it. True: much of the time of late was lost.
  bool look() {
    rusage use;
    if (getrusage(RUSAGE_THREAD, &use) != 0) return false;
    const int64_t now = now_nanoseconds(), ran = clock_nanoseconds(CLOCK_THREAD_CPUTIME_ID);
    if (use.ru_nvcsw == slept_) {
      awake_ += now - looked_;
      lost_ += (now - looked_) - (ran - ran_);
    }
    looked_ = now;
    ran_ = ran;
    slept_ = use.ru_nvcsw;
    const bool soon = now - pool.rested.load(std::memory_order_relaxed) < kRecently;
    if (awake_ < (soon ? kSoonNanoseconds : kJudgeNanoseconds)) return false;
    const bool crowded = lost_ >= awake_ / kLostShare;
    awake_ = lost_ = 0;
    return crowded;
  }

 private:
  int64_t looked_ = 0, ran_ = 0, awake_ = 0, lost_ = 0;
  long slept_ = -1;
};

// When a helper rests.
class Rests {
 public:
  bool due() const { return watch_.due(); }
  void look() { crowded_ |= watch_.look(); }
  // Called while the helper owns nothing.
  void rest_where_crowded() {
    if (watch_.due()) look();
    if (!crowded_ && !pool.crowded.load(std::memory_order_relaxed)) return;
    crowded_ = false;
    pool.crowded.store(false, std::memory_order_relaxed);
    length_ = now_nanoseconds() - ended_ > 2 * length_ ? kFirstRest : length_ < kLongestRest ? 2 * length_ : length_;
    const timespec t = {length_ / 1'000'000'000, length_ % 1'000'000'000};
    nanosleep(&t, nullptr);
    ended_ = now_nanoseconds();
    pool.rested.store(ended_, std::memory_order_relaxed);
  }

 private:
  Watch watch_;
  bool crowded_ = false;
  int64_t length_ = kFirstRest, ended_ = 0;
};

// Claims and runs chunks until none is left, from lane `home` on. `rests`: a helper's; null for the caller.
void run_chunks(int home, Rests* rests) {
  for (int i = 0; i < kMaxLanes; ++i) {
    Lane& lane = pool.lanes[(home + i) % kMaxLanes];
    int64_t done = 0;
    while (lane.has_work(std::memory_order_relaxed)) {
      if (rests != nullptr && rests->due()) {
        if (done > 0) lane.finished.fetch_add(done, std::memory_order_acq_rel);
        done = 0;
        rests->rest_where_crowded();
        continue;
      }
      const int64_t r = lane.remaining.fetch_sub(1, std::memory_order_acq_rel);
      if (r <= 0) break;
      const int64_t begin = (lane.end - r) * lane.chunk, end = begin + lane.chunk;
      lane.fn(lane.context, begin, end < lane.n ? end : lane.n);
      ++done;
    }
    if (done > 0) lane.finished.fetch_add(done, std::memory_order_acq_rel);
  }
}

// Some lane has unclaimed chunks.
bool has_work(std::memory_order order) {
  for (const Lane& lane : pool.lanes)
    if (lane.has_work(order)) return true;
  return false;
}

void wake_helpers(int count) {
  pool.wake.fetch_add(1, std::memory_order_seq_cst);
  futex(&pool.wake, FUTEX_WAKE, static_cast<uint32_t>(count));
}

// Spins for work, then parks. Returns when there may be work, or the number of threads may have changed.
void wait_for_work(const Lane& home, Rests& rests) {
  if (pool.spin.load(std::memory_order_relaxed)) {
    const int64_t until = now_nanoseconds() + kSpinNanoseconds;
    do {
      rests.rest_where_crowded();
      if (has_work(std::memory_order_relaxed)) return;
      for (int i = 0; i < 32; ++i) {
        if (home.has_work(std::memory_order_relaxed)) return;
        cpu_pause();
      }
    } while (now_nanoseconds() < until);
  }
  rests.look();
  const uint32_t seen = pool.wake.load(std::memory_order_seq_cst);
  pool.sleepers.fetch_add(1, std::memory_order_seq_cst);
  if (!has_work(std::memory_order_seq_cst)) futex(&pool.wake, FUTEX_WAIT, seen);
  pool.sleepers.fetch_sub(1, std::memory_order_seq_cst);
}

bool surplus(int id) { return id + 1 >= pool.threads.load(std::memory_order_seq_cst); }

void* helper_main(void* arg) {
  const int id = static_cast<int>(reinterpret_cast<intptr_t>(arg)), home = (id + 1) % kMaxLanes;
  Rests rests;
  for (;;) {
    if (!surplus(id)) {
      run_chunks(home, &rests);
    } else {
      pthread_mutex_lock(&pool.mutex);
      const bool leave = surplus(id);
      if (leave) {
        pool.alive[id] = false;
        pool.helpers.fetch_sub(1, std::memory_order_relaxed);
      }
      pthread_mutex_unlock(&pool.mutex);
      if (leave) return nullptr;
    }
    wait_for_work(pool.lanes[home], rests);
  }
}

void before_fork() { pthread_mutex_lock(&pool.mutex); }
void after_fork_in_parent() { pthread_mutex_unlock(&pool.mutex); }
void after_fork_in_child() {  // the only thread here is the one that forked
  const pthread_mutex_t fresh = PTHREAD_MUTEX_INITIALIZER;
  std::memcpy(&pool.mutex, &fresh, sizeof fresh);
  std::memset(pool.alive, 0, sizeof pool.alive);
  pool.helpers.store(0);
  pool.sleepers.store(0);
  for (auto& lane : pool.lanes) lane.remaining.store(0);
  pool.busy.store(false);
}

// Starts the helpers that are missing. Where the system refuses a thread, the others do the work.
[[gnu::cold, gnu::noinline]] void create_helpers() {
  pthread_mutex_lock(&pool.mutex);
  if (!pool.atfork.exchange(true)) pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
  sigset_t all, before;  // signals belong to the user's threads
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_attr_t attr;
  pthread_attr_init(&attr);
  pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
  const int wanted = pool.threads.load() - 1;
  for (int i = 0; i < wanted; ++i) {
    if (pool.alive[i]) continue;
    pthread_t thread;
    if (pthread_create(&thread, &attr, helper_main, reinterpret_cast<void*>(static_cast<intptr_t>(i))) != 0) break;
    pool.alive[i] = true;
    pool.helpers.fetch_add(1, std::memory_order_relaxed);
  }
  pthread_attr_destroy(&attr);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_mutex_unlock(&pool.mutex);
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

// Processors granted by a quota of `quota` microseconds in each `period`, rounded up; INT_MAX: no limit.
int processors_of_quota(double quota, double period) {
  if (!(quota > 0) || !(period > 0)) return INT_MAX;
  const int n = static_cast<int>((quota + period - 1) / period);
  return n < 1 ? 1 : n;
}

// The tightest CPU quota of this process's control groups (v1 and v2, every level up to the root).
int cgroup_processors() {
  int limit = INT_MAX;
  const std::string groups = read_file("/proc/self/cgroup");
  size_t at = 0;
  while (at < groups.size()) {  // "0::/a/b" (v2) or "4:cpu,cpuacct:/a/b" (v1)
    size_t end = groups.find('\n', at);
    if (end == std::string::npos) end = groups.size();
    const std::string line = groups.substr(at, end - at);
    at = end + 1;
    const size_t c1 = line.find(':'), c2 = c1 == std::string::npos ? c1 : line.find(':', c1 + 1);
    if (c2 == std::string::npos) continue;
    const std::string controllers = "," + line.substr(c1 + 1, c2 - c1 - 1) + ",";
    const bool v2 = controllers == ",,";
    if (!v2 && controllers.find(",cpu,") == std::string::npos) continue;
    std::string path = line.substr(c2 + 1);
    for (;;) {
      if (path == "/") path.clear();
      if (v2) {
        double quota, period;
        const std::string text = read_file("/sys/fs/cgroup" + path + "/cpu.max");
        if (std::sscanf(text.c_str(), "%lf %lf", &quota, &period) == 2) {
          const int n = processors_of_quota(quota, period);
          if (n < limit) limit = n;
        }
      } else {
        const std::string base = "/sys/fs/cgroup/cpu" + path;
        const int n = processors_of_quota(std::atof(read_file(base + "/cpu.cfs_quota_us").c_str()),
                                          std::atof(read_file(base + "/cpu.cfs_period_us").c_str()));
        if (n < limit) limit = n;
      }
      if (path.empty()) break;
      path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
    }
  }
  return limit;
}

// Physical cores in this process's affinity mask: hyper-threads of one core share its arithmetic units.
int affinity_cores() {
  for (int size = 1024; size <= 1 << 16; size *= 4) {
    cpu_set_t* set = CPU_ALLOC(size);
    if (set == nullptr) return 1;
    const size_t bytes = CPU_ALLOC_SIZE(size);
    CPU_ZERO_S(bytes, set);
    if (sched_getaffinity(0, bytes, set) == 0) {
      int cores = 0;
      for (int cpu = 0; cpu < size; ++cpu) {
        if (!CPU_ISSET_S(cpu, bytes, set)) continue;
        ++cores;
        const std::string siblings =
            read_file("/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list");
        const char* p = siblings.c_str();  // "0,64" or "0-1": not counted where a lower one is ours as well
        bool counted = false;
        while (*p >= '0' && *p <= '9') {
          char* next;
          const long lo = std::strtol(p, &next, 10);
          const long hi = *next == '-' ? std::strtol(next + 1, &next, 10) : lo;
          for (long other = lo; other <= hi && other < cpu; ++other) {
            if (other >= 0 && CPU_ISSET_S(static_cast<int>(other), bytes, set)) counted = true;
          }
          p = *next == ',' ? next + 1 : next;
        }
        if (counted) --cores;
      }
      CPU_FREE(set);
      return cores < 1 ? 1 : cores;
    }
    CPU_FREE(set);
  }
  return 1;
}

int threads_from_environment(const char* name) {
  const char* text = std::getenv(name);
  if (text == nullptr) return 0;
  const long n = std::strtol(text, nullptr, 10);  // OpenMP allows a list: "4,2"
  return n < 1 ? 0 : static_cast<int>(n < kMaxThreads ? n : kMaxThreads);
}

int usable_processors() {
  const int cores = affinity_cores(), quota = cgroup_processors();
  const int n = cores < quota ? cores : quota;
  return n < kMaxThreads ? n : kMaxThreads;
}

void set_threads(int n) {
  pool.spin.store(n <= usable_processors() ? 1 : 0, std::memory_order_relaxed);
  pool.threads.store(n, std::memory_order_seq_cst);
}

[[gnu::cold, gnu::noinline]] int decide_threads() {
  int n = threads_from_environment("FIRESEED_NUM_THREADS");
  if (n == 0) n = threads_from_environment("OMP_NUM_THREADS");
  if (n == 0) n = usable_processors();
  int undecided = 0;
  if (pool.threads.compare_exchange_strong(undecided, n)) pool.spin.store(n <= usable_processors() ? 1 : 0);
  return pool.threads.load();
}

}  // namespace

int num_threads() {
  const int n = pool.threads.load(std::memory_order_relaxed);
  return n != 0 ? n : decide_threads();
}

void set_num_threads(int n) {
  FS_CHECK(n >= 1, "set_num_threads: expected a positive number of threads, got ", n);
  set_threads(n < kMaxThreads ? n : kMaxThreads);
  if (pool.sleepers.load(std::memory_order_seq_cst) > 0) wake_helpers(INT_MAX);  // let surplus helpers leave
}

namespace detail {

void parallel_run(int64_t n, int64_t chunk, ChunkFn fn, void* context) {
  const int threads = num_threads();
  if (threads == 1 || pool.busy.load(std::memory_order_relaxed) ||
      pool.busy.exchange(true, std::memory_order_acquire)) {
    for (int64_t begin = 0; begin < n; begin += chunk) fn(context, begin, n - begin < chunk ? n : begin + chunk);
    return;
  }
  if (pool.helpers.load(std::memory_order_relaxed) < threads - 1) create_helpers();
  static thread_local Watch watch;
  if (watch.due() && watch.look()) pool.crowded.store(true, std::memory_order_relaxed);
  const int64_t num_chunks = (n + chunk - 1) / chunk;
  int lanes = threads < kMaxLanes ? threads : kMaxLanes;
  if (num_chunks < lanes) lanes = static_cast<int>(num_chunks);
  for (int i = lanes; i-- > 0;) {
    Lane& lane = pool.lanes[i];
    lane.finished.store(0, std::memory_order_relaxed);
    lane.fn = fn;
    lane.context = context;
    lane.n = n;
    lane.chunk = chunk;
    lane.end = num_chunks * (i + 1) / lanes;
    lane.count = lane.end - num_chunks * i / lanes;
    lane.remaining.exchange(lane.count,
                            std::memory_order_seq_cst);  // publishes; ordered before the look at `sleepers`
  }
  if (pool.sleepers.load(std::memory_order_seq_cst) > 0) {
    wake_helpers(static_cast<int>(num_chunks - 1 < threads - 1 ? num_chunks - 1 : threads - 1));
  }
  run_chunks(0, nullptr);
  for (int i = 0; i < lanes; ++i) {
    const Lane& lane = pool.lanes[i];
    for (int64_t pauses = 0; lane.finished.load(std::memory_order_acquire) != lane.count; ++pauses) {
      if (pauses < kYieldAfterPauses && pool.spin.load(std::memory_order_relaxed)) {
        cpu_pause();
      } else {
        sched_yield();
      }
    }
  }
  pool.busy.store(false, std::memory_order_release);
}

}  // namespace detail
}  // namespace fireseed

// The emulation engine: see Note [Emulation] in engine.h. Scheduling, barriers, warp collectives, reports.
#include "engine.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <numeric>
#include <sstream>
#include <vector>

#include "fiber.h"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace fireseed::cuda_emu {

namespace {

constexpr int kWarp = 32, kBarriers = 16;
constexpr size_t kStaticSharedLimit = 48 * 1024;

enum class State : uint8_t { kNew, kReady, kRunning, kBarrier, kWarp, kPoll, kDone };

struct Thread {
  Fiber* fiber = nullptr;
  uint3 index{};
  State state = State::kNew;
  int barrier_result = 0;
  const char* what = "";
  Where where;
  ThreadAsync* async = nullptr;
};

struct Barrier {
  int arrived = 0, expected = 0, holding = 0;  // holding: predicates that held
  std::vector<int> waiting;
  Where where;
  void* clock = nullptr;  // ThreadSanitizer's, fresh for each generation
};

struct Meeting {  // lanes of one warp in a collective
  uint32_t mask = 0, arrived = 0;
  const char* what = "";
  Where where;
  Compute compute = nullptr;
  void* operand[kWarp] = {};
  void* clock = nullptr;
};

struct SharedObject {
  const void* key;
  void* memory;
  size_t bytes;
};

struct Engine {
  // the kernel
  const char* name = "";
  const std::function<void()>* body = nullptr;
  dim3 grid, block;
  size_t dynamic_bytes = 0;
  void* dynamic = nullptr;
  // the block
  int num = 0, next_new = 0, done = 0, current = -1;
  std::vector<Thread> threads;
  std::vector<int> start_order, ready, polling;
  size_t ready_head = 0;  // seed 0 takes from the front
  Barrier barriers[kBarriers];
  std::vector<std::vector<Meeting>> meetings;  // by warp
  std::vector<SharedObject> shared;
  std::vector<std::function<void()>> async;
  uint64_t progress = 0, polled_at = 0;
  void *start_clock = nullptr, *end_clock = nullptr;
  // always
  Fiber main;
  std::vector<Fiber*> free_fibers, retired_fibers;
  bool failed = false;
  std::string report;
  uint64_t seed = 0, state = 0;
  std::recursive_mutex mutex;

  Engine() {
    if (const char* s = std::getenv("FS_CUDA_EMU_SEED")) seed = std::strtoull(s, nullptr, 10);
  }
};
Engine& engine() {
  static auto* e = new Engine;
  return *e;
}

uint32_t next_random(Engine& e) {  // xorshift64*
  if (e.seed == 0) return 0;
  e.state ^= e.state >> 12;
  e.state ^= e.state << 25;
  e.state ^= e.state >> 27;
  return static_cast<uint32_t>((e.state * 2685821657736338717ull) >> 32);
}

// Addresses that only ThreadSanitizer looks at, new ones for each use.
void* fresh_clock() {
  if (!fibers_are_identities()) return nullptr;
  constexpr size_t kBytes = size_t{1} << 28;
  static char* region = static_cast<char*>(
      mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  static size_t used = 0;
  used = (used + 8) % kBytes;
  return region + used;
}

struct EngineWork {
  EngineWork() { begin_engine_work(); }
  ~EngineWork() { end_engine_work(); }
};

std::string describe(const uint3& v) {
  std::ostringstream s;
  s << '(' << v.x << ", " << v.y << ", " << v.z << ')';
  return s.str();
}
std::string describe(const Where& w) {
  const char* slash = std::strrchr(w.file_name(), '/');
  std::ostringstream s;
  s << (slash ? slash + 1 : w.file_name()) << ':' << w.line();
  return s.str();
}

// ---- scheduling --------------------------------------------------------------------------------------------

void set_report(Engine& e, const std::string& text) {
  std::ostringstream s;
  s << "kernel " << e.name << ", block " << describe(blockIdx);
  if (e.current >= 0) s << ", thread " << describe(e.threads[static_cast<size_t>(e.current)].index);
  s << ": " << text;
  e.report = s.str();
  e.failed = true;
}

std::string deadlock_text(Engine& e) {
  std::map<std::string, std::pair<int, int>> groups;  // text -> first thread, count
  for (int i = 0; i < e.num; ++i) {
    const Thread& t = e.threads[static_cast<size_t>(i)];
    if (t.state == State::kDone) continue;
    auto& g = groups.try_emplace(std::string(t.what) + " at " + describe(t.where), i, 0).first->second;
    ++g.second;
  }
  std::ostringstream s;
  s << "deadlock: ";
  bool first = true;
  for (const auto& [text, g] : groups) {
    s << (first ? "" : "; ") << g.second << (g.second == 1 ? " thread" : " threads") << " (the first is " << g.first
      << ") wait in " << text;
    first = false;
  }
  if (e.done) s << "; " << e.done << " have ended";
  return s.str();
}

void land_async(Engine& e) {
  const size_t i = e.seed ? next_random(e) % e.async.size() : 0;
  auto work = std::move(e.async[i]);
  e.async.erase(e.async.begin() + static_cast<std::ptrdiff_t>(i));
  ++e.progress;
  work();
}

int take_ready(Engine& e) {
  int t;
  if (e.seed) {
    const size_t n = e.ready.size() - e.ready_head, i = e.ready_head + next_random(e) % n;
    t = e.ready[i];
    e.ready[i] = e.ready.back();
    e.ready.pop_back();
  } else {
    t = e.ready[e.ready_head++];
  }
  if (e.ready_head == e.ready.size()) {
    e.ready.clear();
    e.ready_head = 0;
  }
  return t;
}

// The thread to run next; -1 at the end of the block or after a failure.
int pick(Engine& e) {
  for (;;) {
    if (e.failed || e.done == e.num) return -1;
    const size_t ready = e.ready.size() - e.ready_head, fresh = static_cast<size_t>(e.num - e.next_new);
    if (e.seed && !e.async.empty() && next_random(e) % 8 == 0) land_async(e);
    if (e.seed && !e.polling.empty() && next_random(e) % 16 == 0) {
      e.ready.insert(e.ready.end(), e.polling.begin(), e.polling.end());
      e.polling.clear();
      continue;
    }
    if (ready + fresh) {
      const bool start = fresh && (ready == 0 || (e.seed && next_random(e) % (ready + fresh) < fresh));
      return start ? e.start_order[static_cast<size_t>(e.next_new++)] : take_ready(e);
    }
    if (!e.async.empty()) {
      land_async(e);
    } else if (e.polling.empty() || e.polled_at == e.progress) {
      e.current = -1;
      set_report(e, deadlock_text(e));
      return -1;
    }
    e.polled_at = e.progress;
    e.ready.swap(e.polling);
  }
}

Fiber* take_fiber(Engine& e);

void enter(Engine& e, int t) {
  e.current = t;
  Thread& thread = e.threads[static_cast<size_t>(t)];
  thread.state = State::kRunning;
  threadIdx = thread.index;
}

// Runs somebody else. `final`: the running fiber has no thread left and is free for another.
void run_other(Engine& e, Fiber& self, bool final) {
  const int t = pick(e);
  Fiber* to = &e.main;
  if (t >= 0) {
    enter(e, t);
    Thread& thread = e.threads[static_cast<size_t>(t)];
    if (!thread.fiber) thread.fiber = take_fiber(e);
    to = thread.fiber;
  }
  // To ThreadSanitizer a fiber is one thread: its stack serves no other in the block.
  if (final) (fibers_are_identities() ? e.retired_fibers : e.free_fibers).push_back(&self);
  if (to != &self) switch_fiber(self, *to, final);
}

// The running thread waits; returns when somebody made it ready and it was picked.
void suspend(Engine& e, State state, const char* what, Where where) {
  Thread& t = e.threads[static_cast<size_t>(e.current)];
  t.state = state;
  t.what = what;
  t.where = where;
  run_other(e, *t.fiber, false);
}

void make_ready(Engine& e, int t) {
  e.threads[static_cast<size_t>(t)].state = State::kReady;
  e.ready.push_back(t);
  ++e.progress;
}

void fiber_main() {
  Engine& e = engine();
  begin_engine_work();
  for (;;) {
    order_acquire(e.start_clock);
    end_engine_work();
    (*e.body)();
    begin_engine_work();
    order_release(e.end_clock);
    Thread& t = e.threads[static_cast<size_t>(e.current)];
    Fiber* self = t.fiber;
    t.state = State::kDone;
    t.fiber = nullptr;
    delete t.async;
    t.async = nullptr;
    ++e.done;
    ++e.progress;
    // Go on with a new thread where there is one: no switch. (Under ThreadSanitizer a fiber is one thread.)
    if (!fibers_are_identities() && !e.failed && e.next_new < e.num && e.ready.empty() && e.async.empty()) {
      const int next = e.start_order[static_cast<size_t>(e.next_new++)];
      enter(e, next);
      e.threads[static_cast<size_t>(next)].fiber = self;
      continue;
    }
    run_other(e, *self, true);
    __builtin_trap();  // a finished fiber is reset before it runs again
  }
}

Fiber* take_fiber(Engine& e) {
  if (e.free_fibers.empty()) return Fiber::make(&fiber_main);
  Fiber* f = e.free_fibers.back();
  e.free_fibers.pop_back();
  f->reset();
  return f;
}

// ---- blocks ------------------------------------------------------------------------------------------------

void free_block(Engine& e) {
  for (Thread& t : e.threads) {
    if (t.fiber) {  // a failed kernel's: forgotten where they stand
      t.fiber->abandoned = true;
      e.free_fibers.push_back(t.fiber);
    }
    delete t.async;
    t.fiber = nullptr;
    t.async = nullptr;
  }
  e.free_fibers.insert(e.free_fibers.end(), e.retired_fibers.begin(), e.retired_fibers.end());
  e.retired_fibers.clear();
  for (SharedObject& s : e.shared) std::free(s.memory);
  e.shared.clear();
  std::free(e.dynamic);
  e.dynamic = nullptr;
  e.async.clear();
}

void* poisoned_memory(size_t bytes, size_t alignment) {
  void* p = nullptr;
  if (posix_memalign(&p, std::max(alignment, sizeof(void*)), bytes) != 0) throw std::bad_alloc();
  std::memset(p, 0xFF, bytes);
  return p;
}

void run_block(Engine& e, uint3 index) {
  blockIdx = index;
  e.num = static_cast<int>(e.block.x * e.block.y * e.block.z);
  e.next_new = e.done = 0;
  e.current = -1;
  e.threads.assign(static_cast<size_t>(e.num), Thread{});
  size_t i = 0;
  for (unsigned z = 0; z < e.block.z; ++z)
    for (unsigned y = 0; y < e.block.y; ++y)
      for (unsigned x = 0; x < e.block.x; ++x) e.threads[i++].index = {x, y, z};
  e.start_order.resize(static_cast<size_t>(e.num));
  std::iota(e.start_order.begin(), e.start_order.end(), 0);
  if (e.seed)
    for (size_t k = e.start_order.size(); k > 1; --k)
      std::swap(e.start_order[k - 1], e.start_order[next_random(e) % k]);
  e.ready.clear();
  e.ready_head = 0;
  e.polling.clear();
  for (Barrier& b : e.barriers) b = Barrier{};
  e.meetings.assign(static_cast<size_t>((e.num + kWarp - 1) / kWarp), {});
  e.progress = 1;
  e.polled_at = 0;
  if (e.dynamic_bytes) e.dynamic = poisoned_memory(e.dynamic_bytes, 1024);
  e.start_clock = fresh_clock();
  e.end_clock = fresh_clock();
  order_release(e.start_clock);
  run_other(e, e.main, false);
  order_acquire(e.end_clock);
  while (!e.failed && !e.async.empty()) land_async(e);
  if (!e.failed) {
    for (int b = 0; b < kBarriers; ++b) {
      if (e.barriers[b].arrived == 0) continue;
      e.current = -1;
      set_report(e, "barrier " + std::to_string(b) + " was left with " + std::to_string(e.barriers[b].arrived) +
                        " of " + std::to_string(e.barriers[b].expected) + " arrivals");
      break;
    }
  }
  free_block(e);
}

int live_lanes(const Engine& e, int warp) {
  uint32_t mask = 0;
  for (int lane = 0; lane < kWarp && warp * kWarp + lane < e.num; ++lane)
    if (e.threads[static_cast<size_t>(warp * kWarp + lane)].state != State::kDone) mask |= 1u << lane;
  return static_cast<int>(mask);
}

// Of the block's threads; a warp at the end may have fewer than 32.
uint32_t existing_lanes(const Engine& e, int warp) {
  const int n = std::min(kWarp, e.num - warp * kWarp);
  return n == kWarp ? 0xffffffffu : (1u << n) - 1;
}

}  // namespace

bool run_kernel(const char* name, dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& body) {
  Engine& e = engine();
  std::lock_guard lock(e.mutex);
  const EngineWork work;
  e.name = name;
  e.body = &body;
  e.grid = grid;
  e.block = block;
  e.dynamic_bytes = shared_bytes;
  e.failed = false;
  e.state = e.seed * 0x9e3779b97f4a7c15ull + 0x2545f4914f6cdd1dull;
  blockDim = block;
  gridDim = grid;
  adopt_thread(e.main);
  const uint64_t blocks = uint64_t{grid.x} * grid.y * grid.z;
  // Random order of blocks: a walk with a step prime to their number.
  uint64_t begin = 0, step = 1;
  if (e.seed && blocks > 1) {
    begin = next_random(e) % blocks;
    do step = 1 + next_random(e) % blocks;
    while (std::gcd(step, blocks) != 1);
  }
  for (uint64_t i = 0, b = begin; i < blocks && !e.failed; ++i, b = (b + step) % blocks)
    run_block(e, {static_cast<unsigned>(b % grid.x), static_cast<unsigned>(b / grid.x % grid.y),
                  static_cast<unsigned>(b / grid.x / grid.y)});
  return !e.failed;
}

void set_seed(uint64_t seed) { engine().seed = seed; }
uint64_t seed() { return engine().seed; }
const std::string& last_report() { return engine().report; }

void trap(Where where) {
  begin_engine_work();  // the kernel's own thread comes here
  fail("__trap", where);
}
void fail(const std::string& text, Where where) {
  Engine& e = engine();
  set_report(e, text + " at " + describe(where));
  switch_fiber(*e.threads[static_cast<size_t>(e.current)].fiber, e.main, true);
  __builtin_trap();
}

uint32_t random_bits() { return next_random(engine()); }
int lane_id() { return engine().current % kWarp; }
int warp_id() { return engine().current / kWarp; }
uint32_t active_mask() {
  EngineWork work;
  return static_cast<uint32_t>(live_lanes(engine(), warp_id()));
}
int block_threads() { return engine().num; }
ThreadAsync& this_thread_async() {
  Engine& e = engine();
  ThreadAsync*& a = e.threads[static_cast<size_t>(e.current)].async;
  if (!a) a = new ThreadAsync;
  return *a;
}

void* shared_object(const void* key, size_t bytes, size_t alignment) {
  Engine& e = engine();
  for (const SharedObject& s : e.shared)
    if (s.key == key) return s.memory;
  EngineWork work;
  size_t total = bytes;
  for (const SharedObject& s : e.shared) total += s.bytes;
  if (total > kStaticSharedLimit)
    fail("static shared memory of " + std::to_string(total) + " bytes, at most 49152", Where::current());
  e.shared.push_back({key, poisoned_memory(bytes, alignment), bytes});
  return e.shared.back().memory;
}
void* dynamic_shared(size_t* bytes) {
  if (bytes) *bytes = engine().dynamic_bytes;
  return engine().dynamic;
}

// ---- barriers ----------------------------------------------------------------------------------------------

namespace {
// One more arrival; true where it was the last one, which has made the others ready.
bool arrive(Engine& e, int id, int count, bool predicate, Where where, bool waits) {
  if (id < 0 || id >= kBarriers) fail("barrier " + std::to_string(id) + ": ids are 0 to 15", where);
  if (count < 0 || count % kWarp != 0 || count > (e.num + kWarp - 1) / kWarp * kWarp)
    fail("barrier " + std::to_string(id) + " for " + std::to_string(count) + " threads in a block of " +
             std::to_string(e.num) + "; the number must be a multiple of 32",
         where);
  Barrier& b = e.barriers[id];
  const int expected = count ? count : e.num;
  if (b.arrived == 0) {
    b.expected = expected;
    b.where = where;
    b.clock = fresh_clock();
    b.holding = 0;
  } else if (b.expected != expected) {
    fail("barrier " + std::to_string(id) + " for " + std::to_string(expected) + " threads, but those who wait at " +
             describe(b.where) + " expect " + std::to_string(b.expected),
         where);
  } else if (count == 0 && (b.where.line() != where.line() || std::strcmp(b.where.file_name(), where.file_name()))) {
    fail("divergent barrier: other threads wait at " + describe(b.where), where);
  }
  if (count == 0 && e.done)
    fail("divergent barrier: " + std::to_string(e.done) + " threads of the block have ended", where);
  order_release(b.clock);
  ++b.arrived;
  b.holding += predicate;
  ++e.progress;
  if (b.arrived < b.expected) {
    if (waits) b.waiting.push_back(e.current);
    return false;
  }
  for (int t : b.waiting) {
    e.threads[static_cast<size_t>(t)].barrier_result = b.holding;
    make_ready(e, t);
  }
  b.waiting.clear();
  b.arrived = 0;
  return true;
}
}  // namespace

int barrier(int id, int count, bool predicate, const char* what, Where where) {
  Engine& e = engine();
  const EngineWork work;
  const bool last = arrive(e, id, count, predicate, where, true);
  void* clock = e.barriers[id].clock;
  int result = e.barriers[id].holding;
  const int self = e.current;
  if (!last) {
    suspend(e, State::kBarrier, what, where);
    result = e.threads[static_cast<size_t>(self)].barrier_result;
  } else {
    maybe_yield(where);
  }
  order_acquire(clock);
  return result;
}
void barrier_arrive(int id, int count, Where where) {
  EngineWork work;
  arrive(engine(), id, count, false, where, false);
}

// ---- warp collectives --------------------------------------------------------------------------------------

void warp_collective(const char* what, uint32_t mask, void* operand, Compute compute, bool orders_memory,
                     Where where) {
  Engine& e = engine();
  const EngineWork work;
  const int self = e.current, warp = self / kWarp, lane = self % kWarp;
  mask &= existing_lanes(e, warp);
  if (!(mask >> lane & 1))
    fail(std::string(what) + ": lane " + std::to_string(lane) + " is not in its own mask", where);
  auto& open = e.meetings[static_cast<size_t>(warp)];
  Meeting* m = nullptr;
  for (Meeting& candidate : open) {
    if (!(candidate.mask & mask)) continue;
    if (candidate.mask != mask)
      fail(std::string(what) + ": the mask overlaps with that of lanes at " + describe(candidate.where), where);
    if (std::strcmp(candidate.what, what) || candidate.where.line() != where.line())
      fail(std::string("divergent warp: ") + what + " here, but lanes of the mask are in " + candidate.what + " at " +
               describe(candidate.where),
           where);
    m = &candidate;
  }
  if (!m) {
    open.emplace_back();
    m = &open.back();
    m->mask = mask;
    m->what = what;
    m->where = where;
    m->compute = compute;
    if (orders_memory) m->clock = fresh_clock();
  }
  void* clock = m->clock;
  if (clock) order_release(clock);
  m->operand[lane] = operand;
  m->arrived |= 1u << lane;
  ++e.progress;
  const bool last = m->arrived == mask;
  if (last) {
    Meeting meeting = *m;
    open.erase(open.begin() + (m - open.data()));
    if (meeting.compute) meeting.compute(meeting.operand, mask);
    for (int l = 0; l < kWarp; ++l)
      if ((mask >> l & 1) && l != lane) make_ready(e, warp * kWarp + l);
  }
  if (last) maybe_yield(where);
  else suspend(e, State::kWarp, what, where);
  if (clock) order_acquire(clock);
}

// All accesses before a fence come before all after a later one: what tickets and flags rely on.
void fence() {
  static char clock;
  order_release(&clock);
  order_acquire(&clock);
}

// ---- waiting for copies ------------------------------------------------------------------------------------

void poll(const char* what, Where where) {
  Engine& e = engine();
  const EngineWork work;
  e.polling.push_back(e.current);
  suspend(e, State::kPoll, what, where);
}
void maybe_yield(Where where) {
  Engine& e = engine();
  if (!e.seed || (next_random(e) & 1)) return;
  e.ready.push_back(e.current);
  suspend(e, State::kReady, "its turn", where);
}
void note_progress() { ++engine().progress; }
void post_async(std::function<void()> work) {
  const EngineWork engine_work;
  engine().async.push_back(std::move(work));
}

}  // namespace fireseed::cuda_emu

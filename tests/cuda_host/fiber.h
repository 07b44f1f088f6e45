// Fibers: stacks with a switch of some nanoseconds, which the sanitizers know about. One runs a CUDA thread.
#pragma once

#include <cstddef>

namespace fireseed::cuda_emu {

struct Fiber {
  char* stack = nullptr;  // lowest usable byte, above a guard page
  size_t size = 0;
  void* sp = nullptr;          // where a suspended fiber continues
  void* fake_stack = nullptr;  // AddressSanitizer's
  void* tsan = nullptr;        // ThreadSanitizer's identity
  void* context = nullptr;     // ucontext_t, where the processor has no switch of its own here
  bool abandoned = false;      // left in the middle of something
  void (*entry)() = nullptr;

  // A new stack whose first switch_to calls entry, which never returns.
  static Fiber* make(void (*entry)());
  static void destroy(Fiber* f);
  // Forgets what the stack held; the next switch_to calls entry again.
  void reset();
};

// The thread's own stack as a fiber; call once before the first switch_to.
void adopt_thread(Fiber& main);
// Suspends `from` (which is running) and continues `to`. `final`: `from` will be reset before it runs again.
void switch_fiber(Fiber& from, Fiber& to, bool final = false);
// Ordering for ThreadSanitizer at `address`; nothing without it.
void order_release(void* address);
void order_acquire(void* address);
// Accesses between these are the emulation's own.
void begin_engine_work();
void end_engine_work();
// True under ThreadSanitizer: a fiber is then one CUDA thread only, else it would hide races.
bool fibers_are_identities();

}  // namespace fireseed::cuda_emu

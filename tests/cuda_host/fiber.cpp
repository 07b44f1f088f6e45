// Fibers: see fiber.h.
#include "fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <new>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(FS_EMU_TSAN)  // this file itself is compiled without -fsanitize=thread
extern "C" {
void* __tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void* fiber);
void __tsan_switch_to_fiber(void* fiber, unsigned flags);
void* __tsan_get_current_fiber();
void __tsan_acquire(void* address);
void __tsan_release(void* address);
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
void AnnotateIgnoreWritesBegin(const char* file, int line);
void AnnotateIgnoreWritesEnd(const char* file, int line);
}
#endif

namespace fireseed::cuda_emu {

namespace {
constexpr size_t kStackBytes = 256 * 1024;  // touched pages only are backed by memory
size_t page() {
  static const size_t size = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return size;
}
Fiber* previous = nullptr;  // who switched last; AddressSanitizer wants its stack

void after_switch([[maybe_unused]] Fiber& self) {
#if defined(__SANITIZE_ADDRESS__)
  const void* bottom = nullptr;
  size_t size = 0;
  __sanitizer_finish_switch_fiber(self.fake_stack, &bottom, &size);
  if (previous && !previous->stack) {  // the host's stack, seen for the first time
    previous->stack = static_cast<char*>(const_cast<void*>(bottom));
    previous->size = size;
  }
#endif
}

Fiber* starting = nullptr;

[[noreturn]] void first_call() {
  Fiber* self = starting;
  after_switch(*self);
  self->entry();
  __builtin_trap();
}
}  // namespace

#if defined(__x86_64__)
extern "C" void fs_emu_switch(void** save, void* load);
asm(R"(
.text
.p2align 4
.type fs_emu_switch, @function
fs_emu_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  retq
.size fs_emu_switch, .-fs_emu_switch
)");
#endif

Fiber* Fiber::make(void (*entry)()) {
  void* p =
      mmap(nullptr, kStackBytes + page(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) throw std::bad_alloc();
  mprotect(p, page(), PROT_NONE);
  Fiber* f = new Fiber;
  f->stack = static_cast<char*>(p) + page();
  f->size = kStackBytes;
  f->entry = entry;
#if !defined(__x86_64__)
  f->context = new ucontext_t;
#endif
  f->reset();
  return f;
}

void Fiber::destroy(Fiber* f) {
#if defined(FS_EMU_TSAN)
  if (f->tsan) __tsan_destroy_fiber(f->tsan);
#endif
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(f->stack, f->size);
#endif
  munmap(f->stack - page(), f->size + page());
#if !defined(__x86_64__)
  delete static_cast<ucontext_t*>(f->context);
#endif
  delete f;
}

void Fiber::reset() {
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(stack, size);
  fake_stack = nullptr;
#endif
#if defined(FS_EMU_TSAN)
  // Made anew only where it must be, as it takes milliseconds; one that is ignoring accesses may not be destroyed.
  if (!tsan || abandoned) tsan = __tsan_create_fiber(0);
#endif
  abandoned = false;
#if defined(__x86_64__)
  auto top = reinterpret_cast<uintptr_t*>(stack + size);
  *--top = 0;  // first_call starts with rsp = 8 mod 16, as after a call
  *--top = reinterpret_cast<uintptr_t>(&first_call);
  for (int i = 0; i < 6; ++i) *--top = 0;
  sp = top;
#else
  auto* c = static_cast<ucontext_t*>(context);
  getcontext(c);
  c->uc_stack.ss_sp = stack;
  c->uc_stack.ss_size = size;
  c->uc_link = nullptr;
  makecontext(c, reinterpret_cast<void (*)()>(&first_call), 0);
  sp = nullptr;
#endif
}

void adopt_thread([[maybe_unused]] Fiber& main) {
#if !defined(__x86_64__)
  if (!main.context) main.context = new ucontext_t;
#endif
#if defined(FS_EMU_TSAN)
  main.tsan = __tsan_get_current_fiber();
#endif
  main.stack = nullptr;  // AddressSanitizer tells at the first switch
  main.size = 0;
}

void switch_fiber(Fiber& from, Fiber& to, [[maybe_unused]] bool final) {
  previous = &from;
  starting = &to;
  if (final) end_engine_work();
#if defined(FS_EMU_TSAN)
  __tsan_switch_to_fiber(to.tsan, 1);  // 1: the switch itself orders nothing
#endif
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(final ? nullptr : &from.fake_stack, to.stack, to.size);
#endif
#if defined(__x86_64__)
  fs_emu_switch(&from.sp, to.sp);
#else
  swapcontext(static_cast<ucontext_t*>(from.context), static_cast<ucontext_t*>(to.context));
#endif
  after_switch(from);
}

void order_release([[maybe_unused]] void* address) {
#if defined(FS_EMU_TSAN)
  __tsan_release(address);
#endif
}
void order_acquire([[maybe_unused]] void* address) {
#if defined(FS_EMU_TSAN)
  __tsan_acquire(address);
#endif
}
void begin_engine_work() {
#if defined(FS_EMU_TSAN)
  AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
  AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
#endif
}
void end_engine_work() {
#if defined(FS_EMU_TSAN)
  AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
  AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
#endif
}
bool fibers_are_identities() {
#if defined(FS_EMU_TSAN)
  return true;
#else
  return false;
#endif
}

}  // namespace fireseed::cuda_emu

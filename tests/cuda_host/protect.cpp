// Note [Protected memory]: mappings that open for kernels and copies, and the report of what touches them otherwise.
#include "protect.h"

#include <execinfo.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>

namespace fireseed::cuda_emu {
namespace {

constexpr size_t kPage = 4096;

struct Mappings {
  std::recursive_mutex mutex;
  std::map<uintptr_t, size_t> all;  // address -> bytes, whole pages
  int open = 0;
};
Mappings& mappings() {
  static auto* m = new Mappings;
  return *m;
}
struct sigaction before;

void allow(uintptr_t p, size_t bytes, bool access) {
  mprotect(reinterpret_cast<void*>(p), bytes, access ? PROT_READ | PROT_WRITE : PROT_NONE);
}

void on_fault(int, siginfo_t* info, void*) {
  const auto at = reinterpret_cast<uintptr_t>(info->si_addr);
  bool device = false;
  for (const auto& [p, bytes] : mappings().all) device |= p <= at && at < p + bytes;
  if (device) {
    static const char text[] = "emulation: host code touches device memory\n";
    if (write(STDERR_FILENO, text, sizeof text - 1) < 0) _exit(9);
    void* frames[24];
    backtrace_symbols_fd(frames, backtrace(frames, 24), STDERR_FILENO);
  }
  sigaction(SIGSEGV, &before, nullptr);  // the access is made again, and goes to whoever was there before
}

size_t pages(size_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }

}  // namespace

bool protects() {
  static const bool on = [] {
    const char* s = std::getenv("FS_EMU_PROTECT");
    if (!s || !*s || *s == '0') return false;
    void* first[1];
    backtrace(first, 1);  // loads what it needs, which a signal handler may not
    struct sigaction action = {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    return sigaction(SIGSEGV, &action, &before) == 0;
  }();
  return on;
}

void* map_protected(size_t bytes) {
  Mappings& m = mappings();
  const std::lock_guard lock(m.mutex);
  // One page more, never accessible, stops what runs over the end.
  void* p = mmap(nullptr, pages(bytes) + kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) return nullptr;
  const auto address = reinterpret_cast<uintptr_t>(p);
  m.all[address] = pages(bytes);
  if (m.open) allow(address, pages(bytes), true);
  return p;
}

void unmap_protected(void* p, size_t bytes) {
  Mappings& m = mappings();
  const std::lock_guard lock(m.mutex);
  m.all.erase(reinterpret_cast<uintptr_t>(p));
  munmap(p, pages(bytes) + kPage);
}

DeviceAccess::DeviceAccess() {
  if (!protects()) return;
  Mappings& m = mappings();
  const std::lock_guard lock(m.mutex);
  if (m.open++ == 0)
    for (const auto& [p, bytes] : m.all) allow(p, bytes, true);
}
DeviceAccess::~DeviceAccess() {
  if (!protects()) return;
  Mappings& m = mappings();
  const std::lock_guard lock(m.mutex);
  if (--m.open == 0)
    for (const auto& [p, bytes] : m.all) allow(p, bytes, false);
}

}  // namespace fireseed::cuda_emu

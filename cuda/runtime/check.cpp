// Failed CUDA calls as exceptions; which op caused a sticky error.
#include "runtime/check.h"

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <string>

#include "base/error.h"

namespace fireseed::cuda {
namespace {

constexpr unsigned kRemembered = 16;

// The ops launched last; written without a lock, as it serves only messages.
struct Recent {
  std::atomic<const char*> ops[kRemembered] = {};
  std::atomic<unsigned> next{0};
};
Recent recent;
std::atomic<bool> lost{false};

bool is_sticky([[maybe_unused]] cudaError_t code) {
#if defined(FS_CUDA_EMU)
  return false;  // a failed kernel leaves the emulation usable
#else
  switch (code) {
    case cudaErrorIllegalAddress:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorIllegalInstruction:
    case cudaErrorHardwareStackError:
    case cudaErrorLaunchFailure:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorECCUncorrectable:
    case cudaErrorUnknown: return true;
    default: return false;
  }
#endif
}

bool synchronous() {
  static const bool on = [] {
    const char* e = std::getenv("FIRESEED_CUDA_SYNC");
    return e && *e && std::strcmp(e, "0") != 0;
  }();
  return on;
}

std::string suspects() {
  std::string text;
  const unsigned n = recent.next.load(std::memory_order_relaxed);
  for (unsigned i = 0; i < kRemembered && i < n; ++i) {
    const char* op = recent.ops[(n - 1 - i) % kRemembered].load(std::memory_order_relaxed);
    if (!op) break;
    text += (i ? ", " : "") + std::string(op);
  }
  return text;
}

}  // namespace

void fail_cuda(cudaError_t code, const char* what) {
  cudaGetLastError();  // clears it, unless it is sticky
  const char* op = running_op;
  if (lost.load()) {
    fail(ErrorKind::kRuntime, op ? op : what,
         ": the CUDA device was lost by an earlier error, which was reported then; restart the process");
  }
  const std::string who = op ? std::string(op) + ": " : "";
  if (is_sticky(code)) {
    lost = true;
    const std::string named = suspects();
    fail(
        ErrorKind::kRuntime, who, "CUDA error: ", cudaGetErrorString(code), " (", cudaGetErrorName(code), "). ",
        synchronous() || named.empty()
            ? std::string("The op's kernel failed: ") + what + "."
            : "Kernels run asynchronously: it was caused by one of the ops launched since the device was last waited "
              "for (last first): " +
                  named + ". Run with FIRESEED_CUDA_SYNC=1 to see which.",
        " The device is lost to this process.");
  }
  fail(ErrorKind::kRuntime, who, "CUDA error: ", cudaGetErrorString(code), " (", cudaGetErrorName(code), ") in ",
       what);
}

void check_kernel(const char* op) {
  const unsigned n = recent.next.fetch_add(1, std::memory_order_relaxed);
  recent.ops[n % kRemembered].store(op, std::memory_order_relaxed);
  const cudaError_t code = cudaGetLastError();  // under FIRESEED_CUDA_SYNC=1 FS_LAUNCH has waited
  if (__builtin_expect(code != cudaSuccess, false)) {
    const char* const before = running_op;
    running_op = op;
    struct Restore {
      const char* op;
      ~Restore() { running_op = op; }
    } restore{before};
    fail_cuda(code, "launch");
  }
}

void all_is_well() {
  for (auto& op : recent.ops) op.store(nullptr, std::memory_order_relaxed);
}

}  // namespace fireseed::cuda

// Chooses the kernels for this machine, once, by what the processor can do (FIRESEED_ISA=v2|v3|v4|neon forces one).
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "cpu/kernel_table.h"

namespace fireseed::cpu {

#ifdef FS_HAVE_V2
namespace v2 {
extern const Kernel kTable[];
}
#endif
#ifdef FS_HAVE_V3
namespace v3 {
extern const Kernel kTable[];
}
#endif
#ifdef FS_HAVE_V4
namespace v4 {
extern const Kernel kTable[];
}
#endif
#ifdef FS_HAVE_NEON
namespace neon {
extern const Kernel kTable[];
}
#endif

namespace {

struct Choice {
  const char* name;
  const Kernel* table;
};

#if defined(__x86_64__)
[[maybe_unused]] bool has_v3() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2") &&
         __builtin_cpu_supports("bmi") && __builtin_cpu_supports("f16c");
}
[[maybe_unused]] bool has_v4() {
  return has_v3() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl");
}
#endif

Choice choose() {
  Choice usable[4];
  int n = 0;  // best first
#if defined(__x86_64__)
  __builtin_cpu_init();
#endif
#ifdef FS_HAVE_V4
  if (has_v4()) usable[n++] = {"v4", v4::kTable};
#endif
#ifdef FS_HAVE_V3
  if (has_v3()) usable[n++] = {"v3", v3::kTable};
#endif
#ifdef FS_HAVE_V2
  usable[n++] = {"v2", v2::kTable};
#endif
#ifdef FS_HAVE_NEON
  usable[n++] = {"neon", neon::kTable};
#endif
  if (n == 0) {
    std::fprintf(stderr, "fireseed: this build has no kernels for this processor\n");
    std::abort();
  }
  if (const char* want = std::getenv("FIRESEED_ISA"); want && *want) {
    for (int i = 0; i < n; ++i)
      if (!std::strcmp(usable[i].name, want)) return usable[i];
    std::fprintf(stderr, "fireseed: FIRESEED_ISA=%s is not available here; using %s\n", want, usable[0].name);
  }
  return usable[0];
}

const Choice& choice() {
  static const Choice c = choose();
  return c;
}

}  // namespace

const Kernel* kernels() { return choice().table; }
const char* isa_name() { return choice().name; }

}  // namespace fireseed::cpu

// planted(): runs a kernel right and with a bug, each in a child process, and expects the bug to be caught.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

#include "base/error.h"
#include "engine.h"

namespace fireseed::cuda_emu {

enum Build { kPlain = 1, kAddress = 2, kThread = 4, kAll = 7 };
constexpr Build this_build() {
#if defined(__SANITIZE_ADDRESS__)
  return kAddress;
#elif defined(__SANITIZE_THREAD__)
  return kThread;
#else
  return kPlain;
#endif
}

// Runs f(seed) for eight seeds in a child; true where it ended well: all results right, no report. `said` gets
// stderr.
template <class F>
bool ends_well(F f, std::string& said) {
  const std::string file = "/tmp/fireseed_planted_" + std::to_string(getpid());
  const pid_t child = fork();
  if (child == 0) {
    if (!freopen(file.c_str(), "w", stderr)) _exit(9);
    bool good = true;
    for (uint64_t s = 0; s < 8 && good; ++s) {
      set_seed(s);
      try {
        good = f();
        if (!good) std::fprintf(stderr, "wrong result");
      } catch (const Error& e) {
        std::fprintf(stderr, "%s", e.what());
        good = false;
      }
    }
    std::exit(good ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  std::ifstream in(file);
  std::ostringstream text;
  text << in.rdbuf();
  said = text.str();
  std::remove(file.c_str());
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

// `run(bug)` launches the kernel and tells whether the result is right. The bug must be caught in `builds`; where
// `text` is given, plain builds must say it.
template <class F>
void planted(const char* name, int builds, F run, const char* text = "") {
  SCOPED_TRACE(name);
  std::string said;
  EXPECT_TRUE(ends_well([&] { return run(false); }, said)) << said;
  if (!(builds & this_build())) return;
  EXPECT_FALSE(ends_well([&] { return run(true); }, said));
  EXPECT_NE(said.find(text), std::string::npos) << said;
}

}  // namespace fireseed::cuda_emu

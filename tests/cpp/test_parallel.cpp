// Tests of the thread pool: every element once, same cut for any thread count, nesting, concurrency and fork.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/parallel.h"

namespace fireseed {
namespace {

// Leaves the number of threads as it was.
class Parallel : public ::testing::Test {
 protected:
  void SetUp() override { before_ = num_threads(); }
  void TearDown() override { set_num_threads(before_); }
  int before_ = 1;
};

int64_t sum_to(int64_t n, int64_t chunk) {
  std::atomic<int64_t> sum{0};
  parallel_for(n, chunk, [&](int64_t b, int64_t e) {
    int64_t s = 0;
    for (int64_t i = b; i < e; ++i) s += i;
    sum += s;
  });
  return sum;
}

TEST_F(Parallel, CoversEveryElementOnce) {
  for (int threads : {1, 2, 3, 8}) {
    set_num_threads(threads);
    EXPECT_EQ(num_threads(), threads);
    for (int64_t n : {0, 1, 2, 7, 64, 1000, 4097}) {
      for (int64_t chunk : {1, 3, 64, 5000}) {
        std::vector<std::atomic<int>> hits(static_cast<size_t>(n));
        parallel_for(n, chunk, [&](int64_t b, int64_t e) {
          EXPECT_EQ(b % chunk, 0);
          EXPECT_TRUE(e - b == chunk || e == n);
          for (int64_t i = b; i < e; ++i) ++hits[static_cast<size_t>(i)];
        });
        for (auto& h : hits) ASSERT_EQ(h, 1);
      }
    }
  }
}

TEST_F(Parallel, ManyShortRegions) {
  set_num_threads(4);
  for (int i = 0; i < 20000; ++i) ASSERT_EQ(sum_to(100, 10), 4950);
}

TEST_F(Parallel, WakesParkedHelpers) {
  set_num_threads(2);
  for (int i = 0; i < 20; ++i) {
    ASSERT_EQ(sum_to(1000, 10), 499500);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

TEST_F(Parallel, NestedCallsRun) {
  set_num_threads(4);
  std::atomic<int64_t> sum{0};
  parallel_for(16, 1, [&](int64_t b, int64_t e) {
    for (int64_t i = b; i < e; ++i) sum += sum_to(100, 7);
  });
  EXPECT_EQ(sum, 16 * 4950);
}

TEST_F(Parallel, SeveralUserThreads) {
  set_num_threads(3);
  std::atomic<int> wrong{0};
  std::vector<std::thread> users;
  for (int t = 0; t < 4; ++t) {
    users.emplace_back([&] {
      for (int i = 0; i < 2000; ++i) wrong += sum_to(1000, 50) != 499500;
    });
  }
  for (auto& t : users) t.join();
  EXPECT_EQ(wrong, 0);
}

TEST_F(Parallel, ThreadCountMayChangeAtAnyTime) {
  std::atomic<bool> stop{false};
  std::thread changer([&] {
    for (int i = 0; !stop; ++i) {
      set_num_threads(1 + i % 5);
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
  });
  for (int i = 0; i < 3000; ++i) EXPECT_EQ(sum_to(1000, 20), 499500);
  stop = true;
  changer.join();
}

TEST_F(Parallel, RefusesNonsense) {
  EXPECT_THROW(set_num_threads(0), Error);
  EXPECT_THROW(set_num_threads(-3), Error);
}

#if !defined(__SANITIZE_THREAD__)  // ThreadSanitizer does not support threads after fork
TEST_F(Parallel, ChildOfForkHasAWorkingPool) {
  set_num_threads(3);
  ASSERT_EQ(sum_to(1000, 10), 499500);
  for (int round = 0; round < 5; ++round) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      bool right = num_threads() == 3;
      for (int i = 0; i < 100; ++i) right = right && sum_to(1000, 10) == 499500;
      _exit(right ? 0 : 1);
    }
    ASSERT_EQ(sum_to(1000, 10), 499500);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
}

TEST_F(Parallel, ForkWhileAnotherThreadIsInARegion) {
  set_num_threads(3);
  std::atomic<bool> stop{false};
  std::thread other([&] {
    while (!stop) sum_to(100000, 100);
  });
  for (int round = 0; round < 20; ++round) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      alarm(20);
      _exit(sum_to(1000, 10) == 499500 ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
  stop = true;
  other.join();
}
#endif

}  // namespace
}  // namespace fireseed

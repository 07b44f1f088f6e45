// Thread-local switches that apply reads: gradient recording, inference, anomaly watch.
#pragma once

#include <cstdint>

namespace fireseed {

struct Mode {
  bool grad_enabled = true;
  bool inference = false;
  bool anomaly = false;  // record where each node was made; check gradients for NaN
  uint8_t autocast = 0;  // on the CPU (1), on CUDA (2): engine/autocast.h
};

extern thread_local Mode mode __attribute__((tls_model("initial-exec")));

// Sets grad_enabled for a scope.
class GradMode {
 public:
  explicit GradMode(bool on) : before_(mode.grad_enabled) { mode.grad_enabled = on; }
  ~GradMode() { mode.grad_enabled = before_; }
  GradMode(const GradMode&) = delete;
  GradMode& operator=(const GradMode&) = delete;

 private:
  bool before_;
};

}  // namespace fireseed

// Autocast: which dtype an op's inputs are cast to while automatic mixed precision is on.
#pragma once

#include "engine/mode.h"
#include "engine/op.h"

namespace fireseed {

// Note [Autocast]
// Inside `with autocast(…)` each op on the device named casts its floating inputs by its policy: products run in the
// lower dtype (bfloat16 or float16), what loses accuracy there in float32, and what takes several inputs in the
// widest of them. The casts are ops, so gradients come back in the dtype of what was cast. The policies are
// PyTorch's, by name, in ops/autocast.cpp. They are applied at two places: bind/ casts the arguments of a named
// function and runs it with autocast off, as PyTorch does; apply casts the inputs of an op that some other function
// uses. float64, integers and Python numbers are never cast. Casts of leaf parameters are kept until the outermost
// autocast ends.
struct AutocastState {
  DType lower[2] = {DType::kBFloat16, DType::kBFloat16};  // by DeviceKind
  bool cache = true;
  int nesting = 0;
};
extern thread_local AutocastState autocast_state;

// Bits of Mode::autocast.
constexpr uint8_t autocast_bit(DeviceKind kind) { return kind == DeviceKind::kCpu ? 1 : 2; }

// May autocast change the dtype of t on devices of this kind?
bool autocast_eligible(const Tensor& t, DeviceKind kind);
// The dtype that a policy asks for; `widest` is the widest eligible input, for kWidest. Throws for kRefused.
DType autocast_target(CastPolicy policy, DeviceKind kind, DType widest, const char* name);
// t in that dtype, from the cache where it is a parameter.
Tensor autocast_to(const Tensor& t, DType dtype, DeviceKind kind);
void clear_autocast_cache();
// apply with the inputs cast.
void apply_with_autocast(const Op& op, Inputs in, const void* attrs, Tensor* out);

// Turns autocast off for a scope.
class AutocastOff {
 public:
  AutocastOff() : before_(mode.autocast) { mode.autocast = 0; }
  ~AutocastOff() { mode.autocast = before_; }
  AutocastOff(const AutocastOff&) = delete;
  AutocastOff& operator=(const AutocastOff&) = delete;

 private:
  uint8_t before_;
};

}  // namespace fireseed

// Recorder: what is told of every op that is applied, for tapes and exports.
#pragma once

#include "engine/op.h"

namespace fireseed {

// One call of apply, alive while Recorder::step runs. The same things that a Node holds: a tape that keeps the op, a
// copy of the attrs (attrs_size bytes) and a slot for each tensor can run it again.
struct Step {
  const Op& op;
  Inputs in;          // undefined: an absent optional operand
  const void* attrs;  // null where op.attrs_size is 0
  std::span<const Tensor> out;
  bool in_place;  // out[0] is in[0], whose memory is written next: step() comes before, and still sees the old values
};

// Note [Recording]
// Everything is computed by apply and apply_inplace, so one hook there sees a whole step: forward, backward,
// optimizer. A tensor's identity is its impl(); a recorder that compares impls must keep the tensors alive, or their
// addresses may be used again. What it sees as an input and never saw as an output came from outside: a parameter,
// data, a new tensor. (detach() and .data make such tensors too; they share the storage of one that it knows.) step()
// may throw: the op has been computed then, its result is lost.
class Recorder {
 public:
  virtual ~Recorder() = default;
  virtual void step(const Step& s) = 0;
};

// This thread's recorder, or null: then each apply pays one load and one branch.
extern thread_local Recorder* recorder __attribute__((tls_model("initial-exec")));

// Replaces the recorder for a scope.
class RecorderScope {
 public:
  explicit RecorderScope(Recorder* r) : before_(recorder) { recorder = r; }
  ~RecorderScope() { recorder = before_; }
  RecorderScope(const RecorderScope&) = delete;
  RecorderScope& operator=(const RecorderScope&) = delete;

 private:
  Recorder* before_;
};

}  // namespace fireseed

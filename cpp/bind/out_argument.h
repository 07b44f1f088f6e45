// The out= argument: what it may be, and copying a result into it.
#pragma once

#include "bind/function.h"

namespace fireseed::bind {

// Copies result (a Tensor or a tuple of them; the reference is taken) into out and returns out. slots: the call's
// arguments, which out must not partly share memory with. Raises RuntimeError as PyTorch where out has memory used
// twice, overlaps an input, would need a gradient or cannot hold the result's dtype; warns where it is resized.
PyObject* copy_to_out(const Function& f, PyObject* const* slots, size_t num_slots, PyObject* result, PyObject* out);

}  // namespace fireseed::bind

// apply: the one way anything is computed.
#pragma once

#include <initializer_list>

#include "engine/op.h"

namespace fireseed {

// infer -> allocate -> kernel -> record. in may hold undefined tensors for absent optional operands.
// out has room for op.num_outputs tensors, all undefined on entry.
void apply(const Op& op, Inputs in, const void* attrs, Tensor* out);

// The one-output call, for ops/: apply1(op::exp, {x}), apply1(op::softmax, {x}, SoftmaxAttrs{dim}).
inline Tensor apply1(const Op& op, std::initializer_list<Tensor> in) {
  Tensor out;
  apply(op, Inputs(in.begin(), in.size()), nullptr, &out);
  return out;
}
template <class A>
Tensor apply1(const Op& op, std::initializer_list<Tensor> in, const A& attrs) {
  Tensor out;
  apply(op, Inputs(in.begin(), in.size()), &attrs, &out);
  return out;
}

// x <- op(x, rest…), where in[0] is x: writes over x's memory where the op allows it, else computes and copies.
// Refuses leaves that want a gradient, expanded tensors, shapes that x cannot hold, dtypes x cannot take.
void apply_inplace(const Op& op, Inputs in, const void* attrs);
// The check alone: may x be written in place now?
void check_inplace(const Tensor& x, const char* op_name);

// Numeric anomaly and profiling attach here (set by bind/); null costs one load.
extern void (*node_created)(Node*);

// The lock of the host language (Python's GIL), given up while a long kernel runs. release returns null where this
// thread does not hold it.
struct HostLock {
  void* (*release)() = nullptr;
  void (*acquire)(void*) = nullptr;
};
extern HostLock host_lock;

// What the engine needs done and cannot do itself, as it stands below ops/; filled by ops/ at load.
struct EngineOps {
  Tensor (*add)(const Tensor& a, const Tensor& b) = nullptr;
  void (*add_)(const Tensor& a, const Tensor& b) = nullptr;        // in place
  Tensor (*sum_to)(const Tensor& x, const Dims& sizes) = nullptr;  // undoes broadcasting
  Tensor (*cast)(const Tensor& x, DType dtype) = nullptr;
  Tensor (*clone)(const Tensor& x) = nullptr;  // contiguous copy
  Tensor (*expand)(const Tensor& x, const Dims& sizes) = nullptr;
  Tensor (*move)(const Tensor& x, Device device) = nullptr;
  Tensor (*zeros)(const Dims& sizes, DType dtype, Device device) = nullptr;
  Tensor (*ones)(const Dims& sizes, DType dtype, Device device) = nullptr;
  void (*copy_)(const Tensor& dst, const Tensor& src) = nullptr;
  Tensor (*as_strided)(const Tensor& x, const Dims& sizes, const Dims& strides, int64_t offset) = nullptr;
  // Zeros of `sizes`, contiguous, with g added at the window of these strides.
  Tensor (*window_backward)(const Tensor& g, const Dims& sizes, const Dims& strides, int64_t offset) = nullptr;
};
extern EngineOps engine_ops;

}  // namespace fireseed

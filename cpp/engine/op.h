// The Op record: all that the engine knows of an operation, and what its rules see when they are called.
#pragma once

#include <cstdint>
#include <span>

#include "engine/node.h"
#include "tensor/tensor.h"

namespace fireseed {

// What passes read; no pass lists ops by name.
enum OpFlag : uint32_t {
  kPointwise = 1,  // inputs broadcast to the output's shape; element i depends on elements i alone
  kView = 2,       // output 0 shares input 0's storage; no kernel
  kReduce = 4,
  kRandom = 8,          // draws from a generator
  kHostSync = 16,       // the output's shape depends on data
  kInPlaceOk = 32,      // the kernel may write its output over input 0
  kMutatesInputs = 64,  // writes into inputs (optimizer steps); runs even where no output has elements
  kNotDifferentiable = 128,
  kBilinear = 256,    // input 0 is saved only where input 1 wants a gradient, and the other way round
  kSavesSizes = 512,  // the node keeps the sizes of all inputs (Vjp::saved_sizes)
  kTransfer = 1024,   // copies from the last input to output 0, which may lie on another device
};

// What autocast does to the inputs (engine/autocast.h).
// kAsIs: a function whose ops are not cast either.
enum class CastPolicy : uint8_t { kNone, kLower, kFloat32, kWidest, kRefused, kAsIs };

// Bits of Op::saves.
constexpr uint32_t save_input(int i) { return 1u << i; }
constexpr uint32_t save_output(int i) { return 1u << (16 + i); }

// What a gradient rule sees of the recorded call. input()/output() throw if the tensor was not saved, was freed, or
// was overwritten in place since.
class Vjp {
 public:
  explicit Vjp(const Node& node) : node_(node) {}
  Tensor input(int i) const { return node_.saved_input(i); }
  Tensor output(int i = 0) const { return node_.saved_output(i); }
  bool needs(int i) const { return i < node_.num_inputs && node_.edges()[i].defined(); }
  int num_inputs() const { return node_.num_inputs; }
  // Shape and dtype of input i; only where needs(i).
  Dims input_sizes(int i) const { return node_.edges()[i].sizes(); }
  DType input_dtype(int i) const { return node_.edges()[i].dtype(); }
  Dims saved_sizes(int i) const { return node_.saved_input_sizes(i); }  // ops with kSavesSizes: any input
  Dims output_sizes(int i = 0) const { return node_.outputs()[i].shape(); }
  DType output_dtype(int i = 0) const { return node_.outputs()[i].dtype; }
  Device device() const { return node_.outputs()[0].device; }
  template <class A>
  const A& attrs() const {
    return *static_cast<const A*>(node_.attrs());
  }

 private:
  const Node& node_;
};

using Inputs = std::span<const Tensor>;
// Checks inputs and makes the outputs' shells (make_shell), or, for a view, the alias. The only place that throws
// for shapes and dtypes.
using InferFn = void (*)(Inputs in, const void* attrs, Tensor* out);
// g[i]: cotangent of output i (undefined = zero, only possible for ops with several outputs).
// Sets gx[i] for each input with needs(i); an undefined gx[i] means zero. A gx of a broadcast shape or another float
// dtype is summed and cast by the engine.
using VjpFn = void (*)(const Vjp& c, const Tensor* g, Tensor* gx);

struct Op {
  const char* name = nullptr;
  uint32_t flags = 0;
  uint32_t saves = 0;  // save_input(i) | save_output(i)
  uint16_t attrs_size = 0;
  int16_t num_outputs = 1;
  uint32_t host_inputs = 0;  // save_input bits of inputs that every kernel reads on the host (sizes, hyperparameters)
  CastPolicy autocast[2] = {};  // by DeviceKind; filled at load from the lists in ops/autocast.cpp
  InferFn infer = nullptr;
  VjpFn vjp = nullptr;        // in differentiable ops: serves any order
  VjpFn vjp_fused = nullptr;  // optional: serves where create_graph is off
  Kernel cpu = nullptr;       // filled at load for this machine's instruction set
  Kernel cuda = nullptr;      // filled when the CUDA plugin loads

  bool has(OpFlag f) const { return flags & f; }
};

}  // namespace fireseed

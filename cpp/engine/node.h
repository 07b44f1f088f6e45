// Node: one recorded call in the graph of the backward pass.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace fireseed {

struct Op;

// Where the gradient of one input goes: to an output of the node that made it, or to a leaf.
struct Edge {
  Node* node = nullptr;        // owned
  TensorImpl* leaf = nullptr;  // owned
  uint32_t output_nr = 0;

  bool defined() const { return node || leaf; }
  Dims sizes() const;
  DType dtype() const;
};

struct Saved {
  TensorImpl* tensor = nullptr;  // owned
  uint32_t version = 0;
};

// What the engine knows of one output, with the slot in which its gradient is summed during a backward pass.
struct OutputMeta {
  Tensor gradient;
  DType dtype;
  int8_t ndim;
  Device device;
  const int64_t* sizes;
  Dims shape() const { return Dims(sizes, ndim); }
};

// A gradient rule that is no op: autograd.Function, writes through views.
struct CustomRule {
  virtual ~CustomRule() = default;
  virtual void backward(const Node& node, const Tensor* g, Tensor* gx, bool create_graph) = 0;
  virtual void release_saved() {}
  virtual std::string name() const = 0;
  // The Python object that stands for the node (autograd.Function), or null.
  virtual void* python_object() const { return nullptr; }
};

struct Hook {
  int64_t id;
  std::function<Tensor(const Tensor&)> call;  // an undefined result leaves the gradient as it is
};

// Things few nodes have.
struct NodeExtra {
  std::vector<std::pair<int, Hook>> output_hooks;     // (output, hook)
  std::vector<std::pair<int, TensorImpl*>> retained;  // not owned: a dying tensor takes itself out
  std::vector<std::pair<int64_t, std::function<void(std::vector<Tensor>&, std::vector<Tensor>&)>>> post_hooks;
  std::vector<std::pair<int64_t, std::function<void(std::vector<Tensor>&)>>> pre_hooks;
  std::string trace;  // anomaly mode: where the forward call was made
};

struct Node {
  std::atomic<int32_t> refs{1};
  bool released = false;  // saved tensors were freed by a backward pass
  bool queued = false;
  uint8_t num_outputs = 0;
  uint16_t num_inputs = 0;
  uint16_t num_saved = 0;
  uint32_t bytes = 0;       // of this allocation
  uint32_t saved_mask = 0;  // bits of Op::saves that are really kept, in ascending order in saved()
  uint64_t order = 0;       // greater than that of every node it depends on
  const Op* op = nullptr;
  CustomRule* custom = nullptr;  // owned
  NodeExtra* extra = nullptr;    // owned
  Edge* edges_ = nullptr;
  Saved* saved_ = nullptr;
  OutputMeta* outputs_ = nullptr;
  char* attrs_ = nullptr;
  const int64_t* input_sizes_ = nullptr;  // per input: rank, then kMaxRank sizes (kSavesSizes only)

  Edge* edges() const { return edges_; }
  Saved* saved() const { return saved_; }
  OutputMeta* outputs() const { return outputs_; }
  const void* attrs() const { return attrs_; }
  NodeExtra& extras() {
    if (!extra) extra = new NodeExtra;
    return *extra;
  }
  std::string name() const;  // "AddBackward0"
  Tensor saved_input(int i) const;
  Tensor saved_output(int i) const;
  Dims saved_input_sizes(int i) const;
  void release_saved();

  // Edges start undefined; outputs' metadata is copied from `outs`.
  static Node* make(const Op* op, CustomRule* custom, int num_inputs, const Tensor* outs, int num_outputs,
                    int num_saved, const void* attrs, size_t attrs_size);
  static void destroy(Node* n);  // never recurses, however long the chain

 private:
  Tensor unpack(int bit) const;
};

using NodeRef = Ref<Node>;

// Hooks and the like of a leaf.
struct TensorHooks {
  std::vector<Hook> hooks;                                                              // on the gradient
  std::vector<std::pair<int64_t, std::function<void(const Tensor&)>>> post_accumulate;  // after .grad was written
  Tensor pending;  // gradient summed in this pass
};

// The edge a gradient for x takes; undefined where x wants none. Brings the history of a view up to date.
Edge gradient_edge(const Tensor& x);
// grad_fn of x (not owned by the result; null for leaves), up to date.
Node* grad_fn(const Tensor& x);
void set_history(const Tensor& out, Node* node, int output_nr);  // shares node
// After an in-place write recorded as `node` (whose output 0 is x): x, and the base it is a view of, get new
// histories.
void rebase_history(const Tensor& x, Node* node);
void set_edge(Edge& slot, Edge edge);  // takes over edge's counts

int64_t add_hook(const Tensor& x, std::function<Tensor(const Tensor&)> f);  // returns its id
void remove_hook(const Tensor& x, int64_t id);
int64_t next_hook_id();
void retain_grad(const Tensor& x);
void install_autograd_handlers();

}  // namespace fireseed

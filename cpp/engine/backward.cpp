// The backward pass: nodes run in the order of decreasing age numbers, on the calling thread, without recursion.
#include "engine/backward.h"

#include <algorithm>
#include <cmath>
#include <mutex>
#include <unordered_map>

#include "engine/apply.h"
#include "engine/autocast.h"
#include "engine/mode.h"

namespace fireseed {

// Note [Order of the backward pass]
// Node::order is greater than the order of every node a node depends on. Taking the waiting node with the greatest
// order therefore takes it after all its consumers: its gradient is complete, with no counting pass beforehand.
namespace {

// One pass at a time: gradients are summed in slots inside the nodes. Recursive, as a rule may run a pass of its own
// (checkpointing).
std::recursive_mutex pass_mutex;

class Pass {
 public:
  Pass(const BackwardOptions& options, const std::vector<Tensor>* inputs, bool capture)
      : options_(options), inputs_(inputs && !inputs->empty() ? inputs : nullptr), capture_(capture) {}

  ~Pass() {  // after an error: leave no gradients in slots
    for (Node* n : queue_) {
      n->queued = false;
      for (int i = 0; i < n->num_outputs; ++i) n->outputs()[i].gradient = Tensor();
    }
    for (TensorImpl* leaf : hooked_leaves_)
      if (leaf->hooks) leaf->hooks->pending = Tensor();
  }

  void run(const std::vector<Tensor>& roots, const std::vector<Tensor>& seeds) {
    if (inputs_) find_needed(roots);
    if (capture_) captured_.resize(inputs_ ? inputs_->size() : 0);
    GradMode grad(options_.create_graph);
    const AutocastOff off;  // gradients have the dtypes of the forward pass
    for (size_t i = 0; i < roots.size(); ++i) {
      Edge e = gradient_edge(roots[i]);
      Edge owner;
      set_edge(owner, e);
      route(owner, seeds[i]);
      set_edge(owner, Edge{});
    }
    std::vector<Tensor> gx;
    while (!queue_.empty()) {
      std::pop_heap(queue_.begin(), queue_.end(), earlier);
      Node* n = queue_.back();
      queue_.pop_back();
      n->queued = false;
      execute(n, gx);
    }
    // The list may grow: a hook may itself add gradients.
    for (size_t i = 0; i < hooked_leaves_.size(); ++i) finish_leaf(hooked_leaves_[i]);
    hooked_leaves_.clear();
  }

  std::vector<Tensor>& captured() { return captured_; }

 private:
  static bool earlier(const Node* a, const Node* b) { return a->order < b->order; }

  // Which nodes lie on a path from the roots to the inputs.
  void find_needed(const std::vector<Tensor>& roots) {
    for (const Tensor& x : *inputs_) {
      if (Node* n = grad_fn(x)) {
        targets_.push_back({n, x.impl()->output_nr});
        needed_[n] = true;
      } else {
        targets_.push_back({nullptr, 0});
      }
    }
    std::vector<std::pair<Node*, int>> stack;
    std::unordered_map<Node*, bool> seen;
    for (const Tensor& r : roots)
      if (Node* n = grad_fn(r)) stack.push_back({n, 0});
    while (!stack.empty()) {
      auto& [n, i] = stack.back();
      if (i == 0) {
        if (seen.count(n)) {
          stack.pop_back();
          continue;
        }
      }
      if (i < n->num_inputs) {
        const Edge& e = n->edges()[i++];
        if (e.leaf) {
          if (is_input_leaf(e.leaf)) needed_[n] = runs_[n] = true;
        } else if (e.node && !seen.count(e.node)) {
          stack.push_back({e.node, 0});
        }
        continue;
      }
      seen[n] = true;
      for (int k = 0; k < n->num_inputs; ++k) {
        const Edge& e = n->edges()[k];
        if (e.node && needed_.count(e.node)) needed_[n] = runs_[n] = true;
      }
      stack.pop_back();
    }
  }
  bool is_input_leaf(const TensorImpl* leaf) const {
    for (const Tensor& x : *inputs_)
      if (x.impl() == leaf) return true;
    return false;
  }

  void route(const Edge& e, Tensor g) {
    if (!e.defined() || !g.defined()) return;
    if (e.leaf) {
      to_leaf(e.leaf, std::move(g));
      return;
    }
    Node* n = e.node;
    if (inputs_ && !needed_.count(n)) return;
    Tensor& slot = n->outputs()[e.output_nr].gradient;
    add_to(slot, std::move(g));
    if (!n->queued) {
      n->queued = true;
      queue_.push_back(n);
      std::push_heap(queue_.begin(), queue_.end(), earlier);
    }
  }

  void add_to(Tensor& sum, Tensor g) {
    if (!sum.defined()) {
      sum = std::move(g);
    } else if (!options_.create_graph && owned(sum)) {
      engine_ops.add_(sum, g);
    } else {
      sum = engine_ops.add(sum, g);
    }
  }
  // Nobody else sees this memory.
  static bool owned(const Tensor& t) {
    return t.unique() && !t.is_view() && t.is_contiguous() &&
           t.impl()->storage->refs.load(std::memory_order_acquire) == 1 && !t.impl()->storage->deleter;
  }

  void to_leaf(TensorImpl* leaf, Tensor g) {
    if (inputs_ && !is_input_leaf(leaf)) return;
    if (leaf->hooks || capture_) {
      if (!leaf->hooks) leaf->hooks = new TensorHooks;
      if (!leaf->hooks->pending.defined()) {
        hooked_leaves_.push_back(leaf);
        ref_inc(leaf);
        keep_.push_back(Tensor::adopt(leaf));
      }
      add_to(leaf->hooks->pending, std::move(g));
      return;
    }
    accumulate(leaf, std::move(g));
  }

  void finish_leaf(TensorImpl* leaf) {
    Tensor g = std::exchange(leaf->hooks->pending, Tensor());
    if (!g.defined()) return;
    for (size_t i = 0; leaf->hooks && i < leaf->hooks->hooks.size(); ++i) {
      auto call = leaf->hooks->hooks[i].call;  // a hook may remove itself
      Tensor r = call(g);
      if (r.defined()) g = r;
    }
    if (capture_) {
      for (size_t i = 0; i < inputs_->size(); ++i)
        if ((*inputs_)[i].impl() == leaf) captured_[i] = g;
      return;
    }
    accumulate(leaf, std::move(g));
    if (leaf->hooks && !leaf->hooks->post_accumulate.empty()) {
      auto list = leaf->hooks->post_accumulate;
      for (auto& h : list) h.second(Tensor::share(leaf));
    }
  }

  void accumulate(TensorImpl* leaf, Tensor g) {
    if (!leaf->grad) {
      if (!options_.create_graph && (!owned(g) || g.requires_grad())) g = engine_ops.clone(g);
      leaf->grad = g.release();
      return;
    }
    Tensor sum = Tensor::share(leaf->grad);
    if (!options_.create_graph && !sum.requires_grad()) {
      engine_ops.add_(sum, g);
      return;
    }
    sum = engine_ops.add(sum, g);
    Tensor::share(leaf).set_grad(sum);
  }

  void execute(Node* n, std::vector<Tensor>& gx) {
    Tensor few[4];
    std::vector<Tensor> many;
    Tensor* g = few;
    if (n->num_outputs > 4) {
      many.resize(n->num_outputs);
      g = many.data();
    }
    for (int i = 0; i < n->num_outputs; ++i) g[i] = std::move(n->outputs()[i].gradient);
    if (__builtin_expect(n->extra != nullptr, false)) run_output_hooks(n, g);
    if (capture_)
      for (size_t i = 0; i < targets_.size(); ++i)
        if (targets_[i].first == n) captured_[i] = g[targets_[i].second];
    if (inputs_ && !runs_.count(n)) return;
    FS_CHECK(
        !n->released || n->num_saved == 0,
        "Trying to backward through the graph a second time (or directly access saved tensors after they have "
        "already been freed), at ",
        n->name(),
        ". Saved intermediate values of the graph are freed when you call .backward() or autograd.grad(). Specify "
        "retain_graph=True if you need to backward through the graph a second time or if you need to access saved "
        "tensors after calling backward.");
    const size_t count = n->num_inputs;
    gx.assign(count, Tensor());
    if (n->custom) {
      FS_CHECK(!n->released, "Trying to backward through the graph a second time, at ", n->name(),
               ". Specify retain_graph=True if you need to backward through the graph a second time.");
      n->custom->backward(*n, g, gx.data(), options_.create_graph);
    } else {
      const VjpFn rule = !options_.create_graph && n->op->vjp_fused ? n->op->vjp_fused : n->op->vjp;
      FS_CHECK_KIND(rule, ErrorKind::kNotImplemented, "derivative for ", n->op->name, " is not implemented");
      rule(Vjp(*n), g, gx.data());
    }
    if (__builtin_expect(mode.anomaly, false)) check_finite(n, gx);
    if (__builtin_expect(n->extra && !n->extra->post_hooks.empty(), false)) {
      std::vector<Tensor> gs(g, g + n->num_outputs);
      auto list = n->extra->post_hooks;
      for (auto& h : list) h.second(gx, gs);
    }
    if (!options_.retain_graph) {
      n->release_saved();
      n->released = true;
    }
    for (int i = 0; i < n->num_outputs; ++i) g[i] = Tensor();
    for (size_t i = 0; i < count; ++i) {
      const Edge& e = n->edges()[i];
      if (!e.defined() || !gx[i].defined()) continue;
      fit(n, i, e, gx[i]);
      route(e, std::move(gx[i]));
      gx[i] = Tensor();
    }
  }

  // Sums away broadcasting and gives the gradient its input's dtype and device.
  static void fit(const Node* n, size_t i, const Edge& e, Tensor& gx) {
    const int64_t* sizes;
    int64_t ndim;
    if (e.leaf) {
      sizes = e.leaf->sizes;
      ndim = e.leaf->ndim;
    } else {
      sizes = e.node->outputs()[e.output_nr].sizes;
      ndim = e.node->outputs()[e.output_nr].ndim;
    }
    bool same = gx.dim() == ndim;
    for (int64_t k = 0; same && k < ndim; ++k) same = gx.impl()->sizes[k] == sizes[k];
    if (__builtin_expect(!same, false)) {
      const Dims want(sizes, ndim);
      const int64_t lead = gx.dim() - want.n;
      bool can = lead >= 0;
      for (int64_t k = 0; can && k < want.n; ++k) can = want[k] == 1 || want[k] == gx.size(k + lead);
      FS_CHECK(can, n->name(), " returned an invalid gradient at index ", i, " - got ", gx.sizes(),
               " but expected shape compatible with ", want);
      gx = engine_ops.sum_to(gx, want);
    }
    if (__builtin_expect(gx.dtype() != e.dtype(), false)) gx = engine_ops.cast(gx, e.dtype());
    const Device device = e.leaf ? e.leaf->device : e.node->outputs()[e.output_nr].device;
    if (__builtin_expect(gx.device() != device, false)) gx = engine_ops.move(gx, device);
  }

  void run_output_hooks(Node* n, Tensor* g) {
    if (!n->extra->pre_hooks.empty()) {
      std::vector<Tensor> gs(g, g + n->num_outputs);
      auto list = n->extra->pre_hooks;
      for (auto& h : list) h.second(gs);
      for (int i = 0; i < n->num_outputs; ++i) g[i] = gs[static_cast<size_t>(i)];
    }
    auto hooks = n->extra->output_hooks;
    for (auto& [nr, hook] : hooks) {
      if (!g[nr].defined()) continue;
      Tensor r = hook.call(g[nr]);
      if (r.defined()) g[nr] = r;
    }
    for (auto& [nr, target] : n->extra->retained) {
      if (!g[nr].defined()) continue;
      Tensor t = Tensor::share(target);
      if (!target->grad) {
        t.set_grad(options_.create_graph ? g[nr] : engine_ops.clone(g[nr]));
      } else {
        t.set_grad(engine_ops.add(Tensor::share(target->grad), g[nr]));
      }
    }
  }

  static void check_finite(const Node* n, const std::vector<Tensor>& gx) {
    for (size_t i = 0; i < gx.size(); ++i) {
      if (!gx[i].defined() || !gx[i].is_floating()) continue;
      Tensor c = gx[i].device().is_cpu() ? gx[i] : engine_ops.move(gx[i], Device{});
      if (!c.is_contiguous()) c = engine_ops.clone(c);
      const char* p = c.impl()->data;
      for (int64_t k = 0; k < c.numel(); ++k)
        FS_CHECK(!std::isnan(read_element(p + k * static_cast<int64_t>(c.itemsize()), c.dtype()).to_double()),
                 "Function '", n->name(), "' returned nan values in its ", i, "th output.",
                 n->extra && !n->extra->trace.empty() ? " The forward call was made here:\n" + n->extra->trace : "");
    }
  }

  const BackwardOptions options_;
  const std::vector<Tensor>* inputs_;
  const bool capture_;
  std::vector<Node*> queue_;
  std::vector<TensorImpl*> hooked_leaves_;
  std::vector<Tensor> keep_;
  std::vector<Tensor> captured_;
  std::vector<std::pair<Node*, uint32_t>> targets_;
  std::unordered_map<Node*, bool> needed_, runs_;
};

std::vector<Tensor> check_seeds(const std::vector<Tensor>& roots, const std::vector<Tensor>& seeds) {
  FS_CHECK(seeds.empty() || seeds.size() == roots.size(), "got ", roots.size(), " tensors and ", seeds.size(),
           " gradients");
  std::vector<Tensor> out(roots.size());
  for (size_t i = 0; i < roots.size(); ++i) {
    const Tensor& r = roots[i];
    FS_CHECK(r.requires_grad() || grad_fn(r), "element ", i,
             " of tensors does not require grad and does not have a grad_fn. Was it computed under no_grad(), "
             "detached, or "
             "made only from tensors with requires_grad=False?");
    if (i < seeds.size() && seeds[i].defined()) {
      FS_CHECK(seeds[i].same_shape(r), "Mismatch in shape: grad_output[", i, "] has a shape of ", seeds[i].sizes(),
               " and output[", i, "] has a shape of ", r.sizes(), ".");
      FS_CHECK(seeds[i].device() == r.device(), "grad_output[", i, "] lies on ", seeds[i].device(), " but output[", i,
               "] on ", r.device());
      out[i] = seeds[i].dtype() == r.dtype() ? seeds[i] : engine_ops.cast(seeds[i], r.dtype());
    } else {
      FS_CHECK(r.numel() == 1, "grad can be implicitly created only for scalar outputs; this one has shape ",
               r.sizes(), ". Call .sum() or .mean() on it, or pass the gradient");
      out[i] = engine_ops.ones(r.sizes(), r.dtype(), r.device());
    }
  }
  return out;
}

}  // namespace

void backward(const std::vector<Tensor>& roots, const std::vector<Tensor>& seeds, const BackwardOptions& options,
              const std::vector<Tensor>& inputs) {
  std::lock_guard lock(pass_mutex);
  const std::vector<Tensor> s = check_seeds(roots, seeds);
  for (const Tensor& x : inputs) FS_CHECK(x.requires_grad(), "backward: one of the inputs= does not require grad");
  Pass pass(options, inputs.empty() ? nullptr : &inputs, false);
  pass.run(roots, s);
}

std::vector<Tensor> gradients(const std::vector<Tensor>& roots, const std::vector<Tensor>& seeds,
                              const std::vector<Tensor>& inputs, const BackwardOptions& options, bool allow_unused) {
  std::lock_guard lock(pass_mutex);
  FS_CHECK(!inputs.empty(), "`inputs` argument to `grad()` cannot be empty.");
  for (const Tensor& x : inputs)
    FS_CHECK(x.requires_grad(), "One of the differentiated Tensors does not require grad");
  const std::vector<Tensor> s = check_seeds(roots, seeds);
  Pass pass(options, &inputs, true);
  pass.run(roots, s);
  std::vector<Tensor> r = std::move(pass.captured());
  for (size_t i = 0; i < r.size(); ++i)
    FS_CHECK(r[i].defined() || allow_unused, "One of the differentiated Tensors (input ", i, ", shape ",
             inputs[i].sizes(),
             ") appears to not have been used in the graph. Set allow_unused=True if this is the desired behavior.");
  return r;
}

}  // namespace fireseed

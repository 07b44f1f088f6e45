// Nodes of the graph: creation, saved tensors, histories of views, destruction without recursion.
#include "engine/node.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "engine/apply.h"
#include "engine/mode.h"
#include "engine/op.h"
#include "tensor/allocator.h"

namespace fireseed {

thread_local Mode mode;

namespace {

thread_local uint64_t order_counter = 0;

void* allocate_any(size_t n) { return n <= kMaxSmall ? allocate_small(n) : allocate_bytes(n); }
void free_any(void* p, size_t n) { n <= kMaxSmall ? free_small(p, n) : free_bytes(p, n); }

size_t align8(size_t n) { return (n + 7) & ~size_t{7}; }

void clear_edge(Edge& e) {
  if (e.node) ref_dec(e.node);
  if (e.leaf) ref_dec(e.leaf);
  e = Edge{};
}

}  // namespace

Dims Edge::sizes() const {
  if (leaf) return Dims(leaf->sizes, leaf->ndim);
  return node->outputs()[output_nr].shape();
}
DType Edge::dtype() const { return leaf ? leaf->dtype : node->outputs()[output_nr].dtype; }

void set_edge(Edge& slot, Edge edge) {
  Edge old = slot;
  slot = edge;
  clear_edge(old);
}

Node* Node::make(const Op* op, CustomRule* custom, int num_inputs, const Tensor* outs, int num_outputs, int num_saved,
                 const void* attrs, size_t attrs_size) {
  size_t sizes_count = 0;
  for (int i = 0; i < num_outputs; ++i) sizes_count += outs[i].defined() ? static_cast<size_t>(outs[i].dim()) : 0;
  const size_t at_edges = align8(sizeof(Node));
  const size_t at_saved = at_edges + sizeof(Edge) * static_cast<size_t>(num_inputs);
  const size_t at_outs = at_saved + sizeof(Saved) * static_cast<size_t>(num_saved);
  const size_t at_attrs = at_outs + sizeof(OutputMeta) * static_cast<size_t>(num_outputs);
  const size_t at_sizes = at_attrs + align8(attrs_size);
  const size_t total = at_sizes + sizeof(int64_t) * sizes_count;
  FS_CHECK(num_outputs < 256 && num_inputs < 65536, "too many operands for one recorded op: ", num_inputs,
           " inputs, ", num_outputs, " outputs");
  char* block = static_cast<char*>(allocate_any(total));
  Node* n = new (block) Node;
  n->op = op;
  n->custom = custom;
  n->bytes = static_cast<uint32_t>(total);
  n->num_inputs = static_cast<uint16_t>(num_inputs);
  n->num_outputs = static_cast<uint8_t>(num_outputs);
  n->num_saved = static_cast<uint16_t>(num_saved);
  n->edges_ = reinterpret_cast<Edge*>(block + at_edges);
  n->saved_ = reinterpret_cast<Saved*>(block + at_saved);
  n->outputs_ = reinterpret_cast<OutputMeta*>(block + at_outs);
  n->attrs_ = block + at_attrs;
  for (int i = 0; i < num_inputs; ++i) new (n->edges_ + i) Edge;
  for (int i = 0; i < num_saved; ++i) new (n->saved_ + i) Saved;
  if (attrs_size) std::memcpy(n->attrs_, attrs, attrs_size);
  auto* sizes = reinterpret_cast<int64_t*>(block + at_sizes);
  for (int i = 0; i < num_outputs; ++i) {
    auto* m = new (n->outputs_ + i) OutputMeta;
    m->sizes = sizes;
    m->ndim = 0;
    m->dtype = DType::kUndefined;
    if (!outs[i].defined()) continue;
    const TensorImpl* t = outs[i].impl();
    m->dtype = t->dtype;
    m->device = t->device;
    m->ndim = t->ndim;
    for (int j = 0; j < t->ndim; ++j) *sizes++ = t->sizes[j];
  }
  n->order = ++order_counter;
  return n;
}

void Node::release_saved() {
  for (int i = 0; i < num_saved; ++i) {
    if (saved_[i].tensor) ref_dec(saved_[i].tensor);
    saved_[i].tensor = nullptr;
  }
  if (custom) custom->release_saved();
}

namespace {

// Note [Destruction without recursion]
// A node owns its edges, an edge owns a node: freeing the last handle of a long chain would recurse once a node.
// Instead the first destroy on this thread works through a list to which inner ones only append.
thread_local std::vector<Node*>* dying = nullptr;

void free_node(Node* n) {
  n->release_saved();
  delete n->custom;
  for (int i = 0; i < n->num_inputs; ++i) clear_edge(n->edges_[i]);
  for (int i = 0; i < n->num_outputs; ++i) n->outputs_[i].~OutputMeta();
  delete n->extra;
  delete[] n->input_sizes_;
  const size_t bytes = n->bytes;
  n->~Node();
  free_any(n, bytes);
}

}  // namespace

void Node::destroy(Node* n) {
  if (dying) {
    dying->push_back(n);
    return;
  }
  std::vector<Node*> list;
  dying = &list;
  free_node(n);
  while (!list.empty()) {
    Node* next = list.back();
    list.pop_back();
    free_node(next);
  }
  dying = nullptr;
}

std::string Node::name() const {
  if (custom) return custom->name();
  std::string r;
  bool upper = true;
  std::string_view name = op->name;
  if (name.ends_with("_scalar")) name.remove_suffix(7);  // x * 2 is a MulBackward0, too
  for (const char c : name) {
    if (c == '_') {
      upper = true;
    } else {
      r += upper && c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
      upper = false;
    }
  }
  return r + "Backward0";
}

Tensor Node::unpack(int bit) const {
  FS_CHECK(
      !released,
      "Trying to backward through the graph a second time (or directly access saved tensors after they have already "
      "been freed), at ",
      name(),
      ". Saved intermediate values of the graph are freed when you call .backward() or autograd.grad(). Specify "
      "retain_graph=True if you need to backward through the graph a second time or if you need to access saved "
      "tensors after calling backward.");
  const uint32_t mask = 1u << bit;
  FS_CHECK(saved_mask & mask, name(), ": internal error: tensor ", bit, " was not saved");
  const Saved& s = saved_[__builtin_popcount(saved_mask & (mask - 1))];
  if (!s.tensor) return Tensor();
  FS_CHECK(s.version == s.tensor->storage->version,
           "one of the variables needed for gradient computation has been modified by an inplace operation: [",
           dtype_name(s.tensor->dtype), " ", Dims(s.tensor->sizes, s.tensor->ndim), "], which is ",
           bit < 16 ? "an input" : "the output", " of ", name(), " (forward op `", op ? op->name : "custom",
           "`), is at version ", s.tensor->storage->version, "; expected version ", s.version,
           " instead. Hint: replace the in-place op (x += y, x.add_(), x[i] = y …) that came after `",
           op ? op->name : "custom", "` by an out-of-place one, or clone() the tensor before it",
           extra && !extra->trace.empty()
               ? ". The forward call was made here:\n" + extra->trace
               : std::string(". autograd.set_detect_anomaly(True) shows the forward line"));
  return Tensor::share(s.tensor);
}

Tensor Node::saved_input(int i) const { return unpack(i); }

Tensor Node::saved_output(int i) const {
  Tensor t = unpack(16 + i);
  if (!t.defined() || !mode.grad_enabled) return t;
  // For higher orders the output must again be this node's.
  Tensor again = detached_alias(t);
  set_history(again, const_cast<Node*>(this), i);
  return again;
}

Dims Node::saved_input_sizes(int i) const {
  const int64_t* p = input_sizes_ + i * (kMaxRank + 1);
  return Dims(p + 1, p[0]);
}

// --- Histories ----------------------------------------------------------------------------------------------------

void set_history(const Tensor& out, Node* node, int output_nr) {
  TensorImpl* t = out.impl();
  Node* old = t->grad_fn;
  ref_inc(node);
  t->grad_fn = node;
  t->output_nr = static_cast<uint16_t>(output_nr);
  t->set(TensorImpl::kRequiresGrad, true);
  if (old) ref_dec(old);
}

namespace {

// Gradient of a view whose base was rewritten in place: the base's gradient, seen through the view's geometry.
struct ViewOfBase : CustomRule {
  Dims base_sizes, base_strides, sizes, strides;
  int64_t offset = 0;
  void backward(const Node&, const Tensor* g, Tensor* gx, bool) override {
    // Through a flat image of the base's memory; where the view overlaps itself (expand), gradients add up.
    int64_t extent = 1;
    for (int64_t i = 0; i < base_sizes.n; ++i) extent += base_sizes[i] ? (base_sizes[i] - 1) * base_strides[i] : 0;
    Tensor flat = engine_ops.window_backward(g[0], Dims{extent}, strides, offset);
    gx[0] = engine_ops.as_strided(flat, base_sizes, base_strides, 0);
  }
  std::string name() const override { return "AsStridedBackward0"; }
};

// Note [Writes through views]
// y = x[1:3]; y.mul_(w): the base x gets a CopySlices node. Its rule takes the gradient of the whole base, cuts out
// the view's window, runs the recorded in-place op on it, and puts the result back in the window's place. Views
// remember how often their base's history had been rewritten; one that lags gets a ViewOfBase node at its next use.
// The gradient of the base is made with the base's own strides, so that the view's strides cut the same window.
struct CopySlices : CustomRule {
  Dims base_sizes, base_strides, sizes, strides;
  int64_t offset = 0;
  NodeRef inner;

  void backward(const Node&, const Tensor* g, Tensor* gx, bool create_graph) override {
    Tensor whole = empty_strided(base_sizes, base_strides, g[0].dtype(), g[0].device());
    if (create_graph) {
      whole = engine_ops.clone(g[0]);
      FS_CHECK(
          base_strides == contiguous_strides(base_sizes),
          "create_graph through an in-place write to a view of a non-contiguous tensor is not supported; clone() "
          "the tensor first");
    } else {
      engine_ops.copy_(whole, g[0]);
    }
    Tensor window = engine_ops.as_strided(whole, sizes, strides, offset);
    Tensor g_inner = engine_ops.clone(window);
    const int n = inner->num_inputs;
    std::vector<Tensor> inner_gx(static_cast<size_t>(n));
    if (inner->custom) {
      inner->custom->backward(*inner, &g_inner, inner_gx.data(), create_graph);
    } else {
      const Op& op = *inner->op;
      (create_graph || !op.vjp_fused ? op.vjp : op.vjp_fused)(Vjp(*inner), &g_inner, inner_gx.data());
    }
    // Input 0 of the inner op is the view itself: its gradient replaces the window.
    if (inner_gx[0].defined()) {
      engine_ops.copy_(window, inner_gx[0]);
    } else {
      engine_ops.copy_(window, engine_ops.zeros(sizes, g[0].dtype(), g[0].device()));
    }
    gx[0] = whole;
    for (int i = 1; i < n; ++i) gx[i] = inner_gx[static_cast<size_t>(i)];
  }
  void release_saved() override {
    inner->release_saved();
    inner->released = true;
  }
  std::string name() const override { return "CopySlices"; }
};

void refresh_view_history(TensorImpl* t) {
  TensorImpl* base = t->base;
  if (!base || t->history == base->history) return;
  t->history = base->history;
  if (!base->grad_fn) return;
  auto* rule = new ViewOfBase;
  rule->base_sizes = Dims(base->sizes, base->ndim);
  rule->base_strides = Dims(base->strides, base->ndim);
  rule->sizes = Dims(t->sizes, t->ndim);
  rule->strides = Dims(t->strides, t->ndim);
  rule->offset = t->offset - base->offset;
  Tensor self = Tensor::share(t);
  Node* n = Node::make(nullptr, rule, 1, &self, 1, 0, nullptr, 0);
  Tensor base_t = Tensor::share(base);
  set_edge(n->edges()[0], gradient_edge(base_t));
  set_history(self, n, 0);
  ref_dec(n);
}

}  // namespace

Node* grad_fn(const Tensor& x) {
  TensorImpl* t = x.impl();
  if (__builtin_expect(t->base != nullptr, false)) refresh_view_history(t);
  return t->grad_fn;
}

Edge gradient_edge(const Tensor& x) {
  Edge e;
  if (!x.defined()) return e;
  TensorImpl* t = x.impl();
  if (__builtin_expect(t->base != nullptr, false)) refresh_view_history(t);
  if (!t->has(TensorImpl::kRequiresGrad)) return e;
  if (t->grad_fn) {
    ref_inc(t->grad_fn);
    e.node = t->grad_fn;
    e.output_nr = t->output_nr;
    if (e.node->order > order_counter) order_counter = e.node->order;  // made on another thread
  } else {
    ref_inc(t);
    e.leaf = t;
  }
  return e;
}

void rebase_history(const Tensor& x, Node* node) {
  TensorImpl* t = x.impl();
  if (!t->base) {
    ++t->history;
    set_history(x, node, 0);
    return;
  }
  TensorImpl* base = t->base;
  auto* rule = new CopySlices;
  rule->base_sizes = Dims(base->sizes, base->ndim);
  rule->base_strides = Dims(base->strides, base->ndim);
  rule->sizes = Dims(t->sizes, t->ndim);
  rule->strides = Dims(t->strides, t->ndim);
  rule->offset = t->offset - base->offset;
  rule->inner = NodeRef::share(node);
  Tensor base_t = Tensor::share(base);
  Node* n = Node::make(nullptr, rule, node->num_inputs, &base_t, 1, 0, nullptr, 0);
  set_edge(n->edges()[0], gradient_edge(base_t));
  for (int i = 1; i < node->num_inputs; ++i) {
    Edge e = node->edges()[i];
    if (e.node) ref_inc(e.node);
    if (e.leaf) ref_inc(e.leaf);
    set_edge(n->edges()[i], e);
  }
  ++base->history;
  set_history(base_t, n, 0);
  ref_dec(n);
  t->set(TensorImpl::kRequiresGrad, true);
  refresh_view_history(t);
}

// --- Hooks --------------------------------------------------------------------------------------------------------

int64_t next_hook_id() {
  static std::atomic<int64_t> id{0};
  return ++id;
}

int64_t add_hook(const Tensor& x, std::function<Tensor(const Tensor&)> f) {
  FS_CHECK(x.requires_grad(), "cannot register a hook on a tensor that doesn't require gradient");
  const int64_t id = next_hook_id();
  if (Node* n = grad_fn(x)) {
    n->extras().output_hooks.push_back({x.impl()->output_nr, Hook{id, std::move(f)}});
  } else {
    if (!x.impl()->hooks) x.impl()->hooks = new TensorHooks;
    x.impl()->hooks->hooks.push_back(Hook{id, std::move(f)});
  }
  return id;
}

void remove_hook(const Tensor& x, int64_t id) {
  if (Node* n = x.impl()->grad_fn; n && n->extra)
    std::erase_if(n->extra->output_hooks, [&](auto& h) { return h.second.id == id; });
  if (TensorHooks* h = x.impl()->hooks) {
    std::erase_if(h->hooks, [&](auto& k) { return k.id == id; });
    std::erase_if(h->post_accumulate, [&](auto& k) { return k.first == id; });
  }
}

void retain_grad(const Tensor& x) {
  FS_CHECK(x.requires_grad(), "can't retain_grad on Tensor that has requires_grad=False");
  if (x.is_leaf() || x.impl()->has(TensorImpl::kRetainGrad)) return;
  x.impl()->set(TensorImpl::kRetainGrad, true);
  grad_fn(x)->extras().retained.push_back({x.impl()->output_nr, x.impl()});
}

void install_autograd_handlers() {
  autograd_handlers.release_node = [](TensorImpl* t) {
    if (t->has(TensorImpl::kRetainGrad) && t->grad_fn->extra)
      std::erase_if(t->grad_fn->extra->retained, [&](auto& r) { return r.second == t; });
    ref_dec(t->grad_fn);
  };
  autograd_handlers.release_hooks = [](TensorHooks* h) { delete h; };
}

namespace {
[[maybe_unused]] const bool installed = (install_autograd_handlers(), true);
}

}  // namespace fireseed

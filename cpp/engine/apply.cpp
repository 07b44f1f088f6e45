// apply: infer -> allocate -> kernel -> record; and its in-place form.
#include "engine/apply.h"

#include "engine/autocast.h"
#include "engine/device_run.h"
#include "engine/mode.h"
#include "engine/recorder.h"

namespace fireseed {

void (*node_created)(Node*) = nullptr;
EngineOps engine_ops;
HostLock host_lock;
thread_local Recorder* recorder = nullptr;

namespace {

constexpr int kFewOperands = 8;

// Below this many elements a kernel is shorter than it is worth to let other threads of the host in.
constexpr int64_t kLongKernel = 1 << 15;

void call_kernel(Kernel kernel, const KernelArgs& args) {
  int64_t work = 0;
  for (int i = 0; i < args.num_in; ++i) work += args.in[i].numel;
  for (int i = 0; i < args.num_out; ++i) work += args.out[i].numel;
  if (work < kLongKernel || !host_lock.release || running_op) return kernel(args);
  struct Unlocked {
    void* state = host_lock.release();
    ~Unlocked() {
      if (state) host_lock.acquire(state);
    }
  } unlocked;
  kernel(args);
}

// Strides of x read as `sizes`: 0 where it is broadcast.
void broadcast_strides(const TensorImpl* x, const int64_t* sizes, int ndim, int64_t* strides) {
  const int lead = ndim - x->ndim;
  for (int i = 0; i < lead; ++i) strides[i] = 0;
  for (int i = lead; i < ndim; ++i) {
    strides[i] = x->sizes[i - lead] == 1 && sizes[i] != 1 ? 0 : x->strides[i - lead];
  }
}

bool same_sizes(const TensorImpl* a, const TensorImpl* b) {
  if (a->ndim != b->ndim) return false;
  for (int i = 0; i < a->ndim; ++i)
    if (a->sizes[i] != b->sizes[i]) return false;
  return true;
}

void run_pointwise(const Op& op, Kernel kernel, Inputs in, const void* attrs, const Tensor* out) {
  TensorView in_views[kFewOperands], out_views[2];
  int64_t strides[kFewOperands][kMaxRank];
  const TensorImpl* o = out[0].impl();
  for (int i = 0; i < op.num_outputs; ++i) out_views[i] = out[i].view();
  for (size_t i = 0; i < in.size(); ++i) {
    if (!in[i].defined()) continue;
    in_views[i] = in[i].view();
    if (!same_sizes(in[i].impl(), o)) {
      broadcast_strides(in[i].impl(), o->sizes, o->ndim, strides[i]);
      in_views[i].sizes = o->sizes;
      in_views[i].strides = strides[i];
      in_views[i].ndim = o->ndim;
      in_views[i].numel = o->numel;
      in_views[i].contiguous = false;
    }
  }
  call_kernel(kernel, KernelArgs{in_views, out_views, static_cast<int32_t>(in.size()), op.num_outputs, attrs});
}

// Views of all operands, then the kernel.
void run_kernel(const Op& op, Kernel kernel, Inputs in, const void* attrs, const Tensor* out) {
  if (op.has(kPointwise)) return run_pointwise(op, kernel, in, attrs, out);
  if (in.size() <= kFewOperands && op.num_outputs <= kFewOperands) {
    TensorView in_views[kFewOperands], out_views[kFewOperands];
    for (size_t i = 0; i < in.size(); ++i)
      if (in[i].defined()) in_views[i] = in[i].view();
    for (int i = 0; i < op.num_outputs; ++i)
      if (out[i].defined()) out_views[i] = out[i].view();
    call_kernel(kernel, KernelArgs{in_views, out_views, static_cast<int32_t>(in.size()), op.num_outputs, attrs});
    return;
  }
  std::vector<TensorView> in_views(in.size()), out_views(static_cast<size_t>(op.num_outputs));
  for (size_t i = 0; i < in.size(); ++i)
    if (in[i].defined()) in_views[i] = in[i].view();
  for (size_t i = 0; i < out_views.size(); ++i)
    if (out[i].defined()) out_views[i] = out[i].view();
  call_kernel(kernel,
              KernelArgs{in_views.data(), out_views.data(), static_cast<int32_t>(in.size()), op.num_outputs, attrs});
}

void run(const Op& op, Inputs in, const void* attrs, const Tensor* out) {
  bool on_cpu = true;
  for (const Tensor& t : in)
    if (t.defined()) on_cpu &= t.device().is_cpu();
  for (int i = 0; i < op.num_outputs; ++i)
    if (out[i].defined()) on_cpu &= out[i].device().is_cpu();
  if (__builtin_expect(!on_cpu, false)) return run_on_device(op, in, attrs, out, run_kernel);
  FS_CHECK_KIND(op.cpu, ErrorKind::kNotImplemented, op.name, ": no kernel for device cpu");
  run_kernel(op, op.cpu, in, attrs, out);
}

bool wants_gradient(const Op& op, Inputs in) {
  if (!mode.grad_enabled || op.has(kNotDifferentiable)) return false;
  for (const Tensor& t : in) {
    if (!t.defined()) continue;
    if (const TensorImpl* i = t.impl(); i->base && i->history != i->base->history)
      grad_fn(t);  // brings the flag up to date
    if (t.requires_grad()) return true;
  }
  return false;
}

// Which of Op::saves are really kept for these inputs.
uint32_t saves_for(const Op& op, Inputs in) {
  uint32_t mask = op.saves;
  if (op.has(kBilinear)) {
    if (!(in[1].defined() && in[1].requires_grad())) mask &= ~save_input(0);
    if (!in[0].requires_grad()) mask &= ~save_input(1);
  }
  return mask;
}

Node* make_node(const Op& op, Inputs in, const void* attrs, const Tensor* out, const Tensor* inplace_original) {
  const uint32_t mask = saves_for(op, in);
  Node* n = Node::make(&op, nullptr, static_cast<int>(in.size()), out, op.num_outputs, __builtin_popcount(mask),
                       attrs, op.attrs_size);
  n->saved_mask = mask;
  for (size_t i = 0; i < in.size(); ++i)
    if (in[i].defined() && (in[i].requires_grad() || in[i].is_view())) set_edge(n->edges()[i], gradient_edge(in[i]));
  Saved* s = n->saved();
  for (uint32_t rest = mask; rest; rest &= rest - 1, ++s) {
    const int bit = __builtin_ctz(rest);
    if (bit < 16) {
      if (static_cast<size_t>(bit) >= in.size()) continue;
      const Tensor& t = bit == 0 && inplace_original ? *inplace_original : in[static_cast<size_t>(bit)];
      if (!t.defined()) continue;
      FS_CHECK(
          !t.impl()->has(TensorImpl::kInference), op.name,
          ": Inference tensors cannot be saved for backward. To work around you can make a clone to get a normal "
          "tensor and use it in autograd.");
      s->tensor = t.impl();
      ref_inc(s->tensor);
    } else {
      if (!out[bit - 16].defined()) continue;
      // A handle of its own: the output owns the node, so the node must not own the output.
      s->tensor = detached_alias(out[bit - 16]).release();
    }
    s->version = s->tensor->storage->version;
  }
  if (op.has(kSavesSizes)) {
    auto* sizes = new int64_t[in.size() * (kMaxRank + 1)];
    for (size_t i = 0; i < in.size(); ++i) {
      int64_t* p = sizes + i * (kMaxRank + 1);
      p[0] = in[i].defined() ? in[i].dim() : 0;
      for (int64_t j = 0; j < p[0]; ++j) p[1 + j] = in[i].size(j);
    }
    n->input_sizes_ = sizes;
  }
  if (__builtin_expect(mode.anomaly, false) && node_created) node_created(n);
  return n;
}

void record(const Op& op, Inputs in, const void* attrs, Tensor* out) {
  bool any = false;
  for (int i = 0; i < op.num_outputs; ++i) any |= out[i].defined() && out[i].is_floating();
  if (!any) return;
  Node* n = make_node(op, in, attrs, out, nullptr);
  for (int i = 0; i < op.num_outputs; ++i)
    if (out[i].defined() && out[i].is_floating()) set_history(out[i], n, i);
  ref_dec(n);
}

// Kinds of views that must not be written in place where gradients are recorded; their own views are of the kind too.
constexpr uint8_t kRestricted = TensorImpl::kNoGradView | TensorImpl::kMultiView;

void note_view(const Tensor& out, const Tensor& in) {
  if (!in.is_floating()) return;
  out.impl()->flags |= in.impl()->flags & kRestricted;
  if (!mode.grad_enabled) {
    if (!mode.inference && in.requires_grad()) out.impl()->set(TensorImpl::kNoGradView, true);
    return;
  }
  TensorImpl* base = in.impl()->base ? in.impl()->base : in.impl();
  ref_inc(base);
  out.impl()->base = base;
  out.impl()->history = base->history;
}

// Apart, and asked for first, so that the usual path keeps nothing for them.
[[gnu::cold, gnu::noinline]] void apply_recorded(const Op& op, Inputs in, const void* attrs, Tensor* out) {
  {
    RecorderScope off(nullptr);
    apply(op, in, attrs, out);
  }
  recorder->step({op, in, attrs, {out, static_cast<size_t>(op.num_outputs)}, false});
}
[[gnu::cold, gnu::noinline]] void apply_inplace_recorded(const Op& op, Inputs in, const void* attrs) {
  recorder->step({op, in, attrs, in.first(1), true});
  RecorderScope off(nullptr);  // one step, whatever ops it takes
  apply_inplace(op, in, attrs);
}

}  // namespace

void apply(const Op& op, Inputs in, const void* attrs, Tensor* out) {
  if (__builtin_expect(mode.autocast != 0, false) &&
      (op.autocast[0] != CastPolicy::kNone || op.autocast[1] != CastPolicy::kNone))
    return apply_with_autocast(op, in, attrs, out);
  if (__builtin_expect(recorder != nullptr, false)) return apply_recorded(op, in, attrs, out);
  op.infer(in, attrs, out);
  if (op.has(kView)) {
    note_view(out[0], in[0]);
  } else {
    bool any = op.has(kMutatesInputs);
    for (int i = 0; i < op.num_outputs; ++i) {
      if (!out[i].defined()) continue;
      if (!out[i].impl()->storage) allocate_shell(out[i], op.name);
      any |= out[i].numel() != 0;
    }
    if (any) run(op, in, attrs, out);
  }
  if (__builtin_expect(mode.inference, false))
    for (int i = 0; i < op.num_outputs; ++i)
      if (out[i].defined()) out[i].impl()->set(TensorImpl::kInference, true);
  if (wants_gradient(op, in)) record(op, in, attrs, out);
}

void check_inplace(const Tensor& x, const char* op_name) {
  FS_CHECK(!x.impl()->has(TensorImpl::kInference) || mode.inference, op_name,
           ": Inplace update to inference tensor outside InferenceMode is not allowed. You can make a clone to get a "
           "normal "
           "tensor before doing inplace update.");
  FS_CHECK(!(x.requires_grad() && x.is_leaf() && mode.grad_enabled && !x.is_view()), op_name,
           ": a leaf Variable that requires grad is being used in an in-place operation. Wrap the update in "
           "`with no_grad():` or use an out-of-place op");
  if (__builtin_expect((x.impl()->flags & kRestricted) != 0, false) && mode.grad_enabled) {
    FS_CHECK(!x.impl()->has(TensorImpl::kNoGradView), op_name,
             ": A view was created in no_grad mode and is being modified inplace with grad mode enabled (shape ",
             x.sizes(), "). Move both the view and the inplace write inside the no_grad block, or both out of it.");
    FS_CHECK(!x.requires_grad(), op_name, ": Output ", x.impl()->output_nr,
             " of a function that returns multiple views (split, chunk, unbind, iteration), or of an "
             "autograd.Function that returned its input, is a view and is being modified inplace (shape ",
             x.sizes(), "). Use an out-of-place op, or narrow() and select() to get a view that may be written.");
  }
  if (x.is_view() && mode.grad_enabled) {
    const TensorImpl* b = x.impl()->base;
    FS_CHECK(
        !(b->has(TensorImpl::kRequiresGrad) && !b->grad_fn), op_name,
        ": a view of a leaf Variable that requires grad is being used in an in-place operation. Wrap the update in "
        "`with no_grad():` or use an out-of-place op");
  }
  if (!x.is_contiguous())
    for (int64_t i = 0; i < x.dim(); ++i)
      FS_CHECK(!(x.stride(i) == 0 && x.size(i) > 1), op_name,
               ": unsupported operation: more than one element of the written-to tensor refers to a single memory "
               "location. Please clone() the tensor before performing the operation (shape ",
               x.sizes(), ", strides ", x.strides(), ")");
}

void apply_inplace(const Op& op, Inputs in, const void* attrs) {
  if (__builtin_expect(recorder != nullptr, false)) return apply_inplace_recorded(op, in, attrs);
  const Tensor& x = in[0];
  check_inplace(x, op.name);
  Tensor shell;
  op.infer(in, attrs, &shell);
  FS_CHECK(shell.same_shape(x), op.name, "_: output with shape ", x.sizes(), " doesn't match the broadcast shape ",
           shell.sizes());
  const bool grad = wants_gradient(op, in) && x.is_floating();
  Tensor original;  // the value before the write, where the gradient needs it
  if (grad && (saves_for(op, in) & save_input(0))) {
    GradMode off(false);
    original = engine_ops.clone(x);
    // It stands where x stood in the graph: second derivatives go through it.
    if (Node* before = grad_fn(x)) set_history(original, before, x.impl()->output_nr);
  }
  const DType got = shell.dtype(), want = x.dtype();
  // Some other operand may lie across x's memory shifted: then, too, the result is made apart.
  bool overlaps = false;
  for (size_t i = 1; i < in.size(); ++i)
    overlaps |= in[i].defined() && in[i].impl()->storage == x.impl()->storage && !in[i].is_wrapped_number() &&
                !(in[i].impl()->data == x.impl()->data && in[i].same_shape(x) && in[i].strides() == x.strides());
  if (got == want && op.has(kInPlaceOk) && !overlaps) {
    if (x.numel()) {
      Tensor out = Tensor::share(x.impl());
      run(op, in, attrs, &out);
    }
  } else {
    FS_CHECK(!(fireseed::is_floating(got) && !fireseed::is_floating(want)) &&
                 !(got != DType::kBool && want == DType::kBool),
             op.name, "_: result type ", dtype_name(got), " can't be cast to the desired output type ",
             dtype_name(want));
    GradMode off(false);
    Tensor out = shell;
    allocate_shell(out, op.name);
    if (out.numel()) run(op, in, attrs, &out);
    engine_ops.copy_(Tensor::share(x.impl()), out);
  }
  x.bump_version();
  if (grad) {
    Tensor out = x;
    Node* n = make_node(op, in, attrs, &out, original.defined() ? &original : nullptr);
    rebase_history(x, n);
    ref_dec(n);
  }
}

}  // namespace fireseed

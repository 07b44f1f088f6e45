// The device side of apply: which device an op runs on, constants brought over, copies between devices.
#include "engine/device_run.h"

#include <cstring>
#include <unordered_map>

#include "engine/apply.h"
#include "engine/mode.h"
#include "tensor/attrs/copy.h"

namespace fireseed {
namespace {

// Note [Numbers beside CUDA tensors]
// A 0-dim CPU tensor may stand beside CUDA tensors (torch: "wrapped numbers"), as in `x > 0`. Most are folded into
// the op's attributes; for the rest the kernel gets a 0-dim tensor on the device, filled by a launch and kept by
// value, so that the same number costs one look-up from the second time on. The table belongs to a thread, device and
// stream, so its entries are in order with their use without waiting.
struct ConstantKey {
  int device;
  DType dtype;
  StreamHandle stream;
  uint64_t bits;
  bool operator==(const ConstantKey&) const = default;
};
struct ConstantHash {
  size_t operator()(const ConstantKey& k) const {
    uint64_t h = k.bits * 0x9E3779B97F4A7C15u;
    h ^= (reinterpret_cast<uintptr_t>(k.stream) >> 4) + (static_cast<uint64_t>(k.dtype) << 8) +
         static_cast<uint64_t>(k.device);
    return static_cast<size_t>(h ^ (h >> 29));
  }
};
constexpr size_t kMaxConstants = 1024;

Tensor constant_on(Device device, const Tensor& number) {
  // Never destroyed: the plugin may be gone when threads end.
  static thread_local auto* constants = new std::unordered_map<ConstantKey, Tensor, ConstantHash>;
  const Backend& b = backend("constant");
  ConstantKey key{device.index, number.dtype(), b.current_stream(device.index), 0};
  std::memcpy(&key.bits, number.impl()->data, number.itemsize());
  // A graph has its constants to itself, filled at each replay: those of the table may be gone by then.
  const bool capturing = b.capturing(device.index);
  if (!capturing)
    if (auto found = constants->find(key); found != constants->end()) return found->second;
  Tensor t = make_shell(nullptr, 0, number.dtype(), device);
  allocate_shell(t, "constant");
  const TensorView view = t.view();
  const FillAttrs attrs{item(number)};
  const Kernel fill = b.kernels[kKernel_fill];
  FS_CHECK_KIND(fill, ErrorKind::kNotImplemented, "fill: no kernel for device ", device);
  fill(KernelArgs{&view, &view, 1, 1, &attrs});
  if (capturing) return t;
  if (constants->size() >= kMaxConstants) constants->clear();
  return constants->emplace(key, std::move(t)).first->second;
}

[[gnu::cold]] [[noreturn]] void fail_mixed(const Op& op, Device device, const Tensor& t, size_t i) {
  fail(ErrorKind::kRuntime, op.name,
       ": Expected all tensors to be on the same device, but found at least two devices, ", device, " and ",
       t.device(), "! (input ", i, " of shape ", t.sizes(), " is on ", t.device(), "; move it with .to('", device,
       "'))");
}

struct RunningOp {
  const char* before = running_op;
  explicit RunningOp(const char* name) { running_op = name; }
  ~RunningOp() { running_op = before; }
};

bool same_strides(const Tensor& a, const Tensor& b) {
  for (int64_t i = 0; i < a.dim(); ++i)
    if (a.size(i) > 1 && a.stride(i) != b.stride(i)) return false;
  return true;
}

// Elements from the first to the last address.
int64_t extent_of(const Tensor& t) {
  int64_t n = 1;
  for (int64_t i = 0; i < t.dim(); ++i) n += (t.size(i) - 1) * t.stride(i);
  return n;
}

int index_of(Device d) { return d.is_cpu() ? -1 : d.index; }

}  // namespace

void run_on_device(const Op& op, Inputs in, const void* attrs, const Tensor* out,
                   void (*kernel_caller)(const Op&, Kernel, Inputs, const void*, const Tensor*)) {
  Device device;
  if (op.num_outputs > 0 && out[0].defined()) device = out[0].device();
  if (op.has(kTransfer) && in[in.size() - 1].device() != device)
    return transfer(out[0], in[in.size() - 1], op.attrs_size && static_cast<const CopyAttrs*>(attrs)->non_blocking);
  for (size_t i = 0; device.is_cpu() && i < in.size(); ++i)
    if (in[i].defined()) device = in[i].device();
  if (op.num_outputs > 0 && out[0].defined() && out[0].device() != device) {
    // The shape rule took the output's device from a number on the CPU.
    for (const Tensor& t : in)
      if (t.defined() && t.device() == out[0].device())
        fail_mixed(op, device, t, static_cast<size_t>(&t - in.data()));
    fail(ErrorKind::kRuntime, op.name, ": the result would lie on ", out[0].device(), ", but an input lies on ",
         device);
  }
  FS_CHECK_KIND(op.cuda, ErrorKind::kNotImplemented, op.name, ": no kernel for device ", device,
                " yet; move the inputs to the CPU with .cpu()");
  const DeviceGuard guard(device);
  const RunningOp running(op.name);
  std::vector<Tensor> moved;  // the inputs with numbers brought over, where there are any
  for (size_t i = 0; i < in.size(); ++i) {
    const Tensor& t = in[i];
    if (!t.defined()) continue;
    if (i < 16 && (op.host_inputs & save_input(static_cast<int>(i)))) {
      FS_CHECK(t.device().is_cpu(), op.name, ": input ", i, " of shape ", t.sizes(), " is on ", t.device(),
               ", but its values are read on the CPU; give it as a CPU tensor");
      continue;
    }
    if (t.device() == device) continue;
    if (t.dim() != 0 || !t.device().is_cpu() || !op.has(kPointwise)) fail_mixed(op, device, t, i);
    if (moved.empty()) moved.assign(in.begin(), in.end());
    moved[i] = constant_on(device, t);
  }
  kernel_caller(op, op.cuda, moved.empty() ? in : Inputs(moved), attrs, out);
  find_backend()->check(op.name);
}

void transfer(const Tensor& dst, const Tensor& src, bool non_blocking) {
  GradMode off(false);
  const Backend& b = backend("copy_");
  // Broadcast and cast where the source is; then the bytes; then into place where the destination is.
  Tensor from = src;
  if (from.dtype() != dst.dtype()) from = engine_ops.cast(from, dst.dtype());
  if (!from.same_shape(dst)) from = engine_ops.expand(from, dst.sizes());
  int64_t extent = extent_of(dst);
  const bool as_it_is = same_strides(dst, from) && extent == dst.numel() && extent_of(from) == extent;
  if (!as_it_is && !from.is_contiguous()) from = engine_ops.clone(from);
  Tensor to = dst;
  if (!as_it_is && !dst.is_contiguous()) to = empty(dst.sizes(), dst.dtype(), dst.device());
  const Device cuda = to.device().is_cpu() ? from.device() : to.device();
  const DeviceGuard guard(cuda);
  const bool pinned = to.device().is_cpu() ? to.impl()->storage->pinned : from.impl()->storage->pinned;
  const bool temporary = to.impl() != dst.impl() || from.impl()->storage != src.impl()->storage;
  b.copy(to.impl()->data, index_of(to.device()), from.impl()->data, index_of(from.device()),
         static_cast<size_t>(to.numel()) * to.itemsize(), pinned, non_blocking && !temporary);
  if (to.impl() != dst.impl()) engine_ops.copy_(dst, to);
}

}  // namespace fireseed

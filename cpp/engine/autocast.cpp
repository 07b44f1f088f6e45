// Casts of autocast and their cache: Note [Autocast].
#include "engine/autocast.h"

#include <unordered_map>

#include "engine/apply.h"

namespace fireseed {

thread_local AutocastState autocast_state;

namespace {

struct Kept {
  Tensor source;  // keeps its address taken
  uint32_t version;
  Tensor cast;
};
// Of a thread; emptied when the outermost autocast ends.
std::unordered_map<TensorImpl*, Kept>& kept() {
  static thread_local std::unordered_map<TensorImpl*, Kept> casts;
  return casts;
}

}  // namespace

bool autocast_eligible(const Tensor& t, DeviceKind kind) {
  return t.defined() && t.is_floating() && t.dtype() != DType::kFloat64 && t.device().kind == kind &&
         !t.is_wrapped_number();
}

DType autocast_target(CastPolicy policy, DeviceKind kind, DType widest, const char* name) {
  switch (policy) {
    case CastPolicy::kLower: return autocast_state.lower[static_cast<int>(kind)];
    case CastPolicy::kFloat32: return DType::kFloat32;
    case CastPolicy::kWidest: return widest;
    case CastPolicy::kRefused:
      fail(ErrorKind::kRuntime, name,
           ": unsafe to autocast. Many models use a sigmoid layer right before the binary cross entropy layer. In "
           "this "
           "case, combine the two layers using binary_cross_entropy_with_logits or BCEWithLogitsLoss, which are safe "
           "to autocast.");
    case CastPolicy::kAsIs:
    case CastPolicy::kNone: break;
  }
  return DType::kUndefined;
}

Tensor autocast_to(const Tensor& t, DType dtype, DeviceKind kind) {
  if (t.dtype() == dtype) return t;
  const bool is_parameter = autocast_state.cache && mode.grad_enabled && t.dtype() == DType::kFloat32 &&
                            dtype == autocast_state.lower[static_cast<int>(kind)] && t.requires_grad() &&
                            t.is_leaf() && !t.is_view() && autocast_state.nesting > 0;
  if (!is_parameter) return engine_ops.cast(t, dtype);
  auto& casts = kept();
  if (auto it = casts.find(t.impl()); it != casts.end()) {
    if (it->second.version == t.version() && it->second.cast.dtype() == dtype) return it->second.cast;
    casts.erase(it);
  }
  Tensor cast = engine_ops.cast(t, dtype);
  casts.emplace(t.impl(), Kept{t, t.version(), cast});
  return cast;
}

void clear_autocast_cache() { kept().clear(); }

void apply_with_autocast(const Op& op, Inputs in, const void* attrs, Tensor* out) {
  DeviceKind kind = DeviceKind::kCpu;
  for (const Tensor& t : in)
    if (t.defined() && !t.device().is_cpu()) kind = t.device().kind;
  const CastPolicy policy = op.autocast[static_cast<int>(kind)];
  std::vector<Tensor> cast(in.begin(), in.end());
  if (policy != CastPolicy::kNone && policy != CastPolicy::kAsIs && (mode.autocast & autocast_bit(kind))) {
    DType widest = DType::kUndefined;
    for (const Tensor& t : in)
      if (autocast_eligible(t, kind)) widest = promote_types(widest, t.dtype());
    const DType target = autocast_target(policy, kind, widest, op.name);
    for (Tensor& t : cast)
      if (autocast_eligible(t, kind)) t = autocast_to(t, target, kind);
  }
  const AutocastOff off;
  apply(op, cast, attrs, out);
}

}  // namespace fireseed

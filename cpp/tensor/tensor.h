// Tensor: a cheap handle on strided metadata, shared storage and autograd state.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/dtype.h"
#include "base/ref.h"
#include "base/scalar_value.h"
#include "base/shape.h"
#include "tensor/device.h"
#include "tensor/storage.h"
#include "tensor/view.h"

namespace fireseed {

struct Node;         // engine/node.h
struct TensorHooks;  // engine/hooks.h
class Tensor;
struct TensorImpl;

// The engine's part of a tensor's life, called through pointers: tensor/ knows nothing of engine/.
struct AutogradHandlers {
  void (*release_node)(TensorImpl*) = nullptr;  // gives up t->grad_fn
  void (*release_hooks)(TensorHooks*) = nullptr;
};
extern AutogradHandlers autograd_handlers;

struct TensorImpl {
  enum Flag : uint8_t {
    kRequiresGrad = 1,  // leaf that asked for a gradient, or result of a recorded op
    kContiguous = 2,
    kWrappedNumber = 4,  // a Python number: does not decide the result's dtype within its category
    kRetainGrad = 8,
    kDetachedData = 16,  // `.data`: in-place writes through it do not bump the version
    kInference = 32,     // made under inference_mode
    kNoGradView = 64,    // a view, made under no_grad, of something that wants a gradient
    kMultiView = 128,    // one of several views made by one op (split, unbind), or what a Function made of its input
  };

  std::atomic<int32_t> refs{1};
  DType dtype = DType::kUndefined;
  int8_t ndim = 0;
  uint8_t flags = kContiguous;
  Device device;
  uint16_t output_nr = 0;      // which output of grad_fn this is
  uint32_t history = 0;        // of a base: counts rewrites of its history; of a view: the count it has seen
  Storage* storage = nullptr;  // owned
  char* data = nullptr;        // storage->data + offset * itemsize
  int64_t offset = 0;          // in elements
  int64_t numel = 1;
  Node* grad_fn = nullptr;       // owned
  TensorImpl* base = nullptr;    // owned; the tensor this one is a view of (never itself a view)
  TensorImpl* grad = nullptr;    // owned
  TensorHooks* hooks = nullptr;  // owned
  void* pyobj = nullptr;         // the Python object standing for it now, not owned
  int64_t sizes[kMaxRank];
  int64_t strides[kMaxRank];  // in elements

  static TensorImpl* make();  // from a free list
  static void destroy(TensorImpl* t);
  bool has(Flag f) const { return flags & f; }
  void set(Flag f, bool on) { flags = static_cast<uint8_t>(on ? flags | f : flags & ~f); }
  void refresh_contiguous();  // recomputes numel and kContiguous from sizes and strides
};

class Tensor {
 public:
  Tensor() = default;
  explicit Tensor(Ref<TensorImpl> p) : p_(std::move(p)) {}
  static Tensor adopt(TensorImpl* p) { return Tensor(Ref<TensorImpl>::adopt(p)); }
  static Tensor share(TensorImpl* p) { return Tensor(Ref<TensorImpl>::share(p)); }

  bool defined() const { return static_cast<bool>(p_); }
  explicit operator bool() const = delete;  // say defined()
  TensorImpl* impl() const { return p_.get(); }
  TensorImpl* release() { return p_.release(); }
  bool unique() const { return p_.unique(); }

  DType dtype() const { return p_->dtype; }
  Device device() const { return p_->device; }
  int64_t dim() const { return p_->ndim; }
  int64_t numel() const { return p_->numel; }
  int64_t size(int64_t i) const { return p_->sizes[i < 0 ? i + p_->ndim : i]; }
  int64_t stride(int64_t i) const { return p_->strides[i < 0 ? i + p_->ndim : i]; }
  Dims sizes() const { return Dims(p_->sizes, p_->ndim); }
  Dims strides() const { return Dims(p_->strides, p_->ndim); }
  bool is_contiguous() const { return p_->has(TensorImpl::kContiguous); }
  bool is_floating() const { return fireseed::is_floating(p_->dtype); }
  bool is_wrapped_number() const { return p_->has(TensorImpl::kWrappedNumber); }
  size_t itemsize() const { return dtype_size(p_->dtype); }
  template <class T>
  T* data() const {
    return reinterpret_cast<T*>(p_->data);
  }
  TensorView view() const {
    TensorView v;
    v.data = p_->data;
    v.sizes = p_->sizes;
    v.strides = p_->strides;
    v.numel = p_->numel;
    v.ndim = p_->ndim;
    v.dtype = p_->dtype;
    v.contiguous = is_contiguous();
    return v;
  }
  bool same_shape(const Tensor& o) const;

  // Autograd state. requires_grad: a gradient will flow to or through this tensor.
  bool requires_grad() const { return p_->has(TensorImpl::kRequiresGrad); }
  bool is_leaf() const { return p_->grad_fn == nullptr; }
  bool is_view() const { return p_->base != nullptr; }
  Tensor grad() const { return Tensor::share(p_->grad); }
  void set_grad(Tensor g) const;
  uint32_t version() const { return p_->storage->version; }
  void bump_version() const {
    if (!p_->has(TensorImpl::kDetachedData)) ++p_->storage->version;
  }

 private:
  Ref<TensorImpl> p_;
};

// --- Making tensors (no autograd, no kernels) ---------------------------------------------------------------------

// Metadata only: contiguous strides, no storage yet. What infer returns; apply gives it memory.
Tensor make_shell(const int64_t* sizes, int64_t ndim, DType dtype, Device device = {});
inline Tensor make_shell(const Dims& sizes, DType dtype, Device device = {}) {
  return make_shell(sizes.d, sizes.n, dtype, device);
}
void allocate_shell(const Tensor& shell, const char* op = nullptr);  // op: named when memory runs out
// Uninitialised memory.
Tensor empty(const Dims& sizes, DType dtype, Device device = {});
Tensor empty_strided(const Dims& sizes, const Dims& strides, DType dtype, Device device = {});
// Another geometry on the same storage; no autograd. offset in elements from the storage's start.
Tensor alias(const Tensor& x, const int64_t* sizes, const int64_t* strides, int64_t ndim, int64_t offset);
// The same elements, cut off from autograd, sharing the version counter.
Tensor detached_alias(const Tensor& x);
// 0-dim CPU tensor of a Python number: int64, bool, or the default float dtype; marked as wrapped number.
Tensor wrapped_number(Scalar value);
// 0-dim CPU tensor of exactly this dtype.
Tensor scalar_tensor(Scalar value, DType dtype);
// Value of a one-element tensor; one on a device is waited for.
Scalar item(const Tensor& x);

DType default_dtype();
void set_default_dtype(DType t);  // float32 at start; floats only

// Reads or writes one element at p.
Scalar read_element(const void* p, DType dtype);
void write_element(void* p, DType dtype, Scalar value);

}  // namespace fireseed

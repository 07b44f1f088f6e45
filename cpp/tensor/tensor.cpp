// Tensor metadata, storage life cycle and element access.
#include "tensor/tensor.h"

#include <cstring>
#include <new>

#include "tensor/allocator.h"
#include "tensor/backend.h"

namespace fireseed {

AutogradHandlers autograd_handlers;

namespace {

// Small storages carry their data behind the header: one block from the free lists.
constexpr size_t header_bytes() { return (sizeof(Storage) + 63) / 64 * 64; }

DType default_float = DType::kFloat32;

}  // namespace

Ref<Storage> Storage::allocate(size_t nbytes) {
  if (nbytes <= kMaxSmall - header_bytes()) {
    void* block = allocate_small(header_bytes() + nbytes);
    auto* s = new (block) Storage;
    s->data = static_cast<char*>(block) + header_bytes();
    s->nbytes = s->capacity = nbytes;
    s->inline_data = true;
    return Ref<Storage>::adopt(s);
  }
  void* data = allocate_bytes(nbytes);
  auto* s = new (allocate_small(sizeof(Storage))) Storage;
  s->data = data;
  s->nbytes = s->capacity = nbytes;
  return Ref<Storage>::adopt(s);
}

Ref<Storage> Storage::allocate_on(Device device, size_t nbytes, const AllocationNote* note) {
  void* data = backend("allocate").allocate(device.index, nbytes, note);
  auto* s = new (allocate_small(sizeof(Storage))) Storage;
  s->data = data;
  s->nbytes = s->capacity = nbytes;
  s->device = device;
  return Ref<Storage>::adopt(s);
}

Ref<Storage> Storage::allocate_pinned(size_t nbytes) {
  void* data = backend("pin_memory").allocate_pinned(nbytes);
  Ref<Storage> s = foreign(data, nbytes, [](void* p) { find_backend()->free_pinned(p); }, data);
  s->pinned = true;
  return s;
}

Ref<Storage> Storage::foreign(void* data, size_t nbytes, void (*deleter)(void*), void* context, Device device) {
  auto* s = new (allocate_small(sizeof(Storage))) Storage;
  s->data = data;
  s->nbytes = s->capacity = nbytes;
  s->deleter = deleter;
  s->context = context;
  s->device = device;
  return Ref<Storage>::adopt(s);
}

void Storage::destroy(Storage* s) {
  const size_t capacity = s->capacity;
  const bool inline_data = s->inline_data;
  if (s->deleter) {
    s->deleter(s->context);
  } else if (!s->device.is_cpu()) {
    find_backend()->free(s->device.index, s->data);
  } else if (!inline_data) {
    free_bytes(s->data, capacity);
  }
  s->~Storage();
  free_small(s, inline_data ? header_bytes() + capacity : sizeof(Storage));
}

void Storage::resize(size_t new_nbytes) {
  FS_CHECK(!deleter, "resize_: cannot resize memory that belongs to another library; clone() the tensor first");
  if (new_nbytes <= capacity) {
    nbytes = new_nbytes;
    return;
  }
  if (!device.is_cpu()) {
    const Backend& b = backend("resize_");
    void* moved = b.allocate(device.index, new_nbytes, nullptr);
    b.copy(moved, device.index, data, device.index, nbytes, false, true);
    b.free(device.index, data);
    data = moved;
    nbytes = capacity = new_nbytes;
    return;
  }
  void* bigger = allocate_bytes(new_nbytes);
  std::memcpy(bigger, data, nbytes);
  if (inline_data) {
    // The block of an inline storage has to keep its size to be freed: park the data outside and remember by deleter.
    struct Outside {
      void* p;
      size_t n;
    };
    auto* o = new Outside{bigger, new_nbytes};
    context = o;
    deleter = [](void* c) {
      auto* q = static_cast<Outside*>(c);
      free_bytes(q->p, q->n);
      delete q;
    };
    data = bigger;
    nbytes = new_nbytes;  // capacity stays the block's, for free_small
    return;
  }
  free_bytes(data, capacity);
  data = bigger;
  nbytes = capacity = new_nbytes;
}

TensorImpl* TensorImpl::make() { return new (allocate_small(sizeof(TensorImpl))) TensorImpl; }

void TensorImpl::destroy(TensorImpl* t) {
  if (t->grad_fn) autograd_handlers.release_node(t);
  if (t->hooks) autograd_handlers.release_hooks(t->hooks);
  if (t->grad) ref_dec(t->grad);
  if (t->base) ref_dec(t->base);
  if (t->storage) ref_dec(t->storage);
  t->~TensorImpl();
  free_small(t, sizeof(TensorImpl));
}

void TensorImpl::refresh_contiguous() {
  numel = numel_of(sizes, ndim);
  bool ok = true;
  int64_t step = 1;
  for (int i = ndim - 1; i >= 0 && ok; --i) {
    if (sizes[i] != 1) ok = strides[i] == step;
    step *= sizes[i];
  }
  set(kContiguous, ok || numel == 0);
}

bool Tensor::same_shape(const Tensor& o) const {
  if (p_->ndim != o.p_->ndim) return false;
  for (int i = 0; i < p_->ndim; ++i)
    if (p_->sizes[i] != o.p_->sizes[i]) return false;
  return true;
}

void Tensor::set_grad(Tensor g) const {
  TensorImpl* old = p_->grad;
  p_->grad = g.release();
  if (old) ref_dec(old);
}

Tensor make_shell(const int64_t* sizes, int64_t ndim, DType dtype, Device device) {
  FS_CHECK(ndim <= kMaxRank, "a tensor may have at most ", kMaxRank, " dimensions, got ", ndim);
  TensorImpl* t = TensorImpl::make();
  t->dtype = dtype;
  t->device = device;
  t->ndim = static_cast<int8_t>(ndim);
  int64_t step = 1;
  for (int64_t i = ndim - 1; i >= 0; --i) {
    t->sizes[i] = sizes[i];
    t->strides[i] = step;
    if (__builtin_expect(sizes[i] < 0 || __builtin_mul_overflow(step, sizes[i] > 1 ? sizes[i] : 1, &step), false)) {
      const int64_t bad = sizes[i];
      TensorImpl::destroy(t);
      FS_CHECK(bad >= 0, "Trying to create tensor with negative dimension ", bad, ": ", Dims(sizes, ndim));
      fail(ErrorKind::kMemory, "Storage size calculation overflowed with sizes=", Dims(sizes, ndim));
    }
  }
  int64_t numel = 1;
  for (int64_t i = 0; i < ndim; ++i) numel *= sizes[i];
  t->numel = numel;
  return Tensor::adopt(t);
}

namespace {
[[gnu::noinline]] void allocate_on_device(TensorImpl* t, int64_t bytes, const char* op) {
  const AllocationNote note{op ? op : running_op, t->dtype, t->ndim, t->sizes};
  t->storage = Storage::allocate_on(t->device, static_cast<size_t>(bytes), &note).release();
  t->data = static_cast<char*>(t->storage->data);
}
}  // namespace

void allocate_shell(const Tensor& shell, const char* op) {
  TensorImpl* t = shell.impl();
  int64_t bytes;
  if (__builtin_expect(__builtin_mul_overflow(t->numel, static_cast<int64_t>(dtype_size(t->dtype)), &bytes), false))
    fail(ErrorKind::kMemory, "Storage size calculation overflowed with sizes=", shell.sizes());
  if (__builtin_expect(!t->device.is_cpu(), false)) return allocate_on_device(t, bytes, op);
  t->storage = Storage::allocate(static_cast<size_t>(bytes)).release();
  t->data = static_cast<char*>(t->storage->data);
}

Tensor empty(const Dims& sizes, DType dtype, Device device) {
  Tensor t = make_shell(sizes, dtype, device);
  allocate_shell(t);
  return t;
}

Tensor empty_strided(const Dims& sizes, const Dims& strides, DType dtype, Device device) {
  FS_CHECK(sizes.n == strides.n, "empty_strided: ", sizes.n, " sizes but ", strides.n, " strides");
  int64_t extent = 1;
  for (int64_t i = 0; i < sizes.n; ++i) {
    FS_CHECK(strides[i] >= 0, "empty_strided: negative stride in ", strides);
    extent = sizes[i] == 0 ? 0 : extent + (extent ? (sizes[i] - 1) * strides[i] : 0);
  }
  for (int64_t s : sizes)
    if (s == 0) extent = 0;
  Tensor flat = empty({extent}, dtype, device);
  return alias(flat, sizes.d, strides.d, sizes.n, 0);
}

Tensor alias(const Tensor& x, const int64_t* sizes, const int64_t* strides, int64_t ndim, int64_t offset) {
  TensorImpl* s = x.impl();
  TensorImpl* t = TensorImpl::make();
  t->dtype = s->dtype;
  t->device = s->device;
  t->ndim = static_cast<int8_t>(ndim);
  for (int64_t i = 0; i < ndim; ++i) {
    t->sizes[i] = sizes[i];
    t->strides[i] = strides[i];
  }
  t->refresh_contiguous();
  t->set(TensorImpl::kInference, s->has(TensorImpl::kInference));
  t->offset = offset;
  ref_inc(s->storage);
  t->storage = s->storage;
  t->data = static_cast<char*>(s->storage->data) + offset * static_cast<int64_t>(dtype_size(t->dtype));
  return Tensor::adopt(t);
}

Tensor detached_alias(const Tensor& x) {
  TensorImpl* s = x.impl();
  return alias(x, s->sizes, s->strides, s->ndim, s->offset);
}

DType default_dtype() { return default_float; }

void set_default_dtype(DType t) {
  FS_CHECK_TYPE(is_floating(t),
                "set_default_dtype: only floating-point types are supported as the default type, got ",
                dtype_name(t));
  default_float = t;
}

Scalar read_element(const void* p, DType dtype) {
  Scalar r;
  dispatch_all(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    T v;
    std::memcpy(&v, p, sizeof(T));
    if constexpr (std::is_same_v<T, bool>) {
      r = Scalar(v);
    } else if constexpr (std::is_same_v<T, float16> || std::is_same_v<T, bfloat16>) {
      r = Scalar(static_cast<double>(static_cast<float>(v)));
    } else if constexpr (std::is_floating_point_v<T>) {
      r = Scalar(static_cast<double>(v));
    } else {
      r = Scalar(static_cast<int64_t>(v));
    }
  });
  return r;
}

void write_element(void* p, DType dtype, Scalar value) {
  dispatch_all(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    T v;
    if constexpr (std::is_same_v<T, bool>) {
      v = value.to_bool();
    } else if constexpr (std::is_same_v<T, float16> || std::is_same_v<T, bfloat16>) {
      v = T(static_cast<float>(value.to_double()));
    } else if constexpr (std::is_floating_point_v<T>) {
      v = static_cast<T>(value.to_double());
    } else {
      v = static_cast<T>(value.to_int());
    }
    std::memcpy(p, &v, sizeof(T));
  });
}

Tensor scalar_tensor(Scalar value, DType dtype) {
  Tensor t = make_shell(nullptr, 0, dtype);
  allocate_shell(t);
  write_element(t.impl()->data, dtype, value);
  return t;
}

Tensor wrapped_number(Scalar value) {
  const DType dtype = value.kind == Scalar::kFloat  ? DType::kFloat64
                      : value.kind == Scalar::kBool ? DType::kBool
                                                    : DType::kInt64;
  Tensor t = scalar_tensor(value, dtype);
  t.impl()->set(TensorImpl::kWrappedNumber, true);
  return t;
}

Scalar item(const Tensor& x) {
  FS_CHECK(x.numel() == 1, "a Tensor with ", x.numel(), " elements cannot be converted to Scalar");
  if (__builtin_expect(!x.device().is_cpu(), false)) {
    char value[8];
    const DeviceGuard guard(x.device());
    backend("item").copy(value, -1, x.impl()->data, x.device().index, x.itemsize(), false, false);
    return read_element(value, x.dtype());
  }
  return read_element(x.impl()->data, x.dtype());
}

}  // namespace fireseed

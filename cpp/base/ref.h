// Ref<T>: intrusive reference-counted pointer. T gives `std::atomic<int32_t> refs` (born as 1) and `static void
// destroy(T*)`.
#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

namespace fireseed {

template <class T>
inline void ref_inc(T* p) {
  p->refs.fetch_add(1, std::memory_order_relaxed);
}
// A sole owner needs no locked instruction: nobody else can touch the count.
template <class T>
inline void ref_dec(T* p) {
  if (p->refs.load(std::memory_order_acquire) == 1 || p->refs.fetch_sub(1, std::memory_order_acq_rel) == 1)
    T::destroy(p);
}

template <class T>
class Ref {
 public:
  Ref() = default;
  Ref(std::nullptr_t) {}
  Ref(const Ref& o) : p_(o.p_) {
    if (p_) ref_inc(p_);
  }
  Ref(Ref&& o) noexcept : p_(std::exchange(o.p_, nullptr)) {}
  Ref& operator=(Ref o) noexcept {
    std::swap(p_, o.p_);
    return *this;
  }
  ~Ref() {
    if (p_) ref_dec(p_);
  }
  static Ref adopt(T* p) {  // takes over one count
    Ref r;
    r.p_ = p;
    return r;
  }
  static Ref share(T* p) {  // adds a count
    if (p) ref_inc(p);
    return adopt(p);
  }
  T* release() { return std::exchange(p_, nullptr); }
  T* get() const { return p_; }
  T* operator->() const { return p_; }
  T& operator*() const { return *p_; }
  explicit operator bool() const { return p_ != nullptr; }
  bool unique() const { return p_ && p_->refs.load(std::memory_order_acquire) == 1; }

 private:
  T* p_ = nullptr;
};

}  // namespace fireseed

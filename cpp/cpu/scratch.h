// Scratch<T>: temporary memory of a kernel, from the caching allocator, freed at the end of the scope.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/allocator.h"

#ifndef FS_ISA
#error "cpu/ files are compiled once per instruction set with -DFS_ISA=v2|v3|v4|neon"
#endif

namespace fireseed::cpu::FS_ISA {

// Uninitialised room for `count` trivial T, 64-byte aligned. Inside a parallel region it may be used too (the
// allocator takes a lock), but take it outside the inner loops.
template <class T>
class Scratch {
 public:
  Scratch() = default;
  explicit Scratch(int64_t count) { reset(count); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() { release(); }

  // Drops what it has and takes room for `count` elements; 0 takes nothing.
  void reset(int64_t count) {
    release();
    if (count <= 0) return;
    bytes_ = static_cast<size_t>(count) * sizeof(T);
    data_ = static_cast<T*>(allocate_bytes(bytes_));
  }
  void release() {
    if (data_) free_bytes(data_, bytes_);
    data_ = nullptr;
  }
  T* data() { return data_; }
  T& operator[](int64_t i) { return data_[i]; }
  explicit operator bool() const { return data_ != nullptr; }

 private:
  T* data_ = nullptr;
  size_t bytes_ = 0;
};

// Scratch that uses kInline elements on the stack where they suffice.
template <class T, int kInline>
class SmallScratch {
 public:
  explicit SmallScratch(int64_t count) : data_(inline_) {
    if (count > kInline) {
      heap_.reset(count);
      data_ = heap_.data();
    }
  }
  T* data() { return data_; }

 private:
  alignas(64) T inline_[kInline];
  Scratch<T> heap_;
  T* data_;
};

// Memory that stays with its thread, so that what one task wrote there is in the cache of the next one, and no other
// processor's. Good until the thread's next call; for chunks of parallel_for that call nothing which does the same.
inline void* thread_scratch(size_t bytes) {
  struct Buffer {
    void* data = nullptr;
    size_t bytes = 0;
    ~Buffer() { free_bytes(data, bytes); }
  };
  static thread_local Buffer buffer;
  if (buffer.bytes < bytes) {
    free_bytes(buffer.data, buffer.bytes);
    buffer = {nullptr, 0};
    buffer.data = allocate_bytes(bytes);
    buffer.bytes = bytes;
  }
  return buffer.data;
}

}  // namespace fireseed::cpu::FS_ISA

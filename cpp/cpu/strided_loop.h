// StridedLoop: operands of one shape with any strides, as the fewest possible rows of equal length.
#pragma once

#include "tensor/view.h"

#ifndef FS_ISA
#error "cpu/ files are compiled once per instruction set with -DFS_ISA=v2|v3|v4|neon"
#endif

namespace fireseed::cpu::FS_ISA {

// Dimensions are sorted so that operand 0 (the output) is walked in memory order, and merged where every operand
// allows it. Element e of the loop (0 <= e < numel) lies in row e / row_size(). Strides are in bytes.
struct StridedLoop {
  static constexpr int kMaxOperands = 6;
  int num = 0;
  int ndim = 0;  // after merging; dimension ndim - 1 is the row
  int64_t numel = 0;
  int64_t sizes[kMaxRank];
  int64_t strides[kMaxOperands][kMaxRank];
  char* base[kMaxOperands];

  // All views have `shape`'s sizes.
  void init(const TensorView& shape) {
    numel = shape.numel;
    ndim = 0;
    num = 0;
    for (int i = 0; i < shape.ndim; ++i)
      if (shape.sizes[i] != 1) {
        kept_[ndim] = i;
        sizes[ndim++] = shape.sizes[i];
      }
  }
  void add(const TensorView& v) { add(v.data, v.strides, static_cast<int64_t>(dtype_size(v.dtype))); }
  // strides in elements of `size` bytes, one per dimension of the shape given to init.
  void add(void* data, const int64_t* element_strides, int64_t size) {
    base[num] = static_cast<char*>(data);
    for (int i = 0; i < ndim; ++i) strides[num][i] = element_strides[kept_[i]] * size;
    ++num;
  }
  // Sorts and merges; call once after the last add().
  void finish() {
    for (int i = 1; i < ndim; ++i)  // insertion sort: largest stride of the output first
      for (int j = i; j > 0 && goes_before(j, j - 1); --j) swap_dims(j, j - 1);
    int out = 0;
    for (int i = 1; i < ndim; ++i) {
      bool merges = true;
      for (int k = 0; k < num; ++k) merges &= strides[k][out] == strides[k][i] * sizes[i];
      if (merges) {
        sizes[out] *= sizes[i];
        for (int k = 0; k < num; ++k) strides[k][out] = strides[k][i];
      } else {
        ++out;
        sizes[out] = sizes[i];
        for (int k = 0; k < num; ++k) strides[k][out] = strides[k][i];
      }
    }
    if (ndim == 0) {
      sizes[0] = 1;
      for (int k = 0; k < num; ++k) strides[k][0] = 0;
    }
    ndim = out + 1;
  }
  int64_t row_size() const { return sizes[ndim - 1]; }
  int64_t row_stride(int k) const { return strides[k][ndim - 1]; }

  // Calls f(char* const* pointers, int64_t count) for the pieces of rows that make up elements [begin, end).
  template <class F>
  void for_rows(int64_t begin, int64_t end, F&& f) const {
    Cursor c(*this, begin);
    char* p[kMaxOperands];
    const int64_t row = row_size();
    while (begin < end) {
      const int64_t left = row - c.position, count = left < end - begin ? left : end - begin;
      for (int k = 0; k < num; ++k) p[k] = c.p[k] + c.position * row_stride(k);
      f(static_cast<char* const*>(p), count);
      begin += count;
      c.next_row();
    }
  }

  // A place in the loop: the starts of the current row and the position within it.
  struct Cursor {
    const StridedLoop& loop;
    int64_t index[kMaxRank];
    char* p[kMaxOperands];
    int64_t position;

    Cursor(const StridedLoop& l, int64_t element) : loop(l) {
      const int last = l.ndim - 1;
      position = element % l.sizes[last];
      int64_t rest = element / l.sizes[last];
      for (int k = 0; k < l.num; ++k) p[k] = l.base[k];
      for (int i = last - 1; i >= 0; --i) {
        index[i] = rest % l.sizes[i];
        rest /= l.sizes[i];
        for (int k = 0; k < l.num; ++k) p[k] += index[i] * l.strides[k][i];
      }
    }
    // Past n rows, at most to the end of the dimension around them.
    void skip_rows(int64_t n) {
      const int i = loop.ndim - 2;
      index[i] += n - 1;
      for (int k = 0; k < loop.num; ++k) p[k] += (n - 1) * loop.strides[k][i];
      next_row();
    }
    void next_row() {
      position = 0;
      for (int i = loop.ndim - 2; i >= 0; --i) {
        for (int k = 0; k < loop.num; ++k) p[k] += loop.strides[k][i];
        if (++index[i] < loop.sizes[i]) return;
        for (int k = 0; k < loop.num; ++k) p[k] -= loop.strides[k][i] * loop.sizes[i];
        index[i] = 0;
      }
    }
  };

 private:
  int kept_[kMaxRank];

  // Dimension a belongs outside dimension b: by the first operand whose strides differ.
  bool goes_before(int a, int b) const {
    for (int k = 0; k < num; ++k) {
      const int64_t sa = strides[k][a], sb = strides[k][b];
      if (sa == 0 || sb == 0) continue;  // broadcast: no opinion
      if (sa != sb) return sa > sb;
    }
    return false;
  }
  void swap_dims(int a, int b) {
    const int64_t s = sizes[a];
    sizes[a] = sizes[b];
    sizes[b] = s;
    for (int k = 0; k < num; ++k) {
      const int64_t t = strides[k][a];
      strides[k][a] = strides[k][b];
      strides[k][b] = t;
    }
  }
};

}  // namespace fireseed::cpu::FS_ISA

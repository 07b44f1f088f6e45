// Helpers of kernels that move elements: strided loops over several operands, scratch, index checks, row copies.
#pragma once

#include <cstdint>
#include <limits>

#include "base/dtype.h"
#include "base/parallel.h"
#include "tensor/allocator.h"
#include "tensor/attrs/index.h"
#include "tensor/view.h"

namespace fireseed::cpu::FS_ISA {

inline int64_t min_of(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t max_of(int64_t a, int64_t b) { return a > b ? a : b; }
inline int64_t div_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Uninitialised scratch memory of `count` elements of T, freed at the end of the scope.
template <class T>
class MoveScratch {
 public:
  explicit MoveScratch(int64_t count)
      : bytes_(static_cast<size_t>(count > 0 ? count : 1) * sizeof(T)),
        data_(static_cast<T*>(allocate_bytes(bytes_))) {}
  ~MoveScratch() { free_bytes(data_, bytes_); }
  MoveScratch(const MoveScratch&) = delete;
  MoveScratch& operator=(const MoveScratch&) = delete;
  T* data() const { return data_; }
  T& operator[](int64_t i) const { return data_[i]; }

 private:
  size_t bytes_;
  T* data_;
};

inline constexpr int kLoopRank = 2 * kMaxRank + 1;  // repeat splits every dimension in two

// N strided operands over one shape, given outermost dimension first; dimensions that every operand steps through
// evenly are merged. Strides may be 0 or negative.
template <int N>
struct Loop {
  int rank = 0;
  int64_t numel = 1;
  int64_t size[kLoopRank];
  int64_t stride[N][kLoopRank];

  // Adds an inner dimension of n steps, operand k moving by s[k] elements.
  void dim(int64_t n, const int64_t (&s)[N]) {
    if (n == 1) return;
    numel *= n;
    if (rank > 0) {
      bool even = true;
      for (int k = 0; k < N; ++k) even = even && stride[k][rank - 1] == s[k] * n;
      if (even) {
        size[rank - 1] *= n;
        for (int k = 0; k < N; ++k) stride[k][rank - 1] = s[k];
        return;
      }
    }
    size[rank] = n;
    for (int k = 0; k < N; ++k) stride[k][rank] = s[k];
    ++rank;
  }
  int64_t inner_size() const { return rank ? size[rank - 1] : 1; }
  int64_t inner_stride(int k) const { return rank ? stride[k][rank - 1] : 1; }
  bool unit(int k) const { return inner_stride(k) == 1; }
  // One run covers everything and operand k is dense in it.
  bool dense(int k) const { return rank <= 1 && unit(k); }

  // Offsets of the operands at flat position `pos`.
  void offsets(int64_t pos, int64_t (&off)[N]) const {
    if (rank <= 1) {
      for (int k = 0; k < N; ++k) off[k] = pos * inner_stride(k);
      return;
    }
    for (int k = 0; k < N; ++k) off[k] = 0;
    for (int d = rank - 1; d >= 0; --d) {
      const int64_t i = pos % size[d];
      pos /= size[d];
      for (int k = 0; k < N; ++k) off[k] += i * stride[k][d];
    }
  }
  // Calls f(off, n) for the innermost runs (n steps from offsets off) that make up flat positions [begin, end).
  template <class F>
  void rows(int64_t begin, int64_t end, F&& f) const {
    if (begin >= end) return;
    int64_t off[N];
    if (rank <= 1) {
      for (int k = 0; k < N; ++k) off[k] = begin * inner_stride(k);
      f(off, end - begin);
      return;
    }
    int64_t at[kLoopRank];
    int64_t rest = begin;
    for (int k = 0; k < N; ++k) off[k] = 0;
    for (int d = rank - 1; d >= 0; --d) {
      at[d] = rest % size[d];
      rest /= size[d];
      for (int k = 0; k < N; ++k) off[k] += at[d] * stride[k][d];
    }
    const int last = rank - 1;
    for (int64_t pos = begin; pos < end;) {
      const int64_t n = min_of(size[last] - at[last], end - pos);
      f(off, n);
      pos += n;
      if (pos >= end) break;
      for (int k = 0; k < N; ++k) off[k] -= at[last] * stride[k][last];
      at[last] = 0;
      for (int d = last - 1; d >= 0; --d) {
        for (int k = 0; k < N; ++k) off[k] += stride[k][d];
        if (++at[d] < size[d]) break;
        for (int k = 0; k < N; ++k) off[k] -= at[d] * stride[k][d];
        at[d] = 0;
      }
    }
  }
};

// Loop over the elements of views of one shape.
inline Loop<1> loop_of(const TensorView& a) {
  Loop<1> loop;
  for (int d = 0; d < a.ndim; ++d) loop.dim(a.sizes[d], {a.strides[d]});
  return loop;
}
inline Loop<2> loop_of(const TensorView& a, const TensorView& b) {
  Loop<2> loop;
  for (int d = 0; d < a.ndim; ++d) loop.dim(a.sizes[d], {a.strides[d], b.strides[d]});
  return loop;
}
inline Loop<3> loop_of(const TensorView& a, const TensorView& b, const TensorView& c) {
  Loop<3> loop;
  for (int d = 0; d < a.ndim; ++d) loop.dim(a.sizes[d], {a.strides[d], b.strides[d], c.strides[d]});
  return loop;
}

// Copies of up to some hundred bytes without a call: whole 16- or 64-byte pieces, the last one overlapping.
template <int kPiece>
[[gnu::always_inline]] inline void copy_pieces(char* dst, const char* src, int64_t bytes) {
  struct Piece { char b[kPiece]; };
  Piece p;
  int64_t i = 0;
  for (; i + kPiece <= bytes; i += kPiece) {
    __builtin_memcpy(&p, src + i, kPiece);
    __builtin_memcpy(dst + i, &p, kPiece);
  }
  if (i < bytes) {
    __builtin_memcpy(&p, src + bytes - kPiece, kPiece);
    __builtin_memcpy(dst + bytes - kPiece, &p, kPiece);
  }
}
inline void copy_bytes(void* dst, const void* src, int64_t bytes) {
  char* d = static_cast<char*>(dst);
  const char* s = static_cast<const char*>(src);
  if (bytes > 512) __builtin_memcpy(d, s, static_cast<size_t>(bytes));
  else if (bytes >= 64) copy_pieces<64>(d, s, bytes);
  else if (bytes >= 16) copy_pieces<16>(d, s, bytes);
  else if (bytes >= 8) copy_pieces<8>(d, s, bytes);
  else if (bytes >= 4) copy_pieces<4>(d, s, bytes);
  else
    for (int64_t i = 0; i < bytes; ++i) d[i] = s[i];
}

// dst[i * ds] = src[i * ss] for i < n.
template <class T>
inline void copy_run(T* dst, int64_t ds, const T* src, int64_t ss, int64_t n) {
  if (ds == 1 && ss == 1) {
    copy_bytes(dst, src, n * static_cast<int64_t>(sizeof(T)));
  } else if (ds == 1 && ss == 0) {
    const T v = *src;
    for (int64_t i = 0; i < n; ++i) dst[i] = v;
  } else if (ds == 1 && ss == -1) {
    const T* s = src - (n - 1);
    for (int64_t i = 0; i < n; ++i) dst[i] = s[n - 1 - i];
  } else if (ds == 1) {
    for (int64_t i = 0; i < n; ++i) dst[i] = src[i * ss];
  } else {
    for (int64_t i = 0; i < n; ++i) dst[i * ds] = src[i * ss];
  }
}

// Asks for n elements that are wanted soon, at most a page of them: rows that land anywhere, which processors cannot
// foresee.
template <class T>
inline void fetch_row(const T* row, int64_t n) {
  const char* p = reinterpret_cast<const char*>(row);
  const int64_t bytes = min_of(n * static_cast<int64_t>(sizeof(T)), 4096);
  for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch(p + i);
}

inline constexpr int64_t kMoveChunk = 32768;  // elements a task; 64-256 kB of traffic

// dst = src over a loop of (dst, src), in parallel.
template <class T>
inline void copy_loop(T* dst, const T* src, const Loop<2>& loop) {
  const int64_t ds = loop.inner_stride(0), ss = loop.inner_stride(1);
  parallel_for(loop.numel, kMoveChunk, [&](int64_t begin, int64_t end) {
    loop.rows(begin, end,
              [&](const int64_t (&off)[2], int64_t n) { copy_run(dst + off[0], ds, src + off[1], ss, n); });
  });
}

// Fills a run or a whole loop with one value.
template <class T>
inline void fill_run(T* dst, int64_t ds, T value, int64_t n) {
  if (n <= 4) {
    for (int64_t i = 0; i < n; ++i) dst[i * ds] = value;
  } else if (ds == 1) {
    for (int64_t i = 0; i < n; ++i) dst[i] = value;
  } else {
    for (int64_t i = 0; i < n; ++i) dst[i * ds] = value;
  }
}
template <class T>
inline void fill_dense(T* dst, int64_t n, T value) {
  parallel_for(n, 4 * kMoveChunk, [&](int64_t b, int64_t e) { fill_run(dst + b, 1, value, e - b); });
}
inline void zero_bytes(void* dst, int64_t bytes) {
  parallel_for(bytes, 16 * kMoveChunk, [&](int64_t b, int64_t e) {
    __builtin_memset(static_cast<char*>(dst) + b, 0, static_cast<size_t>(e - b));
  });
}
inline void zero_view(const TensorView& out) {
  int64_t extent = 1;  // dense in any order of its dimensions: one block of memory
  for (int d = 0; d < out.ndim; ++d) extent += out.sizes[d] > 0 ? (out.sizes[d] - 1) * out.strides[d] : 0;
  if (out.numel == 0) return;
  if (extent == out.numel) return zero_bytes(out.data, out.numel * static_cast<int64_t>(dtype_size(out.dtype)));
  dispatch_size(out.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const Loop<1> loop = loop_of(out);
    T* p = out.ptr<T>();
    loop.rows(0, loop.numel,
              [&](const int64_t (&off)[1], int64_t n) { fill_run(p + off[0], loop.inner_stride(0), T(0), n); });
  });
}

// Same shape and dtype: dst = src, bit for bit. Nothing happens when both are the same memory (in-place call).
inline void copy_view(const TensorView& dst, const TensorView& src) {
  if (dst.data == src.data || dst.numel == 0) return;
  dispatch_size(dst.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    copy_loop(dst.ptr<T>(), src.ptr<const T>(), loop_of(dst, src));
  });
}

// Row-major elements of a view: the view's own memory where it is contiguous, else a packed copy.
template <class T>
class Packed {
 public:
  explicit Packed(const TensorView& v) : bytes_(v.contiguous ? 0 : static_cast<size_t>(v.numel) * sizeof(T) + 1) {
    if (v.contiguous) {
      data_ = v.ptr<T>();
      return;
    }
    data_ = static_cast<T*>(allocate_bytes(bytes_));
    Loop<2> loop;
    int64_t step[kMaxRank], total = 1;
    for (int d = v.ndim - 1; d >= 0; --d) {
      step[d] = total;
      total *= v.sizes[d];
    }
    for (int d = 0; d < v.ndim; ++d) loop.dim(v.sizes[d], {step[d], v.strides[d]});
    if (v.numel > 0) copy_loop(data_, v.ptr<const T>(), loop);
  }
  ~Packed() {
    if (bytes_) free_bytes(data_, bytes_);
  }
  Packed(const Packed&) = delete;
  Packed& operator=(const Packed&) = delete;
  const T* data() const { return data_; }
  T* mutable_data() const { return data_; }

 private:
  size_t bytes_;
  T* data_;
};

// Contiguous target of an output view: its own memory, or scratch that `flush` copies back to the strided view.
template <class T>
class PackedOut {
 public:
  explicit PackedOut(const TensorView& v)
      : view_(v), bytes_(v.contiguous ? 0 : static_cast<size_t>(v.numel) * sizeof(T) + 1) {
    data_ = v.contiguous ? v.ptr<T>() : static_cast<T*>(allocate_bytes(bytes_));
  }
  ~PackedOut() {
    if (bytes_) free_bytes(data_, bytes_);
  }
  PackedOut(const PackedOut&) = delete;
  PackedOut& operator=(const PackedOut&) = delete;
  T* data() const { return data_; }
  void flush() const {
    if (!bytes_ || view_.numel == 0) return;
    Loop<2> loop;
    int64_t step[kMaxRank], total = 1;
    for (int d = view_.ndim - 1; d >= 0; --d) {
      step[d] = total;
      total *= view_.sizes[d];
    }
    for (int d = 0; d < view_.ndim; ++d) loop.dim(view_.sizes[d], {view_.strides[d], step[d]});
    copy_loop(view_.ptr<T>(), static_cast<const T*>(data_), loop);
  }

 private:
  const TensorView& view_;
  size_t bytes_;
  T* data_;
};

// First position (in row-major order) that a parallel loop found bad; the same for any number of threads.
class FirstBad {
 public:
  void report(int64_t pos) {
    int64_t seen = __atomic_load_n(&pos_, __ATOMIC_RELAXED);
    while (pos < seen && !__atomic_compare_exchange_n(&pos_, &seen, pos, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {}
  }
  bool found() const { return pos_ != kNone; }
  int64_t pos() const { return pos_; }

 private:
  static constexpr int64_t kNone = INT64_MAX;
  int64_t pos_ = kNone;
};

// Element at row-major position `pos` of a strided int64 view.
inline int64_t index_at(const TensorView& v, int64_t pos) {
  int64_t off = 0;
  for (int d = v.ndim - 1; d >= 0; --d) {
    off += (pos % v.sizes[d]) * v.strides[d];
    pos /= v.sizes[d];
  }
  return v.ptr<const int64_t>()[off];
}

// Who complains how about an index that is out of range (after PyTorch).
[[noreturn, gnu::cold]] inline void fail_index(ErrorKind kind, const char* op, int64_t index, int64_t dim,
                                               int64_t size) {
  fail(kind, op, ": index ", index, " is out of bounds for dimension ", dim, " with size ", size);
}

// offsets[i] += wrapped index i * stride, for the n packed indices; true when all lie in range.
// The loop vectorises: a bad index adds nothing.
inline bool add_offsets(const int64_t* index, int64_t n, int64_t size, int64_t stride, bool wrap, int64_t* offsets,
                        bool first) {
  uint64_t bad = 0;
  const int64_t add = wrap ? size : 0;
  for (int64_t i = 0; i < n; ++i) {
    int64_t v = index[i];
    v += v < 0 ? add : 0;
    const bool out = static_cast<uint64_t>(v) >= static_cast<uint64_t>(size);
    bad |= out;
    v = out ? 0 : v * stride;
    offsets[i] = first ? v : offsets[i] + v;
  }
  return bad == 0;
}

// Converts a fill value to a storage type.
template <class T>
inline T fill_as(const FillValue& v) {
  if constexpr (dtype_of<T>::value >= DType::kFloat16) {
    if constexpr (sizeof(T) == 8) return static_cast<T>(v.real);
    else return static_cast<T>(static_cast<float>(v.real));
  } else if constexpr (dtype_of<T>::value == DType::kBool) {
    return v.integer != 0;
  } else {
    return static_cast<T>(v.integer);
  }
}

}  // namespace fireseed::cpu::FS_ISA

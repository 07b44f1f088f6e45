// Dims: a small fixed-capacity list of sizes, strides or axes; trivially copyable, so it may stand in attrs.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <ostream>

#include "base/error.h"

namespace fireseed {

inline constexpr int kMaxRank = 12;

struct Dims {
  int64_t n = 0;
  int64_t d[kMaxRank] = {};

  Dims() = default;
  Dims(std::initializer_list<int64_t> v) {
    for (int64_t x : v) push_back(x);
  }
  Dims(const int64_t* p, int64_t count) {
    for (int64_t i = 0; i < count; ++i) push_back(p[i]);
  }
  static Dims filled(int64_t count, int64_t value) {
    Dims r;
    for (int64_t i = 0; i < count; ++i) r.push_back(value);
    return r;
  }
  void push_back(int64_t x) {
    FS_CHECK(n < kMaxRank, "a tensor may have at most ", kMaxRank, " dimensions");
    d[n++] = x;
  }
  int64_t size() const { return n; }
  bool empty() const { return n == 0; }
  int64_t& operator[](int64_t i) { return d[i]; }
  int64_t operator[](int64_t i) const { return d[i]; }
  int64_t* begin() { return d; }
  int64_t* end() { return d + n; }
  const int64_t* begin() const { return d; }
  const int64_t* end() const { return d + n; }
  int64_t back() const { return d[n - 1]; }
  bool operator==(const Dims& o) const {
    if (n != o.n) return false;
    for (int64_t i = 0; i < n; ++i)
      if (d[i] != o.d[i]) return false;
    return true;
  }
};

// "[2, 3]": as PyTorch prints shapes in errors.
inline std::ostream& operator<<(std::ostream& out, const Dims& v) {
  out << '[';
  for (int64_t i = 0; i < v.n; ++i) out << (i ? ", " : "") << v.d[i];
  return out << ']';
}

// Number of elements; throws where it overflows int64.
inline int64_t numel_of(const int64_t* sizes, int64_t n) {
  int64_t r = 1;
  for (int64_t i = 0; i < n; ++i)
    if (sizes[i] == 0) return 0;
  for (int64_t i = 0; i < n; ++i)
    FS_CHECK(!__builtin_mul_overflow(r, sizes[i], &r), "the size ", Dims(sizes, n), " has too many elements");
  return r;
}
inline int64_t numel_of(const Dims& v) { return numel_of(v.d, v.n); }

inline Dims contiguous_strides(const Dims& sizes) {
  Dims s = sizes;
  int64_t step = 1;
  for (int64_t i = sizes.n - 1; i >= 0; --i) {
    s.d[i] = step;
    step *= sizes.d[i] > 1 ? sizes.d[i] : 1;
  }
  return s;
}

// Axis in [-n, n) to [0, n); a 0-dim tensor counts as rank 1. Throws IndexError naming `op`.
inline int64_t wrap_dim(int64_t dim, int64_t rank, const char* op) {
  const int64_t n = rank > 0 ? rank : 1;
  FS_CHECK_INDEX(dim >= -n && dim < n, op, ": Dimension out of range (expected to be in range of [", -n, ", ", n - 1,
                 "], but got ", dim, ")");
  return dim < 0 ? dim + n : dim;
}

}  // namespace fireseed

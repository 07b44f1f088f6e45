// Reductions over any set of dimensions: one driver for layout, threads and trees; reducers supply the arithmetic.
#pragma once

#include <cstdint>

#include "cpu/vec.h"
#include "tensor/attrs/reduce.h"
#include "tensor/view.h"

namespace fireseed::cpu::FS_ISA {

// Note [Reduction shapes]
// After size-1 dimensions are dropped and mergeable ones merged, a reduction is one of two loops:
//   rows  the reduced elements of an output lie side by side: vector accumulators run along them;
//   cols  neighbouring outputs lie side by side: each lane is an output, rows are taken eight at a time.
// Anything else is gathered into a small buffer that has one of the two forms. Long reductions are cut into pieces
// of fixed size and the pieces merged in a fixed pairwise tree, so the bits do not depend on the number of threads.

// The last pass over a row brings the next one closer, n elements on (nothing happens behind the last row): it is
// busy computing or writing, while the first pass would wait for memory. Processors look ahead by themselves only so
// far, and not beyond a page.
template <class T>
FS_INLINE void fetch_next(const T* row, int64_t n, int64_t i) {
  __builtin_prefetch(row + n + i);
}

inline constexpr int kRowGroup = 8;        // rows given to Reducer::cols at once
inline constexpr int64_t kColTile = 1024;  // outputs of one tile in the cols loop
inline constexpr double kInfinity = __builtin_inf();

union Number {
  double d;
  int64_t i;
};

// Partial result of one output in the rows loop; what a and b mean is the reducer's affair.
struct Part {
  Number a, b;
  int64_t n = 0;      // elements seen
  int64_t index = 0;  // argmax and friends
};

struct ReduceParams {
  double p = 2;           // norm order
  double correction = 0;  // var
  bool mean = false;      // sum: divide by the count
  bool root = false;      // var, norm: square root at the end
};

// One reducer of one dtype behind plain functions, so that the driver is compiled once.
struct ReduceFns {
  void (*init_part)(Part& part);
  // Adds n contiguous elements whose first has flat index `index` among the reduced.
  void (*run)(Part& part, const void* p, int64_t n, int64_t index, const ReduceParams& params);
  void (*merge_part)(Part& a, const Part& b);  // b's elements come after a's
  void (*emit_part)(const Part& part, const ReduceParams& params, void* out0, void* out1);
  void (*init_cols)(void* states, int64_t groups);
  // Adds `nrows` (1..kRowGroup) rows of ncols elements to ceil(ncols / lanes) states that have seen `count` rows; the
  // first row has flat index `index`.
  void (*cols)(void* states, const void* const* rows, int nrows, int64_t ncols, int64_t count, int64_t index,
               const ReduceParams& params);
  void (*merge_cols)(void* a, const void* b, int64_t groups, int64_t count_a, int64_t count_b);
  void (*emit_cols)(const void* states, int64_t ncols, int64_t count, const ReduceParams& params, void* out0,
                    void* out1);
  int in_size, out0_size, out1_size;  // bytes an element; out1_size 0: one output
  int state_bytes, lanes;             // of one vector of outputs in the cols loop
  int64_t grain;                      // elements worth a task of their own
  bool ordered;                       // indices matter: the reduced dimensions keep their order
};

template <class R>
inline constexpr ReduceFns reduce_fns_of = {R::init_part, R::run,         R::merge_part, R::emit_part, R::init_cols,
                                            R::cols,      R::merge_cols,  R::emit_cols,  R::kInSize,   R::kOut0Size,
                                            R::kOut1Size, R::kStateBytes, R::kLanes,     R::kGrain,    R::kOrdered};

// Reduces `in` over the dimensions of `mask` into out[0] (and out[1]), whose sizes are the kept ones, or with
// `keepdim` those of `in` with ones.
void reduce(const TensorView& in, const TensorView* out, int64_t mask, bool keepdim, const ReduceFns& fns,
            const ReduceParams& params);

// kUse ? T : void, and A or B.
template <bool kUse, class T> struct choose_second { using type = T; };
template <class T> struct choose_second<false, T> { using type = void; };
template <bool kFirst, class A, class B> struct choose_type { using type = A; };
template <class A, class B> struct choose_type<false, A, B> { using type = B; };

inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// ---- memory of any dtype as lanes of C --------------------------------------------------------------------------

// What a bool is read as.
template <class T> struct memory_type_of { using type = T; };
template <> struct memory_type_of<bool> { using type = uint8_t; };
template <class T>
using memory_type = typename memory_type_of<T>::type;

template <class T> inline constexpr bool is_half_type = same_type<T, float16> || same_type<T, bfloat16>;
template <class T> inline constexpr bool is_float_type = is_float_lane<T> || is_half_type<T>;

// Vec<C>::kSize elements of T as C: halves as float, narrow integers widened.
template <class C, class T>
FS_INLINE Vec<C> load_as(const T* p) {
  if constexpr (same_type<C, T>) {
    return Vec<C>::load(p);
  } else if constexpr (is_half_type<T>) {
    static_assert(same_type<C, float>);
    return load_float(p);
  } else {
    typedef T Narrow __attribute__((vector_size(Vec<C>::kSize * sizeof(T))));
    Narrow v;
    __builtin_memcpy(&v, p, sizeof v);
    return Vec<C>(__builtin_convertvector(v, native_t<C>));
  }
}
// The first n lanes, `fill` beyond.
template <class C, class T>
FS_INLINE Vec<C> load_as(const T* p, int n, C fill) {
  if constexpr (same_type<C, T>) {
    return where(Mask<C>::first(n), Vec<C>::load(p, n), Vec<C>(fill));
  } else if constexpr (is_half_type<T>) {
    return where(Mask<C>::first(n), load_float(p, n), Vec<C>(fill));
  } else {
    C lanes[Vec<C>::kSize];
    for (int i = 0; i < Vec<C>::kSize; ++i) lanes[i] = i < n ? static_cast<C>(p[i]) : fill;
    return Vec<C>::load(lanes);
  }
}
template <class T, class C>
FS_INLINE void store_as(T* p, Vec<C> x) {
  if constexpr (same_type<C, T>) {
    x.store(p);
  } else if constexpr (is_half_type<T>) {
    store_float(p, x);
  } else {
    typedef T Narrow __attribute__((vector_size(Vec<C>::kSize * sizeof(T))));
    const Narrow v = __builtin_convertvector(x.v, Narrow);
    __builtin_memcpy(p, &v, sizeof v);
  }
}
template <class T, class C>
FS_INLINE void store_as(T* p, Vec<C> x, int n) {
  if constexpr (same_type<C, T>) {
    x.store(p, n);
  } else if constexpr (is_half_type<T>) {
    store_float(p, x, n);
  } else {
    for (int i = 0; i < n; ++i) p[i] = static_cast<T>(x[i]);
  }
}
template <class T>
FS_INLINE T narrow_to(double x) {
  if constexpr (is_half_type<T>) return T(static_cast<float>(x));
  else return static_cast<T>(x);
}
template <class C, class T>
FS_INLINE C widen_from(T x) {
  if constexpr (is_half_type<T>) return static_cast<C>(static_cast<float>(x));
  else return static_cast<C>(x);
}

}  // namespace fireseed::cpu::FS_ISA

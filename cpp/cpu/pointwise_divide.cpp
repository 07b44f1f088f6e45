// Pointwise kernels: division with remainder (group 6 of ops.def), powers of integers, shifts.
#include "cpu/pointwise_traits.h"

namespace fireseed::cpu::FS_ISA {

namespace {

// Integer division and remainder, number by number; `bad` collects zero divisors.
struct IntTrunc {
  template <class T>
  static T apply(T a, T b) {
    return b == static_cast<T>(-1) && T(-1) < T(0) ? static_cast<T>(-static_cast<uint64_t>(a))
                                                   : static_cast<T>(a / b);
  }
};
struct IntFloor {
  template <class T>
  static T apply(T a, T b) {
    const T q = IntTrunc::apply(a, b);
    return (a % (b == static_cast<T>(-1) ? T(1) : b) != 0) && ((a < 0) != (b < 0)) ? static_cast<T>(q - 1) : q;
  }
};
struct IntFmod {
  template <class T>
  static T apply(T a, T b) {
    return b == static_cast<T>(-1) ? T(0) : static_cast<T>(a % b);
  }
};
struct IntRemainder {
  template <class T>
  static T apply(T a, T b) {
    const T r = IntFmod::apply(a, b);
    return r != 0 && ((r < 0) != (b < 0)) ? static_cast<T>(r + b) : r;
  }
};

// attrs of these cores: where to note a zero divisor.
template <class T, class Op>
void divide_core(char* const* p, const int64_t* step, int64_t n, const void* attrs, bool) {
  T* out = reinterpret_cast<T*>(p[0]);
  const T* a = reinterpret_cast<const T*>(p[1]);
  const T* b = reinterpret_cast<const T*>(p[2]);
  bool bad = false;
  for (int64_t i = 0; i < n; ++i) {
    const T y = b[i * step[2]];
    bad |= y == 0;
    if constexpr (T(-1) > T(0)) {
      // Unsigned: no special divisor, and truncation is floor.
      const T d = y == 0 ? T(1) : y, x = a[i * step[1]];
      constexpr bool kQuotient = same_type<Op, IntTrunc> || same_type<Op, IntFloor>;
      out[i] = kQuotient ? static_cast<T>(x / d) : static_cast<T>(x % d);
    } else {
      out[i] = Op::template apply<T>(a[i * step[1]], y == 0 ? T(1) : y);
    }
  }
  if (bad) __atomic_store_n(static_cast<int*>(const_cast<void*>(attrs)), 1, __ATOMIC_RELAXED);
}

template <class Op, class Functor>
void divide_kernel(const KernelArgs& args) {
  const DType t = args.in[0].dtype;
  if (is_floating(t)) return float_kernel<2, ForwardCall2, Functor>(args, t);
  PointwiseCore core = nullptr;
  switch (t) {
    case DType::kInt64: core = &divide_core<int64_t, Op>; break;
    case DType::kInt32: core = &divide_core<int32_t, Op>; break;
    case DType::kInt16: core = &divide_core<int16_t, Op>; break;
    case DType::kInt8: core = &divide_core<int8_t, Op>; break;
    default: core = &divide_core<uint8_t, Op>; break;
  }
  int zero = 0;
  run_pointwise(args, core, &zero);
  FS_CHECK(!zero, "ZeroDivisionError");
}

// ---- integer powers, shifts ----

struct IntPower {
  // Wraps; a negative exponent gives 0 but for the bases 1 and -1.
  template <class T>
  static T apply(T base, T exponent) {
    if (exponent < T(0)) {
      if (base == T(1)) return T(1);
      if (base == static_cast<T>(-1)) return static_cast<T>((exponent & 1) ? -1 : 1);
      return T(0);
    }
    uint64_t r = 1, b = static_cast<uint64_t>(base), e = static_cast<uint64_t>(exponent);
    for (; e; e >>= 1, b *= b)
      if (e & 1) r *= b;
    return static_cast<T>(r);
  }
};
// Counts outside [0, bits) shift everything out.
struct ShiftLeft {
  template <class T>
  static T apply(T a, T n) {
    if (n < T(0) || n >= static_cast<T>(8 * sizeof(T))) return T(0);
    return static_cast<T>(static_cast<uint64_t>(a) << n);
  }
};
struct ShiftRight {
  template <class T>
  static T apply(T a, T n) {
    if (n < T(0) || n >= static_cast<T>(8 * sizeof(T))) return static_cast<T>(a < T(0) ? -1 : 0);
    return static_cast<T>(a >> n);
  }
};

struct IntGcd {
  template <class T>
  static T apply(T a, T b) {
    while (b != T(0)) {
      const T r = IntFmod::apply(a, b);
      a = b;
      b = r;
    }
    return a < T(0) ? static_cast<T>(-static_cast<uint64_t>(a)) : a;
  }
};
struct IntLcm {
  template <class T>
  static T apply(T a, T b) {
    const T g = IntGcd::apply(a, b);
    if (g == T(0)) return T(0);
    const T r = static_cast<T>(static_cast<uint64_t>(a / g) * static_cast<uint64_t>(b));
    return r < T(0) ? static_cast<T>(-static_cast<uint64_t>(r)) : r;
  }
};
// The next number after a towards b: one step of the bits.
struct NextAfter {
  template <class T>
  static T apply(T a, T b) {
    return sizeof(T) == 4 ? static_cast<T>(__builtin_nextafterf(static_cast<float>(a), static_cast<float>(b)))
                          : static_cast<T>(__builtin_nextafter(static_cast<double>(a), static_cast<double>(b)));
  }
};

template <class T, class Op>
void number_core(char* const* p, const int64_t* step, int64_t n, const void*, bool) {
  T* out = reinterpret_cast<T*>(p[0]);
  const T* a = reinterpret_cast<const T*>(p[1]);
  const T* b = reinterpret_cast<const T*>(p[2]);
  for (int64_t i = 0; i < n; ++i) out[i] = Op::template apply<T>(a[i * step[1]], b[i * step[2]]);
}
template <class Op>
void number_kernel(const KernelArgs& args) {
  PointwiseCore core = nullptr;
  switch (args.in[0].dtype) {
    case DType::kInt64: core = &number_core<int64_t, Op>; break;
    case DType::kInt32: core = &number_core<int32_t, Op>; break;
    case DType::kInt16: core = &number_core<int16_t, Op>; break;
    case DType::kInt8: core = &number_core<int8_t, Op>; break;
    default: core = &number_core<uint8_t, Op>; break;
  }
  run_pointwise(args, core, nullptr);
}

}  // namespace

void div_trunc(const KernelArgs& args) { divide_kernel<IntTrunc, DivTrunc>(args); }
void floor_divide(const KernelArgs& args) { divide_kernel<IntFloor, FloorDivide>(args); }
void fmod(const KernelArgs& args) { divide_kernel<IntFmod, Fmod>(args); }
void remainder(const KernelArgs& args) { divide_kernel<IntRemainder, Remainder>(args); }

void pow(const KernelArgs& args) {
  if (is_floating(args.in[0].dtype)) return float_kernel<2, ForwardCall2, Pow>(args, args.in[0].dtype);
  number_kernel<IntPower>(args);
}
void gcd(const KernelArgs& args) { number_kernel<IntGcd>(args); }
void lcm(const KernelArgs& args) { number_kernel<IntLcm>(args); }
void nextafter(const KernelArgs& args) {
  run_pointwise(
      args, args.in[0].dtype == DType::kFloat64 ? &number_core<double, NextAfter> : &number_core<float, NextAfter>,
      nullptr);
}
void bitwise_left_shift(const KernelArgs& args) { number_kernel<ShiftLeft>(args); }
void bitwise_right_shift(const KernelArgs& args) { number_kernel<ShiftRight>(args); }

}  // namespace fireseed::cpu::FS_ISA

// Pointwise kernels: division with remainder and powers (group 6 of ops.def), shifts, gcd, lcm, nextafter.
#include "kernels/pointwise.cuh"

namespace fireseed::cuda {
namespace {

// Integers, in int64. A zero divisor gives -1 or the dividend, as it gives something undefined on the device in
// PyTorch too: an exception would wait for the device.
__device__ __forceinline__ int64_t trunc_quotient(int64_t a, int64_t b) {
  if (b == 0) return -1;
  return b == -1 ? static_cast<int64_t>(0 - static_cast<uint64_t>(a)) : a / b;
}
__device__ __forceinline__ int64_t trunc_rest(int64_t a, int64_t b) { return b == 0 ? a : b == -1 ? 0 : a % b; }
__device__ __forceinline__ int64_t floor_quotient(int64_t a, int64_t b) {
  const int64_t q = trunc_quotient(a, b);
  return b != 0 && trunc_rest(a, b) != 0 && (a < 0) != (b < 0) ? q - 1 : q;
}
__device__ __forceinline__ int64_t floor_rest(int64_t a, int64_t b) {
  const int64_t r = trunc_rest(a, b);
  return b != 0 && r != 0 && (r < 0) != (b < 0) ? r + b : r;
}
// Wraps; a negative exponent gives 0 but for the bases 1 and -1.
__device__ __forceinline__ int64_t integer_power(int64_t base, int64_t exponent) {
  if (exponent < 0) return base == 1 ? 1 : base == -1 ? (exponent & 1 ? -1 : 1) : 0;
  uint64_t r = 1, b = static_cast<uint64_t>(base), e = static_cast<uint64_t>(exponent);
  for (; e; e >>= 1, b *= b)
    if (e & 1) r *= b;
  return static_cast<int64_t>(r);
}
__device__ __forceinline__ int64_t greatest_divisor(int64_t a, int64_t b) {
  while (b != 0) {
    const int64_t r = trunc_rest(a, b);
    a = b;
    b = r;
  }
  return a < 0 ? -a : a;
}
__device__ __forceinline__ int64_t least_multiple(int64_t a, int64_t b) {
  const int64_t g = greatest_divisor(a, b);
  if (g == 0) return 0;
  const int64_t r = static_cast<int64_t>(static_cast<uint64_t>(a / g) * static_cast<uint64_t>(b));
  return r < 0 ? -r : r;
}
// Counts outside the number's bits shift everything out.
__device__ __forceinline__ int64_t shift_left(int64_t a, int64_t n) {
  return n < 0 || n > 63 ? 0 : static_cast<int64_t>(static_cast<uint64_t>(a) << n);
}
__device__ __forceinline__ int64_t shift_right(int64_t a, int64_t n) {
  return n < 0 || n > 63 ? (a < 0 ? -1 : 0) : a >> n;
}

#define FS_INTEGER_FORMULA(Name, function)                                      \
  struct Name {                                                                 \
    template <class V>                                                          \
    __device__ __forceinline__ V forward(V x, V y) const {                      \
      return V(function(static_cast<int64_t>(x.v), static_cast<int64_t>(y.v))); \
    }                                                                           \
  };
FS_INTEGER_FORMULA(IntTrunc, trunc_quotient)
FS_INTEGER_FORMULA(IntFloor, floor_quotient)
FS_INTEGER_FORMULA(IntFmod, trunc_rest)
FS_INTEGER_FORMULA(IntRemainder, floor_rest)
FS_INTEGER_FORMULA(IntPower, integer_power)
FS_INTEGER_FORMULA(IntGcd, greatest_divisor)
FS_INTEGER_FORMULA(IntLcm, least_multiple)
FS_INTEGER_FORMULA(IntShiftLeft, shift_left)
FS_INTEGER_FORMULA(IntShiftRight, shift_right)
#undef FS_INTEGER_FORMULA

// The next number after x towards y.
struct NextAfter {
  template <class V>
  __device__ __forceinline__ V forward(V x, V y) const {
    if constexpr (sizeof(x.v) == 4) return V(::nextafterf(x.v, y.v));
    else return V(::nextafter(x.v, y.v));
  }
};

struct RealFormulas
    : ItemList<Item<ForwardCall2, DivTrunc>, Item<ForwardCall2, FloorDivide>, Item<ForwardCall2, Fmod>,
               Item<ForwardCall2, Remainder>, Item<ForwardCall2, Pow>, Item<ForwardCall2, NextAfter>> {};
}  // namespace

}  // namespace fireseed::cuda

namespace fireseed {
inline namespace FS_MATH_NAMESPACE {
template <> inline constexpr bool kOnIntegers<cuda::IntTrunc> = true;
template <> inline constexpr bool kOnIntegers<cuda::IntFloor> = true;
template <> inline constexpr bool kOnIntegers<cuda::IntFmod> = true;
template <> inline constexpr bool kOnIntegers<cuda::IntRemainder> = true;
template <> inline constexpr bool kOnIntegers<cuda::IntPower> = true;
template <> inline constexpr bool kOnIntegers<cuda::IntGcd> = true;
template <> inline constexpr bool kOnIntegers<cuda::IntLcm> = true;
template <> inline constexpr bool kOnIntegers<cuda::IntShiftLeft> = true;
template <> inline constexpr bool kOnIntegers<cuda::IntShiftRight> = true;
}  // namespace FS_MATH_NAMESPACE
}  // namespace fireseed

namespace fireseed::cuda {

namespace {
struct IntFormulas
    : ItemList<Item<ForwardCall2, IntTrunc>, Item<ForwardCall2, IntFloor>, Item<ForwardCall2, IntFmod>,
               Item<ForwardCall2, IntRemainder>, Item<ForwardCall2, IntPower>, Item<ForwardCall2, IntGcd>,
               Item<ForwardCall2, IntLcm>, Item<ForwardCall2, IntShiftLeft>, Item<ForwardCall2, IntShiftRight>> {};

template <class Integer, class Real>
void by_kind(const KernelArgs& args) {
  if (is_floating(args.in[0].dtype)) float_kernel<RealFormulas, ForwardCall2, Real>(args);
  else integer_kernel<IntFormulas, ForwardCall2, Integer>(args);
}
}  // namespace

void div_trunc(const KernelArgs& args) { by_kind<IntTrunc, DivTrunc>(args); }
void floor_divide(const KernelArgs& args) { by_kind<IntFloor, FloorDivide>(args); }
void fmod(const KernelArgs& args) { by_kind<IntFmod, Fmod>(args); }
void remainder(const KernelArgs& args) { by_kind<IntRemainder, Remainder>(args); }
void pow(const KernelArgs& args) { by_kind<IntPower, Pow>(args); }
void gcd(const KernelArgs& args) { integer_kernel<IntFormulas, ForwardCall2, IntGcd>(args); }
void lcm(const KernelArgs& args) { integer_kernel<IntFormulas, ForwardCall2, IntLcm>(args); }
void bitwise_left_shift(const KernelArgs& args) { integer_kernel<IntFormulas, ForwardCall2, IntShiftLeft>(args); }
void bitwise_right_shift(const KernelArgs& args) { integer_kernel<IntFormulas, ForwardCall2, IntShiftRight>(args); }
void nextafter(const KernelArgs& args) { float_kernel<RealFormulas, ForwardCall2, NextAfter>(args); }

}  // namespace fireseed::cuda

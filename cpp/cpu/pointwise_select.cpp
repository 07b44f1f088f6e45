// Pointwise kernels: where, tests with bool results, bits of integers.
#include "cpu/pointwise_traits.h"

namespace fireseed::cpu::FS_ISA {

namespace {

// out = condition ? a : b over elements of sizeof(T) bytes, whatever they are; in = condition (bool), a, b.
template <class T>
void where_core(char* const* p, const int64_t* step, int64_t n, const void*, bool stream) {
  using V = Vec<T>;
  constexpr int W = V::kSize;
  const uint8_t* c = reinterpret_cast<const uint8_t*>(p[1]);
  const T* a = reinterpret_cast<const T*>(p[2]);
  const T* b = reinterpret_cast<const T*>(p[3]);
  T* out = reinterpret_cast<T*>(p[0]);
  stream = stream && (reinterpret_cast<uintptr_t>(out) & (FS_VEC_BYTES - 1)) == 0;
  const int64_t sc = step[1] * W, sa = step[2] * W, sb = step[3] * W;
  int64_t i = 0;
  for (; i + W <= n; i += W, c += sc, a += sa, b += sb) {
    const V r = where(load_mask<T>(c), V::load(a), V::load(b));
    if (stream) r.stream(out + i);
    else r.store(out + i);
  }
  if (i < n) {
    const int count = static_cast<int>(n - i);
    where(load_mask<T>(c, count), V::load(a, count), V::load(b, count)).store(out + i, count);
  }
}

template <class F>
void test_kernel(const KernelArgs& args) {
  float_kernel<1, ForwardCall1, F>(args, args.in[0].dtype);
}

struct BitwiseNot {
  template <class V>
  FS_INLINE V forward(V x) const {
    return ~x;
  }
};

}  // namespace

void where(const KernelArgs& args) {
  switch (dtype_size(args.out[0].dtype)) {
    case 1: return run_pointwise(args, &where_core<uint8_t>, nullptr);
    case 2: {
      // Halves are only moved, so the driver must not convert them.
      TensorView in[3] = {args.in[0], args.in[1], args.in[2]}, out = args.out[0];
      in[1].dtype = in[2].dtype = out.dtype = DType::kInt16;
      return run_pointwise(KernelArgs{in, &out, 3, 1, nullptr}, &where_core<uint16_t>, nullptr);
    }
    case 4: return run_pointwise(args, &where_core<uint32_t>, nullptr);
    default: return run_pointwise(args, &where_core<uint64_t>, nullptr);
  }
}

void isnan(const KernelArgs& args) { test_kernel<IsNan>(args); }
void isinf(const KernelArgs& args) { test_kernel<IsInf>(args); }
void isposinf(const KernelArgs& args) { test_kernel<IsPosInf>(args); }
void isneginf(const KernelArgs& args) { test_kernel<IsNegInf>(args); }
void isfinite(const KernelArgs& args) { test_kernel<IsFinite>(args); }
void signbit(const KernelArgs& args) { any_kernel<1, ForwardCall1, SignBit>(args); }
void logical_not(const KernelArgs& args) { any_kernel<1, ForwardCall1, LogicalNot>(args); }
void bitwise_and(const KernelArgs& args) { integer_kernel<2, ForwardCall2, BitwiseAnd>(args, args.in[0].dtype); }
void bitwise_or(const KernelArgs& args) { integer_kernel<2, ForwardCall2, BitwiseOr>(args, args.in[0].dtype); }
void bitwise_xor(const KernelArgs& args) { integer_kernel<2, ForwardCall2, BitwiseXor>(args, args.in[0].dtype); }
void bitwise_not(const KernelArgs& args) { integer_kernel<1, ForwardCall1, BitwiseNot>(args, args.in[0].dtype); }

}  // namespace fireseed::cpu::FS_ISA

// Pointwise kernels: where, tests with bool results, bits of integers.
#include "kernels/pointwise.cuh"

namespace fireseed::cuda {
namespace {

struct BitwiseNot {
  template <class V>
  FS_FN V forward(V x) const {
    return ~x;
  }
};

struct TestFormulas : ItemList<Item<ForwardCall1, IsNan>, Item<ForwardCall1, IsInf>, Item<ForwardCall1, IsPosInf>,
                               Item<ForwardCall1, IsNegInf>, Item<ForwardCall1, IsFinite>,
                               Item<ForwardCall1, SignBit>, Item<ForwardCall1, LogicalNot>> {};
struct BitFormulas : ItemList<Item<ForwardCall2, BitwiseAnd>, Item<ForwardCall2, BitwiseOr>,
                              Item<ForwardCall2, BitwiseXor>, Item<ForwardCall1, BitwiseNot>> {};

// out = condition ? a : b over elements of sizeof(U) bytes, whatever they are, kVec at once.
template <class U, int kVec>
__global__ void __launch_bounds__(kPointwiseThreads) where_kernel(const __grid_constant__ PointwiseArgs<3> args) {
  const int32_t i = static_cast<int32_t>(blockIdx.x * kPointwiseThreads + threadIdx.x);
  const bool last = kVec > 1 && i == args.n && args.tail > 0;
  if (i >= args.n && !last) return;
  int32_t offset[4];
  args.index.offsets(i, offset);
  const uint8_t* c = static_cast<const uint8_t*>(args.in[0]) + offset[1];
  const U* a = static_cast<const U*>(args.in[1]) + offset[2];
  const U* b = static_cast<const U*>(args.in[2]) + offset[3];
  U* out = static_cast<U*>(args.out) + offset[0];
  if (kVec == 1 || last) {
    for (int j = 0; j < (last ? args.tail : 1); ++j)
      out[j] = c[args.row_value[0] ? 0 : j] ? a[args.row_value[1] ? 0 : j] : b[args.row_value[2] ? 0 : j];
    return;
  }
  Vec<uint8_t, kVec> cv;
  Vec<U, kVec> av, bv;
  if (!args.row_value[0]) cv = Vec<uint8_t, kVec>::load_global(c);
  if (!args.row_value[1]) av = Vec<U, kVec>::load_global(a);
  if (!args.row_value[2]) bv = Vec<U, kVec>::load_global(b);
#pragma unroll
  for (int j = 0; j < kVec; ++j) {
    const bool first = args.row_value[0] ? *c : cv.v[j];
    const U x = args.row_value[1] ? *a : av.v[j], y = args.row_value[2] ? *b : bv.v[j];
    av.v[j] = first ? x : y;
  }
  av.store_global(out);
}

}  // namespace
}  // namespace fireseed::cuda

namespace fireseed {
inline namespace FS_MATH_NAMESPACE {
template <> inline constexpr bool kOnIntegers<SignBit> = true;
template <> inline constexpr bool kOnIntegers<BitwiseAnd> = true;
template <> inline constexpr bool kOnIntegers<BitwiseOr> = true;
template <> inline constexpr bool kOnIntegers<BitwiseXor> = true;
template <> inline constexpr bool kOnIntegers<cuda::BitwiseNot> = true;
}  // namespace FS_MATH_NAMESPACE
}  // namespace fireseed

namespace fireseed::cuda {

void where(const KernelArgs& args) {
  int64_t sizes[4];
  operand_bytes<3>(args, sizes);
  const auto whole = geometry_of<3>(args);
  dispatch_size(args.out[0].dtype, [&](auto tag) {
    using U = typename decltype(tag)::type;
    const bool vectors = in_vectors(whole, kVecSize<U>, sizes);
    whole.in_parts(sizes, [&](const Geometry<4>& g) {
      const auto a = pointwise_args<3>(g, vectors ? kVecSize<U> : 1);
      const unsigned grid = grid_for(a.n + (a.tail > 0), kPointwiseThreads, INT32_MAX);
      if (vectors) FS_LAUNCH((where_kernel<U, kVecSize<U>>), grid, kPointwiseThreads, 0, current_stream(), a);
      else FS_LAUNCH((where_kernel<U, 1>), grid, kPointwiseThreads, 0, current_stream(), a);
    });
  });
}

void isnan(const KernelArgs& args) { float_kernel<TestFormulas, ForwardCall1, IsNan>(args); }
void isinf(const KernelArgs& args) { float_kernel<TestFormulas, ForwardCall1, IsInf>(args); }
void isposinf(const KernelArgs& args) { float_kernel<TestFormulas, ForwardCall1, IsPosInf>(args); }
void isneginf(const KernelArgs& args) { float_kernel<TestFormulas, ForwardCall1, IsNegInf>(args); }
void isfinite(const KernelArgs& args) { float_kernel<TestFormulas, ForwardCall1, IsFinite>(args); }
void signbit(const KernelArgs& args) { pointwise_kernel<TestFormulas, ForwardCall1, SignBit>(args); }
void logical_not(const KernelArgs& args) { pointwise_kernel<TestFormulas, ForwardCall1, LogicalNot>(args); }
void bitwise_and(const KernelArgs& args) { integer_kernel<BitFormulas, ForwardCall2, BitwiseAnd>(args); }
void bitwise_or(const KernelArgs& args) { integer_kernel<BitFormulas, ForwardCall2, BitwiseOr>(args); }
void bitwise_xor(const KernelArgs& args) { integer_kernel<BitFormulas, ForwardCall2, BitwiseXor>(args); }
void bitwise_not(const KernelArgs& args) { integer_kernel<BitFormulas, ForwardCall1, BitwiseNot>(args); }

}  // namespace fireseed::cuda

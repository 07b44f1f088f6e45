// Conformance of the formulas of math/: what CUDA's functions give beside the C++ library's, in units in the last
// place.
#include <type_traits>

#include "conformance.h"
#include "device/math.cuh"

namespace fireseed::cuda {
namespace {

using namespace conformance;

constexpr int kN = 4096;

template <class F>
__global__ void unary_values(const float* x, float* y) {
  const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
  y[i] = F{}.forward(Num<float>(x[i])).v;
}
template <class F>
__global__ void binary_values(const float* x, float* y) {
  const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
  y[i] = F{}.forward(Num<float>(x[i]), Num<float>(x[kN + i])).v;
}

// Numbers of the sizes that training has, and some of every kind.
std::vector<uint32_t> numbers(Output& output, size_t n) {
  std::vector<uint32_t> v = output.floats(n);
  for (size_t i = 0; i < n; ++i)
    if (i % 8 > 3) v[i] = (v[i] & 0x807fffffu) | (118 + (v[i] >> 24 & 15)) << 23;  // 2^-9 … 2^6
  return v;
}

template <class F>
void run(Output& output, const char* name, int ulps, void (*kernel)(const float*, float*), const Input& in) {
  const Result out(kN);
  output.begin(name, ulps);
  FS_LAUNCH(kernel, kN / 128, 128, 0, nullptr, reinterpret_cast<const float*>(in.data()),
            reinterpret_cast<float*>(out.data()));
  output.add(out);
}

// Either library may be off by some units, and formulas that take differences make more of them: what they differ by
// is printed, and more than this is called wrong.
constexpr int kUlps = 64;

template <class F>
void unary(Output& output, const char* name, const Input& in) {
  if constexpr (std::is_empty_v<F>) run<F>(output, name, kUlps, &unary_values<F>, in);
}
template <class F>
void binary(Output& output, const char* name, const Input& in) {
  if constexpr (std::is_empty_v<F>) run<F>(output, name, kUlps, &binary_values<F>, in);
}

void formula_section(Output& output) {
  const Input in(output, numbers(output, 2 * kN));
#define FS_UNARY(name, Functor) unary<Functor>(output, "formula_" #name, in);
#define FS_BINARY(name, Functor) binary<Functor>(output, "formula_" #name, in);
#define FS_COMPARE(name, Functor)
#define FS_TERNARY(name, Functor)
#define FS_KERNEL(name)
#define FS_VIEW(name)
#include "ops.def"
#undef FS_UNARY
#undef FS_BINARY
#undef FS_COMPARE
#undef FS_TERNARY
#undef FS_KERNEL
#undef FS_VIEW
}

}  // namespace

namespace conformance {

const std::vector<Section>& math_sections() {
  static const std::vector<Section> all = {{"formula", 0, formula_section}};
  return all;
}

}  // namespace conformance
}  // namespace fireseed::cuda

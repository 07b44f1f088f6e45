// The tiles of products, by tensor cores and plain: every operand type, layout and loader, sizes around the tile,
// parts of k.
#include "emu_test.h"
#include "kernels/mma_tile.cuh"
#include "kernels/simt_tile.cuh"

namespace fireseed::cuda {
namespace {

using namespace cuda_emu;

// a (m, k) and b (k, n) by strides; c is contiguous.
template <class T>
struct Operands {
  const T *a, *b;
  float* c;
  int64_t a_outer, a_k, b_outer, b_k, m, n, k, k0, k1;
};
struct Store {
  float* c;
  int64_t n;
  __device__ void operator()(int64_t row, int64_t column, float v) const { c[row * n + column] = v; }
};
struct StoreFour : Store {
  bool vectors = false;  // n is a multiple of four
  __device__ void four(int64_t row, int64_t column, const float (&v)[4]) const {
    for (int i = 0; i < 4; ++i) c[row * n + column + i] = v[i];
  }
};

template <class L, class T>
__device__ L make_loader(const T* p, int64_t outer, int64_t k_step, int64_t first, int64_t size, int64_t k) {
  if constexpr (L::kGathers) return L(p, outer, k_step, first, size, k);
  else return L(p, L::kAlongK ? outer : k_step, first, size, k);
}

template <class Tile, class A, class B, class Out>
__global__ void mma_product(const Operands<typename Tile::T> o) {
  FS_DYN_SMEM(typename Tile::T, shared);
  const int64_t row0 = int64_t{blockIdx.y} * Tile::kM, column0 = int64_t{blockIdx.x} * Tile::kN;
  A a = make_loader<A>(o.a, o.a_outer, o.a_k, row0, o.m, o.k);
  B b = make_loader<B>(o.b, o.b_outer, o.b_k, column0, o.n, o.k);
  typename Tile::Sums sum;
  mma_main_loop<Tile>(sum, shared, a, b, o.k0, o.k1);
  Out out;
  out.c = o.c;
  out.n = o.n;
  if constexpr (requires { out.vectors; }) out.vectors = o.n % 4 == 0;
  mma_epilogue<Tile>(sum, shared, row0, column0, o.m, o.n, out);
}
template <class Tile>
__global__ void simt_product(const Operands<float> o) {
  using Aligned = Vec<float, 4>;
  FS_SHARED(Aligned, shared, [Tile::kStage]);
  auto* const stages = reinterpret_cast<float*>(shared);
  const int64_t row0 = int64_t{blockIdx.y} * Tile::kTile, column0 = int64_t{blockIdx.x} * Tile::kTile;
  SimtLoader<Tile> a(o.a, DType::kFloat32, 0, o.a_outer, o.a_k, row0, o.m, o.k);
  SimtLoader<Tile> b(o.b, DType::kFloat32, 0, o.b_outer, o.b_k, column0, o.n, o.k);
  typename Tile::Sums sum;
  simt_main_loop<Tile>(sum, stages, a, b, o.k0, o.k1);
  StoreFour out;
  out.c = o.c;
  out.n = o.n;
  out.vectors = o.n % 4 == 0;
  simt_epilogue<Tile>(sum, stages, row0, column0, o.m, o.n, out);
}

dim3 grid_of(int64_t m, int64_t n, int tile_m, int tile_n) {
  return dim3(static_cast<unsigned>((n + tile_n - 1) / tile_n), static_cast<unsigned>((m + tile_m - 1) / tile_m));
}
double rounded(float x, bool tf32) { return tf32 ? __uint_as_float(to_tf32(x)) : x; }

// `run` launches the kernel for operands that lie along k or not, `extra` elements between their rows.
template <class T, class F>
void check(int64_t m, int64_t n, int64_t k, bool a_along_k, bool b_along_k, int64_t extra, int64_t k0, int64_t k1,
           bool tf32, F run) {
  SCOPED_TRACE(std::to_string(m) + " x " + std::to_string(n) + " x " + std::to_string(k));
  Operands<T> o{};
  o.m = m, o.n = n, o.k = k, o.k0 = k0, o.k1 = k1;
  o.a_outer = a_along_k ? k + extra : 1, o.a_k = a_along_k ? 1 : m + extra;
  o.b_outer = b_along_k ? k + extra : 1, o.b_k = b_along_k ? 1 : n + extra;
  const auto a = random_values<T>((m + extra) * (k + extra), 1.0, 1);
  const auto b = random_values<T>((n + extra) * (k + extra), 1.0, 2);
  const DeviceArray<T> da(a), db(b);
  const DeviceArray<float> c(static_cast<size_t>(m * n));
  o.a = da.data(), o.b = db.data(), o.c = c.data();
  run(o);
  std::vector<double> expected;
  for (int64_t r = 0; r < m; ++r)
    for (int64_t j = 0; j < n; ++j) {
      double s = 0;
      for (int64_t x = k0; x < k1; ++x)
        s += rounded(static_cast<float>(a[static_cast<size_t>(r * o.a_outer + x * o.a_k)]), tf32) *
             rounded(static_cast<float>(b[static_cast<size_t>(j * o.b_outer + x * o.b_k)]), tf32);
      expected.push_back(s);
    }
  expect_near(c, expected, 2e-5);
}

template <class Tile, bool kA, bool kB>
void copied(int64_t m, int64_t n, int64_t k, int64_t k0, int64_t k1) {
  using T = typename Tile::T;
  using A = CopyLoader<Tile, Tile::kM, kA>;
  using B = CopyLoader<Tile, Tile::kN, kB>;
  check<T>(m, n, k, kA, kB, 16, k0, k1, std::is_same_v<T, float>, [](const Operands<T>& o) {
    FS_LAUNCH((mma_product<Tile, A, B, StoreFour>), grid_of(o.m, o.n, Tile::kM, Tile::kN), Tile::kThreads,
              Tile::kSharedBytes, nullptr, o);
  });
}
template <class Tile>
void copied() {
  copied<Tile, true, true>(160, 80, 96, 0, 96);
  copied<Tile, true, false>(80, 144, 40, 0, 40);
  copied<Tile, false, true>(72, 48, 104, 32, 104);
  copied<Tile, false, false>(136, 72, 24, 0, 24);
  copied<Tile, true, true>(66, 67, 40, 0, 40);  // n is no multiple of four
}
template <class Tile>
void gathered(int64_t m, int64_t n, int64_t k, bool a_along_k, bool b_along_k) {
  using T = typename Tile::T;
  using A = GatherLoader<Tile, Tile::kM>;
  using B = GatherLoader<Tile, Tile::kN>;
  check<T>(m, n, k, a_along_k, b_along_k, 1, 0, k, std::is_same_v<T, float>, [](const Operands<T>& o) {
    FS_LAUNCH((mma_product<Tile, A, B, Store>), grid_of(o.m, o.n, Tile::kM, Tile::kN), Tile::kThreads,
              Tile::kSharedBytes, nullptr, o);
  });
}

template <class T>
class MmaTiles : public ::testing::Test {};
using OperandTypes = ::testing::Types<float16, bfloat16, float>;
TYPED_TEST_SUITE(MmaTiles, OperandTypes);

TYPED_TEST(MmaTiles, Copied) {
  copied<MmaTile<TypeParam, 128, 128>>();
  copied<MmaTile<TypeParam, 128, 64>>();
  copied<MmaTile<TypeParam, 64, 64>>();
}
TYPED_TEST(MmaTiles, Gathered) {
  gathered<MmaTile<TypeParam, 64, 64>>(65, 33, 77, true, true);
  gathered<MmaTile<TypeParam, 64, 64>>(3, 70, 31, false, true);
  gathered<MmaTile<TypeParam, 128, 64>>(129, 5, 33, true, false);
}
TYPED_TEST(MmaTiles, AnyOrder) {
  for_each_seed([] {
    copied<MmaTile<TypeParam, 64, 64>, true, false>(16, 24, 208, 0, 208);
    gathered<MmaTile<TypeParam, 64, 64>>(17, 9, 131, true, false);
  });
}
TEST(SimtTiles, AllLayouts) {
  const auto run = [](int64_t m, int64_t n, int64_t k, int64_t k0, int64_t k1) {
    for (bool a : {false, true})
      for (bool b : {false, true}) {
        check<float>(m, n, k, a, b, 3, k0, k1, false, [](const Operands<float>& o) {
          FS_LAUNCH((simt_product<SimtTile<float, 4>>), grid_of(o.m, o.n, 64, 64), 256, 0, nullptr, o);
        });
        check<float>(m, n, k, a, b, 3, k0, k1, false, [](const Operands<float>& o) {
          FS_LAUNCH((simt_product<SimtTile<float, 8>>), grid_of(o.m, o.n, 128, 128), 256, 0, nullptr, o);
        });
      }
  };
  run(70, 130, 33, 0, 33);
  run(5, 3, 50, 16, 50);
  for_each_seed([&] { run(9, 17, 40, 0, 40); });
}

}  // namespace
}  // namespace fireseed::cuda

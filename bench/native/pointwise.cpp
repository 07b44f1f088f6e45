// Google Benchmark of elementwise ops and reductions through libfireseed: bytes per second, by size and thread count.
#include <benchmark/benchmark.h>

#include "base/parallel.h"
#include "ops/activation.h"
#include "ops/creation.h"
#include "ops/pointwise.h"
#include "ops/random.h"
#include "ops/reduce.h"
#include "tensor/tensor.h"

namespace fs = fireseed;
using fs::Tensor;

namespace {

// Runs f(x, y) on float32 vectors; arguments: elements, threads. `streams` is the number of vectors read and written.
template <class F>
void run(benchmark::State& state, int streams, F f) {
  const int64_t n = state.range(0);
  fs::set_num_threads(static_cast<int>(state.range(1)));
  const Tensor x = fs::randn({n}), y = fs::randn({n});
  for (auto _ : state) benchmark::DoNotOptimize(f(x, y).impl());
  state.SetBytesProcessed(state.iterations() * n * 4 * streams);
}

#define FS_BENCH(name, streams, expression)                                                                      \
  void name(benchmark::State& state) {                                                                           \
    run(state, streams, [](const Tensor& x, [[maybe_unused]] const Tensor& y) -> Tensor { return expression; }); \
  }                                                                                                              \
  BENCHMARK(name)->ArgsProduct({{16, 65536, 4 << 20}, {1, 2}})->UseRealTime()

FS_BENCH(add, 3, x + y);
FS_BENCH(relu, 2, fs::relu(x));
FS_BENCH(exp, 2, fs::exp(x));
FS_BENCH(tanh, 2, fs::tanh(x));
FS_BENCH(gelu, 2, fs::gelu(x));
FS_BENCH(sum, 1, fs::sum(x));
FS_BENCH(where, 3, fs::where(x > 0.0, x, y));

}  // namespace

// Google Benchmark of matrix products through libfireseed: time per product and GFLOP/s, by thread count.
//
//   make native && build/dev/bench_gemm --benchmark_filter='square/1024'
#include <benchmark/benchmark.h>

#include "base/parallel.h"
#include "ops/creation.h"
#include "ops/matmul.h"
#include "ops/random.h"
#include "ops/shape.h"
#include "tensor/tensor.h"

namespace fs = fireseed;

namespace {

void report(benchmark::State& state, int64_t m, int64_t n, int64_t k) {
  state.counters["GFLOP/s"] =
      benchmark::Counter(2e-9 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k),
                         benchmark::Counter::kIsIterationInvariantRate);
}

// (n, n) x (n, n); arguments: n, threads.
void square(benchmark::State& state) {
  const int64_t n = state.range(0);
  fs::set_num_threads(static_cast<int>(state.range(1)));
  const fs::Tensor a = fs::randn({n, n}), b = fs::randn({n, n});
  for (auto _ : state) benchmark::DoNotOptimize(fs::matmul(a, b).impl());
  report(state, n, n, n);
}
BENCHMARK(square)->ArgsProduct({{16, 64, 128, 256, 512, 1024, 2048}, {1, 2}})->UseRealTime();

// (n, n) x (n, n) transposed, as in linear layers; arguments: n, threads.
void transposed(benchmark::State& state) {
  const int64_t n = state.range(0);
  fs::set_num_threads(static_cast<int>(state.range(1)));
  const fs::Tensor a = fs::randn({n, n}), b = fs::transpose(fs::randn({n, n}), 0, 1);
  for (auto _ : state) benchmark::DoNotOptimize(fs::matmul(a, b).impl());
  report(state, n, n, n);
}
BENCHMARK(transposed)->ArgsProduct({{256, 1024}, {1, 2}})->UseRealTime();

// A linear layer with bias: (batch, in) x (out, in); arguments: batch, in, out.
void linear(benchmark::State& state) {
  const int64_t batch = state.range(0), in = state.range(1), out = state.range(2);
  fs::set_num_threads(1);
  const fs::Tensor x = fs::randn({batch, in}), w = fs::randn({out, in}), b = fs::randn({out});
  for (auto _ : state) benchmark::DoNotOptimize(fs::linear(x, w, b).impl());
  report(state, batch, out, in);
}
BENCHMARK(linear)
    ->Args({1, 512, 512})
    ->Args({32, 784, 128})
    ->Args({32, 128, 10})
    ->Args({256, 1024, 1024})
    ->UseRealTime();

}  // namespace

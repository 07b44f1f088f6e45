// Google Benchmark of CUDA kernels through libfireseed: microseconds between events, bytes or FLOP per second.
//
//   make native && build/dev/bench_cuda --benchmark_filter='matmul/4096'
//
// Times are the GPU's. Inputs rotate through 256 MB, so that none is in the cache when it is used again. Without a
// GPU every row says why it is skipped; FIRESEED_CUDA_PLUGIN and --benchmark_min_time=0.001 rehearse on the emulated
// plugin.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <vector>

#include "ops/activation.h"
#include "ops/copy.h"
#include "ops/matmul.h"
#include "ops/norm.h"
#include "ops/pointwise.h"
#include "ops/random.h"
#include "ops/reduce.h"
#include "ops/softmax.h"
#include "tensor/backend.h"
#include "tensor/tensor.h"

namespace fs = fireseed;
using fs::DType;
using fs::Tensor;

namespace {

constexpr fs::Device kGpu{fs::DeviceKind::kCuda, 0};
constexpr int64_t kRotate = int64_t{256} << 20;

Tensor normal(const fs::Dims& sizes, DType dtype) {
  return fs::to(fs::randn(sizes, DType::kFloat32, nullptr, kGpu), dtype);
}

// Calls f(inputs) once an iteration; make() gives one set of inputs, bytes their size.
template <class Make, class F>
void run(benchmark::State& state, int64_t bytes, Make make, F f) {
  const fs::Backend* b = fs::find_backend();
  if (!b) return state.SkipWithError(fs::no_backend_reason().c_str());
  try {
    std::vector<std::vector<Tensor>> sets(static_cast<size_t>(std::clamp<int64_t>(kRotate / bytes, 1, 32)));
    for (auto& s : sets) s = make();
    const fs::EventHandle start = b->new_event(0, true, false), end = b->new_event(0, true, false);
    const fs::StreamHandle stream = b->current_stream(0);
    for (const auto& s : sets) f(s);  // fills the allocator's cache
    size_t i = 0;
    for (auto _ : state) {
      b->event_record(start, stream);
      benchmark::DoNotOptimize(f(sets[i++ % sets.size()]).impl());
      b->event_record(end, stream);
      b->event_synchronize(end);
      state.SetIterationTime(b->event_elapsed(start, end) * 1e-3);
    }
    b->free_event(start);
    b->free_event(end);
  } catch (const fs::Error& e) { state.SkipWithError(e.what()); }
}
void report_flops(benchmark::State& state, double flops) {
  state.counters["FLOP/s"] = benchmark::Counter(flops, benchmark::Counter::kIsIterationInvariantRate);
}

// Elementwise and reductions over n elements; `streams`: how many are read and written.
template <class F>
void vectors(benchmark::State& state, DType dtype, int streams, F f) {
  const int64_t n = state.range(0), bytes = n * static_cast<int64_t>(fs::dtype_size(dtype));
  run(
      state, 2 * bytes, [&] { return std::vector{normal({n}, dtype), normal({n}, dtype)}; },
      [&](const std::vector<Tensor>& x) { return f(x[0], x[1]); });
  state.SetBytesProcessed(state.iterations() * bytes * streams);
}
#define FS_VECTORS(name, dtype, streams, expression)                                                 \
  void name(benchmark::State& state) {                                                               \
    vectors(state, DType::dtype, streams,                                                            \
            [](const Tensor& x, [[maybe_unused]] const Tensor& y) -> Tensor { return expression; }); \
  }                                                                                                  \
  BENCHMARK(name)->Arg(1 << 12)->Arg(1 << 20)->Arg(1 << 26)->UseManualTime()->Unit(benchmark::kMicrosecond)

FS_VECTORS(copy_f32, kFloat32, 2, fs::clone(x));
FS_VECTORS(add_f32, kFloat32, 3, x + y);
FS_VECTORS(add_bf16, kBFloat16, 3, x + y);
FS_VECTORS(gelu_bf16, kBFloat16, 2, fs::gelu(x));
FS_VECTORS(exp_f32, kFloat32, 2, fs::exp(x));
FS_VECTORS(sum_f32, kFloat32, 1, fs::sum(x));
FS_VECTORS(dropout_bf16, kBFloat16, 2, fs::dropout(x, 0.1));

// Rows: (m, n).
template <class F>
void rows(benchmark::State& state, int passes, F f) {
  const int64_t m = state.range(0), n = state.range(1), bytes = m * n * 2;
  run(
      state, bytes, [&] { return std::vector{normal({m, n}, DType::kBFloat16), normal({n}, DType::kBFloat16)}; },
      [&](const std::vector<Tensor>& x) { return f(x[0], x[1]); });
  state.SetBytesProcessed(state.iterations() * bytes * passes);
}
void softmax_bf16(benchmark::State& state) {
  rows(state, 2, [](const Tensor& x, const Tensor&) { return fs::softmax(x, -1); });
}
void layer_norm_bf16(benchmark::State& state) {
  rows(state, 2, [](const Tensor& x, const Tensor& w) { return fs::layer_norm(x, {w.size(0)}, w, w); });
}
BENCHMARK(softmax_bf16)->Args({16384, 4096})->UseManualTime()->Unit(benchmark::kMicrosecond);
BENCHMARK(layer_norm_bf16)->Args({16384, 768})->UseManualTime()->Unit(benchmark::kMicrosecond);

// (n, n) x (n, n); arguments: n, dtype's number of bits, 32 or 16 (bfloat16).
void matmul(benchmark::State& state) {
  const int64_t n = state.range(0);
  const DType dtype = state.range(1) == 32 ? DType::kFloat32 : DType::kBFloat16;
  run(
      state, 3 * n * n * state.range(1) / 8,
      [&] { return std::vector{normal({n, n}, dtype), normal({n, n}, dtype)}; },
      [](const std::vector<Tensor>& x) { return fs::matmul(x[0], x[1]); });
  report_flops(state, 2.0 * static_cast<double>(n * n) * static_cast<double>(n));
}
BENCHMARK(matmul)->ArgsProduct({{256, 1024, 4096, 8192}, {16, 32}})->UseManualTime()->Unit(benchmark::kMicrosecond);

}  // namespace

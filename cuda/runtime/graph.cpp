// CUDA graphs: Note [Graphs].
#include "runtime/graph.h"

#include <atomic>
#include <memory>
#include <vector>

#include "base/error.h"
#include "runtime/allocator.h"
#include "runtime/check.h"
#include "runtime/device.h"
#include "runtime/stream.h"

namespace fireseed::cuda {

struct Graph {
  struct Draws {
    Generator* generator;
    uint64_t* extra;  // in device memory
    uint64_t count;
  };
  int device = 0, pool = 0;
  cudaStream_t stream = nullptr;
  cudaGraphExec_t exec = nullptr;
  std::vector<Draws> draws;
};

namespace {

thread_local Graph* capturing_graph = nullptr;
std::atomic<int> next_pool{1};

}  // namespace

int new_pool() { return next_pool.fetch_add(1); }

Graph* begin_capture(int device, int pool) {
  FS_CHECK(!capturing_graph, "CUDAGraph: another capture is under way on this thread");
  const OnDevice on(device);
  auto g = std::make_unique<Graph>();
  g->device = device;
  g->pool = pool;
  g->stream = current_stream(device);
  FS_CUDA(cudaStreamBeginCapture(g->stream, cudaStreamCaptureModeThreadLocal));
  begin_pool(device, pool);
  capturing_graph = g.get();
  return g.release();
}

void end_capture(Graph* g) {
  FS_CHECK(capturing_graph == g, "CUDAGraph: capture_end without capture_begin on this thread");
  const OnDevice on(g->device);
  capturing_graph = nullptr;
  end_pool(g->device);
  cudaGraph_t graph = nullptr;
  const cudaError_t code = cudaStreamEndCapture(g->stream, &graph);
  if (code != cudaSuccess) {
    if (graph) cudaGraphDestroy(graph);
    fail_cuda(
        code,
        "the capture: something in it waited for the device (.item(), .cpu(), printing) or used another stream");
  }
  const cudaError_t made = cudaGraphInstantiate(&g->exec, graph, 0);
  cudaGraphDestroy(graph);
  if (made != cudaSuccess) fail_cuda(made, "cudaGraphInstantiate");
}

void replay(Graph* g) {
  FS_CHECK(g->exec, "CUDAGraph.replay: nothing was captured");
  const OnDevice on(g->device);
  const cudaStream_t stream = current_stream(g->device);
  for (const Graph::Draws& d : g->draws) {
    const uint64_t extra = d.generator->reserve(d.count);
    FS_CUDA(cudaMemcpyAsync(d.extra, &extra, sizeof extra, cudaMemcpyHostToDevice, stream));
  }
  FS_CUDA(cudaGraphLaunch(g->exec, stream));
}

void free_graph(Graph* g) noexcept {
  if (capturing_graph == g) {
    capturing_graph = nullptr;
    end_pool(g->device);
    cudaGraph_t graph = nullptr;
    cudaStreamEndCapture(g->stream, &graph);
    if (graph) cudaGraphDestroy(graph);
    cudaGetLastError();
  }
  if (g->exec) cudaGraphExecDestroy(g->exec);
  for (const Graph::Draws& d : g->draws) free(g->device, d.extra);
  delete g;
}

PhiloxState philox_state(Generator& generator, uint64_t count) {
  Graph* const g = capturing_graph;
  if (!g || g->device != current_device()) return {generator.initial_seed(), generator.reserve(count), nullptr};
  Graph::Draws* draws = nullptr;
  for (Graph::Draws& d : g->draws)
    if (d.generator == &generator) draws = &d;
  if (!draws) {
    // Not from the graph's pool, where it might be a block that kernels recorded before write again at each replay.
    end_pool(g->device);
    uint64_t* extra = nullptr;
    try {
      extra = static_cast<uint64_t*>(allocate(g->device, sizeof(uint64_t), nullptr));
    } catch (...) {
      begin_pool(g->device, g->pool);
      throw;
    }
    begin_pool(g->device, g->pool);
    g->draws.push_back({&generator, extra, 0});
    draws = &g->draws.back();
  }
  const uint64_t at = draws->count;
  draws->count += count;
  return {generator.initial_seed(), at, draws->extra};
}

}  // namespace fireseed::cuda

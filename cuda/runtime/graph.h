// CUDA graphs: a stream's work recorded once and launched as one; its memory pool and random numbers.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "math/random.h"
#include "tensor/backend.h"

namespace fireseed::cuda {

// Note [Graphs]
// While a stream is being captured its launches are recorded, not run. Memory comes from the graph's own pool, so
// that nobody else writes there between replays. Random kernels add a counter in device memory to the offset they
// were recorded with; a replay first sets it to what the generator reserved for this run, so that each run draws
// anew.
struct Graph;

int new_pool();
// Begins capture of the current stream of `device`. Throws where a capture is under way.
Graph* begin_capture(int device, int pool);
void end_capture(Graph* g);  // also after a failed capture: then it throws, and the graph is empty
void replay(Graph* g);       // on the current stream of its device
void free_graph(Graph* g) noexcept;

// What a random kernel needs for `count` elements: element i uses philox(key, offset + (*extra if there is one) + i).
struct PhiloxState {
  uint64_t key, offset;
  const uint64_t* extra;  // in device memory, or null
};
PhiloxState philox_state(Generator& generator, uint64_t count);

}  // namespace fireseed::cuda

// Streams and events: one non-blocking compute stream and one copy stream a device, and a pool for the user's.
#pragma once

#include <cuda_runtime_api.h>

namespace fireseed::cuda {

// The calling thread's stream of the current device: where kernels are launched.
cudaStream_t current_stream();
cudaStream_t current_stream(int device);
void set_stream(int device, cudaStream_t stream);
cudaStream_t default_stream(int device);
cudaStream_t copy_stream(int device);
// One of 32 of a priority (0 normal, < 0 higher), in turn; they live as long as the process.
cudaStream_t pool_stream(int device, int priority);
bool is_capturing(cudaStream_t stream);

}  // namespace fireseed::cuda

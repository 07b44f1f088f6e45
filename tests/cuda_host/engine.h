// The emulation of CUDA's execution model: blocks one after another, one fiber a thread, on one thread of the host.
//
// Note [Emulation]
// Kernels are compiled by the C++ compiler with -DFS_CUDA_EMU and run for real: every barrier, shuffle and
// asynchronous copy is a call into this engine, which decides who runs next. Seed 0 is a fixed order; other seeds run
// threads and blocks in random order and let asynchronous copies land at random times, always late. What CUDA leaves
// undefined is made visible: fresh memory is NaN, a shuffle from an idle lane gives 0xFF, a barrier in a divergent
// branch, a lane outside its mask or a wait that nobody will end stops the kernel with a report that names thread,
// file and line.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <functional>
#include <source_location>
#include <string>
#include <vector>

namespace fireseed::cuda_emu {

using Where = std::source_location;

// ---- host side ---------------------------------------------------------------------------------------------

// 0: one fixed order. Other seeds: random orders, the same ones for the same seed. FS_CUDA_EMU_SEED sets the first.
void set_seed(uint64_t seed);
uint64_t seed();
// What the last failed kernel did wrong; empty before one failed.
const std::string& last_report();

// Checks the launch and runs it, or records it where the stream is being captured. `key` identifies the kernel.
cudaError_t launch(const char* name, const void* key, dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream,
                   std::function<void()> body);
// Runs `work` on the stream: now, or at each replay of the graph that is being captured.
cudaError_t enqueue(cudaStream_t stream, std::function<void()> work);
// Runs one kernel; false (and last_report) where it went wrong.
bool run_kernel(const char* name, dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& body);

// A function of the driver by name, as cudaGetDriverEntryPointByVersion finds it; null where there is none.
void* driver_function(const char* name);

// ---- called from kernels -----------------------------------------------------------------------------------

// Stops the kernel; the launch fails with this text. Does not return.
[[noreturn]] void fail(const std::string& text, Where where);
[[noreturn]] void trap(Where where);
// A number from the seed's sequence; 0 with seed 0.
uint32_t random_bits();

// Memory of the block, filled with 0xFF. `key` names one declaration in the source.
void* shared_object(const void* key, size_t bytes, size_t alignment);
void* dynamic_shared(size_t* bytes = nullptr);

// Waits until `count` threads (0: the whole block) have arrived at barrier `id`; returns how many predicates held.
int barrier(int id, int count, bool predicate, const char* what, Where where);
// Arrives without waiting.
void barrier_arrive(int id, int count, Where where);

// Lanes of `mask` meet; the last one calls compute with the operands of all (operands[lane], null outside the mask).
using Compute = void (*)(void* const* operands, uint32_t mask);
void warp_collective(const char* what, uint32_t mask, void* operand, Compute compute, bool orders_memory,
                     Where where);
int lane_id();
int warp_id();
// Lanes of this warp that have not ended.
uint32_t active_mask();

// Lets the others run; to be called in a loop that waits for what other threads or copies will do.
void poll(const char* what, Where where);
// Lets the others run first, sometimes, where the order of threads is random.
void maybe_yield(Where where);
// Something happened that a polling thread may wait for.
void note_progress();
// Work of the copy engines, done at a random later time.
void post_async(std::function<void()> work);
// Asynchronous work of one thread: lives until its end; freed by the engine.
struct Copy {
  char* to;
  const char* from;
  int bytes, valid;
};
struct Product {
  float* d;
  int n;
  uint64_t a, b;
  bool accumulate, bfloat;
  bool across_a, across_b;  // tiles with rows across k
};
struct ThreadAsync {
  std::vector<Copy> copies;  // of the open group
  std::vector<std::vector<Copy>> copy_groups;
  std::vector<Product> products;
  std::vector<std::vector<Product>> product_groups;
  bool fenced = false;
};
ThreadAsync& this_thread_async();

// ---- what intrinsics do (async.cpp) ------------------------------------------------------------------------

// Address in the block's shared memory: the dynamic part from 0 on. Fails for other memory.
uint32_t shared_address(const void* p);
void* shared_pointer(uint32_t address, size_t bytes);
void cp_async(void* to, const void* from, int bytes, int valid);
void cp_async_commit();
void cp_async_wait(int pending);
void ldmatrix_x4(uint32_t (&r)[4], const void* row, bool transpose, Where where);
void mma_16816(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], bool bfloat, Where where);
void mma_1688_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Where where);

// A float16's or bfloat16's bits as a number.
float half_value(uint16_t bits, bool bfloat);

// ---- and those of Hopper (hopper.cpp) ----------------------------------------------------------------------

void mbarrier_init(uint64_t* barrier, int count);
void mbarrier_arrive(uint64_t* barrier, uint32_t expected_bytes, Where where);
void mbarrier_wait(uint64_t* barrier, int parity, Where where);
void tma_load_2d(void* to, const void* map, int x, int y, uint64_t* barrier, Where where);
void tma_load_3d(void* to, const void* map, int x, int y, int z, uint64_t* barrier, Where where);
void wgmma(const Product& product, Where where);  // d has n / 2 elements
void wgmma_fence();
void wgmma_commit();
void wgmma_wait(int pending);

// threads of the block, for checks in the intrinsics
int block_threads();

}  // namespace fireseed::cuda_emu

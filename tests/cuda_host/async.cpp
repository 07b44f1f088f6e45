// Asynchronous copies of the emulation and the driver functions it has.
#include "engine.h"

namespace fireseed::cuda_emu {

struct ThreadAsync {};
void destroy_thread_async(ThreadAsync* a) { delete a; }
void* driver_function(const char*) { return nullptr; }

}  // namespace fireseed::cuda_emu

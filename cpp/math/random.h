// The CPU random number generator: mt19937 with PyTorch's seeding, draws and 5056-byte state.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fireseed {

// Note [Random streams]
// For the same seed the CPU kernels give PyTorch's numbers. Three things make a stream: the 32-bit words of
// Matsumoto and Nishimura's mt19937 (seeded with the low 32 bits of the seed), how many words an element takes
// (one for float32 and halves, two for double precision), and the transformation from words to a number. Elements
// are drawn in memory order. Bulk kernels (cpu/random_stream.h) advance the same state many words at a time.
class Generator {
 public:
  static constexpr int kWords = 624;   // words of state
  static constexpr int kOffset = 397;  // the recurrence's middle word
  static constexpr size_t kStateBytes = 5056;
  static constexpr size_t kDeviceStateBytes = 16;  // seed and offset

  // device: a CUDA device's index, or -1 for the CPU.
  explicit Generator(uint64_t seed_value, int device = -1) : device_(device) { manual_seed(seed_value); }

  // Note [Random numbers on devices]
  // A CUDA generator is a key (the seed) and a counter of Philox4x32-10 (math/philox.h). A kernel reserves as many
  // counters as it has elements, so that the same calls give the same numbers whatever the launch looks like.
  int device() const { return device_; }
  // The first of `count` counters that nobody else gets.
  uint64_t reserve(uint64_t count) { return __atomic_fetch_add(&offset_, count, __ATOMIC_RELAXED); }
  uint64_t offset() const { return offset_; }
  void set_offset(uint64_t offset) { offset_ = offset; }

  void manual_seed(uint64_t seed_value);
  uint64_t seed();  // seeds from the operating system's entropy (53 bits) and returns the seed
  uint64_t initial_seed() const { return seed_; }

  uint32_t random() {  // next 32-bit word
    if (left_ == 1) refill();
    --left_;
    return temper(state_[next_++]);
  }
  uint64_t random64() {  // two words, the first one high
    const uint64_t high = random();
    return high << 32 | random();
  }
  double uniform() { return static_cast<double>(random64() & kMask53) * 0x1p-53; }  // [0, 1), 53 bits
  // Box-Muller on two 53-bit uniforms; the sine half is kept for the next call.
  double normal();

  // State in PyTorch's layout (torch.get_rng_state): exactly state_bytes() bytes. set_state throws on a bad one.
  size_t state_bytes() const { return device_ < 0 ? kStateBytes : kDeviceStateBytes; }
  void get_state(void* bytes) const;
  void set_state(const void* bytes, size_t size);

  // Mutual exclusion of kernels that draw from the same generator on several threads.
  void lock();
  void unlock();

  // For bulk kernels: the current block of raw (untempered) words and how many of them are used up.
  [[gnu::always_inline]] uint32_t* words() { return state_; }
  [[gnu::always_inline]] int used() const { return left_ == 1 && next_ == 0 ? kWords : next_; }
  [[gnu::always_inline]] void set_used(int used) {
    next_ = used;
    left_ = kWords + 1 - used;
  }

  static constexpr uint64_t kMask53 = (uint64_t{1} << 53) - 1;
  static constexpr uint32_t kMask24 = (1u << 24) - 1;

  [[gnu::always_inline]] static uint32_t temper(uint32_t y) {
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
  }
  // The recurrence: word i + 624 from words i, i + 1 and i + 397.
  static uint32_t twist(uint32_t u, uint32_t v, uint32_t middle) {
    return middle ^ (((u & 0x80000000u) | (v & 0x7fffffffu)) >> 1) ^ ((0u - (v & 1u)) & 0x9908b0dfu);
  }

 private:
  void refill();

  uint32_t state_[kWords];
  uint64_t seed_ = 0;
  // As in PyTorch's state: words left before a refill, plus one, and the next word to give out.
  int32_t left_ = 1;
  int32_t next_ = 0;
  bool has_normal_ = false;        // normal_ holds the second number of a Box-Muller pair
  bool has_float_normal_ = false;  // kept for round trips of PyTorch's state; nothing here sets it
  double normal_ = 0;
  float float_normal_ = 0;
  int busy_ = 0;
  int device_ = -1;
  uint64_t offset_ = 0;
};

// Holds a generator's lock while in scope.
class GeneratorGuard {
 public:
  [[gnu::always_inline]] explicit GeneratorGuard(Generator& generator) : generator_(generator) { generator_.lock(); }
  [[gnu::always_inline]] ~GeneratorGuard() { generator_.unlock(); }
  GeneratorGuard(const GeneratorGuard&) = delete;
  GeneratorGuard& operator=(const GeneratorGuard&) = delete;

 private:
  Generator& generator_;
};

// A generator that stands in for the default one on a thread, seeded with `key` when something first draws.
struct KeyedGenerator {
  Generator generator{0};
  uint64_t key = 0;
  bool seeded = false;
};
#if !defined(__CUDACC__)  // nvcc does not know the attribute
// Set while this thread reads a sample that has random streams of its own (Note [Keyed samples]); null otherwise.
extern thread_local KeyedGenerator* keyed_generator __attribute__((tls_model("initial-exec")));
#endif

// The generator that is used where none is named: the thread's keyed one, else the process's, which is seeded from
// the operating system's entropy at first use.
Generator& default_generator();
// The same of a CUDA device.
Generator& default_generator(int device);
// Seeds the default generators of all CUDA devices, also those not used yet.
void seed_devices(uint64_t seed_value);
// 53 bits from the operating system.
uint64_t nondeterministic_seed();

}  // namespace fireseed

// mt19937 (Matsumoto and Nishimura 1998): seeding, refill, scalar normal draws, PyTorch's state layout.
#include "math/random.h"

#include <sched.h>

#include <cmath>
#include <cstring>
#include <memory>
#include <mutex>
#include <random>

#include "base/error.h"

namespace fireseed {

namespace {
// Offsets in torch.get_rng_state()'s bytes: seed (u64), left (i32), seeded (i32), next (u64), 624 words (u64 each),
// normal_x, normal_y, normal_rho (f64), normal_is_valid (i32, padded), float normal (f32), its flag (bool, padded).
constexpr size_t kSeedAt = 0, kLeftAt = 8, kSeededAt = 12, kNextAt = 16, kStateAt = 24;
constexpr size_t kNormalAt = kStateAt + 8 * Generator::kWords + 8;
constexpr size_t kNormalValidAt = kNormalAt + 16;
constexpr size_t kFloatNormalAt = kNormalValidAt + 8, kFloatNormalValidAt = kFloatNormalAt + 4;
static_assert(kFloatNormalValidAt + 4 == Generator::kStateBytes);

template <class T>
void put(unsigned char* bytes, size_t at, T value) {
  std::memcpy(bytes + at, &value, sizeof(T));
}
template <class T>
T get(const unsigned char* bytes, size_t at) {
  T value;
  std::memcpy(&value, bytes + at, sizeof(T));
  return value;
}
}  // namespace

void Generator::manual_seed(uint64_t seed_value) {
  seed_ = seed_value;
  uint32_t x = static_cast<uint32_t>(seed_value);
  state_[0] = x;
  for (uint32_t i = 1; i < kWords; ++i) state_[i] = x = 1812433253u * (x ^ (x >> 30)) + i;
  left_ = 1;
  next_ = 0;
  has_normal_ = has_float_normal_ = false;
  offset_ = 0;
}

uint64_t nondeterministic_seed() {
  std::random_device device;
  const uint64_t high = device();
  return (high << 32 | device()) & Generator::kMask53;
}

uint64_t Generator::seed() {
  manual_seed(nondeterministic_seed());
  return seed_;
}

void Generator::refill() {
  constexpr int kSplit = kWords - kOffset;
  for (int i = 0; i < kSplit; ++i) state_[i] = twist(state_[i], state_[i + 1], state_[i + kOffset]);
  for (int i = kSplit; i < kWords - 1; ++i) state_[i] = twist(state_[i], state_[i + 1], state_[i - kSplit]);
  state_[kWords - 1] = twist(state_[kWords - 1], state_[0], state_[kOffset - 1]);
  left_ = kWords + 1;
  next_ = 0;
}

double Generator::normal() {
  if (has_normal_) {
    has_normal_ = false;
    return normal_;
  }
  const double u1 = uniform(), u2 = uniform();
  const double r = std::sqrt(-2.0 * std::log1p(-u2)), theta = 2.0 * 3.14159265358979323846 * u1;
  normal_ = r * std::sin(theta);
  has_normal_ = true;
  return r * std::cos(theta);
}

void Generator::get_state(void* bytes) const {
  auto* p = static_cast<unsigned char*>(bytes);
  if (device_ >= 0) {
    put<uint64_t>(p, 0, seed_);
    put<uint64_t>(p, 8, offset_);
    return;
  }
  std::memset(p, 0, kStateBytes);
  put<uint64_t>(p, kSeedAt, seed_);
  put<int32_t>(p, kLeftAt, left_);
  put<int32_t>(p, kSeededAt, 1);
  put<uint64_t>(p, kNextAt, static_cast<uint64_t>(next_));
  for (int i = 0; i < kWords; ++i) put<uint64_t>(p, kStateAt + 8 * static_cast<size_t>(i), state_[i]);
  put<double>(p, kNormalAt, has_normal_ ? normal_ : 0.0);
  put<int32_t>(p, kNormalValidAt, has_normal_ ? 1 : 0);
  put<float>(p, kFloatNormalAt, has_float_normal_ ? float_normal_ : 0.0f);
  p[kFloatNormalValidAt] = has_float_normal_ ? 1 : 0;
}

void Generator::set_state(const void* bytes, size_t size) {
  if (device_ >= 0) {
    FS_CHECK(size == kDeviceStateBytes, "RNG state of a CUDA generator is wrong size: expected ", kDeviceStateBytes,
             " bytes, got ", size);
    seed_ = get<uint64_t>(static_cast<const unsigned char*>(bytes), 0);
    offset_ = get<uint64_t>(static_cast<const unsigned char*>(bytes), 8);
    return;
  }
  FS_CHECK(size == kStateBytes, "Expected a CPUGeneratorImplState of size ", kStateBytes,
           " but found the input RNG state size to be ", size);
  const auto* p = static_cast<const unsigned char*>(bytes);
  const int32_t left = get<int32_t>(p, kLeftAt);
  const uint64_t next = get<uint64_t>(p, kNextAt);
  // left and next say the same thing twice: next words given out, or a fresh seed (1, 0).
  const bool consistent =
      left > 0 && left <= kWords && next <= kWords &&
      ((left == 1 && next == 0) || static_cast<uint64_t>(left) + next == static_cast<uint64_t>(kWords) + 1);
  FS_CHECK(get<int32_t>(p, kSeededAt) != 0 && consistent, "Invalid mt19937 state");
  seed_ = get<uint64_t>(p, kSeedAt);
  left_ = left;
  next_ = static_cast<int32_t>(next);
  for (int i = 0; i < kWords; ++i)
    state_[i] = static_cast<uint32_t>(get<uint64_t>(p, kStateAt + 8 * static_cast<size_t>(i)));
  has_normal_ = get<int32_t>(p, kNormalValidAt) != 0;
  normal_ = get<double>(p, kNormalAt);
  has_float_normal_ = p[kFloatNormalValidAt] != 0;
  float_normal_ = get<float>(p, kFloatNormalAt);
}

void Generator::lock() {
  while (__atomic_exchange_n(&busy_, 1, __ATOMIC_ACQUIRE)) sched_yield();
}
void Generator::unlock() { __atomic_store_n(&busy_, 0, __ATOMIC_RELEASE); }

thread_local KeyedGenerator* keyed_generator = nullptr;

Generator& default_generator() {
  if (KeyedGenerator* own = keyed_generator) {
    if (!own->seeded) own->generator.manual_seed(own->key);
    own->seeded = true;
    return own->generator;
  }
  static Generator generator(nondeterministic_seed());
  return generator;
}

namespace {

constexpr int kMaxDevices = 64;
struct DeviceGenerators {
  std::mutex mutex;
  uint64_t seed = nondeterministic_seed();
  std::unique_ptr<Generator> of[kMaxDevices];
};
DeviceGenerators& device_generators() {
  static DeviceGenerators g;
  return g;
}

}  // namespace

Generator& default_generator(int device) {
  FS_CHECK(device >= 0 && device < kMaxDevices, "there is no CUDA device ", device);
  DeviceGenerators& g = device_generators();
  const std::lock_guard lock(g.mutex);
  if (!g.of[device]) g.of[device] = std::make_unique<Generator>(g.seed, device);
  return *g.of[device];
}

void seed_devices(uint64_t seed_value) {
  DeviceGenerators& g = device_generators();
  const std::lock_guard lock(g.mutex);
  g.seed = seed_value;
  for (auto& one : g.of)
    if (one) one->manual_seed(seed_value);
}

}  // namespace fireseed

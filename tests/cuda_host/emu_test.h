// What tests of kernels share: device arrays, views, seeds. They run under the emulation, and on a GPU where they are
// built with FS_CUDA_HOST_DEVICE.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#if defined(FS_CUDA_EMU)
#include "engine.h"
#include "runtime/launch.h"
#elif defined(__CUDACC__)
#include "runtime/launch.h"
#else
#include <cuda_runtime_api.h>

#include "base/error.h"
#endif
#include "tensor/view.h"

namespace fireseed::cuda_emu {

#if !defined(FS_CUDA_EMU)
inline void set_seed(uint64_t) {}  // the GPU orders threads as it will
#endif

// On a GPU 256 bytes at either end of an array must keep what they hold. AddressSanitizer sees more under the
// emulation, as does compute-sanitizer, for which FS_CUDA_CANARIES=0 turns them off, and the NaN with them.
inline bool canaries() {
#if defined(FS_CUDA_EMU)
  return false;
#else
  static const bool on = [] {
    const char* s = std::getenv("FS_CUDA_CANARIES");
    return !(s && *s == '0');
  }();
  return on;
#endif
}

// An array in device memory: 256-byte aligned, NaN where nothing was written.
template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(size_t n) : n_(n) {
    const size_t bytes = n * sizeof(T);
    EXPECT_EQ(cudaMalloc(&memory_, bytes + 2 * border()), cudaSuccess);
    p_ = reinterpret_cast<T*>(static_cast<char*>(memory_) + border());
    if (!canaries()) return;
    EXPECT_EQ(cudaMemset(memory_, kCanary, bytes + 2 * border()), cudaSuccess);
    fill_nan();
  }
  explicit DeviceArray(const std::vector<T>& v) : DeviceArray(v.size()) {
    EXPECT_EQ(cudaMemcpy(p_, v.data(), n_ * sizeof(T), cudaMemcpyHostToDevice), cudaSuccess);
  }
  ~DeviceArray() {
    if (canaries()) check_borders();
    cudaFree(memory_);
  }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;
  T* data() const { return p_; }
  size_t size() const { return n_; }
  void fill_nan() const { EXPECT_EQ(cudaMemset(p_, 0xFF, n_ * sizeof(T)), cudaSuccess); }
  std::vector<T> host() const {
    std::unique_ptr<T[]> copy(new T[n_]);  // std::vector<bool> has no array
    EXPECT_EQ(cudaMemcpy(copy.get(), p_, n_ * sizeof(T), cudaMemcpyDeviceToHost), cudaSuccess);
    return std::vector<T>(copy.get(), copy.get() + n_);
  }

 private:
  static constexpr int kCanary = 0xA5;
  static size_t border() { return canaries() ? 256 : 0; }
  void check_borders() const {
    std::vector<unsigned char> bytes(2 * border());
    const char* const end = reinterpret_cast<const char*>(p_ + n_);
    EXPECT_EQ(cudaMemcpy(bytes.data(), memory_, border(), cudaMemcpyDeviceToHost), cudaSuccess);
    EXPECT_EQ(cudaMemcpy(bytes.data() + border(), end, border(), cudaMemcpyDeviceToHost), cudaSuccess);
    for (size_t i = 0; i < bytes.size(); ++i) {
      if (bytes[i] == kCanary) continue;
      ADD_FAILURE() << "a kernel wrote " << (i < border() ? "before" : "behind") << " an array of " << n_
                    << " elements of " << sizeof(T) << " bytes, at byte " << i % border() << " of the border";
      return;
    }
  }
  void* memory_ = nullptr;
  T* p_ = nullptr;
  size_t n_;
};

// A view with its own sizes and strides.
struct OwnedView {
  Dims sizes, strides;
  TensorView view;
  OwnedView(void* data, DType dtype, Dims sizes_, Dims strides_) : sizes(sizes_), strides(strides_) {
    view.data = data;
    view.dtype = dtype;
    view.ndim = static_cast<int32_t>(sizes.n);
    view.numel = numel_of(sizes);
    view.contiguous = strides == contiguous_strides(sizes);
    view.sizes = sizes.d;
    view.strides = strides.d;
  }
  OwnedView(void* data, DType dtype, Dims sizes_) : OwnedView(data, dtype, sizes_, contiguous_strides(sizes_)) {}
  OwnedView(const OwnedView& o) : OwnedView(o.view.data, o.view.dtype, o.sizes, o.strides) {}
};
template <class T>
OwnedView view_of(const DeviceArray<T>& a, Dims sizes) {
  return OwnedView(a.data(), dtype_of<T>::value, sizes);
}

// Calls a kernel of cuda/kernels/ as the engine does.
inline void call(Kernel kernel, std::initializer_list<OwnedView> out, std::initializer_list<OwnedView> in,
                 const void* attrs = nullptr) {
  std::vector<TensorView> o, i;
  for (const OwnedView& v : out) o.push_back(v.view);
  for (const OwnedView& v : in) i.push_back(v.view);
  kernel(KernelArgs{i.data(), o.data(), static_cast<int32_t>(i.size()), static_cast<int32_t>(o.size()), attrs});
}

// Numbers as float64, and random ones (the same in every run) around 0, rounded to T.
template <class T>
double to_double(T x) {
  if constexpr (is_half(dtype_of<T>::value)) return static_cast<float>(x);
  else return static_cast<double>(x);
}
template <class T>
std::vector<double> to_double(const std::vector<T>& v) {
  std::vector<double> r;
  for (T x : v) r.push_back(to_double(x));
  return r;
}
template <class T>
std::vector<T> random_values(int64_t n, double spread, unsigned seed = 1) {
  std::mt19937 generator(seed);
  std::normal_distribution<double> normal(0.0, spread);
  std::vector<T> v;
  for (int64_t i = 0; i < n; ++i) {
    if constexpr (is_half(dtype_of<T>::value)) v.push_back(T(static_cast<float>(normal(generator))));
    else v.push_back(static_cast<T>(normal(generator)));
  }
  return v;
}
// |got - expected| <= tolerance * max(1, |expected|) everywhere; NaN where NaN is expected.
template <class T>
void expect_near(const DeviceArray<T>& got, const std::vector<double>& expected, double tolerance) {
  const std::vector<T> v = got.host();
  ASSERT_EQ(v.size(), expected.size());
  int reported = 0;
  for (size_t i = 0; i < v.size() && reported < 5; ++i) {
    const double x = to_double(v[i]), e = expected[i];
    if (std::isnan(e) ? std::isnan(x) : x == e || std::fabs(x - e) <= tolerance * std::max(1.0, std::fabs(e)))
      continue;
    ADD_FAILURE() << "element " << i << ": got " << x << ", expected " << e;
    ++reported;
  }
}

// Runs f in the fixed order and in three random ones; on a GPU, twice.
template <class F>
void for_each_seed(F f) {
#if defined(FS_CUDA_EMU)
  constexpr uint64_t kSeeds = 4;
#else
  constexpr uint64_t kSeeds = 2;
#endif
  for (uint64_t s = 0; s < kSeeds; ++s) {
    SCOPED_TRACE("seed " + std::to_string(s));
    set_seed(s);
    f();
  }
  set_seed(0);
}

// The report of a kernel that must not survive; empty where it did. On a GPU a kernel that traps takes the process's
// device with it, so tests of such kernels are called …StopTheKernel and not run there.
template <class F>
std::string failure_of(F f) {
  try {
    f();
  } catch (const Error& e) { return e.what(); }
  return "";
}

}  // namespace fireseed::cuda_emu

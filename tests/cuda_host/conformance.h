// What the parts of cuda_conformance share: inputs, results, the file.
#pragma once

#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include "device/vec.cuh"
#include "runtime/check.h"

namespace fireseed::cuda::conformance {

class Output;

struct Section {
  const char* name;
  int capability;  // the least that has these instructions
  void (*run)(Output&);
};
const std::vector<Section>& common_sections();
const std::vector<Section>& hopper_sections();
const std::vector<Section>& math_sections();

// Words of device memory.
class Words {
 public:
  explicit Words(size_t n) : n_(n) { FS_CUDA(cudaMalloc(&p_, n * 4)); }
  ~Words() { cudaFree(p_); }
  Words(const Words&) = delete;
  Words& operator=(const Words&) = delete;
  uint32_t* data() const { return static_cast<uint32_t*>(p_); }
  size_t size() const { return n_; }

 private:
  void* p_ = nullptr;
  size_t n_;
};

// The file: "section NAME ULPS", then lines of hexadecimal words; "skipped NAME REASON".
class Output {
 public:
  explicit Output(const char* path) : file_(std::fopen(path, "w")) {
    if (!file_) fail(ErrorKind::kRuntime, "cannot write ", path);
  }
  ~Output() { std::fclose(file_); }
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  void begin(const char* name, int ulps = 0) { std::fprintf(file_, "section %s %d\n", name, ulps); }
  void skip(const char* name, const std::string& reason) {
    std::fprintf(file_, "skipped %s %s\n", name, reason.c_str());
    std::fflush(file_);
  }
  void add(const Words& w) {
    std::vector<uint32_t> host(w.size());
    FS_CUDA(cudaDeviceSynchronize());
    FS_CUDA(cudaMemcpy(host.data(), w.data(), w.size() * 4, cudaMemcpyDeviceToHost));
    for (size_t i = 0; i < host.size(); ++i)
      std::fprintf(file_, "%08x%c", host[i], i % 16 == 15 || i + 1 == host.size() ? '\n' : ' ');
    std::fflush(file_);
  }

  void seed(unsigned s) { generator_.seed(s); }
  std::vector<uint32_t> random(size_t n) {
    std::vector<uint32_t> v(n);
    for (uint32_t& x : v) x = static_cast<uint32_t>(generator_());
    return v;
  }
  // Bits of floats of every kind: of all sizes, near 1, near the limits of the halves, integers and halves between
  // them, zeros, infinities, NaN, subnormals.
  std::vector<uint32_t> floats(size_t n) {
    std::vector<uint32_t> v = random(n);
    for (size_t i = 0; i < n; ++i) {
      uint32_t& x = v[i];
      switch (i % 8) {
        case 0: break;
        case 1: x = (x & 0x807fffffu) | (120 + (x >> 24 & 15)) << 23; break;
        case 2: x = (x & 0x80ffffffu) | 0x47000000u; break;  // around float16's largest
        case 3: x = (x & 0x80ffffffu) | 0x33000000u; break;  // around its smallest
        case 4: x = bits(static_cast<float>(static_cast<int>(x) >> 24) * 0.5f); break;
        case 5: x = (x & 0xffffe000u) | (x & 1 ? 0x1000u : 0u); break;  // ties of tf32
        case 6: x = (x & 0xffff0000u) | (x & 1 ? 0x8000u : 0u); break;  // of bfloat16
        default: {
          constexpr uint32_t kSpecial[] = {0u, 0x7f800000u, 0x7fc00000u, 1u, 0x007fffffu, 0x7f7fffffu, 0x3f800000u};
          x = kSpecial[x % 7] | (x & 0x80000000u);
        }
      }
    }
    return v;
  }

 private:
  static uint32_t bits(float x) { return __builtin_bit_cast(uint32_t, x); }
  std::FILE* file_;
  std::mt19937 generator_;
};

// Random input, the same in every program; and results, 0xffffffff (or `fill`, a byte) where nothing was written.
class Input : public Words {
 public:
  Input(Output& output, size_t n) : Input(output, output.random(n)) {}
  Input(Output&, const std::vector<uint32_t>& v) : Words(v.size()) {
    FS_CUDA(cudaMemcpy(data(), v.data(), v.size() * 4, cudaMemcpyHostToDevice));
    FS_CUDA(cudaDeviceSynchronize());
  }
};
class Result : public Words {
 public:
  explicit Result(size_t n, int fill = 0xff) : Words(n) {
    FS_CUDA(cudaMemset(data(), fill, n * 4));
    FS_CUDA(cudaDeviceSynchronize());
  }
};

// The bits of a float; of NaN always the same.
__device__ __forceinline__ uint32_t bits_of(float x) { return x != x ? 0x7fc00000u : __float_as_uint(x); }

// An integer in -8 … 7, exactly in either half.
template <class T>
__device__ __forceinline__ T small(uint32_t random) {
  return store_as<T>(static_cast<float>(static_cast<int>(random & 15) - 8));
}
template <class T>
__device__ __forceinline__ uint32_t float_to_bits(float x) {
  return store_as<T>(x).bits;
}

}  // namespace fireseed::cuda::conformance

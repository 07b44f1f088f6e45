// What the intrinsics do under emulation: asynchronous copies, made late, and the matrix operations of a warp.
#include <cstring>
#include <vector>

#include "base/half.h"
#include "engine.h"
#include "fiber.h"

#if defined(FS_EMU_TSAN)
extern "C" {
void __tsan_read_range(void* address, unsigned long size);
void __tsan_write_range(void* address, unsigned long size);
}
#endif

namespace fireseed::cuda_emu {

namespace {

// Accesses that the device's hardware makes on behalf of the running thread, told to the sanitizers.
void note_read([[maybe_unused]] const void* p, [[maybe_unused]] size_t n) {
#if defined(FS_EMU_TSAN)
  __tsan_read_range(const_cast<void*>(p), n);
#endif
}
void note_write([[maybe_unused]] void* p, [[maybe_unused]] size_t n) {
#if defined(FS_EMU_TSAN)
  __tsan_write_range(p, n);
#endif
}

}  // namespace

uint32_t shared_address(const void* p) {
  size_t bytes = 0;
  const char* base = static_cast<const char*>(dynamic_shared(&bytes));
  const auto at = static_cast<const char*>(p) - base;
  if (!base || at < 0 || static_cast<size_t>(at) >= bytes)
    fail("an address outside dynamic shared memory where an instruction wants one of it", Where::current());
  return static_cast<uint32_t>(at);
}
void* shared_pointer(uint32_t address, size_t n) {
  size_t bytes = 0;
  char* base = static_cast<char*>(dynamic_shared(&bytes));
  if (address + n > bytes)
    fail("shared memory at " + std::to_string(address) + ", of " + std::to_string(bytes) + " bytes",
         Where::current());
  return base + address;
}

// ---- cp.async ----------------------------------------------------------------------------------------------

void cp_async(void* to, const void* from, int bytes, int valid) {
  // Also where nothing is read: the instruction wants aligned addresses.
  if (reinterpret_cast<uintptr_t>(to) % static_cast<uintptr_t>(bytes) ||
      reinterpret_cast<uintptr_t>(from) % static_cast<uintptr_t>(bytes))
    fail("cp_async of " + std::to_string(bytes) + " bytes between misaligned addresses", Where::current());
  note_write(to, static_cast<size_t>(bytes));
  begin_engine_work();
  std::memset(to, 0xFF, static_cast<size_t>(bytes));  // until it has been waited for
  this_thread_async().copies.push_back({static_cast<char*>(to), static_cast<const char*>(from), bytes, valid});
  end_engine_work();
}
void cp_async_commit() {
  begin_engine_work();
  ThreadAsync& a = this_thread_async();
  a.copy_groups.push_back(std::move(a.copies));
  a.copies.clear();
  end_engine_work();
}
void cp_async_wait(int pending) {
  ThreadAsync& a = this_thread_async();
  while (a.copy_groups.size() > static_cast<size_t>(pending)) {
    for (const Copy& c : a.copy_groups.front()) {
      const auto n = static_cast<size_t>(c.bytes);
      const auto valid = static_cast<size_t>(c.valid);
      if (valid) note_read(c.from, valid);
      note_write(c.to, n);
      begin_engine_work();
      if (valid) std::memcpy(c.to, c.from, valid);
      std::memset(c.to + valid, 0, n - valid);
      end_engine_work();
    }
    begin_engine_work();
    a.copy_groups.erase(a.copy_groups.begin());
    end_engine_work();
  }
}

float half_value(uint16_t bits, bool bfloat) {
  if (bfloat) return detail::bits_float(static_cast<uint32_t>(bits) << 16);
  float16 h;
  h.bits = bits;
  return static_cast<float>(h);
}

// ---- fragments ---------------------------------------------------------------------------------------------

namespace {

struct LdmatrixOperand {
  const uint16_t* row;
  uint32_t* result;
  bool transpose;
};
void compute_ldmatrix(void* const* operands, uint32_t) {
  const auto row = [&](int matrix, int i) { return static_cast<LdmatrixOperand*>(operands[matrix * 8 + i])->row; };
  for (int lane = 0; lane < 32; ++lane) {
    auto* o = static_cast<LdmatrixOperand*>(operands[lane]);
    const int i = lane / 4, j = lane % 4 * 2;
    for (int m = 0; m < 4; ++m) {
      const uint16_t low = o->transpose ? row(m, j)[i] : row(m, i)[j];
      const uint16_t high = o->transpose ? row(m, j + 1)[i] : row(m, i)[j + 1];
      o->result[m] = static_cast<uint32_t>(low) | static_cast<uint32_t>(high) << 16;
    }
  }
}

struct MmaOperand {
  float* d;
  const uint32_t *a, *b;
};
float half_of(uint32_t pair, int which, bool bfloat) {
  return half_value(static_cast<uint16_t>(which ? pair >> 16 : pair & 0xffffu), bfloat);
}
// d += a b with matrices a[16][kK], b[kK][8] gathered from the fragments; the sum is made in double and rounded once.
template <int kK, class A, class B>
void multiply(void* const* operands, A a_of, B b_of) {
  double a[16][kK], b[kK][8];
  for (int lane = 0; lane < 32; ++lane) {
    const auto* o = static_cast<const MmaOperand*>(operands[lane]);
    a_of(lane, o->a, a);
    b_of(lane, o->b, b);
  }
  for (int lane = 0; lane < 32; ++lane) {
    float* d = static_cast<MmaOperand*>(operands[lane])->d;
    for (int r = 0; r < 4; ++r) {
      const int i = lane / 4 + (r / 2) * 8, j = lane % 4 * 2 + r % 2;
      double sum = d[r];
      for (int k = 0; k < kK; ++k) sum += a[i][k] * b[k][j];
      d[r] = static_cast<float>(sum);
    }
  }
}
template <bool kBfloat>
void compute_16816(void* const* operands, uint32_t) {
  multiply<16>(
      operands,
      [](int lane, const uint32_t* r, double (&a)[16][16]) {
        for (int x = 0; x < 8; ++x) {
          const int reg = x / 2;
          a[lane / 4 + (reg % 2) * 8][lane % 4 * 2 + x % 2 + (reg / 2) * 8] = half_of(r[reg], x % 2, kBfloat);
        }
      },
      [](int lane, const uint32_t* r, double (&b)[16][8]) {
        for (int x = 0; x < 4; ++x)
          b[lane % 4 * 2 + x % 2 + (x / 2) * 8][lane / 4] = half_of(r[x / 2], x % 2, kBfloat);
      });
}
// The hardware looks at the upper 19 bits only.
double tf32_of(uint32_t bits) { return detail::bits_float(bits & 0xffffe000u); }
void compute_1688(void* const* operands, uint32_t) {
  multiply<8>(
      operands,
      [](int lane, const uint32_t* r, double (&a)[16][8]) {
        for (int x = 0; x < 4; ++x) a[lane / 4 + (x % 2) * 8][lane % 4 + (x / 2) * 4] = tf32_of(r[x]);
      },
      [](int lane, const uint32_t* r, double (&b)[8][8]) {
        for (int x = 0; x < 2; ++x) b[lane % 4 + x * 4][lane / 4] = tf32_of(r[x]);
      });
}

constexpr uint32_t kAll = 0xffffffffu;
}  // namespace

void ldmatrix_x4(uint32_t (&r)[4], const void* row, bool transpose, Where where) {
  if (reinterpret_cast<uintptr_t>(row) % 16) fail("ldmatrix: a row at a misaligned address", where);
  note_read(row, 16);
  LdmatrixOperand o{static_cast<const uint16_t*>(row), r, transpose};
  warp_collective(transpose ? "ldmatrix.trans" : "ldmatrix", kAll, &o, &compute_ldmatrix, false, where);
}
void mma_16816(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], bool bfloat, Where where) {
  MmaOperand o{d, a, b};
  warp_collective("mma.m16n8k16", kAll, &o, bfloat ? &compute_16816<true> : &compute_16816<false>, false, where);
}
void mma_1688_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Where where) {
  MmaOperand o{d, a, b};
  warp_collective("mma.m16n8k8", kAll, &o, &compute_1688, false, where);
}

}  // namespace fireseed::cuda_emu

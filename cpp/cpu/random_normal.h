// Box-Muller on blocks of 16 uniforms, rounding as PyTorch's vector code does.
#pragma once

#include "cpu/random_stream.h"

namespace fireseed::cpu::FS_ISA {

// Note [Bits of normal samples]
// Single precision samples come from Cephes' logf, sinf and cosf (S. Moshier, netlib), whose polynomials PyTorch
// evaluates in registers with fused multiply-adds. The same steps in the same order give the same bits wherever
// there is FMA; elsewhere the last bit may differ. Double precision uses the C library, as PyTorch does.

// log(x) for normal x > 0.
FS_INLINE VecF cephes_log(VecF x) {
  using VecI = Vec<int32_t>;
  const VecI bits = bit_cast_to<int32_t>(x);
  const VecF m = bit_cast_to<float>((bits & VecI(0x007fffff)) | VecI(0x3f000000));  // [0.5, 1)
  const auto small = m < VecF(0.707106781186547524f);
  const VecF e = convert<float>((bits >> 23) - VecI(126)) - where(small, VecF(1.0f), VecF(0.0f));
  const VecF f = (m - VecF(1.0f)) + where(small, m, VecF(0.0f));
  const VecF z = f * f;
  VecF y = fma(VecF(7.0376836292e-2f), f, VecF(-1.1514610310e-1f));
  y = fma(y, f, VecF(1.1676998740e-1f));
  y = fma(y, f, VecF(-1.2420140846e-1f));
  y = fma(y, f, VecF(1.4249322787e-1f));
  y = fma(y, f, VecF(-1.6668057665e-1f));
  y = fma(y, f, VecF(2.0000714765e-1f));
  y = fma(y, f, VecF(-2.4999993993e-1f));
  y = fma(y, f, VecF(3.3333331174e-1f));
  y = fma(y * f, z, e * VecF(-2.12194440e-4f));
  y = fma(z, VecF(-0.5f), y);
  return fma(e, VecF(0.693359375f), f + y);
}

// sin(x) and cos(x) for 0 <= x < 8192: x - j * pi/4 in three parts, then a polynomial for each.
FS_INLINE void cephes_sincos(VecF x, VecF* sine, VecF* cosine) {
  using VecI = Vec<int32_t>;
  const VecI j = (convert<int32_t>(x * VecF(1.27323954473516f)) + VecI(1)) & VecI(~1);
  const VecF k = convert<float>(j);
  x = fma(k, VecF(-0.78515625f), x);
  x = fma(k, VecF(-2.4187564849853515625e-4f), x);
  x = fma(k, VecF(-3.77489497744594108e-8f), x);
  const VecF z = x * x;
  VecF c = fma(VecF(2.443315711809948e-5f), z, VecF(-1.388731625493765e-3f));
  c = fma(c, z, VecF(4.166664568298827e-2f));
  c = fma(c * z, z, z * VecF(-0.5f)) + VecF(1.0f);
  VecF s = fma(VecF(-1.9515295891e-4f), z, VecF(8.3321608736e-3f));
  s = fma(s, z, VecF(-1.6666654611e-1f));
  s = fma(s * z, x, x);
  // Octants 2, 3, 6, 7 exchange the two; bit 2 of j, and of j - 2, hold the signs.
  const auto keep = mask_cast<float>((j & VecI(2)) == VecI(0));
  const VecI sine_sign = (j & VecI(4)) << 29, cosine_sign = (~(j - VecI(2)) & VecI(4)) << 29;
  *sine = bit_cast_to<float>(bit_cast_to<int32_t>(where(keep, s, c)) ^ sine_sign);
  *cosine = bit_cast_to<float>(bit_cast_to<int32_t>(where(keep, c, s)) ^ cosine_sign);
}

// u1, u2 in [0, 1) to two independent normal samples.
FS_INLINE void box_muller(VecF u1, VecF u2, VecF mean, VecF std, VecF* a, VecF* b) {
  const VecF radius = sqrt(VecF(-2.0f) * cephes_log(VecF(1.0f) - u1));
  VecF sine, cosine;
  cephes_sincos(VecF(6.2831853071795864769f) * u2, &sine, &cosine);
  *a = fma(radius * cosine, std, mean);
  *b = fma(radius * sine, std, mean);
}

// `blocks` blocks of 16 raw words to 16 float samples each: uniforms 0-7 with uniforms 8-15.
inline void normal_blocks(const uint32_t* raw, float* out, int64_t blocks, float mean, float std) {
  const VecF mu(mean), sigma(std);
  VecF a, b;
  int64_t i = 0;
#if defined(__AVX512F__)
  for (; i + 2 <= blocks; i += 2) {
    const VecF x = uniform24(VecU::load(raw + 16 * i)), y = uniform24(VecU::load(raw + 16 * i + 16));
    const VecF u1(_mm512_shuffle_f32x4(x.v, y.v, 0x44)), u2(_mm512_shuffle_f32x4(x.v, y.v, 0xee));
    box_muller(u1, u2, mu, sigma, &a, &b);
    VecF(_mm512_shuffle_f32x4(a.v, b.v, 0x44)).store(out + 16 * i);
    VecF(_mm512_shuffle_f32x4(a.v, b.v, 0xee)).store(out + 16 * i + 16);
  }
  for (; i < blocks; ++i) {
    box_muller(uniform24(VecU::load(raw + 16 * i, 8)), uniform24(VecU::load(raw + 16 * i + 8, 8)), mu, sigma, &a, &b);
    a.store(out + 16 * i, 8);
    b.store(out + 16 * i + 8, 8);
  }
#else
  for (; i < blocks; ++i) {
    for (int j = 0; j < 8; j += VecF::kSize) {
      const uint32_t* const r = raw + 16 * i + j;
      box_muller(uniform24(VecU::load(r)), uniform24(VecU::load(r + 8)), mu, sigma, &a, &b);
      a.store(out + 16 * i + j);
      b.store(out + 16 * i + 8 + j);
    }
  }
#endif
}

// As above for double: 32 raw words a block.
inline void normal_blocks(const uint32_t* raw, double* out, int64_t blocks, double mean, double std) {
  for (int64_t i = 0; i < blocks; ++i) {
    double u[16];
    uniforms53(raw + 32 * i, u, 16);
    for (int j = 0; j < 8; ++j) {
      const double radius = __builtin_sqrt(-2.0 * __builtin_log(1.0 - u[j]));
      const double theta = 6.2831853071795864769 * u[j + 8];
      out[16 * i + j] = __builtin_fma(radius * __builtin_cos(theta), std, mean);
      out[16 * i + j + 8] = __builtin_fma(radius * __builtin_sin(theta), std, mean);
    }
  }
}

}  // namespace fireseed::cpu::FS_ISA

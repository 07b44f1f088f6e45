// Tests of base/: promotion, half-precision conversions over all bit patterns, Dims and the checks on shapes.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <sstream>

#include "base/dtype.h"
#include "base/error.h"
#include "base/half.h"
#include "base/shape.h"

namespace fireseed {
namespace {

constexpr DType kAll[] = {DType::kBool,  DType::kUInt8,   DType::kInt8,     DType::kInt16,   DType::kInt32,
                          DType::kInt64, DType::kFloat16, DType::kBFloat16, DType::kFloat32, DType::kFloat64};

TEST(DTypes, SizesAndNames) {
  EXPECT_EQ(dtype_size(DType::kBool), 1u);
  EXPECT_EQ(dtype_size(DType::kInt16), 2u);
  EXPECT_EQ(dtype_size(DType::kBFloat16), 2u);
  EXPECT_EQ(dtype_size(DType::kFloat64), 8u);
  EXPECT_STREQ(dtype_name(DType::kBFloat16), "bfloat16");
  EXPECT_STREQ(dtype_name(DType::kInt64), "int64");
  for (DType t : kAll) {
    size_t size = 0;
    DType back = DType::kUndefined;
    dispatch_all(t, [&](auto tag) {
      size = sizeof(typename decltype(tag)::type);
      back = dtype_of<typename decltype(tag)::type>::value;
    });
    EXPECT_EQ(size, dtype_size(t)) << dtype_name(t);
    EXPECT_EQ(back, t);
  }
}

// The table of torch.promote_types, row and column in the order of kAll.
TEST(DTypes, PromotionTable) {
  constexpr const char* kTable[10] = {// b  u8 i8 i16 i32 i64 f16 bf16 f32 f64, as one letter each
                                      "buislLhBfd", "uuSslLhBfd", "iSislLhBfd", "sssslLhBfd", "lllllLhBfd",
                                      "LLLLLLhBfd", "hhhhhhhffd", "BBBBBBfBfd", "fffffffffd", "dddddddddd"};
  const auto of = [](char c) {
    switch (c) {
      case 'b': return DType::kBool;
      case 'u': return DType::kUInt8;
      case 'i': return DType::kInt8;
      case 's':
      case 'S': return DType::kInt16;
      case 'l': return DType::kInt32;
      case 'L': return DType::kInt64;
      case 'h': return DType::kFloat16;
      case 'B': return DType::kBFloat16;
      case 'f': return DType::kFloat32;
      default: return DType::kFloat64;
    }
  };
  for (int i = 0; i < 10; ++i) {
    for (int j = 0; j < 10; ++j) {
      EXPECT_EQ(promote_types(kAll[i], kAll[j]), of(kTable[i][j]))
          << dtype_name(kAll[i]) << " " << dtype_name(kAll[j]);
      EXPECT_EQ(promote_types(kAll[i], kAll[j]), promote_types(kAll[j], kAll[i]));
    }
  }
}

// The value of a half by its definition: sign, exponent of 5 bits, 10 bits of fraction.
double value_of_half(uint16_t bits) {
  const int e = (bits >> 10) & 31, m = bits & 1023;
  const double sign = bits >> 15 ? -1.0 : 1.0;
  if (e == 31) return m ? std::numeric_limits<double>::quiet_NaN() : sign * INFINITY;
  return sign * (e == 0 ? std::ldexp(m, -24) : std::ldexp(1024 + m, e - 25));
}

TEST(Half, EveryFloat16WidensExactlyAndComesBack) {
  for (int i = 0; i < 65536; ++i) {
    float16 h;
    h.bits = static_cast<uint16_t>(i);
    const float f = static_cast<float>(h);
    const double want = value_of_half(h.bits);
    if (std::isnan(want)) {
      EXPECT_TRUE(std::isnan(f));
      EXPECT_TRUE(std::isnan(static_cast<float>(float16(f))));
    } else {
      EXPECT_EQ(static_cast<double>(f), want);
      EXPECT_EQ(std::signbit(f), std::signbit(want));
      EXPECT_EQ(float16(f).bits, h.bits);
    }
  }
}

// Between two neighbours rounding goes to the nearer one, and half-way to the even one.
TEST(Half, Float16RoundsToNearestEven) {
  for (int i = 0; i < 0x7c00; ++i) {
    const double lo = value_of_half(static_cast<uint16_t>(i));
    const double hi = i == 0x7bff ? 65536.0 : value_of_half(static_cast<uint16_t>(i + 1));
    const auto middle = static_cast<float>((lo + hi) / 2);  // exact: one bit more than a half has
    const int even = i & 1 ? i + 1 : i;
    EXPECT_EQ(float16(middle).bits, even);
    EXPECT_EQ(float16(-middle).bits, 0x8000 | even);
    EXPECT_EQ(float16(std::nextafter(middle, 0.0f)).bits, i);
    EXPECT_EQ(float16(std::nextafter(middle, INFINITY)).bits, i + 1);
  }
  EXPECT_EQ(float16(1e30f).bits, 0x7c00);
  EXPECT_EQ(float16(std::numeric_limits<float>::denorm_min()).bits, 0);
  EXPECT_EQ(float16(-0.0f).bits, 0x8000);
}

TEST(Half, EveryBFloat16WidensExactlyAndRounds) {
  for (int i = 0; i < 65536; ++i) {
    bfloat16 h;
    h.bits = static_cast<uint16_t>(i);
    const float f = static_cast<float>(h);
    const uint32_t bits = static_cast<uint32_t>(i) << 16;
    EXPECT_EQ(detail::float_bits(f), bits);
    if (std::isnan(f)) {
      EXPECT_TRUE(std::isnan(static_cast<float>(bfloat16(f))));
      continue;
    }
    EXPECT_EQ(bfloat16(f).bits, h.bits);
    if (std::isinf(f)) continue;
    const int even = i & 1 ? i + 1 : i;
    EXPECT_EQ(bfloat16(detail::bits_float(bits | 0x7fff)).bits, i);
    EXPECT_EQ(bfloat16(detail::bits_float(bits | 0x8000)).bits, even);
    EXPECT_EQ(bfloat16(detail::bits_float(bits | 0x8001)).bits, i + 1);
  }
  EXPECT_TRUE(std::isnan(static_cast<float>(bfloat16(detail::bits_float(0x7f800001u)))));
}

TEST(Shape, Dims) {
  Dims d{2, 3, 4};
  EXPECT_EQ(d.size(), 3);
  EXPECT_EQ(d.back(), 4);
  EXPECT_TRUE((d == Dims{2, 3, 4}));
  EXPECT_FALSE((d == Dims{2, 3}));
  EXPECT_TRUE((Dims::filled(3, 7) == Dims{7, 7, 7}));
  EXPECT_TRUE(Dims().empty());
  std::ostringstream text;
  text << d << Dims();
  EXPECT_EQ(text.str(), "[2, 3, 4][]");
  Dims full = Dims::filled(kMaxRank, 1);
  EXPECT_THROW(full.push_back(1), Error);
}

TEST(Shape, NumelAndStrides) {
  EXPECT_EQ(numel_of(Dims{}), 1);
  EXPECT_EQ(numel_of(Dims{2, 3, 4}), 24);
  EXPECT_EQ(numel_of(Dims{int64_t{1} << 62, 0, int64_t{1} << 62}), 0);
  EXPECT_THROW(numel_of(Dims{int64_t{1} << 32, int64_t{1} << 32}), Error);
  EXPECT_TRUE((contiguous_strides(Dims{2, 3, 4}) == Dims{12, 4, 1}));
  EXPECT_TRUE((contiguous_strides(Dims{2, 0, 4}) == Dims{4, 4, 1}));
}

TEST(Shape, WrapDim) {
  EXPECT_EQ(wrap_dim(-1, 3, "sum"), 2);
  EXPECT_EQ(wrap_dim(0, 0, "sum"), 0);
  EXPECT_EQ(wrap_dim(-1, 0, "sum"), 0);
  try {
    wrap_dim(3, 2, "sum");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kIndex);
    EXPECT_NE(
        std::string(e.what()).find("sum: Dimension out of range (expected to be in range of [-2, 1], but got 3)"),
        std::string::npos)
        << e.what();
  }
}

}  // namespace
}  // namespace fireseed

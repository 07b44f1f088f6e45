// Kernels that move and convert elements: copy, copy_into, fill; any strides, any dtypes.
#include "cpu/copy.h"

#include "base/cache.h"
#include "base/parallel.h"
#include "cpu/strided_loop.h"
#include "cpu/vec.h"
#include "tensor/attrs/copy.h"

namespace fireseed::cpu::FS_ISA {

namespace {

constexpr int64_t kChunkBytes = 1 << 17;

// ---- conversion of one element ----

// Floats truncate towards zero into integers (out of range: as the machine does for int64, then wraps); into bool,
// everything but 0 is true.
template <class To, class From>
FS_INLINE To convert_element(From x) {
  if constexpr (same_type<To, bool>) {
    if constexpr (same_type<From, float16> || same_type<From, bfloat16>) return (x.bits & 0x7fff) != 0;
    else return x != From(0);
  } else if constexpr (same_type<From, float16> || same_type<From, bfloat16>) {
    return convert_element<To>(load_float(&x, 1)[0]);
  } else if constexpr (same_type<To, float16> || same_type<To, bfloat16>) {
    To r;
    store_float(&r, VecF(static_cast<float>(x)), 1);
    return r;
  } else if constexpr (is_float_lane<From> && !is_float_lane<To>) {
    // Out of range: the most negative number for 32 and 64 bits; narrower ones wrap through int64.
    const double d = static_cast<double>(x);
    if constexpr (sizeof(To) == 4)
      return d > -2147483649.0 && d < 2147483648.0 ? static_cast<To>(d) : static_cast<To>(INT32_MIN);
    const int64_t i = d >= -9223372036854775808.0 && d < 9223372036854775808.0 ? static_cast<int64_t>(d) : INT64_MIN;
    return static_cast<To>(i);
  } else {
    return static_cast<To>(x);
  }
}

// n elements with strides in bytes; contiguous runs of the common pairs in registers.
using ConvertRow = void (*)(const char* from, int64_t from_stride, char* to, int64_t to_stride, int64_t n);

template <class To, class From>
void convert_row(const char* from, int64_t from_stride, char* to, int64_t to_stride, int64_t n) {
  const From* s = reinterpret_cast<const From*>(from);
  To* d = reinterpret_cast<To*>(to);
  if (from_stride == static_cast<int64_t>(sizeof(From)) && to_stride == static_cast<int64_t>(sizeof(To))) {
    int64_t i = 0;
    constexpr bool kFromFloat32 = same_type<From, float> || same_type<From, float16> || same_type<From, bfloat16>;
    constexpr bool kToFloat32 = same_type<To, float> || same_type<To, float16> || same_type<To, bfloat16>;
    if constexpr (kFromFloat32 && kToFloat32) {
      for (; i + VecF::kSize <= n; i += VecF::kSize) store_float(d + i, load_float(s + i));
      if (i < n) store_float(d + i, load_float(s + i, static_cast<int>(n - i)), static_cast<int>(n - i));
      return;
    }
    for (; i < n; ++i) d[i] = convert_element<To>(s[i]);
    return;
  }
  for (int64_t i = 0; i < n; ++i)
    *reinterpret_cast<To*>(to + i * to_stride) =
        convert_element<To>(*reinterpret_cast<const From*>(from + i * from_stride));
}

template <class From>
ConvertRow converter_from(DType to) {
  ConvertRow r = nullptr;
  dispatch_all(to, [&](auto tag) { r = &convert_row<typename decltype(tag)::type, From>; });
  return r;
}
ConvertRow converter(DType to, DType from) {
  ConvertRow r = nullptr;
  dispatch_all(from, [&](auto tag) { r = converter_from<typename decltype(tag)::type>(to); });
  return r;
}

// ---- same dtype: bytes ----

// Ends without a fence.
void stream_bytes(char* to, const char* from, int64_t bytes) {
  int64_t head = static_cast<int64_t>((0 - reinterpret_cast<uintptr_t>(to)) & 63);
  if (head > bytes) head = bytes;
  __builtin_memcpy(to, from, static_cast<size_t>(head));
  to += head;
  from += head;
  bytes -= head;
  using Bytes = Vec<uint8_t>;
  int64_t i = 0;
  for (; i + kVecBytes <= bytes; i += kVecBytes)
    Bytes::load(reinterpret_cast<const uint8_t*>(from + i)).stream(reinterpret_cast<uint8_t*>(to + i));
  __builtin_memcpy(to + i, from + i, static_cast<size_t>(bytes - i));
}
void copy_bytes(char* to, const char* from, int64_t bytes) {
  if (bytes <= 4096) {
    __builtin_memcpy(to, from, static_cast<size_t>(bytes));
    return;
  }
  const bool stream = bypasses_caches(bytes, bytes);
  parallel_for(bytes, kChunkBytes, [&](int64_t b, int64_t e) {
    if (!stream) {
      __builtin_memcpy(to + b, from + b, static_cast<size_t>(e - b));
      return;
    }
    stream_bytes(to + b, from + b, e - b);
    stream_fence();
  });
}

template <class U>
void move_row(const char* from, int64_t from_stride, char* to, int64_t to_stride, int64_t n) {
  if (from_stride == static_cast<int64_t>(sizeof(U)) && to_stride == static_cast<int64_t>(sizeof(U))) {
    __builtin_memcpy(to, from, static_cast<size_t>(n) * sizeof(U));
  } else if (from_stride == 0 && to_stride == static_cast<int64_t>(sizeof(U))) {
    const U value = *reinterpret_cast<const U*>(from);
    U* d = reinterpret_cast<U*>(to);
    for (int64_t i = 0; i < n; ++i) d[i] = value;
  } else {
    for (int64_t i = 0; i < n; ++i)
      *reinterpret_cast<U*>(to + i * to_stride) = *reinterpret_cast<const U*>(from + i * from_stride);
  }
}
ConvertRow mover(int64_t size) {
  switch (size) {
    case 1: return &move_row<uint8_t>;
    case 2: return &move_row<uint16_t>;
    case 4: return &move_row<uint32_t>;
    default: return &move_row<uint64_t>;
  }
}

// Bytes of one row as whole registers and, for the rest, a last one that overlaps them (or a part of one).
FS_INLINE void copy_row(char* to, const char* from, int64_t bytes) {
  using Bytes = Vec<uint8_t>;
  const auto move = [&](int64_t i) {
    Bytes::load(reinterpret_cast<const uint8_t*>(from + i)).store(reinterpret_cast<uint8_t*>(to + i));
  };
  int64_t i = 0;
  for (; i + kVecBytes <= bytes; i += kVecBytes) move(i);
  if (i == bytes) return;
  if (bytes > kVecBytes) return move(bytes - kVecBytes);
  __builtin_memcpy(to, from, static_cast<size_t>(bytes));
}

// n rows of kRegisters registers (0: of `bytes`), from_step and to_step bytes apart. Lines are asked for some rows
// ahead, those to be written as well: else a copy within L2 waits for them.
template <int kRegisters>
void copy_rows(char* to, int64_t to_step, const char* from, int64_t from_step, int64_t n, int64_t bytes) {
  constexpr int64_t kAhead = 8;
  for (int64_t i = 0; i < n; ++i, to += to_step, from += from_step) {
    const int64_t row = kRegisters > 0 ? kRegisters * kVecBytes : bytes;
    for (int64_t k = 0; k < row && row >= 64; k += 64) {
      __builtin_prefetch(from + kAhead * from_step + k, 0);
      __builtin_prefetch(to + kAhead * to_step + k, 1);
    }
    copy_row(to, from, row);
  }
}

// Dense rows too short to be worth a call each, in any arrangement.
void copy_short_rows(const StridedLoop& loop, int64_t size) {
  const int64_t row = loop.row_size(), rows = loop.numel / row, bytes = row * size;
  const int d = loop.ndim - 2;
  const int64_t from_step = loop.strides[1][d], to_step = loop.strides[0][d];
  const int64_t chunk = 16384 / row;
  const auto copy = bytes == kVecBytes       ? &copy_rows<1>
                    : bytes == 2 * kVecBytes ? &copy_rows<2>
                    : bytes == 4 * kVecBytes ? &copy_rows<4>
                                             : &copy_rows<0>;
  parallel_for(rows, chunk > 1 ? chunk : 1, [&](int64_t begin, int64_t end) {
    StridedLoop::Cursor c(loop, begin * row);
    while (begin < end) {
      const int64_t left = loop.sizes[d] - c.index[d], n = left < end - begin ? left : end - begin;
      copy(c.p[0], to_step, c.p[1], from_step, n, bytes);
      begin += n;
      c.skip_rows(n);
    }
  });
}

// ---- transposition ----

// to[i][j] = from[j][i] for a kTile x kTile tile of 4-byte elements; strides in bytes. In registers, by interleaving
// pairs, quads, … of rows. kStream: past the caches (rows of `to` aligned).
#if defined(__AVX512F__)
constexpr int64_t kTile = 16;
template <bool kStream>
FS_INLINE void put(char* to, __m512i v) {
  if constexpr (kStream) _mm512_stream_si512(reinterpret_cast<__m512i*>(to), v);
  else _mm512_storeu_si512(to, v);
}
template <bool kStream>
FS_INLINE void transpose_tile(const char* from, int64_t from_stride, char* to, int64_t to_stride) {
  __m512i r[16], t[16];
  for (int i = 0; i < 16; ++i) r[i] = _mm512_loadu_si512(from + i * from_stride);
  for (int i = 0; i < 8; ++i) {
    t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
  }
  for (int i = 0; i < 4; ++i) {
    r[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
    r[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
  }
  // r[4q + c]: 128-bit part b holds column 4b + c of rows 4q … 4q + 3.
  for (int c = 0; c < 4; ++c) {
    const __m512i a = _mm512_shuffle_i32x4(r[c], r[4 + c], 0x44), b = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0x44);
    const __m512i d = _mm512_shuffle_i32x4(r[c], r[4 + c], 0xee), e = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0xee);
    put<kStream>(to + c * to_stride, _mm512_shuffle_i32x4(a, b, 0x88));
    put<kStream>(to + (4 + c) * to_stride, _mm512_shuffle_i32x4(a, b, 0xdd));
    put<kStream>(to + (8 + c) * to_stride, _mm512_shuffle_i32x4(d, e, 0x88));
    put<kStream>(to + (12 + c) * to_stride, _mm512_shuffle_i32x4(d, e, 0xdd));
  }
}
#elif defined(__AVX2__)
constexpr int64_t kTile = 8;
template <bool kStream>
FS_INLINE void put(char* to, __m256 v) {
  if constexpr (kStream) _mm256_stream_ps(reinterpret_cast<float*>(to), v);
  else _mm256_storeu_ps(reinterpret_cast<float*>(to), v);
}
template <bool kStream>
FS_INLINE void transpose_tile(const char* from, int64_t from_stride, char* to, int64_t to_stride) {
  __m256 r[8], t[8];
  for (int i = 0; i < 8; ++i) r[i] = _mm256_loadu_ps(reinterpret_cast<const float*>(from + i * from_stride));
  for (int i = 0; i < 4; ++i) {
    t[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
  }
  for (int i = 0; i < 2; ++i) {
    r[4 * i] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0x44);
    r[4 * i + 1] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0xee);
    r[4 * i + 2] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0x44);
    r[4 * i + 3] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0xee);
  }
  for (int c = 0; c < 4; ++c) {
    put<kStream>(to + c * to_stride, _mm256_permute2f128_ps(r[c], r[4 + c], 0x20));
    put<kStream>(to + (4 + c) * to_stride, _mm256_permute2f128_ps(r[c], r[4 + c], 0x31));
  }
}
#else
constexpr int64_t kTile = 4;
template <bool kStream>
FS_INLINE void transpose_tile(const char* from, int64_t from_stride, char* to, int64_t to_stride) {
  typedef uint32_t U4 __attribute__((vector_size(16)));
  U4 r[4];
  for (int i = 0; i < 4; ++i) __builtin_memcpy(&r[i], from + i * from_stride, 16);
  const U4 a = __builtin_shuffle(r[0], r[1], U4{0, 4, 1, 5}), b = __builtin_shuffle(r[2], r[3], U4{0, 4, 1, 5});
  const U4 c = __builtin_shuffle(r[0], r[1], U4{2, 6, 3, 7}), d = __builtin_shuffle(r[2], r[3], U4{2, 6, 3, 7});
  const U4 out[4] = {__builtin_shuffle(a, b, U4{0, 1, 4, 5}), __builtin_shuffle(a, b, U4{2, 3, 6, 7}),
                     __builtin_shuffle(c, d, U4{0, 1, 4, 5}), __builtin_shuffle(c, d, U4{2, 3, 6, 7})};
  for (int i = 0; i < 4; ++i) __builtin_memcpy(to + i * to_stride, &out[i], 16);
}
#endif

// rows x cols block of the output: element (i, j) from `from + i * size + j * from_stride` to `to + i * to_stride + j
// * size`. Tiles run along the source's rows, which the hardware prefetches.
template <class U, bool kStream>
void transpose_block(const char* from, int64_t from_stride, char* to, int64_t to_stride, int64_t rows, int64_t cols) {
  constexpr int64_t kSize = sizeof(U);
  if constexpr (kSize == 4) {
    const int64_t whole_rows = rows / kTile * kTile;
    int64_t j = 0;
    for (; j + kTile <= cols; j += kTile)
      for (int64_t i = 0; i < whole_rows; i += kTile)
        transpose_tile<kStream>(from + i * kSize + j * from_stride, from_stride, to + i * to_stride + j * kSize,
                                to_stride);
    for (; j < cols; ++j)
      for (int64_t i = 0; i < whole_rows; ++i)
        *reinterpret_cast<U*>(to + i * to_stride + j * kSize) =
            *reinterpret_cast<const U*>(from + i * kSize + j * from_stride);
    for (int64_t i = whole_rows; i < rows; ++i)
      move_row<U>(from + i * kSize, from_stride, to + i * to_stride, kSize, cols);
  } else {
    // Small tiles, so that the lines of both sides stay in L1.
    for (int64_t j = 0; j < cols; j += 16)
      for (int64_t i = 0; i < rows; i += 16) {
        const int64_t i_end = i + 16 < rows ? i + 16 : rows, n = j + 16 < cols ? 16 : cols - j;
        for (int64_t k = i; k < i_end; ++k)
          move_row<U>(from + k * kSize + j * from_stride, from_stride, to + k * to_stride + j * kSize, kSize, n);
      }
  }
}

// The loop's last two dimensions are swapped between the operands: operand 0 (output) runs along the last, operand 1
// along the one before it. Blocks are spread over the threads.
void copy_transposed(const StridedLoop& loop, int outer_dim, int64_t size) {
  constexpr int64_t kRows = 256, kCols = 64;
  const int last = loop.ndim - 1;
  const int64_t rows = loop.sizes[outer_dim], cols = loop.sizes[last];
  const int64_t row_blocks = (rows + kRows - 1) / kRows, col_blocks = (cols + kCols - 1) / kCols;
  int64_t outer = 1;
  for (int i = 0; i < last; ++i)
    if (i != outer_dim) outer *= loop.sizes[i];
  const int64_t blocks = outer * row_blocks * col_blocks;
  const int64_t block_elements = (rows < kRows ? rows : kRows) * (cols < kCols ? cols : kCols);
  // Lines come back several times to caches that do not hold everything: then whole lines written past them pay
  // early.
  bool stream = size == 4 && kTile * size == 64 && 2 * loop.numel * size > last_cache_bytes() / 4 * 5 &&
                (reinterpret_cast<uintptr_t>(loop.base[0]) & 63) == 0;
  for (int i = 0; i < last; ++i) stream &= (loop.strides[0][i] & 63) == 0;
  const int64_t per_chunk = 16384 / (block_elements ? block_elements : 1);
  parallel_for(blocks, per_chunk > 1 ? per_chunk : 1, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      const int64_t cb = block % col_blocks, rb = block / col_blocks % row_blocks;
      int64_t rest = block / (col_blocks * row_blocks);
      char* to = loop.base[0];
      const char* from = loop.base[1];
      for (int i = last - 1; i >= 0; --i) {
        if (i == outer_dim) continue;
        const int64_t index = rest % loop.sizes[i];
        rest /= loop.sizes[i];
        to += index * loop.strides[0][i];
        from += index * loop.strides[1][i];
      }
      const int64_t i0 = rb * kRows, j0 = cb * kCols;
      const int64_t h = rows - i0 < kRows ? rows - i0 : kRows, w = cols - j0 < kCols ? cols - j0 : kCols;
      to += i0 * loop.strides[0][outer_dim] + j0 * size;
      from += i0 * size + j0 * loop.strides[1][last];
      const int64_t fs = loop.strides[1][last], ts = loop.strides[0][outer_dim];
      switch (size) {
        case 1: transpose_block<uint8_t, false>(from, fs, to, ts, h, w); break;
        case 2: transpose_block<uint16_t, false>(from, fs, to, ts, h, w); break;
        case 4:
          if (stream) transpose_block<uint32_t, true>(from, fs, to, ts, h, w);
          else transpose_block<uint32_t, false>(from, fs, to, ts, h, w);
          break;
        default: transpose_block<uint64_t, false>(from, fs, to, ts, h, w); break;
      }
    }
    if (stream) stream_fence();
  });
}

void copy_view(const TensorView& out, const TensorView& in) {
  const int64_t size = static_cast<int64_t>(dtype_size(out.dtype));
  const bool same = in.dtype == out.dtype;
  if (in.contiguous && out.contiguous) {
    char* to = static_cast<char*>(out.data);
    const char* from = static_cast<const char*>(in.data);
    if (to == from && same) return;
    if (same) return copy_bytes(to, from, out.numel * size);
    const int64_t from_size = static_cast<int64_t>(dtype_size(in.dtype));
    const ConvertRow row = converter(out.dtype, in.dtype);
    const bool stream = bypasses_caches(out.numel * from_size, out.numel * size);
    return parallel_for(out.numel, 16384, [&](int64_t b, int64_t e) {
      if (!stream) return row(from + b * from_size, from_size, to + b * size, size, e - b);
      alignas(64) char block[4096];  // converted in L1, then written past the caches
      const int64_t step = 4096 / size;
      for (int64_t i = b; i < e; i += step) {
        const int64_t n = e - i < step ? e - i : step;
        row(from + i * from_size, from_size, block, size, n);
        stream_bytes(to + i * size, block, n * size);
      }
      stream_fence();
    });
  }
  StridedLoop loop;
  loop.init(out);
  loop.add(out);
  loop.add(in);
  loop.finish();
  if (same && loop.ndim >= 2 && loop.row_stride(0) == size && loop.row_stride(1) != size && loop.row_size() >= 4) {
    for (int d = loop.ndim - 2; d >= 0; --d)
      if (loop.strides[1][d] == size && loop.sizes[d] >= 4) return copy_transposed(loop, d, size);
  }
  if (same && loop.ndim >= 2 && loop.row_stride(0) == size && loop.row_stride(1) == size &&
      loop.row_size() * size <= 2048)
    return copy_short_rows(loop, size);
  const ConvertRow row = same ? mover(size) : converter(out.dtype, in.dtype);
  const int64_t from_stride = loop.row_stride(1), to_stride = loop.row_stride(0);
  parallel_for(loop.numel, 16384, [&](int64_t b, int64_t e) {
    loop.for_rows(b, e, [&](char* const* p, int64_t n) { row(p[1], from_stride, p[0], to_stride, n); });
  });
}

}  // namespace

void copy_elements(const TensorView& out, const TensorView& in) { copy_view(out, in); }

// out[0] <- in[0], cast to out's dtype; any strides (0 where broadcast).
void copy(const KernelArgs& args) { copy_view(args.out[0], args.in[0]); }

// out[0] (the memory of in[0]) <- in[1].
void copy_into(const KernelArgs& args) { copy_view(args.out[0], args.in[1]); }

// out[0] <- attrs' number; in[0] is out's own memory and is not read.
void fill(const KernelArgs& args) {
  const TensorView& out = args.out[0];
  const Scalar s = args.attrs<FillAttrs>().value;
  const int64_t size = static_cast<int64_t>(dtype_size(out.dtype));
  alignas(64) char value[kVecBytes];
  dispatch_all(out.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T x = s.kind == Scalar::kFloat ? convert_element<T>(s.d) : convert_element<T>(s.i);
    for (int64_t i = 0; i < kVecBytes; i += size) __builtin_memcpy(value + i, &x, sizeof(T));
  });
  if (out.contiguous) {
    char* to = static_cast<char*>(out.data);
    const int64_t bytes = out.numel * size;
    const Vec<uint8_t> pattern = Vec<uint8_t>::load(reinterpret_cast<const uint8_t*>(value));
    bool one_byte = true;  // such as zeros: the library's memset knows how to fill lines without reading them
    for (int i = 1; i < size; ++i) one_byte &= value[i] == value[0];
    if (one_byte && bytes > 4096) {
      return parallel_for(bytes, kChunkBytes, [&](int64_t b, int64_t e) {
        __builtin_memset(to + b, value[0], static_cast<size_t>(e - b));
      });
    }
    const bool stream = bypasses_caches(0, bytes) && (reinterpret_cast<uintptr_t>(to) & 63) == 0;
    return parallel_for(bytes, kChunkBytes, [&](int64_t b, int64_t e) {
      int64_t i = b;
      for (; i + kVecBytes <= e; i += kVecBytes) {
        if (stream) pattern.stream(reinterpret_cast<uint8_t*>(to + i));
        else pattern.store(reinterpret_cast<uint8_t*>(to + i));
      }
      __builtin_memcpy(to + i, value, static_cast<size_t>(e - i));
      if (stream) stream_fence();
    });
  }
  StridedLoop loop;
  loop.init(out);
  loop.add(out);
  loop.finish();
  const ConvertRow row = mover(size);
  const int64_t stride = loop.row_stride(0);
  parallel_for(loop.numel, 16384, [&](int64_t b, int64_t e) {
    loop.for_rows(b, e, [&](char* const* p, int64_t n) { row(value, 0, p[0], stride, n); });
  });
}

}  // namespace fireseed::cpu::FS_ISA

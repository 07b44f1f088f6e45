// The pointwise driver: see cpu/pointwise.h.
#include "cpu/pointwise.h"

#include "base/cache.h"
#include "base/parallel.h"
#include "cpu/copy.h"
#include "cpu/scratch.h"
#include "cpu/strided_loop.h"

namespace fireseed::cpu::FS_ISA {

namespace {

constexpr int64_t kChunk = 16384;  // elements a thread claims at once
constexpr int64_t kBlock = 512;    // elements converted or gathered at once: stays in L1
constexpr int kMaxOperands = kMaxPointwiseInputs + 1;

// How the core sees one operand.
struct Operand {
  DType half = DType::kUndefined;  // kFloat16 or kBFloat16 where it is converted
  int64_t size = 0;                // bytes of an element in memory
  int64_t core_size = 0;           // and for the core
};

struct Plan {
  PointwiseCore core;
  const void* attrs;
  int num;  // operands, the output first
  bool any_half = false;
  bool stream = false;
  Operand operand[kMaxOperands];
};

// `value` in every lane of a register's worth of memory.
template <class U>
FS_INLINE void splat_as(char* to, const char* value) {
  U x;
  __builtin_memcpy(&x, value, sizeof x);
  Vec<U>(x).store(reinterpret_cast<U*>(to));
}
void splat(char* to, const char* value, int64_t size) {
  switch (size) {
    case 1: return splat_as<int8_t>(to, value);
    case 2: return splat_as<int16_t>(to, value);
    case 4: return splat_as<int32_t>(to, value);
    default: return splat_as<int64_t>(to, value);
  }
}

template <class S>
void widen_block(const char* from, float* to, int64_t n) {
  const S* s = reinterpret_cast<const S*>(from);
  int64_t i = 0;
  for (; i + VecF::kSize <= n; i += VecF::kSize) load_float(s + i).store(to + i);
  if (i < n) load_float(s + i, static_cast<int>(n - i)).store(to + i, static_cast<int>(n - i));
}
template <class S>
void narrow_block(const float* from, char* to, int64_t n) {
  S* d = reinterpret_cast<S*>(to);
  int64_t i = 0;
  for (; i + VecF::kSize <= n; i += VecF::kSize) store_float(d + i, VecF::load(from + i));
  if (i < n) store_float(d + i, VecF::load(from + i, static_cast<int>(n - i)), static_cast<int>(n - i));
}
void widen(DType half, const char* from, char* to, int64_t n) {
  float* d = reinterpret_cast<float*>(to);
  if (half == DType::kFloat16) widen_block<float16>(from, d, n);
  else widen_block<bfloat16>(from, d, n);
}
void narrow_to(DType half, const char* from, char* to, int64_t n) {
  const float* s = reinterpret_cast<const float*>(from);
  if (half == DType::kFloat16) narrow_block<float16>(s, to, n);
  else narrow_block<bfloat16>(s, to, n);
}

template <class U>
void copy_strided(const char* from, int64_t from_stride, char* to, int64_t to_stride, int64_t n) {
  for (int64_t i = 0; i < n; ++i)
    *reinterpret_cast<U*>(to + i * to_stride) = *reinterpret_cast<const U*>(from + i * from_stride);
}
void copy_strided(int64_t size, const char* from, int64_t from_stride, char* to, int64_t to_stride, int64_t n) {
  switch (size) {
    case 1: return copy_strided<uint8_t>(from, from_stride, to, to_stride, n);
    case 2: return copy_strided<uint16_t>(from, from_stride, to, to_stride, n);
    case 4: return copy_strided<uint32_t>(from, from_stride, to, to_stride, n);
    default: return copy_strided<uint64_t>(from, from_stride, to, to_stride, n);
  }
}

struct Buffers {
  alignas(64) char core[kMaxOperands][kBlock * 8];  // what the core reads and writes
  alignas(64) char raw[kBlock * 2];                 // strided halves before conversion
};

// A piece of a row: operand k starts at p[k] and has `stride[k]` bytes from element to element.
void run_row(const Plan& plan, char* const* p, const int64_t* stride, int64_t count, Buffers& buffers) {
  char* q[kMaxOperands];
  int64_t step[kMaxOperands];
  int64_t advance[kMaxOperands];  // bytes q moves on from block to block where it points into the operand itself
  bool buffered = false;
  for (int k = 0; k < plan.num; ++k) {
    const Operand& o = plan.operand[k];
    step[k] = 1;
    advance[k] = 0;
    if (o.half == DType::kUndefined && stride[k] == o.size) {
      q[k] = p[k];
      advance[k] = o.size;
    } else {
      q[k] = buffers.core[k];
      if (k > 0 && stride[k] == 0) {
        step[k] = 0;
        if (o.half != DType::kUndefined) {
          float value;
          widen(o.half, p[k], reinterpret_cast<char*>(&value), 1);
          splat(q[k], reinterpret_cast<const char*>(&value), 4);
        } else {
          splat(q[k], p[k], o.size);
        }
      } else {
        buffered = true;
      }
    }
  }
  if (!buffered) {
    plan.core(q, step, count, plan.attrs, plan.stream);
    return;
  }
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    const int64_t n = count - begin < kBlock ? count - begin : kBlock;
    for (int k = 1; k < plan.num; ++k) {
      const Operand& o = plan.operand[k];
      if (advance[k] || step[k] == 0) continue;
      const char* from = p[k] + begin * stride[k];
      if (o.half == DType::kUndefined) {
        copy_strided(o.size, from, stride[k], buffers.core[k], o.size, n);
      } else if (stride[k] == o.size) {
        widen(o.half, from, buffers.core[k], n);
      } else {
        copy_strided(o.size, from, stride[k], buffers.raw, o.size, n);
        widen(o.half, buffers.raw, buffers.core[k], n);
      }
    }
    plan.core(q, step, n, plan.attrs, plan.stream && advance[0]);
    if (!advance[0]) {
      const Operand& o = plan.operand[0];
      char* to = p[0] + begin * stride[0];
      if (o.half == DType::kUndefined) {
        copy_strided(o.size, buffers.core[0], o.size, to, stride[0], n);
      } else if (stride[0] == o.size) {
        narrow_to(o.half, buffers.core[0], to, n);
      } else {
        narrow_to(o.half, buffers.core[0], buffers.raw, n);
        copy_strided(o.size, buffers.raw, o.size, to, stride[0], n);
      }
    }
    for (int k = 0; k < plan.num; ++k) q[k] += advance[k] * n;
  }
}

// How an operand lies under rows too short to be worth a call of the core each.
enum class Short : uint8_t {
  kFlat,      // contiguous across rows
  kPeriodic,  // the same row again and again
  kGathered,
};

Short short_kind(const StridedLoop& loop, int k, int64_t size) {
  bool flat = true, periodic = k > 0;
  int64_t expected = size;
  for (int i = loop.ndim - 1; i >= 0; --i) {
    flat &= loop.strides[k][i] == expected;
    expected *= loop.sizes[i];
    if (i < loop.ndim - 1) periodic &= loop.strides[k][i] == 0;
  }
  return flat ? Short::kFlat : periodic ? Short::kPeriodic : Short::kGathered;
}

// Elements [begin, end) of a loop with short rows, in blocks of whole rows: flat operands are used where they lie,
// repeated rows are laid out once, the rest is gathered block by block.
void run_short_rows(const Plan& plan, const StridedLoop& loop, int64_t begin, int64_t end, Buffers& buffers) {
  const int64_t row = loop.row_size(), block = kBlock / row * row;
  int64_t step[kMaxOperands];
  char* q[kMaxOperands];
  Short kind[kMaxOperands];
  bool gathers = false;
  for (int k = 0; k < plan.num; ++k) {
    const Operand& o = plan.operand[k];
    step[k] = 1;
    q[k] = buffers.core[k];
    kind[k] = short_kind(loop, k, o.size);
    gathers |= kind[k] == Short::kGathered && k > 0;
    if (kind[k] != Short::kPeriodic) continue;
    const int64_t total = end - begin < block ? end - begin : block, stride = loop.row_stride(k);
    char* to = o.half == DType::kUndefined ? buffers.core[k] : buffers.raw;
    for (int64_t done = 0, phase = begin % row; done < total; phase = 0) {
      const int64_t n = row - phase < total - done ? row - phase : total - done;
      copy_strided(o.size, loop.base[k] + phase * stride, stride, to + done * o.size, o.size, n);
      done += n;
    }
    if (o.half != DType::kUndefined) widen(o.half, buffers.raw, buffers.core[k], total);
  }
  for (; begin < end; begin += block) {
    const int64_t stop = end - begin < block ? end : begin + block, n = stop - begin;
    if (gathers) {
      int64_t done = 0;
      loop.for_rows(begin, stop, [&](char* const* p, int64_t count) {
        for (int k = 1; k < plan.num; ++k) {
          if (kind[k] != Short::kGathered) continue;
          const int64_t size = plan.operand[k].size;
          copy_strided(size, p[k], loop.row_stride(k), buffers.core[k] + done * size, size, count);
        }
        done += count;
      });
    }
    for (int k = 1; k < plan.num; ++k) {
      const Operand& o = plan.operand[k];
      if (kind[k] == Short::kFlat) {
        char* from = loop.base[k] + begin * o.size;
        if (o.half == DType::kUndefined) q[k] = from;
        else widen(o.half, from, buffers.core[k], n);
      } else if (kind[k] == Short::kGathered && o.half != DType::kUndefined) {
        __builtin_memcpy(buffers.raw, buffers.core[k], static_cast<size_t>(n) * 2);
        widen(o.half, buffers.raw, buffers.core[k], n);
      }
    }
    const Operand& o = plan.operand[0];
    const bool direct = kind[0] == Short::kFlat && o.half == DType::kUndefined;
    if (direct) q[0] = loop.base[0] + begin * o.size;
    plan.core(q, step, n, plan.attrs, false);
    if (direct) continue;
    if (kind[0] == Short::kFlat) {
      narrow_to(o.half, buffers.core[0], loop.base[0] + begin * o.size, n);
      continue;
    }
    const char* result = buffers.core[0];
    if (o.half != DType::kUndefined) {
      narrow_to(o.half, buffers.core[0], buffers.raw, n);
      result = buffers.raw;
    }
    int64_t written = 0;
    loop.for_rows(begin, stop, [&](char* const* p, int64_t count) {
      copy_strided(o.size, result + written * o.size, o.size, p[0], loop.row_stride(0), count);
      written += count;
    });
  }
}

[[gnu::noinline]] void run_strided(const KernelArgs& args, const Plan& plan) {
  StridedLoop loop;
  loop.init(args.out[0]);
  loop.add(args.out[0]);
  for (int k = 1; k < plan.num; ++k) loop.add(args.in[k - 1]);
  loop.finish();
  int64_t stride[kMaxOperands];
  for (int k = 0; k < plan.num; ++k) stride[k] = loop.row_stride(k);
  const bool short_rows = loop.row_size() < 32 && loop.ndim > 1;
  parallel_for(loop.numel, kChunk, [&](int64_t begin, int64_t end) {
    Buffers buffers;
    if (short_rows) {
      run_short_rows(plan, loop, begin, end, buffers);
    } else {
      loop.for_rows(begin, end, [&](char* const* p, int64_t count) { run_row(plan, p, stride, count, buffers); });
      if (plan.stream) stream_fence();
    }
  });
}

// The last dimension of v is walked with a long stride though another one is contiguous (a transposed operand beside
// a contiguous result): every row would touch a line for each element.
bool is_transposed(const TensorView& v) {
  if (v.numel < 4096 || v.ndim < 2) return false;
  int last = v.ndim - 1;
  while (last > 0 && v.sizes[last] == 1) --last;
  if (v.sizes[last] < 16 || v.strides[last] < 16) return false;
  for (int i = 0; i < last; ++i)
    if (v.strides[i] == 1 && v.sizes[i] >= 8) return true;
  return false;
}

// Memory that a walk through v touches: broadcast dimensions count once.
int64_t spanned_bytes(const TensorView& v) {
  int64_t n = static_cast<int64_t>(dtype_size(v.dtype));
  for (int i = 0; i < v.ndim; ++i)
    if (v.strides[i] != 0) n *= v.sizes[i];
  return n;
}

bool is_uniform(const TensorView& v) {
  for (int i = 0; i < v.ndim; ++i)
    if (v.strides[i] != 0 && v.sizes[i] != 1) return false;
  return true;
}

}  // namespace

void run_pointwise(const KernelArgs& args, PointwiseCore core, const void* attrs) {
  const TensorView& out = args.out[0];
  const int64_t n = out.numel;
  // Contiguous or single-valued operands without conversion: nothing but the core.
  if (out.contiguous && !is_half(out.dtype)) {
    char* p[kMaxOperands];
    int64_t step[kMaxOperands], size[kMaxOperands];
    alignas(64) char values[kMaxPointwiseInputs][kVecBytes];
    p[0] = static_cast<char*>(out.data);
    size[0] = static_cast<int64_t>(dtype_size(out.dtype));
    int64_t read = 0;  // bytes per element
    bool simple = true, in_place = false;
    for (int k = 0; k < args.num_in; ++k) {
      const TensorView& v = args.in[k];
      size[k + 1] = static_cast<int64_t>(dtype_size(v.dtype));
      p[k + 1] = static_cast<char*>(v.data);
      step[k + 1] = 1;
      in_place |= v.data == out.data;
      if (is_half(v.dtype)) {
        simple = false;
      } else if (!v.contiguous) {
        if (!is_uniform(v)) {
          simple = false;
        } else {
          step[k + 1] = 0;
          splat(values[k], static_cast<const char*>(v.data), size[k + 1]);
          p[k + 1] = values[k];
        }
      }
      read += size[k + 1] * step[k + 1];
    }
    if (simple) {
      if (n <= kChunk) return core(p, step, n, attrs, false);
      const bool stream = !in_place && bypasses_caches(n * read, n * size[0]);
      parallel_for(n, kChunk, [&](int64_t begin, int64_t end) {
        char* q[kMaxOperands];
        q[0] = p[0] + begin * size[0];
        for (int k = 1; k <= args.num_in; ++k) q[k] = p[k] + begin * size[k] * step[k];
        core(q, step, end - begin, attrs, stream);
        if (stream) stream_fence();
      });
      return;
    }
  }
  Plan plan;
  plan.core = core;
  plan.attrs = attrs;
  plan.num = args.num_in + 1;
  int64_t read = 0;
  bool in_place = false;
  for (int k = 0; k < plan.num; ++k) {
    const TensorView& v = k ? args.in[k - 1] : out;
    in_place |= k > 0 && v.data == out.data;
    if (k > 0) read += spanned_bytes(v);
    Operand& o = plan.operand[k];
    o.size = o.core_size = static_cast<int64_t>(dtype_size(v.dtype));
    if (is_half(v.dtype)) {
      o.half = v.dtype;
      o.core_size = 4;
    }
  }
  plan.stream = !in_place && bypasses_caches(read, n * plan.operand[0].size);
  // Transposed operands are laid out like the result first: blocked transposition is much faster than strided rows.
  TensorView in[kMaxPointwiseInputs];
  Scratch<char> laid_out[kMaxPointwiseInputs];
  Dims strides[kMaxPointwiseInputs];
  if (out.contiguous && n >= 4096) {
    for (int k = 0; k < args.num_in; ++k) {
      in[k] = args.in[k];
      if (!is_transposed(in[k])) continue;
      strides[k] = contiguous_strides(in[k].shape());
      laid_out[k].reset(n * plan.operand[k + 1].size);
      in[k].data = laid_out[k].data();
      in[k].strides = strides[k].d;
      in[k].contiguous = true;
      copy_elements(in[k], args.in[k]);
    }
    return run_strided(KernelArgs{in, args.out, args.num_in, 1, args.attrs_ptr}, plan);
  }
  run_strided(args, plan);
}

}  // namespace fireseed::cpu::FS_ISA

// Kernels that move and convert elements: copy, copy_into, fill; any strides, any dtypes.
#include "tensor/attrs/copy.h"

#include <algorithm>
#include <cstring>

#include "device/contiguous.cuh"
#include "device/vec.cuh"
#include "runtime/check.h"

namespace fireseed::cuda {
namespace {

// Note [Copies]
// Dimensions are put in the order that they have in the destination's memory, so that what has one layout on both
// sides is one run. Then, in this order: runs of one dtype are copied by the driver; transposes go through tiles in
// shared memory, so that both sides are read and written along their memory; the rest has a thread an element, of up
// to 16 bytes where neighbours stay neighbours.
constexpr int kCopyThreads = 256;

// Two views of the same sizes, dimensions in the order of the first one's strides.
struct Sorted {
  Dims sizes, to_strides, from_strides;
  TensorView to, from;
  Sorted(const TensorView& a, const TensorView& b) : to(a), from(b) {
    int order[kMaxRank];
    for (int d = 0; d < a.ndim; ++d) order[d] = d;
    const auto far = [](int64_t s) { return s < 0 ? -s : s; };
    std::stable_sort(order, order + a.ndim, [&](int x, int y) { return far(a.strides[x]) > far(a.strides[y]); });
    for (int i = 0; i < a.ndim; ++i) {
      sizes.push_back(a.sizes[order[i]]);
      to_strides.push_back(a.strides[order[i]]);
      from_strides.push_back(b.strides[order[i]]);
    }
    to.sizes = from.sizes = sizes.d;
    to.strides = to_strides.d;
    from.strides = from_strides.d;
  }
  Sorted(const Sorted&) = delete;
  Sorted& operator=(const Sorted&) = delete;
  Geometry<2> geometry() const { return Geometry<2>({&to, &from}); }
};

unsigned blocks_for(int64_t n) { return grid_for(n, kCopyThreads, 1 << 20); }

// ---- conversions -------------------------------------------------------------------------------------------

// An element on its way from one dtype to another: integers exactly, floats as double.
struct Value {
  int64_t i;
  double d;
  bool is_float;
};

__device__ inline Value load(const char* p, int64_t at, DType t) {
  switch (t) {
    case DType::kBool: return {reinterpret_cast<const uint8_t*>(p)[at] != 0, 0.0, false};
    case DType::kUInt8: return {reinterpret_cast<const uint8_t*>(p)[at], 0.0, false};
    case DType::kInt8: return {reinterpret_cast<const int8_t*>(p)[at], 0.0, false};
    case DType::kInt16: return {reinterpret_cast<const int16_t*>(p)[at], 0.0, false};
    case DType::kInt32: return {reinterpret_cast<const int32_t*>(p)[at], 0.0, false};
    case DType::kInt64: return {reinterpret_cast<const int64_t*>(p)[at], 0.0, false};
    case DType::kFloat16: return {0, load_as<float>(reinterpret_cast<const float16*>(p)[at]), true};
    case DType::kBFloat16: return {0, load_as<float>(reinterpret_cast<const bfloat16*>(p)[at]), true};
    case DType::kFloat32: return {0, reinterpret_cast<const float*>(p)[at], true};
    default: return {0, reinterpret_cast<const double*>(p)[at], true};
  }
}

__device__ inline int64_t truncated(double d) {  // as x86 does, and so the CPU kernels
  return d >= -9223372036854775808.0 && d < 9223372036854775808.0 ? static_cast<int64_t>(d) : INT64_MIN;
}

__device__ inline void store(char* p, int64_t at, DType t, Value v) {
  if (t == DType::kBool) {
    reinterpret_cast<uint8_t*>(p)[at] = v.is_float ? v.d != 0 : v.i != 0;
    return;
  }
  if (t >= DType::kFloat16) {
    if (t == DType::kFloat64) {
      reinterpret_cast<double*>(p)[at] = v.is_float ? v.d : static_cast<double>(v.i);
      return;
    }
    const float f = v.is_float ? static_cast<float>(v.d) : static_cast<float>(v.i);
    if (t == DType::kFloat32) reinterpret_cast<float*>(p)[at] = f;
    else if (t == DType::kFloat16) reinterpret_cast<float16*>(p)[at] = store_as<float16>(f);
    else reinterpret_cast<bfloat16*>(p)[at] = store_as<bfloat16>(f);
    return;
  }
  if (t == DType::kInt32 && v.is_float) {
    reinterpret_cast<int32_t*>(p)[at] =
        v.d > -2147483649.0 && v.d < 2147483648.0 ? static_cast<int32_t>(v.d) : INT32_MIN;
    return;
  }
  const int64_t i = v.is_float ? truncated(v.d) : v.i;
  switch (t) {
    case DType::kUInt8: reinterpret_cast<uint8_t*>(p)[at] = static_cast<uint8_t>(i); return;
    case DType::kInt8: reinterpret_cast<int8_t*>(p)[at] = static_cast<int8_t>(i); return;
    case DType::kInt16: reinterpret_cast<int16_t*>(p)[at] = static_cast<int16_t>(i); return;
    case DType::kInt32: reinterpret_cast<int32_t*>(p)[at] = static_cast<int32_t>(i); return;
    default: reinterpret_cast<int64_t*>(p)[at] = i; return;
  }
}

__global__ void __launch_bounds__(kCopyThreads)
    convert_elements(char* to, DType to_dtype, const char* from, DType from_dtype,
                     const __grid_constant__ StridedIndex<2, int32_t> index, int64_t n) {
  for (int64_t i = grid_thread(); i < n; i += grid_threads()) {
    int32_t at[2];
    index.offsets(static_cast<int32_t>(i), at);
    store(to, at[0], to_dtype, load(from, at[1], from_dtype));
  }
}

// Four elements a thread: the pairs that mixed precision uses.
template <class To, class From>
__global__ void __launch_bounds__(kCopyThreads) convert_floats_kernel(To* to, const From* from, int64_t n) {
  for (int64_t i = 4 * grid_thread(); i < n; i += 4 * grid_threads()) {
    if (i + 4 <= n) {
      const auto x = Vec<From, 4>::load_global(from + i);
      Vec<To, 4> y;
#pragma unroll
      for (int k = 0; k < 4; ++k) y.v[k] = store_as<To>(load_as<float>(x.v[k]));
      y.store_global(to + i);
    } else {
      for (int64_t k = i; k < n; ++k) to[k] = store_as<To>(load_as<float>(from[k]));
    }
  }
}
template <class To, class From>
bool convert_floats(const TensorView& to, const TensorView& from) {
  if (to.dtype != dtype_of<To>::value || from.dtype != dtype_of<From>::value) return false;
  if (!aligned_for(to.data, 4 * sizeof(To)) || !aligned_for(from.data, 4 * sizeof(From))) return false;
  FS_LAUNCH((convert_floats_kernel<To, From>), blocks_for((to.numel + 3) / 4), kCopyThreads, 0, current_stream(),
            to.ptr<To>(), from.ptr<const From>(), to.numel);
  return true;
}

// ---- moving ------------------------------------------------------------------------------------------------

template <class U>
__global__ void __launch_bounds__(kCopyThreads)
    move_elements(U* to, const U* from, const __grid_constant__ StridedIndex<2, int32_t> index, int64_t n) {
  for (int64_t i = grid_thread(); i < n; i += grid_threads()) {
    int32_t at[2];
    index.offsets(static_cast<int32_t>(i), at);
    to[at[0]] = from[at[1]];
  }
}

// Batches of matrices whose one dimension, a, is contiguous in the destination and the other, b, in the source.
struct Transpose {
  int64_t a, b;  // sizes
  int64_t to_b, from_a;
  int64_t tiles_a, tiles_b, tiles;
  StridedIndex<2, int64_t> batch;
};
template <class U>
inline constexpr int kTile = sizeof(U) <= 2 ? 64 : 32;
// Lanes that read a column find each its own bank.
template <class U>
inline constexpr int kTilePad = sizeof(U) < 4 ? 4 / static_cast<int>(sizeof(U)) : 1;

// Compiles to: no spills
template <class U, int kBlock>
__global__ void __launch_bounds__(kBlock) transpose_tiles(U* to, const U* from, const __grid_constant__ Transpose c) {
  constexpr int kSide = kTile<U>, kRows = kBlock / 32;
  FS_SHARED(U, tile, [kSide][kSide + kTilePad<U>]);
  const int lane = static_cast<int>(threadIdx.x) % 32, first = static_cast<int>(threadIdx.x) / 32;
  for (int64_t t = blockIdx.x; t < c.tiles; t += gridDim.x) {
    const int64_t ta = t % c.tiles_a, rest = t / c.tiles_a, a0 = ta * kSide, b0 = rest % c.tiles_b * kSide;
    int64_t at[2];
    c.batch.offsets(rest / c.tiles_b, at);
#pragma unroll
    for (int k = 0; k < kSide / kRows; ++k)
#pragma unroll
      for (int u = 0; u < kSide / 32; ++u) {
        const int r = first + k * kRows, x = lane + u * 32;
        if (a0 + r < c.a && b0 + x < c.b) tile[r][x] = from[at[1] + (a0 + r) * c.from_a + b0 + x];
      }
    __syncthreads();
#pragma unroll
    for (int k = 0; k < kSide / kRows; ++k)
#pragma unroll
      for (int u = 0; u < kSide / 32; ++u) {
        const int r = first + k * kRows, x = lane + u * 32;
        if (b0 + r < c.b && a0 + x < c.a) to[at[0] + (b0 + r) * c.to_b + a0 + x] = tile[x][r];
      }
    __syncthreads();  // the tile is written again
  }
}

// Dimensions a and b of a transpose worth tiles, or false.
bool find_transpose(const Geometry<2>& g, int& a, int& b) {
  constexpr int64_t kLeast = 8;
  a = b = -1;
  for (int i = 0; i < g.ndim(); ++i) {
    if (g.stride(0, i) == 1) a = i;
    if (g.stride(1, i) == 1) b = i;
  }
  return a >= 0 && b >= 0 && g.stride(1, a) != 1 && g.size(a) >= kLeast && g.size(b) >= kLeast;
}

template <class U>
void transpose(const Geometry<2>& g, int a, int b) {
  Transpose c{g.size(a), g.size(b), g.stride(0, b), g.stride(1, a), 0, 0, 0, g.without(a, b).index<int64_t>()};
  c.tiles_a = (c.a + kTile<U> - 1) / kTile<U>;
  c.tiles_b = (c.b + kTile<U> - 1) / kTile<U>;
  c.tiles = c.tiles_a * c.tiles_b * (g.numel() / (c.a * c.b));
  FS_LAUNCH((transpose_tiles<U, kCopyThreads>), grid_for(c.tiles, 1, 1 << 30), kCopyThreads, 0, current_stream(),
            reinterpret_cast<U*>(g.data(0)), reinterpret_cast<const U*>(g.data(1)), c);
}

// Calls f(U{}) for U of 1, 2, 4, 8 or 16 bytes.
template <class F>
void dispatch_bytes(int64_t bytes, const F& f) {
  switch (bytes) {
    case 1: return f(uint8_t{});
    case 2: return f(uint16_t{});
    case 4: return f(uint32_t{});
    case 8: return f(uint64_t{});
    default: return f(Vec<uint32_t, 4>{});
  }
}

void move_elementwise(const Geometry<2>& g, int64_t bytes) {
  int64_t pack = 1;  // neighbours that are moved as one
  for (int64_t p = 16 / bytes; p > 1 && pack == 1; p /= 2)
    if (g.packs(p) && aligned_for(g.data(0), static_cast<size_t>(p * bytes)) &&
        aligned_for(g.data(1), static_cast<size_t>(p * bytes)))
      pack = p;
  const int64_t width = bytes * pack;
  g.packed(pack).in_parts({width, width}, [&](const Geometry<2>& part) {
    dispatch_bytes(width, [&](auto unit) {
      using U = decltype(unit);
      FS_LAUNCH((move_elements<U>), blocks_for(part.numel()), kCopyThreads, 0, current_stream(),
                reinterpret_cast<U*>(part.data(0)), reinterpret_cast<const U*>(part.data(1)),
                part.template index<int32_t>(), part.numel());
    });
  });
}

void copy_view(const TensorView& to, const TensorView& from) {
  if (to.numel == 0) return;
  if (to.dtype == from.dtype) return move_view(to, from);
  const Sorted sorted(to, from);
  const Geometry<2> g = sorted.geometry();
  if (g.is_flat(0) && g.is_flat(1) &&
      (convert_floats<bfloat16, float>(to, from) || convert_floats<float, bfloat16>(to, from) ||
       convert_floats<float16, float>(to, from) || convert_floats<float, float16>(to, from)))
    return;
  const auto bytes = [](DType t) { return static_cast<int64_t>(dtype_size(t)); };
  g.in_parts({bytes(to.dtype), bytes(from.dtype)}, [&](const Geometry<2>& part) {
    FS_LAUNCH(convert_elements, blocks_for(part.numel()), kCopyThreads, 0, current_stream(), part.data(0), to.dtype,
              part.data(1), from.dtype, part.index<int32_t>(), part.numel());
  });
}

// ---- filling -----------------------------------------------------------------------------------------------

template <class U>
__global__ void __launch_bounds__(kCopyThreads)
    fill_elements(U* to, U value, const __grid_constant__ StridedIndex<1, int32_t> index, int64_t n) {
  for (int64_t i = grid_thread(); i < n; i += grid_threads()) to[index.offset(static_cast<int32_t>(i))] = value;
}
template <class U>
__global__ void __launch_bounds__(kCopyThreads) fill_flat(U* to, U value, int64_t n) {
  constexpr int kLanes = kVecSize<U>;
  Vec<U, kLanes> pack;
#pragma unroll
  for (int k = 0; k < kLanes; ++k) pack.v[k] = value;
  for (int64_t i = kLanes * grid_thread(); i < n; i += kLanes * grid_threads()) {
    if (i + kLanes <= n) {
      pack.store_global(to + i);
    } else {
      for (int64_t k = i; k < n; ++k) to[k] = value;
    }
  }
}

}  // namespace

void move_view(const TensorView& to, const TensorView& from) {
  if (to.numel == 0) return;
  const Sorted sorted(to, from);
  const Geometry<2> g = sorted.geometry();
  const auto bytes = static_cast<int64_t>(dtype_size(to.dtype));
  int a, b;
  if (g.is_flat(0) && g.is_flat(1)) {
    FS_CUDA(cudaMemcpyAsync(to.data, from.data, static_cast<size_t>(to.numel * bytes), cudaMemcpyDeviceToDevice,
                            current_stream()));
  } else if (find_transpose(g, a, b)) {
    dispatch_size(to.dtype, [&](auto tag) { transpose<typename decltype(tag)::type>(g, a, b); });
  } else {
    move_elementwise(g, bytes);
  }
}

void fill_view(const TensorView& to, uint64_t bits) {
  if (to.numel == 0) return;
  const Sorted sorted(to, to);
  const Geometry<1> g({&sorted.to});
  dispatch_size(to.dtype, [&](auto tag) {
    using U = typename decltype(tag)::type;
    const auto value = static_cast<U>(bits);
    if (g.is_flat(0) && aligned_for(to.data, 16)) {
      FS_LAUNCH((fill_flat<U>), blocks_for((to.numel + kVecSize<U> - 1) / kVecSize<U>), kCopyThreads, 0,
                current_stream(), to.ptr<U>(), value, to.numel);
      return;
    }
    g.in_parts({sizeof(U)}, [&](const Geometry<1>& part) {
      FS_LAUNCH((fill_elements<U>), blocks_for(part.numel()), kCopyThreads, 0, current_stream(),
                reinterpret_cast<U*>(part.data(0)), value, part.template index<int32_t>(), part.numel());
    });
  });
}

void copy(const KernelArgs& args) { copy_view(args.out[0], args.in[0]); }

// in = {dst, src}: src is broadcast to dst, which is also the output.
void copy_into(const KernelArgs& args) { copy_view(args.out[0], args.in[1]); }

void fill(const KernelArgs& args) {
  const TensorView& out = args.out[0];
  const Scalar value = args.attrs<FillAttrs>().value;
  dispatch_all(out.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    T typed;
    if constexpr (std::is_same_v<T, bool>) typed = value.to_bool();
    else if constexpr (std::is_same_v<T, float16> || std::is_same_v<T, bfloat16>)
      typed = T(static_cast<float>(value.to_double()));
    else if constexpr (std::is_floating_point_v<T>) typed = static_cast<T>(value.to_double());
    else typed = static_cast<T>(value.to_int());
    uint64_t bits = 0;
    std::memcpy(&bits, &typed, sizeof typed);
    fill_view(out, bits);
  });
}

}  // namespace fireseed::cuda

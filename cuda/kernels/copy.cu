// Kernels that move and convert elements: copy, copy_into, fill; any strides, any dtypes.
#include "tensor/attrs/copy.h"

#include <cstring>

#include "base/error.h"
#include "runtime/check.h"
#include "runtime/device.h"
#include "runtime/launch.h"
#include "runtime/stream.h"
#include "tensor/view.h"

#if defined(__CUDACC__)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

namespace fireseed::cuda {
namespace {

#if defined(__CUDACC__)
__device__ inline float to_float(float16 x) { return __half2float(__ushort_as_half(x.bits)); }
__device__ inline float to_float(bfloat16 x) { return __bfloat162float(__ushort_as_bfloat16(x.bits)); }
__device__ inline float to_float(float x) { return x; }
template <class T>
__device__ inline T from_float(float x) {
  T r;
  if constexpr (std::is_same_v<T, float16>) r.bits = __half_as_ushort(__float2half_rn(x));
  else if constexpr (std::is_same_v<T, bfloat16>) r.bits = __bfloat16_as_ushort(__float2bfloat16_rn(x));
  else r = x;
  return r;
}
#else
template <class T>
float to_float(T x) {
  return static_cast<float>(x);
}
template <class T>
T from_float(float x) {
  return T(x);
}
#endif

constexpr int kThreads = 256;

// Sizes and the strides of destination and source, dimensions merged and those of one element left out, innermost
// last.
struct Geometry {
  int ndim = 0;
  int64_t numel = 0;
  int64_t sizes[kMaxRank];
  int64_t to[kMaxRank], from[kMaxRank];
  bool contiguous() const { return ndim == 0 || (ndim == 1 && to[0] == 1 && from[0] == 1); }
  bool small() const {  // every offset fits in 31 bits
    int64_t a = 1, b = 1;
    for (int i = 0; i < ndim; ++i) {
      a += (sizes[i] - 1) * to[i];
      b += (sizes[i] - 1) * from[i];
    }
    return numel < (int64_t{1} << 31) && a < (int64_t{1} << 31) && b < (int64_t{1} << 31);
  }
};

Geometry merged(const TensorView& to, const TensorView& from) {
  Geometry g;
  g.numel = to.numel;
  for (int i = 0; i < to.ndim; ++i) {
    const int64_t n = to.sizes[i];
    if (n == 1) continue;
    if (g.ndim > 0 && g.to[g.ndim - 1] == n * to.strides[i] && g.from[g.ndim - 1] == n * from.strides[i]) {
      g.sizes[g.ndim - 1] *= n;
      g.to[g.ndim - 1] = to.strides[i];
      g.from[g.ndim - 1] = from.strides[i];
      continue;
    }
    g.sizes[g.ndim] = n;
    g.to[g.ndim] = to.strides[i];
    g.from[g.ndim] = from.strides[i];
    ++g.ndim;
  }
  return g;
}

template <class I>
struct DeviceGeometry {
  int ndim;
  I sizes[kMaxRank], to[kMaxRank], from[kMaxRank];
  explicit DeviceGeometry(const Geometry& g) : ndim(g.ndim) {
    for (int i = 0; i < g.ndim; ++i) {
      sizes[i] = static_cast<I>(g.sizes[i]);
      to[i] = static_cast<I>(g.to[i]);
      from[i] = static_cast<I>(g.from[i]);
    }
  }
  __device__ void offsets(I i, I& a, I& b) const {
    a = b = 0;
    for (int d = ndim - 1; d >= 0; --d) {
      const I q = i / sizes[d], r = i - q * sizes[d];
      a += r * to[d];
      b += r * from[d];
      i = q;
    }
  }
};

unsigned blocks_for(int64_t n) {
  const int64_t most = static_cast<int64_t>(multiprocessors()) * 16, want = (n + kThreads - 1) / kThreads;
  return static_cast<unsigned>(want < most ? want : most);
}

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
    case DType::kFloat16: return {0, to_float(reinterpret_cast<const float16*>(p)[at]), true};
    case DType::kBFloat16: return {0, to_float(reinterpret_cast<const bfloat16*>(p)[at]), true};
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
    else if (t == DType::kFloat16) reinterpret_cast<float16*>(p)[at] = from_float<float16>(f);
    else reinterpret_cast<bfloat16*>(p)[at] = from_float<bfloat16>(f);
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

template <class I>
__global__ void convert_kernel(char* to, DType to_dtype, const char* from, DType from_dtype, I n,
                               DeviceGeometry<I> g) {
  const I step = static_cast<I>(gridDim.x) * blockDim.x;
  for (I i = static_cast<I>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) {
    I a, b;
    g.offsets(i, a, b);
    store(to, static_cast<int64_t>(a), to_dtype, load(from, static_cast<int64_t>(b), from_dtype));
  }
}

// Four elements a thread: the pairs that mixed precision uses.
template <class To, class From>
__global__ void convert_floats_kernel(To* to, const From* from, int64_t n) {
  const int64_t step = 4 * static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = 4 * (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x); i < n; i += step) {
    if (i + 4 <= n) {
      struct alignas(4 * sizeof(From)) Four { From v[4]; };
      struct alignas(4 * sizeof(To)) FourTo { To v[4]; };
      const Four x = *reinterpret_cast<const Four*>(from + i);
      FourTo y;
      for (int k = 0; k < 4; ++k) y.v[k] = from_float<To>(to_float(x.v[k]));
      *reinterpret_cast<FourTo*>(to + i) = y;
    } else {
      for (int64_t k = i; k < n; ++k) to[k] = from_float<To>(to_float(from[k]));
    }
  }
}

template <class U, class I>
__global__ void move_kernel(U* to, const U* from, I n, DeviceGeometry<I> g) {
  const I step = static_cast<I>(gridDim.x) * blockDim.x;
  for (I i = static_cast<I>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) {
    I a, b;
    g.offsets(i, a, b);
    to[a] = from[b];
  }
}

template <class U, class I>
__global__ void fill_kernel(U* to, U value, I n, DeviceGeometry<I> g) {
  const I step = static_cast<I>(gridDim.x) * blockDim.x;
  for (I i = static_cast<I>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) {
    I a, b;
    g.offsets(i, a, b);
    to[a] = value;
  }
}

template <class U>
struct alignas(16) Pack {
  U v[16 / sizeof(U)];
};

template <class U>
__global__ void fill_contiguous_kernel(U* to, U value, int64_t n) {
  constexpr int kLanes = 16 / sizeof(U);
  Pack<U> pack;
  for (int k = 0; k < kLanes; ++k) pack.v[k] = value;
  const int64_t step = kLanes * static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = kLanes * (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x); i < n; i += step) {
    if (i + kLanes <= n) {
      *reinterpret_cast<Pack<U>*>(to + i) = pack;
    } else {
      for (int64_t k = i; k < n; ++k) to[k] = value;
    }
  }
}

// ---- launches ----------------------------------------------------------------------------------------------

bool aligned(const void* p, size_t bytes) { return reinterpret_cast<uintptr_t>(p) % bytes == 0; }

template <class F>
void with_index_type(const Geometry& g, F&& f) {
  // The loop's counter may pass n by one step of the whole grid.
  if (g.small() && g.numel < (int64_t{1} << 30)) f(uint32_t{});
  else f(uint64_t{});
}

template <class To, class From>
bool convert_floats(const TensorView& to, const TensorView& from) {
  if (to.dtype != dtype_of<To>::value || from.dtype != dtype_of<From>::value) return false;
  if (!aligned(to.data, 4 * sizeof(To)) || !aligned(from.data, 4 * sizeof(From))) return false;
  FS_LAUNCH((convert_floats_kernel<To, From>), blocks_for((to.numel + 3) / 4), kThreads, 0, current_stream(),
            to.ptr<To>(), from.ptr<const From>(), to.numel);
  return true;
}

void copy_view(const TensorView& to, const TensorView& from) {
  if (to.numel == 0) return;
  const Geometry g = merged(to, from);
  const cudaStream_t stream = current_stream();
  if (to.dtype == from.dtype) {
    if (g.contiguous()) {
      FS_CUDA(cudaMemcpyAsync(to.data, from.data, static_cast<size_t>(to.numel) * dtype_size(to.dtype),
                              cudaMemcpyDeviceToDevice, stream));
      return;
    }
    with_index_type(g, [&](auto index) {
      using I = decltype(index);
      dispatch_size(to.dtype, [&](auto tag) {
        using U = typename decltype(tag)::type;
        FS_LAUNCH((move_kernel<U, I>), blocks_for(g.numel), kThreads, 0, stream, to.ptr<U>(), from.ptr<const U>(),
                  static_cast<I>(g.numel), DeviceGeometry<I>(g));
      });
    });
    return;
  }
  if (g.contiguous() && (convert_floats<bfloat16, float>(to, from) || convert_floats<float, bfloat16>(to, from) ||
                         convert_floats<float16, float>(to, from) || convert_floats<float, float16>(to, from)))
    return;
  with_index_type(g, [&](auto index) {
    using I = decltype(index);
    FS_LAUNCH((convert_kernel<I>), blocks_for(g.numel), kThreads, 0, stream, to.ptr<char>(), to.dtype,
              from.ptr<const char>(), from.dtype, static_cast<I>(g.numel), DeviceGeometry<I>(g));
  });
}

}  // namespace

void copy(const KernelArgs& args) { copy_view(args.out[0], args.in[0]); }

// in = {dst, src}: src is broadcast to dst, which is also the output.
void copy_into(const KernelArgs& args) { copy_view(args.out[0], args.in[1]); }

void fill(const KernelArgs& args) {
  const TensorView& out = args.out[0];
  if (out.numel == 0) return;
  const Scalar value = args.attrs<FillAttrs>().value;
  const Geometry g = merged(out, out);
  const cudaStream_t stream = current_stream();
  dispatch_all(out.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    T typed;
    if constexpr (std::is_same_v<T, bool>) typed = value.to_bool();
    else if constexpr (std::is_same_v<T, float16> || std::is_same_v<T, bfloat16>)
      typed = T(static_cast<float>(value.to_double()));
    else if constexpr (std::is_floating_point_v<T>) typed = static_cast<T>(value.to_double());
    else typed = static_cast<T>(value.to_int());
    dispatch_size(out.dtype, [&](auto size) {
      using U = typename decltype(size)::type;
      if constexpr (sizeof(U) == sizeof(T)) {
        U bits;
        std::memcpy(&bits, &typed, sizeof bits);
        if (g.contiguous() && aligned(out.data, 16)) {
          FS_LAUNCH((fill_contiguous_kernel<U>), blocks_for((g.numel * int64_t{sizeof(U)} + 15) / 16), kThreads, 0,
                    stream, out.ptr<U>(), bits, g.numel);
          return;
        }
        with_index_type(g, [&](auto index) {
          using I = decltype(index);
          FS_LAUNCH((fill_kernel<U, I>), blocks_for(g.numel), kThreads, 0, stream, out.ptr<U>(), bits,
                    static_cast<I>(g.numel), DeviceGeometry<I>(g));
        });
      }
    });
  });
}

}  // namespace fireseed::cuda

// Matrix products: matmul, linear and addmm, over any batch, strides and dtype; the kernel for plain arithmetic.
#include "device/contiguous.cuh"
#include "kernels/gemm.cuh"
#include "kernels/simt_tile.cuh"
#include "kernels/tile.cuh"
#include "kernels/tile_plan.h"
#include "runtime/device.h"
#include "runtime/stream.h"
#include "tensor/attrs/matmul.h"
#include "tensor/backend.h"

namespace fireseed::cuda {
namespace {

template <class T, int kPer>
__global__ void __launch_bounds__(256, kPer == 8 ? 1 : 2)
    gemm_plain(const __grid_constant__ Gemm<T> g, uint32_t tiles_m, uint32_t tiles_n) {
  using Tile = SimtTile<compute_type<T>, kPer>;
  using Aligned = Vec<typename Tile::C, kVecSize<typename Tile::C>>;
  FS_SHARED(Aligned, shared, [4 * Tile::kStage / kVecSize<typename Tile::C>]);
  auto* const stages = reinterpret_cast<typename Tile::C*>(shared);
  uint32_t tile_row, tile_column;
  tile_at(blockIdx.x, tiles_m, tiles_n, tile_row, tile_column);
  const int64_t row0 = int64_t{tile_row} * Tile::kTile, column0 = int64_t{tile_column} * Tile::kTile;
  const int64_t part = blockIdx.z, k0 = part * g.part, k1 = k0 + g.part < g.k ? k0 + g.part : g.k;
  for (int64_t batch = blockIdx.y; batch < g.batch; batch += gridDim.y) {
    int64_t offset[4];
    g.batch_index.offsets(batch, offset);
    SimtLoader<Tile, T> a(g.a + offset[0], g.a_row, g.a_col, row0, g.m, k1);
    SimtLoader<Tile, T> b(g.b + offset[1], g.b_col, g.b_row, column0, g.n, k1);
    typename Tile::Sums sum;
    simt_main_loop<Tile>(sum, stages, a, b, k0, k1);
    const GemmOut<T> out(g, batch, part);
    simt_epilogue<Tile>(sum, row0, column0, g.m, g.n, out);
  }
}

template <class T, int kPer>
void launch_plain(const Gemm<T>& g) {
  const TileGrid tiles(g.m, g.n, 16 * kPer, 16 * kPer, g.batch, g.parts);
  FS_LAUNCH((gemm_plain<T, kPer>), tiles.grid, 256, 0, current_stream(), g, tiles.m, tiles.n);
}

template <class T>
__global__ void add_parts(const __grid_constant__ Gemm<T> g) {
  const int64_t count = g.batch * g.m * g.n;
  for (int64_t i = grid_thread(); i < count; i += grid_threads()) {
    compute_type<T> sum = g.partial[i];
    for (int p = 1; p < g.parts; ++p) sum += g.partial[p * count + i];
    const int64_t column = i % g.n, row = i / g.n % g.m, batch = i / g.n / g.m;
    const GemmOut<T> out(g, batch, 0);
    out.c[row * g.c_row + column * g.c_col] = store_as<T>(out.result(sum, out.d + row * g.d_row + column * g.d_col));
  }
}

template <class T>
bool stores_vectors(const Gemm<T>& g) {
  bool ok = g.c_col == 1 && g.c_row % 4 == 0 && aligned_for(g.c, std::min<size_t>(16, 4 * sizeof(T)));
  for (int i = 0; i < g.batch_index.ndim; ++i) ok = ok && g.batch_index.stride[2][i] % 4 == 0;
  return ok;
}

template <class T>
void run_floats(Gemm<T> g) {
  if (g.m == 1 || g.n == 1) return run_vector(g);
  g.vectors = stores_vectors(g);
  if constexpr (is_half(dtype_of<T>::value)) {
    if (run_mma(g)) return;
  }
  constexpr bool kFloat = std::is_same_v<T, float>;
  if constexpr (kFloat) {
    if (allow_tf32.load(std::memory_order_relaxed) && run_mma(g)) return;
  }
  constexpr TileOption kOptions[] = {{64, 64, kFloat ? 0.75 : 1.0}, {128, 128, 1.0}};
  constexpr TileCosts kCosts = {sizeof(T) == 8 ? 55.0 : 110.0, 16};  // a multiple of both tiles' steps
  const TilePlan plan = plan_tiles(kOptions, kFloat ? 2 : 1, kCosts, g.m, g.n, g.k, g.batch, multiprocessors());
  g.parts = plan.parts;
  g.part = plan.part;
  in_parts(g, [&](const Gemm<T>& h) {
    if constexpr (kFloat) {
      if (plan.option == 1) return launch_plain<T, 8>(h);
    }
    launch_plain<T, 4>(h);
  });
}

// Integers, a thread an element; sums wrap around.
template <class T>
__global__ void gemm_integers(const __grid_constant__ Gemm<T> g) {
  const int64_t count = g.batch * g.m * g.n;
  for (int64_t i = grid_thread(); i < count; i += grid_threads()) {
    const int64_t column = i % g.n, row = i / g.n % g.m;
    int64_t offset[4];
    g.batch_index.offsets(i / g.n / g.m, offset);
    const T *a = g.a + offset[0] + row * g.a_row, *b = g.b + offset[1] + column * g.b_col;
    uint64_t sum = 0;
    for (int64_t k = 0; k < g.k; ++k)
      sum += static_cast<uint64_t>(a[k * g.a_col]) * static_cast<uint64_t>(b[k * g.b_row]);
    uint64_t r = static_cast<uint64_t>(static_cast<int64_t>(g.alpha)) * sum;
    if (g.beta != 0)
      r += static_cast<uint64_t>(static_cast<int64_t>(g.beta)) *
           static_cast<uint64_t>(g.d[offset[3] + row * g.d_row + column * g.d_col]);
    g.c[offset[2] + row * g.c_row + column * g.c_col] = static_cast<T>(r);
  }
}

}  // namespace

template <class T>
void sum_parts(const Gemm<T>& g) {
  FS_LAUNCH((add_parts<T>), grid_for(g.batch * g.m * g.n, 256, 1 << 16), 256, 0, current_stream(), g);
}
template void sum_parts(const Gemm<float>&);
template void sum_parts(const Gemm<double>&);
template void sum_parts(const Gemm<float16>&);
template void sum_parts(const Gemm<bfloat16>&);

void copy_operand(const TensorView& to, const TensorView& from) { move_view(to, from); }

template <class T>
void run_gemm(const Gemm<T>& g) {
  if (g.m == 0 || g.n == 0 || g.batch == 0) return;
  if constexpr (std::is_integral_v<T>) {
    FS_LAUNCH((gemm_integers<T>), grid_for(g.batch * g.m * g.n, 256, 1 << 16), 256, 0, current_stream(), g);
    return;
  } else {
    run_floats(g);
  }
}
template void run_gemm(const Gemm<float>&);
template void run_gemm(const Gemm<double>&);

namespace {

// A product of bools is refused by infer.
template <class F>
void dispatch_numbers(DType t, F&& f) {
  if (is_floating(t)) return dispatch_float(t, f);
  switch (t) {
    case DType::kInt64: return f(TypeTag<int64_t>{});
    case DType::kInt32: return f(TypeTag<int32_t>{});
    case DType::kInt16: return f(TypeTag<int16_t>{});
    case DType::kInt8: return f(TypeTag<int8_t>{});
    default: return f(TypeTag<uint8_t>{});
  }
}

// The batch axes of one call, merged: a, b, c, d.
struct Batch {
  Dims sizes, strides[4];
  void push(int64_t n, int64_t a, int64_t b, int64_t c, int64_t d) {
    sizes.push_back(n);
    const int64_t step[4] = {a, b, c, d};
    for (int k = 0; k < 4; ++k) strides[k].push_back(step[k]);
  }
  template <class T>
  void put(Gemm<T>& g) const {
    TensorView v[4];
    const TensorView* p[4];
    for (int k = 0; k < 4; ++k) {
      v[k].sizes = sizes.d;
      v[k].strides = strides[k].d;
      v[k].ndim = static_cast<int32_t>(sizes.n);
      v[k].numel = numel_of(sizes);
      p[k] = &v[k];
    }
    const Geometry<4> geometry({p[0], p[1], p[2], p[3]});
    g.batch = geometry.numel();
    FS_CHECK(g.batch < (int64_t{1} << 31), "matrix product: a batch of ", g.batch, " matrices");
    g.batch_index = geometry.template index<int64_t, int32_t>();
  }
};

// d: what is added, of out's sizes; null for none.
template <class T>
Gemm<T> product_of(const TensorView& a, const TensorView& b, const TensorView& out, const TensorView* d) {
  Gemm<T> g;
  Batch batch;
  const bool row = a.ndim == 1, column = b.ndim == 1;  // a vector is a matrix of one row or column, absent from out
  if (!row && !column)
    for (int i = 0; i < out.ndim - 2; ++i)
      batch.push(out.size(i), a.stride(i), b.stride(i), out.stride(i), d ? d->stride(i) : 0);
  batch.put(g);
  g.m = row ? 1 : a.size(-2);
  g.n = column ? 1 : b.size(-1);
  g.k = a.size(-1);
  g.a = a.ptr<T>();
  g.b = b.ptr<T>();
  g.c = out.ptr<T>();
  g.a_row = row ? g.k : a.stride(-2);
  g.a_col = a.stride(-1);
  g.b_row = column ? b.stride(0) : b.stride(-2);
  g.b_col = column ? 1 : b.stride(-1);
  g.c_row = row ? 1 : out.stride(column ? -1 : -2);
  g.c_col = column ? 1 : out.stride(-1);
  if (d) {
    g.d = d->ptr<T>();
    g.d_row = row ? 1 : d->stride(column ? -1 : -2);
    g.d_col = column ? 1 : d->stride(-1);
  }
  return g;
}

// x's leading dimensions are rows of one matrix where they merge, else a batch.
template <class T>
Gemm<T> linear_of(const TensorView& x, const TensorView& weight, const TensorView& out, const TensorView* bias) {
  Gemm<T> g;
  g.n = weight.size(0);
  g.k = weight.size(1);
  g.a = x.ptr<T>();
  g.b = weight.ptr<T>();
  g.c = out.ptr<T>();
  g.a_col = x.stride(-1);
  g.b_row = weight.stride(1);
  g.b_col = weight.stride(0);
  g.c_col = out.stride(-1);
  int i = x.ndim - 2;
  if (i >= 0) {
    g.m = x.size(i);
    g.a_row = x.stride(i);
    g.c_row = out.stride(i);
    for (--i; i >= 0 && (x.size(i) == 1 || (x.stride(i) == g.a_row * g.m && out.stride(i) == g.c_row * g.m)); --i)
      g.m *= x.size(i);
  }
  Batch batch;
  for (int j = 0; j <= i; ++j) batch.push(x.size(j), x.stride(j), 0, out.stride(j), 0);
  batch.put(g);
  if (bias) {
    g.d = bias->ptr<T>();
    g.d_col = bias->stride(0);
    g.beta = 1;
  }
  return g;
}

}  // namespace

// in: a (batch..., m, k), b (batch..., k, n) of one dtype; out (batch..., m, n). Without batch, a may be (k) and b
// (k): out then lacks m or n.
void matmul(const KernelArgs& args) {
  dispatch_numbers(args.out[0].dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    run_gemm(product_of<T>(args.in[0], args.in[1], args.out[0], nullptr));
  });
}

// in: x (rows..., k), weight (n, k), optional bias (n); out (rows..., n) = x weight^T + bias.
void linear(const KernelArgs& args) {
  dispatch_numbers(args.out[0].dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const bool biased = args.num_in > 2 && args.in[2].defined();
    run_gemm(linear_of<T>(args.in[0], args.in[1], args.out[0], biased ? &args.in[2] : nullptr));
  });
}

// in: input, broadcast to out's sizes, a, b; out = beta input + alpha a b. With beta 0 the input is not read.
void addmm(const KernelArgs& args) {
  const auto& at = args.attrs<AddmmAttrs>();
  dispatch_numbers(args.out[0].dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    Gemm<T> g = product_of<T>(args.in[1], args.in[2], args.out[0], &args.in[0]);
    g.alpha = at.alpha;
    g.beta = at.beta;
    run_gemm(g);
  });
}

}  // namespace fireseed::cuda

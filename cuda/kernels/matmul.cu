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

// Tiles of 128 x 128 are of float32 only, others of any float that has arithmetic in C.
template <class C, int kPer>
__global__ void __launch_bounds__(256, kPer == 8 || sizeof(C) == 8 ? 1 : 2)
    gemm_plain(const __grid_constant__ Gemm g, uint32_t tiles_m, uint32_t tiles_n) {
  using Tile = SimtTile<C, kPer>;
  using Aligned = Vec<C, kVecSize<C>>;
  FS_SHARED(Aligned, shared, [4 * Tile::kStage / kVecSize<C>]);
  auto* const stages = reinterpret_cast<C*>(shared);
  const DType t = kPer == 8 ? DType::kFloat32 : g.dtype;
  uint32_t tile_row, tile_column;
  tile_at(blockIdx.x, tiles_m, tiles_n, tile_row, tile_column);
  const int64_t row0 = int64_t{tile_row} * Tile::kTile, column0 = int64_t{tile_column} * Tile::kTile;
  const int64_t part = blockIdx.z, k0 = part * g.part, k1 = k0 + g.part < g.k ? k0 + g.part : g.k;
  for (int64_t batch = blockIdx.y; batch < g.batch; batch += gridDim.y) {
    int64_t offset[4];
    g.batch_index.offsets(batch, offset);
    SimtLoader<Tile> a(g.a, t, offset[0], g.a_row, g.a_col, row0, g.m, k1);
    SimtLoader<Tile> b(g.b, t, offset[1], g.b_col, g.b_row, column0, g.n, k1);
    typename Tile::Sums sum;
    simt_main_loop<Tile>(sum, stages, a, b, k0, k1);
    simt_epilogue<Tile>(sum, stages, row0, column0, g.m, g.n, GemmOut<C>(g, t, batch, part));
  }
}

template <class C, int kPer>
void launch_plain(const Gemm& g) {
  const TileGrid tiles(g.m, g.n, 16 * kPer, 16 * kPer, g.batch, g.parts);
  FS_LAUNCH((gemm_plain<C, kPer>), tiles.grid, 256, 0, current_stream(), g, tiles.m, tiles.n);
}

template <class C>
__global__ void add_parts(const __grid_constant__ Gemm g, const C* partial) {
  const int64_t count = g.batch * g.m * g.n;
  for (int64_t i = grid_thread(); i < count; i += grid_threads()) {
    C sum = partial[i];
    for (int p = 1; p < g.parts; ++p) sum += partial[p * count + i];
    const int64_t row = i / g.n;
    GemmOut<C>(g, g.dtype, row / g.m, 0)(row % g.m, i - row * g.n, sum);
  }
}

void set_vectors(Gemm& g) {
  const int64_t size = std::min<int64_t>(16, 4 * dtype_size(g.dtype));
  g.vectors = g.n % 4 == 0 && g.c_col == 1 && g.c_row % 4 == 0 && aligned_for(g.c, static_cast<size_t>(size));
  for (int i = 0; i < g.batch_index.ndim; ++i) g.vectors = g.vectors && g.batch_index.stride[2][i] % 4 == 0;
}

// Integers, a thread an element; sums wrap around.
__global__ void gemm_integers(const __grid_constant__ Gemm g) {
  const int64_t count = g.batch * g.m * g.n;
  for (int64_t i = grid_thread(); i < count; i += grid_threads()) {
    int64_t row = i / g.n, offset[4];
    const int64_t column = i - row * g.n, batch = row / g.m;
    row -= batch * g.m;
    g.batch_index.offsets(batch, offset);
    int64_t a = offset[0] + row * g.a_row, b = offset[1] + column * g.b_col;
    const auto load = [&](const void* p, int64_t at) {
      return static_cast<uint64_t>(load_number(p, at, g.dtype, at));
    };
    uint64_t sum = 0;
    for (int64_t k = 0; k < g.k; ++k, a += g.a_col, b += g.b_row) sum += load(g.a, a) * load(g.b, b);
    uint64_t r = static_cast<uint64_t>(static_cast<int64_t>(g.alpha)) * sum;
    if (g.beta != 0)
      r += static_cast<uint64_t>(static_cast<int64_t>(g.beta)) *
           load(g.d, offset[3] + row * g.d_row + column * g.d_col);
    store_number(g.c, offset[2] + row * g.c_row + column * g.c_col, g.dtype, static_cast<int64_t>(r));
  }
}

}  // namespace

void in_parts(const Gemm& g, const std::function<void(const Gemm&)>& launch) {
  if (g.parts == 1) return launch(g);
  const int64_t count = g.batch * g.m * g.n;
  const Scratch partial(static_cast<size_t>(g.parts * count) * (g.dtype == DType::kFloat64 ? 8 : 4));
  Gemm h = g;
  h.c = partial.ptr<void>();
  h.c_row = g.n;
  h.c_col = 1;
  h.alpha = 1;
  h.beta = 0;
  h.partial = true;
  h.part_step = count;
  h.vectors = g.n % 4 == 0;
  int64_t step = g.m * g.n;
  for (int i = 0; i < g.batch_index.ndim; ++i) {
    h.batch_index.stride[2][i] = step;
    step *= g.batch_index.size[i].d;
  }
  launch(h);
  const unsigned blocks = grid_for(count, 256, 1 << 16);
  dispatch_float_compute(g.dtype, "matrix product", [&](auto c) {
    using C = decltype(c);
    FS_LAUNCH((add_parts<C>), blocks, 256, 0, current_stream(), g, static_cast<const C*>(h.c));
  });
}

void copy_operand(const TensorView& to, const TensorView& from) { move_view(to, from); }

void run_gemm(Gemm g) {
  if (g.m == 0 || g.n == 0 || g.batch == 0) return;
  if (!is_floating(g.dtype)) {
    FS_LAUNCH(gemm_integers, grid_for(g.batch * g.m * g.n, 256, 1 << 16), 256, 0, current_stream(), g);
    return;
  }
  if (g.m == 1 || g.n == 1) return run_vector(g);
  set_vectors(g);
  const bool is_float = g.dtype == DType::kFloat32;
  if (is_half(g.dtype) && run_mma(g)) return;
  if (is_float && !g.exact && allow_tf32.load(std::memory_order_relaxed) && run_tf32(g)) return;
  const TileOption options[] = {{64, 64, is_float ? 0.75 : 1.0}, {128, 128, 1.0}};
  const TileCosts costs = {g.dtype == DType::kFloat64 ? 55.0 : 110.0, 16};  // a multiple of both tiles' steps
  const TilePlan plan = plan_tiles(options, is_float ? 2 : 1, costs, g.m, g.n, g.k, g.batch, multiprocessors());
  g.parts = plan.parts;
  g.part = plan.part;
  in_parts(g, [&](const Gemm& h) {
    if (plan.option == 1) launch_plain<float, 8>(h);
    else if (h.dtype == DType::kFloat64) launch_plain<double, 4>(h);
    else launch_plain<float, 4>(h);
  });
}

namespace {

// The batch axes of one call, merged: a, b, c, d.
struct Batch {
  Dims sizes, strides[4];
  void push(int64_t n, int64_t a, int64_t b, int64_t c, int64_t d) {
    sizes.push_back(n);
    const int64_t step[4] = {a, b, c, d};
    for (int k = 0; k < 4; ++k) strides[k].push_back(step[k]);
  }
  void put(Gemm& g) const {
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
    g.batch_index = geometry.index<int64_t, int32_t>();
  }
};

// d: what is added, of out's sizes; null for none.
Gemm product_of(const TensorView& a, const TensorView& b, const TensorView& out, const TensorView* d) {
  Gemm g(out.dtype);
  Batch batch;
  const bool row = a.ndim == 1, column = b.ndim == 1;  // a vector is a matrix of one row or column, absent from out
  if (!row && !column)
    for (int i = 0; i < out.ndim - 2; ++i)
      batch.push(out.size(i), a.stride(i), b.stride(i), out.stride(i), d ? d->stride(i) : 0);
  batch.put(g);
  g.m = row ? 1 : a.size(-2);
  g.n = column ? 1 : b.size(-1);
  g.k = a.size(-1);
  g.a = a.data;
  g.b = b.data;
  g.c = out.data;
  g.a_row = row ? g.k : a.stride(-2);
  g.a_col = a.stride(-1);
  g.b_row = column ? b.stride(0) : b.stride(-2);
  g.b_col = column ? 1 : b.stride(-1);
  g.c_row = row ? 1 : out.stride(column ? -1 : -2);
  g.c_col = column ? 1 : out.stride(-1);
  if (d) {
    g.d = d->data;
    g.d_row = row ? 1 : d->stride(column ? -1 : -2);
    g.d_col = column ? 1 : d->stride(-1);
  }
  return g;
}

// x's leading dimensions are rows of one matrix where they merge, else a batch.
Gemm linear_of(const TensorView& x, const TensorView& weight, const TensorView& out, const TensorView* bias) {
  Gemm g(out.dtype);
  g.n = weight.size(0);
  g.k = weight.size(1);
  g.a = x.data;
  g.b = weight.data;
  g.c = out.data;
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
    g.d = bias->data;
    g.d_col = bias->stride(0);
    g.beta = 1;
  }
  return g;
}

}  // namespace

// in: a (batch..., m, k), b (batch..., k, n) of one dtype; out (batch..., m, n). Without batch, a may be (k) and b
// (k): out then lacks m or n.
void matmul(const KernelArgs& args) { run_gemm(product_of(args.in[0], args.in[1], args.out[0], nullptr)); }

// in: x (rows..., k), weight (n, k), optional bias (n); out (rows..., n) = x weight^T + bias.
void linear(const KernelArgs& args) {
  const bool biased = args.num_in > 2 && args.in[2].defined();
  run_gemm(linear_of(args.in[0], args.in[1], args.out[0], biased ? &args.in[2] : nullptr));
}

// in: input, broadcast to out's sizes, a, b; out = beta input + alpha a b. With beta 0 the input is not read.
void addmm(const KernelArgs& args) {
  const auto& at = args.attrs<AddmmAttrs>();
  Gemm g = product_of(args.in[1], args.in[2], args.out[0], &args.in[0]);
  g.alpha = at.alpha;
  g.beta = at.beta;
  run_gemm(g);
}

}  // namespace fireseed::cuda

// Hopper's instructions under emulation: mbarriers, tiles that TMA brings at a random later time, wgmma at its wait.
#include <cuda.h>

#include <cstring>

#include "engine.h"
#include "fiber.h"

namespace fireseed::cuda_emu {

namespace {

// An mbarrier's 64 bits.
struct Mbarrier {
  uint16_t pending, count;  // arrivals
  int32_t bytes : 31;       // that have yet to come
  uint32_t phase : 1;
};
static_assert(sizeof(Mbarrier) == 8);

Mbarrier& state_of(uint64_t* barrier, Where where) {
  auto& m = *reinterpret_cast<Mbarrier*>(barrier);
  if (m.count == 0 || m.count == 0xffff) fail("an mbarrier that was not initialised", where);
  return m;
}
void end_phase_if_complete(Mbarrier& m) {
  if (m.pending == 0 && m.bytes == 0) {
    m.phase ^= 1u;
    m.pending = m.count;
  }
  note_progress();
}

// A tensor map of two or three dimensions: what cuTensorMapEncodeTiled kept.
struct Map {
  const char* data;
  uint64_t columns, rows, pitch;  // pitch in bytes
  uint64_t planes, plane;         // plane: bytes from one to the next
  uint32_t box_columns, box_rows, element, swizzle;
};

// Within a tile swizzled by 128 bytes, bits 4 to 6 of an address are exclusive-ored with bits 7 to 9.
uint32_t swizzle_128(uint32_t address) { return address ^ ((address >> 3) & 0x70u); }

int encode_tiled(CUtensorMap* out, CUtensorMapDataType type, cuuint32_t rank, void* data, const cuuint64_t* sizes,
                 const cuuint64_t* strides, const cuuint32_t* box, const cuuint32_t* steps, CUtensorMapInterleave,
                 CUtensorMapSwizzle swizzle, CUtensorMapL2promotion, CUtensorMapFloatOOBfill) {
  const uint32_t element = type == CU_TENSOR_MAP_DATA_TYPE_UINT8                                               ? 1
                           : type == CU_TENSOR_MAP_DATA_TYPE_FLOAT32 || type == CU_TENSOR_MAP_DATA_TYPE_UINT32 ? 4
                                                                                                               : 2;
  if ((rank != 2 && rank != 3) || !data || reinterpret_cast<uintptr_t>(data) % 16) return CUDA_ERROR_INVALID_VALUE;
  for (cuuint32_t i = 0; i < rank; ++i) {
    if (sizes[i] == 0 || sizes[i] > (uint64_t{1} << 32) || box[i] == 0 || box[i] > 256 || steps[i] != 1)
      return CUDA_ERROR_INVALID_VALUE;
    if (i > 0 && (strides[i - 1] % 16 || strides[i - 1] >= (uint64_t{1} << 40))) return CUDA_ERROR_INVALID_VALUE;
  }
  if (box[0] * element % 16 || (rank == 3 && box[2] != 1)) return CUDA_ERROR_INVALID_VALUE;
  if (swizzle == CU_TENSOR_MAP_SWIZZLE_128B && box[0] * element > 128) return CUDA_ERROR_INVALID_VALUE;
  const Map m{static_cast<const char*>(data), sizes[0], sizes[1], strides[0], rank == 3 ? sizes[2] : 1,
              rank == 3 ? strides[1] : 0,     box[0],   box[1],   element,    static_cast<uint32_t>(swizzle)};
  static_assert(sizeof m <= sizeof out->opaque);
  std::memset(out, 0, sizeof *out);
  std::memcpy(out->opaque, &m, sizeof m);
  return CUDA_SUCCESS;
}

}  // namespace

void* driver_function(const char* name) {
  return std::strcmp(name, "cuTensorMapEncodeTiled") == 0 ? reinterpret_cast<void*>(&encode_tiled) : nullptr;
}

// ---- mbarriers ---------------------------------------------------------------------------------------------

void mbarrier_init(uint64_t* barrier, int count) {
  begin_engine_work();
  Mbarrier m{};
  m.pending = m.count = static_cast<uint16_t>(count);
  std::memcpy(barrier, &m, sizeof m);
  end_engine_work();
}
void mbarrier_arrive(uint64_t* barrier, uint32_t expected_bytes, Where where) {
  begin_engine_work();
  Mbarrier& m = state_of(barrier, where);
  if (m.pending == 0) fail("more arrivals at an mbarrier than it counts", where);
  order_release(barrier);
  m.bytes = m.bytes + static_cast<int32_t>(expected_bytes);
  --m.pending;
  end_phase_if_complete(m);
  maybe_yield(where);
  end_engine_work();
}
void mbarrier_wait(uint64_t* barrier, int parity, Where where) {
  begin_engine_work();
  while (state_of(barrier, where).phase == static_cast<uint32_t>(parity)) poll("mbarrier_wait", where);
  order_acquire(barrier);
  end_engine_work();
}

// ---- TMA -----------------------------------------------------------------------------------------------------

void tma_load_2d(void* to, const void* map, int x, int y, uint64_t* barrier, Where where) {
  tma_load_3d(to, map, x, y, 0, barrier, where);
}
void tma_load_3d(void* to, const void* map, int x, int y, int z, uint64_t* barrier, Where where) {
  begin_engine_work();
  Map m;
  std::memcpy(&m, map, sizeof m);
  const bool swizzled = m.swizzle == CU_TENSOR_MAP_SWIZZLE_128B;
  const uint32_t begin = shared_address(to), row_bytes = m.box_columns * m.element, total = row_bytes * m.box_rows;
  if (begin % (swizzled ? 1024 : 128)) fail("TMA: a tile at shared address " + std::to_string(begin), where);
  state_of(barrier, where);
  std::memset(shared_pointer(begin, total), 0xFF, total);  // until it lands
  post_async([=] {
    for (uint32_t r = 0; r < m.box_rows; ++r)
      for (uint32_t c = 0; c < m.box_columns; ++c) {
        uint32_t at = begin + r * row_bytes + c * m.element;
        if (swizzled) at = swizzle_128(at);
        char* p = static_cast<char*>(shared_pointer(at, m.element));
        const int64_t row = int64_t{y} + r, column = int64_t{x} + c;
        const bool inside = row >= 0 && column >= 0 && z >= 0 && row < static_cast<int64_t>(m.rows) &&
                            column < static_cast<int64_t>(m.columns) && z < static_cast<int64_t>(m.planes);
        const char* from = m.data + z * static_cast<int64_t>(m.plane) + row * static_cast<int64_t>(m.pitch);
        if (inside) std::memcpy(p, from + column * m.element, m.element);
        else std::memset(p, 0, m.element);
      }
    auto& state = *reinterpret_cast<Mbarrier*>(barrier);
    state.bytes = state.bytes - static_cast<int32_t>(total);
    end_phase_if_complete(state);
  });
  end_engine_work();
}

// ---- wgmma ---------------------------------------------------------------------------------------------------

namespace {

// The tile of a descriptor. A row of it, 128 bytes, lies along k, or across it: the canonical layouts of the PTX
// manual for tiles swizzled by 128 bytes.
struct Tile {
  const char* shared;
  size_t bytes = 0;
  uint32_t start, leading, stride;
  bool across, bfloat;
  Tile(uint64_t descriptor, bool across_, bool bfloat_)
      : shared(static_cast<const char*>(dynamic_shared(&bytes))), across(across_), bfloat(bfloat_) {
    const auto field = [&](int shift) { return static_cast<uint32_t>(((descriptor >> shift) & 0x3fffu) << 4); };
    start = field(0);
    leading = field(16);
    stride = field(32);
  }
  // Element (i, k), i along the dimension other than k.
  double at(int i, int k) const {
    const auto u = static_cast<uint32_t>(i), v = static_cast<uint32_t>(k);
    const uint32_t row = across ? v : u, column = across ? u % 64 : v;
    const uint32_t address =
        swizzle_128(start + (across ? u / 64 * leading : 0) + row / 8 * stride + row % 8 * 128 + column * 2);
    uint16_t bits;
    if (address + 2 > bytes) shared_pointer(address, 2);  // fails
    std::memcpy(&bits, shared + address, 2);
    return half_value(bits, bfloat);
  }
};

void multiply(const Product& p) {
  const int row0 = warp_id() % 4 * 16 + lane_id() / 4;
  const Tile tile_a(p.a, p.across_a, p.bfloat), tile_b(p.b, p.across_b, p.bfloat);
  double a[2][16];
  for (int half = 0; half < 2; ++half)
    for (int k = 0; k < 16; ++k) a[half][k] = tile_a.at(row0 + half * 8, k);
  for (int j = 0; j < p.n / 8; ++j)
    for (int column = 0; column < 2; ++column) {
      double sum[2];
      for (int half = 0; half < 2; ++half) sum[half] = p.accumulate ? p.d[j * 4 + half * 2 + column] : 0.0;
      for (int k = 0; k < 16; ++k) {
        const double b = tile_b.at(j * 8 + lane_id() % 4 * 2 + column, k);
        sum[0] += a[0][k] * b;
        sum[1] += a[1][k] * b;
      }
      for (int half = 0; half < 2; ++half) p.d[j * 4 + half * 2 + column] = static_cast<float>(sum[half]);
    }
}

}  // namespace

void wgmma(const Product& product, Where where) {
  warp_collective("wgmma", 0xffffffffu, nullptr, nullptr, false, where);
  begin_engine_work();
  if ((product.a >> 62) != 1 || (product.b >> 62) != 1)
    fail("wgmma: a descriptor that is not of a tile swizzled by 128 bytes", where);
  ThreadAsync& mine = this_thread_async();
  if (!mine.fenced) fail("wgmma without wgmma_fence before it", where);
  mine.products.push_back(product);
  end_engine_work();
}
void wgmma_fence() { this_thread_async().fenced = true; }
void wgmma_commit() {
  begin_engine_work();
  ThreadAsync& mine = this_thread_async();
  mine.product_groups.push_back(std::move(mine.products));
  mine.products.clear();
  end_engine_work();
}
// Products are made as late as they may be: a tile that was written again too early gives wrong numbers.
void wgmma_wait(int pending) {
  begin_engine_work();
  ThreadAsync& mine = this_thread_async();
  while (mine.product_groups.size() > static_cast<size_t>(pending)) {
    for (const Product& p : mine.product_groups.front()) multiply(p);
    mine.product_groups.erase(mine.product_groups.begin());
  }
  mine.fenced = false;
  end_engine_work();
}

}  // namespace fireseed::cuda_emu

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

// A 2-D tensor map: what cuTensorMapEncodeTiled kept.
struct Map {
  const char* data;
  uint64_t columns, rows, pitch;  // pitch in bytes
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
  if (rank != 2 || !data || reinterpret_cast<uintptr_t>(data) % 16 || strides[0] % 16 || box[0] > 256 ||
      box[1] > 256 || box[0] * element % 16 || steps[0] != 1 || steps[1] != 1)
    return CUDA_ERROR_INVALID_VALUE;
  if (swizzle == CU_TENSOR_MAP_SWIZZLE_128B && box[0] * element > 128) return CUDA_ERROR_INVALID_VALUE;
  const Map m{static_cast<const char*>(data), sizes[0], sizes[1], strides[0], box[0], box[1], element,
              static_cast<uint32_t>(swizzle)};
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
        const bool inside =
            row >= 0 && column >= 0 && row < static_cast<int64_t>(m.rows) && column < static_cast<int64_t>(m.columns);
        if (inside) std::memcpy(p, m.data + row * static_cast<int64_t>(m.pitch) + column * m.element, m.element);
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

// Element (row, k) of the K-major tile of a descriptor.
float tile_element(uint64_t descriptor, int row, int k, bool bfloat) {
  const auto start = static_cast<uint32_t>((descriptor & 0x3fffu) << 4);
  const auto group = static_cast<uint32_t>(((descriptor >> 32) & 0x3fffu) << 4);  // from eight rows to the next
  const uint32_t at = start + static_cast<uint32_t>(row / 8) * group + static_cast<uint32_t>(row % 8) * 128 +
                      static_cast<uint32_t>(k) * 2;
  uint16_t bits;
  std::memcpy(&bits, shared_pointer(swizzle_128(at), 2), 2);
  return half_value(bits, bfloat);
}

void multiply(const Product& p) {
  const int row0 = warp_id() % 4 * 16 + lane_id() / 4;
  double a[2][16];
  for (int half = 0; half < 2; ++half)
    for (int k = 0; k < 16; ++k) a[half][k] = tile_element(p.a, row0 + half * 8, k, p.bfloat);
  for (int j = 0; j < p.n / 8; ++j)
    for (int column = 0; column < 2; ++column) {
      double b[16];
      for (int k = 0; k < 16; ++k) b[k] = tile_element(p.b, j * 8 + lane_id() % 4 * 2 + column, k, p.bfloat);
      for (int half = 0; half < 2; ++half) {
        float& d = p.d[j * 4 + half * 2 + column];
        double sum = p.accumulate ? d : 0.0;
        for (int k = 0; k < 16; ++k) sum += a[half][k] * b[k];
        d = static_cast<float>(sum);
      }
    }
}

}  // namespace

void wgmma(float* d, int n, uint64_t a, uint64_t b, bool accumulate, bool bfloat, Where where) {
  warp_collective("wgmma", 0xffffffffu, nullptr, nullptr, false, where);
  begin_engine_work();
  if ((a >> 62) != 1 || (b >> 62) != 1)
    fail("wgmma: a descriptor that is not of a tile swizzled by 128 bytes", where);
  ThreadAsync& mine = this_thread_async();
  if (!mine.fenced) fail("wgmma without wgmma_fence before it", where);
  mine.products.push_back({d, n, a, b, accumulate, bfloat});
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

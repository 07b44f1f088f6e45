// Tensor maps: descriptions of matrices that TMA copies tiles of (sm_90).
#pragma once

#include <cuda.h>
#include <cuda_runtime_api.h>

#include "base/dtype.h"

namespace fireseed::cuda {

// Of `planes` matrices, `plane` elements apart, of `rows` rows of `columns` contiguous 16-bit elements, `pitch`
// elements apart, for tiles of box_rows rows (256 at most) of 64 elements, swizzled by 128 bytes. data is 16-byte
// aligned, pitch and plane multiples of 8; outside is read as zero.
inline CUtensorMap tensor_map_3d(const void* data, DType dtype, int64_t planes, int64_t rows, int64_t columns,
                                 int64_t plane, int64_t pitch, int box_rows, int rank = 3) {
  using Encode = CUresult (*)(CUtensorMap*, CUtensorMapDataType, cuuint32_t, void*, const cuuint64_t*,
                              const cuuint64_t*, const cuuint32_t*, const cuuint32_t*, CUtensorMapInterleave,
                              CUtensorMapSwizzle, CUtensorMapL2promotion, CUtensorMapFloatOOBfill);
  static const Encode encode = [] {
    void* function = nullptr;
    cudaDriverEntryPointQueryResult found;
    FS_CHECK(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000, cudaEnableDefault,
                                              &found) == cudaSuccess &&
                 function,
             "the CUDA driver has no cuTensorMapEncodeTiled; update it");
    return reinterpret_cast<Encode>(function);
  }();
  CUtensorMap map;
  const cuuint64_t sizes[3] = {static_cast<cuuint64_t>(columns), static_cast<cuuint64_t>(rows),
                               static_cast<cuuint64_t>(planes)};
  const cuuint64_t strides[2] = {static_cast<cuuint64_t>(pitch * 2), static_cast<cuuint64_t>(plane * 2)};
  const cuuint32_t box[3] = {64, static_cast<cuuint32_t>(box_rows), 1}, steps[3] = {1, 1, 1};
  const CUresult r =
      encode(&map, dtype == DType::kBFloat16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 : CU_TENSOR_MAP_DATA_TYPE_FLOAT16,
             static_cast<cuuint32_t>(rank), const_cast<void*>(data), sizes, strides, box, steps,
             CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
             CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  FS_CHECK(r == CUDA_SUCCESS, "cuTensorMapEncodeTiled: error ", static_cast<int>(r), " for ", planes, " x ", rows,
           " x ", columns, " elements, ", plane, " and ", pitch, " apart");
  return map;
}
// Of one matrix.
inline CUtensorMap tensor_map_2d(const void* data, DType dtype, int64_t rows, int64_t columns, int64_t pitch,
                                 int box_rows) {
  return tensor_map_3d(data, dtype, 1, rows, columns, 0, pitch, box_rows, 2);
}

}  // namespace fireseed::cuda

// Convolutions on CUDA: one launch as its kernels see it, and which kernels there are.
#pragma once

#include <algorithm>
#include <limits>

#include "device/index.cuh"
#include "device/memory.cuh"
#include "tensor/attrs/conv.h"
#include "tensor/conv_axis.h"

namespace fireseed::cuda {

// Note [Convolutions on CUDA]
// A convolution, and each stride phase of its gradient to the input, is
//   out(n, m, p) = bias(m) + sum over channels c and taps t of weight(m, c, t) src(n, c, p * step + off(t))
// over a grid of pixels p (tensor/conv_axis.h; the CPU's Note [Pixel grids]); src is 0 outside. So the transposed
// convolution and the gradient to the input run by the kernels of the forward; their phases are part of the grid.
// The gradient to the weight, dw(m, c, t) = sum over n and p of g(n, m, p) src(n, c, p * step + off(t)), is summed in
// parts that depend on the shapes only, and the parts are added in order, so the same input gives the same bits.
// Nobody makes the matrix of windows: kernels gather from the image. Views have any strides; offsets inside one image
// are of 32 bits, those of images of 64.

inline constexpr int kConvThreads = 256;  // of kernels without tiles
inline constexpr int kMaxPhases = 8;      // of an axis, in one launch

// ConvAxis in 32 bits; pixel p of the grid is the result's element first + p * pace.
struct PixelAxis {
  int32_t out, step, src, taps, off0, doff, ker0, dker, first, pace;
  Divider<int32_t> by_out, by_taps;
};

// Operands are of one dtype; steps are in elements.
struct ConvJob {
  DType dtype;
  int32_t batch, groups, channels, rows;  // channels and rows (output channels) of one group
  Divider<int32_t> by_channels, by_rows;
  int32_t phases[3];  // depth, height, width
  PixelAxis axis[3][kMaxPhases];
  const void* src;
  int64_t src_image;
  int32_t src_channel, src_step[3];
  const void* weight;
  int32_t w_group, w_row, w_channel, w_step[3];
  const void* bias;  // groups * rows values, bias_step apart; or null
  int64_t bias_step;
  void* out;
  int64_t out_image;
  int32_t out_channel, out_step[3];

  // Phase 0 has the most pixels.
  int64_t pixels() const { return int64_t{axis[0][0].out} * axis[1][0].out * axis[2][0].out; }
  int64_t taps() const {
    int64_t n = 1;
    for (int i = 0; i < 3; ++i) {
      int32_t most = 0;
      for (int r = 0; r < phases[i]; ++r) most = std::max(most, axis[i][r].taps);
      n *= most;
    }
    return n;
  }
  int64_t all_phases() const { return int64_t{phases[0]} * phases[1] * phases[2]; }
  // Channels lie innermost in the result, so neighbouring threads take neighbouring ones.
  bool channels_last() const { return out_channel == 1 && out_step[2] != 1; }
};

// The axes of phase number `phase` of a launch.
__device__ __forceinline__ void axes_of(const ConvJob& job, int phase, const PixelAxis* (&axis)[3]) {
  axis[2] = &job.axis[2][phase % job.phases[2]];
  phase /= job.phases[2];
  axis[1] = &job.axis[1][phase % job.phases[1]];
  axis[0] = &job.axis[0][phase / job.phases[1]];
}

// Sums of the gradient to the weight: part j has, at j * count, the element (m, c, t) of dw, m counting the rows of
// all groups, at m * channels * taps + c * channel_step + t * tap_step.
struct WeightParts {
  int64_t parts, count;
  int32_t channel_step, tap_step;
};

// Element i of operand p of a launch.
inline const void* element_of(const ConvJob& job, const void* p, int64_t i) {
  return static_cast<const char*>(p) + i * dtype_size(job.dtype);
}

// conv_direct.cu: any job, a thread a few pixels; and the gradient to the weight into `parts` sums in the type of the
// arithmetic: double, or float.
void conv_direct(const ConvJob& job);
int64_t direct_weight_parts(const ConvJob& job);
void conv_direct_weight(const ConvJob& job, const void* g, int64_t parts, void* sums);

// conv_simt.cu: any job of less than 2^31 pixels and another dtype than float64, in tiles, by plain arithmetic; and
// the gradient to the weight.
void conv_simt(const ConvJob& job);
void conv_simt_weight(const ConvJob& job, const void* g, int64_t parts, float* sums);

// conv_mma.cu: the same of halves by tensor cores; conv_tf32.cu: of float, operands rounded to tf32. False where the
// device has none. in_vectors: weight_vectors(job, g); dw is then in the order of (tap, channel).
bool conv_mma(const ConvJob& job);
bool conv_mma_weight(const ConvJob& job, const void* g, bool in_vectors, int64_t parts, float* sums);
bool conv_tf32(const ConvJob& job);
bool conv_tf32_weight(const ConvJob& job, const void* g, bool in_vectors, int64_t parts, float* sums);

// Whether pieces of 16 bytes are channels of one pixel, of the source and of the gradient g, which is one matrix.
inline bool image_vectors(const ConvJob& job) {
  const int64_t vec = 16 / dtype_size(job.dtype);
  return job.src_channel == 1 && job.channels % vec == 0 && aligned_for(job.src, 16) && job.src_image % vec == 0 &&
         job.src_step[0] % vec == 0 && job.src_step[1] % vec == 0 && job.src_step[2] % vec == 0;
}
inline bool weight_vectors(const ConvJob& job, const void* g) {
  const int64_t vec = 16 / dtype_size(job.dtype);
  const int64_t y = int64_t{job.axis[2][0].out} * job.out_step[2], z = job.axis[1][0].out * y;
  return image_vectors(job) && job.out_channel == 1 && job.rows % vec == 0 && aligned_for(g, 16) &&
         job.out_step[2] % vec == 0 && (job.axis[1][0].out == 1 || job.out_step[1] == y) &&
         (job.axis[0][0].out == 1 || job.out_step[0] == z) &&
         (job.batch == 1 || job.out_image == job.axis[0][0].out * z);
}

}  // namespace fireseed::cuda

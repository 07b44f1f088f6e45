// BesideCapture: calls of a capturing thread that have nothing to do with its capture.
#pragma once

#include <cuda_runtime_api.h>

namespace fireseed::cuda {

// While it lives, this thread may ask for memory and query events although one of its streams is being captured.
class BesideCapture {
 public:
  BesideCapture() { cudaThreadExchangeStreamCaptureMode(&mode_); }
  ~BesideCapture() { cudaThreadExchangeStreamCaptureMode(&mode_); }
  BesideCapture(const BesideCapture&) = delete;
  BesideCapture& operator=(const BesideCapture&) = delete;

 private:
  cudaStreamCaptureMode mode_ = cudaStreamCaptureModeRelaxed;
};

}  // namespace fireseed::cuda

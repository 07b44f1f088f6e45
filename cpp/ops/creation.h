// Tensors made from nothing.
#pragma once

#include <optional>

#include "tensor/tensor.h"

namespace fireseed {

// _like: on x's device unless another one is named. An undefined dtype means the default float dtype, for full() the
// dtype of the value.
Tensor zeros(const Dims& sizes, DType dtype = DType::kUndefined, Device device = {});
Tensor ones(const Dims& sizes, DType dtype = DType::kUndefined, Device device = {});
Tensor full(const Dims& sizes, Scalar value, DType dtype = DType::kUndefined, Device device = {});
Tensor empty_like(const Tensor& x, DType dtype = DType::kUndefined, std::optional<Device> device = {});
Tensor zeros_like(const Tensor& x, DType dtype = DType::kUndefined, std::optional<Device> device = {});
Tensor ones_like(const Tensor& x, DType dtype = DType::kUndefined, std::optional<Device> device = {});
Tensor full_like(const Tensor& x, Scalar value, DType dtype = DType::kUndefined, std::optional<Device> device = {});
Tensor arange(Scalar start, Scalar end, Scalar step, DType dtype = DType::kUndefined, Device device = {});
Tensor linspace(double start, double end, int64_t steps, DType dtype = DType::kUndefined, Device device = {});
Tensor logspace(double start, double end, int64_t steps, double base, DType dtype = DType::kUndefined,
                Device device = {});
Tensor eye(int64_t n, int64_t m, DType dtype = DType::kUndefined, Device device = {});

}  // namespace fireseed

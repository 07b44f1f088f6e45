// Trains a multilayer perceptron on two interleaved spirals with libfireseed alone: no Python.
//
//   make native && build/dev/example_mlp
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <vector>

#include "engine/backward.h"
#include "engine/mode.h"
#include "math/random.h"
#include "ops/activation.h"
#include "ops/creation.h"
#include "ops/index.h"
#include "ops/loss.h"
#include "ops/matmul.h"
#include "ops/optim.h"
#include "ops/pointwise.h"
#include "ops/random.h"
#include "ops/reduce.h"
#include "ops/shape.h"
#include "tensor/tensor.h"

namespace fs = fireseed;
using fs::Tensor;

namespace {

// Points (n, 2) and classes (n), alternately of either spiral: the radius grows with the angle over 1.5 turns.
struct Data { Tensor x, y; };
Data make_spirals(int64_t n) {
  Data data{fs::empty({n, 2}, fs::DType::kFloat32), fs::empty({n}, fs::DType::kInt64)};
  const Tensor noise = fs::randn({n, 2});
  for (int64_t i = 0; i < n; ++i) {
    const double t = static_cast<double>(i) / static_cast<double>(n), turn = 3 * M_PI * t;
    const double sign = i % 2 == 0 ? 1 : -1;
    data.x.data<float>()[2 * i] = static_cast<float>(sign * t * std::cos(turn)) + 0.01f * noise.data<float>()[2 * i];
    data.x.data<float>()[2 * i + 1] =
        static_cast<float>(sign * t * std::sin(turn)) + 0.01f * noise.data<float>()[2 * i + 1];
    data.y.data<int64_t>()[i] = i % 2;
  }
  return data;
}

// A parameter drawn from U(-bound, bound), as PyTorch initialises linear layers.
Tensor parameter(const fs::Dims& sizes, double bound) {
  Tensor p = fs::empty(sizes, fs::DType::kFloat32);
  fs::uniform_(p, -bound, bound);
  p.impl()->set(fs::TensorImpl::kRequiresGrad, true);
  return p;
}

struct Mlp {
  std::vector<Tensor> parameters;  // weight (out, in) and bias (out) of each layer

  explicit Mlp(const std::vector<int64_t>& widths) {
    for (size_t i = 1; i < widths.size(); ++i) {
      const double bound = 1 / std::sqrt(static_cast<double>(widths[i - 1]));
      parameters.push_back(parameter({widths[i], widths[i - 1]}, bound));
      parameters.push_back(parameter({widths[i]}, bound));
    }
  }
  Tensor operator()(Tensor x) const {
    for (size_t i = 0; i < parameters.size(); i += 2) {
      x = fs::linear(x, parameters[i], parameters[i + 1]);
      if (i + 2 < parameters.size()) x = fs::relu(x);
    }
    return x;
  }
};

double accuracy(const Mlp& model, const Data& data) {
  const fs::GradMode no_grad(false);
  const Tensor right = fs::eq(fs::argmax(model(data.x), 1), data.y);
  return static_cast<double>(fs::sum(right).data<int64_t>()[0]) / static_cast<double>(data.y.numel());
}

}  // namespace

int main() {
  fs::default_generator().manual_seed(0);
  const Data train = make_spirals(2000), test = make_spirals(1000);
  const Mlp model({2, 64, 64, 2});
  fs::Adam optimizer(model.parameters, 3e-3);
  constexpr int64_t kBatch = 50;
  for (int epoch = 1; epoch <= 30; ++epoch) {
    const Tensor order = fs::randperm(train.y.numel());
    double total = 0;
    for (int64_t at = 0; at < order.numel(); at += kBatch) {
      const Tensor rows = fs::narrow(order, 0, at, kBatch);
      const Tensor logits = model(fs::index_select(train.x, 0, rows));
      const Tensor loss = fs::cross_entropy(logits, fs::index_select(train.y, 0, rows));
      optimizer.zero_grad();
      fs::backward({loss}, {Tensor()}, {});
      optimizer.step();
      total += static_cast<double>(loss.data<float>()[0]) * kBatch;
    }
    if (epoch % 5 == 0) {
      std::printf("epoch %2d  loss %.4f  test accuracy %.1f %%\n", epoch, total / static_cast<double>(order.numel()),
                  100 * accuracy(model, test));
    }
  }
  const double final = accuracy(model, test);
  std::printf("%s\n", final > 0.97 ? "learnt" : "not learnt");
  return final > 0.97 ? 0 : 1;
}

// Attributes of the random ops: the distribution's parameters and the generator to draw from.
#pragma once

#include <cstdint>

namespace fireseed {

class Generator;  // math/random.h

// `generator` is never null: the op layer puts default_generator() where the user named none.
struct GeneratorAttrs {  // bernoulli_tensor
  Generator* generator = nullptr;
};
struct UniformAttrs {  // [from, to)
  Generator* generator = nullptr;
  double from = 0, to = 1;
};
struct NormalAttrs {  // normal, log_normal
  Generator* generator = nullptr;
  double mean = 0, std = 1;
};
// word % range + base, where word has 64 bits if wide, else 32. range 0 stands for 2^64 (full 64-bit words).
struct RandomIntAttrs {
  Generator* generator = nullptr;
  uint64_t range = 0;
  int64_t base = 0;
  int64_t wide = 0;  // 0 or 1
};
struct BernoulliAttrs {  // bernoulli, geometric: probability of a success
  Generator* generator = nullptr;
  double p = 0.5;
};
struct ExponentialAttrs {
  Generator* generator = nullptr;
  double lambda = 1;
};
struct CauchyAttrs {
  Generator* generator = nullptr;
  double median = 0, sigma = 1;
};
struct MultinomialAttrs {
  Generator* generator = nullptr;
  int64_t num_samples = 1;
  int64_t replacement = 0;  // 0 or 1
};
struct DropoutAttrs {  // p: probability of dropping an element
  Generator* generator = nullptr;
  double p = 0.5;
};
struct DropoutBackwardAttrs { double p = 0.5; };

}  // namespace fireseed

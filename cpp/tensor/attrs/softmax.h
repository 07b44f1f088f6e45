// Attributes of softmax, log_softmax and their backwards.
#pragma once

#include <cstdint>

namespace fireseed {

struct SoftmaxAttrs { int64_t dim = 0; };

}  // namespace fireseed

// Scaled dot product attention.
#pragma once

#include <optional>

#include "tensor/tensor.h"

namespace fireseed {

// softmax(q k^T * scale + mask) v (Vaswani et al. 2017): q (..., L, E), k (..., S, E), v (..., S, V) -> (..., L, V).
// mask broadcasts to (..., L, S): bool (true takes part) or float added to the scores; absent: none. causal: query i
// sees keys 0 .. i. scale: 1 / sqrt(E) by default. enable_gqa: each head of k and v serves several of q. Rows that
// see nothing give zeros.
Tensor scaled_dot_product_attention(const Tensor& query, const Tensor& key, const Tensor& value,
                                    const Tensor& mask = Tensor(), double dropout_p = 0.0, bool causal = false,
                                    std::optional<double> scale = {}, bool enable_gqa = false);

}  // namespace fireseed

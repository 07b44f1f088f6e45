// Python function of scaled dot product attention.
#include "ops/attention.h"

#include "bind/fast_call.h"

namespace fireseed::bind {

FS_BINDINGS(attention) {
  def(
      "scaled_dot_product_attention(Tensor query, Tensor key, Tensor value, Tensor? attn_mask=None, float "
      "dropout_p=0.0, bool is_causal=False, *, float? scale=None, bool enable_gqa=False)",
      kNN,
      [](Args& a) {
        return scaled_dot_product_attention(a.tensor(0), a.tensor(1), a.tensor(2), a.opt_tensor(3), a.f64(4),
                                            a.boolean(5), a.opt_f64(6), a.boolean(7));
      },
      "softmax(q k^T * scale + mask) v: (..., L, E), (..., S, E), (..., S, V) -> (..., L, V). attn_mask: bool (True "
      "takes part) or float added to the scores; is_causal: query i sees keys 0 .. i; scale: 1 / sqrt(E) by default; "
      "enable_gqa: each head of key and value serves several of query. Rows that see nothing give zeros.");
}

}  // namespace fireseed::bind

// PyTorch's lists of what autocast casts, and how: see Note [Autocast] in engine/autocast.h.
#include "ops/autocast.h"

#include <algorithm>
#include <iterator>
#include <vector>

#include "ops/records.h"

namespace fireseed {
namespace {

constexpr CastPolicy kNone = CastPolicy::kNone, kLower = CastPolicy::kLower, k32 = CastPolicy::kFloat32,
                     kWidest = CastPolicy::kWidest, kRefused = CastPolicy::kRefused, kAsIs = CastPolicy::kAsIs;

// The names are functions of Python and, where a composition uses them, ops of ops.def.
constexpr CastPolicies kPolicies[] = {
    // Products: the lower dtype on both. (_rnn and _rnn_cell serve the recurrent modules.)
    {"_rnn", kLower, kLower},
    {"_rnn_cell", kLower, kLower},
    {"addbmm", kLower, kLower},
    {"addmm", kLower, kLower},
    {"attention", kLower, kLower},
    {"baddbmm", kLower, kLower},
    {"bmm", kLower, kLower},
    {"conv", kLower, kLower},
    {"conv1d", kLower, kLower},
    {"conv2d", kLower, kLower},
    {"conv3d", kLower, kLower},
    {"conv_transpose1d", kLower, kLower},
    {"conv_transpose2d", kLower, kLower},
    {"conv_transpose3d", kLower, kLower},
    {"linear", kLower, kLower},
    {"gru", kLower, kLower},
    {"lstm", kLower, kLower},
    {"matmul", kLower, kLower},
    {"mm", kLower, kLower},
    {"prelu", kLower, kLower},
    {"rnn_relu", kLower, kLower},
    {"rnn_tanh", kLower, kLower},
    {"scaled_dot_product_attention", kLower, kLower},
    {"vecdot", kLower, kLower},
    {"addmv", kAsIs, kLower},
    {"addr", kAsIs, kLower},
    {"chain_matmul", kNone, kLower},
    {"einsum", kNone, kLower},
    {"multi_dot", kNone, kLower},
    {"mv", kAsIs, kLower},
    {"gru_cell", kLower, kLower},
    {"lstm_cell", kLower, kLower},
    {"rnn_relu_cell", kLower, kLower},
    {"rnn_tanh_cell", kLower, kLower},
    // Losses: float32 on both.
    {"binary_cross_entropy_with_logits", k32, k32},
    {"bce_with_logits_loss", k32, k32},
    {"cosine_embedding_loss", k32, k32},
    {"cross_entropy", k32, k32},
    {"hinge_embedding_loss", k32, k32},
    {"huber_loss", k32, k32},
    {"kl_div", k32, k32},
    {"kl_div_log", k32, k32},
    {"l1_loss", k32, k32},
    {"margin_ranking_loss", k32, k32},
    {"mse_loss", k32, k32},
    {"multi_margin_loss", k32, k32},
    {"multilabel_margin_loss", k32, k32},
    {"nll_loss", k32, k32},
    {"poisson_nll_loss", k32, k32},
    {"smooth_l1_loss", k32, k32},
    {"soft_margin_loss", k32, k32},
    {"triplet_margin_loss", k32, k32},
    {"ctc_loss", k32, kNone},
    {"binary_cross_entropy", k32, kRefused},
    {"bce_loss", k32, kRefused},
    // float32 on both.
    {"cdist", k32, k32},
    {"prod", k32, k32},
    // float32 on the CPU.
    {"adaptive_avg_pool3d", k32, kNone},
    {"avg_pool3d", k32, kNone},
    {"cholesky", k32, kNone},
    {"cholesky_inverse", k32, kNone},
    {"cholesky_solve", k32, kNone},
    {"cond", k32, kNone},
    {"householder_product", k32, kNone},
    {"inv", k32, kNone},
    {"inverse", k32, kNone},
    {"lstsq", k32, kNone},
    {"lu_solve", k32, kNone},
    {"matrix_rank", k32, kNone},
    {"max_pool3d", k32, kNone},
    {"max_unpool2d", k32, kNone},
    {"max_unpool3d", k32, kNone},
    {"mode_pad", k32, kNone},
    {"nanquantile", k32, kNone},
    {"orgqr", k32, kNone},
    {"ormqr", k32, kNone},
    {"pinv", k32, kNone},
    {"pinverse", k32, kNone},
    {"qr", k32, kNone},
    {"quantile", k32, kNone},
    {"solve", k32, kNone},
    {"stft", k32, kNone},
    {"svd", k32, kNone},
    {"svdvals", k32, kNone},
    {"trace", k32, kNone},
    // float32 on CUDA.
    {"acos", kNone, k32},
    {"arccos", kNone, k32},
    {"asin", kNone, k32},
    {"arcsin", kNone, k32},
    {"cosh", kNone, k32},
    {"cosine_similarity", kNone, k32},
    {"cumprod", kNone, k32},
    {"cumsum", kNone, k32},
    {"dist", kNone, k32},
    {"erfinv", kNone, k32},
    {"exp", kNone, k32},
    {"expm1", kNone, k32},
    {"group_norm", kNone, k32},
    {"interpolate", kNone, k32},
    {"layer_norm", kNone, k32},
    {"log", kNone, k32},
    {"log10", kNone, k32},
    {"log1p", kNone, k32},
    {"log2", kNone, k32},
    {"log_softmax", kNone, k32},
    {"logsumexp", kNone, k32},
    {"norm", kNone, k32},
    {"nuclear_norm", kNone, k32},
    {"pdist", kNone, k32},
    {"pow", kNone, k32},
    {"pow_scalar", kNone, k32},
    {"rdiv_scalar", kNone, k32},
    {"reciprocal", kNone, k32},
    {"renorm", kNone, k32},
    {"rsqrt", kNone, k32},
    {"sinh", kNone, k32},
    {"softmax", kNone, k32},
    {"softmin", kNone, k32},
    {"softplus", kNone, k32},
    {"square", kNone, k32},
    {"sum", kNone, k32},
    {"tan", kNone, k32},
    {"upsample", kNone, k32},
    {"vector_norm", kNone, k32},
    {"matrix_norm", kNone, k32},
    // The widest input on CUDA; on the CPU where it says so.
    {"addcdiv", kNone, kWidest},
    {"addcmul", kNone, kWidest},
    {"atan2", kNone, kWidest},
    {"bilinear", kNone, kWidest},
    {"cat", kWidest, kWidest},
    {"concat", kWidest, kWidest},
    {"cross", kNone, kWidest},
    {"dot", kAsIs, kWidest},
    {"grid_sample", k32, kWidest},
    {"index_copy", kWidest, kNone},
    {"index_put", kNone, kWidest},
    {"scatter_add", kNone, kWidest},
    {"stack", kWidest, kWidest},
    {"tensordot", kNone, kWidest},
    {"vdot", kAsIs, kAsIs},
};

void set(Op& op) {
  if (const CastPolicies* p = cast_policies(op.name)) {
    op.autocast[0] = p->cpu;
    op.autocast[1] = p->cuda;
  }
}

bool set_all() {
#define FS_UNARY(name, Functor) set(op::name);
#define FS_BINARY(name, Functor) set(op::name);
#define FS_COMPARE(name, Functor) set(op::name);
#define FS_TERNARY(name, Functor) set(op::name);
#define FS_KERNEL(name) set(op::name);
#define FS_VIEW(name)
#include "ops.def"
#undef FS_UNARY
#undef FS_BINARY
#undef FS_COMPARE
#undef FS_TERNARY
#undef FS_KERNEL
#undef FS_VIEW
  return true;
}
[[maybe_unused]] const bool done = set_all();

}  // namespace

const CastPolicies* cast_policies(std::string_view name) {
  static const std::vector<const CastPolicies*> sorted = [] {
    std::vector<const CastPolicies*> v;
    for (const CastPolicies& p : kPolicies) v.push_back(&p);
    std::sort(v.begin(), v.end(), [](auto* a, auto* b) { return std::string_view(a->name) < b->name; });
    return v;
  }();
  const auto it = std::lower_bound(sorted.begin(), sorted.end(), name,
                                   [](auto* p, std::string_view n) { return std::string_view(p->name) < n; });
  return it != sorted.end() && (*it)->name == name ? *it : nullptr;
}

}  // namespace fireseed

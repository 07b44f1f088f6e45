"""PyTorch's torch.nn.functional. Most names are functions of the extension as they are; the rest is composed of them."""
from .. import _C
from ._functional.activation import (alpha_dropout, dropout1d, dropout2d, dropout3d, feature_alpha_dropout,  # noqa: F401
                                     gumbel_softmax, log_softmax, rrelu, rrelu_, softmax, softmin, softsign, tanhshrink)
from ._functional.attention import multi_head_attention_forward, scaled_dot_product_attention  # noqa: F401
from ._functional.loss import (binary_cross_entropy, binary_cross_entropy_with_logits,  # noqa: F401
                               cosine_embedding_loss, cross_entropy, ctc_loss, gaussian_nll_loss, hinge_embedding_loss,
                               huber_loss, kl_div, l1_loss, margin_ranking_loss, mse_loss, multi_margin_loss,
                               multilabel_margin_loss, multilabel_soft_margin_loss, nll_loss, poisson_nll_loss,
                               smooth_l1_loss, soft_margin_loss, triplet_margin_loss, triplet_margin_with_distance_loss)
from ._functional.norm import (cosine_similarity, embedding, embedding_bag, instance_norm,  # noqa: F401
                               local_response_norm, lp_pool1d, lp_pool2d, lp_pool3d, max_unpool1d, max_unpool2d,
                               max_unpool3d, normalize, pairwise_distance, pdist, rms_norm)
from ._functional.shape import (affine_grid, bilinear, channel_shuffle, fold, grid_sample, interpolate,  # noqa: F401
                                one_hot, pad, pixel_shuffle, pixel_unshuffle, unfold, upsample, upsample_bilinear,
                                upsample_nearest)

# The extension's own functions, under the same names and with the same signatures.
globals().update((name, getattr(_C._nn, name)) for name in dir(_C._nn) if not name.startswith("__"))
sigmoid = _C.sigmoid
tanh = _C.tanh

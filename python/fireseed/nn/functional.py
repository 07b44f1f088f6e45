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

linear = _C.linear
dropout = _C.dropout

relu = _C.relu
relu_ = _C.relu_
relu6 = _C.relu6
leaky_relu = _C.leaky_relu
leaky_relu_ = _C.leaky_relu_
elu = _C.elu
elu_ = _C.elu_
selu = _C.selu
selu_ = _C.selu_
celu = _C.celu
celu_ = _C.celu_
gelu = _C.gelu
silu = _C.silu
mish = _C.mish
hardswish = _C.hardswish
hardsigmoid = _C.hardsigmoid
hardtanh = _C.hardtanh
hardtanh_ = _C.hardtanh_
sigmoid = _C.sigmoid
tanh = _C.tanh
softplus = _C.softplus
softshrink = _C.softshrink
hardshrink = _C.hardshrink
logsigmoid = _C.logsigmoid
glu = _C.glu
prelu = _C.prelu
threshold = _C.threshold
threshold_ = _C.threshold_

conv1d = _C.conv1d
conv2d = _C.conv2d
conv3d = _C.conv3d
conv_transpose1d = _C.conv_transpose1d
conv_transpose2d = _C.conv_transpose2d
conv_transpose3d = _C.conv_transpose3d

max_pool1d = _C.max_pool1d
max_pool2d = _C.max_pool2d
max_pool3d = _C.max_pool3d
max_pool1d_with_indices = _C.max_pool1d_with_indices
max_pool2d_with_indices = _C.max_pool2d_with_indices
max_pool3d_with_indices = _C.max_pool3d_with_indices
avg_pool1d = _C.avg_pool1d
avg_pool2d = _C.avg_pool2d
avg_pool3d = _C.avg_pool3d
adaptive_avg_pool1d = _C.adaptive_avg_pool1d
adaptive_avg_pool2d = _C.adaptive_avg_pool2d
adaptive_avg_pool3d = _C.adaptive_avg_pool3d
adaptive_max_pool1d = _C.adaptive_max_pool1d
adaptive_max_pool2d = _C.adaptive_max_pool2d
adaptive_max_pool3d = _C.adaptive_max_pool3d

batch_norm = _C.batch_norm
layer_norm = _C.layer_norm
group_norm = _C.group_norm

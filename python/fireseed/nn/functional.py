"""PyTorch's torch.nn.functional: the extension's functions, and the few that are composed of them in Python."""
# ruff: noqa: F401, F403, F405
from .. import _C
from ._functional.activation import gumbel_softmax, rrelu, rrelu_
from ._functional.attention import multi_head_attention_forward
from ._functional.dropout import original_dropout
from ._functional.geometry import affine_grid, bilinear, pdist
from ._functional.linear_cross_entropy import linear_cross_entropy
from ._functional.loss import triplet_margin_with_distance_loss
from ._functional.pooling import fractional_max_pool2d, fractional_max_pool3d

# The extension's own functions, under the same names and with the same signatures.
globals().update((name, getattr(_C._nn, name)) for name in dir(_C._nn) if not name.startswith("__"))


def __getattr__(name):
    from .._namespaces import missing_attribute
    raise missing_attribute(__name__, name)

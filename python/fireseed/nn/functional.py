"""PyTorch's torch.nn.functional: the extension's functions, and the few that are composed of them in Python."""
from .. import _C
from ._functional.activation import celu_, gumbel_softmax, rrelu, rrelu_, selu_  # noqa: F401
from ._functional.attention import multi_head_attention_forward, scaled_dot_product_attention  # noqa: F401
from ._functional.geometry import affine_grid, bilinear, grid_sample, pdist  # noqa: F401
from ._functional.loss import ctc_loss, triplet_margin_with_distance_loss  # noqa: F401

# The extension's own functions, under the same names and with the same signatures.
globals().update((name, getattr(_C._nn, name)) for name in dir(_C._nn) if not name.startswith("__"))

"""Activations, softmax variants and dropouts that are composed of other operations."""
import math
import warnings

from ... import _C
from . import _nn

_ALPHA_PRIME = 1.7580993408473766  # SELU's scale * alpha: where alpha dropout puts the dropped values


def _softmax_dim(name, ndim):
    """The dimension PyTorch picks when none is given: 0 for 0-, 1- and 3-d inputs, 1 otherwise."""
    warnings.warn(f"Implicit dimension choice for {name} has been deprecated. Change the call to include dim=X as an "
                  "argument.", stacklevel=3)
    return 0 if ndim in (0, 1, 3) else 1


def softmax(input, dim=None, _stacklevel=3, dtype=None):
    """exp(x) / sum(exp(x)) along dim, any shape; dtype: computed and returned in it."""
    if dim is None:
        dim = _softmax_dim("softmax", input.dim())
    return _nn.softmax(input, dim) if dtype is None else _nn.softmax(input, dim, dtype=dtype)


def log_softmax(input, dim=None, _stacklevel=3, dtype=None):
    """log(softmax(x)) along dim, computed stably."""
    if dim is None:
        dim = _softmax_dim("log_softmax", input.dim())
    return _nn.log_softmax(input, dim) if dtype is None else _nn.log_softmax(input, dim, dtype=dtype)


def softmin(input, dim=None, _stacklevel=3, dtype=None):
    """softmax(-x) along dim."""
    if dim is None:
        dim = _softmax_dim("softmin", input.dim())
    return softmax(-input, dim, dtype=dtype)


def gumbel_softmax(logits, tau=1, hard=False, eps=1e-10, dim=-1):
    """A differentiable sample of a categorical variable (Jang et al. 2017); hard: one-hot with the soft gradient."""
    if eps != 1e-10:
        warnings.warn("`eps` parameter is deprecated and has no effect.", stacklevel=2)
    gumbels = -_C.empty_like(logits).exponential_().log()
    soft = ((logits + gumbels) / tau).softmax(dim)
    if not hard:
        return soft
    index = soft.max(dim, keepdim=True)[1]
    return _C.zeros_like(logits).scatter_(dim, index, 1.0) - soft.detach() + soft


def softsign(input):
    """x / (1 + |x|)."""
    return input / (input.abs() + 1)


def tanhshrink(input):
    """x - tanh(x)."""
    return input - input.tanh()


def rrelu(input, lower=1.0 / 8, upper=1.0 / 3, training=False, inplace=False):
    """Leaky ReLU whose slope is drawn from U(lower, upper) for each negative element; the mean slope in evaluation."""
    if lower > upper:
        raise RuntimeError(f"rrelu: lower must be <= upper, got {lower} and {upper}")
    if training:
        negative = input.detach() <= 0
        n = int(negative.sum())
        slope = _C.ones_like(input.detach())
        drawn = _C.empty(n, dtype=_C.float64, device=input.device).uniform_(lower, upper)  # float64, as PyTorch draws
        slope[negative] = drawn.to(input.dtype)
        return input.mul_(slope) if inplace else input * slope
    return _nn.leaky_relu(input, (lower + upper) / 2, inplace)


def rrelu_(input, lower=1.0 / 8, upper=1.0 / 3, training=False):
    """In-place rrelu."""
    return rrelu(input, lower, upper, training, True)


def _masked_noise(input, p, training, inplace, feature, alpha, name):
    """Dropout with PyTorch's draws: Bernoulli(1 - p), one per element or (feature) per sample and channel."""
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    if feature and input.dim() < 2:
        raise RuntimeError(f"{name}: Feature dropout requires at least 2 dimensions in the input, got {input.dim()}")
    if p == 0 or not training or input.numel() == 0:
        return input
    if p == 1:
        return input.mul_(0.0) if inplace else input * 0.0
    shape = tuple(input.shape[:2]) + (1,) * (input.dim() - 2) if feature else tuple(input.shape)
    noise = _C.empty(shape, dtype=input.dtype, device=input.device).bernoulli_(1 - p)
    if not alpha:
        noise.div_(1 - p)
        return input.mul_(noise) if inplace else input * noise
    a = 1.0 / math.sqrt((_ALPHA_PRIME * _ALPHA_PRIME * p + 1) * (1 - p))
    shift = (noise - 1).mul_(_ALPHA_PRIME * a).add_(_ALPHA_PRIME * a * p)
    noise.mul_(a)
    return input.mul_(noise).add_(shift) if inplace else input * noise + shift


def alpha_dropout(input, p=0.5, training=False, inplace=False):
    """Dropout that keeps mean and variance of SELU networks (Klambauer et al. 2017)."""
    return _masked_noise(input, p, training, inplace, False, True, "alpha_dropout")


def feature_alpha_dropout(input, p=0.5, training=False, inplace=False):
    """alpha_dropout of whole channels: (N, C, *)."""
    return _masked_noise(input, p, training, inplace, True, True, "feature_alpha_dropout")


def dropout1d(input, p=0.5, training=True, inplace=False):
    """Zeroes whole channels of (N, C, L) or (C, L)."""
    if input.dim() not in (2, 3):
        raise RuntimeError(f"dropout1d: Expected 2D or 3D input, but received a {input.dim()}D input. Note that dropout1d "
                           "exists to provide channel-wise dropout on inputs with 1 spatial dimension, a channel "
                           "dimension, and an optional batch dimension (i.e. 2D or 3D inputs).")
    if input.dim() == 2:
        x = input.unsqueeze_(0) if inplace else input.unsqueeze(0)
        x = _masked_noise(x, p, training, inplace, True, False, "dropout1d")
        return x.squeeze_(0) if inplace else x.squeeze(0)
    return _masked_noise(input, p, training, inplace, True, False, "dropout1d")


def dropout2d(input, p=0.5, training=True, inplace=False):
    """Zeroes whole channels of (N, C, H, W)."""
    if input.dim() not in (3, 4):
        warnings.warn(f"dropout2d: Received a {input.dim()}-D input to dropout2d, which is deprecated and will result in "
                      "an error in a future release.", stacklevel=2)
    return _masked_noise(input, p, training, inplace, True, False, "dropout2d")


def dropout3d(input, p=0.5, training=True, inplace=False):
    """Zeroes whole channels of (N, C, D, H, W)."""
    if input.dim() not in (4, 5):
        warnings.warn(f"dropout3d: Received a {input.dim()}-D input to dropout3d, which is deprecated and will result in "
                      "an error in a future release.", stacklevel=2)
    return _masked_noise(input, p, training, inplace, True, False, "dropout3d")

"""Activations that are composed of other operations."""
import warnings

from ... import _C
from . import _nn


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

"""Helpers of the distributions: broadcasting parameters, probabilities and their logits."""

from __future__ import annotations

import fireseed as fs

__all__ = ["broadcast_all", "clamp_probs", "lazy_property", "logits_to_probs", "probs_to_logits"]


def broadcast_all(*values):
    """Tensors of one shape from tensors and numbers."""
    if not all(isinstance(v, (fs.Tensor, int, float)) for v in values):
        raise ValueError("Input arguments must all be instances of Number, torch.Tensor or objects implementing __torch_function__.")
    tensors = [v for v in values if isinstance(v, fs.Tensor)]
    dtype = tensors[0].dtype if tensors else fs.get_default_dtype()
    return fs.broadcast_tensors(*(v if isinstance(v, fs.Tensor) else fs.tensor(v, dtype=dtype) for v in values))


def clamp_probs(probs):
    """probs within [eps, 1 - eps], so that logarithms are finite."""
    eps = fs.finfo(probs.dtype).eps
    return probs.clamp(min=eps, max=1 - eps)


def logits_to_probs(logits, is_binary=False):
    """Sigmoid, or softmax over the last dimension."""
    return fs.sigmoid(logits) if is_binary else fs.softmax(logits, dim=-1)


def probs_to_logits(probs, is_binary=False):
    """The log-odds, or logarithms, of clamped probabilities."""
    p = clamp_probs(probs)
    return fs.log(p) - fs.log1p(-p) if is_binary else fs.log(p)


class lazy_property:
    """A property that is computed once, with gradients, and then stands in the object."""

    def __init__(self, function):
        self._function = function
        self.__doc__ = function.__doc__

    def __set_name__(self, owner, name):
        self._name = name

    def __get__(self, instance, owner=None):
        if instance is None:
            return self
        with fs.enable_grad():
            value = self._function(instance)
        instance.__dict__[self._name] = value
        return value

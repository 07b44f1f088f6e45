"""RMSprop (Tieleman and Hinton 2012)."""

from __future__ import annotations

from ._fused import CENTERED, MAXIMIZE, MOMENTUM, FusedOptimizer
from .optimizer import _check_lr, _check_non_negative

__all__ = ["RMSprop"]


class RMSprop(FusedOptimizer):
    """Gradient descent by g / (sqrt(v) + eps), v = alpha * v + (1 - alpha) * g^2.

    ``centered`` (Graves 2013) takes the variance, v minus the squared moving average of g; ``momentum`` accumulates
    the quotients.
    """

    _kernel = "rmsprop_step"
    _hyper = ("lr", "alpha", "eps", "momentum", "weight_decay")
    _flags = (("maximize", MAXIMIZE), ("centered", CENTERED), ("momentum", MOMENTUM))
    _old_options = {
        "momentum": 0,
        "centered": False,
        "foreach": None,
        "maximize": False,
        "differentiable": False,
        "capturable": False,
    }

    def __init__(
        self,
        params,
        lr=1e-2,
        alpha=0.99,
        eps=1e-8,
        weight_decay=0,
        momentum=0,
        centered=False,
        capturable=False,
        foreach=None,
        maximize=False,
        differentiable=False,
    ):
        _check_lr(lr)
        _check_non_negative(eps=eps, momentum=momentum, weight_decay=weight_decay, alpha=alpha)
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "alpha": alpha,
                "eps": eps,
                "centered": centered,
                "weight_decay": weight_decay,
                "capturable": capturable,
                "foreach": foreach,
                "maximize": maximize,
                "differentiable": differentiable,
            },
        )

    def _tensor_states(self, group):
        names = ["square_avg"]
        if group["centered"]:
            names.append("grad_avg")
        if group["momentum"] > 0:
            names.append("momentum_buffer")
        return names

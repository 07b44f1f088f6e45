"""Adadelta (Zeiler 2012)."""

from __future__ import annotations

from ._fused import MAXIMIZE, FusedOptimizer
from .optimizer import _check_lr, _check_non_negative

__all__ = ["Adadelta"]


class Adadelta(FusedOptimizer):
    """Steps of lr * sqrt(u + eps) / sqrt(v + eps) * g, with v and u the moving averages of g^2 and of steps squared."""

    _kernel = "adadelta_step"
    _hyper = ("lr", "rho", "eps", "weight_decay")
    _flags = (("maximize", MAXIMIZE),)
    _old_options = {"foreach": None, "maximize": False, "differentiable": False, "capturable": False}

    def __init__(
        self,
        params,
        lr=1.0,
        rho=0.9,
        eps=1e-6,
        weight_decay=0,
        foreach=None,
        *,
        capturable=False,
        maximize=False,
        differentiable=False,
    ):
        _check_lr(lr)
        if not 0.0 <= rho <= 1.0:
            raise ValueError(f"Invalid rho value: {rho}")
        _check_non_negative(eps=eps, weight_decay=weight_decay)
        super().__init__(
            params,
            {
                "lr": lr,
                "rho": rho,
                "eps": eps,
                "weight_decay": weight_decay,
                "maximize": maximize,
                "capturable": capturable,
                "foreach": foreach,
                "differentiable": differentiable,
            },
        )

    def _tensor_states(self, group):
        return ("square_avg", "acc_delta")

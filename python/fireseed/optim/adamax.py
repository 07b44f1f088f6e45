"""Adamax: Adam by the infinity norm (Kingma and Ba 2015, section 7.1)."""

from __future__ import annotations

from ._fused import MAXIMIZE, FusedOptimizer
from .optimizer import _check_betas, _check_lr, _check_non_negative

__all__ = ["Adamax"]


class Adamax(FusedOptimizer):
    """p = p - lr / (1 - b1^t) * m / u, with u = max(b2 * u, |g| + eps)."""

    _kernel = "adamax_step"
    _hyper = ("lr", ("betas", 0), ("betas", 1), "eps", "weight_decay")
    _flags = (("maximize", MAXIMIZE),)
    _old_options = {"foreach": None, "maximize": False, "differentiable": False, "capturable": False}

    def __init__(
        self,
        params,
        lr=2e-3,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0,
        foreach=None,
        *,
        maximize=False,
        differentiable=False,
        capturable=False,
    ):
        _check_lr(lr)
        _check_non_negative(eps=eps)
        _check_betas(betas)
        _check_non_negative(weight_decay=weight_decay)
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "foreach": foreach,
                "maximize": maximize,
                "differentiable": differentiable,
                "capturable": capturable,
            },
        )

    def _tensor_states(self, group):
        return ("exp_avg", "exp_inf")

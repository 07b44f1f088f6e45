"""Averaged stochastic gradient descent (Polyak and Juditsky 1992)."""

from __future__ import annotations

import fireseed as fs

from ._fused import MAXIMIZE, FusedOptimizer
from .optimizer import _check_lr, _check_non_negative, _number, _scalar_dtype

__all__ = ["ASGD"]


class ASGD(FusedOptimizer):
    """Gradient descent with rate lr / (1 + lambd * lr * t)^alpha; state "ax" averages the iterates after step t0."""

    _kernel = "asgd_step"
    _hyper = ("lr", "lambd", "alpha", "t0", "weight_decay")
    _flags = (("maximize", MAXIMIZE),)
    _numbers = ("step", "eta", "mu")
    _old_options = {"foreach": None, "maximize": False, "differentiable": False, "capturable": False}

    def __init__(
        self,
        params,
        lr=1e-2,
        lambd=1e-4,
        alpha=0.75,
        t0=1e6,
        weight_decay=0,
        foreach=None,
        maximize=False,
        differentiable=False,
        capturable=False,
    ):
        _check_lr(lr)
        _check_non_negative(weight_decay=weight_decay)
        super().__init__(
            params,
            {
                "lr": lr,
                "lambd": lambd,
                "alpha": alpha,
                "t0": t0,
                "weight_decay": weight_decay,
                "foreach": foreach,
                "maximize": maximize,
                "differentiable": differentiable,
                "capturable": capturable,
            },
        )

    def _tensor_states(self, group):
        return ("ax",)

    def _new_state(self, group, p, state):
        state["step"] = fs.tensor(0.0, dtype=_scalar_dtype(), device=p.device)
        state["eta"] = fs.tensor(float(_number(group["lr"])), dtype=_scalar_dtype(), device=p.device)
        state["mu"] = fs.tensor(1.0, dtype=_scalar_dtype(), device=p.device)
        state["ax"] = fs.zeros_like(p)

"""Lion (Chen et al. 2023, "Symbolic Discovery of Optimization Algorithms")."""

from __future__ import annotations

import fireseed as fs

from ._fused import MAXIMIZE, FusedOptimizer
from .optimizer import _check_betas, _check_lr, _check_non_negative

__all__ = ["Lion"]


class Lion(FusedOptimizer):
    """p = (1 - lr * weight_decay) * p - lr * sign(b1 * m + (1 - b1) * g), then m = b2 * m + (1 - b2) * g."""

    _kernel = "lion_step"
    _hyper = ("lr", ("betas", 0), ("betas", 1), "weight_decay")
    _flags = (("maximize", MAXIMIZE),)
    _numbers = ()

    def __init__(self, params, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0, *, maximize=False):
        _check_lr(lr)
        _check_betas(betas)
        _check_non_negative(weight_decay=weight_decay)
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay, "maximize": maximize})

    def _tensor_states(self, group):
        return ("exp_avg",)

    def _new_state(self, group, p, state):
        state["exp_avg"] = fs.zeros_like(p)

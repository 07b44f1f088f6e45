"""Resilient backpropagation (Riedmiller and Braun 1993)."""

from __future__ import annotations

import fireseed as fs

from ._fused import MAXIMIZE, FusedOptimizer
from .optimizer import _check_lr, _number, _scalar_dtype

__all__ = ["Rprop"]


class Rprop(FusedOptimizer):
    """Steps by the gradient's sign alone; each weight's step size grows while the sign stays and shrinks when it turns.

    Meant for whole-batch gradients.
    """

    _kernel = "rprop_step"
    _hyper = (("etas", 0), ("etas", 1), ("step_sizes", 0), ("step_sizes", 1))
    _flags = (("maximize", MAXIMIZE),)
    _old_options = {"foreach": None, "maximize": False, "differentiable": False, "capturable": False}

    def __init__(
        self,
        params,
        lr=1e-2,
        etas=(0.5, 1.2),
        step_sizes=(1e-6, 50),
        *,
        capturable=False,
        foreach=None,
        maximize=False,
        differentiable=False,
    ):
        _check_lr(lr)
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise ValueError(f"Invalid eta values: {etas[0]}, {etas[1]}")
        super().__init__(
            params,
            {
                "lr": lr,
                "etas": etas,
                "step_sizes": step_sizes,
                "foreach": foreach,
                "maximize": maximize,
                "differentiable": differentiable,
                "capturable": capturable,
            },
        )

    def _tensor_states(self, group):
        return ("prev", "step_size")

    def _new_state(self, group, p, state):
        state["step"] = fs.tensor(0.0, dtype=_scalar_dtype(), device=p.device)
        state["prev"] = fs.zeros_like(p)
        state["step_size"] = fs.full_like(p, float(_number(group["lr"])))

"""Adagrad (Duchi, Hazan and Singer 2011)."""

from __future__ import annotations

import fireseed as fs

from ._fused import MAXIMIZE, FusedOptimizer
from .optimizer import _check_lr, _check_non_negative, _scalar_dtype

__all__ = ["Adagrad"]


class Adagrad(FusedOptimizer):
    """Gradient descent by g / (sqrt(sum of g^2) + eps), with rate lr / (1 + (t - 1) * lr_decay)."""

    _kernel = "adagrad_step"
    _hyper = ("lr", "lr_decay", "eps", "weight_decay")
    _flags = (("maximize", MAXIMIZE),)
    _old_options = {"foreach": None, "maximize": False, "differentiable": False, "fused": None}

    def __init__(
        self,
        params,
        lr=1e-2,
        lr_decay=0,
        weight_decay=0,
        initial_accumulator_value=0,
        eps=1e-10,
        foreach=None,
        *,
        maximize=False,
        differentiable=False,
        fused=None,
    ):
        _check_lr(lr)
        _check_non_negative(
            lr_decay=lr_decay,
            weight_decay=weight_decay,
            initial_accumulator_value=initial_accumulator_value,
            eps=eps,
        )
        super().__init__(
            params,
            {
                "lr": lr,
                "lr_decay": lr_decay,
                "eps": eps,
                "weight_decay": weight_decay,
                "initial_accumulator_value": initial_accumulator_value,
                "foreach": foreach,
                "maximize": maximize,
                "differentiable": differentiable,
                "fused": fused,
            },
        )
        for group in self.param_groups:
            for p in group["params"]:
                self._new_state(group, p, self.state[p])

    def _tensor_states(self, group):
        return ("sum",)

    def _new_state(self, group, p, state):
        state["step"] = fs.tensor(0.0, dtype=_scalar_dtype(), device=p.device)
        with fs.no_grad():
            state["sum"] = fs.full_like(p, group["initial_accumulator_value"])

    def share_memory(self):
        """Moves the sums of squares to shared memory."""
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p]["sum"].share_memory_()

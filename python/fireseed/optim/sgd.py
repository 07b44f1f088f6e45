"""Stochastic gradient descent with momentum."""

from __future__ import annotations

import fireseed as fs

from ._fused import MAXIMIZE, MOMENTUM, NESTEROV, FusedOptimizer, _rounds
from .optimizer import _check_lr

__all__ = ["SGD"]


class SGD(FusedOptimizer):
    """Stochastic gradient descent, with momentum (Sutskever et al. 2013) where asked for.

    With g the gradient plus ``weight_decay`` times the parameter: v = momentum * v + (1 - dampening) * g (v = g at
    first), and p = p - lr * v, or p - lr * (g + momentum * v) with ``nesterov``.
    """

    _kernel = "sgd_step"
    _hyper = ("lr", "momentum", "dampening", "weight_decay")
    _flags = (("maximize", MAXIMIZE), ("nesterov", NESTEROV), ("momentum", MOMENTUM))
    _numbers = ()
    _old_options = {"nesterov": False, "maximize": False, "foreach": None, "differentiable": False, "fused": False}

    def __init__(
        self,
        params,
        lr=1e-3,
        momentum=0,
        dampening=0,
        weight_decay=0,
        nesterov=False,
        *,
        maximize=False,
        foreach=None,
        differentiable=False,
        fused=None,
    ):
        _check_lr(lr)
        if momentum < 0.0:
            raise ValueError(f"Invalid momentum value: {momentum}")
        if weight_decay < 0.0:
            raise ValueError(f"Invalid weight_decay value: {weight_decay}")
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "dampening": dampening,
                "weight_decay": weight_decay,
                "nesterov": nesterov,
                "maximize": maximize,
                "foreach": foreach,
                "differentiable": differentiable,
                "fused": fused,
            },
        )

    def _make_plans(self, group):
        # Momentum starts as the first gradient, which is a step of its own kind.
        absent = [p for p in group["params"] if p.grad is None]
        for members in _rounds([p for p in group["params"] if p.grad is not None]):
            if group["momentum"] == 0:
                yield self._plan(group, members, absent, False, ()), True
                continue
            starting = [p for p in members if self.state[p].get("momentum_buffer") is None]
            started = [p for p in members if self.state[p].get("momentum_buffer") is not None]
            for p in starting:
                self.state[p]["momentum_buffer"] = fs.zeros_like(p)
            if starting:
                yield self._plan(group, starting, absent, True, ("momentum_buffer",)), False
            if started:
                yield self._plan(group, started, absent, False, ("momentum_buffer",)), True

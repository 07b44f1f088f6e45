"""NAdam: Adam with Nesterov momentum (Dozat 2016)."""

from __future__ import annotations

import fireseed as fs

from ._fused import DECOUPLED, MAXIMIZE, FusedOptimizer
from .optimizer import _check_betas, _check_lr, _check_non_negative, _scalar_dtype

__all__ = ["NAdam"]


class NAdam(FusedOptimizer):
    """Adam with Nesterov momentum, whose schedule is b1 * (1 - 0.96^(t * momentum_decay) / 2)."""

    _kernel = "nadam_step"
    _hyper = ("lr", ("betas", 0), ("betas", 1), "eps", "weight_decay", "momentum_decay")
    _flags = (("maximize", MAXIMIZE), ("decoupled_weight_decay", DECOUPLED))
    _numbers = ("step", "mu_product")
    _old_options = {
        "maximize": False,
        "foreach": None,
        "capturable": False,
        "differentiable": False,
        "decoupled_weight_decay": False,
    }

    def __init__(
        self,
        params,
        lr=2e-3,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0,
        momentum_decay=4e-3,
        decoupled_weight_decay=False,
        *,
        foreach=None,
        maximize=False,
        capturable=False,
        differentiable=False,
    ):
        _check_lr(lr)
        _check_non_negative(eps=eps)
        _check_betas(betas)
        _check_non_negative(weight_decay=weight_decay, momentum_decay=momentum_decay)
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "momentum_decay": momentum_decay,
                "decoupled_weight_decay": decoupled_weight_decay,
                "maximize": maximize,
                "foreach": foreach,
                "capturable": capturable,
                "differentiable": differentiable,
            },
        )

    def _tensor_states(self, group):
        return ("exp_avg", "exp_avg_sq")

    def _new_state(self, group, p, state):
        state["step"] = fs.tensor(0.0, dtype=_scalar_dtype(), device=p.device)
        state["mu_product"] = fs.tensor(1.0, dtype=_scalar_dtype(), device=p.device)
        state["exp_avg"] = fs.zeros_like(p)
        state["exp_avg_sq"] = fs.zeros_like(p)

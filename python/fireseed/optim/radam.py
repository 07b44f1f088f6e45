"""RAdam: rectified Adam (Liu et al. 2020)."""

from __future__ import annotations

from ._fused import DECOUPLED, MAXIMIZE, FusedOptimizer
from .optimizer import _check_betas, _check_lr, _check_non_negative

__all__ = ["RAdam"]


class RAdam(FusedOptimizer):
    """Adam with its adaptive rate rectified, and left out while the second moment's variance is unbounded."""

    _kernel = "radam_step"
    _hyper = ("lr", ("betas", 0), ("betas", 1), "eps", "weight_decay")
    _flags = (("maximize", MAXIMIZE), ("decoupled_weight_decay", DECOUPLED))
    _old_options = {
        "foreach": None,
        "maximize": False,
        "differentiable": False,
        "decoupled_weight_decay": False,
        "capturable": False,
    }

    def __init__(
        self,
        params,
        lr=1e-3,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0,
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
        _check_non_negative(weight_decay=weight_decay)
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "maximize": maximize,
                "foreach": foreach,
                "capturable": capturable,
                "decoupled_weight_decay": decoupled_weight_decay,
                "differentiable": differentiable,
            },
        )

    def _tensor_states(self, group):
        return ("exp_avg", "exp_avg_sq")

"""Adam (Kingma and Ba 2015)."""

from __future__ import annotations

import fireseed as fs

from ._fused import AMSGRAD, DECOUPLED, MAXIMIZE, FusedOptimizer
from .optimizer import _check_betas, _check_lr, _check_non_negative, _number

__all__ = ["Adam"]


class Adam(FusedOptimizer):
    """Adam: moving averages of the gradient and its square, corrected for their start at 0.

    m = b1 * m + (1 - b1) * g, v = b2 * v + (1 - b2) * g^2, p = p - lr / (1 - b1^t) * m / (sqrt(v / (1 - b2^t)) + eps);
    with ``amsgrad`` (Reddi et al. 2018) the largest v so far. ``weight_decay`` adds to g, or with
    ``decoupled_weight_decay`` shrinks p by 1 - lr * weight_decay (AdamW).
    """

    _kernel = "adam_step"
    _hyper = ("lr", ("betas", 0), ("betas", 1), "eps", "weight_decay")
    _flags = (("maximize", MAXIMIZE), ("amsgrad", AMSGRAD), ("decoupled_weight_decay", DECOUPLED))
    _old_options = {
        "amsgrad": False,
        "maximize": False,
        "foreach": None,
        "capturable": False,
        "differentiable": False,
        "decoupled_weight_decay": False,
        "fused": None,
    }

    def __init__(
        self,
        params,
        lr=1e-3,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0,
        amsgrad=False,
        *,
        foreach=None,
        maximize=False,
        capturable=False,
        differentiable=False,
        fused=None,
        decoupled_weight_decay=False,
    ):
        if isinstance(lr, fs.Tensor) and foreach and not capturable:
            raise ValueError("lr as a Tensor is not supported for capturable=False and foreach=True")
        _check_lr(lr)
        _check_non_negative(eps=eps)
        _check_betas(betas)
        _check_non_negative(weight_decay=weight_decay)
        if not (
            all(isinstance(b, float) for b in betas[:2]) or all(isinstance(b, fs.Tensor) for b in betas[:2])
        ):
            raise ValueError("betas must be either both floats or both Tensors")
        for i, beta in enumerate(betas[:2]):
            if isinstance(beta, fs.Tensor):
                if foreach and not capturable:
                    raise ValueError(
                        f"betas[{i}] as a Tensor is not supported for capturable=False and foreach=True"
                    )
                if beta.numel() != 1:
                    raise ValueError(f"Tensor betas[{i}] must be 1-element, got shape {list(beta.shape)}")
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": tuple(_number(b) for b in betas),
                "eps": eps,
                "weight_decay": weight_decay,
                "amsgrad": amsgrad,
                "maximize": maximize,
                "foreach": foreach,
                "capturable": capturable,
                "differentiable": differentiable,
                "fused": fused,
                "decoupled_weight_decay": decoupled_weight_decay,
            },
        )

    def _tensor_states(self, group):
        return ("exp_avg", "exp_avg_sq", "max_exp_avg_sq") if group["amsgrad"] else ("exp_avg", "exp_avg_sq")

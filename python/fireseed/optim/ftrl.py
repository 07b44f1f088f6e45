"""Follow the regularised leader, proximal (McMahan et al. 2013, "Ad Click Prediction: a View from the Trenches")."""

from __future__ import annotations

import fireseed as fs

from ._fused import MAXIMIZE, FusedOptimizer
from .optimizer import _check_lr, _check_non_negative

__all__ = ["Ftrl"]


class Ftrl(FusedOptimizer):
    """FTRL-proximal: sparse models through ``l1``, with a rate for each weight.

    n += g^2; z += g - (n_new^-lr_power - n_old^-lr_power) / lr * p;
    p = (clip(z, -l1, l1) - z) / (n_new^-lr_power / lr + 2 * l2 + beta / lr). ``l2_shrinkage`` adds 2 * l2_shrinkage * p
    to the gradient in z alone. Names and defaults follow Keras, but for ``initial_accumulator_value`` and ``lr``, which
    are what they are called here in the other optimizers.
    """

    _kernel = "ftrl_step"
    _hyper = ("lr", "lr_power", "l1", "l2", "l2_shrinkage", "beta", "weight_decay")
    _flags = (("maximize", MAXIMIZE),)
    _numbers = ()

    def __init__(
        self,
        params,
        lr=1e-3,
        lr_power=-0.5,
        initial_accumulator_value=0.1,
        l1=0.0,
        l2=0.0,
        l2_shrinkage=0.0,
        beta=0.0,
        weight_decay=0.0,
        *,
        maximize=False,
    ):
        _check_lr(lr)
        if not lr > 0.0:
            raise ValueError(f"Invalid learning rate: {lr} (Ftrl divides by it)")
        if lr_power > 0.0:
            raise ValueError(f"Invalid lr_power value: {lr_power} (it must not be positive)")
        _check_non_negative(
            initial_accumulator_value=initial_accumulator_value,
            l1=l1,
            l2=l2,
            l2_shrinkage=l2_shrinkage,
            beta=beta,
            weight_decay=weight_decay,
        )
        super().__init__(
            params,
            {
                "lr": lr,
                "lr_power": lr_power,
                "initial_accumulator_value": initial_accumulator_value,
                "l1": l1,
                "l2": l2,
                "l2_shrinkage": l2_shrinkage,
                "beta": beta,
                "weight_decay": weight_decay,
                "maximize": maximize,
            },
        )

    def _tensor_states(self, group):
        return ("accumulator", "linear")

    def _new_state(self, group, p, state):
        state["accumulator"] = fs.full_like(p, group["initial_accumulator_value"])
        state["linear"] = fs.zeros_like(p)
